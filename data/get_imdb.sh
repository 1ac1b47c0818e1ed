#!/bin/sh
# SPDX-License-Identifier: MIT
# Finds, unpacks or downloads the Large Movie Review Dataset (Maas et al., ACL 2011) and prints the folder that holds its train/
# and test/: that one line goes to standard output, everything else to standard error.
#
#   sh data/get_imdb.sh                      what $IMDB names, else data/aclImdb, else the official archive is downloaded
#   sh data/get_imdb.sh FOLDER               aclImdb itself, or the folder it lies in
#   sh data/get_imdb.sh ARCHIVE.tar.gz       unpacked beside this script, once
#
# IMDB_INTO: unpack into this folder instead. IMDB_URL, IMDB_SHA256: a mirror, and the checksum of what it offers.
# Exit status: 1 the download failed or the disk is full, 2 the argument or the archive is at fault.
set -u

# Stanford publishes no checksum. This one is what TensorFlow Datasets and CorpusLoaders.jl compare with; the MD5 in torchtext
# (torchtext/datasets/imdb.py) is 7c2ac02c03563afcf9b574c7e56c153a.
official_url=https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz
official_sha256=c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe
url=${IMDB_URL:-$official_url}
sha256=${IMDB_SHA256:-$official_sha256}
here=$(dirname -- "$0")
into=${IMDB_INTO:-$here}
temporary=$into/aclImdb.tmp.$$ # beside the target, so that the last step is a rename

say() { printf 'get_imdb: %s\n' "$*" >&2; }
die() { status=$1; shift; say "$@"; exit "$status"; }
clean() { [ ! -e "$temporary" ] || rm -rf "$temporary"; }
trap clean EXIT
trap 'exit 1' HUP INT TERM

# The first of the four folders that is missing or has no reviews; nothing when all are there.
lacks() {
    for part in train/pos train/neg test/pos test/neg; do
        [ -n "$(find "$1/$part/." -name '*.txt' 2> /dev/null | head -n 1)" ] || { echo "$part"; return; }
    done
}
has_reviews() { [ -z "$(lacks "$1")" ]; }

# The checksum of a file; nothing when this system has no program for it.
sum_of() {
    if command -v sha256sum > /dev/null; then sha256sum < "$1"
    elif command -v shasum > /dev/null; then shasum -a 256 < "$1"
    elif command -v openssl > /dev/null; then openssl dgst -sha256 -r < "$1"
    fi | cut -d ' ' -f 1
}
matches() { [ "$(sum_of "$1")" = "$2" ]; }

# Why tar failed: a bad archive (2) or a bad day (1).
explain_tar() {
    gzip -t < "$1" 2> /dev/null || die 2 "$1: not a complete .tar.gz file (cut short, or of another kind)"
    gzip -dc < "$1" | tar -tf - > /dev/null 2>&1 || die 2 "$1: holds no complete tar archive"
    die 1 "$1: cannot be unpacked into $into (is the disk full?)"
}

# unpack ARCHIVE TARGET: all or nothing. Other files of the archive are kept: train/unsup can be learned from too.
unpack() {
    say "unpacking $1"
    mkdir "$temporary" || die 1 "cannot write into $into"
    tar -xzof - -C "$temporary" < "$1" 2> /dev/null || explain_tar "$1"
    for root in "$temporary" "$temporary"/* "$temporary"/*/*; do
        if has_reviews "$root"; then
            [ ! -e "$2" ] || die 1 "$2 appeared while unpacking; run again"
            mv "$root" "$2" || die 1 "cannot rename $root to $2"
            return
        fi
    done
    die 2 "$1: no reviews in it (expected aclImdb/train/pos, train/neg, test/pos and test/neg with .txt files)"
}

use_folder() {
    folder=${1%/}
    for root in "${folder:-/}" "$folder/aclImdb"; do
        if has_reviews "$root"; then printf '%s\n' "$root"; exit 0; fi
    done
    die 2 "$1: no reviews in $(lacks "$folder") (expected train/pos, train/neg, test/pos, test/neg with .txt files)"
}

