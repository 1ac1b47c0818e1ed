// SPDX-License-Identifier: MIT
/* template_render.c - runs a template's tree over variables. Recursion is bounded by the tree's depth (template.c), time and memory
 * by a budget that every step and every byte of text made takes from. Start at template_render, then run_body and evaluate.
 *
 * Values are jansson's, undefined is NULL. A namespace is a mapping that the template may change; nothing else changes.
 */
#include "files/template-internal.h"

#include <limits.h>
#include <stdlib.h>

enum { BUDGET = 1 << 26, MOST_SPACES = 64 };

typedef struct { Span name; json_t *value; } Variable;
typedef enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } Flow;

typedef struct {
    Work work;
    Text *out;
    const json_t *globals;
    Variable *variables;   // of all scopes, the innermost last
    size_t count, room;
    size_t scope;          // where the innermost scope begins: what `set` may replace
    Flow flow;
    json_t *spaces[MOST_SPACES];
    size_t space_count;
} Render;

#define FAIL(r, ...) template_error((r)->work.template, (r)->work.node->at, (r)->work.err, __VA_ARGS__)

static const Node *node_of(const Render *r, uint32_t index) { return &r->work.template->nodes[index]; }
static int out_of_memory(Render *r) { return err_failed(r->work.err, "out of memory while rendering a chat template"); }

// ---- variables ---------------------------------------------------------------------------------------------------------------

static Variable *find_variable(Render *r, Span name, size_t from)
{
    for (size_t i = r->count; i-- > from;)
        if (r->variables[i].name.length == name.length && !memcmp(r->variables[i].name.bytes, name.bytes, name.length))
            return &r->variables[i];
    return NULL;
}

// Takes the value.
static int set_variable(Render *r, Span name, json_t *value)
{
    Variable *known = find_variable(r, name, r->scope);
    if (known) {
        json_decref(known->value);
        known->value = value;
        return 0;
    }
    if (r->count == r->room) {
        size_t room = r->room ? 2 * r->room : 16;
        Variable *grown = mem_resize(r->work.err, r->variables, r->room, room, sizeof *grown);
        if (!grown) return json_decref(value), -1;
        r->variables = grown;
        r->room = room;
    }
    r->variables[r->count++] = (Variable){name, value};
    return 0;
}

static void leave_scope(Render *r, size_t count)
{
    while (r->count > count) json_decref(r->variables[--r->count].value);
}

static json_t *object_get(const json_t *object, Span name)
{
    char key[LONGEST_NAME + 1];
    memcpy(key, name.bytes, name.length);
    key[name.length] = '\0';
    return json_object_get(object, key);
}

static int object_set(Render *r, json_t *object, Span name, json_t *value) // undefined: removed
{
    char key[LONGEST_NAME + 1];
    memcpy(key, name.bytes, name.length);
    key[name.length] = '\0';
    if (!value) return (void)json_object_del(object, key), 0;
    return json_object_set(object, key, value) ? out_of_memory(r) : 0;
}

static bool is_namespace(const Render *r, const json_t *value)
{
    for (size_t i = 0; value && i < r->space_count; i++)
        if (r->spaces[i] == value) return true;
    return false;
}

enum { MOST_NESTED = 50 };

// What may be put inside a list, a mapping or a namespace: no namespace, which could come to hold itself, and nothing very deep, which
// could not be freed.
static int check_item(Render *r, json_t *value, size_t level)
{
    int status = 0;
    if (is_namespace(r, value)) return FAIL(r, "a namespace inside a list or mapping is not supported");
    if (!json_is_array(value) && !json_is_object(value)) return 0;
    if (level >= MOST_NESTED) return FAIL(r, "more than %d lists and mappings inside each other", MOST_NESTED);
    if (spend(&r->work, STEP_COST)) return -1;
    for (size_t i = 0; i < json_array_size(value) && !status; i++) status = check_item(r, json_array_get(value, i), level + 1);
    for (void *at = json_object_iter(value); at && !status; at = json_object_iter_next(value, at))
        status = check_item(r, json_object_iter_value(at), level + 1);
    return status;
}

static json_t *get_variable(Render *r, Span name)
{
    const Variable *variable = find_variable(r, name, 0);
    return json_incref(variable ? variable->value : object_get(r->globals, name));
}

// ---- expressions -------------------------------------------------------------------------------------------------------------

static int evaluate(Render *r, uint32_t index, json_t **value); // the value is the caller's; NULL: undefined

