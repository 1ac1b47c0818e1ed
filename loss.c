// SPDX-License-Identifier: MIT
/* loss.c - the language-model head, the value head and the score head, each loss beside its gradient.
 *
 * Only rows that carry a loss reach a head: they are gathered first, so a prompt costs no logits. Rows pass in chunks, so
 * that [R,V] logits never exist. Knows nothing of optimisers or of where examples come from.
 */
#include "loss.h"

#include <assert.h>
#include <string.h>

#include "kernels/hostmath.h"
#include "kernels/matmul.h"
#include "observe.h"

// Logits alive at once: 4 MB keep a chunk near the cache, but each chunk reads all of the head and adds to all of its gradient, so that with
// a large vocabulary too few rows cost more (49,152 tokens: 512 rows, 100 MB, train 3 % faster than 256).
enum { CHUNK_FLOATS = 1 << 20, CHUNK_ROWS = 512 };

int loss_scratch_init(LossScratch *s, const Model *model, const Compute *cx, size_t max_rows, Err *err)
{
    const ModelConfig *c = &model->config;
    size_t width = c->head == HEAD_LM ? c->vocab : 1, chunk = CHUNK_FLOATS / width;
    *s = (LossScratch){.cx = cx, .max_rows = max_rows};
    if (chunk < CHUNK_ROWS) chunk = CHUNK_ROWS;
    s->chunk_rows = chunk < max_rows ? chunk : max_rows;
    size_t matrix, logits, total;
    bool fits = size_multiply(max_rows, c->dim, &matrix) && size_multiply(s->chunk_rows, width, &logits) &&
        size_multiply(matrix, 4, &total) && size_add(total, logits + 2 * max_rows, &total);
    if (!fits) return err_failed(err, "out of memory: losses of %zu tokens do not fit the address space", max_rows);
    s->data = mem_new(err, total, sizeof(float));
    s->rows = s->data ? mem_new(err, max_rows, sizeof *s->rows) : NULL;
    if (!s->rows) return loss_scratch_free(s), err_prefix(err, "losses of %zu tokens", max_rows);
    s->gathered = s->data;
    s->normed = s->gathered + matrix;
    s->dnormed = s->normed + matrix;
    s->dgathered = s->dnormed + matrix;
    s->logits = s->dgathered + matrix;
    s->inv_rms = s->logits + logits;
    s->scores = s->inv_rms + max_rows;
    return 0;
}

void loss_scratch_free(LossScratch *s)
{
    mem_free(s->data);
    mem_free(s->rows);
    *s = (LossScratch){0};
}

// gathered = x[rows], normed = norm(gathered)
static void gather_and_norm(const Model *model, const Workspace *ws, LossScratch *s, const uint32_t *row, size_t count)
{
    const ModelConfig *c = &model->config;
    assert(count <= s->max_rows);
    s->cx->k->gather_rows(s->gathered, ws->x, row, count, c->dim);
    s->cx->k->rmsnorm_forward(s->normed, s->inv_rms, s->gathered, model->parameters + model->norm, count, c->dim, (float)c->rms_eps);
}

// The way back: dnormed through the final norm into ws->dx; rows without loss have no gradient from the head.
static void norm_and_scatter_backward(const Model *model, float *gradient, Workspace *ws, LossScratch *s, const uint32_t *row, size_t count)
{
    size_t D = model->config.dim;
    memset(s->dgathered, 0, count * D * sizeof(float));
    s->cx->k->rmsnorm_backward(s->dgathered, model_gradient(model, gradient, model->norm), s->dnormed, s->gathered,
        model->parameters + model->norm, s->inv_rms, count, D);
    memset(ws->dx, 0, ws->rows * D * sizeof(float));
    s->cx->k->scatter_rows(ws->dx, s->dgathered, row, count, D);
}

// ---- language model ------------------------------------------------------------------------------------------------------------

static void head_forward(const Model *model, const PackedModel *packed, LossScratch *s, float *logits, size_t first, size_t rows)
{
    const ModelConfig *c = &model->config;
    const float *x = s->normed + first * c->dim;
    if (packed) matmul_forward_packed(s->cx, logits, x, packed->head, rows, c->vocab, c->dim, false);
    else matmul_forward(s->cx, logits, x, model->parameters + model->head, rows, c->vocab, c->dim, false);
}

void lm_logits(const Model *model, const PackedModel *packed, const Workspace *ws, LossScratch *s, float *logits, const uint32_t *row, size_t count)
{
    assert(model->config.head == HEAD_LM);
    gather_and_norm(model, ws, s, row, count);
    head_forward(model, packed, s, logits, 0, count);
}

void lm_logprobs(const Model *model, const PackedModel *packed, const Workspace *ws, LossScratch *s, const Targets *t, float *logprob)
{
    assert(model->config.head == HEAD_LM);
    gather_and_norm(model, ws, s, t->row, t->count);
    for (size_t i = 0; i < t->count; i += s->chunk_rows) {
        size_t rows = t->count - i < s->chunk_rows ? t->count - i : s->chunk_rows;
        head_forward(model, packed, s, s->logits, i, rows);
        s->cx->k->cross_entropy(s->logits, logprob + i, t->target + i, NULL, rows, model->config.vocab);
    }
}

void lm_values(const Model *model, const Workspace *ws, LossScratch *s, float *value, const uint32_t *row, size_t count)
{
    const float *w = model->parameters + model->value, *bias = w + model->config.dim;
    assert(model->config.value_head);
    gather_and_norm(model, ws, s, row, count);
    for (size_t i = 0; i < count; i++) value[i] = *bias;
    matmul_forward(s->cx, value, s->normed, w, count, 1, model->config.dim, true);
}

