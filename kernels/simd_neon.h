// SPDX-License-Identifier: MIT
/* simd_neon.h - the sixteen lanes of simd.h in four aarch64 registers. Include simd.h, never this.
 * 32-bit NEON flushes subnormals and has no division, so it takes simd_plain.h. */
#ifndef RAFT_KERNELS_SIMD_NEON_H
#define RAFT_KERNELS_SIMD_NEON_H

#include <arm_neon.h>

typedef struct { float32x4_t a, b, c, d; } v16;
typedef struct { int32x4_t a, b, c, d; } v16i;
typedef struct { uint32x4_t a, b, c, d; } v16m; // all bits of a lane set, or none

#define V16_SAME(type, x) (type){x, x, x, x}
#define V16_MAP(name, to, from, op) static inline to name(from x) { return (to){op(x.a), op(x.b), op(x.c), op(x.d)}; }
#define V16_BINARY(name, to, from, op) \
    static inline to name(from x, from y) { return (to){op(x.a, y.a), op(x.b, y.b), op(x.c, y.c), op(x.d, y.d)}; }

static inline v16 v16_set(float x) { return V16_SAME(v16, vdupq_n_f32(x)); }
static inline v16i v16i_set(int32_t x) { return V16_SAME(v16i, vdupq_n_s32(x)); }

static inline v16m v16_first(size_t n)
{
    static const uint32_t index[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    uint32x4_t count = vdupq_n_u32(n < 16 ? (uint32_t)n : 16);
    return (v16m){vcltq_u32(vld1q_u32(index), count), vcltq_u32(vld1q_u32(index + 4), count),
        vcltq_u32(vld1q_u32(index + 8), count), vcltq_u32(vld1q_u32(index + 12), count)};
}

V16_BINARY(v16m_and, v16m, v16m, vandq_u32)
V16_BINARY(v16m_or, v16m, v16m, vorrq_u32)
static inline bool v16m_any(v16m m) { return vmaxvq_u32(vorrq_u32(vorrq_u32(m.a, m.b), vorrq_u32(m.c, m.d))) != 0; }
static inline v16 v16_select(v16m m, v16 x, v16 y)
{
    return (v16){vbslq_f32(m.a, x.a, y.a), vbslq_f32(m.b, x.b, y.b), vbslq_f32(m.c, x.c, y.c), vbslq_f32(m.d, x.d, y.d)};
}

static inline v16 v16_load(const float *p) { return (v16){vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}; }
static inline void v16_store(float *p, v16 v)
{
    vst1q_f32(p, v.a);
    vst1q_f32(p + 4, v.b);
    vst1q_f32(p + 8, v.c);
    vst1q_f32(p + 12, v.d);
}
static inline v16 v16_load_n(const float *p, size_t n)
{
    if (n >= 16) return v16_load(p);
    float lanes[16] = {0};
    memcpy(lanes, p, n * sizeof *p);
    return v16_load(lanes);
}
static inline void v16_store_n(float *p, v16 v, size_t n)
{
    float lanes[16];
    v16_store(lanes, v);
    memcpy(p, lanes, (n < 16 ? n : 16) * sizeof *p);
}

V16_BINARY(v16_add, v16, v16, vaddq_f32)
V16_BINARY(v16_sub, v16, v16, vsubq_f32)
V16_BINARY(v16_mul, v16, v16, vmulq_f32)
V16_BINARY(v16_div, v16, v16, vdivq_f32)
V16_BINARY(v16_max, v16, v16, vmaxq_f32) // this instruction orders -0 below +0
V16_BINARY(v16_min, v16, v16, vminq_f32)
V16_MAP(v16_sqrt, v16, v16, vsqrtq_f32)
V16_MAP(v16_neg, v16, v16, vnegq_f32)
V16_MAP(v16_abs, v16, v16, vabsq_f32)
static inline v16 v16_fma(v16 x, v16 y, v16 z)
{
    return (v16){vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c), vfmaq_f32(z.d, x.d, y.d)};
}
static inline v16 v16_clamp(v16 v, float low, float high) { return v16_min(v16_set(high), v16_max(v16_set(low), v)); }

V16_BINARY(v16_lt, v16m, v16, vcltq_f32)
V16_BINARY(v16_le, v16m, v16, vcleq_f32)
V16_BINARY(v16_gt, v16m, v16, vcgtq_f32)
V16_BINARY(v16_ge, v16m, v16, vcgeq_f32)
V16_BINARY(v16_eq, v16m, v16, vceqq_f32)

V16_BINARY(v16i_add, v16i, v16i, vaddq_s32)
V16_BINARY(v16i_sub, v16i, v16i, vsubq_s32)
V16_BINARY(v16i_and, v16i, v16i, vandq_s32)
static inline v16i v16i_shl(v16i v, int32_t bits)
{
    int32x4_t count = vdupq_n_s32(bits);
    return (v16i){vshlq_s32(v.a, count), vshlq_s32(v.b, count), vshlq_s32(v.c, count), vshlq_s32(v.d, count)};
}
static inline v16i v16i_sar(v16i v, int32_t bits) { return v16i_shl(v, -bits); } // a negative count shifts right, keeping the sign
V16_MAP(v16_to_bits, v16i, v16, vreinterpretq_s32_f32)
V16_MAP(v16_from_bits, v16, v16i, vreinterpretq_f32_s32)
V16_MAP(v16_from_int, v16, v16i, vcvtq_f32_s32)

static inline float v16_sum(v16 v)
{
    float32x4_t four = vaddq_f32(vaddq_f32(v.a, v.c), vaddq_f32(v.b, v.d)); // (i, i+8), then (i, i+4)
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

static inline float v16_max_lanes(v16 v) { return vmaxvq_f32(vmaxq_f32(vmaxq_f32(v.a, v.c), vmaxq_f32(v.b, v.d))); }

#undef V16_SAME
#undef V16_MAP
#undef V16_BINARY
#endif
