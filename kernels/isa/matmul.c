// SPDX-License-Identifier: MIT
/* matmul.c (one instruction set) - matrix products from register tiles. Knows neither models nor the forms Y = X W^T and
 * its gradients: those are in kernels/matmul.c. Start at KERNEL(gemm), then run_block, then the tile kernels.
 *
 * C is cut into tiles of TILE_ROWS x PANEL elements that stay in registers while p runs over a block of k. B is read from
 * panels [k][PANEL] whose missing columns are zero: they are computed and never stored. Vectors and threads run across C
 * only and a later block of k starts from the stored C, so neither tile, block, thread count nor packing changes a bit.
 */
#include "base/os.h"
#include "kernels/simd.h"

#include <assert.h>
#include <string.h>

#ifdef RAFT_OPENMP
#include <omp.h>
#define OMP(directive) _Pragma(#directive)
#else
#define OMP(directive)
#endif
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
/* Compilers keep the accumulators of an unrolled loop in their registers only if the operands are still alive after the
 * multiply-add, and walk A with one index register only if they cannot know that the row stride never changes. */
#if defined __GNUC__ && defined RAFT_ISA_avx512
#define KEEP(v) __asm__ volatile("" : : "v"(v))
#elif defined __GNUC__ && defined RAFT_ISA_avx2
#define KEEP(v) __asm__ volatile("" : : "x"((v).lo), "x"((v).hi))
#else
#define KEEP(v) (void)(v)
#endif
#if defined __GNUC__
#define OPAQUE(integer) __asm__("" : "+r"(integer))
#define ORDERED() __asm__ volatile("" : : : "memory")
#else
#define OPAQUE(integer) (void)(integer)
#define ORDERED() (void)0
#define __builtin_prefetch(...) (void)0
#endif

/* Accumulators fill the registers that two operands leave: 6 x 2 of 16 ymm, 14 x 2 of 32 zmm, 6 x 4 of 32 q.
 * TILE_LIST: X(rows, panels at once): with few rows several panels run side by side, to hide the latency of the multiply-add. */
#if defined RAFT_ISA_avx512
enum { TILE_ROWS = 14, VECTORS = 2, K_BLOCK = 256, ROW_BLOCK = 168 };
#define TILE_LIST(X) X(1, 4) X(2, 4) X(3, 2) X(4, 2) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(9, 1) X(10, 1) X(11, 1) X(12, 1) X(13, 1) X(14, 1)
#elif defined RAFT_ISA_avx2 || defined RAFT_ISA_neon
enum { TILE_ROWS = 6, VECTORS = 1, K_BLOCK = 256, ROW_BLOCK = 144 };
#define TILE_LIST(X) X(1, 4) X(2, 3) X(3, 2) X(4, 1) X(5, 1) X(6, 1)
#else
enum { TILE_ROWS = 4, VECTORS = 1, K_BLOCK = 256, ROW_BLOCK = 128 };
#define TILE_LIST(X) X(1, 1) X(2, 1) X(3, 1) X(4, 1)
#endif
enum { PANEL = VECTORS * LANES, MAX_PANELS = 4 };
enum { A_FLOATS = (ROW_BLOCK + TILE_ROWS) * K_BLOCK, B_FLOATS = MATMUL_THREAD_FLOATS - A_FLOATS };
enum { SHORT_K_BLOCK = 64 };
enum { SERIAL_FLOPS = 30000 }; // below, waking the other threads costs more than the product

// ---- tiles -----------------------------------------------------------------------------------------------------------

typedef struct {
    float *c;            // [rows, c_row], whole panels
    size_t c_row;
    const float *a;      // element (i,p) at a[i * a_row + p], or at a[p * TILE_ROWS + i] in packed tiles
    size_t a_row;
    const float *b;      // panels [k][PANEL], b_panel floats apart
    size_t b_panel;
    size_t k;
    bool accumulate;
    const float *next_a, *next_b, *next_c; // to prefetch: A and C of the next tile, a stretch of the next panel
} Tile;

