// SPDX-License-Identifier: MIT
/* vectors_kernels.c - the operations of test vectors that are arithmetic on arrays: docs/SPEC.md, sections 1 to 3, 6 to 9. The chosen
 * instruction set computes; every array is as long as the operation needs, so that a sanitizer sees what reaches past its end. */
#include "tests/vectors.h"

#include "kernels/hostmath.h"
#include "kernels/matmul.h"
#include "loss.h"
#include "ppo_loss.h"
#include "train.h"

#include <assert.h>
#include <string.h>

// ---- numbers one by one --------------------------------------------------------------------------------------------------------

// One product of 1 x 1 matrices each: what the machine's registers do; the soft one is compared with it on the way.
static void run_fma(VectorCase *c)
{
    size_t n;
    float *a = vector_floats(c, "a", &n), *b = vector_floats(c, "b", NULL), *y = vector_floats(c, "c", NULL);
    bool same = true;
    for (size_t i = 0; i < n; i++) {
        float soft = host_fmaf(a[i], b[i], y[i]);
        c->cx->k->gemm(y + i, a + i, 1, 1, b + i, 1, 1, 1, 1, 1, true, &c->cx->gemm);
        same = same && (!memcmp(&soft, y + i, sizeof soft) || (soft != soft && y[i] != y[i]));
    }
    vector_put_floats(c, "y", y, n);
    vector_put(c, "soft_is_the_same", json_boolean(same));
}

typedef void ArrayKernel(float *y, const float *x, size_t n);
static void map_array(VectorCase *c, ArrayKernel *kernel)
{
    size_t n;
    float *x = vector_floats(c, "x", &n), *y = vector_block(c, n, sizeof *y);
    kernel(y, x, n);
    vector_put_floats(c, "y", y, n);
}
static void run_exp(VectorCase *c) { map_array(c, c->cx->k->exp_array); }
static void run_log(VectorCase *c) { map_array(c, c->cx->k->log_array); }
static void run_sigmoid(VectorCase *c) { map_array(c, c->cx->k->sigmoid_array); }

static void map_doubles(VectorCase *c, double (*function)(double))
{
    size_t n;
    double *x = vector_doubles(c, "x", &n);
    for (size_t i = 0; i < n; i++) x[i] = function(x[i]);
    vector_put_doubles(c, "y", x, n);
}
static void run_double_exp(VectorCase *c) { map_doubles(c, host_exp); }
static void run_double_log(VectorCase *c) { map_doubles(c, host_log); }
static void run_double_log1p(VectorCase *c) { map_doubles(c, host_log1p); }
static void run_double_sin(VectorCase *c) { map_doubles(c, host_sin); }
static void run_double_cos(VectorCase *c) { map_doubles(c, host_cos); }

static void run_double_pow(VectorCase *c)
{
    size_t n;
    double *x = vector_doubles(c, "x", &n), *y = vector_doubles(c, "y", &n);
    for (size_t i = 0; i < n; i++) x[i] = host_pow(x[i], y[i]);
    vector_put_doubles(c, "power", x, n);
}

static void run_sums(VectorCase *c)
{
    size_t n;
    float *x = vector_floats(c, "x", &n), *blocks = vector_block(c, n / CDF_BLOCK + 1, sizeof *blocks), top = n ? c->cx->k->max_array(x, n) : 0;
    double sum = c->cx->k->sum_array(x, n), squares = c->cx->k->sum_squares(x, n);
    c->cx->k->block_sums(blocks, x, n);
    vector_put_doubles(c, "sum", &sum, 1);
    vector_put_doubles(c, "squares", &squares, 1);
    vector_put_floats(c, "blocks_of_256", blocks, (n + CDF_BLOCK - 1) / CDF_BLOCK);
    vector_put_floats(c, "max", &top, 1);
}

// ---- matrices ------------------------------------------------------------------------------------------------------------------

