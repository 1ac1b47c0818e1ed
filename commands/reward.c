// SPDX-License-Identifier: MIT
/* reward.c - raft reward train | score | eval: a reward head from labels or preferences, rewards of texts in a file, and what a
 * reward is worth on labelled texts. The rewards themselves are in the top-level reward.c, the head's training in reward_head.c.
 */
#include "reward.h"

#include "base/options.h"
#include "commands/commands.h"
#include "commands/learning.h"
#include "commands/policies.h"
#include "commands/training.h"
#include "files/checkpoint.h"
#include "study/heads.h"

#include <stdio.h>
#include <string.h>

enum { PREFIX_TOKENS = 30 }; // about where RAFT asks: a prompt and a short answer

// ---- labelled texts --------------------------------------------------------------------------------------------------------

// Every n/limit-th text, so that both labels stay: folders are read neg/ first.
static void thin_out(Corpus *corpus, size_t limit)
{
    size_t n = corpus->count, kept = 0;
    if (!limit || limit >= n) return;
    for (size_t i = 0; i < n; i++) {
        CorpusItem item = corpus->items[i];
        if (kept < limit && i == (size_t)((double)kept * (double)n / (double)limit)) corpus->items[kept++] = item;
        else {
            mem_free(item.id);
            mem_free(item.text);
        }
    }
    corpus->count = kept;
}

static int read_labelled_texts(Corpus *corpus, const char *path, const Options *o, Err *err)
{
    Options all = *o;
    size_t positive = 0;
    all.limit = 0;
    if (read_texts(corpus, path, &all, err)) return -1;
    thin_out(corpus, o->limit);
    for (size_t i = 0; i < corpus->count; i++) {
        if (corpus->items[i].label == LABEL_NONE)
            return err_input(err, "%s: %s has no label (expected folders pos/ and neg/, or lines with \"label\")", path,
                corpus->items[i].id);
        positive += corpus->items[i].label == LABEL_POSITIVE;
    }
    if (!positive || positive == corpus->count)
        return err_input(err, "%s: every text is %s; positive and negative ones are needed", path, positive ? "positive" : "negative");
    return 0;
}

// ---- reports ---------------------------------------------------------------------------------------------------------------

static void print_quality(const char *what, const RewardQuality *q)
{
    const Measure *a = &q->accuracy, *p = &q->positive, *n = &q->negative;
    printf("%-16s %6.2f %% [%.2f, %.2f]  %.4f  %8.4f [%.4f, %.4f]  %8.4f [%.4f, %.4f]\n", what, 100 * a->mean, 100 * a->lo,
        100 * a->hi, q->auc, p->mean, p->lo, p->hi, n->mean, n->lo, n->hi);
}

static void print_qualities(const RewardQuality *whole, const RewardQuality *prefixes /* NULL: not measured */)
{
    char name[40];
    snprintf(name, sizeof name, "first %d tokens", PREFIX_TOKENS);
    printf("%-16s accuracy (reward > 0)    AUC     reward of positive texts    of negative ones\n", "");
    print_quality("whole texts", whole);
    if (prefixes) print_quality(name, prefixes);
}

static void print_calibration(const RewardQuality *q)
{
    printf("\nsigmoid(reward)   texts  mean    positive\n");
    for (size_t i = 0; i < CALIBRATION_BINS; i++) {
        const CalibrationBin *b = q->bins + i;
        printf("%.1f - %.1f      %8zu", (double)i / CALIBRATION_BINS, (double)(i + 1) / CALIBRATION_BINS, b->n);
        if (b->n) printf("  %.3f   %.3f", b->predicted, b->observed);
        putchar('\n');
    }
    printf("calibration error %.4f, loss %.4f\n", q->calibration_error, q->loss);
}

// ---- train -----------------------------------------------------------------------------------------------------------------

typedef struct {
    Model head;
    Tokenizer tokenizer;
    Corpus corpus, test_corpus, test_begun;
    HeadExamples data;
    Run run;
    RunState state;
    TrainWatch watch;
    size_t epochs, steps;  // steps: of the last epoch so far
    double loss;           // their sum
    RewardQuality whole, prefixes;
} HeadTraining;

