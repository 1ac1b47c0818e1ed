// SPDX-License-Identifier: MIT
/* kernels.h - the arithmetic: one table of functions, compiled once per instruction set from one source.
 *
 *     Compute cx;
 *     if (compute_init(&cx, NULL, NULL, 0, &err)) return -1;       // reads RAFT_ISA, RAFT_MATMUL, OMP_NUM_THREADS
 *     cx.k->rmsnorm_forward(y, inv_rms, x, weight, rows, dim, 1e-5f);
 *     matmul_forward(&cx, y, x, w, rows, out, in, false);          // matmul.h
 *     compute_free(&cx);
 *
 * Every function obeys the numerics contract (docs/DESIGN.md, section 4): the same bits for any instruction set, number
 * of threads, compiler, and for any batch in which a row sits. Vectors and threads run across outputs, never across a sum.
 * Arrays are row-major float32; R = rows (tokens of a ragged batch, sequence after sequence), D = model width, V =
 * vocabulary, F = feed-forward width. No function allocates. Inputs and outputs do not overlap unless it says so.
 */
#ifndef RAFT_KERNELS_KERNELS_H
#define RAFT_KERNELS_KERNELS_H

#include "base/util.h"

enum { LANES = 16, PAGE = 16, SUM_BLOCK = 4096, CDF_BLOCK = 256 };

/* Keys and values live in pages of 16 positions, in training as in decoding. A page holds, layer after layer and kv head
 * after kv head, K transposed [head_dim][16] and then V [16][head_dim]: 2*16*head_dim floats. Sequences may share pages. */
typedef struct {
    size_t row;          // the sequence's first row in q and out
    size_t queries;      // its rows in this batch (0 is allowed)
    size_t past;         // position of the first of them; keys 0 .. past + i are visible to query i
    float *const *pages; // [ceil((past + queries) / 16)] page bases
} AttentionSpan;

typedef struct {
    size_t heads, kv_heads, head_dim; // heads is a multiple of kv_heads
    size_t q_stride;     // floats between rows of q (and of dq): q may sit inside a wider [R, q|k|v] matrix
    size_t kv_stride;    // the same for k, v, dk, dv rows
    size_t page_offset;  // floats from a page base to this layer's first kv head
    float scale;         // 1/sqrt(head_dim), multiplied onto the finished dot product
} AttentionShape;

// One piece a thread; no more threads take part than there are pieces, whatever OpenMP's number is by then.
typedef struct { float *floats; size_t stride /* attention_scratch_floats() at least */, pieces; } AttentionScratch;

typedef struct { // one AdamW step (Loshchilov & Hutter 2019), coefficients already in float
    float lr, beta1, beta2, eps, weight_decay; // decoupled: w -= lr * weight_decay * w, before the Adam step
    float correction1, correction2;            // 1 - beta^t
    float gradient_scale;                      // clipping: multiplies every gradient element first
} AdamwStep;

typedef struct { size_t tile_rows, tile_columns, row_block, k_block; } GemmBlocking; // what the registers and the caches hold
typedef struct { float *floats; size_t count, row_block; } GemmScratch; // packing buffers, and how many rows of A a block of it has

/* X(return type, name, parameters): the one list that makes the struct, the prototypes and each instruction set's table. */
#define KERNEL_LIST(X) \
    /* element-wise over n */ \
    X(void, exp_array, (float *y, const float *x, size_t n)) /* <= 1 ulp; exp(0) = 1 */ \
    X(void, log_array, (float *y, const float *x, size_t n)) /* <= 1 ulp; log(1) = 0 */ \
    X(void, sigmoid_array, (float *y /* may be x */, const float *x, size_t n)) \
    X(void, add_array, (float *y, const float *x, size_t n)) /* y += x */ \
    X(void, adamw_update, (float *w, float *m, float *v, const float *g, size_t n, const AdamwStep *step)) \
    /* reductions: 16 lanes, element i in lane i mod 16, one fixed tree; long sums by blocks of 4096 added in double */ \
    X(float, max_array, (const float *x, size_t n)) /* n > 0; max(+0,-0) = +0 */ \
    X(double, sum_array, (const float *x, size_t n)) \
    X(double, sum_squares, (const float *x, size_t n)) \
    X(bool, all_finite, (const float *x, size_t n)) \
    /* rows */ \
    X(void, rmsnorm_forward, (float *y /*[R,D]*/, float *inv_rms /*[R] or NULL*/, const float *x /*[R,D]*/, \
        const float *weight /*[D]*/, size_t rows, size_t dim, float eps)) \
    X(void, rmsnorm_backward, (float *dx /*[R,D] accumulated*/, float *dweight /*[D] accumulated, rows ascending; NULL: none*/, \
        const float *dy /*[R,D]*/, const float *x, const float *weight, const float *inv_rms, size_t rows, size_t dim)) \
    X(void, rope_rotate, (float *x /*[R,stride], the first heads*head_dim of a row, in place*/, size_t stride, \
        const float *cosine, const float *sine /*[positions, head_dim/2]*/, const uint32_t *position /*[R]*/, \
        size_t rows, size_t heads, size_t head_dim, bool inverse)) /* rotate-half pairs (i, i + head_dim/2) */ \
    X(void, swiglu_forward, (float *h /*[R,F]*/, const float *gate_up /*[R,2F]: gate | up*/, size_t rows, size_t ff)) \
    X(void, swiglu_backward, (float *dgate_up /*[R,2F], may be gate_up itself*/, const float *dh /*[R,F]*/, \
        const float *gate_up, size_t rows, size_t ff)) \
    X(void, gather_rows, (float *y /*[R,D]*/, const float *table /*[V,D]*/, const uint32_t *ids /*[R]*/, size_t rows, size_t dim)) \
    X(void, scatter_rows, (float *dtable /*[V,D] accumulated, rows ascending*/, const float *dy /*[R,D]*/, \
        const uint32_t *ids, size_t rows, size_t dim)) \
    /* log p(target) per row; with scale also logits := (softmax - onehot) * scale[r]. max, exp, sum_array, log: in that order */ \
    X(void, cross_entropy, (float *logits /*[R,V]*/, float *logprob /*[R]*/, const uint32_t *target /*[R]*/, \
        const float *scale /*[R] or NULL*/, size_t rows, size_t vocab)) \
    X(void, exp_scaled, (float *p /*[n], may be x*/, const float *x, size_t n, float temperature)) /* exp(x/T - max(x/T)) */ \
    X(void, block_sums, (float *sums /*[ceil(n/256)]*/, const float *p, size_t n)) /* lane sums of blocks of CDF_BLOCK */ \
    /* attention */ \
    X(void, attention_store, (const float *k, const float *v /*[R,kv_stride]*/, const AttentionSpan *spans, size_t count, \
        const AttentionShape *shape)) /* rows of this batch into their pages */ \
    X(void, attention_forward, (float *out /*[R,heads*head_dim]*/, float *stats /*[R,heads,2] max and sum; or NULL*/, \
        const float *q /*[R,q_stride]*/, const AttentionSpan *spans, size_t count, const AttentionShape *shape, \
        AttentionScratch scratch)) \
    X(void, attention_backward, (float *dq /*[R,q_stride]*/, float *dk, float *dv /*[R,kv_stride]; all overwritten*/, \
        const float *dout, const float *out /*[R,heads*head_dim]*/, const float *stats, const float *q, \
        const AttentionSpan *spans /*past == 0*/, size_t count, const AttentionShape *shape, AttentionScratch scratch)) \
    /* matmul: the building blocks behind matmul.h */ \
    MATMUL_KERNEL_LIST(X)

