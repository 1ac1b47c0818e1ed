// SPDX-License-Identifier: MIT
/* plan.c - which arms there are, which results are there already, and what they come to. Knows nothing of how an arm is made.
 * Start reading at plan_run. */
#include "study/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "files/jsonl.h"
#include "study/progress.h"

// ---- arms --------------------------------------------------------------------------------------------------------------------------

static const char *const kind_names[] = {"base", "best-of", "sft", "raft", "ppo"};

static int find_kind(ArmKind *kind, const char *name, const char *arm, Err *err)
{
    for (size_t i = 0; i < sizeof kind_names / sizeof *kind_names; i++)
        if (!strcmp(name, kind_names[i])) return *kind = (ArmKind)i, 0;
    return err_input(err, "--arm \"%s\": there is no kind \"%s\" (base, best-of, sft, raft, ppo)", arm, name);
}

static bool is_file_name(const char *name)
{
    for (const char *c = name; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("-_.", *c))) return false;
    return *name && *name != '.';
}

// "NAME:KIND key=value key=value"; the arm's strings are pieces of one copy, which its name begins.
static int parse_arm(PlanArm *arm, const char *text, Err *err)
{
    char *copy = mem_copy_text(err, text), *rest = copy;
    if (!copy) return -1;
    arm->name = copy;
    size_t words = 1;
    for (const char *c = text; *c; c++) words += *c == ' ';
    if (!(arm->keys = mem_new(err, words, sizeof *arm->keys)) || !(arm->values = mem_new(err, words, sizeof *arm->values))) return -1;
    rest += strcspn(rest, " ");
    if (*rest) *rest++ = '\0';
    char *kind = strchr(copy, ':');
    if (kind) *kind++ = '\0';
    if (find_kind(&arm->kind, kind ? kind : copy, text, err)) return -1;
    if (!is_file_name(copy)) return err_input(err, "--arm \"%s\": its name is made of letters, digits, '-', '_' and '.'", text);
    while (*(rest += strspn(rest, " "))) {
        char *word = rest, *value = strchr(word, '=');
        rest += strcspn(rest, " ");
        if (!value || value == word || value > rest) return err_input(err, "--arm \"%s\": expected key=value, found \"%s\"", text, word);
        if (*rest) *rest++ = '\0';
        *value++ = '\0';
        arm->keys[arm->count] = word;
        arm->values[arm->count++] = value;
    }
    return 0;
}

// Takes "of=NAME" out of the settings, since it is the plan's: one of the arms that stand before this one.
static int find_of(const Plan *plan, PlanArm *arm, const char *text, Err *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < arm->count; i++) {
        bool of = !strcmp(arm->keys[i], "of");
        if (of && arm->kind != ARM_BEST_OF) return err_input(err, "--arm \"%s\": of=NAME says whose answers best-of chooses from; this is no best-of", text);
        for (size_t a = 0; of && plan->arms + a < arm; a++)
            if (!strcmp(plan->arms[a].name, arm->values[i])) arm->of = plan->arms + a;
        if (of && !(arm->of && (arm->of->kind == ARM_RAFT || arm->of->kind == ARM_PPO)))
            return err_input(err, "--arm \"%s\": of=%s: no arm before it that is aligned, by raft or ppo, has that name", text, arm->values[i]);
        if (of) continue;
        arm->keys[kept] = arm->keys[i];
        arm->values[kept++] = arm->values[i];
    }
    arm->count = kept;
    return 0;
}

int plan_open(Plan *plan, const char *folder, const char *const *arms, size_t arm_count, uint64_t first_seed, size_t seeds, uint64_t key,
    bool resume, bool quiet, Err *err)
{
    *plan = (Plan){.seeds = seeds, .first_seed = first_seed, .key = key, .resume = resume, .quiet = quiet};
    int status = (plan->folder = mem_copy_text(err, folder)) && (plan->arms = mem_new(err, arm_count, sizeof *plan->arms)) &&
        (plan->results = mem_new(err, arm_count * seeds, sizeof *plan->results)) &&
        (plan->means = mem_new(err, arm_count, sizeof *plan->means)) ? 0 : -1;
    for (size_t a = 0; !status && a < arm_count; a++) {
        plan->arm_count++;
        status = parse_arm(plan->arms + a, arms[a], err) || find_of(plan, plan->arms + a, arms[a], err) ? -1 : 0;
        for (size_t b = 0; !status && b < a; b++)
            if (!strcmp(plan->arms[a].name, plan->arms[b].name))
                status = err_input(err, "--arm \"%s\": there is one of that name already (NAME:KIND gives it another)", arms[a]);
    }
    if (status) plan_close(plan);
    return status;
}

