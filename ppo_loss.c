// SPDX-License-Identifier: MIT
/* ppo_loss.c - what PPO computes from log-probabilities, values and scores. Knows no model and no text; a model's part is in
 * loss.c, the loop in ppo.c. Sums run in double and are rounded once a token. */
#include "ppo_loss.h"

#include "kernels/hostmath.h"

void ppo_token_rewards(float *reward, const float *logprob, const float *ref_logprob, const float *score, const size_t *length, size_t n,
    double beta)
{
    for (size_t i = 0, at = 0; i < n; i++) {
        for (size_t end = at + length[i]; at < end; at++) reward[at] = (float)(-beta * ((double)logprob[at] - (double)ref_logprob[at]));
        reward[at - 1] += score[i];
    }
}

void ppo_advantages(float *advantage, float *target, const float *reward, const float *value, const size_t *length, size_t n, double gamma,
    double lambda)
{
    for (size_t i = 0, first = 0; i < n; first += length[i++]) {
        double next_value = 0, next_advantage = 0;
        for (size_t t = first + length[i]; t-- > first;) {
            double delta = (double)reward[t] + gamma * next_value - (double)value[t];
            next_advantage = delta + gamma * lambda * next_advantage;
            next_value = (double)value[t];
            advantage[t] = (float)next_advantage;
            target[t] = (float)(next_advantage + next_value);
        }
    }
}

void ppo_whiten(const Kernels *k, float *advantage, size_t N)
{
    if (!N) return;
    float mean = (float)(k->sum_array(advantage, N) / (double)N);
    for (size_t i = 0; i < N; i++) advantage[i] -= mean;
    float scale = (float)(1 / host_sqrt(k->sum_squares(advantage, N) / (double)N + 1e-8));
    for (size_t i = 0; i < N; i++) advantage[i] *= scale;
}

/* d(-rho A)/d log pi = -rho A: the loss itself, as long as the clip does not decide. Where rho is within bounds both sides of
 * the minimum are the same number, not two that round differently. */
size_t ppo_policy_loss(const Kernels *k, float *loss, float *dlogprob, float *ratio, const float *logprob, const PpoAction *drawn, size_t n,
    double epsilon, float weight)
{
    const float low = (float)(1 - epsilon), high = (float)(1 + epsilon);
    size_t cut = 0;
    for (size_t i = 0; i < n; i++) loss[i] = logprob[i] - drawn[i].logprob; // log rho, until the ratio is known
    k->exp_array(ratio, loss, n);
    for (size_t i = 0; i < n; i++) {
        float bounded = ratio[i] < low ? low : ratio[i] > high ? high : ratio[i];
        float free_loss = -drawn[i].advantage * ratio[i], bounded_loss = -drawn[i].advantage * bounded;
        bool clipped = bounded_loss > free_loss;
        loss[i] = clipped ? bounded_loss : free_loss;
        dlogprob[i] = clipped ? 0 : free_loss * weight;
        cut += clipped;
    }
    return cut;
}

void ppo_value_loss(float *loss, float *dvalue, const float *value, const PpoAction *drawn, size_t n, double epsilon, float weight)
{
    for (size_t i = 0; i < n; i++) {
        float bounded = value[i], moved = value[i] - drawn[i].value, most = (float)epsilon;
        if (epsilon > 0 && moved > most) bounded = drawn[i].value + most;
        if (epsilon > 0 && moved < -most) bounded = drawn[i].value - most;
        float error = value[i] - drawn[i].target, bounded_error = bounded - drawn[i].target;
        bool clipped = bounded_error * bounded_error > error * error;
        loss[i] = 0.5f * (clipped ? bounded_error * bounded_error : error * error);
        dvalue[i] = clipped ? 0 : error * weight;
    }
}
