// SPDX-License-Identifier: MIT
/* report_bound.c - what choosing the best of k answers gives, measured on a stage's candidates, beside what it can give at most.
 * Start reading at report_bound. */
#include "study/report-internal.h"

#include "kernels/hostmath.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SAMPLES = 256 };

typedef struct {
    size_t K, slots;             // every prompt counted has K answers of the policy at least
    ChartPoint *measured, *range, *normal; // [K] E max_k r; the bounds
    float *values;               // [slots, K] each prompt's estimates
    double width, sd;            // B: all rewards lie so far apart at most; standard deviation within a prompt
} Bound;

static void bound_free(Bound *b)
{
    void *owned[] = {b->measured, b->range, b->normal, b->values};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) mem_free(owned[i]);
}

// ---- a prompt's candidates --------------------------------------------------------------------------------------------------

// The policy's own rewards for the prompt at *at, ascending; *at moves to the next prompt.
static int ascending(const void *left, const void *right)
{
    float a = *(const float *)left, b = *(const float *)right;
    return a < b ? -1 : a > b;
}

static size_t take_prompt(float *rewards, const RankedStage *s, size_t *at)
{
    size_t n = 0;
    for (uint32_t slot = s->slot[*at]; *at < s->count && s->slot[*at] == slot; ++*at)
        if (s->own[*at]) rewards[n++] = s->rewards[*at];
    qsort(rewards, n, sizeof *rewards, ascending);
    return n;
}

// The mean of the maximum over all subsets of k of n values: the i-th smallest (from 1) is the maximum of C(i-1, k-1) of C(n, k).
static double mean_maximum(const float *ascending_values, size_t n, size_t k)
{
    double weight = (double)k / (double)n, sum = 0;
    for (size_t i = n; i >= k; i--) {
        sum += weight * (double)ascending_values[i - 1];
        if (i > k) weight *= (double)(i - k) / (double)(i - 1);
    }
    return sum;
}

static double squares(const float *values, size_t n)
{
    double mean = 0, sum = 0;
    for (size_t i = 0; i < n; i++) mean += (double)values[i] / (double)n;
    for (size_t i = 0; i < n; i++) sum += ((double)values[i] - mean) * ((double)values[i] - mean);
    return sum;
}

// ---- all prompts of a stage ------------------------------------------------------------------------------------------------

// The fewest answers that a prompt has, so that every k is measured on the same prompts.
static size_t fewest_answers(const RankedStage *s, size_t *prompts)
{
    size_t fewest = SIZE_MAX, n = 0;
    *prompts = 0;
    for (size_t i = 0; i < s->count; i++) {
        n += s->own[i];
        if (i + 1 < s->count && s->slot[i + 1] == s->slot[i]) continue;
        if (n < fewest) fewest = n;
        n = 0;
        ++*prompts;
    }
    return fewest < MOST_SAMPLES ? fewest : MOST_SAMPLES;
}

// values[slot, k - 1], width and sd
static int measure_prompts(Bound *b, const RankedStage *s, Err *err)
{
    float *rewards = mem_new(err, s->count, sizeof *rewards), low = 0, high = 0;
    double sum = 0, freedom = 0;
    if (!rewards) return -1;
    for (size_t at = 0, slot = 0; at < s->count; slot++) {
        size_t n = take_prompt(rewards, s, &at);
        for (size_t k = 1; k <= b->K; k++) b->values[slot * b->K + k - 1] = (float)mean_maximum(rewards, n, k);
        sum += squares(rewards, n);
        freedom += (double)(n - 1);
        if (!slot || rewards[0] < low) low = rewards[0];
        if (!slot || rewards[n - 1] > high) high = rewards[n - 1];
    }
    b->width = (double)high - (double)low;
    b->sd = freedom > 0 ? host_sqrt(sum / freedom) : 0;
    mem_free(rewards);
    return 0;
}

static int join_prompts(Bound *b, Err *err)
{
    float *column = mem_new(err, b->slots, sizeof *column);
    if (!column) return -1;
    for (size_t k = 1; k <= b->K; k++) {
        for (size_t i = 0; i < b->slots; i++) column[i] = b->values[i * b->K + k - 1];
        Measure m = metric_mean(column, b->slots);
        double x = (double)k, root = host_sqrt(host_log(x)), one = k == 1 ? m.mean : b->measured[0].y;
        double most = one + b->width * host_sqrt(0.5) * root, normal = one + b->sd * host_sqrt(2) * root;
        b->measured[k - 1] = (ChartPoint){x, m.mean, m.lo, m.hi};
        b->range[k - 1] = (ChartPoint){x, most, most, most};
        b->normal[k - 1] = (ChartPoint){x, normal, normal, normal};
    }
    mem_free(column);
    return 0;
}