typedef void TileKernel(const Tile *tile);

enum { LINE = 16 }; // floats in a cache line, and steps over p between two rounds of prefetching

// Inlined with constant rows, vectors and direct, so that `sum` is registers and every loop but those over p is gone.
static inline __attribute__((always_inline)) void tile_run(const Tile *tile, const size_t rows, const size_t vectors, const bool direct)
{
    const size_t c_row = tile->c_row, b_panel = tile->b_panel;
    size_t a_row = tile->a_row, left = tile->k;
    const float *a[(TILE_ROWS + 2) / 3], *b = tile->b, *next_a = tile->next_a, *next_b = tile->next_b;
    float *c = tile->c;
    UNROLL for (size_t i = 0; i < rows; i += 3) a[i / 3] = tile->a + i * a_row;
    v16 sum[TILE_ROWS][MAX_PANELS * VECTORS];
#define EACH(action) UNROLL for (size_t i = 0; i < rows; i++) UNROLL for (size_t v = 0; v < vectors; v++) action
#define STEP(p) do { \
        v16 row[MAX_PANELS * VECTORS]; \
        UNROLL for (size_t v = 0; v < vectors; v++) row[v] = v16_load(b + v / VECTORS * b_panel + (p) * PANEL + v % VECTORS * LANES); \
        UNROLL for (size_t i = 0; i < rows; i++) { \
            if (direct && i % 3 == 0) OPAQUE(a_row); \
            v16 x = v16_set(direct ? a[i / 3][i % 3 * a_row + (p)] : a[0][(p) * TILE_ROWS + i]); \
            UNROLL for (size_t v = 0; v < vectors; v++) sum[i][v] = v16_fma(x, row[v], sum[i][v]); \
            KEEP(x); \
        } \
        UNROLL for (size_t v = 0; v < vectors; v++) KEEP(row[v]); \
        ORDERED(); \
    } while (0)
#define ADVANCE(steps) do { \
        UNROLL for (size_t i = 0; i < rows; i += 3) a[i / 3] += (steps) * (direct ? 1 : TILE_ROWS); \
        b += (steps) * PANEL, left -= (steps); \
    } while (0)
    if (tile->accumulate) EACH(sum[i][v] = v16_load(c + i * c_row + v * LANES));
    else EACH(sum[i][v] = v16_zero());
    UNROLL for (size_t i = 0; i < rows; i++) for (size_t v = 0; v < vectors; v++) __builtin_prefetch(tile->next_c + i * c_row + v * LANES, 1);
    while (left >= LINE) {
        UNROLL for (size_t i = 0; i < rows; i++) __builtin_prefetch(next_a + i * (direct ? a_row : LINE));
        UNROLL for (size_t v = 0; v < 2 * VECTORS; v++) __builtin_prefetch(next_b + v * LINE, 0, 2);
        next_a += LINE * (direct ? 1 : TILE_ROWS), next_b += 2 * VECTORS * LINE;
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
    EACH(v16_store(c + i * c_row + v * LANES, sum[i][v]));
#undef EACH
#undef STEP
#undef ADVANCE
}

#define TILE_KERNELS(rows, panels) \
    static void tile_direct_##rows(const Tile *tile) { tile_run(tile, rows, VECTORS, true); } \
    static void tile_packed_##rows(const Tile *tile) { tile_run(tile, rows, VECTORS, false); } \
    static void tile_wide_##rows(const Tile *tile) { tile_run(tile, rows, VECTORS * panels, true); }
TILE_LIST(TILE_KERNELS)

typedef struct { TileKernel *direct, *packed, *wide; size_t panels; } TileKernels;
static const TileKernels tile_kernels[] = {
    {NULL, NULL, NULL, 0},
#define TILE_ENTRY(rows, panels) {tile_direct_##rows, tile_packed_##rows, tile_wide_##rows, panels},
    TILE_LIST(TILE_ENTRY)
};

