// SPDX-License-Identifier: MIT
/* vectors_decisions.c - the operations of test vectors that draw, choose, rank, cut, count and spell: docs/SPEC.md, sections 4, 10 to 13,
 * 15 to 17. Nearly all of their outputs are whole numbers. */
#include "tests/vectors.h"

#include "files/jsonl.h"
#include "files/unicode.h"
#include "kernels/philox.h"
#include "policy.h"
#include "raft.h"
#include "reward.h"
#include "sample.h"
#include "study/metrics.h"
#include "tokenizer.h"

#include <assert.h>
#include <string.h>

static void must(int status, const Err *err)
{
    if (status) fprintf(stderr, "vectors: %s\n", err->text);
    assert(!status);
}

// ---- Philox --------------------------------------------------------------------------------------------------------------------

static void run_philox(VectorCase *c)
{
    uint32_t out[4];
    philox_block(out, vector_ids(c, "counter", NULL), vector_ids(c, "key", NULL));
    vector_put_ids(c, "words", out, 4);
}

static void run_draw(VectorCase *c)
{
    uint32_t w[4], below[4], n = (uint32_t)vector_size(c, "n");
    float uniform[4], normal[4];
    philox_draw(w, vector_size(c, "seed"), (PhiloxCounter){.c0 = (uint32_t)vector_size(c, "c0"), .c1 = (uint32_t)vector_size(c, "c1"),
        .c2 = (uint32_t)vector_size(c, "c2"), .c3 = philox_stream((PhiloxStream)vector_size(c, "stream"), (uint32_t)vector_size(c, "iteration"))});
    for (size_t i = 0; i < 4; i++) uniform[i] = philox_uniform(w[i]), below[i] = philox_below(w[i], n);
    philox_normals(normal, w[0], w[1]);
    philox_normals(normal + 2, w[2], w[3]);
    vector_put_ids(c, "words", w, 4);
    vector_put_floats(c, "uniform", uniform, 4);
    vector_put_floats(c, "normal", normal, 4);
    vector_put_ids(c, "below", below, 4);
}

static void run_shuffle(VectorCase *c)
{
    size_t n = vector_size(c, "n");
    uint32_t *order = vector_block(c, n, sizeof *order);
    philox_shuffle(order, n, vector_size(c, "seed"), (PhiloxStream)vector_size(c, "stream"), (uint32_t)vector_size(c, "iteration"));
    vector_put_ids(c, "order", order, n);
}

// ---- one token from logits -------------------------------------------------------------------------------------------------------

static void run_choose(VectorCase *c)
{
    size_t vocab, n;
    float *logits = vector_floats(c, "logits", &vocab), *u = vector_floats(c, "u", &n), *logprob = vector_block(c, n, sizeof *logprob);
    float *row = vector_block(c, vocab, sizeof *row);
    uint32_t *token = vector_block(c, n, sizeof *token);
    SampleOptions how = sample_defaults();
    how.temperature = (float)vector_number(c, "temperature", 1), how.top_k = vector_size(c, "top_k"), how.top_p = (float)vector_number(c, "top_p", 1);
    ChoiceScratch scratch;
    must(choice_scratch_init(&scratch, vocab, NULL), NULL);
    for (size_t i = 0; i < n; i++) {
        token[i] = sample_choose(c->cx->k, logits, vocab, &how, u[i], &scratch);
        memcpy(row, logits, vocab * sizeof *row);
        c->cx->k->cross_entropy(row, logprob + i, token + i, NULL, 1, vocab);
    }
    choice_scratch_free(&scratch);
    if (how.temperature > 0) {
        c->cx->k->exp_scaled(row, logits, vocab, how.temperature);
        vector_put_floats(c, "p", row, vocab);
    }
    vector_put_ids(c, "token", token, n);
    vector_put_floats(c, "logprob", logprob, n);
}

// ---- stages and ranking ----------------------------------------------------------------------------------------------------------

static void run_stage(VectorCase *c)
{
    size_t prompts = vector_size(c, "prompts"), b = vector_size(c, "stage"), iterations = vector_size(c, "iterations");
    size_t *chosen = vector_block(c, b, sizeof *chosen);
    uint32_t *order = vector_block(c, prompts, sizeof *order), *all = vector_block(c, b * iterations, sizeof *all);
    for (size_t t = 0; t < iterations; t++) {
        raft_stage_prompts(chosen, b, prompts, t, vector_size(c, "seed"), order);
        for (size_t i = 0; i < b; i++) all[t * b + i] = (uint32_t)chosen[i];
    }
    vector_put_ids(c, "prompt", all, b * iterations);
}

