// SPDX-License-Identifier: MIT
/* trace.c - raft trace forward | step | ppo: intermediates, gradients and updated parameters as safetensors. */
#include "commands/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/learning.h"
#include "commands/training.h"
#include "files/checkpoint.h"
#include "study/trace.h"
#include "study/trace_ppo.h"

static int check_output(const CommandContext *cx, Err *err)
{
    if (!cx->options.output) return err_input(err, "trace %s: -o OUT.safetensors is missing", cx->words[0]);
    return check_output_file(&cx->options, err);
}

static int run_forward(CommandContext *cx, const Model *model, Err *err)
{
    TokenList ids = {0};
    if (!cx->options.ids) return err_input(err, "trace forward: --ids 5,7,9 is missing");
    int status = parse_ids(&ids, cx->options.ids, err);
    if (!status) status = trace_forward(model, &cx->compute, ids.ids, ids.length, cx->options.output, err);
    tokens_free(&ids);
    return status;
}

static int run_step(CommandContext *cx, Model *model, Err *err)
{
    TraceBatch batch;
    TrainOptions options;
    if (!cx->options.batch_file) return err_input(err, "trace step: --batch BATCH.safetensors is missing (input_ids and labels, both [B,T])");
    if (train_options(&options, &cx->options, err) || trace_batch_read(&batch, cx->options.batch_file, err)) return -1;
    options.schedule = SCHEDULE_CONSTANT; // a trace compares the update rule: the learning rate is the one given
    options.warmup = 0;
    int status = trace_step(model, &cx->compute, &batch, &options, cx->options.steps, cx->options.output, err);
    trace_batch_free(&batch);
    return status;
}

static int run_ppo(CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    PpoCoefficients how = ppo_coefficients(o);
    if (cx->word_count != 1) return err_input(err, "trace ppo: unexpected \"%s\": its inputs are in --batch, it needs no checkpoint", cx->words[1]);
    if (!o->batch_file) return err_input(err, "trace ppo: --batch BATCH.safetensors is missing (logits, values, old_logits, ... : raft help trace)");
    return check_output(cx, err) || trace_ppo(&cx->compute, o->batch_file, &how, o->output, err) ? -1 : 0;
}

static int run(CommandContext *cx, Err *err)
{
    const char *what = cx->word_count ? cx->words[0] : "";
    if (!strcmp(what, "ppo")) return run_ppo(cx, err);
    if (strcmp(what, "forward") && strcmp(what, "step"))
        return err_input(err, "trace: expected \"forward\", \"step\" or \"ppo\", found \"%s\"", what);
    if (cx->word_count != 2) return err_input(err, "trace %s: expected one checkpoint folder, found %zu", what, cx->word_count - 1);
    Model model;
    if (check_output(cx, err) || checkpoint_load(&model, cx->words[1], err)) return -1;
    int status = strcmp(what, "forward") ? run_step(cx, &model, err) : run_forward(cx, &model, err);
    model_free(&model);
    return status;
}

const Command command_trace = {
    .name = "trace",
    .operands = "forward CKPT | step CKPT | ppo",
    .summary = "every intermediate of a pass, or gradients and updates of training steps",
    .groups = OPT_COMMON | OPT_TRACE | OPT_PPO,
    .except = "kl-target kl-gain",
    .help = "trace forward CKPT --ids 5,7,9 -o OUT.safetensors writes embedding, layers.N.*, norm and logits [1,T,V].\n"
            "trace step CKPT --batch B.safetensors --steps 3 -o OUT.safetensors reads input_ids and labels [B,T] (unshifted, -100 = not\n"
            "counted) and writes logits, loss, grad_norm (before clipping), grad.NAME of the first step and after.NAME of the last.\n"
            "trace ppo --batch B.safetensors -o OUT.safetensors reads logits, old_logits, ref_logits [B,T,V], values, old_values [B,T],\n"
            "score, length [B], actions [B,T] and writes token_reward, advantage, returns, whitened_advantage, ratio [B,T],\n"
            "policy_loss, value_loss, grad_logits, grad_values (of policy_loss + vf-coef * value_loss).",
    .needs_compute = true,
    .run = run,
};
