// SPDX-License-Identifier: MIT
/* attention.c - causal attention over paged keys and values: storing them, forward, backward. Knows sequences and pages, not
 * layers or models. Start with attend_tile (forward) and backward_block.
 *
 * For a query at position p the keys 0..p are allowed; all others are skipped, never multiplied by zero, so that whatever
 * stands in unused slots of a page cannot leak. In this order, and so with the same bits however queries are tiled:
 *
 *     s[j] = scale * chain_d fma(q[d], K[j][d])            d ascending, from +0
 *     m    = max_j s[j]
 *     p[j] = exp(s[j] - m)
 *     sum  = lanes (key j in lane j mod 16, ascending), one tree; blocks of 4096 keys added in double, rounded once
 *     o[d] = chain_j fma(p[j], V[j][d]) / sum              j ascending, from +0
 *
 * Backward, with do the gradient of o:
 *
 *     P[j]  = p[j] * (1 / sum)                             p computed again from the m and sum that forward left
 *     D     = lanes (element d in lane d mod 16) of fma(do[d], o[d]), one tree
 *     dP[j] = chain_d fma(do[d], V[j][d])
 *     dS[j] = (P[j] * (dP[j] - D)) * scale
 *     dq[d] = chain_j fma(dS[j], K[j][d])                  j ascending
 *     dV[j][d] = chain fma(P[j], do[d]),  dK[j][d] = chain fma(dS[j], q[d])     heads of the group, then queries, ascending
 */
#include "kernels/attention-internal.h"
#include "kernels/simd.h"
#include "kernels/vecmath.h"

#include <assert.h>
#include <math.h>
#if defined(_OPENMP)
#include <omp.h>
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

/* Register tiles: ROWS chains (queries, or keys in the gradients of K and V) times WIDE vectors. They are constants at every
 * call so that the accumulators of a tile live in registers. */
#if defined(RAFT_ISA_avx512)
enum { ROWS = 8, WIDE = 2, KEY_ROWS = 8, KEY_WIDE = 2 };
#elif defined(RAFT_ISA_avx2) || defined(RAFT_ISA_neon)
enum { ROWS = 6, WIDE = 1, KEY_ROWS = 4, KEY_WIDE = 1 };
#else
enum { ROWS = 2, WIDE = 1, KEY_ROWS = 2, KEY_WIDE = 1 };
#endif
enum { FEW_ROWS = ROWS / 2, FEW_WIDE = 2 * WIDE, ONE_WIDE = 4, MAX_WIDE = 4, MAX_TILE = 16 };
_Static_assert((int)ROWS <= (int)ATTENTION_ROWS && ATTENTION_QUERIES % ROWS == 0 && PAGE % KEY_ROWS == 0, "tiles fill their blocks");
_Static_assert(PAGE == LANES, "a vector holds one element of each key of a page");

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static size_t pages_of(size_t keys) { return (keys + PAGE - 1) / PAGE; }

INLINE v16 load_lanes(const float *x, size_t lanes) { return lanes == LANES ? v16_load(x) : v16_load_n(x, lanes); }
INLINE void store_lanes(float *x, v16 v, size_t lanes)
{
    if (lanes == LANES) v16_store(x, v);
    else v16_store_n(x, v, lanes);
}

// acc[r][w] = chain over i < n of a[r][i] * b[w][i][lane], from +0
INLINE void dot_tile(v16 *acc, const float *const *a, const float *const *b, size_t n, const int rows, const int wide)
{
    for (int t = 0; t < rows * wide; t++) acc[t] = v16_zero();
    for (size_t i = 0; i < n; i++) {
        v16 column[MAX_WIDE];
        for (int w = 0; w < wide; w++) column[w] = v16_load(b[w] + i * LANES);
        for (int r = 0; r < rows; r++) {
            v16 x = v16_set(a[r][i]);
            for (int w = 0; w < wide; w++) acc[r * wide + w] = v16_fma(x, column[w], acc[r * wide + w]);
        }
    }
}

