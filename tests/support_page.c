// SPDX-License-Identifier: MIT
/* support_page.c - runs made for the tests of the HTML page, and a small judge of HTML. */
#include "tests/support_page.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "files/unicode.h"
#include "study/report.h"

// ---- runs made for the tests ----------------------------------------------------------------------------------------------

void put_bytes(const RunFixture *f, const char *name, const char *bytes, size_t n)
{
    char *path = path_in(f->folder, name);
    write_file(path, bytes, n);
    free(path);
}

void put(const RunFixture *f, const char *name, const char *text) { put_bytes(f, name, text, strlen(text)); }

void drop(const RunFixture *f, const char *name)
{
    char *path = path_in(f->folder, name);
    assert_int_equal(remove(path), 0);
    free(path);
}

char *page_of(const RunFixture *f)
{
    char *path = path_in(f->folder, "report.html"), *page = read_file(path, NULL);
    free(path);
    return page;
}

char *report_page(RunFixture *f)
{
    assert_ok(report_write(f->folder, &f->err), &f->err);
    return page_of(f);
}

void fill_sample(Sample *s, size_t slot, size_t k, const char *prompt, const char *text, float reward, Err *err)
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
    s->has_reference = true;
    s->scored = true;
    s->reward = reward;
    assert_ok(sample_set_reward(s, "gold", reward / 2, err), err);
}

void write_samples(const RunFixture *f, const char *name, SampleList *list)
{
    Err err = {0};
    char *path = path_in(f->folder, name);
    assert_ok(samples_write(list, path, &err), &err);
    samples_free(list);
    free(path);
}

