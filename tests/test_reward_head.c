// SPDX-License-Identifier: MIT
/* test_reward_head.c - what a reward head reads of a text when it is asked and when it learns, that it learns, its examples. */
#include "tests/support_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reward_head.h"

static char *folder; // of the whole group
static Compute cx;
static Tokenizer tokenizer; // of a few words

// ---- asking ---------------------------------------------------------------------------------------------------------------------

static TokenList random_text(TestRandom *random, size_t length, uint32_t vocab)
{
    TokenList text = {0};
    for (size_t i = 0; i < length; i++) assert_ok(tokens_add(&text, NULL, test_integer(random, vocab)), &(Err){0});
    return text;
}

static void a_long_text_scores_the_mean_of_its_windows_weighted_by_tokens(void **state)
{
    (void)state;
    const size_t lengths[] = {1, 15, 16, 17, 37, 64, 65};
    for (int pooling = POOL_LAST; pooling <= POOL_MEAN; pooling++) {
        Model model;
        ModelConfig config = tiny_head_config;
        config.pooling = (ScorePooling)pooling;
        tiny_head(&model, config, 3);
        TestRandom random = {7};
        TokenList texts[7];
        for (size_t i = 0; i < 7; i++) texts[i] = random_text(&random, lengths[i], 40);
        float got[7];
        Err err = {0};
        assert_ok(head_score(&model, &cx, texts, 7, got, &err), &err);
        for (size_t i = 0; i < 7; i++) {
            size_t n = lengths[i], parts = (n + 15) / 16;
            double sum = 0;
            float value;
            for (size_t p = 0; p < parts; p++) {
                Example piece = {.ids = texts[i].ids + n * p / parts, .length = n * (p + 1) / parts - n * p / parts};
                assert_true(piece.length <= 16 && piece.length + 1 >= n / parts);
                assert_ok(score_evaluate(&model, &cx, &piece, 1, &value, &err), &err);
                sum += (double)value * (double)piece.length;
            }
            float want = parts == 1 ? value : (float)(sum / (double)n);
            assert_same_bits(got + i, &want, 1, "score");
        }
        for (size_t i = 0; i < 7; i++) tokens_free(texts + i);
        model_free(&model);
    }
}

static void an_empty_text_has_no_score(void **state)
{
    (void)state;
    Model model;
    tiny_head(&model, tiny_head_config, 3);
    TokenList nothing = {0};
    float value;
    Err err = {0};
    assert_input_error(head_score(&model, &cx, &nothing, 1, &value, &err), &err, "text 0: is empty");
    model_free(&model);
}

// ---- what training reads ---------------------------------------------------------------------------------------------------------

enum { TEXTS = 24, EPOCHS = 3, STEPS = TEXTS * EPOCHS };
typedef struct { size_t steps, tokens[STEPS]; double loss[STEPS]; } Readings;

static int take_reading(void *self, size_t step, size_t steps, const StepStats *stats)
{
    Readings *r = self;
    assert_true(steps == STEPS && step == r->steps + 1);
    r->tokens[r->steps] = stats->tokens;
    r->loss[r->steps++] = stats->loss;
    return 0;
}

// Steps of one text at rate 0: tokens and loss show which piece was read.
static Readings read_pieces(Model *model, const HeadExamples *data, HeadOptions how)
{
    Readings r = {0};
    Err err = {0};
    TrainOptions train = train_defaults();
    train.lr = 0;
    train.batch = 1;
    train.epochs = EPOCHS;
    assert_ok(head_train(model, &cx, data, &how, &train, take_reading, &r, &err), &err);
    assert_int_equal(r.steps, STEPS);
    return r;
}

static HeadExamples same_texts(size_t length)
{
    TestRandom random = {11};
    HeadExamples data = {.texts = mem_new(NULL, TEXTS, sizeof(TokenList)), .labels = mem_new(NULL, TEXTS, sizeof(float)), .count = TEXTS};
    TokenList text = random_text(&random, length, 40);
    for (size_t i = 0; i < TEXTS; i++) assert_ok(tokens_append(&data.texts[i], NULL, text.ids, text.length), &(Err){0});
    tokens_free(&text);
    return data;
}

static double loss_of(Model *model, const uint32_t *ids, size_t n)
{
    HeadAccuracy a;
    Err err = {0};
    TokenList text = {.ids = (uint32_t *)ids, .length = n};
    float label = 0;
    HeadExamples one = {.texts = &text, .labels = &label, .count = 1};
    assert_ok(head_measure(&a, model, &cx, &one, &err), &err);
    return a.loss;
}

