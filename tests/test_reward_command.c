// SPDX-License-Identifier: MIT
#define _XOPEN_SOURCE 700 // setenv
/* test_reward_command.c - raft reward train | score | eval as a user types it: results, files left behind, statuses, messages. */
#include "tests/support_cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "files/jsonl.h"

#define HEAD "--lr 1e-2 --epochs 6 --batch 8 --prefix-share 0.2 --prefix-least 6"
#define TINY "--dim 16 --heads 2 --ff 24 --context 64"

// The same fifty words whatever the label, which only the last ones tell.
static void put_long_texts(const char *name)
{
    Text texts = {0};
    Err err = {0};
    for (int i = 0; i < 8; i++) {
        assert_ok(text_puts(&texts, &err, "{\"text\":\""), &err);
        for (int j = 0; j < 17; j++) assert_ok(text_puts(&texts, &err, "the film was "), &err);
        assert_ok(text_printf(&texts, &err, "%s\",\"label\":%d}\n", i % 2 ? "great and funny." : "dull and poor.", i % 2), &err);
    }
    cli_put(name, texts.data);
    text_free(&texts);
}

static void assert_prefixes_tell_nothing(const json_t *whole, const json_t *prefixes)
{
    assert_true(json_figure(prefixes, "auc", NULL) == 0.5 && json_figure(whole, "auc", NULL) != 0.5);
    assert_true(json_figure(prefixes, "positive_reward", "mean") == json_figure(prefixes, "negative_reward", "mean"));
}

static void put_texts(const char *name, int first, int n)
{
    const char *const openings[] = {"the film was", "a plot that is", "what an actor, so", "this story was", "all in all it is"};
    const char *const good[] = {"great", "bright", "funny"}, *const bad[] = {"dull", "slow", "poor"};
    Text texts = {0};
    Err err = {0};
    for (int i = first; i < first + n; i++)
        assert_ok(text_printf(&texts, &err, "{\"text\":\"%s %s and %s.\",\"label\":%d}\n", openings[i % 5], (i % 2 ? good : bad)[i / 2 % 3],
            (i % 2 ? good : bad)[i / 6 % 3], i % 2), &err);
    cli_put(name, texts.data);
    text_free(&texts);
}

static int make_heads(void **state)
{
    (void)state;
    cli_make_folder(state);
    setenv("OMP_NUM_THREADS", "1", 1); // models too small for more
    put_texts("train.jsonl", 0, 90);
    put_texts("test.jsonl", 17, 40);
    cli_put("plain.jsonl", "{\"text\":\"a\",\"label\":1}\n{\"text\":\"b\"}\n"); // the second has no label
    expect(raft("tokenizer train --vocab 300 --special '<|endoftext|>' --jsonl @/train.jsonl -o @/tok.json"), 0, "tokens");
    expect(raft("pretrain --corpus @/train.jsonl --tokenizer @/tok.json " TINY " --layers 2 --max-steps 10 -o @/lm --quiet"), 0, "parameters");
    expect(raft("reward train --corpus @/train.jsonl --init @/lm " HEAD " -o @/head --quiet"), 0, "training loss");
    return 0;
}

// ---- train -------------------------------------------------------------------------------------------------------------------------

