# SPDX-License-Identifier: MIT
"""tests/vectors: the cases that need more than one operation: texts, whole models, reward heads, RAFT iterations (SPEC 14, 15, 18)."""
import json
import os
from files import np
import decisions
import model
import randomness
import training
from arithmetic import D, F, sequential
from text import Tokenizer, config_compact, fnv, number
from text import repair as repaired


# ---- texts ------------------------------------------------------------------------------------------------------------------------

def bpe(texts, encode, special, vocab, split_digits, min_count):
    t = Tokenizer(special, bool(split_digits)).train(texts, vocab, min_count)
    made = [token.decode("utf-8", "replace") for token in t.tokens[len(special) + 256:]]
    return {"made": made, "ids": [t.encode(s) for s in encode], "tokenizer_hash": "fnv:" + t.hash()}


def repair(**given):
    text = repaired(bytes(given["bytes"]))
    return {"text": text, "repaired": text.count("\ufffd")}


def numbers(x):
    return {"spelled": [number(float(v)) for v in x]}


def rewards(texts, rewards):
    return {"total": np.array([score_text(rewards, text) for text in texts], F)}


def score_text(specs, text):
    return decisions.total([decisions.reward(spec, text) for spec in specs])


# ---- models -----------------------------------------------------------------------------------------------------------------------

def make_model(settings):
    """tests/vectors/README.md: sizes and a seed; every matrix times 2^shift."""
    settings = dict(settings)
    seed, shift = settings.pop("seed"), settings.pop("shift")
    c = model.Config(**settings)
    W = model.initial(c, seed)
    return c, {name: w * F(2.0 ** shift) if w.ndim == 2 else w for name, w in W.items()}


def checkpoint_hash(c, W):  # 16.6
    return "fnv:" + fnv(config_compact(c).encode() + b"".join(W[name].tobytes() for name, *_ in model.tensors(c)))


def initial(**given):
    c, W = make_model(given["model"])
    return {"parameters": W, "checkpoint_hash": checkpoint_hash(c, W)}


def forward(sequences, **given):
    c, W = make_model(given["model"])
    seen = model.forward(c, W, sum(sequences, []), [len(s) for s in sequences])
    return {"residual": seen["residual"], "logits": list(model.logits(c, W, seen)[2])}


def train(loss, steps, sequences, prompts=None, labels=None, clip=1.0, micro_rows=None, **given):
    c, W = make_model(given["model"])
    o, out = training.Optimiser(c, clip=clip), {"gradient": None, "loss": [], "grad_norm": []}
    for k in range(steps):
        if loss == "lm":
            value, G, _ = training.language_step(c, W, [(s, range(p, len(s))) for s, p in zip(sequences, prompts)])
        else:
            loss_of = training.bradley_terry if loss == "pairs" else lambda s: training.logistic(s, np.array(labels))
            value, G = training.score_step(c, W, sequences, loss_of)
        norm = training.gradient_norm(c, G)
        out["gradient"] = out["gradient"] or G
        out["loss"].append(value)
        out["grad_norm"].append(norm)
        o.step(W, G, training.learning_rate(k, steps, 0.01), norm)
    return {**out, "loss": np.array(out["loss"], D), "grad_norm": np.array(out["grad_norm"], D), "after": W}


def pieces(seed, head_tokens, context, sequences, epoch, share=0.5, least=3, longest=0):  # 18.2
    out = []
    for i, text in enumerate(sequences):
        n, most = len(text), min(len(text), head_tokens, context)
        w = randomness.words(seed, "pieces", epoch, c0=i)
        end = min(longest, most) if longest else most
        shortest = min(max(least, 1), end)
        if randomness.uniform(w[0]) < F(share):
            out.append(text[:shortest + randomness.below(w[1], end - shortest + 1)])
        else:
            at = randomness.below(w[2], n - most + 1) if n > most else 0
            out.append(text[at:at + most])
    return out


def head(seed, head_tokens, sequences, labels, prefix_most=0, **given):
    c, W = make_model(given["model"])
    batch, epochs, labels = 2, 3, np.array(labels)
    o, n, k = training.Optimiser(c), training.steps_of_run(len(sequences), batch, epochs), 0
    for e in range(epochs):
        read = pieces(seed, head_tokens, c.context, sequences, e, longest=prefix_most)
        for _, units in training.order_of_run(seed, e, len(sequences), batch, 1):
            _, G = training.score_step(c, W, [read[i] for i in units], lambda s: training.logistic(s, labels[units]))
            o.step(W, G, training.learning_rate(k, n, 0.01), training.gradient_norm(c, G))
            k += 1
    return {"after": W, "score": np.array([score(c, W, text) for text in sequences], F)}


