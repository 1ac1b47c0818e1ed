// SPDX-License-Identifier: MIT
/* test_sample.c - generation against other batches, threads, calls, the training pass and another implementation's greedy
 * continuation. The choice of one token is in test_choose.c. */
#include "tests/support_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/checkpoint.h"
#include "files/safetensors.h"
#include "sample.h"
#include "train.h"

// ---- generation ---------------------------------------------------------------------------------------------------------------

enum { VOCAB = 53, CONTEXT = 80 };

static void small_model(Model *model)
{
    tiny_language_model(model, VOCAB, CONTEXT, 3);
    model->config.bos = model->config.eos = -1; // nothing ends a text by itself
    for (size_t i = 0; i < VOCAB * 32; i++) model->parameters[model->embedding + i] *= 1.5f; // logits that matter
}

// Lengths on both sides of a page of 16.
static const size_t lengths[] = {1, 15, 16, 17, 31, 32, 33, 5};
enum { PROMPTS = sizeof lengths / sizeof *lengths, K = 5, NEW = 21 };
static uint32_t prompt_ids[PROMPTS][CONTEXT];

static void make_prompts(SamplePrompt *prompts)
{
    TestRandom random = {4};
    for (size_t i = 0; i < PROMPTS; i++) {
        for (size_t j = 0; j < CONTEXT; j++) prompt_ids[i][j] = test_integer(&random, VOCAB);
        prompts[i] = (SamplePrompt){.ids = prompt_ids[i], .length = lengths[i], .slot = (uint32_t)(7 + i)};
    }
}

static SampleOptions usual(void)
{
    SampleOptions how = sample_defaults();
    how.samples = K;
    how.max_new = NEW;
    how.temperature = 0.9f;
    how.eos = 11;
    how.seed = 77;
    how.iteration = 2;
    return how;
}

static Sampled *generate(const Model *model, const Compute *on, const SamplePrompt *prompts, size_t count,
    const SampleOptions *how, const Tokenizer *tk)
{
    Err err = {0};
    Sampled *answers = calloc(count * how->samples, sizeof *answers);
    assert_ok(sample_generate(answers, model, on, tk, prompts, count, how, NULL, NULL, &err), &err);
    return answers;
}

static void discard(Sampled *answers, size_t count)
{
    sampled_free(answers, count);
    free(answers);
}

static void assert_same_answer(const Sampled *got, const Sampled *want, const char *what)
{
    assert_int_equal(got->length, want->length);
    assert_int_equal(got->ended, want->ended);
    assert_memory_equal(got->ids, want->ids, want->length * sizeof *want->ids);
    assert_same_bits(got->logprobs, want->logprobs, want->length, what);
    assert_same_bits(&got->logprob, &want->logprob, 1, what);
}

// And gives them back.
static void assert_same_answers(Sampled *got, const Sampled *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) assert_same_answer(got + i, want + i, what);
    discard(got, n);
}

static void batch_size_changes_no_bit(void **state)
{
    static const size_t batches[] = {1, 3, 7, 39, 256};
    Model model;
    SamplePrompt prompts[PROMPTS];
    SampleOptions how = usual();
    (void)state;
    small_model(&model);
    make_prompts(prompts);
    Sampled *want = generate(&model, &test_compute, prompts, PROMPTS, &how, NULL);
    size_t ended = 0, shortest = NEW;
    for (size_t i = 0; i < PROMPTS * K; i++) {
        ended += want[i].ended;
        if (want[i].length < shortest) shortest = want[i].length;
    }
    assert_true(ended > 0 && ended < PROMPTS * K && shortest < NEW / 2); // sequences do leave and enter
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
        how.batch = batches[b];
        Sampled *got = generate(&model, &test_compute, prompts, PROMPTS, &how, NULL);
        assert_same_answers(got, want, PROMPTS * K, "another batch");
    }
    discard(want, PROMPTS * K);
    model_free(&model);
}