// The last panel of C may be narrower than PANEL: it is computed in a full one beside.
static void tile_run_narrow(TileKernel *kernel, const Tile *tile, size_t rows, size_t columns)
{
    float beside[TILE_ROWS * PANEL];
    Tile t = *tile;
    t.c = beside, t.c_row = PANEL;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < PANEL; j++) beside[i * PANEL + j] = tile->accumulate && j < columns ? tile->c[i * tile->c_row + j] : 0;
    kernel(&t);
    for (size_t i = 0; i < rows; i++) memcpy(tile->c + i * tile->c_row, beside + i * PANEL, columns * sizeof *beside);
}

// ---- packing ---------------------------------------------------------------------------------------------------------

static size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }
static size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

// to[j * to_row + i] = from[i * from_row + j] for i, j < 8
static inline void transpose_8x8(float *to, size_t to_row, const float *from, size_t from_row)
{
#if defined RAFT_ISA_avx512 || defined RAFT_ISA_avx2
    for (size_t half = 0; half < 8; half += 4) { // 4 columns: rows i and i + 4 share a register
        const float *x = from + half;
        __m256 r[4];
        UNROLL for (size_t i = 0; i < 4; i++)
            r[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(x + i * from_row)), _mm_loadu_ps(x + (i + 4) * from_row), 1);
        __m256 a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpackhi_ps(r[0], r[1]);
        __m256 c = _mm256_unpacklo_ps(r[2], r[3]), d = _mm256_unpackhi_ps(r[2], r[3]);
        _mm256_storeu_ps(to + (half + 0) * to_row, _mm256_shuffle_ps(a, c, _MM_SHUFFLE(1, 0, 1, 0)));
        _mm256_storeu_ps(to + (half + 1) * to_row, _mm256_shuffle_ps(a, c, _MM_SHUFFLE(3, 2, 3, 2)));
        _mm256_storeu_ps(to + (half + 2) * to_row, _mm256_shuffle_ps(b, d, _MM_SHUFFLE(1, 0, 1, 0)));
        _mm256_storeu_ps(to + (half + 3) * to_row, _mm256_shuffle_ps(b, d, _MM_SHUFFLE(3, 2, 3, 2)));
    }
#elif defined RAFT_ISA_neon
    for (size_t i = 0; i < 8; i += 4)
        for (size_t j = 0; j < 8; j += 4) {
            const float *x = from + i * from_row + j;
            float32x4x2_t a = vtrnq_f32(vld1q_f32(x), vld1q_f32(x + from_row));
            float32x4x2_t b = vtrnq_f32(vld1q_f32(x + 2 * from_row), vld1q_f32(x + 3 * from_row));
            for (size_t t = 0; t < 2; t++) {
                vst1q_f32(to + (j + t) * to_row + i, vcombine_f32(vget_low_f32(a.val[t]), vget_low_f32(b.val[t])));
                vst1q_f32(to + (j + t + 2) * to_row + i, vcombine_f32(vget_high_f32(a.val[t]), vget_high_f32(b.val[t])));
            }
        }
#else
    for (size_t j = 0; j < 8; j++)
        for (size_t i = 0; i < 8; i++) to[j * to_row + i] = from[i * from_row + j];
#endif
}

// One panel: columns of B (at most PANEL) into [k][PANEL], the missing ones zero. next: where the following panel starts.
static void pack_panel(float *panel, const float *b, size_t b_row, size_t b_col, size_t columns, size_t k, const float *next)
{
    size_t p = 0;
    if (columns == PANEL && b_col == 1)
        for (; p < k; p++)
            for (size_t v = 0; v < VECTORS; v++) v16_store(panel + p * PANEL + v * LANES, v16_load(b + p * b_row + v * LANES));
    if (columns == PANEL && b_row == 1)
        for (; p + 8 <= k; p += 8) {
            for (size_t j = p / 8 % 2 * PANEL / 2, i = 0; i < PANEL / 2; i++) __builtin_prefetch(next + p + (j + i) * b_col);
            for (size_t j = 0; j < PANEL; j += 8) transpose_8x8(panel + p * PANEL + j, PANEL, b + p + j * b_col, b_col);
        }
    for (; p < k; p++) {
        for (size_t j = 0; j < columns; j++) panel[p * PANEL + j] = b[p * b_row + j * b_col];
        for (size_t j = columns; j < PANEL; j++) panel[p * PANEL + j] = 0;
    }
}

