// SPDX-License-Identifier: MIT
/* test_alignment.c - an alignment in the library: collect, rank and finetune with files between them end with its bits; what it leaves
 * in its run directory. The same from the command line is in test_steps.c. */
#include "tests/support_cli.h"
#include "tests/support_policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/checkpoint.h"
#include "study/alignment.h"
#include "study/scoring.h"

enum { STAGE = 3, ITERATIONS = 2 };

static char *gold_spec;

static int set_up(void **state)
{
    static const char lexicon[] = "good 1\nbad -1\nvery 0.25\n";
    if (make_policy_fixture(state)) return -1;
    char *path = path_in(fixture.folder, "lexicon.txt");
    write_file(path, lexicon, strlen(lexicon));
    gold_spec = malloc(strlen(path) + sizeof "lexicon:");
    sprintf(gold_spec, "lexicon:%s", path);
    free(path);
    return 0;
}

static int tear_down(void **state)
{
    free(gold_spec);
    return drop_policy_fixture(state);
}

static PolicyOptions usual(void) { return fixture_options(3e-2, 2, 2); }

static void open_rewards(RewardSet *rewards)
{
    const char *specs[] = {"length:6", "0.5*length:2"};
    Err err = {0};
    assert_ok(reward_open(rewards, specs, 2, gold_spec, &fixture.cx, 10, &err), &err);
}

// align into folder/run; gives the model as it ends.
static void align_in_library(Model *model, const char *run_path_name, const RankOptions *rank, EvaluateOptions *how)
{
    Err err = {0};
    Settings settings = {0};
    Options options = {0};
    Run run;
    RewardSet rewards;
    Policy policy;
    PolicyOptions o = usual();
    open_rewards(&rewards);
    how->rewards = &rewards;
    assert_ok(model_copy(model, &fixture.start, &err), &err);
    assert_ok(policy_init(&policy, model, &fixture.start, &fixture.tokenizer, &fixture.prompts, &fixture.cx, &o, &err), &err);
    assert_ok(run_open(&run, run_path_name, "align", &settings, &options, &fixture.cx, &err), &err);
    RunState state;
    assert_ok(state_open(&state, &run, "align", 2, &err), &err);
    Alignment a = {.raft = {.prompts = fixture.prompts.count, .stage = STAGE, .samples = K, .rank = *rank, .seed = o.seed},
        .policy = &policy, .rewards = &rewards, .evaluate = how, .iterations = ITERATIONS, .state = &state, .quiet = true};
    assert_ok(alignment_run(&a, &run, &err), &err);
    state_close(&state);
    run_close(&run);
    policy_free(&policy);
    reward_close(&rewards);
}

// What is ranked is r - beta * log(p/p0); r and the log ratio can be read off the components.
static void assert_records_the_ranking(const SampleList *ranked, double kl_beta)
{
    for (size_t i = 0; i < ranked->count; i++) {
        const Sample *s = ranked->items + i;
        float a = 0, b = 0, kl = 0, ratio = s->logprob - s->ref_logprob;
        assert_int_equal(s->has_reference, kl_beta != 0); // p0 is asked when its view is ranked
        assert_true(sample_reward(&a, s, "length:6") && sample_reward(&b, s, "length:2"));
        assert_int_equal(sample_reward(&kl, s, "kl"), s->has_reference);
        if (s->has_reference) assert_same_bits(&kl, &ratio, 1, "kl");
        double reward = (double)a + 0.5 * (double)b - kl_beta * (double)kl;
        assert_true(s->scored && s->ranked && fabs((double)s->reward - reward) < 1e-5);
    }
}

