// SPDX-License-Identifier: MIT
// data/get_imdb.sh as a user runs it, with an archive of four reviews and a curl that only pretends to reach the network.
#define _POSIX_C_SOURCE 200809L // popen
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char *folder; // fresh for each test: "small.tar.gz", "src/aclImdb/...", "bin/curl", and "into" for IMDB_INTO

static int shell(Text *output, const char *format, ...)
{
    char command[3000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    Err err = {0};
    char buffer[2048];
    if (output) output->length = 0;
    for (size_t got; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;)
        if (output) assert_ok(text_add(output, &err, buffer, got), &err);
    if (output) assert_ok(text_add(output, &err, "", 0), &err);
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void assert_shell(const char *format, ...)
{
    char command[3000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    int status = shell(NULL, "%s", command);
    if (status) fail_msg("exit %d: %s", status, command);
}

// The pretended curl: takes -o FILE and what -C - asks for from $SOURCE. $FAKE: "ok", "half" (the connection breaks), "norange"
// (the server cannot resume), "down". Each call leaves a line with the bytes it sent in "calls".
static const char fake_curl[] =
    "#!/bin/sh\n"
    "here=${0%/*}; while [ $# -gt 0 ]; do [ \"$1\" = -o ] && out=$2; shift; done\n"
    "size=$(wc -c < \"$SOURCE\"); have=0; [ -f \"$out\" ] && have=$(wc -c < \"$out\")\n"
    "case $FAKE in\n"
    "down) echo 0 >> \"$here/../calls\"; exit 6 ;;\n"
    "norange) [ \"$have\" -eq 0 ] || { echo refused >> \"$here/../calls\"; exit 33; } ;;\n"
    "esac\n"
    "echo $((size - have)) >> \"$here/../calls\"\n"
    "if [ \"$FAKE\" = half ]; then head -c 200 \"$SOURCE\" > \"$out\"; exit 18; fi\n"
    "tail -c +$((have + 1)) \"$SOURCE\" >> \"$out\"\n";

static int begin(void **state)
{
    (void)state;
    folder = temporary_folder();
    assert_shell("cd '%s' && for p in train/pos train/neg test/pos test/neg; do mkdir -p src/aclImdb/$p && "
                 "echo $p > src/aclImdb/$p/1_1.txt; done && tar -czf small.tar.gz -C src aclImdb && mkdir bin", folder);
    char *curl = path_in(folder, "bin/curl");
    write_file(curl, fake_curl, strlen(fake_curl));
    assert_int_equal(chmod(curl, 0755), 0);
    free(curl);
    return 0;
}

static int end(void **state)
{
    (void)state;
    remove_folder(folder);
    free(folder);
    return 0;
}

// Runs the script; `settings` is put before it, "%F" in settings and arguments stands for the test's folder. What it wrote to
// standard output and to standard error is in the two texts.
typedef struct { Text out, log; int status; } Run;
static Run run(const char *settings, const char *arguments)
{
    char *parts[2];
    const char *given[2] = {settings, arguments};
    for (int i = 0; i < 2; i++) {
        parts[i] = calloc(1, 2000);
        for (const char *p = given[i]; *p; p++) {
            if (p[0] == '%' && p[1] == 'F') strcat(parts[i], folder), p++;
            else strncat(parts[i], p, 1);
        }
    }
    Run r = {.status = 0};
    r.status = shell(&r.out, "unset IMDB IMDB_URL IMDB_SHA256; IMDB_INTO='%s/into' %s sh data/get_imdb.sh %s 2> '%s/log' < /dev/null",
        folder, parts[0], parts[1], folder);
    shell(&r.log, "cat '%s/log'", folder);
    free(parts[0]);
    free(parts[1]);
    return r;
}

static void free_run(Run *r)
{
    text_free(&r->out);
    text_free(&r->log);
}

// Standard output is exactly this path below the test's folder, which holds all reviews.
static void assert_prints(const char *settings, const char *arguments, const char *want)
{
    Run r = run(settings, arguments);
    if (r.status) fail_msg("exit %d: %s", r.status, r.log.data);
    char line[600];
    snprintf(line, sizeof line, "%s/%s\n", folder, want);
    assert_string_equal(r.out.data, line);
    assert_shell("cd '%s/%s' && for p in train/pos train/neg test/pos test/neg; do [ $(cat $p/1_1.txt) = $p ] || exit 1; done", folder, want);
    free_run(&r);
}

static void assert_fails(const char *settings, const char *arguments, int status, const char *fragment)
{
    Run r = run(settings, arguments);
    if (r.status != status) fail_msg("exit %d where %d was expected: %s", r.status, status, r.log.data);
    assert_string_equal(r.out.data, "");
    if (!strstr(r.log.data, fragment)) fail_msg("\"%s\" is not in: %s", fragment, r.log.data);
    free_run(&r);
}

// The names in "into", in one line.
static void assert_into_holds(const char *want)
{
    Text names = {0};
    shell(&names, "cd '%s/into' && ls -A | tr '\\n' ' '", folder);
    assert_string_equal(names.data, want);
    text_free(&names);
}

// Reached through the pretended curl only; SUM is the checksum of what it offers.
#define NETWORK "PATH='%F/bin':\"$PATH\" SOURCE='%F/small.tar.gz' IMDB_URL=http://mirror.invalid/a.tar.gz "
#define SUM "IMDB_SHA256=$( (sha256sum || shasum -a 256) < '%F/small.tar.gz' 2> /dev/null | cut -d ' ' -f 1) "

// ---- folders -------------------------------------------------------------------------------------------------------------

static void folder_or_its_parent_is_accepted(void **state)
{
    (void)state;
    assert_prints("", "'%F/src/aclImdb'", "src/aclImdb");
    assert_prints("", "'%F/src/aclImdb/'", "src/aclImdb");
    assert_prints("", "'%F/src'", "src/aclImdb");
    assert_prints("IMDB='%F/src'", "", "src/aclImdb");
    assert_shell("mv '%s/src' '%s/with a space'", folder, folder);
    assert_prints("", "'%F/with a space'", "with a space/aclImdb");
}

static void unusable_arguments_are_named(void **state)
{
    (void)state;
    assert_fails("", "'%F/nowhere'", 2, "nowhere: does not exist");
    assert_fails("IMDB=/nowhere", "", 2, "/nowhere: does not exist");
    assert_fails("", "a b", 2, "usage: ");
    assert_fails("", "--frob", 2, "unknown option --frob");
    assert_fails("", "'%F/bin'", 2, "bin: no reviews in train/pos");
    assert_shell("rm '%s'/src/aclImdb/test/neg/*", folder);
    assert_fails("", "'%F/src/aclImdb'", 2, "aclImdb: no reviews in test/neg (expected train/pos");
}

// ---- archives ------------------------------------------------------------------------------------------------------------

static void archive_is_unpacked_once(void **state)
{
    (void)state;
    Run first = run("", "'%F/small.tar.gz'");
    assert_int_equal(first.status, 0);
    assert_non_null(strstr(first.out.data, "/into/aclImdb-"));
    assert_non_null(strstr(first.log.data, "unpacking"));
    Run second = run("", "'%F/small.tar.gz'");
    assert_int_equal(second.status, 0);
    assert_string_equal(first.out.data, second.out.data);
    assert_null(strstr(second.log.data, "unpacking"));
    assert_shell("[ $(ls -A '%s/into' | wc -l) -eq 1 ]", folder);
    free_run(&first);
    free_run(&second);
}

static void archive_without_the_outer_folder_is_accepted(void **state)
{
    (void)state;
    assert_shell("tar -czf '%s/flat.tar.gz' -C '%s/src/aclImdb' train test", folder, folder);
    Run r = run("", "'%F/flat.tar.gz'");
    assert_int_equal(r.status, 0);
    free_run(&r);
}

static void cut_archive_leaves_nothing_behind(void **state)
{
    static const int lengths[] = {0, 1, 10, 100, 200, -20, -8, -1};
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_shell("cd '%s' && n=%d && [ $n -ge 0 ] || n=$(($(wc -c < small.tar.gz) + n)); head -c $n small.tar.gz > cut.tar.gz", folder,
            lengths[i]);
        assert_fails("", "'%F/cut.tar.gz'", 2, "cut.tar.gz: not a complete .tar.gz file");
        assert_into_holds("");
    }
}

static void archive_of_something_else_is_refused(void **state)
{
    (void)state;
    assert_shell("cd '%s' && seq 5000 > text && gzip -c text > text.gz && tar -czf other.tar.gz text", folder);
    assert_fails("", "'%F/text'", 2, "text: not a complete .tar.gz file");
    assert_fails("", "'%F/text.gz'", 2, "text.gz: holds no complete tar archive");
    assert_fails("", "'%F/other.tar.gz'", 2, "other.tar.gz: no reviews in it (expected aclImdb/train/pos");
    assert_into_holds("");
}

static void folder_that_cannot_be_written_is_a_failure(void **state)
{
    (void)state;
    assert_shell("echo x > '%s/into'", folder);
    assert_fails("", "'%F/small.tar.gz'", 1, "cannot write into");
    assert_fails(NETWORK "FAKE=ok", "", 1, "cannot write into");
}

// ---- the download ----------------------------------------------------------------------------------------------------------

static void assert_calls(const char *want)
{
    Text calls = {0};
    shell(&calls, "cd '%s' && size=$(wc -c < small.tar.gz) && touch calls && "
        "sed \"s/^$((size))\\$/all/; s/^$((size - 200))\\$/rest/\" calls | tr '\\n' ' '", folder);
    assert_string_equal(calls.data, want);
    text_free(&calls);
}

static void download_is_checked_unpacked_and_kept(void **state)
{
    (void)state;
    assert_prints(NETWORK SUM "FAKE=ok", "", "into/aclImdb");
    assert_into_holds("aclImdb ");
    assert_prints(NETWORK SUM "FAKE=down", "", "into/aclImdb");
    assert_calls("all ");
}

static void broken_download_is_resumed(void **state)
{
    (void)state;
    assert_fails(NETWORK SUM "FAKE=half", "", 1, "make imdb IMDB=");
    assert_into_holds("aclImdb_v1.tar.gz.part ");
    assert_fails(NETWORK SUM "FAKE=down", "", 1, "By hand: download");
    assert_into_holds("aclImdb_v1.tar.gz.part ");
    assert_prints(NETWORK SUM "FAKE=ok", "", "into/aclImdb");
    assert_into_holds("aclImdb ");
    assert_calls("all 0 rest ");
}

static void download_starts_afresh_where_it_cannot_be_resumed(void **state)
{
    (void)state;
    assert_fails(NETWORK SUM "FAKE=half", "", 1, "the download failed");
    assert_prints(NETWORK SUM "FAKE=norange", "", "into/aclImdb");
    assert_calls("all refused all ");
}

static void damaged_part_is_replaced(void **state)
{
    (void)state;
    assert_shell("mkdir '%s/into' && head -c 200 /dev/zero > '%s/into/aclImdb_v1.tar.gz.part'", folder, folder);
    assert_prints(NETWORK SUM "FAKE=ok", "", "into/aclImdb");
    assert_calls("rest all ");
}

static void wrong_checksum_is_a_failure_that_leaves_nothing(void **state)
{
    (void)state;
    assert_fails(NETWORK "FAKE=ok", "", 1, "expected c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe");
    assert_into_holds("");
    assert_calls("all ");
}

static void finished_download_survives_a_killed_run(void **state)
{
    (void)state;
    assert_shell("cd '%s' && mkdir -p into/aclImdb.tmp.999999999/aclImdb/train && cp small.tar.gz into/aclImdb_v1.tar.gz", folder);
    assert_prints(NETWORK SUM "FAKE=down", "", "into/aclImdb");
    assert_into_holds("aclImdb ");
    assert_calls("");
}

static void half_a_folder_in_the_way_is_refused(void **state)
{
    (void)state;
    assert_shell("mkdir -p '%s/into/aclImdb/train/pos'", folder);
    assert_fails(NETWORK SUM "FAKE=ok", "", 2, "into/aclImdb: no reviews in train/pos; remove that folder");
}

static void machine_without_curl_and_wget_is_told_what_to_do(void **state)
{
    (void)state;
    assert_shell("cd '%s/bin' && rm curl && for p in sh dirname find head mkdir rm cut sha256sum shasum openssl perl; do "
                 "t=$(command -v $p) && ln -s \"$t\" $p; done; :", folder);
    assert_fails("PATH='%F/bin'", "", 1, "neither curl nor wget is installed");
    assert_fails("PATH='%F/bin'", "", 1, "By hand: download");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(folder_or_its_parent_is_accepted),
        TEST(unusable_arguments_are_named),
        TEST(archive_is_unpacked_once),
        TEST(archive_without_the_outer_folder_is_accepted),
        TEST(cut_archive_leaves_nothing_behind),
        TEST(archive_of_something_else_is_refused),
        TEST(folder_that_cannot_be_written_is_a_failure),
        TEST(download_is_checked_unpacked_and_kept),
        TEST(broken_download_is_resumed),
        TEST(download_starts_afresh_where_it_cannot_be_resumed),
        TEST(damaged_part_is_replaced),
        TEST(wrong_checksum_is_a_failure_that_leaves_nothing),
        TEST(finished_download_survives_a_killed_run),
        TEST(half_a_folder_in_the_way_is_refused),
        TEST(machine_without_curl_and_wget_is_told_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
