// SPDX-License-Identifier: MIT
/* tokenizer_build.c - a tokenizer from its parts. Knows how tokens are spelled and which tables encoding needs; splitting and
 * merging are in tokenizer_split.c and tokenizer.c, the formats in tokenizer_file.c and tokenizer_import.c. Start at tokenizer_build.
 */
#include "tokenizer_build.h"
#include "tokenizer-internal.h"

#include "files/unicode.h"

#include <math.h>
#include <stdlib.h>

// ---- the byte alphabet -----------------------------------------------------------------------------------------------------

// Printable Latin-1 characters stand for themselves; the other 68 bytes, in order, are U+0100 onwards.
static bool stands_for_itself(uint32_t c) { return (c >= 33 && c <= 126) || (c >= 161 && c <= 255 && c != 173); }

uint32_t byte_to_letter(unsigned char byte)
{
    if (stands_for_itself(byte)) return byte;
    return 256 + (byte < 33 ? byte : byte < 161 ? byte - 127u + 33u : 67u);
}

int letter_to_byte(uint32_t letter)
{
    if (stands_for_itself(letter)) return (int)letter;
    if (letter < 256 || letter > 256 + 67) return -1;
    uint32_t k = letter - 256;
    return (int)(k < 33 ? k : k < 67 ? k - 33 + 127 : 173);
}

int spelled_to_bytes(Text *out, const char *spelled, size_t length, Err *err)
{
    for (size_t i = 0; i < length;) {
        uint32_t letter;
        bool valid;
        i += utf8_decode(&letter, &valid, spelled + i, length - i);
        int byte = valid ? letter_to_byte(letter) : -1;
        if (byte < 0) return 1;
        char c = (char)byte;
        if (text_add(out, err, &c, 1)) return -1;
    }
    return 0;
}

// ---- tables ----------------------------------------------------------------------------------------------------------------

static size_t hash_size(size_t entries) // a power of two, at most half full and never full
{
    size_t size = 16;
    while (size / 2 < entries) size *= 2;
    return size;
}

int tables_allocate(Tokenizer *tk, size_t vocab, size_t bytes, size_t merges, Err *err)
{
    *tk = (Tokenizer){.vocab = vocab, .first = -1};
    TokenizerTables *t = tk->tables = mem_new(err, 1, sizeof *t);
    if (!t) return -1;
    t->merge_count = merges;
    tk->tokens = mem_new(err, vocab, sizeof *tk->tokens);
    tk->special = tk->tokens ? mem_new(err, vocab, sizeof *tk->special) : NULL;
    t->plain = tk->special ? mem_new(err, vocab, sizeof *t->plain) : NULL;
    t->bytes = t->plain ? mem_new(err, bytes, 1) : NULL;
    t->merges = t->bytes ? mem_new(err, merges, sizeof *t->merges) : NULL;
    if (t->merges) return 0;
    tokenizer_free(tk);
    return -1;
}

static void clear_byte_ids(const Tokenizer *tk)
{
    for (size_t b = 0; b < 256; b++) tk->tables->byte_ids[b] = NO_ID;
}

// A byte that is a special token has no need of a symbol: it never gets into a piece. SentencePiece's bytes are known by their
// spelling (copy_tokens).
static void fill_byte_ids(const Tokenizer *tk)
{
    uint32_t *ids = tk->tables->byte_ids;
    if (tk->split == SPLIT_SENTENCEPIECE) return;
    clear_byte_ids(tk);
    for (size_t i = 0; i < tk->vocab; i++)
        if (tk->tokens[i].length == 1 && !tk->special[i]) ids[(unsigned char)tk->tokens[i].bytes[0]] = (uint32_t)i;
}

static int fill_specials(const Tokenizer *tk, Err *err)
{
    TokenizerTables *t = tk->tables;
    for (size_t i = 0; i < tk->vocab; i++) t->special_count += tk->special[i];
    if (!(t->special_ids = mem_new(err, t->special_count, sizeof *t->special_ids))) return -1;
    size_t n = 0;
    for (size_t i = 0; i < tk->vocab; i++) {
        if (!tk->special[i]) continue;
        size_t at = n++;
        for (; at > 0 && tk->tokens[t->special_ids[at - 1]].length < tk->tokens[i].length; at--)
            t->special_ids[at] = t->special_ids[at - 1];
        t->special_ids[at] = (uint32_t)i;
        t->special_first[(unsigned char)tk->tokens[i].bytes[0]] = true;
    }
    return 0;
}

