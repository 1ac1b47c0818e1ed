// SPDX-License-Identifier: MIT
/* metrics.c - measures of text and reward with 95 % intervals. Knows token ids and numbers, no model and no files. */
#include "study/metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/hostmath.h"
#include "kernels/philox.h"

static const double Z = 1.96; // 97.5 % point of the normal distribution, as everyone rounds it

// ---- means, rates, ratios ------------------------------------------------------------------------------------------------------

json_t *measure_json(const Measure *m, bool with_count)
{
    json_t *object = json_pack("{s:o,s:o,s:o}", "mean", json_float(m->mean), "lo", json_float(m->lo), "hi", json_float(m->hi));
    if (!with_count || !json_object_set_new(object, "n", json_integer((json_int_t)m->n))) return object;
    json_decref(object);
    return NULL;
}

Measure metric_between(const Measure *a, const Measure *b, double share)
{
    if (!a->n || !b->n) return (Measure){0};
    return (Measure){a->mean + (b->mean - a->mean) * share, a->lo + (b->lo - a->lo) * share, a->hi + (b->hi - a->hi) * share,
        a->n < b->n ? a->n : b->n};
}

Measure metric_mean(const float *values, size_t n)
{
    if (!n) return (Measure){0};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += values[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (values[i] - mean) * (values[i] - mean);
    double margin = n > 1 ? Z * host_sqrt(squares / (double)(n - 1) / (double)n) : 0;
    return (Measure){.mean = mean, .lo = mean - margin, .hi = mean + margin, .n = n};
}

// Wilson 1927: holds at 0 and 1, where the normal interval has no width.
Measure metric_rate(size_t hits, size_t n)
{
    if (!n) return (Measure){0};
    double count = (double)n, p = (double)hits / count, z2 = Z * Z;
    double centre = (p + z2 / (2 * count)) / (1 + z2 / count);
    double margin = Z / (1 + z2 / count) * host_sqrt(p * (1 - p) / count + z2 / (4 * count * count));
    Measure m = {.mean = p, .lo = centre - margin, .hi = centre + margin, .n = n};
    if (!hits || m.lo < 0) m.lo = 0; // the exact bounds, which rounding misses by an ulp
    if (hits == n || m.hi > 1) m.hi = 1;
    return m;
}

// var(sum y / sum w) ~ sum (y - r w)^2 / (n (n-1) mean(w)^2), n: observations
Measure metric_ratio_by_prompt(const float *value, const size_t *weight, const size_t *prompt, size_t n)
{
    double sum = 0, weights = 0, squares = 0, off = 0, prompts = 0;
    for (size_t i = 0; i < n; i++) {
        sum += value[i];
        weights += weight ? (double)weight[i] : 1;
    }
    if (!(weights > 0)) return (Measure){0};
    double ratio = sum / weights;
    for (size_t i = 0; i < n; i++) {
        off += value[i] - ratio * (weight ? (double)weight[i] : 1);
        if (prompt && i + 1 < n && prompt[i + 1] == prompt[i]) continue;
        squares += off * off;
        off = 0;
        prompts++;
    }
    double mean_weight = weights / prompts;
    double margin = prompts > 1 ? Z * host_sqrt(squares / prompts / (prompts - 1)) / mean_weight : 0;
    return (Measure){.mean = ratio, .lo = ratio - margin, .hi = ratio + margin, .n = n};
}

Measure metric_ratio(const float *value, const size_t *weight, size_t n) { return metric_ratio_by_prompt(value, weight, NULL, n); }

Measure metric_perplexity_of(Measure m)
{
    return m.n ? (Measure){.mean = host_exp(-m.mean), .lo = host_exp(-m.hi), .hi = host_exp(-m.lo), .n = m.n} : m;
}

Measure metric_perplexity(const float *logprob, const size_t *tokens, size_t n) { return metric_perplexity_of(metric_ratio(logprob, tokens, n)); }

// 97.5 % points of Student's t with 1, 2, ... degrees of freedom (Student 1908; any table)
static double student(size_t freedom)
{
    static const double points[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131};
    size_t known = sizeof points / sizeof *points;
    return freedom <= known ? points[freedom - 1] : 1.96 + 2.5 / (double)freedom; // within 0.5 % from 16 on
}

Measure metric_over_runs(const Measure *runs, size_t n)
{
    double mean = 0, between = 0, low = 0, high = 0, count = (double)n;
    size_t samples = 0;
    for (size_t i = 0; i < n; i++) {
        mean += runs[i].mean / count;
        samples += runs[i].n;
        if (!runs[i].n) return (Measure){0};
    }
    if (n == 1) return *runs;
    for (size_t i = 0; i < n; i++) {
        between += (runs[i].mean - mean) * (runs[i].mean - mean);
        low += (runs[i].mean - runs[i].lo) * (runs[i].mean - runs[i].lo) / count;
        high += (runs[i].hi - runs[i].mean) * (runs[i].hi - runs[i].mean) / count;
    }
    between = student(n - 1) * host_sqrt(between / (count - 1) / count);
    between *= between;
    return (Measure){.mean = mean, .lo = mean - host_sqrt(low + between), .hi = mean + host_sqrt(high + between), .n = samples};
}

// ---- n-grams -------------------------------------------------------------------------------------------------------------------

enum { NGRAM_MAX = 4, DRAWS = 200 };

typedef struct { uint32_t tokens[NGRAM_MAX]; size_t index; } Ngram; // unused tokens are zero

static int by_tokens(const void *left, const void *right)
{
    const Ngram *a = left, *b = right;
    for (size_t i = 0; i < NGRAM_MAX; i++)
        if (a->tokens[i] != b->tokens[i]) return a->tokens[i] < b->tokens[i] ? -1 : 1;
    return 0;
}

typedef struct {
    uint32_t *type;   // [start[count]] which type each n-gram is, sample after sample
    size_t *start;    // [count + 1]
    uint32_t *seen;   // [types] occurrences in the draw at hand
    size_t types, count;
    bool once;        // count the types that occur once, not all types
} NgramTable;

static size_t sample_ngrams(const TokenList *sample, size_t n, size_t cut)
{
    size_t length = cut && cut < sample->length ? cut : sample->length;
    return length < n ? 0 : length - n + 1;
}

// Numbers the types 0, 1, ... so that a draw only counts.
static int table_init(NgramTable *t, const TokenList *samples, size_t count, size_t n, size_t cut, Err *err)
{
    *t = (NgramTable){.count = count};
    if (!(t->start = mem_new(err, count + 1, sizeof *t->start))) return -1;
    for (size_t i = 0; i < count; i++) t->start[i + 1] = t->start[i] + sample_ngrams(samples + i, n, cut);
    size_t all = t->start[count];
    t->type = mem_new(err, all, sizeof *t->type);
    t->seen = t->type ? mem_new(err, all, sizeof *t->seen) : NULL;
    Ngram *ngrams = t->seen ? mem_new(err, all, sizeof *ngrams) : NULL;
    if (!ngrams) return -1;
    for (size_t i = 0; i < count; i++)
        for (size_t at = t->start[i]; at < t->start[i + 1]; at++) {
            memcpy(ngrams[at].tokens, samples[i].ids + (at - t->start[i]), n * sizeof *ngrams[at].tokens);
            ngrams[at].index = at;
        }
    qsort(ngrams, all, sizeof *ngrams, by_tokens);
    for (size_t i = 0; i < all; i++) {
        if (!i || by_tokens(ngrams + i - 1, ngrams + i)) t->types++;
        t->type[ngrams[i].index] = (uint32_t)(t->types - 1);
    }
    mem_free(ngrams);
    return 0;
}

static void table_free(NgramTable *t)
{
    mem_free(t->type);
    mem_free(t->start);
    mem_free(t->seen);
}

// The measure over the samples drawn[0 .. count), or over all when drawn is NULL.
static double table_share(NgramTable *t, const uint32_t *drawn)
{
    size_t total = 0, wanted = 0;
    memset(t->seen, 0, t->types * sizeof *t->seen);
    for (size_t i = 0; i < t->count; i++) {
        size_t sample = drawn ? drawn[i] : i;
        for (size_t at = t->start[sample]; at < t->start[sample + 1]; at++, total++) {
            uint32_t seen = t->seen[t->type[at]]++;
            if (seen == 0) wanted++;
            else if (seen == 1 && t->once) wanted--;
        }
    }
    return total ? (double)wanted / (double)total : 0;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static int bootstrap(Measure *out, NgramTable *t, uint64_t seed, Err *err)
{
    double shares[DRAWS], mean = 0;
    uint32_t *drawn = mem_new(err, t->count, sizeof *drawn), words[4];
    if (!drawn) return -1;
    for (uint32_t draw = 0; draw < DRAWS; draw++) {
        for (size_t i = 0; i < t->count; i++) {
            philox_draw(words, seed, (PhiloxCounter){.c0 = (uint32_t)i, .c1 = draw, .c3 = philox_stream(STREAM_BOOTSTRAP, 0)});
            drawn[i] = philox_below(words[0], (uint32_t)t->count);
        }
        shares[draw] = table_share(t, drawn);
        mean += shares[draw] / DRAWS;
    }
    mem_free(drawn);
    qsort(shares, DRAWS, sizeof *shares, by_value);
    out->lo = shares[DRAWS / 40] + (out->mean - mean);
    out->hi = shares[DRAWS - 1 - DRAWS / 40] + (out->mean - mean);
    if (out->lo < 0) out->lo = 0;
    if (out->hi > 1) out->hi = 1;
    return 0;
}

static int ngram_share(Measure *out, const TokenList *samples, size_t count, size_t n, size_t cut, bool once, uint64_t seed,
    Err *err)
{
    NgramTable table;
    assert(n >= 1 && n <= NGRAM_MAX && (uint64_t)count <= UINT32_MAX);
    *out = (Measure){0};
    int status = table_init(&table, samples, count, n, cut, err);
    if (!status && table.start[count]) {
        table.once = once;
        out->n = count;
        out->mean = table_share(&table, NULL);
        status = bootstrap(out, &table, seed, err);
    }
    table_free(&table);
    return status;
}

int metric_distinct(Measure *out, const TokenList *samples, size_t count, size_t n, size_t cut, uint64_t seed, Err *err)
{
    return ngram_share(out, samples, count, n, cut, false, seed, err);
}

int metric_unique(Measure *out, const TokenList *samples, size_t count, size_t n, size_t cut, uint64_t seed, Err *err)
{
    return ngram_share(out, samples, count, n, cut, true, seed, err);
}

// ---- segments ------------------------------------------------------------------------------------------------------------------

static int by_id(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

int metric_msttr(Measure *out, const TokenList *samples, size_t count, size_t segment, Err *err)
{
    size_t all = 0, segments = 0, filled = 0;
    assert(segment > 0);
    for (size_t i = 0; i < count; i++) all += samples[i].length;
    *out = (Measure){0};
    uint32_t *ids = mem_new(err, segment, sizeof *ids);
    float *ratios = ids ? mem_new(err, all / segment, sizeof *ratios) : NULL;
    for (size_t i = 0; ratios && i < count; i++)
        for (size_t j = 0; j < samples[i].length; j++) {
            ids[filled++] = samples[i].ids[j];
            if (filled < segment) continue; // a last, shorter segment is left out: short texts repeat less
            qsort(ids, segment, sizeof *ids, by_id);
            size_t types = 1;
            for (size_t k = 1; k < segment; k++) types += ids[k] != ids[k - 1];
            ratios[segments++] = (float)((double)types / (double)segment);
            filled = 0;
        }
    if (ratios) *out = metric_mean(ratios, segments);
    mem_free(ids);
    mem_free(ratios);
    return ratios ? 0 : -1;
}
