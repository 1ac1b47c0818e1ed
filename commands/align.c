// SPDX-License-Identifier: MIT
/* align.c - raft align: iterations of RAFT, or of PPO, in a run directory, with a table of what they changed. */
#include "commands/commands.h"
#include "commands/learning.h"
#include "commands/policies.h"
#include "files/chat.h"
#include "files/checkpoint.h"
#include "study/alignment.h"
#include "study/documents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    PolicySetup setup;
    RewardSet rewards;
    Corpus corpus;
    Documents documents;
    EvaluateOptions evaluate;
    Alignment alignment;
    PpoOptions ppo;
    Run run;
    RunState state;
    const Options *options;
    bool headed;       // the table has its heading
    json_t *lines;     // of metrics.jsonl, for --json
} Align;

// ---- what a reader sees -------------------------------------------------------------------------------------------------------

static int by_rank_of_reward(const void *left, const void *right)
{
    const Candidate *a = *(const Candidate *const *)left, *b = *(const Candidate *const *)right;
    if (a->reward != b->reward) return a->reward > b->reward ? -1 : 1;
    return a->k < b->k ? -1 : a->k > b->k;
}

// --explain: the first prompt of the stage, the answers to it from best to worst, and what was kept.
static int explain(size_t iteration, const CandidateList *candidates, Err *err)
{
    size_t n = 0;
    while (n < candidates->count && candidates->items[n].slot == candidates->items[0].slot) n++;
    const Candidate **order = mem_new(err, n, sizeof *order);
    if (!order) return -1;
    for (size_t i = 0; i < n; i++) order[i] = candidates->items + i;
    qsort(order, n, sizeof *order, by_rank_of_reward);
    const Sample *first = candidates->items[0].item;
    printf("\niteration %zu, prompt \"%s\": ", iteration, first->prompt_id);
    print_flat(first->prompt, first->prompt_length);
    putchar('\n');
    for (size_t i = 0; i < n; i++) {
        const Candidate *c = order[i];
        const Sample *s = c->item;
        printf("%s k %-3zu reward %8.4f  ", c->selected ? "  kept" : "      ", c->k, (double)c->reward);
        if (c->reward != c->score) printf("(r %.4f, log p/p0 %.3f)  ", (double)c->score, (double)c->log_ratio);
        if (!sample_is_own(s)) printf("[%s] ", s->source);
        print_flat(s->text, s->text_length);
        putchar('\n');
    }
    putchar('\n');
    mem_free(order);
    return 0;
}

static int on_ranked(void *self, size_t iteration, const CandidateList *candidates, Err *err)
{
    const Align *a = self;
    return a->options->explain && !a->options->json && candidates->count ? explain(iteration, candidates, err) : 0;
}

static int on_measured(void *self, size_t iteration, const Evaluation *e, double tokens_per_s, const json_t *line, Err *err)
{
    Align *a = self;
    Text row = {0};
    char label[32];
    if (a->options->json) {
        bool kept = !json_array_append(a->lines, (json_t *)(uintptr_t)line);
        return kept ? 0 : err_failed(err, "out of memory while recording metrics");
    }
    if (!e) return 0;
    snprintf(label, sizeof label, "%zu", iteration);
    int status = a->headed && !a->options->explain ? 0 : evaluation_heading(&row, "iteration", err);
    a->headed = true;
    if (!status) status = evaluation_row(&row, label, e, tokens_per_s, err);
    if (!status) fputs(row.data, stdout);
    fflush(stdout);
    text_free(&row);
    return status;
}

// ---- the run ------------------------------------------------------------------------------------------------------------------

static int check_options(const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    if (cx->word_count != 1) return err_input(err, "align: expected one checkpoint folder, found %zu", cx->word_count);
    if (!o->prompts) return err_input(err, "align: --prompts FILE.jsonl is missing");
    if (!o->reward.count)
        return err_input(err, "align: --reward SPEC is missing (head:DIR, lexicon:FILE, length:N or command:PROGRAM)");
    if (!o->output) return err_input(err, "align: -o RUN is missing (the run directory)");
    if (refuse_ppo_options(cx->settings, o, err)) return -1;
    if (o->temperature == 0)
        return err_input(err, "align: --temperature must be above 0: greedy answers to a prompt are all the same");
    return 0;
}

