// SPDX-License-Identifier: MIT
/* test_model.c - logits, losses, gradients and AdamW against PyTorch's; gradients against differences; the contract's clauses
 * about batches, micro-batches and threads, bit for bit. */
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef RAFT_OPENMP
#include <omp.h>
#endif

#include "files/checkpoint.h"
#include "files/safetensors.h"
#include "train.h"

// ---- known answers ---------------------------------------------------------------------------------------------------------------

typedef struct {
    Model model;
    Safetensors expected;
    size_t B, T;
    uint32_t ids[256], targets[256];
    Example examples[8];
} Fixture;

static void read_ints(const Safetensors *st, const char *name, int64_t *out, size_t n)
{
    Err err = {0};
    const StTensor *t = safetensors_need(st, name, &err);
    assert_ok(t ? 0 : -1, &err);
    assert_ok(safetensors_read_i64(st, t, out, n, &err), &err);
}

static float *read_floats(const Safetensors *st, const char *name, size_t *n)
{
    Err err = {0};
    const StTensor *t = safetensors_need(st, name, &err);
    assert_ok(t ? 0 : -1, &err);
    float *values = malloc(t->count * sizeof *values);
    assert_ok(safetensors_read_f32(st, t, values, t->count, &err), &err);
    if (n) *n = t->count;
    return values;
}

static void fixture_open(Fixture *f, const char *name)
{
    Err err = {0};
    char *folder = golden_path(name);
    assert_non_null(folder);
    char *path = path_in(folder, "expected.safetensors");
    memset(f, 0, sizeof *f);
    assert_ok(checkpoint_load(&f->model, folder, &err), &err);
    assert_ok(safetensors_open(&f->expected, path, &err), &err);
    const StTensor *ids = safetensors_find(&f->expected, "input_ids");
    assert_non_null(ids);
    f->B = ids->shape[0], f->T = ids->shape[1];
    int64_t raw[256];
    assert_true(f->B <= 8 && f->B * f->T <= 256);
    read_ints(&f->expected, "input_ids", raw, f->B * f->T);
    for (size_t i = 0; i < f->B * f->T; i++) f->ids[i] = (uint32_t)raw[i];
    if (f->model.config.head == HEAD_LM) {
        read_ints(&f->expected, "labels", raw, f->B * f->T);
        for (size_t i = 0; i < f->B * f->T; i++) f->targets[i] = raw[i] == -100 ? NO_TARGET : (uint32_t)raw[i];
        for (size_t b = 0; b < f->B; b++) f->examples[b] = (Example){.ids = f->ids + b * f->T, .targets = f->targets + b * f->T, .length = f->T};
    }
    free(path);
    free(folder);
}

static void fixture_close(Fixture *f)
{
    safetensors_close(&f->expected);
    model_free(&f->model);
}

static void check_logits(const char *name)
{
    Fixture f;
    Err err = {0};
    fixture_open(&f, name);
    size_t V = f.model.config.vocab, n = f.B * f.T;
    Workspace ws;
    LossScratch scratch;
    assert_ok(workspace_init(&ws, &f.model, &test_compute, n, f.B, false, &err), &err);
    assert_ok(loss_scratch_init(&scratch, &f.model, &test_compute, n, &err), &err);
    for (size_t b = 0; b < f.B; b++) batch_add(&ws, f.ids + b * f.T, f.T);
    model_forward(&f.model, NULL, &ws);
    uint32_t rows[256], next[256], count = 0, at[256];
    float *logits = malloc(n * V * sizeof *logits), *want = read_floats(&f.expected, "logits", NULL), logprob[256];
    for (uint32_t i = 0; i < n; i++) rows[i] = i;
    lm_logits(&f.model, NULL, &ws, &scratch, logits, rows, n);
    assert_close(logits, want, n * V, 3e-6, "logits");
    for (uint32_t i = 0; i < n; i++)
        if (i % f.T + 1 < f.T) at[count] = i, next[count++] = f.ids[i + 1];
    lm_logprobs(&f.model, NULL, &ws, &scratch, &(Targets){.count = count, .row = at, .target = next}, logprob);
    float *want_logprob = read_floats(&f.expected, "token_logprob", NULL);
    assert_close(logprob, want_logprob, count, 3e-6, "token_logprob");
    free(logits), free(want), free(want_logprob);
    loss_scratch_free(&scratch);
    workspace_free(&ws);
    fixture_close(&f);
}

