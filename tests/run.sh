#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs test programs one after the other and adds up their results; skipped tests are listed with their reason.
#   RAFT_BINARY=... RUNNER=valgrind sh tests/run.sh PROGRAM...
passed=0 failed=0 skipped=0
[ -n "${RAFT_ISA:-}" ] || unset RAFT_ISA
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
export ASAN_OPTIONS="allocator_may_return_null=1" # so that memory that is not there is refused, not a crash
log=$(mktemp) || exit 2
trap 'rm -f "$log"' EXIT
for program in "$@"; do
    for attempt in 1 2 3 4 5; do # clang 14's leak checker now and then crashes itself while threads end (google/sanitizers issue 1353)
        # shellcheck disable=SC2086
        $RUNNER "$program" > "$log" 2>&1
        status=$?
        grep -q 'LeakSanitizer has encountered a fatal error' "$log" || break
        echo "    $(basename "$program"): LeakSanitizer crashed in attempt $attempt"
    done
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
