// SPDX-License-Identifier: MIT
/* template_expression.c - what stands inside a template's tags: tokens, and the grammar of expressions from what binds loosest to what
 * binds tightest. Start at parse_expression, at the end. */
#include "files/template-internal.h"

#include "files/unicode.h"

#include <errno.h>
#include <stdlib.h>

#define FAIL(p, where, ...) template_error((p)->t, (uint32_t)(where), (p)->err, __VA_ARGS__)

// ---- tokens of expressions -------------------------------------------------------------------------------------------------

static bool is_name_byte(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

bool starts(const Parser *p, size_t at, const char *text)
{
    size_t n = strlen(text);
    return p->t->length - at >= n && !memcmp(p->t->source + at, text, n);
}

// The length of what ends the tag here ("-%}"), or 0.
size_t tag_end(const Parser *p)
{
    const char *end = p->variable ? "}}" : "%}";
    if (p->brackets || p->at >= p->t->length) return 0;
    if (starts(p, p->at, end)) return 2;
    bool sign = p->t->source[p->at] == '-' || (p->t->source[p->at] == '+' && !p->variable);
    return sign && starts(p, p->at + 1, end) ? 3 : 0;
}

static int next_number(Parser *p)
{
    const char *s = p->t->source;
    size_t start = p->at;
    p->token.kind = TOKEN_INTEGER;
    while (p->at < p->t->length && ((s[p->at] >= '0' && s[p->at] <= '9') || s[p->at] == '_')) p->at++;
    for (size_t i = start; i < p->at; i++) // as in Python: 1_000, 00, but neither 1_ nor 02
        if ((s[i] == '_' && (i + 1 == p->at || s[i + 1] == '_')) || (s[start] == '0' && s[i] > '0' && s[i] <= '9'))
            return FAIL(p, start, "\"%.*s\" is no whole number", (int)(p->at - start < 40 ? p->at - start : 40), s + start);
    if (p->t->length - p->at >= 2 && s[p->at] == '.' && s[p->at + 1] >= '0' && s[p->at + 1] <= '9') {
        p->token.kind = TOKEN_FLOAT;
        for (p->at++; p->at < p->t->length && s[p->at] >= '0' && s[p->at] <= '9';) p->at++;
    }
    if (p->at < p->t->length && is_name_byte(s[p->at], false)) return FAIL(p, start, "a number of this form is not supported");
    p->token.span = (Span){s + start, p->at - start};
    return 0;
}

static int next_string(Parser *p)
{
    const char *s = p->t->source, quote = s[p->at];
    size_t start = p->at++;
    while (p->at < p->t->length && s[p->at] != quote) p->at += s[p->at] == '\\' ? 2 : 1;
    if (p->at >= p->t->length) return FAIL(p, start, "a string without an end");
    p->token.kind = TOKEN_STRING;
    p->token.span = (Span){s + start + 1, p->at++ - start - 1};
    return 0;
}

static int next_operator(Parser *p)
{
    static const char *const operators[] = {"**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ":", "|",
        ",", "(", ")", "[", "]", "{", "}"};
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (!starts(p, p->at, operators[i])) continue;
        char c = *operators[i];
        if (c == '(' || c == '[' || c == '{') p->brackets++;
        if ((c == ')' || c == ']' || c == '}') && p->brackets) p->brackets--;
        p->token.kind = TOKEN_OPERATOR;
        p->token.span = (Span){p->t->source + p->at, strlen(operators[i])};
        p->at += p->token.span.length;
        return 0;
    }
    return FAIL(p, p->at, "unexpected character '%c'", p->t->source[p->at] >= ' ' ? p->t->source[p->at] : '?');
}

