// SPDX-License-Identifier: MIT
/* test_tokenizer_train.c - learned merges against Hugging Face tokenizers 0.23.3 and against a trainer that recounts everything
 * before each merge. */
#ifndef _WIN32
#define _POSIX_C_SOURCE 200809L // popen
#endif
#include "tests/support.h"

#include "base/os.h"
#include "tokenizer.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Err err;
static const char *const end_of_text[] = {"<|endoftext|>"};

#define VIEW(text) {text, sizeof text - 1}
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

// ---- known answers -----------------------------------------------------------------------------------------------------------

static void learns_the_merges_of_hugging_face_tokenizers(void **state)
{
    (void)state;
    // trainers.BpeTrainer(vocab_size=2000, min_frequency=0 or 2, special_tokens=["<s>", "</s>"],
    // initial_alphabet=ByteLevel.alphabet()), with and without Digits(individual_digits=True). Most choices are between equals.
    static const TextView texts[] = {
        VIEW("low low low low low lower lower newest newest newest newest newest newest widest widest widest"),
        VIEW("aaaa aaa aa a bababab"), VIEW("it's 12 o'clock, isn't it? 12!  naïve naïve"), VIEW("\n\n\t  tabs"),
    };
    static const char *const special[] = {"<s>", "</s>"};
    // Spaces within tokens as "_".
    static const char often[] = "es est lo _n low aa ew _low _new _newest ab dest idest widest _widest ";
    static const char digits_off[] = "12 a\xC3 er it ve \xAFve _aa _12 _na\xC3 _lower abab _na\xC3\xAFve ";
    static const char digits_on[] = "a\xC3 er it ve \xAFve _aa _na\xC3 _lower abab _na\xC3\xAFve ";
    static const char once[] = "'s 't babab ck clo is tab \t_ \n\n _a _o _it _babab _is _tab aaaa _aaa clock \n\n\t_ _bababab "
        "_isn _tabs ";
    for (int digits = 0; digits < 2; digits++) {
        for (size_t min_count = 0; min_count < 3; min_count++) {
            Tokenizer tk;
            TokenizerTraining how = {.vocab = 2000, .special = special, .special_count = 2};
            how.split_digits = digits;
            how.min_count = min_count;
            assert_ok(tokenizer_train(&tk, texts, COUNT(texts), &how, &err), &err);
            Text got = {0}, want = {0};
            for (size_t i = 258; i < tk.vocab; i++) {
                for (size_t k = 0; k < tk.tokens[i].length; k++) {
                    char c = tk.tokens[i].bytes[k];
                    assert_ok(text_add(&got, &err, c == ' ' ? "_" : &c, 1), &err);
                }
                assert_ok(text_puts(&got, &err, " "), &err);
            }
            assert_ok(text_puts(&want, &err, often) || text_puts(&want, &err, digits ? digits_on : digits_off)
                || text_puts(&want, &err, min_count < 2 ? once : ""), &err);
            assert_string_equal(got.data, want.data);
            assert_int_equal(tokenizer_find(&tk, "<s>"), 0);
            assert_int_equal(tokenizer_find(&tk, "</s>"), 1);
            text_free(&got);
            text_free(&want);
            tokenizer_free(&tk);
        }
    }
}

