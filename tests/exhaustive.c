// SPDX-License-Identifier: MIT
/* exhaustive.c - what is too long for `make test`: exp, log and sigmoid on all 2^32 floats against the C library's doubles, the other
 * instruction sets against the first (plain C, which is slow, on one input in 64); and the soft fused multiply-add against the
 * machine's on 10^9 triples. Exits with 1 when a bound of docs/SPEC.md (section 21) is broken. All threads; some minutes.
 *
 *     make exhaustive                        build/.../tests/exhaustive [TRIPLES]
 */
#include "kernels/kernels.h"
#include "kernels/strict.h"
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 13, CHUNKS = 1 << 19, SLOWLY = 64 }; // all bit patterns; a chunk is too short for the kernels to start threads of their own

static const Kernels *sets[4];
static size_t set_count;

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static bool same(float a, float b) { return !memcmp(&a, &b, sizeof a) || (isnan(a) && isnan(b)); }

// ---- functions ---------------------------------------------------------------------------------------------------------------

typedef void ArrayKernel(float *y, const float *x, size_t n);
static double exact_sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static ArrayKernel *exp_of(const Kernels *k) { return k->exp_array; }
static ArrayKernel *log_of(const Kernels *k) { return k->log_array; }
static ArrayKernel *sigmoid_of(const Kernels *k) { return k->sigmoid_array; }
static const struct { const char *name; ArrayKernel *(*kernel)(const Kernels *); double (*exact)(double); double bound; } functions[] = {
    {"exp", exp_of, exp, 0.892}, {"log", log_of, log, 0.934}, {"sigmoid", sigmoid_of, exact_sigmoid, 2.402},
};

// In units of the spacing of floats at the exact value; what lies beyond the floats counts as 2^128. A NaN must be one on both sides.
static double error_in_ulps(float got, double want)
{
    if (isnan(got) || isnan(want)) return isnan(got) && isnan(want) ? 0 : INFINITY;
    if ((isinf(want) && want < 0) || (isinf(got) && got < 0)) return got == want ? 0 : INFINITY;
    double y = got > 0x1p127f * 1.9999999f ? fmin(got, 0x1p128) : got;
    int exponent;
    want = fmin(want, 0x1p128);
    frexp(want, &exponent);
    exponent = exponent - 24 < -149 ? -149 : exponent - 24 > 104 ? 104 : exponent - 24;
    return fabs(y - want) / ldexp(1, exponent);
}

typedef struct { double error; float at; uint64_t unlike; } Worst;

static void check_chunk(Worst *worst, size_t function, uint32_t chunk)
{
    static _Thread_local float x[CHUNK], y[CHUNK], z[CHUNK];
    for (uint32_t i = 0; i < CHUNK; i++) x[i] = from_bits(chunk * CHUNK + i);
    functions[function].kernel(sets[0])(y, x, CHUNK);
    for (size_t i = 0; i < CHUNK; i++) {
        double error = error_in_ulps(y[i], functions[function].exact(x[i]));
        if (error > worst->error) *worst = (Worst){error, x[i], worst->unlike};
    }
    for (size_t s = 1; s < set_count; s++) {
        if (chunk % SLOWLY && !strcmp(sets[s]->isa, "plain")) continue;
        functions[function].kernel(sets[s])(z, x, CHUNK);
        for (size_t i = 0; i < CHUNK; i++) worst->unlike += !same(y[i], z[i]);
    }
}

static bool check_function(size_t function)
{
    Worst worst = {0};
#ifdef _OPENMP
#pragma omp parallel
#endif
    {
        Worst own = {0};
#ifdef _OPENMP
#pragma omp for schedule(dynamic, 64)
#endif
        for (uint32_t chunk = 0; chunk < CHUNKS; chunk++) check_chunk(&own, function, chunk);
#ifdef _OPENMP
#pragma omp critical
#endif
        {
            if (own.error > worst.error || (own.error == worst.error && own.at < worst.at)) worst.error = own.error, worst.at = own.at;
            worst.unlike += own.unlike;
        }
    }
    printf("%-8s all 2^32 floats: largest error %.4f ulp, at %a (bound %.3f); bits differ between instruction sets: %llu\n",
        functions[function].name, worst.error, (double)worst.at, functions[function].bound, (unsigned long long)worst.unlike);
    fflush(stdout);
    return worst.error <= functions[function].bound && !worst.unlike;
}

// ---- the soft fused multiply-add ---------------------------------------------------------------------------------------------

