#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs profiles/contract, and PPO on its model, with every instruction set this machine has, 1 to 3 threads, and -O0, and compares the bits of all that
# must not differ: weights, candidates, metrics. Prints a table of variants with one hash for all, or fails.
#   CC=gcc sh tests/same_bits.sh
set -u
CC=${CC:-gcc}
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
reference=

# variant NAME PROGRAM: runs it (RAFT_ISA and OMP_NUM_THREADS from the environment) and compares its hash with the first one's
variant() {
    rm -rf "$tmp/run"
    if ! "$2" demo --profile contract -o "$tmp/run" --quiet > /dev/null 2> "$tmp/log"; then cat "$tmp/log" >&2; exit 1; fi
    rm -rf "$tmp/ppo"
    if ! "$2" align "$tmp/run/lm" --algo ppo --prompts data/example-prompts.jsonl --reward "head:$tmp/run/proxy" --samples 3 --max-new 12 --iterations 3 \
        --batch 8 --lr 1e-3 --kl-target 2 --eval-prompts 4 -o "$tmp/ppo" --quiet > /dev/null 2> "$tmp/log"; then cat "$tmp/log" >&2; exit 1; fi
    hash=$(cd "$tmp/run" && cat tokenizer.json lm/[cmt]* proxy/[cmt]* gold/[cmt]* heads.json checkpoint/[cmt]* iter_*/candidates.jsonl samples_*.jsonl metrics.jsonl \
        ../ppo/checkpoint/[cmt]* ../ppo/iter_*/candidates.jsonl | cksum)
    printf '%-34s %s\n' "$1" "$hash"
    [ -n "$reference" ] || reference=$hash
    [ "$hash" = "$reference" ] || { echo "the bits of \"$1\" differ" >&2; exit 1; }
}

make -s raft CC="$CC" || exit 1
for isa in $(./raft info --json | tr -d ' ' | sed -n 's/.*"isa_available":\[\([^]]*\)\].*/\1/p' | tr -d '"' | tr ',' ' '); do
    for threads in 1 2 3; do
        RAFT_ISA=$isa OMP_NUM_THREADS=$threads variant "$CC -O3 $isa, $threads threads" ./raft
    done
done
make -s build/O0/raft BUILD=build/O0 CC="$CC" MODE=debug || exit 1
variant "$CC -O0" build/O0/raft
other=clang
[ "$CC" = clang ] && other=gcc
if command -v $other > /dev/null; then
    make -s build/other/raft BUILD=build/other CC=$other || exit 1
    variant "$other -O3" build/other/raft
else
    echo "SKIPPED: $other is not installed"
fi
