// SPDX-License-Identifier: MIT
/* gguf.c - the GGUF format: typed metadata, a list of tensors, their data. Knows no key and no tensor by name but the alignment.
 *
 * Start at gguf_open. Everything is read through a Cursor that ends with the file, so that no length is believed before it was
 * compared with what is there. How quantised blocks become floats is gguf_blocks.c.
 */
#include "files/gguf-internal.h"

#include "files/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NEWEST = 3, OLDEST = 2, LONGEST_NAME = 255, LONGEST_KEY = 65535, MOST_DIMS = 4, MOST_ALIGNMENT = 65536 };

// The types of metadata values, by their number in the file; size 0: strings and arrays, which tell their own length.
enum { VALUE_U8, VALUE_I8, VALUE_U16, VALUE_I16, VALUE_U32, VALUE_I32, VALUE_F32, VALUE_BOOL, VALUE_TEXT, VALUE_ARRAY, VALUE_U64,
    VALUE_I64, VALUE_F64 };
static const struct { const char *name; size_t size; bool is_signed; } value_types[] = {
    {"uint8", 1, false}, {"int8", 1, true}, {"uint16", 2, false}, {"int16", 2, true}, {"uint32", 4, false}, {"int32", 4, true},
    {"float32", 4, true}, {"bool", 1, false}, {"string", 0, false}, {"array", 0, false}, {"uint64", 8, false}, {"int64", 8, true},
    {"float64", 8, true},
};
enum { VALUE_TYPES = sizeof value_types / sizeof *value_types };

struct GgufValue {
    TextView key;
    uint32_t type;       // an index of value_types
    uint32_t element;    // of an array
    size_t count;        // of an array's elements, else 1
    const uint8_t *data; // the value, or the first element
};

// ---- a bounded reader: the first failure sticks ----------------------------------------------------------------------------

typedef struct { const Gguf *gguf; const uint8_t *at, *end; Err *err; bool failed; } Cursor;

static size_t offset_of(const Cursor *c) { return (size_t)(c->at - c->gguf->map.data); }

static bool need(Cursor *c, uint64_t n, const char *what)
{
    if (c->failed) return false;
    if (n <= (uint64_t)(c->end - c->at)) return true;
    err_input(c->err, "%s: byte %zu: %s needs %llu bytes, but only %zu are left in the file", c->gguf->path, offset_of(c), what,
        (unsigned long long)n, (size_t)(c->end - c->at));
    c->failed = true;
    return false;
}

