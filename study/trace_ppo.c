// SPDX-License-Identifier: MIT
/* trace_ppo.c - reads a batch, calls the routines of ppo_loss.h and the cross-entropy kernel that training uses, writes what
 * they gave. Start reading at trace_ppo. */
#include "study/trace_ppo.h"

#include <string.h>

#include "files/safetensors.h"

// [B,T] and [B,T,V] arrays as the file has them, and the N tokens that are no padding, one after the other.
typedef struct {
    size_t B, T, V, N;
    float *logits, *old_logits, *ref_logits, *values, *old_values, *score;
    int64_t *action_ids, *lengths;
    uint32_t *actions;                      // [B*T]
    size_t *length, *place;                 // [B]; [N] where token i stands among B*T
    float *logprob, *old_logprob, *ref_logprob, *ratio; // [B*T]
    float *packed[8];                       // [N] each
    PpoAction *drawn;                       // [N]
    float *grid;                            // [B*T] one output
    StOutput outputs[9];
    size_t output_count;
} Batch;

static void batch_free(Batch *b)
{
    void *blocks[] = {b->logits, b->old_logits, b->ref_logits, b->values, b->old_values, b->score, b->action_ids, b->lengths, b->actions,
        b->length, b->place, b->logprob, b->old_logprob, b->ref_logprob, b->ratio, b->drawn};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) mem_free(blocks[i]);
    for (size_t i = 0; i < sizeof b->packed / sizeof *b->packed; i++) mem_free(b->packed[i]);
    for (size_t i = 0; i < b->output_count; i++) mem_free((void *)(uintptr_t)b->outputs[i].data);
}

// ---- reading -------------------------------------------------------------------------------------------------------------------

// A tensor whose shape must be the first `dims` of [B,T,V].
static const StTensor *need(const Batch *b, const Safetensors *st, const char *name, size_t dims, Err *err)
{
    const size_t shape[] = {b->B, b->T, b->V};
    const StTensor *t = safetensors_need(st, name, err);
    if (!t) return NULL;
    bool fits = t->dims == dims;
    for (size_t i = 0; fits && i < dims; i++) fits = t->shape[i] == shape[i];
    if (fits) return t;
    err_input(err, "%s: tensor %s: expected the first %zu sizes of logits, [%zu,%zu,%zu]", st->path, name, dims, b->B, b->T, b->V);
    return NULL;
}

static int read_floats(float **out, const Batch *b, const Safetensors *st, const char *name, size_t dims, Err *err)
{
    const StTensor *t = need(b, st, name, dims, err);
    if (!t || !(*out = mem_new(err, t->count, sizeof **out)) || safetensors_read_f32(st, t, *out, t->count, err)) return -1;
    for (size_t i = 0; i < t->count; i++)
        if ((*out)[i] - (*out)[i] != 0) return err_input(err, "%s: tensor %s: element %zu is not finite", st->path, name, i);
    return 0;
}

static int read_integers(int64_t **out, const Batch *b, const Safetensors *st, const char *name, size_t dims, Err *err)
{
    const StTensor *t = need(b, st, name, dims, err);
    return !t || !(*out = mem_new(err, t->count, sizeof **out)) || safetensors_read_i64(st, t, *out, t->count, err) ? -1 : 0;
}

static int check_indices(Batch *b, const char *path, Err *err)
{
    for (size_t i = 0; i < b->B * b->T; i++) {
        if (b->action_ids[i] < 0 || (uint64_t)b->action_ids[i] >= b->V)
            return err_input(err, "%s: actions[%zu,%zu] is %lld, outside the vocabulary of %zu", path, i / b->T, i % b->T, (long long)b->action_ids[i], b->V);
        b->actions[i] = (uint32_t)b->action_ids[i];
    }
    for (size_t i = 0; i < b->B; i++) {
        if (b->lengths[i] < 1 || (uint64_t)b->lengths[i] > b->T)
            return err_input(err, "%s: length[%zu] is %lld, expected 1 to %zu", path, i, (long long)b->lengths[i], b->T);
        b->length[i] = (size_t)b->lengths[i];
        for (size_t t = 0; t < b->length[i]; t++) b->place[b->N++] = i * b->T + t;
    }
    return 0;
}

static int read_batch(Batch *b, const Safetensors *st, Err *err)
{
    const StTensor *logits = safetensors_need(st, "logits", err);
    if (!logits) return -1;
    if (logits->dims != 3 || !logits->count) return err_input(err, "%s: tensor logits: expected [B,T,V], not empty", st->path);
    b->B = logits->shape[0], b->T = logits->shape[1], b->V = logits->shape[2];
    if (read_floats(&b->logits, b, st, "logits", 3, err) || read_floats(&b->old_logits, b, st, "old_logits", 3, err) ||
        read_floats(&b->ref_logits, b, st, "ref_logits", 3, err) || read_floats(&b->values, b, st, "values", 2, err) ||
        read_floats(&b->old_values, b, st, "old_values", 2, err) || read_floats(&b->score, b, st, "score", 1, err) ||
        read_integers(&b->action_ids, b, st, "actions", 2, err) || read_integers(&b->lengths, b, st, "length", 1, err)) return -1;
    size_t tokens = b->B * b->T;
    if (!(b->actions = mem_new(err, tokens, sizeof *b->actions)) || !(b->length = mem_new(err, b->B, sizeof *b->length)) ||
        !(b->place = mem_new(err, tokens, sizeof *b->place)) || check_indices(b, st->path, err)) return -1;
    float **grids[] = {&b->logprob, &b->old_logprob, &b->ref_logprob, &b->ratio};
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++)
        if (!(*grids[i] = mem_new(err, tokens, sizeof(float)))) return -1;
    for (size_t i = 0; i < sizeof b->packed / sizeof *b->packed; i++)
        if (!(b->packed[i] = mem_new(err, b->N, sizeof(float)))) return -1;
    return (b->drawn = mem_new(err, b->N, sizeof *b->drawn)) ? 0 : -1;
}

