// SPDX-License-Identifier: MIT
/* test_report_arms.c - the page about several runs: arms over seeds, what is drawn where, what is said of damage. */
#include "tests/support_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "study/report.h"

// ---- arms ----------------------------------------------------------------------------------------------------------------------

static void shows_every_arm_with_intervals_over_seeds(void **state)
{
    write_comparison(*state, 3);
    char *page = report_page(*state);
    assert_sound(page);
    assert_holds(page, "<title>RAFT: a comparison</title>");
    assert_holds(page, "raft compare · 4 arms · 2 seeds");
    assert_holds(page, "<th scope=\"row\">raft</th><td class=\"n\">24</td><td class=\"n\">2.500 <span class=\"interval\">[2.000, 3.000]</span>");
    assert_holds(page, "<strong>sft</strong> reaches the highest gold reward (0.250, then raft with \xE2\x88\x92" "0.500).");
    assert_holds(page, "<dt>best-of</dt>");
    assert_lacks(page, "<dt>ppo</dt>");
    assert_holds(page, "<div class=\"answer\"><dt>bo4");
    assert_holds(page, ">arms/bo4-s1</span>");
    assert_holds(page, "<section id=\"spread\"");
    assert_holds(page, "Rewards of the candidates of iteration 1"); // of the arm that tells the story
    assert_holds(page, "Shown with the candidates of raft, first seed.");
    assert_holds(page, "<th scope=\"row\">2</th><td class=\"n\">1.84</td><td class=\"n\">4.00"); // the best of 4 of the best of 4
    assert_holds(page, "<th scope=\"row\">raft</th><td class=\"n\">24</td><td class=\"n\">100</td><td class=\"n\">8.00 s</td><td class=\"n\">4.00 s</td><td class=\"n\">3.00 s</td>"
        "<td class=\"n\">20.0 s</td><td class=\"n\">150.0 s</td>"); // sampled 3 + 5 seconds, learned 1 + 2, measured 18; 100 and 200 in all
    free(page);
}

static void curves_are_means_over_seeds_against_what_they_cost(void **state)
{
    write_comparison(*state, 3);
    char *page = report_page(*state);
    // gold of the two seeds: 0 and 1, 1 and 2, -1 and 0; tokens: 12 candidates of one token an iteration
    const char *curve = strstr(page, "<desc id=\"learn-gold-d\">");
    assert_non_null(curve);
    assert_true(strstr(curve, "raft: 0.500 [") < strstr(curve, "</desc>"));
    assert_true(strstr(curve, " at tokens generated 0, \xE2\x88\x92" "0.500 [") < strstr(curve, "</desc>"));
    assert_true(strstr(curve, " at tokens generated 24.</desc>") && strstr(curve, "</desc>") > strstr(curve, " at tokens generated 24."));
    assert_holds(page, " at seconds 11.</desc>"); // 3 + 1 + 5 + 2
    const char *frontier = strstr(page, "<desc id=\"frontier-kl-d\">");
    assert_non_null(frontier);
    assert_non_null(strstr(frontier, "base: 0.000 [\xE2\x88\x92" "0.125, 0.125] at KL to the start, nats per answer 0.00."));
    assert_non_null(strstr(frontier, "bo4: 0.750 [0.500, 1.000] at KL to the start, nats per answer 0.64.")); // log 4 - 3/4
    assert_non_null(strstr(frontier, "sft: 0.250 [0.000, 0.500] at KL to the start, nats per answer 0.50."));
    free(page);
}

