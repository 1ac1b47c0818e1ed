// SPDX-License-Identifier: MIT
/* evaluate.c - a model's answers to fixed prompts and what they are worth. Start reading at evaluate.
 *
 * Knows nothing of runs or commands. The table `measures` names every measure once: JSON follows it.
 */
#include "study/evaluate.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "files/jsonl.h"
#include "policy.h"
#include "study/scoring.h"

// ---- answers -------------------------------------------------------------------------------------------------------------------

// Answers to the evaluation prompts are what RAFT would collect, drawn from a stream of their own.
static int open_policy(Policy *policy, const Model *model, const Compute *cx, const EvaluateOptions *how, Err *err)
{
    PolicyOptions options = {.sample = how->sample, .seed = how->seed};
    Model *unchanged = (Model *)(uintptr_t)model; // a policy can learn, but it is not asked to here
    options.sample.stream = STREAM_EVAL;
    options.sample.first_sample = 0;
    if (policy_init(policy, unchanged, how->reference ? how->reference : model, how->tokenizer, how->prompts, cx, &options, err)) return -1;
    policy->sample_progress = how->progress;
    policy->progress_self = how->progress_self;
    return 0;
}

static int draw_answers(SampleList *answers, Policy *policy, size_t prompts, Err *err)
{
    size_t *order = mem_new(err, prompts, sizeof *order);
    for (size_t i = 0; order && i < prompts; i++) order[i] = i;
    int status = order ? policy_collect(policy, answers, order, prompts, policy->options.sample.samples, 0, err) : -1;
    mem_free(order);
    return status;
}

static bool has_rewards(const EvaluateOptions *how) { return how->rewards && (how->rewards->count || how->rewards->gold); }

// Best-of-K: of each prompt's answers the one with the highest reward, the lowest k among equals.
static void keep_best(SampleList *answers)
{
    size_t kept = 0;
    for (size_t i = 0, end; i < answers->count; i = end) {
        size_t best = i;
        for (end = i + 1; end < answers->count && answers->items[end].slot == answers->items[i].slot; end++)
            if (answers->items[end].reward > answers->items[best].reward) best = end;
        Sample winner = answers->items[best];
        answers->items[best] = (Sample){0};
        for (size_t j = i; j < end; j++) sample_clear(answers->items + j);
        answers->items[kept++] = winner;
    }
    answers->count = kept;
}

// ---- measures ------------------------------------------------------------------------------------------------------------------

// One row an answer; value is reused. several: there are prompts with more than one answer.
typedef struct { float *value; size_t *length, *prompt; TokenList *tokens; size_t n; bool several; } Columns;

static void columns_free(Columns *c)
{
    mem_free(c->value);
    mem_free(c->length);
    mem_free(c->prompt);
    mem_free(c->tokens);
}

static int columns_init(Columns *c, const SampleList *answers, Err *err)
{
    *c = (Columns){.n = answers->count};
    if (!(c->value = mem_new(err, c->n, sizeof *c->value)) || !(c->length = mem_new(err, c->n, sizeof *c->length))) return -1;
    if (!(c->prompt = mem_new(err, c->n, sizeof *c->prompt)) || !(c->tokens = mem_new(err, c->n, sizeof *c->tokens))) return -1;
    for (size_t i = 0; i < c->n; i++) {
        c->tokens[i] = answers->items[i].tokens; // borrowed
        c->length[i] = answers->items[i].tokens.length;
        c->prompt[i] = answers->items[i].slot;
        c->several |= i && c->prompt[i] == c->prompt[i - 1];
    }
    return 0;
}

static Measure mean_of(const Columns *c)
{
    return c->several ? metric_ratio_by_prompt(c->value, NULL, c->prompt, c->n) : metric_mean(c->value, c->n);
}

static Measure ratio_of(const Columns *c) { return metric_ratio_by_prompt(c->value, c->length, c->prompt, c->n); } // to tokens

// The share of values above 0, which it replaces by 0 and 1.
static Measure rate_of(Columns *c)
{
    size_t hits = 0;
    for (size_t i = 0; i < c->n; i++) hits += (size_t)(c->value[i] = c->value[i] > 0);
    if (!c->several) return metric_rate(hits, c->n);
    Measure m = mean_of(c);
    if (m.lo < 0) m.lo = 0;
    if (m.hi > 1) m.hi = 1;
    return m;
}

static Measure mean_reward(Columns *c, const SampleList *answers, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (!sample_reward(&c->value[i], answers->items + i, name)) return (Measure){0};
    return mean_of(c);
}