int next_token(Parser *p)
{
    const char *s = p->t->source;
    while (p->at < p->t->length && (s[p->at] == ' ' || (s[p->at] >= '\t' && s[p->at] <= '\r'))) p->at++;
    p->token = (Token){TOKEN_END, {"", 0}, (uint32_t)p->at};
    if (p->at == p->t->length) return FAIL(p, p->at, "the template ends inside a tag");
    if (tag_end(p)) return 0;
    if (s[p->at] == '"' || s[p->at] == '\'') return next_string(p);
    if (s[p->at] >= '0' && s[p->at] <= '9') return next_number(p);
    if (!is_name_byte(s[p->at], true)) return next_operator(p);
    size_t start = p->at;
    while (p->at < p->t->length && is_name_byte(s[p->at], false)) p->at++;
    p->token.kind = TOKEN_NAME;
    p->token.span = (Span){s + start, p->at - start};
    return p->at - start <= LONGEST_NAME ? 0 : FAIL(p, start, "a name of more than %d characters", LONGEST_NAME);
}

bool next_is(const Parser *p, const char *text)
{
    return (p->token.kind == TOKEN_NAME || p->token.kind == TOKEN_OPERATOR) && span_is(p->token.span, text);
}

int unexpected(const Parser *p, const char *wanted)
{
    if (p->token.kind == TOKEN_END) return FAIL(p, p->token.at, "the tag ends where %s was expected", wanted);
    return FAIL(p, p->token.at, "expected %s, found \"%.*s\"", wanted, (int)(p->token.span.length < 40 ? p->token.span.length : 40),
        p->token.span.bytes);
}

int need(Parser *p, const char *text)
{
    return next_is(p, text) ? next_token(p) : unexpected(p, text);
}

int need_name(Parser *p, Span *name)
{
    if (p->token.kind != TOKEN_NAME) return unexpected(p, "a name");
    *name = p->token.span;
    return next_token(p);
}

// ---- nodes -----------------------------------------------------------------------------------------------------------------

// The new node's index, or 0 on error. Chains like 1 + 1 + 1 nest without recursion here but not when evaluated: depth counts them.
static uint32_t add_node(Parser *p, Node node)
{
    Template *t = p->t;
    const uint32_t below[] = {node.a, node.b, node.c, node.d};
    for (size_t i = 0; i < 4; i++)
        if (below[i] && t->nodes[below[i]].depth >= node.depth) node.depth = t->nodes[below[i]].depth + 1;
    if (node.depth > MOST_DEPTH) {
        FAIL(p, node.at, "more than %d levels inside each other", MOST_DEPTH);
        json_decref(node.value);
        return 0;
    }
    if (t->count == t->room) {
        Node *grown = mem_resize(p->err, t->nodes, t->room, 2 * t->room, sizeof *grown);
        if (!grown) return json_decref(node.value), 0;
        t->nodes = grown;
        t->room *= 2;
    }
    t->nodes[t->count] = node;
    return (uint32_t)t->count++;
}

// Makes *node a new node; 0 or -1.
int make(Parser *p, uint32_t *index, Node node) { return (*index = add_node(p, node)) ? 0 : -1; }

void list_add(Parser *p, NodeList *list, uint32_t node)
{
    if (list->last) p->t->nodes[list->last].next = node;
    else list->first = node;
    list->last = node;
    uint32_t depth = p->t->nodes[node].depth; // whoever holds the list is above all of it
    if (depth > p->t->nodes[list->first].depth) p->t->nodes[list->first].depth = depth;
}

// ---- expressions, from what binds loosest to what binds tightest -------------------------------------------------------------

static int parse_unary(Parser *p, uint32_t *node, bool with_filters);

static uint32_t hex_digits(const char *s, size_t n, size_t *used)
{
    uint32_t value = 0;
    for (*used = 0; *used < n; ++*used) {
        char c = s[*used];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) break;
        value = value << 4 | (uint32_t)digit;
    }
    return value;
}

