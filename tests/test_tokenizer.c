// SPDX-License-Identifier: MIT
/* test_tokenizer.c - ids against Hugging Face tokenizers 0.23.3 (constants and tests/golden/bpe-imdb-2048), bytes back unchanged,
 * and tokenizers built from parts. Files are in test_tokenizer_file.c, training in test_tokenizer_train.c. */
#include "tests/support_model.h"

#include "files/jsonl.h"
#include "files/unicode.h"
#include "tokenizer_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Err err;

static void assert_ids(const Tokenizer *tk, const char *text, size_t length, const uint32_t *want, size_t n)
{
    TokenList ids = {0};
    Text back = {0};
    assert_ok(tokenizer_encode(tk, &ids, text, length, &err), &err);
    for (size_t i = 0; i < n && i < ids.length; i++)
        if (ids.ids[i] != want[i])
            fail_msg("\"%.*s\": id %zu is %u, expected %u", (int)length, text, i, (unsigned)ids.ids[i], (unsigned)want[i]);
    if (ids.length != n) fail_msg("\"%.*s\": %zu ids, expected %zu", (int)length, text, ids.length, n);
    assert_ok(tokenizer_decode(tk, &back, ids.ids, ids.length, &err), &err);
    assert_int_equal(back.length, length);
    assert_memory_equal(back.data, text, length);
    tokens_free(&ids);
    text_free(&back);
}

// ---- ids -------------------------------------------------------------------------------------------------------------------

static size_t check_rows(const Tokenizer *tk, const char *path, size_t skip)
{
    JsonLines in;
    json_t *line;
    size_t row = 0;
    int got;
    assert_ok(jsonl_open(&in, path, &err), &err);
    while ((got = jsonl_next(&in, &line, &err)) == 1) {
        const char *text;
        size_t length;
        TokenList want = {0};
        assert_ok(json_get_string(line, "text", &text, &length, in.where, &err), &err);
        assert_ok(json_get_tokens(line, "ids", &want, in.where, &err), &err);
        if (row++ >= skip) assert_ids(tk, text, length, want.ids, want.length);
        tokens_free(&want);
        json_decref(line);
    }
    assert_ok(got, &err);
    jsonl_close(&in);
    return row;
}

static void gives_the_ids_of_hugging_face_tokenizers(void **state)
{
    (void)state;
    Tokenizer tk;
    char *path = golden_path("bpe-imdb-2048/encodings.jsonl");
    golden_tokenizer(&tk);
    assert_int_equal(check_rows(&tk, path, 0), 31);
    free(path);
    tokenizer_free(&tk);
}

static void gives_the_ids_of_hugging_face_tokenizers_on_reviews(void **state)
{
    (void)state;
    Tokenizer tk;
    char *path = shared_path("fixtures/bpe-imdb-2048/encodings.jsonl");
    if (!path) skip_because("review excerpts: fixtures/bpe-imdb-2048/encodings.jsonl is not in $RAFT_SHARED or ../shared");
    golden_tokenizer(&tk);
    assert_int_equal(check_rows(&tk, path, 31), 71);
    free(path);
    tokenizer_free(&tk);
}

typedef struct { const char *text; uint32_t ids[16]; size_t n; } Row;

static void check_table(const Tokenizer *tk, const Row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) assert_ids(tk, rows[i].text, strlen(rows[i].text), rows[i].ids, rows[i].n);
}

