// SPDX-License-Identifier: MIT
/* bench_model.c - speed of training and sampling for models of several sizes, in tokens and in useful operations: what a
 * token needs at least, counted by model_flops_per_token, backward pass twice the forward pass.
 */
#include "study/bench-internal.h"

#include <string.h>

#include "base/os.h"
#include "kernels/philox.h"
#include "sample.h"
#include "train.h"

#define LLAMA(V, D, L, H, KV, F) {.vocab = V, .dim = D, .layers = L, .heads = H, .kv_heads = KV, .head_dim = (D) / (H), .ff = F, .context = 2048, \
    .rms_eps = 1e-5, .rope_theta = 10000, .tied = true, .bos = -1, .eos = -1, .pad = -1}

static const BenchModel models[] = {
    {"1M", LLAMA(2048, 128, 4, 4, 4, 344)},
    {"5.8M", LLAMA(4096, 256, 6, 8, 8, 688)},
    {"25M", LLAMA(8192, 512, 8, 8, 8, 1376)},
    {"135M", LLAMA(49152, 576, 30, 9, 3, 1536)}, // SmolLM2's shape
};

const BenchModel *bench_model(const char *name)
{
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (!strcmp(models[i].name, name)) return models + i;
    return NULL;
}

// Weights of the usual size; cheaper to make than normal ones, and as fast to multiply with.
int bench_model_init(Model *model, const BenchModel *which, uint64_t seed, Err *err)
{
    if (model_init(model, &which->config, err)) return -1;
    for (size_t i = 0; i < model->tensor_count; i++) {
        const Tensor *t = model->tensors + i;
        for (size_t j = 0; j < t->rows * t->cols; j++) {
            uint32_t bits = (uint32_t)(j + i + seed) * 2654435769u;
            model->parameters[t->offset + j] = t->init_std > 0 ? ((float)(bits >> 8) * 0x1p-24f - 0.5f) * 3.4f * t->init_std : 1.0f;
        }
    }
    return 0;
}

static void fill_ids(uint32_t *ids, size_t n, size_t vocab, uint64_t seed, uint32_t row)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t words[4];
        philox_draw(words, seed, (PhiloxCounter){.c0 = (uint32_t)i, .c2 = row, .c3 = philox_stream(STREAM_SAMPLE, 0)});
        ids[i] = (uint32_t)(words[0] % vocab);
    }
}

// ---- training ----------------------------------------------------------------------------------------------------------------

typedef struct { Trainer trainer; Example *examples; size_t batch; } Training;

static int train_once(void *self, Err *err)
{
    Training *t = self;
    StepStats stats;
    return trainer_step(&t->trainer, t->examples, t->batch, &stats, err);
}

int bench_train(TrainPoint *point, const Bench *bench, const BenchModel *which, size_t batch, size_t tokens, size_t micro_rows, Err *err)
{
    Model model;
    Training t = {.batch = batch};
    TrainOptions options = train_defaults();
    size_t length = tokens + 1, vocab = which->config.vocab; // the last token is a target only
    options.batch = batch, options.micro_rows = micro_rows, options.schedule = SCHEDULE_CONSTANT;
    if (bench_model_init(&model, which, bench->seed, err)) return -1;
    uint32_t *ids = mem_new(err, batch * length, sizeof *ids);
    t.examples = ids ? mem_new(err, batch, sizeof *t.examples) : NULL;
    int status = t.examples ? trainer_init(&t.trainer, &model, bench->cx, &options, err) : -1;
    for (size_t i = 0; !status && i < batch; i++) {
        fill_ids(ids + i * length, length, vocab, bench->seed, (uint32_t)i);
        t.examples[i] = (Example){.ids = ids + i * length, .length = length, .prompt = 1};
    }
    double flops = 3.0 * (double)(model_flops_per_token(&which->config, (tokens + 1) / 2) * tokens * batch);
    BenchContender c = {.work = train_once, .self = &t};
    if (!status) status = train_once(&t, err); // allocates, and meets the memory for the first time
    if (!status) status = bench_turns(&c, 1, bench, err);
    *point = (TrainPoint){.tokens_per_s = c.rate * (double)(tokens * batch), .peak_fraction = c.per_peak * flops, .peak_rss_mb = os_peak_memory_mb()};
    trainer_free(&t.trainer);
    mem_free(t.examples);
    mem_free(ids);
    model_free(&model);
    return status ? -1 : 0;
}

// ---- sampling ----------------------------------------------------------------------------------------------------------------

typedef struct {
    const Model *model;
    const Compute *cx;
    SamplePrompt *prompts;
    Sampled *answers;
    size_t count;
    SampleOptions how;
} Sampling;

static int sample_once(void *self, Err *err)
{
    Sampling *s = self;
    if (sample_generate(s->answers, s->model, s->cx, NULL, s->prompts, s->count, &s->how, NULL, NULL, err)) return -1;
    sampled_free(s->answers, s->count * s->how.samples);
    return 0;
}

// A prompt is computed once for its answers, without the head but at its end.
static double sampling_flops(const ModelConfig *c, SampleShape shape)
{
    double head = 2.0 * (double)(c->vocab * c->dim), prompts = (double)shape.prompts;
    double prompt = (double)shape.prompt_tokens * ((double)model_flops_per_token(c, (shape.prompt_tokens + 1) / 2) - head) + head;
    double answer = (double)(shape.max_new - 1) * (double)model_flops_per_token(c, shape.prompt_tokens + shape.max_new / 2);
    return prompts * (prompt + (double)shape.samples * answer);
}

int bench_sample(SamplePoint *point, const Bench *bench, const BenchModel *which, SampleShape shape, Err *err)
{
    Model model;
    Sampling s = {.model = &model, .cx = bench->cx, .count = shape.prompts, .how = sample_defaults()};
    size_t answers = shape.prompts * shape.samples;
    s.how.samples = shape.samples, s.how.max_new = shape.max_new, s.how.seed = bench->seed;
    if (bench_model_init(&model, which, bench->seed, err)) return -1;
    s.how.room = sample_room_new(err); // call after call with the same weights
    uint32_t *ids = s.how.room ? mem_new(err, shape.prompts * shape.prompt_tokens, sizeof *ids) : NULL;
    s.prompts = ids ? mem_new(err, shape.prompts, sizeof *s.prompts) : NULL;
    s.answers = s.prompts ? mem_new(err, answers, sizeof *s.answers) : NULL;
    int status = s.answers ? 0 : -1;
    for (size_t i = 0; !status && i < shape.prompts; i++) {
        uint32_t *prompt = ids + i * shape.prompt_tokens;
        fill_ids(prompt, shape.prompt_tokens, which->config.vocab, bench->seed, (uint32_t)i);
        s.prompts[i] = (SamplePrompt){.ids = prompt, .length = shape.prompt_tokens, .slot = (uint32_t)i};
    }
    BenchContender c = {.work = sample_once, .self = &s};
    if (!status) status = bench_turns(&c, 1, bench, err);
    *point = (SamplePoint){.tokens_per_s = c.rate * (double)(answers * shape.max_new), .peak_fraction = c.per_peak * sampling_flops(&which->config, shape)};
    sample_room_free(s.how.room);
    mem_free(s.answers);
    mem_free(s.prompts);
    mem_free(ids);
    model_free(&model);
    return status;
}
