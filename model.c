// SPDX-License-Identifier: MIT
/* model.c - what a model consists of: its tensor table, parameters, RoPE tables, packed weights, and the room for a pass.
 *
 * Knows nothing of files, losses or sampling. The arithmetic of a layer is in layers.c; start reading at list_tensors().
 */
#include "model.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "kernels/hostmath.h"
#include "kernels/matmul.h"
#include "kernels/philox.h"

enum { MOST_ROPE_FLOATS = 1 << 26 }; // 256 MB of cosines and sines; 131072 positions with head_dim 128 take a quarter of it

// ---- configuration --------------------------------------------------------------------------------------------------------

int model_check_config(const ModelConfig *c, const char *where, Err *err)
{
    const struct { const char *name; size_t value, most; } sizes[] = {
        {"vocab_size", c->vocab, 1u << 24},           {"hidden_size", c->dim, 1u << 16},
        {"num_hidden_layers", c->layers, 4096},       {"num_attention_heads", c->heads, 4096},
        {"num_key_value_heads", c->kv_heads, 4096},   {"head_dim", c->head_dim, 256},
        {"intermediate_size", c->ff, 1u << 20},       {"max_position_embeddings", c->context, 1u << 20}, // RoPE's angles: host_cos
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].most)
            return err_input(err, "%s: %s must be 1 to %zu, found %zu", where, sizes[i].name, sizes[i].most, sizes[i].value);
    if (c->context > MOST_ROPE_FLOATS / c->head_dim) // computed for all positions when a model is made
        return err_input(err, "%s: RoPE tables of %zu positions with head_dim %zu would be too large", where, c->context, c->head_dim);
    if (c->heads % c->kv_heads)
        return err_input(err, "%s: num_attention_heads (%zu) must be a multiple of num_key_value_heads (%zu)", where, c->heads, c->kv_heads);
    if (c->head_dim % 2) return err_input(err, "%s: head_dim must be even for RoPE, found %zu", where, c->head_dim);
    if (!(c->rms_eps > 0 && c->rms_eps < 1)) return err_input(err, "%s: rms_norm_eps must be between 0 and 1, found %g", where, c->rms_eps);
    if (!(c->rope_theta >= 1 && c->rope_theta <= 1e12)) return err_input(err, "%s: rope_theta must be 1 to 1e12, found %g", where, c->rope_theta);
    const int64_t special[] = {c->bos, c->eos, c->pad};
    for (size_t i = 0; i < 3; i++)
        if (special[i] < -1 || special[i] >= (int64_t)c->vocab)
            return err_input(err, "%s: a special token id (%lld) is outside the vocabulary of %zu", where, (long long)special[i], c->vocab);
    return 0;
}

size_t model_flops_per_token(const ModelConfig *c, size_t keys)
{
    size_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    size_t layer = 2 * c->dim * (2 * q + 2 * kv) + 6 * c->dim * c->ff + 4 * q * keys;
    return c->layers * layer + (c->head == HEAD_LM ? 2 * c->vocab * c->dim : 2 * c->dim);
}

// ---- the tensor table -----------------------------------------------------------------------------------------------------

static size_t add_tensor(Model *model, size_t rows, size_t cols, float init_std, const char *format, size_t layer)
{
    Tensor *t = model->tensors + model->tensor_count++;
    size_t offset = model->parameter_count;
    *t = (Tensor){.offset = offset, .rows = rows ? rows : 1, .cols = cols, .dims = rows ? 2 : 1, .decay = rows > 0, .init_std = init_std};
    snprintf(t->name, sizeof t->name, format, layer);
    t->place = offset;
    model->parameter_count += t->rows * t->cols;
    model->trained_count = model->parameter_count;
    return offset;
}

/* The order is the order of computation. q, k, v and gate, up follow each other, so that each group is one matrix to the
 * kernels. Weights start normal(0, 0.02) and those that add to the residual stream smaller by sqrt(2L) (Radford et al. 2019). */
