// SPDX-License-Identifier: MIT
/* trace_iteration.c - one RAFT iteration under observation. The iteration is raft.c's own, on the policy that align would use; here
 * is only what is noted at each hook. Start at trace_iteration. */
#include "study/trace.h"

#include <stdio.h>
#include <string.h>

#include "study/scoring.h"

typedef struct {
    Recorder recorder;
    Raft raft;
    const Policy *policy;
    size_t rows;           // of the step under way, in all its micro-batches
    TraceSummary *summary;
} Iteration;

static void end_step(Iteration *it)
{
    char file[40];
    snprintf(file, sizeof file, "step_%03zu.safetensors", it->summary->steps++);
    recorder_end_part(&it->recorder, file, &it->recorder.failure); // told at the end: a hook has no way to stop the step
    recorder_prefix(&it->recorder, "step.%03zu.", it->summary->steps);
    it->rows = 0;
}

// ---- hooks of the computation (observe.h) --------------------------------------------------------------------------------

static void on_choice(void *self, const SeenChoice *seen)
{
    Iteration *it = self;
    Recorder *r = &it->recorder;
    if (seen->k >= it->raft.samples) return; // an expert's own arithmetic; its answer is noted when all are collected
    recorder_rows(r, seen->logits, 1, seen->vocab, seen->vocab, "%03u.%03zu.logits", (unsigned)seen->slot, seen->k);
    recorder_integer(r, seen->token, "%03u.%03zu.tokens", (unsigned)seen->slot, seen->k);
    recorder_rows(r, &seen->logprob, 1, 0, 0, "%03u.%03zu.logprobs", (unsigned)seen->slot, seen->k);
}

static void on_pass(void *self, PassPoint point, size_t layer, const Model *model, const Workspace *ws)
{
    Iteration *it = self;
    if (!ws->training) return; // of sampling and of p0 only logits and sums are noted
    if (point == PASS_EMBEDDED) {
        for (size_t i = 0; i < ws->rows; i++) recorder_integer(&it->recorder, ws->ids[i], "input_ids");
        for (size_t i = 0; i < ws->rows; i++) recorder_integer(&it->recorder, ws->position[i], "positions");
        it->rows += ws->rows;
    }
    trace_record_pass(&it->recorder, point, layer, model, ws);
}

static void on_loss(void *self, const SeenLoss *seen)
{
    Iteration *it = self;
    Recorder *r = &it->recorder;
    size_t D = seen->model->config.dim, V = seen->model->config.vocab;
    for (size_t i = 0; i < seen->rows; i++) recorder_integer(r, it->rows - seen->ws->rows + seen->row[i], "target_rows");
    for (size_t i = 0; i < seen->rows; i++) recorder_integer(r, seen->target[i], "targets");
    recorder_rows(r, seen->normed, seen->rows, D, D, "norm");
    recorder_rows(r, seen->logits, seen->rows, V, V, "logits");
}

static void on_step(void *self, const SeenStep *seen)
{
    Iteration *it = self;
    Recorder *r = &it->recorder;
    const float loss = (float)seen->loss, norm = (float)seen->grad_norm, lr = (float)seen->lr;
    recorder_rows(r, seen->logprob, seen->targets, 0, 0, "logprobs");
    recorder_rows(r, &loss, 1, 0, 0, "loss");
    trace_record_gradients(r, seen->model, seen->gradient);
    recorder_rows(r, &norm, 1, 0, 0, "grad_norm");
    recorder_rows(r, &lr, 1, 0, 0, "lr");
    trace_record_parameters(r, seen->model, "after");
    end_step(it);
}

// ---- between the steps of the algorithm (raft.h) ---------------------------------------------------------------------------

static int note_start(Iteration *it, size_t iteration, Err *err)
{
    Recorder *r = &it->recorder;
    const Raft *raft = &it->raft;
    size_t b = raft->stage ? raft->stage : raft->prompts;
    size_t *chosen = mem_new(err, b, sizeof *chosen);
    uint32_t *order = chosen ? mem_new(err, raft->prompts, sizeof *order) : NULL;
    int status = order ? 0 : -1;
    trace_record_parameters(r, it->policy->model, "start");
    if (!status) status = recorder_end_part(r, "start.safetensors", err);
    if (!status) {
        recorder_prefix(r, "collect.");
        raft_stage_prompts(chosen, b, raft->prompts, iteration, raft->seed, order);
        for (size_t i = 0; i < b; i++) recorder_integer(r, chosen[i], "prompts");
        for (size_t i = 0; i < b; i++) {
            const TokenList *ids = &it->policy->prompts->items[chosen[i]].ids;
            for (size_t j = 0; j < ids->length; j++) recorder_integer(r, ids->ids[j], "%03zu.prompt", i);
        }
    }
    mem_free(chosen);
    mem_free(order);
    return status;
}

