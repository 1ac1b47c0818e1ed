// SPDX-License-Identifier: MIT
/* sample.h - batched generation with a paged KV cache: K answers to each of many prompts.
 *
 *     SampleOptions how = sample_defaults();
 *     how.samples = 8; how.temperature = 1.0f; how.max_new = 24; how.seed = 1;
 *     Sampled *answers = mem_new(&err, prompts * how.samples, sizeof *answers);
 *     if (sample_generate(answers, &model, &cx, &tokenizer, list, prompts, &how, NULL, NULL, &err)) return -1;
 *     ... answers[i * how.samples + k] ...   sampled_free(answers, prompts * how.samples);
 *
 * The K answers of a prompt share its prefill and the full pages of its keys and values; a finished sequence leaves the
 * batch and the next one takes its place. A token is a function of (weights, prompt, seed, stream, iteration, slot, k, step)
 * only: not of the batch, the number of threads or the other prompts. Definitions: docs/DESIGN.md sections 3 and 4.
 */
#ifndef RAFT_SAMPLE_H
#define RAFT_SAMPLE_H

#include "kernels/philox.h"
#include "model.h"
#include "tokenizer.h"

/* Memory that one call leaves to the next: packed weights and pages of keys and values, which are expensive to touch for the first
 * time. It holds for one model, and until that model's weights change: whoever changes them empties it first. */
typedef struct SampleRoom SampleRoom;
SampleRoom *sample_room_new(Err *err);
void sample_room_empty(SampleRoom *room);
void sample_room_free(SampleRoom *room); // NULL: nothing

typedef struct {
    size_t samples;        // K
    size_t first_sample;   // candidate index of the first (experts continue the count)
    size_t max_new;        // tokens, the end-of-text token included
    size_t min_new;        // each answer's longest length is drawn from here to max_new; 0: always max_new
    float temperature;     // lambda; 0: greedy, the lowest id among equals
    size_t top_k;          // 0: off; ties go to the lower id
    float top_p;           // 1: off
    const char *stop;      // a stop string, or NULL: the token that completes it is kept in ids, the text is cut before it
    int64_t eos;           // end-of-text id, -1: none
    uint64_t seed;
    PhiloxStream stream;
    uint32_t iteration;
    size_t batch;          // sequences decoded together at most; changes speed and memory, never a bit
    SampleRoom *room;      // NULL: each call has memory of its own
} SampleOptions;
SampleOptions sample_defaults(void);
int sample_check(const SampleOptions *how, const Model *model, const Tokenizer *tokenizer, Err *err); // usable? sample_generate asks too

typedef struct { const uint32_t *ids; size_t length; uint32_t slot; } SamplePrompt; // at least one token

typedef struct {
    uint32_t *ids;      // the response only
    float *logprobs;    // of each token at temperature 1, untruncated
    float *values;      // a value head's view of what came before each token; NULL: the model has none
    size_t length;
    float logprob;      // their sum (long sum)
    bool ended;         // by end-of-text or the stop string, not by max_new
} Sampled;

// Called after each pass, when the answers hold what has come so far; non-zero stops.
typedef int (*SampleProgress)(void *self, size_t tokens_done, size_t sequences_done, size_t sequences);

// answers[count * samples], zeroed, prompt after prompt. A prompt that leaves no room for max_new tokens in the context is an
// error (status 2) that names its slot. tokenizer is needed for a stop string only.
int sample_generate(Sampled *answers, const Model *model, const Compute *cx, const Tokenizer *tokenizer, const SamplePrompt *prompts,
    size_t count, const SampleOptions *how, SampleProgress progress, void *self, Err *err);
void sampled_free(Sampled *answers, size_t count);
// The text of a response: decoded, invalid UTF-8 as U+FFFD, cut before the stop string, without special tokens.
int sample_text(Text *text, const Tokenizer *tokenizer, const uint32_t *ids, size_t length, const char *stop, Err *err);

typedef struct { float *p; uint32_t *order; float *sums; size_t vocab; } ChoiceScratch;
// One decision from logits [V] (kept unchanged) and a uniform u in [0,1): temperature, top-k, top-p, inverse CDF.
uint32_t sample_choose(const Kernels *k, const float *logits, size_t vocab, const SampleOptions *how, float u, ChoiceScratch *scratch);
int choice_scratch_init(ChoiceScratch *scratch, size_t vocab, Err *err);
void choice_scratch_free(ChoiceScratch *scratch);

#endif
