// SPDX-License-Identifier: MIT
/* test_report.c - the page about a run: what it tells, and that it is well-formed whatever a model wrote. */
#include "tests/support_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "study/report.h"

// ---- what the page tells --------------------------------------------------------------------------------------------------

static void tells_measures_with_intervals_and_samples(void **state)
{
    char *page = report_page(*state);
    assert_sound(page);
    assert_holds(page, "1.125 <span class=\"interval\">[0.875, 1.375]</span>");
    assert_holds(page, "\xE2\x88\x92" "0.500 <span class=\"interval\">[\xE2\x88\x92" "0.750, \xE2\x88\x92" "0.250]</span>");
    assert_holds(page, "0.688 <span class=\"interval\">[0.500, 0.750]</span>"); // MSTTR, which one line only holds
    assert_holds(page, "From 1,024 answers");
    assert_holds(page, "93.8 <span class=\"interval\">[92.0, 95.0]</span>");
    assert_holds(page, "87.5&#8239;%");                                       // 7 of 8 seconds
    assert_holds(page, "3 prompts, which gives 12 candidates: 4 for each prompt");
    assert_holds(page, "kept: 3 of 12");
    assert_holds(page, "raft demo &#39;it&#39;\\&#39;&#39;s&#39;"); // the command line, as a shell reads it
    assert_holds(page, "reward = length:3 &amp; &lt;more&gt;");
    free(page);
}

static void draws_a_chart_of_each_measure_and_of_the_loss(void **state)
{
    const char *const ids[] = {"chart-reward", "chart-gold-probability", "chart-positive-rate", "chart-perplexity", "chart-kl",
        "chart-distinct-2", "chart-path",
        "chart-stage", "chart-loss", "curve-0", "spread-0", "spread-1"};
    char *page = report_page(*state), text[200];
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        snprintf(text, sizeof text, "role=\"img\" aria-labelledby=\"%s-t %s-d\">\n<title id=\"%s-t\">", ids[i], ids[i], ids[i]);
        assert_holds(page, text);
    }
    assert_holds(page, "<desc id=\"chart-perplexity-d\">perplexity: 12.25 [12.00, 12.50] at iteration 0, 13.50 [13.00, 14.00] at "
        "iteration 1.</desc>");
    assert_holds(page, "<desc id=\"spread-1-d\">all candidates: mean 0.50. kept: mean 2.00.</desc>");
    assert_holds(page, "<desc id=\"curve-0-d\">loss: 6.500 at step 1, 5.250 at step 2.</desc>");
    assert_holds(page, "<desc id=\"chart-length-d\">length: 29.5 [29.0, 30.0] at iteration 1.</desc>");
        // iteration 0 did not measure it
    assert_lacks(page, "perplexity of answers");
    free(page);
}

static void ranks_the_first_prompts_candidates_best_first_and_marks_the_kept_one(void **state)
{
    char *page = report_page(*state);
    const char *table = strstr(page, "<table class=\"ranking\">"), *end = strstr(table, "</table>"), *at = table;
    for (size_t rank = 0; rank < K; rank++) {
        char text[80];
        snprintf(text, sizeof text, "<th scope=\"row\">%zu</th>", rank + 1);
        at = strstr(at, text);
        assert_true(at && at < end);
        snprintf(text, sizeof text, ">answer 0.0.%zu ", K - 1 - rank);
        at = strstr(at, text);
        assert_true(at && at < end);
    }
    const char *kept = strstr(table, "<tr class=\"kept\">");
    assert_true(kept && kept < strstr(table, "answer 0.0.3") && kept > strstr(table, "<tbody>"));
    assert_int_equal(count_of(page, "<tr class=\"kept\">"), 1 + ITERATIONS); // and one in each iteration's table below
    assert_holds(page, "<mark><span class=\"words \" dir=\"auto\"> answer 0.0.3 ");
    free(page);
}

// Radio buttons: each followed by its label and by what it shows, one of them on.
static void steps_through_all_iterations(void **state)
{
    char *page = report_page(*state), text[80];
    assert_holds(page, "Mean reward of all 12 answers to this iteration’s prompts (the tables measure others): 0.50; of the 3 that were kept: 2.00.");
    assert_int_equal(count_of(page, " checked=\"\">"), 1);
    const char *at = page;
    for (size_t t = 0; t < ITERATIONS; t++) {
        snprintf(text, sizeof text, "name=\"iteration\" id=\"at-%zu\"%s><label for=\"at-%zu\">", t, t + 1 == ITERATIONS ? " checked=\"\"" : "", t);
        assert_true((at = strstr(at, text)) != NULL);
        const char *label = strstr(at, "</label>\n<div class=\"panel\">"), *answer = strstr(at, t ? ">answer 1.0.3 " : ">answer 0.0.3 ");
        assert_true(label && answer && label < answer);
        at = answer;
    }
    free(page);
}

