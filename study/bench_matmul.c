// SPDX-License-Identifier: MIT
/* bench_matmul.c - our matrix products beside BLIS. BLIS chooses its configuration once in a process, by the variable
 * BLIS_ARCH_TYPE, so each configuration has a worker: this program again, which multiplies what it is told to and answers how
 * fast it went. Start reading at bench_matmul.
 */
#include "study/bench-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "kernels/matmul.h"

#define REPLY_LIMIT_S 60.0

static const MatmulPoint shapes[] = {
    // the 5.8M model: q|k|v, out, gate|up, down, head, a gradient; sampling 64 sequences
    {.m = 4096, .n = 768, .k = 256}, {.m = 4096, .n = 256, .k = 256}, {.m = 4096, .n = 1376, .k = 256},
    {.m = 4096, .n = 256, .k = 688}, {.m = 4096, .n = 4096, .k = 256}, {.m = 256, .n = 256, .k = 4096, .gradient = true},
    {.m = 64, .n = 768, .k = 256}, {.m = 64, .n = 4096, .k = 256},
    // the 135M model
    {.m = 1024, .n = 576, .k = 576}, {.m = 1024, .n = 1536, .k = 576}, {.m = 64, .n = 1536, .k = 576},
    {.m = 64, .n = 49152, .k = 576}, {.m = 8, .n = 576, .k = 576}, {.m = 1, .n = 4096, .k = 256},
    // cubes, and sizes that no tile divides
    {.m = 1024, .n = 1024, .k = 1024}, {.m = 2048, .n = 2048, .k = 2048}, {.m = 17, .n = 31, .k = 65}, {.m = 1000, .n = 517, .k = 72},
};

size_t bench_matmul_shapes(MatmulPoint *points, size_t room)
{
    size_t count = sizeof shapes / sizeof *shapes;
    memcpy(points, shapes, (count < room ? count : room) * sizeof *points);
    return count;
}

// ---- one product -------------------------------------------------------------------------------------------------------------

typedef struct {
    const Compute *cx;
    MatmulPoint shape;
    float *a, *b, *c, *packed; // packed: NULL, or B in the kernels' layout
} Product;

static void product_free(Product *p)
{
    float *arrays[] = {p->a, p->b, p->c, p->packed};
    for (size_t i = 0; i < 4; i++) mem_free(arrays[i]);
    *p = (Product){0};
}

// Small multiples of a power of two: no sum of theirs grows or becomes subnormal.
static void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)(i * 7 % 13) * 0.125f - 0.75f;
}

static int product_init(Product *p, const Compute *cx, const MatmulPoint *shape, bool packed, Err *err)
{
    size_t m = shape->m, n = shape->n, k = shape->k;
    *p = (Product){.cx = cx, .shape = *shape};
    p->a = mem_new(err, m * k, sizeof(float));
    p->b = p->a ? mem_new(err, n * k, sizeof(float)) : NULL;
    p->c = p->b ? mem_new(err, m * n, sizeof(float)) : NULL;
    if (p->c && packed) p->packed = mem_new(err, matmul_packed_floats(cx, n, k), sizeof(float));
    if (!p->c || (packed && !p->packed)) return product_free(p), -1;
    fill(p->a, m * k);
    fill(p->b, n * k);
    if (packed) matmul_pack(cx, p->packed, p->b, n, k);
    return 0;
}

static int multiply(void *self, Err *err)
{
    const Product *p = self;
    const MatmulPoint *s = &p->shape;
    (void)err;
    if (s->gradient) matmul_backward_weight(p->cx, p->c, p->a, p->b, s->k, s->m, s->n);
    else matmul_forward(p->cx, p->c, p->a, p->b, s->m, s->n, s->k, false);
    return 0;
}

static int multiply_packed(void *self, Err *err)
{
    const Product *p = self;
    (void)err;
    matmul_forward_packed(p->cx, p->c, p->a, p->packed, p->shape.m, p->shape.n, p->shape.k, false);
    return 0;
}

// ---- workers -------------------------------------------------------------------------------------------------------------------

typedef struct {
    OsChild *child;
    char name[24];
    const MatmulPoint *shape;
} Worker;

static double worker_measure(void *self, double seconds, Err *err)
{
    Worker *w = self;
    char line[120];
    Text reply = {0};
    double rate = -1;
    int n = snprintf(line, sizeof line, "%zu %zu %zu %d %g\n", w->shape->m, w->shape->n, w->shape->k, (int)w->shape->gradient, seconds);
    if (!os_child_exchange(w->child, line, (size_t)n, 1, &reply, REPLY_LIMIT_S, err)) rate = strtod(reply.data, NULL);
    text_free(&reply);
    return rate > 0 ? rate : -1;
}