// One iteration with a file after each step, each step with a policy of its own.
static void one_iteration_by_files(Model *model, size_t iteration, const RankOptions *rank, const char *collected,
    const char *ranked)
{
    Err err = {0};
    Policy policy;
    RewardSet rewards;
    PolicyOptions o = usual();
    SampleList samples = {0};
    CandidateList candidates = {0};
    size_t chosen[STAGE];
    uint32_t order[5];
    assert_ok(policy_init(&policy, model, &fixture.start, &fixture.tokenizer, &fixture.prompts, &fixture.cx, &o, &err), &err);
    raft_stage_prompts(chosen, STAGE, fixture.prompts.count, iteration, o.seed, order);
    assert_ok(policy_collect(&policy, &samples, chosen, STAGE, K, iteration, &err), &err);
    Sample **drawn = samples_pointers(&samples, &err);
    assert_non_null(drawn);
    if (rank->kl_beta != 0) assert_ok(policy_measure_reference(&policy, drawn, samples.count, &err), &err);
    mem_free(drawn);
    assert_ok(samples_write(&samples, collected, &err), &err);
    samples_free(&samples);
    policy_free(&policy);

    assert_ok(samples_read(&samples, collected, &err), &err);
    open_rewards(&rewards);
    for (size_t i = 0; i < samples.count; i++) {
        Candidate c = policy_candidate(samples.items + i, 0);
        assert_ok(candidates_add(&candidates, &c, &err), &err);
    }
    Reward source = reward_source(&rewards, false); // an alignment with evaluation prompts does not show its candidates to gold
    assert_ok(source.score(source.self, &candidates, &err), &err);
    assert_ok(raft_order(&candidates, rank, K, &err), &err);
    assert_ok(candidates_record(&candidates, &err), &err);
    assert_ok(candidates_write(&candidates, ranked, &err), &err);
    mem_free(candidates.items);
    samples_free(&samples);
    reward_close(&rewards);

    assert_ok(samples_read(&samples, ranked, &err), &err);
    assert_records_the_ranking(&samples, rank->kl_beta);
    PromptList none = {0};
    assert_ok(policy_init(&policy, model, model, &fixture.tokenizer, &none, &fixture.cx, &o, &err), &err);
    assert_ok(policy_finetune(&policy, &samples, iteration, &err), &err);
    policy_free(&policy);
    samples_free(&samples);
}

static void steps_apart_equal_align_for(const RankOptions *rank, const char *name)
{
    Model aligned, stepped;
    Err err = {0};
    EvaluateOptions how = {.tokenizer = &fixture.tokenizer, .prompts = &fixture.prompts, .prompt_count = 2, .reference = &fixture.start,
        .sample = fixture_sampling()};
    char *run = path_in(fixture.folder, name);
    align_in_library(&aligned, run, rank, &how);
    assert_ok(model_copy(&stepped, &fixture.start, &err), &err);
    for (size_t t = 0; t < ITERATIONS; t++) {
        char file[40];
        snprintf(file, sizeof file, "iter_%03zu/candidates.jsonl", t);
        char *collected = path_in(fixture.folder, "collected.jsonl"), *ranked = path_in(fixture.folder, "ranked.jsonl"),
            *theirs = path_in(run, file);
        one_iteration_by_files(&stepped, t, rank, collected, ranked);
        assert_same_file(theirs, ranked);
        free(collected);
        free(ranked);
        free(theirs);
    }
    assert_same_bits(stepped.parameters, aligned.parameters, fixture.start.parameter_count, "parameters");
    assert_memory_not_equal(stepped.parameters, fixture.start.parameters, fixture.start.parameter_count * sizeof(float));
    char *saved = path_in(run, "checkpoint");
    Model loaded;
    assert_ok(checkpoint_load(&loaded, saved, &err), &err);
    assert_same_bits(loaded.parameters, aligned.parameters, fixture.start.parameter_count, "saved parameters");
    free(saved);
    free(run);
    model_free(&loaded);
    model_free(&aligned);
    model_free(&stepped);
}

static void steps_apart_equal_align_when_ranked_locally(void **state)
{
    (void)state;
    steps_apart_equal_align_for(&(RankOptions){.mode = RANK_LOCAL}, "local");
}

static void steps_apart_equal_align_when_ranked_globally_with_kl(void **state)
{
    (void)state;
    steps_apart_equal_align_for(&(RankOptions){.mode = RANK_GLOBAL, .accept = 0.4, .kl_beta = 0.05}, "global");
}

static json_t *read_lines(const char *run, const char *name)
{
    char *path = path_in(run, name);
    JsonLines in;
    json_t *line, *lines = json_array();
    Err err = {0};
    assert_ok(jsonl_open(&in, path, &err), &err);
    while (jsonl_next(&in, &line, &err) == 1) json_array_append_new(lines, line);
    assert_int_equal(err.status, 0);
    jsonl_close(&in);
    free(path);
    return lines;
}

