// SPDX-License-Identifier: MIT
/* jsonl.c - JSON documents and lines: jansson parses; access, messages and writing are here. Knows no keys of its own.
 *
 * Start at jsonl_next for reading and write_value for writing. Writing is not left to jansson because numbers must come out
 * as %.9g whatever the locale: these bytes are compared across machines.
 */
#include "files/jsonl.h"

#include "files/unicode.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { READ_FLAGS = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL };

static const char *kind_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: case JSON_REAL: return "a number";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    default: return "null";
    }
}

// "a number (-3)", "a string ("abc")", "an array": enough of the value to find it again.
typedef struct { char text[96]; } Found;
static Found found(const json_t *value)
{
    Found f;
    const char *kind = kind_name(value);
    if (json_is_integer(value)) snprintf(f.text, sizeof f.text, "%s (%" JSON_INTEGER_FORMAT ")", kind, json_integer_value(value));
    else if (json_is_real(value)) snprintf(f.text, sizeof f.text, "%s (%.9g)", kind, json_real_value(value));
    else if (json_is_string(value)) {
        const char *bytes = json_string_value(value);
        int n = (int)(strlen(bytes) > 40 ? 40 : strlen(bytes));
        while (bytes[n] && ((unsigned char)bytes[n] & 0xC0) == 0x80) n--; // not in the middle of a character
        snprintf(f.text, sizeof f.text, "%s (\"%.*s%s\")", kind, n, bytes, bytes[n] ? "..." : "");
    }
    else snprintf(f.text, sizeof f.text, "%s", kind);
    return f;
}

// ---- reading documents and lines -----------------------------------------------------------------------------------------

static bool has_byte_order_mark(const char *bytes, size_t n) { return n >= 3 && !memcmp(bytes, "\xEF\xBB\xBF", 3); }

// `place` is "path:line" of a line of JSONL; for a whole document (line < 0) jansson's own line is added to the path.
static int parse_error(const char *place, bool document, const json_error_t *error, Err *err)
{
    if (!error->text[0]) return err_failed(err, "%s: out of memory while reading JSON", place); // jansson says nothing then
    if (document) return err_input(err, "%s:%d: column %d: not valid JSON: %s", place, error->line, error->column, error->text);
    return err_input(err, "%s: column %d: not valid JSON: %s", place, error->column, error->text);
}

static json_t *parse_object(const char *bytes, size_t n, const char *place, bool document, Err *err)
{
    json_error_t error = {0};
    json_t *value = json_loadb(bytes, n, READ_FLAGS, &error);
    if (!value) {
        parse_error(place, document, &error, err);
    } else if (!json_is_object(value)) {
        err_input(err, "%s: expected an object, found %s", place, kind_name(value));
        json_decref(value);
        value = NULL;
    }
    return value;
}

json_t *json_load_document(const char *path, Err *err)
{
    OsMap map;
    if (os_map_file(&map, path, err)) return NULL;
    const char *bytes = (const char *)map.data;
    size_t skip = has_byte_order_mark(bytes, map.size) ? 3 : 0;
    json_t *value = parse_object(bytes + skip, map.size - skip, path, true, err);
    os_unmap(&map);
    return value;
}

int jsonl_open(JsonLines *in, const char *path, Err *err)
{
    *in = (JsonLines){.path = path};
    if (os_map_file(&in->map, path, err)) return -1;
    if (has_byte_order_mark((const char *)in->map.data, in->map.size)) in->offset = 3;
    return 0;
}

void jsonl_close(JsonLines *in)
{
    os_unmap(&in->map);
    *in = (JsonLines){0};
}

static bool is_blank(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n", bytes[i]) || !bytes[i]) return false;
    return true;
}

int jsonl_next(JsonLines *in, json_t **line, Err *err)
{
    while (in->offset < in->map.size) {
        const char *start = (const char *)in->map.data + in->offset;
        size_t left = in->map.size - in->offset;
        const char *end = memchr(start, '\n', left);
        size_t n = end ? (size_t)(end - start) : left;
        in->offset += n + (end != NULL);
        in->line++;
        if (is_blank(start, n)) continue;
        snprintf(in->where, sizeof in->where, "%.270s:%zu", in->path, in->line);
        if (utf8_is_valid(start, n)) {
            *line = parse_object(start, n, in->where, false, err);
        } else {
            Text clean = {0};
            int status = utf8_repair(&clean, start, n, &in->repaired, err);
            *line = status ? NULL : parse_object(clean.data, clean.length, in->where, false, err);
            text_free(&clean);
        }
        return *line ? 1 : -1;
    }
    return 0;
}