// The short run's last measurement is after one iteration.
static void arms_are_read_off_at_the_same_cost(void **state)
{
    RunFixture *f = *state, a = make_arm(f, "long", 0, 3), b = make_arm(f, "short", 0.5, 2);
    const char *folders[] = {a.folder, b.folder};
    char *path = path_in(f->folder, "both.html");
    assert_ok(report_write_runs(path, folders, 2, &f->err), &f->err);
    char *page = read_file(path, NULL);
    assert_holds(page, ">gold at a KL of 2.50 nats</th>"); // where the short one ended: the long one is at 2 and then 4, gold 1 and then -1
    assert_holds(page, ">gold after 12 tokens</th>");
    assert_holds(page, ">gold after 4.00 s</th>");
    assert_holds(page, "<th scope=\"row\">long</th><td class=\"n\">0.500 <span class=\"interval\">[0.375, 0.625]</span></td>");
    assert_holds(page, "<th scope=\"row\">short</th><td class=\"n\">1.500 <span class=\"interval\">[1.375, 1.625]</span></td>");
    free(page);
    free(path);
    free_arm(&a);
    free_arm(&b);
}

// What a line of metrics or of times tells itself is taken before what the candidates add up to.
static void costs_are_taken_from_the_lines_that_tell_them(void **state)
{
    RunFixture *f = *state, a = make_arm(f, "a", 0, 3), b = make_arm(f, "b", 0, 3);
    const char *folders[] = {a.folder, b.folder};
    char *path = path_in(f->folder, "both.html");
    for (size_t i = 0; i < 2; i++) {
        RunFixture *arm = i ? &b : &a;
        put(arm, "metrics.jsonl", "{\"iteration\":0,\"generated\":0,\"gold\":{\"mean\":1,\"lo\":1,\"hi\":1}}\n"
            "{\"iteration\":2,\"generated\":5000,\"gold\":{\"mean\":2,\"lo\":2,\"hi\":2}}\n");
        put(arm, "timing.jsonl", "{\"stage\":\"evaluate\",\"seconds\":1,\"iteration\":0,\"elapsed\":0}\n"
            "{\"stage\":\"evaluate\",\"seconds\":1,\"iteration\":2,\"elapsed\":77}\n");
    }
    assert_ok(report_write_runs(path, folders, 2, &f->err), &f->err);
    char *page = read_file(path, NULL);
    assert_holds(page, "2.000 at tokens generated 5,000.");
    assert_holds(page, "2.000 at seconds 77.");
    free(page);
    free(path);
    free_arm(&a);
    free_arm(&b);
}

static void a_curve_ends_where_the_first_seed_stopped(void **state)
{
    write_comparison(*state, 2);
    char *page = report_page(*state);
    const char *curve = strstr(page, "<desc id=\"learn-gold-d\">");
    assert_non_null(curve);
    assert_true(strstr(curve, " at tokens generated 12.</desc>") && strstr(curve, " at tokens generated 12.</desc>") < strstr(curve, "</svg>"));
    free(page);
}

static void says_which_checkpoint_was_best_and_when_a_monitor_fires(void **state)
{
    write_comparison(*state, 3);
    char *page = report_page(*state);
    // gold, as the mean over seeds: 0.5, 1.5, -0.5
    assert_holds(page, "<th scope=\"row\">raft</th><td class=\"n\">1</td><td class=\"n\">2.50</td><td class=\"n\">1.500 <span");
    free(page);
    RunFixture arm = {.folder = path_in(((RunFixture *)*state)->folder, "arms/raft-s1")};
    page = report_page(&arm);
    assert_holds(page, "Best by gold: the model after iteration 1 of 2. <code>gold-falls</code> would have stopped after iteration 2. "
        "<code>diversity-falls</code> would not have fired.");
    assert_holds(page, ">best by gold</text>");
    assert_holds(page, ">gold-falls</text>");
    free(page);
    free_arm(&arm);
}

