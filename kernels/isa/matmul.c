// SPDX-License-Identifier: MIT
/* matmul.c (one instruction set) - matrix products from register tiles: cuts C into blocks for the threads and the caches,
 * packs what the tiles read. Knows neither the tiles' inside (tiles.c) nor the forms Y = X W^T and its gradients
 * (kernels/matmul.c). Start at KERNEL(gemm), then run_share, run_block.
 *
 * B is read from panels [k][PANEL]; columns missing from the last vector are zero: they are computed and never stored. Vectors and
 * threads run across C only, and a later block of k starts from the stored C, so that neither tile, block, number of threads nor
 * packing changes a bit.
 */
#include "kernels/matmul-internal.h"

#include <assert.h>

#ifdef RAFT_OPENMP
#include <omp.h>
#define OMP(directive) _Pragma(#directive)
#else
#define OMP(directive)
#endif

// A thread's buffer holds a block of A, then panels of B of its own.
enum { A_FLOATS = (MOST_ROW_BLOCK + TILE_ROWS) * (K_BLOCK + LINE), B_FLOATS = MATMUL_THREAD_FLOATS - A_FLOATS };
_Static_assert(B_FLOATS >= 4 * K_BLOCK * PANEL, "a thread's buffer is too small");
enum { SERIAL_FLOPS = 30000 }; // below, waking the other threads costs more than the product

static size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }
static size_t min_size(size_t a, size_t b) { return a < b ? a : b; }
static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

// ---- packing ---------------------------------------------------------------------------------------------------------

// Columns first to last - 1 of a panel [k][PANEL], any strides; zeros up to the end of the vector that the last one lies in.
static void pack_any(float *panel, const float *b, size_t b_row, size_t b_col, size_t first, size_t last, size_t k)
{
    size_t end = ceil_div(last, LANES) * LANES;
    for (size_t p = 0; p < k; p++) {
        for (size_t j = first; j < last; j++) panel[p * PANEL + j] = b[p * b_row + j * b_col];
        for (size_t j = last; j < end; j++) panel[p * PANEL + j] = 0;
    }
}

// A panel of columns that are contiguous, a vector of them at a time.
static void pack_transposed(float *panel, const float *b, size_t b_col, size_t columns, size_t k)
{
    size_t p = 0, whole = columns / VT_LANES * VT_LANES;
    for (; p + VT_LANES <= k; p += VT_LANES)
        for (size_t j = 0; j < whole; j += VT_LANES) {
            vt column[VT_LANES];
            vt_transpose(column, b + p + j * b_col, b_col);
            UNROLL for (size_t i = 0; i < VT_LANES; i++) vt_store(panel + (p + i) * PANEL + j, column[i]);
        }
    pack_any(panel + p * PANEL, b + p, 1, b_col, 0, whole, k - p);
    if (columns % LANES) pack_any(panel, b, 1, b_col, whole, columns, k);
}

// Panels panel_stride apart from n columns of B. Where rows of B are contiguous, a few rows at a time are read along them.
static void pack_panels(float *panels, size_t panel_stride, const float *b, size_t b_row, size_t b_col, size_t n, size_t k)
{
    enum { ROWS = 4 };
    size_t whole = n / PANEL * PANEL;
    if (b_row == 1) {
        for (size_t j = 0; j < n; j += PANEL) pack_transposed(panels + j / PANEL * panel_stride, b + j * b_col, b_col, min_size(PANEL, n - j), k);
        return;
    }
    if (b_col != 1) whole = 0;
    for (size_t p = 0; p < k && whole; p += ROWS)
        for (size_t j = 0; j < whole; j += PANEL) {
            const float *from = b + p * b_row + j;
            float *to = panels + j / PANEL * panel_stride + p * PANEL;
            for (size_t i = min_size(ROWS, k - p); i; i--, from += b_row, to += PANEL)
                for (size_t v = 0; v < PANEL; v += LANES) v16_store(to + v, v16_load(from + v));
        }
    for (size_t j = whole; j < n; j += PANEL)
        pack_any(panels + j / PANEL * panel_stride, b + j * b_col, b_row, b_col, 0, min_size(PANEL, n - j), k);
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
    size_t row_block;             // rows of a block, at most about so many
    size_t row_blocks, column_blocks;
} Product;

typedef struct { // a block of C and the block of k that is being added to it
    size_t tile0, tile1, panel0, panel1, k0, k;
    const float *a;               // its rows of A where they lie, or packed tiles one after the other [k][rows of the tile]
} Block;

static size_t tile_row(const Product *g, size_t tile) { return tile * g->height + min_size(tile, g->taller); } // its first row