static void head_training_free(HeadTraining *t)
{
    state_close(&t->state);
    run_close(&t->run);
    head_examples_free(&t->data);
    corpus_free(&t->corpus);
    corpus_free(&t->test_corpus);
    corpus_free(&t->test_begun);
    tokenizer_free(&t->tokenizer);
    model_free(&t->head);
}

static ScorePooling pooling_of(const Options *o) { return o->pooling && !strcmp(o->pooling, "mean") ? POOL_MEAN : POOL_LAST; }

static int fresh_head(HeadTraining *t, const Options *o, Err *err)
{
    ModelConfig config;
    if (!o->tokenizer)
        return err_input(err, "reward train: give --init CKPT (a language model) or, for fresh weights, --tokenizer FILE.json");
    if (tokenizer_load(&t->tokenizer, o->tokenizer, err)) return -1;
    if (model_options(&config, o, t->tokenizer.vocab, end_of_text(&t->tokenizer), err)) return -1;
    config.head = HEAD_SCORE;
    config.pooling = pooling_of(o);
    config.context = o->head_tokens;
    if (model_init(&t->head, &config, err)) return -1;
    model_randomise(&t->head, o->seed);
    return 0;
}

static int head_on_checkpoint(HeadTraining *t, const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    bool chosen = settings_given(cx->settings, "layers") || settings_given(cx->settings, "reward.layers");
    Model lm = {0};
    if (o->tokenizer)
        return err_input(err, "reward train: --init %s brings its own tokenizer; --tokenizer is for fresh weights", o->init);
    if (checkpoint_load(&lm, o->init, err)) return -1;
    int status = 0;
    if (head_model_from(&t->head, &lm, chosen ? o->layers : 0, pooling_of(o), o->head_tokens, o->seed, err))
        status = err_prefix(err, "%s", o->init);
    model_free(&lm);
    return status ? -1 : checkpoint_load_tokenizer(&t->tokenizer, o->init, &t->head.config, err);
}

static int read_training_data(HeadTraining *t, const Options *o, Err *err)
{
    if (o->pairs) return head_examples_from_pairs(&t->data, o->pairs, &t->tokenizer, err);
    if (read_labelled_texts(&t->corpus, o->corpus, o, err)) return -1;
    if (!head_examples_from_corpus(&t->data, &t->corpus, NULL, t->corpus.count, &t->tokenizer, err)) return 0;
    return err_prefix(err, "%s", o->corpus);
}

static int read_test_data(HeadTraining *t, const Options *o, Err *err)
{
    if (!o->test_corpus) return 0;
    if (read_labelled_texts(&t->test_corpus, o->test_corpus, o, err)) return -1;
    if (t->test_corpus.hash == t->corpus.hash) // a .grammar file gives the same texts each time
        return err_input(err, "--test-corpus %s: the same texts as --corpus; a test needs others (reward eval measures on any)", o->test_corpus);
    return corpus_prefixes(&t->test_begun, &t->test_corpus, &t->tokenizer, PREFIX_TOKENS, err);
}

// The settings that a run leaves make the same head again: they name the layers it has, where none were asked for.
static int open_run(HeadTraining *t, const CommandContext *cx, Err *err)
{
    Settings settings = *cx->settings;
    const OptionSpec *layers = option_table;
    char value[24];
    Assignment *all = mem_new(err, settings.count + 1, sizeof *all);
    if (!all) return -1;
    while (strcmp(layers->name, "layers")) layers++;
    snprintf(value, sizeof value, "%zu", t->head.config.layers);
    for (size_t i = 0; i < settings.count; i++) all[i] = settings.assignments[i];
    all[settings.count++] = (Assignment){.option = layers, .source = FROM_COMMAND_LINE, .value = value};
    settings.assignments = all;
    int status = run_open(&t->run, cx->options.output, "reward", &settings, &cx->options, &cx->compute, err);
    mem_free(all);
    return status;
}

static int record(HeadTraining *t, const Options *o, Err *err)
{
    int status = o->pairs ? run_record_file(&t->run, "pairs_hash", o->pairs, err)
                          : run_record_input(&t->run, "corpus_hash", t->corpus.hash, o->corpus, err);
    const char *start = o->init ? o->init : "the fresh weights";
    if (status) return -1;
    if (o->test_corpus && run_record_input(&t->run, "test_corpus_hash", t->test_corpus.hash, o->test_corpus, err)) return -1;
    if (run_record_input(&t->run, "start_hash", checkpoint_hash(&t->head), start, err)) return -1;
    return run_record_input(&t->run, "tokenizer_hash", tokenizer_hash(&t->tokenizer), o->tokenizer ? o->tokenizer : start, err);
}