static int prepare(Align *a, const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    PolicySetup *s = &a->setup;
    if (setup_model(s, cx->words[0], err) || setup_prompts(s, o, err) || setup_reference(s, o, true, err)) return -1;
    if (wants_ppo(o) && model_add_value_head(&s->model, err)) return -1;
    if (setup_policy(s, o, &cx->compute, err)) return -1;
    if (setup_rewards(&a->rewards, o, &cx->compute, err)) return -1;
    const ModelConfig *c = &s->model.config;
    if (o->test_corpus && (read_texts(&a->corpus, o->test_corpus, o, err) ||
            documents_encode(&a->documents, &a->corpus, NULL, a->corpus.count, &s->tokenizer, c->eos, c->context, err))) return -1;
    a->evaluate = (EvaluateOptions){.tokenizer = &s->tokenizer, .prompts = o->eval_prompts ? &s->prompts : NULL,
        .prompt_count = o->eval_prompts,
        .rewards = &a->rewards, .reference = s->reference, .held_out = a->documents.examples, .held_out_count = a->documents.count,
        .sample = sample_options(o, c), .seed = o->seed};
    a->evaluate.sample.samples = 1;
    a->ppo = ppo_options(o);
    a->options = o;
    if (alignment_options(&a->alignment, o, s->prompts.count, o->gold, err)) return -1;
    a->alignment.policy = &s->policy;
    a->alignment.rewards = &a->rewards;
    a->alignment.evaluate = &a->evaluate;
    a->alignment.ppo = wants_ppo(o) ? &a->ppo : NULL;
    a->alignment.state = &a->state;
    a->alignment.listener = (AlignmentListener){.self = a, .ranked = on_ranked, .measured = on_measured};
    if (wants_ppo(o) && ppo_check(&s->policy.options, &a->alignment.raft.rank, err)) return -1;
    return (a->lines = json_array()) ? 0 : err_failed(err, "out of memory");
}

static int record_inputs(Align *a, const CommandContext *cx, Err *err)
{
    const Options *o = a->options;
    const char *start = cx->words[0];
    if (run_open(&a->run, o->output, "align", cx->settings, o, &cx->compute, err)) return -1;
    if (o->test_corpus && run_record_input(&a->run, "test_corpus_hash", a->corpus.hash, o->test_corpus, err)) return -1;
    return run_record_input(&a->run, "start_hash", checkpoint_hash(&a->setup.model), start, err) ||
        run_record_input(&a->run, "reference_hash", checkpoint_hash(a->setup.reference), o->reference ? o->reference : start, err) ||
        run_record_input(&a->run, "tokenizer_hash", tokenizer_hash(&a->setup.tokenizer), start, err) ||
        run_record_file(&a->run, "prompts_hash", o->prompts, err) || record_sources(&a->run, o, err) || record_replay(&a->run, &a->setup, o, err) ? -1 : 0;
}

static int report(Align *a, Err *err)
{
    if (a->options->json) return print_json(json_pack("{s:s,s:O}", "output", a->options->output, "iterations", a->lines), err);
    printf("%s: checkpoint, metrics.jsonl, iter_*/candidates.jsonl\n", a->options->output);
    return 0;
}

// What was trained from a chat model is one.
static int keep_template(const Align *a, Err *err)
{
    char *path = run_path(&a->run, "checkpoint", err);
    int status = path ? chat_copy_files(path, a->setup.folder, err) : -1;
    mem_free(path);
    return status;
}

static int align(Align *a, Err *err)
{
    const Options *o = a->options;
    if (a->run.finished) return tell_finished(&a->run, o, err);
    return state_open(&a->state, &a->run, "align", o->save_every, err) || alignment_run(&a->alignment, &a->run, err) || keep_template(a, err) ||
        run_record_hash(&a->run, "checkpoint_hash", checkpoint_hash(&a->setup.model), err) || report(a, err) || run_finish(&a->run, err) ? -1 : 0;
}

static int run(CommandContext *cx, Err *err)
{
    Align a = {0};
    if (check_options(cx, err)) return -1;
    int status = prepare(&a, cx, err) || record_inputs(&a, cx, err) || align(&a, err);
    json_decref(a.lines);
    state_close(&a.state);
    run_close(&a.run);
    documents_free(&a.documents);
    corpus_free(&a.corpus);
    reward_close(&a.rewards);
    setup_free(&a.setup);
    return status ? -1 : 0;
}

const Command command_align = {
    .name = "align",
    .operands = "CKPT",
    .summary = "RAFT (or PPO): collect, rank, fine-tune, again and again, in a run directory",
    .groups = OPT_COMMON | OPT_RUN | OPT_PROMPTS | OPT_SAMPLE | OPT_TRAIN | OPT_RANK | OPT_ALIGN | OPT_PPO | OPT_CORPUS,
    .except = "corpus iteration",
    .defaults = STAGE_TRAIN_DEFAULTS " eval-prompts=64",
    .help = "align CKPT --prompts P.jsonl --reward SPEC -o RUN leaves RUN/checkpoint (after every iteration), metrics.jsonl\n"
            "(a line an iteration, 0 is before), iter_NNN/candidates.jsonl (ranked), provenance.json and timing.jsonl. The table\n"
            "measures answers to the first --eval-prompts prompts, drawn from a random stream of their own; with 0, each stage's\n"
            "candidates. --gold SPEC is measured on those answers and never optimised; --test-corpus adds the perplexity of human text; --explain\n"
            "shows answers and what was kept of them.\n"
            "--algo ppo: proximal policy optimisation instead, on the same prompts and reward. Every answer is learned from, in steps of\n"
            "--batch answers, --epochs times; the rate's schedule goes over the whole run. The checkpoint then holds the value head, too.",
    .needs_compute = true,
    .run = run,
};
