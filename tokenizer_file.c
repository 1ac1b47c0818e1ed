// SPDX-License-Identifier: MIT
/* tokenizer_file.c - a tokenizer from its parts, and the tokenizer.json of Hugging Face tokenizers. Knows how tokens are spelled
 * and which tables encoding needs; splitting and merging are in tokenizer.c.
 *
 * Start at tokenizer_load. What this tokenizer does not do (normalizers, dropout, other models...) is refused by name: ids that
 * differ from those of the file's author would spoil everything built on them, silently.
 */
#include "tokenizer-internal.h"

#include "files/jsonl.h"
#include "files/unicode.h"

#include <stdio.h>

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
    *tk = (Tokenizer){.vocab = vocab};
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

// A byte that is a special token has no need of a symbol: it never gets into a piece.
static void fill_byte_ids(const Tokenizer *tk)
{
    uint32_t *ids = tk->tables->byte_ids;
    for (size_t b = 0; b < 256; b++) ids[b] = NO_ID;
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

// A token's own bytes need not merge into it (GPT-2 has none such, but a file may): only those that do can answer for a piece.
static int fill_whole(const Tokenizer *tk, Err *err)
{
    TokenizerTables *t = tk->tables;
    t->whole_mask = hash_size(tk->vocab) - 1;
    if (!(t->whole = mem_new(err, t->whole_mask + 1, sizeof *t->whole))) return -1;
    for (size_t i = 0; i < tk->vocab; i++) {
        const TextView *token = &tk->tokens[i];
        uint32_t ids[KEY_BYTES];
        size_t n = 0;
        if (tk->special[i] || token->length > KEY_BYTES) continue;
        while (n < token->length && (ids[n] = t->byte_ids[(unsigned char)token->bytes[n]]) != NO_ID) n++;
        if (n < token->length || merge_ids(t, ids, n, err) != 1) continue;
        PieceKey key = piece_key(token->bytes, token->length, 0);
        size_t at = key_hash(key, token->length) & t->whole_mask;
        while (t->whole[at].length) at = (at + 1) & t->whole_mask;
        t->whole[at] = (TokenSlot){key, (uint32_t)token->length, (uint32_t)i};
    }
    return 0;
}

int tables_fill(Tokenizer *tk, const char *where, Err *err)
{
    fill_byte_ids(tk);
    return fill_specials(tk, err) || fill_pairs(tk->tables, where, err) || fill_whole(tk, err) ? -1 : 0;
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

// Appends the bytes of token i. A special token keeps its text; were it spelled like other bytes, decoding would be ambiguous.
static int token_bytes(Text *bytes, const TokenizerParts *parts, size_t i, const char *where, Err *err)
{
    TextView token = parts->tokens[i];
    size_t before = bytes->length;
    if (!token.length) return err_input(err, "%s: token %zu is empty", where, i);
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
    if (!status) {
        if (bytes.length) memcpy(tk->tables->bytes, bytes.data, bytes.length);
        for (size_t i = 0; i < parts->vocab; i++) {
            tk->tokens[i] = (TextView){tk->tables->bytes + start[i], start[i + 1] - start[i]};
            tk->special[i] = parts->special[i];
        }
        tk->split_digits = parts->split_digits;
    }
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

int tokenizer_build(Tokenizer *tk, const TokenizerParts *parts, const char *where, Err *err)
{
    SpellingMap map = {0};
    *tk = (Tokenizer){0};
    if (!parts->vocab || parts->vocab >= NO_ID || parts->merge_count >= NO_ID)
        return err_input(err, "%s: %zu tokens, %zu merges: expected 1 to 2^32 - 2 tokens", where, parts->vocab, parts->merge_count);
    int status = map_spellings(&map, parts, where, err) || copy_tokens(tk, parts, where, err)
        || copy_merges(tk, &map, parts, where, err) || tables_fill(tk, where, err) ? -1 : 0;
    mem_free(map.slots);
    if (status) tokenizer_free(tk);
    return status;
}

// ---- tokenizer.json: reading -------------------------------------------------------------------------------------------------

// What is read before tokens have bytes; views point into the document.
typedef struct {
    const char *path;
    TokenizerParts parts;
    TextView *tokens;
    bool *special, *plain;
    TokenizerMerge *merges;
    bool normalized;
} Reading;

static int refuse(const char *path, const char *key, const char *expected, const json_t *found, Err *err)
{
    Text text = {0};
    if (found && json_write(&text, found, err)) return -1;
    err_input(err, "%s: key \"%s\": expected %s, found %.80s%s", path, key, expected, found ? text.data : "nothing",
        text.length > 80 ? "..." : "");
    text_free(&text);
    return -1;
}

// Settings that change the ids or add tokens, and that this tokenizer does not have: absent, null, false, 0 or "".
static int expect_unset(const json_t *object, const char *prefix, const char *const *keys, const char *path, Err *err)
{
    for (; *keys; keys++) {
        const json_t *value = json_object_get(object, *keys);
        bool unset = !value || json_is_null(value) || json_is_false(value)
            || (json_is_number(value) && json_number_value(value) == 0) || (json_is_string(value) && !json_string_length(value));
        char key[64];
        snprintf(key, sizeof key, "%s%s", prefix, *keys);
        if (!unset) return refuse(path, key, "null (this setting is not supported)", value, err);
    }
    return 0;
}

static bool has_type(const json_t *object, const char *type)
{
    const json_t *value = json_object_get(object, "type");
    return json_is_string(value) && !strcmp(json_string_value(value), type);
}

// What splits as tokenizer.c does: ByteLevel with its pattern, and nothing put before the text.
static bool is_gpt2_split(const json_t *value)
{
    const json_t *regex = json_object_get(value, "use_regex");
    return has_type(value, "ByteLevel") && json_is_false(json_object_get(value, "add_prefix_space"))
        && (!regex || json_is_true(regex));
}

static int read_pre_tokenizer(Reading *r, const json_t *document, Err *err)
{
    const json_t *value = json_object_get(document, "pre_tokenizer"), *list = json_object_get(value, "pretokenizers");
    size_t count = json_array_size(list);
    bool sequence = has_type(value, "Sequence") && (count == 1 || count == 2);
    const json_t *split = sequence ? json_array_get(list, count - 1) : value, *digits = json_array_get(list, 0);
    r->parts.split_digits = sequence && count == 2;
    if (r->parts.split_digits && !(has_type(digits, "Digits") && json_is_true(json_object_get(digits, "individual_digits"))))
        return refuse(r->path, "pre_tokenizer.pretokenizers[0]", "type \"Digits\" with individual_digits true", digits, err);
    if (is_gpt2_split(split)) return 0;
    return refuse(r->path, "pre_tokenizer", "type \"ByteLevel\" with add_prefix_space false and use_regex true, alone or in a "
        "Sequence after \"Digits\"", value, err);
}

static int check_settings(Reading *r, const json_t *document, const json_t *model, Err *err)
{
    static const char *const outer[] = {"truncation", "padding", "normalizer", NULL};
    // unk_token and fuse_unk matter only for bytes without a token, which are an error here.
    static const char *const inner[] = {
        "dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges", NULL};
    const json_t *decoder = json_object_get(document, "decoder"), *post = json_object_get(document, "post_processor");
    if (!has_type(model, "BPE")) return refuse(r->path, "model.type", "\"BPE\"", json_object_get(model, "type"), err);
    if (expect_unset(document, "", outer, r->path, err) || expect_unset(model, "model.", inner, r->path, err)) return -1;
    if (!has_type(decoder, "ByteLevel")) return refuse(r->path, "decoder", "type \"ByteLevel\"", decoder, err);
    if (post && !json_is_null(post) && !has_type(post, "ByteLevel"))
        return refuse(r->path, "post_processor", "null or type \"ByteLevel\"", post, err);
    return read_pre_tokenizer(r, document, err);
}

static int place_token(Reading *r, const char *text, size_t id, const char *key, Err *err)
{
    if (id >= r->parts.vocab)
        return err_input(err, "%s: key \"%s\": \"%s\" has id %zu, but there are %zu tokens: ids must be dense", r->path, key, text,
            id, r->parts.vocab);
    if (r->tokens[id].bytes)
        return err_input(err, "%s: key \"%s\": \"%s\" and \"%s\" both have id %zu", r->path, key, r->tokens[id].bytes, text, id);
    r->tokens[id] = (TextView){text, strlen(text)};
    return 0;
}

static int read_vocab(Reading *r, json_t *vocab, Err *err)
{
    for (void *at = json_object_iter(vocab); at; at = json_object_iter_next(vocab, at)) {
        size_t id;
        if (json_get_size(vocab, json_object_iter_key(at), &id, r->path, err)) return err_prefix(err, "model.vocab");
        if (place_token(r, json_object_iter_key(at), id, "model.vocab", err)) return -1;
    }
    return 0;
}

// An added token may be in the vocabulary, with the same id, or follow it.
static int read_added(Reading *r, const json_t *token, const json_t *vocab, size_t index, Err *err)
{
    static const char *const unset[] = {"single_word", "lstrip", "rstrip", NULL};
    char key[48];
    const char *text;
    size_t id;
    bool normalized, special;
    snprintf(key, sizeof key, "added_tokens[%zu]", index);
    if (json_get_text(token, "content", &text, r->path, err) || json_get_size(token, "id", &id, r->path, err)
        || json_get_bool_or(token, "normalized", false, &normalized, r->path, err)
        || json_get_bool_or(token, "special", false, &special, r->path, err) || expect_unset(token, "", unset, r->path, err))
        return err_prefix(err, "%s", key);
    const json_t *known = json_object_get(vocab, text);
    if (known && (json_int_t)id != json_integer_value(known))
        return err_input(err, "%s: key \"%s\": \"%s\" has id %zu here and %" JSON_INTEGER_FORMAT " in model.vocab", r->path, key,
            text, id, json_integer_value(known));
    if (!known && place_token(r, text, id, key, err)) return -1;
    // Tokenizers matches those with normalized false first, then the others: with both kinds, leftmost would not be the rule.
    if (index && normalized != r->normalized)
        return refuse(r->path, key, "the same \"normalized\" for all added tokens", token, err);
    if (r->special[id]) return err_input(err, "%s: key \"%s\": \"%s\" is there twice", r->path, key, text);
    r->normalized = normalized;
    r->special[id] = true;
    r->plain[id] = !special;
    return 0;
}

static int read_tokens(Reading *r, const json_t *document, json_t *vocab, Err *err)
{
    const json_t *added = json_object_get(document, "added_tokens");
    if (added && !json_is_null(added) && !json_is_array(added)) return refuse(r->path, "added_tokens", "an array", added, err);
    r->parts.vocab = json_object_size(vocab);
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *text = json_object_get(json_array_get(added, i), "content");
        r->parts.vocab += json_is_string(text) && !json_object_get(vocab, json_string_value(text));
    }
    r->parts.tokens = r->tokens = mem_new(err, r->parts.vocab, sizeof *r->tokens);
    r->parts.special = r->special = r->tokens ? mem_new(err, r->parts.vocab, sizeof *r->special) : NULL;
    r->plain = r->special ? mem_new(err, r->parts.vocab, sizeof *r->plain) : NULL;
    if (!r->plain || read_vocab(r, vocab, err)) return -1;
    for (size_t i = 0; i < json_array_size(added); i++)
        if (read_added(r, json_array_get(added, i), vocab, i, err)) return -1;
    return 0;
}

// "a b", or ["a", "b"] as newer files have it. A space is never part of a half: it is spelled U+0120.
static bool read_merge(TokenizerMerge *merge, const json_t *value)
{
    const json_t *left = json_array_get(value, 0), *right = json_array_get(value, 1);
    if (json_array_size(value) == 2 && json_is_string(left) && json_is_string(right)) {
        merge->left = (TextView){json_string_value(left), json_string_length(left)};
        merge->right = (TextView){json_string_value(right), json_string_length(right)};
        return true;
    }
    const char *text = json_string_value(value), *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' ') || strlen(text) != json_string_length(value)) return false;
    merge->left = (TextView){text, (size_t)(space - text)};
    merge->right = (TextView){space + 1, strlen(space + 1)};
    return true;
}

