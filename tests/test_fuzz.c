// SPDX-License-Identifier: MIT
// The files that fuzzing starts from, and those it once broke a reader with: read whole, cut at every length, and with every byte turned.
#include "tests/support.h"

#include "base/os.h"
#include "tests/fuzz/readers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A few thousand variants of a file at most: make sanitize takes part too.
static void read_variants(const FuzzReader *reader, const char *folder, const char *path)
{
    size_t n;
    uint8_t *bytes = (uint8_t *)read_file(path, &n);
    fuzz_read(reader, folder, bytes, n);
    for (size_t length = 0, step = n / 300 + 1; length < n; length += step) fuzz_read(reader, folder, bytes, length);
    for (size_t at = 0, step = n / 300 + 1; at < n; at += step) {
        uint8_t kept = bytes[at];
        bytes[at] ^= 0xFF;
        fuzz_read(reader, folder, bytes, n);
        bytes[at] = kept;
    }
    free(bytes);
}

static void every_reader_comes_back_from_damaged_files(void **state)
{
    (void)state;
    char *folder = temporary_folder();
    size_t files = 0;
    for (size_t i = 0; i < fuzz_reader_count; i++) {
        Err err = {0};
        OsNames names;
        char seeds[300];
        snprintf(seeds, sizeof seeds, "tests/fuzz/seeds/%s", fuzz_readers[i].name);
        if (!os_is_folder(seeds)) fail_msg("%s is missing (tests run from the top folder)", seeds);
        assert_ok(os_list_folder(&names, seeds, &err), &err);
        for (size_t k = 0; k < names.count; k++, files++) {
            char *path = path_in(seeds, names.names[k]);
            read_variants(&fuzz_readers[i], folder, path);
            free(path);
        }
        os_names_free(&names);
    }
    assert_true(files >= fuzz_reader_count);
    remove_folder(folder);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_reader_comes_back_from_damaged_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
