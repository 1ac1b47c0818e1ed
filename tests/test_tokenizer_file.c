// SPDX-License-Identifier: MIT
/* test_tokenizer_file.c - tokenizer.json: what is read and written, and files that are damaged or ask for what is not supported. */
#include "tests/support_model.h"

#include "files/jsonl.h"
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

static Err err;

#define ADDED(id, text, special) \
    "{\"id\": " #id ", \"content\": \"" text "\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false," \
    "\"normalized\": false, \"special\": " #special "},"
#define ADDED_TOKENS "\"added_tokens\": [" ADDED(2048, "<|end|>", true) ADDED(2049, "<|end", true) ADDED(2050, "the cat", false) \
    ADDED(2051, "日", true) ADDED(2052, "\\n\\n", true)

// ---- files -----------------------------------------------------------------------------------------------------------------

static void saves_the_bytes_that_hugging_face_tokenizers_saves(void **state)
{
    (void)state;
    Tokenizer tk;
    char *path = golden_tokenizer_path(), *folder = temporary_folder(), *copy = path_in(folder, "copy.json");
    size_t n, m;
    golden_tokenizer(&tk);
    assert_ok(tokenizer_save(&tk, copy, &err), &err);
    char *want = read_file(path, &n), *got = read_file(copy, &m);
    assert_int_equal(n, m);
    assert_memory_equal(want, got, n);
    tokenizer_free(&tk);
    remove_folder(folder);
    free(want), free(got), free(path), free(copy), free(folder);
}

static void saving_keeps_what_decides_ids(void **state)
{
    (void)state;
    Tokenizer tk, again;
    char *folder = temporary_folder(), *path = path_in(folder, "a.json"), *path2 = path_in(folder, "b.json");
    edited_tokenizer(&tk, "\"added_tokens\": [", ADDED_TOKENS);
    tk.split = SPLIT_DIGITS;
    assert_ok(tokenizer_save(&tk, path, &err) || tokenizer_load(&again, path, &err) || tokenizer_save(&again, path2, &err), &err);
    assert_true(tokenizer_hash(&tk) == tokenizer_hash(&again));
    assert_true(again.split == SPLIT_DIGITS);
    char *a = read_file(path, NULL), *b = read_file(path2, NULL);
    assert_string_equal(a, b);
    assert_non_null(strstr(a, "\"content\": \"the cat\",\n      \"single_word\": false,\n      \"lstrip\": false,\n"
        "      \"rstrip\": false,\n      \"normalized\": false,\n      \"special\": false\n"));
    free(a), free(b);
    tokenizer_free(&tk);
    tokenizer_free(&again);
    remove_folder(folder);
    free(path), free(path2), free(folder);
}

static void reads_merges_in_the_older_spelling(void **state)
{
    (void)state;
    char *path = golden_tokenizer_path(), *folder = temporary_folder(), *copy = path_in(folder, "old.json");
    json_t *document = json_load_document(path, &err), *list = json_object_get(json_object_get(document, "model"), "merges");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *pair = json_array_get(list, i);
        const char *left = json_string_value(json_array_get(pair, 0)), *right = json_string_value(json_array_get(pair, 1));
        json_array_set_new(list, i, json_sprintf("%s %s", left, right));
    }
    Text out = {0};
    assert_ok(json_write(&out, document, &err), &err);
    write_file(copy, out.data, out.length);
    Tokenizer tk, old;
    golden_tokenizer(&tk);
    assert_ok(tokenizer_load(&old, copy, &err), &err);
    assert_true(tokenizer_hash(&tk) == tokenizer_hash(&old));
    tokenizer_free(&tk);
    tokenizer_free(&old);
    text_free(&out);
    json_decref(document);
    remove_folder(folder);
    free(path), free(folder), free(copy);
}

static void accepts_settings_that_change_nothing(void **state)
{
    (void)state;
    static const char *const edits[][2] = {
        {"\"dropout\": null", "\"dropout\": 0.0"},
        {"\"continuing_subword_prefix\": null", "\"continuing_subword_prefix\": \"\""},
        {"\"unk_token\": null", "\"unk_token\": \"<|endoftext|>\""},
        {"\"ignore_merges\": false,", ""},
        {"\"post_processor\": null", "\"post_processor\": {\"type\": \"ByteLevel\", \"trim_offsets\": false}"},
        {"\"normalized\": false", "\"normalized\": true"},
        {"\"truncation\": null,", ""},
    };
    Tokenizer plain;
    golden_tokenizer(&plain);
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        Tokenizer tk;
        edited_tokenizer(&tk, edits[i][0], edits[i][1]);
        assert_true(tokenizer_hash(&tk) == tokenizer_hash(&plain));
        tokenizer_free(&tk);
    }
    tokenizer_free(&plain);
}

