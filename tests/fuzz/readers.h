// SPDX-License-Identifier: MIT
/* readers.h - every reader of files that strangers make, as a function of bytes: for fuzzing (fuzz.c) and for the files that fuzzing
 * began with or found (tests/test_fuzz.c).
 *
 *     for (size_t i = 0; i < fuzz_reader_count; i++) fuzz_read(&fuzz_readers[i], folder, bytes, n);
 */
#ifndef RAFT_TESTS_FUZZ_READERS_H
#define RAFT_TESTS_FUZZ_READERS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name; // of the folder with its seeds
    const char *file; // the name the bytes get
    void (*read)(const char *folder, const char *path);
} FuzzReader;
extern const FuzzReader fuzz_readers[];
extern const size_t fuzz_reader_count;

void fuzz_read(const FuzzReader *reader, const char *folder /* to write the file into */, const uint8_t *bytes, size_t n);

#endif
