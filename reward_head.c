// SPDX-License-Identifier: MIT
/* reward_head.c - a score on the transformer: its training examples, its training, what it says of texts of any length.
 *
 * The losses are in loss.c, the optimisation in train.c; here is what a reward model reads: whole texts, windows of long
 * ones, and prefixes, since in RAFT it must judge reviews that have only begun.
 */
#include "reward_head.h"

#include <assert.h>

#include "files/jsonl.h"
#include "kernels/philox.h"

// ---- examples -----------------------------------------------------------------------------------------------------------------

static int examples_reserve(HeadExamples *data, size_t n, Err *err)
{
    data->texts = mem_new(err, n, sizeof *data->texts);
    data->labels = data->texts ? mem_new(err, n, sizeof *data->labels) : NULL;
    data->count = data->labels ? n : 0;
    return data->labels ? 0 : -1;
}

int head_examples_from_corpus(HeadExamples *data, const Corpus *corpus, const uint32_t *order, size_t n, const Tokenizer *tk, Err *err)
{
    *data = (HeadExamples){0};
    TextView *views = mem_new(err, n, sizeof *views);
    int status = views ? examples_reserve(data, n, err) : -1;
    for (size_t i = 0; !status && i < n; i++) {
        const CorpusItem *item = corpus->items + (order ? order[i] : i);
        if (item->label == LABEL_NONE) status = err_input(err, "%s: has no label (expected positive or negative)", item->id);
        if (!status && !item->length) status = err_input(err, "%s: is empty: a reward head has nothing to read", item->id);
        views[i] = (TextView){item->text, item->length};
        data->labels[i] = item->label == LABEL_POSITIVE ? 1.0f : 0.0f;
    }
    if (!status) status = tokenizer_encode_all(tk, data->texts, views, n, err);
    mem_free(views);
    if (status) head_examples_free(data);
    return status;
}

// prompt + answer as one text, encoded and appended as one more example
static int add_joined(HeadExamples *data, size_t *capacity, const char *prompt, const char *answer, const Tokenizer *tk, const char *where, Err *err)
{
    if (data->count == *capacity) {
        size_t capacity_now = *capacity ? 2 * *capacity : 64;
        TokenList *grown = mem_resize(err, data->texts, data->count, capacity_now, sizeof *grown);
        if (!grown) return -1;
        data->texts = grown;
        *capacity = capacity_now;
    }
    Text text = {0};
    int status = text_puts(&text, err, prompt) || text_puts(&text, err, answer) ? -1 : 0;
    if (!status && tokenizer_encode(tk, &data->texts[data->count], text.data, text.length, err)) status = err_prefix(err, "%s", where);
    if (!status && data->texts[data->count++].length == 0) status = err_input(err, "%s: prompt and answer are empty", where);
    text_free(&text);
    return status;
}

int head_examples_from_pairs(HeadExamples *data, const char *path, const Tokenizer *tk, Err *err)
{
    JsonLines in;
    json_t *line;
    size_t capacity = 0;
    int got;
    *data = (HeadExamples){.pairs = true};
    if (jsonl_open(&in, path, err)) return -1;
    while ((got = jsonl_next(&in, &line, err)) == 1) {
        const char *prompt, *chosen, *rejected;
        bool bad = json_get_text_or(line, "prompt", "", &prompt, in.where, err) || json_get_text(line, "chosen", &chosen, in.where, err) ||
            json_get_text(line, "rejected", &rejected, in.where, err) || add_joined(data, &capacity, prompt, chosen, tk, in.where, err) ||
            add_joined(data, &capacity, prompt, rejected, tk, in.where, err);
        json_decref(line);
        if (bad) {
            got = -1;
            break;
        }
    }
    jsonl_close(&in);
    if (!got && !data->count) got = err_input(err, "%s: no pairs (expected lines with \"chosen\" and \"rejected\")", path);
    if (got) head_examples_free(data);
    return got;
}

void head_examples_free(HeadExamples *data)
{
    for (size_t i = 0; i < data->count; i++) tokens_free(data->texts + i);
    mem_free(data->texts);
    mem_free(data->labels);
    *data = (HeadExamples){0};
}

// ---- training -----------------------------------------------------------------------------------------------------------------

