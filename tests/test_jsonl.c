// SPDX-License-Identifier: MIT
// JSON as people and programs really send it: errors name file, line and key; what is written reads back and never varies.
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include "tests/support.h"

#include "files/jsonl.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (!value) fail_msg("%s: %s", text, error.text);
    return value;
}

// ---- lines -----------------------------------------------------------------------------------------------------------

static void reads_line_after_line(void **state)
{
    (void)state;
    const char *text = "\xEF\xBB\xBF{\"text\":\"one\"}\n\n  \t\r\n{\"text\":\"two\"}\r\n{\"text\":\"three\"}";
    const char *want[] = {"one", "two", "three"}, *lines[] = {"in.jsonl:1", "in.jsonl:4", "in.jsonl:5"};
    write_file(test_file, text, strlen(text));
    Err err = {0};
    JsonLines in;
    json_t *line;
    const char *value;
    assert_ok(jsonl_open(&in, test_file, &err), &err);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(jsonl_next(&in, &line, &err), 1);
        assert_ok(json_get_text(line, "text", &value, in.where, &err), &err);
        assert_string_equal(value, want[i]);
        assert_non_null(strstr(in.where, lines[i]));
        json_decref(line);
    }
    assert_int_equal(jsonl_next(&in, &line, &err), 0);
    assert_int_equal(jsonl_next(&in, &line, &err), 0);
    assert_int_equal(in.repaired, 0);
    jsonl_close(&in);
    jsonl_close(&in);
}

static void a_bad_line_is_named(void **state)
{
    (void)state;
    static const struct { const char *line, *message; size_t n; } cases[] = {
        {"{\"a\":1", "in.jsonl:2: column 6: not valid JSON", 0},
        {"{\"a\":1}{}", "not valid JSON: end of file expected", 0},
        {"{\"a\":1,\"a\":2}", "duplicate object key", 0},
        {"{a:1}", "not valid JSON", 0},
        {"{\"a\":NaN}", "not valid JSON", 0},
        {"{\"a\":1e999}", "real number overflow", 0},
        {"{\"a\":99999999999999999999}", "too big integer", 0},
        {"{\"a\":\"\\ud800\"}", "invalid Unicode", 0},
        {"[1,2]", "in.jsonl:2: expected an object, found an array", 0},
        {"3", "not valid JSON", 0},
        {"{\"a\":\"\0\"}", "not valid JSON", 9},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200] = "{\"fine\":true}\n";
        size_t start = strlen(text), n = cases[i].n ? cases[i].n : strlen(cases[i].line);
        memcpy(text + start, cases[i].line, n);
        memcpy(text + start + n, "\n{}\n", 4);
        write_file(test_file, text, start + n + 4);
        Err err = {0};
        JsonLines in;
        json_t *line;
        assert_ok(jsonl_open(&in, test_file, &err), &err);
        assert_int_equal(jsonl_next(&in, &line, &err), 1);
        json_decref(line);
        assert_input_error(jsonl_next(&in, &line, &err), &err, cases[i].message);
        assert_non_null(strstr(err.text, "in.jsonl:2: "));
        assert_null(line);
        jsonl_close(&in);
    }
}

static void every_cut_of_a_line_is_an_error_or_a_whole_object(void **state)
{
    (void)state;
    const char *text = "{\"text\":\"h\\u00e9 \xC3\xA9\",\"ids\":[1,20,-3.5e2],\"x\":{\"y\":null,\"z\":true}}";
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        write_file(test_file, text, cut);
        Err err = {0};
        JsonLines in;
        json_t *line = NULL;
        assert_ok(jsonl_open(&in, test_file, &err), &err);
        int status = jsonl_next(&in, &line, &err);
        if (cut == strlen(text)) assert_int_equal(status, 1);
        else if (cut == 0) assert_int_equal(status, 0);
        else assert_input_error(status, &err, "in.jsonl:1: ");
        json_decref(line);
        jsonl_close(&in);
    }
}