static int undefined(Render *r, uint32_t index)
{
    const Node *node = node_of(r, index);
    bool named = node->kind == NODE_NAME || node->kind == NODE_ATTRIBUTE;
    return named ? FAIL(r, "\"%.*s\" is undefined", (int)node->name.length, node->name.bytes)
                 : FAIL(r, "an undefined value is used");
}

static int get_item(Render *r, json_t **value, json_t *of, const json_t *key)
{
    if (json_is_object(of) && json_is_string(key)) {
        *value = json_incref(json_object_get(of, json_string_value(key)));
        return 0;
    }
    if (!json_is_integer(key)) return json_is_string(key) || !key ? 0 : FAIL(r, "an index that is %s", value_kind(key));
    long long at = json_integer_value(key);
    const char *bytes = json_string_value(of);
    size_t length = json_string_length(of), n = bytes ? character_count(bytes, length) : json_array_size(of);
    if (bytes && spend(&r->work, length)) return -1;
    if (at < 0) at += (long long)n;
    if (at < 0 || (unsigned long long)at >= n) return 0;
    if (!bytes) return *value = json_incref(json_array_get(of, (size_t)at)), 0;
    size_t start = character_offset(bytes, length, (size_t)at), used = character_offset(bytes + start, length - start, 1);
    return (*value = value_string(&r->work, bytes + start, used)) ? 0 : -1;
}

static int evaluate_index(Render *r, const Node *node, json_t **value)
{
    json_t *of = NULL, *key = NULL;
    int status = evaluate(r, node->a, &of);
    if (!status && node->kind == NODE_INDEX) status = evaluate(r, node->b, &key);
    r->work.node = node;
    if (!status && !of) status = undefined(r, node->a);
    if (!status && node->kind == NODE_ATTRIBUTE) *value = json_is_object(of) ? json_incref(object_get(of, node->name)) : NULL;
    else if (!status) status = get_item(r, value, of, key);
    json_decref(of);
    json_decref(key);
    return status;
}

// A bound of a slice: absent or none gives the fallback.
static int slice_bound(Render *r, uint32_t index, long long *bound, long long fallback)
{
    json_t *value = NULL;
    *bound = fallback;
    if (!index) return 0;
    if (evaluate(r, index, &value)) return -1;
    bool whole = json_is_integer(value);
    if (whole) *bound = json_integer_value(value);
    int status = whole || json_is_null(value) ? 0 : FAIL(r, "a bound of a slice that is %s", value_kind(value));
    json_decref(value);
    if (*bound > INT_MAX) *bound = INT_MAX;
    if (*bound < -INT_MAX) *bound = -INT_MAX;
    return status;
}

static long long clamp(long long at, long long n, long long least, long long most)
{
    if (at < 0) at += n;
    return at < least ? least : at > most ? most : at;
}

static int slice_list(Render *r, json_t **value, const json_t *of, long long start, long long stop, long long step)
{
    *value = json_array();
    for (long long i = start; step > 0 ? i < stop : i > stop; i += step)
        if (spend(&r->work, STEP_COST) || json_array_append(*value, json_array_get(of, (size_t)i))) return -1;
    return 0;
}

static int evaluate_slice(Render *r, const Node *node, json_t **value)
{
    json_t *of = NULL;
    long long start, stop, step;
    if (evaluate(r, node->a, &of)) return json_decref(of), -1;
    const char *bytes = json_string_value(of);
    size_t length = json_string_length(of);
    long long n = (long long)(bytes ? character_count(bytes, length) : json_array_size(of));
    int status = slice_bound(r, node->d, &step, 1);
    if (!status) status = slice_bound(r, node->b, &start, step < 0 ? INT_MAX : 0);
    if (!status) status = slice_bound(r, node->c, &stop, step < 0 ? -INT_MAX : INT_MAX);
    r->work.node = node;
    if (!status && !of) status = undefined(r, node->a);
    if (!status && !bytes && !json_is_array(of)) status = FAIL(r, "a slice of %s", value_kind(of));
    if (!status && (!step || (bytes && step != 1))) status = FAIL(r, "a slice with this step is not supported");
    if (!status) {
        start = step > 0 ? clamp(start, n, 0, n) : clamp(start, n, -1, n - 1);
        stop = step > 0 ? clamp(stop, n, 0, n) : clamp(stop, n, -1, n - 1);
    }
    if (!status && !bytes) status = slice_list(r, value, of, start, stop, step);
    if (!status && bytes) {
        size_t first = character_offset(bytes, length, (size_t)start);
        size_t end = character_offset(bytes, length, (size_t)(stop < start ? start : stop));
        status = (*value = value_string(&r->work, bytes + first, end - first)) ? 0 : -1;
    }
    json_decref(of);
    return status;
}