static void a_head_on_a_language_model_learns_and_tells_how_well(void **state)
{
    (void)state;
    json_t *told = raft_json("reward train --corpus @/train.jsonl --test-corpus @/test.jsonl --init @/lm " HEAD " -o @/head1");
    assert_int_equal(json_integer_value(json_object_get(told, "texts")), 90);
    assert_int_equal(json_integer_value(json_object_get(told, "layers")), 2);
    assert_int_equal(json_integer_value(json_object_get(told, "context")), 64); // --head-tokens is more
    assert_true(json_figure(told, "loss", NULL) < 0.4 && json_figure(told, "tokens", NULL) > 1000);
    const json_t *test = json_object_get(told, "test"), *prefixes = json_object_get(told, "test_prefixes");
    assert_true(json_figure(test, "accuracy", "mean") > 0.95 && json_figure(test, "accuracy", "n") == 40 && json_figure(test, "auc", NULL) > 0.98);
    assert_true(json_figure(test, "accuracy", "lo") < json_figure(test, "accuracy", "mean") && json_figure(test, "accuracy", "hi") <= 1);
    assert_true(json_figure(prefixes, "accuracy", "mean") > 0.9); // 30 tokens hold most of these texts
    json_decref(told);
    cli_assert_same_file("head1/model.safetensors", "head/model.safetensors"); // measuring changes nothing
    expect(raft("info @/head1"), 0, "");
    char *path = path_in(cli_folder, "head1/config.json"), *config = read_file(path, NULL);
    assert_non_null(strstr(config, "LlamaForSequenceClassification"));
    free(path), free(config);
    const char *const names[] = {"head1/tokenizer.json", "head1/settings.conf", "head1/provenance.json", "head1/metrics.jsonl"};
    for (size_t i = 0; i < 4; i++) assert_true(cli_have(names[i]));
}

static void the_same_seed_trains_the_same_bytes_on_any_threads(void **state)
{
    (void)state;
    expect(raft("reward train --profile @/head/settings.conf -o @/again --threads 2 --quiet"), 0, "training loss");
    cli_assert_same_file("again/model.safetensors", "head/model.safetensors");
    cli_assert_same_file("again/metrics.jsonl", "head/metrics.jsonl");
    expect(raft("reward train --profile @/head/settings.conf -o @/other --seed 2 --quiet"), 0, "training loss");
    assert_false(cli_same_file("other/model.safetensors", "head/model.safetensors"));
}

static void fewer_layers_fresh_weights_and_mean_pooling(void **state)
{
    (void)state;
    json_t *told = raft_json("reward train --corpus @/train.jsonl --init @/lm --layers 1 --pooling mean --head-tokens 20 " HEAD " -o @/one");
    assert_true(json_figure(told, "layers", NULL) == 1 && json_figure(told, "context", NULL) == 20);
    assert_string_equal(json_string_value(json_object_get(told, "pooling")), "mean");
    json_decref(told);
    expect(raft("reward eval head:@/one --corpus @/test.jsonl"), 0, "whole texts");
    told = raft_json("reward train --corpus @/train.jsonl --test-corpus @/test.jsonl --tokenizer @/tok.json --dim 16 --heads 2 --ff 24 "
                     "--layers 1 --head-tokens 48 --epochs 30 --lr 1e-2 --pooling mean -o @/fresh");
    assert_string_equal(json_string_value(json_object_get(told, "pooling")), "mean");
    assert_true(json_figure(told, "layers", NULL) == 1 && json_figure(told, "context", NULL) == 48);
    assert_true(json_figure(json_object_get(told, "test"), "accuracy", "mean") > 0.95);
    json_decref(told);
}

static void preferences_train_a_head_too(void **state)
{
    (void)state;
    Text pairs = {0};
    Err err = {0};
    const char *const good[] = {"great", "bright", "funny"}, *const bad[] = {"dull", "slow", "poor"};
    for (int i = 0; i < 36; i++)
        assert_ok(text_printf(&pairs, &err, "{\"prompt\":\"the film was\",\"chosen\":\" %s and %s.\",\"rejected\":\" %s and %s.\"}\n", good[i % 3],
            good[i / 3 % 3], bad[i / 2 % 3], bad[i / 4 % 3]), &err);
    cli_put("pairs.jsonl", pairs.data);
    text_free(&pairs);
    json_t *told = raft_json("reward train --pairs @/pairs.jsonl --test-corpus @/test.jsonl --init @/lm --lr 1e-2 --epochs 8 -o @/preferring");
    assert_true(json_figure(told, "pairs", NULL) == 36 && json_figure(told, "loss", NULL) < 0.3);
    assert_true(json_figure(json_object_get(told, "test"), "auc", NULL) > 0.95);
    json_decref(told);
    cli_put("bad.jsonl", "{\"chosen\":\"a\",\"rejected\":\"b\"}\n{\"chosen\":\"a\"}\n");
    expect(raft("reward train --pairs @/bad.jsonl --init @/lm -o @/x"), 2, "bad.jsonl:2: key \"rejected\"");
}

