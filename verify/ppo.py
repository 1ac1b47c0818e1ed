# SPDX-License-Identifier: MIT
"""docs/SPEC.md, section 22: PPO's rewards, advantages and losses, over the tokens of answers one after the other."""
from files import np
from arithmetic import D, F, exp, long
from model import sequences


def token_rewards(lengths, score, logprob, ref_logprob, beta):  # 22.2
    r = (-beta * (logprob.astype(D) - ref_logprob.astype(D))).astype(F)
    last = np.cumsum(lengths) - 1
    r[last] = r[last] + score
    return r


def advantages(lengths, reward, value, gamma, lam):  # 22.3: advantage, target
    advantage, target = np.zeros_like(reward), np.zeros_like(reward)
    for part in sequences(lengths):
        V, A = 0.0, 0.0
        for t in reversed(range(part.start, part.stop)):
            delta = float(reward[t]) + gamma * V - float(value[t])
            A = delta + (gamma * lam) * A
            V = float(value[t])
            advantage[t], target[t] = F(A), F(A + V)
    return advantage, target


def whiten(a):  # 22.4
    a = a - F(long(a) / D(len(a)))
    return a * F(1 / np.sqrt(long(a, a) / D(len(a)) + 1e-8))


def policy_loss(a, now, old, clip):  # 22.5: loss, its slope at the log-probability
    rho = exp(now - old)
    bounded = np.minimum(np.maximum(rho, F(1 - clip)), F(1 + clip))
    free, cut = -a * rho, -a * bounded
    return np.maximum(free, cut), np.where(cut > free, F(0), free * (F(1) / F(len(a))))


def value_loss(V, old, target, clip, coefficient):  # 22.6: loss, dV
    limit, moved = F(clip), V - old
    c = V if clip == 0 else np.where(moved > limit, old + limit, np.where(moved < -limit, old - limit, V))
    e, f = V - target, c - target
    return F(0.5) * np.maximum(e * e, f * f), np.where(f * f > e * e, F(0), e * (F(coefficient) / F(len(V))))


def ppo(lengths, beta, gamma, ratio_clip, value_clip, vf_coef, logprob, ref_logprob, value, logprob_now, value_now, score, **lam):
    """A case of tests/vectors."""
    reward = token_rewards(lengths, score, logprob, ref_logprob, beta)
    advantage, target = advantages(lengths, reward, value, gamma, lam["lambda"])
    whitened = whiten(advantage)
    loss, slope = policy_loss(whitened, logprob_now, logprob, ratio_clip)
    of_value, dvalue = value_loss(value_now, value, target, value_clip, vf_coef)
    return {"reward": reward, "advantage": advantage, "target": target, "whitened": whitened, "policy_loss": loss, "dlogprob": slope,
            "value_loss": of_value, "dvalue": dvalue}
