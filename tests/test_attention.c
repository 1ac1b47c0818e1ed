// SPDX-License-Identifier: MIT
/* test_attention.c - attention against a scalar loop in double, and bit for bit against the numerics contract written out in
 * scalar floats; its gradients against central differences; and everything that must not change a bit: instruction set,
 * threads, batch, prefill or decoding, shared pages, whatever unused memory holds. */
#include "tests/support_attention.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_OPENMP)
#include <omp.h>
#endif

static void assert_same_result(const AttentionBatch *b, const AttentionResult *got, const AttentionResult *want, const char *what)
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

static double *doubles(const float *x, size_t n)
{
    double *y = calloc(n + 1, sizeof *y);
    assert_non_null(y);
    for (size_t i = 0; x && i < n; i++) y[i] = (double)x[i];
    return y;
}

static float *rounded(const double *x, size_t n)
{
    float *y = attention_floats(n);
    for (size_t i = 0; i < n; i++) y[i] = (float)x[i];
    return y;
}

static const AttentionSetup SETUPS[] = {
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
        AttentionBatch b = attention_batch_new(SETUPS[i], 100 + i);
        AttentionResult want = attention_contract(&b);
        for (size_t isa = 0; isa < count; isa++) {
            AttentionResult got = attention_run(list[isa], &b);
            assert_same_result(&b, &got, &want, list[isa]->isa);
            attention_result_free(&got);
        }
        attention_result_free(&want), attention_batch_free(&b);
    }
}

static void agrees_with_double_precision(void **state)
{
    (void)state;
    const Kernels *list[4];
    kernels_available(list);
    for (size_t i = 0; i < SETUP_COUNT; i++) {
        AttentionBatch b = attention_batch_new(SETUPS[i], 200 + i);
        AttentionResult got = attention_run(list[0], &b);
        double *x = doubles(b.x, b.rows * b.stride), *dx = doubles(NULL, b.rows * b.stride);
        double *out = doubles(NULL, b.rows * width(&b));
        attention_exact(&b, x, out, dx);
        float *want = rounded(out, b.rows * width(&b)), *dwant = rounded(dx, b.rows * b.stride);
        for (size_t row = 0; row < b.rows; row++)
            for (size_t c = b.stride - GAP; c < b.stride; c++) dwant[row * b.stride + c] = got.dx[row * b.stride + c] = 0;
        // A handful of roundings of numbers near the largest, whose unit in the last place is 6e-8 of it.
        assert_close(got.out, want, b.rows * width(&b), 1e-6, "out");
        assert_close(got.dx, dwant, b.rows * b.stride, 1e-6, "dq|dk|dv");
        mem_free(want), mem_free(dwant), free(x), free(dx), free(out), attention_result_free(&got), attention_batch_free(&b);
    }
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    AttentionSetup setup = {4, 2, 6, 3, {5, 1, 18}};
    AttentionBatch b = attention_batch_new(setup, 31);
    const Kernels *list[4];
    kernels_available(list);
    AttentionResult got = attention_run(list[0], &b);
    double *x = doubles(b.x, b.rows * b.stride), *slope = doubles(NULL, b.rows * b.stride);
    double *out = doubles(NULL, b.rows * width(&b));
    for (size_t i = 0; i < b.rows * b.stride; i++) {
        const double step = 1e-5, held = x[i];
        if (i % b.stride >= b.stride - GAP) continue;
        x[i] = held + step;
        double up = attention_exact(&b, x, out, NULL);
        x[i] = held - step;
        slope[i] = (up - attention_exact(&b, x, out, NULL)) / (2 * step);
        x[i] = held;
    }
    const struct { const char *name; size_t from, n; } parts[] = {
        {"dq", 0, width(&b)}, {"dk", width(&b), kv_width(&b)}, {"dv", width(&b) + kv_width(&b), kv_width(&b)}};
    for (size_t p = 0; p < 3; p++) { // each tensor against its own largest element, sign included
        float *have = attention_floats(b.rows * parts[p].n), *want = attention_floats(b.rows * parts[p].n);
        for (size_t i = 0; i < b.rows * parts[p].n; i++) {
            size_t at = i / parts[p].n * b.stride + parts[p].from + i % parts[p].n;
            have[i] = got.dx[at], want[i] = (float)slope[at];
        }
        assert_close(have, want, b.rows * parts[p].n, 3e-6, parts[p].name);
        mem_free(have), mem_free(want);
    }
    free(x), free(out), free(slope), attention_result_free(&got), attention_batch_free(&b);
}

