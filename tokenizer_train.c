// SPDX-License-Identifier: MIT
/* tokenizer_train.c - learns the merges of a byte-level BPE from texts. The split into pieces is tokenizer_split.c's.
 *
 * Start at tokenizer_train: count the distinct pieces (words), then merge the most frequent pair again and again. A merge visits
 * only the places where its pair occurs and adjusts the counts of the neighbouring pairs there, so all merges together
 * cost about as much as one pass over the words for each halving of their length. Counts are integers and ties are
 * broken by ids: neither threads nor the order of the texts can show in the result.
 *
 * Two facts keep it simple. What merging does between two places that no token ever spans does not depend on what lies
 * outside; so no two merges make the same token (where the second could happen, the first already did), and a pair that was
 * merged never comes back. Hence every merge makes a new token, and only pairs with that token gain places.
 */
#include "tokenizer-internal.h"

#include "files/unicode.h"

#include <assert.h>

// ---- distinct words and how often each occurs --------------------------------------------------------------------------------

typedef struct { const char *bytes; size_t length; uint64_t hash, count; } Word; // bytes point into the texts; count 0: empty slot
typedef struct { Word *slots; size_t mask, used; } WordTable;

static uint64_t word_hash(const char *bytes, size_t length, size_t readable)
{
    uint64_t hash = 0;
    for (; length > KEY_BYTES; bytes += KEY_BYTES, length -= KEY_BYTES, readable -= KEY_BYTES)
        hash = mix64(hash ^ key_hash(piece_key(bytes, KEY_BYTES, readable), KEY_BYTES));
    return mix64(hash ^ key_hash(piece_key(bytes, length, readable), length));
}

static int words_init(WordTable *table, Err *err)
{
    *table = (WordTable){.mask = (1 << 14) - 1};
    return (table->slots = mem_new(err, table->mask + 1, sizeof *table->slots)) ? 0 : -1;
}

static int words_grow(WordTable *table, Err *err)
{
    WordTable larger = {.mask = table->mask * 2 + 1, .used = table->used};
    if (!(larger.slots = mem_new(err, larger.mask + 1, sizeof *larger.slots))) return -1;
    for (size_t i = 0; i <= table->mask; i++) {
        size_t at = table->slots[i].hash & larger.mask;
        if (!table->slots[i].count) continue;
        while (larger.slots[at].count) at = (at + 1) & larger.mask;
        larger.slots[at] = table->slots[i];
    }
    mem_free(table->slots);
    *table = larger;
    return 0;
}

static int words_add(WordTable *table, const Word *word, Err *err)
{
    for (size_t i = word->hash;; i++) {
        Word *slot = &table->slots[i & table->mask];
        if (!slot->count) {
            *slot = *word;
            return ++table->used * 2 > table->mask ? words_grow(table, err) : 0;
        }
        if (slot->hash == word->hash && slot->length == word->length && !memcmp(slot->bytes, word->bytes, word->length)) {
            slot->count += word->count;
            return 0;
        }
    }
}

static int words_add_text(WordTable *table, const Tokenizer *tk, TextView text, Err *err)
{
    Pieces pieces = pieces_of(tk, text.bytes, text.length, true);
    Piece list[PIECES];
    for (size_t n; (n = pieces_next(&pieces, list, PIECES));)
        for (const Piece *piece = list; piece < list + n; piece++) {
            if (piece->special != NO_ID) continue;
            uint64_t hash = word_hash(piece->bytes, piece->length, (size_t)(text.bytes + text.length - piece->bytes));
            if (words_add(table, &(Word){piece->bytes, piece->length, hash, 1}, err)) return -1;
        }
    return 0;
}

static int words_add_table(WordTable *table, const WordTable *other, Err *err)
{
    for (size_t i = 0; i <= other->mask; i++)
        if (other->slots[i].count && words_add(table, &other->slots[i], err)) return -1;
    return 0;
}

