// SPDX-License-Identifier: MIT
/* simd_avx512.h - the sixteen lanes of simd.h in one zmm register. Include simd.h, never this. */
#ifndef RAFT_KERNELS_SIMD_AVX512_H
#define RAFT_KERNELS_SIMD_AVX512_H

#include <immintrin.h>

typedef __m512 v16;
typedef __m512i v16i;
typedef __mmask16 v16m;

static inline v16m v16_first(size_t n) { return (v16m)(n >= 16 ? 0xffffu : (1u << n) - 1u); }
static inline v16m v16m_and(v16m a, v16m b) { return (v16m)(a & b); }
static inline v16m v16m_or(v16m a, v16m b) { return (v16m)(a | b); }
static inline bool v16m_any(v16m m) { return m != 0; }
static inline v16 v16_select(v16m m, v16 a, v16 b) { return _mm512_mask_blend_ps(m, b, a); }

static inline v16 v16_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v16_store(float *p, v16 v) { _mm512_storeu_ps(p, v); }
static inline v16 v16_load_n(const float *p, size_t n) { return _mm512_maskz_loadu_ps(v16_first(n), p); }
static inline void v16_store_n(float *p, v16 v, size_t n) { _mm512_mask_storeu_ps(p, v16_first(n), v); }
static inline v16 v16_set(float x) { return _mm512_set1_ps(x); }

static inline v16 v16_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
static inline v16 v16_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
static inline v16 v16_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
static inline v16 v16_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
static inline v16 v16_sqrt(v16 a) { return _mm512_sqrt_ps(a); }
static inline v16 v16_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
static inline v16 v16_neg(v16 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
static inline v16 v16_abs(v16 a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }

// The instruction returns its second operand for two zeros: both orders, joined, give max +0 and min -0.
static inline v16 v16_max(v16 a, v16 b) { return _mm512_and_ps(_mm512_max_ps(a, b), _mm512_max_ps(b, a)); }
static inline v16 v16_min(v16 a, v16 b) { return _mm512_or_ps(_mm512_min_ps(a, b), _mm512_min_ps(b, a)); }
static inline v16 v16_clamp(v16 v, float low, float high)
{
    return _mm512_min_ps(_mm512_set1_ps(high), _mm512_max_ps(_mm512_set1_ps(low), v));
}

static inline v16m v16_lt(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline v16m v16_le(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
static inline v16m v16_gt(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
static inline v16m v16_ge(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
static inline v16m v16_eq(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }

static inline v16i v16i_set(int32_t x) { return _mm512_set1_epi32(x); }
static inline v16i v16i_add(v16i a, v16i b) { return _mm512_add_epi32(a, b); }
static inline v16i v16i_sub(v16i a, v16i b) { return _mm512_sub_epi32(a, b); }
static inline v16i v16i_and(v16i a, v16i b) { return _mm512_and_si512(a, b); }
static inline v16i v16i_shl(v16i a, int32_t bits) { return _mm512_sllv_epi32(a, _mm512_set1_epi32(bits)); }
static inline v16i v16i_sar(v16i a, int32_t bits) { return _mm512_srav_epi32(a, _mm512_set1_epi32(bits)); }
static inline v16i v16_to_bits(v16 a) { return _mm512_castps_si512(a); }
static inline v16 v16_from_bits(v16i a) { return _mm512_castsi512_ps(a); }
static inline v16 v16_from_int(v16i a) { return _mm512_cvtepi32_ps(a); }

static inline float v16_sum(v16 v)
{
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline float v16_max_lanes(v16 v)
{
    v = v16_max(v, _mm512_shuffle_f32x4(v, v, _MM_SHUFFLE(1, 0, 3, 2)));
    v = v16_max(v, _mm512_shuffle_f32x4(v, v, _MM_SHUFFLE(2, 3, 0, 1)));
    v = v16_max(v, _mm512_permute_ps(v, _MM_SHUFFLE(1, 0, 3, 2)));
    return _mm512_cvtss_f32(v16_max(v, _mm512_permute_ps(v, _MM_SHUFFLE(2, 3, 0, 1))));
}

#endif
