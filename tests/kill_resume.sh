#!/bin/sh
# SPDX-License-Identifier: MIT
# Kills runs (SIGKILL) at random instants and resumes them until they are done; all that they leave must then have the bytes of a
# run that was never touched. Random by a seed, so that the instants repeat as far as the machine's speed does.
#   sh tests/kill_resume.sh [PROGRAM [KILLS [SEED]]]          60 kills, spread over the commands
set -u
raft=${1:-./raft} kills=${2:-60} seed=${3:-1}
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
export OMP_NUM_THREADS=1
draw=0 done_kills=0

# random LIMIT: a number of seconds below it
random() { awk -v s="$seed" -v n="$draw" -v l="$1" 'BEGIN { srand(s * 1000003 + n); rand(); printf "%.3f", rand() * l }'; }

# A list of files and checksums: everything but what differs by machine and time, and what only an unfinished run holds.
sums() { (cd "$1" && find . -type f ! -name provenance.json ! -name timing.jsonl ! -name settings.conf ! -name report.html ! -name comparison.md ! -path './arms/*-s?.json' ! -name '*.tmp' | LC_ALL=C sort | xargs cksum); }

fail() { echo "$1" >&2; [ ! -f "$tmp/log" ] || cat "$tmp/log" >&2; exit 1; }

# case NAME KILLS ARGUMENTS...: the command line without -o
kill_case() {
    name=$1 wanted=$2 killed=0 rounds=0
    shift 2
    started=$(date +%s.%N 2> /dev/null) || started=$(date +%s)
    "$raft" "$@" -o "$tmp/$name" --quiet > "$tmp/log" 2>&1 || fail "$name: the reference run failed"
    length=$(awk -v a="$started" -v b="$(date +%s.%N)" 'BEGIN { print b - a < 0.05 ? 0.05 : b - a }')
    sums "$tmp/$name" > "$tmp/$name.sums"
    [ -z "$(find "$tmp/$name" -name '*.safetensors' -path '*state*')" ] || fail "$name: a finished run keeps its state"
    while [ $killed -lt "$wanted" ]; do
        rounds=$((rounds + 1))
        [ $rounds -le 60 ] || fail "$name: only $killed kills in $rounds runs"
        rm -rf "$tmp/cut"
        while :; do
            "$raft" "$@" -o "$tmp/cut" --resume --quiet > "$tmp/log" 2>&1 &
            child=$! draw=$((draw + 1))
            sleep "$(random "$length")"
            if kill -9 $child 2> /dev/null; then killed=$((killed + 1)); fi
            wait $child 2> /dev/null
            status=$?
            [ $status -eq 0 ] && break # done before it could be killed
            [ $status -eq 137 ] || fail "$name: exit status $status after $killed kills"
        done
        "$raft" "$@" -o "$tmp/cut" --resume --quiet > "$tmp/log" 2>&1 || fail "$name: a finished run cannot be resumed"
        sums "$tmp/cut" > "$tmp/cut.sums"
        cmp -s "$tmp/$name.sums" "$tmp/cut.sums" || { diff "$tmp/$name.sums" "$tmp/cut.sums" >&2; fail "$name: other bytes after $killed kills"; }
    done
    done_kills=$((done_kills + killed))
    printf '%-12s %3d kills, %d runs of %.2f s: the same bytes\n' "$name" "$killed" "$rounds" "$length"
}

share=$((kills / 9 + 1))
small="--profile contract --save-every 3"
# shellcheck disable=SC2086
{
    kill_case demo $((share * 2)) demo $small
    lm=$tmp/demo/lm
    kill_case pretrain $share pretrain --corpus data/reviews.grammar --corpus-size 60 --tokenizer "$tmp/demo/tokenizer.json" $small
    kill_case sft $share sft "$lm" --data data/example-answers.jsonl --train-layers 0 --epochs 12 --batch 1 $small
    kill_case reward $share reward train --corpus data/reviews.grammar --corpus-size 60 --init "$lm" --epochs 3 $small
    kill_case finetune $share finetune "$lm" --data "$tmp/demo/iter_000/candidates.jsonl" --epochs 20 --batch 1 $small
    kill_case ppo $share align "$lm" --algo ppo --prompts data/example-prompts.jsonl --reward "head:$tmp/demo/proxy" --limit 6 --epochs 3 --train-layers 1 $small --top-k 0 --top-p 1 --kl-beta 0 --iterations 4
    kill_case compare $share compare $small --seeds 1 --arm base --arm sft --arm raft --arm ppo --arm "top:best-of samples=2 of=raft" --ppo.top-k 0 --ppo.top-p 1 --ppo.kl-beta 0
    kill_case align $share align "$lm" --prompts data/example-prompts.jsonl --reward "head:$tmp/demo/proxy" --gold "head:$tmp/demo/gold" --limit 6 --epochs 3 $small
}
echo "$done_kills kills"