// One table a thread, added up at the end.
static int words_count(WordTable *table, const Tokenizer *tk, const TextView *texts, size_t count, Err *err)
{
    int failed = words_init(table, err);
#ifdef _OPENMP
#pragma omp parallel
#endif
    {
        Err own_err = {0};
        WordTable own;
        int status = words_init(&own, &own_err);
#ifdef _OPENMP
#pragma omp for schedule(dynamic, 16)
#endif
        for (size_t i = 0; i < count; i++)
            if (!status) status = words_add_text(&own, tk, texts[i], &own_err);
#ifdef _OPENMP
#pragma omp critical(tokenizer_words)
#endif
        {
            if (!failed && !status) status = words_add_table(table, &own, &own_err);
            if (!failed && status) {
                failed = -1;
                if (err) *err = own_err;
            }
        }
        mem_free(own.slots);
    }
    return failed;
}

// ---- the state of training ---------------------------------------------------------------------------------------------------

typedef struct { uint32_t id, next, prev, word; } Symbol; // a linked list for each word; id NO_ID: merged into its left neighbour
typedef struct { uint32_t at, next; } Place;              // a symbol that begins a pair, or once did
typedef struct {
    uint64_t ids, count;  // left << 32 | right; how often over all words
    uint32_t first, last; // its places, ascending within every word
} Pair;
typedef struct { uint64_t count, ids; uint32_t pair; } Candidate; // the count may have fallen since

typedef struct {
    Symbol *symbols;
    uint64_t *word_counts;
    Pair *pairs;
    size_t pair_count, pair_room;
    uint32_t *slots; // hash of the pairs: index + 1
    size_t slot_mask;
    Place *places;
    size_t place_count, place_room;
    Candidate *heap; // the best first
    size_t heap_count, heap_room;
    Merge *merges;
    size_t merge_count, merge_room;
    Text bytes;     // of all tokens, one after the other
    size_t *starts; // [token_count + 1] in bytes
    size_t token_count, start_room;
} Trainer;

// Whether the array has room for one more element, after growing it when it had not.
#define ROOM(array, count, room, err) \
    ((count) < (room) || ((array) = grow((array), &(room), sizeof *(array), (err)), (count) < (room)))

static void *grow(void *array, size_t *room, size_t size, Err *err)
{
    size_t larger = *room + *room / 2 + 1024;
    void *grown = larger < NO_ID ? mem_resize(err, array, *room, larger, size) : NULL;
    if (larger >= NO_ID) err_failed(err, "the training texts hold too many different words: more than 2^32 symbols or pairs");
    if (grown) *room = larger;
    return grown ? grown : array;
}

static void trainer_free(Trainer *t)
{
    mem_free(t->symbols);
    mem_free(t->word_counts);
    mem_free(t->pairs);
    mem_free(t->slots);
    mem_free(t->places);
    mem_free(t->heap);
    mem_free(t->merges);
    text_free(&t->bytes);
    mem_free(t->starts);
}

// ---- tokens --------------------------------------------------------------------------------------------------------------------

static int token_add(Trainer *t, const char *bytes, size_t length, Err *err)
{
    if (!ROOM(t->starts, t->token_count + 1, t->start_room, err) || text_add(&t->bytes, err, bytes, length)) return -1;
    t->starts[++t->token_count] = t->bytes.length;
    return 0;
}

static int token_join(Trainer *t, uint32_t left, uint32_t right, Err *err)
{
    Text joined = {0}; // not straight into t->bytes, which may move while it grows
    int status = text_add(&joined, err, t->bytes.data + t->starts[left], t->starts[left + 1] - t->starts[left])
        || text_add(&joined, err, t->bytes.data + t->starts[right], t->starts[right + 1] - t->starts[right])
        || token_add(t, joined.data, joined.length, err) ? -1 : 0;
    text_free(&joined);
    return status;
}

// ---- pairs -------------------------------------------------------------------------------------------------------------------