static void run_replay(VectorCase *c)
{
    size_t texts = vector_size(c, "texts"), n = policy_replayed(vector_number(c, "replay", 0), vector_size(c, "chosen")), iterations = vector_size(c, "iterations");
    size_t *dealt = vector_block(c, n, sizeof *dealt);
    uint32_t *order = vector_block(c, texts, sizeof *order), *all = vector_block(c, n * iterations, sizeof *all);
    for (size_t t = 0; t < iterations; t++) {
        philox_deal(dealt, n, t * n, texts, vector_size(c, "seed"), STREAM_REPLAY, order);
        for (size_t i = 0; i < n; i++) all[t * n + i] = (uint32_t)dealt[i];
    }
    vector_put_ids(c, "text", all, n * iterations);
}

static void run_rank(VectorCase *c)
{
    size_t n;
    float *score = vector_floats(c, "score", &n), *ratio = vector_floats(c, "log_ratio", NULL), *reward = vector_block(c, n, sizeof *reward);
    uint32_t *slot = vector_ids(c, "slot", NULL), *rank = vector_block(c, n, sizeof *rank), *selected = vector_block(c, n, sizeof *selected);
    RankOptions how = {.mode = !strcmp(vector_text(c, "mode"), "global") ? RANK_GLOBAL : RANK_LOCAL, .accept = vector_number(c, "accept", 0),
        .kl_beta = vector_number(c, "beta", 0)};
    Candidate *items = vector_block(c, n, sizeof *items);
    CandidateList list = {.items = items, .count = n, .capacity = n};
    Err err = {0};
    for (size_t i = 0, k = 0; i < n; i++) {
        k = i && slot[i] == slot[i - 1] ? k + 1 : 0;
        items[i] = (Candidate){.slot = slot[i], .k = k, .score = score[i], .log_ratio = ratio[i]};
    }
    must(raft_order(&list, &how, vector_size(c, "K"), &err), &err);
    for (size_t i = 0; i < n; i++) reward[i] = items[i].reward, rank[i] = (uint32_t)items[i].rank, selected[i] = items[i].selected;
    vector_put_floats(c, "reward", reward, n);
    vector_put_ids(c, "rank", rank, n);
    vector_put_ids(c, "selected", selected, n);
}

// ---- text ------------------------------------------------------------------------------------------------------------------------

static TextView *views_of(VectorCase *c, const char *key, size_t *n)
{
    const json_t *list = json_object_get(c->in, key);
    TextView *views = vector_block(c, *n = json_array_size(list), sizeof *views);
    for (size_t i = 0; i < *n; i++) views[i] = (TextView){json_string_value(json_array_get(list, i)), json_string_length(json_array_get(list, i))};
    return views;
}

static json_t *ids_of(const Tokenizer *tk, TextView text)
{
    TokenList ids = {0};
    Err err = {0};
    must(tokenizer_encode(tk, &ids, text.bytes, text.length, &err), &err);
    json_t *list = json_ids(ids.ids, ids.length);
    tokens_free(&ids);
    return list;
}

// Learns merges from texts, then encodes others.
static void run_bpe(VectorCase *c)
{
    size_t texts, others, specials;
    TextView *from = views_of(c, "texts", &texts), *encode = views_of(c, "encode", &others), *special = views_of(c, "special", &specials);
    const char **names = vector_block(c, specials, sizeof *names);
    for (size_t i = 0; i < specials; i++) names[i] = special[i].bytes;
    TokenizerTraining how = {.vocab = vector_size(c, "vocab"), .special = names, .special_count = specials,
        .split_digits = vector_size(c, "split_digits"), .min_count = vector_size(c, "min_count")};
    Tokenizer tk;
    Err err = {0};
    must(tokenizer_train(&tk, from, texts, &how, &err), &err);
    json_t *made = json_array(), *ids = json_array();
    for (size_t i = specials + 256; i < tk.vocab; i++) json_array_append_new(made, json_stringn(tk.tokens[i].bytes, tk.tokens[i].length));
    for (size_t i = 0; i < others; i++) json_array_append_new(ids, ids_of(&tk, encode[i]));
    vector_put(c, "made", made);
    vector_put(c, "ids", ids);
    vector_put_hash(c, "tokenizer_hash", tokenizer_hash(&tk));
    tokenizer_free(&tk);
}

