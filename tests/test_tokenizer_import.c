// SPDX-License-Identifier: MIT
/* test_tokenizer_import.c - the patterns of Llama 3 and Qwen 2, SentencePiece vocabularies, GGUF arrays and tokenizer.bin. Ids were
 * computed once with Hugging Face tokenizers 0.23.3 from the same files; those of stories260K agree with llama2.c's own search. */
#include "tests/support.h"

#include "files/gguf_model.h"
#include "files/jsonl.h"
#include "tokenizer_build.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Err err;

typedef struct { const char *text; uint32_t ids[24]; size_t n; } Row;

static void assert_ids(const Tokenizer *tk, const char *text, const uint32_t *want, size_t n, bool plain)
{
    TokenList ids = {0};
    int status = plain ? tokenizer_encode_plain(tk, &ids, text, strlen(text), &err) : tokenizer_encode(tk, &ids, text, strlen(text), &err);
    assert_ok(status, &err);
    for (size_t i = 0; i < n && i < ids.length; i++)
        if (ids.ids[i] != want[i]) fail_msg("\"%s\": id %zu is %u, expected %u", text, i, (unsigned)ids.ids[i], (unsigned)want[i]);
    if (ids.length != n) fail_msg("\"%s\": %zu ids, expected %zu", text, ids.length, n);
    tokens_free(&ids);
}

static void assert_rows(const Tokenizer *tk, const Row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) assert_ids(tk, rows[i].text, rows[i].ids, rows[i].n, false);
}

// The golden vocabulary of 2048 tokens with another value under "key" (and under model.key), written to a fresh file and read.
static int load_with(Tokenizer *tk, const char *key, const char *value, bool in_model)
{
    char *path = golden_path("bpe-imdb-2048/tokenizer.json"), *folder = temporary_folder(), *copy = path_in(folder, "tokenizer.json");
    if (!path) fail_msg("tests/golden/bpe-imdb-2048/tokenizer.json is missing; run from the project's folder");
    json_t *document = json_load_document(path, &err), *json = json_loads(value, JSON_DECODE_ANY, NULL);
    assert_non_null(document);
    if (!json) fail_msg("not JSON: %s", value);
    json_object_set_new(in_model ? json_object_get(document, "model") : document, key, json);
    Text out = {0};
    assert_ok(json_write(&out, document, &err), &err);
    write_file(copy, out.data, out.length);
    int status = tokenizer_load(tk, copy, &err);
    text_free(&out);
    json_decref(document);
    remove_folder(folder);
    free(path), free(folder), free(copy);
    return status;
}

static void save_and_load(Tokenizer *again, const Tokenizer *tk)
{
    char *folder = temporary_folder(), *path = path_in(folder, "tokenizer.json");
    assert_ok(tokenizer_save(tk, path, &err) || tokenizer_load(again, path, &err), &err);
    assert_true(tokenizer_hash(tk) == tokenizer_hash(again));
    assert_int_equal(tk->first, again->first);
    remove_folder(folder);
    free(folder), free(path);
}

// ---- patterns --------------------------------------------------------------------------------------------------------------

#define SPLIT_BY(numbers, space) \
    "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(?i:'s|'t|'re|'ve|'m|'ll|'d)|" \
    "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" numbers "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, " \
    "\"behavior\": \"Isolated\", \"invert\": false}, {\"type\": \"ByteLevel\", \"add_prefix_space\": " space ", \"use_regex\": false}]}"

