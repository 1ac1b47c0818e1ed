// SPDX-License-Identifier: MIT
/* layers.c - a transformer layer: each block's forward pass beside its backward pass, and the two loops over layers.
 *
 * Shapes: R rows, D = dim, Q = heads * head_dim, KV = kv_heads * head_dim, F = ff. The norms' outputs and the activated
 * hidden layer are not kept: the backward pass computes them again, which costs a row pass and saves R * (2D + F) floats a
 * layer.
 *
 * Between two attentions every row goes its own way, so a batch of many rows is dealt out in shares: a thread takes some rows
 * through norm, products and activation while they are in its cache, instead of all threads taking all rows through one kernel
 * after the other. Weights' gradients sum over rows: they stay products of the whole batch. Start reading at in_shares.
 */
#include "layers.h"

#include <string.h>

#include "kernels/hostmath.h"
#include "kernels/matmul.h"
#include "kernels/strict.h"
#include "observe.h"

#ifdef _OPENMP
#include <omp.h>
#define OMP(directive) _Pragma(#directive)
#else
#define OMP(directive)
#endif

LayerActivations *layer_activations(const Workspace *ws, size_t layer)
{
    size_t from = ws->saved_from;
    return ws->layers + (layer < from ? 0 : (from > 0) + layer - from);
}

static LayerActivations *activations(const Pass *pass, size_t layer) { return layer_activations(pass->ws, layer); }

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

static AttentionScratch attention_scratch(const Workspace *ws)
{
    return (AttentionScratch){ws->attention_scratch, ws->attention_scratch_stride, ws->cx->threads};
}

// ---- shares of rows ----------------------------------------------------------------------------------------------------------

enum {
    SHARE_ROWS = 108,      // at most: as many whole tiles as use a packed panel often enough, while a row's values stay near
    DECODED_ROWS = 160,    // at most in a share that goes through all layers: the more, the less often weights are read
    LEAST_SHARE_ROWS = 64, // with fewer all threads go through the kernels together: each would read all weights for little
};

typedef struct { const float *wide, *narrow; } BlockPack; // a block's first and last matrix as the matmul kernel reads them

typedef struct {
    size_t layer, first, rows, thread;
    size_t slot;            // first row of what only this share reads: a place in the thread's cache, or its own rows
    BlockPack w;            // NULL: the matrices are read where they are
} Share;

typedef void ShareWork(const Pass *pass, const Share *share);

// Rows of a share, no more than `most`; 0: the batch is not divided. Who watches sees whole buffers, so a watched batch is not.
static size_t cut_rows(const Pass *pass, size_t most)
{
    const Workspace *ws = pass->ws;
    size_t threads = ws->cx->threads;
    if (ws->cx->observer || ws->cx->backend != MATMUL_OWN || ws->rows < LEAST_SHARE_ROWS * threads) return 0;
    size_t shares = (ws->rows + most * threads - 1) / (most * threads) * threads; // as many for each thread
    return (ws->rows + shares - 1) / shares;
}

static size_t share_rows(const Pass *pass) { return cut_rows(pass, SHARE_ROWS); }

static void in_shares_of(const Pass *pass, size_t rows, size_t layer, const BlockPack *w, ShareWork *work)
{
    const Workspace *ws = pass->ws;
    size_t shares = rows ? (ws->rows + rows - 1) / rows : 1;
    if (shares == 1) {
        work(pass, &(Share){.layer = layer, .rows = ws->rows, .w = *w});
        return;
    }
    OMP(omp parallel num_threads((int)ws->cx->threads))
    {
        size_t thread = 0;
#ifdef _OPENMP
        thread = (size_t)omp_get_thread_num();
#endif
        fp_strict();
        OMP(omp for schedule(dynamic))
        for (size_t i = 0; i < shares; i++) {
            size_t first = i * rows;
            Share share = {.layer = layer, .first = first, .rows = rows, .thread = thread, .slot = shares > ws->cx->threads ? thread * rows : first, .w = *w};
            if (share.first + rows > ws->rows) share.rows = ws->rows - share.first;
            work(pass, &share);
        }
    }
}

