// SPDX-License-Identifier: MIT
/* trace_iteration.c - raft trace iteration: one RAFT iteration with align's options, and every intermediate of it in a folder. */
#include "commands/commands.h"
#include "commands/learning.h"
#include "commands/policies.h"
#include "study/trace.h"

#include <stdio.h>

typedef struct { PolicySetup setup; RewardSet rewards; TraceSummary summary; Options options; } Tracing;

static int check_options(const CommandContext *cx, const Options *o, Err *err)
{
    if (cx->word_count != 1) return err_input(err, "trace iteration: expected one checkpoint folder, found %zu", cx->word_count);
    if (!o->prompts) return err_input(err, "trace iteration: --prompts FILE.jsonl is missing");
    if (!o->reward.count) return err_input(err, "trace iteration: --reward SPEC is missing");
    if (!o->output) return err_input(err, "trace iteration: -o DIR is missing (the trace's folder)");
    return 0;
}

// A trace is replaced only when told so, its index first: a folder without one is no trace.
static int clear_output(const Options *o, Err *err)
{
    char *index = os_join(err, o->output, "index.jsonl");
    int status = index ? 0 : -1;
    if (!status && os_is_file(index)) {
        if (!o->force) status = err_input(err, "%s: there is a trace already; --force replaces it", o->output);
        else if (remove(index)) status = err_failed(err, "%s: cannot remove the old index", index);
    }
    mem_free(index);
    return status;
}

static int trace(Tracing *t, const CommandContext *cx, Err *err)
{
    const Options *o = &t->options;
    PolicySetup *s = &t->setup;
    if (setup_model(s, cx->words[0], err) || setup_prompts(s, o, err) || setup_reference(s, o, true, err) ||
        setup_policy(s, o, &cx->compute, err) || setup_rewards(&t->rewards, o, &cx->compute, err) || clear_output(o, err)) return -1;
    const Raft how = {.prompts = s->prompts.count, .stage = o->stage_prompts, .samples = o->samples, .rank = rank_options(o), .seed = o->seed};
    return trace_iteration(&s->policy, &t->rewards, &how, o->iteration, o->output, o->hashes_only, &t->summary, err);
}

static int report(const Tracing *t, Err *err)
{
    const TraceSummary *s = &t->summary;
    if (t->options.json)
        return print_json(json_pack("{s:s,s:I,s:I,s:I,s:I,s:o}", "output", t->options.output, "tensors", (json_int_t)s->tensors,
            "candidates", (json_int_t)s->candidates, "selected", (json_int_t)s->selected, "steps", (json_int_t)s->steps, "loss",
            json_float(s->loss)), err);
    printf("%s: %zu tensors%s; %zu candidates, %zu selected, %zu steps, loss %.4f\n", t->options.output, s->tensors,
        t->options.hashes_only ? " (hashes only)" : "", s->candidates, s->selected, s->steps, s->loss);
    return 0;
}

static int run(CommandContext *cx, Err *err)
{
    Tracing t = {0};
    // the settings that a profile gives for align are this command's, too
    if (settings_resolve(&t.options, cx->settings, "align", err) || check_options(cx, &t.options, err)) return -1;
    int status = trace(&t, cx, err) || report(&t, err);
    reward_close(&t.rewards);
    setup_free(&t.setup);
    return status ? -1 : 0;
}

const Command command_trace_iteration = {
    .name = "trace iteration",
    .operands = "CKPT",
    .summary = "every intermediate of one RAFT iteration, computed as align does",
    .groups = OPT_COMMON | OPT_PROMPTS | OPT_SAMPLE | OPT_TRAIN | OPT_RANK | OPT_ALIGN | OPT_RECORD,
    .defaults = STAGE_TRAIN_DEFAULTS,
    .help = "trace iteration CKPT --prompts P.jsonl --reward SPEC -o DIR takes align's options and leaves DIR/index.jsonl (names, shapes\n"
            "and hashes in the order of computation) beside start, collect, rank and step_NNN.safetensors; docs/VERIFY.md lists the\n"
            "names. --hashes-only writes the index alone. raft diff compares two traces.",
    .needs_compute = true,
    .run = run,
};
