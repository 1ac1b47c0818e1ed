// SPDX-License-Identifier: MIT
/* train.c - one optimisation step (micro-batches, clipping, AdamW), the schedule, and runs over a set of examples.
 *
 * Owns gradients and optimizer state. Knows losses through loss.h only; knows nothing of text or files. Start at
 * trainer_step().
 */
#include "train.h"

#include <assert.h>
#include <string.h>

#include "kernels/hostmath.h"
#include "kernels/philox.h"

TrainOptions train_defaults(void)
{
    return (TrainOptions){.loss = LOSS_LM, .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .clip = 1,
        .schedule = SCHEDULE_COSINE, .warmup = 0.02, .final_lr = 0.1, .batch = 16, .epochs = 1, .micro_rows = 2048};
}

double train_lr(const TrainOptions *o, size_t step)
{
    double warmup = o->warmup * (double)o->steps, at = (double)step;
    if (at + 1 < warmup) return o->lr * (at + 1) / warmup;
    double left = (double)o->steps - warmup, done = left > 0 ? (at + 1 - warmup) / left : 1;
    if (done < 0) done = 0;
    if (done > 1) done = 1;
    double fraction = 1; // of the way from final_lr * lr up to lr
    if (o->schedule == SCHEDULE_LINEAR) fraction = 1 - done;
    if (o->schedule == SCHEDULE_COSINE) fraction = 0.5 * (1 + host_cos(3.141592653589793 * done));
    return o->lr * (o->final_lr + (1 - o->final_lr) * fraction);
}

// ---- examples ---------------------------------------------------------------------------------------------------------------

static uint32_t example_target(const Example *e, size_t t)
{
    if (e->targets) return e->targets[t];
    return t >= e->prompt ? e->ids[t] : NO_TARGET;
}

static bool counts_tokens(LossKind loss) { return loss == LOSS_LM || loss == LOSS_PPO; }

// Tokens that a pass must read: positions after the last target carry no loss and are no key to one that does.
static size_t example_rows(const Example *e, LossKind loss)
{
    if (!counts_tokens(loss)) return e->length;
    for (size_t t = e->length; t-- > 1;)
        if (example_target(e, t) != NO_TARGET) return t;
    return 0;
}

static size_t example_target_count(const Example *e)
{
    size_t count = 0;
    for (size_t t = 1; t < e->length; t++) count += example_target(e, t) != NO_TARGET;
    return count;
}

static int check_examples(const Model *model, const Example *examples, size_t n, LossKind loss, Err *err)
{
    const ModelConfig *c = &model->config;
    for (size_t i = 0; i < n; i++) {
        const Example *e = examples + i;
        if (example_rows(e, loss) > c->context)
            return err_input(err, "example %zu: %zu tokens, but the model's context is %zu", i, e->length, c->context);
        if (e->length == 0 && !counts_tokens(loss)) return err_input(err, "example %zu: a score needs at least one token", i);
        for (size_t t = 0; t < e->length; t++)
            if (e->ids[t] >= c->vocab || (e->targets && e->targets[t] != NO_TARGET && e->targets[t] >= c->vocab))
                return err_input(err, "example %zu, token %zu: id %u is outside the vocabulary of %zu", i, t, (unsigned)e->ids[t], c->vocab);
    }
    return 0;
}

// ---- the trainer --------------------------------------------------------------------------------------------------------------

int trainer_init(Trainer *trainer, Model *model, const Compute *cx, const TrainOptions *options, Err *err)
{
    *trainer = (Trainer){.model = model, .cx = cx, .options = *options};
    float **states[] = {&trainer->gradient, &trainer->m, &trainer->v};
    for (size_t i = 0; i < 3; i++)
        if (!(*states[i] = mem_new(err, model->trained_count, sizeof(float)))) {
            trainer_free(trainer);
            return err_prefix(err, "optimizer state");
        }
    return 0;
}

void trainer_free(Trainer *trainer)
{
    workspace_free(&trainer->ws);
    loss_scratch_free(&trainer->scratch);
    mem_free(trainer->gradient);
    mem_free(trainer->m);
    mem_free(trainer->v);
    mem_free(trainer->lookup);
    mem_free(trainer->lookup_ids);
    mem_free(trainer->target_row);
    mem_free(trainer->target_id);
    mem_free(trainer->target_scale);
    mem_free(trainer->logprob);
    void *ppo[] = {trainer->ppo.actions, trainer->ppo.value, trainer->ppo.dvalue, trainer->ppo.ratio, trainer->ppo.policy_loss,
        trainer->ppo.value_loss};
    for (size_t i = 0; i < sizeof ppo / sizeof *ppo; i++) mem_free(ppo[i]);
    *trainer = (Trainer){0};
}