// One escape after a backslash, as Python reads it. An unknown one stays as it is.
static int add_escape(Parser *p, Text *out, Span s, size_t *i)
{
    static const char names[] = "ntr\\'\"abfv", values[] = "\n\t\r\\'\"\a\b\f\v";
    char c = s.bytes[*i];
    const char *known = memchr(names, c, sizeof names - 1);
    size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0, used;
    ++*i;
    if (known) return text_add(out, p->err, &values[known - names], 1);
    if (c == '\n') return 0;
    if (digits) {
        uint32_t character = hex_digits(s.bytes + *i, s.length - *i < digits ? s.length - *i : digits, &used);
        char bytes[4];
        if (used != digits || character > 0x10FFFF || (character >= 0xD800 && character <= 0xDFFF))
            return FAIL(p, p->token.at, "the escape \\%c in a string names no character", c);
        *i += digits;
        return text_add(out, p->err, bytes, utf8_put(bytes, character));
    }
    if ((c >= '0' && c <= '7') || c == 'N') return FAIL(p, p->token.at, "the escape \\%c in a string is not supported", c);
    return text_add(out, p->err, "\\", 1) || text_add(out, p->err, &c, 1) ? -1 : 0;
}

// Strings that follow each other are one.
static int parse_string(Parser *p, uint32_t *node)
{
    Text text = {0};
    uint32_t at = p->token.at;
    int status = text_add(&text, p->err, "", 0);
    while (!status && p->token.kind == TOKEN_STRING) {
        Span s = p->token.span;
        for (size_t i = 0; i < s.length && !status;) {
            if (s.bytes[i] != '\\') status = text_add(&text, p->err, s.bytes + i++, 1);
            else i++, status = add_escape(p, &text, s, &i);
        }
        if (!status) status = next_token(p);
    }
    if (!status) status = make(p, node, (Node){.kind = NODE_VALUE, .at = at, .value = json_stringn(text.data, text.length)});
    text_free(&text);
    return status;
}

static int parse_number(Parser *p, uint32_t *node)
{
    char digits[40];
    size_t n = 0;
    for (size_t i = 0; i < p->token.span.length && n + 1 < sizeof digits; i++)
        if (p->token.span.bytes[i] != '_') digits[n++] = p->token.span.bytes[i];
    digits[n] = '\0';
    if (p->token.kind == TOKEN_FLOAT) return FAIL(p, p->token.at, "numbers with a fraction are not supported");
    errno = 0;
    long long value = strtoll(digits, NULL, 10);
    if (errno || n > 18) return FAIL(p, p->token.at, "the number %s is too large", digits);
    return make(p, node, (Node){.kind = NODE_VALUE, .at = p->token.at, .value = json_integer(value)}) ? -1 : next_token(p);
}

static int parse_name(Parser *p, uint32_t *node)
{
    static const struct { const char *name; int value; } constants[] = {
        {"true", 1}, {"True", 1}, {"false", 0}, {"False", 0}, {"none", 2}, {"None", 2}};
    Node name = {.kind = NODE_NAME, .at = p->token.at, .name = p->token.span};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (span_is(name.name, constants[i].name)) {
            name.kind = NODE_VALUE;
            name.value = constants[i].value == 2 ? json_null() : json_boolean(constants[i].value);
        }
    return make(p, node, name) ? -1 : next_token(p);
}

// [a, b] or {"a": b} behind the bracket, to `close`; or (a, b), which is taken for a list, behind its first item.
static int parse_items(Parser *p, uint32_t *node, const char *close, uint32_t known)
{
    bool object = *close == '}';
    uint32_t at = p->token.at, item, value;
    NodeList items = {0};
    if (known) {
        if (make(p, &item, (Node){.kind = NODE_ARGUMENT, .at = at, .a = known})) return -1;
        list_add(p, &items, item);
    }
    if (next_token(p)) return -1;
    while (!next_is(p, close)) {
        if (parse_expression(p, &item)) return -1;
        if (object) {
            if (need(p, ":") || parse_expression(p, &value)) return -1;
        }
        // a wrapper of its own, because an expression may already be linked as an argument
        Node wrapper = {.kind = object ? NODE_PAIR : NODE_ARGUMENT, .at = at, .a = item, .b = object ? value : 0};
        if (make(p, &item, wrapper)) return -1;
        list_add(p, &items, item);
        if (!next_is(p, close) && need(p, ",")) return -1;
    }
    return next_token(p) || make(p, node, (Node){.kind = object ? NODE_OBJECT : NODE_LIST, .at = at, .b = items.first}) ? -1 : 0;
}

