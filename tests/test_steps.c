// SPDX-License-Identifier: MIT
/* test_steps.c - collect, rank, finetune and eval as a user types them: with files between them they end with the bytes of align, an
 * outside program may score in between, wrong requests are refused. The same in the library is in test_alignment.c. */
#include "tests/support_cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int set_up(void **state)
{
    cli_make_model(state);
    cli_put("prompts.jsonl", "{\"prompt\":\"the film was good\"}\n{\"prompt\":\"a very bad film\"}\n{\"prompt\":\"what a good story\"}\n"
        "{\"prompt\":\"the story was very bad\"}\n{\"prompt\":\"good \xc3\xa9t\xc3\xa9\"}\n");
    cli_put("people.jsonl", "{\"text\":\"the story was good and the end was not\"}\n{\"text\":\"bad\"}\n{\"text\":\"what a very long film\"}\n");
    cli_put("lexicon.txt", "good 1\nbad -1\nvery 0.25\n");
    return 0;
}

#define SAMPLING " --samples 4 --max-new 8 --temperature 0.8 --seed 5 --stage-prompts 3 --quiet"
#define TRAINING " --lr 3e-2 --batch 2 --epochs 2 --seed 5 --quiet"
#define REPLAY " --replay 2 --replay-tokens 9 --replay-corpus @/people.jsonl"
#define REWARD " --reward length:6 --reward '0.5*length:2' --kl-beta 0.02"
#define GOLD " --gold lexicon:@/lexicon.txt"

static void commands_apart_equal_align(void **state)
{
    static const char *const pairs[][2] = {{"cli/iter_000/candidates.jsonl", "r0.jsonl"}, {"cli/iter_001/candidates.jsonl", "r1.jsonl"},
        {"cli/checkpoint/model.safetensors", "f1/model.safetensors"}, {"cli/checkpoint/config.json", "f1/config.json"},
        {"cli/checkpoint/tokenizer.json", "f1/tokenizer.json"}};
    (void)state;
    expect(raft("align @/lm --prompts @/prompts.jsonl --algo raft --iterations 2 --explain --eval-prompts 3 -o @/cli" SAMPLING TRAINING REPLAY REWARD GOLD),
        0, "iteration");
    assert_true(strstr(cli_output.data, "kept") && strstr(cli_output.data, "KL/token"));
    expect(raft("collect @/lm --prompts @/prompts.jsonl -o @/c0.jsonl" SAMPLING), 0, "12 candidates");
    expect(raft("rank @/c0.jsonl -o @/r0.jsonl" REWARD), 0, "selected");
    expect(raft("finetune @/lm --data @/r0.jsonl -o @/f0" TRAINING REPLAY), 0, "fine-tuned on 3");
    expect(raft("collect @/f0 --reference @/lm --iteration 1 --prompts @/prompts.jsonl -o @/c1.jsonl" SAMPLING), 0, "12 candidates");
    expect(raft("rank @/c1.jsonl -o @/r1.jsonl" REWARD), 0, "selected");
    expect(raft("finetune @/f0 --iteration 1 --data @/r1.jsonl -o @/f1" TRAINING REPLAY), 0, "loss");
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) cli_assert_same_file(pairs[i][0], pairs[i][1]);
    char *recorded = cli_path("cli/provenance.json"), *provenance = read_file(recorded, NULL);
    assert_non_null(strstr(provenance, "\"replay_corpus_hash\""));
    free(recorded);
    free(provenance);
}

static void an_outside_program_may_score(void **state)
{
    (void)state;
    expect(raft("collect @/lm --prompts @/prompts.jsonl -o @/o.jsonl" SAMPLING), 0, "");
    expect(raft("rank @/o.jsonl -o @/x.jsonl"), 2, "--reward");
    char *path = cli_path("o.jsonl"), *text = read_file(path, NULL);
    Text scored = {0};
    Err err = {0};
    size_t i = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), i++)
        assert_ok(text_printf(&scored, &err, "%.*s,\"reward\":%zu}\n", (int)strlen(line) - 1, line, i % 4), &err);
    write_file(path, scored.data, scored.length);
    expect(raft("rank @/o.jsonl -o @/o2.jsonl"), 0, "3 of 12 candidates selected; mean reward 1.5000, of the selected 3.0000");
    expect(raft("rank @/o2.jsonl -o @/o3.jsonl"), 2, "ranked already");
    expect(raft("rank @/o2.jsonl --reward length:3 -o @/o3.jsonl"), 0, "selected");
    text_free(&scored);
    free(text);
    free(path);
}

#define EVAL "eval @/lm --prompts @/prompts.jsonl --max-new 8 --reward length:5 --quiet"

static void eval_measures_with_intervals(void **state)
{
    static const char *const keys[] = {"reward", "gold", "positive_rate", "perplexity", "distinct_2", "kl", "unique_1", "length"};
    (void)state;
    expect(raft(EVAL GOLD), 0, "distinct_2");
    json_t *result = raft_json(EVAL GOLD " --reference @/lm --corpus @/lexicon.txt --samples 4");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_true(json_figure(result, keys[i], "lo") <= json_figure(result, keys[i], "mean") &&
            json_figure(result, keys[i], "mean") <= json_figure(result, keys[i], "hi"));
    assert_true(json_figure(result, "kl", "mean") == 0);
    double all = json_figure(result, "reward", "mean");
    json_decref(result);
    result = raft_json(EVAL " --best-of 4");
    assert_true(json_figure(result, "samples", NULL) == 5); // one a prompt
    assert_true(json_figure(result, "reward", "mean") > all);
    json_decref(result);
    expect(raft("eval @/lm --corpus @/lexicon.txt --quiet"), 0, "perplexity");
}

