// SPDX-License-Identifier: MIT
/* peak.c (one instruction set) - the yardstick of speed: how many multiply-adds a second this CPU does when it does nothing
 * else. Knows no kernel; its numbers go to people only, never into the arithmetic.
 */
#include "base/os.h"
#include "kernels/simd.h"

#ifdef RAFT_OPENMP
#define OMP(directive) _Pragma(#directive)
#else
#define OMP(directive)
#endif

// Independent chains: enough to hide the latency of a multiply-add, few enough to stay in registers.
#if defined(RAFT_ISA_avx512)
enum { CHAINS = 12, CHAIN_LENGTH = 100000 };
#elif defined(RAFT_ISA_avx2) || defined(RAFT_ISA_neon)
enum { CHAINS = 6, CHAIN_LENGTH = 100000 };
#else
enum { CHAINS = 2, CHAIN_LENGTH = 2000 };
#endif

// Starting from memory that is volatile, with every lane another value: else a compiler computes them elsewhere, or half of them.
static float fma_chains(const volatile float *start)
{
    float lanes[LANES];
    v16 sum[CHAINS], x = v16_set(start[0]), y = v16_set(start[1]);
    for (size_t i = 0; i < CHAINS; i++) {
        for (size_t lane = 0; lane < LANES; lane++) lanes[lane] = start[lane] + (float)i;
        sum[i] = v16_load(lanes);
    }
    for (size_t round = 0; round < CHAIN_LENGTH; round++)
        for (size_t i = 0; i < CHAINS; i++) sum[i] = v16_fma(sum[i], x, y);
    for (size_t i = 1; i < CHAINS; i++) sum[0] = v16_add(sum[0], sum[i]);
    return v16_sum(sum[0]);
}

// The best slice of each thread while all are at work for `seconds`: what disturbs a measurement only ever slows it.
double KERNEL(fma_peak_flops)(double seconds)
{
    double peak = 0, start = os_now_s();
    OMP(omp parallel)
    {
        fp_strict();
        volatile float lanes[LANES];
        for (size_t i = 0; i < LANES; i++) lanes[i] = 0.5f + 0.01f * (float)i;
        double best = 0, now = os_now_s();
        do {
            double before = now;
            float sum = fma_chains(lanes);
            now = os_now_s();
            double rate = 2.0 * CHAINS * LANES * CHAIN_LENGTH / (now - before);
            if (rate > best && sum == sum) best = rate; // asking for the sum keeps it from being left out
        } while (now - start < seconds);
        OMP(omp atomic)
        peak += best;
    }
    return peak;
}
