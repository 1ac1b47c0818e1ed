// SPDX-License-Identifier: MIT
#define _XOPEN_SOURCE 700 // setenv, strdup
/* test_cli.c - the program as a user types it: exit statuses, messages, output formats, files left behind. A CLI_TINY tokenizer
 * and model are made once through the program itself. */
#include "tests/support_cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/os.h"
#include "files/jsonl.h"

// ---- the program itself ----------------------------------------------------------------------------------------------------

static void no_command_shows_the_usage_and_is_a_mistake(void **state)
{
    (void)state;
    expect(raft("%s", ""), 2, "usage: raft COMMAND");
    expect(raft("''"), 2, "a command is missing");
}

static void an_unknown_command_names_the_nearest(void **state)
{
    (void)state;
    expect(raft("algin"), 2, "raft: unknown command \"algin\"; did you mean \"align\"?");
    expect(raft("help pretrian"), 2, "did you mean \"pretrain\"?");
}

static void help_lists_every_command_and_its_options(void **state)
{
    (void)state;
    size_t commands = 0;
    expect(raft("help"), 0, "\n  demo ");
    char *list = strdup(cli_output.data);
    for (char *at = list; (at = strstr(at, "\n  ")) != NULL; at += 3) {
        char command[20], line[60];
        if (sscanf(at, "\n  %19[a-z0-9]", command) != 1) continue; // a line that goes on
        snprintf(line, sizeof line, "usage: raft %s", command);
        expect(raft("help %s", command), 0, line);
        expect(raft("%s --help", command), 0, line);
        expect(raft("help %s", command), 0, "--json");
        commands++;
    }
    assert_int_equal(commands, 23); // lines: "trace iteration" is one of its own
    free(list);
    expect(raft("help generate"), 0, "--max-new       64");
    expect(raft("--help"), 0, "Exit status:");
    expect(raft("--version"), 0, "raft ");
}

static void a_wrong_option_or_value_is_a_mistake(void **state)
{
    (void)state;
    expect(raft("generate @/lm --promt x"), 2, "did you mean --prompt?");
    expect(raft("generate @/lm --prompt x --lr 1"), 2, "--lr: this command does not take this option");
    expect(raft("generate @/lm --prompt x --temperature -1"), 2, "--temperature");
    expect(raft("generate @/lm --prompt x --temperature nan"), 2, "--temperature");
    expect(raft("generate @/lm --prompt x --max-new"), 2, "a value is missing");
    expect(raft("generate @/lm --prompt x --max-new 5000"), 2, "context of 32");
    expect(raft("generate @/lm --ids 5,x"), 2, "--ids");
    expect(raft("generate @/lm --ids 5,280"), 2, "280");
    expect(raft("generate @/lm"), 2, "--prompt");
    expect(raft("generate @/lm --prompt x --ids 5"), 2, "one of the two");
    expect(raft("generate"), 2, "one checkpoint folder");
    expect(raft("generate @/lm --prompt x --threads 99999"), 2, "0 to 4096");
    expect(raft("generate @/lm --prompt x --isa sse9"), 2, "sse9");
    expect(raft("generate @/lm --prompt x --matmul mkl"), 2, "mkl");
    expect(raft("pretrain --corpus @/texts.jsonl --tokenizer @/tok.json --dim 15 --heads 2 -o @/x"), 2, "--dim");
    expect(raft("pretrain --corpus @/texts.jsonl --tokenizer @/tok.json"), 2, "-o");
    expect(raft("tokenizer"), 2, "train");
    expect(raft("tokenizer train --jsonl @/texts.jsonl"), 2, "-o");
    expect(raft("sft @/lm -o @/x"), 2, "--data");
    assert_false(cli_have("x/provenance.json"));
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    expect(raft("generate @/nowhere --ids 5"), 2, "/nowhere");
    expect(raft("sft @/lm --data @/nowhere.jsonl -o @/x"), 2, "/nowhere.jsonl");
    expect(raft("pretrain --corpus @/nowhere --tokenizer @/tok.json -o @/x"), 2, "/nowhere");
    expect(raft("pretrain --corpus @/texts.jsonl --tokenizer @/nowhere.json -o @/x"), 2, "/nowhere.json");
    expect(raft("tokenizer encode --tokenizer @/tok.json --jsonl @/nowhere.jsonl"), 2, "/nowhere.jsonl");
    expect(raft("info @/nowhere"), 2, "/nowhere");
    expect(raft("generate @/lm --prompt x --profile nowhere"), 2, "nowhere.conf");
    assert_false(cli_have("x/provenance.json"));
}

