// SPDX-License-Identifier: MIT
/* matmul-internal.h - what matmul's blocks (kernels/isa/matmul.c) know of the register tiles (kernels/isa/tiles.c): how large
 * they are on each instruction set and how one is run; and vectors in which a block of a matrix is transposed.
 */
#ifndef RAFT_KERNELS_MATMUL_INTERNAL_H
#define RAFT_KERNELS_MATMUL_INTERNAL_H

#include "kernels/simd.h"

#include <string.h>

#if defined(RAFT_ISA_plain) || !defined(__GNUC__)
#define UNROLL // a software multiply-add is not worth unrolling
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(__GNUC__)
#define FETCH(p) __builtin_prefetch(p)
#else
#define FETCH(p) (void)(p)
#endif

/* Accumulators fill the registers that the operands leave: 6 x 4 of 32 zmm, 6 x 2 of 16 ymm, 6 x 4 of 32 NEON registers. Wide
 * tiles are better than high ones: a step loads VECTORS vectors of B and broadcasts TILE_ROWS numbers of A, and every instruction
 * that is no multiply-add is one that a core shared with another thread has no time for (docs/PERFORMANCE.md).
 * A tile is at most TILE_ROWS rows of C by one panel of VECTORS * 16 columns; a block of k is as long as lets a panel stay in the
 * first cache or near it, a block of rows as high as lets its part of A fill a quarter of the second. */
#if defined(RAFT_ISA_avx512)
#define VECTORS 4
enum { TILE_ROWS = 6 };
#elif defined(RAFT_ISA_avx2) || defined(RAFT_ISA_neon)
#define VECTORS 1
enum { TILE_ROWS = 6 };
#else
#define VECTORS 1
enum { TILE_ROWS = 4 };
#endif
enum { K_BLOCK = 256, LEAST_ROW_BLOCK = 64, MOST_ROW_BLOCK = 384 };
enum { PANEL = VECTORS * LANES, LINE = 16 /* floats in a cache line */ };

typedef struct {
    float *c;                // [rows, c_row], accumulated, or only written
    const float *a;          // element (i,p) at a[i * a_row + p]; a_row 0: packed, at a[p * rows + i]
    size_t a_row;
    const float *b;          // panels [k][PANEL], b_panel floats apart; the last vector that has a column is whole, with zeros
    size_t c_row, b_panel;
    size_t rows, columns, k; // columns: at most as many panels as gemm_tile_panels() says
    bool accumulate;
    const float *next_b;     // what to fetch early: a stretch of the next panel,
    float *next_c;           // and C of the next tile
} Tile;

void KERNEL(gemm_tile)(const Tile *tile);
size_t KERNEL(gemm_tile_panels)(size_t rows); // panels that one tile takes side by side: several when it has few rows
size_t KERNEL(gemm_tile_stretch)(size_t k);   // floats of next_b that one tile fetches

// A strip is a product with so few rows of A that packing B would cost as much: both are read where they are.
enum { STRIP_ROWS = 8 };
typedef struct {
    float *c;                // [rows, c_row]
    const float *a, *b;      // rows of A and columns of B are contiguous, a_row and b_col floats apart
    size_t c_row, a_row, b_col, rows, columns, k; // columns: a multiple of LANES
    bool accumulate;
} Strip;

void KERNEL(gemm_strip)(const Strip *strip);

// ---- eight lanes -------------------------------------------------------------------------------------------------------

#if defined(RAFT_ISA_avx512) || defined(RAFT_ISA_avx2)
typedef __m256 v8;
static inline v8 v8_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void v8_store(float *p, v8 x) { _mm256_storeu_ps(p, x); }
static inline v8 v8_set(float x) { return _mm256_set1_ps(x); }
static inline v8 v8_fma(v8 x, v8 y, v8 z) { return _mm256_fmadd_ps(x, y, z); }