static void *renew(void *old, size_t n, size_t size, Err *err)
{
    mem_free(old);
    return mem_new(err, n, size);
}

static int reserve_ppo(PpoStep *p, size_t room, Err *err)
{
    float **arrays[] = {&p->value, &p->dvalue, &p->ratio, &p->policy_loss, &p->value_loss};
    if (!(p->actions = renew(p->actions, room, sizeof *p->actions, err))) return -1;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (!(*arrays[i] = renew(*arrays[i], room, sizeof(float), err))) return -1;
    return 0;
}

// Room for a step of these examples; grows only, so that the step itself allocates nothing.
static int reserve(Trainer *t, const Example *examples, size_t n, Err *err)
{
    size_t unit = t->options.loss == LOSS_PAIRS ? 2 : 1, rows = 0, longest = t->options.micro_rows, D = t->model->config.dim;
    for (size_t i = 0; i < n; i += unit) {
        size_t together = 0;
        for (size_t j = 0; j < unit; j++) together += example_rows(examples + i + j, t->options.loss);
        rows += together;
        if (together > longest) longest = together;
    }
    size_t most = n > t->options.batch ? n : t->options.batch;
    if (longest > t->ws.max_rows || most > t->ws.max_sequences) {
        workspace_free(&t->ws);
        loss_scratch_free(&t->scratch);
        if (workspace_init(&t->ws, t->model, t->cx, longest, most, true, err)) return -1;
        if (loss_scratch_init(&t->scratch, t->model, t->cx, longest, err)) return -1;
    }
    size_t room = (rows > n ? rows : n) * 5 / 4, floats;
    if (rows <= t->step_rows && n <= t->step_rows) return 0;
    t->step_rows = 0;
    if (!size_multiply(room, D, &floats)) return err_failed(err, "out of memory: a step of %zu tokens", room);
    t->lookup = renew(t->lookup, t->model->tensors[0].frozen ? 1 : floats, // the embedding comes first in the table
         sizeof *t->lookup, err);
    t->lookup_ids = renew(t->lookup_ids, room, sizeof *t->lookup_ids, err);
    t->target_row = renew(t->target_row, room, sizeof *t->target_row, err);
    t->target_id = renew(t->target_id, room, sizeof *t->target_id, err);
    t->target_scale = renew(t->target_scale, room, sizeof *t->target_scale, err);
    t->logprob = renew(t->logprob, room, sizeof *t->logprob, err);
    if (!t->lookup || !t->lookup_ids || !t->target_row || !t->target_id || !t->target_scale || !t->logprob) return -1;
    if (t->options.loss == LOSS_PPO && reserve_ppo(&t->ppo, room, err)) return -1;
    t->step_rows = room;
    return 0;
}

// The counted tokens of the batch in ws: examples[0..count) are its sequences.
static Targets batch_targets(Trainer *t, const Example *examples, size_t count, size_t all_targets)
{
    Targets targets = {.row = t->target_row, .target = t->target_id, .scale = t->target_scale};
    for (size_t i = 0, row = 0; i < count; i++) {
        size_t rows = example_rows(examples + i, LOSS_LM);
        for (size_t j = 0; j < rows; j++, row++) {
            uint32_t target = example_target(examples + i, j + 1);
            if (target == NO_TARGET) continue;
            t->target_row[targets.count] = (uint32_t)row;
            t->target_id[targets.count] = target;
            t->target_scale[targets.count++] = 1.0f / (float)all_targets;
        }
    }
    return targets;
}

static void lm_micro_batch(Trainer *t, const Example *examples, size_t count, size_t all_targets)
{
    Targets targets = batch_targets(t, examples, count, all_targets);
    lm_loss_backward(t->model, t->gradient, &t->ws, &t->scratch, &targets, t->logprob + t->targets_done);
    t->targets_done += targets.count;
}