static void run_linear_forward(VectorCase *c)
{
    size_t rows = vector_size(c, "rows"), out = vector_size(c, "out"), in = vector_size(c, "in");
    float *x = vector_floats(c, "x", NULL), *w = vector_floats(c, "w", NULL);
    bool onto = vector_text(c, "y");
    float *y = onto ? vector_floats(c, "y", NULL) : vector_block(c, rows * out, sizeof *y), *again = vector_block(c, rows * out, sizeof *again);
    float *packed = vector_block(c, matmul_packed_floats(c->cx, out, in), sizeof *packed);
    memcpy(again, y, rows * out * sizeof *y);
    matmul_forward(c->cx, y, x, w, rows, out, in, onto);
    matmul_pack(c->cx, packed, w, out, in);
    matmul_forward_packed(c->cx, again, x, packed, rows, out, in, onto);
    vector_put_floats(c, "y", y, rows * out);
    vector_put(c, "packed_is_the_same", json_boolean(!memcmp(y, again, rows * out * sizeof *y)));
}

static void run_linear_backward(VectorCase *c)
{
    size_t rows = vector_size(c, "rows"), out = vector_size(c, "out"), in = vector_size(c, "in");
    float *x = vector_floats(c, "x", NULL), *w = vector_floats(c, "w", NULL), *dy = vector_floats(c, "dy", NULL), *dw = vector_floats(c, "dw", NULL);
    float *dx = vector_block(c, rows * in, sizeof *dx);
    matmul_backward_input(c->cx, dx, dy, w, rows, out, in, false);
    matmul_backward_weight(c->cx, dw, dy, x, rows, out, in);
    vector_put_floats(c, "dx", dx, rows * in);
    vector_put_floats(c, "dw", dw, out * in);
}

static void run_rmsnorm(VectorCase *c)
{
    size_t rows = vector_size(c, "rows"), dim = vector_size(c, "dim");
    float *x = vector_floats(c, "x", NULL), *w = vector_floats(c, "w", NULL), *dy = vector_floats(c, "dy", NULL);
    float *dx = vector_floats(c, "dx", NULL), *dw = vector_floats(c, "dw", NULL);
    float *y = vector_block(c, rows * dim, sizeof *y), *inverse = vector_block(c, rows, sizeof *inverse);
    c->cx->k->rmsnorm_forward(y, inverse, x, w, rows, dim, (float)vector_number(c, "eps", 1e-5));
    c->cx->k->rmsnorm_backward(dx, dw, dy, x, w, inverse, rows, dim);
    vector_put_floats(c, "y", y, rows * dim);
    vector_put_floats(c, "inv", inverse, rows);
    vector_put_floats(c, "dx", dx, rows * dim);
    vector_put_floats(c, "dw", dw, dim);
}

static void run_rope(VectorCase *c)
{
    size_t rows, heads = vector_size(c, "heads"), hd = vector_size(c, "head_dim"), n = heads * hd;
    uint32_t *position = vector_ids(c, "position", &rows);
    const char *type = vector_text(c, "rope_type");
    ModelConfig config = {.vocab = 1, .dim = hd, .layers = 1, .heads = 1, .kv_heads = 1, .head_dim = hd, .ff = 1, .context = vector_size(c, "context"),
        .rms_eps = 1e-5, .rope_theta = vector_number(c, "rope_theta", 10000), .rope_factor = vector_number(c, "factor", 1),
        .rope_low = vector_number(c, "low_freq_factor", 1), .rope_high = vector_number(c, "high_freq_factor", 1),
        .rope_original_context = vector_size(c, "original_max_position_embeddings"), .tied = true, .bos = -1, .eos = -1, .pad = -1};
    config.rope_type = !strcmp(type, "linear") ? ROPE_LINEAR : !strcmp(type, "llama3") ? ROPE_LLAMA3 : ROPE_DEFAULT;
    Model model;
    int status = model_init(&model, &config, NULL);
    assert(!status);
    (void)status;
    float *x = vector_floats(c, "x", NULL), *back = vector_block(c, rows * n, sizeof *back);
    memcpy(back, x, rows * n * sizeof *x);
    c->cx->k->rope_rotate(x, n, model.rope_cos, model.rope_sin, position, rows, heads, hd, false);
    c->cx->k->rope_rotate(back, n, model.rope_cos, model.rope_sin, position, rows, heads, hd, true);
    vector_put_floats(c, "cos", model.rope_cos, config.context * (hd / 2));
    vector_put_floats(c, "sin", model.rope_sin, config.context * (hd / 2));
    vector_put_floats(c, "y", x, rows * n);
    vector_put_floats(c, "inverse", back, rows * n);
    model_free(&model);
}

