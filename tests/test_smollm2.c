// SPDX-License-Identifier: MIT
// SmolLM2-135M-Instruct out of its GGUF file ($RAFT_SMOLLM2; sh data/get_smollm2.sh prints it) beside what transformers computes
// from the same file. Token ids come from the fixture, so that the tokenizer has no part in it; but those of whole reviews, whose
// texts are in the archive of the reviews.
#include "tests/support.h"

#include "files/corpus.h"
#include "files/gguf_model.h"
#include "files/jsonl.h"
#include "loss.h"
#include "sample.h"
#include "train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static Compute cx;
static Model model;
static Tokenizer tokenizer;
static bool loaded;

static int open_all(void **state)
{
    (void)state;
    Err err = {0};
    Gguf gguf;
    const char *path = getenv("RAFT_SMOLLM2");
    if (compute_init(&cx, NULL, "own", 0, &err)) return print_error("%s\n", err.text), -1;
    if (!path || !*path) return 0;
    if (gguf_open(&gguf, path, &err) || gguf_load_model(&model, &gguf, NULL, NULL, &err) || gguf_load_tokenizer(&tokenizer, &gguf, &err))
        return print_error("%s\n", err.text), -1;
    gguf_close(&gguf);
    loaded = true;
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    model_free(&model);
    tokenizer_free(&tokenizer);
    compute_free(&cx);
    return 0;
}

// The lines of a fixture file; a missing file or model skips the test.
static json_t *fixture_lines(const char *name)
{
    if (!loaded) skip_because("RAFT_SMOLLM2 is not set: it names SmolLM2's GGUF file (sh data/get_smollm2.sh)");
    char *path = shared_path(name);
    if (!path) skip_because("../shared/%s is missing", name);
    Err err = {0};
    JsonLines in;
    json_t *list = json_array(), *line;
    int got;
    assert_ok(jsonl_open(&in, path, &err), &err);
    while ((got = jsonl_next(&in, &line, &err)) == 1) json_array_append_new(list, line);
    assert_ok(got, &err);
    jsonl_close(&in);
    free(path);
    return list;
}

static TokenList tokens_of(const json_t *line, const char *key)
{
    TokenList ids = {0};
    Err err = {0};
    assert_ok(json_get_tokens(line, key, &ids, "fixture", &err), &err);
    return ids;
}

static const char expected_file[] = "fixtures/smollm2-135m-instruct-q4_1/expected.jsonl";

static void last_logits(float *logits, const TokenList *ids)
{
    Err err = {0};
    Workspace ws;
    LossScratch scratch;
    uint32_t last = (uint32_t)ids->length - 1;
    assert_ok(workspace_init(&ws, &model, &cx, ids->length, 1, false, &err) || loss_scratch_init(&scratch, &model, &cx, ids->length,
        &err), &err);
    batch_add(&ws, ids->ids, ids->length);
    model_forward(&model, NULL, &ws);
    lm_logits(&model, NULL, &ws, &scratch, logits, &last, 1);
    workspace_free(&ws);
    loss_scratch_free(&scratch);
}

static void largest_logits_are_those_of_transformers(void **state)
{
    (void)state;
    json_t *lines = fixture_lines(expected_file);
    float *logits = malloc(model.config.vocab * sizeof *logits);
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *line = json_array_get(lines, i);
        if (!json_object_get(line, "top10_ids")) continue;
        TokenList ids = tokens_of(line, "ids"), top = tokens_of(line, "top10_ids");
        last_logits(logits, &ids);
        double largest = -INFINITY, sum = 0, least = INFINITY;
        for (size_t k = 0; k < 10; k++) {
            double want = json_number_value(json_array_get(json_object_get(line, "top10_logits"), k)), got = logits[top.ids[k]];
            if (!(fabs(got - want) <= 1e-3)) fail_msg("prompt %zu: logit of %u is %.5f, expected %.5f", i, (unsigned)top.ids[k], got, want);
            if (got > largest) largest = got;
            if (got < least) least = got;
        }
        size_t above = 0;
        for (size_t k = 0; k < model.config.vocab; k++) {
            sum += exp(logits[k] - largest);
            above += (double)logits[k] > least + 2e-3;
        }
        assert_true(above <= 10);
        double got = largest + log(sum), want = json_number_value(json_object_get(line, "logsumexp"));
        if (!(fabs(got - want) <= 1e-4 * fabs(want))) fail_msg("prompt %zu: log-sum-exp %.5f, expected %.5f", i, got, want);
        tokens_free(&ids);
        tokens_free(&top);
    }
    free(logits);
    json_decref(lines);
}

// How much larger our choice's logit is than theirs, after a prompt and the tokens that both agree on.
static float margin(const TokenList *prompt, const Sampled *answer, size_t same, uint32_t theirs)
{
    Err err = {0};
    TokenList ids = {0};
    float *logits = malloc(model.config.vocab * sizeof *logits);
    assert_ok(tokens_append(&ids, &err, prompt->ids, prompt->length) || tokens_append(&ids, &err, answer->ids, same), &err);
    last_logits(logits, &ids);
    float difference = logits[answer->ids[same]] - logits[theirs];
    free(logits);
    tokens_free(&ids);
    return difference;
}

