// SPDX-License-Identifier: MIT
/* report_compare.c - the page about several runs side by side: what RAFT is, told with one of them, then all of them beside each
 * other. Start reading at page. */
#include "study/report.h"

#include "study/arms-internal.h"

#include <stdio.h>
#include <string.h>

// ---- what the arms are ------------------------------------------------------------------------------------------------------

static const struct { const char *kind, *name, *what; } kinds[] = {
    {"base", "The model as it was.", "Nothing is learned, nothing is chosen."},
    {"best-of", "Best of K.", "A model, the one that all begin with or one that another arm has made, answers K times, and the answer with the\n"
        "highest reward is given. Nothing is learned; each answer costs K."},
    {"sft", "Fine-tuning on human texts", "with the wanted label: no answers of the model’s own, no reward."},
    {"raft", "RAFT.", "The model answers each prompt K times; the answer with the highest reward is kept; the model is fine-tuned on what\n"
        "was kept, as on any text; again, with the model that came out."},
    {"ppo", "PPO,", "reinforcement learning from the same reward: the model learns from every answer, towards those that did better than\n"
        "a learned value expected and away from the others, in clipped steps, with a penalty for each token’s distance from the start."},
};

static bool has_kind(const Arms *arms, const char *kind)
{
    for (size_t a = 0; a < arms->count; a++)
        if (!strcmp(arms->arms[a].kind, kind)) return true;
    return false;
}

static void explain_kinds(Html *out, const Arms *arms)
{
    html_puts(out, "<dl class=\"kinds\">\n");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (has_kind(arms, kinds[i].kind)) {
            html_printf(out, "<div><dt>%s</dt><dd><strong>%s</strong> ", kinds[i].kind, kinds[i].name);
            html_puts(out, kinds[i].what);
            html_puts(out, "</dd></div>\n");
        }
    html_puts(out, "</dl>\n");
}

static void explain_settings(Html *out, const Arms *arms)
{
    size_t own = 0;
    for (size_t a = 0; a < arms->count; a++) own += arms->arms[a].settings.length > 0;
    if (!own) return;
    html_puts(out, "<p>Some have settings of their own; all else is the same for all of a kind:</p>\n<ul>\n");
    for (size_t a = 0; a < arms->count; a++) {
        const Arm *arm = arms->arms + a;
        if (!arm->settings.length) continue;
        html_puts(out, "<li><strong>"), html_string(out, arm->name), html_puts(out, "</strong> (");
        html_string(out, arm->kind), html_puts(out, "): "), html_string(out, arm->settings.data), html_puts(out, "</li>\n");
    }
    html_puts(out, "</ul>\n");
}

// ---- in figures --------------------------------------------------------------------------------------------------------------

static void figure_line(Html *out, const Measure *m, const char *name)
{
    if (!m->n) return;
    html_printf(out, "<br>%s ", name);
    html_number(out, m->mean, 2), html_puts(out, " "), report_interval(out, m, 2);
}

// A probability is read more easily than a head's score.
static size_t judge_of(const Arms *arms)
{
    return arms_measured(arms, MEASURE_GOLD_PROBABILITY) ? MEASURE_GOLD_PROBABILITY : arms_gold(arms);
}

static void arm_figure(Html *out, const Arms *arms, const Arm *arm)
{
    size_t judge = judge_of(arms);
    const Measure *m = &arm->end.measures[judge];
    html_puts(out, "<div><dt>");
    html_string(out, arm->name);
    html_puts(out, "</dt><dd><span class=\"big\">");
    if (m->n) html_number(out, m->mean, 2), html_puts(out, "</span>"), report_interval(out, m, 2);
    else html_puts(out, "–</span>");
    figure_line(out, &arm->end.measures[MEASURE_PERPLEXITY], "perplexity");
    Measure kl = arm_kl(arm);
    figure_line(out, &kl, "KL");
    html_puts(out, "</dd></div>\n");
}

static bool learns(const Arm *arm) { return strcmp(arm->kind, "base") && strcmp(arm->kind, "best-of"); }

