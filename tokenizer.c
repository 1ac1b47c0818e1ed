// SPDX-License-Identifier: MIT
/* tokenizer.c - text to token ids and back. A text is cut into pieces (about words: tokenizer_split.c), and each piece's bytes are
 * merged by rank. Tables are made in tokenizer_build.c, training is in tokenizer_train.c.
 *
 * Start at encode_text. Speed comes from never merging the same piece twice: most pieces are tokens themselves (a read-only
 * table made at load says which are reached by merging), most others were met before (a cache of the calling thread).
 */
#include "tokenizer-internal.h"

#include "files/unicode.h"

// ---- merging: the pair of lowest rank, the leftmost among equals, until no pair has a rank ---------------------------------

static const PairSlot *find_pair(const TokenizerTables *t, uint32_t left, uint32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    const PairSlot *slot;
    for (size_t i = mix64(pair);; i++) {
        slot = &t->pairs[i & t->pair_mask];
        if (slot->pair == pair || slot->rank == NO_ID) return slot; // an empty slot's rank says "never"
    }
}

enum { SHORT_PIECE = 48 };

// Quadratic, and the faster one for words.
static size_t merge_short(const TokenizerTables *t, uint32_t *ids, size_t n)
{
    const PairSlot *pairs[SHORT_PIECE]; // of ids[i] and ids[i + 1]
    uint32_t rank[SHORT_PIECE];
    for (size_t i = 0; i + 1 < n; i++) pairs[i] = find_pair(t, ids[i], ids[i + 1]), rank[i] = pairs[i]->rank;
    for (;;) {
        uint32_t lowest = NO_ID;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++)
            if (rank[i] < lowest) lowest = rank[i], at = i;
        if (lowest == NO_ID) return n;
        ids[at] = pairs[at]->id;
        n--;
        for (size_t i = at + 1; i < n; i++) ids[i] = ids[i + 1], rank[i] = rank[i + 1], pairs[i] = pairs[i + 1];
        if (at > 0) pairs[at - 1] = find_pair(t, ids[at - 1], ids[at]), rank[at - 1] = pairs[at - 1]->rank;
        if (at + 1 < n) pairs[at] = find_pair(t, ids[at], ids[at + 1]), rank[at] = pairs[at]->rank;
    }
}

// A heap of rank << 32 | position, smallest first.
typedef struct { uint64_t *entries; size_t count; } RankHeap;

static void heap_push(RankHeap *heap, uint64_t entry)
{
    size_t i = heap->count++;
    for (; i > 0 && heap->entries[(i - 1) / 2] > entry; i = (i - 1) / 2) heap->entries[i] = heap->entries[(i - 1) / 2];
    heap->entries[i] = entry;
}

static uint64_t heap_pop(RankHeap *heap)
{
    uint64_t top = heap->entries[0], last = heap->entries[--heap->count];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < heap->count) {
        if (child + 1 < heap->count && heap->entries[child + 1] < heap->entries[child]) child++;
        if (heap->entries[child] >= last) break;
        heap->entries[i] = heap->entries[child];
        i = child;
    }
    heap->entries[i] = last;
    return top;
}

// What merge_long works on: the piece as a doubly linked list over its first positions.
typedef struct {
    const TokenizerTables *tables;
    uint32_t *ids, *next, *prev; // [n]; a position merged into its left neighbour has id NO_ID
    RankHeap heap;               // may hold pairs that are no more
} LongPiece;

static void push_pair(LongPiece *piece, uint32_t at)
{
    if (at == NO_ID || piece->next[at] == NO_ID) return;
    uint32_t rank = find_pair(piece->tables, piece->ids[at], piece->ids[piece->next[at]])->rank;
    if (rank != NO_ID) heap_push(&piece->heap, (uint64_t)rank << 32 | at);
}

static void merge_from_heap(LongPiece *piece)
{
    while (piece->heap.count) {
        uint64_t top = heap_pop(&piece->heap);
        uint32_t at = (uint32_t)top;
        if (piece->ids[at] == NO_ID || piece->next[at] == NO_ID) continue;
        const PairSlot *pair = find_pair(piece->tables, piece->ids[at], piece->ids[piece->next[at]]);
        if (pair->rank != top >> 32) continue;
        uint32_t gone = piece->next[at];
        piece->ids[at] = pair->id;
        piece->ids[gone] = NO_ID;
        piece->next[at] = piece->next[gone];
        if (piece->next[at] != NO_ID) piece->prev[piece->next[at]] = at;
        push_pair(piece, piece->prev[at]);
        push_pair(piece, at);
    }
}

