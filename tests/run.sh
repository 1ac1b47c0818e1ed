#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs test programs one after the other and adds up their results; skipped tests are listed with their reason.
#   RAFT_BINARY=... RUNNER=valgrind sh tests/run.sh PROGRAM...
passed=0 failed=0 skipped=0
[ -n "${RAFT_ISA:-}" ] || unset RAFT_ISA
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
# Memory that is not there is refused, not a crash. The interceptor of clang up to 16 takes some malloc'ed blocks of thread-local
# storage for ones with a header of glibc < 2.25 and sends the leak checker to wherever the bytes before them point.
export ASAN_OPTIONS="allocator_may_return_null=1:intercept_tls_get_addr=0"
log=$(mktemp) || exit 2
trap 'rm -f "$log"' EXIT
for program in "$@"; do
    # shellcheck disable=SC2086
    $RUNNER "$program" > "$log" 2>&1
    status=$?
    ok=$(grep -c '^\[       OK \]' "$log"); bad=$(grep '^\[  FAILED  \] [a-z]' "$log" | sort -u | wc -l); skip=$(grep -c '^\[  SKIPPED \] [a-z]' "$log")
    [ $status -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
    bad=$((bad > 0 && status == 0 ? 0 : bad))
    printf '%-24s %3d passed, %d failed, %d skipped\n' "$(basename "$program")" "$ok" "$bad" "$skip"
    if [ $status -ne 0 ]; then cat "$log"; fi
    grep 'SKIPPED:' "$log" | sort -u | sed 's/^/    /'
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
