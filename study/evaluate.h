// SPDX-License-Identifier: MIT
/* evaluate.h - how good a model is: answers to fixed prompts, scored; perplexity of human text; diversity; KL to p0.
 *
 *     EvaluateOptions how = {.tokenizer = &tk, .prompts = &prompts, .rewards = &rewards, .reference = &p0,
 *                            .held_out = examples, .held_out_count = n, .sample = sample_defaults(), .seed = 1};  // sample.eos!
 *     Evaluation e;
 *     if (evaluate(&e, NULL, &model, &cx, &how, &err)) return -1;
 *     run_metrics(&run, evaluation_json(&e, &err), &err);
 *
 * Answers are drawn from STREAM_EVAL with iteration 0: two models answer the same prompts with the same random numbers, so
 * that their difference is not the luck of the draw. A measure that was not asked for has n == 0 and is not written.
 */
#ifndef RAFT_STUDY_EVALUATE_H
#define RAFT_STUDY_EVALUATE_H

#include "files/candidates.h"
#include "reward.h"
#include "sample.h"
#include "study/metrics.h"
#include "train.h"

#include <jansson.h>

typedef struct {
    const Tokenizer *tokenizer;
    const PromptList *prompts;  // tokenized; slot i asks prompt i
    size_t prompt_count;        // the first so many of them; 0: all
    RewardSet *rewards;         // NULL: none. Its gold, when there is one, is measured too
    const Model *reference;     // p0; NULL: no KL
    const Example *held_out;    // human text for perplexity; NULL: none
    size_t held_out_count;
    Measure *p0_perplexity;     // NULL, or where p0's is kept: n == 0 until it was measured, then it is not measured again
    SampleOptions sample;       // K, temperature, max_new, ...; stream, iteration and seed are set by evaluate
    SampleProgress progress;    // may be NULL
    void *progress_self;
    uint64_t seed;              // of the answers and of the bootstrap
    bool best_of;               // best-of-K: of each prompt's K answers only the one with the highest reward counts
} EvaluateOptions;

typedef struct {
    Measure reward, gold;                  // raw, of a response
    Measure gold_probability;              // sigma(gold), when gold is a head
    size_t part_count;
    Measure parts[REWARDS_MAX];            // each component unweighted
    const char *part_names[REWARDS_MAX];   // belong to the RewardSet
    Measure positive_rate;                 // share with gold > 0, or reward > 0 when there is no gold
    Measure perplexity;                    // of the held-out text
    Measure sample_perplexity;             // of the answers under the reference
    Measure distinct_1, distinct_2, unique_1, unique_2, msttr;
    Measure kl, kl_per_token;              // mean of log p - log p0, nats per response and per token
    Measure length;                        // tokens of a response
    size_t samples, tokens;                // answers counted; tokens generated, the discarded answers' included
    double sample_seconds;                 // wall clock of sampling: for timing.jsonl, never for metrics.jsonl
} Evaluation;

// answers: NULL, or receives the answers that were counted (an empty list; scored like candidates).
int evaluate(Evaluation *out, SampleList *answers, const Model *model, const Compute *cx, const EvaluateOptions *how, Err *err);
// The measures of answers that exist already and are scored (samples_score), such as a stage's candidates; no perplexity.
int evaluate_answers(Evaluation *out, const SampleList *answers, const EvaluateOptions *how, Err *err);
// {"reward":{"mean","lo","hi"},"positive_rate":{...},...}; NULL with an Err when memory is exhausted.
json_t *evaluation_json(const Evaluation *evaluation, Err *err);
// Adds evaluation_json's keys to an object that holds others already, such as "iteration".
int evaluation_add_json(json_t *object, const Evaluation *evaluation, Err *err);
// Reads back what evaluation_add_json wrote, without the single rewards; what is missing has n == 0. `where` names the place.
int evaluation_read(Evaluation *evaluation, const json_t *object, const char *where, Err *err);
void evaluation_between(Evaluation *out, const Evaluation *a, const Evaluation *b, double share); // each measure by metric_between
void evaluation_over_runs(Evaluation *out, const Evaluation *runs, size_t n); // each measure by metric_over_runs
// A table for people, each measure as "mean [low, high]"; no line breaks.
int evaluation_interval_heading(Text *out, Err *err);
int evaluation_interval_row(Text *out, const Evaluation *evaluation, Err *err);
// The same columns for a table in Markdown: " x [low, high] |" each, after what the caller begins a row with.
size_t evaluation_interval_columns(void);
int evaluation_markdown_heading(Text *out, Err *err);
int evaluation_markdown_row(Text *out, const Evaluation *evaluation, Err *err);
// A table for people: the heading, then one row an evaluation; tokens_per_s 0 leaves that column empty.
int evaluation_heading(Text *out, const char *label, Err *err);
int evaluation_row(Text *out, const char *label, const Evaluation *evaluation, double tokens_per_s, Err *err);

#endif
