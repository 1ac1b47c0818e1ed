// SPDX-License-Identifier: MIT
/* trace_ppo.h - the arithmetic of PPO on a batch from a file, for comparison with another implementation: no model, no text.
 *
 *     PpoCoefficients how = {.kl_coef = 0.05, .gamma = 1, .lambda = 0.95, .ratio_clip = 0.2, .value_clip = 0.2, .vf_coef = 0.1};
 *     if (trace_ppo(&cx, "batch.safetensors", &how, "out.safetensors", &err)) return -1;
 *
 * In: logits, old_logits, ref_logits [B,T,V]; values, old_values [B,T]; score [B]; actions [B,T] and length [B] (int64). Position
 * t holds what was known before token actions[b,t]; those from length[b] on are padding.
 * Out: token_reward, advantage, returns, whitened_advantage, ratio [B,T]; policy_loss, value_loss [1]; grad_logits [B,T,V] and
 * grad_values [B,T] of policy_loss + vf_coef * value_loss. Padding has 0 everywhere but in ratio, which needs no mask.
 */
#ifndef RAFT_STUDY_TRACE_PPO_H
#define RAFT_STUDY_TRACE_PPO_H

#include "ppo_loss.h"

int trace_ppo(const Compute *cx, const char *batch, const PpoCoefficients *how, const char *path, Err *err);

#endif
