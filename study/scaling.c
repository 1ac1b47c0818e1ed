// SPDX-License-Identifier: MIT
/* scaling.c - what bench scale measures and draws. Start reading at scaling_measure. */
#include "study/scaling.h"

#include <stdio.h>
#include <string.h>

#include "base/os.h"
#include "kernels/hostmath.h"
#include "kernels/matmul.h"
#include "study/bench-internal.h"
#include "study/charts.h"

static const struct { const char *name, *title, *x_label; } kinds[SCALE_CURVES] = {
    [SCALE_MODEL] = {"model", "Training, by size of the model", "million parameters"},
    [SCALE_CONTEXT] = {"context", "Training, by context", "tokens a sequence"},
    [SCALE_BATCH] = {"batch", "Training, by batch", "sequences of 256 tokens a step"},
    [SCALE_SEQUENCES] = {"sequences", "Sampling, by sequences", "sequences at once"},
    [SCALE_TRAINING_THREADS] = {"training_threads", "training", "threads"},
    [SCALE_SAMPLING_THREADS] = {"sampling_threads", "sampling", "threads"},
    [SCALE_ROOFLINE] = {"roofline", "A product, by operations a byte", "operations a byte"},
};

const char *scaling_name(ScaleKind kind) { return kinds[kind].name; }

// ---- measuring -------------------------------------------------------------------------------------------------------------------

typedef struct { ScaleCurve *curves; const Bench *bench; bool quiet; } Scaling;

static void add(Scaling *s, ScaleKind kind, ScalePoint point)
{
    ScaleCurve *curve = s->curves + kind;
    if (curve->count < SCALE_POINTS) curve->points[curve->count++] = point;
    if (!s->quiet) fprintf(stderr, "%-17s %8.4g  %10.0f  %5.1f %% of peak\n", kinds[kind].name, point.x, point.tokens_per_s, 100 * point.peak_fraction);
}

static int train(Scaling *s, ScaleKind kind, double x, const char *model, size_t batch, size_t tokens, Err *err)
{
    TrainPoint p;
    size_t rows = batch * tokens;
    if (bench_train(&p, s->bench, bench_model(model), batch, tokens, rows < 2048 ? rows : 2048, err)) return -1;
    add(s, kind, (ScalePoint){.x = x, .tokens_per_s = p.tokens_per_s, .peak_fraction = p.peak_fraction});
    return 0;
}

static int sample(Scaling *s, ScaleKind kind, double x, size_t sequences, Err *err)
{
    SamplePoint p;
    if (bench_sample(&p, s->bench, bench_model("5.8M"), (SampleShape){sequences, 16, 1, 48}, err)) return -1;
    add(s, kind, (ScalePoint){.x = x, .tokens_per_s = p.tokens_per_s, .peak_fraction = p.peak_fraction});
    return 0;
}

static int with_threads(Scaling *s, size_t threads, Err *err)
{
    const Bench *usual = s->bench;
    Compute cx;
    if (compute_init(&cx, usual->cx->k->isa, "own", threads, err)) return -1;
    Bench bench = *usual;
    bench.cx = &cx;
    s->bench = &bench;
    int status = train(s, SCALE_TRAINING_THREADS, (double)threads, "5.8M", 16, 256, err) || sample(s, SCALE_SAMPLING_THREADS, (double)threads, 256, err);
    s->bench = usual;
    compute_free(&cx);
    return status;
}

// All threads last: OpenMP then has as many as before.
static int by_threads(Scaling *s, Err *err)
{
    size_t all = s->bench->cx->threads;
    for (size_t threads = 1; threads < all; threads *= 2)
        if (with_threads(s, threads, err)) return -1;
    return with_threads(s, all, err);
}

enum { STREAM_FLOATS = 1 << 24, OUT = 768, IN = 256 };

typedef struct { const Compute *cx; float *y, *x, *packed; size_t rows; } Product;

static int stream_once(void *self, Err *err)
{
    Product *p = self;
    (void)err;
    p->cx->k->add_array(p->y, p->x, STREAM_FLOATS);
    return 0;
}

static int multiply_once(void *self, Err *err)
{
    Product *p = self;
    (void)err;
    matmul_forward_packed(p->cx, p->y, p->x, p->packed, p->rows, OUT, IN, false);
    return 0;
}

