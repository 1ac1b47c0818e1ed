// SPDX-License-Identifier: MIT
/* test_ppo.c - what PPO does with one stage's answers: the ratio before the first update, the gradient through both heads, the same
 * bits in every composition, the value head. The loop is in test_ppo_loop.c, the arithmetic in test_ppo_loss.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/checkpoint.h"
#include "tests/support_ppo.h"

static const size_t all_prompts[PROMPTS] = {0, 1, 2, 3, 4};

// ---- answers and what is known of them -------------------------------------------------------------------------------------------

typedef struct { Policy policy; SampleList samples; CandidateList answers; Rollout rollout; } Stage;

static void stage_open(Stage *s, const PolicyOptions *o, const Model *model, const Model *reference)
{
    Err err = {0};
    TestRandom random = {23};
    *s = (Stage){0};
    assert_ok(policy_init(&s->policy, (Model *)(uintptr_t)model, reference, &fixture.tokenizer, &fixture.prompts, &fixture.cx, o, &err), &err);
    assert_ok(policy_collect(&s->policy, &s->samples, all_prompts, PROMPTS, K, 0, &err), &err);
    for (size_t i = 0; i < s->samples.count; i++) {
        Candidate c = policy_candidate(s->samples.items + i, i / K);
        c.score = test_uniform(&random, -1, 1);
        assert_ok(candidates_add(&s->answers, &c, &err), &err);
    }
    PpoOptions how = usual_ppo();
    assert_ok(rollout_init(&s->rollout, &s->policy, &s->answers, &err), &err);
    rollout_advantages(&s->rollout, &s->policy, &s->answers, &how.loss, how.loss.kl_coef);
}

static void stage_close(Stage *s)
{
    rollout_free(&s->rollout);
    mem_free(s->answers.items);
    samples_free(&s->samples);
    policy_free(&s->policy);
}

// log pi_old and V_old are what the sampler knew; a file does not hold them, and a forward pass gives them again.
static void assert_a_file_is_read_to_the_same_rollout(Stage *s)
{
    Err err = {0};
    Rollout again;
    for (size_t i = 0; i < s->samples.count; i++) {
        DrawnToken *drawn = s->samples.items[i].drawn;
        assert_non_null(drawn);
        assert_true(drawn[0].value != 0);
        s->samples.items[i].drawn = NULL;
        mem_free(drawn);
    }
    assert_ok(rollout_init(&again, &s->policy, &s->answers, &err), &err);
    assert_int_equal(again.N, s->rollout.N);
    assert_same_bits(again.logprob, s->rollout.logprob, again.N, "log pi_old");
    assert_same_bits(again.value, s->rollout.value, again.N, "V_old");
    rollout_free(&again);
}

static TrainOptions ppo_training(void)
{
    TrainOptions train = usual_policy().train;
    train.loss = LOSS_PPO;
    train.ppo = usual_ppo().loss;
    return train;
}

// Each token's ratio, whatever shares its pass: other batches in the sampler, other micro-batches, other examples beside it.
static void before_the_first_update_the_ratio_is_exactly_1_in_every_composition(void **state)
{
    (void)state;
    Err err = {0};
    Model reference;
    reference_beside_start(&reference);
    const size_t batches[] = {1, 3, 256};
    const struct { size_t rows, count; } steps[] = {{1, ANSWERS}, {37, 7}, {2048, 1}, {2048, ANSWERS}};
    size_t tokens = 0;
    for (size_t b = 0; b < 3; b++) {
        PolicyOptions o = usual_policy();
        o.sample.batch = batches[b];
        Stage s;
        stage_open(&s, &o, &fixture.start, &reference);
        for (size_t i = 0, at = 0; i < s.samples.count; at += s.rollout.length[i++]) { // the sampler's own, to the bit
            float sum = (float)fixture.cx.k->sum_array(s.rollout.logprob + at, s.rollout.length[i]);
            assert_same_bits(&s.samples.items[i].logprob, &sum, 1, "logprob");
        }
        assert_a_file_is_read_to_the_same_rollout(&s);
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            TrainOptions train = ppo_training();
            Trainer trainer;
            StepStats stats;
            train.micro_rows = steps[i].rows;
            assert_ok(trainer_init(&trainer, &fixture.start, &fixture.cx, &train, &err), &err);
            for (size_t first = 0, n = steps[i].count; first + n <= ANSWERS; first += n) {
                assert_ok(trainer_gradient(&trainer, s.rollout.list.examples + first, n, &stats, &err), &err);
                for (size_t t = 0; t < stats.targets; t++)
                    if (trainer.ppo.ratio[t] != 1.0f) fail_msg("token %zu: the ratio is %.9g", t, (double)trainer.ppo.ratio[t]);
                assert_true(stats.clipped == 0);
                tokens += stats.targets;
            }
            trainer_free(&trainer);
        }
        stage_close(&s);
    }
    assert_true(tokens > 1500);
    model_free(&reference);
}

// Answers drawn a while ago: ratios on both sides of 1, some cut off, values that moved.
static void age(Rollout *r)
{
    TestRandom random = {37};
    for (size_t t = 0; t < r->N; t++) {
        r->actions[t].logprob += test_uniform(&random, -0.4f, 0.4f);
        r->actions[t].value += test_uniform(&random, -0.4f, 0.4f);
    }
}

static void the_gradient_has_the_same_bits_for_any_micro_batch_threads_and_instruction_set(void **state)
{
    (void)state;
    Err err = {0};
    Model reference;
    Stage s;
    PolicyOptions o = usual_policy();
    const Kernels *list[4];
    size_t kinds = kernels_available(list);
    float *expected = NULL;
    reference_beside_start(&reference);
    stage_open(&s, &o, &fixture.start, &reference);
    age(&s.rollout);
    for (size_t kind = 0; kind < kinds; kind++)
        for (size_t threads = 1; threads <= 3; threads++) {
            const size_t rows[] = {2048, 1, 53};
            Compute other;
            assert_ok(compute_init(&other, list[kind]->isa, "own", threads, &err), &err);
            TrainOptions train = ppo_training();
            Trainer trainer;
            StepStats stats;
            train.micro_rows = rows[threads - 1];
            assert_ok(trainer_init(&trainer, &fixture.start, &other, &train, &err), &err);
            assert_ok(trainer_gradient(&trainer, s.rollout.list.examples, ANSWERS, &stats, &err), &err);
            assert_true(stats.clipped > 0.05 && stats.clipped < 0.9 && stats.value_loss > 0);
            size_t n = fixture.start.parameter_count;
            if (!expected) memcpy(expected = malloc(n * sizeof *expected), trainer.gradient, n * sizeof *expected);
            assert_same_bits(trainer.gradient, expected, n, "gradient");
            trainer_free(&trainer);
            close_other_compute(&other);
        }
    free(expected);
    stage_close(&s);
    model_free(&reference);
}

static double loss_at(Model *model, const Rollout *r, const float *direction, const Tensor *t, float step)
{
    Err err = {0};
    TrainOptions train = ppo_training();
    Trainer trainer;
    StepStats stats;
    size_t n = t->rows * t->cols;
    float *values = model->parameters + t->offset, *kept = malloc(n * sizeof *kept);
    memcpy(kept, values, n * sizeof *kept);
    for (size_t i = 0; i < n; i++) values[i] += step * direction[i];
    assert_ok(trainer_init(&trainer, model, &fixture.cx, &train, &err), &err);
    assert_ok(trainer_gradient(&trainer, r->list.examples, ANSWERS, &stats, &err), &err);
    memcpy(values, kept, n * sizeof *kept);
    free(kept);
    trainer_free(&trainer);
    return stats.loss;
}

/* Along a random direction in each tensor, signed. Clips are made wide: next to their edges the loss has no slope, and 180 tokens
 * always hold some; what they do to a token's slope is in test_ppo_loss.c. */
