// SPDX-License-Identifier: MIT
/* test_policy.c - what a policy collects, from itself and from experts, and what it learns from the selected. */
#include "tests/support_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/checkpoint.h"
#include "study/scoring.h"

static Model reference; // another than the fixture's

enum { B = 3 };
static const size_t stage[B] = {2, 0, 4};

static int set_up(void **state)
{
    if (make_policy_fixture(state)) return -1;
    tiny_language_model(&reference, fixture.tokenizer.vocab, CONTEXT, 2);
    return 0;
}

static int tear_down(void **state)
{
    model_free(&reference);
    return drop_policy_fixture(state);
}

static PolicyOptions usual(void) { return fixture_options(1e-2, 2, 1); }

static void open_policy(Policy *policy, Model *m, const Model *p0, const PolicyOptions *o)
{
    Err err = {0};
    assert_ok(policy_init(policy, m, p0, &fixture.tokenizer, &fixture.prompts, &fixture.cx, o, &err), &err);
}

static float log_probability(const Model *m, const Sample *s)
{
    uint32_t ids[CONTEXT];
    float value;
    Err err = {0};
    memcpy(ids, s->prompt_tokens.ids, s->prompt_tokens.length * sizeof *ids);
    memcpy(ids + s->prompt_tokens.length, s->tokens.ids, s->tokens.length * sizeof *ids);
    Example example = {.ids = ids, .length = s->prompt_tokens.length + s->tokens.length, .prompt = s->prompt_tokens.length};
    assert_ok(lm_evaluate(m, &fixture.cx, &example, 1, &value, NULL, &err), &err);
    return value;
}

// What collecting leaves to those who want it: p0's view of every answer.
static void ask_reference(const Policy *policy, const SampleList *list)
{
    Err err = {0};
    Sample **samples = samples_pointers(list, &err);
    assert_non_null(samples);
    for (size_t i = 0; i < list->count; i++) assert_false(samples[i]->has_reference);
    assert_ok(policy_measure_reference(policy, samples, list->count, &err), &err);
    for (size_t i = 0; i < list->count; i++) assert_true(samples[i]->has_reference);
    mem_free(samples);
}

static char *answers_file(const char *name, const char *lines)
{
    char *path = path_in(fixture.folder, name);
    write_file(path, lines, strlen(lines));
    return path;
}

// ---- collecting ---------------------------------------------------------------------------------------------------------------

static void answers_come_slot_after_slot(void **state)
{
    Policy policy;
    SampleList list = {0};
    PolicyOptions o = usual();
    Err err = {0};
    (void)state;
    open_policy(&policy, &fixture.start, &reference, &o);
    assert_ok(policy_collect(&policy, &list, stage, B, K, 3, &err), &err);
    ask_reference(&policy, &list);
    assert_int_equal(list.count, B * K);
    size_t tokens = 0;
    for (size_t i = 0; i < list.count; i++) {
        const Sample *s = list.items + i;
        const Prompt *p = fixture.prompts.items + stage[i / K];
        Text text = {0};
        assert_int_equal(s->slot, i / K);
        assert_int_equal(s->k, i % K);
        assert_string_equal(s->source, "policy");
        assert_string_equal(s->prompt_id, p->id);
        assert_string_equal(s->prompt, p->text);
        assert_memory_equal(s->prompt_tokens.ids, p->ids.ids, p->ids.length * sizeof(uint32_t));
        assert_ok(sample_text(&text, &fixture.tokenizer, s->tokens.ids, s->tokens.length, NULL, &err), &err);
        assert_string_equal(s->text, text.data ? text.data : "");
        text_free(&text);
        float expected = log_probability(&fixture.start, s), expected_ref = log_probability(&reference, s);
        assert_same_bits(&s->logprob, &expected, 1, "logprob");
        assert_same_bits(&s->ref_logprob, &expected_ref, 1, "ref_logprob");
        assert_true(s->logprob != s->ref_logprob && !s->scored && !s->ranked);
        tokens += s->tokens.length;
    }
    assert_int_equal(policy.sampled_tokens, tokens);
    samples_free(&list);
    policy_free(&policy);
}

static void a_policy_that_is_its_own_reference_has_no_divergence(void **state)
{
    Policy policy;
    SampleList list = {0};
    PolicyOptions o = usual();
    Err err = {0};
    (void)state;
    open_policy(&policy, &fixture.start, &fixture.start, &o);
    assert_ok(policy_collect(&policy, &list, stage, B, K, 0, &err), &err);
    ask_reference(&policy, &list);
    for (size_t i = 0; i < list.count; i++) assert_same_bits(&list.items[i].ref_logprob, &list.items[i].logprob, 1, "ref_logprob");
    samples_free(&list);
    policy_free(&policy);
}

