// SPDX-License-Identifier: MIT
/* policy.h - a language model as RAFT's Generator: sampling, fine-tuning on what was chosen, answers of other experts.
 *
 *     Policy policy;
 *     if (policy_init(&policy, &model, &reference, &tokenizer, &prompts, &cx, &options, &err)) return -1;
 *     Raft raft = {.generator = policy_generator(&policy), .prompts = prompts.count, ...};
 *
 * An item (raft.h) is a Sample (files/candidates.h), with its log-probability under the policy and, once asked for, under p0.
 */
#ifndef RAFT_POLICY_H
#define RAFT_POLICY_H

#include "files/candidates.h"
#include "raft.h"
#include "sample.h"
#include "train.h"

typedef struct {
    SampleOptions sample;
    TrainOptions train;         // AdamW and schedule start afresh each stage
    uint64_t seed;
    /* Other experts: "answers.jsonl" (lines: prompt_id or prompt, and text, or response_ids), whose text is tokenized as it stands, so that one
     * that ends says so ("...<|endoftext|>"); or a checkpoint folder with the policy's tokenizer, which gives K answers, expert e
     * drawing as candidates (e+1)*K, (e+1)*K + 1, ... */
    const char *const *experts;
    const char *const *expert_names; // what candidates call them; NULL: as they are given
    size_t expert_count;
    /* Experience replay: beside n chosen answers ceil(replay * n) texts of people are read, as further examples (Lin et al., arXiv
     * 2309.06256, compare it with other means against what alignment forgets). A shuffled deck of `texts`, dealt stage after stage. */
    double replay;              // 0: none
    const Example *texts;       // [text_count], each within the context
    size_t text_count;
} PolicyOptions;

typedef struct Expert Expert;
typedef struct {
    Model *model;
    const Model *reference;     // p0; may be `model` itself; while both are equal every log ratio is zero and p0 is not evaluated
    const Tokenizer *tokenizer;
    const PromptList *prompts;  // tokenized
    const Compute *cx;
    PolicyOptions options;
    Expert *experts;
    SampleProgress sample_progress;  // may be NULL
    TrainProgress train_progress;    // may be NULL
    void *progress_self;
    StepStats last;             // of the last fine-tuning
    double sample_seconds, train_seconds; // wall clock of the last sampling by the policy and of the last fine-tuning: for
    size_t sampled_tokens;                // timing.jsonl and people, never for metrics.jsonl
} Policy;

int policy_init(Policy *policy, Model *model, const Model *reference, const Tokenizer *tokenizer, const PromptList *prompts,
    const Compute *cx, const PolicyOptions *options, Err *err);
void policy_free(Policy *policy);
Generator policy_generator(Policy *policy);

// too long: status 2, named
int policy_tokenize_prompts(PromptList *prompts, const Tokenizer *tokenizer, size_t context, size_t max_new, Err *err);
// The steps behind the generator, also used by the commands that work on files.
int policy_collect(Policy *policy, SampleList *out, const size_t *prompts, size_t b, size_t K, size_t iteration, Err *err);
// ref_logprob of those samples that have none yet.
int policy_measure_reference(const Policy *policy, Sample *const *samples, size_t count, Err *err);
// A sample as raft.c sees it; `prompt` is its prompt's index among all. Its log ratio is 0 while p0 was not asked.
Candidate policy_candidate(Sample *sample, size_t prompt);
// Samples, which are moved out of the list, as candidates that the generator releases; slot i asked prompts[i].
int policy_candidates(CandidateList *out, SampleList *samples, const size_t *prompts, Err *err);
// Prompt and response in one row of tokens each, as training and evaluation read them.
typedef struct { Example *examples; uint32_t *ids; size_t count; } ExampleList;
int policy_examples(ExampleList *list, const Sample *const *samples, size_t count, Err *err); // free it after an error, too
void policy_examples_free(ExampleList *list);
// How many texts are read beside so many chosen answers.
size_t policy_replayed(double replay, size_t chosen);
// Cross-entropy on the selected samples' responses, and on the texts that are read beside them.
int policy_finetune(Policy *policy, const SampleList *samples, size_t iteration, Err *err);

#endif
