// SPDX-License-Identifier: MIT
/* learning.c - reading texts and watching a training, for any command. Knows no command. */
#include "commands/learning.h"

#include <stdio.h>
#include <string.h>

static int read_grammar(Corpus *corpus, const char *path, size_t size, uint64_t seed, Err *err)
{
    Grammar *grammar = grammar_load(path, err);
    int status = grammar ? grammar_corpus(corpus, grammar, size, seed, err) : -1;
    grammar_free(grammar);
    return status;
}

int read_texts(Corpus *corpus, const char *path, const Options *options, Err *err)
{
    size_t n = strlen(path);
    bool grammar = n > 8 && !strcmp(path + n - 8, ".grammar");
    if (grammar ? read_grammar(corpus, path, options->corpus_size, options->seed, err) : corpus_read(corpus, path, err)) return -1;
    if (corpus->repaired) fprintf(stderr, "raft: %s: %zu invalid UTF-8 sequences replaced by U+FFFD\n", path, corpus->repaired);
    for (; options->limit && corpus->count > options->limit; corpus->count--) {
        mem_free(corpus->items[corpus->count - 1].id);
        mem_free(corpus->items[corpus->count - 1].text);
    }
    return 0;
}

int64_t end_of_text(const Tokenizer *tk)
{
    const char *const names[] = {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]", "<|im_end|>"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (tokenizer_find(tk, names[i]) >= 0) return tokenizer_find(tk, names[i]);
    for (size_t id = 0; id < tk->vocab; id++)
        if (tk->special[id]) return (int64_t)id;
    return -1;
}

// ---- watching --------------------------------------------------------------------------------------------------------------

enum { CURVE_POINTS = 50 }; // each rewrites and syncs the file

void watch_start(TrainWatch *watch, RunState *state, bool quiet, Err *err)
{
    *watch = (TrainWatch){.run = state->run, .stage = state->stage, .err = err};
    state_keep(state, (KeptValue){"watch_tokens", &watch->tokens, NULL});
    state_keep(state, (KeptValue){"watch_loss", NULL, &watch->loss});
    state_keep(state, (KeptValue){"watch_seconds", NULL, &watch->seconds});
    progress_start(&watch->bar, state->stage, "step", 0, quiet);
}

int watch_progress(void *self, size_t step, size_t steps, const StepStats *stats)
{
    TrainWatch *watch = self;
    char note[60];
    if (!watch->bar.done) watch->bar.before = watch->seconds; // put back by the state, or 0
    watch->tokens += stats->tokens;
    watch->loss = step == 1 ? stats->loss : 0.98 * watch->loss + 0.02 * stats->loss;
    watch->bar.total = steps;
    snprintf(note, sizeof note, "loss %.3f", stats->loss);
    progress_update(&watch->bar, step, watch->tokens, note);
    watch->seconds = progress_seconds(&watch->bar);
    if (step != steps && step % (steps / CURVE_POINTS + 1) != 0) return 0;
    json_t *line = json_pack("{s:s,s:I,s:o,s:o,s:o}", "stage", watch->stage, "step", (json_int_t)step, "loss", json_float(stats->loss),
        "grad_norm", json_float(stats->grad_norm), "lr", json_float(stats->lr));
    return run_metrics(watch->run, line, watch->err);
}

int watch_finish(TrainWatch *watch, const StepStats *total, Err *err)
{
    char note[60];
    watch->seconds = progress_seconds(&watch->bar);
    snprintf(note, sizeof note, "loss %.3f", total->loss);
    progress_finish(&watch->bar, note);
    return run_timing(watch->run, watch->stage, watch->seconds, watch->tokens, err);
}

void print_flat(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) putchar((unsigned char)text[i] < 0x20 ? ' ' : text[i]);
}

int tell_finished(const Run *run, const Options *options, Err *err)
{
    if (options->json) return print_json(json_pack("{s:s,s:b}", "output", run->folder, "finished", 1), err);
    printf("%s: this run is finished; nothing is left to do (--force begins it anew)\n", run->folder);
    return 0;
}

int check_output_file(const Options *options, Err *err)
{
    if (options->force || !options->output || !os_is_regular(options->output)) return 0;
    return err_input(err, "%s: exists already; choose another name, or --force to replace it", options->output);
}

int print_json(json_t *value, Err *err)
{
    Text text = {0};
    int status = json_write(&text, value, err) || text_puts(&text, err, "\n");
    if (!status && fwrite(text.data, 1, text.length, stdout) != text.length) status = err_failed(err, "cannot write to standard output");
    text_free(&text);
    json_decref(value);
    return status ? -1 : 0;
}