static void list_tensors(Model *model)
{
    const ModelConfig *c = &model->config;
    size_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    float std = 0.02f, residual_std = (float)(0.02 / host_sqrt(2.0 * (double)c->layers));
    model->embedding = add_tensor(model, c->vocab, c->dim, std, "model.embed_tokens.weight", 0);
    for (size_t l = 0; l < c->layers; l++) {
        LayerOffsets *o = model->layers + l;
        o->norm = add_tensor(model, 0, c->dim, 0, "model.layers.%zu.input_layernorm.weight", l);
        o->qkv = add_tensor(model, q, c->dim, std, "model.layers.%zu.self_attn.q_proj.weight", l);
        add_tensor(model, kv, c->dim, std, "model.layers.%zu.self_attn.k_proj.weight", l);
        add_tensor(model, kv, c->dim, std, "model.layers.%zu.self_attn.v_proj.weight", l);
        o->out = add_tensor(model, c->dim, q, residual_std, "model.layers.%zu.self_attn.o_proj.weight", l);
        o->ff_norm = add_tensor(model, 0, c->dim, 0, "model.layers.%zu.post_attention_layernorm.weight", l);
        o->gate_up = add_tensor(model, c->ff, c->dim, std, "model.layers.%zu.mlp.gate_proj.weight", l);
        add_tensor(model, c->ff, c->dim, std, "model.layers.%zu.mlp.up_proj.weight", l);
        o->down = add_tensor(model, c->dim, c->ff, residual_std, "model.layers.%zu.mlp.down_proj.weight", l);
    }
    model->norm = add_tensor(model, 0, c->dim, 0, "model.norm.weight", 0);
    if (c->head == HEAD_SCORE) model->head = add_tensor(model, 1, c->dim, std, "score.weight", 0);
    else if (c->tied) model->head = model->embedding;
    else model->head = add_tensor(model, c->vocab, c->dim, std, "lm_head.weight", 0);
    if (!c->value_head) return;
    model->value = add_tensor(model, 1, c->dim, -1, "v_head.summary.weight", 0);
    add_tensor(model, 0, 1, -1, "v_head.summary.bias", 0);
}

// The frequency of pair i, with the rope_scaling kinds of Hugging Face's modeling_rope_utils ("linear", "llama3").
static float rope_frequency(const ModelConfig *c, size_t i)
{
    double frequency = 1.0 / host_pow(c->rope_theta, 2.0 * (double)i / (double)c->head_dim);
    if (c->rope_type == ROPE_LINEAR) frequency /= c->rope_factor;
    if (c->rope_type == ROPE_LLAMA3) {
        double wavelength = 6.283185307179586 / frequency, original = (double)c->rope_original_context;
        if (wavelength > original / c->rope_low) frequency /= c->rope_factor;
        else if (wavelength >= original / c->rope_high) {
            double smooth = (original / wavelength - c->rope_low) / (c->rope_high - c->rope_low);
            frequency = (1 - smooth) * frequency / c->rope_factor + smooth * frequency;
        }
    }
    return (float)frequency;
}

static void fill_rope_tables(Model *model)
{
    const ModelConfig *c = &model->config;
    size_t half = c->head_dim / 2;
    for (size_t i = 0; i < half; i++) {
        float frequency = rope_frequency(c, i);
        for (size_t p = 0; p < c->context; p++) {
            float angle = (float)p * frequency; // a float product, as in Hugging Face's implementation
            model->rope_cos[p * half + i] = (float)host_cos(angle);
            model->rope_sin[p * half + i] = (float)host_sin(angle);
        }
    }
}

// True when every size that is derived from the configuration fits size_t with room to spare.
static bool sizes_fit(const ModelConfig *c)
{
    size_t per_layer, all, table, product;
    size_t widest = c->ff > c->heads * c->head_dim ? c->ff : c->heads * c->head_dim;
    return size_multiply(c->dim * 8, widest, &per_layer) && size_multiply(per_layer, c->layers, &all) &&
        size_multiply(c->vocab * 2, c->dim, &table) && size_add(all, table, &product) && size_multiply(product, 16, &product) &&
        size_multiply(c->context, c->head_dim, &product);
}

