// SPDX-License-Identifier: MIT
/* bench-internal.h - what the parts of the bench share: contenders that take turns.
 *
 *     BenchContender us = {.work = step, .self = &trainer};
 *     if (bench_turns(&us, 1, bench, err)) return -1;
 *     us.rate, us.per_peak
 */
#ifndef RAFT_STUDY_BENCH_INTERNAL_H
#define RAFT_STUDY_BENCH_INTERNAL_H

#include "study/bench.h"

enum { BENCH_ROUNDS = 64, BENCH_CONTENDERS = 8 };

typedef struct {
    int (*work)(void *self, Err *err);                           // one unit of work; or
    double (*measure)(void *self, double seconds, Err *err);     // units a second over so long, negative: it failed and is out
    void *self;
    double rate;       // median units a second; 0: it failed
    double per_peak;   // median of rate / peak beside it, in units an operation
    double to_first;   // median of the first contender's rate to this one's
} BenchContender;

// At least three rounds, then until bench->seconds have passed; a contender with `work` that fails ends the bench.
int bench_turns(BenchContender *contenders, size_t count, const Bench *bench, Err *err);
double bench_median(const double *values, size_t n);
int bench_model_init(Model *model, const BenchModel *which, uint64_t seed, Err *err);

#endif
