// SPDX-License-Identifier: MIT
/* report_arms.c - several runs in memory: the arms of a comparison with their seeds, or runs named one by one. Knows nothing of HTML.
 * Start reading at arms_read_comparison. */
#include "study/arms-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- over seeds -----------------------------------------------------------------------------------------------------------

static const IterationRow *row_of(const RunFiles *run, size_t iteration)
{
    for (size_t i = 0; i < run->row_count; i++)
        if (run->rows[i].iteration == iteration) return run->rows + i;
    return NULL;
}

// From the line of metrics, or else from the candidates.
static double tokens_until(bool *known, const RunFiles *run, size_t iteration)
{
    const IterationRow *row = row_of(run, iteration);
    double tokens = 0;
    *known = row->counted || run->stage_count >= iteration;
    if (row->counted) return row->generated;
    for (size_t i = 0; i < run->stage_count; i++)
        if (run->stages[i].iteration < iteration) tokens += (double)run->stages[i].tokens;
    return tokens;
}

static double seconds_until(bool *known, const RunFiles *run, size_t iteration)
{
    const IterationRow *row = row_of(run, iteration);
    double seconds = 0;
    *known = row->timed || (run->seconds_count && run->seconds_count >= iteration);
    if (row->timed) return row->seconds;
    for (size_t i = 0; i < run->seconds_count && i < iteration; i++)
        seconds += run->seconds[i].sample_seconds + run->seconds[i].learn_seconds;
    return seconds;
}

// scratch [run_count]
static void join_measures(IterationRow *out, const Arm *arm, size_t iteration, Measure *scratch)
{
    *out = (IterationRow){.iteration = iteration};
    for (size_t m = 0; m < MEASURES; m++) {
        for (size_t r = 0; r < arm->run_count; r++) scratch[r] = row_of(arm->runs + r, iteration)->measures[m];
        Measure *joined = &out->measures[m];
        *joined = metric_over_runs(scratch, arm->run_count);
        if (measure_specs[m].unit_range && joined->lo < 0) joined->lo = 0;
        if (measure_specs[m].unit_range && joined->hi > 1) joined->hi = 1;
    }
    for (size_t r = 0; r < arm->run_count; r++) out->samples += row_of(arm->runs + r, iteration)->samples;
}

static void join_point(ArmPoint *point, const Arm *arm, size_t iteration, Measure *scratch)
{
    double n = (double)arm->run_count;
    join_measures(&point->mean, arm, iteration, scratch);
    point->counted = point->timed = true;
    for (size_t r = 0; r < arm->run_count; r++) {
        bool counted, timed;
        point->generated += tokens_until(&counted, arm->runs + r, iteration) / n;
        point->seconds += seconds_until(&timed, arm->runs + r, iteration) / n;
        point->counted &= counted;
        point->timed &= timed;
    }
}

static bool all_measured(const Arm *arm, size_t iteration)
{
    for (size_t r = 0; r < arm->run_count; r++)
        if (!row_of(arm->runs + r, iteration)) return false;
    return true;
}

// The iterations that all seeds measured: a seed that stopped early would bend the mean of the others.
static int join_points(Arm *arm, Err *err)
{
    const RunFiles *first = arm->runs;
    if (!arm->run_count) return 0;
    Measure *scratch = mem_new(err, arm->run_count, sizeof *scratch);
    arm->points = scratch ? mem_new(err, first->row_count, sizeof *arm->points) : NULL;
    for (size_t i = 0; arm->points && i < first->row_count; i++) {
        size_t iteration = first->rows[i].iteration;
        if (all_measured(arm, iteration)) join_point(arm->points + arm->point_count++, arm, iteration, scratch);
    }
    mem_free(scratch);
    return arm->points ? 0 : -1;
}

static double stage_seconds(const RunFiles *run, const char *stage)
{
    for (size_t i = 0; i < run->time_count; i++)
        if (!strcmp(run->times[i].stage, stage)) return run->times[i].seconds;
    return 0;
}

static double stage_tokens(const RunFiles *run, const char *stage)
{
    for (size_t i = 0; i < run->time_count; i++)
        if (!strcmp(run->times[i].stage, stage)) return run->times[i].tokens;
    return 0;
}

