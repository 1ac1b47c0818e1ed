// SPDX-License-Identifier: MIT
/* test_raft.c - ranking, stages and the loop, with a generator made of numbers: RAFT knows nothing of text. */
#include "tests/support.h"

#include <math.h>
#include <string.h>

#include "raft.h"

static CandidateList list_of(const float *scores, size_t slots, size_t K)
{
    CandidateList list = {0};
    Err err = {0};
    for (size_t i = 0; i < slots * K; i++) {
        Candidate c = {.slot = i / K, .prompt = i / K, .k = i % K, .score = scores[i]};
        assert_ok(candidates_add(&list, &c, &err), &err);
    }
    return list;
}

static void assert_selected(const CandidateList *list, const char *expected) // one character a candidate, '1' selected
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].selected != (expected[i] == '1')) fail_msg("candidate %zu: selected is %d, expected %c", i, list->items[i].selected, expected[i]);
}

static void local_selects_highest_reward_then_lowest_index(void **state)
{
    (void)state;
    const float scores[] = {1, 3, 3, 2, /**/ -5, -5, -7, -6, /**/ 0, -0.0f, 0, 0};
    CandidateList list = list_of(scores, 3, 4);
    Err err = {0};
    assert_ok(raft_order(&list, &(RankOptions){.mode = RANK_LOCAL}, 4, &err), &err);
    assert_selected(&list, "010010001000");
    const size_t ranks[] = {3, 0, 1, 2, 0, 1, 3, 2, 0, 1, 2, 3}; // +0 and -0 are equal: the index decides
    for (size_t i = 0; i < 12; i++) assert_int_equal(list.items[i].rank, ranks[i]);
    mem_free(list.items);
}

static void global_keeps_the_best_of_all_with_ties_to_the_lower_index(void **state)
{
    (void)state;
    const float scores[] = {5, 1, 5, 5, 2, 9};
    CandidateList list = list_of(scores, 3, 2);
    Err err = {0};
    assert_ok(raft_order(&list, &(RankOptions){.mode = RANK_GLOBAL}, 2, &err), &err); // 1/K of 6 = 3
    assert_selected(&list, "101001");
    assert_ok(raft_order(&list, &(RankOptions){.mode = RANK_GLOBAL, .accept = 0.5001}, 2, &err), &err); // ceil(3.0006) = 4
    assert_selected(&list, "101101");
    assert_ok(raft_order(&list, &(RankOptions){.mode = RANK_GLOBAL, .accept = 1}, 2, &err), &err);
    assert_selected(&list, "111111");
    mem_free(list.items);
}

static void acceptance_counts_are_those_of_exact_fractions(void **state)
{
    (void)state;
    static float scores[1000];
    Err err = {0};
    const struct { double accept; size_t n, keep; } cases[] = {{0.1, 10, 1}, {0.1, 30, 3}, {0.3, 10, 3}, {0.7, 10, 7}, {0.2, 1000, 200},
        {0.001, 7, 1}, {1.0 / 3, 9, 3}, {1.0 / 49, 49, 1}, {0.15, 100, 15}, {0.151, 100, 16}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CandidateList list = list_of(scores, cases[i].n, 1);
        assert_ok(raft_order(&list, &(RankOptions){.mode = RANK_GLOBAL, .accept = cases[i].accept}, 1, &err), &err);
        size_t kept = 0;
        for (size_t j = 0; j < list.count; j++) kept += list.items[j].selected;
        assert_int_equal(kept, cases[i].keep);
        mem_free(list.items);
    }
}

static void kl_enters_through_the_ranking_only(void **state)
{
    (void)state;
    const float scores[] = {1, 2};
    CandidateList list = list_of(scores, 1, 2);
    Err err = {0};
    list.items[1].log_ratio = 4;
    assert_ok(raft_order(&list, &(RankOptions){.mode = RANK_LOCAL, .kl_beta = 0.5}, 2, &err), &err); // 1 against 2 - 0.5 * 4 = 0
    assert_selected(&list, "10");
    assert_true(list.items[1].reward == 0.0f && list.items[1].score == 2.0f);
    mem_free(list.items);
}

static void a_reward_that_is_not_finite_is_an_error_naming_the_sample(void **state)
{
    (void)state;
    const float values[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        float scores[] = {1, 2, 3, 4, 5, 6};
        scores[4] = values[i];
        CandidateList list = list_of(scores, 2, 3);
        Err err = {0};
        int status = raft_order(&list, &(RankOptions){.mode = RANK_LOCAL}, 3, &err);
        assert_failed_error(status, &err, "sample 1 of prompt slot 1");
        mem_free(list.items);
    }
}

static void every_prompt_is_used_once_before_any_is_used_again(void **state)
{
    (void)state;
    enum { PROMPTS = 17, B = 5, STAGES = 34 };
    size_t used[PROMPTS] = {0}, stage[B];
    uint32_t order[PROMPTS];
    bool moved = false;
    for (size_t t = 0; t < STAGES; t++) {
        raft_stage_prompts(stage, B, PROMPTS, t, 9, order);
        for (size_t i = 0; i < B; i++) {
            used[stage[i]]++;
            moved |= stage[i] != (t * B + i) % PROMPTS;
            size_t rounds = (t * B + i) / PROMPTS;
            assert_in_range(used[stage[i]], rounds + 1, rounds + 1);
        }
    }
    assert_true(moved);
}