// Panels panel_stride apart from n columns of B. Where rows of B are contiguous, a few rows at a time are read along them.
static void pack_panels(float *panels, size_t panel_stride, const float *b, size_t b_row, size_t b_col, size_t n, size_t k)
{
    size_t step = b_col == 1 ? 8 : k;
    for (size_t p = 0; p < k; p += step)
        for (size_t j = 0; j < n; j += PANEL) {
            const float *from = b + p * b_row + j * b_col;
            pack_panel(panels + j / PANEL * panel_stride + p * PANEL, from, b_row, b_col, min_size(PANEL, n - j), min_size(step, k - p),
                j + 2 * PANEL <= n ? from + PANEL * b_col : from);
        }
}

// ---- blocks ----------------------------------------------------------------------------------------------------------

typedef struct {
    float *c;                     // [m, c_row]
    size_t c_row;
    const float *a, *b;           // b: NULL when B is packed
    size_t a_row, a_col, b_row, b_col;
    const float *packed;          // panels [k][PANEL], packed_panel floats apart
    size_t packed_panel;
    size_t m, n, k;
    bool accumulate;
    size_t tiles, panels;         // C in tiles of at most TILE_ROWS rows, and panels
    size_t height, taller;        // every tile has `height` rows, the first `taller` of them one more
    size_t row_blocks, column_blocks;
} Product;

typedef struct { // a block of C and the block of k that is being added to it
    size_t tile0, tile1, panel0, panel1, k0, k;
    const float *a;               // what the tiles read: A itself, or this thread's copy
    size_t a_row;                 // floats between its rows; 0: packed tiles [k][TILE_ROWS]
} Block;

static size_t tile_row(const Product *g, size_t tile) { return tile * g->height + min_size(tile, g->taller); } // its first row

// Tiles [k][TILE_ROWS] from an A whose columns are contiguous. Reads along them, so that every line is read once; the row
// after next few is fetched early, because its page is another one.
static void pack_tiles(const Product *g, const Block *block, float *to)
{
    enum { AHEAD = 8 };
    size_t row0 = tile_row(g, block->tile0), row1 = tile_row(g, block->tile1);
    for (size_t p = 0; p < block->k; p++) {
        const float *from = g->a + (block->k0 + p) * g->a_col;
        if (g->a_row == 1 && p + AHEAD < block->k)
            for (size_t row = row0; row < row1; row += LINE) __builtin_prefetch(from + AHEAD * g->a_col + row);
        float *packed = to + p * TILE_ROWS;
        for (size_t tile = block->tile0, row = row0, rows; tile < block->tile1; tile++, row += rows, packed += TILE_ROWS * block->k) {
            rows = g->height + (tile < g->taller);
            if (rows == TILE_ROWS && g->a_row == 1) memcpy(packed, from + row, TILE_ROWS * sizeof *packed);
            else for (size_t i = 0; i < rows; i++) packed[i] = from[(row + i) * g->a_row];
        }
    }
}

// Where the tiles of a block read A. Rows that are far apart are copied together: at strides near a power of two they
// would compete for the same few sets of the caches.
static void prepare_a(const Product *g, Block *block, float *buffer)
{
    if (g->a_col != 1) {
        pack_tiles(g, block, buffer);
        block->a = buffer, block->a_row = 0;
        return;
    }
    size_t row0 = tile_row(g, block->tile0), rows = tile_row(g, block->tile1) - row0;
    block->a = g->a + row0 * g->a_row + block->k0, block->a_row = g->a_row;
    if (g->a_row < 2 * K_BLOCK || rows == 1) return;
    for (size_t i = 0; i < rows; i++) memcpy(buffer + i * block->k, block->a + i * g->a_row, block->k * sizeof *buffer);
    block->a = buffer, block->a_row = block->k;
}

