// SPDX-License-Identifier: MIT
/* report-internal.h - a run directory in memory (report_files.c) and the sections of its page: report_story.c (the three steps),
 * report_measures.c (tables and charts of numbers), report_overdone.c, report_answers.c, report_spreads.c, report_bound.c,
 * report_heads.c, report_provenance.c; report.c puts them in order. */
#ifndef RAFT_STUDY_REPORT_INTERNAL_H
#define RAFT_STUDY_REPORT_INTERNAL_H

#include "files/jsonl.h"
#include "study/page-internal.h"

// Every measure the page knows, once: reading, tables and charts follow this table.
typedef enum {
    MEASURE_REWARD, MEASURE_GOLD, MEASURE_GOLD_PROBABILITY, MEASURE_POSITIVE, MEASURE_PERPLEXITY, MEASURE_KL, MEASURE_DISTINCT_2, MEASURE_LENGTH,
    MEASURE_SAMPLE_PERPLEXITY, MEASURE_KL_PER_TOKEN, MEASURE_DISTINCT_1, MEASURE_UNIQUE_1, MEASURE_UNIQUE_2, MEASURE_MSTTR,
    MEASURES, MAIN_MEASURES = MEASURE_SAMPLE_PERPLEXITY // the first so many stand in the main table
} MeasureKind;
typedef struct {
    const char *key, *heading;
    int decimals;
    const char *title, *unit, *note; // of its chart; title NULL: none
    bool from_zero, unit_range;
} MeasureSpec;
extern const MeasureSpec measure_specs[MEASURES];

// A line of metrics.jsonl with "iteration"; a measure that is absent has n == 0.
typedef struct {
    size_t iteration, samples;
    bool counted, timed;        // the two below are told by the run's files
    double generated, seconds;  // tokens drawn to learn from, and seconds of work without measuring, until there
    Measure measures[MEASURES];
    bool trained, ppo;          // told of the iteration that led there; it was one of PPO
    bool has_stage_kl;          // p0 was asked about its candidates
    size_t candidates, selected, trained_tokens;
    double stage_reward, selected_reward, stage_kl, loss;
    double policy_loss, value_loss, clipped, kl_coef; // of PPO
    char stopped[24];           // the monitor that ended the run here, or empty
} IterationRow;
typedef struct { char *stage; ChartPoint *points; size_t count; } Curve; // lines with "stage" and "step": the loss by step
typedef struct { char *stage; double seconds, tokens; size_t times; } StageTime;
typedef struct { double sample_seconds, learn_seconds; } IterationTime;
// The candidates of iter_NNN: their numbers, [count] in the file's order, and some of them whole.
typedef struct {
    size_t iteration, count, slots, kept;
    size_t tokens;         // drawn by the policy
    float *rewards;
    uint32_t *slot;
    bool *selected, *own;  // own: drawn by the policy and by no expert
    SampleList shown;      // the first `group`: those of the first prompt or, where each prompt has one only, of the first few;
    size_t group;          // when none of these was kept, the first one that was follows
} RankedStage;
enum { EXAMPLE_PROMPTS = 8 };

typedef struct {
    const char *arm;            // whose run it is, where several stand side by side; NULL: the only one
    IterationRow *rows;
    Curve *curves;
    StageTime *times;
    RankedStage *stages;
    IterationTime *seconds;     // of each iteration
    size_t row_count, curve_count, time_count, stage_count, seconds_count, unknown_lines;
    SampleList before, after;   // answers to the evaluation prompts; both or none
    json_t *heads, *provenance; // NULL: the run has no such file
    Text settings;              // settings.conf as it is
    bool has_settings;
} RunFiles;
int run_files_read(RunFiles *files, const char *folder, Err *err);
void run_files_free(RunFiles *files);
int report_read_measures(IterationRow *row, const json_t *line, const char *where, Err *err); // those of measure_specs
int report_read_iteration(RunFiles *files, const json_t *line, const char *where, Err *err);   // adds a row; lines come in order
int report_read_samples(SampleList *list, const char *folder, const char *name, Err *err);     // left empty when there is no such file
void *report_list_add(void *items_pointer, size_t *count, size_t size, Err *err); // one more zeroed item of a growing array

double report_best_of_kl(size_t K); // nats from a model to the best of K of its answers, no two of which tie: log K - (K-1)/K
size_t report_spaced(size_t i, size_t shown, size_t count); // which of `count` is the i-th shown: equally far apart, first and last among them
void report_stage_means(double *all, double *kept, const RankedStage *stage); // rewards of all candidates, of the kept ones; 0: of none

// Sections. Each writes nothing but its heading and a sentence when the run does not hold what it tells of.
void report_story(Html *out, const RunFiles *files);      // the three steps, with a prompt and its candidates
void report_answers(Html *out, const RunFiles *files);    // the same prompts before and after
void report_spreads(Html *out, const RunFiles *files);    // candidate rewards, an iteration each
void report_bound(Html *out, const RunFiles *files);      // E max_k r: measured, and at most
void report_shown_arm(Html *out, const RunFiles *files);  // a note, where there is more than one
void report_overdone(Html *out, const RunFiles *files);   // proxy and gold over KL, the best checkpoint, monitors
void report_summary(Html *out, const RunFiles *files);    // what changed, in figures
void report_charts(Html *out, const RunFiles *files);
void report_table(Html *out, const RunFiles *files);
void report_heads(Html *out, const RunFiles *files);
void report_training(Html *out, const RunFiles *files);   // loss by step

// From provenance.json's options, those of the align stage first; NULL or false: not told.
const char *run_option(const RunFiles *files, const char *key);
bool run_number(const RunFiles *files, const char *key, double *value);
bool report_is_global(const RunFiles *files);             // ranks all candidates of a stage together
bool report_is_ppo(const RunFiles *files);                // by what its metrics hold, or by its settings
bool report_is_tempered(const RunFiles *files);           // by its settings:
bool sampling_is_tempered(double temperature, double top_k, double top_p); // another temperature than 1, top-k or top-p: log p/p0 is no KL

void report_provenance(Html *out, const RunFiles *files);
const char *report_provenance_text(const RunFiles *files, const char *key);

#endif
