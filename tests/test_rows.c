// SPDX-License-Identifier: MIT
/* test_rows.c - what is done to rows: every kernel on every instruction set against plain C, bit for bit, for any size and number of
 * threads; and plain C against the formulas in double, gradients by central differences of those formulas.
 */
#include "kernels/kernels.h"
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef RAFT_OPENMP
#include <omp.h>
#endif

enum { MARGIN = 40 };

static const Kernels *sets[4], *plain;
static size_t set_count;

// RAFT_ISA restricts a test run to one instruction set (and plain, the measure).
static int find_sets(void **state)
{
    (void)state;
    const char *only = getenv("RAFT_ISA");
    const Kernels *all[4];
    size_t n = kernels_available(all);
    for (size_t i = 0; i < n; i++)
        if (!only || !*only || strcmp(only, all[i]->isa) == 0) sets[set_count++] = all[i];
    plain = all[n - 1];
    return set_count ? 0 : -1;
}

// n floats with NaN before and after them: what is read there shows in the result, what is written there is found.
static float *guarded(size_t n)
{
    float *all = malloc((n + 2 * MARGIN) * sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < n + 2 * MARGIN; i++) all[i] = NAN;
    return all + MARGIN;
}

static void release(float *x) { free(x - MARGIN); }

static void assert_margins(const float *x, size_t n, const char *what)
{
    const float margin = NAN;
    for (size_t i = 0; i < MARGIN; i++)
        if (memcmp(x - 1 - i, &margin, sizeof margin) || memcmp(x + n + i, &margin, sizeof margin)) fail_msg("%s wrote outside its output", what);
}

// Ordinary numbers, zeros of both signs, subnormals and some of size 20.
static float *example(TestRandom *random, size_t n)
{
    float *x = guarded(n);
    test_fill(random, x, n);
    for (size_t i = 0; i < n; i++)
        switch (test_integer(random, 16)) {
        case 0: x[i] = -0.0f; break;
        case 1: x[i] *= 1e-40f; break;
        case 2: x[i] *= 20; break;
        default: break;
        }
    return x;
}

// ---- the same bits -----------------------------------------------------------------------------------------------------

typedef struct { // R rows of n: a, b [R,2n] and c [R,2n] > 0; ids below R with repetitions
    size_t rows, n;
    const float *a, *b, *c;
    const uint32_t *ids;
} Input;

typedef struct { const char *name; size_t (*outputs)(size_t rows, size_t n); void (*run)(const Kernels *k, float *out, const Input *in); } Case;

static size_t one_matrix(size_t rows, size_t n) { return rows * n; }
static size_t wide_matrix(size_t rows, size_t n) { return rows * 2 * n; }
static size_t matrix_and_column(size_t rows, size_t n) { return rows * n + rows; }
static size_t matrix_and_row(size_t rows, size_t n) { return rows * n + n; }
static size_t three_matrices(size_t rows, size_t n) { return 3 * rows * n; }
static size_t rope_matrix(size_t rows, size_t n) { return rows * (6 * n + 3); }
static size_t sums(size_t rows, size_t n) { return 6 + (rows * n + CDF_BLOCK - 1) / CDF_BLOCK; }

