// SPDX-License-Identifier: MIT
/* tokenizer_split.c - cuts a text into the pieces within which tokens are merged: special tokens first, then a pattern.
 *
 * The patterns are those of well-known vocabularies, each written as a function that answers "where does the piece that begins
 * here end" as the regular expression above it does. Start at pieces_next; the table of patterns is at the end.
 */
#include "tokenizer-internal.h"

#include "files/unicode.h"

// ---- characters ------------------------------------------------------------------------------------------------------------

enum { NOT_ASCII = 4 };
// The classes of unicode.h (0 other, 1 letter, 2 number, 3 space) for one-byte characters.
static const uint8_t byte_class[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 3, 3, 3, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0,
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,  4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,  4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,  4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,  4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
};

// Class and length of the character at s < end. Invalid UTF-8 counts as punctuation, so that every byte is in some piece.
static unsigned class_at(const char *s, const char *end, size_t *length)
{
    unsigned c = byte_class[(unsigned char)*s];
    *length = 1;
    if (c != NOT_ASCII) return c;
    uint32_t character;
    bool valid;
    *length = utf8_decode(&character, &valid, s, (size_t)(end - s));
    return unicode_class(character); // U+FFFD, which stands for what is invalid, is of class other
}

// Where the characters of class c, from s on, end.
static const char *run_end(const char *s, const char *end, unsigned c)
{
    for (;;) {
        while (s < end && byte_class[(unsigned char)*s] == c) s++;
        size_t length;
        if (s == end || byte_class[(unsigned char)*s] != NOT_ASCII || class_at(s, end, &length) != c) return s;
        s += length;
    }
}

// ---- GPT-2: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ ------------------------------------------

static size_t contraction_length(const char *s, const char *end)
{
    if (end - s < 2) return 0;
    if (s[1] == 's' || s[1] == 't' || s[1] == 'm' || s[1] == 'd') return 2;
    if (end - s < 3) return 0;
    return (s[1] == 'r' && s[2] == 'e') || (s[1] == 'v' && s[2] == 'e') || (s[1] == 'l' && s[2] == 'l') ? 3 : 0;
}

// \s+(?!\S)|\s+: of several spaces before other text, the last is left to the next piece (which takes it when it is ' ').
static const char *spaces_end(const char *s, const char *end)
{
    const char *at = s, *last = s;
    size_t length;
    while (at < end && class_at(at, end, &length) == UNICODE_SPACE) last = at, at += length;
    return at == end || last == s ? at : last;
}

static const char *gpt2_end(const char *s, const char *end)
{
    size_t length;
    unsigned c = class_at(s, end, &length);
    if (*s == '\'' && (length = contraction_length(s, end))) return s + length;
    if (*s == ' ' && end - s > 1 && (c = class_at(s + 1, end, &length)) != UNICODE_SPACE) return run_end(s + 1 + length, end, c);
    return c == UNICODE_SPACE ? spaces_end(s, end) : run_end(s + length, end, c);
}

// ---- Llama 3: (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//      Qwen 2: the same with \p{N} instead of \p{N}{1,3} --------------------------------------------------------------------------

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

// As above in either case. The long s (U+017F) is an 's' to a regular expression that ignores case.
static size_t any_contraction_length(const char *s, const char *end)
{
    char plain[3];
    size_t n = (size_t)(end - s);
    if (n >= 3 && (unsigned char)s[1] == 0xC5 && (unsigned char)s[2] == 0xBF) return 3;
    for (size_t i = 0; i < 3 && i < n; i++) plain[i] = lower(s[i]);
    return contraction_length(plain, plain + (n < 3 ? n : 3));
}

// \s*[\r\n]+: to behind the last newline of a run of spaces; NULL when it holds none.
static const char *newlines_end(const char *s, const char *end)
{
    const char *after = NULL;
    size_t length;
    for (; s < end && class_at(s, end, &length) == UNICODE_SPACE; s += length)
        if (*s == '\r' || *s == '\n') after = s + 1;
    return after;
}

static const char *digits_end(const char *s, const char *end, size_t most)
{
    size_t length;
    for (; most && s < end && class_at(s, end, &length) == UNICODE_NUMBER; most--) s += length;
    return s;
}

static const char *punctuation_end(const char *s, const char *end)
{
    s = run_end(s, end, UNICODE_OTHER);
    while (s < end && (*s == '\r' || *s == '\n')) s++;
    return s;
}

