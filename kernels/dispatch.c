// SPDX-License-Identifier: MIT
/* dispatch.c - what a computation runs on: the instruction sets this build holds and this CPU and system run, the matmul
 * backend, the threads and matmul's scratch. The only place that asks the CPU; does no arithmetic.
 */
#include "kernels/kernels.h"

#include "base/os.h"

#include <stdlib.h>
#include <string.h>

#ifdef RAFT_OPENMP
#include <omp.h>
#endif

#ifndef RAFT_MATMUL_DEFAULT
#define RAFT_MATMUL_DEFAULT "own"
#endif

// The compiler's probe reads CPUID and XGETBV: a set counts only when the system also saves its registers.
size_t kernels_available(const Kernels *list[4])
{
    size_t count = 0;
#ifdef RAFT_HAVE_avx512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")) list[count++] = &kernels_avx512;
#endif
#ifdef RAFT_HAVE_avx2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) list[count++] = &kernels_avx2;
#endif
#ifdef RAFT_HAVE_neon
    list[count++] = &kernels_neon; // part of every aarch64
#endif
    list[count++] = &kernels_plain;
    return count;
}

// An empty variable counts as none: scripts clear one by setting it so.
static const char *setting(const char *given, const char *variable)
{
    if (given) return given;
    const char *value = getenv(variable);
    return value && *value ? value : NULL;
}

static int choose_kernels(const Kernels **chosen, const char *isa, Err *err)
{
    const Kernels *list[4];
    size_t count = kernels_available(list);
    for (size_t i = 0; i < count; i++)
        if (!isa || strcmp(isa, list[i]->isa) == 0) {
            *chosen = list[i];
            return 0;
        }
    char names[80] = "";
    for (size_t i = 0; i < count; i++) {
        if (i) strcat(names, ", ");
        strcat(names, list[i]->isa);
    }
    return err_input(err, "RAFT_ISA: this CPU and build do not have the instruction set \"%s\"; they have: %s", isa, names);
}

static int choose_backend(MatmulBackend *chosen, const char *matmul, Err *err)
{
    if (!matmul) matmul = RAFT_MATMUL_DEFAULT;
    if (strcmp(matmul, "own") == 0) {
        *chosen = MATMUL_OWN;
        return 0;
    }
    if (strcmp(matmul, "blis") != 0) return err_input(err, "RAFT_MATMUL: \"%s\" is not a matmul backend; expected own or blis", matmul);
    if (!blis_configuration()) return err_input(err, "RAFT_MATMUL: blis was asked for, but this build is without it; install BLIS and build with BLIS=1");
    *chosen = MATMUL_BLIS;
    return 0;
}

int compute_init(Compute *cx, const char *isa, const char *matmul, size_t threads, Err *err)
{
    *cx = (Compute){0};
    if (choose_kernels(&cx->k, setting(isa, "RAFT_ISA"), err)) return -1;
    if (choose_backend(&cx->backend, setting(matmul, "RAFT_MATMUL"), err)) return -1;
    cx->threads = 1;
#ifdef RAFT_OPENMP
    if (threads) omp_set_num_threads((int)threads);
    cx->threads = (size_t)omp_get_max_threads();
#endif
    (void)threads;
    cx->gemm = (GemmScratch){.count = cx->threads * MATMUL_THREAD_FLOATS + MATMUL_SHARED_FLOATS,
        .row_block = cx->k->gemm_blocking(os_second_cache_bytes()).row_block};
    cx->gemm.floats = mem_new(err, cx->gemm.count, sizeof *cx->gemm.floats);
    return cx->gemm.floats ? 0 : -1;
}

void compute_rest(const Compute *cx)
{
    (void)cx;
#if defined(RAFT_OPENMP) && (defined(__clang__) ? __clang_major__ >= 9 : __GNUC__ >= 9)
    omp_pause_resource_all(omp_pause_soft);
#endif
}

void compute_free(Compute *cx)
{
    mem_free(cx->gemm.floats);
    *cx = (Compute){0};
}