static void add_costs(Arm *arm)
{
    double n = (double)arm->run_count;
    for (size_t r = 0; r < arm->run_count; r++) {
        const RunFiles *run = arm->runs + r;
        arm->cost.sampling += stage_seconds(run, "collect") / n;
        arm->cost.ranking += (stage_seconds(run, "rank") + stage_seconds(run, "reference")) / n;
        arm->cost.learning += stage_seconds(run, "finetune") / n;
        arm->cost.measuring += (stage_seconds(run, "evaluate") + stage_seconds(run, "measure")) / n;
        arm->cost.trained_tokens += stage_tokens(run, "finetune") / n;
    }
}

// K is what the first prompt of the first stage was answered with.
static void find_samples(Arm *arm)
{
    double samples;
    const RankedStage *first = arm->run_count && arm->runs->stage_count ? arm->runs->stages : NULL;
    const Sample *items = first ? first->shown.items : NULL;
    if (first && first->group)
        while (arm->K < first->group && items[arm->K].slot == items[0].slot) arm->K++;
    else if (arm->run_count && run_number(arm->runs, "samples", &samples)) arm->K = (size_t)samples;
}

static int finish_arm(Arm *arm, Err *err)
{
    add_costs(arm);
    find_samples(arm);
    return join_points(arm, err);
}

// ---- a comparison ---------------------------------------------------------------------------------------------------------

static int read_name(char **copy, const json_t *object, const char *key, const char *where, Err *err)
{
    const char *text = "";
    return json_get_text(object, key, &text, where, err) || !(*copy = mem_copy_text(err, text)) ? -1 : 0;
}

static int read_seconds(Arm *arm, const char *folder, size_t seed, Err *err)
{
    Text path = {0};
    double seconds = 0;
    int status = text_printf(&path, err, "%s/arms/%s-s%zu.json", folder, arm->name, seed);
    if (!status && os_is_file(path.data)) {
        json_t *result = json_load_document(path.data, err);
        status = result ? json_get_number_or(result, "seconds", 0, &seconds, path.data, err) : -1;
        json_decref(result);
    }
    arm->seconds += seconds / (double)arm->seeds;
    text_free(&path);
    return status;
}

// A run directory that is not there any more: what comparison.json itself tells of its way.
static int read_trajectory(Arm *arm, const json_t *points, const char *where, Err *err)
{
    RunFiles *run = arm->runs + arm->run_count;
    size_t i;
    json_t *point;
    if (!json_array_size(points)) return 0;
    arm->run_count++;
    json_array_foreach(points, i, point) if (report_read_iteration(run, point, where, err)) return -1;
    return 0;
}

// What `raft compare` left of a seed: a run directory, or answers alone. An arm's name is a file's name.
static int read_seed_folder(Arm *arm, const char *path, bool first, Err *err)
{
    char *metrics = os_join(err, path, "metrics.jsonl");
    bool is_run = metrics && os_is_file(metrics);
    int status = metrics ? 0 : -1;
    if (is_run) status = run_files_read(arm->runs + arm->run_count, path, err);
    else if (!status && first) status = report_read_samples(&arm->answers, path, "samples_after.jsonl", err);
    if (is_run && !status) arm->first_is_there |= first, arm->run_count++;
    mem_free(metrics);
    return status;
}

static int read_seed(Arm *arm, const char *folder, const json_t *object, bool first, const char *where, Err *err)
{
    Text path = {0};
    size_t seed = 0;
    if (json_get_size(object, "seed", &seed, where, err)) return -1;
    int status = text_printf(&path, err, "%s/arms/%s-s%zu", folder, arm->name, seed);
    if (!status && os_is_folder(path.data)) status = read_seed_folder(arm, path.data, first, err);
    else if (!status) status = read_trajectory(arm, json_object_get(object, "trajectory"), where, err);
    text_free(&path);
    return status || read_seconds(arm, folder, seed, err) ? -1 : 0;
}

static bool is_plain_name(const char *name)
{
    return *name && *name != '.' && !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")];
}