// The policy loss of tokens [first, first + n) of the micro-batch, once their log-probabilities are known.
static void weigh_actions(void *self, size_t first, size_t n)
{
    Trainer *t = self;
    PpoStep *p = &t->ppo;
    size_t at = t->targets_done + first;
    float *scale = t->target_scale + first, weight = *scale; // 1/N
    p->clipped += ppo_policy_loss(t->cx->k, p->policy_loss + at, scale, p->ratio + at, t->logprob + at, p->actions + first, n,
        t->options.ppo.ratio_clip, weight);
    for (size_t i = 0; i < n; i++) scale[i] = -scale[i];
}

static void ppo_micro_batch(Trainer *t, const Example *examples, size_t count, size_t all_targets)
{
    PpoStep *p = &t->ppo;
    const PpoCoefficients *how = &t->options.ppo;
    Targets targets = batch_targets(t, examples, count, all_targets);
    for (size_t i = 0, n = 0; i < count; i++) {
        size_t length = examples[i].length - examples[i].prompt;
        assert(examples[i].prompt > 0 && !examples[i].targets && n + length <= targets.count);
        memcpy(p->actions + n, examples[i].actions, length * sizeof *p->actions);
        n += length;
    }
    lm_values(t->model, &t->ws, &t->scratch, p->value, targets.row, targets.count);
    ppo_value_loss(p->value_loss + t->targets_done, p->dvalue, p->value, p->actions, targets.count, how->value_clip,
        (float)how->vf_coef / (float)all_targets);
    targets.dvalue = p->dvalue;
    targets.weigh = weigh_actions;
    targets.weigh_self = t;
    lm_loss_backward(t->model, t->gradient, &t->ws, &t->scratch, &targets, t->logprob + t->targets_done);
    t->targets_done += targets.count;
}

// The score losses; logprob holds minus the loss of each example or pair, so that both kinds are summed alike.
static void score_micro_batch(Trainer *t, const Example *examples, size_t count, size_t all_targets)
{
    float *score = t->target_scale, *dscore = (float *)t->target_row, *label = (float *)t->target_id, *loss = t->logprob + t->targets_done;
    float inverse_n = 1.0f / (float)all_targets;
    size_t losses = t->options.loss == LOSS_PAIRS ? count / 2 : count;
    score_forward(t->model, &t->ws, &t->scratch, score);
    if (t->options.loss == LOSS_PAIRS) bradley_terry_loss(t->cx, loss, dscore, score, losses, inverse_n);
    else {
        for (size_t i = 0; i < count; i++) label[i] = examples[i].label;
        logistic_loss(t->cx, loss, dscore, score, label, losses, inverse_n);
    }
    for (size_t i = 0; i < losses; i++) loss[i] = -loss[i];
    score_backward(t->model, t->gradient, &t->ws, &t->scratch, dscore);
    t->targets_done += losses;
}

// Fills the workspace with as many of the examples as fit; returns how many.
static size_t fill_micro_batch(Trainer *t, const Example *examples, size_t n)
{
    LossKind loss = t->options.loss;
    size_t unit = loss == LOSS_PAIRS ? 2 : 1, taken = 0;
    batch_clear(&t->ws);
    while (taken < n) {
        size_t rows[2] = {0}, together = 0;
        for (size_t j = 0; j < unit; j++) together += rows[j] = example_rows(examples + taken + j, loss);
        bool fits = t->ws.sequences + unit <= t->ws.max_sequences && t->ws.rows + together <= t->ws.max_rows &&
            t->ws.pages_used + (rows[0] + PAGE - 1) / PAGE + (rows[1] + PAGE - 1) / PAGE <= t->ws.max_pages;
        if (!fits && taken) break;
        for (size_t j = 0; j < unit; j++)
            if (rows[j]) batch_add(&t->ws, examples[taken + j].ids, rows[j]);
        taken += unit;
    }
    return taken;
}

static void micro_batch(Trainer *t, const Example *examples, size_t count, size_t all_targets)
{
    switch (t->options.loss) {
    case LOSS_LM: lm_micro_batch(t, examples, count, all_targets); break;
    case LOSS_PPO: ppo_micro_batch(t, examples, count, all_targets); break;
    case LOSS_LOGISTIC:
    case LOSS_PAIRS: score_micro_batch(t, examples, count, all_targets); break;
    }
}

// Means over the step's tokens.
static void ppo_stats(const Trainer *t, StepStats *stats, size_t all_targets)
{
    double n = (double)all_targets;
    stats->policy_loss = t->cx->k->sum_array(t->ppo.policy_loss, all_targets) / n;
    stats->value_loss = t->cx->k->sum_array(t->ppo.value_loss, all_targets) / n;
    stats->clipped = (double)t->ppo.clipped / n;
    stats->loss = stats->policy_loss + t->options.ppo.vf_coef * stats->value_loss;
}

