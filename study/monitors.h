// SPDX-License-Identifier: MIT
/* monitors.h - over-optimisation as it happens: a reward that still rises while what it stands for does not.
 *
 *     Monitors monitors;
 *     if (monitors_parse(&monitors, specs, count, &err)) return -1;       // "gold-falls", "diversity-falls:0.1", "kl-above:20"
 *     Sight sight = monitors_see(&monitors, &evaluation, iteration);      // after each evaluation, the first one included
 *     if (sight.best) ... save ...   if (sight.why) ... stop ...
 *
 * gold-falls: gold is below the lower end of the interval of the best gold so far. diversity-falls[:SHARE]: distinct-2 is that
 * share (0.1) below the starting model's. kl-above:NATS: an answer is so far from the starting model. Best is the evaluation with
 * the highest gold, or reward where there is no gold, at which none of them fired.
 */
#ifndef RAFT_STUDY_MONITORS_H
#define RAFT_STUDY_MONITORS_H

#include "study/evaluate.h"

typedef struct {
    bool gold_falls;
    double diversity_share, kl_most;           // 0: not watched
    // what has been seen, kept with a run's state
    double best, best_low, first_diversity;
    size_t seen, best_iteration;
} Monitors;

typedef struct { bool best; const char *why; } Sight; // why: the monitor that fired; NULL: none

int monitors_parse(Monitors *monitors, const char *const *specs, size_t count, Err *err);
// What a monitor needs is measured: gold (has_gold), and answers at all; status 2.
int monitors_check(const Monitors *monitors, bool has_gold, bool has_answers, Err *err);
Sight monitors_see(Monitors *monitors, const Evaluation *evaluation, size_t iteration);

#endif