static void nesting_without_end_is_refused(void **state)
{
    (void)state;
    enum { DEPTH = 200000 };
    char *deep = malloc(DEPTH + 6);
    memcpy(deep, "{\"a\":", 5);
    memset(deep + 5, '[', DEPTH);
    write_file(test_file, deep, DEPTH + 5);
    Err err = {0};
    JsonLines in;
    json_t *line;
    assert_ok(jsonl_open(&in, test_file, &err), &err);
    assert_input_error(jsonl_next(&in, &line, &err), &err, "maximum parsing depth");
    jsonl_close(&in);
    free(deep);
}

static void invalid_utf8_is_repaired_and_counted(void **state)
{
    (void)state;
    const char *text = "{\"text\":\"a\xFF\x62\"}\n{\"text\":\"\xC3\"}\n{\"text\":\"\xC3\xA9\"}\n";
    const char *want[] = {"a\xEF\xBF\xBD\x62", "\xEF\xBF\xBD", "\xC3\xA9"};
    write_file(test_file, text, strlen(text));
    Err err = {0};
    JsonLines in;
    json_t *line;
    const char *value;
    assert_ok(jsonl_open(&in, test_file, &err), &err);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(jsonl_next(&in, &line, &err), 1);
        assert_ok(json_get_text(line, "text", &value, in.where, &err), &err);
        assert_string_equal(value, want[i]);
        assert_int_equal(in.repaired, i == 0 ? 1 : 2);
        json_decref(line);
    }
    jsonl_close(&in);
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    Err err = {0};
    JsonLines in;
    assert_input_error(jsonl_open(&in, test_file, &err), &err, "in.jsonl: No such file or directory");
    assert_null(json_load_document(test_file, &err));
    assert_input_error(-1, &err, "in.jsonl: No such file or directory");
    assert_input_error(jsonl_open(&in, test_folder, &err), &err, "is a folder");
}