// A near-tie may part two implementations: its margin is shown. 30 of 40 tokens are asked for.
static void greedy_text_is_that_of_transformers(void **state)
{
    (void)state;
    json_t *lines = fixture_lines(expected_file);
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *line = json_array_get(lines, i);
        if (!json_object_get(line, "greedy_ids")) continue;
        TokenList ids = tokens_of(line, "ids"), want = tokens_of(line, "greedy_ids");
        SampleOptions how = sample_defaults();
        SamplePrompt prompt = {.ids = ids.ids, .length = ids.length};
        Sampled answer = {0};
        Err err = {0};
        how.samples = 1, how.max_new = want.length, how.temperature = 0, how.eos = model.config.eos;
        assert_ok(sample_generate(&answer, &model, &cx, NULL, &prompt, 1, &how, NULL, NULL, &err), &err);
        size_t same = 0, n = answer.length < want.length ? answer.length : want.length;
        while (same < n && answer.ids[same] == want.ids[same]) same++;
        print_message("prompt %zu: %zu of %zu greedy tokens agree\n", i, same, want.length);
        if (same < n) {
            float tie = margin(&ids, &answer, same, want.ids[same]);
            print_message("prompt %zu: parted at token %zu by a margin of %.5f\n", i, same, (double)tie);
            if (!(tie <= 2e-3f)) fail_msg("prompt %zu: no near-tie: a margin of %.5f at token %zu", i, (double)tie, same);
            if (same < 30) fail_msg("prompt %zu: only the first %zu of %zu greedy tokens agree", i, same, want.length);
        }
        if (n < 30 && n < want.length && want.ids[n - 1] != (uint32_t)how.eos) fail_msg("prompt %zu: ended after %zu tokens", i, n);
        sampled_free(&answer, 1);
        tokens_free(&ids);
        tokens_free(&want);
    }
    json_decref(lines);
}

// The reviews that the fixture names, out of their archive; none when it is not there.
static void read_reviews(Corpus *reviews, const json_t *lines, size_t first, size_t count)
{
    char *archive = shared_path("data/imdb/aclImdb_labeled.tar.gz"), *folder = temporary_folder(), *test = path_in(folder, "aclImdb/test");
    Err err = {0};
    Text command = {0};
    if (archive) {
        assert_ok(text_printf(&command, &err, "tar -xzf '%s' -C '%s'", archive, folder), &err);
        for (size_t i = 0; i < count; i++)
            assert_ok(text_printf(&command, &err, " aclImdb/%s", json_string_value(json_object_get(json_array_get(lines, first + i), "review"))), &err);
        assert_int_equal(system(command.data), 0);
        assert_ok(corpus_read(reviews, test, &err), &err);
    }
    text_free(&command);
    remove_folder(folder);
    free(archive), free(folder), free(test);
}

// review: "test/pos/...", where the corpus of the folder test has "pos/...".
static TokenList tokens_of_review(const Corpus *reviews, const char *review)
{
    Err err = {0};
    TokenList ids = {0};
    size_t i = 0;
    while (i < reviews->count && strcmp(reviews->items[i].id, review + strlen("test/"))) i++;
    assert_true(i < reviews->count);
    assert_ok(tokenizer_encode(&tokenizer, &ids, reviews->items[i].text, reviews->items[i].length, &err), &err);
    return ids;
}

// Without the archive, encodings.jsonl holds the beginnings of the same reviews, up to 600 letters: enough for most of the 128 tokens.
// The last two tokens of a cut text may be other ones than in the whole review; reviews too short for that margin are passed over.
static void likelihood_of_reviews_is_that_of_transformers(void **state)
{
    (void)state;
    enum { OTHER_TEXTS = 31, PROMPTS = 4, REVIEWS = 24 };
    json_t *lines = fixture_lines(expected_file), *texts = fixture_lines("fixtures/smollm2-135m-instruct-q4_1/encodings.jsonl");
    Corpus reviews = {0};
    read_reviews(&reviews, lines, PROMPTS, REVIEWS);
    bool whole = reviews.count > 0;
    size_t compared = 0;
    for (size_t i = 0; i < REVIEWS; i++) {
        const json_t *line = json_array_get(lines, PROMPTS + i);
        size_t n = (size_t)json_integer_value(json_object_get(line, "first_tokens"));
        TokenList ids = whole ? tokens_of_review(&reviews, json_string_value(json_object_get(line, "review"))) :
            tokens_of(json_array_get(texts, OTHER_TEXTS + i), "ids");
        if (whole ? ids.length >= n : ids.length == n ? n < 128 : ids.length >= n + 2) {
            Example example = {.ids = ids.ids, .length = n, .prompt = 1};
            float logprob;
            Err err = {0};
            assert_ok(lm_evaluate(&model, &cx, &example, 1, &logprob, NULL, &err), &err);
            double want = json_number_value(json_object_get(line, "nll_sum"));
            if (!(fabs(-(double)logprob - want) <= 1e-4 * want)) fail_msg("review %zu: %.3f nats, expected %.3f", i, -(double)logprob,
                want);
            compared++;
        }
        tokens_free(&ids);
    }
    print_message("%zu of %d reviews compared\n", compared, REVIEWS);
    if (whole) assert_int_equal(compared, REVIEWS);
    else assert_true(compared >= 18);
    corpus_free(&reviews);
    json_decref(lines);
    json_decref(texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(largest_logits_are_those_of_transformers),
        cmocka_unit_test(greedy_text_is_that_of_transformers),
        cmocka_unit_test(likelihood_of_reviews_is_that_of_transformers),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