static const char *llama3_end(const char *s, const char *end, size_t digits)
{
    size_t length, next;
    unsigned c = class_at(s, end, &length);
    if (*s == '\'' && (next = any_contraction_length(s, end))) return s + next;
    if (c == UNICODE_LETTER) return run_end(s + length, end, c);
    if (c == UNICODE_NUMBER) return digits_end(s, end, digits);
    const char *second = s + length, *newlines;
    unsigned after = second < end ? class_at(second, end, &next) : UNICODE_SPACE;
    if (after == UNICODE_LETTER && *s != '\r' && *s != '\n') return run_end(second + next, end, after);
    if (c == UNICODE_OTHER) return punctuation_end(s, end);
    if (*s == ' ' && after == UNICODE_OTHER) return punctuation_end(second, end);
    return (newlines = newlines_end(s, end)) ? newlines : spaces_end(s, end);
}

// ---- pieces: special tokens first, then (optionally) digits, then the pattern --------------------------------------------

// The leftmost special token from p->at on, the longest of those that begin there.
static void find_special(Pieces *p)
{
    const TokenizerTables *t = p->tables;
    p->special = NO_ID;
    p->special_at = p->end;
    if (!t->special_count) return;
    for (const char *s = p->at; s < p->end; s++) {
        if (!t->special_first[(unsigned char)*s]) continue;
        for (size_t i = 0; i < t->special_count; i++) {
            const TextView *token = &p->tokens[t->special_ids[i]];
            if (!p->controls && !t->plain[t->special_ids[i]]) continue;
            if ((size_t)(p->end - s) < token->length || memcmp(s, token->bytes, token->length)) continue;
            p->special = t->special_ids[i];
            p->special_at = s;
            return;
        }
    }
}

// With SPLIT_DIGITS a stretch is one digit (any \p{N}) or what lies between two.
static void find_stretch(Pieces *p)
{
    p->stretch_end = p->special_at;
    if (p->split != SPLIT_DIGITS) return;
    for (const char *s = p->at; s < p->special_at;) {
        size_t length;
        if (class_at(s, p->special_at, &length) == UNICODE_NUMBER) {
            p->stretch_end = s == p->at ? s + length : s;
            return;
        }
        s += length;
    }
}

Pieces pieces_of(const Tokenizer *tk, const char *text, size_t length, bool controls)
{
    Pieces p = {.tables = tk->tables, .tokens = tk->tokens, .split = tk->split, .controls = controls, .at = text, .end = text + length};
    find_special(&p);
    find_stretch(&p);
    return p;
}

// The pieces of a stretch until there is no more room. Always inlined with a constant pattern: the loop is the tokenizer's hottest.
static inline size_t cut_stretch(Pieces *p, Piece *pieces, size_t room, TokenizerSplit split)
{
    size_t n = 0;
    const char *at = p->at, *end = p->stretch_end;
    while (at < end && n < room) {
        const char *next = split == SPLIT_LLAMA3 ? llama3_end(at, end, 3) : split == SPLIT_QWEN2 ? llama3_end(at, end, 1)
            : split == SPLIT_SENTENCEPIECE ? end : gpt2_end(at, end);
        pieces[n++] = (Piece){at, (size_t)(next - at), NO_ID};
        at = next;
    }
    p->at = at;
    return n;
}

static size_t cut_by_pattern(Pieces *p, Piece *pieces, size_t room)
{
    switch (p->split) {
    case SPLIT_LLAMA3: return cut_stretch(p, pieces, room, SPLIT_LLAMA3);
    case SPLIT_QWEN2: return cut_stretch(p, pieces, room, SPLIT_QWEN2);
    case SPLIT_SENTENCEPIECE: return cut_stretch(p, pieces, room, SPLIT_SENTENCEPIECE);
    default: return cut_stretch(p, pieces, room, SPLIT_GPT2);
    }
}

size_t pieces_next(Pieces *p, Piece *pieces, size_t room)
{
    size_t n = 0;
    while (n < room) {
        if (p->at == p->special_at && p->special != NO_ID) {
            pieces[n++] = (Piece){p->at, p->tokens[p->special].length, p->special};
            p->at += p->tokens[p->special].length;
            find_special(p);
            find_stretch(p);
        } else if (p->at == p->end) break;
        else {
            if (p->at == p->stretch_end) find_stretch(p);
            n += cut_by_pattern(p, pieces + n, room - n);
        }
    }
    return n;
}

// ---- what files call the patterns ------------------------------------------------------------------------------------------

const SplitSpec split_table[] = {
    {SPLIT_GPT2, {"gpt-2"}, "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", false},
    {SPLIT_DIGITS, {"smollm"}, NULL, false},
    {SPLIT_LLAMA3, {"llama-bpe", "llama3", "llama-v3"}, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
        " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", true},
    {SPLIT_QWEN2, {"qwen2"}, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
        " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", false},
};
const size_t split_count = sizeof split_table / sizeof split_table[0];