// acc[r][w] continues with a[r * stride] * b[w][lane] for the rows first <= r < end
INLINE void chain_step(v16 *acc, const float *a, size_t stride, const float *b, size_t lanes, size_t first, size_t end, const int rows,
    const int wide)
{
    v16 column[MAX_WIDE];
    for (int w = 0; w < wide; w++) column[w] = load_lanes(b + w * LANES, lanes);
    for (int r = 0; r < rows; r++) {
        if ((size_t)r < first || (size_t)r >= end) continue;
        v16 x = v16_set(a[(size_t)r * stride]);
        for (int w = 0; w < wide; w++) acc[r * wide + w] = v16_fma(x, column[w], acc[r * wide + w]);
    }
}

// ---- forward -----------------------------------------------------------------------------------------------------------

typedef struct { // query rows that share their keys and values; pointers past the last row repeat it
    size_t rows;              // 1..ROWS
    size_t keys, growth;      // row r sees keys 0 .. keys - 1 + r * growth: 1 for successive queries, 0 for heads of a group
    const float *q[ATTENTION_ROWS];
    float *out, *stats;       // of row 0; stats may be NULL
    size_t out_step, stats_step;
    float *const *pages;
    size_t offset;            // from a page base to this kv head's K; V follows
} Tile;

static size_t last_key(const Tile *t) { return t->keys + (t->rows - 1) * t->growth; }

static size_t keys_in_page(size_t keys, size_t page) { return keys <= page * PAGE ? 0 : smaller(keys - page * PAGE, PAGE); }

// Scores of `wide` pages from page g on into s [page][rows][16], and their maxima over allowed keys into top.
INLINE void score_pages(v16 *top, float *s, const Tile *t, size_t g, size_t head_dim, v16 scale, const int rows, const int wide)
{
    v16 acc[MAX_TILE];
    const float *k[MAX_WIDE];
    for (int w = 0; w < wide; w++) k[w] = t->pages[g + (size_t)w] + t->offset;
    dot_tile(acc, t->q, k, head_dim, rows, wide);
    for (int w = 0; w < wide; w++, g++)
        for (int r = 0; r < rows; r++) {
            v16 x = v16_mul(acc[r * wide + w], scale);
            v16_store(s + (g * (size_t)rows + (size_t)r) * PAGE, x);
            if (t->keys < (g + 1) * PAGE) x = v16_select(v16_first(keys_in_page(t->keys + (size_t)r * t->growth, g)), x, top[r]);
            top[r] = v16_max(top[r], x);
        }
}

// s[j] = exp(s[j] - max) in place for keys j < keys, a page every `step` floats; returns the sum.
static float exp_row(float *s, size_t step, size_t keys, float max)
{
    double total = 0;
    v16 shift = v16_set(max), zero = v16_zero();
    for (size_t block = 0; block < keys; block += SUM_BLOCK) {
        size_t n = smaller(keys - block, SUM_BLOCK);
        v16 sum = zero;
        for (; n >= PAGE; n -= PAGE, s += step) {
            v16 p = v16_exp(v16_sub(v16_load(s), shift));
            v16_store(s, p);
            sum = v16_add(sum, p);
        }
        if (n) { // a lane without a key adds +0 to a sum of positive numbers: it is left as it is
            v16 p = v16_exp(v16_select(v16_first(n), v16_sub(v16_load(s), shift), zero));
            v16_store(s, p);
            sum = v16_add(sum, v16_select(v16_first(n), p, zero));
        }
        total += (double)v16_sum(sum);
    }
    return (float)total;
}

/* Continues chains over the keys of one page: row r of p [rows][16] times the value rows b. Row 0 sees `keys` keys in all, row
 * r `r * growth` more, the last row `end`. */
INLINE void chain_page(v16 *acc, const float *p, const float *b, size_t b_row, size_t page, size_t keys, size_t end, size_t lanes,
    const int rows, const int wide)
{
    size_t all = keys_in_page(keys, page), any = keys_in_page(end, page), j = 0;
    for (; j < all; j++) chain_step(acc, p + j, PAGE, b + j * b_row, lanes, 0, (size_t)rows, rows, wide);
    for (; j < any; j++) chain_step(acc, p + j, PAGE, b + j * b_row, lanes, page * PAGE + j - keys + 1, (size_t)rows, rows, wide);
}

