// SPDX-License-Identifier: MIT
/* charts.c - charts as inline SVG. Start reading at chart_lines.
 *
 * Sizes are in the units of a viewBox about as wide as a phone: the page scales the drawing, text included.
 */
#include "study/charts.h"

#include <stdio.h>

#include "kernels/hostmath.h"

enum { WIDTH = 360, HEIGHT = 220, TOP = 26, BOTTOM = 36, RIGHT = 14, LETTER = 7, MOST_DOTS = 24, MOST_NUMBERS = 12 };

// ---- scales ---------------------------------------------------------------------------------------------------------------

typedef struct {
    double low, high, step; // values; ticks at low, low + step, ...
    int decimals;           // of the ticks
    double from, to;        // drawing units
} Scale;

#define LARGEST 1e100 // beyond it differences overflow, and nobody reads the axis

static double clamp(double v) { return v > LARGEST ? LARGEST : v < -LARGEST ? -LARGEST : v; }
static double magnitude(double v) { return v < 0 ? -v : v; }

// The largest whole number not above v, for |v| < 2^62.
static double floor_of(double v)
{
    double whole = (double)(int64_t)v;
    return whole > v ? whole - 1 : whole;
}

// Ticks at 1, 2 or 5 times a power of ten, at most `most` steps between them.
static void scale_ticks(Scale *s, double low, double high, int most, bool whole)
{
    double range = high - low, size = magnitude(low) > magnitude(high) ? magnitude(low) : magnitude(high);
    double least = 1e-9 * size + 1e-12;
    if (range < least) {
        double room = whole || size < 1e-6 ? 0.5 : size / 10; // a flat line stands in the middle
        low -= room;
        high += room;
        range = high - low;
    }
    double power = 1;
    int digits = 0; // after the point in a multiple of power
    for (; range / power > most; power *= 10) digits--;
    for (; range / (power / 10) <= most; power /= 10) digits++;
    s->step = range / (power / 5) <= most ? power / 5 : range / (power / 2) <= most ? power / 2 : power;
    if (s->step < power) digits++;
    if (whole && s->step < 1) s->step = 1, digits = 0;
    s->decimals = digits > 0 ? digits : 0;
    s->low = low;
    s->high = high;
}

static double first_tick(const Scale *s)
{
    double at = floor_of(s->low / s->step) * s->step;
    return at < s->low - 1e-6 * s->step ? at + s->step : at;
}

// Moves both ends outwards onto ticks.
static void scale_widen(Scale *s)
{
    double low = floor_of(s->low / s->step + 1e-6), high = -floor_of(-(s->high / s->step) + 1e-6);
    s->low = low * s->step;
    s->high = high * s->step;
}

static double scale_at(const Scale *s, double v)
{
    v = clamp(v);
    double inside = v < s->low ? s->low : v > s->high ? s->high : v;
    return s->from + (inside - s->low) / (s->high - s->low) * (s->to - s->from);
}

// ---- pieces of SVG -------------------------------------------------------------------------------------------------------------

static void attribute(Html *out, const char *name, double value)
{
    html_printf(out, " %s=\"", name);
    html_coordinate(out, value);
    html_puts(out, "\"");
}

static void line(Html *out, const char *class, double x1, double y1, double x2, double y2)
{
    html_printf(out, "<path class=\"%s\" d=\"M", class);
    html_coordinate(out, x1), html_puts(out, " "), html_coordinate(out, y1);
    html_puts(out, "L"), html_coordinate(out, x2), html_puts(out, " "), html_coordinate(out, y2);
    html_puts(out, "\"/>");
}

static void open_text(Html *out, const char *class, double x, double y, const char *anchor)
{
    html_printf(out, "<text class=\"%s\"", class);
    attribute(out, "x", x), attribute(out, "y", y);
    html_printf(out, " text-anchor=\"%s\">", anchor);
}

static void label(Html *out, const char *class, double x, double y, const char *anchor, const char *text)
{
    open_text(out, class, x, y, anchor);
    html_string(out, text);
    html_puts(out, "</text>");
}

static void number_label(Html *out, double x, double y, const char *anchor, double value, int decimals)
{
    open_text(out, "tick", x, y, anchor);
    html_number(out, value, decimals);
    html_puts(out, "</text>");
}

