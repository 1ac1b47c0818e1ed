// SPDX-License-Identifier: MIT
/* test_ppo_command.c - raft align --algo ppo as a user types it: what the run holds, what other commands make of it, when it stops. */
#include "tests/support_cli.h"

#include <stdlib.h>
#include <string.h>

#include "files/checkpoint.h"

static const char how[] = "--algo ppo --prompts @/pairs.jsonl --reward length:3 --samples 2 --max-new 8 --iterations 3 --eval-prompts 2 "
    "--eval-every 2 --batch 2 --kl-target 1";

static int set_up(void **state)
{
    cli_make_model(state);
    expect(raft("align @/lm -o @/run %s", how), 0, "checkpoint");
    return 0;
}

static void load(Model *model, const char *name)
{
    Err err = {0};
    char *path = cli_path(name);
    assert_ok(checkpoint_load(model, path, &err), &err);
    free(path);
}

static void expect_in_file(const char *name, const char *fragment)
{
    char *path = cli_path(name), *text = read_file(path, NULL);
    if (!strstr(text, fragment)) fail_msg("\"%s\" was expected in %s: %.2000s", fragment, name, text);
    free(text), free(path);
}

static void a_run_holds_its_measures_candidates_and_value_head(void **state)
{
    (void)state;
    Model after;
    expect_in_file("run/metrics.jsonl", "\"policy_loss\":");
    expect_in_file("run/metrics.jsonl", "\"kl_coef\":0.049"); // steered down from 0.05: the KL is below its target
    expect_in_file("run/metrics.jsonl", "{\"iteration\":3,");
    expect_in_file("run/iter_002/candidates.jsonl", "\"selected\":true");
    expect_in_file("run/checkpoint/config.json", "\"raft_value_head\": true");
    char *metrics = cli_path("run/metrics.jsonl"), *lines = read_file(metrics, NULL);
    assert_null(strstr(lines, "{\"iteration\":1,")); // measured every second time, and at the end
    load(&after, "run/checkpoint");
    size_t moved = 0;
    for (size_t i = 0; i <= after.config.dim; i++) moved += after.parameters[after.value + i] != 0;
    assert_true(moved > after.config.dim / 2);
    model_free(&after);
    free(lines), free(metrics);
}

static void report_eval_and_export_read_it(void **state)
{
    (void)state;
    Model exported;
    expect(raft("report @/run"), 0, "");
    expect(raft("eval @/run/checkpoint --prompts @/pairs.jsonl --reward length:3 --max-new 8"), 0, "reward");
    expect(raft("export @/run/checkpoint -o @/exported"), 0, "");
    load(&exported, "exported");
    assert_false(exported.config.value_head); // no other program expects it
    model_free(&exported);
}

static void a_monitor_that_fires_ends_the_run_and_keeps_the_best_model(void **state)
{
    (void)state;
    Model best, start;
    expect(raft("align @/lm -o @/stopped %s --stop-when kl-above:1e-9", how), 0,
        "stopped: kl-above after iteration 2; best/ holds the model after iteration 0"); // the first measurement after training
    expect_in_file("stopped/metrics.jsonl", "\"stopped\":\"kl-above\"");
    load(&best, "stopped/best");
    load(&start, "lm");
    assert_same_bits(best.parameters, start.parameters, start.parameter_count, "best");
    model_free(&best);
    model_free(&start);
}

static void what_ppo_cannot_do_is_refused(void **state)
{
    (void)state;
    expect(raft("align @/lm -o @/refused %s --temperature 0.5", how), 2, "--temperature 1");
    expect(raft("align @/lm -o @/refused %s --stop-when gold-falls", how), 2, "there is no gold");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_holds_its_measures_candidates_and_value_head),
        cmocka_unit_test(report_eval_and_export_read_it),
        cmocka_unit_test(a_monitor_that_fires_ends_the_run_and_keeps_the_best_model),
        cmocka_unit_test(what_ppo_cannot_do_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, cli_remove_folder);
}