/* Micro-batches continue the same sums in example order. Gradients of embedded tokens wait until all micro-batches are done
 * and are added in token order: with tied embeddings they meet the head's gradient in one tensor, after its last term. */
int trainer_gradient(Trainer *t, const Example *examples, size_t n, StepStats *stats, Err *err)
{
    LossKind loss = t->options.loss;
    size_t D = t->model->config.dim, all_targets = 0, rows = 0;
    assert(loss != LOSS_PAIRS || n % 2 == 0);
    if (check_examples(t->model, examples, n, loss, err) || reserve(t, examples, n, err)) return -1;
    for (size_t i = 0; i < n; i++) all_targets += counts_tokens(loss) ? example_target_count(examples + i) : 1;
    if (loss == LOSS_PAIRS) all_targets /= 2;
    if (!all_targets) return err_input(err, "a training step has no token to learn from (%zu examples without a target)", n);

    float *dembedding = model_gradient(t->model, t->gradient, t->model->embedding); // NULL: frozen
    mem_guard_enter();
    memset(t->gradient, 0, t->model->trained_count * sizeof(float));
    t->targets_done = 0;
    t->ppo.clipped = 0;
    for (size_t i = 0; i < n;) {
        size_t taken = fill_micro_batch(t, examples + i, n - i);
        if (t->ws.rows) {
            model_forward(t->model, NULL, &t->ws);
            micro_batch(t, examples + i, taken, all_targets);
            model_backward(t->model, t->gradient, &t->ws);
            if (dembedding) memcpy(t->lookup + rows * D, t->ws.dx, t->ws.rows * D * sizeof(float));
            memcpy(t->lookup_ids + rows, t->ws.ids, t->ws.rows * sizeof(uint32_t));
            rows += t->ws.rows;
        }
        i += taken;
    }
    if (dembedding) t->cx->k->scatter_rows(dembedding, t->lookup, t->lookup_ids, rows, D);
    double squares = 0;
    for (size_t i = 0; i < t->model->tensor_count; i++) {
        const Tensor *tensor = t->model->tensors + i;
        if (!tensor->frozen) squares += t->cx->k->sum_squares(t->gradient + tensor->place, tensor->rows * tensor->cols);
    }
    mem_guard_leave();
    *stats = (StepStats){.loss = -t->cx->k->sum_array(t->logprob, all_targets) / (double)all_targets, .grad_norm = host_sqrt(squares),
        .lr = train_lr(&t->options, t->step), .tokens = rows, .targets = all_targets};
    if (loss == LOSS_PPO) ppo_stats(t, stats, all_targets);
    if (!(stats->loss <= 1e30 && stats->loss >= -1e30 && stats->grad_norm <= 1e30))
        return err_failed(err, "training diverged at step %zu: loss %g, gradient norm %g", t->step, stats->loss, stats->grad_norm);
    return 0;
}

// Clipping as torch.nn.utils.clip_grad_norm_, then AdamW tensor by tensor.
void trainer_update(Trainer *t, StepStats *stats)
{
    const TrainOptions *o = &t->options;
    double scale = o->clip > 0 && stats->grad_norm > o->clip ? o->clip / (stats->grad_norm + 1e-6) : 1;
    t->step++;
    AdamwStep step = {.lr = (float)stats->lr, .beta1 = (float)o->beta1, .beta2 = (float)o->beta2, .eps = (float)o->eps,
        .correction1 = (float)(1 - host_pow(o->beta1, (double)t->step)), .correction2 = (float)(1 - host_pow(o->beta2, (double)t->step)),
        .gradient_scale = (float)scale};
    for (size_t i = 0; i < t->model->tensor_count; i++) {
        const Tensor *tensor = t->model->tensors + i;
        if (tensor->frozen) continue;
        step.weight_decay = tensor->decay || o->decay_all ? (float)o->weight_decay : 0;
        t->cx->k->adamw_update(t->model->parameters + tensor->offset, t->m + tensor->place, t->v + tensor->place,
            t->gradient + tensor->place, tensor->rows * tensor->cols, &step);
    }
}

int trainer_step(Trainer *t, const Example *examples, size_t n, StepStats *stats, Err *err)
{
    if (trainer_gradient(t, examples, n, stats, err)) return -1;
    trainer_update(t, stats);
    return 0;
}

