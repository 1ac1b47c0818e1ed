// SPDX-License-Identifier: MIT
/* tiles.c (one instruction set) - the innermost loops of matmul: a tile of C stays in registers while p runs over a block of
 * k. Knows nothing of blocks, packing or threads. Each element of C is one chain of multiply-adds over p ascending.
 */
#include "kernels/matmul-internal.h"

/* Compilers keep the accumulators of an unrolled loop in their registers only if the operands are still alive after the
 * multiply-add, and strips walk the rows of A with one index register only if they cannot know that the stride never changes. */
#if defined(__GNUC__) && defined(RAFT_ISA_avx512)
#define KEEP(v) __asm__ volatile("" : : "v"(v))
#define KEEP_STRIP KEEP
#elif defined(__GNUC__) && defined(RAFT_ISA_avx2)
#define KEEP(v) __asm__ volatile("" : : "x"((v).lo), "x"((v).hi))
#define KEEP_STRIP(v) __asm__ volatile("" : : "x"(v))
#else
#define KEEP(v) (void)(v)
#define KEEP_STRIP(v) (void)(v)
#endif
#if defined(__clang__) && defined(RAFT_ISA_plain)
#define INLINED static __attribute__((noinline)) // once for all sizes: software multiply-adds are long
#elif defined(__GNUC__) && defined(RAFT_ISA_plain)
#define INLINED static __attribute__((noinline, noclone))
#elif defined(__GNUC__)
#define INLINED static inline __attribute__((always_inline))
#else
#define INLINED static inline
#endif
#if defined(__GNUC__)
#define OPAQUE(x) __asm__("" : "+r"(x))
#define ORDERED() __asm__ volatile("" : : : "memory")
#define FETCH_FAR(p) __builtin_prefetch(p, 0, 2) // into the second cache: the first is full
#define FETCH_WRITE(p) __builtin_prefetch(p, 1)
#else
#define OPAQUE(x) (void)(x)
#define ORDERED() (void)0
#define FETCH_FAR(p) (void)(p)
#define FETCH_WRITE(p) (void)(p)
#endif
#define EACH(action) UNROLL for (size_t i = 0; i < rows; i++) UNROLL for (size_t v = 0; v < vectors; v++) action

// ---- tiles -----------------------------------------------------------------------------------------------------------

// X(rows, panels side by side): as many independent chains as hide the latency of a multiply-add.
#if defined(RAFT_ISA_avx512)
#define TILE_LIST(X) X(1, 2) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1)
#elif defined(RAFT_ISA_avx2) || defined(RAFT_ISA_neon)
#define TILE_LIST(X) X(1, 4) X(2, 3) X(3, 2) X(4, 1) X(5, 1) X(6, 1)
#else
#define TILE_LIST(X) X(1, 1) X(2, 1) X(3, 1) X(4, 1)
#endif
enum { MAX_PANELS = 4, FETCHED = 6 /* lines of the next panel for each LINE steps of p */ };

// Inlined with the last three constant, so that `sum` is registers and every loop but those over p is gone. Rows of A that are read
// where they lie have an address for three of them: the other two are one and two strides further.
INLINED void tile_run(const Tile *tile, const size_t rows, const size_t vectors, const bool in_place)
{
    const size_t c_row = tile->c_row, b_panel = tile->b_panel;
    const float *a[2] = {tile->a, tile->a + 3 * tile->a_row}, *b = tile->b, *next_b = tile->next_b;
    float *c = tile->c;
    size_t left = tile->k, a_row = tile->a_row;
    v16 sum[TILE_ROWS][MAX_PANELS * VECTORS];
#define STEP(p) do { \
        v16 row[MAX_PANELS * VECTORS]; \
        UNROLL for (size_t v = 0; v < vectors; v++) row[v] = v16_load(b + v / VECTORS * b_panel + (p) * PANEL + v % VECTORS * LANES); \
        UNROLL for (size_t i = 0; i < rows; i++) { \
            if (in_place && i % 3 == 0) OPAQUE(a_row); \
            v16 x = v16_set(in_place ? a[i / 3][i % 3 * a_row + (p)] : a[0][(p) * rows + i]); \
            UNROLL for (size_t v = 0; v < vectors; v++) sum[i][v] = v16_fma(x, row[v], sum[i][v]); \
            KEEP(x); \
        } \
        UNROLL for (size_t v = 0; v < vectors; v++) KEEP(row[v]); \
        ORDERED(); \
    } while (0)
