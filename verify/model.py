# SPDX-License-Identifier: MIT
"""The model of docs/SPEC.md: sections 5 (tensors, initialisation, RoPE tables), 6 (forward) and 8 (backward).

Passes return what they computed as a dict whose names are those of `raft trace`: q and k after the rotation, their gradients after
the inverse one.
"""
from dataclasses import dataclass, field
import numpy as np
from arithmetic import D, F, chain, cos_d, exp, f32, fma, lanes, long, maximum, pow_d, sigmoid, sin_d
from randomness import normals, words

# names of 5.2, short: the layer's tensors in order, with the settings that give their shapes
LAYER = [("input_layernorm", ["dim"]), ("self_attn.q_proj", ["q", "dim"]), ("self_attn.k_proj", ["kv", "dim"]),
         ("self_attn.v_proj", ["kv", "dim"]), ("self_attn.o_proj", ["dim", "q"]), ("post_attention_layernorm", ["dim"]),
         ("mlp.gate_proj", ["ff", "dim"]), ("mlp.up_proj", ["ff", "dim"]), ("mlp.down_proj", ["dim", "ff"])]
EMBED, NORM = "model.embed_tokens.weight", "model.norm.weight"


@dataclass
class Config:  # 5.1
    vocab: int
    dim: int
    layers: int
    heads: int
    ff: int
    kv_heads: int = 0
    head_dim: int = 0
    context: int = 64
    eps: float = 1e-5
    theta: float = 10000.0
    rope: dict = field(default_factory=dict)  # rope_type, factor, ...
    tied: bool = False
    head: str = "lm"  # or score
    pooling: str = "last"  # or mean
    eos: int = None

    def __post_init__(self):
        self.kv_heads = self.kv_heads or self.heads
        self.head_dim = self.head_dim or self.dim // self.heads

    @property
    def q(self):
        return self.heads * self.head_dim

    @property
    def kv(self):
        return self.kv_heads * self.head_dim

    @property
    def head_name(self):
        return "score.weight" if self.head == "score" else EMBED if self.tied else "lm_head.weight"


def config_from_json(c):  # 16.4
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    eos = c.get("eos_token_id")
    return Config(vocab=c["vocab_size"], dim=c["hidden_size"], layers=c["num_hidden_layers"], heads=c["num_attention_heads"],
                  ff=c["intermediate_size"], kv_heads=c.get("num_key_value_heads", 0), head_dim=c.get("head_dim", 0) or 0,
                  context=c.get("max_position_embeddings", 2048), eps=c.get("rms_norm_eps", 1e-6),
                  theta=rope.get("rope_theta", c.get("rope_theta", 10000.0)), rope=rope, tied=c.get("tie_word_embeddings", False),
                  head="score" if "LlamaForSequenceClassification" in c.get("architectures", []) else "lm",
                  pooling=c.get("raft_pooling", "last"), eos=eos[0] if isinstance(eos, list) else eos)


def tensors(c):
    """5.2: name, shape, whether it decays, std (None: ones); in order."""
    std, s = F(0.02), F(0.02 / np.sqrt(2 * D(c.layers)))
    table = [(EMBED, (c.vocab, c.dim), True, std)]
    for l in range(c.layers):
        for name, shape in LAYER:
            size = tuple(getattr(c, key) for key in shape)
            kind = None if len(size) == 1 else s if name.endswith(("o_proj", "down_proj")) else std
            table.append((f"model.layers.{l}.{name}.weight", size, kind is not None, kind))
    table.append((NORM, (c.dim,), False, None))
    if c.head == "score":
        table.append(("score.weight", (1, c.dim), True, std))
    elif not c.tied:
        table.append(("lm_head.weight", (c.vocab, c.dim), True, std))
    return table


