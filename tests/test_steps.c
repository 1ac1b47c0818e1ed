// SPDX-License-Identifier: MIT
/* test_steps.c - collect, rank and finetune with files between them end with the bits of align, in the library and from the
 * command line; what align leaves in its run directory; evaluation. */
#include "tests/support_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/checkpoint.h"
#include "study/alignment.h"
#include "study/scoring.h"

static Compute cx;
static char *folder;
static Tokenizer tokenizer;
static PromptList prompts;
static Model start;
static char *start_path, *prompts_path, *lexicon_spec;

enum { K = 4, NEW = 8, CONTEXT = 40, STAGE = 3, ITERATIONS = 2 };

static int set_up(void **state)
{
    static const char *const texts[] = {"the film was good", "a very bad film", "what a good story", "the story was very bad",
        "good \xc3\xa9t\xc3\xa9"};
    static const char lexicon[] = "good 1\nbad -1\nvery 0.25\n";
    Err err = {0};
    (void)state;
    if (compute_init(&cx, NULL, "own", 0, &err)) return print_error("%s\n", err.text), -1;
    folder = temporary_folder();
    tiny_tokenizer(&tokenizer, texts, 5, 290, "<|endoftext|>");
    tiny_prompts(&prompts, texts, 5);
    prompts_path = path_in(folder, "prompts.jsonl");
    assert_ok(prompts_write(&prompts, prompts_path, &err), &err); // before tokenizing: as a user writes them
    assert_ok(policy_tokenize_prompts(&prompts, &tokenizer, CONTEXT, NEW, &err), &err);
    tiny_language_model(&start, tokenizer.vocab, CONTEXT, 1);
    start_path = path_in(folder, "start");
    assert_ok(checkpoint_save(start_path, &start, &tokenizer, &err), &err);
    char *lexicon_path = path_in(folder, "lexicon.txt");
    write_file(lexicon_path, lexicon, strlen(lexicon));
    lexicon_spec = malloc(strlen(lexicon_path) + 16);
    sprintf(lexicon_spec, "lexicon:%s", lexicon_path);
    free(lexicon_path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    model_free(&start);
    prompts_free(&prompts);
    tokenizer_free(&tokenizer);
    remove_folder(folder);
    free(start_path);
    free(prompts_path);
    free(lexicon_spec);
    free(folder);
    compute_free(&cx);
    return 0;
}

static PolicyOptions policy_options(void)
{
    PolicyOptions o = {.sample = sample_defaults(), .train = train_defaults(), .seed = 5};
    o.sample.max_new = NEW;
    o.sample.eos = 0;
    o.train.lr = 3e-2;
    o.train.batch = 2;
    o.train.epochs = 2;
    return o;
}

static void open_rewards(RewardSet *rewards)
{
    const char *specs[] = {"length:6", "0.5*length:2"};
    Err err = {0};
    assert_ok(reward_open(rewards, specs, 2, lexicon_spec, &cx, 10, &err), &err);
}

static void assert_same_file(const char *left, const char *right)
{
    size_t n, m;
    char *a = read_file(left, &n), *b = read_file(right, &m);
    assert_non_null(a);
    assert_non_null(b);
    if (n != m || memcmp(a, b, n)) fail_msg("%s and %s differ", left, right);
    free(a);
    free(b);
}

// ---- in the library -----------------------------------------------------------------------------------------------------------

// align into folder/run; gives the model as it ends.
static void align_in_library(Model *model, const char *run_path_name, const RankOptions *rank, EvaluateOptions *how)
{
    Err err = {0};
    Settings settings = {0};
    Options options = {0};
    Run run;
    RewardSet rewards;
    Policy policy;
    PolicyOptions o = policy_options();
    open_rewards(&rewards);
    how->rewards = &rewards;
    assert_ok(model_copy(model, &start, &err), &err);
    assert_ok(policy_init(&policy, model, &start, &tokenizer, &prompts, &cx, &o, &err), &err);
    assert_ok(run_open(&run, run_path_name, "align", &settings, &options, &cx, &err), &err);
    RunState state;
    assert_ok(state_open(&state, &run, "align", 2, &err), &err);
    Alignment a = {.raft = {.prompts = prompts.count, .stage = STAGE, .samples = K, .rank = *rank, .seed = o.seed},
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
    PolicyOptions o = policy_options();
    SampleList samples = {0};
    CandidateList candidates = {0};
    size_t chosen[STAGE];
    uint32_t order[5];
    assert_ok(policy_init(&policy, model, &start, &tokenizer, &prompts, &cx, &o, &err), &err);
    raft_stage_prompts(chosen, STAGE, prompts.count, iteration, o.seed, order);
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
    assert_ok(policy_init(&policy, model, model, &tokenizer, &none, &cx, &o, &err), &err);
    assert_ok(policy_finetune(&policy, &samples, iteration, &err), &err);
    policy_free(&policy);
    samples_free(&samples);
}

static void steps_apart_equal_align_for(const RankOptions *rank, const char *name)
{
    Model aligned, stepped;
    Err err = {0};
    EvaluateOptions how = {.tokenizer = &tokenizer, .prompts = &prompts, .prompt_count = 2, .reference = &start,
        .sample = policy_options().sample};
    char *run = path_in(folder, name);
    align_in_library(&aligned, run, rank, &how);
    assert_ok(model_copy(&stepped, &start, &err), &err);
    for (size_t t = 0; t < ITERATIONS; t++) {
        char file[40];
        snprintf(file, sizeof file, "iter_%03zu/candidates.jsonl", t);
        char *collected = path_in(folder, "collected.jsonl"), *ranked = path_in(folder, "ranked.jsonl"),
            *theirs = path_in(run, file);
        one_iteration_by_files(&stepped, t, rank, collected, ranked);
        assert_same_file(theirs, ranked);
        free(collected);
        free(ranked);
        free(theirs);
    }
    assert_same_bits(stepped.parameters, aligned.parameters, start.parameter_count, "parameters");
    assert_memory_not_equal(stepped.parameters, start.parameters, start.parameter_count * sizeof(float));
    char *saved = path_in(run, "checkpoint");
    Model loaded;
    assert_ok(checkpoint_load(&loaded, saved, &err), &err);
    assert_same_bits(loaded.parameters, aligned.parameters, start.parameter_count, "saved parameters");
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

static double number(const json_t *line, const char *key, const char *inner)
{
    const json_t *value = json_object_get(line, key);
    if (inner) value = json_object_get(value, inner);
    if (!json_is_number(value)) fail_msg("no number \"%s\" \"%s\"", key, inner ? inner : "");
    return json_number_value(value);
}

static void metrics_tell_of_every_model(void **state)
{
    Model aligned;
    EvaluateOptions how = {.tokenizer = &tokenizer, .prompts = &prompts, .reference = &start, .sample = policy_options().sample};
    char *run = path_in(folder, "metrics");
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
            assert_true(number(line, keys[i], "lo") <= number(line, keys[i], "mean") &&
                number(line, keys[i], "mean") <= number(line, keys[i], "hi"));
        const json_t *parts = json_object_get(line, "rewards");
        double sum = number(parts, "length:6", "mean") + 0.5 * number(parts, "length:2", "mean");
        assert_true(fabs(sum - number(line, "reward", "mean")) < 1e-5);
        assert_null(json_object_get(line, "seconds")); // nothing that differs by machine
        if (t) assert_true(number(line, "kl", "mean") != 0 && number(line, "train", "loss") > 0);
        if (t) assert_true(number(line, "stage", "selected_reward") > number(line, "stage", "reward"));
        if (t) assert_null(json_object_get(json_object_get(line, "stage"), "kl")); // ranked without p0
        if (t) assert_true(number(line, "stage", "selected") == STAGE && number(line, "stage", "candidates") == STAGE * K);
        if (!t) assert_true(number(line, "kl", "mean") == 0 && !json_object_get(line, "train"));
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
    EvaluateOptions how = {.tokenizer = &tokenizer, .reference = &start, .sample = policy_options().sample};
    char *run = path_in(folder, "stage");
    (void)state;
    align_in_library(&aligned, run, &(RankOptions){.mode = RANK_LOCAL, .kl_beta = 0.1}, &how);
    json_t *lines = read_lines(run, "metrics.jsonl");
    assert_int_equal(json_array_size(lines), ITERATIONS);
    for (size_t t = 0; t < ITERATIONS; t++) {
        const json_t *line = json_array_get(lines, t);
        assert_int_equal(json_integer_value(json_object_get(line, "samples")), STAGE * K);
        assert_true(number(line, "stage", "reward") == number(line, "reward", "mean")); // raw: without the KL term
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
        EvaluateOptions how = {.tokenizer = &tokenizer, .prompts = evaluated ? &prompts : NULL, .reference = &start, .sample = policy_options().sample};
        char *run = path_in(folder, evaluated ? "gold-evaluated" : "gold-stage");
        align_in_library(&aligned, run, &(RankOptions){.mode = RANK_LOCAL}, &how);
        assert_int_equal(a_candidate_holds_gold(run), !evaluated);
        json_t *lines = read_lines(run, "metrics.jsonl");
        for (size_t i = 0; i < json_array_size(lines); i++) number(json_array_get(lines, i), "gold", "mean");
        json_decref(lines);
        model_free(&aligned);
        free(run);
    }
}

// Evaluation draws from a stream of its own, iteration 0 whatever the model has been through.
static void evaluation_has_its_own_random_stream(void **state)
{
    Err err = {0};
    EvaluateOptions how = {.tokenizer = &tokenizer, .prompts = &prompts, .prompt_count = 2, .sample = policy_options().sample, .seed = 3};
    SampleOptions direct = how.sample;
    Evaluation e;
    SampleList answers = {0};
    Sampled expected[2 * K] = {{0}};
    SamplePrompt list[2];
    (void)state;
    how.sample.samples = direct.samples = K;
    how.sample.iteration = 9;
    direct.stream = STREAM_EVAL;
    direct.seed = 3;
    for (uint32_t i = 0; i < 2; i++) list[i] = (SamplePrompt){prompts.items[i].ids.ids, prompts.items[i].ids.length, i};
    assert_ok(evaluate(&e, &answers, &start, &cx, &how, &err), &err);
    assert_ok(sample_generate(expected, &start, &cx, &tokenizer, list, 2, &direct, NULL, NULL, &err), &err);
    assert_int_equal(answers.count, 2 * K);
    for (size_t i = 0; i < 2 * K; i++) {
        assert_int_equal(answers.items[i].tokens.length, expected[i].length);
        assert_memory_equal(answers.items[i].tokens.ids, expected[i].ids, expected[i].length * sizeof(uint32_t));
    }
    sampled_free(expected, 2 * K);
    samples_free(&answers);
}

static void best_of_k_keeps_the_best_answer(void **state)
{
    Err err = {0};
    RewardSet rewards;
    EvaluateOptions how = {.tokenizer = &tokenizer, .prompts = &prompts, .sample = policy_options().sample, .seed = 3};
    Evaluation all, best;
    SampleList answers = {0}, kept = {0};
    (void)state;
    open_rewards(&rewards);
    how.rewards = &rewards;
    how.sample.samples = K;
    assert_ok(evaluate(&all, &answers, &start, &cx, &how, &err), &err);
    how.best_of = true;
    assert_ok(evaluate(&best, &kept, &start, &cx, &how, &err), &err);
    assert_int_equal(answers.count, 5 * K);
    assert_int_equal(kept.count, 5);
    assert_int_equal(best.samples, 5);
    assert_int_equal(best.tokens, all.tokens);
    assert_true(best.reward.mean > all.reward.mean);
    assert_int_equal(all.kl.n, 0); // no reference: no divergence
    assert_int_equal(all.perplexity.n, 0);
    for (size_t i = 0; i < 5; i++) {
        size_t top = i * K;
        for (size_t k = 1; k < K; k++)
            if (answers.items[i * K + k].reward > answers.items[top].reward) top = i * K + k;
        assert_int_equal(kept.items[i].slot, i);
        assert_int_equal(kept.items[i].k, top - i * K);
        assert_same_bits(&kept.items[i].reward, &answers.items[top].reward, 1, "reward");
    }
    samples_free(&answers);
    samples_free(&kept);
    reward_close(&rewards);
}

static void held_out_perplexity_is_that_of_the_texts(void **state)
{
    Err err = {0};
    uint32_t ids[] = {40, 41, 42, 43, 44, 45};
    Example texts[] = {{.ids = ids, .length = 6, .prompt = 1}, {.ids = ids + 1, .length = 3, .prompt = 1}};
    EvaluateOptions how = {.held_out = texts, .held_out_count = 2};
    Evaluation e;
    float logprob[2];
    (void)state;
    assert_ok(lm_evaluate(&start, &cx, texts, 2, logprob, NULL, &err), &err);
    assert_ok(evaluate(&e, NULL, &start, &cx, &how, &err), &err);
    double want = exp(-((double)logprob[0] + logprob[1]) / 7);
    assert_true(fabs(e.perplexity.mean - want) < 1e-9 * want);
    assert_int_equal(e.reward.n, 0);
    json_t *line = evaluation_json(&e, &err);
    assert_int_equal(json_object_size(line), 1);
    json_decref(line);
}

static void p0s_perplexity_is_kept_and_only_p0s(void **state)
{
    Err err = {0};
    uint32_t ids[] = {40, 41, 42, 43};
    Example text = {.ids = ids, .length = 4, .prompt = 1};
    Measure kept = {0};
    EvaluateOptions how = {.held_out = &text, .held_out_count = 1, .reference = &start, .p0_perplexity = &kept};
    Evaluation e;
    (void)state;
    assert_ok(evaluate(&e, NULL, &start, &cx, &how, &err), &err);
    double measured = e.perplexity.mean;
    assert_true(kept.n && kept.mean == measured);
    kept.mean = 2 * measured; // to see who reads it
    assert_ok(evaluate(&e, NULL, &start, &cx, &how, &err), &err);
    assert_true(e.perplexity.mean == 2 * measured);

    Model other;
    assert_ok(model_copy(&other, &start, &err), &err);
    model_randomise(&other, 7);
    assert_ok(evaluate(&e, NULL, &other, &cx, &how, &err), &err);
    assert_true(e.perplexity.mean != 2 * measured && kept.mean == 2 * measured);
    model_free(&other);
}

// ---- from the command line ----------------------------------------------------------------------------------------------------

static Text output;

// Runs raft with "@" replaced by the temporary folder and asserts status and a part of what it prints.
static void expect(int status, const char *fragment, const char *arguments)
{
    Text line = {0};
    Err err = {0};
    for (const char *at = arguments; *at; at++)
        assert_ok(*at == '@' ? text_puts(&line, &err, folder) : text_add(&line, &err, at, 1), &err);
    int got = run_raft(&output, "%s", line.data);
    if (got != status || !strstr(output.data, fragment))
        fail_msg("raft %s\nexit %d, expected %d with \"%s\":\n%s", line.data, got, status, fragment, output.data);
    text_free(&line);
}

static bool no_binary(void)
{
    int status = run_raft(&output, "--version");
    if (status == 0) return false;
    skip_because("no raft program to run");
    return true;
}

#define SAMPLING " --samples 4 --max-new 8 --temperature 0.8 --seed 5 --stage-prompts 3 --quiet"
#define TRAINING " --lr 3e-2 --batch 2 --epochs 2 --seed 5 --quiet"
#define REPLAY " --replay 2 --replay-tokens 9 --replay-corpus @/people.jsonl"
#define REWARD " --reward length:6 --reward '0.5*length:2' --kl-beta 0.02"
#define GOLD " --gold lexicon:@/lexicon.txt"

static void commands_apart_equal_align(void **state)
{
    static const char people[] = "{\"text\":\"the story was good and the end was not\"}\n{\"text\":\"bad\"}\n{\"text\":\"what a very long film\"}\n";
    (void)state;
    char *texts = path_in(folder, "people.jsonl");
    write_file(texts, people, strlen(people));
    free(texts);
    if (no_binary()) return;
    expect(0, "iteration", "align @/start --prompts @/prompts.jsonl --algo raft --iterations 2 --explain --eval-prompts 3 -o @/cli" SAMPLING TRAINING REPLAY REWARD GOLD);
    assert_non_null(strstr(output.data, "kept"));
    assert_non_null(strstr(output.data, "KL/token"));
    expect(0, "12 candidates", "collect @/start --prompts @/prompts.jsonl -o @/c0.jsonl" SAMPLING);
    expect(0, "selected", "rank @/c0.jsonl -o @/r0.jsonl" REWARD);
    expect(0, "fine-tuned on 3", "finetune @/start --data @/r0.jsonl -o @/f0" TRAINING REPLAY);
    expect(0, "12 candidates", "collect @/f0 --reference @/start --iteration 1 --prompts @/prompts.jsonl -o @/c1.jsonl" SAMPLING);
    expect(0, "selected", "rank @/c1.jsonl -o @/r1.jsonl" REWARD);
    expect(0, "loss", "finetune @/f0 --iteration 1 --data @/r1.jsonl -o @/f1" TRAINING REPLAY);
    char *recorded = path_in(folder, "cli/provenance.json"), *provenance = read_file(recorded, NULL);
    assert_non_null(strstr(provenance, "\"replay_corpus_hash\""));
    free(recorded);
    free(provenance);
    static const char *const pairs[][2] = {{"cli/iter_000/candidates.jsonl", "r0.jsonl"},
        {"cli/iter_001/candidates.jsonl", "r1.jsonl"},
        {"cli/checkpoint/model.safetensors", "f1/model.safetensors"}, {"cli/checkpoint/config.json", "f1/config.json"},
        {"cli/checkpoint/tokenizer.json", "f1/tokenizer.json"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *left = path_in(folder, pairs[i][0]), *right = path_in(folder, pairs[i][1]);
        assert_same_file(left, right);
        free(left);
        free(right);
    }
}

static void an_outside_program_may_score(void **state)
{
    (void)state;
    if (no_binary()) return;
    expect(0, "", "collect @/start --prompts @/prompts.jsonl -o @/o.jsonl" SAMPLING);
    expect(2, "--reward", "rank @/o.jsonl -o @/x.jsonl");
    char *path = path_in(folder, "o.jsonl"), *text = read_file(path, NULL);
    Text scored = {0};
    Err err = {0};
    size_t i = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), i++)
        assert_ok(text_printf(&scored, &err, "%.*s,\"reward\":%zu}\n", (int)strlen(line) - 1, line, i % 4), &err);
    write_file(path, scored.data, scored.length);
    expect(0, "3 of 12 candidates selected; mean reward 1.5000, of the selected 3.0000", "rank @/o.jsonl -o @/o2.jsonl");
    expect(2, "ranked already", "rank @/o2.jsonl -o @/o3.jsonl");
    expect(0, "selected", "rank @/o2.jsonl --reward length:3 -o @/o3.jsonl");
    text_free(&scored);
    free(text);
    free(path);
}

static void eval_measures_with_intervals(void **state)
{
    (void)state;
    if (no_binary()) return;
    expect(0, "distinct_2", "eval @/start --prompts @/prompts.jsonl --max-new 8 --reward length:5 --gold lexicon:@/lexicon.txt --quiet");
    expect(0, "{\"reward\":{\"mean\":", "eval @/start --prompts @/prompts.jsonl --max-new 8 --reward length:5 --gold lexicon:@/lexicon.txt --reference @/start "
        "--corpus @/lexicon.txt --samples 4 --json --quiet");
    json_t *result = json_loads(output.data, 0, NULL);
    assert_non_null(result);
    static const char *const keys[] = {"reward", "gold", "positive_rate", "perplexity", "distinct_2", "kl", "unique_1", "length"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_true(number(result, keys[i], "lo") <= number(result, keys[i], "mean") &&
            number(result, keys[i], "mean") <= number(result, keys[i], "hi"));
    assert_true(number(result, "kl", "mean") == 0);
    double all = number(result, "reward", "mean");
    json_decref(result);
    expect(0, "\"samples\":5", "eval @/start --prompts @/prompts.jsonl --max-new 8 --reward length:5 --best-of 4 --json --quiet"); // one a prompt
    result = json_loads(output.data, 0, NULL);
    assert_true(number(result, "reward", "mean") > all);
    json_decref(result);
    expect(0, "perplexity", "eval @/start --corpus @/lexicon.txt --quiet");
}

// What is not chosen is nothing to gold, which may be an expensive program.
static void gold_reads_only_the_best_of_k(void **state)
{
    static const char program[] = "while read -r line; do echo asked >> \"$0.log\"; echo 1; done\n";
    (void)state;
    char *script = path_in(folder, "gold.sh"), *log = path_in(folder, "gold.sh.log");
    write_file(script, program, strlen(program));
    if (!no_binary()) {
        expect(0, "\"samples\":5", "eval @/start --prompts @/prompts.jsonl --max-new 8 --reward length:5 --gold 'command:sh @/gold.sh' --best-of 4 --json --quiet");
        char *asked = read_file(log, NULL);
        assert_string_equal(asked, "asked\nasked\nasked\nasked\nasked\n");
        free(asked);
    }
    free(script);
    free(log);
}

static void wrong_requests_exit_with_2(void **state)
{
    static const char *const cases[][2] = {
        {"--samples", "collect @/start --prompts @/prompts.jsonl -o @/x.jsonl --samples 0"},
        {"--temperature", "collect @/start --prompts @/prompts.jsonl -o @/x.jsonl --temperature 0"},
        {"--temperature", "collect @/start --prompts @/prompts.jsonl -o @/x.jsonl --temperature -1"},
        {"context", "collect @/start --prompts @/prompts.jsonl -o @/x.jsonl --max-new 40"},
        {"empty.jsonl", "collect @/start --prompts @/empty.jsonl -o @/x.jsonl"},
        {"nowhere", "collect @/nowhere --prompts @/prompts.jsonl -o @/x.jsonl"},
        {"--prompts", "collect @/start -o @/x.jsonl"},
        {"--temperature 1", "align @/start --prompts @/prompts.jsonl --reward length:3 --algo ppo --temperature 2 -o @/ppo"},
        {"--reward SPEC is missing", "eval @/start --prompts @/prompts.jsonl --best-of 4"},
        {"--samples has no place", "eval @/start --prompts @/prompts.jsonl --reward length:3 --best-of 4 --samples 2"},
        {"--temperature", "align @/start --prompts @/prompts.jsonl --reward length:3 --temperature 0 -o @/x"},
        {"--reward", "align @/start --prompts @/prompts.jsonl -o @/x"},
        {"outside the model's vocabulary", "finetune @/start --data @/foreign.jsonl -o @/x"},
        {"raft rank", "finetune @/start --data @/unranked.jsonl -o @/x"},
        {"--replay-corpus PATH is missing", "align @/start --prompts @/prompts.jsonl --reward length:3 --replay 1 -o @/x"},
        {"since --replay is 0", "align @/start --prompts @/prompts.jsonl --reward length:3 --replay-corpus @/people.jsonl -o @/x"},
        {"do not fit the model's context of 40", "align @/start --prompts @/prompts.jsonl --reward length:3 --replay 1 --replay-corpus @/people.jsonl -o @/x"},
        {"people of nowhere", "align @/start --prompts @/prompts.jsonl --reward length:3 --replay 1 --replay-corpus '@/people of nowhere' -o @/x"},
        {"--replay is read beside RAFT's chosen answers", "align @/start --prompts @/prompts.jsonl --reward length:3 --algo ppo --replay 1 --replay-tokens 9 "
            "--replay-corpus @/people.jsonl -o @/x"},
        {"no candidates", "rank @/empty.jsonl --reward length:3 -o @/x.jsonl"},
        {"--prompts", "eval @/start --reward length:3"},
        {"expected", "rank @/unranked.jsonl --reward size:3 -o @/x.jsonl"},
        {"slot 0, k 0 has no \"ref_logprob\"", "rank @/alone.jsonl --reward length:3 --kl-beta 0.1 -o @/x.jsonl"},
    };
    static const char line[] = "{\"slot\":0,\"prompt_id\":\"a\",\"prompt\":\"p\",\"prompt_tokens\":[1],\"k\":0,\"source\":\"policy\",\"text\":\"t\",\"tokens\":[%s],"
        "\"logprob\":-1%s}\n";
    static const struct { const char *name, *tokens, *rest; } files[] = {
        {"foreign.jsonl", "290", ",\"ref_logprob\":-1,\"reward\":1,\"rewards\":{},\"rank\":0,\"selected\":true"}, {"unranked.jsonl", "2", ",\"ref_logprob\":-1"},
            {"alone.jsonl", "2", ""}, {"empty.jsonl", NULL, NULL}};
    (void)state;
    if (no_binary()) return;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char text[400] = "", *path = path_in(folder, files[i].name);
        if (files[i].tokens) snprintf(text, sizeof text, line, files[i].tokens, files[i].rest);
        write_file(path, text, strlen(text));
        free(path);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect(2, cases[i][0], cases[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_apart_equal_align_when_ranked_locally),
        cmocka_unit_test(steps_apart_equal_align_when_ranked_globally_with_kl),
        cmocka_unit_test(metrics_tell_of_every_model),
        cmocka_unit_test(without_evaluation_prompts_the_stage_is_measured),
        cmocka_unit_test(gold_reads_candidates_only_when_they_are_what_is_measured),
        cmocka_unit_test(evaluation_has_its_own_random_stream),
        cmocka_unit_test(best_of_k_keeps_the_best_answer),
        cmocka_unit_test(held_out_perplexity_is_that_of_the_texts),
        cmocka_unit_test(p0s_perplexity_is_kept_and_only_p0s),
        cmocka_unit_test(commands_apart_equal_align),
        cmocka_unit_test(an_outside_program_may_score),
        cmocka_unit_test(eval_measures_with_intervals),
        cmocka_unit_test(gold_reads_only_the_best_of_k),
        cmocka_unit_test(wrong_requests_exit_with_2),
    };
    int status = cmocka_run_group_tests(tests, set_up, tear_down);
    text_free(&output);
    return status;
}
