// SPDX-License-Identifier: MIT
/* weights.h - the weights of a Hugging Face directory: model.safetensors, or the files that model.safetensors.index.json names.
 *
 *     Weights weights;
 *     if (weights_open(&weights, "runs/demo/lm", &err)) return -1;
 *     const Safetensors *file;
 *     const StTensor *t = weights_need(&weights, "model.norm.weight", &file, &err);      // absent: an error that lists near names
 *     weights_close(&weights);
 */
#ifndef RAFT_FILES_WEIGHTS_H
#define RAFT_FILES_WEIGHTS_H

#include "files/safetensors.h"

typedef struct { Safetensors *files; size_t count; } Weights;

int weights_open(Weights *weights, const char *folder, Err *err); // a tensor in two files is an error
void weights_close(Weights *weights);
const StTensor *weights_need(const Weights *weights, const char *name, const Safetensors **file, Err *err);

#endif