// One row's address after the other, or a compiler works them all out beforehand and has no registers for them.
#define EACH_ROW(first, action) do { \
        float *row = (first); \
        UNROLL for (size_t i = 0; i < rows; i++, row += c_row) { \
            OPAQUE(row); \
            UNROLL for (size_t v = 0; v < vectors; v++) action; \
        } \
    } while (0)
#define ADVANCE(steps) do { \
        a[0] += (steps) * (in_place ? 1 : rows); \
        if (in_place && rows > 3) a[1] += (steps); \
        b += (steps) * PANEL, left -= (steps); \
    } while (0)
    if (tile->accumulate) EACH_ROW(c, sum[i][v] = v16_load(row + v * LANES));
    else EACH(sum[i][v] = v16_zero());
    EACH_ROW(tile->next_c, FETCH_WRITE(row + v * LANES));
    while (left >= LINE) {
        UNROLL for (size_t line = 0; line < FETCHED; line++) FETCH_FAR(next_b + line * LINE);
        next_b += FETCHED * LINE;
        for (size_t quarter = 0; quarter < LINE / 4; quarter++) {
            STEP(0);
            STEP(1);
            STEP(2);
            STEP(3);
            ADVANCE(4);
        }
    }
    while (left) {
        STEP(0);
        ADVANCE(1);
    }
    EACH_ROW(c, v16_store(row + v * LANES, sum[i][v]));
#undef STEP
#undef ADVANCE
#undef EACH_ROW
}

typedef void TileKernel(const Tile *tile);
typedef struct {
    TileKernel *of[2][VECTORS]; // A packed, A in place; of 1, 2, ... vectors: the last panel may hold fewer than the others
    TileKernel *wide[2];        // of `panels` whole panels
    size_t panels;
} TileKernels;

#if VECTORS == 4
#define EACH_WIDTH(X, rows) X(rows, 1) X(rows, 2) X(rows, 3) X(rows, 4)
#else
#define EACH_WIDTH(X, rows) X(rows, 1)
#endif
#define TILE_KERNEL(rows, vectors) \
    static void tile_##rows##x##vectors(const Tile *tile) { tile_run(tile, rows, vectors, false); } \
    static void in_place_##rows##x##vectors(const Tile *tile) { tile_run(tile, rows, vectors, true); }
#define TILE_KERNELS(rows, panels) \
    EACH_WIDTH(TILE_KERNEL, rows) \
    static void wide_##rows(const Tile *tile) { tile_run(tile, rows, VECTORS * panels, false); } \
    static void wide_in_place_##rows(const Tile *tile) { tile_run(tile, rows, VECTORS * panels, true); }
TILE_LIST(TILE_KERNELS)
#define TILE_NAME(rows, vectors) tile_##rows##x##vectors,
#define IN_PLACE_NAME(rows, vectors) in_place_##rows##x##vectors,
#define TILE_ENTRY(rows, panels) {{{EACH_WIDTH(TILE_NAME, rows)}, {EACH_WIDTH(IN_PLACE_NAME, rows)}}, {wide_##rows, wide_in_place_##rows}, panels},
static const TileKernels tile_kernels[TILE_ROWS + 1] = {{{{NULL}}, {NULL}, 0}, TILE_LIST(TILE_ENTRY)};

size_t KERNEL(gemm_tile_panels)(size_t rows) { return tile_kernels[rows].panels; }
size_t KERNEL(gemm_tile_stretch)(size_t k) { return k / LINE * FETCHED * LINE; }

void KERNEL(gemm_tile)(const Tile *tile)
{
    const TileKernels *kernels = &tile_kernels[tile->rows];
    size_t columns = tile->columns, vectors = (columns + LANES - 1) / LANES, in_place = tile->a_row > 0;
    if (columns > PANEL) {
        kernels->wide[in_place](tile);
        return;
    }
    if (columns == vectors * LANES) {
        kernels->of[in_place][vectors - 1](tile);
        return;
    }
    // A vector that reaches beyond the last column: computed in a tile beside, where the rest does no harm.
    float beside[TILE_ROWS * PANEL];
    Tile t = *tile;
    t.c = beside, t.c_row = PANEL;
    for (size_t i = 0; i < tile->rows; i++)
        for (size_t j = 0; j < vectors * LANES; j++) beside[i * PANEL + j] = tile->accumulate && j < columns ? tile->c[i * tile->c_row + j] : 0;
    kernels->of[in_place][vectors - 1](&t);
    for (size_t i = 0; i < tile->rows; i++) memcpy(tile->c + i * tile->c_row, beside + i * PANEL, columns * sizeof *beside);
}

