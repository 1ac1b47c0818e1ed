// SPDX-License-Identifier: MIT
/* template_values.c - what a chat template can do with values: filters, tests and methods, each as in jinja2 or Python, or refused.
 * The three tables at the end are the list of what there is. Strings are UTF-8 and counted in characters.
 */
#include "files/template-internal.h"

#include "files/unicode.h"

#include <stdlib.h>

// ---- values ------------------------------------------------------------------------------------------------------------------

#define FAIL(w, ...) template_error((w)->template, (w)->node->at, (w)->err, __VA_ARGS__)

enum { LONGEST_PATTERN = 256 };

int spend(Work *work, size_t amount)
{
    if (amount < work->budget - (work->budget ? 1 : 0)) return work->budget -= amount, 0;
    work->budget = 0;
    return FAIL(work, "the template makes too much text or takes too many steps");
}

const char *value_kind(const json_t *value)
{
    return !value ? "an undefined value" : json_is_string(value) ? "a string" : json_is_array(value) ? "a list"
        : json_is_object(value) ? "a mapping" : json_is_null(value) ? "none" : json_is_boolean(value) ? "a truth value" : "a number";
}

bool value_is_true(const json_t *value)
{
    if (json_is_string(value)) return json_string_length(value) > 0;
    if (json_is_array(value)) return json_array_size(value) > 0;
    if (json_is_object(value)) return json_object_size(value) > 0;
    if (json_is_number(value)) return json_number_value(value) != 0;
    return json_is_true(value);
}

// In Python a truth value is a number.
static bool as_number(const json_t *value, double *number)
{
    *number = json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
    return json_is_boolean(value) || json_is_number(value);
}

bool values_equal(const json_t *a, const json_t *b)
{
    double x, y;
    if (!a || !b) return !a && !b;
    if (json_is_integer(a) && json_is_integer(b)) return json_integer_value(a) == json_integer_value(b);
    if (as_number(a, &x) && as_number(b, &y)) return x == y;
    return json_equal(a, b);
}

int value_text(Work *work, Text *text, const json_t *value)
{
    if (!value) return text_add(text, work->err, "", 0);
    if (json_is_null(value)) return text_puts(text, work->err, "None");
    if (json_is_boolean(value)) return text_puts(text, work->err, json_is_true(value) ? "True" : "False");
    if (json_is_integer(value)) return text_printf(text, work->err, "%lld", (long long)json_integer_value(value));
    if (json_is_real(value)) return FAIL(work, "a number with a fraction as text is not supported");
    if (!json_is_string(value)) return FAIL(work, "%s as text is not supported", value_kind(value));
    return spend(work, json_string_length(value)) || text_add(text, work->err, json_string_value(value), json_string_length(value)) ? -1 : 0;
}

json_t *value_string(Work *work, const char *bytes, size_t length)
{
    json_t *string = spend(work, length + STEP_COST) ? NULL : json_stringn(bytes ? bytes : "", length);
    if (!string && work->budget) err_failed(work->err, "out of memory while rendering a chat template");
    return string;
}

static size_t character_length(const char *bytes, size_t length)
{
    uint32_t c;
    bool valid;
    return utf8_decode(&c, &valid, bytes, length);
}

size_t character_offset(const char *bytes, size_t length, size_t index)
{
    size_t at = 0;
    for (; index && at < length; index--) at += character_length(bytes + at, length - at);
    return at;
}

size_t character_count(const char *bytes, size_t length)
{
    size_t count = 0;
    for (size_t at = 0; at < length; count++) at += character_length(bytes + at, length - at);
    return count;
}

// ---- arguments -----------------------------------------------------------------------------------------------------------------

// The argument at this position or of this name; NULL when absent (or undefined).
static json_t *argument(const Arguments *arguments, size_t position, const char *name)
{
    for (size_t i = 0; i < arguments->count; i++)
        if (arguments->names[i].length ? span_is(arguments->names[i], name) : i == position) return arguments->values[i];
    return NULL;
}

