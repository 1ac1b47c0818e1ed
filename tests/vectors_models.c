// SPDX-License-Identifier: MIT
/* vectors_models.c - the operations of test vectors on whole models: initialisation, a forward pass, training steps, reward heads,
 * sampling, and iterations of RAFT (docs/SPEC.md, sections 5 to 14, 16 and 18). A model is its sizes and a seed, so that no weights
 * are stored; "shift" multiplies its matrices by a power of two, because weights of 0.02 would hide in near-uniform softmaxes. */
#include "tests/vectors.h"

#include "files/checkpoint.h"
#include "files/jsonl.h"
#include "policy.h"
#include "reward_head.h"
#include "study/scoring.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void must(int status, const Err *err)
{
    if (status) fprintf(stderr, "vectors: %s\n", err->text);
    assert(!status);
}

// ---- models ----------------------------------------------------------------------------------------------------------------------

static size_t size_of(const json_t *object, const char *key, size_t fallback)
{
    const json_t *value = json_object_get(object, key);
    return value ? (size_t)json_integer_value(value) : fallback;
}

static bool is(const json_t *object, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value && !strcmp(value, text);
}

static void make_model(Model *model, const json_t *m, size_t vocab)
{
    size_t heads = size_of(m, "heads", 1), dim = size_of(m, "dim", 0);
    ModelConfig config = {.vocab = size_of(m, "vocab", vocab), .dim = dim, .layers = size_of(m, "layers", 1), .heads = heads,
        .kv_heads = size_of(m, "kv_heads", heads), .head_dim = size_of(m, "head_dim", dim / heads), .ff = size_of(m, "ff", 0),
        .context = size_of(m, "context", 64), .rms_eps = 1e-5, .rope_theta = 10000, .rope_factor = 1, .rope_low = 1, .rope_high = 1,
        .tied = json_is_true(json_object_get(m, "tied")), .head = is(m, "head", "score") ? HEAD_SCORE : HEAD_LM,
        .pooling = is(m, "pooling", "mean") ? POOL_MEAN : POOL_LAST, .bos = -1, .eos = -1, .pad = -1};
    const json_t *eos = json_object_get(m, "eos");
    if (eos) config.eos = json_integer_value(eos);
    Err err = {0};
    must(model_init(model, &config, &err), &err);
    model_randomise(model, size_of(m, "seed", 1));
    float scale = ldexpf(1, (int)size_of(m, "shift", 0));
    for (size_t i = 0; i < model->tensor_count; i++) {
        const Tensor *t = model->tensors + i;
        for (size_t j = 0; t->init_std > 0 && j < t->rows * t->cols; j++) model->parameters[t->offset + j] *= scale;
    }
}

static void put_tensors(VectorCase *c, const char *key, const Model *model, const float *values)
{
    json_t *all = json_object();
    for (size_t i = 0; i < model->tensor_count; i++) {
        const Tensor *t = model->tensors + i;
        json_object_set_new(all, t->name, vector_hex(values + t->offset, t->rows * t->cols));
    }
    vector_put(c, key, all);
}

// The files of a checkpoint without a tokenizer, and their hash.
static void run_initial(VectorCase *c)
{
    Model model;
    make_model(&model, json_object_get(c->in, "model"), 0);
    put_tensors(c, "parameters", &model, model.parameters);
    vector_put_hash(c, "checkpoint_hash", checkpoint_hash(&model));
    model_free(&model);
}

// ---- examples --------------------------------------------------------------------------------------------------------------------

typedef struct { Example *examples; size_t count; } ExampleSet;

// "sequences": lists of ids; "prompts": where the counted tokens begin; "labels": of a score head
static ExampleSet read_examples(VectorCase *c)
{
    const json_t *lists = json_object_get(c->in, "sequences");
    ExampleSet set = {.count = json_array_size(lists)};
    uint32_t *prompts = vector_ids(c, "prompts", NULL), *labels = vector_ids(c, "labels", NULL);
    size_t given = json_array_size(json_object_get(c->in, "prompts")), labelled = json_array_size(json_object_get(c->in, "labels"));
    set.examples = vector_block(c, set.count, sizeof *set.examples);
    for (size_t i = 0; i < set.count; i++) {
        const json_t *list = json_array_get(lists, i);
        size_t n = json_array_size(list);
        uint32_t *ids = vector_block(c, n, sizeof *ids);
        for (size_t t = 0; t < n; t++) ids[t] = (uint32_t)json_integer_value(json_array_get(list, t));
        set.examples[i] = (Example){.ids = ids, .length = n, .prompt = i < given ? prompts[i] : 0, .label = i < labelled ? (float)labels[i] : 0};
    }
    return set;
}

