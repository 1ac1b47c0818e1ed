// SPDX-License-Identifier: MIT
/* readers.c - the table of readers. Each must come back from any bytes: with an error that says what is wrong, or with what it read,
 * which is then used a little. A crash, a sanitizer's report, a leak or a giant allocation is a finding. */
#include "tests/fuzz/readers.h"

#include "files/candidates.h"
#include "files/checkpoint.h"
#include "files/gguf_model.h"
#include "files/hub.h"
#include "files/jsonl.h"
#include "files/llama2c.h"
#include "files/template.h"
#include "files/weights.h"
#include "tokenizer_build.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// An error has a status and a text.
static int came_back(int status, const Err *err)
{
    assert(status == 0 || (err->status > 0 && err->text[0]));
    return status;
}

static void use_tokenizer(Tokenizer *tk)
{
    static const char text[] = "Hello  world, it's 1999!\n <|endoftext|> caf\xC3\xA9 \xFF";
    Err err = {0};
    TokenList ids = {0};
    Text back = {0};
    if (!came_back(tokenizer_encode(tk, &ids, text, sizeof text - 1, &err), &err)) came_back(tokenizer_decode(tk, &back, ids.ids, ids.length, &err), &err);
    tokens_free(&ids);
    text_free(&back);
    tokenizer_free(tk);
}

static void read_gguf(const char *folder, const char *path)
{
    Err err = {0};
    Gguf g;
    Model model;
    Tokenizer tk;
    size_t context = 0;
    (void)folder;
    if (came_back(gguf_open(&g, path, &err), &err)) return;
    for (size_t i = 0; i < g.tensor_count; i++) {
        float *values = calloc(g.tensors[i].count + 1, sizeof *values);
        if (values) came_back(gguf_read_f32(&g, &g.tensors[i], values, g.tensors[i].count, &err), &err);
        free(values);
    }
    if (!came_back(gguf_load_tokenizer(&tk, &g, &err), &err)) use_tokenizer(&tk);
    // RoPE tables of a million positions are no finding, but take a second
    bool small = !gguf_get_size_or(&g, "llama.context_length", 0, &context, &err) && context < 4096;
    if (small && !came_back(gguf_load_model(&model, &g, NULL, NULL, &err), &err)) model_free(&model);
    gguf_close(&g);
}

static void read_safetensors(const char *folder, const char *path)
{
    Err err = {0};
    Safetensors st;
    (void)folder;
    if (came_back(safetensors_open(&st, path, &err), &err)) return;
    for (size_t i = 0; i < st.count; i++) {
        size_t n = st.tensors[i].count;
        float *values = calloc(n + 1, sizeof *values);
        int64_t *numbers = calloc(n + 1, sizeof *numbers);
        if (values) came_back(safetensors_read_f32(&st, &st.tensors[i], values, n, &err), &err);
        if (numbers) came_back(safetensors_read_i64(&st, &st.tensors[i], numbers, n, &err), &err);
        free(values);
        free(numbers);
        assert(safetensors_find(&st, st.tensors[i].name) == &st.tensors[i]);
    }
    safetensors_need(&st, "no such tensor", &err);
    safetensors_close(&st);
}

static void read_config(const char *folder, const char *path)
{
    Err err = {0};
    ModelConfig config;
    (void)path;
    came_back(checkpoint_load_config(&config, folder, &err), &err);
}

static void read_index(const char *folder, const char *path)
{
    Err err = {0};
    Weights weights;
    (void)path;
    if (!came_back(weights_open(&weights, folder, &err), &err)) weights_close(&weights);
}

static void read_tokenizer(const char *folder, const char *path)
{
    Err err = {0};
    Tokenizer tk;
    (void)folder;
    if (!came_back(tokenizer_load(&tk, path, &err), &err)) use_tokenizer(&tk);
}

static void read_tokenizer_config(const char *folder, const char *path)
{
    Err err = {0};
    Text text = {0};
    (void)path;
    int got = hub_load_chat_template(&text, folder, &err);
    came_back(got < 0 ? got : 0, &err);
    text_free(&text);
}

static void read_llama2c(const char *folder, const char *path)
{
    Err err = {0};
    Model model;
    (void)folder;
    if (!came_back(llama2c_load(&model, path, &err), &err)) model_free(&model);
}

static void read_llama2c_tokenizer(const char *folder, const char *path)
{
    Err err = {0};
    Tokenizer tk;
    (void)folder;
    if (!came_back(tokenizer_load_llama2c(&tk, path, &err), &err)) use_tokenizer(&tk);
}

static void read_jsonl(const char *folder, const char *path)
{
    Err err = {0};
    SampleList samples = {0};
    PromptList prompts = {0};
    (void)folder;
    came_back(samples_read(&samples, path, &err), &err);
    samples_free(&samples);
    came_back(prompts_read(&prompts, path, &err), &err);
    prompts_free(&prompts);
}

// A template over one conversation: rendered, or refused.
static void read_template(const char *folder, const char *path)
{
    Err err = {0};
    Text source = {0}, out = {0};
    json_t *variables = json_pack("{s:[{s:s,s:s},{s:s,s:s}],s:s,s:s,s:b}", "messages", "role", "system", "content", " a\n", "role", "user",
        "content", "b\xC3\xA9", "bos_token", "<s>", "eos_token", "</s>", "add_generation_prompt", 1);
    (void)folder;
    if (!variables || came_back(os_read_file(&source, path, &err), &err)) abort();
    Template *template = template_parse(source.data ? source.data : "", source.length, path, &err);
    if (!came_back(template ? 0 : -1, &err)) came_back(template_render(template, &out, variables, &err), &err);
    template_free(template);
    json_decref(variables);
    text_free(&source);
    text_free(&out);
}

const FuzzReader fuzz_readers[] = {
    {"gguf", "model.gguf", read_gguf},
    {"safetensors", "tensors.safetensors", read_safetensors},
    {"config", "config.json", read_config},
    {"index", "model.safetensors.index.json", read_index},
    {"tokenizer", "tokenizer.json", read_tokenizer},
    {"tokenizer-config", "tokenizer_config.json", read_tokenizer_config},
    {"template", "chat_template.jinja", read_template},
    {"llama2c", "model.bin", read_llama2c},
    {"llama2c-tokenizer", "tokenizer.bin", read_llama2c_tokenizer},
    {"jsonl", "lines.jsonl", read_jsonl},
};
const size_t fuzz_reader_count = sizeof fuzz_readers / sizeof *fuzz_readers;

void fuzz_read(const FuzzReader *reader, const char *folder, const uint8_t *bytes, size_t n)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", folder, reader->file);
    FILE *file = fopen(path, "wb");
    if (!file || (n && fwrite(bytes, 1, n, file) != n) || fclose(file)) abort();
    reader->read(folder, path);
    remove(path);
}
