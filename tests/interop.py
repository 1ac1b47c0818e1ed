# SPDX-License-Identifier: MIT
"""Exported models beside transformers and llama.cpp: the same logits, before and after training. `make interop` runs it.

    python3 tests/interop.py ./raft CKPT        (pip install torch transformers; for GGUF llama-cpp-python or cyllama)

CKPT is any checkpoint with a tokenizer, for instance what `raft import` makes of SmolLM2. Exit status 1: something differs.
"""
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

if len(sys.argv) != 3:
    sys.exit("usage: make interop CKPT=folder (or tests/interop.py PROGRAM CKPT): a checkpoint with a tokenizer")
raft, checkpoint = sys.argv[1:]
TEXT = "This film was a great surprise to me, and I have seen it 3 times since 1999."
failed = False


def run(*arguments):
    done = subprocess.run([raft, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"raft {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def say(what, ok, figure):
    global failed
    failed |= not ok
    print(f"{'same  ' if ok else 'DIFFER'}  {what}: {figure}")


def our_logits(folder, ids, scratch):
    from safetensors.numpy import load_file
    out = os.path.join(scratch, "trace.safetensors")
    run("trace", "forward", folder, "--ids", ",".join(map(str, ids)), "-o", out, "--force")
    return load_file(out)["logits"][0]


def compare(name, got, want, tolerance):
    off = float(np.abs(got - want).max() / np.abs(want).max())
    say(name, off <= tolerance, f"largest difference {off:.2e} of the largest logit (allowed {tolerance:.0e})")


def with_transformers(name, folder, scratch):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    for dtype, tolerance in (("f32", 1e-4), ("bf16", 2e-2)):
        out = os.path.join(scratch, f"hf-{dtype}")
        run("export", folder, "--dtype", dtype, "-o", out, "--force")
        tokenizer = AutoTokenizer.from_pretrained(out)
        ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
        lines = os.path.join(scratch, "text.jsonl")
        with open(lines, "w") as file:
            file.write(json.dumps({"text": TEXT}) + "\n")
        ours = json.loads(run("tokenizer", "encode", "--tokenizer", f"{folder}/tokenizer.json", "--jsonl", lines))["ids"]
        say(f"{name}, transformers, token ids", ids == ours, f"{len(ids)} ids")
        model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
        with torch.no_grad():
            theirs = model(torch.tensor([ids])).logits[0].numpy()
        compare(f"{name}, transformers {dtype}", our_logits(folder, ids, scratch), theirs, tolerance)
    return ids


class LlamaCppPython:
    """One sequence in llama.cpp, its keys and values in float32."""

    def __init__(self, path):
        from llama_cpp import Llama
        self.llama = Llama(path, n_ctx=128, logits_all=True, type_k=0, type_v=0, verbose=False)

    def feed(self, ids):
        """The logits after each of these tokens, which follow what was fed before."""
        start = self.llama.n_tokens
        self.llama.eval(ids)
        return np.array(self.llama.scores[start: start + len(ids)])


class Cyllama:
    """The same through another package."""

    def __init__(self, path):
        from cyllama.llama import llama_cpp

        class Model(llama_cpp.LlamaModel):  # get_logits_ith asks for this attribute, which 0.2.18 left out
            n_vocab = property(lambda self: self.get_vocab().n_vocab)

        self.package, self.model, self.past = llama_cpp, Model(path, llama_cpp.LlamaModelParams(), verbose=False), 0
        settings = llama_cpp.LlamaContextParams()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = 128
        settings.type_k = settings.type_v = settings.flash_attn_type = 0
        self.context = llama_cpp.LlamaContext(self.model, settings, verbose=False)

    def feed(self, ids):
        batch = self.package.LlamaBatch(n_tokens=len(ids), embd=0, n_seq_max=1)
        batch.set_batch(ids, self.past, True)
        self.past += len(ids)
        assert self.context.decode(batch) == 0
        return np.array([self.context.get_logits_ith(i) for i in range(len(ids))])


def find_llama_cpp():
    for package, binding in (("llama_cpp", LlamaCppPython), ("cyllama", Cyllama)):
        if importlib.util.find_spec(package):
            return binding
    print("skipped llama.cpp: neither llama-cpp-python nor cyllama is installed")


def greedy(llama, prompt, count):
    tokens, logits = [], llama.feed(prompt)[-1]
    while len(tokens) < count:
        tokens.append(int(logits.argmax()))
        logits = llama.feed(tokens[-1:])[-1]
    return tokens


def with_llama_cpp(name, folder, ids, scratch):
    binding = find_llama_cpp()
    if not binding:
        return
    prompt = ids[:8]
    ours = json.loads(run("generate", folder, "--ids", ",".join(map(str, prompt)), "--temperature", "0", "--max-new", "40", "--json"))["ids"]
    logits = our_logits(folder, ids, scratch)
    for dtype, tolerance in (("f32", 1e-4), ("f16", 2e-2), ("q8_0", 1e-1)):
        out = os.path.join(scratch, f"{dtype}.gguf")
        run("export", folder, "--format", "gguf", "--dtype", dtype, "-o", out, "--force")
        compare(f"{name}, llama.cpp {dtype}", binding(out).feed(ids), logits, tolerance)
        if dtype == "f32":
            theirs = greedy(binding(out), prompt, len(ours))
            same = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), len(ours))
            say(f"{name}, llama.cpp greedy", same >= min(30, len(ours)), f"the first {same} of {len(ours)} tokens agree")


