// SPDX-License-Identifier: MIT
/* heads.c - from a language model to a reward head, and what its rewards are worth on labelled texts. */
#include "study/heads.h"

#include <stdlib.h>

#include "files/checkpoint.h"
#include "kernels/hostmath.h"

int head_model_from(Model *head, const Model *lm, size_t layers, ScorePooling pooling, size_t context, uint64_t seed, Err *err)
{
    ModelConfig config = lm->config;
    *head = (Model){0};
    if (config.head != HEAD_LM) return err_input(err, "a reward head is made from a language model, not from another reward head");
    if (layers > config.layers)
        return err_input(err, "--layers %zu: the language model has %zu only", layers, config.layers);
    config.head = HEAD_SCORE;
    config.value_head = false;
    config.pooling = pooling;
    if (layers) config.layers = layers;
    if (context && context < config.context) config.context = context;
    if (model_init(head, &config, err)) return -1;
    model_randomise(head, seed); // all of it; only score.weight stays
    if (!checkpoint_copy_backbone(head, lm, err)) return 0;
    model_free(head);
    return -1;
}

// ---- half-read texts -------------------------------------------------------------------------------------------------------

static TextView *views_of(const Corpus *corpus, Err *err)
{
    TextView *views = mem_new(err, corpus->count, sizeof *views);
    for (size_t i = 0; views && i < corpus->count; i++) views[i] = (TextView){corpus->items[i].text, corpus->items[i].length};
    return views;
}

// Cut as text and not as ids: a reward reads text, and may split the cut end into other tokens.
int corpus_prefixes(Corpus *prefixes, const Corpus *corpus, const Tokenizer *tk, size_t tokens, Err *err)
{
    size_t n = corpus->count;
    TextView *views = views_of(corpus, err);
    TokenList *lists = views ? mem_new(err, n, sizeof *lists) : NULL;
    int status = lists ? tokenizer_encode_all(tk, lists, views, n, err) : -1;
    for (size_t i = 0; !status && i < n; i++) {
        const CorpusItem *item = corpus->items + i;
        Text text = {0};
        status = lists[i].length <= tokens ? text_add(&text, err, item->text, item->length)
                                           : tokenizer_decode(tk, &text, lists[i].ids, tokens, err);
        if (!status) status = corpus_add(prefixes, item->id, text.data, text.length, item->label, err);
        text_free(&text);
    }
    for (size_t i = 0; lists && i < n; i++) tokens_free(lists + i);
    mem_free(lists);
    mem_free(views);
    return status;
}

// ---- quality ---------------------------------------------------------------------------------------------------------------

static double sigmoid(double x) { return x < 0 ? host_exp(x) / (1 + host_exp(x)) : 1 / (1 + host_exp(-x)); }

static int by_value(const void *left, const void *right)
{
    float a = *(const float *)left, b = *(const float *)right;
    return a < b ? -1 : a > b;
}

// Mann-Whitney: for each positive text the negative ones below it, those level with it counting half. Both sorted ascending.
static double area_under_curve(const float *positive, size_t n, const float *negative, size_t m)
{
    double wins = 0;
    for (size_t i = 0, below = 0, upto = 0; i < n; i++) {
        while (below < m && negative[below] < positive[i]) below++;
        while (upto < m && negative[upto] <= positive[i]) upto++;
        wins += ((double)below + (double)upto) / 2;
    }
    return n && m ? wins / (double)n / (double)m : 0;
}

static void calibrate(RewardQuality *q, const float *reward, const Corpus *corpus)
{
    size_t n = corpus->count;
    for (size_t i = 0; i < n; i++) {
        bool positive = corpus->items[i].label == LABEL_POSITIVE;
        double p = sigmoid(reward[i]), z = positive ? reward[i] : -(double)reward[i];
        size_t bin = (size_t)(p * CALIBRATION_BINS);
        CalibrationBin *b = q->bins + (bin < CALIBRATION_BINS ? bin : CALIBRATION_BINS - 1);
        b->n++;
        b->predicted += p;
        b->observed += positive;
        q->loss += (z < 0 ? -z : 0) + host_log1p(host_exp(z < 0 ? z : -z));
    }
    for (size_t i = 0; i < CALIBRATION_BINS; i++) {
        CalibrationBin *b = q->bins + i;
        if (!b->n) continue;
        double off = (b->predicted - b->observed) / (double)n;
        q->calibration_error += off < 0 ? -off : off;
        b->predicted /= (double)b->n;
        b->observed /= (double)b->n;
    }
    if (n) q->loss /= (double)n;
}

int reward_quality(RewardQuality *q, const float *reward, const Corpus *corpus, Err *err)
{
    size_t n = corpus->count, positives = 0, negatives = 0, correct = 0;
    *q = (RewardQuality){0};
    float *positive = mem_new(err, n, sizeof *positive), *negative = positive ? mem_new(err, n, sizeof *negative) : NULL;
    int status = negative ? 0 : -1;
    for (size_t i = 0; !status && i < n; i++) {
        const CorpusItem *item = corpus->items + i;
        if (item->label == LABEL_NONE) status = err_input(err, "%s: has no label (expected positive or negative)", item->id);
        else if (item->label == LABEL_POSITIVE) positive[positives++] = reward[i];
        else negative[negatives++] = reward[i];
        correct += (reward[i] > 0) == (item->label == LABEL_POSITIVE);
    }
    if (!status) {
        q->accuracy = metric_rate(correct, n);
        q->positive = metric_mean(positive, positives);
        q->negative = metric_mean(negative, negatives);
        qsort(positive, positives, sizeof *positive, by_value);
        qsort(negative, negatives, sizeof *negative, by_value);
        q->auc = area_under_curve(positive, positives, negative, negatives);
        calibrate(q, reward, corpus);
    }
    mem_free(positive);
    mem_free(negative);
    return status;
}

int head_quality(RewardQuality *quality, const Model *head, const Compute *cx, const Corpus *corpus, const Tokenizer *tk, Err *err)
{
    size_t n = corpus->count;
    TextView *views = views_of(corpus, err);
    TokenList *lists = views ? mem_new(err, n, sizeof *lists) : NULL;
    float *reward = lists ? mem_new(err, n, sizeof *reward) : NULL;
    int status = reward ? tokenizer_encode_all(tk, lists, views, n, err) : -1;
    if (!status) status = head_score(head, cx, lists, n, reward, err);
    if (!status) status = reward_quality(quality, reward, corpus, err);
    for (size_t i = 0; lists && i < n; i++) tokens_free(lists + i);
    mem_free(reward);
    mem_free(lists);
    mem_free(views);
    return status;
}

json_t *quality_json(const RewardQuality *q)
{
    json_t *bins = json_array();
    for (size_t i = 0; i < CALIBRATION_BINS; i++) {
        const CalibrationBin *b = q->bins + i;
        json_t *predicted = b->n ? json_float(b->predicted) : json_null(), *observed = b->n ? json_float(b->observed) : json_null();
        json_array_append_new(bins, json_pack("{s:I,s:o,s:o}", "n", (json_int_t)b->n, "predicted", predicted, "observed", observed));
    }
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "accuracy", measure_json(&q->accuracy, true), "auc", json_float(q->auc), "loss",
        json_float(q->loss), "positive_reward", measure_json(&q->positive, true), "negative_reward", measure_json(&q->negative, true),
        "calibration_error", json_float(q->calibration_error), "calibration", bins);
}
