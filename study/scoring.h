// SPDX-License-Identifier: MIT
/* scoring.h - rewards for candidates: a RewardSet (reward.h) as RAFT's Reward (raft.h), over items that are Samples.
 *
 *     Raft raft = {.generator = policy_generator(&policy), .reward = reward_source(&rewards, true), ...};
 *     if (raft_rank(&raft, &candidates, &err) || candidates_record(&candidates, &err)) return -1;
 *     if (candidates_write(&candidates, "candidates.jsonl", &err)) return -1;
 *
 * Each component is logged apart under its name in the sample's rewards{}, besides "gold" and "kl" (nats per response).
 */
#ifndef RAFT_STUDY_SCORING_H
#define RAFT_STUDY_SCORING_H

#include "files/candidates.h"
#include "raft.h"
#include "reward.h"

// gold: gold, when there is one, is asked about every candidate too, for the record. It plays no part in the ranking and costs as much as
// the reward does: a run that measures its model on other answers leaves it out.
Reward reward_source(RewardSet *rewards, bool gold);
// The reward with its components, into the samples; then, of those that it is wanted of, gold.
int samples_score(Sample *const *samples, size_t n, RewardSet *rewards, Err *err);
int samples_score_gold(Sample *const *samples, size_t n, RewardSet *rewards, Err *err);
// After ranking: reward, rank, selected and, where p0 was asked, kl into the samples.
int candidates_record(const CandidateList *candidates, Err *err);
int candidates_write(const CandidateList *candidates, const char *path, Err *err);
// The value logged under a name; false when there is none.
bool sample_reward(float *value, const Sample *sample, const char *name);

#endif