// A copy with the policy's weights is not asked again; one number elsewhere, in the last matrix or in an angle, and it is.
static void a_reference_is_asked_unless_it_is_equal(void **state)
{
    Model copy;
    PolicyOptions o = usual();
    Err err = {0};
    (void)state;
    assert_ok(model_copy(&copy, &fixture.start, &err), &err);
    assert_true(model_equal(&copy, &fixture.start));
    assert_ok(model_add_value_head(&copy, &err), &err);
    assert_true(model_equal(&copy, &fixture.start) && model_equal(&fixture.start, &copy));
    for (int changed = 0; changed < 3; changed++) {
        float *number = changed == 1 ? copy.parameters + copy.layers[0].down : copy.rope_cos + copy.config.head_dim / 2, before = *number;
        Policy policy;
        SampleList list = {0};
        if (changed) *number += 0.5f;
        assert_int_equal(model_equal(&copy, &fixture.start), !changed);
        open_policy(&policy, &fixture.start, &copy, &o);
        assert_ok(policy_collect(&policy, &list, stage, B, K, 0, &err), &err);
        ask_reference(&policy, &list);
        size_t others = 0;
        for (size_t i = 0; i < list.count; i++) {
            float expected = log_probability(&copy, list.items + i);
            assert_same_bits(&list.items[i].ref_logprob, &expected, 1, "ref_logprob");
            others += list.items[i].ref_logprob != list.items[i].logprob;
        }
        assert_int_equal(others > 0, changed > 0);
        *number = before;
        samples_free(&list);
        policy_free(&policy);
    }
    model_free(&copy);
}

// A file's answers and a checkpoint's follow the policy's own, each with its log-probability under the policy.
static void experts_answer_after_the_policy(void **state)
{
    Policy policy;
    SampleList list = {0}, alone = {0};
    PolicyOptions o = usual();
    Err err = {0};
    char *file = answers_file("human.jsonl", "{\"prompt_id\":\"p4\",\"text\":\" indeed<|endoftext|>\"}\n{\"prompt\":\"what a good story\",\"text\":\" so good\"}\n"
        "{\"prompt_id\":\"p4\",\"text\":\" second\"}\n{\"prompt_id\":\"p1\",\"text\":\"not in this stage\"}\n");
    char *checkpoint = path_in(fixture.folder, "expert");
    const char *experts[] = {file, checkpoint};
    (void)state;
    assert_ok(checkpoint_save(checkpoint, &reference, &fixture.tokenizer, &err), &err);
    open_policy(&policy, &fixture.start, &reference, &o);
    assert_ok(policy_collect(&policy, &alone, stage, B, K, 0, &err), &err);
    policy_free(&policy);
    o.experts = experts;
    o.expert_count = 2;
    open_policy(&policy, &fixture.start, &reference, &o);
    assert_ok(policy_collect(&policy, &list, stage, B, K, 0, &err), &err);
    ask_reference(&policy, &list);
    const size_t from_file[B] = {1, 0, 2}; // to p2, p0 and p4
    size_t at = 0;
    for (size_t slot = 0; slot < B; slot++)
        for (size_t k = 0; k < 2 * K + from_file[slot]; k++, at++) {
            const Sample *s = list.items + at;
            bool own = k < K, human = !own && k < K + from_file[slot];
            assert_true(at < list.count && s->slot == slot && s->k == k);
            assert_string_equal(s->source, own ? "policy" : human ? file : checkpoint);
            if (own) assert_memory_equal(s->tokens.ids, alone.items[slot * K + k].tokens.ids, s->tokens.length * sizeof(uint32_t));
            if (!own && !human)
                assert_memory_not_equal(s->tokens.ids, alone.items[slot * K + k - K - from_file[slot]].tokens.ids,
                    sizeof(uint32_t) * 2);
            float expected = log_probability(&fixture.start, s), expected_ref = log_probability(&reference, s);
            assert_same_bits(&s->logprob, &expected, 1, "logprob");
            assert_same_bits(&s->ref_logprob, &expected_ref, 1, "ref_logprob");
        }
    assert_int_equal(at, list.count);
    assert_string_equal(list.items[K].text, " so good");
    const Sample *closed = list.items + 2 * K + 1 + 2 * K + K; // slot 2, the first after the policy's own
    assert_string_equal(closed->text, " indeed");
    assert_int_equal(closed->tokens.ids[closed->tokens.length - 1], 0);
    assert_string_equal(closed[1].text, " second");
    samples_free(&list);
    samples_free(&alone);
    policy_free(&policy);
    free(file);
    free(checkpoint);
}

