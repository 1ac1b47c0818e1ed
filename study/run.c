// SPDX-License-Identifier: MIT
/* run.c - a run directory's own files. Each is written whole under a temporary name and renamed: a run that is killed
 * leaves finished files only. Knows nothing of what a run computes. */
#include "study/run.h"

#include "base/version.h"

#include <stdio.h>
#include <stdlib.h>
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

static int remove_file(const char *folder, const char *name, Err *err)
{
    char *path = os_join(err, folder, name);
    int status = !path ? -1 : os_is_file(path) && remove(path) ? err_failed(err, "%s: cannot remove the old file", path) : 0;
    mem_free(path);
    return status;
}

// The files of a sub-folder whose names hold one of two endings. Only what a run itself writes is touched.
static int remove_files(const char *folder, const char *sub, const char *end, Err *err)
{
    OsNames names;
    char *path = os_join(err, folder, sub);
    int status = path ? 0 : -1;
    if (!status && os_is_folder(path) && !(status = os_list_folder(&names, path, err))) {
        for (size_t i = 0; !status && i < names.count; i++) {
            const char *name = names.names[i];
            size_t n = strlen(name), m = ends_with(name, ".tmp") ? 4 : 0; // of a write that was cut off
            char *whole = mem_copy_bytes(err, name, n - m);
            status = !whole ? -1 : ends_with(whole, end) ? remove_file(path, name, err) : 0;
            mem_free(whole);
        }
        os_names_free(&names);
    }
    mem_free(path);
    return status;
}

static int remove_state(const char *folder, Err *err) { return remove_files(folder, "state", ".safetensors", err); }

// Files of a longer run must not survive beside those of a shorter one. The provenance goes last: while it is there, so is a run.
static int remove_old(const char *folder, Err *err)
{
    const char *const own[] = {"settings.conf", "metrics.jsonl", "timing.jsonl", "samples_before.jsonl", "samples_after.jsonl",
        "human.jsonl", "heads.json", "comparison.json", "comparison.md", "report.html", "provenance.json"};
    OsNames names;
    if (!os_is_folder(folder)) return 0;
    if (remove_state(folder, err) || remove_files(folder, "best", ".json", err) || remove_files(folder, "best", ".safetensors", err)) return -1;
    if (os_list_folder(&names, folder, err)) return -1;
    int status = 0;
    for (size_t i = 0; !status && i < names.count; i++)
        if (!strncmp(names.names[i], "iter_", 5)) status = remove_files(folder, names.names[i], ".jsonl", err);
    for (size_t i = 0; !status && i < sizeof own / sizeof *own; i++) status = remove_file(folder, own[i], err);
    os_names_free(&names);
    return status;
}

// ---- what made a run -------------------------------------------------------------------------------------------------------

// A number whose nine digits would not read back to the same value is kept as text.
static json_t *option_value(const char *value, bool is_text)
{
    json_t *item = is_text ? NULL : json_loads(value, JSON_DECODE_ANY, NULL); // ".5" is a number to us and not to JSON
    char nine[40];
    if (json_is_real(item)) {
        snprintf(nine, sizeof nine, "%.9g", json_real_value(item));
        if (strtod(nine, NULL) == json_real_value(item)) return item;
        json_decref(item);
        item = NULL;
    }
    if (!item) item = json_string(value);
    return item ? item : json_string("(not UTF-8)");
}

static int add_option(void *self, const char *key, const char *value, bool is_text, bool is_list, Err *err)
{
    json_t *options = self, *item = option_value(value, is_text), *list = json_object_get(options, key);
    if (!is_list) return set(options, key, item, err);
    if (!list && (set(options, key, json_array(), err) || !(list = json_object_get(options, key)))) return -1;
    return json_array_append_new(list, item) ? err_failed(err, "out of memory while recording \"%s\"", key) : 0;
}

static int add_word(json_t *words, const char *text)
{
    json_t *word = json_string(text);
    return json_array_append_new(words, word ? word : json_string("(not UTF-8)"));
}

