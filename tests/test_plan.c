// SPDX-License-Identifier: MIT
/* test_plan.c - a comparison's arms, results that are kept, intervals over runs; the command from end to end. */
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/jsonl.h"
#include "study/plan.h"

static char *folder;

static int set_up(void **state)
{
    (void)state;
    folder = temporary_folder();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    free(folder);
    return 0;
}

// ---- arms --------------------------------------------------------------------------------------------------------------------------

static int open_arms(Plan *plan, Err *err, const char *first, const char *second)
{
    const char *arms[] = {first, second};
    return plan_open(plan, folder, arms, second ? 2 : 1, 1, 1, 0, false, true, err);
}

static void an_arm_has_a_name_a_kind_and_settings(void **state)
{
    (void)state;
    Plan plan;
    Err err = {0};
    assert_ok(open_arms(&plan, &err, "bo32:best-of  samples=32 stop=a=b", "ppo"), &err);
    assert_string_equal(plan.arms[0].name, "bo32");
    assert_int_equal(plan.arms[0].kind, ARM_BEST_OF);
    assert_int_equal(plan.arms[0].count, 2);
    assert_string_equal(plan.arms[0].keys[1], "stop");
    assert_string_equal(plan.arms[0].values[1], "a=b");
    assert_string_equal(plan.arms[1].name, "ppo");
    assert_int_equal(plan.arms[1].kind, ARM_PPO);
    plan_close(&plan);
    assert_input_error(open_arms(&plan, &err, "dpo", NULL), &err, "there is no kind \"dpo\" (base, best-of, sft, raft, ppo)");
    assert_input_error(open_arms(&plan, &err, "raft samples", NULL), &err, "expected key=value, found \"samples\"");
    assert_input_error(open_arms(&plan, &err, "../x:raft", NULL), &err, "its name is made of letters");
    assert_input_error(open_arms(&plan, &err, "raft", "raft samples=4"), &err, "there is one of that name already");
    assert_ok(open_arms(&plan, &err, "r:raft lr=1", "top:best-of of=r samples=3"), &err);
    assert_ptr_equal(plan.arms[1].of, plan.arms);
    assert_int_equal(plan.arms[1].count, 1);
    assert_string_equal(plan.arms[1].values[0], "3");
    plan_close(&plan);
    assert_input_error(open_arms(&plan, &err, "raft", "top:raft of=raft"), &err, "this is no best-of");
    assert_input_error(open_arms(&plan, &err, "top:best-of of=raft", "raft"), &err, "of=raft: no arm before it that is aligned");
    assert_input_error(open_arms(&plan, &err, "base", "top:best-of of=base"), &err, "of=base: no arm before it that is aligned");
}

// ---- results -----------------------------------------------------------------------------------------------------------------------

typedef struct { size_t calls, fail_at; char order[200]; } Runner;

// Measured at the start and after 100, 200, ... tokens; PPO takes twice as many and thrice the time for the same.
static int fake_trajectory(PlanResult *result, bool ppo, Err *err)
{
    size_t count = 5;
    if (!(result->trajectory.points = mem_new(err, count, sizeof *result->trajectory.points))) return -1;
    result->trajectory.count = count;
    for (size_t i = 0; i < count; i++) {
        double x = (double)i + (ppo ? 0.5 : 0);
        result->trajectory.points[i] = (TrajectoryPoint){.iteration = i, .generated = 100 * i * (ppo ? 2 : 1), .seconds = (double)i * (ppo ? 3 : 1),
            .evaluation = {.reward = {.mean = x, .lo = x - 0.25, .hi = x + 0.25, .n = 8}}};
    }
    return 0;
}

