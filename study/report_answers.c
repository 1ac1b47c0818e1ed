// SPDX-License-Identifier: MIT
/* report_answers.c - the model's words on the page: quotations, and the answers of several models to the same prompts beside each
 * other, shaded by what alignment did to each token. Nothing is chosen for its looks: they are the first prompts. Start reading
 * at report_answer_columns. */
#include "study/report-internal.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN_ANSWERS = 6, SHOWN_BYTES = 1500 };

// ---- quotations -----------------------------------------------------------------------------------------------------------

// At most so many bytes of a text are shown, cut between characters.
static size_t shown_bytes(const char *text, size_t n)
{
    size_t shown = n;
    if (n > SHOWN_BYTES)
        for (shown = SHOWN_BYTES; shown && ((unsigned char)text[shown] & 0xC0) == 0x80; shown--) {}
    return shown;
}

static void say_cut(Html *out, size_t shown, size_t n)
{
    if (shown < n) html_printf(out, " <span class=\"aside\">(the first %zu of %zu bytes)</span>", shown, n);
}

void report_quote(Html *out, const char *class, const char *text, size_t n)
{
    size_t shown = shown_bytes(text, n);
    html_printf(out, "<span class=\"words %s\" dir=\"auto\">", class);
    html_text(out, text, shown);
    html_puts(out, "</span>");
    say_cut(out, shown, n);
}

// Without the space that would join an answer to its prompt.
static size_t leading_space(const Sample *s) { return s->text_length && s->text[0] == ' '; }

void report_answer_text(Html *out, const Sample *s)
{
    size_t skip = leading_space(s);
    report_quote(out, "", s->text + skip, s->text_length - skip);
}

bool report_named_reward(double *value, const Sample *s, const char *name)
{
    for (size_t i = 0; i < s->reward_count; i++)
        if (!strcmp(s->reward_names[i], name)) {
            *value = (double)s->reward_values[i];
            return true;
        }
    return false;
}

void report_count(Html *out, size_t n, const char *noun)
{
    html_number(out, (double)n, 0);
    html_printf(out, " %s%s", noun, n == 1 ? "" : "s");
}

// ---- shading --------------------------------------------------------------------------------------------------------------

// Nats at which a token is 1.5, 3 and 10 times as likely: log of each.
static const double steps[] = {0.4054651081, 1.098612289, 2.302585093};

// A token that became likelier: u1 to u3; less likely: d1 to d3; else 0.
static int shade_of(double nats)
{
    int level = 0;
    double size = nats < 0 ? -nats : nats;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) level += size >= steps[i];
    return nats < 0 ? -level : level;
}

static bool is_shaded(const Sample *s)
{
    for (size_t t = 0; s->values && t < s->tokens.length; t++)
        if (shade_of((double)s->values[t].logprob - (double)s->values[t].ref_logprob)) return true;
    return false;
}

// Tokens without text (the end of the text, half a character) show nothing.
static void shaded_text(Html *out, const Sample *s)
{
    size_t at = leading_space(s), shown = shown_bytes(s->text, s->text_length);
    html_puts(out, "<span class=\"words \" dir=\"auto\">");
    for (size_t t = 0; t < s->tokens.length; t++) {
        double nats = (double)s->values[t].logprob - (double)s->values[t].ref_logprob;
        size_t end = s->values[t].end < shown ? s->values[t].end : shown;
        int level = shade_of(nats);
        if (end <= at) continue;
        if (level) {
            html_printf(out, "<span class=\"t %c%d\" title=\"", level < 0 ? 'd' : 'u', level < 0 ? -level : level);
            html_number(out, nats, 1), html_puts(out, " nats\">");
        }
        html_text(out, s->text + at, end - at);
        if (level) html_puts(out, "</span>");
        at = end;
    }
    if (at < shown) html_text(out, s->text + at, shown - at);
    html_puts(out, "</span>");
    say_cut(out, shown, s->text_length);
}

static void shading_legend(Html *out)
{
    html_puts(out, "<p class=\"note\">Shading compares the model with the one it started from, token by token:\n"
        "<span class=\"t u1\">1.5</span>, <span class=\"t u2\">3</span> and <span class=\"t u3\">10 times</span> as likely as at the "
        "start, or more;\n"
        "<span class=\"t d1\">1.5</span>, <span class=\"t d2\">3</span> and <span class=\"t d3\">10 times</span> less likely, or more "
        "(these dotted, too). Unshaded: about\n"
        "as likely as before. Under the pointer stands log p − log p₀ in nats.</p>\n");
}