# The target of a finished unpacking: print it, or refuse what somebody else put there.
use_target() {
    [ -e "$1" ] || return 0
    has_reviews "$1" || die 2 "$1: no reviews in $(lacks "$1"); remove that folder and run again"
    printf '%s\n' "$1"
    exit 0
}

use_archive() {
    [ -r "$1" ] || die 2 "$1: cannot be read"
    if matches "$1" "$official_sha256"; then target=$into/aclImdb
    else
        # shellcheck disable=SC2046
        set -- "$1" $(cksum < "$1")
        target=$into/aclImdb-$2-$3
    fi
    use_target "$target"
    unpack "$1" "$target"
    use_target "$target"
}

# ---- the download: a cut one is kept as .part and resumed ------------------------------------------------------------------

# transfer FILE: 0 done, 1 failed, 3 failed because the server would not resume
transfer() {
    if command -v curl > /dev/null; then
        curl -fL --retry 2 --connect-timeout 20 -C - -o "$1" "$url" >&2
        case $? in 0) return 0 ;; 22|33|36) return 3 ;; *) return 1 ;; esac
    elif command -v wget > /dev/null; then
        wget -c -O "$1" "$url" >&2
        case $? in 0) return 0 ;; 8) return 3 ;; *) return 1 ;; esac
    fi
    say "neither curl nor wget is installed"
    return 1
}

by_hand() {
    say "the download failed; what arrived is kept and continued next time. By hand: download"
    say "    $url"
    say "on any machine, then: sh $0 /path/to/aclImdb_v1.tar.gz   (or: make imdb IMDB=/path/to/aclImdb_v1.tar.gz)"
    exit 1
}

# download FILE: on return it is there and its checksum is right.
download() {
    part=$1.part
    if [ -f "$1" ]; then
        if matches "$1" "$sha256"; then return; fi
        rm -f "$1"
    fi
    [ -n "$(sum_of "$0")" ] || die 1 "no sha256sum, shasum or openssl to check the download with; install one of them"
    for attempt in resume afresh; do
        [ -s "$part" ] || attempt=afresh
        if [ $attempt = afresh ]; then rm -f "$part"; fi
        if [ $attempt = afresh ] || ! matches "$part" "$sha256"; then
            say "downloading $url (84 MB)"
            transfer "$part"
            case $? in
            0) ;;
            3) if [ $attempt = resume ]; then say "it cannot be resumed: again from the start"; continue; fi; by_hand ;;
            *) by_hand ;;
            esac
        fi
        if matches "$part" "$sha256"; then
            mv "$part" "$1" || die 1 "cannot rename $part to $1"
            return
        fi
        found=$(sum_of "$part")
        rm -f "$part"
        [ $attempt = resume ] || break
        say "what was resumed is damaged: again from the start"
    done
    die 1 "$url: the SHA-256 of what arrived is $found, expected $sha256"
}

# ---- what was asked for ----------------------------------------------------------------------------------------------------

[ $# -le 1 ] || die 2 "usage: sh $0 [FOLDER or ARCHIVE.tar.gz]"
given=${1:-${IMDB:-}}
case $given in
-h|--help) sed -n '3,12s/^# \{0,1\}//p' "$0" >&2; exit 0 ;;
-*) die 2 "unknown option $given (usage: sh $0 [FOLDER or ARCHIVE.tar.gz])" ;;
esac
if [ -n "$given" ] && [ ! -e "$given" ]; then die 2 "$given: does not exist (expected a folder or a .tar.gz archive)"; fi
if [ -d "$given" ]; then use_folder "$given"; fi

mkdir -p "$into" 2> /dev/null
if [ ! -d "$into" ] || [ ! -w "$into" ]; then die 1 "cannot write into $into (IMDB_INTO=FOLDER names another place)"; fi
for stale in "$into"/aclImdb.tmp.*; do # of a run that was killed
    [ ! -d "$stale" ] || kill -0 "${stale##*.}" 2> /dev/null || rm -rf "$stale"
done
if [ -n "$given" ]; then use_archive "$given"; fi
use_target "$into/aclImdb"
download "$into/aclImdb_v1.tar.gz"
unpack "$into/aclImdb_v1.tar.gz" "$into/aclImdb"
rm -f "$into/aclImdb_v1.tar.gz"
use_target "$into/aclImdb"
