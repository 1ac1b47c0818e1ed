// SPDX-License-Identifier: MIT
/* experiment.c - one run from raw text to an aligned model, stage after stage. Each stage is a few calls into the modules
 * that do the work; here are only the splits, the order, and what is kept on disk between stages. */
#include "commands/experiment-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/learning.h"
#include "commands/policies.h"
#include "commands/training.h"
#include "files/checkpoint.h"
#include "kernels/philox.h"

// ---- stages ----------------------------------------------------------------------------------------------------------------------

int stage_begin(Experiment *e, Options *options, const char *stage, Err *err)
{
    if (settings_resolve(options, e->settings, stage, err) || state_open(&e->state, &e->run, stage, options->save_every, err)) return -1;
    e->state.finished |= e->run.finished; // whose states are gone
    if (e->state.finished && !e->options->quiet) fprintf(stderr, "%-10s taken from %s\n", stage, e->run.folder);
    return 0;
}

int stage_end(Experiment *e, Err *err)
{
    int status = e->state.finished ? 0 : state_finish(&e->state, err);
    state_close(&e->state);
    return status;
}

int record_model(Experiment *e, const char *name, const char *folder, const Model *model, bool made_before, Err *err)
{
    char key[32];
    uint64_t hash = checkpoint_hash(model);
    snprintf(key, sizeof key, "%s_hash", name);
    if (made_before ? run_record_input(&e->run, key, hash, folder, err) : run_record_hash(&e->run, key, hash, err)) return -1;
    return run_mark_checkpoint(&e->run, folder, hash, err);
}

// ---- texts ------------------------------------------------------------------------------------------------------------------------

int indices_reserve(Indices *list, size_t most, Err *err)
{
    *list = (Indices){.items = mem_new(err, most, sizeof *list->items)};
    return list->items ? 0 : -1;
}

// Half A and half B by a Philox shuffle.
static int split_train(Experiment *e, Err *err)
{
    size_t n = e->train.count;
    uint32_t *order = mem_new(err, n, sizeof *order);
    int status = order ? indices_reserve(&e->half_a, n, err) || indices_reserve(&e->half_b, n, err) : -1;
    if (!status) philox_shuffle(order, n, e->options->seed, STREAM_SPLIT, 0);
    for (size_t i = 0; !status && i < n; i++) {
        Indices *half = i < n / 2 ? &e->half_a : &e->half_b;
        half->items[half->count++] = order[i];
    }
    mem_free(order);
    return status ? -1 : 0;
}

// The first half of each label for prompts, the second for measuring: texts of folders are sorted by path, all of neg/ first.
static int split_test(Experiment *e, Err *err)
{
    size_t of_label[3] = {0}, seen[3] = {0}, n = e->test.count;
    if (indices_reserve(&e->probe, n, err) || indices_reserve(&e->held_out, n, err)) return -1;
    for (size_t i = 0; i < n; i++) of_label[e->test.items[i].label + 1]++;
    for (size_t i = 0; i < n; i++) {
        int label = e->test.items[i].label + 1;
        Indices *part = seen[label]++ < of_label[label] / 2 ? &e->probe : &e->held_out;
        part->items[part->count++] = (uint32_t)i;
    }
    if (e->probe.count && e->held_out.count) return 0;
    return err_input(err, "%s: too few test reviews (%zu) to give prompts and held-out text", e->options->corpus, n);
}

// The built-in corpus: a fifth more reviews than asked for, the last ones to test on.
static int read_grammar_texts(Experiment *e, const char *path, Err *err)
{
    size_t n = e->options->corpus_size, test = n / 5 > 10 ? n / 5 : 10;
    Corpus all = {0};
    Grammar *grammar = grammar_load(path, err);
    int status = grammar ? grammar_corpus(&all, grammar, n + test, e->options->seed, err) : -1;
    for (size_t i = 0; !status && i < all.count; i++) {
        const CorpusItem *item = all.items + i;
        status = corpus_add(i < n ? &e->train : &e->test, item->id, item->text, item->length, item->label, err);
    }
    grammar_free(grammar);
    corpus_free(&all);
    return status;
}

static int read_folder_texts(Experiment *e, const char *path, Err *err)
{
    char *train = os_join(err, path, "train"), *test = train ? os_join(err, path, "test") : NULL;
    int status = test ? 0 : -1;
    if (!status && !(os_is_folder(train) && os_is_folder(test)))
        status = err_input(err, "%s: expected a folder with train/ and test/, each with pos/ and neg/ (data/get_imdb.sh makes one), or a .grammar file", path);
    if (!status) status = corpus_read(&e->train, train, err) || corpus_read(&e->test, test, err) ? -1 : 0;
    mem_free(train);
    mem_free(test);
    return status;
}

