// SPDX-License-Identifier: MIT
/* support_attention.c - batches for attention's kernels and the two oracles; no test is here. */
#include "tests/support_attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "kernels/hostmath.h"

float *attention_floats(size_t n)
{
    Err err = {0};
    float *x = mem_new(&err, n, sizeof *x);
    assert_non_null(x);
    return x;
}

static float *filled(size_t n, float value)
{
    float *x = attention_floats(n);
    for (size_t i = 0; i < n; i++) x[i] = value;
    return x;
}


AttentionScratch attention_scratch_of(const AttentionBatch *b)
{
    size_t threads = 1;
#if defined(_OPENMP)
    threads = (size_t)omp_get_max_threads();
#endif
    return (AttentionScratch){b->scratch, b->scratch_stride, threads < MAX_THREADS ? threads : MAX_THREADS};
}

void attention_poison(AttentionBatch *b, size_t pages)
{
    for (size_t i = 0; i < pages * b->page_floats; i++) b->memory[i] = NAN;
    for (size_t i = 0; i < MAX_THREADS * b->scratch_stride; i++) b->scratch[i] = NAN;
}

AttentionBatch attention_batch_new(AttentionSetup setup, uint64_t seed)
{
    AttentionBatch b = {.setup = setup};
    size_t pages = 0, longest = 0, layer = setup.kv_heads * 2 * PAGE * setup.head_dim;
    b.page_floats = 2 * layer;
    b.stride = (setup.heads + 2 * setup.kv_heads) * setup.head_dim + GAP;
    b.shape = (AttentionShape){setup.heads, setup.kv_heads, setup.head_dim, b.stride, b.stride, layer,
        (float)(1 / sqrt((double)setup.head_dim))};
    for (size_t i = 0; i < setup.count; i++) {
        b.spans[i] = (AttentionSpan){.row = b.rows, .queries = setup.lengths[i]};
        b.rows += setup.lengths[i], pages += (setup.lengths[i] + PAGE - 1) / PAGE;
        if (setup.lengths[i] > longest) longest = setup.lengths[i];
    }
    b.x = attention_floats(b.rows * b.stride), b.dout = attention_floats(b.rows * width(&b)), b.memory = attention_floats(pages * b.page_floats);
    b.scratch_stride = attention_scratch_floats(longest, setup.head_dim);
    b.scratch = attention_floats(MAX_THREADS * b.scratch_stride);
    b.table = malloc((pages + 1) * sizeof *b.table);
    assert_non_null(b.table);
    for (size_t i = 0, page = 0; i < setup.count; i++) {
        b.spans[i].pages = b.table + page;
        for (size_t g = 0; g < (setup.lengths[i] + PAGE - 1) / PAGE; g++, page++)
            b.table[page] = b.memory + (pages - 1 - page) * b.page_floats;
    }
    TestRandom random = {seed};
    test_fill(&random, b.x, b.rows * b.stride);
    for (size_t i = 0; i < b.rows * b.stride; i++) b.x[i] *= 2; // scores wide enough for a softmax that is not flat
    test_fill(&random, b.dout, b.rows * width(&b));
    attention_poison(&b, pages);
    return b;
}

void attention_batch_free(AttentionBatch *b)
{
    mem_free(b->x), mem_free(b->dout), mem_free(b->memory), mem_free(b->scratch), free(b->table);
}

AttentionResult attention_result_new(const AttentionBatch *b)
{
    return (AttentionResult){filled(b->rows * width(b), UNTOUCHED), filled(b->rows * b->setup.heads * 2, UNTOUCHED),
        filled(b->rows * b->stride, UNTOUCHED)};
}

void attention_result_free(AttentionResult *r) { mem_free(r->out), mem_free(r->stats), mem_free(r->dx); }

void attention_run_forward(const Kernels *k, const AttentionBatch *b, AttentionResult *r)
{
    k->attention_store(keys_of(b), values_of(b), b->spans, b->setup.count, &b->shape);
    k->attention_forward(r->out, r->stats, b->x, b->spans, b->setup.count, &b->shape, attention_scratch_of(b));
}