// ---- the same prompts in columns --------------------------------------------------------------------------------------------

static void score(Html *out, const char *name, double value)
{
    html_printf(out, " <span class=\"figure\">%s ", name);
    html_number(out, value, 2);
    html_puts(out, "</span>");
}

static void answer(Html *out, const char *name, const Sample *s)
{
    double gold;
    html_puts(out, "<div class=\"answer\"><dt>");
    html_string(out, name);
    if (s->scored) score(out, "reward", (double)s->reward);
    if (report_named_reward(&gold, s, "gold")) score(out, "gold", gold);
    html_puts(out, "</dt><dd>");
    if (is_shaded(s)) shaded_text(out, s);
    else report_answer_text(out, s);
    html_puts(out, "</dd></div>\n");
}

// The first answer to a slot; lists are in ascending order of slots.
static const Sample *answer_to(const SampleList *list, size_t slot)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->items[middle].slot < slot) low = middle + 1;
        else high = middle;
    }
    return low < list->count && list->items[low].slot == slot ? list->items + low : NULL;
}

static bool same_prompt(const Sample *a, const Sample *b)
{
    return a->prompt_length == b->prompt_length && !memcmp(a->prompt, b->prompt, a->prompt_length);
}

// Whether every column answers this prompt, and token by token where `shaded` is wanted.
static bool all_answer(const AnswerColumn *columns, size_t count, const Sample *first, bool shaded)
{
    for (size_t c = 0; c < count; c++) {
        const Sample *s = answer_to(columns[c].answers, first->slot);
        if (!s || !same_prompt(first, s) || (shaded && !s->values)) return false;
    }
    return true;
}

// The slots of the first column that all answer; chosen may be NULL.
static size_t common_slots(const Sample **chosen, const AnswerColumn *columns, size_t count, bool shaded)
{
    const SampleList *list = columns[0].answers;
    size_t n = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (i && list->items[i].slot == list->items[i - 1].slot) continue;
        if (!all_answer(columns, count, list->items + i, shaded)) continue;
        if (chosen) chosen[n] = list->items + i;
        n++;
    }
    return n;
}

static void beside(Html *out, const AnswerColumn *columns, size_t count, const Sample *first)
{
    html_puts(out, "<article class=\"pair\">\n<h3>");
    report_quote(out, "given", first->prompt, first->prompt_length);
    html_puts(out, "<span class=\"words\"> …</span></h3>\n<dl>\n");
    for (size_t c = 0; c < count; c++) answer(out, columns[c].name, answer_to(columns[c].answers, first->slot));
    html_puts(out, "</dl>\n</article>\n");
}

size_t report_answer_columns(Html *out, const AnswerColumn *columns, size_t count)
{
    size_t pairs = count ? common_slots(NULL, columns, count, false) : 0;
    const Sample **chosen = pairs ? mem_new(out->err, pairs, sizeof *chosen) : NULL;
    if (!chosen) {
        out->text.failed |= pairs > 0;
        return 0;
    }
    size_t n = common_slots(chosen, columns, count, true);
    bool shaded = n > 0;
    if (!shaded) n = common_slots(chosen, columns, count, false);
    size_t shown = n < SHOWN_ANSWERS ? n : SHOWN_ANSWERS;
    html_puts(out, "<p>Answers to the same evaluation prompts. Shown: the first ");
    html_printf(out, "%zu of ", shown);
    report_count(out, pairs, "prompt");
    html_puts(out, ".</p>\n"); // labels are in turns there
    if (shaded) shading_legend(out);
    for (size_t i = 0; i < shown; i++) beside(out, columns, count, chosen[i]);
    mem_free(chosen);
    return pairs;
}

void report_answers(Html *out, const RunFiles *files)
{
    const AnswerColumn columns[] = {{"before", &files->before}, {"after", &files->after}};
    html_section(out, "answers", "The same prompts, before and after");
    if (!report_answer_columns(out, columns, 2)) {
        html_missing(out, "This run kept no answers from before and after (samples_before.jsonl, samples_after.jsonl), so there\n"
            "are none to compare.");
        return;
    }
    html_puts(out, "</section>\n");
}
