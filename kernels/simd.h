// SPDX-License-Identifier: MIT
/* simd.h - sixteen virtual fp32 lanes, the same on every machine: 1 zmm, 2 ymm, 4 NEON registers, or a loop.
 *
 *     for (size_t i = 0; i < n; i += LANES)                      // y = a*x + y, any n
 *         v16_store_n(y + i, v16_fma(v16_set(a), v16_load_n(x + i, n - i), v16_load_n(y + i, n - i)), n - i);
 *
 * Only operations that IEEE 754 rounds correctly, so each gives the same bits on every instruction set (NaN payloads
 * excepted). Included by the sources in kernels/isa, which are compiled once per instruction set with RAFT_ISA and RAFT_ISA_<isa>
 * defined; KERNEL(name) is the name that the instruction set's table expects. Knows nothing of the kernels themselves.
 *
 * v16 float lanes, v16i 32-bit integer lanes, v16m one truth value a lane. Loads and stores need no alignment; the _n forms
 * touch only the first min(n, 16) elements, and lanes from n up load as +0. Comparisons are false on NaN.
 */
#ifndef RAFT_KERNELS_SIMD_H
#define RAFT_KERNELS_SIMD_H

#include "kernels/kernels.h"
#include "kernels/strict.h"

#define KERNEL_JOIN_(name, isa) name##_##isa
#define KERNEL_JOIN(name, isa) KERNEL_JOIN_(name, isa)
#define KERNEL(name) KERNEL_JOIN(name, RAFT_ISA)
#define KERNEL_PROTOTYPE(type, name, parameters) type KERNEL(name) parameters;
KERNEL_LIST(KERNEL_PROTOTYPE)
#undef KERNEL_PROTOTYPE

#if defined(RAFT_ISA_avx512)
#include "kernels/simd_avx512.h"
#elif defined(RAFT_ISA_avx2)
#include "kernels/simd_avx2.h"
#elif defined(RAFT_ISA_neon)
#include "kernels/simd_neon.h"
#else
#include "kernels/simd_plain.h"
#endif

#ifndef V16_LONG
#define V16_LONG static inline // before functions of many operations
#endif

static inline v16 v16_zero(void) { return v16_set(0.0f); }

// -(a*b) + c rounded once: negation is exact.
static inline v16 v16_fnma(v16 a, v16 b, v16 c) { return v16_fma(v16_neg(a), b, c); }

#endif