static void a_document_is_one_object_and_errors_name_the_line(void **state)
{
    (void)state;
    Err err = {0};
    size_t dim = 0;
    const char *text = "\xEF\xBB\xBF{\n  \"dim\": 64\n}\n";
    write_file(test_file, text, strlen(text));
    json_t *document = json_load_document(test_file, &err);
    if (!document) fail_msg("%s", err.text);
    assert_ok(json_get_size(document, "dim", &dim, test_file, &err), &err);
    assert_int_equal(dim, 64);
    json_decref(document);
    static const struct { const char *text, *message;
    } cases[] = {{"{\n  \"dim\": 64,\n}\n", "in.jsonl:3: column 1: not valid JSON"}, {"[]", "expected an object, found an array"},
        {"", "not valid JSON"}, {"{\"a\":\"\xFF\"}", "unable to decode byte 0xff"}, {"{} {}", "not valid JSON"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(test_file, cases[i].text, strlen(cases[i].text));
        assert_null(json_load_document(test_file, &err));
        assert_input_error(-1, &err, cases[i].message);
    }
}

// ---- typed access ----------------------------------------------------------------------------------------------------

static void reads_what_has_the_right_type(void **state)
{
    (void)state;
    json_t *o = parse("{\"t\":\"x\",\"n\":\"a\\u0000b\",\"s\":7,\"z\":0,\"r\":-2.5,\"big\":9007199254740993,\"b\":true,\"ids\":["
                      "0,5,4294967295],\"none\":[]}");
    Err err = {0};
    const char *text;
    size_t size, length;
    double number;
    bool flag;
    TokenList ids = {0};
    assert_ok(json_get_text(o, "t", &text, "f:1", &err), &err);
    assert_string_equal(text, "x");
    assert_ok(json_get_string(o, "n", &text, &length, "f:1", &err), &err);
    assert_int_equal(length, 3);
    assert_memory_equal(text, "a\0b", 3);
    assert_ok(json_get_size(o, "s", &size, "f:1", &err), &err);
    assert_int_equal(size, 7);
    assert_ok(json_get_size(o, "z", &size, "f:1", &err), &err);
    assert_int_equal(size, 0);
    assert_ok(json_get_number(o, "r", &number, "f:1", &err), &err);
    assert_true(number == -2.5);
    assert_ok(json_get_number(o, "s", &number, "f:1", &err), &err);
    assert_true(number == 7);
    assert_ok(json_get_bool_or(o, "b", false, &flag, "f:1", &err), &err);
    assert_true(flag);
    assert_ok(tokens_add(&ids, &err, 9), &err);
    assert_ok(json_get_tokens(o, "ids", &ids, "f:1", &err), &err);
    assert_ok(json_get_tokens(o, "none", &ids, "f:1", &err), &err);
    const uint32_t want[] = {9, 0, 5, UINT32_MAX};
    assert_int_equal(ids.length, 4);
    assert_memory_equal(ids.ids, want, sizeof want);
    tokens_free(&ids);
    json_decref(o);
}

static void missing_and_null_keys_take_the_default(void **state)
{
    (void)state;
    json_t *o = parse("{\"null\":null,\"t\":\"x\",\"s\":7,\"r\":0.5,\"b\":false}");
    Err err = {0};
    const char *text, *keys[] = {"null", "absent"};
    size_t size;
    double number;
    bool flag;
    for (int i = 0; i < 2; i++) {
        assert_ok(json_get_text_or(o, keys[i], NULL, &text, "f:1", &err), &err);
        assert_null(text);
        assert_ok(json_get_size_or(o, keys[i], 3, &size, "f:1", &err), &err);
        assert_int_equal(size, 3);
        assert_ok(json_get_number_or(o, keys[i], 1.5, &number, "f:1", &err), &err);
        assert_true(number == 1.5);
        assert_ok(json_get_bool_or(o, keys[i], true, &flag, "f:1", &err), &err);
        assert_true(flag);
    }
    assert_ok(json_get_text_or(o, "t", "y", &text, "f:1", &err), &err);
    assert_string_equal(text, "x");
    assert_ok(json_get_size_or(o, "s", 3, &size, "f:1", &err), &err);
    assert_int_equal(size, 7);
    assert_ok(json_get_number_or(o, "r", 3, &number, "f:1", &err), &err);
    assert_true(number == 0.5);
    assert_ok(json_get_bool_or(o, "b", true, &flag, "f:1", &err), &err);
    assert_false(flag);
    json_decref(o);
}

static void wrong_types_name_the_place_the_key_and_both_types(void **state)
{
    (void)state;
    json_t *o = parse("{\"n\":-3,\"r\":2.5,\"t\":\"abc\",\"nul\":\"a\\u0000\",\"a\":[1],\"o\":{},\"null\":null,\"b\":true,"
                      "\"bad\":[1,-1],\"badder\":[4294967296],\"worst\":[1,\"2\"],"
                      "\"long\":"
                      "\"\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"
                      "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9x\xC3\xA9\xC3\xA9\"}");
    Err err = {0};
    const char *text = NULL;
    size_t size = 0, length = 0;
    double number = 0;
    bool flag = false;
    TokenList ids = {0};
    assert_input_error(json_get_text(o, "n", &text, "p:3", &err), &err, "p:3: key \"n\": expected a string, found a number (-3)");
    assert_input_error(json_get_text(o, "gone", &text, "p:3", &err), &err, "p:3: key \"gone\": missing (expected a string)");
    assert_input_error(json_get_text(o, "null", &text, "p:3", &err), &err, "found null");
    assert_input_error(json_get_text(o, "nul", &text, "p:3", &err), &err, "p:3: key \"nul\": a NUL character");
    assert_input_error(json_get_string(o, "o", &text, &length, "p:3", &err), &err, "expected a string, found an object");
    assert_input_error(json_get_size(o, "n", &size, "p:3", &err), &err, "expected a whole number >= 0, found a number (-3)");
    assert_input_error(json_get_size(o, "r", &size, "p:3", &err), &err, "expected a whole number >= 0, found a number (2.5)");
    assert_input_error(json_get_size_or(o, "t", 1, &size, "p:3", &err), &err, "found a string (\"abc\")");
    assert_input_error(json_get_size(o, "gone", &size, "p:3", &err), &err, "missing");
    assert_input_error(json_get_number(o, "a", &number, "p:3", &err), &err, "expected a number, found an array");
    assert_input_error(json_get_number_or(o, "b", 1, &number, "p:3", &err), &err, "expected a number, found true");
    assert_input_error(json_get_bool_or(o, "n", true, &flag, "p:3", &err), &err, "expected true or false, found a number (-3)");
    assert_input_error(json_get_text_or(o, "a", "", &text, "p:3", &err), &err, "expected a string, found an array");
    assert_input_error(
        json_get_tokens(o, "t", &ids, "p:3", &err), &err, "expected an array of token ids, found a string (\"abc\")");
    assert_input_error(json_get_tokens(o, "gone", &ids, "p:3", &err), &err, "missing");
    assert_input_error(
        json_get_tokens(o, "bad", &ids, "p:3", &err), &err, "key \"bad\": element 1: expected a token id, found a number (-1)");
    assert_input_error(
        json_get_tokens(o, "badder", &ids, "p:3", &err), &err, "element 0: expected a token id, found a number (4294967296)");
    assert_input_error(
        json_get_tokens(o, "worst", &ids, "p:3", &err), &err, "element 1: expected a token id, found a string (\"2\")");
    assert_input_error(json_get_size(o, "long", &size, "p:3", &err), &err, "\xC3\xA9x...\")"); // cut between characters
    tokens_free(&ids);
    json_decref(o);
}

// ---- writing ---------------------------------------------------------------------------------------------------------

static void assert_written(json_t *value, const char *want)
{
    Err err = {0};
    Text out = {0};
    assert_ok(json_write(&out, value, &err), &err);
    assert_string_equal(out.data, want);
    text_free(&out);
    json_decref(value);
}

static void writes_keys_in_the_order_they_came(void **state)
{
    (void)state;
    json_t *o = json_object();
    json_object_set_new(o, "z", json_integer(1));
    json_object_set_new(o, "a", json_float(0.5));
    json_object_set_new(o, "m", json_ids((const uint32_t[]){7, UINT32_MAX}, 2));
    json_object_set_new(o, "z", json_true()); // a changed value keeps its place
    json_object_set_new(o, "e", json_object());
    json_object_set_new(o, "n", json_ids(NULL, 0));
    json_object_set_new(o, "x", json_null());
    assert_written(o, "{\"z\":true,\"a\":0.5,\"m\":[7,4294967295],\"e\":{},\"n\":[],\"x\":null}");
}

static void escapes_only_what_must_be(void **state)
{
    (void)state;
    assert_written(json_stringn("\"\\/\b\f\n\r\t\0\x1f\x7f \xC3\xA9\xE2\x80\xA8\xF0\x9F\x98\x80", 21),
        "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f \xC3\xA9\xE2\x80\xA8\xF0\x9F\x98\x80\"");
    json_t *o = json_object();
    json_object_set_new(o, "a\"\n", json_string(""));
    assert_written(o, "{\"a\\\"\\n\":\"\"}");
}

static void writes_numbers_as_nine_digits(void **state)
{
    (void)state;
    static const struct { double value; const char *want;
    } cases[] = {{0.1f, "0.100000001"}, {1, "1"}, {-2, "-2"}, {0, "0"}, {-0.0, "-0.0"}, {1e-5, "1e-05"},
        {3.4028234663852886e38, "3.40282347e+38"}, {1.401298464324817e-45, "1.40129846e-45"}, {16777217, "16777217"},
        {1e9, "1e+09"}, {123456789, "123456789"}, {1.0 / 3, "0.333333333"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_written(json_float(cases[i].value), cases[i].want);
    assert_written(json_integer(INT64_MIN), "-9223372036854775808");
    assert_null(json_float((double)NAN));
    assert_null(json_float((double)INFINITY));
    Err err = {0};
    Text out = {0};
    assert_failed_error(json_write(&out, NULL, &err), &err, "memory");
    assert_failed_error(json_write_pretty(&out, NULL, &err), &err, "memory");
    text_free(&out);
}

static void floats_read_back_to_the_same_bits(void **state)
{
    (void)state;
    TestRandom random = {3};
    Err err = {0};
    for (int i = 0; i < 20000; i++) {
        uint32_t bits = i == 0 ? 0x80000000u : i == 1 ? 1 : test_integer(&random, UINT32_MAX);
        float value;
        memcpy(&value, &bits, 4);
        if (!isfinite(value)) continue;
        json_t *o = json_pack("{s:o}", "v", json_float(value));
        Text out = {0};
        assert_ok(json_write(&out, o, &err), &err);
        json_t *back = parse(out.data);
        double number = 0;
        assert_ok(json_get_number(back, "v", &number, "f:1", &err), &err);
        float got = (float)number;
        assert_same_bits(&got, &value, 1, out.data);
        json_decref(o);
        json_decref(back);
        text_free(&out);
    }
}

static void the_locale_does_not_matter(void **state)
{
    (void)state;
    const char *names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "fr_FR.utf8", "ps_AF.UTF-8"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++)
        found = setlocale(LC_NUMERIC, names[i]) && *localeconv()->decimal_point != '.';
    if (!found) { // glibc can compile one
        const char *source = "LC_NUMERIC\ndecimal_point \",\"\nthousands_sep \"\"\ngrouping -1\nEND LC_NUMERIC\n";
        char command[900];
        write_file(test_file, source, strlen(source));
        snprintf(command, sizeof command, "localedef -c -i '%s' -f ISO-8859-1 '%s/comma' > /dev/null 2>&1", test_file, test_folder);
        if (system(command) >= 0) setenv("LOCPATH", test_folder, 1);
        found = setlocale(LC_NUMERIC, "comma") && *localeconv()->decimal_point != '.';
    }
    if (!found) skip_because("no locale with a decimal comma is installed");
    double number = 0;
    Err err = {0};
    assert_written(json_float(-1234.5), "-1234.5");
    assert_written(json_float(1.25e-20), "1.25e-20");
    json_t *o = parse("{\"v\":0.5}");
    assert_ok(json_get_number(o, "v", &number, "f:1", &err), &err);
    assert_true(number == 0.5);
    json_decref(o);
    setlocale(LC_NUMERIC, "C");
}

static void the_pretty_form_is_indented_by_two(void **state)
{
    (void)state;
    json_t *o = parse("{\"a\":[1,{\"b\":\"x\"}],\"c\":{},\"d\":[],\"e\":1.5}");
    Err err = {0};
    Text out = {0};
    assert_ok(json_write_pretty(&out, o, &err), &err);
    assert_string_equal(
        out.data, "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x\"\n    }\n  ],\n  \"c\": {},\n  \"d\": [],\n  \"e\": 1.5\n}\n");
    text_free(&out);
    json_decref(o);
}

static void what_is_written_reads_back_equal(void **state)
{
    (void)state;
    json_t *o = parse("{\"text\":\"a\\u0000\\ud83d\\ude00\\\"\",\"list\":[[],[{}],null,true,false,-1,9223372036854775807],\"\":{"
                      "\"\\n\":0.25}}");
    Err err = {0};
    Text out = {0}, pretty = {0};
    assert_ok(json_write(&out, o, &err), &err);
    assert_ok(json_write_pretty(&pretty, o, &err), &err);
    json_t *back = parse(out.data), *again = parse(pretty.data);
    assert_true(json_equal(o, back));
    assert_true(json_equal(o, again));
    json_decref(o), json_decref(back), json_decref(again);
    text_free(&out);
    text_free(&pretty);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_test_folder, drop_test_folder)
    const struct CMUnitTest tests[] = {
        TEST(reads_line_after_line),
        TEST(a_bad_line_is_named),
        TEST(every_cut_of_a_line_is_an_error_or_a_whole_object),
        TEST(nesting_without_end_is_refused),
        TEST(invalid_utf8_is_repaired_and_counted),
        TEST(a_missing_file_is_named),
        TEST(a_document_is_one_object_and_errors_name_the_line),
        cmocka_unit_test(reads_what_has_the_right_type),
        cmocka_unit_test(missing_and_null_keys_take_the_default),
        cmocka_unit_test(wrong_types_name_the_place_the_key_and_both_types),
        cmocka_unit_test(writes_keys_in_the_order_they_came),
        cmocka_unit_test(escapes_only_what_must_be),
        cmocka_unit_test(writes_numbers_as_nine_digits),
        cmocka_unit_test(floats_read_back_to_the_same_bits),
        TEST(the_locale_does_not_matter),
        cmocka_unit_test(the_pretty_form_is_indented_by_two),
        cmocka_unit_test(what_is_written_reads_back_equal),
    };
    test_file_name = "in.jsonl";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
