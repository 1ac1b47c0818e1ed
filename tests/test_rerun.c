// SPDX-License-Identifier: MIT
/* test_rerun.c - --resume, provenance and rerun as a user types them: what is recorded, what is repeated, what is refused. */
#include "tests/support_cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"

static void put_prompts(void)
{
    cli_put("prompts.jsonl", "{\"prompt\":\"the film\"}\n{\"prompt\":\"a dull\"}\n{\"prompt\":\"what a\"}\n");
    cli_put("words.txt", "great 1\ndull -1\n");
}

#define ALIGN "align @/lm --prompts @/prompts.jsonl --reward length:3 --reward 0.5*lexicon:@/words.txt --samples 3 --max-new 4 --iterations 2"

static void a_run_and_its_checkpoints_record_what_made_them(void **state)
{
    (void)state;
    put_prompts();
    expect(raft(ALIGN " -o @/aligned --quiet"), 0, "checkpoint");
    const char *const folders[] = {"info @/aligned", "info @/aligned/checkpoint"};
    for (size_t f = 0; f < 2; f++) {
        json_t *told = raft_json(folders[f]);
        const json_t *run = json_object_get(told, "run");
        char *lexicon = path_in(cli_folder, "words.txt"), name[400];
        snprintf(name, sizeof name, "lexicon:%s", lexicon);
        const char *const keys[] = {"version", "commit", "compiler", "cpu", "isa", "matmul", "threads", "seed", "options", "operands",
            "settings_hash", "start_hash", "reference_hash", "tokenizer_hash", "prompts_hash", name};
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (!json_object_get(run, keys[i])) fail_msg("%s: provenance lacks %s", folders[f], keys[i]);
        if (f) assert_string_equal(json_string_value(json_object_get(run, "checkpoint_hash")),
            json_string_value(json_object_get(json_object_get(told, "model"), "hash")));
        json_decref(told);
        free(lexicon);
    }
    expect(raft("info @/aligned"), 0, "prompts_hash");
}

static void a_rerun_has_the_same_bits(void **state)
{
    (void)state;
    put_prompts();
    const char *const runs[] = {ALIGN, "sft @/lm --data @/pairs.jsonl --epochs 2",
        "reward train --corpus @/texts.jsonl --init @/lm --epochs 1 --lr 1.23456789012e-3",
        "pretrain --corpus @/texts.jsonl --tokenizer @/tok.json " CLI_TINY " --isa plain"};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        expect(raft("%s -o @/run%zu --quiet", runs[i], i), 0, "");
        expect(raft("rerun @/run%zu --threads 1 --quiet", i), 0, "same bits: ");
        expect(raft("rerun @/run%zu -o @/run%zu.again --quiet --json", i, i), 0, "\"same\":true");
    }
    expect(raft("rerun @/run0"), 2, "already holds a run");
    expect(raft("rerun @/run0 --force"), 0, "same bits: 6 files");
}

static void what_differs_is_named(void **state)
{
    (void)state;
    put_prompts();
    expect(raft("sft @/lm --data @/pairs.jsonl -o @/edited --quiet"), 0, "");
    cli_put("edited/metrics.jsonl", "{}\n");
    expect(raft("rerun @/edited --quiet"), 1, "differ: 1 of 4 files");
    expect(raft("rerun @/edited --quiet --force"), 1, "metrics.jsonl");
}

static void a_run_whose_inputs_are_gone_or_changed_is_not_repeated(void **state)
{
    (void)state;
    put_prompts();
    cli_put("own.jsonl", "{\"prompt\":\"the film\",\"response\":\" was great\"}\n");
    expect(raft("sft @/lm --data @/own.jsonl -o @/from --quiet"), 0, "");
    cli_put("own.jsonl", "{\"prompt\":\"the film\",\"response\":\" was dull\"}\n");
    expect(raft("rerun @/from --quiet -o @/to1"), 2, "own.jsonl: is not what it was when the run was made");
    char *path = cli_path("own.jsonl");
    assert_int_equal(remove(path), 0);
    free(path);
    expect(raft("rerun @/from --quiet -o @/to2"), 2, "own.jsonl");
    assert_false(cli_have("to2/provenance.json"));
    expect(raft(ALIGN " -o @/worded --quiet"), 0, "");
    cli_put("words.txt", "great 1\ndull -2\n");
    expect(raft("rerun @/worded --quiet -o @/to3"), 2, "words.txt: is not what it was");
    cli_put("from/settings.conf", "lr = 1\n");
    expect(raft("rerun @/from --quiet -o @/to4"), 2, "settings.conf: has changed");
}

