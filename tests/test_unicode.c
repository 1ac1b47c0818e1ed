// SPDX-License-Identifier: MIT
/* test_unicode.c - UTF-8 decoding and repair against Python's, character classes against the split of Hugging Face tokenizers. */
#include "tests/support.h"

#include "files/unicode.h"

#include <string.h>

static void classes_are_those_of_hugging_face_tokenizers(void **state)
{
    (void)state;
    // FNV-1a over the class of every code point in order, as tokenizers 0.23.3 showed it: with `c` the character, its ByteLevel
    // pre-tokenizer leaves "aca" whole (letter), "1c1" whole (number), cuts "!c!" (space). Surrogates: other.
    size_t counts[4] = {0};
    uint64_t hash = 0;
    for (uint32_t c = 0; c < 0x110000; c++) {
        unsigned char k = (unsigned char)unicode_class(c);
        counts[k]++;
        hash = hash_bytes(hash, &k, 1);
    }
    assert_int_equal(counts[UNICODE_LETTER], 141028);
    assert_int_equal(counts[UNICODE_NUMBER], 1911);
    assert_int_equal(counts[UNICODE_SPACE], 25);
    assert_true(hash == 0x48b1698009766d10u);
}

static void each_question_names_its_class(void **state)
{
    (void)state;
    assert_true(unicode_is_letter('a') && unicode_is_letter(0xE9) && unicode_is_letter(0x4F60) && unicode_is_letter(0x105C0));
    assert_true(unicode_is_number('7') && unicode_is_number(0xB2) && unicode_is_number(0x2167) && unicode_is_number(0x10D40));
    assert_true(unicode_is_space(' ') && unicode_is_space(0x85) && unicode_is_space(0xA0) && unicode_is_space(0x3000));
    assert_false(unicode_is_space(0x1C) || unicode_is_space(0x200B) || unicode_is_letter('7') || unicode_is_number('a'));
    assert_false(unicode_is_letter(0x301) || unicode_is_letter(0x110000) || unicode_is_letter(UINT32_MAX));
}

static void every_character_survives_encode_and_decode(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        char bytes[4];
        uint32_t back;
        bool valid;
        size_t n = utf8_put(bytes, c), used = utf8_decode(&back, &valid, bytes, n);
        bool surrogate = c >= 0xD800 && c <= 0xDFFF;
        if (used != n || !valid || back != (surrogate ? 0xFFFD : c) || !utf8_is_valid(bytes, n)) fail_msg("U+%04X", (unsigned)c);
        if (n > 1 && utf8_is_valid(bytes, n - 1)) fail_msg("U+%04X cut by one byte passes", (unsigned)c);
    }
}

static void repairs_every_malformed_sequence_as_python_does(void **state)
{
    (void)state;
    // All strings of four of these bytes (every boundary of the encoding), against bytes.decode("utf-8", "replace").
    static const unsigned char edge[25] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1,
        0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
    Err err = {0};
    Text out = {0};
    uint64_t hash = 0;
    for (uint32_t i = 0; i < 25 * 25 * 25 * 25; i++) {
        char bytes[4] = {(char)edge[i / 15625], (char)edge[i / 625 % 25], (char)edge[i / 25 % 25], (char)edge[i % 25]};
        size_t repaired = 0;
        out.length = 0;
        assert_ok(utf8_repair(&out, bytes, 4, &repaired, &err), &err);
        assert_true(utf8_is_valid(bytes, 4) == (repaired == 0));
        if (!repaired) assert_memory_equal(out.data, bytes, 4);
        hash = hash_bytes(hash, out.data, out.length);
    }
    text_free(&out);
    assert_true(hash == 0xb9eb8d0b45e0b6d1u);
}

static void repair_appends_and_counts(void **state)
{
    (void)state;
    Err err = {0};
    Text out = {0};
    size_t repaired = 3;
    assert_ok(utf8_repair(&out, "", 0, &repaired, &err), &err);
    assert_string_equal(out.data, "");
    const char text[] = "a long enough ASCII start \xC3\xA9 \xE2\x82 and \xFF\xFE.";
    assert_ok(utf8_repair(&out, text, sizeof text - 1, &repaired, &err), &err);
    assert_ok(utf8_repair(&out, "\0z", 2, &repaired, &err), &err);
    const char want[] = "a long enough ASCII start \xC3\xA9 \xEF\xBF\xBD and \xEF\xBF\xBD\xEF\xBF\xBD.\0z";
    assert_int_equal(out.length, sizeof want - 1);
    assert_memory_equal(out.data, want, sizeof want);
    assert_int_equal(repaired, 6);
    text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_those_of_hugging_face_tokenizers),
        cmocka_unit_test(each_question_names_its_class),
        cmocka_unit_test(every_character_survives_encode_and_decode),
        cmocka_unit_test(repairs_every_malformed_sequence_as_python_does),
        cmocka_unit_test(repair_appends_and_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