static int read_texts_and_split(Experiment *e, Err *err)
{
    const char *given = e->options->corpus;
    char *built_in = given ? NULL : find_data_file("data", "reviews", ".grammar", err);
    const char *path = given ? given : built_in;
    Progress bar;
    if (!path) return -1;
    size_t n = strlen(path);
    progress_start(&bar, "texts", "text", 0, e->options->quiet);
    int status = n > 8 && !strcmp(path + n - 8, ".grammar") ? read_grammar_texts(e, path, err) : read_folder_texts(e, path, err);
    mem_free(built_in);
    if (status || split_train(e, err) || split_test(e, err)) return -1;
    char note[120];
    size_t repaired = e->train.repaired + e->test.repaired;
    bar.total = bar.done = e->train.count + e->test.count;
    snprintf(note, sizeof note, repaired ? "%zu to train on, %zu to test on, %zu invalid UTF-8 sequences replaced" : "%zu to train on, %zu to test on",
        e->train.count, e->test.count, repaired);
    progress_finish(&bar, note);
    return 0;
}

// What can be known of the start without a run.
static int check_start(const Experiment *e, Err *err)
{
    const Options *o = e->options;
    Options pretrain, head;
    ModelConfig config;
    if (settings_resolve(&pretrain, e->settings, "pretrain", err) || prompts_check(o, err)) return -1;
    for (size_t i = 0; i < HEADS; i++)
        if (settings_resolve(&head, e->settings, head_names[i], err) || head_options_check(&head, err)) return -1;
    if (!o->init && o->adapt) return err_input(err, "--adapt goes on with the model of --init CKPT, which is missing");
    if (!o->init && pretrain.train_layers)
        return err_input(err, "--train-layers: all layers of a model that begins with random weights must be trained (--raft.train-layers, ...)");
    if (o->init && checkpoint_load_config(&config, o->init, err)) return -1;
    return !o->init || config.head == HEAD_LM ? 0 : err_input(err, "--init %s: a reward model; expected a language model", o->init);
}

// Texts that cannot be read leave no run behind.
int experiment_open(Experiment *e, const char *command, const Settings *settings, const Options *options, const Compute *cx, Err *err)
{
    *e = (Experiment){.settings = settings, .options = options, .cx = cx, .eos = -1};
    const char *what = options->corpus ? options->corpus : "the built-in reviews";
    return check_start(e, err) || read_texts_and_split(e, err) || heads_check_origin(e, err) || run_open(&e->run, options->output, command, settings, options, cx, err) ||
        run_record_input(&e->run, "train_hash", e->train.hash, what, err) ||
        run_record_input(&e->run, "test_hash", e->test.hash, what, err) ? -1 : 0;
}

int indices_spread(Indices *out, const Indices *from, const Corpus *corpus, size_t limit, Err *err)
{
    if (indices_reserve(out, from->count, err)) return -1;
    out->count = corpus_spread(out->items, corpus, from->items, from->count, limit);
    return 0;
}

// ---- tokenizer --------------------------------------------------------------------------------------------------------------------

static int fit_tokenizer(Experiment *e, const Options *o, Err *err)
{
    const char *fallback = "<|endoftext|>";
    TokenizerTraining how = {.vocab = o->vocab, .special = o->special.count ? o->special.items : &fallback,
        .special_count = o->special.count ? o->special.count : 1, .split_digits = o->split_digits};
    TextView *views = mem_new(err, e->train.count, sizeof *views);
    if (!views) return -1;
    for (size_t i = 0; i < e->train.count; i++) views[i] = (TextView){e->train.items[i].text, e->train.items[i].length};
    int status = tokenizer_train(&e->tokenizer, views, e->train.count, &how, err);
    mem_free(views);
    return status;
}

static int take_tokenizer(Experiment *e, Err *err)
{
    const char *from = e->options->init;
    ModelConfig config;
    if (checkpoint_load_config(&config, from, err)) return -1;
    e->eos = config.eos;
    return checkpoint_load_tokenizer(&e->tokenizer, from, &config, err) ||
        run_record_input(&e->run, "tokenizer_hash", tokenizer_hash(&e->tokenizer), from, err) ? -1 : 0;
}