static void splits_off_each_digit_when_the_file_says_so(void **state)
{
    (void)state;
    // The golden vocabulary behind Sequence [Digits(individual_digits=True), ByteLevel], ids from tokenizers 0.23.3.
    static const Row rows[] = {
        {"a1b22 c", {65, 17, 66, 18, 18, 275}, 6},
        {"3.14", {19, 14, 17, 20}, 4},
        {" 42", {221, 20, 18}, 3},
        {"  7", {221, 221, 23}, 3},
        {"v2's", {86, 18, 326}, 3},
        {"１２ ²x", {172, 121, 240, 172, 121, 241, 221, 127, 111, 88}, 10},
        {"in 1999 was", {260, 221, 17, 25, 25, 25, 334}, 7},
        {"x  9\n8 ", {88, 221, 221, 25, 199, 24, 221}, 7},
        {"Ⅷ٣5th", {159, 228, 101, 150, 97, 21, 437}, 7},
        {"007's 's", {16, 16, 23, 326, 688, 83}, 6},
        {"10/10!!! 3 2 1", {17, 16, 15, 17, 16, 818, 1, 221, 19, 221, 18, 221, 17}, 13},
        {"It's 1 o'clock", {1157, 326, 221, 17, 265, 7, 67, 76, 900}, 9},
    };
    Tokenizer tk, plain;
    golden_tokenizer(&plain);
    edited_tokenizer(&tk, "\"pre_tokenizer\": {", "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": ["
        "{\"type\": \"Digits\", \"individual_digits\": true}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false}]}, \"unused\": {");
    assert_true(tk.split == SPLIT_DIGITS && plain.split == SPLIT_GPT2);
    assert_true(tokenizer_hash(&tk) != tokenizer_hash(&plain));
    check_table(&tk, rows, sizeof rows / sizeof rows[0]);
    tokenizer_free(&tk);
    tokenizer_free(&plain);
}

#define ADDED(id, text, special) \
    "{\"id\": " #id ", \"content\": \"" text "\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false," \
    "\"normalized\": false, \"special\": " #special "},"
#define ADDED_TOKENS "\"added_tokens\": [" ADDED(2048, "<|end|>", true) ADDED(2049, "<|end", true) ADDED(2050, "the cat", false) \
    ADDED(2051, "日", true) ADDED(2052, "\\n\\n", true)

static void matches_special_tokens_first_leftmost_then_longest(void **state)
{
    (void)state;
    static const Row rows[] = { // ids from tokenizers 0.23.3
        {"<|end|>", {2048}, 1},
        {"<|endoftext|>", {0}, 1},
        {"<|end", {2049}, 1},
        {"<|en", {28, 92, 276}, 3},
        {"a<|end|><|endoftext|>b", {65, 2048, 0, 66}, 4},
        {"one  <|end|>  two", {444, 221, 221, 2048, 221, 740}, 6},
        {"<<|end|>>", {28, 2048, 30}, 3},
        {"on the cats's", {281, 221, 2050, 83, 326}, 5},
        {"日日本", {2051, 2051, 163, 251, 106}, 5},
        {"x\n\n\ny \n\n z", {88, 2052, 199, 89, 221, 2052, 1446}, 7},
        {"<|end<|end|>", {2049, 2048}, 2},
        {"the  the cat", {879, 221, 221, 2050}, 4},
    };
    Tokenizer tk;
    edited_tokenizer(&tk, "\"added_tokens\": [", ADDED_TOKENS);
    assert_int_equal(tk.vocab, 2053);
    check_table(&tk, rows, sizeof rows / sizeof rows[0]);
    assert_int_equal(tokenizer_find(&tk, "<|end|>"), 2048);
    assert_int_equal(tokenizer_find(&tk, "<|endoftext|>"), 0);
    assert_int_equal(tokenizer_find(&tk, "<|en"), -1);
    assert_int_equal(tokenizer_find(&tk, "the"), -1); // an ordinary token
    tokenizer_free(&tk);
}

// The merges in order of rank, each applied everywhere once: not how the library does it.
typedef struct { json_t *document; size_t count; } Merges;

static size_t slow_merge(const Merges *merges, const Tokenizer *tk, uint32_t *ids, size_t n)
{
    json_t *model = json_object_get(merges->document, "model");
    json_t *vocab = json_object_get(model, "vocab"), *list = json_object_get(model, "merges");
    for (size_t rank = 0; rank < merges->count; rank++) {
        const char *left = json_string_value(json_array_get(json_array_get(list, rank), 0));
        const char *right = json_string_value(json_array_get(json_array_get(list, rank), 1));
        uint32_t a = (uint32_t)json_integer_value(json_object_get(vocab, left));
        uint32_t b = (uint32_t)json_integer_value(json_object_get(vocab, right));
        size_t kept = 0;
        for (size_t i = 0; i < n; i++, kept++) {
            bool both = i + 1 < n && ids[i] == a && ids[i + 1] == b;
            ids[kept] = both ? 257 + (uint32_t)rank : ids[i]; // every merge of the golden file made the next id
            i += both;
        }
        n = kept;
    }
    assert_true(tk->vocab == 257 + merges->count);
    return n;
}

static void merges_pieces_of_every_length_by_rank(void **state)
{
    (void)state;
    Tokenizer tk;
    char *path = golden_tokenizer_path();
    Merges merges = {.document = json_load_document(path, &err)};
    assert_non_null(merges.document);
    merges.count = json_array_size(json_object_get(json_object_get(merges.document, "model"), "merges"));
    golden_tokenizer(&tk);
    TestRandom random = {11};
    for (size_t length = 1; length < 400; length += length < 70 ? 1 : 37) {
        char text[400];
        uint32_t want[400], byte_ids[128];
        for (uint32_t i = 0; i < tk.vocab; i++)
            if (tk.tokens[i].length == 1 && tk.tokens[i].bytes[0] > 0) byte_ids[(int)tk.tokens[i].bytes[0]] = i;
        static const char *const alphabets[] = {"etaoinshrdlu", "lost", "eeeeeeeeeeeeeeer", "s"}; // runs: the leftmost among equals
        const char *letters = alphabets[length % 4];
        for (size_t i = 0; i < length; i++) {
            text[i] = letters[test_integer(&random, (uint32_t)strlen(letters))];
            want[i] = byte_ids[(int)text[i]];
        }
        size_t n = slow_merge(&merges, &tk, want, length);
        assert_ids(&tk, text, length, want, n);
    }
    tokenizer_free(&tk);
    json_decref(merges.document);
    free(path);
}

// ---- bytes -----------------------------------------------------------------------------------------------------------------

static void random_text(Text *text, TestRandom *random)
{
    static const char *const words[] = {" ", "  ", "\n", "\t", "'s", "'", "the", " film", "<|endoftext|>", "<|end", "12", "\xFF",
        "\xE2\x82", "\xC0\x80", "\xED\xA0\x80", "日本", "é", "\xC2\xA0", "!", "aaaaaaaaaaaaaaaa", "\0"};
    enum { WORDS = sizeof words / sizeof words[0] };
    uint32_t n = test_integer(random, 60), kind = test_integer(random, 3);
    text->length = 0;
    for (uint32_t i = 0; i < n; i++) {
        char c[4] = {(char)test_integer(random, 256)};
        size_t length = kind == 1 ? utf8_put(c, test_integer(random, 0x110000)) : 1;
        uint32_t w = test_integer(random, WORDS);
        if (kind == 2) assert_ok(text_add(text, &err, words[w], w + 1 == WORDS ? 1 : strlen(words[w])), &err);
        else assert_ok(text_add(text, &err, c, length), &err);
    }
    assert_ok(text_add(text, &err, "", 0), &err);
}

static void any_bytes_come_back_unchanged(void **state)
{
    (void)state;
    Tokenizer tk[2];
    TestRandom random = {5};
    Text text = {0}, back = {0};
    TokenList ids = {0};
    golden_tokenizer(&tk[0]);
    edited_tokenizer(&tk[1], "\"added_tokens\": [", ADDED_TOKENS);
    tk[1].split = SPLIT_DIGITS;
    for (int i = 0; i < 20000; i++) {
        random_text(&text, &random);
        ids.length = back.length = 0;
        assert_ok(tokenizer_encode(&tk[i % 2], &ids, text.data, text.length, &err), &err);
        assert_ok(tokenizer_decode(&tk[i % 2], &back, ids.ids, ids.length, &err), &err);
        assert_int_equal(back.length, text.length);
        assert_memory_equal(back.data, text.data, text.length);
    }
    text_free(&text);
    text_free(&back);
    tokens_free(&ids);
    tokenizer_free(&tk[0]);
    tokenizer_free(&tk[1]);
}

static void reads_nothing_beyond_the_text(void **state)
{
    (void)state;
    Tokenizer tk;
    golden_tokenizer(&tk);
    TokenList whole = {0}, cut = {0};
    const char text[] = "It was a wonderful film, wasn't it? \xE2\x80\x94 yes";
    for (size_t n = 0; n < sizeof text; n++) { // the same whether the text ends there or, in an exact copy, memory does
        char *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, text, n);
        whole.length = cut.length = 0;
        assert_ok(tokenizer_encode(&tk, &whole, text, n, &err) || tokenizer_encode(&tk, &cut, copy, n, &err), &err);
        assert_int_equal(whole.length, cut.length);
        if (n) assert_memory_equal(whole.ids, cut.ids, whole.length * sizeof *whole.ids);
        free(copy);
    }
    tokens_free(&whole);
    tokens_free(&cut);
    tokenizer_free(&tk);
}

