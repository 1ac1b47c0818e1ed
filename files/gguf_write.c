// SPDX-License-Identifier: MIT
/* gguf_write.c - GGUF files, written. Knows no key by name. Tensors lie in the order given, each at a multiple of 32 bytes. */
#include "files/gguf_write.h"

#include "files/rope_rows.h"

#include <math.h>
#include <string.h>

enum { ALIGNMENT = 32, VALUE_U32 = 4, VALUE_I32 = 5, VALUE_F32 = 6, VALUE_BOOL = 7, VALUE_TEXT = 8, VALUE_ARRAY = 9, Q8_VALUES = 32,
    Q8_BYTES = 34 };

// ---- metadata ---------------------------------------------------------------------------------------------------------------

static int put(Text *out, uint64_t value, size_t size, Err *err)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(value >> (8 * i));
    return text_add(out, err, bytes, size);
}

static int put_string(Text *out, const char *text, size_t length, Err *err)
{
    return put(out, length, 8, err) || text_add(out, err, text, length) ? -1 : 0;
}

static int put_key(GgufWriter *w, const char *key, uint32_t type, Err *err)
{
    w->keys++;
    return put_string(&w->metadata, key, strlen(key), err) || put(&w->metadata, type, 4, err) ? -1 : 0;
}

int gguf_put_text(GgufWriter *w, const char *key, const char *text, size_t length, Err *err)
{
    return put_key(w, key, VALUE_TEXT, err) || put_string(&w->metadata, text, length, err) ? -1 : 0;
}

int gguf_put_u32(GgufWriter *w, const char *key, size_t value, Err *err)
{
    if (value > UINT32_MAX) return w->metadata.failed = true, err_input(err, "key \"%s\": %zu is too large for GGUF", key, value);
    return put_key(w, key, VALUE_U32, err) || put(&w->metadata, value, 4, err) ? -1 : 0;
}

int gguf_put_f32(GgufWriter *w, const char *key, double value, Err *err)
{
    float number = (float)value;
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return put_key(w, key, VALUE_F32, err) || put(&w->metadata, bits, 4, err) ? -1 : 0;
}

int gguf_put_bool(GgufWriter *w, const char *key, bool value, Err *err)
{
    return put_key(w, key, VALUE_BOOL, err) || put(&w->metadata, value, 1, err) ? -1 : 0;
}

int gguf_put_texts(GgufWriter *w, const char *key, const TextView *list, size_t count, Err *err)
{
    if (put_key(w, key, VALUE_ARRAY, err) || put(&w->metadata, VALUE_TEXT, 4, err) || put(&w->metadata, count, 8, err)) return -1;
    for (size_t i = 0; i < count; i++)
        if (put_string(&w->metadata, list[i].bytes, list[i].length, err)) return -1;
    return 0;
}

int gguf_put_i32s(GgufWriter *w, const char *key, const int32_t *list, size_t count, Err *err)
{
    if (put_key(w, key, VALUE_ARRAY, err) || put(&w->metadata, VALUE_I32, 4, err) || put(&w->metadata, count, 8, err)) return -1;
    for (size_t i = 0; i < count; i++)
        if (put(&w->metadata, (uint32_t)list[i], 4, err)) return -1;
    return 0;
}

void gguf_writer_free(GgufWriter *w)
{
    text_free(&w->metadata);
    *w = (GgufWriter){0};
}

// ---- values -------------------------------------------------------------------------------------------------------------------

// To nearest, ties to even; what is too large becomes infinite, which the caller refuses.
static uint16_t half_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    if (magnitude >= 0x47800000) return (uint16_t)(sign | 0x7C00); // 65536 and more
    if (magnitude < 0x38800000) { // below 2^-14: a subnormal half, a multiple of 2^-24
        float scaled;
        memcpy(&scaled, &magnitude, sizeof scaled);
        scaled += 0.5f; // ulp(0.5) is 2^-24: the addition rounds to a multiple of it
        memcpy(&magnitude, &scaled, sizeof magnitude);
        return (uint16_t)(sign | (magnitude - 0x3F000000));
    }
    uint32_t rebased = magnitude - (112u << 23); // from bias 127 to bias 15
    return (uint16_t)(sign | (rebased + 0x0FFF + (rebased >> 13 & 1)) >> 13);
}

static bool is_infinite_half(uint16_t half) { return (half & 0x7C00) == 0x7C00; }

static void put_16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

