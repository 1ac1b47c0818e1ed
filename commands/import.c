// SPDX-License-Identifier: MIT
/* import.c - raft import: a model of another program becomes a checkpoint: float32, in the order in which it can be mapped. */
#include "commands/commands.h"
#include "commands/learning.h"
#include "files/checkpoint.h"
#include "files/gguf_model.h"
#include "files/hub.h"
#include "files/llama2c.h"
#include "tokenizer_build.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    Model model;
    Tokenizer tokenizer;
    Text chat_template;
    bool has_template, quiet;
    Progress bar;
    const char *kind;   // for the report
} Import;

static void import_free(Import *in)
{
    model_free(&in->model);
    tokenizer_free(&in->tokenizer);
    text_free(&in->chat_template);
}

static void on_tensor(void *self, size_t done, size_t total)
{
    Import *in = self;
    (void)total;
    progress_update(&in->bar, done, 0, "");
}

static int import_gguf(Import *in, const char *path, Err *err)
{
    Gguf gguf;
    TextView template;
    in->kind = "GGUF";
    if (gguf_open(&gguf, path, err)) return -1;
    progress_start(&in->bar, "import", "tensor", gguf.tensor_count, in->quiet);
    int status = gguf_load_tokenizer(&in->tokenizer, &gguf, err);
    if (!status) status = gguf_load_model(&in->model, &gguf, on_tensor, in, err);
    if (!status) progress_finish(&in->bar, "");
    in->has_template = gguf_has(&gguf, "tokenizer.chat_template");
    if (!status && in->has_template)
        status = gguf_get_text(&gguf, "tokenizer.chat_template", &template, err) || text_add(&in->chat_template, err, template.bytes,
            template.length);
    if (!status && in->has_template && strlen(in->chat_template.data) != in->chat_template.length)
        status = err_input(err, "%s: key \"tokenizer.chat_template\": holds a NUL", path);
    gguf_close(&gguf);
    return status ? -1 : 0;
}

// The vocabulary is a file of its own: --tokenizer, else tokenizer.bin in the model's folder.
static int import_llama2c(Import *in, const char *path, const char *tokenizer, Err *err)
{
    const char *slash = strrchr(path, '/');
    Text beside = {0};
    in->kind = "llama2.c";
    if (llama2c_load(&in->model, path, err)) return -1;
    int status = text_add(&beside, err, path, slash ? (size_t)(slash - path) + 1 : 0) || text_puts(&beside, err, "tokenizer.bin");
    if (!status && !tokenizer && !os_is_file(beside.data))
        status = err_input(err, "%s: its tokenizer is a file of its own: give --tokenizer FILE.bin (%s is not there)", path, beside.data);
    if (!status) status = tokenizer_load_llama2c(&in->tokenizer, tokenizer ? tokenizer : beside.data, err);
    if (!status && in->tokenizer.vocab > in->model.config.vocab)
        status = err_input(err, "%s: %zu tokens, but %s has a vocabulary of %zu", tokenizer ? tokenizer : beside.data, in->tokenizer.vocab,
            path, in->model.config.vocab);
    text_free(&beside);
    return status ? -1 : 0;
}

static int import_folder(Import *in, const char *folder, Err *err)
{
    in->kind = "Hugging Face";
    if (checkpoint_load(&in->model, folder, err) || checkpoint_load_tokenizer(&in->tokenizer, folder, &in->model.config, err)) return -1;
    int got = hub_load_chat_template(&in->chat_template, folder, err);
    in->has_template = got == 0;
    return got < 0 ? -1 : 0;
}

static int read_source(Import *in, const char *path, const char *tokenizer, Err *err)
{
    OsMap map;
    bool folder = os_is_folder(path);
    if (folder && tokenizer) return err_input(err, "import: --tokenizer is for llama2.c files; %s has its own tokenizer.json", path);
    if (folder) return import_folder(in, path, err);
    if (os_map_file(&map, path, err)) return -1;
    bool gguf = map.size >= 4 && !memcmp(map.data, "GGUF", 4), short_file = map.size < 28;
    os_unmap(&map);
    if (gguf && tokenizer) return err_input(err, "import: --tokenizer is for llama2.c files; %s has its own vocabulary", path);
    if (gguf) return import_gguf(in, path, err);
    if (short_file) return err_input(err, "%s: neither a GGUF file nor a llama2.c model nor a folder with config.json", path);
    return import_llama2c(in, path, tokenizer, err);
}

static int refuse_to_replace(const char *folder, bool force, Err *err)
{
    char *config = os_join(err, folder, "config.json");
    int status = !config ? -1 : os_is_file(config) && !force ? err_input(err, "%s: holds a checkpoint already (--force replaces it)",
        folder) : 0;
    mem_free(config);
    return status;
}

static int report(const Import *in, const Options *o, Err *err)
{
    const ModelConfig *c = &in->model.config;
    if (o->json)
        return print_json(json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:b}", "output", o->output, "format", in->kind, "parameters",
            (json_int_t)in->model.parameter_count, "layers", (json_int_t)c->layers, "dim", (json_int_t)c->dim, "vocab",
                (json_int_t)c->vocab,
            "chat_template", in->has_template), err);
    printf("%s: from %s, %.1f million parameters (%zu layers, dim %zu, %zu heads over %zu, vocabulary %zu, context %zu)%s\n", o->output,
        in->kind,
        (double)in->model.parameter_count / 1e6, c->layers, c->dim, c->heads, c->kv_heads, c->vocab, c->context,
        in->has_template ? ", with a chat template" : "");
    return 0;
}

static int run(CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    if (cx->word_count != 1) return err_input(err, "import: expected one file or folder, found %zu", cx->word_count);
    if (!o->output) return err_input(err, "import: -o DIR is missing");
    Import in = {.quiet = o->quiet};
    int status = refuse_to_replace(o->output, o->force, err) || read_source(&in, cx->words[0], o->tokenizer, err) ||
        os_make_folders(o->output, err) ||
        hub_save(o->output, &in.model.config, &in.tokenizer, in.has_template ? in.chat_template.data : NULL, err) ||
        checkpoint_save(o->output, &in.model, &in.tokenizer, err) || report(&in, o, err);
    import_free(&in);
    return status ? -1 : 0;
}

const Command command_import = {
    .name = "import",
    .operands = "FILE",
    .summary = "a checkpoint from a GGUF file, a llama2.c model or a Hugging Face directory",
    .groups = OPT_COMMON | OPT_TOKENIZER_FILE,
    .help = "import FILE -o DIR reads model.gguf (F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q6_K), model.bin of llama2.c\n"
            "(with --tokenizer FILE.bin, or tokenizer.bin beside it), or a folder with config.json and safetensors (also sharded, F16, BF16).\n"
            "Weights become float32. What this program does not compute is refused by name: docs/MODELS.md.",
    .needs_compute = false,
    .run = run,
};