// Watches, and adds up the losses of the last epoch: the texts are drawn anew in each, so there is no other training loss.
static int watch_head(void *self, size_t step, size_t steps, const StepStats *stats)
{
    HeadTraining *t = self;
    if ((step - 1) * t->epochs / steps + 1 == t->epochs) {
        t->loss += stats->loss;
        t->steps++;
    }
    return watch_progress(&t->watch, step, steps, stats);
}

static int train_head(HeadTraining *t, const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    HeadOptions how = head_options(o, o->seed);
    TrainOptions train;
    if (train_options(&train, o, err) || state_open(&t->state, &t->run, "reward", o->save_every, err)) return -1;
    train.keeper = &t->state.keeper;
    t->epochs = train.epochs;
    watch_start(&t->watch, &t->state, o->quiet, err);
    state_keep(&t->state, (KeptValue){"last_epoch_steps", &t->steps, NULL});
    state_keep(&t->state, (KeptValue){"last_epoch_loss", NULL, &t->loss});
    if (head_train(&t->head, &cx->compute, &t->data, &how, &train, watch_head, t, err)) return -1;
    t->loss /= (double)t->steps;
    return watch_finish(&t->watch, &(StepStats){.loss = t->loss}, err);
}

static int measure_head(HeadTraining *t, const CommandContext *cx, Err *err)
{
    if (!t->test_corpus.count) return 0;
    if (head_quality(&t->whole, &t->head, &cx->compute, &t->test_corpus, &t->tokenizer, err)) return -1;
    return head_quality(&t->prefixes, &t->head, &cx->compute, &t->test_begun, &t->tokenizer, err);
}

static int report_training(const HeadTraining *t, const Options *o, Err *err)
{
    const ModelConfig *c = &t->head.config;
    size_t n = t->data.pairs ? t->data.count / 2 : t->data.count;
    const char *what = t->data.pairs ? "pairs" : "texts", *pooling = c->pooling == POOL_MEAN ? "mean" : "last";
    if (!o->json) {
        printf("%s: %zu parameters in %zu layers, reads %zu tokens at once (pooling: %s); %zu %s, %zu tokens seen in %.1f s\n", o->output,
            t->head.parameter_count, c->layers, c->context, pooling, n, what, t->watch.tokens, t->watch.seconds);
        printf("training loss %.4f\n", t->loss);
        if (!t->test_corpus.count) return 0;
        printf("\n%s, %zu texts:\n", o->test_corpus, t->test_corpus.count);
        print_qualities(&t->whole, &t->prefixes);
        return 0;
    }
    char hash[17];
    hash_text(hash, checkpoint_hash(&t->head));
    json_t *result = json_pack("{s:s,s:s,s:I,s:I,s:I,s:s,s:I,s:I,s:o,s:o}", "output", o->output, "checkpoint_hash", hash, "parameters",
        (json_int_t)t->head.parameter_count, "layers", (json_int_t)c->layers, "context", (json_int_t)c->context, "pooling", pooling, what,
        (json_int_t)n, "tokens", (json_int_t)t->watch.tokens, "loss", json_float(t->loss), "seconds", json_float(t->watch.seconds));
    if (result && t->test_corpus.count) {
        json_object_set_new(result, "test", quality_json(&t->whole));
        json_object_set_new(result, "test_prefixes", quality_json(&t->prefixes));
    }
    return print_json(result, err);
}

static int learn(HeadTraining *t, const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    if (t->run.finished) return tell_finished(&t->run, o, err);
    return train_head(t, cx, err) || checkpoint_save(o->output, &t->head, &t->tokenizer, err) ||
        run_record_hash(&t->run, "checkpoint_hash", checkpoint_hash(&t->head), err) || measure_head(t, cx, err) ||
        report_training(t, o, err) || run_finish(&t->run, err) ? -1 : 0;
}