// Bytes: X and the weights read, Y written, each once from memory; what the caches keep raises a point above its bound.
static int roofline(Scaling *s, Err *err)
{
    Product p = {.cx = s->bench->cx};
    size_t packed = matmul_packed_floats(p.cx, OUT, IN);
    if (!(p.y = mem_new(err, STREAM_FLOATS, sizeof *p.y)) || !(p.x = mem_new(err, STREAM_FLOATS, sizeof *p.x)) ||
        !(p.packed = mem_new(err, packed, sizeof *p.packed))) return mem_free(p.y), mem_free(p.x), -1;
    BenchContender stream = {.work = stream_once, .self = &p};
    int status = bench_turns(&stream, 1, s->bench, err);
    double bytes_per_operation = stream.per_peak * 3.0 * sizeof(float) * STREAM_FLOATS; // memory's, at the peak's pace
    for (size_t rows = 1; !status && rows <= 4096; rows *= 2) {
        BenchContender c = {.work = multiply_once, .self = &p};
        double operations = 2.0 * (double)(rows * OUT * IN), bytes = sizeof(float) * (double)(rows * (OUT + IN) + OUT * IN);
        p.rows = rows;
        status = bench_turns(&c, 1, s->bench, err);
        double bound = operations / bytes * bytes_per_operation;
        add(s, SCALE_ROOFLINE, (ScalePoint){.x = operations / bytes, .tokens_per_s = (double)rows, .peak_fraction = c.per_peak * operations,
            .bound = bound < 1 ? bound : 1});
    }
    mem_free(p.y), mem_free(p.x), mem_free(p.packed);
    return status ? -1 : 0;
}

int scaling_by_threads(ScaleCurve curves[SCALE_CURVES], const Bench *bench, bool quiet, Err *err)
{
    Scaling s = {curves, bench, quiet};
    memset(curves, 0, SCALE_CURVES * sizeof *curves);
    return by_threads(&s, err);
}

int scaling_measure(ScaleCurve curves[SCALE_CURVES], const Bench *bench, bool quiet, Err *err)
{
    static const struct { const char *name; double millions; size_t batch; } sizes[] = {{"1M", 1.05, 16}, {"5.8M", 5.8, 16}, {"25M", 29, 16}, {"135M", 134.5, 4}};
    Scaling s = {curves, bench, quiet};
    memset(curves, 0, SCALE_CURVES * sizeof *curves);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (train(&s, SCALE_MODEL, sizes[i].millions, sizes[i].name, sizes[i].batch, 256, err)) return -1;
    for (size_t tokens = 64; tokens <= 1024; tokens *= 2)
        if (train(&s, SCALE_CONTEXT, (double)tokens, "5.8M", 4096 / tokens, tokens, err)) return -1;
    for (size_t n = 1; n <= 64; n *= 2)
        if (train(&s, SCALE_BATCH, (double)n, "5.8M", n, 256, err)) return -1;
    for (size_t n = 1; n <= 512; n *= 2)
        if (sample(&s, SCALE_SEQUENCES, (double)n, n, err)) return -1;
    return by_threads(&s, err) || roofline(&s, err) ? -1 : 0;
}

// ---- drawing ---------------------------------------------------------------------------------------------------------------------

enum { WIDTH = 360, HEIGHT = 220, GAP = 28, HEADING = 44 };

static const char *const style[] = {
    "svg{font:12px system-ui,sans-serif;--paper:#fff;--soft:#4d5560;--grid:#e3e6ea;--s0:#0f6b82;--s1:#a8501a}",
    "@media(prefers-color-scheme:dark){svg{--paper:#14181d;--soft:#b4bcc6;--grid:#262c35;--s0:#63c4dc;--s1:#f0a065}}",
    ".ground{fill:var(--paper)}text{fill:var(--soft)}.title{font-weight:600;font-size:13px}.tick{font-size:11px}.name{font-size:11px}",
    ".grid{stroke:var(--grid)}.zero,.axis{stroke:var(--soft);fill:none}.s0{--c:var(--s0)}.s1{--c:var(--s1)}",
    ".line{fill:none;stroke:var(--c);stroke-width:2}.line.s1{stroke-dasharray:5 3}.dot{fill:var(--c);stroke:var(--paper)}",
};

static double power_of_two(double x) { return host_log(x) / host_log(2); }

typedef struct { ChartPoint points[2][SCALE_POINTS]; } Drawn;