static json_t *command_line(const char *command, const Settings *settings)
{
    json_t *words = json_pack("[s,s]", "raft", command);
    for (int i = 0; words && i < settings->argc; i++)
        if (add_word(words, settings->argv[i])) return json_decref(words), NULL;
    return words;
}

static json_t *operands(const Settings *settings)
{
    json_t *words = json_array();
    for (size_t i = 0; words && i < settings->word_count; i++)
        if (add_word(words, settings->words[i])) return json_decref(words), NULL;
    return words;
}

static int describe(json_t *p, const char *command, const Settings *settings, const Options *options, const Compute *cx, Err *err)
{
    char *cpu = os_cpu_name(err), *folder = os_current_folder(err); // where relative paths begin
    json_t *resolved = json_object();
    int status = !cpu || !folder || set(p, "folder", json_string(folder), err) || set(p, "program", json_string("raft"), err) || set(p, "version", json_string(raft_version()), err) ||
        set(p, "commit", json_string(raft_commit()), err) || set(p, "compiler", json_string(raft_compiler()), err) ||
        set(p, "command", json_string(command), err) || set(p, "command_line", command_line(command, settings), err) ||
        set(p, "operands", operands(settings), err) || set(p, "seed", json_integer((json_int_t)options->seed), err) || set(p, "cpu", json_string(cpu), err) ||
        set(p, "isa", json_string(cx->k ? cx->k->isa : "none"), err) ||
        set(p, "matmul", json_string(cx->backend == MATMUL_BLIS ? "blis" : "own"), err) ||
        set(p, "threads", json_integer((json_int_t)cx->threads), err);
    if (!status && cx->backend == MATMUL_BLIS) status = set(p, "blis_config", json_string(blis_configuration()), err);
    if (!status) status = settings_visit(settings, command, add_option, resolved, err);
    if (!status) status = set(p, "options", json_incref(resolved), err);
    json_decref(resolved);
    mem_free(cpu);
    mem_free(folder);
    return status ? -1 : 0;
}

// ---- going on with a run, or repeating one ---------------------------------------------------------------------------------

static int refuse(const char *folder, const char *what, const json_t *then, const json_t *now, Err *err)
{
    char *before = then ? json_dumps(then, JSON_ENCODE_ANY) : NULL, *after = now ? json_dumps(now, JSON_ENCODE_ANY) : NULL;
    err_input(err, "%s: was made with %s %s, now it is %s: the result would be another one", folder, what, before ? before : "not given",
        after ? after : "not given");
    free(before);
    free(after);
    return -1;
}

// Settings that change a result must be the same. Input files are not compared here by name: their hashes are, once they are read.
static int check_options(const char *folder, const json_t *then, const json_t *now, Err *err)
{
    const json_t *sides[] = {then, now};
    for (size_t side = 0; side < 2; side++) {
        const char *key;
        json_t *ignored;
        json_object_foreach((json_t *)(uintptr_t)sides[side], key, ignored) {
            const json_t *a = json_object_get(then, key), *b = json_object_get(now, key);
            char what[120];
            snprintf(what, sizeof what, "--%s", key);
            if (!setting_is_neutral(key) && !json_equal(a, b)) return refuse(folder, what, a, b, err);
        }
    }
    return 0;
}

static int check_same(const char *folder, const json_t *then, const json_t *now, Err *err)
{
    const char *const keys[] = {"program", "command", "seed", "matmul"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!json_equal(json_object_get(then, keys[i]), json_object_get(now, keys[i])))
            return refuse(folder, keys[i], json_object_get(then, keys[i]), json_object_get(now, keys[i]), err);
    return check_options(folder, json_object_get(then, "options"), json_object_get(now, "options"), err);
}

static json_t *load_provenance(const char *folder, Err *err)
{
    char *path = os_join(err, folder, "provenance.json");
    json_t *provenance = path ? json_load_document(path, err) : NULL;
    mem_free(path);
    return provenance;
}

