// SPDX-License-Identifier: MIT
/* experiment-internal.h - what experiment.c and experiment_heads.c share: how a stage begins and ends in the run directory.
 *
 *     Options o;
 *     if (stage_begin(e, &o, "pretrain", err)) return -1;
 *     if (!e->state.finished) ... make it, write it ...
 *     if (record_model(e, "lm", folder, &e->model, e->state.finished, err) || stage_end(e, err)) return -1;
 */
#ifndef RAFT_COMMANDS_EXPERIMENT_INTERNAL_H
#define RAFT_COMMANDS_EXPERIMENT_INTERNAL_H

#include "commands/experiment.h"

// The stage's options; e->state.finished tells that the run directory holds its result already.
int stage_begin(Experiment *e, Options *options, const char *stage, Err *err);
int stage_end(Experiment *e, Err *err);
// A model that a stage made, or that an earlier process made and that must not have changed since.
int record_model(Experiment *e, const char *name, const char *folder, const Model *model, bool made_before, Err *err);
#define HUMAN "human" // --expert
// The prompts of the reviews `from` names (NULL: of all), in order; those too short to go on after one have none.
int prompts_cut(PromptList *list, const Experiment *e, const Corpus *corpus, const Indices *from, const Options *options, Err *err);
int prompts_check(const Options *options, Err *err); // are the options on prompts' lengths consistent?
int indices_reserve(Indices *list, size_t most, Err *err);
// corpus_spread of the texts that `from` names.
int indices_spread(Indices *out, const Indices *from, const Corpus *corpus, size_t limit, Err *err);
// Heads of --heads-from must be of the same reviews, split by the same seed: else gold may have learned from what the proxy read.
int heads_check_origin(const Experiment *e, Err *err);

extern const char *const head_names[HEADS]; // of their folders, and of their stages in settings

#endif