// K below 2: there was nothing to choose from, and nothing else is set.
static int bound_init(Bound *b, const RankedStage *s, Err *err)
{
    *b = (Bound){0};
    b->K = fewest_answers(s, &b->slots);
    if (b->K < 2) return 0;
    ChartPoint **curves[] = {&b->measured, &b->range, &b->normal};
    for (size_t i = 0; i < 3; i++)
        if (!(*curves[i] = mem_new(err, b->K, sizeof **curves[i]))) return -1;
    size_t cells;
    if (!size_multiply(b->slots, b->K, &cells)) return err_failed(err, "out of memory: %zu prompts with %zu answers", b->slots, b->K);
    if (!(b->values = mem_new(err, cells, sizeof *b->values))) return -1;
    return measure_prompts(b, s, err) || join_prompts(b, err) ? -1 : 0;
}

// ---- the section -----------------------------------------------------------------------------------------------------------

static void bound_chart(Html *out, const Bound *b, size_t iteration)
{
    char id[40], title[64];
    snprintf(id, sizeof id, "bound-%zu", iteration);
    snprintf(title, sizeof title, "Best of k in iteration %zu", iteration);
    Chart chart = {.id = id, .title = title, .x_label = "k", .y_label = "reward", .decimals = 3, .whole_x = true, .no_legend = true,
        .series = {{.name = "E max r, measured", .points = b->measured, .count = b->K},
            {.name = "at most, from the range", .points = b->range, .count = b->K, .look = 1, .bare = true},
            {.name = "for normal rewards", .points = b->normal, .count = b->K, .look = 2, .bare = true}}, .series_count = 3};
    report_draw(out, &chart, NULL);
    chart_legend(out, chart.series, 3);
}

double report_best_of_kl(size_t K) { return host_log((double)K) - (double)(K - 1) / (double)K; }

static void bound_row(Html *out, const Bound *b, size_t k)
{
    const ChartPoint *m = b->measured + k - 1;
    double kl = report_best_of_kl(k);
    Measure measured = {.mean = m->y, .lo = m->lo, .hi = m->hi, .n = 1};
    html_printf(out, "<tr><th scope=\"row\">%zu</th>", k);
    report_measure_cell(out, &measured, 3);
    html_cell(out, b->normal[k - 1].y, 3);
    html_cell(out, b->range[k - 1].y, 3);
    html_cell(out, kl, 2);
    html_puts(out, "</tr>\n");
}

static void bound_table(Html *out, const Bound *b)
{
    const char *const columns[] = {"k", ">mean of the best, measured", ">for normal rewards", ">at most", ">KL of best-of-k, nats"};
    html_table(out, "bound-table", "measures narrow", "The best of k answers in the first iteration");
    html_columns(out, columns, sizeof columns / sizeof *columns);
    for (size_t k = 1; k < b->K; k *= 2) bound_row(out, b, k);
    bound_row(out, b, b->K);
    html_table_end(out);
}

static void explain(Html *out, const Bound *b, const RankedStage *s)
{
    html_puts(out, "<p>Of k answers to a prompt the best has, on average, at least the reward of a single one, and at most so much more:\n"
        "E&#8239;r ≤ E&#8239;max<sub>k</sub>&#8239;r ≤ E&#8239;r + √(B²/2 · log k). The right side holds for independent answers whose "
        "rewards to a prompt lie in an\n"
        "interval of width B: Hoeffding’s lemma makes them sub-Gaussian with variance B²/4. More candidates help, but ever less.</p>\n"
        "<p>B is an assumption here: the scores of a reward head have no limits, so what is drawn takes the width seen among the\n");
    report_count(out, s->count, "candidate");
    html_puts(out, " of the stage, B = ");
    html_number(out, b->width, 2);
    html_puts(out, ", which more candidates could exceed. The lower line puts the standard deviation within a prompt, ");
    html_number(out, b->sd, 2);
    html_puts(out, ", in the place of B/2, as is right for normally distributed rewards; it is a guide, and no bound for others. Measured\n"
        "is the mean, over prompts, of the maximum over all subsets of k of a prompt’s answers, which is unbiased.</p>\n");
}

