#!/bin/sh
# SPDX-License-Identifier: MIT
# Fuzzes the readers of files under AddressSanitizer and UBSan: sh tests/fuzz/run.sh SECONDS [READER...]   (make fuzz SECONDS=60)
# Begins with tests/fuzz/seeds/READER, keeps what it learns in build/fuzz/corpus/READER and findings in build/fuzz/findings. A finding is
# fixed, and its file goes to tests/fuzz/seeds/READER, which tests/test_fuzz.c replays. Needs clang with libFuzzer.
set -eu
seconds=${1:?usage: sh tests/fuzz/run.sh SECONDS [READER...]}
shift
cd "$(dirname "$0")/../.."
clang=${CLANG:-clang}
build=build/fuzz
flags="-fsanitize=fuzzer-no-link"
${MAKE:-make} --no-print-directory -s CC="$clang" MODE=sanitize OPENMP=0 BLIS=0 ISAS=plain CFLAGS="$flags" BUILD=$build $build/libraft.a
"$clang" -std=c11 -g -O1 -I. -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o $build/fuzz tests/fuzz/fuzz.c tests/fuzz/readers.c \
    $build/libraft.a -ljansson -lm
[ $# -gt 0 ] || set -- $(ls tests/fuzz/seeds)
mkdir -p $build/findings
status=0
for reader in "$@"; do
    mkdir -p "$build/corpus/$reader"
    folder=$(mktemp -d)
    if RAFT_FUZZ=$reader RAFT_FUZZ_FOLDER=$folder "$build/fuzz" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=1024 \
        -max_len=16384 -close_fd_mask=1 -artifact_prefix="$build/findings/$reader-" "$build/corpus/$reader" "tests/fuzz/seeds/$reader" > "$build/$reader.log" 2>&1
    then result="no finding"
    else result="A FINDING: $build/findings, $build/$reader.log"; status=1
    fi
    rm -rf "$folder"
    echo "$reader: $(grep -c . "$build/$reader.log") lines, $(tail -1 "$build/$reader.log"), $result"
done
exit $status
