// SPDX-License-Identifier: MIT
/* support_page.h - runs made for the tests of the HTML page, and a small judge of HTML.
 *
 *     cmocka_unit_test_setup_teardown(test, set_up_run, tear_down_run)     // *state: a RunFixture with a sound run
 *     char *page = report_page(*state);
 *     assert_sound(page);                                                  // well-formed, escaped, fetches and runs nothing
 *     assert_holds(page, "3 prompts");   free(page);
 */
#ifndef RAFT_TESTS_SUPPORT_PAGE_H
#define RAFT_TESTS_SUPPORT_PAGE_H

#include "files/candidates.h"
#include "tests/support.h"

enum { SLOTS = 3, K = 4, ITERATIONS = 2 };

typedef struct { char *folder; Err err; } RunFixture;

int set_up_run(void **state);
int tear_down_run(void **state);
// Files of the run, by their name in its folder.
void put_bytes(const RunFixture *f, const char *name, const char *bytes, size_t n);
void put(const RunFixture *f, const char *name, const char *text);
void drop(const RunFixture *f, const char *name);
void fill_sample(Sample *s, size_t slot, size_t k, const char *prompt, const char *text, float reward, Err *err);
void write_samples(const RunFixture *f, const char *name, SampleList *list); // and frees the list
// Candidate k of slot s has reward k - s; the best, k = 3, is kept. Each has a number of its own in its text.
void write_candidates(const RunFixture *f, size_t iteration, const char *prompt, const char *text);
void write_answers(const RunFixture *f, const char *name, const char *prompt, const char *text, float reward);
void write_run(RunFixture *f, const char *prompt, const char *text); // all files that a run may hold

// A comparison of base, bo4, sft and raft, the last with run directories of two seeds, of which the second measured so many times.
void write_comparison(RunFixture *f, size_t second_measured);
extern const char small_comparison[];   // its comparison.json
// A run of two iterations in a folder below: its measures are shifted, gold rises by 1 and then falls by 2. Freed with free_arm.
RunFixture make_arm(const RunFixture *f, const char *name, double shift, size_t measured);
void free_arm(RunFixture *arm);

char *page_of(const RunFixture *f);     // RUN/report.html
char *report_page(RunFixture *f);       // written anew

// Balanced, quoted, escaped; ids unique and found; headings in order; nothing that fetches or runs.
void assert_sound(const char *page);
void assert_holds(const char *page, const char *text);
void assert_lacks(const char *page, const char *text);
size_t count_of(const char *page, const char *text);

#endif