// ---- computing and writing -----------------------------------------------------------------------------------------------------

// The outputs own their copies. packed [N] goes to its places in [B,T], zeros elsewhere; grid [B,T] as it is.
static int add_output(Batch *b, const char *name, const float *packed, const float *grid, size_t dims, Err *err)
{
    size_t n = b->B * b->T * (dims == 3 ? b->V : 1);
    float *copy = mem_new(err, dims == 1 ? 1 : n, sizeof *copy);
    if (!copy) return -1;
    if (grid) memcpy(copy, grid, (dims == 1 ? 1 : n) * sizeof *copy);
    else for (size_t i = 0; i < b->N; i++) copy[b->place[i]] = packed[i];
    b->outputs[b->output_count++] = (StOutput){.name = name, .type = ST_F32, .dims = dims, .shape = {dims == 1 ? 1 : b->B, b->T, b->V}, .data = copy};
    return 0;
}

static void pack(const Batch *b, float *packed, const float *grid)
{
    for (size_t i = 0; i < b->N; i++) packed[i] = grid[b->place[i]];
}

static int add_rewards_and_advantages(Batch *b, const Kernels *k, const PpoCoefficients *how, Err *err)
{
    float *old_logprob = b->packed[0], *ref_logprob = b->packed[1], *reward = b->packed[2], *advantage = b->packed[3],
        *target = b->packed[4], *value = b->packed[5];
    pack(b, old_logprob, b->old_logprob);
    pack(b, ref_logprob, b->ref_logprob);
    pack(b, value, b->old_values);
    ppo_token_rewards(reward, old_logprob, ref_logprob, b->score, b->length, b->B, how->kl_coef);
    ppo_advantages(advantage, target, reward, value, b->length, b->B, how->gamma, how->lambda);
    if (add_output(b, "token_reward", reward, NULL, 2, err) || add_output(b, "advantage", advantage, NULL, 2, err) ||
        add_output(b, "returns", target, NULL, 2, err)) return -1;
    ppo_whiten(k, advantage, b->N);
    for (size_t i = 0; i < b->N; i++) b->drawn[i] = (PpoAction){old_logprob[i], value[i], advantage[i], target[i]};
    return add_output(b, "whitened_advantage", advantage, NULL, 2, err);
}

static int add_losses(Batch *b, const Kernels *k, const PpoCoefficients *how, Err *err)
{
    float *logprob = b->packed[0], *loss = b->packed[1], *dlogprob = b->packed[2], *ratio = b->packed[3], *value = b->packed[4],
        *dvalue = b->packed[5], *scale = b->ratio, mean, inverse_n = 1.0f / (float)b->N;
    for (size_t i = 0; i < b->B * b->T; i++) b->ref_logprob[i] = b->logprob[i] - b->old_logprob[i]; // p0 was read already
    k->exp_array(b->ratio, b->ref_logprob, b->B * b->T);
    if (add_output(b, "ratio", NULL, b->ratio, 2, err)) return -1;
    pack(b, logprob, b->logprob);
    pack(b, value, b->values);
    ppo_policy_loss(k, loss, dlogprob, ratio, logprob, b->drawn, b->N, how->ratio_clip, inverse_n);
    mean = (float)(k->sum_array(loss, b->N) / (double)b->N);
    if (add_output(b, "policy_loss", NULL, &mean, 1, err)) return -1;
    ppo_value_loss(loss, dvalue, value, b->drawn, b->N, how->value_clip, (float)how->vf_coef * inverse_n);
    mean = (float)(k->sum_array(loss, b->N) / (double)b->N);
    if (add_output(b, "value_loss", NULL, &mean, 1, err) || add_output(b, "grad_values", dvalue, NULL, 2, err)) return -1;
    memset(scale, 0, b->B * b->T * sizeof *scale);
    for (size_t i = 0; i < b->N; i++) scale[b->place[i]] = -dlogprob[i];
    k->cross_entropy(b->logits, b->logprob, b->actions, scale, b->B * b->T, b->V); // leaves the gradient in logits
    return add_output(b, "grad_logits", NULL, b->logits, 3, err);
}

int trace_ppo(const Compute *cx, const char *batch, const PpoCoefficients *how, const char *path, Err *err)
{
    Safetensors st;
    Batch b = {0};
    if (safetensors_open(&st, batch, err)) return -1;
    int status = read_batch(&b, &st, err);
    safetensors_close(&st);
    if (!status) {
        size_t rows = b.B * b.T;
        cx->k->cross_entropy(b.logits, b.logprob, b.actions, NULL, rows, b.V);
        cx->k->cross_entropy(b.old_logits, b.old_logprob, b.actions, NULL, rows, b.V);
        cx->k->cross_entropy(b.ref_logits, b.ref_logprob, b.actions, NULL, rows, b.V);
        status = add_rewards_and_advantages(&b, cx->k, how, err) || add_losses(&b, cx->k, how, err) ||
            safetensors_write(path, b.outputs, b.output_count, err) ? -1 : 0;
    }
    batch_free(&b);
    return status;
}