static void prefixes_begin_at_the_start_and_keep_their_bounds(void **state)
{
    (void)state;
    Model model;
    tiny_head(&model, tiny_head_config, 3);
    HeadExamples data = same_texts(40);
    Readings r = read_pieces(&model, &data, (HeadOptions){.prefix_share = 1, .prefix_least = 4, .max_tokens = 9, .seed = 1});
    size_t seen[10] = {0};
    for (size_t i = 0; i < STEPS; i++) {
        assert_in_range(r.tokens[i], 4, 9);
        seen[r.tokens[i]]++;
        assert_true(fabs(r.loss[i] - loss_of(&model, data.texts[0].ids, r.tokens[i])) < 1e-6);
    }
    for (size_t n = 4; n <= 9; n++) assert_true(seen[n] > 0); // 72 draws of 6 lengths: one is missed with probability 1e-5
    size_t first = 0, second = 0; // other prefixes in each epoch; their order is another matter
    for (size_t i = 0; i < TEXTS; i++) {
        first += r.tokens[i] * r.tokens[i];
        second += r.tokens[TEXTS + i] * r.tokens[TEXTS + i];
    }
    assert_int_not_equal(first, second);
    r = read_pieces(&model, &data, (HeadOptions){.prefix_share = 1, .prefix_least = 4, .prefix_most = 6, .max_tokens = 9, .seed = 1});
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < STEPS; i++) {
        assert_in_range(r.tokens[i], 4, 6);
        seen[r.tokens[i]]++;
    }
    assert_true(seen[4] && seen[5] && seen[6]);
    r = read_pieces(&model, &data, (HeadOptions){.prefix_share = 1, .prefix_least = 4, .prefix_most = 2, .max_tokens = 9, .seed = 1});
    for (size_t i = 0; i < STEPS; i++) assert_int_equal(r.tokens[i], 2); // the greatest rules
    head_examples_free(&data);
    data = same_texts(3);
    r = read_pieces(&model, &data, (HeadOptions){.prefix_share = 1, .prefix_least = 4, .max_tokens = 9, .seed = 1});
    for (size_t i = 0; i < STEPS; i++) assert_int_equal(r.tokens[i], 3); // shorter than the least
    head_examples_free(&data);
    model_free(&model);
}

static void windows_of_long_texts_lie_anywhere_in_them(void **state)
{
    (void)state;
    Model model;
    tiny_head(&model, tiny_head_config, 3);
    HeadExamples data = same_texts(20);
    Readings r = read_pieces(&model, &data, (HeadOptions){.prefix_share = 0, .prefix_least = 4, .max_tokens = 12, .seed = 1});
    size_t seen[9] = {0}; // starts 0..8
    for (size_t i = 0; i < STEPS; i++) {
        assert_int_equal(r.tokens[i], 12);
        size_t at = 0;
        while (at < 9 && fabs(r.loss[i] - loss_of(&model, data.texts[0].ids + at, 12)) > 1e-6) at++;
        assert_true(at < 9);
        seen[at]++;
    }
    for (size_t at = 0; at < 9; at++) assert_true(seen[at] > 0);
    r = read_pieces(&model, &data, (HeadOptions){.prefix_share = 0, .prefix_least = 4, .max_tokens = 99, .seed = 1});
    for (size_t i = 0; i < STEPS; i++) assert_int_equal(r.tokens[i], 16); // the context
    head_examples_free(&data);
    data = same_texts(7);
    r = read_pieces(&model, &data, (HeadOptions){.prefix_share = 0, .prefix_least = 4, .seed = 1});
    for (size_t i = 0; i < STEPS; i++) assert_int_equal(r.tokens[i], 7);
    head_examples_free(&data);
    model_free(&model);
}

static void pieces_are_a_function_of_the_seed(void **state)
{
    (void)state;
    Model model;
    tiny_head(&model, tiny_head_config, 3);
    HeadExamples data = same_texts(40);
    HeadOptions how = {.prefix_share = 0.5, .prefix_least = 4, .max_tokens = 12, .seed = 1};
    Readings first = read_pieces(&model, &data, how), again = read_pieces(&model, &data, how);
    how.seed = 2;
    Readings other = read_pieces(&model, &data, how);
    assert_memory_equal(&first, &again, sizeof first);
    assert_true(memcmp(first.tokens, other.tokens, sizeof first.tokens) != 0);
    size_t whole = 0;
    for (size_t i = 0; i < STEPS; i++) whole += first.tokens[i] == 12;
    assert_in_range(whole, STEPS / 4, STEPS * 3 / 4); // windows: half of them, and a ninth of the prefixes
    head_examples_free(&data);
    model_free(&model);
}