static int parse_primary(Parser *p, uint32_t *node)
{
    if (p->token.kind == TOKEN_STRING) return parse_string(p, node);
    if (p->token.kind == TOKEN_INTEGER || p->token.kind == TOKEN_FLOAT) return parse_number(p, node);
    if (next_is(p, "[") || next_is(p, "{")) return parse_items(p, node, next_is(p, "{") ? "}" : "]", 0);
    if (next_is(p, "(")) {
        if (next_token(p) || parse_expression(p, node)) return -1;
        return next_is(p, ",") ? parse_items(p, node, ")", *node) : need(p, ")");
    }
    if (p->token.kind == TOKEN_NAME) return parse_name(p, node);
    return unexpected(p, "a value");
}

// (a, name=b), behind the bracket.
static int parse_arguments(Parser *p, uint32_t *first)
{
    NodeList list = {0};
    for (size_t count = 1; !next_is(p, ")"); count++) {
        Node argument = {.kind = NODE_ARGUMENT, .at = p->token.at};
        uint32_t node;
        if (count > MOST_ARGUMENTS) return FAIL(p, p->token.at, "more than %d arguments are not supported", MOST_ARGUMENTS);
        if (next_is(p, "*") || next_is(p, "**")) return FAIL(p, p->token.at, "* and ** before an argument are not supported");
        if (parse_expression(p, &node)) return -1;
        if (next_is(p, "=")) {
            if (p->t->nodes[node].kind != NODE_NAME) return FAIL(p, p->token.at, "expected a name before =");
            argument.name = p->t->nodes[node].name;
            if (next_token(p) || parse_expression(p, &node)) return -1;
        }
        argument.a = node;
        if (make(p, &node, argument)) return -1;
        list_add(p, &list, node);
        if (!next_is(p, ")") && need(p, ",")) return -1;
    }
    *first = list.first;
    return next_token(p);
}

// What a filter, method or test does not take, or lacks, is named where it stands.
static int check_arguments(Parser *p, const Operation *operation, const char *kind, uint32_t first, uint32_t at)
{
    size_t count = 0, most = 0;
    bool given[MOST_ARGUMENTS] = {false}, named = false;
    while (most < MOST_ARGUMENTS && operation->arguments[most]) most++;
    for (uint32_t i = first; i; i = p->t->nodes[i].next, count++) {
        const Node *argument = &p->t->nodes[i];
        Span name = argument->name;
        size_t position = name.length ? 0 : count;
        if (named && !name.length) return FAIL(p, argument->at, "an argument without a name after one with a name");
        named = name.length > 0;
        while (named && position < most && !span_is(name, operation->arguments[position])) position++;
        if (position >= most && named)
            return FAIL(p, argument->at, "%s \"%s\" has no argument \"%.*s\"", kind, operation->name, (int)name.length, name.bytes);
        if (position >= most) return FAIL(p, argument->at, "%s \"%s\" with more than %zu arguments", kind, operation->name, most);
        if (given[position]) return FAIL(p, argument->at, "the argument \"%s\" is given twice", operation->arguments[position]);
        given[position] = true;
    }
    for (size_t i = 0; i < operation->least; i++)
        if (!given[i]) return FAIL(p, at, "%s \"%s\" needs the argument \"%s\"", kind, operation->name, operation->arguments[i]);
    return 0;
}

// [i] or [i:j:k], behind the bracket.
static int parse_subscript(Parser *p, uint32_t *node, uint32_t at)
{
    Node index = {.kind = NODE_INDEX, .at = at, .a = *node};
    uint32_t *parts[] = {&index.b, &index.c, &index.d};
    for (size_t i = 0; i < 3; i++) {
        if (!next_is(p, ":") && !next_is(p, "]") && parse_expression(p, parts[i])) return -1;
        if (!next_is(p, ":")) break;
        index.kind = NODE_SLICE;
        if (i == 2) return unexpected(p, "]");
        if (next_token(p)) return -1;
    }
    if (index.kind == NODE_INDEX && !index.b) return unexpected(p, "an index");
    return need(p, "]") || make(p, node, index) ? -1 : 0;
}