static void metrics_tell_of_every_model(void **state)
{
    Model aligned;
    EvaluateOptions how = {.tokenizer = &fixture.tokenizer, .prompts = &fixture.prompts, .reference = &fixture.start, .sample = fixture_sampling()};
    char *run = path_in(fixture.folder, "metrics");
    (void)state;
    how.sample.samples = 3;
    align_in_library(&aligned, run, &(RankOptions){.mode = RANK_LOCAL}, &how);
    json_t *lines = read_lines(run, "metrics.jsonl");
    assert_int_equal(json_array_size(lines), ITERATIONS + 1);
    for (size_t t = 0; t <= ITERATIONS; t++) {
        const json_t *line = json_array_get(lines, t);
        assert_int_equal(json_integer_value(json_object_get(line, "iteration")), t);
        assert_int_equal(json_integer_value(json_object_get(line, "samples")), 15);
        static const char *const keys[] = {"reward", "gold", "positive_rate", "sample_perplexity", "distinct_1", "distinct_2",
            "unique_1", "unique_2", "kl", "kl_per_token", "length"};
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            assert_true(json_figure(line, keys[i], "lo") <= json_figure(line, keys[i], "mean") &&
                json_figure(line, keys[i], "mean") <= json_figure(line, keys[i], "hi"));
        const json_t *parts = json_object_get(line, "rewards");
        double sum = json_figure(parts, "length:6", "mean") + 0.5 * json_figure(parts, "length:2", "mean");
        assert_true(fabs(sum - json_figure(line, "reward", "mean")) < 1e-5);
        assert_null(json_object_get(line, "seconds")); // nothing that differs by machine
        if (t) assert_true(json_figure(line, "kl", "mean") != 0 && json_figure(line, "train", "loss") > 0);
        if (t) assert_true(json_figure(line, "stage", "selected_reward") > json_figure(line, "stage", "reward"));
        if (t) assert_null(json_object_get(json_object_get(line, "stage"), "kl")); // ranked without p0
        if (t) assert_true(json_figure(line, "stage", "selected") == STAGE && json_figure(line, "stage", "candidates") == STAGE * K);
        if (!t) assert_true(json_figure(line, "kl", "mean") == 0 && !json_object_get(line, "train"));
    }
    json_decref(lines);
    json_t *timing = read_lines(run, "timing.jsonl");
    assert_int_equal(json_array_size(timing), 5 * ITERATIONS + 2); // collect, rank, finetune; evaluate and measure before and after each
    json_decref(timing);
    model_free(&aligned);
    free(run);
}

static void without_evaluation_prompts_the_stage_is_measured(void **state)
{
    Model aligned;
    EvaluateOptions how = {.tokenizer = &fixture.tokenizer, .reference = &fixture.start, .sample = fixture_sampling()};
    char *run = path_in(fixture.folder, "stage");
    (void)state;
    align_in_library(&aligned, run, &(RankOptions){.mode = RANK_LOCAL, .kl_beta = 0.1}, &how);
    json_t *lines = read_lines(run, "metrics.jsonl");
    assert_int_equal(json_array_size(lines), ITERATIONS);
    for (size_t t = 0; t < ITERATIONS; t++) {
        const json_t *line = json_array_get(lines, t);
        assert_int_equal(json_integer_value(json_object_get(line, "samples")), STAGE * K);
        assert_true(json_figure(line, "stage", "reward") == json_figure(line, "reward", "mean")); // raw: without the KL term
    }
    json_decref(lines);
    model_free(&aligned);
    free(run);
}

static bool a_candidate_holds_gold(const char *run)
{
    char *path = path_in(run, "iter_000/candidates.jsonl"), *text = read_file(path, NULL);
    bool found = strstr(text, "\"gold\":") != NULL;
    free(text);
    free(path);
    return found;
}

// Gold costs as much as the reward does: it reads the candidates only where nothing else is measured.
static void gold_reads_candidates_only_when_they_are_what_is_measured(void **state)
{
    (void)state;
    for (int evaluated = 0; evaluated < 2; evaluated++) {
        Model aligned;
        EvaluateOptions how = {.tokenizer = &fixture.tokenizer, .prompts = evaluated ? &fixture.prompts : NULL, .reference = &fixture.start, .sample = fixture_sampling()};
        char *run = path_in(fixture.folder, evaluated ? "gold-evaluated" : "gold-stage");
        align_in_library(&aligned, run, &(RankOptions){.mode = RANK_LOCAL}, &how);
        assert_int_equal(a_candidate_holds_gold(run), !evaluated);
        json_t *lines = read_lines(run, "metrics.jsonl");
        for (size_t i = 0; i < json_array_size(lines); i++) json_figure(json_array_get(lines, i), "gold", "mean");
        json_decref(lines);
        model_free(&aligned);
        free(run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_apart_equal_align_when_ranked_locally),
        cmocka_unit_test(steps_apart_equal_align_when_ranked_globally_with_kl),
        cmocka_unit_test(metrics_tell_of_every_model),
        cmocka_unit_test(without_evaluation_prompts_the_stage_is_measured),
        cmocka_unit_test(gold_reads_candidates_only_when_they_are_what_is_measured),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
