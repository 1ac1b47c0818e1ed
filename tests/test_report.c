// SPDX-License-Identifier: MIT
/* test_report.c - the page about a run: what it tells, that it is well-formed whatever a model wrote, what it says of files
 * that are missing or damaged. */
#include "tests/support.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "files/candidates.h"
#include "files/unicode.h"
#include "study/report.h"

// ---- runs made for the tests ----------------------------------------------------------------------------------------------

enum { SLOTS = 3, K = 4, ITERATIONS = 2 };

typedef struct { char *folder; Err err; } Fixture;

static void put_bytes(const Fixture *f, const char *name, const char *bytes, size_t n)
{
    char *path = path_in(f->folder, name);
    write_file(path, bytes, n);
    free(path);
}

static void put(const Fixture *f, const char *name, const char *text) { put_bytes(f, name, text, strlen(text)); }

static void drop(const Fixture *f, const char *name)
{
    char *path = path_in(f->folder, name);
    assert_int_equal(remove(path), 0);
    free(path);
}

static char *page_of(const Fixture *f)
{
    char *path = path_in(f->folder, "report.html"), *page = read_file(path, NULL);
    free(path);
    return page;
}

static char *report(Fixture *f)
{
    assert_ok(report_write(f->folder, &f->err), &f->err);
    return page_of(f);
}

static void fill(Sample *s, size_t slot, size_t k, const char *prompt, const char *text, float reward, Err *err)
{
    s->slot = slot;
    s->k = k;
    s->prompt_id = mem_copy_text(err, "train/1.txt");
    s->prompt = mem_copy_text(err, prompt);
    s->prompt_length = strlen(prompt);
    s->source = mem_copy_text(err, "policy");
    s->text = mem_copy_text(err, text);
    s->text_length = strlen(text);
    assert_ok(tokens_add(&s->prompt_tokens, err, 7), err);
    assert_ok(tokens_add(&s->tokens, err, 8), err);
    s->logprob = -9;
    s->ref_logprob = -10;
    s->scored = true;
    s->reward = reward;
    assert_ok(sample_set_reward(s, "gold", reward / 2, err), err);
}

static void write_samples(const Fixture *f, const char *name, SampleList *list)
{
    Err err = {0};
    char *path = path_in(f->folder, name);
    assert_ok(samples_write(list, path, &err), &err);
    samples_free(list);
    free(path);
}

// Candidate k of slot s has reward k - s; the best, k = 3, is kept. Each has a number of its own in its text.
static void write_candidates(const Fixture *f, size_t iteration, const char *prompt, const char *text)
{
    SampleList list = {0};
    Err err = {0};
    char name[64], answer[3000];
    for (size_t slot = 0; slot < SLOTS; slot++)
        for (size_t k = 0; k < K; k++) {
            Sample *s = samples_add(&list, &err);
            snprintf(answer, sizeof answer, " answer %zu.%zu.%zu %s", iteration, slot, k, text);
            fill(s, slot, k, prompt, answer, (float)k - (float)slot, &err);
            s->ranked = true;
            s->rank = K - 1 - k;
            s->selected = k == K - 1;
        }
    snprintf(name, sizeof name, "iter_%03zu", iteration);
    char *folder = path_in(f->folder, name);
    assert_ok(os_make_folders(folder, &err), &err);
    free(folder);
    snprintf(name, sizeof name, "iter_%03zu/candidates.jsonl", iteration);
    write_samples(f, name, &list);
}

static void write_answers(const Fixture *f, const char *name, const char *prompt, const char *text, float reward)
{
    SampleList list = {0};
    Err err = {0};
    for (size_t slot = 0; slot < SLOTS; slot++) fill(samples_add(&list, &err), slot, 0, prompt, text, reward, &err);
    write_samples(f, name, &list);
}

