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
    // trainers.BpeTrainer(vocab_size=2000, min_frequency=0 or 2, special_tokens=["<s>", "</s>"], initial_alphabet=ByteLevel.alphabet()),
    // with and without Digits(individual_digits=True). Most choices are between equal counts.
    static const TextView texts[] = {VIEW("low low low low low lower lower newest newest newest newest newest newest widest widest widest"),
        VIEW("aaaa aaa aa a bababab"), VIEW("it's 12 o'clock, isn't it? 12!  naïve naïve"), VIEW("\n\n\t  tabs")};
    static const char *const special[] = {"<s>", "</s>"};
    static const char often[] = "es est lo \xC4\xA0n low aa ew \xC4\xA0low \xC4\xA0new \xC4\xA0newest ab dest idest widest \xC4\xA0widest ";
    static const char digits_off[] = "12 a\xC3 er it ve \xAFve \xC4\xA0" "aa \xC4\xA0" "12 \xC4\xA0na\xC3 \xC4\xA0lower abab \xC4\xA0na\xC3\xAFve ";
    static const char digits_on[] = "a\xC3 er it ve \xAFve \xC4\xA0" "aa \xC4\xA0na\xC3 \xC4\xA0lower abab \xC4\xA0na\xC3\xAFve ";
    static const char once[] = "'s 't babab ck clo is tab \t\xC4\xA0 \n\n \xC4\xA0" "a \xC4\xA0o \xC4\xA0it \xC4\xA0" "babab \xC4\xA0is \xC4\xA0tab "
        "aaaa \xC4\xA0" "aaa clock \n\n\t\xC4\xA0 \xC4\xA0" "bababab \xC4\xA0isn \xC4\xA0tabs ";
    for (int digits = 0; digits < 2; digits++) {
        for (size_t min_count = 0; min_count < 3; min_count++) {
            Tokenizer tk;
            TokenizerTraining how = {.vocab = 2000, .special = special, .special_count = 2, .split_digits = digits, .min_count = min_count};
            assert_ok(tokenizer_train(&tk, texts, COUNT(texts), &how, &err), &err);
            Text got = {0}, want = {0};
            for (size_t i = 258; i < tk.vocab; i++) { // a space as U+0120, for the eye
                for (size_t k = 0; k < tk.tokens[i].length; k++) {
                    const char *c = tk.tokens[i].bytes + k;
                    assert_ok(*c == ' ' ? text_puts(&got, &err, "\xC4\xA0") : text_add(&got, &err, c, 1), &err);
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
                assert_ok(text_add(&text, &err, words[w].ids[i] == 26 ? " " : &"abcdefghijklmnopqrstuvwxyz"[words[w].ids[i]], 1), &err);
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
            fail_msg("merge %u gives \"%.*s\", expected \"%s\"", (unsigned)merge, (int)token->length, token->bytes, names[27 + merge]);
    }
    tokenizer_free(&tk);
    text_free(&text);
}

static void learns_what_recounting_before_each_merge_learns(void **state)
{
    (void)state;
    TestRandom random = {17};
    for (int i = 0; i < 12; i++) check_against_recounting(&random, i % 4 == 0 ? 1 : i % 4 == 1 ? 2 : i % 4 == 2 ? 5 : 26, i < 6 ? 7 : LONGEST - 1);
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
    enum { TEXTS = 400 };
    static char bytes[TEXTS][120];
    TextView texts[TEXTS];
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
    static const TextView texts[] = {VIEW("The film, the films: 19 films! \x80\xFF naïve naïve\n\n"), VIEW("\"films\" \\ the\x01 film\x7F")};
    for (int digits = 0; digits < 2; digits++) {
        Tokenizer tk, again;
        char *folder = temporary_folder(), *path = path_in(folder, "tokenizer.json");
        TokenizerTraining how = {.vocab = 300, .special = (const char *const[]){"<|\"é\\\t|>", "<s>"}, .special_count = 2, .split_digits = digits};
        assert_ok(tokenizer_train(&tk, texts, 2, &how, &err) || tokenizer_save(&tk, path, &err) || tokenizer_load(&again, path, &err), &err);
        assert_true(tokenizer_hash(&tk) == tokenizer_hash(&again));
        assert_true(again.split_digits == (bool)digits);
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
    else if (!archive) skip_because("no reviews: set RAFT_IMDB to the folder aclImdb, or RAFT_SHARED to where data/imdb/aclImdb_labeled.tar.gz is");
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
