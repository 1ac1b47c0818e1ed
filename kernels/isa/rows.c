// SPDX-License-Identifier: MIT
/* rows.c - what a model does to the rows of a matrix besides multiplying: RMSNorm, RoPE, SwiGLU, table lookup, softmax with
 * cross-entropy; each forward beside its backward. Threads take rows where rows are independent and columns where a
 * gradient adds over rows, so that every sum keeps its order. Knows nothing of layers or models.
 */
#include "kernels/rows-internal.h"

#include <assert.h>

enum { COLUMNS = 64 }; // columns a thread takes at a time in sums over rows: whole cache lines

// ---- RMSNorm (Zhang and Sennrich 2019): y = x * inv * weight, inv = 1 / sqrt(mean(x^2) + eps) ------------------------------

static float rms_inverse(const float *x, size_t dim, float eps)
{
    double total = 0;
    for (size_t block = 0; block < dim; block += SUM_BLOCK) {
        size_t end = smaller(dim, block + SUM_BLOCK);
        v16 lanes = v16_zero();
        for (size_t i = block; i < end; i += LANES) {
            v16 v = load_up_to(x + i, end - i);
            lanes = v16_fma(v, v, lanes);
        }
        total += (double)v16_sum(lanes);
    }
    return 1.0f / strict_sqrtf((float)total / (float)dim + eps);
}

void KERNEL(rmsnorm_forward)(float *y, float *inv_rms, const float *x, const float *weight, size_t rows, size_t dim, float eps)
{
    OMP(omp parallel if (rows > 1 && rows * dim >= PARALLEL_COPY))
    {
        fp_strict();
        OMP(omp for schedule(static))
        for (size_t r = 0; r < rows; r++) {
            const float *in = x + r * dim;
            float inverse = rms_inverse(in, dim, eps);
            if (inv_rms) inv_rms[r] = inverse;
            v16 inv = v16_set(inverse);
            for (size_t i = 0; i < dim; i += LANES) {
                v16 normed = v16_mul(load_up_to(in + i, dim - i), inv);
                store_up_to(y + r * dim + i, v16_mul(normed, load_up_to(weight + i, dim - i)), dim - i);
            }
        }
    }
}

// mean over the row of g * xhat, where g = dy * weight is the gradient of xhat = x * inv
static float rms_mean_product(const float *dy, const float *x, const float *weight, v16 inv, size_t dim)
{
    double total = 0;
    for (size_t block = 0; block < dim; block += SUM_BLOCK) {
        size_t end = smaller(dim, block + SUM_BLOCK);
        v16 lanes = v16_zero();
        for (size_t i = block; i < end; i += LANES) {
            v16 g = v16_mul(load_up_to(dy + i, end - i), load_up_to(weight + i, end - i));
            lanes = v16_fma(g, v16_mul(load_up_to(x + i, end - i), inv), lanes);
        }
        total += (double)v16_sum(lanes);
    }
    return (float)total / (float)dim;
}

// dx += inv * (g - xhat * mean(g * xhat))
static void rms_backward_row(float *dx, const float *dy, const float *x, const float *weight, float inverse, size_t dim)
{
    v16 inv = v16_set(inverse), mean = v16_set(rms_mean_product(dy, x, weight, inv, dim));
    for (size_t i = 0; i < dim; i += LANES) {
        v16 g = v16_mul(load_up_to(dy + i, dim - i), load_up_to(weight + i, dim - i));
        v16 normed = v16_mul(load_up_to(x + i, dim - i), inv);
        store_up_to(dx + i, v16_fma(inv, v16_fnma(normed, mean, g), load_up_to(dx + i, dim - i)), dim - i);
    }
}

// dweight[j] = chain over rows ascending of fma(dy, xhat), for the columns first <= j < end
static void rms_backward_weight(float *dweight, const float *dy, const float *x, const float *inv_rms, size_t rows, size_t dim,
    size_t first, size_t end)
{
    for (size_t r = 0; r < rows; r++) {
        v16 inv = v16_set(inv_rms[r]);
        for (size_t j = first; j < end; j += LANES) {
            v16 normed = v16_mul(load_up_to(x + r * dim + j, end - j), inv);
            v16 sum = v16_fma(load_up_to(dy + r * dim + j, end - j), normed, load_up_to(dweight + j, end - j));
            store_up_to(dweight + j, sum, end - j);
        }
    }
}

