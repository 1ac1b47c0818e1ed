// SPDX-License-Identifier: MIT
/* test_vecmath.c - arrays without rows, on every instruction set this CPU runs: exp and log against double ones, reductions against
 * the rule written out in scalars, AdamW against its formulas. That all instruction sets agree is tested in test_rows.c.
 */
#include "kernels/hostmath.h"
#include "kernels/kernels.h"
#include "tests/support.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const Kernels *sets[4];
static size_t set_count;

// RAFT_ISA restricts a test run to one instruction set.
static int find_sets(void **state)
{
    (void)state;
    const char *only = getenv("RAFT_ISA");
    const Kernels *all[4];
    for (size_t i = 0, n = kernels_available(all); i < n; i++)
        if (!only || !*only || strcmp(only, all[i]->isa) == 0) sets[set_count++] = all[i];
    return set_count ? 0 : -1;
}

static float *numbers(size_t n)
{
    float *x = malloc((n + 1) * sizeof *x);
    assert_non_null(x);
    return x;
}

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double ulp(double x) // the spacing of floats at x
{
    int exponent;
    frexp(x, &exponent);
    return ldexp(1, exponent - 24 < -149 ? -149 : exponent - 24);
}

static double exact_sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }

typedef void ArrayKernel(float *y, const float *x, size_t n);
typedef struct { const char *name; double (*exact)(double); float low, high; double bound; } Function;

// Bit patterns at a stride that is odd and prime to the array's size, so that every exponent and last bit occurs.
static void assert_accurate(const char *isa, ArrayKernel *kernel, const Function *f)
{
    enum { N = 1 << 14 };
    float *x = numbers(N), *y = numbers(N);
    for (uint64_t bits = 0; bits <= UINT32_MAX;) {
        size_t n = 0;
        for (; n < N && bits <= UINT32_MAX; bits += 2729) {
            x[n] = from_bits((uint32_t)bits);
            if (x[n] >= f->low && x[n] <= f->high) n++;
        }
        kernel(y, x, n);
        for (size_t i = 0; i < n; i++) {
            double want = f->exact(x[i]), error = fabs(y[i] - want) / ulp(want);
            if (isinf(y[i]) && want >= 0x1.ffffffp127) continue; // half an ulp past the largest float
            if (!(error <= f->bound)) fail_msg("%s %s(%a) is %a, off by %.3f ulp", isa, f->name, (double)x[i], (double)y[i], error);
        }
    }
    free(x);
    free(y);
}

static void exp_and_log_err_by_less_than_an_ulp(void **state)
{
    (void)state;
    static const Function exponential = {"exp", exp, -104, 88.7228394f, 0.9}, logarithm = {"log", log, 0x1p-149f, FLT_MAX, 0.94};
    static const Function logistic = {"sigmoid", exact_sigmoid, -104, FLT_MAX, 2.5}; // exp, sum and quotient each round
    for (size_t i = 0; i < set_count; i++) {
        assert_accurate(sets[i]->isa, sets[i]->exp_array, &exponential);
        assert_accurate(sets[i]->isa, sets[i]->log_array, &logarithm);
        assert_accurate(sets[i]->isa, sets[i]->sigmoid_array, &logistic);
    }
}

static void assert_values(const char *isa, const char *name, ArrayKernel *kernel, const float (*pairs)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float y;
        kernel(&y, &pairs[i][0], 1);
        if (memcmp(&y, &pairs[i][1], sizeof y) && !(isnan(y) && isnan(pairs[i][1])))
            fail_msg("%s %s(%a) is %a, should be %a", isa, name, (double)pairs[i][0], (double)y, (double)pairs[i][1]);
    }
}

