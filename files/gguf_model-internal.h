// SPDX-License-Identifier: MIT
/* gguf_model-internal.h - what reading (gguf_model.c) and writing (gguf_save.c) of a model share. Nobody else includes it. */
#ifndef RAFT_FILES_GGUF_MODEL_INTERNAL_H
#define RAFT_FILES_GGUF_MODEL_INTERNAL_H

#include "files/gguf_model.h"

typedef struct { const char *ours, *theirs; } GgufName; // behind "model.layers.N." and "blk.N." for what a layer has
extern const GgufName gguf_names[];                     // ends with NULL

void gguf_tensor_name(char *out, size_t size, const char *ours);       // "blk.3.attn_q.weight"; "?" for what GGUF does not have
size_t gguf_rope_heads(const ModelConfig *config, const char *ours);   // heads of a matrix whose rows RoPE pairs, else 0

#endif