static void cuts_texts_where_hugging_face_tokenizers_does(void **state)
{
    (void)state;
    // Pieces between bars: ByteLevel(add_prefix_space=False) alone and in a Sequence after Digits(individual_digits=True).
    static const char *const rows[][2] = {
        {" ²| ½|x| １２| 3²٣", " |²| |½|x| |１|２| |3|²|٣"},
        {"I|'m| '|mm| '|d|'ll| we|'|RE| y|'|all|'ve| ''|s| '", "I|'m| '|mm| '|d|'ll| we|'|RE| y|'|all|'ve| ''|s| '"},
        {"a|\n| b|\n\n| c|\t|\t|d| \n", "a|\n| b|\n\n| c|\t|\t|d| \n"},
        {"x|\xC2\xA0|\xC2\xA0|y|  \xC2\xA0 ", "x|\xC2\xA0|\xC2\xA0|y|  \xC2\xA0 "},
        {"l|'|été| naïve| 日本| \xE3\x80\x80| 日|\xE3\x80\x80", "l|'|été| naïve| 日本| \xE3\x80\x80| 日|\xE3\x80\x80"},
        {"a|\xE2\x80\xA8| b|\xE2\x80\x8B\xE2\x80\x8B|c|\x1C| d|\xC2\x85|e|\x0B| f",
            "a|\xE2\x80\xA8| b|\xE2\x80\x8B\xE2\x80\x8B|c|\x1C| d|\xC2\x85|e|\x0B| f"},
        {"e|\xCC\x81\xCC\x81|s| ?!——|x| --| _|9|_", "e|\xCC\x81\xCC\x81|s| ?!——|x| --| _|9|_"},
        {"😀😀| 😀|a| ٸก| \xF0\x90\xB5\x80|\xF0\x90\x97\x80", "😀😀| 😀|a| ٸก| |\xF0\x90\xB5\x80|\xF0\x90\x97\x80"},
        {"in| 1999|:| 3|.|14| v|2|'s| 007| Ⅷ٣5|th", "in| |1|9|9|9|:| |3|.|1|4| v|2|'s| |0|0|7| |Ⅷ|٣|5|th"},
        {"a|\xFF\xC3|b| \xE2\x82|c", "a|\xFF\xC3|b| \xE2\x82|c"}, // invalid UTF-8 (which Python cannot pass): like punctuation
    };
    for (size_t i = 0; i < 2 * COUNT(rows); i++) {
        const char *row = rows[i / 2][i % 2];
        char text[100];
        size_t n = 0;
        for (const char *c = row; *c; c++)
            if (*c != '|') text[n++] = *c;
        Tokenizer tk; // trained until no pair is left: every piece has become one token
        TokenizerTraining how = {.vocab = 1000, .split_digits = i % 2};
        TokenList ids = {0};
        assert_ok(tokenizer_train(&tk, &(TextView){text, n}, 1, &how, &err) || tokenizer_encode(&tk, &ids, text, n, &err), &err);
        Text got = {0};
        for (size_t k = 0; k < ids.length; k++)
            assert_ok(text_puts(&got, &err, k ? "|" : "") || tokenizer_decode(&tk, &got, &ids.ids[k], 1, &err), &err);
        assert_string_equal(got.data, row);
        text_free(&got);
        tokens_free(&ids);
        tokenizer_free(&tk);
    }
}

// ---- the trainer that recounts -------------------------------------------------------------------------------------------------

enum { WORDS = 60, LONGEST = 30, MERGES = 200 };
typedef struct { uint32_t ids[LONGEST]; size_t length, count; } SlowWord;

static void slow_best(const SlowWord *words, uint32_t *left, uint32_t *right, size_t *best)
{
    static size_t counts[27 + MERGES][27 + MERGES];
    memset(counts, 0, sizeof counts);
    *best = 0;
    for (size_t w = 0; w < WORDS; w++)
        for (size_t i = 0; i + 1 < words[w].length; i++) counts[words[w].ids[i]][words[w].ids[i + 1]] += words[w].count;
    for (uint32_t a = 0; a < 27 + MERGES; a++)
        for (uint32_t b = 0; b < 27 + MERGES; b++)
            if (counts[a][b] > *best) *best = counts[a][b], *left = a, *right = b;
}

static void slow_apply(SlowWord *words, uint32_t left, uint32_t right, uint32_t id)
{
    for (size_t w = 0; w < WORDS; w++) {
        size_t kept = 0;
        for (size_t i = 0; i < words[w].length; i++, kept++) {
            bool both = i + 1 < words[w].length && words[w].ids[i] == left && words[w].ids[i + 1] == right;
            words[w].ids[kept] = both ? id : words[w].ids[i];
            i += both;
        }
        words[w].length = kept;
    }
}