static int train(const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    HeadTraining t = {0};
    if (cx->word_count > 1) return err_input(err, "reward train: unexpected \"%s\"; everything is named by options", cx->words[1]);
    if (!o->corpus == !o->pairs)
        return err_input(err, "reward train: give --corpus PATH (labelled texts) or --pairs FILE.jsonl (chosen, rejected), one of the two");
    if (!o->output) return err_input(err, "reward train: -o DIR is missing");
    if (head_options_check(o, err) || refuse_sizes(cx->settings, o, "layers", err)) return -1;
    int status = (o->init ? head_on_checkpoint(&t, cx, err) : fresh_head(&t, o, err)) || freeze_layers(&t.head, o, err) || read_training_data(&t, o, err) ||
        read_test_data(&t, o, err) || open_run(&t, cx, err) || record(&t, o, err) || learn(&t, cx, err);
    head_training_free(&t);
    return status ? -1 : 0;
}

// ---- the rewards that score and eval are asked about -------------------------------------------------------------------------

// Those after the sub-command and those of --reward are one sum.
static int open_rewards(RewardSet *rewards, const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    size_t given = cx->word_count - 1, n = given + o->reward.count;
    if (!n) return err_input(err, "reward %s: expected SPEC: head:DIR, lexicon:FILE, length:N or command:PROGRAM", cx->words[0]);
    const char **specs = mem_new(err, n, sizeof *specs);
    for (size_t i = 0; specs && i < n; i++) specs[i] = i < given ? cx->words[1 + i] : o->reward.items[i - given];
    int status = specs ? reward_open(rewards, specs, n, NULL, &cx->compute, o->timeout, err) : -1;
    mem_free(specs);
    return status;
}

// ---- score -----------------------------------------------------------------------------------------------------------------

typedef struct { json_t **lines; RewardInput *inputs; float *total; size_t count, capacity; } ScoredLines;

static void lines_free(ScoredLines *s)
{
    for (size_t i = 0; i < s->count; i++) json_decref(s->lines[i]);
    mem_free(s->lines);
    mem_free(s->inputs);
    mem_free(s->total);
}

// Takes over the line.
static int add_line(ScoredLines *s, json_t *line, const char *where, Err *err)
{
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 256;
        json_t **lines = mem_resize(err, s->lines, s->count, capacity, sizeof *lines);
        if (lines) s->lines = lines;
        RewardInput *inputs = lines ? mem_resize(err, s->inputs, s->count, capacity, sizeof *inputs) : NULL;
        if (!inputs) return json_decref(line), -1;
        s->inputs = inputs;
        s->capacity = capacity;
    }
    RewardInput *in = s->inputs + s->count;
    const json_t *prompt = json_object_get(line, "prompt");
    s->lines[s->count++] = line;
    *in = (RewardInput){.prompt = ""};
    if (prompt && !json_is_null(prompt) && json_get_string(line, "prompt", &in->prompt, &in->prompt_length, where, err)) return -1;
    return json_get_string(line, "text", &in->text, &in->text_length, where, err);
}

static int read_lines(ScoredLines *s, const Options *o, Err *err)
{
    JsonLines in;
    json_t *line;
    int got = 0, status = 0;
    if (jsonl_open(&in, o->jsonl, err)) return -1;
    while (!status && (!o->limit || s->count < o->limit) && (got = jsonl_next(&in, &line, err)) == 1)
        status = add_line(s, line, in.where, err);
    if (!status && got >= 0 && !s->count) status = err_input(err, "%s: holds no line with \"text\"", o->jsonl);
    if (in.repaired) fprintf(stderr, "raft: %s: %zu invalid UTF-8 sequences replaced by U+FFFD\n", o->jsonl, in.repaired);
    jsonl_close(&in);
    return status || got < 0 ? -1 : 0;
}

static int write_lines(const ScoredLines *s, const char *path /* NULL: standard output */, Err *err)
{
    OsWriter out = {0};
    Text text = {0};
    int status = path ? os_writer_open(&out, path, err) : 0;
    for (size_t i = 0; !status && i < s->count; i++) {
        text.length = 0;
        if (json_object_set_new(s->lines[i], "reward", json_float(s->total[i]))) status = err_failed(err, "out of memory");
        if (!status) status = json_write(&text, s->lines[i], err) || text_puts(&text, err, "\n") ? -1 : 0;
        if (!status && path) status = os_writer_write(&out, text.data, text.length, err);
        else if (!status && fwrite(text.data, 1, text.length, stdout) != text.length)
            status = err_failed(err, "cannot write to standard output");
    }
    if (!status && path) status = os_writer_commit(&out, err);
    os_writer_discard(&out);
    text_free(&text);
    return status;
}