static void check_named(const Fixture *f, const char *prefix, const float *values, double tolerance)
{
    for (size_t i = 0; i < f->model.tensor_count; i++) {
        const Tensor *t = f->model.tensors + i;
        char name[160];
        size_t n;
        snprintf(name, sizeof name, "%s%s", prefix, t->name);
        float *want = read_floats(&f->expected, name, &n);
        assert_int_equal(n, t->rows * t->cols);
        assert_close(values + t->offset, want, n, tolerance, name);
        free(want);
    }
}

/* After three AdamW steps: 99.99 % of the elements within 1e-5 and all within 1e-4, absolute. Where a gradient is near eps,
 * m / sqrt(v) turns its rounding error into a whole step; PyTorch itself in float64 differs there by 3e-5. */
static void check_updated(const Fixture *f)
{
    size_t all = 0, off = 0;
    for (size_t i = 0; i < f->model.tensor_count; i++) {
        const Tensor *t = f->model.tensors + i;
        char name[160];
        size_t n;
        snprintf(name, sizeof name, "after3.%s", t->name);
        float *want = read_floats(&f->expected, name, &n);
        for (size_t j = 0; j < n; j++, all++) {
            double error = fabs((double)f->model.parameters[t->offset + j] - want[j]);
            if (!(error <= 1e-4)) fail_msg("%s[%zu]: off by %g", name, j, error);
            off += error > 1e-5;
        }
        free(want);
    }
    if (off * 10000 > all) fail_msg("%zu of %zu elements are off by more than 1e-5", off, all);
}

static void check_training(const char *name)
{
    Fixture f;
    Err err = {0};
    fixture_open(&f, name);
    TrainOptions how = train_defaults();
    how.schedule = SCHEDULE_CONSTANT, how.warmup = 0, how.decay_all = true, how.micro_rows = 32; // several micro-batches
    how.steps = 3;
    Trainer trainer;
    assert_ok(trainer_init(&trainer, &f.model, &test_compute, &how, &err), &err);
    for (int step = 0; step < 3; step++) {
        StepStats stats;
        char key[32];
        assert_ok(trainer_gradient(&trainer, f.examples, f.B, &stats, &err), &err);
        float loss = (float)stats.loss, norm = (float)stats.grad_norm;
        snprintf(key, sizeof key, "loss.%d", step);
        float *want = read_floats(&f.expected, key, NULL);
        assert_close(&loss, want, 1, 3e-6, key);
        free(want);
        snprintf(key, sizeof key, "grad_norm.%d", step);
        want = read_floats(&f.expected, key, NULL);
        assert_close(&norm, want, 1, 1e-5, key);
        free(want);
        if (step == 0) check_named(&f, "grad.", trainer.gradient, 1e-5);
        trainer_update(&trainer, &stats);
    }
    check_updated(&f);
    trainer_free(&trainer);
    fixture_close(&f);
}

static void tied_logits_are_those_of_pytorch(void **state) { (void)state; check_logits("llama-tiny"); }
static void untied_logits_are_those_of_pytorch(void **state) { (void)state; check_logits("llama-untied"); }
static void tied_gradients_and_adamw_are_those_of_pytorch(void **state) { (void)state; check_training("llama-tiny"); }
static void untied_gradients_and_adamw_are_those_of_pytorch(void **state) { (void)state; check_training("llama-untied"); }