static void measure_rewards(Evaluation *out, Columns *c, const SampleList *answers, const RewardSet *rewards)
{
    for (size_t p = 0; p < rewards->count; p++) {
        out->part_names[p] = reward_name(rewards, p);
        out->parts[p] = mean_reward(c, answers, out->part_names[p]);
    }
    out->part_count = rewards->count;
    for (size_t i = 0; i < c->n; i++) c->value[i] = answers->items[i].reward;
    if (rewards->count) out->reward = mean_of(c);
    if (rewards->gold) out->gold = mean_reward(c, answers, "gold"); // leaves gold in value
    if (reward_gold_probability(rewards, c->value, c->value, c->n)) out->gold_probability = mean_of(c);
    for (size_t i = 0; i < c->n; i++) {
        c->value[i] = answers->items[i].reward;
        if (rewards->gold) sample_reward(&c->value[i], answers->items + i, "gold");
    }
    if (rewards->count || rewards->gold) out->positive_rate = rate_of(c);
}

static void measure_divergence(Evaluation *out, Columns *c, const SampleList *answers)
{
    for (size_t i = 0; i < c->n; i++) c->value[i] = answers->items[i].logprob - answers->items[i].ref_logprob;
    out->kl = mean_of(c);
    out->kl_per_token = ratio_of(c);
    for (size_t i = 0; i < c->n; i++) c->value[i] = answers->items[i].ref_logprob;
    out->sample_perplexity = metric_perplexity_of(ratio_of(c));
}

static int measure_text(Evaluation *out, Columns *c, const EvaluateOptions *how, Err *err)
{
    for (size_t i = 0; i < c->n; i++) c->value[i] = (float)c->length[i];
    out->length = mean_of(c);
    if (metric_distinct(&out->distinct_1, c->tokens, c->n, 1, 0, how->seed, err)) return -1;
    if (metric_distinct(&out->distinct_2, c->tokens, c->n, 2, 0, how->seed, err)) return -1;
    if (metric_unique(&out->unique_1, c->tokens, c->n, 1, 0, how->seed, err)) return -1;
    if (metric_unique(&out->unique_2, c->tokens, c->n, 2, 0, how->seed, err)) return -1;
    return metric_msttr(&out->msttr, c->tokens, c->n, 100, err);
}

// Of a comparison's arms many begin with p0, and reading the held-out text costs more than all else here.
static int measure_held_out(Evaluation *out, const Model *model, const Compute *cx, const EvaluateOptions *how, Err *err)
{
    size_t n = how->held_out_count;
    Measure *kept = how->p0_perplexity && model_equal(model, how->reference) ? how->p0_perplexity : NULL;
    if (kept && kept->n) {
        out->perplexity = *kept;
        return 0;
    }
    float *logprob = mem_new(err, n, sizeof *logprob);
    size_t *tokens = logprob ? mem_new(err, n, sizeof *tokens) : NULL;
    int status = tokens ? lm_evaluate(model, cx, how->held_out, n, logprob, tokens, err) : -1;
    if (!status) out->perplexity = metric_perplexity(logprob, tokens, n);
    if (!status && kept) *kept = out->perplexity;
    mem_free(logprob);
    mem_free(tokens);
    return status;
}

int evaluate_answers(Evaluation *out, const SampleList *answers, const EvaluateOptions *how, Err *err)
{
    Columns columns;
    int status = columns_init(&columns, answers, err);
    if (!status) {
        out->samples = answers->count;
        if (has_rewards(how)) measure_rewards(out, &columns, answers, how->rewards);
        if (how->reference) measure_divergence(out, &columns, answers);
        status = measure_text(out, &columns, how, err);
    }
    columns_free(&columns);
    return status;
}

// Of the best of K gold and p0 see what was chosen only: reading all K of each costs as much as drawing them.
static int judge_answers(SampleList *answers, const Policy *policy, const EvaluateOptions *how, Err *err)
{
    Sample **samples = samples_pointers(answers, err); // those that keep_best leaves are the first of them
    int status = samples ? 0 : -1;
    if (!status && has_rewards(how)) status = samples_score(samples, answers->count, how->rewards, err);
    if (!status && how->best_of) keep_best(answers);
    if (!status && has_rewards(how)) status = samples_score_gold(samples, answers->count, how->rewards, err);
    if (!status) status = policy_measure_reference(policy, samples, answers->count, err);
    mem_free(samples);
    return status;
}

