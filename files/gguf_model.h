// SPDX-License-Identifier: MIT
/* gguf_model.h - what a GGUF file of architecture "llama" means: a model, its tokenizer, its chat template; and the way back.
 *
 *     Gguf gguf; Model model; Tokenizer tk;
 *     if (gguf_open(&gguf, "smollm2.gguf", &err) || gguf_load_model(&model, &gguf, NULL, NULL, &err)) ...
 *     if (gguf_load_tokenizer(&tk, &gguf, &err)) ...
 *     if (gguf_save_model("out.gguf", &model, "lm/tokenizer.json", &tk, NULL, GGUF_Q8_0, &err)) ...
 *
 * What this program does not compute (other architectures, RoPE scalings, biases, experts) is refused by name.
 */
#ifndef RAFT_FILES_GGUF_MODEL_H
#define RAFT_FILES_GGUF_MODEL_H

#include "files/gguf.h"
#include "model.h"
#include "tokenizer.h"

typedef void (*GgufProgress)(void *self, size_t done, size_t total); // tensors
int gguf_load_model(Model *model, const Gguf *gguf, GgufProgress progress /* may be NULL */, void *self, Err *err);
int gguf_load_tokenizer(Tokenizer *tk, const Gguf *gguf, Err *err);

// type of the matrices: GGUF_F32, GGUF_F16 or GGUF_Q8_0; vectors stay float32. The vocabulary is taken from tokenizer.json as it is
// spelled there; tk is the same file, loaded. Atomic.
int gguf_save_model(const char *path, const Model *model, const char *tokenizer_json, const Tokenizer *tk,
    const char *chat_template /* NULL: none */, GgufType type, Err *err);

#endif
