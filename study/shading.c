// SPDX-License-Identifier: MIT
/* shading.c - log-probabilities of single tokens, and which part of an answer's text each token is. Start reading at
 * shade_answers. */
#include "study/shading.h"

#include <string.h>

#include "policy.h"

// Bytes of text that the tokens decode to so far; a character that the next token completes does not count yet.
static size_t agreed(const char *text, size_t length, const char *decoded, size_t decoded_length)
{
    size_t n = 0;
    while (n < length && n < decoded_length && text[n] == decoded[n]) n++;
    while (n && n < length && ((unsigned char)text[n] & 0xC0) == 0x80) n--;
    return n;
}

// The text of the first tokens is decoded again for each of them: answers are short, and only a few are shaded.
static int find_ends(Sample *s, const Tokenizer *tokenizer, const char *stop, Err *err)
{
    int status = 0;
    for (size_t t = 0, end = 0; !status && t < s->tokens.length; t++) {
        Text decoded = {0};
        status = sample_text(&decoded, tokenizer, s->tokens.ids, t + 1, stop, err);
        size_t now = agreed(s->text, s->text_length, decoded.data, decoded.length);
        s->values[t].end = end = now > end ? now : end;
        text_free(&decoded);
    }
    return status;
}

static int measure(float *logprob, const ExampleList *list, const Model *model, const Compute *cx, Err *err)
{
    return lm_evaluate_tokens(model, cx, list->examples, list->count, logprob, NULL, err);
}

static int shade(Sample **chosen, size_t n, const Model *model, const Model *reference, const Compute *cx, Err *err)
{
    ExampleList list;
    size_t tokens = 0, at = 0;
    for (size_t i = 0; i < n; i++) tokens += chosen[i]->tokens.length;
    float *logprob = mem_new(err, tokens, sizeof *logprob), *ref_logprob = mem_new(err, tokens, sizeof *ref_logprob);
    int status = policy_examples(&list, (const Sample *const *)chosen, n, err);
    if (!logprob || !ref_logprob) status = -1;
    if (!status) status = measure(logprob, &list, model, cx, err) || measure(ref_logprob, &list, reference, cx, err) ? -1 : 0;
    for (size_t i = 0; !status && i < n; i++) {
        Sample *s = chosen[i];
        if (!(s->values = mem_new(err, s->tokens.length, sizeof *s->values))) status = -1;
        for (size_t t = 0; !status && t < s->tokens.length; t++, at++)
            s->values[t] = (TokenValue){.logprob = logprob[at], .ref_logprob = ref_logprob[at]};
    }
    policy_examples_free(&list);
    mem_free(logprob);
    mem_free(ref_logprob);
    return status;
}

int shade_answers(SampleList *answers, const Model *model, const Model *reference, const Tokenizer *tokenizer, const char *stop,
    const Compute *cx, Err *err)
{
    Sample *chosen[SHADED_ANSWERS];
    size_t n = answers->count < SHADED_ANSWERS ? answers->count : SHADED_ANSWERS;
    for (size_t i = 0; i < n; i++) chosen[i] = answers->items + i * answers->count / n;
    int status = n ? shade(chosen, n, model, reference, cx, err) : 0;
    for (size_t i = 0; !status && i < n; i++) status = find_ends(chosen[i], tokenizer, stop, err);
    return status;
}