static const char metrics[] =
    "{\"stage\":\"pretrain\",\"step\":1,\"loss\":6.5}\n{\"stage\":\"pretrain\",\"step\":2,\"loss\":5.25}\n"
    "{\"iteration\":0,\"reward\":{\"mean\":-0.5,\"lo\":-0.75,\"hi\":-0.25},\"gold_probability\":{\"mean\":0.45,\"lo\":0.4,\"hi\":0.5},"
    "\"positive_rate\":{\"mean\":0.4375,\"lo\":0.4,\"hi\":0.5},\"perplexity\":{\"mean\":12.25,\"lo\":12,\"hi\":12.5},\"kl\":{\"mean\":0,\"lo\":0,\"hi\":0},"
    "\"distinct_2\":{\"mean\":0.625,\"lo\":0.5,\"hi\":0.75},\"msttr\":{\"mean\":0.6875,\"lo\":0.5,\"hi\":0.75},\"samples\":1024}\n"
    "{\"iteration\":1,\"reward\":{\"mean\":1.125,\"lo\":0.875,\"hi\":1.375},\"gold_probability\":{\"mean\":0.75,\"lo\":0.7,\"hi\":0.8},"
    "\"positive_rate\":{\"mean\":0.8125,\"lo\":0.75,\"hi\":0.875},\"perplexity\":{\"mean\":13.5,\"lo\":13,\"hi\":14},\"kl\":{\"mean\":2.5,\"lo\":2,\"hi\":3},"
    "\"distinct_2\":{\"mean\":0.5,\"lo\":0.375,\"hi\":0.625},\"length\":{\"mean\":29.5,\"lo\":29,\"hi\":30},"
    "\"stage\":{\"candidates\":12,\"selected\":3,\"reward\":0.5,\"selected_reward\":2.0625,\"kl\":0.1},"
    "\"train\":{\"loss\":1.875,\"grad_norm\":1,\"tokens\":90,\"targets\":40}}\n";

static void write_run(Fixture *f, const char *prompt, const char *text)
{
    put(f, "metrics.jsonl", metrics);
    put(f, "timing.jsonl", "{\"stage\":\"collect\",\"seconds\":3,\"tokens\":3000}\n{\"stage\":\"finetune\",\"seconds\":1,\"tokens\":0}\n"
        "{\"stage\":\"collect\",\"seconds\":4,\"tokens\":4000}\n");
    put(f, "settings.conf", "# settings\nseed = 1\nreward = length:3 & <more>\n");
    put(f, "provenance.json", "{\"command\":\"demo\",\"command_line\":[\"raft\",\"demo\",\"it's\"],\"seed\":1,\"cpu\":\"<cpu>\",\"options\":{\"output\":\"runs/x\","
        "\"mode\":\"local\",\"kl-beta\":0}}");
    put(f, "heads.json", "{\"proxy\":{\"accuracy\":0.9375,\"lo\":0.92,\"hi\":0.95,\"accuracy_30_tokens\":0.8125,\"n\":600}}");
    for (size_t t = 0; t < ITERATIONS; t++) write_candidates(f, t, prompt, text);
    write_answers(f, "samples_before.jsonl", prompt, text, -1.5f);
    write_answers(f, "samples_after.jsonl", prompt, text, 2.25f);
}

static int set_up(void **state)
{
    Fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->folder = temporary_folder();
    write_run(f, "The film", "was fine");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    remove_folder(f->folder);
    free(f->folder);
    free(f);
    return 0;
}

// ---- a small judge of HTML -----------------------------------------------------------------------------------------------------------

typedef struct { const char *at; char stack[64][16]; size_t depth; int heading; char ids[400][48]; size_t id_count; } Judge;

static const char *excerpt(const char *at)
{
    static char text[80];
    snprintf(text, sizeof text, "%.60s", at);
    return text;
}

static bool is_void(const char *name) { return !strcmp(name, "meta") || !strcmp(name, "link") || !strcmp(name, "br"); }

