// SPDX-License-Identifier: MIT
// Models of other programs in and out: the same bits when nothing is rounded, and an error that names what is not supported.
#include "tests/support.h"

#include "files/checkpoint.h"
#include "files/gguf_model.h"
#include "files/gguf_write.h"
#include "files/hub.h"
#include "files/llama2c.h"
#include "files/rope_rows.h"
#include "files/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *folder;
static Model model;      // small, grouped heads, tied; its vocabulary is that of the golden tokenizer
static Tokenizer tokenizer;

static char *in_folder(const char *name) { return path_in(folder, name); }

static int begin(void **state)
{
    (void)state;
    Err err = {0};
    ModelConfig config = {.vocab = 2050, .dim = 64, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 16, .ff = 96, .context = 64,
        .rms_eps = 1e-5,
        .rope_theta = 50000, .rope_factor = 1, .rope_low = 1, .rope_high = 1, .rope_original_context = 64, .tied = true, .head = HEAD_LM,
        .bos = -1, .eos = 0, .pad = -1};
    folder = temporary_folder();
    char *file = golden_path("bpe-imdb-2048/tokenizer.json");
    if (!file) return print_error("tests/golden/bpe-imdb-2048 is missing (tests run from the top folder)\n"), -1;
    if (model_init(&model, &config, &err) || tokenizer_load(&tokenizer, file, &err)) return print_error("%s\n", err.text), -1;
    model_randomise(&model, 3);
    free(file);
    return 0;
}

static int end(void **state)
{
    (void)state;
    model_free(&model);
    tokenizer_free(&tokenizer);
    remove_folder(folder);
    free(folder);
    return 0;
}

static void assert_same_model(const Model *got, const Model *want)
{
    assert_int_equal(got->parameter_count, want->parameter_count);
    assert_true(checkpoint_hash(got) == checkpoint_hash(want)); // configuration and bits
    assert_same_bits(got->parameters, want->parameters, want->parameter_count, "parameters");
}

// ---- rows -------------------------------------------------------------------------------------------------------------------

static void rows_of_a_head_come_in_the_order_that_rope_pairs(void **state)
{
    (void)state;
    float rows[12] = {0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15}, scratch[6]; // two heads of six rows of one value; pairs are neighbours
    const float want[12] = {0, 2, 4, 1, 3, 5, 10, 12, 14, 11, 13, 15};
    rope_rows_from_neighbours(rows, 2, 6, 1, scratch);
    assert_same_bits(rows, want, 12, "rows");
    for (size_t r = 0; r < 12; r++) assert_true(want[rope_row_at_neighbours(r, 6)] == (float)(r < 6 ? r : r + 4));
}

// ---- mapped checkpoints --------------------------------------------------------------------------------------------------------

static void a_saved_checkpoint_is_mapped_and_changes_stay_out_of_the_file(void **state)
{
    (void)state;
    Err err = {0};
    Model first, second;
    char *path = in_folder("mapped");
    assert_ok(checkpoint_save(path, &model, &tokenizer, &err) || checkpoint_load(&first, path, &err), &err);
    assert_non_null(first.map.data);
    assert_same_model(&first, &model);
    for (size_t i = 0; i < first.parameter_count; i++) first.parameters[i] += 1;
    assert_ok(checkpoint_load(&second, path, &err), &err);
    assert_same_model(&second, &model);
    assert_true(first.parameters[5] == model.parameters[5] + 1);
    assert_ok(checkpoint_save(path, &first, &tokenizer, &err), &err); // over the file that both lie in
    assert_same_model(&second, &model);
    model_free(&first);
    model_free(&second);
    assert_ok(checkpoint_load(&first, path, &err), &err);
    assert_true(first.parameters[5] == model.parameters[5] + 1);
    model_free(&first);
    free(path);
}

static void a_checkpoint_in_another_order_is_read(void **state)
{
    (void)state;
    Err err = {0};
    Model other;
    char *path = golden_path("llama-tiny");
    if (!path) skip_because("tests/golden/llama-tiny is missing");
    assert_ok(checkpoint_load(&other, path, &err), &err);
    assert_null(other.map.data);
    model_free(&other);
    free(path);
}