// Shapes, so that colour alone tells nothing apart; corners in units of a tenth of the radius. The first is a disc.
static const struct { size_t corners; signed char at[12][2]; } shapes[CHART_COLOURS] = {
    {0, {{0, 0}}},
    {4, {{-9, -9}, {9, -9}, {9, 9}, {-9, 9}}},
    {3, {{0, -13}, {12, 9}, {-12, 9}}},
    {4, {{0, -14}, {14, 0}, {0, 14}, {-14, 0}}},
    {3, {{0, 13}, {12, -9}, {-12, -9}}},
    {12, {{-4, -13}, {4, -13}, {4, -4}, {13, -4}, {13, 4}, {4, 4}, {4, 13}, {-4, 13}, {-4, 4}, {-13, 4}, {-13, -4}, {-4, -4}}},
    {12, {{-12, -7}, {-7, -12}, {0, -5}, {7, -12}, {12, -7}, {5, 0}, {12, 7}, {7, 12}, {0, 5}, {-7, 12}, {-12, 7}, {-5, 0}}},
    {6, {{-12, 0}, {-6, -11}, {6, -11}, {12, 0}, {6, 11}, {-6, 11}}},
};

// Of more series than colours the next ones have the colours again, with other shapes.
static size_t colour_of(size_t look) { return look % CHART_COLOURS; }
static size_t shape_of(size_t look) { return (look + look / CHART_COLOURS) % CHART_COLOURS; }

static void marker(Html *out, size_t look, double x, double y)
{
    const double r = 3.3;
    size_t shape = shape_of(look);
    html_printf(out, "<path class=\"dot s%zu\" d=\"M", colour_of(look));
    if (!shapes[shape].corners) {
        html_coordinate(out, x - r), html_puts(out, " "), html_coordinate(out, y);
        html_puts(out, "a3.3 3.3 0 1 0 6.6 0a3.3 3.3 0 1 0-6.6 0");
    }
    for (size_t i = 0; i < shapes[shape].corners; i++) {
        if (i) html_puts(out, "L");
        html_coordinate(out, x + r * shapes[shape].at[i][0] / 10), html_puts(out, " ");
        html_coordinate(out, y + r * shapes[shape].at[i][1] / 10);
    }
    html_puts(out, "Z\">");
}

static void open_svg(Html *out, const char *class, const char *id, int width, int height, const char *title)
{
    html_printf(out, "<svg class=\"%s\" viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"%s-t %s-d\">\n", class, width, height, id, id);
    html_printf(out, "<title id=\"%s-t\">", id);
    html_string(out, title);
    html_printf(out, "</title>\n<desc id=\"%s-d\">", id);
}

// ---- a line chart ---------------------------------------------------------------------------------------------------------

static size_t point_count(const Chart *c)
{
    size_t n = 0;
    for (size_t s = 0; s < c->series_count; s++) n += c->series[s].count;
    return n;
}

static void extend(double *low, double *high, double v, bool *any)
{
    v = clamp(v);
    if (!*any || v < *low) *low = v;
    if (!*any || v > *high) *high = v;
    *any = true;
}

// Intervals widen the vertical axis; when they are to be cut, by the points' own range on each side at most.
static void extend_by_intervals(double *low, double *high, const Chart *c)
{
    bool any = true;
    double range = *high - *low;
    bool cut = c->cut && range > 0;
    double least = cut ? *low - range : -LARGEST, most = cut ? *high + range : LARGEST;
    for (size_t s = 0; s < c->series_count; s++)
        for (size_t i = 0; i < c->series[s].count; i++) {
            double lo = c->series[s].points[i].lo, hi = c->series[s].points[i].hi;
            extend(low, high, lo < least ? least : lo, &any);
            extend(low, high, hi > most ? most : hi, &any);
        }
}

static void make_scales(Scale *x, Scale *y, const Chart *c)
{
    double x_low = 0, x_high = 0, y_low = 0, y_high = 0;
    bool any_x = c->from_x_zero, any_y = c->from_zero || c->unit;
    if (c->unit) y_high = 1;
    for (size_t s = 0; s < c->series_count; s++)
        for (size_t i = 0; i < c->series[s].count; i++) {
            const ChartPoint *p = c->series[s].points + i;
            extend(&x_low, &x_high, p->x, &any_x);
            extend(&y_low, &y_high, p->y, &any_y);
        }
    extend_by_intervals(&y_low, &y_high, c);
    scale_ticks(y, y_low, y_high, 5, false);
    scale_widen(y);
    scale_ticks(x, x_low, x_high, c->path || x_high >= 1000 ? 4 : 8, c->whole_x); // long labels need room
    if (c->path) scale_widen(x);
    // Room for the longest tick label on the left.
    char text[64];
    int low = snprintf(text, sizeof text, "%.*f", y->decimals, y->low);
    int high = snprintf(text, sizeof text, "%.*f", y->decimals, y->high);
    int letters = low > high ? low : high, room = letters > 14 ? 14 : letters < 3 ? 3 : letters;
    *x = (Scale){x->low, x->high, x->step, x->decimals, room * LETTER + 10, WIDTH - RIGHT - (c->path ? 10 : 0)};
    *y = (Scale){y->low, y->high, y->step, y->decimals, HEIGHT - BOTTOM, TOP};
}