// A text argument: its bytes, valid as long as the arguments.
static int text_argument(Work *work, Span *span, const Arguments *arguments, size_t position, const char *name)
{
    const json_t *value = argument(arguments, position, name);
    *span = (Span){"", 0};
    if (!json_is_string(value)) return FAIL(work, "argument %zu must be a string, found %s", position + 1, value_kind(value));
    *span = (Span){json_string_value(value), json_string_length(value)};
    return 0;
}

// A method's own string.
static int need_string(Work *work, Span *span, const json_t *value)
{
    *span = (Span){"", 0};
    if (!json_is_string(value)) return FAIL(work, "this method is one of strings, found %s", value_kind(value));
    *span = (Span){json_string_value(value), json_string_length(value)};
    return 0;
}

// ---- strings -------------------------------------------------------------------------------------------------------------------

static bool is_stripped(uint32_t c, const json_t *set)
{
    if (!json_is_string(set)) return unicode_is_space(c) || (c >= 0x1C && c <= 0x1F);
    char bytes[4];
    size_t n = utf8_put(bytes, c), length = json_string_length(set);
    for (size_t i = 0; i + n <= length; i += character_length(json_string_value(set) + i, length - i))
        if (!memcmp(json_string_value(set) + i, bytes, n)) return true;
    return false;
}

static Span strip(Span s, const json_t *set, bool left, bool right)
{
    uint32_t c;
    bool valid;
    while (left && s.length) {
        size_t n = utf8_decode(&c, &valid, s.bytes, s.length);
        if (!is_stripped(c, set)) break;
        s.bytes += n, s.length -= n;
    }
    while (right && s.length) {
        size_t at = s.length - 1;
        while (at && ((unsigned char)s.bytes[at] & 0xC0) == 0x80) at--;
        utf8_decode(&c, &valid, s.bytes + at, s.length - at);
        if (!is_stripped(c, set)) break;
        s.length = at;
    }
    return s;
}

static int strip_method(Work *work, json_t **result, json_t *value, const Arguments *arguments, bool left, bool right)
{
    Span s;
    const json_t *set = argument(arguments, 0, "chars");
    if (need_string(work, &s, value)) return -1;
    if (set && !json_is_string(set) && !json_is_null(set))
        return FAIL(work, "the characters to strip must be a string, found %s", value_kind(set));
    if (json_is_string(set) && json_string_length(set) > LONGEST_PATTERN) return FAIL(work, "more than %d bytes to strip", LONGEST_PATTERN);
    s = strip(s, set, left, right);
    return (*result = value_string(work, s.bytes, s.length)) ? 0 : -1;
}

static int do_strip(Work *w, json_t **result, json_t *value, const Arguments *a) { return strip_method(w, result, value, a, true, true); }
static int do_lstrip(Work *w, json_t **result, json_t *value, const Arguments *a) { return strip_method(w, result, value, a, true, false); }
static int do_rstrip(Work *w, json_t **result, json_t *value, const Arguments *a) { return strip_method(w, result, value, a, false, true); }

static char ascii_upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 32) : c; }
static char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

// first: of the first character, rest: of the others.
static int change_case(Work *work, json_t **result, json_t *value, char (*first)(char), char (*rest)(char))
{
    Span s;
    Text text = {0};
    if (need_string(work, &s, value)) return -1;
    int status = 0;
    for (size_t i = 0; i < s.length && !status; i++) {
        char c = i ? rest(s.bytes[i]) : first(s.bytes[i]);
        if ((unsigned char)c >= 0x80) status = FAIL(work, "upper and lower case of text that is not ASCII are not supported");
        else status = text_add(&text, work->err, &c, 1);
    }
    if (!status && !(*result = value_string(work, text.data, text.length))) status = -1;
    text_free(&text);
    return status;
}

