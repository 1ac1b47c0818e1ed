// SPDX-License-Identifier: MIT
/* test_vectors.c - every case of tests/vectors on every instruction set this CPU runs: the recorded bits come out. What an operation is
 * stands in vectors_*.c; what the files hold, in tests/vectors/README.md.
 */
#include "tests/support.h"
#include "tests/vectors.h"

#include "files/jsonl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Compute sets[4];
static size_t set_count;

static int find_sets(void **state)
{
    (void)state;
    const char *only = getenv("RAFT_ISA");
    const Kernels *all[4];
    Err err = {0};
    for (size_t i = 0, n = kernels_available(all); i < n; i++) {
        if (only && *only && strcmp(only, all[i]->isa)) continue;
        if (compute_init(&sets[set_count++], all[i]->isa, "own", 0, &err)) return -1;
    }
    return set_count ? 0 : -1;
}

static int free_sets(void **state)
{
    (void)state;
    while (set_count) compute_free(&sets[--set_count]);
    return 0;
}

typedef void Visit(void *self, const json_t *line, const char *where);

static void each_case(Visit *visit, void *self)
{
    for (size_t i = 0; vector_files[i]; i++) {
        JsonLines in;
        json_t *line;
        Err err = {0};
        char path[80];
        int got;
        snprintf(path, sizeof path, "tests/vectors/%s.jsonl", vector_files[i]);
        assert_ok(jsonl_open(&in, path, &err), &err);
        while ((got = jsonl_next(&in, &line, &err)) == 1) {
            visit(self, line, in.where);
            json_decref(line);
        }
        assert_ok(got, &err);
        jsonl_close(&in);
    }
}

static const char *operation_of(const json_t *line) { return json_string_value(json_object_get(line, "operation")); }

// Where two values part: "gradient.model.norm.weight: f32:3f..., recorded f32:3e...".
static bool find_difference(Text *out, const char *place, json_t *got, json_t *want)
{
    char inner[200];
    if (json_equal(got, want)) return false;
    if (json_is_object(got) && json_is_object(want))
        for (void *at = json_object_iter(want); at; at = json_object_iter_next(want, at)) {
            snprintf(inner, sizeof inner, "%s.%s", place, json_object_iter_key(at));
            if (find_difference(out, inner, json_object_get(got, json_object_iter_key(at)), json_object_iter_value(at))) return true;
        }
    if (json_is_array(got) && json_is_array(want))
        for (size_t i = 0; i < json_array_size(want); i++) {
            snprintf(inner, sizeof inner, "%s[%zu]", place, i);
            if (find_difference(out, inner, json_array_get(got, i), json_array_get(want, i))) return true;
        }
    char *a = got ? json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT) : NULL, *b = want ? json_dumps(want, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    size_t same = 0;
    while (a && b && a[same] && a[same] == b[same]) same++;
    text_printf(out, NULL, "%s, character %zu: %.60s, recorded %.60s", place, same, a ? a + (same > 8 ? same - 8 : 0) : "nothing", b ? b + (same > 8 ? same - 8 : 0) : "nothing");
    free(a);
    free(b);
    return true;
}

static void check_case(void *self, const json_t *line, const char *where)
{
    size_t *checked = self;
    for (size_t i = 0; i < set_count; i++) {
        VectorCase c = {.cx = &sets[i], .in = json_object_get(line, "in")};
        Text difference = {0};
        vector_run(&c, operation_of(line));
        if (find_difference(&difference, "out", c.out, json_object_get(line, "out")))
            fail_msg("%s: %s (SPEC %s) on %s: %s", where, operation_of(line), json_string_value(json_object_get(line, "spec")), sets[i].k->isa, difference.data);
        vector_free(&c);
        ++*checked;
    }
}

static void every_vector_is_met_by_every_instruction_set(void **state)
{
    (void)state;
    size_t checked = 0;
    each_case(check_case, &checked);
    assert_true(checked >= 100 * set_count);
}

typedef struct { const char *name; size_t count; } Tally;
static void count_case(void *self, const json_t *line, const char *where)
{
    Tally *tally = self;
    (void)where;
    tally->count += !strcmp(operation_of(line), tally->name);
}

static void every_operation_has_a_vector(void **state)
{
    (void)state;
    const VectorOperation *const tables[] = {vector_kernels, vector_decisions, vector_models};
    for (size_t t = 0; t < 3; t++)
        for (const VectorOperation *o = tables[t]; o->name; o++) {
            Tally tally = {.name = o->name};
            each_case(count_case, &tally);
            if (!tally.count) fail_msg("no vector holds the operation %s", o->name);
        }
}

// Random123's own, in words: a generator and a file that err alike would pass above.
static void philox_vectors_are_the_published_ones(void **state)
{
    (void)state;
    size_t length;
    char *file = read_file("tests/vectors/philox.jsonl", &length);
    assert_non_null(strstr(file, "\"counter\":[0,0,0,0],\"key\":[0,0]},\"out\":{\"words\":[1713891541,3781805453,3159862348,2600524760]}"));
    assert_non_null(strstr(file, "\"words\":[1083123565,1103641358,2718681030,1834242557]")); // all bits set
    assert_non_null(strstr(file, "\"words\":[3513581065,2499661035,1342301216,605187745]")); // digits of pi
    free(file);
}

static void one_changed_bit_is_noticed(void **state)
{
    (void)state;
    json_t *a = json_pack("{s:s,s:[i,i]}", "x", "f32:3f8000003f800000", "ids", 1, 2), *b = json_pack("{s:s,s:[i,i]}", "x", "f32:3f8000003f800001", "ids", 1, 2);
    json_t *c = json_pack("{s:s,s:[i,i]}", "x", "f32:3f8000003f800000", "ids", 1, 3), *d = json_pack("{s:s}", "x", "f32:3f8000003f800000");
    Text text = {0};
    assert_false(find_difference(&text, "out", a, a));
    assert_true(find_difference(&text, "out", a, b) && strstr(text.data, "out.x"));
    assert_true(find_difference(&text, "out", a, c) && strstr(text.data, "out.ids[1]"));
    assert_true(find_difference(&text, "out", a, d) && find_difference(&text, "out", d, a));
    text_free(&text);
    json_decref(a), json_decref(b), json_decref(c), json_decref(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_is_met_by_every_instruction_set),
        cmocka_unit_test(every_operation_has_a_vector),
        cmocka_unit_test(philox_vectors_are_the_published_ones),
        cmocka_unit_test(one_changed_bit_is_noticed),
    };
    return cmocka_run_group_tests(tests, find_sets, free_sets);
}