static int read_merges(Reading *r, const json_t *list, Err *err)
{
    if (!json_is_array(list)) return refuse(r->path, "model.merges", "an array", list, err);
    r->parts.merge_count = json_array_size(list);
    r->parts.merges = r->merges = mem_new(err, r->parts.merge_count, sizeof *r->merges);
    if (!r->merges) return -1;
    for (size_t i = 0; i < r->parts.merge_count; i++) {
        char key[48];
        snprintf(key, sizeof key, "model.merges[%zu]", i);
        if (!read_merge(&r->merges[i], json_array_get(list, i)))
            return refuse(r->path, key, "\"left right\" or [\"left\", \"right\"]", json_array_get(list, i), err);
    }
    return 0;
}

int tokenizer_load(Tokenizer *tk, const char *path, Err *err)
{
    *tk = (Tokenizer){0};
    json_t *document = json_load_document(path, err);
    if (!document) return -1;
    Reading r = {.path = path};
    const json_t *model = json_object_get(document, "model");
    json_t *vocab = json_object_get(model, "vocab");
    int status = check_settings(&r, document, model, err);
    if (!status && !json_is_object(vocab)) status = refuse(path, "model.vocab", "an object", vocab, err);
    status = status || read_tokens(&r, document, vocab, err) || read_merges(&r, json_object_get(model, "merges"), err)
        || tokenizer_build(tk, &r.parts, path, err) ? -1 : 0;
    if (!status) {
        memcpy(tk->tables->plain, r.plain, r.parts.vocab * sizeof *r.plain);
        tk->tables->normalized = r.normalized;
    }
    mem_free(r.tokens);
    mem_free(r.special);
    mem_free(r.plain);
    mem_free(r.merges);
    json_decref(document);
    return status;
}