static void run_tile(const Product *g, const Block *block, size_t tile, size_t panel, size_t panels, const float *b, size_t b_panel)
{
    size_t row = tile_row(g, tile), rows = tile_row(g, tile + 1) - row, columns = g->n - panel * PANEL, a_tile, next = 0;
    const float *a = block->a;
    bool direct = block->a_row, last = tile + 1 == block->tile1;
    if (direct) a += (row - tile_row(g, block->tile0)) * block->a_row, a_tile = rows * block->a_row;
    else a += (tile - block->tile0) * TILE_ROWS * block->k, a_tile = TILE_ROWS * block->k;
    Tile t = {g->c + row * g->c_row + panel * PANEL, g->c_row, a, block->a_row, b, b_panel, block->k, g->accumulate || block->k0, NULL, NULL, NULL};
    t.next_a = last ? block->a : a + a_tile;
    t.next_c = last ? t.c : t.c + rows * g->c_row;
    // The tiles of this panel fetch the next one together, each a stretch of it.
    size_t stretch = block->k / LINE * LINE * 2 * VECTORS;
    if (!g->b && panel + panels < block->panel1) next = panels * b_panel + min_size((tile - block->tile0) * stretch, block->k * PANEL - stretch);
    t.next_b = b + next;
    const TileKernels *kernels = &tile_kernels[rows];
    TileKernel *kernel = !direct ? kernels->packed : panels > 1 ? kernels->wide : kernels->direct;
    if (columns >= panels * PANEL) kernel(&t);
    else tile_run_narrow(kernel, &t, rows, columns);
}

// All panels of a block. B that is not packed is packed here, for this block alone: as much as fits where its rows are
// contiguous and should be read along, else no more than the tiles read at once, which stays in the first cache.
static void run_panels(const Product *g, const Block *block, float *buffer)
{
    size_t at_once = block->tile1 - block->tile0 == 1 && block->a_row ? tile_kernels[tile_row(g, block->tile1) - tile_row(g, block->tile0)].panels : 1;
    size_t group = !g->b ? block->panel1 - block->panel0 : g->b_col == 1 ? B_FLOATS / (block->k * PANEL) : at_once;
    for (size_t panel0 = block->panel0; panel0 < block->panel1; panel0 += group) {
        size_t panel1 = min_size(panel0 + group, block->panel1), b_panel = g->b ? block->k * PANEL : g->packed_panel;
        const float *b = g->b ? buffer : g->packed + panel0 * g->packed_panel + block->k0 * PANEL;
        if (g->b) pack_panels(buffer, b_panel, g->b + block->k0 * g->b_row + panel0 * PANEL * g->b_col, g->b_row, g->b_col,
            min_size(panel1 * PANEL, g->n) - panel0 * PANEL, block->k);
        for (size_t panel = panel0, panels; panel < panel1; panel += panels, b += panels * b_panel) {
            panels = panel1 - panel >= at_once && (panel + at_once) * PANEL <= g->n ? at_once : 1;
            for (size_t tile = block->tile0; tile < block->tile1; tile++) run_tile(g, block, tile, panel, panels, b, b_panel);
        }
    }
}

// One block of C, all of k. buffer: this thread's A_FLOATS, then B_FLOATS.
static void run_block(const Product *g, size_t number, float *buffer)
{
    size_t rows = number % g->row_blocks, columns = number / g->row_blocks;
    size_t k_blocks = ceil_div(g->k, g->b && g->tiles == 1 ? SHORT_K_BLOCK : K_BLOCK);
    Block block = {.tile0 = rows * g->tiles / g->row_blocks, .tile1 = (rows + 1) * g->tiles / g->row_blocks,
        .panel0 = columns * g->panels / g->column_blocks, .panel1 = (columns + 1) * g->panels / g->column_blocks};
    for (size_t i = 0; i < k_blocks; i++) {
        block.k0 = i * g->k / k_blocks, block.k = (i + 1) * g->k / k_blocks - block.k0;
        prepare_a(g, &block, buffer);
        run_panels(g, &block, buffer + A_FLOATS);
    }
}

