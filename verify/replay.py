# SPDX-License-Identifier: MIT
"""Replays a trace of a RAFT iteration (`raft trace iteration`, docs/VERIFY.md) by this program's own reading of docs/SPEC.md.

    python3 verify/replay.py TRACE --checkpoint CKPT --prompts P.jsonl [--settings FILE] [--key value]... [--no-passes]

Every stage starts from what the trace holds before it: the tokens are chosen from the trace's logits, the ranking made from its
rewards, the update from its gradients. So each disagreement is one of its own, and the first that is printed is the first in the
order of computation. --no-passes leaves out the forward and backward passes, which take long for large models. Exit status 0:
everything agrees; 1: something does not; 2: trouble, such as a cut file or a trace without what a replay starts from.
"""
import json
import os
import sys
import time
from files import Trouble, np, read_safetensors, read_settings, read_trace
import decisions
import model
import training
from arithmetic import F

DEFAULTS = dict(seed=1, iteration=0, samples=8, max_new=24, min_new=0, temperature=1.0, top_k=0, top_p=1.0, mode="local", accept=0.0, kl_beta=0.0,
                lr=1e-4, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, decay_all=False, clip=1.0, schedule="cosine", warmup=0.02,
                final_lr=0.1, batch=16, epochs=2, max_steps=0, train_layers="", stage_prompts=0, stop="")


def settings_of(given):
    """`raft align`'s options as numbers; one for the stage (align.lr) goes before one for all (lr)."""
    s = dict(DEFAULTS)
    if given.get("align.replay", given.get("replay", "0")) != "0":
        raise Trouble("setting replay: texts read beside the chosen answers (SPEC 14.2) are not in a trace, so its training cannot be replayed")
    for key, default in DEFAULTS.items():
        name = key.replace("_", "-")
        value = given.get("align." + name, given.get(name))
        if value is not None:
            try:
                s[key] = value == "true" if isinstance(default, bool) else type(default)(value)
            except ValueError:
                raise Trouble(f"setting {name}: {value!r} is not a number")
    return s


