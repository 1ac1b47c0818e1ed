// SPDX-License-Identifier: MIT
/* report_frontier.c - several arms in one chart: reward against what it costs (KL, perplexity), and what was reached by when. Each
 * arm has the same colour and shape in all charts of the page. Start reading at arms_chart. */
#include "study/arms-internal.h"


#include <string.h>

typedef enum { X_KL, X_PERPLEXITY, X_GENERATED, X_SECONDS } XKind;

typedef struct {
    const char *id, *title, *x_label, *note;
    XKind x;
    size_t y;           // a measure
    bool frontier;      // arms without a curve are points
} View;

// ---- where a point lies ----------------------------------------------------------------------------------------------------

static bool x_of_point(double *x, XKind kind, const Arm *arm, const ArmPoint *p)
{
    const Measure *m = &p->mean.measures[kind == X_PERPLEXITY ? MEASURE_PERPLEXITY : MEASURE_KL];
    *x = kind == X_GENERATED ? p->generated : kind == X_SECONDS ? p->seconds : m->mean;
    return kind == X_GENERATED ? p->counted : kind == X_SECONDS ? p->timed : m->n && (kind != X_KL || !arm->tempered);
}

/* The best of K answers of a model has another distribution q than the model's p, and log q/p is known when no two answers tie:
 * E_q log q/p0 = log K - (K-1)/K + E_q log p/p0, of which the last is measured (0 when p is p0). */
Measure arm_kl(const Arm *arm)
{
    Measure m = arm->end.measures[MEASURE_KL];
    bool best_of = !strcmp(arm->kind, "best-of");
    if (arm->tempered || (best_of && !arm->K)) return (Measure){0};
    double choosing = best_of ? report_best_of_kl(arm->K) : 0;
    return (Measure){.mean = m.mean + choosing, .lo = m.lo + choosing, .hi = m.hi + choosing, .n = m.n};
}

static bool x_of_end(double *x, const View *view, const Arm *arm)
{
    Measure m = view->x == X_KL ? arm_kl(arm) : arm->end.measures[MEASURE_PERPLEXITY];
    *x = m.mean;
    return m.n > 0;
}

static void add_point(ChartPoint *points, size_t *count, double x, const Measure *y)
{
    if (y->n) points[(*count)++] = (ChartPoint){x, y->mean, y->lo, y->hi};
}

// points holds at least as many as the arm has, or one.
static size_t fill_points(ChartPoint *points, const View *view, const Arm *arm)
{
    size_t n = 0;
    double x;
    for (size_t i = 0; i < arm->point_count; i++)
        if (x_of_point(&x, view->x, arm, arm->points + i)) add_point(points, &n, x, &arm->points[i].mean.measures[view->y]);
    if (!arm->point_count && view->frontier && x_of_end(&x, view, arm)) add_point(points, &n, x, &arm->end.measures[view->y]);
    return n;
}

// ---- a chart --------------------------------------------------------------------------------------------------------------

static size_t shown_arms(const Arms *arms) { return arms->count < CHART_SERIES ? arms->count : CHART_SERIES; }

static bool arms_chart(Html *out, const Arms *arms, const View *view)
{
    const MeasureSpec *spec = measure_specs + view->y;
    size_t room = 0, used = 0, n = shown_arms(arms);
    for (size_t a = 0; a < n; a++) room += arms->arms[a].point_count + 1;
    ChartPoint *points = mem_new(out->err, room, sizeof *points);
    if (!points) return out->text.failed = true, false;
    Chart chart = {.id = view->id, .title = view->title, .x_label = view->x_label, .y_label = spec->heading, .decimals = spec->decimals,
        .path = view->frontier, .whole_x = !view->frontier, .from_x_zero = view->x != X_PERPLEXITY,
        .unit = spec->unit_range, .no_legend = true, .cut = true, .series_count = n};
    for (size_t a = 0; a < n; a++) {
        size_t count = fill_points(points + used, view, arms->arms + a);
        chart.series[a] = (ChartSeries){.name = arms->arms[a].name, .points = points + used, .count = count, .look = a};
        used += count;
    }
    if (used > 1) report_draw(out, &chart, view->note);
    mem_free(points);
    return used > 1;
}

// curves: of the arms that have one
static void legend(Html *out, const Arms *arms, bool curves)
{
    ChartSeries series[CHART_SERIES];
    size_t n = shown_arms(arms);
    for (size_t a = 0; a < n; a++)
        series[a] = (ChartSeries){.name = arms->arms[a].name, .count = !curves || arms->arms[a].point_count, .look = a};
    chart_legend(out, series, n);
    if (n < arms->count) html_printf(out, "<p class=\"note\">The charts show the first %zu of %zu arms.</p>\n", n, arms->count);
}

static void draw_views(Html *out, const Arms *arms, const View *views, size_t count, const char *missing)
{
    size_t drawn = 0;
    html_puts(out, "<div class=\"grid large\">\n");
    for (size_t i = 0; i < count; i++)
        if (arms_measured(arms, views[i].y)) drawn += arms_chart(out, arms, views + i);
    html_puts(out, "</div>\n");
    if (!drawn) html_puts(out, missing);
}

