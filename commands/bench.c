// SPDX-License-Identifier: MIT
/* bench.c - raft bench: how fast this machine multiplies, trains, samples, encodes and starts, each beside the fma peak measured
 * at the same moment; BLIS beside our matrix products. Measuring is in study/bench*.c.
 */
#include "commands/commands.h"
#include "commands/learning.h"
#include "kernels/hostmath.h"
#include "study/bench.h"
#include "study/scaling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const CommandContext *cx;
    Bench bench;
    json_t *all;
} Report;

static bool quiet(const Report *r) { return r->cx->options.json; }

// Appends to the list under `key`, which begins here.
static int add(Report *r, const char *key, json_t *item, Err *err)
{
    json_t *list = json_object_get(r->all, key);
    if (!list) json_object_set_new(r->all, key, list = json_array());
    return item && list && !json_array_append_new(list, item) ? 0 : err_failed(err, "out of memory while building JSON");
}

static double percent(double fraction) { return 100 * fraction; }

// ---- the parts -----------------------------------------------------------------------------------------------------------------

static int part_matmul(Report *r, Err *err)
{
    MatmulPoint points[32];
    size_t count = bench_matmul_shapes(points, 32);
    double logs = 0, compared = 0;
    TilePoint tile;
    if (bench_tile(&tile, &r->bench, err)) return -1;
    json_t *alone = json_pack("{s:o,s:o}", "gflops", json_float(tile.gflops), "peak_fraction", json_float(tile.peak_fraction));
    if (json_object_set_new(r->all, "tile", alone)) return err_failed(err, "out of memory while building JSON");
    if (!quiet(r)) puts("\nmatmul            m     n     k   GFLOP/s of peak   packed of peak     BLIS ours/BLIS");
    if (!quiet(r)) printf("  %-27s %9.1f %5.0f %%\n", "tile in the first cache", tile.gflops, percent(tile.peak_fraction));
    for (size_t i = 0; i < count; i++) {
        MatmulPoint *p = points + i;
        if (bench_matmul(p, 1, &r->bench, err)) return -1;
        json_t *item = json_pack("{s:I,s:I,s:I,s:b,s:o,s:o,s:o,s:o,s:o}", "m", (json_int_t)p->m, "n", (json_int_t)p->n, "k", (json_int_t)p->k,
            "gradient", (int)p->gradient, "gflops", json_float(p->gflops), "peak_fraction", json_float(p->peak_fraction),
            "packed_gflops", p->gradient ? json_null() : json_float(p->packed_gflops),
            "blis_gflops", p->ratio > 0 ? json_float(p->blis_gflops) : json_null(), "blis_config", p->ratio > 0 ? json_string(p->blis_config) : json_null());
        if (item && p->ratio > 0) json_object_set_new(item, "ratio", json_float(p->ratio));
        if (add(r, "matmul", item, err)) return -1;
        if (p->ratio > 0) logs += host_log(p->ratio), compared++;
        if (quiet(r)) continue;
        printf("  %-8s %6zu %5zu %5zu %9.1f %5.0f %%", p->gradient ? "gradient" : "forward", p->m, p->n, p->k, p->gflops, percent(p->peak_fraction));
        if (p->gradient) printf("%17s", "");
        else printf(" %8.1f %5.0f %%", p->packed_gflops, percent(p->packed_fraction));
        if (p->ratio > 0) printf(" %8.1f %9.2f  %s", p->blis_gflops, p->ratio, p->blis_config);
        putchar('\n');
        fflush(stdout);
    }
    double mean = compared > 0 ? host_exp(logs / compared) : 0;
    if (compared > 0 && !quiet(r)) printf("  geometric mean of ours/BLIS %.2f\n", mean);
    return compared > 0 && json_object_set_new(r->all, "matmul_ratio", json_float(mean)) ? err_failed(err, "out of memory while building JSON") : 0;
}