INLINE void output_columns(const Tile *t, const float *p, const float *sum, size_t column, size_t head_dim, size_t lanes, const int rows,
    const int wide)
{
    v16 acc[MAX_TILE];
    size_t end = last_key(t), value = t->offset + PAGE * head_dim + column;
    for (int i = 0; i < rows * wide; i++) acc[i] = v16_zero();
    for (size_t g = 0; g < pages_of(end); g++)
        chain_page(acc, p + g * (size_t)rows * PAGE, t->pages[g] + value, head_dim, g, t->keys, end, lanes, rows, wide);
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide && (size_t)r < t->rows; w++)
            store_lanes(t->out + (size_t)r * t->out_step + column + (size_t)w * LANES, v16_div(acc[r * wide + w], v16_set(sum[r])), lanes);
}

INLINE void attend_tile(const Tile *t, size_t head_dim, float scale, float *s, const int rows, const int wide)
{
    v16 top[ROWS];
    float sum[ROWS] = {0};
    for (int r = 0; r < rows; r++) top[r] = v16_set(-INFINITY);
    size_t g = 0, pages = pages_of(last_key(t)), column = 0;
    for (; g + (size_t)wide <= pages; g += (size_t)wide) score_pages(top, s, t, g, head_dim, v16_set(scale), rows, wide);
    for (; g < pages; g++) score_pages(top, s, t, g, head_dim, v16_set(scale), rows, 1);
    for (size_t r = 0; r < t->rows; r++) {
        float max = v16_max_lanes(top[r]);
        sum[r] = exp_row(s + r * PAGE, (size_t)rows * PAGE, t->keys + r * t->growth, max);
        if (t->stats) t->stats[r * t->stats_step] = max, t->stats[r * t->stats_step + 1] = sum[r];
    }
    for (; column + (size_t)wide * LANES <= head_dim; column += (size_t)wide * LANES)
        output_columns(t, s, sum, column, head_dim, LANES, rows, wide);
    for (; column + LANES <= head_dim; column += LANES) output_columns(t, s, sum, column, head_dim, LANES, rows, 1);
    if (column < head_dim) output_columns(t, s, sum, column, head_dim, head_dim - column, rows, 1);
}

static void attend_many(const Tile *t, size_t head_dim, float scale, float *s) { attend_tile(t, head_dim, scale, s, ROWS, WIDE); }
static void attend_few(const Tile *t, size_t head_dim, float scale, float *s) { attend_tile(t, head_dim, scale, s, FEW_ROWS, FEW_WIDE); }
static void attend_one(const Tile *t, size_t head_dim, float scale, float *s) { attend_tile(t, head_dim, scale, s, 1, ONE_WIDE); }

static void attend(const Tile *t, const AttentionShape *shape, float *scratch)
{
    if (t->rows == 1) attend_one(t, shape->head_dim, shape->scale, scratch);
    else if (t->rows <= FEW_ROWS) attend_few(t, shape->head_dim, shape->scale, scratch);
    else attend_many(t, shape->head_dim, shape->scale, scratch);
}

/* Work is dealt out in numbered tasks; each thread walks the spans with a cursor of its own. */
typedef struct { size_t span, first; } Cursor; // first: number of the span's first task

// A span of several queries has a task for each head and ATTENTION_QUERIES queries; one that decodes, a task for each kv head.
static size_t forward_tasks(const AttentionSpan *span, const AttentionShape *shape)
{
    if (span->queries <= 1) return span->queries * shape->kv_heads;
    return shape->heads * ((span->queries + ATTENTION_QUERIES - 1) / ATTENTION_QUERIES);
}

static size_t store_tasks(const AttentionSpan *span, const AttentionShape *shape) // one for each page that is written
{
    (void)shape;
    return span->queries ? pages_of(span->past + span->queries) - span->past / PAGE : 0;
}

static size_t backward_tasks(const AttentionSpan *span, const AttentionShape *shape) { return span->queries ? shape->kv_heads : 0; }

typedef size_t TaskCount(const AttentionSpan *span, const AttentionShape *shape);

// Moves to the span that holds the task; returns the task's number within the span.
static size_t cursor_seek(Cursor *at, size_t task, TaskCount *tasks, const AttentionSpan *spans, const AttentionShape *shape)
{
    if (task < at->first) *at = (Cursor){0};
    for (size_t n; task >= at->first + (n = tasks(spans + at->span, shape)); at->span++) at->first += n;
    return task - at->first;
}

static size_t count_tasks(TaskCount *tasks, const AttentionSpan *spans, size_t count, const AttentionShape *shape)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) total += tasks(spans + i, shape);
    return total;
}

static int thread_number(void)
{
#if defined(_OPENMP)
    return omp_get_thread_num();
#else
    return 0;
#endif
}

