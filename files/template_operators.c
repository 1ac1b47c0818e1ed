// SPDX-License-Identifier: MIT
/* template_operators.c - what + - * // % ~ in and the comparisons make of two values, as in Python, or refuse. Start at apply_operator, at
 * the end. */
#include "files/template-internal.h"

#include <stdlib.h>

#define FAIL(w, ...) template_error((w)->template, (w)->node->at, (w)->err, __VA_ARGS__)

static int out_of_memory(Work *work) { return err_failed(work->err, "out of memory while rendering a chat template"); }

static int concatenate(Work *work, json_t **value, const json_t *a, const json_t *b)
{
    Text text = {0};
    int status = value_text(work, &text, a) || value_text(work, &text, b) ? -1 : 0;
    if (!status && !(*value = value_string(work, text.data, text.length))) status = -1;
    text_free(&text);
    return status;
}

static int join_lists(Work *work, json_t **value, const json_t *a, const json_t *b)
{
    if (spend(work, STEP_COST * (json_array_size(a) + json_array_size(b) + 1))) return -1;
    *value = json_array();
    for (size_t i = 0; i < json_array_size(a) + json_array_size(b); i++) {
        json_t *item = i < json_array_size(a) ? json_array_get(a, i) : json_array_get(b, i - json_array_size(a));
        if (json_array_append(*value, item)) return out_of_memory(work);
    }
    return 0;
}

static int arithmetic(Work *work, json_t **value, char op, long long a, long long b)
{
    const long long most = 1LL << 53; // more than a template counts to; nothing overflows
    if ((op == '/' || op == '%') && !b) return FAIL(work, "division by zero");
    if (a > most || a < -most || b > most || b < -most || (op == '*' && a && (b > most / llabs(a) || b < -most / llabs(a))))
        return FAIL(work, "a number too large");
    long long quotient = op == '/' || op == '%' ? a / b - ((a % b != 0) && ((a < 0) != (b < 0))) : 0; // Python rounds down
    long long result = op == '+' ? a + b : op == '-' ? a - b : op == '*' ? a * b : op == '/' ? quotient : a - quotient * b;
    return (*value = json_integer(result)) ? 0 : out_of_memory(work);
}

static int contains(Work *work, bool *found, const json_t *needle, const json_t *in)
{
    *found = false;
    if (!in) return 0;
    if (json_is_array(in)) {
        for (size_t i = 0; i < json_array_size(in) && !*found; i++) {
            if (spend(work, STEP_COST)) return -1;
            *found = values_equal(needle, json_array_get(in, i));
        }
        return 0;
    }
    if (json_is_string(in) && json_is_string(needle))
        return text_contains(work, found, (Span){json_string_value(in), json_string_length(in)},
            (Span){json_string_value(needle), json_string_length(needle)});
    if (!json_is_object(in)) return FAIL(work, "%s in %s is not supported", value_kind(needle), value_kind(in));
    *found = json_is_string(needle) && json_object_get(in, json_string_value(needle));
    return 0;
}

// <, <=, >, >= as a sign; strings by code points, which is by bytes in UTF-8.
static int order(Work *work, int *sign, const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b)) {
        json_int_t x = json_integer_value(a), y = json_integer_value(b);
        *sign = (x > y) - (x < y);
        return 0;
    }
    if (json_is_number(a) && json_is_number(b)) {
        double x = json_number_value(a), y = json_number_value(b);
        *sign = (x > y) - (x < y);
        return 0;
    }
    if (!json_is_string(a) || !json_is_string(b)) return FAIL(work, "comparing %s with %s is not supported", value_kind(a), value_kind(b));
    size_t n = json_string_length(a), m = json_string_length(b);
    *sign = memcmp(json_string_value(a), json_string_value(b), n < m ? n : m);
    if (!*sign) *sign = (n > m) - (n < m);
    return 0;
}

int apply_operator(Work *work, Span op, json_t **value, json_t *a, json_t *b)
{
    bool found;
    int sign = 0;
    if (span_is(op, "==") || span_is(op, "!=")) return *value = json_boolean(values_equal(a, b) == (*op.bytes == '=')), 0;
    if (span_is(op, "~")) return concatenate(work, value, a, b);
    if (span_is(op, "in")) return contains(work, &found, a, b) ? -1 : (*value = json_boolean(found), 0);
    if (*op.bytes == '<' || *op.bytes == '>') {
        if (order(work, &sign, a, b)) return -1;
        if (*op.bytes == '>') sign = -sign;
        *value = json_boolean(op.length == 2 ? sign <= 0 : sign < 0);
        return 0;
    }
    if (json_is_integer(a) && json_is_integer(b)) return arithmetic(work, value, *op.bytes, json_integer_value(a), json_integer_value(b));
    if (*op.bytes == '+' && json_is_string(a) && json_is_string(b)) return concatenate(work, value, a, b);
    if (*op.bytes == '+' && json_is_array(a) && json_is_array(b)) return join_lists(work, value, a, b);
    return FAIL(work, "%s %.*s %s is not supported", value_kind(a), (int)op.length, op.bytes, value_kind(b));
}