// ---- tokenizer.json: writing -------------------------------------------------------------------------------------------------

#define BYTE_LEVEL(indent, prefix_space) \
    indent "\"type\": \"ByteLevel\",\n" indent "\"add_prefix_space\": " prefix_space ",\n" indent "\"trim_offsets\": true,\n" \
    indent "\"use_regex\": true\n"

static int write_token(Text *out, const Tokenizer *tk, size_t id, Err *err)
{
    TextView token = tk->tokens[id];
    if (tk->special[id]) return json_write_string(out, token.bytes, token.length, err);
    Text spelled = {0};
    int status = 0;
    for (size_t i = 0; i < token.length && !status; i++) {
        char letter[4];
        status = text_add(&spelled, err, letter, utf8_encode(letter, byte_to_letter((unsigned char)token.bytes[i])));
    }
    if (!status) status = json_write_string(out, spelled.data, spelled.length, err);
    text_free(&spelled);
    return status;
}

static int write_added(Text *out, const Tokenizer *tk, Err *err)
{
    const char *before = "", *normalized = tk->tables->normalized ? "true" : "false";
    int status = text_puts(out, err, "  \"added_tokens\": [");
    for (size_t i = 0; i < tk->vocab && !status; i++) {
        if (!tk->special[i]) continue;
        status = text_printf(out, err, "%s\n    {\n      \"id\": %zu,\n      \"content\": ", before, i)
            || write_token(out, tk, i, err)
            || text_printf(out, err, ",\n      \"single_word\": false,\n      \"lstrip\": false,\n      \"rstrip\": false,\n"
               "      \"normalized\": %s,\n      \"special\": %s\n    }", normalized, tk->tables->plain[i] ? "false" : "true");
        before = ",";
    }
    return status || text_puts(out, err, *before ? "\n  ],\n" : "],\n") ? -1 : 0;
}

