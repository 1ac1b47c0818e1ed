// SPDX-License-Identifier: MIT
/* test_config.c - the table of options as users meet it: command lines, profiles, stages, ranges, help. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/options.h"

enum { ARGUMENTS_MOST = 60 };

typedef struct { Settings settings; Options options; char words[600]; char *argv[ARGUMENTS_MOST]; Err err; } Line;

// Splits at blanks, parses, and resolves for the stage; -1 with line->err on error.
static int parse(Line *line, const char *arguments, unsigned groups, const char *defaults, const char *stage)
{
    int argc = 0;
    *line = (Line){0};
    snprintf(line->words, sizeof line->words, "%s", arguments);
    for (char *word = strtok(line->words, " "); word && argc < ARGUMENTS_MOST; word = strtok(NULL, " ")) line->argv[argc++] = word;
    if (settings_parse(&line->settings, argc, line->argv, groups, defaults, &line->err)) return -1;
    return settings_resolve(&line->options, &line->settings, stage, &line->err);
}

static void refuses(const char *arguments, const char *fragment)
{
    Line line;
    assert_input_error(parse(&line, arguments, OPT_ALL & ~(unsigned)OPT_TRACE, NULL, NULL), &line.err, fragment);
    settings_free(&line.settings);
}

static char *profile_with(const char *folder, const char *text)
{
    char *path = path_in(folder, "p.conf");
    write_file(path, text, strlen(text));
    return path;
}

// Parses "--profile FILE arguments" with a profile of this text.
static int parse_with_profile(Line *line, const char *text, const char *arguments, const char *defaults, const char *stage)
{
    char *folder = temporary_folder(), *path = profile_with(folder, text), words[500];
    snprintf(words, sizeof words, "%s --profile %s", arguments, path);
    int status = parse(line, words, OPT_ALL, defaults, stage);
    free(path);
    remove_folder(folder);
    free(folder);
    return status;
}

// ---- command line ----------------------------------------------------------------------------------------------------------

static void gives_every_option_its_default(void **state)
{
    (void)state;
    Line line;
    assert_ok(parse(&line, "", OPT_COMMON, NULL, NULL), &line.err);
    const Options *o = &line.options;
    assert_true(o->seed == 1 && o->threads == 0 && o->vocab == 4096 && o->dim == 256 && o->layers == 6 && o->heads == 8 &&
        o->kv_heads == 0);
    assert_true(o->ff == 688 && o->context == 512 && !o->untied && o->rope_theta == 10000 && o->rms_eps == 1e-5);
    assert_true(o->lr == 1e-3 && o->beta1 == 0.9 && o->beta2 == 0.95 && o->eps == 1e-8 && o->weight_decay == 0.1 && o->clip == 1);
    assert_true(o->warmup == 0.02 && o->final_lr == 0.1 && o->batch == 16 && o->epochs == 1 && o->micro_rows == 2048 &&
        o->max_steps == 0);
    assert_true(o->samples == 8 && o->max_new == 24 && o->temperature == 1 && o->top_k == 0 && o->top_p == 1 && o->sample_batch == 256);
    assert_true(o->accept == 0 && o->kl_beta == 0 && o->iterations == 5 && o->stage_prompts == 0 && o->timeout == 30);
    assert_true(o->prefix_share == 0.5 && o->prefix_least == 4 && o->prefix_most == 0 && o->head_tokens == 256 && o->reward.count == 0 && !o->corpus &&
        !o->output);
    assert_string_equal(o->schedule, "cosine");
    assert_string_equal(o->mode, "local");
    assert_string_equal(o->pooling, "last");
    settings_free(&line.settings);
}

static void every_default_lies_in_its_own_range_and_every_name_is_canonical(void **state)
{
    (void)state;
    for (const OptionSpec *o = option_table; o->name; o++) {
        char argument[200], *argv[] = {argument};
        Settings settings = {0};
        Err err = {0};
        assert_true(strspn(o->name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(o->name) && o->groups && *o->help);
        if (!o->fallback) continue;
        snprintf(argument, sizeof argument, "--%s=%s", o->name, o->fallback);
        assert_ok(settings_parse(&settings, 1, argv, o->groups, NULL, &err), &err);
        settings_free(&settings);
    }
}

static void reads_values_flags_operands_and_lists(void **state)
{
    (void)state;
    Line line;
    assert_ok(parse(&line, "CKPT --max-new=7 --max_steps 9 --json --untied=false -o out --reward a --reward=b - -- --quiet",
        OPT_ALL, NULL, NULL), &line.err);
    const Options *o = &line.options;
    assert_true(o->max_new == 7 && o->max_steps == 9 && o->json && !o->untied && !o->quiet);
    assert_string_equal(o->output, "out");
    assert_int_equal(o->reward.count, 2);
    assert_string_equal(o->reward.items[0], "a");
    assert_string_equal(o->reward.items[1], "b");
    assert_int_equal(line.settings.word_count, 3);
    assert_string_equal(line.settings.words[0], "CKPT");
    assert_string_equal(line.settings.words[1], "-");
    assert_string_equal(line.settings.words[2], "--quiet");
    assert_true(settings_given(&line.settings, "max-new") && settings_given(&line.settings, "max_new") &&
        !settings_given(&line.settings, "lr"));
    settings_free(&line.settings);
}

static void the_last_of_two_values_counts(void **state)
{
    (void)state;
    Line line;
    assert_ok(parse(&line, "--lr 1 --lr 2", OPT_ALL, NULL, NULL), &line.err);
    assert_true(line.options.lr == 2);
    settings_free(&line.settings);
}

static void names_the_nearest_option(void **state)
{
    (void)state;
    refuses("--tempratur 1", "--tempratur: unknown option; did you mean --temperature?");
    refuses("--epohcs=1", "--epochs?");
    refuses("--pretrain.lrr 1", "--lr?");
    refuses("--pretrian.lr 1", "did you mean \"pretrain.lr\"?");
    refuses("-x", "-x: unknown option");
    Line line;
    assert_input_error(parse(&line, "--lr 1", OPT_SAMPLE, NULL, NULL), &line.err, "--lr: this command does not take this option");
    settings_free(&line.settings);
}

static void refuses_what_is_no_number_or_out_of_range(void **state)
{
    (void)state;
    const char *const not_numbers[] = {"nan", "inf", "-inf", "0x1p3", "1e999", "1.5.2", "1,5", "abc", "1e", " "};
    for (size_t i = 0; i < sizeof not_numbers / sizeof *not_numbers; i++) {
        char argument[40], *argv[] = {argument};
        Settings settings = {0};
        Err err = {0};
        snprintf(argument, sizeof argument, "--temperature=%s", not_numbers[i]);
        assert_input_error(settings_parse(&settings, 1, argv, OPT_SAMPLE, NULL, &err), &err, "--temperature");
        settings_free(&settings);
    }
    refuses("--temperature -1", "0 to 10000");
    refuses("--clip 1e999", "--clip");
    refuses("--top-p 0", "above 0, at most 1");
    refuses("--top-p 1.0001", "above 0, at most 1");
    refuses("--accept 2", "0 to 1");
    refuses("--epochs 0", "1 to 1023");
    refuses("--epochs 1024", "1 to 1023");
    refuses("--epochs -1", "a whole number");
    refuses("--epochs 1.5", "a whole number");
    refuses("--limit 4294967296", "a smaller whole number");
    refuses("--limit 99999999999999999999999999", "a smaller whole number");
    refuses("--seed 9223372036854775808", "2^63-1");
    refuses("--seed -1", "--seed");
    refuses("--schedule cos", "cosine|linear|constant");
    refuses("--schedule cosine|linear", "one of");
    refuses("--json=maybe", "true or false");
    refuses("--lr", "a value is missing");
    refuses("--lr --epochs 2", "a value is missing before --epochs");
    refuses("--reward r --reward r --reward r --reward r --reward r --reward r --reward r --reward r --reward r --reward=r --reward=r --reward=r "
            "--reward=r --reward=r --reward=r --reward=r --reward=r", "more than 16 times");
}

static void takes_the_ends_of_ranges(void **state)
{
    (void)state;
    Line line;
    assert_ok(parse(&line,
        "--seed 9223372036854775807 --limit 4294967295 --top-p 1 --temperature 0 --epochs 1023 --lr .5 --clip 1e-3",
        OPT_ALL, NULL, NULL), &line.err);
    assert_true(line.options.seed == INT64_MAX && line.options.limit == UINT32_MAX && line.options.lr == 0.5 &&
        line.options.clip == 1e-3);
    settings_free(&line.settings);
}

static void batch_is_a_file_to_trace_and_a_number_to_training(void **state)
{
    (void)state;
    Line line;
    assert_ok(parse(&line, "--batch b.safetensors --lr 0.1", OPT_TRACE, NULL, NULL), &line.err);
    assert_string_equal(line.options.batch_file, "b.safetensors");
    assert_int_equal(line.options.batch, 16);
    settings_free(&line.settings);
    assert_ok(parse(&line, "--batch 3", OPT_ALL, NULL, NULL), &line.err);
    assert_int_equal(line.options.batch, 3);
    assert_null(line.options.batch_file);
    settings_free(&line.settings);
}

// ---- precedence --------------------------------------------------------------------------------------------------------------

static void the_command_line_beats_the_profile_which_beats_the_commands_defaults(void **state)
{
    (void)state;
    Line line;
    assert_ok(parse_with_profile(&line, "epochs = 3\nbatch = 4\n", "--epochs 5", "epochs=2 batch=2 lr=0.5 max-new=9", NULL), &line.err);
    assert_true(line.options.epochs == 5 && line.options.batch == 4 && line.options.lr == 0.5 && line.options.max_new == 9);
    assert_true(settings_given(&line.settings, "batch") && !settings_given(&line.settings, "lr"));
    settings_free(&line.settings);
}

static void a_stage_beats_the_general_value_from_the_same_place_only(void **state)
{
    (void)state;
    Line line;
    const char *profile = "lr = 0.1\npretrain.lr = 0.2\npretrain.batch = 3\n";
    assert_ok(parse_with_profile(&line, profile, "--batch 7", NULL, "pretrain"), &line.err);
    assert_true(line.options.lr == 0.2 && line.options.batch == 7);
    settings_free(&line.settings);
    assert_ok(parse_with_profile(&line, profile, "--pretrain.batch 8 --batch 7", NULL, "align"), &line.err);
    assert_true(line.options.lr == 0.1 && line.options.batch == 7);
    assert_true(settings_given(&line.settings, "pretrain.lr") && !settings_given(&line.settings, "align.lr") &&
        !settings_given(&line.settings, "pretrai.lr"));
    settings_free(&line.settings);
    assert_ok(parse_with_profile(&line, profile, "--pretrain.batch 8 --batch 7", NULL, "pretrain"), &line.err);
    assert_true(line.options.batch == 8);
    settings_free(&line.settings);
}

static void a_list_from_a_stronger_place_replaces_the_weaker_one(void **state)
{
    (void)state;
    Line line;
    assert_ok(parse_with_profile(&line, "reward = a\nreward = b\n", "", NULL, NULL), &line.err);
    assert_int_equal(line.options.reward.count, 2);
    settings_free(&line.settings);
    assert_ok(parse_with_profile(&line, "reward = a\nreward = b\n", "--reward c", NULL, NULL), &line.err);
    assert_int_equal(line.options.reward.count, 1);
    assert_string_equal(line.options.reward.items[0], "c");
    settings_free(&line.settings);
}

// ---- profiles ----------------------------------------------------------------------------------------------------------------

static void profiles_have_comments_quotes_and_escapes(void **state)
{
    (void)state;
    Line line;
    assert_ok(parse_with_profile(&line,
        "# first\r\n\n  lr=0.5   # half\r\nstop = \" a # \\\"b\\\\\\n\"  # c\ncorpus = some place#1  \nmax_new = 3", "", NULL, NULL),
        &line.err);
    assert_true(line.options.lr == 0.5 && line.options.max_new == 3);
    assert_string_equal(line.options.stop, " a # \"b\\\n");
    assert_string_equal(line.options.corpus, "some place#1");
    settings_free(&line.settings);
}

static void a_fault_in_a_profile_is_named_by_its_line(void **state)
{
    (void)state;
    const struct { const char *text, *fragment; } cases[] = {
        {"lr = 1\n\nlearning = 2\n", "p.conf:3: learning: unknown option; did you mean"},
        {"lr\n", "p.conf:1: \"key = value\" was expected"},
        {"= 3\n", "p.conf:1"}, {"\nlr = fast\n", "p.conf:2: lr: \"fast\""}, {"profile = other\n", "cannot name another"},
        {"stop = \"abc\n", "p.conf:1: stop: a closing '\"' is missing"}, {"stop = \"a\" b\n", "follows the closing"},
        {"lr =\n", "p.conf:1: lr"},
        {"reword.lr = 1\n", "p.conf:1: reword.lr: no stage"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Line line;
        assert_input_error(parse_with_profile(&line, cases[i].text, "", NULL, NULL), &line.err, cases[i].fragment);
        settings_free(&line.settings);
    }
    refuses("--profile ./nowhere.conf", "nowhere.conf");
    refuses("--profile nowhere", "nowhere.conf: not in profiles");
}

static void a_profile_with_a_zero_byte_is_refused(void **state)
{
    (void)state;
    char *folder = temporary_folder(), *path = path_in(folder, "p.conf"), words[400];
    write_file(path, "lr = 1\n\0lr = 2\n", 15);
    snprintf(words, sizeof words, "--profile %s", path);
    refuses(words, "byte 7 is zero");
    free(path);
    remove_folder(folder);
    free(folder);
}

static void a_profile_may_hold_what_only_other_commands_take(void **state)
{
    (void)state;
    char *folder = temporary_folder(), *path = profile_with(folder, "lr = 2\nmax-new = 5\nreward = x\n"), words[400];
    Line line;
    snprintf(words, sizeof words, "--profile %s", path);
    assert_ok(parse(&line, words, OPT_SAMPLE, NULL, NULL), &line.err);
    assert_int_equal(line.options.max_new, 5);
    settings_free(&line.settings);
    free(path);
    remove_folder(folder);
    free(folder);
}

// ---- writing and help ----------------------------------------------------------------------------------------------------------

static void what_is_written_reads_back_to_the_same_settings(void **state)
{
    (void)state;
    Line line, again;
    Text first = {0}, second = {0};
    char *folder = temporary_folder(), words[400];
    assert_ok(parse_with_profile(&line,
        "stop = \" \\\"x\\\\\\n#\\t\"\nreward = a b\nreward = \"#c\"\nlr = 3e-4\npretrain.lr = 1e-3\nbatch=2\nalign.batch = 5\n",
        "--batch 9 --untied --json --corpus #1", "align.epochs=3", NULL), &line.err);
    assert_ok(settings_write(&first, &line.settings, NULL, &line.err), &line.err);
    assert_non_null(strstr(first.data, "lr = 3e-4\n"));
    assert_non_null(strstr(first.data, "pretrain.lr = 1e-3\n"));
    assert_non_null(strstr(first.data, "align.epochs = 3\n"));
    assert_null(strstr(first.data, "align.batch")); // --batch 9 is in force for every stage
    assert_null(strstr(first.data, "json"));
    assert_null(strstr(first.data, "profile"));
    char *path = profile_with(folder, first.data);
    snprintf(words, sizeof words, "--profile %s", path);
    assert_ok(parse(&again, words, OPT_ALL, NULL, NULL), &again.err);
    assert_ok(settings_write(&second, &again.settings, NULL, &again.err), &again.err);
    assert_string_equal(first.data, second.data);
    assert_string_equal(again.options.stop, " \"x\\\n#\t");
    assert_string_equal(again.options.corpus, "#1");
    assert_true(again.options.untied && again.options.batch == 9 && again.options.reward.count == 2);
    settings_free(&line.settings);
    settings_free(&again.settings);
    text_free(&first);
    text_free(&second);
    free(path);
    remove_folder(folder);
    free(folder);
}

static void a_stage_is_written_with_its_own_values(void **state)
{
    (void)state;
    Line line;
    Text text = {0};
    assert_ok(parse(&line, "--pretrain.lr 0.25 --lr 0.5", OPT_TRAIN, NULL, "pretrain"), &line.err);
    assert_ok(settings_write(&text, &line.settings, "pretrain", &line.err), &line.err);
    assert_non_null(strstr(text.data, "lr = 0.25\n"));
    assert_null(strstr(text.data, "."  "lr"));
    assert_null(strstr(text.data, "max-new")); // not this command's
    settings_free(&line.settings);
    text_free(&text);
}

static void help_shows_the_commands_own_defaults_and_only_its_options(void **state)
{
    (void)state;
    Text help = {0};
    Err err = {0};
    assert_ok(options_help(&help, OPT_SAMPLE, "top-k", "max-new=64", &err), &err);
    assert_non_null(strstr(help.data, "--max-new"));
    assert_non_null(strstr(help.data, "64 "));
    assert_non_null(strstr(help.data, "--seed"));
    assert_non_null(strstr(help.data, "[above 0, at most 1]"));
    assert_null(strstr(help.data, "--lr"));
    for (const char *line = help.data; *line; line = strchr(line, '\n') + 1) assert_true((size_t)(strchr(line, '\n') - line) <= 130);
    text_free(&help);
}

static void distance_counts_edits(void **state)
{
    (void)state;
    assert_int_equal(text_distance("align", "align"), 0);
    assert_int_equal(text_distance("", "abc"), 3);
    assert_int_equal(text_distance("algin", "align"), 2);
    assert_int_equal(text_distance("kitten", "sitting"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_every_option_its_default),
        cmocka_unit_test(every_default_lies_in_its_own_range_and_every_name_is_canonical),
        cmocka_unit_test(reads_values_flags_operands_and_lists),
        cmocka_unit_test(the_last_of_two_values_counts),
        cmocka_unit_test(names_the_nearest_option),
        cmocka_unit_test(refuses_what_is_no_number_or_out_of_range),
        cmocka_unit_test(takes_the_ends_of_ranges),
        cmocka_unit_test(batch_is_a_file_to_trace_and_a_number_to_training),
        cmocka_unit_test(the_command_line_beats_the_profile_which_beats_the_commands_defaults),
        cmocka_unit_test(a_stage_beats_the_general_value_from_the_same_place_only),
        cmocka_unit_test(a_list_from_a_stronger_place_replaces_the_weaker_one),
        cmocka_unit_test(profiles_have_comments_quotes_and_escapes),
        cmocka_unit_test(a_fault_in_a_profile_is_named_by_its_line),
        cmocka_unit_test(a_profile_with_a_zero_byte_is_refused),
        cmocka_unit_test(a_profile_may_hold_what_only_other_commands_take),
        cmocka_unit_test(what_is_written_reads_back_to_the_same_settings),
        cmocka_unit_test(a_stage_is_written_with_its_own_values),
        cmocka_unit_test(help_shows_the_commands_own_defaults_and_only_its_options),
        cmocka_unit_test(distance_counts_edits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
