// SPDX-License-Identifier: MIT
/* test_matmul.c - every form of the product, on every instruction set this CPU runs, against the plain triple loop: bit for bit. */
#include "kernels/matmul.h"
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MARGIN = 32, FORMS = 4 };
static const size_t sizes[] = {1, 2, 5, 6, 7, 13, 15, 16, 17, 31, 33, 65, 300};
enum { SIZES = sizeof sizes / sizeof *sizes };

// An array between two margins: NaN around inputs, so that what is read past the end shows; canaries around outputs.
static float *guarded(size_t n, float margin)
{
    float *all = malloc((n + 2 * MARGIN) * sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < n + 2 * MARGIN; i++) all[i] = margin;
    return all + MARGIN;
}

static void release(float *array) { free(array - MARGIN); }

static void assert_margins(const float *array, size_t n, float margin)
{
    for (size_t i = 0; i < MARGIN; i++) {
        if (memcmp(array - 1 - i, &margin, sizeof margin)) fail_msg("written %zu floats before the output", i + 1);
        if (memcmp(array + n + i, &margin, sizeof margin)) fail_msg("written %zu floats past the output", i + 1);
    }
}

// Ordinary numbers, zeros of both signs and subnormals.
static void fill(TestRandom *random, float *x, size_t n)
{
    test_fill(random, x, n);
    for (size_t i = 0; i < n; i++)
        switch (test_integer(random, 24)) {
        case 0: x[i] = -0.0f; break;
        case 1: x[i] *= 1e-41f; break;
        case 2: x[i] *= 1e-22f; break; // products of two are subnormal
        default: break;
        }
}

static float *transposed(const float *x, size_t rows, size_t cols)
{
    float *t = guarded(rows * cols, NAN);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) t[j * rows + i] = x[i * cols + j];
    return t;
}

static Compute compute(const char *isa, size_t threads)
{
    Compute cx;
    Err err = {0};
    assert_ok(compute_init(&cx, isa, "own", threads, &err), &err);
    return cx;
}

typedef struct { size_t m, n, k; float *a, *a_t, *b, *b_t, *c; } Example; // a [m,k], b [k,n], c [m,n]: what C holds before

static Example example(TestRandom *random, size_t m, size_t n, size_t k)
{
    Example e = {m, n, k, guarded(m * k, NAN), NULL, guarded(k * n, NAN), NULL, guarded(m * n, NAN)};
    fill(random, e.a, m * k);
    fill(random, e.b, k * n);
    fill(random, e.c, m * n);
    e.a_t = transposed(e.a, m, k);
    e.b_t = transposed(e.b, k, n);
    return e;
}

static void example_free(Example *e)
{
    release(e->a), release(e->a_t), release(e->b), release(e->b_t), release(e->c);
}

// The same product through one of the forms; form 2 always accumulates.
static void run_form(const Compute *cx, float *c, const Example *e, int form, bool accumulate)
{
    if (form == 0) matmul_forward(cx, c, e->a, e->b_t, e->m, e->n, e->k, accumulate);
    if (form == 1) matmul_backward_input(cx, c, e->a, e->b, e->m, e->k, e->n, accumulate);
    if (form == 2) matmul_backward_weight(cx, c, e->a_t, e->b, e->k, e->m, e->n);
    if (form == 3) {
        float *packed = guarded(matmul_packed_floats(cx, e->n, e->k), -7);
        matmul_pack(cx, packed, e->b_t, e->n, e->k);
        assert_margins(packed, matmul_packed_floats(cx, e->n, e->k), -7);
        matmul_forward_packed(cx, c, e->a, packed, e->m, e->n, e->k, accumulate);
        release(packed);
    }
}