// So many that threads take shares of the sequences through all layers, and share the pages of their prompts meanwhile.
static void many_sequences_have_the_bits_of_few(void **state)
{
    enum { MANY = 36 };
    Model model;
    SamplePrompt prompts[PROMPTS];
    SampleOptions how = usual();
    (void)state;
    small_model(&model);
    make_prompts(prompts);
    how.samples = MANY;
    how.batch = 7;
    Sampled *want = generate(&model, &test_compute, prompts, PROMPTS, &how, NULL);
    how.batch = PROMPTS * MANY;
    for (size_t threads = 1; threads <= 3; threads++) {
        Compute cx;
        Err err = {0};
        assert_ok(compute_init(&cx, NULL, NULL, threads, &err), &err);
        Sampled *got = generate(&model, &cx, prompts, PROMPTS, &how, NULL);
        assert_same_answers(got, want, PROMPTS * MANY, "many sequences");
        compute_free(&cx);
    }
    discard(want, PROMPTS * MANY);
    model_free(&model);
}

static int stop_now(void *self, size_t tokens, size_t done, size_t total)
{
    (void)self, (void)tokens, (void)done, (void)total;
    return 1;
}

// Packed weights and pages that are left from call to call: of a call that was stopped, of a smaller one, of another model, of other weights.
static void what_a_call_leaves_changes_no_bit(void **state)
{
    Model models[2];
    SamplePrompt prompts[PROMPTS];
    Err err = {0};
    (void)state;
    for (size_t m = 0; m < 2; m++) small_model(models + m);
    for (size_t i = 0; i < models[1].parameter_count; i++) models[1].parameters[i] *= 1.25f;
    make_prompts(prompts);
    SampleRoom *room = sample_room_new(&err);
    assert_non_null(room);
    SampleOptions with = usual(), without = usual();
    with.room = room;
    Sampled *answers = calloc(PROMPTS * K, sizeof *answers);
    for (size_t i = 0; i < 8; i++) // each would hold pages
        assert_failed_error(sample_generate(answers, models, &test_compute, NULL, prompts, PROMPTS, &with, stop_now, NULL, &err), &err, "was stopped");
    free(answers);
    for (size_t call = 0; call < 6; call++) { // models 0 0 1 0 0 0
        const Model *model = models + (call == 2);
        with.samples = without.samples = call == 1 ? K : 2; // more pages, then fewer
        with.max_new = without.max_new = call == 3 ? 2 : NEW; // too few tokens to pack for
        if (call == 5) {
            for (size_t i = 0; i < models->parameter_count; i++) models->parameters[i] *= 0.75f;
            sample_room_empty(room);
        }
        Sampled *got = generate(model, &test_compute, prompts, PROMPTS, &with, NULL), *want = generate(model, &test_compute, prompts, PROMPTS, &without, NULL);
        assert_same_answers(got, want, PROMPTS * with.samples, "what was left");
        discard(want, PROMPTS * with.samples);
    }
    sample_room_free(room);
    for (size_t m = 0; m < 2; m++) model_free(models + m);
}

static void threads_and_instruction_sets_change_no_bit(void **state)
{
    const Kernels *list[4];
    Model model;
    SamplePrompt prompts[PROMPTS];
    SampleOptions how = usual();
    Err err = {0};
    (void)state;
    small_model(&model);
    make_prompts(prompts);
    how.top_k = 20;
    how.top_p = 0.9f;
    Sampled *want = generate(&model, &test_compute, prompts, PROMPTS, &how, NULL);
    size_t sets = kernels_available(list);
    for (size_t i = 0; i < 3 + sets; i++) {
        Compute other;
        assert_ok(compute_init(&other, i < 3 ? NULL : list[i - 3]->isa, "own", i < 3 ? i + 1 : 2, &err), &err);
        Sampled *got = generate(&model, &other, prompts, PROMPTS, &how, NULL);
        for (size_t j = 0; j < PROMPTS * K; j++) assert_same_answer(got + j, want + j, other.k->isa);
        discard(got, PROMPTS * K);
        compute_free(&other);
    }
    discard(want, PROMPTS * K);
    model_free(&model);
}

