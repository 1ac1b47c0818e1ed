// SPDX-License-Identifier: MIT
/* state.h - what a stage of a run needs to go on after a kill: one file, RUN/state/STAGE.safetensors, replaced whole.
 *
 *     RunState state;
 *     if (state_open(&state, &run, "pretrain", 100, &err)) return -1;   // --resume: also reads what an earlier process left
 *     state_keep(&state, (KeptValue){"loss", NULL, &watch.loss});       // whatever else a later line or figure depends on
 *     if (!state.finished) {
 *         options.keeper = &state.keeper;                               // train_run goes on where it was, and saves
 *         if (train_run(&trainer, ...) || checkpoint_save(...) || state_finish(&state, &err)) return -1;
 *     }
 *     state_close(&state);
 *
 * The file holds the parameters that are trained, AdamW's m and v, the step, sums and kept values, and the run's metrics and timing
 * lines so far. A kill at any instant leaves the old file or the new one; work after it is done again and gives the same bits. state_finish
 * leaves a few hundred bytes beside those lines; run_finish removes the folder. That the settings and data are those of the
 * beginning is checked by run.h, for the whole run.
 */
#ifndef RAFT_STUDY_STATE_H
#define RAFT_STUDY_STATE_H

#include "files/safetensors.h"
#include "study/run.h"
#include "train.h"

enum { KEPT_MOST = 32 };
typedef struct { const char *name; size_t *count; double *number; } KeptValue; // one of the two

typedef struct {
    Run *run;
    const char *stage;
    char *path;
    size_t every;           // steps between two saves in training; 0: none
    bool finished, found;   // found: the file holds a stage under way, whose values and arrays can be restored
    TrainKeeper keeper;     // for TrainOptions
    Model *model;           // its parameters are part of the state; NULL: set by the first training
    Trainer *trainer;       // one that goes on from training to training: its m and v are kept between them, too; NULL: none
    const float *scores;    // [score_count] floats that the stage keeps besides; NULL: none
    size_t score_count;
    KeptValue kept[KEPT_MOST];
    size_t kept_count;
    Safetensors file;
    json_t *record;         // of the file
} RunState;

int state_open(RunState *state, Run *run, const char *stage, size_t every, Err *err);
// Values that are saved with the state and put back by state_restore, or by the first training when that comes first.
void state_keep(RunState *state, KeptValue value);
int state_restore(RunState *state, Err *err);  // kept values, parameters of `model`, m and v of `trainer`; only when found
int state_scores(RunState *state, float *scores, size_t n, Err *err);
int state_save(RunState *state, Err *err);     // between trainings: m and v of `trainer` only
int state_finish(RunState *state, Err *err);
void state_close(RunState *state);             // safe on a zeroed state

#endif
