// SPDX-License-Identifier: MIT
/* test_experiment.c - the experiment that begins with a pretrained checkpoint: what is taken, what is trained, what is shared. */
#define _POSIX_C_SOURCE 200809L // symlink
#include "tests/support_cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "files/checkpoint.h"
#include "files/jsonl.h"
#include "study/documents.h"

// "start": a language model of two layers with its tokenizer, as an earlier program left it.
static int make_start(void **state)
{
    cli_make_folder(state);
    expect(raft("demo --profile contract --iterations 1 -o @/made --quiet"), 0, "report.html");
    expect(raft("import @/made/lm -o @/start"), 0, "Hugging Face");
    return 0;
}

static json_t *document(const char *name)
{
    Err err = {0};
    char *path = cli_path(name);
    json_t *value = json_load_document(path, &err);
    if (!value) fail_msg("%s", err.text);
    free(path);
    return value;
}

static void assert_recorded_alike(const char *name, const char *key, const char *other, const char *other_key)
{
    json_t *a = document(name), *b = document(other);
    const char *ours = json_string_value(json_object_get(a, key)), *theirs = json_string_value(json_object_get(b, other_key));
    assert_non_null(ours);
    assert_non_null(theirs);
    assert_string_equal(ours, theirs);
    json_decref(a);
    json_decref(b);
}

static void load(Model *model, const char *name)
{
    Err err = {0};
    char *path = cli_path(name);
    assert_ok(checkpoint_load(model, path, &err), &err);
    free(path);
}

// Every tensor of `trained` that is in `start` and not in layer `layer` has the same bits; one of that layer has others.
static void assert_only_layer(const char *trained, const char *start, unsigned layer)
{
    Model a, b;
    char prefix[40];
    bool moved = false;
    load(&a, trained);
    load(&b, start);
    snprintf(prefix, sizeof prefix, "model.layers.%u.", layer);
    for (size_t i = 0; i < a.tensor_count; i++) {
        const Tensor *t = a.tensors + i, *from = model_find(&b, t->name);
        if (!from) continue;
        bool same = !memcmp(a.parameters + t->offset, b.parameters + from->offset, t->rows * t->cols * sizeof(float));
        bool may_move = !strncmp(t->name, prefix, strlen(prefix));
        if (!same && !may_move) fail_msg("%s: %s was to stay as it is in %s", trained, t->name, start);
        moved |= !same;
    }
    if (!moved) fail_msg("%s: nothing was trained", trained);
    model_free(&a);
    model_free(&b);
}

#define PPO_PLAIN "--ppo.top-k 0 --ppo.top-p 1 --ppo.kl-beta 0 "

// ---- what is taken ---------------------------------------------------------------------------------------------------------------

static void init_is_read_where_it_lies_and_recorded(void **state)
{
    (void)state;
    expect(raft("demo --profile contract --init @/start -o @/taken --quiet"), 0, "report.html");
    assert_false(cli_have("taken/lm/config.json"));
    assert_false(cli_have("taken/tokenizer.json"));
    assert_recorded_alike("taken/provenance.json", "start_hash", "made/provenance.json", "lm_hash");
    // From the same model, with heads from it, on the same texts: the same answers.
    expect(raft("demo --profile contract --iterations 2 -o @/scratch --quiet"), 0, "report.html");
    cli_assert_same_file("taken/iter_001/candidates.jsonl", "scratch/iter_001/candidates.jsonl");
    cli_assert_same_file("taken/heads.json", "scratch/heads.json");
    expect(raft("demo --profile contract --init @/taken/proxy -o @/no"), 2, "a reward model; expected a language model");
    expect(raft("demo --profile contract --adapt -o @/no"), 2, "--adapt goes on with the model of --init CKPT, which is missing");
    expect(raft("demo --profile contract --train-layers 1 -o @/no"), 2, "all layers of a model that begins with random weights");
}

static void adapt_trains_the_taken_model_first(void **state)
{
    (void)state;
    expect(raft("demo --profile contract --init @/start --adapt --pretrain.context 20 --pretrain.train-layers 1 --proxy.train-layers 0 --iterations 1 -o @/adapted --quiet"), 0,
        "report.html");
    assert_only_layer("adapted/lm", "start", 1);
    assert_only_layer("adapted/proxy", "adapted/lm", 0); // one layer, of the adapted model
}