static void shared_prefill_equals_one_call_a_candidate(void **state)
{
    Model model;
    SamplePrompt prompts[PROMPTS];
    SampleOptions how = usual();
    (void)state;
    small_model(&model);
    make_prompts(prompts);
    Sampled *together = generate(&model, &test_compute, prompts, PROMPTS, &how, NULL);
    how.samples = 1;
    for (size_t i = 0; i < PROMPTS; i++)
        for (size_t k = 0; k < K; k++) {
            how.first_sample = k;
            Sampled *alone = generate(&model, &test_compute, prompts + i, 1, &how, NULL);
            assert_same_answer(alone, together + i * K + k, "alone");
            discard(alone, 1);
        }
    discard(together, PROMPTS * K);
    model_free(&model);
}

static void a_token_depends_on_every_part_of_its_counter(void **state)
{
    Model model;
    SamplePrompt prompts[PROMPTS];
    SampleOptions how = usual();
    (void)state;
    small_model(&model);
    make_prompts(prompts);
    how.eos = -1;
    Sampled *base = generate(&model, &test_compute, prompts, 1, &how, NULL);
    for (size_t change = 0; change < 5; change++) {
        SampleOptions other = how;
        if (change == 0) other.seed++;
        if (change == 1) other.stream = STREAM_EVAL;
        if (change == 2) other.iteration++;
        if (change == 3) other.first_sample = K;
        prompts[0].slot += change == 4;
        Sampled *got = generate(&model, &test_compute, prompts, 1, &other, NULL);
        assert_memory_not_equal(got->ids, base->ids, NEW * sizeof *base->ids);
        discard(got, K);
    }
    assert_memory_not_equal(base[0].ids, base[1].ids, NEW * sizeof *base->ids);
    discard(base, K);
    model_free(&model);
}

static void a_drawn_length_cuts_an_answer_and_changes_no_token(void **state)
{
    Model model;
    SamplePrompt prompts[PROMPTS];
    SampleOptions how = usual(), drawn;
    bool seen[NEW + 1] = {false};
    (void)state;
    small_model(&model);
    make_prompts(prompts);
    how.eos = -1;
    drawn = how;
    drawn.min_new = 3;
    Sampled *whole = generate(&model, &test_compute, prompts, PROMPTS, &how, NULL), *cut = generate(&model, &test_compute, prompts, PROMPTS, &drawn, NULL);
    for (size_t i = 0; i < PROMPTS * K; i++) {
        uint32_t w[4];
        philox_draw(w, how.seed, (PhiloxCounter){.c0 = STREAM_SAMPLE, .c1 = (uint32_t)(i % K), .c2 = prompts[i / K].slot,
            .c3 = philox_stream(STREAM_LENGTH, how.iteration)});
        assert_int_equal(cut[i].length, 3 + philox_below(w[0], NEW - 2));
        assert_memory_equal(cut[i].ids, whole[i].ids, cut[i].length * sizeof *cut[i].ids);
        assert_false(cut[i].ended);
        seen[cut[i].length] = true;
    }
    size_t kinds = 0;
    for (size_t n = 0; n <= NEW; n++) kinds += seen[n];
    assert_true(kinds > 2);
    discard(whole, PROMPTS * K);
    discard(cut, PROMPTS * K);
    Err err = {0};
    drawn.min_new = NEW + 1;
    assert_input_error(sample_check(&drawn, &model, NULL, &err), &err, "is above --max-new");
    model_free(&model);
}

