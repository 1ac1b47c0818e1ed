// SPDX-License-Identifier: MIT
/* generate.c - raft generate: continue one prompt, given as text or as token ids. */
#include "commands/commands.h"
#include "commands/learning.h"
#include "study/streaming.h"
#include "commands/training.h"
#include "files/checkpoint.h"
#include "sample.h"
#include "study/progress.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    Model model;
    Tokenizer tokenizer;
    bool has_tokenizer; // with --ids a checkpoint may come without
    TokenList prompt;
    Sampled *answers;   // [samples]
    size_t samples;
    bool begins_text;   // nothing but the token that begins a text stands before the answer
    TextStream stream;  // of a single answer as text
    size_t streamed;    // tokens
    Err *stream_err;
} Generation;

static bool has_file(const char *folder, const char *name, Err *err)
{
    char *path = os_join(err, folder, name);
    bool found = path && os_is_file(path);
    mem_free(path);
    return found;
}

static int load(Generation *g, const char *folder, const Options *o, Err *err)
{
    if (checkpoint_load(&g->model, folder, err)) return -1;
    if (g->model.config.head != HEAD_LM) return err_input(err, "%s: a reward model generates no text", folder);
    if (o->ids && !o->tokenizer && !has_file(folder, "tokenizer.json", err)) return 0;
    if (o->tokenizer ? tokenizer_load(&g->tokenizer, o->tokenizer, err)
                     : checkpoint_load_tokenizer(&g->tokenizer, folder, &g->model.config, err))
        return -1;
    g->has_tokenizer = true;
    if (g->tokenizer.vocab <= g->model.config.vocab) return 0;
    return err_input(err, "%s: %zu tokens, but the model has a vocabulary of %zu", o->tokenizer, g->tokenizer.vocab,
        g->model.config.vocab);
}

static int read_prompt(Generation *g, const Options *o, Err *err)
{
    const ModelConfig *c = &g->model.config;
    if (o->ids) {
        if (parse_ids(&g->prompt, o->ids, err)) return -1;
        for (size_t i = 0; i < g->prompt.length; i++)
            if (g->prompt.ids[i] >= c->vocab)
                return err_input(err, "--ids: id %u is outside the vocabulary of %zu", (unsigned)g->prompt.ids[i], c->vocab);
        return 0;
    }
    if (tokenizer_encode_prompt(&g->tokenizer, &g->prompt, o->prompt, strlen(o->prompt), err)) return err_prefix(err, "--prompt");
    g->begins_text = !*o->prompt;
    if (g->prompt.length) return 0;
    int64_t first = c->bos >= 0 ? c->bos : c->eos; // an empty prompt: what stands before a text
    if (first < 0) return err_input(err, "--prompt: empty, and the model has no token that begins a text");
    return tokens_add(&g->prompt, err, (uint32_t)first);
}

// A SampleProgress that prints what has come.
static int print_new_tokens(void *generation, size_t tokens, size_t done, size_t total)
{
    Generation *g = generation;
    (void)tokens, (void)done, (void)total;
    int status = 0;
    for (; !status && g->streamed < g->answers->length; g->streamed++)
        status = stream_token(&g->stream, g->answers->ids[g->streamed], g->stream_err);
    return status;
}

static bool is_streamed(const Generation *g, const Options *o) { return g->has_tokenizer && o->samples == 1 && !o->json; }

static int generate(Generation *g, const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    SampleOptions how = sample_defaults();
    SamplePrompt prompt = {.ids = g->prompt.ids, .length = g->prompt.length, .slot = 0};
    if (o->top_k > g->model.config.vocab)
        return err_input(err, "--top-k %zu: the vocabulary has %zu tokens", o->top_k, g->model.config.vocab);
    how.samples = g->samples = o->samples;
    how.max_new = o->max_new;
    how.temperature = (float)o->temperature;
    how.top_k = o->top_k;
    how.top_p = (float)o->top_p;
    how.stop = o->stop;
    how.eos = g->model.config.eos;
    how.seed = o->seed;
    how.batch = o->sample_batch;
    if (!(g->answers = mem_new(err, g->samples, sizeof *g->answers))) return -1;
    const Tokenizer *tk = g->has_tokenizer ? &g->tokenizer : NULL;
    if (!is_streamed(g, o)) return sample_generate(g->answers, &g->model, &cx->compute, tk, &prompt, 1, &how, NULL, NULL, err);
    stream_start(&g->stream, stdout, tk, o->stop, g->begins_text);
    g->stream_err = err;
    int status = sample_generate(g->answers, &g->model, &cx->compute, tk, &prompt, 1, &how, print_new_tokens, g, err);
    if (stream_end(&g->stream, err)) status = -1;
    if (!status) putchar('\n');
    return status;
}

