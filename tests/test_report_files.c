// SPDX-License-Identifier: MIT
/* test_report_files.c - the page about a run: what it says of files that are missing or damaged. */
#include "tests/support_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "study/report.h"

// ---- what is missing or damaged -------------------------------------------------------------------------------------------

static void says_what_the_run_does_not_hold(void **state)
{
    RunFixture *f = *state;
    const char *const names[] = {"timing.jsonl", "settings.conf", "provenance.json", "heads.json", "samples_before.jsonl",
        "iter_000/candidates.jsonl",
        "iter_001/candidates.jsonl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) drop(f, names[i]);
    put(f, "metrics.jsonl", "\n{\"later\":1}\n");
    char *page = report_page(f);
    assert_sound(page);
    assert_int_equal(count_of(page, "class=\"missing\""), 11);
        // charts, steps, answers, over-optimisation, spread, best of k, heads, training, time, provenance, settings
    assert_holds(page, "1 lines of metrics.jsonl");
    free(page);
}

static void shows_options_when_there_is_no_settings_file(void **state)
{
    RunFixture *f = *state;
    char *page = report_page(f);
    assert_lacks(page, "<th scope=\"row\">options</th>");
    free(page);
    drop(f, "settings.conf");
    page = report_page(f);
    assert_holds(page, "<th scope=\"row\">options</th>");
    free(page);
}

// Damages one file of a sound run: the error names it, and the page that stood there before stays as it was.
static void assert_named(RunFixture *f, const char *name, const char *bytes, const char *fragment)
{
    char *path = path_in(f->folder, name), *before = report_page(f);
    size_t n;
    char *sound = read_file(path, &n);
    put(f, name, bytes);
    f->err = (Err){0};
    assert_input_error(report_write(f->folder, &f->err), &f->err, fragment);
    f->err = (Err){0};
    char *after = page_of(f);
    assert_string_equal(before, after);
    put_bytes(f, name, sound, n);
    free(sound);
    free(before);
    free(after);
    free(path);
}

static void damaged_files_are_named_with_their_line(void **state)
{
    RunFixture *f = *state;
    const char *const row = "{\"iteration\":1}\n";
    assert_named(f, "metrics.jsonl", "{\"iteration\":1}\n{\"iteration\":2", "metrics.jsonl:2");
    assert_named(f, "metrics.jsonl", "{\"iteration\":1}\n{\"iteration\":1}\n", "metrics.jsonl:2: iteration 1 follows iteration 1");
    assert_named(f, "metrics.jsonl", "{\"iteration\":-1}\n", "metrics.jsonl:1: key \"iteration\"");
    assert_named(f, "metrics.jsonl", "{\"iteration\":0,\"kl\":3}\n", "metrics.jsonl:1: key \"kl\": expected an object");
    assert_named(f, "metrics.jsonl", "{\"iteration\":0,\"kl\":{\"mean\":1,\"lo\":0}}\n", "metrics.jsonl:1: \"kl\": key \"hi\"");
    assert_named(f, "metrics.jsonl", "{\"iteration\":0,\"train\":{}}\n", "metrics.jsonl:1: key \"candidates\"");
    assert_named(f, "metrics.jsonl", "{\"stage\":\"x\",\"step\":2,\"loss\":1}\n{\"stage\":\"x\",\"step\":2,\"loss\":1}\n",
        "metrics.jsonl:2: step 2 follows step 2");
    assert_named(f, "metrics.jsonl", "{\"stage\":\"x\",\"step\":2}\n", "metrics.jsonl:1: key \"loss\"");
    assert_named(f, "timing.jsonl", "\n{\"stage\":\"x\",\"seconds\":-1}\n", "timing.jsonl:2");
    assert_named(f, "heads.json", "{\"proxy\":{\"accuracy\":1}}", "heads.json: proxy: key \"lo\"");
    assert_named(f, "heads.json", "{\"proxy\":1}", "heads.json: key \"proxy\"");
    assert_named(f, "provenance.json", "{\n,", "provenance.json:2");
    assert_named(f, "iter_001/candidates.jsonl", row, "iter_001/candidates.jsonl:1: key \"slot\"");
    assert_named(f, "samples_after.jsonl", "{}\n", "samples_after.jsonl:1");
}

static void candidates_without_a_rank_are_refused(void **state)
{
    RunFixture *f = *state;
    SampleList list = {0};
    fill_sample(samples_add(&list, &f->err), 3, 1, "p", "t", 1, &f->err);
    write_samples(f, "iter_001/candidates.jsonl", &list);
    assert_input_error(report_write(f->folder, &f->err), &f->err, "iter_001/candidates.jsonl: slot 3, k 1 has no \"rank\"");
}

static void answers_to_other_prompts_are_not_compared(void **state)
{
    RunFixture *f = *state;
    write_answers(f, "samples_after.jsonl", "Another film", "was fine", 1);
    assert_input_error(report_write(f->folder, &f->err), &f->err, "samples_after.jsonl: slot 0 has another prompt");
}

static void a_folder_that_is_no_run_is_refused(void **state)
{
    RunFixture *f = *state;
    drop(f, "metrics.jsonl");
    assert_input_error(report_write(f->folder, &f->err), &f->err, "not a run: it holds no metrics.jsonl");
    f->err = (Err){0};
    assert_input_error(report_write("no/such/folder", &f->err), &f->err, "no/such/folder");
}

int main(void)
{
#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_run, tear_down_run)
    const struct CMUnitTest tests[] = {
        RUN_TEST(says_what_the_run_does_not_hold),
        RUN_TEST(shows_options_when_there_is_no_settings_file),
        RUN_TEST(damaged_files_are_named_with_their_line),
        RUN_TEST(candidates_without_a_rank_are_refused),
        RUN_TEST(answers_to_other_prompts_are_not_compared),
        RUN_TEST(a_folder_that_is_no_run_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