static void in_shares(const Pass *pass, size_t layer, const BlockPack *w, ShareWork *work)
{
    in_shares_of(pass, share_rows(pass), layer, w, work);
}

// The two matrices of a block: wide [out,D] that it begins with and narrow [D,in] that it ends with, at their offsets.
typedef struct { size_t wide, wide_rows, narrow, narrow_columns; } Matrices;

static Matrices attention_matrices(const Pass *pass, size_t layer)
{
    const ModelConfig *c = &pass->model->config;
    const LayerOffsets *o = pass->model->layers + layer;
    return (Matrices){o->qkv, (c->heads + 2 * c->kv_heads) * c->head_dim, o->out, c->heads * c->head_dim};
}

static Matrices feed_forward_matrices(const Pass *pass, size_t layer)
{
    const LayerOffsets *o = pass->model->layers + layer;
    return (Matrices){o->gate_up, 2 * pass->model->config.ff, o->down, pass->model->config.ff};
}

// Shares read packed matrices, which are packed once for all of them; a batch that is not divided packs as it goes.
static BlockPack pack_forward(const Pass *pass, Matrices m)
{
    const Compute *cx = pass->ws->cx;
    size_t D = pass->model->config.dim;
    float *wide = pass->ws->pack, *narrow = wide + matmul_packed_floats(cx, m.wide_rows, D);
    if (!share_rows(pass)) return (BlockPack){0};
    matmul_pack(cx, wide, pass->model->parameters + m.wide, m.wide_rows, D);
    matmul_pack(cx, narrow, pass->model->parameters + m.narrow, D, m.narrow_columns);
    return (BlockPack){wide, narrow};
}

static BlockPack pack_backward(const Pass *pass, Matrices m)
{
    const Compute *cx = pass->ws->cx;
    size_t D = pass->model->config.dim;
    float *wide = pass->ws->pack, *narrow = wide + matmul_packed_input_floats(cx, m.wide_rows, D);
    if (!share_rows(pass)) return (BlockPack){0};
    matmul_pack_input(cx, wide, pass->model->parameters + m.wide, m.wide_rows, D);
    matmul_pack_input(cx, narrow, pass->model->parameters + m.narrow, D, m.narrow_columns);
    return (BlockPack){wide, narrow};
}

// y[rows,out] (+)= x[rows,in] W^T
static void project(const Pass *pass, const Share *s, float *y, const float *x, size_t weight, const float *packed, size_t out, size_t in, bool accumulate)
{
    const Compute *cx = pass->ws->cx;
    if (packed) matmul_forward_packed(cx, y, x, packed, s->rows, out, in, accumulate);
    else matmul_forward(cx, y, x, pass->model->parameters + weight, s->rows, out, in, accumulate);
}

// dx[rows,in] = dy[rows,out] W
static void project_back(const Pass *pass, const Share *s, float *dx, const float *dy, size_t weight, const float *packed, size_t out, size_t in)
{
    const Compute *cx = pass->ws->cx;
    if (packed) matmul_backward_input_packed(cx, dx, dy, packed, s->rows, out, in, false);
    else matmul_backward_input(cx, dx, dy, pass->model->parameters + weight, s->rows, out, in, false);
}

// dW[out,in] += dy^T x over all rows, unless W is frozen
static void weight_gradient(const Pass *pass, size_t weight, const float *dy, const float *x, size_t out, size_t in)
{
    float *dweight = gradient_of(pass, weight);
    if (dweight) matmul_backward_weight(pass->ws->cx, dweight, dy, x, pass->ws->rows, out, in);
}

static void rotate(const Pass *pass, const Share *s, float *qkv, bool inverse)
{
    const ModelConfig *c = &pass->model->config;
    const Workspace *ws = pass->ws;
    size_t width = (c->heads + 2 * c->kv_heads) * c->head_dim; // q and k heads are neighbours in a row: one call rotates both
    ws->cx->k->rope_rotate(qkv + s->first * width, width, pass->model->rope_cos, pass->model->rope_sin, ws->position + s->first, s->rows,
        c->heads + c->kv_heads, c->head_dim, inverse);
}