static void encodes_many_texts_as_one_by_one(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    Tokenizer tk;
    TestRandom random = {9};
    Text texts[COUNT] = {{0}};
    TextView views[COUNT];
    TokenList lists[COUNT] = {{0}}, one = {0};
    golden_tokenizer(&tk);
    for (int i = 0; i < COUNT; i++) {
        random_text(&texts[i], &random);
        views[i] = (TextView){texts[i].data, texts[i].length};
        assert_ok(tokens_add(&lists[i], &err, (uint32_t)i), &err); // appended to
    }
    assert_ok(tokenizer_encode_all(&tk, lists, views, COUNT, &err), &err);
    for (int i = 0; i < COUNT; i++) {
        one.length = 0;
        assert_ok(tokenizer_encode(&tk, &one, texts[i].data, texts[i].length, &err), &err);
        assert_int_equal(lists[i].length, one.length + 1);
        assert_int_equal(lists[i].ids[0], i);
        if (one.length) assert_memory_equal(lists[i].ids + 1, one.ids, one.length * sizeof *one.ids);
        tokens_free(&lists[i]);
        text_free(&texts[i]);
    }
    tokens_free(&one);
    tokenizer_free(&tk);
}

// Long texts are encoded with a cache of pieces: pieces that share its slots, and pieces of too many tokens for one, must
// not disturb each other.
static void a_long_text_gives_the_ids_of_its_words(void **state)
{
    (void)state;
    enum { WORDS = 20000, REPEATS = 40000 };
    static char words[WORDS][18];
    Tokenizer tk;
    TestRandom random = {31};
    Text joined = {0};
    TokenList one = {0}, parts = {0};
    golden_tokenizer(&tk);
    for (int i = 0; i < WORDS; i++) {
        const char *letters = i % 2 ? "qzxjkvw" : "esrtna";
        size_t length = 2 + test_integer(&random, 15);
        words[i][0] = ' ';
        for (size_t k = 1; k < length; k++) words[i][k] = letters[test_integer(&random, i % 2 ? 7 : 6)];
    }
    for (int i = 0; i < REPEATS; i++) {
        const char *word = words[test_integer(&random, WORDS)];
        assert_ok(text_puts(&joined, &err, word) || tokenizer_encode(&tk, &parts, word, strlen(word), &err), &err);
    }
    assert_ok(tokenizer_encode(&tk, &one, joined.data, joined.length, &err), &err);
    assert_int_equal(one.length, parts.length);
    assert_memory_equal(one.ids, parts.ids, one.length * sizeof *one.ids);
    tokens_free(&one);
    tokens_free(&parts);
    text_free(&joined);
    tokenizer_free(&tk);
}

