// SPDX-License-Identifier: MIT
/* test_template.c - chat templates against jinja2 3.1.6 (tests/golden/templates, made by make.py there), and what is refused, by name
 * and place. */
#include "tests/support.h"

#include "files/jsonl.h"
#include "files/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Err err;

static int render(Text *out, const char *source, const json_t *variables)
{
    Template *template = template_parse(source, strlen(source), "t.jinja", &err);
    int status = template ? template_render(template, out, variables, &err) : -1;
    template_free(template);
    return status;
}

static void check_line(const json_t *line, const char *where)
{
    const char *source, *expected, *refused;
    Text out = {0};
    assert_ok(json_get_text(line, "template", &source, where, &err), &err);
    assert_ok(json_get_text_or(line, "expected", NULL, &expected, where, &err), &err);
    assert_ok(json_get_text_or(line, "refused", "", &refused, where, &err), &err);
    int status = render(&out, source, json_object_get(line, "variables"));
    if (!expected) assert_input_error(status, &err, refused);
    else {
        if (status) fail_msg("%s: %s\n%s", where, err.text, source);
        if (strcmp(out.data, expected)) fail_msg("%s: %s\ngave     \"%s\"\nexpected \"%s\"", where, source, out.data, expected);
    }
    text_free(&out);
}

static void renders_as_jinja2_does(void **state)
{
    (void)state;
    char *path = golden_path("templates/renderings.jsonl");
    JsonLines in;
    json_t *line;
    int got, count = 0;
    if (!path) fail_msg("tests/golden/templates/renderings.jsonl is missing; run from the project's folder");
    assert_ok(jsonl_open(&in, path, &err), &err);
    for (; (got = jsonl_next(&in, &line, &err)) == 1; count++) {
        check_line(line, in.where);
        json_decref(line);
    }
    assert_ok(got, &err);
    assert_true(count > 170);
    jsonl_close(&in);
    free(path);
}

static void names_what_it_does_not_support_and_where(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a\n {% macro f(x) %}{% endmacro %}", "t.jinja:2:5: macro is not supported"},
        {"{% include 'x' %}", "t.jinja:1:4: include is not supported"},
        {"{% generation %}", "generation is not supported"},
        {"{% set x %}a{% endset %}", "t.jinja:1:10: a set block is not supported"},
        {"{% set a, b = [1, 2] %}", "setting several names at once is not supported"},
        {"{% for x in y recursive %}{% endfor %}", "a recursive loop is not supported"},
        {"{{ x | batch(3) }}", "t.jinja:1:6: filter \"batch\" is not supported"},
        {"{{ x is callable }}", "test \"callable\" is not supported"},
        {"{{ x.format(1) }}", "method \"format\" is not supported"},
        {"{{ cycler(1) }}", "function \"cycler\" is not supported"},
        {"{{ strftime_now('%d') }}", "function \"strftime_now\" is not supported"},
        {"{{ 1 < 2 < 3 }}", "t.jinja:1:10: a chain of comparisons is not supported"},
        {"{{ 1 / 2 }}", "the operator / is not supported"},
        {"{{ 2 ** 3 }}", "the operator ** is not supported"},
        {"{{ 1.5 }}", "numbers with a fraction are not supported"},
        {"{{ () }}", "expected a value, found \")\""},
        {"{{ f(*x) }}", "* and ** before an argument are not supported"},
        {"{{ [1] }}", "a list as text is not supported"},
        {"{{ 'é'.upper() }}", "not ASCII"},
        {"{{ 'a' + 1 }}", "a string + a number is not supported"},
        {"{{ x.y }}", "\"x\" is undefined"},
        {"{{ x + 'a' }}", "t.jinja:1:6: \"x\" is undefined"},
        {"{{ x is divisibleby 3 }}", "write the test's argument in brackets"},
        {"{{ x is eq() }}", "t.jinja:1:6: test \"eq\" needs the argument \"other\""},
        {"{{ x is divisibleby }}", "test \"divisibleby\" needs the argument \"num\""},
        {"{{ x is defined(1) }}", "t.jinja:1:17: test \"defined\" with more than 0 arguments"},
        {"{{ 'a' | replace('b') }}", "t.jinja:1:8: filter \"replace\" needs the argument \"new\""},
        {"{{ 'a' | tojson(2, 3) }}", "filter \"tojson\" with more than 1 arguments"},
        {"{{ 'a' | tojson(indnt=2) }}", "t.jinja:1:17: filter \"tojson\" has no argument \"indnt\""},
        {"{{ x | default(1, default_value=2) }}", "t.jinja:1:19: the argument \"default_value\" is given twice"},
        {"{{ x | default(default_value=1, 2) }}", "an argument without a name after one with a name"},
        {"{{ 'a'.startswith() }}", "method \"startswith\" needs the argument \"prefix\""},
        {"{{ 02 }}", "t.jinja:1:4: \"02\" is no whole number"},
        {"{{ 1__0 }}", "\"1__0\" is no whole number"},
        {"{{ 1_ }}", "\"1_\" is no whole number"},
        {"{% if true %}a", "the template ends where elif was expected"},
        {"{% endif %}", "endif is not supported"},
        {"{{ 'a }}", "t.jinja:1:4: a string without an end"},
        {"{{ a", "the template ends inside a tag"},
        {"{{ }}", "the tag ends where a value was expected"},
        {"{{ a b }}", "expected the tag's end, found \"b\""},
        {"{# a", "a comment without an end"},
        {"{{ a ? b }}", "unexpected character '?'"},
        {"{% set n = namespace(a=1) %}{% set n.b = n %}", "a namespace inside a list or mapping"},
        {"{% set d = {'a': 1} %}{% set d.b = 1 %}", "\"d\" is no namespace"},
        {"{{ 1 // 0 }}", "division by zero"},
        {"\xFF", "must be UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Text out = {0};
        int status = render(&out, cases[i][0], NULL);
        if (!status) fail_msg("accepted: %s", cases[i][0]);
        assert_input_error(status, &err, cases[i][1]);
        text_free(&out);
    }
}

