// SPDX-License-Identifier: MIT
/* test_attention.c - attention against a scalar loop in double, and bit for bit against the numerics contract written out in
 * scalar floats; its gradients against central differences; and everything that must not change a bit: instruction set,
 * threads, batch, prefill or decoding, shared pages, whatever unused memory holds. */
#include "kernels/hostmath.h"
#include "kernels/kernels.h"
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_OPENMP)
#include <omp.h>
#endif

enum { MAX_THREADS = 4, SEQUENCES = 7, GAP = 3 };
static const float UNTOUCHED = 12345.0f;

typedef struct {
    size_t heads, kv_heads, head_dim, count;
    size_t lengths[SEQUENCES];
} Setup;

/* One batch: rows of q|k|v side by side with a gap, as a model keeps them, and pages in which everything that was not stored
 * is NaN. Two layers of page space, of which the second is used. */
typedef struct {
    Setup setup;
    AttentionShape shape;
    size_t rows, stride, page_floats, scratch_stride;
    AttentionSpan spans[SEQUENCES];
    float *x;               // [rows, stride]: q | k | v | gap
    float *dout;            // [rows, heads * head_dim]
    float *memory, *scratch;
    float **table;
} Batch;

typedef struct { float *out, *stats, *dx; } Result; // dx: dq | dk | dv | gap

static float *floats(size_t n)
{
    Err err = {0};
    float *x = mem_new(&err, n, sizeof *x);
    assert_non_null(x);
    return x;
}

static float *filled(size_t n, float value)
{
    float *x = floats(n);
    for (size_t i = 0; i < n; i++) x[i] = value;
    return x;
}

static size_t width(const Batch *b) { return b->setup.heads * b->setup.head_dim; }
static size_t kv_width(const Batch *b) { return b->setup.kv_heads * b->setup.head_dim; }
static const float *keys_of(const Batch *b) { return b->x + width(b); }
static const float *values_of(const Batch *b) { return b->x + width(b) + kv_width(b); }

static AttentionScratch scratch_of(const Batch *b)
{
    size_t threads = 1;
#if defined(_OPENMP)
    threads = (size_t)omp_get_max_threads();
#endif
    return (AttentionScratch){b->scratch, b->scratch_stride, threads < MAX_THREADS ? threads : MAX_THREADS};
}

static void poison(Batch *b, size_t pages)
{
    for (size_t i = 0; i < pages * b->page_floats; i++) b->memory[i] = NAN;
    for (size_t i = 0; i < MAX_THREADS * b->scratch_stride; i++) b->scratch[i] = NAN;
}

static Batch new_batch(Setup setup, uint64_t seed)
{
    Batch b = {.setup = setup};
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
    b.x = floats(b.rows * b.stride), b.dout = floats(b.rows * width(&b)), b.memory = floats(pages * b.page_floats);
    b.scratch_stride = attention_scratch_floats(longest, setup.head_dim);
    b.scratch = floats(MAX_THREADS * b.scratch_stride);
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
    poison(&b, pages);
    return b;
}

static void free_batch(Batch *b)
{
    mem_free(b->x), mem_free(b->dout), mem_free(b->memory), mem_free(b->scratch), free(b->table);
}

static Result new_result(const Batch *b)
{
    return (Result){filled(b->rows * width(b), UNTOUCHED), filled(b->rows * b->setup.heads * 2, UNTOUCHED),
        filled(b->rows * b->stride, UNTOUCHED)};
}

static void free_result(Result *r) { mem_free(r->out), mem_free(r->stats), mem_free(r->dx); }

static void run_forward(const Kernels *k, const Batch *b, Result *r)
{
    k->attention_store(keys_of(b), values_of(b), b->spans, b->setup.count, &b->shape);
    k->attention_forward(r->out, r->stats, b->x, b->spans, b->setup.count, &b->shape, scratch_of(b));
}

static void run_backward(const Kernels *k, const Batch *b, Result *r)
{
    k->attention_backward(r->dx, r->dx + width(b), r->dx + width(b) + kv_width(b), b->dout, r->out, r->stats, b->x, b->spans,
        b->setup.count, &b->shape, scratch_of(b));
}

