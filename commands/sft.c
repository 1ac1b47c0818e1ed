// SPDX-License-Identifier: MIT
/* sft.c - raft sft: supervised fine-tuning on prompts and responses; the loss counts the response and its end-of-text only. */
#include "commands/commands.h"
#include "commands/learning.h"
#include "commands/training.h"
#include "files/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct { TokenList *texts; size_t *prompts, count, capacity; } Pairs; // texts: prompt | response | end-of-text

static void pairs_free(Pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) tokens_free(&pairs->texts[i]);
    mem_free(pairs->texts);
    mem_free(pairs->prompts);
    *pairs = (Pairs){0};
}

static int pairs_grow(Pairs *pairs, Err *err)
{
    if (pairs->count < pairs->capacity) return 0;
    size_t capacity = pairs->capacity ? 2 * pairs->capacity : 256;
    TokenList *texts = mem_resize(err, pairs->texts, pairs->count, capacity, sizeof *texts);
    if (texts) pairs->texts = texts;
    size_t *prompts = texts ? mem_resize(err, pairs->prompts, pairs->count, capacity, sizeof *prompts) : NULL;
    if (!prompts) return -1;
    pairs->prompts = prompts;
    pairs->capacity = capacity;
    return 0;
}

// Prompt and response are tokenized apart, as a sampled response is: no token spans the boundary.
static int add_pair(Pairs *pairs, const json_t *line, const char *where, const Tokenizer *tk, const ModelConfig *config, Err *err)
{
    const char *prompt = "", *response, *key = json_object_get(line, "response") ? "response" : "text";
    size_t prompt_length = 0, response_length;
    if (json_object_get(line, "prompt") && json_get_string(line, "prompt", &prompt, &prompt_length, where, err)) return -1;
    if (json_get_string(line, key, &response, &response_length, where, err) || pairs_grow(pairs, err)) return -1;
    TokenList *ids = &pairs->texts[pairs->count++];
    if (tokenizer_encode(tk, ids, prompt, prompt_length, err)) return err_prefix(err, "%s", where);
    pairs->prompts[pairs->count - 1] = ids->length;
    if (tokenizer_encode(tk, ids, response, response_length, err)) return err_prefix(err, "%s", where);
    if (config->eos >= 0 && tokens_add(ids, err, (uint32_t)config->eos)) return -1;
    if (ids->length > config->context)
        return err_input(err, "%s: prompt and response come to %zu tokens, but the model's context is %zu", where, ids->length,
            config->context);
    if (ids->length < 2 || ids->length == pairs->prompts[pairs->count - 1])
        return err_input(err, "%s: no token to learn from (the response is empty)", where);
    return 0;
}

static int read_pairs(Pairs *pairs, const Options *o, const Tokenizer *tk, const ModelConfig *config, Err *err)
{
    JsonLines in;
    json_t *line;
    int got = 0, status = 0;
    if (jsonl_open(&in, o->data, err)) return -1;
    while (!status && (!o->limit || pairs->count < o->limit) && (got = jsonl_next(&in, &line, err)) == 1) {
        status = add_pair(pairs, line, in.where, tk, config, err);
        json_decref(line);
    }
    if (!status && got >= 0 && !pairs->count) status = err_input(err, "%s: holds no line with \"prompt\" and \"response\"", o->data);
    if (in.repaired) fprintf(stderr, "raft: %s: %zu invalid UTF-8 sequences replaced by U+FFFD\n", o->data, in.repaired);
    jsonl_close(&in);
    return status || got < 0 ? -1 : 0;
}

typedef struct {
    Model model;
    Tokenizer tokenizer;
    Pairs pairs;
    Run run;
    RunState state;
    StepStats total;
    double seconds;
} FineTuning;

static int load(FineTuning *f, const char *folder, const Options *o, Err *err)
{
    if (checkpoint_load(&f->model, folder, err)) return -1;
    if (f->model.config.head != HEAD_LM)
        return err_input(err, "%s: a reward model has no next-token head; sft takes a language model", folder);
    if (freeze_layers(&f->model, o, err) || checkpoint_load_tokenizer(&f->tokenizer, folder, &f->model.config, err)) return -1;
    return read_pairs(&f->pairs, o, &f->tokenizer, &f->model.config, err);
}