// Among the arms that learn: with the highest (sign 1) or lowest (-1) measure; NULL when fewer than two measured it. second: the
// next one.
static const Arm *leader(const Arm **second, const Arms *arms, size_t measure, double sign)
{
    const Arm *best = NULL;
    *second = NULL;
    for (size_t a = 0; a < arms->count; a++) {
        const Arm *arm = arms->arms + a;
        double value = sign * arm->end.measures[measure].mean;
        if (!learns(arm) || !arm->end.measures[measure].n) continue;
        if (!best || value > sign * best->end.measures[measure].mean) *second = best, best = arm;
        else if (!*second || value > sign * (*second)->end.measures[measure].mean) *second = arm;
    }
    return *second ? best : NULL;
}

static void say_leader(Html *out, const Arms *arms, size_t measure, double sign, const char *what)
{
    const Arm *second, *best = leader(&second, arms, measure, sign);
    if (!best) return;
    const Measure *a = &best->end.measures[measure], *b = &second->end.measures[measure];
    html_puts(out, " <strong>"), html_string(out, best->name);
    html_printf(out, "</strong> %s (", what);
    html_number(out, a->mean, measure_specs[measure].decimals), html_puts(out, ", then ");
    html_string(out, second->name), html_puts(out, " with ");
    html_number(out, b->mean, measure_specs[measure].decimals);
    html_puts(out, a->lo <= b->hi && b->lo <= a->hi ? "; their intervals overlap)." : ").");
}

static void figures(Html *out, const Arms *arms)
{
    bool probability = arms_measured(arms, MEASURE_GOLD_PROBABILITY), gold = arms_measured(arms, MEASURE_GOLD);
    html_puts(out, "<p class=\"over\">How each way, or <em>arm</em>, ended: ");
    html_puts(out, probability ? "how positive its answers are to a second judge, <em>gold</em>, which took no part in the training\n"
        "(mean probability)" :
        gold ? "the mean reward of its answers by a second judge, <em>gold</em>, which took no part in the training" :
        "the mean reward of its answers");
    html_puts(out, "; and what that cost: <em>perplexity</em>, how badly the model now foretells human text, and <em>KL</em>, how far\n"
        "in nats it has moved from the model that it was. With 95&#8239;% intervals:</p>\n");
    html_puts(out, "<dl class=\"figures many\">\n");
    for (size_t a = 0; a < arms->count; a++) arm_figure(out, arms, arms->arms + a);
    html_puts(out, "</dl>\n");
    const Arm *second;
    if (!leader(&second, arms, judge_of(arms), 1)) return;
    html_puts(out, "<p class=\"verdict\">Of the arms that learn,");
    say_leader(out, arms, judge_of(arms), 1, probability ? "gives the answers that gold finds most positive" :
        gold ? "reaches the highest gold reward" : "reaches the highest reward");
    say_leader(out, arms, MEASURE_PERPLEXITY, -1, "keeps the lowest perplexity of human text");
    html_puts(out, " How they compare at the <a href=\"#frontier\">same cost</a> is another question.</p>\n");
}

// ---- tables ------------------------------------------------------------------------------------------------------------------

static void count_cell(Html *out, double value, const char *otherwise)
{
    if (value > 0) html_cell(out, value, 0);
    else html_printf(out, "<td class=\"n\"><span class=\"hidden\">%s</span>–</td>", otherwise);
}

static void arm_row(Html *out, const Arms *arms, const Arm *arm, size_t from, size_t to)
{
    html_row_name(out, arm->name);
    if (!from) count_cell(out, arm->generated, "none");
    for (size_t m = from; m < to; m++) {
        Measure value = m == MEASURE_KL ? arm_kl(arm) : arm->end.measures[m];
        if (m == MEASURE_KL_PER_TOKEN && (arm->tempered || !strcmp(arm->kind, "best-of"))) value = (Measure){0}; // not known
        if (arms_measured(arms, m)) report_measure_cell(out, &value, measure_specs[m].decimals);
    }
    html_puts(out, "</tr>\n");
}

