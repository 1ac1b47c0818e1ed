// SPDX-License-Identifier: MIT
/* safetensors.c - the safetensors format: a length, a JSON header, the tensors' bytes. Knows no tensor by name.
 * Format: https://huggingface.co/docs/safetensors. Start at safetensors_open, which trusts nothing it reads.
 */
#include "files/safetensors.h"

#include "files/jsonl.h"
#include "files/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DIMS = 8, LENGTH_BYTES = 8, ALIGNMENT = 8, ORDERED_ALIGNMENT = 64 };
static const uint64_t longest_header = 100000000; // the limit of the reference implementation

static const struct { const char *name; StType type; size_t size; } types[] = {
    {"F32", ST_F32, 4}, {"F16", ST_F16, 2}, {"BF16", ST_BF16, 2}, {"F64", ST_F64, 8},
    {"I64", ST_I64, 8}, {"I32", ST_I32, 4}, {"U8", ST_U8, 1},     {"BOOL", ST_BOOL, 1},
};
enum { TYPE_COUNT = sizeof types / sizeof *types };

static size_t type_index(StType type)
{
    size_t i = 0;
    while (i + 1 < TYPE_COUNT && types[i].type != type) i++;
    return i;
}

const char *st_type_name(StType type) { return types[type_index(type)].name; }
size_t st_type_size(StType type) { return types[type_index(type)].size; }

bool st_type_find(StType *type, const char *name)
{
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(types[i].name, name)) continue;
        *type = types[i].type;
        return true;
    }
    return false;
}

static uint64_t little_endian(const uint8_t *bytes, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

// ---- reading the header --------------------------------------------------------------------------------------------------

// A whole number of at most `most` inside the header; jansson has already refused what int64 cannot hold.
static int header_number(const json_t *value, uint64_t most, uint64_t *number, const char *what, const char *where, Err *err)
{
    if (!json_is_integer(value)) return err_input(err, "%s: %s: expected a whole number", where, what);
    json_int_t signed_value = json_integer_value(value);
    if (signed_value < 0 || (uint64_t)signed_value > most)
        return err_input(err, "%s: %s: %" JSON_INTEGER_FORMAT " is out of range (0 to %llu)", where, what, signed_value,
            (unsigned long long)most);
    *number = (uint64_t)signed_value;
    return 0;
}

static int parse_type(StTensor *t, const json_t *entry, const char *where, Err *err)
{
    const char *name = "";
    if (json_get_text(entry, "dtype", &name, where, err)) return -1;
    if (st_type_find(&t->type, name)) return 0;
    return err_input(err, "%s: dtype \"%.40s\" is not supported (known: F32, F16, BF16, F64, I64, I32, U8, BOOL)", where, name);
}

static int parse_shape(StTensor *t, const json_t *entry, const char *where, Err *err)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape)) return err_input(err, "%s: key \"shape\": expected an array", where);
    t->dims = json_array_size(shape);
    if (t->dims > MOST_DIMS) return err_input(err, "%s: %zu dimensions; at most %d are supported", where, t->dims, MOST_DIMS);
    t->count = 1;
    for (size_t i = 0; i < t->dims; i++) {
        uint64_t size = 0;
        if (header_number(json_array_get(shape, i), SIZE_MAX / 2, &size, "shape", where, err)) return -1;
        t->shape[i] = (size_t)size;
        if (!size_multiply(t->count, t->shape[i], &t->count))
            return err_input(err, "%s: the product of its shape overflows", where);
    }
    return 0;
}

// Fills everything but the name; the offsets are relative to the buffer behind the header.
static int parse_tensor(StTensor *t, const json_t *entry, const uint8_t *buffer, size_t size, const char *where, Err *err)
{
    static const char *const known[] = {"dtype", "shape", "data_offsets"};
    if (!json_is_object(entry)) return err_input(err, "%s: expected an object with dtype, shape and data_offsets", where);
    for (void *at = json_object_iter((json_t *)(uintptr_t)entry); at; at = json_object_iter_next((json_t *)(uintptr_t)entry, at)) {
        const char *key = json_object_iter_key(at);
        if (strcmp(key, known[0]) && strcmp(key, known[1]) && strcmp(key, known[2]))
            return err_input(err, "%s: unexpected key \"%.60s\"", where, key);
    }
    if (parse_type(t, entry, where, err) || parse_shape(t, entry, where, err)) return -1;
    const json_t *offsets = json_object_get(entry, "data_offsets");
    uint64_t begin = 0, end = 0;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2)
        return err_input(err, "%s: data_offsets: expected two numbers", where);
    if (header_number(json_array_get(offsets, 0), size, &begin, "data_offsets", where, err)) return -1;
    if (header_number(json_array_get(offsets, 1), size, &end, "data_offsets", where, err)) return -1;
    size_t bytes;
    if (!size_multiply(t->count, st_type_size(t->type), &bytes)) return err_input(err, "%s: its size overflows", where);
    if (end < begin || end - begin != bytes)
        return err_input(err, "%s: data_offsets [%llu, %llu] do not fit its shape and dtype, which need %zu bytes", where,
            (unsigned long long)begin, (unsigned long long)end, bytes);
    t->data = buffer + begin;
    return 0;
}

