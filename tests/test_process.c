// SPDX-License-Identifier: MIT
// Child programs that hang, die, talk too much or not at all: an error that says so, and nothing left behind.
#if defined(__APPLE__)
#define _DARWIN_C_SOURCE 1
#elif !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include "tests/support.h"

#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static OsChild *start(const char *command)
{
    Err err = {0};
    OsChild *child = os_child_start(command, &err);
    if (!child) fail_msg("%s", err.text);
    return child;
}

static int no_children(void) { return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD; }

static void talks_line_by_line(void **state)
{
    (void)state;
    OsChild *child = start("while read line; do echo \"<$line>\"; done; printf last");
    Err err = {0};
    Text line = {0};
    for (int i = 0; i < 3; i++) {
        assert_ok(os_child_write(child, "one\n", 4, 5, &err), &err);
        assert_int_equal(os_child_read_line(child, &line, 5, &err), 1);
        assert_string_equal(line.data, "<one>");
    }
    assert_ok(os_child_stop(child, 5, &err), &err);
    assert_true(no_children());
    text_free(&line);
}

static void returns_empty_and_unended_lines_then_the_end(void **state)
{
    (void)state;
    OsChild *child = start("printf 'a\\n\\nlast'");
    Err err = {0};
    Text line = {0};
    const char *want[] = {"a", "", "last"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(os_child_read_line(child, &line, 5, &err), 1);
        assert_string_equal(line.data, want[i]);
    }
    for (int i = 0; i < 2; i++) assert_int_equal(os_child_read_line(child, &line, 5, &err), 0);
    assert_ok(os_child_stop(child, 5, &err), &err);
    text_free(&line);
}

// 2 MB each way through pipes of 64 KB: a writer that does not read would block for ever.
static void exchanges_more_than_the_pipes_hold(void **state)
{
    (void)state;
    enum { LINES = 20000, WIDTH = 100 };
    char *input = malloc(LINES * WIDTH);
    for (int i = 0; i < LINES; i++) {
        memset(input + i * WIDTH, 'a' + i % 26, WIDTH - 1);
        input[i * WIDTH + WIDTH - 1] = '\n';
    }
    OsChild *child = start("cat");
    Err err = {0};
    Text output = {0};
    assert_ok(os_child_exchange(child, input, LINES * WIDTH, LINES, &output, 10, &err), &err);
    assert_int_equal(output.length, LINES * WIDTH);
    assert_memory_equal(output.data, input, output.length);
    assert_ok(os_child_exchange(child, "x\ny\n", 4, 2, &output, 10, &err), &err); // appends, and the child still listens
    assert_int_equal(output.length, LINES * WIDTH + 4);
    assert_ok(os_child_stop(child, 5, &err), &err);
    text_free(&output);

    child = start("cat");
    assert_ok(os_child_write(child, input, LINES * WIDTH, 10, &err), &err); // what it replies meanwhile is kept
    Text line = {0};
    for (int i = 0; i < LINES; i++) {
        assert_int_equal(os_child_read_line(child, &line, 10, &err), 1);
        assert_int_equal(line.length, WIDTH - 1);
        assert_memory_equal(line.data, input + i * WIDTH, WIDTH - 1);
    }
    assert_ok(os_child_stop(child, 5, &err), &err);
    text_free(&line);
    free(input);
}

static void a_program_sees_the_end_of_its_last_input(void **state)
{
    (void)state;
    Err err = {0};
    Text output = {0};
    OsChild *child = start("sort"); // answers nothing before the end
    os_child_last_input(child);
    assert_ok(os_child_exchange(child, "b\nc\na\n", 6, 3, &output, 10, &err), &err);
    assert_string_equal(output.data, "a\nb\nc\n");
    assert_ok(os_child_stop(child, 10, &err), &err);
    child = start("sort");
    os_child_last_input(child);
    assert_ok(os_child_exchange(child, "", 0, 0, &output, 10, &err), &err);
    assert_int_equal(os_child_read_line(child, &output, 10, &err), 0);
    assert_ok(os_child_stop(child, 10, &err), &err);
    text_free(&output);
}

static void keeps_lines_that_were_not_asked_for(void **state)
{
    (void)state;
    OsChild *child = start("printf '1\\n2\\n3\\n4'");
    Err err = {0};
    Text output = {0}, line = {0};
    assert_ok(os_child_exchange(child, "", 0, 2, &output, 5, &err), &err);
    assert_string_equal(output.data, "1\n2\n");
    assert_int_equal(os_child_read_line(child, &line, 5, &err), 1);
    assert_string_equal(line.data, "3");
    assert_ok(os_child_exchange(child, "", 0, 1, &output, 5, &err), &err);
    assert_string_equal(output.data, "1\n2\n4\n");
    assert_ok(os_child_stop(child, 5, &err), &err);
    text_free(&output);
    text_free(&line);
}

