// SPDX-License-Identifier: MIT
/* test_candidates.c - prompts and candidates survive their files exactly; what is wrong in a file is named by line and key. */
#include "tests/support.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/candidates.h"

static void write_lines(const char *text) { write_file(test_file, text, strlen(text)); }

// ---- prompts -------------------------------------------------------------------------------------------------------------------------

static void prompts_are_read_in_their_forms(void **state)
{
    PromptList list = {0};
    Err err = {0};
    (void)state;
    write_lines("{\"prompt\":\"one\",\"id\":\"a\"}\n\n{\"text\":\"two \\u00e9\"}\n{\"id\":7,\"prompt\":\"x\",\"text\":\"y\",\"prompt_tokens\":[3,1]}\n"
                "{\"prompt\":\"\",\"prompt_tokens\":[9]}\n");
    assert_ok(prompts_read(&list, test_file, &err), &err);
    assert_int_equal(list.count, 4);
    assert_string_equal(list.items[0].id, "a");
    assert_string_equal(list.items[0].text, "one");
    assert_int_equal(list.items[0].ids.length, 0);
    assert_string_equal(list.items[1].id, "line 3");
    assert_string_equal(list.items[1].text, "two \xc3\xa9");
    assert_int_equal(list.items[1].text_length, 6);
    assert_string_equal(list.items[2].id, "7");
    assert_string_equal(list.items[2].text, "x");
    assert_int_equal(list.items[2].ids.length, 2);
    assert_int_equal(list.items[2].ids.ids[0], 3);
    assert_int_equal(list.items[3].text_length, 0);
    prompts_free(&list);
}

static void prompts_come_back_from_their_file(void **state)
{
    PromptList list = {0}, back = {0};
    Err err = {0};
    uint32_t ids[] = {5, 0, 4294967295u};
    (void)state;
    assert_ok(prompts_add(&list, "first", "a\0b", 3, &err), &err);
    assert_ok(prompts_add(&list, "second", "bad \xff byte", 10, &err), &err);
    assert_ok(tokens_append(&list.items[1].ids, &err, ids, 3), &err);
    assert_int_equal(list.repaired, 1);
    assert_string_equal(list.items[1].text, "bad \xef\xbf\xbd byte");
    assert_ok(prompts_write(&list, test_file, &err), &err);
    assert_ok(prompts_read(&back, test_file, &err), &err);
    assert_int_equal(back.count, 2);
    assert_int_equal(back.items[0].text_length, 3);
    assert_memory_equal(back.items[0].text, "a\0b", 4);
    assert_string_equal(back.items[1].id, "second");
    assert_string_equal(back.items[1].text, list.items[1].text);
    assert_int_equal(back.items[1].ids.length, 3);
    assert_memory_equal(back.items[1].ids.ids, ids, sizeof ids);
    prompts_free(&list);
    prompts_free(&back);
}

