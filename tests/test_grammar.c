// SPDX-License-Identifier: MIT
#include "files/corpus.h"
#include "tests/support.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Grammar *load(const char *source, Err *err)
{
    char *path = path_in(test_folder, "test.grammar");
    write_file(path, source, strlen(source));
    Grammar *grammar = grammar_load(path, err);
    free(path);
    return grammar;
}

// n reviews of the grammar in `source`, or of data/reviews.grammar when it is NULL; free with corpus_free.
static Corpus draw(const char *source, size_t n, uint64_t seed)
{
    Err err = {0};
    Corpus corpus = {0};
    Grammar *grammar = source ? load(source, &err) : grammar_load("data/reviews.grammar", &err);
    if (!grammar) fail_msg("%s", err.text);
    assert_ok(grammar_corpus(&corpus, grammar, n, seed, &err), &err);
    assert_int_equal(corpus.count, n);
    grammar_free(grammar);
    return corpus;
}

// The negative and the positive review of a grammar that leaves no choice.
static void assert_reviews(const char *source, const char *negative, const char *positive)
{
    Corpus corpus = draw(source, 2, 7);
    assert_string_equal(corpus.items[0].text, negative);
    assert_string_equal(corpus.items[1].text, positive);
    assert_int_equal(corpus.items[0].label, LABEL_NEGATIVE);
    assert_int_equal(corpus.items[1].label, LABEL_POSITIVE);
    corpus_free(&corpus);
}

static bool holds(const CorpusItem *item, const char *word) { return strstr(item->text, word) != NULL; }

static void assert_share(const Corpus *corpus, const char *word, double want)
{
    size_t found = 0;
    for (size_t i = 0; i < corpus->count; i++) found += holds(&corpus->items[i], word);
    double share = (double)found / (double)corpus->count;
    if (share < want - 0.03 || share > want + 0.03) fail_msg("\"%s\" in %.3f of the texts, %.3f were expected", word,
        share, want);
}

// Six digits, so that texts differ.
#define NUMBER "number:\n  <d><d><d><d><d><d>\nd:\n  0|1|2|3|4|5|6|7|8|9\n"

// ---- the format ----------------------------------------------------------------------------------------------------------

static void labels_choose_and_moods_turn_them(void **state)
{
    (void)state;
    assert_reviews("review:\n  <x> <x!> <x-> <x+> <y!>\ny:\n  <x!> ([pos] yes|[neg] no)\nx:\n  [neg] bad\n  [pos] good\n",
        "Bad good bad good bad yes", "Good bad bad good good no");
}

static void spaces_capitals_and_articles_come_right(void **state)
{
    (void)state;
    assert_reviews("review:\n   <a>  old film , ( and ) <a> dull one .  it is <a> <x> . yes ... no ? \"so\" it <a>  \n"
        "x:\n  [neg] insult\n  [pos] joy\n",
        "An old film, and a dull one. It is an insult. Yes... no? \"So\" it a",
        "An old film, and a dull one. It is a joy. Yes... no? \"So\" it a");
}

static void escapes_comments_and_line_ends_are_understood(void **state)
{
    (void)state;
    assert_reviews("# comment\r\n\r\nreview:\r\n  # another\r\n"
        "  one \\n  two\\(\\)\\<\\>\\{\\}\\|\\[\\]\\\\ \\# ([neg] n|[pos] p)\r\n",
        "One\nTwo()<>{}|[]\\ # n", "One\nTwo()<>{}|[]\\ # p");
}

static void accented_letters_are_no_sentence_ends(void **state)
{
    (void)state;
    assert_reviews("review:\n  caf\xC3\xA9 ([neg] n|[pos] p). \xC3\xA9t\xC3\xA9 a\n", "Caf\xC3\xA9 n. \xC3\xA9t\xC3\xA9 a",
        "Caf\xC3\xA9 p. \xC3\xA9t\xC3\xA9 a");
}

