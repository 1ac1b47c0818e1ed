// SPDX-License-Identifier: MIT
/* test_trace.c - raft trace iteration: what it notes is what align computes, whatever the batches; and what raft diff makes of it.
 * A tiny tokenizer and model are made once through the program itself. */
#include "tests/support_cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/candidates.h"
#include "files/checkpoint.h"
#include "files/tracefile.h"

enum { SLOTS = 3, K = 4, NEW = 6 };

static const char how[] = "--prompts @/prompts.jsonl --reward length:4 --reward 0.5*length:2 --gold length:1 --samples 4 --max-new 6 --stage-prompts 3 "
    "--seed 5 --lr 1e-2 --epochs 2";

static int set_up(void **state)
{
    Text texts = {0};
    cli_make_folder(state);
    for (int i = 0; i < 8; i++) text_printf(&texts, NULL, "{\"text\":\"the film number %d was good and the acting was %s\"}\n", i, i % 2 ? "bad" : "great");
    cli_put("texts.jsonl", texts.data);
    cli_put("prompts.jsonl", "{\"prompt\":\"the film\"}\n{\"prompt\":\"acting\"}\n{\"prompt\":\"good and bad\"}\n{\"prompt\":\"number\"}\n");
    expect(raft("tokenizer train --vocab 280 --special '<|endoftext|>' --jsonl @/texts.jsonl -o @/tokenizer.json"), 0, "");
    expect(raft("pretrain --tokenizer @/tokenizer.json --corpus @/texts.jsonl --dim 16 --layers 3 --heads 2 --ff 24 --context 32 --batch 4 "
        "--max-steps 3 --seed 2 -o @/lm --quiet"), 0, "");
    expect(raft("trace iteration @/lm %s -o @/trace", how), 0, "12 candidates, 3 selected, 2 steps");
    text_free(&texts);
    return 0;
}

static void open_trace(TraceFile *trace, const char *name)
{
    Err err = {0};
    char *path = cli_path(name);
    assert_ok(tracefile_open(trace, path, &err), &err);
    free(path);
}

static const TraceTensor *need(const TraceFile *trace, const char *format, ...) PRINTF_LIKE(2, 3);
static const TraceTensor *need(const TraceFile *trace, const char *format, ...)
{
    char name[200];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    const TraceTensor *t = tracefile_find(trace, name);
    if (!t || !t->values) fail_msg("%s is not in the trace", name);
    return t;
}

static float float_at(const TraceTensor *t, size_t at)
{
    float value;
    memcpy(&value, t->values->data + 4 * at, 4); // tests run where memory is little-endian
    return value;
}

static int64_t integer_at(const TraceTensor *t, size_t at)
{
    int64_t value;
    memcpy(&value, t->values->data + 8 * at, 8);
    return value;
}

// ---- what it notes is what align computes --------------------------------------------------------------------------------------

static void candidates_are_those_of_align(void **state)
{
    Err err = {0};
    TraceFile trace;
    SampleList list = {0};
    (void)state;
    expect(raft("align @/lm %s --iterations 1 --eval-prompts 0 -o @/aligned --quiet", how), 0, "");
    char *path = cli_path("aligned/iter_000/candidates.jsonl");
    assert_ok(samples_read(&list, path, &err), &err);
    open_trace(&trace, "trace");
    assert_int_equal(list.count, SLOTS * K);
    for (size_t i = 0; i < list.count; i++) {
        const Sample *s = list.items + i;
        const TraceTensor *tokens = need(&trace, "collect.%03zu.%03zu.tokens", s->slot, s->k);
        assert_int_equal(tokens->count, s->tokens.length);
        for (size_t j = 0; j < tokens->count; j++) assert_int_equal(integer_at(tokens, j), s->tokens.ids[j]);
        const float noted[] = {float_at(need(&trace, "collect.logprob"), i), float_at(need(&trace, "collect.ref_logprob"), i),
            float_at(need(&trace, "rank.reward"), i), float_at(need(&trace, "rank.part.0"), i), float_at(need(&trace, "rank.part.1"), i),
            float_at(need(&trace, "rank.gold"), i)};
        const float wanted[] = {s->logprob, s->ref_logprob, s->reward, s->reward_values[0], s->reward_values[1], s->reward_values[2]};
        assert_same_bits(noted, wanted, 6, "logprob, ref_logprob, reward and its parts");
        assert_int_equal(integer_at(need(&trace, "rank.rank"), i), s->rank);
        assert_int_equal(integer_at(need(&trace, "rank.selected"), i), s->selected);
    }
    samples_free(&list);
    tracefile_close(&trace);
    free(path);
}

