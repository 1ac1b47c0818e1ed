// SPDX-License-Identifier: MIT
/* report_story.c - RAFT's three steps, told with a prompt of the run. Nothing is chosen for its looks: it is the first prompt. */
#include "study/report-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_CANDIDATES = 16, SHOWN_ITERATIONS = 60 };

// ---- step 2's table -------------------------------------------------------------------------------------------------------

typedef struct {
    const Sample *order[SHOWN_CANDIDATES]; // by rank
    size_t shown, count;                   // of the group
    double low, high;                      // rewards
    bool many_prompts, gold, experts, ppo;
} Group;

// In a group of one prompt the ranks may be those among all candidates (global ranking): the order is the same.
static int by_rank(const void *left, const void *right)
{
    const Sample *a = *(const Sample *const *)left, *b = *(const Sample *const *)right;
    return a->rank < b->rank ? -1 : a->rank > b->rank;
}

static void make_group(Group *g, const RankedStage *stage, bool ppo, const Sample **order)
{
    const Sample *items = stage->shown.items;
    double gold;
    *g = (Group){.ppo = ppo, .count = stage->group, .many_prompts = stage->group > 1 && items[0].slot != items[1].slot};
    for (size_t i = 0; i < g->count; i++) {
        double reward = (double)items[i].reward;
        order[i] = items + i;
        if (!i || reward < g->low) g->low = reward;
        if (!i || reward > g->high) g->high = reward;
        g->gold |= report_named_reward(&gold, items + i, "gold");
        g->experts |= !sample_is_own(items + i);
    }
    qsort(order, g->count, sizeof *order, by_rank);
    g->shown = g->count < SHOWN_CANDIDATES ? g->count : SHOWN_CANDIDATES;
    memcpy(g->order, order, g->shown * sizeof *order);
}