static void arm_table(Html *out, const Arms *arms, const char *id, const char *caption, size_t from, size_t to)
{
    html_table(out, id, "measures arms", caption);
    html_puts(out, "<thead><tr><th scope=\"col\">arm</th>");
    if (!from) html_puts(out, "<th scope=\"col\" class=\"n\">tokens generated</th>");
    for (size_t m = from; m < to; m++)
        if (arms_measured(arms, m)) html_printf(out, "<th scope=\"col\" class=\"n\">%s</th>", measure_specs[m].heading);
    html_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t a = 0; a < arms->count; a++) arm_row(out, arms, arms->arms + a, from, to);
    html_table_end(out);
}

static size_t most_seeds(const Arms *arms)
{
    size_t most = 0;
    for (size_t a = 0; a < arms->count; a++)
        if (arms->arms[a].seeds > most) most = arms->arms[a].seeds;
    return most;
}

static bool any_tempered(const Arms *arms)
{
    bool any = false;
    for (size_t a = 0; a < arms->count; a++) any |= arms->arms[a].tempered;
    return any;
}

static void arms_table(Html *out, const Arms *arms)
{
    bool more = false;
    for (size_t m = MAIN_MEASURES; m < MEASURES; m++) more |= arms_measured(arms, m);
    html_section(out, "arms", "What is compared");
    html_puts(out, arms->planned ? "<p>All arms begin with one model and meet the same prompts and the same reward. " :
        "<p>Runs named one by one: whether they began with one model, and met the same prompts and reward, their settings tell. ");
    html_puts(out, "KL and perplexity are what a\nbetter reward costs: how far the model has moved from the one it was, and how much "
        "worse it has become at human text.</p>\n");
    explain_kinds(out, arms);
    explain_settings(out, arms);
    arm_table(out, arms, "ends", "Each arm as it ended, with 95&#8239;% intervals", 0, MAIN_MEASURES);
    html_puts(out, "<p class=\"note\">");
    if (most_seeds(arms) > 1) html_printf(out, "Means of %zu seeds; intervals over seeds and prompts. ", most_seeds(arms));
    else html_puts(out, "One seed; intervals over prompts only. ");
    html_puts(out, "Reward is what was optimised");
    if (arms_measured(arms, MEASURE_GOLD)) html_puts(out, ", gold is another judge");
    html_puts(out, ". KL in nats per answer");
    if (has_kind(arms, "best-of")) html_puts(out, ", of best-of-K with the log K − (K−1)/K that choosing adds");
    if (any_tempered(arms)) html_puts(out, "; not known where answers are drawn with another temperature than 1, top-k or top-p");
    html_puts(out, ", lengths in tokens. Distinct-2 is the share of different ones among all pairs of neighbouring tokens of the answers: "
        "it\nfalls when they come to resemble each other.</p>\n");
    if (more) {
        html_puts(out, "<details><summary>Further measures</summary>\n");
        arm_table(out, arms, "ends-further", "Further measures, with 95&#8239;% intervals", MAIN_MEASURES, MEASURES);
        html_puts(out, "<p class=\"note\">Of the answers: perplexity by the model that all began with; distinct-1 and unique-1 (of pairs: unique-2) the "
            "share of\ndifferent tokens, and of those that occur once only; MSTTR-100 the mean share of different tokens in 100 that follow each "
            "other.</p>\n</details>\n");
    }
    html_puts(out, "</section>\n");
}

static void cost_row(Html *out, const Arm *arm)
{
    const ArmCost *cost = &arm->cost;
    html_row_name(out, arm->name);
    if (!strcmp(arm->kind, "best-of") && arm->K) html_printf(out, "<td class=\"n\">%zu answers for one</td>", arm->K);
    else count_cell(out, arm->generated, "none");
    count_cell(out, cost->trained_tokens, strcmp(arm->kind, "sft") ? "none" : "not told");
    const double seconds[] = {cost->sampling, cost->ranking, cost->learning, cost->measuring, arm->seconds};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        if (seconds[i] > 0) html_puts(out, "<td class=\"n\">"), report_duration(out, seconds[i]), html_puts(out, "</td>");
        else html_puts(out, "<td class=\"n\"><span class=\"hidden\">not told</span>–</td>");
    }
    html_puts(out, "</tr>\n");
}