static void run_swiglu(VectorCase *c)
{
    size_t rows = vector_size(c, "rows"), ff = vector_size(c, "ff");
    float *gate_up = vector_floats(c, "gate_up", NULL), *dh = vector_floats(c, "dh", NULL), *h = vector_block(c, rows * ff, sizeof *h);
    c->cx->k->swiglu_forward(h, gate_up, rows, ff);
    c->cx->k->swiglu_backward(gate_up, dh, gate_up, rows, ff);
    vector_put_floats(c, "h", h, rows * ff);
    vector_put_floats(c, "dgate_up", gate_up, 2 * rows * ff);
}

static void run_embedding_backward(VectorCase *c)
{
    size_t rows, dim = vector_size(c, "dim"), n;
    uint32_t *ids = vector_ids(c, "ids", &rows);
    float *table = vector_floats(c, "dtable", &n), *dy = vector_floats(c, "dy", NULL);
    c->cx->k->scatter_rows(table, dy, ids, rows, dim);
    vector_put_floats(c, "dtable", table, n);
}

// ---- attention: sequences of the given lengths, from position 0 ------------------------------------------------------------------

typedef struct { AttentionSpan *spans; size_t count, rows, longest; float *pages; size_t page_floats; } Sequences;

static Sequences make_sequences(VectorCase *c, const AttentionShape *shape)
{
    Sequences s = {.page_floats = shape->kv_heads * 2 * PAGE * shape->head_dim};
    uint32_t *lengths = vector_ids(c, "lengths", &s.count);
    size_t pages = 0;
    for (size_t i = 0; i < s.count; i++) pages += (lengths[i] + PAGE - 1) / PAGE;
    s.spans = vector_block(c, s.count, sizeof *s.spans);
    s.pages = vector_block(c, pages * s.page_floats, sizeof *s.pages);
    float **list = vector_block(c, pages, sizeof *list);
    for (size_t i = 0; i < pages; i++) list[i] = s.pages + i * s.page_floats;
    for (size_t i = 0; i < s.count; i++) {
        s.spans[i] = (AttentionSpan){.row = s.rows, .queries = lengths[i], .pages = list};
        list += (lengths[i] + PAGE - 1) / PAGE;
        s.rows += lengths[i];
        if (lengths[i] > s.longest) s.longest = lengths[i];
    }
    return s;
}

static void run_attention(VectorCase *c)
{
    size_t H = vector_size(c, "heads"), G = vector_size(c, "kv_heads"), hd = vector_size(c, "head_dim"), width = (H + 2 * G) * hd;
    AttentionShape shape = {.heads = H, .kv_heads = G, .head_dim = hd, .q_stride = width, .kv_stride = width, .scale = (float)(1 / host_sqrt((double)hd))};
    Sequences s = make_sequences(c, &shape);
    const Kernels *k = c->cx->k;
    float *qkv = vector_floats(c, "qkv", NULL), *dout = vector_floats(c, "dout", NULL), *out = vector_block(c, s.rows * H * hd, sizeof *out);
    float *stats = vector_block(c, s.rows * H * 2, sizeof *stats), *dqkv = vector_block(c, s.rows * width, sizeof *dqkv);
    size_t stride = attention_scratch_floats(s.longest, hd);
    float *scratch = vector_block(c, stride * c->cx->threads, sizeof *scratch);
    k->attention_store(qkv + H * hd, qkv + (H + G) * hd, s.spans, s.count, &shape);
    k->attention_forward(out, stats, qkv, s.spans, s.count, &shape, (AttentionScratch){scratch, stride, c->cx->threads});
    k->attention_backward(dqkv, dqkv + H * hd, dqkv + (H + G) * hd, dout, out, stats, qkv, s.spans, s.count, &shape, (AttentionScratch){scratch, stride, c->cx->threads});
    vector_put_floats(c, "out", out, s.rows * H * hd);
    vector_put_floats(c, "dqkv", dqkv, s.rows * width);
}