// n log n, for pieces such as a page of dashes.
static size_t merge_long(const TokenizerTables *t, uint32_t *ids, size_t n, Err *err)
{
    LongPiece piece = {.tables = t, .ids = ids};
    size_t count = 0;
    if (n >= NO_ID) {
        err_input(err, "a text of %zu bytes without a break is too long to tokenize", n);
        return 0;
    }
    piece.next = mem_new(err, n, sizeof *piece.next);
    piece.prev = piece.next ? mem_new(err, n, sizeof *piece.prev) : NULL;
    piece.heap.entries = piece.prev ? mem_new(err, n, 3 * sizeof(uint64_t)) : NULL; // every merge adds two pairs at most
    if (piece.heap.entries) {
        for (size_t i = 0; i < n; i++) {
            piece.next[i] = i + 1 < n ? (uint32_t)i + 1 : NO_ID;
            piece.prev[i] = i ? (uint32_t)i - 1 : NO_ID;
        }
        for (size_t i = 0; i < n; i++) push_pair(&piece, (uint32_t)i);
        merge_from_heap(&piece);
        for (size_t i = 0; i < n; i++)
            if (ids[i] != NO_ID) ids[count++] = ids[i];
    }
    mem_free(piece.next);
    mem_free(piece.prev);
    mem_free(piece.heap.entries);
    return count;
}

size_t merge_ids(const TokenizerTables *tables, uint32_t *ids, size_t n, Err *err)
{
    return n <= SHORT_PIECE ? merge_short(tables, ids, n) : merge_long(tables, ids, n, err);
}

// ---- encoding ------------------------------------------------------------------------------------------------------------

enum { CACHE_SLOTS = 1 << 13, CACHE_IDS = 6, LONG_TEXT = 1 << 14 };
typedef struct { PieceKey key; uint32_t length, count, ids[CACHE_IDS]; } CacheSlot; // length 0: empty

static uint32_t find_whole(const TokenizerTables *t, PieceKey key, size_t length, uint64_t hash)
{
    for (size_t i = hash;; i++) {
        const TokenSlot *slot = &t->whole[i & t->whole_mask];
        if (slot->length == length && slot->key.low == key.low && slot->key.high == key.high) return slot->id;
        if (!slot->length) return NO_ID;
    }
}

// The token of the character at bytes, or NO_ID. Both spellings of a space are one.
static uint32_t find_character(const TokenizerTables *t, const char *bytes, size_t length)
{
    if (length == 3 && !memcmp(bytes, SPACE_LETTER, 3)) bytes = " ", length = 1;
    PieceKey key = piece_key(bytes, length, 0);
    for (size_t i = key_hash(key, length);; i++) {
        const TokenSlot *slot = &t->characters[i & t->character_mask];
        if (!slot->length) return NO_ID;
        if (slot->length == length && slot->key.low == key.low) return slot->id;
    }
}

static size_t character_ids(const Tokenizer *tk, uint32_t *out, const char *bytes, size_t length, unsigned char *bad)
{
    size_t n = 0;
    for (size_t i = 0, used; i < length; i += used) {
        uint32_t character;
        bool valid;
        used = utf8_decode(&character, &valid, bytes + i, length - i);
        if (valid && (out[n] = find_character(tk->tables, bytes + i, used)) != NO_ID) {
            n++;
            continue;
        }
        for (size_t k = i; k < i + used; k++) {
            *bad = (unsigned char)bytes[k];
            if ((out[n++] = tk->tables->byte_ids[*bad]) == NO_ID) return 0;
        }
    }
    return n;
}

size_t first_ids(const Tokenizer *tk, uint32_t *out, const char *bytes, size_t length, unsigned char *bad)
{
    if (tk->split == SPLIT_SENTENCEPIECE) return character_ids(tk, out, bytes, length, bad);
    for (size_t i = 0; i < length; i++) {
        *bad = (unsigned char)bytes[i];
        if ((out[i] = tk->tables->byte_ids[*bad]) == NO_ID) return 0;
    }
    return length;
}

uint32_t find_long(const Tokenizer *tk, const char *bytes, size_t length)
{
    const TokenizerTables *t = tk->tables;
    for (size_t i = mix64(hash_bytes(0, bytes, length));; i++) {
        uint32_t slot = t->long_ids[i & t->long_mask];
        if (!slot) return NO_ID;
        if (tk->tokens[slot - 1].length == length && !memcmp(tk->tokens[slot - 1].bytes, bytes, length)) return slot - 1;
    }
}

static size_t merge_piece(const Tokenizer *tk, uint32_t *out, const char *bytes, size_t length, Err *err)
{
    unsigned char bad;
    if (tk->tables->ignore_merges && length > KEY_BYTES && (*out = find_long(tk, bytes, length)) != NO_ID) return 1;
    size_t n = first_ids(tk, out, bytes, length, &bad);
    if (!n) err_input(err, "the vocabulary has no token for the byte 0x%02X", bad);
    return n ? merge_ids(tk->tables, out, n, err) : 0;
}