static int fill_pairs(TokenizerTables *t, const char *where, Err *err)
{
    t->pair_mask = hash_size(t->merge_count) - 1;
    if (!(t->pairs = mem_new(err, t->pair_mask + 1, sizeof *t->pairs))) return -1;
    for (size_t i = 0; i <= t->pair_mask; i++) t->pairs[i].rank = NO_ID;
    for (size_t rank = 0; rank < t->merge_count; rank++) {
        uint64_t pair = (uint64_t)t->merges[rank].left << 32 | t->merges[rank].right;
        size_t at = mix64(pair) & t->pair_mask;
        for (; t->pairs[at].rank != NO_ID; at = (at + 1) & t->pair_mask)
            if (t->pairs[at].pair == pair)
                return err_input(err, "%s: merges[%zu] repeats merges[%lu]", where, rank, (unsigned long)t->pairs[at].rank);
        t->pairs[at] = (PairSlot){pair, (uint32_t)rank, t->merges[rank].id};
    }
    return 0;
}

// A special token or a byte <0xNN> stands outside of merging.
static bool merges_never(const Tokenizer *tk, size_t i)
{
    bool byte = tk->split == SPLIT_SENTENCEPIECE && tk->tokens[i].length == 1
        && tk->tables->byte_ids[(unsigned char)tk->tokens[i].bytes[0]] == i;
    return tk->special[i] || byte;
}

static void slot_put(TokenSlot *slots, size_t mask, const TextView *token, size_t id)
{
    PieceKey key = piece_key(token->bytes, token->length, 0);
    size_t at = key_hash(key, token->length) & mask;
    while (slots[at].length) at = (at + 1) & mask;
    slots[at] = (TokenSlot){key, (uint32_t)token->length, (uint32_t)id};
}

// Tokens of one character, and whether text can be cut where a space follows something else.
static int fill_characters(const Tokenizer *tk, Err *err)
{
    TokenizerTables *t = tk->tables;
    if (tk->split != SPLIT_SENTENCEPIECE) return 0;
    t->character_mask = hash_size(tk->vocab) - 1;
    if (!(t->characters = mem_new(err, t->character_mask + 1, sizeof *t->characters))) return -1;
    t->cut_at_spaces = true;
    for (size_t i = 0; i < tk->vocab; i++) {
        const TextView *token = &tk->tokens[i];
        uint32_t character;
        bool valid;
        if (merges_never(tk, i)) continue;
        if (utf8_decode(&character, &valid, token->bytes, token->length) == token->length)
            slot_put(t->characters, t->character_mask, token, i);
        for (size_t k = 1; k < token->length; k++)
            if (token->bytes[k] == ' ' && token->bytes[k - 1] != ' ') t->cut_at_spaces = false;
    }
    return 0;
}

// A token's own bytes need not merge into it (GPT-2 has none such, but a file may): only those that do can answer for a piece,
// unless the file says that any token does.
static bool answers_for_itself(const Tokenizer *tk, size_t i, Err *err)
{
    uint32_t ids[KEY_BYTES];
    unsigned char bad;
    if (tk->tables->ignore_merges) return true;
    size_t n = first_ids(tk, ids, tk->tokens[i].bytes, tk->tokens[i].length, &bad);
    return n && merge_ids(tk->tables, ids, n, err) == 1 && *ids == i;
}

