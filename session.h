// SPDX-License-Identifier: MIT
/* session.h - one sequence that grows: what a conversation needs. The keys and values of what was read before are kept.
 *
 *     Session session;
 *     if (session_init(&session, &model, &cx, &err)) return -1;
 *     TokenList answer = {0};
 *     if (session_answer(&session, &answer, prompt.ids, prompt.length, &how, ends, end_count, print_token, self, &err)) return -1;
 *     ... the next prompt begins with this one: only what is new is computed ...
 *     session_free(&session);
 *
 * The tokens are those of sample_generate with the same prompt, seed and slot, bit for bit: a logit from the cache is that of a full
 * pass (docs/DESIGN.md, section 4).
 */
#ifndef RAFT_SESSION_H
#define RAFT_SESSION_H

#include "loss.h"
#include "sample.h"

typedef struct {
    const Model *model;
    const Compute *cx;
    PackedModel packed;
    Workspace ws;
    LossScratch scratch;
    ChoiceScratch chooser;
    float *logits;      // [V]
    TokenList cached;   // the tokens whose keys and values are in the pages
    float **pages;      // [context / 16], taken as they are needed
    size_t page_count;
    uint32_t slot;      // of the next answer: its draws differ from those before
} Session;

typedef int (*SessionToken)(void *self, uint32_t token, Err *err); // called as each token is chosen; non-zero stops with its error

int session_init(Session *session, const Model *model, const Compute *cx, Err *err);
void session_free(Session *session);
// Appends the answer to a prompt, with the token of `ends` that ended it, if one did. how: temperature, top_k, top_p, max_new and seed
// count. An answer stops at the context's end. A prompt that leaves no room for a token is an error.
int session_answer(Session *session, TokenList *answer, const uint32_t *prompt, size_t length, const SampleOptions *how,
    const uint32_t *ends, size_t end_count, SessionToken each, void *self, Err *err);

#endif
