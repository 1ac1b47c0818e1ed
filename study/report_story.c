// SPDX-License-Identifier: MIT
/* report_story.c - what samples show: RAFT's three steps with a prompt of this run, answers before and after, the spread of
 * rewards. Nothing is chosen for its looks: the first prompt, and prompts at equal distances. */
#include "study/report-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_CANDIDATES = 16, SHOWN_SLOTS = 8, SHOWN_ANSWERS = 6, SHOWN_SPREADS = 12, BINS = 32, SHOWN_BYTES = 1500 };

// A model's words; a very long text is cut between characters, and says so.
static void quote(Html *out, const char *class, const char *text, size_t n)
{
    size_t shown = n;
    if (n > SHOWN_BYTES)
        for (shown = SHOWN_BYTES; shown && ((unsigned char)text[shown] & 0xC0) == 0x80; shown--) {}
    html_printf(out, "<span class=\"words %s\" dir=\"auto\">", class);
    html_text(out, text, shown);
    html_puts(out, "</span>");
    if (shown < n) html_printf(out, " <span class=\"aside\">(the first %zu of %zu bytes)</span>", shown, n);
}

// An answer that does not stand behind its prompt: without the space that would join them.
static void answer_text(Html *out, const Sample *s)
{
    size_t skip = s->text_length && s->text[0] == ' ';
    quote(out, "", s->text + skip, s->text_length - skip);
}

static bool named_reward(double *value, const Sample *s, const char *name)
{
    for (size_t i = 0; i < s->reward_count; i++)
        if (!strcmp(s->reward_names[i], name)) {
            *value = (double)s->reward_values[i];
            return true;
        }
    return false;
}

static void plural(Html *out, size_t n, const char *noun)
{
    html_number(out, (double)n, 0);
    html_printf(out, " %s%s", noun, n == 1 ? "" : "s");
}

// ---- step 2's table -------------------------------------------------------------------------------------------------------

typedef struct {
    const Sample *order[SHOWN_CANDIDATES]; // by rank
    size_t shown, count;                   // of the group
    double low, high;                      // rewards
    bool many_prompts, gold, experts;
} Group;

// In a group of one prompt the ranks may be those among all candidates (global ranking): the order is the same.
static int by_rank(const void *left, const void *right)
{
    const Sample *a = *(const Sample *const *)left, *b = *(const Sample *const *)right;
    return a->rank < b->rank ? -1 : a->rank > b->rank;
}

// The candidates of the first prompt; where each prompt has one only, those of the first few prompts.
static void make_group(Group *g, const SampleList *samples, const Sample **order)
{
    const Sample *items = samples->items;
    double gold;
    *g = (Group){0};
    while (g->count < samples->count && items[g->count].slot == items[0].slot) g->count++;
    g->many_prompts = g->count == 1 && samples->count > 1;
    if (g->many_prompts) g->count = samples->count < SHOWN_SLOTS ? samples->count : SHOWN_SLOTS;
    for (size_t i = 0; i < g->count; i++) {
        double reward = (double)items[i].reward;
        order[i] = items + i;
        if (!i || reward < g->low) g->low = reward;
        if (!i || reward > g->high) g->high = reward;
        g->gold |= named_reward(&gold, items + i, "gold");
        g->experts |= strcmp(items[i].source, "policy") != 0;
    }
    qsort(order, g->count, sizeof *order, by_rank);
    g->shown = g->count < SHOWN_CANDIDATES ? g->count : SHOWN_CANDIDATES;
    memcpy(g->order, order, g->shown * sizeof *order);
}

static void candidate_row(Html *out, const Group *g, const Sample *s)
{
    double gold;
    html_printf(out, "<tr%s><th scope=\"row\">%zu</th><td class=\"n\">", s->selected ? " class=\"kept\"" : "", s->rank + 1);
    html_number(out, (double)s->reward, 2);
    html_puts(out, "</td><td class=\"wide\">");
    chart_strip(out, (double)s->reward, g->low, g->high, s->selected);
    html_puts(out, "</td>");
    if (g->gold) {
        html_puts(out, "<td class=\"n soft\">");
        if (named_reward(&gold, s, "gold")) html_number(out, gold, 2);
        html_puts(out, "</td>");
    }
    html_puts(out, "<td class=\"text\">");
    if (s->selected) html_puts(out, "<strong class=\"mark\">kept</strong> ");
    if (g->experts) html_puts(out, "<span class=\"tag\">"), html_string(out, s->source), html_puts(out, "</span> ");
    if (g->many_prompts) quote(out, "given", s->prompt, s->prompt_length), quote(out, "", s->text, s->text_length);
    else answer_text(out, s);
    html_puts(out, "</td></tr>\n");
}