static void check_reward(LossKind kind, const char *tag)
{
    Fixture f;
    Err err = {0};
    int64_t length[8];
    fixture_open(&f, "reward-tiny");
    read_ints(&f.expected, "length", length, f.B);
    float *labels = read_floats(&f.expected, "labels", NULL);
    for (size_t b = 0; b < f.B; b++) f.examples[b] = (Example){.ids = f.ids + b * f.T, .length = (size_t)length[b], .label = labels[b]};
    float score[8], *want_score = read_floats(&f.expected, "score", NULL);
    assert_ok(score_evaluate(&f.model, &test_compute, f.examples, f.B, score, &err), &err);
    assert_close(score, want_score, f.B, 3e-6, "score");
    TrainOptions how = train_defaults();
    how.loss = kind, how.micro_rows = 40; // a pair a micro-batch
    Trainer trainer;
    StepStats stats;
    assert_ok(trainer_init(&trainer, &f.model, &test_compute, &how, &err), &err);
    assert_ok(trainer_gradient(&trainer, f.examples, f.B, &stats, &err), &err);
    char name[80];
    snprintf(name, sizeof name, "%s.loss", tag);
    float loss = (float)stats.loss, *want_loss = read_floats(&f.expected, name, NULL);
    assert_close(&loss, want_loss, 1, 3e-6, name);
    snprintf(name, sizeof name, "%s.grad.", tag);
    check_named(&f, name, trainer.gradient, 1e-5);
    trainer_free(&trainer);
    free(labels), free(want_score), free(want_loss);
    fixture_close(&f);
}

static void bradley_terry_is_that_of_pytorch(void **state) { (void)state; check_reward(LOSS_PAIRS, "bradley_terry"); }
static void logistic_loss_is_that_of_pytorch(void **state) { (void)state; check_reward(LOSS_LOGISTIC, "logistic"); }

// ---- own models: differences and the contract --------------------------------------------------------------------------------------

static const ModelConfig odd_config = {.vocab = 37, .dim = 12, .layers = 2, .heads = 2, .kv_heads = 1, .head_dim = 6, .ff = 20,
    .context = 64, .rms_eps = 1e-5, .rope_theta = 10000, .rope_factor = 1, .bos = 0, .eos = 0, .pad = -1};

static void odd_model(Model *model, bool tied, HeadKind head, ScorePooling pooling)
{
    ModelConfig config = odd_config;
    Err err = {0};
    config.tied = tied, config.head = head, config.pooling = pooling;
    assert_ok(model_init(model, &config, &err), &err);
    model_randomise(model, 5);
    for (size_t i = 0; i < model->parameter_count; i++) // larger weights, so that every path matters
        model->parameters[i] *= model->tensors[0].init_std > 0 && fabsf(model->parameters[i]) < 0.5f ? 12.0f : 1.0f;
}

enum { SEQUENCES = 6 };
static uint32_t sequence_ids[SEQUENCES][40];
static void make_sequences(Example *examples)
{
    const size_t lengths[SEQUENCES] = {7, 33, 2, 18, 25, 11}, prompts[SEQUENCES] = {2, 9, 0, 0, 24, 5};
    TestRandom random = {77};
    for (size_t s = 0; s < SEQUENCES; s++) {
        for (size_t t = 0; t < lengths[s]; t++) sequence_ids[s][t] = test_integer(&random, 37);
        examples[s] = (Example){.ids = sequence_ids[s], .length = lengths[s], .prompt = prompts[s], .label = (float)(s % 2)};
    }
}

static StepStats gradient_of(Trainer *trainer, const Example *examples)
{
    StepStats stats;
    Err err = {0};
    assert_ok(trainer_gradient(trainer, examples, SEQUENCES, &stats, &err), &err);
    return stats;
}

