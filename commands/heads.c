// SPDX-License-Identifier: MIT
/* heads.c - raft heads: the experiment up to its two reward heads, for plans to share. */
#include "commands/commands.h"
#include "commands/experiment.h"
#include "commands/learning.h"

#include <stdio.h>
#include <string.h>

static void print_bins(const char *what, const json_t *quality)
{
    size_t i;
    const json_t *bin;
    printf("%s: accuracy %.1f %%, calibration error %.3f\n  P(positive) said  texts  mean said  are positive\n", what,
        100 * json_number_value(json_object_get(json_object_get(quality, "accuracy"), "mean")),
        json_number_value(json_object_get(quality, "calibration_error")));
    json_array_foreach(json_object_get(quality, "calibration"), i, bin) {
        size_t n = (size_t)json_integer_value(json_object_get(bin, "n"));
        if (n) printf("  %.1f - %.1f        %6zu      %.3f         %.3f\n", (double)i / 10, (double)(i + 1) / 10, n,
            json_number_value(json_object_get(bin, "predicted")), json_number_value(json_object_get(bin, "observed")));
    }
}

static int report(const Run *run, const Options *o, Err *err)
{
    char *path = run_path(run, "heads.json", err);
    json_t *figures = path ? json_load_document(path, err) : NULL, *head;
    const char *name;
    mem_free(path);
    if (!figures) return -1;
    if (o->json) return print_json(json_pack("{s:s,s:o}", "output", o->output, "heads", figures), err);
    json_object_foreach(figures, name, head) {
        printf("\n%s, ", name);
        print_bins("whole reviews", json_object_get(head, "whole"));
        printf("%s, ", name);
        print_bins("their first 30 tokens", json_object_get(head, "30_tokens"));
    }
    json_decref(figures);
    printf("\n%s: proxy, gold, heads.json; raft compare --heads-from %s takes them\n", o->output, o->output);
    return 0;
}

static int run(CommandContext *cx, Err *err)
{
    Experiment e;
    const char *only = cx->word_count ? cx->words[0] : NULL;
    if (cx->word_count > 1 || (only && strcmp(only, "proxy") && strcmp(only, "gold")))
        return err_input(err, "heads: expected \"proxy\" or \"gold\", or nothing for both, found \"%s\"", cx->words[cx->word_count - 1]);
    int status = experiment_open(&e, "heads", cx->settings, &cx->options, &cx->compute, err);
    e.unwanted[PROXY] = only && !strcmp(only, "gold");
    e.unwanted[GOLD] = only && !strcmp(only, "proxy");
    if (!status && e.run.finished) status = heads_check_finished(&e, err) || tell_finished(&e.run, &cx->options, err) ? -1 : 0;
    if (!status && !e.run.finished) status = experiment_make_tokenizer(&e, err) || experiment_make_language_model(&e, err) || experiment_make_heads(&e, err) ||
        report(&e.run, &cx->options, err) || run_finish(&e.run, err);
    experiment_close(&e);
    return status ? -1 : 0;
}

const Command command_heads = {
    .name = "heads",
    .operands = "[proxy|gold]",
    .summary = "the two reward heads of demo and compare alone, for several comparisons to share",
    .groups = EXPERIMENT_GROUPS,
    .except = "test-corpus pairs heads-from held-out-tokens prompt-characters prompt-words prompt-least",
    .defaults = "profile=demo output=runs/heads",
    .help = "heads makes what demo and compare make first: tokenizer and language model (or --init CKPT), then the proxy head on half A of the\n"
            "training reviews and the gold head on half B. Each is measured on held-out test reviews, whole and after 30 tokens: accuracy,\n"
            "and how often texts that it calls positive with probability p are so. demo and compare take them with --heads-from. Settings\n"
            "of one head: --proxy.layers, --gold.lr, ...; heads proxy makes that one only. Seconds are in RUN/timing.jsonl. --resume goes on where it was cut off.",
    .needs_compute = true,
    .run = run,
};
