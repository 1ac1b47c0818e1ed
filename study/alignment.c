// SPDX-License-Identifier: MIT
/* alignment.c - what surrounds raft.c, or ppo.c, in a run: measuring, writing down, saving. Start reading at alignment_run.
 *
 * Knows nothing of options or printing, and makes no decision that the algorithm makes.
 */
#include "study/alignment.h"

#include <stdio.h>
#include <string.h>

#include "files/checkpoint.h"
#include "study/scoring.h"
#include "study/shading.h"

// What comes next in an iteration; saved, so the numbers stay.
enum { MEASURE, COLLECT, FINETUNE };

// ---- progress ------------------------------------------------------------------------------------------------------------------

static int sample_progress(void *self, size_t tokens, size_t done, size_t total)
{
    Alignment *a = self;
    a->bar.total = total;
    progress_update(&a->bar, done, tokens, "");
    return 0;
}

// Before every save: what a process that is cut off has worked counts as far as it was saved.
static void count_seconds(Alignment *a)
{
    double now = os_now_s();
    a->seconds += now - a->counted;
    a->counted = now;
}

static int train_progress(void *self, size_t step, size_t steps, const StepStats *stats)
{
    Alignment *a = self;
    char note[40];
    count_seconds(a);
    if (!a->bar.done) a->bar.before = a->train_seconds; // put back by the state, or 0
    a->bar.total = steps;
    snprintf(note, sizeof note, "loss %.3f", stats->loss);
    progress_update(&a->bar, step, a->bar.tokens + stats->tokens, note);
    a->train_seconds = progress_seconds(&a->bar);
    return 0;
}

// ---- a line of metrics --------------------------------------------------------------------------------------------------------

static json_t *stage_json(const Alignment *a)
{
    json_t *stage = json_pack("{s:I,s:I}", "candidates", (json_int_t)a->all.n, "selected", (json_int_t)a->kept.n);
    int bad = json_object_set_new(stage, "reward", json_float(a->all.mean));
    bad |= json_object_set_new(stage, "selected_reward", json_float(a->kept.mean));
    if (a->kl.n) bad |= json_object_set_new(stage, "kl", json_float(a->kl.mean));
    if (!bad) return stage;
    json_decref(stage);
    return NULL;
}

static json_t *train_json(const Alignment *a)
{
    const StepStats *s = &a->policy->last;
    json_t *train = json_pack("{s:o,s:o,s:I,s:I}", "loss", json_float(s->loss), "grad_norm", json_float(s->grad_norm), "tokens",
        (json_int_t)s->tokens, "targets", (json_int_t)s->targets);
    if (!a->ppo) return train;
    int bad = json_object_set_new(train, "policy_loss", json_float(s->policy_loss));
    bad |= json_object_set_new(train, "value_loss", json_float(s->value_loss));
    bad |= json_object_set_new(train, "clipped", json_float(s->clipped));
    bad |= json_object_set_new(train, "kl_coef", json_float(a->ppo_state.last_kl_coef));
    if (!bad) return train;
    json_decref(train);
    return NULL;
}

// The model after `iteration` iterations, and the iteration that led there when there was one.
static int write_measures(Alignment *a, size_t iteration, const Evaluation *e, bool after_training, double tokens_per_s, const char *stopped, Err *err)
{
    json_t *line = json_pack("{s:I,s:I}", "iteration", (json_int_t)iteration, "generated", (json_int_t)a->generated);
    int status = evaluation_add_json(line, e, err);
    if (!status && stopped && json_object_set_new(line, "stopped", json_string(stopped))) status = err_failed(err, "out of memory");
    if (!status && after_training && (json_object_set_new(line, "stage", stage_json(a)) ||
        json_object_set_new(line, "train", train_json(a))))
        status = err_failed(err, "out of memory, or a loss that is no number, in iteration %zu", iteration - 1);
    if (!status) status = run_metrics(a->run, json_incref(line), err);
    if (!status && a->listener.measured) status = a->listener.measured(a->listener.self, iteration, e, tokens_per_s, line, err);
    json_decref(line);
    return status;
}

static double rate(size_t tokens, double seconds) { return seconds > 0 ? (double)tokens / seconds : 0; }

