// SPDX-License-Identifier: MIT
/* test_ppo.c - PPO on a language model: the ratio before the first update, the gradient through both heads, the same bits in
 * every composition, a reward that rises, a run that is cut off. The command is in test_ppo_command.c. */
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/checkpoint.h"
#include "study/alignment.h"

static Compute cx;
static Tokenizer tokenizer;
static PromptList prompts;
static Model start; // with a value head that is not zero

enum { K = 4, NEW = 9, CONTEXT = 40, PROMPTS = 5, ANSWERS = PROMPTS * K };
static const size_t all_prompts[PROMPTS] = {0, 1, 2, 3, 4};

// What a Compute with another number of threads leaves behind is undone: OpenMP has one number for all.
static void close_other(Compute *other)
{
    Err err = {0};
    size_t threads = cx.threads;
    compute_free(other);
    compute_free(&cx);
    assert_ok(compute_init(&cx, NULL, "own", threads, &err), &err);
}

static void make_start(void)
{
    Err err = {0};
    TestRandom random = {17};
    ModelConfig config = {.vocab = tokenizer.vocab, .dim = 32, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 8, .ff = 48,
        .context = CONTEXT, .rms_eps = 1e-5, .rope_theta = 10000, .tied = true, .bos = 0, .eos = 0, .pad = -1};
    assert_ok(model_init(&start, &config, &err), &err);
    model_randomise(&start, 1);
    for (size_t i = 0; i < config.vocab * config.dim; i++) start.parameters[start.embedding + i] *= 4;
    assert_ok(model_add_value_head(&start, &err), &err);
    for (size_t i = 0; i <= config.dim; i++) start.parameters[start.value + i] = test_uniform(&random, -0.3f, 0.3f);
}

static int set_up(void **state)
{
    static const char *const texts[PROMPTS] = {"the film was good", "a very bad film", "what a good story", "the story was very bad", "good"};
    TextView views[PROMPTS];
    const char *special[] = {"<|endoftext|>"};
    TokenizerTraining how = {.vocab = 290, .special = special, .special_count = 1};
    Err err = {0};
    (void)state;
    if (compute_init(&cx, NULL, "own", 0, &err)) return print_error("%s\n", err.text), -1;
    for (size_t i = 0; i < PROMPTS; i++) views[i] = (TextView){texts[i], strlen(texts[i])};
    assert_ok(tokenizer_train(&tokenizer, views, PROMPTS, &how, &err), &err);
    for (size_t i = 0; i < PROMPTS; i++) {
        char id[8];
        snprintf(id, sizeof id, "p%zu", i);
        assert_ok(prompts_add(&prompts, id, texts[i], strlen(texts[i]), &err), &err);
    }
    assert_ok(policy_tokenize_prompts(&prompts, &tokenizer, CONTEXT, NEW, &err), &err);
    make_start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    model_free(&start);
    prompts_free(&prompts);
    tokenizer_free(&tokenizer);
    compute_free(&cx);
    return 0;
}

static PolicyOptions usual(void)
{
    PolicyOptions o = {.sample = sample_defaults(), .train = train_defaults(), .seed = 9};
    o.sample.max_new = NEW;
    o.sample.eos = 0;
    o.train.lr = 5e-3;
    o.train.weight_decay = 0;
    o.train.schedule = SCHEDULE_CONSTANT;
    o.train.batch = 8;
    o.train.epochs = 2;
    return o;
}

static PpoOptions usual_ppo(void)
{
    return (PpoOptions){.loss = {.kl_coef = 0.05, .gamma = 1, .lambda = 0.95, .ratio_clip = 0.2, .value_clip = 0.2, .vf_coef = 0.1}, .iterations = 4};
}

// ---- answers and what is known of them -------------------------------------------------------------------------------------------

typedef struct { Policy policy; SampleList samples; CandidateList answers; Rollout rollout; } Stage;

