// SPDX-License-Identifier: MIT
/* trace.c - writes what a pass or a training step computed, under names that another implementation can look up.
 *
 * Values are copied out of the very buffers that training uses: nothing is computed in another way for the trace.
 */
#include "study/trace.h"

#include <stdio.h>
#include <string.h>

#include "files/safetensors.h"

// ---- a growing set of named tensors ------------------------------------------------------------------------------------------

typedef struct { StOutput *items; size_t count, capacity; } Outputs;

static void outputs_free(Outputs *out)
{
    for (size_t i = 0; i < out->count; i++) {
        mem_free((void *)out->items[i].name);
        mem_free((void *)out->items[i].data);
    }
    mem_free(out->items);
    *out = (Outputs){0};
}

// Copies cols values from each of rows rows, stride floats apart. dims sizes of shape are written.
static int outputs_add(Outputs *out, const char *name, const float *values, size_t rows, size_t cols, size_t stride, size_t dims,
    const size_t *shape, Err *err)
{
    if (out->count == out->capacity) {
        size_t capacity = out->capacity ? 2 * out->capacity : 64;
        StOutput *grown = mem_resize(err, out->items, out->count, capacity, sizeof *grown);
        if (!grown) return -1;
        out->items = grown;
        out->capacity = capacity;
    }
    float *copy = mem_new(err, rows * cols, sizeof *copy);
    char *own_name = copy ? mem_copy_text(err, name) : NULL;
    if (!own_name) {
        mem_free(copy);
        return -1;
    }
    for (size_t r = 0; r < rows; r++) memcpy(copy + r * cols, values + r * stride, cols * sizeof *copy);
    StOutput *item = &out->items[out->count++];
    *item = (StOutput){.name = own_name, .type = ST_F32, .dims = dims, .data = copy};
    memcpy(item->shape, shape, dims * sizeof *shape);
    return 0;
}

// A [1,T,cols] part of a wider matrix of the forward pass.
static int add_rows(Outputs *out, const char *name, const float *values, size_t T, size_t cols, size_t stride, Err *err)
{
    return outputs_add(out, name, values, T, cols, stride, 3, (size_t[]){1, T, cols}, err);
}

// ---- a forward pass ------------------------------------------------------------------------------------------------------------

static int add_layer(Outputs *out, const Model *model, const Workspace *ws, size_t l, Err *err)
{
    const ModelConfig *c = &model->config;
    const LayerActivations *a = ws->layers + l;
    size_t Q = c->heads * c->head_dim, KV = c->kv_heads * c->head_dim, T = ws->rows, D = c->dim, F = c->ff, row = Q + 2 * KV;
    const float *output = l + 1 < c->layers ? ws->layers[l + 1].x : ws->x;
    const struct { const char *name; const float *values; size_t cols, stride; } parts[] = {
        {"q", a->qkv, Q, row},          {"k", a->qkv + Q, KV, row},   {"v", a->qkv + Q + KV, KV, row},
        {"attention", a->attention, Q, Q}, {"attention_residual", a->x_mid, D, D},
        {"gate", a->gate_up, F, 2 * F}, {"up", a->gate_up + F, F, 2 * F}, {"output", output, D, D},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char name[96];
        snprintf(name, sizeof name, "layers.%zu.%s", l, parts[i].name);
        if (add_rows(out, name, parts[i].values, T, parts[i].cols, parts[i].stride, err)) return -1;
    }
    return 0;
}

static int add_head(Outputs *out, const Model *model, const Workspace *ws, LossScratch *scratch, Err *err)
{
    size_t T = ws->rows, V = model->config.vocab, D = model->config.dim;
    if (model->config.head == HEAD_SCORE) {
        float score;
        score_forward(model, ws, scratch, &score);
        return outputs_add(out, "score", &score, 1, 1, 1, 1, (size_t[]){1}, err);
    }
    float *logits = mem_new(err, T * V, sizeof *logits);
    uint32_t *rows = logits ? mem_new(err, T, sizeof *rows) : NULL;
    int status = rows ? 0 : -1;
    if (!status) {
        for (size_t t = 0; t < T; t++) rows[t] = (uint32_t)t;
        lm_logits(model, NULL, ws, scratch, logits, rows, T);
        status = add_rows(out, "norm", scratch->normed, T, D, D, err);
    }
    if (!status) status = add_rows(out, "logits", logits, T, V, V, err);
    mem_free(logits);
    mem_free(rows);
    return status;
}

