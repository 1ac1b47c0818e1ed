// SPDX-License-Identifier: MIT
/* pretrain.c - raft pretrain: language modelling on texts, from fresh weights or from a checkpoint. */
#include "commands/commands.h"
#include "commands/learning.h"
#include "commands/training.h"
#include "files/checkpoint.h"
#include "kernels/hostmath.h"
#include "study/documents.h"
#include "study/metrics.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    Tokenizer tokenizer;
    Model model;
    Corpus corpus, test_corpus;
    Documents documents, test_documents;
    Run run;
    RunState state;
    StepStats total;
    double seconds;
    size_t tokens;          // computed in training
    Measure test_perplexity; // n == 0: not asked for
} Pretraining;

static void pretraining_free(Pretraining *p)
{
    state_close(&p->state);
    run_close(&p->run);
    documents_free(&p->documents);
    documents_free(&p->test_documents);
    corpus_free(&p->corpus);
    corpus_free(&p->test_corpus);
    model_free(&p->model);
    tokenizer_free(&p->tokenizer);
}

static int start_fresh(Pretraining *p, const Options *o, Err *err)
{
    ModelConfig config;
    if (!o->tokenizer) return err_input(err, "pretrain: --tokenizer FILE.json is missing (raft tokenizer train makes one)");
    if (tokenizer_load(&p->tokenizer, o->tokenizer, err)) return -1;
    int64_t eos = end_of_text(&p->tokenizer);
    if (eos < 0)
        return err_input(err, "%s: no special token, so nothing can end a text (train it with --special '<|endoftext|>')", o->tokenizer);
    if (model_options(&config, o, p->tokenizer.vocab, eos, err) || model_init(&p->model, &config, err)) return -1;
    model_randomise(&p->model, o->seed);
    return 0;
}

static int start_from_checkpoint(Pretraining *p, const Options *o, Err *err)
{
    if (checkpoint_load(&p->model, o->init, err)) return -1;
    if (p->model.config.head != HEAD_LM)
        return err_input(err, "%s: a reward model has no next-token head; --init takes a language model", o->init);
    if (!o->tokenizer) return checkpoint_load_tokenizer(&p->tokenizer, o->init, &p->model.config, err);
    if (tokenizer_load(&p->tokenizer, o->tokenizer, err)) return -1;
    if (p->tokenizer.vocab <= p->model.config.vocab) return 0;
    return err_input(err, "%s: %zu tokens, but %s has a vocabulary of %zu: they do not belong together", o->tokenizer, p->tokenizer.vocab,
        o->init, p->model.config.vocab);
}

static int read_documents(Corpus *corpus, Documents *documents, const Pretraining *p, const char *path, const Options *o, Err *err)
{
    const ModelConfig *c = &p->model.config;
    int64_t eos = c->eos >= 0 ? c->eos : end_of_text(&p->tokenizer);
    if (read_texts(corpus, path, o, err) ||
        documents_encode(documents, corpus, NULL, corpus->count, &p->tokenizer, eos, c->context, err))
        return -1;
    return documents->count ? 0 : err_input(err, "%s: no text has two tokens, so there is nothing to predict", path);
}

static int train_model(Pretraining *p, const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    TrainOptions how;
    Trainer trainer;
    TrainWatch watch;
    if (freeze_layers(&p->model, o, err) || train_options(&how, o, err) || state_open(&p->state, &p->run, "pretrain", o->save_every, err)) return -1;
    how.keeper = &p->state.keeper;
    if (trainer_init(&trainer, &p->model, &cx->compute, &how, err)) return -1;
    watch_start(&watch, &p->state, o->quiet, err);
    int status = train_run(&trainer, p->documents.examples, p->documents.count, o->seed, 0, watch_progress, &watch, &p->total, err);
    if (!status) status = watch_finish(&watch, &p->total, err);
    p->seconds = watch.seconds;
    p->tokens = watch.tokens;
    trainer_free(&trainer);
    return status;
}

static int measure(Pretraining *p, const CommandContext *cx, Err *err)
{
    size_t n = p->test_documents.count;
    if (!n) return 0;
    float *logprob = mem_new(err, n, sizeof *logprob);
    size_t *tokens = mem_new(err, n, sizeof *tokens);
    int status = logprob && tokens ? lm_evaluate(&p->model, &cx->compute, p->test_documents.examples, n, logprob, tokens, err) : -1;
    if (!status) p->test_perplexity = metric_perplexity(logprob, tokens, n);
    mem_free(logprob);
    mem_free(tokens);
    return status;
}