static int fill_whole(const Tokenizer *tk, Err *err)
{
    TokenizerTables *t = tk->tables;
    size_t longer = 0;
    t->whole_mask = hash_size(tk->vocab) - 1;
    if (!(t->whole = mem_new(err, t->whole_mask + 1, sizeof *t->whole))) return -1;
    for (size_t i = 0; i < tk->vocab; i++) {
        if (merges_never(tk, i)) continue;
        if (tk->tokens[i].length > KEY_BYTES) longer++;
        else if (answers_for_itself(tk, i, err)) slot_put(t->whole, t->whole_mask, &tk->tokens[i], i);
    }
    if (!t->ignore_merges) return 0;
    t->long_mask = hash_size(longer) - 1;
    if (!(t->long_ids = mem_new(err, t->long_mask + 1, sizeof *t->long_ids))) return -1;
    for (size_t i = 0; i < tk->vocab; i++) {
        if (tk->special[i] || tk->tokens[i].length <= KEY_BYTES) continue;
        size_t at = mix64(hash_bytes(0, tk->tokens[i].bytes, tk->tokens[i].length));
        while (t->long_ids[at & t->long_mask]) at++;
        t->long_ids[at & t->long_mask] = (uint32_t)i + 1;
    }
    return 0;
}

int tables_fill(Tokenizer *tk, const char *where, Err *err)
{
    fill_byte_ids(tk);
    return fill_specials(tk, err) || fill_characters(tk, err) || fill_pairs(tk->tables, where, err) || fill_whole(tk, err) ? -1 : 0;
}

// ---- from parts --------------------------------------------------------------------------------------------------------------

// Finds tokens by their spelling: slots hold id + 1.
typedef struct { uint32_t *slots; size_t mask; const TextView *tokens; } SpellingMap;

static uint32_t *spelling_slot(const SpellingMap *map, TextView spelling)
{
    for (size_t i = mix64(hash_bytes(0, spelling.bytes, spelling.length));; i++) {
        uint32_t *slot = &map->slots[i & map->mask];
        if (!*slot) return slot;
        const TextView *token = &map->tokens[*slot - 1];
        if (token->length == spelling.length && !memcmp(token->bytes, spelling.bytes, spelling.length)) return slot;
    }
}

static int map_spellings(SpellingMap *map, const TokenizerParts *parts, const char *where, Err *err)
{
    *map = (SpellingMap){.mask = hash_size(parts->vocab) - 1, .tokens = parts->tokens};
    if (!(map->slots = mem_new(err, map->mask + 1, sizeof *map->slots))) return -1;
    for (size_t i = 0; i < parts->vocab; i++) {
        uint32_t *slot = spelling_slot(map, parts->tokens[i]);
        if (*slot) return err_input(err, "%s: tokens %zu and %zu are the same: \"%.*s\"", where, (size_t)*slot - 1, i,
            (int)parts->tokens[i].length, parts->tokens[i].bytes);
        *slot = (uint32_t)i + 1;
    }
    return 0;
}

// "<0x0A>": the byte, or -1.
static int byte_spelled(TextView token)
{
    static const char digits[] = "0123456789ABCDEF";
    if (token.length != 6 || memcmp(token.bytes, "<0x", 3) || token.bytes[5] != '>') return -1;
    const char *high = memchr(digits, token.bytes[3], 16), *low = memchr(digits, token.bytes[4], 16);
    return high && low ? (int)((high - digits) << 4 | (low - digits)) : -1;
}

// SentencePiece spells a byte <0xNN> and a space U+2581; the rest is text.
static int sentencepiece_bytes(Text *bytes, const TokenizerParts *parts, size_t i, const char *where, Err *err)
{
    TextView token = parts->tokens[i];
    int byte = byte_spelled(token);
    char c = (char)byte;
    if (!utf8_is_valid(token.bytes, token.length)) return err_input(err, "%s: token %zu is not valid UTF-8", where, i);
    if (parts->special[i]) return text_add(bytes, err, token.bytes, token.length);
    if (byte >= 0) return text_add(bytes, err, &c, 1);
    for (size_t k = 0; k < token.length;) {
        bool space = token.length - k >= 3 && !memcmp(token.bytes + k, SPACE_LETTER, 3);
        if (text_add(bytes, err, space ? " " : token.bytes + k, 1)) return -1;
        k += space ? 3 : 1;
    }
    return 0;
}