void KERNEL(rmsnorm_backward)(float *dx, float *dweight, const float *dy, const float *x, const float *weight, const float *inv_rms,
    size_t rows, size_t dim)
{
    OMP(omp parallel if (rows * dim >= PARALLEL_COPY))
    {
        fp_strict();
        OMP(omp for schedule(static) nowait)
        for (size_t r = 0; r < rows; r++) rms_backward_row(dx + r * dim, dy + r * dim, x + r * dim, weight, inv_rms[r], dim);
        size_t blocks = dweight ? blocks_of(dim, COLUMNS) : 0;
        OMP(omp for schedule(static))
        for (size_t b = 0; b < blocks; b++)
            rms_backward_weight(dweight, dy, x, inv_rms, rows, dim, b * COLUMNS, smaller(dim, (b + 1) * COLUMNS));
    }
}

// ---- RoPE (Su et al. 2021), rotate-half form: the pair (a, b) = (x[i], x[i + head_dim/2]) turns by the position's angle ----

// (a cos - b sin, b cos + a sin); the inverse turns back by the negated sine, which is also the gradient.
static void rope_row(float *x, const float *cosine, const float *sine, size_t heads, size_t head_dim, bool inverse)
{
    size_t half = head_dim / 2;
    for (size_t i = 0; i < half; i += LANES) {
        size_t rest = half - i;
        v16 c = load_up_to(cosine + i, rest), s = load_up_to(sine + i, rest);
        if (inverse) s = v16_neg(s);
        for (size_t h = 0; h < heads; h++) {
            float *low = x + h * head_dim + i, *high = low + half;
            v16 a = load_up_to(low, rest), b = load_up_to(high, rest);
            store_up_to(low, v16_sub(v16_mul(a, c), v16_mul(b, s)), rest);
            store_up_to(high, v16_add(v16_mul(b, c), v16_mul(a, s)), rest);
        }
    }
}

void KERNEL(rope_rotate)(float *x, size_t stride, const float *cosine, const float *sine, const uint32_t *position, size_t rows,
    size_t heads, size_t head_dim, bool inverse)
{
    assert(head_dim % 2 == 0 && heads * head_dim <= stride);
    OMP(omp parallel if (rows > 1 && rows * heads * head_dim >= PARALLEL_COPY))
    {
        fp_strict();
        OMP(omp for schedule(static))
        for (size_t r = 0; r < rows; r++) {
            size_t at = position[r] * (head_dim / 2);
            rope_row(x + r * stride, cosine + at, sine + at, heads, head_dim, inverse);
        }
    }
}

// ---- SwiGLU (Shazeer 2020): h = silu(gate) * up ---------------------------------------------------------------------------

static void swiglu_row(float *h, const float *gate, const float *up, size_t ff)
{
    for (size_t i = 0; i < ff; i += LANES)
        store_up_to(h + i, v16_mul(v16_silu(load_up_to(gate + i, ff - i)), load_up_to(up + i, ff - i)), ff - i);
}

void KERNEL(swiglu_forward)(float *h, const float *gate_up, size_t rows, size_t ff)
{
    OMP(omp parallel if (rows > 1 && rows * ff >= PARALLEL_MATH))
    {
        fp_strict();
        OMP(omp for schedule(static))
        for (size_t r = 0; r < rows; r++) swiglu_row(h + r * ff, gate_up + 2 * r * ff, gate_up + (2 * r + 1) * ff, ff);
    }
}

// silu'(g) = s + g s (1 - s) with s = sigmoid(g). dgate and dup may be gate and up themselves: each is read before it is written.
static void swiglu_backward_row(float *dgate, float *dup, const float *dh, const float *gate, const float *up, size_t ff)
{
    v16 one = v16_set(1.0f);
    for (size_t i = 0; i < ff; i += LANES) {
        size_t rest = ff - i;
        v16 d = load_up_to(dh + i, rest), g = load_up_to(gate + i, rest), u = load_up_to(up + i, rest);
        v16 s = v16_sigmoid(g), silu = v16_mul(g, s);
        store_up_to(dgate + i, v16_mul(v16_mul(d, u), v16_fma(silu, v16_sub(one, s), s)), rest);
        store_up_to(dup + i, v16_mul(d, silu), rest);
    }
}