static void only_the_named_layers_are_trained(void **state)
{
    (void)state;
    expect(raft("compare --profile contract --init @/start --seeds 1 --arm raft --arm ppo --raft.train-layers 1 --ppo.train-layers 0-0 --gold.train-layers 1 "
        PPO_PLAIN "-o @/frozen --quiet"), 0, "raft ");
    assert_only_layer("frozen/arms/raft-s1/checkpoint", "start", 1);
    assert_only_layer("frozen/arms/ppo-s1/checkpoint", "start", 0);
    assert_only_layer("frozen/gold", "start", 1);
    expect(raft("compare --profile contract --init @/start --seeds 1 --arm raft --train-layers 5 -o @/five"), 2, "--train-layers 5: the model has layers 0 to 0");
}

// ---- what people wrote -----------------------------------------------------------------------------------------------------------

static void human_answers_compete_where_the_review_is_positive(void **state)
{
    (void)state;
    expect(raft("compare --profile contract --init @/start --seeds 1 --arm \"h:raft expert=human iterations=1\" -o @/human --quiet"), 0, "h ");
    char *path = cli_path("human/arms/h-s1/iter_000/candidates.jsonl");
    JsonLines in;
    json_t *line;
    Err err = {0};
    size_t human = 0, slots = 0;
    assert_ok(jsonl_open(&in, path, &err), &err);
    while (jsonl_next(&in, &line, &err) == 1) {
        size_t k = (size_t)json_figure(line, "k", NULL);
        const char *id = json_string_value(json_object_get(line, "prompt_id"));
        bool positive = strtoul(id + strlen("review "), NULL, 10) % 2 == 1; // of the built-in ones
        slots += k == 0;
        if (k == 4) { // after the policy's four
            human++;
            assert_true(positive);
            assert_string_equal(json_string_value(json_object_get(line, "source")), "human");
            assert_true(json_array_size(json_object_get(line, "tokens")) <= 12);
            assert_true(json_figure(line, "logprob", NULL) == json_figure(line, "ref_logprob", NULL)); // before any training
        }
        json_decref(line);
    }
    jsonl_close(&in);
    free(path);
    assert_int_equal(slots, 8);
    assert_true(human > 0 && human < 8);
}

// ---- prompts -----------------------------------------------------------------------------------------------------------------------

typedef struct { size_t prompts, least, most, lengths; } PromptSizes;

static size_t count_words(const char *text)
{
    size_t words = 0;
    for (const char *c = text; *c; c++) words += *c != ' ' && (c == text || c[-1] == ' ');
    return words;
}

// Of the prompts of a run's first iteration, in characters, words or tokens; the texts are ASCII.
static PromptSizes prompt_sizes(const char *run, const char *unit)
{
    char name[80];
    snprintf(name, sizeof name, "%s/iter_000/candidates.jsonl", run);
    char *path = cli_path(name);
    JsonLines in;
    json_t *line;
    Err err = {0};
    bool seen[100] = {false};
    PromptSizes sizes = {.least = SIZE_MAX};
    assert_ok(jsonl_open(&in, path, &err), &err);
    while (jsonl_next(&in, &line, &err) == 1) {
        const char *text = json_string_value(json_object_get(line, "prompt"));
        size_t n = !strcmp(unit, "words") ? count_words(text) : !strcmp(unit, "characters") ? strlen(text)
            : json_array_size(json_object_get(line, "prompt_tokens"));
        assert_true(n < 100);
        assert_null(strstr(!strcmp(unit, "words") ? text : "", "  "));
        sizes.prompts++;
        sizes.lengths += !seen[n];
        seen[n] = true;
        if (n < sizes.least) sizes.least = n;
        if (n > sizes.most) sizes.most = n;
        json_decref(line);
    }
    jsonl_close(&in);
    free(path);
    return sizes;
}

#define CUT "demo --profile contract --init @/start --reward length:4 --gold length:9 --iterations 1 --stage-prompts 40 --samples 1 --quiet "

