// SPDX-License-Identifier: MIT
/* policies.h - what collect, finetune, align and eval share: a checkpoint, p0, prompts and options made into a Policy.
 *
 *     PolicySetup s = {0};
 *     if (setup_model(&s, cx->words[0], err) || setup_prompts(&s, options, err) || setup_reference(&s, options, false, err) ||
 *         setup_policy(&s, options, &cx->compute, err)) ...
 *     ... s.policy ...
 *     setup_free(&s);
 */
#ifndef RAFT_COMMANDS_POLICIES_H
#define RAFT_COMMANDS_POLICIES_H

#include "base/config.h"
#include "policy.h"
#include "ppo.h"
#include "reward.h"
#include "study/alignment.h"
#include "study/documents.h"

// finetune and align train alike, so that the steps apart end with align's bits.
#define STAGE_TRAIN_DEFAULTS "lr=1e-4 epochs=2"

typedef struct {
    const char *folder;
    Model model, other;      // other: p0 when it is not `model` itself
    const Model *reference;  // NULL until setup_reference
    Tokenizer tokenizer;
    PromptList prompts;
    Documents replayed;      // beginnings of the texts that are read beside chosen answers
    uint64_t replayed_hash;  // of their texts
    Policy policy;
    Progress bar;
} PolicySetup;

int setup_model(PolicySetup *setup, const char *folder, Err *err);
// p0: --reference, else the model as it is now: a copy of it when it is going to be trained.
int setup_reference(PolicySetup *setup, const Options *options, bool copy, Err *err);
// --prompts, the first --limit of them, each cut to --prompt-tokens (conversations are rendered, not cut); one that does not fit
// the context is an error.
int setup_prompts(PolicySetup *setup, const Options *options, Err *err);
// The first `most` tokens of a prompt become the prompt, and what they spell its text.
int prompt_cut(Prompt *prompt, const Tokenizer *tokenizer, size_t most, Err *err);
// With the texts of --replay.
int setup_policy(PolicySetup *setup, const Options *options, const Compute *cx, Err *err);
void setup_free(PolicySetup *setup);

SampleOptions sample_options(const Options *options, const ModelConfig *config);
RankOptions rank_options(const Options *options);
bool wants_ppo(const Options *options); // --algo ppo
int refuse_ppo_options(const Settings *settings, const Options *options, Err *err); // given on the command line to a run of RAFT
PpoOptions ppo_options(const Options *options);
// Stages, ranking, how often is measured, and monitors, of `prompts` prompts; the caller adds policy, rewards, state and who listens.
int alignment_options(Alignment *alignment, const Options *options, size_t prompts, bool has_gold, Err *err);
int setup_rewards(RewardSet *rewards, const Options *options, const Compute *cx, Err *err); // --reward ..., --gold; none is allowed
// The hashes of what --reward, --gold and --expert read, under their names; a program's text is not looked at.
int record_sources(Run *run, const Options *options, Err *err);
int record_replay(Run *run, const PolicySetup *setup, const Options *options, Err *err); // the hash of --replay-corpus
int setup_sample_progress(void *setup, size_t tokens, size_t done, size_t total); // a SampleProgress that draws setup->bar

#endif
