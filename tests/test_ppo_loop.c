// SPDX-License-Identifier: MIT
/* test_ppo_loop.c - PPO from stage to stage: p0 asked once, a reward that rises, a penalty that holds, the coefficient, what is refused,
 * a run that is cut off. The command is in test_ppo_command.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "study/alignment.h"
#include "tests/support_ppo.h"

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

typedef struct { double first, last; } Course; // mean rewards of the first and of the last stage

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

// One run from the start against p0, two epochs a stage; gives the last value loss.
typedef struct { const Model *reference; const Compute *on; size_t samples; RaftObserver observer; void *observer_self; } Loop;

static double run_ppo(Model *model, const Loop *loop, const PpoOptions *how)
{
    Err err = {0};
    Policy policy;
    PolicyOptions o = usual_policy();
    assert_ok(model_copy(model, &fixture.start, &err), &err);
    assert_ok(policy_init(&policy, model, loop->reference, &fixture.tokenizer, &fixture.prompts, loop->on, &o, &err), &err);
    Ppo ppo = {.policy = &policy, .stage = {.generator = policy_generator(&policy), .reward = {.score = even_tokens}, .prompts = PROMPTS,
        .samples = loop->samples, .seed = o.seed, .observer = loop->observer, .observer_self = loop->observer_self}};
    assert_ok(ppo_init(&ppo, how, &err), &err);
    for (size_t t = 0; t < how->iterations; t++) assert_ok(ppo_iteration(&ppo, t, &err), &err);
    assert_int_equal(ppo.trainer.step, how->iterations * 2 * ((PROMPTS * loop->samples + 7) / 8)); // AdamW goes on from stage to stage
    double value_loss = policy.last.value_loss;
    ppo_free(&ppo);
    policy_free(&policy);
    return value_loss;
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
    assert_ok(lm_evaluate(reference, &fixture.cx, list.examples, ANSWERS, expected, NULL, err), err);
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
    Model model, reference;
    PpoOptions how = usual_ppo();
    how.iterations = 2;
    reference_beside_start(&reference);
    run_ppo(&model, &(Loop){&reference, &fixture.cx, K, check_divergence, &reference}, &how);
    model_free(&model);
    model_free(&reference);
}

static void the_reward_rises(void **state)
{
    (void)state;
    Model model;
    Course course = {0};
    PpoOptions how = usual_ppo();
    how.iterations = 20;
    double value_loss = run_ppo(&model, &(Loop){&fixture.start, &fixture.cx, 16, note_rewards, &course}, &how);
    print_message("    share of even tokens %.3f -> %.3f, value loss %.4f\n", course.first, course.last, value_loss);
    assert_true(course.first < 0.6);
    assert_true(course.last > course.first + 0.25);
    assert_true(value_loss < 0.05);
    model_free(&model);
}

static void a_large_penalty_holds_the_policy_where_it_began(void **state)
{
    (void)state;
    Model model;
    Course course = {0};
    PpoOptions how = usual_ppo();
    how.iterations = 20;
    how.loss.kl_coef = 10;
    run_ppo(&model, &(Loop){&fixture.start, &fixture.cx, 16, note_rewards, &course}, &how);
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
    how.iterations = 2;
    for (size_t kind = 0; kind < kinds; kind++) {
        Compute other;
        Model model;
        Course course = {0};
        assert_ok(compute_init(&other, list[kind]->isa, "own", kind + 1, &err), &err);
        run_ppo(&model, &(Loop){&fixture.start, &other, K, note_rewards, &course}, &how);
        if (!expected.parameters) expected = model;
        else {
            assert_same_bits(model.parameters, expected.parameters, expected.parameter_count, list[kind]->isa);
            model_free(&model);
        }
        close_other_compute(&other);
    }
    assert_memory_not_equal(expected.parameters, fixture.start.parameters, fixture.start.parameter_count * sizeof(float));
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
    PolicyOptions o = usual_policy();
    RankOptions rank = {0};
    const char *experts[] = {"answers.jsonl"};
    assert_ok(ppo_check(&o, &rank, &err), &err);
    o.sample.temperature = 0.7f;
    assert_input_error(ppo_check(&o, &rank, &err), &err, "--temperature 1");
    o = usual_policy();
    o.sample.top_k = 5;
    assert_input_error(ppo_check(&o, &rank, &err), &err, "--top-k 0");
    o = usual_policy();
    o.experts = experts;
    o.expert_count = 1;
    assert_input_error(ppo_check(&o, &rank, &err), &err, "--expert");
    o = usual_policy();
    o.replay = 1;
    assert_input_error(ppo_check(&o, &rank, &err), &err, "--replay");
    o = usual_policy();
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
    PolicyOptions o = usual_policy();
    PpoOptions how = usual_ppo();
    how.kl_target = 0.5;
    how.iterations = CUT_RUNS;
    EvaluateOptions evaluate = {.tokenizer = &fixture.tokenizer, .prompts = &fixture.prompts, .prompt_count = 2, .rewards = &rewards, .reference = &fixture.start, .sample = o.sample};
    assert_ok(reward_open(&rewards, &spec, 1, NULL, &fixture.cx, 10, err), err);
    assert_ok(model_copy(model, &fixture.start, err), err);
    assert_ok(policy_init(&policy, model, &fixture.start, &fixture.tokenizer, &fixture.prompts, &fixture.cx, &o, err), err);
    assert_ok(settings_parse(&settings, 1, argv, OPT_RUN, NULL, err), err);
    assert_ok(settings_resolve(&options, &settings, NULL, err), err);
    assert_ok(run_open(&run, folder, "align", &settings, &options, &fixture.cx, err), err);
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
        cmocka_unit_test(answers_know_their_divergence_when_they_are_ranked),
        cmocka_unit_test(the_reward_rises),
        cmocka_unit_test(a_large_penalty_holds_the_policy_where_it_began),
        cmocka_unit_test(a_run_has_the_same_bits_for_any_threads_and_instruction_set),
        cmocka_unit_test(the_kl_coefficient_follows_ziegler),
        cmocka_unit_test(a_run_that_was_cut_off_goes_on_to_the_same_bits),
        cmocka_unit_test(what_is_not_the_policys_own_is_refused),
    };
    return cmocka_run_group_tests(tests, make_ppo_fixture, drop_policy_fixture);
}
