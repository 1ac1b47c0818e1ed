// SPDX-License-Identifier: MIT
/* compare.c - raft compare: RAFT beside PPO, best-of-K and fine-tuning on positive texts, from one model, on the same prompts and
 * rewards, over seeds. The steps of demo up to the reward heads, then a plan of arms. */
#include "commands/commands.h"
#include "commands/experiment.h"
#include "commands/learning.h"
#include "commands/policies.h"
#include "commands/training.h"
#include "files/checkpoint.h"
#include "study/plan.h"
#include "study/report.h"
#include "study/shading.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COMPARE_GROUPS (EXPERIMENT_GROUPS | ALIGNMENT_GROUPS | OPT_PLAN)
#define COMPARE_DEFAULTS "profile=compare output=runs/compare"

typedef struct {
    Experiment e;
    Plan plan;
    const CommandContext *cx;
} Comparison;

// ---- an arm's own settings ---------------------------------------------------------------------------------------------------------

// The stage whose settings an arm reads, besides those for all stages.
static const char *const arm_stage[] = {[ARM_BASE] = "eval", [ARM_BEST_OF] = "eval", [ARM_SFT] = "sft", [ARM_RAFT] = "raft", [ARM_PPO] = "ppo"};

typedef struct { Settings settings; Options options; Text *words; char **argv; size_t argc, own; } ArmSettings;

// What a setting of its own can change of an arm; the rest is made once for all of them, or is not read.
static int check_key(const PlanArm *arm, const char *key, Err *err)
{
    static const unsigned groups[] = {[ARM_BASE] = OPT_SAMPLE, [ARM_BEST_OF] = OPT_SAMPLE, [ARM_SFT] = OPT_SAMPLE | OPT_TRAIN,
        [ARM_RAFT] = OPT_SAMPLE | OPT_TRAIN | OPT_RANK | OPT_ALIGN, [ARM_PPO] = OPT_SAMPLE | OPT_TRAIN | OPT_RANK | OPT_ALIGN | OPT_PPO};
    static const char *const shared[] = {"reward", "gold", "timeout", "eval-prompts", "prompt-tokens",  "reference", "algo", "iteration", "explain"};
    bool used = (setting_groups(key) & groups[arm->kind]) || (arm->kind == ARM_SFT && !strcmp(key, "limit"));
    for (size_t i = 0; used && i < sizeof shared / sizeof *shared; i++) used = strcmp(key, shared[i]) != 0;
    if (used || !setting_groups(key)) return 0; // one that does not exist is named by settings_parse
    return err_input(err, "%s is not a setting of its own: it is not read for this kind of arm, or shared by all of them", key);
}

static void arm_settings_free(ArmSettings *s)
{
    settings_free(&s->settings);
    for (size_t i = 0; s->words && i < s->own; i++) text_free(s->words + i);
    mem_free(s->words);
    mem_free(s->argv);
}

// The command line with the arm's settings and its seed behind its options, where they win.
static int arm_settings_init(ArmSettings *s, const CommandContext *cx, const PlanArm *arm, uint64_t seed, Err *err)
{
    size_t given = 0, argc = (size_t)cx->settings->argc; // "--" ends the options; there are no operands
    while (given < argc && strcmp(cx->settings->argv[given], "--")) given++;
    const char *stage = arm_stage[arm->kind];
    *s = (ArmSettings){.argc = given + arm->count + 1, .own = arm->count + 1};
    if (!(s->words = mem_new(err, s->own, sizeof *s->words)) || !(s->argv = mem_new(err, s->argc, sizeof *s->argv))) return -1;
    for (size_t i = 0; i < given; i++) s->argv[i] = cx->settings->argv[i];
    for (size_t i = 0; i < arm->count; i++)
        if (text_printf(s->words + i, err, "--%s.%s=%s", stage, arm->keys[i], arm->values[i])) return -1;
    if (text_printf(s->words + arm->count, err, "--seed=%" PRIu64, seed)) return -1;
    for (size_t i = 0; i < s->own; i++) s->argv[given + i] = s->words[i].data;
    if (settings_parse(&s->settings, (int)s->argc, s->argv, COMPARE_GROUPS, COMPARE_DEFAULTS, err)) return -1;
    return settings_resolve(&s->options, &s->settings, stage, err);
}