// Logits at every position of every sequence, from one ragged batch.
static void run_forward(VectorCase *c)
{
    Model model;
    Workspace ws;
    LossScratch scratch;
    Err err = {0};
    size_t rows = 0;
    ExampleSet set = read_examples(c);
    make_model(&model, json_object_get(c->in, "model"), 0);
    for (size_t i = 0; i < set.count; i++) rows += set.examples[i].length;
    must(workspace_init(&ws, &model, c->cx, rows, set.count, false, &err), &err);
    must(loss_scratch_init(&scratch, &model, c->cx, rows, &err), &err);
    for (size_t i = 0; i < set.count; i++) batch_add(&ws, set.examples[i].ids, set.examples[i].length);
    model_forward(&model, NULL, &ws);
    uint32_t *row = vector_block(c, rows, sizeof *row);
    float *logits = vector_block(c, rows * model.config.vocab, sizeof *logits);
    for (size_t i = 0; i < rows; i++) row[i] = (uint32_t)i;
    vector_put_floats(c, "residual", ws.x, rows * model.config.dim);
    lm_logits(&model, NULL, &ws, &scratch, logits, row, rows);
    json_t *each = json_array();
    for (size_t i = 0; i < rows; i++) json_array_append_new(each, vector_hex(logits + i * model.config.vocab, model.config.vocab));
    vector_put(c, "logits", each);
    loss_scratch_free(&scratch);
    workspace_free(&ws);
    model_free(&model);
}

// Steps on the same examples: loss, norm and gradients of the first, everything after the last.
static void run_train(VectorCase *c)
{
    Model model;
    Trainer trainer;
    Err err = {0};
    ExampleSet set = read_examples(c);
    size_t steps = vector_size(c, "steps");
    double *loss = vector_block(c, steps, sizeof *loss), *norm = vector_block(c, steps, sizeof *norm);
    const char *kind = vector_text(c, "loss");
    TrainOptions how = train_defaults();
    how.loss = !strcmp(kind, "logistic") ? LOSS_LOGISTIC : !strcmp(kind, "pairs") ? LOSS_PAIRS : LOSS_LM;
    how.lr = 0.01, how.steps = steps, how.clip = vector_number(c, "clip", 1);
    how.micro_rows = vector_size(c, "micro_rows") ? vector_size(c, "micro_rows") : how.micro_rows;
    make_model(&model, json_object_get(c->in, "model"), 0);
    must(trainer_init(&trainer, &model, c->cx, &how, &err), &err);
    for (size_t s = 0; s < steps; s++) {
        StepStats stats;
        must(trainer_gradient(&trainer, set.examples, set.count, &stats, &err), &err);
        if (s == 0) put_tensors(c, "gradient", &model, trainer.gradient);
        trainer_update(&trainer, &stats);
        loss[s] = stats.loss, norm[s] = stats.grad_norm;
    }
    vector_put_doubles(c, "loss", loss, steps);
    vector_put_doubles(c, "grad_norm", norm, steps);
    put_tensors(c, "after", &model, model.parameters);
    trainer_free(&trainer);
    model_free(&model);
}

// A run over epochs, in shuffled order, with prefixes and windows when it is a reward head.
static void run_head(VectorCase *c)
{
    Model model;
    Err err = {0};
    ExampleSet set = read_examples(c);
    TokenList *texts = vector_block(c, set.count, sizeof *texts);
    float *labels = vector_block(c, set.count, sizeof *labels), *score = vector_block(c, set.count, sizeof *score);
    for (size_t i = 0; i < set.count; i++) {
        texts[i] = (TokenList){.ids = (uint32_t *)(uintptr_t)set.examples[i].ids, .length = set.examples[i].length};
        labels[i] = set.examples[i].label;
    }
    HeadExamples data = {.texts = texts, .labels = labels, .count = set.count};
    HeadOptions options = {.prefix_share = 0.5, .prefix_least = 3, .prefix_most = vector_size(c, "prefix_most"),
        .max_tokens = vector_size(c, "head_tokens"), .seed = vector_size(c, "seed")};
    TrainOptions how = train_defaults();
    how.lr = 0.01, how.batch = 2, how.epochs = 3;
    make_model(&model, json_object_get(c->in, "model"), 0);
    must(head_train(&model, c->cx, &data, &options, &how, NULL, NULL, &err), &err);
    must(head_score(&model, c->cx, texts, set.count, score, &err), &err);
    put_tensors(c, "after", &model, model.parameters);
    vector_put_floats(c, "score", score, set.count);
    model_free(&model);
}