// An expert with the policy's own weights goes on where the policy's candidates end: it never repeats them.
static void a_checkpoint_draws_as_later_candidates(void **state)
{
    Policy policy;
    SampleList list = {0}, twice = {0};
    PolicyOptions o = usual();
    Err err = {0};
    char *checkpoint = path_in(fixture.folder, "twin");
    const char *experts[] = {checkpoint};
    (void)state;
    assert_ok(checkpoint_save(checkpoint, &fixture.start, &fixture.tokenizer, &err), &err);
    open_policy(&policy, &fixture.start, &fixture.start, &o);
    assert_ok(policy_collect(&policy, &twice, stage, B, 2 * K, 0, &err), &err);
    policy_free(&policy);
    o.experts = experts;
    o.expert_count = 1;
    open_policy(&policy, &fixture.start, &fixture.start, &o);
    assert_ok(policy_collect(&policy, &list, stage, B, K, 0, &err), &err);
    assert_int_equal(list.count, twice.count);
    for (size_t i = 0; i < list.count; i++) {
        const TokenList *got = &list.items[i].tokens, *want = &twice.items[i].tokens;
        assert_int_equal(got->length, want->length);
        assert_memory_equal(got->ids, want->ids, want->length * sizeof *want->ids);
        assert_same_bits(&list.items[i].logprob, &twice.items[i].logprob, 1, "logprob");
    }
    samples_free(&list);
    samples_free(&twice);
    policy_free(&policy);
    free(checkpoint);
}

static void unusable_experts_are_named(void **state)
{
    static const char *const cases[][2] = {
        {"{\"prompt_id\":\"p0\",\"text\":\"a\"}\n{\"prompt_id\":\"nobody\",\"text\":\"a\"}\n", "human.jsonl:2"},
        {"{\"prompt\":\"unknown\",\"text\":\"a\"}\n", "no such prompt"},
        {"{\"prompt_id\":\"p0\",\"text\":\"\"}\n", "empty"},
        {"{\"prompt_id\":\"p0\"}\n", "\"text\""},
        {"{\"prompt_id\":\"p0\",\"response_ids\":[]}\n", "key \"response_ids\": the answer is empty"},
        {"{\"prompt_id\":\"p0\",\"response_ids\":[5,290]}\n", "key \"response_ids\": element 1 is 290, outside the tokenizer's vocabulary of 2"},
        {"{\"text\":\"a\"}\n", "\"prompt\""},
        {"", "no answers"},
        {"{\"prompt_id\":\"p0\",\"text\":\"0123456789012345678901234567890123456789012345678901234567890123456789\"}\n",
        "human.jsonl:1"}, };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *file = answers_file("human.jsonl", cases[i][0]);
        const char *experts[] = {file};
        Policy policy;
        PolicyOptions o = usual();
        Err err = {0};
        o.experts = experts;
        o.expert_count = 1;
        assert_input_error(policy_init(&policy, &fixture.start, &fixture.start, &fixture.tokenizer, &fixture.prompts, &fixture.cx, &o, &err), &err, cases[i][1]);
        free(file);
    }
    const char *own_name[] = {"policy"};
    Policy policy;
    PolicyOptions o = usual();
    Err err = {0};
    o.experts = own_name;
    o.expert_count = 1;
    assert_input_error(policy_init(&policy, &fixture.start, &fixture.start, &fixture.tokenizer, &fixture.prompts, &fixture.cx, &o, &err), &err, "--expert policy");
}