static void names_how_a_program_died(void **state)
{
    (void)state;
    const char *cases[][2] = {{"exit 3", "command \"exit 3\": exited with status 3"}, {"kill -9 $$", "was killed by signal 9"},
        {"/no/such/program 2>/dev/null", "exited with status 127 (command not found)"},
        {"exec 2>/dev/null; sh -c 'kill -9 $$'; exit $?", "status 137, as after signal 9"}};
    for (size_t i = 0; i < 4; i++) {
        Err err = {0};
        assert_failed_error(os_child_stop(start(cases[i][0]), 5, &err), &err, cases[i][1]);
        Text output = {0};
        OsChild *child = start(cases[i][0]);
        assert_failed_error(os_child_exchange(child, "x\n", 2, 1, &output, 5, &err), &err, "ended after 0 of 1 lines (");
        assert_non_null(strstr(err.text, strstr(cases[i][1], i == 1 ? "was" : "status")));
        assert_int_equal(os_child_stop(child, 5, &err), -1);
        text_free(&output);
    }
    assert_true(no_children());
}

static void a_reply_that_stops_short_is_counted(void **state)
{
    (void)state;
    OsChild *child = start("printf '1\\n2\\n'; exit 4");
    Err err = {0};
    Text output = {0};
    assert_failed_error(
        os_child_exchange(child, "", 0, 5, &output, 5, &err), &err, "ended after 2 of 5 lines (exited with status 4)");
    assert_int_equal(os_child_stop(child, 5, &err), -1);
    text_free(&output);
}

static volatile sig_atomic_t broken_pipes;
static void count_broken_pipe(int number)
{
    (void)number;
    broken_pipes++;
}

static void a_program_that_does_not_read_raises_no_signal(void **state)
{
    (void)state;
    void (*dispositions[])(int) = {SIG_DFL, count_broken_pipe, SIG_IGN};
    char *many = calloc(1, 1 << 20);
    for (size_t i = 0; i < 3; i++) {
        struct sigaction action = {0}, after;
        action.sa_handler = dispositions[i];
        sigaction(SIGPIPE, &action, NULL);
        Err err = {0};
        OsChild *child = start("exit 5");
        assert_failed_error(
            os_child_write(child, many, 1 << 20, 5, &err), &err, "stopped reading its input (exited with status 5)");
        assert_int_equal(os_child_stop(child, 5, &err), -1);
        sigset_t blocked, pending;
        sigprocmask(SIG_BLOCK, NULL, &blocked);
        sigpending(&pending);
        assert_int_equal(sigismember(&blocked, SIGPIPE), 0);
        assert_int_equal(sigismember(&pending, SIGPIPE), 0);
        sigaction(SIGPIPE, NULL, &after);
        assert_true(after.sa_handler == dispositions[i]);
    }
    assert_int_equal(broken_pipes, 0);
    signal(SIGPIPE, SIG_DFL);
    free(many);
}

static void a_child_gets_the_usual_sigpipe(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); // must not be inherited: `yes | head` relies on it
    Err err = {0};
    Text line = {0};
    OsChild *child = start("sh -c 'kill -13 $$'; echo $?");
    assert_int_equal(os_child_read_line(child, &line, 5, &err), 1);
    assert_string_equal(line.data, "141");
    assert_ok(os_child_stop(child, 5, &err), &err);
    signal(SIGPIPE, SIG_DFL);
    text_free(&line);
}

static void a_silent_program_is_killed_with_what_it_started(void **state)
{
    (void)state;
    char *pids = path_in(test_folder, "pids"), command[600];
    snprintf(command, sizeof command, "sleep 100 & echo $! > '%s'; sleep 100", pids);
    OsChild *child = start(command);
    Err err = {0};
    Text output = {0};
    double before = os_now_s();
    assert_failed_error(os_child_exchange(child, "x\n", 2, 1, &output, 0.3, &err), &err, "no reply within 0.3 s");
    assert_true(os_now_s() - before < 3);
    char *text = read_file(pids, NULL);
    pid_t grandchild = (pid_t)atol(text);
    assert_true(grandchild > 1);
    bool gone = false;
    for (int i = 0; i < 300 && !gone; i++) { // init may take a moment to collect it
        char name[60], line[200] = "";
        snprintf(name, sizeof name, "/proc/%ld/stat", (long)grandchild);
        FILE *stat_file = fopen(name, "r");
        gone = kill(grandchild, 0) != 0 || (stat_file && fgets(line, sizeof line, stat_file) && strstr(line, ") Z"));
        if (stat_file) fclose(stat_file);
        usleep(10000);
    }
    assert_true(gone);
    assert_failed_error(os_child_stop(child, 5, &err), &err, "was killed by signal 9");
    assert_true(no_children());
    text_free(&output);
    free(text);
    free(pids);
}

