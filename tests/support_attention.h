// SPDX-License-Identifier: MIT
/* support_attention.h - batches for attention's kernels, and two oracles of what they must give: the numerics contract written out in
 * scalar floats, bit for bit, and the formula in double.
 *
 *     AttentionBatch b = attention_batch_new(setup, seed);
 *     AttentionResult got = attention_run(kernels, &b), want = attention_contract(&b);
 */
#ifndef RAFT_TESTS_SUPPORT_ATTENTION_H
#define RAFT_TESTS_SUPPORT_ATTENTION_H

#include "kernels/kernels.h"
#include "tests/support.h"

enum { MAX_THREADS = 4, SEQUENCES = 7, GAP = 3 };
#define UNTOUCHED 12345.0f // what a result holds before a kernel writes it

typedef struct {
    size_t heads, kv_heads, head_dim, count;
    size_t lengths[SEQUENCES];
} AttentionSetup;

/* One batch: rows of q|k|v side by side with a gap, as a model keeps them, and pages in which everything that was not stored
 * is NaN. Two layers of page space, of which the second is used. */
typedef struct {
    AttentionSetup setup;
    AttentionShape shape;
    size_t rows, stride, page_floats, scratch_stride;
    AttentionSpan spans[SEQUENCES];
    float *x;               // [rows, stride]: q | k | v | gap
    float *dout;            // [rows, heads * head_dim]
    float *memory, *scratch;
    float **table;
} AttentionBatch;

typedef struct { float *out, *stats, *dx; } AttentionResult; // dx: dq | dk | dv | gap

static inline size_t width(const AttentionBatch *b) { return b->setup.heads * b->setup.head_dim; }
static inline size_t kv_width(const AttentionBatch *b) { return b->setup.kv_heads * b->setup.head_dim; }
static inline const float *keys_of(const AttentionBatch *b) { return b->x + width(b); }
static inline const float *values_of(const AttentionBatch *b) { return b->x + width(b) + kv_width(b); }

float *attention_floats(size_t n); // zeros, for mem_free
AttentionBatch attention_batch_new(AttentionSetup setup, uint64_t seed);
void attention_batch_free(AttentionBatch *b);
void attention_poison(AttentionBatch *b, size_t pages); // what unused memory holds must not matter: NaN
AttentionScratch attention_scratch_of(const AttentionBatch *b);
AttentionResult attention_result_new(const AttentionBatch *b);
void attention_result_free(AttentionResult *r);

void attention_run_forward(const Kernels *k, const AttentionBatch *b, AttentionResult *r);
void attention_run_backward(const Kernels *k, const AttentionBatch *b, AttentionResult *r);
AttentionResult attention_run(const Kernels *k, const AttentionBatch *b); // store, forward, backward

AttentionResult attention_contract(const AttentionBatch *b); // docs/SPEC.md, attention
void attention_contract_forward(const AttentionBatch *b, AttentionResult *r, size_t from); // queries `from` and later of each span
// out (and dx unless NULL; double, same layouts) of the whole batch; returns sum(out * dout), the loss whose gradient
// attention_backward computes.
double attention_exact(const AttentionBatch *b, const double *x, double *out, double *dx);

#endif