// The record of the beginning stays; which build and machine went on with it is added.
static int resume(Run *run, const json_t *now, bool quiet, Err *err)
{
    const char *const keys[] = {"version", "commit", "compiler", "cpu", "isa", "threads"};
    json_t *entry = json_object(), *list;
    run->provenance = json_deep_copy(run->expected);
    run->finished = json_is_true(json_object_get(run->expected, "finished"));
    if (run->finished) return json_decref(entry), remove_state(run->folder, err); // its last act may have been cut off
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (json_object_set(entry, keys[i], json_object_get(now, keys[i]))) return json_decref(entry), err_failed(err, "out of memory");
    const json_t *then = json_object_get(run->expected, "commit"), *commit = json_object_get(now, "commit");
    if (!quiet && !json_equal(then, commit))
        fprintf(stderr, "raft: %s was begun by build %s and goes on with build %s\n", run->folder, json_string_value(then), json_string_value(commit));
    list = json_object_get(run->provenance, "resumed");
    if (!list && (set(run->provenance, "resumed", json_array(), err) || !(list = json_object_get(run->provenance, "resumed")))) return -1;
    if (json_array_append_new(list, entry)) return err_failed(err, "out of memory");
    return write_provenance(run, err);
}

static int begin(Run *run, const char *command, const Settings *settings, Err *err)
{
    Text text = {0};
    int status = text_printf(&text, err, "# raft %s: the resolved settings, usable with --profile and the path of this file\n", command) ||
        settings_write(&text, settings, command, err) || write_text(run, "settings.conf", &text, err) ||
        run_record_hash(run, "settings_hash", hash_bytes(0, text.data, text.length), err) ? -1 : 0;
    text_free(&text);
    return status;
}

// A folder that holds no run, or no longer; --resume finds one there, or begins one.
static int make_room(Run *run, const char *folder, const Options *options, Err *err)
{
    if (options->resume && options->force)
        return err_input(err, "--resume goes on with a run and --force begins it anew: give one of the two");
    if (exists_in(&run->resumed, folder, "provenance.json", err)) return -1;
    run->resumed &= options->resume;
    if (run->resumed) return 0;
    if (options->force ? remove_old(folder, err) : refuse_existing(folder, err) || remove_state(folder, err)) return -1;
    if (!os_make_folders(folder, err)) return 0;
    if (!os_is_file(folder)) err->status = 1; // a file in the way is the command line's fault; a place one may not write to is not
    return -1;
}

int run_open(Run *run, const char *folder, const char *command, const Settings *settings, const Options *options,
    const Compute *cx, Err *err)
{
    *run = (Run){0};
    if (make_room(run, folder, options, err)) return -1;
    const char *like = run->resumed ? folder : options->repeat;
    json_t *now = json_object();
    run->folder = mem_copy_text(err, folder);
    int status = run->folder && now ? describe(now, command, settings, options, cx, err) : -1;
    bool differs = false;
    if (!status && like) status = (run->expected = load_provenance(like, err)) ? 0 : -1;
    if (!status && like) differs = (status = check_same(like, run->expected, now, err)) != 0;
    if (!status && run->resumed) status = resume(run, now, options->quiet, err);
    else if (!status) {
        run->provenance = json_incref(now);
        status = begin(run, command, settings, err);
    }
    json_decref(now);
    if (!status) return 0;
    if (!like) err->status = 1;
    run_close(run);
    run->differs = differs;
    return -1;
}

void run_close(Run *run)
{
    mem_free(run->folder);
    text_free(&run->metrics);
    text_free(&run->timing);
    json_decref(run->provenance);
    json_decref(run->expected);
    *run = (Run){0};
}

// ---- recording -------------------------------------------------------------------------------------------------------------

int run_record(Run *run, const char *key, json_t *value, Err *err)
{
    if (run->finished) return json_decref(value), 0; // nothing about it changes any more
    return set(run->provenance, key, value, err) || write_provenance(run, err) ? -1 : 0;
}