static void prompts_are_cut_by_tokens_characters_or_words_at_drawn_lengths(void **state)
{
    (void)state;
    expect(raft(CUT "--prompt-tokens 0 --prompt-characters 30 -o @/characters"), 0, "report.html");
    PromptSizes sizes = prompt_sizes("characters", "characters");
    assert_true(sizes.prompts == 40 && sizes.least == 30 && sizes.most == 30);
    expect(raft(CUT "--prompt-tokens 0 --prompt-words 4 -o @/words"), 0, "report.html");
    sizes = prompt_sizes("words", "words");
    assert_true(sizes.least == 4 && sizes.most == 4);
    expect(raft(CUT "--prompt-tokens 7 --prompt-least 2 --min-new 4 -o @/drawn"), 0, "report.html");
    sizes = prompt_sizes("drawn", "tokens");
    assert_true(sizes.least == 2 && sizes.most == 7 && sizes.lengths == 6);
    expect(raft(CUT "--prompt-tokens 7 --prompt-least 2 --min-new 4 -o @/again"), 0, "report.html");
    cli_assert_same_file("drawn/iter_000/candidates.jsonl", "again/iter_000/candidates.jsonl");
    expect(raft(CUT "--prompt-words 4 -o @/no"), 2, "give one of them");
    expect(raft(CUT "--prompt-least 6 -o @/no"), 2, "--prompt-least 6 is above the longest prompt, 5");
}

// Words are what stands between any kind of space; a review with nothing behind its prompt asks nothing.
static void prompts_of_words_know_every_space_and_leave_out_what_is_too_short(void **state)
{
    (void)state;
    const char *const parts[] = {"odd/train/neg", "odd/train/pos", "odd/test/neg", "odd/test/pos"};
    for (size_t part = 0; part < 4; part++)
        for (size_t i = 0; i < 8; i++) {
            char name[60], text[100];
            Err err = {0};
            char *folder = cli_path(parts[part]);
            assert_ok(os_make_folders(folder, &err), &err);
            free(folder);
            snprintf(name, sizeof name, "%s/%zu_1.txt", parts[part], i);
            snprintf(text, sizeof text, i % 2 ? "film\t%zu was\n\nfar \xC2\xA0too long, %zu times" : "film %zu was far", i, i);
            cli_put(name, text);
        }
    expect(raft("demo --profile contract --init @/start --reward length:4 --gold length:9 --iterations 1 --stage-prompts 8 --samples 1 --quiet --corpus @/odd "
        "--prompt-tokens 0 --prompt-words 5 -o @/spaces"), 0, "report.html");
    PromptSizes sizes = prompt_sizes("spaces", "words");
    assert_true(sizes.prompts == 8 && sizes.least == 5 && sizes.most == 5); // of 16, the long ones
    char *path = cli_path("spaces/iter_000/candidates.jsonl"), *lines = read_file(path, NULL);
    assert_non_null(strstr(lines, "\"prompt\":\"film 1 was far too\""));
    free(lines);
    free(path);
}

static void people_go_on_where_the_prompt_was_cut(void **state)
{
    (void)state;
    Corpus reviews = {0};
    Err failed = {0};
    Grammar *grammar = grammar_load("data/reviews.grammar", &failed);
    assert_non_null(grammar);
    assert_ok(grammar_corpus(&reviews, grammar, 60, 1, &failed), &failed); // those of profiles/contract.conf
    grammar_free(grammar);
    const char *const cuts[] = {"--prompt-tokens 5", "--prompt-tokens 0 --prompt-characters 17", "--prompt-tokens 0 --prompt-words 3"};
    for (size_t c = 0; c < 3; c++) {
        JsonLines in;
        json_t *line;
        Err err = {0};
        char run[20], name[60];
        snprintf(run, sizeof run, "people%zu", c);
        snprintf(name, sizeof name, "%s/iter_000/candidates.jsonl", run);
        expect(raft("demo --profile contract --init @/start --reward length:4 --gold length:9 --iterations 1 --expert human --max-new 60 --context 90 %s "
            "--quiet -o @/%s", cuts[c], run), 0, "report.html");
        char *path = cli_path(name);
        size_t found = 0;
        assert_ok(jsonl_open(&in, path, &err), &err);
        while (jsonl_next(&in, &line, &err) == 1) {
            if (!strcmp(json_string_value(json_object_get(line, "source")), "human")) {
                const char *prompt = json_string_value(json_object_get(line, "prompt")), *text = json_string_value(json_object_get(line, "text"));
                const CorpusItem *review = reviews.items + strtoul(json_string_value(json_object_get(line, "prompt_id")) + strlen("review "), NULL, 10);
                assert_int_equal(review->label, LABEL_POSITIVE);
                assert_memory_equal(review->text, prompt, strlen(prompt));
                assert_memory_equal(review->text + strlen(prompt), text, strlen(text));
                assert_true(strlen(text) > 40);
                found++;
            }
            json_decref(line);
        }
        jsonl_close(&in);
        free(path);
        assert_true(found > 0);
    }
    corpus_free(&reviews);
}

