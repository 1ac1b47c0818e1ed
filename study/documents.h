// SPDX-License-Identifier: MIT
/* documents.h - texts as language-model examples: encoded, closed by end-of-text, cut to the context.
 *
 *     Documents docs;
 *     if (documents_encode(&docs, &corpus, NULL, corpus.count, &tokenizer, eos, 256, &err)) return -1;
 *     train_run(&trainer, docs.examples, docs.count, ...);
 *     documents_free(&docs);
 *
 * A document is its tokens and one end-of-text. A longer one than the context gives several examples that overlap by one
 * token, so that every token but the document's first is predicted exactly once.
 */
#ifndef RAFT_STUDY_DOCUMENTS_H
#define RAFT_STUDY_DOCUMENTS_H

#include "files/corpus.h"
#include "tokenizer.h"
#include "train.h"

typedef struct {
    TokenList *texts; // [text_count] with the end-of-text token
    size_t text_count, tokens;
    Example *examples; // [count] into texts
    size_t count;
} Documents;

// order: NULL or n indices into corpus. eos < 0: documents are left open.
int documents_encode(Documents *docs, const Corpus *corpus, const uint32_t *order, size_t n, const Tokenizer *tk, int64_t eos, size_t context, Err *err);
// Of each text only the first `most` tokens are left.
int documents_cut(Documents *docs, size_t most, size_t context, Err *err);
// Encoded, and of each text the first `most` tokens in one example, which the context must hold.
int documents_beginnings(Documents *docs, const Corpus *corpus, const Tokenizer *tk, int64_t eos, size_t most, size_t context, Err *err);
void documents_free(Documents *docs);

#endif
