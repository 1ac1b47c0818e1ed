// SPDX-License-Identifier: MIT
/* shading.h - of some answers, how likely each token is to the policy and was to p0: where alignment moved the model, word by word.
 *
 *     if (shade_answers(&answers, &policy_model, &reference, &tokenizer, stop, &cx, &err)) return -1;
 *     ... answers.items[0].values[t].logprob - answers.items[0].values[t].ref_logprob ...    // NULL: not one of them
 *     if (samples_write(&answers, "samples_after.jsonl", &err)) return -1;
 *
 * At most SHADED_ANSWERS of the list get values, at equal distances: of two lists with the same prompts, the same ones.
 */
#ifndef RAFT_STUDY_SHADING_H
#define RAFT_STUDY_SHADING_H

#include "files/candidates.h"
#include "model.h"
#include "tokenizer.h"

enum { SHADED_ANSWERS = 32 };

int shade_answers(SampleList *answers, const Model *model, const Model *reference, const Tokenizer *tokenizer, const char *stop,
    const Compute *cx, Err *err);

#endif
