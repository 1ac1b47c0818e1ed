// SPDX-License-Identifier: MIT
/* peak.c (one instruction set) - two yardsticks of speed: how many multiply-adds a second this CPU does when it does nothing
 * else, and how many when a register tile feeds them from the first cache. What lies between them is the tile's loads and the core's
 * width; what lies below the second is blocking, packing and threads. The numbers go to people only, never into the arithmetic.
 */
#include "base/os.h"
#include "kernels/matmul-internal.h"

#ifdef RAFT_OPENMP
#define OMP(directive) _Pragma(#directive)
#else
#define OMP(directive)
#endif

// Independent chains: enough to hide the latency of a multiply-add, few enough to stay in registers.
#if defined(RAFT_ISA_avx512)
enum { CHAINS = 12, CHAIN_LENGTH = 100000, TILES = 400 };
#elif defined(RAFT_ISA_avx2) || defined(RAFT_ISA_neon)
enum { CHAINS = 6, CHAIN_LENGTH = 100000, TILES = 1600 };
#else
enum { CHAINS = 2, CHAIN_LENGTH = 2000, TILES = 4 };
#endif

enum { TILE_K = 96 }; // a panel of 24 KB with AVX-512: it stays in any first cache

typedef struct {
    float a[TILE_ROWS * TILE_K], b[TILE_K * PANEL], c[TILE_ROWS * PANEL];
} Operands;

// Starting from memory that is volatile, with every lane another value: else a compiler computes them elsewhere, or half of them.
// Unrolled everywhere, as tiles are: an array with an index left stays in memory where the code is checked or hardly optimised.
static float fma_chains(Operands *operands)
{
    const volatile float *start = operands->a;
    float lanes[LANES];
    v16 sum[CHAINS], x = v16_set(start[0]), y = v16_set(start[1]);
    UNROLL for (size_t i = 0; i < CHAINS; i++) {
        for (size_t lane = 0; lane < LANES; lane++) lanes[lane] = start[lane] + (float)i;
        sum[i] = v16_load(lanes);
    }
    for (size_t round = 0; round < CHAIN_LENGTH; round++)
        UNROLL for (size_t i = 0; i < CHAINS; i++) sum[i] = v16_fma(sum[i], x, y);
    UNROLL for (size_t i = 1; i < CHAINS; i++) sum[0] = v16_add(sum[0], sum[i]);
    return v16_sum(sum[0]);
}

// The tile that large products consist of, over the same operands again and again.
static float tiles(Operands *o)
{
    Tile tile = {.c = o->c, .a = o->a, .b = o->b, .c_row = PANEL, .b_panel = TILE_K * PANEL, .rows = TILE_ROWS, .columns = PANEL, .k = TILE_K,
        .next_b = o->b, .next_c = o->c};
    for (size_t i = 0; i < TILES; i++) KERNEL(gemm_tile)(&tile);
    return o->c[0];
}

typedef struct { double best, mean; } Rates; // operations a second, summed over threads

// Of the slices of each thread, while all are at work for `seconds`.
static Rates rates(float (*slice)(Operands *), double flops, double seconds)
{
    Rates all = {0};
    double start = os_now_s();
    OMP(omp parallel)
    {
        fp_strict();
        Operands operands;
        for (size_t i = 0; i < TILE_ROWS * TILE_K; i++) operands.a[i] = 0.5f + 0.01f * (float)(i % LANES);
        for (size_t i = 0; i < TILE_K * PANEL; i++) operands.b[i] = 0.25f - 0.01f * (float)(i % LANES);
        double best = 0, done = 0, first = os_now_s(), now = first;
        do {
            double before = now;
            float sum = slice(&operands);
            now = os_now_s();
            double rate = flops / (now - before);
            if (sum == sum) done += flops; // asking for the sum keeps it from being left out
            if (rate > best && sum == sum) best = rate;
        } while (now - start < seconds);
        double mean = done / (now - first);
        OMP(omp atomic)
        all.best += best;
        OMP(omp atomic)
        all.mean += mean;
    }
    return all;
}

// The best slice: what disturbs a measurement only ever slows it.
double KERNEL(fma_peak_flops)(double seconds) { return rates(fma_chains, 2.0 * CHAINS * LANES * CHAIN_LENGTH, seconds).best; }

// The mean, as products are measured.
double KERNEL(tile_flops)(double seconds) { return rates(tiles, 2.0 * TILES * TILE_ROWS * PANEL * TILE_K, seconds).mean; }