static int evaluate_binary(Render *r, const Node *node, json_t **value)
{
    json_t *a = NULL, *b = NULL;
    int status = evaluate(r, node->a, &a) || evaluate(r, node->b, &b) ? -1 : 0;
    r->work.node = node;
    bool any = span_is(node->name, "==") || span_is(node->name, "!=") || span_is(node->name, "~") || span_is(node->name, "in");
    if (!status && !any && (!a || !b)) status = undefined(r, a ? node->b : node->a);
    if (!status) status = apply_operator(&r->work, node->name, value, a, b);
    json_decref(a);
    json_decref(b);
    return status;
}

// ---- calls -------------------------------------------------------------------------------------------------------------------

static int evaluate_arguments(Render *r, Arguments *arguments, uint32_t first)
{
    for (uint32_t i = first; i; i = node_of(r, i)->next) {
        arguments->names[arguments->count] = node_of(r, i)->name;
        if (evaluate(r, node_of(r, i)->a, &arguments->values[arguments->count])) return -1;
        arguments->count++;
    }
    return 0;
}

static int make_namespace(Render *r, json_t **value, const Arguments *arguments)
{
    *value = json_object();
    for (size_t i = 0; i < arguments->count; i++) {
        if (!arguments->names[i].length) return FAIL(r, "namespace takes name=value only");
        if (check_item(r, arguments->values[i], 1) || object_set(r, *value, arguments->names[i], arguments->values[i])) return -1;
    }
    if (r->space_count == MOST_SPACES) return FAIL(r, "more than %d namespaces", MOST_SPACES);
    r->spaces[r->space_count++] = json_incref(*value);
    return 0;
}

static int make_range(Render *r, json_t **value, const Arguments *arguments)
{
    long long bounds[3] = {0, 0, 1};
    for (size_t i = 0; i < arguments->count; i++) {
        if (!json_is_integer(arguments->values[i]) || arguments->names[i].length) return FAIL(r, "range takes whole numbers only");
        bounds[i] = json_integer_value(arguments->values[i]);
    }
    if (!arguments->count || !bounds[2] || llabs(bounds[2]) > INT_MAX) return FAIL(r, "range needs one to three numbers, the third not 0");
    if (arguments->count == 1) bounds[1] = bounds[0], bounds[0] = 0;
    if (llabs(bounds[0]) > INT_MAX || llabs(bounds[1]) > INT_MAX) return FAIL(r, "a range this large is not supported");
    *value = json_array();
    for (long long i = bounds[0]; bounds[2] > 0 ? i < bounds[1] : i > bounds[1]; i += bounds[2])
        if (spend(&r->work, STEP_COST) || json_array_append_new(*value, json_integer(i))) return -1;
    return 0;
}

static int call_function(Render *r, const Node *callee, json_t **value, const Arguments *arguments)
{
    if (find_variable(r, callee->name, 0) || object_get(r->globals, callee->name)) return FAIL(r, "only functions can be called");
    if (span_is(callee->name, "namespace")) return make_namespace(r, value, arguments);
    if (span_is(callee->name, "range")) return make_range(r, value, arguments);
    if (!span_is(callee->name, "raise_exception")) return FAIL(r, "function \"%.*s\" is not supported",
        (int)callee->name.length, callee->name.bytes);
    const char *message = arguments->count ? json_string_value(arguments->values[0]) : NULL;
    return FAIL(r, "the template refuses this conversation: %.200s", message ? message : "(no reason given)");
}

// A method or a function, a filter or a test: a value, if there is one, and arguments.
static int evaluate_call(Render *r, const Node *node, json_t **value)
{
    const Node *callee = node->kind == NODE_CALL ? node_of(r, node->a) : NULL;
    bool method = callee && callee->kind == NODE_ATTRIBUTE;
    json_t *self = NULL;
    Arguments arguments = {0};
    int status = 0;
    if (!callee || method) status = evaluate(r, method ? callee->a : node->a, &self);
    if (!status) status = evaluate_arguments(r, &arguments, node->b);
    r->work.node = node;
    if (!status && method && !self) status = undefined(r, callee->a);
    if (!status && callee && !method) status = call_function(r, callee, value, &arguments);
    else if (!status) {
        const Operation *operation = method ? find_method(callee->name)
            : node->kind == NODE_FILTER ? find_filter(node->name) : find_test(node->name);
        status = operation->function(&r->work, value, self, &arguments);
    }
    for (size_t i = 0; i < MOST_ARGUMENTS; i++) json_decref(arguments.values[i]);
    json_decref(self);
    return status;
}

