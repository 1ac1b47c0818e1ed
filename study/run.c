// SPDX-License-Identifier: MIT
/* run.c - a run directory's own files. Each is written whole under a temporary name and renamed: a run that is killed
 * leaves finished files only. Knows nothing of what a run computes. */
#include "study/run.h"

#include "base/version.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int write_text(const Run *run, const char *name, const Text *text, Err *err)
{
    char *path = os_join(err, run->folder, name);
    int status = path ? os_write_file(path, text->data ? text->data : "", text->length, err) : -1;
    mem_free(path);
    return status;
}

static int write_provenance(const Run *run, Err *err)
{
    Text text = {0};
    int status = json_write_pretty(&text, run->provenance, err) || write_text(run, "provenance.json", &text, err);
    text_free(&text);
    return status ? -1 : 0;
}

// Constructors of JSON values give NULL when memory is exhausted; json_object_set_new refuses that.
static int set(json_t *object, const char *key, json_t *value, Err *err)
{
    return json_object_set_new(object, key, value) ? err_failed(err, "out of memory while recording \"%s\"", key) : 0;
}

// ---- opening ---------------------------------------------------------------------------------------------------------------

static int exists_in(bool *found, const char *folder, const char *name, Err *err)
{
    char *path = os_join(err, folder, name);
    if (!path) return -1;
    *found = os_is_file(path);
    mem_free(path);
    return 0;
}

static int refuse_existing(const char *folder, Err *err)
{
    const char *const signs[] = {"provenance.json", "metrics.jsonl", "config.json"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        bool found;
        if (exists_in(&found, folder, signs[i], err)) return -1;
        if (found)
            return err_input(err, "%s: already holds a %s (%s); choose another folder, or --force to replace it", folder,
                i == 2 ? "checkpoint" : "run", signs[i]);
    }
    return 0;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && !strcmp(name + n - m, end);
}

// Files of a longer run must not survive beside those of a shorter one. Only what a run itself writes is touched.
static int remove_old(const char *folder, bool iteration, Err *err)
{
    OsNames names;
    int status = 0;
    if (!os_is_folder(folder)) return 0;
    if (os_list_folder(&names, folder, err)) return -1;
    for (size_t i = 0; !status && i < names.count; i++) {
        const char *name = names.names[i];
        char *path = os_join(err, folder, name);
        bool own = !strcmp(name, "settings.conf") || !strcmp(name, "provenance.json") || !strcmp(name, "metrics.jsonl") ||
            !strcmp(name, "timing.jsonl");
        if (!path) status = -1;
        else if (!iteration && !strncmp(name, "iter_", 5) && os_is_folder(path)) status = remove_old(path, true, err);
        else if ((iteration ? ends_with(name, ".jsonl") : own) && remove(path))
            status = err_failed(err, "%s: cannot remove the old file", path);
        mem_free(path);
    }
    os_names_free(&names);
    return status;
}

static int add_option(void *self, const char *key, const char *value, bool is_text, bool is_list, Err *err)
{
    json_t *options = self, *item = is_text ? NULL : json_loads(value, JSON_DECODE_ANY, NULL), *list = json_object_get(options, key);
    if (!item) item = json_string(value); // ".5" is a number to us and not to JSON; a text that is no UTF-8 gives NULL
    if (!item) item = json_string("(not UTF-8)");
    if (!is_list) return set(options, key, item, err);
    if (!list && (set(options, key, json_array(), err) || !(list = json_object_get(options, key)))) return -1;
    return json_array_append_new(list, item) ? err_failed(err, "out of memory while recording \"%s\"", key) : 0;
}

static json_t *command_line(const char *command, const Settings *settings)
{
    json_t *words = json_pack("[s,s]", "raft", command);
    for (int i = 0; words && i < settings->argc; i++) {
        json_t *word = json_string(settings->argv[i]);
        if (json_array_append_new(words, word ? word : json_string("(not UTF-8)"))) return json_decref(words), NULL;
    }
    return words;
}

