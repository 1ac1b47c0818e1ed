// SPDX-License-Identifier: MIT
/* reward.h - rewards: a trained head, a lexicon, a length, an outside program; weighted sums of them, one perhaps gold.
 *
 *     RewardSet rewards;
 *     const char *specs[] = {"head:runs/demo/proxy", "0.1*length:30"};
 *     if (reward_open(&rewards, specs, 2, "head:runs/demo/gold", &cx, &err)) return -1;
 *     if (reward_score(&rewards, inputs, n, total, parts, &err) || reward_score_gold(&rewards, inputs, n, gold, &err)) return -1;
 *     reward_close(&rewards);
 *
 * A spec is [WEIGHT*]KIND:ARGUMENT. Every reward sees the text of prompt + response, in `align` exactly as through files.
 * A word is a run of ASCII letters, digits and bytes above 127, with apostrophes only inside; ASCII case does not matter.
 *   head:DIR         the logit of a LlamaForSequenceClassification checkpoint with its own tokenizer (> 0: positive)
 *   lexicon:FILE     lines "word<TAB or space>weight": the mean weight of the response's words found in it (0 when none)
 *   length:N         -|words of the response - N| / N
 *   command:PROGRAM  a filter: one JSON line {"prompt","text"} out for each sample, one line with "reward" (or a bare number)
 *                    back. Started anew for each scoring; it sees the end of its input after the last sample.
 * A head reads a text longer than its context in windows of that size and averages, weighted by tokens.
 * No gradient flows through a reward; values are raw. NaN or infinity is an error (status 1) naming the sample.
 */
#ifndef RAFT_REWARD_H
#define RAFT_REWARD_H

#include "kernels/kernels.h"

typedef struct { const char *prompt; size_t prompt_length; const char *text; size_t text_length; } RewardInput;

typedef struct RewardPart RewardPart; // one component: reward.c only
typedef struct { RewardPart **parts; size_t count; RewardPart *gold; } RewardSet;

int reward_open(RewardSet *set, const char *const *specs, size_t count, const char *gold /* NULL: none */, const Compute *cx, double timeout_s, Err *err);
void reward_close(RewardSet *set);
const char *reward_name(const RewardSet *set, size_t part); // the spec without its weight: the key in rewards{}
int reward_rename(RewardSet *set, size_t part, const char *name, Err *err); // where the spec holds a place that is not to be recorded
// p[n] = sigma(gold[n]), the probability of "positive"; p may be gold. False, and nothing done, when gold is not a head.
bool reward_gold_probability(const RewardSet *set, float *p, const float *gold, size_t n);
// total[n] = sum of weight * value in the order of the specs; parts[count][n] or NULL: each value unweighted.
int reward_score(RewardSet *set, const RewardInput *inputs, size_t n, float *total, float *const *parts, Err *err);
int reward_score_gold(RewardSet *set, const RewardInput *inputs, size_t n, float *gold, Err *err); // gold[n], when there is one

#endif
