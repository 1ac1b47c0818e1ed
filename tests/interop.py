# SPDX-License-Identifier: MIT
"""Exported models beside transformers and llama.cpp: the same logits, before and after training. `make interop` runs it.

    python3 tests/interop.py ./raft CKPT        (pip install torch transformers; llama-cpp-python for GGUF, optional)

CKPT is any checkpoint with a tokenizer, for instance what `raft import` makes of SmolLM2. Exit status 1: something differs.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

raft, checkpoint = sys.argv[1:3]
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
    run("trace", "forward", folder, "--ids", ",".join(map(str, ids)), "-o", out)
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


def with_llama_cpp(name, folder, ids, scratch):
    try:
        from llama_cpp import Llama
    except ImportError:
        return print("skipped llama.cpp: the package llama-cpp-python is not installed")
    prompt = ids[:8]
    ours = json.loads(run("generate", folder, "--ids", ",".join(map(str, prompt)), "--temperature", "0", "--max-new", "40", "--json"))["ids"]
    logits = our_logits(folder, ids, scratch)
    for dtype, tolerance in (("f32", 5e-3), ("f16", 5e-2), ("q8_0", 1e-1)):
        out = os.path.join(scratch, f"{dtype}.gguf")
        run("export", folder, "--format", "gguf", "--dtype", dtype, "-o", out, "--force")
        llama = Llama(out, n_ctx=128, logits_all=True, verbose=False)
        llama.eval(ids)
        compare(f"{name}, llama.cpp {dtype}", np.array(llama.scores[: len(ids)]), logits, tolerance)
        if dtype == "f32":
            llama.reset()
            theirs = [token for _, token in zip(range(40), llama.generate(prompt, temp=0.0))]
            same = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
            say(f"{name}, llama.cpp greedy", same >= min(30, len(ours)), f"the first {same} of {len(ours)} tokens agree")


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
sys.exit(failed)