// What is not chosen is nothing to gold, which may be an expensive program.
static void gold_reads_only_the_best_of_k(void **state)
{
    (void)state;
    cli_put("gold.sh", "while read -r line; do echo asked >> \"$0.log\"; echo 1; done\n");
    expect(raft(EVAL " --gold 'command:sh @/gold.sh' --best-of 4 --json"), 0, "\"samples\":5");
    char *log = cli_path("gold.sh.log"), *asked = read_file(log, NULL);
    assert_string_equal(asked, "asked\nasked\nasked\nasked\nasked\n");
    free(asked);
    free(log);
}

#define COLLECT "collect @/lm --prompts @/prompts.jsonl "
#define ALIGN "align @/lm --prompts @/prompts.jsonl --max-new 8 "

static void wrong_requests_exit_with_2(void **state)
{
    static const char *const cases[][2] = {
        {"--samples", COLLECT "--max-new 8 -o @/x.jsonl --samples 0"},
        {"--temperature", COLLECT "--max-new 8 -o @/x.jsonl --temperature 0"},
        {"--temperature", COLLECT "--max-new 8 -o @/x.jsonl --temperature -1"},
        {"context", COLLECT "-o @/x.jsonl --max-new 32"},
        {"empty.jsonl", "collect @/lm --prompts @/empty.jsonl -o @/x.jsonl"},
        {"nowhere", "collect @/nowhere --prompts @/prompts.jsonl -o @/x.jsonl"},
        {"--prompts", "collect @/lm -o @/x.jsonl"},
        {"--temperature 1", ALIGN "--reward length:3 --algo ppo --temperature 2 -o @/ppo"},
        {"--reward SPEC is missing", "eval @/lm --prompts @/prompts.jsonl --best-of 4"},
        {"--samples has no place", "eval @/lm --prompts @/prompts.jsonl --reward length:3 --best-of 4 --samples 2"},
        {"--temperature", ALIGN "--reward length:3 --temperature 0 -o @/x"},
        {"--reward", ALIGN "-o @/x"},
        {"outside the model's vocabulary", "finetune @/lm --data @/foreign.jsonl -o @/x"},
        {"raft rank", "finetune @/lm --data @/unranked.jsonl -o @/x"},
        {"--replay-corpus PATH is missing", ALIGN "--reward length:3 --replay 1 -o @/x"},
        {"since --replay is 0", ALIGN "--reward length:3 --replay-corpus @/people.jsonl -o @/x"},
        {"do not fit the model's context of 32", ALIGN "--reward length:3 --replay 1 --replay-corpus @/people.jsonl -o @/x"},
        {"people of nowhere", ALIGN "--reward length:3 --replay 1 --replay-corpus '@/people of nowhere' -o @/x"},
        {"--replay is read beside RAFT's chosen answers", ALIGN "--reward length:3 --algo ppo --replay 1 --replay-tokens 9 "
            "--replay-corpus @/people.jsonl -o @/x"},
        {"no candidates", "rank @/empty.jsonl --reward length:3 -o @/x.jsonl"},
        {"--prompts", "eval @/lm --reward length:3"},
        {"expected", "rank @/unranked.jsonl --reward size:3 -o @/x.jsonl"},
        {"slot 0, k 0 has no \"ref_logprob\"", "rank @/alone.jsonl --reward length:3 --kl-beta 0.1 -o @/x.jsonl"},
    };
    static const char line[] = "{\"slot\":0,\"prompt_id\":\"a\",\"prompt\":\"p\",\"prompt_tokens\":[1],\"k\":0,\"source\":\"policy\",\"text\":\"t\",\"tokens\":[%s],"
        "\"logprob\":-1%s}\n";
    static const struct { const char *name, *tokens, *rest; } files[] = {
        {"foreign.jsonl", "280", ",\"ref_logprob\":-1,\"reward\":1,\"rewards\":{},\"rank\":0,\"selected\":true"},
        {"unranked.jsonl", "2", ",\"ref_logprob\":-1"}, {"alone.jsonl", "2", ""}, {"empty.jsonl", NULL, NULL}};
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char text[400] = "";
        if (files[i].tokens) snprintf(text, sizeof text, line, files[i].tokens, files[i].rest);
        cli_put(files[i].name, text);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect(raft("%s", cases[i][1]), 2, cases[i][0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_apart_equal_align),
        cmocka_unit_test(an_outside_program_may_score),
        cmocka_unit_test(eval_measures_with_intervals),
        cmocka_unit_test(gold_reads_only_the_best_of_k),
        cmocka_unit_test(wrong_requests_exit_with_2),
    };
    return cmocka_run_group_tests(tests, set_up, cli_remove_folder);
}
