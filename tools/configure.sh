#!/bin/sh
# SPDX-License-Identifier: MIT
# Probes compiler and libraries by compiling, linking and running; writes a makefile fragment.
#   CC=cc OPENMP=auto BLIS=auto sh tools/configure.sh build/variant/config.mk
set -u
out=$1
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT

# links NAME "FLAGS" "SOURCE": does it compile and link (and run, when this machine can)?
links() {
    printf '%s\n' "$3" > "$tmp/probe.c"
    # shellcheck disable=SC2086
    $CC -std=c11 $CFLAGS -o "$tmp/probe" "$tmp/probe.c" $2 > "$tmp/$1.log" 2>&1
}
pkg() { pkg-config "$@" 2>/dev/null; }
die() { echo "raft: $1" >&2; exit 2; }

links compiler "" 'int main(void){return 0;}' || { cat "$tmp/compiler.log" >&2; die "the C compiler \"$CC\" does not work; install one: $(sh tools/deps.sh hint)"; }

json_cflags=$(pkg --cflags jansson); json_libs=$(pkg --libs jansson); json_libs=${json_libs:--ljansson}
links jansson "$json_cflags $json_libs" '#include <jansson.h>
int main(void){json_decref(json_object());return 0;}' || die "jansson (JSON library) is missing; install it: $(sh tools/deps.sh hint)"

openmp=no omp_flags=
if [ "$OPENMP" != 0 ]; then
    for flags in "-fopenmp" "-Xpreprocessor -fopenmp -lomp"; do
        if links openmp "$flags" '#include <omp.h>
int main(void){int n=0;
#pragma omp parallel
{
#pragma omp atomic
n++;
}
return n<1||omp_get_max_threads()<1;}'; then openmp=yes omp_flags=$flags; break; fi
    done
    [ "$openmp" = no ] && [ "$OPENMP" = 1 ] && die "OPENMP=1, but a program with -fopenmp does not link; install the runtime: $(sh tools/deps.sh hint)"
fi

blis=no blis_cflags= blis_libs=
blis_probe='#define _POSIX_C_SOURCE 200809L
#if __has_include(<blis/blis.h>)
#include <blis/blis.h>
#else
#include <blis.h>
#endif
int main(void){return bli_arch_string(bli_arch_query_id())==0;}'
if [ "$BLIS" != 0 ]; then
    c=$(pkg --cflags blis); l=$(pkg --libs blis); l=${l:--lblis -lm -lpthread}
    # some systems install <blis/blis.h>, others (Debian) <blis.h>; kernels/matmul.c asks the same way
    if links blis "$c $l" "$blis_probe"; then blis=yes blis_cflags=$c blis_libs=$l; fi
    [ "$blis" = no ] && [ "$BLIS" = 1 ] && die "BLIS=1, but a program with -lblis does not link; install it: $(sh tools/deps.sh hint)"
fi

defines=
[ "$openmp" = yes ] && defines="$defines -DRAFT_OPENMP"
[ "$blis" = yes ] && defines="$defines -DRAFT_BLIS"
cat > "$out.tmp" <<EOF
CONFIG_CFLAGS := $json_cflags $omp_flags $blis_cflags$defines
CONFIG_LIBS := $json_libs $blis_libs -lm
EOF
mv "$out.tmp" "$out"
echo "raft: $CC $($CC -dumpversion 2>/dev/null), OpenMP $openmp, BLIS $blis, jansson yes -> $(dirname "$out")"
