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
enum { SERIAL_FLOPS = 30000 }; // below, waking the other threads costs more than the product

// ---- tiles -----------------------------------------------------------------------------------------------------------

typedef struct {
    float *c;            // [rows, c_row]
    size_t c_row;
    const float *a;      // element (i,p) at a[i * a_row + p], or at a[p * TILE_ROWS + i] when a_row is 0
    size_t a_row;
    const float *b;      // panels [k][PANEL], b_panel floats apart
    size_t b_panel;
    size_t k, columns;   // columns of C in the last of the panels
    bool accumulate;
} Tile;

typedef void TileKernel(const Tile *tile);

static inline __attribute__((always_inline)) void tile_run(const Tile *tile, const size_t rows, const size_t panels, const bool direct)
{
    const size_t vectors = panels * VECTORS, c_row = tile->c_row, a_row = tile->a_row, b_panel = tile->b_panel;
    const float *a = tile->a, *b = tile->b;
    float *c = tile->c;
    size_t last = (panels - 1) * PANEL + tile->columns; // columns of C in all panels together
    v16 sum[TILE_ROWS][MAX_PANELS * VECTORS];
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < vectors; v++) {
            size_t left = last > v * LANES ? last - v * LANES : 0;
            sum[i][v] = !tile->accumulate || !left ? v16_zero()
                : left >= LANES ? v16_load(c + i * c_row + v * LANES) : v16_load_n(c + i * c_row + v * LANES, left);
        }
    for (size_t p = tile->k; p; p--) {
        v16 row[MAX_PANELS * VECTORS];
        for (size_t v = 0; v < vectors; v++) row[v] = v16_load(b + v / VECTORS * b_panel + v % VECTORS * LANES);
        for (size_t i = 0; i < rows; i++) {
            v16 x = v16_set(direct ? a[i * a_row] : a[i]);
            for (size_t v = 0; v < vectors; v++) sum[i][v] = v16_fma(x, row[v], sum[i][v]);
        }
        a += direct ? 1 : TILE_ROWS;
        b += PANEL;
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < vectors; v++) {
            size_t left = last > v * LANES ? last - v * LANES : 0;
            if (left >= LANES) v16_store(c + i * c_row + v * LANES, sum[i][v]);
            else if (left) v16_store_n(c + i * c_row + v * LANES, sum[i][v], left);
        }
}

#define TILE_KERNELS(rows, panels) \
    static void tile_direct_##rows(const Tile *tile) { tile_run(tile, rows, 1, true); } \
    static void tile_packed_##rows(const Tile *tile) { tile_run(tile, rows, 1, false); } \
    static void tile_wide_##rows(const Tile *tile) { tile_run(tile, rows, panels, true); }
TILE_LIST(TILE_KERNELS)

typedef struct { TileKernel *direct, *packed, *wide; size_t panels; } TileKernels;
static const TileKernels tile_kernels[] = {
    {NULL, NULL, NULL, 0},
#define TILE_ENTRY(rows, panels) {tile_direct_##rows, tile_packed_##rows, tile_wide_##rows, panels},
    TILE_LIST(TILE_ENTRY)
};

// ---- packing ---------------------------------------------------------------------------------------------------------

// One panel: columns of B (at most PANEL) into [k][PANEL], the missing ones zero.
static void pack_panel(float *panel, const float *b, size_t b_row, size_t b_col, size_t columns, size_t k)
{
    for (size_t p = 0; p < k; p++) {
        for (size_t j = 0; j < columns; j++) panel[p * PANEL + j] = b[p * b_row + j * b_col];
        for (size_t j = columns; j < PANEL; j++) panel[p * PANEL + j] = 0;
    }
}

// One tile's rows of A into [k][TILE_ROWS]; the missing rows are left alone: no kernel reads them.
static void pack_rows(float *packed, const float *a, size_t a_row, size_t a_col, size_t rows, size_t k)
{
    for (size_t p = 0; p < k; p++)
        for (size_t i = 0; i < rows; i++) packed[p * TILE_ROWS + i] = a[i * a_row + p * a_col];
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
    size_t tiles, panels;         // C in tiles of at most TILE_ROWS rows, evenly cut, and panels
    size_t row_blocks, column_blocks;
} Product;

