// SPDX-License-Identifier: MIT
/* bench.c - how speed is measured: contenders take turns in slices of some milliseconds, the fma peak before each round. Knows
 * nothing of what they do. Start reading at bench_turns.
 */
#include "study/bench-internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"

enum { FEWEST_ROUNDS = 5, USUAL_ROUNDS = 21 };
#define PEAK_SLICE 0.002
#define SHORTEST_SLICE 0.003
#define WAKING 0.02 // seconds

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(const double *values, size_t n)
{
    double sorted[BENCH_ROUNDS];
    if (!n) return 0;
    memcpy(sorted, values, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, ascending);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double bench_peak(const Bench *bench)
{
    double peaks[USUAL_ROUNDS];
    for (size_t i = 0; i < USUAL_ROUNDS; i++) peaks[i] = bench->cx->k->fma_peak_flops(PEAK_SLICE);
    return bench_median(peaks, USUAL_ROUNDS);
}

/* Units a second over at least so long; negative: failed. With others in turn: our threads must not keep cores busy while another
 * process is measured, and are woken before we are; a thread that wakes beside another is moved to a free core within WAKING. */
static double one_slice(const BenchContender *c, double seconds, const Bench *bench, bool alone, Err *err)
{
    if (c->measure) {
        compute_rest(bench->cx);
        return c->measure(c->self, seconds, err);
    }
    double start = os_now_s(), passed;
    size_t units = 0;
    while (!alone && os_now_s() - start < WAKING)
        if (c->work(c->self, err)) return -1;
    start = os_now_s();
    do {
        if (c->work(c->self, err)) return -1;
        units++;
    } while ((passed = os_now_s() - start) < seconds);
    return (double)units / passed;
}

int bench_turns(BenchContender *contenders, size_t count, const Bench *bench, Err *err)
{
    static const Err none = {0};
    double rates[BENCH_CONTENDERS][BENCH_ROUNDS], peaks[BENCH_ROUNDS], quotients[BENCH_ROUNDS];
    bool out[BENCH_CONTENDERS] = {false};
    double slice = bench->seconds / (double)(USUAL_ROUNDS * count), start = os_now_s();
    if (slice < SHORTEST_SLICE) slice = SHORTEST_SLICE;
    size_t rounds = 0;
    for (; rounds < BENCH_ROUNDS && (rounds < FEWEST_ROUNDS || os_now_s() - start < bench->seconds); rounds++) {
        if (count > 1) bench->cx->k->fma_peak_flops(WAKING);
        peaks[rounds] = bench->cx->k->fma_peak_flops(PEAK_SLICE);
        for (size_t turn = 0; turn < count; turn++) {
            size_t i = (turn + rounds) % count; // nobody is always the one after the peak
            double rate = out[i] ? 0 : one_slice(contenders + i, slice, bench, count == 1, err);
            if (rate < 0 && contenders[i].work) return -1;
            if (rate < 0) out[i] = true, *err = none;
            rates[i][rounds] = rate > 0 ? rate : 0;
        }
    }
    for (size_t i = 0; i < count; i++) {
        contenders[i].rate = out[i] ? 0 : bench_median(rates[i], rounds);
        for (size_t r = 0; r < rounds; r++) quotients[r] = rates[i][r] / peaks[r];
        contenders[i].per_peak = bench_median(quotients, rounds);
        for (size_t r = 0; r < rounds; r++) quotients[r] = rates[i][r] > 0 ? rates[0][r] / rates[i][r] : 0;
        contenders[i].to_first = bench_median(quotients, rounds);
    }
    return 0;
}