int model_init_table(Model *model, const ModelConfig *config, Err *err)
{
    *model = (Model){.config = *config};
    if (model_check_config(config, "model", err)) return -1;
    if (!sizes_fit(config)) return err_failed(err, "out of memory: a model of these sizes does not fit the address space");
    size_t half_table = config->context * (config->head_dim / 2);
    model->tensors = mem_new(err, 5 + 9 * config->layers, sizeof *model->tensors);
    model->layers = model->tensors ? mem_new(err, config->layers, sizeof *model->layers) : NULL;
    if (model->layers) list_tensors(model);
    model->rope_cos = model->layers ? mem_new(err, half_table, sizeof(float)) : NULL;
    model->rope_sin = model->rope_cos ? mem_new(err, half_table, sizeof(float)) : NULL;
    if (!model->rope_sin) {
        model_free(model);
        return err_prefix(err, "model of %zu layers, dim %zu, vocabulary %zu", config->layers, config->dim, config->vocab);
    }
    fill_rope_tables(model);
    return 0;
}

int model_init(Model *model, const ModelConfig *config, Err *err)
{
    if (model_init_table(model, config, err)) return -1;
    if ((model->parameters = mem_new(err, model->parameter_count, sizeof(float)))) return 0;
    model_free(model);
    return err_prefix(err, "model of %zu layers, dim %zu, vocabulary %zu", config->layers, config->dim, config->vocab);
}

void model_free(Model *model)
{
    mem_free(model->tensors);
    mem_free(model->layers);
    if (model->map.data) os_unmap(&model->map);
    else mem_free(model->parameters);
    mem_free(model->rope_cos);
    mem_free(model->rope_sin);
    *model = (Model){0};
}

int model_copy(Model *copy, const Model *model, Err *err)
{
    if (model_init(copy, &model->config, err)) return -1;
    memcpy(copy->parameters, model->parameters, model->parameter_count * sizeof(float));
    return 0;
}

bool model_equal(const Model *a, const Model *b)
{
    if (a == b) return true;
    const ModelConfig *c = &a->config, *d = &b->config;
    size_t angles = c->context * (c->head_dim / 2) * sizeof(float), count = c->value_head ? a->value : a->parameter_count;
    bool alike = c->vocab == d->vocab && c->dim == d->dim && c->layers == d->layers && c->heads == d->heads && c->kv_heads == d->kv_heads &&
        c->head_dim == d->head_dim && c->ff == d->ff && c->context == d->context && c->tied == d->tied && c->head == d->head &&
        c->pooling == d->pooling && !(c->rms_eps < d->rms_eps) && !(c->rms_eps > d->rms_eps);
    return alike && !memcmp(a->rope_cos, b->rope_cos, angles) && !memcmp(a->rope_sin, b->rope_sin, angles) &&
        !memcmp(a->parameters, b->parameters, count * sizeof(float));
}

// A new model whose table is longer: the head's tensors come last, so that all others keep their places.
int model_add_value_head(Model *model, Err *err)
{
    Model grown;
    ModelConfig config = model->config;
    assert(config.head == HEAD_LM);
    if (config.value_head) return 0;
    config.value_head = true;
    if (model_init(&grown, &config, err)) return -1;
    memcpy(grown.parameters, model->parameters, model->parameter_count * sizeof(float));
    model_free(model);
    *model = grown;
    return 0;
}

static bool is_own_head(const char *name) { return !strncmp(name, "score.", 6) || !strncmp(name, "v_head.", 7); }

void model_freeze(Model *model, size_t first, size_t last)
{
    assert(first <= last && last < model->config.layers);
    model->trained_count = 0;
    model->lowest_trained = first;
    for (size_t i = 0; i < model->tensor_count; i++) {
        Tensor *t = model->tensors + i;
        bool in_layers = t->offset >= model->layers[first].norm && t->offset < model->norm &&
            (last + 1 == model->config.layers || t->offset < model->layers[last + 1].norm);
        t->frozen = !in_layers && !is_own_head(t->name);
        t->place = model->trained_count;
        if (!t->frozen) model->trained_count += t->rows * t->cols;
    }
}

