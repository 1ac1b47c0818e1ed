// SPDX-License-Identifier: MIT
#define _XOPEN_SOURCE 700
/* test_bad_input.c - what a user may hand the program by mistake, and what may go wrong while it runs: the exit status, and that
 * the message names the file and the place. Nothing may be left behind that looks like a run. */
#include "tests/support_cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/os.h"

static void make_folder(const char *name)
{
    Err err = {0};
    char *path = cli_path(name);
    assert_ok(os_make_folders(path, &err), &err);
    free(path);
}

static void put_script(const char *name, const char *body)
{
    char text[400], *path = cli_path(name);
    snprintf(text, sizeof text, "#!/bin/sh\n%s\n", body);
    cli_put(name, text);
    assert_int_equal(chmod(path, 0755), 0);
    free(path);
}

// A copy of the language model, one file of it replaced by the first `keep` bytes of itself, or by `text`.
static void damage(const char *name, const char *file, size_t keep, const char *text)
{
    const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    make_folder(name);
    for (size_t i = 0; i < 3; i++) {
        char from[100], to[100];
        snprintf(from, sizeof from, "lm/%s", files[i]);
        snprintf(to, sizeof to, "%s/%s", name, files[i]);
        char *source = cli_path(from), *target = cli_path(to);
        size_t n;
        char *bytes = read_file(source, &n);
        bool this_one = !strcmp(files[i], file);
        if (this_one && text) write_file(target, text, strlen(text));
        else write_file(target, bytes, this_one && keep < n ? keep : n);
        free(source), free(target), free(bytes);
    }
}

static void put_prompts(void) { cli_put("prompts.jsonl", "{\"prompt\":\"the film\"}\n{\"prompt\":\"a dull\"}\n"); }

#define ALIGN "align @/lm --prompts @/prompts.jsonl --samples 2 --max-new 4 --iterations 2 -o @/run --quiet "

// ---- texts -----------------------------------------------------------------------------------------------------------------

static void folders_without_what_is_needed_are_named(void **state)
{
    (void)state;
    make_folder("empty");
    make_folder("half/pos");
    cli_put("half/pos/1.txt", "fine");
    make_folder("both/pos");
    make_folder("both/neg");
    expect(raft("pretrain --corpus @/missing --tokenizer @/tok.json -o @/run"), 2, "/missing: does not exist");
    expect(raft("pretrain --corpus @/empty --tokenizer @/tok.json -o @/run"), 2, "/empty: no .txt files");
    expect(raft("reward train --corpus @/half --init @/lm -o @/run"), 2, "/half: has pos/ but no neg/");
    expect(raft("reward train --corpus @/both --init @/lm -o @/run"), 2, "/both/neg: no .txt files");
    expect(raft("demo --profile contract --corpus @/missing -o @/run"), 2, "/missing: expected a folder with train/ and test/");
    expect(raft("demo --profile contract --corpus @/half -o @/run"), 2, "/half: expected a folder with train/ and test/");
    make_folder("reviews/train/pos");
    make_folder("reviews/test/pos");
    cli_put("reviews/train/pos/1.txt", "fine");
    expect(raft("demo --profile contract --corpus @/reviews -o @/run"), 2, "/reviews/train: has pos/ but no neg/");
    assert_false(cli_have("run/provenance.json"));
}

static void invalid_utf8_is_replaced_and_counted(void **state)
{
    (void)state;
    cli_put("broken.jsonl", "{\"text\":\"good \xff film \xfe\"}\n{\"text\":\"the film was fine\"}\n");
    expect(raft("pretrain --corpus @/broken.jsonl --tokenizer @/tok.json " CLI_TINY " -o @/repaired"), 0, "broken.jsonl: 2 invalid UTF-8 sequences replaced");
    cli_put("prompts8.jsonl", "{\"prompt\":\"the \xff film\"}\n");
    expect(raft("collect @/lm --prompts @/prompts8.jsonl --max-new 2 -o @/c8.jsonl"), 0, "prompts8.jsonl: 1 invalid UTF-8 sequences replaced");
}

// ---- checkpoints -----------------------------------------------------------------------------------------------------------

