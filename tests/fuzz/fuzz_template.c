// SPDX-License-Identifier: MIT
/* fuzz_template.c - any bytes as a chat template, over one conversation. */
#include "tests/fuzz/fuzz_chat.h"

#include "files/template.h"

int fuzz_template(const uint8_t *data, size_t size)
{
    Err err = {0};
    Text out = {0};
    Template *template = template_parse((const char *)data, size, "fuzz", &err);
    json_t *variables = json_pack("{s:[{s:s,s:s},{s:s,s:s}],s:s,s:s,s:b}", "messages", "role", "system", "content", " a\n", "role", "user",
        "content", "b\xC3\xA9", "bos_token", "<s>", "eos_token", "</s>", "add_generation_prompt", 1);
    if (template && variables) (void)template_render(template, &out, variables, &err);
    json_decref(variables);
    template_free(template);
    text_free(&out);
    return 0;
}