static void unusable_prompts_are_named(void **state)
{
    static const char *const cases[][2] = {
        {"", "no prompts"}, {"\n \n", "no prompts"}, {"{\"prompt\":\"ok\"}\n{\"id\":\"x\"}\n", "lines.jsonl:2"},
        {"{\"prompt\":3}", "prompt"}, {"{\"prompt\":\"\"}", "empty"}, {"{\"prompt\":\"a\",\"prompt_tokens\":[]}", "prompt_tokens"},
        {"{\"prompt\":\"a\",\"prompt_tokens\":[-1]}", "prompt_tokens"}, {"{\"prompt\":\"a\",\"id\":[]}", "\"id\""}, {"[]", "lines.jsonl:1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        PromptList list = {0};
        Err err = {0};
        write_lines(cases[i][0]);
        assert_input_error(prompts_read(&list, test_file, &err), &err, cases[i][1]);
        assert_null(list.items);
    }
    PromptList list = {0};
    Err err = {0};
    char *missing = path_in(test_folder, "missing.jsonl");
    assert_input_error(prompts_read(&list, missing, &err), &err, "missing.jsonl");
    free(missing);
}

// ---- candidates ----------------------------------------------------------------------------------------------------------------------

static char *copy(const char *text)
{
    Err err = {0};
    return mem_copy_text(&err, text);
}

static void add_sample(SampleList *list, size_t slot, size_t k, float logprob)
{
    Err err = {0};
    uint32_t prompt[] = {7, 8}, response[] = {1, 2, 3};
    Sample *s = samples_add(list, &err);
    assert_non_null(s);
    s->slot = slot;
    s->k = k;
    s->prompt_id = copy("p\"1");
    s->prompt = copy("The film");
    s->prompt_length = 8;
    s->source = copy("policy");
    s->text = copy(" was\n\"good\" \xf0\x9f\x98\x80");
    s->text_length = strlen(s->text);
    s->logprob = logprob;
    s->ref_logprob = -logprob / 3;
    s->has_reference = true;
    assert_ok(tokens_append(&s->prompt_tokens, &err, prompt, 2), &err);
    assert_ok(tokens_append(&s->tokens, &err, response, 3), &err);
}

static void a_line_has_the_stated_keys_in_order(void **state)
{
    SampleList list = {0};
    Err err = {0};
    (void)state;
    add_sample(&list, 4, 1, -0.1f);
    Sample *s = list.items;
    assert_ok(samples_write(&list, test_file, &err), &err);
    char *plain = read_file(test_file, NULL);
    assert_string_equal(plain, "{\"slot\":4,\"prompt_id\":\"p\\\"1\",\"prompt\":\"The film\",\"prompt_tokens\":[7,8],\"k\":1,\"source\":\"policy\","
        "\"text\":\" was\\n\\\"good\\\" \xf0\x9f\x98\x80\",\"tokens\":[1,2,3],\"logprob\":-0.100000001,\"ref_logprob\":0.0333333351}\n");
    free(plain);
    s->has_reference = false; // p0 was not asked
    assert_ok(samples_write(&list, test_file, &err), &err);
    char *alone = read_file(test_file, NULL);
    assert_non_null(strstr(alone, "\"tokens\":[1,2,3],\"logprob\":-0.100000001}\n"));
    free(alone);
    s->has_reference = true;
    s->scored = s->ranked = s->selected = true;
    s->reward = 0.25f;
    s->rank = 2;
    assert_ok(sample_set_reward(s, "length:3", -1, &err), &err);
    assert_ok(sample_set_reward(s, "gold", 0.5f, &err), &err);
    assert_ok(sample_set_reward(s, "length:3", -2, &err), &err); // replaced, not added
    assert_ok(samples_write(&list, test_file, &err), &err);
    char *ranked = read_file(test_file, NULL);
    assert_non_null(strstr(ranked, ",\"ref_logprob\":0.0333333351,\"reward\":0.25,\"rewards\":{\"length:3\":-2,\"gold\":0.5},\"rank\":2,\"selected\":true}\n"));
    free(ranked);
    samples_free(&list);
}

static void values_of_tokens_come_back_and_are_checked(void **state)
{
    static const TokenValue values[3] = {{-1.0f / 3, -0.0f, 1}, {-17.5f, FLT_MIN, 1}, {0, -3, 12}};
    const struct { const char *find, *replace, *fragment; } bad[] = {
        {"[1,1,12]", "[1,1]", "lines.jsonl:1: key \"token_end\": expected a list of 3 numbers"},
        {"[1,1,12]", "[1,0,12]", "key \"token_end\": element 1 is 0, expected 1 to"},
        {"[1,1,12]", "[1,1,99]", "key \"token_end\": element 2 is 99, expected 1 to"},
        {"-17.5", "null", "key \"token_logprob\": element 1 is no number"},
        {"-17.5", "1e99", "key \"token_logprob\": element 1 is no number"},
        {"token_ref_logprob", "token_other", "key \"token_ref_logprob\": expected a list of 3"},
    };
    SampleList list = {0}, back = {0};
    Err err = {0};
    (void)state;
    add_sample(&list, 0, 0, -1);
    assert_non_null(list.items[0].values = mem_new(&err, 3, sizeof *values));
    memcpy(list.items[0].values, values, sizeof values);
    assert_ok(samples_write(&list, test_file, &err), &err);
    char *text = read_file(test_file, NULL);
    assert_non_null(strstr(text, ",\"ref_logprob\":0.333333343,\"token_logprob\":[-0.333333343,-17.5,0],\"token_ref_logprob\":[-0.0,1.17549435e-38,-3],"
        "\"token_end\":[1,1,12]}\n"));
    assert_ok(samples_read(&back, test_file, &err), &err);
    assert_memory_equal(back.items[0].values, values, sizeof values);
    samples_free(&back);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[1000];
        const char *at = strstr(text, bad[i].find);
        snprintf(line, sizeof line, "%.*s%s%s", (int)(at - text), text, bad[i].replace, at + strlen(bad[i].find));
        write_lines(line);
        err = (Err){0};
        assert_input_error(samples_read(&back, test_file, &err), &err, bad[i].fragment);
    }
    free(text);
    samples_free(&list);
}