static Result run(const Kernels *k, const Batch *b)
{
    Result r = new_result(b);
    run_forward(k, b, &r);
    run_backward(k, b, &r);
    return r;
}

static void assert_same_result(const Batch *b, const Result *got, const Result *want, const char *what)
{
    char name[100];
    const struct { const char *part; const float *got, *want; size_t n; } parts[] = {
        {"out", got->out, want->out, b->rows * width(b)},
        {"max and sum", got->stats, want->stats, b->rows * b->setup.heads * 2},
        {"dq|dk|dv", got->dx, want->dx, b->rows * b->stride}};
    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s: %s, %zu/%zu heads of %zu", what, parts[i].part, b->setup.heads, b->setup.kv_heads,
            b->setup.head_dim);
        assert_same_bits(parts[i].got, parts[i].want, parts[i].n, name);
    }
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
static void contract_weights(const Batch *b, const AttentionSpan *span, size_t head, size_t i, float *p, float stats[2])
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

static void contract_forward(const Batch *b, Result *r, size_t from)
{
    size_t hd = b->setup.head_dim, heads = b->setup.heads;
    for (size_t s = 0; s < b->setup.count; s++)
        for (size_t head = 0; head < heads; head++) {
            const AttentionSpan *span = b->spans + s;
            size_t kv = head / (heads / b->setup.kv_heads);
            float *p = floats(b->setup.lengths[s] + 1);
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
static void contract_backward_query(const Batch *b, const Result *r, const AttentionSpan *span, size_t head, size_t i, float *p)
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

static Result contract(const Batch *b)
{
    Result r = new_result(b);
    contract_forward(b, &r, 0);
    for (size_t row = 0; row < b->rows; row++) memset(r.dx + row * b->stride, 0, (b->stride - GAP) * sizeof *r.dx);
    for (size_t s = 0; s < b->setup.count; s++)
        for (size_t head = 0; head < b->setup.heads; head++) {
            float *p = floats(b->setup.lengths[s] + 1);
            for (size_t i = 0; i < b->setup.lengths[s]; i++) contract_backward_query(b, &r, b->spans + s, head, i, p);
            mem_free(p);
        }
    return r;
}

// ---- the formula in double ---------------------------------------------------------------------------------------------

// out of one query from x; with dx (double, same layout) also adds its gradients.
static void exact_query(const Batch *b, const double *x, const AttentionSpan *span, size_t head, size_t i, double *out, double *dx)
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

// out (and dx unless NULL) of the whole batch; returns sum(out * dout), the loss whose gradient attention_backward computes.
static double exact(const Batch *b, const double *x, double *out, double *dx)
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

static double *doubles(const float *x, size_t n)
{
    double *y = calloc(n + 1, sizeof *y);
    assert_non_null(y);
    for (size_t i = 0; x && i < n; i++) y[i] = (double)x[i];
    return y;
}

static float *rounded(const double *x, size_t n)
{
    float *y = floats(n);
    for (size_t i = 0; i < n; i++) y[i] = (float)x[i];
    return y;
}

// ---- tests -------------------------------------------------------------------------------------------------------------

static const Setup SETUPS[] = {
    {1, 1, 2, 7, {1, 2, 15, 16, 17, 33, 100}},
    {2, 1, 8, 7, {100, 1, 2, 15, 16, 17, 33}},
    {4, 1, 12, 5, {33, 17, 16, 1, 2}},
    {4, 4, 16, 7, {1, 2, 15, 16, 17, 33, 100}},
    {4, 2, 32, 7, {33, 100, 1, 2, 15, 16, 17}},
    {3, 1, 48, 4, {17, 2, 70, 1}},
    {2, 2, 64, 4, {16, 33, 15, 100}},
    {4, 1, 80, 3, {1, 33, 17}},
    {9, 1, 6, 3, {50, 1, 31}},
    {1, 1, 256, 2, {5, 20}},
};
enum { SETUP_COUNT = sizeof SETUPS / sizeof *SETUPS };

static void follows_the_contract_bit_for_bit(void **state)
{
    (void)state;
    const Kernels *list[4];
    size_t count = kernels_available(list);
    for (size_t i = 0; i < SETUP_COUNT; i++) {
        Batch b = new_batch(SETUPS[i], 100 + i);
        Result want = contract(&b);
        for (size_t isa = 0; isa < count; isa++) {
            Result got = run(list[isa], &b);
            assert_same_result(&b, &got, &want, list[isa]->isa);
            free_result(&got);
        }
        free_result(&want), free_batch(&b);
    }
}

static void agrees_with_double_precision(void **state)
{
    (void)state;
    const Kernels *list[4];
    kernels_available(list);
    for (size_t i = 0; i < SETUP_COUNT; i++) {
        Batch b = new_batch(SETUPS[i], 200 + i);
        Result got = run(list[0], &b);
        double *x = doubles(b.x, b.rows * b.stride), *dx = doubles(NULL, b.rows * b.stride);
        double *out = doubles(NULL, b.rows * width(&b));
        exact(&b, x, out, dx);
        float *want = rounded(out, b.rows * width(&b)), *dwant = rounded(dx, b.rows * b.stride);
        for (size_t row = 0; row < b.rows; row++)
            for (size_t c = b.stride - GAP; c < b.stride; c++) dwant[row * b.stride + c] = got.dx[row * b.stride + c] = 0;
        // A handful of roundings of numbers near the largest, whose unit in the last place is 6e-8 of it.
        assert_close(got.out, want, b.rows * width(&b), 1e-6, "out");
        assert_close(got.dx, dwant, b.rows * b.stride, 1e-6, "dq|dk|dv");
        mem_free(want), mem_free(dwant), free(x), free(dx), free(out), free_result(&got), free_batch(&b);
    }
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    Setup setup = {4, 2, 6, 3, {5, 1, 18}};
    Batch b = new_batch(setup, 31);
    const Kernels *list[4];
    kernels_available(list);
    Result got = run(list[0], &b);
    double *x = doubles(b.x, b.rows * b.stride), *slope = doubles(NULL, b.rows * b.stride);
    double *out = doubles(NULL, b.rows * width(&b));
    for (size_t i = 0; i < b.rows * b.stride; i++) {
        const double step = 1e-5, held = x[i];
        if (i % b.stride >= b.stride - GAP) continue;
        x[i] = held + step;
        double up = exact(&b, x, out, NULL);
        x[i] = held - step;
        slope[i] = (up - exact(&b, x, out, NULL)) / (2 * step);
        x[i] = held;
    }
    const struct { const char *name; size_t from, n; } parts[] = {
        {"dq", 0, width(&b)}, {"dk", width(&b), kv_width(&b)}, {"dv", width(&b) + kv_width(&b), kv_width(&b)}};
    for (size_t p = 0; p < 3; p++) { // each tensor against its own largest element, sign included
        float *have = floats(b.rows * parts[p].n), *want = floats(b.rows * parts[p].n);
        for (size_t i = 0; i < b.rows * parts[p].n; i++) {
            size_t at = i / parts[p].n * b.stride + parts[p].from + i % parts[p].n;
            have[i] = got.dx[at], want[i] = (float)slope[at];
        }
        assert_close(have, want, b.rows * parts[p].n, 3e-6, parts[p].name);
        mem_free(have), mem_free(want);
    }
    free(x), free(out), free(slope), free_result(&got), free_batch(&b);
}

static void pages_hold_keys_transposed_then_values_and_nothing_else(void **state)
{
    (void)state;
    Setup setup = {4, 2, 6, 2, {20, 16}};
    const Kernels *list[4];
    size_t count = kernels_available(list);
    for (size_t isa = 0; isa < count; isa++) {
        Batch b = new_batch(setup, 21);
        size_t hd = setup.head_dim, written = 0, expected = 2 * b.rows * kv_width(&b);
        list[isa]->attention_store(keys_of(&b), values_of(&b), b.spans, setup.count, &b.shape);
        for (size_t s = 0; s < setup.count; s++)
            for (size_t j = 0; j < setup.lengths[s]; j++)
                for (size_t i = 0; i < kv_width(&b); i++) {
                    const float *k = b.spans[s].pages[j / PAGE] + b.shape.page_offset + i / hd * 2 * PAGE * hd, *v = k + PAGE * hd;
                    size_t at = (b.spans[s].row + j) * b.stride + i, d = i % hd;
                    assert_true(k[d * PAGE + j % PAGE] == keys_of(&b)[at] && v[j % PAGE * hd + d] == values_of(&b)[at]);
                }
        for (size_t i = 0; i < 3 * b.page_floats; i++) written += !isnan(b.memory[i]);
        assert_int_equal(written, expected);
        free_batch(&b);
    }
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
#if defined(_OPENMP)
    Setup setup = {4, 2, 32, 5, {70, 1, 33, 100, 16}};
    Batch b = new_batch(setup, 41);
    const Kernels *list[4];
    int before = omp_get_max_threads();
    kernels_available(list);
    omp_set_num_threads(1);
    Result want = run(list[0], &b);
    for (int threads = 2; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        poison(&b, 5 + 1 + 3 + 7 + 1);
        Result got = run(list[0], &b);
        assert_same_result(&b, &got, &want, "threads");
        free_result(&got);
    }
    omp_set_num_threads(before);
    free_result(&want), free_batch(&b);
#else
    skip_because("built without OpenMP");
#endif
}

// Each sequence advances by `step` positions a call, all sequences together, until all are done.
static void decode(const Kernels *k, const Batch *b, Result *r, size_t step)
{
    for (size_t past = 0, left = 1; left; past += step) {
        AttentionSpan spans[SEQUENCES];
        left = 0;
        for (size_t s = 0; s < b->setup.count; s++) {
            size_t length = b->setup.lengths[s], queries = past < length ? length - past : 0;
            spans[s] = b->spans[s];
            spans[s].row += past, spans[s].past = past, spans[s].queries = queries < step ? queries : step;
            left += queries;
        }
        k->attention_store(keys_of(b), values_of(b), spans, b->setup.count, &b->shape);
        k->attention_forward(r->out, r->stats, b->x, spans, b->setup.count, &b->shape, scratch_of(b));
    }
}

static void decoding_gives_the_bits_of_the_full_forward(void **state)
{
    (void)state;
    const Kernels *list[4];
    size_t count = kernels_available(list);
    const size_t steps[] = {1, 2, 5, 19, 64};
    for (size_t isa = 0; isa < count; isa++)
        for (size_t i = 0; i < SETUP_COUNT; i += isa + 1 == count ? 4 : 1) {
            Batch full = new_batch(SETUPS[i], 300 + i);
            Result want = new_result(&full);
            run_forward(list[isa], &full, &want);
            for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
                Batch b = new_batch(SETUPS[i], 300 + i);
                Result got = new_result(&b);
                decode(list[isa], &b, &got, steps[s]);
                assert_same_result(&b, &got, &want, "decoding");
                free_result(&got), free_batch(&b);
            }
            free_result(&want), free_batch(&full);
        }
}

static void sequences_may_share_the_pages_of_a_common_prefix(void **state)
{
    (void)state;
    Setup setup = {4, 2, 16, 2, {45, 41}};
    const Kernels *list[4];
    kernels_available(list);
    Batch apart = new_batch(setup, 51);
    size_t common = 32, columns = (setup.heads + 2 * setup.kv_heads) * setup.head_dim;
    for (size_t i = 0; i < common; i++)
        memcpy(apart.x + (45 + i) * apart.stride, apart.x + i * apart.stride, columns * sizeof(float));
    Result want = new_result(&apart), got = new_result(&apart);
    run_forward(list[0], &apart, &want);

    poison(&apart, 3 + 3);
    apart.table[3] = apart.table[0], apart.table[4] = apart.table[1];
    AttentionSpan prefix = {.row = 0, .queries = common, .past = 0, .pages = apart.table};
    AttentionSpan tails[2] = {{.row = common, .queries = 45 - common, .past = common, .pages = apart.table},
        {.row = 45 + common, .queries = 41 - common, .past = common, .pages = apart.table + 3}};
    list[0]->attention_store(keys_of(&apart), values_of(&apart), &prefix, 1, &apart.shape);
    list[0]->attention_store(keys_of(&apart), values_of(&apart), tails, 2, &apart.shape);
    list[0]->attention_forward(got.out, NULL, apart.x, tails, 2, &apart.shape, scratch_of(&apart));
    size_t row = width(&apart);
    assert_same_bits(got.out + common * row, want.out + common * row, (45 - common) * row, "first tail");
    assert_same_bits(got.out + (45 + common) * row, want.out + (45 + common) * row, (41 - common) * row, "second tail");
    assert_true(got.out[0] == UNTOUCHED && got.out[45 * row] == UNTOUCHED);
    free_result(&want), free_result(&got), free_batch(&apart);
}

static void the_batch_around_a_sequence_does_not_change_its_bits(void **state)
{
    (void)state;
    Setup setup = {4, 2, 24, 4, {19, 50, 3, 64}};
    const Kernels *list[4];
    kernels_available(list);
    Batch b = new_batch(setup, 61);
    Result together = run(list[0], &b), alone = new_result(&b);
    size_t columns = b.stride - GAP, after_q = width(&b), after_k = after_q + kv_width(&b);
    for (size_t s = 0; s < setup.count; s++) {
        const AttentionSpan *span = b.spans + s;
        list[0]->attention_forward(alone.out, alone.stats, b.x, span, 1, &b.shape, scratch_of(&b));
        list[0]->attention_backward(alone.dx, alone.dx + after_q, alone.dx + after_k, b.dout, alone.out, alone.stats, b.x, span, 1,
            &b.shape, scratch_of(&b));
        for (size_t row = span->row; row < span->row + span->queries; row++)
            assert_same_bits(alone.dx + row * b.stride, together.dx + row * b.stride, columns, "alone");
    }
    assert_same_result(&b, &alone, &together, "alone");
    free_result(&together), free_result(&alone), free_batch(&b);
}

static void spans_without_queries_are_left_alone(void **state)
{
    (void)state;
    Setup setup = {2, 1, 4, 3, {0, 5, 0}};
    const Kernels *list[4];
    kernels_available(list);
    Batch b = new_batch(setup, 71);
    Result got = run(list[0], &b), want = contract(&b);
    assert_same_result(&b, &got, &want, "empty spans");
    list[0]->attention_forward(got.out, got.stats, b.x, b.spans, 0, &b.shape, scratch_of(&b));
    assert_same_result(&b, &got, &want, "no spans");
    free_result(&got), free_result(&want), free_batch(&b);
}

// Queries on both sides of the 4096th key, where the sum passes from one block of lanes to two added in double.
static void long_contexts_sum_in_blocks(void **state)
{
    (void)state;
    Setup setup = {2, 1, 2, 1, {8195}};
    const Kernels *list[4];
    size_t count = kernels_available(list);
    Batch b = new_batch(setup, 81);
    for (size_t i = 0; i < b.rows * b.stride; i++) b.x[i] *= 0.1f; // flat weights: every block counts
    const size_t starts[] = {4093, 5001, 8190};
    for (size_t i = 0; i < 3; i++)
        for (size_t isa = 0; isa < count; isa++) {
            AttentionSpan span = b.spans[0];
            span.row = span.past = starts[i], span.queries = 5;
            size_t from = starts[i] * width(&b), from_stats = starts[i] * setup.heads * 2;
            Result want = new_result(&b), got = new_result(&b);
            b.setup.lengths[0] = starts[i] + 5;
            contract_forward(&b, &want, starts[i]);
            list[isa]->attention_store(keys_of(&b), values_of(&b), b.spans, 1, &b.shape);
            list[isa]->attention_forward(got.out, got.stats, b.x, &span, 1, &b.shape, scratch_of(&b));
            assert_same_bits(got.stats + from_stats, want.stats + from_stats, 5 * setup.heads * 2, "max and sum");
            assert_same_bits(got.out + from, want.out + from, 5 * width(&b), "out");
            free_result(&want), free_result(&got);
        }
    free_batch(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_contract_bit_for_bit),
        cmocka_unit_test(agrees_with_double_precision),
        cmocka_unit_test(gradients_agree_with_central_differences),
        cmocka_unit_test(pages_hold_keys_transposed_then_values_and_nothing_else),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(decoding_gives_the_bits_of_the_full_forward),
        cmocka_unit_test(sequences_may_share_the_pages_of_a_common_prefix),
        cmocka_unit_test(the_batch_around_a_sequence_does_not_change_its_bits),
        cmocka_unit_test(spans_without_queries_are_left_alone),
        cmocka_unit_test(long_contexts_sum_in_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
