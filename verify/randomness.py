# SPDX-License-Identifier: MIT
"""docs/SPEC.md, section 4: Philox4x32-10 and every draw made from it."""
import numpy as np
from arithmetic import D, F, H, cos_d, log_d, sin_d

STREAM = {"weights": 1, "prompts": 2, "token": 3, "examples": 4, "pieces": 5, "halves": 6, "corpus": 7, "bootstrap": 8, "evaluation": 10, "length": 11, "prompt length": 12, "replay": 13}
M32 = np.uint64(0xFFFFFFFF)


def philox(c0, c1, c2, c3, key):  # 4.1; counters may be arrays; result [..., 4]
    x = [np.asarray(c, np.uint64) for c in np.broadcast_arrays(c0, c1, c2, c3)]
    k = [np.uint64(key[0]), np.uint64(key[1])]
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * x[0], np.uint64(0xCD9E8D57) * x[2]
        x = [(b >> np.uint64(32)) ^ x[1] ^ k[0], b & M32, (a >> np.uint64(32)) ^ x[3] ^ k[1], a & M32]
        k = [(k[0] + np.uint64(0x9E3779B9)) & M32, (k[1] + np.uint64(0xBB67AE85)) & M32]
    return np.stack(x, axis=-1).astype(np.uint32)


def words(seed, stream, iteration, c0=0, c1=0, c2=0):  # 4.2
    return philox(c0, c1, c2, STREAM.get(stream, stream) << 24 | iteration, (seed & 0xFFFFFFFF, seed >> 32))


def uniform(w):  # 4.3
    return (np.asarray(w) >> np.uint32(8)).astype(F) * F(H("0x1p-24"))


def normals(w):  # 4.4: w [..., 4], result [..., 4]
    o = (w >> np.uint32(8)).astype(D) * H("0x1p-24") + H("0x1p-25")
    radius, angle = np.sqrt(-2 * log_d(o[..., 0::2])), H("0x1.921fb54442d18p+2") * o[..., 1::2]
    return np.stack([radius * cos_d(angle), radius * sin_d(angle)], axis=-1).reshape(w.shape).astype(F)


def below(w, n):  # 4.5
    return int(w) * n >> 32


def shuffle(seed, stream, iteration, n):  # 4.6
    order = list(range(n))
    w = words(seed, stream, iteration, c0=np.arange(n))[:, 0]
    for i in range(n - 1, -1, -1):
        j = below(w[i], i + 1)
        order[i], order[j] = order[j], order[i]
    return order


def test_values(seed, n, shift):  # tests/vectors/README.md: "philox:SEED:N:SHIFT"
    w = philox(np.arange((n + 3) // 4), 0, 0, 0, (seed & 0xFFFFFFFF, seed >> 32)).reshape(-1)[:n]
    return ((2 * uniform(w) - F(1)) * F(2.0 ** shift)).astype(F)