static void special_values_are_exact(void **state)
{
    (void)state;
    static const float exponentials[][2] = {{0, 1}, {-0.0f, 1}, {0x1p-149f, 1}, {-0x1p-149f, 1}, {INFINITY, INFINITY}, {-INFINITY, 0}, {NAN, NAN},
        {89, INFINITY}, {1e38f, INFINITY}, {-1e38f, 0}, {-103.5f, 0x1p-149f}, {-104, 0}, {0x1.62e430p6f, INFINITY}, {-0x1.9fe368p6f, 0x1p-149f}};
    static const float logarithms[][2] = {{1, 0}, {0, -INFINITY}, {-0.0f, -INFINITY}, {INFINITY, INFINITY}, {-1, NAN}, {-0x1p-149f, NAN},
        {-INFINITY, NAN}, {NAN, NAN}, {0x1p-149f, -0x1.9d1dap6f}};
    static const float sigmoids[][2] = {{0, 0.5f}, {-0.0f, 0.5f}, {INFINITY, 1}, {-INFINITY, 0}, {NAN, NAN}, {200, 1}, {-200, 0}, {FLT_MAX, 1}};
    for (size_t i = 0; i < set_count; i++) {
        assert_values(sets[i]->isa, "exp", sets[i]->exp_array, exponentials, sizeof exponentials / sizeof *exponentials);
        assert_values(sets[i]->isa, "log", sets[i]->log_array, logarithms, sizeof logarithms / sizeof *logarithms);
        assert_values(sets[i]->isa, "sigmoid", sets[i]->sigmoid_array, sigmoids, sizeof sigmoids / sizeof *sigmoids);
    }
}

// ---- reductions --------------------------------------------------------------------------------------------------------

// The contract in scalars: 16 lanes, the tree, blocks added in double.
static double sum_by_rule(const float *x, size_t n, size_t block, bool squares)
{
    double total = 0;
    for (size_t first = 0; first < n; first += block) {
        float lane[16] = {0};
        for (size_t i = first; i < n && i < first + block; i++)
            lane[(i - first) % 16] = squares ? host_fmaf(x[i], x[i], lane[(i - first) % 16]) : lane[(i - first) % 16] + x[i];
        for (int half = 8; half; half /= 2)
            for (int i = 0; i < half; i++) lane[i] += lane[i + half];
        total += (double)lane[0];
    }
    return total;
}

static const size_t lengths[] = {0, 1, 2, 15, 16, 17, 31, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097, 8192, 8209, 70001, 1200007};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static void sums_follow_the_rule_of_lanes_and_blocks(void **state)
{
    (void)state;
    TestRandom random = {5};
    for (size_t l = 0; l < LENGTHS; l++) {
        size_t n = lengths[l];
        float *x = numbers(n);
        test_fill(&random, x, n);
        x[n] = NAN; // just past the end
        for (size_t i = 0; i < set_count; i++) {
            assert_true(sets[i]->sum_array(x, n) == sum_by_rule(x, n, 4096, false));
            assert_true(sets[i]->sum_squares(x, n) == sum_by_rule(x, n, 4096, true));
            float sums[64];
            if (n / 256 >= 64) continue;
            sums[(n + 255) / 256] = 12345;
            sets[i]->block_sums(sums, x, n);
            for (size_t b = 0; b * 256 < n; b++) {
                size_t rest = n - b * 256;
                assert_true(sums[b] == (float)sum_by_rule(x + b * 256, rest < 256 ? rest : 256, 256, false));
            }
            assert_true(sums[(n + 255) / 256] == 12345);
        }
        free(x);
    }
}

// One fp32 accumulator would stop at 2^24.
static void long_sums_keep_their_precision(void **state)
{
    (void)state;
    size_t n = (1u << 25) + 5;
    float *x = numbers(n);
    for (size_t i = 0; i < n; i++) x[i] = 1;
    const Kernels *fastest = sets[0];
    assert_true(fastest->sum_array(x, n) == (double)n && fastest->sum_squares(x, n) == (double)n);
    free(x);
}

static void zeros_of_either_sign_sum_to_plus_zero(void **state)
{
    (void)state;
    float x[40];
    for (size_t i = 0; i < 40; i++) x[i] = -0.0f;
    for (size_t i = 0; i < set_count; i++)
        for (size_t n = 0; n < 40; n++) {
            float block = 0;
            sets[i]->block_sums(&block, x, n);
            assert_true(block == 0 && !signbit(block) && sets[i]->sum_array(x, n) == 0 && !signbit(sets[i]->sum_array(x, n)));
        }
}

static void maximum_is_exact_wherever_it_stands(void **state)
{
    (void)state;
    TestRandom random = {6};
    for (size_t n = 1; n < 200; n++) {
        float *x = numbers(n);
        x[n] = INFINITY; // just past the end
        for (size_t at = 0; at < n; at++) {
            for (size_t i = 0; i < n; i++) x[i] = test_uniform(&random, -9, -1);
            x[at] = -0.5f;
            for (size_t i = 0; i < set_count; i++) assert_true(sets[i]->max_array(x, n) == -0.5f);
        }
        for (size_t i = 0; i < n; i++) x[i] = -INFINITY;
        for (size_t i = 0; i < set_count; i++) assert_true(sets[i]->max_array(x, n) == -INFINITY);
        free(x);
    }
}