static void run_exp(const Kernels *k, float *out, const Input *in) { k->exp_array(out, in->a, in->rows * in->n); }
static void run_log(const Kernels *k, float *out, const Input *in) { k->log_array(out, in->c, in->rows * in->n); }
static void run_sigmoid(const Kernels *k, float *out, const Input *in) { k->sigmoid_array(out, in->a, in->rows * in->n); }
static void run_exp_scaled(const Kernels *k, float *out, const Input *in) { k->exp_scaled(out, in->a, in->rows * in->n, 0.7f); }
static void run_add(const Kernels *k, float *out, const Input *in)
{
    memcpy(out, in->b, in->rows * in->n * sizeof *out);
    k->add_array(out, in->a, in->rows * in->n);
}
static void run_adamw(const Kernels *k, float *out, const Input *in)
{
    size_t n = in->rows * in->n;
    AdamwStep step = {.lr = 1e-3f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .weight_decay = 0.1f, .correction1 = 0.19f,
        .correction2 = 0.0975f, .gradient_scale = 0.3f};
    memcpy(out, in->a, n * sizeof *out);
    memcpy(out + n, in->b, n * sizeof *out);
    memcpy(out + 2 * n, in->c, n * sizeof *out);
    k->adamw_update(out, out + n, out + 2 * n, in->b + n, n, &step);
}
static void run_sums(const Kernels *k, float *out, const Input *in)
{
    size_t n = in->rows * in->n;
    double sum = k->sum_array(in->a, n), squares = k->sum_squares(in->a, n);
    memcpy(out, &sum, sizeof sum);
    memcpy(out + 2, &squares, sizeof squares);
    out[4] = k->max_array(in->a, n);
    out[5] = k->all_finite(in->a, n);
    k->block_sums(out + 6, in->a, n);
}
static void run_rmsnorm(const Kernels *k, float *out, const Input *in)
{
    k->rmsnorm_forward(out, out + in->rows * in->n, in->a, in->b, in->rows, in->n, 1e-5f);
}
static void run_rmsnorm_backward(const Kernels *k, float *out, const Input *in)
{
    memcpy(out, in->b, (in->rows + 1) * in->n * sizeof *out);
    k->rmsnorm_backward(out, out + in->rows * in->n, in->a, in->c, in->a + in->n, in->c, in->rows, in->n);
}
static void run_rmsnorm_backward_alone(const Kernels *k, float *out, const Input *in)
{
    memcpy(out, in->b, in->rows * in->n * sizeof *out);
    k->rmsnorm_backward(out, NULL, in->a, in->c, in->a, in->c, in->rows, in->n);
}
static void run_rope(const Kernels *k, float *out, const Input *in) // three heads of 2n in rows of 6n + 3
{
    for (size_t i = 0; i < rope_matrix(in->rows, in->n); i++) out[i] = in->a[i % (in->rows * in->n)];
    k->rope_rotate(out, 6 * in->n + 3, in->b, in->c, in->ids, in->rows, 3, 2 * in->n, in->n % 2);
}
static void run_swiglu(const Kernels *k, float *out, const Input *in) { k->swiglu_forward(out, in->a, in->rows, in->n); }
static void run_swiglu_backward(const Kernels *k, float *out, const Input *in) { k->swiglu_backward(out, in->b, in->a, in->rows, in->n); }
static void run_swiglu_backward_in_place(const Kernels *k, float *out, const Input *in)
{
    memcpy(out, in->a, 2 * in->rows * in->n * sizeof *out);
    k->swiglu_backward(out, in->b, out, in->rows, in->n);
}
static void run_gather(const Kernels *k, float *out, const Input *in) { k->gather_rows(out, in->a, in->ids, in->rows, in->n); }
static void run_scatter(const Kernels *k, float *out, const Input *in)
{
    memcpy(out, in->b, in->rows * in->n * sizeof *out);
    k->scatter_rows(out, in->a, in->ids, in->rows, in->n);
}
static void cross_entropy(const Kernels *k, float *out, const Input *in, const float *scale)
{
    uint32_t target[64];
    assert_true(in->rows <= 64);
    for (size_t r = 0; r < in->rows; r++) target[r] = (uint32_t)((r * 7919 + in->ids[r]) % in->n);
    memcpy(out, in->a, in->rows * in->n * sizeof *out);
    k->cross_entropy(out, out + in->rows * in->n, target, scale, in->rows, in->n);
}
static void run_cross_entropy(const Kernels *k, float *out, const Input *in) { cross_entropy(k, out, in, in->b); }
static void run_logprob(const Kernels *k, float *out, const Input *in) { cross_entropy(k, out, in, NULL); }

static const Case cases[] = {
    {"exp_array", one_matrix, run_exp}, {"log_array", one_matrix, run_log}, {"sigmoid_array", one_matrix, run_sigmoid},
    {"exp_scaled", one_matrix, run_exp_scaled}, {"add_array", one_matrix, run_add}, {"adamw_update", three_matrices, run_adamw},
    {"sums", sums, run_sums}, {"rmsnorm_forward", matrix_and_column, run_rmsnorm}, {"rmsnorm_backward", matrix_and_row, run_rmsnorm_backward},
    {"rmsnorm_backward without weight", one_matrix, run_rmsnorm_backward_alone}, {"rope_rotate", rope_matrix, run_rope},
    {"swiglu_forward", one_matrix, run_swiglu}, {"swiglu_backward", wide_matrix, run_swiglu_backward},
    {"swiglu_backward in place", wide_matrix, run_swiglu_backward_in_place}, {"gather_rows", one_matrix, run_gather},
    {"scatter_rows", one_matrix, run_scatter}, {"cross_entropy", matrix_and_column, run_cross_entropy},
    {"cross_entropy without gradient", matrix_and_column, run_logprob},
};
enum { CASES = sizeof cases / sizeof *cases };