// ---- heads -------------------------------------------------------------------------------------------------------------------------

static void heads_hold_accuracy_and_calibration_of_whole_and_begun_reviews(void **state)
{
    (void)state;
    json_t *told = raft_json("heads --profile contract --init @/start -o @/heads");
    const char *const names[] = {"proxy", "gold"}, *const kinds[] = {"whole", "30_tokens"};
    for (size_t h = 0; h < 4; h++) {
        const json_t *head = json_object_get(json_object_get(told, "heads"), names[h / 2]), *q = json_object_get(head, kinds[h % 2]);
        size_t n = 0, i;
        json_t *bin;
        json_array_foreach(json_object_get(q, "calibration"), i, bin) n += (size_t)json_integer_value(json_object_get(bin, "n"));
        assert_int_equal(i, 10);
        assert_int_equal(n, (size_t)json_figure(head, "n", NULL));
        assert_true(json_figure(q, "calibration_error", NULL) >= 0);
        assert_true(json_figure(q, "accuracy", "mean") == json_figure(head, h % 2 ? "accuracy_30_tokens" : "accuracy", NULL));
    }
    json_decref(told);
    char *path = cli_path("heads/timing.jsonl"), *timing = read_file(path, NULL);
    assert_non_null(strstr(timing, "{\"stage\":\"gold\",\"seconds\":"));
    free(path);
    free(timing);
}

static void heads_are_shared_by_their_hash(void **state)
{
    (void)state;
    expect(raft("heads --profile contract --init @/start --gold.lr 0 -o @/shared"), 0, "raft compare --heads-from"); // unlike those it would make
#define SHARED "compare --profile contract --init @/start --seeds 1 --arm base -o @/sharing "
    expect(raft(SHARED "--heads-from @/shared"), 0, "proxy      taken from");
    assert_false(cli_have("sharing/proxy/config.json"));
    cli_assert_same_file("sharing/heads.json", "shared/heads.json");
    assert_recorded_alike("sharing/provenance.json", "gold_hash", "shared/provenance.json", "gold_hash");
    expect(raft("heads --profile contract --init @/start -o @/others --quiet"), 0, "proxy");
    expect(raft(SHARED "--heads-from @/others --resume"), 2, "gold: is not what it was when the run was made");
    expect(raft("compare --profile contract --init @/start --seed 2 --arm base --heads-from @/shared -o @/no"), 2, "its texts were split with --seed 1, not 2");
    expect(raft("compare --profile contract --init @/start --corpus-size 50 --arm base --heads-from @/shared -o @/no"), 2, "learned from other texts");
}

static void a_head_that_nobody_asks_is_not_made(void **state)
{
    (void)state;
    expect(raft("demo --profile contract --init @/start --reward length:4 --iterations 1 -o @/length --quiet"), 0, "report.html");
    assert_false(cli_have("length/proxy/config.json"));
    assert_true(cli_have("length/gold/config.json"));
}

static void a_finished_comparison_takes_another_arm_without_making_its_heads_again(void **state)
{
    (void)state;
#define GROWING "compare --profile contract --init @/start --seeds 1 --arm base -o @/growing --resume "
    expect(raft(GROWING), 0, "base ");
    json_t *record = document("growing/provenance.json");
    assert_true(json_is_true(json_object_get(record, "finished")));
    json_decref(record);
    char *path = cli_path("growing/timing.jsonl"), *before = read_file(path, NULL);
    expect(raft(GROWING "--arm sft"), 0, "\nsft ");
    char *after = read_file(path, NULL);
    assert_string_equal(before, after);
    free(path);
    free(before);
    free(after);
}

