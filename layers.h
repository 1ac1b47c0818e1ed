// SPDX-License-Identifier: MIT
/* layers.h - one transformer layer, forward and backward: the two blocks that model_forward and model_backward repeat.
 *
 *     attention_block_forward(&pass, l);  feed_forward_block_forward(&pass, l);          // for l = 0 .. L-1
 *     feed_forward_block_backward(&pass, l);  attention_block_backward(&pass, l);        // for l = L-1 .. 0
 */
#ifndef RAFT_LAYERS_H
#define RAFT_LAYERS_H

#include "model.h"

typedef struct {
    const Model *model;
    const PackedModel *packed; // may be NULL
    Workspace *ws;
    float *gradient;           // [trained_count], accumulated; NULL in a forward pass
} Pass;

// Where a layer's activations are: those below ws->saved_from share layers[0], whose x is the residual stream itself.
LayerActivations *layer_activations(const Workspace *ws, size_t layer);

// x_mid = x + Wo attention(rope(Wq n), rope(Wk n), Wv n) with n = norm(x); keys and values go to the sequences' pages.
void attention_block_forward(const Pass *pass, size_t layer);
void attention_block_backward(const Pass *pass, size_t layer);    // dx: gradient of x_mid in, of x out

// x' = x_mid + Wdown (silu(Wgate n) * Wup n) with n = norm(x_mid); x' is the next layer's x.
void feed_forward_block_forward(const Pass *pass, size_t layer);
void feed_forward_block_backward(const Pass *pass, size_t layer); // dx: gradient of x' in, of x_mid out

#endif
