// SPDX-License-Identifier: MIT
/* gguf.h - reading and writing GGUF files, versions 2 and 3: metadata by key, tensors by name, their values as floats.
 *
 *     Gguf gguf;
 *     if (gguf_open(&gguf, "model.gguf", &err)) return -1;
 *     size_t layers;
 *     TextView *tokens;
 *     if (gguf_get_size(&gguf, "llama.block_count", &layers, &err)) ...          // absent or of another type: an error
 *     if (gguf_get_texts(&gguf, "tokenizer.ggml.tokens", &tokens, &count, &err)) ...  // mem_free(tokens); the bytes are the file's
 *     const GgufTensor *t = gguf_need_tensor(&gguf, "token_embd.weight", &err);
 *     if (t && gguf_read_f32(&gguf, t, values, t->count, &err)) ...             // quantised types are converted
 *     gguf_close(&gguf);
 *
 * Everything is checked before gguf_open returns: counts and lengths against the file, keys and names for duplicates, every
 * tensor's extent against the file and the other tensors. Format: docs/gguf.md of ggml-org/ggml.
 */
#ifndef RAFT_FILES_GGUF_H
#define RAFT_FILES_GGUF_H

#include "base/os.h"

typedef enum { // ggml's numbers
    GGUF_F32 = 0, GGUF_F16 = 1, GGUF_Q4_0 = 2, GGUF_Q4_1 = 3, GGUF_Q5_0 = 6, GGUF_Q5_1 = 7, GGUF_Q8_0 = 8, GGUF_Q4_K = 12,
    GGUF_Q6_K = 14, GGUF_BF16 = 30
} GgufType;

typedef struct {
    TextView name;
    GgufType type;
    size_t dims, shape[4]; // as in the file: shape[0] counts neighbours, so a [rows,cols] matrix has shape {cols, rows}
    size_t count, bytes;
    const uint8_t *data;   // in the mapped file
} GgufTensor;

typedef struct GgufValue GgufValue; // one key of the metadata, its bytes still in the file
typedef struct {
    OsMap map;
    char *path;
    unsigned version;
    GgufValue *values;     // sorted by key
    size_t value_count;
    GgufTensor *tensors;   // sorted by name
    size_t tensor_count;
} Gguf;

int gguf_open(Gguf *gguf, const char *path, Err *err);
void gguf_close(Gguf *gguf);

// Metadata. A missing key is an error that names it, except in the _or forms; another type always is one.
bool gguf_has(const Gguf *gguf, const char *key);
int gguf_get_text(const Gguf *gguf, const char *key, TextView *value, Err *err);
int gguf_get_size(const Gguf *gguf, const char *key, size_t *value, Err *err); // any integer type, >= 0
int gguf_get_number(const Gguf *gguf, const char *key, double *value, Err *err); // any integer or float type, finite
int gguf_get_text_or(const Gguf *gguf, const char *key, const char *fallback, TextView *value, Err *err);
int gguf_get_size_or(const Gguf *gguf, const char *key, size_t fallback, size_t *value, Err *err);
int gguf_get_number_or(const Gguf *gguf, const char *key, double fallback, double *value, Err *err);
int gguf_get_bool_or(const Gguf *gguf, const char *key, bool fallback, bool *value, Err *err);
// Arrays, owned by the caller (mem_free).
int gguf_get_texts(const Gguf *gguf, const char *key, TextView **list, size_t *count, Err *err);
int gguf_get_numbers(const Gguf *gguf, const char *key, double **list, size_t *count, Err *err); // integers and floats, finite

const GgufTensor *gguf_find_tensor(const Gguf *gguf, const char *name); // NULL when absent
const GgufTensor *gguf_need_tensor(const Gguf *gguf, const char *name, Err *err);
const char *gguf_type_name(GgufType type);
int gguf_read_f32(const Gguf *gguf, const GgufTensor *tensor, float *out, size_t n, Err *err); // n must be the tensor's count

#endif
