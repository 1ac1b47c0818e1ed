// SPDX-License-Identifier: MIT
/* info.c - raft info: what this build is, what it runs on and why; what a checkpoint or a run folder holds. */
#include "base/version.h"
#include "commands/commands.h"
#include "commands/learning.h"
#include "files/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the machine -----------------------------------------------------------------------------------------------------------

static bool built_with_openmp(void)
{
#ifdef RAFT_OPENMP
    return true;
#else
    return false;
#endif
}

static const char *why(const char *option, const char *given, const char *variable, const char *otherwise)
{
    const char *value = getenv(variable);
    return given ? option : value && *value ? variable : otherwise;
}

static bool is_generic(const char *configuration) { return configuration && !strcmp(configuration, "generic"); }

static json_t *instruction_sets(void)
{
    const Kernels *list[4];
    json_t *names = json_array();
    for (size_t i = 0, n = kernels_available(list); names && i < n; i++) json_array_append_new(names, json_string(list[i]->isa));
    return names;
}

static json_t *machine_json(const CommandContext *cx, const char *cpu)
{
    const char *blis = blis_configuration();
    const Options *o = &cx->options;
    const Compute *c = &cx->compute;
    size_t cache = os_second_cache_bytes();
    GemmBlocking g = c->k->gemm_blocking(cache);
    char blocking[160];
    int n = snprintf(blocking, sizeof blocking, "tiles of %zu x %zu fill the registers, blocks of %zu rows by %zu terms a quarter of the second cache", g.tile_rows,
        g.tile_columns, g.row_block, g.k_block);
    snprintf(blocking + n, sizeof blocking - (size_t)n, cache ? ", %zu KB" : ", which the system does not tell: %zu KB were taken",
        (cache ? cache : USUAL_SECOND_CACHE) / 1024);
    return json_pack("{s:s,s:s,s:s, s:s,s:b,s:I,s:I, s:s,s:s,s:o, s:s,s:s,s:s,s:o}",
        "version", raft_version(), "commit", raft_commit(), "compiler", raft_compiler(),
        "cpu", cpu, "openmp", (int)built_with_openmp(), "threads", (json_int_t)c->threads, "cpus", (json_int_t)os_cpu_count(),
        "isa", c->k->isa, "isa_reason", why("--isa", o->isa, "RAFT_ISA", "the best this CPU and build have"),
        "isa_available", instruction_sets(),
        "matmul", c->backend == MATMUL_BLIS ? "blis" : "own", "matmul_reason", why("--matmul", o->matmul, "RAFT_MATMUL", "the build's default"),
        "matmul_blocking", blocking, "blis", blis ? json_pack("{s:s,s:b}", "config", blis, "generic", (int)is_generic(blis)) : json_null());
}

// ---- a checkpoint ------------------------------------------------------------------------------------------------------------

static json_t *model_json(const Model *model)
{
    const ModelConfig *c = &model->config;
    const char *const rope[] = {"default", "linear", "llama3"};
    const char *head = c->head == HEAD_LM ? "language model" : c->pooling == POOL_MEAN ? "reward (mean)" : "reward (last token)";
    char hash[17];
    hash_text(hash, checkpoint_hash(model));
    const struct { const char *key; int64_t value; } numbers[] = {
        {"parameters", (int64_t)model->parameter_count}, {"vocab", (int64_t)c->vocab}, {"dim", (int64_t)c->dim}, {"layers", (int64_t)c->layers},
        {"heads", (int64_t)c->heads}, {"kv_heads", (int64_t)c->kv_heads}, {"head_dim", (int64_t)c->head_dim}, {"ff", (int64_t)c->ff},
        {"context", (int64_t)c->context}, {"bos", c->bos}, {"eos", c->eos}, {"pad", c->pad},
    };
    json_t *object = json_pack("{s:s,s:s,s:b,s:s,s:o,s:o}", "head", head, "hash", hash, "tied", (int)c->tied, "rope", rope[c->rope_type],
        "rope_theta", json_float(c->rope_theta), "rms_eps", json_float(c->rms_eps));
    for (size_t i = 0; object && i < sizeof numbers / sizeof *numbers; i++)
        if (json_object_set_new(object, numbers[i].key, json_integer(numbers[i].value))) return json_decref(object), NULL;
    return object;
}