static void numbers_come_back_with_their_bits(void **state)
{
    static const float values[] = {0, -0.0f, 1.0f / 3, -17.123456f, FLT_MAX, -FLT_MAX, FLT_MIN, 1e-45f, 16777217.0f, 0.1f};
    enum { N = sizeof values / sizeof *values };
    SampleList list = {0}, back = {0};
    Err err = {0};
    (void)state;
    for (size_t i = 0; i < N; i++) {
        add_sample(&list, i / 3, i % 3, values[i]);
        list.items[i].ref_logprob = values[N - 1 - i];
        list.items[i].has_reference = i != 4;
        list.items[i].scored = list.items[i].ranked = true;
        list.items[i].reward = values[(i + 1) % N];
        list.items[i].rank = i;
        list.items[i].selected = i % 2;
        assert_ok(sample_set_reward(&list.items[i], "part", values[(i + 2) % N], &err), &err);
    }
    assert_ok(samples_write(&list, test_file, &err), &err);
    assert_ok(samples_read(&back, test_file, &err), &err);
    assert_int_equal(back.count, N);
    for (size_t i = 0; i < N; i++) {
        const Sample *a = list.items + i, *b = back.items + i;
        assert_same_bits(&b->logprob, &a->logprob, 1, "logprob");
        assert_int_equal(b->has_reference, i != 4);
        if (b->has_reference) assert_same_bits(&b->ref_logprob, &a->ref_logprob, 1, "ref_logprob");
        assert_same_bits(&b->reward, &a->reward, 1, "reward");
        assert_same_bits(b->reward_values, a->reward_values, 1, "rewards");
        assert_string_equal(b->reward_names[0], "part");
        assert_true(b->scored && b->ranked);
        assert_int_equal(b->rank, i);
        assert_int_equal(b->selected, i % 2);
        assert_int_equal(b->slot, i / 3);
        assert_int_equal(b->k, i % 3);
        assert_string_equal(b->text, a->text);
        assert_string_equal(b->prompt, a->prompt);
        assert_string_equal(b->prompt_id, a->prompt_id);
        assert_int_equal(b->tokens.length, 3);
        assert_int_equal(b->prompt_tokens.ids[1], 8);
    }
    char *once = read_file(test_file, NULL);
    assert_ok(samples_write(&back, test_file, &err), &err);
    char *twice = read_file(test_file, NULL);
    assert_string_equal(once, twice);
    free(once);
    free(twice);
    samples_free(&list);
    samples_free(&back);
}

#define GOOD "\"slot\":0,\"prompt_id\":\"a\",\"prompt\":\"p\",\"prompt_tokens\":[1],\"source\":\"policy\",\"text\":\"t\",\"tokens\":[2]"