// Adds to the gradient of the head, and to dnormed behind the next-token head's part.
static void values_backward(const Model *model, float *gradient, LossScratch *s, const float *dvalue, size_t count)
{
    const float *w = model->parameters + model->value;
    float *dw = model_gradient(model, gradient, model->value), *dbias = dw + model->config.dim;
    assert(model->config.value_head);
    matmul_backward_weight(s->cx, dw, dvalue, s->normed, count, 1, model->config.dim);
    for (size_t i = 0; i < count; i++) *dbias += dvalue[i];
    matmul_backward_input(s->cx, s->dnormed, dvalue, w, count, 1, model->config.dim, true);
}

void lm_loss_backward(const Model *model, float *gradient, Workspace *ws, LossScratch *s, const Targets *t, float *logprob)
{
    const ModelConfig *c = &model->config;
    assert(c->head == HEAD_LM);
    float *dhead = model_gradient(model, gradient, model->head); // NULL: frozen
    gather_and_norm(model, ws, s, t->row, t->count);
    for (size_t i = 0; i < t->count; i += s->chunk_rows) {
        size_t rows = t->count - i < s->chunk_rows ? t->count - i : s->chunk_rows;
        float *normed = s->normed + i * c->dim, *dlogits = s->logits;
        head_forward(model, NULL, s, s->logits, i, rows);
        observe_loss(s->cx, &(SeenLoss){model, ws, rows, t->row + i, t->target + i, normed, s->logits});
        if (t->weigh) {
            s->cx->k->cross_entropy(s->logits, logprob + i, t->target + i, NULL, rows, c->vocab);
            t->weigh(t->weigh_self, i, rows);
        }
        s->cx->k->cross_entropy(s->logits, logprob + i, t->target + i, t->scale + i, rows, c->vocab);
        if (dhead) matmul_backward_weight(s->cx, dhead, dlogits, normed, rows, c->vocab, c->dim);
        matmul_backward_input(s->cx, s->dnormed + i * c->dim, dlogits, model->parameters + model->head, rows, c->vocab, c->dim, false);
    }
    if (t->dvalue) values_backward(model, gradient, s, t->dvalue, t->count);
    norm_and_scatter_backward(model, gradient, ws, s, t->row, t->count);
}

// ---- score ---------------------------------------------------------------------------------------------------------------------

// The rows a score head reads, sequence after sequence: the last one, or all.
static size_t pooled_rows(const Model *model, const Workspace *ws, LossScratch *s)
{
    size_t count = 0;
    for (size_t i = 0; i < ws->sequences; i++) {
        const AttentionSpan *span = ws->spans + i;
        size_t first = model->config.pooling == POOL_MEAN ? 0 : span->queries - 1;
        assert(span->queries > 0);
        for (size_t j = first; j < span->queries; j++) s->rows[count++] = (uint32_t)(span->row + j);
    }
    return count;
}

void score_forward(const Model *model, const Workspace *ws, LossScratch *s, float *score)
{
    const ModelConfig *c = &model->config;
    assert(c->head == HEAD_SCORE);
    size_t count = pooled_rows(model, ws, s), at = 0;
    gather_and_norm(model, ws, s, s->rows, count);
    matmul_forward(s->cx, s->scores, s->normed, model->parameters + model->head, count, 1, c->dim, false);
    for (size_t i = 0; i < ws->sequences; i++) {
        size_t n = c->pooling == POOL_MEAN ? ws->spans[i].queries : 1;
        score[i] = (float)(s->cx->k->sum_array(s->scores + at, n) / (double)n);
        at += n;
    }
}

void score_backward(const Model *model, float *gradient, Workspace *ws, LossScratch *s, const float *dscore)
{
    const ModelConfig *c = &model->config;
    size_t count = 0;
    for (size_t i = 0; i < ws->sequences; i++) {
        size_t n = c->pooling == POOL_MEAN ? ws->spans[i].queries : 1;
        for (size_t j = 0; j < n; j++) s->scores[count++] = dscore[i] / (float)n;
    }
    matmul_backward_weight(s->cx, model_gradient(model, gradient, model->head), s->scores, s->normed, count, 1, c->dim);
    matmul_backward_input(s->cx, s->dnormed, s->scores, model->parameters + model->head, count, 1, c->dim, false);
    norm_and_scatter_backward(model, gradient, ws, s, s->rows, count);
}

/* -log sigmoid(z) = max(-z, 0) + log(1 + exp(-|z|)), and its derivative -sigmoid(-z). */
static void negative_log_sigmoid(const Compute *cx, float *loss, float *slope, float z)
{
    float magnitude = z < 0 ? z : -z, tail, minus = -z, gate;
    cx->k->exp_array(&tail, &magnitude, 1);
    *loss = (z < 0 ? -z : 0.0f) + (float)host_log1p(tail);
    cx->k->sigmoid_array(&gate, &minus, 1);
    *slope = -gate;
}

void logistic_loss(const Compute *cx, float *loss, float *dscore, const float *score, const float *label, size_t n, float inverse_n)
{
    for (size_t i = 0; i < n; i++) {
        bool positive = label[i] > 0.5f;
        float slope;
        negative_log_sigmoid(cx, loss + i, &slope, positive ? score[i] : -score[i]);
        dscore[i] = (positive ? slope : -slope) * inverse_n;
    }
}

void bradley_terry_loss(const Compute *cx, float *loss, float *dscore, const float *score, size_t n, float inverse_n)
{
    for (size_t i = 0; i < n; i++) {
        float slope;
        negative_log_sigmoid(cx, loss + i, &slope, score[2 * i] - score[2 * i + 1]);
        dscore[2 * i] = slope * inverse_n;
        dscore[2 * i + 1] = -slope * inverse_n;
    }
}
