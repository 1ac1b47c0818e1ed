# SPDX-License-Identifier: MIT
"""The discrete decisions of docs/SPEC.md: a token (10), the answers of a stage (11), rewards of text (12), the ranking (13)."""
import math
import re
import numpy as np
from arithmetic import F, exp, fma, lanes, log, long, maximum, sequential
from randomness import STREAM, below, shuffle, uniform, words


# ---- 7.1, 10: one token -----------------------------------------------------------------------------------------------------

def softmax_parts(z):
    """7.1 over the last axis: m, e_i = exp(z_i - m), S."""
    m = maximum(z)
    e = exp(z - m[..., None])
    return m, e, long(e).astype(F)


def logprob(z, token):  # 7.1; z [..., V], token [...]
    m, _, S = softmax_parts(z)
    return (np.take_along_axis(z, np.asarray(token)[..., None], -1)[..., 0] - m) - log(S)


def _blocks(p):  # 10.5
    padded = np.zeros((len(p) + 255) // 256 * 256, F)
    padded[:len(p)] = p
    B = lanes(padded.reshape(-1, 256))
    return B, sequential(B, F)


class Distribution:
    """10.1 to 10.6: what is the same for every u."""

    def __init__(self, z, temperature=1.0, top_k=0, top_p=1.0):
        if not np.isfinite(z).all():
            raise ValueError("a logit is NaN or infinite (10.1)")
        self.greedy = int(np.argmax(z)) if temperature == 0 else None
        if self.greedy is not None:
            return
        y = z / F(temperature)
        p = self.untruncated = exp(y - maximum(y))
        if 0 < top_k < len(z):
            p = p.copy()
            p[np.argsort(-y, kind="stable")[top_k:]] = 0
        B, mass = _blocks(p)
        if F(top_p) < 1:
            target = F(top_p) * mass
            order = np.argsort(-p, kind="stable")
            order = order[p[order] > 0]
            enough = np.add.accumulate(p[order], dtype=F) >= target
            kept = np.zeros_like(p)
            keep = order[:int(np.argmax(enough)) + 1] if enough.any() else order
            kept[keep] = p[keep]
            p = kept
            B, mass = _blocks(p)
        self.p, self.B, self.mass = p, B, mass

    def token(self, u):  # 10.2, 10.7
        if self.greedy is not None:
            return self.greedy
        p, target, total = self.p, F(u) * self.mass, F(0)
        for b, mass in enumerate(self.B):
            after = total + mass
            if not after > target:
                total = after
                continue
            ids = range(256 * b, min(256 * b + 256, len(p)))
            for i in ids:
                total = total + p[i]
                if total > target:
                    return i
            return next((i for i in reversed(ids) if p[i] > 0), ids[0])
        positive = np.flatnonzero(p > 0)
        return int(positive[-1]) if len(positive) else 0


# ---- 11: a stage -----------------------------------------------------------------------------------------------------------------

def stage_prompts(seed, iteration, stage, count):  # 11.1
    stage = stage or count
    return deal(seed, "prompts", iteration * stage, stage, count)


def deal(seed, stream, before, n, of):  # 11.1, 14.2
    orders, result = {}, []
    for a in range(before, before + n):
        c = a // of
        if c not in orders:
            orders[c] = shuffle(seed, stream, c, of)
        result.append(orders[c][a % of])
    return result


def token_uniform(seed, iteration, slot, k, place):  # 11.2
    return uniform(words(seed, "token", iteration, c0=place, c1=k, c2=slot)[..., 0])


def longest_answer(seed, iteration, slot, k, least, most):  # 11.2
    return least + below(words(seed, "length", iteration, c0=STREAM["token"], c1=k, c2=slot)[0], most - least + 1) if least else most


def answer(next_logits, seed, iteration, slot, k, max_new, eos=None, stops=None, **how):
    """11.2: tokens and log-probabilities. next_logits(tokens so far) gives the logits; stops(tokens) tells of the stop string."""
    tokens, noted = [], []
    while len(tokens) < max_new:
        z = next_logits(tokens)
        t = Distribution(z, **how).token(token_uniform(seed, iteration, slot, k, len(tokens)))
        noted.append(logprob(z, t))
        tokens.append(t)
        if t == eos or (stops and stops(tokens)):
            break
    return tokens, np.array(noted, F)


# ---- 12: rewards of text ---------------------------------------------------------------------------------------------------------

WORD = re.compile(rb"[A-Za-z0-9\x80-\xff]+(?:'[A-Za-z0-9\x80-\xff]+)*")


def words_of(text):  # 12.2
    return [w.lower() for w in WORD.findall(text.encode())]  # bytes.lower() changes ASCII only


def lexicon(text, weights):  # 12.3
    found = [weights[w] for w in words_of(text) if w in weights]
    return F(sequential(found, float) / len(found)) if found else F(0)


def length(text, n):  # 12.4
    off = abs(len(words_of(text)) - float(n))
    return F(-off / float(n)) if off else F(0)


def reward(spec, text):
    """12: (weight, value) of one spec that reads the answer alone."""
    weight, _, rest = spec.partition("*") if "*" in spec.split(":")[0] else ("1", "", spec)
    kind, _, argument = rest.partition(":")
    if kind == "lexicon":
        with open(argument, encoding="utf-8") as file:
            lines = [line.split() for line in file if line.strip() and not line.startswith("#")]
        return F(float(weight)), lexicon(text, {w.lower().encode(): F(float(x)) for w, x in lines})
    if kind == "length":
        return F(float(weight)), length(text, argument)
    raise ValueError(f"no reward of kind {kind!r} here")


def total(parts):  # 12: [(weight, value [N])] in the order of the specs
    sum_ = F(0)
    for weight, value in parts:
        sum_ = sum_ + weight * value
    return sum_


# ---- 13: ranking ------------------------------------------------------------------------------------------------------------------

def round_up(wanted):  # a fraction such as 0.1 is not exact in binary
    whole = math.floor(wanted)
    return whole + 1 if wanted - whole > 1e-9 * wanted else whole


def rank(score, log_ratio, slots, mode, K, beta=0.0, accept=None):
    """13: reward, rank and selected of every candidate, in the order of the list."""
    reward_ = score - F(beta) * log_ratio if beta else np.array(score)
    if not np.isfinite(reward_).all():
        raise ValueError(f"the reward of candidate {int(np.argmin(np.isfinite(reward_)))} is NaN or infinite (13.1)")
    order = np.argsort(-reward_, kind="stable")  # ties: index ascending
    n, ranks = len(order), np.zeros(len(order), np.int64)
    if mode == "local":
        met = {}
        for i in order:
            ranks[i] = met.get(slots[i], 0)
            met[slots[i]] = ranks[i] + 1
        return reward_, ranks, ranks == 0
    ranks[order] = np.arange(n)
    if accept:
        keep = round_up(accept * n)
    else:
        keep = -(-n // K)
    return reward_, ranks, ranks < min(max(keep, 1), n)


def sum_logprobs(values):  # 11.5
    return F(long(np.asarray(values, F)))
