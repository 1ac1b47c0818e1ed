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
enum { ROWS = 8, WIDE = 2, KEY_ROWS = 8 };
#elif defined(RAFT_ISA_avx2) || defined(RAFT_ISA_neon)
enum { ROWS = 6, WIDE = 1, KEY_ROWS = 6 };
#else
enum { ROWS = 2, WIDE = 1, KEY_ROWS = 2 };
#endif
enum { REST_ROWS = PAGE % KEY_ROWS, FEW_ROWS = ROWS / 2, FEW_WIDE = 2 * WIDE, ONE_WIDE = 4, MAX_WIDE = 4, MAX_TILE = 16 };
_Static_assert((int)ROWS <= (int)ATTENTION_ROWS && ATTENTION_QUERIES % ROWS == 0, "tiles fill their blocks");
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
    size_t keys = t->keys, growth = t->growth;
    for (int w = 0; w < wide; w++) k[w] = t->pages[g + (size_t)w] + t->offset;
    dot_tile(acc, t->q, k, head_dim, rows, wide);
    float *to = s + g * (size_t)rows * PAGE;
    for (int w = 0; w < wide; w++)
        for (int r = 0; r < rows; r++) {
            acc[r * wide + w] = v16_mul(acc[r * wide + w], scale);
            v16_store(to + (w * rows + r) * PAGE, acc[r * wide + w]);
        }
    if (keys < (g + (size_t)wide) * PAGE)
        for (int w = 0; w < wide; w++)
            for (int r = 0; r < rows; r++) {
                v16m seen = v16_first(keys_in_page(keys + (size_t)r * growth, g + (size_t)w));
                acc[r * wide + w] = v16_select(seen, acc[r * wide + w], top[r]);
            }
    for (int w = 0; w < wide; w++)
        for (int r = 0; r < rows; r++) top[r] = v16_max(top[r], acc[r * wide + w]);
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
    if (keys >= (page + 1) * PAGE) {
        for (size_t j = 0; j < PAGE; j++) chain_step(acc, p + j, PAGE, b + j * b_row, lanes, 0, (size_t)rows, rows, wide);
        return;
    }
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

// to[j][i] = from[i][j] for i < rows, j < columns
static void transpose(float *to, size_t to_row, const float *from, size_t from_row, size_t rows, size_t columns)
{
    size_t i = 0;
#if defined(__SSE__)
    for (; i + 4 <= rows; i += 4) {
        size_t j = 0;
        for (; j + 4 <= columns; j += 4) {
            const float *x = from + i * from_row + j;
            __m128 a = _mm_loadu_ps(x), b = _mm_loadu_ps(x + from_row), c = _mm_loadu_ps(x + 2 * from_row), d = _mm_loadu_ps(x + 3 * from_row);
            _MM_TRANSPOSE4_PS(a, b, c, d);
            float *y = to + j * to_row + i;
            _mm_storeu_ps(y, a), _mm_storeu_ps(y + to_row, b), _mm_storeu_ps(y + 2 * to_row, c), _mm_storeu_ps(y + 3 * to_row, d);
        }
        for (; j < columns; j++)
            for (size_t e = 0; e < 4; e++) to[j * to_row + i + e] = from[(i + e) * from_row + j];
    }
#endif
    for (; i < rows; i++)
        for (size_t j = 0; j < columns; j++) to[j * to_row + i] = from[i * from_row + j];
}