static void numbers_are_written_as_in_python(void **state)
{
    (void)state;
    Text out = {0};
    assert_ok(render(&out, "{{ 1_000 }} {{ 00 }} {{ 0 }} {{ 0_0 }} {{ 10 }}", NULL), &err);
    assert_string_equal(out.data, "1000 0 0 0 10");
    text_free(&out);
}

static void repeat(Text *text, const char *what, size_t times)
{
    while (times--) assert_ok(text_puts(text, &err, what), &err);
}

static void depth_text_and_time_are_bounded(void **state)
{
    (void)state;
    static const char *const deep[][3] = {{"{{ ", "(", "1 }}"}, {"{{ ", "not ", "1 }}"}, {"{{ ", "-", "1 }}"}, {"", "{% if 1 %}", ""},
        {"{{ 1", " + 1", " }}"}, {"{{ a", ".a", " }}"}, {"{{ a", "|trim", " }}"}, {"{{ ", "[", " }}"}, {"{{ 1 ", "if 1 else 1 ", " }}"},
        {"{% if 0 %}", "{% elif 0 %}", "{% endif %}"}};
    static const char *const endless[] = {
        "{% set n = namespace(x='a') %}{% for i in range(100) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{{ messages }}{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' ~ i }}{% for j in range(99) %}b{% endfor %}{% endfor %}",
        "{{ range(2147483000) | length }}",
    };
    Text out = {0};
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++) {
        Text source = {0};
        repeat(&source, deep[i][0], 1), repeat(&source, deep[i][1], 50000), repeat(&source, deep[i][2], 1);
        assert_input_error(render(&out, source.data, NULL), &err, "more than 100 levels");
        text_free(&source);
    }
    for (size_t i = 0; i < sizeof endless / sizeof *endless; i++) {
        assert_input_error(render(&out, endless[i], NULL), &err, "too much text or takes too many steps");
        assert_int_equal(out.length, 0); // what was begun is taken back
    }
    const char *nested = "{% set n = namespace(x=[]) %}{% for i in range(100) %}{% set n.x = [n.x] %}{% endfor %}";
    assert_input_error(render(&out, nested, NULL), &err, "more than 50 lists");
    text_free(&out);
}

// Every cut and many damages of a template with all constructs: an error or a rendering, never harm (the sanitizers look on).
static void damaged_templates_do_no_harm(void **state)
{
    (void)state;
    char *path = golden_path("templates/renderings.jsonl");
    static const char *const parts[] = {"{%", "%}", "{{", "}}", "(", "[", "'", "|", "-", " if ", "\\", "{#", "=", ".", "\xC3", "messages"};
    TestRandom random = {11};
    JsonLines in;
    json_t *line;
    size_t rendered = 0;
    assert_ok(jsonl_open(&in, path, &err), &err);
    while (jsonl_next(&in, &line, &err) == 1) {
        const char *source = json_string_value(json_object_get(line, "template"));
        for (int i = 0; i < 40; i++) {
            Text damaged = {0}, out = {0};
            size_t at = test_integer(&random, (uint32_t)strlen(source) + 1);
            assert_ok(text_add(&damaged, &err, source, at), &err);
            if (i % 4) {
                assert_ok(text_puts(&damaged, &err, parts[test_integer(&random, 16)]), &err);
                size_t skip_to = at + test_integer(&random, 4);
                if (skip_to < strlen(source)) assert_ok(text_puts(&damaged, &err, source + skip_to), &err);
            }
            err = (Err){0};
            if (render(&out, damaged.data, json_object_get(line, "variables"))) assert_int_equal(err.status, 2);
            else rendered++;
            text_free(&damaged), text_free(&out);
        }
        json_decref(line);
    }
    assert_true(rendered > 200);
    jsonl_close(&in);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_as_jinja2_does),
        cmocka_unit_test(names_what_it_does_not_support_and_where),
        cmocka_unit_test(numbers_are_written_as_in_python),
        cmocka_unit_test(depth_text_and_time_are_bounded),
        cmocka_unit_test(damaged_templates_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