static void run_repair(VectorCase *c)
{
    size_t n, repaired = 0;
    uint32_t *bytes = vector_ids(c, "bytes", &n);
    char *raw = vector_block(c, n + 1, 1);
    Text text = {0};
    Err err = {0};
    for (size_t i = 0; i < n; i++) raw[i] = (char)bytes[i];
    must(utf8_repair(&text, raw, n, &repaired, &err), &err);
    vector_put(c, "text", json_stringn(text.data, text.length));
    vector_put(c, "repaired", json_integer((json_int_t)repaired));
    text_free(&text);
}

static void run_numbers(VectorCase *c)
{
    size_t n;
    double *x = vector_doubles(c, "x", &n);
    json_t *spelled = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *value = json_float(x[i]);
        Text text = {0};
        Err err = {0};
        must(json_write(&text, value, &err), &err);
        json_array_append_new(spelled, json_string(text.data));
        text_free(&text);
        json_decref(value);
    }
    vector_put(c, "spelled", spelled);
}

static void run_rewards(VectorCase *c)
{
    size_t n, count;
    TextView *texts = views_of(c, "texts", &n), *specs = views_of(c, "rewards", &count);
    const char **names = vector_block(c, count, sizeof *names);
    RewardInput *inputs = vector_block(c, n, sizeof *inputs);
    float *total = vector_block(c, n, sizeof *total);
    RewardSet set;
    Err err = {0};
    for (size_t i = 0; i < count; i++) names[i] = specs[i].bytes;
    for (size_t i = 0; i < n; i++) inputs[i] = (RewardInput){.prompt = "A film.", .prompt_length = 7, .text = texts[i].bytes, .text_length = texts[i].length};
    must(reward_open(&set, names, count, NULL, c->cx, 1, &err), &err);
    must(reward_score(&set, inputs, n, total, NULL, &err), &err);
    reward_close(&set);
    vector_put_floats(c, "total", total, n);
}

// ---- measures --------------------------------------------------------------------------------------------------------------------

static void put_measure(VectorCase *c, const char *key, Measure m) { vector_put_doubles(c, key, (double[]){m.mean, m.lo, m.hi}, 3); }

static void run_measures(VectorCase *c)
{
    size_t n, cut = vector_size(c, "cut"), segment = vector_size(c, "segment");
    const json_t *lists = json_object_get(c->in, "tokens");
    float *value = vector_floats(c, "value", &n);
    size_t *weight = vector_block(c, n, sizeof *weight), positive = 0;
    TokenList *tokens = vector_block(c, n, sizeof *tokens);
    for (size_t i = 0; i < n; i++) {
        const json_t *list = json_array_get(lists, i);
        for (size_t t = 0; t < json_array_size(list); t++) must(tokens_add(tokens + i, NULL, (uint32_t)json_integer_value(json_array_get(list, t))), NULL);
        weight[i] = tokens[i].length;
        positive += value[i] > 0;
    }
    put_measure(c, "mean", metric_mean(value, n));
    put_measure(c, "rate", metric_rate(positive, n));
    put_measure(c, "ratio", metric_ratio(value, weight, n));
    put_measure(c, "perplexity", metric_perplexity(value, weight, n));
    for (size_t gram = 1; gram <= 2; gram++) {
        Measure distinct, unique;
        char name[24];
        must(metric_distinct(&distinct, tokens, n, gram, cut, vector_size(c, "seed"), NULL), NULL);
        must(metric_unique(&unique, tokens, n, gram, cut, vector_size(c, "seed"), NULL), NULL);
        snprintf(name, sizeof name, "distinct_%zu", gram);
        put_measure(c, name, distinct);
        snprintf(name, sizeof name, "unique_%zu", gram);
        put_measure(c, name, unique);
    }
    Measure msttr;
    must(metric_msttr(&msttr, tokens, n, segment, NULL), NULL);
    put_measure(c, "msttr", msttr);
    for (size_t i = 0; i < n; i++) tokens_free(tokens + i);
}

const VectorOperation vector_decisions[] = {
    {"philox", run_philox}, {"draw", run_draw}, {"shuffle", run_shuffle}, {"choose", run_choose}, {"stage", run_stage}, {"replay", run_replay}, {"rank", run_rank},
    {"bpe", run_bpe}, {"repair", run_repair}, {"numbers", run_numbers}, {"rewards", run_rewards}, {"measures", run_measures}, {NULL, NULL},
};