// Writes the ids of one piece to out[0..length); `readable` bytes may be read. Returns how many, 0 on error.
static inline size_t encode_piece(const Tokenizer *tk, CacheSlot *cache, uint32_t *out, const char *bytes, size_t length,
    size_t readable, Err *err)
{
    if (length > KEY_BYTES) return merge_piece(tk, out, bytes, length, err);
    PieceKey key = piece_key(bytes, length, readable);
    uint64_t hash = key_hash(key, length);
    if ((*out = find_whole(tk->tables, key, length, hash)) != NO_ID) return 1;
    if (!cache) return merge_piece(tk, out, bytes, length, err);

    CacheSlot *slot = &cache[hash % CACHE_SLOTS];
    if (slot->length == length && slot->key.low == key.low && slot->key.high == key.high) {
        memcpy(out, slot->ids, slot->count * sizeof *out);
        return slot->count;
    }
    size_t n = merge_piece(tk, out, bytes, length, err);
    if (n > 0 && n <= CACHE_IDS) {
        *slot = (CacheSlot){key, (uint32_t)length, (uint32_t)n, {0}};
        memcpy(slot->ids, out, n * sizeof *out);
    }
    return n;
}

static int reserve_ids(TokenList *list, size_t extra, Err *err)
{
    size_t need;
    if (list->capacity - list->length >= extra) return 0;
    if (!size_add(list->length, extra, &need) || !size_add(need, need / 2 + 64, &need))
        return err_failed(err, "out of memory: too many tokens");
    uint32_t *grown = mem_resize(err, list->ids, list->length, need, sizeof *grown);
    if (!grown) return -1;
    list->ids = grown;
    list->capacity = need;
    return 0;
}

static inline int encode_bytes(const Tokenizer *tk, CacheSlot *cache, TokenList *ids, const char *bytes, size_t length,
    size_t readable, Err *err)
{
    if (reserve_ids(ids, length, err)) return -1; // at most one id a byte
    size_t n = encode_piece(tk, cache, ids->ids + ids->length, bytes, length, readable, err);
    ids->length += n;
    return n ? 0 : -1;
}

static size_t space_length(const char *bytes, size_t length)
{
    return length && *bytes == ' ' ? 1 : length >= 3 && !memcmp(bytes, SPACE_LETTER, 3) ? 3 : 0;
}

// Where a run of spaces and what follows it end.
static size_t spaced_length(const char *bytes, size_t length)
{
    size_t i = 0, space;
    while ((space = space_length(bytes + i, length - i))) i += space;
    while (i < length && !space_length(bytes + i, length - i)) i++;
    return i;
}

// What SentencePiece does with a stretch between special tokens: a space first, then merging all of it.
static int encode_stretch(const Tokenizer *tk, CacheSlot *cache, TokenList *ids, const char *bytes, size_t length, Err *err)
{
    Text spaced = {0};
    int status = text_puts(&spaced, err, " ") || text_add(&spaced, err, bytes, length) ? -1 : 0;
    for (size_t at = 0, n; !status && at < spaced.length; at += n) {
        size_t left = spaced.length - at;
        n = tk->tables->cut_at_spaces ? spaced_length(spaced.data + at, left) : left;
        status = encode_bytes(tk, cache, ids, spaced.data + at, n, left, err);
    }
    text_free(&spaced);
    return status;
}

static int encode_text(const Tokenizer *tk, CacheSlot *cache, TokenList *ids, const char *text, size_t length, bool controls,
    Err *err)
{
    size_t before = ids->length;
    Pieces pieces = pieces_of(tk, text, length, controls);
    Piece list[PIECES];
    for (size_t n; (n = pieces_next(&pieces, list, PIECES));)
        for (const Piece *piece = list; piece < list + n; piece++) {
            int status = piece->special != NO_ID ? tokens_add(ids, err, piece->special)
                : tk->split == SPLIT_SENTENCEPIECE
                    ? encode_stretch(tk, cache, ids, piece->bytes, piece->length, err)
                    : encode_bytes(tk, cache, ids, piece->bytes, piece->length, (size_t)(text + length - piece->bytes), err);
            if (!status) continue;
            ids->length = before;
            size_t offset = (size_t)(piece->bytes - text);
            return err_prefix(err, "bytes %zu to %zu of the text", offset, offset + piece->length);
        }
    return 0;
}