static double shown_x(const Chart *c, double x) { return c->power_x ? host_exp(x * host_log(2)) : x; }

static void draw_axes(Html *out, const Chart *c, const Scale *x, const Scale *y)
{
    for (double v = first_tick(y); v <= y->high + 1e-6 * y->step; v += y->step) {
        double at = scale_at(y, v);
        line(out, magnitude(v) < 1e-6 * y->step ? "zero" : "grid", x->from, at, WIDTH - RIGHT, at);
        number_label(out, x->from - 6, at + 4, "end", v, y->decimals);
    }
    for (double v = first_tick(x); v <= x->high + 1e-6 * x->step; v += x->step) {
        double at = scale_at(x, v);
        line(out, "axis", at, y->from, at, y->from + 4);
        number_label(out, at, y->from + 16, "middle", shown_x(c, v), c->power_x && v < 0 ? 2 : x->decimals);
    }
    line(out, "axis", x->from, y->from, WIDTH - RIGHT, y->from);
    label(out, "name", (x->from + WIDTH - RIGHT) / 2, HEIGHT - 4, "middle", c->x_label);
    if (c->y_label) label(out, "name", 0, 11, "start", c->y_label);
    html_puts(out, "\n");
}

static void draw_legend(Html *out, const Chart *c)
{
    double right = WIDTH - RIGHT;
    for (size_t s = c->series_count; s-- > 0;) {
        size_t letters = 0;
        for (const char *at = c->series[s].name; *at; at++) letters++;
        label(out, "name", right, 11, "end", c->series[s].name);
        marker(out, c->series[s].look, right - (double)letters * 6.2 - 8, 7);
        html_puts(out, "</path>");
        right -= (double)letters * 6.2 + 26;
    }
}

static void add_point(Html *out, char command, const Scale *x, const Scale *y, double at, double value)
{
    html_printf(out, "%c", command);
    html_coordinate(out, scale_at(x, at));
    html_puts(out, " ");
    html_coordinate(out, scale_at(y, value));
}

static bool has_interval(const ChartSeries *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->points[i].lo < s->points[i].hi) return true;
    return false;
}

// Bars where there is nothing to connect or x does not run from left to right; else a band.
static void draw_interval(Html *out, const ChartSeries *s, bool bars, const Scale *x, const Scale *y)
{
    if (!has_interval(s)) return;
    if (bars || s->count == 1) {
        for (size_t i = 0; i < s->count; i++) {
            char class[16];
            double at = scale_at(x, s->points[i].x);
            snprintf(class, sizeof class, "bar s%zu", colour_of(s->look));
            line(out, class, at, scale_at(y, s->points[i].lo), at, scale_at(y, s->points[i].hi));
        }
        return;
    }
    html_printf(out, "<path class=\"band s%zu\" d=\"", colour_of(s->look));
    for (size_t i = 0; i < s->count; i++) add_point(out, i ? 'L' : 'M', x, y, s->points[i].x, s->points[i].hi);
    for (size_t i = s->count; i-- > 0;) add_point(out, 'L', x, y, s->points[i].x, s->points[i].lo);
    html_puts(out, "Z\"/>\n");
}

static void say_value(Html *out, const ChartPoint *p, int decimals)
{
    html_number(out, p->y, decimals);
    if (!(p->lo < p->hi)) return;
    html_puts(out, " [");
    html_number(out, p->lo, decimals);
    html_puts(out, ", ");
    html_number(out, p->hi, decimals);
    html_puts(out, "]");
}

// "iteration 3"; of a path, whose x is a measure, the place in the order or, among several paths, that measure.
static void say_place(Html *out, const Chart *c, const ChartPoint *p, size_t i)
{
    bool ordered = c->path && c->series_count == 1;
    html_string(out, ordered ? "point" : c->x_label);
    html_puts(out, " ");
    html_number(out, ordered ? (double)i : shown_x(c, p->x), ordered || (c->whole_x && !c->path) ? 0 : 2);
}