static int do_upper(Work *w, json_t **result, json_t *value, const Arguments *a)
{
    return (void)a, change_case(w, result, value, ascii_upper, ascii_upper);
}
static int do_lower(Work *w, json_t **result, json_t *value, const Arguments *a)
{
    return (void)a, change_case(w, result, value, ascii_lower, ascii_lower);
}
static int do_capitalize(Work *w, json_t **result, json_t *value, const Arguments *a)
{
    return (void)a, change_case(w, result, value, ascii_upper, ascii_lower);
}

static const char *find_bytes(Span in, Span what)
{
    for (size_t i = 0; i + what.length <= in.length; i++)
        if (!memcmp(in.bytes + i, what.bytes, what.length)) return in.bytes + i;
    return NULL;
}

// A search costs the product of both lengths at worst.
static int check_pattern(Work *work, Span in, Span what)
{
    if (what.length > LONGEST_PATTERN) return FAIL(work, "a search for more than %d bytes is not supported", LONGEST_PATTERN);
    return spend(work, in.length);
}

int text_contains(Work *work, bool *found, Span in, Span what)
{
    if (check_pattern(work, in, what)) return -1;
    *found = find_bytes(in, what) != NULL;
    return 0;
}

static int do_replace(Work *work, json_t **result, json_t *value, const Arguments *arguments)
{
    Span s, old, new;
    Text text = {0};
    if (need_string(work, &s, value) || text_argument(work, &old, arguments, 0, "old")
        || text_argument(work, &new, arguments, 1, "new"))
        return -1;
    if (!old.length) return FAIL(work, "replacing an empty string is not supported");
    if (check_pattern(work, s, old)) return -1;
    int status = 0;
    for (const char *at; !status && (at = find_bytes(s, old));) {
        size_t before = (size_t)(at - s.bytes);
        status = spend(work, before + new.length) || text_add(&text, work->err, s.bytes, before)
            || text_add(&text, work->err, new.bytes, new.length);
        s = (Span){at + old.length, s.length - before - old.length};
    }
    if (!status) status = text_add(&text, work->err, s.bytes, s.length);
    if (!status && !(*result = value_string(work, text.data, text.length))) status = -1;
    text_free(&text);
    return status ? -1 : 0;
}

static int append_part(Work *work, json_t *list, const char *bytes, size_t length)
{
    json_t *part = value_string(work, bytes, length);
    if (!part) return -1;
    return json_array_append_new(list, part) ? err_failed(work->err, "out of memory while rendering a chat template") : 0;
}

static int split_words(Work *work, json_t *list, Span s)
{
    for (s = strip(s, NULL, true, false); s.length;) {
        size_t end = 0, n;
        for (; end < s.length; end += n) {
            uint32_t c;
            bool valid;
            n = utf8_decode(&c, &valid, s.bytes + end, s.length - end);
            if (is_stripped(c, NULL)) break;
        }
        if (append_part(work, list, s.bytes, end)) return -1;
        s = strip((Span){s.bytes + end, s.length - end}, NULL, true, false);
    }
    return 0;
}

static int do_split(Work *work, json_t **result, json_t *value, const Arguments *arguments)
{
    Span s, separator;
    const json_t *most = argument(arguments, 1, "maxsplit");
    if (need_string(work, &s, value)) return -1;
    if (most && !json_is_integer(most)) return FAIL(work, "maxsplit must be a number, found %s", value_kind(most));
    long long left = most && json_integer_value(most) >= 0 ? json_integer_value(most) : -1;
    *result = json_array();
    const json_t *given = argument(arguments, 0, "sep");
    if (!given || json_is_null(given))
        return most ? FAIL(work, "maxsplit without a separator is not supported") : split_words(work, *result, s);
    if (text_argument(work, &separator, arguments, 0, "sep")) return -1;
    if (!separator.length) return FAIL(work, "an empty separator");
    if (check_pattern(work, s, separator)) return -1;
    for (const char *at; left && (at = find_bytes(s, separator)); left--) {
        size_t before = (size_t)(at - s.bytes);
        if (append_part(work, *result, s.bytes, before)) return -1;
        s = (Span){at + separator.length, s.length - before - separator.length};
    }
    return append_part(work, *result, s.bytes, s.length);
}

