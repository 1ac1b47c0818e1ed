// SPDX-License-Identifier: MIT
/* model.h - a Llama-architecture transformer: tensors, forward pass, backward pass.
 *
 *     Model model;
 *     if (model_init(&model, &config, &err)) return -1;               // zeroed parameters
 *     model_randomise(&model, seed);                                  // or checkpoint_load (files/checkpoint.h)
 *     Workspace ws;
 *     if (workspace_init(&ws, &model, &cx, rows, sequences, true, &err)) return -1;
 *     batch_clear(&ws);  batch_add(&ws, ids, n);  ...                 // a ragged batch: sequence after sequence, no padding
 *     model_forward(&model, NULL, &ws);                               // ws.x: the residual stream after the last layer
 *     ... a head (loss.h) reads ws.x and writes ws.dx ...
 *     model_backward(&model, gradient, &ws);
 *
 * Architecture: token embedding (tied or untied), RMSNorm, RoPE in rotate-half form, grouped-query attention, SwiGLU, no
 * biases (Touvron et al. 2023; the tensor names are Hugging Face's). R rows, D = dim, H heads of hd, G kv heads, F = ff.
 */
#ifndef RAFT_MODEL_H
#define RAFT_MODEL_H

#include "base/os.h"
#include "kernels/kernels.h"

typedef enum { ROPE_DEFAULT, ROPE_LINEAR, ROPE_LLAMA3 } RopeType;
typedef enum { HEAD_LM, HEAD_SCORE } HeadKind;      // next-token logits, or one number per sequence
typedef enum { POOL_LAST, POOL_MEAN } ScorePooling; // what a score head reads: the last real token, or the mean over all tokens

typedef struct {
    size_t vocab, dim, layers, heads, kv_heads, head_dim, ff;
    size_t context;                  // max_position_embeddings: no sequence is longer
    double rms_eps, rope_theta;
    RopeType rope_type;
    double rope_factor, rope_low, rope_high; // linear: factor; llama3: all three
    size_t rope_original_context;            // llama3
    bool tied;                       // lm_head is the embedding
    HeadKind head;
    bool value_head;                 // HEAD_LM: one number a token besides, for PPO (TRL's v_head.summary)
    ScorePooling pooling;            // HEAD_SCORE
    int64_t bos, eos, pad;           // token ids, -1 when the model has none
} ModelConfig;

// One row of the table that drives allocation, initialisation, load, save, AdamW, traces and tests.
typedef struct {
    char name[96];          // Hugging Face's, "model.layers.3.mlp.up_proj.weight"
    size_t offset;          // floats from the start of the parameters; q|k|v and gate|up are neighbours, read as one matrix
    size_t rows, cols;      // rows == 1 and dims == 1: a vector of cols
    size_t dims;            // 1 or 2, as in the file
    bool decay;             // weight decay applies (matrices)
    bool frozen;            // not trained: no gradient, no optimizer state
    size_t place;           // of its gradient: floats from the start of what is trained
    float init_std;         // normal with this deviation; 0: all ones (norm weights); below 0: zeros (a value head)
} Tensor;

typedef struct {
    size_t norm, qkv, out;             // offsets: [D], [(H+2G)*hd, D], [D, H*hd]
    size_t ff_norm, gate_up, down;     // [D], [2F, D], [D, F]
} LayerOffsets;

typedef struct {
    ModelConfig config;
    Tensor *tensors;
    size_t tensor_count, parameter_count;
    size_t trained_count;              // floats of a gradient; parameter_count unless something is frozen
    size_t lowest_trained;             // the backward pass ends with this layer; 0: with the embedding
    float *parameters;                 // [parameter_count]
    OsMap map;                         // the checkpoint file they lie in, until they are changed; empty: in memory of their own
    LayerOffsets *layers;              // [config.layers]
    size_t embedding, norm, head;      // offsets: [V,D], [D], [V,D] or [1,D]; head == embedding when tied
    size_t value;                      // offset: [1,D] and the bias behind it, the last of all; with config.value_head
    float *rope_cos, *rope_sin;        // [context, hd/2]
} Model;

