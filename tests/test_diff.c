// SPDX-License-Identifier: MIT
/* test_diff.c - raft diff: the first tensor that differs, tolerances, name maps, indices of hashes, and what cannot be compared. */
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/checkpoint.h"
#include "study/differences.h"

static char *folder, *model_path, *other_path; // a checkpoint, and a copy with one weight changed
static Model model;
static Text output;

static char *in_folder(const char *name) { return path_in(folder, name); }

static int set_up(void **state)
{
    const ModelConfig config = {.vocab = 40, .dim = 16, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 4, .ff = 24, .context = 32,
        .rms_eps = 1e-5, .rope_theta = 1e4, .rope_factor = 1, .bos = -1, .eos = -1, .pad = -1};
    Err err = {0};
    (void)state;
    folder = temporary_folder();
    model_path = in_folder("model");
    other_path = in_folder("other");
    assert_ok(model_init(&model, &config, &err), &err);
    model_randomise(&model, 3);
    for (size_t i = 0; i < model.parameter_count; i++) model.parameters[i] *= model.parameters[i] == 1.0f ? 1.0f : 8.0f;
    assert_ok(checkpoint_save(model_path, &model, NULL, &err), &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    model_free(&model);
    text_free(&output);
    remove_folder(folder);
    free(folder), free(model_path), free(other_path);
    return 0;
}

static void expect_said(const char *fragment)
{
    if (!strstr(output.data, fragment)) fail_msg("\"%s\" was expected in: %s", fragment, output.data);
}

// raft diff A B with options, both in the folder; its exit status.
static int diff(const char *a, const char *b, const char *options)
{
    return run_raft(&output, "diff %s/%s %s/%s %s", folder, a, folder, b, options);
}

static void expect_diff(const char *a, const char *b, const char *options, int status, const char *fragment)
{
    int got = diff(a, b, options);
    if (got != status) fail_msg("exit status %d where %d was expected: %s", got, status, output.data);
    expect_said(fragment);
}

static void write_tensors(const char *name, const StOutput *tensors, size_t count)
{
    Err err = {0};
    char *path = in_folder(name);
    assert_ok(safetensors_write(path, tensors, count, &err), &err);
    free(path);
}

static void write_floats(const char *file, const char *name, const float *values, size_t rows, size_t cols)
{
    write_tensors(file, &(StOutput){.name = name, .type = ST_F32, .dims = 2, .shape = {rows, cols}, .data = values}, 1);
}

// One tensor of a type that this program does not write.
static void write_raw(const char *file, const char *dtype, size_t n, const void *bytes, size_t size)
{
    uint8_t raw[400] = {0};
    char header[200], *path = in_folder(file);
    int length = snprintf(header, sizeof header, "{\"x\":{\"dtype\":\"%s\",\"shape\":[1,%zu],\"data_offsets\":[0,%zu]}}", dtype, n, size);
    raw[0] = (uint8_t)length;
    memcpy(raw + 8, header, (size_t)length);
    memcpy(raw + 8 + length, bytes, size);
    write_file(path, raw, 8 + (size_t)length + size);
    free(path);
}

static void write_text(const char *file, const char *text)
{
    char *path = in_folder(file);
    write_file(path, text, strlen(text));
    free(path);
}

static void trace_forward_of(const char *checkpoint, const char *file)
{
    if (run_raft(&output, "trace forward %s --ids 5,7,9,30,1,2,3,4,39,20,21,22,23,7,7,14 -o %s/%s --force", checkpoint, folder, file)) fail_msg("%s", output.data);
}

// The next float away from zero.
static float one_ulp_on(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits++;
    memcpy(&x, &bits, 4);
    return x;
}

// ---- what it must show -----------------------------------------------------------------------------------------------------

static void one_weight_one_ulp_away_is_found(void **state)
{
    static const struct { const char *weight, *first; } cases[] = {
        {"model.embed_tokens.weight", "embedding"},
        {"model.layers.0.self_attn.q_proj.weight", "layers.0.q"},     {"model.layers.1.self_attn.k_proj.weight", "layers.1.k"},
        {"model.layers.1.self_attn.v_proj.weight", "layers.1.v"},     {"model.layers.1.self_attn.o_proj.weight", "layers.1.attention_residual"},
        {"model.layers.0.mlp.gate_proj.weight", "layers.0.gate"},     {"model.layers.1.mlp.up_proj.weight", "layers.1.up"},
        {"model.layers.1.mlp.down_proj.weight", "layers.1.output"},   {"model.norm.weight", "norm"},
        {"lm_head.weight", "logits"},
    };
    Err err = {0};
    (void)state;
    trace_forward_of(model_path, "before.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Tensor *t = model_find(&model, cases[i].weight);
        assert_non_null(t);
        size_t at = t->offset + 7 * t->cols; // of token 7's row, or of row 7
        if (t->dims == 1) at = t->offset + 3;
        for (size_t j = 0; j < t->cols && t->dims == 2; j++) // the row's largest: its last bit is the least likely to be rounded away
            if (fabsf(model.parameters[t->offset + 7 * t->cols + j]) > fabsf(model.parameters[at])) at = t->offset + 7 * t->cols + j;
        float kept = model.parameters[at];
        model.parameters[at] = one_ulp_on(kept);
        assert_ok(checkpoint_save(other_path, &model, NULL, &err), &err);
        model.parameters[at] = kept;
        trace_forward_of(other_path, "after.safetensors");
        char first[80];
        snprintf(first, sizeof first, "first difference: %s [", cases[i].first);
        if (diff("before.safetensors", "after.safetensors", "") != 1) fail_msg("%s: %s", cases[i].weight, output.data);
        expect_said(first);
        expect_diff("before.safetensors", "after.safetensors", "--atol 1e-4", 0, " agree within the tolerance, 0 differ");
    }
    expect_diff("before.safetensors", "before.safetensors", "", 0, "25 tensors: 25 have the same bits, 0 differ");
}

static void names_the_worst_element_with_both_values(void **state)
{
    const float a[6] = {1, 2, 3, 4, 5, 6}, b[6] = {1, 2.5f, 3, 4, 5.0000005f, 6};
    (void)state;
    write_floats("a", "x", a, 2, 3);
    write_floats("b", "x", b, 2, 3);
    expect_diff("a", "b", "", 1, "first difference: x [2,3] at [0,1]: 2 (40000000) against 2.5 (40200000), 2097152 ulps apart; 2 of 6 values differ");
    expect_diff("a", "b", "--rtol 1e-6", 1, "1 of 6 values differ");
    expect_diff("a", "b", "--rtol 0.25", 0, "1 agree within the tolerance, 0 differ");
    expect_diff("a", "b", "--atol 0.49", 1, "1 of 6 values differ");
    expect_diff("a", "b", "--json", 1, "\"first\":\"x\"");
    expect_said("{\"same\":false,\"same_bits\":0,\"within\":0,\"differ\":1,\"trouble\":0");
    expect_said("\"unlike\":2,\"values\":6,\"worst_at\":\"[0,1]\",\"left\":\"2 (40000000)\",\"right\":\"2.5 (40200000)\",\"at_most\":0.5,\"ulps\":2097152");
}

static void bits_tell_what_values_do_not(void **state)
{
    const float plus[2] = {0.0f, NAN}, minus[2] = {-0.0f, NAN}, number[2] = {0.0f, 1.0f}, infinite[2] = {0.0f, INFINITY};
    (void)state;
    write_floats("plus", "x", plus, 1, 2);
    write_floats("minus", "x", minus, 1, 2);
    write_floats("number", "x", number, 1, 2);
    write_floats("infinite", "x", infinite, 1, 2);
    expect_diff("plus", "plus", "", 0, "1 have the same bits");
    expect_diff("plus", "minus", "", 1, "at [0,0]: 0 (00000000) against -0 (80000000), 1 ulp apart; 1 of 2 values differ");
    expect_diff("plus", "minus", "--rtol 1e-9", 0, "1 agree within the tolerance");
    expect_diff("plus", "number", "--rtol 1e9", 2, "a number in range was expected"); // no tolerance so large that it hides everything
    expect_diff("plus", "number", "--rtol 1e6 --atol 1e30", 1, "at [0,1]: nan");
    expect_diff("infinite", "number", "--rtol 1e6 --atol 1e30", 1, "at [0,1]: inf");
    expect_diff("plus", "number", "--json", 1, "\"at_most\":null");
}

// ---- other frameworks --------------------------------------------------------------------------------------------------------

static void floats_of_other_widths_are_compared_by_value(void **state)
{
    const double doubles[2] = {0.5, 0.1};
    const uint16_t halves[2] = {0x3800, 0x2E66}; // 0.5, 0.0999756
    const int32_t integers[2] = {3, -4};
    const int64_t longs[2] = {3, -4};
    const float floats[2] = {0.5f, 0.1f};
    (void)state;
    write_tensors("f32", &(StOutput){.name = "x", .type = ST_F32, .dims = 1, .shape = {2}, .data = floats}, 1);
    write_tensors("i64", &(StOutput){.name = "x", .type = ST_I64, .dims = 1, .shape = {2}, .data = longs}, 1);
    write_raw("f64", "F64", 2, doubles, sizeof doubles);
    write_raw("f16", "F16", 2, halves, sizeof halves);
    write_raw("i32", "I32", 2, integers, sizeof integers);
    expect_diff("f32", "f64", "", 2, "tensor \"x\": dtype F32 against F64");
    expect_diff("f32", "f64", "--rtol 1e-7", 0, "1 agree within the tolerance"); // [2] against [1,2] as well
    expect_diff("f32", "f64", "--rtol 1e-9", 1, "at [1]: 0.100000001 (3dcccccd) against 0.10000000000000001 (3fb999999999999a)");
    expect_diff("f32", "f16", "--rtol 1e-3", 0, "1 agree within the tolerance");
    expect_diff("f16", "f32", "--rtol 1e-4", 1, "1 of 2 values differ");
    expect_diff("i64", "i32", "--rtol 1e-9", 0, "1 agree within the tolerance");
    expect_diff("i64", "f32", "--rtol 1", 2, "dtype I64 against F32");
}

static void a_map_pairs_the_names_of_two_frameworks(void **state)
{
    const float a[2] = {1, 2}, b[2] = {3, 4}, c[2] = {3, 5};
    StOutput ours[3] = {{"layers.0.q", ST_F32, 1, {2}, a}, {"layers.10.q", ST_F32, 1, {2}, b}, {"norm", ST_F32, 1, {2}, a}};
    StOutput theirs[3] = {{"block_0/query", ST_F32, 1, {2}, a}, {"block_10/query", ST_F32, 1, {2}, c}, {"extra", ST_F32, 1, {2}, a}};
    (void)state;
    write_tensors("ours", ours, 3);
    write_tensors("theirs", theirs, 3);
    write_text("map", "# ours      theirs\nlayers.*.q  block_*/query\n");
    char options[400];
    snprintf(options, sizeof options, "--map %s/map", folder);
    expect_diff("ours", "theirs", options, 1, "first difference: layers.10.q [2] at [1]: 4 (40800000) against 5");
    expect_said("2 tensors: 1 have the same bits, 1 differ; 1 others are not in the map");
    expect_diff("ours", "theirs", "", 2, "\"layers.0.q\": there is no \"layers.0.q\" in ");
    write_text("map", "layers.*.q  block_*/key\n");
    expect_diff("ours", "theirs", options, 2, "there is no \"block_0/key\"");
    write_text("map", "**  **\n");
    expect_diff("ours", "ours", options, 0, "3 have the same bits");
    write_text("map", "*  *\n");
    expect_diff("ours", "ours", options, 0, "1 have the same bits, 0 differ; 2 others");
}

static void a_wrong_map_is_named_by_its_line(void **state)
{
    static const struct { const char *text, *fragment; } cases[] = {
        {"norm\n", "map:1: expected two names, found 1"},
        {"\n#\nnorm a b\n", "map:3: expected two names, found 3"},
        {"layers.*.q layer\n", "map:1: 1 stars on the left, 0 on the right"},
        {"norm norm\nnorm2 norm2 # not there\n", "map:2: no tensor is called \"norm2\""},
        {"# nothing\n", "map: no line with two names"},
    };
    const float a[2] = {1, 2};
    char options[400];
    (void)state;
    write_floats("only", "norm", a, 1, 2);
    snprintf(options, sizeof options, "--map %s/map", folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text("map", cases[i].text);
        expect_diff("only", "only", options, 2, cases[i].fragment);
    }
}

// ---- indices and damage --------------------------------------------------------------------------------------------------------

static void hashes_alone_can_be_compared(void **state)
{
    const float a[2] = {1, 2}, b[2] = {1, 3};
    char line[300];
    (void)state;
    write_floats("a", "x", a, 1, 2);
    write_floats("b", "x", b, 1, 2);
    snprintf(line, sizeof line, "{\"name\":\"x\",\"dtype\":\"F32\",\"shape\":[1,2],\"hash\":\"%016llx\"}\n",
        (unsigned long long)hash_bytes(0, a, sizeof a)); // tests run where memory is little-endian
    write_text("index.jsonl", line);
    expect_diff("a", "index.jsonl", "", 0, "1 have the same bits");
    expect_diff("b", "index.jsonl", "", 1, "first difference: x [1,2]: the hashes differ");
    expect_diff("index.jsonl", "index.jsonl", "", 0, "1 have the same bits");
    expect_diff("b", "index.jsonl", "--rtol 0.5", 2, "without values a tolerance cannot be applied");
    write_text("index.jsonl", "{\"name\":\"x\",\"dtype\":\"F32\",\"shape\":[2],\"hash\":\"0123456789abcdef\"}\n");
    expect_diff("a", "index.jsonl", "", 2, "shape [1,2] against [2]");
    write_text("index.jsonl", "{\"name\":\"x\",\"dtype\":\"F32\",\"shape\":[2],\"hash\":\"0123\"}\n");
    expect_diff("a", "index.jsonl", "", 2, "index.jsonl:1: key \"hash\": expected 16 hexadecimal digits");
    write_text("index.jsonl", "{\"name\":\"x\",\"dtype\":\"F32\",\"shape\":[-2],\"hash\":\"0123456789abcdef\"}\n");
    expect_diff("a", "index.jsonl", "", 2, "index.jsonl:1: key \"shape\"");
    write_text("index.jsonl", "");
    expect_diff("a", "index.jsonl", "", 2, "no tensor in it");
}

static void a_folder_must_agree_with_its_index(void **state)
{
    const float a[2] = {1, 2};
    static const char *const line = "{\"name\":\"%s\",\"file\":\"part.safetensors\",\"dtype\":\"F32\",\"shape\":[%s],\"hash\":\"%016llx\"}\n";
    unsigned long long hash = (unsigned long long)hash_bytes(0, a, sizeof a);
    static const struct { const char *name, *shape; unsigned damage; const char *fragment; } cases[] = {
        {"x", "1,2", 1, "tensor \"x\" has the hash"},
        {"x", "2", 0, "tensor \"x\" has another dtype or shape"},
        {"y", "1,2", 0, "index.jsonl:1: tensor \"y\" is missing in "},
    };
    Err err = {0};
    (void)state;
    char *trace = in_folder("trace"), text[600];
    assert_int_equal(run_raft(&output, "diff %s/a %s", folder, trace), 2); // not there
    write_floats("a", "x", a, 1, 2);
    assert_ok(os_make_folders(trace, &err), &err);
    assert_int_equal(run_raft(&output, "diff %s/a %s", folder, trace), 2);
    expect_said("no index.jsonl");
    write_floats("trace/part.safetensors", "x", a, 1, 2);
    snprintf(text, sizeof text, line, "x", "1,2", hash);
    write_text("trace/index.jsonl", text);
    expect_diff("a", "trace", "", 0, "1 have the same bits");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, line, cases[i].name, cases[i].shape, hash ^ cases[i].damage);
        write_text("trace/index.jsonl", text);
        expect_diff("a", "trace", "", 2, cases[i].fragment);
    }
    size_t n = (size_t)snprintf(text, sizeof text, line, "x", "1,2", hash);
    snprintf(text + n, sizeof text - n, line, "x", "1,2", hash);
    write_text("trace/index.jsonl", text);
    expect_diff("a", "trace", "", 2, "tensor \"x\" is there twice");
    StOutput two[2] = {{"x", ST_F32, 2, {1, 2}, a}, {"unsaid", ST_F32, 2, {1, 2}, a}};
    write_tensors("trace/part.safetensors", two, 2);
    text[n] = '\0';
    write_text("trace/index.jsonl", text);
    expect_diff("a", "trace", "", 2, "tensor \"unsaid\" of part.safetensors is not in the index");
    free(trace);
}