static int check_metadata(const json_t *metadata, const char *path, Err *err)
{
    if (!json_is_object(metadata)) return err_input(err, "%s: __metadata__: expected an object of strings", path);
    json_t *own = (json_t *)(uintptr_t)metadata;
    for (void *at = json_object_iter(own); at; at = json_object_iter_next(own, at))
        if (!json_is_string(json_object_iter_value(at)))
            return err_input(err, "%s: __metadata__: key \"%.60s\": expected a string", path, json_object_iter_key(at));
    return 0;
}

static int parse_entries(Safetensors *st, json_t *header, const uint8_t *buffer, size_t size, Err *err)
{
    char where[700];
    st->tensors = mem_new(err, json_object_size(header), sizeof *st->tensors);
    if (!st->tensors) return -1;
    for (void *at = json_object_iter(header); at; at = json_object_iter_next(header, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *entry = json_object_iter_value(at);
        if (!strcmp(name, "__metadata__")) {
            if (check_metadata(entry, st->path, err)) return -1;
            continue;
        }
        StTensor *t = &st->tensors[st->count];
        snprintf(where, sizeof where, "%.300s: tensor \"%.200s\"", st->path, name);
        if (parse_tensor(t, entry, buffer, size, where, err)) return -1;
        if (!(t->name = mem_copy_text(err, name))) return -1;
        st->count++;
    }
    return 0;
}

static size_t tensor_bytes(const StTensor *t) { return t->count * st_type_size(t->type); }

static int by_place(const void *a, const void *b)
{
    const StTensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    size_t m = tensor_bytes(x), n = tensor_bytes(y); // an empty tensor lies before the one that starts at the same byte
    return m < n ? -1 : m > n;
}

static int by_name(const void *a, const void *b) { return strcmp(((const StTensor *)a)->name, ((const StTensor *)b)->name); }

// Every byte of the buffer belongs to exactly one tensor: nothing can hide in a file or be read twice.
static int check_cover(Safetensors *st, const uint8_t *buffer, size_t size, Err *err)
{
    size_t at = 0;
    if (st->count) qsort(st->tensors, st->count, sizeof *st->tensors, by_place);
    for (size_t i = 0; i < st->count; i++) {
        const StTensor *t = &st->tensors[i];
        size_t begin = (size_t)(t->data - buffer);
        if (begin != at)
            return err_input(err, "%s: tensor \"%.200s\" starts at byte %zu of the data; %s: expected %zu", st->path, t->name,
                begin, begin > at ? "there is a gap before it" : "it overlaps another", at);
        at += tensor_bytes(t);
    }
    if (at != size)
        return err_input(err, "%s: the tensors take %zu bytes, but the file holds %zu bytes of data", st->path, at, size);
    if (st->count) qsort(st->tensors, st->count, sizeof *st->tensors, by_name);
    return 0;
}

static int parse_header(Safetensors *st, Err *err)
{
    const uint8_t *bytes = st->map.data;
    if (st->map.size < LENGTH_BYTES)
        return err_input(
            err, "%s: %zu bytes are too few for a safetensors file (8 for the length of its header)", st->path, st->map.size);
    uint64_t length = little_endian(bytes, LENGTH_BYTES);
    size_t behind = st->map.size - LENGTH_BYTES;
    if (length > behind || length > longest_header)
        return err_input(err, "%s: not a safetensors file, or cut off: a header of %llu bytes in a file of %zu", st->path,
            (unsigned long long)length, st->map.size);
    const char *text = (const char *)bytes + LENGTH_BYTES;
    if (length == 0 || *text != '{') return err_input(err, "%s: byte 8: the header must begin with '{'", st->path);
    json_error_t error = {0};
    json_t *header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!header && !error.text[0]) return err_failed(err, "%s: out of memory while reading the header", st->path);
    if (!header)
        return err_input(err, "%s: header, byte %d: not valid JSON: %s", st->path, error.position + LENGTH_BYTES, error.text);
    const uint8_t *buffer = bytes + LENGTH_BYTES + (size_t)length;
    size_t size = behind - (size_t)length;
    int status = parse_entries(st, header, buffer, size, err) || check_cover(st, buffer, size, err) ? -1 : 0;
    json_decref(header);
    return status;
}

