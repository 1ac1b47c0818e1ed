// SPDX-License-Identifier: MIT
/* simd_avx2.h - the sixteen lanes of simd.h in two ymm registers. Include simd.h, never this. */
#ifndef RAFT_KERNELS_SIMD_AVX2_H
#define RAFT_KERNELS_SIMD_AVX2_H

#include <immintrin.h>

typedef struct { __m256 lo, hi; } v16;
typedef struct { __m256i lo, hi; } v16i;
typedef struct { __m256 lo, hi; } v16m; // all bits of a lane set, or none

#define V16_UNARY(name, type, op) static inline type name(type a) { return (type){op(a.lo), op(a.hi)}; }
#define V16_BINARY(name, type, op) static inline type name(type a, type b) { return (type){op(a.lo, b.lo), op(a.hi, b.hi)}; }
#define V16_COMPARE(name, relation) static inline v16m name(v16 a, v16 b) \
    { return (v16m){_mm256_cmp_ps(a.lo, b.lo, relation), _mm256_cmp_ps(a.hi, b.hi, relation)}; }

static inline v16i v16i_set(int32_t x) { return (v16i){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
static inline v16 v16_set(float x) { return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }

static inline v16i v16i_first(size_t n)
{
    __m256i count = _mm256_set1_epi32(n < 16 ? (int32_t)n : 16);
    return (v16i){_mm256_cmpgt_epi32(count, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
        _mm256_cmpgt_epi32(count, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15))};
}

static inline v16m v16_first(size_t n)
{
    v16i m = v16i_first(n);
    return (v16m){_mm256_castsi256_ps(m.lo), _mm256_castsi256_ps(m.hi)};
}

V16_BINARY(v16m_and, v16m, _mm256_and_ps)
V16_BINARY(v16m_or, v16m, _mm256_or_ps)
static inline bool v16m_any(v16m m) { return _mm256_movemask_ps(_mm256_or_ps(m.lo, m.hi)) != 0; }
static inline v16 v16_select(v16m m, v16 a, v16 b)
{
    return (v16){_mm256_blendv_ps(b.lo, a.lo, m.lo), _mm256_blendv_ps(b.hi, a.hi, m.hi)};
}

static inline v16 v16_load(const float *p) { return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void v16_store(float *p, v16 v)
{
    _mm256_storeu_ps(p, v.lo);
    _mm256_storeu_ps(p + 8, v.hi);
}
static inline v16 v16_load_n(const float *p, size_t n)
{
    v16i m = v16i_first(n);
    return (v16){_mm256_maskload_ps(p, m.lo), _mm256_maskload_ps(p + 8, m.hi)};
}
static inline void v16_store_n(float *p, v16 v, size_t n)
{
    v16i m = v16i_first(n);
    _mm256_maskstore_ps(p, m.lo, v.lo);
    _mm256_maskstore_ps(p + 8, m.hi, v.hi);
}

V16_BINARY(v16_add, v16, _mm256_add_ps)
V16_BINARY(v16_sub, v16, _mm256_sub_ps)
V16_BINARY(v16_mul, v16, _mm256_mul_ps)
V16_BINARY(v16_div, v16, _mm256_div_ps)
V16_UNARY(v16_sqrt, v16, _mm256_sqrt_ps)
static inline v16 v16_fma(v16 a, v16 b, v16 c) { return (v16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)}; }
static inline v16 v16_neg(v16 a)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (v16){_mm256_xor_ps(a.lo, sign), _mm256_xor_ps(a.hi, sign)};
}
static inline v16 v16_abs(v16 a)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (v16){_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}

// The instruction returns its second operand for two zeros: both orders, joined, give max +0 and min -0.
static inline __m256 v8_max(__m256 a, __m256 b) { return _mm256_and_ps(_mm256_max_ps(a, b), _mm256_max_ps(b, a)); }
static inline __m256 v8_min(__m256 a, __m256 b) { return _mm256_or_ps(_mm256_min_ps(a, b), _mm256_min_ps(b, a)); }
V16_BINARY(v16_max, v16, v8_max)
V16_BINARY(v16_min, v16, v8_min)
static inline v16 v16_clamp(v16 v, float low, float high)
{
    __m256 a = _mm256_set1_ps(low), b = _mm256_set1_ps(high);
    return (v16){_mm256_min_ps(b, _mm256_max_ps(a, v.lo)), _mm256_min_ps(b, _mm256_max_ps(a, v.hi))};
}

V16_COMPARE(v16_lt, _CMP_LT_OQ)
V16_COMPARE(v16_le, _CMP_LE_OQ)
V16_COMPARE(v16_gt, _CMP_GT_OQ)
V16_COMPARE(v16_ge, _CMP_GE_OQ)
V16_COMPARE(v16_eq, _CMP_EQ_OQ)

V16_BINARY(v16i_add, v16i, _mm256_add_epi32)
V16_BINARY(v16i_sub, v16i, _mm256_sub_epi32)
V16_BINARY(v16i_and, v16i, _mm256_and_si256)
static inline v16i v16i_shl(v16i a, int32_t bits)
{
    __m256i count = _mm256_set1_epi32(bits);
    return (v16i){_mm256_sllv_epi32(a.lo, count), _mm256_sllv_epi32(a.hi, count)};
}
static inline v16i v16i_sar(v16i a, int32_t bits)
{
    __m256i count = _mm256_set1_epi32(bits);
    return (v16i){_mm256_srav_epi32(a.lo, count), _mm256_srav_epi32(a.hi, count)};
}
static inline v16i v16_to_bits(v16 a) { return (v16i){_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
static inline v16 v16_from_bits(v16i a) { return (v16){_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }
static inline v16 v16_from_int(v16i a) { return (v16){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }

static inline float v16_sum(v16 v)
{
    __m256 eight = _mm256_add_ps(v.lo, v.hi);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline float v16_max_lanes(v16 v)
{
    __m256 m = v8_max(v.lo, v.hi);
    m = v8_max(m, _mm256_permute2f128_ps(m, m, 1));
    m = v8_max(m, _mm256_permute_ps(m, _MM_SHUFFLE(1, 0, 3, 2)));
    return _mm256_cvtss_f32(v8_max(m, _mm256_permute_ps(m, _MM_SHUFFLE(2, 3, 0, 1))));
}

#undef V16_UNARY
#undef V16_BINARY
#undef V16_COMPARE
#endif