static int has_end(Work *work, json_t **result, json_t *value, const Arguments *arguments, bool at_start)
{
    Span s, what;
    if (need_string(work, &s, value) || text_argument(work, &what, arguments, 0, "prefix")) return -1;
    const char *at = at_start || what.length > s.length ? s.bytes : s.bytes + s.length - what.length;
    *result = json_boolean(what.length <= s.length && !memcmp(at, what.bytes, what.length));
    return 0;
}

static int do_startswith(Work *w, json_t **result, json_t *value, const Arguments *a) { return has_end(w, result, value, a, true); }
static int do_endswith(Work *w, json_t **result, json_t *value, const Arguments *a) { return has_end(w, result, value, a, false); }

// A filter of texts takes anything that can be printed.
static int as_text(Work *work, json_t **result, json_t *value, const Arguments *arguments, ValueFunction function)
{
    Text text = {0};
    json_t *string = value_text(work, &text, value) ? NULL : value_string(work, text.data, text.length);
    int status = string ? function ? function(work, result, string, arguments) : (*result = json_incref(string), 0) : -1;
    json_decref(string);
    text_free(&text);
    return status;
}

static int filter_trim(Work *w, json_t **result, json_t *value, const Arguments *a) { return as_text(w, result, value, a, do_strip); }
static int filter_upper(Work *w, json_t **result, json_t *value, const Arguments *a) { return as_text(w, result, value, a, do_upper); }
static int filter_lower(Work *w, json_t **result, json_t *value, const Arguments *a) { return as_text(w, result, value, a, do_lower); }
static int filter_replace(Work *w, json_t **result, json_t *value, const Arguments *a) { return as_text(w, result, value, a, do_replace); }
static int filter_string(Work *w, json_t **result, json_t *value, const Arguments *a) { return as_text(w, result, value, a, NULL); }
static int filter_capitalize(Work *w, json_t **result, json_t *value, const Arguments *a)
{
    return as_text(w, result, value, a, do_capitalize);
}

// ---- lists and mappings ----------------------------------------------------------------------------------------------------------

static int need_object(Work *work, const json_t *value)
{
    return json_is_object(value) ? 0 : FAIL(work, "expected a mapping, found %s", value_kind(value));
}

static int filter_length(Work *work, json_t **result, json_t *value, const Arguments *arguments)
{
    (void)arguments;
    size_t n = 0;
    if (json_is_string(value)) n = character_count(json_string_value(value), json_string_length(value));
    else if (json_is_array(value)) n = json_array_size(value);
    else if (json_is_object(value)) n = json_object_size(value);
    else if (value) return FAIL(work, "%s has no length", value_kind(value));
    *result = json_integer((json_int_t)n);
    return 0;
}

static int end_item(Work *work, json_t **result, json_t *value, bool last)
{
    if (json_is_array(value)) *result = json_incref(json_array_get(value, last ? json_array_size(value) - 1 : 0));
    else if (json_is_string(value)) {
        Span s = {json_string_value(value), json_string_length(value)};
        size_t n = character_count(s.bytes, s.length), at = last && n ? character_offset(s.bytes, s.length, n - 1) : 0;
        if (n && !(*result = value_string(work, s.bytes + at, character_length(s.bytes + at, s.length - at)))) return -1;
    } else if (value) return FAIL(work, "the %s item of %s is not supported", last ? "last" : "first", value_kind(value));
    return 0;
}

static int filter_first(Work *w, json_t **result, json_t *value, const Arguments *a) { return (void)a, end_item(w, result, value, false); }
static int filter_last(Work *w, json_t **result, json_t *value, const Arguments *a) { return (void)a, end_item(w, result, value, true); }

