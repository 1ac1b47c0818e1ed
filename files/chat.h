// SPDX-License-Identifier: MIT
/* chat.h - a conversation as the text a checkpoint was trained on: its chat template and the tokens that the template names.
 *
 *     Chat chat;
 *     if (chat_open(&chat, folder, NULL, &tokenizer, &config, &err)) return -1;
 *     json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", "Hello!");
 *     if (chat_render(&chat, &text, messages, &err)) return -1;       // to where the assistant begins to speak
 *     if (chat_encode(&chat, &ids, messages, &err)) return -1;        // the same as token ids
 *     chat_free(&chat);
 *
 * The template is chat_template.jinja in the checkpoint's folder, else "chat_template" in tokenizer_config.json.
 */
#ifndef RAFT_FILES_CHAT_H
#define RAFT_FILES_CHAT_H

#include "files/template.h"
#include "model.h"
#include "tokenizer.h"

typedef struct {
    Template *template;
    const Tokenizer *tokenizer;
    char *bos, *eos;    // the texts of the tokens that begin and end a text, "" where there is none
    uint32_t ends[2];   // tokens that end an answer
    size_t end_count;
} Chat;

// file: a template to use instead of the folder's, or NULL. A folder without one is an error that says how to give one.
int chat_open(Chat *chat, const char *folder, const char *file, const Tokenizer *tokenizer, const ModelConfig *config, Err *err);
void chat_free(Chat *chat);
int chat_render(const Chat *chat, Text *text, const json_t *messages, Err *err); // appends
int chat_encode(const Chat *chat, TokenList *ids, const json_t *messages, Err *err); // appends
// The control token that a text spells, which would forge the template's own; -1 when it spells none.
int64_t chat_forged(const Chat *chat, const char *text, size_t length);
// Copies what makes a checkpoint a chat model (both files, where they are) to the folder of another.
int chat_copy_files(const char *to, const char *from, Err *err);

#endif