int safetensors_open(Safetensors *st, const char *path, Err *err)
{
    *st = (Safetensors){0};
    if (os_map_file(&st->map, path, err)) return -1;
    st->path = mem_copy_text(err, path);
    if (st->path && !parse_header(st, err)) return 0;
    safetensors_close(st);
    return -1;
}

void safetensors_close(Safetensors *st)
{
    for (size_t i = 0; i < st->count; i++) mem_free(st->tensors[i].name);
    mem_free(st->tensors);
    mem_free(st->path);
    os_unmap(&st->map);
    *st = (Safetensors){0};
}

// ---- finding tensors -----------------------------------------------------------------------------------------------------

const StTensor *safetensors_find(const Safetensors *st, const char *name)
{
    for (size_t low = 0, high = st->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, st->tensors[middle].name);
        if (order == 0) return &st->tensors[middle];
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return NULL;
}

// How alike two names are: what they share at the front and at the back.
static size_t likeness(const char *a, const char *b)
{
    size_t m = strlen(a), n = strlen(b), shorter = m < n ? m : n, front = 0, back = 0;
    while (front < shorter && a[front] == b[front]) front++;
    while (back < shorter - front && a[m - 1 - back] == b[n - 1 - back]) back++;
    return front + back;
}

const StTensor *safetensors_need(const Safetensors *st, const char *name, Err *err)
{
    const StTensor *t = safetensors_find(st, name), *near[3] = {0};
    if (t) return t;
    for (size_t i = 0; i < st->count; i++) {
        const StTensor *candidate = &st->tensors[i];
        for (size_t k = 0; k < 3; k++) {
            if (near[k] && likeness(near[k]->name, name) >= likeness(candidate->name, name)) continue;
            const StTensor *displaced = near[k];
            near[k] = candidate;
            if (!(candidate = displaced)) break;
        }
    }
    err_input(err, "%s: no tensor \"%.150s\" (%zu tensors%s%.100s%s%.100s%s%.100s)", st->path, name, st->count,
        near[0] ? "; the nearest names: " : "", near[0] ? near[0]->name : "", near[1] ? ", " : "", near[1] ? near[1]->name : "",
        near[2] ? ", " : "", near[2] ? near[2]->name : "");
    return NULL;
}

// ---- reading values ------------------------------------------------------------------------------------------------------

static float float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float float_from_bfloat(uint16_t bits) { return float_from_bits((uint32_t)bits << 16); }

float float_from_half(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 0x1F, fraction = bits & 0x3FF;
    if (exponent == 31) return float_from_bits(sign | 0x7F800000 | fraction << 13); // infinity and NaN, its payload kept
    if (exponent) return float_from_bits(sign | (exponent + 112) << 23 | fraction << 13); // 112: from bias 15 to bias 127
    float magnitude = (float)fraction * 0x1p-24f; // subnormal halves are normal floats: exact
    return sign ? -magnitude : magnitude;
}

static int wrong_count(const Safetensors *st, const StTensor *t, size_t n, Err *err)
{
    Text shape = {0};
    for (size_t i = 0; i < t->dims; i++) text_printf(&shape, NULL, "%s%zu", i ? ", " : "", t->shape[i]);
    err_input(
        err, "%s: tensor \"%.200s\": expected %zu values, found shape [%s]", st->path, t->name, n, shape.data ? shape.data : "");
    text_free(&shape);
    return -1;
}

static int read_doubles(const Safetensors *st, const StTensor *t, float *out, Err *err)
{
    for (size_t i = 0; i < t->count; i++) {
        uint64_t bits = little_endian(t->data + 8 * i, 8);
        double value;
        memcpy(&value, &bits, sizeof value);
        out[i] = (float)value;
        if (isfinite(value) && !isfinite(out[i]))
            return err_input(err, "%s: tensor \"%.200s\": value %zu (%g) does not fit a 32-bit float", st->path, t->name, i, value);
    }
    return 0;
}