static void global_ranking_shows_ranks_among_all_candidates(void **state)
{
    RunFixture *f = *state;
    SampleList list = {0};
    for (size_t slot = 0; slot < 3; slot++) { // one candidate each; the second prompt's is the best, then the third's
        Sample *s = samples_add(&list, &f->err);
        char prompt[20], text[20];
        snprintf(prompt, sizeof prompt, "prompt %zu", slot);
        snprintf(text, sizeof text, " text %zu", slot);
        fill_sample(s, slot, 0, prompt, text, slot == 1 ? 5 : (float)slot, &f->err);
        s->ranked = true;
        s->rank = slot == 1 ? 0 : slot == 2 ? 1 : 2;
        s->selected = slot == 1;
    }
    write_samples(f, "iter_000/candidates.jsonl", &list);
    put(f, "provenance.json", "{\"options\":{\"align.mode\":\"global\",\"mode\":\"local\",\"align.kl-beta\":0.25}}");
    char *page = report_page(f);
    assert_sound(page);
    assert_holds(page, "The best of all candidates are kept: 1 of 3.");
    assert_holds(page, "less \xCE\xB2 = 0.250 times");
    const char *table = strstr(page, "<table class=\"ranking\">"), *first = strstr(table, "> text 1<"), *second = strstr(table,
        "> text 2<");
    assert_true(first && second && first < second && second < strstr(table, "> text 0<"));
    assert_holds(page, ">prompt 1</span>");
    free(page);
}

// Rewards of a prompt are 0, 1, 2, 3, less its slot: see write_candidates.
static void measures_the_best_of_k_and_bounds_it(void **state)
{
    char *page = report_page(*state);
    assert_holds(page, "<desc id=\"bound-0-d\">E max r, measured: 0.500 [");
    assert_holds(page, "at k 1, 2.000 [");
    assert_holds(page, "at k 4. at most, from the range: 0.500 at k 1, 4.663 at k 4. for normal rewards: 0.500 at k 1, 2.650 at k "
        "4.</desc>");
    assert_holds(page, "B = 5.00, which");
    assert_holds(page, "<th scope=\"row\">2</th><td class=\"n\">1.333 "); // of 0, 1, 2, 3: (1 + 2 * 2 + 3 * 3) / 6 - 1, of subsets of two
    assert_holds(page, "for K = 4 that is 0.64 nats an answer. A model that learned exactly the choice of one iteration would be there; "
        "measured after iteration 1: 2.50 nats");
    assert_lacks(page, "kl-table"); // one iteration: that sentence
    free(page);
}

static void answers_of_an_expert_do_not_count_as_the_models_best(void **state)
{
    RunFixture *f = *state;
    SampleList list = {0};
    for (size_t k = 0; k < 3; k++) {
        Sample *s = samples_add(&list, &f->err);
        fill_sample(s, 0, k, "p", "t", k == 2 ? 100 : (float)k, &f->err);
        if (k == 2) mem_free(s->source), s->source = mem_copy_text(&f->err, "expert");
        s->ranked = true;
        s->rank = 2 - k;
        s->selected = k == 2;
    }
    write_samples(f, "iter_000/candidates.jsonl", &list);
    char *page = report_page(f);
    assert_holds(page, "<desc id=\"bound-0-d\">E max r, measured: 0.500 at k 1, 1.000 at k 2. at most, from the range: 0.500 at k 1, "
        "1.089 at k 2.");
    free(page);
}