static void unusable_prompts_are_named(void **state)
{
    PromptList list = {0};
    Err err = {0};
    (void)state;
    assert_ok(prompts_add(&list, "tail", "the film was good", 17, &err), &err);
    assert_ok(policy_tokenize_prompts(&list, &fixture.tokenizer, CONTEXT, NEW, &err), &err);
    size_t length = list.items[0].ids.length;
    assert_ok(policy_tokenize_prompts(&list, &fixture.tokenizer, length + NEW, NEW, &err), &err);
    assert_input_error(policy_tokenize_prompts(&list, &fixture.tokenizer, length + NEW - 1, NEW, &err), &err, "\"tail\"");
    list.items[0].ids.ids[1] = (uint32_t)fixture.tokenizer.vocab;
    assert_input_error(policy_tokenize_prompts(&list, &fixture.tokenizer, CONTEXT, NEW, &err), &err, "vocabulary");
    prompts_free(&list);
    assert_ok(prompts_add(&list, "void", "", 0, &err), &err);
    assert_input_error(policy_tokenize_prompts(&list, &fixture.tokenizer, CONTEXT, NEW, &err), &err, "\"void\" is empty");
    prompts_free(&list);
}

static void greedy_collection_is_refused(void **state)
{
    Policy policy;
    SampleList list = {0};
    PolicyOptions o = usual();
    Err err = {0};
    (void)state;
    o.sample.temperature = 0;
    open_policy(&policy, &fixture.start, &fixture.start, &o);
    assert_input_error(policy_collect(&policy, &list, stage, B, K, 0, &err), &err, "--temperature");
    policy_free(&policy);
}

// ---- learning -----------------------------------------------------------------------------------------------------------------

// What fine-tuning must come to: the policy's own trainer over these examples.
static void train_on(Model *model, const Example *examples, size_t n, uint32_t iteration, const PolicyOptions *o, StepStats *stats)
{
    Trainer trainer;
    Err err = {0};
    assert_ok(trainer_init(&trainer, model, &fixture.cx, &o->train, &err), &err);
    assert_ok(train_run(&trainer, examples, n, o->seed, iteration, NULL, NULL, stats, &err), &err);
    trainer_free(&trainer);
}

static void only_selected_responses_are_learned(void **state)
{
    Policy policy;
    Model learner, expected;
    SampleList list = {0};
    PolicyOptions o = usual();
    StepStats stats;
    Example examples[B];
    uint32_t ids[B][CONTEXT];
    Err err = {0};
    (void)state;
    assert_ok(model_copy(&learner, &fixture.start, &err), &err);
    assert_ok(model_copy(&expected, &fixture.start, &err), &err);
    open_policy(&policy, &learner, &reference, &o);
    assert_ok(policy_collect(&policy, &list, stage, B, K, 1, &err), &err);
    for (size_t i = 0; i < B; i++) {
        Sample *s = list.items + i * K + i; // another k in each slot
        s->selected = true;
        memcpy(ids[i], s->prompt_tokens.ids, s->prompt_tokens.length * sizeof **ids);
        memcpy(ids[i] + s->prompt_tokens.length, s->tokens.ids, s->tokens.length * sizeof **ids);
        examples[i] = (Example){.ids = ids[i], .length = s->prompt_tokens.length + s->tokens.length,
            .prompt = s->prompt_tokens.length};
    }
    train_on(&expected, examples, B, 1, &o, &stats);
    assert_ok(policy_finetune(&policy, &list, 1, &err), &err);
    assert_same_bits(learner.parameters, expected.parameters, fixture.start.parameter_count, "parameters");
    assert_memory_not_equal(learner.parameters, fixture.start.parameters, fixture.start.parameter_count * sizeof(float));
    assert_int_equal(policy.last.targets, stats.targets);
    for (size_t i = 0; i < B; i++) list.items[i * K + i].selected = false;
    assert_input_error(policy_finetune(&policy, &list, 1, &err), &err, "no candidate is selected");
    list.items[1].selected = true;
    list.items[1].tokens.ids[0] = (uint32_t)fixture.tokenizer.vocab;
    assert_input_error(policy_finetune(&policy, &list, 1, &err), &err, "slot 0, k 1");
    assert_ok(tokens_append(&list.items[1].prompt_tokens, &err, ids[0], CONTEXT), &err);
    assert_input_error(policy_finetune(&policy, &list, 1, &err), &err, "context");
    samples_free(&list);
    policy_free(&policy);
    model_free(&learner);
    model_free(&expected);
}

