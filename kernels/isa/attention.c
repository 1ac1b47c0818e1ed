// SPDX-License-Identifier: MIT
/* attention.c - causal attention over paged keys and values: storing them, and the forward pass; attention_backward.c has its
 * gradients. Knows sequences and pages, not layers or models. Start with attend_tile.
 *
 * For a query at position p the keys 0..p are allowed; all others are skipped, never multiplied by zero, so that whatever
 * stands in unused slots of a page cannot leak. In this order, and so with the same bits however queries are tiled:
 *
 *     s[j] = chain_d fma(q[d], K[j][d]) * scale            d ascending, from +0
 *     m    = max_j s[j]
 *     p[j] = exp(s[j] - m)
 *     sum  = lanes (key j in lane j mod 16, ascending), one tree; blocks of 4096 keys added in double, rounded once
 *     o[d] = chain_j fma(p[j], V[j][d]) / sum              j ascending, from +0
 */
#include "kernels/attention-tiles-internal.h"

#include <assert.h>

enum { FEW_ROWS = ROWS / 2, FEW_WIDE = 2 * WIDE, ONE_WIDE = MAX_WIDE }; // tiles for fewer rows

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

INLINE void output_columns(const Tile *t, const float *p, const float *sum, size_t column, size_t head_dim, size_t lanes,
    const int rows, const int wide)
{
    v16 acc[MAX_TILE];
    float *out = t->out + column;
    size_t end = last_key(t), value = t->offset + PAGE * head_dim + column;
    for (int i = 0; i < rows * wide; i++) acc[i] = v16_zero();
    for (size_t g = 0; g < pages_of(end); g++)
        chain_page(acc, p + g * (size_t)rows * PAGE, t->pages[g] + value, head_dim, g, t->keys, end, lanes, rows, wide);
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide && (size_t)r < t->rows; w++)
            store_up_to(out + (size_t)r * t->out_step + (size_t)w * LANES, v16_div(acc[r * wide + w], v16_set(sum[r])), lanes);
}

INLINE void attend_tile(const Tile *t, size_t head_dim, float scale, float *s, const int rows, const int wide)
{
    v16 top[ROWS];
    float sum[ROWS] = {0};
    for (int r = 0; r < rows; r++) top[r] = v16_set(-INFINITY);
    size_t g = 0, pages = pages_of(last_key(t)), column = 0;
    for (; g + (size_t)wide <= pages; g += (size_t)wide) score_pages(top, s, t, g, head_dim, v16_set(scale), rows, wide);
    for (; wide > 2 && g + 2 <= pages; g += 2) score_pages(top, s, t, g, head_dim, v16_set(scale), rows, 2);
    for (; wide > 1 && g < pages; g++) score_pages(top, s, t, g, head_dim, v16_set(scale), rows, 1);
    for (size_t r = 0; r < t->rows; r++) {
        float max = v16_max_lanes(top[r]);
        sum[r] = exp_row(s + r * PAGE, (size_t)rows * PAGE, t->keys + r * t->growth, max);
        if (t->stats) t->stats[r * t->stats_step] = max, t->stats[r * t->stats_step + 1] = sum[r];
    }
    for (; column + (size_t)wide * LANES <= head_dim; column += (size_t)wide * LANES)
        output_columns(t, s, sum, column, head_dim, LANES, rows, wide);
    for (; wide > 2 && column + 2 * LANES <= head_dim; column += 2 * LANES)
        output_columns(t, s, sum, column, head_dim, LANES, rows, 2);
    for (; wide > 1 && column + LANES <= head_dim; column += LANES) output_columns(t, s, sum, column, head_dim, LANES, rows, 1);
    if (column < head_dim) output_columns(t, s, sum, column, head_dim, head_dim - column, rows, 1);
}

static void attend_many(const Tile *t, const AttentionShape *shape, float *scores)
{
    attend_tile(t, shape->head_dim, shape->scale, scores, ROWS, WIDE);
}

static void attend_few(const Tile *t, const AttentionShape *shape, float *scores)
{
    attend_tile(t, shape->head_dim, shape->scale, scores, FEW_ROWS, FEW_WIDE);
}

static void attend_one(const Tile *t, const AttentionShape *shape, float *scores)
{
    attend_tile(t, shape->head_dim, shape->scale, scores, 1, ONE_WIDE);
}

static void attend(const Tile *t, const AttentionShape *shape, float *scores)
{
    if (t->rows == 1) attend_one(t, shape, scores);
    else if (t->rows <= FEW_ROWS) attend_few(t, shape, scores);
    else attend_many(t, shape, scores);
}

// A span of several queries has a task for each head and ATTENTION_QUERIES queries; one that decodes, a task for each kv head.
static size_t forward_tasks(const AttentionSpan *span, const AttentionShape *shape)
{
    if (span->queries <= 1) return span->queries * shape->kv_heads;
    return shape->heads * blocks_of(span->queries, ATTENTION_QUERIES);
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

// Rows of q lie a model's width apart, where no hardware looks ahead: the next tile's are asked for while this one computes.
static void prefetch_rows(const float *q, size_t step, size_t rows, size_t head_dim)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t d = 0; d < head_dim; d += LANES) PREFETCH(q + r * step + d);
}

