// SPDX-License-Identifier: MIT
/* support.h - what the tests share: comparisons that cannot pass on NaN, files to read and to damage, known answers.
 *
 *     assert_close(got, want, n, 3e-6, "logits");      // max |got - want| <= tolerance * max |want|; names the worst index
 *     assert_same_bits(got, want, n, "logprob");
 *     assert_input_error(status, &err, "reviews.jsonl:3");   // -1, status 2, and the message holds this text
 */
#ifndef RAFT_TESTS_SUPPORT_H
#define RAFT_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"
#include "kernels/kernels.h"

// Relative to the largest magnitude of `want`; a non-finite value on either side fails.
void assert_close(const float *got, const float *want, size_t n, double tolerance, const char *what);
void assert_same_bits(const float *got, const float *want, size_t n, const char *what);
void assert_ok(int status, const Err *err);                                  // prints err->text on failure
void assert_input_error(int status, const Err *err, const char *fragment);   // status 2 and the text holds the fragment
void assert_failed_error(int status, const Err *err, const char *fragment);  // status 1 likewise

// A file of ../shared/<name> (or $RAFT_SHARED/<name>), or of tests/golden/<name>. NULL when absent: the caller calls
// skip_because(), which reports the reason. The text belongs to the caller (free).
char *shared_path(const char *name);
char *golden_path(const char *name);
void skip_because(const char *format, ...);

char *temporary_folder(void);            // fresh; removed with remove_folder
void remove_folder(const char *path);
char *path_in(const char *folder, const char *name);
// Fixtures of a test or of a group: a folder, and the path of a file in it that tests write.
extern char *test_folder, *test_file;
extern const char *test_file_name; // "file" unless main() says otherwise
int make_test_folder(void **state);
int drop_test_folder(void **state);
// A group's fixture: what computations of its tests run on, our own kernels and as many threads as there are.
extern Compute test_compute;
int make_test_compute(void **state);
int drop_test_compute(void **state);
void write_file(const char *path, const void *bytes, size_t n);
char *read_file(const char *path, size_t *n); // NUL-terminated
bool same_file(const char *a, const char *b); // byte for byte; both must be there
void assert_same_file(const char *a, const char *b);

// Deterministic test data, unrelated to the library's own generator.
typedef struct { uint64_t state; } TestRandom;
float test_uniform(TestRandom *random, float low, float high);
uint32_t test_integer(TestRandom *random, uint32_t n);
void test_fill(TestRandom *random, float *x, size_t n); // in [-1,1), some exact zeros

// The hardware's fused multiply-add, where there is one: what the soft one is compared with.
bool has_machine_fma(void);
float machine_fma(float a, float b, float c);

// Runs the raft binary ($RAFT_BINARY) with these arguments as a user would; output holds stdout and stderr. Returns the exit status.
int run_raft(Text *output, const char *format, ...);
int run_shell(Text *output, const char *command); // any command; output holds what it writes to the pipe

#endif