float *model_gradient(const Model *model, float *gradient, size_t offset)
{
    size_t low = 0, high = model->tensor_count; // the table is in order of offsets
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (model->tensors[middle].offset <= offset) low = middle;
        else high = middle;
    }
    const Tensor *t = model->tensors + low;
    return t->frozen ? NULL : gradient + t->place + (offset - t->offset);
}

void model_take_trained(const Model *model, float *values)
{
    for (size_t i = 0; i < model->tensor_count; i++) {
        const Tensor *t = model->tensors + i;
        if (!t->frozen) memcpy(values + t->place, model->parameters + t->offset, t->rows * t->cols * sizeof *values);
    }
}

void model_put_trained(Model *model, const float *values)
{
    for (size_t i = 0; i < model->tensor_count; i++) {
        const Tensor *t = model->tensors + i;
        if (!t->frozen) memcpy(model->parameters + t->offset, values + t->place, t->rows * t->cols * sizeof *values);
    }
}

void model_drop_value_head(Model *model)
{
    if (!model->config.value_head) return;
    model->config.value_head = false;
    model->tensor_count -= 2;
    model->parameter_count -= model->config.dim + 1;
    model->trained_count -= model->config.dim + 1;
}

void model_randomise(Model *model, uint64_t seed)
{
    for (size_t i = 0; i < model->tensor_count; i++) {
        const Tensor *t = model->tensors + i;
        float *values = model->parameters + t->offset;
        size_t n = t->rows * t->cols;
        for (size_t block = 0; block * 4 < n; block++) {
            uint32_t words[4];
            float normals[4];
            philox_draw(words, seed, (PhiloxCounter){.c0 = (uint32_t)block, .c2 = (uint32_t)i, .c3 = philox_stream(STREAM_INIT, 0)});
            philox_normals(normals, words[0], words[1]);
            philox_normals(normals + 2, words[2], words[3]);
            for (size_t j = 0; j < 4 && block * 4 + j < n; j++) values[block * 4 + j] = t->init_std > 0 ? normals[j] * t->init_std : t->init_std < 0 ? 0.0f : 1.0f;
        }
    }
}

const Tensor *model_find(const Model *model, const char *name)
{
    for (size_t i = 0; i < model->tensor_count; i++)
        if (!strcmp(model->tensors[i].name, name)) return model->tensors + i;
    return NULL;
}

// ---- packed weights -------------------------------------------------------------------------------------------------------

// Calls visit for each matrix that a forward pass multiplies with, in the order of computation.
typedef void PackVisit(void *self, float **slot, size_t offset, size_t out, size_t in);
static void each_matrix(PackedModel *packed, const Model *model, PackVisit *visit, void *self)
{
    const ModelConfig *c = &model->config;
    size_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    for (size_t l = 0; l < c->layers; l++) {
        const LayerOffsets *o = model->layers + l;
        visit(self, &packed->qkv[l], o->qkv, q + 2 * kv, c->dim);
        visit(self, &packed->out[l], o->out, c->dim, q);
        visit(self, &packed->gate_up[l], o->gate_up, 2 * c->ff, c->dim);
        visit(self, &packed->down[l], o->down, c->dim, c->ff);
    }
    if (c->head == HEAD_LM) visit(self, &packed->head, model->head, c->vocab, c->dim);
}

typedef struct { const Compute *cx; const Model *model; float *data; size_t floats; } Packing;

static void pack_measure(void *self, float **slot, size_t offset, size_t out, size_t in)
{
    Packing *p = self;
    (void)offset;
    if (p->data) *slot = p->data + p->floats;
    p->floats += (matmul_packed_floats(p->cx, out, in) + 15) / 16 * 16;
}

static void pack_matrix(void *self, float **slot, size_t offset, size_t out, size_t in)
{
    Packing *p = self;
    matmul_pack(p->cx, *slot, p->model->parameters + offset, out, in);
}

