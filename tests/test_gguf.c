// SPDX-License-Identifier: MIT
// GGUF files of another implementation are read to the bit; damaged ones are refused with the place, at no cost in memory.
#include "tests/support.h"

#include "files/gguf.h"
#include "files/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *golden(const char *name)
{
    char *found = golden_path(name);
    if (!found) skip_because("tests/golden/%s is missing (tests run from the top folder)", name);
    return found;
}

// ---- known answers ---------------------------------------------------------------------------------------------------------

static void reads_every_tensor_type_to_the_bit(void **state)
{
    (void)state;
    Err err = {0};
    Gguf g;
    Safetensors want;
    char *file = golden("gguf/types.gguf"), *answers = golden("gguf/types.safetensors");
    assert_ok(gguf_open(&g, file, &err), &err);
    assert_ok(safetensors_open(&want, answers, &err), &err);
    assert_int_equal(g.tensor_count, 10);
    assert_int_equal(want.count, 10);
    for (size_t i = 0; i < want.count; i++) {
        const StTensor *w = &want.tensors[i];
        const GgufTensor *t = gguf_need_tensor(&g, w->name, &err);
        if (!t) fail_msg("%s", err.text);
        assert_string_equal(gguf_type_name(t->type), w->name);
        assert_int_equal(t->dims, 2);
        assert_int_equal(t->shape[0], w->shape[1]);
        assert_int_equal(t->shape[1], w->shape[0]);
        float *got = malloc(w->count * sizeof *got), *expected = malloc(w->count * sizeof *got);
        assert_ok(gguf_read_f32(&g, t, got, w->count, &err), &err);
        assert_ok(safetensors_read_f32(&want, w, expected, w->count, &err), &err);
        assert_same_bits(got, expected, w->count, w->name);
        assert_input_error(gguf_read_f32(&g, t, got, w->count - 1, &err), &err, "expected");
        free(got);
        free(expected);
    }
    safetensors_close(&want);
    gguf_close(&g);
    free(file);
    free(answers);
}

