// SPDX-License-Identifier: MIT
/* progress.h - a bar on standard error with tokens/s and time left, on a terminal only; a line a stage otherwise.
 *
 *     Progress bar;
 *     progress_start(&bar, "pretrain", "step", steps, quiet);
 *     progress_update(&bar, done, tokens, "loss 3.21");
 *     progress_finish(&bar, "loss 3.05");                    // "pretrain  400 steps  loss 3.05  12.3 s  8,120 tokens/s"
 */
#ifndef RAFT_STUDY_PROGRESS_H
#define RAFT_STUDY_PROGRESS_H

#include "base/util.h"

typedef struct { const char *stage, *unit; size_t total, done, tokens; double started, before, drawn; bool bar, quiet; } Progress;
void progress_start(Progress *progress, const char *stage, const char *unit, size_t total, bool quiet);
void progress_update(Progress *progress, size_t done, size_t tokens, const char *note);
void progress_finish(Progress *progress, const char *note);
// A line on a plan of several stages: "plan       3 of 15 arms, ppo 2 of 8  about 41 min 10 s left"; left 0: not known.
void progress_plan(const char *name, size_t done, size_t total, const char *unit, const char *under_way, double left);
double progress_seconds(const Progress *progress); // since the start, `before` (of a process that was cut off) included

#endif
