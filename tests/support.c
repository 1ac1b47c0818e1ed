// SPDX-License-Identifier: MIT
#define _XOPEN_SOURCE 700 // mkdtemp, popen
#include "tests/support.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

void assert_close(const float *got, const float *want, size_t n, double tolerance, const char *what)
{
    double scale = 0, worst = -1;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(got[i]) || !isfinite(want[i])) fail_msg("%s[%zu]: %g where %g was expected", what, i, (double)got[i], (double)want[i]);
        if (fabs(want[i]) > scale) scale = fabs(want[i]);
        if (fabs((double)got[i] - want[i]) > worst) worst = fabs((double)got[i] - want[i]), at = i;
    }
    if (n && !(worst <= tolerance * scale))
        fail_msg("%s[%zu]: got %.9g, want %.9g; off by %.3g of the largest magnitude %.3g, allowed %.3g", what, at, (double)got[at],
            (double)want[at], scale > 0 ? worst / scale : worst, scale, tolerance);
}

void assert_same_bits(const float *got, const float *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t a, b;
        memcpy(&a, got + i, 4);
        memcpy(&b, want + i, 4);
        if (a != b) fail_msg("%s[%zu]: %.9g (%08x) where %.9g (%08x) was expected", what, i, (double)got[i], a, (double)want[i], b);
    }
}

void assert_ok(int status, const Err *err)
{
    if (status) fail_msg("unexpected error: %s", err->text); // "a || b" is 1
}

static void assert_error(int status, const Err *err, int expected, const char *fragment)
{
    if (status != -1) fail_msg("an error naming \"%s\" was expected, but the call returned %d", fragment, status);
    if (err->status != expected) fail_msg("exit status %d was expected, got %d: %s", expected, err->status, err->text);
    if (!strstr(err->text, fragment)) fail_msg("the message does not name \"%s\": %s", fragment, err->text);
}

void assert_input_error(int status, const Err *err, const char *fragment) { assert_error(status, err, 2, fragment); }
void assert_failed_error(int status, const Err *err, const char *fragment) { assert_error(status, err, 1, fragment); }

char *path_in(const char *folder, const char *name)
{
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = malloc(n);
    assert_non_null(path);
    snprintf(path, n, "%s/%s", folder, name);
    return path;
}

static char *existing(const char *folder, const char *name)
{
    char *path = path_in(folder, name);
    struct stat st;
    if (stat(path, &st) == 0) return path;
    free(path);
    return NULL;
}

char *shared_path(const char *name)
{
    const char *folder = getenv("RAFT_SHARED");
    return existing(folder && *folder ? folder : "../shared", name);
}

char *golden_path(const char *name) { return existing("tests/golden", name); }

void skip_because(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char text[300];
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_message("SKIPPED: %s\n", text);
    skip();
}

char *temporary_folder(void)
{
    const char *base = getenv("TMPDIR");
    char *path = path_in(base && *base ? base : "/tmp", "raft-test-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

void remove_folder(const char *path)
{
    char command[600];
    assert_true(strstr(path, "raft-test-") != NULL);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

char *test_folder, *test_file;
const char *test_file_name = "file";

Compute test_compute;

int make_test_compute(void **state)
{
    Err err = {0};
    (void)state;
    if (compute_init(&test_compute, NULL, "own", 0, &err)) return print_error("%s\n", err.text), -1;
    return 0;
}

int drop_test_compute(void **state)
{
    (void)state;
    compute_free(&test_compute);
    return 0;
}

int make_test_folder(void **state)
{
    (void)state;
    test_folder = temporary_folder();
    test_file = path_in(test_folder, test_file_name);
    return 0;
}

int drop_test_folder(void **state)
{
    (void)state;
    remove_folder(test_folder);
    free(test_folder), free(test_file);
    return 0;
}

void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("cannot open %s", path);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *bytes = malloc((size_t)size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)size, file), size);
    fclose(file);
    bytes[size] = '\0';
    if (n) *n = (size_t)size;
    return bytes;
}

bool same_file(const char *a, const char *b)
{
    size_t n, m;
    char *bytes_a = read_file(a, &n), *bytes_b = read_file(b, &m);
    bool same = n == m && !memcmp(bytes_a, bytes_b, n);
    free(bytes_a);
    free(bytes_b);
    return same;
}

void assert_same_file(const char *a, const char *b)
{
    if (!same_file(a, b)) fail_msg("%s and %s differ", a, b);
}

uint32_t test_integer(TestRandom *random, uint32_t n) // xorshift64*
{
    uint64_t x = random->state ? random->state : 88172645463325252u;
    x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
    random->state = x;
    return (uint32_t)(((x * 2685821657736338717u) >> 32) * n >> 32);
}

float test_uniform(TestRandom *random, float low, float high)
{
    return low + (high - low) * (float)(test_integer(random, 1u << 24)) / 16777216.0f;
}

void test_fill(TestRandom *random, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = test_integer(random, 31) == 0 ? 0.0f : test_uniform(random, -1, 1);
}

#if defined(__x86_64__) && defined(__GNUC__)
bool has_machine_fma(void) { return __builtin_cpu_supports("fma"); }
__attribute__((target("fma"))) float machine_fma(float a, float b, float c)
{
    return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
}
#elif defined(__aarch64__) && defined(__GNUC__)
bool has_machine_fma(void) { return true; }
float machine_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); } // one instruction of every aarch64
#else
bool has_machine_fma(void) { return false; }
float machine_fma(float a, float b, float c) { return a * b + c; }
#endif

int run_shell(Text *output, const char *command)
{
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    char buffer[4096];
    Err err = {0};
    output->length = 0;
    for (size_t got; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;) assert_ok(text_add(output, &err, buffer, got), &err);
    assert_ok(text_add(output, &err, "", 0), &err);
    int status = pclose(pipe);
    if (!WIFEXITED(status)) fail_msg("%s was killed by signal %d", command, WTERMSIG(status));
    return WEXITSTATUS(status);
}

int run_raft(Text *output, const char *format, ...)
{
    char arguments[3000], command[4000];
    va_list args;
    va_start(args, format);
    vsnprintf(arguments, sizeof arguments, format, args);
    va_end(args);
    const char *binary = getenv("RAFT_BINARY");
    snprintf(command, sizeof command, "%s %s 2>&1 < /dev/null", binary && *binary ? binary : "./raft", arguments);
    return run_shell(output, command);
}
