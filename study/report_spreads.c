// SPDX-License-Identifier: MIT
/* report_spreads.c - how the rewards of the candidates are spread, iteration by iteration. */
#include "study/report-internal.h"

#include <stdio.h>

enum { SHOWN_SPREADS = 12, BINS = 32 };

typedef struct { size_t all[BINS], kept[BINS]; double all_mean, kept_mean; } Binned;

static size_t bin_of(double value, double low, double high)
{
    if (!(low < high)) return BINS / 2;
    double at = (value - low) / (high - low) * BINS;
    return at < 0 ? 0 : at >= BINS ? BINS - 1 : (size_t)at;
}

void report_stage_means(double *all, double *kept, const RankedStage *s)
{
    *all = *kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        *all += (double)s->rewards[i];
        if (s->selected[i]) *kept += (double)s->rewards[i];
    }
    if (s->count) *all /= (double)s->count;
    if (s->kept) *kept /= (double)s->kept;
}

static void fill_bins(Binned *b, const RankedStage *s, double low, double high)
{
    *b = (Binned){0};
    report_stage_means(&b->all_mean, &b->kept_mean, s);
    for (size_t i = 0; i < s->count; i++) {
        double value = (double)s->rewards[i];
        size_t bin = bin_of(value, low, high);
        b->all[bin]++;
        b->kept[bin] += s->selected[i];
    }
}

static void reward_range(double *low, double *high, const RunFiles *files)
{
    bool any = false;
    for (size_t t = 0; t < files->stage_count; t++)
        for (size_t i = 0; i < files->stages[t].count; i++) {
            double value = (double)files->stages[t].rewards[i];
            if (!any || value < *low) *low = value;
            if (!any || value > *high) *high = value;
            any = true;
        }
}

static void draw_spread(Html *out, const RankedStage *s, const Binned *b, size_t most, double low, double high)
{
    char id[32], title[64];
    snprintf(id, sizeof id, "spread-%zu", s->iteration);
    snprintf(title, sizeof title, "Rewards of the candidates of iteration %zu", s->iteration);
    html_printf(out, "<figure class=\"chart\"><figcaption><h3>Iteration %zu</h3></figcaption>\n", s->iteration);
    Histogram h = {.id = id, .title = title, .all_name = "all candidates", .part_name = "kept", .all = b->all, .part = b->kept,
        .bins = BINS, .most = most, .low = low, .high = high, .all_mean = b->all_mean, .part_mean = b->kept_mean,
        .has_part = s->kept > 0 && s->kept < s->count};
    chart_histogram(out, &h);
    html_puts(out, "</figure>\n");
}

void report_spreads(Html *out, const RunFiles *files)
{
    size_t shown = files->stage_count < SHOWN_SPREADS ? files->stage_count : SHOWN_SPREADS, most = 0;
    double low = 0, high = 0;
    Binned b;
    html_section(out, "spread", "How the candidates’ rewards move");
    if (!shown) {
        html_missing(out, "This run holds no ranked candidates (iter_000/candidates.jsonl).");
        return;
    }
    report_shown_arm(out, files);
    reward_range(&low, &high, files);
    for (size_t i = 0; i < shown; i++) {
        fill_bins(&b, files->stages + report_spaced(i, shown, files->stage_count), low, high);
        for (size_t bin = 0; bin < BINS; bin++)
            if (b.all[bin] > most) most = b.all[bin];
    }
    html_puts(out, report_is_ppo(files) ? "<p>The rewards of the answers that were learned from, iteration by iteration, on the same "
        "axes; the line is their\n"
        "mean. Where learning works, the next iteration lies further to the right." :
        "<p>The rewards that were ranked, iteration by iteration, on the same axes. <span class=\"key all\"></span> all\n"
        "candidates, <span class=\"key part\"></span> the kept ones among them; the lines are their means. Each iteration trains on\n"
        "its kept ones; where that works, the next one lies further to the right.");
    if (shown < files->stage_count) html_printf(out, " Shown: %zu of %zu iterations.", shown, files->stage_count);
    html_puts(out, "</p>\n<div class=\"grid\">\n");
    for (size_t i = 0; i < shown; i++) {
        const RankedStage *s = files->stages + report_spaced(i, shown, files->stage_count);
        fill_bins(&b, s, low, high);
        draw_spread(out, s, &b, most, low, high);
    }
    html_puts(out, "</div>\n</section>\n");
}