// The configurations that BLIS holds for this CPU, each asked for one product to see that it runs. None is no error.
static size_t start_workers(Worker *workers, size_t room, const Bench *bench, Err *err)
{
    static const Err none = {0};
    static const MatmulPoint probe = {.m = 16, .n = 16, .k = 16};
    BlisConfiguration list[BLIS_CONFIGURATIONS];
    size_t found = blis_configurations(list), started = 0;
    for (size_t i = 0; bench->program && i < found && started < room; i++) {
        Worker *w = workers + started;
        char command[1200];
        *w = (Worker){.shape = &probe};
        snprintf(w->name, sizeof w->name, "%s", list[i].name);
        int n = snprintf(command, sizeof command, "BLIS_ARCH_TYPE=%d exec '%s' bench blis-worker --matmul blis --threads %zu 2>/dev/null",
            list[i].number, bench->program, bench->cx->threads);
        if (n < 0 || (size_t)n >= sizeof command || !(w->child = os_child_start(command, err))) continue;
        if (worker_measure(w, 0, err) > 0) started++;
        else os_child_stop(w->child, 1, err);
    }
    *err = none;
    return started;
}

int bench_blis_worker(const Bench *bench, Err *err)
{
    char line[120];
    Product p = {0};
    int status = 0;
    while (!status && fgets(line, sizeof line, stdin)) {
        MatmulPoint s = {0};
        int gradient;
        double seconds;
        if (sscanf(line, "%zu %zu %zu %d %lf", &s.m, &s.n, &s.k, &gradient, &seconds) != 5)
            status = err_input(err, "blis-worker: expected \"m n k gradient seconds\", found \"%.40s\"", line);
        s.gradient = gradient;
        bool same = !status && s.m == p.shape.m && s.n == p.shape.n && s.k == p.shape.k && s.gradient == p.shape.gradient;
        if (!status && !same) {
            product_free(&p);
            status = product_init(&p, bench->cx, &s, false, err);
        }
        if (status) break;
        multiply(&p, err);
        double start = os_now_s(), passed;
        size_t calls = 0;
        do {
            multiply(&p, err);
            calls++;
        } while ((passed = os_now_s() - start) < seconds);
        compute_rest(bench->cx);
        printf("%.6g\n", (double)calls / (passed > 0 ? passed : 1e-9));
        fflush(stdout);
    }
    product_free(&p);
    return status;
}

// ---- the tile --------------------------------------------------------------------------------------------------------------------

static double tile_measure(void *self, double seconds, Err *err)
{
    const Bench *bench = self;
    (void)err;
    return bench->cx->k->tile_flops(seconds);
}

int bench_tile(TilePoint *point, const Bench *bench, Err *err)
{
    Bench own = *bench;
    BenchContender c = {.measure = tile_measure, .self = &own};
    if (bench_turns(&c, 1, bench, err)) return -1;
    *point = (TilePoint){c.rate * 1e-9, c.per_peak};
    return 0;
}

// ---- all of them ---------------------------------------------------------------------------------------------------------------

static int measure_point(MatmulPoint *point, Worker *workers, size_t worker_count, const Bench *bench, Err *err)
{
    BenchContender c[BENCH_CONTENDERS] = {{0}};
    Product p;
    size_t others = point->gradient ? 1 : 2;
    double flops = 2.0 * (double)point->m * (double)point->n * (double)point->k;
    if (product_init(&p, bench->cx, point, !point->gradient, err)) return -1;
    c[0] = (BenchContender){.work = multiply, .self = &p};
    c[1] = (BenchContender){.work = multiply_packed, .self = &p};
    for (size_t i = 0; i < worker_count; i++) {
        workers[i].shape = point;
        c[others + i] = (BenchContender){.measure = worker_measure, .self = workers + i};
    }
    int status = bench_turns(c, others + worker_count, bench, err);
    product_free(&p);
    if (status) return -1;
    point->gflops = c[0].rate * flops * 1e-9;
    point->peak_fraction = c[0].per_peak * flops;
    if (!point->gradient) point->packed_gflops = c[1].rate * flops * 1e-9, point->packed_fraction = c[1].per_peak * flops;
    for (size_t i = 0; i < worker_count; i++) {
        double speed = c[others + i].rate * flops * 1e-9;
        if (speed <= point->blis_gflops) continue;
        point->blis_gflops = speed;
        point->ratio = c[others + i].to_first;
        memcpy(point->blis_config, workers[i].name, sizeof point->blis_config);
    }
    return 0;
}

int bench_matmul(MatmulPoint *points, size_t count, const Bench *bench, Err *err)
{
    Worker workers[BENCH_CONTENDERS - 2];
    size_t worker_count = start_workers(workers, BENCH_CONTENDERS - 2, bench, err);
    int status = 0;
    for (size_t i = 0; !status && i < count; i++) status = measure_point(points + i, workers, worker_count, bench, err);
    Err ignored = {0};
    for (size_t i = 0; i < worker_count; i++) os_child_stop(workers[i].child, 1, &ignored);
    return status;
}
