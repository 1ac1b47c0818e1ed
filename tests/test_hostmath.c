// SPDX-License-Identifier: MIT
/* test_hostmath.c - the double functions against the C library's long double ones, the soft fused multiply-add against the
 * machine's. Where long double is no wider than double the bounds leave room for the library's own error.
 */
#include "kernels/hostmath.h"
#include "kernels/strict.h"
#include "tests/support.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static const double LIBRARY = LDBL_MANT_DIG > DBL_MANT_DIG ? 0 : 1.0; // ulp that the oracle itself may be off

static double uniform(TestRandom *random, double low, double high) // 53 bits
{
    double u = ((double)test_integer(random, 1u << 27) * 0x1p26 + (double)test_integer(random, 1u << 26)) * 0x1p-53;
    return low + (high - low) * u;
}

static double ulps(double got, long double want)
{
    if (want == 0) return got == 0 ? 0 : INFINITY;
    int exponent;
    frexpl(want, &exponent);
    exponent = exponent - 53 < -1074 ? -1074 : exponent - 53;
    return (double)(fabsl(got - want) / ldexpl(1, exponent));
}

typedef struct { const char *name; double (*function)(double); long double (*oracle)(long double); double low, high, bound; } Range;

static void functions_err_by_less_than_an_ulp(void **state)
{
    (void)state;
    static const Range ranges[] = {
        {"exp", host_exp, expl, -1, 1, 0.85}, {"exp", host_exp, expl, -708, 709.7, 0.85}, {"exp", host_exp, expl, -745, -708, 0.85},
        {"log", host_log, logl, 0.5, 2, 0.85}, {"log", host_log, logl, 0, 1e-3, 0.85}, {"log", host_log, logl, 1, 1e300, 0.85},
        {"log", host_log, logl, 0, 1e-310, 0.85}, {"log1p", host_log1p, log1pl, -1, 1, 1}, {"log1p", host_log1p, log1pl, -1e-9, 1e-9, 1},
        {"log1p", host_log1p, log1pl, 1, 1e20, 1}, {"sin", host_sin, sinl, -8, 8, 0.85}, {"sin", host_sin, sinl, -0x1p20, 0x1p20, 0.85},
        {"cos", host_cos, cosl, -8, 8, 0.85}, {"cos", host_cos, cosl, -0x1p20, 0x1p20, 0.85}, {"sqrt", host_sqrt, sqrtl, 0, 1e300, 0.5001},
        {"sqrt", soft_sqrt, sqrtl, 0, 1e300, 0.5001}, {"sqrt", soft_sqrt, sqrtl, 0, 1e-305, 0.5001}, {"sqrt", soft_sqrt, sqrtl, 0.25, 4, 0.5001},
    };
    TestRandom random = {1};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        for (int n = 0; n < 20000; n++) {
            double x = uniform(&random, ranges[i].low, ranges[i].high);
            double error = ulps(ranges[i].function(x), ranges[i].oracle(x));
            if (!(error <= ranges[i].bound + LIBRARY)) fail_msg("%s(%.17g) is off by %.3f ulp", ranges[i].name, x, error);
        }
}

static void powers_err_by_less_than_an_ulp_or_half_an_ulp_a_factor(void **state)
{
    (void)state;
    TestRandom random = {2};
    for (int n = 0; n < 20000; n++) {
        double x = n & 1 ? uniform(&random, 1e-3, 1e6) : 10000, y = uniform(&random, -40, 40);
        double error = ulps(host_pow(x, y), powl(x, y));
        if (!(error <= 0.85 + LIBRARY)) fail_msg("pow(%.17g, %.17g) is off by %.3f ulp", x, y, error);
        double base = uniform(&random, 0.9, 1);
        int k = (int)test_integer(&random, 65);
        error = ulps(host_pow(base, k), powl(base, k));
        if (!(error <= 0.5 * k + LIBRARY)) fail_msg("pow(%.17g, %d) is off by %.3f ulp", base, k, error);
        k += 65;
        error = ulps(host_pow(base, k), powl(base, k));
        if (!(error <= 0.85 + LIBRARY)) fail_msg("pow(%.17g, %d) is off by %.3f ulp", base, k, error);
    }
}

static void small_integral_powers_are_running_products(void **state)
{
    (void)state;
    double product = 1;
    for (int k = 0; k <= 64; k++, product *= 0.999) assert_true(host_pow(0.999, k) == product);
}

static void special_values_are_exact(void **state)
{
    (void)state;
    assert_true(host_exp(0) == 1 && host_exp(-0.0) == 1 && host_exp(710) == INFINITY && host_exp(INFINITY) == INFINITY);
    assert_true(host_exp(-750) == 0 && host_exp(-INFINITY) == 0 && isnan(host_exp(NAN)));
    assert_true(host_exp(709.78) < INFINITY && host_exp(709.79) == INFINITY && host_exp(-745.13) == 0x1p-1074 && host_exp(-745.14) == 0);
    assert_true(host_log(1) == 0 && !signbit(host_log(1)) && host_log(0) == -INFINITY && host_log(INFINITY) == INFINITY);
    assert_true(isnan(host_log(-1)) && isnan(host_log(NAN)));
    assert_true(host_log1p(0) == 0 && host_log1p(-1) == -INFINITY && isnan(host_log1p(-2)) && host_log1p(INFINITY) == INFINITY);
    assert_true(host_log1p(1e-300) == 1e-300 && host_log1p(-0x1p-60) == -0x1p-60);
    assert_true(host_sin(0) == 0 && host_cos(0) == 1);
    assert_true(host_pow(2, 0) == 1 && host_pow(7, 1) == 7 && host_pow(2, 2000) == INFINITY);
    assert_true(host_pow(2, -2000) == 0 && host_pow(1, 1e9) == 1);
    assert_true(host_sqrt(0) == 0 && isnan(soft_sqrt(-1)) && soft_sqrt(INFINITY) == INFINITY && isnan(soft_sqrt(NAN)));
    assert_true(soft_sqrt(0x1p-1074) == 0x1p-537 && soft_sqrt(DBL_MAX) == host_sqrt(DBL_MAX) && signbit(soft_sqrt(-0.0)));
}

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void assert_fma(float a, float b, float c)
{
    float got = host_fmaf(a, b, c), want = machine_fma(a, b, c);
    if (memcmp(&got, &want, sizeof got) && !(isnan(got) && isnan(want)))
        fail_msg("fma(%a, %a, %a) is %a, should be %a", (double)a, (double)b, (double)c, (double)got, (double)want);
}