// ---- the rest of expressions ---------------------------------------------------------------------------------------------------

static int evaluate_items(Render *r, const Node *node, json_t **value)
{
    bool object = node->kind == NODE_OBJECT;
    *value = object ? json_object() : json_array();
    for (uint32_t i = node->b; i; i = node_of(r, i)->next) {
        json_t *first = NULL, *second = NULL;
        int status = evaluate(r, node_of(r, i)->a, &first) || (object && evaluate(r, node_of(r, i)->b, &second)) ? -1 : 0;
        r->work.node = node;
        if (!status && object && !json_is_string(first)) status = FAIL(r, "a key that is %s is not supported", value_kind(first));
        if (!status && !(object ? second : first)) status = FAIL(r, "an undefined value inside a list or mapping is not supported");
        if (!status) status = check_item(r, object ? second : first, 1);
        if (!status && (object ? json_object_set(*value, json_string_value(first), second) : json_array_append(*value, first)))
            status = out_of_memory(r);
        json_decref(first);
        json_decref(second);
        if (status) return -1;
    }
    return 0;
}

// and, or, not, unary minus, a if c else b.
static int evaluate_logic(Render *r, const Node *node, json_t **value)
{
    if (evaluate(r, node->a, value)) return -1;
    bool yes = value_is_true(*value);
    uint32_t then = node->kind == NODE_CHOICE ? (yes ? node->b : node->c) : node->b;
    if ((node->kind == NODE_AND && !yes) || (node->kind == NODE_OR && yes)) return 0;
    json_t *first = *value;
    int status = 0;
    *value = NULL;
    r->work.node = node;
    if (node->kind == NODE_NOT) *value = json_boolean(!yes);
    else if (node->kind != NODE_NEGATE) status = then ? evaluate(r, then, value) : 0;
    else if (!json_is_integer(first)) status = FAIL(r, "the negative of %s is not supported", value_kind(first));
    else *value = json_integer(-json_integer_value(first));
    json_decref(first);
    return status;
}

static int evaluate(Render *r, uint32_t index, json_t **value)
{
    const Node *node = node_of(r, index);
    *value = NULL;
    r->work.node = node;
    if (spend(&r->work, STEP_COST)) return -1;
    switch (node->kind) {
    case NODE_VALUE: return *value = json_incref(node->value), 0;
    case NODE_NAME: return *value = get_variable(r, node->name), 0;
    case NODE_ATTRIBUTE: case NODE_INDEX: return evaluate_index(r, node, value);
    case NODE_SLICE: return evaluate_slice(r, node, value);
    case NODE_CALL: case NODE_FILTER: case NODE_TEST: return evaluate_call(r, node, value);
    case NODE_BINARY: return evaluate_binary(r, node, value);
    case NODE_LIST: case NODE_OBJECT: return evaluate_items(r, node, value);
    default: return evaluate_logic(r, node, value);
    }
}

// ---- statements --------------------------------------------------------------------------------------------------------------

static int run_body(Render *r, uint32_t first);

static int run_output(Render *r, const Node *node)
{
    json_t *value = NULL;
    int status = evaluate(r, node->a, &value);
    r->work.node = node;
    if (!status) status = value_text(&r->work, r->out, value);
    json_decref(value);
    return status;
}

static int run_set(Render *r, const Node *node)
{
    json_t *value = NULL;
    if (evaluate(r, node->a, &value)) return json_decref(value), -1;
    r->work.node = node;
    if (!node->second.length) return set_variable(r, node->name, value);
    json_t *space = get_variable(r, node->name);
    int status = is_namespace(r, space) ? 0 : FAIL(r, "\"%.*s\" is no namespace", (int)node->name.length, node->name.bytes);
    if (!status) status = check_item(r, value, 1) || object_set(r, space, node->second, value) ? -1 : 0;
    json_decref(space);
    json_decref(value);
    return status;
}

// The items that a loop visits: a list as it is, a mapping's keys, a string's characters.
static int loop_items(Render *r, const Node *node, json_t **items)
{
    json_t *value = NULL;
    if (evaluate(r, node->a, &value)) return json_decref(value), -1;
    r->work.node = node;
    if (json_is_array(value)) return *items = value, 0;
    int status = 0;
    if (!value) *items = json_array();
    else if (json_is_object(value)) status = find_method((Span){"keys", 4})->function(&r->work, items, value, &(Arguments){0});
    else status = FAIL(r, "a loop over %s is not supported", value_kind(value));
    json_decref(value);
    return status;
}

