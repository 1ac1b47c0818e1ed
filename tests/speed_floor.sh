#!/bin/sh
# SPDX-License-Identifier: MIT
# Our matrix products must not fall below 0.9 times BLIS in its fastest configuration, as a geometric mean of ratios measured in turn.
# A busy machine gets three tries: the best one counts, because what disturbs a ratio comes and goes and a regression stays.
#   sh tests/speed_floor.sh [PROGRAM]
set -u
program=${1:-./raft}
if [ "$("$program" info --json | tr -d ' ' | sed -n 's/.*"isa":"\([a-z0-9]*\)".*/\1/p')" = plain ]; then
    echo "SKIPPED: software multiply-adds are no match for BLIS"
    exit 0
fi
if "$program" info --json | tr -d ' \n' | grep -q '"blis":null'; then
    echo "SKIPPED: this build is without BLIS"
    exit 0
fi
best=0
for try in 1 2 3; do
    ratio=$("$program" bench matmul --seconds 0.2 --json | tr -d ' ' | sed -n 's/.*"matmul_ratio":\([0-9.e+-]*\).*/\1/p')
    [ -n "$ratio" ] || { echo "bench matmul tells no ratio to BLIS" >&2; exit 1; }
    echo "ours / BLIS: $ratio"
    best=$(awk -v a="$best" -v b="$ratio" 'BEGIN {print (a > b ? a : b)}')
    if awk -v r="$best" 'BEGIN {exit !(r >= 0.9)}'; then exit 0; fi
done
echo "matrix products have become slow: $best times BLIS, the floor is 0.9" >&2
exit 1
