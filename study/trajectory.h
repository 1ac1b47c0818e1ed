// SPDX-License-Identifier: MIT
/* trajectory.h - what an alignment had cost at each measurement, and what it had come to: for comparisons at equal cost.
 *
 *     Trajectory t = {0};
 *     if (trajectory_of_run(&t, &run, &err)) return -1;              // from its lines of metrics.jsonl and timing.jsonl
 *     const TrajectoryPoint *p = trajectory_at_tokens(&t, 98304);    // the last one that had cost no more
 *     trajectory_free(&t);
 *
 * Cost is counted in tokens drawn for learning (not for measuring) and in seconds of collecting, ranking and fine-tuning (without
 * measuring). Answers of two algorithms never have exactly the same number of tokens: "no more" allows a twentieth.
 */
#ifndef RAFT_STUDY_TRAJECTORY_H
#define RAFT_STUDY_TRAJECTORY_H

#include "study/evaluate.h"
#include "study/run.h"

typedef struct { size_t iteration, generated; double seconds; Evaluation evaluation; } TrajectoryPoint;
typedef struct { TrajectoryPoint *points; size_t count; } Trajectory; // in the order of the iterations

int trajectory_of_run(Trajectory *t, const Run *run, Err *err);
int trajectory_read(Trajectory *t, const json_t *array, const char *where, Err *err); // what trajectory_json gave; NULL: no points
json_t *trajectory_json(const Trajectory *t, bool with_seconds, Err *err); // NULL on an error
const TrajectoryPoint *trajectory_at_tokens(const Trajectory *t, double tokens); // NULL: even the first had cost more
const TrajectoryPoint *trajectory_at_seconds(const Trajectory *t, double seconds);
void trajectory_free(Trajectory *t); // safe on a zeroed one

#endif