// ---- a run ----------------------------------------------------------------------------------------------------------------------

// One step on examples order[at ..] and what it adds to the sums.
static int run_step(Trainer *t, const Example *examples, const uint32_t *order, size_t count, Example *chosen, StepStats *stats, Err *err)
{
    size_t unit = t->options.loss == LOSS_PAIRS ? 2 : 1;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < unit; j++) chosen[i * unit + j] = examples[order[i] * unit + j];
    if (trainer_step(t, chosen, count * unit, stats, err)) return -1;
    TrainSums *sums = &t->sums;
    sums->epoch_loss += stats->loss * (double)count;
    sums->epoch_policy_loss += stats->policy_loss * (double)count;
    sums->epoch_value_loss += stats->value_loss * (double)count;
    sums->epoch_clipped += stats->clipped * (double)count;
    sums->epoch_seen += count;
    sums->total.tokens += stats->tokens;
    sums->total.targets += stats->targets;
    sums->total.grad_norm = stats->grad_norm;
    sums->total.lr = stats->lr;
    return 0;
}

static void begin_epoch(TrainSums *sums)
{
    StepStats total = sums->total;
    *sums = (TrainSums){.total = total};
}

static void end_epoch(TrainSums *sums)
{
    double seen = (double)sums->epoch_seen;
    if (!sums->epoch_seen) return;
    sums->total.loss = sums->epoch_loss / seen;
    sums->total.policy_loss = sums->epoch_policy_loss / seen;
    sums->total.value_loss = sums->epoch_value_loss / seen;
    sums->total.clipped = sums->epoch_clipped / seen;
}

void trainer_continue(Trainer *t, size_t steps_done) { t->step = t->behind = steps_done; }

/* Steps that an earlier process did are passed over: the same batches are counted, nothing is computed, and the sums stay as
 * they were put back until the first new step. */
int train_run(Trainer *t, const Example *examples, size_t n, uint64_t seed, uint32_t iteration, TrainProgress progress, void *self,
    StepStats *total, Err *err)
{
    const TrainKeeper *keeper = t->options.keeper;
    size_t unit = t->options.loss == LOSS_PAIRS ? 2 : 1, units = n / unit, batch = t->options.batch / unit;
    if (batch < 1) batch = 1;
    size_t per_epoch = (units + batch - 1) / batch;
    uint32_t *order = mem_new(err, units, sizeof *order);
    Example *chosen = order ? mem_new(err, batch * unit, sizeof *chosen) : NULL;
    int status = chosen ? 0 : -1;
    if (!status && !units) status = err_input(err, "nothing to train on");
    if (!t->options.steps) t->options.steps = per_epoch * t->options.epochs;
    if (!status && keeper && !t->begun) status = keeper->restore(keeper->self, t, err);
    t->begun = true;
    if (!t->behind) t->sums.total = (StepStats){0};
    for (size_t epoch = 0; !status && epoch < t->options.epochs; epoch++) {
        if (!t->behind) begin_epoch(&t->sums);
        philox_shuffle(order, units, seed, STREAM_SHUFFLE_TRAIN, (uint32_t)(iteration * 1024 + epoch));
        for (size_t at = 0; !status && at < units && (t->behind || t->step < t->options.steps); at += batch) {
            if (t->behind) {
                t->behind--;
                continue;
            }
            StepStats stats;
            status = run_step(t, examples, order + at, units - at < batch ? units - at : batch, chosen, &stats, err);
            if (!status && progress && progress(self, t->step, t->options.steps, &stats))
                status = err->status ? -1 : err_failed(err, "stopped at step %zu", t->step);
            if (!status && keeper) status = keeper->save(keeper->self, t, err);
        }
        end_epoch(&t->sums);
    }
    *total = t->sums.total;
    mem_free(order);
    mem_free(chosen);
    return status;
}

// ---- without gradient -------------------------------------------------------------------------------------------------------------

typedef struct { Workspace ws; LossScratch scratch; uint32_t *row, *target; float *values; } Evaluation;

static void evaluation_free(Evaluation *e)
{
    workspace_free(&e->ws);
    loss_scratch_free(&e->scratch);
    mem_free(e->row);
    mem_free(e->target);
    mem_free(e->values);
}