static void maximum_of_both_zeros_is_plus_zero(void **state)
{
    (void)state;
    float x[70];
    for (size_t n = 1; n <= 70; n++)
        for (size_t at = 0; at <= n; at++) { // at == n: no positive zero at all
            for (size_t i = 0; i < n; i++) x[i] = i == at ? 0.0f : -0.0f;
            for (size_t i = 0; i < set_count; i++) {
                float top = sets[i]->max_array(x, n);
                assert_true(top == 0 && (signbit(top) != 0) == (at == n));
            }
        }
}

static void anything_not_finite_is_found(void **state)
{
    (void)state;
    const float strange[] = {NAN, INFINITY, -INFINITY};
    const size_t sizes[] = {1, 16, 17, 70, 4097, 100003};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t n = sizes[s];
        float *x = numbers(n);
        for (size_t i = 0; i < n; i++) x[i] = i % 3 ? FLT_MAX : -0x1p-149f;
        x[n] = NAN; // just past the end
        for (size_t i = 0; i < set_count; i++) {
            assert_true(sets[i]->all_finite(x, n));
            for (size_t at = 0; at < n; at += n < 100 ? 1 : n / 7)
                for (size_t k = 0; k < 3; k++) {
                    float kept = x[at];
                    x[at] = strange[k];
                    assert_false(sets[i]->all_finite(x, n));
                    x[at] = kept;
                }
        }
        free(x);
    }
}

// ---- the rest ------------------------------------------------------------------------------------------------------------

static void exp_scaled_subtracts_the_largest_after_dividing(void **state)
{
    (void)state;
    enum { N = 1003 };
    const float temperatures[] = {1, 0.7f, 3, 0.01f};
    TestRandom random = {7};
    for (size_t t = 0; t < 4; t++) {
        float x[N], p[N], want[N];
        test_fill(&random, x, N);
        double top = -INFINITY;
        for (size_t i = 0; i < N; i++) x[i] *= 20, top = fmax(top, (double)(x[i] / temperatures[t]));
        for (size_t i = 0; i < N; i++) want[i] = (float)exp((double)(float)((double)(x[i] / temperatures[t]) - top));
        for (size_t i = 0; i < set_count; i++) {
            sets[i]->exp_scaled(p, x, N, temperatures[t]);
            assert_close(p, want, N, 1e-7, "exp_scaled");
            float largest = sets[i]->max_array(p, N);
            assert_true(largest == 1);
            memcpy(p, x, sizeof p);
            sets[i]->exp_scaled(p, p, N, temperatures[t]); // in place
            assert_close(p, want, N, 1e-7, "exp_scaled in place");
        }
    }
}

// Three steps against the paper's formulas in double; and twice the gradient at half the scale.
static void adamw_follows_its_formulas(void **state)
{
    (void)state;
    enum { N = 777, STEPS = 3 };
    TestRandom random = {8};
    float start[N], g[STEPS][N];
    test_fill(&random, start, N);
    for (size_t s = 0; s < STEPS; s++) test_fill(&random, g[s], N);
    for (size_t i = 0; i < set_count; i++) {
        float w[N], m[N] = {0}, v[N] = {0}, moved[N], expected[N];
        double exact[N], em[N] = {0}, ev[N] = {0};
        memcpy(w, start, sizeof w);
        for (size_t j = 0; j < N; j++) exact[j] = start[j];
        for (size_t s = 0; s < STEPS; s++) {
            AdamwStep step = {.lr = 1e-2f, .beta1 = 0.875f, .beta2 = 0.9375f, .eps = 1e-6f, .weight_decay = 0.1f, .gradient_scale = 0.25f};
            step.correction1 = (float)(1 - pow(0.875, (double)s + 1)), step.correction2 = (float)(1 - pow(0.9375, (double)s + 1));
            sets[i]->adamw_update(w, m, v, g[s], N, &step);
            for (size_t j = 0; j < N; j++) {
                double d = 0.25 * g[s][j];
                exact[j] -= (double)step.lr * (double)step.weight_decay * exact[j];
                em[j] = 0.875 * em[j] + 0.125 * d;
                ev[j] = 0.9375 * ev[j] + 0.0625 * d * d;
                exact[j] -= (double)step.lr * (em[j] / (double)step.correction1) / (sqrt(ev[j] / (double)step.correction2) + (double)step.eps);
            }
        }
        for (size_t j = 0; j < N; j++) moved[j] = w[j] - start[j], expected[j] = (float)(exact[j] - start[j]);
        assert_close(moved, expected, N, 1e-5, "update"); // of 1e-2, on weights of 1: 2^-24 is 6e-6 of it
        for (size_t j = 0; j < N; j++) moved[j] = m[j], expected[j] = (float)em[j];
        assert_close(moved, expected, N, 3e-7, "first moment");
        for (size_t j = 0; j < N; j++) moved[j] = v[j], expected[j] = (float)ev[j];
        assert_close(moved, expected, N, 3e-7, "second moment");
    }
}

