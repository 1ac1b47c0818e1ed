// SPDX-License-Identifier: MIT
/* ppo_loss.h - the arithmetic of PPO over the tokens of answers: rewards, advantages, the two clipped losses with their slopes.
 *
 *     ppo_token_rewards(reward, logprob, ref_logprob, score, length, n, 0.05);
 *     ppo_advantages(advantage, target, reward, value, length, n, 1.0, 0.95);
 *     ppo_whiten(cx.k, advantage, N);
 *     clipped = ppo_policy_loss(cx.k, loss, dlogprob, ratio, logprob_now, drawn, N, 0.2, 1.0f / (float)N);
 *     ppo_value_loss(loss, dvalue, value_now, drawn, N, 0.2, 0.1f / (float)N);
 *
 * n answers follow each other without gaps: answer i has length[i] >= 1 tokens, N in all. A token is an action; the state
 * before it is the prompt and the tokens so far. Schulman et al. 2017 (PPO, arXiv 1707.06347), Schulman et al. 2016 (GAE,
 * arXiv 1506.02438), Ziegler et al. 2019 (PPO on language models, arXiv 1909.08593).
 */
#ifndef RAFT_PPO_LOSS_H
#define RAFT_PPO_LOSS_H

#include "kernels/kernels.h"

typedef struct {
    float logprob;   // log pi_old(a|s), when the token was drawn
    float value;     // V_old(s)
    float advantage; // A, whitened
    float target;    // A + V_old before whitening: what the value should have been
} PpoAction;

typedef struct {
    double kl_coef;                // beta, per nat
    double gamma, lambda;          // discount; how far advantages look ahead
    double ratio_clip, value_clip; // epsilon of the two losses; value_clip 0: none
    double vf_coef;                // weight of the value loss beside the policy's
} PpoCoefficients;

// r_t = -beta (log pi(a_t|s_t) - log p0(a_t|s_t)); the answer's score is paid with its last token (Ziegler et al., section 2).
void ppo_token_rewards(float *reward /*[N]*/, const float *logprob /*[N]*/, const float *ref_logprob /*[N]*/, const float *score /*[n]*/,
    const size_t *length /*[n]*/, size_t n, double beta);
// delta_t = r_t + gamma V(s_t+1) - V(s_t), A_t = delta_t + gamma lambda A_t+1 (GAE, equations 11 and 16); target_t = A_t + V(s_t).
// Nothing follows an answer's last token: V and A are 0 there.
void ppo_advantages(float *advantage /*[N]*/, float *target /*[N]*/, const float *reward /*[N]*/, const float *value /*[N]*/,
    const size_t *length /*[n]*/, size_t n, double gamma, double lambda);
// A := (A - mean) / sqrt(var + 1e-8), the population variance over all N tokens.
void ppo_whiten(const Kernels *k, float *advantage /*[N]*/, size_t N);

// loss = -min(rho A, clip(rho, 1 - epsilon, 1 + epsilon) A) with rho = pi(a|s) / pi_old(a|s) (PPO, equation 7); dlogprob: the
// slope by log pi(a|s), times `weight`. Returns how many tokens the clip cut off from learning.
size_t ppo_policy_loss(const Kernels *k, float *loss /*[n]*/, float *dlogprob /*[n]*/, float *ratio /*[n] rho*/, const float *logprob /*[n] now*/,
    const PpoAction *drawn /*[n]*/, size_t n, double epsilon, float weight);
// loss = 1/2 max((V - target)^2, (V_clipped - target)^2), V_clipped within epsilon of V_old (0: not clipped); dvalue: times weight.
void ppo_value_loss(float *loss /*[n]*/, float *dvalue /*[n]*/, const float *value /*[n] now*/, const PpoAction *drawn /*[n]*/, size_t n,
    double epsilon, float weight);

#endif