static uint32_t *pair_slot(const Trainer *t, uint64_t ids)
{
    for (size_t i = mix64(ids);; i++) {
        uint32_t *slot = &t->slots[i & t->slot_mask];
        if (!*slot || t->pairs[*slot - 1].ids == ids) return slot;
    }
}

static int slots_grow(Trainer *t, Err *err)
{
    mem_free(t->slots);
    t->slot_mask = t->slot_mask ? t->slot_mask * 2 + 1 : (1 << 14) - 1;
    if (!(t->slots = mem_new(err, t->slot_mask + 1, sizeof *t->slots))) return -1;
    for (size_t i = 0; i < t->pair_count; i++) *pair_slot(t, t->pairs[i].ids) = (uint32_t)i + 1;
    return 0;
}

static int pair_new(Trainer *t, uint32_t *index, uint64_t ids, Err *err)
{
    if (2 * t->pair_count >= t->slot_mask && slots_grow(t, err)) return -1;
    if (!ROOM(t->pairs, t->pair_count, t->pair_room, err)) return -1;
    *index = (uint32_t)t->pair_count++;
    t->pairs[*index] = (Pair){.ids = ids, .first = NO_ID, .last = NO_ID};
    *pair_slot(t, ids) = *index + 1;
    return 0;
}

// Symbol `at` and its right neighbour now form a pair.
static int pair_appears(Trainer *t, uint32_t at, Err *err)
{
    const Symbol *left = &t->symbols[at];
    uint64_t ids = (uint64_t)left->id << 32 | t->symbols[left->next].id;
    uint32_t index = t->slots ? *pair_slot(t, ids) - 1 : NO_ID;
    if (index == NO_ID && pair_new(t, &index, ids, err)) return -1;
    if (!ROOM(t->places, t->place_count, t->place_room, err)) return -1;
    Pair *pair = &t->pairs[index];
    uint32_t place = (uint32_t)t->place_count++;
    t->places[place] = (Place){at, NO_ID};
    if (pair->first == NO_ID) pair->first = place;
    else t->places[pair->last].next = place;
    pair->last = place;
    pair->count += t->word_counts[left->word];
    return 0;
}

static void pair_vanishes(Trainer *t, uint32_t left, uint32_t right, uint64_t count)
{
    uint32_t slot = *pair_slot(t, (uint64_t)left << 32 | right);
    assert(slot && t->pairs[slot - 1].count >= count);
    t->pairs[slot - 1].count -= count;
}

// ---- candidates: a heap, most frequent first, lower ids first among equals -----------------------------------------------------

static bool better(const Candidate *a, const Candidate *b) { return a->count != b->count ? a->count > b->count : a->ids < b->ids; }

static int heap_push(Trainer *t, uint32_t pair, Err *err)
{
    if (!ROOM(t->heap, t->heap_count, t->heap_room, err)) return -1;
    Candidate candidate = {t->pairs[pair].count, t->pairs[pair].ids, pair};
    size_t i = t->heap_count++;
    for (; i > 0 && better(&candidate, &t->heap[(i - 1) / 2]); i = (i - 1) / 2) t->heap[i] = t->heap[(i - 1) / 2];
    t->heap[i] = candidate;
    return 0;
}

static Candidate heap_pop(Trainer *t)
{
    Candidate top = t->heap[0], last = t->heap[--t->heap_count];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < t->heap_count) {
        if (child + 1 < t->heap_count && better(&t->heap[child + 1], &t->heap[child])) child++;
        if (!better(&t->heap[child], &last)) break;
        t->heap[i] = t->heap[child];
        i = child;
    }
    t->heap[i] = last;
    return top;
}

// The pairs that appeared since there were `known`: their counts can only fall from now on.
static int push_new_pairs(Trainer *t, size_t known, Err *err)
{
    for (size_t i = known; i < t->pair_count; i++)
        if (heap_push(t, (uint32_t)i, err)) return -1;
    return 0;
}