static int answer_prompts(Evaluation *out, SampleList *answers, const Model *model, const Compute *cx, const EvaluateOptions *how,
    size_t prompts, Err *err)
{
    Policy policy;
    if (open_policy(&policy, model, cx, how, err)) return -1;
    int status = draw_answers(answers, &policy, prompts, err) || judge_answers(answers, &policy, how, err) ? -1 : 0;
    out->tokens = policy.sampled_tokens;
    out->sample_seconds = policy.sample_seconds;
    policy_free(&policy);
    return status ? -1 : evaluate_answers(out, answers, how, err);
}

int evaluate(Evaluation *out, SampleList *answers, const Model *model, const Compute *cx, const EvaluateOptions *how, Err *err)
{
    SampleList own = {0}, *list = answers ? answers : &own;
    size_t prompts = how->prompts ? how->prompts->count : 0;
    if (how->prompt_count && how->prompt_count < prompts) prompts = how->prompt_count;
    *out = (Evaluation){0};
    int status = prompts ? answer_prompts(out, list, model, cx, how, prompts, err) : 0;
    if (!status && how->held_out_count) status = measure_held_out(out, model, cx, how, err);
    if (status || !answers) samples_free(list);
    return status;
}

// ---- for files and for people --------------------------------------------------------------------------------------------------

// share: a number from 0 to 1
static const struct { const char *name; size_t offset; bool share; } measures[] = {
    {"reward", offsetof(Evaluation, reward), false},            {"gold", offsetof(Evaluation, gold), false},
    {"gold_probability", offsetof(Evaluation, gold_probability), true},
    {"positive_rate", offsetof(Evaluation, positive_rate), true}, {"perplexity", offsetof(Evaluation, perplexity), false},
    {"sample_perplexity", offsetof(Evaluation, sample_perplexity), false},
    {"distinct_1", offsetof(Evaluation, distinct_1), true},     {"distinct_2", offsetof(Evaluation, distinct_2), true},
    {"unique_1", offsetof(Evaluation, unique_1), true},         {"unique_2", offsetof(Evaluation, unique_2), true},
    {"msttr", offsetof(Evaluation, msttr), true},               {"kl", offsetof(Evaluation, kl), false},
    {"kl_per_token", offsetof(Evaluation, kl_per_token), false}, {"length", offsetof(Evaluation, length), false},
};

int evaluation_add_json(json_t *object, const Evaluation *e, Err *err)
{
    int bad = 0;
    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++) {
        const Measure *m = (const Measure *)(const void *)((const char *)e + measures[i].offset);
        if (m->n) bad |= json_object_set_new(object, measures[i].name, measure_json(m, false));
    }
    if (e->part_count) {
        json_t *parts = json_object();
        for (size_t p = 0; p < e->part_count; p++) bad |= json_object_set_new(parts, e->part_names[p], measure_json(&e->parts[p], false));
        bad |= json_object_set_new(object, "rewards", parts);
    }
    if (e->samples) bad |= json_object_set_new(object, "samples", json_integer((json_int_t)e->samples));
    if (e->tokens) bad |= json_object_set_new(object, "tokens", json_integer((json_int_t)e->tokens));
    return bad ? err_failed(err, "out of memory or a measure that is no number while writing an evaluation") : 0;
}

json_t *evaluation_json(const Evaluation *evaluation, Err *err)
{
    json_t *object = json_object();
    if (!evaluation_add_json(object, evaluation, err)) return object;
    json_decref(object);
    return NULL;
}

static int read_measure(Measure *m, const json_t *object, const char *name, const char *where, Err *err)
{
    const json_t *value = json_object_get(object, name);
    if (!value) return 0;
    if (!json_is_object(value)) return err_input(err, "%s: key \"%s\": expected an object with mean, lo and hi", where, name);
    m->n = 1;
    return json_get_number(value, "mean", &m->mean, where, err) || json_get_number(value, "lo", &m->lo, where, err) ||
        json_get_number(value, "hi", &m->hi, where, err) ? -1 : 0;
}

int evaluation_read(Evaluation *e, const json_t *object, const char *where, Err *err)
{
    *e = (Evaluation){0};
    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++)
        if (read_measure((Measure *)(void *)((char *)e + measures[i].offset), object, measures[i].name, where, err)) return -1;
    return json_get_size_or(object, "samples", 0, &e->samples, where, err) || json_get_size_or(object, "tokens", 0, &e->tokens, where, err) ? -1 : 0;
}

static const Measure *measure_at(const Evaluation *e, size_t i) { return (const Measure *)(const void *)((const char *)e + measures[i].offset); }

void evaluation_between(Evaluation *out, const Evaluation *a, const Evaluation *b, double share)
{
    *out = (Evaluation){.samples = b->samples, .tokens = b->tokens};
    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++)
        *(Measure *)(void *)((char *)out + measures[i].offset) = metric_between(measure_at(a, i), measure_at(b, i), share);
}

