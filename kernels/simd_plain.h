// SPDX-License-Identifier: MIT
/* simd_plain.h - the sixteen lanes of simd.h as an array, in standard C: what every other mapping is compared with, and what
 * runs where none of them does. Never uses a fused multiply-add of the machine or the C library. Include simd.h, never this.
 */
#ifndef RAFT_KERNELS_SIMD_PLAIN_H
#define RAFT_KERNELS_SIMD_PLAIN_H

// Long functions stay functions: sixteen soft multiply-adds dwarf a call, and compilers choke on many copies of them.
#if defined(__GNUC__)
#define V16_LONG static __attribute__((noinline, unused))
#else
#define V16_LONG static inline
#endif
#if defined(__GNUC__) && defined(__SANITIZE_ADDRESS__)
#define V16_SHORT V16_LONG // gcc takes minutes over checks in many inlined copies
#else
#define V16_SHORT static inline
#endif

typedef struct { float f[16]; } v16;
typedef struct { int32_t i[16]; } v16i;
typedef struct { int32_t m[16]; } v16m; // -1 or 0

#define V16_LOOP for (int i = 0; i < 16; i++)
#define V16_MAP(name, expression) V16_SHORT v16 name(v16 a) { v16 r; V16_LOOP r.f[i] = expression; return r; }
#define V16_BINARY(name, expression) V16_SHORT v16 name(v16 a, v16 b) { v16 r; V16_LOOP r.f[i] = expression; return r; }
#define V16_COMPARE(name, relation) \
    V16_SHORT v16m name(v16 a, v16 b) { v16m r; V16_LOOP r.m[i] = -(a.f[i] relation b.f[i]); return r; }
#define V16I_BINARY(name, expression) V16_SHORT v16i name(v16i a, v16i b) { v16i r; V16_LOOP r.i[i] = expression; return r; }

V16_SHORT v16 v16_set(float x) { v16 r; V16_LOOP r.f[i] = x; return r; }
V16_SHORT v16i v16i_set(int32_t x) { v16i r; V16_LOOP r.i[i] = x; return r; }

V16_SHORT v16m v16_first(size_t n)
{
    v16m r;
    int32_t count = n < 16 ? (int32_t)n : 16;
    V16_LOOP r.m[i] = -(i < count);
    return r;
}
V16_SHORT v16m v16m_and(v16m a, v16m b) { v16m r; V16_LOOP r.m[i] = a.m[i] & b.m[i]; return r; }
V16_SHORT v16m v16m_or(v16m a, v16m b) { v16m r; V16_LOOP r.m[i] = a.m[i] | b.m[i]; return r; }
V16_SHORT bool v16m_any(v16m a) { int32_t any = 0; V16_LOOP any |= a.m[i]; return any != 0; }

V16_SHORT v16i v16_to_bits(v16 a) { v16i r; memcpy(&r, &a, sizeof r); return r; }
V16_SHORT v16 v16_from_bits(v16i a) { v16 r; memcpy(&r, &a, sizeof r); return r; }
V16_SHORT v16 v16_from_int(v16i a) { v16 r; V16_LOOP r.f[i] = (float)a.i[i]; return r; }
V16_SHORT v16 v16_select(v16m m, v16 a, v16 b)
{
    v16i x = v16_to_bits(a), y = v16_to_bits(b);
    V16_LOOP x.i[i] = (x.i[i] & m.m[i]) | (y.i[i] & ~m.m[i]);
    return v16_from_bits(x);
}

V16_SHORT v16 v16_load(const float *p) { v16 r; memcpy(&r, p, sizeof r); return r; }
V16_SHORT void v16_store(float *p, v16 v) { memcpy(p, &v, sizeof v); }
V16_SHORT v16 v16_load_n(const float *p, size_t n)
{
    v16 r = {{0}};
    memcpy(&r, p, (n < 16 ? n : 16) * sizeof *p);
    return r;
}
V16_SHORT void v16_store_n(float *p, v16 v, size_t n) { memcpy(p, &v, (n < 16 ? n : 16) * sizeof *p); }

