// SPDX-License-Identifier: MIT
/* grammar.c - reads a grammar of texts: data/reviews.grammar describes the format at its top. Owns the format and the proof that
 * every text of it can be drawn and ends; refuses to know how texts are drawn (grammar_draw.c) or what they say.
 * Start at grammar_load at the end.
 */
#include "files/grammar-internal.h"

#include "base/os.h"
#include "files/unicode.h"

#include <string.h>

enum {
    MAX_NESTING = 50,  // of ( and { on one line
    MAX_WEIGHT = 1000000,
    MAX_RULES = 20000, // groups included
    MAX_LEVELS = 500   // rules that even the shortest text nests
};

void grammar_free(Grammar *grammar)
{
    if (!grammar) return;
    mem_free(grammar->path);
    text_free(&grammar->source);
    mem_free(grammar->rules);
    mem_free(grammar->alternatives);
    mem_free(grammar->pieces);
    mem_free(grammar);
}

// ---- the tree ----------------------------------------------------------------------------------------------------------

static int reserve(void **list, size_t n, size_t *capacity, size_t size, Err *err)
{
    if (n < *capacity) return 0;
    size_t grown = n < 64 ? 64 : n * 2;
    void *bigger = mem_resize(err, *list, n, grown, size);
    if (!bigger) return -1;
    *list = bigger;
    *capacity = grown;
    return 0;
}

static uint32_t add_rule(Grammar *g, const char *name, size_t length, uint32_t line, Err *err)
{
    if (g->n_rules == MAX_RULES) return err_input(err, "%s:%u: more than %d rules and groups", g->path, line, MAX_RULES), NONE;
    void *list = g->rules;
    if (reserve(&list, g->n_rules, &g->cap_rules, sizeof *g->rules, err)) return NONE;
    g->rules = list;
    g->rules[g->n_rules] = (GrammarRule){.name = name, .length = length, .first = NONE, .last = NONE, .line = line,
        .once = length && name[0] == '$', .depth = {ENDLESS, ENDLESS}};
    return (uint32_t)g->n_rules++;
}

// Alternatives that share a mark share the number of the first of them.
static uint32_t find_mark(const Grammar *g, const char *mark, size_t length)
{
    for (size_t i = 0; i < g->n_alternatives; i++) {
        const GrammarAlternative *a = &g->alternatives[i];
        if (a->mark && a->mark_length == length && !memcmp(a->mark, mark, length)) return a->mark_id;
    }
    return (uint32_t)g->n_alternatives;
}

static uint32_t add_alternative(Grammar *g, uint32_t rule, GrammarAlternative tag, Err *err)
{
    void *list = g->alternatives;
    if (reserve(&list, g->n_alternatives, &g->cap_alternatives, sizeof *g->alternatives, err)) return NONE;
    g->alternatives = list;
    uint32_t made = (uint32_t)g->n_alternatives++;
    tag.first = tag.last = tag.next = NONE;
    if (tag.mark) tag.mark_id = find_mark(g, tag.mark, tag.mark_length);
    g->alternatives[made] = tag;
    if (g->rules[rule].first == NONE) g->rules[rule].first = made;
    else g->alternatives[g->rules[rule].last].next = made;
    g->rules[rule].last = made;
    return made;
}

static int add_piece(Grammar *g, uint32_t alternative, GrammarPiece piece, Err *err)
{
    void *list = g->pieces;
    if (reserve(&list, g->n_pieces, &g->cap_pieces, sizeof *g->pieces, err)) return -1;
    g->pieces = list;
    uint32_t made = (uint32_t)g->n_pieces++;
    piece.next = NONE;
    g->pieces[made] = piece;
    GrammarAlternative *a = &g->alternatives[alternative];
    if (a->first == NONE) a->first = made;
    else g->pieces[a->last].next = made;
    a->last = made;
    return 0;
}

// ---- the reader ----------------------------------------------------------------------------------------------------------

typedef struct { Grammar *g; const char *at, *end; uint32_t line; int nesting; Err *err; } Reader; // at..end: the rest of a line

#define COMPLAIN(r, ...) (err_input((r)->err, __VA_ARGS__), err_prefix((r)->err, "%s:%u", (r)->g->path, (r)->line))

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

static size_t name_length(const char *at, const char *end)
{
    const char *p = at;
    if (p < end && *p == '$') p++;
    while (p < end && is_name_character(*p)) p++;
    while (p > at && p[-1] == '-') p--; // the - of <rule-> is no part of the name
    return p - at == 1 && *at == '$' ? 0 : (size_t)(p - at);
}

