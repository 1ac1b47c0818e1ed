// SPDX-License-Identifier: MIT
/* namemap.c - reads a name map and applies it. Knows no name. Start at namemap_apply. */
#include "study/namemap.h"

#include "base/os.h"

#include <string.h>

enum { STARS_MOST = 8 };
typedef struct { const char *bytes; size_t length; } Part; // what a star stands for

// ---- patterns ------------------------------------------------------------------------------------------------------------

// Does the name fit the pattern from here on? Each star takes as little as it can.
static bool fits(const char *pattern, const char *name, Part *stars)
{
    for (; *pattern != '*'; pattern++, name++) {
        if (*pattern != *name) return false;
        if (!*pattern) return true;
    }
    bool any = pattern[1] == '*';
    const char *rest = pattern + 1 + any;
    for (size_t n = 1; name[n - 1] && (any || name[n - 1] != '.'); n++) {
        *stars = (Part){name, n};
        if (fits(rest, name + n, stars + 1)) return true;
    }
    return false;
}

static size_t count_stars(const char *pattern)
{
    size_t count = 0;
    for (const char *c = pattern; *c; c++)
        if (*c == '*') count++, c += c[1] == '*';
    return count;
}

static char *replace_stars(const char *pattern, const Part *stars, Err *err)
{
    Text text = {0};
    for (const char *c = pattern; *c; c++) {
        if (*c != '*') text_add(&text, err, c, 1);
        else text_add(&text, err, stars->bytes, stars->length), stars++, c += c[1] == '*';
    }
    char *name = text.failed ? NULL : mem_copy_bytes(err, text.data ? text.data : "", text.length);
    text_free(&text);
    return name;
}

char *namemap_apply(NameMap *map, const char *name, bool *mapped, Err *err)
{
    Part stars[STARS_MOST];
    *mapped = true;
    for (size_t i = 0; i < map->count; i++) {
        if (!fits(map->rules[i].left, name, stars)) continue;
        map->rules[i].used++;
        return replace_stars(map->rules[i].right, stars, err);
    }
    *mapped = false;
    return NULL;
}

int namemap_check_used(const NameMap *map, Err *err)
{
    for (size_t i = 0; i < map->count; i++)
        if (!map->rules[i].used)
            return err_input(err, "%s:%zu: no tensor is called \"%.200s\" (or a line above takes it)", map->path, map->rules[i].line,
                map->rules[i].left);
    return 0;
}

// ---- the file ------------------------------------------------------------------------------------------------------------

static int add_rule(NameMap *map, const char *line, size_t n, size_t number, Err *err)
{
    static const char blanks[] = " \t\r";
    const char *words[3] = {0};
    size_t lengths[3] = {0}, count = 0;
    for (size_t i = 0; i < n && line[i] != '#';) {
        size_t start = i;
        while (i < n && line[i] != '#' && !strchr(blanks, line[i])) i++;
        if (i > start && count < 3) words[count] = line + start, lengths[count] = i - start;
        count += i > start;
        if (i < n && line[i] != '#') i++;
    }
    if (!count) return 0;
    if (count != 2) return err_input(err, "%s:%zu: expected two names, found %zu", map->path, number, count);
    NameRule *grown = mem_resize(err, map->rules, map->count, map->count + 1, sizeof *grown);
    if (!grown) return -1;
    map->rules = grown;
    NameRule *rule = grown + map->count++;
    rule->line = number;
    if (!(rule->left = mem_copy_bytes(err, words[0], lengths[0])) || !(rule->right = mem_copy_bytes(err, words[1], lengths[1]))) return -1;
    size_t stars = count_stars(rule->left);
    if (stars > STARS_MOST) return err_input(err, "%s:%zu: more than %d stars in a name", map->path, number, STARS_MOST);
    if (stars != count_stars(rule->right))
        return err_input(err, "%s:%zu: %zu stars on the left, %zu on the right", map->path, number, stars, count_stars(rule->right));
    return 0;
}

int namemap_read(NameMap *map, const char *path, Err *err)
{
    Text text = {0};
    *map = (NameMap){.path = mem_copy_text(err, path)};
    int status = map->path ? os_read_file(&text, path, err) : -1;
    size_t at = 0;
    for (size_t number = 1; !status && at < text.length; number++) {
        const char *newline = memchr(text.data + at, '\n', text.length - at);
        size_t n = newline ? (size_t)(newline - text.data) - at : text.length - at;
        status = memchr(text.data + at, '\0', n) ? err_input(err, "%s:%zu: a zero byte in a name map", path, number)
                                                 : add_rule(map, text.data + at, n, number, err);
        at += n + 1;
    }
    if (!status && !map->count) status = err_input(err, "%s: no line with two names", path);
    text_free(&text);
    if (status) namemap_free(map);
    return status;
}

void namemap_free(NameMap *map)
{
    for (size_t i = 0; i < map->count; i++) {
        mem_free(map->rules[i].left);
        mem_free(map->rules[i].right);
    }
    mem_free(map->rules);
    mem_free(map->path);
    *map = (NameMap){0};
}