typedef struct {
    float *out, *stats;
    const float *q;
    const AttentionShape *shape;
} Forward;

static void tile_rows(Tile *t, const float *q, size_t step, size_t rows)
{
    t->rows = rows;
    for (size_t r = 0; r < ATTENTION_ROWS; r++) t->q[r] = q + (r < rows ? r : rows - 1) * step;
}

static size_t kv_offset(const AttentionShape *shape, size_t kv) { return shape->page_offset + kv * 2 * PAGE * shape->head_dim; }

static void forward_decode(const Forward *f, const AttentionSpan *span, size_t kv, float *scratch)
{
    const AttentionShape *s = f->shape;
    size_t group = s->heads / s->kv_heads, end = (kv + 1) * group;
    for (size_t head = kv * group; head < end; head += ROWS) {
        Tile t = {.keys = span->past + 1, .growth = 0, .out_step = s->head_dim, .stats_step = 2, .pages = span->pages,
            .offset = kv_offset(s, kv), .out = f->out + (span->row * s->heads + head) * s->head_dim,
            .stats = f->stats ? f->stats + (span->row * s->heads + head) * 2 : NULL};
        tile_rows(&t, f->q + span->row * s->q_stride + head * s->head_dim, s->head_dim, smaller(end - head, ROWS));
        attend(&t, s, scratch);
    }
}

static void forward_queries(const Forward *f, const AttentionSpan *span, size_t head, size_t first, float *scratch)
{
    const AttentionShape *s = f->shape;
    size_t end = smaller(first + ATTENTION_QUERIES, span->queries);
    for (size_t i = first; i < end; i += ROWS) {
        size_t row = span->row + i;
        Tile t = {.keys = span->past + i + 1, .growth = 1, .out_step = s->heads * s->head_dim, .stats_step = s->heads * 2,
            .pages = span->pages, .offset = kv_offset(s, head / (s->heads / s->kv_heads)),
            .out = f->out + (row * s->heads + head) * s->head_dim, .stats = f->stats ? f->stats + (row * s->heads + head) * 2 : NULL};
        tile_rows(&t, f->q + row * s->q_stride + head * s->head_dim, s->q_stride, smaller(end - i, ROWS));
        attend(&t, s, scratch);
    }
}

void KERNEL(attention_forward)(float *out, float *stats, const float *q, const AttentionSpan *spans, size_t count,
    const AttentionShape *shape, float *scratch, size_t scratch_stride)
{
    size_t total = count_tasks(forward_tasks, spans, count, shape);
    Forward f = {out, stats, q, shape};
    assert(shape->heads % shape->kv_heads == 0);
#pragma omp parallel if (total > 1)
    {
        fp_strict();
        float *mine = scratch + (size_t)thread_number() * scratch_stride;
        Cursor at = {0};
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < total; task++) {
            size_t i = cursor_seek(&at, task, forward_tasks, spans, shape);
            const AttentionSpan *span = spans + at.span;
            size_t blocks = (span->queries + ATTENTION_QUERIES - 1) / ATTENTION_QUERIES;
            if (span->queries == 1) forward_decode(&f, span, i, mine);
            else forward_queries(&f, span, i / blocks, i % blocks * ATTENTION_QUERIES, mine);
        }
    }
}

// ---- keys and values into pages ----------------------------------------------------------------------------------------

// The positions of the span's new rows that fall into one page.
static void store_page(const float *k, const float *v, const AttentionSpan *span, size_t page, const AttentionShape *s)
{
    size_t start = page * PAGE > span->past ? page * PAGE : span->past, hd = s->head_dim;
    size_t rows = smaller((page + 1) * PAGE, span->past + span->queries) - start;
    for (size_t kv = 0; kv < s->kv_heads; kv++) {
        size_t from = (span->row + start - span->past) * s->kv_stride + kv * hd;
        float *keys = span->pages[page] + kv_offset(s, kv) + start % PAGE, *values = keys + PAGE * hd - start % PAGE + start % PAGE * hd;
        for (size_t d = 0; d < hd; d++)
            for (size_t r = 0; r < rows; r++) keys[d * PAGE + r] = k[from + r * s->kv_stride + d];
        for (size_t r = 0; r < rows; r++) memcpy(values + r * hd, v + from + r * s->kv_stride, hd * sizeof *v);
    }
}