static void reads_every_kind_of_metadata(void **state)
{
    (void)state;
    static const struct { const char *key; double value; } numbers[] = {
        {"test.uint8", 200}, {"test.int8", -100}, {"test.uint16", 60000}, {"test.int16", -30000}, {"test.uint32", 4e9},
        {"test.int32", -2e9}, {"test.uint64", 0x1p40}, {"test.int64", -0x1p40}, {"test.float32", 0.5}, {"test.float64", -0.25},
    };
    Err err = {0};
    Gguf g;
    char *file = golden("gguf/types.gguf");
    assert_ok(gguf_open(&g, file, &err), &err);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double value;
        assert_ok(gguf_get_number(&g, numbers[i].key, &value, &err), &err);
        if (value != numbers[i].value) fail_msg("%s: %g", numbers[i].key, value);
    }
    bool flag;
    TextView text, *texts;
    double *list;
    size_t count, size;
    assert_ok(gguf_get_bool_or(&g, "test.bool", false, &flag, &err), &err);
    assert_true(flag);
    assert_ok(gguf_get_text(&g, "test.string", &text, &err), &err);
    assert_int_equal(text.length, 6);
    assert_memory_equal(text.bytes, "h\xC3\xA9llo", 6);
    assert_ok(gguf_get_texts(&g, "test.strings", &texts, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_int_equal(texts[0].length, 0);
    assert_memory_equal(texts[2].bytes, "\xC4\xA0t\xC4\xA0", 5);
    mem_free(texts);
    assert_ok(gguf_get_numbers(&g, "test.integers", &list, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_true(list[0] == 1 && list[1] == -2 && list[2] == 3);
    mem_free(list);
    assert_ok(gguf_get_size_or(&g, "absent", 7, &size, &err), &err);
    assert_int_equal(size, 7);
    assert_input_error(gguf_get_size(&g, "absent", &size, &err), &err, "\"absent\" is missing");
    assert_input_error(gguf_get_size(&g, "test.int8", &size, &err), &err, "-100 is out of range");
    assert_input_error(gguf_get_size(&g, "test.float32", &size, &err), &err, "expected a whole number, found float32");
    assert_input_error(gguf_get_text(&g, "test.strings", &text, &err), &err, "expected a string, found an array of string");
    assert_input_error(gguf_get_texts(&g, "test.integers", &texts, &count, &err), &err, "found an array of int32");
    gguf_close(&g);
    free(file);
}

// ---- files built by hand ------------------------------------------------------------------------------------------------------

static Text built;

static void put(uint64_t value, size_t size)
{
    char bytes[8];
    for (size_t i = 0; i < 8; i++) bytes[i] = (char)(value >> (8 * i));
    assert_ok(text_add(&built, NULL, bytes, size), NULL);
}

static void put_text(const char *text)
{
    put(strlen(text), 8);
    assert_ok(text_add(&built, NULL, text, strlen(text)), NULL);
}

static void put_header(uint64_t tensors, uint64_t keys)
{
    text_free(&built);
    assert_ok(text_add(&built, NULL, "GGUF", 4), NULL);
    put(3, 4);
    put(tensors, 8);
    put(keys, 8);
}

static void put_tensor(const char *name, size_t cols, size_t rows, uint32_t type, uint64_t offset)
{
    put_text(name);
    put(2, 4);
    put(cols, 8);
    put(rows, 8);
    put(type, 4);
    put(offset, 8);
}

static void put_data(size_t n)
{
    while (built.length % 32) put(0, 1);
    for (size_t i = 0; i < n; i++) put(0, 1);
}

static int open_built(Err *err)
{
    Gguf g;
    write_file(test_file, built.data, built.length);
    int status = gguf_open(&g, test_file, err);
    if (!status) gguf_close(&g);
    return status;
}

static void assert_refused(const char *fragment)
{
    Err err = {0};
    int status = open_built(&err);
    assert_input_error(status, &err, fragment);
    text_free(&built);
}

static void refuses_what_is_no_gguf_file(void **state)
{
    (void)state;
    assert_ok(text_add(&built, NULL, "GGML", 4), NULL);
    assert_refused("not a GGUF file");
    put_header(0, 0);
    built.data[4] = 1;
    assert_refused("version 1 is not supported");
    put_header(0, 0);
    built.data[4] = 0, built.data[7] = 3;
    assert_refused("big-endian");
}

static void refuses_counts_that_the_file_cannot_hold(void **state)
{
    (void)state;
    put_header(UINT64_MAX, 0);
    assert_refused("18446744073709551615 tensors do not fit the file");
    put_header(0, UINT64_MAX / 2);
    assert_refused("keys of metadata do not fit");
    put_header(0, 1);
    put(UINT64_MAX, 8); // a key's length
    put(0, 8);
    assert_refused("needs 18446744073709551615 bytes");
    put_header(0, 1);
    put_text("k");
    put(9, 4); // an array
    put(8, 4); // of strings
    put(1ull << 61, 8);
    assert_refused("an array of 2305843009213693952 elements does not fit");
    put_header(0, 1);
    put_text("k");
    put(9, 4);
    put(9, 4); // of arrays
    put(0, 8);
    assert_refused("value type 9 inside an array is not supported");
}

static void refuses_tensors_that_lie_wrongly(void **state)
{
    (void)state;
    put_header(1, 0);
    put_tensor("w", 8, 4, GGUF_F32, 0);
    put_data(127);
    assert_refused("reach past the end");
    put_header(1, 0);
    put_tensor("w", 8, 4, GGUF_F32, UINT64_MAX - 31);
    put_data(128);
    assert_refused("reach past the end");
    put_header(1, 0);
    put_tensor("w", 8, 4, GGUF_F32, 8);
    put_data(160);
    assert_refused("no multiple of the alignment");
    put_header(1, 0);
    put_tensor("w", 1ull << 40, 1ull << 40, GGUF_F32, 0);
    put_data(128);
    assert_refused("overflow");
    put_header(2, 0);
    put_tensor("a", 8, 4, GGUF_F32, 0);
    put_tensor("b", 8, 4, GGUF_F32, 96);
    put_data(256);
    assert_refused("tensors \"a\" and \"b\" overlap");
    put_header(2, 0);
    put_tensor("same", 8, 1, GGUF_F32, 0);
    put_tensor("same", 8, 1, GGUF_F32, 32);
    put_data(64);
    assert_refused("\"same\": is there twice");
}

static void refuses_types_it_does_not_know_by_name(void **state)
{
    (void)state;
    put_header(1, 0);
    put_tensor("w", 256, 1, 20, 0);
    put_data(256);
    assert_refused("tensor \"w\" has type IQ4_NL (20), which is not supported");
    put_header(1, 0);
    put_tensor("w", 256, 1, 4000000000u, 0);
    put_data(256);
    assert_refused("type unknown");
    put_header(1, 0);
    put_tensor("w", 33, 1, GGUF_Q8_0, 0);
    put_data(256);
    assert_refused("no whole blocks of Q8_0");
}

static void refuses_a_key_that_is_there_twice(void **state)
{
    (void)state;
    put_header(0, 2);
    for (int i = 0; i < 2; i++) put_text("k"), put(4, 4), put(1, 4);
    assert_refused("key \"k\" is there twice");
    put_header(0, 1);
    put_text("general.alignment"), put(4, 4), put(48, 4);
    assert_refused("power of two");
}

static void refuses_a_file_cut_anywhere(void **state)
{
    (void)state;
    size_t n = 0;
    char *file = golden("gguf/types.gguf"), *bytes = read_file(file, NULL);
    Err err = {0};
    Gguf g;
    assert_ok(gguf_open(&g, file, &err), &err);
    for (size_t i = 0; i < g.tensor_count; i++) { // up to the end of the last tensor: what follows is padding
        size_t end = (size_t)(g.tensors[i].data - g.map.data) + g.tensors[i].bytes;
        if (end > n) n = end;
    }
    gguf_close(&g);
    for (size_t length = 0; length < n; length++) {
        if (length > 1000 && length % 7) continue;
        assert_ok(text_add(&built, NULL, bytes, length), NULL);
        if (!open_built(&err)) fail_msg("a file cut to %zu of %zu bytes was read", length, n);
        assert_int_equal(err.status, 2);
        text_free(&built);
    }
    free(bytes);
    free(file);
}

// Eight bytes of ones anywhere in the head of the file: an error or a different answer, never a crash (see make sanitize).
static void survives_any_inflated_field(void **state)
{
    (void)state;
    size_t n;
    char *file = golden("gguf/types.gguf"), *bytes = read_file(file, &n);
    size_t refused = 0;
    for (size_t at = 0; at + 8 <= n && at < 1200; at++) {
        Err err = {0};
        assert_ok(text_add(&built, NULL, bytes, n), NULL);
        memset(built.data + at, 0xFF, 8);
        if (open_built(&err)) refused++, assert_int_equal(err.status, 2);
        text_free(&built);
    }
    assert_true(refused > 600);
    free(bytes);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_tensor_type_to_the_bit),
        cmocka_unit_test(reads_every_kind_of_metadata),
        cmocka_unit_test_setup_teardown(refuses_what_is_no_gguf_file, make_test_folder, drop_test_folder),
        cmocka_unit_test_setup_teardown(refuses_counts_that_the_file_cannot_hold, make_test_folder, drop_test_folder),
        cmocka_unit_test_setup_teardown(refuses_tensors_that_lie_wrongly, make_test_folder, drop_test_folder),
        cmocka_unit_test_setup_teardown(refuses_types_it_does_not_know_by_name, make_test_folder, drop_test_folder),
        cmocka_unit_test_setup_teardown(refuses_a_key_that_is_there_twice, make_test_folder, drop_test_folder),
        cmocka_unit_test_setup_teardown(refuses_a_file_cut_anywhere, make_test_folder, drop_test_folder),
        cmocka_unit_test_setup_teardown(survives_any_inflated_field, make_test_folder, drop_test_folder),
    };
    test_file_name = "t.gguf";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
