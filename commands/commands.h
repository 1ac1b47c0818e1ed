// SPDX-License-Identifier: MIT
/* commands.h - the table of commands and what each is given. One file a command; each reads options, calls modules, prints.
 *
 *     static int run(CommandContext *cx, Err *err) { ... return 0; }
 *     const Command command_generate = {"generate", "CKPT", "text from a prompt", OPT_MODEL..., "max-new=64", "longer help", run};
 */
#ifndef RAFT_COMMANDS_COMMANDS_H
#define RAFT_COMMANDS_COMMANDS_H

#include "base/config.h"
#include "kernels/kernels.h"

typedef struct {
    const Settings *settings;
    Options options;        // resolved without a stage
    const char **words;     // operands; words[0] is the sub-command where there are some
    size_t word_count;
    Compute compute;        // initialised by main when the command needs_compute
} CommandContext;

typedef struct {
    const char *name, *operands, *summary; // a name may be two words: "trace iteration" has options of its own
    unsigned groups;        // of options
    const char *defaults;   // "lr=1e-4 epochs=2"; NULL: the table's
    const char *except;     // options of the groups that it does not take, "corpus iteration"; NULL: none
    const char *help;       // paragraphs shown by `raft help NAME`
    bool needs_compute;
    int (*run)(CommandContext *cx, Err *err); // 0 done, -1 error, 1: done, but the answer is "differs" (diff)
} Command;

extern const Command command_align, command_bench, command_chat, command_collect, command_compare, command_demo, command_diff, command_eval, command_export,
    command_finetune, command_generate, command_heads, command_import, command_info, command_pretrain, command_rank, command_report, command_rerun,
    command_reward, command_sft, command_tokenizer, command_trace, command_trace_iteration;
extern const Command *const command_table[]; // NULL-terminated, in the order of `raft help`
// main's way to run a command: options read, kernels chosen. argv without the program and command names.
int command_run(const Command *command, int argc, char **argv, Err *err);

#endif