static void panel(Html *out, size_t place, const char *title, const char *note, const Chart *chart)
{
    size_t x = place % 3 * (WIDTH + GAP), y = place / 3 * (HEIGHT + GAP + HEADING) + HEADING;
    html_printf(out, "<text class=\"tick\" text-anchor=\"end\" x=\"%zu\" y=\"%zu\">%s</text>\n", x + WIDTH, y + 10, note);
    html_printf(out, "<text class=\"title\" x=\"%zu\" y=\"%zu\">%s</text>\n<svg x=\"%zu\" y=\"%zu\" width=\"%d\" height=\"%d\">", x + 4, y + 10, title, x, y + 20,
        WIDTH, HEIGHT);
    chart_lines(out, chart);
    html_puts(out, "</svg>\n");
}

static void draw_curve(Html *out, size_t place, const ScaleCurve *curves, ScaleKind kind)
{
    Drawn d;
    Chart chart = {.id = kinds[kind].name, .title = kinds[kind].title, .x_label = kinds[kind].x_label, .y_label = "of the fma peak", .decimals = 2,
        .whole_x = true, .power_x = true, .from_zero = true, .unit = true, .series_count = 1};
    const ScaleCurve *curve = curves + kind;
    for (size_t i = 0; i < curve->count; i++) {
        const ScalePoint *p = curve->points + i;
        double x = power_of_two(p->x);
        d.points[0][i] = (ChartPoint){x, p->peak_fraction, p->peak_fraction, p->peak_fraction};
        d.points[1][i] = (ChartPoint){x, p->bound, p->bound, p->bound};
    }
    chart.series[0] = (ChartSeries){.name = "measured", .points = d.points[0], .count = curve->count};
    chart.series[1] = (ChartSeries){.name = "roofline", .points = d.points[1], .count = curve->count, .look = 1, .bare = true};
    char note[80] = "";
    if (kind == SCALE_ROOFLINE) chart.series_count = 2;
    else if (curve->count) snprintf(note, sizeof note, "%.0f to %.0f tokens/s", curve->points[0].tokens_per_s, curve->points[curve->count - 1].tokens_per_s);
    panel(out, place, kinds[kind].title, note, &chart);
}

// How many times as fast as with one thread.
static void draw_threads(Html *out, size_t place, const ScaleCurve *curves)
{
    Drawn d;
    Chart chart = {.id = "threads", .title = "Speed-up by threads", .x_label = "threads", .y_label = "times one thread", .decimals = 2, .whole_x = true,
        .from_zero = true, .series_count = 2};
    for (size_t s = 0; s < 2; s++) {
        const ScaleCurve *curve = curves + (s ? SCALE_SAMPLING_THREADS : SCALE_TRAINING_THREADS);
        for (size_t i = 0; i < curve->count; i++) {
            double times = curve->points[i].tokens_per_s / curve->points[0].tokens_per_s;
            d.points[s][i] = (ChartPoint){curve->points[i].x, times, times, times};
        }
        chart.series[s] = (ChartSeries){.name = s ? "sampling" : "training", .points = d.points[s], .count = curve->count, .look = s};
    }
    panel(out, place, chart.title, "", &chart);
}

int scaling_svg(Text *out, const ScaleCurve curves[SCALE_CURVES], const char *machine, Err *err)
{
    Html page = {.err = err};
    int width = 3 * WIDTH + 2 * GAP, height = 2 * (HEIGHT + GAP + HEADING) + HEADING;
    html_printf(&page, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-12 0 %d %d\" width=\"%d\" height=\"%d\">\n<style>", width + 24, height, width + 24,
        height);
    for (size_t i = 0; i < sizeof style / sizeof *style; i++) html_puts(&page, style[i]), html_puts(&page, "\n");
    html_printf(&page, "</style>\n<rect class=\"ground\" x=\"-12\" width=\"%d\" height=\"%d\"/>\n<text x=\"4\" y=\"24\">", width + 24, height);
    html_string(&page, machine);
    html_puts(&page, "</text>\n");
    draw_curve(&page, 0, curves, SCALE_MODEL);
    draw_curve(&page, 1, curves, SCALE_CONTEXT);
    draw_curve(&page, 2, curves, SCALE_BATCH);
    draw_curve(&page, 3, curves, SCALE_SEQUENCES);
    draw_threads(&page, 4, curves);
    draw_curve(&page, 5, curves, SCALE_ROOFLINE);
    html_puts(&page, "</svg>\n");
    int status = page.text.failed ? -1 : text_puts(out, err, page.text.data);
    text_free(&page.text);
    return status;
}