// ---- strips ----------------------------------------------------------------------------------------------------------

// Few rows wait for B: the lines that its columns need soon, or those of the next strip, whose columns are `width` further.
enum { AHEAD = 2 * LINE };
INLINED void fetch_columns(const Strip *s, const float *b, size_t left, bool there, size_t width)
{
    if (!there) return;
    b += left > AHEAD ? AHEAD : width * s->b_col + AHEAD - s->k;
    UNROLL for (size_t i = 0; i < VT_LANES; i++) FETCH(b + i * s->b_col);
}

// `vectors` vectors of columns of C from column j on. Some steps of p are transposed in registers at a time, more of them where a
// line of B fills a vector: loads a power of two apart hinder each other.
INLINED void strip_run(const Strip *s, size_t j, const size_t rows, const size_t vectors)
{
    enum { MOST_VECTORS = 4 };
    const size_t width = vectors * VT_LANES;
    const bool another = j + 2 * width <= s->columns; // the strip after this one
    const size_t c_row = s->c_row, b_col = s->b_col;
    size_t a_row = s->a_row, left = s->k;
    const float *a[(STRIP_ROWS + 2) / 3], *b[MOST_VECTORS];
    float *c = s->c + j;
    vt sum[STRIP_ROWS][MOST_VECTORS];
    UNROLL for (size_t i = 0; i < rows; i += 3) a[i / 3] = s->a + i * a_row;
    UNROLL for (size_t v = 0; v < vectors; v++) b[v] = s->b + (j + v * VT_LANES) * b_col;
    if (s->accumulate) EACH(sum[i][v] = vt_load(c + i * c_row + v * VT_LANES));
    else EACH(sum[i][v] = vt_set(0));
#define STEPS(steps, transpose) \
    for (; left >= steps; left -= steps) { \
        UNROLL for (size_t v = 0; v < vectors; v++) { \
            vt column[steps]; \
            if (rows <= 2 && steps == LINE) fetch_columns(s, b[v], left, left > AHEAD || another, width); \
            transpose(column, b[v], b_col); \
            UNROLL for (size_t p = 0; p < steps; p++) \
                UNROLL for (size_t i = 0; i < rows; i++) { \
                    if (i % 3 == 0) OPAQUE(a_row); \
                    vt x = vt_set(a[i / 3][i % 3 * a_row + p]); \
                    sum[i][v] = vt_fma(x, column[p], sum[i][v]); \
                    KEEP_STRIP(x); \
                } \
            ORDERED(); \
            b[v] += steps; \
        } \
        UNROLL for (size_t i = 0; i < rows; i += 3) a[i / 3] += steps; \
    }
#if defined(RAFT_ISA_avx512)
    STEPS(LINE, vt_transpose)
#endif
    STEPS(4, vt_transpose_4)
#undef STEPS
    for (size_t p = 0; p < left; p++)
        UNROLL for (size_t v = 0; v < vectors; v++) {
            float column[VT_LANES];
            for (size_t i = 0; i < VT_LANES; i++) column[i] = b[v][i * b_col + p];
            UNROLL for (size_t i = 0; i < rows; i++) sum[i][v] = vt_fma(vt_set(a[i / 3][i % 3 * a_row + p]), vt_load(column), sum[i][v]);
        }
    EACH(vt_store(c + i * c_row + v * VT_LANES, sum[i][v]));
}

// X(rows, vectors): as many chains as hide the latency of a multiply-add and leave registers for the transposed columns.
#if defined(RAFT_ISA_avx512)
#define STRIP_LIST(X) X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 1) X(6, 1) X(7, 1) X(8, 1)
#else
#define STRIP_LIST(X) X(1, 4) X(2, 4) X(3, 2) X(4, 2) X(5, 1) X(6, 1) X(7, 1) X(8, 1)
#endif

void KERNEL(gemm_strip)(const Strip *s)
{
    size_t j = 0;
    switch (s->rows) {
#define CASE(rows, vectors) case rows: \
        for (; j + (vectors) * VT_LANES <= s->columns; j += (vectors) * VT_LANES) strip_run(s, j, rows, vectors); \
        for (; j < s->columns; j += VT_LANES) strip_run(s, j, rows, 1); \
        break;
    STRIP_LIST(CASE)
#undef CASE
    }
}