static int record(Pretraining *p, const Options *o, Err *err)
{
    const char *start = o->init ? o->init : "the fresh weights";
    if (run_record_input(&p->run, "corpus_hash", p->corpus.hash, o->corpus, err)) return -1;
    if (p->test_corpus.count && run_record_input(&p->run, "test_corpus_hash", p->test_corpus.hash, o->test_corpus, err)) return -1;
    if (run_record_input(&p->run, "start_hash", checkpoint_hash(&p->model), start, err)) return -1;
    return run_record_input(&p->run, "tokenizer_hash", tokenizer_hash(&p->tokenizer), o->tokenizer ? o->tokenizer : start, err);
}

static int report(const Pretraining *p, const Options *o, Err *err)
{
    double loss = p->total.loss, rate = p->seconds > 0 ? (double)p->tokens / p->seconds : 0;
    if (!o->json) {
        printf("%s: %zu parameters, %zu texts, %zu tokens seen in %.1f s\n", o->output, p->model.parameter_count,
            p->documents.text_count, p->tokens, p->seconds);
        printf("training loss %.4f (perplexity %.2f)", loss, host_exp(loss));
        if (p->test_perplexity.n)
            printf(", perplexity of %s %.2f [%.2f, %.2f]", o->test_corpus, p->test_perplexity.mean, p->test_perplexity.lo,
                p->test_perplexity.hi);
        putchar('\n');
        return 0;
    }
    char hash[17];
    hash_text(hash, checkpoint_hash(&p->model));
    json_t *result = json_pack("{s:s,s:s,s:I,s:I,s:I,s:o,s:o,s:o,s:o}", "output", o->output, "checkpoint_hash", hash,
        "parameters", (json_int_t)p->model.parameter_count, "texts", (json_int_t)p->documents.text_count,
        "tokens", (json_int_t)p->tokens, "loss", json_float(loss), "perplexity", json_float(host_exp(loss)),
        "seconds", json_float(p->seconds), "tokens_per_s", json_float(rate));
    if (result && p->test_perplexity.n) json_object_set_new(result, "test_perplexity", measure_json(&p->test_perplexity, false));
    return print_json(result, err);
}

static int learn(Pretraining *p, const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    if (p->run.finished) return tell_finished(&p->run, o, err);
    return train_model(p, cx, err) || checkpoint_save(o->output, &p->model, &p->tokenizer, err) ||
        run_record_hash(&p->run, "checkpoint_hash", checkpoint_hash(&p->model), err) || measure(p, cx, err) || report(p, o, err) ||
        run_finish(&p->run, err) ? -1 : 0;
}

static int run(CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    Pretraining p = {0};
    if (cx->word_count) return err_input(err, "pretrain: unexpected \"%s\"; everything is named by options", cx->words[0]);
    if (!o->corpus) return err_input(err, "pretrain: --corpus PATH is missing");
    if (!o->output) return err_input(err, "pretrain: -o DIR is missing");
    if (refuse_sizes(cx->settings, o, NULL, err)) return -1;
    int status = (o->init ? start_from_checkpoint(&p, o, err) : start_fresh(&p, o, err)) ||
        read_documents(&p.corpus, &p.documents, &p, o->corpus, o, err) ||
        (o->test_corpus && read_documents(&p.test_corpus, &p.test_documents, &p, o->test_corpus, o, err)) ||
        run_open(&p.run, o->output, "pretrain", cx->settings, o, &cx->compute, err) || record(&p, o, err) || learn(&p, cx, err);
    pretraining_free(&p);
    return status ? -1 : 0;
}

const Command command_pretrain = {
    .name = "pretrain",
    .operands = "",
    .summary = "language modelling on texts; writes a checkpoint",
    .groups = OPT_COMMON | OPT_RUN | OPT_CORPUS | OPT_TOKENIZER_FILE | OPT_MODEL | OPT_TRAIN,
    .help = "pretrain --corpus PATH --tokenizer FILE.json -o DIR trains fresh weights of the sizes given below.\n"
            "pretrain --corpus PATH --init CKPT -o DIR goes on from a checkpoint, with its tokenizer.\n"
            "A text is its tokens and an end-of-text token; a longer one than the context is cut into pieces that share one token, so that\n"
            "every token but a text's first is predicted once an epoch. --test-corpus PATH adds the perplexity of texts not trained on.",
    .needs_compute = true,
    .run = run,
};