// ---- generation ------------------------------------------------------------------------------------------------------------------

static void run_sample(VectorCase *c)
{
    Model model;
    Err err = {0};
    ExampleSet set = read_examples(c);
    SampleOptions how = sample_defaults();
    how.samples = vector_size(c, "K"), how.max_new = vector_size(c, "max_new"), how.seed = vector_size(c, "seed");
    how.iteration = (uint32_t)vector_size(c, "iteration"), how.top_k = vector_size(c, "top_k");
    how.temperature = (float)vector_number(c, "temperature", 1), how.top_p = (float)vector_number(c, "top_p", 1);
    make_model(&model, json_object_get(c->in, "model"), 0);
    how.eos = model.config.eos;
    SamplePrompt *prompts = vector_block(c, set.count, sizeof *prompts);
    for (size_t i = 0; i < set.count; i++) prompts[i] = (SamplePrompt){.ids = set.examples[i].ids, .length = set.examples[i].length, .slot = (uint32_t)i};
    size_t count = set.count * how.samples;
    Sampled *answers = vector_block(c, count, sizeof *answers);
    must(sample_generate(answers, &model, c->cx, NULL, prompts, set.count, &how, NULL, NULL, &err), &err);
    json_t *tokens = json_array(), *logprobs = json_array();
    float *sums = vector_block(c, count, sizeof *sums);
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(tokens, json_ids(answers[i].ids, answers[i].length));
        json_array_append_new(logprobs, vector_hex(answers[i].logprobs, answers[i].length));
        sums[i] = answers[i].logprob;
    }
    vector_put(c, "tokens", tokens);
    vector_put(c, "logprobs", logprobs);
    vector_put_floats(c, "logprob", sums, count);
    sampled_free(answers, count);
    model_free(&model);
}

// ---- RAFT ------------------------------------------------------------------------------------------------------------------------

typedef struct { VectorCase *c; const Policy *policy; json_t *stage, *stages; } Observer;

static int observe(void *self, const char *step, size_t iteration, const CandidateList *list, Err *err)
{
    Observer *o = self;
    (void)iteration;
    if (!strcmp(step, "ranked")) {
        json_t *lines = json_array();
        must(candidates_record(list, err), err);
        for (size_t i = 0; i < list->count; i++) {
            const Candidate *a = list->items + i;
            const Sample *s = a->item;
            const float bits[] = {s->logprob, s->ref_logprob, a->log_ratio, a->score, a->reward};
            json_array_append_new(lines, json_pack("{s:I,s:I,s:I,s:s,s:s%,s:o,s:o,s:I,s:b}", "slot", (json_int_t)a->slot, "prompt", (json_int_t)a->prompt,
                "k", (json_int_t)a->k, "source", s->source, "text", s->text, s->text_length, "tokens", json_ids(s->tokens.ids, s->tokens.length),
                "logprob_ref_ratio_score_reward", vector_hex(bits, 5), "rank", (json_int_t)a->rank, "selected", (int)a->selected));
        }
        o->stage = json_pack("{s:o}", "candidates", lines);
    }
    if (!strcmp(step, "finetuned")) {
        VectorCase numbers = {.cx = o->c->cx, .out = o->stage};
        const StepStats *last = &o->policy->last;
        vector_put_doubles(&numbers, "loss_norm_lr", (double[]){last->loss, last->grad_norm, last->lr}, 3);
        vector_put_hash(&numbers, "checkpoint_hash", checkpoint_hash(o->policy->model));
        json_array_append_new(o->stages, o->stage);
    }
    return 0;
}

typedef struct { Tokenizer tokenizer; Model model, reference; PromptList prompts; Policy policy; RewardSet rewards; } Alignment;

