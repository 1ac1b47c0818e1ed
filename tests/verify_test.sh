#!/bin/sh
# SPDX-License-Identifier: MIT
# The independent check in verify/: it agrees with the test vectors, and it notices one that was changed. PYTHON names the python3
# that has numpy; without numpy the status is 2 and says what to install.
set -eu
python=${PYTHON:-python3}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# expect STATUS TEXT COMMAND...: COMMAND ends with STATUS and says TEXT
expect() {
    wanted=$1 text=$2
    shift 2
    status=0
    "$@" > "$tmp/out" 2>&1 || status=$?
    if [ $status != "$wanted" ] || ! grep -qF -- "$text" "$tmp/out"; then
        echo "status $status instead of $wanted, or nothing about \"$text\": $*" >&2
        cat "$tmp/out" >&2
        exit 1
    fi
}

echo "verify/vectors.py: every case of tests/vectors"
"$python" verify/vectors.py

echo "verify/vectors.py: a vector that was changed is named"
mkdir "$tmp/tests" && cp -R tests/vectors "$tmp/tests/vectors"
sed 's/"rank":\[2,0,1/"rank":[2,1,0/' tests/vectors/rank.jsonl > "$tmp/tests/vectors/rank.jsonl"
expect 1 "rank.jsonl:1: SPEC 13: rank.rank[1]: here 0, there 1" "$python" verify/vectors.py "$tmp/tests/vectors" rank
sed '1,/"operation":"fma"/s/"y":"f32:3f800001/"y":"f32:3f800000/' tests/vectors/functions.jsonl > "$tmp/tests/vectors/functions.jsonl"
expect 1 "functions.jsonl:1: SPEC 1.2: fma.y[0]: here 3f800001, there 3f800000" "$python" verify/vectors.py "$tmp/tests/vectors" fma