static int evaluation_init(Evaluation *e, const Model *model, const Compute *cx, const Example *examples, size_t n, LossKind loss, Err *err)
{
    size_t rows = 0, longest = 0, most = 4096;
    *e = (Evaluation){0};
    if (check_examples(model, examples, n, loss, err)) return -1;
    for (size_t i = 0; i < n; i++) {
        size_t r = example_rows(examples + i, loss);
        rows += r;
        if (r > longest) longest = r;
    }
    if (rows < most) most = rows;
    if (longest > most) most = longest;
    if (most < 1) most = 1;
    size_t sequences = n < most ? n : most;
    e->row = mem_new(err, most, sizeof *e->row);
    e->target = mem_new(err, most, sizeof *e->target);
    e->values = mem_new(err, most, sizeof *e->values);
    bool ok = e->row && e->target && e->values && !workspace_init(&e->ws, model, cx, most, sequences ? sequences : 1, false, err) &&
        !loss_scratch_init(&e->scratch, model, cx, most, err);
    if (!ok) return evaluation_free(e), -1;
    return 0;
}

// Adds examples to the batch while they fit; those without a row to compute are passed over. Returns the end of the range.
static size_t evaluation_fill(Evaluation *e, const Example *examples, size_t at, size_t n, LossKind loss)
{
    batch_clear(&e->ws);
    for (; at < n; at++) {
        size_t rows = example_rows(examples + at, loss);
        if (!rows) continue;
        if (!batch_fits(&e->ws, rows)) break;
        batch_add(&e->ws, examples[at].ids, rows);
    }
    return at;
}

// The next examples that fit, forward: log-probabilities of their counted tokens in e->values. Returns the end of the range.
static size_t evaluate_batch(Evaluation *e, Targets *targets, const Model *model, const Example *examples, size_t at, size_t n)
{
    size_t end = evaluation_fill(e, examples, at, n, LOSS_LM);
    *targets = (Targets){.row = e->row, .target = e->target};
    for (size_t i = at, row = 0; i < end; i++)
        for (size_t j = 0, rows = example_rows(examples + i, LOSS_LM); j < rows; j++, row++)
            if (example_target(examples + i, j + 1) != NO_TARGET) {
                e->row[targets->count] = (uint32_t)row;
                e->target[targets->count++] = example_target(examples + i, j + 1);
            }
    if (e->ws.rows) {
        model_forward(model, NULL, &e->ws);
        lm_logprobs(model, NULL, &e->ws, &e->scratch, targets, e->values);
    }
    return end;
}

int lm_evaluate_tokens(const Model *model, const Compute *cx, const Example *examples, size_t n, float *logprob, float *value, Err *err)
{
    Evaluation e;
    Targets targets;
    if (evaluation_init(&e, model, cx, examples, n, LOSS_LM, err)) return -1;
    for (size_t at = 0, done = 0; at < n; done += targets.count) {
        at = evaluate_batch(&e, &targets, model, examples, at, n);
        memcpy(logprob + done, e.values, targets.count * sizeof *logprob);
        if (value && targets.count) lm_values(model, &e.ws, &e.scratch, value + done, e.row, targets.count);
    }
    evaluation_free(&e);
    return 0;
}

int lm_evaluate(const Model *model, const Compute *cx, const Example *examples, size_t n, float *logprob, size_t *token_count, Err *err)
{
    Evaluation e;
    Targets targets;
    if (evaluation_init(&e, model, cx, examples, n, LOSS_LM, err)) return -1;
    for (size_t at = 0, end; at < n; at = end) {
        end = evaluate_batch(&e, &targets, model, examples, at, n);
        for (size_t i = at, done = 0; i < end; i++) {
            size_t count = example_target_count(examples + i);
            logprob[i] = (float)cx->k->sum_array(e.values + done, count);
            if (token_count) token_count[i] = count;
            done += count;
        }
    }
    evaluation_free(&e);
    return 0;
}

int score_evaluate(const Model *model, const Compute *cx, const Example *examples, size_t n, float *score, Err *err)
{
    Evaluation e;
    if (evaluation_init(&e, model, cx, examples, n, LOSS_LOGISTIC, err)) return -1;
    for (size_t at = 0, end; at < n; at = end) {
        end = evaluation_fill(&e, examples, at, n, LOSS_LOGISTIC);
        model_forward(model, NULL, &e.ws);
        score_forward(model, &e.ws, &e.scratch, score + at);
    }
    evaluation_free(&e);
    return 0;
}