static void candidate_table(Html *out, const Group *g, size_t iteration)
{
    html_puts(out, "<table class=\"ranking\"><caption>Iteration ");
    html_printf(out, "%zu: ", iteration);
    html_puts(out, g->many_prompts ? "answers to the first prompts, best first" : "the answers to this prompt, best first");
    if (g->gold) html_puts(out, "; gold is measured and plays no part");
    html_puts(out, "</caption>\n<thead><tr><th scope=\"col\">rank</th><th scope=\"col\" class=\"n\">reward</th>"
        "<th scope=\"col\" class=\"wide\"><span class=\"hidden\">as a place</span></th>");
    if (g->gold) html_puts(out, "<th scope=\"col\" class=\"n\">gold</th>");
    html_puts(out, "<th scope=\"col\" class=\"text\">answer</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < g->shown; i++) candidate_row(out, g, g->order[i]);
    html_puts(out, "</tbody></table>\n");
    if (g->shown < g->count) {
        html_puts(out, "<p class=\"note\">The best ");
        html_printf(out, "%zu of %zu are shown.</p>\n", g->shown, g->count);
    }
}

// ---- the three steps ------------------------------------------------------------------------------------------------------

static bool is_global(const RunFiles *files)
{
    const char *mode = run_option(files, "mode");
    return mode && !strcmp(mode, "global");
}

static void collect_step(Html *out, const RunFiles *files)
{
    const RewardSpread *s = files->spreads;
    html_puts(out, "<li><h3>Collect</h3>\n<p>The model answers ");
    plural(out, s->slots, "prompt");
    html_puts(out, ", which gives ");
    plural(out, s->count, "candidate");
    if (s->slots && s->count % s->slots == 0 && s->count > s->slots) {
        html_puts(out, ": ");
        html_number(out, (double)(s->count / s->slots), 0);
        html_puts(out, " for each prompt, drawn at random from the model's own distribution");
    }
    html_puts(out, ". This is the first prompt of the first stage:</p>\n<blockquote>");
    quote(out, "given", files->first.items[0].prompt, files->first.items[0].prompt_length);
    html_puts(out, "<span class=\"words\"> …</span></blockquote></li>\n");
}

static void rank_step(Html *out, const RunFiles *files, const Group *g)
{
    const RewardSpread *s = files->spreads;
    double beta;
    html_puts(out, "<li><h3>Rank</h3>\n<p>The reward reads prompt and answer and gives each candidate a number");
    if (run_number(files, "kl-beta", &beta) && beta > 0) {
        html_puts(out, ", less β = ");
        html_number(out, beta, 3);
        html_puts(out, " times log(p/p₀), how far the model has moved");
    }
    html_puts(out, is_global(files) ? ". The best of all candidates are kept: " : ". The best answer to each prompt is kept: ");
    html_number(out, (double)s->kept, 0), html_puts(out, " of "), html_number(out, (double)s->count, 0);
    html_puts(out, ". Of equals, the earlier one.</p>\n");
    candidate_table(out, g, s->iteration);
    html_puts(out, "</li>\n");
}

static const Sample *first_kept(const Group *g, const SampleList *samples)
{
    for (size_t i = 0; i < g->shown; i++)
        if (g->order[i]->selected) return g->order[i];
    for (size_t i = 0; i < samples->count; i++)
        if (samples->items[i].selected) return samples->items + i;
    return NULL;
}

static void finetune_step(Html *out, const RunFiles *files, const Group *g)
{
    const Sample *kept = first_kept(g, &files->first);
    html_puts(out, "<li><h3>Fine-tune</h3>\n<p>The model is trained on what was kept, as on any text: cross-entropy, on the tokens of\n"
        "the answer only. No gradient passes through the reward.");
    if (kept) {
        html_puts(out, " For the example, the loss counts the marked part:</p>\n<blockquote>");
        quote(out, "given", kept->prompt, kept->prompt_length);
        html_puts(out, "<mark>");
        quote(out, "", kept->text, kept->text_length);
        html_puts(out, "</mark></blockquote>\n<p>");
    } else html_puts(out, " ");
    html_puts(out, "The next iteration starts from the model that this one made.</p></li>\n");
}

static void last_iteration(Html *out, const RunFiles *files, const Sample **order)
{
    Group g;
    if (!files->last.count) return;
    size_t iteration = files->spreads[files->spread_count - 1].iteration;
    make_group(&g, &files->last, order);
    html_printf(out, "<details><summary>The same in the last iteration, %zu</summary>\n<blockquote>", iteration);
    quote(out, "given", files->last.items[0].prompt, files->last.items[0].prompt_length);
    html_puts(out, "<span class=\"words\"> …</span></blockquote>\n");
    candidate_table(out, &g, iteration);
    html_puts(out, "</details>\n");
}

void report_story(Html *out, const RunFiles *files)
{
    Group g;
    size_t most = files->first.count > files->last.count ? files->first.count : files->last.count;
    html_section(out, "steps", "Three steps, again and again");
    html_puts(out, "<p>Each iteration collects answers, ranks them, and fine-tunes the model on the best.</p>\n");
    if (!files->first.count) {
        html_missing(out, "This run holds no candidates (iter_000/candidates.jsonl), so they cannot be shown here.");
        return;
    }
    const Sample **order = mem_new(out->err, most, sizeof *order);
    if (!order) {
        out->text.failed = true;
        return;
    }
    make_group(&g, &files->first, order);
    html_puts(out, "<ol class=\"steps\">\n");
    collect_step(out, files);
    rank_step(out, files, &g);
    finetune_step(out, files, &g);
    html_puts(out, "</ol>\n");
    last_iteration(out, files, order);
    html_puts(out, "</section>\n");
    mem_free(order);
}

// ---- before and after -----------------------------------------------------------------------------------------------------

static void score(Html *out, const char *name, double value)
{
    html_printf(out, " <span class=\"figure\">%s ", name);
    html_number(out, value, 2);
    html_puts(out, "</span>");
}

static void answer(Html *out, const char *name, const Sample *s)
{
    double gold;
    html_printf(out, "<div class=\"answer\"><dt>%s", name);
    if (s->scored) score(out, "reward", (double)s->reward);
    if (named_reward(&gold, s, "gold")) score(out, "gold", gold);
    html_puts(out, "</dt><dd>");
    answer_text(out, s);
    html_puts(out, "</dd></div>\n");
}

// The next slot from *i, *j on that both lists answer.
static bool next_pair(const SampleList *a, const SampleList *b, size_t *i, size_t *j)
{
    while (*i < a->count && *j < b->count && a->items[*i].slot != b->items[*j].slot) {
        if (a->items[*i].slot < b->items[*j].slot) ++*i;
        else ++*j;
    }
    return *i < a->count && *j < b->count;
}

// Past the slot: each may hold several answers to it.
static void skip_slot(const SampleList *a, size_t *i)
{
    size_t slot = a->items[*i].slot;
    while (*i < a->count && a->items[*i].slot == slot) ++*i;
}

static size_t count_pairs(const SampleList *a, const SampleList *b)
{
    size_t n = 0;
    for (size_t i = 0, j = 0; next_pair(a, b, &i, &j); n++) skip_slot(a, &i), skip_slot(b, &j);
    return n;
}

static void pair(Html *out, const Sample *before, const Sample *after)
{
    html_puts(out, "<article class=\"pair\">\n<h3>");
    quote(out, "given", before->prompt, before->prompt_length);
    html_puts(out, "<span class=\"words\"> …</span></h3>\n<dl>\n");
    answer(out, "before", before);
    answer(out, "after", after);
    html_puts(out, "</dl>\n</article>\n");
}

void report_answers(Html *out, const RunFiles *files)
{
    const SampleList *a = &files->before, *b = &files->after;
    size_t pairs = count_pairs(a, b), shown = pairs < SHOWN_ANSWERS ? pairs : SHOWN_ANSWERS, seen = 0, done = 0;
    html_section(out, "answers", "The same prompts, before and after");
    if (!pairs) {
        html_missing(out, "This run kept no answers from before and after (samples_before.jsonl, samples_after.jsonl), so there\n"
            "are none to compare.");
        return;
    }
    html_puts(out, "<p>Answers to evaluation prompts by the model before alignment and after it, drawn with the same random\n"
        "numbers. Shown: ");
    html_printf(out, "%zu of ", shown);
    plural(out, pairs, "prompt");
    html_puts(out, ", at equal distances in the file.</p>\n");
    for (size_t i = 0, j = 0; done < shown && next_pair(a, b, &i, &j); seen++) {
        if (seen == done * pairs / shown) pair(out, a->items + i, b->items + j), done++;
        skip_slot(a, &i);
        skip_slot(b, &j);
    }
    html_puts(out, "</section>\n");
}

// ---- rewards of the candidates --------------------------------------------------------------------------------------------

typedef struct { size_t all[BINS], kept[BINS]; double all_mean, kept_mean; } Binned;

static size_t bin_of(double value, double low, double high)
{
    if (!(low < high)) return BINS / 2;
    double at = (value - low) / (high - low) * BINS;
    return at < 0 ? 0 : at >= BINS ? BINS - 1 : (size_t)at;
}

static void fill_bins(Binned *b, const RewardSpread *s, double low, double high)
{
    *b = (Binned){0};
    for (size_t i = 0; i < s->count; i++) {
        double value = (double)s->rewards[i];
        size_t bin = bin_of(value, low, high);
        b->all[bin]++;
        b->all_mean += value;
        if (s->selected[i]) b->kept[bin]++, b->kept_mean += value;
    }
    if (s->count) b->all_mean /= (double)s->count;
    if (s->kept) b->kept_mean /= (double)s->kept;
}

static void reward_range(double *low, double *high, const RunFiles *files)
{
    bool any = false;
    for (size_t t = 0; t < files->spread_count; t++)
        for (size_t i = 0; i < files->spreads[t].count; i++) {
            double value = (double)files->spreads[t].rewards[i];
            if (!any || value < *low) *low = value;
            if (!any || value > *high) *high = value;
            any = true;
        }
}

// All with the same axes; of a long run some at equal distances, the first and the last among them.
static size_t shown_spread(const RunFiles *files, size_t i, size_t shown)
{
    return shown < 2 ? 0 : i * (files->spread_count - 1) / (shown - 1);
}

static void draw_spread(Html *out, const RewardSpread *s, const Binned *b, size_t most, double low, double high)
{
    char id[32], title[64];
    snprintf(id, sizeof id, "spread-%zu", s->iteration);
    snprintf(title, sizeof title, "Rewards of the candidates of iteration %zu", s->iteration);
    html_printf(out, "<figure class=\"chart\"><figcaption><h3>Iteration %zu</h3></figcaption>\n", s->iteration);
    Histogram h = {.id = id, .title = title, .all_name = "all candidates", .part_name = "kept", .all = b->all, .part = b->kept,
        .bins = BINS, .most = most, .low = low, .high = high, .all_mean = b->all_mean, .part_mean = b->kept_mean, .has_part = s->kept > 0};
    chart_histogram(out, &h);
    html_puts(out, "</figure>\n");
}

void report_spreads(Html *out, const RunFiles *files)
{
    size_t shown = files->spread_count < SHOWN_SPREADS ? files->spread_count : SHOWN_SPREADS, most = 0;
    double low = 0, high = 0;
    Binned b;
    html_section(out, "spread", "How the candidates’ rewards move");
    if (!shown) {
        html_missing(out, "This run holds no ranked candidates (iter_000/candidates.jsonl).");
        return;
    }
    reward_range(&low, &high, files);
    for (size_t i = 0; i < shown; i++) {
        fill_bins(&b, files->spreads + shown_spread(files, i, shown), low, high);
        for (size_t bin = 0; bin < BINS; bin++)
            if (b.all[bin] > most) most = b.all[bin];
    }
    html_puts(out, "<p>The rewards that were ranked, iteration by iteration, on the same axes. <span class=\"key all\"></span> all\n"
        "candidates, <span class=\"key part\"></span> the kept ones among them; the lines are their means. Each iteration trains on\n"
        "its kept ones; where that works, the next one lies further to the right.");
    if (shown < files->spread_count) html_printf(out, " Shown: %zu of %zu iterations.", shown, files->spread_count);
    html_puts(out, "</p>\n<div class=\"grid\">\n");
    for (size_t i = 0; i < shown; i++) {
        const RewardSpread *s = files->spreads + shown_spread(files, i, shown);
        fill_bins(&b, s, low, high);
        draw_spread(out, s, &b, most, low, high);
    }
    html_puts(out, "</div>\n</section>\n");
}