// Where a block's packed tile begins. A line between two keeps those of equal height out of the same sets of the first cache.
static size_t tile_place(const Product *g, const Block *block, size_t tile)
{
    return (tile_row(g, tile) - tile_row(g, block->tile0)) * block->k + (tile - block->tile0) * LINE;
}

enum { PIECE = 8 }; // numbers of A copied at once
_Static_assert((int)TILE_ROWS <= (int)PIECE, "a piece holds a column of any tile");

// A tile [k][rows] of rows that are contiguous; where fewer than eight of them are left in A, through a copy beside.
static void pack_tile_rows(const Product *g, const Block *block, size_t row, size_t rows, float *to)
{
    const float *a = g->a + row * g->a_row + block->k0;
    float beside[PIECE][PIECE] = {{0}};
    bool inside = row + PIECE <= g->m;
    size_t p = 0;
    for (; p + PIECE <= block->k; p += PIECE) {
        v8 column[PIECE];
        if (inside) v8_transpose_8(column, a + p, g->a_row);
        else {
            for (size_t i = 0; i < rows; i++) memcpy(beside[i], a + i * g->a_row + p, sizeof beside[i]);
            v8_transpose_8(column, beside[0], PIECE);
        }
        UNROLL for (size_t j = 0; j < PIECE; j++) v8_store(to + (p + j) * rows, column[j]); // what is too much is overwritten next
    }
    for (; p < block->k; p++)
        for (size_t i = 0; i < rows; i++) to[p * rows + i] = a[i * g->a_row + p];
}

// All tiles of a block where columns are contiguous: a few are read along at a time, so that every line is read once.
// They are copied in rounded pieces: what is too much lies where the next column goes; the last columns have no room for that.
static void pack_tile_columns(const Product *g, const Block *block, float *to)
{
    enum { COLUMNS = 4 };
    size_t row0 = tile_row(g, block->tile0), room = ceil_div(PIECE, min_size(g->a_col, g->height));
    size_t along = block->k > room ? block->k - room : 0;
    const float *a = g->a + row0 + block->k0 * g->a_col;
    for (size_t p = 0; p < along; p += COLUMNS) {
        const float *from = a + p * g->a_col;
        for (size_t tile = block->tile0; tile < block->tile1; tile++) {
            size_t row = tile_row(g, tile), rows = tile_row(g, tile + 1) - row;
            float *packed = to + tile_place(g, block, tile) + p * rows;
            for (size_t i = 0; i < min_size(COLUMNS, along - p); i++) {
                FETCH(from + (i + 2 * COLUMNS) * g->a_col); // a block's stretch of a column is too short for the machine to foresee the next
                memcpy(packed + i * rows, from + i * g->a_col, PIECE * sizeof *packed);
            }
            from += rows;
        }
    }
    for (size_t tile = block->tile0; tile < block->tile1; tile++) {
        size_t row = tile_row(g, tile), rows = tile_row(g, tile + 1) - row;
        for (size_t p = along; p < block->k; p++)
            for (size_t i = 0; i < rows; i++) to[tile_place(g, block, tile) + p * rows + i] = a[row - row0 + i + p * g->a_col];
    }
}

// Rows that are contiguous need no packing, unless they are so far apart that those of a tile share a set of the first cache.
static bool in_place(const Product *g)
{
    enum { SAME_SET = 4096 / sizeof(float) };
    return g->a_col == 1 && (g->m == 1 || g->a_row % SAME_SET);
}

// What the tiles of a block read of A.
static void prepare_a(const Product *g, Block *block, float *buffer)
{
    block->a = in_place(g) ? g->a + tile_row(g, block->tile0) * g->a_row + block->k0 : buffer;
    if (in_place(g)) return;
    if (g->a_row == 1) pack_tile_columns(g, block, buffer);
    else
        for (size_t tile = block->tile0; tile < block->tile1; tile++) {
            size_t row = tile_row(g, tile);
            pack_tile_rows(g, block, row, tile_row(g, tile + 1) - row, buffer + tile_place(g, block, tile));
        }
}

// One tile of a block, and the panels that it takes at once.
static void run_tile(const Product *g, const Block *block, size_t tile, size_t panel, size_t panels, const float *b, size_t b_panel)
{
    size_t row = tile_row(g, tile), rows = tile_row(g, tile + 1) - row, a_row = in_place(g) ? g->a_row : 0;
    float *c = g->c + row * g->c_row + panel * PANEL;
    const float *a = block->a + (a_row ? (row - tile_row(g, block->tile0)) * a_row : tile_place(g, block, tile));
    Tile t = {c, a, a_row, b, g->c_row, b_panel, rows, min_size(panels * PANEL, g->n - panel * PANEL),
        block->k, g->accumulate || block->k0, b, tile + 1 < block->tile1 ? c + rows * g->c_row : c};
    size_t stretch = KERNEL(gemm_tile_stretch)(block->k); // the tiles over one panel fetch the next together
    if (!g->b && panel + panels < block->panel1)
        t.next_b += panels * b_panel + min_size((tile - block->tile0) * stretch, block->k * PANEL - stretch);
    KERNEL(gemm_tile)(&t);
}