static uint32_t find_rule(const Grammar *g, const char *name, size_t length)
{
    for (size_t i = 0; i < g->n_rules && g->rules[i].length; i++) // rules with names were entered first
        if (g->rules[i].length == length && !memcmp(g->rules[i].name, name, length)) return (uint32_t)i;
    return NONE;
}

// One word of a tag: a weight, a label, #mark, or $rule~word,word.
static int read_tag_word(Reader *r, GrammarAlternative *tag, const char *word, size_t n)
{
    if (n == 3 && !memcmp(word, "pos", 3)) tag->label = LABEL_POSITIVE;
    else if (n == 3 && !memcmp(word, "neg", 3)) tag->label = LABEL_NEGATIVE;
    else if (word[0] == '$') {
        size_t name = name_length(word, word + n);
        tag->memo = name ? find_rule(r->g, word, name) : NONE;
        if (tag->memo == NONE) return COMPLAIN(r, "unknown rule \"%.*s\" in a tag", (int)n, word);
        if (name + 1 >= n || word[name] != '~') return COMPLAIN(r, "bad condition \"%.*s\" (expected $rule~word)", (int)n, word);
        tag->words = word + name + 1;
        tag->words_length = n - name - 1;
    } else if (word[0] == '#' && n > 1) {
        tag->mark = word + 1;
        tag->mark_length = n - 1;
    } else if (strchr("0123456789+-.", word[0])) {
        uint32_t weight = 0;
        for (size_t i = 0; i < n; i++) {
            weight = word[i] < '0' || word[i] > '9' ? MAX_WEIGHT + 1 : weight * 10 + (uint32_t)(word[i] - '0');
            if (weight > MAX_WEIGHT) weight = 0, i = n;
        }
        if (!weight) return COMPLAIN(r, "bad weight \"%.*s\" (expected a whole number from 1 to %d)", (int)n, word, MAX_WEIGHT);
        tag->weight = weight;
    } else return COMPLAIN(r, "unknown tag \"%.*s\" (expected a weight, pos, neg, #mark or $rule~word)", (int)n, word);
    return 0;
}

static int read_tag(Reader *r, GrammarAlternative *tag)
{
    const char *close = memchr(r->at, ']', (size_t)(r->end - r->at));
    if (!close) return COMPLAIN(r, "'[' without ']'");
    for (const char *p = r->at + 1; p < close;) {
        size_t n = 0;
        while (p + n < close && p[n] != ' ') n++;
        if (n && read_tag_word(r, tag, p, n)) return -1;
        p += n + 1;
    }
    r->at = close + 1;
    while (r->at < r->end && *r->at == ' ') r->at++;
    return 0;
}

static int add_literal(Reader *r, uint32_t alternative, const char *text, size_t length)
{
    return length ? add_piece(r->g, alternative, (GrammarPiece){.text = text, .length = length, .rule = NONE}, r->err) : 0;
}

// <rule> and its moods; <a> is the article.
static int read_use(Reader *r, uint32_t alternative)
{
    static const char article = ARTICLE;
    const char *name = r->at + 1, *close = memchr(r->at, '>', (size_t)(r->end - r->at));
    if (!close) return COMPLAIN(r, "'<' without '>'");
    size_t length = name_length(name, close), rest = (size_t)(close - name) - length;
    r->at = close + 1;
    if (length == 1 && *name == 'a' && !rest) return add_literal(r, alternative, &article, 1);
    GrammarPiece use = {.rule = length ? find_rule(r->g, name, length) : NONE, .mood = SAME};
    if (rest == 1 && name[length] == '!') use.mood = OPPOSITE;
    else if (rest == 1 && name[length] == '-') use.mood = ALWAYS_NEGATIVE;
    else if (rest == 1 && name[length] == '+') use.mood = ALWAYS_POSITIVE;
    else if (rest) use.rule = NONE;
    if (use.rule == NONE) return COMPLAIN(r, "unknown rule <%.*s>", (int)(close - name), name);
    return add_piece(r->g, alternative, use, r->err);
}

static int read_choice(Reader *r, uint32_t rule, GrammarAlternative tag, char close);

// (a|b), and {a|b}, which is (a|b|): a rule without a name.
static int read_group(Reader *r, uint32_t alternative)
{
    char close = *r->at++ == '(' ? ')' : '}';
    if (++r->nesting > MAX_NESTING) return COMPLAIN(r, "more than %d groups within one another", MAX_NESTING);
    uint32_t group = add_rule(r->g, "", 0, r->line, r->err);
    GrammarAlternative plain = {.weight = 1, .label = BOTH, .memo = NONE, .mark_id = NONE};
    if (group == NONE || read_choice(r, group, plain, close)) return -1;
    if (close == '}' && add_alternative(r->g, group, plain, r->err) == NONE) return -1;
    r->nesting--;
    return add_piece(r->g, alternative, (GrammarPiece){.rule = group, .mood = SAME}, r->err);
}

