// SPDX-License-Identifier: MIT
/* heads.h - a reward head made from a language model, and how well a reward tells good texts from bad ones.
 *
 *     Model head;
 *     if (head_model_from(&head, &lm, 4, POOL_MEAN, 256, seed, &err)) return -1;   // the first 4 layers of lm
 *     ... head_train (reward_head.h) ...
 *     Corpus begun = {0};
 *     RewardQuality whole, prefixes;
 *     if (corpus_prefixes(&begun, &test, &tokenizer, 30, &err)) return -1;
 *     if (head_quality(&whole, &head, &cx, &test, &tokenizer, &err)) return -1;
 *     if (head_quality(&prefixes, &head, &cx, &begun, &tokenizer, &err)) return -1;
 *
 * Knows no file and no command; the training itself is in reward_head.c.
 */
#ifndef RAFT_STUDY_HEADS_H
#define RAFT_STUDY_HEADS_H

#include "reward_head.h"
#include "study/metrics.h"

#include <jansson.h>

// A score head over the first `layers` of a language model (0: all); its own weight is drawn from the seed. `context` is how
// many tokens it reads at once: at most the language model's, which is taken when 0 or more is asked for.
int head_model_from(Model *head, const Model *lm, size_t layers, ScorePooling pooling, size_t context, uint64_t seed, Err *err);

// Adds the beginnings of the texts, `tokens` long (shorter texts whole), with their labels: what a reward must judge halfway.
int corpus_prefixes(Corpus *prefixes, const Corpus *corpus, const Tokenizer *tk, size_t tokens, Err *err);

enum { CALIBRATION_BINS = 10 };
typedef struct { size_t n; double predicted, observed; } CalibrationBin; // means of sigmoid(reward) and of "is positive"
typedef struct {
    Measure accuracy;           // reward > 0 exactly when the label is positive (Wilson's interval)
    Measure positive, negative; // mean reward of each label
    double auc;                 // how often a positive text is rewarded above a negative one, ties half; free of any threshold
    double loss;                // mean -log p(label), p = sigmoid(reward)
    CalibrationBin bins[CALIBRATION_BINS]; // by sigmoid(reward): [0,0.1), ... [0.9,1]
    double calibration_error;   // mean |predicted - observed| over the bins, weighted by n
} RewardQuality;
int reward_quality(RewardQuality *quality, const float *reward /*[corpus->count]*/, const Corpus *corpus, Err *err); // all must be labelled
int head_quality(RewardQuality *quality, const Model *head, const Compute *cx, const Corpus *corpus, const Tokenizer *tk, Err *err);
json_t *quality_json(const RewardQuality *quality); // {"accuracy","auc","loss",...,"calibration_error","calibration":[{"n","predicted","observed"}]}

#endif
