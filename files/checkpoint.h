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

// LlamaForCausalLM or LlamaForSequenceClassification, from model.safetensors or the files its index names; F32, F16, BF16. A file that
// checkpoint_save wrote is not read but mapped: see Model.map.
int checkpoint_load(Model *model, const char *folder, Err *err);
int checkpoint_load_config(ModelConfig *config, const char *folder, Err *err);
int checkpoint_load_tokenizer(Tokenizer *tk, const char *folder, const ModelConfig *config, Err *err);
int checkpoint_save(const char *folder, const Model *model, const Tokenizer *tk /* NULL: none */, Err *err);
int checkpoint_save_bf16(const char *folder, const Model *model, const Tokenizer *tk, Err *err); // weights rounded to BF16
// The backbone of `source` (all tensors that both have, the first layers when it is deeper) into `model`; sizes must agree.
int checkpoint_copy_backbone(Model *model, const Model *source, Err *err);
uint64_t checkpoint_hash(const Model *model); // of configuration and parameter bits

#endif