int trace_forward(const Model *model, const Compute *cx, const uint32_t *ids, size_t n, const char *path, Err *err)
{
    const ModelConfig *c = &model->config;
    Workspace ws;
    LossScratch scratch;
    Outputs out = {0};
    if (n < 1 || n > c->context) return err_input(err, "%zu token ids, but the model takes 1 to %zu", n, c->context);
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= c->vocab) return err_input(err, "token id %u is outside the vocabulary of %zu", (unsigned)ids[i], c->vocab);
    if (workspace_init(&ws, model, cx, n, 1, true, err)) return -1;
    int status = loss_scratch_init(&scratch, model, cx, n, err);
    if (!status) {
        batch_add(&ws, ids, n);
        model_forward(model, NULL, &ws);
        status = add_rows(&out, "embedding", ws.layers[0].x, n, c->dim, c->dim, err);
        for (size_t l = 0; !status && l < c->layers; l++) status = add_layer(&out, model, &ws, l, err);
        if (!status) status = add_head(&out, model, &ws, &scratch, err);
        if (!status) status = safetensors_write(path, out.items, out.count, err);
        loss_scratch_free(&scratch);
    }
    outputs_free(&out);
    workspace_free(&ws);
    return status;
}

// ---- training steps ------------------------------------------------------------------------------------------------------------

int trace_batch_read(TraceBatch *batch, const char *path, Err *err)
{
    Safetensors st;
    *batch = (TraceBatch){0};
    if (safetensors_open(&st, path, err)) return -1;
    const StTensor *ids = safetensors_need(&st, "input_ids", err), *labels = ids ? safetensors_need(&st, "labels", err) : NULL;
    int status = labels ? 0 : -1;
    if (!status && (ids->dims != 2 || labels->dims != 2 || ids->shape[0] != labels->shape[0] || ids->shape[1] != labels->shape[1] || !ids->count))
        status = err_input(err, "%s: input_ids and labels must both be [B,T] of the same, non-zero size", path);
    if (!status) {
        batch->sequences = ids->shape[0];
        batch->length = ids->shape[1];
        batch->ids = mem_new(err, ids->count, sizeof(int64_t));
        batch->labels = batch->ids ? mem_new(err, ids->count, sizeof(int64_t)) : NULL;
        status = batch->labels ? 0 : -1;
    }
    if (!status) status = safetensors_read_i64(&st, ids, batch->ids, ids->count, err);
    if (!status) status = safetensors_read_i64(&st, labels, batch->labels, labels->count, err);
    safetensors_close(&st);
    if (status) trace_batch_free(batch);
    return status;
}

void trace_batch_free(TraceBatch *batch)
{
    mem_free(batch->ids);
    mem_free(batch->labels);
    *batch = (TraceBatch){0};
}

// Examples over ids and targets [B*T]; label -100 is "not counted", as in PyTorch's cross_entropy.
static int make_examples(Example *examples, uint32_t *ids, uint32_t *targets, const TraceBatch *batch, size_t vocab, Err *err)
{
    for (size_t i = 0; i < batch->sequences * batch->length; i++) {
        int64_t id = batch->ids[i], label = batch->labels[i];
        if (id < 0 || (uint64_t)id >= vocab || (label != -100 && (label < 0 || (uint64_t)label >= vocab)))
            return err_input(err, "sequence %zu, token %zu: id %lld or label %lld is outside the vocabulary of %zu (-100: not counted)",
                i / batch->length, i % batch->length, (long long)id, (long long)label, vocab);
        ids[i] = (uint32_t)id;
        targets[i] = label == -100 ? NO_TARGET : (uint32_t)label;
    }
    for (size_t b = 0; b < batch->sequences; b++)
        examples[b] = (Example){.ids = ids + b * batch->length, .targets = targets + b * batch->length, .length = batch->length};
    return 0;
}

