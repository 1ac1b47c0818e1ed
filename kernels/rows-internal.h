// SPDX-License-Identifier: MIT
/* rows-internal.h - what rows.c and vecmath.c share: threads, tails and the one rule by which sums are formed.
 *
 * Lane l of a sum starts at +0 and takes elements l, l + 16, l + 32, ... in that order; v16_sum adds the lanes. A lane that
 * started at +0 is never -0 (round to nearest), so a tail element that is missing may be added as +0: no bit changes.
 */
#ifndef RAFT_KERNELS_ROWS_INTERNAL_H
#define RAFT_KERNELS_ROWS_INTERNAL_H

#include "kernels/vecmath.h"

#if defined(RAFT_OPENMP)
#define OMP(directive) _Pragma(#directive)
#else
#define OMP(directive)
#endif

// Work below these many elements stays on the calling thread: waking others costs some microseconds.
enum { PARALLEL_COPY = 65536, PARALLEL_MATH = 16384, CHUNK = 4096 };

// Whole vectors are the common case; the masked forms cost more where masks are made in software.
static inline v16 load_up_to(const float *p, size_t n) { return n >= LANES ? v16_load(p) : v16_load_n(p, n); }
static inline void store_up_to(float *p, v16 v, size_t n)
{
    if (n >= LANES) v16_store(p, v);
    else v16_store_n(p, v, n);
}
static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t blocks_of(size_t n, size_t block) { return n / block + (n % block != 0); }

// log of one number, through the lanes so that scalars and vectors agree
static inline float lane_log(float x)
{
    float lanes[LANES];
    v16_store(lanes, v16_log(v16_set(x)));
    return lanes[0];
}

#endif