static void pages_hold_keys_transposed_then_values_and_nothing_else(void **state)
{
    (void)state;
    AttentionSetup setup = {4, 2, 6, 2, {20, 16}};
    const Kernels *list[4];
    size_t count = kernels_available(list);
    for (size_t isa = 0; isa < count; isa++) {
        AttentionBatch b = attention_batch_new(setup, 21);
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
        attention_batch_free(&b);
    }
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
#if defined(_OPENMP)
    AttentionSetup setup = {4, 2, 32, 5, {70, 1, 33, 100, 16}};
    AttentionBatch b = attention_batch_new(setup, 41);
    const Kernels *list[4];
    int before = omp_get_max_threads();
    kernels_available(list);
    omp_set_num_threads(1);
    AttentionResult want = attention_run(list[0], &b);
    for (int threads = 2; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        attention_poison(&b, 5 + 1 + 3 + 7 + 1);
        AttentionResult got = attention_run(list[0], &b);
        assert_same_result(&b, &got, &want, "threads");
        attention_result_free(&got);
    }
    omp_set_num_threads(before);
    attention_result_free(&want), attention_batch_free(&b);
#else
    skip_because("built without OpenMP");
#endif
}

// Each sequence advances by `step` positions a call, all sequences together, until all are done.
static void decode(const Kernels *k, const AttentionBatch *b, AttentionResult *r, size_t step)
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
        k->attention_forward(r->out, r->stats, b->x, spans, b->setup.count, &b->shape, attention_scratch_of(b));
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
            AttentionBatch full = attention_batch_new(SETUPS[i], 300 + i);
            AttentionResult want = attention_result_new(&full);
            attention_run_forward(list[isa], &full, &want);
            for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
                AttentionBatch b = attention_batch_new(SETUPS[i], 300 + i);
                AttentionResult got = attention_result_new(&b);
                decode(list[isa], &b, &got, steps[s]);
                assert_same_result(&b, &got, &want, "decoding");
                attention_result_free(&got), attention_batch_free(&b);
            }
            attention_result_free(&want), attention_batch_free(&full);
        }
}

static void sequences_may_share_the_pages_of_a_common_prefix(void **state)
{
    (void)state;
    AttentionSetup setup = {4, 2, 16, 2, {45, 41}};
    const Kernels *list[4];
    kernels_available(list);
    AttentionBatch apart = attention_batch_new(setup, 51);
    size_t common = 32, columns = (setup.heads + 2 * setup.kv_heads) * setup.head_dim;
    for (size_t i = 0; i < common; i++)
        memcpy(apart.x + (45 + i) * apart.stride, apart.x + i * apart.stride, columns * sizeof(float));
    AttentionResult want = attention_result_new(&apart), got = attention_result_new(&apart);
    attention_run_forward(list[0], &apart, &want);

    attention_poison(&apart, 3 + 3);
    apart.table[3] = apart.table[0], apart.table[4] = apart.table[1];
    AttentionSpan prefix = {.row = 0, .queries = common, .past = 0, .pages = apart.table};
    AttentionSpan tails[2] = {{.row = common, .queries = 45 - common, .past = common, .pages = apart.table},
        {.row = 45 + common, .queries = 41 - common, .past = common, .pages = apart.table + 3}};
    list[0]->attention_store(keys_of(&apart), values_of(&apart), &prefix, 1, &apart.shape);
    list[0]->attention_store(keys_of(&apart), values_of(&apart), tails, 2, &apart.shape);
    list[0]->attention_forward(got.out, NULL, apart.x, tails, 2, &apart.shape, attention_scratch_of(&apart));
    size_t row = width(&apart);
    assert_same_bits(got.out + common * row, want.out + common * row, (45 - common) * row, "first tail");
    assert_same_bits(got.out + (45 + common) * row, want.out + (45 + common) * row, (41 - common) * row, "second tail");
    assert_true(got.out[0] == UNTOUCHED && got.out[45 * row] == UNTOUCHED);
    attention_result_free(&want), attention_result_free(&got), attention_batch_free(&apart);
}

