// SPDX-License-Identifier: MIT
// Errors carry their status and text, memory is aligned, zeroed and overflow-checked, texts and token lists grow.
#define _POSIX_C_SOURCE 200809L // fork
#include "tests/support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// ---- errors ----------------------------------------------------------------------------------------------------------

static void errors_carry_status_and_text(void **state)
{
    (void)state;
    Err err = {0};
    assert_input_error(err_input(&err, "%s:%d: bad", "a.jsonl", 3), &err, "a.jsonl:3: bad");
    assert_failed_error(err_failed(&err, "disk full"), &err, "disk full");
    assert_int_equal(err_prefix(&err, "run %d", 7), -1);
    assert_failed_error(-1, &err, "run 7: disk full");
    assert_int_equal(err_input(NULL, "nobody listens"), -1);
    assert_int_equal(err_failed(NULL, "nobody listens"), -1);
    assert_int_equal(err_prefix(NULL, "nobody listens"), -1);
}

static void long_errors_are_cut_and_stay_terminated(void **state)
{
    (void)state;
    Err err = {0};
    char long_text[2000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    err_input(&err, "%s", long_text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    err_prefix(&err, "context");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "context: xxx", 12);
    err_prefix(&err, "%s", long_text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_int_equal(err.status, 2);
}

// ---- memory ----------------------------------------------------------------------------------------------------------

static void memory_is_aligned_and_zeroed(void **state)
{
    (void)state;
    Err err = {0};
    for (size_t n = 0; n < 300; n++) {
        unsigned char *bytes = mem_new(&err, n, 3);
        assert_non_null(bytes);
        assert_int_equal((uintptr_t)bytes % 64, 0);
        for (size_t i = 0; i < 3 * n; i++) assert_int_equal(bytes[i], 0);
        memset(bytes, 0xAA, 3 * n);
        mem_free(bytes);
    }
    mem_free(NULL);
}

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {
        {SIZE_MAX, 2}, {2, SIZE_MAX}, {SIZE_MAX / 2 + 1, 2}, {SIZE_MAX, 1}, {1, SIZE_MAX - 63}, {SIZE_MAX / 4 + 1, 4}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        Err err = {0};
        assert_null(mem_new(&err, sizes[i][0], sizes[i][1]));
        assert_failed_error(-1, &err, "out of memory");
    }
    Err err = {0};
    char *kept = mem_new(&err, 1, 4);
    memcpy(kept, "abc", 4);
    assert_null(mem_resize(&err, kept, 4, SIZE_MAX, 2));
    assert_string_equal(kept, "abc");
    mem_free(kept);
    assert_null(mem_copy_bytes(&err, "x", SIZE_MAX));
    assert_failed_error(-1, &err, "out of memory");
}

static void resizing_keeps_the_contents_and_zeroes_the_rest(void **state)
{
    (void)state;
    Err err = {0};
    int *list = mem_new(&err, 3, sizeof *list);
    for (int i = 0; i < 3; i++) list[i] = i + 1;
    list = mem_resize(&err, list, 3, 100, sizeof *list);
    assert_non_null(list);
    for (int i = 0; i < 100; i++) assert_int_equal(list[i], i < 3 ? i + 1 : 0);
    list = mem_resize(&err, list, 100, 2, sizeof *list);
    assert_int_equal(list[1], 2);
    mem_free(list);
    list = mem_resize(&err, NULL, 0, 2, sizeof *list);
    assert_int_equal(list[1], 0);
    mem_free(list);
}

static void copies_are_terminated(void **state)
{
    (void)state;
    Err err = {0};
    char *text = mem_copy_text(&err, "text"), *bytes = mem_copy_bytes(&err, "a\0b", 3), *none = mem_copy_bytes(&err, NULL, 0);
    assert_string_equal(text, "text");
    assert_memory_equal(bytes, "a\0b", 4);
    assert_string_equal(none, "");
    mem_free(text), mem_free(bytes), mem_free(none);
}

static void a_guard_can_be_nested_and_ends(void **state)
{
    (void)state;
    Err err = {0};
    mem_guard_enter();
    mem_guard_enter();
    mem_guard_leave();
    mem_guard_leave();
    void *block = mem_new(&err, 1, 1); // would abort inside a guard
    assert_non_null(block);
    mem_free(block);
}

// In a child, since that is the end of a program.
static void allocating_inside_a_guard_aborts(void **state)
{
    (void)state;
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        signal(SIGABRT, SIG_DFL); // cmocka's own handler would go on with the tests
        if (!freopen("/dev/null", "w", stderr)) _exit(1);
        mem_guard_enter();
        mem_free(mem_new(NULL, 1, 1));
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void size_arithmetic_tells_of_overflow(void **state)
{
    (void)state;
    size_t out = 7;
    assert_true(size_multiply(SIZE_MAX / 2, 2, &out) && out == SIZE_MAX - 1);
    assert_true(size_multiply(SIZE_MAX, 0, &out) && out == 0);
    assert_true(size_multiply(0, SIZE_MAX, &out) && out == 0);
    assert_false(size_multiply(SIZE_MAX / 2 + 1, 2, &out));
    assert_true(size_add(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    assert_false(size_add(SIZE_MAX, 1, &out));
}

// ---- texts and token lists -------------------------------------------------------------------------------------------

static void texts_grow_and_stay_terminated(void **state)
{
    (void)state;
    Err err = {0};
    Text text = {0}, want = {0};
    for (int i = 0; i < 2000; i++) {
        assert_ok(text_printf(&text, &err, "%d,", i), &err);
        assert_int_equal(text.data[text.length], '\0');
    }
    for (int i = 0; i < 2000; i++) {
        char part[20];
        snprintf(part, sizeof part, "%d,", i);
        assert_ok(i % 2 ? text_puts(&want, &err, part) : text_add(&want, &err, part, strlen(part)), &err);
    }
    assert_int_equal(text.length, want.length);
    assert_memory_equal(text.data, want.data, want.length + 1);
    text_free(&text);
    text_free(&text);
    assert_ok(text_add(&text, &err, "", 0), &err);
    assert_string_equal(text.data, "");
    assert_ok(text_add(&text, &err, "a\0b", 3), &err);
    assert_int_equal(text.length, 3);
    text_free(&text);
    text_free(&want);
}

static void the_first_failure_of_a_text_sticks(void **state)
{
    (void)state;
    Err err = {0}, later = {0};
    Text text = {0};
    assert_ok(text_puts(&text, &err, "abc"), &err);
    assert_failed_error(text_add(&text, &err, "x", SIZE_MAX), &err, "out of memory");
    assert_failed_error(text_puts(&text, &later, "d"), &later, "out of memory");
    assert_string_equal(text.data, "abc");
    text_free(&text);
    assert_false(text.failed);
}

static void token_lists_grow(void **state)
{
    (void)state;
    Err err = {0};
    TokenList list = {0};
    uint32_t more[100];
    for (uint32_t i = 0; i < 100; i++) more[i] = i;
    for (uint32_t i = 0; i < 50; i++) assert_ok(tokens_add(&list, &err, i), &err);
    assert_ok(tokens_append(&list, &err, more + 50, 50), &err);
    assert_ok(tokens_append(&list, &err, NULL, 0), &err);
    assert_int_equal(list.length, 100);
    assert_memory_equal(list.ids, more, sizeof more);
    tokens_free(&list);
    tokens_free(&list);
    assert_int_equal(list.length, 0);
}

static void the_hash_is_fnv_1a(void **state)
{
    (void)state;
    assert_true(hash_bytes(0, "", 0) == 0xcbf29ce484222325u); // the published test vectors
    assert_true(hash_bytes(0, "a", 1) == 0xaf63dc4c8601ec8cu);
    assert_true(hash_bytes(0, "foobar", 6) == 0x85944171f73967e8u);
    assert_true(hash_bytes(hash_bytes(0, "foo", 3), "bar", 3) == 0x85944171f73967e8u);
}

// ---- the tests' own random numbers --------------------------------------------------------------------------------------

static void test_integers_stay_in_range_and_vary(void **state)
{
    (void)state;
    TestRandom random = {1};
    unsigned seen = 0;
    for (int i = 0; i < 1000; i++) {
        uint32_t x = test_integer(&random, 7);
        assert_true(x < 7);
        seen |= 1u << x;
    }
    assert_int_equal(seen, 127);
    for (int i = 0; i < 1000; i++) {
        float x = test_uniform(&random, -1, 1);
        assert_true(x >= -1 && x <= 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_carry_status_and_text),
        cmocka_unit_test(long_errors_are_cut_and_stay_terminated),
        cmocka_unit_test(memory_is_aligned_and_zeroed),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(resizing_keeps_the_contents_and_zeroes_the_rest),
        cmocka_unit_test(copies_are_terminated),
        cmocka_unit_test(a_guard_can_be_nested_and_ends),
        cmocka_unit_test(allocating_inside_a_guard_aborts),
        cmocka_unit_test(size_arithmetic_tells_of_overflow),
        cmocka_unit_test(texts_grow_and_stay_terminated),
        cmocka_unit_test(the_first_failure_of_a_text_sticks),
        cmocka_unit_test(token_lists_grow),
        cmocka_unit_test(the_hash_is_fnv_1a),
        cmocka_unit_test(test_integers_stay_in_range_and_vary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
