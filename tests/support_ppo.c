// SPDX-License-Identifier: MIT
/* support_ppo.c - a policy with a value head, prompts and options on which PPO's tests stand. */
#include "tests/support_ppo.h"

#include "tests/support_model.h"

void ppo_fixture_close_other(PpoFixture *f, Compute *other)
{
    Err err = {0};
    size_t threads = f->cx.threads;
    compute_free(other);
    compute_free(&f->cx);
    assert_ok(compute_init(&f->cx, NULL, "own", threads, &err), &err);
}

static void make_start(PpoFixture *f)
{
    Err err = {0};
    TestRandom random = {17};
    ModelConfig config = {.vocab = f->tokenizer.vocab, .dim = 32, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 8, .ff = 48,
        .context = CONTEXT, .rms_eps = 1e-5, .rope_theta = 10000, .tied = true, .bos = 0, .eos = 0, .pad = -1};
    assert_ok(model_init(&f->start, &config, &err), &err);
    model_randomise(&f->start, 1);
    for (size_t i = 0; i < config.vocab * config.dim; i++) f->start.parameters[f->start.embedding + i] *= 4;
    assert_ok(model_add_value_head(&f->start, &err), &err);
    for (size_t i = 0; i <= config.dim; i++) f->start.parameters[f->start.value + i] = test_uniform(&random, -0.3f, 0.3f);
}

static const char *const texts[PROMPTS] = {"the film was good", "a very bad film", "what a good story", "the story was very bad", "good"};

int ppo_fixture_open(PpoFixture *f)
{
    Err err = {0};
    *f = (PpoFixture){0};
    if (compute_init(&f->cx, NULL, "own", 0, &err)) return print_error("%s\n", err.text), -1;
    tiny_tokenizer(&f->tokenizer, texts, PROMPTS, 290, "<|endoftext|>");
    tiny_prompts(&f->prompts, texts, PROMPTS);
    assert_ok(policy_tokenize_prompts(&f->prompts, &f->tokenizer, CONTEXT, NEW, &err), &err);
    make_start(f);
    return 0;
}

void ppo_fixture_close(PpoFixture *f)
{
    model_free(&f->start);
    prompts_free(&f->prompts);
    tokenizer_free(&f->tokenizer);
    compute_free(&f->cx);
}

PolicyOptions usual_policy(void)
{
    PolicyOptions o = {.sample = sample_defaults(), .train = train_defaults(), .seed = 9};
    o.sample.max_new = NEW;
    o.sample.eos = 0;
    o.train.lr = 5e-3;
    o.train.weight_decay = 0;
    o.train.schedule = SCHEDULE_CONSTANT;
    o.train.batch = 8;
    o.train.epochs = 2;
    return o;
}

PpoOptions usual_ppo(void)
{
    return (PpoOptions){.loss = {.kl_coef = 0.05, .gamma = 1, .lambda = 0.95, .ratio_clip = 0.2, .value_clip = 0.2, .vf_coef = 0.1}, .iterations = 4};
}

void ppo_fixture_reference(const PpoFixture *f, Model *reference)
{
    Err err = {0};
    assert_ok(model_copy(reference, &f->start, &err), &err);
    TestRandom random = {31};
    for (size_t i = 0; i < reference->parameter_count; i++) reference->parameters[i] *= 1 + test_uniform(&random, -0.1f, 0.1f);
}
