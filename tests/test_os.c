// SPDX-License-Identifier: MIT
// Files replaced whole or not at all, errors with their reason and status, folders, what the machine tells of itself.
#if defined(__APPLE__)
#define _DARWIN_C_SOURCE 1
#elif !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include "tests/support.h"

#include "base/os.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void assert_holds(const char *path, const char *want)
{
    size_t n;
    char *bytes = read_file(path, &n);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(bytes, want, n);
    free(bytes);
}

static void assert_absent(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0) fail_msg("%s should not exist", path);
}

// ---- reading ---------------------------------------------------------------------------------------------------------

static void maps_and_reads_the_same_bytes(void **state)
{
    (void)state;
    char bytes[5000], *path = path_in(test_folder, "bytes");
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
    write_file(path, bytes, sizeof bytes);
    Err err = {0};
    OsMap map;
    Text text = {0};
    assert_ok(os_map_file(&map, path, &err), &err);
    assert_int_equal(map.size, sizeof bytes);
    assert_memory_equal(map.data, bytes, sizeof bytes);
    os_unmap(&map);
    assert_null(map.data);
    os_unmap(&map);
    assert_ok(os_read_file(&text, path, &err), &err);
    assert_int_equal(text.length, sizeof bytes);
    assert_memory_equal(text.data, bytes, sizeof bytes);
    text_free(&text);
    free(path);
}

static void an_empty_file_has_data_and_no_size(void **state)
{
    (void)state;
    char *path = path_in(test_folder, "empty");
    write_file(path, "", 0);
    Err err = {0};
    OsMap map;
    Text text = {0};
    assert_ok(os_map_file(&map, path, &err), &err);
    assert_non_null(map.data);
    assert_int_equal(map.size, 0);
    os_unmap(&map);
    assert_ok(os_read_file(&text, path, &err), &err);
    assert_int_equal(text.length, 0);
    assert_string_equal(text.data, "");
    text_free(&text);
    free(path);
}