static size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }
static size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

static void run_tile(const Product *g, size_t tile, size_t first_tile, size_t panel, size_t panels, const float *a_packed,
    const float *b, size_t b_panel, size_t k0, size_t k)
{
    size_t row = tile * g->m / g->tiles, rows = (tile + 1) * g->m / g->tiles - row, last = (panel + panels - 1) * PANEL;
    Tile t = {g->c + row * g->c_row + panel * PANEL, g->c_row, NULL, g->a_row, b, b_panel, k, min_size(PANEL, g->n - last),
        g->accumulate || k0 > 0};
    const TileKernels *kernels = &tile_kernels[rows];
    if (a_packed) {
        t.a = a_packed + (tile - first_tile) * TILE_ROWS * k;
        kernels->packed(&t);
    } else {
        t.a = g->a + row * g->a_row + k0;
        (panels > 1 ? kernels->wide : kernels->direct)(&t);
    }
}

// One block of C, all of k. buffer: this thread's A_FLOATS, then B_FLOATS.
static void run_block(const Product *g, size_t block, float *buffer)
{
    size_t row_block = block % g->row_blocks, column_block = block / g->row_blocks;
    size_t tile0 = row_block * g->tiles / g->row_blocks, tile1 = (row_block + 1) * g->tiles / g->row_blocks;
    size_t panel0 = column_block * g->panels / g->column_blocks, panel1 = (column_block + 1) * g->panels / g->column_blocks;
    size_t k_blocks = ceil_div(g->k, K_BLOCK);
    const float *a_packed = g->a_col == 1 ? NULL : buffer;
    size_t side_by_side = g->tiles == 1 && !a_packed ? tile_kernels[g->m].panels : 1;
    for (size_t kb = 0; kb < k_blocks; kb++) {
        size_t k0 = kb * g->k / k_blocks, k = (kb + 1) * g->k / k_blocks - k0;
        for (size_t tile = tile0; a_packed && tile < tile1; tile++) {
            size_t row = tile * g->m / g->tiles, rows = (tile + 1) * g->m / g->tiles - row;
            pack_rows(buffer + (tile - tile0) * TILE_ROWS * k, g->a + row * g->a_row + k0 * g->a_col, g->a_row, g->a_col, rows, k);
        }
        for (size_t panel = panel0, panels; panel < panel1; panel += panels) {
            panels = panel1 - panel >= side_by_side ? side_by_side : 1;
            const float *b = g->packed + panel * g->packed_panel + k0 * PANEL;
            size_t b_panel = g->packed_panel;
            for (size_t i = 0; g->b && i < panels; i++) {
                float *own = buffer + A_FLOATS;
                b = own, b_panel = k * PANEL;
                size_t j = (panel + i) * PANEL;
                pack_panel(own + i * b_panel, g->b + k0 * g->b_row + j * g->b_col, g->b_row, g->b_col, min_size(PANEL, g->n - j), k);
            }
            for (size_t tile = tile0; tile < tile1; tile++) run_tile(g, tile, tile0, panel, panels, a_packed, b, b_panel, k0, k);
        }
    }
}

// How many threads share a product: as many as the scratch has buffers for.
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
            OMP(omp parallel for num_threads((int)threads) if (threads > 1))
            for (size_t panel = 0; panel < part.panels; panel++) {
                size_t j = panel * PANEL;
                pack_panel(shared + panel * part.packed_panel, part.b + j * g->b_col, g->b_row, g->b_col, min_size(PANEL, part.n - j), part.k);
            }
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
    for (size_t panel = 0; panel < panels; panel++) {
        size_t j = panel * PANEL;
        pack_panel(packed + j * k, b + j * b_col, b_row, b_col, min_size(PANEL, n - j), k);
    }
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