// ---- arms --------------------------------------------------------------------------------------------------------------------------

// The arm's own files: RUN/arms/NAME-sSEED
static int arm_folder(Text *path, const Comparison *c, const PlanArm *arm, uint64_t seed, Err *err)
{
    return text_printf(path, err, "%s/arms/%s-s%" PRIu64, c->e.run.folder, arm->name, seed);
}

// What an arm without a run directory answers, where those with one have theirs: arms/NAME-sSEED/samples_after.jsonl.
static int measure_arm(Comparison *c, const PlanArm *arm, const Options *o, const EvaluateOptions *how, const Model *model, PlanResult *result, Err *err)
{
    const Compute *cx = &c->cx->compute;
    SampleList answers = {0};
    Text path = {0};
    int status = evaluate(&result->evaluation, &answers, model, cx, how, err) ||
        shade_answers(&answers, model, how->reference, how->tokenizer, how->sample.stop, cx, err) ||
        arm_folder(&path, c, arm, o->seed, err) || os_make_folders(path.data, err) ||
        text_puts(&path, err, "/samples_after.jsonl") || samples_write(&answers, path.data, err);
    samples_free(&answers);
    text_free(&path);
    return status ? -1 : 0;
}

static int load_aligned(Model *model, const Comparison *c, const PlanArm *arm, uint64_t seed, Err *err)
{
    Text path = {0};
    int status = arm_folder(&path, c, arm, seed, err) || text_puts(&path, err, "/checkpoint") || checkpoint_load(model, path.data, err) ? -1 : 0;
    text_free(&path);
    return status;
}

// What is measured, not made: the start, its best of K answers, or the best of K answers of a model that another arm has aligned.
static int run_measured(Comparison *c, const PlanArm *arm, const Options *o, PlanResult *result, Err *err)
{
    EvaluateOptions how = experiment_evaluation(&c->e, o);
    Model aligned = {0};
    if (arm->kind == ARM_BEST_OF) {
        how.best_of = true;
        how.sample.samples = o->samples;
    }
    int status = arm->of ? load_aligned(&aligned, c, arm->of, o->seed, err) : 0;
    if (!status) status = measure_arm(c, arm, o, &how, arm->of ? &aligned : &c->e.reference, result, err);
    model_free(&aligned);
    return status;
}

// The beginnings of positive training reviews: the prompts that alignment has, then at most as many tokens as an answer.
typedef struct { SampleList samples; size_t most; } PositiveSamples;

static int add_positive(void *self, const Prompt *prompt, const TokenList *answer, Err *err)
{
    PositiveSamples *p = self;
    if (p->most && p->samples.count == p->most) return 1;
    Sample *s = samples_add(&p->samples, err);
    return s ? tokens_append(&s->prompt_tokens, err, prompt->ids.ids, prompt->ids.length) || tokens_append(&s->tokens, err, answer->ids, answer->length) ? -1 : 0 : -1;
}

static int positive_examples(ExampleList *list, Experiment *e, const Options *o, Err *err)
{
    PositiveSamples p = {.most = o->limit};
    int status = prompts_each_human(e, o, add_positive, &p, err);
    size_t count = p.samples.count;
    if (!status && !count) status = err_input(err, "there is no positive training review that goes on after its prompt");
    const Sample **samples = status ? NULL : mem_new(err, count, sizeof *samples);
    for (size_t i = 0; samples && i < count; i++) samples[i] = p.samples.items + i;
    if (!status) status = samples ? policy_examples(list, samples, count, err) : -1;
    mem_free(samples);
    samples_free(&p.samples);
    return status;
}

