// SPDX-License-Identifier: MIT
#include "files/corpus.h"
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// A temporary folder and a corpus; what a test writes is given as "path in the folder", "content".
typedef struct { char *folder; Corpus corpus; Err err; } Fixture;

static int begin(void **state)
{
    Fixture *f = calloc(1, sizeof *f);
    f->folder = temporary_folder();
    *state = f;
    return 0;
}

static int end(void **state)
{
    Fixture *f = *state;
    corpus_free(&f->corpus);
    remove_folder(f->folder);
    free(f->folder);
    free(f);
    return 0;
}

static void make_folder(Fixture *f, const char *name)
{
    char *path = path_in(f->folder, name);
    assert_int_equal(mkdir(path, 0777), 0);
    free(path);
}

static void put(Fixture *f, const char *name, const char *content)
{
    char *path = path_in(f->folder, name);
    write_file(path, content, strlen(content));
    free(path);
}

static int read_path(Fixture *f, const char *name)
{
    char *path = path_in(f->folder, name);
    int status = corpus_read(&f->corpus, path, &f->err);
    free(path);
    return status;
}

static void assert_item(const Fixture *f, size_t i, const char *id, int label, const char *text)
{
    assert_true(i < f->corpus.count);
    const CorpusItem *item = &f->corpus.items[i];
    assert_string_equal(item->id, id);
    assert_int_equal(item->label, label);
    assert_string_equal(item->text, text);
    assert_int_equal(item->length, strlen(text));
}

static void imdb_layout_is_read_in_the_order_of_path_bytes(void **state)
{
    Fixture *f = *state;
    make_folder(f, "pos");
    make_folder(f, "neg");
    put(f, "pos/2_10.txt", "fine");
    put(f, "neg/10000_4.txt", "dull");
    put(f, "neg/0_3.txt", "poor");
    put(f, "neg/1_1.txt", "bad");
    put(f, "neg/.hidden.txt", "not a review");
    put(f, "labeledBow.feat", "not a review");
    put(f, "pos/notes.md", "not a review");
    assert_ok(read_path(f, ""), &f->err);
    assert_int_equal(f->corpus.count, 4);
    assert_item(f, 0, "neg/0_3.txt", LABEL_NEGATIVE, "poor");
    assert_item(f, 1, "neg/10000_4.txt", LABEL_NEGATIVE, "dull");
    assert_item(f, 2, "neg/1_1.txt", LABEL_NEGATIVE, "bad");
    assert_item(f, 3, "pos/2_10.txt", LABEL_POSITIVE, "fine");
}

static void html_breaks_become_newlines_in_the_imdb_layout_only(void **state)
{
    Fixture *f = *state;
    make_folder(f, "pos");
    make_folder(f, "neg");
    put(f, "pos/1_9.txt", "One.<br /><br />Two.<br>Three<br/>< br /> <br/ ><b");
    put(f, "neg/1_1.txt", "<br />");
    put(f, "plain.txt", "One.<br />Two.");
    assert_ok(read_path(f, ""), &f->err);
    assert_ok(read_path(f, "plain.txt"), &f->err);
    assert_item(f, 0, "neg/1_1.txt", LABEL_NEGATIVE, "\n");
    assert_item(f, 1, "pos/1_9.txt", LABEL_POSITIVE, "One.\n\nTwo.\nThree\n< br /> <br/ ><b");
    assert_item(f, 2, "plain.txt", LABEL_NONE, "One.<br />Two.");
}

static void folder_of_texts_has_no_labels(void **state)
{
    Fixture *f = *state;
    put(f, "b.txt", "second");
    put(f, "a.txt", "first");
    put(f, "a.md", "not a text");
    assert_ok(read_path(f, ""), &f->err);
    assert_int_equal(f->corpus.count, 2);
    assert_item(f, 0, "a.txt", LABEL_NONE, "first");
    assert_item(f, 1, "b.txt", LABEL_NONE, "second");
}

static void json_lines_give_text_label_and_id(void **state)
{
    Fixture *f = *state;
    put(f, "in.jsonl", "{\"text\":\"a\",\"label\":1}\n\n{\"text\":\"b\",\"label\":\"neg\",\"id\":\"mine\"}\n"
        "{\"text\":\"c\\u00e9\",\"label\":null}\n"
        "{\"text\":\"d\",\"label\":0}\n{\"text\":\"e\",\"label\":\"pos\"}");
    assert_ok(read_path(f, "in.jsonl"), &f->err);
    assert_int_equal(f->corpus.count, 5);
    assert_item(f, 0, "line 1", LABEL_POSITIVE, "a");
    assert_item(f, 1, "mine", LABEL_NEGATIVE, "b");
    assert_item(f, 2, "line 4", LABEL_NONE, "c\xC3\xA9");
    assert_item(f, 3, "line 5", LABEL_NEGATIVE, "d");
    assert_item(f, 4, "line 6", LABEL_POSITIVE, "e");
}

