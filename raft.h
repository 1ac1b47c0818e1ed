// SPDX-License-Identifier: MIT
/* raft.h - Reward rAnked FineTuning (Dong et al., TMLR 2023, Algorithm 1), over two small interfaces.
 *
 *     Raft raft = {.generator = policy_generator(&policy), .reward = reward_source(&rewards, true),
 *                  .prompts = 1024, .stage = 128, .samples = 8, .rank = {.mode = RANK_LOCAL}};
 *     for (size_t t = 0; t < iterations; t++)
 *         if (raft_iteration(&raft, t, &err)) return -1;
 *
 * A candidate's content is opaque here: text today, images tomorrow. Nothing in this module knows of tokens, files or models.
 */
#ifndef RAFT_RAFT_H
#define RAFT_RAFT_H

#include "base/util.h"

// One answer y to one prompt x.
typedef struct {
    size_t slot;       // position of its prompt in this stage, 0 .. b-1
    size_t prompt;     // index of that prompt among all prompts
    size_t k;          // index among the answers to this prompt: the policy's K first, then the experts'
    float log_ratio;   // log p(y|x) - log p0(y|x), nats per response; 0 where it was not measured
    float score;       // r(x,y), as the reward gave it
    float reward;      // what is ranked: r(x,y) - beta * log_ratio
    size_t rank;       // 0 is best: among the prompt's answers (local) or among all (global)
    bool selected;
    void *item;        // what was generated; owned by the generator
} Candidate;

typedef struct { Candidate *items; size_t count, capacity; } CandidateList; // slot after slot, k ascending within a slot
int candidates_add(CandidateList *list, const Candidate *candidate, Err *err);

typedef struct {
    void *self;
    // Appends K answers (and the experts') for each of the b prompts, in order; slot i asks prompts[i].
    int (*sample)(void *self, CandidateList *out, const size_t *prompts, size_t b, size_t K, size_t iteration, Err *err);
    // Supervised fine-tuning on the selected candidates.
    int (*finetune)(void *self, const CandidateList *ranked, size_t iteration, Err *err);
    // Sets .log_ratio of every candidate. p0 must read all answers for it, which costs as much as drawing them: only asked when the
    // ranking has a KL term, or when measure_kl is set.
    int (*log_ratio)(void *self, CandidateList *candidates, Err *err);
    void (*release)(void *self, void *item);
} Generator;

typedef struct {
    void *self;
    int (*score)(void *self, CandidateList *candidates, Err *err); // sets .score of every candidate
} Reward;

typedef enum { RANK_LOCAL, RANK_GLOBAL } RankMode;
typedef struct {
    RankMode mode;
    double accept;     // global: the fraction kept, ceil(accept * N) of N; 0: 1/K
    double kl_beta;    // beta
} RankOptions;

// Called after each step of an iteration: to write files, print, stop (non-zero). step: "collected", "ranked", "finetuned".
typedef int (*RaftObserver)(void *self, const char *step, size_t iteration, const CandidateList *candidates, Err *err);

typedef struct {
    Generator generator;
    Reward reward;
    size_t prompts;    // how many there are
    size_t stage;      // b, prompts a stage; 0: all of them
    size_t samples;    // K
    RankOptions rank;
    bool measure_kl;   // candidates' log ratios are wanted even when beta is 0
    uint64_t seed;
    RaftObserver observer; // may be NULL
    void *observer_self;
} Raft;

int raft_iteration(Raft *raft, size_t iteration, Err *err);
void raft_release(const Raft *raft, CandidateList *candidates);

// The three steps apart.
int raft_collect(const Raft *raft, CandidateList *out, size_t iteration, Err *err);
int raft_rank(const Raft *raft, CandidateList *candidates, Err *err);          // score, log ratio, then raft_order
int raft_finetune(const Raft *raft, const CandidateList *ranked, size_t iteration, Err *err);

// The b prompts of a stage: drawn without replacement by a Philox shuffle, a new shuffle when all were used.
void raft_stage_prompts(size_t *chosen, size_t b, size_t prompts, size_t iteration, uint64_t seed, uint32_t *order /* [prompts] */);
// reward = score - beta * log_ratio, rank, selected, by the total order: reward descending, then index ascending. K: answers
// of the policy to a prompt (for the default acceptance). A NaN or infinite reward is an error (status 1) naming the sample.
int raft_order(CandidateList *candidates, const RankOptions *how, size_t K, Err *err);

#endif