static int run_sft(Comparison *c, const PlanArm *arm, const Options *o, PlanResult *result, Err *err)
{
    ExampleList list = {0};
    TrainOptions how;
    Trainer trainer = {0};
    StepStats total;
    Model model = {0};
    int status = train_options(&how, o, err) || experiment_copy_start(&c->e, &model, err) || freeze_layers(&model, o, err) ||
        positive_examples(&list, &c->e, o, err) || trainer_init(&trainer, &model, &c->cx->compute, &how, err) ||
        train_run(&trainer, list.examples, list.count, o->seed, 0, NULL, NULL, &total, err);
    trainer_free(&trainer);
    EvaluateOptions measure = experiment_evaluation(&c->e, o);
    if (!status) status = measure_arm(c, arm, o, &measure, &model, result, err);
    model_free(&model);
    policy_examples_free(&list);
    return status ? -1 : 0;
}

typedef struct { const Plan *plan; const PlanArm *arm; } ArmWatch;

static void tell_advance(void *self, size_t iteration, size_t iterations, double seconds)
{
    const ArmWatch *watch = self;
    plan_under_way(watch->plan, watch->arm, iteration, iterations, seconds);
}

/* A run directory of its own, arms/NAME-sSEED. An arm that was cut off goes on in it; one that has other settings by now, or that
 * ended without its result being kept, begins anew. What fails while running, a full disk say, is no reason to remove it. */
static int open_arm_run(Run *run, const char *folder, const char *stage, const Settings *settings, const Options *o, const Compute *cx, Err *err)
{
    Options own = *o;
    own.repeat = NULL; // the whole comparison is held against that run, and an arm's inputs are the comparison's
    if (own.resume) {
        Err why = {0};
        int status = run_open(run, folder, stage, settings, &own, cx, &why);
        if (!status && !run->finished) return 0;
        if (!status) run_close(run);
        else if (!run->differs) return *err = why, -1;
    }
    own.force = true;
    own.resume = false;
    return run_open(run, folder, stage, settings, &own, cx, err);
}

// `raft report` takes its directory.
static int run_alignment(Comparison *c, const PlanArm *arm, const Options *o, const Settings *settings, PlanResult *result, Err *err)
{
    Experiment *e = &c->e;
    PpoOptions ppo = ppo_options(o);
    PolicyOptions how;
    ExpertNames experts;
    Policy policy = {0};
    Model model = {0};
    Run run = {0};
    RunState state = {0};
    Text name = {0};
    int status = experiment_policy_options(&how, &experts, e, o, err) || experiment_copy_start(e, &model, err) ||
        (arm->kind == ARM_PPO && model_add_value_head(&model, err)) || freeze_layers(&model, o, err) ||
        policy_init(&policy, &model, &e->reference, &e->tokenizer, &e->prompts, &c->cx->compute, &how, err) ||
        arm_folder(&name, c, arm, o->seed, err) ||
        open_arm_run(&run, name.data, arm_stage[arm->kind], settings, o, &c->cx->compute, err) ||
        state_open(&state, &run, arm_stage[arm->kind], o->save_every, err);
    Alignment alignment = {0};
    ArmWatch watch = {&c->plan, arm};
    AlignmentListener listener = {.self = &watch, .advanced = tell_advance};
    if (!status) status = experiment_run_alignment(&alignment, e, o, &policy, arm->kind == ARM_PPO ? &ppo : NULL, &run, &state, listener, err) ||
        run_record_hash(&run, "checkpoint_hash", checkpoint_hash(&model), err) || trajectory_of_run(&result->trajectory, &run, err) || run_finish(&run, err);
    const Trajectory *way = &result->trajectory; // read from the run's lines: those of a process that was cut off count, too
    if (!status && way->count) result->evaluation = way->points[way->count - 1].evaluation;
    result->generated = alignment.generated;
    result->seconds = alignment.seconds;
    state_close(&state);
    policy_free(&policy);
    model_free(&model);
    run_close(&run);
    text_free(&name);
    return status ? -1 : 0;
}

static int run_arm(void *self, const PlanArm *arm, uint64_t seed, PlanResult *result, Err *err)
{
    Comparison *c = self;
    ArmSettings s;
    int status = arm_settings_init(&s, c->cx, arm, seed, err);
    if (!status && arm->kind == ARM_SFT) status = run_sft(c, arm, &s.options, result, err);
    else if (!status && (arm->kind == ARM_RAFT || arm->kind == ARM_PPO)) status = run_alignment(c, arm, &s.options, &s.settings, result, err);
    else if (!status) status = run_measured(c, arm, &s.options, result, err);
    arm_settings_free(&s);
    return status;
}