static int fake_arm(void *self, const PlanArm *arm, uint64_t seed, PlanResult *result, Err *err)
{
    Runner *r = self;
    char name[40];
    snprintf(name, sizeof name, "%s%d ", arm->name, (int)seed);
    strcat(r->order, name);
    if (++r->calls == r->fail_at) return err_failed(err, "the light went out");
    double x = (double)seed + (arm->kind == ARM_RAFT ? 10 : 0);
    result->evaluation.reward = (Measure){.mean = x, .lo = x - 0.5, .hi = x + 0.5, .n = 8};
    result->evaluation.perplexity = (Measure){.mean = 3, .lo = 2.5, .hi = 3.5, .n = 8};
    result->generated = 100 * seed;
    return arm->kind == ARM_RAFT || arm->kind == ARM_PPO ? fake_trajectory(result, arm->kind == ARM_PPO, err) : 0;
}

static int run_fake(Runner *runner, uint64_t key, bool resume, Err *err)
{
    const char *arms[] = {"base", "raft"};
    Plan plan;
    Text table = {0};
    assert_ok(plan_open(&plan, folder, arms, 2, 5, 3, key, resume, true, err), err);
    int status = plan_run(&plan, fake_arm, runner, err);
    if (!status) {
        assert_ok(plan_table(&table, &plan, err), err);
        assert_non_null(strstr(table.data, "raft               600  16.000 [")); // generated: the mean of 500, 600, 700
    }
    text_free(&table);
    plan_close(&plan);
    return status;
}

static char *comparison(void)
{
    char *path = path_in(folder, "comparison.json"), *text = read_file(path, NULL);
    assert_non_null(text);
    free(path);
    return text;
}

static void a_comparison_that_was_cut_off_goes_on_to_the_same_end(void **state)
{
    (void)state;
    Err err = {0};
    Runner whole = {0}, cut = {.fail_at = 4}, rest = {0}, again = {0}, other = {0}, fresh = {0};
    assert_ok(run_fake(&whole, 1, false, &err), &err);
    assert_string_equal(whole.order, "base5 raft5 base6 raft6 base7 raft7 ");
    char *expected = comparison();
    remove_folder(folder);
    free(folder);
    folder = temporary_folder();
    assert_failed_error(run_fake(&cut, 1, true, &err), &err, "arm raft, seed 6: the light went out");
    assert_ok(run_fake(&rest, 1, true, &err), &err);
    assert_string_equal(rest.order, "raft6 base7 raft7 ");
    char *got = comparison();
    assert_string_equal(got, expected);
    assert_ok(run_fake(&again, 1, true, &err), &err);
    assert_int_equal(again.calls, 0);
    assert_ok(run_fake(&other, 2, true, &err), &err); // other inputs or settings: nothing is taken
    assert_int_equal(other.calls, 6);
    assert_ok(run_fake(&fresh, 2, false, &err), &err);
    assert_int_equal(fresh.calls, 6);
    free(expected);
    free(got);
}

// The best of another arm's answers is another result when that arm is.
static void a_result_is_not_taken_when_the_arm_it_is_of_has_changed(void **state)
{
    (void)state;
    static const char *const first[] = {"raft lr=1", "raft lr=1", "raft lr=2"};
    static const size_t calls[] = {2, 0, 2};
    for (size_t i = 0; i < 3; i++) {
        Err err = {0};
        Plan plan;
        Runner runner = {0};
        const char *arms[] = {first[i], "top:best-of of=raft"};
        assert_ok(plan_open(&plan, folder, arms, 2, 1, 1, 1, true, true, &err) || plan_run(&plan, fake_arm, &runner, &err), &err);
        assert_int_equal(runner.calls, calls[i]);
        plan_close(&plan);
    }
    char *text = comparison();
    assert_non_null(strstr(text, "\"of\": \"raft\""));
    free(text);
    char *path = path_in(folder, "comparison.md");
    text = read_file(path, NULL);
    assert_non_null(strstr(text, "- top: of=raft\n"));
    free(path);
    free(text);
}

