// SPDX-License-Identifier: MIT
/* test_run.c - a run directory: what is recorded, what is refused, what --force replaces. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "study/run.h"

typedef struct { char *folder, *run; Settings settings; Options options; Compute cx; Err err; } Fixture;

static char *const arguments[] = {"--seed", "7", "--lr", "0.5", "--pretrain.epochs", "3", "--reward", "length:3", "--reward",
    "lexicon:x", "CKPT"};

static int set_up(void **state)
{
    Fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->folder = temporary_folder();
    f->run = path_in(f->folder, "a/run");
    assert_ok(settings_parse(&f->settings, sizeof arguments / sizeof *arguments, (char **)(uintptr_t)arguments, OPT_ALL, NULL,
        &f->err), &f->err);
    assert_ok(settings_resolve(&f->options, &f->settings, NULL, &f->err), &f->err);
    assert_ok(compute_init(&f->cx, "plain", "own", 1, &f->err), &f->err);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    compute_free(&f->cx);
    settings_free(&f->settings);
    remove_folder(f->folder);
    free(f->folder);
    free(f->run);
    free(f);
    return 0;
}

static int open_run(Run *run, Fixture *f) { return run_open(run, f->run, "pretrain", &f->settings, &f->options, &f->cx, &f->err); }

static char *contents(const Fixture *f, const char *name)
{
    char *path = path_in(f->run, name), *text = read_file(path, NULL);
    free(path);
    return text;
}

static bool exists(const Fixture *f, const char *name)
{
    char *path = path_in(f->run, name);
    bool found = os_is_file(path);
    free(path);
    return found;
}

static void put(const Fixture *f, const char *name, const char *text)
{
    char *path = path_in(f->run, name);
    write_file(path, text, strlen(text));
    free(path);
}

static void records_what_made_it(void **state)
{
    Fixture *f = *state;
    Run run;
    assert_ok(open_run(&run, f), &f->err);
    assert_ok(run_record(&run, "note", json_string("x"), &f->err), &f->err);
    assert_ok(run_record_hash(&run, "corpus_hash", 0xABCu, &f->err), &f->err);
    char *settings = path_in(f->run, "settings.conf");
    assert_ok(run_record_file(&run, "settings_hash", settings, &f->err), &f->err);
    run_close(&run);
    char *path = path_in(f->run, "provenance.json");
    json_t *p = json_load_document(path, &f->err);
    const char *const keys[] = {"version", "commit", "compiler", "cpu", "isa", "matmul", "threads", "seed", "command",
        "command_line", "options"};
    assert_non_null(p);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!json_object_get(p, keys[i])) fail_msg("provenance.json lacks \"%s\"", keys[i]);
    assert_int_equal(json_integer_value(json_object_get(p, "seed")), 7);
    assert_int_equal(json_array_size(json_object_get(p, "command_line")), 2 + sizeof arguments / sizeof *arguments);
    const json_t *options = json_object_get(p, "options");
    assert_true(json_real_value(json_object_get(options, "lr")) == 0.5);
    assert_int_equal(json_integer_value(json_object_get(options, "epochs")), 3); // the command's own stage is resolved
    assert_int_equal(json_array_size(json_object_get(options, "reward")), 2);
    assert_string_equal(json_string_value(json_object_get(p, "isa")), "plain");
    assert_string_equal(json_string_value(json_object_get(p, "corpus_hash")), "0000000000000abc");
    assert_int_equal(strlen(json_string_value(json_object_get(p, "settings_hash"))), 16);
    json_decref(p);
    free(settings);
    free(path);
}

static void its_settings_are_a_profile_that_resolves_to_the_same(void **state)
{
    Fixture *f = *state;
    Run run;
    Settings again = {0};
    Text written = {0};
    assert_ok(open_run(&run, f), &f->err);
    run_close(&run);
    char *path = path_in(f->run, "settings.conf"), *argv[] = {"--profile", path}, *first = contents(f, "settings.conf");
    assert_ok(settings_parse(&again, 2, argv, OPT_ALL, NULL, &f->err), &f->err);
    assert_ok(settings_write(&written, &again, "pretrain", &f->err), &f->err);
    assert_string_equal(strchr(first, '\n') + 1, written.data); // after the comment
    settings_free(&again);
    text_free(&written);
    free(first);
    free(path);
}

static void metrics_and_timing_grow_by_whole_lines(void **state)
{
    Fixture *f = *state;
    Run run;
    assert_ok(open_run(&run, f), &f->err);
    assert_ok(run_metrics(&run, json_pack("{s:i,s:o}", "iteration", 0, "loss", json_float(0.1f)), &f->err), &f->err);
    char *one = contents(f, "metrics.jsonl");
    assert_string_equal(one, "{\"iteration\":0,\"loss\":0.100000001}\n");
    assert_ok(run_metrics(&run, json_pack("{s:i}", "iteration", 1), &f->err), &f->err);
    char *two = contents(f, "metrics.jsonl");
    assert_string_equal(two, "{\"iteration\":0,\"loss\":0.100000001}\n{\"iteration\":1}\n");
    assert_ok(run_timing(&run, "collect", 2.5, 10, &f->err), &f->err);
    char *timing = contents(f, "timing.jsonl");
    assert_string_equal(timing, "{\"stage\":\"collect\",\"seconds\":2.5,\"tokens\":10,\"tokens_per_s\":4}\n");
    assert_failed_error(run_metrics(&run, NULL, &f->err), &f->err, "JSON");
    run_close(&run);
    free(one);
    free(two);
    free(timing);
}

static void paths_have_their_folders(void **state)
{
    Fixture *f = *state;
    Run run;
    assert_ok(open_run(&run, f), &f->err);
    char *path = run_path(&run, "iter_000/deep/candidates.jsonl", &f->err);
    assert_non_null(path);
    write_file(path, "x", 1);
    mem_free(path);
    run_close(&run);
    run_close(&run); // harmless
}

static void an_existing_run_or_checkpoint_is_kept(void **state)
{
    Fixture *f = *state;
    Run run;
    assert_ok(open_run(&run, f), &f->err);
    run_close(&run);
    assert_input_error(open_run(&run, f), &f->err, "already holds a run");
    char *path = path_in(f->run, "provenance.json");
    assert_int_equal(remove(path), 0);
    free(path);
    put(f, "config.json", "{}");
    assert_input_error(open_run(&run, f), &f->err, "already holds a checkpoint");
}

static void force_replaces_the_runs_own_files_and_nothing_else(void **state)
{
    Fixture *f = *state;
    Run run;
    assert_ok(open_run(&run, f), &f->err);
    assert_ok(run_metrics(&run, json_pack("{s:i}", "iteration", 0), &f->err), &f->err);
    mem_free(run_path(&run, "iter_007/candidates.jsonl", &f->err));
    run_close(&run);
    put(f, "iter_007/candidates.jsonl", "old\n");
    put(f, "iter_007/notes.txt", "mine");
    put(f, "notes.txt", "mine");
    put(f, "model.safetensors", "weights");
    const char *const old[] = {"iter_007/candidates.jsonl.tmp", "state/pretrain.safetensors", "samples_before.jsonl", "samples_after.jsonl",
        "heads.json", "report.html"};
    char *state_folder = path_in(f->run, "state");
    assert_ok(os_make_folders(state_folder, &f->err), &f->err);
    free(state_folder);
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) put(f, old[i], "old");
    f->options.force = true;
    assert_ok(open_run(&run, f), &f->err);
    run_close(&run);
    assert_true(!exists(f, "metrics.jsonl") && !exists(f, "iter_007/candidates.jsonl"));
    for (size_t i = 0; i < sizeof old / sizeof *old; i++)
        if (exists(f, old[i])) fail_msg("%s of the old run is still there", old[i]);
    assert_true(exists(f, "notes.txt") && exists(f, "iter_007/notes.txt") && exists(f, "model.safetensors") &&
        exists(f, "provenance.json"));
}

static void a_folder_that_cannot_be_made_is_a_failure_and_a_file_in_its_place_a_mistake(void **state)
{
    Fixture *f = *state;
    Run run;
    char *file = path_in(f->folder, "file");
    write_file(file, "x", 1);
    assert_input_error(run_open(&run, file, "pretrain", &f->settings, &f->options, &f->cx, &f->err), &f->err, "not a folder");
    assert_failed_error(run_open(&run, "/proc/nowhere/run", "pretrain", &f->settings, &f->options, &f->cx, &f->err), &f->err,
        "/proc/nowhere");
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_what_made_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(its_settings_are_a_profile_that_resolves_to_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(metrics_and_timing_grow_by_whole_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(paths_have_their_folders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_existing_run_or_checkpoint_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(force_replaces_the_runs_own_files_and_nothing_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_that_cannot_be_made_is_a_failure_and_a_file_in_its_place_a_mistake, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