static void the_last_parameters_are_those_of_aligns_checkpoint(void **state)
{
    static const struct { const char *prefix, *checkpoint; } ends[] = {{"start", "lm"}, {"step.001.after", "aligned/checkpoint"}};
    Err err = {0};
    TraceFile trace;
    (void)state;
    expect(raft("align @/lm %s --iterations 1 --eval-prompts 0 -o @/aligned --quiet --force", how), 0, "");
    open_trace(&trace, "trace");
    for (size_t e = 0; e < 2; e++) {
        Model model;
        char *path = cli_path(ends[e].checkpoint);
        assert_ok(checkpoint_load(&model, path, &err), &err);
        for (size_t i = 0; i < model.tensor_count; i++) {
            const Tensor *t = model.tensors + i;
            const TraceTensor *noted = need(&trace, "%s.%s", ends[e].prefix, t->name);
            assert_int_equal(noted->count, t->rows * t->cols);
            for (size_t j = 0; j < noted->count; j++) {
                float value = float_at(noted, j);
                assert_same_bits(&value, model.parameters + t->offset + j, 1, t->name);
            }
        }
        model_free(&model);
        free(path);
    }
    tracefile_close(&trace);
}

// The candidate that example `rows` of a step is: the selected one whose tokens are the targets from `at` on.
static const TraceTensor *find_answer(const TraceFile *trace, const TraceTensor *targets, size_t at, size_t *slot, size_t *k)
{
    for (*slot = 0; *slot < SLOTS; ++*slot)
        for (*k = 0; *k < K; ++*k) {
            const TraceTensor *tokens = need(trace, "collect.%03zu.%03zu.tokens", *slot, *k);
            size_t j = 0;
            if (!integer_at(need(trace, "rank.selected"), *slot * K + *k) || at + tokens->count > targets->count) continue;
            while (j < tokens->count && integer_at(tokens, j) == integer_at(targets, at + j)) j++;
            if (j == tokens->count) return tokens;
        }
    fail_msg("target %zu begins no selected answer", at);
    return NULL;
}

// From the KV cache, one token at a time, and in a training pass over whole sequences.
static void logits_of_sampling_have_the_bits_of_the_first_training_pass(void **state)
{
    TraceFile trace;
    size_t compared = 0;
    (void)state;
    expect(raft("trace iteration @/lm %s -o @/cached --force", how), 0, "");
    open_trace(&trace, "cached");
    const TraceTensor *targets = need(&trace, "step.000.targets"), *logits = need(&trace, "step.000.logits"),
        *logprobs = need(&trace, "step.000.logprobs");
    size_t V = logits->shape[1];
    for (size_t at = 0; at < targets->count;) {
        size_t slot, k;
        const TraceTensor *tokens = find_answer(&trace, targets, at, &slot, &k);
        const TraceTensor *drawn = need(&trace, "collect.%03zu.%03zu.logits", slot, k);
        const TraceTensor *noted = need(&trace, "collect.%03zu.%03zu.logprobs", slot, k);
        assert_int_equal(drawn->shape[1], V);
        assert_memory_equal(drawn->values->data, logits->values->data + 4 * at * V, 4 * tokens->count * V);
        assert_memory_equal(noted->values->data, logprobs->values->data + 4 * at, 4 * tokens->count);
        at += tokens->count;
        compared++;
    }
    assert_int_equal(compared, SLOTS);
    tracefile_close(&trace);
}

// Frozen layers share one set of buffers; a trace sees each before the next overwrites it.
static void frozen_layers_pass_alike_and_have_no_gradient(void **state)
{
    static const char *const same[] = {"embedding", "layers.0.attention_norm", "layers.0.q", "layers.0.v", "layers.0.attention",
        "layers.0.attention_residual", "layers.0.gate", "layers.0.hidden", "layers.0.output", "layers.1.k", "layers.1.attention_residual",
        "layers.1.output", "layers.2.q", "layers.2.output", "logits", "backward.layers.2.gate", "grad.model.layers.2.mlp.down_proj.weight"};
    TraceFile whole, frozen;
    (void)state;
    expect(raft("trace iteration @/lm %s --train-layers 2-2 -o @/frozen --force", how), 0, "");
    open_trace(&whole, "trace");
    open_trace(&frozen, "frozen");
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const TraceTensor *a = need(&whole, "step.000.%s", same[i]), *b = need(&frozen, "step.000.%s", same[i]);
        if (a->count != b->count || memcmp(a->values->data, b->values->data, 4 * a->count)) fail_msg("step.000.%s differs", same[i]);
    }
    assert_null(tracefile_find(&frozen, "step.000.grad.model.layers.1.mlp.down_proj.weight"));
    assert_null(tracefile_find(&frozen, "step.000.backward.layers.1.gate"));
    assert_non_null(tracefile_find(&whole, "step.000.grad.model.layers.1.mlp.down_proj.weight"));
    tracefile_close(&whole);
    tracefile_close(&frozen);
}

// ---- what must not change it ---------------------------------------------------------------------------------------------------