// Letters a..z have slow ids 0..25, the space 26, in the order of the library's.
static void check_against_recounting(TestRandom *random, uint32_t letters, uint32_t longest)
{
    static SlowWord words[WORDS];
    static char names[27 + MERGES][LONGEST + 1];
    Text text = {0};
    for (size_t w = 0; w < WORDS; w++) {
        words[w] = (SlowWord){.ids = {26}, .length = 1 + 1 + test_integer(random, longest), .count = 1 + test_integer(random, 3)};
        for (size_t i = 1; i < words[w].length; i++) words[w].ids[i] = test_integer(random, letters);
        for (size_t k = 0; k < words[w].count; k++)
            for (size_t i = 0; i < words[w].length; i++)
                assert_ok(text_add(&text, &err, &"abcdefghijklmnopqrstuvwxyz "[words[w].ids[i]], 1), &err);
    }
    for (int i = 0; i < 26; i++) names[i][0] = (char)('a' + i);
    names[26][0] = ' ';
    Tokenizer tk;
    TokenizerTraining how = {.vocab = 256 + MERGES};
    assert_ok(tokenizer_train(&tk, &(TextView){text.data, text.length}, 1, &how, &err), &err);
    for (uint32_t merge = 0;; merge++) {
        uint32_t left = 0, right = 0;
        size_t best;
        slow_best(words, &left, &right, &best);
        if (best == 0 || merge == MERGES) {
            assert_int_equal(tk.vocab, 256 + merge);
            break;
        }
        snprintf(names[27 + merge], sizeof names[0], "%s%s", names[left], names[right]);
        slow_apply(words, left, right, 27 + merge);
        if (256 + merge >= tk.vocab) fail_msg("stopped after %u merges", (unsigned)merge);
        const TextView *token = &tk.tokens[256 + merge];
        if (token->length != strlen(names[27 + merge]) || memcmp(token->bytes, names[27 + merge], token->length))
            fail_msg("merge %u gives \"%.*s\", not \"%s\"", (unsigned)merge, (int)token->length, token->bytes, names[27 + merge]);
    }
    tokenizer_free(&tk);
    text_free(&text);
}

static void learns_what_recounting_before_each_merge_learns(void **state)
{
    (void)state;
    TestRandom random = {17};
    static const uint32_t letters[] = {1, 2, 5, 26}; // few letters: many overlapping occurrences and ties
    for (int i = 0; i < 12; i++) check_against_recounting(&random, letters[i % 4], i < 6 ? 7 : LONGEST - 1);
}

// ---- what must not matter, what must -------------------------------------------------------------------------------------------

static uint64_t trained_hash(const TextView *texts, size_t count, const TokenizerTraining *how)
{
    Tokenizer tk;
    assert_ok(tokenizer_train(&tk, texts, count, how, &err), &err);
    uint64_t hash = tokenizer_hash(&tk);
    tokenizer_free(&tk);
    return hash;
}

static void threads_and_the_order_of_texts_do_not_matter(void **state)
{
    (void)state;
    enum { TEXTS = 3000 };
    static char bytes[TEXTS][120];
    static TextView texts[TEXTS];
    TestRandom random = {23};
    for (size_t i = 0; i < TEXTS; i++) {
        texts[i] = (TextView){bytes[i], 1 + test_integer(&random, 119)};
        for (size_t k = 0; k < texts[i].length; k++) bytes[i][k] = "aaabbcde   ,.0\xC3\xA9"[test_integer(&random, 16)];
    }
    TokenizerTraining how = {.vocab = 900, .special = end_of_text, .special_count = 1};
    uint64_t want = trained_hash(texts, TEXTS, &how);
    for (int threads = 1; threads <= 5; threads += 2) {
#ifdef _OPENMP
        int before = omp_get_max_threads();
        omp_set_num_threads(threads);
#endif
        for (size_t i = TEXTS - 1; i > 0; i--) {
            size_t j = test_integer(&random, (uint32_t)i + 1);
            TextView text = texts[i];
            texts[i] = texts[j], texts[j] = text;
        }
        assert_true(trained_hash(texts, TEXTS, &how) == want);
#ifdef _OPENMP
        omp_set_num_threads(before);
#endif
    }
    how.vocab--;
    assert_true(trained_hash(texts, TEXTS, &how) != want);
}

static void special_tokens_inside_texts_are_cut_out(void **state)
{
    (void)state;
    static const TextView with[] = {VIEW("abab<|endoftext|>abab <|endoftext|>"), VIEW("<|endoftext|><|endoftext|>cd")};
    static const TextView without[] = {VIEW("abab"), VIEW("abab "), VIEW("cd"), VIEW("")};
    TokenizerTraining how = {.vocab = 400, .special = end_of_text, .special_count = 1};
    assert_true(trained_hash(with, COUNT(with), &how) == trained_hash(without, COUNT(without), &how));
}

