// SPDX-License-Identifier: MIT
/* demo.c - raft demo: the whole loop, on the built-in corpus or on real reviews, with what it changed at the end. */
#include "commands/commands.h"
#include "commands/experiment.h"
#include "commands/learning.h"
#include "commands/policies.h"
#include "study/report.h"
#include "study/scoring.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct { const Options *options; json_t *lines; bool headed; } Audience;

static int on_measured(void *self, size_t iteration, const Evaluation *e, double tokens_per_s, const json_t *line, Err *err)
{
    Audience *a = self;
    Text row = {0};
    char label[32];
    if (json_array_append_new(a->lines, json_deep_copy(line))) return err_failed(err, "out of memory while recording metrics");
    if (a->options->json || !e) return 0;
    snprintf(label, sizeof label, "%zu", iteration);
    int status = a->headed ? 0 : text_puts(&row, err, "\n") || evaluation_heading(&row, "iteration", err);
    a->headed = true;
    if (!status) status = evaluation_row(&row, label, e, tokens_per_s, err);
    if (!status) fputs(row.data, stdout);
    fflush(stdout);
    text_free(&row);
    return status ? -1 : 0;
}

// ---- what changed --------------------------------------------------------------------------------------------------------------

static void print_answer(const char *label, const Sample *s)
{
    float gold = 0;
    sample_reward(&gold, s, "gold");
    printf("  %-7s gold %+5.2f  ", label, (double)gold);
    print_flat(s->text, s->text_length);
    putchar('\n');
}

// A few prompts with their answers before and after, the first of the evaluation: not chosen for their looks.
static int show_answers(const Run *run, Err *err)
{
    enum { SHOWN = 4 };
    SampleList before = {0}, after = {0};
    char *from = run_path(run, "samples_before.jsonl", err), *to = from ? run_path(run, "samples_after.jsonl", err) : NULL;
    int status = to ? samples_read(&before, from, err) || samples_read(&after, to, err) : -1;
    for (size_t i = 0; !status && i < SHOWN && i < before.count && i < after.count; i++) {
        size_t at = i * before.count / SHOWN;
        printf("\n\"");
        print_flat(before.items[at].prompt, before.items[at].prompt_length);
        printf("\"\n");
        print_answer("before", before.items + at);
        print_answer("after", after.items + at);
    }
    samples_free(&before);
    samples_free(&after);
    mem_free(from);
    mem_free(to);
    return status ? -1 : 0;
}

static double measure(const json_t *lines, bool last, const char *name)
{
    size_t n = json_array_size(lines);
    const json_t *mean = json_object_get(json_object_get(json_array_get(lines, last && n ? n - 1 : 0), name), "mean");
    return mean ? json_number_value(mean) : 0;
}

static int conclude(const CommandContext *cx, const Run *run, Audience *audience, double seconds, Err *err)
{
    const json_t *lines = audience->lines;
    if (cx->options.json)
        return print_json(json_pack("{s:s,s:O,s:o}", "output", cx->options.output, "iterations", lines, "seconds", json_float(seconds)), err);
    if (show_answers(run, err)) return -1;
    double before = measure(lines, false, "perplexity"), after = measure(lines, true, "perplexity");
    printf("\nprobability of \"positive\" by the gold head %.2f -> %.2f, positive answers %.0f %% -> %.0f %%, held-out perplexity %.2f -> %.2f (%+.1f %%)\n",
        measure(lines, false, "gold_probability"), measure(lines, true, "gold_probability"), 100 * measure(lines, false, "positive_rate"),
        100 * measure(lines, true, "positive_rate"), before, after, before > 0 ? 100 * (after / before - 1) : 0);
    printf("%.1f s; %s/report.html tells it with pictures\n", seconds, cx->options.output);
    return 0;
}

static int run(CommandContext *cx, Err *err)
{
    Experiment e;
    Audience audience = {.options = &cx->options};
    double started = os_now_s();
    if (cx->word_count) return err_input(err, "demo: unexpected \"%s\"; everything is named by options", cx->words[0]);
    Options align;
    if (settings_resolve(&align, cx->settings, "align", err) || refuse_ppo_options(cx->settings, &align, err)) return -1;
    audience.lines = json_array();
    int status = experiment_open(&e, "demo", cx->settings, &cx->options, &cx->compute, err);
    if (!status && e.run.finished) status = tell_finished(&e.run, &cx->options, err);
    else if (!status) status = experiment_make_tokenizer(&e, err) || experiment_make_language_model(&e, err) || experiment_make_heads(&e, err) ||
        experiment_align(&e, (AlignmentListener){.self = &audience, .measured = on_measured}, err) || report_write(cx->options.output, err) ||
        conclude(cx, &e.run, &audience, os_now_s() - started, err) || run_finish(&e.run, err);
    experiment_close(&e);
    json_decref(audience.lines);
    return status ? -1 : 0;
}

const Command command_demo = {
    .name = "demo",
    .operands = "",
    .summary = "the whole loop: tokenizer, language model, reward heads, RAFT, report",
    .groups = EXPERIMENT_GROUPS | ALIGNMENT_GROUPS,
    .except = EXPERIMENT_EXCEPT,
    .defaults = "profile=demo output=runs/demo",
    .help = "demo trains a tokenizer and a language model on reviews, a proxy head on one half of them and a gold head on the other, then\n"
            "aligns the model with RAFT to the proxy and measures it with gold. Without --corpus the reviews are made from\n"
            "data/reviews.grammar; --corpus FOLDER takes one with train/ and test/ (data/get_imdb.sh makes it).\n"
            "--init CKPT takes a pretrained tokenizer and language model instead (--adapt trains it on the reviews first), --heads-from RUN\n"
            "the reward heads of an earlier run. The run directory holds tokenizer.json, lm, proxy, gold, checkpoint (after every iteration), iter_*/candidates.jsonl,\n"
            "metrics.jsonl and report.html. --resume goes on where it was cut off; --force starts it anew.",
    .needs_compute = true,
    .run = run,
};
