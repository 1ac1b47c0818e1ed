// SPDX-License-Identifier: MIT
/* strict.h - what the numerics contract asks of a compiler and a thread before any vector is touched: plain IEEE 754
 * single and double arithmetic, the rounding mode, and a fused multiply-add for machines that have none.
 *
 *     #pragma omp parallel
 *     { fp_strict(); ... }                      // every thread that computes
 *     float y = soft_fmaf(a, b, c);             // a*b + c rounded once, on any machine
 *
 * Bodies live here because both must be inlined into inner loops. Knows nothing of vectors: those are in simd.h.
 */
#ifndef RAFT_KERNELS_STRICT_H
#define RAFT_KERNELS_STRICT_H

#include <float.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "-ffast-math changes results: the numerics contract cannot hold"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
_Static_assert(FLT_EVAL_METHOD == 0, "float and double expressions must be rounded to their type (on i386: -msse2 -mfpmath=sse)");
_Static_assert(FLT_RADIX == 2 && FLT_MANT_DIG == 24 && DBL_MANT_DIG == 53, "IEEE 754 binary32 and binary64 are needed");

// Round to nearest even and keep subnormals, for the calling thread. A register read when nothing has to change.
static inline void fp_strict(void)
{
#if defined(__SSE2__)
    enum { DENORMALS_ARE_ZERO = 1 << 6, ROUNDING = 3 << 13, FLUSH_TO_ZERO = 1 << 15 };
    unsigned mode = _mm_getcsr();
    if (mode & (DENORMALS_ARE_ZERO | ROUNDING | FLUSH_TO_ZERO))
        _mm_setcsr(mode & ~(unsigned)(DENORMALS_ARE_ZERO | ROUNDING | FLUSH_TO_ZERO));
#elif defined(__aarch64__)
    const uint64_t clear = (uint64_t)3 << 22 | (uint64_t)1 << 24 | 3; // RMode, FZ, AH and FIZ
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    if (mode & clear) __asm__ volatile("msr fpcr, %0" : : "r"(mode & ~clear));
#elif defined(__arm__) && defined(__ARM_FP)
    const uint32_t clear = (uint32_t)3 << 22 | (uint32_t)1 << 24; // RMode, FZ
    uint32_t mode;
    __asm__ volatile("vmrs %0, fpscr" : "=r"(mode));
    if (mode & clear) __asm__ volatile("vmsr fpscr, %0" : : "r"(mode & ~clear));
#endif
#if defined(__GNUC__)
    __asm__ volatile("" : : : "memory"); // no number is loaded before the mode is set
#endif
}

/* a*b + c rounded once. The product of two floats is exact in double; the sum is rounded to odd (an inexact sum takes the
 * neighbour whose last bit is 1), which keeps enough of the lost part that the last rounding, to float, is the right one
 * (Boldo and Melquiond 2008). An infinite or NaN sum has a NaN error and is left alone. */
static inline float soft_fmaf(float a, float b, float c)
{
    double product = (double)a * (double)b, addend = (double)c;
    double sum = product + addend;
    double back = sum - product; // Knuth's two-sum: sum + error is exactly product + addend
    double error = (product - (sum - back)) + (addend - back);
    uint64_t sum_bits, error_bits;
    memcpy(&sum_bits, &sum, sizeof sum);
    memcpy(&error_bits, &error, sizeof error);
    uint64_t magnitude_bits = error_bits & UINT64_C(0x7fffffffffffffff);
    double magnitude;
    memcpy(&magnitude, &magnitude_bits, sizeof magnitude);
    uint64_t inexact = magnitude > 0;
    uint64_t away = (sum_bits ^ error_bits) >> 63 & inexact; // the sum was rounded away from zero: one step back
    sum_bits = (sum_bits - away) | inexact;
    memcpy(&sum, &sum_bits, sizeof sum);
    return (float)sum;
}

// The square root, correctly rounded, by the schoolbook method: two bits of x brought down for one bit of the root.
static inline double soft_sqrt(double x)
{
    if (!(x > 0)) return x == 0 ? x : (x - x) / (x - x);
    if (x > DBL_MAX) return x;
    int exponent = 0;
    if (x < DBL_MIN) x *= 0x1p54, exponent = -54;
    uint64_t bits, root = 0, rest = 0;
    memcpy(&bits, &x, sizeof bits);
    exponent += (int)(bits >> 52) - 1023;
    uint64_t mantissa = (bits & UINT64_C(0xfffffffffffff)) | UINT64_C(1) << 52;
    if (exponent & 1) mantissa <<= 1, exponent--;
    for (int pair = 0; pair < 54; pair++) { // 53 bits of the root and one that rounds it: a root is never half way
        rest = rest << 2 | (pair < 27 ? mantissa >> (52 - 2 * pair) & 3 : 0);
        uint64_t trial = root << 2 | 1;
        root <<= 1;
        if (rest >= trial) rest -= trial, root |= 1;
    }
    root = (root + 1) >> 1;
    bits = ((uint64_t)(exponent / 2 + 1022) << 52) + root; // root carries the leading bit into the exponent
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline double strict_sqrt(double x)
{
#if defined(__SSE2__)
    return _mm_cvtsd_f64(_mm_sqrt_sd(_mm_set_sd(x), _mm_set_sd(x)));
#elif defined(__aarch64__)
    return vget_lane_f64(vsqrt_f64(vdup_n_f64(x)), 0);
#else
    return soft_sqrt(x);
#endif
}

// Rounding the double root once more cannot go wrong: 53 bits are at least 2 * 24 + 2 (Figueroa 1995).
static inline float strict_sqrtf(float x) { return (float)strict_sqrt((double)x); }

#endif