static int read_pieces(Reader *r, uint32_t alternative, char close)
{
    const char *literal = r->at;
    for (;;) {
        char c = r->at < r->end ? *r->at : '\0';
        bool ends = r->at == r->end || c == '|' || c == close;
        if (!ends && !strchr("<({\\)}>[]", c)) {
            r->at++;
            continue;
        }
        if (add_literal(r, alternative, literal, (size_t)(r->at - literal))) return -1;
        if (ends) return 0;
        int status = 0;
        if (c == '<') status = read_use(r, alternative);
        else if (c == '(' || c == '{') status = read_group(r, alternative);
        else if (c != '\\') return COMPLAIN(r, "'%c' out of place (write \\%c for the character itself)", c, c);
        else if (++r->at == r->end) return COMPLAIN(r, "'\\' at the end of the line");
        if (status) return -1;
        literal = r->at;
        if (c != '\\') continue;
        if (*r->at++ != 'n') continue; // \x: the character x begins the next literal
        literal = r->at;
        if (add_literal(r, alternative, "\n", 1)) return -1;
    }
}

// Alternatives separated by |, up to `close` ('\0': the end of the line). `tag` holds for each unless it has its own.
static int read_choice(Reader *r, uint32_t rule, GrammarAlternative tag, char close)
{
    for (;;) {
        GrammarAlternative own = tag;
        while (r->at < r->end && *r->at == ' ') r->at++;
        if (r->at < r->end && *r->at == '[' && read_tag(r, &own)) return -1;
        uint32_t alternative = add_alternative(r->g, rule, own, r->err);
        if (alternative == NONE || read_pieces(r, alternative, close)) return -1;
        if (r->at == r->end) return close ? COMPLAIN(r, "'%c' without '%c'", close == ')' ? '(' : '{', close) : 0;
        if (*r->at++ == close) return 0;
    }
}

// A line that does not begin with a space names a rule; one that does holds alternatives of it.
static int read_line(Reader *r, uint32_t *rule, bool names)
{
    if (*r->at != ' ' && *r->at != '\t') {
        size_t length = name_length(r->at, r->end);
        if (!length || r->at + length + 1 != r->end || r->at[length] != ':')
            return COMPLAIN(r, "expected \"rule-name:\", or spaces before an alternative");
        *rule = find_rule(r->g, r->at, length);
        if (!names) return 0;
        if (*rule != NONE)
            return COMPLAIN(r, "rule \"%.*s\" again (first in line %u)", (int)length, r->at, r->g->rules[*rule].line);
        if (length == 1 && *r->at == 'a') return COMPLAIN(r, "rule \"a\": <a> is the article, choose another name");
        return add_rule(r->g, r->at, length, r->line, r->err) == NONE ? -1 : 0;
    }
    if (names) return 0;
    if (*rule == NONE) return COMPLAIN(r, "an alternative before the first rule");
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t')) r->at++;
    GrammarAlternative tag = {.weight = 1, .label = BOTH, .memo = NONE, .mark_id = NONE};
    if (*r->at == '[' && read_tag(r, &tag)) return -1;
    return read_choice(r, *rule, tag, '\0');
}

// Twice over the file: first the names of the rules, then their alternatives, so that a use may come before its rule.
static int read_rules(Grammar *g, bool names, Err *err)
{
    const char *end = g->source.data + g->source.length;
    uint32_t rule = NONE, line = 1;
    for (const char *at = g->source.data; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at)), *next = stop ? stop + 1 : end;
        Reader r = {g, at, stop ? stop : end, line, 0, err};
        if (!utf8_is_valid(at, (size_t)(r.end - at)) || memchr(at, '\0', (size_t)(r.end - at)))
            return COMPLAIN(&r, "not a line of UTF-8 text");
        while (r.end > at && strchr(" \t\r", r.end[-1])) r.end--;
        const char *first = at;
        while (first < r.end && (*first == ' ' || *first == '\t')) first++;
        if (first < r.end && *first != '#' && read_line(&r, &rule, names)) return -1;
        at = next;
    }
    return 0;
}

// ---- the proof that every text can be drawn and ends -------------------------------------------------------------------------