// What the model would have learned had it learned the choice exactly.
static void compare_kl(Html *out, const RunFiles *files, size_t K)
{
    const IterationRow *row = files->row_count > 1 ? files->rows + 1 : NULL;
    double kl = report_best_of_kl(K);
    html_puts(out, "<p>The distribution of the best of K lies log K − (K−1)/K from the model that gave the answers: for K = ");
    html_printf(out, "%zu that is ", K);
    html_number(out, kl, 2);
    html_puts(out, " nats an answer.");
    if (row && row->measures[MEASURE_KL].n && !report_is_tempered(files)) {
        bool first = row->iteration == 1;
        if (first) html_puts(out, " A model that learned exactly the choice of one iteration would be there; measured after iteration 1: ");
        else html_printf(out, " Measured after %zu iterations, each of which chooses anew: ", row->iteration);
        html_number(out, row->measures[MEASURE_KL].mean, 2);
        html_puts(out, " nats ");
        report_interval(out, &row->measures[MEASURE_KL], 2);
        html_puts(out, !first ? "." : row->measures[MEASURE_KL].mean > kl ? ". What lies beyond is the fine-tuning’s own doing." :
            ". It has learned a part of it.");
    }
    html_puts(out, "</p>\n");
}

// The best of K of what has learned the best of K is the best of K^2: log K^n - (K^n - 1)/K^n after n iterations.
static void kl_table(Html *out, const RunFiles *files, size_t K)
{
    const char *const columns[] = {"iterations", ">KL, had each choice been learned exactly", ">measured"};
    html_table(out, "kl-table", "measures narrow", "How far the model is from its start, in nats an answer; n choices learned exactly: n log K − 1 + 1/Kⁿ");
    html_columns(out, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < files->row_count; i++) {
        const IterationRow *row = files->rows + i;
        double n = (double)row->iteration, log_k = host_log((double)K);
        if (!row->measures[MEASURE_KL].n) continue;
        html_printf(out, "<tr><th scope=\"row\">%zu</th>", row->iteration);
        html_cell(out, n * log_k - 1 + host_exp(-n * log_k), 2);
        report_measure_cell(out, &row->measures[MEASURE_KL], 2);
        html_puts(out, "</tr>\n");
    }
    html_table_end(out);
}

static void draw_bounds(Html *out, const RunFiles *files, Bound *first)
{
    Bound last = {0};
    const RankedStage *end = files->stages + files->stage_count - 1;
    explain(out, first, files->stages);
    html_puts(out, "<div class=\"grid large\">\n<div>\n");
    bound_chart(out, first, files->stages[0].iteration);
    html_puts(out, "</div>\n");
    if (files->stage_count > 1 && bound_init(&last, end, out->err)) out->text.failed = true;
    else if (last.K > 1) html_puts(out, "<div>\n"), bound_chart(out, &last, end->iteration), html_puts(out, "</div>\n");
    html_puts(out, "</div>\n");
    bound_table(out, first);
    if (!report_is_ppo(files)) compare_kl(out, files, first->K);
    if (!report_is_ppo(files) && !report_is_global(files) && !report_is_tempered(files) && files->row_count > 2) kl_table(out, files, first->K);
    bound_free(&last);
}

void report_shown_arm(Html *out, const RunFiles *files)
{
    if (!files->arm) return;
    html_puts(out, "<p class=\"note\">Shown with the candidates of "), html_string(out, files->arm), html_puts(out, ", first seed.</p>\n");
}

void report_bound(Html *out, const RunFiles *files)
{
    Bound first = {0};
    html_section(out, "bound", "What choosing can give");
    report_shown_arm(out, files);
    int status = files->stage_count ? bound_init(&first, files->stages, out->err) : 0;
    if (status) out->text.failed = true;
    else if (first.K > 1) draw_bounds(out, files, &first), html_puts(out, "</section>\n");
    else html_missing(out, files->stage_count ? "Each prompt had one answer of the model: there was nothing to choose from." :
        "This run holds no ranked candidates (iter_000/candidates.jsonl).");
    bound_free(&first);
}