static void reads_what_cannot_be_mapped(void **state)
{
    (void)state;
    char *path = path_in(test_folder, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    pid_t writer = fork();
    if (writer == 0) {
        FILE *file = fopen(path, "w");
        for (int i = 0; i < 20000; i++) fprintf(file, "%09d\n", i);
        fclose(file);
        _exit(0);
    }
    Err err = {0};
    OsMap map;
    assert_ok(os_map_file(&map, path, &err), &err);
    assert_int_equal(map.size, 200000);
    assert_memory_equal(map.data + 199990, "000019999\n", 10);
    os_unmap(&map);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    free(path);
}

static void names_a_missing_file_and_a_folder(void **state)
{
    (void)state;
    Err err = {0};
    OsMap map;
    Text text = {0};
    char *path = path_in(test_folder, "absent.bin"), want[400];
    snprintf(want, sizeof want, "%s: No such file or directory", path);
    assert_input_error(os_map_file(&map, path, &err), &err, want);
    assert_null(map.data);
    assert_input_error(os_read_file(&text, path, &err), &err, want);
    assert_input_error(os_map_file(&map, test_folder, &err), &err, "is a folder");
    assert_input_error(os_read_file(&text, test_folder, &err), &err, "is a folder");
    assert_null(text.data);
    free(path);
}

// ---- writing ---------------------------------------------------------------------------------------------------------

static void a_file_appears_whole_at_commit(void **state)
{
    (void)state;
    char *path = path_in(test_folder, "out"), *temporary = path_in(test_folder, "out.tmp");
    write_file(path, "before", 6);
    Err err = {0};
    OsWriter out;
    assert_ok(os_writer_open(&out, path, &err), &err);
    assert_ok(os_writer_write(&out, "after", 5, &err), &err);
    assert_holds(path, "before");
    assert_ok(os_writer_commit(&out, &err), &err);
    os_writer_discard(&out);
    assert_holds(path, "after");
    assert_absent(temporary);
    free(path);
    free(temporary);
}

static void a_discarded_file_leaves_the_old_one(void **state)
{
    (void)state;
    char *path = path_in(test_folder, "out"), *temporary = path_in(test_folder, "out.tmp");
    write_file(path, "before", 6);
    Err err = {0};
    OsWriter out;
    assert_ok(os_writer_open(&out, path, &err), &err);
    assert_ok(os_writer_write(&out, "after", 5, &err), &err);
    os_writer_discard(&out);
    os_writer_discard(&out);
    assert_holds(path, "before");
    assert_absent(temporary);
    assert_int_equal(os_writer_write(&out, "x", 1, &err), -1); // closed: an error, not a crash
    assert_int_equal(os_writer_commit(&out, &err), -1);
    free(path);
    free(temporary);
}

static void a_leftover_of_a_killed_run_is_overwritten(void **state)
{
    (void)state;
    char *path = path_in(test_folder, "out"), *temporary = path_in(test_folder, "out.tmp");
    write_file(temporary, "half of something longer", 24);
    Err err = {0};
    assert_ok(os_write_file(path, "new", 3, &err), &err);
    assert_holds(path, "new");
    assert_absent(temporary);
    free(path);
    free(temporary);
}

static void refuses_names_that_cannot_be_written(void **state)
{
    (void)state;
    Err err = {0};
    OsWriter out;
    char *path = path_in(test_folder, "no/such/folder");
    assert_input_error(os_writer_open(&out, path, &err), &err, "cannot create: No such file or directory");
    os_writer_discard(&out);
    assert_input_error(os_writer_open(&out, test_folder, &err), &err, "is a folder");
    assert_input_error(os_writer_open(&out, "", &err), &err, "empty");
    free(path);
}

// Through links, so that a broken writer could not replace the device itself.
static char *link_to(const char *device)
{
    char *path = path_in(test_folder, "device");
    assert_int_equal(symlink(device, path), 0);
    return path;
}

static void a_device_is_written_in_place(void **state)
{
    (void)state;
    Err err = {0};
    struct stat st;
    char *null = link_to("/dev/null"), *temporary = path_in(test_folder, "device.tmp"), *out = path_in(test_folder, "out"), descriptor[40];
    assert_ok(os_write_file(null, "x", 1, &err), &err);
    assert_int_equal(stat(null, &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    assert_absent(temporary);
    write_file(out, "", 0);
    FILE *redirected = fopen(out, "w"); // as /dev/stdout is with `> out`
    snprintf(descriptor, sizeof descriptor, "/dev/fd/%d", fileno(redirected));
    if (os_is_file(descriptor)) {
        assert_ok(os_write_file(descriptor, "text", 4, &err), &err);
        assert_holds(out, "text");
    }
    fclose(redirected);
    free(null), free(temporary), free(out);
}

static void a_full_disk_is_an_error_of_status_1(void **state)
{
    (void)state;
    if (!os_is_file("/dev/full")) skip_because("this system has no /dev/full");
    Err err = {0};
    char *full = link_to("/dev/full"), *many = calloc(1, 1 << 20);
    assert_failed_error(os_write_file(full, "x", 1, &err), &err, "device: cannot write: No space left on device");
    assert_failed_error(os_write_file(full, many, 1 << 20, &err), &err, "device: cannot write: No space left on device");
    free(full);
    free(many);
}

// The limit on file sizes stands in for a disk that fills up: once while writing, once at the last flush.
static void write_beyond_limit(size_t n)
{
    char *path = path_in(test_folder, "big"), *temporary = path_in(test_folder, "big.tmp"), *bytes = calloc(1, n);
    write_file(path, "before", 6);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    Err err = {0};
    int status = os_write_file(path, bytes, n, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    assert_failed_error(status, &err, "big: cannot write: File too large");
    assert_holds(path, "before");
    assert_absent(temporary);
    free(path);
    free(temporary);
    free(bytes);
}

static void a_failed_write_removes_the_temporary(void **state)
{
    (void)state;
    write_beyond_limit(1 << 20);
    write_beyond_limit(2000); // stays in the buffer until the commit
}

static void a_failed_rename_removes_the_temporary(void **state)
{
    (void)state;
    char *path = path_in(test_folder, "out"), *temporary = path_in(test_folder, "out.tmp");
    Err err = {0};
    OsWriter out;
    assert_ok(os_writer_open(&out, path, &err), &err);
    assert_ok(os_make_folders(path, &err), &err);
    assert_failed_error(os_writer_commit(&out, &err), &err, "cannot rename");
    assert_absent(temporary);
    free(path);
    free(temporary);
}

// ---- folders ---------------------------------------------------------------------------------------------------------

static void lists_a_folder_by_bytes(void **state)
{
    (void)state;
    const char *names[] = {"b", "a", "B", "10", "9", "\xC3\xA9", ".hidden"},
               *want[] = {".hidden", "10", "9", "B", "a", "b", "\xC3\xA9"};
    for (size_t i = 0; i < 7; i++) {
        char *path = path_in(test_folder, names[i]);
        write_file(path, "", 0);
        free(path);
    }
    Err err = {0};
    OsNames got;
    assert_ok(os_list_folder(&got, test_folder, &err), &err);
    assert_int_equal(got.count, 7);
    for (size_t i = 0; i < 7; i++) assert_string_equal(got.names[i], want[i]);
    os_names_free(&got);
    os_names_free(&got);
}

static void lists_many_and_no_names(void **state)
{
    (void)state;
    Err err = {0};
    OsNames got;
    assert_ok(os_list_folder(&got, test_folder, &err), &err);
    assert_int_equal(got.count, 0);
    os_names_free(&got);
    for (int i = 0; i < 300; i++) {
        char name[20];
        snprintf(name, sizeof name, "%04d", i);
        char *path = path_in(test_folder, name);
        write_file(path, "", 0);
        free(path);
    }
    assert_ok(os_list_folder(&got, test_folder, &err), &err);
    assert_int_equal(got.count, 300);
    assert_string_equal(got.names[299], "0299");
    os_names_free(&got);
    char *path = path_in(test_folder, "0000"), *absent = path_in(test_folder, "absent");
    assert_input_error(os_list_folder(&got, path, &err), &err, "is a file; a folder was expected");
    assert_input_error(os_list_folder(&got, absent, &err), &err, "absent: No such file or directory");
    free(path);
    free(absent);
}

static void makes_folders_like_mkdir_p(void **state)
{
    (void)state;
    Err err = {0};
    char *deep = path_in(test_folder, "a//b/c/"), *file = path_in(test_folder, "file"), *below = path_in(test_folder, "file/x");
    assert_false(os_is_folder(deep));
    assert_ok(os_make_folders(deep, &err), &err);
    assert_true(os_is_folder(deep));
    assert_false(os_is_file(deep));
    assert_ok(os_make_folders(deep, &err), &err);
    write_file(file, "", 0);
    assert_true(os_is_file(file));
    assert_false(os_is_folder(file));
    assert_input_error(os_make_folders(file, &err), &err, "exists and is not a folder");
    assert_input_error(os_make_folders(below, &err), &err, "file");
    assert_input_error(os_make_folders("", &err), &err, "empty");
    free(deep);
    free(file);
    free(below);
}

static void joins_with_one_separator(void **state)
{
    (void)state;
    const char *cases[][3] = {{"run", "x", "run/x"}, {"run/", "x", "run/x"}, {"/", "x", "/x"}, {"", "x", "x"}};
    Err err = {0};
    for (size_t i = 0; i < 4; i++) {
        char *path = os_join(&err, cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
        mem_free(path);
    }
}

// ---- the machine -----------------------------------------------------------------------------------------------------

static void tells_what_the_machine_is(void **state)
{
    (void)state;
    Err err = {0};
    double before = os_now_s();
    usleep(20000);
    double passed = os_now_s() - before;
    assert_true(passed >= 0.02 && passed < 2);
    assert_true(os_cpu_count() >= 1 && os_cpu_count() < 100000);
    char *name = os_cpu_name(&err), *path = path_in(test_folder, "f");
    assert_true(name && *name);
    mem_free(name);
    char *program = os_program_path(&err);
    assert_ok(program ? 0 : -1, &err);
    assert_true(strstr(program, "test_os") && os_is_file(program));
    mem_free(program);
    FILE *file = fopen(path, "w");
    assert_false(os_is_terminal(file));
    fclose(file);
    free(path);
}

static void peak_memory_counts_what_was_touched(void **state)
{
    (void)state;
    enum { BYTES = 40000000 };
    double before = os_peak_memory_mb();
    char *block = malloc(BYTES);
    assert_non_null(block);
    for (size_t i = 0; i < BYTES; i += 1024) ((volatile char *)block)[i] = 1;
    double after = os_peak_memory_mb();
    free(block);
    assert_true(before > 0.1 && after >= 40 && after < before + 200);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_test_folder, drop_test_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(maps_and_reads_the_same_bytes),
        IN_FOLDER(an_empty_file_has_data_and_no_size),
        IN_FOLDER(reads_what_cannot_be_mapped),
        IN_FOLDER(names_a_missing_file_and_a_folder),
        IN_FOLDER(a_file_appears_whole_at_commit),
        IN_FOLDER(a_discarded_file_leaves_the_old_one),
        IN_FOLDER(a_leftover_of_a_killed_run_is_overwritten),
        IN_FOLDER(refuses_names_that_cannot_be_written),
        IN_FOLDER(a_device_is_written_in_place),
        IN_FOLDER(a_full_disk_is_an_error_of_status_1),
        IN_FOLDER(a_failed_write_removes_the_temporary),
        IN_FOLDER(a_failed_rename_removes_the_temporary),
        IN_FOLDER(lists_a_folder_by_bytes),
        IN_FOLDER(lists_many_and_no_names),
        IN_FOLDER(makes_folders_like_mkdir_p),
        cmocka_unit_test(joins_with_one_separator),
        IN_FOLDER(tells_what_the_machine_is),
        cmocka_unit_test(peak_memory_counts_what_was_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