int safetensors_read_f32(const Safetensors *st, const StTensor *t, float *out, size_t n, Err *err)
{
    if (t->count != n) return wrong_count(st, t, n, err);
    const uint8_t *data = t->data;
    switch (t->type) {
    case ST_F32:
        for (size_t i = 0; i < n; i++) out[i] = float_from_bits((uint32_t)little_endian(data + 4 * i, 4));
        return 0;
    case ST_F16:
        for (size_t i = 0; i < n; i++) out[i] = float_from_half((uint16_t)little_endian(data + 2 * i, 2));
        return 0;
    case ST_BF16:
        for (size_t i = 0; i < n; i++) out[i] = float_from_bfloat((uint16_t)little_endian(data + 2 * i, 2));
        return 0;
    case ST_F64: return read_doubles(st, t, out, err);
    default:
        return err_input(
            err, "%s: tensor \"%.200s\": expected floats, found %s", st->path, t->name, st_type_name(t->type));
    }
}

int safetensors_read_i64(const Safetensors *st, const StTensor *t, int64_t *out, size_t n, Err *err)
{
    if (t->type != ST_I64 && t->type != ST_I32)
        return err_input(
            err, "%s: tensor \"%.200s\": expected I64 or I32, found %s", st->path, t->name, st_type_name(t->type));
    if (t->count != n) return wrong_count(st, t, n, err);
    size_t size = st_type_size(t->type);
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = little_endian(t->data + size * i, size);
        if (size == 4 && bits >> 31) bits |= 0xFFFFFFFF00000000u; // the sign
        memcpy(&out[i], &bits, sizeof bits);
    }
    return 0;
}

// ---- writing -------------------------------------------------------------------------------------------------------------

typedef struct { const StOutput *tensor; size_t count, begin, bytes; } Place;

static int by_output_name(const void *a, const void *b)
{
    return strcmp((*(const Place *)a).tensor->name, (*(const Place *)b).tensor->name);
}

// Wide types first, so that every tensor is aligned to its type without gaps, which the format forbids; then by name.
static int by_output_place(const void *a, const void *b)
{
    size_t m = types[type_index((*(const Place *)a).tensor->type)].size,
           n = types[type_index((*(const Place *)b).tensor->type)].size;
    return m != n ? (m > n ? -1 : 1) : by_output_name(a, b);
}

// Checks every output, gives each its place in the data, leaves the places sorted by name.
static int plan(Place *places, const char *path, const StOutput *tensors, size_t count, bool ordered, Err *err)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const StOutput *t = &tensors[i];
        Place *p = &places[i];
        *p = (Place){.tensor = t, .count = 1};
        if (t->type != ST_F32 && t->type != ST_I64 && t->type != ST_U8 && t->type != ST_BF16)
            return err_input(err, "%s: tensor \"%.200s\": only F32, BF16, I64 and U8 are written", path, t->name);
        if (t->dims > MOST_DIMS) return err_input(err, "%s: tensor \"%.200s\": more than %d dimensions", path, t->name, MOST_DIMS);
        if (!utf8_is_valid(t->name, strlen(t->name)) || !strcmp(t->name, "__metadata__"))
            return err_input(err, "%s: \"%.200s\" cannot name a tensor", path, t->name);
        bool fits = true;
        for (size_t k = 0; k < t->dims; k++) fits = fits && size_multiply(p->count, t->shape[k], &p->count);
        if (!fits || !size_multiply(p->count, st_type_size(t->type), &p->bytes))
            return err_input(err, "%s: tensor \"%.200s\": its size overflows", path, t->name);
    }
    if (count && !ordered) qsort(places, count, sizeof *places, by_output_place);
    for (size_t i = 0; i < count; i++) {
        places[i].begin = at;
        if (!size_add(at, places[i].bytes, &at)) return err_input(err, "%s: the size of the file overflows", path);
    }
    if (count) qsort(places, count, sizeof *places, by_output_name);
    for (size_t i = 1; i < count; i++)
        if (!strcmp(places[i - 1].tensor->name, places[i].tensor->name))
            return err_input(err, "%s: two tensors are named \"%.200s\"", path, places[i].tensor->name);
    return 0;
}

static int add_entry(Text *header, const Place *p, Err *err)
{
    const StOutput *t = p->tensor;
    if (json_write_string(header, t->name, strlen(t->name), err)) return -1;
    if (text_printf(header, err, ":{\"dtype\":\"%s\",\"shape\":[", st_type_name(t->type))) return -1;
    for (size_t i = 0; i < t->dims; i++)
        if (text_printf(header, err, "%s%zu", i ? "," : "", t->shape[i])) return -1;
    return text_printf(header, err, "],\"data_offsets\":[%zu,%zu]}", p->begin, p->begin + p->bytes);
}