// Of four registers that hold rows, in each four lanes: to[j] holds element j of them.
#define TRANSPOSE_QUADS(name, vector, size) \
    static inline void name(vector to[4], vector r0, vector r1, vector r2, vector r3) \
    { \
        vector a = size##_unpacklo_ps(r0, r1), b = size##_unpackhi_ps(r0, r1), c = size##_unpacklo_ps(r2, r3), d = size##_unpackhi_ps(r2, r3); \
        to[0] = size##_shuffle_ps(a, c, _MM_SHUFFLE(1, 0, 1, 0)); \
        to[1] = size##_shuffle_ps(a, c, _MM_SHUFFLE(3, 2, 3, 2)); \
        to[2] = size##_shuffle_ps(b, d, _MM_SHUFFLE(1, 0, 1, 0)); \
        to[3] = size##_shuffle_ps(b, d, _MM_SHUFFLE(3, 2, 3, 2)); \
    }
TRANSPOSE_QUADS(v8_transpose_quads, v8, _mm256)

// to[j] = column j of eight rows: rows i and i + 4 share a register from the start.
static inline void v8_transpose_4(v8 to[4], const float *from, size_t row)
{
#define PAIR(i) _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from + (i) * row)), _mm_loadu_ps(from + ((i) + 4) * row), 1)
    v8_transpose_quads(to, PAIR(0), PAIR(1), PAIR(2), PAIR(3));
#undef PAIR
}

// The same for eight columns, with fewer instructions than two of the above, but more registers.
static inline void v8_transpose_8(v8 to[8], const float *from, size_t row)
{
    v8 upper[4], lower[4];
    v8_transpose_quads(upper, v8_load(from), v8_load(from + row), v8_load(from + 2 * row), v8_load(from + 3 * row));
    v8_transpose_quads(lower, v8_load(from + 4 * row), v8_load(from + 5 * row), v8_load(from + 6 * row), v8_load(from + 7 * row));
    UNROLL for (size_t j = 0; j < 4; j++) {
        to[j] = _mm256_permute2f128_ps(upper[j], lower[j], 0x20);
        to[j + 4] = _mm256_permute2f128_ps(upper[j], lower[j], 0x31);
    }
}
#else
#if defined(RAFT_ISA_neon)
typedef struct { float32x4_t lo, hi; } v8;
static inline v8 v8_load(const float *p) { return (v8){vld1q_f32(p), vld1q_f32(p + 4)}; }
static inline void v8_store(float *p, v8 x) { vst1q_f32(p, x.lo), vst1q_f32(p + 4, x.hi); }
static inline v8 v8_set(float x) { return (v8){vdupq_n_f32(x), vdupq_n_f32(x)}; }
static inline v8 v8_fma(v8 x, v8 y, v8 z) { return (v8){vfmaq_f32(z.lo, x.lo, y.lo), vfmaq_f32(z.hi, x.hi, y.hi)}; }