// Beside two chosen answers four texts a stage, out of five: the second stage goes on in the deck.
static void texts_of_people_are_read_beside_the_chosen_answers(void **state)
{
    enum { REPLAY = 2, TEXTS = 5, READ = 2 * REPLAY, ITERATION = 1 };
    Policy policy;
    Model learner, expected;
    SampleList list = {0};
    PolicyOptions o = usual();
    StepStats stats;
    Example texts[TEXTS], examples[2 + READ];
    uint32_t words[TEXTS][4], order[2][TEXTS];
    Err err = {0};
    (void)state;
    for (size_t i = 0; i < TEXTS; i++) {
        for (size_t t = 0; t < 4; t++) words[i][t] = (uint32_t)(20 + 5 * i + t);
        texts[i] = (Example){.ids = words[i], .length = 2 + i % 3};
    }
    o.replay = REPLAY;
    o.texts = texts;
    o.text_count = TEXTS;
    assert_ok(model_copy(&learner, &fixture.start, &err) || model_copy(&expected, &fixture.start, &err), &err);
    open_policy(&policy, &learner, &reference, &o);
    assert_ok(policy_collect(&policy, &list, stage, 2, K, ITERATION, &err), &err);
    list.items[0].selected = list.items[K].selected = true;
    const Sample *chosen[] = {list.items, list.items + K};
    ExampleList answers;
    assert_ok(policy_examples(&answers, chosen, 2, &err), &err);
    memcpy(examples, answers.examples, 2 * sizeof *examples);
    for (uint32_t pass = 0; pass < 2; pass++) philox_shuffle(order[pass], TEXTS, o.seed, STREAM_REPLAY, pass);
    for (size_t i = 0; i < READ; i++) {
        size_t at = ITERATION * READ + i; // 4 .. 7: the last of the first pass, three of the second
        examples[2 + i] = texts[order[at / TEXTS][at % TEXTS]];
    }
    train_on(&expected, examples, 2 + READ, ITERATION, &o, &stats);
    assert_ok(policy_finetune(&policy, &list, ITERATION, &err), &err);
    assert_same_bits(learner.parameters, expected.parameters, fixture.start.parameter_count, "parameters");
    assert_int_equal(policy.last.targets, stats.targets);
    policy.options.text_count = 0;
    assert_input_error(policy_finetune(&policy, &list, ITERATION, &err), &err, "--replay 2: there is no text");
    policy_examples_free(&answers);
    samples_free(&list);
    policy_free(&policy);
    model_free(&learner);
    model_free(&expected);
}

static void generator_gives_candidates_that_own_their_samples(void **state)
{
    Policy policy;
    CandidateList candidates = {0};
    PolicyOptions o = usual();
    Err err = {0};
    (void)state;
    open_policy(&policy, &fixture.start, &reference, &o);
    Raft raft = {.generator = policy_generator(&policy), .prompts = fixture.prompts.count, .stage = B, .samples = K, .seed = 4};
    assert_ok(raft_collect(&raft, &candidates, 2, &err), &err);
    size_t chosen[B];
    uint32_t order[5];
    raft_stage_prompts(chosen, B, fixture.prompts.count, 2, 4, order);
    assert_int_equal(candidates.count, B * K);
    for (size_t i = 0; i < candidates.count; i++) assert_true(candidates.items[i].log_ratio == 0); // nobody has asked p0
    const float known = 0.5f; // one sample is not asked again
    Sample *first = candidates.items[0].item;
    first->ref_logprob = known;
    first->has_reference = true;
    assert_ok(raft.generator.log_ratio(raft.generator.self, &candidates, &err), &err);
    for (size_t i = 0; i < candidates.count; i++) {
        const Candidate *c = candidates.items + i;
        const Sample *s = c->item;
        float expected_ref = i ? log_probability(&reference, s) : known, ratio = s->logprob - expected_ref;
        assert_int_equal(c->slot, i / K);
        assert_int_equal(c->k, i % K);
        assert_int_equal(c->prompt, chosen[i / K]);
        assert_string_equal(s->prompt_id, fixture.prompts.items[c->prompt].id);
        assert_same_bits(&c->log_ratio, &ratio, 1, "log ratio");
    }
    raft_release(&raft, &candidates);
    policy_free(&policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_slot_after_slot),
        cmocka_unit_test(a_policy_that_is_its_own_reference_has_no_divergence),
        cmocka_unit_test(a_reference_is_asked_unless_it_is_equal),
        cmocka_unit_test(experts_answer_after_the_policy),
        cmocka_unit_test(a_checkpoint_draws_as_later_candidates),
        cmocka_unit_test(unusable_experts_are_named),
        cmocka_unit_test(unusable_prompts_are_named),
        cmocka_unit_test(greedy_collection_is_refused),
        cmocka_unit_test(only_selected_responses_are_learned),
        cmocka_unit_test(texts_of_people_are_read_beside_the_chosen_answers),
        cmocka_unit_test(generator_gives_candidates_that_own_their_samples),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
