// SPDX-License-Identifier: MIT
/* test_heads.c - a head made from a language model, texts cut short, and measures of a reward by hand-computed values. */
#include "tests/support.h"

#include <math.h>
#include <string.h>

#include "study/heads.h"

static const ModelConfig lm_config = {.vocab = 30, .dim = 8, .layers = 3, .heads = 2, .kv_heads = 1, .head_dim = 4, .ff = 12, .context = 20,
    .rms_eps = 1e-5, .rope_theta = 10000, .rope_factor = 1, .tied = true, .head = HEAD_LM, .bos = 0, .eos = 0, .pad = -1};

static void make_lm(Model *lm)
{
    Err err = {0};
    assert_ok(model_init(lm, &lm_config, &err), &err);
    model_randomise(lm, 1);
}

static void assert_same_tensors(const Model *head, const Model *lm)
{
    for (size_t i = 0; i < head->tensor_count; i++) {
        const Tensor *t = head->tensors + i, *from = model_find(lm, t->name);
        if (!strcmp(t->name, "score.weight")) continue;
        assert_non_null(from);
        assert_same_bits(head->parameters + t->offset, lm->parameters + from->offset, t->rows * t->cols, t->name);
    }
}

// ---- models --------------------------------------------------------------------------------------------------------------------

static void a_head_takes_the_first_layers_and_draws_its_own_weight(void **state)
{
    (void)state;
    Model lm, head, other;
    Err err = {0};
    make_lm(&lm);
    assert_ok(head_model_from(&head, &lm, 2, POOL_MEAN, 12, 5, &err), &err);
    assert_true(head.config.head == HEAD_SCORE && head.config.layers == 2 && head.config.pooling == POOL_MEAN && head.config.context == 12);
    assert_same_tensors(&head, &lm);
    const Tensor *weight = model_find(&head, "score.weight");
    assert_non_null(weight);
    float size = 0;
    for (size_t i = 0; i < 8; i++) size += fabsf(head.parameters[weight->offset + i]);
    assert_true(size > 0);
    assert_ok(head_model_from(&other, &lm, 2, POOL_MEAN, 12, 5, &err), &err);
    assert_same_bits(other.parameters, head.parameters, head.parameter_count, "the same seed");
    model_free(&other);
    assert_ok(head_model_from(&other, &lm, 2, POOL_MEAN, 12, 6, &err), &err);
    assert_same_tensors(&other, &lm);
    assert_memory_not_equal(other.parameters + weight->offset, head.parameters + weight->offset, 8 * sizeof(float));
    model_free(&other);
    model_free(&head);
    model_free(&lm);
}

static void all_layers_and_no_more_context_than_there_is(void **state)
{
    (void)state;
    Model lm, head;
    Err err = {0};
    make_lm(&lm);
    assert_ok(head_model_from(&head, &lm, 0, POOL_LAST, 256, 5, &err), &err);
    assert_true(head.config.layers == 3 && head.config.context == 20 && head.config.pooling == POOL_LAST);
    assert_same_tensors(&head, &lm);
    Model again;
    assert_input_error(head_model_from(&again, &head, 0, POOL_LAST, 0, 5, &err), &err, "not from another reward head");
    assert_input_error(head_model_from(&again, &lm, 4, POOL_LAST, 0, 5, &err), &err, "--layers 4: the language model has 3");
    model_free(&head);
    model_free(&lm);
}

// ---- texts cut short -------------------------------------------------------------------------------------------------------------

static void prefixes_keep_id_label_and_the_first_tokens(void **state)
{
    (void)state;
    Tokenizer tk;
    Err err = {0};
    const TextView texts[] = {{"aa bb", 5}};
    const TokenizerTraining how = {.vocab = 257};
    assert_ok(tokenizer_train(&tk, texts, 1, &how, &err), &err);
    Corpus corpus = {0}, begun = {0};
    assert_ok(corpus_add(&corpus, "long", "wxyz!", 5, LABEL_POSITIVE, &err), &err);
    assert_ok(corpus_add(&corpus, "short", "wxy", 3, LABEL_NEGATIVE, &err), &err);
    assert_ok(corpus_add(&corpus, "torn", "wx\xC3\xBC", 4, LABEL_NONE, &err), &err);
    assert_ok(corpus_prefixes(&begun, &corpus, &tk, 3, &err), &err);
    assert_int_equal(begun.count, 3);
    const char *const want[] = {"wxy", "wxy", "wx\xEF\xBF\xBD"};
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(begun.items[i].text, want[i]);
        assert_string_equal(begun.items[i].id, corpus.items[i].id);
        assert_int_equal(begun.items[i].label, corpus.items[i].label);
    }
    corpus_free(&corpus);
    corpus_free(&begun);
    tokenizer_free(&tk);
}