void KERNEL(attention_store)(const float *k, const float *v, const AttentionSpan *spans, size_t count, const AttentionShape *shape)
{
    size_t total = count_tasks(store_tasks, spans, count, shape);
#pragma omp parallel if (total > 1)
    {
        Cursor at = {0};
#pragma omp for schedule(static)
        for (size_t task = 0; task < total; task++) {
            size_t i = cursor_seek(&at, task, store_tasks, spans, shape);
            store_page(k, v, spans + at.span, spans[at.span].past / PAGE + i, shape);
        }
    }
}

// ---- backward ----------------------------------------------------------------------------------------------------------

typedef struct { // one head of one span; pointers are to its first row and this head's columns
    const AttentionShape *shape;
    const AttentionSpan *span;
    size_t n, offset, out_stride, stats_stride;
    bool fresh;               // the group's first head: dk and dv start from +0
    const float *q, *dout, *out, *stats;
    float *dq, *dk, *dv;
    float *d;                 // [n] D of each query
    float *p, *ds;            // [page of the block][query of the block][16]
    float *keys, *values;     // K [key of the block][head_dim] and V [page of the block][head_dim][16]: the transposed of the pages
} Backward;

static void output_dots(const Backward *b)
{
    size_t hd = b->shape->head_dim;
    for (size_t i = 0; i < b->n; i++) {
        const float *x = b->dout + i * b->out_stride, *y = b->out + i * b->out_stride;
        v16 sum = v16_zero();
        for (size_t c = 0; c < hd; c += LANES) {
            size_t n = smaller(hd - c, LANES);
            v16 next = v16_fma(load_lanes(x + c, n), load_lanes(y + c, n), sum);
            sum = n == LANES ? next : v16_select(v16_first(n), next, sum);
        }
        b->d[i] = v16_sum(sum);
    }
}

static void transpose_pages(const Backward *b, size_t first_page, size_t pages)
{
    size_t hd = b->shape->head_dim;
    for (size_t g = 0; g < pages; g++) {
        const float *k = b->span->pages[first_page + g] + b->offset, *v = k + PAGE * hd;
        float *keys = b->keys + g * PAGE * hd, *values = b->values + g * PAGE * hd;
        for (size_t d = 0; d < hd; d++)
            for (size_t j = 0; j < PAGE; j++) values[d * PAGE + j] = v[j * hd + d];
        for (size_t j = 0; j < PAGE; j++)
            for (size_t d = 0; d < hd; d++) keys[j * hd + d] = k[d * PAGE + j];
    }
}

typedef struct { const float *q[ROWS], *dout[ROWS]; v16 max[ROWS], inverse[ROWS], d[ROWS]; } BackwardRows;

// P and dS of ROWS queries and `wide` pages from page g of the block on. Masked keys get numbers that nobody reads.
INLINE void backward_scores(const Backward *b, const BackwardRows *rows, size_t first_page, size_t g, size_t x, const int wide)
{
    v16 acc[MAX_TILE], scale = v16_set(b->shape->scale);
    size_t hd = b->shape->head_dim;
    const float *k[MAX_WIDE], *v[MAX_WIDE];
    for (int w = 0; w < wide; w++) {
        k[w] = b->span->pages[first_page + g + (size_t)w] + b->offset;
        v[w] = b->values + (g + (size_t)w) * PAGE * hd;
    }
    size_t to = (g * ATTENTION_QUERIES + x) * PAGE, page_step = (size_t)ATTENTION_QUERIES * PAGE;
    dot_tile(acc, rows->q, k, hd, ROWS, wide);
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++) {
            v16 p = v16_exp(v16_sub(v16_mul(acc[r * wide + w], scale), rows->max[r]));
            v16_store(b->p + to + (size_t)w * page_step + (size_t)r * PAGE, v16_mul(p, rows->inverse[r]));
        }
    dot_tile(acc, rows->dout, v, hd, ROWS, wide);
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++) {
            size_t at = to + (size_t)w * page_step + (size_t)r * PAGE;
            v16 ds = v16_mul(v16_load(b->p + at), v16_sub(acc[r * wide + w], rows->d[r]));
            v16_store(b->ds + at, v16_mul(ds, scale));
        }
}