static void refuses_weights_that_are_not_finite(void **state)
{
    (void)state;
    Err err = {0};
    Model again;
    char *path = in_folder("nan");
    float *value = &model.parameters[model.layers[1].out + 7], before = *value;
    *value = NAN;
    assert_ok(checkpoint_save(path, &model, NULL, &err), &err);
    assert_input_error(checkpoint_load(&again, path, &err), &err, "model.layers.1.self_attn.o_proj.weight: element 7 is not finite");
    *value = before;
    free(path);
}

// ---- sharded and half-precision directories ---------------------------------------------------------------------------------------

static void write_shards(const char *path, const char *index)
{
    Err err = {0};
    StOutput outputs[32];
    char *parts[2] = {path_in(path, "a.safetensors"), path_in(path, "b.safetensors")};
    size_t half = model.tensor_count / 2;
    assert_ok(checkpoint_save(path, &model, NULL, &err), &err);
    for (size_t i = 0; i < model.tensor_count; i++) {
        const Tensor *t = &model.tensors[i];
        outputs[i] = (StOutput){.name = t->name, .type = ST_F32, .dims = t->dims, .shape = {t->dims == 1 ? t->cols : t->rows, t->cols},
            .data = model.parameters + t->offset};
    }
    assert_ok(safetensors_write(parts[0], outputs, half, &err) || safetensors_write(parts[1], outputs + half, model.tensor_count - half,
        &err), &err);
    Text text = {0};
    text_puts(&text, NULL, "{\"weight_map\": {");
    for (size_t i = 0; i < model.tensor_count; i++)
        text_printf(&text, NULL, "%s\"%s\": \"%s\"", i ? "," : "", model.tensors[i].name, i < half ? "a.safetensors" : "b.safetensors");
    text_puts(&text, NULL, "}}");
    char *file = path_in(path, "model.safetensors.index.json"), *whole = path_in(path, "model.safetensors");
    write_file(file, index ? index : text.data, strlen(index ? index : text.data));
    remove(whole);
    text_free(&text);
    free(file), free(whole), free(parts[0]), free(parts[1]);
}