// ---- typed access --------------------------------------------------------------------------------------------------------

static int wrong(const json_t *value, const char *key, const char *expected, const char *where, Err *err)
{
    if (!value) return err_input(err, "%s: key \"%s\": missing (expected %s)", where, key, expected);
    return err_input(err, "%s: key \"%s\": expected %s, found %s", where, key, expected, found(value).text);
}

// Missing and null are the same to the _or forms.
static const json_t *present(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value && !json_is_null(value) ? value : NULL;
}

int json_get_string(const json_t *object, const char *key, const char **bytes, size_t *length, const char *where, Err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) return wrong(value, key, "a string", where, err);
    *bytes = json_string_value(value);
    *length = json_string_length(value);
    return 0;
}

int json_get_text(const json_t *object, const char *key, const char **value, const char *where, Err *err)
{
    const char *bytes = "";
    size_t length = 0;
    if (json_get_string(object, key, &bytes, &length, where, err)) return -1;
    if (strlen(bytes) != length) return err_input(err, "%s: key \"%s\": a NUL character (\\u0000) is not allowed here", where, key);
    *value = bytes;
    return 0;
}

int json_get_size(const json_t *object, const char *key, size_t *value, const char *where, Err *err)
{
    const json_t *found_value = json_object_get(object, key);
    if (!json_is_integer(found_value) || json_integer_value(found_value) < 0)
        return wrong(found_value, key, "a whole number >= 0", where, err);
    if ((uint64_t)json_integer_value(found_value) > SIZE_MAX) return wrong(found_value, key, "a smaller number", where, err);
    *value = (size_t)json_integer_value(found_value);
    return 0;
}

int json_get_number(const json_t *object, const char *key, double *value, const char *where, Err *err)
{
    const json_t *found_value = json_object_get(object, key);
    if (!json_is_number(found_value)) return wrong(found_value, key, "a number", where, err);
    *value = json_number_value(found_value);
    return 0;
}

int json_get_bool_or(const json_t *object, const char *key, bool fallback, bool *value, const char *where, Err *err)
{
    const json_t *found_value = present(object, key);
    if (found_value && !json_is_boolean(found_value)) return wrong(found_value, key, "true or false", where, err);
    *value = found_value ? json_is_true(found_value) : fallback;
    return 0;
}

int json_get_size_or(const json_t *object, const char *key, size_t fallback, size_t *value, const char *where, Err *err)
{
    if (present(object, key)) return json_get_size(object, key, value, where, err);
    *value = fallback;
    return 0;
}

int json_get_number_or(const json_t *object, const char *key, double fallback, double *value, const char *where, Err *err)
{
    if (present(object, key)) return json_get_number(object, key, value, where, err);
    *value = fallback;
    return 0;
}

int json_get_text_or(const json_t *object, const char *key, const char *fallback, const char **value, const char *where, Err *err)
{
    if (present(object, key)) return json_get_text(object, key, value, where, err);
    *value = fallback;
    return 0;
}

int json_get_tokens(const json_t *object, const char *key, TokenList *ids, const char *where, Err *err)
{
    const json_t *array = json_object_get(object, key), *item;
    if (!json_is_array(array)) return wrong(array, key, "an array of token ids", where, err);
    for (size_t i = 0; i < json_array_size(array); i++) {
        item = json_array_get(array, i);
        if (!json_is_integer(item) || json_integer_value(item) < 0 || (uint64_t)json_integer_value(item) > UINT32_MAX)
            return err_input(err, "%s: key \"%s\": element %zu: expected a token id, found %s", where, key, i, found(item).text);
        if (tokens_add(ids, err, (uint32_t)json_integer_value(item))) return -1;
    }
    return 0;
}

// ---- writing -------------------------------------------------------------------------------------------------------------

json_t *json_float(double value) { return isfinite(value) ? json_real(value) : NULL; }

json_t *json_ids(const uint32_t *ids, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < n; i++) {
        if (json_array_append_new(array, json_integer((json_int_t)ids[i])) == 0) continue;
        json_decref(array);
        array = NULL;
    }
    return array;
}