// An arm's own setting, or that of all of its kind.
static double own_number(const json_t *object, const Arms *arms, const char *key, double fallback)
{
    char staged[40];
    double value;
    const char *text = json_string_value(json_object_get(json_object_get(object, "settings"), key));
    const char *kind = json_string_value(json_object_get(object, "kind"));
    bool measured_only = !strcmp(kind, "base") || !strcmp(kind, "best-of");
    if (text) return strtod(text, NULL);
    snprintf(staged, sizeof staged, "%.10s.%s", measured_only ? "eval" : kind, key);
    return run_number(&arms->own, staged, &value) || run_number(&arms->own, key, &value) ? value : fallback;
}

static int read_settings(Arm *arm, json_t *settings, Err *err)
{
    const char *key;
    json_t *value;
    int status = 0;
    json_object_foreach(settings, key, value)
        if (!status && json_is_string(value))
            status = text_printf(&arm->settings, err, "%s%s %s", arm->settings.length ? ", " : "", key, json_string_value(value));
    return status;
}

static void read_sampling(Arm *arm, const Arms *arms, const json_t *object)
{
    double samples = own_number(object, arms, "samples", 0);
    if (!strcmp(arm->kind, "best-of")) arm->K = samples >= 1 && samples < 1e6 ? (size_t)samples : 0;
    arm->tempered = sampling_is_tempered(own_number(object, arms, "temperature", 1), own_number(object, arms, "top-k", 0), own_number(object, arms, "top-p", 1));
}

static int read_arm(Arm *arm, const Arms *arms, const json_t *object, const char *folder, const char *where, Err *err)
{
    const json_t *seeds = json_object_get(object, "seeds");
    size_t generated = 0;
    if (read_name(&arm->name, object, "arm", where, err) || read_name(&arm->kind, object, "kind", where, err)) return -1;
    if (!is_plain_name(arm->name)) return err_input(err, "%s: key \"arm\": \"%s\" is no arm's name", where, arm->name);
    if (json_get_size(object, "generated", &generated, where, err) || report_read_measures(&arm->end, object, where, err)) return -1;
    if (!json_array_size(seeds)) return err_input(err, "%s: key \"seeds\": expected a list with a seed's measures each", where);
    arm->generated = (double)generated;
    arm->seeds = json_array_size(seeds);
    read_sampling(arm, arms, object);
    if (read_settings(arm, json_object_get(object, "settings"), err) || !(arm->runs = mem_new(err, arm->seeds, sizeof *arm->runs))) return -1;
    for (size_t s = 0; s < arm->seeds; s++)
        if (read_seed(arm, folder, json_array_get(seeds, s), !s, where, err)) return -1;
    return finish_arm(arm, err);
}

static int read_arms(Arms *arms, const json_t *document, const char *folder, const char *path, Err *err)
{
    const json_t *list = json_object_get(document, "arms");
    size_t n = json_array_size(list);
    if (!n) return err_input(err, "%s: key \"arms\": expected a list of arms", path);
    if (!(arms->arms = mem_new(err, n, sizeof *arms->arms))) return -1;
    for (; arms->count < n; arms->count++) {
        char where[400];
        snprintf(where, sizeof where, "%.300s: arm %zu", path, arms->count);
        if (read_arm(arms->arms + arms->count, arms, json_array_get(list, arms->count), folder, where, err)) {
            arms->count++; // what was read of it is freed with the others
            return -1;
        }
    }
    return 0;
}

// Once names are what they stay.
static void name_runs(Arms *arms)
{
    for (size_t a = 0; a < arms->count; a++)
        if (arms->arms[a].run_count) arms->arms[a].runs->arm = arms->arms[a].name;
}

int arms_read_comparison(Arms *arms, const char *folder, Err *err)
{
    *arms = (Arms){.planned = true};
    char *path = os_join(err, folder, "comparison.json"), *metrics = path ? os_join(err, folder, "metrics.jsonl") : NULL;
    json_t *document = metrics ? json_load_document(path, err) : NULL;
    int status = document ? 0 : -1;
    if (!status && os_is_file(metrics)) status = run_files_read(&arms->own, folder, err);
    if (!status) status = read_arms(arms, document, folder, path, err);
    if (!status) name_runs(arms);
    json_decref(document);
    mem_free(path);
    mem_free(metrics);
    if (status) arms_free(arms);
    return status;
}

// ---- runs named one by one ------------------------------------------------------------------------------------------------

