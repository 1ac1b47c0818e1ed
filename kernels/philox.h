// SPDX-License-Identifier: MIT
/* philox.h - the counter-based random generator Philox4x32-10 (Salmon et al., SC 2011) and the draws made from it.
 *
 *     uint32_t w[4];
 *     philox_draw(w, seed, (PhiloxCounter){.c0 = t, .c1 = k, .c2 = slot, .c3 = philox_stream(STREAM_SAMPLE, iteration)});
 *     float u = philox_uniform(w[0]);           // in [0,1)
 *
 * There is no generator state: a draw is a function of (seed, counter), so any candidate can be drawn again alone.
 */
#ifndef RAFT_KERNELS_PHILOX_H
#define RAFT_KERNELS_PHILOX_H

#include "base/util.h"

// Streams keep draws of different purpose apart; the numbers are part of the contract and are never reused.
typedef enum {
    STREAM_INIT = 1,          // initial weights: c0 = element block, c2 = tensor index
    STREAM_SHUFFLE_PROMPTS,   // order in which prompts are drawn
    STREAM_SAMPLE,            // a generated token: c0 = step, c1 = candidate, c2 = slot
    STREAM_SHUFFLE_TRAIN,     // order of training examples in an epoch
    STREAM_PREFIX,            // random-length prefixes for the reward head
    STREAM_SPLIT,             // halves A and B of the training reviews
    STREAM_GRAMMAR,           // the built-in corpus
    STREAM_BOOTSTRAP,         // resampling for confidence intervals
    STREAM_REWARD_INIT,       // the reward head's own weights
    STREAM_EVAL,              // samples drawn for evaluation: c0 = step, c1 = candidate, c2 = slot
    STREAM_LENGTH,            // the longest length of an answer: c0 = the stream of its tokens, c1 = candidate, c2 = slot
    STREAM_PROMPT_LENGTH,     // where a prompt is cut: c0 = text, c1 = 1 for texts to measure on
    STREAM_REPLAY             // order in which texts of people are read beside chosen answers
} PhiloxStream;

typedef struct { uint32_t c0, c1, c2, c3; } PhiloxCounter;

void philox_block(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]); // the bare Philox4x32-10
void philox_draw(uint32_t out[4], uint64_t seed, PhiloxCounter counter);              // key = low, high word of the seed
uint32_t philox_stream(PhiloxStream stream, uint32_t iteration); // stream << 24 | iteration; asserts iteration < 2^24
float philox_uniform(uint32_t word);                             // (w >> 8) * 2^-24, in [0,1)
// Two standard normals by Box-Muller from two words (u + 2^-25 > 0), through hostmath; rounded once to float.
void philox_normals(float out[2], uint32_t w0, uint32_t w1);
// Fisher-Yates with one draw an element (c0 = position); order[0..n) is filled with a permutation of 0..n-1.
void philox_shuffle(uint32_t *order, size_t n, uint64_t seed, PhiloxStream stream, uint32_t iteration);
// The next n of `of` things, shuffled like cards and shuffled anew when all were dealt; `before` were dealt already.
void philox_deal(size_t *dealt, size_t n, size_t before, size_t of, uint64_t seed, PhiloxStream stream, uint32_t *order /* [of] */);
uint32_t philox_below(uint32_t word, uint32_t n); // uniform integer in [0,n): floor(w * n / 2^32)

#endif