void plan_close(Plan *plan)
{
    for (size_t i = 0; plan->results && i < plan->arm_count * plan->seeds; i++) trajectory_free(&plan->results[i].trajectory);
    for (size_t a = 0; plan->arms && a < plan->arm_count; a++) {
        mem_free(plan->arms[a].name);
        mem_free(plan->arms[a].keys);
        mem_free(plan->arms[a].values);
    }
    mem_free(plan->folder);
    mem_free(plan->arms);
    mem_free(plan->results);
    mem_free(plan->means);
    *plan = (Plan){0};
}

// ---- results on disk ---------------------------------------------------------------------------------------------------------------

static char *result_path(const Plan *plan, const PlanArm *arm, uint64_t seed, Err *err)
{
    Text name = {0};
    char *folder = os_join(err, plan->folder, "arms"), *path = NULL;
    int status = folder ? os_make_folders(folder, err) || text_printf(&name, err, "%s-s%" PRIu64 ".json", arm->name, seed) : -1;
    if (!status) path = os_join(err, folder, name.data);
    text_free(&name);
    mem_free(folder);
    return path;
}

static uint64_t hash_arm(uint64_t hash, const PlanArm *arm)
{
    hash = hash_bytes(hash, kind_names[arm->kind], strlen(kind_names[arm->kind]) + 1);
    for (size_t i = 0; i < arm->count; i++) {
        hash = hash_bytes(hash, arm->keys[i], strlen(arm->keys[i]) + 1);
        hash = hash_bytes(hash, arm->values[i], strlen(arm->values[i]) + 1);
    }
    return arm->of ? hash_arm(hash, arm->of) : hash;
}

static void result_key(char key[17], const Plan *plan, const PlanArm *arm, uint64_t seed)
{
    snprintf(key, 17, "%016" PRIx64, hash_bytes(hash_arm(plan->key, arm), &seed, sizeof seed));
}

static int read_result(bool *found, PlanResult *result, const char *path, const char *key, Err *err)
{
    const char *theirs;
    *found = false;
    if (!os_is_file(path)) return 0;
    json_t *object = json_load_document(path, err);
    int status = object ? json_get_text(object, "key", &theirs, path, err) : -1;
    *found = !status && !strcmp(theirs, key);
    if (*found) trajectory_free(&result->trajectory);
    if (*found) status = json_get_size(object, "generated", &result->generated, path, err) || json_get_number(object, "seconds", &result->seconds, path, err) ||
        evaluation_read(&result->evaluation, object, path, err) ||
        trajectory_read(&result->trajectory, json_object_get(object, "trajectory"), path, err);
    json_decref(object);
    return status ? -1 : 0;
}

static int write_result(const PlanResult *result, const char *path, const char *key, Err *err)
{
    Text text = {0};
    json_t *object = json_pack("{s:s,s:I,s:o}", "key", key, "generated", (json_int_t)result->generated, "seconds", json_float(result->seconds));
    json_t *trajectory = trajectory_json(&result->trajectory, true, err);
    int status = !trajectory || evaluation_add_json(object, &result->evaluation, err) ||
        (result->trajectory.count && json_object_set(object, "trajectory", trajectory)) || json_write_pretty(&text, object, err) ||
        os_write_file(path, text.data, text.length, err);
    text_free(&text);
    json_decref(trajectory);
    json_decref(object);
    return status ? -1 : 0;
}

static double work_of(const Plan *plan, size_t arm) { return plan->work ? plan->work[arm] : 1; }

// By what is done, of the arm under way some seconds that were a part of its work: how long the rest will take.
static void tell_progress(const Plan *plan, const char *under_way, double seconds, double work)
{
    double done = work, left = -work;
    size_t count = 0;
    for (size_t i = 0; i < plan->arm_count * plan->seeds; i++) {
        if (plan->results[i].done) seconds += plan->results[i].seconds, done += work_of(plan, i / plan->seeds), count++;
        else left += work_of(plan, i / plan->seeds);
    }
    if (!plan->quiet) progress_plan("plan", count, plan->arm_count * plan->seeds, "arm", under_way, done > 0 ? seconds * left / done : 0);
}

void plan_under_way(const Plan *plan, const PlanArm *arm, size_t iteration, size_t iterations, double seconds)
{
    char what[80];
    if (!iteration || iteration == iterations) return; // its start is the end of another, and its end is told by plan_run
    snprintf(what, sizeof what, "%.40s %zu of %zu", arm->name, iteration, iterations);
    tell_progress(plan, what, seconds, work_of(plan, (size_t)(arm - plan->arms)) * (double)iteration / (double)iterations);
}