void attention_run_backward(const Kernels *k, const AttentionBatch *b, AttentionResult *r)
{
    k->attention_backward(r->dx, r->dx + width(b), r->dx + width(b) + kv_width(b), b->dout, r->out, r->stats, b->x, b->spans,
        b->setup.count, &b->shape, attention_scratch_of(b));
}

AttentionResult attention_run(const Kernels *k, const AttentionBatch *b)
{
    AttentionResult r = attention_result_new(b);
    attention_run_forward(k, b, &r);
    attention_run_backward(k, b, &r);
    return r;
}

// ---- the contract in scalar floats -------------------------------------------------------------------------------------

static const Kernels *plain(void)
{
    const Kernels *list[4];
    return list[kernels_available(list) - 1];
}

static float tree(const float lanes[16]) // (i, i+8), (i, i+4), (i, i+2), (i, i+1)
{
    float x[16];
    memcpy(x, lanes, sizeof x);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) x[i] += x[i + half];
    return x[0];
}

static float sum_of_keys(const float *p, size_t n)
{
    double total = 0;
    for (size_t block = 0; block < n; block += SUM_BLOCK) {
        float lanes[16] = {0};
        for (size_t j = block; j < n && j < block + SUM_BLOCK; j++) lanes[j % 16] += p[j];
        total += (double)tree(lanes);
    }
    return (float)total;
}

static float dot(const float *a, const float *b, size_t n)
{
    float sum = 0;
    for (size_t d = 0; d < n; d++) sum = host_fmaf(a[d], b[d], sum);
    return sum;
}

// p [i + 1] of query i against the keys of its span; returns max and sum.
static void contract_weights(const AttentionBatch *b, const AttentionSpan *span, size_t head, size_t i, float *p, float stats[2])
{
    size_t hd = b->setup.head_dim, kv = head / (b->setup.heads / b->setup.kv_heads);
    float max = -INFINITY;
    for (size_t j = 0; j <= i; j++) {
        const float *key = keys_of(b) + (span->row + j) * b->stride + kv * hd;
        p[j] = dot(b->x + (span->row + i) * b->stride + head * hd, key, hd) * b->shape.scale;
        if (p[j] > max || (p[j] == max && !signbit(p[j]))) max = p[j];
    }
    for (size_t j = 0; j <= i; j++) p[j] -= max;
    plain()->exp_array(p, p, i + 1);
    stats[0] = max, stats[1] = sum_of_keys(p, i + 1);
}

void attention_contract_forward(const AttentionBatch *b, AttentionResult *r, size_t from)
{
    size_t hd = b->setup.head_dim, heads = b->setup.heads;
    for (size_t s = 0; s < b->setup.count; s++)
        for (size_t head = 0; head < heads; head++) {
            const AttentionSpan *span = b->spans + s;
            size_t kv = head / (heads / b->setup.kv_heads);
            float *p = attention_floats(b->setup.lengths[s] + 1);
            for (size_t i = from; i < b->setup.lengths[s]; i++) {
                float *stats = r->stats + ((span->row + i) * heads + head) * 2;
                contract_weights(b, span, head, i, p, stats);
                for (size_t d = 0; d < hd; d++) {
                    const float *v = values_of(b) + span->row * b->stride + kv * hd + d;
                    float sum = 0;
                    for (size_t j = 0; j <= i; j++) sum = host_fmaf(p[j], v[j * b->stride], sum);
                    r->out[((span->row + i) * heads + head) * hd + d] = sum / stats[1];
                }
            }
            mem_free(p);
        }
}

