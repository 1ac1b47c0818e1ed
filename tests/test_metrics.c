// SPDX-License-Identifier: MIT
/* test_metrics.c - measures against values computed by hand and by SciPy, intervals against what they must contain. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "study/metrics.h"

static void assert_near(double got, double want, double tolerance, const char *what)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%s: %.12g, expected %.12g", what, got, want);
}

static void assert_measure(Measure m, double mean, double lo, double hi, size_t n)
{
    assert_near(m.mean, mean, 1e-9, "mean");
    assert_near(m.lo, lo, 1e-9, "lo");
    assert_near(m.hi, hi, 1e-9, "hi");
    assert_int_equal(m.n, n);
}

static void mean_has_its_standard_error(void **state)
{
    float values[] = {1, 2, 3, 4, 10};
    (void)state; // deviation sqrt(12.5), error sqrt(2.5)
    assert_measure(metric_mean(values, 5), 4, 4 - 1.96 * sqrt(2.5), 4 + 1.96 * sqrt(2.5), 5);
    assert_measure(metric_mean(values, 1), 1, 1, 1, 1);
    assert_measure(metric_mean(values, 0), 0, 0, 0, 0);
}

static void mean_survives_large_offsets(void **state)
{
    float values[1000];
    (void)state;
    for (size_t i = 0; i < 1000; i++) values[i] = 1e6f + (float)(i % 2);
    Measure m = metric_mean(values, 1000);
    assert_near(m.mean, 1e6 + 0.5, 1e-6, "mean");
    assert_near(m.hi - m.mean, 1.96 * 0.5 / sqrt(999.0), 1e-9, "margin");
}

// Several answers to one prompt are one observation, however alike they are.
static void answers_to_one_prompt_count_once(void **state)
{
    float values[] = {1, 1, 3, 3}, once[] = {1, 3};
    size_t prompts[] = {4, 4, 7, 7}, lengths[] = {2, 3, 4, 1}, sums[] = {5, 5};
    (void)state;
    Measure alone = metric_mean(once, 2), m = metric_ratio_by_prompt(values, NULL, prompts, 4);
    assert_measure(m, alone.mean, alone.lo, alone.hi, 4);
    assert_true(metric_mean(values, 4).hi < m.hi);
    Measure joined = metric_ratio((float[]){2, 6}, sums, 2), split = metric_ratio_by_prompt(values, lengths, prompts, 4);
    assert_measure(split, joined.mean, joined.lo, joined.hi, 4);
    assert_measure(metric_ratio_by_prompt(values, lengths, (size_t[]){1, 2, 3, 4}, 4), 0.8, metric_ratio(values, lengths, 4).lo, metric_ratio(values, lengths, 4).hi, 4);
    assert_measure(metric_ratio_by_prompt(values, NULL, (size_t[]){1, 1, 1, 1}, 4), 2, 2, 2, 4);
}

static void rate_has_wilsons_interval(void **state)
{
    (void)state; // Newcombe 1998, table 1 (z = 1.96): 81 of 263: 0.2553 to 0.3662; 0 of 20: 0 to 0.1611; 15 of 148: 0.0624 to 0.1605
    Measure m = metric_rate(81, 263);
    assert_near(m.mean, 81.0 / 263, 1e-12, "mean");
    assert_near(m.lo, 0.2553, 5e-5, "lo");
    assert_near(m.hi, 0.3662, 5e-5, "hi");
    m = metric_rate(0, 20);
    assert_near(m.lo, 0, 0, "lo");
    assert_near(m.hi, 0.1611, 5e-5, "hi");
    m = metric_rate(20, 20);
    assert_near(m.lo, 1 - 0.1611, 5e-5, "lo");
    assert_near(m.hi, 1, 0, "hi");
    m = metric_rate(15, 148);
    assert_near(m.lo, 0.0624, 5e-5, "lo");
    assert_near(m.hi, 0.1605, 5e-5, "hi");
    assert_int_equal(metric_rate(0, 0).n, 0);
}

static void ratio_weighs_by_tokens(void **state)
{
    float value[] = {-2, -6, -1};
    size_t tokens[] = {1, 4, 1};
    (void)state; // -9/6; residuals -0.5, 0, 0.5; error sqrt(0.5/6) / 2
    double margin = 1.96 * sqrt(0.5 / 6) / 2;
    assert_measure(metric_ratio(value, tokens, 3), -1.5, -1.5 - margin, -1.5 + margin, 3);
    Measure p = metric_perplexity(value, tokens, 3);
    assert_near(p.mean, exp(1.5), 1e-12, "perplexity");
    assert_near(p.lo, exp(1.5 - margin), 1e-12, "perplexity, lo");
    assert_near(p.hi, exp(1.5 + margin), 1e-12, "perplexity, hi");
    size_t none[] = {0, 0, 0};
    assert_int_equal(metric_ratio(value, none, 3).n, 0);
    assert_int_equal(metric_perplexity(value, tokens, 0).n, 0);
}

// ---- n-grams -------------------------------------------------------------------------------------------------------------------------

static uint32_t first[] = {1, 2, 1, 2, 3}, second[] = {2, 1}, third[] = {9}, fourth[] = {1, 2};
static TokenList lists[] = {{first, 5, 5}, {second, 2, 2}, {third, 1, 1}, {NULL, 0, 0}, {fourth, 2, 2}};

static void ngrams_are_counted_within_samples(void **state)
{
    Measure m;
    Err err = {0};
    (void)state;
    assert_ok(metric_distinct(&m, lists, 5, 1, 0, 1, &err), &err); // 1 2 3 9 of 10
    assert_near(m.mean, 0.4, 1e-12, "distinct-1");
    assert_ok(metric_distinct(&m, lists, 5, 2, 0, 1, &err), &err); // 12 21 12 23 | 21 | 12: three of 6, none across samples
    assert_near(m.mean, 0.5, 1e-12, "distinct-2");
    assert_ok(metric_unique(&m, lists, 5, 1, 0, 1, &err), &err); // 3 and 9
    assert_near(m.mean, 0.2, 1e-12, "unique-1");
    assert_ok(metric_unique(&m, lists, 5, 2, 0, 1, &err), &err); // 23
    assert_near(m.mean, 1.0 / 6, 1e-12, "unique-2");
    assert_ok(metric_distinct(&m, lists, 5, 2, 3, 1, &err), &err); // 12 21 | 21 | 12
    assert_near(m.mean, 0.5, 1e-12, "distinct-2 of three tokens each");
    assert_ok(metric_distinct(&m, lists, 5, 4, 0, 1, &err), &err); // 1212 2123
    assert_near(m.mean, 1, 1e-12, "distinct-4");
    assert_ok(metric_distinct(&m, lists + 2, 2, 2, 0, 1, &err), &err);
    assert_int_equal(m.n, 0);
}

static void bootstrap_interval_is_fixed_and_covers(void **state)
{
    enum { N = 120, T = 20 };
    static uint32_t ids[N][T];
    TokenList samples[N];
    TestRandom random = {5};
    Measure a, b, c;
    Err err = {0};
    (void)state;
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < T; j++) ids[i][j] = test_integer(&random, i % 2 ? 12 : 60);
        samples[i] = (TokenList){ids[i], T, T};
    }
    assert_ok(metric_distinct(&a, samples, N, 2, 0, 7, &err), &err);
    assert_ok(metric_distinct(&b, samples, N, 2, 0, 7, &err), &err);
    assert_ok(metric_distinct(&c, samples, N, 2, 0, 8, &err), &err);
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(a.mean == c.mean && a.lo != c.lo);
    assert_true(a.lo < a.mean && a.mean < a.hi);
    assert_true(a.hi - a.lo > 0.005 && a.hi - a.lo < 0.2);
    assert_int_equal(a.n, N);
}

static void msttr_reads_whole_segments(void **state)
{
    uint32_t ids[25];
    TokenList samples[2] = {{ids, 13, 13}, {ids + 13, 12, 12}};
    Measure m;
    Err err = {0};
    (void)state;
    for (uint32_t i = 0; i < 25; i++) ids[i] = i < 10 ? i : i < 20 ? i % 5 : 99; // types: 10, then 5 across the samples, rest cut
    assert_ok(metric_msttr(&m, samples, 2, 10, &err), &err);
    assert_near(m.mean, 0.75, 1e-7, "msttr");
    assert_int_equal(m.n, 2);
    assert_ok(metric_msttr(&m, samples, 2, 26, &err), &err);
    assert_int_equal(m.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_has_its_standard_error),
        cmocka_unit_test(mean_survives_large_offsets),
        cmocka_unit_test(answers_to_one_prompt_count_once),
        cmocka_unit_test(rate_has_wilsons_interval),
        cmocka_unit_test(ratio_weighs_by_tokens),
        cmocka_unit_test(ngrams_are_counted_within_samples),
        cmocka_unit_test(bootstrap_interval_is_fixed_and_covers),
        cmocka_unit_test(msttr_reads_whole_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
