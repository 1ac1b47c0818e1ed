# SPDX-License-Identifier: MIT
"""docs/SPEC.md, section 15: the byte-level BPE tokenizer of kinds 0 and 1, training, decoding; 16.6: hashes.

Letters and numbers come from Python's own Unicode tables, which may be of another version than 15.3 names; characters that were
assigned in between would be cut otherwise.
"""
import json
import re
import struct
import unicodedata

CONTRACTION = re.compile("'s|'t|'re|'ve|'m|'ll|'d")
REST = re.compile(r" ?L+| ?N+| ?O+|[ S]+(?![^ S])|[ S]+")  # over the classes of characters
BYTES = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
BYTES += [b for b in range(256) if b not in BYTES]  # 15.6: in the order of their letters' numbers
LETTER = {b: chr(b) if i < 188 else chr(0x100 + i - 188) for i, b in enumerate(BYTES)}  # 15.1


def fnv(data):  # 16.6
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def repair(data):  # 15.7: Python replaces maximal subparts, as Unicode recommends
    return data.decode("utf-8", "replace")


def _class(ch):
    kind = unicodedata.category(ch)[0]
    return " " if ch == " " else "L" if kind == "L" else "N" if kind == "N" else "S" if kind == "Z" or ch in "\t\n\v\f\r\x85" else "O"


def split(data, digits):  # 15.2, 15.3: pieces of a stretch of bytes
    text = data.decode("utf-8", "surrogateescape")  # a byte of an invalid sequence is a character of class O
    classes = "".join(map(_class, text))
    pieces, stretches = [], [(0, len(text))]
    if digits:
        stretches = [m.span() for m in re.finditer("N|[^N]+", classes)]
    for begin, end in stretches:
        while begin < end:
            m = CONTRACTION.match(text, begin, end) or REST.match(classes, begin, end)
            pieces.append(text[begin:m.end()].encode("utf-8", "surrogateescape"))
            begin = m.end()
    return pieces


class Tokenizer:
    def __init__(self, special, digits=False):
        self.special, self.digits = [s.encode() for s in special], digits
        self.tokens = self.special + [bytes([b]) for b in BYTES]  # 15.6
        self.id = {t: i for i, t in enumerate(self.tokens) if i >= len(special)}
        self.merges = {}  # (left, right) -> (rank, merged)

    def _cut(self, data):  # 15.2: stretches of text and special tokens, in turn
        found = re.compile(b"|".join(re.escape(s) for s in sorted(self.special, key=len, reverse=True)) or b"(?!)")
        at = 0
        for m in found.finditer(data):
            yield data[at:m.start()], self.special.index(m.group())
            at = m.end()
        yield data[at:], None

    def _add(self, left, right):
        self.merges[left, right] = len(self.merges), len(self.tokens)
        self.tokens.append(self.tokens[left] + self.tokens[right])
        return len(self.tokens) - 1

    def train(self, texts, vocab, min_count=1):  # 15.6
        pieces = [[self.id[bytes([b])] for b in piece] for text in texts for part, _ in self._cut(text.encode())
                  for piece in split(part, self.digits)]
        while len(self.tokens) < vocab:
            count = {}
            for piece in pieces:
                for pair in zip(piece, piece[1:]):
                    count[pair] = count.get(pair, 0) + 1
            best = min(count, key=lambda pair: (-count[pair], pair), default=None)
            if best is None or count[best] < min_count:
                break
            merged = self._add(*best)
            pieces = [merge(piece, best, merged) for piece in pieces]
        return self

    def encode(self, text):  # 15.2 to 15.4
        ids = []
        for part, special in self._cut(text.encode()):
            for piece in split(part, self.digits):
                piece = [self.id[bytes([b])] for b in piece]
                while True:
                    known = [(self.merges[pair][0], pair) for pair in zip(piece, piece[1:]) if pair in self.merges]
                    if not known:
                        break
                    pair = min(known)[1]
                    i = next(i for i in range(len(piece)) if tuple(piece[i:i + 2]) == pair)  # leftmost
                    piece[i:i + 2] = [self.merges[pair][1]]
                ids += piece
            ids += [] if special is None else [special]
        return ids

    def decode(self, ids):  # 11.3: special tokens skipped
        return b"".join(self.tokens[i] for i in ids if i >= len(self.special))

    def answer_text(self, ids, stop=None):  # 11.4
        data = self.decode(ids)
        return repair(data.split(stop.encode())[0] if stop else data)

    def hash(self):  # 15.8
        number = struct.Struct("<Q").pack
        data = number(len(self.tokens)) + number(int(self.digits))
        for i, token in enumerate(self.tokens):
            data += number(len(token)) + number(int(i < len(self.special))) + token
        for (left, right), (_, merged) in self.merges.items():
            data += number(left) + number(right) + number(merged)
        return fnv(data)


def merge(piece, pair, merged):  # left to right
    out, i = [], 0
    while i < len(piece):
        both = tuple(piece[i:i + 2]) == pair
        out.append(merged if both else piece[i])
        i += 2 if both else 1
    return out


def config_compact(c):  # 16.4 in compact form, for the hash of a checkpoint (16.6); only the end-of-text id is known
    rope = {"rope_theta": c.theta, "rope_type": "default"}
    members = dict(
        architectures=["LlamaForSequenceClassification" if c.head == "score" else "LlamaForCausalLM"], model_type="llama",
        head_dim=c.head_dim, hidden_size=c.dim, intermediate_size=c.ff, max_position_embeddings=c.context,
        num_attention_heads=c.heads, num_hidden_layers=c.layers, num_key_value_heads=c.kv_heads, vocab_size=c.vocab,
        attention_bias=False, mlp_bias=False, hidden_act="silu", rms_norm_eps=c.eps, rope_theta=c.theta, rope_parameters=rope,
        tie_word_embeddings=c.tied, bos_token_id=None, eos_token_id=c.eos, pad_token_id=None, dtype="float32")
    if c.head == "score":
        members.update(id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})
        members.update({"raft_pooling": "mean"} if c.pooling == "mean" else {})
    return spell(members)


def spell(value):  # 16.1, compact
    if isinstance(value, dict):
        return "{" + ",".join(json.dumps(k) + ":" + spell(v) for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(spell, value)) + "]"
    return number(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def number(x):  # 16.1
    return "-0.0" if x == 0 and str(x)[0] == "-" else f"{x:.9g}"