static Input make_input(TestRandom *random, size_t rows, size_t n)
{
    float *a = example(random, rows * 2 * n + n), *b = example(random, rows * 2 * n + n), *c = example(random, rows * 2 * n + n);
    uint32_t *ids = malloc(rows * sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < rows * 2 * n + n; i++) c[i] = fabsf(c[i]) + 0x1p-140f;
    for (size_t r = 0; r < rows; r++) ids[r] = test_integer(random, (uint32_t)(rows / 2 + 1));
    return (Input){rows, n, a, b, c, ids};
}

static void free_input(Input *in)
{
    release((float *)in->a);
    release((float *)in->b);
    release((float *)in->c);
    free((uint32_t *)in->ids);
}

static float *run_case(const Case *c, const Kernels *k, const Input *in)
{
    size_t n = c->outputs(in->rows, in->n);
    float *out = guarded(n);
    c->run(k, out, in);
    assert_margins(out, n, c->name);
    return out;
}

static void compare_sets(TestRandom *random, size_t rows, size_t n)
{
    Input in = make_input(random, rows, n);
    for (size_t c = 0; c < CASES; c++) {
        float *want = run_case(&cases[c], plain, &in);
        for (size_t i = 0; i < set_count; i++) {
            char what[120];
            snprintf(what, sizeof what, "%s %s of %zu x %zu", sets[i]->isa, cases[c].name, rows, n);
            float *got = run_case(&cases[c], sets[i], &in);
            assert_same_bits(got, want, cases[c].outputs(rows, n), what);
            release(got);
        }
        release(want);
    }
    free_input(&in);
}

static void instruction_sets_agree_on_any_size(void **state)
{
    (void)state;
    TestRandom random = {11};
    for (size_t n = 1; n <= 70; n++) compare_sets(&random, 1 + n % 5, n);
    compare_sets(&random, 3, 4096);
    compare_sets(&random, 3, 4097);
    compare_sets(&random, 2, 10000);
}

// Known answers: the same on every machine and compiler, and from one version to the next. A change here breaks every recorded run.
static void bits_are_the_recorded_ones(void **state)
{
    (void)state;
    static const uint64_t recorded[CASES] = { // in the order of cases
        0x3ca1b6a4ce8e4a0a, 0x1bce13cb30bcab56, 0x968a7c45b84333e5, 0x6ccf6fc7a50e5787, 0xdf4448fdf8ab43a6, 0xac0b02bc7e49a5db,
        0x72ba50fcec9705db, 0x327678e41deb117b, 0xa01982d165c6d6fb, 0x198668ef1e89b873, 0x2484bc26db436231, 0x85ffcf5a6d3bbd33,
        0xf65004265a5596f5, 0xf65004265a5596f5, 0xf2cac386aba16bbd, 0x4ab0bc17c3cd4068, 0xc88880969396d532, 0x34fd0e5dcf965dc2,
    };
    TestRandom random = {18};
    Input in = make_input(&random, 7, 301);
    for (size_t c = 0; c < CASES; c++) {
        float *out = run_case(&cases[c], plain, &in);
        uint64_t hash = hash_bytes(0, out, cases[c].outputs(in.rows, in.n) * sizeof *out);
        if (hash != recorded[c]) fail_msg("%s: 0x%016llx", cases[c].name, (unsigned long long)hash);
        release(out);
    }
    free_input(&in);
}

// Sizes at which every kernel takes its threaded path.
static void number_of_threads_changes_nothing(void **state)
{
    (void)state;
#ifdef RAFT_OPENMP
    TestRandom random = {12};
    const size_t sizes[][2] = {{37, 2047}, {13, 5130}};
    for (size_t s = 0; s < 2; s++) {
        Input in = make_input(&random, sizes[s][0], sizes[s][1]);
        for (size_t i = 0; i < set_count; i++)
            for (size_t c = 0; c < CASES; c++) {
                omp_set_num_threads(1);
                float *want = run_case(&cases[c], sets[i], &in);
                for (int threads = 2; threads <= 3; threads++) {
                    omp_set_num_threads(threads);
                    float *got = run_case(&cases[c], sets[i], &in);
                    char what[120];
                    snprintf(what, sizeof what, "%s %s with %d threads", sets[i]->isa, cases[c].name, threads);
                    assert_same_bits(got, want, cases[c].outputs(in.rows, in.n), what);
                    release(got);
                }
                release(want);
            }
        free_input(&in);
    }
#else
    skip_because("built without OpenMP");
#endif
}