static int report_scores(const ScoredLines *s, const Options *o, Err *err)
{
    Measure m = metric_mean(s->total, s->count);
    if (o->json)
        return print_json(json_pack("{s:s,s:I,s:o}", "output", o->output, "samples", (json_int_t)s->count, "reward", measure_json(&m, true)),
            err);
    printf("%s: %zu samples, mean reward %.4f [%.4f, %.4f]\n", o->output, s->count, m.mean, m.lo, m.hi);
    return 0;
}

static int score(const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    const char *path = o->output && strcmp(o->output, "-") ? o->output : NULL;
    RewardSet rewards = {0};
    ScoredLines s = {0};
    if (!o->jsonl) return err_input(err, "reward score: --jsonl FILE is missing (lines with \"text\", perhaps \"prompt\")");
    int status = (path && check_output_file(o, err)) || open_rewards(&rewards, cx, err) || read_lines(&s, o, err) ? -1 : 0;
    if (!status && !(s.total = mem_new(err, s.count, sizeof *s.total))) status = -1;
    if (!status && reward_score(&rewards, s.inputs, s.count, s.total, NULL, err)) status = err_prefix(err, "%s", o->jsonl);
    if (!status) status = write_lines(&s, path, err);
    if (!status && path) status = report_scores(&s, o, err);
    lines_free(&s);
    reward_close(&rewards);
    return status;
}

// ---- eval ------------------------------------------------------------------------------------------------------------------

// Prefixes are counted in tokens of --tokenizer, else of the first reward head. 1: there is one, 0: none.
static int prefix_tokenizer(Tokenizer *tk, const RewardSet *rewards, const Options *o, Err *err)
{
    if (o->tokenizer) return tokenizer_load(tk, o->tokenizer, err) ? -1 : 1;
    for (size_t i = 0; i < rewards->count; i++) {
        const char *name = reward_name(rewards, i);
        if (strncmp(name, "head:", 5)) continue;
        char *path = os_join(err, name + 5, "tokenizer.json");
        int status = path && !tokenizer_load(tk, path, err) ? 1 : -1;
        mem_free(path);
        return status;
    }
    return 0;
}

static int measure_reward(RewardQuality *quality, RewardSet *rewards, const Corpus *corpus, Err *err)
{
    size_t n = corpus->count;
    RewardInput *inputs = mem_new(err, n, sizeof *inputs);
    float *total = inputs ? mem_new(err, n, sizeof *total) : NULL;
    for (size_t i = 0; total && i < n; i++)
        inputs[i] = (RewardInput){.prompt = "", .text = corpus->items[i].text, .text_length = corpus->items[i].length};
    int status = total ? reward_score(rewards, inputs, n, total, NULL, err) : -1;
    if (!status) status = reward_quality(quality, total, corpus, err);
    mem_free(inputs);
    mem_free(total);
    return status;
}

static int report_quality(const Corpus *corpus, const RewardQuality *whole, const RewardQuality *prefixes, const Options *o, Err *err)
{
    if (!o->json) {
        printf("%s, %zu texts:\n", o->corpus, corpus->count);
        print_qualities(whole, prefixes);
        print_calibration(whole);
        return 0;
    }
    json_t *result = quality_json(whole);
    if (result && prefixes) json_object_set_new(result, "prefixes", quality_json(prefixes));
    return print_json(result, err);
}

static int eval(const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    RewardSet rewards = {0};
    Corpus corpus = {0}, begun = {0};
    Tokenizer tk = {0};
    RewardQuality whole, prefixes;
    if (!o->corpus) return err_input(err, "reward eval: --corpus PATH is missing (texts with labels)");
    int status = open_rewards(&rewards, cx, err) || read_labelled_texts(&corpus, o->corpus, o, err) ? -1 : 0;
    int cut = status ? -1 : prefix_tokenizer(&tk, &rewards, o, err);
    if (cut < 0) status = -1;
    if (!status && cut) status = corpus_prefixes(&begun, &corpus, &tk, PREFIX_TOKENS, err);
    if (!status) status = measure_reward(&whole, &rewards, &corpus, err);
    if (!status && cut) status = measure_reward(&prefixes, &rewards, &begun, err);
    if (!status) status = report_quality(&corpus, &whole, cut ? &prefixes : NULL, o, err);
    tokenizer_free(&tk);
    corpus_free(&begun);
    corpus_free(&corpus);
    reward_close(&rewards);
    return status;
}