// The positions of the span's new rows that fall into one page.
static void store_page(const float *k, const float *v, const AttentionSpan *span, size_t page, const AttentionShape *s)
{
    size_t start = page * PAGE > span->past ? page * PAGE : span->past, hd = s->head_dim;
    size_t rows = smaller((page + 1) * PAGE, span->past + span->queries) - start;
    for (size_t kv = 0; kv < s->kv_heads; kv++) {
        size_t from = (span->row + start - span->past) * s->kv_stride + kv * hd;
        float *keys = span->pages[page] + kv_offset(s, kv) + start % PAGE, *values = keys + PAGE * hd - start % PAGE + start % PAGE * hd;
        transpose(keys, PAGE, k + from, s->kv_stride, rows, hd);
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

/* One head of one span. Rows that are a model's width apart share cache sets, so the head works on rows next to each other and
 * copies them in and out. */
typedef struct {
    const AttentionShape *shape;
    const AttentionSpan *span;
    size_t n, offset;
    const float *stats;       // of the first row
    float *q, *dout, *dq;     // [n][head_dim]
    float *d;                 // [n] D of each query
    float *p, *ds;            // [page of the block][query of the block][16]
    float *keys, *values;     // K [key of the block][head_dim] and V [page of the block][head_dim][16]: the pages transposed
    float *dk, *dv;           // [key of the block][head_dim]
} Backward;

enum { BLOCK_KEYS = ATTENTION_KEY_PAGES * PAGE };

static void copy_rows(float *to, size_t to_row, const float *from, size_t from_row, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++) memcpy(to + r * to_row, from + r * from_row, columns * sizeof *to);
}

static void output_dots(const Backward *b, const float *out, size_t stride)
{
    size_t hd = b->shape->head_dim;
    for (size_t i = 0; i < b->n; i++) {
        v16 sum = v16_zero();
        for (size_t c = 0; c < hd; c += LANES) {
            size_t n = smaller(hd - c, LANES);
            v16 next = v16_fma(load_lanes(b->dout + i * hd + c, n), load_lanes(out + i * stride + c, n), sum);
            sum = n == LANES ? next : v16_select(v16_first(n), next, sum);
        }
        b->d[i] = v16_sum(sum);
    }
}

static void transpose_pages(const Backward *b, size_t first_page, size_t pages)
{
    size_t hd = b->shape->head_dim, n = PAGE * hd;
    for (size_t g = 0; g < pages; g++) {
        const float *k = b->span->pages[first_page + g] + b->offset;
        transpose(b->keys + g * n, hd, k, PAGE, hd, PAGE);
        transpose(b->values + g * n, PAGE, k + n, hd, PAGE, hd);
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

// The tile of queries from i on, at row x of the block; past the last query it repeats that one.
static void backward_tile(const Backward *b, size_t first_page, size_t pages, size_t i, size_t x)
{
    BackwardRows rows;
    size_t hd = b->shape->head_dim;
    for (size_t r = 0; r < ROWS; r++) {
        size_t query = smaller(i + r, b->n - 1);
        const float *stats = b->stats + query * b->shape->heads * 2;
        rows.q[r] = b->q + query * hd;
        rows.dout[r] = b->dout + query * hd;
        rows.max[r] = v16_set(stats[0]);
        rows.inverse[r] = v16_set(1.0f / stats[1]);
        rows.d[r] = v16_set(b->d[query]);
    }
    size_t g = 0;
    for (; g + WIDE <= pages; g += WIDE) backward_scores(b, &rows, first_page, g, x, WIDE);
    for (; g < pages; g++) backward_scores(b, &rows, first_page, g, x, 1);
}

typedef struct { // a block of queries as it meets one page of keys: weights [query][16] times rows [query][head_dim]
    float *c;                 // the page's gradient [16][head_dim], whose chains continue
    const float *weights, *rows;
    size_t queries, head_dim;
    ptrdiff_t start;          // the query of the block that sees the page's first key
} PageGradient;

// `rows` keys from the given one on; the one at row r is seen from query start + r on.
INLINE void chain_queries(const PageGradient *p, size_t key, size_t column, size_t lanes, const int rows, const int wide)
{
    v16 acc[MAX_TILE];
    size_t hd = p->head_dim, queries = p->queries;
    ptrdiff_t start = p->start + (ptrdiff_t)key;
    float *c = p->c + key * hd + column;
    const float *a = p->weights + key, *b = p->rows + column;
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) acc[r * wide + w] = load_lanes(c + (size_t)r * hd + (size_t)w * LANES, lanes);
    size_t x = start > 0 ? (size_t)start : 0;
    for (; x < queries && (ptrdiff_t)x < start + rows - 1; x++)
        chain_step(acc, a + x * PAGE, 1, b + x * hd, lanes, 0, (size_t)((ptrdiff_t)x - start) + 1, rows, wide);
    for (; x < queries; x++) chain_step(acc, a + x * PAGE, 1, b + x * hd, lanes, 0, (size_t)rows, rows, wide);
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) store_lanes(c + (size_t)r * hd + (size_t)w * LANES, acc[r * wide + w], lanes);
}

INLINE void gradient_keys(const PageGradient *p, size_t key, const int rows)
{
    size_t hd = p->head_dim, column = 0;
    for (; column + WIDE * LANES <= hd; column += WIDE * LANES) chain_queries(p, key, column, LANES, rows, WIDE);
    for (; WIDE > 1 && column + LANES <= hd; column += LANES) chain_queries(p, key, column, LANES, rows, 1);
    if (column < hd) chain_queries(p, key, column, hd - column, rows, 1);
}

static void gradient_page(const PageGradient *p)
{
    size_t key = 0;
    for (; key + KEY_ROWS <= PAGE; key += KEY_ROWS) gradient_keys(p, key, KEY_ROWS);
    if (key < PAGE) gradient_keys(p, key, REST_ROWS);
}

// dq of up to ROWS queries from i on continues over the keys of the block, which starts at key `first`.
INLINE void query_columns(const Backward *b, size_t i, size_t x, size_t first, size_t end, size_t column, size_t lanes, const int wide)
{
    v16 acc[MAX_TILE];
    size_t hd = b->shape->head_dim;
    float *to = b->dq + i * hd + column;
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++) acc[r * wide + w] = load_lanes(to + (size_t)r * hd + (size_t)w * LANES, lanes);
    for (size_t g = 0; g < smaller(pages_of(end - first), ATTENTION_KEY_PAGES); g++)
        chain_page(acc, b->ds + (g * ATTENTION_QUERIES + x) * PAGE, b->keys + g * PAGE * hd + column, hd, g, i + 1 - first, end - first, lanes,
            ROWS, wide);
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++) store_lanes(to + (size_t)r * hd + (size_t)w * LANES, acc[r * wide + w], lanes);
}

