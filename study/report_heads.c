// SPDX-License-Identifier: MIT
/* report_heads.c - whether the reward heads can be trusted: how often they are right, and whether their probabilities mean what
 * they say. Start reading at report_heads. */
#include "study/report-internal.h"

#include <stdio.h>

enum { MOST_BINS = 64 };

static double percent(const json_t *head, const char *key) { return 100 * json_number_value(json_object_get(head, key)); }

// ---- reliability ----------------------------------------------------------------------------------------------------------

// Of the bins of one kind of text, with the interval of the share in each.
static size_t fill_bins(ChartPoint *points, const json_t *quality)
{
    size_t i, n = 0;
    json_t *bin;
    json_array_foreach(json_object_get(quality, "calibration"), i, bin) {
        double texts = json_number_value(json_object_get(bin, "n")), observed = json_number_value(json_object_get(bin, "observed"));
        if (!(texts > 0) || n == MOST_BINS) continue;
        Measure share = metric_rate((size_t)(texts * observed + 0.5), (size_t)texts);
        points[n++] = (ChartPoint){json_number_value(json_object_get(bin, "predicted")), observed, share.lo, share.hi};
    }
    return n;
}

static void reliability(Html *out, const char *name, const json_t *head, size_t index)
{
    static const ChartPoint ideal[] = {{0, 0, 0, 0}, {1, 1, 1, 1}};
    ChartPoint whole[MOST_BINS], begun[MOST_BINS];
    char id[40];
    size_t n = fill_bins(whole, json_object_get(head, "whole")), m = fill_bins(begun, json_object_get(head, "30_tokens"));
    snprintf(id, sizeof id, "reliability-%zu", index);
    Chart chart = {.id = id, .title = name, .x_label = "probability that the head gives to “positive”",
        .y_label = "share that is positive", .decimals = 2, .path = true, .unit = true, .from_x_zero = true, .no_legend = true,
        .series_count = 3, .series = {{.name = "as it should be", .points = ideal, .count = 2, .look = 7, .bare = true},
            {.name = "whole texts", .points = whole, .count = n},
            {.name = "first 30 tokens", .points = begun, .count = m, .look = 1}}};
    if (!n && !m) return;
    html_puts(out, "<div>\n");
    report_draw(out, &chart, NULL);
    chart_legend(out, chart.series, 3);
    html_puts(out, "</div>\n");
}

static void reliabilities(Html *out, json_t *heads)
{
    size_t index = 0, drawn = 0;
    const char *name;
    json_t *head;
    json_object_foreach(heads, name, head) drawn += json_object_get(json_object_get(head, "whole"), "calibration") != NULL;
    if (!drawn) return;
    html_puts(out, "<p>A head’s score is a probability, too. Of the texts to which it gives 0.8, eight in ten should be positive: where "
        "the points\n"
        "lie on the diagonal, it means what it says. Bars are 95&#8239;% intervals; a point stands for the texts of a tenth of the "
        "axis.</p>\n"
        "<div class=\"grid large\">\n");
    json_object_foreach(heads, name, head) reliability(out, name, head, index++);
    html_puts(out, "</div>\n");
}

void report_heads(Html *out, const RunFiles *files)
{
    const char *const columns[] = {"head", ">whole texts, %", ">first 30 tokens, %", ">texts"};
    const char *name;
    json_t *head;
    html_section(out, "heads", "Can the rewards be trusted?");
    if (!files->heads) {
        html_missing(out, "This run trained no reward heads (heads.json).");
        return;
    }
    html_puts(out, "<p>Both heads are networks that learned from labelled texts, gold from other texts than the proxy. On held-out\n"
        "texts, which neither has seen, they are right this often:</p>\n");
    html_table(out, "head-table", "narrow", "Accuracy of the reward heads, with 95 % intervals");
    html_columns(out, columns, sizeof columns / sizeof *columns);
    json_object_foreach(files->heads, name, head) {
        Measure accuracy = {percent(head, "accuracy"), percent(head, "lo"), percent(head, "hi"), 1};
        html_row_name(out, name);
        report_measure_cell(out, &accuracy, 1);
        html_cell(out, percent(head, "accuracy_30_tokens"), 1);
        html_cell(out, json_number_value(json_object_get(head, "n")), 0);
        html_puts(out, "</tr>\n");
    }
    html_table_end(out);
    reliabilities(out, files->heads);
    html_puts(out, "</section>\n");
}
