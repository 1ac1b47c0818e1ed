# SPDX-License-Identifier: MIT
"""Checks tests/vectors against this program's own reading of docs/SPEC.md.

    python3 verify/vectors.py [FOLDER] [OPERATION...]

Each function below answers one operation: it takes a case's `in` and returns the same members as its `out`. Exit status 0: every
case agrees; 1: the first cases that differ are printed; 2: trouble with a file.
"""
import inspect
import json
import os
import struct
import sys
import time
from files import Trouble, np  # first: it says what to install
import arithmetic as a
import decisions
import measures
import model
import ppo
import randomness
import text
import training
from arithmetic import D, F, fma as arithmetic_fma

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "..", "tests", "vectors")


def decode(value):  # tests/vectors/README.md
    if isinstance(value, list):
        return [decode(v) for v in value]
    if isinstance(value, dict):
        return {k: decode(v) for k, v in value.items()}
    kind, _, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind in ("f32", "f64") and all(c in "0123456789abcdef" for c in rest):
        return np.frombuffer(bytes.fromhex(rest), ">f4" if kind == "f32" else ">f8").astype(F if kind == "f32" else D)
    if kind == "philox":
        return randomness.test_values(*map(int, rest.split(":")))
    return value


# ---- one function an operation ---------------------------------------------------------------------------------------------------

def philox(counter, key):
    return {"words": randomness.philox(*counter, key)}


def draw(seed, stream, iteration, c0, c1, c2, n):
    w = randomness.words(seed, stream, iteration, c0, c1, c2)
    return {"words": w, "uniform": randomness.uniform(w), "normal": randomness.normals(w),
            "below": [randomness.below(v, n) for v in w]}


def shuffle(seed, stream, iteration, n):
    return {"order": randomness.shuffle(seed, stream, iteration, n)}


def stage(seed, prompts, stage, iterations):
    return {"prompt": sum((decisions.stage_prompts(seed, t, stage, prompts) for t in range(iterations)), [])}


def replay(seed, texts, chosen, replay, iterations):
    n = decisions.round_up(replay * chosen)
    return {"text": sum((decisions.deal(seed, "replay", t * n, n, texts) for t in range(iterations)), [])}


def fma(a, b, c):
    return {"y": arithmetic_fma(a, b, c), "soft_is_the_same": True}