// ---- losses and optimisation -----------------------------------------------------------------------------------------------------

static void run_cross_entropy(VectorCase *c)
{
    size_t rows, vocab = vector_size(c, "vocab");
    uint32_t *target = vector_ids(c, "target", &rows);
    float *logits = vector_floats(c, "logits", NULL), *scale = vector_floats(c, "scale", NULL), *logprob = vector_block(c, rows, sizeof *logprob);
    c->cx->k->cross_entropy(logits, logprob, target, scale, rows, vocab);
    vector_put_floats(c, "logprob", logprob, rows);
    vector_put_floats(c, "dlogits", logits, rows * vocab);
}

static void run_logistic_loss(VectorCase *c)
{
    size_t n;
    float *score = vector_floats(c, "score", &n), *label = vector_floats(c, "label", NULL);
    float *loss = vector_block(c, n, sizeof *loss), *slope = vector_block(c, n, sizeof *slope);
    logistic_loss(c->cx, loss, slope, score, label, n, 1.0f / (float)n);
    vector_put_floats(c, "loss", loss, n);
    vector_put_floats(c, "dscore", slope, n);
}

static void run_pair_loss(VectorCase *c)
{
    size_t n;
    float *score = vector_floats(c, "score", &n), *loss = vector_block(c, n / 2, sizeof *loss), *slope = vector_block(c, n, sizeof *slope);
    bradley_terry_loss(c->cx, loss, slope, score, n / 2, 1.0f / (float)(n / 2));
    vector_put_floats(c, "loss", loss, n / 2);
    vector_put_floats(c, "dscore", slope, n);
}

// Through the trainer, whose one tensor of interest is the embedding of a model with nothing else of weight.
static void run_adamw(VectorCase *c)
{
    size_t n, all, steps = vector_size(c, "steps");
    float *w = vector_floats(c, "w", &n), *g = vector_floats(c, "g", &all);
    double *norm = vector_doubles(c, "norm", &all), *rate = vector_doubles(c, "lr", &all);
    ModelConfig config = {.vocab = n / 2, .dim = 2, .layers = 1, .heads = 1, .kv_heads = 1, .head_dim = 2, .ff = 1, .context = 1, .rms_eps = 1e-5,
        .rope_theta = 10000, .rope_factor = 1, .tied = true, .bos = -1, .eos = -1, .pad = -1};
    TrainOptions how = train_defaults();
    how.beta1 = vector_number(c, "beta1", 0), how.beta2 = vector_number(c, "beta2", 0), how.eps = vector_number(c, "eps", 0);
    how.weight_decay = vector_number(c, "weight_decay", 0), how.clip = vector_number(c, "clip", 0);
    Model model;
    Trainer trainer;
    int status = model_init(&model, &config, NULL) || trainer_init(&trainer, &model, c->cx, &how, NULL);
    assert(!status && n % 2 == 0);
    (void)status;
    memcpy(model.parameters + model.embedding, w, n * sizeof *w);
    for (size_t s = 0; s < steps; s++) {
        StepStats stats = {.grad_norm = norm[s], .lr = rate[s]};
        memcpy(trainer.gradient + model.embedding, g + s * n, n * sizeof *g);
        trainer_update(&trainer, &stats);
    }
    vector_put_floats(c, "w", model.parameters + model.embedding, n);
    vector_put_floats(c, "m", trainer.m + model.embedding, n);
    vector_put_floats(c, "v", trainer.v + model.embedding, n);
    trainer_free(&trainer);
    model_free(&model);
}