static int write_answers(const Alignment *a, size_t iteration, SampleList *answers, Err *err)
{
    const Policy *p = a->policy;
    if (!a->keep_answers || (iteration && iteration != a->iterations && !a->stopped)) return 0;
    if (shade_answers(answers, p->model, p->reference, p->tokenizer, p->options.sample.stop, p->cx, err)) return -1;
    char *path = run_path(a->run, iteration ? "samples_after.jsonl" : "samples_before.jsonl", err);
    int status = path ? samples_write(answers, path, err) : -1;
    mem_free(path);
    return status;
}

static int save_checkpoint(const Alignment *a, const char *name, Err *err)
{
    char *path = run_path(a->run, name, err);
    const Model *model = a->policy->model;
    int status = path ? checkpoint_save(path, model, a->policy->tokenizer, err) || run_mark_checkpoint(a->run, path, checkpoint_hash(model), err) : -1;
    mem_free(path);
    return status;
}

static bool watched(const Alignment *a) { return a->monitors.gold_falls || a->monitors.diversity_share > 0 || a->monitors.kl_most > 0; }

// The best model so far goes to RUN/best; a monitor that fires ends the run.
static int look(Alignment *a, size_t iteration, const Evaluation *e, Sight *sight, Err *err)
{
    *sight = monitors_see(&a->monitors, e, iteration);
    a->stopped = sight->why != NULL;
    if (a->stopped && !a->quiet)
        fprintf(stderr, "stopped: %s after iteration %zu; best/ holds the model after iteration %zu\n", sight->why, iteration, a->monitors.best_iteration);
    return sight->best ? save_checkpoint(a, "best", err) : 0;
}

static int measure_model(Alignment *a, size_t iteration, Err *err)
{
    Evaluation e;
    size_t every = a->evaluate_every ? a->evaluate_every : 1;
    if (!a->evaluate->prompts || (iteration % every && iteration != a->iterations)) return 0;
    double started = os_now_s(), elapsed = a->seconds + (started - a->counted) - a->measuring;
    a->evaluate->progress = sample_progress;
    a->evaluate->progress_self = a;
    progress_start(&a->bar, "evaluate", "answer", 0, a->quiet);
    SampleList answers = {0};
    if (evaluate(&e, &answers, a->policy->model, a->policy->cx, a->evaluate, err)) return -1;
    char note[60];
    snprintf(note, sizeof note, "drawn at %.0f tokens/s", rate(e.tokens, e.sample_seconds));
    a->bar.tokens = 0; // the seconds are those of judging them, too
    progress_finish(&a->bar, note);
    Sight sight = {0};
    int status = watched(a) ? look(a, iteration, &e, &sight, err) : 0;
    if (!status) status = write_answers(a, iteration, &answers, err);
    samples_free(&answers);
    if (status) return -1;
    if (run_timing_at(a->run, "evaluate", e.sample_seconds, e.tokens, &(RunPlace){iteration, a->generated, elapsed}, err)) return -1;
    double took = os_now_s() - started;
    if (run_timing(a->run, "measure", took - e.sample_seconds, 0, err)) return -1; // rewards, perplexity, KL of those answers
    a->measuring += took;
    return write_measures(a, iteration, &e, iteration > 0, rate(e.tokens, e.sample_seconds), sight.why, err);
}

// ---- what an iteration leaves behind ------------------------------------------------------------------------------------------

// The policy's own candidates as if they were answers to evaluation prompts; their samples still hold the raw reward.
static int evaluate_stage(Alignment *a, const CandidateList *candidates, Err *err)
{
    SampleList view = {.items = mem_new(err, candidates->count, sizeof *view.items)}; // borrows what the items own
    if (!view.items) return -1;
    for (size_t i = 0; i < candidates->count; i++) {
        const Sample *s = candidates->items[i].item;
        if (sample_is_own(s)) view.items[view.count++] = *s;
    }
    a->stage = (Evaluation){.tokens = a->sampled_tokens, .sample_seconds = a->sample_seconds};
    int status = evaluate_answers(&a->stage, &view, a->evaluate, err);
    mem_free(view.items);
    return status;
}