static void refuses_what_it_does_not_do_by_name(void **state)
{
    (void)state;
    static const struct { const char *find, *replace, *message; } edits[] = {
        {"\"type\": \"BPE\"", "\"type\": \"Unigram\"", "key \"model.type\": expected \"BPE\", found \"Unigram\""},
        {"\"type\": \"BPE\",", "", "key \"model.type\": expected \"BPE\", found nothing"},
        {"\"normalizer\": null", "\"normalizer\": {\"type\": \"NFC\"}", "key \"normalizer\": expected null"},
        {"\"truncation\": null", "\"truncation\": {\"max_length\": 9}", "key \"truncation\""},
        {"\"padding\": null", "\"padding\": {}", "key \"padding\""},
        {"\"dropout\": null", "\"dropout\": 0.1",
            "key \"model.dropout\": expected null (this setting is not supported), found 0.1"},
        {"\"byte_fallback\": false", "\"byte_fallback\": true", "key \"normalizer\": expected with byte_fallback"},
        {"\"end_of_word_suffix\": null", "\"end_of_word_suffix\": \"</w>\"", "key \"model.end_of_word_suffix\""},
        {"\"continuing_subword_prefix\": null", "\"continuing_subword_prefix\": \"##\"", "key \"model.continuing_subword_prefix\""},
        {"\"post_processor\": null", "\"post_processor\": {\"type\": \"TemplateProcessing\"}",
            "key \"post_processor\": expected null, type \"ByteLevel\""},
        {"\"pre_tokenizer\": {", "\"pre_tokenizer\": null, \"unused\": {", "key \"pre_tokenizer\": expected type \"ByteLevel\""},
        {"\"pre_tokenizer\": {", "\"pre_tokenizer\": {\"type\": \"Whitespace\"}, \"unused\": {", "found {\"type\":\"Whitespace\"}"},
        {"\"add_prefix_space\": false", "\"add_prefix_space\": true", "key \"pre_tokenizer\""},
        {"\"use_regex\": true", "\"use_regex\": false", "key \"pre_tokenizer\""},
        {"\"pre_tokenizer\": {",
            "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", \"individual_digits\": false}, 1]},"
            "\"unused\": {", "key \"pre_tokenizer.pretokenizers[0]\": expected type \"Digits\" with individual_digits true"},
        {"\"pre_tokenizer\": {", "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": []}, \"unused\": {",
            "key \"pre_tokenizer\""},
        {"\"decoder\": {", "\"decoder\": {\"type\": \"WordPiece\"}, \"unused\": {", "key \"decoder\": expected type \"ByteLevel\""},
        {"\"lstrip\": false", "\"lstrip\": true", "added_tokens[0]"},
        {"\"single_word\": false", "\"single_word\": true", "key \"single_word\": expected null"},
        {"\"added_tokens\": [", ADDED_TOKENS ADDED(166, "é", true), "special token 166, \"é\", is spelled like a token of other bytes"},
        {"\"added_tokens\": [", ADDED_TOKENS ADDED(2052, "twice", true), "\"\n\n\" and \"twice\" both have id 2052"},
        {"\"added_tokens\": [", ADDED_TOKENS ADDED(0, "<|endoftext|>", true), "\"<|endoftext|>\" is there twice"},
        {"\"added_tokens\": [", ADDED_TOKENS ADDED(2054, "gap", true), "\"gap\" has id 2054, but there are 2054 tokens: ids must be dense"},
        {"\"added_tokens\": [", ADDED_TOKENS ADDED(5, "<|endoftext|>", true), "has id 5 here and 0 in model.vocab"},
        {"\"normalized\": false", "\"normalized\": 3", "added_tokens[0]"},
        {"\"added_tokens\": [", "\"added_tokens\": [{\"id\": 2048, \"content\": \"x y\", \"normalized\": true},",
            "the same \"normalized\" for all added tokens"},
        {"\"added_tokens\": [", "\"added_tokens\": 3, \"unused\": [", "key \"added_tokens\": expected an array, found 3"},
        {"\"!\": 1,", "\"!\": 2,", "\"!\" and \"\"\" both have id 2"},
        {"\"!\": 1,", "\"!\": 20480,", "\"!\" has id 20480, but there are 2048 tokens"},
        {"\"!\": 1,", "\"!\": -1,", "key \"!\""},
        {"\"!\": 1,", "\"!\": \"1\",", "model.vocab"},
        {"\"!\": 1,", "\" !\": 1,", "token 1, \" !\", holds a character outside the byte alphabet"},
        {"\"!\": 1,", "\"\": 1,", "token 1 is empty"},
        {"\"vocab\": {", "\"vocab\": [], \"unused\": {", "key \"model.vocab\": expected an object, found []"},
        {"\"merges\": [", "\"merges\": 1, \"unused\": [", "key \"model.merges\": expected an array"},
        {"\"merges\": [", "\"merges\": [[\"a\"],",
            "key \"model.merges[0]\": expected \"left right\" or [\"left\", \"right\"], found [\"a\"]"},
        {"\"merges\": [", "\"merges\": [\"a b c\",", "key \"model.merges[0]\""},
        {"\"merges\": [", "\"merges\": [\"ab\",", "key \"model.merges[0]\""},
        {"\"merges\": [", "\"merges\": [\"qz b\",", "merges[0]: the left half, \"qz\", is not in the vocabulary"},
        {"\"merges\": [", "\"merges\": [\"b qz\",", "merges[0]: the right half, \"qz\", is not in the vocabulary"},
        {"\"merges\": [", "\"merges\": [\"q z\",", "merges[0]: the whole, \"qz\", is not in the vocabulary"},
        {"\"merges\": [", "\"merges\": [\"Ġ t\",", "merges[1] repeats merges[0]"},
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        Tokenizer tk;
        char *folder, *path = edited_tokenizer_file(&folder, edits[i].find, edits[i].replace);
        int status = tokenizer_load(&tk, path, &err);
        if (!status) fail_msg("accepted: %s", edits[i].replace);
        assert_input_error(status, &err, edits[i].message);
        assert_input_error(status, &err, "tokenizer.json");
        tokenizer_free(&tk); // a failed load leaves nothing behind
        remove_folder(folder);
        free(path), free(folder);
    }
}

