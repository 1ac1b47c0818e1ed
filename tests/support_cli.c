// SPDX-License-Identifier: MIT
#define _XOPEN_SOURCE 700
#include "tests/support_cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"

char *cli_folder;
Text cli_output;

int cli_make_folder(void **state)
{
    (void)state;
    cli_folder = temporary_folder();
    return 0;
}

int cli_remove_folder(void **state)
{
    (void)state;
    remove_folder(cli_folder);
    free(cli_folder);
    text_free(&cli_output);
    return 0;
}

int raft(const char *format, ...)
{
    char arguments[1500], expanded[3000];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(arguments, sizeof arguments, format, args);
    va_end(args);
    assert_in_range(length, 0, sizeof arguments - 1);
    size_t used = 0;
    expanded[0] = '\0';
    for (const char *c = arguments; *c; c++) {
        used += (size_t)snprintf(expanded + used, sizeof expanded - used, *c == '@' ? "%s" : "%.1s", *c == '@' ? cli_folder : c);
        assert_true(used < sizeof expanded);
    }
    return run_raft(&cli_output, "%s", expanded);
}

// All of it: cmocka cuts a message off, and what a sanitizer has to say comes last.
static void show(const char *text) { fprintf(stderr, "%s\n", text); }

void expect(int status, int wanted, const char *fragment)
{
    const char *said = cli_output.data ? cli_output.data : "";
    if (status == wanted && strstr(said, fragment)) return;
    show(said);
    if (status != wanted) fail_msg("exit status %d where %d was expected; the program said what is above", status, wanted);
    fail_msg("\"%s\" was expected in what is above", fragment);
}

json_t *raft_json(const char *arguments)
{
    int status = raft("%s --json 2> @/err < /dev/null #", arguments); // '#': run_raft's own redirection
    if (status) {
        char *text = cli_standard_error();
        show(text);
        free(text);
        fail_msg("exit status %d from %s; the program said what is above", status, arguments);
    }
    json_error_t error;
    json_t *value = json_loads(cli_output.data, JSON_ALLOW_NUL, &error);
    if (!value) fail_msg("not one JSON object (%s): %s", error.text, cli_output.data);
    return value;
}

char *cli_path(const char *name) { return path_in(cli_folder, name); }

char *cli_standard_error(void)
{
    char *path = cli_path("err"), *text = read_file(path, NULL);
    free(path);
    return text;
}

bool cli_have(const char *name)
{
    char *path = cli_path(name);
    bool found = os_is_file(path);
    free(path);
    return found;
}

bool cli_same_file(const char *a, const char *b)
{
    char *path_a = cli_path(a), *path_b = cli_path(b);
    bool same = same_file(path_a, path_b);
    free(path_a);
    free(path_b);
    return same;
}

void cli_assert_same_file(const char *a, const char *b)
{
    if (!cli_same_file(a, b)) fail_msg("%s and %s differ", a, b);
}

void cli_put(const char *name, const char *text)
{
    char *path = cli_path(name);
    write_file(path, text, strlen(text));
    free(path);
}

double json_figure(const json_t *object, const char *key, const char *inner)
{
    const json_t *value = json_object_get(object, key);
    if (inner) value = json_object_get(value, inner);
    if (!json_is_number(value)) fail_msg("%s%s%s is no number", key, inner ? "." : "", inner ? inner : "");
    return json_number_value(value);
}

int cli_make_model(void **state)
{
    cli_make_folder(state);
    Text texts = {0};
    Err err = {0};
    const char *const words[] = {"the film was great", "a dull and slow plot", "what a bright, funny story", "nobody liked the end"};
    for (int i = 0; i < 24; i++)
        assert_ok(text_printf(&texts, &err, "{\"text\":\"%s and %s. %s!\",\"label\":%d}\n", words[i % 4], words[i / 4 % 4],
            words[(i + i / 8) % 4], i % 2), &err);
    cli_put("texts.jsonl", texts.data);
    cli_put("pairs.jsonl", "{\"prompt\":\"the film\",\"response\":\" was great\"}\n{\"prompt\":\"the plot\",\"response\":\" was dull\"}\n");
    text_free(&texts);
    expect(raft("tokenizer train --vocab 280 --special '<|endoftext|>' --jsonl @/texts.jsonl -o @/tok.json"), 0, "280 tokens");
    expect(raft("pretrain --corpus @/texts.jsonl --tokenizer @/tok.json %s -o @/lm", CLI_TINY), 0, "parameters");
    return 0;
}
