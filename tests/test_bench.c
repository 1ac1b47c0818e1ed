// SPDX-License-Identifier: MIT
/* test_bench.c - what is measured is what is said: medians, ratios of neighbours, failures, and the worker that runs BLIS. */
#include "study/bench-internal.h"

#include "base/os.h"
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Compute cx;

static int set_up(void **state)
{
    (void)state;
    Err err = {0};
    return compute_init(&cx, NULL, "own", 1, &err);
}

static int tear_down(void **state)
{
    (void)state;
    compute_free(&cx);
    return 0;
}

static void the_median_of_an_even_number_lies_between_the_middle_two(void **state)
{
    (void)state;
    const double odd[] = {9, 1, 5}, even[] = {4, 100, 1, 2};
    assert_true(bench_median(odd, 3) == 5);
    assert_true(bench_median(even, 4) == 3);
    assert_true(bench_median(NULL, 0) == 0);
}

static double steady(void *self, double seconds, Err *err)
{
    (void)seconds, (void)err;
    return *(double *)self;
}

static double failing(void *self, double seconds, Err *err)
{
    (void)seconds;
    int *calls = self;
    return ++*calls < 2 ? 5 : err_failed(err, "no reply");
}

static void contenders_are_compared_with_the_first(void **state)
{
    (void)state;
    double fast = 300, slow = 100;
    Err err = {0};
    Bench bench = {.cx = &cx, .seconds = 0.02, .seed = 1};
    BenchContender c[] = {{.measure = steady, .self = &fast}, {.measure = steady, .self = &slow}};
    assert_ok(bench_turns(c, 2, &bench, &err), &err);
    assert_true(c[0].rate == 300 && c[1].rate == 100);
    assert_true(c[0].to_first == 1 && c[1].to_first == 3);
    double ratio = c[0].per_peak / c[1].per_peak;
    assert_true(c[1].per_peak > 0 && ratio > 2.999 && ratio < 3.001);
}

static void a_contender_that_stops_answering_is_out_and_the_others_stay(void **state)
{
    (void)state;
    double fast = 300;
    int calls = 0;
    Err err = {0};
    Bench bench = {.cx = &cx, .seconds = 0.02, .seed = 1};
    BenchContender c[] = {{.measure = steady, .self = &fast}, {.measure = failing, .self = &calls}};
    assert_ok(bench_turns(c, 2, &bench, &err), &err);
    assert_int_equal(calls, 2);
    assert_true(c[0].rate == 300 && c[1].rate == 0);
}

static int broken(void *self, Err *err) { return (void)self, err_failed(err, "broken"); }

static void work_that_fails_ends_the_bench(void **state)
{
    (void)state;
    Err err = {0};
    Bench bench = {.cx = &cx, .seconds = 0.01, .seed = 1};
    BenchContender c = {.work = broken};
    assert_failed_error(bench_turns(&c, 1, &bench, &err), &err, "broken");
}

static void small_points_give_speeds_below_the_peak(void **state)
{
    (void)state;
    static const BenchModel tiny = {"tiny", {.vocab = 64, .dim = 16, .layers = 1, .heads = 2, .kv_heads = 2, .head_dim = 8, .ff = 32,
        .context = 32, .rms_eps = 1e-5, .rope_theta = 10000, .tied = true, .bos = -1, .eos = -1, .pad = -1}};
    Err err = {0};
    Bench bench = {.cx = &cx, .seconds = 0.01, .seed = 1};
    MatmulPoint product = {.m = 20, .n = 33, .k = 17}, gradient = {.m = 20, .n = 33, .k = 17, .gradient = true};
    TrainPoint train;
    SamplePoint sample;
    TilePoint tile;
    assert_ok(bench_tile(&tile, &bench, &err), &err);
    assert_ok(bench_matmul(&product, 1, &bench, &err), &err);
    assert_ok(bench_matmul(&gradient, 1, &bench, &err), &err);
    assert_ok(bench_train(&train, &bench, &tiny, 2, 8, 16, &err), &err);
    assert_ok(bench_sample(&sample, &bench, &tiny, (SampleShape){2, 4, 3, 5}, &err), &err);
    const double shares[] = {tile.peak_fraction / 1.2, product.peak_fraction, product.packed_fraction, gradient.peak_fraction, train.peak_fraction, sample.peak_fraction};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        if (!(shares[i] > 0 && shares[i] < 1)) fail_msg("share %zu of the peak is %g", i, shares[i]);
    assert_true(train.tokens_per_s > 0 && train.peak_rss_mb > 0 && sample.tokens_per_s > 0 && gradient.packed_gflops == 0);
}

static void the_blis_worker_answers_each_product_with_a_speed(void **state)
{
    (void)state;
    if (!blis_configuration()) skip_because("this build is without BLIS");
    const char *binary = getenv("RAFT_BINARY");
    if (!binary) skip_because("RAFT_BINARY is not set");
    char command[600];
    snprintf(command, sizeof command, "'%s' bench blis-worker --matmul blis --threads 1 2>/dev/null", binary);
    Err err = {0};
    Text reply = {0};
    OsChild *child = os_child_start(command, &err);
    assert_non_null(child);
    const char lines[] = "16 8 4 0 0.001\n16 8 4 1 0.001\n";
    assert_ok(os_child_exchange(child, lines, strlen(lines), 2, &reply, 30, &err), &err);
    char *end;
    double first = strtod(reply.data, &end), second = strtod(end, NULL);
    if (!(first > 100 && second > 100)) fail_msg("answers %s", reply.data);
    text_free(&reply);
    assert_ok(os_child_stop(child, 5, &err), &err);
}

static void unknown_parts_are_refused(void **state)
{
    (void)state;
    if (!getenv("RAFT_BINARY")) skip_because("RAFT_BINARY is not set");
    Text output = {0};
    assert_int_equal(run_raft(&output, "bench nonsense"), 2);
    assert_non_null(strstr(output.data, "expected matmul, train"));
    text_free(&output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_median_of_an_even_number_lies_between_the_middle_two),
        cmocka_unit_test(contenders_are_compared_with_the_first),
        cmocka_unit_test(a_contender_that_stops_answering_is_out_and_the_others_stay),
        cmocka_unit_test(work_that_fails_ends_the_bench),
        cmocka_unit_test(small_points_give_speeds_below_the_peak),
        cmocka_unit_test(the_blis_worker_answers_each_product_with_a_speed),
        cmocka_unit_test(unknown_parts_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