class Replay:
    """Compares; remembers what disagrees and what the trace does not hold."""

    def __init__(self, trace, c, settings, prompts=None, rewards=(), reference=None, passes=True,
                 weights=None):
        self.weights, self.reference = weights, reference
        self.t, self.c, self.s, self.prompts, self.rewards, self.passes = trace, c, settings, prompts, rewards, passes
        self.differences, self.compared, self.absent = [], {}, []

    def need(self, name, shape=None):
        if name not in self.t:
            raise Trouble(f"the trace holds no {name}, from which a replay starts")
        if shape is not None and self.t[name].shape != tuple(shape):
            raise Trouble(f"{name} has the shape {list(self.t[name].shape)} instead of {list(shape)}")
        return self.t[name]

    def ids(self, name):
        value = self.need(name)
        if len(value) == 0 or value.min() < 0 or value.max() >= self.c.vocab:
            raise Trouble(f"{name} is empty or holds an id that is none of the {self.c.vocab}")
        return value.tolist()

    def check(self, name, here, spec):
        """One tensor: the bits of floats (NaN payloads excepted), the values of whole numbers."""
        if name not in self.t:
            self.absent.append(name)
            return
        there = self.t[name]
        here = np.asarray(here).astype(there.dtype)
        part = name.split(".")[0]
        self.compared[part] = self.compared.get(part, 0) + 1
        if here.shape != there.shape and here.size == there.size:
            here = here.reshape(there.shape)
        if here.shape != there.shape:
            self.differences.append(f"{name} (SPEC {spec}): here {list(here.shape)}, in the trace {list(there.shape)}")
            return
        bits = {2: np.uint16, 4: np.uint32, 8: np.uint64}[there.dtype.itemsize]
        equal = here.view(bits) == there.view(bits) if here.ndim else np.array(here.tobytes() == there.tobytes())
        if there.dtype.kind == "f":
            equal |= np.isnan(here) & np.isnan(there)
        if not equal.all():
            place = tuple(int(i) for i in np.argwhere(~equal)[0])
            a, b = here[place], there[place]
            shown = (lambda v: f"{v:.9g} ({v.view(bits):0{2 * v.itemsize}x})") if there.dtype.kind == "f" else str
            self.differences.append(f"{name}{list(place)} (SPEC {spec}): here {shown(a)}, in the trace {shown(b)}; "
                                    f"{int((~equal).sum())} of {equal.size} values differ")

    # ---- 11: collecting ----

    def collect(self):
        slots = sorted({n.split(".")[1] for n in self.t if n.startswith("collect.") and n.endswith(".prompt")})
        if not slots:
            raise Trouble("the trace holds no collect.000.prompt, from which a replay starts")
        if self.prompts is not None:
            drawn = decisions.stage_prompts(self.s["seed"], self.s["iteration"], self.s["stage_prompts"], self.prompts)
            self.check("collect.prompts", drawn, "4.6, 11.1")
        self.candidates = []  # slot, prompt, tokens
        for slot in slots:
            prompt = self.ids(f"collect.{slot}.prompt")
            for name in sorted(n for n in self.t if n.startswith(f"collect.{slot}.") and n.endswith(".tokens")):
                self.candidates.append((int(slot), prompt, self.ids(name), name[:-len("tokens")]))
        if self.passes:
            self.answers_logits()
        for slot, _, tokens, name in self.candidates:
            if not self.is_experts(name):
                self.answer(slot, int(name.split(".")[2]), tokens, name)
        self.sums()

    def answers_logits(self):
        """6: the logits of every answer by one full pass over prompt and answer; the sampler's came from its cache."""
        ids = [prompt + tokens[:-1] for _, prompt, tokens, _ in self.candidates]
        self.full = self.whole_logits(self.start(), ids)
        for (*_, name), z in zip(self.candidates, self.full):
            if not self.is_experts(name):
                self.check(name + "logits", z, "6")

    def is_experts(self, name):
        """11.6: an expert's answer was drawn elsewhere; the trace holds its tokens and their log-probability under the policy."""
        return int(name.split(".")[2]) >= self.s["samples"]

    def whole_logits(self, W, ids):
        lengths = [len(i) for i in ids]
        seen = model.forward(self.c, W, sum(ids, []), lengths)
        rows = [r for part, (_, prompt, *_) in zip(model.sequences(lengths), self.candidates)
                for r in range(part.start + len(prompt) - 1, part.stop)]
        z = model.logits(self.c, W, seen, rows)[2]
        return [z[part] for part in model.sequences([len(x[2]) for x in self.candidates])]

    def answer(self, slot, k, tokens, name):
        s, z = self.s, self.t.get(name + "logits")
        if z is None:
            self.absent.append(name + "logits")
            return
        self.need(name + "logits", (len(tokens), self.c.vocab))
        u = decisions.token_uniform(s["seed"], s["iteration"], slot, k, np.arange(len(tokens)))
        how = {key: s[key] for key in ("temperature", "top_k", "top_p")}
        self.check(name + "tokens", [decisions.Distribution(row, **how).token(x) for row, x in zip(z, u)], "4.2, 10, 11.2")
        longest = decisions.longest_answer(s["seed"], s["iteration"], slot, k, s["min_new"], s["max_new"])
        ended = len(tokens) == longest or tokens[-1] == self.c.eos or s["stop"]
        if not ended or len(tokens) > longest or self.c.eos in tokens[:-1]:
            self.differences.append(f"{name}tokens (SPEC 11.2): the answer of {len(tokens)} tokens ends in a wrong place")
        self.check(name + "logprobs", decisions.logprob(z, tokens), "7.1")

    def sums(self):
        sums = [self.sum_of(i) for i in range(len(self.candidates))]
        if None not in sums:
            self.check("collect.logprob", sums, "11.5")
        if self.reference is None:
            if "collect.logprob" in self.t:
                self.check("collect.ref_logprob", self.t["collect.logprob"], "11.5")
        elif self.passes:
            full = self.whole_logits(self.reference, [p + t[:-1] for _, p, t, _ in self.candidates])
            self.check("collect.ref_logprob", [decisions.sum_logprobs(decisions.logprob(z, x[2])) for z, x in zip(full, self.candidates)],
                       "11.5")

    def sum_of(self, i):
        *_, tokens, name = self.candidates[i]
        if self.is_experts(name):
            return decisions.sum_logprobs(decisions.logprob(self.full[i], tokens)) if self.passes else None
        return decisions.sum_logprobs(self.t[name + "logprobs"]) if name + "logprobs" in self.t else None

    # ---- 12, 13: ranking ----

    def rank(self):
        s, parts = self.s, [f"rank.part.{i}" for i in range(99) if f"rank.part.{i}" in self.t]
        weights = [float(r.split("*")[0]) if "*" in r.split(":")[0] else 1.0 for r in self.rewards] or [1.0] * len(parts)
        if parts and len(weights) == len(parts):
            self.check("rank.score", decisions.total([(F(w), self.t[p]) for w, p in zip(weights, parts)]), "12")
        elif parts:
            raise Trouble(f"the trace holds {len(parts)} rewards, --reward names {len(weights)}")
        n = [len(self.candidates)]
        if len(self.need("collect.logprob")) > n[0]:
            raise Trouble(f"the trace has {len(self.t['collect.logprob'])} candidates and the tokens of {n[0]}")
        self.check("rank.log_ratio", self.need("collect.logprob", n) - self.need("collect.ref_logprob", n), "11.5")
        reward, ranks, selected = decisions.rank(self.need("rank.score", n), self.need("rank.log_ratio", n),
                                                 [x[0] for x in self.candidates], s["mode"], s["samples"], s["kl_beta"], s["accept"])
        self.check("rank.reward", reward, "13.1")
        self.check("rank.rank", ranks, "13.2, 13.3")
        self.check("rank.selected", selected, "13.3")

    # ---- 7, 8, 9, 14: training ----

    def start(self):
        return {name: self.need("start." + name, shape) for name, shape, *_ in model.tensors(self.c)}

    def trained(self):
        """9.9: the names of what is trained, in the order of the table."""
        names = [name for name, *_ in model.tensors(self.c)]
        if not self.s["train_layers"]:
            return names
        try:
            first, *last = map(int, self.s["train_layers"].split("-"))
            last = last[0] if last else first
        except ValueError:
            raise Trouble(f"setting train-layers: {self.s['train_layers']!r} is not A-B")
        return [x for x in names if x.startswith("model.layers.") and first <= int(x.split(".")[2]) <= last]

    def train(self):
        s, c, W = self.s, self.c, self.start()
        chosen = [x for x, kept in zip(self.candidates, self.need("rank.selected", [len(self.candidates)])) if kept]
        examples = [(p + t, range(len(p), len(p) + len(t))) for _, p, t, _ in chosen]
        optimiser = training.Optimiser(c, **{k: s[k] for k in ("beta1", "beta2", "eps", "weight_decay", "clip", "decay_all")})
        n = training.steps_of_run(len(examples), s["batch"], s["epochs"], s["max_steps"])
        held = len({name.split(".")[1] for name in self.t if name.startswith("step.")})
        if held != n:
            self.differences.append(f"step (SPEC 9.6): here {n} steps, in the trace {held}")
        order = training.order_of_run(s["seed"], s["iteration"], len(examples), s["batch"], s["epochs"], s["max_steps"])
        for k, (_, units) in enumerate(order):
            if k < held:
                W = self.step(f"step.{k:03}.", W, [examples[i] for i in units], optimiser, k, n)

    def step(self, at, W, examples, optimiser, k, n):
        s, c, t = self.s, self.c, self.t
        ids, lengths, rows, targets = training.language_batch(examples)
        for name, here in (("input_ids", ids), ("positions", np.concatenate([np.arange(x) for x in lengths])), ("target_rows", rows),
                           ("targets", targets)):
            self.check(at + name, here, "4.6, 7.2, 9.6, 14.1")
        shapes = {name: shape for name, shape, *_ in model.tensors(c)}
        names = self.trained()
        if self.passes:
            loss, G, seen = training.language_step(c, W, examples)
            order = [name[len(at):] for name in t if name.startswith(at)]
            for name in (x for x in order if x in seen and x not in ("input_ids", "target_rows", "targets", "positions")):
                self.check(at + name, seen[name], "8" if name.startswith("backward") else "6, 7.1")
            self.check(at + "loss", loss, "7.2")
            for name in reversed(names):
                self.check(at + "grad." + name, G[name], "8")
        elif at + "logits" in t and at + "targets" in t:
            logprobs = decisions.logprob(self.need(at + "logits", (len(t[at + "targets"]), c.vocab)), t[at + "targets"])
            self.check(at + "logprobs", logprobs, "7.1")
            self.check(at + "loss", training.mean_loss(logprobs), "7.2")
        G = {name: self.need(at + "grad." + name, shapes[name]) for name in names}
        norm, rate = training.gradient_norm(c, G), training.learning_rate(k, n, s["lr"], s["schedule"], s["warmup"], s["final_lr"])
        self.check(at + "grad_norm", norm, "9.1")
        self.check(at + "lr", rate, "9.5")
        W = dict(W)
        optimiser.step(W, G, rate, norm)
        for name in shapes:
            self.check(at + "after." + name, W[name], "9.2, 9.4" if name in G else "9.9")
        return {name: self.need(at + "after." + name, shapes[name]) for name in shapes}

    def run(self):
        for name, value in (self.weights or {}).items():
            self.check("start." + name, value, "5.2, 16.3")
        self.collect()
        self.rank()
        self.train()
        return self.differences

    def report(self):
        for part, count in self.compared.items():
            print(f"{part:8} {count:4} tensors compared")
        left = [n for n in self.t if n.endswith(".gold") or (self.passes is False and (".layers." in n or n.endswith("embedding")))]
        if self.absent:
            print(f"{len(self.absent)} tensors are not in the trace, the first: {self.absent[0]}")
        if left:
            print(f"{len(left)} tensors of the trace are not replayed, the first: {left[0]}")
        for number, line in enumerate(self.differences[:10]):
            print(("first disagreement: " if number == 0 else "             then: ") + line)
        print(f"{len(self.differences)} disagree" if self.differences else "everything agrees")