static void check_form(const Compute *cx, const Example *e, const float *want, int form, bool accumulate)
{
    static const char *const names[FORMS] = {"forward", "backward_input", "backward_weight", "forward_packed"};
    size_t n = e->m * e->n;
    float *c = guarded(n, -7);
    if (accumulate) memcpy(c, e->c, n * sizeof *c);
    else for (size_t i = 0; i < n; i++) c[i] = NAN;
    run_form(cx, c, e, form, accumulate);
    char what[120];
    snprintf(what, sizeof what, "%s %s %zux%zux%zu, %zu threads%s", cx->k->isa, names[form], e->m, e->n, e->k, cx->threads,
        accumulate ? ", accumulating" : "");
    assert_same_bits(c, want, n, what);
    assert_margins(c, n, -7);
    release(c);
}

// Threads rotate through 1, 2, 3 with the sizes, so that every form meets every number of them many times.
static void has_the_bits_of_the_triple_loop(void **state)
{
    (void)state;
    const Kernels *list[4];
    Compute cx[4][3];
    size_t count = kernels_available(list);
    for (size_t i = 0; i < 3 * count; i++) cx[i / 3][i % 3] = compute(list[i / 3]->isa, i % 3 + 1);
    TestRandom random = {1};
    for (size_t s = 0; s < (size_t)SIZES * SIZES * SIZES; s++) {
        size_t im = s % SIZES, in = s / SIZES % SIZES, ik = s / SIZES / SIZES;
        if (sizes[im] * sizes[in] * sizes[ik] > 100000) continue; // more of the same paths, slowly
        Example e = example(&random, sizes[im], sizes[in], sizes[ik]);
        float *want = guarded(e.m * e.n, NAN);
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            memcpy(want, e.c, e.m * e.n * sizeof *want);
            matmul_reference(want, e.a, e.k, 1, e.b, e.n, 1, e.m, e.n, e.k, accumulate);
            for (size_t i = 0; i < count; i++)
                for (int form = 0; form < FORMS; form++)
                    if (form != 2 || accumulate) check_form(&cx[i][(s + (size_t)form) % 3], &e, want, form, accumulate);
        }
        release(want);
        example_free(&e);
    }
    for (size_t i = 0; i < 3 * count; i++) compute_free(&cx[i / 3][i % 3]);
}

// Shapes that need several blocks of rows, of k, and more of B than the scratch holds; single elements from the triple loop.
static void large_products_are_the_same_chains(void **state)
{
    (void)state;
    static const size_t shapes[][3] = {{150, 2, 132000}, {401, 900, 2500}, {1000, 517, 72}, {8, 2100, 577}, {3, 4099, 300}, {700, 33, 300},
        {100, 70, 1024}, {37, 130, 2048} /* whose rows are packed */};
    const Kernels *list[4];
    size_t count = kernels_available(list);
    TestRandom random = {2};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        Example e = example(&random, shapes[s][0], shapes[s][1], shapes[s][2]);
        float *c = guarded(e.m * e.n, -7);
        for (size_t i = 0; i < count; i++) {
            if (strcmp(list[i]->isa, "plain") == 0 && e.m * e.n * e.k > 8000000) continue; // software multiply-adds
            for (int form = 0; form < FORMS; form++) {
                Compute cx = compute(list[i]->isa, (s + i + (size_t)form) % 3 + 1);
                memcpy(c, e.c, e.m * e.n * sizeof *c);
                run_form(&cx, c, &e, form, true);
                for (int sample = 0; sample < 200; sample++) {
                    size_t row = test_integer(&random, (uint32_t)e.m), col = test_integer(&random, (uint32_t)e.n);
                    float want = e.c[row * e.n + col];
                    matmul_reference(&want, e.a + row * e.k, 0, 1, e.b + col, e.n, 0, 1, 1, e.k, true);
                    assert_same_bits(&c[row * e.n + col], &want, 1, list[i]->isa);
                }
                assert_margins(c, e.m * e.n, -7);
                compute_free(&cx);
            }
        }
        release(c);
        example_free(&e);
    }
}

