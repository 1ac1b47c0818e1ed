// SPDX-License-Identifier: MIT
/* template.c - a chat template's source made into a tree of nodes: what is text, what is a tag, which spaces around tags vanish, and
 * the statements. Expressions are in template_expression.c, values in template_render.c. Start at template_parse, then parse_body.
 *
 * The language is Jinja's (jinja.palletsprojects.com, version 3.1) as far as chat templates need it.
 */
#include "files/template-internal.h"

#include "files/unicode.h"

#include <stdio.h>

#define FAIL(p, where, ...) template_error((p)->t, (uint32_t)(where), (p)->err, __VA_ARGS__)

enum { MOST_BYTES = 1 << 20 };

int template_error(const Template *t, uint32_t at, Err *err, const char *format, ...)
{
    char text[300];
    size_t line = 1, column = 1;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (size_t i = 0; i < at && i < t->length; i++) {
        column++;
        if (t->source[i] == '\n') line++, column = 1;
    }
    return err_input(err, "%s:%zu:%zu: %s", t->where, line, column, text);
}

// ---- text and tags -----------------------------------------------------------------------------------------------------------

// Python's idea of a space, backwards from `end` and forwards from `start`.
static bool is_space(uint32_t c) { return unicode_is_space(c) || (c >= 0x1C && c <= 0x1F); }

static size_t skip_spaces(const Template *t, size_t at)
{
    while (at < t->length) {
        uint32_t c;
        bool valid;
        size_t n = utf8_decode(&c, &valid, t->source + at, t->length - at);
        if (!is_space(c)) break;
        at += n;
    }
    return at;
}

static size_t drop_spaces(const Template *t, size_t start, size_t end)
{
    while (end > start) {
        size_t at = end - 1;
        uint32_t c;
        bool valid;
        while (at > start && ((unsigned char)t->source[at] & 0xC0) == 0x80) at--;
        utf8_decode(&c, &valid, t->source + at, end - at);
        if (!is_space(c)) break;
        end = at;
    }
    return end;
}

// Where the text [start, end) before a tag ends: "{%-" takes all spaces before it, a block tag alone on its line the line's.
static size_t text_end(const Template *t, size_t start, size_t end)
{
    char sign = end + 2 < t->length ? t->source[end + 2] : 0;
    if (sign == '-') return drop_spaces(t, start, end);
    if (sign == '+' || t->source[end + 1] == '{') return end;
    size_t line = end;
    while (line > start && t->source[line - 1] != '\n') line--;
    if (line == start && start && t->source[start - 1] != '\n') return end;
    return drop_spaces(t, line, end);
}

// Behind the tag's end at p->at: "-%}" takes all spaces after it, a block tag one line end.
static int close_tag(Parser *p)
{
    size_t n = tag_end(p);
    if (p->token.kind != TOKEN_END) return unexpected(p, "the tag's end");
    char sign = p->t->source[p->at];
    p->at += n;
    if (sign == '-') p->at = skip_spaces(p->t, p->at);
    else if (sign != '+' && !p->variable && p->at < p->t->length && p->t->source[p->at] == '\n') p->at++;
    return 0;
}

static int open_tag(Parser *p, bool variable)
{
    p->variable = variable;
    p->brackets = 0;
    p->at += 2;
    if (p->at < p->t->length && (p->t->source[p->at] == '-' || (p->t->source[p->at] == '+' && !variable))) p->at++;
    return next_token(p);
}

static int skip_comment(Parser *p)
{
    size_t start = p->at;
    for (p->at += 2; p->at < p->t->length && !starts(p, p->at, "#}");) p->at++;
    if (p->at >= p->t->length) return FAIL(p, start, "a comment without an end");
    char sign = p->at > start + 2 ? p->t->source[p->at - 1] : 0;
    p->at += 2;
    if (sign == '-') p->at = skip_spaces(p->t, p->at);
    else if (sign != '+' && p->at < p->t->length && p->t->source[p->at] == '\n') p->at++;
    return 0;
}

// ---- statements --------------------------------------------------------------------------------------------------------------

static int parse_body(Parser *p, uint32_t *body, Token *end, const char *const *ends);

static int parse_for(Parser *p, uint32_t *node, Token tag)
{
    static const char *const ends[] = {"else", "endfor", NULL}, *const last[] = {"endfor", NULL};
    Node loop = {.kind = NODE_FOR, .at = tag.at};
    Token end;
    if (need_name(p, &loop.name)) return -1;
    if (next_is(p, ",") && (next_token(p) || need_name(p, &loop.second))) return -1;
    if (need(p, "in") || parse_or(p, &loop.a)) return -1;
    if (next_is(p, "if") && (next_token(p) || parse_expression(p, &loop.d))) return -1;
    if (next_is(p, "recursive")) return FAIL(p, p->token.at, "a recursive loop is not supported");
    if (close_tag(p) || parse_body(p, &loop.b, &end, ends)) return -1;
    if (span_is(end.span, "else") && (close_tag(p) || parse_body(p, &loop.c, &end, last))) return -1;
    return close_tag(p) || make(p, node, loop) ? -1 : 0;
}