static int filter_join(Work *work, json_t **result, json_t *value, const Arguments *arguments)
{
    Span separator = {"", 0};
    Text text = {0};
    if ((arguments->count && text_argument(work, &separator, arguments, 0, "d"))) return -1;
    if (value && !json_is_array(value)) return FAIL(work, "join of %s is not supported", value_kind(value));
    int status = 0;
    for (size_t i = 0; i < json_array_size(value) && !status; i++)
        status = (i && (spend(work, separator.length) || text_add(&text, work->err, separator.bytes, separator.length)))
            || value_text(work, &text, json_array_get(value, i));
    if (!status && !(*result = value_string(work, text.data, text.length))) status = -1;
    text_free(&text);
    return status ? -1 : 0;
}

static int filter_default(Work *work, json_t **result, json_t *value, const Arguments *arguments)
{
    bool also_false = value_is_true(argument(arguments, 1, "boolean"));
    bool keep = also_false ? value_is_true(value) : value != NULL;
    *result = json_incref(keep ? value : argument(arguments, 0, "default_value"));
    return keep || *result || arguments->count ? 0 : (*result = value_string(work, "", 0)) ? 0 : -1;
}

// Pairs [key, value], keys or values of a mapping, in the order in which it was made.
static int list_object(Work *work, json_t **result, json_t *value, bool keys, bool values)
{
    if (need_object(work, value)) return -1;
    *result = json_array();
    for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at)) {
        json_t *key = keys ? value_string(work, json_object_iter_key(at), strlen(json_object_iter_key(at))) : NULL;
        if ((keys && !key) || spend(work, STEP_COST)) return -1;
        json_t *item = !values ? key : json_incref(json_object_iter_value(at));
        if (keys && values) item = json_pack("[o,o]", key, item);
        if (json_array_append_new(*result, item)) return err_failed(work->err, "out of memory while rendering a chat template");
    }
    return 0;
}

static int do_items(Work *w, json_t **result, json_t *v, const Arguments *a) { return (void)a, list_object(w, result, v, true, true); }
static int do_keys(Work *w, json_t **result, json_t *v, const Arguments *a) { return (void)a, list_object(w, result, v, true, false); }
static int do_values(Work *w, json_t **result, json_t *v, const Arguments *a) { return (void)a, list_object(w, result, v, false, true); }

static int do_get(Work *work, json_t **result, json_t *value, const Arguments *arguments)
{
    Span key;
    if (need_object(work, value) || text_argument(work, &key, arguments, 0, "key")) return -1;
    json_t *found = json_object_get(value, key.bytes);
    *result = found ? json_incref(found) : arguments->count > 1 ? json_incref(argument(arguments, 1, "default")) : json_null();
    return 0;
}

static int filter_list(Work *work, json_t **result, json_t *value, const Arguments *arguments)
{
    (void)arguments;
    if (json_is_object(value)) return list_object(work, result, value, true, false);
    if (value && !json_is_array(value)) return FAIL(work, "a list of %s is not supported", value_kind(value));
    if (spend(work, STEP_COST * (json_array_size(value) + 1))) return -1;
    *result = value ? json_copy(value) : json_array();
    return 0;
}

// ---- tojson: json.dumps(value, ensure_ascii=False, indent=...) as transformers has it --------------------------------------------

static int json_text(Work *work, Text *out, const char *bytes, size_t length)
{
    static const char names[] = "\"\\\n\r\t\b\f", letters[] = "\"\\nrtbf";
    int status = spend(work, 2 * length) || text_puts(out, work->err, "\"");
    for (size_t i = 0; i < length && !status; i++) {
        const char *named = bytes[i] ? strchr(names, bytes[i]) : NULL;
        if (named) status = text_printf(out, work->err, "\\%c", letters[named - names]);
        else if ((unsigned char)bytes[i] < 0x20) status = text_printf(out, work->err, "\\u%04x", (unsigned)bytes[i]);
        else status = text_add(out, work->err, bytes + i, 1);
    }
    return status || text_puts(out, work->err, "\"") ? -1 : 0;
}

