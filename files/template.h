// SPDX-License-Identifier: MIT
/* template.h - chat templates: the part of Jinja in which models say how a conversation becomes one text.
 *
 *     Template *template = template_parse(text, length, "chat_template.jinja", &err);
 *     if (!template) return -1;                          // err: chat_template.jinja:3:14: macro is not supported
 *     json_t *variables = json_pack("{s:o,s:s,s:b}", "messages", messages, "eos_token", "</s>", "add_generation_prompt", 1);
 *     if (template_render(template, &out, variables, &err)) return -1;     // appends
 *     template_free(template);
 *
 * What is understood is listed in docs/MODELS.md and means what it means to jinja2 with trim_blocks and lstrip_blocks, as in
 * transformers; anything else is an error that names the construct and its place. Rendering is bounded in memory and time.
 */
#ifndef RAFT_FILES_TEMPLATE_H
#define RAFT_FILES_TEMPLATE_H

#include "base/util.h"

#include <jansson.h>

typedef struct Template Template;
Template *template_parse(const char *text, size_t length, const char *where, Err *err); // everything is copied
void template_free(Template *template);
// `variables` is an object: what the template sees by name. raise_exception() and undefined values are errors of status 2.
int template_render(const Template *template, Text *out, const json_t *variables, Err *err);

#endif
