#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints the make settings that build this program for 64-bit ARM on another machine, and the emulator that runs it; obtains what is
# missing through apt, when it may (DEPS=0 forbids it). Ends with status 1 and the reason when that cannot be had.
#   settings=$(sh tools/aarch64.sh) && make raft $settings        # CC=... BLIS=0 CFLAGS="-static ..."
#   $(sh tools/aarch64.sh emulator) build/.../raft info
# jansson for ARM is the archive of the Debian package, unpacked under build/: nothing foreign is installed. JANSSON_AARCH64=PREFIX
# names another one.
set -u
cc=aarch64-linux-gnu-gcc emulator=qemu-aarch64 root=${JANSSON_AARCH64:-build/aarch64-jansson/usr}
if [ "${1:-}" = emulator ]; then echo $emulator; exit 0; fi
fail() { echo "$1" >&2; exit 1; }
may() { [ "${DEPS:-1}" != 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; }

if ! command -v $cc > /dev/null || ! command -v $emulator > /dev/null; then
    may || fail "$cc and $emulator are not installed (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user; } > /dev/null 2>&1 ||
        fail "$cc and $emulator could not be installed"
fi

if [ ! -e "$root/include/jansson.h" ]; then
    may || fail "there is no jansson for ARM (JANSSON_AARCH64=PREFIX names one: PREFIX/include/jansson.h, PREFIX/lib/libjansson.a)"
    folder=$(dirname "$root")/package
    mkdir -p "$folder"
    foreign=$(dpkg --print-foreign-architectures | grep -x arm64)
    [ -n "$foreign" ] || dpkg --add-architecture arm64
    (cd "$folder" && apt-get update -qq && apt-get download -qq libjansson-dev:arm64) > /dev/null 2>&1
    got=$?
    [ -n "$foreign" ] || dpkg --remove-architecture arm64
    [ $got = 0 ] || fail "libjansson-dev for arm64 could not be downloaded"
    for package in "$folder"/libjansson-dev_*_arm64.deb; do dpkg -x "$package" "$(dirname "$root")"; done
fi
case $root in /*) ;; *) root=$PWD/$root ;; esac
lib=$root/lib
[ -e "$lib/libjansson.a" ] || lib=$root/lib/aarch64-linux-gnu
[ -e "$lib/libjansson.a" ] || fail "$root: there is no libjansson.a"
echo "CC=$cc BLIS=0 OPENMP=1 CFLAGS=-static\\ -I$root/include\\ -L$lib"
