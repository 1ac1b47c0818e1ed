// SPDX-License-Identifier: MIT
/* tokenizer.h - BPE (Sennrich et al. 2016): byte-level with the patterns of GPT-2, SmolLM2, Llama 3 and Qwen 2, and SentencePiece's.
 *
 *     Tokenizer tk;
 *     if (tokenizer_load(&tk, "tokenizer.json", &err)) return -1;
 *     TokenList ids = {0};
 *     if (tokenizer_encode(&tk, &ids, text, strlen(text), &err)) return -1;      // appends
 *     Text back = {0};
 *     if (tokenizer_decode(&tk, &back, ids.ids, ids.length, &err)) return -1;    // the same bytes
 *     tokens_free(&ids); text_free(&back); tokenizer_free(&tk);
 *
 * Reads and writes the tokenizer.json of Hugging Face tokenizers, reads llama2.c's tokenizer.bin, and is built from a GGUF file's
 * arrays; what would give other ids than the file's author meant is refused by name (docs/MODELS.md). A tokenizer is read-only
 * after loading and may be used by many threads.
 */
#ifndef RAFT_TOKENIZER_H
#define RAFT_TOKENIZER_H

#include "base/util.h"

typedef enum { // how text is cut into pieces before merging
    SPLIT_GPT2,          // words with the space before them
    SPLIT_DIGITS,        // each digit apart, then as GPT-2 (SmolLM2)
    SPLIT_LLAMA3,        // numbers in threes, contractions in either case, newlines with the punctuation before them
    SPLIT_QWEN2,         // the same with each digit apart
    SPLIT_SENTENCEPIECE, // not at all: a space is put first; characters merge, and bytes of those that are no token (Llama 2)
} TokenizerSplit;

typedef struct TokenizerTables TokenizerTables; // merges and lookup tables: tokenizer-internal.h
typedef struct {
    size_t vocab;             // number of ids, special tokens included
    TokenizerSplit split;
    int64_t first;            // the id that the file puts before every text (Llama's <s>), -1: none; tokenizer_encode does not
    TextView *tokens;         // [vocab] the bytes of each token; a special token's bytes are its text
    bool *special;            // [vocab] special tokens match verbatim in text before the split
    TokenizerTables *tables;
} Tokenizer;

typedef struct {
    size_t vocab;               // wanted size; training stops earlier when no pair occurs min_count times
    const char *const *special; // special tokens take the first ids, in this order
    size_t special_count;
    bool split_digits;          // SPLIT_DIGITS instead of SPLIT_GPT2
    size_t min_count;           // rarer pairs are not merged; 0 is 1, the default of BpeTrainer (min_frequency)
} TokenizerTraining;

// Trains on `count` texts. Merges are chosen by (count descending, then the pair's ids ascending) on exact counts, which
// gives the merges of Hugging Face's BpeTrainer with the 256 byte symbols as initial alphabet. Special tokens that occur in
// the texts are cut out first (BpeTrainer learns from their letters). Multi-threaded; the result does not depend on the number
// of threads or on the order of the texts.
int tokenizer_train(Tokenizer *tk, const TextView *texts, size_t count, const TokenizerTraining *how, Err *err);
int tokenizer_load(Tokenizer *tk, const char *path, Err *err);
int tokenizer_save(const Tokenizer *tk, const char *path, Err *err); // atomic; tokenizers.Tokenizer.from_file opens it
void tokenizer_free(Tokenizer *tk); // a zeroed or freed tokenizer is fine

// Any bytes are accepted and come back from tokenizer_decode (SentencePiece: but U+2581 as a space): what is not valid UTF-8 is split
// like punctuation. A byte for which the vocabulary has no symbol (SmolLM2 lacks 0xC0) is an error that names it; Hugging Face drops it.
int tokenizer_encode(const Tokenizer *tk, TokenList *ids, const char *text, size_t length, Err *err); // on error ids is as before
// The same, but control tokens (<|im_end|>) spelled in the text are text: for what strangers write.
int tokenizer_encode_plain(const Tokenizer *tk, TokenList *ids, const char *text, size_t length, Err *err);
// A text that something is to follow: the token that the file puts before every text, then the text.
int tokenizer_encode_prompt(const Tokenizer *tk, TokenList *ids, const char *text, size_t length, Err *err);
bool tokenizer_is_control(const Tokenizer *tk, uint32_t id); // a special token that tokenizer_encode_plain does not match
// Encodes count texts on all threads, appending to lists[i] what texts[i] gives. On error (that of the first bad text) the lists
// hold a part of the answer and are still the caller's to free.
int tokenizer_encode_all(const Tokenizer *tk, TokenList *lists, const TextView *texts, size_t count, Err *err);
// Appends the tokens' raw bytes, which may cut characters, without the space that SentencePiece put first; an id >= vocab is an error.
int tokenizer_decode(const Tokenizer *tk, Text *text, const uint32_t *ids, size_t n, Err *err);
int64_t tokenizer_find(const Tokenizer *tk, const char *token); // id of a special token by its text, -1 when there is none
uint64_t tokenizer_hash(const Tokenizer *tk); // of everything that decides ids: provenance and "does it fit the model"

#endif