static void decoding_refuses_ids_outside_the_vocabulary(void **state)
{
    (void)state;
    Tokenizer tk;
    Text text = {0};
    golden_tokenizer(&tk);
    int status = tokenizer_decode(&tk, &text, (uint32_t[]){7, 2048}, 2, &err);
    assert_input_error(status, &err, "token 1 is 2048, but the vocabulary has 2048");
    assert_int_equal(text.length, 0);
    assert_ok(tokenizer_decode(&tk, &text, NULL, 0, &err), &err);
    assert_string_equal(text.data, "");
    text_free(&text);
    tokenizer_free(&tk);
}

// ---- parts -----------------------------------------------------------------------------------------------------------------

#define VIEW(text) {text, sizeof text - 1}

static void builds_from_parts_and_names_a_byte_without_a_token(void **state)
{
    (void)state;
    static const TextView tokens[] = {VIEW("<s>"), VIEW("a"), VIEW("b"), VIEW("Ġ"), VIEW("ab"), VIEW("Ġab"), VIEW("ba")};
    static const bool special[7] = {true};
    static const TokenizerMerge merges[] = {{VIEW("a"), VIEW("b")}, {VIEW("Ġ"), VIEW("ab")}};
    Tokenizer tk;
    TokenizerParts parts = {.vocab = 7, .tokens = tokens, .special = special, .merge_count = 2, .merges = merges};
    assert_ok(tokenizer_build(&tk, &parts, "model.gguf", &err), &err);
    assert_ids(&tk, "ab ab<s>ba", 10, (uint32_t[]){4, 5, 0, 2, 1}, 5); // "ba" is a token that no merge reaches
    TokenList ids = {0};
    assert_ok(tokens_add(&ids, &err, 3), &err);
    int status = tokenizer_encode(&tk, &ids, "ab abc ab", 9, &err);
    assert_input_error(status, &err, "bytes 2 to 6 of the text: the vocabulary has no token for the byte 0x63");
    assert_int_equal(ids.length, 1);
    tokens_free(&ids);
    TokenList lists[3] = {{0}};
    TextView texts[3] = {VIEW("ab"), VIEW("aXb"), VIEW("aYb")};
    status = tokenizer_encode_all(&tk, lists, texts, 3, &err);
    assert_input_error(status, &err, "text 1: bytes 0 to 3 of the text: the vocabulary has no token for the byte 0x58");
    for (int i = 0; i < 3; i++) tokens_free(&lists[i]);
    tokenizer_free(&tk);
    tokenizer_free(&tk); // once more does nothing

    static const TextView twice[] = {VIEW("a"), VIEW("b"), VIEW("a")};
    parts = (TokenizerParts){.vocab = 3, .tokens = twice, .special = special};
    assert_input_error(tokenizer_build(&tk, &parts, "model.gguf", &err), &err, "model.gguf: tokens 0 and 2 are the same: \"a\"");
    parts.vocab = 0;
    assert_input_error(tokenizer_build(&tk, &parts, "model.gguf", &err), &err, "model.gguf: 0 tokens");
}

