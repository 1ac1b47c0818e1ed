// SPDX-License-Identifier: MIT
/* attention_backward.c - the gradients of attention.c for sequences computed from their first position. Start with
 * backward_block.
 *
 * With do the gradient of the output o, and m and sum as the forward pass left them, for each query:
 *
 *     P[j]  = exp(s[j] - m) * (1 / sum)                    the scores s computed again, in the same order
 *     D     = lanes (element d in lane d mod 16) of fma(do[d], o[d]), one tree
 *     dP[j] = chain_d fma(do[d], V[j][d])                  d ascending, from +0
 *     dS[j] = (P[j] * (dP[j] - D)) * scale
 *     dq[d] = chain_j fma(dS[j], K[j][d])                  j ascending, from +0
 *
 * and for each key, over the query heads of its group ascending, then the queries that see it ascending, from +0:
 *
 *     dV[j][d] = chain fma(P[j], do[d])
 *     dK[j][d] = chain fma(dS[j], q[d])
 *
 * All of it goes block by block of keys, and in each by blocks of queries, so that P and dS stay in the cache and are never held
 * whole. Chains continue from block to block, in ascending order.
 */
#include "kernels/attention-tiles-internal.h"

#include <assert.h>

enum { BLOCK_KEYS = ATTENTION_KEY_PAGES * PAGE };

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
            v16 next = v16_fma(load_up_to(b->dout + i * hd + c, n), load_up_to(out + i * stride + c, n), sum);
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
        for (int w = 0; w < wide; w++) acc[r * wide + w] = load_up_to(c + (size_t)r * hd + (size_t)w * LANES, lanes);
    size_t x = start > 0 ? (size_t)start : 0;
    for (; x < queries && (ptrdiff_t)x < start + rows - 1; x++)
        chain_step(acc, a + x * PAGE, 1, b + x * hd, lanes, 0, (size_t)((ptrdiff_t)x - start) + 1, rows, wide);
    UNROLL_4 for (; x < queries; x++) chain_step(acc, a + x * PAGE, 1, b + x * hd, lanes, 0, (size_t)rows, rows, wide);
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) store_up_to(c + (size_t)r * hd + (size_t)w * LANES, acc[r * wide + w], lanes);
}

// All keys of the page for `wide` vectors of columns, `rows` at a time.
INLINE void gradient_columns(const PageGradient *p, size_t column, size_t lanes, const int rows, const int wide)
{
    size_t key = 0;
    for (; key + (size_t)rows <= PAGE; key += (size_t)rows) chain_queries(p, key, column, lanes, rows, wide);
    if (key < PAGE) chain_queries(p, key, column, lanes, PAGE % rows, wide);
}

static void gradient_page(const PageGradient *p)
{
    size_t hd = p->head_dim, column = 0;
#if defined(RAFT_ISA_avx512)
    for (; column + 4 * LANES <= hd; column += 4 * LANES) gradient_columns(p, column, LANES, 6, 4);
#endif
    for (; column + WIDE * LANES <= hd; column += WIDE * LANES) gradient_columns(p, column, LANES, KEY_ROWS, WIDE);
    for (; WIDE > 1 && column + LANES <= hd; column += LANES) gradient_columns(p, column, LANES, KEY_ROWS, 1);
    if (column < hd) gradient_columns(p, column, hd - column, KEY_ROWS, 1);
}

// dq of up to ROWS queries from i on continues over the keys of the block, which starts at key `first`.
INLINE void query_columns(const Backward *b, size_t i, size_t x, size_t first, size_t end, size_t column, size_t lanes,
    const int wide)
{
    v16 acc[MAX_TILE];
    size_t hd = b->shape->head_dim, keys = i + 1 - first, pages = smaller(pages_of(end - first), ATTENTION_KEY_PAGES);
    const float *ds = b->ds + x * PAGE, *k = b->keys + column;
    float *to = b->dq + i * hd + column;
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++) acc[r * wide + w] = load_up_to(to + (size_t)r * hd + (size_t)w * LANES, lanes);
    for (size_t g = 0; g < pages; g++)
        chain_page(acc, ds + g * ATTENTION_QUERIES * PAGE, k + g * PAGE * hd, hd, g, keys, end - first, lanes, ROWS, wide);
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++) store_up_to(to + (size_t)r * hd + (size_t)w * LANES, acc[r * wide + w], lanes);
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

static size_t backward_tasks(const AttentionSpan *span, const AttentionShape *shape) { return span->queries ? shape->kv_heads : 0; }

void KERNEL(attention_backward)(float *dq, float *dk, float *dv, const float *dout, const float *out, const float *stats,
    const float *q, const AttentionSpan *spans, size_t count, const AttentionShape *s, AttentionScratch scratch)
{
    size_t total = count_tasks(backward_tasks, spans, count, s), group = s->heads / s->kv_heads, hd = s->head_dim;
    size_t threads = total > 1 && worth_threads(spans, count, s) ? scratch.pieces : 1;
    (void)threads;
    OMP(omp parallel num_threads((int)threads) if (threads > 1))
    {
        fp_strict();
        float *mine = scratch.floats + thread_number() * scratch.stride;
        Cursor at = {0};
        OMP(omp for schedule(dynamic))
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