static void a_cut_file_is_an_input_error_at_every_length(void **state)
{
    (void)state;
    char *path = golden_tokenizer_path(), *folder = temporary_folder(), *cut = path_in(folder, "cut.json");
    size_t n;
    char *bytes = read_file(path, &n);
    for (size_t length = 0; length < n; length += length < 1200 ? 13 : 97) {
        Tokenizer tk;
        write_file(cut, bytes, length);
        assert_input_error(tokenizer_load(&tk, cut, &err), &err, "cut.json");
    }
    remove_folder(folder);
    free(bytes), free(path), free(folder), free(cut);
}

static void a_damaged_file_never_does_harm(void **state)
{
    (void)state;
    char *path = golden_tokenizer_path(), *folder = temporary_folder(), *copy = path_in(folder, "damaged.json");
    size_t n;
    char *bytes = read_file(path, &n);
    TestRandom random = {3};
    size_t refused = 0;
    for (int i = 0; i < 300; i++) {
        static const char *const tokens[] = {"null", "-1", "99999999999999999999", "\"\"", "[]", "{", "}", "1e9", "true", ","};
        const char *with = tokens[test_integer(&random, 10)];
        size_t at = test_integer(&random, i % 2 ? 1400 : (uint32_t)n - 32);
        char *damaged = malloc(n);
        assert_non_null(damaged);
        memcpy(damaged, bytes, n);
        if (i % 3) damaged[at] = (char)test_integer(&random, 256);
        else memcpy(damaged + at, with, strlen(with));
        write_file(copy, damaged, n);
        free(damaged);
        Tokenizer tk;
        err = (Err){0};
        if (tokenizer_load(&tk, copy, &err)) {
            assert_int_equal(err.status, 2);
            refused++;
        } else {
            TokenList ids = {0};
            if (tokenizer_encode(&tk, &ids, "It's a <|endoftext|> film!", 26, &err)) assert_int_equal(err.status, 2);
            tokens_free(&ids);
            tokenizer_free(&tk);
        }
    }
    assert_true(refused > 200);
    remove_folder(folder);
    free(bytes), free(path), free(folder), free(copy);
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    Tokenizer tk;
    assert_input_error(tokenizer_load(&tk, "no/such/tokenizer.json", &err), &err, "no/such/tokenizer.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saves_the_bytes_that_hugging_face_tokenizers_saves),
        cmocka_unit_test(saving_keeps_what_decides_ids),
        cmocka_unit_test(reads_merges_in_the_older_spelling),
        cmocka_unit_test(accepts_settings_that_change_nothing),
        cmocka_unit_test(refuses_what_it_does_not_do_by_name),
        cmocka_unit_test(a_cut_file_is_an_input_error_at_every_length),
        cmocka_unit_test(a_damaged_file_never_does_harm),
        cmocka_unit_test(a_missing_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