static void shades_tokens_by_how_much_likelier_they_became(void **state)
{
    RunFixture *f = *state;
    static const TokenValue values[] = {{-1, -1.1f, 3}, {-1, -4, 7}, {-2, -0.5f, 8}, {-1, -9, 8}, {-1, -1.6f, 11}};
    SampleList list = {0};
    for (size_t slot = 0; slot < SLOTS; slot++) {
        Sample *s = samples_add(&list, &f->err);
        fill_sample(s, slot, 0, "The film", " it was <ok>", 1, &f->err);
        for (size_t i = 1; i < 5; i++) assert_ok(tokens_add(&s->tokens, &f->err, 9), &f->err);
        if (slot != 1) continue;
        assert_non_null(s->values = mem_new(&f->err, 5, sizeof values[0]));
        memcpy(s->values, values, sizeof values);
    }
    write_samples(f, "samples_after.jsonl", &list);
    char *page = report_page(f);
    assert_lacks(page, "Shading compares"); // the answers before have no values
    free(page);
    fill_sample(samples_add(&list, &f->err), 1, 0, "The film", "before", 1, &f->err);
    assert_non_null(list.items[0].values = mem_new(&f->err, 1, sizeof values[0]));
    write_samples(f, "samples_before.jsonl", &list);
    page = report_page(f);
    assert_sound(page);
    assert_holds(page, "Shading compares");
    assert_int_equal(count_of(page, "<article"), 1); // the prompts that are shaded come before the others
    assert_holds(page, "<dd><span class=\"words \" dir=\"auto\">it<span class=\"t u3\" title=\"3.0 nats\"> was</span>"
        "<span class=\"t d2\" title=\"\xE2\x88\x92" "1.5 nats\"> </span><span class=\"t u1\" title=\"0.6 nats\">&lt;ok</span>&gt;</span>");
    free(page);
}

static void draws_whether_a_heads_probabilities_mean_what_they_say(void **state)
{
    RunFixture *f = *state;
    char *page = report_page(f);
    assert_lacks(page, "reliability-0"); // no bins
    free(page);
    put(f, "heads.json", "{\"gold\":{\"accuracy\":0.9375,\"lo\":0.92,\"hi\":0.95,\"accuracy_30_tokens\":0.8125,\"n\":600,"
        "\"whole\":{\"calibration\":[{\"n\":100,\"predicted\":0.05,\"observed\":0.1},{\"n\":0,\"predicted\":null,\"observed\":null},"
        "{\"n\":50,\"predicted\":0.95,\"observed\":0.9}]},\"30_tokens\":{\"calibration\":[{\"n\":4,\"predicted\":0.5,\"observed\":0.25}]}}}");
    page = report_page(f);
    assert_sound(page);
    assert_holds(page, "whole texts: 0.10 [0.06, 0.17] at probability that the head gives to “positive” 0.05, 0.90 [0.79, 0.96] at "); // Wilson's
    assert_holds(page, "first 30 tokens: 0.25 [0.05, 0.70] at ");
    free(page);
    put(f, "heads.json", "{\"gold\":{\"accuracy\":1,\"lo\":1,\"hi\":1,\"accuracy_30_tokens\":1,\"n\":6,\"whole\":{\"calibration\":[{\"n\":1,\"predicted\":2,\"observed\":0}]}}}");
    assert_input_error(report_write(f->folder, &f->err), &f->err, "heads.json: gold: key \"calibration\": bin 0 holds no shares");
}

static void a_run_of_ppo_is_told_as_one(void **state)
{
    RunFixture *f = *state;
    static const char row[] = "{\"iteration\":%d,\"reward\":{\"mean\":0,\"lo\":0,\"hi\":0},\"stage\":{\"candidates\":12,\"selected\":12,\"reward\":0.5,"
        "\"selected_reward\":0.5,\"kl\":0.1},\"train\":{\"loss\":1,\"grad_norm\":1,\"tokens\":9,\"targets\":4,\"policy_loss\":-0.03125,\"value_loss\":0.5,"
        "\"clipped\":0.125,\"kl_coef\":0.0625}}\n";
    char metrics[1200];
    int n = snprintf(metrics, sizeof metrics, row, 1);
    snprintf(metrics + n, sizeof metrics - (size_t)n, row, 2);
    put(f, "metrics.jsonl", metrics);
    put(f, "provenance.json", "{\"command\":\"ppo\",\"options\":{\"kl-coef\":0.05,\"epochs\":4,\"ratio-clip\":0.2,\"gamma\":1,\"lambda\":0.95}}");
    char *page = report_page(f);
    assert_sound(page);
    assert_holds(page, "<h1>PPO, iteration by iteration</h1>");
    assert_holds(page, "<title>PPO: raft ppo</title>");
    assert_holds(page, "(\xCE\xB2 = 0.050)");
    assert_holds(page, "in 4 passes over all answers");
    assert_lacks(page, "class=\"kept\""); // it selects nothing
    assert_lacks(page, "answer to each prompt is kept");
    assert_lacks(page, "chart-loss");
    assert_holds(page, "<desc id=\"chart-clipped-d\">Clipped: 0.1250 at iteration 1, 0.1250 at iteration 2.</desc>");
    assert_holds(page, "<desc id=\"chart-kl-coef-d\">KL coefficient: 0.0625 at iteration 1");
    assert_holds(page, "<desc id=\"chart-value-loss-d\">");
    assert_holds(page, ">0.5000</td><td class=\"n\">0.1250</td><td class=\"n\">0.0625</td>");
    free(page);
}

