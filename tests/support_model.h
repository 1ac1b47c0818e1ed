// SPDX-License-Identifier: MIT
/* support_model.h - tokenizers and models small enough for a test, with answers and scores that differ visibly.
 *
 *     tiny_tokenizer(&tokenizer, texts, 5, 290, "<|endoftext|>");
 *     tiny_language_model(&model, tokenizer.vocab, 64, 1);
 *     ModelConfig config = tiny_head_config;  config.pooling = POOL_MEAN;
 *     tiny_head(&head, config, 3);
 */
#ifndef RAFT_TESTS_SUPPORT_MODEL_H
#define RAFT_TESTS_SUPPORT_MODEL_H

#include "files/candidates.h"
#include "model.h"
#include "tests/support.h"
#include "tokenizer.h"

void tiny_tokenizer(Tokenizer *tk, const char *const *texts, size_t n, size_t vocab, const char *special /* NULL: none */);
void tiny_prompts(PromptList *prompts, const char *const *texts, size_t n); // p0, p1, ...; not tokenized
void tiny_language_model(Model *model, size_t vocab, size_t context, uint64_t seed); // dim 32, 2 layers, 4 heads over 2
extern const ModelConfig tiny_head_config; // dim 16, 2 layers, vocab 40, context 16, reads the last token
void tiny_head(Model *model, ModelConfig config, uint64_t seed);

// The tokenizer of tests/golden/bpe-imdb-2048; its file with one text, which must occur, replaced by another, in a fresh folder;
// and that file read.
char *golden_tokenizer_path(void);
void golden_tokenizer(Tokenizer *tk);
char *edited_tokenizer_file(char **folder, const char *find, const char *replace);
void edited_tokenizer(Tokenizer *tk, const char *find, const char *replace);

#endif
