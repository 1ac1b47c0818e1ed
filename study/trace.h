// SPDX-License-Identifier: MIT
/* trace.h - every named intermediate of a computation in one safetensors file, for comparison with another implementation.
 *
 *     if (trace_forward(&model, &cx, ids, n, "out.safetensors", &err)) return -1;
 *     if (trace_step(&model, &cx, &batch, &options, 3, "out.safetensors", &err)) return -1;
 *
 * forward: embedding [1,T,D]; for each layer l: layers.l.q [1,T,H*hd], .k, .v [1,T,G*hd] (q and k after RoPE), .attention
 * [1,T,H*hd], .attention_residual [1,T,D], .gate, .up [1,T,F], .output [1,T,D]; norm [1,T,D]; logits [1,T,V] or score [1].
 * step: logits [B,T,V] before the first step, loss [steps], grad_norm [steps] (before clipping), grad.NAME of the first step,
 * after.NAME: the parameters after the last.
 */
#ifndef RAFT_STUDY_TRACE_H
#define RAFT_STUDY_TRACE_H

#include "train.h"

typedef struct { int64_t *ids, *labels; size_t sequences, length; } TraceBatch; // [B,T]; labels unshifted, -100 = not counted

int trace_batch_read(TraceBatch *batch, const char *path, Err *err); // input_ids and labels of a safetensors file
void trace_batch_free(TraceBatch *batch);
int trace_forward(const Model *model, const Compute *cx, const uint32_t *ids, size_t n, const char *path, Err *err);
int trace_step(Model *model, const Compute *cx, const TraceBatch *batch, const TrainOptions *options, size_t steps, const char *path, Err *err);

#endif
