#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what `make demo` and `make test` need and this machine lacks, through the system's package manager, when this
# user may; otherwise prints the one line to type. DEPS=0 forbids installing. `deps.sh hint` only prints that line.
set -u
CC=${CC:-cc} OPENMP=${OPENMP:-auto} BLIS=${BLIS:-auto} DEPS=${DEPS:-1} CFLAGS=${CFLAGS:-}
case $CC in *clang*) omp_debian=libomp-dev compiler=clang ;; *) omp_debian= compiler=gcc ;; esac

if   command -v apt-get > /dev/null; then install="apt-get install -y --no-install-recommends"
    packages="$compiler libc6-dev make pkg-config libjansson-dev libcmocka-dev libblis-dev $omp_debian"
elif command -v dnf > /dev/null; then install="dnf install -y"; packages="$compiler make pkgconf jansson-devel libcmocka-devel blis-devel libomp-devel"
elif command -v pacman > /dev/null; then install="pacman -S --needed --noconfirm"; packages="$compiler make pkgconf jansson cmocka blis openmp"
elif command -v apk > /dev/null; then install="apk add"; packages="$compiler musl-dev make pkgconf jansson-dev cmocka-dev"
elif command -v brew > /dev/null; then install="brew install"; packages="pkg-config jansson cmocka blis libomp"
else install="install with your package manager:"; packages="a C compiler, make, jansson, cmocka, BLIS (optional), OpenMP runtime (optional)"
fi
sudo=
[ "$(id -u 2>/dev/null || echo 0)" = 0 ] || case $install in brew*|install\ with*) ;; *) sudo="sudo " ;; esac
line=$(echo "$sudo$install $packages" | sed 's/  */ /g; s/ $//')
if [ "${1:-}" = hint ]; then echo "$line"; exit 0; fi

tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
have() { # have "FLAGS" "SOURCE"
    printf '%s\n' "$2" > "$tmp/p.c"
    # shellcheck disable=SC2086
    $CC $CFLAGS -o "$tmp/p" "$tmp/p.c" $1 > /dev/null 2>&1
}
missing= optional=
have "" "int main(void){return 0;}" || missing="$missing compiler"
have "-ljansson" '#include <jansson.h>
int main(void){return 0;}' || missing="$missing jansson"
have "-lcmocka" '#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
int main(void){return 0;}' || missing="$missing cmocka"
[ "$OPENMP" = 0 ] || have "-fopenmp" '#include <omp.h>
int main(void){return omp_get_max_threads()<1;}' || optional="$optional OpenMP"
[ "$BLIS" = 0 ] || have "-lblis -lm -lpthread" '#if __has_include(<blis/blis.h>)
#include <blis/blis.h>
#else
#include <blis.h>
#endif
int main(void){return 0;}' || optional="$optional BLIS"
[ -z "$missing$optional" ] && exit 0

may=no
[ "$DEPS" = 0 ] || { [ "$(id -u 2>/dev/null || echo 0)" = 0 ] && command -v "${install%% *}" > /dev/null && may=yes; }
[ "$DEPS" != 0 ] && [ "${install%% *}" = brew ] && may=yes
if [ $may = yes ]; then
    echo "raft: missing:$missing$optional; running: $line"
    [ "${install%% *}" = apt-get ] && apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $install $packages > "$tmp/log" 2>&1 || { tail -n 5 "$tmp/log" >&2; [ -z "$missing" ] || { echo "raft: the packages could not be installed; type: $line" >&2; exit 2; }; }
    rm -f build/*/config.mk
    exit 0
fi
if [ -n "$missing" ]; then
    echo "raft: missing:$missing$optional. Type this, then try again:" >&2
    echo "    $line" >&2
    exit 2
fi
echo "raft: going on without$optional (optional; to have it: $line)" >&2