static int parse_if(Parser *p, uint32_t *node, Token tag)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL}, *const last[] = {"endif", NULL};
    Node branch = {.kind = NODE_IF, .at = tag.at};
    Token end;
    if (p->depth++ >= MOST_DEPTH) return FAIL(p, tag.at, "more than %d levels inside each other", MOST_DEPTH);
    if (parse_expression(p, &branch.a) || close_tag(p) || parse_body(p, &branch.b, &end, ends)) return -1;
    if (span_is(end.span, "elif")) {
        if (parse_if(p, &branch.c, end)) return -1; // to the common endif
    } else {
        if (span_is(end.span, "else") && (close_tag(p) || parse_body(p, &branch.c, &end, last))) return -1;
        if (close_tag(p)) return -1;
    }
    p->depth--;
    return make(p, node, branch);
}

static int parse_set(Parser *p, uint32_t *node, Token tag)
{
    Node set = {.kind = NODE_SET, .at = tag.at};
    if (need_name(p, &set.name)) return -1;
    if (next_is(p, ".") && (next_token(p) || need_name(p, &set.second))) return -1;
    if (next_is(p, ",")) return FAIL(p, p->token.at, "setting several names at once is not supported");
    if (p->token.kind == TOKEN_END || next_is(p, "|")) return FAIL(p, p->token.at, "a set block is not supported");
    return need(p, "=") || parse_expression(p, &set.a) || close_tag(p) || make(p, node, set) ? -1 : 0;
}

static int parse_statement(Parser *p, uint32_t *node, Token tag)
{
    if (tag.kind != TOKEN_NAME) return FAIL(p, tag.at, "expected a statement");
    if (next_token(p)) return -1;
    if (span_is(tag.span, "for")) return parse_for(p, node, tag);
    if (span_is(tag.span, "if")) return parse_if(p, node, tag);
    if (span_is(tag.span, "set")) return parse_set(p, node, tag);
    bool leave = span_is(tag.span, "break");
    if (leave || span_is(tag.span, "continue"))
        return close_tag(p) || make(p, node, (Node){.kind = leave ? NODE_BREAK : NODE_CONTINUE, .at = tag.at}) ? -1 : 0;
    return FAIL(p, tag.at, "%.*s is not supported", (int)(tag.span.length < 40 ? tag.span.length : 40), tag.span.bytes);
}

static int parse_text(Parser *p, NodeList *body)
{
    size_t start = p->at, end = start;
    uint32_t node;
    while (end < p->t->length && !(p->t->source[end] == '{' && end + 1 < p->t->length && memchr("{%#", p->t->source[end + 1], 3))) end++;
    p->at = end;
    if (end < p->t->length) end = text_end(p->t, start, end);
    if (end == start) return 0;
    if (make(p, &node, (Node){.kind = NODE_TEXT, .at = (uint32_t)start, .name = {p->t->source + start, end - start}})) return -1;
    list_add(p, body, node);
    return 0;
}

// To the end of the template, or behind the name of one of the tags `ends`, which stays in *end.
static int parse_body_inside(Parser *p, uint32_t *first, Token *end, const char *const *ends)
{
    NodeList body = {0};
    uint32_t node;
    for (;;) {
        if (parse_text(p, &body)) return -1;
        *first = body.first;
        if (p->at == p->t->length)
            return ends ? FAIL(p, p->at, "the template ends where %s was expected", ends[0]) : 0;
        char kind = p->t->source[p->at + 1];
        if (kind == '#') {
            if (skip_comment(p)) return -1;
            continue;
        }
        if (open_tag(p, kind == '{')) return -1;
        Token tag = p->token;
        if (kind == '{') {
            if (parse_expression(p, &node) || close_tag(p)
                || make(p, &node, (Node){.kind = NODE_OUTPUT, .at = tag.at, .a = node}))
                return -1;
        } else {
            for (size_t i = 0; ends && ends[i]; i++)
                if (next_is(p, ends[i])) return *end = tag, next_token(p);
            if (parse_statement(p, &node, tag)) return -1;
        }
        list_add(p, &body, node);
    }
}

static int parse_body(Parser *p, uint32_t *first, Token *end, const char *const *ends)
{
    if (p->depth++ >= MOST_DEPTH) return FAIL(p, p->at, "more than %d levels inside each other", MOST_DEPTH);
    int status = parse_body_inside(p, first, end, ends);
    p->depth--;
    return status;
}

// ---- the whole ---------------------------------------------------------------------------------------------------------------

// As jinja2 reads a source: every line end is \n, and the last one is not there.
static int copy_source(Template *t, const char *text, size_t length, Err *err)
{
    if (!(t->source = mem_new(err, length + 1, 1))) return -1;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\r' && i + 1 < length && text[i + 1] == '\n') continue;
        t->source[t->length++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (t->length && t->source[t->length - 1] == '\n') t->length--;
    return 0;
}

Template *template_parse(const char *text, size_t length, const char *where, Err *err)
{
    if (length > MOST_BYTES || !utf8_is_valid(text, length)) {
        err_input(err, "%s: a chat template must be UTF-8 of at most %d bytes", where, MOST_BYTES);
        return NULL;
    }
    Template *t = mem_new(err, 1, sizeof *t);
    if (!t) return NULL;
    t->room = 64;
    t->count = 1;
    t->where = mem_copy_text(err, where);
    t->nodes = t->where ? mem_new(err, t->room, sizeof *t->nodes) : NULL;
    Parser p = {.t = t, .err = err};
    if (t->nodes && !copy_source(t, text, length, err) && !parse_body(&p, &t->body, NULL, NULL)) return t;
    template_free(t);
    return NULL;
}

void template_free(Template *t)
{
    for (size_t i = 0; t && t->nodes && i < t->count; i++) json_decref(t->nodes[i].value);
    if (t) mem_free(t->nodes), mem_free(t->source), mem_free(t->where);
    mem_free(t);
}
