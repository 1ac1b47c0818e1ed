// SPDX-License-Identifier: MIT
// Exhausted memory is an error like any other: each scenario runs with the first, the second, ... allocation failing until
// one run needs no more. Linked with -Wl,--wrap=calloc, which every allocation of the library goes through; jansson brings
// its own malloc, which is made to fail likewise. That nothing leaks on the way is for the sanitizer builds to see.
#include "tests/support_page.h"

#include "base/os.h"
#include "files/jsonl.h"
#include "files/safetensors.h"
#include "study/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t until_failure; // allocations until one fails; 0: none does

static bool fails_now(void) { return until_failure && --until_failure == 0; }

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size) { return fails_now() ? NULL : __real_calloc(n, size); }

static void *json_malloc(size_t n) { return fails_now() ? NULL : malloc(n); }

typedef int Scenario(Err *err); // 0, or -1 with an Err; leaves nothing allocated either way

// jansson reports some of its own failures as bad syntax, so that its scenarios may end with either status.
static void run_with_every_failure(Scenario *scenario, size_t at_least, bool either_status)
{
    for (size_t n = 1;; n++) {
        Err err = {0};
        until_failure = n;
        int status = scenario(&err);
        bool failed = until_failure == 0;
        until_failure = 0;
        if (!failed) {
            assert_ok(status, &err);
            if (n <= at_least) fail_msg("only %zu allocations; are they counted?", n - 1);
            return;
        }
        if (status == 0) fail_msg("allocation %zu failed and nobody noticed", n);
        assert_int_equal(status, -1);
        if (either_status && err.status == 2) {
            size_t length = strlen(err.text);
            assert_true(length > 2 && err.text[length - 2] != ':'); // "not valid JSON: " and nothing more
            continue;
        }
        assert_failed_error(status, &err, "out of memory");
    }
}

static int build_texts(Err *err)
{
    Text text = {0};
    TokenList list = {0};
    char *copy = NULL;
    int status = text_puts(&text, err, "a");
    for (int i = 0; i < 1000 && !status; i++) status = text_printf(&text, err, "%d", i) || tokens_add(&list, err, (uint32_t)i);
    if (!status && !(copy = mem_copy_text(err, text.data))) status = -1;
    mem_free(copy);
    text_free(&text);
    tokens_free(&list);
    return status ? -1 : 0;
}

static int use_files(Err *err)
{
    Text text = {0};
    OsNames names = {0};
    char *name = os_join(err, test_folder, "other");
    int status = !name || os_write_file(name, "12345", 5, err) || os_read_file(&text, name, err)
        || os_list_folder(&names, test_folder, err) || os_make_folders(test_folder, err);
    char *cpu = status ? NULL : os_cpu_name(err);
    status = status || !cpu;
    mem_free(cpu);
    mem_free(name);
    os_names_free(&names);
    text_free(&text);
    return status ? -1 : 0;
}

static int read_a_device(Err *err) // cannot be mapped: the bytes are copied
{
    OsMap map;
    if (os_map_file(&map, "/dev/null", err)) return -1;
    os_unmap(&map);
    return 0;
}

static int talk_to_a_child(Err *err)
{
    Text output = {0}, line = {0};
    OsChild *child = os_child_start("exec cat", err);
    int status = !child || os_child_exchange(child, "a\nb\n", 4, 2, &output, 20, err) || os_child_write(child, "c\n", 2, 20, err)
        || os_child_read_line(child, &line, 20, err) != 1;
    if (os_child_stop(child, 20, status ? NULL : err)) status = -1;
    text_free(&output);
    text_free(&line);
    return status ? -1 : 0;
}

// The second line needs repair. Names and numbers are short: while it reads a longer token, jansson 2.14 overlooks that its
// buffer could not grow, which no caller can repair.
static int read_lines(Err *err)
{
    JsonLines in;
    json_t *line;
    int status, count = 0;
    if (jsonl_open(&in, test_file, err)) return -1;
    while ((status = jsonl_next(&in, &line, err)) == 1) {
        TokenList ids = {0};
        const char *text;
        int bad = json_get_text(line, "text", &text, in.where, err) || json_get_tokens(line, "ids", &ids, in.where, err);
        tokens_free(&ids);
        json_decref(line);
        count++;
        if (!bad) continue;
        status = -1;
        break;
    }
    jsonl_close(&in);
    assert_true(status == -1 || count == 2);
    return status;
}