static void a_limit_keeps_both_labels(void **state)
{
    (void)state;
    char *pos = path_in(cli_folder, "reviews/pos"), *neg = path_in(cli_folder, "reviews/neg");
    Err err = {0};
    assert_ok(os_make_folders(pos, &err), &err);
    assert_ok(os_make_folders(neg, &err), &err);
    for (int i = 0; i < 10; i++) {
        char name[40];
        snprintf(name, sizeof name, "reviews/%s/%d.txt", i % 2 ? "pos" : "neg", i);
        cli_put(name, i % 2 ? "great" : "dull");
    }
    json_t *told = raft_json("reward train --corpus @/reviews --limit 4 --init @/lm -o @/limited");
    assert_true(json_figure(told, "texts", NULL) == 4);
    json_decref(told);
    told = raft_json("reward eval length:1 --corpus @/reviews --limit 6");
    assert_true(json_figure(told, "positive_reward", "n") == 3 && json_figure(told, "negative_reward", "n") == 3);
    json_decref(told);
    free(pos), free(neg);
}

static void what_cannot_be_trained_starts_no_run(void **state)
{
    (void)state;
    cli_put("one.jsonl", "{\"text\":\"a\",\"label\":\"pos\"}\n{\"text\":\"b\",\"label\":1}\n");
    expect(raft("reward train --corpus @/plain.jsonl --init @/lm -o @/x"), 2, "line 2 has no label");
    expect(raft("reward train --corpus @/one.jsonl --init @/lm -o @/x"), 2, "every text is positive");
    expect(raft("reward train --corpus @/train.jsonl --test-corpus @/plain.jsonl --init @/lm -o @/x"), 2, "has no label");
    expect(raft("reward train --corpus @/train.jsonl --test-corpus @/train.jsonl --init @/lm -o @/x"), 2, "the same texts as --corpus");
    expect(raft("reward train --corpus @/train.jsonl --init @/lm"), 2, "-o DIR is missing");
    expect(raft("reward train --init @/lm -o @/x"), 2, "--corpus PATH");
    expect(raft("reward train --corpus @/train.jsonl --init @/lm --prefix-least 9 --prefix-most 8 -o @/x"), 2, "--prefix-most 8 is below --prefix-least 9");
    expect(raft("reward train --corpus @/train.jsonl --pairs @/pairs.jsonl --init @/lm -o @/x"), 2, "one of the two");
    expect(raft("reward train --corpus @/train.jsonl -o @/x"), 2, "--init CKPT");
    expect(raft("reward train --corpus @/train.jsonl --init @/lm --tokenizer @/tok.json -o @/x"), 2, "its own tokenizer");
    expect(raft("reward train --corpus @/train.jsonl --init @/lm --layers 3 -o @/x"), 2, "has 2 only");
    expect(raft("reward train --corpus @/train.jsonl --init @/lm --layers 1 --dim 16 -o @/x"), 2, "--dim is a size of fresh weights");
    expect(raft("reward train --corpus @/train.jsonl --init @/head -o @/x"), 2, "not from another reward head");
    expect(raft("reward train --corpus @/train.jsonl --init @/nowhere -o @/x"), 2, "/nowhere");
    expect(raft("reward train --corpus @/nowhere --init @/lm -o @/x"), 2, "/nowhere");
    expect(raft("reward train @/train.jsonl --init @/lm -o @/x"), 2, "everything is named by options");
    expect(raft("reward train --corpus @/train.jsonl --init @/lm --context 32 -o @/x"), 2, "--head-tokens");
    expect(raft("reward train --corpus @/train.jsonl --init @/lm --reward length:3 -o @/x"), 2, "--reward: reward train does not take");
    assert_false(cli_have("x/provenance.json"));
    expect(raft("reward train --corpus @/train.jsonl --init @/lm -o @/head"), 2, "already holds");
    expect(raft("reward"), 2, "expected \"train\", \"score\" or \"eval\"");
    expect(raft("reward rank"), 2, "found \"rank\"");
}