static void the_gradient_is_the_losses_slope_in_every_tensor(void **state)
{
    (void)state;
    Err err = {0};
    Model reference, model;
    Stage s;
    PolicyOptions o = usual_policy();
    TrainOptions train = ppo_training();
    Trainer trainer;
    StepStats stats;
    TestRandom random = {41};
    reference_beside_start(&reference);
    assert_ok(model_copy(&model, &fixture.start, &err), &err);
    stage_open(&s, &o, &fixture.start, &reference);
    age(&s.rollout);
    for (size_t t = 0; t < s.rollout.N; t++) s.rollout.actions[t].logprob -= s.rollout.actions[t].advantage < 0 ? 1 : -1; // never cut
    for (size_t t = 0; t < s.rollout.N; t++) s.rollout.actions[t].value = s.rollout.value[t];
    assert_ok(trainer_init(&trainer, &model, &fixture.cx, &train, &err), &err);
    assert_ok(trainer_gradient(&trainer, s.rollout.list.examples, ANSWERS, &stats, &err), &err);
    assert_true(stats.clipped == 0);
    for (size_t i = 0; i < model.tensor_count; i++) {
        const Tensor *t = model.tensors + i;
        size_t n = t->rows * t->cols;
        float *direction = malloc(n * sizeof *direction), h = 8e-3f;
        double slope = 0, norm = 0;
        for (size_t j = 0; j < n; j++) { // along the gradient, with a random part: far from orthogonal, so that signs count
            float g = trainer.gradient[t->offset + j];
            direction[j] = g * (1 + test_uniform(&random, -0.5f, 0.5f));
            norm += (double)direction[j] * direction[j];
        }
        norm = sqrt(norm);
        if (!(norm > 0)) fail_msg("%s: no gradient", t->name);
        for (size_t j = 0; j < n; j++) {
            direction[j] = (float)(direction[j] / norm);
            slope += (double)trainer.gradient[t->offset + j] * direction[j];
        }
        double difference = (loss_at(&model, &s.rollout, direction, t, h) - loss_at(&model, &s.rollout, direction, t, -h)) / (2 * (double)h);
        if (!(fabs(slope - difference) <= 0.02 * fabs(slope))) fail_msg("%s: slope %g, difference %g", t->name, slope, difference);
        free(direction);
    }
    trainer_free(&trainer);
    stage_close(&s);
    model_free(&model);
    model_free(&reference);
}