static void a_damaged_result_is_named(void **state)
{
    (void)state;
    Err err = {0};
    Runner runner = {0};
    assert_ok(run_fake(&runner, 1, false, &err), &err);
    char *path = path_in(folder, "arms/base-s6.json");
    write_file(path, "{\"key\":", 7);
    assert_input_error(run_fake(&runner, 1, true, &err), &err, "base-s6.json");
    free(path);
}

// ---- at equal cost -----------------------------------------------------------------------------------------------------------------

static void a_trajectory_is_found_by_cost_and_read_back(void **state)
{
    (void)state;
    Err err = {0};
    PlanResult result = {0};
    Trajectory back;
    assert_ok(fake_trajectory(&result, false, &err), &err);
    const Trajectory *t = &result.trajectory;
    Evaluation e;
    assert_true(trajectory_at(&e, t, trajectory_tokens, 300) && e.reward.mean == t->points[3].evaluation.reward.mean);
    assert_true(trajectory_at(&e, t, trajectory_tokens, 250) && e.reward.mean == 2.5 && e.reward.hi == 2.75 && e.reward.n);
    assert_true(trajectory_at(&e, t, trajectory_seconds, 0.25) && e.reward.mean == 0.25);
    assert_true(trajectory_at(&e, t, trajectory_tokens, 400) && e.reward.mean == t->points[4].evaluation.reward.mean);
    assert_false(trajectory_at(&e, t, trajectory_tokens, 401));
    t->points[0].generated = 10;
    assert_false(trajectory_at(&e, t, trajectory_tokens, 9));
    json_t *with = trajectory_json(t, true, &err), *without = trajectory_json(t, false, &err);
    assert_null(json_object_get(json_array_get(without, 1), "seconds"));
    assert_ok(trajectory_read(&back, with, "x.json", &err), &err);
    assert_int_equal(back.count, 5);
    assert_true(back.points[3].generated == 300 && back.points[3].seconds == 3 && back.points[3].evaluation.reward.hi == 3.25);
    trajectory_free(&back);
    json_object_set_new(json_array_get(with, 2), "generated", json_string("many"));
    assert_input_error(trajectory_read(&back, with, "x.json", &err), &err, "x.json: key \"generated\"");
    json_decref(with);
    json_decref(without);
    trajectory_free(&result.trajectory);
}

static void arms_stand_beside_each_other_at_equal_tokens_and_at_equal_seconds(void **state)
{
    (void)state;
    const char *const arms[] = {"base", "raft", "ppo"};
    Err err = {0};
    Runner runner = {0};
    Plan plan;
    assert_ok(plan_open(&plan, folder, arms, 3, 5, 2, 1, false, true, &err) || plan_run(&plan, fake_arm, &runner, &err), &err);
    plan_close(&plan);
    char *path = path_in(folder, "comparison.md"), *text = read_file(path, NULL);
    // RAFT is the cheaper one: 400 tokens, 4 seconds in all. PPO had learned from 400 tokens after two iterations, and had worked 4 seconds
    // a third of the way from the first to the second.
    const char *const wanted[] = {"\nAfter 400 tokens generated", "| raft | 4.000 [3.", "| ppo | 2.500 [2.", "\nAfter 4.0 seconds", "| ppo | 1.833 [1.",
        "\nAfter 1.0 seconds", "| ppo | 0.833 [", "| base | 550 | 5.500 ["};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!strstr(text, wanted[i])) fail_msg("\"%s\" was expected in: %s", wanted[i], text);
    assert_null(strstr(strstr(text, "## At the same number"), "| base |"));
    free(path);
    free(text);
    text = comparison();
    assert_non_null(strstr(text, "\"trajectory\": ["));
    assert_null(strstr(text, "seconds"));
    free(text);
}

// ---- intervals ---------------------------------------------------------------------------------------------------------------------

