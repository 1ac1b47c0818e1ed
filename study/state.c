// SPDX-License-Identifier: MIT
/* state.c - a stage's state as a safetensors file: arrays, and one JSON record as a tensor of bytes, so that what belongs
 * together is replaced by one rename. Knows nothing of what a stage computes. Start at state_write. */
#include "study/state.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char format[] = "raft state 1", record_name[] = "record", hash_name[] = "hash";

// ---- values: whole numbers as they are, others in hexadecimal, so that every bit comes back -----------------------------------

static int put_values(json_t *object, const KeptValue *values, size_t n, Err *err)
{
    for (size_t i = 0; i < n; i++) {
        char text[40];
        if (values[i].number) snprintf(text, sizeof text, "%a", *values[i].number);
        json_t *value = values[i].number ? json_string(text) : json_integer((json_int_t)*values[i].count);
        if (json_object_set_new(object, values[i].name, value)) return err_failed(err, "out of memory while saving the state");
    }
    return 0;
}

static int get_values(const json_t *object, const KeptValue *values, size_t n, const char *path, Err *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *text;
        char *end;
        if (values[i].count && json_get_size(object, values[i].name, values[i].count, path, err)) return -1;
        if (!values[i].number) continue;
        if (json_get_text(object, values[i].name, &text, path, err)) return -1;
        *values[i].number = strtod(text, &end);
        if (end == text || *end) return err_input(err, "%s: key \"%s\": expected a number, found \"%.40s\"", path, values[i].name, text);
    }
    return 0;
}

enum { SUMS = 8 };
static void list_sums(KeptValue values[SUMS], Trainer *t, size_t *step)
{
    StepStats *s = &t->sums.total;
    const KeptValue list[SUMS] = {{"step", step, NULL}, {"loss", NULL, &s->loss}, {"grad_norm", NULL, &s->grad_norm}, {"lr", NULL, &s->lr},
        {"tokens", &s->tokens, NULL}, {"targets", &s->targets, NULL}, {"epoch_loss", NULL, &t->sums.epoch_loss},
        {"epoch_seen", &t->sums.epoch_seen, NULL}};
    memcpy(values, list, sizeof list);
}

// ---- writing ---------------------------------------------------------------------------------------------------------------

typedef struct { StOutput tensors[6]; size_t count; uint64_t hash; } Arrays; // hash: of all of them, in this order

static void add_array(Arrays *arrays, const char *name, const float *data /* [n] */, size_t n)
{
    arrays->tensors[arrays->count++] = (StOutput){.name = name, .type = ST_F32, .dims = 1, .shape = {n}, .data = data};
    arrays->hash = hash_bytes(arrays->hash, data, n * sizeof *data);
}

static json_t *record_of(const RunState *s, const Trainer *trainer /* NULL: no training under way */, Err *err)
{
    const Run *run = s->run;
    KeptValue sums[SUMS];
    json_t *values = json_object(), *training = trainer ? json_object() : json_null();
    json_t *record = json_pack("{s:s,s:s,s:b,s:o,s:o,s:s,s:s}", "format", format, "stage", s->stage, "finished", (int)s->finished,
        "values", values, "training", training, "metrics", run->metrics.data ? run->metrics.data : "",
        "timing", run->timing.data ? run->timing.data : "");
    if (!record) {
        err_failed(err, "out of memory while saving the state");
        return NULL;
    }
    int status = put_values(values, s->kept, s->kept_count, err);
    if (!status && trainer) {
        Trainer copy = {.sums = trainer->sums};
        size_t step = trainer->step;
        list_sums(sums, &copy, &step);
        status = put_values(training, sums, SUMS, err);
    }
    if (!status) return record;
    json_decref(record);
    return NULL;
}

// The parameters that training changes; those of frozen layers are where the model came from. copy: what to free, NULL: nothing.
static const float *trained_values(float **copy, const Model *model, Err *err)
{
    *copy = NULL;
    if (model->trained_count == model->parameter_count) return model->parameters;
    if ((*copy = mem_new(err, model->trained_count, sizeof **copy))) model_take_trained(model, *copy);
    return *copy;
}

static int state_write(RunState *s, const Trainer *trainer, Err *err)
{
    Arrays arrays = {0};
    Text text = {0};
    const Model *model = s->finished ? NULL : s->model;
    float *copy = NULL;
    const float *trained = model ? trained_values(&copy, model, err) : NULL;
    if (model && !trained) return -1;
    const Trainer *adam = trainer ? trainer : s->finished ? NULL : s->trainer;
    safetensors_close(&s->file); // where a mapped file cannot be replaced
    s->found = false;
    if (model) add_array(&arrays, "parameters", trained, model->trained_count);
    if (adam) add_array(&arrays, "m", adam->m, model->trained_count);
    if (adam) add_array(&arrays, "v", adam->v, model->trained_count);
    if (s->scores && !s->finished) add_array(&arrays, "scores", s->scores, s->score_count);
    json_t *record = record_of(s, trainer, err);
    int status = record ? json_write(&text, record, err) : -1;
    if (!status) {
        int64_t hash = (int64_t)hash_bytes(arrays.hash, text.data, text.length);
        arrays.tensors[arrays.count++] = (StOutput){.name = record_name, .type = ST_U8, .dims = 1, .shape = {text.length}, .data = text.data};
        arrays.tensors[arrays.count++] = (StOutput){.name = hash_name, .type = ST_I64, .data = &hash};
        status = safetensors_write(s->path, arrays.tensors, arrays.count, err);
    }
    text_free(&text);
    json_decref(record);
    mem_free(copy);
    return status;
}

int state_save(RunState *s, Err *err) { return state_write(s, NULL, err); }

