// SPDX-License-Identifier: MIT
/* rerun.c - raft rerun: repeats a run from its provenance and says whether what it leaves has the same bits. */
#include "commands/commands.h"
#include "commands/learning.h"

#include <stdio.h>
#include <string.h>

enum { WORDS_MOST = 32 };

typedef struct {
    const char *from;
    Text where, to, profile; // FROM as it can be found from the run's folder; the new run's folder; FROM/settings.conf
    json_t *provenance;
    const Command *command;
    char threads[24];
    char *words[WORDS_MOST];
    int word_count;
    size_t compared;
    json_t *different;     // names of files
} Rerun;

static void rerun_free(Rerun *r)
{
    text_free(&r->where);
    text_free(&r->to);
    text_free(&r->profile);
    json_decref(r->provenance);
    json_decref(r->different);
}

// ---- what is repeated ------------------------------------------------------------------------------------------------------

static int read_run(Rerun *r, const char *output, Err *err)
{
    const char *name = NULL;
    char *path = os_join(err, r->from, "provenance.json");
    int status = path && (r->provenance = json_load_document(path, err)) ? json_get_text(r->provenance, "command", &name, path, err) : -1;
    for (size_t i = 0; !status && command_table[i]; i++)
        if (!strcmp(command_table[i]->name, name) && (command_table[i]->groups & OPT_RUN)) r->command = command_table[i];
    if (!status && !r->command) status = err_input(err, "%s: was made by \"raft %s\", which cannot be repeated", path, name);
    if (!status && !json_is_true(json_object_get(r->provenance, "finished")))
        status = err_input(err, "%s: is not finished: there is nothing to compare with (raft %s --resume finishes it)", r->from, name);
    mem_free(path);
    if (status) return -1;
    return text_printf(&r->profile, err, "%s/settings.conf", r->from) ||
        (output ? text_puts(&r->to, err, output) : text_printf(&r->to, err, "%s.rerun", r->from)) ? -1 : 0;
}

// settings.conf was written beside the provenance, which knows its hash.
static int check_settings(const Rerun *r, Err *err)
{
    Text settings = {0};
    char digits[17];
    if (os_read_file(&settings, r->profile.data, err)) return -1;
    hash_text(digits, hash_bytes(0, settings.data, settings.length));
    text_free(&settings);
    const char *then = json_string_value(json_object_get(r->provenance, "settings_hash"));
    if (then && !strcmp(then, digits)) return 0;
    return err_input(err, "%s: has changed since the run was made", r->profile.data);
}

static void add_word(Rerun *r, const char *word)
{
    if (r->word_count < WORDS_MOST) r->words[r->word_count++] = (char *)(uintptr_t)word;
}

static void add_option(Rerun *r, const char *name, const char *value)
{
    if (!value) return;
    add_word(r, name);
    add_word(r, value);
}

// The machine's own (threads, instruction set) may be others; they change no result.
static void build_words(Rerun *r, const Options *o)
{
    snprintf(r->threads, sizeof r->threads, "%zu", o->threads);
    add_option(r, "--profile", r->profile.data);
    add_option(r, "--output", r->to.data);
    add_option(r, "--repeat", r->from);
    add_option(r, "--matmul", json_string_value(json_object_get(r->provenance, "matmul")));
    add_option(r, "--isa", o->isa);
    add_option(r, "--threads", r->threads);
    if (o->quiet) add_word(r, "--quiet");
    if (o->force) add_word(r, "--force");
    add_word(r, "--");
    size_t i;
    json_t *operand;
    json_array_foreach(json_object_get(r->provenance, "operands"), i, operand) add_word(r, json_string_value(operand));
}

// ---- the comparison --------------------------------------------------------------------------------------------------------

static int compare_file(Rerun *r, const char *name, Err *err)
{
    OsMap a = {0}, b = {0};
    char *from = os_join(err, r->from, name), *to = from ? os_join(err, r->to.data, name) : NULL;
    bool old = to && os_is_file(from), new = to && os_is_file(to), same = old == new;
    int status = to ? 0 : -1;
    if (old && new) {
        status = os_map_file(&a, from, err) || os_map_file(&b, to, err) ? -1 : 0;
        same = !status && a.size == b.size && !memcmp(a.data, b.data, a.size);
        os_unmap(&a);
        os_unmap(&b);
    }
    if (!status && (old || new)) r->compared++;
    if (!status && !same && json_array_append_new(r->different, json_string(name))) status = err_failed(err, "out of memory");
    mem_free(from);
    mem_free(to);
    return status;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && !strcmp(name + n - m, end);
}

// What differs by machine and time, and what only an unfinished run holds, is not compared; nor is what is no result at all. A
// comparison's arms/NAME.json hold seconds; what else they hold is in comparison.json.
static bool is_result(const char *folder, const char *name)
{
    const char *const others[] = {"provenance.json", "timing.jsonl"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp(name, others[i])) return false;
    if (!strcmp(folder, "arms")) return false;
    return ends_with(name, ".json") || ends_with(name, ".jsonl") || ends_with(name, ".safetensors");
}