/* Central differences along the gradient of each tensor, signed: the loss must rise by h * |g| per step of h along g/|g|. */
static void check_differences(LossKind loss, ScorePooling pooling, bool tied)
{
    Model model;
    Trainer trainer;
    Err err = {0};
    Example examples[SEQUENCES];
    TrainOptions how = train_defaults();
    how.loss = loss;
    odd_model(&model, tied, loss == LOSS_LM ? HEAD_LM : HEAD_SCORE, pooling);
    make_sequences(examples);
    assert_ok(trainer_init(&trainer, &model, &test_compute, &how, &err), &err);
    gradient_of(&trainer, examples);
    float *g = malloc(model.parameter_count * sizeof *g), *saved = malloc(model.parameter_count * sizeof *saved);
    memcpy(g, trainer.gradient, model.parameter_count * sizeof *g);
    memcpy(saved, model.parameters, model.parameter_count * sizeof *saved);
    for (size_t i = 0; i < model.tensor_count; i++) {
        const Tensor *t = model.tensors + i;
        size_t n = t->rows * t->cols;
        double norm = 0, h = 2e-3, losses[2];
        for (size_t j = 0; j < n; j++) norm += (double)g[t->offset + j] * g[t->offset + j];
        norm = sqrt(norm);
        if (!(norm > 1e-6)) fail_msg("%s has no gradient", t->name);
        for (int side = 0; side < 2; side++) {
            for (size_t j = 0; j < n; j++)
                model.parameters[t->offset + j] = (float)(saved[t->offset + j] + (side ? h : -h) * g[t->offset + j] / norm);
            losses[side] = gradient_of(&trainer, examples).loss;
        }
        memcpy(model.parameters + t->offset, saved + t->offset, n * sizeof *saved);
        double slope = (losses[1] - losses[0]) / (2 * h);
        if (!(fabs(slope - norm) <= 0.02 * norm + 2e-4)) fail_msg("%s: slope %g along the gradient, its norm is %g", t->name, slope, norm);
    }
    free(g), free(saved);
    trainer_free(&trainer);
    model_free(&model);
}

static void lm_gradients_are_slopes(void **state) { (void)state; check_differences(LOSS_LM, POOL_LAST, true); check_differences(LOSS_LM, POOL_LAST, false); }
// RoPE's angles at the last positions are the largest numbers that host_cos and host_sin take.
static void contexts_end_where_the_angles_of_rope_do(void **state)
{
    (void)state;
    Err err = {0};
    ModelConfig config = odd_config;
    config.context = 1u << 20;
    assert_ok(model_check_config(&config, "model", &err), &err);
    config.context++;
    assert_input_error(model_check_config(&config, "model", &err), &err, "max_position_embeddings must be 1 to 1048576, found 1048577");
}

static void score_gradients_are_slopes(void **state)
{
    (void)state;
    check_differences(LOSS_LOGISTIC, POOL_LAST, true);
    check_differences(LOSS_LOGISTIC, POOL_MEAN, true);
    check_differences(LOSS_PAIRS, POOL_MEAN, true);
}

