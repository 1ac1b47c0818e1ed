// SPDX-License-Identifier: MIT
/* hostmath.c - elementary functions in double from + - * / and square root alone, each in one fixed order. The series are
 * Taylor's after a reduction that makes them short; where the leading term would lose bits, its rounding error is carried
 * along. Knows nothing of vectors: those have vecmath.h.
 */
#include "kernels/hostmath.h"

#include "kernels/strict.h"

#include <assert.h>
#include <math.h> // INFINITY and NAN, no function
#include <stdbool.h>
#include <stddef.h>

// ln 2 and pi/2 in pieces; all but the last have trailing zeros, so that their products with the integers below are exact.
static const double LN2_HIGH = 0x1.62e42fee00000p-1, LN2_LOW = 0x1.a39ef35793c76p-33;
static const double PI_2_HIGH = 0x1.921fb54400000p+0, PI_2_MIDDLE = 0x1.0b4611a600000p-34, PI_2_LOW = 0x1.3198a2e037073p-69;
static const double ROUND = 0x1.8p52; // adding and subtracting it rounds to the nearest integer

double host_sqrt(double x) { return strict_sqrt(x); }
float host_fmaf(float a, float b, float c) { return soft_fmaf(a, b, c); }

static double from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double power_of_two(int n) { return from_bits((uint64_t)(n + 1023) << 52); } // -1022 <= n <= 1023

// x * 2^n with one rounding when the result is subnormal or overflows
static double scale_by(double x, int n) { return x * power_of_two(n / 2) * power_of_two(n - n / 2); }

// e^(x + tail) for a tail of rounding size
static double exp_pair(double x, double tail)
{
    // 1/k! for k = 13 .. 2; |r| <= ln 2 / 2, so the next term is below 2^-57
    static const double inverse_factorial[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
        1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5};
    if (x > 710) return INFINITY;
    if (x < -746) return 0;
    if (x != x) return x;
    double n = (x * 0x1.71547652b82fep+0 + ROUND) - ROUND;
    double exact = x - n * LN2_HIGH, rest = tail - n * LN2_LOW; // the first difference has no rounding error
    double r = exact + rest, p = inverse_factorial[0];
    double lost = rest - (r - exact);
    for (size_t k = 1; k < sizeof inverse_factorial / sizeof *inverse_factorial; k++) p = p * r + inverse_factorial[k];
    return scale_by(1 + (r + (r * r * p + (lost + lost * r))), (int)n);
}

double host_exp(double x) { return exp_pair(x, 0); }

// x = 2^exponent * m with m in [1/sqrt 2, sqrt 2); x positive and finite
static double split(double x, int *exponent)
{
    *exponent = 0;
    if (x < DBL_MIN) x *= 0x1p54, *exponent = -54;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits += UINT64_C(0x3ff0000000000000) - UINT64_C(0x3fe6a09e667f3bcd); // moves 1/sqrt 2 up to a power of two
    *exponent += (int)(bits >> 52) - 1023;
    return from_bits((bits & UINT64_C(0xfffffffffffff)) + UINT64_C(0x3fe6a09e667f3bcd));
}

// The values at the ends and outside of the domain of log; true when *y is set.
static bool log_special(double *y, double x)
{
    if (x > 0 && x < INFINITY) return false;
    *y = x == 0 ? -INFINITY : x < 0 ? NAN : x;
    return true;
}

/* log x = e ln 2 + log(1 + f), and with s = f / (2 + f)
 * log(1 + f) = 2 atanh s = 2s + 2 s^3/3 + ... = f - (f^2/2 - s (f^2/2 + 2 s^2/3 + 2 s^4/5 + ...)), |s| < 0.172 */
double host_log(double x)
{
    double y;
    if (log_special(&y, x)) return y;
    int e;
    double f = split(x, &e) - 1, s = f / (2 + f), square = s * s, half = 0.5 * f * f, p = 0;
    for (int k = 23; k >= 3; k -= 2) p = (p + 2.0 / k) * square;
    return e * LN2_HIGH - ((half - (s * (half + p) + e * LN2_LOW)) - f);
}

// log(1 + x): the part of x that 1 + x rounds away comes back to first order.
double host_log1p(double x)
{
    double u = 1 + x;
    if (!(u > 0) || u > 0x1p60) return host_log(u);
    double lost = x < 1 ? x - (u - 1) : 1 - (u - x);
    return host_log(u) + lost / u;
}

// ---- a number in two doubles, for powers ---------------------------------------------------------------------------------

typedef struct { double high, low; } Pair;