static void the_batch_around_a_sequence_does_not_change_its_bits(void **state)
{
    (void)state;
    AttentionSetup setup = {4, 2, 24, 4, {19, 50, 3, 64}};
    const Kernels *list[4];
    kernels_available(list);
    AttentionBatch b = attention_batch_new(setup, 61);
    AttentionResult together = attention_run(list[0], &b), alone = attention_result_new(&b);
    size_t columns = b.stride - GAP, after_q = width(&b), after_k = after_q + kv_width(&b);
    for (size_t s = 0; s < setup.count; s++) {
        const AttentionSpan *span = b.spans + s;
        list[0]->attention_forward(alone.out, alone.stats, b.x, span, 1, &b.shape, attention_scratch_of(&b));
        list[0]->attention_backward(alone.dx, alone.dx + after_q, alone.dx + after_k, b.dout, alone.out, alone.stats, b.x, span, 1,
            &b.shape, attention_scratch_of(&b));
        for (size_t row = span->row; row < span->row + span->queries; row++)
            assert_same_bits(alone.dx + row * b.stride, together.dx + row * b.stride, columns, "alone");
    }
    assert_same_result(&b, &alone, &together, "alone");
    attention_result_free(&together), attention_result_free(&alone), attention_batch_free(&b);
}

static void spans_without_queries_are_left_alone(void **state)
{
    (void)state;
    AttentionSetup setup = {2, 1, 4, 3, {0, 5, 0}};
    const Kernels *list[4];
    kernels_available(list);
    AttentionBatch b = attention_batch_new(setup, 71);
    AttentionResult got = attention_run(list[0], &b), want = attention_contract(&b);
    assert_same_result(&b, &got, &want, "empty spans");
    list[0]->attention_forward(got.out, got.stats, b.x, b.spans, 0, &b.shape, attention_scratch_of(&b));
    assert_same_result(&b, &got, &want, "no spans");
    attention_result_free(&got), attention_result_free(&want), attention_batch_free(&b);
}

// Queries on both sides of the 4096th key, where the sum passes from one block of lanes to two added in double.
static void long_contexts_sum_in_blocks(void **state)
{
    (void)state;
    AttentionSetup setup = {2, 1, 2, 1, {8195}};
    const Kernels *list[4];
    size_t count = kernels_available(list);
    AttentionBatch b = attention_batch_new(setup, 81);
    for (size_t i = 0; i < b.rows * b.stride; i++) b.x[i] *= 0.1f; // flat weights: every block counts
    const size_t starts[] = {4093, 5001, 8190};
    for (size_t i = 0; i < 3; i++)
        for (size_t isa = 0; isa < count; isa++) {
            AttentionSpan span = b.spans[0];
            span.row = span.past = starts[i], span.queries = 5;
            size_t from = starts[i] * width(&b), from_stats = starts[i] * setup.heads * 2;
            AttentionResult want = attention_result_new(&b), got = attention_result_new(&b);
            b.setup.lengths[0] = starts[i] + 5;
            attention_contract_forward(&b, &want, starts[i]);
            list[isa]->attention_store(keys_of(&b), values_of(&b), b.spans, 1, &b.shape);
            list[isa]->attention_forward(got.out, got.stats, b.x, &span, 1, &b.shape, attention_scratch_of(&b));
            assert_same_bits(got.stats + from_stats, want.stats + from_stats, 5 * setup.heads * 2, "max and sum");
            assert_same_bits(got.out + from, want.out + from, 5 * width(&b), "out");
            attention_result_free(&want), attention_result_free(&got);
        }
    attention_batch_free(&b);
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