static void soft_fma_agrees_with_the_machine_on_random_bits(void **state)
{
    (void)state;
    if (!has_machine_fma()) skip_because("this CPU has no fused multiply-add to compare with");
    TestRandom random = {3};
    for (int n = 0; n < 500000; n++) {
        float a = from_bits(test_integer(&random, UINT32_MAX)), b = from_bits(test_integer(&random, UINT32_MAX));
        assert_fma(a, b, from_bits(test_integer(&random, UINT32_MAX)));
        // an addend near the product: cancellation, and sums half way between two floats
        a = test_uniform(&random, 1, 2), b = test_uniform(&random, 1, 2);
        float c = -a * b * (float[]){1, 2, 0.5f, 0x1p-23f, 0x1p-24f, 0x1p-25f, -0x1p24f, 0x1p25f}[test_integer(&random, 8)];
        assert_fma(a, b, from_bits((uint32_t)((int64_t)test_integer(&random, 5) - 2 + (int64_t)(*(uint32_t *)memcpy(&(uint32_t){0}, &c, 4)))));
        // 12 by 13 bits give 25: half of these products lie half way between two floats, and a tiny addend decides
        a = (float)(2048 + test_integer(&random, 2048)), b = (float)(4096 + test_integer(&random, 4096));
        c = ldexpf(n & 1 ? 1 : -1, -(int)test_integer(&random, 120));
        assert_fma(a, b, c);
        // results among the subnormals
        a = test_uniform(&random, 1, 2) * 0x1p-75f, b = test_uniform(&random, 1, 2) * 0x1p-75f;
        assert_fma(a, b, from_bits(test_integer(&random, 1 << 24)));
        assert_fma(a, -b * 0x1p12f, 0x1p-149f * (float)test_integer(&random, 64));
    }
}

static void soft_fma_agrees_with_the_machine_on_special_values(void **state)
{
    (void)state;
    if (!has_machine_fma()) skip_because("this CPU has no fused multiply-add to compare with");
    const float special[] = {0, -0.0f, 1, -1, 2, 0x1p-149f, -0x1p-149f, 0x1.fffffep-127f, FLT_MIN, -FLT_MIN, FLT_MAX, -FLT_MAX, INFINITY,
        -INFINITY, NAN, 0x1.000002p0f, -0x1.000002p0f, 0x1.fffffep-1f, 0x1p24f, 0x1p-24f, 0x1p-25f, 0x1p103f, 0x1p-75f, 0x1.8p-75f, 0x1p64f};
    enum { COUNT = sizeof special / sizeof *special };
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j < COUNT; j++)
            for (size_t k = 0; k < COUNT; k++) assert_fma(special[i], special[j], special[k]);
}

// Sums a hair above or below half way between two floats; where the hair is too thin for a double, double arithmetic rounds twice.
static void soft_fma_rounds_once(void **state)
{
    (void)state;
    assert_true(host_fmaf(0x1.000002p-12f, 0x1p-12f, 1) == 0x1.000002p0f);       // 1 + 2^-24 + 2^-47: above half, upwards
    assert_true(host_fmaf(0x1.001p0f, 0x1.001p0f, 0x1p-60f) == 0x1.002002p0f);   // 1 + 2^-11 + 2^-24 + 2^-60: up
    assert_true(host_fmaf(0x1.001p0f, 0x1.001p0f, -0x1p-60f) == 0x1.002p0f);
    assert_true(host_fmaf(0x1.000002p0f, 1.5f, 0x1p-60f) == 0x1.800004p0f);
    assert_true(host_fmaf(0x1.000002p0f, 1.5f, -0x1p-60f) == 0x1.800002p0f);     // 1.5 + 2^-23 + 2^-24 - 2^-60: down
    assert_true(host_fmaf(0x1p-12f, 0x1p-12f, 1) == 1);                          // exactly half: to even
    assert_true(host_fmaf(0x1.000002p-12f, 0x1.fffffcp-13f, 1) == 1);            // a hair below half
    assert_true(host_fmaf(0x1.000002p0f, 0x1.000002p0f, -0x1.000004p0f) == 0x1p-46f); // what a plain product loses
    assert_true(host_fmaf(FLT_MAX, 2, -FLT_MAX) == FLT_MAX);                     // the product alone would overflow
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_err_by_less_than_an_ulp),
        cmocka_unit_test(powers_err_by_less_than_an_ulp_or_half_an_ulp_a_factor),
        cmocka_unit_test(small_integral_powers_are_running_products),
        cmocka_unit_test(special_values_are_exact),
        cmocka_unit_test(soft_fma_agrees_with_the_machine_on_random_bits),
        cmocka_unit_test(soft_fma_agrees_with_the_machine_on_special_values),
        cmocka_unit_test(soft_fma_rounds_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
