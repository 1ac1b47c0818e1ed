// SPDX-License-Identifier: MIT
/* report_files.c - a run directory in memory, checked: what is missing is left empty, what is damaged is an error that names
 * file and line. Knows nothing of HTML. Start reading at run_files_read. */
#include "study/report-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- lists ----------------------------------------------------------------------------------------------------------------

// One more zeroed item; the array grows by doubling whenever its count is a power of two.
void *report_list_add(void *items_pointer, size_t *count, size_t size, Err *err)
{
    void *items, *grown;
    memcpy(&items, items_pointer, sizeof items);
    if (!(*count & (*count - 1))) {
        if (!(grown = mem_resize(err, items, *count, *count ? *count * 2 : 1, size))) return NULL;
        memcpy(items_pointer, &grown, sizeof grown);
        items = grown;
    }
    return (char *)items + size * (*count)++;
}

size_t report_spaced(size_t i, size_t shown, size_t count) { return shown < 2 ? 0 : i * (count - 1) / (shown - 1); }

// ---- metrics.jsonl --------------------------------------------------------------------------------------------------------

static int read_measure(Measure *m, const json_t *line, const char *key, const char *where, Err *err)
{
    const json_t *value = json_object_get(line, key);
    *m = (Measure){0};
    if (!value) return 0;
    if (!json_is_object(value)) return err_input(err, "%s: key \"%s\": expected an object with mean, lo and hi", where, key);
    char place[400];
    snprintf(place, sizeof place, "%s: \"%s\"", where, key);
    m->n = 1;
    return json_get_number(value, "mean", &m->mean, place, err) || json_get_number(value, "lo", &m->lo, place, err) ||
        json_get_number(value, "hi", &m->hi, place, err) ? -1 : 0;
}

static int read_stage(IterationRow *row, const json_t *line, const char *where, Err *err)
{
    const json_t *stage = json_object_get(line, "stage"), *train = json_object_get(line, "train");
    if (!stage && !train) return 0;
    const char *stopped;
    row->trained = true;
    row->has_stage_kl = json_object_get(stage, "kl");
    row->ppo = json_object_get(train, "kl_coef");
    if (json_get_text_or(line, "stopped", "", &stopped, where, err)) return -1;
    snprintf(row->stopped, sizeof row->stopped, "%.23s", stopped);
    if (row->ppo && (json_get_number(train, "policy_loss", &row->policy_loss, where, err) ||
        json_get_number(train, "value_loss", &row->value_loss, where, err) || json_get_number(train, "clipped", &row->clipped, where, err) ||
        json_get_number(train, "kl_coef", &row->kl_coef, where, err))) return -1;
    return json_get_size(stage, "candidates", &row->candidates, where, err) ||
        json_get_size(stage, "selected", &row->selected, where, err) ||
        json_get_number(stage, "reward", &row->stage_reward, where, err) ||
        json_get_number(stage, "selected_reward", &row->selected_reward, where, err) ||
        (row->has_stage_kl && json_get_number(stage, "kl", &row->stage_kl, where, err)) || json_get_number(train, "loss", &row->loss, where, err) ||
        json_get_size_or(train, "tokens", 0, &row->trained_tokens, where, err) ? -1 : 0;
}

int report_read_measures(IterationRow *row, const json_t *line, const char *where, Err *err)
{
    for (size_t m = 0; m < MEASURES; m++)
        if (read_measure(&row->measures[m], line, measure_specs[m].key, where, err)) return -1;
    return json_get_size_or(line, "samples", 0, &row->samples, where, err);
}

int report_read_iteration(RunFiles *files, const json_t *line, const char *where, Err *err)
{
    IterationRow *row = report_list_add(&files->rows, &files->row_count, sizeof *files->rows, err);
    if (!row || json_get_size(line, "iteration", &row->iteration, where, err)) return -1;
    if (files->row_count > 1 && row->iteration <= row[-1].iteration)
        return err_input(err, "%s: iteration %zu follows iteration %zu", where, row->iteration, row[-1].iteration);
    size_t generated = 0;
    if (report_read_measures(row, line, where, err) || json_get_size_or(line, "generated", 0, &generated, where, err)) return -1;
    row->counted = json_object_get(line, "generated");
    row->generated = (double)generated;
    return read_stage(row, line, where, err);
}

