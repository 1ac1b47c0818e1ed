// SPDX-License-Identifier: MIT
/* alignment.h - RAFT or PPO in a run directory: after each iteration its candidates, a line of metrics and the checkpoint.
 *
 *     Alignment a = {.raft = {.prompts = prompts.count, .samples = 8, .seed = 1}, .policy = &policy, .rewards = &rewards,
 *                    .evaluate = &how, .iterations = 5, .state = &state};
 *     if (alignment_run(&a, &run, &err)) return -1;          // goes on where state (study/state.h) says that it was cut off
 *
 * Files: iter_000/candidates.jsonl (ranked), metrics.jsonl, timing.jsonl, checkpoint/. A line of metrics holds the model after
 * so many iterations, 0 being before the first: {"iteration","generated",evaluation..., "stage":{...}, "train":{...}}: generated
 * is the number of tokens drawn to get there, stage and train tell of the iteration that led there. An evaluation's line of timing
 * holds "iteration", "generated" and "elapsed", the seconds of collecting, ranking and fine-tuning until then. Without evaluation prompts (evaluate->prompts NULL) a line measures the candidates with
 * which this model answered its stage, and stage and train tell of that same iteration; the last model has no line.
 */
#ifndef RAFT_STUDY_ALIGNMENT_H
#define RAFT_STUDY_ALIGNMENT_H

#include "policy.h"
#include "ppo.h"
#include "study/evaluate.h"
#include "study/monitors.h"
#include "study/progress.h"
#include "study/run.h"
#include "study/state.h"

// What happens, for whoever prints; non-zero stops. line is the line of metrics.jsonl; when a run goes on, the lines of before are
// told first, with e == NULL.
typedef struct {
    void *self;
    int (*ranked)(void *self, size_t iteration, const CandidateList *candidates, Err *err);
    int (*measured)(void *self, size_t iteration, const Evaluation *e, double tokens_per_s, const json_t *line, Err *err);
    void (*advanced)(void *self, size_t iteration, size_t iterations, double seconds); // so many are done, and measured where they are
} AlignmentListener;

typedef struct {
    Raft raft;              // prompts, stage, samples, rank, seed; the rest is set by alignment_run
    Policy *policy;
    RewardSet *rewards;
    EvaluateOptions *evaluate;
    size_t iterations;
    size_t evaluate_every;  // iterations from one evaluation to the next, the last is always evaluated; 0: 1
    Monitors monitors;      // monitors_parse; all zero: none, and no RUN/best
    const PpoOptions *ppo;  // NULL: RAFT. Else PPO: the policy's model has a value head, raft.rank is unused
    RunState *state;        // opened, of this stage
    bool quiet;             // no progress on standard error
    bool keep_answers;      // samples_before.jsonl and samples_after.jsonl: the evaluation's answers, first and last
    AlignmentListener listener; // functions may be NULL
    // what comes next, kept in the state; phase is one of alignment.c's
    size_t iteration, phase, sampled_tokens, stopped; // stopped: a monitor fired after the last measurement
    double sample_seconds, train_seconds;
    size_t generated;       // tokens of all stages so far
    double seconds;         // wall clock so far, of earlier processes, too
    double measuring;       // of these, what evaluations took
    float *scores;          // [candidates] raw rewards of the stage under way
    // of the iteration under way
    Run *run;
    double counted;         // clock when seconds was last brought up to date
    Progress bar;
    Measure all, kept, kl;  // raw reward of the candidates and of the selected ones; log ratio of the candidates, if p0 was asked
    Ppo ppo_state;
    Evaluation stage;       // of the candidates, without evaluation prompts
} Alignment;

int alignment_run(Alignment *alignment, Run *run, Err *err);

#endif
