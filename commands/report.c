// SPDX-License-Identifier: MIT
/* report.c - raft report: the HTML page about a run, or about several side by side, made from their files. */
#include "commands/commands.h"
#include "commands/learning.h"
#include "study/report.h"

#include <stdio.h>

// A page with a name of its own replaces a file only when it is told to; that in a run is made again from the run.
static int write_named(const CommandContext *cx, const char *path, Err *err)
{
    const char *const *runs = cx->words;
    if (os_is_regular(path) && !cx->options.force)
        return err_input(err, "%s: there is a file already (--force replaces it, -o FILE names another)", path);
    if (cx->word_count > 1) return report_write_runs(path, runs, cx->word_count, err);
    char *comparison = os_join(err, runs[0], "comparison.json");
    int status = !comparison ? -1 :
        os_is_file(comparison) ? report_write_comparison(path, runs[0], err) : report_write_run(path, runs[0], err);
    mem_free(comparison);
    return status;
}

static int run(CommandContext *cx, Err *err)
{
    const char *named = cx->options.output ? cx->options.output : cx->word_count > 1 ? "report.html" : NULL;
    if (!cx->word_count) return err_input(err, "report: expected a run folder, or several");
    if (named ? write_named(cx, named, err) : report_write(cx->words[0], err)) return -1;
    const char *folder = named ? "" : cx->words[0], *file = named ? named : "/report.html";
    if (cx->options.json) return print_json(json_pack("{s:s+}", "output", folder, file), err);
    printf("%s%s\n", folder, file);
    return 0;
}

const Command command_report = {
    .name = "report",
    .operands = "RUN...",
    .summary = "the HTML page about a run, a comparison, or several runs side by side",
    .groups = OPT_COMMON,
    .except = "profile",
    .help = "report RUN writes RUN/report.html from the run's files: what RAFT, or PPO, did with its own samples, measures\n"
            "with intervals, charts, answers before and after, timing, provenance and settings. A folder that `raft compare` made gives "
            "a page of all its\n"
            "arms; report RUN_A RUN_B ... sets runs side by side, in report.html here. -o FILE puts the page elsewhere, over another file\n"
            "only with --force. One file, no network, no script; the same bytes for the same files. What a run does not hold\n"
            "(samples_before.jsonl, heads.json, ...) is left out with a sentence that says so.",
    .run = run,
};