static void arms_cost(Html *out, const Arms *arms)
{
    const char *const columns[] = {"arm", ">tokens generated", ">tokens trained on", ">sampling", ">ranking", ">learning", ">measuring", ">in all"};
    html_section(out, "time", "What it costs");
    html_puts(out, most_seeds(arms) > 1 ? "<p>Means over seeds. " : "<p>");
    html_puts(out, "RAFT trains on what it kept");
    html_puts(out, has_kind(arms, "ppo") ? "; PPO on every answer, which is why it learns for longer. " : ". ");
    if (has_kind(arms, "best-of")) html_puts(out, "Best-of-K draws nothing beforehand, and K answers for each one that is given. ");
    html_puts(out, "Seconds are\n"
        "those of the machine of the run. Ranking is all that reads the answers before\n"
        "anything is learned, p₀ too where it is asked; measuring is answering the evaluation prompts and judging the answers; in all is\n"
        "everything, with what is written to disk.</p>\n");
    html_table(out, "costs", "measures", "Tokens and wall-clock time of each arm");
    html_columns(out, columns, sizeof columns / sizeof *columns);
    for (size_t a = 0; a < arms->count; a++) cost_row(out, arms->arms + a);
    html_table_end(out);
    html_puts(out, "</section>\n");
}

// ---- answers -----------------------------------------------------------------------------------------------------------------

static bool base_answers(const Arms *arms)
{
    for (size_t a = 0; a < arms->count; a++)
        if (!strcmp(arms->arms[a].kind, "base") && arm_answers(arms->arms + a)->count) return true;
    return false;
}

// The first answers of a run stand for the model as it was where no arm is that model.
static void arms_answers(Html *out, const Arms *arms)
{
    const Arm *example = arms_example(arms);
    AnswerColumn *columns = mem_new(out->err, arms->count + 1, sizeof *columns);
    size_t n = 0;
    html_section(out, "answers", "The same prompts, arm by arm");
    if (!columns) {
        out->text.failed = true;
        return;
    }
    if (!base_answers(arms) && example && example->runs->before.count) columns[n++] = (AnswerColumn){"before", &example->runs->before};
    for (size_t a = 0; a < arms->count; a++)
        if (arm_answers(arms->arms + a)->count) columns[n++] = (AnswerColumn){arms->arms[a].name, arm_answers(arms->arms + a)};
    if (report_answer_columns(out, columns, n)) html_puts(out, "</section>\n");
    else html_missing(out, "The arms kept no answers to the same prompts (samples_after.jsonl).");
    mem_free(columns);
}

// Sections that one arm tells for all.
static const RunFiles no_run;
static const RunFiles *run_of(const Arm *arm) { return arm ? arm->runs : &no_run; }

static void arms_story(Html *out, const Arms *arms) { report_story(out, run_of(arms_example(arms))); }
static void arms_spreads(Html *out, const Arms *arms) { report_spreads(out, run_of(arms_example(arms))); }

// Of the arm with the most candidates to a prompt, whose curve holds those of the others.
static void arms_bound(Html *out, const Arms *arms)
{
    const Arm *most = NULL;
    for (size_t a = 0; a < arms->count; a++) {
        const Arm *arm = arms->arms + a;
        if (!strcmp(arm->kind, "raft") && arm->run_count && (!most || arm->K > most->K)) most = arm;
    }
    report_bound(out, run_of(most ? most : arms_example(arms)));
}

static void arms_heads(Html *out, const Arms *arms)
{
    const RunFiles *heads = &arms->own;
    for (size_t a = 0; !heads->heads && a < arms->count; a++)
        if (arms->arms[a].run_count) heads = arms->arms[a].runs;
    report_heads(out, heads);
}