static void judge_id(Judge *j, const char *value, size_t n)
{
    assert_true(n < sizeof j->ids[0] && j->id_count < 400);
    for (size_t i = 0; i < j->id_count; i++)
        if (strlen(j->ids[i]) == n && !memcmp(j->ids[i], value, n)) fail_msg("id \"%.*s\" occurs twice", (int)n, value);
    memcpy(j->ids[j->id_count++], value, n);
}

// name="value" up to '>' or "/>"; returns whether the tag closes itself.
static bool judge_attributes(Judge *j)
{
    while (isspace((unsigned char)*j->at)) {
        const char *name = ++j->at;
        j->at += strspn(name, "abcdefghijklmnopqrstuvwxyzBC-0123456789");
        if (j->at == name || strncmp(j->at, "=\"", 2)) fail_msg("an attribute without a quoted value: %s", excerpt(name));
        const char *value = j->at + 2, *end = strchr(value, '"');
        assert_non_null(end);
        assert_null(memchr(value, '<', (size_t)(end - value)));
        if (!strncmp(name, "id=", 3)) judge_id(j, value, (size_t)(end - value));
        j->at = end + 1;
    }
    bool self = *j->at == '/';
    j->at += self;
    if (*j->at != '>') fail_msg("a tag that does not end: %s", excerpt(j->at));
    j->at++;
    return self;
}

static void judge_heading(Judge *j, const char *name)
{
    if (name[0] != 'h' || !isdigit((unsigned char)name[1])) return;
    int level = name[1] - '0';
    if (level > j->heading + 1) fail_msg("h%d after h%d", level, j->heading);
    j->heading = level;
}

static void judge_tag(Judge *j)
{
    char name[16] = "";
    bool closes = j->at[1] == '/';
    const char *start = j->at + 1 + closes;
    size_t n = strspn(start, "abcdefghijklmnopqrstuvwxyz123456");
    if (!n || n >= sizeof name) fail_msg("'<' that opens no tag: %s", excerpt(j->at));
    memcpy(name, start, n);
    const char *tag = j->at;
    j->at = start + n;
    if (closes) {
        if (*j->at++ != '>') fail_msg("a closing tag with more in it: %s", excerpt(tag));
        if (!j->depth || strcmp(j->stack[j->depth - 1], name))
            fail_msg("</%s> closes <%s>: %s", name, j->depth ? j->stack[j->depth - 1] : "nothing", excerpt(tag));
        j->depth--;
        return;
    }
    judge_heading(j, name);
    if (judge_attributes(j) || is_void(name)) return;
    assert_true(j->depth < 64);
    memcpy(j->stack[j->depth++], name, sizeof name);
    if (!strcmp(name, "style")) j->at = strstr(j->at, "</style>");
    assert_non_null(j->at);
}

static void judge_reference(const char *at)
{
    const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&#8239;"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strncmp(at, known[i], strlen(known[i]))) return;
    fail_msg("a bare '&': %s", excerpt(at));
}

static void judge_links(const Judge *j, const char *page, const char *attribute)
{
    for (const char *at = page; (at = strstr(at, attribute));) {
        at += strlen(attribute);
        for (const char *end = at; *end != '"';) { // a list of ids
            size_t n = strcspn(at, " \""), i = 0;
            while (i < j->id_count && (strlen(j->ids[i]) != n || memcmp(j->ids[i], at, n))) i++;
            if (i == j->id_count) fail_msg("%s%.*s leads nowhere", attribute, (int)n, at);
            end = at + n;
            at = end + (*end == ' ');
        }
    }
}