static void note_collected(Iteration *it, const CandidateList *list)
{
    Recorder *r = &it->recorder;
    for (size_t i = 0; i < list->count; i++) {
        const Sample *s = list->items[i].item;
        for (size_t t = 0; s->k >= it->raft.samples && t < s->tokens.length; t++) // of experts, whose logits are not the policy's
            recorder_integer(r, s->tokens.ids[t], "%03zu.%03zu.tokens", s->slot, s->k);
        recorder_rows(r, &s->logprob, 1, 0, 0, "logprob");
    }
}

static int note_reference(Iteration *it, const CandidateList *list, Err *err)
{
    Recorder *r = &it->recorder;
    for (size_t i = 0; i < list->count; i++) recorder_rows(r, &((const Sample *)list->items[i].item)->ref_logprob, 1, 0, 0, "ref_logprob");
    return recorder_end_part(r, "collect.safetensors", err);
}

static int note_ranked(Iteration *it, const CandidateList *list, Err *err)
{
    Recorder *r = &it->recorder;
    if (note_reference(it, list, err)) return -1; // p0 was asked after the rewards
    recorder_prefix(r, "rank.");
    for (size_t i = 0; i < list->count; i++) {
        const Candidate *c = list->items + i;
        const Sample *s = c->item;
        for (size_t p = 0; p < s->reward_count; p++) { // a part's name may hold a path of this machine: its place is its name
            if (!strcmp(s->reward_names[p], "gold")) recorder_rows(r, s->reward_values + p, 1, 0, 0, "gold");
            else recorder_rows(r, s->reward_values + p, 1, 0, 0, "part.%zu", p);
        }
        recorder_rows(r, &c->score, 1, 0, 0, "score");
        recorder_rows(r, &c->log_ratio, 1, 0, 0, "log_ratio");
        recorder_rows(r, &c->reward, 1, 0, 0, "reward");
        recorder_integer(r, c->rank, "rank");
        recorder_integer(r, c->selected, "selected");
        it->summary->selected += c->selected;
    }
    it->summary->candidates = list->count;
    int status = recorder_end_part(r, "rank.safetensors", err);
    recorder_prefix(r, "step.000.");
    return status;
}

static int on_algorithm(void *self, const char *step, size_t iteration, const CandidateList *candidates, Err *err)
{
    (void)iteration;
    if (!strcmp(step, "collected")) note_collected(self, candidates);
    return strcmp(step, "ranked") ? 0 : note_ranked(self, candidates, err);
}

int trace_iteration(Policy *policy, RewardSet *rewards, const Raft *how, size_t iteration, const char *folder, bool hashes_only,
    TraceSummary *summary, Err *err)
{
    *summary = (TraceSummary){0};
    Iteration it = {.raft = *how, .policy = policy, .summary = summary};
    const Observer observer = {.self = &it, .pass = on_pass, .loss = on_loss, .choice = on_choice, .step = on_step};
    const Compute *unwatched = policy->cx;
    Compute watched = *unwatched;
    watched.observer = &observer;
    policy->cx = &watched;
    it.raft.generator = policy_generator(policy);
    it.raft.reward = reward_source(rewards, true);
    it.raft.measure_kl = true;
    it.raft.observer = on_algorithm;
    it.raft.observer_self = &it;
    int status = recorder_open(&it.recorder, folder, hashes_only, err);
    if (!status) status = note_start(&it, iteration, err);
    if (!status) status = raft_iteration(&it.raft, iteration, err);
    if (!status && it.recorder.failure.status) *err = it.recorder.failure, status = -1;
    if (!status) status = recorder_finish(&it.recorder, err);
    summary->tensors = it.recorder.written;
    summary->loss = policy->last.loss;
    policy->cx = unwatched;
    recorder_free(&it.recorder);
    return status;
}