static int parse_postfix(Parser *p, uint32_t *node)
{
    for (;;) {
        uint32_t at = p->token.at;
        if (next_is(p, ".")) {
            Node attribute = {.kind = NODE_ATTRIBUTE, .at = at, .a = *node};
            if (next_token(p) || need_name(p, &attribute.name) || make(p, node, attribute)) return -1;
        } else if (next_is(p, "[")) {
            if (next_token(p) || parse_subscript(p, node, at)) return -1;
        } else if (next_is(p, "(")) {
            Node call = {.kind = NODE_CALL, .at = at, .a = *node};
            NodeKind callee = p->t->nodes[*node].kind;
            if (callee != NODE_NAME && callee != NODE_ATTRIBUTE) return FAIL(p, at, "only names and methods can be called");
            if (callee == NODE_ATTRIBUTE && !find_method(p->t->nodes[*node].name))
                return FAIL(p, at, "method \"%.*s\" is not supported", (int)p->t->nodes[*node].name.length, p->t->nodes[*node].name.bytes);
            if (next_token(p) || parse_arguments(p, &call.b)) return -1;
            if (callee == NODE_ATTRIBUTE && check_arguments(p, find_method(p->t->nodes[*node].name), "method", call.b, at)) return -1;
            if (make(p, node, call)) return -1;
        } else return 0;
    }
}

static int parse_filter(Parser *p, uint32_t *node)
{
    Node filter = {.kind = NODE_FILTER, .at = p->token.at, .a = *node};
    if (next_token(p) || need_name(p, &filter.name)) return -1;
    const Operation *operation = find_filter(filter.name);
    if (!operation) return FAIL(p, filter.at, "filter \"%.*s\" is not supported", (int)filter.name.length, filter.name.bytes);
    if (next_is(p, "(") && (next_token(p) || parse_arguments(p, &filter.b))) return -1;
    return check_arguments(p, operation, "filter", filter.b, filter.at) || make(p, node, filter) ? -1 : 0;
}

static int parse_test(Parser *p, uint32_t *node)
{
    Node test = {.kind = NODE_TEST, .at = p->token.at, .a = *node};
    if (next_token(p)) return -1;
    bool negated = next_is(p, "not");
    if (negated && next_token(p)) return -1;
    if (need_name(p, &test.name)) return -1;
    const Operation *operation = find_test(test.name);
    if (!operation) return FAIL(p, test.at, "test \"%.*s\" is not supported", (int)test.name.length, test.name.bytes);
    if (next_is(p, "(") && (next_token(p) || parse_arguments(p, &test.b))) return -1;
    else if (!test.b && (p->token.kind == TOKEN_STRING || p->token.kind == TOKEN_INTEGER || next_is(p, "[")))
        return FAIL(p, p->token.at, "write the test's argument in brackets: %.*s(...)", (int)test.name.length, test.name.bytes);
    if (check_arguments(p, operation, "test", test.b, test.at) || make(p, node, test)) return -1;
    return negated ? make(p, node, (Node){.kind = NODE_NOT, .at = test.at, .a = *node}) : 0;
}

static int parse_unary_inside(Parser *p, uint32_t *node, bool with_filters)
{
    uint32_t at = p->token.at;
    bool minus = next_is(p, "-");
    if (minus || next_is(p, "+")) {
        if (next_token(p) || parse_unary(p, node, false)) return -1;
        if (minus && make(p, node, (Node){.kind = NODE_NEGATE, .at = at, .a = *node})) return -1;
    } else if (parse_primary(p, node)) return -1;
    if (parse_postfix(p, node)) return -1;
    while (with_filters && (next_is(p, "|") || next_is(p, "is")))
        if ((next_is(p, "|") ? parse_filter(p, node) : parse_test(p, node)) || parse_postfix(p, node)) return -1;
    return 0;
}

