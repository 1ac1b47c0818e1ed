// SPDX-License-Identifier: MIT
/* test_reward.c - rewards by hand-computed values, their sums and specs, outside programs that behave badly, folders
 * that hold no head. */
#include "tests/support_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "files/checkpoint.h"
#include "reward.h"
#include "reward_head.h"

static char *folder; // of the whole group
static Compute cx;
static Tokenizer tokenizer; // of a few words

static char *put(const char *name, const char *text)
{
    char *path = path_in(folder, name);
    write_file(path, text, strlen(text));
    return path;
}

static RewardInput sample(const char *prompt, const char *text) { return (RewardInput){prompt, strlen(prompt), text, strlen(text)}; }

static float reward_of(const char *spec, const char *prompt, const char *text)
{
    RewardSet set;
    Err err = {0};
    RewardInput input = sample(prompt, text);
    float total = NAN;
    assert_ok(reward_open(&set, &spec, 1, NULL, &cx, 10, &err), &err);
    assert_ok(reward_score(&set, &input, 1, &total, NULL, &err), &err);
    reward_close(&set);
    return total;
}

static void expect_reward(float want, const char *spec, const char *prompt, const char *text)
{
    float got = reward_of(spec, prompt, text);
    assert_same_bits(&got, &want, 1, text);
}

// ---- lexicon and length ------------------------------------------------------------------------------------------------------

static char *lexicon_spec(const char *name, const char *text)
{
    char *path = put(name, text), *spec = malloc(strlen(path) + 10);
    sprintf(spec, "lexicon:%s", path);
    free(path);
    return spec;
}

static void lexicon_is_the_mean_weight_of_the_known_words(void **state)
{
    (void)state;
    char *spec = lexicon_spec("words.txt", "# a comment\ngood 2\n\nbad\t-1.5\r\ndon't \t0.5\n3d 8\n\xC3\xBC" "ber 4");
    expect_reward(2, spec, "", "good");
    expect_reward(0.25f, spec, "", "Good, but BAD!");
    expect_reward((float)(2.5 / 3), spec, "", "good good bad film");
    expect_reward(0, spec, "", "goods and badly, nothing known");
    expect_reward(0, spec, "", "");
    expect_reward(2, spec, "bad bad bad", "good"); // the response only
    expect_reward(2, spec, "", "'good'");
    expect_reward(0.5f, spec, "", "'don't'");
    expect_reward(8, spec, "", "In 3D.");
    expect_reward(4, spec, "", "\xC3\xBC" "ber");
    expect_reward(0, spec, "", "\xC3\x9C" "ber"); // case is folded in ASCII only
    expect_reward(-1.5f, spec, "", "b.bad-ass");
    free(spec);
}

static void lexicon_reads_beyond_a_nul(void **state)
{
    (void)state;
    char *spec = lexicon_spec("words.txt", "good 2\nbad -1\n");
    const char *one = spec;
    RewardSet set;
    Err err = {0};
    RewardInput input = {"", 0, "good\0bad", 8};
    float total;
    assert_ok(reward_open(&set, &one, 1, NULL, &cx, 10, &err), &err);
    assert_ok(reward_score(&set, &input, 1, &total, NULL, &err), &err);
    assert_true(total == 0.5f);
    reward_close(&set);
    free(spec);
}

static void length_is_the_distance_from_the_wanted_number_of_words(void **state)
{
    (void)state;
    expect_reward(0, "length:4", "", "one two three four");
    expect_reward(-0.5f, "length:4", "four words of prompt", "one two");
    expect_reward(-1, "length:4", "", "");
    expect_reward(-2, "length:4", "", "a b c d e f g h i j k l");
    expect_reward(0, "length:4", "", "It's 10/10 -- really!");
    expect_reward(-0.2f, "length:2.5", "", "a b c");
}

// ---- specs, weights, sums ------------------------------------------------------------------------------------------------------