// An expert's answers are not drawn from p: the mean of log p/p0 over them would be no KL.
static bool p0_has_read(const Sample *s) { return s->has_reference && sample_is_own(s); }

static int measure_stage(Alignment *a, const CandidateList *candidates, Err *err)
{
    size_t n = candidates->count, kept = 0, asked = 0;
    float *values = mem_new(err, n, sizeof *values);
    if (!values) return -1;
    for (size_t i = 0; i < n; i++) values[i] = candidates->items[i].score;
    a->all = metric_mean(values, n);
    for (size_t i = 0; i < n; i++)
        if (p0_has_read(candidates->items[i].item)) values[asked++] = candidates->items[i].log_ratio;
    a->kl = metric_mean(values, asked); // of all that the policy has drawn, or of none
    for (size_t i = 0; i < n; i++)
        if (candidates->items[i].selected) values[kept++] = candidates->items[i].score;
    a->kept = metric_mean(values, kept);
    mem_free(values);
    return a->evaluate->prompts ? 0 : evaluate_stage(a, candidates, err);
}

static char *candidates_path(const Alignment *a, size_t iteration, Err *err)
{
    char name[64];
    snprintf(name, sizeof name, "iter_%03zu/candidates.jsonl", iteration);
    return run_path(a->run, name, err);
}

// From here on a run that is cut off goes on with these candidates: scoring them again could ask an outside program twice.
static int save_ranked(Alignment *a, const CandidateList *candidates, Err *err)
{
    float *scores = mem_new(err, candidates->count, sizeof *scores);
    for (size_t i = 0; scores && i < candidates->count; i++) scores[i] = candidates->items[i].score;
    mem_free(a->scores);
    a->state->scores = a->scores = scores;
    a->state->score_count = candidates->count;
    a->phase = FINETUNE;
    a->train_seconds = 0;
    count_seconds(a);
    return scores ? state_save(a->state, err) : -1;
}

static int after_ranking(Alignment *a, size_t iteration, const CandidateList *candidates, Err *err)
{
    progress_update(&a->bar, candidates->count, 0, "");
    progress_finish(&a->bar, "");
    if (run_timing(a->run, "rank", progress_seconds(&a->bar), 0, err)) return -1;
    if (measure_stage(a, candidates, err) || candidates_record(candidates, err)) return -1;
    char *path = candidates_path(a, iteration, err);
    int status = path ? candidates_write(candidates, path, err) || save_ranked(a, candidates, err) : -1;
    mem_free(path);
    if (!status && a->listener.ranked) status = a->listener.ranked(a->listener.self, iteration, candidates, err);
    progress_start(&a->bar, "fine-tune", "step", 0, a->quiet);
    return status;
}

static int after_step(void *self, const char *step, size_t iteration, const CandidateList *candidates, Err *err)
{
    Alignment *a = self;
    char note[80];
    if (!strcmp(step, "collected")) {
        progress_finish(&a->bar, "");
        a->sample_seconds = a->policy->sample_seconds;
        a->sampled_tokens = a->policy->sampled_tokens;
        a->generated += a->sampled_tokens;
        if (run_timing(a->run, "collect", a->sample_seconds, a->sampled_tokens, err)) return -1;
        if (a->ppo && run_timing(a->run, "reference", progress_seconds(&a->bar) - a->sample_seconds, 0, err)) return -1; // p0 has read the answers
        sample_room_empty(a->policy->options.sample.room); // the weights change before anything is drawn again
        progress_start(&a->bar, "rank", "answer", candidates->count, a->quiet);
        return 0;
    }
    if (!strcmp(step, "ranked")) return after_ranking(a, iteration, candidates, err);
    snprintf(note, sizeof note, "%zu of %zu kept, loss %.3f", a->kept.n, candidates->count, a->policy->last.loss);
    progress_finish(&a->bar, note);
    if (run_timing(a->run, "finetune", a->train_seconds, a->policy->last.tokens, err)) return -1;
    if (save_checkpoint(a, "checkpoint", err)) return -1;
    if (a->evaluate->prompts) return 0;
    return write_measures(a, iteration, &a->stage, true, rate(a->stage.tokens, a->stage.sample_seconds), NULL, err);
}