static int encode(const Tokenizer *tk, TokenList *ids, const char *text, size_t length, bool controls, Err *err)
{
    CacheSlot *cache = NULL; // it pays for itself in long texts only
    if (length >= LONG_TEXT && !(cache = mem_new(err, CACHE_SLOTS, sizeof *cache))) return -1;
    int status = encode_text(tk, cache, ids, text, length, controls, err);
    mem_free(cache);
    return status;
}

int tokenizer_encode(const Tokenizer *tk, TokenList *ids, const char *text, size_t length, Err *err)
{
    return encode(tk, ids, text, length, true, err);
}

int tokenizer_encode_plain(const Tokenizer *tk, TokenList *ids, const char *text, size_t length, Err *err)
{
    return encode(tk, ids, text, length, false, err);
}

int tokenizer_encode_prompt(const Tokenizer *tk, TokenList *ids, const char *text, size_t length, Err *err)
{
    if (tk->first >= 0 && tokens_add(ids, err, (uint32_t)tk->first)) return -1;
    if (!tokenizer_encode(tk, ids, text, length, err)) return 0;
    if (tk->first >= 0) ids->length--;
    return -1;
}

bool tokenizer_is_control(const Tokenizer *tk, uint32_t id) { return tk->special[id] && !tk->tables->plain[id]; }

int tokenizer_encode_all(const Tokenizer *tk, TokenList *lists, const TextView *texts, size_t count, Err *err)
{
    size_t first_bad = count;
#ifdef _OPENMP
#pragma omp parallel
#endif
    {
        Err no_cache = {0};
        CacheSlot *cache = mem_new(&no_cache, CACHE_SLOTS, sizeof *cache);
#ifdef _OPENMP
#pragma omp for schedule(dynamic, 8)
#endif
        for (size_t i = 0; i < count; i++) {
            Err own = no_cache;
            if (cache && !encode_text(tk, cache, &lists[i], texts[i].bytes, texts[i].length, true, &own)) continue;
#ifdef _OPENMP
#pragma omp critical(tokenizer_error)
#endif
            if (i < first_bad) {
                first_bad = i;
                if (err) *err = own;
            }
        }
        mem_free(cache);
    }
    return first_bad == count ? 0 : err_prefix(err, "text %zu", first_bad);
}

// ---- decoding, special tokens, identity ------------------------------------------------------------------------------------

int tokenizer_decode(const Tokenizer *tk, Text *text, const uint32_t *ids, size_t n, Err *err)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= tk->vocab)
            return err_input(err, "token %zu is %lu, but the vocabulary has %zu", i, (unsigned long)ids[i], tk->vocab);
    for (size_t i = 0; i < n; i++) {
        TextView token = tk->tokens[ids[i]];
        bool put_first = !i && tk->split == SPLIT_SENTENCEPIECE && token.bytes[0] == ' ';
        if (text_add(text, err, token.bytes + put_first, token.length - put_first)) return -1;
    }
    return text_add(text, err, "", 0); // no tokens: "", not NULL
}

int64_t tokenizer_find(const Tokenizer *tk, const char *token)
{
    size_t length = strlen(token);
    for (size_t i = 0; i < tk->tables->special_count; i++) {
        const TextView *special = &tk->tokens[tk->tables->special_ids[i]];
        if (special->length == length && !memcmp(special->bytes, token, length)) return (int64_t)tk->tables->special_ids[i];
    }
    return -1;
}

static uint64_t hash_number(uint64_t hash, uint64_t number)
{
    unsigned char bytes[8]; // the same on every byte order
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(number >> 8 * i);
    return hash_bytes(hash, bytes, sizeof bytes);
}

uint64_t tokenizer_hash(const Tokenizer *tk)
{
    uint64_t hash = hash_number(hash_number(0, tk->vocab), tk->split | (tk->tables->ignore_merges ? 256u : 0u));
    for (size_t i = 0; i < tk->vocab; i++) {
        hash = hash_number(hash_number(hash, tk->tokens[i].length), tk->special[i]);
        hash = hash_bytes(hash, tk->tokens[i].bytes, tk->tokens[i].length);
    }
    for (size_t i = 0; i < tk->tables->merge_count; i++) {
        const Merge *merge = &tk->tables->merges[i];
        hash = hash_number(hash_number(hash_number(hash, merge->left), merge->right), merge->id);
    }
    return hash;
}

void tokenizer_free(Tokenizer *tk)
{
    TokenizerTables *t = tk->tables;
    if (t) {
        mem_free(t->merges);
        mem_free(t->pairs);
        mem_free(t->whole);
        mem_free(t->characters);
        mem_free(t->long_ids);
        mem_free(t->special_ids);
        mem_free(t->bytes);
        mem_free(t->plain);
    }
    mem_free(t);
    mem_free(tk->tokens);
    mem_free(tk->special);
    *tk = (Tokenizer){0};
}