static int read_step(RunFiles *files, const json_t *line, const char *where, Err *err)
{
    const char *stage = "";
    size_t step = 0, at = 0;
    double loss = 0;
    if (json_get_text(line, "stage", &stage, where, err) || json_get_size(line, "step", &step, where, err) ||
        json_get_number(line, "loss", &loss, where, err)) return -1;
    while (at < files->curve_count && strcmp(files->curves[at].stage, stage)) at++;
    if (at == files->curve_count) {
        char *copy = mem_copy_text(err, stage);
        Curve *added = copy ? report_list_add(&files->curves, &files->curve_count, sizeof *files->curves, err) : NULL;
        if (!added) return mem_free(copy), -1;
        added->stage = copy;
    }
    Curve *curve = files->curves + at;
    ChartPoint *point = report_list_add(&curve->points, &curve->count, sizeof *curve->points, err);
    if (!point) return -1;
    *point = (ChartPoint){.x = (double)step, .y = loss, .lo = loss, .hi = loss};
    if (curve->count < 2 || point->x > point[-1].x) return 0;
    return err_input(err, "%s: step %zu follows step %.0f of \"%s\"", where, step, point[-1].x, stage);
}

static int read_metrics_line(RunFiles *files, const json_t *line, const char *where, Err *err)
{
    if (json_object_get(line, "iteration")) return report_read_iteration(files, line, where, err);
    if (json_object_get(line, "stage") && json_object_get(line, "step")) return read_step(files, line, where, err);
    files->unknown_lines++; // other kinds of lines may come: the page says how many it does not show
    return 0;
}

// An iteration collects, then learns.
static int add_iteration_time(RunFiles *files, const char *stage, double seconds, Err *err)
{
    bool learns = !strcmp(stage, "finetune");
    if (learns && files->seconds_count) files->seconds[files->seconds_count - 1].learn_seconds += seconds;
    if (strcmp(stage, "collect")) return 0;
    IterationTime *added = report_list_add(&files->seconds, &files->seconds_count, sizeof *files->seconds, err);
    if (added) added->sample_seconds = seconds;
    return added ? 0 : -1;
}

// How long the work took until a measurement, where the line says it.
static int read_elapsed(RunFiles *files, const json_t *line, const char *where, Err *err)
{
    size_t iteration;
    double elapsed;
    if (!json_object_get(line, "elapsed")) return 0;
    if (json_get_size(line, "iteration", &iteration, where, err) || json_get_number(line, "elapsed", &elapsed, where, err)) return -1;
    for (size_t i = 0; i < files->row_count; i++)
        if (files->rows[i].iteration == iteration) files->rows[i].timed = true, files->rows[i].seconds = elapsed;
    return 0;
}

static int read_time(RunFiles *files, const json_t *line, const char *where, Err *err)
{
    const char *stage = "";
    double seconds = 0, tokens = 0;
    size_t at = 0;
    if (json_get_text(line, "stage", &stage, where, err) || json_get_number(line, "seconds", &seconds, where, err) ||
        json_get_number_or(line, "tokens", 0, &tokens, where, err)) return -1;
    if (!(seconds >= 0 && tokens >= 0)) return err_input(err, "%s: seconds and tokens must not be negative", where);
    while (at < files->time_count && strcmp(files->times[at].stage, stage)) at++;
    if (at == files->time_count) {
        char *copy = mem_copy_text(err, stage);
        StageTime *added = copy ? report_list_add(&files->times, &files->time_count, sizeof *files->times, err) : NULL;
        if (!added) return mem_free(copy), -1;
        added->stage = copy;
    }
    files->times[at].seconds += seconds;
    files->times[at].tokens += tokens;
    files->times[at].times++;
    return add_iteration_time(files, stage, seconds, err) || read_elapsed(files, line, where, err) ? -1 : 0;
}

