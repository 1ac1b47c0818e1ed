// SPDX-License-Identifier: MIT
/* test_ppo_loss.c - PPO's arithmetic: against PyTorch, against itself by differences, at the edges of the clips. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "files/jsonl.h"
#include "files/safetensors.h"
#include "study/trace_ppo.h"

static Compute cx;

static int set_up(void **state)
{
    Err err = {0};
    (void)state;
    return compute_init(&cx, NULL, "own", 0, &err);
}

static int tear_down(void **state)
{
    (void)state;
    compute_free(&cx);
    return 0;
}

// ---- the fixture ----------------------------------------------------------------------------------------------------------------

static PpoCoefficients fixture_coefficients(void)
{
    Err err = {0};
    PpoCoefficients how = {0};
    char *path = golden_path("ppo/params.json");
    assert_non_null(path);
    json_t *object = json_load_document(path, &err);
    const struct { const char *key; double *value; } keys[] = {{"kl_coef", &how.kl_coef}, {"gamma", &how.gamma}, {"lam", &how.lambda},
        {"clip", &how.ratio_clip}, {"value_clip", &how.value_clip}, {"vf_coef", &how.vf_coef}};
    assert_non_null(object);
    for (size_t i = 0; i < 6; i++) assert_ok(json_get_number(object, keys[i].key, keys[i].value, path, &err), &err);
    json_decref(object);
    free(path);
    return how;
}

static float *tensor(const Safetensors *st, const char *name, size_t *n)
{
    Err err = {0};
    const StTensor *t = safetensors_need(st, name, &err);
    assert_non_null(t);
    float *values = malloc(t->count * sizeof *values);
    assert_ok(safetensors_read_f32(st, t, values, t->count, &err), &err);
    *n = t->count;
    return values;
}

static void matches_pytorch_to_1e_5(void **state)
{
    static const char *const names[] = {"token_reward", "advantage", "returns", "whitened_advantage", "ratio", "policy_loss", "value_loss",
        "grad_logits", "grad_values"};
    (void)state;
    Err err = {0};
    PpoCoefficients how = fixture_coefficients();
    char *expected = golden_path("ppo/expected.safetensors"), *folder = temporary_folder(), *out = path_in(folder, "out.safetensors");
    Safetensors theirs, ours;
    assert_non_null(expected);
    assert_ok(trace_ppo(&cx, expected, &how, out, &err), &err);
    assert_ok(safetensors_open(&theirs, expected, &err), &err);
    assert_ok(safetensors_open(&ours, out, &err), &err);
    assert_int_equal(ours.count, sizeof names / sizeof *names);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n, m;
        float *want = tensor(&theirs, names[i], &n), *got = tensor(&ours, names[i], &m);
        assert_int_equal(m, n);
        assert_close(got, want, n, 1e-5, names[i]);
        free(want);
        free(got);
    }
    safetensors_close(&theirs);
    safetensors_close(&ours);
    remove_folder(folder);
    free(folder);
    free(out);
    free(expected);
}

static void a_batch_that_does_not_fit_itself_is_refused_by_name(void **state)
{
    (void)state;
    Err err = {0};
    char *folder = temporary_folder(), *in = path_in(folder, "in.safetensors"), *out = path_in(folder, "out.safetensors");
    float z[24] = {0};
    int64_t actions[4] = {0, 1, 2, 0}, length[2] = {2, 1};
    StOutput tensors[] = {{"logits", ST_F32, 3, {2, 2, 3}, z}, {"old_logits", ST_F32, 3, {2, 2, 3}, z}, {"ref_logits", ST_F32, 3, {2, 2, 3}, z},
        {"values", ST_F32, 2, {2, 2}, z}, {"old_values", ST_F32, 2, {2, 2}, z}, {"score", ST_F32, 1, {2}, z},
        {"actions", ST_I64, 2, {2, 2}, actions}, {"length", ST_I64, 1, {2}, length}};
    size_t count = sizeof tensors / sizeof *tensors;
    PpoCoefficients how = {.gamma = 1, .lambda = 1, .ratio_clip = 0.2, .vf_coef = 1};
    assert_ok(safetensors_write(in, tensors, count, &err), &err);
    assert_ok(trace_ppo(&cx, in, &how, out, &err), &err);
    actions[3] = 3;
    assert_ok(safetensors_write(in, tensors, count, &err), &err);
    assert_input_error(trace_ppo(&cx, in, &how, out, &err), &err, "actions[1,1] is 3, outside the vocabulary of 3");
    actions[3] = 0;
    length[1] = 0;
    assert_ok(safetensors_write(in, tensors, count, &err), &err);
    assert_input_error(trace_ppo(&cx, in, &how, out, &err), &err, "length[1] is 0, expected 1 to 2");
    length[1] = 1;
    tensors[4].shape[1] = 1;
    assert_ok(safetensors_write(in, tensors, count, &err), &err);
    assert_input_error(trace_ppo(&cx, in, &how, out, &err), &err, "old_values");
    tensors[4].shape[1] = 2;
    assert_ok(safetensors_write(in, tensors, count - 1, &err), &err);
    assert_input_error(trace_ppo(&cx, in, &how, out, &err), &err, tensors[count - 1].name);
    z[1] = NAN;
    assert_ok(safetensors_write(in, tensors, count, &err), &err);
    assert_input_error(trace_ppo(&cx, in, &how, out, &err), &err, "not finite");
    remove_folder(folder);
    free(folder);
    free(in);
    free(out);
}

// ---- rewards and advantages ------------------------------------------------------------------------------------------------------

static void the_score_is_paid_once_with_the_last_token(void **state)
{
    (void)state;
    const float logprob[] = {-1, -2, -3, -4}, ref[] = {-2, -2, -1, -4}, score[] = {10, 20};
    const size_t length[] = {1, 3};
    float reward[4];
    ppo_token_rewards(reward, logprob, ref, score, length, 2, 0.5);
    assert_close(reward, (float[]){9.5f, 0, 1, 20}, 4, 1e-7, "token reward");
}

static void without_discount_and_bias_an_advantage_is_what_is_still_to_come(void **state)
{
    (void)state;
    const float reward[] = {1, 2, 4, 8}, value[] = {0.5f, 0.25f, -1, 3};
    const size_t length[] = {3, 1};
    float advantage[4], target[4];
    ppo_advantages(advantage, target, reward, value, length, 2, 1, 1);
    assert_close(target, (float[]){7, 6, 4, 8}, 4, 1e-7, "target"); // lambda 1: the sum of the rewards to come
    assert_close(advantage, (float[]){6.5f, 5.75f, 5, 5}, 4, 1e-7, "advantage");
    ppo_advantages(advantage, target, reward, value, length, 2, 0.5, 0); // one step ahead
    assert_close(advantage, (float[]){1 + 0.125f - 0.5f, 2 - 0.5f - 0.25f, 5, 5}, 4, 1e-7, "advantage");
}

static void whitened_advantages_have_mean_0_and_deviation_1(void **state)
{
    (void)state;
    enum { N = 10000 };
    static float a[N];
    TestRandom random = {3};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < N; i++) a[i] = 100 + 7 * test_uniform(&random, -1, 1);
    ppo_whiten(cx.k, a, N);
    for (size_t i = 0; i < N; i++) sum += a[i], squares += (double)a[i] * a[i];
    assert_true(fabs(sum / N) < 1e-5 && fabs(squares / N - 1) < 1e-5);
    float same[] = {3, 3, 3};
    ppo_whiten(cx.k, same, 3); // no deviation: nothing to divide by
    assert_close(same, (float[]){0, 0, 0}, 3, 0, "equal advantages");
}

// ---- losses ----------------------------------------------------------------------------------------------------------------------

static void the_ratio_is_exactly_1_before_the_policy_moves(void **state)
{
    (void)state;
    enum { N = 1000 };
    static float logprob[N], loss[N], slope[N], ratio[N];
    static PpoAction drawn[N];
    TestRandom random = {5};
    for (size_t i = 0; i < N; i++) {
        logprob[i] = -20 * test_uniform(&random, 0, 1);
        drawn[i] = (PpoAction){.logprob = logprob[i], .advantage = test_uniform(&random, -2, 2)};
    }
    assert_int_equal(ppo_policy_loss(cx.k, loss, slope, ratio, logprob, drawn, N, 0.2, 1), 0);
    for (size_t i = 0; i < N; i++)
        if (ratio[i] != 1.0f || loss[i] != -drawn[i].advantage || slope[i] != -drawn[i].advantage) fail_msg("token %zu: ratio %.9g", i, (double)ratio[i]);
}

static bool near(float slope, float difference) { return fabsf(slope - difference) <= 5e-3f * fabsf(difference) + 3e-4f; } // false for NaN

// Signed and relative, one token at a time; tokens next to an edge of a clip are left out.
static void slopes_are_the_losses_differences(void **state)
{
    (void)state;
    TestRandom random = {7};
    size_t cut = 0, free_tokens = 0;
    for (size_t i = 0; i < 2000; i++) {
        PpoAction drawn = {.logprob = test_uniform(&random, -3, 0), .value = test_uniform(&random, -1, 1),
            .advantage = test_uniform(&random, -2, 2), .target = test_uniform(&random, -1, 1)};
        float logprob = drawn.logprob + test_uniform(&random, -0.6f, 0.6f), value = drawn.value + test_uniform(&random, -0.6f, 0.6f);
        float h = 1e-3f, ratio, slope, unused, up, down, x[2] = {logprob - h, logprob + h}, moved = logprob - drawn.logprob;
        if (fabs(exp(moved) - 0.8) < 0.01 || fabs(exp(moved) - 1.2) < 0.01 || fabsf(fabsf(value - drawn.value) - 0.2f) < 0.01f) continue;
        size_t clipped = ppo_policy_loss(cx.k, &unused, &slope, &ratio, &logprob, &drawn, 1, 0.2, 0.5f);
        ppo_policy_loss(cx.k, &down, &unused, &ratio, x, &drawn, 1, 0.2, 1);
        ppo_policy_loss(cx.k, &up, &unused, &ratio, x + 1, &drawn, 1, 0.2, 1);
        float difference = 0.5f * (up - down) / (2 * h);
        if (!near(slope, difference)) fail_msg("policy: slope %g, difference %g", (double)slope, (double)difference);
        cut += clipped;
        free_tokens += !clipped;
        x[0] = value - h, x[1] = value + h;
        float bounded = value > drawn.value + 0.2f ? drawn.value + 0.2f : value < drawn.value - 0.2f ? drawn.value - 0.2f : value;
        if (bounded != value && fabsf(fabsf(value - drawn.target) - fabsf(bounded - drawn.target)) < 0.01f) continue;
        ppo_value_loss(&unused, &slope, &value, &drawn, 1, 0.2, 0.5f);
        ppo_value_loss(&down, &unused, x, &drawn, 1, 0.2, 1);
        ppo_value_loss(&up, &unused, x + 1, &drawn, 1, 0.2, 1);
        difference = 0.5f * (up - down) / (2 * h);
        if (!near(slope, difference)) fail_msg("value: slope %g, difference %g", (double)slope, (double)difference);
    }
    assert_true(cut > 300 && free_tokens > 300);
}

static void the_clip_stops_gains_and_never_losses(void **state)
{
    (void)state;
    const float logprob[] = {1, -1, 1, -1};
    const PpoAction drawn[] = {{.advantage = 1}, {.advantage = 1}, {.advantage = -1}, {.advantage = -1}};
    float loss[4], slope[4], ratio[4];
    assert_int_equal(ppo_policy_loss(cx.k, loss, slope, ratio, logprob, drawn, 4, 0.2, 1), 2);
    const float e = 2.718281828f;
    assert_close(loss, (float[]){-1.2f, -1 / e, e, 0.8f}, 4, 1e-6, "loss");
    assert_close(slope, (float[]){0, -1 / e, e, 0}, 4, 1e-6, "slope");
}

static void a_value_clip_of_0_is_none(void **state)
{
    (void)state;
    const float value[] = {5};
    const PpoAction drawn[] = {{.value = 0, .target = 6}};
    float loss, slope;
    ppo_value_loss(&loss, &slope, value, drawn, 1, 0, 2);
    assert_true(loss == 0.5f && slope == -2);
    ppo_value_loss(&loss, &slope, value, drawn, 1, 1, 2);
    assert_true(loss == 12.5f && slope == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_pytorch_to_1e_5),
        cmocka_unit_test(a_batch_that_does_not_fit_itself_is_refused_by_name),
        cmocka_unit_test(the_score_is_paid_once_with_the_last_token),
        cmocka_unit_test(without_discount_and_bias_an_advantage_is_what_is_still_to_come),
        cmocka_unit_test(whitened_advantages_have_mean_0_and_deviation_1),
        cmocka_unit_test(the_ratio_is_exactly_1_before_the_policy_moves),
        cmocka_unit_test(slopes_are_the_losses_differences),
        cmocka_unit_test(the_clip_stops_gains_and_never_losses),
        cmocka_unit_test(a_value_clip_of_0_is_none),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