static void query_gradient(const Backward *b, size_t i, size_t x, size_t first, size_t end)
{
    size_t hd = b->shape->head_dim, column = 0;
    for (; column + WIDE * LANES <= hd; column += WIDE * LANES) query_columns(b, i, x, first, end, column, LANES, WIDE);
    for (; WIDE > 1 && column + LANES <= hd; column += LANES) query_columns(b, i, x, first, end, column, LANES, 1);
    if (column < hd) query_columns(b, i, x, first, end, column, hd - column, 1);
}

// Queries i .. end - 1 against the pages of the key block that starts at key `first`.
static void backward_block(const Backward *b, size_t first, size_t i, size_t end)
{
    size_t hd = b->shape->head_dim, pages = smaller(pages_of(end - first), ATTENTION_KEY_PAGES);
    for (size_t x = 0; i + x < end; x += ROWS)
        backward_tile(b, first / PAGE, smaller(pages_of(smaller(i + x + ROWS, end) - first), ATTENTION_KEY_PAGES), i + x, x);
    for (size_t g = 0; g < pages; g++) {
        size_t weights = g * ATTENTION_QUERIES * PAGE, gradient = g * PAGE * hd;
        PageGradient p = {.queries = end - i, .head_dim = hd, .start = (ptrdiff_t)(first + g * PAGE) - (ptrdiff_t)i};
        p.c = b->dv + gradient, p.weights = b->p + weights, p.rows = b->dout + i * hd;
        gradient_page(&p);
        p.c = b->dk + gradient, p.weights = b->ds + weights, p.rows = b->q + i * hd;
        gradient_page(&p);
    }
    for (size_t x = 0; i + x < end; x += ROWS) query_gradient(b, i + x, x, first, smaller(i + x + ROWS, end));
}

