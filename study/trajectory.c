// SPDX-License-Identifier: MIT
/* trajectory.c - measurements of an alignment with what they had cost. Knows files only through run.h. */
#include "study/trajectory.h"

#include <string.h>

#include "files/jsonl.h"

void trajectory_free(Trajectory *t)
{
    mem_free(t->points);
    *t = (Trajectory){0};
}

static TrajectoryPoint *add_point(Trajectory *t, Err *err)
{
    TrajectoryPoint *grown = mem_resize(err, t->points, t->count, t->count + 1, sizeof *grown); // few: no doubling
    if (!grown) return NULL;
    t->points = grown;
    return t->points + t->count++;
}

static int read_point(TrajectoryPoint *p, const json_t *object, const char *where, Err *err)
{
    return json_get_size(object, "iteration", &p->iteration, where, err) || json_get_size_or(object, "generated", 0, &p->generated, where, err) ||
        json_get_number_or(object, "seconds", 0, &p->seconds, where, err) || evaluation_read(&p->evaluation, object, where, err) ? -1 : 0;
}

// ---- of a run ----------------------------------------------------------------------------------------------------------------------

// The next line of `lines` as an object, NULL at the end. at: where to go on.
static json_t *next_line(const char **at)
{
    const char *line = *at, *end = line ? strchr(line, '\n') : NULL;
    *at = end ? end + 1 : NULL;
    return end ? json_loadb(line, (size_t)(end - line), 0, NULL) : NULL;
}

static int add_measured(Trajectory *t, const json_t *line, Err *err)
{
    if (!json_object_get(line, "iteration")) return 0; // of a training
    TrajectoryPoint *p = add_point(t, err);
    return p ? read_point(p, line, "metrics.jsonl", err) : -1;
}

static int set_seconds(Trajectory *t, const json_t *line, Err *err)
{
    size_t iteration;
    double elapsed;
    if (!json_object_get(line, "elapsed")) return 0;
    if (json_get_size(line, "iteration", &iteration, "timing.jsonl", err) || json_get_number(line, "elapsed", &elapsed, "timing.jsonl", err)) return -1;
    for (size_t i = 0; i < t->count; i++)
        if (t->points[i].iteration == iteration) t->points[i].seconds = elapsed;
    return 0;
}

int trajectory_of_run(Trajectory *t, const Run *run, Err *err)
{
    int status = 0;
    json_t *line;
    *t = (Trajectory){0};
    for (const char *at = run->metrics.data; !status && (line = next_line(&at)); json_decref(line)) status = add_measured(t, line, err);
    for (const char *at = run->timing.data; !status && (line = next_line(&at)); json_decref(line)) status = set_seconds(t, line, err);
    if (status) trajectory_free(t);
    return status;
}

// ---- in a file ---------------------------------------------------------------------------------------------------------------------

int trajectory_read(Trajectory *t, const json_t *array, const char *where, Err *err)
{
    int status = 0;
    size_t i;
    json_t *object;
    *t = (Trajectory){0};
    json_array_foreach(array, i, object) {
        TrajectoryPoint *p = status ? NULL : add_point(t, err);
        status = p ? read_point(p, object, where, err) : -1;
    }
    if (status) trajectory_free(t);
    return status;
}

json_t *trajectory_json(const Trajectory *t, bool with_seconds, Err *err)
{
    json_t *array = json_array();
    int bad = !array;
    for (size_t i = 0; !bad && i < t->count; i++) {
        const TrajectoryPoint *p = t->points + i;
        json_t *object = json_pack("{s:I,s:I}", "iteration", (json_int_t)p->iteration, "generated", (json_int_t)p->generated);
        if (with_seconds) bad = json_object_set_new(object, "seconds", json_float(p->seconds));
        bad |= evaluation_add_json(object, &p->evaluation, err);
        bad |= json_array_append_new(array, object);
    }
    if (!bad) return array;
    json_decref(array);
    err_failed(err, "out of memory, or a measure that is no number, in a trajectory");
    return NULL;
}

// ---- at equal cost -----------------------------------------------------------------------------------------------------------------

double trajectory_tokens(const TrajectoryPoint *point) { return (double)point->generated; }
double trajectory_seconds(const TrajectoryPoint *point) { return point->seconds; }

bool trajectory_at(Evaluation *out, const Trajectory *t, double (*cost)(const TrajectoryPoint *point), double spent)
{
    if (!t->count || spent < cost(t->points)) return false;
    for (size_t i = 1; i < t->count; i++) {
        double from = cost(t->points + i - 1), to = cost(t->points + i);
        if (spent > to) continue;
        evaluation_between(out, &t->points[i - 1].evaluation, &t->points[i].evaluation, to > from ? (spent - from) / (to - from) : 1);
        return true;
    }
    return false;
}