// Every result in a sub-folder ("" is all of it) of one run; of the new run only what the old one lacks, since the rest was compared.
static int compare_folder(Rerun *r, const char *root, bool is_new, const char *sub, Err *err)
{
    OsNames names;
    char *folder = os_join(err, root, sub);
    int status = !folder || os_list_folder(&names, folder, err) ? -1 : 0;
    for (size_t i = 0; !status && i < names.count; i++) {
        Text name = {0};
        status = text_printf(&name, err, "%s%s%s", sub, *sub ? "/" : "", names.names[i]);
        char *path = status ? NULL : os_join(err, root, name.data), *old = path ? os_join(err, r->from, name.data) : NULL;
        if (!old) status = -1;
        else if (os_is_folder(path)) status = strcmp(names.names[i], "state") ? compare_folder(r, root, is_new, name.data, err) : 0;
        else if (is_result(sub, names.names[i]) && !(is_new && os_is_file(old))) status = compare_file(r, name.data, err);
        text_free(&name);
        mem_free(path);
        mem_free(old);
    }
    if (folder && !status) os_names_free(&names);
    mem_free(folder);
    return status;
}

static int compare(Rerun *r, Err *err)
{
    if (!(r->different = json_array())) return err_failed(err, "out of memory");
    if (compare_folder(r, r->from, false, "", err) || compare_folder(r, r->to.data, true, "", err)) return -1;
    return r->compared ? 0 : err_input(err, "%s: holds no file to compare", r->from);
}

static int report(const Rerun *r, const Options *o, Err *err)
{
    size_t n = json_array_size(r->different);
    if (o->json)
        return print_json(json_pack("{s:s,s:s,s:b,s:I,s:O}", "run", r->from, "output", r->to.data, "same", (int)!n, "files",
            (json_int_t)r->compared, "different", r->different), err);
    if (n) printf("differ: %zu of %zu files of %s and %s: %s%s\n", n, r->compared, r->from, r->to.data,
        json_string_value(json_array_get(r->different, 0)), n > 1 ? ", ..." : "");
    else printf("same bits: %zu files of %s and %s\n", r->compared, r->from, r->to.data);
    return 0;
}

static int make_absolute(Text *path, const char *folder, Err *err)
{
    Text whole = {0};
    if (os_is_absolute(path->data)) return 0;
    int status = text_printf(&whole, err, "%s/%s", folder, path->data);
    text_free(path);
    *path = whole;
    return status;
}

// Paths of inputs are as they were given: they begin in the folder where the run was made.
static int enter_folder(Rerun *r, Err *err)
{
    const char *there = json_string_value(json_object_get(r->provenance, "folder"));
    char *here = os_current_folder(err);
    int status = here ? text_puts(&r->where, err, r->from) : -1;
    if (!status && there && strcmp(here, there)) {
        if (!os_is_folder(there)) fprintf(stderr, "raft: %s, where the run was made, is not there: inputs are looked for from here\n", there);
        else status = make_absolute(&r->where, here, err) || make_absolute(&r->to, here, err) || make_absolute(&r->profile, here, err) ||
            os_enter_folder(there, err);
    }
    mem_free(here);
    r->from = r->where.data;
    return status ? -1 : 0;
}

// With --json the answer is one object: what the command itself prints goes nowhere.
static int run_again(Rerun *r, const Options *o, Err *err)
{
    int kept = -1;
    if (o->json && os_mute_output(&kept, err)) return -1;
    int status = command_run(r->command, r->word_count, r->words, err);
    if (o->json) os_restore_output(kept);
    return status < 0 ? -1 : 0;
}

static int repeat(Rerun *r, const Options *o, Err *err)
{
    if (read_run(r, o->output, err) || check_settings(r, err) || enter_folder(r, err)) return -1;
    build_words(r, o);
    if (r->word_count == WORDS_MOST) return err_input(err, "%s: too many operands", r->from);
    return run_again(r, o, err) || compare(r, err) || report(r, o, err) ? -1 : 0;
}

static int run(CommandContext *cx, Err *err)
{
    if (cx->word_count != 1) return err_input(err, "rerun: expected one run directory, found %zu", cx->word_count);
    Rerun r = {.from = cx->words[0]};
    int status = repeat(&r, &cx->options, err);
    if (status) err->status = 2; // 1 is the answer "they differ"
    else status = json_array_size(r.different) > 0;
    rerun_free(&r);
    return status;
}

const Command command_rerun = {
    .name = "rerun",
    .operands = "RUN",
    .summary = "repeat a run from its provenance: are the bits the same? (exit 0 same, 1 differ, 2 cannot)",
    .groups = OPT_COMMON,
    .except = "seed profile matmul",
    .help = "rerun RUN [-o DIR] makes the run again in DIR (default: RUN.rerun) from the settings and the inputs that RUN/provenance.json\n"
            "records, and compares every file whose bytes depend on those only. Threads and instruction set may be others. Inputs are\n"
            "looked for where the run found them, from the folder it was made in; one that is absent or has changed is named.",
    .run = run,
};