static int part_train(Report *r, Err *err)
{
    static const struct { const char *model; size_t batch, tokens, micro; } cases[] = {{"5.8M", 16, 256, 2048}, {"135M", 4, 256, 1024}};
    if (!quiet(r)) puts("\ntrain        batch tokens   tokens/s of peak  peak memory");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TrainPoint p;
        if (bench_train(&p, &r->bench, bench_model(cases[i].model), cases[i].batch, cases[i].tokens, cases[i].micro, err)) return -1;
        json_t *item = json_pack("{s:s,s:I,s:I,s:o,s:o,s:o}", "model", cases[i].model, "batch", (json_int_t)cases[i].batch, "tokens",
            (json_int_t)cases[i].tokens, "tokens_per_s", json_float(p.tokens_per_s), "peak_fraction", json_float(p.peak_fraction),
            "peak_rss_mb", json_float(p.peak_rss_mb));
        if (add(r, "train", item, err)) return -1;
        if (!quiet(r)) printf("  %-10s %5zu %6zu %10.0f %5.0f %% %9.0f MB\n", cases[i].model, cases[i].batch, cases[i].tokens, p.tokens_per_s,
            percent(p.peak_fraction), p.peak_rss_mb);
        fflush(stdout);
    }
    return 0;
}

static int part_sample(Report *r, Err *err)
{
    static const struct { const char *model; SampleShape shape; } cases[] = {
        {"5.8M", {256, 16, 1, 48}}, {"5.8M", {64, 64, 8, 24}}, {"5.8M", {512, 64, 1, 24}}, {"5.8M", {1, 16, 1, 48}}, {"135M", {64, 16, 1, 24}},
    };
    if (!quiet(r)) puts("\nsample     prompts tokens   K  new   tokens/s of peak");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SamplePoint p;
        SampleShape s = cases[i].shape;
        if (bench_sample(&p, &r->bench, bench_model(cases[i].model), s, err)) return -1;
        json_t *item = json_pack("{s:s,s:I,s:I,s:I,s:I,s:o,s:o}", "model", cases[i].model, "batch", (json_int_t)(s.prompts * s.samples), "samples",
            (json_int_t)s.samples, "prompt_tokens", (json_int_t)s.prompt_tokens, "max_new", (json_int_t)s.max_new, "tokens_per_s",
            json_float(p.tokens_per_s), "peak_fraction", json_float(p.peak_fraction));
        if (add(r, "sample", item, err)) return -1;
        if (!quiet(r)) printf("  %-8s %7zu %6zu %3zu %4zu %10.0f %5.1f %%\n", cases[i].model, s.prompts, s.prompt_tokens, s.samples, s.max_new,
            p.tokens_per_s, percent(p.peak_fraction));
        fflush(stdout);
    }
    return 0;
}

static int part_tokenizer(Report *r, Err *err)
{
    const Options *o = &r->cx->options;
    Corpus corpus = {0};
    char *grammar = o->corpus ? NULL : find_data_file("data", "reviews", ".grammar", err);
    if (!o->corpus && !grammar) return -1;
    int status = read_texts(&corpus, o->corpus ? o->corpus : grammar, o, err);
    TextView *texts = status ? NULL : mem_new(err, corpus.count, sizeof *texts);
    for (size_t i = 0; texts && i < corpus.count; i++) texts[i] = (TextView){corpus.items[i].text, corpus.items[i].length};
    TokenizerPoint p = {0};
    status = texts ? bench_tokenizer(&p, &r->bench, texts, corpus.count, 4096, err) : -1;
    json_t *item = status ? NULL : json_pack("{s:o,s:o,s:o}", "train_s", json_float(p.train_s), "encode_mb_per_s", json_float(p.encode_mb_per_s),
        "corpus_mb", json_float(p.megabytes));
    if (!status && (!item || json_object_set_new(r->all, "tokenizer", item))) status = err_failed(err, "out of memory while building JSON");
    if (!status && !quiet(r))
        printf("\ntokenizer  %.1f MB of text: 4096 tokens learned in %.2f s, encoding %.1f MB/s\n", p.megabytes, p.train_s, p.encode_mb_per_s);
    fflush(stdout);
    mem_free(texts);
    mem_free(grammar);
    corpus_free(&corpus);
    return status;
}