static void weight_gradient_in_two_calls_has_the_bits_of_one(void **state)
{
    (void)state;
    enum { ROWS = 301, OUT = 70, IN = 90 };
    TestRandom random = {3};
    float *dy = guarded(ROWS * OUT, NAN), *x = guarded(ROWS * IN, NAN), *once = guarded(OUT * IN, 0), *twice = guarded(OUT * IN, 0);
    fill(&random, dy, ROWS * OUT);
    fill(&random, x, ROWS * IN);
    Compute cx = compute(NULL, 2);
    matmul_backward_weight(&cx, once, dy, x, ROWS, OUT, IN);
    for (size_t split = 0; split <= ROWS; split += 43) {
        memset(twice, 0, OUT * IN * sizeof *twice);
        matmul_backward_weight(&cx, twice, dy, x, split, OUT, IN);
        matmul_backward_weight(&cx, twice, dy + split * OUT, x + split * IN, ROWS - split, OUT, IN);
        assert_same_bits(twice, once, OUT * IN, "dW");
    }
    compute_free(&cx);
    release(dy), release(x), release(once), release(twice);
}

static void a_row_does_not_depend_on_how_many_there_are(void **state)
{
    (void)state;
    enum { ROWS = 200, OUT = 77, IN = 270 };
    TestRandom random = {4};
    Example e = example(&random, ROWS, OUT, IN);
    float *all = guarded(ROWS * OUT, 0), *some = guarded(ROWS * OUT, 0);
    Compute cx = compute(NULL, 2);
    matmul_forward(&cx, all, e.a, e.b_t, ROWS, OUT, IN, false);
    for (size_t rows = 1; rows <= 20; rows++) {
        matmul_forward(&cx, some, e.a + (ROWS - rows) * IN, e.b_t, rows, OUT, IN, false);
        assert_same_bits(some, all + (ROWS - rows) * OUT, rows * OUT, "Y");
    }
    compute_free(&cx);
    example_free(&e);
    release(all), release(some);
}

// As many rows as the caches of some machine ask for; blocks of any height, all of A at once and a tile at a time among them.
static void the_size_of_the_cache_changes_no_bit(void **state)
{
    (void)state;
    enum { ROWS = 413, OUT = 70, IN = 600 };
    const size_t caches[] = {0, 1, 256 << 10, 512 << 10, 2 << 20, (size_t)1 << 30};
    const Kernels *list[4];
    TestRandom random = {6};
    Example e = example(&random, ROWS, OUT, IN);
    float *usual = guarded(ROWS * OUT, 0), *other = guarded(ROWS * OUT, 0);
    for (size_t i = kernels_available(list); i--;) {
        Compute cx = compute(list[i]->isa, 2);
        matmul_forward(&cx, usual, e.a, e.b_t, ROWS, OUT, IN, false);
        size_t last = 0;
        for (size_t j = 0; j < sizeof caches / sizeof *caches; j++) {
            cx.gemm.row_block = cx.k->gemm_blocking(caches[j]).row_block;
            if (j) assert_true(cx.gemm.row_block >= last);
            last = j ? cx.gemm.row_block : 0;
            matmul_forward(&cx, other, e.a, e.b_t, ROWS, OUT, IN, false);
            assert_same_bits(other, usual, ROWS * OUT, list[i]->isa);
        }
        cx.gemm.row_block = 1;
        matmul_forward(&cx, other, e.a, e.b_t, ROWS, OUT, IN, false);
        assert_same_bits(other, usual, ROWS * OUT, list[i]->isa);
        compute_free(&cx);
    }
    example_free(&e);
    release(usual), release(other);
}

