// SPDX-License-Identifier: MIT
/* rank.c - raft rank: RAFT's second step. Scores the candidates of a file, ranks them, marks what fine-tuning keeps. */
#include "commands/commands.h"
#include "commands/learning.h"
#include "commands/policies.h"
#include "study/metrics.h"
#include "study/scoring.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    SampleList samples;
    CandidateList candidates; // items point into samples
    RewardSet rewards;
} Ranking;

// K: the policy's own answers to a prompt. A file of experts' answers only counts all of them.
static size_t answers_each(const SampleList *samples)
{
    size_t most = 0, most_own = 0, all = 0, own = 0;
    for (size_t i = 0; i < samples->count; i++) {
        const Sample *s = samples->items + i;
        if (i && s->slot != s[-1].slot) all = own = 0;
        all++;
        own += sample_is_own(s);
        if (all > most) most = all;
        if (own > most_own) most_own = own;
    }
    return most_own ? most_own : most;
}

// Without --reward the file brings its own: what `reward score` or an outside program wrote under "reward".
static int take_given_rewards(CandidateList *candidates, const char *path, Err *err)
{
    for (size_t i = 0; i < candidates->count; i++) {
        Candidate *c = candidates->items + i;
        const Sample *s = c->item;
        if (s->ranked) return err_input(err, "%s: is ranked already; --reward SPEC ranks it anew", path);
        if (!s->scored) return err_input(err, "%s: slot %zu, k %zu has no \"reward\": give --reward SPEC", path, s->slot, s->k);
        c->score = s->reward;
    }
    return 0;
}

static int check_reference(const SampleList *samples, const char *path, Err *err)
{
    for (size_t i = 0; i < samples->count; i++) {
        const Sample *s = samples->items + i;
        if (!s->has_reference)
            return err_input(err, "%s: slot %zu, k %zu has no \"ref_logprob\", which --kl-beta needs: p0 was not asked about it", path, s->slot, s->k);
    }
    return 0;
}

static int rank(Ranking *r, const char *path, const Options *o, Err *err)
{
    RankOptions how = rank_options(o);
    Reward source = reward_source(&r->rewards, true);
    if (how.kl_beta != 0 && check_reference(&r->samples, path, err)) return -1;
    for (size_t i = 0; i < r->samples.count; i++) {
        Candidate c = policy_candidate(r->samples.items + i, r->samples.items[i].slot);
        if (candidates_add(&r->candidates, &c, err)) return -1;
    }
    if (o->reward.count ? source.score(source.self, &r->candidates, err) : take_given_rewards(&r->candidates, path, err)) return -1;
    if (raft_order(&r->candidates, &how, answers_each(&r->samples), err)) return -1;
    return candidates_record(&r->candidates, err);
}

static int report(const Ranking *r, const Options *o, Err *err)
{
    size_t n = r->candidates.count, kept = 0;
    float *all = mem_new(err, n, sizeof *all), *selected = all ? mem_new(err, n, sizeof *selected) : NULL;
    int status = selected ? 0 : -1;
    for (size_t i = 0; i < n && !status; i++) {
        all[i] = r->candidates.items[i].score;
        if (r->candidates.items[i].selected) selected[kept++] = all[i];
    }
    if (!status) {
        Measure before = metric_mean(all, n), after = metric_mean(selected, kept);
        if (o->json)
            status = print_json(json_pack("{s:s,s:I,s:I,s:o,s:o}", "output", o->output, "candidates", (json_int_t)n, "selected",
                (json_int_t)kept, "reward", json_float(before.mean), "selected_reward", json_float(after.mean)), err);
        else printf("%s: %zu of %zu candidates selected; mean reward %.4f, of the selected %.4f\n", o->output, kept, n,
            before.mean, after.mean);
    }
    mem_free(all);
    mem_free(selected);
    return status;
}

static int run(CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    Ranking r = {0};
    if (cx->word_count != 1) return err_input(err, "rank: expected one file of candidates, found %zu", cx->word_count);
    if (!o->output) return err_input(err, "rank: -o FILE.jsonl is missing");
    if (o->gold && !o->reward.count) return err_input(err, "rank: --gold is measured beside --reward SPEC, which is missing");
    int status = check_output_file(o, err) || samples_read(&r.samples, cx->words[0], err) || setup_rewards(&r.rewards, o, &cx->compute, err) ||
        rank(&r, cx->words[0], o, err) || candidates_write(&r.candidates, o->output, err) || report(&r, o, err);
    mem_free(r.candidates.items);
    samples_free(&r.samples);
    reward_close(&r.rewards);
    return status ? -1 : 0;
}

const Command command_rank = {
    .name = "rank",
    .operands = "CANDIDATES.jsonl",
    .summary = "RAFT step 2: score candidates, rank them, mark the best",
    .groups = OPT_COMMON | OPT_RANK,
    .except = "prompt-tokens",
    .help = "rank C.jsonl --reward SPEC [--mode local|global --accept A --kl-beta B] -o R.jsonl adds reward, rewards{}, rank\n"
            "and selected to each line. Without --reward, the lines must hold a \"reward\" that an outside program has put there.",
    .needs_compute = true,
    .run = run,
};