static void a_file_is_replaced_only_when_told_so(void **state)
{
    (void)state;
    static const char *const commands[] = {"tokenizer train --vocab 280 --jsonl @/texts.jsonl", "tokenizer encode --tokenizer @/tok.json --jsonl @/texts.jsonl",
        "trace forward @/lm --ids 5,7", "reward score length:2 --jsonl @/texts.jsonl", "collect @/lm --prompts @/pairs.jsonl --samples 1 --max-new 2"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        cli_put("old", "what was there");
        expect(raft("%s -o @/old", commands[i]), 2, "old: exists already");
        cli_put("same", "what was there");
        cli_assert_same_file("old", "same");
        expect(raft("%s -o @/old --force", commands[i]), 0, "");
        assert_false(cli_same_file("old", "same"));
        expect(raft("%s -o /dev/null", commands[i]), 0, "");
    }
}

static void what_cannot_be_written_is_a_failure(void **state)
{
    (void)state;
    struct stat device;
    expect(raft("pretrain --corpus @/texts.jsonl --tokenizer @/tok.json %s -o /proc/nowhere/x", CLI_TINY), 1, "/proc/nowhere");
    if (stat("/dev/full", &device)) skip_because("no /dev/full on this system");
    expect(raft("--version > /dev/full < /dev/null #"), 1, "");
    expect(raft("generate @/lm --ids 5 --max-new 3 --json > /dev/full < /dev/null #"), 1, "");
    expect(raft("tokenizer encode --tokenizer @/tok.json --jsonl @/texts.jsonl > /dev/full < /dev/null #"), 1, "");
}

// ---- tokenizer ---------------------------------------------------------------------------------------------------------------

static void text_to_ids_and_back(void **state)
{
    (void)state;
    cli_put("in.jsonl", "{\"text\":\"the film\"}\n\n{\"id\":3,\"text\":\"\\u00e4 \\u0000 <|endoftext|>\"}\n{\"text\":\"\"}\n");
    assert_int_equal(raft("tokenizer encode --tokenizer @/tok.json --jsonl @/in.jsonl"), 0);
    assert_true(!strncmp(cli_output.data, "{\"text\":\"the film\",\"ids\":[", 26));
    assert_non_null(strstr(cli_output.data, "\n{\"text\":\"ä \\u0000 <|endoftext|>\",\"ids\":["));
    assert_non_null(strstr(cli_output.data, ",0]}\n{\"text\":\"\",\"ids\":[]}\n")); // the special token took the first id
    assert_int_equal(raft("tokenizer encode --tokenizer @/tok.json --jsonl @/in.jsonl -o @/ids.jsonl"), 0);
    assert_string_equal(cli_output.data, "");
    assert_int_equal(raft("tokenizer decode --tokenizer @/tok.json --jsonl @/ids.jsonl"), 0);
    assert_non_null(strstr(cli_output.data, "\"text\":\"the film\"}\n"));
    assert_non_null(strstr(cli_output.data, "\"text\":\"ä \\u0000 <|endoftext|>\"}\n"));
    cli_put("ids.jsonl", "{\"ids\":[5]}\n{\"ids\":[280]}\n");
    expect(raft("tokenizer decode --tokenizer @/tok.json --jsonl @/ids.jsonl"), 2, "ids.jsonl:2: id 280");
    cli_put("in.jsonl", "{\"text\":\"x\"}\n{\"txt\":\"x\"}\n");
    expect(raft("tokenizer encode --tokenizer @/tok.json --jsonl @/in.jsonl -o @/none.jsonl"), 2, "in.jsonl:2: key \"text\"");
    expect(raft("tokenizer train --jsonl @/in.jsonl -o @/none.json"), 2, "in.jsonl:2: key \"text\"");
    assert_true(!cli_have("none.jsonl") && !cli_have("none.jsonl.tmp") && !cli_have("none.json"));
}

