// SPDX-License-Identifier: MIT
/* report_measures.c - the numbers of metrics.jsonl and heads.json: in a few figures, as charts, as tables. The table
 * measure_specs names every measure once. Start reading there. */
#include "study/report-internal.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { FROM_ZERO = 1, UNIT = 1 }; // the table's last two columns: where the vertical axis of the chart runs

const MeasureSpec measure_specs[MEASURES] = {
    [MEASURE_REWARD] = {"reward", "reward", 3, "Mean reward", "reward", "what ranking optimises (the proxy)", false, false},
    [MEASURE_GOLD] = {"gold", "gold", 3, NULL, NULL, NULL, false, false},
    [MEASURE_GOLD_PROBABILITY] = {"gold_probability", "P(positive)", 3, "Gold probability", "probability",
        "mean probability of “positive” by the gold head, which is measured and never optimised", false, UNIT},
    [MEASURE_POSITIVE] = {"positive_rate", "positive rate", 3, "Positive answers", "share of answers",
        "answers with a score above zero, by gold where there is one", false, UNIT},
    [MEASURE_PERPLEXITY] = {"perplexity", "perplexity", 2, "Held-out perplexity", "perplexity",
        "of texts from the corpus; a rise is what alignment costs", false, false},
    [MEASURE_KL] = {"kl", "KL", 3, "Distance from the start", "nats per answer", "KL: mean of log p − log p₀ over the answers",
        FROM_ZERO, false},
    [MEASURE_DISTINCT_2] = {"distinct_2", "distinct-2", 3, "Diversity", "distinct-2",
        "distinct pairs of neighbouring tokens, among all pairs", false, false},
    [MEASURE_LENGTH] = {"length", "length", 1, "Length of answers", "tokens", "mean tokens of an answer", false, false},
    [MEASURE_SAMPLE_PERPLEXITY] = {"sample_perplexity", "perplexity of answers", 2, NULL, NULL, NULL, false, false},
    [MEASURE_KL_PER_TOKEN] = {"kl_per_token", "KL per token", 4, NULL, NULL, NULL, false, false},
    [MEASURE_DISTINCT_1] = {"distinct_1", "distinct-1", 3, NULL, NULL, NULL, false, false},
    [MEASURE_UNIQUE_1] = {"unique_1", "unique-1", 3, NULL, NULL, NULL, false, false},
    [MEASURE_UNIQUE_2] = {"unique_2", "unique-2", 3, NULL, NULL, NULL, false, false},
    [MEASURE_MSTTR] = {"msttr", "MSTTR-100", 3, NULL, NULL, NULL, false, false},
};

static bool is_measured(const RunFiles *files, size_t measure)
{
    for (size_t i = 0; i < files->row_count; i++)
        if (files->rows[i].measures[measure].n) return true;
    return false;
}

void report_interval(Html *out, const Measure *m, int decimals)
{
    html_puts(out, "<span class=\"interval\">[");
    html_number(out, m->lo, decimals), html_puts(out, ", "), html_number(out, m->hi, decimals);
    html_puts(out, "]</span>");
}

// ---- what changed, in figures ---------------------------------------------------------------------------------------------

static void figure(Html *out, size_t measure, const Measure *first, const Measure *last)
{
    int decimals = measure_specs[measure].decimals > 2 ? 2 : measure_specs[measure].decimals;
    if (!first->n || !last->n) return;
    html_printf(out, "<div><dt>%s</dt><dd><span class=\"big\">", measure_specs[measure].title);
    html_number(out, first->mean, decimals);
    html_puts(out, "<span class=\"to\"> → </span>");
    html_number(out, last->mean, decimals);
    html_puts(out, "</span>");
    report_interval(out, first, decimals), html_puts(out, " → "), report_interval(out, last, decimals);
    html_puts(out, "</dd></div>\n");
}

void report_summary(Html *out, const RunFiles *files)
{
    const size_t shown[] = {MEASURE_REWARD, MEASURE_GOLD_PROBABILITY, MEASURE_POSITIVE, MEASURE_PERPLEXITY, MEASURE_KL};
    if (files->row_count < 2) return;
    const IterationRow *first = files->rows, *last = files->rows + files->row_count - 1;
    html_printf(out, "<p class=\"over\">From iteration %zu to iteration %zu, with 95 %% intervals:</p>\n", first->iteration,
        last->iteration);
    html_puts(out, "<dl class=\"figures\">\n");
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        figure(out, shown[i], &first->measures[shown[i]], &last->measures[shown[i]]);
    html_puts(out, "</dl>\n");
}

// ---- charts ---------------------------------------------------------------------------------------------------------------

