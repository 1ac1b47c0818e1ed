// SPDX-License-Identifier: MIT
/* test_philox.c - the generator against the vectors its authors publish, and the draws made from it. */
#include "kernels/philox.h"
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void agrees_with_the_published_vectors(void **state)
{
    (void)state;
    static const struct { uint32_t counter[4], key[2], out[4]; } known[] = { // Random123 1.14, tests/kat_vectors, philox4x32 10
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        philox_block(out, known[i].counter, known[i].key);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

static void draw_puts_seed_and_counter_in_their_places(void **state)
{
    (void)state;
    uint32_t drawn[4], block[4];
    philox_draw(drawn, UINT64_C(0x299f31d0a4093822), (PhiloxCounter){0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344});
    philox_block(block, (uint32_t[4]){0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, (uint32_t[2]){0xa4093822, 0x299f31d0});
    assert_memory_equal(drawn, block, sizeof block);
    assert_int_equal(philox_stream(STREAM_SAMPLE, 7), 3u << 24 | 7);
    assert_int_equal(philox_stream(STREAM_EVAL, 0xffffff), 10u << 24 | 0xffffff);
}

// The numbers are part of every run ever made: a stream inserted in the middle would change them all.
static void streams_keep_their_numbers(void **state)
{
    (void)state;
    static const PhiloxStream streams[] = {STREAM_INIT, STREAM_SHUFFLE_PROMPTS, STREAM_SAMPLE, STREAM_SHUFFLE_TRAIN, STREAM_PREFIX,
        STREAM_SPLIT, STREAM_GRAMMAR, STREAM_BOOTSTRAP, STREAM_REWARD_INIT, STREAM_EVAL, STREAM_LENGTH, STREAM_PROMPT_LENGTH, STREAM_REPLAY};
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) assert_int_equal(streams[i], i + 1);
}

static void uniform_is_in_the_half_open_interval(void **state)
{
    (void)state;
    assert_true(philox_uniform(0) == 0);
    assert_true(philox_uniform(255) == 0);
    assert_true(philox_uniform(256) == 0x1p-24f);
    assert_true(philox_uniform(UINT32_MAX) == 1 - 0x1p-24f);
    assert_true(philox_uniform(UINT32_MAX) < 1);
}

static void normals_follow_box_and_muller(void **state)
{
    (void)state;
    const uint32_t words[] = {0, 1, 255, 256, 0x3fffffff, 0x40000000, 0x80000000, 0xbfffffff, 0xffffff00, UINT32_MAX, 0x243f6a88, 0x9b00dbd8};
    enum { COUNT = sizeof words / sizeof *words };
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j < COUNT; j++) {
            double u = (words[i] >> 8) * 0x1p-24 + 0x1p-25, v = (words[j] >> 8) * 0x1p-24 + 0x1p-25, radius = sqrt(-2 * log(u));
            double want[2] = {radius * cos(2 * acos(-1) * v), radius * sin(2 * acos(-1) * v)};
            float got[2];
            philox_normals(got, words[i], words[j]);
            // half a float ulp, and what double pi leaves of a multiple of pi
            for (int k = 0; k < 2; k++) assert_true(fabs(got[k] - want[k]) <= 0x1.01p-24 * fabs(want[k]) + 1e-14);
        }
}

static void normals_have_the_moments_of_a_normal_distribution(void **state)
{
    (void)state;
    enum { PAIRS = 100000 };
    double sum = 0, squares = 0, fourth = 0;
    for (uint32_t i = 0; i < PAIRS; i++) {
        uint32_t w[4];
        float x[2];
        philox_draw(w, 1234, (PhiloxCounter){.c0 = i, .c3 = philox_stream(STREAM_INIT, 0)});
        philox_normals(x, w[0], w[1]);
        for (int k = 0; k < 2; k++) {
            double square = (double)x[k] * x[k];
            sum += x[k], squares += square, fourth += square * square;
        }
    }
    double n = 2.0 * PAIRS; // five standard errors each
    assert_true(fabs(sum / n) < 5 / sqrt(n));
    assert_true(fabs(squares / n - 1) < 5 * sqrt(2 / n));
    assert_true(fabs(fourth / n - 3) < 5 * sqrt(96 / n));
}

static void below_is_uniform_and_in_range(void **state)
{
    (void)state;
    assert_int_equal(philox_below(0, 1), 0);
    assert_int_equal(philox_below(UINT32_MAX, 1), 0);
    assert_int_equal(philox_below(UINT32_MAX, 10), 9);
    assert_int_equal(philox_below(UINT32_MAX, UINT32_MAX), UINT32_MAX - 1);
    assert_int_equal(philox_below(0x80000000, 10), 5);
    assert_int_equal(philox_below(0x7fffffff, 10), 4);
}

static void shuffle_is_a_permutation_that_depends_on_seed_stream_and_iteration(void **state)
{
    (void)state;
    enum { N = 1000 };
    uint32_t order[5][N];
    philox_shuffle(order[0], N, 1, STREAM_SHUFFLE_PROMPTS, 0);
    philox_shuffle(order[1], N, 2, STREAM_SHUFFLE_PROMPTS, 0);
    philox_shuffle(order[2], N, 1, STREAM_SHUFFLE_TRAIN, 0);
    philox_shuffle(order[3], N, 1, STREAM_SHUFFLE_PROMPTS, 1);
    philox_shuffle(order[4], N, 1, STREAM_SHUFFLE_PROMPTS, 0);
    for (size_t s = 0; s < 5; s++) {
        unsigned char seen[N] = {0};
        for (size_t i = 0; i < N; i++) {
            assert_true(order[s][i] < N && !seen[order[s][i]]);
            seen[order[s][i]] = 1;
        }
    }
    for (size_t s = 1; s < 4; s++) assert_memory_not_equal(order[0], order[s], sizeof *order);
    assert_memory_equal(order[0], order[4], sizeof *order);
    philox_shuffle(order[0], 0, 1, STREAM_SPLIT, 0);
    philox_shuffle(order[0], 1, 1, STREAM_SPLIT, 0);
    assert_int_equal(order[0][0], 0);
}

// Every order of four elements should occur equally often.
static void shuffle_favours_no_permutation(void **state)
{
    (void)state;
    enum { RUNS = 24000 };
    size_t counts[256] = {0}, kinds = 0;
    double chi2 = 0;
    for (uint32_t run = 0; run < RUNS; run++) {
        uint32_t o[4];
        philox_shuffle(o, 4, 99, STREAM_BOOTSTRAP, run);
        counts[o[0] << 6 | o[1] << 4 | o[2] << 2 | o[3]]++;
    }
    for (size_t i = 0; i < 256; i++)
        if (counts[i]) kinds++, chi2 += pow((double)counts[i] - RUNS / 24.0, 2) / (RUNS / 24.0);
    assert_int_equal(kinds, 24);
    assert_true(chi2 < 60); // 23 degrees of freedom: beyond 60 once in 30,000
}

static void a_deck_is_dealt_whole_before_it_is_shuffled_anew(void **state)
{
    (void)state;
    enum { OF = 7, N = 3, TURNS = 7 };
    size_t dealt[TURNS * N];
    uint32_t order[OF], deck[OF];
    for (size_t t = 0; t < TURNS; t++) philox_deal(dealt + t * N, N, t * N, OF, 5, STREAM_REPLAY, order);
    for (size_t i = 0; i < TURNS * N; i++) {
        if (i % OF == 0) philox_shuffle(deck, OF, 5, STREAM_REPLAY, (uint32_t)(i / OF));
        assert_int_equal(dealt[i], deck[i % OF]);
    }
    size_t one[TURNS * N]; // however it is cut into turns
    philox_deal(one, TURNS * N, 0, OF, 5, STREAM_REPLAY, order);
    assert_memory_equal(one, dealt, sizeof one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_published_vectors),
        cmocka_unit_test(draw_puts_seed_and_counter_in_their_places),
        cmocka_unit_test(streams_keep_their_numbers),
        cmocka_unit_test(uniform_is_in_the_half_open_interval),
        cmocka_unit_test(normals_follow_box_and_muller),
        cmocka_unit_test(normals_have_the_moments_of_a_normal_distribution),
        cmocka_unit_test(below_is_uniform_and_in_range),
        cmocka_unit_test(shuffle_is_a_permutation_that_depends_on_seed_stream_and_iteration),
        cmocka_unit_test(shuffle_favours_no_permutation),
        cmocka_unit_test(a_deck_is_dealt_whole_before_it_is_shuffled_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