static int part_load(Report *r, Err *err)
{
    const Options *o = &r->cx->options;
    LoadPoint p;
    if (bench_load(&p, &r->bench, bench_model("135M"), o->output ? o->output : "bench-checkpoint.tmp", err)) return -1;
    json_t *item = json_pack("{s:s,s:o,s:o}", "model", "135M", "first_token_s", json_float(p.first_token_s), "help_s", json_float(p.help_s));
    if (!item || json_object_set_new(r->all, "load", item)) return err_failed(err, "out of memory while building JSON");
    if (!quiet(r)) printf("\nload       135M parameters, first token %.2f s after starting; raft help %.1f ms\n", p.first_token_s, p.help_s * 1e3);
    return 0;
}

// How many times as fast as with one thread; of training 16 x 256 tokens and of sampling 256 sequences.
static int part_threads(Report *r, Err *err)
{
    ScaleCurve curves[SCALE_CURVES];
    if (scaling_by_threads(curves, &r->bench, true, err)) return -1;
    const ScaleCurve *training = curves + SCALE_TRAINING_THREADS, *sampling = curves + SCALE_SAMPLING_THREADS;
    if (!quiet(r)) puts("\nthreads    training, tokens/s  times   sampling, tokens/s  times");
    for (size_t i = 0; i < training->count; i++) {
        const ScalePoint *t = training->points + i, *s = sampling->points + i;
        double t_times = t->tokens_per_s / training->points->tokens_per_s, s_times = s->tokens_per_s / sampling->points->tokens_per_s;
        json_t *item = json_pack("{s:I,s:o,s:o,s:o,s:o}", "threads", (json_int_t)t->x, "training_tokens_per_s", json_float(t->tokens_per_s), "training_times",
            json_float(t_times), "sampling_tokens_per_s", json_float(s->tokens_per_s), "sampling_times", json_float(s_times));
        if (add(r, "scaling", item, err)) return -1;
        if (!quiet(r)) printf("  %-8.0f %18.0f %6.2f %20.0f %6.2f\n", t->x, t->tokens_per_s, t_times, s->tokens_per_s, s_times);
    }
    return 0;
}

static json_t *curve_json(const ScaleCurve *curve, ScaleKind kind)
{
    json_t *points = json_array();
    for (size_t i = 0; points && i < curve->count; i++) {
        const ScalePoint *p = curve->points + i;
        json_t *item = json_pack("{s:o,s:o,s:o}", "x", json_float(p->x), kind == SCALE_ROOFLINE ? "rows" : "tokens_per_s", json_float(p->tokens_per_s),
            "peak_fraction", json_float(p->peak_fraction));
        if (kind == SCALE_ROOFLINE && item) json_object_set_new(item, "bound", json_float(p->bound));
        if (json_array_append_new(points, item)) return json_decref(points), NULL;
    }
    return points;
}

static int part_scale(Report *r, Err *err)
{
    ScaleCurve curves[SCALE_CURVES];
    Text machine = {0}, svg = {0};
    Options o = r->cx->options;
    if (!o.output) o.output = "scaling.svg";
    if (check_output_file(&o, err) || scaling_measure(curves, &r->bench, o.quiet, err)) return -1;
    json_t *object = json_object();
    for (int kind = 0; kind < SCALE_CURVES; kind++)
        if (json_object_set_new(object, scaling_name((ScaleKind)kind), curve_json(curves + kind, (ScaleKind)kind)))
            return json_decref(object), err_failed(err, "out of memory while building JSON");
    int status = json_object_set_new(r->all, "scale", object) ? err_failed(err, "out of memory while building JSON") :
        text_printf(&machine, err, "%s, %s, %zu threads, fma peak %.0f GFLOP/s", json_string_value(json_object_get(r->all, "cpu")), r->cx->compute.k->isa,
            r->cx->compute.threads, json_number_value(json_object_get(r->all, "peak_gflops"))) ||
        scaling_svg(&svg, curves, machine.data, err) || os_write_file(o.output, svg.data, svg.length, err) ? -1 : 0;
    if (!status && !quiet(r)) printf("\nscale      %s shows the curves\n", o.output);
    text_free(&machine);
    text_free(&svg);
    return status;
}