// Balanced, quoted, escaped; ids unique and found; headings in order; nothing that fetches or runs.
static void assert_sound(const char *page)
{
    const char *const refused[] = {"http:", "https:", "src=", "url(", "@import", "<script", "onload", ">nan", " nan", "Mnan",
        "\"nan", "-nan", ">inf", " inf ", "Minf", "\"inf"};
    Judge *j = calloc(1, sizeof *j);
    assert_non_null(j);
    assert_int_equal(strncmp(page, "<!DOCTYPE html>\n", 16), 0);
    for (j->at = page + 16; *j->at;) {
        if (*j->at == '<') judge_tag(j);
        else {
            if (*j->at == '&') judge_reference(j->at);
            unsigned char c = (unsigned char)*j->at++;
            if (c == '>' || c == '"' || c == 0x7F || (c < 0x20 && c != '\n' && c != '\t')) fail_msg("byte %02x in text: %s", c,
                excerpt(j->at - 1));
        }
    }
    if (j->depth) fail_msg("<%s> stays open", j->stack[j->depth - 1]);
    judge_links(j, page, "href=\"#");
    judge_links(j, page, "aria-labelledby=\"");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (strstr(page, refused[i])) fail_msg("the page holds \"%s\": %s", refused[i], excerpt(strstr(page, refused[i])));
    assert_true(utf8_is_valid(page, strlen(page)));
    free(j);
}

static void assert_holds(const char *page, const char *text)
{
    if (!strstr(page, text)) fail_msg("the page does not hold: %s", text);
}

static void assert_lacks(const char *page, const char *text)
{
    if (strstr(page, text)) fail_msg("the page holds: %s", excerpt(strstr(page, text)));
}

static size_t count(const char *page, const char *text)
{
    size_t n = 0;
    for (const char *at = page; (at = strstr(at, text)); at++) n++;
    return n;
}

// ---- what the page tells --------------------------------------------------------------------------------------------------

static void tells_measures_with_intervals_and_samples(void **state)
{
    char *page = report(*state);
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
    char *page = report(*state), text[200];
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
    char *page = report(*state);
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
    assert_int_equal(count(page, "<tr class=\"kept\">"), 2); // and one in the last iteration's table
    assert_holds(page, "<mark><span class=\"words \" dir=\"auto\"> answer 0.0.3 ");
    free(page);
}

static void global_ranking_shows_ranks_among_all_candidates(void **state)
{
    Fixture *f = *state;
    SampleList list = {0};
    for (size_t slot = 0; slot < 3; slot++) { // one candidate each; the second prompt's is the best, then the third's
        Sample *s = samples_add(&list, &f->err);
        char prompt[20], text[20];
        snprintf(prompt, sizeof prompt, "prompt %zu", slot);
        snprintf(text, sizeof text, " text %zu", slot);
        fill(s, slot, 0, prompt, text, slot == 1 ? 5 : (float)slot, &f->err);
        s->ranked = true;
        s->rank = slot == 1 ? 0 : slot == 2 ? 1 : 2;
        s->selected = slot == 1;
    }
    write_samples(f, "iter_000/candidates.jsonl", &list);
    put(f, "provenance.json", "{\"options\":{\"align.mode\":\"global\",\"mode\":\"local\",\"align.kl-beta\":0.25}}");
    char *page = report(f);
    assert_sound(page);
    assert_holds(page, "The best of all candidates are kept: 1 of 3.");
    assert_holds(page, "less \xCE\xB2 = 0.250 times");
    const char *table = strstr(page, "<table class=\"ranking\">"), *first = strstr(table, "> text 1<"), *second = strstr(table,
        "> text 2<");
    assert_true(first && second && first < second && second < strstr(table, "> text 0<"));
    assert_holds(page, ">prompt 1</span>");
    free(page);
}

static void pairs_answers_of_the_same_slot(void **state)
{
    Fixture *f = *state;
    SampleList before = {0}, after = {0};
    const size_t earlier[] = {0, 2, 5, 9}, later[] = {2, 4, 5};
    char prompt[20];
    for (size_t i = 0; i < 4; i++) {
        snprintf(prompt, sizeof prompt, "prompt %zu", earlier[i]);
        fill(samples_add(&before, &f->err), earlier[i], 0, prompt, "earlier", 1, &f->err);
    }
    for (size_t i = 0; i < 3; i++) {
        snprintf(prompt, sizeof prompt, "prompt %zu", later[i]);
        fill(samples_add(&after, &f->err), later[i], 0, prompt, "later", 1, &f->err);
    }
    write_samples(f, "samples_before.jsonl", &before);
    write_samples(f, "samples_after.jsonl", &after);
    char *page = report(f);
    assert_int_equal(count(page, "<article"), 2);
    assert_holds(page, "2 of 2 prompts");
    assert_holds(page, ">prompt 2</span>");
    assert_holds(page, ">prompt 5</span>");
    assert_lacks(page, ">prompt 4</span>");
    free(page);
}

