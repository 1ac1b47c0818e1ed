// SPDX-License-Identifier: MIT
/* grammar.c - texts from a weighted grammar: the built-in reviews of `raft demo`. Owns the format, which data/reviews.grammar
 * describes at its top, the proof that every expansion ends, and the draws; refuses to know what the sentences say.
 * Start at grammar_corpus, then expand; the reader comes first because the tree it builds is what expand walks.
 */
#include "files/corpus.h"

#include "base/os.h"
#include "files/unicode.h"
#include "kernels/philox.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

enum {
    NONE = UINT32_MAX,   // no rule, alternative or piece
    BOTH = -1,           // an alternative for either label
    ARTICLE = '\x01',    // stands for "a" or "an" until the next word is known
    MAX_NESTING = 50,    // of ( and { on one line
    MAX_WEIGHT = 1000000,
    MAX_RULES = 20000,
    MAX_DEPTH = 60,      // rules within rules; below this only the shortest way out is taken
    MAX_BYTES = 1 << 16, // of one text
    MAX_ATTEMPTS = 200,  // to find a text not drawn before
    ENDLESS = UINT_MAX
};

typedef enum { SAME, OPPOSITE, ALWAYS_NEGATIVE, ALWAYS_POSITIVE } Mood; // <rule>, <rule!>, <rule->, <rule+>

// A rule is a list of alternatives, an alternative a list of pieces, a piece a literal or a use of a rule. ( ) and { } are
// rules without a name. Lists are linked by index, since groups make them grow in turns.
typedef struct { const char *text; size_t length; uint32_t rule, next, line; Mood mood; } Piece; // rule == NONE: literal
typedef struct { uint32_t first, last, next, weight, line, memo; int label; const char *words; size_t length; } Alternative;
typedef struct {
    const char *name;
    size_t length;
    uint32_t first, last, line;
    bool once;           // $name: drawn once a text
    bool used[2];        // by label: some text can hold it
    unsigned depth[2];   // by label: rules nested in its shortest expansion, or ENDLESS
} Rule;

struct Grammar {
    char *path;
    Text source; // names, literals and conditions point into it
    Rule *rules;
    Alternative *alternatives;
    Piece *pieces;
    size_t n_rules, n_alternatives, n_pieces, cap_rules, cap_alternatives, cap_pieces;
    uint32_t start;
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
    g->rules[g->n_rules] = (Rule){name, length, NONE, NONE, line, length && name[0] == '$', {false, false}, {ENDLESS, ENDLESS}};
    return (uint32_t)g->n_rules++;
}

static uint32_t add_alternative(Grammar *g, uint32_t rule, Alternative tag, Err *err)
{
    void *list = g->alternatives;
    if (reserve(&list, g->n_alternatives, &g->cap_alternatives, sizeof *g->alternatives, err)) return NONE;
    g->alternatives = list;
    uint32_t made = (uint32_t)g->n_alternatives++;
    tag.first = tag.last = tag.next = NONE;
    g->alternatives[made] = tag;
    if (g->rules[rule].first == NONE) g->rules[rule].first = made;
    else g->alternatives[g->rules[rule].last].next = made;
    g->rules[rule].last = made;
    return made;
}

static int add_piece(Grammar *g, uint32_t alternative, Piece piece, Err *err)
{
    if (piece.rule == NONE && !piece.length) return 0;
    void *list = g->pieces;
    if (reserve(&list, g->n_pieces, &g->cap_pieces, sizeof *g->pieces, err)) return -1;
    g->pieces = list;
    uint32_t made = (uint32_t)g->n_pieces++;
    piece.next = NONE;
    g->pieces[made] = piece;
    Alternative *a = &g->alternatives[alternative];
    if (a->first == NONE) a->first = made;
    else g->pieces[a->last].next = made;
    a->last = made;
    return 0;
}

// ---- the reader ----------------------------------------------------------------------------------------------------------

// One line being read. Uses of rules are noted by name and resolved once all rules are known: a Piece or an Alternative
// holds, until then, its name in text/words and `UNRESOLVED + length` nowhere but here.
typedef struct { Grammar *g; char *at, *end; uint32_t line; int nesting; Err *err; } Reader;