static int parse_unary(Parser *p, uint32_t *node, bool with_filters)
{
    if (p->depth++ >= MOST_DEPTH) return FAIL(p, p->token.at, "more than %d levels inside each other", MOST_DEPTH);
    int status = parse_unary_inside(p, node, with_filters);
    p->depth--;
    return status;
}

// Binary operators by level, the loosest first; those of one level group to the left.
static const char *const levels[][7] = {
    {"==", "!=", "<", "<=", ">", ">=", "in"}, {"+", "-"}, {"~"}, {"*", "//", "%"}, {NULL}};

static const char *operator_here(const Parser *p, size_t level)
{
    for (size_t i = 0; i < 7 && levels[level][i]; i++)
        if (next_is(p, levels[level][i])) return levels[level][i];
    return NULL;
}

static int parse_binary(Parser *p, uint32_t *node, size_t level)
{
    if (!levels[level][0]) return parse_unary(p, node, true);
    if (parse_binary(p, node, level + 1)) return -1;
    for (size_t compared = 0;; compared += level == 0) {
        Node binary = {.kind = NODE_BINARY, .at = p->token.at, .a = *node, .name = p->token.span};
        bool negated = level == 0 && next_is(p, "not");
        if (level == 3 && (next_is(p, "/") || next_is(p, "**")))
            return FAIL(p, p->token.at, "the operator %.*s is not supported", (int)p->token.span.length, p->token.span.bytes);
        if (!negated && !operator_here(p, level)) return 0;
        if (compared) return FAIL(p, p->token.at, "a chain of comparisons is not supported");
        if (negated) {
            if (next_token(p)) return -1;
            if (!next_is(p, "in")) return unexpected(p, "in");
            binary.name = p->token.span;
        }
        if (next_token(p) || parse_binary(p, &binary.b, level + 1) || make(p, node, binary)) return -1;
        if (negated && make(p, node, (Node){.kind = NODE_NOT, .at = binary.at, .a = *node})) return -1;
    }
}

static int parse_not(Parser *p, uint32_t *node)
{
    if (!next_is(p, "not")) return parse_binary(p, node, 0);
    uint32_t at = p->token.at;
    if (p->depth++ >= MOST_DEPTH) return FAIL(p, at, "more than %d levels inside each other", MOST_DEPTH);
    if (next_token(p) || parse_not(p, node)) return -1;
    p->depth--;
    return make(p, node, (Node){.kind = NODE_NOT, .at = at, .a = *node});
}

static int parse_and(Parser *p, uint32_t *node)
{
    if (parse_not(p, node)) return -1;
    while (next_is(p, "and")) {
        Node both = {.kind = NODE_AND, .at = p->token.at, .a = *node};
        if (next_token(p) || parse_not(p, &both.b) || make(p, node, both)) return -1;
    }
    return 0;
}

int parse_or(Parser *p, uint32_t *node)
{
    if (parse_and(p, node)) return -1;
    while (next_is(p, "or")) {
        Node either = {.kind = NODE_OR, .at = p->token.at, .a = *node};
        if (next_token(p) || parse_and(p, &either.b) || make(p, node, either)) return -1;
    }
    return 0;
}

static int parse_choice(Parser *p, uint32_t *node)
{
    if (parse_or(p, node)) return -1;
    while (next_is(p, "if")) {
        Node choice = {.kind = NODE_CHOICE, .at = p->token.at, .b = *node};
        if (next_token(p) || parse_or(p, &choice.a)) return -1;
        if (next_is(p, "else") && (next_token(p) || parse_expression(p, &choice.c))) return -1;
        if (make(p, node, choice)) return -1;
    }
    return 0;
}

int parse_expression(Parser *p, uint32_t *node)
{
    if (p->depth++ >= MOST_DEPTH) return FAIL(p, p->token.at, "more than %d levels inside each other", MOST_DEPTH);
    int status = parse_choice(p, node);
    p->depth--;
    return status;
}