// y = norm(x) of the share's rows; x and inv_rms are those of the whole batch
static void norm(const Pass *pass, const Share *s, float *y, float *inv_rms, const float *x, size_t weight)
{
    size_t D = pass->model->config.dim;
    pass->ws->cx->k->rmsnorm_forward(y, inv_rms + s->first, x + s->first * D, pass->model->parameters + weight, s->rows, D,
        (float)pass->model->config.rms_eps);
}

// ---- attention ---------------------------------------------------------------------------------------------------------------

static void queries_keys_values(const Pass *pass, const Share *s)
{
    const ModelConfig *c = &pass->model->config;
    const LayerOffsets *o = pass->model->layers + s->layer;
    LayerActivations *a = activations(pass, s->layer);
    size_t width = (c->heads + 2 * c->kv_heads) * c->head_dim;
    float *normed = pass->ws->normed + s->slot * c->dim;
    norm(pass, s, normed, a->inv_rms, a->x, o->norm);
    project(pass, s, a->qkv + s->first * width, normed, o->qkv, s->w.wide, width, c->dim, false);
    rotate(pass, s, a->qkv, false);
}

static void attention_output(const Pass *pass, const Share *s)
{
    const ModelConfig *c = &pass->model->config;
    LayerActivations *a = activations(pass, s->layer);
    size_t Q = c->heads * c->head_dim, at = s->first * c->dim;
    if (a->x_mid != a->x) memcpy(a->x_mid + at, a->x + at, s->rows * c->dim * sizeof(float));
    project(pass, s, a->x_mid + at, a->attention + s->first * Q, pass->model->layers[s->layer].out, s->w.narrow, c->dim, Q, true);
}

// Keys and values into their pages, then every query of some sequences to all that its sequence holds.
static void attend(const Pass *pass, size_t layer, const AttentionSpan *spans, size_t count, AttentionScratch scratch)
{
    const ModelConfig *c = &pass->model->config;
    const Kernels *k = pass->ws->cx->k;
    LayerActivations *a = activations(pass, layer);
    size_t Q = c->heads * c->head_dim, KV = c->kv_heads * c->head_dim;
    AttentionShape shape = attention_shape(c, layer);
    k->attention_store(a->qkv + Q, a->qkv + Q + KV, spans, count, &shape);
    k->attention_forward(a->attention, a->stats, a->qkv, spans, count, &shape, scratch);
}

void attention_block_forward(const Pass *pass, size_t layer)
{
    Workspace *ws = pass->ws;
    const PackedModel *p = pass->packed;
    BlockPack w = p ? (BlockPack){p->qkv[layer], p->out[layer]} : pack_forward(pass, attention_matrices(pass, layer));

    in_shares(pass, layer, &w, queries_keys_values);
    attend(pass, layer, ws->spans, ws->sequences, attention_scratch(ws));
    in_shares(pass, layer, &w, attention_output);
}

static void attention_output_back(const Pass *pass, const Share *s)
{
    const ModelConfig *c = &pass->model->config;
    size_t Q = c->heads * c->head_dim;
    project_back(pass, s, pass->ws->dattention + s->first * Q, pass->ws->dx + s->first * c->dim, pass->model->layers[s->layer].out, s->w.narrow, c->dim, Q);
}

static void queries_keys_values_back(const Pass *pass, const Share *s)
{
    const ModelConfig *c = &pass->model->config;
    const LayerOffsets *o = pass->model->layers + s->layer;
    LayerActivations *a = activations(pass, s->layer);
    Workspace *ws = pass->ws;
    size_t width = (c->heads + 2 * c->kv_heads) * c->head_dim;
    rotate(pass, s, ws->dqkv, true);
    norm(pass, s, ws->normed + s->first * c->dim, a->inv_rms, a->x, o->norm);
    project_back(pass, s, ws->dnormed + s->first * c->dim, ws->dqkv + s->first * width, o->qkv, s->w.wide, width, c->dim);
}

