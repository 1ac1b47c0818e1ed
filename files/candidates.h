// SPDX-License-Identifier: MIT
/* candidates.h - prompts and candidates as JSON lines: what `collect`, `rank` and `finetune` hand to each other.
 *
 *     SampleList samples = {0};
 *     if (samples_read(&samples, "candidates.jsonl", &err)) return -1;
 *     if (samples_write(&samples, "ranked.jsonl", &err)) return -1;
 *     samples_free(&samples);
 *
 * A line: slot, prompt_id, prompt, prompt_tokens, k, source, text, tokens (response only), logprob, ref_logprob if p0 was asked, and once
 * ranked: reward, rewards{}, rank, selected; of some evaluation answers also token_logprob, token_ref_logprob, token_end. Token ids
 * are authoritative: fine-tuning never re-tokenises. Bytes are the same on every machine.
 */
#ifndef RAFT_FILES_CANDIDATES_H
#define RAFT_FILES_CANDIDATES_H

#include "base/util.h"

enum { REWARDS_MAX = 8 };

typedef struct {
    char *id, *text;
    size_t text_length;
    TokenList ids;   // empty until tokenized
    bool is_chat;    // text is the JSON of "messages" until a chat template has rendered it
} Prompt;
typedef struct { Prompt *items; size_t count, capacity, repaired; } PromptList; // repaired: invalid UTF-8 sequences, now U+FFFD
int prompts_read(PromptList *list, const char *path, Err *err); // lines with "prompt" ("text", "messages"), optionally "id", "prompt_tokens"
int prompts_add(PromptList *list, const char *id, const char *text, size_t length, Err *err);
void prompts_drop_last(PromptList *list);
int prompts_write(const PromptList *list, const char *path, Err *err);
void prompts_free(PromptList *list);

// A token of an answer, for whoever shows where a model moved: its log-probability under the policy and under p0, and the bytes of
// the answer's text that stand once it has been said.
typedef struct { float logprob, ref_logprob; size_t end; } TokenValue;

// What was known of a token when it was drawn: its log-probability, and what the policy's value head said of the text before it.
typedef struct { float logprob, value; } DrawnToken;

typedef struct {
    size_t slot, k;
    char *prompt_id, *prompt, *source, *text; // source: "policy", or the expert's name; text: decoded response
    size_t prompt_length, text_length;        // bytes
    TokenList prompt_tokens, tokens;
    float logprob, ref_logprob;               // sums over the response at temperature 1, under the policy and under p0
    bool has_reference;                       // p0 was asked: ref_logprob holds
    TokenValue *values;                       // [tokens.length], or NULL: not kept (study/shading.h)
    DrawnToken *drawn;                        // [tokens.length], or NULL: drawn without a value head, or read from a file
    bool scored, ranked;
    float reward;                             // what is ranked (score - beta * log ratio)
    size_t reward_count;                      // components, each logged apart: names like "head:runs/proxy", "gold", "kl"
    char *reward_names[REWARDS_MAX];
    float reward_values[REWARDS_MAX];
    size_t rank;
    bool selected;
} Sample;
typedef struct { Sample *items; size_t count, capacity; } SampleList;

bool sample_is_own(const Sample *sample); // drawn by the policy, by no expert
int samples_read(SampleList *list, const char *path, Err *err);
int samples_write(const SampleList *list, const char *path, Err *err);
Sample *samples_add(SampleList *list, Err *err); // a zeroed new one; pointers to older ones become invalid
Sample **samples_pointers(const SampleList *list, Err *err); // [count], for who takes samples from anywhere; free it
int sample_set_reward(Sample *sample, const char *name, float value, Err *err);
void sample_clear(Sample *sample);
void samples_free(SampleList *list);

#endif