// ---- going on where a run was cut off ------------------------------------------------------------------------------------------

// The lines of before, for whoever makes a table or a list of them.
static int tell_lines(Alignment *a, Err *err)
{
    int status = 0;
    const char *line = a->run->metrics.data, *end;
    for (; !status && a->listener.measured && line && (end = strchr(line, '\n')); line = end + 1) {
        json_t *object = json_loadb(line, (size_t)(end - line), 0, NULL);
        const json_t *iteration = json_object_get(object, "iteration");
        if (iteration) status = a->listener.measured(a->listener.self, (size_t)json_integer_value(iteration), NULL, 0, object, err);
        json_decref(object);
    }
    return status;
}

// As they were when after_ranking had written them: a file holds the ranked reward only, the state the raw ones.
static int read_candidates(Alignment *a, CandidateList *out, size_t iteration, Err *err)
{
    const Raft *raft = &a->raft;
    SampleList samples = {0};
    char *path = candidates_path(a, iteration, err);
    int status = path ? samples_read(&samples, path, err) : -1;
    size_t n = samples.count, b = raft->stage ? raft->stage : raft->prompts;
    float *scores = a->scores = status ? NULL : mem_new(err, n, sizeof *scores);
    a->state->scores = scores; // and there they stay
    a->state->score_count = n;
    size_t *prompts = scores ? mem_new(err, b, sizeof *prompts) : NULL;
    uint32_t *order = prompts ? mem_new(err, raft->prompts, sizeof *order) : NULL;
    status = order ? state_scores(a->state, scores, n, err) : -1;
    if (!status) raft_stage_prompts(prompts, b, raft->prompts, iteration, raft->seed, order);
    for (size_t i = 0; !status && i < n; i++)
        if (samples.items[i].slot >= b || !samples.items[i].ranked) status = err_input(err, "%s: not the ranked candidates of this stage", path);
    if (!status) status = policy_candidates(out, &samples, prompts, err);
    for (size_t i = 0; !status && i < n; i++) {
        Candidate *c = out->items + i;
        Sample *s = c->item;
        c->score = scores[i];
        c->reward = s->reward;
        c->rank = s->rank;
        c->selected = s->selected;
        s->reward = c->score;
    }
    samples_free(&samples);
    mem_free(path);
    mem_free(prompts);
    mem_free(order);
    return status;
}

// What is left of an iteration whose candidates were ranked: raft_iteration's last step, or ppo_iteration's.
static int finish_iteration(Alignment *a, Err *err)
{
    CandidateList candidates = {0};
    int status = read_candidates(a, &candidates, a->iteration, err) || measure_stage(a, &candidates, err) ||
        candidates_record(&candidates, err) ? -1 : 0;
    if (!status) {
        progress_start(&a->bar, "fine-tune", "step", 0, a->quiet);
        status = a->ppo ? ppo_learn(&a->ppo_state, &candidates, a->iteration, err) : raft_finetune(&a->raft, &candidates, a->iteration, err);
    }
    if (!status) status = after_step(a, "finetuned", a->iteration, &candidates, err);
    raft_release(&a->raft, &candidates);
    return status;
}

static int next(Alignment *a, size_t iteration, size_t phase, Err *err)
{
    count_seconds(a);
    a->iteration = iteration;
    a->phase = phase;
    mem_free(a->scores);
    a->state->scores = a->scores = NULL;
    return state_save(a->state, err);
}

// PPO's AdamW and KL coefficient go on from iteration to iteration.
static void keep_ppo(Alignment *a)
{
    Ppo *ppo = &a->ppo_state;
    StepStats *last = &a->policy->last;
    const KeptValue values[] = {{"ppo_steps", &ppo->trainer.step, NULL}, {"kl_coef", NULL, &ppo->kl_coef}, {"last_kl_coef", NULL, &ppo->last_kl_coef},
        {"policy_loss", NULL, &last->policy_loss}, {"value_loss", NULL, &last->value_loss}, {"clipped", NULL, &last->clipped}};
    a->state->trainer = &ppo->trainer;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) state_keep(a->state, values[i]);
}