static void candidate_row(Html *out, const Group *g, const Sample *s)
{
    double gold;
    bool kept = s->selected && !g->ppo; // PPO selects nothing: it learns from all
    html_printf(out, "<tr%s><th scope=\"row\">%zu</th><td class=\"n\">", kept ? " class=\"kept\"" : "", s->rank + 1);
    html_number(out, (double)s->reward, 2);
    html_puts(out, "</td><td class=\"wide\">");
    chart_strip(out, (double)s->reward, g->low, g->high, kept);
    html_puts(out, "</td>");
    if (g->gold) {
        html_puts(out, "<td class=\"n soft\">");
        if (report_named_reward(&gold, s, "gold")) html_number(out, gold, 2);
        html_puts(out, "</td>");
    }
    html_puts(out, "<td class=\"text\">");
    if (kept) html_puts(out, "<strong class=\"mark\">kept</strong> ");
    if (g->experts) html_puts(out, "<span class=\"tag\">"), html_string(out, s->source), html_puts(out, "</span> ");
    if (g->many_prompts) report_quote(out, "given", s->prompt, s->prompt_length), report_quote(out, "", s->text, s->text_length);
    else report_answer_text(out, s);
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

bool report_is_global(const RunFiles *files)
{
    const char *mode = run_option(files, "mode");
    return mode && !strcmp(mode, "global");
}

static void collect_step(Html *out, const RunFiles *files)
{
    const RankedStage *s = files->stages;
    double temperature;
    html_puts(out, "<li><h3>Collect</h3>\n<p>The model answers ");
    report_count(out, s->slots, "prompt");
    html_puts(out, ", which gives ");
    report_count(out, s->count, "candidate");
    size_t own = 0;
    for (size_t i = 0; i < s->count; i++) own += s->own[i];
    if (s->slots && own % s->slots == 0 && own > s->slots) {
        html_puts(out, ": ");
        html_number(out, (double)(own / s->slots), 0);
        html_puts(out, " for each prompt, drawn at random from the model’s own distribution");
        if (run_number(files, "temperature", &temperature) && temperature != 1) html_printf(out, " at a temperature of %g", temperature);
        if (own < s->count) html_puts(out, "; those of experts beside them make "), html_number(out, (double)(s->count - own), 0);
    }
    html_puts(out, ". This is the first prompt of the first stage:</p>\n<blockquote>");
    const Sample *first = files->stages->shown.items;
    report_quote(out, "given", first->prompt, first->prompt_length);
    html_puts(out, "<span class=\"words\"> …</span></blockquote></li>\n");
}

static const struct { const char *prefix, *what; } reward_kinds[] = {
    {"head:", "a network that learned from labelled texts"}, {"lexicon:", "a list of words with weights"},
    {"length:", "how near the length is to a wish"}, {"command:", "an outside program"},
};

// "The reward, head:proxy (a network ...), reads": its parts are logged under their names.
static void name_reward(Html *out, const Sample *s)
{
    size_t named = 0;
    html_puts(out, "The reward");
    for (size_t i = 0; i < s->reward_count; i++) {
        const char *name = s->reward_names[i], *what = NULL;
        if (!strcmp(name, "gold") || !strcmp(name, "kl")) continue;
        for (size_t k = 0; k < sizeof reward_kinds / sizeof *reward_kinds; k++)
            if (!strncmp(name, reward_kinds[k].prefix, strlen(reward_kinds[k].prefix))) what = reward_kinds[k].what;
        html_puts(out, named++ ? " and <code>" : ", <code>");
        html_string(out, name);
        html_puts(out, "</code>");
        if (what) html_printf(out, " (%s)", what);
    }
    html_puts(out, named ? ", reads" : " reads");
}

static void rank_step(Html *out, const RunFiles *files, const Group *g)
{
    const RankedStage *s = files->stages;
    double beta;
    html_puts(out, "<li><h3>Rank</h3>\n<p>");
    name_reward(out, files->stages->shown.items);
    html_puts(out, " prompt and answer and gives each candidate a number");
    if (run_number(files, "kl-beta", &beta) && beta > 0) {
        html_puts(out, ", less β = ");
        html_number(out, beta, 3);
        html_puts(out, " times log(p/p₀), how far the model has moved");
    }
    html_puts(out, report_is_global(files) ? ". The best of all candidates are kept: " : ". The best answer to each prompt is kept: ");
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
    const Sample *kept = first_kept(g, &files->stages->shown);
    double replay, tokens;
    html_puts(out, "<li><h3>Fine-tune</h3>\n<p>The model is trained on what was kept, as on any text: cross-entropy, on the tokens of\n"
        "the answer only. No gradient passes through the reward.");
    if (kept) {
        html_puts(out, " For the example, the loss counts the marked part:</p>\n<blockquote>");
        report_quote(out, "given", kept->prompt, kept->prompt_length);
        html_puts(out, "<mark>");
        report_quote(out, "", kept->text, kept->text_length);
        html_puts(out, "</mark></blockquote>\n<p>");
    } else html_puts(out, " ");
    if (run_number(files, "replay", &replay) && replay > 0 && run_number(files, "replay-tokens", &tokens))
        html_printf(out, "Beside the kept answers the model reads texts of people, %g to each answer, so that it forgets less: their first %.0f tokens. ",
            replay, tokens);
    html_puts(out, "The next iteration starts from the model that this one made.</p></li>\n");
}

// ---- PPO's ------------------------------------------------------------------------------------------------------------------

static void setting(Html *out, const RunFiles *files, const char *symbol, const char *key, int decimals)
{
    double value;
    if (!run_number(files, key, &value)) return;
    html_printf(out, " (%s = ", symbol);
    html_number(out, value, decimals);
    html_puts(out, ")");
}

static void score_step(Html *out, const RunFiles *files, const Group *g)
{
    html_puts(out, "<li><h3>Score</h3>\n<p>");
    name_reward(out, files->stages->shown.items);
    html_puts(out, " prompt and answer and gives each answer a number. None is thrown away: how much an answer\n"
        "teaches depends on how it compares with what was expected.</p>\n");
    candidate_table(out, g, files->stages->iteration);
    html_puts(out, "</li>\n");
}

static void ppo_step(Html *out, const RunFiles *files)
{
    double epochs;
    html_puts(out, "<li><h3>Learn</h3>\n<p>Each token is an action. Its reward is a penalty, −β·log(p/p₀), for being likelier than under "
        "the model\n"
        "that the run started from");
    setting(out, files, "β", "kl-coef", 3);
    html_puts(out, "; the last token gets the answer’s reward on top. A value head beside the next-token head learns to foresee what is "
        "still to\n"
        "come. What came in excess of that, discounted and smoothed back from the end");
    setting(out, files, "γ", "gamma", 2);
    setting(out, files, "λ", "lambda", 2);
    html_puts(out, ", is the token’s advantage.</p>\n<p>Tokens with a positive advantage are then made likelier, the others less likely");
    if (run_number(files, "epochs", &epochs)) {
        html_puts(out, ", in ");
        html_number(out, epochs, 0);
        html_puts(out, epochs > 1 ? " passes over all answers" : " pass over all answers");
    }
    html_puts(out, "; but once the probability has changed by more than a factor of 1 ± ε");
    setting(out, files, "ε", "ratio-clip", 2);
    html_puts(out, " since the answers were drawn, a token counts no more: beyond that they say nothing reliable. The next iteration "
        "draws answers\n"
        "from the model that this one made. RAFT, which this is compared with, needs none of that: it keeps the best answers and trains "
        "on\n"
        "them as on any text.</p></li>\n");
}

// ---- iteration by iteration ------------------------------------------------------------------------------------------------

static void mean_rewards(Html *out, const RankedStage *s, bool ppo)
{
    double all, kept;
    report_stage_means(&all, &kept, s);
    html_puts(out, "<p>Mean reward of all ");
    html_number(out, (double)s->count, 0), html_puts(out, " answers to this iteration’s prompts (the tables measure others): ");
    html_number(out, all, 2);
    if (s->kept && !ppo) {
        html_puts(out, "; of the "), html_number(out, (double)s->kept, 0), html_puts(out, " that were kept: ");
        html_number(out, kept, 2);
    }
    html_puts(out, ".</p>\n");
}

// A radio button, its label and what it shows: arrow keys step from one to the next, and no script is needed.
static void iteration_panel(Html *out, const RunFiles *files, size_t at, bool shown, const Sample **order)
{
    Group g;
    const RankedStage *s = files->stages + at;
    make_group(&g, s, report_is_ppo(files), order);
    html_printf(out, "<input type=\"radio\" name=\"iteration\" id=\"at-%zu\"%s>", s->iteration, shown ? " checked=\"\"" : "");
    html_printf(out, "<label for=\"at-%zu\"><span class=\"hidden\">Iteration </span>%zu</label>\n<div class=\"panel\">", s->iteration, s->iteration);
    mean_rewards(out, s, g.ppo);
    if (!g.many_prompts) {
        html_puts(out, "<blockquote>");
        report_quote(out, "given", s->shown.items->prompt, s->shown.items->prompt_length);
        html_puts(out, "<span class=\"words\"> …</span></blockquote>\n");
    }
    candidate_table(out, &g, s->iteration);
    html_puts(out, "</div>\n");
}

// The last is shown at first: the steps tell of the first.
static void step_through(Html *out, const RunFiles *files, const Sample **order)
{
    size_t n = files->stage_count, shown = n < SHOWN_ITERATIONS ? n : SHOWN_ITERATIONS;
    if (n < 2) return;
    html_puts(out, "<h3 id=\"stepper-name\">The same in every iteration</h3>\n<p>The first prompt of each iteration and its answers. Step\n"
        "through them with the arrow keys");
    if (shown < n) html_printf(out, "; %zu of %zu are shown", shown, n);
    html_puts(out, ".</p>\n<div class=\"stepper\" role=\"radiogroup\" aria-labelledby=\"stepper-name\">\n");
    for (size_t i = 0; i < shown; i++) iteration_panel(out, files, report_spaced(i, shown, n), i + 1 == shown, order);
    html_puts(out, "</div>\n");
}

void report_story(Html *out, const RunFiles *files)
{
    Group g;
    size_t most = 1;
    bool ppo = report_is_ppo(files);
    html_section(out, "steps", "Three steps, again and again");
    html_puts(out, ppo ? "<p>Each iteration collects answers, scores them, and moves the model towards what did better than "
        "expected.</p>\n" :
        "<p>Each iteration collects answers, ranks them, and fine-tunes the model on the best.</p>\n");
    for (size_t i = 0; i < files->stage_count; i++)
        if (files->stages[i].group > most) most = files->stages[i].group;
    if (!files->stage_count) {
        html_missing(out, "This run holds no candidates (iter_000/candidates.jsonl), so they cannot be shown here.");
        return;
    }
    const Sample **order = mem_new(out->err, most, sizeof *order);
    if (!order) {
        out->text.failed = true;
        return;
    }
    make_group(&g, files->stages, ppo, order);
    report_shown_arm(out, files);
    html_puts(out, "<ol class=\"steps\">\n");
    collect_step(out, files);
    if (ppo) score_step(out, files, &g), ppo_step(out, files);
    else rank_step(out, files, &g), finetune_step(out, files, &g);
    html_puts(out, "</ol>\n");
    step_through(out, files, order);
    html_puts(out, "</section>\n");
    mem_free(order);
}