static void weights_set_how_often(void **state)
{
    (void)state;
    Corpus corpus = draw("review:\n  <number> {maybe} ([3] often|seldom) (one|two|three) <line> {[3] mostly|x}\n"
        "line:\n  [2] left | [6] mid\n  right\n" NUMBER, 5000, 3);
    assert_share(&corpus, "maybe", 0.5);
    assert_share(&corpus, "often", 0.75);
    assert_share(&corpus, "two", 1.0 / 3);
    assert_share(&corpus, "left", 2.0 / 9);
    assert_share(&corpus, "mid", 6.0 / 9);
    assert_share(&corpus, "right", 1.0 / 9);
    assert_share(&corpus, "mostly", 0.6);
    corpus_free(&corpus);
}

static void tag_of_a_line_holds_for_all_of_it(void **state)
{
    (void)state;
    Corpus corpus = draw("review:\n  <number> <x>\nx:\n  [neg] bad | [3] poor\n  [pos 2] good\n" NUMBER, 2000, 3);
    for (size_t i = 0; i < corpus.count; i++) {
        bool good = holds(&corpus.items[i], "good");
        assert_true(good == (corpus.items[i].label == LABEL_POSITIVE));
    }
    assert_share(&corpus, "poor", 3.0 / 8);
    corpus_free(&corpus);
}

static void dollar_rules_are_drawn_once_a_text_and_can_be_asked(void **state)
{
    (void)state;
    Corpus corpus = draw("review:\n  <number> <after> <$genre> <$genre>\n$genre:\n  drama | love story | comedy\n"
                         "after:\n  plain\n  [1000000 $genre~comedy,love] funny\n  [1000000 $genre~drama] sad\n" NUMBER, 3000, 3);
    for (size_t i = 0; i < corpus.count; i++) {
        const CorpusItem *item = &corpus.items[i];
        assert_true(holds(item, "sad drama drama") || holds(item, "funny comedy comedy") ||
            holds(item, "funny love story love story") || holds(item, "plain"));
    }
    assert_share(&corpus, "drama", 1.0 / 3);
    assert_share(&corpus, "plain", 0);
    corpus_free(&corpus);
}

static void marked_alternatives_come_once_a_text(void **state)
{
    (void)state;
    Corpus corpus = draw("review:\n  <number> <x> <x> <y>\nx:\n  [1000000 #m] one\n  two\n"
        "y:\n  [1000000 #m] three\n  [1000000 #n] four\n  five\n" NUMBER, 100, 3);
    for (size_t i = 0; i < corpus.count; i++) assert_true(holds(&corpus.items[i], " one two four"));
    corpus_free(&corpus);
}

static void recursion_takes_the_shortest_way_out_when_deep(void **state)
{
    (void)state;
    assert_reviews("review:\n  <x>\nx:\n  [1000000] y<x>\n  ([neg] n|[pos] p)\n",
        "Yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyn",
        "Yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyp");
}

// ---- faults ----------------------------------------------------------------------------------------------------------------

