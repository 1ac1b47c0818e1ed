// SPDX-License-Identifier: MIT
/* raft.c - Reward rAnked FineTuning: Algorithm 1 of Dong et al., TMLR 2023 (arXiv 2304.06767), and nothing else.
 *
 * Start at raft_iteration(). What an answer is, how it is drawn and how a model learns is behind Generator (policy.c); what
 * makes an answer good is behind Reward (reward.c). No gradient flows through a reward: it only decides what is kept.
 */
#include "raft.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/philox.h"

static int observe(const Raft *raft, const char *step, size_t iteration, const CandidateList *candidates, Err *err)
{
    return raft->observer ? raft->observer(raft->observer_self, step, iteration, candidates, err) : 0;
}

int raft_iteration(Raft *raft, size_t iteration, Err *err)
{
    CandidateList candidates = {0};
    int status = raft_collect(raft, &candidates, iteration, err);
    if (!status) status = observe(raft, "collected", iteration, &candidates, err);
    if (!status) status = raft_rank(raft, &candidates, err);
    if (!status) status = observe(raft, "ranked", iteration, &candidates, err);
    if (!status) status = raft_finetune(raft, &candidates, iteration, err);
    if (!status) status = observe(raft, "finetuned", iteration, &candidates, err);
    raft_release(raft, &candidates);
    return status;
}

// ---- step 1: data collection ---------------------------------------------------------------------------------------------

// K answers to each of the b prompts of this stage: y_1 .. y_K ~ p(. | x), at temperature lambda.
int raft_collect(const Raft *raft, CandidateList *out, size_t iteration, Err *err)
{
    size_t b = raft->stage ? raft->stage : raft->prompts;
    size_t *stage = mem_new(err, b, sizeof *stage);
    uint32_t *order = stage ? mem_new(err, raft->prompts, sizeof *order) : NULL;
    int status = -1;
    if (order) {
        raft_stage_prompts(stage, b, raft->prompts, iteration, raft->seed, order);
        status = raft->generator.sample(raft->generator.self, out, stage, b, raft->samples, iteration, err);
    }
    mem_free(stage);
    mem_free(order);
    return status;
}

void raft_stage_prompts(size_t *chosen, size_t b, size_t prompts, size_t iteration, uint64_t seed, uint32_t *order)
{
    philox_deal(chosen, b, iteration * b, prompts, seed, STREAM_SHUFFLE_PROMPTS, order);
}

// ---- step 2: data ranking ------------------------------------------------------------------------------------------------

int raft_rank(const Raft *raft, CandidateList *candidates, Err *err)
{
    bool needs_p0 = raft->rank.kl_beta != 0 || raft->measure_kl; // which then reads every answer
    if (raft->reward.score(raft->reward.self, candidates, err)) return -1;
    if (needs_p0 && raft->generator.log_ratio(raft->generator.self, candidates, err)) return -1;
    return raft_order(candidates, &raft->rank, raft->samples, err);
}

static bool is_finite(float x) { return x - x == 0; }

// The total order: reward descending, then index ascending; `reward` points at the rewards, indexed by candidate.
typedef struct { float reward; size_t index; } Place;
static int better_first(const void *left, const void *right)
{
    const Place *a = left, *b = right;
    if (a->reward != b->reward) return a->reward > b->reward ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

// Ranks the n places of one group; the best `keep` are selected.
static void rank_group(CandidateList *candidates, Place *places, size_t n, size_t keep)
{
    qsort(places, n, sizeof *places, better_first);
    for (size_t r = 0; r < n; r++) {
        candidates->items[places[r].index].rank = r;
        candidates->items[places[r].index].selected = r < keep;
    }
}

// ceil(accept * N), by default ceil(N / K).
static size_t accepted_count(double accept, size_t N, size_t K)
{
    size_t keep = accept > 0 ? round_up(accept * (double)N) : (N + K - 1) / K;
    return keep < 1 ? 1 : keep > N ? N : keep;
}

int raft_order(CandidateList *candidates, const RankOptions *how, size_t K, Err *err)
{
    size_t N = candidates->count;
    for (size_t i = 0; i < N; i++) {
        Candidate *c = candidates->items + i;
        c->reward = c->score - (float)how->kl_beta * c->log_ratio; // r(x,y) - beta log(p(y|x) / p0(y|x))
        if (how->kl_beta == 0) c->reward = c->score;               // an unused log ratio may be anything
        if (!is_finite(c->reward))
            return err_failed(err, "sample %zu of prompt slot %zu: the reward is %s", c->k, c->slot, c->reward != c->reward ? "NaN" : "infinite");
    }
    Place *places = mem_new(err, N, sizeof *places);
    if (!places) return -1;
    size_t group = 0;
    for (size_t i = 0; i < N; i++) {
        const Candidate *c = candidates->items + i;
        places[group++] = (Place){.reward = c->reward, .index = i};
        bool last = i + 1 == N, end_of_slot = last || candidates->items[i + 1].slot != c->slot;
        if (how->mode == RANK_LOCAL ? end_of_slot : last) { // local: the argmax of each prompt; global: the best of all
            rank_group(candidates, places, group, how->mode == RANK_LOCAL ? 1 : accepted_count(how->accept, N, K));
            group = 0;
        }
    }
    mem_free(places);
    return 0;
}

// ---- step 3: model fine-tuning -------------------------------------------------------------------------------------------

int raft_finetune(const Raft *raft, const CandidateList *ranked, size_t iteration, Err *err)
{
    return raft->generator.finetune(raft->generator.self, ranked, iteration, err);
}

// ---- lists ---------------------------------------------------------------------------------------------------------------

int candidates_add(CandidateList *list, const Candidate *candidate, Err *err)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        Candidate *grown = mem_resize(err, list->items, list->count, capacity, sizeof *grown);
        if (!grown) return -1;
        list->items = grown;
        list->capacity = capacity;
    }
    list->items[list->count++] = *candidate;
    return 0;
}

void raft_release(const Raft *raft, CandidateList *candidates)
{
    for (size_t i = 0; i < candidates->count; i++)
        if (raft->generator.release) raft->generator.release(raft->generator.self, candidates->items[i].item);
    mem_free(candidates->items);
    *candidates = (CandidateList){0};
}
