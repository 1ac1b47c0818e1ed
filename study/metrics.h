// SPDX-License-Identifier: MIT
/* metrics.h - measures of text and reward, each with a 95 % interval.
 *
 *     Measure m = metric_mean(values, n);          // m.mean, m.lo, m.hi
 *     Measure d = metric_distinct(samples, count, 2, seed, &err);
 *
 * Intervals: mean: +-1.96 standard errors; rate: Wilson's score interval; perplexity: exp of the interval of the mean token
 * loss, by text; distinct-n and unique-n: bootstrap over samples (STREAM_BOOTSTRAP, 200 draws), its percentiles moved so that
 * the draws' mean lies on the estimate: a draw repeats samples and so always holds fewer types. Sums in double, in index
 * order. Nothing to measure gives n == 0.
 */
#ifndef RAFT_STUDY_METRICS_H
#define RAFT_STUDY_METRICS_H

#include "files/jsonl.h"

typedef struct { double mean, lo, hi; size_t n; } Measure;

json_t *measure_json(const Measure *measure, bool with_count); // {"mean","lo","hi"}, and "n"; NULL: out of memory, or no number

Measure metric_between(const Measure *a, const Measure *b, double share); // on the straight line from a to b; n == 0: one is missing
Measure metric_mean(const float *values, size_t n);
Measure metric_rate(size_t hits, size_t n);
// sum value / sum weight over samples (KL per token); the interval by the delta method over samples (ratio estimator).
Measure metric_ratio(const float *value, const size_t *weight, size_t n);
// The same where values are not independent, as several answers to one prompt: those of one prompt follow each other with the same
// number in `prompt` and are one observation of the interval. weight NULL: all 1, a mean.
Measure metric_ratio_by_prompt(const float *value, const size_t *weight, const size_t *prompt, size_t n);
Measure metric_perplexity_of(Measure ratio); // of log-probabilities to tokens
// exp(-sum logprob / sum tokens) over texts; the interval by the delta method over texts (ratio estimator).
Measure metric_perplexity(const float *logprob, const size_t *tokens, size_t n);
/* One measure of several runs that differ in their seed only, on the same prompts. The interval joins what seeds do (Student's t
 * of the runs' means) and what prompts do (the runs' own half-widths, root mean square: sharing prompts, they do not average
 * out), as the root of the sum of squares. One run: its own interval. */
Measure metric_over_runs(const Measure *runs, size_t n);
// Token n-grams within samples: distinct types / all n-grams, every sample cut to `cut` tokens (0: the whole) so that arms compare.
int metric_distinct(Measure *out, const TokenList *samples, size_t count, size_t n, size_t cut, uint64_t seed, Err *err);
// Share of n-grams that occur exactly once.
int metric_unique(Measure *out, const TokenList *samples, size_t count, size_t n, size_t cut, uint64_t seed, Err *err);
// Mean segmental type-token ratio over segments of 100 tokens of the samples' concatenation.
int metric_msttr(Measure *out, const TokenList *samples, size_t count, size_t segment, Err *err);

#endif