// ---- quality -----------------------------------------------------------------------------------------------------------------------

// labels: "+" and "-"
static RewardQuality quality_of(const float *reward, const char *labels)
{
    Corpus corpus = {0};
    RewardQuality q;
    Err err = {0};
    for (const char *c = labels; *c; c++)
        assert_ok(corpus_add(&corpus, "id", "text", 4, *c == '+' ? LABEL_POSITIVE : LABEL_NEGATIVE, &err), &err);
    assert_ok(reward_quality(&q, reward, &corpus, &err), &err);
    corpus_free(&corpus);
    return q;
}

static void near(double got, double want)
{
    if (!(fabs(got - want) < 1e-6)) fail_msg("got %.9g, want %.9g", got, want);
}

static void quality_by_hand(void **state)
{
    (void)state;
    const float reward[] = {2, -1, 0, 0.5f};
    RewardQuality q = quality_of(reward, "++--");
    near(q.accuracy.mean, 0.5); // 2 and 0 are right: 0 is not positive
    near(q.accuracy.lo, 0.150035);
    near(q.accuracy.hi, 0.849965);
    near(q.auc, 0.5); // 2 is above both, -1 above none
    near(q.positive.mean, 0.5);
    near(q.negative.mean, 0.25);
    near(q.loss, 0.776854); // log(1+e^-2), log(1+e), log 2, log(1+e^0.5)
    near(q.calibration_error, 0.493180); // 1-0.880797, 0.268941-1, 0.5, 0.622459
    const size_t full[] = {2, 5, 6, 8};
    size_t n = 0;
    for (size_t i = 0; i < CALIBRATION_BINS; i++) n += q.bins[i].n;
    assert_int_equal(n, 4);
    for (size_t i = 0; i < 4; i++) assert_int_equal(q.bins[full[i]].n, 1);
    near(q.bins[8].predicted, 0.880797);
    near(q.bins[8].observed, 1);
    near(q.bins[6].observed, 0);
}

static void a_bin_averages_before_it_compares(void **state)
{
    (void)state;
    const float even[] = {1e-4f, 1e-4f}; // 0.500025 each, one of two positive
    RewardQuality q = quality_of(even, "+-");
    assert_int_equal(q.bins[5].n, 2);
    near(q.bins[5].predicted, 0.500025);
    near(q.bins[5].observed, 0.5);
    near(q.calibration_error, 0.000025);
    near(q.auc, 0.5); // level
}

static void extreme_rewards_stay_finite(void **state)
{
    (void)state;
    const float reward[] = {3e38f, -3e38f, 800, -800};
    RewardQuality q = quality_of(reward, "+-+-");
    near(q.accuracy.mean, 1);
    near(q.auc, 1);
    near(q.loss, 0);
    near(q.calibration_error, 0);
    assert_true(q.bins[0].n == 2 && q.bins[9].n == 2);
    q = quality_of(reward, "-+-+");
    near(q.auc, 0);
    near(q.calibration_error, 1);
    assert_true(q.loss > 1e38);
}

static void auc_counts_pairs_in_any_order(void **state)
{
    (void)state;
    const float reward[] = {0.3f, 0.9f, -2, 0.3f, 0.1f, 5, -2};
    RewardQuality q = quality_of(reward, "+-+-+--"); // positive .3 -2 .1; negative .9 .3 5 -2
    near(q.auc, (0 + 0.5 + 0 + 1 + 0 + 0 + 0 + 0.5 + 0 + 0 + 0 + 1) / 12.0);
}

static void a_text_without_label_is_named(void **state)
{
    (void)state;
    Corpus corpus = {0};
    RewardQuality q;
    Err err = {0};
    const float reward[] = {0};
    assert_ok(corpus_add(&corpus, "line 7", "text", 4, LABEL_NONE, &err), &err);
    assert_input_error(reward_quality(&q, reward, &corpus, &err), &err, "line 7: has no label");
    corpus_free(&corpus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_takes_the_first_layers_and_draws_its_own_weight),
        cmocka_unit_test(all_layers_and_no_more_context_than_there_is),
        cmocka_unit_test(prefixes_keep_id_label_and_the_first_tokens),
        cmocka_unit_test(quality_by_hand),
        cmocka_unit_test(a_bin_averages_before_it_compares),
        cmocka_unit_test(extreme_rewards_stay_finite),
        cmocka_unit_test(auc_counts_pairs_in_any_order),
        cmocka_unit_test(a_text_without_label_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
