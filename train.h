// SPDX-License-Identifier: MIT
/* train.h - examples, AdamW with its schedule, one optimisation step, a whole training run.
 *
 *     Trainer trainer;
 *     TrainOptions options = train_defaults();
 *     options.steps = 400;                                                 // which the schedule is laid over
 *     if (trainer_init(&trainer, &model, &cx, &options, &err)) return -1;
 *     StepStats stats;
 *     if (trainer_step(&trainer, examples, n, &stats, &err)) return -1;    // forward, loss, backward, clip, AdamW
 *     trainer_free(&trainer);
 *
 * A step over n examples runs as micro-batches of at most micro_rows tokens; their size does not change a bit.
 */
#ifndef RAFT_TRAIN_H
#define RAFT_TRAIN_H

#include "loss.h"
#include "ppo_loss.h"

#define NO_TARGET UINT32_MAX

typedef struct {
    const uint32_t *ids; // [length]
    size_t length;
    size_t prompt;       // language model: the loss counts tokens prompt .. length-1 (never token 0)
    const uint32_t *targets; // [length] or NULL: what token t should have been, NO_TARGET = not counted; replaces prompt
    float label;         // score head, logistic loss: 0 or 1
    const PpoAction *actions; // PPO: [length - prompt], of the tokens after the prompt
} Example;

// pairs: examples 2i (chosen) and 2i+1 (rejected), Bradley-Terry; PPO: of a language model with a value head
typedef enum { LOSS_LM, LOSS_LOGISTIC, LOSS_PAIRS, LOSS_PPO } LossKind;
typedef enum { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE } Schedule;

typedef struct {
    double loss, grad_norm, lr;              // loss: mean over targets (or examples, pairs)
    size_t tokens, targets;
    double policy_loss, value_loss, clipped; // LOSS_PPO: loss = policy_loss + vf_coef * value_loss; the share that the clip cut off
} StepStats;

typedef struct Trainer Trainer;
// Who keeps training across a kill (study/state.h). restore, before the first step, may put the trainer where an earlier process
// left it (trainer_continue); save is called after each step, after the progress was told.
typedef struct {
    void *self;
    int (*restore)(void *self, Trainer *trainer, Err *err);
    int (*save)(void *self, const Trainer *trainer, Err *err);
} TrainKeeper;

typedef struct {
    LossKind loss;
    double lr, beta1, beta2, eps, weight_decay;
    double clip;            // largest gradient norm; 0: none
    bool decay_all;         // weight decay on vectors too
    Schedule schedule;
    double warmup;          // fraction of all steps during which the rate rises linearly
    double final_lr;        // fraction of lr at the end of linear and cosine
    size_t steps;           // of the whole schedule; set by train_run
    size_t batch;           // examples a step (pairs count as two)
    size_t epochs;
    size_t micro_rows;      // tokens a micro-batch
    const TrainKeeper *keeper; // NULL: nobody
    PpoCoefficients ppo;    // LOSS_PPO: clips and the weight of the value loss
} TrainOptions;
TrainOptions train_defaults(void);

typedef struct { // LOSS_PPO; of a micro-batch or, where it says so, of the whole step
    PpoAction *actions;
    float *value, *dvalue;
    float *ratio, *policy_loss, *value_loss; // [step_rows] of the step's tokens, in order
    size_t clipped;                          // of the step
} PpoStep;

// What train_run has seen: besides parameters, m, v and the number of steps all that a later step or figure depends on.
typedef struct {
    StepStats total;
    double epoch_loss;   // of the epoch under way: sum of loss * examples
    double epoch_policy_loss, epoch_value_loss, epoch_clipped; // LOSS_PPO: likewise
    size_t epoch_seen;   // and examples (or pairs)
} TrainSums;

struct Trainer {
    Model *model;
    const Compute *cx;
    TrainOptions options;
    Workspace ws;
    LossScratch scratch;
    float *gradient, *m, *v;   // [model->trained_count]
    size_t step;               // steps done
    size_t behind;             // of these, the ones that train_run must still pass over: an earlier process did them
    bool begun;                // the keeper was asked
    TrainSums sums;
    float *lookup;             // [step_rows,D] gradients of the embedded tokens of the whole step, in token order
    uint32_t *lookup_ids;
    size_t step_rows;
    uint32_t *target_row, *target_id;
    float *target_scale, *logprob;  // [step_rows]
    size_t targets_done;
    PpoStep ppo;
};

int trainer_init(Trainer *trainer, Model *model, const Compute *cx, const TrainOptions *options, Err *err);
void trainer_free(Trainer *trainer);
// After parameters, m, v and sums were put back: the next train_run passes over the steps that were done.
void trainer_continue(Trainer *trainer, size_t steps_done);
double train_lr(const TrainOptions *options, size_t step); // of step 0, 1, ...
// A step's parts, for traces and tests: gradient alone, then the update.
int trainer_gradient(Trainer *trainer, const Example *examples, size_t n, StepStats *stats, Err *err);
void trainer_update(Trainer *trainer, StepStats *stats);
int trainer_step(Trainer *trainer, const Example *examples, size_t n, StepStats *stats, Err *err);

// epochs over all examples in Philox order (STREAM_SHUFFLE_TRAIN, c3 iteration = iteration * 1024 + epoch); progress after each
// step, a non-zero return of it stops. Statistics of the whole run: loss is the mean of the last epoch.
typedef int (*TrainProgress)(void *self, size_t step, size_t steps, const StepStats *stats);
int train_run(Trainer *trainer, const Example *examples, size_t n, uint64_t seed, uint32_t iteration, TrainProgress progress,
    void *self, StepStats *total, Err *err);

// Without gradient. logprob[i]: the sum over the counted tokens of example i at temperature 1; token_count may be NULL.
int lm_evaluate(const Model *model, const Compute *cx, const Example *examples, size_t n, float *logprob, size_t *token_count, Err *err);
// logprob[N], value[N] of every counted token, example after example; value may be NULL.
int lm_evaluate_tokens(const Model *model, const Compute *cx, const Example *examples, size_t n, float *logprob, float *value, Err *err);
int score_evaluate(const Model *model, const Compute *cx, const Example *examples, size_t n, float *score, Err *err);

#endif
