// SPDX-License-Identifier: MIT
/* report_provenance.c - where a run comes from: command line, build, machine, hashes, settings. */
#include "study/report-internal.h"

#include <string.h>

const char *report_provenance_text(const RunFiles *files, const char *key)
{
    return json_string_value(json_object_get(files->provenance, key));
}

// A word as a shell would read it back.
static void shell_word(Html *out, const char *word)
{
    if (*word && !word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%")]) {
        html_string(out, word);
        return;
    }
    html_string(out, "'");
    for (; *word; word++) {
        size_t plain = strcspn(word, "'");
        html_text(out, word, plain);
        word += plain;
        if (!*word) break;
        html_string(out, "'\\''");
    }
    html_string(out, "'");
}

static void json_value(Html *out, const json_t *value)
{
    Text text = {0};
    if (json_is_string(value)) {
        html_text(out, json_string_value(value), json_string_length(value));
        return;
    }
    if (json_write(&text, value, out->err)) out->text.failed = true;
    else html_text(out, text.data, text.length);
    text_free(&text);
}

static void command_line(Html *out, const json_t *words)
{
    for (size_t i = 0; i < json_array_size(words); i++) {
        const char *word = json_string_value(json_array_get(words, i));
        if (i) html_puts(out, " ");
        shell_word(out, word ? word : "?");
    }
}

static void provenance_rows(Html *out, json_t *object, bool with_options)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (!strcmp(key, "options") && !with_options) continue;
        html_row_name(out, key);
        html_puts(out, "<td><code>");
        if (!strcmp(key, "command_line") && json_is_array(value)) command_line(out, value);
        else json_value(out, value);
        html_puts(out, "</code></td></tr>\n");
    }
}

void report_provenance(Html *out, const RunFiles *files)
{
    const char *matmul = report_provenance_text(files, "matmul");
    bool blis = matmul && !strcmp(matmul, "blis");
    html_section(out, "provenance", "Where it comes from");
    if (files->provenance) {
        html_puts(out, blis ? "<p>This run used BLIS, with which the same inputs need not give the same bits on another machine.</p>\n" :
            "<p>The same program, inputs and settings give the same bits on any machine; what differs by machine stands only here\n"
            "and under time.</p>\n");
        html_puts(out, "<table class=\"facts\"><caption>provenance.json</caption>\n<tbody>\n");
        provenance_rows(out, files->provenance, !files->has_settings);
        html_puts(out, "</tbody></table>\n");
    } else html_puts(out, "<p class=\"missing\">This run holds no provenance.json.</p>\n");
    if (files->has_settings) {
        html_puts(out, "<details><summary>All settings (settings.conf)</summary>\n<pre tabindex=\"0\">");
        html_text(out, files->settings.data ? files->settings.data : "", files->settings.length);
        html_puts(out, "</pre>\n</details>\n");
    } else html_puts(out, "<p class=\"missing\">This run holds no settings.conf.</p>\n");
    html_puts(out, "</section>\n");
}