// Takes the most frequent pair out of the heap; NO_ID when none occurs min_count times.
static int best_pair(Trainer *t, uint32_t *pair, size_t min_count, Err *err)
{
    *pair = NO_ID;
    while (t->heap_count) {
        Candidate top = heap_pop(t);
        if (top.count < min_count) break; // the others are no better
        if (t->pairs[top.pair].count == top.count) {
            *pair = top.pair;
            break;
        }
        if (heap_push(t, top.pair, err)) return -1;
    }
    return 0;
}

// ---- one merge -----------------------------------------------------------------------------------------------------------------

// Joins symbol `at` with its right neighbour and moves the counts of the pairs to its left and right.
static int join_at(Trainer *t, uint32_t at, uint32_t id, Err *err)
{
    Symbol *s = &t->symbols[at], *gone = &t->symbols[s->next];
    uint64_t count = t->word_counts[s->word];
    uint32_t left_id = s->id, right_id = gone->id;
    s->id = id;
    s->next = gone->next;
    gone->id = NO_ID;
    if (s->prev != NO_ID) {
        pair_vanishes(t, t->symbols[s->prev].id, left_id, count);
        if (pair_appears(t, s->prev, err)) return -1;
    }
    if (s->next != NO_ID) {
        t->symbols[s->next].prev = at;
        pair_vanishes(t, right_id, t->symbols[s->next].id, count);
        if (pair_appears(t, at, err)) return -1;
    }
    return 0;
}

static int merge_pair(Trainer *t, uint32_t index, Err *err)
{
    uint32_t left = (uint32_t)(t->pairs[index].ids >> 32), right = (uint32_t)t->pairs[index].ids, id = (uint32_t)t->token_count;
    size_t known = t->pair_count;
    if (token_join(t, left, right, err) || !ROOM(t->merges, t->merge_count, t->merge_room, err)) return -1;
    t->merges[t->merge_count++] = (Merge){left, right, id};
    for (uint32_t place = t->pairs[index].first; place != NO_ID; place = t->places[place].next) {
        const Symbol *s = &t->symbols[t->places[place].at];
        if (s->id != left || s->next == NO_ID || t->symbols[s->next].id != right) continue; // other merges were here first
        if (join_at(t, t->places[place].at, id, err)) return -1;
    }
    return push_new_pairs(t, known, err);
}

// ---- the whole -----------------------------------------------------------------------------------------------------------------

static int check_special(const TokenizerTraining *how, size_t i, Err *err)
{
    const char *text = how->special[i];
    size_t length = strlen(text);
    Text bytes = {0};
    int spelled = spelled_to_bytes(&bytes, text, length, err), status = spelled < 0 ? -1 : 0;
    if (!length) status = err_input(err, "special token %zu is empty", i);
    else if (!utf8_is_valid(text, length)) status = err_input(err, "special token %zu is not valid UTF-8", i);
    else if (!spelled && (length == 1 || bytes.length != length))
        status = err_input(err, "special token \"%s\": tokenizer.json would spell an ordinary token so; choose another", text);
    for (size_t j = 0; j < i && !status; j++)
        if (!strcmp(text, how->special[j])) status = err_input(err, "special token \"%s\" is named twice", text);
    text_free(&bytes);
    return status;
}

// A tokenizer that knows the special tokens only: what cuts texts into pieces.
static int make_cutter(Tokenizer *cutter, const TokenizerTraining *how, Err *err)
{
    *cutter = (Tokenizer){0};
    for (size_t i = 0; i < how->special_count; i++)
        if (check_special(how, i, err)) return -1;
    if (how->vocab >= NO_ID || how->vocab < how->special_count + 256)
        return err_input(err, "a vocabulary of %zu: expected %zu (256 bytes and the special tokens) to 2^32 - 2", how->vocab,
            how->special_count + 256);
    if (tables_allocate(cutter, how->special_count, 0, 0, err)) return -1;
    for (size_t i = 0; i < how->special_count; i++) {
        cutter->tokens[i] = (TextView){how->special[i], strlen(how->special[i])};
        cutter->special[i] = true;
    }
    cutter->split = how->split_digits ? SPLIT_DIGITS : SPLIT_GPT2;
    return tables_fill(cutter, "special tokens", err);
}