int run_record_hash(Run *run, const char *key, uint64_t hash, Err *err)
{
    char digits[17];
    hash_text(digits, hash);
    return run_record(run, key, json_string(digits), err);
}

int run_record_input(Run *run, const char *key, uint64_t hash, const char *what, Err *err)
{
    char digits[17];
    hash_text(digits, hash);
    const char *then = json_string_value(json_object_get(run->expected, key));
    if (then && strcmp(then, digits))
        return err_input(err, "%s: is not what it was when the run was made (%s: %s then, %s now)", what, key, then, digits);
    return run_record_hash(run, key, hash, err);
}

static int mix_file(uint64_t *hash, const char *path, Err *err)
{
    OsMap map;
    if (os_map_file(&map, path, err)) return -1;
    *hash = hash_bytes(*hash, map.data, map.size);
    os_unmap(&map);
    return 0;
}

int run_record_file(Run *run, const char *key, const char *path, Err *err)
{
    const char *const parts[] = {"config.json", "model.safetensors", "tokenizer.json"};
    uint64_t hash = 0;
    if (!os_is_folder(path)) return mix_file(&hash, path, err) ? -1 : run_record_input(run, key, hash, path, err);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *part = os_join(err, path, parts[i]);
        int status = !part || (os_is_file(part) && mix_file(&hash, part, err)) ? -1 : 0;
        mem_free(part);
        if (status) return -1;
    }
    return run_record_input(run, key, hash, path, err);
}

int run_mark_checkpoint(const Run *run, const char *folder, uint64_t hash, Err *err)
{
    char digits[17];
    Run copy = {.folder = (char *)(uintptr_t)folder, .provenance = json_copy(run->provenance)};
    hash_text(digits, hash);
    int status = copy.provenance ? run_record(&copy, "checkpoint_hash", json_string(digits), err) : err_failed(err, "out of memory");
    json_decref(copy.provenance);
    return status;
}

static int add_line(const Run *run, const char *name, Text *contents, json_t *line, Err *err)
{
    int status = json_write(contents, line, err) || text_puts(contents, err, "\n") || write_text(run, name, contents, err);
    json_decref(line);
    return status ? -1 : 0;
}

int run_metrics(Run *run, json_t *line, Err *err) { return add_line(run, "metrics.jsonl", &run->metrics, line, err); }

int run_timing_at(Run *run, const char *stage, double seconds, size_t tokens, const RunPlace *place, Err *err)
{
    json_t *line = json_pack("{s:s,s:f,s:I}", "stage", stage, "seconds", seconds, "tokens", (json_int_t)tokens);
    int status = line && tokens && seconds > 0 ? set(line, "tokens_per_s", json_real((double)tokens / seconds), err) : 0;
    if (line && place && !status)
        status = set(line, "iteration", json_integer((json_int_t)place->iteration), err) ||
            set(line, "generated", json_integer((json_int_t)place->generated), err) || set(line, "elapsed", json_real(place->elapsed), err);
    return status ? json_decref(line), -1 : add_line(run, "timing.jsonl", &run->timing, line, err);
}

int run_timing(Run *run, const char *stage, double seconds, size_t tokens, Err *err)
{
    return run_timing_at(run, stage, seconds, tokens, NULL, err);
}

static int put_back(const Run *run, const char *name, Text *contents, const char *lines, Err *err)
{
    contents->length = 0;
    if (text_puts(contents, err, lines)) return -1;
    return *lines ? write_text(run, name, contents, err) : remove_file(run->folder, name, err);
}

int run_restore(Run *run, const char *metrics, const char *timing, Err *err)
{
    return put_back(run, "metrics.jsonl", &run->metrics, metrics, err) || put_back(run, "timing.jsonl", &run->timing, timing, err) ? -1 : 0;
}

int run_finish(Run *run, Err *err)
{
    return run_record(run, "finished", json_true(), err) || remove_state(run->folder, err) ? -1 : 0;
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
