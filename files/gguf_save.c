// SPDX-License-Identifier: MIT
/* gguf_save.c - a model as a GGUF file that llama.cpp opens. Start at gguf_save_model.
 *
 * The vocabulary is copied from tokenizer.json in that file's own spelling, which is GGUF's too.
 */
#include "files/gguf_model-internal.h"

#include "files/gguf_write.h"
#include "files/jsonl.h"

#include <string.h>

// ---- the vocabulary ----------------------------------------------------------------------------------------------------------

enum { TOKEN_NORMAL = 1, TOKEN_CONTROL = 3, TOKEN_USER = 4, TOKEN_UNUSED = 5 };
typedef struct { TextView *tokens, *merges; int32_t *types; size_t vocab, merge_count; Text joined, names; const char *where; } Vocabulary;

static void vocabulary_free(Vocabulary *v)
{
    mem_free(v->tokens);
    mem_free(v->merges);
    mem_free(v->types);
    text_free(&v->joined);
    text_free(&v->names);
}

static int set_token(Vocabulary *v, const char *text, const json_t *number, int32_t type, Err *err)
{
    json_int_t id = json_integer_value(number);
    if (!text || id < 0 || (uint64_t)id >= v->vocab)
        return err_input(err, "%s: token id %lld is outside the model's vocabulary of %zu", v->where, (long long)id, v->vocab);
    v->tokens[id] = (TextView){text, strlen(text)};
    v->types[id] = type;
    return 0;
}

static int add_tokens(Vocabulary *v, const json_t *document, Err *err)
{
    json_t *vocab = json_object_get(json_object_get(document, "model"), "vocab");
    const json_t *added = json_object_get(document, "added_tokens");
    for (void *at = json_object_iter(vocab); at; at = json_object_iter_next(vocab, at)) {
        const char *key = json_object_iter_key(at); // lives as long as the document
        if (set_token(v, key, json_object_iter_value(at), TOKEN_NORMAL, err)) return -1;
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        int32_t type = json_is_true(json_object_get(token, "special")) ? TOKEN_CONTROL : TOKEN_USER;
        if (set_token(v, json_string_value(json_object_get(token, "content")), json_object_get(token, "id"), type, err)) return -1;
    }
    return 0;
}

// The model may have more rows than the tokenizer has tokens: they get names that no text holds, as convert_hf_to_gguf.py does.
static int name_the_rest(Vocabulary *v, Err *err)
{
    enum { NAME = 24 };
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0, at = 0; i < v->vocab; i++) {
            char name[NAME];
            if (v->types[i] && v->types[i] != TOKEN_UNUSED) continue;
            int length = snprintf(name, sizeof name, "[PAD%zu]", i);
            if (!pass && text_add(&v->names, err, name, (size_t)length)) return -1;
            if (pass) v->tokens[i] = (TextView){v->names.data + at, (size_t)length};
            at += (size_t)length;
            v->types[i] = TOKEN_UNUSED;
        }
    return 0;
}

// "left right", whether the file spells a merge so or as a pair.
static int add_merges(Vocabulary *v, const json_t *document, Err *err)
{
    const json_t *merges = json_object_get(json_object_get(document, "model"), "merges");
    v->merge_count = json_array_size(merges);
    if (!(v->merges = mem_new(err, v->merge_count, sizeof *v->merges))) return -1;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0, at = 0; i < v->merge_count; i++) {
            const json_t *merge = json_array_get(merges, i), *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
            size_t length = json_is_string(merge) ? json_string_length(merge) : json_string_length(left) + 1 + json_string_length(right);
            if (!pass && json_is_string(merge)) text_puts(&v->joined, err, json_string_value(merge));
            else if (!pass) text_printf(&v->joined, err, "%s %s", json_string_value(left), json_string_value(right));
            if (pass) v->merges[i] = (TextView){v->joined.data + at, length};
            at += length;
        }
    return v->joined.failed ? -1 : 0;
}

static const char *pre_name(const Tokenizer *tk)
{
    switch (tk->split) {
    case SPLIT_GPT2: return "gpt-2";
    case SPLIT_DIGITS: return "smollm";
    case SPLIT_LLAMA3: return "llama-bpe";
    case SPLIT_QWEN2: return "qwen2";
    default: return NULL;
    }
}