static void reads_sharded_weights(void **state)
{
    (void)state;
    Err err = {0};
    Model again;
    char *path = in_folder("shards");
    write_shards(path, NULL);
    assert_ok(checkpoint_load(&again, path, &err), &err);
    assert_same_model(&again, &model);
    model_free(&again);
    static const struct { const char *index, *fragment; } bad[] = {
        {"{}", "key \"weight_map\": expected an object"},
        {"{\"weight_map\": {}}", "no tensors"},
        {"{\"weight_map\": {\"model.norm.weight\": \"../b.safetensors\"}}", "not the name of a file in this folder"},
        {"{\"weight_map\": {\"model.norm.weight\": \"c.safetensors\"}}", "c.safetensors"},
        {"{\"weight_map\": {\"model.norm.weight\": \"b.safetensors\"}}", "but the index says nothing of it"},
        {"{\"weight_map\": {\"model.norm.weight\": 5}}", "must name a file"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_shards(path, bad[i].index);
        assert_input_error(checkpoint_load(&again, path, &err), &err, bad[i].fragment);
    }
    free(path);
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    Err err = {0};
    Model again;
    char *path = in_folder("bf16");
    float *p = model.parameters, kept[4] = {p[0], p[1], p[2], p[3]};
    const float values[4] = {1.0f + 0x1p-8f, 1.0f + 0x3p-8f, 1.0f + 0x1p-8f + 0x1p-20f, -0x1p-130f}, want[4] = {1.0f, 1.0f + 0x1p-6f,
        1.0f + 0x1p-7f, -0x1p-130f};
    memcpy(p, values, sizeof values);
    assert_ok(checkpoint_save_bf16(path, &model, NULL, &err) || checkpoint_load(&again, path, &err), &err);
    assert_same_bits(again.parameters, want, 4, "rounded");
    assert_close(again.parameters + 4, p + 4, model.parameter_count - 4, 0x1p-8, "rounded");
    model_free(&again);
    p[0] = 3.4e38f;
    assert_input_error(checkpoint_save_bf16(path, &model, NULL, &err), &err, "that BF16 cannot hold");
    memcpy(p, kept, sizeof kept);
    free(path);
}

// ---- GGUF ----------------------------------------------------------------------------------------------------------------------

static void gguf_gives_back_the_same_bits(void **state)
{
    (void)state;
    Text output = {0};
    Err err = {0};
    char *lm = in_folder("lm"), *file = in_folder("lm.gguf"), *again = in_folder("again");
    assert_ok(checkpoint_save(lm, &model, &tokenizer, &err) || hub_save(lm, &model.config, &tokenizer, "{{ messages }}\n", &err), &err);
    if (run_raft(&output, "export '%s' --format gguf -o '%s'", lm, file)) fail_msg("%s", output.data);
    if (run_raft(&output, "import '%s' -o '%s' --quiet", file, again)) fail_msg("%s", output.data);
    assert_non_null(strstr(output.data, "from GGUF, 0.2 million parameters (2 layers, dim 64, 4 heads over 2"));
    static const char *const same[] = {"model.safetensors", "config.json", "chat_template.jinja"};
    for (size_t i = 0; i < 3; i++) {
        char *written = path_in(lm, same[i]), *read_back = path_in(again, same[i]);
        assert_same_file(read_back, written);
        free(written);
        free(read_back);
    }
    Tokenizer tk;
    assert_ok(checkpoint_load_tokenizer(&tk, again, &model.config, &err), &err);
    TokenList ids[2] = {{0}, {0}};
    static const char text[] = "A film of 1999, and <|endoftext|> it isn't bad!\n\n caf\xC3\xA9";
    assert_ok(tokenizer_encode(&tokenizer, &ids[0], text, strlen(text), &err) || tokenizer_encode(&tk, &ids[1], text, strlen(text),
        &err), &err);
    assert_int_equal(ids[0].length, ids[1].length);
    assert_memory_equal(ids[0].ids, ids[1].ids, ids[0].length * sizeof(uint32_t));
    tokens_free(&ids[0]), tokens_free(&ids[1]);
    tokenizer_free(&tk);
    assert_int_equal(run_raft(&output, "import '%s' -o '%s'", file, again), 2);
    assert_non_null(strstr(output.data, "--force replaces it"));
    text_free(&output);
    free(lm), free(file), free(again);
}

static void gguf_halves_and_bytes_are_close(void **state)
{
    (void)state;
    static const struct { const char *dtype; GgufType type; double tolerance; } kinds[] = {{"F16", GGUF_F16, 0x1p-11}, {"Q8_0",
        GGUF_Q8_0, 1.0 / 220}};
    Err err = {0};
    char *lm = in_folder("lm2"), *file = in_folder("lm2.gguf"), *json = in_folder("lm2/tokenizer.json");
    assert_ok(checkpoint_save(lm, &model, &tokenizer, &err), &err);
    for (size_t i = 0; i < 2; i++) {
        Gguf g;
        Model again;
        assert_ok(gguf_save_model(file, &model, json, &tokenizer, NULL, kinds[i].type, &err), &err);
        assert_ok(gguf_open(&g, file, &err) || gguf_load_model(&again, &g, NULL, NULL, &err), &err);
        assert_string_equal(gguf_type_name(gguf_find_tensor(&g, "token_embd.weight")->type), kinds[i].dtype);
        for (size_t t = 0; t < model.tensor_count; t++) {
            const Tensor *tensor = &model.tensors[t];
            double tolerance = tensor->dims == 1 ? 0 : kinds[i].tolerance;
            assert_close(again.parameters + tensor->offset, model.parameters + tensor->offset, tensor->rows * tensor->cols, tolerance,
                tensor->name);
        }
        model_free(&again);
        gguf_close(&g);
    }
    float *value = &model.parameters[model.layers[0].down], before = *value;
    *value = 70000;
    assert_input_error(gguf_save_model(file, &model, json, &tokenizer, NULL, GGUF_F16, &err), &err,
        "\"blk.0.ffn_down.weight\" has values that F16 cannot hold");
    *value = before;
    free(lm), free(file), free(json);
}

static const float ones[64 * 64];

// A file of one layer; extra: another tensor's name or NULL.
static void write_gguf(const char *path, const char *architecture, const char *rope, const char *extra, const float *embedding)
{
    Err err = {0};
    GgufWriter w = {0};
    const GgufOutput tensors[] = {
        {"token_embd.weight", GGUF_F32, 20, 8, embedding, 0}, {"output_norm.weight", GGUF_F32, 0, 8, ones, 0},
        {"blk.0.attn_norm.weight", GGUF_F32, 0, 8, ones, 0}, {"blk.0.attn_q.weight", GGUF_F32, 8, 8, ones, 0},
        {"blk.0.attn_k.weight", GGUF_F32, 8, 8, ones, 0}, {"blk.0.attn_v.weight", GGUF_F32, 8, 8, ones, 0},
        {"blk.0.attn_output.weight", GGUF_F32, 8, 8, ones, 0}, {"blk.0.ffn_norm.weight", GGUF_F32, 0, 8, ones, 0},
        {"blk.0.ffn_gate.weight", GGUF_F32, 12, 8, ones, 0}, {"blk.0.ffn_up.weight", GGUF_F32, 12, 8, ones, 0},
        {"blk.0.ffn_down.weight", GGUF_F32, 8, 12, ones, 0}, {extra, GGUF_F32, 0, 8, ones, 0},
    };
    gguf_put_text(&w, "general.architecture", architecture, strlen(architecture), &err);
    static const struct { const char *key; size_t value; } sizes[] = {{"llama.embedding_length", 8}, {"llama.block_count", 1},
        {"llama.attention.head_count", 2}, {"llama.feed_forward_length", 12}, {"llama.context_length", 16}};
    for (size_t i = 0; i < 5; i++) gguf_put_u32(&w, sizes[i].key, sizes[i].value, &err);
    gguf_put_f32(&w, "llama.attention.layer_norm_rms_epsilon", 1e-5, &err);
    if (rope) gguf_put_text(&w, "llama.rope.scaling.type", rope, strlen(rope), &err);
    if (rope) gguf_put_f32(&w, "llama.rope.scaling.factor", 4, &err);
    assert_ok(gguf_write(&w, path, tensors, extra ? 12 : 11, &err), &err);
    gguf_writer_free(&w);
}

static int load_gguf(Model *out, const char *path, Err *err)
{
    Gguf g;
    assert_ok(gguf_open(&g, path, err), err);
    int status = gguf_load_model(out, &g, NULL, NULL, err);
    gguf_close(&g);
    return status;
}

static void refuses_gguf_models_it_does_not_compute(void **state)
{
    (void)state;
    Err err = {0};
    Model out;
    float bad[160] = {0};
    char *path = in_folder("small.gguf");
    write_gguf(path, "llama", "linear", NULL, ones);
    assert_ok(load_gguf(&out, path, &err), &err);
    assert_true(out.config.tied && out.config.rope_type == ROPE_LINEAR && out.config.rope_factor == 4 && out.config.rms_eps == 1e-5);
    model_free(&out);
    write_gguf(path, "gemma3", NULL, NULL, ones);
    assert_input_error(load_gguf(&out, path, &err), &err, "architecture \"gemma3\" is not supported");
    write_gguf(path, "llama", "yarn", NULL, ones);
    assert_input_error(load_gguf(&out, path, &err), &err, "llama.rope.scaling.type \"yarn\" is not supported");
    write_gguf(path, "llama", NULL, "blk.0.attn_q.bias", ones);
    assert_input_error(load_gguf(&out, path, &err), &err, "\"blk.0.attn_q.bias\" has no place");
    write_gguf(path, "llama", NULL, "rope_freqs.weight", ones);
    assert_input_error(load_gguf(&out, path, &err), &err, "\"rope_freqs.weight\"");
    bad[7] = INFINITY;
    write_gguf(path, "llama", NULL, NULL, bad);
    assert_input_error(load_gguf(&out, path, &err), &err, "\"token_embd.weight\": value 7 is not finite");
    free(path);
}

// ---- llama2.c -------------------------------------------------------------------------------------------------------------------

static void add_words(Text *out, const uint32_t *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 4; k++) text_add(out, NULL, &(char){(char)(words[i] >> (8 * k))}, 1);
}

