# SPDX-License-Identifier: MIT
"""Breaks a sound trace in one place at a time and sees that the replay names that place first.

    python3 verify/self_test.py TRACE ...     the arguments of replay.py

Exit status 0: the sound trace agrees and every mistake is named; 1: one is not.
"""
import sys
from files import Trouble, np
import replay


def next_float(x, place):
    x.view(np.int32)[place] += 1


def add_one(x, place):
    x[place] += 1


def exchange(x, place):  # with the neighbour
    x[place], x[place[0] + 1] = x[place[0] + 1], x[place]


def turn(x, place):
    x[place] = 1 - x[place]


# what is broken, where, how, whether the passes are needed to see it
LAST = "the last token of the first answer"
MISTAKES = [
    ("collect.prompts", (1,), add_one, False),
    ("collect.000.000.tokens", LAST, add_one, False),
    ("collect.001.001.logprobs", (2,), next_float, False),
    ("collect.logprob", (3,), next_float, False),
    ("rank.reward", (4,), next_float, False),
    ("rank.rank", (0,), exchange, False),
    ("rank.selected", (0,), turn, False),
    ("step.000.input_ids", (2,), add_one, False),
    ("step.000.loss", (0,), next_float, False),
    ("step.000.grad_norm", (0,), next_float, False),
    ("step.001.lr", (0,), next_float, False),
    ("step.001.after.model.norm.weight", (5,), next_float, False),
    ("step.000.after.model.layers.0.mlp.up_proj.weight", (1, 2), next_float, False),
    ("step.000.layers.0.attention", (3, 1), next_float, True),
    ("step.000.grad.model.layers.0.self_attn.k_proj.weight", (1, 1), next_float, True),
    ("start.model.layers.0.self_attn.v_proj.weight", (0, 1), next_float, False),
    ("collect.000.000.logits", (0, 7), next_float, True),
]


def first_of(r, trace, passes):
    fresh = replay.Replay(trace, r.c, r.s, r.prompts, r.rewards, r.reference, passes, r.weights)
    found = fresh.run()
    return found[0] if found else "nothing"


def main(arguments):
    r = replay.load(arguments)
    found = first_of(r, r.t, True)
    if found != "nothing":
        print(f"the sound trace does not agree: {found}")
        return 1
    missed = 0
    for name, place, change, passes in MISTAKES:
        if name not in r.t:
            print(f"skipped: {name} is not in the trace")
            continue
        broken = dict(r.t)
        broken[name] = r.t[name].copy()
        change(broken[name], (len(broken[name]) - 1,) if place is LAST else place)
        found = first_of(r, broken, passes)
        ok = found.startswith(name + "[")
        missed += not ok
        print(f"{'named ' if ok else 'MISSED'}  {name}, {change.__name__}: {found[:150]}", flush=True)
    print("every mistake is named" if not missed else f"{missed} mistakes are not named")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Trouble as trouble:
        print(f"verify: {trouble}", file=sys.stderr)
        sys.exit(2)