int model_check_config(const ModelConfig *config, const char *where, Err *err); // sizes usable and consistent; status 2
int model_init(Model *model, const ModelConfig *config, Err *err);
int model_init_table(Model *model, const ModelConfig *config, Err *err); // everything but the parameters, which are NULL
void model_free(Model *model);
int model_copy(Model *copy, const Model *model, Err *err);           // an independent copy
bool model_equal(const Model *a, const Model *b);                    // every bit of weights and angles; a value head may differ
int model_add_value_head(Model *model, Err *err);                    // zeros; nothing changes when there is one already
// From now on only layers first to last are trained, and a score or value head; the embedding, final norm and next-token head are not.
void model_freeze(Model *model, size_t first, size_t last);
// Where the gradient of the tensor at this offset begins in gradient[trained_count]; NULL: it is frozen.
float *model_gradient(const Model *model, float *gradient, size_t offset);
// What is trained, tensor after tensor as in a gradient: [trained_count] out of the model, or back into it.
void model_take_trained(const Model *model, float *values);
void model_put_trained(Model *model, const float *values);
void model_drop_value_head(Model *model);                            // for programs that know of none
void model_randomise(Model *model, uint64_t seed);                   // STREAM_INIT; c0 = block of 4, c2 = tensor
const Tensor *model_find(const Model *model, const char *name);      // NULL when absent
size_t model_flops_per_token(const ModelConfig *config, size_t keys); // forward pass: 2 a weight met, attention to `keys` keys

// Weights in the layout the matmul kernel reads, valid until a parameter changes: made once a sampling phase.
typedef struct { float **qkv, **out, **gate_up, **down, *head; float *data; } PackedModel;
int packed_init(PackedModel *packed, const Model *model, const Compute *cx, Err *err);
void packed_update(PackedModel *packed, const Model *model, const Compute *cx);
void packed_free(PackedModel *packed);

// ---- a ragged batch and everything a pass over it needs -------------------------------------------------------------------

typedef struct { // what the backward pass reads again
    float *x;         // [R,D] input of the layer
    float *inv_rms;   // [R] of the attention norm
    float *qkv;       // [R,(H+2G)*hd] after RoPE
    float *attention; // [R,H*hd]
    float *stats;     // [R,H,2] softmax max and sum
    float *x_mid;     // [R,D] after the attention block (== x when not training)
    float *ff_inv_rms; // [R]
    float *gate_up;   // [R,2F]
} LayerActivations;

typedef struct {
    const Compute *cx;
    bool training;
    size_t max_rows, max_sequences;
    // the batch
    size_t rows, sequences;
    uint32_t *ids, *position;  // [R]
    AttentionSpan *spans;      // [sequences]
    // keys and values of sequences added by batch_add
    float *page_data;          // [max_pages, page_floats]
    float **page_list;         // spans[].pages point into it
    size_t page_floats, max_pages, pages_used;
    // activations
    // When training one for each trained layer and those above, and one that the others share; otherwise a single one.
    LayerActivations *layers;
    size_t saved_from;         // the lowest layer with activations of its own; config.layers: none
    float *x;                  // [R,D] residual stream after the last layer, before the final norm
    float *normed, *hidden;    // [R,D], [R,F]
    float *pack;               // a block's two matrices in the layout that the matmul kernel reads
    float *dx;                 // training: [R,D] gradient of x, then of the embedded input
    float *dqkv, *dattention, *dnormed, *dhidden; // [R,(H+2G)*hd], [R,H*hd], [R,D], [R,F]
    float *attention_scratch;
    size_t attention_scratch_stride;
    float *data;
} Workspace;

// Room for max_rows tokens in max_sequences sequences; training also saves activations and holds gradients of them.
int workspace_init(Workspace *ws, const Model *model, const Compute *cx, size_t max_rows, size_t max_sequences, bool training, Err *err);
void workspace_free(Workspace *ws);
size_t model_page_floats(const ModelConfig *config); // one page of 16 positions, all layers

void batch_clear(Workspace *ws);
bool batch_fits(const Workspace *ws, size_t n);                          // another sequence of n tokens
void batch_add(Workspace *ws, const uint32_t *ids, size_t n);            // a whole sequence, its pages in the workspace
// n tokens that continue a sequence of `past` tokens whose pages the caller keeps (sample.h's KV cache).
void batch_continue(Workspace *ws, const uint32_t *ids, size_t n, size_t past, float *const *pages);

void model_forward(const Model *model, const PackedModel *packed, Workspace *ws); // packed may be NULL
// Accumulates into gradient[trained_count]; reads ws->dx, leaves there the gradient of the lowest trained layer's input, which is the
// embedded one when nothing is frozen (see train.h).
void model_backward(const Model *model, float *gradient, Workspace *ws);

#endif