// One query's share of dq, dk, dv.
static void contract_backward_query(const AttentionBatch *b, const AttentionResult *r, const AttentionSpan *span, size_t head, size_t i, float *p)
{
    size_t hd = b->setup.head_dim, heads = b->setup.heads, kv = head / (heads / b->setup.kv_heads), row = span->row + i;
    const float *dout = b->dout + (row * heads + head) * hd, *out = r->out + (row * heads + head) * hd;
    float stats[2], lanes[16] = {0}, *dq = r->dx + row * b->stride + head * hd;
    contract_weights(b, span, head, i, p, stats);
    for (size_t d = 0; d < hd; d++) lanes[d % 16] = host_fmaf(dout[d], out[d], lanes[d % 16]), dq[d] = 0;
    float inverse = 1.0f / stats[1], total = tree(lanes);
    for (size_t j = 0; j <= i; j++) {
        size_t at = (span->row + j) * b->stride + kv * hd;
        float *dk = r->dx + width(b) + at, *dv = dk + kv_width(b);
        float weight = p[j] * inverse, ds = weight * (dot(dout, values_of(b) + at, hd) - total) * b->shape.scale;
        for (size_t d = 0; d < hd; d++) {
            dq[d] = host_fmaf(ds, keys_of(b)[at + d], dq[d]);
            dk[d] = host_fmaf(ds, b->x[row * b->stride + head * hd + d], dk[d]);
            dv[d] = host_fmaf(weight, dout[d], dv[d]);
        }
    }
}

AttentionResult attention_contract(const AttentionBatch *b)
{
    AttentionResult r = attention_result_new(b);
    attention_contract_forward(b, &r, 0);
    for (size_t row = 0; row < b->rows; row++) memset(r.dx + row * b->stride, 0, (b->stride - GAP) * sizeof *r.dx);
    for (size_t s = 0; s < b->setup.count; s++)
        for (size_t head = 0; head < b->setup.heads; head++) {
            float *p = attention_floats(b->setup.lengths[s] + 1);
            for (size_t i = 0; i < b->setup.lengths[s]; i++) contract_backward_query(b, &r, b->spans + s, head, i, p);
            mem_free(p);
        }
    return r;
}

// ---- the formula in double ---------------------------------------------------------------------------------------------

// out of one query from x; with dx (double, same layout) also adds its gradients.
static void exact_query(const AttentionBatch *b, const double *x, const AttentionSpan *span, size_t head, size_t i, double *out, double *dx)
{
    size_t hd = b->setup.head_dim, kv = head / (b->setup.heads / b->setup.kv_heads), row = span->row + i;
    const double *q = x + row * b->stride + head * hd, *k = x + width(b) + kv * hd, *v = k + kv_width(b);
    const float *dout = b->dout + (row * b->setup.heads + head) * hd;
    double *p = malloc((i + 1) * sizeof *p), max = -INFINITY, sum = 0, d = 0;
    assert_non_null(p);
    for (size_t j = 0; j <= i; j++) {
        p[j] = 0;
        for (size_t c = 0; c < hd; c++) p[j] += q[c] * k[(span->row + j) * b->stride + c] * (double)b->shape.scale;
        max = fmax(max, p[j]);
    }
    for (size_t j = 0; j <= i; j++) p[j] = exp(p[j] - max), sum += p[j];
    for (size_t c = 0; c < hd; c++) {
        out[c] = 0;
        for (size_t j = 0; j <= i; j++) out[c] += p[j] / sum * v[(span->row + j) * b->stride + c];
        d += out[c] * (double)dout[c];
    }
    for (size_t j = 0; dx && j <= i; j++) {
        size_t at = (span->row + j) * b->stride;
        double *dk = dx + (k - x) + at, *dv = dx + (v - x) + at, dp = 0;
        for (size_t c = 0; c < hd; c++) dp += (double)dout[c] * v[at + c];
        double ds = p[j] / sum * (dp - d) * (double)b->shape.scale;
        for (size_t c = 0; c < hd; c++) {
            dx[(size_t)(q - x) + c] += ds * k[at + c];
            dk[c] += ds * q[c];
            dv[c] += p[j] / sum * (double)dout[c];
        }
    }
    free(p);
}

double attention_exact(const AttentionBatch *b, const double *x, double *out, double *dx)
{
    double loss = 0;
    for (size_t s = 0; s < b->setup.count; s++)
        for (size_t i = 0; i < b->setup.lengths[s]; i++)
            for (size_t head = 0; head < b->setup.heads; head++) {
                size_t at = ((b->spans[s].row + i) * b->setup.heads + head) * b->setup.head_dim;
                exact_query(b, x, b->spans + s, head, i, out + at, dx);
                for (size_t c = 0; c < b->setup.head_dim; c++) loss += out[at + c] * (double)b->dout[at + c];
            }
    return loss;
}