static void nul_inside_a_text_is_kept(void **state)
{
    Fixture *f = *state;
    char *path = path_in(f->folder, "a.txt");
    write_file(path, "a\0b", 3);
    free(path);
    assert_ok(read_path(f, "a.txt"), &f->err);
    assert_int_equal(f->corpus.items[0].length, 3);
    assert_memory_equal(f->corpus.items[0].text, "a\0b", 4);
}

static void invalid_utf8_is_replaced_and_counted(void **state)
{
    Fixture *f = *state;
    put(f, "a.txt", "caf\xE9 \xFF!");
    assert_ok(read_path(f, "a.txt"), &f->err);
    assert_item(f, 0, "a.txt", LABEL_NONE, "caf\xEF\xBF\xBD \xEF\xBF\xBD!");
    assert_int_equal(f->corpus.repaired, 2);
}

static uint64_t hash_of(const char *first_id, const char *first, int label, const char *second)
{
    Corpus corpus = {0};
    Err err = {0};
    assert_ok(corpus_add(&corpus, first_id, first, strlen(first), label, &err), &err);
    if (second) assert_ok(corpus_add(&corpus, "b", second, strlen(second), LABEL_NONE, &err), &err);
    uint64_t hash = corpus.hash;
    corpus_free(&corpus);
    assert_int_equal(corpus.hash, 0);
    return hash;
}

static void hash_tells_ids_labels_texts_and_their_boundaries_apart(void **state)
{
    (void)state;
    uint64_t hashes[] = {
        hash_of("a", "xy", LABEL_NONE, "z"), hash_of("a", "x", LABEL_NONE, "yz"), hash_of("ax", "y", LABEL_NONE, "z"),
        hash_of("a", "xyz", LABEL_NONE, ""), hash_of("a", "xyz", LABEL_NONE, NULL), hash_of("a", "xyz", LABEL_POSITIVE, NULL),
        hash_of("a", "xyz", LABEL_NEGATIVE, NULL),
        hash_of("b", "xyz", LABEL_NEGATIVE, NULL),
    };
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++)
        for (size_t j = 0; j < i; j++) assert_true(hashes[i] != hashes[j]);
    assert_true(hash_of("a", "xy", LABEL_NONE, "z") == hashes[0]);
    assert_true(hashes[5] == UINT64_C(0x17f66eb321f4284a)); // the same on every machine: it goes into metrics and resume checks
}

static void added_texts_are_copies(void **state)
{
    Fixture *f = *state;
    char id[] = "one", text[] = "hello";
    for (int i = 0; i < 1000; i++) assert_ok(corpus_add(&f->corpus, id, text, 5, LABEL_POSITIVE, &f->err), &f->err);
    id[0] = text[0] = '!';
    assert_int_equal(f->corpus.count, 1000);
    assert_item(f, 0, "one", LABEL_POSITIVE, "hello");
    assert_item(f, 999, "one", LABEL_POSITIVE, "hello");
}

static void missing_and_unknown_paths_are_named(void **state)
{
    Fixture *f = *state;
    put(f, "a.csv", "x");
    put(f, "empty.txt", "");
    put(f, "empty.jsonl", "\n\n");
    assert_input_error(read_path(f, "nowhere"), &f->err, "nowhere: does not exist (expected a folder with pos/ and neg/");
    assert_input_error(read_path(f, "a.csv"), &f->err, "a.csv: of unknown kind (expected ");
    assert_input_error(read_path(f, "empty.txt"), &f->err, "empty.txt: is empty");
    assert_input_error(read_path(f, "empty.jsonl"), &f->err, "empty.jsonl: no lines (expected JSON objects with \"text\")");
}

