# SPDX-License-Identifier: MIT
"""raft beside PyTorch and transformers on this machine: training steps, drawing, one RAFT iteration; float32, two threads.

    python3 tools/beside_pytorch.py [train|sample|iteration]... [--raft ./raft] [--threads 2] [--rounds 3]
                                    [--model CKPT --prompts PROMPTS.jsonl --head CKPT]      (pip install torch transformers numpy)

train, sample: models of random weights, the shapes and sizes of `raft bench train` and `raft bench sample`.
iteration: the first iteration of `raft align` on CKPT (128 prompts of 8 tokens x 8 answers of up to 24, all layers, two epochs over the
chosen in steps of 32), beside `generate`, the head's layers and AdamW in transformers.
Each figure of theirs stands between one of ours before and one after; the ratio printed is the median over the rounds of theirs by the
slower of both. Other work on the machine makes the ratios meaningless. transformers draws from random weights and to the last token, as raft bench does.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("parts", nargs="*", default=["train", "sample"])
parser.add_argument("--raft", default="./raft")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--model")
parser.add_argument("--prompts")
parser.add_argument("--head")
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)

import torch  # noqa: E402 (reads OMP_NUM_THREADS)
import transformers  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM  # noqa: E402

torch.set_num_threads(args.threads)
transformers.logging.set_verbosity_error()
SHAPES = {  # study/bench_model.c
    "5.8M": dict(vocab_size=4096, hidden_size=256, num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=8, intermediate_size=688),
    "135M": dict(vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, intermediate_size=1536),
}


def ours(part):
    """Rows of `raft bench PART --json`."""
    done = subprocess.run([args.raft, "bench", part, "--json", "--threads", str(args.threads), "--seconds", "2", "--quiet"],
                          check=True, capture_output=True, text=True)
    return json.loads(done.stdout)[part]


def random_model(name):
    torch.manual_seed(1)
    config = LlamaConfig(**SHAPES[name], max_position_embeddings=2048, tie_word_embeddings=True, bos_token_id=None, eos_token_id=None,
                         pad_token_id=None)
    return LlamaForCausalLM(config)


def row(what, before, theirs, after, unit):
    """One line of the table: medians, and the median ratio of neighbours. Higher is better for tokens/s, lower for seconds."""
    if unit == "s":
        ratio = statistics.median(t / max(b, a) for b, t, a in zip(before, theirs, after))
    else:
        ratio = statistics.median(min(b, a) / t for b, t, a in zip(before, theirs, after))
    print(f"{what:62} {statistics.median(before + after):10,.1f} {statistics.median(theirs):10,.1f} {unit:9} {ratio:6.2f} x", flush=True)


def train():
    rounds = {name: ([], [], []) for name in SHAPES}
    step = {}
    for name, (batch, tokens) in {"5.8M": (16, 256), "135M": (4, 256)}.items():
        model = random_model(name).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        ids = torch.randint(0, SHAPES[name]["vocab_size"], (batch, tokens))

        def one(model=model, optimizer=optimizer, ids=ids):
            model(ids, labels=ids).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step[name] = (one, batch * tokens)
    for _ in range(args.rounds):
        before = {r["model"]: r["tokens_per_s"] for r in ours("train")}
        theirs = {}
        for name, (one, tokens) in step.items():
            one()
            spent = []
            while sum(spent) < 8 or len(spent) < 3:
                start = time.perf_counter()
                one()
                spent.append(time.perf_counter() - start)
            theirs[name] = tokens / statistics.median(spent)
        after = {r["model"]: r["tokens_per_s"] for r in ours("train")}
        for name in SHAPES:
            for into, value in zip(rounds[name], (before[name], theirs[name], after[name])):
                into.append(value)
    row("training step, 5.8M parameters, 16 x 256 tokens", *rounds["5.8M"], "tokens/s")
    row("training step, 135M parameters, 4 x 256 tokens", *rounds["135M"], "tokens/s")


def sample():
    points = [("5.8M", 256, 16, 1, 48, "static"), ("5.8M", 256, 16, 1, 48, "dynamic"), ("5.8M", 64, 64, 8, 24, "dynamic"),
              ("5.8M", 512, 64, 1, 24, "dynamic"), ("5.8M", 1, 16, 1, 48, "dynamic"), ("135M", 64, 16, 1, 24, "static"),
              ("135M", 64, 16, 1, 24, "dynamic")]
    models = {name: random_model(name).eval() for name in SHAPES}
    rounds = [([], [], []) for _ in points]

    def key(r):
        return r["model"], r["batch"] // r["samples"], r["prompt_tokens"], r["samples"], r["max_new"]
    for _ in range(args.rounds):
        before = {key(r): r["tokens_per_s"] for r in ours("sample")}
        theirs = []
        for name, prompts, length, samples, new, cache in points:
            ids = torch.randint(0, SHAPES[name]["vocab_size"], (prompts, length)).repeat_interleave(samples, 0)
            options = dict(do_sample=True, top_k=0, min_new_tokens=new, max_new_tokens=new, pad_token_id=0)
            if cache == "static":
                options.update(cache_implementation="static", disable_compile=True)
            spent = []
            for repeat in range(4):
                start = time.perf_counter()
                with torch.no_grad():
                    models[name].generate(ids, attention_mask=torch.ones_like(ids), **options)
                if repeat:
                    spent.append(time.perf_counter() - start)
            theirs.append(prompts * samples * new / statistics.median(spent))
        after = {key(r): r["tokens_per_s"] for r in ours("sample")}
        for into, point, value in zip(rounds, points, theirs):
            for list_, v in zip(into, (before[point[:5]], value, after[point[:5]])):
                list_.append(v)
    for point, values in zip(points, rounds):
        name, prompts, length, samples, new, cache = point
        row(f"drawing, {name}, {prompts} x {length} tokens x {samples} answers of {new} ({cache} cache)", *values, "tokens/s")


def iteration():
    """Seconds of the parts of one RAFT iteration; ours from the run's timing.jsonl."""
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    with open(args.prompts, encoding="utf-8") as file:
        prompts = [json.loads(line) for line in file][:128]
    prompts = [tokenizer(p.get("prompt") or p["text"], add_special_tokens=False)["input_ids"][:8] for p in prompts]
    if any(len(p) < 8 for p in prompts):
        raise SystemExit(f"{args.prompts}: the first 128 prompts must have 8 tokens or more each")

    def ours_once():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([args.raft, "align", args.model, "--prompts", args.prompts, "--prompt-tokens", "8", "--max-new", "24", "--samples", "8",
                            "--stage-prompts", "128", "--iterations", "1", "--epochs", "2", "--batch", "32", "--lr", "1e-4", "--schedule",
                            "constant", "--weight-decay", "0", "--reward", f"head:{args.head}", "--eval-prompts", "2", "--seed", "1",
                            "--threads", str(args.threads), "--quiet", "-o", f"{folder}/run"], check=True, stdout=subprocess.DEVNULL)
            with open(f"{folder}/run/timing.jsonl", encoding="utf-8") as file:
                return {entry["stage"]: entry["seconds"] for entry in map(json.loads, file)}

    with open(f"{args.head}/config.json", encoding="utf-8") as file:
        layers = json.load(file)["num_hidden_layers"]

    def theirs_once():
        spent = {}
        model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
        torch.manual_seed(1)
        ids = torch.tensor(prompts).repeat_interleave(8, 0)
        eos = model.generation_config.eos_token_id
        start = time.perf_counter()
        with torch.no_grad():
            whole = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, top_p=1.0, temperature=1.0,
                                   repetition_penalty=1.0, max_new_tokens=24, pad_token_id=tokenizer.pad_token_id or 0)
        spent["collect"] = time.perf_counter() - start
        # The head: its layers of the same width over each answer, then a row of scores from their mean.
        scorer = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).model
        scorer.layers = scorer.layers[:layers]
        weight = torch.randn(scorer.config.hidden_size) * 0.02
        start = time.perf_counter()
        with torch.no_grad():
            rewards = torch.cat([scorer(part, use_cache=False).last_hidden_state.mean(1) @ weight for part in whole.split(64)])
        spent["rank"] = time.perf_counter() - start
        chosen = whole[rewards.view(-1, 8).argmax(1) + torch.arange(128) * 8]
        labels = chosen.clone()
        labels[:, :8] = -100
        for r, answer in enumerate(chosen[:, 8:].tolist()):  # what follows the end of text is padding
            if eos in answer:
                labels[r, 8 + answer.index(eos) + 1:] = -100
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
        model.train()
        start = time.perf_counter()
        for _ in range(2):
            for rows in torch.randperm(128).split(32):
                model(chosen[rows], labels=labels[rows], use_cache=False).loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        spent["finetune"] = time.perf_counter() - start
        return spent

    rounds = [(ours_once(), theirs_once(), ours_once()) for _ in range(args.rounds)]
    parts = {"collect": "draw 1,024 answers", "rank": f"a reward head of {layers} layers reads them", "finetune": "fine-tune, two epochs over the best 128"}
    for name, what in parts.items():
        row(what, *([r[i][name] for r in rounds] for i in range(3)), "s")
    row("together", *([sum(r[i][name] for name in parts) for r in rounds] for i in range(3)), "s")


print(f"PyTorch {torch.__version__}, transformers {transformers.__version__}, {args.threads} threads, {torch.backends.cpu.get_cpu_capability()}")
print(f"{'':62} {'raft':>10} {'PyTorch':>10}")
for part in args.parts:
    {"train": train, "sample": sample, "iteration": iteration}[part]()