// On the side where the line does not pass: left of it where it rises, right of it where it falls.
static void number_point(Html *out, const ChartSeries *s, size_t i, double x, double y)
{
    const ChartPoint *before = s->points + (i ? i - 1 : 0), *after = s->points + (i + 1 < s->count ? i + 1 : i);
    bool rises = (after->y >= before->y) == (after->x >= before->x);
    number_label(out, rises ? x - 5 : x + 5, y - 6, rises ? "end" : "start", (double)i, 0);
}

static void draw_point(Html *out, const Chart *c, const ChartSeries *s, size_t i, double x, double y)
{
    marker(out, s->look, x, y);
    html_puts(out, "<title>");
    if (c->series_count > 1) html_string(out, s->name), html_puts(out, ", ");
    say_place(out, c, s->points + i, i);
    html_puts(out, ": ");
    say_value(out, s->points + i, c->decimals);
    html_puts(out, "</title></path>");
}

static void draw_series(Html *out, const Chart *c, size_t index, const Scale *x, const Scale *y)
{
    const ChartSeries *s = c->series + index;
    bool again = s->look >= CHART_COLOURS || s->bare;
    draw_interval(out, s, c->path, x, y);
    html_printf(out, "<path class=\"line s%zu%s\" d=\"", colour_of(s->look), again ? " dashed" : "");
    for (size_t i = 0; i < s->count; i++) add_point(out, i ? 'L' : 'M', x, y, s->points[i].x, s->points[i].y);
    html_puts(out, "\"/>\n");
    for (size_t i = 0; i < s->count && s->count <= MOST_DOTS && !s->bare; i++) {
        double px = scale_at(x, s->points[i].x), py = scale_at(y, s->points[i].y);
        draw_point(out, c, s, i, px, py);
        if (c->path && c->series_count == 1 && s->count <= MOST_NUMBERS) number_point(out, s, i, px, py);
    }
    html_puts(out, "\n");
}

// The name runs up along its line, on the side where there is more room.
static void draw_marks(Html *out, const Chart *c, const Scale *x, const Scale *y)
{
    for (size_t i = 0; i < c->mark_count; i++) {
        double at = scale_at(x, c->marks[i].x), beside = at - x->from > 14 ? at - 4 : at + 11;
        line(out, "mark", at, y->from, at, y->to);
        html_puts(out, "<text class=\"tick halo\" transform=\"translate(");
        html_coordinate(out, beside), html_puts(out, " "), html_coordinate(out, y->from - 6);
        html_puts(out, ") rotate(-90)\">");
        html_string(out, c->marks[i].name);
        html_puts(out, "</text>\n");
    }
}

static void describe(Html *out, const Chart *c)
{
    for (size_t s = 0; s < c->series_count; s++) {
        const ChartSeries *series = c->series + s;
        if (!series->count) continue;
        const ChartPoint *first = series->points, *last = series->points + series->count - 1;
        if (s) html_puts(out, " ");
        html_string(out, series->name), html_puts(out, ": ");
        say_value(out, first, c->decimals), html_puts(out, " at "), say_place(out, c, first, 0);
        if (last != first) {
            html_puts(out, ", ");
            say_value(out, last, c->decimals), html_puts(out, " at "), say_place(out, c, last, series->count - 1);
        }
        html_puts(out, ".");
    }
}

void chart_lines(Html *out, const Chart *c)
{
    Scale x, y;
    if (!point_count(c)) return;
    make_scales(&x, &y, c);
    open_svg(out, "plot", c->id, WIDTH, HEIGHT, c->title);
    describe(out, c);
    html_puts(out, "</desc>\n");
    draw_axes(out, c, &x, &y);
    if (c->series_count > 1 && !c->no_legend) draw_legend(out, c);
    for (size_t s = 0; s < c->series_count; s++)
        if (c->series[s].count) draw_series(out, c, s, &x, &y);
    draw_marks(out, c, &x, &y);
    html_puts(out, "</svg>\n");
}

void chart_legend(Html *out, const ChartSeries *series, size_t count)
{
    html_puts(out, "<ul class=\"legend\">\n");
    for (size_t i = 0; i < count; i++) {
        if (!series[i].count) continue;
        html_puts(out, "<li><svg class=\"swatch\" viewBox=\"0 0 24 12\" width=\"24\" height=\"12\" aria-hidden=\"true\">");
        html_printf(out, "<path class=\"line s%zu%s\" d=\"M1 6H23\"/>", colour_of(series[i].look),
            series[i].bare || series[i].look >= CHART_COLOURS ? " dashed" : "");
        if (!series[i].bare) marker(out, series[i].look, 12, 6), html_puts(out, "</path>");
        html_puts(out, "</svg> ");
        html_string(out, series[i].name);
        html_puts(out, "</li>\n");
    }
    html_puts(out, "</ul>\n");
}

