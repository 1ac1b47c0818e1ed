// SPDX-License-Identifier: MIT
/* hub.h - the small files beside a checkpoint that other programs expect: generation_config.json, tokenizer_config.json,
 * chat_template.jinja.
 *
 *     Text template = {0};
 *     int got = hub_load_chat_template(&template, "lm", &err);                    // 0 found, 1 there is none, -1 error
 *     if (hub_save("out", &model.config, &tk, got == 0 ? template.data : NULL, &err)) return -1;
 */
#ifndef RAFT_FILES_HUB_H
#define RAFT_FILES_HUB_H

#include "model.h"
#include "tokenizer.h"

// chat_template.jinja, else "chat_template" of tokenizer_config.json: a text, or a list of named ones of which "default" counts.
int hub_load_chat_template(Text *out, const char *folder, Err *err);
int hub_save(const char *folder, const ModelConfig *config, const Tokenizer *tk /* NULL: none */, const char *chat_template /* NULL: none */, Err *err);

#endif