static int count_steps(void *self, size_t step, size_t steps, const StepStats *stats)
{
    size_t *count = self;
    assert_true(step == ++*count && steps == 5 && stats->targets == (step == 3 ? 4 : 10));
    return 0;
}

static void training_stops_at_the_steps_asked_for(void **state)
{
    (void)state;
    Model model;
    tiny_head(&model, tiny_head_config, 3);
    HeadExamples data = same_texts(5); // 24: a pass is 10 + 10 + 4
    TrainOptions train = train_defaults();
    HeadOptions how = {.seed = 1};
    size_t count = 0;
    Err err = {0};
    train.batch = 10;
    train.epochs = 4;
    train.steps = 5;
    assert_ok(head_train(&model, &cx, &data, &how, &train, count_steps, &count, &err), &err);
    assert_int_equal(count, 5);
    head_examples_free(&data);
    model_free(&model);
}

// ---- learning --------------------------------------------------------------------------------------------------------------------

// Token 1 makes a text positive, token 2 negative, the rest is noise; pairs: 2i positive, 2i+1 negative.
static HeadExamples marked_texts(size_t n, bool pairs, uint64_t seed)
{
    TestRandom random = {seed};
    HeadExamples data = {.texts = mem_new(NULL, n, sizeof(TokenList)), .labels = pairs ? NULL : mem_new(NULL, n, sizeof(float)), .count = n,
        .pairs = pairs};
    for (size_t i = 0; i < n; i++) {
        bool positive = i % 2 == 0;
        data.texts[i] = random_text(&random, 4 + test_integer(&random, 9), 37);
        for (size_t t = 0; t < data.texts[i].length; t++) data.texts[i].ids[t] += 3;
        data.texts[i].ids[test_integer(&random, (uint32_t)data.texts[i].length)] = positive ? 1 : 2;
        if (!pairs) data.labels[i] = positive;
    }
    return data;
}

static void learns_which_mark_is_good(bool pairs, ScorePooling pooling)
{
    Model model;
    ModelConfig config = tiny_head_config;
    Err err = {0};
    HeadAccuracy before, after;
    config.pooling = pooling;
    assert_ok(model_init(&model, &config, &err), &err);
    model_randomise(&model, 1);
    HeadExamples train_data = marked_texts(1024, pairs, 21), test = marked_texts(128, pairs, 22);
    HeadOptions how = {.seed = 1};
    TrainOptions train = train_defaults();
    train.lr = 2e-2;
    train.epochs = 6;
    assert_ok(head_measure(&before, &model, &cx, &test, &err), &err);
    assert_ok(head_train(&model, &cx, &train_data, &how, &train, NULL, NULL, &err), &err);
    assert_ok(head_measure(&after, &model, &cx, &test, &err), &err);
    assert_int_equal(after.count, pairs ? 64 : 128);
    assert_true(before.correct < before.count * 3 / 4 && fabs(before.loss - 0.693) < 0.05);
    assert_int_equal(after.correct, after.count);
    assert_true(after.loss < 0.1);
    head_examples_free(&train_data);
    head_examples_free(&test);
    model_free(&model);
}

static void learns_from_labels(void **state)
{
    (void)state;
    learns_which_mark_is_good(false, POOL_LAST);
    learns_which_mark_is_good(false, POOL_MEAN);
}

static void learns_from_pairs(void **state)
{
    (void)state;
    learns_which_mark_is_good(true, POOL_LAST);
    learns_which_mark_is_good(true, POOL_MEAN);
}

static char *put(const char *name, const char *text)
{
    char *path = path_in(folder, name);
    write_file(path, text, strlen(text));
    return path;
}

// ---- examples --------------------------------------------------------------------------------------------------------------------

static void assert_encodes(const TokenList *got, const char *text)
{
    TokenList want = {0};
    Err err = {0};
    assert_ok(tokenizer_encode(&tokenizer, &want, text, strlen(text), &err), &err);
    assert_int_equal(got->length, want.length);
    assert_memory_equal(got->ids, want.ids, want.length * sizeof *want.ids);
    tokens_free(&want);
}