void report_draw(Html *out, const Chart *chart, const char *note)
{
    html_puts(out, "<figure class=\"chart\"><figcaption><h3>");
    html_string(out, chart->title);
    html_puts(out, "</h3>");
    if (note) html_puts(out, "<p>"), html_puts(out, note), html_puts(out, "</p>");
    html_puts(out, "</figcaption>\n");
    chart_lines(out, chart);
    html_puts(out, "</figure>\n");
}

static ChartPoint bare_point(double x, double y) { return (ChartPoint){x, y, y, y}; }

static void measure_chart(Html *out, const RunFiles *files, size_t measure, ChartPoint *points)
{
    const MeasureSpec *spec = measure_specs + measure;
    char id[64];
    size_t n = 0, used = (size_t)snprintf(id, sizeof id, "chart-%s", spec->key);
    for (size_t i = 0; i < used; i++)
        if (id[i] == '_') id[i] = '-';
    for (size_t i = 0; i < files->row_count; i++) {
        const Measure *m = &files->rows[i].measures[measure];
        if (m->n) points[n++] = (ChartPoint){(double)files->rows[i].iteration, m->mean, m->lo, m->hi};
    }
    Chart chart = {.id = id, .title = spec->title, .x_label = "iteration", .y_label = spec->unit, .decimals = spec->decimals,
        .whole_x = true, .from_zero = spec->from_zero, .unit = spec->unit_range,
        .series = {{.name = spec->heading, .points = points, .count = n}}, .series_count = 1};
    if (n) report_draw(out, &chart, spec->note);
}

// Proxy against gold, iteration after iteration: gold that stops rising while the proxy still does is over-optimisation.
static void path_chart(Html *out, const RunFiles *files, ChartPoint *points)
{
    size_t gold = is_measured(files, MEASURE_GOLD_PROBABILITY) ? MEASURE_GOLD_PROBABILITY : MEASURE_GOLD, n = 0;
    for (size_t i = 0; i < files->row_count; i++) {
        const Measure *x = &files->rows[i].measures[MEASURE_REWARD], *y = &files->rows[i].measures[gold];
        if (x->n && y->n) points[n++] = (ChartPoint){x->mean, y->mean, y->lo, y->hi};
    }
    Chart chart = {.id = "chart-path", .title = "Gold against proxy", .x_label = "mean reward (proxy)",
        .y_label = gold == MEASURE_GOLD ? "gold" : "gold probability", .decimals = 3, .path = true, .series_count = 1,
        .series = {{.name = "gold", .points = points, .count = n}}};
    if (n > 1) report_draw(out, &chart, "one point an iteration; gold that falls while the proxy still rises is over-optimisation");
}

// PPO learns from all answers.
static void answers_chart(Html *out, const RunFiles *files, ChartPoint *points)
{
    size_t n = 0;
    for (size_t i = 0; i < files->row_count; i++)
        if (files->rows[i].trained) points[n++] = bare_point((double)files->rows[i].iteration, files->rows[i].stage_reward);
    Chart chart = {.id = "chart-stage", .title = "Answers to learn from", .x_label = "iteration", .y_label = "mean reward", .decimals = 3,
        .whole_x = true, .series = {{.name = "answers", .points = points, .count = n}}, .series_count = 1};
    if (n) report_draw(out, &chart, "mean reward in the stage that led to this iteration; PPO learns from all of them");
}

static void stage_chart(Html *out, const RunFiles *files, ChartPoint *points)
{
    ChartPoint *all = points, *kept = points + files->row_count;
    size_t n = 0;
    for (size_t i = 0; i < files->row_count; i++) {
        const IterationRow *row = files->rows + i;
        if (!row->trained) continue;
        all[n] = bare_point((double)row->iteration, row->stage_reward);
        kept[n++] = bare_point((double)row->iteration, row->selected_reward);
    }
    Chart chart = {.id = "chart-stage", .title = "Candidates and what was kept", .x_label = "iteration", .y_label = "mean reward",
        .decimals = 3, .whole_x = true, .series_count = 2,
        .series = {{.name = "all", .points = all, .count = n, .look = 1}, {.name = "kept", .points = kept, .count = n}}};
    if (n) report_draw(out, &chart, "mean reward in the stage that led to this iteration: the gap is what fine-tuning learns from");
}

