#!/bin/sh
# SPDX-License-Identifier: MIT
# The independent check in verify/: it agrees with the test vectors and with traces of RAFT_BINARY, and it names what was changed in
# either. PYTHON names the python3 that has numpy; without numpy the status is 2 and says what to install.
set -eu
python=${PYTHON:-python3} raft=${RAFT_BINARY:-./raft}
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

run=$tmp/run prompts=data/example-prompts.jsonl
echo "verify/replay.py: two iterations of the model of profiles/contract"
"$raft" demo --profile contract -o "$run" --quiet > /dev/null
local_="--settings profiles/contract.conf --reward head:$run/proxy"
global="$local_ --reward -0.01*length:4 --reference $run/lm --iteration 3 --mode global --accept 0.3 --seed 9 --temperature 0.8 --stop e
    --stage-prompts 5 --samples 3 --min-new 5"
replay() { # PROGRAM TRACE CHECKPOINT SETTING...
    program=$1 trace=$2 checkpoint=$3
    shift 3
    "$python" "verify/$program" "$trace" --checkpoint "$checkpoint" --prompts $prompts "$@"
}
trace() { # TRACE CHECKPOINT SETTING...: `raft` knows the settings file as a profile
    trace=$1 checkpoint=$2
    shift 2
    "$raft" trace iteration "$checkpoint" --prompts $prompts -o "$trace" $(echo "$*" | sed 's/--settings/--profile/; s/profiles.contract.conf/contract/') > /dev/null
}
# shellcheck disable=SC2086
trace "$tmp/local" "$run/lm" $local_
# shellcheck disable=SC2086
replay replay.py "$tmp/local" "$run/lm" $local_
# shellcheck disable=SC2086
trace "$tmp/global" "$run/checkpoint" $global
# shellcheck disable=SC2086
replay replay.py "$tmp/global" "$run/checkpoint" $global
# shellcheck disable=SC2086
trace "$tmp/frozen" "$run/lm" $local_ --train-layers 1
# shellcheck disable=SC2086
replay replay.py "$tmp/frozen" "$run/lm" $local_ --train-layers 1
echo '{"prompt_id": "2", "text": " a great film"}' > "$tmp/answers.jsonl"
# shellcheck disable=SC2086
trace "$tmp/experts" "$run/lm" $local_ --expert "$run/checkpoint" --expert "$tmp/answers.jsonl"
# shellcheck disable=SC2086
replay replay.py "$tmp/experts" "$run/lm" $local_

echo "verify/self_test.py: a mistake in a trace is named"
# shellcheck disable=SC2086
replay self_test.py "$tmp/local" "$run/lm" $local_

echo "verify/replay.py: other settings are noticed, a damaged trace is refused"
# shellcheck disable=SC2086
expect 1 "first disagreement: collect.prompts[" replay replay.py "$tmp/local" "$run/lm" $local_ --no-passes --seed 2
# shellcheck disable=SC2086
expect 1 "first disagreement: step.000.lr[0] (SPEC 9.5)" replay replay.py "$tmp/local" "$run/lm" $local_ --no-passes --lr 2e-3
# shellcheck disable=SC2086
expect 2 "the trace holds no step.000.grad.model.layers.0." replay replay.py "$tmp/frozen" "$run/lm" $local_ --no-passes --train-layers 0-1
head -c 1000 "$tmp/local/collect.safetensors" > "$tmp/cut" && mv "$tmp/cut" "$tmp/local/collect.safetensors"
# shellcheck disable=SC2086
expect 2 "collect.safetensors: cut or not a safetensors file" replay replay.py "$tmp/local" "$run/lm" $local_