int packed_init(PackedModel *packed, const Model *model, const Compute *cx, Err *err)
{
    size_t layers = model->config.layers;
    *packed = (PackedModel){0};
    float ***lists[] = {&packed->qkv, &packed->out, &packed->gate_up, &packed->down};
    for (size_t i = 0; i < 4; i++)
        if (!(*lists[i] = mem_new(err, layers, sizeof(float *)))) return packed_free(packed), -1;
    Packing measure = {.cx = cx, .model = model};
    each_matrix(packed, model, pack_measure, &measure);
    packed->data = mem_new(err, measure.floats, sizeof(float));
    if (!packed->data) return packed_free(packed), err_prefix(err, "packed weights");
    Packing place = {.cx = cx, .model = model, .data = packed->data};
    each_matrix(packed, model, pack_measure, &place);
    return 0;
}

void packed_update(PackedModel *packed, const Model *model, const Compute *cx)
{
    Packing p = {.cx = cx, .model = model};
    each_matrix(packed, model, pack_matrix, &p);
}

void packed_free(PackedModel *packed)
{
    mem_free(packed->qkv);
    mem_free(packed->out);
    mem_free(packed->gate_up);
    mem_free(packed->down);
    mem_free(packed->data);
    *packed = (PackedModel){0};
}

// ---- the room for a pass ----------------------------------------------------------------------------------------------------

size_t model_page_floats(const ModelConfig *c) { return c->layers * c->kv_heads * 2 * PAGE * c->head_dim; }

// Hands out consecutive parts of one block, or only adds up their sizes while there is no block yet.
typedef struct { float *data; size_t used; bool overflow; } Arena;