// What steers PPO, a column of metrics.jsonl each.
static const struct { const char *id, *title, *unit, *note; size_t offset; } ppo_columns[] = {
    {"chart-policy-loss", "Policy loss", "clipped surrogate",
        "falls as tokens with a positive advantage become likelier", offsetof(IterationRow, policy_loss)},
    {"chart-value-loss", "Value loss", "half squared error",
        "how badly the value head foresees what is still to come", offsetof(IterationRow, value_loss)},
    {"chart-clipped", "Clipped", "share of tokens",
        "whose probability had changed by more than ε, so that they taught nothing", offsetof(IterationRow, clipped)},
    {"chart-kl-coef", "KL coefficient", "β",
        "the price of a nat of distance; steered towards a target where one is set", offsetof(IterationRow, kl_coef)},
};
enum { PPO_DECIMALS = 4 };

static double ppo_value(const IterationRow *row, size_t column)
{
    return *(const double *)(const void *)((const char *)row + ppo_columns[column].offset);
}

static void ppo_charts(Html *out, const RunFiles *files, ChartPoint *points)
{
    for (size_t c = 0; c < sizeof ppo_columns / sizeof *ppo_columns; c++) {
        size_t n = 0;
        for (size_t i = 0; i < files->row_count; i++)
            if (files->rows[i].ppo) points[n++] = bare_point((double)files->rows[i].iteration, ppo_value(files->rows + i, c));
        Chart chart = {.id = ppo_columns[c].id, .title = ppo_columns[c].title, .x_label = "iteration", .y_label = ppo_columns[c].unit,
            .decimals = PPO_DECIMALS, .whole_x = true, .series = {{.name = ppo_columns[c].title, .points = points, .count = n}},
            .series_count = 1};
        if (n) report_draw(out, &chart, ppo_columns[c].note);
    }
}

static void loss_chart(Html *out, const RunFiles *files, ChartPoint *points)
{
    size_t n = 0;
    for (size_t i = 0; i < files->row_count; i++)
        if (files->rows[i].trained) points[n++] = bare_point((double)files->rows[i].iteration, files->rows[i].loss);
    Chart chart = {.id = "chart-loss", .title = "Fine-tuning loss", .x_label = "iteration", .y_label = "nats per token",
        .decimals = 3, .whole_x = true, .series = {{.name = "loss", .points = points, .count = n}}, .series_count = 1};
    double replay;
    bool replayed = run_number(files, "replay", &replay) && replay > 0;
    if (n) report_draw(out, &chart, replayed ? "cross-entropy of the kept answers, and of the texts read beside them, in the training that led to this iteration" :
        "cross-entropy of the kept answers in the training that led to this iteration");
}

void report_charts(Html *out, const RunFiles *files)
{
    bool ppo = report_is_ppo(files);
    html_section(out, "charts", "What changed");
    if (!files->row_count) {
        html_missing(out, "This run holds no iterations (lines of metrics.jsonl with <code>iteration</code>).");
        return;
    }
    ChartPoint *points = mem_new(out->err, 2 * files->row_count, sizeof *points);
    if (!points) {
        out->text.failed = true;
        return;
    }
    html_puts(out, "<p>Iteration 0 is the model before alignment. Shaded: 95 % intervals. Every value stands in the\n"
        "<a href=\"#table\">table</a> below.</p>\n<div class=\"grid\">\n");
    for (size_t m = 0; m < MEASURES; m++) {
        if (measure_specs[m].title) measure_chart(out, files, m, points);
        if (m == MEASURE_POSITIVE) path_chart(out, files, points);
        if (m != MEASURE_KL) continue;
        if (ppo) answers_chart(out, files, points), ppo_charts(out, files, points);
        else stage_chart(out, files, points), loss_chart(out, files, points);
    }
    html_puts(out, "</div>\n</section>\n");
    mem_free(points);
}

// ---- the table ------------------------------------------------------------------------------------------------------------

void report_measure_cell(Html *out, const Measure *m, int decimals)
{
    html_puts(out, "<td class=\"n\">");
    if (m->n) html_number(out, m->mean, decimals), html_puts(out, " "), report_interval(out, m, decimals);
    else html_puts(out, "<span class=\"hidden\">not measured</span>–");
    html_puts(out, "</td>");
}

static void iteration_name(Html *out, const IterationRow *row)
{
    html_printf(out, "<tr><th scope=\"row\">%zu</th>", row->iteration);
}

static void measure_table(Html *out, const RunFiles *files, const char *id, const char *caption, size_t from, size_t to)
{
    html_table(out, id, "measures", caption);
    html_puts(out, "<thead><tr><th scope=\"col\">iteration</th>");
    for (size_t m = from; m < to; m++)
        if (is_measured(files, m)) html_printf(out, "<th scope=\"col\" class=\"n\">%s</th>", measure_specs[m].heading);
    html_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < files->row_count; i++) {
        iteration_name(out, files->rows + i);
        for (size_t m = from; m < to; m++)
            if (is_measured(files, m)) report_measure_cell(out, &files->rows[i].measures[m], measure_specs[m].decimals);
        html_puts(out, "</tr>\n");
    }
    html_table_end(out);
}