// One position of a sequence: the heads that share a kv head are the rows of the tile.
static void forward_decode(const Forward *f, const AttentionSpan *span, size_t kv, float *scratch)
{
    const AttentionShape *s = f->shape;
    size_t group = s->heads / s->kv_heads, end = (kv + 1) * group;
    for (size_t head = kv * group; head < end; head += ROWS) {
        size_t at = span->row * s->heads + head;
        Tile t = {.keys = span->past + 1, .growth = 0, .pages = span->pages, .offset = kv_offset(s, kv),
            .out = f->out + at * s->head_dim, .out_step = s->head_dim, .stats = f->stats ? f->stats + at * 2 : NULL, .stats_step = 2};
        tile_rows(&t, f->q + span->row * s->q_stride + head * s->head_dim, s->head_dim, smaller(end - head, ROWS));
        attend(&t, s, scratch);
    }
}

static void forward_queries(const Forward *f, const AttentionSpan *span, size_t head, size_t first, float *scratch)
{
    const AttentionShape *s = f->shape;
    size_t end = smaller(first + ATTENTION_QUERIES, span->queries), kv = head / (s->heads / s->kv_heads);
    for (size_t i = first; i < end; i += ROWS) {
        size_t at = (span->row + i) * s->heads + head;
        Tile t = {.keys = span->past + i + 1, .growth = 1, .pages = span->pages, .offset = kv_offset(s, kv),
            .out = f->out + at * s->head_dim, .out_step = s->heads * s->head_dim, .stats = f->stats ? f->stats + at * 2 : NULL,
            .stats_step = s->heads * 2};
        const float *q = f->q + (span->row + i) * s->q_stride + head * s->head_dim;
        if (i + 2 * ROWS <= span->queries) prefetch_rows(q + ROWS * s->q_stride, s->q_stride, ROWS, s->head_dim);
        tile_rows(&t, q, s->q_stride, smaller(end - i, ROWS));
        attend(&t, s, scratch);
    }
}

void KERNEL(attention_forward)(float *out, float *stats, const float *q, const AttentionSpan *spans, size_t count,
    const AttentionShape *shape, AttentionScratch scratch)
{
    size_t total = count_tasks(forward_tasks, spans, count, shape);
    Forward f = {out, stats, q, shape};
    assert(shape->heads % shape->kv_heads == 0);
    size_t threads = total > 1 && worth_threads(spans, count, shape) ? scratch.pieces : 1;
    (void)threads;
    OMP(omp parallel num_threads((int)threads) if (threads > 1))
    {
        fp_strict();
        float *mine = scratch.floats + thread_number() * scratch.stride;
        Cursor at = {0};
        OMP(omp for schedule(dynamic))
        for (size_t task = 0; task < total; task++) {
            size_t i = cursor_seek(&at, task, forward_tasks, spans, shape);
            const AttentionSpan *span = spans + at.span;
            size_t blocks = blocks_of(span->queries, ATTENTION_QUERIES);
            if (span->queries == 1) forward_decode(&f, span, i, mine);
            else forward_queries(&f, span, i / blocks, i % blocks * ATTENTION_QUERIES, mine);
        }
    }
}

// ---- keys and values into pages ----------------------------------------------------------------------------------------

static size_t store_tasks(const AttentionSpan *span, const AttentionShape *shape) // one for each page that is written
{
    (void)shape;
    return span->queries ? pages_of(span->past + span->queries) - span->past / PAGE : 0;
}

// The positions of the span's new rows that fall into one page.
static void store_page(const float *k, const float *v, const AttentionSpan *span, size_t page, const AttentionShape *s)
{
    size_t start = page * PAGE > span->past ? page * PAGE : span->past, hd = s->head_dim;
    size_t rows = smaller((page + 1) * PAGE, span->past + span->queries) - start;
    for (size_t kv = 0; kv < s->kv_heads; kv++) {
        size_t from = (span->row + start - span->past) * s->kv_stride + kv * hd;
        float *keys = span->pages[page] + kv_offset(s, kv), *values = keys + PAGE * hd + start % PAGE * hd;
        transpose(keys + start % PAGE, PAGE, k + from, s->kv_stride, rows, hd);
        for (size_t r = 0; r < rows; r++) memcpy(values + r * hd, v + from + r * s->kv_stride, hd * sizeof *v);
    }
}

void KERNEL(attention_store)(const float *k, const float *v, const AttentionSpan *spans, size_t count, const AttentionShape *shape)
{
    size_t total = count_tasks(store_tasks, spans, count, shape);
    OMP(omp parallel if (total * PAGE * shape->kv_heads * shape->head_dim >= PARALLEL_COPY))
    {
        Cursor at = {0};
        OMP(omp for schedule(static))
        for (size_t task = 0; task < total; task++) {
            size_t i = cursor_seek(&at, task, store_tasks, spans, shape);
            store_page(k, v, spans + at.span, spans[at.span].past / PAGE + i, shape);
        }
    }
}