static void iterations_come_in_the_order_of_their_numbers(void **state)
{
    Fixture *f = *state;
    write_candidates(f, 1000, "The film", "was fine");
    write_candidates(f, 999, "The film", "was fine");
    char *page = report(f);
    const char *first = strstr(page, "<h3>Iteration 1<"), *later = strstr(page, "<h3>Iteration 999<"), *last = strstr(page,
        "<h3>Iteration 1000<");
    assert_true(first && later && last && first < later && later < last);
    assert_holds(page, "The same in the last iteration, 1000");
    free(page);
}

static void same_files_give_the_same_bytes(void **state)
{
    Fixture *f = *state;
    char *first = report(f), *second = report(f); // the second run finds a report.html beside the files
    assert_string_equal(first, second);
    free(first);
    free(second);
}

// ---- text from outside ----------------------------------------------------------------------------------------------------

static void text_of_a_model_arrives_as_letters(void **state)
{
    Fixture *f = *state;
    write_run(f, "<b onclick=\"x\">&amp;</b>\x01",
        "</span></td><script>alert('1')</script>\x1b[31m\x7f\xC2\x85\xEF\xBF\xBE\xEF\xBF\xBD\r\n\"&'<!-- ]]>");
    put(f, "metrics.jsonl", "{\"stage\":\"<i>&\\\"\\u0007\",\"step\":1,\"loss\":1}\n");
    put(f, "timing.jsonl", "{\"stage\":\"</table>\",\"seconds\":1}\n");
    put(f, "heads.json", "{\"<u>\":{\"accuracy\":1,\"lo\":1,\"hi\":1,\"accuracy_30_tokens\":1,\"n\":1}}");
    put(f, "provenance.json", "{\"command\":\"</title><script>\",\"<k>\":{\"a\":[\"</code>\",null,1.5]},\"command_line\":[\"<\",3],\"options\":{\"output\":\"</p>\"}}");
    put_bytes(f, "settings.conf", "</pre>\0\xff\xed\xa0\x80", 11);
    char *page = report(f);
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
    char *page = report(*state);
    assert_sound(page);
    assert_holds(page, "(the first 1500 of 2400 bytes)");
    assert_holds(page, "(the first 1499 of 2399 bytes)");
    free(page);
}

static void extreme_numbers_stay_numbers(void **state)
{
    Fixture *f = *state;
    put(f, "metrics.jsonl", "{\"iteration\":0,\"reward\":{\"mean\":-1e308,\"lo\":-1e308,\"hi\":1e308},\"perplexity\":{\"mean\":1e300,\"lo\":1e300,\"hi\":1e300},"
        "\"kl\":{\"mean\":-0.0,\"lo\":1e-300,\"hi\":1e-300},\"gold\":{\"mean\":3,\"lo\":3,\"hi\":3},\"length\":{\"mean\":4,\"lo\":9,\"hi\":2}}\n"
        "{\"iteration\":16000,\"reward\":{\"mean\":1e308,\"lo\":-1e308,\"hi\":1e308},\"perplexity\":{\"mean\":1e300,\"lo\":1e300,\"hi\":1e300},"
        "\"kl\":{\"mean\":1e-12,\"lo\":1e-300,\"hi\":1e-300},\"gold\":{\"mean\":3.0000000001,\"lo\":3,\"hi\":3},\"length\":{\"mean\":4,\"lo\":9,\"hi\":2}}\n");
    SampleList list = {0};
    for (size_t k = 0; k < 2; k++) {
        Sample *s = samples_add(&list, &f->err);
        fill(s, 0, k, "p", "t", k ? 3.4e38f : -3.4e38f, &f->err);
        s->ranked = true;
        s->rank = 1 - k;
        s->selected = k;
    }
    write_samples(f, "iter_000/candidates.jsonl", &list);
    char *page = report(f);
    assert_sound(page);
    free(page);
}