static void damaged_checkpoints_are_named_by_file_and_place(void **state)
{
    (void)state;
    put_prompts();
    static const struct { const char *file; size_t keep; const char *text, *said; } cases[] = {
        {"model.safetensors", 3000, NULL, "/model.safetensors: tensor \""}, {"model.safetensors", 20, NULL, "/model.safetensors: "},
        {"model.safetensors", 0, NULL, "/model.safetensors: 0 bytes are too few"}, {"model.safetensors", 0, "0123456789abcdef", "/model.safetensors: not a safetensors file"},
        {"config.json", 100, NULL, "/config.json:"}, {"config.json", 0, "{}", "/config.json: key \"architectures\""},
        {"tokenizer.json", 200, NULL, "/tokenizer.json:"}, {"tokenizer.json", 0, "[]", "/tokenizer.json: expected an object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[20], said[100];
        snprintf(name, sizeof name, "damaged%zu", i);
        snprintf(said, sizeof said, "%s%s", name, cases[i].said);
        damage(name, cases[i].file, cases[i].keep, cases[i].text);
        expect(raft("generate @/%s --prompt the", name), 2, said);
        expect(raft("align @/%s --prompts @/prompts.jsonl --reward length:3 -o @/run", name), 2, said);
        expect(raft("sft @/%s --data @/pairs.jsonl -o @/run", name), 2, said);
    }
    assert_false(cli_have("run/provenance.json"));
}

static void a_tokenizer_that_does_not_fit_the_model_is_refused(void **state)
{
    (void)state;
    expect(raft("tokenizer train --vocab 300 --special '<|endoftext|>' --jsonl @/texts.jsonl -o @/big.json"), 0, "tokens");
    char *path = cli_path("big.json"), *text = read_file(path, NULL);
    damage("mixed", "tokenizer.json", 0, text);
    free(path), free(text);
    expect(raft("generate @/mixed --prompt the"), 2, "mixed/tokenizer.json: the tokenizer has");
    expect(raft("generate @/lm --prompt the --tokenizer @/big.json"), 2, "big.json: ");
    expect(raft("pretrain --corpus @/texts.jsonl --init @/lm --tokenizer @/big.json -o @/run"), 2, "they do not belong together");
    expect(raft("pretrain --corpus @/texts.jsonl --init @/lm --context 32 -o @/run"), 2, "--context is a size of fresh weights: beside --init ");
    assert_false(cli_have("run/provenance.json"));
}

// ---- sampling and options --------------------------------------------------------------------------------------------------

static void prompts_and_sampling_that_cannot_work_are_refused(void **state)
{
    (void)state;
    put_prompts();
    cli_put("long.jsonl", "{\"prompt\":\"the film\"}\n{\"id\":\"far\",\"prompt\":\"the film was great and the film was dull and the film was great and nobody liked the end\"}\n");
    expect(raft("align @/lm --prompts @/long.jsonl --reward length:3 -o @/run"), 2, "long.jsonl: prompt \"far\" has ");
    expect(raft("collect @/lm --prompts @/long.jsonl -o @/none.jsonl"), 2, "long.jsonl: prompt \"far\" has ");
    expect(raft(ALIGN "--reward length:3 --samples 0"), 2, "--samples");
    expect(raft(ALIGN "--reward length:3 --temperature 0"), 2, "--temperature must be above 0");
    expect(raft(ALIGN "--reward length:3 --temperature -1"), 2, "--temperature");
    expect(raft(ALIGN "--reward length:3 --temperature inf"), 2, "--temperature");
    expect(raft(ALIGN "--reward length:3 --temperature 1e-30"), 2, "--temperature must be 0 (greedy) or");
    expect(raft(ALIGN "--reward length:3 --temprature 1"), 2, "did you mean --temperature?");
    expect(raft("collect @/lm --prompts @/prompts.jsonl --temperature 0 -o @/none.jsonl"), 2, "--temperature must be above 0");
    assert_true(!cli_have("run/provenance.json") && !cli_have("none.jsonl"));
}

static void options_that_a_command_would_ignore_are_refused(void **state)
{
    (void)state;
    put_prompts();
    const char *const cases[] = {"collect @/lm --iterations 3", "collect @/lm --eval-prompts 3", "collect @/lm --explain", "collect @/lm --algo raft",
        "finetune @/lm --expert x.jsonl", "finetune @/lm --reference @/lm", "finetune @/lm --stage-prompts 2", "finetune @/lm --limit 2",
        "align @/lm --iteration 3", "align @/lm --corpus x", "eval @/lm --iterations 3", "eval @/lm --mode local", "rank x.jsonl --prompt-tokens 3",
        "demo --prompts x", "demo --tokenizer x", "demo --system x", "compare --algo ppo", "compare --prompts x", "heads --samples 3", "generate @/lm --prompt x -o y",
        "collect @/lm --stop-when kl-above:3", "finetune @/lm --stop-when kl-above:3", "eval @/lm --stop-when kl-above:3", "collect @/lm --replay 1", "eval @/lm --replay 1",
        "compare --replay-corpus x", "trace ppo --kl-target 3"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect(raft("%s", cases[i]), 2, "this command does not take this option");
    expect(raft(ALIGN "--reward length:3 --kl-coef 0.1"), 2, "--kl-coef is an option of PPO: --algo raft would ignore it");
    expect(raft("demo --profile contract --vf-coef 1 -o @/run"), 2, "--vf-coef is an option of PPO");
    assert_int_equal(raft("help collect"), 0);
    assert_null(strstr(cli_output.data, "--iterations"));
}

static void a_file_is_replaced_only_by_force(void **state)
{
    (void)state;
    put_prompts();
    expect(raft("collect @/lm --prompts @/prompts.jsonl --samples 2 --max-new 3 -o @/c.jsonl"), 0, "4 candidates");
    expect(raft("collect @/lm --prompts @/prompts.jsonl --samples 2 --max-new 3 -o @/c.jsonl"), 2, "c.jsonl: exists already");
    expect(raft("collect @/lm --prompts @/prompts.jsonl --samples 3 --max-new 3 -o @/c.jsonl --force"), 0, "6 candidates");
    expect(raft("rank @/c.jsonl --reward length:3 -o @/r.jsonl"), 0, "2 of 6");
    expect(raft("rank @/c.jsonl --reward length:3 -o @/r.jsonl"), 2, "r.jsonl: exists already");
    expect(raft("rank @/c.jsonl --reward length:3 -o @/r.jsonl --force"), 0, "2 of 6");
    expect(raft("rank @/c.jsonl --reward length:3 -o /dev/null"), 0, "2 of 6"); // a device is nobody's work
}

static void profiles_are_found_beside_the_program(void **state)
{
    (void)state;
    const char *binary = getenv("RAFT_BINARY");
    char command[600];
    make_folder("bin/profiles");
    snprintf(command, sizeof command, "cp '%s' '%s/bin/raft'", binary && *binary ? binary : "./raft", cli_folder);
    assert_int_equal(system(command), 0);
    cli_put("bin/profiles/short.conf", "max-new = 3\n");
    snprintf(command, sizeof command, "cd / && '%s/bin/raft' generate '%s/lm' --ids 5 --profile short > /dev/null", cli_folder, cli_folder);
    assert_int_equal(system(command), 0);
    expect(raft("generate @/lm --ids 5 --profile short"), 2, "short.conf");
}

// ---- while it runs -----------------------------------------------------------------------------------------------------------

static void rewards_that_fail_end_with_status_1_and_the_reason(void **state)
{
    (void)state;
    put_prompts();
    static const struct { const char *body, *said; } cases[] = {
        {"while read l; do echo nan; done", "sample 0: expected a line with a number"}, {"while read l; do echo 1e999; done", "sample 0: expected"},
        {"while read l; do echo 1; read l; echo hello; done", "sample 1: expected"}, {"read l; exit 3", "exited with status 3"},
        {"read l; kill -9 $$", "signal 9"}, {"sleep 20", "no reply within 0.5 s"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_script("reward.sh", cases[i].body);
        expect(raft(ALIGN "--reward command:@/reward.sh --timeout 0.5 --force"), 1, cases[i].said);
    }
    expect(raft(ALIGN "--reward command:@/nowhere.sh --force"), 1, "not found");
}

static void finished_iterations_stay_usable(void **state)
{
    (void)state;
    put_prompts();
    // Answers one scoring (nothing is measured but the stage), then dies in the second iteration.
    put_script("reward.sh", "n=$(cat \"$0.count\" 2> /dev/null || echo 0); echo $((n + 1)) > \"$0.count\"; [ $n -lt 1 ] || exit 7\n"
                            "while read l; do echo 1; done");
    expect(raft(ALIGN "--reward command:@/reward.sh --eval-prompts 0 --force"), 1, "iteration 1: ");
    expect(raft("generate @/run/checkpoint --prompt the --max-new 3"), 0, "");
    assert_true(cli_have("run/iter_000/candidates.jsonl") && cli_have("run/metrics.jsonl"));
    char *count = cli_path("reward.sh.count");
    assert_int_equal(remove(count), 0);
    expect(raft(ALIGN "--reward command:@/reward.sh --eval-prompts 0 --resume"), 0, "checkpoint");
    assert_int_equal(remove(count), 0);
    put_script("reward.sh", "while read l; do echo 1; done");
    free(count);
    expect(raft(ALIGN "--reward command:@/reward.sh --eval-prompts 0 -o @/whole"), 0, "checkpoint");
    cli_assert_same_file("run/checkpoint/model.safetensors", "whole/checkpoint/model.safetensors");
    cli_assert_same_file("run/metrics.jsonl", "whole/metrics.jsonl");
    cli_assert_same_file("run/iter_001/candidates.jsonl", "whole/iter_001/candidates.jsonl");
}

static void places_that_cannot_be_written_and_memory_that_is_not_there(void **state)
{
    (void)state;
    put_prompts();
    expect(raft("align @/lm --prompts @/prompts.jsonl --reward length:3 -o /proc/nowhere"), 1, "/proc/nowhere");
    expect(raft("align @/lm --prompts @/prompts.jsonl --reward length:3 -o /dev/null"), 2, "/dev/null: exists and is not a folder");
    if (sizeof(size_t) == 8)
        expect(raft("pretrain --corpus @/texts.jsonl --tokenizer @/tok.json --dim 65536 --heads 1024 --ff 1048576 --layers 1024 -o @/huge"), 1, "out of memory");
    assert_false(cli_have("huge/provenance.json"));
    const char *binary = getenv("RAFT_BINARY");
    char command[900]; // a limit on the size of files stands for a full disk: SIGXFSZ, ignored, leaves the failing write
    snprintf(command, sizeof command, "(trap '' XFSZ; ulimit -f 8; exec '%s' pretrain --corpus '%s/texts.jsonl' --tokenizer '%s/tok.json' "
        CLI_TINY " -o '%s/full' > '%s/err' 2>&1)", binary && *binary ? binary : "./raft", cli_folder, cli_folder, cli_folder, cli_folder);
    int status = system(command);
    char *said = cli_standard_error();
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1 || !strstr(said, "full/")) fail_msg("status %d: %s", status, said);
    free(said);
}

int main(void)
{
    setenv("OMP_NUM_THREADS", "1", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_without_what_is_needed_are_named),
        cmocka_unit_test(invalid_utf8_is_replaced_and_counted),
        cmocka_unit_test(damaged_checkpoints_are_named_by_file_and_place),
        cmocka_unit_test(a_tokenizer_that_does_not_fit_the_model_is_refused),
        cmocka_unit_test(prompts_and_sampling_that_cannot_work_are_refused),
        cmocka_unit_test(options_that_a_command_would_ignore_are_refused),
        cmocka_unit_test(a_file_is_replaced_only_by_force),
        cmocka_unit_test(profiles_are_found_beside_the_program),
        cmocka_unit_test(rewards_that_fail_end_with_status_1_and_the_reason),
        cmocka_unit_test(finished_iterations_stay_usable),
        cmocka_unit_test(places_that_cannot_be_written_and_memory_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, cli_make_model, cli_remove_folder);
}
