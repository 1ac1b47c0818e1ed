// SPDX-License-Identifier: MIT
/* philox.c - Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011) and the draws
 * made from it. Keeps no state and knows nothing of what the draws are for.
 */
#include "kernels/philox.h"

#include "kernels/hostmath.h"

#include <assert.h>

void philox_block(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t x0 = counter[0], x1 = counter[1], x2 = counter[2], x3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * x0, b = (uint64_t)0xCD9E8D57u * x2;
        x0 = (uint32_t)(b >> 32) ^ x1 ^ k0;
        x1 = (uint32_t)b;
        x2 = (uint32_t)(a >> 32) ^ x3 ^ k1;
        x3 = (uint32_t)a;
        k0 += 0x9E3779B9u; // the golden ratio and sqrt(3) - 1: the key is another in every round
        k1 += 0xBB67AE85u;
    }
    out[0] = x0, out[1] = x1, out[2] = x2, out[3] = x3;
}

void philox_draw(uint32_t out[4], uint64_t seed, PhiloxCounter counter)
{
    assert(seed < (uint64_t)1 << 63);
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    philox_block(out, (uint32_t[4]){counter.c0, counter.c1, counter.c2, counter.c3}, key);
}

uint32_t philox_stream(PhiloxStream stream, uint32_t iteration)
{
    assert((unsigned)stream < 256 && iteration < (uint32_t)1 << 24);
    return (uint32_t)stream << 24 | iteration;
}

float philox_uniform(uint32_t word) { return (float)(word >> 8) * 0x1p-24f; } // 24 bits: both steps are exact

// Half a step up, in double: an interval without its ends, so that its logarithm is finite.
static double open_uniform(uint32_t word) { return (double)(word >> 8) * 0x1p-24 + 0x1p-25; }

void philox_normals(float out[2], uint32_t w0, uint32_t w1)
{
    const double two_pi = 0x1.921fb54442d18p+2;
    double radius = host_sqrt(-2.0 * host_log(open_uniform(w0))), angle = two_pi * open_uniform(w1);
    out[0] = (float)(radius * host_cos(angle));
    out[1] = (float)(radius * host_sin(angle));
}

uint32_t philox_below(uint32_t word, uint32_t n)
{
    assert(n > 0);
    return (uint32_t)((uint64_t)word * n >> 32);
}

void philox_shuffle(uint32_t *order, size_t n, uint64_t seed, PhiloxStream stream, uint32_t iteration)
{
    assert(n <= UINT32_MAX);
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t i = n; i-- > 1;) { // place i takes one of the i + 1 that are left
        uint32_t w[4], kept = order[i];
        philox_draw(w, seed, (PhiloxCounter){.c0 = (uint32_t)i, .c3 = philox_stream(stream, iteration)});
        size_t j = philox_below(w[0], (uint32_t)i + 1);
        order[i] = order[j];
        order[j] = kept;
    }
}

void philox_deal(size_t *dealt, size_t n, size_t before, size_t of, uint64_t seed, PhiloxStream stream, uint32_t *order)
{
    size_t shuffled = SIZE_MAX; // the pass over all that `order` holds
    assert(of > 0);
    for (size_t i = 0; i < n; i++) {
        size_t at = before + i;
        if (at / of != shuffled) {
            shuffled = at / of;
            philox_shuffle(order, of, seed, stream, (uint32_t)shuffled);
        }
        dealt[i] = order[at % of];
    }
}