// provenance.json is written through a file beside it: here one that lies on a full disk.
static void an_arm_that_was_cut_off_is_kept_when_the_disk_is_full(void **state)
{
    (void)state;
    if (!os_is_file("/dev/full")) skip_because("this system has no /dev/full");
#define CUT_OFF "compare --profile contract --init @/start --seeds 1 --arm raft -o @/cut-off --resume --quiet "
    expect(raft(CUT_OFF), 0, "raft ");
    char *record = cli_path("cut-off/arms/raft-s1/provenance.json"), *result = cli_path("cut-off/arms/raft-s1.json");
    char *beside = cli_path("cut-off/arms/raft-s1/provenance.json.tmp");
    json_t *provenance = document("cut-off/arms/raft-s1/provenance.json");
    assert_int_equal(json_object_set_new(provenance, "finished", json_false()), 0);
    assert_int_equal(json_dump_file(provenance, record, JSON_INDENT(2)), 0);
    json_decref(provenance);
    assert_int_equal(remove(result), 0);
    assert_int_equal(symlink("/dev/full", beside), 0);
    expect(raft(CUT_OFF), 1, "provenance.json");
    assert_true(cli_have("cut-off/arms/raft-s1/iter_000/candidates.jsonl"));
    remove(beside);
    char *whole = read_file(record, NULL); // so is one whose record was damaged: only other settings begin an arm anew
    write_file(record, "{", 1);
    expect(raft(CUT_OFF), 2, "provenance.json:1");
    assert_true(cli_have("cut-off/arms/raft-s1/iter_000/candidates.jsonl"));
    write_file(record, whole, strlen(whole));
    free(whole);
    expect(raft(CUT_OFF), 0, "raft ");
    expect(raft("compare --profile contract --init @/start --seeds 1 --arm \"raft epochs=2\" -o @/cut-off --resume --quiet"), 0, "raft ");
    free(record);
    free(result);
    free(beside);
}

// ---- held-out texts -------------------------------------------------------------------------------------------------------------

static void held_out_texts_are_cut_to_their_beginning(void **state)
{
    (void)state;
    Tokenizer tk;
    Corpus corpus = {0};
    Documents docs;
    Err err = {0};
    const TextView texts[] = {{"ab", 2}};
    const TokenizerTraining how = {.vocab = 257};
    assert_ok(tokenizer_train(&tk, texts, 1, &how, &err), &err);
    assert_ok(corpus_add(&corpus, "long", "0123456789", 10, LABEL_NONE, &err) || corpus_add(&corpus, "short", "xyz", 3, LABEL_NONE, &err), &err);
    assert_ok(documents_encode(&docs, &corpus, NULL, 2, &tk, 0, 4, &err), &err);
    assert_int_equal(docs.count, 4); // 11 tokens: 5, 5 and 3, one of each shared; 4
    assert_ok(documents_cut(&docs, 7, 4, &err), &err);
    assert_int_equal(docs.count, 3);
    assert_int_equal(docs.tokens, 7 + 4);
    assert_int_equal(docs.examples[1].length, 3);
    assert_ptr_equal(docs.examples[1].ids, docs.texts[0].ids + 4);
    assert_int_equal(docs.examples[2].length, 4);
    documents_free(&docs);
    corpus_free(&corpus);
    tokenizer_free(&tk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_is_read_where_it_lies_and_recorded),
        cmocka_unit_test(adapt_trains_the_taken_model_first),
        cmocka_unit_test(only_the_named_layers_are_trained),
        cmocka_unit_test(human_answers_compete_where_the_review_is_positive),
        cmocka_unit_test(prompts_are_cut_by_tokens_characters_or_words_at_drawn_lengths),
        cmocka_unit_test(prompts_of_words_know_every_space_and_leave_out_what_is_too_short),
        cmocka_unit_test(people_go_on_where_the_prompt_was_cut),
        cmocka_unit_test(heads_hold_accuracy_and_calibration_of_whole_and_begun_reviews),
        cmocka_unit_test(heads_are_shared_by_their_hash),
        cmocka_unit_test(a_head_that_nobody_asks_is_not_made),
        cmocka_unit_test(a_finished_comparison_takes_another_arm_without_making_its_heads_again),
        cmocka_unit_test(an_arm_that_was_cut_off_is_kept_when_the_disk_is_full),
        cmocka_unit_test(held_out_texts_are_cut_to_their_beginning),
    };
    return cmocka_run_group_tests(tests, make_start, cli_remove_folder);
}