/* C[m,n] (+)= A[m,k] * B[k,n] with element (i,p) of A at a[i*a_row + p*a_col] and (p,j) of B at b[p*b_row + j*b_col].
 * Each element of C is one chain of fused multiply-adds over p ascending, starting from C (accumulate) or +0. */
#define MATMUL_KERNEL_LIST(X) \
    X(void, gemm, (float *c, const float *a, size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col, \
        size_t m, size_t n, size_t k, bool accumulate, const GemmScratch *scratch)) \
    X(void, gemm_pack, (float *packed, const float *b, size_t b_row, size_t b_col, size_t n, size_t k)) \
    X(void, gemm_packed, (float *c, const float *a, const float *packed, size_t m, size_t n, size_t k, bool accumulate, \
        const GemmScratch *scratch)) \
    X(size_t, gemm_packed_floats, (size_t n, size_t k)) \
    X(GemmBlocking, gemm_blocking, (size_t second_cache /* bytes; 0: not known, USUAL_SECOND_CACHE is taken */)) \
    X(double, fma_peak_flops, (double seconds)) /* measured: 2 * fused multiply-adds a second, all threads together */ \
    X(double, tile_flops, (double seconds)) /* the same of matmul's register tile over operands in the first cache, on the mean */

typedef struct Kernels {
    const char *isa; // "avx512", "avx2", "neon", "plain"
#define KERNEL_MEMBER(type, name, parameters) type (*name) parameters;
    KERNEL_LIST(KERNEL_MEMBER)
#undef KERNEL_MEMBER
} Kernels;

// The tables, each defined by kernels/isa/table.c; which of them a build holds is known to kernels/dispatch.c alone.
extern const Kernels kernels_avx512, kernels_avx2, kernels_neon, kernels_plain;

typedef enum { MATMUL_OWN, MATMUL_BLIS } MatmulBackend;

enum { USUAL_SECOND_CACHE = 512 * 1024 };
enum { MATMUL_THREAD_FLOATS = 1 << 18, MATMUL_SHARED_FLOATS = 1 << 21 }; // packed blocks of A and B: 1 MB a thread and 8 MB

typedef struct { // what a computation runs on; made once by main, passed down, never changed
    const Kernels *k;
    MatmulBackend backend;
    size_t threads;
    GemmScratch gemm;      // MATMUL_THREAD_FLOATS a thread, then MATMUL_SHARED_FLOATS; one call at a time
    const struct Observer *observer; // who watches (observe.h); NULL: nobody
} Compute;

// isa: NULL reads RAFT_ISA, else the best that the CPU runs; one that it lacks is an error (status 2) that lists what it has.
// matmul: NULL reads RAFT_MATMUL ("own", "blis"). threads: 0 leaves it to OpenMP (OMP_NUM_THREADS).
int compute_init(Compute *cx, const char *isa, const char *matmul, size_t threads, Err *err);
void compute_free(Compute *cx);

size_t kernels_available(const Kernels *list[4]); // instruction sets this CPU runs, best first; "plain" is always the last
size_t attention_scratch_floats(size_t max_keys, size_t head_dim); // what one thread of attention_* needs
// Threads that wait for the next parallel region keep their cores busy; this sends them away until then, where OpenMP can.
void compute_rest(const Compute *cx);

const char *blis_configuration(void); // the configuration BLIS chose ("zen3", "generic"); NULL when built without
// The configurations worth trying on this CPU: their names, and what BLIS_ARCH_TYPE must be to get them. Returns their number.
enum { BLIS_CONFIGURATIONS = 8 };
typedef struct { const char *name; int number; } BlisConfiguration;
size_t blis_configurations(BlisConfiguration list[BLIS_CONFIGURATIONS]);

#endif
