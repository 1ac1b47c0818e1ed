// SPDX-License-Identifier: MIT
/* report.c - raft report: the HTML page about a run, made again from its files. */
#include "commands/commands.h"
#include "commands/learning.h"
#include "study/report.h"

#include <stdio.h>

static int run(CommandContext *cx, Err *err)
{
    if (cx->word_count != 1) return err_input(err, "report: expected one run folder, found %zu", cx->word_count);
    if (cx->options.output) return err_input(err, "report: the page goes into the run as report.html; --output is not taken");
    if (report_write(cx->words[0], err)) return -1;
    if (cx->options.json) return print_json(json_pack("{s:s+}", "output", cx->words[0], "/report.html"), err);
    printf("%s/report.html\n", cx->words[0]);
    return 0;
}

const Command command_report = {
    .name = "report",
    .operands = "RUN",
    .summary = "the HTML page about a run: RUN/report.html",
    .groups = OPT_COMMON,
    .except = "output force profile",
    .help = "report RUN writes RUN/report.html from the run's files: what RAFT did with its own samples, measures with intervals, charts,\n"
            "answers before and after, timing, provenance and settings. One file, no network, no script; the same bytes for the same run.\n"
            "What a run does not hold (samples_before.jsonl, heads.json, ...) is left out with a sentence that says so.",
    .run = run,
};