// Layers are frozen below, above, and on both sides of nothing; what is trained keeps its gradient to the bit.
static void freezing_changes_no_gradient_of_what_is_trained(void **state)
{
    (void)state;
    const LossKind kinds[] = {LOSS_LM, LOSS_PAIRS};
    for (size_t k = 0; k < 2; k++)
        for (size_t layer = 0; layer < 2; layer++) {
            Model whole, part;
            Trainer all, some;
            Err err = {0};
            Example examples[SEQUENCES];
            TrainOptions how = train_defaults();
            how.loss = kinds[k];
            odd_model(&whole, true, k ? HEAD_SCORE : HEAD_LM, POOL_MEAN);
            odd_model(&part, true, k ? HEAD_SCORE : HEAD_LM, POOL_MEAN);
            model_freeze(&part, layer, layer);
            make_sequences(examples);
            assert_ok(trainer_init(&all, &whole, &test_compute, &how, &err) || trainer_init(&some, &part, &test_compute, &how, &err), &err);
            gradient_of(&all, examples);
            StepStats stats = gradient_of(&some, examples);
            assert_int_equal(some.ws.saved_from, layer);
            size_t trained = 0;
            double squares = 0;
            for (size_t i = 0; i < part.tensor_count; i++) {
                const Tensor *t = &part.tensors[i];
                size_t n = t->rows * t->cols;
                char prefix[32];
                snprintf(prefix, sizeof prefix, "model.layers.%zu.", layer);
                assert_int_equal(!t->frozen, !strncmp(t->name, prefix, strlen(prefix)) || !strcmp(t->name, "score.weight"));
                if (t->frozen) continue;
                assert_ptr_equal(model_gradient(&part, some.gradient, t->offset), some.gradient + trained);
                assert_same_bits(some.gradient + trained, all.gradient + t->offset, n, t->name);
                for (size_t j = 0; j < n; j++) squares += (double)some.gradient[trained + j] * some.gradient[trained + j];
                trained += n;
            }
            assert_int_equal(trained, part.trained_count);
            assert_true(fabs(stats.grad_norm - sqrt(squares)) <= 1e-5 * stats.grad_norm);
            trainer_update(&some, &stats);
            for (size_t i = 0; i < part.tensor_count; i++) {
                const Tensor *t = &part.tensors[i];
                bool same = !memcmp(part.parameters + t->offset, whole.parameters + t->offset, t->rows * t->cols * sizeof(float));
                if (same != t->frozen) fail_msg("%s %s", t->name, same ? "did not learn" : "is frozen and changed");
            }
            trainer_free(&all), trainer_free(&some);
            model_free(&whole), model_free(&part);
        }
}

static void gradients_have_the_same_bits_for_any_micro_batch_and_thread_count(void **state)
{
    (void)state;
    const LossKind kinds[] = {LOSS_LM, LOSS_LOGISTIC, LOSS_PAIRS};
    for (size_t k = 0; k < 3; k++) {
        Model model;
        Example examples[SEQUENCES];
        Err err = {0};
        odd_model(&model, true, k ? HEAD_SCORE : HEAD_LM, POOL_MEAN);
        make_sequences(examples);
        float *first = NULL;
        double first_loss = 0;
        const size_t micro[] = {4096, 1, 40, 60, 4096, 4096}, threads[] = {1, 1, 1, 2, 2, 3};
        for (size_t i = 0; i < 6; i++) {
            Compute on;
            Trainer trainer;
            TrainOptions how = train_defaults();
            how.loss = kinds[k], how.micro_rows = micro[i];
            assert_ok(compute_init(&on, NULL, "own", threads[i], &err), &err);
            assert_ok(trainer_init(&trainer, &model, &on, &how, &err), &err);
            StepStats stats = gradient_of(&trainer, examples);
            if (first) {
                assert_same_bits(trainer.gradient, first, model.parameter_count, "gradient");
                assert_true(stats.loss == first_loss);
            } else {
                first = malloc(model.parameter_count * sizeof *first);
                memcpy(first, trainer.gradient, model.parameter_count * sizeof *first);
                first_loss = stats.loss;
            }
            trainer_free(&trainer);
            compute_free(&on);
        }
        free(first);
        model_free(&model);
    }
}

