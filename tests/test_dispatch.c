// SPDX-License-Identifier: MIT
/* test_dispatch.c - what a computation is set up with: instruction set, backend, threads; and what is refused. */
#define _POSIX_C_SOURCE 200809L // setenv
#include "kernels/kernels.h"
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

static void lists_distinct_sets_with_plain_last(void **state)
{
    (void)state;
    const Kernels *list[4];
    size_t count = kernels_available(list);
    assert_in_range(count, 1, 4);
    assert_string_equal(list[count - 1]->isa, "plain");
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++) assert_string_not_equal(list[i]->isa, list[j]->isa);
}

static void takes_the_best_set_unless_told(void **state)
{
    (void)state;
    const Kernels *list[4];
    size_t count = kernels_available(list);
    Compute cx;
    Err err = {0};
    unsetenv("RAFT_ISA");
    assert_ok(compute_init(&cx, NULL, NULL, 0, &err), &err);
    assert_ptr_equal(cx.k, list[0]);
    compute_free(&cx);
    setenv("RAFT_ISA", "", 1); // as good as unset
    assert_ok(compute_init(&cx, NULL, NULL, 0, &err), &err);
    assert_ptr_equal(cx.k, list[0]);
    compute_free(&cx);
    setenv("RAFT_ISA", "plain", 1);
    assert_ok(compute_init(&cx, NULL, NULL, 0, &err), &err);
    assert_ptr_equal(cx.k, list[count - 1]);
    compute_free(&cx);
    for (size_t i = 0; i < count; i++) { // an argument outranks the variable
        assert_ok(compute_init(&cx, list[i]->isa, NULL, 0, &err), &err);
        assert_ptr_equal(cx.k, list[i]);
        compute_free(&cx);
    }
    unsetenv("RAFT_ISA");
}

static void unknown_set_is_refused_with_the_list_of_what_there_is(void **state)
{
    (void)state;
    static const char *const unknown[] = {"sse9", "AVX2", "avx", "plain ", "avx2,plain"};
    const Kernels *list[4];
    size_t count = kernels_available(list);
    Compute cx;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        Err err = {0};
        setenv("RAFT_ISA", unknown[i], 1);
        int status = compute_init(&cx, NULL, NULL, 0, &err);
        assert_input_error(status, &err, unknown[i]);
        assert_input_error(status, &err, "RAFT_ISA");
        for (size_t j = 0; j < count; j++) assert_input_error(status, &err, list[j]->isa);
        compute_free(&cx);
    }
    unsetenv("RAFT_ISA");
}

static void backend_comes_from_argument_then_variable(void **state)
{
    (void)state;
    Compute cx;
    Err err = {0};
    setenv("RAFT_MATMUL", "own", 1);
    assert_ok(compute_init(&cx, NULL, NULL, 0, &err), &err);
    assert_int_equal(cx.backend, MATMUL_OWN);
    compute_free(&cx);
    setenv("RAFT_MATMUL", "mkl", 1);
    assert_input_error(compute_init(&cx, NULL, NULL, 0, &err), &err, "RAFT_MATMUL: \"mkl\"");
    compute_free(&cx);
    assert_ok(compute_init(&cx, NULL, "own", 0, &err), &err);
    compute_free(&cx);
    setenv("RAFT_MATMUL", "blis", 1);
    int status = compute_init(&cx, NULL, NULL, 0, &err);
    if (blis_configuration()) {
        assert_ok(status, &err);
        assert_int_equal(cx.backend, MATMUL_BLIS);
    } else assert_input_error(status, &err, "without");
    compute_free(&cx);
    unsetenv("RAFT_MATMUL");
}

static void has_scratch_for_the_threads_asked_for(void **state)
{
    (void)state;
    Compute cx;
    Err err = {0};
    for (size_t threads = 1; threads <= 3; threads++) {
        assert_ok(compute_init(&cx, NULL, NULL, threads, &err), &err);
#ifdef RAFT_OPENMP
        assert_int_equal(cx.threads, threads);
#else
        assert_int_equal(cx.threads, 1);
#endif
        assert_int_equal(cx.gemm.count, cx.threads * MATMUL_THREAD_FLOATS + MATMUL_SHARED_FLOATS);
        for (size_t i = 0; i < cx.gemm.count; i++) cx.gemm.floats[i] = 1; // all of it is there
        compute_free(&cx);
        assert_null(cx.gemm.floats);
        compute_free(&cx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_distinct_sets_with_plain_last),
        cmocka_unit_test(takes_the_best_set_unless_told),
        cmocka_unit_test(unknown_set_is_refused_with_the_list_of_what_there_is),
        cmocka_unit_test(backend_comes_from_argument_then_variable),
        cmocka_unit_test(has_scratch_for_the_threads_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