static void stage_open(Stage *s, const PolicyOptions *o, const Model *model, const Model *reference)
{
    Err err = {0};
    TestRandom random = {23};
    *s = (Stage){0};
    assert_ok(policy_init(&s->policy, (Model *)(uintptr_t)model, reference, &tokenizer, &prompts, &cx, o, &err), &err);
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

static void make_reference(Model *reference)
{
    Err err = {0};
    assert_ok(model_copy(reference, &start, &err), &err);
    TestRandom random = {31};
    for (size_t i = 0; i < reference->parameter_count; i++) reference->parameters[i] *= 1 + test_uniform(&random, -0.1f, 0.1f);
}

static TrainOptions ppo_training(void)
{
    TrainOptions train = usual().train;
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
    make_reference(&reference);
    const size_t batches[] = {1, 3, 256};
    const struct { size_t rows, count; } steps[] = {{1, ANSWERS}, {37, 7}, {2048, 1}, {2048, ANSWERS}};
    size_t tokens = 0;
    for (size_t b = 0; b < 3; b++) {
        PolicyOptions o = usual();
        o.sample.batch = batches[b];
        Stage s;
        stage_open(&s, &o, &start, &reference);
        for (size_t i = 0, at = 0; i < s.samples.count; at += s.rollout.length[i++]) { // the sampler's own, to the bit
            float sum = (float)cx.k->sum_array(s.rollout.logprob + at, s.rollout.length[i]);
            assert_same_bits(&s.samples.items[i].logprob, &sum, 1, "logprob");
        }
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            TrainOptions train = ppo_training();
            Trainer trainer;
            StepStats stats;
            train.micro_rows = steps[i].rows;
            assert_ok(trainer_init(&trainer, &start, &cx, &train, &err), &err);
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
    PolicyOptions o = usual();
    const Kernels *list[4];
    size_t kinds = kernels_available(list);
    float *expected = NULL;
    make_reference(&reference);
    stage_open(&s, &o, &start, &reference);
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
            assert_ok(trainer_init(&trainer, &start, &other, &train, &err), &err);
            assert_ok(trainer_gradient(&trainer, s.rollout.list.examples, ANSWERS, &stats, &err), &err);
            assert_true(stats.clipped > 0.05 && stats.clipped < 0.9 && stats.value_loss > 0);
            size_t n = start.parameter_count;
            if (!expected) memcpy(expected = malloc(n * sizeof *expected), trainer.gradient, n * sizeof *expected);
            assert_same_bits(trainer.gradient, expected, n, "gradient");
            trainer_free(&trainer);
            close_other(&other);
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
    assert_ok(trainer_init(&trainer, model, &cx, &train, &err), &err);
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
    PolicyOptions o = usual();
    TrainOptions train = ppo_training();
    Trainer trainer;
    StepStats stats;
    TestRandom random = {41};
    make_reference(&reference);
    assert_ok(model_copy(&model, &start, &err), &err);
    stage_open(&s, &o, &start, &reference);
    age(&s.rollout);
    for (size_t t = 0; t < s.rollout.N; t++) s.rollout.actions[t].logprob -= s.rollout.actions[t].advantage < 0 ? 1 : -1; // never cut
    for (size_t t = 0; t < s.rollout.N; t++) s.rollout.actions[t].value = s.rollout.value[t];
    assert_ok(trainer_init(&trainer, &model, &cx, &train, &err), &err);
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
    ModelConfig config = start.config;
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
    assert_ok(checkpoint_save(folder, &start, &tokenizer, &err), &err);
    assert_ok(checkpoint_load(&loaded, folder, &err), &err);
    assert_true(loaded.config.value_head);
    assert_same_bits(loaded.parameters, start.parameters, start.parameter_count, "parameters");
    assert_true(checkpoint_hash(&loaded) == checkpoint_hash(&start));
    model_free(&loaded);
    remove_folder(folder);
    free(folder);
}

// ---- the loop ----------------------------------------------------------------------------------------------------------------------

// The share of an answer's tokens with an even id: about a half at the start, and easy to learn.
static int even_tokens(void *self, CandidateList *answers, Err *err)
{
    (void)self;
    (void)err;
    for (size_t i = 0; i < answers->count; i++) {
        const TokenList *tokens = &((const Sample *)answers->items[i].item)->tokens;
        size_t even = 0;
        for (size_t t = 0; t < tokens->length; t++) even += tokens->ids[t] % 2 == 0;
        answers->items[i].score = (float)even / (float)tokens->length;
    }
    return 0;
}

typedef struct { double first, last, last_value_loss; } Course;

static int note_rewards(void *self, const char *step, size_t iteration, const CandidateList *answers, Err *err)
{
    Course *course = self;
    double sum = 0;
    (void)err;
    if (strcmp(step, "ranked")) return 0;
    for (size_t i = 0; i < answers->count; i++) {
        assert_true(answers->items[i].selected);
        sum += answers->items[i].score;
    }
    *(iteration ? &course->last : &course->first) = sum / (double)answers->count;
    return 0;
}

static Course run_ppo(Model *model, const Compute *on, size_t iterations, size_t samples, const PpoOptions *how)
{
    Err err = {0};
    Course course = {0};
    Policy policy;
    PolicyOptions o = usual();
    assert_ok(model_copy(model, &start, &err), &err);
    assert_ok(policy_init(&policy, model, &start, &tokenizer, &prompts, on, &o, &err), &err);
    Ppo ppo = {.policy = &policy, .stage = {.generator = policy_generator(&policy), .reward = {.score = even_tokens},
        .prompts = PROMPTS, .samples = samples, .seed = o.seed, .observer = note_rewards, .observer_self = &course}};
    assert_ok(ppo_init(&ppo, how, &err), &err);
    for (size_t t = 0; t < iterations; t++) assert_ok(ppo_iteration(&ppo, t, &err), &err);
    assert_int_equal(ppo.trainer.step, iterations * 2 * ((PROMPTS * samples + 7) / 8)); // AdamW goes on from stage to stage
    course.last_value_loss = policy.last.value_loss;
    ppo_free(&ppo);
    policy_free(&policy);
    return course;
}

// p0 is asked once, token by token, before the answers are ranked and written: the sums are those that RAFT's candidates have.
static int check_divergence(void *self, const char *step, size_t iteration, const CandidateList *answers, Err *err)
{
    const Model *reference = self;
    (void)iteration;
    if (strcmp(step, "ranked")) return 0;
    ExampleList list;
    const Sample *samples[ANSWERS];
    float expected[ANSWERS];
    assert_int_equal(answers->count, ANSWERS);
    for (size_t i = 0; i < ANSWERS; i++) samples[i] = answers->items[i].item;
    assert_ok(policy_examples(&list, samples, ANSWERS, err), err);
    assert_ok(lm_evaluate(reference, &cx, list.examples, ANSWERS, expected, NULL, err), err);
    for (size_t i = 0; i < ANSWERS; i++) {
        float ratio = samples[i]->logprob - expected[i];
        assert_same_bits(&samples[i]->ref_logprob, expected + i, 1, "ref_logprob");
        assert_same_bits(&answers->items[i].log_ratio, &ratio, 1, "log_ratio");
    }
    policy_examples_free(&list);
    return 0;
}

static void answers_know_their_divergence_when_they_are_ranked(void **state)
{
    (void)state;
    Err err = {0};
    Model model, reference;
    Policy policy;
    PolicyOptions o = usual();
    PpoOptions how = usual_ppo();
    how.iterations = 2;
    make_reference(&reference);
    assert_ok(model_copy(&model, &start, &err), &err);
    assert_ok(policy_init(&policy, &model, &reference, &tokenizer, &prompts, &cx, &o, &err), &err);
    Ppo ppo = {.policy = &policy, .stage = {.generator = policy_generator(&policy), .reward = {.score = even_tokens},
        .prompts = PROMPTS, .samples = K, .seed = o.seed, .observer = check_divergence, .observer_self = &reference}};
    assert_ok(ppo_init(&ppo, &how, &err), &err);
    for (size_t t = 0; t < how.iterations; t++) assert_ok(ppo_iteration(&ppo, t, &err), &err);
    ppo_free(&ppo);
    policy_free(&policy);
    model_free(&model);
    model_free(&reference);
}

static void the_reward_rises(void **state)
{
    (void)state;
    Model model;
    PpoOptions how = usual_ppo();
    how.iterations = 20;
    Course course = run_ppo(&model, &cx, how.iterations, 16, &how);
    print_message("    share of even tokens %.3f -> %.3f, value loss %.4f\n", course.first, course.last, course.last_value_loss);
    assert_true(course.first < 0.6);
    assert_true(course.last > course.first + 0.25);
    assert_true(course.last_value_loss < 0.05);
    model_free(&model);
}

static void a_large_penalty_holds_the_policy_where_it_began(void **state)
{
    (void)state;
    Model model;
    PpoOptions how = usual_ppo();
    how.iterations = 20;
    how.loss.kl_coef = 10;
    Course course = run_ppo(&model, &cx, how.iterations, 16, &how);
    if (fabs(course.last - course.first) > 0.1) fail_msg("%.3f -> %.3f", course.first, course.last);
    model_free(&model);
}

static void a_run_has_the_same_bits_for_any_threads_and_instruction_set(void **state)
{
    (void)state;
    Err err = {0};
    const Kernels *list[4];
    size_t kinds = kernels_available(list);
    Model expected = {0};
    PpoOptions how = usual_ppo();
    how.kl_target = 2;
    for (size_t kind = 0; kind < kinds; kind++) {
        Compute other;
        Model model;
        assert_ok(compute_init(&other, list[kind]->isa, "own", kind + 1, &err), &err);
        run_ppo(&model, &other, 2, K, &how);
        if (!expected.parameters) expected = model;
        else {
            assert_same_bits(model.parameters, expected.parameters, expected.parameter_count, list[kind]->isa);
            model_free(&model);
        }
        close_other(&other);
    }
    assert_memory_not_equal(expected.parameters, start.parameters, start.parameter_count * sizeof(float));
    model_free(&expected);
}

static void the_kl_coefficient_follows_ziegler(void **state)
{
    (void)state;
    const PpoOptions how = {.kl_target = 6, .kl_gain = 0.1}, fixed = {.kl_gain = 0.1};
    assert_true(fabs(ppo_adapt_kl_coef(0.2, 6.6, &how) - 0.2 * 1.01) < 1e-15);
    assert_true(fabs(ppo_adapt_kl_coef(0.2, 60, &how) - 0.2 * 1.02) < 1e-15);
    assert_true(fabs(ppo_adapt_kl_coef(0.2, 0, &how) - 0.2 * 0.98) < 1e-15);
    assert_true(ppo_adapt_kl_coef(0.2, 60, &fixed) == 0.2);
}

static void what_is_not_the_policys_own_is_refused(void **state)
{
    (void)state;
    Err err = {0};
    PolicyOptions o = usual();
    RankOptions rank = {0};
    const char *experts[] = {"answers.jsonl"};
    assert_ok(ppo_check(&o, &rank, &err), &err);
    o.sample.temperature = 0.7f;
    assert_input_error(ppo_check(&o, &rank, &err), &err, "--temperature 1");
    o = usual();
    o.sample.top_k = 5;
    assert_input_error(ppo_check(&o, &rank, &err), &err, "--top-k 0");
    o = usual();
    o.experts = experts;
    o.expert_count = 1;
    assert_input_error(ppo_check(&o, &rank, &err), &err, "--expert");
    o = usual();
    rank.kl_beta = 0.1;
    assert_input_error(ppo_check(&o, &rank, &err), &err, "--kl-coef");
}

// ---- a run that is cut off -----------------------------------------------------------------------------------------------------------

enum { CUT_RUNS = 3 };
// The iteration at which to stop, counted from 1; 0: never. generated: what the run counted at its end.
typedef struct { size_t ranked, measured, generated; } Cut;

static int stop_when_ranked(void *self, size_t iteration, const CandidateList *candidates, Err *err)
{
    (void)candidates;
    return ((const Cut *)self)->ranked == iteration + 1 ? err_failed(err, "cut off") : 0;
}

static int stop_when_measured(void *self, size_t iteration, const Evaluation *e, double tokens_per_s, const json_t *line, Err *err)
{
    (void)tokens_per_s;
    (void)line;
    return e && ((const Cut *)self)->measured == iteration + 1 ? err_failed(err, "cut off") : 0;
}

static int align_in(const char *folder, Cut *cut, Model *model, Err *err)
{
    const char *spec = "length:3";
    char resume[] = "--resume", *argv[] = {resume};
    Settings settings = {0};
    Options options;
    Run run = {0};
    RunState state = {0};
    RewardSet rewards;
    Policy policy;
    PolicyOptions o = usual();
    PpoOptions how = usual_ppo();
    how.kl_target = 0.5;
    how.iterations = CUT_RUNS;
    EvaluateOptions evaluate = {.tokenizer = &tokenizer, .prompts = &prompts, .prompt_count = 2, .rewards = &rewards, .reference = &start, .sample = o.sample};
    assert_ok(reward_open(&rewards, &spec, 1, NULL, &cx, 10, err), err);
    assert_ok(model_copy(model, &start, err), err);
    assert_ok(policy_init(&policy, model, &start, &tokenizer, &prompts, &cx, &o, err), err);
    assert_ok(settings_parse(&settings, 1, argv, OPT_RUN, NULL, err), err);
    assert_ok(settings_resolve(&options, &settings, NULL, err), err);
    assert_ok(run_open(&run, folder, "align", &settings, &options, &cx, err), err);
    assert_ok(state_open(&state, &run, "align", 1, err), err);
    Alignment a = {.raft = {.prompts = PROMPTS, .samples = K, .seed = o.seed}, .policy = &policy, .rewards = &rewards, .evaluate = &evaluate,
        .iterations = CUT_RUNS, .ppo = &how, .state = &state, .quiet = true,
        .listener = {.self = cut, .ranked = stop_when_ranked, .measured = stop_when_measured}};
    int status = alignment_run(&a, &run, err);
    cut->generated = a.generated;
    state_close(&state);
    run_close(&run);
    settings_free(&settings);
    policy_free(&policy);
    reward_close(&rewards);
    return status;
}

static void a_run_that_was_cut_off_goes_on_to_the_same_bits(void **state)
{
    (void)state;
    Err err = {0};
    char *whole = temporary_folder(), *whole_metrics = path_in(whole, "metrics.jsonl");
    Model expected;
    Cut uncut = {0};
    assert_ok(align_in(whole, &uncut, &expected, &err), &err);
    assert_true(uncut.generated > CUT_RUNS * ANSWERS);
    const Cut cuts[] = {{1, 0, 0}, {2, 0, 0}, {3, 0, 0}, {0, 1, 0}, {0, 2, 0}, {0, 3, 0}, {0, 4, 0}};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        char *folder = temporary_folder(), *metrics = path_in(folder, "metrics.jsonl");
        Cut cut = cuts[i], rest = {0};
        Model model;
        assert_failed_error(align_in(folder, &cut, &model, &err), &err, "cut off");
        model_free(&model);
        err = (Err){0};
        assert_ok(align_in(folder, &rest, &model, &err), &err);
        assert_int_equal(rest.generated, uncut.generated);
        assert_same_bits(model.parameters, expected.parameters, expected.parameter_count, "parameters");
        char *got = read_file(metrics, NULL), *want = read_file(whole_metrics, NULL);
        assert_string_equal(got, want);
        model_free(&model);
        remove_folder(folder);
        free(got), free(want), free(folder), free(metrics);
    }
    model_free(&expected);
    remove_folder(whole);
    free(whole), free(whole_metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_the_first_update_the_ratio_is_exactly_1_in_every_composition),
        cmocka_unit_test(the_gradient_has_the_same_bits_for_any_micro_batch_threads_and_instruction_set),
        cmocka_unit_test(the_gradient_is_the_losses_slope_in_every_tensor),
        cmocka_unit_test(a_value_head_starts_at_zero_and_moves_nothing_else),
        cmocka_unit_test(a_checkpoint_keeps_the_value_head),
        cmocka_unit_test(answers_know_their_divergence_when_they_are_ranked),
        cmocka_unit_test(the_reward_rises),
        cmocka_unit_test(a_large_penalty_holds_the_policy_where_it_began),
        cmocka_unit_test(a_run_has_the_same_bits_for_any_threads_and_instruction_set),
        cmocka_unit_test(the_kl_coefficient_follows_ziegler),
        cmocka_unit_test(a_run_that_was_cut_off_goes_on_to_the_same_bits),
        cmocka_unit_test(what_is_not_the_policys_own_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