// Wide enough that a few rows are a share: 32 rows a thread are dealt out, fewer are not.
static void rows_dealt_out_in_shares_have_the_same_bits(void **state)
{
    (void)state;
    ModelConfig config = odd_config;
    Model model;
    Example examples[SEQUENCES];
    Err err = {0};
    config.ff = 4200, config.tied = true, config.head = HEAD_LM;
    assert_ok(model_init(&model, &config, &err), &err);
    model_randomise(&model, 5);
    make_sequences(examples);
    float *whole = NULL;
    const size_t micro[] = {40, 4096, 4096}, threads[] = {3, 1, 2}; // the first keeps under 32 rows a thread
    for (size_t i = 0; i < 3; i++) {
        Compute on;
        Trainer trainer;
        TrainOptions how = train_defaults();
        float logprob[SEQUENCES];
        how.micro_rows = micro[i];
        assert_ok(compute_init(&on, NULL, "own", threads[i], &err), &err);
        assert_ok(trainer_init(&trainer, &model, &on, &how, &err), &err);
        gradient_of(&trainer, examples);
        assert_ok(lm_evaluate(&model, &on, examples, SEQUENCES, logprob, NULL, &err), &err);
        if (!whole) {
            whole = malloc((model.parameter_count + SEQUENCES) * sizeof *whole);
            memcpy(whole, trainer.gradient, model.parameter_count * sizeof *whole);
            for (size_t s = 0; s < SEQUENCES; s++) assert_ok(lm_evaluate(&model, &on, examples + s, 1, whole + model.parameter_count + s, NULL, &err), &err);
        }
        assert_same_bits(trainer.gradient, whole, model.parameter_count, "gradient");
        assert_same_bits(logprob, whole + model.parameter_count, SEQUENCES, "logprob");
        trainer_free(&trainer);
        compute_free(&on);
    }
    free(whole);
    model_free(&model);
}

static void log_probabilities_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    Model model;
    Example examples[SEQUENCES];
    Err err = {0};
    float together[SEQUENCES], alone;
    size_t counts[SEQUENCES], one;
    odd_model(&model, true, HEAD_LM, POOL_LAST);
    make_sequences(examples);
    assert_ok(lm_evaluate(&model, &test_compute, examples, SEQUENCES, together, counts, &err), &err);
    for (size_t s = 0; s < SEQUENCES; s++) {
        assert_ok(lm_evaluate(&model, &test_compute, examples + s, 1, &alone, &one, &err), &err);
        assert_same_bits(&alone, together + s, 1, "logprob");
        assert_int_equal(one, counts[s]);
    }
    assert_int_equal(counts[0], 5);
    model_free(&model);
}

static void packed_weights_give_the_same_bits(void **state)
{
    (void)state;
    Model model;
    PackedModel packed;
    Workspace ws;
    LossScratch scratch;
    Err err = {0};
    Example examples[SEQUENCES];
    uint32_t rows[200];
    odd_model(&model, false, HEAD_LM, POOL_LAST);
    make_sequences(examples);
    assert_ok(packed_init(&packed, &model, &test_compute, &err), &err);
    packed_update(&packed, &model, &test_compute);
    assert_ok(workspace_init(&ws, &model, &test_compute, 128, SEQUENCES, false, &err), &err);
    assert_ok(loss_scratch_init(&scratch, &model, &test_compute, 128, &err), &err);
    float *logits[2];
    size_t n = 0;
    for (int use = 0; use < 2; use++) {
        batch_clear(&ws);
        for (size_t s = 0; s < SEQUENCES; s++) batch_add(&ws, examples[s].ids, examples[s].length);
        n = ws.rows;
        for (uint32_t i = 0; i < n; i++) rows[i] = i;
        logits[use] = malloc(n * 37 * sizeof(float));
        model_forward(&model, use ? &packed : NULL, &ws);
        lm_logits(&model, use ? &packed : NULL, &ws, &scratch, logits[use], rows, n);
    }
    assert_same_bits(logits[1], logits[0], n * 37, "logits");
    free(logits[0]), free(logits[1]);
    loss_scratch_free(&scratch);
    workspace_free(&ws);
    packed_free(&packed);
    model_free(&model);
}

