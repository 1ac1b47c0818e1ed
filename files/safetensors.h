// SPDX-License-Identifier: MIT
/* safetensors.h - reading and writing the safetensors format (8-byte header length, JSON header, tensors).
 *
 *     Safetensors st;
 *     if (safetensors_open(&st, "model.safetensors", &err)) return -1;
 *     const StTensor *t = safetensors_find(&st, "model.norm.weight");
 *     if (safetensors_read_f32(&st, t, values, n, &err)) return -1;     // F32, F16, BF16, F64 are converted; n must match
 *     safetensors_close(&st);
 *
 * The header is checked in full before anything is returned: lengths against the file, offsets in order without gap or
 * overlap, shape times type size against each extent, no duplicate names. The file stays mapped until close.
 */
#ifndef RAFT_FILES_SAFETENSORS_H
#define RAFT_FILES_SAFETENSORS_H

#include "base/os.h"

typedef enum { ST_F32, ST_F16, ST_BF16, ST_F64, ST_I64, ST_I32, ST_U8, ST_BOOL } StType;
typedef struct {
    char *name;
    StType type;
    size_t dims, shape[8]; // at most 8 dimensions
    size_t count;        // product of the shape (1 for a scalar)
    const uint8_t *data; // in the mapped file, little-endian, perhaps unaligned
} StTensor;
typedef struct { OsMap map; char *path; StTensor *tensors; size_t count; } Safetensors; // tensors sorted by the bytes of their names

int safetensors_open(Safetensors *st, const char *path, Err *err);
void safetensors_close(Safetensors *st);
const StTensor *safetensors_find(const Safetensors *st, const char *name); // NULL when absent
const StTensor *safetensors_need(const Safetensors *st, const char *name, Err *err); // absent: an error that lists near names
int safetensors_read_f32(const Safetensors *st, const StTensor *t, float *out, size_t n, Err *err); // wrong n or an integer type: error
int safetensors_read_i64(const Safetensors *st, const StTensor *t, int64_t *out, size_t n, Err *err); // I64 or I32
const char *st_type_name(StType type);                 // "F32"
bool st_type_find(StType *type, const char *name);     // false: no such type
size_t st_type_size(StType type);                      // bytes
float float_from_half(uint16_t bits);
float float_from_bfloat(uint16_t bits);

// Writing: header keys sorted by bytes; data with I64 before F32 before BF16 before U8 (so that every tensor is aligned to its type), each in the
// order of the names; the data starts at a multiple of 8; atomic. The same tensors give the same bytes in any order.
// ST_F32, ST_I64 or ST_U8 (native arrays); ST_BF16: floats, to be rounded to nearest even
typedef struct { const char *name; StType type; size_t dims, shape[8]; const void *data; } StOutput;
int safetensors_write(const char *path, const StOutput *tensors, size_t count, Err *err);
// The data in the order given, floats only, beginning at a multiple of 64: a program that wants them so can use the mapped file as it is.
int safetensors_write_ordered(const char *path, const StOutput *tensors, size_t count, Err *err);

#endif