static int one_result(Plan *plan, const PlanArm *arm, uint64_t seed, PlanResult *result, PlanRunner run, void *self, Err *err)
{
    char key[17], *path = result_path(plan, arm, seed, err);
    bool found = false;
    result_key(key, plan, arm, seed);
    int status = path ? 0 : -1;
    if (!status && plan->resume) status = read_result(&found, result, path, key, err);
    if (!status && !found && os_is_file(path) && remove(path)) // of other settings: not to be found beside the models of these
        status = err_failed(err, "%s: cannot remove the result of before", path);
    if (!status && !found) {
        double started = os_now_s();
        status = run(self, arm, seed, result, err);
        if (!(result->seconds > 0)) result->seconds = os_now_s() - started;
        bool written; // read back, so that a result has the same digits whoever made it
        if (!status) status = write_result(result, path, key, err) || read_result(&written, result, path, key, err);
    }
    if (!status && !plan->quiet)
        fprintf(stderr, "%-12s seed %" PRIu64 "  reward %7.3f  %6.1f s%s\n", arm->name, seed, result->evaluation.reward.mean, result->seconds,
            found ? "  (taken from the directory)" : "");
    result->done = !status;
    if (!status) tell_progress(plan, "", 0, 0);
    mem_free(path);
    return status ? err_prefix(err, "arm %s, seed %" PRIu64, arm->name, seed) : 0;
}

static int write_comparison(const Plan *plan, Err *err)
{
    Text text = {0};
    json_t *object = plan_json(plan, err);
    char *path = object ? os_join(err, plan->folder, "comparison.json") : NULL, *tables = path ? os_join(err, plan->folder, "comparison.md") : NULL;
    int status = tables ? json_write_pretty(&text, object, err) || os_write_file(path, text.data, text.length, err) : -1;
    text.length = 0;
    if (!status) status = plan_markdown(&text, plan, err) || os_write_file(tables, text.data, text.length, err);
    text_free(&text);
    json_decref(object);
    mem_free(path);
    mem_free(tables);
    return status ? -1 : 0;
}

// Seed after seed, so that a comparison that is cut off has whole ones.
int plan_run(Plan *plan, PlanRunner run, void *self, Err *err)
{
    for (size_t s = 0; s < plan->seeds; s++)
        for (size_t a = 0; a < plan->arm_count; a++)
            if (one_result(plan, plan->arms + a, plan->first_seed + s, plan->results + a * plan->seeds + s, run, self, err)) return -1;
    Evaluation *runs = mem_new(err, plan->seeds, sizeof *runs);
    for (size_t a = 0; runs && a < plan->arm_count; a++) {
        for (size_t s = 0; s < plan->seeds; s++) runs[s] = plan->results[a * plan->seeds + s].evaluation;
        evaluation_over_runs(plan->means + a, runs, plan->seeds);
    }
    mem_free(runs);
    return runs ? write_comparison(plan, err) : -1;
}

// ---- what it comes to --------------------------------------------------------------------------------------------------------------

size_t plan_generated(const Plan *plan, size_t arm)
{
    size_t sum = 0;
    for (size_t s = 0; s < plan->seeds; s++) sum += plan->results[arm * plan->seeds + s].generated;
    return sum / plan->seeds;
}

static json_t *arm_json(const Plan *plan, size_t a, Err *err)
{
    const PlanArm *arm = plan->arms + a;
    json_t *object = json_pack("{s:s,s:s,s:I}", "arm", arm->name, "kind", kind_names[arm->kind], "generated", (json_int_t)plan_generated(plan, a));
    json_t *settings = json_object(), *seeds = json_array();
    int bad = 0;
    for (size_t i = 0; i < arm->count; i++) bad |= json_object_set_new(settings, arm->keys[i], json_string(arm->values[i]));
    if (arm->of) bad |= json_object_set_new(settings, "of", json_string(arm->of->name));
    for (size_t s = 0; s < plan->seeds; s++) {
        json_t *one = json_pack("{s:I}", "seed", (json_int_t)(plan->first_seed + s));
        const PlanResult *result = plan->results + a * plan->seeds + s;
        bad |= evaluation_add_json(one, &result->evaluation, err);
        if (result->trajectory.count) bad |= json_object_set_new(one, "trajectory", trajectory_json(&result->trajectory, false, err));
        bad |= json_array_append_new(seeds, one);
    }
    bad |= json_object_set_new(object, "settings", settings) || evaluation_add_json(object, plan->means + a, err) || json_object_set_new(object, "seeds", seeds);
    if (!bad) return object;
    json_decref(object);
    return NULL;
}

json_t *plan_json(const Plan *plan, Err *err)
{
    json_t *arms = json_array();
    int bad = !arms;
    for (size_t a = 0; !bad && a < plan->arm_count; a++) bad = json_array_append_new(arms, arm_json(plan, a, err));
    json_t *object = bad ? NULL : json_pack("{s:O}", "arms", arms);
    json_decref(arms);
    if (!object) err_failed(err, "out of memory, or a measure that is no number, while writing the comparison");
    return object;
}