static void add_tensor(Text *out, const char *format, size_t layer, size_t heads)
{
    char name[96];
    snprintf(name, sizeof name, format, layer);
    const Tensor *t = model_find(&model, name);
    for (size_t r = 0; r < t->rows; r++) {
        size_t from = heads ? r / 16 * 16 + r % 2 * 8 + r % 16 / 2 : r;
        add_words(out, (const uint32_t *)(const void *)(model.parameters + t->offset + from * t->cols), t->cols);
    }
}

// The model as llama2.c's legacy export writes it.
static Text llama2c_file(void)
{
    const uint32_t header[7] = {64, 96, 2, 4, 2, 2050, 64}, zero = 0;
    static const struct { const char *format; size_t heads; } kinds[] = {
        {"model.layers.%zu.input_layernorm.weight", 0}, {"model.layers.%zu.self_attn.q_proj.weight", 4},
            {"model.layers.%zu.self_attn.k_proj.weight", 2},
        {"model.layers.%zu.self_attn.v_proj.weight", 0}, {"model.layers.%zu.self_attn.o_proj.weight", 0},
        {"model.layers.%zu.post_attention_layernorm.weight", 0}, {"model.layers.%zu.mlp.gate_proj.weight", 0},
        {"model.layers.%zu.mlp.down_proj.weight", 0}, {"model.layers.%zu.mlp.up_proj.weight", 0},
    };
    Text out = {0};
    add_words(&out, header, 7);
    add_tensor(&out, "model.embed_tokens.weight", 0, 0);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (size_t l = 0; l < 2; l++) add_tensor(&out, kinds[i].format, l, kinds[i].heads);
    add_tensor(&out, "model.norm.weight", 0, 0);
    for (size_t i = 0; i < 64 * 16; i++) add_words(&out, &zero, 1);
    return out;
}