static float *arena_take(Arena *arena, size_t rows, size_t cols)
{
    size_t n;
    if (!size_multiply(rows, cols, &n) || n > SIZE_MAX / 8 - 16 - arena->used) {
        arena->overflow = true;
        return NULL;
    }
    float *part = arena->data ? arena->data + arena->used : NULL;
    arena->used += (n + 15) / 16 * 16;
    return part;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

// The matrices of a layer's block, [wide,D] and [D,narrow], packed for the forward pass or for the gradients of its inputs.
static size_t block_pack_floats(const ModelConfig *c, const Compute *cx, size_t wide, size_t narrow)
{
    return larger(matmul_packed_floats(cx, wide, c->dim) + matmul_packed_floats(cx, c->dim, narrow),
        matmul_packed_input_floats(cx, wide, c->dim) + matmul_packed_input_floats(cx, c->dim, narrow));
}

static void workspace_lay_out(Workspace *ws, const ModelConfig *c, Arena *arena)
{
    size_t R = ws->max_rows, q = c->heads * c->head_dim, qkv = q + 2 * c->kv_heads * c->head_dim;
    size_t shared = ws->saved_from > 0, count = shared + c->layers - ws->saved_from; // layers[0] is shared, if any layer is not saved
    ws->page_data = arena_take(arena, ws->max_pages, ws->page_floats);
    ws->x = arena_take(arena, R, c->dim);
    for (size_t l = 0; l < count; l++) {
        LayerActivations *a = ws->layers + l;
        bool saved = l >= shared;
        a->x = saved ? arena_take(arena, R, c->dim) : ws->x;
        a->inv_rms = arena_take(arena, R, 1);
        a->qkv = arena_take(arena, R, qkv);
        a->attention = arena_take(arena, R, q);
        a->stats = saved ? arena_take(arena, R, c->heads * 2) : NULL;
        a->x_mid = saved ? arena_take(arena, R, c->dim) : ws->x;
        a->ff_inv_rms = arena_take(arena, R, 1);
        a->gate_up = arena_take(arena, R, 2 * c->ff);
    }
    ws->normed = arena_take(arena, R, c->dim);
    ws->hidden = arena_take(arena, R, c->ff);
    if (ws->training) {
        ws->dx = arena_take(arena, R, c->dim);
        ws->dqkv = arena_take(arena, R, qkv);
        ws->dattention = arena_take(arena, R, q);
        ws->dnormed = arena_take(arena, R, c->dim);
        ws->dhidden = arena_take(arena, R, c->ff);
    }
    ws->pack = arena_take(arena, larger(block_pack_floats(c, ws->cx, qkv, q), block_pack_floats(c, ws->cx, 2 * c->ff, c->ff)), 1);
    ws->attention_scratch = arena_take(arena, ws->cx->threads, ws->attention_scratch_stride);
}

int workspace_init(Workspace *ws, const Model *model, const Compute *cx, size_t max_rows, size_t max_sequences, bool training, Err *err)
{
    const ModelConfig *c = &model->config;
    *ws = (Workspace){.cx = cx, .training = training, .max_rows = max_rows, .max_sequences = max_sequences};
    ws->saved_from = training ? model->lowest_trained : c->layers;
    ws->page_floats = model_page_floats(c);
    ws->max_pages = max_rows / PAGE + max_sequences; // a sequence wastes less than one page
    ws->attention_scratch_stride = (attention_scratch_floats(c->context, c->head_dim) + 15) / 16 * 16;
    ws->layers = mem_new(err, (ws->saved_from > 0) + c->layers - ws->saved_from, sizeof *ws->layers);
    ws->ids = mem_new(err, max_rows, sizeof *ws->ids);
    ws->position = mem_new(err, max_rows, sizeof *ws->position);
    ws->spans = mem_new(err, max_sequences, sizeof *ws->spans);
    ws->page_list = mem_new(err, ws->max_pages, sizeof *ws->page_list);
    if (!ws->layers || !ws->ids || !ws->position || !ws->spans || !ws->page_list) return workspace_free(ws), -1;
    Arena measure = {0};
    workspace_lay_out(ws, c, &measure);
    if (measure.overflow) return workspace_free(ws), err_failed(err, "out of memory: activations of %zu tokens do not fit the address space", max_rows);
    ws->data = mem_new(err, measure.used, sizeof(float));
    if (!ws->data) return workspace_free(ws), err_prefix(err, "activations of %zu tokens", max_rows);
    Arena place = {.data = ws->data};
    workspace_lay_out(ws, c, &place);
    return 0;
}

void workspace_free(Workspace *ws)
{
    mem_free(ws->layers);
    mem_free(ws->ids);
    mem_free(ws->position);
    mem_free(ws->spans);
    mem_free(ws->page_list);
    mem_free(ws->data);
    *ws = (Workspace){0};
}

// ---- a ragged batch ---------------------------------------------------------------------------------------------------------

void batch_clear(Workspace *ws) { ws->rows = ws->sequences = ws->pages_used = 0; }

bool batch_fits(const Workspace *ws, size_t n)
{
    return ws->sequences < ws->max_sequences && n <= ws->max_rows - ws->rows && (n + PAGE - 1) / PAGE <= ws->max_pages - ws->pages_used;
}

void batch_continue(Workspace *ws, const uint32_t *ids, size_t n, size_t past, float *const *pages)
{
    assert(ws->sequences < ws->max_sequences && n <= ws->max_rows - ws->rows);
    ws->spans[ws->sequences++] = (AttentionSpan){.row = ws->rows, .queries = n, .past = past, .pages = pages};
    memcpy(ws->ids + ws->rows, ids, n * sizeof *ids);
    for (size_t i = 0; i < n; i++) ws->position[ws->rows + i] = (uint32_t)(past + i);
    ws->rows += n;
}

void batch_add(Workspace *ws, const uint32_t *ids, size_t n)
{
    assert(batch_fits(ws, n));
    float **pages = ws->page_list + ws->pages_used;
    for (size_t i = 0; i < (n + PAGE - 1) / PAGE; i++) {
        pages[i] = ws->page_data + ws->pages_used * ws->page_floats;
        ws->pages_used++;
    }
    batch_continue(ws, ids, n, 0, pages);
}