// ---- at the same cost -------------------------------------------------------------------------------------------------------

typedef struct { const char *place, *unit; XKind x; size_t y; int decimals; } EqualCost;

// How far an arm's curve goes; false without one.
static bool reach(double *most, const Arm *arm, XKind kind)
{
    double x;
    bool any = false;
    for (size_t i = 0; i < arm->point_count; i++)
        if (x_of_point(&x, kind, arm, arm->points + i) && (!any || x > *most)) *most = x, any = true;
    return any && arm->point_count > 1;
}

// As far as all arms with a curve went; false when fewer than two have one.
static bool common_reach(double *x, const Arms *arms, XKind kind)
{
    size_t n = 0;
    for (size_t a = 0; a < arms->count; a++) {
        double most = 0;
        if (!reach(&most, arms->arms + a, kind)) continue;
        if (!n++ || most < *x) *x = most;
    }
    return n > 1 && *x > 0;
}

// The measure where the curve first passes x, in proportion between two points; n == 0: it does not.
static Measure read_off(const Arm *arm, XKind kind, size_t measure, double x)
{
    for (size_t i = 1; i < arm->point_count; i++) {
        const Measure *a = &arm->points[i - 1].mean.measures[measure], *b = &arm->points[i].mean.measures[measure];
        double from, to;
        if (!x_of_point(&from, kind, arm, arm->points + i - 1) || !x_of_point(&to, kind, arm, arm->points + i) || !a->n || !b->n) continue;
        if ((from > x && to > x) || (from < x && to < x)) continue;
        return metric_between(a, b, to != from ? (x - from) / (to - from) : 1);
    }
    return (Measure){0};
}

static void equal_heading(Html *out, const EqualCost *cost, double x)
{
    html_printf(out, "<th scope=\"col\" class=\"n\">%s %s ", measure_specs[cost->y].heading, cost->place);
    if (cost->x == X_SECONDS) report_duration(out, x);
    else html_number(out, x, cost->decimals);
    html_printf(out, "%s</th>", cost->unit);
}

static void equal_row(Html *out, const Arm *arm, const EqualCost *costs, const double *x, const bool *known, size_t count)
{
    double ignored;
    if (!reach(&ignored, arm, X_KL) && !reach(&ignored, arm, X_GENERATED)) return;
    html_row_name(out, arm->name);
    for (size_t c = 0; c < count; c++) {
        Measure m = read_off(arm, costs[c].x, costs[c].y, x[c]);
        if (known[c]) report_measure_cell(out, &m, measure_specs[costs[c].y].decimals);
    }
    html_puts(out, "</tr>\n");
}

static void equal_costs(Html *out, const Arms *arms)
{
    size_t judge = arms_gold(arms), any = 0;
    const EqualCost costs[] = {
        {"at a KL of", " nats", X_KL, judge, 2}, {"at a perplexity of", "", X_PERPLEXITY, judge, 2},
        {"after", " tokens", X_GENERATED, judge, 0}, {"after", " tokens", X_GENERATED, MEASURE_PERPLEXITY, 0},
        {"after", "", X_SECONDS, judge, 0},
    };
    enum { COSTS = sizeof costs / sizeof *costs };
    double x[COSTS] = {0};
    bool known[COSTS];
    for (size_t c = 0; c < COSTS; c++) any += known[c] = common_reach(&x[c], arms, costs[c].x) && arms_measured(arms, costs[c].y);
    if (!any) return;
    html_puts(out, "<h3>At the same cost</h3>\n<p>An arm that went on for longer, or went further, is not the better one for it. Here\n"
        "each is read off its curve at the largest KL, perplexity, number of tokens and of seconds that all of them reached; between two "
        "measured iterations in "
        "proportion.</p>\n");
    html_table(out, "equal", "measures arms", "What each arm had come to when it had cost the same");
    html_puts(out, "<thead><tr><th scope=\"col\">arm</th>");
    for (size_t c = 0; c < COSTS; c++)
        if (known[c]) equal_heading(out, costs + c, x[c]);
    html_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t a = 0; a < arms->count; a++) equal_row(out, arms->arms + a, costs, x, known, COSTS);
    html_table_end(out);
}

// ---- sections --------------------------------------------------------------------------------------------------------------

