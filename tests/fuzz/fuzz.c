// SPDX-License-Identifier: MIT
/* fuzz.c - one reader under libFuzzer or AFL++'s libFuzzer driver; run.sh builds and runs it. RAFT_FUZZ names the reader. */
#include "tests/fuzz/readers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const FuzzReader *reader;
static char folder[1000];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = getenv("RAFT_FUZZ"), *into = getenv("RAFT_FUZZ_FOLDER");
    (void)argc, (void)argv;
    for (size_t i = 0; name && i < fuzz_reader_count; i++)
        if (!strcmp(fuzz_readers[i].name, name)) reader = &fuzz_readers[i];
    snprintf(folder, sizeof folder, "%s", into ? into : "");
    if (reader && into) return 0;
    fprintf(stderr, "fuzz: RAFT_FUZZ must name a reader and RAFT_FUZZ_FOLDER an empty folder:");
    for (size_t i = 0; i < fuzz_reader_count; i++) fprintf(stderr, " %s", fuzz_readers[i].name);
    fputc('\n', stderr);
    exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    fuzz_read(reader, folder, bytes, n);
    return 0;
}