def initial(c, seed):  # 5.3
    W = {}
    for index, (name, shape, _, std) in enumerate(tensors(c)):
        n = int(np.prod(shape))
        W[name] = np.ones(shape, F) if std is None else (
            normals(words(seed, "weights", 0, c0=np.arange((n + 3) // 4), c2=index)).reshape(-1)[:n] * std).reshape(shape)
    return W


def rope_tables(c, positions):  # 5.4: cos, sin [len(positions), hd/2]
    frequency = []
    for i in range(c.head_dim // 2):
        f = 1 / pow_d(c.theta, 2 * i / c.head_dim)
        kind = c.rope.get("rope_type", c.rope.get("type", "default"))
        if kind == "linear":
            f = f / c.rope["factor"]
        elif kind == "llama3":
            factor, low, high = c.rope["factor"], c.rope["low_freq_factor"], c.rope["high_freq_factor"]
            w, O = 6.283185307179586 / f, float(c.rope["original_max_position_embeddings"])
            if w > O / low:
                f = f / factor
            elif w >= O / high:
                g = (O / w - low) / (high - low)
                f = (1 - g) * f / factor + g * f
        frequency.append(F(f))
    angle = (np.asarray(positions).astype(F)[:, None] * np.array(frequency, F)).astype(D)
    return cos_d(angle).astype(F), sin_d(angle).astype(F)


# ---- 6 forward -------------------------------------------------------------------------------------------------------------------

def rmsnorm(x, w, eps):  # 6.2: y, inv
    S = long(x, x).astype(F)
    inv = F(1) / np.sqrt(S / F(x.shape[-1]) + F(eps))
    return (x * inv[:, None]) * w, inv


def rotate(y, cos, sin, hd):  # 6.5: y [R, heads * hd]
    heads = y.reshape(len(y), -1, hd)
    a, b, c, s = heads[..., :hd // 2], heads[..., hd // 2:], cos[:, None], sin[:, None]
    return np.concatenate([a * c - b * s, b * c + a * s], axis=-1).reshape(y.shape)


def _heads(x, c, repeat=1):  # [T, n * hd] -> [n * repeat, T, hd]
    return np.repeat(x.reshape(len(x), -1, c.head_dim).transpose(1, 0, 2), repeat, axis=0)


def _scores(c, q, k, v):  # 6.6 of one sequence: q [H,T,hd]; scale, p = exp(s - m) with +0 above the diagonal, sum
    scale = F(1 / np.sqrt(D(c.head_dim)))
    s = batched_chain(q, k) * scale
    seen = np.tri(q.shape[1], dtype=bool)
    m = maximum(np.where(seen, s, F(-np.inf)))
    p = np.where(seen, exp(s - m[..., None]), F(0))
    return scale, p, long(p).astype(F)


def batched_chain(a, b):  # [H,T,d], [H,T,d] -> [H,T,T]: chain over d
    s = np.zeros(a.shape[:2] + (b.shape[1],), F)
    for d in range(a.shape[2]):
        s = fma(a[:, :, None, d], b[:, None, :, d], s)
    return s


def _over_keys(p, x):  # chain over keys j = 0..row of p[h,row,j] x[h,j,d]; keys beyond the row take no step
    o = np.zeros(x.shape, F)
    for j in range(x.shape[1]):
        o[:, j:] = fma(p[:, j:, j, None], x[:, None, j], o[:, j:])
    return o


def attention(c, q, k, v):  # 6.6 of one sequence, [T, n * hd]
    group = c.heads // c.kv_heads
    q, k, v = _heads(q, c), _heads(k, c, group), _heads(v, c, group)
    _, p, total = _scores(c, q, k, v)
    o = _over_keys(p, v) / total[..., None]
    return o.transpose(1, 0, 2).reshape(o.shape[1], -1)


def sequences(lengths):
    ends = np.cumsum(lengths)
    return [slice(int(e - n), int(e)) for e, n in zip(ends, lengths)]


def forward(c, W, ids, lengths):
    """6.1 to 6.4 over sequences one after the other; the final norm is 6.7's and left to the heads."""
    positions = np.concatenate([np.arange(n) for n in lengths]) if lengths else np.zeros(0, int)
    cos, sin = rope_tables(c, positions)
    x = W[EMBED][np.asarray(ids, int)]
    seen = {"embedding": x, "lengths": list(lengths), "cos": cos, "sin": sin}
    for l in range(c.layers):
        w = {name: W[f"model.layers.{l}.{name}.weight"] for name, _ in LAYER}
        n, inv = rmsnorm(x, w["input_layernorm"], c.eps)
        q, k = (rotate(chain(n, w[f"self_attn.{y}_proj"]), cos, sin, c.head_dim) for y in "qk")
        v = chain(n, w["self_attn.v_proj"])
        a = np.concatenate([attention(c, q[s], k[s], v[s]) for s in sequences(lengths)]) if len(x) else q
        x1 = chain(a, w["self_attn.o_proj"], x)
        n1, inv1 = rmsnorm(x1, w["post_attention_layernorm"], c.eps)
        g, u = chain(n1, w["mlp.gate_proj"]), chain(n1, w["mlp.up_proj"])
        h = (g * sigmoid(g)) * u
        x = chain(h, w["mlp.down_proj"], x1)
        seen.update({f"layers.{l}.{name}": value for name, value in dict(
            attention_norm=n, inv=inv, q=q, k=k, v=v, attention=a, attention_residual=x1, ff_norm=n1, inv1=inv1, gate=g, up=u,
            hidden=h, output=x).items()})
    seen["residual"] = x
    return seen


def logits(c, W, seen, rows=slice(None)):  # 6.7: norm, inv, logits of these rows
    n, inv = rmsnorm(seen["residual"][rows], W[NORM], c.eps)
    return n, inv, chain(n, W[c.head_name])


def scored_rows(c, lengths):  # 6.7: for each sequence the rows its score reads
    return [list(range(s.start, s.stop)) if c.pooling == "mean" else [s.stop - 1] for s in sequences(lengths)]


def scores(c, W, seen):  # 6.7: norm, inv of the rows that are read; the scores
    rows = scored_rows(c, seen["lengths"])
    n, inv, t = logits(c, W, seen, sum(rows, []))
    counts = [len(r) for r in rows]
    return n, inv, np.array([F(long(t[s, 0]) / D(k)) for s, k in zip(sequences(counts), counts)], F)


# ---- 8 backward -------------------------------------------------------------------------------------------------------------------

def linear_backward(dW, dy, x, w):  # 8.1: dW in place; dx
    dW[...] = chain(dy.T, x.T, dW)
    return chain(dy, w.T)


def rmsnorm_backward(dx, dw, dy, x, inv, w):  # 8.2: dw in place; dx
    x_hat, g = x * inv[:, None], dy * w
    M = long(g, x_hat).astype(F)
    mean = (M / F(x.shape[-1]))[:, None]
    for r in range(len(x)):
        dw[...] = fma(dy[r], x_hat[r], dw)
    return fma(inv[:, None], fma(-x_hat, mean, g), dx)


def swiglu_backward(g, u, dh):  # 8.4 (2): dg, du
    s = sigmoid(g)
    y = g * s
    return (dh * u) * fma(y, F(1) - s, s), dh * y


def attention_backward(c, q, k, v, o, do):  # 8.5 of one sequence: dq, dk, dv
    group, T = c.heads // c.kv_heads, len(q)
    q, k, v, o, do = _heads(q, c), _heads(k, c, group), _heads(v, c, group), _heads(o, c), _heads(do, c)
    scale, p, total = _scores(c, q, k, v)
    P = p * (F(1) / total)[..., None]
    Dsum = lanes(do, o)[..., None]
    dS = (P * (batched_chain(do, v) - Dsum)) * scale
    dq = _over_keys(dS, k)
    dk, dv = (np.zeros((c.kv_heads, T, c.head_dim), F) for _ in "kv")
    for h in range(c.heads):
        for t in range(T):
            for out, factor, row in ((dv, P, do), (dk, dS, q)):
                out[h // group, :t + 1] = fma(factor[h, t, :t + 1, None], row[h, t], out[h // group, :t + 1])
    return [y.transpose(1, 0, 2).reshape(T, -1) for y in (dq, dk, dv)]


def backward(c, W, seen, G, dx):
    """8.4 for all layers, descending, from the gradient dx of the last layer's output; adds into G, returns what it met."""
    met = {}
    for l in reversed(range(c.layers)):
        p = f"layers.{l}."
        w = {name: W[f"model.layers.{l}.{name}.weight"] for name, _ in LAYER}
        g = {name: G[f"model.layers.{l}.{name}.weight"] for name, _ in LAYER}
        x = seen[f"layers.{l - 1}.output"] if l else seen["embedding"]
        met[p + "output"] = dx
        dh = linear_backward(g["mlp.down_proj"], dx, seen[p + "hidden"], w["mlp.down_proj"])
        dg, du = swiglu_backward(seen[p + "gate"], seen[p + "up"], dh)
        dn = _together(g, w, ["mlp.gate_proj", "mlp.up_proj"], [dg, du], seen[p + "ff_norm"])
        dx = rmsnorm_backward(dx, g["post_attention_layernorm"], dn, seen[p + "attention_residual"], seen[p + "inv1"],
                              w["post_attention_layernorm"])
        met.update({p + "gate": dg, p + "up": du, p + "attention_residual": dx})
        da = linear_backward(g["self_attn.o_proj"], dx, seen[p + "attention"], w["self_attn.o_proj"])
        parts = [attention_backward(c, *(y[s] for y in (seen[p + "q"], seen[p + "k"], seen[p + "v"], seen[p + "attention"], da)))
                 for s in sequences(seen["lengths"])]
        dq, dk, dv = (np.concatenate(y) for y in zip(*parts))
        dq, dk = (rotate(y, seen["cos"], -seen["sin"], c.head_dim) for y in (dq, dk))
        met.update({p + "attention": da, p + "q": dq, p + "k": dk, p + "v": dv})
        dn = _together(g, w, [f"self_attn.{y}_proj" for y in "qkv"], [dq, dk, dv], seen[p + "attention_norm"])
        dx = rmsnorm_backward(dx, g["input_layernorm"], dn, x, seen[p + "inv"], w["input_layernorm"])
        met[p + "input"] = dx
    return met, dx


def _together(g, w, names, dys, x):
    """8.1: layers that read the same rows count as one, their outputs one after the other."""
    for name, dy in zip(names, dys):
        g[name][...] = chain(dy.T, x.T, g[name])
    return chain(np.concatenate(dys, axis=1), np.concatenate([w[name] for name in names]).T)


def embedding_backward(G, ids, dx):  # 8.6
    for r, i in enumerate(ids):
        G[EMBED][i] = G[EMBED][i] + dx[r]


def head_backward(c, W, seen, G, rows, n, inv, dz):
    """8.3, then 8.4: rows of the batch that the head read, dz the gradient of its outputs."""
    dn = linear_backward(G[c.head_name], dz, n, W[c.head_name])
    x = seen["residual"]
    dx = np.zeros_like(x)
    dx[rows] = rmsnorm_backward(np.zeros_like(dn), G[NORM], dn, x[rows], inv, W[NORM])
    return dx
