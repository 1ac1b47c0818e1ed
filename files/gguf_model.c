// SPDX-License-Identifier: MIT
/* gguf_model.c - a model out of a GGUF file: which keys are sizes, which tensors are weights, what must be refused.
 *
 * Start at gguf_load_model. Names and order of rows are those of llama.cpp's convert_hf_to_gguf.py for LlamaForCausalLM; writing them
 * is gguf_save.c.
 */
#include "files/gguf_model-internal.h"

#include "files/rope_rows.h"
#include "tokenizer_build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const GgufName gguf_names[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
    {"input_layernorm.weight", "attn_norm.weight"},
    {"self_attn.q_proj.weight", "attn_q.weight"},
    {"self_attn.k_proj.weight", "attn_k.weight"},
    {"self_attn.v_proj.weight", "attn_v.weight"},
    {"self_attn.o_proj.weight", "attn_output.weight"},
    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"mlp.gate_proj.weight", "ffn_gate.weight"},
    {"mlp.up_proj.weight", "ffn_up.weight"},
    {"mlp.down_proj.weight", "ffn_down.weight"},
    {NULL, NULL},
};

void gguf_tensor_name(char *out, size_t size, const char *ours)
{
    unsigned layer = 0;
    int skip = 0;
    bool in_layer = sscanf(ours, "model.layers.%u.%n", &layer, &skip) == 1 && skip > 0;
    snprintf(out, size, "?");
    for (const GgufName *n = gguf_names; n->ours; n++) {
        if (strcmp(in_layer ? ours + skip : ours, n->ours)) continue;
        if (in_layer) snprintf(out, size, "blk.%u.%s", layer, n->theirs);
        else snprintf(out, size, "%s", n->theirs);
    }
}

size_t gguf_rope_heads(const ModelConfig *c, const char *ours)
{
    return strstr(ours, "q_proj") ? c->heads : strstr(ours, "k_proj") ? c->kv_heads : 0;
}

// ---- configuration ---------------------------------------------------------------------------------------------------------

static bool text_is(TextView text, const char *wanted) { return text.length == strlen(wanted) && !memcmp(text.bytes, wanted, text.length); }

// A float of the file as the shortest decimal that gives it: 1e-5, not 9.99999975e-06.
static double shortest(double value)
{
    char digits[40];
    for (int precision = 1; precision < 9; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if ((float)strtod(digits, NULL) == (float)value) return strtod(digits, NULL);
    }
    return value;
}

static int check_architecture(const Gguf *g, Err *err)
{
    TextView name;
    if (gguf_get_text(g, "general.architecture", &name, err)) return -1;
    if (!text_is(name, "llama"))
        return err_input(err, "%s: architecture \"%.*s\" is not supported (expected \"llama\")", g->path,
            (int)(name.length < 60 ? name.length : 60), name.bytes);
    size_t experts;
    if (gguf_get_size_or(g, "llama.expert_count", 0, &experts, err)) return -1;
    return experts ? err_input(err, "%s: llama.expert_count is %zu: mixtures of experts are not supported", g->path, experts) : 0;
}

static int read_rope(ModelConfig *c, const Gguf *g, Err *err)
{
    size_t rotated;
    TextView kind;
    if (gguf_get_number_or(g, "llama.rope.freq_base", 10000, &c->rope_theta, err) ||
        gguf_get_size_or(g, "llama.rope.dimension_count", c->head_dim, &rotated, err) ||
        gguf_get_text_or(g, "llama.rope.scaling.type", "none", &kind, err))
        return -1;
    if (rotated != c->head_dim)
        return err_input(err, "%s: llama.rope.dimension_count is %zu, but heads have %zu: partly rotated heads are not supported",
            g->path, rotated, c->head_dim);
    if (gguf_find_tensor(g, "rope_freqs.weight"))
        return err_input(err,
            "%s: tensor \"rope_freqs.weight\": RoPE factors of single frequencies (\"llama3\" scaling) are not read from GGUF; "
                              "import the Hugging Face directory of this model", g->path);
    c->rope_theta = shortest(c->rope_theta);
    c->rope_factor = c->rope_low = c->rope_high = 1;
    c->rope_original_context = c->context;
    const char *factor = "llama.rope.scaling.factor";
    if (text_is(kind, "none") && gguf_has(g, "llama.rope.scale_linear")) factor = "llama.rope.scale_linear"; // of older files
    else if (text_is(kind, "none")) return 0;
    else if (!text_is(kind, "linear"))
        return err_input(err, "%s: llama.rope.scaling.type \"%.*s\" is not supported (none, linear)", g->path,
            (int)(kind.length < 60 ? kind.length : 60), kind.bytes);
    if (gguf_get_number(g, factor, &c->rope_factor, err)) return -1;
    c->rope_factor = shortest(c->rope_factor);
    c->rope_type = c->rope_factor == 1 ? ROPE_DEFAULT : ROPE_LINEAR;
    return c->rope_factor >= 1 && c->rope_factor <= 1e6 ? 0 : err_input(err, "%s: %s is out of range", g->path, factor);
}

