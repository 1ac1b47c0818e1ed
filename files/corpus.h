// SPDX-License-Identifier: MIT
/* corpus.h - texts to learn from: folders in the IMDB layout, plain text files, JSON lines, the built-in grammar.
 *
 *     Corpus corpus = {0};
 *     if (corpus_read(&corpus, "aclImdb/train", &err)) return -1;     // a folder with pos/ and neg/, a .txt, a .jsonl
 *     corpus.items[0].text, .length, .label, .id
 *     corpus_free(&corpus);
 *
 * Items are in the order of their path bytes (folders) or lines (files). Invalid UTF-8 is replaced by U+FFFD and counted
 * in corpus.repaired, which the caller reports. "<br />" and "<br>" are read as a newline in the IMDB layout.
 */
#ifndef RAFT_FILES_CORPUS_H
#define RAFT_FILES_CORPUS_H

#include "base/util.h"

enum { LABEL_NONE = -1, LABEL_NEGATIVE = 0, LABEL_POSITIVE = 1 };

typedef struct {
    char *id;      // "pos/123_8.txt", or "line 17"
    char *text;    // UTF-8, NUL-terminated; may hold NUL bytes inside, so length counts
    size_t length; // bytes
    int label;     // LABEL_*
} CorpusItem;

typedef struct {
    CorpusItem *items;
    size_t count, capacity;
    size_t repaired; // invalid UTF-8 sequences replaced
    uint64_t hash;   // of ids, labels and texts in order: provenance
} Corpus;

// A folder with pos/ and neg/ (labels), a folder of .txt files (no labels), a .txt file (one text), a .jsonl file with "text"
// and optionally "label" (0, 1, "neg", "pos") and "id". Empty or missing: an error that says what was expected. Adds to what the
// corpus holds; after an error it holds what was read so far and is still to be freed.
int corpus_read(Corpus *corpus, const char *path, Err *err);
int corpus_add(Corpus *corpus, const char *id, const char *text, size_t length, int label, Err *err); // copies, repairs UTF-8
void corpus_free(Corpus *corpus);
// Of the n texts that `from` names (NULL: the first n) at most `limit` (0: all): as many of each label, evenly spread over its texts, the
// labels in turns, so that any beginning of what was chosen has all of them alike. chosen holds up to n; the result says how many.
size_t corpus_spread(uint32_t *chosen, const Corpus *corpus, const uint32_t *from, size_t n, size_t limit);

typedef struct Grammar Grammar;
Grammar *grammar_load(const char *path, Err *err); // the format is described in data/reviews.grammar itself; NULL on error
void grammar_free(Grammar *grammar);
// Adds n distinct reviews, negative and positive in turns, a pure function of (grammar, seed); the first n of more are the same.
// Too few distinct ones is an error. Their ids are "review 0", "review 1"...
int grammar_corpus(Corpus *corpus, const Grammar *grammar, size_t n, uint64_t seed, Err *err);

#endif