static void a_cut_file_is_named(void **state)
{
    const float a[20] = {1, 2};
    char *path = in_folder("whole"), *cut = in_folder("cut");
    size_t n;
    (void)state;
    write_floats("whole", "x", a, 4, 5);
    char *bytes = read_file(path, &n);
    for (size_t keep = 0; keep < n; keep += keep < 16 ? 1 : 9) {
        write_file(cut, bytes, keep);
        expect_diff("whole", "cut", "", 2, "cut");
    }
    expect_diff("whole", "absent", "", 2, "absent");
    assert_int_equal(run_raft(&output, "diff %s", path), 2);
    expect_said("diff: expected two traces, found 1");
    free(bytes), free(path), free(cut);
}

// What is missing or of another shape does not hide what differs.
static void trouble_comes_after_all_else_was_compared(void **state)
{
    const float a[2] = {1, 2}, b[2] = {1, 3};
    StOutput left[3] = {{"embedding", ST_F32, 1, {2}, a}, {"layers.0.q", ST_F32, 1, {2}, a}, {"norm", ST_F32, 1, {2}, a}};
    StOutput right[3] = {{"layers.0.q", ST_F32, 2, {2, 1}, a}, {"norm", ST_F32, 1, {2}, b}, {"logits", ST_F32, 1, {2}, a}};
    (void)state;
    write_tensors("left", left, 3);
    write_tensors("right", right, 3);
    expect_diff("left", "right", "", 2, "first difference: norm [2] at [1]: 2 (40000000) against 3");
    expect_said("3 cannot be compared");
    expect_said("shape [2] against [2,1]");
    expect_said("raft: tensor \"embedding\": there is no \"embedding\" in ");
    expect_said("there is no \"logits\" in ");
    expect_diff("left", "right", "--json", 2, "\"trouble\":3");
}

