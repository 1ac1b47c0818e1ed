// SPDX-License-Identifier: MIT
/* arms-internal.h - several runs in memory for a page that shows them side by side: report_arms.c reads them, report_frontier.c draws
 * them, report_compare.c tells of them. */
#ifndef RAFT_STUDY_ARMS_INTERNAL_H
#define RAFT_STUDY_ARMS_INTERNAL_H

#include "study/report-internal.h"

// An arm's model after a measured iteration, over its seeds.
typedef struct {
    IterationRow mean;         // its measures, joined by metric_over_runs
    double generated, seconds; // tokens drawn so far; seconds of sampling and learning so far: means over seeds
    bool counted, timed;       // generated and seconds are known
} ArmPoint;

typedef struct { double sampling, ranking, learning, measuring, trained_tokens; } ArmCost; // seconds and tokens, means over seeds

typedef struct {
    char *name, *kind;         // kind: base, best-of, sft, raft or ppo
    Text settings;             // of its own, "samples 32, temperature 1.1, of gentle"; empty: none
    size_t seeds, K;           // K: answers to a prompt; 0: not known
    bool tempered;             // answers were drawn with another temperature than 1, top-k or top-p: log p is not that of their distribution
    IterationRow end;          // measures of the arm as it ended, over seeds
    double generated, seconds; // tokens drawn while it was made; wall clock, measuring included; 0: not told
    RunFiles *runs;            // of RAFT and PPO, one a seed
    size_t run_count;
    bool first_is_there;       // runs[0] is the first seed's
    SampleList answers;        // of the first seed, where there is no run
    ArmPoint *points;          // none where there is no run
    size_t point_count;
    ArmCost cost;
} Arm;

typedef struct {
    Arm *arms;
    size_t count;
    bool planned;              // a comparison made by `raft compare`; else runs named one by one
    RunFiles own;              // of the comparison's folder: heads, provenance, settings; else empty
} Arms;

int arms_read_comparison(Arms *arms, const char *folder, Err *err);
int arms_read_runs(Arms *arms, const char *const *folders, size_t count, Err *err);
void arms_free(Arms *arms);

const SampleList *arm_answers(const Arm *arm);             // of the first seed to the evaluation prompts, as it ended; may be empty
const Arm *arms_example(const Arms *arms);                 // the arm whose first run's candidates tell the story: RAFT's first; NULL: none
bool arms_measured(const Arms *arms, size_t measure);      // by any arm
size_t arms_gold(const Arms *arms);                        // what judges: gold, or the reward where there is no gold

// Nats from the start to what answers. Of the best of K: the mean of log p/p0 over the answers chosen, and log K - (K-1)/K, how far they lie
// from the model's own. n == 0: not known.
Measure arm_kl(const Arm *arm);

// Charts over arms.
void arms_frontiers(Html *out, const Arms *arms);
void arms_curves(Html *out, const Arms *arms);
void arms_overdone(Html *out, const Arms *arms);           // report_overdone.c

#endif