static int read_special(int64_t *id, const Gguf *g, const char *key, Err *err)
{
    size_t value = 0;
    *id = -1;
    if (!gguf_has(g, key)) return 0;
    if (gguf_get_size(g, key, &value, err)) return -1;
    *id = (int64_t)value;
    return 0;
}

static int read_config(ModelConfig *c, const Gguf *g, Err *err)
{
    const GgufTensor *embedding = gguf_need_tensor(g, "token_embd.weight", err);
    *c = (ModelConfig){.head = HEAD_LM, .tied = !gguf_find_tensor(g, "output.weight")};
    if (!embedding || check_architecture(g, err) || gguf_get_size(g, "llama.embedding_length", &c->dim, err) ||
        gguf_get_size(g, "llama.block_count", &c->layers, err) || gguf_get_size(g, "llama.attention.head_count", &c->heads, err) ||
        gguf_get_size_or(g, "llama.attention.head_count_kv", c->heads, &c->kv_heads, err) ||
        gguf_get_size_or(g, "llama.attention.key_length", c->heads ? c->dim / c->heads : 0, &c->head_dim, err) ||
        gguf_get_size(g, "llama.feed_forward_length", &c->ff, err) || gguf_get_size(g, "llama.context_length", &c->context, err) ||
        gguf_get_number(g, "llama.attention.layer_norm_rms_epsilon", &c->rms_eps, err))
        return -1;
    size_t value_length;
    if (gguf_get_size_or(g, "llama.attention.value_length", c->head_dim, &value_length, err)) return -1;
    if (value_length != c->head_dim)
        return err_input(err, "%s: values of %zu numbers a head beside keys of %zu are not supported", g->path, value_length, c->head_dim);
    c->vocab = embedding->dims == 2 ? embedding->shape[1] : 0;
    c->rms_eps = shortest(c->rms_eps);
    if (read_rope(c, g, err) || read_special(&c->bos, g, "tokenizer.ggml.bos_token_id", err) ||
        read_special(&c->eos, g, "tokenizer.ggml.eos_token_id", err) || read_special(&c->pad, g, "tokenizer.ggml.padding_token_id", err))
        return -1;
    return model_check_config(c, g->path, err);
}

// ---- weights ------------------------------------------------------------------------------------------------------------------

static int read_tensor(Model *model, const Tensor *want, const Gguf *g, float *scratch, Err *err)
{
    char name[96];
    gguf_tensor_name(name, sizeof name, want->name);
    const GgufTensor *found = gguf_need_tensor(g, name, err);
    if (!found) return -1;
    bool fits = found->dims == want->dims && found->shape[0] == want->cols && (want->dims == 1 || found->shape[1] == want->rows);
    if (!fits)
        return err_input(err, "%s: tensor \"%s\": expected %zu rows of %zu, found %zu of %zu", g->path, name, want->rows, want->cols,
            found->dims > 1 ? found->shape[1] : 1, found->shape[0]);
    float *values = model->parameters + want->offset;
    size_t n = want->rows * want->cols, heads = gguf_rope_heads(&model->config, want->name);
    if (gguf_read_f32(g, found, values, n, err)) return -1;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i])) return err_input(err, "%s: tensor \"%s\": value %zu is not finite", g->path, name, i);
    if (heads) rope_rows_from_neighbours(values, heads, model->config.head_dim, want->cols, scratch);
    return 0;
}

// Every tensor of the file must have had a place: a bias or a second norm would make another model.
static int check_all_read(const Model *model, const Gguf *g, Err *err)
{
    if (g->tensor_count == model->tensor_count) return 0;
    for (size_t i = 0; i < g->tensor_count; i++) {
        bool known = false;
        for (size_t j = 0; j < model->tensor_count && !known; j++) {
            char name[96];
            gguf_tensor_name(name, sizeof name, model->tensors[j].name);
            known = text_is(g->tensors[i].name, name);
        }
        if (!known)
            return err_input(err, "%s: tensor \"%.*s\" has no place in this architecture", g->path, (int)g->tensors[i].name.length,
                g->tensors[i].name.bytes);
    }
    return 0;
}

// The numbers the file must hold at least: absurd metadata is found out before memory is taken.
static int check_size(const ModelConfig *c, const Gguf *g, Err *err)
{
    double wanted = (double)c->vocab * (double)c->dim + (double)c->layers * (double)c->dim *
        (2.0 * (double)(c->heads + c->kv_heads) * (double)c->head_dim + 3.0 * (double)c->ff), found = 0;
    for (size_t i = 0; i < g->tensor_count; i++) found += (double)g->tensors[i].count;
    return found >= wanted ? 0 : err_input(err, "%s: holds %.0f numbers, but its metadata describe a model of at least %.0f", g->path,
        found, wanted);
}