// Rewards and advantages of tokens, then both losses with what the model says now.
static void run_ppo(VectorCase *c)
{
    size_t N, n;
    float *old = vector_floats(c, "logprob", &N), *ref = vector_floats(c, "ref_logprob", NULL), *value = vector_floats(c, "value", NULL);
    float *score = vector_floats(c, "score", NULL), *now = vector_floats(c, "logprob_now", NULL), *value_now = vector_floats(c, "value_now", NULL);
    uint32_t *lengths = vector_ids(c, "lengths", &n);
    size_t *length = vector_block(c, n, sizeof *length);
    float *reward = vector_block(c, N, sizeof *reward), *advantage = vector_block(c, N, sizeof *advantage), *target = vector_block(c, N, sizeof *target);
    float *loss = vector_block(c, N, sizeof *loss), *slope = vector_block(c, N, sizeof *slope), *ratio = vector_block(c, N, sizeof *ratio);
    PpoAction *drawn = vector_block(c, N, sizeof *drawn);
    for (size_t i = 0; i < n; i++) length[i] = lengths[i];
    ppo_token_rewards(reward, old, ref, score, length, n, vector_number(c, "beta", 0));
    ppo_advantages(advantage, target, reward, value, length, n, vector_number(c, "gamma", 1), vector_number(c, "lambda", 1));
    vector_put_floats(c, "reward", reward, N);
    vector_put_floats(c, "advantage", advantage, N);
    vector_put_floats(c, "target", target, N);
    ppo_whiten(c->cx->k, advantage, N);
    vector_put_floats(c, "whitened", advantage, N);
    for (size_t t = 0; t < N; t++) drawn[t] = (PpoAction){.logprob = old[t], .value = value[t], .advantage = advantage[t], .target = target[t]};
    ppo_policy_loss(c->cx->k, loss, slope, ratio, now, drawn, N, vector_number(c, "ratio_clip", 0), 1.0f / (float)N);
    vector_put_floats(c, "policy_loss", loss, N);
    vector_put_floats(c, "dlogprob", slope, N);
    ppo_value_loss(loss, slope, value_now, drawn, N, vector_number(c, "value_clip", 0), (float)vector_number(c, "vf_coef", 0) / (float)N);
    vector_put_floats(c, "value_loss", loss, N);
    vector_put_floats(c, "dvalue", slope, N);
}

static void run_schedule(VectorCase *c)
{
    const char *name = vector_text(c, "schedule");
    TrainOptions how = train_defaults();
    how.lr = vector_number(c, "lr", 0), how.warmup = vector_number(c, "warmup", 0), how.final_lr = vector_number(c, "final_lr", 0);
    how.steps = vector_size(c, "steps");
    how.schedule = !strcmp(name, "constant") ? SCHEDULE_CONSTANT : !strcmp(name, "linear") ? SCHEDULE_LINEAR : SCHEDULE_COSINE;
    double *rates = vector_block(c, how.steps, sizeof *rates);
    for (size_t s = 0; s < how.steps; s++) rates[s] = train_lr(&how, s);
    vector_put_doubles(c, "lr", rates, how.steps);
}

const VectorOperation vector_kernels[] = {
    {"fma", run_fma}, {"exp", run_exp}, {"log", run_log}, {"sigmoid", run_sigmoid}, {"double_exp", run_double_exp}, {"double_log", run_double_log},
    {"double_log1p", run_double_log1p}, {"double_sin", run_double_sin}, {"double_cos", run_double_cos}, {"double_pow", run_double_pow},
    {"sums", run_sums}, {"linear_forward", run_linear_forward}, {"linear_backward", run_linear_backward}, {"rmsnorm", run_rmsnorm},
    {"rope", run_rope}, {"swiglu", run_swiglu}, {"embedding_backward", run_embedding_backward}, {"attention", run_attention},
    {"cross_entropy", run_cross_entropy}, {"logistic_loss", run_logistic_loss}, {"pair_loss", run_pair_loss}, {"adamw", run_adamw},
    {"schedule", run_schedule}, {"ppo", run_ppo}, {NULL, NULL},
};
