// SPDX-License-Identifier: MIT
/* experiment.h - the whole story in one run directory: texts, tokenizer, language model, two reward heads, RAFT.
 *
 *     Experiment e;
 *     int status = experiment_open(&e, "demo", cx->settings, &cx->options, &cx->compute, err) ||
 *         experiment_make_tokenizer(&e, err) || experiment_make_language_model(&e, err) || experiment_make_heads(&e, err) || ...;
 *     experiment_close(&e);
 *
 * With --init CKPT tokenizer and language model are that checkpoint's, which is read where it lies and recorded by its hash;
 * --adapt trains it on the training reviews first. With --heads-from RUN the reward heads are those of an earlier run.
 *
 * Splits (docs/DESIGN.md section 7): training reviews go by a Philox shuffle to half A (proxy head) and half B (gold head);
 * prompts are the beginnings of training reviews. Of the test reviews the first half of each label, by sorted path, gives the
 * evaluation prompts, the second half held-out perplexity and head accuracy. Nothing is trained on test reviews.
 * With --resume finished stages are taken from the run directory and the one under way goes on (study/state.h).
 */
#ifndef RAFT_COMMANDS_EXPERIMENT_H
#define RAFT_COMMANDS_EXPERIMENT_H

#include "base/config.h"
#include "files/candidates.h"
#include "files/corpus.h"
#include "reward_head.h"
#include "study/alignment.h"
#include "study/documents.h"

// What a command that runs the experiment takes; the exceptions belong to commands that read prompts and texts from files.
#define EXPERIMENT_GROUPS (OPT_COMMON | OPT_RUN | OPT_CORPUS | OPT_TOKENIZER | OPT_MODEL | OPT_TRAIN | OPT_HEAD | OPT_EXPERIMENT)
#define ALIGNMENT_GROUPS (OPT_SAMPLE | OPT_RANK | OPT_ALIGN | OPT_PPO)
#define EXPERIMENT_EXCEPT "test-corpus pairs reference iteration explain replay-corpus"

typedef struct { uint32_t *items; size_t count; } Indices; // into a corpus

enum { PROXY, GOLD, HEADS };

typedef struct {
    const Settings *settings;
    const Options *options;
    const Compute *cx;
    Run run;
    RunState state;            // of the stage under way
    Corpus train, test;
    Indices half_a, half_b;    // of train
    Indices probe, held_out;   // of test
    Tokenizer tokenizer;
    int64_t eos;
    char *start;               // the folder that holds the language model
    Model model, reference;    // the policy, and p0: where alignment starts
    struct { char *folder; uint64_t hash; } heads[HEADS]; // NULL: --reward or --gold stand for it
    bool unwanted[HEADS];      // not to be made
    PromptList prompts, eval_prompts;
    char *human;               // the file with human answers, once it was asked for
    size_t human_tokens;       // which are at most so long
    Documents replayed;        // beginnings of the training texts, once they were asked for
    size_t replayed_tokens;    // each of which is at most so long
    Documents held_out_documents;
    Measure p0_perplexity;     // of them, once it was measured
    RewardSet rewards;
} Experiment;

// Reads --corpus (a .grammar file, or a folder with train/ and test/; default: the built-in reviews), opens the run.
int experiment_open(Experiment *e, const char *command, const Settings *settings, const Options *options, const Compute *cx, Err *err);
int experiment_make_tokenizer(Experiment *e, Err *err);      // RUN/tokenizer.json
int experiment_make_language_model(Experiment *e, Err *err); // RUN/lm
int experiment_make_heads(Experiment *e, Err *err);          // RUN/proxy, RUN/gold, RUN/heads.json
int heads_check_finished(const Experiment *e, Err *err);     // does a finished run hold the heads that are wanted?
// How people went on after the prompts of positive reviews, one after the other, at most --max-new tokens of it. Below 0: an error;
// above: no more are wanted.
typedef int (*HumanVisitor)(void *self, const Prompt *prompt, const TokenList *answer, Err *err);
int prompts_each_human(const Experiment *e, const Options *options, HumanVisitor visit, void *self, Err *err);
// Sampling, training, experts and texts to replay as the options of a stage say. The expert "human" answers prompts of positive reviews
// as their authors went on, at most --max-new tokens of it.
typedef struct { const char *paths[LIST_MAX], *names[LIST_MAX]; } ExpertNames; // lives as long as the policy
int experiment_policy_options(PolicyOptions *how, ExpertNames *names, Experiment *e, const Options *options, Err *err);
// The language model once more, to be trained; mapped from its file where that can be.
int experiment_copy_start(const Experiment *e, Model *copy, Err *err);
// Prompts, evaluation prompts, held-out texts, rewards, p0: what any way to align needs; of the options of its stage.
int experiment_prepare_alignment(Experiment *e, const Options *options, Err *err);
// Hashes of what the options name besides texts and start: rewards, gold, experts (human answers are of the texts, recorded already).
int experiment_record_given(Experiment *e, const Options *options, Err *err);
EvaluateOptions experiment_evaluation(Experiment *e, const Options *options); // one answer to each evaluation prompt, held-out texts
// From e->reference, with --max-new and so on of the options: the policy learns, and its answers are kept. ppo: NULL is RAFT.
int experiment_run_alignment(Alignment *alignment, Experiment *e, const Options *options, Policy *policy, const PpoOptions *ppo, Run *run,
    RunState *state, AlignmentListener listener, Err *err);
int experiment_align(Experiment *e, AlignmentListener listener, Err *err); // RUN/checkpoint, iter_*, samples_before/after.jsonl
void experiment_close(Experiment *e);

#endif
