// SPDX-License-Identifier: MIT
/* util.h - errors, memory and growing byte strings: what every module needs and nothing more.
 *
 *     Err err = {0};
 *     float *row = mem_new(&err, 128, sizeof *row);        // zeroed, 64-byte aligned
 *     if (!row) { fprintf(stderr, "raft: %s\n", err.text); return err.status; }
 *     mem_free(row);
 *
 * A bug is an assert. Bad input and exhausted resources fill an Err and return -1 (or NULL); only main() prints it and
 * exits with err.status.
 */
#ifndef RAFT_BASE_UTIL_H
#define RAFT_BASE_UTIL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#else
#define PRINTF_LIKE(text, first)
#endif

typedef struct {
    int status;     // the process's exit status: 0 none, 1 failed while running, 2 the command line or a file is at fault
    char text[768]; // names the file, the byte or line, what was expected, what was found
} Err;

int err_input(Err *err, const char *format, ...) PRINTF_LIKE(2, 3);  // status 2; always returns -1
int err_failed(Err *err, const char *format, ...) PRINTF_LIKE(2, 3); // status 1; always returns -1
int err_prefix(Err *err, const char *format, ...) PRINTF_LIKE(2, 3); // puts "context: " before the text; returns -1

// n elements of `size` bytes, zeroed, aligned to 64. NULL with an Err that states the size wanted when n * size overflows
// or memory is exhausted. n == 0 gives a valid pointer.
void *mem_new(Err *err, size_t n, size_t size);
// Resizes to n elements, contents kept, new bytes zeroed; on failure returns NULL and `old` stays valid.
void *mem_resize(Err *err, void *old, size_t old_n, size_t n, size_t size);
char *mem_copy_text(Err *err, const char *text);            // strdup through mem_new
char *mem_copy_bytes(Err *err, const void *bytes, size_t n); // n bytes and a terminating NUL
void mem_free(void *pointer);                               // NULL-safe

// While a guard is held by this thread, mem_new and mem_resize assert: nothing allocates inside a training or decoding step.
void mem_guard_enter(void);
void mem_guard_leave(void);
int mem_guard_pause(void);                                  // lifts it for one who only watches; resume(what pause gave) restores it
void mem_guard_resume(int depth);

// A growing byte string; data is NUL-terminated whenever it is not NULL. The first failure sticks: later adds do nothing and return -1.
typedef struct { char *data; size_t length, capacity; bool failed; } Text;
int text_add(Text *text, Err *err, const void *bytes, size_t n);
int text_puts(Text *text, Err *err, const char *string);
int text_printf(Text *text, Err *err, const char *format, ...) PRINTF_LIKE(3, 4);
void text_free(Text *text);

// Bytes that somebody else owns, not NUL-terminated.
typedef struct { const char *bytes; size_t length; } TextView;

// A growing list of token ids.
typedef struct { uint32_t *ids; size_t length, capacity; } TokenList;
int tokens_add(TokenList *list, Err *err, uint32_t id);
int tokens_append(TokenList *list, Err *err, const uint32_t *ids, size_t n);
void tokens_free(TokenList *list);

bool size_multiply(size_t a, size_t b, size_t *product); // false on overflow
// A number >= 0 rounded up. A fraction such as 0.1 is not exact in binary: what is within rounding of a whole number is that number.
size_t round_up(double wanted);
bool size_add(size_t a, size_t b, size_t *sum);          // false on overflow
uint64_t hash_bytes(uint64_t seed, const void *bytes, size_t n); // FNV-1a 64; seed 0 starts a chain

#endif