int experiment_make_tokenizer(Experiment *e, Err *err)
{
    if (e->options->init) return take_tokenizer(e, err);
    Options o;
    char *path = run_path(&e->run, "tokenizer.json", err);
    int status = path ? stage_begin(e, &o, "tokenizer", err) : -1;
    bool reuse = e->state.finished;
    if (!status && reuse) status = tokenizer_load(&e->tokenizer, path, err);
    else if (!status) {
        Progress bar;
        char note[60];
        progress_start(&bar, "tokenizer", "merge", 0, o.quiet);
        status = fit_tokenizer(e, &o, err);
        if (!status) status = tokenizer_save(&e->tokenizer, path, err) || run_timing(&e->run, "tokenizer", progress_seconds(&bar), 0, err) ? -1 : 0;
        bar.done = e->tokenizer.vocab - 256 - (o.special.count ? o.special.count : 1); // the rest are bytes and special tokens
        snprintf(note, sizeof note, "vocabulary of %zu", e->tokenizer.vocab);
        if (!status) progress_finish(&bar, note);
    }
    e->eos = status ? -1 : end_of_text(&e->tokenizer);
    uint64_t hash = status ? 0 : tokenizer_hash(&e->tokenizer);
    if (!status) status = reuse ? run_record_input(&e->run, "tokenizer_hash", hash, path, err) : run_record_hash(&e->run, "tokenizer_hash", hash, err);
    mem_free(path);
    return status || stage_end(e, err) ? -1 : 0;
}

// ---- language model ---------------------------------------------------------------------------------------------------------------

// Fresh weights, or those of --init, which are to learn how reviews are written.
static int first_model(Experiment *e, const Options *o, Err *err)
{
    ModelConfig config;
    if (o->init) return freeze_layers(&e->model, o, err);
    if (model_options(&config, o, e->tokenizer.vocab, e->eos, err) || model_init(&e->model, &config, err)) return -1;
    model_randomise(&e->model, o->seed);
    return 0;
}

static int train_language_model(Experiment *e, const Options *o, Err *err)
{
    TrainOptions how;
    Trainer trainer;
    TrainWatch watch;
    StepStats total;
    Documents docs = {0};
    if (first_model(e, o, err) || train_options(&how, o, err)) return -1;
    size_t context = e->model.config.context, piece = o->init && o->context < context ? o->context : context;
    if (documents_encode(&docs, &e->train, NULL, e->train.count, &e->tokenizer, e->eos, piece, err)) return -1;
    how.keeper = &e->state.keeper;
    int status = trainer_init(&trainer, &e->model, e->cx, &how, err);
    if (!status) {
        watch_start(&watch, &e->state, o->quiet, err);
        status = train_run(&trainer, docs.examples, docs.count, o->seed, 0, watch_progress, &watch, &total, err);
        if (!status) status = watch_finish(&watch, &total, err);
        trainer_free(&trainer);
    }
    documents_free(&docs);
    return status;
}

// What --init gives: mapped from its file, as is p0 and every policy until it is trained, so that no weight is held twice.
static int take_language_model(Experiment *e, Err *err)
{
    const char *from = e->options->init;
    return checkpoint_load(&e->model, from, err) || run_record_input(&e->run, "start_hash", checkpoint_hash(&e->model), from, err) ||
        !(e->start = mem_copy_text(err, from)) ? -1 : 0;
}

int experiment_make_language_model(Experiment *e, Err *err)
{
    Options o;
    if (e->options->init && (take_language_model(e, err) || !e->options->adapt)) return e->start ? 0 : -1;
    char *folder = run_path(&e->run, "lm", err);
    int status = folder ? stage_begin(e, &o, "pretrain", err) : -1;
    bool reuse = e->state.finished;
    if (!status && !reuse) status = train_language_model(e, &o, err) || checkpoint_save(folder, &e->model, &e->tokenizer, err) ? -1 : 0;
    model_free(&e->model); // read back, so that it is mapped, and all of it may be trained
    if (!status) status = checkpoint_load(&e->model, folder, err);
    if (!status) status = record_model(e, "lm", folder, &e->model, reuse, err) || stage_end(e, err) ? -1 : 0;
    mem_free(e->start);
    e->start = folder;
    return status;
}

int experiment_copy_start(const Experiment *e, Model *copy, Err *err)
{
    return e->model.map.data ? checkpoint_load(copy, e->start, err) : model_copy(copy, &e->model, err);
}

// ---- alignment --------------------------------------------------------------------------------------------------------------------

// --reward and --gold as they are given, else the heads.
static int open_rewards(Experiment *e, const Options *o, Err *err)
{
    Text proxy = {0}, gold = {0};
    int status = text_printf(&proxy, err, "head:%s", e->heads[PROXY].folder ? e->heads[PROXY].folder : "") ||
        text_printf(&gold, err, "head:%s", e->heads[GOLD].folder ? e->heads[GOLD].folder : "") ? -1 : 0;
    const char *own = proxy.data;
    if (!status) status = reward_open(&e->rewards, o->reward.count ? o->reward.items : &own, o->reward.count ? o->reward.count : 1,
        o->gold ? o->gold : gold.data, e->cx, o->timeout, err);
    if (!status && !o->reward.count) status = reward_rename(&e->rewards, 0, "head:proxy", err); // the same bytes in any folder
    text_free(&proxy);
    text_free(&gold);
    return status ? -1 : 0;
}

