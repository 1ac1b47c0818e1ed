// SPDX-License-Identifier: MIT
/* support_ppo.h - what the tests of PPO begin with: a tiny policy whose value head is not zero, five prompts, usual options.
 *
 *     static PpoFixture f;
 *     if (ppo_fixture_open(&f)) return -1;    ... policy_init(&policy, &model, &f.start, &f.tokenizer, &f.prompts, &f.cx, &o, &err) ...
 *     ppo_fixture_close(&f);
 */
#ifndef RAFT_TESTS_SUPPORT_PPO_H
#define RAFT_TESTS_SUPPORT_PPO_H

#include "ppo.h"
#include "tests/support.h"

enum { K = 4, NEW = 9, CONTEXT = 40, PROMPTS = 5, ANSWERS = PROMPTS * K };

typedef struct { Compute cx; Tokenizer tokenizer; PromptList prompts; Model start; } PpoFixture;

int ppo_fixture_open(PpoFixture *f);
void ppo_fixture_close(PpoFixture *f);
void ppo_fixture_reference(const PpoFixture *f, Model *reference); // the start, every weight up to a tenth off
// What a Compute with another number of threads leaves behind is undone: OpenMP has one number for all.
void ppo_fixture_close_other(PpoFixture *f, Compute *other);
PolicyOptions usual_policy(void);
PpoOptions usual_ppo(void);

#endif