static void a_sum_weighs_its_parts_in_order_and_leaves_gold_out(void **state)
{
    (void)state;
    char *lexicon = lexicon_spec("words.txt", "good 0.7\nbad -0.3\n");
    const char *specs[] = {"0.1*length:3", lexicon, "-2*length:2"};
    RewardInput inputs[] = {sample("", "good good"), sample("x", "bad one two three"), sample("", "")};
    float total[3], rows[3][3], gold[3], *parts[] = {rows[0], rows[1], rows[2]};
    const float length3[] = {(float)(-1.0 / 3), (float)(-1.0 / 3), -1}, words[] = {0.7f, -0.3f, 0}, length2[] = {0, -1, -1};
    const float length1[] = {-1, -3, -1};
    RewardSet set;
    Err err = {0};
    assert_ok(reward_open(&set, specs, 3, "length:1", &cx, 10, &err), &err);
    assert_ok(reward_score(&set, inputs, 3, total, parts, &err) || reward_score_gold(&set, inputs, 3, gold, &err), &err);
    assert_same_bits(rows[0], length3, 3, "length:3");
    assert_same_bits(rows[1], words, 3, "lexicon");
    assert_same_bits(rows[2], length2, 3, "length:2");
    assert_same_bits(gold, length1, 3, "gold");
    for (int i = 0; i < 3; i++) {
        float want = 0.1f * length3[i];
        want += words[i];
        want += -2.0f * length2[i];
        assert_same_bits(total + i, &want, 1, "total");
    }
    assert_string_equal(reward_name(&set, 0), "length:3");
    assert_string_equal(reward_name(&set, 1), lexicon);
    assert_string_equal(reward_name(&set, 2), "length:2");
    assert_ok(reward_score(&set, inputs, 0, total, parts, &err) || reward_score_gold(&set, inputs, 0, gold, &err), &err);
    reward_close(&set);
    free(lexicon);
}

static void a_sum_beyond_a_float_is_infinite_and_refused(void **state)
{
    (void)state;
    const char *specs[] = {"1e6*command:awk '{print 3e38; fflush()}'"};
    RewardInput input = sample("", "words");
    RewardSet set;
    Err err = {0};
    float total;
    assert_ok(reward_open(&set, specs, 1, NULL, &cx, 10, &err), &err);
    assert_failed_error(reward_score(&set, &input, 1, &total, NULL, &err), &err, "sample 0 (\"words\"): the reward is infinite");
    reward_close(&set);
}

