// SPDX-License-Identifier: MIT
/* support_ppo.h - what the tests of PPO begin with: the fixture of support_policy.h with a value head that is not zero, usual options.
 *
 *     return cmocka_run_group_tests(tests, make_ppo_fixture, drop_policy_fixture);
 */
#ifndef RAFT_TESTS_SUPPORT_PPO_H
#define RAFT_TESTS_SUPPORT_PPO_H

#include "ppo.h"
#include "tests/support_policy.h"

enum { ANSWERS = PROMPTS * K };

int make_ppo_fixture(void **state);
void reference_beside_start(Model *reference); // the start, every weight up to a tenth off
// What a Compute with another number of threads leaves behind is undone: OpenMP has one number for all.
void close_other_compute(Compute *other);
PolicyOptions usual_policy(void);
PpoOptions usual_ppo(void);

#endif
