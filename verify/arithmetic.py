# SPDX-License-Identifier: MIT
"""Arithmetic and functions of docs/SPEC.md, sections 1 to 3, in numpy.

Written from the specification, not from the C. Floats are numpy float32 arrays, doubles float64; every line below is one operation
of the specification, because numpy neither contracts nor reassociates. Start reading at fma, then chain, lanes, long.
"""
import numpy as np

F, D = np.float32, np.float64
H = float.fromhex
np.seterr(all="ignore")  # infinities and NaN are values here


def f32(x):
    return np.asarray(x, dtype=F)


# ---- 1 arithmetic ------------------------------------------------------------------------------------------------------------

def fma(a, b, c):
    """1.2: a * b + c rounded once. Rounding the double s = a * b + c to float errs only where s is midway between two floats or
    below the normal floats; there, and only there, s is first rounded to odd."""
    p = np.asarray(np.multiply(a, b, dtype=D))  # exact
    c = np.asarray(c, dtype=D)
    s = np.asarray(p + c)
    r = s.astype(F)
    midway = (s.view(np.int64) & 0x1FFFFFFF) == 0x10000000
    midway |= (np.abs(s) < H("0x1p-126")) & (s != 0)
    if midway.any():
        r[midway] = _odd(np.broadcast_to(p, s.shape)[midway], np.broadcast_to(c, s.shape)[midway]).astype(F)
    return r


def _odd(p, c):
    s = p + c
    t = s - p
    e = (p - (s - t)) + (c - t)
    bits = s.view(np.int64).copy()
    inexact = np.abs(e) > 0
    bits[inexact & (np.signbit(s) != np.signbit(e))] -= 1
    bits[inexact] |= 1
    return bits.view(D)


def maximum(x):
    """1.3 over the last axis: exact; max(+0, -0) = +0."""
    m = np.max(x, axis=-1)
    positive_zero = ((x == 0) & ~np.signbit(x)).any(axis=-1)
    return np.where((m == 0) & positive_zero, F(0), m)


def chain(a, b, start=None):
    """1.4: out[r, o] = chain over i of a[r, i] b[o, i], from start[r, o]."""
    s = np.zeros((len(a), len(b)), F) if start is None else f32(start)
    columns_a, columns_b = np.ascontiguousarray(a.T, dtype=D), np.ascontiguousarray(b.T, dtype=D)
    for i in range(a.shape[1]):
        s = fma(columns_a[i][:, None], columns_b[i][None, :], s)
    return s


def lanes(x, y=None):
    """1.5 over the last axis: the lane sum of x, or of the products x y. Lanes past the end of the last group keep their value; to
    step them with +0 operands could only turn a -0 into +0, which a long sum's total does anyway."""
    L = np.zeros(x.shape[:-1] + (16,), F)
    for i in range(0, x.shape[-1], 16):
        a = x[..., i:i + 16]
        part = L[..., :a.shape[-1]]
        L[..., :a.shape[-1]] = part + a if y is None else fma(a, y[..., i:i + 16], part)
    for h in (8, 4, 2, 1):
        L[..., :h] = L[..., :h] + L[..., h:2 * h]
    return L[..., 0]


