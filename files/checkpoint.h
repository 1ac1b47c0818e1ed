// SPDX-License-Identifier: MIT
/* checkpoint.h - a model on disk: a Hugging Face directory (config.json, model.safetensors, tokenizer.json).
 *
 *     Model model; Tokenizer tk;
 *     if (checkpoint_load(&model, "runs/demo/lm", &err)) return -1;
 *     if (checkpoint_load_tokenizer(&tk, "runs/demo/lm", &model.config, &err)) return -1;   // "does not fit" is an error
 *     if (checkpoint_save("out", &model, &tk, &err)) return -1;         // each file atomic, config.json last
 *
 * config.json is read in its old and new spelling (rope_theta at the top or inside rope_parameters). An architecture, an
 * activation, a rope type or a bias that this program does not have is refused by name: never a wrong model.
 */
#ifndef RAFT_FILES_CHECKPOINT_H
#define RAFT_FILES_CHECKPOINT_H

#include "model.h"
#include "tokenizer.h"

int checkpoint_load(Model *model, const char *folder, Err *err); // LlamaForCausalLM or LlamaForSequenceClassification
int checkpoint_load_config(ModelConfig *config, const char *folder, Err *err);
int checkpoint_load_tokenizer(Tokenizer *tk, const char *folder, const ModelConfig *config, Err *err);
int checkpoint_save(const char *folder, const Model *model, const Tokenizer *tk /* NULL: none */, Err *err);
// The backbone of `source` (all tensors that both have, the first layers when it is deeper) into `model`; sizes must agree.
int checkpoint_copy_backbone(Model *model, const Model *source, Err *err);
uint64_t checkpoint_hash(const Model *model); // of configuration and parameter bits

#endif
