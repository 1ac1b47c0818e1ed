// SPDX-License-Identifier: MIT
/* layers.c - a transformer layer: each block's forward pass beside its backward pass, and the two loops over layers.
 *
 * Shapes: R rows, D = dim, Q = heads * head_dim, KV = kv_heads * head_dim, F = ff. The norms' outputs and the activated
 * hidden layer are not kept: the backward pass computes them again, which costs a row pass and saves R * (2D + F) floats a
 * layer.
 */
#include "layers.h"

#include <string.h>

#include "kernels/hostmath.h"
#include "kernels/matmul.h"

// Layers below saved_from share layers[0], whose x is the residual stream itself.
static LayerActivations *activations(const Pass *pass, size_t layer)
{
    size_t from = pass->ws->saved_from;
    return pass->ws->layers + (layer < from ? 0 : (from > 0) + layer - from);
}

// Where the layer's output goes: the input of the next one, or the end of the residual stream.
static float *layer_output(const Pass *pass, size_t layer)
{
    return layer + 1 < pass->model->config.layers ? activations(pass, layer + 1)->x : pass->ws->x;
}

// Of the weights at this offset; NULL when they are frozen.
static float *gradient_of(const Pass *pass, size_t weight) { return model_gradient(pass->model, pass->gradient, weight); }

static AttentionShape attention_shape(const ModelConfig *c, size_t layer)
{
    size_t row = (c->heads + 2 * c->kv_heads) * c->head_dim;
    return (AttentionShape){.heads = c->heads, .kv_heads = c->kv_heads, .head_dim = c->head_dim, .q_stride = row, .kv_stride = row,
        .page_offset = layer * c->kv_heads * 2 * PAGE * c->head_dim, .scale = (float)(1.0 / host_sqrt((double)c->head_dim))};
}

// y[R,out] (+)= x[R,in] W^T, from packed weights when there are some.
static void project(const Pass *pass, float *y, const float *x, size_t weight, float *const *packed, size_t layer, size_t out, size_t in, bool accumulate)
{
    const Workspace *ws = pass->ws;
    if (pass->packed) matmul_forward_packed(ws->cx, y, x, packed[layer], ws->rows, out, in, accumulate);
    else matmul_forward(ws->cx, y, x, pass->model->parameters + weight, ws->rows, out, in, accumulate);
}

// dW[out,in] += dy^T x unless W is frozen, and dx[R,in] = dy W.
static void project_backward(const Pass *pass, float *dx, const float *dy, const float *x, size_t weight, size_t out, size_t in)
{
    const Workspace *ws = pass->ws;
    float *dweight = gradient_of(pass, weight);
    if (dweight) matmul_backward_weight(ws->cx, dweight, dy, x, ws->rows, out, in);
    matmul_backward_input(ws->cx, dx, dy, pass->model->parameters + weight, ws->rows, out, in, false);
}

static void rotate(const Pass *pass, float *qkv, bool inverse)
{
    const ModelConfig *c = &pass->model->config;
    const Workspace *ws = pass->ws;
    // q and k heads are neighbours in a row: one call rotates both
    ws->cx->k->rope_rotate(qkv, (c->heads + 2 * c->kv_heads) * c->head_dim, pass->model->rope_cos, pass->model->rope_sin,
        ws->position, ws->rows, c->heads + c->kv_heads, c->head_dim, inverse);
}

// ---- attention ---------------------------------------------------------------------------------------------------------------

void attention_block_forward(const Pass *pass, size_t layer)
{
    const ModelConfig *c = &pass->model->config;
    const LayerOffsets *o = pass->model->layers + layer;
    const Kernels *k = pass->ws->cx->k;
    Workspace *ws = pass->ws;
    LayerActivations *a = activations(pass, layer);
    size_t Q = c->heads * c->head_dim, KV = c->kv_heads * c->head_dim, R = ws->rows;
    AttentionShape shape = attention_shape(c, layer);

    k->rmsnorm_forward(ws->normed, a->inv_rms, a->x, pass->model->parameters + o->norm, R, c->dim, (float)c->rms_eps);
    project(pass, a->qkv, ws->normed, o->qkv, pass->packed ? pass->packed->qkv : NULL, layer, Q + 2 * KV, c->dim, false);
    rotate(pass, a->qkv, false);
    k->attention_store(a->qkv + Q, a->qkv + Q + KV, ws->spans, ws->sequences, &shape);
    k->attention_forward(a->attention, a->stats, a->qkv, ws->spans, ws->sequences, &shape, ws->attention_scratch, ws->attention_scratch_stride);
    if (a->x_mid != a->x) memcpy(a->x_mid, a->x, R * c->dim * sizeof(float));
    project(pass, a->x_mid, a->attention, o->out, pass->packed ? pass->packed->out : NULL, layer, c->dim, Q, true);
}