static void same_files_give_the_same_bytes(void **state)
{
    write_comparison(*state, 3);
    char *first = report_page(*state), *second = report_page(*state);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

// ---- runs named one by one -------------------------------------------------------------------------------------------------------

static void runs_are_set_side_by_side_and_told_apart(void **state)
{
    RunFixture *f = *state, a = make_arm(f, "x/run", 0, 3), b = make_arm(f, "y/run", 1, 3);
    const char *folders[] = {a.folder, b.folder, f->folder};
    char *path = path_in(f->folder, "both.html");
    assert_ok(report_write_runs(path, folders, 3, &f->err), &f->err);
    char *page = read_file(path, NULL), text[600];
    assert_sound(page);
    assert_holds(page, "raft report · 3 runs");
    for (size_t i = 0; i < 2; i++) { // both end in "run": named by their paths
        snprintf(text, sizeof text, "<th scope=\"row\">%s</th>", folders[i]);
        assert_holds(page, text);
    }
    snprintf(text, sizeof text, "<th scope=\"row\">%s</th>", strrchr(f->folder, '/') + 1);
    assert_holds(page, text);
    assert_holds(page, "<div class=\"answer\"><dt>before");
    free(page);
    free(path);
    free_arm(&a);
    free_arm(&b);
}

static void a_run_without_iterations_is_refused(void **state)
{
    RunFixture *f = *state;
    const char *folders[] = {f->folder, f->folder};
    put(f, "metrics.jsonl", "{\"stage\":\"pretrain\",\"step\":1,\"loss\":6.5}\n");
    assert_input_error(report_write_runs("unused.html", folders, 2, &f->err), &f->err, "measured no iterations");
}

// ---- damage ----------------------------------------------------------------------------------------------------------------------

static void assert_refused(RunFixture *f, const char *document, const char *fragment)
{
    put(f, "comparison.json", document);
    f->err = (Err){0};
    assert_input_error(report_write(f->folder, &f->err), &f->err, fragment);
}

static void a_damaged_comparison_is_named(void **state)
{
    RunFixture *f = *state;
    write_comparison(f, 3);
    assert_refused(f, "{\"arms\":", "comparison.json:1");
    assert_refused(f, "{\"arms\":[]}", "comparison.json: key \"arms\": expected a list of arms");
    assert_refused(f, "{\"arms\":[{\"arm\":\"a\",\"kind\":\"raft\",\"generated\":1}]}", "comparison.json: arm 0: key \"seeds\"");
    assert_refused(f, "{\"arms\":[{\"arm\":\"../a\",\"kind\":\"raft\",\"generated\":1,\"seeds\":[{\"seed\":1}]}]}", "\"../a\" is no arm's name");
    assert_refused(f, "{\"arms\":[{\"arm\":\"a\",\"kind\":\"raft\",\"generated\":1,\"kl\":3,\"seeds\":[{\"seed\":1}]}]}", "arm 0: key \"kl\": expected an object");
    put(f, "arms/raft-s2/metrics.jsonl", "{\"iteration\":0");
    assert_refused(f, small_comparison, "arms/raft-s2/metrics.jsonl:1");
    put(f, "arms/raft-s2/metrics.jsonl", "{\"iteration\":0}\n");
    put(f, "arms/sft-s1/samples_after.jsonl", "{}\n");
    assert_refused(f, small_comparison, "arms/sft-s1/samples_after.jsonl:1");
}

// Run directories may have been deleted to save space: what can be drawn from comparison.json alone still is.
static void arms_without_their_folders_are_points(void **state)
{
    RunFixture *f = *state;
    put(f, "comparison.json", small_comparison);
    char *page = report_page(f);
    assert_sound(page);
    assert_holds(page, "<desc id=\"frontier-kl-d\">base: ");
    assert_holds(page, "raft: \xE2\x88\x92" "0.500 [\xE2\x88\x92" "0.750, \xE2\x88\x92" "0.250] at KL to the start, nats per answer 4.50.");
    assert_holds(page, "No arm kept its iterations");
    assert_holds(page, "The arms kept no answers to the same prompts");
    free(page);
}

static void curves_are_drawn_from_the_comparison_where_runs_are_gone(void **state)
{
    RunFixture *f = *state;
    put(f, "comparison.json", "{\"arms\":[{\"arm\":\"a\",\"kind\":\"raft\",\"generated\":500,\"seeds\":[{\"seed\":1,\"trajectory\":["
        "{\"iteration\":0,\"generated\":0,\"gold\":{\"mean\":1,\"lo\":1,\"hi\":1},\"kl\":{\"mean\":0,\"lo\":0,\"hi\":0}},"
        "{\"iteration\":4,\"generated\":500,\"gold\":{\"mean\":2,\"lo\":2,\"hi\":2},\"kl\":{\"mean\":3,\"lo\":3,\"hi\":3}}]}],"
        "\"gold\":{\"mean\":2,\"lo\":2,\"hi\":2}}]}");
    char *page = report_page(f);
    assert_sound(page);
    assert_holds(page, "<desc id=\"learn-gold-d\">a: 1.000 at tokens generated 0, 2.000 at tokens generated 500.</desc>");
    assert_holds(page, "<desc id=\"frontier-kl-d\">a: 1.000 at point 0, 2.000 at point 1.</desc>");
    assert_lacks(page, "id=\"time-gold"); // of seconds it tells nothing
    free(page);
}

// The best of 4 answers of a model that is 2 nats from the start is log 4 - 3/4 further; at another temperature nobody knows.
static void the_best_of_an_aligned_model_stands_beyond_it(void **state)
{
    RunFixture *f = *state;
    static const char arm[] = "{\"arm\":\"%s\",\"kind\":\"best-of\",\"generated\":0,\"settings\":{\"samples\":\"4\"%s,\"of\":\"r\"},"
        "\"gold\":{\"mean\":1,\"lo\":0.5,\"hi\":1.5},\"kl\":{\"mean\":2,\"lo\":1,\"hi\":3},\"seeds\":[{\"seed\":1}]}";
    char document[1400], cool[400], warm[400], twin[400];
    snprintf(cool, sizeof cool, arm, "cool", "");
    snprintf(warm, sizeof warm, arm, "warm", ",\"temperature\":\"1.2\"");
    snprintf(twin, sizeof twin, arm, "twin", ",\"temperature\":\"1\"");
    snprintf(document, sizeof document, "{\"arms\":[%s,%s,%s]}", cool, warm, twin);
    put(f, "comparison.json", document);
    char *page = report_page(f);
    assert_sound(page);
    assert_holds(page, "<desc id=\"frontier-kl-d\">cool: 1.000 [0.500, 1.500] at KL to the start, nats per answer 2.64. twin: 1.000 [0.500, 1.500] at "
        "KL to the start, nats per answer 2.64.</desc>");
    assert_holds(page, "<br>KL 2.64 ");
    assert_holds(page, "<li><strong>warm</strong> (best-of): samples 4, temperature 1.2, of r</li>");
    assert_holds(page, "<td class=\"n\">4 answers for one</td>");
    free(page);
}

static void text_in_a_comparison_arrives_as_letters(void **state)
{
    RunFixture *f = *state;
    put(f, "comparison.json", "{\"arms\":[{\"arm\":\"a\",\"kind\":\"<script>\",\"generated\":1,\"settings\":{\"<b>\":\"<i>\"},\"seeds\":[{\"seed\":1}]}]}");
    char *page = report_page(f);
    assert_sound(page);
    free(page);
}

int main(void)
{
#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_run, tear_down_run)
    const struct CMUnitTest tests[] = {
        RUN_TEST(shows_every_arm_with_intervals_over_seeds),
        RUN_TEST(curves_are_means_over_seeds_against_what_they_cost),
        RUN_TEST(arms_are_read_off_at_the_same_cost),
        RUN_TEST(costs_are_taken_from_the_lines_that_tell_them),
        RUN_TEST(a_curve_ends_where_the_first_seed_stopped),
        RUN_TEST(says_which_checkpoint_was_best_and_when_a_monitor_fires),
        RUN_TEST(same_files_give_the_same_bytes),
        RUN_TEST(runs_are_set_side_by_side_and_told_apart),
        RUN_TEST(a_run_without_iterations_is_refused),
        RUN_TEST(a_damaged_comparison_is_named),
        RUN_TEST(arms_without_their_folders_are_points),
        RUN_TEST(curves_are_drawn_from_the_comparison_where_runs_are_gone),
        RUN_TEST(the_best_of_an_aligned_model_stands_beyond_it),
        RUN_TEST(text_in_a_comparison_arrives_as_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