// Byte-level: a special token keeps its text; were it spelled like other bytes, decoding would be ambiguous.
static int byte_level_bytes(Text *bytes, const TokenizerParts *parts, size_t i, const char *where, Err *err)
{
    TextView token = parts->tokens[i];
    size_t before = bytes->length;
    int status = spelled_to_bytes(bytes, token.bytes, token.length, err);
    if (status < 0) return -1;
    if (!parts->special[i] && status)
        return err_input(err, "%s: token %zu, \"%.*s\", holds a character outside the byte alphabet of GPT-2", where, i,
            (int)token.length, token.bytes);
    if (!parts->special[i]) return 0;
    if (!utf8_is_valid(token.bytes, token.length)) return err_input(err, "%s: special token %zu is not valid UTF-8", where, i);
    if (!status && (bytes->length - before != token.length || memcmp(bytes->data + before, token.bytes, token.length)))
        return err_input(err, "%s: special token %zu, \"%.*s\", is spelled like a token of other bytes", where, i,
            (int)token.length, token.bytes);
    bytes->length = before;
    return text_add(bytes, err, token.bytes, token.length);
}

static int token_bytes(Text *bytes, const TokenizerParts *parts, size_t i, const char *where, Err *err)
{
    if (!parts->tokens[i].length) return err_input(err, "%s: token %zu is empty", where, i);
    return parts->split == SPLIT_SENTENCEPIECE ? sentencepiece_bytes(bytes, parts, i, where, err)
                                               : byte_level_bytes(bytes, parts, i, where, err);
}

static void take_parts(Tokenizer *tk, const TokenizerParts *parts, const size_t *start)
{
    tk->split = parts->split;
    tk->first = parts->put_first ? (int64_t)parts->first : -1;
    tk->tables->ignore_merges = parts->ignore_merges;
    clear_byte_ids(tk);
    for (size_t i = 0; i < parts->vocab; i++) {
        tk->tokens[i] = (TextView){tk->tables->bytes + start[i], start[i + 1] - start[i]};
        tk->special[i] = parts->special[i];
        tk->tables->plain[i] = parts->plain && parts->plain[i];
        int byte = parts->split == SPLIT_SENTENCEPIECE && !parts->special[i] ? byte_spelled(parts->tokens[i]) : -1;
        if (byte >= 0) tk->tables->byte_ids[byte] = (uint32_t)i;
    }
}

static int copy_tokens(Tokenizer *tk, const TokenizerParts *parts, const char *where, Err *err)
{
    Text bytes = {0};
    size_t *start = mem_new(err, parts->vocab + 1, sizeof *start);
    int status = start ? 0 : -1;
    for (size_t i = 0; i < parts->vocab && !status; i++) {
        status = token_bytes(&bytes, parts, i, where, err);
        start[i + 1] = bytes.length;
    }
    if (!status) status = tables_allocate(tk, parts->vocab, bytes.length, parts->merge_count, err);
    if (!status && bytes.length) memcpy(tk->tables->bytes, bytes.data, bytes.length);
    if (!status) take_parts(tk, parts, start);
    mem_free(start);
    text_free(&bytes);
    return status;
}

static int merge_part(uint32_t *id, const SpellingMap *map, TextView spelling, size_t rank, const char *what, const char *where,
    Err *err)
{
    *id = *spelling_slot(map, spelling) - 1;
    if (*id != NO_ID) return 0;
    return err_input(err, "%s: merges[%zu]: %s, \"%.*s\", is not in the vocabulary", where, rank, what,
        (int)spelling.length, spelling.bytes);
}

static int copy_merges(Tokenizer *tk, const SpellingMap *map, const TokenizerParts *parts, const char *where, Err *err)
{
    Text both = {0};
    int status = 0;
    for (size_t i = 0; i < parts->merge_count && !status; i++) {
        const TokenizerMerge *part = &parts->merges[i];
        Merge *merge = &tk->tables->merges[i];
        both.length = 0;
        status = text_add(&both, err, part->left.bytes, part->left.length)
            || text_add(&both, err, part->right.bytes, part->right.length)
            || merge_part(&merge->left, map, part->left, i, "the left half", where, err)
            || merge_part(&merge->right, map, part->right, i, "the right half", where, err)
            || merge_part(&merge->id, map, (TextView){both.data, both.length}, i, "the whole", where, err) ? -1 : 0;
    }
    text_free(&both);
    return status;
}

// ---- merges from scores ------------------------------------------------------------------------------------------------------

typedef struct { float score; uint32_t id, left, right; size_t cut; } ScoredMerge;

