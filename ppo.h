// SPDX-License-Identifier: MIT
/* ppo.h - Proximal Policy Optimisation of a language model, the method that RAFT is compared with: on the same prompts, with
 * the same sampler and the same reward.
 *
 *     PpoOptions how = {.loss = {.kl_coef = 0.05, .gamma = 1, .lambda = 0.95, .ratio_clip = 0.2, .value_clip = 0.2, .vf_coef = 0.1},
 *                       .iterations = 32};
 *     Ppo ppo = {.stage = raft, .policy = &policy};                 // raft.h: which prompts, how many answers, which reward
 *     if (model_add_value_head(&model, &err) || ppo_init(&ppo, &how, &err)) return -1;
 *     for (size_t t = 0; t < how.iterations; t++)
 *         if (ppo_iteration(&ppo, t, &err)) return -1;
 *     ppo_free(&ppo);
 *
 * Schulman et al. 2017 (arXiv 1707.06347) as Ziegler et al. 2019 (arXiv 1909.08593) apply it to text. The value head reads the
 * policy's own last layer. Answers are drawn at temperature 1 without truncation: they must be the policy's.
 */
#ifndef RAFT_PPO_H
#define RAFT_PPO_H

#include "policy.h"

typedef struct {
    PpoCoefficients loss;
    double kl_target;   // nats an answer: kl_coef is steered towards it; 0: kl_coef stays
    double kl_gain;     // K_beta of Ziegler et al.
    size_t iterations;  // of the whole run, over which the learning rate's schedule goes
} PpoOptions;

// What is known of a stage's answers before the policy learns from them; token after token, answer after answer.
typedef struct {
    ExampleList list;    // prompt and answer; examples[i].actions point into actions
    size_t *length;      // [n] tokens of an answer
    float *score;        // [n]
    float *logprob, *ref_logprob, *value, *reward, *advantage, *target; // [N]
    PpoAction *actions;  // [N]
    size_t N;
} Rollout;

typedef struct {
    Raft stage;         // generator, reward, prompts, observer as for RAFT; rank is set by ppo_init: every answer is learned from
    Policy *policy;     // options.train: epochs over a stage's answers, batch answers a step
    PpoOptions options;
    double kl_coef;     // beta of the next iteration
    double last_kl_coef, last_kl; // beta of the last iteration, and mean log p/p0 of its answers, nats
    Trainer trainer;    // one AdamW for the whole run, unlike RAFT's
} Ppo;

// Sampling that is not the policy's own, experts, a KL term in a ranking that is not there: status 2. ppo_init asks, too.
int ppo_check(const PolicyOptions *policy, const RankOptions *rank, Err *err);
int ppo_init(Ppo *ppo, const PpoOptions *options, Err *err); // stage and policy are set; needs a model with a value head
int ppo_iteration(Ppo *ppo, size_t iteration, Err *err);
// Its last part: what comes once the answers are scored, for answers that were read from a file.
int ppo_learn(Ppo *ppo, const CandidateList *answers, size_t iteration, Err *err);
void ppo_free(Ppo *ppo);
// beta := beta (1 + K_beta clip(KL / target - 1, -0.2, 0.2)) (Ziegler et al., section 2.2)
double ppo_adapt_kl_coef(double kl_coef, double kl, const PpoOptions *options);

int rollout_init(Rollout *rollout, const Policy *policy, const CandidateList *answers, Err *err); // log pi_old, log p0, V_old
void rollout_advantages(Rollout *rollout, const Policy *policy, const CandidateList *answers /* scored */, const PpoCoefficients *how, double kl_coef);
void rollout_free(Rollout *rollout);

#endif
