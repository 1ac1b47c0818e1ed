# SPDX-License-Identifier: MIT
"""Compares raft's token ids with those of Hugging Face tokenizers on random texts.

    python3 tools/compare_tokenizer.py tokenizer.json [seed] [texts]      # needs ./raft and the Python package tokenizers
"""
import json, os, random, subprocess, sys, tempfile
from tokenizers import Tokenizer

path, seed, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1, int(sys.argv[3]) if len(sys.argv) > 3 else 20000
rng = random.Random(seed)
bits = list("abcdefgst'  \n\r\t.,!?-012389AZS") + [
    "'s", "'S", "'ſ", "'ll", "'LL", "'Ve", "'re", "don't", "  ", "\r\n", "\u00a0", "\u3000", "\u0085", "\u2028", "\u1680", "\x0b", "\x1c", "é",
    "É", "ſ", "日本", "²", "Ⅷ", "٣", "１", "😀", "e\u0301", "\u200d", "▁", "<|im_end|>", "<s>", "</s>", "<0x0A>", "the", " movie", " great", "İ",
    "ß", "\u212a", "Ω", "\u0345", "॥", "    ", "----", "====", "\ufeff"]


def text():
    kind = rng.random()
    if kind < .7:
        return ''.join(rng.choice(bits) for _ in range(rng.randrange(24)))
    if kind < .85:
        ranges = [(32, 0x250), (0x250, 0x3000), (0x3000, 0xd800), (0xe000, 0x1ffff)]
        return ''.join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randrange(1, 12)))
    return ''.join(rng.choice('ab ') * rng.randrange(1, 9) for _ in range(12))


texts = [text() for _ in range(count)]
with tempfile.TemporaryDirectory() as folder:
    name = os.path.join(folder, 'texts.jsonl')
    with open(name, 'w', encoding='utf-8') as out:
        for t in texts:
            out.write(json.dumps({'text': t}, ensure_ascii=False) + '\n')
    got = subprocess.run(['./raft', 'tokenizer', 'encode', '--tokenizer', path, '--jsonl', name], check=True, capture_output=True)
lines = got.stdout.decode().split('\n')[:-1]
reference = Tokenizer.from_file(path)
bad = 0
for t, line in zip(texts, lines, strict=True):
    want = reference.encode(t, add_special_tokens=False).ids
    if json.loads(line)['ids'] != want:
        bad += 1
        if bad <= 5:
            print(repr(t), json.loads(line)['ids'], want)
print(f'{path}: {count} texts, {bad} differ')
sys.exit(bad > 0)
