// SPDX-License-Identifier: MIT
#include "tests/support_policy.h"

#include <stdlib.h>

PolicyFixture fixture;

static const char *const texts[PROMPTS] = {"the film was good", "a very bad film", "what a good story", "the story was very bad",
    "good \xc3\xa9t\xc3\xa9"};

int make_policy_fixture(void **state)
{
    Err err = {0};
    (void)state;
    fixture = (PolicyFixture){0};
    if (compute_init(&fixture.cx, NULL, "own", 0, &err)) return print_error("%s\n", err.text), -1;
    fixture.folder = temporary_folder();
    tiny_tokenizer(&fixture.tokenizer, texts, PROMPTS, 290, "<|endoftext|>");
    tiny_prompts(&fixture.prompts, texts, PROMPTS);
    assert_ok(policy_tokenize_prompts(&fixture.prompts, &fixture.tokenizer, CONTEXT, NEW, &err), &err);
    tiny_language_model(&fixture.start, fixture.tokenizer.vocab, CONTEXT, 1);
    return 0;
}

int drop_policy_fixture(void **state)
{
    (void)state;
    model_free(&fixture.start);
    prompts_free(&fixture.prompts);
    tokenizer_free(&fixture.tokenizer);
    remove_folder(fixture.folder);
    free(fixture.folder);
    compute_free(&fixture.cx);
    return 0;
}

SampleOptions fixture_sampling(void)
{
    SampleOptions o = sample_defaults();
    o.max_new = NEW;
    o.eos = 0;
    return o;
}

PolicyOptions fixture_options(double lr, size_t batch, size_t epochs)
{
    PolicyOptions o = {.sample = fixture_sampling(), .train = train_defaults(), .seed = 9};
    o.train.lr = lr;
    o.train.batch = batch;
    o.train.epochs = epochs;
    return o;
}
