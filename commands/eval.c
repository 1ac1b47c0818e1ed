// SPDX-License-Identifier: MIT
/* eval.c - raft eval: a model's reward, positive rate, perplexity, diversity and KL, each with a 95 % interval. */
#include "commands/commands.h"
#include "commands/learning.h"
#include "commands/policies.h"
#include "study/documents.h"
#include "study/evaluate.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    PolicySetup setup;
    RewardSet rewards;
    Corpus corpus;
    Documents documents;
    EvaluateOptions how;
    Evaluation result;
} Evaluating;

static int read_held_out(Evaluating *e, const Options *o, Err *err)
{
    const char *path = o->test_corpus ? o->test_corpus : o->corpus;
    const ModelConfig *c = &e->setup.model.config;
    if (!path) return 0;
    if (read_texts(&e->corpus, path, o, err)) return -1;
    if (documents_encode(&e->documents, &e->corpus, NULL, e->corpus.count, &e->setup.tokenizer, c->eos, c->context, err)) return -1;
    e->how.held_out = e->documents.examples;
    e->how.held_out_count = e->documents.count;
    return 0;
}

static int prepare(Evaluating *e, const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    if (setup_model(&e->setup, cx->words[0], err) || (o->prompts && setup_prompts(&e->setup, o, err))) return -1;
    if (o->reference && setup_reference(&e->setup, o, false, err)) return -1;
    if (setup_rewards(&e->rewards, o, &cx->compute, err) || read_held_out(e, o, err)) return -1;
    e->how.tokenizer = &e->setup.tokenizer;
    e->how.prompts = o->prompts ? &e->setup.prompts : NULL;
    e->how.prompt_count = o->eval_prompts;
    e->how.rewards = &e->rewards;
    e->how.reference = e->setup.reference;
    e->how.sample = sample_options(o, &e->setup.model.config);
    e->how.best_of = o->best_of > 0;
    if (o->best_of) e->how.sample.samples = o->best_of;
    e->how.seed = o->seed;
    e->how.progress = setup_sample_progress;
    e->how.progress_self = &e->setup;
    return 0;
}

static int measure(Evaluating *e, const CommandContext *cx, Err *err)
{
    progress_start(&e->setup.bar, "evaluate", "answer", 0, cx->options.quiet);
    if (evaluate(&e->result, NULL, &e->setup.model, &cx->compute, &e->how, err)) return -1;
    if (e->how.prompts) progress_finish(&e->setup.bar, "");
    return 0;
}

static void print_measure(const char *name, const json_t *value)
{
    if (json_is_integer(value)) {
        printf("%-32s %12lld\n", name, (long long)json_integer_value(value));
        return;
    }
    printf("%-32s", name);
    const char *const keys[] = {"mean", "lo", "hi"};
    for (size_t i = 0; i < 3; i++) printf(" %12.5g", json_number_value(json_object_get(value, keys[i])));
    putchar('\n');
}

static int report(const Evaluating *e, const Options *o, Err *err)
{
    json_t *result = evaluation_json(&e->result, err);
    if (!result) return -1;
    if (o->json) return print_json(result, err);
    printf("%-32s %12s %12s %12s\n", "", "mean", "low", "high");
    for (void *at = json_object_iter(result); at; at = json_object_iter_next(result, at)) {
        json_t *value = json_object_iter_value(at), *parts = strcmp(json_object_iter_key(at), "rewards") ? NULL : value;
        if (!parts) print_measure(json_object_iter_key(at), value);
        for (void *part = json_object_iter(parts); part; part = json_object_iter_next(parts, part))
            print_measure(json_object_iter_key(part), json_object_iter_value(part));
    }
    json_decref(result);
    return 0;
}

static int run(CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    Evaluating e = {0};
    if (cx->word_count != 1) return err_input(err, "eval: expected one checkpoint folder, found %zu", cx->word_count);
    if (!o->prompts && !o->corpus && !o->test_corpus)
        return err_input(err, "eval: give --prompts FILE.jsonl (answers are measured), --corpus PATH (perplexity), or both");
    if ((o->reward.count || o->gold || o->reference) && !o->prompts)
        return err_input(err, "eval: --reward, --gold and --reference measure answers: --prompts FILE.jsonl is missing");
    if (o->best_of && !o->reward.count) return err_input(err, "eval: --best-of %zu: by which reward? --reward SPEC is missing", o->best_of);
    if (o->best_of && settings_given(cx->settings, "samples"))
        return err_input(err, "eval: --best-of %zu says how many answers are drawn: --samples has no place beside it", o->best_of);
    int status = prepare(&e, cx, err) || measure(&e, cx, err) || report(&e, o, err);
    documents_free(&e.documents);
    corpus_free(&e.corpus);
    reward_close(&e.rewards);
    setup_free(&e.setup);
    return status ? -1 : 0;
}

const Command command_eval = {
    .name = "eval",
    .operands = "CKPT",
    .summary = "reward, positive rate, perplexity, diversity and KL, with 95 % intervals",
    .groups = OPT_COMMON | OPT_PROMPTS | OPT_SAMPLE | OPT_RANK | OPT_ALIGN | OPT_EVAL | OPT_CORPUS,
    .except = "output force mode accept kl-beta algo expert iterations iteration stage-prompts eval-every explain stop-when replay replay-tokens replay-corpus",
    .defaults = "samples=1",
    .help = "eval CKPT --prompts P.jsonl [--reward SPEC --gold SPEC --reference CKPT --corpus HELDOUT] answers the prompts\n"
            "and measures the answers; --corpus adds the perplexity of human text. Answers are drawn from a random stream of their\n"
            "own: checkpoints that are compared with the same --seed meet the same random numbers. --temperature 0 measures the\n"
            "greedy answers. --best-of K draws K answers to a prompt and measures the one with the highest reward.",
    .needs_compute = true,
    .run = run,
};