void attention_block_backward(const Pass *pass, size_t layer)
{
    const ModelConfig *c = &pass->model->config;
    const LayerOffsets *o = pass->model->layers + layer;
    const Kernels *k = pass->ws->cx->k;
    Workspace *ws = pass->ws;
    LayerActivations *a = activations(pass, layer);
    size_t Q = c->heads * c->head_dim, KV = c->kv_heads * c->head_dim, R = ws->rows;
    const float *norm = pass->model->parameters + o->norm;
    AttentionShape shape = attention_shape(c, layer);

    project_backward(pass, ws->dattention, ws->dx, a->attention, o->out, c->dim, Q);
    k->attention_backward(ws->dqkv, ws->dqkv + Q, ws->dqkv + Q + KV, ws->dattention, a->attention, a->stats, a->qkv, ws->spans,
        ws->sequences, &shape, ws->attention_scratch, ws->attention_scratch_stride);
    rotate(pass, ws->dqkv, true);
    k->rmsnorm_forward(ws->normed, a->inv_rms, a->x, norm, R, c->dim, (float)c->rms_eps);
    project_backward(pass, ws->dnormed, ws->dqkv, ws->normed, o->qkv, Q + 2 * KV, c->dim);
    k->rmsnorm_backward(ws->dx, gradient_of(pass, o->norm), ws->dnormed, a->x, norm, a->inv_rms, R, c->dim);
}

// ---- feed-forward ------------------------------------------------------------------------------------------------------------

void feed_forward_block_forward(const Pass *pass, size_t layer)
{
    const ModelConfig *c = &pass->model->config;
    const LayerOffsets *o = pass->model->layers + layer;
    const Kernels *k = pass->ws->cx->k;
    Workspace *ws = pass->ws;
    LayerActivations *a = activations(pass, layer);
    float *x_out = layer_output(pass, layer);
    size_t R = ws->rows;

    k->rmsnorm_forward(ws->normed, a->ff_inv_rms, a->x_mid, pass->model->parameters + o->ff_norm, R, c->dim, (float)c->rms_eps);
    project(pass, a->gate_up, ws->normed, o->gate_up, pass->packed ? pass->packed->gate_up : NULL, layer, 2 * c->ff, c->dim, false);
    k->swiglu_forward(ws->hidden, a->gate_up, R, c->ff);
    if (x_out != a->x_mid) memcpy(x_out, a->x_mid, R * c->dim * sizeof(float));
    project(pass, x_out, ws->hidden, o->down, pass->packed ? pass->packed->down : NULL, layer, c->dim, c->ff, true);
}

void feed_forward_block_backward(const Pass *pass, size_t layer)
{
    const ModelConfig *c = &pass->model->config;
    const LayerOffsets *o = pass->model->layers + layer;
    const Kernels *k = pass->ws->cx->k;
    Workspace *ws = pass->ws;
    LayerActivations *a = activations(pass, layer);
    const float *norm = pass->model->parameters + o->ff_norm;
    float *dhidden = ws->hidden, *dgate_up = a->gate_up; // each is overwritten by its gradient once it was read
    size_t R = ws->rows;

    k->swiglu_forward(ws->hidden, a->gate_up, R, c->ff);
    if (gradient_of(pass, o->down)) matmul_backward_weight(ws->cx, gradient_of(pass, o->down), ws->dx, ws->hidden, R, c->dim, c->ff);
    matmul_backward_input(ws->cx, dhidden, ws->dx, pass->model->parameters + o->down, R, c->dim, c->ff, false);
    k->swiglu_backward(dgate_up, dhidden, a->gate_up, R, c->ff);
    k->rmsnorm_forward(ws->normed, a->ff_inv_rms, a->x_mid, norm, R, c->dim, (float)c->rms_eps);
    project_backward(pass, ws->dnormed, dgate_up, ws->normed, o->gate_up, 2 * c->ff, c->dim);
    k->rmsnorm_backward(ws->dx, gradient_of(pass, o->ff_norm), ws->dnormed, a->x_mid, norm, a->ff_inv_rms, R, c->dim);
}

// ---- all layers --------------------------------------------------------------------------------------------------------------

void model_forward(const Model *model, const PackedModel *packed, Workspace *ws)
{
    Pass pass = {.model = model, .packed = packed, .ws = ws};
    ws->cx->k->gather_rows(ws->layers[0].x, model->parameters + model->embedding, ws->ids, ws->rows, model->config.dim);
    for (size_t l = 0; l < model->config.layers; l++) {
        attention_block_forward(&pass, l);
        feed_forward_block_forward(&pass, l);
    }
}

void model_backward(const Model *model, float *gradient, Workspace *ws)
{
    Pass pass = {.model = model, .ws = ws, .gradient = gradient};
    for (size_t l = model->config.layers; l-- > model->lowest_trained;) {
        feed_forward_block_backward(&pass, l);
        attention_block_backward(&pass, l);
    }
}
