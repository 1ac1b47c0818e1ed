// SPDX-License-Identifier: MIT
/* recorder.h - named tensors as they come, in the order of computation: written to safetensors files, or hashed only.
 *
 *     Recorder r;
 *     if (recorder_open(&r, "runs/trace", false, &err)) return -1;
 *     recorder_rows(&r, values, rows, cols, stride, "layers.%zu.q", l);      // appends rows to the tensor of that name
 *     if (recorder_end_part(&r, "forward.safetensors", &err)) return -1;     // writes what was recorded, and forgets the values
 *     if (recorder_finish(&r, &err)) return -1;                               // index.jsonl (files/tracefile.h), last
 *     recorder_free(&r);
 *
 * Recording cannot fail: the first failure (memory) is kept and told by recorder_end_part. With only hashes wanted, no value
 * is kept, however large the model.
 */
#ifndef RAFT_STUDY_RECORDER_H
#define RAFT_STUDY_RECORDER_H

#include "files/safetensors.h"

typedef struct {
    char *name;
    StType type;         // ST_F32, ST_I64
    size_t dims, shape[8], count, capacity;
    void *values;        // NULL when only hashed
    uint64_t hash;
} Record;

typedef struct {
    char *folder;        // NULL: no index, parts are paths of their own
    bool hashes_only;
    bool single;         // rows are those of one sequence: [1,rows,cols]
    Text prefix;         // of every name that follows: "step.003."
    Record *records;     // of the part under way, in order of appearance
    size_t count, capacity, last, written; // last: where the previous name was found; written: tensors of finished parts
    Text index;
    Err failure;
} Recorder;

int recorder_open(Recorder *r, const char *folder /* NULL: recorder_end_part takes paths */, bool hashes_only, Err *err);
void recorder_free(Recorder *r);
void recorder_prefix(Recorder *r, const char *format, ...) PRINTF_LIKE(2, 3);
// Appends rows of cols floats, stride apart, to a tensor [rows,cols]; with cols 0, `rows` numbers to a tensor [rows].
void recorder_rows(Recorder *r, const float *values, size_t rows, size_t cols, size_t stride, const char *format, ...) PRINTF_LIKE(6, 7);
void recorder_integer(Recorder *r, size_t value, const char *format, ...) PRINTF_LIKE(3, 4); // appends one to a tensor [n]
// A whole tensor of this shape.
void recorder_tensor(Recorder *r, const float *values, size_t dims, const size_t *shape, const char *format, ...) PRINTF_LIKE(5, 6);
int recorder_end_part(Recorder *r, const char *file, Err *err);
int recorder_finish(Recorder *r, Err *err);

#endif