static void prefixes_are_measured_apart_and_the_loss_is_the_last_epochs(void **state)
{
    (void)state;
    put_long_texts("long.jsonl");
    json_t *told = raft_json("reward train --corpus @/train.jsonl --limit 16 --batch 8 --epochs 3 --lr 1e-2 --init @/lm --test-corpus @/long.jsonl "
                             "--pooling mean -o @/short");
    assert_prefixes_tell_nothing(json_object_get(told, "test"), json_object_get(told, "test_prefixes"));
    char *path = path_in(cli_folder, "short/metrics.jsonl"), *text = read_file(path, NULL), *line = text;
    double loss[6];
    for (int i = 0; i < 6; i++) { // so few steps are recorded one by one
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        json_t *step = json_loads(line, 0, NULL);
        loss[i] = json_figure(step, "loss", NULL);
        json_decref(step);
        line = end + 1;
    }
    assert_true(!*line && fabs(json_figure(told, "loss", NULL) - (loss[4] + loss[5]) / 2) < 1e-6 && fabs(loss[0] + loss[1] - loss[4] - loss[5]) > 1e-3);
    json_decref(told);
    free(text), free(path);
    told = raft_json("reward eval head:@/short --corpus @/long.jsonl");
    assert_prefixes_tell_nothing(told, json_object_get(told, "prefixes"));
    json_decref(told);
}

// ---- score -------------------------------------------------------------------------------------------------------------------------

static void scored_lines_keep_their_keys(void **state)
{
    (void)state;
    cli_put("in.jsonl", "{\"id\":7,\"prompt\":\"a b\",\"text\":\" c d\",\"more\":{\"x\":[1,null]}}\n\n{\"text\":\"\",\"reward\":9,\"z\":0.1}\n"
                    "{\"prompt\":null,\"text\":\"q\\u0000 \xC3\xBC\"}\n");
    expect(raft("reward score length:2 --jsonl @/in.jsonl"), 0, "");
    assert_string_equal(cli_output.data, "{\"id\":7,\"prompt\":\"a b\",\"text\":\" c d\",\"more\":{\"x\":[1,null]},\"reward\":0}\n"
        "{\"text\":\"\",\"reward\":-1,\"z\":0.1}\n{\"prompt\":null,\"text\":\"q\\u0000 \xC3\xBC\",\"reward\":0}\n");
    expect(raft("reward score length:2 --jsonl @/in.jsonl -o @/out.jsonl"), 0, "3 samples, mean reward -0.3333");
    expect(raft("reward score length:2 --jsonl @/out.jsonl -o -"), 0, "\"reward\":-1,\"z\":0.1");
    expect(raft("reward score 0.5*length:2 --reward '2*length:1' --reward length:4 --jsonl @/in.jsonl --limit 1"), 0, "\"reward\":-2.5}\n");
    expect(raft("reward score length:2 --jsonl @/in.jsonl -o @/out.jsonl"), 2, "out.jsonl: exists already");
    json_t *told = raft_json("reward score length:2 --jsonl @/in.jsonl -o @/out.jsonl --force");
    assert_true(json_figure(told, "samples", NULL) == 3 && fabs(json_figure(told, "reward", "mean") + 1.0 / 3) < 1e-6);
    json_decref(told);
}

