// SPDX-License-Identifier: MIT
#include "tests/support_ppo.h"

int make_ppo_fixture(void **state)
{
    Err err = {0};
    TestRandom random = {17};
    if (make_policy_fixture(state)) return -1;
    Model *start = &fixture.start;
    assert_ok(model_add_value_head(start, &err), &err);
    for (size_t i = 0; i <= start->config.dim; i++) start->parameters[start->value + i] = test_uniform(&random, -0.3f, 0.3f);
    return 0;
}

void close_other_compute(Compute *other)
{
    Err err = {0};
    size_t threads = fixture.cx.threads;
    compute_free(other);
    compute_free(&fixture.cx);
    assert_ok(compute_init(&fixture.cx, NULL, "own", threads, &err), &err);
}

void reference_beside_start(Model *reference)
{
    Err err = {0};
    assert_ok(model_copy(reference, &fixture.start, &err), &err);
    TestRandom random = {31};
    for (size_t i = 0; i < reference->parameter_count; i++) reference->parameters[i] *= 1 + test_uniform(&random, -0.1f, 0.1f);
}

PolicyOptions usual_policy(void)
{
    PolicyOptions o = fixture_options(5e-3, 8, 2);
    o.train.weight_decay = 0;
    o.train.schedule = SCHEDULE_CONSTANT;
    return o;
}

PpoOptions usual_ppo(void)
{
    return (PpoOptions){.loss = {.kl_coef = 0.05, .gamma = 1, .lambda = 0.95, .ratio_clip = 0.2, .value_clip = 0.2, .vf_coef = 0.1}, .iterations = 4};
}
