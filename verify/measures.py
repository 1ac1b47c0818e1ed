# SPDX-License-Identifier: MIT
"""docs/SPEC.md, section 17: measures with 95 % intervals, each (mean, lo, hi)."""
from collections import Counter
from files import np
from arithmetic import D, F, exp_d, sequential
from randomness import below, words

Z = 1.96


def mean(v):  # 17.1
    v = np.asarray(v).astype(D)
    n = len(v)
    m = sequential(v, D) / n
    margin = Z * np.sqrt(sequential((v - m) * (v - m), D) / (n - 1) / n) if n > 1 else 0.0
    return [m, m - margin, m + margin]


def rate(hits, n):  # 17.2
    p, z2 = hits / n, Z * Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    margin = Z / (1 + z2 / n) * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    lo, hi = centre - margin, centre + margin
    return [p, 0.0 if hits == 0 or lo < 0 else lo, 1.0 if hits == n or hi > 1 else hi]


def ratio(v, w):  # 17.3
    v, w, n = np.asarray(v).astype(D), np.asarray(w).astype(D), len(v)
    sum_w = sequential(w, D)
    r = sequential(v, D) / sum_w
    off = v - r * w
    margin = Z * np.sqrt(sequential(off * off, D) / n / (n - 1)) / (sum_w / n)
    return [r, r - margin, r + margin]


def perplexity(v, w):
    r, lo, hi = ratio(v, w)
    return [float(exp_d(-x)) for x in (r, hi, lo)]


def ngrams(answers, n, cut, seed, once):  # 17.4
    grams = [[tuple(a[i:i + n]) for i in range(len(a) - n + 1)] for a in (a[:cut] if cut else a for a in answers)]

    def share(sample):
        counts = Counter(g for a in sample for g in a)
        total = sum(counts.values())
        return (sum(c == 1 for c in counts.values()) if once else len(counts)) / total if total else 0.0

    estimate, N = share(grams), len(grams)
    draws = [share([grams[below(w, N)] for w in words(seed, "bootstrap", 0, c0=np.arange(N), c1=d)[:, 0]]) for d in range(200)]
    m = sequential([s / 200 for s in draws], D)
    draws.sort()
    return [estimate, max(0.0, draws[5] + (estimate - m)), min(1.0, draws[194] + (estimate - m))]


def msttr(answers, segment):  # 17.5
    tokens = [t for a in answers for t in a]
    return mean(np.array([F(len(set(tokens[i:i + segment])) / segment) for i in range(0, len(tokens) - segment + 1, segment)], F))


def measures(cut, segment, seed, tokens, value):  # a case of tests/vectors
    lengths = [len(t) for t in tokens]
    out = {"mean": mean(value), "rate": rate(int((value > 0).sum()), len(value)), "ratio": ratio(value, lengths),
           "perplexity": perplexity(value, lengths), "msttr": msttr(tokens, segment)}
    for n in (1, 2):
        out[f"distinct_{n}"] = ngrams(tokens, n, cut, seed, False)
        out[f"unique_{n}"] = ngrams(tokens, n, cut, seed, True)
    return {name: np.array(v, D) for name, v in out.items()}