static void folders_without_reviews_say_what_was_expected(void **state)
{
    Fixture *f = *state;
    assert_input_error(read_path(f, ""), &f->err, ": no .txt files (expected pos/ and neg/ as in aclImdb)");
    make_folder(f, "train");
    assert_input_error(read_path(f, ""), &f->err, "; perhaps you meant ");
    make_folder(f, "train/pos");
    assert_input_error(read_path(f, "train"), &f->err, "train: has pos/ but no neg/ (expected both, as in aclImdb)");
    make_folder(f, "train/neg");
    assert_input_error(read_path(f, "train"), &f->err, "train/neg: no .txt files");
    put(f, "train/neg/1_1.txt", "bad");
    assert_input_error(read_path(f, "train"), &f->err, "train/pos: no .txt files");
    put(f, "train/pos/1_9.txt", "");
    assert_input_error(read_path(f, "train"), &f->err, "train/pos/1_9.txt: is empty");
    put(f, "train/pos/1_9.txt", "good");
    make_folder(f, "train/pos/2_9.txt");
    assert_input_error(read_path(f, "train"), &f->err, "train/pos/2_9.txt");
}

static void faulty_json_lines_name_the_line(void **state)
{
    static const char *const cases[][2] = {
        {"{\"text\":\"a\"}\n{\"label\":1}", "in.jsonl:2"},
        {"{\"text\":5}", "in.jsonl:1"},
        {"{\"text\":\"\"}", "in.jsonl:1: key \"text\": is empty"},
        {"{\"text\":\"a\"}\n{\"text\":\"a\",\"label\":2}", "in.jsonl:2: key \"label\": expected 0, 1, \"neg\" or \"pos\", found 2"},
        {"{\"text\":\"a\",\"label\":\"good\"}", "in.jsonl:1: key \"label\": expected 0, 1, \"neg\" or \"pos\", found \"good\""},
        {"{\"text\":\"a\",\"label\":true}", "in.jsonl:1: key \"label\""},
        {"{\"text\":\"a\",\"label\":0.5}", "in.jsonl:1: key \"label\""},
        {"{\"text\":\"a\",\"id\":7}", "in.jsonl:1"},
        {"{\"text\":\"a\"}\n{\"text\":", "in.jsonl:2"},
        {"[\"a\"]", "in.jsonl:1"},
    };
    Fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put(f, "in.jsonl", cases[i][0]);
        f->err = (Err){0};
        assert_input_error(read_path(f, "in.jsonl"), &f->err, cases[i][1]);
    }
}

static void assert_spread(const Corpus *corpus, const uint32_t *from, size_t n, size_t limit, const uint32_t *wanted, size_t count)
{
    uint32_t chosen[16];
    assert_int_equal(corpus_spread(chosen, corpus, from, n, limit), count);
    assert_memory_equal(chosen, wanted, count * sizeof *wanted);
}

// Any beginning of what is chosen is of both labels, though folders are read neg/ first.
static void spreading_takes_of_each_label_as_many(void **state)
{
    Fixture *f = *state;
    for (int i = 0; i < 10; i++) assert_ok(corpus_add(&f->corpus, "id", "text", 4, i < 6 ? LABEL_NEGATIVE : LABEL_POSITIVE, &f->err), &f->err);
    assert_spread(&f->corpus, NULL, 10, 4, (uint32_t[]){0, 6, 3, 8}, 4);
    assert_spread(&f->corpus, NULL, 10, 3, (uint32_t[]){0, 6, 3}, 3);
    assert_spread(&f->corpus, NULL, 10, 1, (uint32_t[]){0}, 1);
    assert_spread(&f->corpus, NULL, 10, 0, (uint32_t[]){0, 6, 1, 7, 2, 8, 3, 9, 4, 5}, 10);
    assert_spread(&f->corpus, NULL, 10, 10, (uint32_t[]){0, 6, 1, 7, 2, 8, 3, 9, 4}, 9); // of each label five at most
    assert_spread(&f->corpus, (uint32_t[]){1, 3, 5, 7}, 4, 2, (uint32_t[]){1, 7}, 2);
    assert_spread(&f->corpus, NULL, 6, 2, (uint32_t[]){0, 3}, 2); // one label only
    assert_spread(&f->corpus, NULL, 0, 2, NULL, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(imdb_layout_is_read_in_the_order_of_path_bytes),
        TEST(html_breaks_become_newlines_in_the_imdb_layout_only),
        TEST(folder_of_texts_has_no_labels),
        TEST(json_lines_give_text_label_and_id),
        TEST(nul_inside_a_text_is_kept),
        TEST(invalid_utf8_is_replaced_and_counted),
        TEST(hash_tells_ids_labels_texts_and_their_boundaries_apart),
        TEST(added_texts_are_copies),
        TEST(missing_and_unknown_paths_are_named),
        TEST(folders_without_reviews_say_what_was_expected),
        TEST(faulty_json_lines_name_the_line),
        TEST(spreading_takes_of_each_label_as_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
