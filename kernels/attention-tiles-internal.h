// SPDX-License-Identifier: MIT
/* attention-tiles-internal.h - what attention's forward and backward pass share: register tiles of fused multiply-add chains, the
 * shape of pages, and tasks dealt out to threads. Knows neither softmax nor gradients.
 *
 * A tile holds `rows` times `wide` vectors of accumulators. Both are constants at every call, so that after inlining the
 * accumulators live in registers.
 */
#ifndef RAFT_KERNELS_ATTENTION_TILES_INTERNAL_H
#define RAFT_KERNELS_ATTENTION_TILES_INTERNAL_H

#include "kernels/attention-internal.h"
#include "kernels/rows-internal.h"

#if defined(RAFT_OPENMP)
#include <omp.h>
#endif

#if defined(__clang__)
#define UNROLL_4 _Pragma("clang loop unroll_count(4)")
#elif defined(__GNUC__)
#define UNROLL_4 _Pragma("GCC unroll 4")
#else
#define UNROLL_4
#endif
#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define INLINE static inline
#define PREFETCH(address) ((void)(address))
#endif

// ROWS queries, or KEY_ROWS keys in the gradients of K and V, times WIDE vectors fill the registers and hide the latency.
#if defined(RAFT_ISA_avx512)
enum { ROWS = 8, WIDE = 2, KEY_ROWS = 8 };
#elif defined(RAFT_ISA_avx2) || defined(RAFT_ISA_neon)
enum { ROWS = 6, WIDE = 1, KEY_ROWS = 6 };
#else
enum { ROWS = 2, WIDE = 1, KEY_ROWS = 2 };
#endif
enum { MAX_WIDE = 4, MAX_TILE = 24 };
_Static_assert((int)ROWS <= (int)ATTENTION_ROWS && ATTENTION_QUERIES % ROWS == 0, "tiles fill their blocks");
_Static_assert(PAGE == LANES, "a vector holds one element of each key of a page");

static inline size_t pages_of(size_t keys) { return blocks_of(keys, PAGE); }
static inline size_t keys_in_page(size_t keys, size_t page) { return keys <= page * PAGE ? 0 : smaller(keys - page * PAGE, PAGE); }
static inline size_t kv_offset(const AttentionShape *shape, size_t kv) { return shape->page_offset + kv * 2 * PAGE * shape->head_dim; }

// acc[r][w] = chain over i < n of a[r][i] * b[w][i][lane], from +0
INLINE void dot_tile(v16 *acc, const float *const *a, const float *const *b, size_t n, const int rows, const int wide)
{
    for (int t = 0; t < rows * wide; t++) acc[t] = v16_zero();
    UNROLL_4 for (size_t i = 0; i < n; i++) {
        v16 column[MAX_WIDE];
        for (int w = 0; w < wide; w++) column[w] = v16_load(b[w] + i * LANES);
        for (int r = 0; r < rows; r++) {
            v16 x = v16_set(a[r][i]);
            for (int w = 0; w < wide; w++) acc[r * wide + w] = v16_fma(x, column[w], acc[r * wide + w]);
        }
    }
}

// acc[r][w] continues with a[r * stride] * b[w][lane] for the rows first <= r < end
INLINE void chain_step(v16 *acc, const float *a, size_t stride, const float *b, size_t lanes, size_t first, size_t end,
    const int rows, const int wide)
{
    v16 column[MAX_WIDE];
    for (int w = 0; w < wide; w++) column[w] = load_up_to(b + w * LANES, lanes);
    for (int r = 0; r < rows; r++) {
        if ((size_t)r < first || (size_t)r >= end) continue;
        v16 x = v16_set(a[(size_t)r * stride]);
        for (int w = 0; w < wide; w++) acc[r * wide + w] = v16_fma(x, column[w], acc[r * wide + w]);
    }
}

/* Continues chains over the keys of one page: row r of p [rows][16] times the value rows b. Row 0 sees `keys` keys in all, row
 * r `r * growth` more, the last row `end`. */
INLINE void chain_page(v16 *acc, const float *p, const float *b, size_t b_row, size_t page, size_t keys, size_t end, size_t lanes,
    const int rows, const int wide)
{
    if (keys >= (page + 1) * PAGE) {
        UNROLL_4 for (size_t j = 0; j < PAGE; j++) chain_step(acc, p + j, PAGE, b + j * b_row, lanes, 0, (size_t)rows, rows, wide);
        return;
    }
    size_t all = keys_in_page(keys, page), any = keys_in_page(end, page), j = 0;
    for (; j < all; j++) chain_step(acc, p + j, PAGE, b + j * b_row, lanes, 0, (size_t)rows, rows, wide);
    for (; j < any; j++) chain_step(acc, p + j, PAGE, b + j * b_row, lanes, page * PAGE + j - keys + 1, (size_t)rows, rows, wide);
}

// to[j][i] = from[i][j] for i < rows, j < columns
static inline void transpose(float *to, size_t to_row, const float *from, size_t from_row, size_t rows, size_t columns)
{
    size_t whole_rows = 0, whole_columns = 0; // what goes by blocks of 4 x 4
#if defined(__SSE__)
    whole_rows = rows - rows % 4, whole_columns = columns - columns % 4;
    for (size_t i = 0; i < whole_rows; i += 4)
        for (size_t j = 0; j < whole_columns; j += 4) {
            const float *x = from + i * from_row + j;
            float *y = to + j * to_row + i;
            __m128 a = _mm_loadu_ps(x), b = _mm_loadu_ps(x + from_row);
            __m128 c = _mm_loadu_ps(x + 2 * from_row), d = _mm_loadu_ps(x + 3 * from_row);
            _MM_TRANSPOSE4_PS(a, b, c, d);
            _mm_storeu_ps(y, a), _mm_storeu_ps(y + to_row, b);
            _mm_storeu_ps(y + 2 * to_row, c), _mm_storeu_ps(y + 3 * to_row, d);
        }
#endif
    for (size_t i = 0; i < rows; i++)
        for (size_t j = i < whole_rows ? whole_columns : 0; j < columns; j++) to[j * to_row + i] = from[i * from_row + j];
}

/* Work is dealt out in numbered tasks; each thread walks the spans with a cursor of its own. */
typedef struct { size_t span, first; } Cursor; // first: number of the span's first task

typedef size_t TaskCount(const AttentionSpan *span, const AttentionShape *shape);

// Moves to the span that holds the task; returns the task's number within the span.
static inline size_t cursor_seek(Cursor *at, size_t task, TaskCount *tasks, const AttentionSpan *spans, const AttentionShape *shape)
{
    if (task < at->first) *at = (Cursor){0};
    for (size_t n; task >= at->first + (n = tasks(spans + at->span, shape)); at->span++) at->first += n;
    return task - at->first;
}

static inline size_t count_tasks(TaskCount *tasks, const AttentionSpan *spans, size_t count, const AttentionShape *shape)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) total += tasks(spans + i, shape);
    return total;
}

// Whether more threads pay: waking them costs as much as this many multiply-adds.
static inline bool worth_threads(const AttentionSpan *spans, size_t count, const AttentionShape *shape)
{
    size_t pairs = 0;
    for (size_t i = 0; i < count; i++) pairs += spans[i].queries * (spans[i].past + spans[i].queries);
    return pairs * shape->heads * shape->head_dim >= (size_t)1 << 18;
}

static inline size_t thread_number(void)
{
#if defined(RAFT_OPENMP)
    return (size_t)omp_get_thread_num();
#else
    return 0;
#endif
}

#endif