static void stops_when_no_pair_is_left(void **state)
{
    (void)state;
    Tokenizer tk;
    TokenizerTraining how = {.vocab = 1000};
    assert_ok(tokenizer_train(&tk, (TextView[]){VIEW("abc abd"), VIEW("x")}, 2, &how, &err), &err);
    assert_int_equal(tk.vocab, 256 + 4); // ab, abc, " " + ab, " ab" + d
    tokenizer_free(&tk);
    how.min_count = 2;
    assert_ok(tokenizer_train(&tk, (TextView[]){VIEW("abc abd"), VIEW("x")}, 2, &how, &err), &err);
    assert_int_equal(tk.vocab, 256 + 1);
    tokenizer_free(&tk);
    assert_ok(tokenizer_train(&tk, NULL, 0, &how, &err), &err);
    assert_int_equal(tk.vocab, 256);
    tokenizer_free(&tk);
}

static void a_trained_tokenizer_survives_its_file(void **state)
{
    (void)state;
    static const TextView texts[] = {
        VIEW("The film, the films: 19 films! \x80\xFF naïve naïve\n\n"), VIEW("\"films\" \\ the\x01 film\x7F")};
    static const char *const special[] = {"<|\"é\\\t|>", "<s>"};
    for (int digits = 0; digits < 2; digits++) {
        Tokenizer tk, again;
        char *folder = temporary_folder(), *path = path_in(folder, "tokenizer.json");
        TokenizerTraining how = {.vocab = 300, .special = special, .special_count = 2, .split_digits = digits};
        assert_ok(tokenizer_train(&tk, texts, 2, &how, &err), &err);
        assert_ok(tokenizer_save(&tk, path, &err) || tokenizer_load(&again, path, &err), &err);
        assert_true(tokenizer_hash(&tk) == tokenizer_hash(&again));
        assert_true((again.split == SPLIT_DIGITS) == (bool)digits);
        tokenizer_free(&tk);
        tokenizer_free(&again);
        remove_folder(folder);
        free(path), free(folder);
    }
}

