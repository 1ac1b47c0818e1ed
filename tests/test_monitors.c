// SPDX-License-Identifier: MIT
/* test_monitors.c - when a run is stopped for over-optimisation, and which of its models is the best. */
#include "tests/support.h"

#include <string.h>

#include "study/monitors.h"

static Monitors parse(const char *first, const char *second)
{
    const char *specs[] = {first, second};
    Monitors m;
    Err err = {0};
    assert_ok(monitors_parse(&m, specs, second ? 2 : 1, &err), &err);
    return m;
}

static Evaluation seen(double gold, double half, double distinct, double kl)
{
    return (Evaluation){.reward = {.mean = 100 - gold, .n = 9}, .gold = {.mean = gold, .lo = gold - half, .hi = gold + half, .n = 9},
        .distinct_2 = {.mean = distinct, .n = 9}, .kl = {.mean = kl, .n = 9}};
}

static void expect(Monitors *m, size_t iteration, Evaluation e, bool best, const char *why)
{
    Sight sight = monitors_see(m, &e, iteration);
    if (sight.best != best) fail_msg("iteration %zu: best is %d", iteration, sight.best);
    if (!why != !sight.why || (why && strcmp(why, sight.why))) fail_msg("iteration %zu: %s", iteration, sight.why ? sight.why : "nothing fired");
}

static void specs_are_read_and_wrong_ones_named(void **state)
{
    (void)state;
    Err err = {0};
    Monitors m = parse("diversity-falls", "kl-above:12.5");
    assert_true(m.diversity_share == 0.1 && m.kl_most == 12.5 && !m.gold_falls);
    m = parse("diversity-falls:0.25", "gold-falls");
    assert_true(m.diversity_share == 0.25 && m.gold_falls);
    const char *const wrong[] = {"kl-above", "kl-above:", "kl-above:x", "kl-above:-1", "diversity-falls:2", "gold-falls:1", "reward-falls", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int status = monitors_parse(&m, wrong + i, 1, &err);
        assert_input_error(status, &err, "--stop-when ");
    }
    m = parse("gold-falls", NULL);
    assert_input_error(monitors_check(&m, false, true, &err), &err, "no gold");
    assert_input_error(monitors_check(&m, true, false, &err), &err, "--eval-prompts");
    assert_ok(monitors_check(&(Monitors){0}, false, false, &err), &err);
}

static void gold_falls_when_it_leaves_the_interval_of_the_best(void **state)
{
    (void)state;
    Monitors m = parse("gold-falls", NULL);
    expect(&m, 0, seen(1, 0.2, 0.5, 0), true, NULL);
    expect(&m, 1, seen(2, 0.2, 0.1, 99), true, NULL); // the others are not watched
    expect(&m, 2, seen(1.85, 0.2, 0.5, 0), false, NULL);
    expect(&m, 3, seen(1.75, 0.2, 0.5, 0), false, "gold-falls");
    assert_true(m.best_iteration == 1 && m.best == 2);
}

static void diversity_and_kl_are_measured_from_the_start(void **state)
{
    (void)state;
    Monitors m = parse("diversity-falls:0.2", "kl-above:10");
    expect(&m, 0, seen(0, 1, 0.5, 0), true, NULL);
    expect(&m, 1, seen(1, 1, 0.41, 9), true, NULL);
    expect(&m, 2, seen(2, 1, 0.39, 9), false, "diversity-falls"); // never the best, whatever its gold
    expect(&m, 3, seen(3, 1, 0.5, 10.5), false, "kl-above");
    assert_int_equal(m.best_iteration, 1);
}

static void without_gold_the_best_has_the_highest_reward(void **state)
{
    (void)state;
    Monitors m = parse("kl-above:10", NULL);
    Evaluation low = {.reward = {.mean = 1, .n = 3}}, high = {.reward = {.mean = 2, .n = 3}};
    expect(&m, 0, low, true, NULL);
    expect(&m, 1, high, true, NULL);
    expect(&m, 2, low, false, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specs_are_read_and_wrong_ones_named),
        cmocka_unit_test(gold_falls_when_it_leaves_the_interval_of_the_best),
        cmocka_unit_test(diversity_and_kl_are_measured_from_the_start),
        cmocka_unit_test(without_gold_the_best_has_the_highest_reward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