// Special tokens, then the bytes in the order of the letters that spell them.
static int first_tokens(Trainer *t, uint32_t byte_ids[256], const Tokenizer *cutter, Err *err)
{
    if (!ROOM(t->starts, t->token_count, t->start_room, err)) return -1;
    for (size_t i = 0; i < cutter->vocab; i++)
        if (token_add(t, cutter->tokens[i].bytes, cutter->tokens[i].length, err)) return -1;
    for (uint32_t letter = 0; letter < 512; letter++) {
        int byte = letter_to_byte(letter);
        char c = (char)byte;
        if (byte < 0) continue;
        byte_ids[byte] = (uint32_t)t->token_count;
        if (token_add(t, &c, 1, err)) return -1;
    }
    return 0;
}

static int first_symbols(Trainer *t, const WordTable *words, const uint32_t byte_ids[256], Err *err)
{
    size_t total = 0, n = 0, word = 0;
    for (size_t i = 0; i <= words->mask; i++) total += words->slots[i].count ? words->slots[i].length : 0;
    if (total >= NO_ID) return err_failed(err, "the training texts hold %zu bytes of different words: more than 2^32", total);
    t->symbols = mem_new(err, total, sizeof *t->symbols);
    t->word_counts = t->symbols ? mem_new(err, words->used, sizeof *t->word_counts) : NULL;
    if (!t->word_counts) return -1;
    for (size_t i = 0; i <= words->mask; i++) {
        const Word *w = &words->slots[i];
        if (!w->count) continue;
        for (size_t k = 0; k < w->length; k++, n++)
            t->symbols[n] = (Symbol){byte_ids[(unsigned char)w->bytes[k]], k + 1 < w->length ? (uint32_t)n + 1 : NO_ID,
                k ? (uint32_t)n - 1 : NO_ID, (uint32_t)word};
        t->word_counts[word++] = w->count;
    }
    for (size_t i = 0; i < total; i++)
        if (t->symbols[i].next != NO_ID && pair_appears(t, (uint32_t)i, err)) return -1;
    return push_new_pairs(t, 0, err);
}

static int finish(Tokenizer *tk, const Trainer *t, const Tokenizer *cutter, Err *err)
{
    if (tables_allocate(tk, t->token_count, t->bytes.length, t->merge_count, err)) return -1;
    memcpy(tk->tables->bytes, t->bytes.data, t->bytes.length);
    for (size_t i = 0; i < t->token_count; i++) {
        tk->tokens[i] = (TextView){tk->tables->bytes + t->starts[i], t->starts[i + 1] - t->starts[i]};
        tk->special[i] = i < cutter->vocab;
    }
    if (t->merge_count) memcpy(tk->tables->merges, t->merges, t->merge_count * sizeof *t->merges);
    tk->split = cutter->split;
    if (!tables_fill(tk, "training", err)) return 0;
    tokenizer_free(tk);
    return -1;
}

int tokenizer_train(Tokenizer *tk, const TextView *texts, size_t count, const TokenizerTraining *how, Err *err)
{
    Tokenizer cutter;
    WordTable words = {0};
    Trainer t = {0};
    uint32_t byte_ids[256], pair = 0;
    *tk = (Tokenizer){0};
    int status = make_cutter(&cutter, how, err) || words_count(&words, &cutter, texts, count, err)
        || first_tokens(&t, byte_ids, &cutter, err) || first_symbols(&t, &words, byte_ids, err) ? -1 : 0;
    while (!status && t.token_count < how->vocab) {
        status = best_pair(&t, &pair, how->min_count ? how->min_count : 1, err);
        if (status || pair == NO_ID) break;
        status = merge_pair(&t, pair, err);
    }
    if (!status) status = finish(tk, &t, &cutter, err);
    trainer_free(&t);
    mem_free(words.slots);
    tokenizer_free(&cutter);
    return status;
}