static int describe(json_t *p, const char *command, const Settings *settings, const Options *options, const Compute *cx, Err *err)
{
    char *cpu = os_cpu_name(err);
    json_t *resolved = json_object();
    int status = !cpu || set(p, "program", json_string("raft"), err) || set(p, "version", json_string(raft_version()), err) ||
        set(p, "commit", json_string(raft_commit()), err) || set(p, "compiler", json_string(raft_compiler()), err) ||
        set(p, "command", json_string(command), err) || set(p, "command_line", command_line(command, settings), err) ||
        set(p, "seed", json_integer((json_int_t)options->seed), err) || set(p, "cpu", json_string(cpu), err) ||
        set(p, "isa", json_string(cx->k ? cx->k->isa : "none"), err) ||
        set(p, "matmul", json_string(cx->backend == MATMUL_BLIS ? "blis" : "own"), err) ||
        set(p, "threads", json_integer((json_int_t)cx->threads), err);
    if (!status && cx->backend == MATMUL_BLIS) status = set(p, "blis_config", json_string(blis_configuration()), err);
    if (!status) status = settings_visit(settings, command, add_option, resolved, err);
    if (!status) status = set(p, "options", json_incref(resolved), err);
    json_decref(resolved);
    mem_free(cpu);
    return status ? -1 : 0;
}

int run_open(Run *run, const char *folder, const char *command, const Settings *settings, const Options *options,
    const Compute *cx, Err *err)
{
    *run = (Run){0};
    if (options->force || options->resume ? remove_old(folder, false, err) : refuse_existing(folder, err)) return -1;
    if (os_make_folders(folder, err)) { // a file in the way is the command line's fault; a place one may not write to is not
        if (!os_is_file(folder)) err->status = 1;
        return -1;
    }
    Text text = {0};
    run->folder = mem_copy_text(err, folder);
    run->provenance = json_object();
    int status = !run->folder ||
        text_printf(&text, err, "# raft %s: the resolved settings, usable with --profile and the path of this file\n", command) ||
        settings_write(&text, settings, command, err) || write_text(run, "settings.conf", &text, err) ||
        describe(run->provenance, command, settings, options, cx, err) || write_provenance(run, err);
    text_free(&text);
    if (status) {
        err->status = 1;
        run_close(run);
    }
    return status ? -1 : 0;
}

void run_close(Run *run)
{
    mem_free(run->folder);
    text_free(&run->metrics);
    text_free(&run->timing);
    json_decref(run->provenance);
    *run = (Run){0};
}

// ---- recording -------------------------------------------------------------------------------------------------------------

int run_record(Run *run, const char *key, json_t *value, Err *err)
{
    return set(run->provenance, key, value, err) || write_provenance(run, err) ? -1 : 0;
}

int run_record_hash(Run *run, const char *key, uint64_t hash, Err *err)
{
    char digits[17];
    snprintf(digits, sizeof digits, "%016" PRIx64, hash);
    return run_record(run, key, json_string(digits), err);
}

int run_record_file(Run *run, const char *key, const char *path, Err *err)
{
    OsMap map;
    if (os_map_file(&map, path, err)) return -1;
    uint64_t hash = hash_bytes(0, map.data, map.size);
    os_unmap(&map);
    return run_record_hash(run, key, hash, err);
}

static int add_line(const Run *run, const char *name, Text *contents, json_t *line, Err *err)
{
    int status = json_write(contents, line, err) || text_puts(contents, err, "\n") || write_text(run, name, contents, err);
    json_decref(line);
    return status ? -1 : 0;
}

int run_metrics(Run *run, json_t *line, Err *err) { return add_line(run, "metrics.jsonl", &run->metrics, line, err); }

int run_timing(Run *run, const char *stage, double seconds, size_t tokens, Err *err)
{
    json_t *line = json_pack("{s:s,s:f,s:I}", "stage", stage, "seconds", seconds, "tokens", (json_int_t)tokens);
    if (line && tokens && seconds > 0 && set(line, "tokens_per_s", json_real((double)tokens / seconds), err))
        return json_decref(line), -1;
    return add_line(run, "timing.jsonl", &run->timing, line, err);
}

char *run_path(const Run *run, const char *name, Err *err)
{
    char *path = os_join(err, run->folder, name), *slash = path ? strrchr(path, '/') : NULL;
    if (!slash) return path;
    *slash = '\0';
    int status = os_make_folders(path, err);
    *slash = '/';
    if (!status) return path;
    mem_free(path);
    return NULL;
}