// dk and dv: the head's columns of the span's first row; they start from +0 with the first head of a group.
static void backward_head(const Backward *b, float *dk, float *dv, bool fresh)
{
    size_t hd = b->shape->head_dim, stride = b->shape->kv_stride;
    for (size_t first = 0; first < b->n; first += BLOCK_KEYS, dk += BLOCK_KEYS * stride, dv += BLOCK_KEYS * stride) {
        size_t keys = smaller(BLOCK_KEYS, b->n - first);
        memset(b->dk, 0, BLOCK_KEYS * hd * sizeof *b->dk);
        memset(b->dv, 0, BLOCK_KEYS * hd * sizeof *b->dv);
        if (!fresh) copy_rows(b->dk, hd, dk, stride, keys, hd), copy_rows(b->dv, hd, dv, stride, keys, hd);
        transpose_pages(b, first / PAGE, pages_of(keys));
        for (size_t i = first; i < b->n; i += ATTENTION_QUERIES) backward_block(b, first, i, smaller(i + ATTENTION_QUERIES, b->n));
        copy_rows(dk, stride, b->dk, hd, keys, hd), copy_rows(dv, stride, b->dv, hd, keys, hd);
    }
}

// The order of the parts that attention_scratch_floats counts.
static void divide_scratch(Backward *b, float *scratch)
{
    size_t hd = b->shape->head_dim, rows = (b->n + ATTENTION_ROWS) * hd; // the last tile may write rows past the end
    b->p = scratch;
    b->ds = b->p + BLOCK_KEYS * ATTENTION_QUERIES;
    b->keys = b->ds + BLOCK_KEYS * ATTENTION_QUERIES;
    b->values = b->keys + BLOCK_KEYS * hd;
    b->dk = b->values + BLOCK_KEYS * hd;
    b->dv = b->dk + BLOCK_KEYS * hd;
    b->q = b->dv + BLOCK_KEYS * hd;
    b->dout = b->q + rows;
    b->dq = b->dout + rows;
    b->d = b->dq + rows;
}

void KERNEL(attention_backward)(float *dq, float *dk, float *dv, const float *dout, const float *out, const float *stats, const float *q,
    const AttentionSpan *spans, size_t count, const AttentionShape *s, float *scratch, size_t scratch_stride)
{
    size_t total = count_tasks(backward_tasks, spans, count, s), group = s->heads / s->kv_heads, hd = s->head_dim;
#pragma omp parallel if (total > 1)
    {
        fp_strict();
        float *mine = scratch + (size_t)thread_number() * scratch_stride;
        Cursor at = {0};
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < total; task++) {
            size_t kv = cursor_seek(&at, task, backward_tasks, spans, s);
            const AttentionSpan *span = spans + at.span;
            Backward b = {.shape = s, .span = span, .n = span->queries, .offset = kv_offset(s, kv)};
            assert(span->past == 0);
            divide_scratch(&b, mine);
            for (size_t head = kv * group; head < (kv + 1) * group; head++) {
                size_t q_at = span->row * s->q_stride + head * hd, kv_at = span->row * s->kv_stride + kv * hd;
                size_t out_at = (span->row * s->heads + head) * hd;
                b.stats = stats + (span->row * s->heads + head) * 2;
                copy_rows(b.q, hd, q + q_at, s->q_stride, b.n, hd);
                copy_rows(b.dout, hd, dout + out_at, s->heads * hd, b.n, hd);
                output_dots(&b, out + out_at, s->heads * hd);
                memset(b.dq, 0, (b.n + ATTENTION_ROWS) * hd * sizeof *b.dq);
                backward_head(&b, dk + kv_at, dv + kv_at, head == kv * group);
                copy_rows(dq + q_at, s->q_stride, b.dq, hd, b.n, hd);
            }
        }
    }
}