// ---- how much there is to do ---------------------------------------------------------------------------------------------------------

// In tokens that pass through the language model, roughly: reading one counts 1, learning from one 2 more, both heads together 1.
static double arm_work(const Comparison *c, ArmKind kind, const Options *o)
{
    double length = (double)((o->prompt_tokens ? o->prompt_tokens : 8) + o->max_new), drawn = (double)o->max_new + 2 * length; // drawn, read by p0, by the heads
    double b = (double)(o->stage_prompts ? o->stage_prompts : c->e.prompts.count), answers = (double)o->iterations * b * (double)o->samples;
    double asked = (double)o->eval_prompts, evaluation = asked * drawn + (double)c->e.held_out_documents.tokens, epochs = (double)o->epochs;
    switch (kind) {
    case ARM_BASE: return evaluation;
    case ARM_BEST_OF: return evaluation + asked * ((double)o->samples - 1) * drawn;
    case ARM_SFT: return evaluation + 3 * epochs * length * (double)(o->limit ? o->limit : c->e.train.count / 2);
    case ARM_RAFT:
    case ARM_PPO: break;
    }
    double measured = 1 + (double)o->iterations / (double)(o->eval_every ? o->eval_every : 1);
    double learned = kind == ARM_PPO ? answers : o->accept > 0 ? o->accept * answers : answers / (double)o->samples;
    return measured * evaluation + answers * drawn + 3 * epochs * (length + o->replay * (double)o->replay_tokens) * learned + (kind == ARM_PPO ? 2 * length * answers : 0);
}

// Once texts are read and prompts cut; the caller frees it.
static double *plan_work(const Comparison *c, Err *err)
{
    const Plan *plan = &c->plan;
    double *work = mem_new(err, plan->arm_count, sizeof *work);
    for (size_t a = 0; work && a < plan->arm_count; a++) {
        ArmSettings s;
        if (!arm_settings_init(&s, c->cx, plan->arms + a, c->cx->options.seed, err)) work[a] = arm_work(c, plan->arms[a].kind, &s.options);
        arm_settings_free(&s);
    }
    return work;
}

// ---- the command -------------------------------------------------------------------------------------------------------------------

static int hash_setting(void *self, const char *key, const char *value, bool is_text, bool is_list, Err *err)
{
    uint64_t *hash = self;
    (void)is_text;
    (void)is_list;
    (void)err;
    if (!setting_is_neutral(key)) *hash = hash_bytes(hash_bytes(*hash, key, strlen(key) + 1), value, strlen(value) + 1);
    return 0;
}

// Of everything that all arms share: texts, the model they start from, settings. Which arms and seeds there are is no part of it.
static int plan_key(uint64_t *key, const Comparison *c, Err *err)
{
    const uint64_t parts[] = {c->e.train.hash, c->e.test.hash, checkpoint_hash(&c->e.reference), c->e.heads[PROXY].hash, c->e.heads[GOLD].hash};
    *key = hash_bytes(0, parts, sizeof parts);
    return settings_visit(c->cx->settings, NULL, hash_setting, key, err);
}

// Reward, gold and the experts of each arm: a file that has changed since is refused by name, before any result is taken.
static int record_given_files(Comparison *c, Err *err)
{
    int status = 0;
    for (size_t a = 0; !status && a < c->plan.arm_count; a++) {
        ArmSettings s;
        status = arm_settings_init(&s, c->cx, c->plan.arms + a, c->cx->options.seed, err);
        if (a) s.options.reward.count = 0, s.options.gold = NULL; // all arms share them
        if (!status) status = experiment_record_given(&c->e, &s.options, err);
        arm_settings_free(&s);
    }
    return status;
}