static int write_merge(Text *out, const Tokenizer *tk, const Merge *merge, Err *err)
{
    return text_puts(out, err, "\n      [\n        ") || write_token(out, tk, merge->left, err)
        || text_puts(out, err, ",\n        ") || write_token(out, tk, merge->right, err) || text_puts(out, err, "\n      ]");
}

static int write_model(Text *out, const Tokenizer *tk, Err *err)
{
    const TokenizerTables *t = tk->tables;
    int status = text_puts(out, err, "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n"
        "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n"
        "    \"byte_fallback\": false,\n    \"ignore_merges\": false,\n    \"vocab\": {");
    for (size_t i = 0; i < tk->vocab && !status; i++)
        status = text_puts(out, err, i ? ",\n      " : "\n      ") || write_token(out, tk, i, err)
            || text_printf(out, err, ": %zu", i);
    if (!status) status = text_puts(out, err, "\n    },\n    \"merges\": [");
    for (size_t i = 0; i < t->merge_count && !status; i++)
        status = text_puts(out, err, i ? "," : "") || write_merge(out, tk, &t->merges[i], err);
    return status || text_puts(out, err, t->merge_count ? "\n    ]\n  }\n}" : "]\n  }\n}") ? -1 : 0;
}

int tokenizer_save(const Tokenizer *tk, const char *path, Err *err)
{
    static const char *const plain = "  \"normalizer\": null,\n  \"pre_tokenizer\": {\n" BYTE_LEVEL("    ", "false") "  },\n";
    static const char *const digits = "  \"normalizer\": null,\n  \"pre_tokenizer\": {\n    \"type\": \"Sequence\",\n"
        "    \"pretokenizers\": [\n      {\n        \"type\": \"Digits\",\n        \"individual_digits\": true\n      },\n"
        "      {\n" BYTE_LEVEL("        ", "false") "      }\n    ]\n  },\n";
    Text out = {0};
    int status = text_puts(&out, err, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n")
        || write_added(&out, tk, err) || text_puts(&out, err, tk->split_digits ? digits : plain)
        || text_puts(&out, err, "  \"post_processor\": null,\n  \"decoder\": {\n" BYTE_LEVEL("    ", "true") "  },\n")
        || write_model(&out, tk, err) || os_write_file(path, out.data, out.length, err) ? -1 : 0;
    text_free(&out);
    return status;
}
