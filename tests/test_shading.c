// SPDX-License-Identifier: MIT
/* test_shading.c - values of single tokens: they add up to the answer's, and their pieces of text to its text. */
#include "tests/support_model.h"

#include <stdio.h>
#include <string.h>

#include "policy.h"
#include "study/shading.h"

enum { CONTEXT = 64 };

static Compute cx;
static Tokenizer tokenizer;
static Model policy_model, reference;

static int set_up(void **state)
{
    static const char *const texts[] = {"the film was good", "a very bad film", "what a good story"};
    Err err = {0};
    (void)state;
    if (compute_init(&cx, NULL, "own", 0, &err)) return print_error("%s\n", err.text), -1;
    tiny_tokenizer(&tokenizer, texts, 3, 280, "<|endoftext|>");
    tiny_language_model(&policy_model, tokenizer.vocab, CONTEXT, 1);
    tiny_language_model(&reference, tokenizer.vocab, CONTEXT, 2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    model_free(&policy_model);
    model_free(&reference);
    tokenizer_free(&tokenizer);
    compute_free(&cx);
    return 0;
}

// An answer that says these bytes, and then ends.
static void add_answer(SampleList *list, const char *said, const char *stop)
{
    Err err = {0};
    Text text = {0};
    Sample *s = samples_add(list, &err);
    assert_non_null(s);
    s->slot = list->count - 1;
    assert_ok(tokenizer_encode(&tokenizer, &s->prompt_tokens, "the film", 8, &err), &err);
    assert_ok(tokenizer_encode(&tokenizer, &s->tokens, said, strlen(said), &err), &err);
    assert_ok(tokenizer_encode(&tokenizer, &s->tokens, "<|endoftext|>", 13, &err), &err);
    assert_ok(sample_text(&text, &tokenizer, s->tokens.ids, s->tokens.length, stop, &err), &err);
    s->text = mem_copy_bytes(&err, text.data ? text.data : "", text.length);
    s->text_length = text.length;
    text_free(&text);
}

static float sum_under(const Model *model, const Sample *s)
{
    Err err = {0};
    ExampleList list;
    float logprob;
    assert_ok(policy_examples(&list, &s, 1, &err), &err);
    assert_ok(lm_evaluate(model, &cx, list.examples, 1, &logprob, NULL, &err), &err);
    policy_examples_free(&list);
    return logprob;
}

static void shade(SampleList *list, const char *stop)
{
    Err err = {0};
    assert_ok(shade_answers(list, &policy_model, &reference, &tokenizer, stop, &cx, &err), &err);
}

static void values_of_tokens_add_up_to_those_of_the_answer(void **state)
{
    SampleList list = {0};
    (void)state;
    add_answer(&list, " was good", NULL);
    add_answer(&list, " was a very bad story", NULL);
    shade(&list, NULL);
    for (size_t i = 0; i < 2; i++) {
        const Sample *s = list.items + i;
        float sum = 0, ref_sum = 0, want = sum_under(&policy_model, s), ref_want = sum_under(&reference, s);
        for (size_t t = 0; t < s->tokens.length; t++) sum += s->values[t].logprob, ref_sum += s->values[t].ref_logprob;
        assert_close(&sum, &want, 1, 1e-5, "policy");
        assert_close(&ref_sum, &ref_want, 1, 1e-5, "reference");
        assert_true(want - ref_want > 1e-3f || ref_want - want > 1e-3f); // or nothing was told apart
    }
    samples_free(&list);
}

// "é" is two bytes and here two tokens: the first shows nothing yet. What follows an end says nothing either.
static void pieces_of_text_are_whole_characters_and_make_up_the_text(void **state)
{
    const char *const said[] = {" \xC3\xA9t\xC3\xA9", "\xE2\x82\xAC", "a\xFFz", "ab\xC3"};
    SampleList list = {0};
    (void)state;
    for (size_t i = 0; i < 4; i++) add_answer(&list, said[i], NULL);
    shade(&list, NULL);
    for (size_t i = 0; i < 4; i++) {
        const Sample *s = list.items + i;
        size_t end = 0;
        for (size_t t = 0; t < s->tokens.length; end = s->values[t++].end) {
            assert_true(s->values[t].end >= end);
            assert_true(s->values[t].end == s->text_length || ((unsigned char)s->text[s->values[t].end] & 0xC0) != 0x80);
        }
        assert_int_equal(end, s->text_length);
    }
    const Sample *euro = list.items + 1;
    assert_int_equal(euro->tokens.length, 4);
    assert_int_equal(euro->values[0].end, 0);
    assert_int_equal(euro->values[1].end, 0);
    assert_int_equal(euro->values[2].end, 3);
    samples_free(&list);
}

static void text_behind_a_stop_string_belongs_to_no_token(void **state)
{
    SampleList list = {0};
    (void)state;
    add_answer(&list, " good. bad", ".");
    shade(&list, ".");
    const Sample *s = list.items;
    assert_string_equal(s->text, " good");
    assert_int_equal(s->values[s->tokens.length - 1].end, 5);
    samples_free(&list);
}

static void of_a_long_list_some_at_equal_distances_have_values(void **state)
{
    SampleList list = {0};
    size_t shaded = 0;
    (void)state;
    for (size_t i = 0; i < 2 * SHADED_ANSWERS + 3; i++) add_answer(&list, " good", NULL);
    shade(&list, NULL);
    for (size_t i = 0; i < list.count; i++) shaded += list.items[i].values != NULL;
    assert_int_equal(shaded, SHADED_ANSWERS);
    assert_non_null(list.items[0].values);
    assert_null(list.items[1].values);
    assert_non_null(list.items[31 * list.count / SHADED_ANSWERS].values);
    samples_free(&list);
    shade(&list, NULL); // an empty one
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_tokens_add_up_to_those_of_the_answer),
        cmocka_unit_test(pieces_of_text_are_whole_characters_and_make_up_the_text),
        cmocka_unit_test(text_behind_a_stop_string_belongs_to_no_token),
        cmocka_unit_test(of_a_long_list_some_at_equal_distances_have_values),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