// What is read of text `i` in this epoch, at most `room` tokens. Both texts of a pair are cut by the same draw.
static Example choose_piece(const HeadExamples *data, size_t i, const HeadOptions *how, size_t room, uint32_t epoch)
{
    const TokenList *text = data->texts + i;
    size_t n = text->length, most = n < room ? n : room, start = 0, length = most;
    uint32_t w[4];
    philox_draw(w, how->seed, (PhiloxCounter){.c0 = (uint32_t)(data->pairs ? i / 2 : i), .c3 = philox_stream(STREAM_PREFIX, epoch)});
    if (philox_uniform(w[0]) < (float)how->prefix_share) {
        size_t longest = how->prefix_most && how->prefix_most < most ? how->prefix_most : most;
        size_t least = how->prefix_least < 1 ? 1 : how->prefix_least < longest ? how->prefix_least : longest;
        length = least + philox_below(w[1], (uint32_t)(longest - least + 1));
    } else if (n > most) start = philox_below(w[2], (uint32_t)(n - most + 1));
    return (Example){.ids = text->ids + start, .length = length, .label = data->pairs ? 0 : data->labels[i]};
}

int head_train(Model *model, const Compute *cx, const HeadExamples *data, const HeadOptions *how, const TrainOptions *train,
    TrainProgress progress, void *self, Err *err)
{
    TrainOptions options = *train;
    size_t context = model->config.context, room = how->max_tokens && how->max_tokens < context ? how->max_tokens : context;
    size_t unit = data->pairs ? 2 : 1, batch = options.batch / unit ? options.batch / unit : 1;
    assert(model->config.head == HEAD_SCORE && data->count <= UINT32_MAX);
    options.loss = data->pairs ? LOSS_PAIRS : LOSS_LOGISTIC;
    options.epochs = 1; // a pass at a time: the pieces are drawn anew for each
    if (!options.steps) options.steps = train->epochs * ((data->count / unit + batch - 1) / batch);
    Trainer trainer;
    Example *examples = mem_new(err, data->count, sizeof *examples);
    if (!examples) return -1;
    int status = trainer_init(&trainer, model, cx, &options, err);
    if (!status) {
        for (uint32_t epoch = 0; !status && epoch < train->epochs; epoch++) {
            StepStats total;
            for (size_t i = 0; i < data->count; i++) examples[i] = choose_piece(data, i, how, room, epoch);
            status = train_run(&trainer, examples, data->count, how->seed, epoch, progress, self, &total, err);
        }
        trainer_free(&trainer);
    }
    mem_free(examples);
    return status;
}

// ---- scoring ------------------------------------------------------------------------------------------------------------------

// A text longer than the context is read in the fewest windows that hold it, of nearly equal length.
static size_t window_count(size_t tokens, size_t context) { return (tokens + context - 1) / context; }

int head_score(const Model *model, const Compute *cx, const TokenList *texts, size_t count, float *score, Err *err)
{
    size_t windows = 0, context = model->config.context;
    for (size_t i = 0; i < count; i++) windows += window_count(texts[i].length, context);
    Example *examples = mem_new(err, windows, sizeof *examples);
    float *values = examples ? mem_new(err, windows, sizeof *values) : NULL;
    int status = values ? 0 : -1;
    for (size_t i = 0, w = 0; !status && i < count; i++) {
        size_t n = texts[i].length, parts = window_count(n, context);
        if (!n) status = err_input(err, "text %zu: is empty: a reward head has nothing to read", i);
        for (size_t p = 0; p < parts; p++) {
            size_t from = n * p / parts, to = n * (p + 1) / parts;
            examples[w++] = (Example){.ids = texts[i].ids + from, .length = to - from};
        }
    }
    if (!status) status = score_evaluate(model, cx, examples, windows, values, err);
    for (size_t i = 0, w = 0; !status && i < count; i++) {
        size_t parts = window_count(texts[i].length, context);
        double sum = 0;
        for (size_t p = 0; p < parts; p++) sum += (double)values[w + p] * (double)examples[w + p].length;
        score[i] = parts == 1 ? values[w] : (float)(sum / (double)texts[i].length);
        w += parts;
    }
    mem_free(examples);
    mem_free(values);
    return status;
}

int head_measure(HeadAccuracy *accuracy, const Model *model, const Compute *cx, const HeadExamples *data, Err *err)
{
    size_t n = data->pairs ? data->count / 2 : data->count;
    *accuracy = (HeadAccuracy){.count = n};
    float *score = mem_new(err, data->count, sizeof *score), *slope = score ? mem_new(err, data->count, sizeof *slope) : NULL;
    float *loss = slope ? mem_new(err, data->count, sizeof *loss) : NULL;
    int status = loss ? head_score(model, cx, data->texts, data->count, score, err) : -1;
    if (!status) {
        if (data->pairs) bradley_terry_loss(cx, loss, slope, score, n, 1);
        else logistic_loss(cx, loss, slope, score, data->labels, n, 1);
        for (size_t i = 0; i < n; i++)
            accuracy->correct += data->pairs ? score[2 * i] > score[2 * i + 1] : (score[i] > 0) == (data->labels[i] > 0.5f);
        accuracy->loss = n ? cx->k->sum_array(loss, n) / (double)n : 0;
    }
    mem_free(score);
    mem_free(slope);
    mem_free(loss);
    return status;
}