int gguf_load_model(Model *model, const Gguf *g, GgufProgress progress, void *self, Err *err)
{
    ModelConfig config;
    *model = (Model){0};
    if (read_config(&config, g, err) || check_size(&config, g, err) || model_init(model, &config, err)) return -1;
    float *scratch = mem_new(err, config.head_dim * config.dim, sizeof *scratch);
    int status = scratch ? 0 : -1;
    for (size_t i = 0; i < model->tensor_count && !status; i++) {
        status = read_tensor(model, &model->tensors[i], g, scratch, err);
        if (progress) progress(self, i + 1, model->tensor_count);
    }
    if (!status) status = check_all_read(model, g, err);
    mem_free(scratch);
    if (status) model_free(model);
    return status;
}

// ---- tokenizer ------------------------------------------------------------------------------------------------------------------

typedef struct { char *model, *pre; TextView *tokens, *merges; int32_t *types; float *scores; } Vocabulary; // what is copied of it

static void vocabulary_free(Vocabulary *v)
{
    mem_free(v->model);
    mem_free(v->pre);
    mem_free(v->tokens);
    mem_free(v->merges);
    mem_free(v->types);
    mem_free(v->scores);
}

static int copy_text(char **copy, const Gguf *g, const char *key, Err *err)
{
    TextView text;
    if (!gguf_has(g, key)) return 0;
    if (gguf_get_text(g, key, &text, err)) return -1;
    if (memchr(text.bytes, 0, text.length)) return err_input(err, "%s: key \"%s\": holds a NUL", g->path, key);
    return (*copy = mem_copy_bytes(err, text.bytes, text.length)) ? 0 : -1;
}

static int wrong_length(const Gguf *g, const char *key, size_t found, size_t vocab, Err *err)
{
    return err_input(err, "%s: key \"%s\": %zu elements for %zu tokens", g->path, key, found, vocab);
}

static int copy_types(Vocabulary *v, const Gguf *g, size_t vocab, Err *err)
{
    static const char key[] = "tokenizer.ggml.token_type";
    double *list;
    size_t count;
    if (!gguf_has(g, key)) return 0;
    if (gguf_get_numbers(g, key, &list, &count, err)) return -1;
    int status = count == vocab ? 0 : wrong_length(g, key, count, vocab, err);
    if (!status && !(v->types = mem_new(err, count, sizeof *v->types))) status = -1;
    for (size_t i = 0; !status && i < count; i++) v->types[i] = list[i] >= 0 && list[i] < 100 ? (int32_t)list[i] : -1;
    mem_free(list);
    return status;
}

static int copy_scores(Vocabulary *v, const Gguf *g, size_t vocab, Err *err)
{
    static const char key[] = "tokenizer.ggml.scores";
    double *list;
    size_t count;
    if (!gguf_has(g, key)) return 0;
    if (gguf_get_numbers(g, key, &list, &count, err)) return -1;
    int status = count == vocab ? 0 : wrong_length(g, key, count, vocab, err);
    if (!status && !(v->scores = mem_new(err, count, sizeof *v->scores))) status = -1;
    for (size_t i = 0; !status && i < count; i++) v->scores[i] = (float)list[i];
    mem_free(list);
    return status;
}

int gguf_load_tokenizer(Tokenizer *tk, const Gguf *g, Err *err)
{
    Vocabulary v = {0};
    GgufVocabulary found = {.bos = -1};
    bool is_llama = false;
    *tk = (Tokenizer){0};
    int status = 0;
    if (!gguf_has(g, "tokenizer.ggml.model")) status = err_input(err, "%s: no tokenizer in it (key \"tokenizer.ggml.model\")", g->path);
    if (!status) status = copy_text(&v.model, g, "tokenizer.ggml.model", err) || copy_text(&v.pre, g, "tokenizer.ggml.pre", err);
    if (!status) {
        is_llama = !strcmp(v.model, "llama");
        status = gguf_get_texts(g, "tokenizer.ggml.tokens", &v.tokens, &found.vocab, err) || copy_types(&v, g, found.vocab, err) ||
            copy_scores(&v, g, found.vocab, err) || read_special(&found.bos, g, "tokenizer.ggml.bos_token_id", err) ||
            gguf_get_bool_or(g, "tokenizer.ggml.add_bos_token", is_llama, &found.add_bos, err) || // llama.cpp's defaults
            gguf_get_bool_or(g, "tokenizer.ggml.add_space_prefix", is_llama, &found.add_space_prefix, err);
    }
    if (!status && gguf_has(g, "tokenizer.ggml.merges"))
        status = gguf_get_texts(g, "tokenizer.ggml.merges", &v.merges, &found.merge_count, err);
    found.model = v.model, found.pre = v.pre, found.tokens = v.tokens, found.types = v.types, found.scores = v.scores,
        found.merges = v.merges;
    if (!status) status = tokenizer_from_gguf(tk, &found, g->path, err);
    vocabulary_free(&v);
    return status ? -1 : 0;
}
