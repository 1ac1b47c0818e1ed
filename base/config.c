// SPDX-License-Identifier: MIT
/* config.c - reads command lines and profiles against the table of options (options.c); knows no single option itself,
 * except --profile. Start at settings_parse. */
#include "base/config.h"

#include "base/options.h"
#include "base/os.h"
#include "base/version.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- names -----------------------------------------------------------------------------------------------------------------

enum { NAME_MOST = 63 }; // longer names are compared by their start: distance only ranks suggestions

size_t text_distance(const char *a, const char *b)
{
    size_t before[NAME_MOST + 1], row[NAME_MOST + 1], n = strlen(b) < NAME_MOST ? strlen(b) : NAME_MOST;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 0; a[i] && i < NAME_MOST; i++) {
        memcpy(before, row, sizeof row);
        row[0] = i + 1;
        for (size_t j = 1; j <= n; j++) {
            size_t best = before[j - 1] + (a[i] != b[j - 1]);
            if (before[j] + 1 < best) best = before[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

static bool same_key(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if ((*a == '_' ? '-' : *a) != (*b == '_' ? '-' : *b)) return false;
    return *a == *b;
}

// Two options may share a name in different groups (--batch): the later row wins where both are taken.
static const OptionSpec *find_option(const char *key, unsigned groups)
{
    const OptionSpec *found = NULL;
    for (const OptionSpec *o = option_table; o->name; o++)
        if ((o->groups & groups) && same_key(key, o->name)) found = o;
    return found;
}

// Is the name one of the words of the list?
static bool is_listed(const char *name, const char *list)
{
    size_t n = strlen(name);
    for (const char *at = list; at && (at = strstr(at, name)); at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || !at[n])) return true;
    return false;
}

static const char *nearest_option(const char *key, unsigned groups, const char *except)
{
    const OptionSpec *best = NULL;
    for (const OptionSpec *o = option_table; o->name; o++)
        if ((o->groups & groups) && !is_listed(o->name, except) && (!best || text_distance(key, o->name) < text_distance(key, best->name))) best = o;
    return best ? best->name : "help";
}

static const char *find_stage(const char *name)
{
    for (size_t i = 0; stage_table[i]; i++)
        if (same_key(name, stage_table[i])) return stage_table[i];
    return NULL;
}

static const char *nearest_stage(const char *name)
{
    const char *best = stage_table[0];
    for (size_t i = 1; stage_table[i]; i++)
        if (text_distance(name, stage_table[i]) < text_distance(name, best)) best = stage_table[i];
    return best;
}

// ---- values ----------------------------------------------------------------------------------------------------------------

// "0 to 1", "at least 1", "above 0"; empty when anything goes.
static const char *range_text(const OptionSpec *o, char text[80])
{
    bool above = o->least == OPTION_ABOVE_0, bounded = o->most < OPTION_NO_LIMIT;
    text[0] = '\0';
    if (o->type == OPTION_SEED) snprintf(text, 80, "0 to 2^63-1");
    if (o->type != OPTION_SIZE && o->type != OPTION_NUMBER) return text;
    if (above && bounded) snprintf(text, 80, "above 0, at most %.15g", o->most);
    else if (above) snprintf(text, 80, "above 0");
    else if (bounded) snprintf(text, 80, "%.15g to %.15g", o->least, o->most);
    else snprintf(text, 80, "at least %.15g", o->least);
    return text;
}

static int bad_value(const OptionSpec *o, const char *value, const char *where, const char *wanted, Err *err)
{
    char range[80];
    range_text(o, range);
    return err_input(err, "%s: \"%s\" where %s was expected%s%s%s", where, value, wanted, *range ? " (" : "", range, *range ? ")" : "");
}

static int parse_whole(const OptionSpec *o, uint64_t *whole, const char *value, const char *where, Err *err)
{
    uint64_t most = o->type == OPTION_SEED ? INT64_MAX : (uint64_t)o->most, sum = 0;
    if (o->type == OPTION_SIZE && o->most >= OPTION_NO_LIMIT) most = UINT32_MAX;
    const char *c = value;
    for (; *c >= '0' && *c <= '9'; c++) {
        if (sum > (most - (uint64_t)(*c - '0')) / 10) return bad_value(o, value, where, "a smaller whole number", err);
        sum = sum * 10 + (uint64_t)(*c - '0');
    }
    if (c == value || *c) return bad_value(o, value, where, "a whole number", err);
    if (o->type == OPTION_SIZE && (double)sum < o->least) return bad_value(o, value, where, "a larger whole number", err);
    *whole = sum;
    return 0;
}

// Decimal only: strtod alone would take "nan", "inf" and hexadecimal.
static int parse_number(const OptionSpec *o, double *number, const char *value, const char *where, Err *err)
{
    char *end = NULL;
    if (strspn(value, "0123456789+-.eE") == strlen(value)) *number = strtod(value, &end);
    if (!end || end == value || *end || !isfinite(*number)) return bad_value(o, value, where, "a number", err);
    if (*number < o->least || (o->most < OPTION_NO_LIMIT && *number > o->most))
        return bad_value(o, value, where, "a number in range", err);
    return 0;
}

static int parse_choice(const OptionSpec *o, const char *value, const char *where, Err *err)
{
    size_t n = strlen(value);
    for (const char *c = o->unit; n && !strchr(value, '|') && (c = strstr(c, value)); c += n)
        if ((c == o->unit || c[-1] == '|') && (c[n] == '\0' || c[n] == '|')) return 0;
    return err_input(err, "%s: \"%s\" where one of %s was expected", where, value, o->unit);
}

static int parse_flag(bool *flag, const char *value, const char *where, Err *err)
{
    *flag = !strcmp(value, "true") || !strcmp(value, "1");
    return *flag || !strcmp(value, "false") || !strcmp(value, "0") ? 0
        : err_input(err, "%s: \"%s\" where true or false was expected", where, value);
}

static int store(Options *options, const OptionSpec *o, const char *value, const char *where, Err *err)
{
    void *field = (char *)options + o->offset;
    uint64_t whole;
    switch (o->type) {
    case OPTION_FLAG: return parse_flag(field, value, where, err);
    case OPTION_SEED: return parse_whole(o, field, value, where, err);
    case OPTION_NUMBER: return parse_number(o, field, value, where, err);
    case OPTION_SIZE:
        if (parse_whole(o, &whole, value, where, err)) return -1;
        *(size_t *)field = (size_t)whole;
        return 0;
    case OPTION_LIST: {
        TextList *list = field;
        if (list->count == LIST_MAX) return err_input(err, "%s: given more than %d times", where, LIST_MAX);
        list->items[list->count++] = value;
        return 0;
    }
    case OPTION_CHOICE:
        if (parse_choice(o, value, where, err)) return -1;
        break;
    case OPTION_TEXT: break;
    }
    *(const char **)field = value;
    return 0;
}

// ---- assignments -----------------------------------------------------------------------------------------------------------

// "lr" or "pretrain.lr" into option and stage. `where` names the key as the user wrote it.
static int find_key(const OptionSpec **option, const char **stage, const char *key, unsigned groups, const char *except,
    const char *where, const char *dashes, Err *err)
{
    const char *dot = strchr(key, '.'), *name = dot ? dot + 1 : key;
    char prefix[NAME_MOST + 1] = "";
    if (dot) {
        size_t n = (size_t)(dot - key) < NAME_MOST ? (size_t)(dot - key) : NAME_MOST;
        memcpy(prefix, key, n);
        prefix[n] = '\0';
    }
    *stage = dot ? find_stage(prefix) : NULL;
    *option = find_option(name, groups);
    if (dot && !*stage)
        return err_input(err, "%s: no stage is called \"%s\"; did you mean \"%s.%s\"?", where, prefix, nearest_stage(prefix), name);
    if (*option && !is_listed((*option)->name, except)) return 0;
    const char *problem = find_option(name, OPT_ALL) ? "this command does not take this option" : "unknown option";
    return err_input(err, "%s: %s; did you mean %s%s?", where, problem, dashes, nearest_option(name, groups, except));
}

static int assign(Settings *settings, SettingSource source, const OptionSpec *option, const char *stage, const char *value,
    const char *where, Err *err)
{
    Options scratch = {0};
    if (store(&scratch, option, value, where, err)) return -1;
    if (settings->count == settings->capacity) {
        size_t capacity = settings->capacity ? 2 * settings->capacity : 32;
        Assignment *grown = mem_resize(err, settings->assignments, settings->count, capacity, sizeof *grown);
        if (!grown) return -1;
        settings->assignments = grown;
        settings->capacity = capacity;
    }
    Assignment *a = &settings->assignments[settings->count];
    *a = (Assignment){.option = option, .source = source, .value = mem_copy_text(err, value)};
    if (stage) a->stage = mem_copy_text(err, stage);
    settings->count++; // even when half made: settings_free releases it
    return !a->value || (stage && !a->stage) ? -1 : 0;
}

// How strongly an assignment counts for a stage; -1: not at all.
static int weight(const Assignment *a, const OptionSpec *option, const char *stage)
{
    if (a->option != option || (a->stage && (!stage || strcmp(a->stage, stage)))) return -1;
    return 2 * (int)a->source + (a->stage != NULL);
}

static int greatest_weight(const Settings *settings, const OptionSpec *option, const char *stage)
{
    int greatest = -1;
    for (size_t i = 0; i < settings->count; i++) {
        int w = weight(&settings->assignments[i], option, stage);
        if (w > greatest) greatest = w;
    }
    return greatest;
}

// The value in force (of a list: value number `item`), NULL when there is none.
static const char *value_of(const Settings *settings, const OptionSpec *option, const char *stage, size_t item)
{
    const char *value = option->type == OPTION_LIST ? NULL : option->fallback;
    int greatest = greatest_weight(settings, option, stage);
    for (size_t i = 0, seen = 0; i < settings->count && greatest >= 0; i++) {
        if (weight(&settings->assignments[i], option, stage) != greatest) continue;
        value = settings->assignments[i].value;
        if (option->type == OPTION_LIST && seen++ == item) return value;
    }
    return option->type == OPTION_LIST ? NULL : value;
}

// ---- the three sources -----------------------------------------------------------------------------------------------------

static int parse_defaults(Settings *settings, const char *defaults, Err *err)
{
    char *copy = mem_copy_text(err, defaults ? defaults : "");
    int status = copy ? 0 : -1;
    for (char *key = copy; !status && *(key += strspn(key, " "));) {
        char *end = key + strcspn(key, " "), *value = strchr(key, '=');
        if (*end) *end++ = '\0';
        assert(value && value < end);
        *value++ = '\0';
        const OptionSpec *option;
        const char *stage;
        status = find_key(&option, &stage, key, OPT_ALL, NULL, "the command's defaults", "", err)
            || assign(settings, FROM_DEFAULTS, option, stage, value, "the command's defaults", err);
        key = end;
    }
    mem_free(copy);
    return status ? -1 : 0;
}

// Ends the value in place: at a comment or the line's end; in quotes at the closing one, with escapes undone.
static int unquote(char *value, const char *where, Err *err)
{
    if (*value != '"') {
        for (char *c = value; *c; c++)
            if (*c == '#' && (c == value || isspace((unsigned char)c[-1]))) {
                *c = '\0';
                break;
            }
        for (size_t n = strlen(value); n && isspace((unsigned char)value[n - 1]);) value[--n] = '\0';
        return 0;
    }
    char *out = value, *in = value + 1;
    for (; *in && *in != '"'; in++) {
        if (*in == '\\' && in[1]) in++, *out++ = *in == 'n' ? '\n' : *in == 't' ? '\t' : *in;
        else *out++ = *in;
    }
    if (!*in) return err_input(err, "%s: a closing '\"' is missing", where);
    in += 1 + strspn(in + 1, " \t\r");
    if (*in && *in != '#') return err_input(err, "%s: \"%s\" follows the closing '\"'", where, in);
    *out = '\0';
    return 0;
}

static int parse_profile_line(Settings *settings, char *line, const char *place, Err *err)
{
    line += strspn(line, " \t\r");
    if (!*line || *line == '#') return 0;
    char *value = strchr(line, '='), where[400];
    if (!value || value == line) return err_input(err, "%s: \"key = value\" was expected, found \"%.60s\"", place, line);
    char *end = value;
    while (end > line && isspace((unsigned char)end[-1])) end--;
    *end = '\0';
    value++;
    value += strspn(value, " \t");
    snprintf(where, sizeof where, "%s: %.80s", place, line);
    const OptionSpec *option;
    const char *stage;
    if (find_key(&option, &stage, line, OPT_ALL, NULL, where, "", err) || unquote(value, where, err)) return -1;
    if (!strcmp(option->name, "profile")) return err_input(err, "%s: a profile cannot name another", where);
    return assign(settings, FROM_PROFILE, option, stage, value, where, err);
}

static int parse_profile(Settings *settings, const char *name, Err *err)
{
    char *path = find_data_file("profiles", name, ".conf", err), where[300];
    Text text = {0};
    int status = path ? os_read_file(&text, path, err) : -1;
    if (!status && strlen(text.data) != text.length)
        status = err_input(err, "%s: not a text file (byte %zu is zero)", path, strlen(text.data));
    size_t number = 0;
    for (char *line = text.data, *next; !status && line; line = next) {
        if ((next = strchr(line, '\n'))) *next++ = '\0';
        snprintf(where, sizeof where, "%.250s:%zu", path, ++number);
        status = parse_profile_line(settings, line, where, err);
    }
    text_free(&text);
    mem_free(path);
    return status;
}

// One option at argv[i]; returns how many arguments it took, -1 on error.
static int parse_argument(Settings *settings, int argc, char **argv, int i, Err *err)
{
    char key[2 * NAME_MOST + 2], where[2 * NAME_MOST + 8];
    const char *argument = strcmp(argv[i], "-o") ? argv[i] : "--output", *equals = strchr(argument, '=');
    size_t n = equals ? (size_t)(equals - argument) : strlen(argument);
    const OptionSpec *option;
    const char *stage, *value = equals ? equals + 1 : NULL;
    if (argument[1] != '-') return err_input(err, "%s: unknown option; options have two dashes, except -o for --output", argument);
    snprintf(key, sizeof key, "%.*s", (int)(n - 2), argument + 2);
    snprintf(where, sizeof where, "--%s", key);
    if (find_key(&option, &stage, key, settings->groups, settings->except, where, "--", err)) return -1;
    if (!value && option->type == OPTION_FLAG) value = "true";
    else if (!value) {
        if (i + 1 >= argc) return err_input(err, "%s: a value is missing", where);
        value = argv[i + 1];
        if (value[0] == '-' && value[1] == '-' && value[2]) // most likely a forgotten value
            return err_input(err, "%s: a value is missing before %s (write %s=%s if that is the value)", where, value, where, value);
        if (assign(settings, FROM_COMMAND_LINE, option, stage, value, where, err)) return -1;
        return 2;
    }
    return assign(settings, FROM_COMMAND_LINE, option, stage, value, where, err) ? -1 : 1;
}

int settings_parse(Settings *settings, int argc, char **argv, unsigned groups, const char *defaults, Err *err)
{
    settings->groups = groups | OPT_COMMON;
    settings->argc = argc;
    settings->argv = argv;
    if (!(settings->words = mem_new(err, (size_t)argc, sizeof *settings->words))) return -1;
    if (parse_defaults(settings, defaults, err)) return -1;
    bool ended = false;
    for (int i = 0; i < argc;) {
        if (!ended && !strcmp(argv[i], "--")) ended = true, i++;
        else if (ended || argv[i][0] != '-' || !argv[i][1]) settings->words[settings->word_count++] = argv[i++];
        else {
            int taken = parse_argument(settings, argc, argv, i, err);
            if (taken < 0) return -1;
            i += taken;
        }
    }
    const char *profile = value_of(settings, find_option("profile", OPT_COMMON), NULL, 0);
    return profile ? parse_profile(settings, profile, err) : 0;
}

void settings_free(Settings *settings)
{
    for (size_t i = 0; i < settings->count; i++) {
        mem_free(settings->assignments[i].stage);
        mem_free(settings->assignments[i].value);
    }
    mem_free(settings->assignments);
    mem_free(settings->words);
    *settings = (Settings){0};
}

// ---- what they come to -----------------------------------------------------------------------------------------------------

int settings_resolve(Options *options, const Settings *settings, const char *stage, Err *err)
{
    *options = (Options){0};
    for (const OptionSpec *o = option_table; o->name; o++) {
        const char *value;
        char where[NAME_MOST + 3];
        snprintf(where, sizeof where, "--%s", o->name);
        for (size_t item = 0; (value = value_of(settings, o, stage, item)); item++) {
            if (store(options, o, value, where, err)) return -1;
            if (o->type != OPTION_LIST) break;
        }
    }
    return 0;
}

bool settings_given(const Settings *settings, const char *key)
{
    const char *dot = strchr(key, '.');
    for (size_t i = 0; i < settings->count; i++) {
        const Assignment *a = &settings->assignments[i];
        if (a->source == FROM_DEFAULTS || !same_key(dot ? dot + 1 : key, a->option->name)) continue;
        if (dot ? a->stage && !strncmp(key, a->stage, (size_t)(dot - key)) && strlen(a->stage) == (size_t)(dot - key) : !a->stage)
            return true;
    }
    return false;
}

static bool is_recorded(const OptionSpec *o, const Settings *settings)
{
    return (o->groups & settings->groups) && !(o->groups & OPT_ONCE) && !is_listed(o->name, settings->except);
}

unsigned setting_groups(const char *key)
{
    const OptionSpec *option = find_option(key, OPT_ALL);
    return option ? option->groups : 0;
}

bool setting_is_neutral(const char *key)
{
    const char *dot = strchr(key, '.');
    const OptionSpec *option = find_option(dot ? dot + 1 : key, OPT_ALL);
    return option && (option->groups & OPT_NEUTRAL);
}

static int visit_option(const Settings *settings, const OptionSpec *o, const char *stage, const char *prefix,
    SettingVisitor visit, void *self, Err *err)
{
    char key[2 * NAME_MOST + 2];
    bool is_text = o->type == OPTION_TEXT || o->type == OPTION_CHOICE || o->type == OPTION_LIST;
    snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "", o->name);
    const char *value = value_of(settings, o, stage, 0);
    if (o->type == OPTION_FLAG) value = value && (!strcmp(value, "true") || !strcmp(value, "1")) ? "true" : "false";
    if (o->type != OPTION_LIST) return value ? visit(self, key, value, is_text, false, err) : 0;
    for (size_t item = 0; (value = value_of(settings, o, stage, item)); item++)
        if (visit(self, key, value, is_text, true, err)) return -1;
    return 0;
}

int settings_visit(const Settings *settings, const char *stage, SettingVisitor visit, void *self, Err *err)
{
    if (stage) stage = find_stage(stage);
    for (const OptionSpec *o = option_table; o->name; o++)
        if (is_recorded(o, settings) && visit_option(settings, o, stage, "", visit, self, err)) return -1;
    for (size_t s = 0; !stage && stage_table[s]; s++)
        for (const OptionSpec *o = option_table; o->name; o++) {
            // odd: a value given for this stage is the one in force
            if (!is_recorded(o, settings) || greatest_weight(settings, o, stage_table[s]) % 2 != 1) continue;
            if (visit_option(settings, o, stage_table[s], stage_table[s], visit, self, err)) return -1;
        }
    return 0;
}

static int write_line(void *self, const char *key, const char *value, bool is_text, bool is_list, Err *err)
{
    Text *out = self;
    size_t n = strlen(value);
    (void)is_list;
    bool plain = n && !isspace((unsigned char)value[0]) && !isspace((unsigned char)value[n - 1]) && !strpbrk(value, "\"\\#\n\t\r");
    if (!is_text || plain) return text_printf(out, err, "%s = %s\n", key, value);
    int status = text_printf(out, err, "%s = \"", key);
    for (const char *c = value; !status && *c; c++)
        status = *c == '\n' ? text_puts(out, err, "\\n") : *c == '\t' ? text_puts(out, err, "\\t")
            : *c == '"' || *c == '\\' ? text_printf(out, err, "\\%c", *c) : text_add(out, err, c, 1);
    return status || text_puts(out, err, "\"\n") ? -1 : 0;
}

int settings_write(Text *out, const Settings *settings, const char *stage, Err *err)
{
    return settings_visit(settings, stage, write_line, out, err);
}

// ---- help and data files -----------------------------------------------------------------------------------------------------

// "--lr 1e-3  learning rate of AdamW (0 to 100)": the default where there is one, else what the value is.
static int help_line(Text *out, const OptionSpec *o, const char *value, Err *err)
{
    char range[80];
    bool show_unit = *o->unit && (value || o->type == OPTION_CHOICE); // not twice
    range_text(o, range);
    return text_printf(out, err, "  --%-13s %-9s %s%s%s%s%s%s%s\n", o->name, value ? value : o->unit, show_unit ? "(" : "",
        show_unit ? o->unit : "",
        show_unit ? ") " : "", o->help, *range ? " [" : "", range, *range ? "]" : "");
}

int options_help(Text *out, unsigned groups, const char *except, const char *defaults, Err *err)
{
    Settings settings = {0};
    int status = parse_defaults(&settings, defaults, err);
    for (const OptionSpec *o = option_table; !status && o->name; o++)
        if (find_option(o->name, groups | OPT_COMMON) == o && !is_listed(o->name, except)) status = help_line(out, o, value_of(&settings, o, NULL, 0), err);
    settings_free(&settings);
    return status;
}

// "demo, imdb-scratch": what `folder` and the installed one hold.
static int list_known(Text *out, const char *folder, const char *suffix, Err *err)
{
    OsNames names;
    size_t m = strlen(suffix);
    Err ignored = {0}; // a missing folder holds nothing
    if (os_list_folder(&names, folder, &ignored)) return 0;
    int status = 0;
    for (size_t i = 0; !status && i < names.count; i++) {
        size_t n = strlen(names.names[i]);
        if (n > m && !strcmp(names.names[i] + n - m, suffix))
            status = text_printf(out, err, "%s%.*s", out->length ? ", " : "", (int)(n - m), names.names[i]);
    }
    os_names_free(&names);
    return status;
}

// Where data files may be, in the order of asking: here, beside the program (and in the share folder beside its bin folder), where
// `make install` was told to put them. NULL where the system does not tell.
enum { PLACES = 4 };
static int list_places(char *places[PLACES], const char *folder, Err *err)
{
    char *program = os_program_folder(err), *share = program ? os_join(err, program, "../share/raft") : NULL;
    places[0] = mem_copy_text(err, folder);
    places[1] = program ? os_join(err, program, folder) : NULL;
    places[2] = share ? os_join(err, share, folder) : NULL;
    places[3] = os_join(err, raft_data_folder(), folder);
    bool ok = places[0] && places[3] && (!program || (places[1] && places[2]));
    mem_free(program);
    mem_free(share);
    return ok ? 0 : -1;
}

char *find_data_file(const char *folder, const char *name, const char *suffix, Err *err)
{
    if (strchr(name, '/') || strchr(name, '\\')) {
        if (os_is_file(name)) return mem_copy_text(err, name);
        err_input(err, "%s: no such file", name);
        return NULL;
    }
    char *places[PLACES] = {0};
    Text path = {0}, known = {0};
    bool found = false;
    int status = list_places(places, folder, err);
    for (size_t i = 0; !status && !found && i < PLACES; i++) {
        path.length = 0;
        if (places[i] && !(status = text_printf(&path, err, "%s/%s%s", places[i], name, suffix))) found = os_is_file(path.data);
    }
    for (size_t i = 0; !status && !found && i < PLACES; i++)
        if (places[i]) status = list_known(&known, places[i], suffix, err);
    if (!status && !found)
        err_input(err, "%s%s: not in %s/ here, beside the program or in %s (there %s%s)", name, suffix, folder, places[3],
            known.length ? "are: " : "is none", known.length ? known.data : "");
    for (size_t i = 0; i < PLACES; i++) mem_free(places[i]);
    text_free(&known);
    if (found) return path.data;
    text_free(&path);
    return NULL;
}