static Pair pair_sum(double a, double b) // exact (Knuth)
{
    double sum = a + b, back = sum - a;
    return (Pair){sum, (a - (sum - back)) + (b - back)};
}

static Pair pair_product(double a, double b) // exact (Dekker), operands far from overflow
{
    double a1 = a * 0x1.0000002p27, b1 = b * 0x1.0000002p27, product = a * b;
    a1 -= a1 - a, b1 -= b1 - b; // the upper 26 bits
    double a2 = a - a1, b2 = b - b1;
    return (Pair){product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2};
}

static Pair pair_add(Pair a, Pair b)
{
    Pair sum = pair_sum(a.high, b.high);
    return pair_sum(sum.high, sum.low + (a.low + b.low));
}

static Pair pair_multiply(Pair a, Pair b)
{
    Pair product = pair_product(a.high, b.high);
    return pair_sum(product.high, product.low + (a.high * b.low + a.low * b.high));
}

static Pair pair_divide(Pair a, Pair b)
{
    double q = a.high / b.high;
    Pair product = pair_product(q, b.high);
    return pair_sum(q, (((a.high - product.high) - product.low) + (a.low - q * b.low)) / b.high);
}

// The series of host_log with every operation in two doubles; terms up to s^33 leave an error below 2^-90.
static Pair log_pair(double x)
{
    int e;
    double m = split(x, &e);
    Pair s = pair_divide((Pair){m - 1, 0}, pair_sum(1, m)), square = pair_multiply(s, s), p = {0, 0};
    for (int k = 33; k >= 1; k -= 2) {
        p = pair_add(p, pair_divide((Pair){2, 0}, (Pair){k, 0}));
        p = pair_multiply(p, k > 1 ? square : s);
    }
    Pair whole = pair_sum(e * LN2_HIGH, e * LN2_LOW);
    return pair_add(whole, p);
}

double host_pow(double x, double y)
{
    enum { PRODUCTS = 64 };
    if (y >= 0 && y <= PRODUCTS && y == (double)(int)y) {
        double product = 1;
        for (int i = 0; i < (int)y; i++) product *= x;
        return product;
    }
    double log;
    if (log_special(&log, x)) return host_exp(y * log);
    Pair logarithm = log_pair(x), exponent = pair_product(y, logarithm.high);
    exponent.low += y * logarithm.low;
    if (!(exponent.high > -746 && exponent.high < 710)) return host_exp(exponent.high);
    return exp_pair(exponent.high, exponent.low);
}

// ---- sine and cosine -----------------------------------------------------------------------------------------------------

// x - n pi/2 in two doubles, |.| <= pi/4; returns n mod 4.
static int reduce(Pair *r, double x)
{
    assert(x >= -0x1p20 && x <= 0x1p20);
    double n = (x * 0x1.45f306dc9c883p-1 + ROUND) - ROUND; // 2/pi
    Pair difference = pair_sum(x - n * PI_2_HIGH, -n * PI_2_MIDDLE);
    *r = pair_sum(difference.high, difference.low - n * PI_2_LOW);
    return (int)n & 3;
}

enum { TERMS = 8 };

static double sin_series(Pair r)
{
    static const double c[TERMS] = {1.0 / 355687428096000, 1.0 / 1307674368000, 1.0 / 6227020800, 1.0 / 39916800, 1.0 / 362880,
        1.0 / 5040, 1.0 / 120, 1.0 / 6}; // 1/17! .. 1/3!
    double z = r.high * r.high, p = c[0];
    for (int k = 1; k < TERMS; k++) p = c[k] - z * p;
    return r.high + (r.low * (1 - 0.5 * z) - r.high * (z * p));
}

static double cos_series(Pair r)
{
    static const double c[TERMS] = {1.0 / 6402373705728000, 1.0 / 20922789888000, 1.0 / 87178291200, 1.0 / 479001600, 1.0 / 3628800,
        1.0 / 40320, 1.0 / 720, 1.0 / 24}; // 1/18! .. 1/4!
    double z = r.high * r.high, half = 0.5 * z, first = 1 - half, p = c[0];
    for (int k = 1; k < TERMS; k++) p = c[k] - z * p;
    return first + (((1 - first) - half) + (z * z * p - r.high * r.low));
}

double host_sin(double x)
{
    Pair r;
    int quadrant = reduce(&r, x);
    double y = quadrant & 1 ? cos_series(r) : sin_series(r);
    return quadrant & 2 ? -y : y;
}

double host_cos(double x)
{
    Pair r;
    int quadrant = reduce(&r, x);
    double y = quadrant & 1 ? sin_series(r) : cos_series(r);
    return (quadrant + 1) & 2 ? -y : y;
}
