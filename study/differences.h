// SPDX-License-Identifier: MIT
/* differences.h - two traces side by side, in the order of computation: where they part, and by how much.
 *
 *     Differences d;
 *     if (differences_find(&d, &left, &right, &(DifferenceOptions){.rtol = 1e-5}, &err)) return -1;
 *     if (d.first) printf("%s\n", d.first->left->name);
 *     differences_free(&d);
 *
 * Without a tolerance bits are compared: two zeros of unlike sign differ, equal NaNs do not, and dtype and shape must agree.
 * With one, a and b agree when |a - b| <= atol + rtol * max(|a|, |b|), or both are NaN; floats of any width are compared as
 * values, integers exactly, and dimensions of size 1 do not count in a shape.
 */
#ifndef RAFT_STUDY_DIFFERENCES_H
#define RAFT_STUDY_DIFFERENCES_H

#include "files/tracefile.h"
#include "study/namemap.h"

typedef struct { double rtol, atol; NameMap *map; } DifferenceOptions; // map NULL: the same names

typedef enum {
    SAME_BITS, WITHIN_TOLERANCE, DIFFERENT,
    HASHES_DIFFER, // one side has no values: that they differ is all that can be said
    NOT_COMPARABLE // `trouble` says why
} Verdict;

typedef struct {
    const TraceTensor *left, *right; // NULL: missing there
    char *missing;          // the name that was looked for there
    Verdict verdict;
    char trouble[200];
    size_t unlike;          // values that do not agree (with a tolerance: that exceed it)
    size_t worst;           // of all: the flat index of the largest |a - b|, a NaN or infinity against a number before any
    double largest;         // that |a - b|; infinity for a NaN or infinity against a number
    uint64_t ulps;          // how many floats of the left one's width apart the worst values are; integers: 0
} TensorDifference;

typedef struct {
    TensorDifference *items;
    size_t count, capacity;
    size_t verdicts[NOT_COMPARABLE + 1]; // how many of each
    size_t unmapped;        // tensors of the first trace that no rule of the map fits
    const TensorDifference *first; // that is DIFFERENT or HASHES_DIFFER; NULL: none
    const TensorDifference *trouble; // the first NOT_COMPARABLE one
} Differences;

// An error only where a trace contradicts its own index, or the map is wrong; what cannot be compared is a verdict.
int differences_find(Differences *d, const TraceFile *left, const TraceFile *right, const DifferenceOptions *how, Err *err);
void differences_free(Differences *d);
// "0.25 (3e800000)": value `at` of a tensor, with its bits when it is a float.
typedef struct { char text[64]; } ValueText;
ValueText trace_value(const TraceTensor *tensor, size_t at);
ValueText trace_place(const TraceTensor *tensor, size_t at); // "[1,0,7]"
ValueText trace_shape(const TraceTensor *tensor);            // "[2,3,64]"

#endif