// The KV cache against a full pass: each token's log-probability, and the sum, have the bits of lm_evaluate.
static void log_probabilities_have_the_bits_of_a_full_pass(void **state)
{
    Model model;
    SamplePrompt prompts[PROMPTS];
    SampleOptions how = usual();
    Err err = {0};
    (void)state;
    small_model(&model);
    make_prompts(prompts);
    Sampled *answers = generate(&model, &test_compute, prompts, PROMPTS, &how, NULL);
    for (size_t i = 0; i < PROMPTS * K; i++) {
        const SamplePrompt *prompt = prompts + i / K;
        const Sampled *a = answers + i;
        uint32_t ids[CONTEXT];
        Example examples[NEW + 1];
        float got[NEW + 1];
        memcpy(ids, prompt->ids, prompt->length * sizeof *ids);
        memcpy(ids + prompt->length, a->ids, a->length * sizeof *ids);
        for (size_t t = 0; t < a->length; t++)
            examples[t] = (Example){.ids = ids, .length = prompt->length + t + 1, .prompt = prompt->length + t};
        examples[a->length] = (Example){.ids = ids, .length = prompt->length + a->length, .prompt = prompt->length};
        assert_ok(lm_evaluate(&model, &test_compute, examples, a->length + 1, got, NULL, &err), &err);
        assert_same_bits(a->logprobs, got, a->length, "log-probabilities");
        assert_same_bits(&a->logprob, got + a->length, 1, "their sum");
    }
    discard(answers, PROMPTS * K);
    model_free(&model);
}

static void end_of_text_ends_and_is_kept(void **state)
{
    Model model;
    SamplePrompt prompts[PROMPTS];
    SampleOptions how = usual();
    (void)state;
    small_model(&model);
    make_prompts(prompts);
    how.eos = -1;
    Sampled *open = generate(&model, &test_compute, prompts, PROMPTS, &how, NULL);
    how.eos = open[2].ids[4];
    Sampled *closed = generate(&model, &test_compute, prompts, PROMPTS, &how, NULL);
    for (size_t i = 0; i < PROMPTS * K; i++) {
        size_t end = 0;
        while (end < NEW && open[i].ids[end] != (uint32_t)how.eos) end++;
        assert_int_equal(open[i].length, NEW);
        assert_false(open[i].ended);
        assert_int_equal(closed[i].ended, end < NEW);
        assert_int_equal(closed[i].length, end < NEW ? end + 1 : NEW);
        assert_memory_equal(closed[i].ids, open[i].ids, closed[i].length * sizeof(uint32_t));
    }
    assert_true(closed[2].ended);
    discard(open, PROMPTS * K);
    discard(closed, PROMPTS * K);
    model_free(&model);
}

// Two-letter tokens over few letters, some of them special: stop strings begin and end inside tokens, and pass over special ones.
static char token_bytes[VOCAB][3];
static TextView token_views[VOCAB];
static bool token_special[VOCAB];
static Tokenizer letters(void)
{
    for (size_t i = 0; i < VOCAB; i++) {
        token_bytes[i][0] = (char)('a' + i % 3);
        token_bytes[i][1] = (char)('a' + i / 3 % 3);
        token_views[i] = (TextView){.bytes = token_bytes[i], .length = 2};
        token_special[i] = i % 4 == 1;
    }
    return (Tokenizer){.vocab = VOCAB, .tokens = token_views, .special = token_special};
}

static void stop_string_is_found_across_tokens(void **state)
{
    static const char *const stops[] = {"a", "ab", "aab", "abab", "cabc", "aabaab", "ccbccb"};
    Model model;
    SamplePrompt prompts[PROMPTS];
    SampleOptions how = usual();
    Tokenizer tk = letters();
    Err err = {0};
    size_t found = 0;
    (void)state;
    small_model(&model);
    make_prompts(prompts);
    how.eos = -1;
    Sampled *open = generate(&model, &test_compute, prompts, PROMPTS, &how, NULL);
    for (size_t s = 0; s < sizeof stops / sizeof *stops; s++) {
        how.stop = stops[s];
        Sampled *closed = generate(&model, &test_compute, prompts, PROMPTS, &how, &tk);
        for (size_t i = 0; i < PROMPTS * K; i++) {
            char text[2 * NEW + 1] = "";
            size_t end = 0, used = 0;
            for (; end < NEW && !strstr(text, stops[s]); end++) {
                if (!token_special[open[i].ids[end]]) memcpy(text + used, token_bytes[open[i].ids[end]], 3), used += 2;
            }
            char *hit = strstr(text, stops[s]);
            assert_int_equal(closed[i].ended, hit != NULL);
            assert_int_equal(closed[i].length, end);
            assert_memory_equal(closed[i].ids, open[i].ids, end * sizeof(uint32_t));
            found += hit != NULL;
            if (hit) *hit = '\0';
            Text cut = {0};
            assert_ok(sample_text(&cut, &tk, closed[i].ids, closed[i].length, stops[s], &err), &err);
            assert_string_equal(cut.data ? cut.data : "", text);
            text_free(&cut);
        }
        discard(closed, PROMPTS * K);
    }
    assert_true(found > PROMPTS * K);
    discard(open, PROMPTS * K);
    model_free(&model);
}

