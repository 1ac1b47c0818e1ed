// SPDX-License-Identifier: MIT
/* training.h - what the commands share: options to TrainOptions and ModelConfig, lists of ids, documents to examples.
 *
 *     TrainOptions how;
 *     if (train_options(&how, &cx->options, err)) return -1;
 */
#ifndef RAFT_COMMANDS_TRAINING_H
#define RAFT_COMMANDS_TRAINING_H

#include "base/config.h"
#include "model.h"
#include "ppo_loss.h"
#include "reward_head.h"
#include "train.h"

int train_options(TrainOptions *how, const Options *options, Err *err);
// A fresh language model's configuration from --dim, --layers ...; the end-of-text token also begins nothing (bos == eos).
int model_options(ModelConfig *config, const Options *options, size_t vocab, int64_t eos, Err *err);
// A checkpoint's sizes are its own: one that was typed beside --init, but for `used`, would be ignored. NULL: all would.
int refuse_sizes(const Settings *settings, const Options *options, const char *used, Err *err);
PpoCoefficients ppo_coefficients(const Options *options);
HeadOptions head_options(const Options *options, uint64_t seed);
int head_options_check(const Options *options, Err *err);
// --train-layers A-B, or one number: the other layers, the embedding, the final norm and the next-token head stay as they are.
int freeze_layers(Model *model, const Options *options, Err *err);
int parse_ids(TokenList *ids, const char *list, Err *err); // "5,7,9"

#endif
