// SPDX-License-Identifier: MIT
/* tokenizer_build.h - a tokenizer from what a file of any format holds.
 *
 *     TokenizerParts parts = {.vocab = n, .tokens = tokens, .special = special, .merge_count = m, .merges = merges};
 *     if (tokenizer_build(&tk, &parts, "model.gguf", &err)) return -1;
 */
#ifndef RAFT_TOKENIZER_BUILD_H
#define RAFT_TOKENIZER_BUILD_H

#include "tokenizer.h"

// What a file of any format holds: tokens as they are spelled there (byte-level: in the byte alphabet; SentencePiece: U+2581 for a
// space, <0xNN> for a byte; special tokens verbatim), merges in order of rank. Everything is copied; `where` names the file in messages.
typedef struct { TextView left, right; } TokenizerMerge;
typedef struct {
    size_t vocab, merge_count;
    const TextView *tokens; // [vocab]
    const bool *special;    // [vocab]
    const TokenizerMerge *merges;
    TokenizerSplit split;
    bool ignore_merges;     // a piece that is a token is not merged
    const bool *plain;      // [vocab] special tokens that are no control tokens; NULL: none
    const float *scores;    // [vocab] SentencePiece: instead of merges; the pair that makes the best token goes first
    bool put_first;         // token `first` stands before every text
    uint32_t first;
} TokenizerParts;
int tokenizer_build(Tokenizer *tk, const TokenizerParts *parts, const char *where, Err *err);

// The arrays of a GGUF file under tokenizer.ggml., as they are there.
typedef struct {
    const char *model, *pre; // "gpt2" with one of the patterns above, or "llama" (SentencePiece; pre may be NULL)
    size_t vocab, merge_count;
    const TextView *tokens;  // [vocab]
    const int32_t *types;    // [vocab] 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
    const float *scores;     // [vocab] llama only
    const TextView *merges;  // "left right"; gpt2 only
    int64_t bos;             // -1 when the file names none
    bool add_bos, add_space_prefix;
} GgufVocabulary;
int tokenizer_from_gguf(Tokenizer *tk, const GgufVocabulary *vocabulary, const char *where, Err *err);
// llama2.c's tokenizer.bin, which does not say how many tokens it holds: those to the end of the file. <unk>, <s> and </s> come first.
int tokenizer_load_llama2c(Tokenizer *tk, const char *path, Err *err);

#endif