static void names_tell_the_order_of_computation(void **state)
{
    static const char *const ordered[] = {"start.model.embed_tokens.weight", "start.model.layers.2.mlp.up_proj.weight", "collect.000.001.logits",
        "collect.000.002.logits", "rank.reward", "step.000.embedding", "step.000.layers.0.attention_norm", "step.000.layers.0.q",
        "step.000.layers.0.k", "step.000.layers.0.output", "step.000.layers.2.q", "step.000.layers.10.q", "step.000.norm", "step.000.logits",
        "step.000.loss", "step.000.grad.lm_head.weight", "step.000.grad.model.norm.weight", "step.000.grad.model.layers.10.mlp.up_proj.weight",
        "step.000.grad.model.layers.2.mlp.up_proj.weight", "step.000.grad.model.layers.2.mlp.gate_proj.weight",
        "step.000.grad.model.embed_tokens.weight", "step.000.grad_norm", "step.000.after.model.embed_tokens.weight",
        "step.000.after.model.norm.weight", "step.001.embedding", "what", "what.else"};
    (void)state;
    for (size_t i = 0; i < sizeof ordered / sizeof *ordered; i++)
        for (size_t j = 0; j < sizeof ordered / sizeof *ordered; j++) {
            int order = trace_order(ordered[i], ordered[j]), want = i < j ? -1 : i > j;
            if ((order > 0) - (order < 0) != want) fail_msg("%s against %s: %d", ordered[i], ordered[j], order);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_weight_one_ulp_away_is_found), cmocka_unit_test(names_the_worst_element_with_both_values),
        cmocka_unit_test(bits_tell_what_values_do_not), cmocka_unit_test(floats_of_other_widths_are_compared_by_value),
        cmocka_unit_test(a_map_pairs_the_names_of_two_frameworks), cmocka_unit_test(a_wrong_map_is_named_by_its_line),
        cmocka_unit_test(hashes_alone_can_be_compared), cmocka_unit_test(a_folder_must_agree_with_its_index),
        cmocka_unit_test(a_cut_file_is_named), cmocka_unit_test(trouble_comes_after_all_else_was_compared),
        cmocka_unit_test(names_tell_the_order_of_computation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
