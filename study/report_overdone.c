// SPDX-License-Identifier: MIT
/* report_overdone.c - over-optimisation: the reward that is ranked by beside the one that is only measured, over the distance from
 * the start; which checkpoint was the best, and where a monitor (study/monitors.h) fires. Start reading at report_overdone. */
#include "study/arms-internal.h"
#include "study/monitors.h"

#include <stdio.h>
#include <string.h>

enum { GOLD_FALLS, DIVERSITY_FALLS, WATCHED };
static const char *const watch_names[WATCHED] = {"gold-falls", "diversity-falls"};

// Indices into the rows; -1: it did not fire.
typedef struct { long best, fired[WATCHED]; } Judgement;

static Evaluation evaluation_of(const IterationRow *row)
{
    return (Evaluation){.reward = row->measures[MEASURE_REWARD], .gold = row->measures[MEASURE_GOLD], .kl = row->measures[MEASURE_KL],
        .distinct_2 = row->measures[MEASURE_DISTINCT_2]};
}

// As `--stop-when` would have judged, each monitor alone, over the iterations that were measured.
static Judgement judge(const IterationRow *const *rows, size_t n)
{
    Monitors none = {0}, watched[WATCHED] = {{.gold_falls = true}, {.diversity_share = 0.1}};
    Judgement j = {.best = -1, .fired = {-1, -1}};
    for (size_t i = 0; i < n; i++) {
        Evaluation e = evaluation_of(rows[i]);
        if (monitors_see(&none, &e, rows[i]->iteration).best) j.best = (long)i;
        for (size_t w = 0; w < WATCHED; w++)
            if (j.fired[w] < 0 && monitors_see(watched + w, &e, rows[i]->iteration).why) j.fired[w] = (long)i;
    }
    return j;
}

// Marks at one place share a line. names [1 + WATCHED]
static size_t make_marks(ChartMark *marks, char names[][80], const Judgement *j, const IterationRow *const *rows)
{
    size_t n = 0;
    long at[] = {j->best, j->fired[GOLD_FALLS], j->fired[DIVERSITY_FALLS]};
    const char *const what[] = {"best by gold", watch_names[GOLD_FALLS], watch_names[DIVERSITY_FALLS]};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        bool first = at[i] >= 0;
        for (size_t before = 0; before < i; before++) first &= at[before] != at[i];
        if (!first) continue;
        snprintf(names[n], 80, "%s", what[i]);
        for (size_t after = i + 1; after < sizeof at / sizeof *at; after++)
            if (at[after] == at[i]) snprintf(names[n] + strlen(names[n]), 80 - strlen(names[n]), ", %s", what[after]);
        marks[n] = (ChartMark){rows[at[i]]->measures[MEASURE_KL].mean, names[n]};
        n++;
    }
    return n;
}

static double bounded(double value) { return value > 1e100 ? 1e100 : value < -1e100 ? -1e100 : value; } // differences stay finite

static ChartPoint change(const IterationRow *row, const IterationRow *first, size_t measure)
{
    const Measure *m = &row->measures[measure];
    double start = bounded(first->measures[measure].mean);
    return (ChartPoint){row->measures[MEASURE_KL].mean, bounded(m->mean) - start, bounded(m->lo) - start, bounded(m->hi) - start};
}

static void overdone_chart(Html *out, const char *id, const char *title, const IterationRow *const *rows, size_t n, const Judgement *j)
{
    ChartMark marks[1 + WATCHED];
    char names[1 + WATCHED][80];
    ChartPoint *points = mem_new(out->err, 2 * n, sizeof *points);
    if (!points) {
        out->text.failed = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        points[i] = change(rows[i], rows[0], MEASURE_REWARD);
        points[n + i] = change(rows[i], rows[0], MEASURE_GOLD);
    }
    Chart chart = {.id = id, .title = title, .x_label = "KL to the start, nats per answer", .y_label = "change since the start",
        .decimals = 3, .path = true, .cut = true, .from_x_zero = true, .marks = marks,
        .mark_count = make_marks(marks, names, j, rows), .series_count = 2,
        .series = {{.name = "proxy", .points = points, .count = n},
            {.name = "gold", .points = points + n, .count = n, .look = 1}}};
    report_draw(out, &chart, NULL);
    mem_free(points);
}

static bool is_judged(const IterationRow *row)
{
    return row->measures[MEASURE_REWARD].n && row->measures[MEASURE_GOLD].n && row->measures[MEASURE_KL].n;
}

static void explain(Html *out)
{
    html_puts(out, "<p>The proxy is what is optimised; gold, another judge trained on other texts, is only asked. Where gold turns back "
        "while the\n"
        "proxy still rises, answers please the proxy and no longer mean what it was to stand for. The further from the start (KL), the\n"
        "more room there is for that. Upright: the checkpoint that gold likes best, and where <code>--stop-when gold-falls</code> (gold\n"
        "below the lower end of the interval of its best) or <code>diversity-falls</code> (distinct-2 a tenth below the start’s) would\n"
        "have stopped.</p>\n");
}

// ---- one run -------------------------------------------------------------------------------------------------------------------

