// SPDX-License-Identifier: MIT
/* learning.h - what commands that learn from texts share: reading a corpus, its tokenizer's end of text, watching a training.
 *
 *     Corpus corpus = {0};
 *     if (read_texts(&corpus, options->corpus, options, err)) return -1;
 *     TrainWatch watch;
 *     watch_start(&watch, &state, options->quiet, err);                 // a stage's state (study/state.h)
 *     if (train_run(&trainer, examples, n, seed, 0, watch_progress, &watch, &total, err)) return -1;
 *     if (watch_finish(&watch, &total, err)) return -1;
 */
#ifndef RAFT_COMMANDS_LEARNING_H
#define RAFT_COMMANDS_LEARNING_H

#include "base/config.h"
#include "files/corpus.h"
#include "study/progress.h"
#include "study/run.h"
#include "study/state.h"
#include "tokenizer.h"
#include "train.h"

// corpus_read, and for a .grammar file --corpus-size reviews made from it with --seed; then the first --limit texts only.
int read_texts(Corpus *corpus, const char *path, const Options *options, Err *err);
int64_t end_of_text(const Tokenizer *tk); // "<|endoftext|>", "</s>" and the like, else the first special token; -1: none

// A TrainProgress that draws the bar and writes about fifty lines of training curve to the run's metrics.jsonl. What it has seen
// is kept in the stage's state. loss: running mean.
typedef struct { Progress bar; Run *run; const char *stage; size_t tokens; double seconds, loss; Err *err; } TrainWatch;
void watch_start(TrainWatch *watch, RunState *state, bool quiet, Err *err);
int watch_progress(void *watch, size_t step, size_t steps, const StepStats *stats);
int watch_finish(TrainWatch *watch, const StepStats *total, Err *err); // the stage's line, and one in timing.jsonl

// On one line: line breaks and other control characters as spaces.
void print_flat(const char *text, size_t length);
// With --resume on a run that lacks nothing: says so.
int tell_finished(const Run *run, const Options *options, Err *err);

// A file that the command would replace is an error (status 2) without --force; standard output and devices never are.
int check_output_file(const Options *options, Err *err);
int print_json(json_t *value, Err *err); // one line on standard output; steals value

#endif