static void a_head_scores_what_it_learnt(void **state)
{
    (void)state;
    cli_put("in.jsonl", "{\"prompt\":\"the film was\",\"text\":\" great and funny.\"}\n{\"prompt\":\"the film was\",\"text\":\" dull and poor.\"}\n"
                    "{\"text\":\"the film was great and funny.\"}\n");
    expect(raft("reward score head:@/head --jsonl @/in.jsonl"), 0, "\"reward\":");
    double reward[3];
    char *line = cli_output.data;
    for (int i = 0; i < 3; i++) {
        char *next = strchr(line, '\n');
        *next = '\0';
        json_t *value = json_loads(line, 0, NULL);
        reward[i] = json_figure(value, "reward", NULL);
        json_decref(value);
        line = next + 1;
    }
    assert_true(reward[0] > 0.5 && reward[1] < -0.5 && reward[0] == reward[2]);
}

static void scoring_names_what_is_wrong(void **state)
{
    (void)state;
    cli_put("in.jsonl", "{\"text\":\"good\"}\n{\"text\":\"fine\"}\n");
    cli_put("bad.jsonl", "{\"text\":\"a\"}\n{\"prompt\":\"a\"}\n");
    cli_put("empty.jsonl", "");
    expect(raft("reward score length:2 --jsonl @/bad.jsonl -o @/none.jsonl"), 2, "bad.jsonl:2: key \"text\"");
    expect(raft("reward score length:2 --jsonl @/empty.jsonl"), 2, "no line");
    expect(raft("reward score length:2 --jsonl @/nowhere.jsonl"), 2, "/nowhere.jsonl");
    expect(raft("reward score length:2"), 2, "--jsonl FILE is missing");
    expect(raft("reward score --jsonl @/in.jsonl"), 2, "expected SPEC");
    expect(raft("reward score magic:2 --jsonl @/in.jsonl"), 2, "\"magic:2\"");
    expect(raft("reward score head:@/lm --jsonl @/in.jsonl"), 2, "is a language model, not a reward head");
    expect(raft("reward score head:@/nowhere --jsonl @/in.jsonl"), 2, "/nowhere");
    expect(raft("reward score length:2 --jsonl @/in.jsonl --gold length:3"), 2, "--gold: reward score does not take");
    expect(raft("reward score length:2 --jsonl @/in.jsonl --lr 1"), 2, "--lr: reward score does not take");
    cli_put("one.jsonl", "{\"text\":\"good\"}\n{\"text\":\"\"}\n");
    expect(raft("reward score head:@/head --jsonl @/one.jsonl -o @/none.jsonl"), 2, "one.jsonl: ");
    assert_false(cli_have("none.jsonl") || cli_have("none.jsonl.tmp"));
}

static void a_reward_program_that_fails_is_a_failure(void **state)
{
    (void)state;
    cli_put("in.jsonl", "{\"text\":\"good\"}\n{\"text\":\"fine\"}\n");
    cli_put("nan.sh", "while read -r line; do echo '{\"reward\": NaN}'; done\n");
    cli_put("huge.sh", "while read -r line; do echo '1e300'; done\n");
    cli_put("dies.sh", "read -r line; echo 1; exit 4\n");
    cli_put("hangs.sh", "sleep 60\n");
    cli_put("babbles.sh", "while read -r line; do echo hello; done\n");
    cli_put("works.sh", "while read -r line; do echo '{\"reward\":0.25}'; done\n");
    expect(raft("reward score 'command:sh @/works.sh' --jsonl @/in.jsonl"), 0, "{\"text\":\"fine\",\"reward\":0.25}\n");
    expect(raft("reward score 'command:sh @/nan.sh' --jsonl @/in.jsonl -o @/none.jsonl"), 1, "sample 0: expected");
    expect(raft("reward score 'command:sh @/huge.sh' --jsonl @/in.jsonl -o @/none.jsonl"), 1, "sample 0 (\"good\"): the reward is infinite");
    expect(raft("reward score 'command:sh @/dies.sh' --jsonl @/in.jsonl -o @/none.jsonl"), 1, "exited with status 4");
    expect(raft("reward score 'command:sh @/hangs.sh' --timeout 1 --jsonl @/in.jsonl -o @/none.jsonl"), 1, "within 1 s");
    expect(raft("reward score 'command:sh @/babbles.sh' --jsonl @/in.jsonl -o @/none.jsonl"), 1, "\"hello\"");
    assert_false(cli_have("none.jsonl") || cli_have("none.jsonl.tmp"));
}

