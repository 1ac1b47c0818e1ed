// SPDX-License-Identifier: MIT
/* alignment.c - what surrounds raft.c in a run: measuring, writing down, saving. Start reading at alignment_run.
 *
 * Knows nothing of options or printing, and makes no decision that the algorithm makes.
 */
#include "study/alignment.h"

#include <stdio.h>
#include <string.h>

#include "files/checkpoint.h"
#include "study/scoring.h"

// ---- progress ------------------------------------------------------------------------------------------------------------------

static int sample_progress(void *self, size_t tokens, size_t done, size_t total)
{
    Alignment *a = self;
    a->bar.total = total;
    progress_update(&a->bar, done, tokens, "");
    return 0;
}

static int train_progress(void *self, size_t step, size_t steps, const StepStats *stats)
{
    Alignment *a = self;
    char note[40];
    a->bar.total = steps;
    snprintf(note, sizeof note, "loss %.3f", stats->loss);
    progress_update(&a->bar, step, a->bar.tokens + stats->tokens, note);
    return 0;
}

// ---- a line of metrics --------------------------------------------------------------------------------------------------------

static json_t *stage_json(const Alignment *a)
{
    json_t *stage = json_pack("{s:I,s:I}", "candidates", (json_int_t)a->all.n, "selected", (json_int_t)a->kept.n);
    int bad = json_object_set_new(stage, "reward", json_float(a->all.mean));
    bad |= json_object_set_new(stage, "selected_reward", json_float(a->kept.mean));
    bad |= json_object_set_new(stage, "kl", json_float(a->kl.mean));
    if (!bad) return stage;
    json_decref(stage);
    return NULL;
}

static json_t *train_json(const StepStats *s)
{
    return json_pack("{s:o,s:o,s:I,s:I}", "loss", json_float(s->loss), "grad_norm", json_float(s->grad_norm), "tokens",
        (json_int_t)s->tokens, "targets", (json_int_t)s->targets);
}

// The model after `iteration` iterations, and the iteration that led there when there was one.
static int write_measures(Alignment *a, size_t iteration, const Evaluation *e, bool after_training, double tokens_per_s, Err *err)
{
    json_t *line = json_pack("{s:I}", "iteration", (json_int_t)iteration);
    int status = evaluation_add_json(line, e, err);
    if (!status && after_training && (json_object_set_new(line, "stage", stage_json(a)) ||
        json_object_set_new(line, "train", train_json(&a->policy->last))))
        status = err_failed(err, "out of memory, or a loss that is no number, in iteration %zu", iteration - 1);
    if (!status) status = run_metrics(a->run, json_incref(line), err);
    if (!status && a->listener.measured) status = a->listener.measured(a->listener.self, iteration, e, tokens_per_s, line, err);
    json_decref(line);
    return status;
}

static double rate(size_t tokens, double seconds) { return seconds > 0 ? (double)tokens / seconds : 0; }

static int write_answers(const Alignment *a, size_t iteration, const SampleList *answers, Err *err)
{
    if (!a->keep_answers || (iteration && iteration != a->iterations)) return 0;
    char *path = run_path(a->run, iteration ? "samples_after.jsonl" : "samples_before.jsonl", err);
    int status = path ? samples_write(answers, path, err) : -1;
    mem_free(path);
    return status;
}

static int measure_model(Alignment *a, size_t iteration, Err *err)
{
    Evaluation e;
    if (!a->evaluate->prompts) return 0;
    a->evaluate->progress = sample_progress;
    a->evaluate->progress_self = a;
    progress_start(&a->bar, "evaluate", "answer", 0, a->quiet);
    SampleList answers = {0};
    if (evaluate(&e, &answers, a->policy->model, a->policy->cx, a->evaluate, err)) return -1;
    progress_finish(&a->bar, "");
    int status = write_answers(a, iteration, &answers, err);
    samples_free(&answers);
    if (status) return -1;
    if (run_timing(a->run, "evaluate", e.sample_seconds, e.tokens, err)) return -1;
    return write_measures(a, iteration, &e, iteration > 0, rate(e.tokens, e.sample_seconds), err);
}

// ---- what an iteration leaves behind ------------------------------------------------------------------------------------------