static void refuses_what_cannot_be_trained(void **state)
{
    (void)state;
    static const struct { const char *special[2]; size_t count, vocab; const char *message; } cases[] = {
        {{0}, 0, 255, "a vocabulary of 255: expected 256 (256 bytes and the special tokens)"},
        {{"<s>", "</s>"}, 2, 257, "a vocabulary of 257: expected 258"},
        {{"<s>", ""}, 2, 300, "special token 1 is empty"},
        {{"<s>", "<s>"}, 2, 300, "special token \"<s>\" is named twice"},
        {{"\xC3("}, 1, 300, "special token 0 is not valid UTF-8"},
        {{"!"}, 1, 300, "special token \"!\": tokenizer.json would spell"},
        {{"é"}, 1, 300, "special token \"é\": tokenizer.json would spell"},
        {{"Ġthe"}, 1, 300, "special token \"Ġthe\": tokenizer.json would spell"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        Tokenizer tk;
        TokenizerTraining how = {.vocab = cases[i].vocab, .special = cases[i].special, .special_count = cases[i].count};
        assert_input_error(tokenizer_train(&tk, NULL, 0, &how, &err), &err, cases[i].message);
        tokenizer_free(&tk);
    }
}

// ---- the reviews behind the golden file ------------------------------------------------------------------------------------------

typedef struct { char *path; TextView text; } Review; // path: "neg/0_3.txt"
typedef struct { Review *items; size_t count; } Reviews;

static void add_review(Reviews *reviews, const char *path, char *text)
{
    size_t kept = 0;
    for (const char *s = text; *s; kept++) {
        bool line_break = !strncmp(s, "<br />", 6);
        text[kept] = line_break ? '\n' : *s;
        s += line_break ? 6 : 1;
    }
    if (reviews->count % 1024 == 0) reviews->items = realloc(reviews->items, (reviews->count + 1024) * sizeof *reviews->items);
    assert_non_null(reviews->items);
    Review *review = &reviews->items[reviews->count++];
    review->path = malloc(strlen(path) + 1);
    assert_non_null(review->path);
    strcpy(review->path, path);
    review->text = (TextView){text, kept};
}

static void read_folder(Reviews *reviews, const char *folder)
{
    for (int label = 0; label < 2; label++) {
        char path[1200];
        OsNames names;
        snprintf(path, sizeof path, "%s/train/%s", folder, label ? "pos" : "neg");
        assert_ok(os_list_folder(&names, path, &err), &err);
        for (size_t i = 0; i < names.count; i++) {
            snprintf(path, sizeof path, "%s/train/%s/%s", folder, label ? "pos" : "neg", names.names[i]);
            add_review(reviews, strstr(path, "/train/") + 7, read_file(path, NULL));
        }
        os_names_free(&names);
    }
}

// Straight from the archive: unpacking 37,500 files would take longer than the test. False when it does not unpack.
static bool read_archive(Reviews *reviews, const char *archive)
{
    char command[1200], header[512], padding[512];
#ifdef _WIN32
    return false;
#endif
    snprintf(command, sizeof command, "gzip -dc '%s' 2> /dev/null", archive);
    FILE *pipe = popen(command, "r");
    if (!pipe) return false;
    while (fread(header, 1, 512, pipe) == 512 && header[0]) { // name at 0, size in octal at 124
        size_t size = strtoul(header + 124, NULL, 8);
        char *text = malloc(size + 1);
        assert_non_null(text);
        assert_int_equal(fread(text, 1, size, pipe), size);
        assert_int_equal(fread(padding, 1, (512 - size % 512) % 512, pipe), (512 - size % 512) % 512);
        text[size] = '\0';
        header[100] = '\0';
        const char *path = strstr(header, "/train/");
        if (path && strstr(path, ".txt")) add_review(reviews, path + 7, text);
        else free(text);
    }
    while (fread(padding, 1, 512, pipe)) {} // to its end, or gzip reports a broken pipe
    return pclose(pipe) == 0 && reviews->count > 0;
}

static int by_path(const void *a, const void *b) { return strcmp(((const Review *)a)->path, ((const Review *)b)->path); }

static void learns_the_golden_file_from_the_reviews(void **state)
{
    (void)state;
    Reviews reviews = {0};
    char *archive = shared_path("data/imdb/aclImdb_labeled.tar.gz");
    const char *folder = getenv("RAFT_IMDB");
    if (folder && *folder) read_folder(&reviews, folder);
    else if (!archive) skip_because("no reviews: RAFT_IMDB is not set, and $RAFT_SHARED holds no data/imdb/aclImdb_labeled.tar.gz");
    else if (!read_archive(&reviews, archive)) skip_because("%s: gzip cannot unpack it", archive);
    free(archive);
    qsort(reviews.items, reviews.count, sizeof *reviews.items, by_path);
    size_t count = (reviews.count + 4) / 5, n, m;
    TextView *texts = malloc(count * sizeof *texts);
    assert_non_null(texts);
    for (size_t i = 0; i < count; i++) texts[i] = reviews.items[5 * i].text;

    Tokenizer tk;
    TokenizerTraining how = {.vocab = 2048, .special = end_of_text, .special_count = 1};
    assert_ok(tokenizer_train(&tk, texts, count, &how, &err), &err);
    char *out = temporary_folder(), *path = path_in(out, "tokenizer.json"), *golden = golden_path("bpe-imdb-2048/tokenizer.json");
    assert_non_null(golden);
    assert_ok(tokenizer_save(&tk, path, &err), &err);
    char *got = read_file(path, &n), *want = read_file(golden, &m);
    assert_int_equal(n, m);
    assert_memory_equal(got, want, n);
    tokenizer_free(&tk);
    remove_folder(out);
    for (size_t i = 0; i < reviews.count; i++) free(reviews.items[i].path), free((void *)(uintptr_t)reviews.items[i].text.bytes);
    free(reviews.items), free(texts), free(out), free(path), free(golden), free(got), free(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_the_merges_of_hugging_face_tokenizers),
        cmocka_unit_test(cuts_texts_where_hugging_face_tokenizers_does),
        cmocka_unit_test(learns_what_recounting_before_each_merge_learns),
        cmocka_unit_test(threads_and_the_order_of_texts_do_not_matter),
        cmocka_unit_test(special_tokens_inside_texts_are_cut_out),
        cmocka_unit_test(stops_when_no_pair_is_left),
        cmocka_unit_test(a_trained_tokenizer_survives_its_file),
        cmocka_unit_test(refuses_what_cannot_be_trained),
        cmocka_unit_test(learns_the_golden_file_from_the_reviews),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
