// SPDX-License-Identifier: MIT
/* matmul.c - the three forms of a linear layer's product as one gemm with strides, on our own kernels or on BLIS; and the
 * plain triple loop that both are tested against. How a product is cut and packed is in kernels/isa/matmul.c.
 */
#ifdef RAFT_BLIS
#define _POSIX_C_SOURCE 200809L // blis.h needs pthread barriers
#endif
#include "kernels/matmul.h"
#include "kernels/hostmath.h"

#include <assert.h>
#include <string.h>

#ifdef RAFT_BLIS
#if __has_include(<blis/blis.h>)
#include <blis/blis.h>
#else // Debian and its kin
#include <blis.h>
#endif

// The typed interface takes row and column strides, so that no form needs a copy; alpha and beta are its only temporaries.
static void blis_gemm(const Compute *cx, float *c, const float *a, size_t a_row, size_t a_col, const float *b, size_t b_row,
    size_t b_col, size_t m, size_t n, size_t k, bool accumulate)
{
    float one = 1, beta = accumulate;
    bli_thread_set_num_threads((dim_t)cx->threads);
    bli_sgemm(BLIS_NO_TRANSPOSE, BLIS_NO_TRANSPOSE, (dim_t)m, (dim_t)n, (dim_t)k, &one, (float *)(uintptr_t)a, (inc_t)a_row,
        (inc_t)a_col, (float *)(uintptr_t)b, (inc_t)b_row, (inc_t)b_col, &beta, c, (inc_t)n, 1);
}

// bli_init first: asked before it, BLIS looks up a configuration that BLIS_ARCH_TYPE names in a table not filled yet, and aborts.
const char *blis_configuration(void)
{
    bli_init();
    return bli_arch_string(bli_arch_query_id());
}

// By name: which numbers there are depends on BLIS's version.
static bool runs_here(const char *configuration)
{
#if defined(__x86_64__) && defined(__GNUC__)
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!strcmp(configuration, "skx"))
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    return avx2 && (!strcmp(configuration, "haswell") || !strncmp(configuration, "zen", 3));
#else
    (void)configuration;
    return false;
#endif
}

size_t blis_configurations(BlisConfiguration list[BLIS_CONFIGURATIONS])
{
    bli_init();
    int own = (int)bli_arch_query_id();
    size_t found = 0;
    for (int id = 0; id < (int)BLIS_NUM_ARCHS && found < BLIS_CONFIGURATIONS; id++) {
        const char *name = bli_arch_string((arch_t)id);
        if (id == own || runs_here(name)) list[found++] = (BlisConfiguration){name, id};
    }
    return found;
}
#else
static void blis_gemm(const Compute *cx, float *c, const float *a, size_t a_row, size_t a_col, const float *b, size_t b_row,
    size_t b_col, size_t m, size_t n, size_t k, bool accumulate)
{
    (void)cx, (void)c, (void)a, (void)a_row, (void)a_col, (void)b, (void)b_row, (void)b_col, (void)m, (void)n, (void)k, (void)accumulate;
    assert(!"compute_init refuses this backend in a build without it");
}

const char *blis_configuration(void) { return NULL; }
size_t blis_configurations(BlisConfiguration list[BLIS_CONFIGURATIONS]) { return (void)list, 0; }
#endif

static void product(const Compute *cx, float *c, const float *a, size_t a_row, size_t a_col, const float *b, size_t b_row,
    size_t b_col, size_t m, size_t n, size_t k, bool accumulate)
{
    if (cx->backend == MATMUL_BLIS) blis_gemm(cx, c, a, a_row, a_col, b, b_row, b_col, m, n, k, accumulate);
    else cx->k->gemm(c, a, a_row, a_col, b, b_row, b_col, m, n, k, accumulate, &cx->gemm);
}

void matmul_forward(const Compute *cx, float *y, const float *x, const float *w, size_t rows, size_t out, size_t in, bool accumulate)
{
    product(cx, y, x, in, 1, w, 1, in, rows, out, in, accumulate);
}

void matmul_backward_input(const Compute *cx, float *dx, const float *dy, const float *w, size_t rows, size_t out, size_t in, bool accumulate)
{
    product(cx, dx, dy, out, 1, w, in, 1, rows, in, out, accumulate);
}

void matmul_backward_weight(const Compute *cx, float *dw, const float *dy, const float *x, size_t rows, size_t out, size_t in)
{
    product(cx, dw, dy, 1, out, x, in, 1, out, in, rows, true);
}

// BLIS has no layout of its own to keep: its "packed" weights are a copy.
size_t matmul_packed_floats(const Compute *cx, size_t out, size_t in)
{
    return cx->backend == MATMUL_BLIS ? out * in : cx->k->gemm_packed_floats(out, in);
}

void matmul_pack(const Compute *cx, float *packed, const float *w, size_t out, size_t in)
{
    if (cx->backend == MATMUL_BLIS) memcpy(packed, w, out * in * sizeof *w);
    else cx->k->gemm_pack(packed, w, 1, in, out, in);
}

void matmul_forward_packed(const Compute *cx, float *y, const float *x, const float *packed, size_t rows, size_t out, size_t in, bool accumulate)
{
    if (cx->backend == MATMUL_BLIS) blis_gemm(cx, y, x, in, 1, packed, 1, in, rows, out, in, accumulate);
    else cx->k->gemm_packed(y, x, packed, rows, out, in, accumulate, &cx->gemm);
}

size_t matmul_packed_input_floats(const Compute *cx, size_t out, size_t in) { return matmul_packed_floats(cx, in, out); }

void matmul_pack_input(const Compute *cx, float *packed, const float *w, size_t out, size_t in)
{
    if (cx->backend == MATMUL_BLIS) memcpy(packed, w, out * in * sizeof *w);
    else cx->k->gemm_pack(packed, w, in, 1, in, out);
}

void matmul_backward_input_packed(const Compute *cx, float *dx, const float *dy, const float *packed, size_t rows, size_t out, size_t in, bool accumulate)
{
    if (cx->backend == MATMUL_BLIS) blis_gemm(cx, dx, dy, out, 1, packed, in, 1, rows, in, out, accumulate);
    else cx->k->gemm_packed(dx, dy, packed, rows, in, out, accumulate, &cx->gemm);
}

void matmul_reference(float *c, const float *a, size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col,
    size_t m, size_t n, size_t k, bool accumulate)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            float sum = accumulate ? c[i * n + j] : 0.0f;
            for (size_t p = 0; p < k; p++) sum = host_fmaf(a[i * a_row + p * a_col], b[p * b_row + j * b_col], sum);
            c[i * n + j] = sum;
        }
}