static PolicyOptions policy_options(VectorCase *c, const Model *model, const char *const *expert)
{
    PolicyOptions how = {.sample = sample_defaults(), .train = train_defaults(), .seed = vector_size(c, "seed"), .experts = expert, .expert_count = *expert ? 1 : 0};
    how.sample.max_new = vector_size(c, "max_new"), how.sample.eos = model->config.eos, how.sample.stop = vector_text(c, "stop");
    how.sample.temperature = (float)vector_number(c, "temperature", 1), how.sample.top_k = vector_size(c, "top_k");
    how.sample.top_p = (float)vector_number(c, "top_p", 1);
    how.train.lr = vector_number(c, "lr", 1e-3), how.train.batch = vector_size(c, "batch"), how.train.epochs = vector_size(c, "epochs");
    return how;
}

// A tokenizer from texts, a random model that knows its tokens, p0 the same, prompts, rewards.
static void open_alignment(Alignment *a, VectorCase *c, const char *const *expert)
{
    const json_t *texts = json_object_get(c->in, "texts"), *asked = json_object_get(c->in, "prompts"), *specs = json_object_get(c->in, "rewards");
    const char *special = "<|endoftext|>", *names[8] = {0};
    size_t n = json_array_size(texts), rewards = json_array_size(specs);
    TextView *views = vector_block(c, n, sizeof *views);
    Err err = {0};
    for (size_t i = 0; i < n; i++) views[i] = (TextView){json_string_value(json_array_get(texts, i)), json_string_length(json_array_get(texts, i))};
    for (size_t i = 0; i < rewards; i++) names[i] = json_string_value(json_array_get(specs, i));
    TokenizerTraining training = {.vocab = vector_size(c, "vocab"), .special = &special, .special_count = 1};
    must(tokenizer_train(&a->tokenizer, views, n, &training, &err), &err);
    make_model(&a->model, json_object_get(c->in, "model"), a->tokenizer.vocab);
    must(model_copy(&a->reference, &a->model, &err), &err);
    for (size_t i = 0; i < json_array_size(asked); i++) {
        const json_t *text = json_array_get(asked, i);
        char id[24];
        snprintf(id, sizeof id, "%zu", i);
        must(prompts_add(&a->prompts, id, json_string_value(text), json_string_length(text), &err), &err);
    }
    PolicyOptions how = policy_options(c, &a->model, expert);
    must(policy_tokenize_prompts(&a->prompts, &a->tokenizer, a->model.config.context, how.sample.max_new, &err), &err);
    must(policy_init(&a->policy, &a->model, &a->reference, &a->tokenizer, &a->prompts, c->cx, &how, &err), &err);
    must(reward_open(&a->rewards, names, rewards, NULL, c->cx, 1, &err), &err);
}

static void close_alignment(Alignment *a)
{
    reward_close(&a->rewards);
    policy_free(&a->policy);
    prompts_free(&a->prompts);
    model_free(&a->reference);
    model_free(&a->model);
    tokenizer_free(&a->tokenizer);
}

static void run_raft(VectorCase *c)
{
    Alignment a = {0};
    Err err = {0};
    const char *expert = vector_text(c, "expert");
    open_alignment(&a, c, &expert);
    Observer observer = {.c = c, .policy = &a.policy, .stages = json_array()};
    RankOptions rank = {.mode = is(c->in, "mode", "global") ? RANK_GLOBAL : RANK_LOCAL, .accept = vector_number(c, "accept", 0),
        .kl_beta = vector_number(c, "beta", 0)};
    Raft raft = {.generator = policy_generator(&a.policy), .reward = reward_source(&a.rewards, true), .prompts = a.prompts.count, .stage = vector_size(c, "stage"),
        .samples = vector_size(c, "K"), .rank = rank, .measure_kl = true, .seed = vector_size(c, "seed"), .observer = observe, .observer_self = &observer};
    vector_put_hash(c, "start_hash", checkpoint_hash(&a.model));
    vector_put_hash(c, "tokenizer_hash", tokenizer_hash(&a.tokenizer));
    for (size_t t = 0; t < vector_size(c, "iterations"); t++) must(raft_iteration(&raft, t, &err), &err);
    vector_put(c, "stages", observer.stages);
    close_alignment(&a);
}

const VectorOperation vector_models[] = {
    {"initial", run_initial}, {"forward", run_forward}, {"train", run_train}, {"head", run_head}, {"sample", run_sample}, {"raft", run_raft}, {NULL, NULL},
};