static inline void v4_transpose(float32x4_t to[4], const float *from, size_t row)
{
    float32x4x2_t a = vtrnq_f32(vld1q_f32(from), vld1q_f32(from + row)), b = vtrnq_f32(vld1q_f32(from + 2 * row), vld1q_f32(from + 3 * row));
    to[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    to[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    to[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    to[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

static inline void v8_transpose_4(v8 to[4], const float *from, size_t row)
{
    float32x4_t upper[4], lower[4];
    v4_transpose(upper, from, row);
    v4_transpose(lower, from + 4 * row, row);
    UNROLL for (size_t j = 0; j < 4; j++) to[j] = (v8){upper[j], lower[j]};
}
#else
typedef struct { float f[8]; } v8;
static inline v8 v8_load(const float *p) { v8 x; memcpy(&x, p, sizeof x); return x; }
static inline void v8_store(float *p, v8 x) { memcpy(p, &x, sizeof x); }
static inline v8 v8_set(float x) { return (v8){{x, x, x, x, x, x, x, x}}; }
static inline v8 v8_fma(v8 x, v8 y, v8 z)
{
    for (int i = 0; i < 8; i++) z.f[i] = soft_fmaf(x.f[i], y.f[i], z.f[i]);
    return z;
}
static inline void v8_transpose_4(v8 to[4], const float *from, size_t row)
{
    for (size_t j = 0; j < 4; j++)
        for (size_t i = 0; i < 8; i++) to[j].f[i] = from[i * row + j];
}
#endif
static inline void v8_transpose_8(v8 to[8], const float *from, size_t row)
{
    v8_transpose_4(to, from, row);
    v8_transpose_4(to + 4, from + 4, row);
}
#endif

// ---- vectors that are transposed: sixteen lanes with AVX-512, else eight --------------------------------------------------

#if defined(RAFT_ISA_avx512)
typedef v16 vt;
enum { VT_LANES = 16 };
static inline vt vt_load(const float *p) { return v16_load(p); }
static inline void vt_store(float *p, vt x) { v16_store(p, x); }
static inline vt vt_set(float x) { return v16_set(x); }
static inline vt vt_fma(vt x, vt y, vt z) { return v16_fma(x, y, z); }

TRANSPOSE_QUADS(vt_transpose_quads, vt, _mm512)

// to[j] = column j of sixteen rows: rows i, i + 4, i + 8 and i + 12 share a register from the start.
static inline void vt_transpose_4(vt to[4], const float *from, size_t row)
{
    vt r[4];
    UNROLL for (size_t i = 0; i < 4; i++, from += row) {
        r[i] = _mm512_castps128_ps512(_mm_loadu_ps(from));
        r[i] = _mm512_mask_broadcast_f32x4(r[i], 0x00f0, _mm_loadu_ps(from + 4 * row)); // a load under a mask, and no shuffle
        r[i] = _mm512_mask_broadcast_f32x4(r[i], 0x0f00, _mm_loadu_ps(from + 8 * row));
        r[i] = _mm512_mask_broadcast_f32x4(r[i], 0xf000, _mm_loadu_ps(from + 12 * row));
    }
    vt_transpose_quads(to, r[0], r[1], r[2], r[3]);
}

// The same for VT_LANES columns: quads of four rows each, then quads are exchanged between the registers.
static inline void vt_transpose(vt to[VT_LANES], const float *from, size_t row)
{
#define EVEN_QUARTERS(x, y) _mm512_shuffle_f32x4(x, y, _MM_SHUFFLE(2, 0, 2, 0))
#define ODD_QUARTERS(x, y) _mm512_shuffle_f32x4(x, y, _MM_SHUFFLE(3, 1, 3, 1))
    vt quads[4][4]; // [rows 4 i to 4 i + 3][j]: their elements j, j + 4, j + 8, j + 12, a quarter each
    UNROLL for (size_t i = 0; i < 4; i++) {
        const float *at = from + 4 * i * row;
        vt_transpose_quads(quads[i], v16_load(at), v16_load(at + row), v16_load(at + 2 * row), v16_load(at + 3 * row));
    }
    UNROLL for (size_t j = 0; j < 4; j++) {
        vt even[2], odd[2]; // quarters 0 and 2, 1 and 3 of the upper eight rows, of the lower
        UNROLL for (size_t h = 0; h < 2; h++) {
            even[h] = EVEN_QUARTERS(quads[2 * h][j], quads[2 * h + 1][j]);
            odd[h] = ODD_QUARTERS(quads[2 * h][j], quads[2 * h + 1][j]);
        }
        to[j] = EVEN_QUARTERS(even[0], even[1]);
        to[j + 4] = EVEN_QUARTERS(odd[0], odd[1]);
        to[j + 8] = ODD_QUARTERS(even[0], even[1]);
        to[j + 12] = ODD_QUARTERS(odd[0], odd[1]);
    }
#undef EVEN_QUARTERS
#undef ODD_QUARTERS
}
#else
#define vt v8
#define VT_LANES 8
#define vt_load v8_load
#define vt_store v8_store
#define vt_set v8_set
#define vt_fma v8_fma
#define vt_transpose_4 v8_transpose_4
#define vt_transpose v8_transpose_8
#endif

#endif