static void cuts_by_the_patterns_of_llama_3_and_qwen_2(void **state)
{
    (void)state;
    static const Row rows[] = {
        {"I'VE don'T it'ſ", {41, 7, 54, 37, 675, 7, 52, 308, 7, 130, 124}, 11},
        {"what?!\r\n\r\nyes", {87, 669, 31, 1, 202, 199, 202, 199, 89, 277}, 10},
        {"(great)\tfilm", {8, 71, 502, 9, 198, 70, 343}, 7},
        {"  two \n\n three", {221, 740, 762, 199, 1366}, 5},
        {"a\u00a0b", {65, 127, 255, 66}, 4},
        {"x = 3.14;\n\n", {88, 221, 29, 221, 19, 14, 17, 20, 27, 199, 199}, 11},
        {"'sample 'S", {326, 350, 594, 688, 51}, 5},
        {"\n \n the", {199, 762, 261}, 3},
        {"²²²² Ⅷ٣5th", {127, 111, 127, 111, 127, 111, 127, 111, 221, 159, 228, 101, 150, 97, 21, 437}, 16},
    };
    static const Row threes[] = {{"1234567 in 1999", {17, 18, 19, 20, 21, 22, 23, 293, 221, 1922, 25, 25}, 12}};
    static const Row ones[] = {{"1234567 in 1999", {17, 18, 19, 20, 21, 22, 23, 293, 221, 17, 25, 25, 25}, 13}};
    Tokenizer llama, qwen, again;
    assert_ok(load_with(&llama, "pre_tokenizer", SPLIT_BY("\\\\p{N}{1,3}", "false"), false), &err);
    assert_ok(load_with(&qwen, "pre_tokenizer", SPLIT_BY("\\\\p{N}", "false"), false), &err);
    assert_int_equal(llama.split, SPLIT_LLAMA3);
    assert_int_equal(qwen.split, SPLIT_QWEN2);
    assert_rows(&llama, rows, sizeof rows / sizeof *rows);
    assert_rows(&qwen, rows, sizeof rows / sizeof *rows);
    assert_rows(&llama, threes, 1);
    assert_rows(&qwen, ones, 1);
    save_and_load(&again, &qwen);
    tokenizer_free(&again), tokenizer_free(&llama), tokenizer_free(&qwen);
}

static void numbers_are_cut_in_threes_from_the_left(void **state)
{
    (void)state;
    static const TextView tokens[] = {{"1", 1}, {"11", 2}, {"111", 3}, {"1111", 4}};
    static const bool special[4] = {false};
    static const TokenizerMerge merges[] = {{{"1", 1}, {"1", 1}}, {{"11", 2}, {"1", 1}}, {{"11", 2}, {"11", 2}}};
    TokenizerParts parts = {.vocab = 4, .tokens = tokens, .special = special, .merges = merges, .merge_count = 3, .split = SPLIT_LLAMA3};
    Tokenizer tk;
    assert_ok(tokenizer_build(&tk, &parts, "parts", &err), &err);
    assert_ids(&tk, "11111111", (uint32_t[]){2, 2, 1}, 3, false);
    assert_ids(&tk, "1111", (uint32_t[]){2, 0}, 2, false);
    tokenizer_free(&tk);
    parts.split = SPLIT_QWEN2;
    assert_ok(tokenizer_build(&tk, &parts, "parts", &err), &err);
    assert_ids(&tk, "111", (uint32_t[]){0, 0, 0}, 3, false);
    tokenizer_free(&tk);
}

