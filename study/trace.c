// SPDX-License-Identifier: MIT
/* trace.c - writes what a pass or a training step computed, under names that another implementation can look up.
 *
 * Values are copied out of the very buffers that training uses (observe.h): nothing is computed in another way for the trace.
 */
#include "study/trace.h"

#include <string.h>

#include "files/safetensors.h"
#include "layers.h"

// ---- what a pass shows ---------------------------------------------------------------------------------------------------------

typedef struct { const char *name; const float *values; size_t cols, stride; } Part;

static void record_parts(Recorder *r, const char *where, size_t layer, const Workspace *ws, const Part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        recorder_rows(r, parts[i].values, ws->rows, parts[i].cols, parts[i].stride, "%slayers.%zu.%s", where, layer, parts[i].name);
}
#define COUNT(array) (sizeof(array) / sizeof *(array))

void trace_record_pass(Recorder *r, PassPoint point, size_t layer, const Model *model, const Workspace *ws)
{
    const ModelConfig *c = &model->config;
    const LayerActivations *a = layer_activations(ws, layer);
    size_t Q = c->heads * c->head_dim, KV = c->kv_heads * c->head_dim, D = c->dim, F = c->ff, row = Q + 2 * KV;
    const float *output = layer + 1 < c->layers ? layer_activations(ws, layer + 1)->x : ws->x;
    switch (point) {
    case PASS_EMBEDDED: recorder_rows(r, a->x, ws->rows, D, D, "embedding"); break;
    case PASS_ATTENTION: {
        const Part parts[] = {{"attention_norm", ws->normed, D, D}, {"q", a->qkv, Q, row}, {"k", a->qkv + Q, KV, row}, {"v", a->qkv + Q + KV, KV, row},
            {"attention", a->attention, Q, Q}, {"attention_residual", a->x_mid, D, D}};
        record_parts(r, "", layer, ws, parts, COUNT(parts));
        break;
    }
    case PASS_FEED_FORWARD: {
        const Part parts[] = {{"ff_norm", ws->normed, D, D}, {"gate", a->gate_up, F, 2 * F}, {"up", a->gate_up + F, F, 2 * F},
            {"hidden", ws->hidden, F, F}, {"output", output, D, D}};
        record_parts(r, "", layer, ws, parts, COUNT(parts));
        break;
    }
    case PASS_HEAD_BACKWARD: recorder_rows(r, ws->dx, ws->rows, D, D, "backward.output"); break;
    case PASS_FEED_FORWARD_BACKWARD: {
        const Part parts[] = {{"up", a->gate_up + F, F, 2 * F}, {"gate", a->gate_up, F, 2 * F}, {"attention_residual", ws->dx, D, D}};
        record_parts(r, "backward.", layer, ws, parts, COUNT(parts));
        break;
    }
    case PASS_ATTENTION_BACKWARD: {
        const Part parts[] = {{"attention", ws->dattention, Q, Q}, {"v", ws->dqkv + Q + KV, KV, row}, {"k", ws->dqkv + Q, KV, row},
            {"q", ws->dqkv, Q, row}, {"input", ws->dx, D, D}};
        record_parts(r, "backward.", layer, ws, parts, COUNT(parts));
        break;
    }
    }
}

static void record_parameter(Recorder *r, const Tensor *t, const float *values, const char *prefix)
{
    const size_t shape[2] = {t->dims == 1 ? t->cols : t->rows, t->cols};
    recorder_tensor(r, values, t->dims, shape, "%s.%s", prefix, t->name);
}

void trace_record_parameters(Recorder *r, const Model *model, const char *prefix)
{
    for (size_t i = 0; i < model->tensor_count; i++)
        record_parameter(r, model->tensors + i, model->parameters + model->tensors[i].offset, prefix);
}

void trace_record_gradients(Recorder *r, const Model *model, const float *gradient)
{
    for (size_t i = model->tensor_count; i-- > 0;) // frozen tensors have none
        if (!model->tensors[i].frozen) record_parameter(r, model->tensors + i, gradient + model->tensors[i].place, "grad");
}

// ---- a forward pass ------------------------------------------------------------------------------------------------------------

static int record_head(Recorder *r, const Model *model, const Workspace *ws, LossScratch *scratch, Err *err)
{
    size_t T = ws->rows, V = model->config.vocab, D = model->config.dim;
    if (model->config.head == HEAD_SCORE) {
        float score;
        score_forward(model, ws, scratch, &score);
        recorder_tensor(r, &score, 1, (size_t[]){1}, "score");
        return 0;
    }
    float *logits = mem_new(err, T * V, sizeof *logits);
    uint32_t *rows = logits ? mem_new(err, T, sizeof *rows) : NULL;
    for (size_t t = 0; rows && t < T; t++) rows[t] = (uint32_t)t;
    if (rows) {
        lm_logits(model, NULL, ws, scratch, logits, rows, T);
        recorder_rows(r, scratch->normed, T, D, D, "norm");
        recorder_rows(r, logits, T, V, V, "logits");
    }
    mem_free(logits);
    mem_free(rows);
    return rows ? 0 : -1;
}

