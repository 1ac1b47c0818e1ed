// SPDX-License-Identifier: MIT
/* plan.h - a comparison: arms x seeds measured on the same prompts; each result is kept when it is there, then one table.
 *
 *     Plan plan;
 *     if (plan_open(&plan, "runs/compare", arms, arm_count, 1, 3, key, true, quiet, &err)) return -1;  // arms: "raft", "bo32:best-of samples=32"
 *     if (plan_run(&plan, run_arm, self, &err)) return -1;             // arms/NAME-sSEED.json, then comparison.json
 *     if (plan_table(&text, &plan, &err)) return -1;
 *     plan_close(&plan);
 *
 * An arm is "KIND" or "NAME:KIND", and then settings of its own, "key=value". A result whose file names the same key (of the
 * inputs, the settings, the arm and the seed) is taken from there: a comparison that was cut off goes on with the next one.
 * comparison.json has the same bytes on every machine; seconds are in arms/ only.
 */
#ifndef RAFT_STUDY_PLAN_H
#define RAFT_STUDY_PLAN_H

#include "study/evaluate.h"

typedef enum { ARM_BASE, ARM_BEST_OF, ARM_SFT, ARM_RAFT, ARM_PPO } ArmKind; // nothing; the best of K answers; fine-tuning on
                                                                          // positive texts; the two algorithms
typedef struct {
    char *name;
    ArmKind kind;
    char **keys, **values; // [count] settings of this arm alone
    size_t count;
} PlanArm;

typedef struct {
    Evaluation evaluation;
    size_t generated;      // tokens drawn while the arm was made
    double seconds;        // wall clock of making and measuring it; left at 0 by a runner, plan_run looks at the clock itself
} PlanResult;

typedef struct {
    char *folder;
    PlanArm *arms;
    size_t arm_count, seeds;
    uint64_t first_seed, key;
    PlanResult *results;   // [arm_count, seeds]
    Evaluation *means;     // [arm_count] over seeds, with intervals over seeds and prompts (metric_over_runs)
    bool resume, quiet;
} Plan;

typedef int (*PlanRunner)(void *self, const PlanArm *arm, uint64_t seed, PlanResult *result, Err *err);

// resume: take results that are in the folder already.
int plan_open(Plan *plan, const char *folder, const char *const *arms, size_t arm_count, uint64_t first_seed, size_t seeds, uint64_t key,
    bool resume, bool quiet, Err *err);
int plan_run(Plan *plan, PlanRunner run, void *self, Err *err);
int plan_table(Text *out, const Plan *plan, Err *err); // a row an arm: mean [low, high] of the main measures
json_t *plan_json(const Plan *plan, Err *err);         // what comparison.json holds; NULL on an error
void plan_close(Plan *plan);

#endif
