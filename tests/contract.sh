#!/bin/sh
# SPDX-License-Identifier: MIT
# The numerics contract (docs/DESIGN.md, section 4) on every variant that this machine can build and run: each runs profiles/contract
# with all its stages and PPO on its model, and traces one iteration. What must not differ (weights, candidates, metrics, the hashes of
# the trace) is compared with tests/golden/contract. Prints a table of variants with one hash for all; the first that differs ends it, with the names of
# the files and of the first tensor.
#   sh tests/contract.sh            every variant
#   sh tests/contract.sh --quick    one thread count each
#   sh tests/contract.sh --record   writes tests/golden/contract anew: after a deliberate change of the arithmetic, or of what the files hold, only
set -u
golden=tests/golden/contract
tmp=build/contract-run # a reward's name is its path: it must be the same everywhere
rm -rf "$tmp" && mkdir -p "$tmp" || exit 2
trap 'rm -rf "$tmp"' EXIT
threads="1 2 3" record=no
case ${1:-} in --quick) threads=2 ;; --record) record=yes ;; esac

# one_run RUNNER PROGRAM: leaves files.txt (checksum, size, name of what the runs write) and trace/index.jsonl in $tmp
one_run() {
    rm -rf "$tmp/run" "$tmp/ppo" "$tmp/trace"
    program_line="$1 $2" lm=$tmp/run/lm proxy=head:$tmp/run/proxy prompts=data/example-prompts.jsonl
    # shellcheck disable=SC2086
    $program_line demo --profile contract -o "$tmp/run" --quiet > /dev/null &&
        $program_line align "$lm" --algo ppo --prompts $prompts --reward "$proxy" --samples 3 --max-new 12 --iterations 3 --batch 8 \
            --lr 1e-3 --kl-target 2 --eval-prompts 4 -o "$tmp/ppo" --quiet > /dev/null &&
        $program_line trace iteration "$lm" --profile contract --prompts $prompts --reward "$proxy" --gold "head:$tmp/run/gold" \
            --hashes-only -o "$tmp/trace" > /dev/null || return 1
    (cd "$tmp" && cksum run/tokenizer.json run/lm/[cmt]* run/proxy/[cmt]* run/gold/[cmt]* run/heads.json run/checkpoint/[cmt]* \
        run/iter_*/candidates.jsonl run/samples_*.jsonl run/metrics.jsonl ppo/checkpoint/[cmt]* ppo/iter_*/candidates.jsonl ppo/metrics.jsonl) > "$tmp/files.txt"
}

# explain VARIANT: which files and which tensor
explain() {
    echo "the bits of \"$1\" differ from $golden; files that do:" >&2
    diff "$golden/files.txt" "$tmp/files.txt" | sed -n 's/^> [0-9]* [0-9]* /    /p' >&2
    "$native" diff "$golden/trace.jsonl" "$tmp/trace/index.jsonl" | sed -n 1p >&2
    exit 1
}

# variant NAME RUNNER PROGRAM, with RAFT_ISA and OMP_NUM_THREADS from the environment
variant() {
    start=$(date +%s)
    one_run "$2" "$3" || { echo "\"$1\" does not run" >&2; exit 1; }
    if [ $record = yes ]; then
        mkdir -p $golden
        cp "$tmp/files.txt" $golden/files.txt
        cp "$tmp/trace/index.jsonl" $golden/trace.jsonl
        echo "$golden written by $1: $(cat $golden/files.txt $golden/trace.jsonl | cksum)"
        exit 0
    fi
    for said in "\"isa\":\"$RAFT_ISA\"" "\"threads\":$OMP_NUM_THREADS"; do # what ran is what was asked for
        tr -d ' \n' < "$tmp/run/provenance.json" | grep -qF "$said" || { echo "\"$1\" ran with something else than $said" >&2; exit 1; }
    done
    printf '%-44s %s  %3d s\n' "$1" "$(cat "$tmp/files.txt" "$tmp/trace/index.jsonl" | cksum)" $(($(date +%s) - start))
    cmp -s "$tmp/files.txt" $golden/files.txt && cmp -s "$tmp/trace/index.jsonl" $golden/trace.jsonl || explain "$1"
    count=$((count + 1))
}

# build SETTING...: compiles with these settings of make; sets $program
build() {
    program=$(make -s print-program "$@") && make -s "$program" "$@" > "$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }
    native=${native:-$program}
}

# every instruction set of a program that runs with RUNNER, each with several threads
all_sets() { # NAME RUNNER PROGRAM THREADS
    sets=$($2 "$3" info --json | tr -d ' \n' | sed -n 's/.*"isa_available":\[\([^]]*\)\].*/\1/p' | tr -d '"' | tr ',' ' ')
    [ -n "$sets" ] || { echo "\"$1\" does not tell its instruction sets" >&2; exit 1; }
    for isa in $sets; do
        for n in $4; do
            export RAFT_ISA="$isa" OMP_NUM_THREADS="$n"
            variant "$1 $isa, $n threads" "$2" "$3"
        done
    done
}

count=0
native= # the first program built, for `raft diff`
for cc in gcc clang; do
    command -v $cc > /dev/null || { echo "SKIPPED: $cc is not installed"; continue; }
    build CC=$cc MODE=release
    all_sets "$cc -O3" "" "$program" "$threads"
    build CC=$cc MODE=debug
    all_sets "$cc -O0" "" "$program" 2
done
case $(uname -m) in
    aarch64 | arm64) ;;
    *)
        if settings=$(sh tools/aarch64.sh 2> "$tmp/reason"); then
            emulator=$(sh tools/aarch64.sh emulator)
            eval "build $settings MODE=release"
            all_sets "aarch64 gcc -O3, emulated" "$emulator" "$program" 2
            eval "build $settings MODE=debug" # NEON only: the soft fma at -O0 in an emulator takes longer than all else together
            export RAFT_ISA=neon OMP_NUM_THREADS=3
            variant "aarch64 gcc -O0, emulated neon, 3 threads" "$emulator" "$program"
        else
            echo "SKIPPED: aarch64: $(cat "$tmp/reason")"
        fi ;;
esac
[ $count -gt 0 ] || { echo "no variant could be run" >&2; exit 1; }
echo "$count variants, one hash"