// %.9g reads back to the same float. The decimal point is the locale's, which JSON does not know; -0 needs a fraction,
// because "-0" reads back as the integer 0.
static int write_real(Text *out, double value, Err *err)
{
    char digits[64];
    int n = snprintf(digits, sizeof digits, "%.9g", value);
    bool point = false;
    for (int i = 0; i < n; i++) {
        bool part = (digits[i] >= '0' && digits[i] <= '9') || digits[i] == '-' || digits[i] == '+' || digits[i] == 'e';
        if (!part && point) continue; // a point of several bytes
        if (!part) point = true;
        if (text_add(out, err, part ? &digits[i] : ".", 1)) return -1;
    }
    return value == 0 && signbit(value) ? text_puts(out, err, ".0") : 0;
}

int json_write_string(Text *out, const char *bytes, size_t n, Err *err)
{
    size_t clean = 0; // bytes[clean .. i) need no escape
    int status = text_puts(out, err, "\"");
    for (size_t i = 0; i < n && !status; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        const char *from = "\"\\\b\f\n\r\t", *to = "\"\\bfnrt", *at = c ? strchr(from, c) : NULL;
        status = text_add(out, err, bytes + clean, i - clean);
        if (!status) status = at ? text_printf(out, err, "\\%c", to[at - from]) : text_printf(out, err, "\\u%04x", c);
        clean = i + 1;
    }
    if (!status) status = text_add(out, err, bytes + clean, n - clean);
    return status || text_puts(out, err, "\"") ? -1 : 0;
}

// A line break and the indentation in the pretty form, nothing in the compact one (indent < 0).
static int write_break(Text *out, int indent, Err *err) { return indent < 0 ? 0 : text_printf(out, err, "\n%*s", indent, ""); }

static int write_value(Text *out, const json_t *value, int indent, Err *err);

static int write_object(Text *out, const json_t *object, int indent, Err *err)
{
    int inner = indent < 0 ? indent : indent + 2, status = text_puts(out, err, "{");
    const char *comma = "";
    json_t *own = (json_t *)(uintptr_t)object; // jansson's iterator takes no const
    for (void *at = json_object_iter(own); at && !status; at = json_object_iter_next(own, at), comma = ",") {
        const char *key = json_object_iter_key(at);
        status = text_puts(out, err, comma) || write_break(out, inner, err) || json_write_string(out, key, strlen(key), err)
            || text_puts(out, err, indent < 0 ? ":" : ": ") || write_value(out, json_object_iter_value(at), inner, err);
    }
    if (!status && *comma) status = write_break(out, indent, err);
    return status || text_puts(out, err, "}") ? -1 : 0;
}

static int write_array(Text *out, const json_t *array, int indent, Err *err)
{
    int inner = indent < 0 ? indent : indent + 2, status = text_puts(out, err, "[");
    size_t n = json_array_size(array);
    for (size_t i = 0; i < n && !status; i++)
        status = text_puts(out, err, i ? "," : "") || write_break(out, inner, err)
            || write_value(out, json_array_get(array, i), inner, err);
    if (!status && n) status = write_break(out, indent, err);
    return status || text_puts(out, err, "]") ? -1 : 0;
}

static int write_value(Text *out, const json_t *value, int indent, Err *err)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return write_object(out, value, indent, err);
    case JSON_ARRAY: return write_array(out, value, indent, err);
    case JSON_STRING: return json_write_string(out, json_string_value(value), json_string_length(value), err);
    case JSON_INTEGER: return text_printf(out, err, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    case JSON_REAL: return write_real(out, json_real_value(value), err);
    default: return text_puts(out, err, kind_name(value)); // true, false, null
    }
}

int json_write(Text *out, const json_t *value, Err *err)
{
    if (!value) return err_failed(err, "out of memory while building JSON"); // jansson's constructors give NULL
    return write_value(out, value, -1, err);
}

int json_write_pretty(Text *out, const json_t *value, Err *err)
{
    if (!value) return err_failed(err, "out of memory while building JSON");
    return write_value(out, value, 0, err) || text_puts(out, err, "\n") ? -1 : 0;
}

void hash_text(char digits[17], uint64_t hash) { snprintf(digits, 17, "%016" PRIx64, hash); }