int experiment_prepare_alignment(Experiment *e, const Options *o, Err *err)
{
    Indices asked, texts;
    Options evaluate;
    if (settings_resolve(&evaluate, e->settings, "eval", err)) return -1;
    if (indices_spread(&asked, &e->probe, &e->test, 2 * o->eval_prompts, err)) return -1; // some are too short; the first eval_prompts are asked
    int status = prompts_cut(&e->prompts, e, &e->train, NULL, o, err) || prompts_cut(&e->eval_prompts, e, &e->test, &asked, o, err);
    mem_free(asked.items);
    if (status || indices_spread(&texts, &e->held_out, &e->test, evaluate.limit, err)) return -1;
    status = documents_encode(&e->held_out_documents, &e->test, texts.items, texts.count, &e->tokenizer, e->eos, e->model.config.context, err);
    mem_free(texts.items);
    if (!status && evaluate.held_out_tokens) status = documents_cut(&e->held_out_documents, evaluate.held_out_tokens, e->model.config.context, err);
    return status || experiment_copy_start(e, &e->reference, err) ? -1 : open_rewards(e, o, err);
}

int experiment_record_given(Experiment *e, const Options *o, Err *err)
{
    Options files = *o;
    files.expert.count = 0;
    for (size_t i = 0; i < o->expert.count; i++)
        if (strcmp(o->expert.items[i], HUMAN)) files.expert.items[files.expert.count++] = o->expert.items[i];
    return record_sources(&e->run, &files, err);
}

EvaluateOptions experiment_evaluation(Experiment *e, const Options *o)
{
    EvaluateOptions how = {.tokenizer = &e->tokenizer, .prompts = &e->eval_prompts, .prompt_count = o->eval_prompts, .rewards = &e->rewards,
        .reference = &e->reference, .held_out = e->held_out_documents.examples, .held_out_count = e->held_out_documents.count,
        .p0_perplexity = &e->p0_perplexity, .sample = sample_options(o, &e->model.config), .seed = o->seed};
    how.sample.samples = 1;
    return how;
}

int experiment_run_alignment(Alignment *alignment, Experiment *e, const Options *o, Policy *policy, const PpoOptions *ppo, Run *run, RunState *state,
    AlignmentListener listener, Err *err)
{
    EvaluateOptions measure = experiment_evaluation(e, o);
    if (alignment_options(alignment, o, e->prompts.count, e->rewards.gold, err)) return -1;
    alignment->policy = policy;
    alignment->rewards = &e->rewards;
    alignment->evaluate = &measure;
    alignment->ppo = ppo;
    alignment->state = state;
    alignment->keep_answers = true;
    alignment->listener = listener;
    return alignment_run(alignment, run, err);
}

int experiment_align(Experiment *e, AlignmentListener listener, Err *err)
{
    Options o;
    Policy policy = {0};
    if (stage_begin(e, &o, "align", err) || experiment_prepare_alignment(e, &o, err) || experiment_record_given(e, &o, err)) return -1;
    PolicyOptions how;
    ExpertNames experts;
    PpoOptions ppo = ppo_options(&o);
    if ((wants_ppo(&o) && model_add_value_head(&e->model, err)) || freeze_layers(&e->model, &o, err)) return -1;
    if (experiment_policy_options(&how, &experts, e, &o, err) || policy_init(&policy, &e->model, &e->reference, &e->tokenizer, &e->prompts, e->cx, &how, err)) return -1;
    Alignment alignment;
    int status = experiment_run_alignment(&alignment, e, &o, &policy, wants_ppo(&o) ? &ppo : NULL, &e->run, &e->state, listener, err);
    policy_free(&policy);
    return status ? -1 : run_record_hash(&e->run, "checkpoint_hash", checkpoint_hash(&e->model), err);
}

void experiment_close(Experiment *e)
{
    state_close(&e->state);
    run_close(&e->run);
    reward_close(&e->rewards);
    documents_free(&e->held_out_documents);
    documents_free(&e->replayed);
    for (size_t i = 0; i < HEADS; i++) mem_free(e->heads[i].folder);
    mem_free(e->start);
    mem_free(e->human);
    prompts_free(&e->prompts);
    prompts_free(&e->eval_prompts);
    model_free(&e->reference);
    model_free(&e->model);
    tokenizer_free(&e->tokenizer);
    mem_free(e->half_a.items);
    mem_free(e->half_b.items);
    mem_free(e->probe.items);
    mem_free(e->held_out.items);
    corpus_free(&e->train);
    corpus_free(&e->test);
}