void KERNEL(swiglu_backward)(float *dgate_up, const float *dh, const float *gate_up, size_t rows, size_t ff)
{
    OMP(omp parallel if (rows > 1 && rows * ff >= PARALLEL_MATH))
    {
        fp_strict();
        OMP(omp for schedule(static))
        for (size_t r = 0; r < rows; r++) {
            size_t gate = 2 * r * ff, up = gate + ff;
            swiglu_backward_row(dgate_up + gate, dgate_up + up, dh + r * ff, gate_up + gate, gate_up + up, ff);
        }
    }
}

// ---- table lookup -----------------------------------------------------------------------------------------------------------

void KERNEL(gather_rows)(float *y, const float *table, const uint32_t *ids, size_t rows, size_t dim)
{
    OMP(omp parallel for schedule(static) if (rows * dim >= PARALLEL_COPY))
    for (size_t r = 0; r < rows; r++) memcpy(y + r * dim, table + ids[r] * dim, dim * sizeof *y);
}

// An id may occur in many rows, whose gradients add in row order: threads share out columns, never rows.
void KERNEL(scatter_rows)(float *dtable, const float *dy, const uint32_t *ids, size_t rows, size_t dim)
{
    OMP(omp parallel if (rows * dim >= PARALLEL_COPY))
    {
        fp_strict();
        OMP(omp for schedule(static))
        for (size_t b = 0; b < blocks_of(dim, COLUMNS); b++) {
            size_t end = smaller(dim, (b + 1) * COLUMNS);
            for (size_t r = 0; r < rows; r++) {
                float *to = dtable + ids[r] * dim;
                for (size_t j = b * COLUMNS; j < end; j += LANES)
                    store_up_to(to + j, v16_add(load_up_to(to + j, end - j), load_up_to(dy + r * dim + j, end - j)), end - j);
            }
        }
    }
}

// ---- softmax and cross-entropy -----------------------------------------------------------------------------------------------

// The sum of e = exp(x - top) by the rule of sum_array, rounded once; with `keep` e takes the place of x.
static float exp_sum(float *x, size_t n, float top, bool keep)
{
    double total = 0;
    v16 shift = v16_set(top);
    for (size_t block = 0; block < n; block += SUM_BLOCK) {
        size_t end = smaller(n, block + SUM_BLOCK);
        v16 lanes = v16_zero();
        for (size_t i = block; i < end; i += LANES) {
            size_t rest = end - i;
            v16 e = v16_exp(v16_sub(load_up_to(x + i, rest), shift));
            if (rest < LANES) e = v16_select(v16_first(rest), e, v16_zero());
            if (keep) store_up_to(x + i, e, rest);
            lanes = v16_add(lanes, e);
        }
        total += (double)v16_sum(lanes);
    }
    return (float)total;
}

// log p(target) = (x_t - top) - log sum; with scale the row becomes its gradient (e / sum - onehot) * scale.
static float cross_entropy_row(float *x, uint32_t target, const float *scale, size_t vocab)
{
    assert(target < vocab);
    float top = KERNEL(max_array)(x, vocab), chosen = x[target] - top;
    float sum = exp_sum(x, vocab, top, scale != NULL);
    if (scale) {
        float inverse = 1.0f / sum, at_target = (x[target] * inverse - 1.0f) * *scale;
        v16 inv = v16_set(inverse), factor = v16_set(*scale);
        for (size_t i = 0; i < vocab; i += LANES)
            store_up_to(x + i, v16_mul(v16_mul(load_up_to(x + i, vocab - i), inv), factor), vocab - i);
        x[target] = at_target;
    }
    return chosen - lane_log(sum);
}

void KERNEL(cross_entropy)(float *logits, float *logprob, const uint32_t *target, const float *scale, size_t rows, size_t vocab)
{
    OMP(omp parallel if (rows > 1 && rows * vocab >= PARALLEL_MATH))
    {
        fp_strict();
        OMP(omp for schedule(static))
        for (size_t r = 0; r < rows; r++)
            logprob[r] = cross_entropy_row(logits + r * vocab, target[r], scale ? scale + r : NULL, vocab);
    }
}