// One row in the file's form; -1 when a value does not fit. Q8_0 as ggml's reference: d = max |x| / 127, values rounded half away from 0.
static int encode_row(uint8_t *out, const float *x, size_t n, GgufType type)
{
    if (type == GGUF_F32)
        for (size_t i = 0; i < n; i++) {
            uint32_t bits;
            memcpy(&bits, &x[i], sizeof bits);
            for (size_t k = 0; k < 4; k++) out[4 * i + k] = (uint8_t)(bits >> (8 * k));
        }
    if (type == GGUF_F16)
        for (size_t i = 0; i < n; i++) {
            uint16_t half = half_from_float(x[i]);
            if (is_infinite_half(half)) return -1;
            put_16(out + 2 * i, half);
        }
    for (size_t b = 0; type == GGUF_Q8_0 && b < n / Q8_VALUES; b++) {
        const float *block = x + b * Q8_VALUES;
        uint8_t *to = out + b * Q8_BYTES;
        float most = 0;
        for (size_t i = 0; i < Q8_VALUES; i++) {
            float magnitude = block[i] < 0 ? -block[i] : block[i];
            if (magnitude > most) most = magnitude;
        }
        float d = most / 127, inverse = d > 0 ? 1 / d : 0;
        uint16_t half = half_from_float(d);
        if (is_infinite_half(half)) return -1;
        put_16(to, half);
        for (size_t i = 0; i < Q8_VALUES; i++) {
            float scaled = block[i] * inverse;
            to[2 + i] = (uint8_t)(int8_t)(scaled < 0 ? scaled - 0.5f : scaled + 0.5f); // the conversion cuts towards 0
        }
    }
    return 0;
}

static size_t row_bytes(GgufType type,
    size_t cols) { return type == GGUF_F32 ? cols * 4 : type == GGUF_F16 ? cols * 2 : cols / Q8_VALUES * Q8_BYTES; }

static size_t tensor_rows(const GgufOutput *t) { return t->rows ? t->rows : 1; }

static size_t padding(size_t bytes) { return (ALIGNMENT - bytes % ALIGNMENT) % ALIGNMENT; }

static int write_padding(OsWriter *out, size_t written, Err *err)
{
    static const uint8_t zeros[ALIGNMENT] = {0};
    return os_writer_write(out, zeros, padding(written), err);
}

static int write_tensor(OsWriter *out, const GgufOutput *t, uint8_t *row, Err *err)
{
    size_t bytes = row_bytes(t->type, t->cols);
    for (size_t r = 0; r < tensor_rows(t); r++) {
        size_t from = t->head_dim ? rope_row_at_neighbours(r, t->head_dim) : r;
        if (encode_row(row, t->data + from * t->cols, t->cols, t->type))
            return err_input(err, "tensor \"%s\" has values that %s cannot hold", t->name, gguf_type_name(t->type));
        if (os_writer_write(out, row, bytes, err)) return -1;
    }
    return write_padding(out, bytes * tensor_rows(t), err);
}

// ---- the file -----------------------------------------------------------------------------------------------------------------

static int put_list(Text *head, const GgufOutput *outputs, size_t count, size_t *widest, Err *err)
{
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        const GgufOutput *t = &outputs[i];
        size_t bytes = row_bytes(t->type, t->cols);
        if (t->type == GGUF_Q8_0 && t->cols % Q8_VALUES)
            return err_input(err, "tensor \"%s\": rows of %zu values are no whole blocks of Q8_0 (32 values)", t->name, t->cols);
        if (put_string(head, t->name, strlen(t->name), err) || put(head, t->rows ? 2 : 1, 4, err) || put(head, t->cols, 8, err) ||
            (t->rows && put(head, t->rows, 8, err)) || put(head, (uint64_t)t->type, 4, err) || put(head, offset, 8, err))
            return -1;
        if (bytes > *widest) *widest = bytes;
        offset += bytes * tensor_rows(t);
        offset += padding(offset);
    }
    return 0;
}

int gguf_write(const GgufWriter *w, const char *path, const GgufOutput *outputs, size_t count, Err *err)
{
    Text head = {0};
    OsWriter out = {0};
    size_t widest = 0;
    if (w->metadata.failed) return -1;
    int status = text_add(&head, err, "GGUF", 4) || put(&head, 3, 4, err) || put(&head, count, 8, err) || put(&head, w->keys, 8, err) ||
        text_add(&head, err, w->metadata.data, w->metadata.length) || put_list(&head, outputs, count, &widest, err);
    uint8_t *row = status ? NULL : mem_new(err, widest, 1);
    status = !row || os_writer_open(&out, path, err) || os_writer_write(&out, head.data, head.length, err) || write_padding(&out,
        head.length, err);
    for (size_t i = 0; i < count && !status; i++) status = write_tensor(&out, &outputs[i], row, err);
    status = status || os_writer_commit(&out, err);
    os_writer_discard(&out);
    mem_free(row);
    text_free(&head);
    return status ? err_prefix(err, "%s", path) : 0;
}