// ---- a histogram ----------------------------------------------------------------------------------------------------------

enum { HIST_HEIGHT = 128, HIST_TOP = 20, HIST_BOTTOM = 24, HIST_SIDE = 16 };

static void draw_bars(Html *out, const char *class, const size_t *counts, const Histogram *h, const Scale *x, const Scale *y)
{
    double width = (x->to - x->from) / (double)h->bins;
    html_printf(out, "<path class=\"%s\" d=\"", class);
    for (size_t i = 0; i < h->bins; i++) {
        if (!counts[i]) continue;
        double left = x->from + (double)i * width + 0.5, top = scale_at(y, (double)counts[i]);
        html_puts(out, "M"), html_coordinate(out, left), html_puts(out, " "), html_coordinate(out, y->from);
        html_puts(out, "V"), html_coordinate(out, top);
        html_puts(out, "h"), html_coordinate(out, width - 1);
        html_puts(out, "V"), html_coordinate(out, y->from);
        html_puts(out, "Z");
    }
    html_puts(out, "\"/>\n");
}

// The label stands on the side away from the other mean.
static void draw_mean(Html *out, const char *class, double mean, bool left, const Scale *x, const Scale *y)
{
    double at = scale_at(x, mean);
    line(out, class, at, y->from, at, HIST_TOP - 8);
    number_label(out, left ? at - 5 : at + 5, HIST_TOP - 2, left ? "end" : "start", mean, 2);
}

static void say_mean(Html *out, const char *name, double mean)
{
    html_string(out, name);
    html_puts(out, ": mean ");
    html_number(out, mean, 2);
    html_puts(out, ".");
}

void chart_histogram(Html *out, const Histogram *h)
{
    Scale x = {0}, y = {0, h->most ? (double)h->most : 1, 1, 0, HIST_HEIGHT - HIST_BOTTOM, HIST_TOP};
    scale_ticks(&x, h->low, h->high, 6, false);
    x.from = HIST_SIDE;
    x.to = WIDTH - HIST_SIDE;
    open_svg(out, "hist", h->id, WIDTH, HIST_HEIGHT, h->title);
    say_mean(out, h->all_name, h->all_mean);
    if (h->has_part) html_puts(out, " "), say_mean(out, h->part_name, h->part_mean);
    html_puts(out, "</desc>\n");
    draw_bars(out, "all", h->all, h, &x, &y);
    if (h->has_part) draw_bars(out, "part", h->part, h, &x, &y);
    line(out, "axis", x.from, y.from, x.to, y.from);
    for (double v = first_tick(&x); v <= x.high + 1e-6 * x.step; v += x.step) {
        line(out, "axis", scale_at(&x, v), y.from, scale_at(&x, v), y.from + 4);
        number_label(out, scale_at(&x, v), y.from + 16, "middle", v, x.decimals);
    }
    draw_mean(out, "mean", h->all_mean, h->has_part && h->all_mean <= h->part_mean, &x, &y);
    if (h->has_part) draw_mean(out, "mean kept", h->part_mean, h->part_mean < h->all_mean, &x, &y);
    html_puts(out, "</svg>\n");
}

// ---- a strip --------------------------------------------------------------------------------------------------------------

void chart_strip(Html *out, double value, double low, double high, bool marked)
{
    Scale s = {clamp(low), clamp(high), 1, 0, 6, 90};
    if (!(s.low < s.high)) s.low -= 1, s.high += 1;
    html_puts(out, "<svg class=\"strip\" viewBox=\"0 0 96 14\" width=\"96\" height=\"14\" aria-hidden=\"true\">");
    line(out, "axis", 2, 7, 94, 7);
    if (s.low < 0 && s.high > 0) line(out, "axis", scale_at(&s, 0), 3, scale_at(&s, 0), 11);
    html_printf(out, "<circle class=\"%s\"", marked ? "dot s0" : "dot hollow");
    attribute(out, "cx", scale_at(&s, value)), attribute(out, "cy", 7), attribute(out, "r", marked ? 4.5 : 3.5);
    html_puts(out, "/></svg>");
}