// Settings and provenance of a comparison; of runs named one by one, each its own.
static void arms_provenance(Html *out, const Arms *arms)
{
    if (arms->planned) {
        report_provenance(out, &arms->own);
        return;
    }
    html_section(out, "provenance", "Where it comes from");
    html_puts(out, "<p>Each run’s own page, and its provenance.json and settings.conf, tell how it was made:</p>\n<ul>\n");
    for (size_t a = 0; a < arms->count; a++) {
        const RunFiles *run = arms->arms[a].runs;
        const char *command = report_provenance_text(run, "command"), *version = report_provenance_text(run, "version");
        html_puts(out, "<li>");
        html_string(out, arms->arms[a].name);
        if (command) html_puts(out, ": raft "), html_string(out, command);
        if (version) html_puts(out, ", version "), html_string(out, version);
        html_puts(out, "</li>\n");
    }
    html_puts(out, "</ul>\n</section>\n");
}

// ---- the page ------------------------------------------------------------------------------------------------------------------

static const struct { const char *id, *name; void (*write)(Html *out, const Arms *arms); } sections[] = {
    {"steps", "What RAFT does", arms_story},
    {"arms", "What is compared", arms_table},
    {"frontier", "Frontier", arms_frontiers},
    {"curves", "Curves", arms_curves},
    {"spread", "Rewards", arms_spreads},
    {"overdone", "Over-optimisation", arms_overdone},
    {"answers", "Answers", arms_answers},
    {"bound", "Best of K", arms_bound},
    {"time", "Cost", arms_cost},
    {"heads", "Reward heads", arms_heads},
    {"provenance", "Provenance", arms_provenance},
};

static void heading(Html *out, const Arms *arms)
{
    html_puts(out, "<header>\n<p class=\"eyebrow\">");
    html_printf(out, arms->planned ? "raft compare · %zu arms" : "raft report · %zu runs", arms->count);
    if (most_seeds(arms) > 1) html_printf(out, " · %zu seeds", most_seeds(arms));
    html_puts(out, "</p>\n<h1>");
    html_puts(out, has_kind(arms, "ppo") && has_kind(arms, "raft") ? "RAFT beside PPO" :
        arms->planned ? "RAFT beside other ways" : "Runs side by side");
    html_puts(out, "</h1>\n<p class=\"lede\">A language model writes answers, and a reward says how good each one is. How can it be\n"
        "taught to write better ones? RAFT, reward-ranked fine-tuning, lets it write several, keeps the best and trains it on them, "
        "again and again.\n"
        "This page sets that beside other ways, on the same prompts: how much reward each one gains, and what it loses on the way.</p>\n");
    figures(out, arms);
    html_puts(out, "<nav aria-label=\"Contents\"><ul>\n");
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) report_link(out, sections[i].id, sections[i].name);
    html_puts(out, "</ul></nav>\n</header>\n");
}

static void page(Html *out, const Arms *arms)
{
    report_head(out, arms->planned ? "RAFT: a comparison" : "RAFT: runs side by side");
    heading(out, arms);
    html_puts(out, "<main>\n");
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) sections[i].write(out, arms);
    html_puts(out, "</main>\n<footer>\n<p>Every number on this page stands in a file of the runs or is computed from them as the text\n"
        "says: comparison.json, metrics.jsonl, iter_*/candidates.jsonl, samples_*.jsonl, timing.jsonl. It needs no network and no "
        "script.</p>\n"
        "</footer>\n</body>\n</html>\n");
}

int report_write_comparison(const char *path, const char *folder, Err *err)
{
    Arms arms;
    Html out = {.err = err};
    if (arms_read_comparison(&arms, folder, err)) return -1;
    page(&out, &arms);
    arms_free(&arms);
    return report_save(&out, path, err);
}

int report_write_runs(const char *path, const char *const *folders, size_t count, Err *err)
{
    Arms arms;
    Html out = {.err = err};
    if (arms_read_runs(&arms, folders, count, err)) return -1;
    page(&out, &arms);
    arms_free(&arms);
    return report_save(&out, path, err);
}