// ---- what is missing or damaged -------------------------------------------------------------------------------------------

static void says_what_the_run_does_not_hold(void **state)
{
    Fixture *f = *state;
    const char *const names[] = {"timing.jsonl", "settings.conf", "provenance.json", "heads.json", "samples_before.jsonl",
        "iter_000/candidates.jsonl",
        "iter_001/candidates.jsonl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) drop(f, names[i]);
    put(f, "metrics.jsonl", "\n{\"later\":1}\n");
    char *page = report(f);
    assert_sound(page);
    assert_int_equal(count(page, "class=\"missing\""), 9);
        // charts, steps, answers, spread, heads, training, time, provenance, settings
    assert_holds(page, "1 lines of metrics.jsonl");
    free(page);
}

static void shows_options_when_there_is_no_settings_file(void **state)
{
    Fixture *f = *state;
    char *page = report(f);
    assert_lacks(page, "<th scope=\"row\">options</th>");
    free(page);
    drop(f, "settings.conf");
    page = report(f);
    assert_holds(page, "<th scope=\"row\">options</th>");
    free(page);
}

// Damages one file of a sound run: the error names it, and the page that stood there before stays as it was.
static void assert_named(Fixture *f, const char *name, const char *bytes, const char *fragment)
{
    char *path = path_in(f->folder, name), *before = report(f);
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
    Fixture *f = *state;
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
    Fixture *f = *state;
    SampleList list = {0};
    fill(samples_add(&list, &f->err), 3, 1, "p", "t", 1, &f->err);
    write_samples(f, "iter_001/candidates.jsonl", &list);
    assert_input_error(report_write(f->folder, &f->err), &f->err, "iter_001/candidates.jsonl: slot 3, k 1 has no \"rank\"");
}

static void answers_to_other_prompts_are_not_compared(void **state)
{
    Fixture *f = *state;
    write_answers(f, "samples_after.jsonl", "Another film", "was fine", 1);
    assert_input_error(report_write(f->folder, &f->err), &f->err, "samples_after.jsonl: slot 0 has another prompt");
}

static void a_folder_that_is_no_run_is_refused(void **state)
{
    Fixture *f = *state;
    drop(f, "metrics.jsonl");
    assert_input_error(report_write(f->folder, &f->err), &f->err, "not a run: it holds no metrics.jsonl");
    f->err = (Err){0};
    assert_input_error(report_write("no/such/folder", &f->err), &f->err, "no/such/folder");
}

int main(void)
{
#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RUN_TEST(tells_measures_with_intervals_and_samples),
        RUN_TEST(draws_a_chart_of_each_measure_and_of_the_loss),
        RUN_TEST(ranks_the_first_prompts_candidates_best_first_and_marks_the_kept_one),
        RUN_TEST(global_ranking_shows_ranks_among_all_candidates),
        RUN_TEST(pairs_answers_of_the_same_slot),
        RUN_TEST(iterations_come_in_the_order_of_their_numbers),
        RUN_TEST(same_files_give_the_same_bytes),
        RUN_TEST(text_of_a_model_arrives_as_letters),
        RUN_TEST(long_text_is_cut_between_characters_and_says_so),
        RUN_TEST(extreme_numbers_stay_numbers),
        RUN_TEST(says_what_the_run_does_not_hold),
        RUN_TEST(shows_options_when_there_is_no_settings_file),
        RUN_TEST(damaged_files_are_named_with_their_line),
        RUN_TEST(candidates_without_a_rank_are_refused),
        RUN_TEST(answers_to_other_prompts_are_not_compared),
        RUN_TEST(a_folder_that_is_no_run_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
