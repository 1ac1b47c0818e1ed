// SPDX-License-Identifier: MIT
/* loss.h - the heads and their losses, each beside its gradient; logits never exist for more than a chunk of rows.
 *
 *     LossScratch scratch;
 *     if (loss_scratch_init(&scratch, &model, &cx, max_rows, &err)) return -1;
 *     model_forward(&model, NULL, &ws);
 *     lm_loss_backward(&model, gradient, &ws, &scratch, &targets, logprob);   // writes ws.dx
 *     model_backward(&model, gradient, &ws);
 */
#ifndef RAFT_LOSS_H
#define RAFT_LOSS_H

#include "model.h"

typedef struct {
    size_t count;
    const uint32_t *row;    // [count] ascending rows of the batch
    const uint32_t *target; // [count] the token that follows
    const float *scale;     // [count] d loss / d(-logprob), for instance 1/N; unused without gradient
    // A loss that is no weighted sum of log-probabilities (PPO's): called when those of [first, first + n) are known, sets their scale.
    void (*weigh)(void *self, size_t first, size_t n); // NULL: scale is known beforehand
    void *weigh_self;
    const float *dvalue;    // [count] d loss / d value, for a model with a value head; NULL: none
} Targets;

typedef struct {
    const Compute *cx;
    size_t max_rows, chunk_rows; // rows of logits alive at once
    float *logits;   // [chunk, V]
    float *gathered, *normed, *dnormed, *dgathered; // [max_rows, D]
    float *inv_rms;  // [max_rows]
    float *scores;   // [max_rows]
    uint32_t *rows;  // [max_rows]
    float *data;
} LossScratch;

int loss_scratch_init(LossScratch *scratch, const Model *model, const Compute *cx, size_t max_rows, Err *err);
void loss_scratch_free(LossScratch *scratch);

// logits[count,V] of the given rows: final norm, then the language-model head.
void lm_logits(const Model *model, const PackedModel *packed, const Workspace *ws, LossScratch *scratch, float *logits,
    const uint32_t *row, size_t count);
// logprob[count] = log p(target | before it), at temperature 1.
void lm_logprobs(const Model *model, const PackedModel *packed, const Workspace *ws, LossScratch *scratch, const Targets *targets, float *logprob);
// The same, and the gradient of sum(scale * -logprob): accumulated into gradient (head, final norm), written into ws->dx.
void lm_loss_backward(const Model *model, float *gradient, Workspace *ws, LossScratch *scratch, const Targets *targets, float *logprob);

// value[count] = <w, norm(x)> + bias of the given rows: the value head reads what the next-token head reads.
void lm_values(const Model *model, const Workspace *ws, LossScratch *scratch, float *value, const uint32_t *row, size_t count);

// HEAD_SCORE: score[sequences] = mean over the pooled rows of <w, norm(x)>.
void score_forward(const Model *model, const Workspace *ws, LossScratch *scratch, float *score);
void score_backward(const Model *model, float *gradient, Workspace *ws, LossScratch *scratch, const float *dscore); // after score_forward

// loss[n] of each example (or pair) and d loss / d score, times inverse_n (1/N of the whole step).
void logistic_loss(const Compute *cx, float *loss /*[n]*/, float *dscore /*[n]*/, const float *score /*[n]*/, const float *label /*[n] 0 or 1*/,
    size_t n, float inverse_n); // -log sigmoid(score) or -log sigmoid(-score)
void bradley_terry_loss(const Compute *cx, float *loss /*[n]*/, float *dscore /*[2n]*/, const float *score /*[2n]: chosen, rejected, ...*/,
    size_t n, float inverse_n); // -log sigmoid(chosen - rejected)

#endif
