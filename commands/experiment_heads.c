// SPDX-License-Identifier: MIT
/* experiment_heads.c - the experiment's two reward heads: from the language model's first layers, each on its own half of the
 * training reviews, measured on held-out ones; or those that an earlier run made. Start reading at experiment_make_heads. */
#include "commands/experiment-internal.h"

#include <stdio.h>
#include <string.h>

#include "commands/learning.h"
#include "commands/training.h"
#include "files/checkpoint.h"
#include "study/heads.h"

enum { BEGINNING = 30 }; // tokens: about as long as what RAFT asks about

const char *const head_names[HEADS] = {[PROXY] = "proxy", [GOLD] = "gold"};

// ---- one head ----------------------------------------------------------------------------------------------------------------------

static int fit_head(Experiment *e, Model *head, const Indices *half, const Options *o, uint64_t seed, Err *err)
{
    HeadExamples data = {0};
    HeadOptions how = head_options(o, seed);
    TrainOptions train;
    TrainWatch watch;
    ScorePooling pooling = o->pooling && !strcmp(o->pooling, "mean") ? POOL_MEAN : POOL_LAST;
    if (head_model_from(head, &e->model, o->layers, pooling, o->head_tokens, seed, err) || freeze_layers(head, o, err)) return -1;
    if (train_options(&train, o, err) || head_examples_from_corpus(&data, &e->train, half->items, half->count, &e->tokenizer, err)) return -1;
    train.keeper = &e->state.keeper;
    watch_start(&watch, &e->state, o->quiet, err);
    StepStats total = {0};
    int status = head_train(head, e->cx, &data, &how, &train, watch_progress, &watch, err);
    total.loss = watch.loss;
    if (!status) status = watch_finish(&watch, &total, err);
    head_examples_free(&data);
    return status;
}

static json_t *figures_of(const RewardQuality *whole, const RewardQuality *begun)
{
    const Measure *all = &whole->accuracy;
    return json_pack("{s:o,s:o,s:o,s:o,s:I,s:o,s:o}", "accuracy", json_float(all->mean), "lo", json_float(all->lo), "hi", json_float(all->hi),
        "accuracy_30_tokens", json_float(begun->accuracy.mean), "n", (json_int_t)all->n, "whole", quality_json(whole), "30_tokens",
        quality_json(begun));
}

// Whole reviews, and their beginnings.
static int measure_head(Experiment *e, const Model *head, const Options *o, const char *name, json_t *figures, Err *err)
{
    Indices chosen = {0};
    Corpus texts = {0}, begun = {0};
    RewardQuality whole, prefix;
    double started = os_now_s();
    int status = indices_spread(&chosen, &e->held_out, &e->test, o->limit, err);
    for (size_t i = 0; !status && i < chosen.count; i++) {
        const CorpusItem *item = e->test.items + chosen.items[i];
        status = corpus_add(&texts, item->id, item->text, item->length, item->label, err);
    }
    if (!status) status = corpus_prefixes(&begun, &texts, &e->tokenizer, BEGINNING, err) ||
        head_quality(&whole, head, e->cx, &texts, &e->tokenizer, err) || head_quality(&prefix, head, e->cx, &begun, &e->tokenizer, err) ? -1 : 0;
    mem_free(chosen.items);
    corpus_free(&texts);
    corpus_free(&begun);
    if (status) return -1;
    if (json_object_set_new(figures, name, figures_of(&whole, &prefix))) return err_failed(err, "out of memory");
    Text stage = {0};
    status = text_printf(&stage, err, "%s-measure", name) || run_timing(&e->run, stage.data, os_now_s() - started, 0, err);
    text_free(&stage);
    return status ? -1 : 0;
}

static void tell_figures(const char *name, const json_t *figures)
{
    const json_t *f = json_object_get(figures, name), *whole = json_object_get(f, "whole"), *begun = json_object_get(f, "30_tokens");
    const char *const keys[] = {"accuracy", "lo", "hi", "accuracy_30_tokens"};
    double v[4];
    for (size_t i = 0; i < 4; i++) v[i] = 100 * json_number_value(json_object_get(f, keys[i]));
    fprintf(stderr, "%-10s right on %.1f %% [%.1f, %.1f] of %d held-out reviews (calibration error %.3f), %.1f %% after %d tokens (%.3f)\n", name,
        v[0], v[1], v[2], (int)json_integer_value(json_object_get(f, "n")), json_number_value(json_object_get(whole, "calibration_error")), v[3],
        BEGINNING, json_number_value(json_object_get(begun, "calibration_error")));
}

static int write_figures(const Experiment *e, const json_t *figures, Err *err)
{
    Text text = {0};
    char *path = run_path(&e->run, "heads.json", err);
    int status = path ? json_write_pretty(&text, figures, err) || os_write_file(path, text.data, text.length, err) : -1;
    text_free(&text);
    mem_free(path);
    return status ? -1 : 0;
}

