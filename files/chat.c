// SPDX-License-Identifier: MIT
/* chat.c - conversations rendered through the chat template of a checkpoint. Where a folder keeps it is hub.c's, the language of templates
 * template.c's. Start at chat_open. */
#include "files/chat.h"

#include "files/hub.h"
#include "files/jsonl.h"

#include <string.h>

static const char *const template_file = "chat_template.jinja", *const config_file = "tokenizer_config.json";

// A file of the folder as a document; NULL without an error when it is not there.
static int read_config(json_t **config, char **path, const char *folder, Err *err)
{
    *config = NULL;
    if (!(*path = os_join(err, folder, config_file))) return -1;
    if (!os_is_file(*path)) return 0;
    return (*config = json_load_document(*path, err)) ? 0 : -1;
}

static int open_template(Chat *chat, const char *folder, const char *file, Err *err)
{
    Text text = {0};
    int got = file ? os_read_file(&text, file, err) : hub_load_chat_template(&text, folder, err);
    if (got == 1)
        err_input(err, "%s: no chat template (neither %s nor \"chat_template\" in %s); give one with --template FILE, or use raft generate",
            folder, template_file, config_file);
    else if (!got) chat->template = template_parse(text.data ? text.data : "", text.length, file ? file : folder, err);
    text_free(&text);
    return chat->template ? 0 : -1;
}

// "bos_token" is a text or {"content": text}; without it, the token of the model's own id.
static char *token_text(const json_t *config, const char *key, const Tokenizer *tk, int64_t id, Err *err)
{
    const json_t *value = json_object_get(config, key), *content = json_object_get(value, "content");
    const char *text = json_string_value(content ? content : value);
    if (text) return mem_copy_text(err, text);
    if (id < 0 || (uint64_t)id >= tk->vocab) return mem_copy_text(err, "");
    return mem_copy_bytes(err, tk->tokens[id].bytes, tk->tokens[id].length);
}

int chat_open(Chat *chat, const char *folder, const char *file, const Tokenizer *tokenizer, const ModelConfig *model, Err *err)
{
    json_t *config = NULL;
    char *path = NULL;
    *chat = (Chat){.tokenizer = tokenizer};
    int status = read_config(&config, &path, folder, err) || open_template(chat, folder, file, err) ? -1 : 0;
    if (!status) {
        chat->bos = token_text(config, "bos_token", tokenizer, model->bos, err);
        chat->eos = chat->bos ? token_text(config, "eos_token", tokenizer, model->eos, err) : NULL;
        status = chat->eos ? 0 : -1;
    }
    int64_t own = status ? -1 : tokenizer_find(tokenizer, chat->eos);
    if (model->eos >= 0) chat->ends[chat->end_count++] = (uint32_t)model->eos;
    if (own >= 0 && own != model->eos) chat->ends[chat->end_count++] = (uint32_t)own;
    json_decref(config);
    mem_free(path);
    if (status) chat_free(chat);
    return status;
}

void chat_free(Chat *chat)
{
    template_free(chat->template);
    mem_free(chat->bos);
    mem_free(chat->eos);
    *chat = (Chat){0};
}

int chat_render(const Chat *chat, Text *text, const json_t *messages, Err *err)
{
    json_t *variables = json_pack("{s:O,s:s,s:s,s:b}", "messages", messages, "bos_token", chat->bos, "eos_token", chat->eos,
        "add_generation_prompt", 1);
    int status = variables ? template_render(chat->template, text, variables, err) : err_failed(err, "out of memory for a chat template");
    json_decref(variables);
    return status;
}

int chat_encode(const Chat *chat, TokenList *ids, const json_t *messages, Err *err)
{
    Text text = {0};
    int status = chat_render(chat, &text, messages, err) || tokenizer_encode(chat->tokenizer, ids, text.data, text.length, err) ? -1 : 0;
    text_free(&text);
    return status;
}

int64_t chat_forged(const Chat *chat, const char *text, size_t length)
{
    const Tokenizer *tk = chat->tokenizer;
    for (size_t i = 0; i < tk->vocab; i++) {
        if (!tokenizer_is_control(tk, (uint32_t)i)) continue;
        for (size_t at = 0; at + tk->tokens[i].length <= length; at++)
            if (!memcmp(text + at, tk->tokens[i].bytes, tk->tokens[i].length)) return (int64_t)i;
    }
    return -1;
}

int chat_copy_files(const char *to, const char *from, Err *err)
{
    const char *const names[] = {template_file, config_file};
    int status = 0;
    for (size_t i = 0; i < 2 && !status; i++) {
        Text text = {0};
        char *source = os_join(err, from, names[i]), *target = source ? os_join(err, to, names[i]) : NULL;
        status = target ? 0 : -1;
        if (!status && os_is_file(source))
            status = os_read_file(&text, source, err) || os_write_file(target, text.data ? text.data : "", text.length, err) ? -1 : 0;
        text_free(&text);
        mem_free(source);
        mem_free(target);
    }
    return status;
}