enum { RUNS_MAX = 64 };
void evaluation_over_runs(Evaluation *out, const Evaluation *runs, size_t n)
{
    Measure values[RUNS_MAX];
    assert(n >= 1 && n <= RUNS_MAX);
    *out = (Evaluation){0};
    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++) {
        for (size_t r = 0; r < n; r++) values[r] = *measure_at(runs + r, i);
        Measure *m = (Measure *)(void *)((char *)out + measures[i].offset);
        *m = metric_over_runs(values, n);
        if (measures[i].share && m->lo < 0) m->lo = 0;
        if (measures[i].share && m->hi > 1) m->hi = 1;
    }
    for (size_t r = 0; r < n; r++) out->samples += runs[r].samples, out->tokens += runs[r].tokens;
}

// interval: among the columns of a comparison, where each is as wide as two
typedef struct { const char *heading; int decimals; double factor; size_t offset; bool interval; } Column;
static const Column columns[] = {
    {"reward", 3, 1, offsetof(Evaluation, reward), true},       {"gold", 3, 1, offsetof(Evaluation, gold), false},
    {"P(positive)", 3, 1, offsetof(Evaluation, gold_probability), true},
    {"positive %", 1, 100, offsetof(Evaluation, positive_rate), true}, {"perplexity", 2, 1, offsetof(Evaluation, perplexity), true},
    {"KL/answer", 3, 1, offsetof(Evaluation, kl), true},        {"KL/token", 4, 1, offsetof(Evaluation, kl_per_token), false},
    {"distinct-2", 3, 1, offsetof(Evaluation, distinct_2), true}, {"length", 1, 1, offsetof(Evaluation, length), false},
};

int evaluation_heading(Text *out, const char *label, Err *err)
{
    int status = text_printf(out, err, "%-12s", label);
    for (size_t i = 0; i < sizeof columns / sizeof *columns && !status; i++)
        status = text_printf(out, err, " %10s", columns[i].heading);
    return status || text_printf(out, err, " %10s\n", "tokens/s") ? -1 : 0;
}

int evaluation_interval_heading(Text *out, Err *err)
{
    int status = 0;
    for (size_t i = 0; i < sizeof columns / sizeof *columns && !status; i++)
        if (columns[i].interval) status = text_printf(out, err, "  %-22s", columns[i].heading);
    return status;
}

// "x [low, high]", or "-"
static const char *interval_cell(char cell[64], const Column *column, const Evaluation *e)
{
    const Measure *m = (const Measure *)(const void *)((const char *)e + column->offset);
    int d = column->decimals;
    double f = column->factor;
    if (m->n) snprintf(cell, 64, "%.*f [%.*f, %.*f]", d, m->mean * f, d, m->lo * f, d, m->hi * f);
    else snprintf(cell, 64, "-");
    return cell;
}

int evaluation_interval_row(Text *out, const Evaluation *e, Err *err)
{
    int status = 0;
    char cell[64];
    for (size_t i = 0; i < sizeof columns / sizeof *columns && !status; i++)
        if (columns[i].interval) status = text_printf(out, err, "  %-22s", interval_cell(cell, columns + i, e));
    return status;
}

int evaluation_markdown_heading(Text *out, Err *err)
{
    int status = 0;
    for (size_t i = 0; i < sizeof columns / sizeof *columns && !status; i++)
        if (columns[i].interval) status = text_printf(out, err, " %s |", columns[i].heading);
    return status;
}

int evaluation_markdown_row(Text *out, const Evaluation *e, Err *err)
{
    int status = 0;
    char cell[64];
    for (size_t i = 0; i < sizeof columns / sizeof *columns && !status; i++)
        if (columns[i].interval) status = text_printf(out, err, " %s |", interval_cell(cell, columns + i, e));
    return status;
}

size_t evaluation_interval_columns(void)
{
    size_t count = 0;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) count += columns[i].interval;
    return count;
}

int evaluation_row(Text *out, const char *label, const Evaluation *e, double tokens_per_s, Err *err)
{
    int status = text_printf(out, err, "%-12s", label);
    for (size_t i = 0; i < sizeof columns / sizeof *columns && !status; i++) {
        const Measure *m = (const Measure *)(const void *)((const char *)e + columns[i].offset);
        status = m->n ? text_printf(out, err, " %10.*f", columns[i].decimals, m->mean * columns[i].factor)
            : text_printf(out, err, " %10s", "-");
    }
    if (status) return -1;
    return tokens_per_s > 0 ? text_printf(out, err, " %10.0f\n", tokens_per_s) : text_printf(out, err, " %10s\n", "-");
}
