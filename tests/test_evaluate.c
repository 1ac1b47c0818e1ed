// SPDX-License-Identifier: MIT
// test_evaluate.c - what a model's answers and its view of texts come to: their random stream, the best of K, held-out perplexity.
#include "tests/support_policy.h"

#include <math.h>
#include <string.h>

#include "study/evaluate.h"

// Evaluation draws from a stream of its own, iteration 0 whatever the model has been through.
static void evaluation_has_its_own_random_stream(void **state)
{
    Err err = {0};
    EvaluateOptions how = {.tokenizer = &fixture.tokenizer, .prompts = &fixture.prompts, .prompt_count = 2, .sample = fixture_sampling(), .seed = 3};
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
    for (uint32_t i = 0; i < 2; i++) list[i] = (SamplePrompt){fixture.prompts.items[i].ids.ids, fixture.prompts.items[i].ids.length, i};
    assert_ok(evaluate(&e, &answers, &fixture.start, &fixture.cx, &how, &err), &err);
    assert_ok(sample_generate(expected, &fixture.start, &fixture.cx, &fixture.tokenizer, list, 2, &direct, NULL, NULL, &err), &err);
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
    EvaluateOptions how = {.tokenizer = &fixture.tokenizer, .prompts = &fixture.prompts, .sample = fixture_sampling(), .seed = 3};
    Evaluation all, best;
    SampleList answers = {0}, kept = {0};
    (void)state;
    assert_ok(reward_open(&rewards, (const char *[]){"length:6"}, 1, NULL, &fixture.cx, 10, &err), &err);
    how.rewards = &rewards;
    how.sample.samples = K;
    assert_ok(evaluate(&all, &answers, &fixture.start, &fixture.cx, &how, &err), &err);
    how.best_of = true;
    assert_ok(evaluate(&best, &kept, &fixture.start, &fixture.cx, &how, &err), &err);
    assert_int_equal(answers.count, PROMPTS * K);
    assert_int_equal(kept.count, PROMPTS);
    assert_int_equal(best.samples, PROMPTS);
    assert_int_equal(best.tokens, all.tokens);
    assert_true(best.reward.mean > all.reward.mean);
    assert_int_equal(all.kl.n, 0); // no reference: no divergence
    assert_int_equal(all.perplexity.n, 0);
    for (size_t i = 0; i < PROMPTS; i++) {
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
    assert_ok(lm_evaluate(&fixture.start, &fixture.cx, texts, 2, logprob, NULL, &err), &err);
    assert_ok(evaluate(&e, NULL, &fixture.start, &fixture.cx, &how, &err), &err);
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
    EvaluateOptions how = {.held_out = &text, .held_out_count = 1, .reference = &fixture.start, .p0_perplexity = &kept};
    Evaluation e;
    (void)state;
    assert_ok(evaluate(&e, NULL, &fixture.start, &fixture.cx, &how, &err), &err);
    double measured = e.perplexity.mean;
    assert_true(kept.n && kept.mean == measured);
    kept.mean = 2 * measured; // to see who reads it
    assert_ok(evaluate(&e, NULL, &fixture.start, &fixture.cx, &how, &err), &err);
    assert_true(e.perplexity.mean == 2 * measured);

    Model other;
    assert_ok(model_copy(&other, &fixture.start, &err), &err);
    model_randomise(&other, 7);
    assert_ok(evaluate(&e, NULL, &other, &fixture.cx, &how, &err), &err);
    assert_true(e.perplexity.mean != 2 * measured && kept.mean == 2 * measured);
    model_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluation_has_its_own_random_stream),
        cmocka_unit_test(best_of_k_keeps_the_best_answer),
        cmocka_unit_test(held_out_perplexity_is_that_of_the_texts),
        cmocka_unit_test(p0s_perplexity_is_kept_and_only_p0s),
    };
    return cmocka_run_group_tests(tests, make_policy_fixture, drop_policy_fixture);
}