int state_finish(RunState *s, Err *err)
{
    s->finished = true;
    s->kept_count = 0; // whose they were may be gone by now, and nobody reads them from a finished stage
    return state_write(s, NULL, err);
}

// ---- reading ---------------------------------------------------------------------------------------------------------------

// safetensors_open found every length in order; this finds a byte that changed.
static int check_hash(const RunState *s, Err *err)
{
    const char *const names[] = {"parameters", "m", "v", "scores", record_name};
    const StTensor *recorded = safetensors_need(&s->file, hash_name, err);
    int64_t wanted;
    uint64_t hash = 0;
    if (!recorded || safetensors_read_i64(&s->file, recorded, &wanted, 1, err)) return -1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const StTensor *t = safetensors_find(&s->file, names[i]);
        if (t) hash = hash_bytes(hash, t->data, t->count * (t->type == ST_U8 ? 1 : sizeof(float)));
    }
    return hash == (uint64_t)wanted ? 0 : err_input(err, "%s: damaged: its contents have another hash than the one recorded", s->path);
}

static int read_record(RunState *s, Err *err)
{
    const StTensor *t = safetensors_need(&s->file, record_name, err);
    json_error_t where;
    const char *found, *stage, *metrics, *timing;
    if (!t || check_hash(s, err)) return -1;
    if (!(s->record = json_loadb((const char *)t->data, t->count, 0, &where)))
        return err_input(err, "%s: tensor \"%s\": not valid JSON: %s", s->path, record_name, where.text);
    if (json_get_text(s->record, "format", &found, s->path, err) || json_get_text(s->record, "stage", &stage, s->path, err) ||
        json_get_text(s->record, "metrics", &metrics, s->path, err) || json_get_text(s->record, "timing", &timing, s->path, err) ||
        json_get_bool_or(s->record, "finished", false, &s->finished, s->path, err)) return -1;
    if (strcmp(found, format) || strcmp(stage, s->stage))
        return err_input(err, "%s: expected \"%s\" of stage \"%s\", found \"%.30s\" of \"%.30s\"", s->path, format, s->stage, found, stage);
    return run_restore(s->run, metrics, timing, err);
}

static int read_array(RunState *s, const char *name, float *out /* [n] */, size_t n, Err *err)
{
    const StTensor *t = safetensors_need(&s->file, name, err);
    return t ? safetensors_read_f32(&s->file, t, out, n, err) : -1;
}

static int read_parameters(RunState *s, Model *model, Err *err)
{
    size_t n = model->trained_count;
    if (n == model->parameter_count) return read_array(s, "parameters", model->parameters, n, err);
    float *values = mem_new(err, n, sizeof *values);
    int status = values ? read_array(s, "parameters", values, n, err) : -1;
    if (!status) model_put_trained(model, values);
    mem_free(values);
    return status;
}

int state_restore(RunState *s, Err *err)
{
    Trainer *t = s->trainer;
    if (!s->found) return 0;
    if (get_values(json_object_get(s->record, "values"), s->kept, s->kept_count, s->path, err)) return -1;
    if (t && (read_array(s, "m", t->m, t->model->trained_count, err) || read_array(s, "v", t->v, t->model->trained_count, err))) return -1;
    return s->model ? read_parameters(s, s->model, err) : 0;
}

int state_scores(RunState *s, float *scores, size_t n, Err *err) { return read_array(s, "scores", scores, n, err); }

// ---- training --------------------------------------------------------------------------------------------------------------

static int restore_trainer(void *self, Trainer *t, Err *err)
{
    RunState *s = self;
    KeptValue sums[SUMS];
    size_t step = 0, n = t->model->trained_count;
    s->model = t->model;
    if (!s->found) return 0;
    const json_t *training = json_object_get(s->record, "training");
    int status = state_restore(s, err);
    if (!status && !json_is_null(training)) {
        list_sums(sums, t, &step);
        status = get_values(training, sums, SUMS, s->path, err) || read_array(s, "m", t->m, n, err) || read_array(s, "v", t->v, n, err);
        if (!status && t->options.steps && step > t->options.steps)
            status = err_input(err, "%s: %zu steps were done, but the schedule has %zu", s->path, step, t->options.steps);
        if (!status) trainer_continue(t, step);
    }
    safetensors_close(&s->file);
    s->found = false; // a later training of this stage starts afresh
    return status ? -1 : 0;
}

static int save_trainer(void *self, const Trainer *t, Err *err)
{
    RunState *s = self;
    return s->every && t->step % s->every == 0 ? state_write(s, t, err) : 0;
}

// ---- opening ---------------------------------------------------------------------------------------------------------------

int state_open(RunState *s, Run *run, const char *stage, size_t every, Err *err)
{
    char name[64];
    *s = (RunState){.run = run, .stage = stage, .every = every};
    s->keeper = (TrainKeeper){.self = s, .restore = restore_trainer, .save = save_trainer};
    snprintf(name, sizeof name, "state/%s.safetensors", stage);
    if (!(s->path = run_path(run, name, err))) return -1;
    if (!run->resumed || !os_is_file(s->path)) return 0;
    if (safetensors_open(&s->file, s->path, err) || read_record(s, err)) {
        state_close(s);
        return err_prefix(err, "the state to go on from cannot be used (--force begins the run anew)");
    }
    s->found = !s->finished;
    if (s->finished) safetensors_close(&s->file);
    return 0;
}

void state_keep(RunState *s, KeptValue value)
{
    assert(s->kept_count < KEPT_MOST);
    s->kept[s->kept_count++] = value;
}

void state_close(RunState *s)
{
    safetensors_close(&s->file);
    json_decref(s->record);
    mem_free(s->path);
    *s = (RunState){0};
}