static void reads_llama2c_to_the_bit(void **state)
{
    (void)state;
    Err err = {0};
    Model again;
    char *path = in_folder("model.bin");
    Text file = llama2c_file();
    write_file(path, file.data, file.length);
    assert_ok(llama2c_load(&again, path, &err), &err);
    assert_same_bits(again.parameters, model.parameters, model.parameter_count, "parameters");
    assert_true(again.config.rope_theta == 10000 && again.config.tied && again.config.context == 64);
    model_free(&again);
    text_free(&file);
    free(path);
}

static void refuses_damaged_llama2c_files(void **state)
{
    (void)state;
    Err err = {0};
    Model again;
    char *path = in_folder("bad.bin");
    Text file = llama2c_file();
    for (size_t length = 0; length < file.length; length += length < 64 ? 1 : 9973) {
        write_file(path, file.data, length);
        assert_input_error(llama2c_load(&again, path, &err), &err, "bad.bin");
    }
    for (size_t field = 0; field < 7; field++)
        for (int k = 0; k < 3; k++) {
            static const uint32_t values[3] = {0, 0x7FFFFFFF, 0xFFFFFFFF};
            char kept[4];
            memcpy(kept, file.data + 4 * field, 4);
            for (int b = 0; b < 4; b++) file.data[4 * field + (size_t)b] = (char)(values[k] >> (8 * b));
            write_file(path, file.data, file.length);
            assert_input_error(llama2c_load(&again, path, &err), &err, "bad.bin");
            memcpy(file.data + 4 * field, kept, 4);
        }
    memcpy(file.data, "24ka\1\0\0\0", 8);
    write_file(path, file.data, file.length);
    assert_input_error(llama2c_load(&again, path, &err), &err, "version 1; only version 0");
    text_free(&file);
    file = llama2c_file();
    memcpy(file.data + 28 + 40, "\0\0\xC0\x7F", 4);
    write_file(path, file.data, file.length);
    assert_input_error(llama2c_load(&again, path, &err), &err, "model.embed_tokens.weight: element 10 is not finite");
    text_free(&file);
    free(path);
}