static int write_json(Err *err)
{
    const uint32_t ids[] = {1, 2, 3};
    Text out = {0};
    json_t *list = json_ids(ids, 3), *o = json_object();
    int status = !list || !o || json_object_set_new(o, "f", json_float(0.5)) || json_object_set(o, "ids", list)
        ? err_failed(err, "out of memory")
        : 0;
    status = status || json_write(&out, o, err) || json_write_pretty(&out, o, err);
    json_decref(list);
    json_decref(o);
    text_free(&out);
    return status ? -1 : 0;
}

static int write_tensors(Err *err)
{
    const float x[3] = {1, 2, 3};
    const int64_t y[1] = {4};
    StOutput out[] = {{"a", ST_F32, 1, {3}, x}, {"b", ST_I64, 1, {1}, y}};
    return safetensors_write(test_file, out, 2, err);
}

static int read_tensors(Err *err)
{
    Safetensors st;
    float x[3];
    if (safetensors_open(&st, test_file, err)) {
        assert_null(st.tensors);
        return -1;
    }
    const StTensor *t = safetensors_need(&st, "a", err);
    int status = t ? safetensors_read_f32(&st, t, x, 3, err) : -1;
    safetensors_close(&st);
    return status;
}

static int make_page(Err *err) { return report_write(test_folder, err); }

static const char lines[] = "{\"text\":\"one\",\"ids\":[1,2]}\n{\"text\":\"\xFF\",\"ids\":[3]}\n";

static void texts_and_lists(void **state)
{
    (void)state;
    run_with_every_failure(build_texts, 10, false);
}

static void files_and_folders(void **state)
{
    (void)state;
    run_with_every_failure(use_files, 6, false);
    run_with_every_failure(read_a_device, 1, false);
}

static void child_programs(void **state)
{
    (void)state;
    run_with_every_failure(talk_to_a_child, 4, false);
}

static void json_lines(void **state)
{
    (void)state;
    write_file(test_file, lines, sizeof lines - 1);
    run_with_every_failure(read_lines, 2, false);
    run_with_every_failure(write_json, 1, false);
}

static void tensors(void **state)
{
    (void)state;
    Err err = {0};
    assert_ok(write_tensors(&err), &err);
    run_with_every_failure(read_tensors, 3, false);
    run_with_every_failure(write_tensors, 4, false);
    char *temporary = path_in(test_folder, "file.tmp");
    assert_false(os_is_file(temporary));
    free(temporary);
}

static void a_page_about_a_comparison(void **state)
{
    (void)state;
    RunFixture f = {.folder = test_folder};
    write_run(&f, "The film", "was fine");
    write_comparison(&f, 3);
    run_with_every_failure(make_page, 500, false);
}

static void a_failed_write_leaves_the_old_file(void **state)
{
    (void)state;
    write_file(test_file, "before", 6);
    for (size_t n = 1;; n++) {
        Err err = {0};
        until_failure = n;
        int status = write_tensors(&err);
        bool failed = until_failure == 0;
        until_failure = 0;
        if (!failed) break;
        assert_int_equal(status, -1);
        size_t size;
        char *bytes = read_file(test_file, &size);
        assert_string_equal(bytes, "before");
        free(bytes);
    }
}

static void jansson_failing_inside(void **state)
{
    (void)state;
    json_malloc_t before_malloc;
    json_free_t before_free;
    json_get_alloc_funcs(&before_malloc, &before_free);
    json_set_alloc_funcs(json_malloc, free);
    write_file(test_file, lines, sizeof lines - 1);
    run_with_every_failure(read_lines, 20, true);
    run_with_every_failure(write_json, 10, false);
    Err err = {0};
    assert_ok(write_tensors(&err), &err);
    run_with_every_failure(read_tensors, 20, true);
    json_set_alloc_funcs(before_malloc, before_free);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_test_folder, drop_test_folder)
    const struct CMUnitTest tests[] = {
        TEST(texts_and_lists),
        TEST(files_and_folders),
        TEST(child_programs),
        TEST(json_lines),
        TEST(tensors),
        TEST(a_page_about_a_comparison),
        TEST(a_failed_write_leaves_the_old_file),
        TEST(jansson_failing_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