// The candidates as if they were answers to evaluation prompts; their samples still hold the raw reward.
static int evaluate_stage(Alignment *a, const CandidateList *candidates, Err *err)
{
    SampleList view = {.count = candidates->count}; // borrows what the items own
    if (!(view.items = mem_new(err, view.count, sizeof *view.items))) return -1;
    for (size_t i = 0; i < view.count; i++) view.items[i] = *(const Sample *)candidates->items[i].item;
    a->stage = (Evaluation){.tokens = a->policy->sampled_tokens, .sample_seconds = a->policy->sample_seconds};
    int status = evaluate_answers(&a->stage, &view, a->evaluate, err);
    mem_free(view.items);
    return status;
}

static int measure_stage(Alignment *a, const CandidateList *candidates, Err *err)
{
    size_t n = candidates->count, kept = 0;
    float *values = mem_new(err, n, sizeof *values);
    if (!values) return -1;
    for (size_t i = 0; i < n; i++) values[i] = candidates->items[i].score;
    a->all = metric_mean(values, n);
    for (size_t i = 0; i < n; i++) values[i] = candidates->items[i].log_ratio;
    a->kl = metric_mean(values, n);
    for (size_t i = 0; i < n; i++)
        if (candidates->items[i].selected) values[kept++] = candidates->items[i].score;
    a->kept = metric_mean(values, kept);
    mem_free(values);
    return a->evaluate->prompts ? 0 : evaluate_stage(a, candidates, err);
}

static int after_ranking(Alignment *a, size_t iteration, const CandidateList *candidates, Err *err)
{
    char name[64];
    snprintf(name, sizeof name, "iter_%03zu/candidates.jsonl", iteration);
    if (measure_stage(a, candidates, err) || candidates_record(candidates, err)) return -1;
    char *path = run_path(a->run, name, err);
    int status = path ? candidates_write(candidates, path, err) : -1;
    mem_free(path);
    if (!status && a->listener.ranked) status = a->listener.ranked(a->listener.self, iteration, candidates, err);
    progress_start(&a->bar, "fine-tune", "step", 0, a->quiet);
    return status;
}

static int save_checkpoint(const Alignment *a, Err *err)
{
    char *path = run_path(a->run, "checkpoint", err);
    int status = path ? checkpoint_save(path, a->policy->model, a->policy->tokenizer, err) : -1;
    mem_free(path);
    return status;
}

static int after_step(void *self, const char *step, size_t iteration, const CandidateList *candidates, Err *err)
{
    Alignment *a = self;
    char note[80];
    if (!strcmp(step, "collected")) {
        progress_finish(&a->bar, "");
        return run_timing(a->run, "collect", a->policy->sample_seconds, a->policy->sampled_tokens, err);
    }
    if (!strcmp(step, "ranked")) return after_ranking(a, iteration, candidates, err);
    snprintf(note, sizeof note, "%zu of %zu kept, loss %.3f", a->kept.n, candidates->count, a->policy->last.loss);
    progress_finish(&a->bar, note);
    if (run_timing(a->run, "finetune", a->policy->train_seconds, a->policy->last.tokens, err)) return -1;
    if (save_checkpoint(a, err)) return -1;
    if (a->evaluate->prompts) return 0;
    return write_measures(a, iteration, &a->stage, true, rate(a->stage.tokens, a->stage.sample_seconds), err);
}

int alignment_run(Alignment *a, Run *run, Err *err)
{
    Raft *raft = &a->raft;
    a->run = run;
    a->policy->sample_progress = sample_progress;
    a->policy->train_progress = train_progress;
    a->policy->progress_self = a;
    raft->generator = policy_generator(a->policy);
    raft->reward = reward_source(a->rewards);
    raft->observer = after_step;
    raft->observer_self = a;
    if (measure_model(a, 0, err)) return -1;
    for (size_t t = 0; t < a->iterations; t++) {
        progress_start(&a->bar, "collect", "answer", 0, a->quiet);
        if (raft_iteration(raft, t, err)) return err_prefix(err, "iteration %zu", t);
        if (measure_model(a, t + 1, err)) return -1;
    }
    return 0;
}
