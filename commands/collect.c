// SPDX-License-Identifier: MIT
/* collect.c - raft collect: RAFT's first step. K answers to each prompt of a stage, as JSON lines. */
#include "commands/commands.h"
#include "commands/learning.h"
#include "commands/policies.h"
#include "raft.h"

#include <stdio.h>

static int collect(SampleList *samples, PolicySetup *s, const Options *o, Err *err)
{
    size_t b = o->stage_prompts ? o->stage_prompts : s->prompts.count;
    size_t *chosen = mem_new(err, b, sizeof *chosen);
    uint32_t *order = chosen ? mem_new(err, s->prompts.count, sizeof *order) : NULL;
    int status = order ? 0 : -1;
    if (!status) {
        raft_stage_prompts(chosen, b, s->prompts.count, o->iteration, o->seed, order); // as in align
        progress_start(&s->bar, "collect", "answer", 0, o->quiet);
        s->policy.sample_progress = setup_sample_progress;
        s->policy.progress_self = s;
        status = policy_collect(&s->policy, samples, chosen, b, o->samples, o->iteration, err);
    }
    if (!status) progress_finish(&s->bar, "");
    Sample **drawn = status ? NULL : samples_pointers(samples, err);
    status = drawn ? policy_measure_reference(&s->policy, drawn, samples->count, err) : -1; // rank may subtract any beta
    mem_free(drawn);
    mem_free(chosen);
    mem_free(order);
    return status;
}

static int report(const SampleList *samples, const PolicySetup *s, const Options *o, Err *err)
{
    double seconds = s->policy.sample_seconds;
    size_t tokens = s->policy.sampled_tokens, prompts = samples->items[samples->count - 1].slot + 1;
    if (o->json)
        return print_json(json_pack("{s:s,s:I,s:I,s:I,s:o}", "output", o->output, "prompts", (json_int_t)prompts, "candidates",
            (json_int_t)samples->count, "tokens", (json_int_t)tokens, "seconds", json_float(seconds)), err);
    printf("%s: %zu candidates to %zu prompts; %zu tokens drawn in %.1f s\n", o->output, samples->count, prompts, tokens, seconds);
    return 0;
}

static int run(CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    PolicySetup s = {0};
    SampleList samples = {0};
    if (cx->word_count != 1) return err_input(err, "collect: expected one checkpoint folder, found %zu", cx->word_count);
    if (!o->prompts) return err_input(err, "collect: --prompts FILE.jsonl is missing");
    if (!o->output) return err_input(err, "collect: -o FILE.jsonl is missing");
    int status = check_output_file(o, err) || setup_model(&s, cx->words[0], err) || setup_prompts(&s, o, err) || setup_reference(&s, o, false, err) ||
        setup_policy(&s, o, &cx->compute, err) || collect(&samples, &s, o, err) || samples_write(&samples, o->output, err) ||
        report(&samples, &s, o, err);
    samples_free(&samples);
    setup_free(&s);
    return status ? -1 : 0;
}

const Command command_collect = {
    .name = "collect",
    .operands = "CKPT",
    .summary = "RAFT step 1: K answers to each prompt, as JSON lines",
    .groups = OPT_COMMON | OPT_PROMPTS | OPT_SAMPLE | OPT_ALIGN,
    .except = "algo iterations eval-prompts eval-every explain stop-when replay replay-tokens replay-corpus",
    .help = "collect CKPT --prompts P.jsonl --samples K --seed S --temperature T --max-new N -o C.jsonl writes a line for\n"
            "each answer: slot, prompt_id, prompt, prompt_tokens, k, source, text, tokens, logprob, ref_logprob. Then rank, then\n"
            "finetune. A later stage of align is collected with --iteration and with --reference, the checkpoint that align\n"
            "started from. --expert adds the answers of another checkpoint or of a JSONL file (prompt_id or prompt, and text).",
    .needs_compute = true,
    .run = run,
};