static uint64_t built_hash(const TokenizerParts *parts)
{
    Tokenizer tk;
    assert_ok(tokenizer_build(&tk, parts, "parts", &err), &err);
    uint64_t hash = tokenizer_hash(&tk);
    tokenizer_free(&tk);
    return hash;
}

static void the_hash_is_of_everything_that_decides_ids(void **state)
{
    (void)state;
    static const TextView tokens[] = {VIEW("a"), VIEW("b"), VIEW("ab"), VIEW("ba")};
    static const TextView swapped[] = {VIEW("b"), VIEW("a"), VIEW("ab"), VIEW("ba")};
    static const bool special[4] = {false}, other[4] = {false, false, false, true};
    static const TokenizerMerge merges[] = {{VIEW("a"), VIEW("b")}, {VIEW("b"), VIEW("a")}, {VIEW("a"), VIEW("b")}};
    TokenizerParts parts[7];
    uint64_t hashes[7];
    for (int i = 0; i < 7; i++) parts[i] = (TokenizerParts){.vocab = 4, .merge_count = 2, .tokens = tokens, .special = special, .merges = merges};
    parts[1].vocab = 3, parts[1].merge_count = 1;
    parts[2].merge_count = 1;
    parts[3].merges = merges + 1; // the same two the other way round
    parts[4].tokens = swapped;
    parts[5].special = other;
    parts[6].split = SPLIT_DIGITS;
    for (int i = 0; i < 7; i++) {
        hashes[i] = built_hash(&parts[i]);
        assert_true(built_hash(&parts[i]) == hashes[i]);
        for (int k = 0; k < i; k++)
            if (hashes[i] == hashes[k]) fail_msg("parts %d and %d have the same hash", i, k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_ids_of_hugging_face_tokenizers),
        cmocka_unit_test(gives_the_ids_of_hugging_face_tokenizers_on_reviews),
        cmocka_unit_test(splits_off_each_digit_when_the_file_says_so),
        cmocka_unit_test(matches_special_tokens_first_leftmost_then_longest),
        cmocka_unit_test(merges_pieces_of_every_length_by_rank),
        cmocka_unit_test(any_bytes_come_back_unchanged),
        cmocka_unit_test(reads_nothing_beyond_the_text),
        cmocka_unit_test(encodes_many_texts_as_one_by_one),
        cmocka_unit_test(a_long_text_gives_the_ids_of_its_words),
        cmocka_unit_test(decoding_refuses_ids_outside_the_vocabulary),
        cmocka_unit_test(builds_from_parts_and_names_a_byte_without_a_token),
        cmocka_unit_test(the_hash_is_of_everything_that_decides_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