static void a_tokenizer_does_not_depend_on_threads_or_where_its_texts_come_from(void **state)
{
    (void)state;
    json_t *told = raft_json("tokenizer train --vocab 280 --special '<|endoftext|>' --corpus @/texts.jsonl --threads 1 -o @/tok1.json");
    cli_assert_same_file("tok.json", "tok1.json");
    assert_int_equal(json_integer_value(json_object_get(told, "vocab")), 280);
    assert_int_equal(json_integer_value(json_object_get(told, "texts")), 24);
    json_decref(told);
}

// ---- training ----------------------------------------------------------------------------------------------------------------

static void a_run_leaves_checkpoint_settings_and_provenance(void **state)
{
    (void)state;
    const char *const names[] = {"lm/config.json", "lm/model.safetensors", "lm/tokenizer.json", "lm/settings.conf",
        "lm/provenance.json", "lm/metrics.jsonl", "lm/timing.jsonl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!cli_have(names[i])) fail_msg("%s is missing", names[i]);
    cli_assert_same_file("tok.json", "lm/tokenizer.json");
    json_t *told = raft_json("info @/lm"), *run = json_object_get(told, "run");
    const char *const keys[] = {"command_line", "corpus_hash", "tokenizer_hash", "checkpoint_hash", "seed", "isa", "threads"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!json_object_get(run, keys[i])) fail_msg("provenance lacks %s", keys[i]);
    assert_string_equal(json_string_value(json_object_get(run, "checkpoint_hash")),
        json_string_value(json_object_get(json_object_get(told, "model"), "hash")));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(told, "model"), "dim")), 16);
    json_decref(told);
}

static void its_settings_repeat_a_run_to_the_same_bytes(void **state)
{
    (void)state;
    expect(raft("pretrain --profile @/lm/settings.conf -o @/again --threads 1 --quiet"), 0, "again");
    cli_assert_same_file("lm/model.safetensors", "again/model.safetensors");
    cli_assert_same_file("lm/metrics.jsonl", "again/metrics.jsonl");
    expect(raft("pretrain --profile @/lm/settings.conf -o @/other --seed 2 --quiet"), 0, "other");
    assert_false(cli_same_file("lm/model.safetensors", "other/model.safetensors"));
}

static void the_seed_decides_the_first_weights(void **state)
{
    (void)state;
    for (int seed = 1; seed <= 2; seed++)
        expect(raft("pretrain --corpus @/texts.jsonl --tokenizer @/tok.json %s --lr 0 --seed %d -o @/seed%d", CLI_TINY, seed, seed), 0, "seed");
    assert_false(cli_same_file("seed1/model.safetensors", "seed2/model.safetensors"));
}

static void texts_without_a_token_to_predict_start_no_run(void **state)
{
    (void)state;
    cli_put("empty.jsonl", "{\"text\":\"\"}\n{\"text\":\"\"}\n");
    expect(raft("pretrain --corpus @/empty.jsonl --tokenizer @/tok.json %s -o @/x", CLI_TINY), 2, "empty.jsonl");
    assert_false(cli_have("x/provenance.json"));
}

static void an_existing_run_is_replaced_only_by_force(void **state)
{
    (void)state;
    expect(raft("sft @/lm --data @/pairs.jsonl -o @/kept"), 0, "2 examples");
    expect(raft("sft @/lm --data @/pairs.jsonl -o @/kept"), 2, "already holds");
    expect(raft("sft @/lm --data @/pairs.jsonl -o @/kept --force --lr 0.01"), 0, "2 examples");
}

static void pretraining_goes_on_from_a_checkpoint_and_measures_other_texts(void **state)
{
    (void)state;
    json_t *told = raft_json("pretrain --corpus @/texts.jsonl --init @/lm --max-steps 2 --lr 0 --test-corpus @/texts.jsonl -o @/on");
    const json_t *perplexity = json_object_get(told, "test_perplexity");
    double mean = json_number_value(json_object_get(perplexity, "mean"));
    assert_true(mean > 100 && mean < 290); // near 280, the size of the vocabulary: three steps learn little
    assert_true(json_number_value(json_object_get(perplexity, "lo")) < mean);
    assert_true(json_number_value(json_object_get(perplexity, "hi")) > mean);
    cli_assert_same_file("lm/model.safetensors", "on/model.safetensors"); // the rate was 0
    json_decref(told);
}