static uint64_t little_endian(const uint8_t *bytes, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static uint64_t take(Cursor *c, size_t size, const char *what)
{
    if (!need(c, size, what)) return 0;
    uint64_t value = little_endian(c->at, size);
    c->at += size;
    return value;
}

static TextView take_text(Cursor *c, const char *what)
{
    uint64_t length = take(c, 8, what);
    if (!need(c, length, what)) return (TextView){"", 0};
    TextView text = {(const char *)c->at, (size_t)length};
    c->at += length;
    return text;
}

static int fail(Cursor *c) { return c->failed = true, -1; }

// A key or a tensor's name: short UTF-8 without NUL, so that it can be printed and compared.
static int take_name(Cursor *c, TextView *name, size_t longest, const char *what)
{
    size_t at = offset_of(c);
    *name = take_text(c, what);
    if (c->failed) return -1;
    if (name->length && name->length <= longest && utf8_is_valid(name->bytes, name->length) && !memchr(name->bytes, 0, name->length))
        return 0;
    return fail(c), err_input(c->err, "%s: byte %zu: %s must be 1 to %zu bytes of UTF-8", c->gguf->path, at, what, longest);
}

// ---- metadata -----------------------------------------------------------------------------------------------------------------

static void skip_texts(Cursor *c, size_t count)
{
    for (size_t i = 0; i < count && !c->failed; i++) take_text(c, "a string of an array");
}

static int take_value(Cursor *c, GgufValue *v)
{
    if (take_name(c, &v->key, LONGEST_KEY, "a key of the metadata")) return -1;
    const char *path = c->gguf->path;
    int length = v->key.length < 100 ? (int)v->key.length : 100;
    v->type = v->element = (uint32_t)take(c, 4, "the type of a value");
    v->count = 1;
    if (v->type == VALUE_ARRAY) {
        v->element = (uint32_t)take(c, 4, "the type of an array");
        uint64_t count = take(c, 8, "the length of an array");
        size_t least = v->element < VALUE_TYPES && value_types[v->element].size ? value_types[v->element].size : 8;
        if (!c->failed && count > (uint64_t)(c->end - c->at) / least)
            return fail(c), err_input(c->err, "%s: key \"%.*s\": an array of %llu elements does not fit the file", path, length,
                v->key.bytes, (unsigned long long)count);
        v->count = (size_t)count;
    }
    if (c->failed) return -1;
    if (v->type >= VALUE_TYPES || v->element >= VALUE_TYPES || v->element == VALUE_ARRAY)
        return fail(c), err_input(c->err, "%s: key \"%.*s\": value type %u%s is not supported", path, length, v->key.bytes,
            (unsigned)(v->type >= VALUE_TYPES ? v->type : v->element), v->type == VALUE_ARRAY ? " inside an array" : "");
    v->data = c->at;
    if (v->element == VALUE_TEXT) skip_texts(c, v->count);
    else if (need(c, (uint64_t)v->count * value_types[v->element].size, "a value")) c->at += v->count * value_types[v->element].size;
    return c->failed ? -1 : 0;
}

static int compare_texts(TextView a, TextView b)
{
    int order = memcmp(a.bytes, b.bytes, a.length < b.length ? a.length : b.length);
    return order ? order : a.length < b.length ? -1 : a.length > b.length;
}

static int by_key(const void *a, const void *b) { return compare_texts(((const GgufValue *)a)->key, ((const GgufValue *)b)->key); }
static int by_tensor_name(const void *a, const void *b)
{
    return compare_texts(((const GgufTensor *)a)->name, ((const GgufTensor *)b)->name);
}

static int read_values(Gguf *g, Cursor *c, uint64_t count)
{
    // 13: an empty key's length, a type and a byte; so the memory taken is never more than a few times the file
    if (count > (uint64_t)(c->end - c->at) / 13)
        return err_input(c->err, "%s: %llu keys of metadata do not fit the file", g->path, (unsigned long long)count);
    if (!(g->values = mem_new(c->err, (size_t)count, sizeof *g->values))) return -1;
    for (g->value_count = 0; g->value_count < count; g->value_count++)
        if (take_value(c, &g->values[g->value_count])) return -1;
    if (g->value_count) qsort(g->values, g->value_count, sizeof *g->values, by_key);
    for (size_t i = 1; i < g->value_count; i++)
        if (!by_key(&g->values[i - 1], &g->values[i]))
            return err_input(c->err, "%s: key \"%.*s\" is there twice", g->path,
                (int)(g->values[i].key.length < 200 ? g->values[i].key.length : 200), g->values[i].key.bytes);
    return 0;
}

static const GgufValue *find_value(const Gguf *g, const char *key)
{
    GgufValue wanted = {.key = {key, strlen(key)}};
    return g->value_count ? bsearch(&wanted, g->values, g->value_count, sizeof *g->values, by_key) : NULL;
}

bool gguf_has(const Gguf *g, const char *key) { return find_value(g, key) != NULL; }

// The value of a key, NULL after an error: absent, or not of a kind that `fits`.
typedef bool Kind(uint32_t type);
static bool is_text(uint32_t type) { return type == VALUE_TEXT; }
static bool is_bool(uint32_t type) { return type == VALUE_BOOL; }
static bool is_number(uint32_t type) { return type < VALUE_TYPES && value_types[type].size && type != VALUE_BOOL; }
static bool is_integer(uint32_t type) { return is_number(type) && type != VALUE_F32 && type != VALUE_F64; }

static const GgufValue *need_value(const Gguf *g, const char *key, bool array, Kind *fits, const char *expected, Err *err)
{
    const GgufValue *v = find_value(g, key);
    if (!v) return err_input(err, "%s: key \"%s\" is missing from the metadata", g->path, key), NULL;
    bool is_array = v->type == VALUE_ARRAY;
    if (is_array == array && fits(v->element)) return v;
    err_input(err, "%s: key \"%s\": expected %s, found %s%s", g->path, key, expected, is_array ? "an array of " : "",
        value_types[v->element].name);
    return NULL;
}

static double number_at(const GgufValue *v, size_t i)
{
    size_t size = value_types[v->element].size;
    uint64_t bits = little_endian(v->data + i * size, size);
    if (v->element == VALUE_F64) {
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    if (v->element == VALUE_F32) {
        float value;
        uint32_t word = (uint32_t)bits;
        memcpy(&value, &word, sizeof value);
        return value;
    }
    bool negative = value_types[v->element].is_signed && bits >> (8 * size - 1);
    if (negative && size < 8) bits |= UINT64_MAX << (8 * size);
    return negative ? -(double)(~bits + 1) : (double)bits; // exact below 2^53: ids, sizes and scores are
}

int gguf_get_text(const Gguf *g, const char *key, TextView *value, Err *err)
{
    const GgufValue *v = need_value(g, key, false, is_text, "a string", err);
    if (v) *value = (TextView){(const char *)v->data + 8, (size_t)little_endian(v->data, 8)};
    return v ? 0 : -1;
}

int gguf_get_size(const Gguf *g, const char *key, size_t *value, Err *err)
{
    const GgufValue *v = need_value(g, key, false, is_integer, "a whole number", err);
    double number = v ? number_at(v, 0) : 0;
    if (v && (number < 0 || number > 9007199254740992.0 || number > (double)(SIZE_MAX / 2)))
        return err_input(err, "%s: key \"%s\": %.0f is out of range", g->path, key, number);
    *value = (size_t)number;
    return v ? 0 : -1;
}

int gguf_get_number(const Gguf *g, const char *key, double *value, Err *err)
{
    const GgufValue *v = need_value(g, key, false, is_number, "a number", err);
    if (!v) return -1;
    *value = number_at(v, 0);
    return isfinite(*value) ? 0 : err_input(err, "%s: key \"%s\": not a finite number", g->path, key);
}

int gguf_get_text_or(const Gguf *g, const char *key, const char *fallback, TextView *value, Err *err)
{
    *value = (TextView){fallback, strlen(fallback)};
    return gguf_has(g, key) ? gguf_get_text(g, key, value, err) : 0;
}

int gguf_get_size_or(const Gguf *g, const char *key, size_t fallback, size_t *value, Err *err)
{
    *value = fallback;
    return gguf_has(g, key) ? gguf_get_size(g, key, value, err) : 0;
}

int gguf_get_number_or(const Gguf *g, const char *key, double fallback, double *value, Err *err)
{
    *value = fallback;
    return gguf_has(g, key) ? gguf_get_number(g, key, value, err) : 0;
}

int gguf_get_bool_or(const Gguf *g, const char *key, bool fallback, bool *value, Err *err)
{
    *value = fallback;
    if (!gguf_has(g, key)) return 0;
    const GgufValue *v = need_value(g, key, false, is_bool, "a bool", err);
    if (!v) return -1;
    if (*v->data > 1) return err_input(err, "%s: key \"%s\": expected 0 or 1, found %u", g->path, key, *v->data);
    *value = *v->data;
    return 0;
}

int gguf_get_texts(const Gguf *g, const char *key, TextView **list, size_t *count, Err *err)
{
    const GgufValue *v = need_value(g, key, true, is_text, "an array of strings", err);
    if (!v || !(*list = mem_new(err, v->count, sizeof **list))) return -1;
    const uint8_t *at = v->data;
    for (size_t i = 0; i < v->count; i++) {
        (*list)[i] = (TextView){(const char *)at + 8, (size_t)little_endian(at, 8)}; // gguf_open walked over all of them
        at += 8 + (*list)[i].length;
    }
    *count = v->count;
    return 0;
}

int gguf_get_numbers(const Gguf *g, const char *key, double **list, size_t *count, Err *err)
{
    const GgufValue *v = need_value(g, key, true, is_number, "an array of numbers", err);
    if (!v || !(*list = mem_new(err, v->count, sizeof **list))) return -1;
    *count = v->count;
    for (size_t i = 0; i < v->count; i++) {
        (*list)[i] = number_at(v, i);
        if (isfinite((*list)[i])) continue;
        mem_free(*list);
        *list = NULL;
        return err_input(err, "%s: key \"%s\": element %zu is not a finite number", g->path, key, i);
    }
    return 0;
}

// ---- tensors ------------------------------------------------------------------------------------------------------------------

typedef struct { uint64_t *offsets; const uint8_t *data; size_t size, alignment; } Section; // where the tensors' bytes lie

static int wrong_tensor(const Gguf *g, const GgufTensor *t, Err *err, const char *what)
{
    return err_input(err, "%s: tensor \"%.*s\": %s", g->path, (int)t->name.length, t->name.bytes, what);
}

static int take_shape(Cursor *c, GgufTensor *t)
{
    uint64_t dims = take(c, 4, "the number of dimensions");
    if (c->failed) return -1;
    if (dims < 1 || dims > MOST_DIMS) return fail(c), wrong_tensor(c->gguf, t, c->err, "must have 1 to 4 dimensions");
    t->dims = (size_t)dims;
    t->count = 1;
    for (size_t i = 0; i < t->dims; i++) {
        uint64_t size = take(c, 8, "a dimension");
        if (c->failed) return -1;
        if (size > SIZE_MAX / 2 || !size_multiply(t->count, (size_t)size, &t->count))
            return fail(c), wrong_tensor(c->gguf, t, c->err, "the product of its dimensions overflows");
        t->shape[i] = (size_t)size;
    }
    return 0;
}

static int take_tensor(Cursor *c, GgufTensor *t, uint64_t *offset)
{
    if (take_name(c, &t->name, LONGEST_NAME, "a tensor's name") || take_shape(c, t)) return -1;
    uint32_t type = (uint32_t)take(c, 4, "a tensor's type");
    *offset = take(c, 8, "a tensor's offset");
    if (c->failed) return -1;
    t->type = (GgufType)type;
    const GgufBlock *block = gguf_block(type);
    if (!block || !block->decode)
        return fail(c), err_input(c->err, "%s: tensor \"%.*s\" has type %s (%u), which is not supported (known: %s)", c->gguf->path,
            (int)t->name.length, t->name.bytes, block ? block->name : "unknown", (unsigned)type, gguf_known_types);
    if (t->shape[0] % block->values)
        return fail(c), err_input(c->err, "%s: tensor \"%.*s\": rows of %zu values are no whole blocks of %s (%zu values)", c->gguf->path,
            (int)t->name.length, t->name.bytes, t->shape[0], block->name, block->values);
    if (!size_multiply(t->count / block->values, block->bytes, &t->bytes))
        return fail(c), wrong_tensor(c->gguf, t, c->err, "its size overflows");
    return 0;
}

static int place_tensor(const Gguf *g, GgufTensor *t, uint64_t offset, const Section *section, Err *err)
{
    if (offset % section->alignment)
        return err_input(err, "%s: tensor \"%.*s\": offset %llu is no multiple of the alignment, %zu", g->path, (int)t->name.length,
            t->name.bytes, (unsigned long long)offset, section->alignment);
    if (offset > section->size || t->bytes > section->size - (size_t)offset)
        return err_input(err, "%s: tensor \"%.*s\": %zu bytes at offset %llu reach past the end of the file's %zu bytes of data", g->path,
            (int)t->name.length, t->name.bytes, t->bytes, (unsigned long long)offset, section->size);
    t->data = section->data + offset;
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const GgufTensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int check_tensors(Gguf *g, Err *err)
{
    if (!g->tensor_count) return 0;
    qsort(g->tensors, g->tensor_count, sizeof *g->tensors, by_place);
    for (size_t i = 1; i < g->tensor_count; i++) {
        const GgufTensor *t = &g->tensors[i - 1], *next = &g->tensors[i];
        if ((size_t)(next->data - t->data) < t->bytes)
            return err_input(err, "%s: tensors \"%.*s\" and \"%.*s\" overlap", g->path, (int)t->name.length, t->name.bytes,
                (int)next->name.length, next->name.bytes);
    }
    qsort(g->tensors, g->tensor_count, sizeof *g->tensors, by_tensor_name);
    for (size_t i = 1; i < g->tensor_count; i++)
        if (!by_tensor_name(&g->tensors[i - 1], &g->tensors[i])) return wrong_tensor(g, &g->tensors[i], err, "is there twice");
    return 0;
}

// The data begins behind the list of tensors, at the next multiple of the alignment.
static int find_data(const Gguf *g, const Cursor *c, Section *section, Err *err)
{
    if (gguf_get_size_or(g, "general.alignment", 32, &section->alignment, err)) return -1;
    size_t alignment = section->alignment, at = offset_of(c);
    if (alignment < 8 || alignment > MOST_ALIGNMENT || alignment & (alignment - 1))
        return err_input(err, "%s: general.alignment must be a power of two from 8 to %d, found %zu", g->path, MOST_ALIGNMENT, alignment);
    size_t begin = (at + alignment - 1) / alignment * alignment;
    if (begin > g->map.size) begin = g->map.size; // without data: then any tensor reaches past the end
    section->data = g->map.data + begin;
    section->size = g->map.size - begin;
    return 0;
}

static int read_tensors(Gguf *g, Cursor *c, uint64_t count)
{
    enum { LEAST = 8 + 1 + 4 + 8 + 4 + 8 }; // name, dimensions, type, offset
    if (count > (uint64_t)(c->end - c->at) / LEAST)
        return err_input(c->err, "%s: %llu tensors do not fit the file", g->path, (unsigned long long)count);
    Section section = {0};
    g->tensors = mem_new(c->err, (size_t)count, sizeof *g->tensors);
    section.offsets = g->tensors ? mem_new(c->err, (size_t)count, sizeof *section.offsets) : NULL;
    int status = section.offsets ? 0 : -1;
    for (size_t i = 0; i < count && !status; i++, g->tensor_count++) status = take_tensor(c, &g->tensors[i], &section.offsets[i]);
    if (!status) status = find_data(g, c, &section, c->err);
    for (size_t i = 0; i < count && !status; i++) status = place_tensor(g, &g->tensors[i], section.offsets[i], &section, c->err);
    mem_free(section.offsets);
    return status ? -1 : check_tensors(g, c->err);
}

static int read_header(Gguf *g, Err *err)
{
    Cursor c = {.gguf = g, .at = g->map.data, .end = g->map.data + g->map.size, .err = err};
    if (g->map.size < 4 || memcmp(g->map.data, "GGUF", 4))
        return err_input(err, "%s: not a GGUF file (it does not begin with \"GGUF\")", g->path);
    c.at += 4;
    uint32_t version = (uint32_t)take(&c, 4, "the version");
    if (c.failed) return -1;
    if ((version & 0xFFFF) == 0) return err_input(err, "%s: a big-endian GGUF file; only little-endian ones are read", g->path);
    if (version < OLDEST || version > NEWEST)
        return err_input(err, "%s: GGUF version %u is not supported (expected %d or %d)", g->path, (unsigned)version, OLDEST, NEWEST);
    g->version = version;
    uint64_t tensors = take(&c, 8, "the number of tensors"), values = take(&c, 8, "the number of keys");
    return c.failed || read_values(g, &c, values) || read_tensors(g, &c, tensors) ? -1 : 0;
}

int gguf_open(Gguf *g, const char *path, Err *err)
{
    *g = (Gguf){0};
    if (os_map_file(&g->map, path, err)) return -1;
    g->path = mem_copy_text(err, path);
    if (g->path && !read_header(g, err)) return 0;
    gguf_close(g);
    return -1;
}

void gguf_close(Gguf *g)
{
    mem_free(g->values);
    mem_free(g->tensors);
    mem_free(g->path);
    os_unmap(&g->map);
    *g = (Gguf){0};
}

const GgufTensor *gguf_find_tensor(const Gguf *g, const char *name)
{
    GgufTensor wanted = {.name = {name, strlen(name)}};
    return g->tensor_count ? bsearch(&wanted, g->tensors, g->tensor_count, sizeof *g->tensors, by_tensor_name) : NULL;
}

const GgufTensor *gguf_need_tensor(const Gguf *g, const char *name, Err *err)
{
    const GgufTensor *t = gguf_find_tensor(g, name);
    if (!t) err_input(err, "%s: no tensor \"%s\" (%zu tensors)", g->path, name, g->tensor_count);
    return t;
}

const char *gguf_type_name(GgufType type)
{
    const GgufBlock *block = gguf_block((uint32_t)type);
    return block ? block->name : "unknown";
}

int gguf_read_f32(const Gguf *g, const GgufTensor *t, float *out, size_t n, Err *err)
{
    const GgufBlock *block = gguf_block((uint32_t)t->type);
    if (t->count != n)
        return err_input(err, "%s: tensor \"%.*s\": expected %zu values, found %zu", g->path, (int)t->name.length, t->name.bytes, n,
            t->count);
    for (size_t i = 0; i < n / block->values; i++) block->decode(out + i * block->values, t->data + i * block->bytes);
    return 0;
}