static void stories_begin_as_llama2c_tells_them(void **state)
{
    (void)state;
    Text output = {0};
    char *bin = shared_path("models/stories260K/stories260K.bin"), *vocabulary = shared_path("models/stories260K/tok512.bin");
    if (!bin || !vocabulary) free(bin), free(vocabulary), skip_because("../shared/models/stories260K is missing");
    char *out = in_folder("stories");
    assert_int_equal(run_raft(&output, "import '%s' -o '%s'", bin, out), 2);
    assert_non_null(strstr(output.data, "--tokenizer FILE.bin"));
    if (run_raft(&output, "import '%s' --tokenizer '%s' -o '%s'", bin, vocabulary, out)) fail_msg("%s", output.data);
    if (run_raft(&output, "generate '%s' --prompt '' --temperature 0 --max-new 50", out)) fail_msg("%s", output.data);
    if (!strstr(output.data,
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball"))
        fail_msg("%s", output.data);
    static const char template_text[] = "{% for m in messages %}{{ m.content }} {% endfor %}", said[] = "Once upon a time\nand then\n";
    char *chat_template = in_folder("stories.jinja"), *lines = in_folder("stories.txt"); // the file holds none of its own
    write_file(chat_template, template_text, strlen(template_text));
    write_file(lines, said, strlen(said));
    assert_int_equal(run_raft(&output, "chat '%s' --temperature 0 --max-new 20 2>&1 < '%s' #", out, lines), 2);
    assert_non_null(strstr(output.data, "--template FILE"));
    if (run_raft(&output, "chat '%s' --template '%s' --temperature 0 --max-new 20 2>/dev/null < '%s' #", out, chat_template, lines))
        fail_msg("%s", output.data);
    assert_string_equal(output.data, "Anna was very excited. She was very excited\nreached the park. She was very happy and proud of\n");
    text_free(&output);
    free(bin), free(vocabulary), free(out), free(chat_template), free(lines);
}

// ---- training some layers of it ---------------------------------------------------------------------------------------------------

static void train_layers_leaves_the_others_as_they_are(void **state)
{
    (void)state;
    Text output = {0};
    Err err = {0};
    Model tuned;
    static const char lines[] = "{\"prompt\": \"This film\", \"response\": \" is wonderful\"}\n{\"prompt\": \"I\", \"response\": \" liked it\"}\n";
    char *lm = in_folder("sft-lm"), *data = in_folder("sft.jsonl"), *out = in_folder("sft-out");
    write_file(data, lines, strlen(lines));
    assert_ok(checkpoint_save(lm, &model, &tokenizer, &err), &err);
    if (run_raft(&output, "sft '%s' --data '%s' --train-layers 1 --quiet -o '%s'", lm, data, out)) fail_msg("%s", output.data);
    assert_ok(checkpoint_load(&tuned, out, &err), &err);
    for (size_t i = 0; i < model.tensor_count; i++) {
        const Tensor *t = &model.tensors[i];
        bool same = !memcmp(tuned.parameters + t->offset, model.parameters + t->offset, t->rows * t->cols * sizeof(float));
        if (same == !strncmp(t->name, "model.layers.1.", 15)) fail_msg("%s: %s", t->name, same ? "did not learn" : "changed");
    }
    static const char *const bad[] = {"2", "1-0", "0-2", "0-", "x", "0-1x", "-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (run_raft(&output, "sft '%s' --data '%s' --train-layers=%s --quiet --force -o '%s'", lm, data, bad[i], out) != 2 ||
            !strstr(output.data, "--train-layers")) fail_msg("%s: %s", bad[i], output.data);
    model_free(&tuned);
    text_free(&output);
    free(lm), free(data), free(out);
}

// ---- export ----------------------------------------------------------------------------------------------------------------------

static void export_refuses_what_others_would_read_differently(void **state)
{
    (void)state;
    Text output = {0};
    Err err = {0};
    Model head;
    ModelConfig config = model.config;
    char *path = in_folder("head"), *out = in_folder("head-out");
    config.head = HEAD_SCORE;
    config.pooling = POOL_MEAN;
    assert_ok(model_init(&head, &config, &err), &err);
    model_randomise(&head, 4);
    assert_ok(checkpoint_save(path, &head, &tokenizer, &err), &err);
    assert_int_equal(run_raft(&output, "export '%s' -o '%s'", path, out), 2);
    assert_non_null(strstr(output.data, "reads the mean over all tokens"));
    assert_int_equal(run_raft(&output, "export '%s' --format gguf -o '%s'", path, out), 2);
    assert_non_null(strstr(output.data, "a reward model has no place in a GGUF file"));
    assert_int_equal(run_raft(&output, "export '%s' --format hf --dtype q8_0 -o '%s'", path, out), 2);
    assert_non_null(strstr(output.data, "--format hf has no --dtype q8_0"));
    head.config.pooling = POOL_LAST;
    assert_ok(checkpoint_save(path, &head, &tokenizer, &err), &err);
    if (run_raft(&output, "export '%s' -o '%s'", path, out)) fail_msg("%s", output.data);
    char *config_file = path_in(out, "config.json"), *text = read_file(config_file, NULL);
    assert_non_null(strstr(text, "LlamaForSequenceClassification"));
    free(config_file), free(text);
    model_free(&head);
    text_free(&output);
    free(path), free(out);
}

static void finds_the_chat_template_in_either_place(void **state)
{
    (void)state;
    Err err = {0};
    Text text = {0};
    char *config = in_folder("tokenizer_config.json"), *file = in_folder("chat_template.jinja");
    assert_int_equal(hub_load_chat_template(&text, folder, &err), 1);
    write_file(config,
        "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"t\"}, {\"name\": \"default\", \"template\": \"d\"}]}", 96);
    assert_ok(hub_load_chat_template(&text, folder, &err), &err);
    assert_string_equal(text.data, "d");
    text_free(&text);
    write_file(file, "{{ x }}", 7);
    assert_ok(hub_load_chat_template(&text, folder, &err), &err);
    assert_string_equal(text.data, "{{ x }}");
    text_free(&text);
    write_file(file, "a\0b", 3);
    assert_input_error(hub_load_chat_template(&text, folder, &err), &err, "holds a NUL");
    text_free(&text);
    free(config), free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_a_head_come_in_the_order_that_rope_pairs),
        cmocka_unit_test(a_saved_checkpoint_is_mapped_and_changes_stay_out_of_the_file),
        cmocka_unit_test(a_checkpoint_in_another_order_is_read),
        cmocka_unit_test(refuses_weights_that_are_not_finite),
        cmocka_unit_test(reads_sharded_weights),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(gguf_gives_back_the_same_bits),
        cmocka_unit_test(gguf_halves_and_bytes_are_close),
        cmocka_unit_test(refuses_gguf_models_it_does_not_compute),
        cmocka_unit_test(reads_llama2c_to_the_bit),
        cmocka_unit_test(refuses_damaged_llama2c_files),
        cmocka_unit_test(stories_begin_as_llama2c_tells_them),
        cmocka_unit_test(train_layers_leaves_the_others_as_they_are),
        cmocka_unit_test(export_refuses_what_others_would_read_differently),
        cmocka_unit_test(finds_the_chat_template_in_either_place),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