V16_BINARY(v16_add, a.f[i] + b.f[i])
V16_BINARY(v16_sub, a.f[i] - b.f[i])
V16_BINARY(v16_mul, a.f[i] * b.f[i])
V16_BINARY(v16_div, a.f[i] / b.f[i])
V16_MAP(v16_neg, -a.f[i])
V16_SHORT v16 v16_fma(v16 a, v16 b, v16 c) { v16 r; V16_LOOP r.f[i] = soft_fmaf(a.f[i], b.f[i], c.f[i]); return r; }
V16_SHORT v16 v16_abs(v16 a)
{
    v16i bits = v16_to_bits(a);
    V16_LOOP bits.i[i] &= INT32_MAX;
    return v16_from_bits(bits);
}

V16_MAP(v16_sqrt, strict_sqrtf(a.f[i]))

// Equal operands are two zeros or the same bits: joined, they give max +0 and min -0.
V16_SHORT v16 v16_max(v16 a, v16 b)
{
    v16i x, y;
    v16 p, q;
    V16_LOOP p.f[i] = a.f[i] > b.f[i] ? a.f[i] : b.f[i];
    V16_LOOP q.f[i] = b.f[i] > a.f[i] ? b.f[i] : a.f[i];
    x = v16_to_bits(p), y = v16_to_bits(q);
    V16_LOOP x.i[i] &= y.i[i];
    return v16_from_bits(x);
}
V16_SHORT v16 v16_min(v16 a, v16 b)
{
    v16i x, y;
    v16 p, q;
    V16_LOOP p.f[i] = a.f[i] < b.f[i] ? a.f[i] : b.f[i];
    V16_LOOP q.f[i] = b.f[i] < a.f[i] ? b.f[i] : a.f[i];
    x = v16_to_bits(p), y = v16_to_bits(q);
    V16_LOOP x.i[i] |= y.i[i];
    return v16_from_bits(x);
}
V16_SHORT v16 v16_clamp(v16 v, float low, float high)
{
    V16_LOOP v.f[i] = low > v.f[i] ? low : v.f[i];
    V16_LOOP v.f[i] = high < v.f[i] ? high : v.f[i];
    return v;
}

V16_COMPARE(v16_lt, <)
V16_COMPARE(v16_le, <=)
V16_COMPARE(v16_gt, >)
V16_COMPARE(v16_ge, >=)
V16_COMPARE(v16_eq, ==)

// Through unsigned arithmetic, which wraps; the bits are those of the vector instructions.
V16I_BINARY(v16i_add, (int32_t)((uint32_t)a.i[i] + (uint32_t)b.i[i]))
V16I_BINARY(v16i_sub, (int32_t)((uint32_t)a.i[i] - (uint32_t)b.i[i]))
V16I_BINARY(v16i_and, a.i[i] & b.i[i])
V16_SHORT v16i v16i_shl(v16i a, int32_t bits) { v16i r; V16_LOOP r.i[i] = (int32_t)((uint32_t)a.i[i] << bits); return r; }
V16_SHORT v16i v16i_sar(v16i a, int32_t bits) { v16i r; V16_LOOP r.i[i] = a.i[i] >> bits; return r; }

V16_SHORT float v16_sum(v16 v)
{
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) v.f[i] += v.f[i + half];
    return v.f[0];
}

V16_SHORT float v16_max_lanes(v16 v)
{
    for (int half = 8; half; half /= 2) {
        v16 other = v;
        for (int i = 0; i < half; i++) other.f[i] = v.f[i + half];
        v = v16_max(v, other);
    }
    return v.f[0];
}

#undef V16_LOOP
#undef V16_MAP
#undef V16_BINARY
#undef V16_COMPARE
#undef V16I_BINARY
#endif