static void unusable_candidates_are_named(void **state)
{
    static const char *const cases[][2] = {
        {"", "no candidates"},
        {"{" GOOD ",\"logprob\":1,\"ref_logprob\":1}", "\"k\""},
        {"{" GOOD ",\"k\":0,\"ref_logprob\":1}", "\"logprob\""},
        {"{" GOOD ",\"k\":0,\"logprob\":1,\"ref_logprob\":null}", "\"ref_logprob\""},
        {"{" GOOD ",\"k\":0,\"logprob\":1e99,\"ref_logprob\":1}", "32-bit"},
        {"{" GOOD ",\"k\":0,\"logprob\":\"x\",\"ref_logprob\":1}", "logprob"},
        {"{" GOOD ",\"k\":0,\"logprob\":1,\"ref_logprob\":1,\"rank\":0}", "selected"},
        {"{" GOOD ",\"k\":0,\"logprob\":1,\"ref_logprob\":1,\"rewards\":{\"a\":\"b\"}}", "\"a\""},
        {"{" GOOD ",\"k\":0,\"logprob\":1,\"ref_logprob\":1,\"rewards\":[]}", "rewards"},
        {"{" GOOD ",\"k\":1,\"logprob\":1,\"ref_logprob\":1}\n{" GOOD ",\"k\":1,\"logprob\":1,\"ref_logprob\":1}\n", "lines.jsonl:2"},
        {"{\"slot\":0,\"k\":0,\"prompt_id\":\"a\",\"prompt\":\"p\",\"prompt_tokens\":[1],\"source\":\"s\",\"text\":\"t\",\"tokens\":[],\"logprob\":1,\"ref_logprob\":1}", "tokens"},
        {"{\"slot\":0,\"k\":0,\"prompt_id\":\"a\",\"prompt\":\"p\",\"prompt_tokens\":[],\"source\":\"s\",\"text\":\"t\",\"tokens\":[1],\"logprob\":1,\"ref_logprob\":1}", "prompt_tokens"},
        {"{\"slot\":0,\"k\":0,\"prompt\":\"p\",\"prompt_tokens\":[1],\"source\":\"s\",\"text\":\"t\",\"tokens\":[1],\"logprob\":1,\"ref_logprob\":1}", "prompt_id"},
        {"{" GOOD ",\"k\":0,\"logprob\":1,\"ref_logprob\":1", "lines.jsonl:1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SampleList list = {0};
        Err err = {0};
        write_lines(cases[i][0]);
        assert_input_error(samples_read(&list, test_file, &err), &err, cases[i][1]);
        assert_null(list.items);
    }
}

static void a_file_cut_anywhere_is_refused_or_a_shorter_list(void **state)
{
    SampleList list = {0};
    Err err = {0};
    (void)state;
    for (size_t i = 0; i < 2; i++) add_sample(&list, i, 0, -1.5f);
    assert_ok(samples_write(&list, test_file, &err), &err);
    size_t n, line;
    char *whole = read_file(test_file, &n);
    line = (size_t)(strchr(whole, '\n') - whole);
    for (size_t cut = 0; cut < n; cut++) {
        SampleList back = {0};
        write_file(test_file, whole, cut);
        int status = samples_read(&back, test_file, &err);
        bool readable = cut == line || cut == line + 1 || cut == n - 1;
        if (readable) assert_ok(status, &err);
        else assert_input_error(status, &err, "lines.jsonl");
        if (readable) assert_int_equal(back.count, cut == n - 1 ? 2 : 1);
        samples_free(&back);
    }
    free(whole);
    samples_free(&list);
}

static void too_many_rewards_are_refused(void **state)
{
    SampleList list = {0};
    Err err = {0};
    char name[16];
    (void)state;
    add_sample(&list, 0, 0, 1);
    for (size_t i = 0; i < REWARDS_MAX; i++) {
        snprintf(name, sizeof name, "r%zu", i);
        assert_ok(sample_set_reward(list.items, name, 1, &err), &err);
    }
    assert_input_error(sample_set_reward(list.items, "one more", 1, &err), &err, "rewards");
    samples_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_are_read_in_their_forms),
        cmocka_unit_test(prompts_come_back_from_their_file),
        cmocka_unit_test(unusable_prompts_are_named),
        cmocka_unit_test(a_line_has_the_stated_keys_in_order),
        cmocka_unit_test(values_of_tokens_come_back_and_are_checked),
        cmocka_unit_test(numbers_come_back_with_their_bits),
        cmocka_unit_test(unusable_candidates_are_named),
        cmocka_unit_test(a_file_cut_anywhere_is_refused_or_a_shorter_list),
        cmocka_unit_test(too_many_rewards_are_refused),
    };
    test_file_name = "lines.jsonl";
    return cmocka_run_group_tests(tests, make_test_folder, drop_test_folder);
}
