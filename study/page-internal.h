// SPDX-License-Identifier: MIT
/* page-internal.h - what every page and section is put together from: beginning and end of a page, the model's words, numbers with
 * intervals, figures, the style sheet (report_style.c). Knows nothing of run directories. */
#ifndef RAFT_STUDY_PAGE_INTERNAL_H
#define RAFT_STUDY_PAGE_INTERNAL_H

#include "files/candidates.h"
#include "study/charts.h"
#include "study/metrics.h"

// A page's beginning, up to <body>; a link of its contents; its end: the file, or the page's error.
void report_head(Html *out, const char *title);
void report_link(Html *out, const char *id, const char *name);
int report_save(Html *page, const char *path, Err *err);

// Pieces of sections.
typedef struct { const char *name; const SampleList *answers; } AnswerColumn;
// The same prompts answered by several models; how many prompts all of them answer (none: nothing is written).
size_t report_answer_columns(Html *out, const AnswerColumn *columns, size_t count);
void report_quote(Html *out, const char *class, const char *text, size_t n); // a model's words; very long ones are cut, and it says so
void report_answer_text(Html *out, const Sample *sample);
void report_duration(Html *out, double seconds);                              // "12.3 s"
void report_count(Html *out, size_t n, const char *noun);                    // "3 prompts"
void report_draw(Html *out, const Chart *chart, const char *note);           // a figure with the chart's title; note may be NULL
void report_interval(Html *out, const Measure *measure, int decimals);       // "[0.1, 0.3]"
void report_measure_cell(Html *out, const Measure *measure, int decimals);   // <td>, a dash when it was not measured
bool report_named_reward(double *value, const Sample *sample, const char *name);

extern const char *const report_style[];                  // lines of CSS; NULL-terminated

#endif
