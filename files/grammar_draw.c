// SPDX-License-Identifier: MIT
/* grammar_draw.c - draws texts from a grammar: the built-in reviews of `raft demo`. Owns which draw decides what, the tidying of
 * spaces and capitals, and that no text comes twice; refuses to know the format (grammar.c). Start at grammar_corpus at the end.
 */
#include "files/grammar-internal.h"

#include "kernels/philox.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_DEPTH = 60,      // rules within rules; below this only the shortest way out is taken
    MAX_BYTES = 1 << 16, // of one text
    MAX_STEPS = 1 << 18, // rules expanded for one text
    MAX_ATTEMPTS = 200,  // to find a text not drawn before
    MAX_TEXTS = 1 << 28
};

// ---- drawing a text ----------------------------------------------------------------------------------------------------

typedef struct {
    const Grammar *g;
    Text *memos;  // [n_rules]: what each $rule gave in this text
    bool *drawn;  // [n_rules]
    bool *marked; // [n_alternatives]: by mark_id, the marks that this text has used up
    Text raw;     // as expanded, before tidy
    uint64_t seed;
    PhiloxCounter counter; // c0 choice within the text, c1 attempt, c2 index of the text
    size_t steps;
    Err *err;
} Draw;

static int expand(Draw *d, Text *out, uint32_t rule, int label, int depth);

// Is one of the comma-separated words part of the text?
static bool holds_word(const Text *text, const char *words, size_t length)
{
    for (size_t from = 0, n; from < length; from += n + 1) {
        const char *comma = memchr(words + from, ',', length - from);
        n = comma ? (size_t)(comma - words) - from : length - from;
        for (size_t i = 0; n && i + n <= text->length; i++)
            if (!memcmp(text->data + i, words + from, n)) return true;
    }
    return false;
}

static bool applies(const Draw *d, const GrammarAlternative *a, int label)
{
    if (!fits_label(a, label) || (a->mark && d->marked[a->mark_id])) return false;
    return a->memo == NONE || holds_word(&d->memos[a->memo], a->words, a->words_length);
}

// Draws the $rules that this rule's conditions ask about, where that was not done yet: it may use up marks, hence before any
// alternative is weighed.
static int settle_conditions(Draw *d, uint32_t rule, int label, int depth)
{
    Text unused = {0};
    int status = 0;
    for (uint32_t a = d->g->rules[rule].first; a != NONE && !status; a = d->g->alternatives[a].next) {
        const GrammarAlternative *one = &d->g->alternatives[a];
        bool open = one->memo != NONE && fits_label(one, label) && !d->drawn[one->memo];
        if (open) status = expand(d, &unused, one->memo, label, depth + 1);
    }
    text_free(&unused);
    return status;
}

static uint32_t shortest(const Grammar *g, uint32_t rule, int label)
{
    const GrammarAlternative *all = g->alternatives;
    uint32_t a = g->rules[rule].first;
    while (!holds_always(&all[a], label) || grammar_depth(g, &all[a], label) != g->rules[rule].depth[label]) a = all[a].next;
    return a; // grammar_load saw that there is one
}

// An alternative by weight among those that apply: one draw, and none where there is nothing to choose. NONE on error.
static uint32_t choose(Draw *d, uint32_t rule, int label, int depth)
{
    const Grammar *g = d->g;
    if (depth > MAX_DEPTH) return shortest(g, rule, label);
    if (settle_conditions(d, rule, label, depth)) return NONE;
    uint32_t total = 0, chosen = NONE, count = 0;
    for (uint32_t a = g->rules[rule].first; a != NONE; a = g->alternatives[a].next)
        if (applies(d, &g->alternatives[a], label)) total += g->alternatives[a].weight, count++, chosen = a;
    if (count > 1) {
        uint32_t words[4];
        philox_draw(words, d->seed, d->counter);
        d->counter.c0++;
        uint32_t left = philox_below(words[0], total);
        for (chosen = g->rules[rule].first;; chosen = g->alternatives[chosen].next) {
            if (!applies(d, &g->alternatives[chosen], label)) continue;
            if (left < g->alternatives[chosen].weight) break;
            left -= g->alternatives[chosen].weight;
        }
    }
    if (g->alternatives[chosen].mark) d->marked[g->alternatives[chosen].mark_id] = true;
    return chosen;
}

