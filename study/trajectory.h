// SPDX-License-Identifier: MIT
/* trajectory.h - what an alignment had cost at each measurement, and what it had come to: for comparisons at equal cost.
 *
 *     Trajectory t = {0};
 *     if (trajectory_of_run(&t, &run, &err)) return -1;              // from its lines of metrics.jsonl and timing.jsonl
 *     Evaluation e;
 *     if (trajectory_at(&e, &t, trajectory_tokens, 98304)) ...       // what it had come to when 98,304 tokens were drawn
 *     trajectory_free(&t);
 *
 * Cost is counted in tokens drawn for learning (not for measuring) and in seconds of collecting, ranking and fine-tuning (without
 * measuring).
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
// Between two measurements in proportion, as the page reads its curves. false: it never cost so much, or more from the start.
bool trajectory_at(Evaluation *out, const Trajectory *t, double (*cost)(const TrajectoryPoint *point), double spent);
double trajectory_tokens(const TrajectoryPoint *point); // costs
double trajectory_seconds(const TrajectoryPoint *point);
void trajectory_free(Trajectory *t); // safe on a zeroed one

#endif