void arms_frontiers(Html *out, const Arms *arms)
{
    size_t gold = arms_gold(arms);
    const View views[] = {
        {"frontier-kl", gold == MEASURE_GOLD ? "Gold reward against KL" : "Reward against KL", "KL to the start, nats per answer",
            "further left is closer to the model it started from, higher is better; best-of-K stands log K − (K−1)/K further than its model", X_KL, gold, true},
        {"frontier-perplexity", "Reward against held-out perplexity", "perplexity of human text",
            "further left has lost less of the language; the reward is the one that was optimised", X_PERPLEXITY, MEASURE_REWARD, true},
        {"frontier-gold", "Gold against held-out perplexity", "perplexity of human text",
            "the same with the reward that was only measured", X_PERPLEXITY, MEASURE_GOLD, true},
        {"frontier-diversity", "Diversity against KL", "KL to the start, nats per answer",
            "distinct-2: a model that says the same again and again falls", X_KL, MEASURE_DISTINCT_2, true},
    };
    html_section(out, "frontier", "What a better reward costs");
    html_puts(out, "<p>Each arm is a curve: the model after each measured iteration, from the start outwards. An arm that is better lies\n"
        "higher at the same place on the horizontal axis. Upright bars are 95&#8239;% intervals, cut at the frame where they would dwarf "
        "the curves.</p>\n");
    legend(out, arms, false);
    draw_views(out, arms, views, sizeof views / sizeof *views, "<p class=\"missing\">The arms measured no KL and no perplexity.</p>\n");
    equal_costs(out, arms);
    html_puts(out, "</section>\n");
}

static void points_row(Html *out, const Arms *arms, const Arm *arm, const ArmPoint *p)
{
    const bool known[] = {p->counted, p->timed};
    const double costs[] = {p->generated, p->seconds};
    html_puts(out, "<tr><th scope=\"row\">"), html_string(out, arm->name), html_printf(out, ", %zu</th>", p->mean.iteration);
    for (size_t i = 0; i < 2; i++) {
        if (known[i]) html_cell(out, costs[i], 0);
        else html_puts(out, "<td class=\"n\"><span class=\"hidden\">not told</span>–</td>");
    }
    for (size_t m = 0; m < MAIN_MEASURES; m++)
        if (arms_measured(arms, m)) report_measure_cell(out, &p->mean.measures[m], measure_specs[m].decimals);
    html_puts(out, "</tr>\n");
}

// What the curves show, to be read without a pointer and on paper.
static void points_table(Html *out, const Arms *arms)
{
    size_t points = 0;
    for (size_t a = 0; a < arms->count; a++) points += arms->arms[a].point_count;
    if (!points) return;
    html_puts(out, "<details><summary>The figures of the curves</summary>\n");
    html_table(out, "points", "measures", "Each arm after each measured iteration, means over seeds");
    html_puts(out, "<thead><tr><th scope=\"col\">arm, iteration</th><th scope=\"col\" class=\"n\">tokens generated</th><th scope=\"col\" class=\"n\">seconds</th>");
    for (size_t m = 0; m < MAIN_MEASURES; m++)
        if (arms_measured(arms, m)) html_printf(out, "<th scope=\"col\" class=\"n\">%s</th>", measure_specs[m].heading);
    html_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t a = 0; a < arms->count; a++)
        for (size_t i = 0; i < arms->arms[a].point_count; i++) points_row(out, arms, arms->arms + a, arms->arms[a].points + i);
    html_table_end(out);
    html_puts(out, "</details>\n");
}

void arms_curves(Html *out, const Arms *arms)
{
    const View views[] = {
        {"learn-reward", "Reward", "tokens generated", "the reward that is optimised (the proxy)", X_GENERATED, MEASURE_REWARD, false},
        {"learn-gold", "Gold reward", "tokens generated", "the reward that is only measured", X_GENERATED, MEASURE_GOLD, false},
        {"learn-positive", "Positive answers", "tokens generated", "share of answers with a score above zero, by gold where there is one",
            X_GENERATED, MEASURE_POSITIVE, false},
        {"learn-perplexity", "Held-out perplexity", "tokens generated", "of human texts; a rise is what alignment costs", X_GENERATED,
            MEASURE_PERPLEXITY, false},
        {"learn-kl", "Distance from the start", "tokens generated", "KL in nats per answer", X_GENERATED, MEASURE_KL, false},
        {"learn-distinct", "Diversity", "tokens generated", "distinct-2", X_GENERATED, MEASURE_DISTINCT_2, false},
        {"time-gold", arms_gold(arms) == MEASURE_GOLD ? "Gold reward by the clock" : "Reward by the clock", "seconds",
            "seconds of sampling, ranking and learning on the machine of the run, measuring not counted", X_SECONDS, arms_gold(arms), false},
        {"time-perplexity", "Held-out perplexity by the clock", "seconds", "the same seconds", X_SECONDS, MEASURE_PERPLEXITY, false},
    };
    html_section(out, "curves", "What was reached by when");
    html_puts(out, "<p>Over the tokens that an arm drew from its model to learn from, and over seconds. Shaded: 95&#8239;% intervals,\n"
        "cut at the frame where they would dwarf the curves. Arms that\n"
        "generate nothing while they are made are not here.</p>\n");
    legend(out, arms, true);
    draw_views(out, arms, views, sizeof views / sizeof *views, "<p class=\"missing\">No arm kept its iterations "
        "(iter_*/candidates.jsonl, timing.jsonl).</p>\n");
    points_table(out, arms);
    html_puts(out, "</section>\n");
}
