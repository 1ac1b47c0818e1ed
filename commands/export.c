// SPDX-License-Identifier: MIT
/* export.c - raft export: a checkpoint for other programs: transformers (a Hugging Face directory) or llama.cpp (GGUF). */
#include "commands/commands.h"
#include "commands/learning.h"
#include "files/checkpoint.h"
#include "files/gguf_model.h"
#include "files/hub.h"

#include <stdio.h>
#include <string.h>

typedef struct { Model model; Tokenizer tokenizer; Text chat_template; bool has_template; const char *folder; } Export;

typedef int (*SaveAs)(const Export *out, const char *path, GgufType type, Err *err);
static int save_folder(const Export *out, const char *path, GgufType type, Err *err);
static int save_gguf(const Export *out, const char *path, GgufType type, Err *err);

static const struct { const char *format, *dtype; SaveAs save; GgufType type; } kinds[] = {
    {"hf", "f32", save_folder, GGUF_F32},  {"hf", "bf16", save_folder, GGUF_BF16},    {"gguf", "f32", save_gguf, GGUF_F32},
    {"gguf", "f16", save_gguf, GGUF_F16},  {"gguf", "q8_0", save_gguf, GGUF_Q8_0},
};

static int save_folder(const Export *out, const char *path, GgufType type, Err *err)
{
    const ModelConfig *c = &out->model.config;
    if (c->head == HEAD_SCORE && c->pooling == POOL_MEAN)
        return err_input(err,
            "%s: this head reads the mean over all tokens, and transformers' LlamaForSequenceClassification the last one: "
                              "its scores would differ (train it with --pooling last)", out->folder);
    if (os_make_folders(path, err) || hub_save(path, c, &out->tokenizer, out->has_template ? out->chat_template.data : NULL, err))
        return -1;
    return (type == GGUF_BF16 ? checkpoint_save_bf16 : checkpoint_save)(path, &out->model, &out->tokenizer, err);
}

static int save_gguf(const Export *out, const char *path, GgufType type, Err *err)
{
    char *tokenizer = os_join(err, out->folder, "tokenizer.json");
    int status = tokenizer ? gguf_save_model(path, &out->model, tokenizer, &out->tokenizer,
        out->has_template ? out->chat_template.data : NULL, type, err) : -1;
    mem_free(tokenizer);
    return status;
}

static int refuse_to_replace(const char *path, bool force, Err *err)
{
    char *config = os_join(err, path, "config.json");
    int status = !config ? -1 : 0;
    if (!status && !force && (os_is_file(path) || os_is_file(config))) status = err_input(err,
        "%s: exists already (--force replaces it)", path);
    mem_free(config);
    return status;
}

static int load(Export *out, Err *err)
{
    if (checkpoint_load(&out->model, out->folder, err) ||
        checkpoint_load_tokenizer(&out->tokenizer, out->folder, &out->model.config, err)) return -1;
    int got = hub_load_chat_template(&out->chat_template, out->folder, err);
    out->has_template = got == 0;
    return got < 0 ? -1 : 0;
}

static int report(const Options *o, Err *err)
{
    if (o->json) return print_json(json_pack("{s:s,s:s,s:s}", "output", o->output, "format", o->format, "dtype", o->dtype), err);
    printf("%s: %s, %s\n", o->output, strcmp(o->format, "gguf") ? "a Hugging Face directory" : "GGUF", o->dtype);
    return 0;
}

static int run(CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    if (cx->word_count != 1) return err_input(err, "export: expected one checkpoint folder, found %zu", cx->word_count);
    if (!o->output) return err_input(err, "export: -o OUT is missing (a folder, or with --format gguf a file)");
    size_t kind = 0, count = sizeof kinds / sizeof *kinds;
    while (kind < count && (strcmp(kinds[kind].format, o->format) || strcmp(kinds[kind].dtype, o->dtype))) kind++;
    if (kind == count)
        return err_input(err, "export: --format %s has no --dtype %s (hf: f32, bf16; gguf: f32, f16, q8_0)", o->format, o->dtype);
    Export out = {.folder = cx->words[0]};
    int status = refuse_to_replace(o->output, o->force, err) || load(&out, err) || kinds[kind].save(&out, o->output, kinds[kind].type,
        err) ||
        report(o, err);
    model_free(&out.model);
    tokenizer_free(&out.tokenizer);
    text_free(&out.chat_template);
    return status ? -1 : 0;
}

const Command command_export = {
    .name = "export",
    .operands = "CKPT",
    .summary = "a checkpoint as a Hugging Face directory or a GGUF file, for other programs",
    .groups = OPT_COMMON | OPT_EXPORT,
    .help = "export CKPT -o DIR writes config.json, model.safetensors (--dtype f32 or bf16), tokenizer.json, tokenizer_config.json,\n"
            "generation_config.json and the chat template; reward heads as LlamaForSequenceClassification.\n"
            "export CKPT --format gguf -o FILE.gguf writes what llama.cpp opens (--dtype f32, f16 or q8_0; vectors stay float32).",
    .needs_compute = false,
    .run = run,
};