static void faults_name_file_and_line(void **state)
{
    static const char *const cases[][2] = {
        {"", "test.grammar: no rule \"review\""},
        {"  text\n", ":1: an alternative before the first rule"},
        {"review\n  x\n", ":1: expected \"rule-name:\""},
        {"review: x\n", ":1: expected \"rule-name:\""},
        {"review:\n  x\n:\n  y\n", ":3: expected \"rule-name:\""},
        {"review:\n  x\nreview:\n  y\n", ":3: rule \"review\" again (first in line 1)"},
        {"review:\n  x\na:\n  y\n", ":3: rule \"a\""},
        {"review:\n", ":1: rule \"review\" has no alternatives"},
        {"review:\n  x\nother:\n", ":3: rule \"other\" has no alternatives"},
        {"review:\n  x\n  <nothing>\n", ":3: unknown rule <nothing>"},
        {"review:\n  <review?>\n", ":2: unknown rule <review?>"},
        {"review:\n  <>\n", ":2: unknown rule <>"},
        {"review:\n  x\n  <review\n", ":3: '<' without '>'"},
        {"review:\n  (x|y\n", ":2: '(' without ')'"},
        {"review:\n  a {x (y|z)\n", ":2: '{' without '}'"},
        {"review:\n  (x}\n", ":2: '}' out of place"},
        {"review:\n  x)\n", ":2: ')' out of place"},
        {"review:\n  x [neg] y\n", ":2: '[' out of place"},
        {"review:\n  [3 x\n", ":2: '[' without ']'"},
        {"review:\n  x\\\n", ":2: '\\' at the end of the line"},
        {"review:\n  [0] x\n", ":2: bad weight \"0\""},
        {"review:\n  [-1] x\n", ":2: bad weight \"-1\""},
        {"review:\n  [1.5] x\n", ":2: bad weight \"1.5\""},
        {"review:\n  [99999999999999999999] x\n", ":2: bad weight"},
        {"review:\n  [1000001] x\n", ":2: bad weight"},
        {"review:\n  (x|[maybe] y)\n", ":2: unknown tag \"maybe\""},
        {"review:\n  [#] x\n", ":2: unknown tag \"#\""},
        {"review:\n  [$genre~x] y\n", ":2: unknown rule \"$genre~x\" in a tag"},
        {"$g:\n  x\nreview:\n  [$g] y\n", ":4: bad condition \"$g\""},
        {"$g:\n  x\nreview:\n  [$g~] y\n", ":4: bad condition \"$g~\""},
        {"review:\n  <x>\nx:\n  [neg] bad\n", ":3: rule \"x\" has no alternative without condition or mark for a positive"},
        {"review:\n  <x+>\nx:\n  [neg] bad\n", ":3: rule \"x\" has no alternative without condition or mark for a positive"},
        {"review:\n  x ([pos] y)\n", ":2: rule \"(...)\" has no alternative without condition or mark for a negative review"},
        {"review:\n  [#m] x\n", ":1: rule \"review\" has no alternative without"},
        {"review:\n  a\n  <x>\nx:\n  b <y>\ny:\n  <x> | <y>\n", ":4: rule \"x\" never ends"},
        {"review:\n  [pos] a\n  [neg] <review>\n", ":1: rule \"review\" never ends"},
        {"review:\n  <review>\n  [#m] a\n", ":1: rule \"review\" never ends"},
        {"review:\n  a\nx:\n  \xFF\n", ":4: not a line of UTF-8 text"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Err err = {0};
        Grammar *grammar = load(cases[i][0], &err);
        if (grammar) fail_msg("accepted: %s", cases[i][0]);
        assert_input_error(-1, &err, cases[i][1]);
        assert_input_error(-1, &err, "test.grammar:");
    }
}

static void hostile_nesting_is_refused(void **state)
{
    (void)state;
    Err err = {0};
    Text source = {0};
    text_puts(&source, &err, "review:\n  ");
    for (int i = 0; i < 1000; i++) text_puts(&source, &err, "(");
    assert_null(load(source.data, &err));
    assert_input_error(-1, &err, ":2: more than 50 groups");
    source.length = 0;
    text_puts(&source, &err, "review:\n  <r0>\n");
    for (int i = 0; i < 600; i++) text_printf(&source, &err, "r%d:\n  <r%d>\n", i, i + 1);
    text_puts(&source, &err, "r600:\n  x\n");
    assert_null(load(source.data, &err));
    assert_input_error(-1, &err, "nests too many rules");
    text_free(&source);
}

static void growth_without_bound_is_an_error(void **state)
{
    static const char *const cases[] = {"review:\n  x\n  [1000000] <review> <review> <review>\n",
        "review:\n  ()\n  [1000000] <review><review><review>\n"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        Err err = {0};
        Corpus corpus = {0};
        Grammar *grammar = load(cases[i], &err);
        assert_non_null(grammar);
        assert_input_error(grammar_corpus(&corpus, grammar, 1, 1, &err), &err, "test.grammar:1: a text grew past");
        corpus_free(&corpus);
        grammar_free(grammar);
    }
}

static void conditions_that_ask_in_circles_end(void **state)
{
    (void)state;
    assert_reviews("review:\n  <$a> ([neg] n|[pos] p)\n$a:\n  x\n  [$b~y] x\n$b:\n  y\n  [$a~x] y\n  [$b~y] y\n", "X n", "X p");
}

static void missing_file_is_named(void **state)
{
    (void)state;
    Err err = {0};
    assert_null(grammar_load("nowhere.grammar", &err));
    assert_input_error(-1, &err, "nowhere.grammar");
}

// ---- the draws -----------------------------------------------------------------------------------------------------------

// From the definition alone, by another implementation: letter i of text k is philox(seed; i, 0, k, 7 << 24)[0] * 8 >> 32.
static void draws_follow_the_published_counters(void **state)
{
    (void)state;
    Corpus corpus = draw("review:\n  1<x><x><x><x><x><x><x><x><x><x><x><x>\nx:\n  a|b|c|d|e|f|g|h\n", 3,
        UINT64_C(0x123456789ABCDEF));
    assert_string_equal(corpus.items[0].text, "1fabcahbbhbdb");
    assert_string_equal(corpus.items[1].text, "1dcebdfedadfe");
    assert_string_equal(corpus.items[2].text, "1edecadgdaeda");
    corpus_free(&corpus);
}

static void first_texts_do_not_depend_on_how_many_are_drawn(void **state)
{
    (void)state;
    Corpus few = draw(NULL, 10, 5), many = draw(NULL, 500, 5), other = draw(NULL, 10, 6);
    for (size_t i = 0; i < 10; i++) {
        assert_string_equal(few.items[i].text, many.items[i].text);
        assert_string_not_equal(few.items[i].text, other.items[i].text);
        assert_int_equal(few.items[i].label, i % 2 ? LABEL_POSITIVE : LABEL_NEGATIVE);
    }
    assert_string_equal(many.items[499].id, "review 499");
    corpus_free(&few);
    corpus_free(&many);
    corpus_free(&other);
}

static void repeated_texts_are_drawn_again_and_their_lack_is_an_error(void **state)
{
    static const char source[] = "review:\n  0|1|2|3|4|5|6|7|8|9\n";
    (void)state;
    Corpus corpus = draw(source, 10, 1);
    bool seen[10] = {false};
    for (size_t i = 0; i < 10; i++) seen[corpus.items[i].text[0] - '0'] = true;
    for (size_t i = 0; i < 10; i++) assert_true(seen[i]);
    corpus_free(&corpus);
    Err err = {0};
    Grammar *grammar = load(source, &err);
    assert_input_error(grammar_corpus(&corpus, grammar, 11, 1, &err), &err,
        "test.grammar: too few different reviews: for number 11");
    grammar_free(grammar);
    corpus_free(&corpus);
}

// ---- the built-in reviews ------------------------------------------------------------------------------------------------

static int by_text(const void *a, const void *b) { return strcmp(((const CorpusItem *)a)->text, ((const CorpusItem *)b)->text); }

static size_t count_words(const char *text)
{
    size_t n = 0;
    for (bool inside = false; *text; text++) {
        n += !inside && !isspace((unsigned char)*text);
        inside = !isspace((unsigned char)*text);
    }
    return n;
}

static void built_in_reviews_are_distinct_and_of_the_promised_length(void **state)
{
    (void)state;
    enum { N = 25000 };
    Corpus corpus = draw(NULL, N, 1);
    size_t words = 0, usual = 0;
    for (size_t i = 0; i < N; i++) {
        size_t n = count_words(corpus.items[i].text);
        assert_true(n >= 10 && n <= 100);
        words += n;
        usual += n >= 25 && n <= 70;
    }
    assert_in_range(words / N, 40, 52);
    assert_true(usual > N * 97 / 100);
    assert_int_equal(corpus.repaired, 0);
    qsort(corpus.items, N, sizeof *corpus.items, by_text);
    for (size_t i = 1; i < N; i++) assert_true(strcmp(corpus.items[i - 1].text, corpus.items[i].text));
    corpus_free(&corpus);
}

static void built_in_reviews_are_clean_sentences(void **state)
{
    static const char *const never[] = {"  ", " .", " ,", "..", ",,", ".,", "<", ">", "{", "}", "|", "[", "]", "\x01", " a a",
        " a e", " a i", " a o", " an b", " an t", "! ,", "the the "};
    (void)state;
    Corpus corpus = draw(NULL, 4000, 2);
    for (size_t i = 0; i < corpus.count; i++) {
        const CorpusItem *item = &corpus.items[i];
        assert_true(isupper((unsigned char)item->text[0]));
        assert_true(strchr(".!", item->text[item->length - 1]));
        for (size_t k = 0; k < sizeof never / sizeof *never; k++)
            if (holds(item, never[k])) fail_msg("\"%s\" in: %s", never[k], item->text);
        for (const char *p = item->text; p[0] && p[1] && p[2]; p++)
            assert_false(strchr(".!?", p[0]) && p[1] == ' ' && islower((unsigned char)p[2]));
    }
    corpus_free(&corpus);
}

// Its first words serve as prompts: they must not give the verdict away.
static void built_in_openings_are_neutral(void **state)
{
    static const char *const telling[] = {" not ", " never ", " bad ", " good ", " great ", " excellent ", " terrible ",
        " weak ", " boring ", " enjoyed ", " hated "};
    (void)state;
    Corpus corpus = draw(NULL, 4000, 2);
    for (size_t i = 0; i < corpus.count; i++) {
        char *space = corpus.items[i].text;
        for (int word = 0; word < 6 && space; word++) space = strchr(space + 1, ' ');
        assert_non_null(space);
        space[1] = '\0';
        for (size_t k = 0; k < sizeof telling / sizeof *telling; k++)
            if (holds(&corpus.items[i], telling[k])) fail_msg("\"%s\" in the opening: %s", telling[k], corpus.items[i].text);
    }
    corpus_free(&corpus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_choose_and_moods_turn_them),
        cmocka_unit_test(spaces_capitals_and_articles_come_right),
        cmocka_unit_test(escapes_comments_and_line_ends_are_understood),
        cmocka_unit_test(accented_letters_are_no_sentence_ends),
        cmocka_unit_test(weights_set_how_often),
        cmocka_unit_test(tag_of_a_line_holds_for_all_of_it),
        cmocka_unit_test(dollar_rules_are_drawn_once_a_text_and_can_be_asked),
        cmocka_unit_test(marked_alternatives_come_once_a_text),
        cmocka_unit_test(recursion_takes_the_shortest_way_out_when_deep),
        cmocka_unit_test(faults_name_file_and_line),
        cmocka_unit_test(hostile_nesting_is_refused),
        cmocka_unit_test(growth_without_bound_is_an_error),
        cmocka_unit_test(conditions_that_ask_in_circles_end),
        cmocka_unit_test(missing_file_is_named),
        cmocka_unit_test(draws_follow_the_published_counters),
        cmocka_unit_test(first_texts_do_not_depend_on_how_many_are_drawn),
        cmocka_unit_test(repeated_texts_are_drawn_again_and_their_lack_is_an_error),
        cmocka_unit_test(built_in_reviews_are_distinct_and_of_the_promised_length),
        cmocka_unit_test(built_in_reviews_are_clean_sentences),
        cmocka_unit_test(built_in_openings_are_neutral),
    };
    return cmocka_run_group_tests(tests, make_test_folder, drop_test_folder);
}
