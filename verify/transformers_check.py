# SPDX-License-Identifier: MIT
"""Loads a checkpoint in transformers and compares it with a trace of this checkpoint, within a tolerance.

    python3 verify/transformers_check.py CKPT TRACE --ids 5,7,9          a trace of `raft trace forward`
    python3 verify/transformers_check.py CKPT TRACE --batch B.safetensors   of `raft trace step` on that batch
    python3 verify/transformers_check.py CKPT TRACE                      of `raft trace iteration` (a folder)

What is compared, where the trace holds it: logits, loss, gradients before clipping, their norm; in an iteration the logits of every
answer and each step's under the parameters that the step began with. --rtol 1e-3 and --atol 1e-5 decide, as in `raft diff`; a gradient's
tolerance is relative to its tensor's largest element. Needs torch and transformers. Exit status 0: within; 1: not; 2: trouble.
"""
import sys
from files import Trouble, np, read_safetensors, read_trace

try:
    import torch
    from transformers import AutoModelForCausalLM
except ImportError as error:
    print(f"verify: {error}. This check needs PyTorch and transformers: pip install torch transformers", file=sys.stderr)
    sys.exit(2)


class Check:
    def __init__(self, path, rtol, atol):
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
        self.tied = self.model.get_input_embeddings().weight is self.model.get_output_embeddings().weight
        self.rtol, self.atol, self.bad, self.table = rtol, atol, [], {}

    def compare(self, kind, name, here, there):
        here, there = np.asarray(here, np.float64).reshape(-1), np.asarray(there, np.float64).reshape(-1)
        if here.shape != there.shape:
            raise Trouble(f"{name}: transformers has {here.size} values, the trace {there.size}")
        off = np.abs(here - there)
        size = np.maximum(np.abs(here), np.abs(there))
        size = np.full_like(size, size.max(initial=0)) if kind == "gradients" else size
        outside = ~(off <= self.atol + self.rtol * size)  # a NaN is outside
        worst = int(np.argmax(np.where(np.isnan(off), np.inf, off))) if len(off) else 0
        count, largest = self.table.get(kind, (0, 0.0))
        self.table[kind] = count + 1, max(largest, float(off[worst]) if len(off) else 0.0)
        if outside.any():
            self.bad.append(f"{name}, element {worst}: transformers {here[worst]:.9g}, the trace {there[worst]:.9g}; "
                            f"{int(outside.sum())} of {len(off)} values are outside")

    def load(self, trace, prefix):
        """The parameters that the trace holds under this prefix."""
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                if prefix + name not in trace:
                    raise Trouble(f"the trace holds no {prefix}{name}")
                value.copy_(torch.tensor(trace[prefix + name]))

    def logits(self, ids):
        return self.model(torch.tensor(np.array(ids))[None]).logits[0]

    def gradients(self, trace, prefix, loss):
        self.model.zero_grad()
        loss.backward()
        squares = 0.0
        for name, value in self.model.named_parameters():
            self.compare("gradients", prefix + "grad." + name, value.grad, trace[prefix + "grad." + name])
            squares += float((value.grad.double() ** 2).sum())
        return squares ** 0.5

    # ---- the three kinds of trace ----

    def forward(self, trace, ids):
        with torch.no_grad():
            self.compare("logits", "logits", self.logits(ids), trace["logits"])

    def step(self, trace, batch):
        ids, labels = batch["input_ids"], batch["labels"].copy()
        labels[:, 0] = -100  # nothing predicts position 0
        total, count = 0.0, int((labels != -100).sum())
        for row, (i, l) in enumerate(zip(ids, labels)):
            z = self.logits(i)
            known = torch.as_tensor(np.ascontiguousarray(l[1:]))
            last = int(np.max(np.flatnonzero(l != -100), initial=0))  # rows after the last counted position are not computed (SPEC 7.2)
            self.compare("logits", f"logits[{row}]", z[:last].detach(), trace["logits"][row][:last])
            total = total + torch.nn.functional.cross_entropy(z[:-1], known, ignore_index=-100, reduction="sum")
        loss = total / count
        self.compare("loss", "loss", loss.item(), trace["loss"].reshape(-1)[:1])
        self.compare("norm", "grad_norm", self.gradients(trace, "", loss), trace["grad_norm"].reshape(-1)[:1])

    def iteration(self, trace):
        self.load(trace, "start.")
        for name in sorted(n for n in trace if n.startswith("collect.") and n.endswith(".logits")):
            prompt, tokens = trace[name[:11] + ".prompt"], trace[name[:-len("logits")] + "tokens"]
            with torch.no_grad():
                z = self.logits(np.concatenate([prompt, tokens[:-1]]))[len(prompt) - 1:]
            self.compare("logits of answers", name, z, trace[name])
        begin = "start."
        for at in sorted({n[:9] for n in trace if n.startswith("step.")}):
            self.load(trace, begin)
            begin = at + "after."
            starts = np.flatnonzero(trace[at + "positions"] == 0).tolist() + [len(trace[at + "positions"])]
            parts = [self.logits(trace[at + "input_ids"][b:e]) for b, e in zip(starts, starts[1:])]
            z = torch.cat(parts)[torch.tensor(np.array(trace[at + "target_rows"]))]
            self.compare("logits of steps", at + "logits", z.detach(), trace[at + "logits"])
            loss = torch.nn.functional.cross_entropy(z, torch.tensor(np.array(trace[at + "targets"])))
            self.compare("loss", at + "loss", loss.item(), trace[at + "loss"])
            self.compare("norm", at + "grad_norm", self.gradients(trace, at, loss), trace[at + "grad_norm"])

    def report(self):
        for kind, (count, largest) in self.table.items():
            print(f"{kind:18} {count:4} tensors, at most {largest:.3g} apart")
        for line in self.bad[:10]:
            print("outside: " + line)
        print(f"{len(self.bad)} tensors outside" if self.bad else "everything within the tolerance")
        return 1 if self.bad else 0


def main(arguments):
    options = dict(zip(arguments[2::2], arguments[3::2]))
    if len(arguments) < 2 or len(arguments) % 2 or set(options) - {"--ids", "--batch", "--rtol", "--atol"}:
        raise Trouble(__doc__)
    check = Check(arguments[0], float(options.get("--rtol", 1e-3)), float(options.get("--atol", 1e-5)))
    trace = read_trace(arguments[1])
    if "--ids" in options:
        check.forward(trace, [int(i) for i in options["--ids"].split(",")])
    elif "--batch" in options:
        check.step(trace, read_safetensors(options["--batch"]))
    else:
        check.iteration(trace)
    return check.report()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (Trouble, KeyError, OSError) as trouble:
        print(f"verify: {trouble}", file=sys.stderr)
        sys.exit(2)