static void a_malformed_spec_is_named(void **state)
{
    (void)state;
    const struct { const char *spec, *fragment; } bad[] = {
        {"", "expected head:DIR"}, {"length", "expected head:DIR"}, {"magic:3", "\"magic:3\""}, {"2*", "expected head:DIR"},
        {"len:3", "expected head:DIR"}, {"length:", "expected head:DIR"}, {"command:", "expected head:DIR"},
        {"length:0", "number of words"}, {"length:-3", "number of words"}, {"length:x", "number of words"}, {"length:3x", "number of words"},
        {"length:nan", "number of words"}, {"length:1e9", "number of words"}, {"*length:3", "weight"}, {"x*length:3", "weight"},
        {"2x*length:3", "weight"}, {"nan*length:3", "weight"}, {"inf*length:3", "weight"}, {"1e7*length:3", "weight"},
        {"lexicon:/nowhere/at.txt", "/nowhere/at.txt"}, {"head:/nowhere/dir", "/nowhere/dir"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        RewardSet set;
        Err err = {0};
        const char *good = "length:3";
        assert_input_error(reward_open(&set, &bad[i].spec, 1, NULL, &cx, 10, &err), &err, bad[i].fragment);
        assert_input_error(reward_open(&set, &good, 1, bad[i].spec, &cx, 10, &err), &err, bad[i].fragment);
    }
}

static void a_lexicon_line_that_is_none_is_named(void **state)
{
    (void)state;
    const struct { const char *text, *fragment; } bad[] = {
        {"good 1\nbad\n", ":2: expected a word and its weight, found \"bad\""}, {"good x\n", ":1: expected"}, {"good 1 2\n", ":1: expected"},
        {"\n#\n 1 good\n", ":3: expected"}, {"good nan\n", ":1: expected"}, {"good 1e300\n", ":1: expected"},
        {"well-made 1\n", ":1: \"well-made\" is no single word"}, {":) 1\n", ":1: \":)\" is no single word"}, {"# none\n", "no words"},
        {"", "no words"}, {"good 1\nGOOD 2\n", "GOOD"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *spec = lexicon_spec("bad.txt", bad[i].text);
        const char *one = spec;
        RewardSet set;
        Err err = {0};
        assert_input_error(reward_open(&set, &one, 1, NULL, &cx, 10, &err), &err, bad[i].fragment);
        if (!strstr(err.text, "bad.txt")) fail_msg("the file is not named: %s", err.text);
        free(spec);
    }
    char *path = path_in(folder, "nul.txt"), spec[600];
    const char *one = spec;
    RewardSet set;
    Err err = {0};
    write_file(path, "good 1\n\0bad 1\n", 14);
    snprintf(spec, sizeof spec, "lexicon:%s", path);
    assert_input_error(reward_open(&set, &one, 1, NULL, &cx, 10, &err), &err, "NUL byte at 7");
    free(path);
}

// ---- outside programs ------------------------------------------------------------------------------------------------------------

// n samples whose texts are "0", "1", ...
static int ask(const char *spec, size_t n, float *out, double timeout_s, Err *err)
{
    RewardSet set;
    RewardInput *inputs = calloc(n, sizeof *inputs);
    char (*texts)[24] = calloc(n, sizeof *texts);
    for (size_t i = 0; i < n; i++) {
        snprintf(texts[i], sizeof *texts, "%zu", i);
        inputs[i] = sample("p", texts[i]);
    }
    assert_ok(reward_open(&set, &spec, 1, NULL, &cx, timeout_s, err), err);
    int status = reward_score(&set, inputs, n, out, NULL, err);
    reward_close(&set);
    free(inputs);
    free(texts);
    return status;
}

// Split at quotes, the fourth field is the prompt and the eighth the text.
static void a_program_answers_line_by_line(void **state)
{
    (void)state;
    const char *spec = "command:awk -F'\"' '{ if ($2 != \"prompt\" || $6 != \"text\") exit 9; print \"{\\\"reward\\\": \" $8 * 2 \"}\"; fflush() }'";
    float out[100];
    Err err = {0};
    assert_ok(ask(spec, 100, out, 10, &err), &err);
    for (size_t i = 0; i < 100; i++) assert_true(out[i] == 2.0f * (float)i);
}

static void a_program_need_not_flush_and_may_read_all_first(void **state)
{
    (void)state;
    const char *const programs[] = {
        "command:awk '{ print NR + 0.5 }'", "command:awk '{ last = $0 } END { for (i = 1; i <= NR; i++) print i + 0.5 }'",
        "command:printf '1.5\n2.5'", // reads nothing; its last line has no end
        "command:awk '{ print NR + 0.5 } END { exit 3 }'", "command:awk '{ print NR + 0.5; fflush() }; END { while (1) system(\"sleep 30\") }'",
    };
    RewardInput inputs[] = {sample("a", "x"), sample("", "y")};
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        RewardSet set;
        Err err = {0};
        float out[2];
        assert_ok(reward_open(&set, &programs[i], 1, NULL, &cx, 10, &err), &err);
        for (int round = 0; round < 2; round++) { // started anew each time
            assert_ok(reward_score(&set, inputs, 2, out, NULL, &err), &err);
            assert_true(out[0] == 1.5f && out[1] == 2.5f);
            if (i == 4) break; // waited for, then killed: once is enough
        }
        reward_close(&set);
    }
}

static void a_program_sees_any_text_on_one_line(void **state)
{
    (void)state;
    const char *spec = "command:awk '{ print length($0); fflush() }'";
    RewardInput inputs[] = {sample("", "a\nb\t\"q\" \\"), {"p", 1, "a\0b", 3}};
    RewardSet set;
    Err err = {0};
    float out[2];
    assert_ok(reward_open(&set, &spec, 1, NULL, &cx, 10, &err), &err);
    assert_ok(reward_score(&set, inputs, 2, out, NULL, &err), &err);
    assert_true(out[0] == (float)strlen("{\"prompt\":\"\",\"text\":\"a\\nb\\t\\\"q\\\" \\\\\"}"));
    assert_true(out[1] == (float)strlen("{\"prompt\":\"p\",\"text\":\"a\\u0000b\"}"));
    reward_close(&set);
}

static void a_program_that_misbehaves_fails_with_the_reason(void **state)
{
    (void)state;
    const struct { const char *program, *fragment; } bad[] = {
        {"awk 'NR > 3 { exit 5 } { print 1; fflush() }'", "3 of 10 lines (exited with status 5)"},
        {"exit 0", "0 of 10 lines"}, {"awk '{ print 1; print 2 }'", "more lines than the 10 samples"}, {"/nowhere/program 2>/dev/null", "status 127"},
        {"awk 'NR == 1 { print 1; fflush(); while (1) system(\"sleep 30\") }'", "within 1 s"},
        {"awk '{ print NR == 3 ? \"oops\" : 1; fflush() }'", "sample 2: expected a line with a number"},
        {"awk '{ print NR == 3 ? \"NaN\" : 1; fflush() }'", "sample 2: expected a line with a number or {\"reward\": number}, found \"NaN\""},
        {"awk '{ print NR == 3 ? \"1e999\" : 1; fflush() }'", "sample 2"},
        {"awk '{ print NR == 3 ? \"-1e300\" : 1; fflush() }'", "sample 2 (\"2\"): the reward is infinite"},
        {"awk '{ print NR == 2 ? \"\" : 1; fflush() }'", "sample 1"}, {"awk '{ print \"null\"; fflush() }'", "sample 0"},
        {"awk '{ print \"{\\\"score\\\": 1}\"; fflush() }'", "sample 0"},
        {"awk '{ print \"{\\\"reward\\\": \\\"1\\\"}\"; fflush() }'", "sample 0"}, {"awk '{ print \"[1]\"; fflush() }'", "sample 0"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char spec[200];
        float out[10];
        Err err = {0};
        snprintf(spec, sizeof spec, "command:%s", bad[i].program);
        double began = os_now_s();
        assert_failed_error(ask(spec, 10, out, 1, &err), &err, bad[i].fragment);
        if (!strstr(err.text, bad[i].program)) fail_msg("the program is not named: %s", err.text);
        if (os_now_s() - began > 6) fail_msg("%s: took %.1f s", bad[i].program, os_now_s() - began);
    }
}

static void many_samples_neither_block_nor_mix(void **state)
{
    (void)state;
    enum { N = 5000 };
    const char *const programs[] = {
        "command:awk -F'\"' '{ print $8; fflush() }'",                                     // answers as it reads
        "command:awk -F'\"' '{ a[NR] = $8 } NR == 5000 { for (i = 1; i <= NR; i++) print a[i]; fflush() }'", // reads all, then answers
    };
    float *out = calloc(N, sizeof *out);
    for (size_t p = 0; p < 2; p++) {
        Err err = {0};
        assert_ok(ask(programs[p], N, out, 30, &err), &err);
        for (size_t i = 0; i < N; i++) assert_true(out[i] == (float)i);
    }
    char *text = malloc(401);
    memset(text, 'x', 400);
    text[400] = '\0';
    RewardInput *inputs = calloc(N, sizeof *inputs);
    for (size_t i = 0; i < N; i++) inputs[i] = sample("", text);
    const char *spec = "command:awk '{ printf \"%400d\\n\", NR; fflush() }'"; // two megabytes each way, far more than pipes hold
    RewardSet set;
    Err err = {0};
    assert_ok(reward_open(&set, &spec, 1, NULL, &cx, 30, &err), &err);
    assert_ok(reward_score(&set, inputs, N, out, NULL, &err), &err);
    for (size_t i = 0; i < N; i++) assert_true(out[i] == (float)(i + 1));
    reward_close(&set);
    free(inputs);
    free(text);
    free(out);
}

// ---- heads -------------------------------------------------------------------------------------------------------------

static char *save_head(const char *name, ModelConfig config, uint64_t seed)
{
    Model model;
    Err err = {0};
    char *path = path_in(folder, name);
    config.vocab = tokenizer.vocab;
    tiny_head(&model, config, seed);
    assert_ok(checkpoint_save(path, &model, &tokenizer, &err), &err);
    model_free(&model);
    return path;
}

static void a_head_scores_prompt_and_response_as_one_text(void **state)
{
    (void)state;
    char *path = save_head("head", tiny_head_config, 5), spec[600];
    const char *one = spec;
    const struct { const char *prompt, *text; } cases[] = {{"the fi", "lm was great"}, {"", "dull"}, {"dull", ""},
        {"the film was great", " and the film was great and the end was dull and the film was great"}};
    RewardInput inputs[4];
    TokenList lists[4] = {{0}};
    float got[4], want[4];
    Model model;
    RewardSet set;
    Err err = {0};
    snprintf(spec, sizeof spec, "head:%s", path);
    assert_ok(checkpoint_load(&model, path, &err), &err);
    for (size_t i = 0; i < 4; i++) {
        char joined[200];
        inputs[i] = sample(cases[i].prompt, cases[i].text);
        snprintf(joined, sizeof joined, "%s%s", cases[i].prompt, cases[i].text);
        assert_ok(tokenizer_encode(&tokenizer, &lists[i], joined, strlen(joined), &err), &err);
    }
    assert_true(lists[3].length > 16); // more than the context
    assert_ok(head_score(&model, &cx, lists, 4, want, &err), &err);
    assert_ok(reward_open(&set, &one, 1, NULL, &cx, 10, &err), &err);
    assert_ok(reward_score(&set, inputs, 4, got, NULL, &err), &err);
    assert_same_bits(got, want, 4, "reward");
    for (size_t i = 0; i < 4; i++) { // alone as in company
        assert_ok(reward_score(&set, inputs + i, 1, got, NULL, &err), &err);
        assert_same_bits(got, want + i, 1, "reward of one");
    }
    RewardInput empty = sample("", "");
    assert_input_error(reward_score(&set, &empty, 1, got, NULL, &err), &err, "is empty");
    reward_close(&set);
    model_free(&model);
    for (size_t i = 0; i < 4; i++) tokens_free(lists + i);
    free(path);
}

static void expect_no_head(const char *path, const char *fragment)
{
    char spec[600];
    const char *one = spec;
    RewardSet set;
    Err err = {0};
    snprintf(spec, sizeof spec, "0.5*head:%s", path);
    assert_input_error(reward_open(&set, &one, 1, NULL, &cx, 10, &err), &err, fragment);
}

static void a_folder_that_holds_no_sound_head_is_refused(void **state)
{
    (void)state;
    ModelConfig lm = tiny_head_config;
    lm.head = HEAD_LM;
    char *path = save_head("lm", lm, 5);
    expect_no_head(path, "is a language model, not a reward head");
    free(path);
    path = save_head("broken", tiny_head_config, 5);
    char *weights = path_in(path, "model.safetensors"), *words = path_in(path, "tokenizer.json");
    size_t n;
    char *bytes = read_file(weights, &n);
    write_file(weights, bytes, n - 4);
    expect_no_head(path, "model.safetensors");
    memset(bytes + n - 4, 0xFF, 4); // NaN
    write_file(weights, bytes, n);
    expect_no_head(path, "not finite");
    free(bytes);
    free(path);
    path = save_head("broken", tiny_head_config, 5);
    assert_int_equal(remove(words), 0);
    expect_no_head(path, "tokenizer.json");
    assert_int_equal(remove(weights), 0);
    expect_no_head(path, "model.safetensors");
    free(path);
    free(weights);
    free(words);
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
        cmocka_unit_test(lexicon_is_the_mean_weight_of_the_known_words),
        cmocka_unit_test(lexicon_reads_beyond_a_nul),
        cmocka_unit_test(length_is_the_distance_from_the_wanted_number_of_words),
        cmocka_unit_test(a_sum_weighs_its_parts_in_order_and_leaves_gold_out),
        cmocka_unit_test(a_sum_beyond_a_float_is_infinite_and_refused),
        cmocka_unit_test(a_malformed_spec_is_named),
        cmocka_unit_test(a_lexicon_line_that_is_none_is_named),
        cmocka_unit_test(a_program_answers_line_by_line),
        cmocka_unit_test(a_program_need_not_flush_and_may_read_all_first),
        cmocka_unit_test(a_program_sees_any_text_on_one_line),
        cmocka_unit_test(a_program_that_misbehaves_fails_with_the_reason),
        cmocka_unit_test(many_samples_neither_block_nor_mix),
        cmocka_unit_test(a_head_scores_prompt_and_response_as_one_text),
        cmocka_unit_test(a_folder_that_holds_no_sound_head_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