static int train_model(FineTuning *f, const CommandContext *cx, Err *err)
{
    TrainOptions how;
    Trainer trainer;
    TrainWatch watch;
    size_t n = f->pairs.count;
    Example *examples = mem_new(err, n, sizeof *examples);
    int status = !examples || train_options(&how, &cx->options, err) ||
        state_open(&f->state, &f->run, "sft", cx->options.save_every, err) ? -1 : 0;
    how.keeper = &f->state.keeper;
    if (status || trainer_init(&trainer, &f->model, &cx->compute, &how, err)) {
        mem_free(examples);
        return -1;
    }
    for (size_t i = 0; i < n; i++)
        examples[i] = (Example){.ids = f->pairs.texts[i].ids, .length = f->pairs.texts[i].length, .prompt = f->pairs.prompts[i]};
    watch_start(&watch, &f->state, cx->options.quiet, err);
    status = train_run(&trainer, examples, n, cx->options.seed, 0, watch_progress, &watch, &f->total, err);
    if (!status) status = watch_finish(&watch, &f->total, err);
    f->seconds = watch.seconds;
    trainer_free(&trainer);
    mem_free(examples);
    return status;
}

static int report(const FineTuning *f, const Options *o, Err *err)
{
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, checkpoint_hash(&f->model));
    if (o->json)
        return print_json(json_pack("{s:s,s:s,s:I,s:I,s:o,s:o}", "output", o->output, "checkpoint_hash", hash,
            "examples", (json_int_t)f->pairs.count,
            "targets", (json_int_t)f->total.targets, "loss", json_float(f->total.loss), "seconds", json_float(f->seconds)), err);
    printf("%s: fine-tuned on %zu examples (%zu response tokens) in %.1f s, loss %.4f\n", o->output, f->pairs.count, f->total.targets,
        f->seconds, f->total.loss);
    return 0;
}

static int record(FineTuning *f, const CommandContext *cx, Err *err)
{
    const char *start = cx->words[0];
    return run_record_input(&f->run, "start_hash", checkpoint_hash(&f->model), start, err) ||
        run_record_file(&f->run, "data_hash", cx->options.data, err) ||
        run_record_input(&f->run, "tokenizer_hash", tokenizer_hash(&f->tokenizer), start, err) ? -1 : 0;
}

static int learn(FineTuning *f, const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    if (f->run.finished) return tell_finished(&f->run, o, err);
    return train_model(f, cx, err) || checkpoint_save(o->output, &f->model, &f->tokenizer, err) ||
        run_record_hash(&f->run, "checkpoint_hash", checkpoint_hash(&f->model), err) || report(f, o, err) || run_finish(&f->run, err) ? -1 : 0;
}

static int run(CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    FineTuning f = {0};
    if (cx->word_count != 1) return err_input(err, "sft: expected one checkpoint folder, found %zu", cx->word_count);
    if (!o->data) return err_input(err, "sft: --data FILE is missing (JSON lines with \"prompt\" and \"response\")");
    if (!o->output) return err_input(err, "sft: -o DIR is missing");
    int status = load(&f, cx->words[0], o, err) || run_open(&f.run, o->output, "sft", cx->settings, o, &cx->compute, err) ||
        record(&f, cx, err) || learn(&f, cx, err);
    state_close(&f.state);
    run_close(&f.run);
    pairs_free(&f.pairs);
    tokenizer_free(&f.tokenizer);
    model_free(&f.model);
    return status ? -1 : 0;
}

const Command command_sft = {
    .name = "sft",
    .operands = "CKPT",
    .summary = "supervised fine-tuning on prompts and responses; writes a checkpoint",
    .groups = OPT_COMMON | OPT_RUN | OPT_DATA | OPT_TRAIN,
    .defaults = "lr=1e-4",
    .help = "sft CKPT --data FILE.jsonl -o DIR reads lines with \"prompt\" and \"response\" (or \"text\"); the loss counts the tokens of the response\n"
            "and the end-of-text token after it. A line too long for the context is an error: nothing is cut silently.",
    .needs_compute = true,
    .run = run,
};