static int expand(Draw *d, Text *out, uint32_t rule, int label, int depth)
{
    const Grammar *g = d->g;
    if (d->drawn[rule]) return text_add(out, d->err, d->memos[rule].data, d->memos[rule].length);
    if (++d->steps > MAX_STEPS || out->length > MAX_BYTES)
        return err_input(d->err, "%s:%u: a text grew past %d bytes or %d uses of rules (make repetition less likely)", g->path,
            g->rules[rule].line, MAX_BYTES, MAX_STEPS);
    size_t from = out->length;
    uint32_t chosen = choose(d, rule, label, depth);
    if (chosen == NONE) return -1;
    for (uint32_t p = g->alternatives[chosen].first; p != NONE; p = g->pieces[p].next) {
        const GrammarPiece *piece = &g->pieces[p];
        int status = piece->rule == NONE ? text_add(out, d->err, piece->text, piece->length)
                                         : expand(d, out, piece->rule, label_within(piece->mood, label), depth + 1);
        if (status) return -1;
    }
    if (!g->rules[rule].once || d->drawn[rule]) return 0;
    d->memos[rule].length = 0;
    d->drawn[rule] = true;
    return text_add(&d->memos[rule], d->err, out->length > from ? out->data + from : "", out->length - from);
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Does the text so far end a sentence? "..." does not; closing quotes and brackets may follow the mark.
static bool sentence_ended(const Text *text)
{
    size_t n = text->length;
    while (n && strchr("\"')", text->data[n - 1])) n--;
    if (!n || text->data[n - 1] == '\n') return true;
    if (text->data[n - 1] != '.') return text->data[n - 1] == '!' || text->data[n - 1] == '?';
    return n < 2 || text->data[n - 2] != '.';
}

// What a grammar need not care for: single spaces, none before punctuation, capitals after a sentence's end, a or an.
static int tidy(Text *out, const Text *raw, Err *err)
{
    bool space = false, capital = true;
    out->length = 0;
    for (size_t i = 0; i < raw->length; i++) {
        char c = raw->data[i];
        bool article = c == ARTICLE;
        if (article) {
            size_t next = i + 1;
            while (next < raw->length && strchr(" \"", raw->data[next])) next++;
            article = next < raw->length && strchr("aeiouAEIOU", raw->data[next]);
            c = 'a';
        }
        if (c == ' ' || c == '\t') {
            space = true;
            continue;
        }
        if (space && out->length && out->data[out->length - 1] != '\n' && !strchr(",.;:!?)\n", c)) {
            capital |= sentence_ended(out);
            if (text_add(out, err, " ", 1)) return -1;
        }
        space = false;
        bool letter = is_letter(c) || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80;
        if (capital && c >= 'a' && c <= 'z') c = (char)(c - 'a' + 'A');
        capital = c == '\n' || (capital && !letter);
        if (text_add(out, err, &c, 1) || (article && text_add(out, err, "n", 1))) return -1;
    }
    return 0;
}

static int draw_text(Draw *d, Text *text, uint32_t index, uint32_t attempt)
{
    memset(d->drawn, 0, d->g->n_rules * sizeof *d->drawn);
    memset(d->marked, 0, d->g->n_alternatives * sizeof *d->marked);
    d->raw.length = d->steps = 0;
    d->counter = (PhiloxCounter){.c0 = 0, .c1 = attempt, .c2 = index, .c3 = philox_stream(STREAM_GRAMMAR, 0)};
    int label = index % 2 ? LABEL_POSITIVE : LABEL_NEGATIVE;
    return text_add(&d->raw, d->err, "", 0) || expand(d, &d->raw, d->g->start, label, 0) || tidy(text, &d->raw, d->err) ? -1 : 0;
}

// ---- distinct texts --------------------------------------------------------------------------------------------------------

// An open-addressed table of indices into corpus->items, + 1; size is a power of two, at least twice what it will hold.
typedef struct { uint32_t *slots; size_t size; } Seen;

// The slot that holds this text or is free for it.
static uint32_t *find_slot(const Seen *seen, const Corpus *corpus, const Text *text)
{
    size_t i = (size_t)hash_bytes(0, text->data, text->length) & (seen->size - 1);
    for (; seen->slots[i]; i = (i + 1) & (seen->size - 1)) {
        const CorpusItem *item = &corpus->items[seen->slots[i] - 1];
        if (item->length == text->length && !memcmp(item->text, text->data, text->length)) break;
    }
    return &seen->slots[i];
}

static int add_distinct(Corpus *corpus, Draw *d, const Seen *seen, Text *text, uint32_t index)
{
    for (uint32_t attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        if (draw_text(d, text, index, attempt)) return -1;
        uint32_t *slot = find_slot(seen, corpus, text);
        if (*slot) continue;
        char id[32];
        snprintf(id, sizeof id, "review %u", index);
        if (corpus_add(corpus, id, text->data, text->length, index % 2 ? LABEL_POSITIVE : LABEL_NEGATIVE, d->err)) return -1;
        *slot = (uint32_t)corpus->count;
        return 0;
    }
    return err_input(d->err, "%s: too few different reviews: for number %u, %d in a row were there before", d->g->path, index + 1,
        MAX_ATTEMPTS);
}

int grammar_corpus(Corpus *corpus, const Grammar *grammar, size_t n, uint64_t seed, Err *err)
{
    if (n > MAX_TEXTS || corpus->count > MAX_TEXTS)
        return err_input(err, "%s: %zu reviews asked for, at most %u can be drawn", grammar->path, n, (unsigned)MAX_TEXTS);
    Draw d = {.g = grammar, .seed = seed, .err = err};
    Seen seen = {.size = 64};
    Text text = {0};
    while (seen.size < 2 * n) seen.size *= 2;
    d.memos = mem_new(err, grammar->n_rules, sizeof *d.memos);
    d.drawn = mem_new(err, grammar->n_rules, sizeof *d.drawn);
    d.marked = mem_new(err, grammar->n_alternatives, sizeof *d.marked);
    seen.slots = mem_new(err, seen.size, sizeof *seen.slots);
    int status = d.memos && d.drawn && d.marked && seen.slots ? text_add(&text, err, "", 0) : -1;
    for (size_t i = 0; i < n && !status; i++) status = add_distinct(corpus, &d, &seen, &text, (uint32_t)i);
    for (size_t i = 0; d.memos && i < grammar->n_rules; i++) text_free(&d.memos[i]);
    text_free(&d.raw);
    text_free(&text);
    mem_free(d.memos);
    mem_free(d.drawn);
    mem_free(d.marked);
    mem_free(seen.slots);
    return status;
}