static void an_interval_over_runs_joins_seeds_and_prompts(void **state)
{
    (void)state;
    const Measure runs[] = {{1, 0.9, 1.2, 10}, {2, 1.9, 2.2, 10}, {3, 2.9, 3.2, 10}};
    Measure m = metric_over_runs(runs, 3);
    double seeds = 4.303 / sqrt(3); // standard deviation 1
    assert_true(m.mean == 2 && m.n == 30);
    assert_true(fabs(m.lo - (2 - sqrt(0.01 + seeds * seeds))) < 1e-9);
    assert_true(fabs(m.hi - (2 + sqrt(0.04 + seeds * seeds))) < 1e-9);
    m = metric_over_runs(runs + 1, 1);
    assert_true(m.mean == 2 && m.lo == 1.9 && m.hi == 2.2);
    const Measure missing[] = {{1, 0.9, 1.2, 10}, {0, 0, 0, 0}};
    assert_int_equal(metric_over_runs(missing, 2).n, 0);
}

static void an_evaluation_is_read_back_as_it_was_written(void **state)
{
    (void)state;
    Err err = {0};
    Evaluation e = {.reward = {1.5, 1.25, 1.75, 4}, .kl = {0.5, 0.25, 0.75, 4}, .samples = 7, .tokens = 99}, back;
    json_t *object = evaluation_json(&e, &err);
    assert_ok(evaluation_read(&back, object, "x.json", &err), &err);
    assert_true(back.reward.mean == 1.5 && back.reward.lo == 1.25 && back.kl.hi == 0.75 && back.kl.n && !back.gold.n);
    assert_true(back.samples == 7 && back.tokens == 99);
    json_object_set_new(object, "kl", json_integer(3));
    assert_input_error(evaluation_read(&back, object, "x.json", &err), &err, "x.json: key \"kl\"");
    json_decref(object);
}

// ---- the command -------------------------------------------------------------------------------------------------------------------

static const char small[] = "compare --profile contract -o %s/run --seeds 2 --eval-every 10 --sft.epochs 2 --ppo.top-k 0 --ppo.top-p 1 --ppo.kl-beta 0 "
    "--ppo.iterations 2 --ppo.samples 2 --arm base --arm \"bo3:best-of samples=3\" --arm sft --arm raft --arm \"ppo2:ppo epochs=2\" "
    "--arm \"kept:raft replay=1.5 replay-tokens=12\" --arm \"top:best-of samples=3 of=kept\" %s";

static double perplexity_of(const json_t *comparison, size_t arm)
{
    const json_t *one = json_array_get(json_object_get(comparison, "arms"), arm);
    return json_number_value(json_object_get(json_object_get(one, "perplexity"), "mean"));
}