static void a_piece_that_is_a_token_is_not_merged_when_the_file_says_so(void **state)
{
    (void)state;
    static const TextView tokens[] = {{"a", 1}, {"b", 1}, {"ab", 2}, {"aba", 3}, {"abababababababababab", 20}, {"Ġ", 2}};
    static const bool special[6] = {false};
    static const TokenizerMerge merges[] = {{{"a", 1}, {"b", 1}}};
    TokenizerParts parts = {.vocab = 6, .tokens = tokens, .special = special, .merges = merges, .merge_count = 1};
    Tokenizer merging, not_merging, again;
    assert_ok(tokenizer_build(&merging, &parts, "parts", &err), &err);
    parts.ignore_merges = true;
    assert_ok(tokenizer_build(&not_merging, &parts, "parts", &err), &err);
    assert_true(tokenizer_hash(&merging) != tokenizer_hash(&not_merging));
    assert_ids(&merging, "aba", (uint32_t[]){2, 0}, 2, false);
    assert_ids(&not_merging, "aba", (uint32_t[]){3}, 1, false);
    assert_ids(&not_merging, "abab", (uint32_t[]){2, 2}, 2, false);
    assert_ids(&merging, "abababababababababab", (uint32_t[]){2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, 10, false);
    assert_ids(&not_merging, "abababababababababab", (uint32_t[]){4}, 1, false);
    save_and_load(&again, &not_merging);
    tokenizer_free(&again), tokenizer_free(&merging), tokenizer_free(&not_merging);
}

static void refuses_other_patterns_and_settings_by_name(void **state)
{
    (void)state;
    static const struct { const char *key, *value, *message; bool in_model; } cases[] = {
        {"pre_tokenizer", SPLIT_BY("\\\\p{N}{1,2}", "false"), "key \"pre_tokenizer.pretokenizers[0]\": expected type \"Split\"", false},
        {"pre_tokenizer", SPLIT_BY("\\\\p{N}", "true"), "key \"pre_tokenizer.pretokenizers[0]\"", false},
        {"pre_tokenizer", "{\"type\": \"Metaspace\"}", "found {\"type\":\"Metaspace\"}", false},
        {"normalizer", "{\"type\": \"NFC\"}",
            "key \"normalizer\": expected null (this setting is not supported), found {\"type\":\"NFC\"}", false},
        {"byte_fallback", "true", "key \"normalizer\": expected with byte_fallback: a Sequence of Prepend", true},
        {"post_processor", "{\"type\": \"BertProcessing\"}", "key \"post_processor\"", false},
        {"post_processor", "{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"A\"}}, {\"SpecialToken\": "
            "{\"id\": \"<|endoftext|>\"}}]}", "one token before the text", false},
        {"post_processor", "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"the\"}}, {\"Sequence\": "
            "{\"id\": \"A\"}}]}", "\"the\" is none of the added tokens", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Tokenizer tk;
        int status = load_with(&tk, cases[i].key, cases[i].value, cases[i].in_model);
        if (!status) fail_msg("accepted: %s", cases[i].value);
        assert_input_error(status, &err, cases[i].message);
    }
}

static void keeps_the_token_that_stands_before_every_text(void **state)
{
    (void)state;
    Tokenizer tk, again;
    assert_ok(load_with(&tk, "post_processor", "{\"type\": \"Sequence\", \"processors\": [{\"type\": \"ByteLevel\"}, "
        "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<|endoftext|>\", \"type_id\": 0}}, "
        "{\"Sequence\": {\"id\": \"A\"}}]}]}", false), &err);
    assert_int_equal(tk.first, 0);
    assert_ids(&tk, "a", (uint32_t[]){65}, 1, false); // which the caller puts there:
    TokenList prompt = {0};
    assert_ok(tokenizer_encode_prompt(&tk, &prompt, "a", 1, &err), &err);
    assert_int_equal(prompt.length, 2);
    assert_memory_equal(prompt.ids, ((uint32_t[]){0, 65}), 2 * sizeof(uint32_t));
    tokens_free(&prompt);
    save_and_load(&again, &tk);
    tokenizer_free(&again), tokenizer_free(&tk);
}

// ---- special tokens ----------------------------------------------------------------------------------------------------------

static void control_tokens_are_matched_only_when_asked(void **state)
{
    (void)state;
    static const TextView tokens[] = {{"<|a|>", 5}, {"<b>", 3}, {"<", 1}, {"|", 1}, {"a", 1}, {">", 1}, {"b", 1}};
    static const int32_t types[] = {3, 4, 1, 1, 1, 1, 1};
    GgufVocabulary v = {.model = "gpt2", .pre = "gpt-2", .vocab = 7, .tokens = tokens, .types = types, .bos = -1};
    Tokenizer tk;
    assert_ok(tokenizer_from_gguf(&tk, &v, "model.gguf", &err), &err);
    assert_ids(&tk, "a<|a|><b>", (uint32_t[]){4, 0, 1}, 3, false);
    assert_ids(&tk, "a<|a|><b>", (uint32_t[]){4, 2, 3, 4, 3, 5, 1}, 7, true); // a user-defined token is no control token
    tokenizer_free(&tk);
}

// ---- GGUF ------------------------------------------------------------------------------------------------------------------

static void reads_the_arrays_of_a_gguf_file(void **state)
{
    (void)state;
    static const TextView tokens[] = {{"<s>", 3}, {"1", 1}, {"2", 1}, {"12", 2}, {"b", 1}, {"1b", 2}};
    static const int32_t types[] = {3, 1, 1, 1, 1, 1};
    static const TextView merges[] = {{"1 2", 3}, {"1 b", 3}};
    GgufVocabulary v = {.model = "gpt2", .pre = "smollm", .vocab = 6, .merge_count = 2, .tokens = tokens, .types = types,
        .merges = merges, .bos = 0, .add_bos = true};
    Tokenizer tk;
    assert_ok(tokenizer_from_gguf(&tk, &v, "model.gguf", &err), &err);
    assert_int_equal(tk.split, SPLIT_DIGITS);
    assert_int_equal(tk.first, 0);
    assert_ids(&tk, "12<s>", (uint32_t[]){1, 2, 0}, 3, false);
    tokenizer_free(&tk);
    v.pre = "llama-bpe";
    assert_ok(tokenizer_from_gguf(&tk, &v, "model.gguf", &err), &err);
    assert_int_equal(tk.split, SPLIT_LLAMA3);
    assert_ids(&tk, "12b", (uint32_t[]){3, 4}, 2, false);
    tokenizer_free(&tk);
}

static void refuses_gguf_arrays_that_it_cannot_follow(void **state)
{
    (void)state;
    static const TextView tokens[] = {{"a", 1}, {"b", 1}, {"ab", 2}}, merge = {"a b", 3}, bad_merge = {"ab", 2};
    static const int32_t types[] = {1, 1, 7};
    static const float scores[] = {0, 0, NAN};
    const GgufVocabulary good = {.model = "gpt2", .pre = "gpt-2", .vocab = 3, .merge_count = 1, .tokens = tokens, .merges = &merge, .bos = -1};
    GgufVocabulary bad[8];
    for (size_t i = 0; i < 8; i++) bad[i] = good;
    bad[0].model = "t5";
    bad[1].pre = "tekken";
    bad[2].pre = NULL;
    bad[3].types = types;
    bad[4].merges = &bad_merge;
    bad[5].add_bos = true;
    bad[6].model = "llama";
    bad[7].model = "llama", bad[7].add_space_prefix = true, bad[7].scores = scores;
    static const char *const messages[] = {"tokenizer.ggml.model \"t5\" is not supported (gpt2, llama)",
        "tokenizer.ggml.pre \"tekken\" is not supported", "tokenizer.ggml.pre absent", "token_type[2] is 7", "merges[0], \"ab\"",
        "bos_token_id is not one of 3 tokens", "add_space_prefix", "the score of token 2 is not finite"};
    Tokenizer tk;
    assert_ok(tokenizer_from_gguf(&tk, &good, "model.gguf", &err), &err);
    tokenizer_free(&tk);
    for (size_t i = 0; i < 8; i++) assert_input_error(tokenizer_from_gguf(&tk, &bad[i], "model.gguf", &err), &err, messages[i]);
}

// ---- SentencePiece -----------------------------------------------------------------------------------------------------------

static void put_token(Text *out, float score, const char *token)
{
    unsigned char head[8];
    uint32_t bits, length = (uint32_t)strlen(token);
    memcpy(&bits, &score, 4);
    for (int i = 0; i < 4; i++) head[i] = (unsigned char)(bits >> 8 * i), head[4 + i] = (unsigned char)(length >> 8 * i);
    assert_ok(text_add(out, &err, head, 8) || text_add(out, &err, token, length), &err);
}

// A tokenizer.bin of 3 special tokens, 256 bytes, then these (ids 259 onwards).
static void write_bin(Text *out, const char *const *tokens, const float *scores, size_t count)
{
    char byte[8];
    assert_ok(text_add(out, &err, "\10\0\0\0", 4), &err);
    put_token(out, 0, "<unk>"), put_token(out, 0, "\n<s>\n"), put_token(out, 0, "\n</s>\n");
    for (unsigned i = 0; i < 256; i++) snprintf(byte, sizeof byte, "<0x%02X>", i), put_token(out, 0, byte);
    for (size_t i = 0; i < count; i++) put_token(out, scores[i], tokens[i]);
}

static int load_bin(Tokenizer *tk, const void *bytes, size_t n)
{
    char *folder = temporary_folder(), *path = path_in(folder, "tokenizer.bin");
    write_file(path, bytes, n);
    int status = tokenizer_load_llama2c(tk, path, &err);
    remove_folder(folder);
    free(folder), free(path);
    return status;
}

enum { FIRST = 259 };
static const char *const small[] = {" ", "a", "b", "ab", " a", "bb", "é", " ab", "aé"};
static const float small_scores[] = {-9, -9, -9, -3, -2, -1, -9, -4, -5};

static void merges_the_best_score_first_and_falls_back_to_bytes(void **state)
{
    (void)state;
    static const Row rows[] = {
        {"", {0}, 0},
        {"ab", {FIRST + 7}, 1},                                  // " a" (-2) before "ab" (-3), then " ab"
        {"aab", {FIRST + 4, FIRST + 3}, 2},
        {"bab", {FIRST, FIRST + 2, FIRST + 3}, 3},
        {"abb", {FIRST + 4, FIRST + 5}, 2},
        {"a  b", {FIRST + 4, FIRST, FIRST, FIRST + 2}, 4},
        {"baé", {FIRST, FIRST + 2, FIRST + 8}, 3},
        {"z日", {FIRST, 3 + 'z', 3 + 0xE6, 3 + 0x97, 3 + 0xA5}, 5},
        {"a<s>a", {FIRST + 4, 1, FIRST + 4}, 3},                 // a stretch after a special token gets a space of its own
        {"▁a", {FIRST, FIRST + 4}, 2},                           // U+2581 is a space
    };
    Text bin = {0}, back = {0};
    Tokenizer tk, again;
    write_bin(&bin, small, small_scores, 9);
    assert_ok(load_bin(&tk, bin.data, bin.length), &err);
    assert_int_equal(tk.vocab, FIRST + 9);
    assert_int_equal(tk.first, 1);
    save_and_load(&again, &tk);
    assert_rows(&tk, rows, sizeof rows / sizeof *rows);
    assert_rows(&again, rows, sizeof rows / sizeof *rows);
    assert_ids(&tk, "<s>", (uint32_t[]){FIRST, 3 + '<', 3 + 's', 3 + '>'}, 4, true);
    assert_ok(tokenizer_decode(&tk, &back, (uint32_t[]){FIRST, 3 + 'z', 3 + 0xE6, FIRST + 4}, 4, &err), &err);
    assert_string_equal(back.data, "z\xE6 a"); // the space put first is gone, others stay
    text_free(&bin), text_free(&back);
    tokenizer_free(&tk), tokenizer_free(&again);
}

// Text is cut where a word begins only if no token spans such a place: both ways must give the ids of merging it whole.
static void a_token_across_words_is_found(void **state)
{
    (void)state;
    static const char *const across[] = {" ", "a", "b", "ab", " a", "bb", "é", " ab", "aé", "b ", "b a"};
    static const float scores[] = {-9, -9, -9, -3, -2, -1, -9, -4, -5, -0.5f, -0.2f};
    Text bin = {0};
    Tokenizer tk;
    write_bin(&bin, across, scores, 11);
    assert_ok(load_bin(&tk, bin.data, bin.length), &err);
    assert_ids(&tk, "ab ab", (uint32_t[]){FIRST + 4, FIRST + 10, FIRST + 2}, 3, false);
    text_free(&bin);
    tokenizer_free(&tk);
}

static void a_cut_or_inflated_tokenizer_bin_is_an_input_error(void **state)
{
    (void)state;
    char *folder = temporary_folder(), *path = path_in(folder, "tokenizer.bin");
    Text bin = {0};
    Tokenizer tk;
    size_t accepted = 0;
    write_bin(&bin, small, small_scores, 9);
    for (size_t n = 0; n < bin.length; n++) {
        write_file(path, bin.data, n);
        if (!tokenizer_load_llama2c(&tk, path, &err)) accepted++, tokenizer_free(&tk); // cut behind a token: a smaller vocabulary
        else assert_input_error(-1, &err, "tokenizer.bin");
    }
    assert_int_equal(accepted, FIRST + 8);
    remove_folder(folder);
    free(folder), free(path);
    memset(bin.data + 8, 0xFF, 4); // the first token's length
    assert_input_error(load_bin(&tk, bin.data, bin.length), &err, "token 0, at byte 4");
    text_free(&bin);
}

static void gives_the_ids_of_llama2c_on_stories(void **state)
{
    (void)state;
    static const Row rows[] = {
        {"Once upon a time, there was a little girl named Lily.",
            {403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426}, 15},
        {" a  b", {410, 261, 410, 268}, 4},
        {"日 <s>x</s> y", {410, 233, 154, 168, 410, 1, 410, 444, 2, 410, 348}, 11},
        {"▁", {410, 410}, 2},
        {"\n", {410, 13}, 2},
        {"a<0x0A>", {261, 504, 477, 444, 477, 447, 505}, 7},
        {"----- aaaa", {410, 464, 464, 464, 464, 464, 261, 412, 412, 412}, 10},
    };
    char *path = shared_path("models/stories260K/tok512.bin");
    Tokenizer tk;
    if (!path) skip_because("models/stories260K/tok512.bin is not in $RAFT_SHARED or ../shared");
    assert_ok(tokenizer_load_llama2c(&tk, path, &err), &err);
    assert_int_equal(tk.vocab, 512);
    assert_rows(&tk, rows, sizeof rows / sizeof *rows);
    tokenizer_free(&tk);
    free(path);
}

static void gives_the_ids_of_transformers_with_the_vocabulary_of_smollm2(void **state)
{
    (void)state;
    const char *model = getenv("RAFT_SMOLLM2");
    if (!model || !*model) skip_because("RAFT_SMOLLM2 is not set: it names SmolLM2's GGUF file (sh data/get_smollm2.sh)");
    char *path = shared_path("fixtures/smollm2-135m-instruct-q4_1/encodings.jsonl");
    if (!path) skip_because("fixtures/smollm2-135m-instruct-q4_1/encodings.jsonl is not in $RAFT_SHARED or ../shared");
    Gguf gguf;
    Tokenizer tk, again;
    JsonLines in;
    json_t *line;
    int got, rows = 0;
    assert_ok(gguf_open(&gguf, model, &err) || gguf_load_tokenizer(&tk, &gguf, &err) || jsonl_open(&in, path, &err), &err);
    save_and_load(&again, &tk);
    for (; (got = jsonl_next(&in, &line, &err)) == 1; rows++) {
        const char *text;
        size_t length; // one of the texts holds a NUL
        TokenList want = {0}, ids = {0};
        assert_ok(json_get_string(line, "text", &text, &length, in.where, &err), &err);
        assert_ok(json_get_tokens(line, "ids", &want, in.where, &err), &err);
        assert_ok(tokenizer_encode(rows % 2 ? &tk : &again, &ids, text, length, &err), &err);
        if (ids.length != want.length || (ids.length && memcmp(ids.ids, want.ids, ids.length * sizeof *ids.ids)))
            fail_msg("%s: other ids", in.where);
        tokens_free(&want), tokens_free(&ids);
        json_decref(line);
    }
    assert_ok(got, &err);
    assert_int_equal(rows, 55);
    jsonl_close(&in), gguf_close(&gguf);
    tokenizer_free(&tk), tokenizer_free(&again);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_by_the_patterns_of_llama_3_and_qwen_2),
        cmocka_unit_test(numbers_are_cut_in_threes_from_the_left),
        cmocka_unit_test(a_piece_that_is_a_token_is_not_merged_when_the_file_says_so),
        cmocka_unit_test(refuses_other_patterns_and_settings_by_name),
        cmocka_unit_test(keeps_the_token_that_stands_before_every_text),
        cmocka_unit_test(control_tokens_are_matched_only_when_asked),
        cmocka_unit_test(reads_the_arrays_of_a_gguf_file),
        cmocka_unit_test(refuses_gguf_arrays_that_it_cannot_follow),
        cmocka_unit_test(merges_the_best_score_first_and_falls_back_to_bytes),
        cmocka_unit_test(a_token_across_words_is_found),
        cmocka_unit_test(a_cut_or_inflated_tokenizer_bin_is_an_input_error),
        cmocka_unit_test(gives_the_ids_of_llama2c_on_stories),
        cmocka_unit_test(gives_the_ids_of_transformers_with_the_vocabulary_of_smollm2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