// A row's result must not depend on the rows beside it.
static void rows_do_not_see_each_other(void **state)
{
    (void)state;
    enum { R = 5, N = 83 };
    static const size_t alone[] = {7, 11, 16}; // rmsnorm_forward, swiglu_forward, cross_entropy
    TestRandom random = {13};
    Input in = make_input(&random, R, N);
    for (size_t c = 0; c < sizeof alone / sizeof *alone; c++) {
        float *all = run_case(&cases[alone[c]], plain, &in);
        size_t wide = cases[alone[c]].run == run_swiglu ? 2 : 1;
        for (size_t r = 0; r < R; r++) {
            Input one = in;
            uint32_t id = (uint32_t)((r * 7919 + in.ids[r]) % N);
            one.rows = 1, one.a = in.a + r * wide * N, one.b = cases[alone[c]].run == run_cross_entropy ? in.b + r : in.b, one.ids = &id;
            float *row = run_case(&cases[alone[c]], plain, &one);
            assert_same_bits(row, all + r * N, N, cases[alone[c]].name);
            release(row);
        }
        release(all);
    }
    free_input(&in);
}

// ---- the formulas in double ------------------------------------------------------------------------------------------------

enum { ROWS = 4, DIM = 37 };

typedef struct { double x[ROWS * 2 * DIM], w[ROWS * 2 * DIM]; uint32_t target[ROWS]; } Point; // what a function depends on
typedef double Loss(const Point *p, const float *dy); // sum of outputs times dy

static double rmsnorm_loss(const Point *p, const float *dy)
{
    double loss = 0;
    for (size_t r = 0; r < ROWS; r++) {
        double squares = 0;
        for (size_t i = 0; i < DIM; i++) squares += p->x[r * DIM + i] * p->x[r * DIM + i];
        for (size_t i = 0; i < DIM; i++) loss += dy[r * DIM + i] * p->w[i] * p->x[r * DIM + i] / sqrt(squares / DIM + 1e-5);
    }
    return loss;
}

static double swiglu_loss(const Point *p, const float *dy)
{
    double loss = 0;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < DIM; i++) {
            double gate = p->x[r * 2 * DIM + i], up = p->x[r * 2 * DIM + DIM + i];
            loss += dy[r * DIM + i] * up * gate / (1 + exp(-gate));
        }
    return loss;
}

static double log_likelihood(const Point *p, size_t r)
{
    double sum = 0;
    for (size_t i = 0; i < DIM; i++) sum += exp(p->x[r * DIM + i]);
    return p->x[r * DIM + p->target[r]] - log(sum);
}

static double cross_entropy_loss(const Point *p, const float *dy)
{
    double loss = 0;
    for (size_t r = 0; r < ROWS; r++) loss -= dy[r] * log_likelihood(p, r);
    return loss;
}

static void differentiate(float *gradient, Loss *loss, Point *p, double *variable, size_t n, const float *dy)
{
    for (size_t i = 0; i < n; i++) {
        const double h = 1e-5, at = variable[i];
        variable[i] = at + h;
        double above = loss(p, dy);
        variable[i] = at - h;
        gradient[i] = (float)((above - loss(p, dy)) / (2 * h));
        variable[i] = at;
    }
}

static void fill_point(Point *p, float *x, float *w, float *dy)
{
    TestRandom random = {14};
    for (size_t i = 0; i < ROWS * 2 * DIM; i++) {
        p->x[i] = x[i] = test_uniform(&random, -3, 3);
        p->w[i] = w[i] = test_uniform(&random, 0.5f, 2);
        dy[i] = test_uniform(&random, -1, 1);
    }
    for (size_t r = 0; r < ROWS; r++) p->target[r] = (uint32_t)(r * (DIM - 1) / (ROWS - 1)); // the first and the last among them
}