static int json_break(Work *work, Text *out, size_t indent, size_t level, bool first, bool last)
{
    if (!indent) return first || last ? 0 : text_puts(out, work->err, ", ");
    if (spend(work, indent * level + 2) || text_puts(out, work->err, first || last ? "\n" : ",\n")) return -1;
    return text_printf(out, work->err, "%*s", (int)(indent * level), "");
}

static int json_dump(Work *work, Text *out, json_t *value, size_t indent, size_t level)
{
    bool object = json_is_object(value);
    size_t i = 0, n = object ? json_object_size(value) : json_array_size(value);
    if (spend(work, STEP_COST)) return -1;
    if (level > 50) return FAIL(work, "tojson: more than 50 levels inside each other");
    if (json_is_string(value)) return json_text(work, out, json_string_value(value), json_string_length(value));
    if (json_is_null(value)) return text_puts(out, work->err, "null");
    if (json_is_boolean(value)) return text_puts(out, work->err, json_is_true(value) ? "true" : "false");
    if (!object && !json_is_array(value)) return value_text(work, out, value);
    int status = text_puts(out, work->err, object ? "{" : "[");
    for (void *at = object ? json_object_iter(value) : NULL; object && at && !status; at = json_object_iter_next(value, at), i++) {
        const char *key = json_object_iter_key(at);
        status = json_break(work, out, indent, level + 1, !i, false) || json_text(work, out, key, strlen(key))
            || text_puts(out, work->err, ": ") || json_dump(work, out, json_object_iter_value(at), indent, level + 1);
    }
    for (; !object && i < n && !status; i++)
        status = json_break(work, out, indent, level + 1, !i, false) || json_dump(work, out, json_array_get(value, i), indent, level + 1);
    if (!status && n) status = json_break(work, out, indent, level, false, true);
    return status || text_puts(out, work->err, object ? "}" : "]") ? -1 : 0;
}

static int filter_tojson(Work *work, json_t **result, json_t *value, const Arguments *arguments)
{
    const json_t *indent = argument(arguments, 0, "indent");
    Text text = {0};
    if (!value) return FAIL(work, "tojson of an undefined value");
    if (indent && !json_is_null(indent) && !(json_is_integer(indent) && json_integer_value(indent) > 0 && json_integer_value(indent) <= 16))
        return FAIL(work, "tojson: an indent other than 1 to 16 is not supported");
    int status = json_dump(work, &text, value, (size_t)json_integer_value(indent), 0);
    if (!status && !(*result = value_string(work, text.data, text.length))) status = -1;
    text_free(&text);
    return status;
}

// ---- tests -------------------------------------------------------------------------------------------------------------------------

static int answer(json_t **result, bool yes) { return *result = json_boolean(yes), 0; }

#define TEST(name, condition) \
    static int test_##name(Work *work, json_t **result, json_t *value, const Arguments *arguments) \
    { \
        (void)work, (void)arguments; \
        return answer(result, condition); \
    }
TEST(defined, value != NULL)
TEST(undefined, value == NULL)
TEST(none, json_is_null(value))
TEST(string, json_is_string(value))
TEST(number, json_is_number(value) || json_is_boolean(value))
TEST(integer, json_is_integer(value))
TEST(boolean, json_is_boolean(value))
TEST(true, json_is_true(value))
TEST(false, json_is_false(value))
TEST(mapping, json_is_object(value))
TEST(iterable, !value || json_is_string(value) || json_is_array(value) || json_is_object(value))
TEST(sequence, json_is_string(value) || json_is_array(value) || json_is_object(value))
TEST(equal, values_equal(value, argument(arguments, 0, "other")))

