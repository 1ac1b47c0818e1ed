// SPDX-License-Identifier: MIT
/* trace.h - every named intermediate of a computation, for comparison with another implementation.
 *
 *     if (trace_forward(&model, &cx, ids, n, "out.safetensors", &err)) return -1;
 *     if (trace_step(&model, &cx, &batch, &options, 3, "out.safetensors", &err)) return -1;
 *     if (trace_iteration(&policy, &rewards, &how, 0, "runs/trace", false, &summary, &err)) return -1;
 *
 * forward: embedding [1,T,D]; for each layer l: layers.l.attention_norm [1,T,D], .q [1,T,H*hd], .k, .v [1,T,G*hd] (q and k after
 * RoPE), .attention [1,T,H*hd], .attention_residual [1,T,D], .ff_norm [1,T,D], .gate, .up, .hidden [1,T,F], .output [1,T,D];
 * norm [1,T,D]; logits [1,T,V] or score [1].
 * step: logits [B,T,V] before the first step, loss [steps], grad_norm [steps] (before clipping), grad.NAME of the first step,
 * after.NAME: the parameters after the last.
 * iteration: a folder with index.jsonl (files/tracefile.h); its names are listed in docs/VERIFY.md.
 */
#ifndef RAFT_STUDY_TRACE_H
#define RAFT_STUDY_TRACE_H

#include "observe.h"
#include "policy.h"
#include "reward.h"
#include "study/recorder.h"

typedef struct { int64_t *ids, *labels; size_t sequences, length; } TraceBatch; // [B,T]; labels unshifted, -100 = not counted

int trace_batch_read(TraceBatch *batch, const char *path, Err *err); // input_ids and labels of a safetensors file
void trace_batch_free(TraceBatch *batch);
int trace_forward(const Model *model, const Compute *cx, const uint32_t *ids, size_t n, const char *path, Err *err);
// Trains the model in place.
int trace_step(Model *model, const Compute *cx, const TraceBatch *batch, const TrainOptions *options, size_t steps, const char *path, Err *err);

typedef struct { size_t tensors, steps, candidates, selected; double loss; } TraceSummary;
// One RAFT iteration, computed as align computes it, and what it computed. how: prompts, stage, samples, rank, seed.
int trace_iteration(Policy *policy, RewardSet *rewards, const Raft *how, size_t iteration, const char *folder, bool hashes_only,
    TraceSummary *summary, Err *err);

// What a pass shows (Observer.pass), under the names above; backward: see docs/VERIFY.md. For recorders of passes.
void trace_record_pass(Recorder *r, PassPoint point, size_t layer, const Model *model, const Workspace *ws);
void trace_record_parameters(Recorder *r, const Model *model, const char *prefix);
void trace_record_gradients(Recorder *r, const Model *model, const float *gradient /* [trained_count] */); // last tensor first

#endif