static uint64_t mix(uint64_t x) // splitmix64: triple n is a function of n
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static const float special[] = {0, 1, 2, 3, 0x1p-149f, 0x1.8p-148f, 0x1.fffffcp-127f, 0x1p-126f, 0x1.fffffep127f, INFINITY, NAN, 0x1.000002p0f,
    0x1.fffffep-1f, 0x1p24f, 0x1.000002p24f, 0x1p-24f, 0x1p-25f, 0x1p103f, 0x1p104f, 0x1p-75f, 0x1.8p-75f, 0x1p64f, 0x1p-64f, 0x1.555556p-2f};
enum { SPECIALS = sizeof special / sizeof *special, ALL_SPECIALS = 8 * SPECIALS * SPECIALS * SPECIALS };

static float either(float x, uint64_t negative) { return negative & 1 ? -x : x; }

// First all triples of special values with all signs, then six kinds in turn, of which the last four make hard roundings.
static void make_triple(float t[3], uint64_t n)
{
    if (n < ALL_SPECIALS) {
        uint64_t signs = n % 8, i = n / 8;
        t[0] = either(special[i % SPECIALS], signs);
        t[1] = either(special[i / SPECIALS % SPECIALS], signs >> 1);
        t[2] = either(special[i / SPECIALS / SPECIALS], signs >> 2);
        return;
    }
    uint64_t r = mix(2 * n), q = mix(2 * n + 1);
    float a = from_bits((uint32_t)r), b = from_bits((uint32_t)(r >> 32)), c = from_bits((uint32_t)q);
    float u = from_bits(0x3f800000u | ((uint32_t)r & 0x7fffff)), v = from_bits(0x3f800000u | ((uint32_t)(r >> 32) & 0x7fffff));
    int power = (int)(q >> 32 & 63) - 32;
    switch (n % 6) {
    case 0: break;                                                                     // any bits
    case 1: a = u, b = v, c = either(special[(q >> 8) % SPECIALS], q); break;
    case 2: a = u, b = v, c = either(u * v, q) * ldexpf(1, power); break;              // cancellation, and addends a few powers away
    case 3: a = (float)(2048 + (r & 2047)), b = (float)(4096 + (r >> 32 & 4095)), c = either(ldexpf(1, -(int)(q >> 32) % 120), q); break; // half way
    case 4: a = u * 0x1p-75f, b = either(v, r >> 63) * 0x1p-74f, c = from_bits((uint32_t)q & 0x80ffffff); break;   // subnormal results
    case 5: a = u * 0x1p64f, b = v * 0x1p63f, c = either(ldexpf(u, 104 + (power & 23)), q); break;             // about the largest float
    }
    t[0] = a, t[1] = b, t[2] = c;
}

static bool check_fma(uint64_t triples)
{
    uint64_t wrong = 0;
    if (!has_machine_fma()) {
        printf("SKIPPED: fma: this CPU has none to compare the soft one with\n");
        return true;
    }
#ifdef _OPENMP
#pragma omp parallel for schedule(static) reduction(+ : wrong)
#endif
    for (uint64_t n = 0; n < triples; n++) {
        float t[3];
        make_triple(t, n);
        float got = soft_fmaf(t[0], t[1], t[2]), want = machine_fma(t[0], t[1], t[2]);
        if (same(got, want)) continue;
        if (!wrong++) printf("fma(%a, %a, %a) is %a, should be %a\n", (double)t[0], (double)t[1], (double)t[2], (double)got, (double)want);
    }
    printf("fma      %llu triples, %d of them all of special values: %llu differ from the machine's\n", (unsigned long long)triples, (int)ALL_SPECIALS,
        (unsigned long long)wrong);
    fflush(stdout);
    return !wrong;
}

int main(int argc, char **argv)
{
    const char *only = getenv("RAFT_ISA");
    const Kernels *all[4];
    bool good = true;
    for (size_t i = 0, n = kernels_available(all); i < n; i++)
        if (!only || !*only || !strcmp(only, all[i]->isa)) sets[set_count++] = all[i];
    if (!set_count) return fprintf(stderr, "RAFT_ISA=%s: this CPU does not have it\n", only), 2;
    printf("instruction sets:");
    for (size_t i = 0; i < set_count; i++) printf(" %s", sets[i]->isa);
    printf("\n");
    good = check_fma(argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000000) && good;
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) good = check_function(f) && good;
    return good ? 0 : 1;
}