static void say_judgement(Html *out, const IterationRow *const *rows, size_t n, const Judgement *j)
{
    html_printf(out, "<p>Best by gold: the model after iteration %zu of %zu.", rows[j->best]->iteration, rows[n - 1]->iteration);
    for (size_t w = 0; w < WATCHED; w++) {
        if (j->fired[w] < 0) html_printf(out, " <code>%s</code> would not have fired.", watch_names[w]);
        else html_printf(out, " <code>%s</code> would have stopped after iteration %zu.", watch_names[w], rows[j->fired[w]]->iteration);
    }
    if (rows[n - 1]->stopped[0]) {
        html_printf(out, " The run was stopped after iteration %zu by <code>", rows[n - 1]->iteration);
        html_string(out, rows[n - 1]->stopped);
        html_puts(out, "</code>.");
    }
    html_puts(out, "</p>\n");
}

void report_overdone(Html *out, const RunFiles *files)
{
    size_t n = 0;
    const IterationRow **rows = mem_new(out->err, files->row_count, sizeof *rows);
    if (!rows) {
        out->text.failed = true;
        return;
    }
    for (size_t i = 0; i < files->row_count; i++)
        if (is_judged(files->rows + i)) rows[n++] = files->rows + i;
    html_section(out, "overdone", "Over-optimisation: does gold follow the proxy?");
    if (n < 2) html_missing(out, "This run measured no gold beside its reward, so nothing tells.");
    else {
        Judgement j = judge(rows, n);
        explain(out);
        html_puts(out, "<div class=\"grid large\">\n");
        overdone_chart(out, "chart-overdone", "Proxy and gold over KL", rows, n, &j);
        html_puts(out, "</div>\n");
        say_judgement(out, rows, n, &j);
        html_puts(out, "</section>\n");
    }
    mem_free(rows);
}

// ---- arms ----------------------------------------------------------------------------------------------------------------------

typedef struct { const Arm *arm; const IterationRow **rows; size_t n; Judgement judgement; } Judged;

// n == 0: nothing to judge by. rows: room for the arm's points
static void judge_arm(Judged *judged, const Arm *arm, const IterationRow **rows)
{
    *judged = (Judged){.arm = arm, .rows = rows};
    for (size_t i = 0; i < arm->point_count; i++)
        if (is_judged(&arm->points[i].mean)) rows[judged->n++] = &arm->points[i].mean;
    if (judged->n < 2) judged->n = 0;
    else judged->judgement = judge(rows, judged->n);
}

static void fired_cell(Html *out, const Judged *d, size_t which)
{
    long at = d->judgement.fired[which];
    if (at < 0) html_puts(out, "<td class=\"n\"><span class=\"hidden\">never</span>–</td>");
    else html_cell(out, (double)d->rows[at]->iteration, 0);
}

static void judged_row(Html *out, const Judged *d)
{
    const IterationRow *best = d->rows[d->judgement.best], *end = d->rows[d->n - 1];
    html_row_name(out, d->arm->name);
    html_cell(out, (double)best->iteration, 0);
    html_cell(out, best->measures[MEASURE_KL].mean, 2);
    report_measure_cell(out, &best->measures[MEASURE_GOLD], 3);
    html_cell(out, (double)end->iteration, 0);
    report_measure_cell(out, &end->measures[MEASURE_GOLD], 3);
    for (size_t w = 0; w < WATCHED; w++) fired_cell(out, d, w);
    html_puts(out, "</tr>\n");
}

static void judged_table(Html *out, const Judged *list, size_t count)
{
    const char *const columns[] = {"arm", ">best iteration", ">its KL, nats", ">gold there", ">last iteration", ">gold at the end", ">gold-falls after",
        ">diversity-falls after"};
    html_table(out, "judged", "measures", "Best checkpoint, last one, and when a monitor fires");
    html_columns(out, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < count; i++)
        if (list[i].n) judged_row(out, list + i);
    html_table_end(out);
}

static void judged_charts(Html *out, const Judged *list, size_t count)
{
    html_puts(out, "<div class=\"grid\">\n");
    for (size_t i = 0; i < count; i++) {
        char id[40];
        snprintf(id, sizeof id, "overdone-%zu", i);
        if (list[i].n) overdone_chart(out, id, list[i].arm->name, list[i].rows, list[i].n, &list[i].judgement);
    }
    html_puts(out, "</div>\n");
}

void arms_overdone(Html *out, const Arms *arms)
{
    size_t room = 0, used = 0, judged = 0;
    for (size_t a = 0; a < arms->count; a++) room += arms->arms[a].point_count;
    const IterationRow **rows = mem_new(out->err, room, sizeof *rows);
    Judged *list = rows ? mem_new(out->err, arms->count, sizeof *list) : NULL;
    for (size_t a = 0; list && a < arms->count; used += arms->arms[a++].point_count) {
        judge_arm(list + a, arms->arms + a, rows + used);
        judged += list[a].n > 0;
    }
    html_section(out, "overdone", "Over-optimisation: does gold follow the proxy?");
    if (!list) out->text.failed = true;
    else if (!judged) html_missing(out, "No arm measured gold beside its reward, iteration by iteration, so nothing tells.");
    else {
        explain(out);
        judged_charts(out, list, arms->count);
        judged_table(out, list, arms->count);
        html_puts(out, "</section>\n");
    }
    mem_free(list);
    mem_free(rows);
}