static void addition_adds(void **state)
{
    (void)state;
    float x[100], y[100], want[100];
    TestRandom random = {9};
    for (size_t i = 0; i < set_count; i++) {
        test_fill(&random, x, 100);
        test_fill(&random, y, 100);
        for (size_t j = 0; j < 100; j++) want[j] = y[j] + (j < 99 ? x[j] : 0);
        sets[i]->add_array(y, x, 99);
        assert_same_bits(y, want, 100, "sum");
    }
}

// Blocks 2^61 apart in size: their double sum shows in which order it was taken, by however many threads.
static void block_sums_are_added_in_index_order(void **state)
{
    (void)state;
    enum { N = 80 * SUM_BLOCK + 5 };
    TestRandom random = {31};
    float *x = malloc(N * sizeof *x);
    assert_non_null(x);
    test_fill(&random, x, N);
    for (size_t i = 0; i < N; i++) x[i] = ldexpf(x[i], (int)(i / SUM_BLOCK * 23 % 61) - 30);
    double want = sum_by_rule(x, N, SUM_BLOCK, false);
    for (size_t i = 0; i < set_count; i++)
        for (size_t threads = 1; threads <= 3; threads++) {
            Compute cx;
            Err err = {0};
            assert_ok(compute_init(&cx, sets[i]->isa, "own", threads, &err), &err);
            double got = cx.k->sum_array(x, N);
            if (memcmp(&got, &want, sizeof got)) fail_msg("%s, %zu threads: %a, by the rule %a", sets[i]->isa, threads, got, want);
            compute_free(&cx);
        }
    free(x);
}

#if defined(__SSE2__)
#include <xmmintrin.h>
// A host program may have asked its threads to flush subnormals.
static void subnormals_survive_a_caller_that_flushes_them(void **state)
{
    (void)state;
    const float x = -95;
    for (size_t i = 0; i < set_count; i++) {
        float y = 0;
        _mm_setcsr(_mm_getcsr() | 1u << 15 | 1u << 6 | 3u << 13);
        sets[i]->exp_array(&y, &x, 1);
        _mm_setcsr(0x1f80);
        assert_true(y > 0 && y < FLT_MIN && fabs(y - exp(-95)) < 0x1p-149);
    }
}
#else
static void subnormals_survive_a_caller_that_flushes_them(void **state)
{
    (void)state;
    skip_because("the test sets the mode of x86 only");
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_and_log_err_by_less_than_an_ulp),
        cmocka_unit_test(special_values_are_exact),
        cmocka_unit_test(sums_follow_the_rule_of_lanes_and_blocks),
        cmocka_unit_test(block_sums_are_added_in_index_order),
        cmocka_unit_test(long_sums_keep_their_precision),
        cmocka_unit_test(zeros_of_either_sign_sum_to_plus_zero),
        cmocka_unit_test(maximum_is_exact_wherever_it_stands),
        cmocka_unit_test(maximum_of_both_zeros_is_plus_zero),
        cmocka_unit_test(anything_not_finite_is_found),
        cmocka_unit_test(exp_scaled_subtracts_the_largest_after_dividing),
        cmocka_unit_test(adamw_follows_its_formulas),
        cmocka_unit_test(addition_adds),
        cmocka_unit_test(subnormals_survive_a_caller_that_flushes_them),
    };
    return cmocka_run_group_tests(tests, find_sets, NULL);
}