static void an_empty_sum_is_zero_or_what_was_there(void **state)
{
    (void)state;
    const Kernels *list[4];
    float x = 0, y[3] = {-0.0f, NAN, 2}, zero[3] = {0};
    for (size_t i = kernels_available(list); i--;) {
        Compute cx = compute(list[i]->isa, 1);
        float c[3];
        memcpy(c, y, sizeof c);
        matmul_forward(&cx, c, &x, &x, 1, 3, 0, true);
        assert_memory_equal(c, y, sizeof c);
        matmul_forward(&cx, c, &x, &x, 1, 3, 0, false);
        assert_same_bits(c, zero, 3, list[i]->isa);
        matmul_forward(&cx, c, &x, &x, 0, 3, 5, false);
        compute_free(&cx);
    }
}

// fma(-1, 0, +0) is +0, but a chain that starts from -0 stays there; nothing is skipped, so 0 * inf shows as NaN.
static void zeros_and_infinities_follow_the_chain(void **state)
{
    (void)state;
    const Kernels *list[4];
    for (size_t i = kernels_available(list); i--;) {
        Compute cx = compute(list[i]->isa, 1);
        float x[2] = {-1, -1}, w[2] = {0, 0}, c = -0.0f, positive = 0.0f, negative = -0.0f;
        matmul_forward(&cx, &c, x, w, 1, 1, 2, true);
        assert_same_bits(&c, &negative, 1, "from -0");
        matmul_forward(&cx, &c, x, w, 1, 1, 2, false);
        assert_same_bits(&c, &positive, 1, "from +0");
        w[1] = INFINITY, x[1] = 0;
        matmul_forward(&cx, &c, x, w, 1, 1, 2, false);
        assert_true(isnan(c));
        compute_free(&cx);
    }
}

static void blis_agrees_within_rounding(void **state)
{
    (void)state;
    if (!blis_configuration()) skip_because("this build is without BLIS");
    static const size_t shapes[][3] = {{1, 1, 1}, {5, 7, 33}, {64, 96, 300}, {17, 130, 65}, {130, 17, 600}};
    TestRandom random = {5};
    Compute own = compute(NULL, 2), blis;
    Err err = {0};
    assert_ok(compute_init(&blis, NULL, "blis", 2, &err), &err);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        Example e = example(&random, shapes[s][0], shapes[s][1], shapes[s][2]);
        float *ours = guarded(e.m * e.n, 0), *theirs = guarded(e.m * e.n, 0);
        for (int form = 0; form < FORMS; form++)
            for (int accumulate = form == 2; accumulate < 2; accumulate++) {
                memcpy(ours, e.c, e.m * e.n * sizeof *ours);
                memcpy(theirs, e.c, e.m * e.n * sizeof *theirs);
                run_form(&own, ours, &e, form, accumulate);
                run_form(&blis, theirs, &e, form, accumulate);
                assert_close(theirs, ours, e.m * e.n, 1e-5, "BLIS"); // k <= 600 roundings of 6e-8, partly cancelling
            }
        release(ours), release(theirs);
        example_free(&e);
    }
    compute_free(&own);
    compute_free(&blis);
}

static void peak_is_a_plausible_speed(void **state)
{
    (void)state;
    const Kernels *list[4];
    for (size_t i = kernels_available(list); i--;) {
        double flops = list[i]->fma_peak_flops(0.01);
        if (!(flops > 1e6 && flops < 1e15)) fail_msg("%s: %g flop/s", list[i]->isa, flops);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_bits_of_the_triple_loop),
        cmocka_unit_test(large_products_are_the_same_chains),
        cmocka_unit_test(weight_gradient_in_two_calls_has_the_bits_of_one),
        cmocka_unit_test(a_row_does_not_depend_on_how_many_there_are),
        cmocka_unit_test(the_size_of_the_cache_changes_no_bit),
        cmocka_unit_test(an_empty_sum_is_zero_or_what_was_there),
        cmocka_unit_test(zeros_and_infinities_follow_the_chain),
        cmocka_unit_test(blis_agrees_within_rounding),
        cmocka_unit_test(peak_is_a_plausible_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