static size_t thread_count(double flops, size_t scratch_floats)
{
    assert(scratch_floats >= MATMUL_SHARED_FLOATS + MATMUL_THREAD_FLOATS);
#ifdef RAFT_OPENMP
    if (flops >= SERIAL_FLOPS && !omp_in_parallel()) return (scratch_floats - MATMUL_SHARED_FLOATS) / MATMUL_THREAD_FLOATS;
#endif
    (void)flops, (void)scratch_floats;
    return 1;
}

static size_t thread_number(void)
{
#ifdef RAFT_OPENMP
    return (size_t)omp_get_thread_num();
#else
    return 0;
#endif
}

// Cuts C into blocks that fit the caches, several for each thread.
static void cut(Product *g, size_t threads)
{
    g->tiles = ceil_div(g->m, TILE_ROWS);
    g->height = g->m / g->tiles, g->taller = g->m % g->tiles;
    g->panels = ceil_div(g->n, PANEL);
    g->row_blocks = ceil_div(g->m, ROW_BLOCK);
    if (g->row_blocks > 1) g->row_blocks = min_size(ceil_div(g->row_blocks, threads) * threads, g->tiles);
    g->column_blocks = g->row_blocks % threads == 0 ? 1 : min_size(g->panels, 2 * threads);
}

static void run_packed(const Product *g, float *buffers, size_t threads)
{
    size_t blocks = g->row_blocks * g->column_blocks;
    OMP(omp parallel num_threads((int)threads) if (threads > 1))
    {
        fp_strict();
        float *buffer = buffers + thread_number() * MATMUL_THREAD_FLOATS;
        OMP(omp for schedule(dynamic) nowait)
        for (size_t block = 0; block < blocks; block++) run_block(g, block, buffer);
    }
    (void)threads;
}

static void pack_shared(float *shared, const Product *g, size_t threads)
{
    bool along = g->b_col == 1; // cut across k, so that each thread reads whole rows
    size_t step = along ? 32 : PANEL, jobs = ceil_div(along ? g->k : g->n, step);
    OMP(omp parallel for num_threads((int)threads) if (threads > 1))
    for (size_t job = 0; job < jobs; job++) {
        size_t first = job * step;
        if (along) pack_panels(shared + first * PANEL, g->packed_panel, g->b + first * g->b_row, g->b_row, 1, g->n, min_size(step, g->k - first));
        else pack_panels(shared + job * g->packed_panel, g->packed_panel, g->b + first * g->b_col, g->b_row, g->b_col, min_size(step, g->n - first), g->k);
    }
    (void)threads;
}

// B into the shared buffer by all threads, as much of it at a time as fits.
static void run_shared(const Product *g, float *shared, float *buffers, size_t threads)
{
    size_t k_step = min_size(g->k, MATMUL_SHARED_FLOATS / PANEL), n_step = MATMUL_SHARED_FLOATS / (k_step * PANEL) * PANEL;
    for (size_t k0 = 0; k0 < g->k; k0 += k_step)
        for (size_t n0 = 0; n0 < g->n; n0 += n_step) {
            Product part = *g;
            part.c += n0, part.a += k0 * g->a_col, part.b += k0 * g->b_row + n0 * g->b_col;
            part.k = min_size(k_step, g->k - k0), part.n = min_size(n_step, g->n - n0);
            part.accumulate = g->accumulate || k0 > 0;
            part.packed_panel = part.k * PANEL;
            cut(&part, threads);
            pack_shared(shared, &part, threads);
            part.b = NULL, part.packed = shared;
            run_packed(&part, buffers, threads);
        }
}