def score(c, W, text):  # 18.4
    n = len(text)
    parts = -(-n // c.context)
    cut = [text[n * j // parts:n * (j + 1) // parts] for j in range(parts)]
    s = model.scores(c, W, model.forward(c, W, sum(cut, []), [len(p) for p in cut]))[2]
    return s[0] if parts == 1 else F(sequential([D(v) * len(p) for v, p in zip(s, cut)], D) / n)


def next_logits(c, W, prompt):
    def logits(tokens):
        ids = prompt + tokens
        return model.logits(c, W, model.forward(c, W, ids, [len(ids)]), [-1])[2][0]
    return logits


def sample(sequences, K, max_new, seed, iteration=0, **given):
    how = {key: given[key] for key in ("temperature", "top_k", "top_p") if key in given}
    c, W = make_model(given["model"])
    answers = [decisions.answer(next_logits(c, W, prompt), seed, iteration, slot, k, max_new, c.eos, **how)
               for slot, prompt in enumerate(sequences) for k in range(K)]
    return {"tokens": [t for t, _ in answers], "logprobs": [p for _, p in answers],
            "logprob": np.array([decisions.sum_logprobs(p) for _, p in answers], F)}


# ---- RAFT (14) -------------------------------------------------------------------------------------------------------------------

def measured_logprob(c, W, prompt, tokens):  # 11.5 by one forward pass
    seen = model.forward(c, W, prompt + tokens[:-1], [len(prompt) + len(tokens) - 1])
    z = model.logits(c, W, seen, slice(len(prompt) - 1, None))[2]
    return decisions.sum_logprobs(decisions.logprob(z, tokens))


def raft(texts, vocab, prompts, rewards, seed, stage, K, iterations, mode, max_new, lr, batch, epochs, expert=None, stop=None,
         accept=None, beta=0.0, **given):
    how = {key: given[key] for key in ("temperature", "top_k", "top_p") if key in given}
    t = Tokenizer(["<|endoftext|>"]).train(texts, vocab)
    c, W = make_model({"vocab": len(t.tokens), **given["model"]})
    start, ids = dict(W), [t.encode(p) for p in prompts]
    out = {"start_hash": checkpoint_hash(c, W), "tokenizer_hash": "fnv:" + t.hash(), "stages": []}
    extra = []
    if expert:
        with open(expert, encoding="utf-8") as file:
            extra = [json.loads(line) for line in file]
    stops = (lambda tokens: stop.encode() in t.decode(tokens)) if stop else None
    for iteration in range(iterations):
        candidates = []
        for slot, p in enumerate(decisions.stage_prompts(seed, iteration, stage, len(ids))):
            answers = [("policy", decisions.answer(next_logits(c, W, ids[p]), seed, iteration, slot, k, max_new, c.eos, stops, **how)[0])
                       for k in range(K)]
            answers += [(expert, t.encode(line["text"])) for line in extra if line["prompt_id"] == str(p)]
            for k, (source, tokens) in enumerate(answers):
                logp = measured_logprob(c, W, ids[p], tokens)
                ref = measured_logprob(c, start, ids[p], tokens) if iteration else logp
                text = t.answer_text(tokens, stop if source == "policy" else None)
                candidates.append({"slot": slot, "prompt": p, "k": k, "source": source, "text": text, "tokens": tokens,
                                   "floats": [logp, ref, logp - ref, score_text(rewards, text)]})
        columns = list(zip(*(x["floats"] for x in candidates)))
        r, ranks, selected = decisions.rank(np.array(columns[3], F), np.array(columns[2], F), [x["slot"] for x in candidates], mode, K,
                                            beta, accept)
        for x, *decided in zip(candidates, r, ranks, selected):
            x["logprob_ref_ratio_score_reward"] = np.array(x.pop("floats") + [decided[0]], F)
            x.update(rank=int(decided[1]), selected=bool(decided[2]))
        examples = [(ids[x["prompt"]] + x["tokens"], range(len(ids[x["prompt"]]), len(ids[x["prompt"]] + x["tokens"])))
                    for x in candidates if x["selected"]]
        last = training.finetune(c, W, examples, seed, iteration, lr, batch, epochs)
        out["stages"].append({"candidates": candidates, "loss_norm_lr": np.array(last, D), "checkpoint_hash": checkpoint_hash(c, W)})
    return out
