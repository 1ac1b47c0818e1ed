// SPDX-License-Identifier: MIT
/* charts.h - line charts, histograms and strips as inline SVG for an HTML page.
 *
 *     ChartPoint points[] = {{0, 0.52, 0.47, 0.57}, {1, 0.61, 0.56, 0.66}};       // x, y, and the interval around y
 *     Chart chart = {.id = "reward", .title = "Mean reward", .x_label = "iteration", .whole_x = true, .decimals = 2,
 *                    .series = {{.name = "proxy", .points = points, .count = 2}}, .series_count = 1};
 *     chart_lines(&page, &chart);
 *
 * Colours come from the page's style sheet (classes s0, s1, band, ...), so that one drawing serves light, dark and print.
 * Each says in <title> and <desc> what it shows. Knows nothing of runs.
 */
#ifndef RAFT_STUDY_CHARTS_H
#define RAFT_STUDY_CHARTS_H

#include "study/html.h"

typedef struct { double x, y, lo, hi; } ChartPoint;    // lo == hi: no interval is drawn
// bare: a line without points, of what was computed and not measured. look: which of the colours and shapes, 0 for the first.
typedef struct { const char *name; const ChartPoint *points; size_t count, look; bool bare; } ChartSeries;
typedef struct { double x; const char *name; } ChartMark; // an upright line at x

enum { CHART_SERIES = 16, CHART_COLOURS = 8 };
typedef struct {
    const char *id;             // unique on the page: letters, digits and '-'
    const char *title, *x_label, *y_label;
    ChartSeries series[CHART_SERIES];
    size_t series_count;
    int decimals;               // of values in the description and under the pointer
    bool whole_x;               // x counts something
    bool power_x;               // x is a power of two's exponent; that power is shown
    bool from_zero, from_x_zero; // the vertical axis, the horizontal one starts at 0
    bool unit;                  // the vertical axis runs from 0 to 1
    bool path;                  // y against x, both measured: intervals as bars, the points of a single series numbered in order
    bool no_legend;             // the page shows chart_legend elsewhere
    bool cut;                   // intervals that dwarf the points are cut at the frame
    const ChartMark *marks;
    size_t mark_count;
} Chart;
void chart_lines(Html *out, const Chart *chart);
// Names with their colours and shapes, as a list that wraps: for charts of many series. Series without points are left out.
void chart_legend(Html *out, const ChartSeries *series, size_t count);

// Counts in bins of equal width between low and high; `part` of each bin's `all` stands out.
typedef struct {
    const char *id, *title, *all_name, *part_name;
    const size_t *all, *part;   // [bins]
    size_t bins, most;          // most: the count that fills the height, so that several compare
    double low, high, all_mean, part_mean;
    bool has_part;
} Histogram;
void chart_histogram(Html *out, const Histogram *histogram);

// One value's place between low and high, for a table cell that also holds the number: hidden from screen readers.
void chart_strip(Html *out, double value, double low, double high, bool marked);

#endif