static void rmsnorm_and_its_gradients_follow_the_formula(void **state)
{
    (void)state;
    Point p;
    float x[ROWS * 2 * DIM], w[ROWS * 2 * DIM], dy[ROWS * 2 * DIM], want[ROWS * DIM], dx[ROWS * DIM], dweight[DIM], y[ROWS * DIM], inv[ROWS];
    fill_point(&p, x, w, dy);
    for (size_t s = 0; s < set_count; s++) {
        sets[s]->rmsnorm_forward(y, inv, x, w, ROWS, DIM, 1e-5f);
        for (size_t i = 0; i < ROWS * DIM; i++) {
            float unit[ROWS * DIM] = {0};
            unit[i] = 1;
            want[i] = (float)rmsnorm_loss(&p, unit);
        }
        assert_close(y, want, ROWS * DIM, 3e-7, "rmsnorm");
        float without[ROWS * DIM];
        sets[s]->rmsnorm_forward(without, NULL, x, w, ROWS, DIM, 1e-5f);
        assert_same_bits(without, y, ROWS * DIM, "rmsnorm without inv_rms");
        for (size_t i = 0; i < ROWS * DIM; i++) dx[i] = 1; // both are added to
        for (size_t i = 0; i < DIM; i++) dweight[i] = -1;
        sets[s]->rmsnorm_backward(dx, dweight, dy, x, w, inv, ROWS, DIM);
        for (size_t i = 0; i < ROWS * DIM; i++) dx[i] -= 1;
        for (size_t i = 0; i < DIM; i++) dweight[i] += 1;
        differentiate(want, rmsnorm_loss, &p, p.x, ROWS * DIM, dy);
        assert_close(dx, want, ROWS * DIM, 1e-6, "dx of rmsnorm");
        differentiate(want, rmsnorm_loss, &p, p.w, DIM, dy);
        assert_close(dweight, want, DIM, 1e-6, "dweight of rmsnorm");
    }
}

static void swiglu_and_its_gradient_follow_the_formula(void **state)
{
    (void)state;
    Point p;
    float x[ROWS * 2 * DIM], w[ROWS * 2 * DIM], dy[ROWS * 2 * DIM], want[ROWS * 2 * DIM], dx[ROWS * 2 * DIM], h[ROWS * DIM];
    fill_point(&p, x, w, dy);
    for (size_t s = 0; s < set_count; s++) {
        sets[s]->swiglu_forward(h, x, ROWS, DIM);
        for (size_t i = 0; i < ROWS * DIM; i++) {
            float unit[ROWS * DIM] = {0};
            unit[i] = 1;
            want[i] = (float)swiglu_loss(&p, unit);
        }
        assert_close(h, want, ROWS * DIM, 3e-7, "swiglu");
        sets[s]->swiglu_backward(dx, dy, x, ROWS, DIM);
        differentiate(want, swiglu_loss, &p, p.x, ROWS * 2 * DIM, dy);
        assert_close(dx, want, ROWS * 2 * DIM, 1e-6, "gradient of swiglu");
    }
}

static void cross_entropy_and_its_gradient_follow_the_formula(void **state)
{
    (void)state;
    Point p;
    float x[ROWS * 2 * DIM], w[ROWS * 2 * DIM], scale[ROWS * 2 * DIM], want[ROWS * DIM], logits[ROWS * DIM], logprob[ROWS], alone[ROWS];
    fill_point(&p, x, w, scale);
    for (size_t s = 0; s < set_count; s++) {
        memcpy(logits, x, sizeof logits);
        sets[s]->cross_entropy(logits, alone, p.target, NULL, ROWS, DIM);
        assert_same_bits(logits, x, ROWS * DIM, "logits without scale");
        sets[s]->cross_entropy(logits, logprob, p.target, scale, ROWS, DIM);
        assert_same_bits(alone, logprob, ROWS, "logprob with and without gradient");
        for (size_t r = 0; r < ROWS; r++) want[r] = (float)log_likelihood(&p, r);
        assert_close(logprob, want, ROWS, 3e-7, "logprob");
        differentiate(want, cross_entropy_loss, &p, p.x, ROWS * DIM, scale);
        assert_close(logits, want, ROWS * DIM, 1e-6, "gradient of cross-entropy");
    }
}

