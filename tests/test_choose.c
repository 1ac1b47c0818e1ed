// SPDX-License-Identifier: MIT
/* test_choose.c - the choice of a token from its logits, against a plain implementation of the numerics contract and against softmax. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

enum { MOST = 1000 };
#define ALMOST_ONE (1.0f - 0x1p-24f)

static const float *sort_by;
static int by_value_then_id(const void *left, const void *right)
{
    size_t a = *(const size_t *)left, b = *(const size_t *)right;
    if (sort_by[a] != sort_by[b]) return sort_by[a] > sort_by[b] ? -1 : 1;
    return a < b ? -1 : a > b;
}

static void sort_ids(size_t *ids, const float *value, size_t n)
{
    for (size_t i = 0; i < n; i++) ids[i] = i;
    sort_by = value;
    qsort(ids, n, sizeof *ids, by_value_then_id);
}

// Sixteen lanes and the tree of the numerics contract.
static float plain_block_sum(const float *p, size_t n)
{
    float lane[16] = {0};
    for (size_t i = 0; i < n; i++) lane[i % 16] += p[i];
    for (size_t half = 8; half; half /= 2)
        for (size_t i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

static float plain_mass(const float *p, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i += 256) sum += plain_block_sum(p + i, n - i < 256 ? n - i : 256);
    return sum;
}

// The definition of docs/DESIGN.md section 4, by sorting everything.
static uint32_t plain_choose(const float *logits, size_t n, const SampleOptions *how, float u)
{
    static float z[MOST], p[MOST];
    static size_t ids[MOST];
    float top = -INFINITY, running = 0;
    for (size_t i = 0; i < n; i++) top = fmaxf(top, z[i] = logits[i] / how->temperature);
    for (size_t i = 0; i < n; i++) {
        float below = z[i] - top;
        test_compute.k->exp_array(&p[i], &below, 1);
    }
    sort_ids(ids, z, n);
    for (size_t i = how->top_k ? how->top_k : n; i < n; i++) p[ids[i]] = 0;
    if (how->top_p < 1) {
        float target = how->top_p * plain_mass(p, n), sum = 0;
        size_t i = 0;
        sort_ids(ids, p, n);
        while (i < n && sum < target) sum += p[ids[i++]];
        for (; i < n; i++) p[ids[i]] = 0;
    }
    float target = u * plain_mass(p, n);
    for (size_t b = 0; b < n; b += 256) {
        size_t end = n - b < 256 ? n : b + 256, last = b;
        float after = running + plain_block_sum(p + b, end - b);
        for (size_t i = b; after > target && i < end; i++) {
            running += p[i];
            if (p[i] > 0) last = i;
            if (running > target) return (uint32_t)i;
        }
        if (after > target) return (uint32_t)last;
        running = after;
    }
    fail_msg("no token was drawn");
    return 0;
}

static void fill_logits(TestRandom *random, float *logits, size_t n, bool ties)
{
    for (size_t i = 0; i < n; i++) logits[i] = ties ? (float)test_integer(random, 7) - 3 : test_uniform(random, -8, 8);
}

static void choice_equals_plain_definition(void **state)
{
    static const size_t sizes[] = {1, 2, 7, 255, 256, 257, 600, 1000}, ks[] = {0, 1, 5, 300};
    static const float temperatures[] = {0.3f, 1, 2.5f}, ps[] = {1, 0.95f, 0.5f, 1e-6f};
    TestRandom random = {1};
    Err err = {0};
    ChoiceScratch scratch;
    float logits[MOST], kept[MOST];
    (void)state;
    assert_ok(choice_scratch_init(&scratch, MOST, &err), &err);
    for (size_t trial = 0; trial < 8 * 4 * 3 * 4 * 2; trial++) {
        size_t n = sizes[trial % 8], at = trial / 8;
        SampleOptions how = sample_defaults();
        how.top_k = ks[at % 4] < n ? ks[at % 4] : n;
        how.temperature = temperatures[at / 4 % 3];
        how.top_p = ps[at / 12 % 4];
        fill_logits(&random, logits, n, at / 48);
        memcpy(kept, logits, n * sizeof *logits);
        for (size_t i = 0; i < 12; i++) {
            float u = i == 0 ? 0 : i == 1 ? ALMOST_ONE : test_uniform(&random, 0, 1);
            uint32_t got = sample_choose(test_compute.k, logits, n, &how, u, &scratch), want = plain_choose(logits, n, &how, u);
            if (got != want)
                fail_msg("n %zu, top-k %zu, top-p %g, temperature %g, u %.9g: token %u, expected %u", n, how.top_k,
                    (double)how.top_p, (double)how.temperature, (double)u, (unsigned)got, (unsigned)want);
        }
        assert_same_bits(logits, kept, n, "logits after the choice");
    }
    choice_scratch_free(&scratch);
}

static void choice_has_the_softmax_distribution(void **state)
{
    enum { N = 300, DRAWS = 1 << 14 };
    TestRandom random = {2};
    Err err = {0};
    ChoiceScratch scratch;
    SampleOptions how = sample_defaults();
    float logits[N];
    double p[N], sum = 0;
    size_t count[N] = {0};
    (void)state;
    assert_ok(choice_scratch_init(&scratch, N, &err), &err);
    fill_logits(&random, logits, N, false);
    how.temperature = 1.7f;
    for (size_t i = 0; i < N; i++) sum += p[i] = exp(logits[i] / 1.7);
    for (size_t i = 0; i < DRAWS; i++) count[sample_choose(test_compute.k, logits, N, &how, ((float)i + 0.5f) / DRAWS, &scratch)]++;
    for (size_t i = 0; i < N; i++) // an even grid of u meets a token's interval to within one point
        if (fabs((double)count[i] - p[i] / sum * DRAWS) > 1.01)
            fail_msg("token %zu: %zu draws, expected %.2f", i, count[i], p[i] / sum * DRAWS);
    choice_scratch_free(&scratch);
}

static void truncation_prefers_lower_ids_among_equals(void **state)
{
    float logits[6] = {1, 2, 2, 2, 0, 2};
    Err err = {0};
    ChoiceScratch scratch;
    SampleOptions how = sample_defaults();
    (void)state;
    assert_ok(choice_scratch_init(&scratch, 6, &err), &err);
    how.top_k = 2;
    assert_int_equal(sample_choose(test_compute.k, logits, 6, &how, 0, &scratch), 1);
    assert_int_equal(sample_choose(test_compute.k, logits, 6, &how, ALMOST_ONE, &scratch), 2);
    how.top_k = 0;
    how.top_p = 0.5f; // four tokens of weight 1, one of 0.37, one of 0.14: half of 4.5 takes three
    assert_int_equal(sample_choose(test_compute.k, logits, 6, &how, ALMOST_ONE, &scratch), 3);
    how.temperature = 0;
    assert_int_equal(sample_choose(test_compute.k, logits, 6, &how, 0.5f, &scratch), 1);
    choice_scratch_free(&scratch);
}

static void impossible_tokens_are_never_drawn(void **state)
{
    enum { N = 600 };
    float logits[N];
    Err err = {0};
    ChoiceScratch scratch;
    SampleOptions how = sample_defaults();
    (void)state;
    assert_ok(choice_scratch_init(&scratch, N, &err), &err);
    for (size_t i = 0; i < N; i++) logits[i] = -300; // exp underflows to zero
    logits[310] = logits[290] = 5;
    assert_int_equal(sample_choose(test_compute.k, logits, N, &how, 0, &scratch), 290);
    assert_int_equal(sample_choose(test_compute.k, logits, N, &how, ALMOST_ONE, &scratch), 310);
    choice_scratch_free(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choice_equals_plain_definition),
        cmocka_unit_test(choice_has_the_softmax_distribution),
        cmocka_unit_test(truncation_prefers_lower_ids_among_equals),
        cmocka_unit_test(impossible_tokens_are_never_drawn),
    };
    return cmocka_run_group_tests(tests, make_test_compute, drop_test_compute);
}
