// SPDX-License-Identifier: MIT
/* matmul.h - the one entry for matrix products: Y = X W^T and its two gradients.
 *
 *     matmul_forward(&cx, y, x, w, rows, out, in, false);          // Y[rows,out] = X[rows,in] W[out,in]^T
 *     matmul_backward_input(&cx, dx, dy, w, rows, out, in, true);  // dX[rows,in] += dY[rows,out] W
 *     matmul_backward_weight(&cx, dw, dy, x, rows, out, in);       // dW[out,in]  += dY^T X, rows ascending
 *
 * Every output element is one chain of fused multiply-adds in ascending order of the summed index, starting from what the
 * output holds (accumulate) or from +0: the value of a row does not depend on how many rows there are, and gradients
 * summed over micro-batches have the bits of one big batch. With the BLIS backend only tolerances hold.
 */
#ifndef RAFT_KERNELS_MATMUL_H
#define RAFT_KERNELS_MATMUL_H

#include "kernels/kernels.h"

void matmul_forward(const Compute *cx, float *y, const float *x, const float *w, size_t rows, size_t out, size_t in, bool accumulate);
void matmul_backward_input(const Compute *cx, float *dx, const float *dy, const float *w, size_t rows, size_t out, size_t in, bool accumulate);
void matmul_backward_weight(const Compute *cx, float *dw, const float *dy, const float *x, size_t rows, size_t out, size_t in);

// Weights that do not change for a while are packed once into the layout that the kernel reads.
size_t matmul_packed_floats(const Compute *cx, size_t out, size_t in);
void matmul_pack(const Compute *cx, float *packed, const float *w, size_t out, size_t in);
void matmul_forward_packed(const Compute *cx, float *y, const float *x, const float *packed, size_t rows, size_t out, size_t in, bool accumulate);

// The same for the gradient of the input, which meets the weights by their other side. Packed products may be called by the threads
// of a parallel region, each for rows of its own: such a call then runs on the calling thread alone.
size_t matmul_packed_input_floats(const Compute *cx, size_t out, size_t in);
void matmul_pack_input(const Compute *cx, float *packed, const float *w, size_t out, size_t in);
void matmul_backward_input_packed(const Compute *cx, float *dx, const float *dy, const float *packed, size_t rows, size_t out, size_t in, bool accumulate);

// The plain triple loop over host_fmaf: what every kernel is tested against, bit for bit.
void matmul_reference(float *c, const float *a, size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col,
    size_t m, size_t n, size_t k, bool accumulate);

#endif