// RAFT without a KL term leaves p0 unasked; a run that goes on with one has it in later stages only.
static void stages_tell_of_kl_where_p0_was_asked(void **state)
{
    RunFixture *f = *state;
    static const char row[] = "{\"iteration\":%d,\"reward\":{\"mean\":0,\"lo\":0,\"hi\":0},\"stage\":{\"candidates\":12,\"selected\":3,\"reward\":0.5,"
        "\"selected_reward\":2%s},\"train\":{\"loss\":1.875,\"grad_norm\":1,\"tokens\":9,\"targets\":4}}\n";
    for (int asked = 0; asked < 2; asked++) {
        char metrics[600];
        int n = snprintf(metrics, sizeof metrics, row, 1, "");
        snprintf(metrics + n, sizeof metrics - (size_t)n, row, 2, asked ? ",\"kl\":0.25" : "");
        put(f, "metrics.jsonl", metrics);
        char *page = report_page(f);
        assert_sound(page);
        assert_holds(page, asked ? ">1.875</td><td></td></tr>" : ">1.875</td></tr>");
        if (asked) assert_holds(page, ">1.875</td><td class=\"n\">0.250</td></tr>");
        free(page);
    }
}

static void pairs_answers_of_the_same_slot(void **state)
{
    RunFixture *f = *state;
    SampleList before = {0}, after = {0};
    const size_t earlier[] = {0, 2, 5, 9}, later[] = {2, 4, 5};
    char prompt[20];
    for (size_t i = 0; i < 4; i++) {
        snprintf(prompt, sizeof prompt, "prompt %zu", earlier[i]);
        fill_sample(samples_add(&before, &f->err), earlier[i], 0, prompt, "earlier", 1, &f->err);
    }
    for (size_t i = 0; i < 3; i++) {
        snprintf(prompt, sizeof prompt, "prompt %zu", later[i]);
        fill_sample(samples_add(&after, &f->err), later[i], 0, prompt, "later", 1, &f->err);
    }
    write_samples(f, "samples_before.jsonl", &before);
    write_samples(f, "samples_after.jsonl", &after);
    char *page = report_page(f);
    assert_int_equal(count_of(page, "<article"), 2);
    assert_holds(page, "2 of 2 prompts");
    assert_holds(page, ">prompt 2</span>");
    assert_holds(page, ">prompt 5</span>");
    assert_lacks(page, ">prompt 4</span>");
    free(page);
}

static void iterations_come_in_the_order_of_their_numbers(void **state)
{
    RunFixture *f = *state;
    write_candidates(f, 1000, "The film", "was fine");
    write_candidates(f, 999, "The film", "was fine");
    char *page = report_page(f);
    const char *first = strstr(page, "<h3>Iteration 1<"), *later = strstr(page, "<h3>Iteration 999<"), *last = strstr(page,
        "<h3>Iteration 1000<");
    assert_true(first && later && last && first < later && later < last);
    assert_holds(page, "id=\"at-1000\" checked=\"\">");
    free(page);
}

static void same_files_give_the_same_bytes(void **state)
{
    RunFixture *f = *state;
    char *first = report_page(f), *second = report_page(f); // the second run finds a report.html beside the files
    assert_string_equal(first, second);
    free(first);
    free(second);
}

// ---- text from outside ----------------------------------------------------------------------------------------------------

static void text_of_a_model_arrives_as_letters(void **state)
{
    RunFixture *f = *state;
    write_run(f, "<b onclick=\"x\">&amp;</b>\x01",
        "</span></td><script>alert('1')</script>\x1b[31m\x7f\xC2\x85\xEF\xBF\xBE\xEF\xBF\xBD\r\n\"&'<!-- ]]>");
    put(f, "metrics.jsonl", "{\"stage\":\"<i>&\\\"\\u0007\",\"step\":1,\"loss\":1}\n");
    put(f, "timing.jsonl", "{\"stage\":\"</table>\",\"seconds\":1}\n");
    put(f, "heads.json", "{\"<u>\":{\"accuracy\":1,\"lo\":1,\"hi\":1,\"accuracy_30_tokens\":1,\"n\":1}}");
    put(f, "provenance.json", "{\"command\":\"</title><script>\",\"<k>\":{\"a\":[\"</code>\",null,1.5]},\"command_line\":[\"<\",3],\"options\":{\"output\":\"</p>\"}}");
    put_bytes(f, "settings.conf", "</pre>\0\xff\xed\xa0\x80", 11);
    char *page = report_page(f);
    assert_sound(page);
    assert_holds(page, "&lt;/span&gt;&lt;/td&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"
        "\xE2\x90\x9B[31m\xE2\x90\xA1\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xE2\x90\x8D\n");
    assert_holds(page, "&lt;/pre&gt;\xE2\x90\x80\xEF\xBF\xBD");
    assert_holds(page, "&lt;b onclick=&quot;x&quot;&gt;&amp;amp;&lt;/b&gt;\xE2\x90\x81");
    free(page);
}