// ---- the value head ----------------------------------------------------------------------------------------------------------------

static void a_value_head_starts_at_zero_and_moves_nothing_else(void **state)
{
    (void)state;
    Err err = {0};
    Model plain, grown;
    ModelConfig config = fixture.start.config;
    config.value_head = false;
    assert_ok(model_init(&plain, &config, &err), &err);
    model_randomise(&plain, 3);
    assert_ok(model_copy(&grown, &plain, &err), &err);
    assert_ok(model_add_value_head(&grown, &err), &err);
    assert_int_equal(grown.parameter_count, plain.parameter_count + config.dim + 1);
    assert_same_bits(grown.parameters, plain.parameters, plain.parameter_count, "parameters");
    for (size_t i = 0; i <= config.dim; i++) assert_true(grown.parameters[grown.value + i] == 0);
    assert_ok(model_add_value_head(&grown, &err), &err); // a second time: nothing
    assert_int_equal(grown.parameter_count, plain.parameter_count + config.dim + 1);
    model_randomise(&grown, 3);
    assert_same_bits(grown.parameters, plain.parameters, plain.parameter_count, "randomised parameters");
    assert_true(grown.parameters[grown.value] == 0);
    model_drop_value_head(&grown);
    assert_true(checkpoint_hash(&grown) == checkpoint_hash(&plain)); // as if it had never had one
    model_free(&plain);
    model_free(&grown);
}

static void a_checkpoint_keeps_the_value_head(void **state)
{
    (void)state;
    Err err = {0};
    Model loaded;
    char *folder = temporary_folder();
    assert_ok(checkpoint_save(folder, &fixture.start, &fixture.tokenizer, &err), &err);
    assert_ok(checkpoint_load(&loaded, folder, &err), &err);
    assert_true(loaded.config.value_head);
    assert_same_bits(loaded.parameters, fixture.start.parameters, fixture.start.parameter_count, "parameters");
    assert_true(checkpoint_hash(&loaded) == checkpoint_hash(&fixture.start));
    model_free(&loaded);
    remove_folder(folder);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_the_first_update_the_ratio_is_exactly_1_in_every_composition),
        cmocka_unit_test(the_gradient_has_the_same_bits_for_any_micro_batch_threads_and_instruction_set),
        cmocka_unit_test(the_gradient_is_the_losses_slope_in_every_tensor),
        cmocka_unit_test(a_value_head_starts_at_zero_and_moves_nothing_else),
        cmocka_unit_test(a_checkpoint_keeps_the_value_head),
    };
    return cmocka_run_group_tests(tests, make_ppo_fixture, drop_policy_fixture);
}
