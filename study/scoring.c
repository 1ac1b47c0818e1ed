// SPDX-License-Identifier: MIT
/* scoring.c - between rewards, which see texts, and candidates, which hold them. Knows no model. */
#include "study/scoring.h"

#include <string.h>

// What a reward leaves behind: one row of values for each component, and one for their sum, or for gold.
typedef struct { RewardInput *inputs; float **parts, *values, *total; } ScoreTable;

static void table_free(ScoreTable *t)
{
    mem_free(t->inputs);
    mem_free(t->parts);
    mem_free(t->values);
    mem_free(t->total);
}

static int table_init(ScoreTable *t, Sample *const *samples, size_t n, const RewardSet *rewards, Err *err)
{
    size_t floats;
    *t = (ScoreTable){0};
    if (rewards->count + 2 > REWARDS_MAX) return err_input(err, "more than %d rewards (besides gold and kl)", (int)REWARDS_MAX - 2);
    if (!size_multiply(n, rewards->count, &floats)) return err_failed(err, "out of memory: too many candidates");
    if (!(t->inputs = mem_new(err, n, sizeof *t->inputs)) || !(t->total = mem_new(err, n, sizeof *t->total))) return -1;
    if (!(t->parts = mem_new(err, rewards->count, sizeof *t->parts)) || !(t->values = mem_new(err, floats, sizeof *t->values)))
        return -1;
    for (size_t p = 0; p < rewards->count; p++) t->parts[p] = t->values + p * n;
    for (size_t i = 0; i < n; i++)
        t->inputs[i] = (RewardInput){.prompt = samples[i]->prompt, .prompt_length = samples[i]->prompt_length,
            .text = samples[i]->text, .text_length = samples[i]->text_length};
    return 0;
}

int samples_score(Sample *const *samples, size_t n, RewardSet *rewards, Err *err)
{
    ScoreTable t;
    int status = table_init(&t, samples, n, rewards, err);
    if (!status) status = reward_score(rewards, t.inputs, n, t.total, t.parts, err);
    for (size_t i = 0; i < n && !status; i++) {
        samples[i]->scored = true;
        samples[i]->reward = t.total[i];
        for (size_t p = 0; p < rewards->count && !status; p++)
            status = sample_set_reward(samples[i], reward_name(rewards, p), t.parts[p][i], err);
    }
    table_free(&t);
    return status;
}

int samples_score_gold(Sample *const *samples, size_t n, RewardSet *rewards, Err *err)
{
    ScoreTable t;
    if (!rewards->gold) return 0;
    int status = table_init(&t, samples, n, rewards, err);
    if (!status) status = reward_score_gold(rewards, t.inputs, n, t.total, err);
    for (size_t i = 0; i < n && !status; i++) status = sample_set_reward(samples[i], "gold", t.total[i], err);
    table_free(&t);
    return status;
}

static int score_candidates(RewardSet *rewards, CandidateList *candidates, bool gold, Err *err)
{
    size_t n = candidates->count;
    Sample **samples = mem_new(err, n, sizeof *samples);
    for (size_t i = 0; samples && i < n; i++) samples[i] = candidates->items[i].item;
    int status = samples ? samples_score(samples, n, rewards, err) : -1;
    if (!status && gold) status = samples_score_gold(samples, n, rewards, err);
    for (size_t i = 0; !status && i < n; i++) candidates->items[i].score = samples[i]->reward;
    mem_free(samples);
    return status;
}

static int score_all(void *self, CandidateList *candidates, Err *err)
{
    RewardSet *rewards = self;
    return score_candidates(rewards, candidates, true, err);
}

static int score_without_gold(void *self, CandidateList *candidates, Err *err) { return score_candidates(self, candidates, false, err); }

Reward reward_source(RewardSet *rewards, bool gold) { return (Reward){.self = rewards, .score = gold ? score_all : score_without_gold}; }

int candidates_record(const CandidateList *candidates, Err *err)
{
    for (size_t i = 0; i < candidates->count; i++) {
        const Candidate *c = candidates->items + i;
        Sample *sample = c->item;
        sample->scored = sample->ranked = true;
        sample->reward = c->reward;
        sample->rank = c->rank;
        sample->selected = c->selected;
        if (sample->has_reference && sample_set_reward(sample, "kl", c->log_ratio, err)) return -1;
    }
    return 0;
}

int candidates_write(const CandidateList *candidates, const char *path, Err *err)
{
    SampleList view = {.count = candidates->count}; // borrows what the items own
    if (!(view.items = mem_new(err, candidates->count, sizeof *view.items))) return -1;
    for (size_t i = 0; i < view.count; i++) view.items[i] = *(const Sample *)candidates->items[i].item;
    int status = samples_write(&view, path, err);
    mem_free(view.items);
    return status;
}

bool sample_reward(float *value, const Sample *sample, const char *name)
{
    for (size_t i = 0; i < sample->reward_count; i++)
        if (!strcmp(sample->reward_names[i], name)) {
            *value = sample->reward_values[i];
            return true;
        }
    return false;
}