def sums(x):
    blocks = np.zeros((len(x) + 255) // 256 * 256, F)
    blocks[:len(x)] = x
    return {"sum": a.long(x), "squares": a.long(x, x), "blocks_of_256": a.lanes(blocks.reshape(-1, 256)), "max": a.maximum(x)}


def double_pow(x, y):
    return {"power": np.array([a.pow_d(*pair) for pair in zip(x, y)])}


FUNCTIONS = {"exp": a.exp, "log": a.log, "sigmoid": a.sigmoid, "double_exp": a.exp_d, "double_log": a.log_d, "double_log1p": a.log1p_d,
             "double_sin": a.sin_d, "double_cos": a.cos_d}


def linear_forward(x, w, rows, out, y=None, **size):
    y = a.chain(x.reshape(rows, size["in"]), w.reshape(out, size["in"]), None if y is None else y.reshape(rows, out))
    return {"y": y, "packed_is_the_same": True}


def linear_backward(x, w, dy, dw, rows, out, **size):
    dw = dw.reshape(out, size["in"])
    dx = model.linear_backward(dw, dy.reshape(rows, out), x.reshape(rows, size["in"]), w.reshape(out, size["in"]))
    return {"dx": dx, "dw": dw}


def rmsnorm(rows, dim, eps, x, w, dy, dx, dw):
    x, dy, dx = (v.reshape(rows, dim) for v in (x, dy, dx))
    y, inv = model.rmsnorm(x, w, eps)
    dx = model.rmsnorm_backward(dx, dw, dy, x, inv, w)
    return {"y": y, "inv": inv, "dx": dx, "dw": dw}


def swiglu(rows, ff, gate_up, dh):
    both = gate_up.reshape(rows, 2 * ff)
    g, u = both[:, :ff], both[:, ff:]
    return {"h": (g * a.sigmoid(g)) * u, "dgate_up": np.concatenate(model.swiglu_backward(g, u, dh.reshape(rows, ff)), axis=1)}


def rope(heads, head_dim, context, position, x, rope_theta, **kind):
    c = model.Config(vocab=1, dim=1, layers=1, heads=heads, ff=1, head_dim=head_dim, theta=rope_theta, rope=kind)
    cos, sin = model.rope_tables(c, np.arange(context))
    y = model.rotate(x.reshape(len(position), -1), cos[position], sin[position], head_dim)
    return {"cos": cos, "sin": sin, "y": y, "inverse": model.rotate(x.reshape(y.shape), cos[position], -sin[position], head_dim)}


def embedding_backward(dim, ids, dtable, dy):
    G = {model.EMBED: dtable.reshape(-1, dim)}
    model.embedding_backward(G, ids, dy.reshape(-1, dim))
    return {"dtable": G[model.EMBED]}


def attention(heads, kv_heads, head_dim, lengths, qkv, dout):
    c = model.Config(vocab=1, dim=1, layers=1, heads=heads, kv_heads=kv_heads, head_dim=head_dim, ff=1)
    rows = qkv.reshape(sum(lengths), c.q + 2 * c.kv)
    q, k, v = rows[:, :c.q], rows[:, c.q:c.q + c.kv], rows[:, c.q + c.kv:]
    do, parts = dout.reshape(len(rows), c.q), model.sequences(lengths)
    o = np.concatenate([model.attention(c, q[s], k[s], v[s]) for s in parts])
    back = [np.concatenate(model.attention_backward(c, q[s], k[s], v[s], o[s], do[s]), axis=1) for s in parts]
    return {"out": o, "dqkv": np.concatenate(back)}


def cross_entropy(vocab, logits, scale, target):
    z = logits.reshape(-1, vocab)
    return {"logprob": decisions.logprob(z, target), "dlogits": training.cross_entropy_gradient(z, target, scale)}


def logistic_loss(score, label):
    loss, ds = training.logistic(score, label)
    return {"loss": loss, "dscore": ds}


def pair_loss(score):
    loss, ds = training.bradley_terry(score)
    return {"loss": loss, "dscore": ds}


def adamw(steps, w, g, norm, lr, **settings):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, grad in enumerate(g.reshape(steps, -1)):
        w, m, v = training.adamw(w, m, v, grad, t + 1, lr=lr[t], norm=norm[t], **settings)
    return {"w": w, "m": m, "v": v}


def schedule(steps, **settings):
    return {"lr": np.array([training.learning_rate(k, steps, **settings) for k in range(steps)])}


def choose(logits, u, **how):
    d = decisions.Distribution(logits, **how)
    token = [d.token(x) for x in u]
    p = {} if d.greedy is not None else {"p": d.untruncated}
    return {**p, "token": token, "logprob": decisions.logprob(np.broadcast_to(logits, (len(u), len(logits))), token)}


def rank(score, log_ratio, slot, mode, K, **settings):
    r, ranks, selected = decisions.rank(score, log_ratio, slot, mode, K, **settings)
    return {"reward": r, "rank": ranks, "selected": selected.astype(int)}


# ---- comparing and running --------------------------------------------------------------------------------------------------------

def plain(value):
    """Arrays as the bits of their values, NaN payloads excepted; hashes are made by the comparison, which knows when."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind in "iub":
            return value.tolist()
        return ("f32:" if value.dtype == F else "f64:") + np.where(np.isnan(value), np.nan, value).astype(
            ">f4" if value.dtype == F else ">f8").tobytes().hex()
    return value


def first_difference(got, want, where):
    """None, or (place, got, expected)."""
    if isinstance(want, dict) and isinstance(got, dict):
        for key in want:
            found = (where + "." + key, "nothing", want[key]) if key not in got else first_difference(got[key], want[key],
                                                                                                      f"{where}.{key}")
            if found:
                return found
        return None
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return next((d for i in range(len(want)) if (d := first_difference(got[i], want[i], f"{where}[{i}]"))), None)
    if isinstance(want, str) and want.startswith("fnv:") and isinstance(got, str) and got[:4] in ("f32:", "f64:"):
        width = 4 if got.startswith("f32:") else 8
        values = bytes.fromhex(got[4:])
        got = "fnv:" + text.fnv(b"".join(values[i:i + width][::-1] for i in range(0, len(values), width)))
    if isinstance(want, str) and isinstance(got, str) and want[:4] == got[:4] and want[:4] in ("f32:", "f64:") and len(want) == len(got):
        width = 8 if want.startswith("f32:") else 16
        bad = [i for i in range(4, len(want), width) if want[i:i + width] != got[i:i + width]]
        return (f"{where}[{(bad[0] - 4) // width}]", got[bad[0]:bad[0] + width], want[bad[0]:bad[0] + width]) if bad else None
    return None if got == want else (where, got, want)


def answer(operation, given, operations):
    if operation in FUNCTIONS:
        return {"y": FUNCTIONS[operation](given["x"])}
    if operation not in operations:
        raise Trouble(f"no operation {operation} here")
    return operations[operation](**given)


def main(arguments):
    import cases  # whole models, texts and RAFT iterations
    folder = arguments.pop(0) if arguments and os.path.isdir(arguments[0]) else FOLDER
    os.chdir(os.path.join(folder, "..", ".."))  # cases name tests/vectors/words.txt
    operations = {name: f for module in (sys.modules[__name__], cases, measures, ppo) for name, f in vars(module).items()
                  if inspect.isfunction(f)}
    failures, agreed = [], {}
    names = "philox functions linear rows attention losses choose rank texts models raft".split()
    for name in names:
        path, started = os.path.join("tests/vectors", name + ".jsonl"), time.time()
        with open(path, encoding="utf-8") as file:
            records = [(number, json.loads(line)) for number, line in enumerate(file, 1)]
        records = [(number, case) for number, case in records if not arguments or case["operation"] in arguments]
        for number, case in records:
            operation = case["operation"]
            bad = first_difference(plain(answer(operation, decode(case["in"]), operations)), case["out"], operation)
            agreed[operation] = agreed.get(operation, 0) + (bad is None)
            if bad:
                failures.append(f"{path}:{number}: SPEC {case['spec']}: {bad[0]}: here {bad[1]}, there {bad[2]}")
        if records:
            print(f"{name:10} {len(records):3} cases   {time.time() - started:6.1f} s", flush=True)
    for line in failures[:20]:
        print(line)
    print(f"{sum(agreed.values())} cases agree, {len(failures)} differ")
    return 1 if failures or not agreed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (Trouble, OSError) as error:
        print(f"verify: {error}", file=sys.stderr)
        sys.exit(2)
