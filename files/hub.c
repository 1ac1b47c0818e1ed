// SPDX-License-Identifier: MIT
/* hub.c - what transformers keeps beside config.json and the weights. This program itself needs only the chat template. */
#include "files/hub.h"

#include "files/jsonl.h"

#include <string.h>

static const char template_file[] = "chat_template.jinja";

static const char *default_template(const json_t *value)
{
    if (json_is_string(value)) return json_string_value(value);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && !strcmp(name, "default")) return json_string_value(json_object_get(item, "template"));
    }
    return NULL;
}

// A file's whole text; 1 when there is no such file.
static int read_beside(Text *out, const char *folder, const char *name, Err *err)
{
    char *path = os_join(err, folder, name);
    int status = !path ? -1 : os_is_file(path) ? os_read_file(out, path, err) : 1;
    if (!status && strlen(out->data) != out->length) status = err_input(err, "%s: holds a NUL", path);
    mem_free(path);
    return status;
}

int hub_load_chat_template(Text *out, const char *folder, Err *err)
{
    int status = read_beside(out, folder, template_file, err);
    if (status != 1) return status;
    char *path = os_join(err, folder, "tokenizer_config.json");
    if (!path) return -1;
    if (os_is_file(path)) {
        json_t *object = json_load_document(path, err);
        const char *text = default_template(json_object_get(object, "chat_template"));
        status = !object ? -1 : text ? text_puts(out, err, text) : 1;
        json_decref(object);
    }
    mem_free(path);
    return status;
}

static int write_object(const char *folder, const char *name, json_t *object, Err *err)
{
    char *path = os_join(err, folder, name);
    Text text = {0};
    int status = path && object ? json_write_pretty(&text, object, err) : -1;
    if (!object) err_failed(err, "out of memory while building %s", name);
    if (!status) status = os_write_file(path, text.data, text.length, err);
    text_free(&text);
    json_decref(object);
    mem_free(path);
    return status;
}

static const struct { const char *id_key, *token_key; size_t offset; } specials[] = {
    {"bos_token_id", "bos_token", offsetof(ModelConfig, bos)},
    {"eos_token_id", "eos_token", offsetof(ModelConfig, eos)},
    {"pad_token_id", "pad_token", offsetof(ModelConfig, pad)},
};
enum { SPECIALS = sizeof specials / sizeof *specials };

static int64_t special_id(const ModelConfig *c, size_t i) { return *(const int64_t *)((const char *)c + specials[i].offset); }

static json_t *generation_config(const ModelConfig *c)
{
    json_t *o = json_object();
    for (size_t i = 0; i < SPECIALS; i++)
        if (special_id(c, i) >= 0) json_object_set_new(o, specials[i].id_key, json_integer(special_id(c, i)));
    return o;
}

static json_t *tokenizer_config(const ModelConfig *c, const Tokenizer *tk)
{
    json_t *o = json_object();
    json_object_set_new(o, "tokenizer_class", json_string("PreTrainedTokenizerFast"));
    json_object_set_new(o, "model_max_length", json_integer((json_int_t)c->context));
    json_object_set_new(o, "clean_up_tokenization_spaces", json_false());
    for (size_t i = 0; i < SPECIALS; i++) {
        int64_t id = special_id(c, i);
        if (id < 0 || (uint64_t)id >= tk->vocab) continue;
        json_t *token = json_stringn(tk->tokens[id].bytes, tk->tokens[id].length); // NULL, and left out, when it is no UTF-8
        if (token) json_object_set_new(o, specials[i].token_key, token);
    }
    return o;
}

int hub_save(const char *folder, const ModelConfig *config, const Tokenizer *tk, const char *chat_template, Err *err)
{
    if (config->head == HEAD_LM && write_object(folder, "generation_config.json", generation_config(config), err)) return -1;
    if (tk && write_object(folder, "tokenizer_config.json", tokenizer_config(config, tk), err)) return -1;
    if (!chat_template) return 0;
    char *path = os_join(err, folder, template_file);
    int status = path ? os_write_file(path, chat_template, strlen(chat_template), err) : -1;
    mem_free(path);
    return status;
}