static void long_text_is_cut_between_characters_and_says_so(void **state)
{
    char text[2402] = "";
    for (size_t i = 0; i < 2400; i += 2) memcpy(text + i, "\xC3\xA9", 2);
    write_answers(*state, "samples_after.jsonl", "The film", text + 0, 1);
    text[0] = 'x'; // now the cut falls inside a character
    text[1] = 'y';
    memmove(text + 1, text + 2, strlen(text + 2) + 1);
    write_answers(*state, "samples_before.jsonl", "The film", text, 1);
    char *page = report_page(*state);
    assert_sound(page);
    assert_holds(page, "(the first 1500 of 2400 bytes)");
    assert_holds(page, "(the first 1499 of 2399 bytes)");
    free(page);
}

static void extreme_numbers_stay_numbers(void **state)
{
    RunFixture *f = *state;
    put(f, "metrics.jsonl", "{\"iteration\":0,\"reward\":{\"mean\":-1e308,\"lo\":-1e308,\"hi\":1e308},\"perplexity\":{\"mean\":1e300,\"lo\":1e300,\"hi\":1e300},"
        "\"kl\":{\"mean\":-0.0,\"lo\":1e-300,\"hi\":1e-300},\"gold\":{\"mean\":3,\"lo\":3,\"hi\":3},\"length\":{\"mean\":4,\"lo\":9,\"hi\":2}}\n"
        "{\"iteration\":16000,\"reward\":{\"mean\":1e308,\"lo\":-1e308,\"hi\":1e308},\"perplexity\":{\"mean\":1e300,\"lo\":1e300,\"hi\":1e300},"
        "\"kl\":{\"mean\":1e-12,\"lo\":1e-300,\"hi\":1e-300},\"gold\":{\"mean\":3.0000000001,\"lo\":3,\"hi\":3},\"length\":{\"mean\":4,\"lo\":9,\"hi\":2}}\n");
    SampleList list = {0};
    for (size_t k = 0; k < 2; k++) {
        Sample *s = samples_add(&list, &f->err);
        fill_sample(s, 0, k, "p", "t", k ? 3.4e38f : -3.4e38f, &f->err);
        s->ranked = true;
        s->rank = 1 - k;
        s->selected = k;
    }
    write_samples(f, "iter_000/candidates.jsonl", &list);
    char *page = report_page(f);
    assert_sound(page);
    free(page);
}

int main(void)
{
#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_run, tear_down_run)
    const struct CMUnitTest tests[] = {
        RUN_TEST(tells_measures_with_intervals_and_samples),
        RUN_TEST(draws_a_chart_of_each_measure_and_of_the_loss),
        RUN_TEST(ranks_the_first_prompts_candidates_best_first_and_marks_the_kept_one),
        RUN_TEST(steps_through_all_iterations),
        RUN_TEST(global_ranking_shows_ranks_among_all_candidates),
        RUN_TEST(measures_the_best_of_k_and_bounds_it),
        RUN_TEST(answers_of_an_expert_do_not_count_as_the_models_best),
        RUN_TEST(shades_tokens_by_how_much_likelier_they_became),
        RUN_TEST(draws_whether_a_heads_probabilities_mean_what_they_say),
        RUN_TEST(a_run_of_ppo_is_told_as_one),
        RUN_TEST(stages_tell_of_kl_where_p0_was_asked),
        RUN_TEST(pairs_answers_of_the_same_slot),
        RUN_TEST(iterations_come_in_the_order_of_their_numbers),
        RUN_TEST(same_files_give_the_same_bytes),
        RUN_TEST(text_of_a_model_arrives_as_letters),
        RUN_TEST(long_text_is_cut_between_characters_and_says_so),
        RUN_TEST(extreme_numbers_stay_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