// logits [B,T,V] of all positions, from a pass of their own: training computes only those that carry a loss.
static int add_logits(Outputs *out, const Model *model, const Compute *cx, const Example *examples, size_t B, size_t T, Err *err)
{
    size_t V = model->config.vocab;
    Workspace ws;
    LossScratch scratch;
    if (workspace_init(&ws, model, cx, T, 1, false, err)) return -1;
    int status = loss_scratch_init(&scratch, model, cx, T, err);
    float *logits = status ? NULL : mem_new(err, B * T * V, sizeof *logits);
    uint32_t *rows = logits ? mem_new(err, T, sizeof *rows) : NULL;
    if (!rows) status = -1;
    for (size_t t = 0; rows && t < T; t++) rows[t] = (uint32_t)t;
    for (size_t b = 0; !status && b < B; b++) {
        batch_clear(&ws);
        batch_add(&ws, examples[b].ids, T);
        model_forward(model, NULL, &ws);
        lm_logits(model, NULL, &ws, &scratch, logits + b * T * V, rows, T);
    }
    if (!status) status = outputs_add(out, "logits", logits, B * T, V, V, 3, (size_t[]){B, T, V}, err);
    mem_free(rows);
    mem_free(logits);
    loss_scratch_free(&scratch);
    workspace_free(&ws);
    return status;
}

static int add_tensors(Outputs *out, const Model *model, const char *prefix, const float *values, Err *err)
{
    for (size_t i = 0; i < model->tensor_count; i++) {
        const Tensor *t = model->tensors + i;
        char name[128];
        snprintf(name, sizeof name, "%s.%s", prefix, t->name);
        size_t shape[2] = {t->dims == 1 ? t->cols : t->rows, t->cols};
        if (outputs_add(out, name, values + t->offset, t->rows, t->cols, t->cols, t->dims, shape, err)) return -1;
    }
    return 0;
}

static int run_steps(Outputs *out, Model *model, const Compute *cx, const Example *examples, size_t B, const TrainOptions *options, size_t steps, Err *err)
{
    Trainer trainer;
    float *losses = mem_new(err, steps, sizeof *losses), *norms = losses ? mem_new(err, steps, sizeof *norms) : NULL;
    int status = norms ? trainer_init(&trainer, model, cx, options, err) : -1;
    if (!status) {
        for (size_t s = 0; !status && s < steps; s++) {
            StepStats stats;
            status = trainer_gradient(&trainer, examples, B, &stats, err);
            if (!status && s == 0) status = add_tensors(out, model, "grad", trainer.gradient, err);
            if (status) break;
            trainer_update(&trainer, &stats);
            losses[s] = (float)stats.loss;
            norms[s] = (float)stats.grad_norm;
        }
        trainer_free(&trainer);
    }
    if (!status) status = outputs_add(out, "loss", losses, 1, steps, steps, 1, &steps, err);
    if (!status) status = outputs_add(out, "grad_norm", norms, 1, steps, steps, 1, &steps, err);
    if (!status) status = add_tensors(out, model, "after", model->parameters, err);
    mem_free(losses);
    mem_free(norms);
    return status;
}

int trace_step(Model *model, const Compute *cx, const TraceBatch *batch, const TrainOptions *options, size_t steps, const char *path, Err *err)
{
    size_t B = batch->sequences, T = batch->length, n = B * T;
    if (model->config.head != HEAD_LM) return err_input(err, "a step is traced for language models; this checkpoint is a reward model");
    if (T > model->config.context) return err_input(err, "sequences of %zu tokens, but the model's context is %zu", T, model->config.context);
    Outputs out = {0};
    Example *examples = mem_new(err, B, sizeof *examples);
    uint32_t *ids = examples ? mem_new(err, n, sizeof *ids) : NULL, *targets = ids ? mem_new(err, n, sizeof *targets) : NULL;
    int status = targets ? make_examples(examples, ids, targets, batch, model->config.vocab, err) : -1;
    if (!status) status = add_logits(&out, model, cx, examples, B, T, err);
    if (!status) status = run_steps(&out, model, cx, examples, B, options, steps, err);
    if (!status) status = safetensors_write(path, out.items, out.count, err);
    outputs_free(&out);
    mem_free(examples);
    mem_free(ids);
    mem_free(targets);
    return status;
}
