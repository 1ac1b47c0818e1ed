// SPDX-License-Identifier: MIT
/* grammar-internal.h - the tree that grammar.c builds from a file and grammar_draw.c walks. */
#ifndef RAFT_FILES_GRAMMAR_INTERNAL_H
#define RAFT_FILES_GRAMMAR_INTERNAL_H

#include "files/corpus.h"

#define NONE UINT32_MAX // no rule, alternative, piece or mark

enum {
    BOTH = -1,         // an alternative for either label
    ARTICLE = '\x01',  // stands for "a" or "an" until the next word is known
    ENDLESS = 1 << 30  // a depth
};

typedef enum { SAME, OPPOSITE, ALWAYS_NEGATIVE, ALWAYS_POSITIVE } Mood; // <rule>, <rule!>, <rule->, <rule+>

// A rule is a list of alternatives, an alternative a list of pieces, a piece a literal or a use of a rule. ( ) and { } are
// rules without a name. Lists are linked by index, since nested groups make several grow in turns.
typedef struct {
    const char *text; // a literal, when rule is NONE
    size_t length;
    uint32_t rule, next;
    Mood mood;
} GrammarPiece;

typedef struct {
    uint32_t first, last; // pieces
    uint32_t next, weight;
    int label;            // LABEL_* or BOTH
    uint32_t memo;        // [$rule~words]: the $rule, or NONE
    const char *words;
    size_t words_length;
    const char *mark;     // [#mark], or NULL
    size_t mark_length;
    uint32_t mark_id;     // the first alternative with this mark, or NONE
} GrammarAlternative;

typedef struct {
    const char *name; // "" for a group
    size_t length;
    uint32_t first, last, line; // alternatives
    bool once;        // $name: drawn once a text
    bool used[2];     // by label: some text can hold it
    int depth[2];     // by label: rules nested in its shortest expansion, or ENDLESS
} GrammarRule;

struct Grammar {
    char *path;
    Text source; // names, literals, words and marks point into it
    GrammarRule *rules;
    GrammarAlternative *alternatives;
    GrammarPiece *pieces;
    size_t n_rules, n_alternatives, n_pieces, cap_rules, cap_alternatives, cap_pieces;
    uint32_t start;
};

// The label that a use of a rule passes on.
static inline int label_within(Mood mood, int label)
{
    return mood == SAME ? label : mood == OPPOSITE ? !label : mood == ALWAYS_POSITIVE ? LABEL_POSITIVE : LABEL_NEGATIVE;
}

static inline bool fits_label(const GrammarAlternative *a, int label) { return a->label == BOTH || a->label == label; }

// Can it be drawn whatever was drawn before?
static inline bool holds_always(const GrammarAlternative *a, int label)
{
    return fits_label(a, label) && a->memo == NONE && !a->mark;
}

// Rules nested in the shortest text of this alternative; ENDLESS while none is known.
int grammar_depth(const Grammar *g, const GrammarAlternative *a, int label);

#endif