// ---- the command ---------------------------------------------------------------------------------------------------------------

// In this order: peak memory only ever grows, so the small model's training comes before anything larger.
static const struct { const char *name; int (*run)(Report *, Err *); } parts[] = {
    {"train", part_train}, {"matmul", part_matmul}, {"sample", part_sample}, {"threads", part_threads}, {"tokenizer", part_tokenizer}, {"load", part_load}, {"scale", part_scale},
};
enum { PARTS = sizeof parts / sizeof *parts };

static int print_machine(Report *r, Err *err)
{
    const Compute *c = &r->cx->compute;
    double peak = bench_peak(&r->bench) * 1e-9;
    char *cpu = os_cpu_name(err);
    if (!cpu) return -1;
    r->all = json_pack("{s:s,s:I,s:s,s:o}", "isa", c->k->isa, "threads", (json_int_t)c->threads, "cpu", cpu, "peak_gflops", json_float(peak));
    if (!quiet(r)) printf("%s, %s, %zu threads: fma peak %.0f GFLOP/s\n", cpu, c->k->isa, c->threads, peak);
    mem_free(cpu);
    return r->all ? 0 : err_failed(err, "out of memory while building JSON");
}

static int run(CommandContext *cx, Err *err)
{
    Report r = {.cx = cx, .bench = {.cx = &cx->compute, .seconds = cx->options.seconds, .seed = cx->options.seed}};
    const char *wanted = cx->word_count ? cx->words[0] : "all";
    if (cx->word_count == 1 && !strcmp(wanted, "blis-worker")) return bench_blis_worker(&r.bench, err);
    bool all = !strcmp(wanted, "all"), known = all;
    for (size_t i = 0; i < PARTS; i++) known = known || !strcmp(wanted, parts[i].name);
    if (cx->word_count > 1 || !known)
        return err_input(err, "bench: expected matmul, train, sample, threads, tokenizer, load, scale or all, found \"%s\"", cx->words[cx->word_count > 1]);
    char *program = os_program_path(err);
    r.bench.program = program;
    int status = program ? print_machine(&r, err) : -1;
    for (size_t i = 0; i < PARTS && !status; i++)
        if ((all && strcmp("scale", parts[i].name)) || !strcmp(wanted, parts[i].name)) status = parts[i].run(&r, err);
    if (!status && cx->options.json) status = print_json(json_incref(r.all), err);
    json_decref(r.all);
    mem_free(program);
    return status;
}

const Command command_bench = {
    .name = "bench",
    .operands = "[matmul|train|sample|threads|tokenizer|load|scale|all]",
    .summary = "speed, beside the peak of the CPU and beside BLIS",
    .groups = OPT_COMMON | OPT_BENCH | OPT_CORPUS,
    .help = "bench measures the fma peak first (multiply-adds that need no memory, all threads at once), then each part beside it:\n"
            "  matmul     the products that training and sampling consist of, and the register tile that they are made of; BLIS beside them, in each\n"
            "             configuration this CPU can run\n"
            "  train      steps of a 5.8M and a 135M model (SmolLM2's shape)\n"
            "  sample     many sequences, one, and K answers to each prompt beside as many unrelated prompts\n"
            "  threads    training and sampling with 1, 2, 4, ... threads, and how many times as fast that is\n"
            "  tokenizer  learning from and encoding --corpus (default: reviews made from the built-in grammar)\n"
            "  load       from starting the program to the first token; a checkpoint is written to -o (bench-checkpoint.tmp) and removed\n"
            "  scale      not in all: curves over model size, context, batch, sequences and threads, and the roofline, drawn to -o (scaling.svg)\n"
            "Shares of the peak count useful operations only. Speeds are medians of slices in turn with the peak, so that a machine\n"
            "that others use too gives steady ratios.",
    .needs_compute = true,
    .run = run,
};