static int check_arms(const CommandContext *cx, const Plan *plan, Err *err)
{
    for (size_t a = 0; a < plan->arm_count; a++) {
        ArmSettings s;
        int status = arm_settings_init(&s, cx, plan->arms + a, cx->options.seed, err);
        for (size_t i = 0; !status && i < plan->arms[a].count; i++) status = check_key(plan->arms + a, plan->arms[a].keys[i], err);
        PolicyOptions how = {.sample = sample_options(&s.options, &(ModelConfig){.eos = -1}), .expert_count = s.options.expert.count, .replay = s.options.replay};
        RankOptions rank = rank_options(&s.options);
        if (!status && plan->arms[a].kind == ARM_PPO) status = ppo_check(&how, &rank, err);
        arm_settings_free(&s);
        if (status) return err_prefix(err, "arm %s", plan->arms[a].name);
    }
    return 0;
}

// The page, then the table or the figures.
static int print(const Plan *plan, const Options *o, Err *err)
{
    Text table = {0};
    if (report_write(o->output, err)) return -1;
    if (o->json) {
        json_t *object = plan_json(plan, err);
        return object ? print_json(object, err) : -1;
    }
    int status = plan_table(&table, plan, err);
    if (!status)
        printf("\n%s\n%s: report.html shows it, comparison.md holds tables, at equal cost too, comparison.json the figures, arms/ the runs\n",
            table.data, o->output);
    text_free(&table);
    return status;
}

static int run(CommandContext *cx, Err *err)
{
    static const char *const usual[] = {"base", "sft", "best-of", "raft", "ppo"};
    Comparison c = {.cx = cx};
    Options align;
    Plan *plan = &c.plan;
    const Options *o = &cx->options;
    uint64_t key = 0;
    if (cx->word_count) return err_input(err, "compare: unexpected \"%s\"; everything is named by options", cx->words[0]);
    if (plan_open(plan, o->output, o->arm.count ? o->arm.items : usual, o->arm.count ? o->arm.count : sizeof usual / sizeof *usual, o->seed, o->seeds,
            0, o->resume, o->quiet, err)) return -1;
    int status = check_arms(cx, plan, err) || settings_resolve(&align, cx->settings, "eval", err) ||
        experiment_open(&c.e, "compare", cx->settings, o, &cx->compute, err) || experiment_make_tokenizer(&c.e, err) ||
        experiment_make_language_model(&c.e, err) || experiment_make_heads(&c.e, err) || experiment_prepare_alignment(&c.e, &align, err) ||
        record_given_files(&c, err) || plan_key(&key, &c, err);
    plan->key = key;
    double *work = status ? NULL : plan_work(&c, err);
    plan->work = work;
    if (!status && !work) status = -1;
    if (!status) status = plan_run(plan, run_arm, &c, err) || print(plan, o, err) || run_finish(&c.e.run, err);
    experiment_close(&c.e);
    plan_close(plan);
    mem_free(work);
    return status ? -1 : 0;
}

const Command command_compare = {
    .name = "compare",
    .operands = "",
    .summary = "RAFT beside PPO, best-of-K and fine-tuning, over seeds, from one model on the same prompts",
    .groups = COMPARE_GROUPS,
    .except = EXPERIMENT_EXCEPT " algo",
    .defaults = COMPARE_DEFAULTS,
    .help = "compare makes a language model and two reward heads as demo does, then each arm for each seed, all from that model, on the same\n"
            "prompts and rewards: base (the model itself), best-of (of --samples answers the one with the highest reward), sft (fine-tuning\n"
            "on positive training reviews), raft, ppo. --arm \"raft16:raft samples=16 stage-prompts=128\" adds one with settings of its own;\n"
            "--arm \"top:best-of samples=8 of=raft16\" takes the best of 8 answers of the model that the arm raft16, named before it, has made;\n"
            "an arm reads the settings of the stage eval, sft, raft or ppo. The table shows means with 95 % intervals over seeds and prompts;\n"
            "RUN/report.html shows them, RUN/comparison.json holds each seed's figures, RUN/arms a run directory for each RAFT and PPO. --resume goes on where a\n"
            "comparison was cut off.",
    .needs_compute = true,
    .run = run,
};