// A vocabulary as large as real ones, logits far apart, and a target of probability zero.
static void cross_entropy_stands_extreme_logits(void **state)
{
    (void)state;
    enum { V = 49157 };
    float *logits = guarded(V);
    TestRandom random = {15};
    for (size_t s = 0; s < set_count; s++) {
        double sum = 0;
        for (size_t i = 0; i < V; i++) {
            logits[i] = test_uniform(&random, 9990, 10000);
            sum += exp((double)logits[i] - 10000);
        }
        float logprob, want = (float)((double)logits[V - 1] - 10000 - log(sum)), scale = 0.5f;
        uint32_t target = V - 1;
        sets[s]->cross_entropy(logits, &logprob, &target, NULL, 1, V);
        assert_close(&logprob, &want, 1, 3e-7, "logprob in a large vocabulary");
        logits[7] = 3e38f;
        sets[s]->cross_entropy(logits, &logprob, &target, &scale, 1, V);
        assert_true(logprob < -2e38f);
        assert_true(logits[7] == 0.5f && logits[V - 1] == -0.5f && logits[0] == 0);
        assert_margins(logits, V, "cross_entropy");
    }
    release(logits);
}

static void rope_turns_pairs_by_the_angle_of_their_position(void **state)
{
    (void)state;
    enum { HEADS = 3, HEAD = 10, HALF = HEAD / 2, STRIDE = HEADS * HEAD + 4, POSITIONS = 9 };
    const uint32_t position[ROWS] = {8, 0, 3, 3};
    TestRandom random = {16};
    float x[ROWS * STRIDE], turned[ROWS * STRIDE], want[ROWS * STRIDE], cosine[POSITIONS * HALF], sine[POSITIONS * HALF];
    test_fill(&random, x, ROWS * STRIDE);
    for (size_t i = 0; i < POSITIONS * HALF; i++) {
        double angle = test_uniform(&random, -3, 3);
        cosine[i] = (float)cos(angle), sine[i] = (float)sin(angle);
    }
    memcpy(want, x, sizeof want); // what stands after the heads stays
    for (size_t r = 0; r < ROWS; r++)
        for (size_t h = 0; h < HEADS; h++)
            for (size_t i = 0; i < HALF; i++) {
                size_t low = r * STRIDE + h * HEAD + i, high = low + HALF;
                double c = cosine[position[r] * HALF + i], s = sine[position[r] * HALF + i];
                want[low] = (float)(x[low] * c - x[high] * s), want[high] = (float)(x[high] * c + x[low] * s);
            }
    for (size_t s = 0; s < set_count; s++) {
        memcpy(turned, x, sizeof x);
        sets[s]->rope_rotate(turned, STRIDE, cosine, sine, position, ROWS, HEADS, HEAD, false);
        assert_close(turned, want, ROWS * STRIDE, 2e-7, "rope");
        sets[s]->rope_rotate(turned, STRIDE, cosine, sine, position, ROWS, HEADS, HEAD, true);
        assert_close(turned, x, ROWS * STRIDE, 4e-7, "rope and back");
    }
}

static void scatter_adds_rows_in_order_and_gather_takes_them(void **state)
{
    (void)state;
    enum { V = 6, D = 71, R = 9 };
    const uint32_t ids[R] = {5, 0, 5, 2, 2, 5, 0, 3, 5};
    TestRandom random = {17};
    float table[V * D], dy[R * D], got[V * D], want[V * D], rows[R * D];
    test_fill(&random, table, V * D);
    test_fill(&random, dy, R * D);
    memcpy(want, table, sizeof want);
    for (size_t r = 0; r < R; r++)
        for (size_t j = 0; j < D; j++) want[ids[r] * D + j] += dy[r * D + j];
    for (size_t s = 0; s < set_count; s++) {
        memcpy(got, table, sizeof got);
        sets[s]->scatter_rows(got, dy, ids, R, D);
        assert_same_bits(got, want, V * D, "scatter");
        sets[s]->gather_rows(rows, table, ids, R, D);
        for (size_t r = 0; r < R; r++) assert_same_bits(rows + r * D, table + ids[r] * D, D, "gather");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instruction_sets_agree_on_any_size),
        cmocka_unit_test(bits_are_the_recorded_ones),
        cmocka_unit_test(number_of_threads_changes_nothing),
        cmocka_unit_test(rows_do_not_see_each_other),
        cmocka_unit_test(rmsnorm_and_its_gradients_follow_the_formula),
        cmocka_unit_test(swiglu_and_its_gradient_follow_the_formula),
        cmocka_unit_test(cross_entropy_and_its_gradient_follow_the_formula),
        cmocka_unit_test(cross_entropy_stands_extreme_logits),
        cmocka_unit_test(rope_turns_pairs_by_the_angle_of_their_position),
        cmocka_unit_test(scatter_adds_rows_in_order_and_gather_takes_them),
    };
    return cmocka_run_group_tests(tests, find_sets, NULL);
}