// ---- the sub-commands --------------------------------------------------------------------------------------------------------

typedef struct {
    const char *name;
    unsigned groups;
    const char *except[8]; // options of these groups that mean nothing to it
    int (*run)(const CommandContext *cx, Err *err);
} SubCommand;

static const SubCommand sub_commands[] = {
    {"train", OPT_COMMON | OPT_RUN | OPT_CORPUS | OPT_TOKENIZER_FILE | OPT_MODEL | OPT_TRAIN | OPT_HEAD, {"context"}, train},
    {"score", OPT_COMMON | OPT_JSONL | OPT_RANK, {"gold", "mode", "accept", "kl-beta", "prompt-tokens"}, score},
    {"eval", OPT_COMMON | OPT_CORPUS | OPT_TOKENIZER_FILE | OPT_RANK,
        {"gold", "mode", "accept", "kl-beta", "prompt-tokens", "output", "test-corpus"}, eval},
};

// What is typed for one sub-command and means nothing to it is a mistake; a profile may hold keys of others.
static int check_options(const SubCommand *sub, const Settings *settings, Err *err)
{
    for (size_t i = 0; i < settings->count; i++) {
        const Assignment *a = settings->assignments + i;
        bool taken = a->option->groups & sub->groups;
        for (const char *const *name = sub->except; *name; name++) taken &= strcmp(a->option->name, *name) != 0;
        if (!taken && a->source == FROM_COMMAND_LINE)
            return err_input(err, "--%s: reward %s does not take this option%s", a->option->name, sub->name,
                strcmp(a->option->name, "context") ? "" : " (--head-tokens is the context of a head)");
    }
    return 0;
}

static int run(CommandContext *cx, Err *err)
{
    const char *name = cx->word_count ? cx->words[0] : "";
    for (size_t i = 0; i < sizeof sub_commands / sizeof *sub_commands; i++)
        if (!strcmp(name, sub_commands[i].name))
            return check_options(sub_commands + i, cx->settings, err) ? -1 : sub_commands[i].run(cx, err);
    return err_input(err, "reward: expected \"train\", \"score\" or \"eval\", found \"%s\"", name);
}

const Command command_reward = {
    .name = "reward",
    .operands = "train|score SPEC|eval SPEC",
    .summary = "train a reward head; score texts; measure a reward on labelled texts",
    .groups = OPT_COMMON | OPT_RUN | OPT_CORPUS | OPT_JSONL | OPT_TOKENIZER_FILE | OPT_MODEL | OPT_TRAIN | OPT_RANK | OPT_HEAD,
    .defaults = "epochs=2",
    .help = "reward train --corpus PATH --init CKPT -o DIR trains a head on a language model from labelled texts (pos/ and neg/, or lines with\n"
            "\"label\"); --layers N takes its first N layers only (default: all). --pairs FILE.jsonl learns from preferences instead (prompt,\n"
            "chosen, rejected; Bradley-Terry). Without --init: --tokenizer FILE.json and fresh weights of the sizes below. The head reads\n"
            "--head-tokens at once (the language model's context at most), a longer text in windows. --test-corpus PATH measures it on texts not\n"
            "trained on, whole and begun.\n"
            "reward score SPEC --jsonl IN [-o OUT] reads lines with \"text\" (perhaps \"prompt\") and writes them again with \"reward\".\n"
            "reward eval SPEC --corpus PATH tells how well a reward separates labelled texts: accuracy, AUC, mean rewards, calibration.\n"
            "SPEC is [WEIGHT*]head:DIR, lexicon:FILE, length:N or command:PROGRAM; several of them, or of --reward, are a sum (a negative\n"
            "weight needs --reward=-1*length:9). A PROGRAM reads lines {\"prompt\",\"text\"} to the end of its input and answers each with a\n"
            "number, or {\"reward\":number}, on a line of its own.\n"
            "--limit takes texts spread evenly over a corpus, so that both labels stay.",
    .needs_compute = true,
    .run = run,
};
