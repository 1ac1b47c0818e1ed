// SPDX-License-Identifier: MIT
/* observe.h - what a computation shows to one who watches it: the hooks from which traces are made.
 *
 *     Observer observer = {.self = &recorder, .pass = on_pass, .step = on_step};
 *     Compute watched = *cx;
 *     watched.observer = &observer;                 // whatever computes on `watched` is seen
 *
 * An observer looks at the very buffers of the computation, while they hold what the hook's name says, and changes nothing;
 * it may allocate. A function may be NULL. All are called one after the other, never from a parallel region.
 */
#ifndef RAFT_OBSERVE_H
#define RAFT_OBSERVE_H

#include "model.h"

typedef enum {               // what the workspace holds at this point; layer l's activations: layer_activations (layers.h)
    PASS_EMBEDDED,           // layers[0].x
    PASS_ATTENTION,          // normed, qkv (after RoPE), attention, x_mid
    PASS_FEED_FORWARD,       // normed, gate_up, hidden, the next layer's x
    PASS_HEAD_BACKWARD,      // dx: gradient of the last layer's output
    PASS_FEED_FORWARD_BACKWARD, // dx: gradient of x_mid; gate_up: its own gradient
    PASS_ATTENTION_BACKWARD  // dx: gradient of x; dqkv: before RoPE; dattention
} PassPoint;

typedef struct { // rows of a language-model loss
    const Model *model;
    const Workspace *ws;
    size_t rows;
    const uint32_t *row, *target; // [rows] of the batch; the token that follows
    const float *normed;     // [rows,D] after the final norm
    const float *logits;     // [rows,V]
} SeenLoss;

typedef struct { // a token that was drawn
    uint32_t slot;
    size_t k, step;          // candidate; tokens before it in the answer
    size_t vocab;
    const float *logits;     // [V]
    uint32_t token;
    float logprob;           // at temperature 1
} SeenChoice;

typedef struct { // an optimisation step
    const Model *model;      // after the update: the new parameters
    const float *gradient;   // [trained_count] before clipping
    const float *logprob;    // [targets] of the step
    size_t targets;
    double loss, grad_norm, lr;
} SeenStep;

typedef struct Observer {
    void *self;
    void (*pass)(void *self, PassPoint point, size_t layer, const Model *model, const Workspace *ws);
    void (*loss)(void *self, const SeenLoss *seen);     // before the logits become their gradient
    void (*choice)(void *self, const SeenChoice *seen);
    void (*step)(void *self, const SeenStep *seen);     // after the update; the gradient is still there
} Observer;

void observe_pass(PassPoint point, size_t layer, const Model *model, const Workspace *ws);
void observe_loss(const Compute *cx, const SeenLoss *seen);
void observe_choice(const Compute *cx, const SeenChoice *seen);
void observe_step(const Compute *cx, const SeenStep *seen);

#endif