static int restore(Alignment *a, Err *err)
{
    RunState *state = a->state;
    state->model = a->policy->model;
    Monitors *m = &a->monitors;
    StepStats *last = &a->policy->last; // with the measures of the stage, what the next line of metrics tells of the iteration
    const KeptValue values[] = {{"iteration", &a->iteration, NULL}, {"phase", &a->phase, NULL},
        {"sampled_tokens", &a->sampled_tokens, NULL}, {"sample_seconds", NULL, &a->sample_seconds},
        {"train_seconds", NULL, &a->train_seconds}, {"candidates", &a->all.n, NULL}, {"selected", &a->kept.n, NULL},
        {"reward", NULL, &a->all.mean}, {"selected_reward", NULL, &a->kept.mean}, {"kl", NULL, &a->kl.mean},
        {"kl_candidates", &a->kl.n, NULL}, {"train_loss", NULL, &last->loss}, {"train_grad_norm", NULL, &last->grad_norm}, {"train_tokens", &last->tokens, NULL},
        {"train_targets", &last->targets, NULL}, {"generated", &a->generated, NULL}, {"seconds", NULL, &a->seconds},
        {"measuring", NULL, &a->measuring},
        {"stopped", &a->stopped, NULL}, {"monitors_seen", &m->seen, NULL}, {"best_iteration", &m->best_iteration, NULL},
        {"best", NULL, &m->best}, {"best_low", NULL, &m->best_low}, {"first_diversity", NULL, &m->first_diversity}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) state_keep(state, values[i]);
    if (a->ppo) keep_ppo(a);
    if (!state->found) return 0;
    if (state_restore(state, err)) return -1;
    if (!a->quiet) fprintf(stderr, "%-10s goes on in iteration %zu of %s\n", state->stage, a->iteration, a->run->folder);
    return tell_lines(a, err);
}

// ---- the run -------------------------------------------------------------------------------------------------------------------

static int iterate(Alignment *a, Err *err)
{
    size_t t = a->iteration;
    progress_start(&a->bar, "collect", "answer", 0, a->quiet);
    int status = a->phase == FINETUNE ? finish_iteration(a, err) : a->ppo ? ppo_iteration(&a->ppo_state, t, err) : raft_iteration(&a->raft, t, err);
    if (status) return err_prefix(err, "iteration %zu", t);
    return next(a, t + 1, MEASURE, err);
}

int alignment_run(Alignment *a, Run *run, Err *err)
{
    Raft *raft = &a->raft;
    a->run = run;
    a->counted = os_now_s();
    a->policy->sample_progress = sample_progress;
    a->policy->train_progress = train_progress;
    a->policy->progress_self = a;
    a->policy->options.train.keeper = a->ppo ? NULL : &a->state->keeper; // PPO's short trainings are done again from their start
    SampleRoom *room = sample_room_new(err); // what answers to evaluation prompts leave to the stage that follows
    a->policy->options.sample.room = a->evaluate->sample.room = room;
    raft->generator = policy_generator(a->policy);
    raft->reward = reward_source(a->rewards, !a->evaluate->prompts); // with evaluation prompts gold reads their answers instead
    raft->measure_kl = !a->evaluate->prompts; // and their KL
    raft->observer = after_step;
    raft->observer_self = a;
    a->ppo_state = (Ppo){.stage = *raft, .policy = a->policy};
    int status = room ? 0 : -1;
    if (!status && a->ppo) status = ppo_init(&a->ppo_state, a->ppo, err);
    if (!status) status = restore(a, err);
    while (!status && !a->stopped && (a->iteration < a->iterations || a->phase == MEASURE)) {
        if (a->phase != MEASURE) status = iterate(a, err);
        else status = measure_model(a, a->iteration, err) || next(a, a->iteration, COLLECT, err) ? -1 : 0;
        if (!status && !a->stopped && a->phase == COLLECT && a->listener.advanced) a->listener.advanced(a->listener.self, a->iteration, a->iterations, a->seconds);
    }
    mem_free(a->scores);
    a->state->scores = NULL;
    a->state->trainer = NULL;
    ppo_free(&a->ppo_state);
    sample_room_free(room);
    a->policy->options.sample.room = a->evaluate->sample.room = NULL;
    return status;
}