// The tile of queries from i on, at row x of the block.
static void backward_tile(const Backward *b, size_t first_page, size_t pages, size_t i, size_t x)
{
    BackwardRows rows;
    for (size_t r = 0; r < ROWS; r++) {
        size_t query = smaller(i + r, b->n - 1);
        const float *stats = b->stats + query * b->stats_stride;
        rows.q[r] = b->q + query * b->shape->q_stride;
        rows.dout[r] = b->dout + query * b->out_stride;
        rows.max[r] = v16_set(stats[0]);
        rows.inverse[r] = v16_set(1.0f / stats[1]);
        rows.d[r] = v16_set(b->d[query]);
    }
    size_t g = 0;
    for (; g + WIDE <= pages; g += WIDE) backward_scores(b, &rows, first_page, g, x, WIDE);
    for (; g < pages; g++) backward_scores(b, &rows, first_page, g, x, 1);
}

/* c[r] (rows = keys) continues its chain over the queries of a block: weights a[query][16] times rows b[query]. Key r is seen from
 * query `start` + r on. */
INLINE void chain_queries(float *c, size_t c_row, size_t keys, bool fresh, const float *a, const float *b, size_t b_row, ptrdiff_t start,
    size_t queries, size_t lanes, const int wide)
{
    v16 acc[MAX_TILE];
    for (int r = 0; r < KEY_ROWS; r++)
        for (int w = 0; w < wide; w++) {
            bool held = !fresh && (size_t)r < keys;
            acc[r * wide + w] = held ? load_lanes(c + (size_t)r * c_row + (size_t)w * LANES, lanes) : v16_zero();
        }
    size_t x = start > 0 ? (size_t)start : 0;
    for (; x < queries && (ptrdiff_t)x < start + KEY_ROWS - 1; x++)
        chain_step(acc, a + x * PAGE, 1, b + x * b_row, lanes, 0, (size_t)((ptrdiff_t)x - start) + 1, KEY_ROWS, wide);
    for (; x < queries; x++) chain_step(acc, a + x * PAGE, 1, b + x * b_row, lanes, 0, KEY_ROWS, KEY_ROWS, wide);
    for (int r = 0; r < KEY_ROWS; r++)
        for (int w = 0; w < wide && (size_t)r < keys; w++)
            store_lanes(c + (size_t)r * c_row + (size_t)w * LANES, acc[r * wide + w], lanes);
}

// Adds a block of queries (from i on) to the gradient c of one page's keys or values.
static void gradient_page(const Backward *b, float *c, const float *a, const float *rows, size_t stride, size_t page, size_t i, size_t queries,
    bool fresh)
{
    size_t hd = b->shape->head_dim, c_row = b->shape->kv_stride;
    rows += i * stride;
    for (size_t key = page * PAGE; key < smaller(b->n, (page + 1) * PAGE); key += KEY_ROWS, a += KEY_ROWS) {
        size_t keys = smaller(b->n - key, KEY_ROWS), column = 0;
        ptrdiff_t start = (ptrdiff_t)key - (ptrdiff_t)i;
        float *to = c + key * c_row;
        for (; column + KEY_WIDE * LANES <= hd; column += KEY_WIDE * LANES)
            chain_queries(to + column, c_row, keys, fresh, a, rows + column, stride, start, queries, LANES, KEY_WIDE);
        for (; column + LANES <= hd; column += LANES)
            chain_queries(to + column, c_row, keys, fresh, a, rows + column, stride, start, queries, LANES, 1);
        if (column < hd) chain_queries(to + column, c_row, keys, fresh, a, rows + column, stride, start, queries, hd - column, 1);
    }
}

// dq of up to ROWS queries from i on continues over the keys of the block, which starts at key `first`.
INLINE void query_columns(const Backward *b, size_t i, size_t x, size_t first, size_t rows, size_t column, size_t lanes, const int wide)
{
    v16 acc[MAX_TILE];
    size_t hd = b->shape->head_dim, stride = b->shape->q_stride, keys = i + 1 - first, end = i + rows - first;
    float *to = b->dq + i * stride + column;
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++) {
            bool held = first && (size_t)r < rows;
            acc[r * wide + w] = held ? load_lanes(to + (size_t)r * stride + (size_t)w * LANES, lanes) : v16_zero();
        }
    for (size_t g = 0; g < smaller(pages_of(end), ATTENTION_KEY_PAGES); g++)
        chain_page(acc, b->ds + (g * ATTENTION_QUERIES + x) * PAGE, b->keys + g * PAGE * hd + column, hd, g, keys, end, lanes, ROWS, wide);
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide && (size_t)r < rows; w++)
            store_lanes(to + (size_t)r * stride + (size_t)w * LANES, acc[r * wide + w], lanes);
}