// Candidate k of slot s has reward k - s; the best, k = 3, is kept. Each has a number of its own in its text.
void write_candidates(const RunFixture *f, size_t iteration, const char *prompt, const char *text)
{
    SampleList list = {0};
    Err err = {0};
    char name[64], answer[3000];
    for (size_t slot = 0; slot < SLOTS; slot++)
        for (size_t k = 0; k < K; k++) {
            Sample *s = samples_add(&list, &err);
            snprintf(answer, sizeof answer, " answer %zu.%zu.%zu %s", iteration, slot, k, text);
            fill_sample(s, slot, k, prompt, answer, (float)k - (float)slot, &err);
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

void write_answers(const RunFixture *f, const char *name, const char *prompt, const char *text, float reward)
{
    SampleList list = {0};
    Err err = {0};
    for (size_t slot = 0; slot < SLOTS; slot++) fill_sample(samples_add(&list, &err), slot, 0, prompt, text, reward, &err);
    write_samples(f, name, &list);
}

static const char run_metrics[] =
    "{\"stage\":\"pretrain\",\"step\":1,\"loss\":6.5}\n{\"stage\":\"pretrain\",\"step\":2,\"loss\":5.25}\n"
    "{\"iteration\":0,\"reward\":{\"mean\":-0.5,\"lo\":-0.75,\"hi\":-0.25},\"gold_probability\":{\"mean\":0.45,\"lo\":0.4,\"hi\":0.5},"
    "\"positive_rate\":{\"mean\":0.4375,\"lo\":0.4,\"hi\":0.5},\"perplexity\":{\"mean\":12.25,\"lo\":12,\"hi\":12.5},\"kl\":{\"mean\":0,\"lo\":0,\"hi\":0},"
    "\"distinct_2\":{\"mean\":0.625,\"lo\":0.5,\"hi\":0.75},\"msttr\":{\"mean\":0.6875,\"lo\":0.5,\"hi\":0.75},\"samples\":1024}\n"
    "{\"iteration\":1,\"reward\":{\"mean\":1.125,\"lo\":0.875,\"hi\":1.375},\"gold_probability\":{\"mean\":0.75,\"lo\":0.7,\"hi\":0.8},"
    "\"positive_rate\":{\"mean\":0.8125,\"lo\":0.75,\"hi\":0.875},\"perplexity\":{\"mean\":13.5,\"lo\":13,\"hi\":14},\"kl\":{\"mean\":2.5,\"lo\":2,\"hi\":3},"
    "\"distinct_2\":{\"mean\":0.5,\"lo\":0.375,\"hi\":0.625},\"length\":{\"mean\":29.5,\"lo\":29,\"hi\":30},"
    "\"stage\":{\"candidates\":12,\"selected\":3,\"reward\":0.5,\"selected_reward\":2.0625,\"kl\":0.1},"
    "\"train\":{\"loss\":1.875,\"grad_norm\":1,\"tokens\":90,\"targets\":40}}\n";

void write_run(RunFixture *f, const char *prompt, const char *text)
{
    put(f, "metrics.jsonl", run_metrics);
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

int set_up_run(void **state)
{
    RunFixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->folder = temporary_folder();
    write_run(f, "The film", "was fine");
    *state = f;
    return 0;
}

int tear_down_run(void **state)
{
    RunFixture *f = *state;
    remove_folder(f->folder);
    free(f->folder);
    free(f);
    return 0;
}
// ---- a comparison made for the tests -------------------------------------------------------------------------------------------

// A measured iteration: reward and gold as given, perplexity and KL that rise with the iteration.
static void add_row(Text *metrics, size_t iteration, double reward, double gold, double shift)
{
    Err err = {0};
    static const char stage[] = ",\"stage\":{\"candidates\":12,\"selected\":3,\"reward\":0.5,\"selected_reward\":2,\"kl\":0.1},"
        "\"train\":{\"loss\":1.875,\"grad_norm\":1,\"tokens\":90,\"targets\":40}";
    assert_ok(text_printf(metrics, &err, "{\"iteration\":%zu,\"reward\":{\"mean\":%g,\"lo\":%g,\"hi\":%g},\"gold\":{\"mean\":%g,\"lo\":%g,\"hi\":%g},"
        "\"perplexity\":{\"mean\":%g,\"lo\":1,\"hi\":20},\"distinct_2\":{\"mean\":0.5,\"lo\":0.4,\"hi\":0.6},\"kl\":{\"mean\":%g,\"lo\":0,\"hi\":9},\"samples\":8%s}\n",
        iteration, reward, reward - 0.125, reward + 0.125, gold, gold - 0.125, gold + 0.125, 4 + (double)iteration + shift, (double)iteration * 2 + shift,
        iteration ? stage : ""), &err);
}

// RUN/arms/NAME-sSEED of two iterations; gold rises by 1, then falls by 2.
RunFixture make_arm(const RunFixture *f, const char *name, double shift, size_t measured)
{
    const double gold[] = {0, 1, -1};
    RunFixture arm = {.folder = path_in(f->folder, name)};
    Text metrics = {0};
    assert_ok(os_make_folders(arm.folder, &arm.err), &arm.err);
    write_run(&arm, "The film", "was fine");
    for (size_t t = 0; t < measured; t++) add_row(&metrics, t, (double)t + shift, gold[t] + shift, shift);
    put(&arm, "metrics.jsonl", metrics.data);
    put(&arm, "timing.jsonl", "{\"stage\":\"evaluate\",\"seconds\":9,\"tokens\":1}\n{\"stage\":\"measure\",\"seconds\":2,\"tokens\":0}\n"
        "{\"stage\":\"rank\",\"seconds\":4,\"tokens\":0}\n{\"stage\":\"collect\",\"seconds\":3,\"tokens\":12}\n"
        "{\"stage\":\"finetune\",\"seconds\":1,\"tokens\":50}\n{\"stage\":\"evaluate\",\"seconds\":9,\"tokens\":1}\n{\"stage\":\"collect\",\"seconds\":5,\"tokens\":12}\n"
        "{\"stage\":\"finetune\",\"seconds\":2,\"tokens\":50}\n");
    text_free(&metrics);
    return arm;
}

const char small_comparison[] = "{\"arms\":["
    "{\"arm\":\"base\",\"kind\":\"base\",\"generated\":0,\"settings\":{},\"gold\":{\"mean\":0,\"lo\":-0.125,\"hi\":0.125},\"reward\":{\"mean\":0,\"lo\":-1,\"hi\":1},"
    "\"perplexity\":{\"mean\":4,\"lo\":3.5,\"hi\":4.5},\"kl\":{\"mean\":0,\"lo\":0,\"hi\":0},\"seeds\":[{\"seed\":1},{\"seed\":2}]},"
    "{\"arm\":\"bo4\",\"kind\":\"best-of\",\"generated\":0,\"settings\":{\"samples\":\"4\"},\"gold\":{\"mean\":0.75,\"lo\":0.5,\"hi\":1},\"reward\":{\"mean\":1,\"lo\":0.5,\"hi\":1.5},"
    "\"perplexity\":{\"mean\":4,\"lo\":3.5,\"hi\":4.5},\"kl\":{\"mean\":0,\"lo\":0,\"hi\":0},\"seeds\":[{\"seed\":1},{\"seed\":2}]},"
    "{\"arm\":\"raft\",\"kind\":\"raft\",\"generated\":24,\"settings\":{},\"gold\":{\"mean\":-0.5,\"lo\":-0.75,\"hi\":-0.25},\"reward\":{\"mean\":2.5,\"lo\":2,\"hi\":3},"
    "\"perplexity\":{\"mean\":6.5,\"lo\":6,\"hi\":7},\"kl\":{\"mean\":4.5,\"lo\":4,\"hi\":5},\"seeds\":[{\"seed\":1},{\"seed\":2}]},"
    "{\"arm\":\"sft\",\"kind\":\"sft\",\"generated\":0,\"settings\":{},\"gold\":{\"mean\":0.25,\"lo\":0,\"hi\":0.5},\"perplexity\":{\"mean\":4.25,\"lo\":4,\"hi\":4.5},"
    "\"kl\":{\"mean\":0.5,\"lo\":0.25,\"hi\":0.75},\"seeds\":[{\"seed\":1},{\"seed\":2}]}]}";

void free_arm(RunFixture *arm) { free(arm->folder); }

void write_comparison(RunFixture *f, size_t second_measured)
{
    static const char *const alone[] = {"arms/base-s1", "arms/bo4-s1", "arms/sft-s1"};
    put(f, "comparison.json", small_comparison);
    RunFixture one = make_arm(f, "arms/raft-s1", 0, 3), two = make_arm(f, "arms/raft-s2", 1, second_measured);
    put(f, "arms/raft-s1.json", "{\"key\":\"0\",\"generated\":24,\"seconds\":100}");
    put(f, "arms/raft-s2.json", "{\"key\":\"0\",\"generated\":24,\"seconds\":200}");
    for (size_t i = 0; i < 3; i++) {
        RunFixture arm = {.folder = path_in(f->folder, alone[i])};
        assert_ok(os_make_folders(arm.folder, &arm.err), &arm.err);
        write_answers(&arm, "samples_after.jsonl", "The film", alone[i], 1);
        free_arm(&arm);
    }
    free_arm(&one);
    free_arm(&two);
}

// ---- a small judge of HTML -----------------------------------------------------------------------------------------------------------

typedef struct { const char *at; char stack[64][16]; size_t depth; int heading; char ids[900][48]; size_t id_count; } Judge;

static const char *excerpt(const char *at)
{
    static char text[80];
    snprintf(text, sizeof text, "%.60s", at);
    return text;
}

static bool is_void(const char *name) { return !strcmp(name, "meta") || !strcmp(name, "link") || !strcmp(name, "br") || !strcmp(name, "input"); }

static void judge_id(Judge *j, const char *value, size_t n)
{
    assert_true(n < sizeof j->ids[0] && j->id_count < 900);
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
void assert_sound(const char *page)
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

void assert_holds(const char *page, const char *text)
{
    if (!strstr(page, text)) fail_msg("the page does not hold: %s", text);
}

void assert_lacks(const char *page, const char *text)
{
    if (strstr(page, text)) fail_msg("the page holds: %s", excerpt(strstr(page, text)));
}

size_t count_of(const char *page, const char *text)
{
    size_t n = 0;
    for (const char *at = page; (at = strstr(at, text)); at++) n++;
    return n;
}