static bool has_file(const char *folder, const char *name, Err *err)
{
    char *path = os_join(err, folder, name);
    bool found = path && os_is_file(path);
    mem_free(path);
    return found;
}

static json_t *tokenizer_json(const char *folder, const ModelConfig *config, Err *err)
{
    Tokenizer tk = {0};
    char hash[17];
    if (checkpoint_load_tokenizer(&tk, folder, config, err)) return NULL;
    hash_text(hash, tokenizer_hash(&tk));
    json_t *value = json_pack("{s:I,s:s}", "vocab", (json_int_t)tk.vocab, "hash", hash);
    tokenizer_free(&tk);
    return value;
}

static int add(json_t *all, const char *key, json_t *value, Err *err)
{
    if (!value) return err->status ? -1 : err_failed(err, "out of memory");
    return json_object_set_new(all, key, value) ? err_failed(err, "out of memory") : 0;
}

static int describe_folder(json_t *all, const char *folder, Err *err)
{
    bool checkpoint = has_file(folder, "config.json", err), run = has_file(folder, "provenance.json", err);
    if (!os_is_folder(folder)) return err_input(err, "%s: no such folder (a checkpoint or a run was expected)", folder);
    if (!checkpoint && !run) return err_input(err, "%s: neither a checkpoint (config.json) nor a run (provenance.json)", folder);
    int status = 0;
    if (checkpoint) {
        Model model;
        if (checkpoint_load(&model, folder, err)) return -1;
        status = add(all, "model", model_json(&model), err);
        if (!status && has_file(folder, "tokenizer.json", err))
            status = add(all, "tokenizer", tokenizer_json(folder, &model.config, err), err);
        model_free(&model);
    }
    if (!status && run) {
        char *path = os_join(err, folder, "provenance.json");
        status = path ? add(all, "run", json_load_document(path, err), err) : -1;
        mem_free(path);
    }
    return status;
}

// ---- printing --------------------------------------------------------------------------------------------------------------

// A string as it is, a list of strings with commas between, anything else as JSON.
static int print_value(const json_t *value, Err *err)
{
    Text text = {0};
    int status = 0;
    if (json_is_string(value)) status = text_puts(&text, err, json_string_value(value));
    else if (json_is_array(value))
        for (size_t i = 0; !status && i < json_array_size(value); i++) {
            const char *item = json_string_value(json_array_get(value, i));
            status = text_printf(&text, err, "%s%s", i ? " " : "", item ? item : "?");
        }
    else if (json_is_null(value)) status = text_puts(&text, err, "none");
    else status = json_write(&text, value, err);
    if (!status) puts(text.data ? text.data : "");
    text_free(&text);
    return status;
}

static int print_table(const json_t *object, int indent, Err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        bool nested = json_is_object(value);
        printf("%*s%-*s", indent, "", 20 - indent, key);
        if (nested) putchar('\n');
        if (nested ? print_table(value, indent + 2, err) : print_value(value, err)) return -1;
    }
    return 0;
}

static int run(CommandContext *cx, Err *err)
{
    if (cx->word_count > 1) return err_input(err, "info: expected at most one folder, found %zu", cx->word_count);
    char *cpu = os_cpu_name(err);
    json_t *all = cpu ? machine_json(cx, cpu) : NULL;
    int status = all ? 0 : cpu ? err_failed(err, "out of memory") : -1;
    if (!status && cx->word_count) status = describe_folder(all, cx->words[0], err);
    if (!status) status = cx->options.json ? print_json(json_incref(all), err) : print_table(all, 0, err);
    if (!status && is_generic(blis_configuration()))
        fputs("raft: BLIS does not know this CPU and took its generic configuration, about a fifth of its speed; "
              "our own kernels do not depend on it\n", stderr);
    json_decref(all);
    mem_free(cpu);
    return status;
}

const Command command_info = {
    .name = "info",
    .operands = "[CKPT|RUN]",
    .summary = "this build, CPU, kernels in use and why; what a checkpoint or run holds",
    .groups = OPT_COMMON,
    .except = "output force profile",
    .help = "info tells which instruction set, matmul backend and number of threads are in use, and which option or variable decided.\n"
            "With a folder, also the sizes of the checkpoint in it and the provenance of the run that made it.",
    .needs_compute = true,
    .run = run,
};
