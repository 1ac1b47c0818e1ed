// SPDX-License-Identifier: MIT
/* tokenizer-internal.h - what the tokenizer's files share: tokenizer.c (text to ids and back), tokenizer_split.c (text to
 * pieces), tokenizer_build.c (tables from what a file holds), tokenizer_file.c (tokenizer.json), tokenizer_train.c (merges from
 * texts). Nobody else includes it. */
#ifndef RAFT_TOKENIZER_INTERNAL_H
#define RAFT_TOKENIZER_INTERNAL_H

#include "tokenizer.h"

#include <string.h>

#define NO_ID UINT32_MAX

typedef struct { uint32_t left, right, id; } Merge; // its rank is its index
typedef struct { uint64_t pair; uint32_t rank, id; } PairSlot; // left << 32 | right; rank NO_ID: empty

// A piece of at most 16 bytes as two words, zero-padded: compared and hashed without a loop. Longer ones have no key.
enum { KEY_BYTES = 16 };
typedef struct { uint64_t low, high; } PieceKey;
typedef struct { PieceKey key; uint32_t length, id; } TokenSlot; // length 0: empty

struct TokenizerTables {
    Merge *merges; // [merge_count] in order of rank
    size_t merge_count;
    PairSlot *pairs; // hash of the merges, [pair_mask + 1]
    size_t pair_mask;
    TokenSlot *whole; // hash of the tokens that merging reaches from their own bytes, [whole_mask + 1]
    size_t whole_mask;
    uint32_t byte_ids[256];  // the tokens that stand for one byte; NO_ID where the vocabulary has none
    // SentencePiece: tokens of one character come before those of its bytes
    TokenSlot *characters;   // hash, [character_mask + 1]
    size_t character_mask;
    bool cut_at_spaces;      // no token has a space behind another character: what is between two spaces merges by itself
    // ignore_merges: a piece that is a token is that token, whatever merging would give
    bool ignore_merges;
    uint32_t *long_ids;      // hash of the tokens of more than KEY_BYTES: id + 1, [long_mask + 1]
    size_t long_mask;
    uint32_t *special_ids;   // [special_count] longest text first
    size_t special_count;
    bool special_first[256]; // bytes that begin a special token
    char *bytes;             // holds the tokens' bytes
    bool *plain;             // [vocab] special here, but "special": false in its file: matched in any text
    bool normalized;         // the "normalized" of all added tokens: kept for saving
};

// Walks through the pieces of a text: special tokens, and between them the split pattern's matches.
typedef struct {
    const TokenizerTables *tables;
    const TextView *tokens;
    TokenizerSplit split;
    bool controls; // match all special tokens, not only the plain ones
    const char *at, *stretch_end, *special_at, *end; // a stretch is split on its own, as if it were the whole text
    uint32_t special;                                // the token at special_at
} Pieces;
typedef struct { const char *bytes; size_t length; uint32_t special; } Piece; // special: NO_ID for ordinary text
Pieces pieces_of(const Tokenizer *tk, const char *text, size_t length, bool controls);
enum { PIECES = 64 }; // a good number to ask for at once
size_t pieces_next(Pieces *pieces, Piece *list, size_t room); // how many of room > 0; 0 at the end

typedef struct {
    TokenizerSplit split;
    const char *pre[3];  // its names in GGUF files (tokenizer.ggml.pre)
    const char *regex;   // as tokenizer.json spells it in a "Split"; NULL: it has another form there
    bool ignore_merges;  // what goes with it in vocabularies of this kind
} SplitSpec;
extern const SplitSpec split_table[];
extern const size_t split_count;

// Fills the lookup tables from tokens, special and tables->merges. `where` names the file for a merge that is there twice.
int tables_fill(Tokenizer *tk, const char *where, Err *err);
int tables_allocate(Tokenizer *tk, size_t vocab, size_t bytes, size_t merges, Err *err); // tokens, special, tables: zeroed
// The ids that merging begins with: one a byte, or with SentencePiece one a character. Their number, or 0 with *bad the byte that
// has no token.
size_t first_ids(const Tokenizer *tk, uint32_t *out, const char *bytes, size_t length, unsigned char *bad);
uint32_t find_long(const Tokenizer *tk, const char *bytes, size_t length); // NO_ID when it is no token
// Merges the first ids of a piece in place, lowest rank first, leftmost among equals. The new length, or 0 on exhausted memory.
size_t merge_ids(const TokenizerTables *tables, uint32_t *ids, size_t n, Err *err);

// The byte alphabet of GPT-2: every byte as a printable character, so that tokens can be text in a JSON file.
uint32_t byte_to_letter(unsigned char byte);
int letter_to_byte(uint32_t letter); // -1 when it is none of the 256
int spelled_to_bytes(Text *out, const char *spelled, size_t length, Err *err); // appends; 1 when some character is no such letter

#define SPACE_LETTER "\xE2\x96\x81" // U+2581, which spells a space in SentencePiece vocabularies

static inline uint64_t mix64(uint64_t x)
{
    x *= 0x9E3779B97F4A7C15u;
    return x ^ x >> 32;
}

// `readable` bytes may be read from `bytes`, length of them count; length <= KEY_BYTES.
static inline PieceKey piece_key(const char *bytes, size_t length, size_t readable)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (readable >= KEY_BYTES) {
        PieceKey key;
        memcpy(&key, bytes, KEY_BYTES);
        if (length <= 8) key.high = 0, key.low &= UINT64_MAX >> (64 - 8 * length);
        else key.high &= UINT64_MAX >> (128 - 8 * length);
        return key;
    }
#endif
    (void)readable;
    PieceKey key = {0};
    memcpy(&key, bytes, length);
    return key;
}

static inline uint64_t key_hash(PieceKey key, size_t length) { return mix64(mix64(key.low) ^ key.high ^ length << 56); }

#endif
