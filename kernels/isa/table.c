// SPDX-License-Identifier: MIT
/* table.c (one instruction set) - the functions of this instruction set, gathered for dispatch. Holds no arithmetic. */
#include "kernels/simd.h"

#define TABLE_TEXT_(text) #text
#define TABLE_TEXT(text) TABLE_TEXT_(text)
#define TABLE_ENTRY(type, name, parameters) .name = KERNEL(name),

const Kernels KERNEL(kernels) = {
    .isa = TABLE_TEXT(RAFT_ISA),
    KERNEL_LIST(TABLE_ENTRY)
};