int grammar_depth(const Grammar *g, const GrammarAlternative *a, int label)
{
    int depth = 0;
    for (uint32_t p = a->first; p != NONE; p = g->pieces[p].next) {
        if (g->pieces[p].rule == NONE) continue;
        int inner = g->rules[g->pieces[p].rule].depth[label_within(g->pieces[p].mood, label)];
        if (inner == ENDLESS) return ENDLESS;
        if (inner + 1 > depth) depth = inner + 1;
    }
    return depth;
}

// Shortens depths until nothing changes. Alternatives with a condition or a mark do not count: they may be left out.
static void find_depths(Grammar *g)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < g->n_rules * 2; i++) {
            int *depth = &g->rules[i / 2].depth[i % 2];
            for (uint32_t a = g->rules[i / 2].first; a != NONE; a = g->alternatives[a].next) {
                if (!holds_always(&g->alternatives[a], (int)(i % 2))) continue;
                int found = grammar_depth(g, &g->alternatives[a], (int)(i % 2));
                if (found < *depth) *depth = found, changed = true;
            }
        }
    }
}

static bool mark_used(Grammar *g, uint32_t rule, int label)
{
    if (rule == NONE || g->rules[rule].used[label]) return false;
    return g->rules[rule].used[label] = true;
}

// Marks what one rule leads to; true when something was marked for the first time.
static bool mark_within(Grammar *g, const GrammarRule *rule, int label)
{
    bool changed = false;
    for (uint32_t a = rule->first; a != NONE; a = g->alternatives[a].next) {
        if (!fits_label(&g->alternatives[a], label)) continue;
        changed |= mark_used(g, g->alternatives[a].memo, label);
        for (uint32_t p = g->alternatives[a].first; p != NONE; p = g->pieces[p].next)
            changed |= mark_used(g, g->pieces[p].rule, label_within(g->pieces[p].mood, label));
    }
    return changed;
}

static void find_used(Grammar *g)
{
    mark_used(g, g->start, LABEL_NEGATIVE);
    mark_used(g, g->start, LABEL_POSITIVE);
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < g->n_rules * 2; i++)
            if (g->rules[i / 2].used[i % 2]) changed |= mark_within(g, &g->rules[i / 2], (int)(i % 2));
    }
}

static int check_rule(const Grammar *g, const GrammarRule *rule, int label, bool depths_too, Err *err)
{
    const char *name = rule->length ? rule->name : "(...)";
    int length = rule->length ? (int)rule->length : 5;
    bool any = false;
    uint64_t weight = 0;
    for (uint32_t a = rule->first; a != NONE; a = g->alternatives[a].next) {
        any |= holds_always(&g->alternatives[a], label);
        weight += g->alternatives[a].weight;
    }
    const char *fault = NULL;
    if (rule->first == NONE) fault = "has no alternatives";
    else if (weight > UINT32_MAX) fault = "has weights whose sum exceeds 2^32";
    else if (!rule->used[label]) fault = NULL;
    else if (!any && label == LABEL_POSITIVE) fault = "has no alternative without condition or mark for a positive review";
    else if (!any) fault = "has no alternative without condition or mark for a negative review";
    else if (depths_too && rule->depth[label] == ENDLESS) fault = "never ends: each alternative leads to a rule that leads back";
    else if (depths_too && rule->depth[label] > MAX_LEVELS) fault = "nests too many rules";
    return fault ? err_input(err, "%s:%u: rule \"%.*s\" %s", g->path, rule->line, length, name, fault) : 0;
}

static int check(Grammar *g, Err *err)
{
    g->start = find_rule(g, "review", 6);
    if (g->start == NONE) return err_input(err, "%s: no rule \"review\" (every text begins there)", g->path);
    find_depths(g);
    find_used(g);
    // A rule without alternatives makes all that use it endless, so those are looked for first.
    for (size_t i = 0; i < g->n_rules * 4; i++)
        if (check_rule(g, &g->rules[i / 2 % g->n_rules], (int)(i % 2), i >= g->n_rules * 2, err)) return -1;
    return 0;
}

Grammar *grammar_load(const char *path, Err *err)
{
    Grammar *g = mem_new(err, 1, sizeof *g);
    if (!g) return NULL;
    g->path = mem_copy_text(err, path);
    int status = g->path ? os_read_file(&g->source, path, err) : -1;
    if (!status) status = read_rules(g, true, err);
    if (!status) status = read_rules(g, false, err);
    if (!status) status = check(g, err);
    if (!status) return g;
    grammar_free(g);
    return NULL;
}