static void compare_makes_every_arm_and_resumes(void **state)
{
    (void)state;
    Text output = {0};
    int status = run_raft(&output, small, folder, "");
    if (status) fail_msg("exit status %d: %s", status, output.data);
    if (!strstr(output.data, "plan       14 of 14 arms\n")) fail_msg("no plan in: %s", output.data);
    if (!strstr(output.data, "plan       4 of 14 arms, ppo2 1 of 2  about ")) fail_msg("no plan within an arm in: %s", output.data);
    const char *const rows[] = {"\nbase ", "\nbo3 ", "\nsft ", "\nraft ", "\nppo2 ", "\nkept ", "\ntop "};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strstr(output.data, rows[i])) fail_msg("no row \"%s\" in: %s", rows[i] + 1, output.data);
    text_free(&output);
    char *path = path_in(folder, "run/comparison.json"), *before = read_file(path, NULL);
    assert_non_null(before);
    assert_int_equal(run_raft(&output, small, folder, "--resume"), 0);
    assert_non_null(strstr(output.data, "taken from the directory"));
    char *after = read_file(path, NULL);
    assert_string_equal(after, before);
    text_free(&output);
    for (size_t i = 0; i < 3; i++) { // arms without a run directory leave their answers, token by token
        static const char *const names[] = {"run/arms/base-s1/samples_after.jsonl", "run/arms/bo3-s2/samples_after.jsonl", "run/arms/sft-s1/samples_after.jsonl"};
        char *place = path_in(folder, names[i]), *answers = read_file(place, NULL);
        if (!answers || !strstr(answers, "\"token_ref_logprob\":[")) fail_msg("%s: missing, or without values of tokens", names[i]);
        free(place);
        free(answers);
    }
    json_t *told = json_loads(before, 0, NULL);
    const json_t *raft = json_array_get(json_object_get(told, "arms"), 3);
    const json_t *way = json_object_get(json_array_get(json_object_get(raft, "seeds"), 0), "trajectory");
    assert_int_equal(json_array_size(way), 2); // before, and at the end: --eval-every 10
    assert_true(json_object_get(json_array_get(way, 1), "distinct_2") && json_object_get(json_array_get(way, 1), "kl"));
    assert_true(json_integer_value(json_object_get(json_array_get(way, 1), "generated")) > 500);
    double kept = perplexity_of(told, 5), top = perplexity_of(told, 6);
    assert_true(kept > 0 && kept == top && kept != perplexity_of(told, 3)); // it is that arm's model that answers, and it read other texts
    json_decref(told);
    char *times = path_in(folder, "run/arms/raft-s1/timing.jsonl"), *stages = read_file(times, NULL);
    for (const char *const *stage = (const char *const[]){"collect", "rank", "finetune", "evaluate", "measure", NULL}; *stage; stage++)
        if (!stages || !strstr(stages, *stage)) fail_msg("no seconds of \"%s\" in timing.jsonl", *stage);
    free(times);
    free(stages);
    char *place = path_in(folder, "run/report.html"), *page = read_file(place, NULL);
    if (!page || !strstr(page, "raft compare \xC2\xB7 7 arms")) fail_msg("compare left no page");
    assert_non_null(strstr(page, "<td class=\"n\">3 answers for one</td>"));
    free(place);
    free(page);
    assert_int_equal(run_raft(&output, "report %s/run/arms/kept-s1", folder), 0);
    text_free(&output);
    place = path_in(folder, "run/arms/kept-s1/report.html");
    page = read_file(place, NULL);
    assert_non_null(strstr(page, "the model reads texts of people, 1.5 to each answer, so that it forgets less: their first 12 tokens"));
    free(place);
    free(page);
    assert_int_equal(run_raft(&output, "rerun %s/run -o %s/again --quiet", folder, folder), 0);
    assert_non_null(strstr(output.data, "same bits"));
    text_free(&output);
    assert_int_equal(run_raft(&output, "report %s/run/arms/ppo2-s1", folder), 0);
    text_free(&output);
    assert_int_equal(run_raft(&output, small, folder, "--force --arm \"bad:ppo temperature=0.5\""), 2);
    assert_non_null(strstr(output.data, "arm bad: PPO learns from what the policy itself would say"));
    text_free(&output);
    const char *const ignored[] = {"\"r:raft kl-coef=1\"", "\"b:base lr=1\"", "\"r:raft reward=length:3\"", "\"s:sft mode=global\""};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(run_raft(&output, "compare --profile contract -o %s/no --arm %s", folder, ignored[i]), 2);
        if (!strstr(output.data, "is not a setting of its own")) fail_msg("arm %s: %s", ignored[i], output.data);
        text_free(&output);
    }
    free(path);
    free(before);
    free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_arm_has_a_name_a_kind_and_settings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_comparison_that_was_cut_off_goes_on_to_the_same_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_result_is_not_taken_when_the_arm_it_is_of_has_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_result_is_named, set_up, tear_down),
        cmocka_unit_test(a_trajectory_is_found_by_cost_and_read_back),
        cmocka_unit_test_setup_teardown(arms_stand_beside_each_other_at_equal_tokens_and_at_equal_seconds, set_up, tear_down),
        cmocka_unit_test(an_interval_over_runs_joins_seeds_and_prompts),
        cmocka_unit_test(an_evaluation_is_read_back_as_it_was_written),
        cmocka_unit_test_setup_teardown(compare_makes_every_arm_and_resumes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