static void stage_table(Html *out, const RunFiles *files)
{
    const char *const columns[] = {"iteration", ">candidates", ">kept", ">mean reward of the candidates", ">of the kept ones", ">loss, nats per token", ">KL, nats an answer"};
    size_t column_count = sizeof columns / sizeof *columns, asked = 0;
    for (size_t i = 0; i < files->row_count; i++) asked += files->rows[i].has_stage_kl;
    html_table(out, "stages", "measures", "The stage that led to each iteration");
    html_columns(out, columns, asked ? column_count : column_count - 1);
    for (size_t i = 0; i < files->row_count; i++) {
        const IterationRow *row = files->rows + i;
        if (!row->trained) continue;
        const double counts[] = {(double)row->candidates, (double)row->selected};
        const double means[] = {row->stage_reward, row->selected_reward, row->loss};
        iteration_name(out, row);
        for (size_t j = 0; j < 2; j++) html_cell(out, counts[j], 0);
        for (size_t j = 0; j < 3; j++) html_cell(out, means[j], 3);
        if (row->has_stage_kl) html_cell(out, row->stage_kl, 3);
        else if (asked) html_puts(out, "<td></td>");
        html_puts(out, "</tr>\n");
    }
    html_table_end(out);
}

static void ppo_table(Html *out, const RunFiles *files)
{
    const char *const columns[] = {"iteration", ">answers", ">their mean reward", ">KL, nats an answer", ">policy loss", ">value loss", ">clipped", ">β"};
    html_table(out, "stages", "measures", "The stage that led to each iteration");
    html_columns(out, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < files->row_count; i++) {
        const IterationRow *row = files->rows + i;
        if (!row->ppo) continue;
        iteration_name(out, row);
        html_cell(out, (double)row->candidates, 0);
        html_cell(out, row->stage_reward, 3), html_cell(out, row->stage_kl, 3);
        for (size_t c = 0; c < sizeof ppo_columns / sizeof *ppo_columns; c++) html_cell(out, ppo_value(row, c), PPO_DECIMALS);
        html_puts(out, "</tr>\n");
    }
    html_table_end(out);
}

void report_table(Html *out, const RunFiles *files)
{
    bool more = false, trained = false;
    for (size_t m = MAIN_MEASURES; m < MEASURES; m++) more |= is_measured(files, m);
    for (size_t i = 0; i < files->row_count; i++) trained |= files->rows[i].trained;
    if (!files->row_count) return;
    html_section(out, "table", "Iteration by iteration");
    measure_table(out, files, "measures", "Measures of the model after each iteration, with 95 % intervals", 0, MAIN_MEASURES);
    if (files->rows[0].samples) {
        html_puts(out, "<p class=\"note\">From ");
        html_number(out, (double)files->rows[0].samples, 0);
        html_puts(out, " answers an iteration. KL in nats per answer; lengths in tokens.</p>\n");
    }
    if (more || trained) html_puts(out, "<details><summary>Further measures, and the stages</summary>\n");
    if (more) measure_table(out, files, "further", "Further measures, with 95 % intervals", MAIN_MEASURES, MEASURES);
    if (trained && report_is_ppo(files)) ppo_table(out, files);
    else if (trained) stage_table(out, files);
    if (more || trained) html_puts(out, "</details>\n");
    html_puts(out, "</section>\n");
}

// ---- training ------------------------------------------------------------------------------------------------------

void report_training(Html *out, const RunFiles *files)
{
    html_section(out, "training", "Training loss");
    if (!files->curve_count) {
        html_missing(out, "This run recorded no training steps (lines of metrics.jsonl with <code>stage</code> and\n"
            "<code>step</code>).");
        return;
    }
    html_puts(out, "<p>The loss of single steps: it is noisy, batch by batch.</p>\n<div class=\"grid\">\n");
    for (size_t i = 0; i < files->curve_count; i++) {
        const Curve *curve = files->curves + i;
        char id[32];
        snprintf(id, sizeof id, "curve-%zu", i);
        Chart chart = {.id = id, .title = curve->stage, .x_label = "step", .y_label = "loss", .decimals = 3, .whole_x = true,
            .series = {{.name = "loss", .points = curve->points, .count = curve->count}}, .series_count = 1};
        report_draw(out, &chart, NULL);
    }
    html_puts(out, "</div>\n</section>\n");
}
