// SPDX-License-Identifier: MIT
/* hostmath.h - double-precision functions for tables, schedules and statistics, from + - * / sqrt and exact conversions only.
 *
 *     double decay = host_pow(0.95, step);      // the same bits on every machine; no libm
 *
 * Not for inner loops: those are in vecmath. Errors are below 2 ulp on the ranges used (tests state the bound).
 */
#ifndef RAFT_KERNELS_HOSTMATH_H
#define RAFT_KERNELS_HOSTMATH_H

double host_exp(double x);
double host_log(double x);          // x > 0; host_log(1) == 0
double host_log1p(double x);
double host_sin(double x);          // |x| <= 2^20
double host_cos(double x);
// x > 0: exp(y log x) with the logarithm in two doubles; for integral 0 <= y <= 64 the running product, half an ulp a factor
double host_pow(double x, double y);
double host_sqrt(double x);         // correctly rounded
float host_fmaf(float a, float b, float c); // correctly rounded fused multiply-add, in software: see simd.h

#endif