// "runs/a/" and "runs/a" are both "a".
static char *last_part(const char *folder, Err *err)
{
    size_t end = strlen(folder), start;
    while (end > 1 && (folder[end - 1] == '/' || folder[end - 1] == '\\')) end--;
    for (start = end; start && folder[start - 1] != '/' && folder[start - 1] != '\\'; start--) {}
    return mem_copy_bytes(err, folder + start, end - start);
}

static int read_run(Arm *arm, const char *folder, Err *err)
{
    if (!(arm->name = last_part(folder, err)) || !(arm->runs = mem_new(err, 1, sizeof *arm->runs))) return -1;
    if (run_files_read(arm->runs, folder, err)) return -1;
    arm->run_count = arm->seeds = 1;
    arm->first_is_there = true;
    const RunFiles *run = arm->runs;
    bool ppo = report_is_ppo(run);
    arm->tempered = report_is_tempered(run);
    if (!run->row_count) return err_input(err, "%s: this run measured no iterations, so it cannot be set beside others", folder);
    if (!(arm->kind = mem_copy_text(err, ppo ? "ppo" : "raft"))) return -1;
    arm->end = run->rows[run->row_count - 1];
    bool known;
    arm->generated = tokens_until(&known, run, arm->end.iteration);
    for (size_t i = 0; i < run->time_count; i++) arm->seconds += run->times[i].seconds;
    return finish_arm(arm, err);
}

// Two runs whose folders end alike get their whole paths as names.
static int tell_apart(Arms *arms, const char *const *folders, Err *err)
{
    for (size_t a = 0; a < arms->count; a++) {
        bool twin = false;
        char *alone = last_part(folders[a], err);
        for (size_t b = 0; alone && b < arms->count; b++) {
            char *other = last_part(folders[b], err);
            if (!other) return mem_free(alone), -1;
            twin |= b != a && !strcmp(alone, other);
            mem_free(other);
        }
        mem_free(alone);
        if (!alone) return -1;
        if (!twin) continue;
        mem_free(arms->arms[a].name);
        if (!(arms->arms[a].name = mem_copy_text(err, folders[a]))) return -1;
    }
    return 0;
}

int arms_read_runs(Arms *arms, const char *const *folders, size_t count, Err *err)
{
    *arms = (Arms){0};
    int status = (arms->arms = mem_new(err, count, sizeof *arms->arms)) ? 0 : -1;
    while (!status && arms->count < count) {
        arms->count++;
        status = read_run(arms->arms + arms->count - 1, folders[arms->count - 1], err);
    }
    if (!status) status = tell_apart(arms, folders, err);
    if (!status) name_runs(arms);
    if (status) arms_free(arms);
    return status;
}

void arms_free(Arms *arms)
{
    for (size_t a = 0; a < arms->count; a++) {
        Arm *arm = arms->arms + a;
        for (size_t r = 0; r < arm->run_count; r++) run_files_free(arm->runs + r);
        samples_free(&arm->answers);
        text_free(&arm->settings);
        void *owned[] = {arm->name, arm->kind, arm->runs, arm->points};
        for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) mem_free(owned[i]);
    }
    mem_free(arms->arms);
    run_files_free(&arms->own);
    *arms = (Arms){0};
}

// ---- questions ------------------------------------------------------------------------------------------------------------

const SampleList *arm_answers(const Arm *arm) { return arm->first_is_there ? &arm->runs->after : &arm->answers; }

const Arm *arms_example(const Arms *arms)
{
    const Arm *found = NULL;
    for (size_t a = 0; a < arms->count; a++) {
        const Arm *arm = arms->arms + a;
        if (!arm->run_count || !arm->runs->stage_count) continue;
        if (!found || (report_is_ppo(found->runs) && !report_is_ppo(arm->runs))) found = arm;
    }
    return found;
}

bool arms_measured(const Arms *arms, size_t measure)
{
    for (size_t a = 0; a < arms->count; a++)
        if (arms->arms[a].end.measures[measure].n) return true;
    return false;
}

size_t arms_gold(const Arms *arms) { return arms_measured(arms, MEASURE_GOLD) ? MEASURE_GOLD : MEASURE_REWARD; }