static int set_loop_names(Render *r, const Node *node, json_t *item)
{
    if (!node->second.length) return set_variable(r, node->name, json_incref(item));
    if (json_array_size(item) != 2) return FAIL(r, "two names for something that is no pair");
    return set_variable(r, node->name, json_incref(json_array_get(item, 0)))
        || set_variable(r, node->second, json_incref(json_array_get(item, 1))) ? -1 : 0;
}

// for x in items if condition: the loop sees only what passes.
static int filter_items(Render *r, const Node *node, json_t **items)
{
    if (!node->d) return 0;
    json_t *kept = json_array();
    size_t scope = r->scope, count = r->count;
    int status = 0;
    r->scope = count;
    for (size_t i = 0; i < json_array_size(*items) && !status; i++) {
        json_t *passes = NULL;
        status = set_loop_names(r, node, json_array_get(*items, i)) || evaluate(r, node->d, &passes);
        if (!status && value_is_true(passes)) status = json_array_append(kept, json_array_get(*items, i));
        json_decref(passes);
    }
    leave_scope(r, count);
    r->scope = scope;
    json_decref(*items);
    *items = kept;
    return status ? -1 : 0;
}

static int set_loop(Render *r, json_t *items, size_t i)
{
    static const Span name = {"loop", 4};
    size_t n = json_array_size(items);
    json_t *loop = json_pack("{s:I,s:I,s:I,s:I,s:I,s:b,s:b}", "index", (json_int_t)i + 1, "index0", (json_int_t)i,
        "revindex", (json_int_t)(n - i), "revindex0", (json_int_t)(n - i - 1), "length", (json_int_t)n, "first", i == 0, "last", i + 1 == n);
    if (!loop || (i && json_object_set(loop, "previtem", json_array_get(items, i - 1)))
        || (i + 1 < n && json_object_set(loop, "nextitem", json_array_get(items, i + 1))))
        return json_decref(loop), out_of_memory(r);
    return set_variable(r, name, loop);
}

static int run_for(Render *r, const Node *node)
{
    json_t *items = NULL;
    if (loop_items(r, node, &items) || filter_items(r, node, &items)) return json_decref(items), -1;
    size_t scope = r->scope, count = r->count, n = json_array_size(items);
    int status = 0;
    r->scope = count;
    for (size_t i = 0; i < n && !status && r->flow != FLOW_BREAK; i++) {
        r->flow = FLOW_ON;
        r->work.node = node;
        status = spend(&r->work, 8 * STEP_COST) || set_loop(r, items, i) || set_loop_names(r, node, json_array_get(items, i))
            || run_body(r, node->b);
        leave_scope(r, count); // what an iteration sets, the next one does not see
    }
    r->flow = FLOW_ON;
    if (!n && !status) status = run_body(r, node->c);
    leave_scope(r, count);
    r->scope = scope;
    json_decref(items);
    return status ? -1 : 0;
}

static int run_if(Render *r, const Node *node)
{
    json_t *value = NULL;
    int status = evaluate(r, node->a, &value);
    bool yes = value_is_true(value);
    json_decref(value);
    return status ? -1 : run_body(r, yes ? node->b : node->c);
}

static int run_statement(Render *r, const Node *node)
{
    r->work.node = node;
    if (spend(&r->work, STEP_COST)) return -1;
    switch (node->kind) {
    case NODE_TEXT: return spend(&r->work, node->name.length) || text_add(r->out, r->work.err, node->name.bytes, node->name.length) ? -1 : 0;
    case NODE_OUTPUT: return run_output(r, node);
    case NODE_IF: return run_if(r, node);
    case NODE_FOR: return run_for(r, node);
    case NODE_SET: return run_set(r, node);
    default: r->flow = node->kind == NODE_BREAK ? FLOW_BREAK : FLOW_CONTINUE; return 0;
    }
}

static int run_body(Render *r, uint32_t first)
{
    for (uint32_t i = first; i && r->flow == FLOW_ON; i = node_of(r, i)->next)
        if (run_statement(r, node_of(r, i))) return -1;
    return 0;
}

int template_render(const Template *template, Text *out, const json_t *variables, Err *err)
{
    Render r = {.work = {template, template->nodes, BUDGET, err}, .out = out, .globals = variables};
    size_t before = out->length;
    int status = run_body(&r, template->body) || text_add(out, err, "", 0) ? -1 : 0;
    leave_scope(&r, 0);
    while (r.space_count) json_decref(r.spaces[--r.space_count]);
    mem_free(r.variables);
    if (status) out->length = before;
    return status;
}