static void training_lowers_the_loss_and_repeats_bit_for_bit(void **state)
{
    (void)state;
    Err err = {0};
    Example examples[SEQUENCES];
    Model runs[2];
    StepStats totals[2];
    make_sequences(examples);
    for (int r = 0; r < 2; r++) {
        Trainer trainer;
        TrainOptions how = train_defaults();
        how.lr = 1e-2, how.epochs = 40, how.batch = 4;
        odd_model(&runs[r], true, HEAD_LM, POOL_LAST);
        assert_ok(trainer_init(&trainer, &runs[r], &test_compute, &how, &err), &err);
        double before = gradient_of(&trainer, examples).loss;
        assert_ok(train_run(&trainer, examples, SEQUENCES, 1, 0, NULL, NULL, &totals[r], &err), &err);
        assert_true(totals[r].loss < 0.3 * before);
        trainer_free(&trainer);
    }
    assert_true(totals[0].loss == totals[1].loss);
    assert_same_bits(runs[0].parameters, runs[1].parameters, runs[0].parameter_count, "parameters");
    model_free(&runs[0]);
    model_free(&runs[1]);
}

static void schedules_warm_up_and_end_where_they_say(void **state)
{
    (void)state;
    TrainOptions how = train_defaults();
    how.lr = 2, how.steps = 100, how.warmup = 0.1, how.final_lr = 0.25;
    const Schedule kinds[] = {SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE};
    const double last[] = {2, 0.5, 0.5}, middle[] = {2, 1.25, 1.25};
    for (size_t i = 0; i < 3; i++) {
        how.schedule = kinds[i];
        assert_true(fabs(train_lr(&how, 0) - 0.2) < 1e-12);
        assert_true(fabs(train_lr(&how, 9) - 2) < 1e-12);
        assert_true(fabs(train_lr(&how, 54) - middle[i]) < 1e-12);
        assert_true(fabs(train_lr(&how, 99) - last[i]) < 1e-12);
    }
}

static void unusable_examples_are_refused(void **state)
{
    (void)state;
    Model model;
    Err err = {0};
    uint32_t ids[80] = {1, 2, 99};
    float logprob;
    odd_model(&model, true, HEAD_LM, POOL_LAST);
    assert_input_error(lm_evaluate(&model, &test_compute, &(Example){.ids = ids, .length = 3}, 1, &logprob, NULL, &err), &err, "id 99 is outside the vocabulary of 37");
    ids[2] = 3;
    assert_input_error(lm_evaluate(&model, &test_compute, &(Example){.ids = ids, .length = 80}, 1, &logprob, NULL, &err), &err, "context is 64");
    Trainer trainer;
    TrainOptions how = train_defaults();
    StepStats stats;
    assert_ok(trainer_init(&trainer, &model, &test_compute, &how, &err), &err);
    assert_input_error(trainer_gradient(&trainer, &(Example){.ids = ids, .length = 3, .prompt = 3}, 1, &stats, &err), &err, "no token to learn from");
    trainer_free(&trainer);
    model_free(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tied_logits_are_those_of_pytorch),
        cmocka_unit_test(untied_logits_are_those_of_pytorch),
        cmocka_unit_test(tied_gradients_and_adamw_are_those_of_pytorch),
        cmocka_unit_test(untied_gradients_and_adamw_are_those_of_pytorch),
        cmocka_unit_test(bradley_terry_is_that_of_pytorch),
        cmocka_unit_test(contexts_end_where_the_angles_of_rope_do),
        cmocka_unit_test(logistic_loss_is_that_of_pytorch),
        cmocka_unit_test(lm_gradients_are_slopes),
        cmocka_unit_test(score_gradients_are_slopes),
        cmocka_unit_test(freezing_changes_no_gradient_of_what_is_trained),
        cmocka_unit_test(gradients_have_the_same_bits_for_any_micro_batch_and_thread_count),
        cmocka_unit_test(rows_dealt_out_in_shares_have_the_same_bits),
        cmocka_unit_test(log_probabilities_do_not_depend_on_the_batch),
        cmocka_unit_test(packed_weights_give_the_same_bits),
        cmocka_unit_test(training_lowers_the_loss_and_repeats_bit_for_bit),
        cmocka_unit_test(schedules_warm_up_and_end_where_they_say),
        cmocka_unit_test(unusable_examples_are_refused),
    };
    return cmocka_run_group_tests(tests, make_test_compute, drop_test_compute);
}