void attention_block_backward(const Pass *pass, size_t layer)
{
    const ModelConfig *c = &pass->model->config;
    const LayerOffsets *o = pass->model->layers + layer;
    const Kernels *k = pass->ws->cx->k;
    Workspace *ws = pass->ws;
    LayerActivations *a = activations(pass, layer);
    size_t Q = c->heads * c->head_dim, KV = c->kv_heads * c->head_dim;
    AttentionShape shape = attention_shape(c, layer);
    BlockPack w = pack_backward(pass, attention_matrices(pass, layer));

    in_shares(pass, layer, &w, attention_output_back);
    weight_gradient(pass, o->out, ws->dx, a->attention, c->dim, Q);
    k->attention_backward(ws->dqkv, ws->dqkv + Q, ws->dqkv + Q + KV, ws->dattention, a->attention, a->stats, a->qkv, ws->spans,
        ws->sequences, &shape, attention_scratch(ws));
    in_shares(pass, layer, &w, queries_keys_values_back);
    weight_gradient(pass, o->qkv, ws->dqkv, ws->normed, Q + 2 * KV, c->dim);
    k->rmsnorm_backward(ws->dx, gradient_of(pass, o->norm), ws->dnormed, a->x, pass->model->parameters + o->norm, a->inv_rms, ws->rows, c->dim);
}

// ---- feed-forward ------------------------------------------------------------------------------------------------------------

static void feed_forward(const Pass *pass, const Share *s)
{
    const ModelConfig *c = &pass->model->config;
    const LayerOffsets *o = pass->model->layers + s->layer;
    LayerActivations *a = activations(pass, s->layer);
    float *x_out = layer_output(pass, s->layer), *normed = pass->ws->normed + s->slot * c->dim, *hidden = pass->ws->hidden + s->slot * c->ff;
    float *gate_up = a->gate_up + (pass->ws->training ? s->first : s->slot) * 2 * c->ff;
    size_t at = s->first * c->dim;
    norm(pass, s, normed, a->ff_inv_rms, a->x_mid, o->ff_norm);
    project(pass, s, gate_up, normed, o->gate_up, s->w.wide, 2 * c->ff, c->dim, false);
    pass->ws->cx->k->swiglu_forward(hidden, gate_up, s->rows, c->ff);
    if (x_out != a->x_mid) memcpy(x_out + at, a->x_mid + at, s->rows * c->dim * sizeof(float));
    project(pass, s, x_out + at, hidden, o->down, s->w.narrow, c->dim, c->ff, true);
}

void feed_forward_block_forward(const Pass *pass, size_t layer)
{
    const PackedModel *p = pass->packed;
    BlockPack w = p ? (BlockPack){p->gate_up[layer], p->down[layer]} : pack_forward(pass, feed_forward_matrices(pass, layer));
    in_shares(pass, layer, &w, feed_forward);
}

// hidden and normed again, for the weights' gradients; gate and up are overwritten by their gradients once they were read.
static void feed_forward_back(const Pass *pass, const Share *s)
{
    const ModelConfig *c = &pass->model->config;
    const LayerOffsets *o = pass->model->layers + s->layer;
    const Kernels *k = pass->ws->cx->k;
    LayerActivations *a = activations(pass, s->layer);
    Workspace *ws = pass->ws;
    size_t at = s->first * c->dim;
    float *gate_up = a->gate_up + s->first * 2 * c->ff, *dhidden = ws->dhidden + s->slot * c->ff;
    k->swiglu_forward(ws->hidden + s->first * c->ff, gate_up, s->rows, c->ff);
    project_back(pass, s, dhidden, ws->dx + at, o->down, s->w.narrow, c->dim, c->ff);
    k->swiglu_backward(gate_up, dhidden, gate_up, s->rows, c->ff);
    norm(pass, s, ws->normed + at, a->ff_inv_rms, a->x_mid, o->ff_norm);
    project_back(pass, s, ws->dnormed + at, gate_up, o->gate_up, s->w.wide, 2 * c->ff, c->dim);
}

