// SPDX-License-Identifier: MIT
/* reward_head.h - training and measuring a reward head: a score on the transformer, from labels or from preference pairs.
 *
 *     HeadExamples data = {0};
 *     if (head_examples_from_corpus(&data, &corpus, order, n, &tokenizer, &err)) return -1;
 *     if (head_train(&model, &cx, &data, &options, &train, progress, self, &err)) return -1;
 *     HeadAccuracy a;
 *     if (head_measure(&a, &model, &cx, &test, &err)) return -1;         // accuracy on whole texts
 *
 * Labels: logistic loss (sigma(score) = probability of "positive"). Pairs: Bradley-Terry, as in the paper's reward model.
 * A share of the examples is read as prefixes of random length, so that the head can judge a half-finished review.
 */
#ifndef RAFT_REWARD_HEAD_H
#define RAFT_REWARD_HEAD_H

#include "files/corpus.h"
#include "tokenizer.h"
#include "train.h"

typedef struct { TokenList *texts; float *labels; size_t count; bool pairs; } HeadExamples; // pairs: 2i chosen, 2i+1 rejected
// order: n indices into the corpus, or NULL for its first n texts.
int head_examples_from_corpus(HeadExamples *data, const Corpus *corpus, const uint32_t *order, size_t n, const Tokenizer *tk, Err *err);
int head_examples_from_pairs(HeadExamples *data, const char *path, const Tokenizer *tk, Err *err); // JSONL: prompt, chosen, rejected
void head_examples_free(HeadExamples *data);

typedef struct {
    double prefix_share;   // share of the examples read as a prefix of random length (STREAM_PREFIX)
    size_t prefix_least;   // its least length, tokens
    size_t prefix_most;    // and its greatest; 0: as long as the text and max_tokens allow
    size_t max_tokens;     // a longer text gives one window of this many tokens, at a random place, each epoch; 0: the context, which is its limit
    uint64_t seed;
} HeadOptions;
// Trains in place; train->epochs passes, each with new prefixes. The loss is the running mean reported to progress.
int head_train(Model *model, const Compute *cx, const HeadExamples *data, const HeadOptions *how, const TrainOptions *train,
    TrainProgress progress, void *self, Err *err);
// score[count] of whole texts; longer ones than the context in windows, averaged by tokens.
int head_score(const Model *model, const Compute *cx, const TokenList *texts, size_t count, float *score, Err *err);
typedef struct { size_t count, correct; double loss; } HeadAccuracy; // labels: score > 0; pairs: chosen above rejected
int head_measure(HeadAccuracy *accuracy, const Model *model, const Compute *cx, const HeadExamples *data, Err *err);

#endif
