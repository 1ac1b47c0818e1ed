// SPDX-License-Identifier: MIT
/* ppo.c - Proximal Policy Optimisation (Schulman et al. 2017) of a language model against a reward, with a KL penalty to the
 * starting model (Ziegler et al. 2019). What RAFT does in three steps takes a value head, a penalty a token, advantages and
 * clipped losses here; read raft.c first.
 *
 * Start at ppo_iteration() and ppo_learn(). The arithmetic is in ppo_loss.c, the step that learns in train.c (LOSS_PPO).
 */
#include "ppo.h"

#include <assert.h>
#include <string.h>

#include "base/os.h"

static int observe(const Ppo *ppo, const char *step, size_t iteration, const CandidateList *answers, Err *err)
{
    const Raft *stage = &ppo->stage;
    return stage->observer ? stage->observer(stage->observer_self, step, iteration, answers, err) : 0;
}

static void note_divergence(const Rollout *rollout, const Policy *policy, CandidateList *answers);
static int learn(Ppo *ppo, Rollout *rollout, const CandidateList *answers, size_t iteration, Err *err);

int ppo_iteration(Ppo *ppo, size_t iteration, Err *err)
{
    Policy *policy = ppo->policy;
    CandidateList answers = {0};
    Rollout rollout = {0};
    int status = raft_collect(&ppo->stage, &answers, iteration, err);      // a_t ~ pi_old(. | s_t), answer by answer
    double started = os_now_s();
    if (!status) status = rollout_init(&rollout, policy, &answers, err);   // log pi_old, log p0 and V_old of each token
    double reading = os_now_s() - started;
    if (!status) note_divergence(&rollout, policy, &answers);
    if (!status) status = observe(ppo, "collected", iteration, &answers, err);
    if (!status) status = raft_rank(&ppo->stage, &answers, err);           // r(x,y); all are kept
    if (!status) status = observe(ppo, "ranked", iteration, &answers, err);
    if (!status) status = learn(ppo, &rollout, &answers, iteration, err);
    policy->train_seconds += reading;
    if (!status) status = observe(ppo, "finetuned", iteration, &answers, err);
    rollout_free(&rollout);
    raft_release(&ppo->stage, &answers);
    return status;
}

int ppo_learn(Ppo *ppo, const CandidateList *answers, size_t iteration, Err *err)
{
    Rollout rollout;
    int status = rollout_init(&rollout, ppo->policy, answers, err);
    if (!status) status = learn(ppo, &rollout, answers, iteration, err);
    rollout_free(&rollout);
    return status;
}

static void adapt_kl(Ppo *ppo, const CandidateList *answers);

static int learn(Ppo *ppo, Rollout *rollout, const CandidateList *answers, size_t iteration, Err *err)
{
    Policy *policy = ppo->policy;
    double started = os_now_s();
    rollout_advantages(rollout, policy, answers, &ppo->options.loss, ppo->kl_coef);
    int status = train_run(&ppo->trainer, rollout->list.examples, rollout->list.count, policy->options.seed, (uint32_t)iteration,
        policy->train_progress, policy->progress_self, &policy->last, err); // epochs of clipped steps
    policy->train_seconds = os_now_s() - started;
    if (!status) adapt_kl(ppo, answers);
    return status;
}

// ---- the rollout -----------------------------------------------------------------------------------------------------------------

static int rollout_reserve(Rollout *r, size_t n, Err *err)
{
    float **tokens[] = {&r->logprob, &r->ref_logprob, &r->value, &r->reward, &r->advantage, &r->target};
    if (!(r->length = mem_new(err, n, sizeof *r->length)) || !(r->score = mem_new(err, n, sizeof *r->score))) return -1;
    for (size_t i = 0; i < n; i++) r->N += r->length[i] = r->list.examples[i].length - r->list.examples[i].prompt;
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (!(*tokens[i] = mem_new(err, r->N, sizeof(float)))) return -1;
    return (r->actions = mem_new(err, r->N, sizeof *r->actions)) ? 0 : -1;
}

// log pi_old and V_old as they were when the answers were drawn; false: some were not kept.
static bool recall(Rollout *r, const CandidateList *answers)
{
    float *logprob = r->logprob, *value = r->value;
    for (size_t i = 0; i < answers->count; i++) {
        const Sample *sample = answers->items[i].item;
        if (!sample->drawn) return false;
        for (size_t t = 0; t < sample->tokens.length; t++) *logprob++ = sample->drawn[t].logprob, *value++ = sample->drawn[t].value;
    }
    return true;
}

// Of answers that were read from a file, a forward pass gives the same bits again.
int rollout_init(Rollout *r, const Policy *policy, const CandidateList *answers, Err *err)
{
    size_t n = answers->count;
    *r = (Rollout){0};
    const Sample **samples = mem_new(err, n, sizeof *samples);
    for (size_t i = 0; samples && i < n; i++) samples[i] = answers->items[i].item;
    int status = samples ? policy_examples(&r->list, samples, n, err) : -1;
    mem_free(samples);
    if (!status) status = rollout_reserve(r, n, err);
    if (!status && !recall(r, answers)) status = lm_evaluate_tokens(policy->model, policy->cx, r->list.examples, n, r->logprob, r->value, err);
    if (!status && model_equal(policy->model, policy->reference)) memcpy(r->ref_logprob, r->logprob, r->N * sizeof *r->logprob);
    else if (!status) status = lm_evaluate_tokens(policy->reference, policy->cx, r->list.examples, n, r->ref_logprob, NULL, err);
    if (status) rollout_free(r);
    return status;
}