static void text_of_broken_utf8_is_repaired(void **state)
{
    TextView views[3] = {{.bytes = "x\xc3", .length = 2}, {.bytes = "\xa9y", .length = 2}, {.bytes = "<s>", .length = 3}};
    bool special[3] = {false, false, true};
    Tokenizer tk = {.vocab = 3, .tokens = views, .special = special};
    uint32_t whole[] = {0, 2, 1}, broken[] = {1, 0}, bad[] = {3};
    Text text = {0};
    Err err = {0};
    (void)state;
    assert_ok(sample_text(&text, &tk, whole, 3, NULL, &err), &err);
    assert_string_equal(text.data, "x\xc3\xa9y");
    assert_ok(sample_text(&text, &tk, broken, 2, "z", &err), &err);
    assert_string_equal(text.data, "x\xc3\xa9y\xef\xbf\xbdyx\xef\xbf\xbd");
    assert_input_error(sample_text(&text, &tk, bad, 1, NULL, &err), &err, "id 3");
    text_free(&text);
}

static void greedy_continuation_is_the_known_one(void **state)
{
    static const char *const names[] = {"llama-tiny", "llama-untied"};
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        Err err = {0};
        char *folder = golden_path(names[n]);
        assert_non_null(folder);
        char *path = path_in(folder, "expected.safetensors");
        Model model;
        Safetensors st;
        int64_t want[46], input[46 * 4];
        uint32_t ids[46];
        assert_ok(checkpoint_load(&model, folder, &err), &err);
        assert_ok(safetensors_open(&st, path, &err), &err);
        const StTensor *greedy = safetensors_find(&st, "greedy"), *given = safetensors_find(&st, "input_ids");
        assert_true(greedy && given && greedy->count == 46 && given->count <= 46 * 4);
        assert_ok(safetensors_read_i64(&st, greedy, want, 46, &err), &err);
        assert_ok(safetensors_read_i64(&st, given, input, given->count, &err), &err);
        for (size_t i = 0; i < 6; i++) ids[i] = (uint32_t)input[i];
        SamplePrompt prompt = {.ids = ids, .length = 6};
        SampleOptions how = sample_defaults();
        how.temperature = 0;
        how.max_new = 40;
        Sampled *answer = generate(&model, &test_compute, &prompt, 1, &how, NULL);
        for (size_t i = 0; i < 6; i++) assert_int_equal(want[i], input[i]);
        for (size_t i = 0; i < 40; i++)
            if (answer->ids[i] != (uint32_t)want[6 + i])
                fail_msg("%s, token %zu: %u, expected %d", names[n], i, (unsigned)answer->ids[i], (int)want[6 + i]);
        discard(answer, 1);
        safetensors_close(&st);
        model_free(&model);
        free(path);
        free(folder);
    }
}

// ---- what is refused ----------------------------------------------------------------------------------------------------------

static int try_one(const Model *model, const SamplePrompt *prompt, const SampleOptions *how, Err *err)
{
    Sampled answers[K] = {{0}};
    int status = sample_generate(answers, model, &test_compute, NULL, prompt, 1, how, NULL, NULL, err);
    assert_true(!status || !answers[0].ids); // nothing is left to free after an error
    sampled_free(answers, K);
    return status;
}