// The order in which SentencePiece vocabularies become merges everywhere: best score first. Two ways to make one token have one
// score; they differ only inside runs of a repeated text, and the ids of the halves decide.
static int compare_scored(const void *a, const void *b)
{
    const ScoredMerge *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return x->left != y->left ? (x->left < y->left ? -1 : 1) : (x->right > y->right) - (x->right < y->right);
}

enum { LONGEST_SCORED = 1024 }; // bytes; a longer token would make the search for its halves slow

// Visits every way to make token i of two others; counts them, and writes them down when there is a list.
static int scored_halves(ScoredMerge *list, size_t *count, const SpellingMap *map, const TokenizerParts *parts, size_t i,
    const char *where, Err *err)
{
    TextView token = parts->tokens[i];
    if (!isfinite(parts->scores[i])) return err_input(err, "%s: the score of token %zu is not finite", where, i);
    if (token.length > LONGEST_SCORED)
        return err_input(err, "%s: token %zu has %zu bytes: expected %d at most", where, i, token.length, LONGEST_SCORED);
    if (parts->special[i] || byte_spelled(token) >= 0) return 0;
    for (size_t cut = 1; cut < token.length; cut++) {
        uint32_t left = *spelling_slot(map, (TextView){token.bytes, cut}) - 1;
        uint32_t right = left == NO_ID ? NO_ID : *spelling_slot(map, (TextView){token.bytes + cut, token.length - cut}) - 1;
        if (right == NO_ID || parts->special[left] || parts->special[right]) continue;
        if (byte_spelled(parts->tokens[left]) >= 0 || byte_spelled(parts->tokens[right]) >= 0) continue;
        if (list) list[*count] = (ScoredMerge){parts->scores[i], (uint32_t)i, left, right, cut};
        ++*count;
    }
    return 0;
}

// parts->merges from parts->scores; *merges is the caller's to free.
static int merges_from_scores(TokenizerParts *parts, TokenizerMerge **merges, const SpellingMap *map, const char *where, Err *err)
{
    size_t count = 0, n = 0;
    for (size_t i = 0; i < parts->vocab; i++)
        if (scored_halves(NULL, &count, map, parts, i, where, err)) return -1;
    ScoredMerge *list = mem_new(err, count, sizeof *list);
    if (!list || !(*merges = mem_new(err, count, sizeof **merges))) return mem_free(list), -1;
    for (size_t i = 0; i < parts->vocab; i++) (void)scored_halves(list, &n, map, parts, i, where, err);
    qsort(list, count, sizeof *list, compare_scored);
    for (size_t i = 0; i < count; i++) {
        TextView token = parts->tokens[list[i].id];
        (*merges)[i] = (TokenizerMerge){{token.bytes, list[i].cut}, {token.bytes + list[i].cut, token.length - list[i].cut}};
    }
    mem_free(list);
    parts->merges = *merges;
    parts->merge_count = count;
    return count < NO_ID ? 0 : err_input(err, "%s: %zu merges: expected less than 2^32 - 1", where, count);
}

// ---- the whole ---------------------------------------------------------------------------------------------------------------

int tokenizer_build(Tokenizer *tk, const TokenizerParts *given, const char *where, Err *err)
{
    SpellingMap map = {0};
    TokenizerParts parts = *given;
    TokenizerMerge *merges = NULL;
    *tk = (Tokenizer){0};
    if (!parts.vocab || parts.vocab >= NO_ID || parts.merge_count >= NO_ID)
        return err_input(err, "%s: %zu tokens, %zu merges: expected 1 to 2^32 - 2 tokens", where, parts.vocab, parts.merge_count);
    if (parts.put_first && parts.first >= parts.vocab)
        return err_input(err, "%s: the token before every text is %lu, but there are %zu", where, (unsigned long)parts.first, parts.vocab);
    int status = map_spellings(&map, &parts, where, err);
    if (!status && parts.scores) status = merges_from_scores(&parts, &merges, &map, where, err);
    status = status || copy_tokens(tk, &parts, where, err)
        || copy_merges(tk, &map, &parts, where, err) || tables_fill(tk, where, err) ? -1 : 0;
    mem_free(map.slots);
    mem_free(merges);
    if (status) tokenizer_free(tk);
    return status;
}