// The length, then the keys in the order of their bytes, `__metadata__` among them: it tells transformers who may load this.
static int build_header(Text *header, const Place *places, size_t count, size_t alignment, Err *err)
{
    static const char metadata[] = "__metadata__";
    bool told = false;
    if (text_add(header, err, "\0\0\0\0\0\0\0\0{", LENGTH_BYTES + 1)) return -1;
    for (size_t i = 0; i <= count; i++) {
        if (!told && (i == count || strcmp(places[i].tensor->name, metadata) > 0)) {
            if (text_printf(header, err, "%s\"%s\":{\"format\":\"pt\"}", i ? "," : "", metadata)) return -1;
            told = true;
        }
        if (i < count && (text_puts(header, err, i || told ? "," : "") || add_entry(header, &places[i], err))) return -1;
    }
    if (text_puts(header, err, "}")) return -1;
    while (header->length % alignment)
        if (text_puts(header, err, " ")) return -1;
    uint64_t length = header->length - LENGTH_BYTES;
    for (size_t i = 0; i < LENGTH_BYTES; i++) header->data[i] = (char)(length >> (8 * i) & 0xFF);
    return length <= longest_header
        ? 0
        : err_input(err, "a header of %llu bytes is too long for a safetensors file", (unsigned long long)length);
}

static void encode_32(uint8_t *bytes, const uint8_t *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, values + 4 * i, 4);
        for (int k = 0; k < 4; k++) bytes[4 * i + (size_t)k] = (uint8_t)(bits >> (8 * k));
    }
}

static void encode_64(uint8_t *bytes, const uint8_t *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, values + 8 * i, 8);
        for (int k = 0; k < 8; k++) bytes[8 * i + (size_t)k] = (uint8_t)(bits >> (8 * k));
    }
}

// To nearest, ties to even. -1: a finite value became infinite.
static int encode_bfloat(uint8_t *bytes, const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], 4);
        uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
        if ((rounded & 0x7F80) == 0x7F80) return -1;
        bytes[2 * i] = (uint8_t)rounded;
        bytes[2 * i + 1] = (uint8_t)(rounded >> 8);
    }
    return 0;
}

static int by_begin(const void *a, const void *b)
{
    const Place *x = a, *y = b;
    return x->begin != y->begin ? (x->begin < y->begin ? -1 : 1) : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int write_values(OsWriter *out, const Place *p, Err *err)
{
    enum { CHUNK = 1024 };
    uint8_t bytes[CHUNK * 8];
    size_t size = st_type_size(p->tensor->type);
    for (size_t at = 0; at < p->count; at += CHUNK) {
        size_t n = p->count - at < CHUNK ? p->count - at : CHUNK;
        bool halved = p->tensor->type == ST_BF16;
        const uint8_t *values = (const uint8_t *)p->tensor->data + at * (halved ? sizeof(float) : size);
        if (halved && encode_bfloat(bytes, (const float *)p->tensor->data + at, n))
            return err_input(err, "tensor \"%.200s\" has values that BF16 cannot hold", p->tensor->name);
        if (size == 8) encode_64(bytes, values, n);
        if (size == 4) encode_32(bytes, values, n);
        if (os_writer_write(out, size == 1 ? values : bytes, n * size, err)) return -1;
    }
    return 0;
}

static int write_file(const char *path, const StOutput *tensors, size_t count, bool ordered, Err *err)
{
    OsWriter out = {0};
    Text header = {0};
    Place *places = mem_new(err, count, sizeof *places);
    int status = !places || plan(places, path, tensors, count, ordered, err) ||
        build_header(&header, places, count, ordered ? ORDERED_ALIGNMENT : ALIGNMENT, err);
    status = status || os_writer_open(&out, path, err) || os_writer_write(&out, header.data, header.length, err);
    if (!status && count) qsort(places, count, sizeof *places, by_begin);
    for (size_t i = 0; i < count && !status; i++) status = write_values(&out, &places[i], err);
    status = status || os_writer_commit(&out, err);
    os_writer_discard(&out);
    text_free(&header);
    mem_free(places);
    return status ? -1 : 0;
}

int safetensors_write(const char *path, const StOutput *tensors, size_t count, Err *err)
{
    return write_file(path, tensors, count, false, err);
}

int safetensors_write_ordered(const char *path, const StOutput *tensors, size_t count, Err *err)
{
    for (size_t i = 0; i < count; i++)
        if (tensors[i].type != ST_F32 && tensors[i].type != ST_BF16) return err_input(err, "%s: tensor \"%.200s\": only floats are written in order", path, tensors[i].name);
    return write_file(path, tensors, count, true, err);
}