// The gold head is another network (layers, seed) that learned from other reviews: it is asked, never optimised.
static int make_head(Experiment *e, size_t which, json_t *figures, Err *err)
{
    Options o;
    Model head = {0};
    const char *name = head_names[which];
    const Indices *half = which == PROXY ? &e->half_a : &e->half_b;
    char *folder = e->heads[which].folder = run_path(&e->run, name, err);
    int status = folder ? stage_begin(e, &o, name, err) : -1;
    bool reuse = e->state.finished;
    if (!status && reuse) status = checkpoint_load(&head, folder, err);
    else if (!status) status = fit_head(e, &head, half, &o, e->options->seed + which, err) || checkpoint_save(folder, &head, &e->tokenizer, err) ? -1 : 0;
    if (!status && (!reuse || !json_object_get(figures, name)))
        status = measure_head(e, &head, &o, name, figures, err) || write_figures(e, figures, err) ? -1 : 0;
    if (!status) status = record_model(e, name, folder, &head, reuse, err) || stage_end(e, err) ? -1 : 0;
    if (!status) e->heads[which].hash = checkpoint_hash(&head);
    if (!status && !o.quiet) tell_figures(name, figures);
    model_free(&head);
    return status ? -1 : 0;
}

int heads_check_finished(const Experiment *e, Err *err)
{
    for (size_t i = 0; i < HEADS; i++) {
        char key[32];
        snprintf(key, sizeof key, "%s_hash", head_names[i]);
        if (!e->unwanted[i] && !json_object_get(e->run.provenance, key))
            return err_input(err, "%s: this run is finished and holds no %s head; another -o makes one, --force begins this run anew", e->run.folder, head_names[i]);
    }
    return 0;
}

// ---- heads of an earlier run ---------------------------------------------------------------------------------------------------

int heads_check_origin(const Experiment *e, Err *err)
{
    const char *folder = e->options->heads_from, *theirs = NULL;
    if (!folder) return 0;
    char *path = os_join(err, folder, "provenance.json"), ours[17];
    json_t *record = path ? json_load_document(path, err) : NULL;
    size_t seed = 0;
    hash_text(ours, e->train.hash);
    int status = record ? json_get_text(record, "train_hash", &theirs, path, err) || json_get_size(record, "seed", &seed, path, err) : -1;
    if (!status && seed != e->options->seed)
        status = err_input(err, "--heads-from %s: its texts were split with --seed %zu, not %zu", folder, seed, (size_t)e->options->seed);
    if (!status && strcmp(theirs, ours)) status = err_input(err, "--heads-from %s: its heads learned from other texts than --corpus holds", folder);
    json_decref(record);
    mem_free(path);
    return status ? -1 : 0;
}

static int take_head(Experiment *e, const char *from, size_t which, json_t *figures, const json_t *theirs, Err *err)
{
    Model head = {0};
    const char *name = head_names[which];
    char key[32], *folder = e->heads[which].folder = os_join(err, from, name);
    json_t *measured = json_object_get(theirs, name);
    if (!folder || checkpoint_load(&head, folder, err)) return -1;
    snprintf(key, sizeof key, "%s_hash", name);
    e->heads[which].hash = checkpoint_hash(&head);
    int status = head.config.head == HEAD_SCORE ? 0 : err_input(err, "%s: a language model; expected a reward head", folder);
    model_free(&head);
    if (!status && !measured) status = err_input(err, "%s/heads.json: has no \"%s\"", from, name);
    if (!status && json_object_set(figures, name, measured)) status = err_failed(err, "out of memory");
    if (!status) status = run_record_input(&e->run, key, e->heads[which].hash, folder, err);
    if (!status && !e->options->quiet) fprintf(stderr, "%-10s taken from %s\n", name, from), tell_figures(name, figures);
    return status;
}

// ---- both ----------------------------------------------------------------------------------------------------------------------

static json_t *load_figures(const char *folder, bool must_be_there, Err *err)
{
    char *path = os_join(err, folder, "heads.json");
    json_t *figures = !path ? NULL : must_be_there || os_is_file(path) ? json_load_document(path, err) : json_object();
    mem_free(path);
    return figures;
}

// One that --reward or --gold stands for is not made.
int experiment_make_heads(Experiment *e, Err *err)
{
    const Options *o = e->options;
    const bool wanted[HEADS] = {[PROXY] = !o->reward.count && !e->unwanted[PROXY], [GOLD] = !o->gold && !e->unwanted[GOLD]};
    json_t *figures = load_figures(e->run.folder, false, err), *theirs = NULL;
    int status = figures ? 0 : -1;
    if (!status && o->heads_from) status = (theirs = load_figures(o->heads_from, true, err)) ? 0 : -1;
    for (size_t which = 0; !status && which < HEADS; which++) {
        if (!wanted[which]) continue;
        status = theirs ? take_head(e, o->heads_from, which, figures, theirs, err) : make_head(e, which, figures, err);
    }
    if (!status && theirs) status = write_figures(e, figures, err);
    json_decref(theirs);
    json_decref(figures);
    return status;
}
