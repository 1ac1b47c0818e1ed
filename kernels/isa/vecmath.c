// SPDX-License-Identifier: MIT
/* vecmath.c - arrays without rows: exp, log, sigmoid, addition, AdamW, and the long reductions. Threads take pieces of an
 * array; a sum is always formed by the rule of rows-internal.h, whoever computes its blocks. Knows nothing of models.
 */
#include "kernels/rows-internal.h"

// y = f(x) over n elements, in chunks shared out among threads; the loop body sees x as `v`.
#define MAP_ARRAY(parallel_from, expression) \
    OMP(omp parallel if (n >= parallel_from)) \
    { \
        fp_strict(); \
        OMP(omp for schedule(static)) \
        for (size_t chunk = 0; chunk < blocks_of(n, CHUNK); chunk++) { \
            size_t end = smaller(n, (chunk + 1) * CHUNK); \
            for (size_t i = chunk * CHUNK; i < end; i += LANES) { \
                v16 v = load_up_to(x + i, end - i); \
                store_up_to(y + i, expression, end - i); \
            } \
        } \
    }

void KERNEL(exp_array)(float *y, const float *x, size_t n)
{
    MAP_ARRAY(PARALLEL_MATH, v16_exp(v))
}

void KERNEL(log_array)(float *y, const float *x, size_t n)
{
    MAP_ARRAY(PARALLEL_MATH, v16_log(v))
}

void KERNEL(sigmoid_array)(float *y, const float *x, size_t n)
{
    MAP_ARRAY(PARALLEL_MATH, v16_sigmoid(v))
}

void KERNEL(add_array)(float *y, const float *x, size_t n)
{
    MAP_ARRAY(PARALLEL_COPY, v16_add(load_up_to(y + i, end - i), v))
}

// The largest of x/T is the largest x over T, because division by a positive number keeps the order.
void KERNEL(exp_scaled)(float *y, const float *x, size_t n, float temperature)
{
    v16 t = v16_set(temperature);
    v16 top = v16_div(v16_set(KERNEL(max_array)(x, n)), t);
    MAP_ARRAY(PARALLEL_MATH, v16_exp(v16_sub(v16_div(v, t), top)))
}

/* One AdamW step (Loshchilov and Hutter 2019) in the order of PyTorch's single-tensor code: decay, first moment by
 * interpolation, second moment, then w -= lr / correction1 * m / (sqrt(v) / sqrt(correction2) + eps). The combined
 * coefficients are formed in double and rounded once. */
static void adamw_chunk(float *w, float *m, float *v, const float *g, size_t n, const AdamwStep *step)
{
    const v16 decay = v16_set((float)(1.0 - (double)step->lr * (double)step->weight_decay));
    const v16 gain1 = v16_set((float)(1.0 - (double)step->beta1)), gain2 = v16_set((float)(1.0 - (double)step->beta2));
    const v16 beta2 = v16_set((float)step->beta2), eps = v16_set((float)step->eps), scale = v16_set((float)step->gradient_scale);
    const v16 rate = v16_set((float)(-(double)step->lr / (double)step->correction1));
    const v16 root2 = v16_set((float)strict_sqrt((double)step->correction2));
    for (size_t i = 0; i < n; i += LANES) {
        size_t rest = n - i;
        v16 grad = v16_mul(load_up_to(g + i, rest), scale);
        v16 first = load_up_to(m + i, rest);
        first = v16_fma(v16_sub(grad, first), gain1, first);
        v16 second = v16_fma(v16_mul(gain2, grad), grad, v16_mul(load_up_to(v + i, rest), beta2));
        v16 denominator = v16_add(v16_div(v16_sqrt(second), root2), eps);
        v16 weight = v16_mul(load_up_to(w + i, rest), decay);
        store_up_to(w + i, v16_add(weight, v16_div(v16_mul(rate, first), denominator)), rest);
        store_up_to(m + i, first, rest);
        store_up_to(v + i, second, rest);
    }
}

void KERNEL(adamw_update)(float *w, float *m, float *v, const float *g, size_t n, const AdamwStep *step)
{
    OMP(omp parallel if (n >= PARALLEL_MATH))
    {
        fp_strict();
        OMP(omp for schedule(static))
        for (size_t chunk = 0; chunk < blocks_of(n, CHUNK); chunk++) {
            size_t at = chunk * CHUNK;
            adamw_chunk(w + at, m + at, v + at, g + at, smaller(n - at, CHUNK), step);
        }
    }
}

// ---- reductions --------------------------------------------------------------------------------------------------------

float KERNEL(max_array)(const float *x, size_t n)
{
    v16 top[4]; // four running maxima: the order of comparisons does not matter to an exact maximum
    for (int j = 0; j < 4; j++) top[j] = v16_set(-INFINITY);
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        for (size_t j = 0; j < 4; j++) top[j] = v16_max(top[j], v16_load(x + i + j * LANES));
    for (; i < n; i += LANES) top[0] = v16_max(top[0], v16_select(v16_first(n - i), v16_load_n(x + i, n - i), top[0]));
    return v16_max_lanes(v16_max(v16_max(top[0], top[1]), v16_max(top[2], top[3])));
}

// The lane sums of at most SUM_BLOCK elements: of x, of its squares, of x - x (0, or NaN where x is not finite).
static float block_sum(const float *x, size_t n)
{
    v16 lanes = v16_zero();
    for (size_t i = 0; i < n; i += LANES) lanes = v16_add(lanes, load_up_to(x + i, n - i));
    return v16_sum(lanes);
}

static float block_sum_squares(const float *x, size_t n)
{
    v16 lanes = v16_zero();
    for (size_t i = 0; i < n; i += LANES) {
        v16 v = load_up_to(x + i, n - i);
        lanes = v16_fma(v, v, lanes);
    }
    return v16_sum(lanes);
}

static float block_differences(const float *x, size_t n)
{
    v16 lanes = v16_zero();
    for (size_t i = 0; i < n; i += LANES) {
        v16 v = load_up_to(x + i, n - i);
        lanes = v16_add(lanes, v16_sub(v, v));
    }
    return v16_sum(lanes);
}

// Block sums added in double in index order. Threads fill a group of them, which bounds the memory; one thread adds.
static double long_sum(float (*sum)(const float *x, size_t n), const float *x, size_t n)
{
    enum { GROUP = 256 };
    float sums[GROUP];
    double total = 0;
    fp_strict();
    for (size_t first = 0, blocks = blocks_of(n, SUM_BLOCK); first < blocks; first += GROUP) {
        size_t count = smaller(blocks - first, GROUP);
        OMP(omp parallel if (count * SUM_BLOCK >= PARALLEL_COPY))
        {
            fp_strict();
            OMP(omp for schedule(static))
            for (size_t b = 0; b < count; b++) {
                size_t at = (first + b) * SUM_BLOCK;
                sums[b] = sum(x + at, smaller(n - at, SUM_BLOCK));
            }
        }
        for (size_t b = 0; b < count; b++) total += (double)sums[b];
    }
    return total;
}

double KERNEL(sum_array)(const float *x, size_t n) { return long_sum(block_sum, x, n); }
double KERNEL(sum_squares)(const float *x, size_t n) { return long_sum(block_sum_squares, x, n); }
bool KERNEL(all_finite)(const float *x, size_t n) { return long_sum(block_differences, x, n) == 0; }

void KERNEL(block_sums)(float *sums, const float *p, size_t n)
{
    fp_strict();
    for (size_t at = 0; at < n; at += CDF_BLOCK) *sums++ = block_sum(p + at, smaller(n - at, CDF_BLOCK));
}