static void what_is_no_finished_run_is_not_repeated(void **state)
{
    (void)state;
    expect(raft("rerun"), 2, "one run directory");
    expect(raft("rerun @"), 2, "provenance.json");
    expect(raft("rerun @/lm --lr 1"), 2, "does not take this option");
    expect(raft("rerun @/lm --seed 2"), 2, "does not take this option");
    assert_int_equal(raft("sft @/lm --data @/pairs.jsonl --quiet -o @/half"), 0);
    char *path = cli_path("half/provenance.json"), *text = read_file(path, NULL), *end = strstr(text, ",\n  \"finished\": true");
    assert_non_null(end);
    strcpy(end, "\n}\n");
    write_file(path, text, strlen(text));
    expect(raft("rerun @/half"), 2, "is not finished");
    free(path), free(text);
}

static void resume_begins_a_run_or_finds_it_finished(void **state)
{
    (void)state;
    put_prompts();
    expect(raft(ALIGN " -o @/resumed --resume --quiet"), 0, "checkpoint");
    expect(raft(ALIGN " -o @/resumed --resume --quiet"), 0, "this run is finished");
    expect(raft(ALIGN " -o @/resumed --resume --quiet --json"), 0, "{\"output\"");
    expect(raft(ALIGN " -o @/resumed --resume --threads 1 --micro-rows 64 --sample-batch 2 --isa plain"), 0, "finished");
    expect(raft(ALIGN " -o @/resumed --resume --lr 0.5"), 2, "was made with --lr 0.0001, now it is 0.5");
    expect(raft(ALIGN " -o @/resumed --resume --seed 2"), 2, "was made with seed 1, now it is 2");
    expect(raft(ALIGN " -o @/resumed --resume --stop x"), 2, "was made with --stop not given, now it is \"x\"");
    expect(raft(ALIGN " -o @/resumed --resume --force"), 2, "give one of the two");
    expect(raft("sft @/lm --data @/pairs.jsonl -o @/resumed --resume"), 2, "was made with command \"align\", now it is \"sft\"");
    cli_put("moved.jsonl", "{\"prompt\":\"the film\"}\n{\"prompt\":\"a dull\"}\n{\"prompt\":\"what a\"}\n");
    expect(raft(ALIGN " --prompts @/moved.jsonl -o @/resumed --resume"), 0, "finished"); // the same contents
    cli_put("moved.jsonl", "{\"prompt\":\"the film\"}\n");
    expect(raft(ALIGN " --prompts @/moved.jsonl -o @/resumed --resume"), 2, "moved.jsonl: is not what it was");
    expect(raft("collect @/lm --prompts @/prompts.jsonl -o @/c.jsonl --resume"), 2, "does not take this option");
}

static void a_run_is_repeated_from_another_folder_with_one_object_as_the_answer(void **state)
{
    (void)state;
    Err err = {0};
    const char *program = getenv("RAFT_BINARY");
    char *here = os_current_folder(&err);
    Text command = {0};
    assert_non_null(here);
    if (!program || !*program) program = "./raft";
    assert_ok(text_printf(&command, &err, "cd '%s' && '%s%s%s' sft lm --data pairs.jsonl -o relative --quiet 2>&1", cli_folder,
        os_is_absolute(program) ? "" : here, os_is_absolute(program) ? "" : "/", program), &err);
    expect(run_shell(&cli_output, command.data), 0, "relative");
    json_t *told = raft_json("rerun @/relative -o @/elsewhere --quiet");
    assert_true(json_is_true(json_object_get(told, "same")));
    assert_true(json_figure(told, "files", NULL) > 1);
    json_decref(told);
    mem_free(here);
    text_free(&command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_repeated_from_another_folder_with_one_object_as_the_answer),
        cmocka_unit_test(a_run_and_its_checkpoints_record_what_made_them),
        cmocka_unit_test(a_rerun_has_the_same_bits),
        cmocka_unit_test(what_differs_is_named),
        cmocka_unit_test(a_run_whose_inputs_are_gone_or_changed_is_not_repeated),
        cmocka_unit_test(what_is_no_finished_run_is_not_repeated),
        cmocka_unit_test(resume_begins_a_run_or_finds_it_finished),
    };
    return cmocka_run_group_tests(tests, cli_make_model, cli_remove_folder);
}
