// SPDX-License-Identifier: MIT
/* main.c - the table of commands, help, and the one place that prints an error and exits. What a command does is in
 * commands/NAME.c; the algorithm is in raft.c. */
#include "base/os.h"
#include "base/version.h"
#include "commands/commands.h"

#include <stdio.h>
#include <string.h>

const Command *const command_table[] = {
    &command_demo, &command_tokenizer, &command_pretrain, &command_sft, &command_reward, &command_heads, &command_align, &command_compare,
    &command_collect, &command_rank, &command_finetune, &command_eval, &command_generate, &command_chat, &command_import, &command_export,
    &command_report, &command_rerun, &command_trace, &command_trace_iteration, &command_diff, &command_bench, &command_info, NULL,
};

// words: how many of argv name it; two are tried before one ("trace iteration" before "trace").
static const Command *find_command(int argc, char **argv, int *words, Err *err)
{
    const Command *nearest = command_table[0];
    const char *name = argv[0];
    char both[64];
    for (*words = argc > 1 ? 2 : 1; *words; --*words) {
        snprintf(both, sizeof both, "%s%s%s", name, *words == 2 ? " " : "", *words == 2 ? argv[1] : "");
        for (size_t i = 0; command_table[i]; i++)
            if (!strcmp(command_table[i]->name, both)) return command_table[i];
    }
    for (size_t i = 0; command_table[i]; i++)
        if (text_distance(name, command_table[i]->name) < text_distance(name, nearest->name)) nearest = command_table[i];
    err_input(err, "unknown command \"%s\"; did you mean \"%s\"? (raft help lists all)", name, nearest->name);
    return NULL;
}

// ---- help ------------------------------------------------------------------------------------------------------------------

static int help_overview(FILE *out)
{
    fputs("raft - Reward rAnked FineTuning: collect answers, rank them by reward, fine-tune on the best\n\n"
          "usage: raft COMMAND [operands] [--profile NAME] [--option value]...\n\n", out);
    for (size_t i = 0; command_table[i]; i++) fprintf(out, "  %-16s %s\n", command_table[i]->name, command_table[i]->summary);
    fputs("\nraft help COMMAND lists its options with defaults and units; raft --version tells which build this is.\n"
          "Exit status: 0 done; 1 failed while running; 2 the command line or a file is at fault.\n", out);
    return 0;
}

static int help_command(int argc, char **argv, Err *err)
{
    int words;
    const Command *command = find_command(argc, argv, &words, err);
    Text options = {0};
    if (!command || options_help(&options, command->groups, command->except, command->defaults, err)) {
        text_free(&options);
        return -1;
    }
    printf("raft %s - %s\n\nusage: raft %s %s [--option value]...\n", command->name, command->summary, command->name, command->operands);
    if (command->help && *command->help) printf("\n%s%s", command->help, command->help[strlen(command->help) - 1] == '\n' ? "" : "\n");
    printf("\nOptions, with their defaults (in a profile: key = value; for one stage of a pipeline: --STAGE.key):\n%s", options.data);
    text_free(&options);
    return 0;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return true;
    return false;
}

// ---- running a command -----------------------------------------------------------------------------------------------------

// A key given for the stage of the command's own name ("pretrain.lr" in a profile made for `demo`) counts for the command too.
int command_run(const Command *command, int argc, char **argv, Err *err)
{
    Settings settings = {.except = command->except};
    CommandContext cx = {.settings = &settings};
    int status = settings_parse(&settings, argc, argv, command->groups, command->defaults, err);
    if (!status) status = settings_resolve(&cx.options, &settings, command->name, err);
    if (!status && command->needs_compute)
        status = compute_init(&cx.compute, cx.options.isa, cx.options.matmul, cx.options.threads, err);
    if (!status) {
        if (command->needs_compute && cx.compute.backend == MATMUL_BLIS) fputs("raft: the same-bits promise is off with BLIS\n", stderr);
        cx.words = settings.words;
        cx.word_count = settings.word_count;
        status = command->run(&cx, err);
        if (command->needs_compute) compute_free(&cx.compute);
    }
    settings_free(&settings);
    return status;
}

static int run(int argc, char **argv, Err *err)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (!*name) {
        help_overview(stderr);
        return err_input(err, "a command is missing");
    }
    if (!strcmp(name, "--version") || !strcmp(name, "version"))
        return printf("raft %s (%s), %s\n", raft_version(), raft_commit(), raft_compiler()) < 0;
    if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h"))
        return argc > 2 ? help_command(argc - 2, argv + 2, err) : help_overview(stdout);
    int words;
    const Command *command = find_command(argc - 1, argv + 1, &words, err);
    if (!command) return -1;
    if (asks_for_help(argc - 1 - words, argv + 1 + words)) return help_command(argc - 1, argv + 1, err);
    return command_run(command, argc - 1 - words, argv + 1 + words, err);
}

int main(int argc, char **argv)
{
    Err err = {0};
    int status = run(argc, argv, &err);
    // What was printed may still sit in a buffer: a full disk must not look like success.
    if ((fflush(stdout) || ferror(stdout)) && status >= 0) status = err_failed(&err, "cannot write to standard output");
    if (status < 0) fprintf(stderr, "raft: %s\n", err.text);
    return status < 0 ? err.status ? err.status : 1 : status;
}