static void batches_and_threads_change_no_bit_and_no_name(void **state)
{
    static const char *const others[] = {"--sample-batch 1", "--sample-batch 5 --micro-rows 9", "--micro-rows 1 --threads 3", "--isa plain"};
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        expect(raft("trace iteration @/lm %s %s --hashes-only -o @/hashes --force", how, others[i]), 0, "(hashes only)");
        int status = raft("diff @/trace @/hashes");
        if (status) fail_msg("%s: %s", others[i], cli_output.data);
        char *a = cli_path("hashes/index.jsonl"), *b = cli_path("first.jsonl");
        if (!i) assert_int_equal(rename(a, b), 0);
        else {
            char *x = read_file(a, NULL), *y = read_file(b, NULL);
            if (strcmp(x, y)) fail_msg("%s: the index is another one", others[i]);
            free(x), free(y);
        }
        free(a), free(b);
    }
}

static void a_weight_one_ulp_away_is_the_first_difference(void **state)
{
    Err err = {0};
    Model model;
    Tokenizer tokenizer;
    (void)state;
    char *path = cli_path("lm"), *other = cli_path("other");
    assert_ok(checkpoint_load(&model, path, &err), &err);
    assert_ok(checkpoint_load_tokenizer(&tokenizer, path, &model.config, &err), &err);
    const Tensor *t = model_find(&model, "model.layers.1.mlp.up_proj.weight");
    uint32_t bits;
    memcpy(&bits, model.parameters + t->offset + 5, 4);
    bits++;
    memcpy(model.parameters + t->offset + 5, &bits, 4);
    assert_ok(checkpoint_save(other, &model, &tokenizer, &err), &err);
    expect(raft("trace iteration @/other %s -o @/changed --force", how), 0, "");
    expect(raft("diff @/trace @/changed"), 1, "first difference: start.model.layers.1.mlp.up_proj.weight [24,16] at [0,5]: ");
    expect(raft("diff @/trace @/changed --rtol 1e-2 --atol 1e-2"), 0, ", 0 differ");
    tokenizer_free(&tokenizer);
    model_free(&model);
    free(path), free(other);
}

static void another_seed_is_first_seen_in_what_is_drawn(void **state)
{
    (void)state;
    expect(raft("trace iteration @/lm %s --seed 6 --stage-prompts 4 -o @/seed6 --force", how), 0, "");
    expect(raft("trace iteration @/lm %s --seed 7 --stage-prompts 4 -o @/seed7 --force", how), 0, "");
    raft("diff @/seed6 @/seed7");
    if (!strstr(cli_output.data, "first difference: collect.prompts")) fail_msg("%s", cli_output.data);
}

// ---- requests -------------------------------------------------------------------------------------------------------------------

static void a_trace_is_replaced_only_by_force(void **state)
{
    (void)state;
    expect(raft("trace iteration @/lm %s -o @/once", how), 0, "");
    expect(raft("trace iteration @/lm %s -o @/once", how), 2, "there is a trace already");
    expect(raft("trace iteration @/lm %s -o @/once --force --json", how), 0, "\"candidates\":12,\"selected\":3,\"steps\":2,");
}

static void wrong_requests_exit_with_2(void **state)
{
    (void)state;
    expect(raft("trace iteration @/lm --reward length:3 -o @/x"), 2, "--prompts FILE.jsonl is missing");
    expect(raft("trace iteration @/lm --prompts @/prompts.jsonl -o @/x"), 2, "--reward SPEC is missing");
    expect(raft("trace iteration @/lm --prompts @/prompts.jsonl --reward length:3"), 2, "-o DIR is missing");
    expect(raft("trace iteration --prompts @/prompts.jsonl --reward length:3 -o @/x"), 2, "expected one checkpoint folder, found 0");
    expect(raft("trace iteration @/lm --prompts @/prompts.jsonl --reward length:3 -o @/x --ids 3"), 2, "--ids");
    expect(raft("trace iterations @/lm"), 2, "found \"iterations\"");
    expect(raft("help trace iteration"), 0, "--hashes-only");
    expect(raft("trace iteration --help"), 0, "--hashes-only");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(candidates_are_those_of_align), cmocka_unit_test(the_last_parameters_are_those_of_aligns_checkpoint),
        cmocka_unit_test(logits_of_sampling_have_the_bits_of_the_first_training_pass),
        cmocka_unit_test(frozen_layers_pass_alike_and_have_no_gradient),
        cmocka_unit_test(batches_and_threads_change_no_bit_and_no_name), cmocka_unit_test(a_weight_one_ulp_away_is_the_first_difference),
        cmocka_unit_test(another_seed_is_first_seen_in_what_is_drawn), cmocka_unit_test(a_trace_is_replaced_only_by_force),
        cmocka_unit_test(wrong_requests_exit_with_2),
    };
    return cmocka_run_group_tests(tests, set_up, cli_remove_folder);
}
