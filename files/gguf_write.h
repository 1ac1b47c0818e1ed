// SPDX-License-Identifier: MIT
/* gguf_write.h - writing a GGUF file, version 3: metadata one by one, then all tensors at once.
 *
 *     GgufWriter w = {0};
 *     gguf_put_text(&w, "general.architecture", "llama", 5, &err);        // the first failure sticks in w.metadata
 *     gguf_put_u32(&w, "llama.block_count", 30, &err);
 *     int status = gguf_write(&w, "out.gguf", outputs, count, &err);       // atomic
 *     gguf_writer_free(&w);
 */
#ifndef RAFT_FILES_GGUF_WRITE_H
#define RAFT_FILES_GGUF_WRITE_H

#include "files/gguf.h"

typedef struct { Text metadata; size_t keys; } GgufWriter;
int gguf_put_text(GgufWriter *w, const char *key, const char *text, size_t length, Err *err);
int gguf_put_u32(GgufWriter *w, const char *key, size_t value, Err *err); // above 2^32 - 1: error
int gguf_put_f32(GgufWriter *w, const char *key, double value, Err *err);
int gguf_put_bool(GgufWriter *w, const char *key, bool value, Err *err);
int gguf_put_texts(GgufWriter *w, const char *key, const TextView *list, size_t count, Err *err);
int gguf_put_i32s(GgufWriter *w, const char *key, const int32_t *list, size_t count, Err *err);

typedef struct {
    const char *name;
    GgufType type;         // GGUF_F32, GGUF_F16 or GGUF_Q8_0
    size_t rows, cols;     // rows 0: a vector of cols
    const float *data;     // [rows,cols]
    size_t head_dim;       // not 0: rows of heads of this size, to be written so that RoPE's pairs are neighbours (rope_rows.h)
} GgufOutput;
int gguf_write(const GgufWriter *w, const char *path, const GgufOutput *outputs, size_t count, Err *err);
void gguf_writer_free(GgufWriter *w);

#endif
