# SPDX-License-Identifier: MIT
"""docs/SPEC.md, sections 7 (losses) and 9 (optimisation): one step, a run of steps."""
import numpy as np
from arithmetic import D, F, cos_d, exp, fma, log1p_d, long, pow_d, sequential, sigmoid
from decisions import logprob, softmax_parts
from model import backward, embedding_backward, forward, head_backward, logits, scored_rows, scores, sequences, tensors
from randomness import shuffle


# ---- 7 losses -----------------------------------------------------------------------------------------------------------------------

def cross_entropy_gradient(z, target, scale):  # 7.2 at the logits z [R,V]
    _, e, S = softmax_parts(z)
    inv = (F(1) / S)[:, None]
    scale = np.broadcast_to(np.asarray(scale, F), (len(z),))[:, None]
    dz = (e * inv) * scale
    t = np.asarray(target, int)[:, None]
    np.put_along_axis(dz, t, (np.take_along_axis(e, t, 1) * inv - F(1)) * scale, 1)
    return dz


def negative_log_sigmoid(z):  # 7.3: loss, slope
    T = exp(-np.abs(z))
    return np.where(z < 0, -z, F(0)) + log1p_d(T.astype(D)).astype(F), -sigmoid(-z)


def logistic(score, label):  # 7.4
    inverse = F(1) / F(len(score))
    loss, slope = negative_log_sigmoid(np.where(label == 1, score, -score))
    return loss, np.where(label == 1, slope, -slope) * inverse


def bradley_terry(score):  # 7.5: chosen, rejected, chosen, ...
    loss, slope = negative_log_sigmoid(score[0::2] - score[1::2])
    inverse = F(1) / F(len(loss))
    return loss, np.stack([slope * inverse, -slope * inverse], axis=1).reshape(-1)


def mean_loss(minus_losses):  # 7.2, 7.6
    return -long(minus_losses) / D(len(minus_losses))


# ---- one step's loss and gradients ---------------------------------------------------------------------------------------------

def empty_gradients(c):
    return {name: np.zeros(shape, F) for name, shape, *_ in tensors(c)}


def language_batch(examples):
    """7.2: [(ids, counted positions)] -> ids of the rows that are computed, lengths, rows with a target, targets."""
    ids, lengths, rows, targets = [], [], [], []
    for tokens, counted in examples:
        counted = [t for t in counted if 1 <= t < len(tokens)]
        n = max(counted) if counted else 0
        rows += [len(ids) + t - 1 for t in counted]
        targets += [tokens[t] for t in counted]
        ids += tokens[:n]
        lengths.append(n)
    return ids, [n for n in lengths if n], rows, targets


def language_step(c, W, examples):
    """Loss (double), gradients, and everything met on the way under the names of `raft trace`."""
    ids, lengths, rows, targets = language_batch(examples)
    seen, G = forward(c, W, ids, lengths), empty_gradients(c)
    n, inv, z = logits(c, W, seen, rows)
    noted = logprob(z, targets)
    dx = head_backward(c, W, seen, G, rows, n, inv, cross_entropy_gradient(z, targets, F(1) / F(len(targets))))
    met, dx0 = backward(c, W, seen, G, dx)
    embedding_backward(G, ids, dx0)
    seen.update(input_ids=np.array(ids), target_rows=np.array(rows), targets=np.array(targets), norm=n, logits=z, logprobs=noted)
    seen.update({"backward.output": dx, **{"backward." + name: value for name, value in met.items()}})
    return mean_loss(noted), G, seen


def score_step(c, W, texts, loss_of):  # 7.4 to 7.6, 8.3; loss_of(scores) gives the losses and the scores' gradients
    ids, lengths = sum(texts, []), [len(t) for t in texts]
    seen, G = forward(c, W, ids, lengths), empty_gradients(c)
    n, inv, s = scores(c, W, seen)
    losses, ds = loss_of(s)
    rows = scored_rows(c, lengths)
    dt = np.concatenate([np.full(len(r), d / F(len(r)), F) for r, d in zip(rows, ds)])
    dx = head_backward(c, W, seen, G, sum(rows, []), n, inv, dt[:, None])
    _, dx0 = backward(c, W, seen, G, dx)
    embedding_backward(G, ids, dx0)
    return mean_loss(-losses), G