void feed_forward_block_backward(const Pass *pass, size_t layer)
{
    const ModelConfig *c = &pass->model->config;
    const LayerOffsets *o = pass->model->layers + layer;
    Workspace *ws = pass->ws;
    LayerActivations *a = activations(pass, layer);
    BlockPack w = pack_backward(pass, feed_forward_matrices(pass, layer));

    in_shares(pass, layer, &w, feed_forward_back);
    weight_gradient(pass, o->down, ws->dx, ws->hidden, c->dim, c->ff);
    weight_gradient(pass, o->gate_up, a->gate_up, ws->normed, 2 * c->ff, c->dim);
    ws->cx->k->rmsnorm_backward(ws->dx, gradient_of(pass, o->ff_norm), ws->dnormed, a->x_mid, pass->model->parameters + o->ff_norm, a->ff_inv_rms,
        ws->rows, c->dim);
}

// ---- all layers --------------------------------------------------------------------------------------------------------------

/* While many sequences are decoded, a token each, no row waits for another: a share goes through all layers, and threads meet once a
 * token instead of five times a layer. Each share reads all weights, so there are few of them. */
static size_t decoded_rows(const Pass *pass) // of a share; 0: the pass goes block by block
{
    const Workspace *ws = pass->ws;
    size_t rows = cut_rows(pass, DECODED_ROWS);
    if (!pass->packed || rows == ws->rows) return 0;
    for (size_t i = 0; i < ws->sequences; i++)
        if (ws->spans[i].queries != 1) return 0;
    return rows;
}

static void decode(const Pass *pass, const Share *share)
{
    const Workspace *ws = pass->ws;
    const PackedModel *p = pass->packed;
    AttentionScratch scratch = {ws->attention_scratch + share->thread * ws->attention_scratch_stride, ws->attention_scratch_stride, 1};
    Share s = *share;
    for (s.layer = 0; s.layer < pass->model->config.layers; s.layer++) {
        s.w = (BlockPack){p->qkv[s.layer], p->out[s.layer]};
        queries_keys_values(pass, &s);
        attend(pass, s.layer, ws->spans + s.first, s.rows, scratch); // one row a sequence
        attention_output(pass, &s);
        s.w = (BlockPack){p->gate_up[s.layer], p->down[s.layer]};
        feed_forward(pass, &s);
    }
}

void model_forward(const Model *model, const PackedModel *packed, Workspace *ws)
{
    Pass pass = {.model = model, .packed = packed, .ws = ws};
    ws->cx->k->gather_rows(ws->layers[0].x, model->parameters + model->embedding, ws->ids, ws->rows, model->config.dim);
    observe_pass(PASS_EMBEDDED, 0, model, ws);
    size_t rows = decoded_rows(&pass);
    if (rows) {
        in_shares_of(&pass, rows, 0, &(BlockPack){0}, decode);
        return;
    }
    for (size_t l = 0; l < model->config.layers; l++) {
        attention_block_forward(&pass, l);
        observe_pass(PASS_ATTENTION, l, model, ws);
        feed_forward_block_forward(&pass, l);
        observe_pass(PASS_FEED_FORWARD, l, model, ws);
    }
}

void model_backward(const Model *model, float *gradient, Workspace *ws)
{
    Pass pass = {.model = model, .ws = ws, .gradient = gradient};
    observe_pass(PASS_HEAD_BACKWARD, 0, model, ws);
    for (size_t l = model->config.layers; l-- > model->lowest_trained;) {
        feed_forward_block_backward(&pass, l);
        observe_pass(PASS_FEED_FORWARD_BACKWARD, l, model, ws);
        attention_block_backward(&pass, l);
        observe_pass(PASS_ATTENTION_BACKWARD, l, model, ws);
    }
}