// ---- files of the run -----------------------------------------------------------------------------------------------------

typedef int ReadLine(RunFiles *files, const json_t *line, const char *where, Err *err);

static int read_lines(RunFiles *files, const char *path, ReadLine *read, Err *err)
{
    JsonLines in;
    json_t *line = NULL;
    int got;
    if (jsonl_open(&in, path, err)) return -1;
    while ((got = jsonl_next(&in, &line, err)) == 1) {
        if (read(files, line, in.where, err)) got = -1;
        json_decref(line);
        if (got < 0) break;
    }
    jsonl_close(&in);
    return got;
}

// A file that is not there: NULL and no error. Otherwise its path, owned by the caller.
static int find(char **path, const char *folder, const char *name, Err *err)
{
    if (!(*path = os_join(err, folder, name))) return -1;
    if (os_is_file(*path)) return 0;
    mem_free(*path);
    *path = NULL;
    return 0;
}

static int read_metrics(RunFiles *files, const char *folder, Err *err)
{
    char *path;
    if (find(&path, folder, "metrics.jsonl", err)) return -1;
    if (!path) return err_input(err, "%s: not a run: it holds no metrics.jsonl", folder);
    int status = read_lines(files, path, read_metrics_line, err);
    mem_free(path);
    return status;
}

static int read_timing(RunFiles *files, const char *folder, Err *err)
{
    char *path;
    if (find(&path, folder, "timing.jsonl", err)) return -1;
    int status = path ? read_lines(files, path, read_time, err) : 0;
    mem_free(path);
    return status;
}

static int read_document(json_t **document, const char *folder, const char *name, Err *err)
{
    char *path;
    if (find(&path, folder, name, err)) return -1;
    int status = path && !(*document = json_load_document(path, err)) ? -1 : 0;
    mem_free(path);
    return status;
}

// Bins of a reliability diagram: how many texts, the mean of what was predicted, the share that was so; null in an empty one.
static int check_calibration(const json_t *quality, const char *name, Err *err)
{
    size_t i, n;
    json_t *bin;
    json_array_foreach(json_object_get(quality, "calibration"), i, bin) {
        double predicted, observed;
        if (json_get_size(bin, "n", &n, name, err)) return -1;
        if (!n) continue;
        if (json_get_number(bin, "predicted", &predicted, name, err) || json_get_number(bin, "observed", &observed, name, err)) return -1;
        if (!(predicted >= 0 && predicted <= 1 && observed >= 0 && observed <= 1))
            return err_input(err, "%s: key \"calibration\": bin %zu holds no shares from 0 to 1", name, i);
    }
    return 0;
}

static int check_heads(const RunFiles *files, const char *folder, Err *err)
{
    const char *const keys[] = {"accuracy", "lo", "hi", "accuracy_30_tokens"};
    const char *name;
    json_t *head;
    json_object_foreach(files->heads, name, head) {
        double number;
        size_t n;
        if (!json_is_object(head)) return err_input(err, "%s/heads.json: key \"%s\": expected an object", folder, name);
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (json_get_number(head, keys[i], &number, name, err)) return err_prefix(err, "%s/heads.json", folder);
        if (json_get_size(head, "n", &n, name, err) || check_calibration(json_object_get(head, "whole"), name, err) ||
            check_calibration(json_object_get(head, "30_tokens"), name, err)) return err_prefix(err, "%s/heads.json", folder);
    }
    return 0;
}

static int read_settings(RunFiles *files, const char *folder, Err *err)
{
    char *path;
    if (find(&path, folder, "settings.conf", err)) return -1;
    int status = path ? os_read_file(&files->settings, path, err) : 0;
    files->has_settings = path && !status;
    mem_free(path);
    return status;
}

// ---- samples --------------------------------------------------------------------------------------------------------------

int report_read_samples(SampleList *list, const char *folder, const char *name, Err *err)
{
    char *path;
    if (find(&path, folder, name, err)) return -1;
    int status = path ? samples_read(list, path, err) : 0;
    mem_free(path);
    return status;
}