static int whole_number(Work *work, json_t **result, const json_t *value, long long divisor, long long wanted)
{
    if (!json_is_integer(value)) return FAIL(work, "this test is one of whole numbers, found %s", value_kind(value));
    if (!divisor) return FAIL(work, "division by zero");
    return answer(result, divisor == -1 ? wanted == 0 : llabs(json_integer_value(value) % divisor) == wanted);
}

static int test_even(Work *w, json_t **result, json_t *value, const Arguments *a) { return (void)a, whole_number(w, result, value, 2, 0); }
static int test_odd(Work *w, json_t **result, json_t *value, const Arguments *a) { return (void)a, whole_number(w, result, value, 2, 1); }
static int test_divisible(Work *w, json_t **result, json_t *value, const Arguments *a)
{
    return whole_number(w, result, value, json_integer_value(argument(a, 0, "num")), 0);
}

// ---- the tables --------------------------------------------------------------------------------------------------------------------

static const Operation filters[] = {
    {"trim", filter_trim, 0, {"chars"}}, {"upper", filter_upper, 0, {NULL}}, {"lower", filter_lower, 0, {NULL}},
    {"capitalize", filter_capitalize, 0, {NULL}}, {"replace", filter_replace, 2, {"old", "new"}}, {"string", filter_string, 0, {NULL}},
    {"safe", filter_string, 0, {NULL}}, {"length", filter_length, 0, {NULL}}, {"count", filter_length, 0, {NULL}},
    {"first", filter_first, 0, {NULL}}, {"last", filter_last, 0, {NULL}}, {"join", filter_join, 0, {"d"}},
    {"default", filter_default, 0, {"default_value", "boolean"}}, {"d", filter_default, 0, {"default_value", "boolean"}},
    {"list", filter_list, 0, {NULL}}, {"items", do_items, 0, {NULL}}, {"tojson", filter_tojson, 0, {"indent"}}, {0},
};
static const Operation methods[] = {
    {"strip", do_strip, 0, {"chars"}}, {"lstrip", do_lstrip, 0, {"chars"}}, {"rstrip", do_rstrip, 0, {"chars"}},
    {"upper", do_upper, 0, {NULL}}, {"lower", do_lower, 0, {NULL}}, {"capitalize", do_capitalize, 0, {NULL}},
    {"replace", do_replace, 2, {"old", "new"}}, {"split", do_split, 0, {"sep", "maxsplit"}}, {"startswith", do_startswith, 1, {"prefix"}},
    {"endswith", do_endswith, 1, {"prefix"}}, {"items", do_items, 0, {NULL}}, {"keys", do_keys, 0, {NULL}},
    {"values", do_values, 0, {NULL}}, {"get", do_get, 1, {"key", "default"}}, {0},
};
static const Operation tests[] = {
    {"defined", test_defined, 0, {NULL}}, {"undefined", test_undefined, 0, {NULL}}, {"none", test_none, 0, {NULL}},
    {"string", test_string, 0, {NULL}}, {"number", test_number, 0, {NULL}}, {"integer", test_integer, 0, {NULL}},
    {"boolean", test_boolean, 0, {NULL}}, {"true", test_true, 0, {NULL}}, {"false", test_false, 0, {NULL}},
    {"mapping", test_mapping, 0, {NULL}}, {"iterable", test_iterable, 0, {NULL}}, {"sequence", test_sequence, 0, {NULL}},
    {"equalto", test_equal, 1, {"other"}}, {"eq", test_equal, 1, {"other"}}, {"even", test_even, 0, {NULL}}, {"odd", test_odd, 0, {NULL}},
    {"divisibleby", test_divisible, 1, {"num"}}, {0},
};

static const Operation *find(const Operation *table, Span name)
{
    for (; table->name; table++)
        if (span_is(name, table->name)) return table;
    return NULL;
}

const Operation *find_filter(Span name) { return find(filters, name); }
const Operation *find_method(Span name) { return find(methods, name); }
const Operation *find_test(Span name) { return find(tests, name); }