// ---- eval --------------------------------------------------------------------------------------------------------------------------

static void eval_measures_a_head_whole_and_begun(void **state)
{
    (void)state;
    json_t *told = raft_json("reward eval head:@/head --corpus @/test.jsonl"), *bins = json_object_get(told, "calibration");
    assert_true(json_figure(told, "accuracy", "mean") > 0.95 && json_figure(told, "accuracy", "n") == 40 && json_figure(told, "auc", NULL) > 0.98);
    assert_true(json_figure(told, "positive_reward", "mean") > 0.5 && json_figure(told, "negative_reward", "mean") < -0.5);
    assert_true(json_array_size(bins) == 10 && json_figure(json_object_get(told, "prefixes"), "auc", NULL) > 0.9);
    double n = 0;
    for (size_t i = 0; i < 10; i++) n += json_figure(json_array_get(bins, i), "n", NULL);
    assert_true(n == 40);
    json_decref(told);
    expect(raft("reward eval head:@/head --corpus @/test.jsonl"), 0, "first 30 tokens");
}

static void eval_measures_any_reward_by_labels(void **state)
{
    (void)state;
    cli_put("words.txt", "great 1\nbright 1\nfunny 1\ndull -1\nslow -1\npoor -1\n");
    json_t *told = raft_json("reward eval lexicon:@/words.txt --corpus @/test.jsonl");
    assert_true(json_figure(told, "accuracy", "mean") == 1 && json_figure(told, "auc", NULL) == 1 && json_figure(told, "positive_reward", "mean") == 1);
    assert_null(json_object_get(told, "prefixes")); // no tokenizer, no tokens
    json_decref(told);
    told = raft_json("reward eval lexicon:@/words.txt --corpus @/test.jsonl --tokenizer @/tok.json");
    assert_non_null(json_object_get(told, "prefixes"));
    json_decref(told);
    told = raft_json("reward eval --reward=-1*lexicon:@/words.txt --corpus @/test.jsonl");
    assert_true(json_figure(told, "accuracy", "mean") == 0 && json_figure(told, "auc", NULL) == 0);
    json_decref(told);
    expect(raft("reward eval length:3"), 2, "--corpus PATH is missing");
    expect(raft("reward eval --corpus @/test.jsonl"), 2, "expected SPEC");
    expect(raft("reward eval length:3 --corpus @/plain.jsonl"), 2, "has no label");
    expect(raft("reward eval length:3 --corpus @/test.jsonl -o @/x"), 2, "--output: reward eval does not take");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_on_a_language_model_learns_and_tells_how_well),
        cmocka_unit_test(the_same_seed_trains_the_same_bytes_on_any_threads),
        cmocka_unit_test(fewer_layers_fresh_weights_and_mean_pooling),
        cmocka_unit_test(preferences_train_a_head_too),
        cmocka_unit_test(a_limit_keeps_both_labels),
        cmocka_unit_test(what_cannot_be_trained_starts_no_run),
        cmocka_unit_test(prefixes_are_measured_apart_and_the_loss_is_the_last_epochs),
        cmocka_unit_test(scored_lines_keep_their_keys),
        cmocka_unit_test(a_head_scores_what_it_learnt),
        cmocka_unit_test(scoring_names_what_is_wrong),
        cmocka_unit_test(a_reward_program_that_fails_is_a_failure),
        cmocka_unit_test(eval_measures_a_head_whole_and_begun),
        cmocka_unit_test(eval_measures_any_reward_by_labels),
    };
    return cmocka_run_group_tests(tests, make_heads, cli_remove_folder);
}
