// SPDX-License-Identifier: MIT
#include "tests/support_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXTS_MOST = 16 };

void tiny_tokenizer(Tokenizer *tk, const char *const *texts, size_t n, size_t vocab, const char *special)
{
    TextView views[TEXTS_MOST];
    const TokenizerTraining how = {.vocab = vocab, .special = &special, .special_count = special != NULL};
    Err err = {0};
    assert_true(n <= TEXTS_MOST);
    for (size_t i = 0; i < n; i++) views[i] = (TextView){texts[i], strlen(texts[i])};
    assert_ok(tokenizer_train(tk, views, n, &how, &err), &err);
}

void tiny_prompts(PromptList *prompts, const char *const *texts, size_t n)
{
    Err err = {0};
    for (size_t i = 0; i < n; i++) {
        char id[24];
        snprintf(id, sizeof id, "p%zu", i);
        assert_ok(prompts_add(prompts, id, texts[i], strlen(texts[i]), &err), &err);
    }
}

// A wider embedding than training starts with: tied to the head, it makes next tokens of unlike probability.
void tiny_language_model(Model *model, size_t vocab, size_t context, uint64_t seed)
{
    Err err = {0};
    const ModelConfig config = {.vocab = vocab, .dim = 32, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 8, .ff = 48,
        .context = context, .rms_eps = 1e-5, .rope_theta = 10000, .tied = true, .bos = 0, .eos = 0, .pad = -1};
    assert_ok(model_init(model, &config, &err), &err);
    model_randomise(model, seed);
    for (size_t i = 0; i < config.vocab * config.dim; i++) model->parameters[model->embedding + i] *= 4;
}

const ModelConfig tiny_head_config = {.vocab = 40, .dim = 16, .layers = 2, .heads = 2, .kv_heads = 1, .head_dim = 8, .ff = 24, .context = 16,
    .rms_eps = 1e-5, .rope_theta = 10000, .rope_factor = 1, .tied = true, .head = HEAD_SCORE, .pooling = POOL_LAST, .bos = -1, .eos = -1, .pad = -1};

void tiny_head(Model *model, ModelConfig config, uint64_t seed)
{
    Err err = {0};
    assert_ok(model_init(model, &config, &err), &err);
    model_randomise(model, seed);
    for (size_t i = 0; i < model->parameter_count; i++) model->parameters[i] *= 8; // scores that differ visibly
}

// ---- the golden tokenizer --------------------------------------------------------------------------------------------------

char *golden_tokenizer_path(void)
{
    char *path = golden_path("bpe-imdb-2048/tokenizer.json");
    if (!path) fail_msg("tests/golden/bpe-imdb-2048/tokenizer.json is missing; run from the project's folder");
    return path;
}

void golden_tokenizer(Tokenizer *tk)
{
    Err err = {0};
    char *path = golden_tokenizer_path();
    assert_ok(tokenizer_load(tk, path, &err), &err);
    free(path);
}

char *edited_tokenizer_file(char **folder, const char *find, const char *replace)
{
    size_t n;
    Err err = {0};
    char *path = golden_tokenizer_path(), *bytes = read_file(path, &n), *at = strstr(bytes, find);
    if (!at) fail_msg("the golden file does not hold %s", find);
    Text out = {0};
    assert_ok(text_add(&out, &err, bytes, (size_t)(at - bytes)) || text_puts(&out, &err, replace), &err);
    assert_ok(text_puts(&out, &err, at + strlen(find)), &err);
    free(path);
    *folder = temporary_folder();
    path = path_in(*folder, "tokenizer.json");
    write_file(path, out.data, out.length);
    text_free(&out);
    free(bytes);
    return path;
}

void edited_tokenizer(Tokenizer *tk, const char *find, const char *replace)
{
    Err err = {0};
    char *folder, *path = edited_tokenizer_file(&folder, find, replace);
    assert_ok(tokenizer_load(tk, path, &err), &err);
    remove_folder(folder);
    free(folder);
    free(path);
}