static int put_vocabulary(GgufWriter *w, const Model *model, const char *path, const Tokenizer *tk, Err *err)
{
    const char *pre = pre_name(tk);
    if (!pre) return err_input(err, "%s: a SentencePiece vocabulary is not written to GGUF; export a Hugging Face directory", path);
    json_t *document = json_load_document(path, err);
    Vocabulary v = {.where = path, .vocab = model->config.vocab};
    if (document) v.tokens = mem_new(err, v.vocab, sizeof *v.tokens);
    if (v.tokens) v.types = mem_new(err, v.vocab, sizeof *v.types);
    int status = !v.types || add_tokens(&v, document, err) || name_the_rest(&v, err) || add_merges(&v, document, err) ||
        gguf_put_text(w, "tokenizer.ggml.model", "gpt2", 4, err) || gguf_put_text(w, "tokenizer.ggml.pre", pre, strlen(pre), err) ||
        gguf_put_texts(w, "tokenizer.ggml.tokens", v.tokens, v.vocab, err) || gguf_put_i32s(w, "tokenizer.ggml.token_type", v.types,
            v.vocab, err) ||
        gguf_put_texts(w, "tokenizer.ggml.merges", v.merges, v.merge_count, err) ||
        gguf_put_bool(w, "tokenizer.ggml.add_bos_token", tk->first >= 0, err) || gguf_put_bool(w, "tokenizer.ggml.add_space_prefix",
            false, err);
    vocabulary_free(&v);
    json_decref(document);
    return status ? -1 : 0;
}

// ---- metadata and tensors -------------------------------------------------------------------------------------------------------

static int put_special(GgufWriter *w, const char *key, int64_t id, Err *err) { return id < 0 ? 0 : gguf_put_u32(w, key, (size_t)id, err); }

static int put_rope(GgufWriter *w, const ModelConfig *c, Err *err)
{
    if (c->rope_type == ROPE_LLAMA3)
        return err_input(err, "RoPE scaling \"llama3\" is not written to GGUF; export a Hugging Face directory");
    if (gguf_put_f32(w, "llama.rope.freq_base", c->rope_theta, err) || gguf_put_u32(w, "llama.rope.dimension_count", c->head_dim, err))
        return -1;
    if (c->rope_type == ROPE_DEFAULT) return 0;
    return gguf_put_text(w, "llama.rope.scaling.type", "linear", 6, err) || gguf_put_f32(w, "llama.rope.scaling.factor", c->rope_factor,
        err) ? -1 : 0;
}

static int put_metadata(GgufWriter *w, const ModelConfig *c, GgufType type, Err *err)
{
    const size_t file_type = type == GGUF_F32 ? 0 : type == GGUF_F16 ? 1 : 7; // ggml's numbers again, of whole files
    const struct { const char *key; size_t value; } sizes[] = {
        {"general.file_type", file_type}, {"general.quantization_version", 2}, {"llama.block_count", c->layers},
        {"llama.context_length", c->context}, {"llama.embedding_length", c->dim}, {"llama.feed_forward_length", c->ff},
        {"llama.attention.head_count", c->heads}, {"llama.attention.head_count_kv", c->kv_heads},
        {"llama.attention.key_length", c->head_dim}, {"llama.attention.value_length", c->head_dim}, {"llama.vocab_size", c->vocab},
    };
    if (gguf_put_text(w, "general.architecture", "llama", 5, err)) return -1;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (gguf_put_u32(w, sizes[i].key, sizes[i].value, err)) return -1;
    return gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", c->rms_eps, err) || put_rope(w, c, err) ||
        put_special(w, "tokenizer.ggml.bos_token_id", c->bos, err) || put_special(w, "tokenizer.ggml.eos_token_id", c->eos, err) ||
        put_special(w, "tokenizer.ggml.padding_token_id", c->pad, err) ? -1 : 0;
}

enum { NAME_SIZE = 96 };

static int list_outputs(GgufOutput *outputs, char *names, const Model *model, GgufType type, Err *err)
{
    for (size_t i = 0; i < model->tensor_count; i++) {
        const Tensor *t = model->tensors + i;
        char *name = names + i * NAME_SIZE;
        gguf_tensor_name(name, NAME_SIZE, t->name);
        if (*name == '?') return err_input(err, "tensor \"%s\" has no place in a GGUF file", t->name);
        outputs[i] = (GgufOutput){.name = name, .type = t->dims == 1 ? GGUF_F32 : type, .rows = t->dims == 1 ? 0 : t->rows, .cols = t->cols,
            .data = model->parameters + t->offset, .head_dim = gguf_rope_heads(&model->config, t->name) ? model->config.head_dim : 0};
    }
    return 0;
}

int gguf_save_model(const char *path, const Model *model, const char *tokenizer_json, const Tokenizer *tk, const char *chat_template,
    GgufType type, Err *err)
{
    GgufWriter w = {0};
    if (model->config.head != HEAD_LM)
        return err_input(err, "%s: a reward model has no place in a GGUF file; export a Hugging Face directory", path);
    GgufOutput *outputs = mem_new(err, model->tensor_count, sizeof *outputs);
    char *names = outputs ? mem_new(err, model->tensor_count, NAME_SIZE) : NULL;
    int status = !names || list_outputs(outputs, names, model, type, err) || put_metadata(&w, &model->config, type, err) ||
        put_vocabulary(&w, model, tokenizer_json, tk, err);
    if (!status && chat_template) status = gguf_put_text(&w, "tokenizer.chat_template", chat_template, strlen(chat_template), err);
    if (!status) status = gguf_write(&w, path, outputs, model->tensor_count, err);
    gguf_writer_free(&w);
    mem_free(outputs);
    mem_free(names);
    return status ? -1 : 0;
}