static bool trivial(float *c, size_t m, size_t n, size_t k, bool accumulate)
{
    if (m && n && k) return false;
    if (!accumulate) memset(c, 0, m * n * sizeof *c);
    return true;
}

void KERNEL(gemm)(float *c, const float *a, size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col,
    size_t m, size_t n, size_t k, bool accumulate, float *scratch, size_t scratch_floats)
{
    if (trivial(c, m, n, k, accumulate)) return;
    size_t threads = thread_count(2.0 * (double)m * (double)n * (double)k, scratch_floats);
    Product g = {.c = c, .c_row = n, .a = a, .b = b, .a_row = a_row, .a_col = a_col, .b_row = b_row, .b_col = b_col,
        .m = m, .n = n, .k = k, .accumulate = accumulate};
    cut(&g, threads);
    if (g.row_blocks == 1) run_packed(&g, scratch, threads);
    else run_shared(&g, scratch + threads * MATMUL_THREAD_FLOATS, scratch, threads);
}

size_t KERNEL(gemm_packed_floats)(size_t n, size_t k) { return ceil_div(n, PANEL) * PANEL * k; }

void KERNEL(gemm_pack)(float *packed, const float *b, size_t b_row, size_t b_col, size_t n, size_t k)
{
    size_t panels = ceil_div(n, PANEL);
    OMP(omp parallel for if (n * k > SERIAL_FLOPS))
    for (size_t panel = 0; panel < panels; panel++)
        pack_panels(packed + panel * PANEL * k, PANEL * k, b + panel * PANEL * b_col, b_row, b_col, min_size(PANEL, n - panel * PANEL), k);
}

void KERNEL(gemm_packed)(float *c, const float *a, const float *packed, size_t m, size_t n, size_t k, bool accumulate,
    float *scratch, size_t scratch_floats)
{
    if (trivial(c, m, n, k, accumulate)) return;
    size_t threads = thread_count(2.0 * (double)m * (double)n * (double)k, scratch_floats);
    Product g = {.c = c, .c_row = n, .a = a, .a_row = k, .a_col = 1, .packed = packed, .packed_panel = k * PANEL,
        .m = m, .n = n, .k = k, .accumulate = accumulate};
    cut(&g, threads);
    run_packed(&g, scratch, threads);
}

// ---- the yardstick ---------------------------------------------------------------------------------------------------

enum { CHAINS = TILE_ROWS * VECTORS, CHAIN_LENGTH = 100000 };

// Independent chains, as many as a tile has: nothing but multiply-adds on registers. The volatile operand and the sum keep
// the compiler from computing them elsewhere, or not at all.
static float fma_chains(volatile float *factor)
{
    v16 sum[CHAINS], x = v16_set(*factor), y = v16_set(0.001f);
    for (size_t i = 0; i < CHAINS; i++) sum[i] = v16_set((float)i);
    for (size_t round = 0; round < CHAIN_LENGTH; round++)
        for (size_t i = 0; i < CHAINS; i++) sum[i] = v16_fma(sum[i], x, y);
    for (size_t i = 1; i < CHAINS; i++) sum[0] = v16_add(sum[0], sum[i]);
    return v16_sum(sum[0]);
}

// The best slice of each thread while all are at work for `seconds`: what disturbs a measurement only ever slows it.
double KERNEL(fma_peak_flops)(double seconds)
{
    double peak = 0, start = os_now_s();
    OMP(omp parallel)
    {
        fp_strict();
        volatile float factor = 0.999f, sink;
        double best = 0, now = os_now_s();
        do {
            double before = now;
            sink = fma_chains(&factor);
            now = os_now_s();
            double rate = 2.0 * CHAINS * LANES * CHAIN_LENGTH / (now - before);
            if (rate > best) best = rate;
        } while (now - start < seconds);
        (void)sink;
        OMP(omp atomic)
        peak += best;
    }
    return peak;
}