static void sft_learns_the_response_and_its_end_only(void **state)
{
    (void)state;
    cli_put("responses.jsonl", "{\"text\":\" was great\"}\n{\"text\":\" was dull\"}\n");
    assert_int_equal(raft("tokenizer encode --tokenizer @/tok.json --jsonl @/responses.jsonl"), 0);
    size_t tokens = 0;
    for (char *c = strstr(cli_output.data, "\"ids\""); *c; c++) tokens += *c == ',' || *c == '['; // of both lines; a comma follows no text
    json_t *told = raft_json("sft @/lm --data @/pairs.jsonl --epochs 1 -o @/sft");
    size_t commas_in_text = 1; // the second line's own "text","ids"
    assert_int_equal(json_integer_value(json_object_get(told, "targets")), tokens - commas_in_text + 2);
    json_decref(told);
    cli_put("pairs_text.jsonl", "{\"prompt\":\"the film\",\"text\":\" was great\"}\n{\"prompt\":\"the plot\",\"text\":\" was dull\"}\n");
    expect(raft("sft @/lm --data @/pairs_text.jsonl --epochs 1 -o @/sft2"), 0, "2 examples");
    cli_assert_same_file("sft/model.safetensors", "sft2/model.safetensors");
}

static void a_pair_that_cannot_be_learnt_is_named_by_its_line(void **state)
{
    (void)state;
    cli_put("bad.jsonl",
        "{\"prompt\":\"a\",\"response\":\"b\"}\n{\"prompt\":\"x\",\"response\":\"01234567890123456789012345678901234567890123456789\"}\n");
    expect(raft("sft @/lm --data @/bad.jsonl -o @/x"), 2, "bad.jsonl:2: prompt and response come to");
    cli_put("bad.jsonl", "{\"prompt\":\"a\"}\n");
    expect(raft("sft @/lm --data @/bad.jsonl -o @/x"), 2, "bad.jsonl:1: key \"text\"");
    cli_put("bad.jsonl", "\n{\"prompt\":3,\"response\":\"x\"}\n");
    expect(raft("sft @/lm --data @/bad.jsonl -o @/x"), 2, "bad.jsonl:2: key \"prompt\"");
    cli_put("bad.jsonl", "");
    expect(raft("sft @/lm --data @/bad.jsonl -o @/x"), 2, "holds no line");
    assert_false(cli_have("x/provenance.json"));
}

static void progress_is_one_line_a_stage_and_none_when_quiet(void **state)
{
    (void)state;
    json_decref(raft_json("sft @/lm --data @/pairs.jsonl -o @/loud"));
    char *text = cli_standard_error();
    assert_true(!strncmp(text, "sft ", 4) && strchr(text, '\n') == text + strlen(text) - 1 && strstr(text, "1 step  loss "));
    free(text);
    json_decref(raft_json("sft @/lm --data @/pairs.jsonl -o @/silent --quiet"));
    text = cli_standard_error();
    assert_string_equal(text, "");
    free(text);
}

// ---- generate ----------------------------------------------------------------------------------------------------------------

static void generates_text_ids_and_logprobs(void **state)
{
    (void)state;
    json_t *told = raft_json("generate @/lm --prompt 'the film' --temperature 0 --max-new 5");
    const json_t *ids = json_object_get(told, "ids"), *logprobs = json_object_get(told, "logprobs");
    assert_true(json_is_string(json_object_get(told, "text")) && json_array_size(ids) >= 1 && json_array_size(ids) <= 5);
    assert_int_equal(json_array_size(ids), json_array_size(logprobs));
    for (size_t i = 0; i < json_array_size(logprobs); i++) {
        double p = json_number_value(json_array_get(logprobs, i));
        assert_true(p < 0 && p > -20);
    }
    assert_int_equal(json_object_size(told), 3);
    json_t *again = raft_json("generate @/lm --prompt 'the film' --temperature 0 --max-new 5 --seed 9 --threads 1");
    assert_true(json_equal(told, again)); // greedy: no random number matters
    json_decref(told);
    json_decref(again);
}