// All panels of a block. B that is not packed is packed here, for this block alone: as much as fits where its rows are
// contiguous and should be read along, else no more than the tiles read at once, which stays in the first cache.
static void run_panels(const Product *g, const Block *block, float *buffer)
{
    bool lone = block->tile1 - block->tile0 == 1;
    size_t at_once = lone ? KERNEL(gemm_tile_panels)(tile_row(g, block->tile1) - tile_row(g, block->tile0)) : 1;
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

// The whole panels of a block with few rows, as strips; what is left of it starts at panel0.
static void run_strips(const Product *g, Block *block)
{
    if (!g->b || g->m > STRIP_ROWS || g->a_col != 1 || g->b_row != 1) return;
    size_t end = min_size(block->panel1, g->n / PANEL), j = block->panel0 * PANEL;
    if (block->panel0 >= end) return;
    KERNEL(gemm_strip)(&(Strip){.c = g->c + j, .a = g->a, .b = g->b + j * g->b_col, .c_row = g->c_row, .a_row = g->a_row, .b_col = g->b_col,
        .rows = g->m, .columns = end * PANEL - j, .k = g->k, .accumulate = g->accumulate});
    block->panel0 = end;
}

// One block of C, all of k. buffer: this thread's A_FLOATS, then B_FLOATS.
static void run_block(const Product *g, size_t number, float *buffer)
{
    size_t rows = number % g->row_blocks, columns = number / g->row_blocks;
    Block block = {.tile0 = rows * g->tiles / g->row_blocks, .tile1 = (rows + 1) * g->tiles / g->row_blocks,
        .panel0 = columns * g->panels / g->column_blocks, .panel1 = (columns + 1) * g->panels / g->column_blocks};
    run_strips(g, &block);
    if (block.panel0 == block.panel1) return;
    size_t k_blocks = ceil_div(g->k, K_BLOCK);
    for (size_t i = 0; i < k_blocks; i++) {
        block.k0 = i * g->k / k_blocks, block.k = (i + 1) * g->k / k_blocks - block.k0;
        prepare_a(g, &block, buffer);
        run_panels(g, &block, buffer + A_FLOATS);
    }
}

// ---- threads ---------------------------------------------------------------------------------------------------------

// Cuts C into tiles, panels and blocks: each fits the caches, and there are a few for each thread, which takes the next when
// it is done. Blocks of rows come first, because the rows of A that a block copies are then copied once.
static void cut(Product *g, size_t threads)
{
    enum { BLOCKS = 4 /* a thread */, FEWEST_ROWS = 64, FEWEST_PANELS = 2 };
    size_t want = threads > 1 ? BLOCKS * threads : 1;
    g->tiles = ceil_div(g->m, TILE_ROWS);
    g->height = g->m / g->tiles, g->taller = g->m % g->tiles;
    g->panels = ceil_div(g->n, PANEL);
    g->row_blocks = ceil_div(g->m, g->row_block);
    if (g->row_blocks > 1) g->row_blocks = max_size(g->row_blocks, min_size(want, g->m / FEWEST_ROWS));
    if (g->row_blocks >= threads) g->row_blocks = ceil_div(g->row_blocks, threads) * threads;
    if (g->a_col != 1) want = threads;
    g->column_blocks = g->row_blocks >= want ? 1 : ceil_div(want, g->row_blocks);
    g->column_blocks = min_size(g->column_blocks, ceil_div(g->panels, FEWEST_PANELS));
}

typedef struct {
    Product product;
    float *buffers, *shared;
    size_t threads, next; // next: the next block that nobody works on
    bool alone;           // called by one thread of a team: what is shared belongs to others, too
} Job;

// All of B into the shared panels; each thread a part. Where rows are contiguous it is cut across k, to read whole rows.
static void pack_shared(const Product *g, float *shared, size_t thread, size_t team)
{
    bool along = g->b_col == 1;
    size_t pieces = along ? ceil_div(g->k, 8) : g->panels, unit = along ? 8 : PANEL, total = along ? g->k : g->n;
    size_t first = thread * pieces / team * unit, end = min_size((thread + 1) * pieces / team * unit, total);
    if (first >= end) return;
    if (along) pack_panels(shared + first * PANEL, g->packed_panel, g->b + first * g->b_row, g->b_row, 1, g->n, end - first);
    else pack_panels(shared + first / PANEL * g->packed_panel, g->packed_panel, g->b + first * g->b_col, g->b_row, g->b_col, end - first, g->k);
}

// A thread's share of a product whose B is packed, or packed by each block for itself.
static void run_blocks(Job *job, const Product *g, float *buffer)
{
    for (size_t blocks = g->row_blocks * g->column_blocks, block;;) {
        OMP(omp atomic capture)
        block = job->next++;
        if (block >= blocks) return;
        run_block(g, block, buffer);
    }
}

// A thread's share of any product. Where several blocks read the same B, all threads first pack it, as much at a time as fits.
static void run_share(Job *job, size_t thread, size_t team)
{
    const Product *g = &job->product;
    float *buffer = job->buffers + thread * MATMUL_THREAD_FLOATS;
    if (!g->b || g->row_blocks == 1 || job->alone) {
        run_blocks(job, g, buffer);
        return;
    }
    enum { LEAST_K = 4 * K_BLOCK };
    size_t k_step = min_size(g->k, max_size(LEAST_K, MATMUL_SHARED_FLOATS / (g->panels * PANEL))); // A is packed once for each n_step
    size_t n_step = MATMUL_SHARED_FLOATS / (k_step * PANEL) * PANEL;
    for (size_t k0 = 0; k0 < g->k; k0 += k_step)
        for (size_t n0 = 0; n0 < g->n; n0 += n_step) {
            Product part = *g;
            part.c += n0, part.a += k0 * g->a_col, part.b += k0 * g->b_row + n0 * g->b_col;
            part.k = min_size(k_step, g->k - k0), part.n = min_size(n_step, g->n - n0);
            part.accumulate = g->accumulate || k0 > 0;
            part.packed_panel = part.k * PANEL;
            cut(&part, job->threads);
            if (k0 || n0) { // nobody may still read the panels, nor look for a block
                OMP(omp barrier)
                if (thread == 0) job->next = 0;
            }
            pack_shared(&part, job->shared, thread, team);
            OMP(omp barrier)
            part.b = NULL, part.packed = job->shared;
            run_blocks(job, &part, buffer);
        }
}

static void run(Product *g, const GemmScratch *scratch)
{
    if (!g->m || !g->n || !g->k) {
        if (!g->accumulate) memset(g->c, 0, g->m * g->n * sizeof *g->c);
        return;
    }
    assert(scratch->count >= MATMUL_SHARED_FLOATS + MATMUL_THREAD_FLOATS && scratch->row_block <= MOST_ROW_BLOCK);
    g->row_block = scratch->row_block;
    size_t room = (scratch->count - MATMUL_SHARED_FLOATS) / MATMUL_THREAD_FLOATS; // threads that have a buffer
    Job job = {.buffers = scratch->floats, .threads = 1, .shared = scratch->floats + room * MATMUL_THREAD_FLOATS};
#ifdef RAFT_OPENMP
    job.alone = omp_in_parallel();
    if (job.alone) {
        assert((size_t)omp_get_thread_num() < room);
        job.buffers += (size_t)omp_get_thread_num() * MATMUL_THREAD_FLOATS;
    } else if (2.0 * (double)g->m * (double)g->n * (double)g->k >= SERIAL_FLOPS) job.threads = room;
#endif
    cut(g, job.threads);
    job.product = *g;
#ifdef RAFT_OPENMP
    if (job.threads > 1) {
#pragma omp parallel num_threads((int)job.threads)
        {
            fp_strict();
            run_share(&job, (size_t)omp_get_thread_num(), (size_t)omp_get_num_threads());
        }
        return;
    }
#endif
    fp_strict();
    run_share(&job, 0, 1);
}

// ---- the table's functions -------------------------------------------------------------------------------------------

void KERNEL(gemm)(float *c, const float *a, size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col,
    size_t m, size_t n, size_t k, bool accumulate, const GemmScratch *scratch)
{
    Product g = {.c = c, .c_row = n, .a = a, .b = b, .a_row = a_row, .a_col = a_col, .b_row = b_row, .b_col = b_col,
        .m = m, .n = n, .k = k, .accumulate = accumulate};
    run(&g, scratch);
}

GemmBlocking KERNEL(gemm_blocking)(size_t second_cache)
{
    size_t rows = (second_cache ? second_cache : USUAL_SECOND_CACHE) / 4 / (K_BLOCK * sizeof(float)) / TILE_ROWS * TILE_ROWS;
    return (GemmBlocking){TILE_ROWS, PANEL, min_size(max_size(rows, LEAST_ROW_BLOCK), MOST_ROW_BLOCK), K_BLOCK};
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
    const GemmScratch *scratch)
{
    Product g = {.c = c, .c_row = n, .a = a, .a_row = k, .a_col = 1, .packed = packed, .packed_panel = k * PANEL,
        .m = m, .n = n, .k = k, .accumulate = accumulate};
    run(&g, scratch);
}