// Slot by slot the same prompts, or the two would be compared wrongly.
static int check_pairs(const RunFiles *files, const char *folder, Err *err)
{
    const SampleList *a = &files->before, *b = &files->after;
    for (size_t i = 0, j = 0; i < a->count && j < b->count;) {
        const Sample *x = a->items + i, *y = b->items + j;
        if (x->slot == y->slot && (x->prompt_length != y->prompt_length || memcmp(x->prompt, y->prompt, x->prompt_length)))
            return err_input(err, "%s/samples_after.jsonl: slot %zu has another prompt than in samples_before.jsonl", folder, x->slot);
        i += x->slot <= y->slot;
        j += y->slot <= x->slot;
    }
    return 0;
}

static int read_answers(RunFiles *files, const char *folder, Err *err)
{
    return report_read_samples(&files->before, folder, "samples_before.jsonl", err) ||
        report_read_samples(&files->after, folder, "samples_after.jsonl", err) || check_pairs(files, folder, err) ? -1 : 0;
}

static int note_rewards(RankedStage *s, const SampleList *samples, const char *path, Err *err)
{
    size_t n = s->count = samples->count;
    if (!(s->rewards = mem_new(err, n, sizeof *s->rewards)) || !(s->selected = mem_new(err, n, sizeof *s->selected)) ||
        !(s->slot = mem_new(err, n, sizeof *s->slot)) || !(s->own = mem_new(err, n, sizeof *s->own))) return -1;
    for (size_t i = 0; i < n; i++) {
        const Sample *sample = samples->items + i;
        if (!sample->scored || !sample->ranked)
            return err_input(err, "%s: slot %zu, k %zu has no \"%s\": not ranked candidates", path, sample->slot, sample->k,
                sample->scored ? "rank" : "reward");
        s->rewards[i] = sample->reward;
        s->selected[i] = sample->selected;
        s->slot[i] = (uint32_t)sample->slot;
        s->own[i] = sample_is_own(sample);
        if (s->own[i]) s->tokens += sample->tokens.length;
        s->slots += !i || sample->slot != sample[-1].slot;
        s->kept += sample->selected;
    }
    return 0;
}

// "iter_012" gives 12; false for what is no such name.
static bool iteration_number(size_t *number, const char *name)
{
    const char *digits = name + 5;
    if (strncmp(name, "iter_", 5) || !*digits || strlen(digits) > 9 || strspn(digits, "0123456789") != strlen(digits)) return false;
    *number = (size_t)strtoul(digits, NULL, 10);
    return true;
}

typedef struct { size_t number; const char *name; } IterationFolder;

static int by_number(const void *left, const void *right)
{
    const IterationFolder *a = left, *b = right;
    return a->number < b->number ? -1 : a->number > b->number;
}

// Takes the samples, of which those that are not shown go.
static void keep_shown(RankedStage *s, SampleList *samples)
{
    Sample *items = samples->items;
    size_t n = samples->count;
    while (s->group < n && items[s->group].slot == items[0].slot) s->group++;
    if (s->group == 1) s->group = n < EXAMPLE_PROMPTS ? n : EXAMPLE_PROMPTS;
    bool kept = false;
    for (size_t i = 0; i < s->group; i++) kept |= items[i].selected;
    s->shown = *samples;
    s->shown.count = s->group;
    for (size_t i = s->group; i < n; i++) {
        if (kept || !items[i].selected) sample_clear(items + i);
        else s->shown.items[s->shown.count++] = items[i], kept = true;
    }
    *samples = (SampleList){0};
}

static int add_stage(RunFiles *files, size_t iteration, SampleList *samples, const char *path, Err *err)
{
    RankedStage *s = report_list_add(&files->stages, &files->stage_count, sizeof *files->stages, err);
    if (!s) return -1;
    s->iteration = iteration;
    if (note_rewards(s, samples, path, err)) return -1;
    keep_shown(s, samples);
    return 0;
}