static void ids_need_no_tokenizer(void **state)
{
    (void)state;
    expect(raft("sft @/lm --data @/pairs.jsonl --lr 0 -o @/bare"), 0, "2 examples"); // a copy
    json_t *with = raft_json("generate @/bare --ids 5,7,9 --max-new 4"), *without;
    char *path = cli_path("bare/tokenizer.json");
    assert_int_equal(remove(path), 0);
    without = raft_json("generate @/bare --ids 5,7,9 --max-new 4");
    assert_true(json_equal(json_object_get(with, "ids"), json_object_get(without, "ids")));
    assert_true(json_equal(json_object_get(with, "logprobs"), json_object_get(without, "logprobs")));
    assert_true(json_is_string(json_object_get(with, "text")) && json_is_null(json_object_get(without, "text")));
    expect(raft("generate @/bare --prompt x"), 2, "tokenizer.json");
    expect(raft("generate @/bare --ids 5 --stop x"), 2, "--stop");
    json_decref(with);
    json_decref(without);
    free(path);
}

static void several_samples_differ_and_a_seed_repeats_them(void **state)
{
    (void)state;
    json_t *one = raft_json("generate @/lm --prompt the --samples 3 --max-new 8"),
        *two = raft_json("generate @/lm --prompt the --samples 3 --max-new 8");
    json_t *other = raft_json("generate @/lm --prompt the --samples 3 --max-new 8 --seed 2");
    const json_t *list = json_object_get(one, "samples");
    assert_int_equal(json_array_size(list), 3);
    assert_true(json_equal(one, two) && !json_equal(one, other) && !json_equal(json_array_get(list, 0), json_array_get(list, 1)));
    json_decref(one), json_decref(two), json_decref(other);
    expect(raft("generate @/lm --prompt '' --max-new 2"), 0, ""); // begins with end-of-text
}

// ---- info ----------------------------------------------------------------------------------------------------------------------

static void info_tells_what_is_in_use_and_why(void **state)
{
    (void)state;
    json_t *told = raft_json("info --isa plain");
    const char *const keys[] = {"version", "commit", "compiler", "cpu", "openmp", "threads", "isa", "isa_available", "matmul", "matmul_blocking", "blis"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!json_object_get(told, keys[i])) fail_msg("info lacks %s", keys[i]);
    assert_string_equal(json_string_value(json_object_get(told, "isa")), "plain");
    assert_string_equal(json_string_value(json_object_get(told, "isa_reason")), "--isa");
    json_decref(told);
    expect(raft("info"), 0, "isa_available");
    expect(raft("info @"), 2, "neither a checkpoint");
    char *before = getenv("RAFT_ISA") ? strdup(getenv("RAFT_ISA")) : NULL;
    setenv("RAFT_ISA", "mmx", 1);
    int status = raft("info");
    if (before) setenv("RAFT_ISA", before, 1);
    else unsetenv("RAFT_ISA");
    free(before);
    expect(status, 2, "mmx");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_command_shows_the_usage_and_is_a_mistake),
        cmocka_unit_test(an_unknown_command_names_the_nearest),
        cmocka_unit_test(help_lists_every_command_and_its_options),
        cmocka_unit_test(a_wrong_option_or_value_is_a_mistake),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(a_file_is_replaced_only_when_told_so), cmocka_unit_test(what_cannot_be_written_is_a_failure),
        cmocka_unit_test(text_to_ids_and_back),
        cmocka_unit_test(a_tokenizer_does_not_depend_on_threads_or_where_its_texts_come_from),
        cmocka_unit_test(a_run_leaves_checkpoint_settings_and_provenance),
        cmocka_unit_test(its_settings_repeat_a_run_to_the_same_bytes),
        cmocka_unit_test(the_seed_decides_the_first_weights),
        cmocka_unit_test(texts_without_a_token_to_predict_start_no_run),
        cmocka_unit_test(an_existing_run_is_replaced_only_by_force),
        cmocka_unit_test(pretraining_goes_on_from_a_checkpoint_and_measures_other_texts),
        cmocka_unit_test(sft_learns_the_response_and_its_end_only),
        cmocka_unit_test(a_pair_that_cannot_be_learnt_is_named_by_its_line),
        cmocka_unit_test(progress_is_one_line_a_stage_and_none_when_quiet),
        cmocka_unit_test(generates_text_ids_and_logprobs),
        cmocka_unit_test(ids_need_no_tokenizer),
        cmocka_unit_test(several_samples_differ_and_a_seed_repeats_them),
        cmocka_unit_test(info_tells_what_is_in_use_and_why),
    };
    return cmocka_run_group_tests(tests, cli_make_model, cli_remove_folder);
}