// A generator of numbers: answer k to prompt p is p + k/10, and k its log ratio; fine-tuning notes what was chosen.
typedef struct { float chosen[64]; size_t count, released, asked; } Numbers;

static int numbers_sample(void *self, CandidateList *out, const size_t *prompts, size_t b, size_t K, size_t iteration, Err *err)
{
    (void)iteration;
    for (size_t i = 0; i < b * K; i++) {
        float *item = mem_new(err, 1, sizeof *item);
        *item = (float)prompts[i / K] + (float)(i % K) / 10;
        Candidate c = {.slot = i / K, .prompt = prompts[i / K], .k = i % K, .item = item};
        if (candidates_add(out, &c, err)) return -1;
    }
    (void)self;
    return 0;
}

static int numbers_finetune(void *self, const CandidateList *ranked, size_t iteration, Err *err)
{
    Numbers *numbers = self;
    (void)iteration, (void)err;
    for (size_t i = 0; i < ranked->count; i++)
        if (ranked->items[i].selected) numbers->chosen[numbers->count++] = *(float *)ranked->items[i].item;
    return 0;
}

static int numbers_log_ratio(void *self, CandidateList *candidates, Err *err)
{
    (void)err;
    ((Numbers *)self)->asked++;
    for (size_t i = 0; i < candidates->count; i++) candidates->items[i].log_ratio = (float)candidates->items[i].k;
    return 0;
}

static void numbers_release(void *self, void *item)
{
    ((Numbers *)self)->released++;
    mem_free(item);
}

static int prefer_two_tenths(void *self, CandidateList *candidates, Err *err)
{
    (void)self, (void)err;
    for (size_t i = 0; i < candidates->count; i++) {
        Candidate *c = candidates->items + i;
        c->score = -fabsf(*(float *)c->item - (float)c->prompt - 0.2f);
    }
    return 0;
}

static int note_step(void *self, const char *step, size_t iteration, const CandidateList *candidates, Err *err)
{
    (void)iteration, (void)candidates, (void)err;
    strcat(self, step);
    strcat(self, " ");
    return 0;
}

static Raft raft_of(Numbers *numbers)
{
    return (Raft){.generator = {numbers, numbers_sample, numbers_finetune, numbers_log_ratio, numbers_release},
        .reward = {NULL, prefer_two_tenths}, .prompts = 6, .samples = 4, .seed = 3};
}

static void an_iteration_collects_ranks_and_finetunes(void **state)
{
    (void)state;
    Numbers numbers = {.count = 0};
    char steps[100] = "";
    Raft raft = raft_of(&numbers);
    Err err = {0};
    raft.observer = note_step;
    raft.observer_self = steps;
    assert_ok(raft_iteration(&raft, 0, &err), &err);
    assert_string_equal(steps, "collected ranked finetuned ");
    assert_int_equal(numbers.count, 6);
    assert_int_equal(numbers.released, 24);
    for (size_t i = 0; i < 6; i++) assert_true(fabsf(numbers.chosen[i] - roundf(numbers.chosen[i]) - 0.2f) < 1e-6f);
}

// The reward prefers k = 2; a penalty of 1 for each k makes it 0. Without one p0 is not asked, unless it is wanted.
static void p0_is_asked_when_the_ranking_needs_it_or_it_is_wanted(void **state)
{
    (void)state;
    const struct { double beta; bool measure; size_t asked; float chosen; } cases[] = {{0, false, 0, 0.2f}, {0, true, 1, 0.2f}, {1, false, 1, 0}, {1, true, 1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Numbers numbers = {.count = 0};
        Raft raft = raft_of(&numbers);
        CandidateList candidates = {0};
        Err err = {0};
        raft.rank.kl_beta = cases[i].beta;
        raft.measure_kl = cases[i].measure;
        assert_ok(raft_collect(&raft, &candidates, 0, &err) || raft_rank(&raft, &candidates, &err) || raft_finetune(&raft, &candidates, 0, &err), &err);
        assert_int_equal(numbers.asked, cases[i].asked);
        assert_int_equal(numbers.count, 6);
        for (size_t p = 0; p < 6; p++) assert_true(fabsf(numbers.chosen[p] - roundf(numbers.chosen[p]) - cases[i].chosen) < 1e-6f);
        raft_release(&raft, &candidates);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(local_selects_highest_reward_then_lowest_index),
        cmocka_unit_test(global_keeps_the_best_of_all_with_ties_to_the_lower_index),
        cmocka_unit_test(acceptance_counts_are_those_of_exact_fractions),
        cmocka_unit_test(kl_enters_through_the_ranking_only),
        cmocka_unit_test(a_reward_that_is_not_finite_is_an_error_naming_the_sample),
        cmocka_unit_test(every_prompt_is_used_once_before_any_is_used_again),
        cmocka_unit_test(an_iteration_collects_ranks_and_finetunes),
        cmocka_unit_test(p0_is_asked_when_the_ranking_needs_it_or_it_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
