// SPDX-License-Identifier: MIT
/* tracefile.h - a trace on disk, read: named tensors in the order in which they were computed.
 *
 *     TraceFile trace;
 *     if (tracefile_open(&trace, "runs/trace", &err)) return -1;
 *     for (size_t i = 0; i < trace.count; i++) printf("%s\n", trace.tensors[i].name);
 *     tracefile_close(&trace);
 *
 * A path is one of three:
 *   a folder      index.jsonl and the safetensors files that it names (those of `raft trace iteration`)
 *   *.jsonl       such an index alone: names, shapes and hashes, no values
 *   anything else a safetensors file, of this program or another one
 * A line of an index: {"name","file","dtype","shape":[...],"hash"}, in the order of computation; "file" is left out when the
 * values were not kept. The hash is FNV-1a (64 bits, 16 hexadecimal digits) of the tensor's little-endian bytes, started with
 * seed 0 (util.h). Without an index the order follows from the names (trace_order).
 */
#ifndef RAFT_FILES_TRACEFILE_H
#define RAFT_FILES_TRACEFILE_H

#include "files/safetensors.h"

typedef struct {
    char *name;
    StType type;
    size_t dims, shape[8], count;
    const StTensor *values; // NULL: only the hash is known
    bool hashed;
    uint64_t hash;          // what the index says, when hashed
} TraceTensor;

typedef struct { char *name; Safetensors tensors; } TracePart; // a file that the index names
typedef struct {
    char *path;
    bool indexed;
    TraceTensor *tensors;         // [count] in the order of computation
    const TraceTensor **by_name;  // [count]
    size_t count, capacity;
    TracePart *parts;
    size_t part_count;
} TraceFile;

// What is cut, damaged, named twice or at odds with the index is an error (status 2) that names the file, line and tensor.
int tracefile_open(TraceFile *trace, const char *path, Err *err);
void tracefile_close(TraceFile *trace);
const TraceTensor *tracefile_find(const TraceFile *trace, const char *name); // NULL when absent
uint64_t tracefile_hash(const TraceTensor *tensor); // of its values, or the one noted when there are none
// The order of computation of two names that this program gives: start, collect, rank, steps; in a pass embedding, layers 0, 1,
// ... each from norm to output, norm, logits, loss; gradients from the head back; updated parameters. Others: by bytes.
int trace_order(const char *a, const char *b);

#endif