static void pairs_are_prompt_and_answer_as_one_text(void **state)
{
    (void)state;
    char *path = put("pairs.jsonl", "{\"prompt\":\"the fi\",\"chosen\":\"lm was great\",\"rejected\":\"lm was dull\"}\n\n"
                                    "{\"rejected\":\"dull\",\"extra\":1,\"chosen\":\"great\"}\n{\"prompt\":\"dull\",\"chosen\":\"\",\"rejected\":\"er\"}\n");
    HeadExamples data;
    Err err = {0};
    assert_ok(head_examples_from_pairs(&data, path, &tokenizer, &err), &err);
    assert_true(data.pairs && data.count == 6);
    const char *const texts[] = {"the film was great", "the film was dull", "great", "dull", "dull", "duller"};
    for (size_t i = 0; i < 6; i++) assert_encodes(data.texts + i, texts[i]);
    head_examples_free(&data);
    free(path);
}

static void a_malformed_pair_is_named_by_its_line(void **state)
{
    (void)state;
    const struct { const char *text, *fragment; } bad[] = {
        {"{\"chosen\":\"a\",\"rejected\":\"b\"}\n{\"chosen\":\"a\"}\n", "bad.jsonl:2: key \"rejected\""},
        {"\n{\"rejected\":\"a\"}\n", "bad.jsonl:2: key \"chosen\""}, {"{\"chosen\":1,\"rejected\":\"a\"}\n", "bad.jsonl:1: key \"chosen\""},
        {"{\"prompt\":[],\"chosen\":\"b\",\"rejected\":\"a\"}\n", "bad.jsonl:1: key \"prompt\""}, {"[1]\n", "bad.jsonl:1"},
        {"{\"chosen\":\"a\",\"rejected\":\"\"}\n", "bad.jsonl:1: prompt and answer are empty"}, {"{\"chosen\":\n", "bad.jsonl:1"},
        {"", "no pairs"}, {"\n\n", "no pairs"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *path = put("bad.jsonl", bad[i].text);
        HeadExamples data;
        Err err = {0};
        assert_input_error(head_examples_from_pairs(&data, path, &tokenizer, &err), &err, bad[i].fragment);
        assert_true(data.count == 0 && !data.texts);
        free(path);
    }
}

static void labelled_texts_keep_the_order_asked_for(void **state)
{
    (void)state;
    Corpus corpus = {0};
    HeadExamples data;
    Err err = {0};
    const uint32_t order[] = {2, 0};
    assert_ok(corpus_add(&corpus, "a", "great", 5, LABEL_POSITIVE, &err), &err);
    assert_ok(corpus_add(&corpus, "b", "the end", 7, LABEL_NONE, &err), &err);
    assert_ok(corpus_add(&corpus, "c", "dull", 4, LABEL_NEGATIVE, &err), &err);
    assert_ok(head_examples_from_corpus(&data, &corpus, order, 2, &tokenizer, &err), &err);
    assert_true(!data.pairs && data.count == 2 && data.labels[0] == 0 && data.labels[1] == 1);
    assert_encodes(&data.texts[0], "dull");
    assert_encodes(&data.texts[1], "great");
    head_examples_free(&data);
    assert_ok(head_examples_from_corpus(&data, &corpus, NULL, 1, &tokenizer, &err), &err);
    assert_encodes(&data.texts[0], "great");
    head_examples_free(&data);
    assert_input_error(head_examples_from_corpus(&data, &corpus, NULL, 3, &tokenizer, &err), &err, "b: has no label");
    corpus_free(&corpus);
}

// ---- all -------------------------------------------------------------------------------------------------------------------------

static int set_up(void **state)
{
    (void)state;
    Err err = {0};
    const char *const texts[] = {"the film was great", "the film was dull", "and the end was great"};
    folder = temporary_folder();
    assert_ok(compute_init(&cx, NULL, NULL, 1, &err), &err); // threads change no result
    tiny_tokenizer(&tokenizer, texts, 3, 270, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tokenizer_free(&tokenizer);
    compute_free(&cx);
    remove_folder(folder);
    free(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_text_scores_the_mean_of_its_windows_weighted_by_tokens),
        cmocka_unit_test(an_empty_text_has_no_score),
        cmocka_unit_test(prefixes_begin_at_the_start_and_keep_their_bounds),
        cmocka_unit_test(windows_of_long_texts_lie_anywhere_in_them),
        cmocka_unit_test(pieces_are_a_function_of_the_seed),
        cmocka_unit_test(training_stops_at_the_steps_asked_for),
        cmocka_unit_test(learns_from_labels),
        cmocka_unit_test(learns_from_pairs),
        cmocka_unit_test(pairs_are_prompt_and_answer_as_one_text),
        cmocka_unit_test(a_malformed_pair_is_named_by_its_line),
        cmocka_unit_test(labelled_texts_keep_the_order_asked_for),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