static void unusable_requests_are_refused(void **state)
{
    Model model;
    SamplePrompt prompts[PROMPTS], bad;
    SampleOptions how;
    Err err = {0};
    (void)state;
    small_model(&model);
    make_prompts(prompts);
    how = usual(), how.samples = 0;
    assert_input_error(try_one(&model, prompts, &how, &err), &err, "--samples");
    how = usual(), how.max_new = 0;
    assert_input_error(try_one(&model, prompts, &how, &err), &err, "--max-new");
    const float temperatures[] = {-1, NAN, INFINITY, 1e-6f};
    for (size_t i = 0; i < 4; i++) {
        how = usual(), how.temperature = temperatures[i];
        assert_input_error(try_one(&model, prompts, &how, &err), &err, "--temperature");
    }
    how = usual(), how.top_p = 0;
    assert_input_error(try_one(&model, prompts, &how, &err), &err, "--top-p");
    how = usual(), how.stop = "x";
    assert_input_error(try_one(&model, prompts, &how, &err), &err, "tokenizer");
    how = usual();
    bad = (SamplePrompt){.ids = prompt_ids[0], .length = CONTEXT - NEW + 1, .slot = 31};
    assert_input_error(try_one(&model, &bad, &how, &err), &err, "slot 31");
    bad.length--;
    assert_ok(try_one(&model, &bad, &how, &err), &err);
    bad.length = 0;
    assert_input_error(try_one(&model, &bad, &how, &err), &err, "slot 31");
    uint32_t outside[] = {0, VOCAB};
    bad = (SamplePrompt){.ids = outside, .length = 2, .slot = 5};
    assert_input_error(try_one(&model, &bad, &how, &err), &err, "vocabulary of 53");
    model_free(&model);
}

static void diverged_weights_name_slot_and_candidate(void **state)
{
    Model model;
    SamplePrompt prompts[PROMPTS];
    SampleOptions how = usual();
    Err err = {0};
    (void)state;
    small_model(&model);
    make_prompts(prompts);
    model.parameters[model.norm] = NAN;
    assert_failed_error(try_one(&model, prompts, &how, &err), &err, "slot 7, candidate");
    model_free(&model);
}

static int stop_at_once(void *self, size_t tokens, size_t done, size_t all)
{
    *(size_t *)self += tokens;
    assert_true(done <= all && all == K);
    return 1;
}

static void progress_can_stop(void **state)
{
    Model model;
    SamplePrompt prompts[PROMPTS];
    SampleOptions how = usual();
    Sampled answers[K] = {{0}};
    size_t tokens = 0;
    Err err = {0};
    (void)state;
    small_model(&model);
    make_prompts(prompts);
    assert_failed_error(sample_generate(answers, &model, &test_compute, NULL, prompts, 1, &how, stop_at_once, &tokens, &err), &err,
        "stopped");
    assert_int_equal(tokens, 2 * K); // the prefill's tokens and one step
    assert_null(answers[0].ids);
    model_free(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_size_changes_no_bit),
        cmocka_unit_test(many_sequences_have_the_bits_of_few),
        cmocka_unit_test(what_a_call_leaves_changes_no_bit),
        cmocka_unit_test(threads_and_instruction_sets_change_no_bit),
        cmocka_unit_test(shared_prefill_equals_one_call_a_candidate),
        cmocka_unit_test(a_token_depends_on_every_part_of_its_counter),
        cmocka_unit_test(a_drawn_length_cuts_an_answer_and_changes_no_token),
        cmocka_unit_test(log_probabilities_have_the_bits_of_a_full_pass),
        cmocka_unit_test(end_of_text_ends_and_is_kept),
        cmocka_unit_test(stop_string_is_found_across_tokens),
        cmocka_unit_test(text_of_broken_utf8_is_repaired),
        cmocka_unit_test(greedy_continuation_is_the_known_one),
        cmocka_unit_test(unusable_requests_are_refused),
        cmocka_unit_test(diverged_weights_name_slot_and_candidate),
        cmocka_unit_test(progress_can_stop),
    };
    return cmocka_run_group_tests(tests, make_test_compute, drop_test_compute);
}