static int read_candidates(RunFiles *files, const char *folder, const IterationFolder *from, Err *err)
{
    SampleList samples = {0};
    char *inner = os_join(err, folder, from->name), *path = NULL;
    int status = inner ? find(&path, inner, "candidates.jsonl", err) : -1;
    if (path) status = samples_read(&samples, path, err) || add_stage(files, from->number, &samples, path, err) ? -1 : 0;
    samples_free(&samples);
    mem_free(path);
    mem_free(inner);
    return status;
}

static int read_iterations(RunFiles *files, const char *folder, Err *err)
{
    OsNames names;
    if (os_list_folder(&names, folder, err)) return -1;
    size_t count = 0;
    IterationFolder *list = mem_new(err, names.count, sizeof *list);
    for (size_t i = 0; list && i < names.count; i++) {
        list[count].name = names.names[i];
        count += iteration_number(&list[count].number, names.names[i]);
    }
    if (list) qsort(list, count, sizeof *list, by_number);
    int status = list ? 0 : -1;
    for (size_t i = 0; !status && i < count; i++) status = read_candidates(files, folder, list + i, err);
    mem_free(list);
    os_names_free(&names);
    return status;
}

// ---- all ------------------------------------------------------------------------------------------------------------------

int run_files_read(RunFiles *files, const char *folder, Err *err)
{
    *files = (RunFiles){0};
    int status = read_metrics(files, folder, err) || read_timing(files, folder, err) || read_settings(files, folder, err) ||
        read_document(&files->provenance, folder, "provenance.json", err) || read_document(&files->heads, folder, "heads.json", err) ||
        check_heads(files, folder, err) || read_answers(files, folder, err) || read_iterations(files, folder, err);
    if (status) run_files_free(files);
    return status ? -1 : 0;
}

void run_files_free(RunFiles *files)
{
    for (size_t i = 0; i < files->curve_count; i++) mem_free(files->curves[i].stage), mem_free(files->curves[i].points);
    for (size_t i = 0; i < files->time_count; i++) mem_free(files->times[i].stage);
    for (size_t i = 0; i < files->stage_count; i++) {
        RankedStage *s = files->stages + i;
        mem_free(s->rewards), mem_free(s->selected), mem_free(s->slot), mem_free(s->own);
        samples_free(&s->shown);
    }
    mem_free(files->seconds);
    mem_free(files->rows);
    mem_free(files->curves);
    mem_free(files->times);
    mem_free(files->stages);
    samples_free(&files->before);
    samples_free(&files->after);
    json_decref(files->heads);
    json_decref(files->provenance);
    text_free(&files->settings);
    *files = (RunFiles){0};
}

// ---- settings -------------------------------------------------------------------------------------------------------------

static const json_t *option(const RunFiles *files, const char *key)
{
    char staged[80];
    const json_t *options = json_object_get(files->provenance, "options"), *value;
    snprintf(staged, sizeof staged, "align.%s", key);
    return (value = json_object_get(options, staged)) ? value : json_object_get(options, key);
}

const char *run_option(const RunFiles *files, const char *key) { return json_string_value(option(files, key)); }

bool run_number(const RunFiles *files, const char *key, double *value)
{
    const json_t *found = option(files, key);
    *value = json_number_value(found);
    return json_is_number(found);
}

bool report_is_ppo(const RunFiles *files)
{
    const char *algorithm = run_option(files, "algo"), *command = json_string_value(json_object_get(files->provenance, "command"));
    for (size_t i = 0; i < files->row_count; i++)
        if (files->rows[i].trained) return files->rows[i].ppo;
    return (algorithm && !strcmp(algorithm, "ppo")) || (command && !strcmp(command, "ppo"));
}

bool sampling_is_tempered(double temperature, double top_k, double top_p) { return temperature != 1 || top_k > 0 || top_p < 1; }

bool report_is_tempered(const RunFiles *files)
{
    double value;
    double temperature = run_number(files, "temperature", &value) ? value : 1, top_k = run_number(files, "top-k", &value) ? value : 0;
    return sampling_is_tempered(temperature, top_k, run_number(files, "top-p", &value) ? value : 1);
}