# ---- 9 optimisation ------------------------------------------------------------------------------------------------------------------

def gradient_norm(c, G):  # 9.1, 9.9: over what has a gradient
    return float(np.sqrt(sequential([long(G[name].reshape(-1), G[name].reshape(-1)) for name, *_ in tensors(c) if name in G], D)))


def adamw(w, m, v, g, t, lr, beta1, beta2, eps, weight_decay, clip, norm):  # 9.2, 9.4: one tensor at step t = 1, 2, ...
    sc = F(clip / (norm + 1e-6)) if clip > 0 and norm > clip else F(1)
    lr, b1, b2, wd, ep = F(lr), F(beta1), F(beta2), F(weight_decay), F(eps)
    c1, c2 = F(1 - pow_d(beta1, t)), F(1 - pow_d(beta2, t))
    decay, g1, g2 = F(1 - D(lr) * D(wd)), F(1 - D(b1)), F(1 - D(b2))
    rate, root = F(-D(lr) / D(c1)), F(np.sqrt(D(c2)))
    d = g * sc
    m = fma(d - m, g1, m)
    v = fma(g2 * d, d, v * b2)
    return w * decay + (rate * m) / (np.sqrt(v) / root + ep), m, v


def learning_rate(k, n, lr, schedule="cosine", warmup=0.02, final_lr=0.1):  # 9.5
    warm = warmup * n
    if k + 1 < warm:
        return lr * (k + 1) / warm
    left = n - warm
    done = min(max((k + 1 - warm) / left, 0.0), 1.0) if left > 0 else 1.0
    fraction = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + float(cos_d(3.141592653589793 * done)))}[schedule]
    return lr * (final_lr + (1 - final_lr) * fraction)


class Optimiser:
    """9.4 over all tensors; m, v and the step count from zero."""

    def __init__(self, c, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip=1.0, decay_all=False):
        self.c, self.settings = c, dict(beta1=beta1, beta2=beta2, eps=eps, clip=clip)
        self.weight_decay, self.decay_all, self.t = weight_decay, decay_all, 0
        self.m, self.v = empty_gradients(c), empty_gradients(c)

    def step(self, W, G, lr, norm):  # W in place
        self.t += 1
        for name, _, decays, _ in tensors(self.c):
            if name not in G:  # 9.9
                continue
            wd = self.weight_decay if decays or self.decay_all else 0.0
            W[name], self.m[name], self.v[name] = adamw(W[name], self.m[name], self.v[name], G[name], self.t, lr,
                                                        weight_decay=wd, norm=norm, **self.settings)


def steps_of_run(units, batch, epochs, max_steps=0):  # 9.6: n
    return max_steps or -(-units // batch) * epochs


def order_of_run(seed, iteration, units, batch, epochs, max_steps=0):
    """9.6: (epoch, indices of the units) of each step."""
    done, n = 0, steps_of_run(units, batch, epochs, max_steps)
    for e in range(epochs):
        order = shuffle(seed, "examples", 1024 * iteration + e, units)
        for i in range(0, units, batch):
            if done == n:
                return
            done += 1
            yield e, order[i:i + batch]


def finetune(c, W, examples, seed, iteration, lr, batch, epochs, schedule=None, **optimiser):
    """9.6, 14.1: trains W in place; the last epoch's loss, the last norm and rate."""
    o, n = Optimiser(c, **optimiser), steps_of_run(len(examples), batch, epochs)
    sums = {}
    for k, (e, units) in enumerate(order_of_run(seed, iteration, len(examples), batch, epochs)):
        rate = learning_rate(k, n, lr, **(schedule or {}))
        loss, G, _ = language_step(c, W, [examples[i] for i in units])
        norm = gradient_norm(c, G)
        o.step(W, G, rate, norm)
        weighted, count = sums.get(e, (0.0, 0))
        sums[e] = (weighted + loss * len(units), count + len(units))
    weighted, count = sums[max(sums)]
    return weighted / count, norm, rate