static void the_limit_is_for_each_line(void **state)
{
    (void)state;
    Err err = {0};
    Text output = {0};
    OsChild *child = start("for i in 1 2 3 4 5; do sleep 0.2; echo $i; done");
    assert_ok(os_child_exchange(child, "", 0, 5, &output, 0.7, &err), &err);
    assert_string_equal(output.data, "1\n2\n3\n4\n5\n");
    assert_ok(os_child_stop(child, 5, &err), &err);
    child = start("while :; do printf .; sleep 0.05; done"); // moves bytes for ever, and never ends a line
    assert_failed_error(os_child_read_line(child, &output, 0.4, &err), &err, "no reply within 0.4 s");
    assert_int_equal(os_child_stop(child, 5, &err), -1);
    text_free(&output);
}

static void a_line_without_end_does_not_fill_the_memory(void **state)
{
    (void)state;
    OsChild *child = start("tr '\\0' x < /dev/zero");
    Err err = {0};
    Text line = {0};
    assert_failed_error(os_child_read_line(child, &line, 20, &err), &err, "wrote more than 64 MB");
    assert_int_equal(os_child_stop(child, 0.5, &err), -1);
    text_free(&line);
}

static void a_program_that_reads_nothing_times_out(void **state)
{
    (void)state;
    OsChild *child = start("exec sleep 100");
    char *many = calloc(1, 1 << 20);
    Err err = {0};
    assert_failed_error(os_child_write(child, many, 1 << 20, 0.3, &err), &err, "did not read its input within 0.3 s");
    assert_int_equal(os_child_stop(child, 5, &err), -1);
    free(many);
}

static void stopping_waits_drains_and_kills(void **state)
{
    (void)state;
    Err err = {0};
    assert_ok(os_child_stop(NULL, 5, &err), &err);
    assert_ok(os_child_stop(start("cat > /dev/null; sleep 0.2"), 5, &err), &err);
    assert_ok(os_child_stop(start("head -c 1000000 /dev/zero"), 5, &err), &err); // more than the pipe holds
    assert_ok(os_child_stop(start("exec >&-; cat > /dev/null"), -1, &err), &err);
    double before = os_now_s();
    assert_failed_error(
        os_child_stop(start("exec sleep 100"), 0.3, &err), &err, "did not end after its input was closed within 0.3 s");
    assert_true(os_now_s() - before < 3);
    assert_true(no_children());
}

// Otherwise the first would never see the end of its input while the second lives.
static void children_do_not_hold_each_others_pipes(void **state)
{
    (void)state;
    OsChild *first = start("cat"), *second = start("cat");
    Err err = {0};
    assert_ok(os_child_stop(first, 5, &err), &err);
    assert_ok(os_child_stop(second, 5, &err), &err);
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void leaves_no_descriptor_open(void **state)
{
    (void)state;
    Err err = {0};
    int before = open_descriptors();
    for (int i = 0; i < 5; i++) {
        OsMap map;
        OsNames names;
        OsChild *child = start("exec cat");
        assert_ok(os_child_stop(child, 5, &err), &err);
        child = start("exec true");
        usleep(50000); // gone before anyone looks at its pipes
        assert_ok(os_child_stop(child, 5, &err), &err);
        child = start("exec sleep 100");
        Text line = {0};
        assert_int_equal(os_child_read_line(child, &line, 0.02, &err), -1);
        assert_int_equal(os_child_stop(child, 5, &err), -1);
        char *path = path_in(test_folder, "f");
        assert_ok(os_write_file(path, "x", 1, &err), &err);
        assert_ok(os_map_file(&map, path, &err), &err);
        os_unmap(&map);
        assert_ok(os_list_folder(&names, test_folder, &err), &err);
        os_names_free(&names);
        free(path);
    }
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_test_folder, drop_test_folder)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(talks_line_by_line),
        cmocka_unit_test(returns_empty_and_unended_lines_then_the_end),
        cmocka_unit_test(exchanges_more_than_the_pipes_hold),
        cmocka_unit_test(a_program_sees_the_end_of_its_last_input),
        cmocka_unit_test(keeps_lines_that_were_not_asked_for),
        cmocka_unit_test(names_how_a_program_died),
        cmocka_unit_test(a_reply_that_stops_short_is_counted),
        cmocka_unit_test(a_program_that_does_not_read_raises_no_signal),
        cmocka_unit_test(a_child_gets_the_usual_sigpipe),
        IN_FOLDER(a_silent_program_is_killed_with_what_it_started),
        cmocka_unit_test(the_limit_is_for_each_line),
        cmocka_unit_test(a_line_without_end_does_not_fill_the_memory),
        cmocka_unit_test(a_program_that_reads_nothing_times_out),
        cmocka_unit_test(stopping_waits_drains_and_kills),
        cmocka_unit_test(children_do_not_hold_each_others_pipes),
        IN_FOLDER(leaves_no_descriptor_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