def long(x, y=None):
    """1.6 over the last axis, a double."""
    n, total = x.shape[-1], np.zeros(x.shape[:-1] + (1,), D)
    whole = n // 4096 * 4096
    parts = [total]
    if whole:
        blocks = x.shape[:-1] + (whole // 4096, 4096)
        parts.append(lanes(x[..., :whole].reshape(blocks), None if y is None else y[..., :whole].reshape(blocks)).astype(D))
    if n > whole:
        parts.append(lanes(x[..., whole:], None if y is None else y[..., whole:]).astype(D)[..., None])
    return np.add.accumulate(np.concatenate(parts, axis=-1), axis=-1)[..., -1]


def sequential(x, dtype):
    """1.7: one accumulator from +0, index ascending."""
    return np.add.accumulate(np.concatenate([[0], np.asarray(x)]).astype(dtype), dtype=dtype)[-1]


# ---- 2 float functions ---------------------------------------------------------------------------------------------------------

EXP = [F(H(c)) for c in "0x1.12396ep-7 0x1.5558aap-5 0x1.555492p-3 0x1.fffffcp-2 0x1p+0 0x1p+0".split()]
LOG = [F(H(c)) for c in ("0x1.1e678cp-3 -0x1.f332f8p-4 0x1.1ed662p-3 -0x1.559c44p-3 0x1.99d044p-3 -0x1.fffefcp-3 "
                         "0x1.555506p-2 -0x1p-1").split()]
LN2 = F(H("0x1.62e430p-1"))


def exp(x):  # 2.1
    x = np.minimum(F(89), np.maximum(F(-104), f32(x)))  # both keep a NaN
    magic = F(H("0x1.8p+23"))
    t = fma(x, F(H("0x1.715476p+0")), magic)
    n = t - magic
    r = fma(-n, F(-H("0x1.05c610p-29")), fma(-n, LN2, x))
    p = np.full_like(r, F(H("0x1.6a524ep-10")))
    for c in EXP:
        p = fma(p, r, c)
    k = np.nan_to_num(n).astype(np.int32)
    h = k >> 1
    return (p * _power_of_two(h)) * _power_of_two(k - h)


def _power_of_two(k):
    return ((k + 127) << 23).astype(np.int32).view(F)


def log(x):  # 2.2
    x = f32(x)
    small = x < F(H("0x1p-126"))
    scaled, e0 = np.where(small, x * F(H("0x1p+23")), x), np.where(small, F(-23), F(0))
    b = scaled.view(np.int32).astype(np.int64)
    q = (b - 0x3F2AAAAB) >> 23
    e = q.astype(F) + e0
    f = (b - (q << 23)).astype(np.int32).view(F) - F(1)
    p = np.full_like(f, F(H("-0x1.07c894p-3")))
    for c in LOG:
        p = fma(p, f, c)
    y = fma(e, LN2, fma(p, f * f, f))
    y = np.where(x == 0, F(-np.inf), np.where(np.isposinf(x), x, y))
    return np.where((x < 0) | np.isnan(x), F(np.nan), y)


def sigmoid(x):  # 2.3
    x = f32(x)
    e = exp(-np.abs(x))
    return np.where(x < 0, e, F(1)) / (F(1) + e)


# ---- 3 double functions -------------------------------------------------------------------------------------------------------

LH, LL, R = H("0x1.62e42fee00000p-1"), H("0x1.a39ef35793c76p-33"), H("0x1.8p+52")
INVERSE = {k: H(c) for k, c in zip(range(2, 19), (
    "0x1p-1 0x1.5555555555555p-3 0x1.5555555555555p-5 0x1.1111111111111p-7 0x1.6c16c16c16c17p-10 0x1.a01a01a01a01ap-13 "
    "0x1.a01a01a01a01ap-16 0x1.71de3a556c734p-19 0x1.27e4fb7789f5cp-22 0x1.ae64567f544e4p-26 0x1.1eed8eff8d898p-29 "
    "0x1.6124613a86d09p-33 0x1.93974a8c07c9dp-37 0x1.ae7f3e733b81fp-41 0x1.ae7f3e733b81fp-45 0x1.952c77030ad4ap-49 "
    "0x1.6827863b97d97p-53").split())}


def exp_d(x, tail=0.0):  # 3.1
    x = np.asarray(x, D)
    inside = np.where((x >= -746) & (x <= 710), x, 0.0)
    n = (inside * H("0x1.71547652b82fep+0") + R) - R
    a, b = inside - n * LH, tail - n * LL
    r = a + b
    lost = b - (r - a)
    p = np.full_like(r, INVERSE[13])
    for k in range(12, 1, -1):
        p = p * r + INVERSE[k]
    y = 1 + (r + ((r * r) * p + (lost + lost * r)))
    m = np.trunc(n / 2)
    y = np.ldexp(np.ldexp(y, m.astype(int)), (n - m).astype(int))
    return np.where(np.isnan(x), x, np.where(x > 710, np.inf, np.where(x < -746, 0.0, y)))


def _split(x):
    small = x < H("0x1p-1022")
    b = np.where(small, x * H("0x1p+54"), x).view(np.int64) + (0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    E = np.where(small, -54, 0) + (b >> 52) - 1023
    m = ((b & ((1 << 52) - 1)) + 0x3FE6A09E667F3BCD).view(D)
    return E.astype(D), m


def log_d(x):  # 3.2
    x = np.asarray(x, D)
    E, m = _split(np.where((x > 0) & (x < np.inf), x, 1.0))
    f = m - 1
    s = f / (2 + f)
    z = s * s
    h = 0.5 * f * f
    p = np.zeros_like(f)
    for k in range(23, 2, -2):
        p = (p + 2 / k) * z
    y = E * LH - ((h - (s * (h + p) + E * LL)) - f)
    y = np.where(x == 0, -np.inf, np.where(x < 0, np.nan, y))
    return np.where(np.isposinf(x) | np.isnan(x), x, y)


def log1p_d(x):  # 3.3
    x = np.asarray(x, D)
    u = 1 + x
    lost = np.where(x < 1, x - (u - 1), 1 - (u - x))
    return np.where((u > 0) & (u <= H("0x1p+60")), log_d(u) + lost / u, log_d(u))


def _two_sum(a, b):  # 3.4
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _two_product(a, b):
    p = a * b
    a1 = a * H("0x1.0000002p27")
    a1 = a1 - (a1 - a)
    b1 = b * H("0x1.0000002p27")
    b1 = b1 - (b1 - b)
    a2, b2 = a - a1, b - b1
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


def _add(A, B):
    s, t = _two_sum(A[0], B[0])
    return _two_sum(s, t + (A[1] + B[1]))


def _multiply(A, B):
    p, t = _two_product(A[0], B[0])
    return _two_sum(p, t + (A[0] * B[1] + A[1] * B[0]))


def _divide(A, B):
    q = A[0] / B[0]
    p, t = _two_product(q, B[0])
    return _two_sum(q, (((A[0] - p) - t) + (A[1] - q * B[1])) / B[0])


def pow_d(x, y):  # 3.5, one pair of numbers
    x, y = float(x), float(y)
    if 0 <= y <= 64 and y == int(y):
        result = 1.0
        for _ in range(int(y)):
            result *= x
        return result
    if not x > 0 or x == float("inf"):
        return float(exp_d(y * log_d(x)))
    E, m = (float(v) for v in _split(np.asarray(x, D)))
    S = _divide((m - 1, 0.0), _two_sum(1.0, m))
    Z, P = _multiply(S, S), (0.0, 0.0)
    for k in range(33, 0, -2):
        P = _add(P, _divide((2.0, 0.0), (float(k), 0.0)))
        P = _multiply(P, Z if k > 1 else S)
    G = _add(_two_sum(E * LH, E * LL), P)
    high, low = _two_product(y, G[0])
    low = low + y * G[1]
    return float(exp_d(high, low) if -746 < high < 710 else exp_d(high))


def _sin_cos(x):  # 3.6
    x = np.asarray(x, D)
    n = (x * H("0x1.45f306dc9c883p-1") + R) - R
    high, low = _two_sum(x - n * H("0x1.921fb54400000p+0"), -n * H("0x1.0b4611a600000p-34"))
    r, l = _two_sum(high, low - n * H("0x1.3198a2e037073p-69"))
    z = r * r
    p = np.full_like(z, INVERSE[17])
    for k in range(15, 2, -2):
        p = INVERSE[k] - z * p
    S = r + (l * (1 - 0.5 * z) - r * (z * p))
    p = np.full_like(z, INVERSE[18])
    for k in range(16, 3, -2):
        p = INVERSE[k] - z * p
    h = 0.5 * z
    w = 1 - h
    C = w + (((1 - w) - h) + (z * z * p - r * l))
    return S, C, n.astype(np.int64) & 3


def sin_d(x):
    S, C, q = _sin_cos(x)
    y = np.where(q & 1, C, S)
    return np.where(q >= 2, -y, y)


def cos_d(x):
    S, C, q = _sin_cos(x)
    y = np.where(q & 1, S, C)
    return np.where((q == 1) | (q == 2), -y, y)
