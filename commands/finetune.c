// SPDX-License-Identifier: MIT
/* finetune.c - raft finetune: RAFT's third step. Supervised fine-tuning on the selected candidates of a ranked file. */
#include "commands/commands.h"
#include "commands/learning.h"
#include "commands/policies.h"
#include "files/chat.h"
#include "files/checkpoint.h"

#include <stdio.h>

typedef struct {
    PolicySetup setup;
    SampleList samples;
    Run run;
    RunState state;
    size_t selected;
} FineTune;

static int read_ranked(FineTune *f, const char *path, Err *err)
{
    if (samples_read(&f->samples, path, err)) return -1;
    for (size_t i = 0; i < f->samples.count; i++) {
        const Sample *s = f->samples.items + i;
        if (!s->ranked) return err_input(err, "%s: slot %zu, k %zu has no \"rank\": run raft rank first", path, s->slot, s->k);
        f->selected += s->selected;
    }
    return f->selected ? 0 : err_input(err, "%s: no candidate is selected: there is nothing to fine-tune on", path);
}

static int record_inputs(FineTune *f, const Options *o, Err *err)
{
    return run_record_input(&f->run, "start_hash", checkpoint_hash(&f->setup.model), f->setup.folder, err) ||
        run_record_file(&f->run, "data_hash", o->data, err) ||
        run_record_input(&f->run, "tokenizer_hash", tokenizer_hash(&f->setup.tokenizer), f->setup.folder, err) ||
        record_replay(&f->run, &f->setup, o, err) ? -1 : 0;
}

static int learn(FineTune *f, const Options *o, Err *err)
{
    TrainWatch watch;
    if (state_open(&f->state, &f->run, "finetune", o->save_every, err)) return -1;
    f->setup.policy.options.train.keeper = &f->state.keeper;
    watch_start(&watch, &f->state, o->quiet, err);
    f->setup.policy.train_progress = watch_progress;
    f->setup.policy.progress_self = &watch;
    if (policy_finetune(&f->setup.policy, &f->samples, o->iteration, err)) return -1;
    return watch_finish(&watch, &f->setup.policy.last, err);
}

static int save(FineTune *f, const Options *o, Err *err)
{
    return checkpoint_save(o->output, &f->setup.model, &f->setup.tokenizer, err) ||
        chat_copy_files(o->output, f->setup.folder, err) ||
        run_record_hash(&f->run, "checkpoint_hash", checkpoint_hash(&f->setup.model), err) ? -1 : 0;
}

static int report(const FineTune *f, const Options *o, Err *err)
{
    const StepStats *last = &f->setup.policy.last;
    size_t texts = policy_replayed(o->replay, f->selected);
    if (o->json)
        return print_json(json_pack("{s:s,s:I,s:I,s:o,s:o}", "output", o->output, "examples", (json_int_t)(f->selected + texts), "targets",
            (json_int_t)last->targets, "loss", json_float(last->loss), "seconds", json_float(f->setup.policy.train_seconds)), err);
    printf("%s: fine-tuned on %zu candidates", o->output, f->selected);
    if (texts) printf(" and %zu texts", texts);
    printf(" in %.1f s, loss %.4f\n", f->setup.policy.train_seconds, last->loss);
    return 0;
}

static int finish(FineTune *f, const Options *o, Err *err)
{
    if (f->run.finished) return tell_finished(&f->run, o, err);
    return learn(f, o, err) || save(f, o, err) || report(f, o, err) || run_finish(&f->run, err) ? -1 : 0;
}

static int run(CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    FineTune f = {0};
    if (cx->word_count != 1) return err_input(err, "finetune: expected one checkpoint folder, found %zu", cx->word_count);
    if (!o->data) return err_input(err, "finetune: --data FILE.jsonl is missing (candidates ranked by raft rank)");
    if (!o->output) return err_input(err, "finetune: -o DIR is missing");
    int status = setup_model(&f.setup, cx->words[0], err) || read_ranked(&f, o->data, err) ||
        setup_reference(&f.setup, o, false, err) || setup_policy(&f.setup, o, &cx->compute, err) ||
        run_open(&f.run, o->output, "finetune", cx->settings, o, &cx->compute, err) || record_inputs(&f, o, err) ||
        finish(&f, o, err);
    state_close(&f.state);
    run_close(&f.run);
    samples_free(&f.samples);
    setup_free(&f.setup);
    return status ? -1 : 0;
}

const Command command_finetune = {
    .name = "finetune",
    .operands = "CKPT",
    .summary = "RAFT step 3: fine-tune on the selected candidates; writes a checkpoint",
    .groups = OPT_COMMON | OPT_RUN | OPT_DATA | OPT_TRAIN | OPT_ALIGN,
    .except = "limit algo expert reference iterations stage-prompts eval-prompts eval-every explain stop-when prompt-tokens",
    .defaults = STAGE_TRAIN_DEFAULTS,
    .help = "finetune CKPT --data R.jsonl -o DIR trains on the response tokens of the lines marked selected, in the order\n"
            "of the file, with AdamW and its schedule started afresh. Token ids are used as they are. For a later stage of\n"
            "align give --iteration.",
    .needs_compute = true,
    .run = run,
};