// ---- printing --------------------------------------------------------------------------------------------------------------

// NULL when memory is exhausted, which print_json reports; every jansson constructor passes it on.
static json_t *float_list(const float *values, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        if (json_array_append_new(list, json_float(values[i]))) return json_decref(list), NULL;
    return list;
}

// The answer's text; of one that begins a text, without the space that SentencePiece puts first.
static int answer_text(Text *text, const Generation *g, const Sampled *answer, const Options *o, Err *err)
{
    if (sample_text(text, &g->tokenizer, answer->ids, answer->length, o->stop, err)) return -1;
    if (!g->begins_text || g->tokenizer.split != SPLIT_SENTENCEPIECE || !text->length || *text->data != ' ') return 0;
    memmove(text->data, text->data + 1, text->length--);
    return 0;
}

static int answer_json(json_t **value, const Generation *g, const Sampled *answer, const Options *o, Err *err)
{
    Text text = {0};
    if (g->has_tokenizer && answer_text(&text, g, answer, o, err)) return text_free(&text), -1;
    json_t *string = g->has_tokenizer ? json_stringn(text.data ? text.data : "", text.length) : json_null();
    *value = json_pack("{s:o,s:o,s:o}", "text", string, "ids", json_ids(answer->ids, answer->length), "logprobs",
        float_list(answer->logprobs, answer->length));
    text_free(&text);
    return 0;
}

static int print_all_json(const Generation *g, const Options *o, Err *err)
{
    json_t *answer = NULL, *list = json_array();
    int status = 0;
    for (size_t k = 0; !status && k < g->samples; k++) {
        status = answer_json(&answer, g, &g->answers[k], o, err);
        if (!status && json_array_append_new(list, answer)) status = err_failed(err, "out of memory while building JSON");
    }
    if (!status) status = print_json(g->samples == 1 ? json_incref(answer) : json_pack("{s:O}", "samples", list), err);
    json_decref(list);
    return status;
}

// The text as it is, ids where there is no tokenizer; several answers are numbered.
static int print_text(const Generation *g, const Options *o, Err *err)
{
    int status = 0;
    if (is_streamed(g, o)) return 0; // it is there already
    for (size_t k = 0; !status && k < g->samples; k++) {
        const Sampled *answer = &g->answers[k];
        Text text = {0};
        if (g->samples > 1) printf("--- %zu\n", k);
        if (g->has_tokenizer) status = answer_text(&text, g, answer, o, err);
        for (size_t t = 0; !g->has_tokenizer && !status && t < answer->length; t++)
            status = text_printf(&text, err, "%s%u", t ? "," : "", (unsigned)answer->ids[t]);
        if (!status && text.length) fwrite(text.data, 1, text.length, stdout);
        putchar('\n');
        text_free(&text);
    }
    return status;
}

static int run(CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    Generation g = {0};
    if (cx->word_count != 1)
        return err_input(err, "generate: expected one checkpoint folder, found %zu (a prompt is given with --prompt)", cx->word_count);
    if (!o->prompt == !o->ids) return err_input(err, "generate: give --prompt TEXT or --ids N,N,..., one of the two");
    int status = load(&g, cx->words[0], o, err) || read_prompt(&g, o, err) || generate(&g, cx, err) ||
        (o->json ? print_all_json(&g, o, err) : print_text(&g, o, err));
    if (g.answers) sampled_free(g.answers, g.samples);
    mem_free(g.answers);
    tokens_free(&g.prompt);
    tokenizer_free(&g.tokenizer);
    model_free(&g.model);
    return status ? -1 : 0;
}

const Command command_generate = {
    .name = "generate",
    .operands = "CKPT",
    .summary = "text from a prompt",
    .groups = OPT_COMMON | OPT_PROMPT | OPT_SAMPLE,
    .except = "output force",
    .defaults = "samples=1 max-new=64",
    .help = "generate CKPT --prompt TEXT prints what follows the prompt; --temperature 0 takes the likeliest token each time.\n"
            "generate CKPT --ids 5,7,9 needs no tokenizer. --json prints {\"text\",\"ids\",\"logprobs\"} of the new tokens, log-probabilities\n"
            "at temperature 1; with --samples above 1, {\"samples\":[...]}.",
    .needs_compute = true,
    .run = run,
};