def weights(folder):
    with open(os.path.join(folder, "model.safetensors"), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def round_trips(name, folder, scratch):
    """import -> export -> import, once through each format: the same file of weights."""
    first, again = (os.path.join(scratch, part) for part in ("first", "again"))
    run("import", folder, "-o", first, "--force")
    for kind, out in (("hf", os.path.join(scratch, "there")), ("gguf", os.path.join(scratch, "there.gguf"))):
        run("export", first, "--format", kind, "--dtype", "f32", "-o", out, "--force")
        run("import", out, "-o", again, "--force")
        say(f"{name}, import, export --format {kind}, import", weights(first) == weights(again), weights(again)[:16])


def reward_head(scratch):
    """A head on the first two layers, trained for two steps, scores texts as transformers' LlamaForSequenceClassification does."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    lines, head, out = (os.path.join(scratch, part) for part in ("labelled.jsonl", "head", "head-hf"))
    texts = ["A wonderful film, and I laughed a lot.", "Dull from its first minute to the last.", TEXT, "Two hours that I want back!"]
    with open(lines, "w") as file:
        file.writelines(json.dumps({"text": text, "label": i % 2}) + "\n" for i, text in enumerate(texts))
    run("reward", "train", "--init", checkpoint, "--corpus", lines, "--layers", "2", "--batch", "2", "--max-steps", "2", "--micro-rows", "256",
        "-o", head)
    run("export", head, "-o", out)
    ours = [json.loads(line)["reward"] for line in run("reward", "score", f"head:{head}", "--jsonl", lines).splitlines()]
    model = AutoModelForSequenceClassification.from_pretrained(out, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(out)
    with torch.no_grad():
        theirs = [model(torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])).logits.item() for text in texts]
    off = max(abs(a - b) for a, b in zip(ours, theirs))
    say(f"reward head, {type(model).__name__}", off <= 1e-4, f"largest difference of {len(texts)} scores {off:.1e} (allowed 1e-04)")


def after_raft(scratch):
    prompts, out = os.path.join(scratch, "prompts.jsonl"), os.path.join(scratch, "aligned")
    with open(prompts, "w") as file:
        for text in ("This film", "I watched it", "The actors", "In the end"):
            file.write(json.dumps({"prompt": text}) + "\n")
    run("align", checkpoint, "--prompts", prompts, "--reward", "length:12", "--samples", "4", "--max-new", "12", "--iterations", "1",
        "--micro-rows", "256", "--eval-prompts", "0", "-o", out)
    return os.path.join(out, "checkpoint")


with tempfile.TemporaryDirectory() as scratch:
    for name in ("base", "after RAFT"):
        folder = checkpoint if name == "base" else after_raft(scratch)
        with_llama_cpp(name, folder, with_transformers(name, folder, scratch), scratch)
        round_trips(name, folder, scratch)
    reward_head(scratch)
sys.exit(failed)
