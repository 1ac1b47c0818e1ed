// SPDX-License-Identifier: MIT
/* sample_choose.c - one token from one row of logits: temperature, top-k, top-p, and the inverse of the distribution function.
 *
 * A pure function of the logits, the options and one uniform number (sample.h). Every order of additions here is part of the
 * numerics contract. Knows nothing of sequences or batches.
 */
#include "sample.h"

#include <assert.h>

int choice_scratch_init(ChoiceScratch *scratch, size_t vocab, Err *err)
{
    *scratch = (ChoiceScratch){.vocab = vocab};
    scratch->p = mem_new(err, vocab, sizeof *scratch->p);
    scratch->order = mem_new(err, vocab, sizeof *scratch->order);
    scratch->sums = mem_new(err, vocab / CDF_BLOCK + 1, sizeof *scratch->sums);
    if (scratch->p && scratch->order && scratch->sums) return 0;
    choice_scratch_free(scratch);
    return -1;
}

void choice_scratch_free(ChoiceScratch *scratch)
{
    mem_free(scratch->p);
    mem_free(scratch->order);
    mem_free(scratch->sums);
    *scratch = (ChoiceScratch){0};
}

// The total order of top-k and top-p: value descending, then id ascending.
static bool comes_before(const float *value, uint32_t a, uint32_t b)
{
    return value[a] > value[b] || (value[a] == value[b] && a < b);
}

static void heap_sink(uint32_t *heap, size_t at, size_t n, const float *value)
{
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && comes_before(value, heap[child + 1], heap[child])) child++;
        if (!comes_before(value, heap[child], heap[at])) return;
        uint32_t id = heap[at];
        heap[at] = heap[child];
        heap[child] = id;
    }
}

static void heap_build(uint32_t *heap, size_t n, const float *value)
{
    for (size_t i = n / 2; i-- > 0;) heap_sink(heap, i, n, value);
}

// Moves the first in order from heap[0 .. n) to heap[n - 1]; the heap is one shorter afterwards.
static uint32_t heap_take(uint32_t *heap, size_t n, const float *value)
{
    uint32_t first = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = first;
    heap_sink(heap, 0, n - 1, value);
    return first;
}

// p := exp(logits / T - max), zero outside the top_k largest logits / T.
static void keep_top_k(const Kernels *k, ChoiceScratch *s, const float *logits, size_t vocab, float temperature, size_t top_k)
{
    size_t left = vocab;
    for (size_t i = 0; i < vocab; i++) {
        s->p[i] = logits[i] / temperature;
        s->order[i] = (uint32_t)i;
    }
    heap_build(s->order, left, s->p);
    for (; left > vocab - top_k; left--) heap_take(s->order, left, s->p);
    k->exp_scaled(s->p, logits, vocab, temperature);
    for (size_t i = 0; i < left; i++) s->p[s->order[i]] = 0;
}

// The mass of p as the inverse of the distribution function counts it: block sums, added in order.
static float total_mass(const Kernels *k, ChoiceScratch *s, size_t vocab)
{
    float total = 0;
    k->block_sums(s->sums, s->p, vocab);
    for (size_t b = 0; b * CDF_BLOCK < vocab; b++) total += s->sums[b];
    return total;
}

// Keeps the most probable tokens through the first that brings their sum to top_p of the mass.
static void keep_top_p(const Kernels *k, ChoiceScratch *s, size_t vocab, float top_p)
{
    float target = top_p * total_mass(k, s, vocab), sum = 0;
    size_t left = 0;
    for (size_t i = 0; i < vocab; i++)
        if (s->p[i] > 0) s->order[left++] = (uint32_t)i;
    heap_build(s->order, left, s->p);
    while (left) {
        sum += s->p[heap_take(s->order, left--, s->p)];
        if (sum >= target) break;
    }
    for (size_t i = 0; i < left; i++) s->p[s->order[i]] = 0;
}

// The last token of [from, to) that can be drawn.
static uint32_t last_possible(const float *p, size_t from, size_t to)
{
    while (to > from + 1 && !(p[to - 1] > 0)) to--;
    return (uint32_t)(to - 1);
}

/* The first token, in token order, at which the running sum exceeds u times the mass. The block is found by block sums and
 * the token inside it one by one; the two round differently, so that the sum inside the block may just miss the target: then
 * it is the block's last possible token. */
static uint32_t invert_distribution(const Kernels *k, ChoiceScratch *s, size_t vocab, float u)
{
    float target = u * total_mass(k, s, vocab), sum = 0;
    for (size_t b = 0; b * CDF_BLOCK < vocab; b++) {
        size_t start = b * CDF_BLOCK, end = start + CDF_BLOCK < vocab ? start + CDF_BLOCK : vocab;
        float after = sum + s->sums[b];
        if (!(after > target)) {
            sum = after;
            continue;
        }
        for (size_t i = start; i < end; i++) {
            sum += s->p[i];
            if (sum > target) return (uint32_t)i;
        }
        return last_possible(s->p, start, end);
    }
    return last_possible(s->p, 0, vocab);
}

uint32_t sample_choose(const Kernels *k, const float *logits, size_t vocab, const SampleOptions *how, float u,
    ChoiceScratch *scratch)
{
    assert(scratch->vocab >= vocab && vocab > 0);
    if (how->temperature == 0) {
        uint32_t best = 0;
        for (size_t i = 1; i < vocab; i++)
            if (logits[i] > logits[best]) best = (uint32_t)i;
        return best;
    }
    if (how->top_k && how->top_k < vocab) keep_top_k(k, scratch, logits, vocab, how->temperature, how->top_k);
    else k->exp_scaled(scratch->p, logits, vocab, how->temperature);
    if (how->top_p < 1) keep_top_p(k, scratch, vocab, how->top_p);
    return invert_distribution(k, scratch, vocab, u);
}