static void query_gradient(const Backward *b, size_t i, size_t x, size_t first, size_t rows)
{
    size_t hd = b->shape->head_dim, column = 0;
    for (; column + WIDE * LANES <= hd; column += WIDE * LANES) query_columns(b, i, x, first, rows, column, LANES, WIDE);
    for (; column + LANES <= hd; column += LANES) query_columns(b, i, x, first, rows, column, LANES, 1);
    if (column < hd) query_columns(b, i, x, first, rows, column, hd - column, 1);
}

// Queries i .. i + queries - 1 against the pages of the key block that starts at key `first`.
static void backward_block(const Backward *b, size_t first, size_t i, size_t queries)
{
    size_t page = first / PAGE;
    for (size_t x = 0; x < queries; x += ROWS) {
        size_t seen = smaller(i + x + ROWS, b->n) - first;
        backward_tile(b, page, smaller(pages_of(seen), ATTENTION_KEY_PAGES), i + x, x);
    }
    size_t pages = smaller(pages_of(i + queries - first), ATTENTION_KEY_PAGES);
    for (size_t g = 0; g < pages; g++) {
        size_t at = g * ATTENTION_QUERIES * PAGE;
        bool start = b->fresh && i <= (page + g) * PAGE; // no head and no query before this block has seen the page
        gradient_page(b, b->dv, b->p + at, b->dout, b->out_stride, page + g, i, queries, start);
        gradient_page(b, b->dk, b->ds + at, b->q, b->shape->q_stride, page + g, i, queries, start);
    }
    for (size_t x = 0; x < queries; x += ROWS) query_gradient(b, i + x, x, first, smaller(queries - x, ROWS));
}

static void backward_head(const Backward *b)
{
    size_t block = (size_t)ATTENTION_KEY_PAGES * PAGE;
    output_dots(b);
    for (size_t first = 0; first < b->n; first += block) {
        transpose_pages(b, first / PAGE, pages_of(smaller(block, b->n - first)));
        for (size_t i = first; i < b->n; i += ATTENTION_QUERIES) backward_block(b, first, i, smaller(b->n - i, ATTENTION_QUERIES));
    }
}

void KERNEL(attention_backward)(float *dq, float *dk, float *dv, const float *dout, const float *out, const float *stats, const float *q,
    const AttentionSpan *spans, size_t count, const AttentionShape *shape, float *scratch, size_t scratch_stride)
{
    size_t total = count_tasks(backward_tasks, spans, count, shape), group = shape->heads / shape->kv_heads, hd = shape->head_dim;
    size_t key_floats = (size_t)ATTENTION_KEY_PAGES * PAGE;
#pragma omp parallel if (total > 1)
    {
        fp_strict();
        float *mine = scratch + (size_t)thread_number() * scratch_stride;
        Cursor at = {0};
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < total; task++) {
            size_t kv = cursor_seek(&at, task, backward_tasks, spans, shape);
            const AttentionSpan *span = spans + at.span;
            size_t kv_at = span->row * shape->kv_stride + kv * hd;
            assert(span->past == 0);
            for (size_t head = kv * group; head < (kv + 1) * group; head++) {
                size_t out_at = (span->row * shape->heads + head) * hd, q_at = span->row * shape->q_stride + head * hd;
                Backward b = {.shape = shape, .span = span, .n = span->queries, .offset = kv_offset(shape, kv),
                    .out_stride = shape->heads * hd, .stats_stride = shape->heads * 2, .fresh = head == kv * group, .q = q + q_at,
                    .dout = dout + out_at, .out = out + out_at, .stats = stats + (span->row * shape->heads + head) * 2,
                    .dq = dq + q_at, .dk = dk + kv_at, .dv = dv + kv_at, .p = mine, .ds = mine + key_floats * ATTENTION_QUERIES};
                b.keys = b.ds + key_floats * ATTENTION_QUERIES;
                b.values = b.keys + key_floats * hd;
                b.d = b.values + key_floats * hd;
                backward_head(&b);
            }
        }
    }
}
