// SPDX-License-Identifier: MIT
/* support_policy.h - what tests of a policy begin with: five prompts, their tokenizer, a tiny model that answers them, a folder.
 *
 *     ... policy_init(&policy, &model, &fixture.start, &fixture.tokenizer, &fixture.prompts, &fixture.cx, &o, &err) ...
 *     return cmocka_run_group_tests(tests, make_policy_fixture, drop_policy_fixture);
 */
#ifndef RAFT_TESTS_SUPPORT_POLICY_H
#define RAFT_TESTS_SUPPORT_POLICY_H

#include "policy.h"
#include "tests/support_model.h"

enum { CONTEXT = 48, NEW = 9, K = 4, PROMPTS = 5 }; // tokens of the model's context and of an answer at most; answers to a prompt

typedef struct {
    Compute cx;
    char *folder;
    Tokenizer tokenizer;
    PromptList prompts; // p0 to p4, with their tokens
    Model start;        // tiny_language_model of seed 1
} PolicyFixture;

extern PolicyFixture fixture; // of the whole group
int make_policy_fixture(void **state);
int drop_policy_fixture(void **state);
SampleOptions fixture_sampling(void); // the program's own; answers of at most NEW tokens, which end at token 0
PolicyOptions fixture_options(double lr, size_t batch, size_t epochs); // else the program's own, seed 9

#endif