def read_checkpoint_config(path):
    path = os.path.join(path, "config.json")
    try:
        with open(path, encoding="utf-8") as file:
            return model.config_from_json(json.load(file))
    except (OSError, ValueError, KeyError) as error:
        raise Trouble(f"{path}: {error!r}")


def read_weights(path, c):
    """The parameters of a checkpoint's model.safetensors, which must be float32."""
    tensors = read_safetensors(os.path.join(path, "model.safetensors"))
    for name, shape, *_ in model.tensors(c):
        if name not in tensors or tensors[name].shape != shape or tensors[name].dtype != F:
            raise Trouble(f"{path}/model.safetensors: no {name} {list(shape)} of float32")
    return {name: tensors[name] for name, *_ in model.tensors(c)}


def count_prompts(path):
    try:
        with open(path, encoding="utf-8") as file:
            return sum(1 for line in file if line.strip())
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}")


def load(arguments):
    """A Replay from the command line."""
    path, given, rewards, passes = None, {}, [], True
    while arguments:
        a = arguments.pop(0)
        if a == "--no-passes":
            passes = False
        elif a == "--decay-all":
            given["decay-all"] = "true"
        elif a.startswith("--") and arguments:
            value = arguments.pop(0)
            if a == "--reward":
                rewards.append(value)
            elif a[2:] not in ("checkpoint", "prompts", "settings", "reference") and a[2:].replace("-", "_") not in DEFAULTS:
                raise Trouble(f"{a}: no such option")
            given[a[2:]] = value
        elif a.startswith("--") or path:
            raise Trouble(f"{a}: what is this?\n{__doc__}")
        else:
            path = a
    if not path or "checkpoint" not in given:
        raise Trouble(__doc__)
    settings = {**(read_settings(given["settings"]) if "settings" in given else {})}
    for key, value in given.items():  # what is typed goes before the file's stage settings, too
        settings.pop("align." + key, None)
        settings[key] = value
    c = read_checkpoint_config(given["checkpoint"])
    reference = read_weights(given["reference"], c) if "reference" in given else None
    prompts = count_prompts(given["prompts"]) if "prompts" in given else None
    return Replay(read_trace(path), c, settings_of(settings), prompts, rewards, reference, passes, read_weights(given["checkpoint"], c))


def main(arguments):
    started = time.time()
    replay = load(arguments)
    replay.run()
    replay.report()
    print(f"{time.time() - started:.1f} s")
    return 1 if replay.differences else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Trouble as trouble:
        print(f"verify: {trouble}", file=sys.stderr)
        sys.exit(2)
