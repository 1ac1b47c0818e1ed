// SPDX-License-Identifier: MIT
/* template-internal.h - what the template's files share: template.c and template_expression.c (text to nodes),
 * template_render.c (nodes to text), template_values.c (filters, tests and methods of values). Nobody else includes it. */
#ifndef RAFT_FILES_TEMPLATE_INTERNAL_H
#define RAFT_FILES_TEMPLATE_INTERNAL_H

#include "files/template.h"

#include <string.h>

enum { MOST_DEPTH = 100, LONGEST_NAME = 80, STEP_COST = 16 /* of the budget, beside the bytes that a step makes */ };

typedef struct { const char *bytes; size_t length; } Span;
static inline bool span_is(Span span, const char *text) { return strlen(text) == span.length && !memcmp(span.bytes, text, span.length); }

typedef enum {
    // statements; those of a body are linked by `next`
    NODE_TEXT, NODE_OUTPUT /* a */, NODE_IF /* a: b, else c */, NODE_FOR /* name, second in a: b, if d, else c */,
    NODE_SET /* name.second = a */, NODE_BREAK, NODE_CONTINUE,
    // expressions; arguments and items are linked by `next`
    NODE_VALUE, NODE_NAME, NODE_ATTRIBUTE /* a.name */, NODE_INDEX /* a[b] */, NODE_SLICE /* a[b:c:d] */, NODE_CALL /* a(b...) */,
    NODE_FILTER /* a | name(b...) */, NODE_TEST /* a is name(b...) */, NODE_ARGUMENT /* name = a */, NODE_NOT, NODE_NEGATE, NODE_AND,
    NODE_OR, NODE_BINARY /* a name b */, NODE_CHOICE /* b if a else c */, NODE_LIST /* b... */, NODE_OBJECT /* b... */, NODE_PAIR /* a: b */,
} NodeKind;

typedef struct {
    NodeKind kind;
    uint32_t a, b, c, d, next; // nodes, 0: none
    uint32_t depth;            // of the tree below, which bounds recursion
    uint32_t at;               // byte of the source, for messages
    Span name, second;         // into the source
    json_t *value;
} Node;

struct Template {
    char *where, *source; // line ends are \n
    size_t length;
    Node *nodes;          // [0] is none
    size_t count, room;
    uint32_t body;
};

int template_error(const Template *template, uint32_t at, Err *err, const char *format, ...) PRINTF_LIKE(4, 5);

// ---- parsing: template.c and template_expression.c ----------------------------------------------------------------------------

typedef enum { TOKEN_END, TOKEN_NAME, TOKEN_INTEGER, TOKEN_FLOAT, TOKEN_STRING, TOKEN_OPERATOR } TokenKind;
typedef struct { TokenKind kind; Span span; uint32_t at; } Token; // END: the tag's "%}" or "}}"

typedef struct {
    Template *t;
    Err *err;
    size_t at;
    bool variable;    // in {{ }}, not {% %}
    size_t brackets;  // open ones: a "}}" inside is no end
    size_t depth;     // of the recursion
    Token token;      // the next one
} Parser;
typedef struct { uint32_t first, last; } NodeList;

// All return 0, or -1 with an error that names the place.
int next_token(Parser *p);
bool starts(const Parser *p, size_t at, const char *text); // whether the source has this text there
size_t tag_end(const Parser *p);                           // the length of what ends the tag at p->at ("-%}"), or 0
bool next_is(const Parser *p, const char *text);           // the next token, a name or an operator
int unexpected(const Parser *p, const char *wanted);
int need(Parser *p, const char *text);
int need_name(Parser *p, Span *name);
int make(Parser *p, uint32_t *index, Node node);           // a new node
void list_add(Parser *p, NodeList *list, uint32_t node);
int parse_expression(Parser *p, uint32_t *node);
int parse_or(Parser *p, uint32_t *node);                   // without "x if y else z"

// ---- values: template_render.c and template_values.c ----------------------------------------------------------------------------

enum { MOST_ARGUMENTS = 3 };
typedef struct {
    json_t *values[MOST_ARGUMENTS]; // NULL: undefined
    Span names[MOST_ARGUMENTS];     // empty: by position
    size_t count;
} Arguments;

typedef struct {
    const Template *template;
    const Node *node;  // where a message points
    size_t budget;     // bytes and steps left
    Err *err;
} Work;

int spend(Work *work, size_t amount); // -1 with an error when the budget is used up

// Values are owned by the caller; NULL is undefined.
bool value_is_true(const json_t *value);
bool values_equal(const json_t *a, const json_t *b);
int value_text(Work *work, Text *text, const json_t *value); // as print() would; refuses lists and numbers with a fraction
const char *value_kind(const json_t *value);
json_t *value_string(Work *work, const char *bytes, size_t length); // NULL with an error
int text_contains(Work *work, bool *found, Span in, Span what);
size_t character_count(const char *bytes, size_t length);
size_t character_offset(const char *bytes, size_t length, size_t index); // in bytes

typedef int (*ValueFunction)(Work *work, json_t **result, json_t *value, const Arguments *arguments);
// A filter, method or test. Its arguments are checked when the template is read: at least so many, and no others than these.
typedef struct { const char *name; ValueFunction function; size_t least; const char *arguments[MOST_ARGUMENTS]; } Operation;
const Operation *find_filter(Span name); // NULL: there is none
const Operation *find_method(Span name);
const Operation *find_test(Span name);

// ---- operators: template_operators.c -------------------------------------------------------------------------------------------

int apply_operator(Work *work, Span op, json_t **value, json_t *a, json_t *b); // "+", "in", ...; NULL is undefined

#endif