static void on_pass(void *self, PassPoint point, size_t layer, const Model *model, const Workspace *ws)
{
    trace_record_pass(self, point, layer, model, ws);
}

static int record_forward(Recorder *r, const Model *model, const Compute *cx, const uint32_t *ids, size_t n, Err *err)
{
    const Observer observer = {.self = r, .pass = on_pass};
    Compute watched = *cx;
    Workspace ws;
    LossScratch scratch;
    watched.observer = &observer;
    if (workspace_init(&ws, model, &watched, n, 1, true, err)) return -1;
    int status = loss_scratch_init(&scratch, model, cx, n, err);
    if (!status) {
        batch_add(&ws, ids, n);
        model_forward(model, NULL, &ws);
        status = record_head(r, model, &ws, &scratch, err);
        loss_scratch_free(&scratch);
    }
    workspace_free(&ws);
    return status;
}

int trace_forward(const Model *model, const Compute *cx, const uint32_t *ids, size_t n, const char *path, Err *err)
{
    const ModelConfig *c = &model->config;
    Recorder r;
    if (n < 1 || n > c->context) return err_input(err, "%zu token ids, but the model takes 1 to %zu", n, c->context);
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= c->vocab) return err_input(err, "token id %u is outside the vocabulary of %zu", (unsigned)ids[i], c->vocab);
    if (recorder_open(&r, NULL, false, err)) return -1;
    r.single = true;
    int status = record_forward(&r, model, cx, ids, n, err);
    if (!status) status = recorder_end_part(&r, path, err);
    recorder_free(&r);
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
static int record_logits(Recorder *r, const Model *model, const Compute *cx, const Example *examples, size_t B, size_t T, Err *err)
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
    if (!status) recorder_tensor(r, logits, 3, (size_t[]){B, T, V}, "logits");
    mem_free(rows);
    mem_free(logits);
    loss_scratch_free(&scratch);
    workspace_free(&ws);
    return status;
}

static int run_steps(Recorder *r, Model *model, const Compute *cx, const Example *examples, size_t B, const TrainOptions *options, size_t steps, Err *err)
{
    Trainer trainer;
    float *losses = mem_new(err, steps, sizeof *losses), *norms = losses ? mem_new(err, steps, sizeof *norms) : NULL;
    int status = norms ? trainer_init(&trainer, model, cx, options, err) : -1;
    if (!status) {
        for (size_t s = 0; !status && s < steps; s++) {
            StepStats stats;
            status = trainer_gradient(&trainer, examples, B, &stats, err);
            if (!status && s == 0) trace_record_gradients(r, model, trainer.gradient);
            if (status) break;
            trainer_update(&trainer, &stats);
            losses[s] = (float)stats.loss;
            norms[s] = (float)stats.grad_norm;
        }
        trainer_free(&trainer);
    }
    if (!status) {
        recorder_tensor(r, losses, 1, &steps, "loss");
        recorder_tensor(r, norms, 1, &steps, "grad_norm");
        trace_record_parameters(r, model, "after");
    }
    mem_free(losses);
    mem_free(norms);
    return status;
}

int trace_step(Model *model, const Compute *cx, const TraceBatch *batch, const TrainOptions *options, size_t steps, const char *path, Err *err)
{
    size_t B = batch->sequences, T = batch->length, n = B * T;
    if (model->config.head != HEAD_LM) return err_input(err, "a step is traced for language models; this checkpoint is a reward model");
    if (T > model->config.context) return err_input(err, "sequences of %zu tokens, but the model's context is %zu", T, model->config.context);
    Recorder r = {0};
    Example *examples = mem_new(err, B, sizeof *examples);
    uint32_t *ids = examples ? mem_new(err, n, sizeof *ids) : NULL, *targets = ids ? mem_new(err, n, sizeof *targets) : NULL;
    int status = targets ? make_examples(examples, ids, targets, batch, model->config.vocab, err) : -1;
    if (!status) status = record_logits(&r, model, cx, examples, B, T, err);
    if (!status) status = run_steps(&r, model, cx, examples, B, options, steps, err);
    if (!status) status = recorder_end_part(&r, path, err);
    recorder_free(&r);
    mem_free(examples);
    mem_free(ids);
    mem_free(targets);
    return status;
}