// p0 has read every token already: log p0 of each answer is the same sum that RAFT's candidates have.
static void note_divergence(const Rollout *r, const Policy *policy, CandidateList *answers)
{
    for (size_t i = 0, at = 0; i < answers->count; at += r->length[i++]) {
        Sample *sample = answers->items[i].item;
        sample->ref_logprob = (float)policy->cx->k->sum_array(r->ref_logprob + at, r->length[i]);
        sample->has_reference = true;
        answers->items[i].log_ratio = sample->logprob - sample->ref_logprob;
    }
}

void rollout_advantages(Rollout *r, const Policy *policy, const CandidateList *answers, const PpoCoefficients *how, double kl_coef)
{
    size_t n = r->list.count;
    for (size_t i = 0; i < n; i++) r->score[i] = answers->items[i].score;
    ppo_token_rewards(r->reward, r->logprob, r->ref_logprob, r->score, r->length, n, kl_coef);
    ppo_advantages(r->advantage, r->target, r->reward, r->value, r->length, n, how->gamma, how->lambda);
    ppo_whiten(policy->cx->k, r->advantage, r->N);
    for (size_t t = 0; t < r->N; t++)
        r->actions[t] = (PpoAction){.logprob = r->logprob[t], .value = r->value[t], .advantage = r->advantage[t], .target = r->target[t]};
    for (size_t i = 0, at = 0; i < n; at += r->length[i++]) r->list.examples[i].actions = r->actions + at;
}

void rollout_free(Rollout *r)
{
    void *arrays[] = {r->length, r->score, r->logprob, r->ref_logprob, r->value, r->reward, r->advantage, r->target, r->actions};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) mem_free(arrays[i]);
    policy_examples_free(&r->list);
    *r = (Rollout){0};
}

// ---- the penalty's coefficient --------------------------------------------------------------------------------------------------

double ppo_adapt_kl_coef(double kl_coef, double kl, const PpoOptions *options)
{
    if (!(options->kl_target > 0)) return kl_coef;
    double error = kl / options->kl_target - 1;
    error = error < -0.2 ? -0.2 : error > 0.2 ? 0.2 : error;
    return kl_coef * (1 + options->kl_gain * error);
}

static void adapt_kl(Ppo *ppo, const CandidateList *answers)
{
    double sum = 0;
    for (size_t i = 0; i < answers->count; i++) sum += (double)answers->items[i].log_ratio;
    ppo->last_kl = sum / (double)answers->count;
    ppo->last_kl_coef = ppo->kl_coef;
    ppo->kl_coef = ppo_adapt_kl_coef(ppo->kl_coef, ppo->last_kl, &ppo->options);
}

// ---- the beginning and the end ---------------------------------------------------------------------------------------------------

int ppo_check(const PolicyOptions *policy, const RankOptions *rank, Err *err)
{
    const SampleOptions *how = &policy->sample;
    if (how->temperature != 1 || how->top_k || how->top_p < 1)
        return err_input(err, "PPO learns from what the policy itself would say: --temperature 1, --top-k 0 and --top-p 1, nothing else");
    if (policy->expert_count)
        return err_input(err, "PPO learns from the policy's own answers only: --expert has no place in it");
    if (policy->replay > 0) return err_input(err, "--replay is read beside RAFT's chosen answers; PPO has none");
    if (rank->kl_beta > 0) return err_input(err, "--kl-beta enters RAFT's ranking; PPO's penalty is --kl-coef");
    return 0;
}

int ppo_init(Ppo *ppo, const PpoOptions *options, Err *err)
{
    size_t b = ppo->stage.stage ? ppo->stage.stage : ppo->stage.prompts, answers, steps;
    TrainOptions train = ppo->policy->options.train;
    assert(ppo->policy->model->config.value_head && ppo->policy->reference != ppo->policy->model);
    ppo->options = *options;
    ppo->kl_coef = options->loss.kl_coef;
    if (ppo_check(&ppo->policy->options, &ppo->stage.rank, err)) return -1;
    ppo->stage.rank = (RankOptions){.mode = RANK_GLOBAL, .accept = 1};
    train.keeper = NULL;
    train.loss = LOSS_PPO;
    train.ppo = options->loss;
    if (!size_multiply(b, ppo->stage.samples, &answers)) return err_failed(err, "out of memory: too many answers");
    if (!size_multiply((answers + train.batch - 1) / train.batch * train.epochs, options->iterations, &steps)) steps = SIZE_MAX;
    if (!train.steps) train.steps = steps;
    return trainer_init(&ppo->trainer, ppo->policy->model, ppo->policy->cx, &train, err);
}

void ppo_free(Ppo *ppo) { trainer_free(&ppo->trainer); }
