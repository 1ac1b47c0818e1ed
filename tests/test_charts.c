// SPDX-License-Identifier: MIT
/* test_charts.c - charts and the numbers on them: inside their frame, readable, never "nan". */
#include "tests/support.h"

#include <stdio.h>
#include <string.h>

#include "study/charts.h"
#include "study/scaling.h"

// The vertical places of the two points of a line from (0, first) to (1, second); 26 is the top of the frame, 184 its bottom.
static void line_between(double place[2], double first, double second)
{
    const ChartPoint points[] = {{0, first, first, first}, {1, second, second, second}};
    Chart chart = {.id = "x", .title = "x", .x_label = "x", .whole_x = true, .series = {{.name = "x", .points = points, .count = 2}}, .series_count = 1};
    Err err = {0};
    Html out = {.err = &err};
    chart_lines(&out, &chart);
    const char *line = strstr(out.text.data, "<path class=\"line s0\" d=\"M");
    assert_non_null(line);
    assert_int_equal(sscanf(line, "<path class=\"line s0\" d=\"M%*f %lfL%*f %lf", place, place + 1), 2);
    assert_null(strstr(out.text.data, "nan"));
    text_free(&out.text);
}

static void lines_keep_inside_their_frame(void **state)
{
    const double flat[] = {0, 5, -1e-300, 1e300, 12345678};
    double place[2];
    (void)state;
    for (size_t i = 0; i < sizeof flat / sizeof *flat; i++) {
        line_between(place, flat[i], flat[i]);
        assert_true(place[0] == place[1] && place[0] > 30 && place[0] < 180); // neither on the floor nor under the ceiling
    }
    line_between(place, 1, 3);
    assert_true(place[0] == 184 && place[1] == 26);
    line_between(place, -1e308, 1e308);
    assert_true(place[0] == 184 && place[1] == 26);
}

static void powers_of_two_are_named_by_what_they_are(void **state)
{
    const ChartPoint points[] = {{-1, 0, 0, 0}, {0, 1, 1, 1}, {5, 2, 2, 2}};
    Chart chart = {.id = "x", .title = "x", .x_label = "rows", .whole_x = true, .power_x = true, .series = {{.name = "x", .points = points, .count = 3}},
        .series_count = 1};
    Err err = {0};
    Html out = {.err = &err};
    (void)state;
    chart_lines(&out, &chart);
    assert_non_null(strstr(out.text.data, ">0.50</text>"));
    assert_non_null(strstr(out.text.data, ">32</text>"));
    assert_non_null(strstr(out.text.data, "rows 32"));
    assert_null(strstr(out.text.data, ">5</text>"));
    text_free(&out.text);
}

static void scaling_is_one_drawing_that_needs_nothing_beside_it(void **state)
{
    ScaleCurve curves[SCALE_CURVES] = {{{{0}}, 0}};
    Err err = {0};
    Text svg = {0};
    (void)state;
    for (size_t kind = 0; kind < SCALE_CURVES; kind++)
        for (size_t i = 0; i < 4; i++) curves[kind].points[curves[kind].count++] = (ScalePoint){(double)(1 << i), 100, 0.1 * (double)(i + 1), 0.5};
    assert_ok(scaling_svg(&svg, curves, "a <machine>", &err), &err);
    assert_int_equal(strncmp(svg.data, "<svg xmlns=", 11), 0);
    assert_non_null(strstr(svg.data, "a &lt;machine&gt;"));
    assert_null(strstr(svg.data, "href"));
    assert_null(strstr(svg.data, "nan"));
    assert_non_null(strstr(svg.data, ">100 to 100 tokens/s</text>"));
    size_t drawn = 0;
    for (const char *at = svg.data; (at = strstr(at, "class=\"line s0")); at++) drawn++;
    assert_int_equal(drawn, 6); // model, context, batch, sequences, threads, roofline
    text_free(&svg);
}

static void numbers_read_well(void **state)
{
    const struct { double value; int decimals; const char *text; } cases[] = {
        {0, 2, "0.00"}, {-0.004, 2, "0.00"}, {-1.5, 1, "\xE2\x88\x92" "1.5"}, {999.6, 0, "1,000"}, {1234567.127, 2,
            "1,234,567.13"}, {-1e12, 2, "\xE2\x88\x92" "1e+12"},
        {100, 0, "100"}, {1000, 0, "1,000"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Err err = {0};
        Html out = {.err = &err};
        html_number(&out, cases[i].value, cases[i].decimals);
        assert_string_equal(out.text.data, cases[i].text);
        text_free(&out.text);
    }
}

static void coordinates_are_short_and_never_negative_zero(void **state)
{
    const struct { double value; const char *text; } cases[] = {{12.5, "12.5"}, {100, "100"}, {-0.001, "0"}, {0, "0"}, {3.14159,
        "3.14"}, {-7.10, "-7.1"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Err err = {0};
        Html out = {.err = &err};
        html_coordinate(&out, cases[i].value);
        assert_string_equal(out.text.data, cases[i].text);
        text_free(&out.text);
    }
}

static void the_best_half_of_a_histogram_is_drawn_over_all(void **state)
{
    const size_t all[] = {4, 2}, part[] = {0, 2};
    const Histogram h = {.id = "h", .title = "rewards", .all_name = "all", .part_name = "kept", .all = all, .part = part,
        .bins = 2, .most = 4, .low = 0,
        .high = 2, .all_mean = 0.75, .part_mean = 1.5, .has_part = true};
    Err err = {0};
    Html out = {.err = &err};
    (void)state;
    chart_histogram(&out, &h);
    assert_non_null(strstr(out.text.data, "<path class=\"all\" d=\"M16.5 104V20h163V104ZM180.5 104V62h163V104Z\"/>"));
    assert_non_null(strstr(out.text.data, "<path class=\"part\" d=\"M180.5 104V62h163V104Z\"/>"));
    assert_non_null(strstr(out.text.data, "all: mean 0.75. kept: mean 1.50.</desc>"));
    text_free(&out.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_keep_inside_their_frame),
        cmocka_unit_test(powers_of_two_are_named_by_what_they_are),
        cmocka_unit_test(scaling_is_one_drawing_that_needs_nothing_beside_it),
        cmocka_unit_test(numbers_read_well),
        cmocka_unit_test(coordinates_are_short_and_never_negative_zero),
        cmocka_unit_test(the_best_half_of_a_histogram_is_drawn_over_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
