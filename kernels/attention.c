// SPDX-License-Identifier: MIT
/* attention.c - the scratch that attention needs, which does not depend on the instruction set. The arithmetic is in
 * kernels/isa/attention.c. */
#include "kernels/attention-internal.h"
#include "kernels/kernels.h"

static size_t round_to_page(size_t n) { return (n + PAGE - 1) / PAGE * PAGE; }

size_t attention_scratch_floats(size_t max_keys, size_t head_dim)
{
    size_t rows = round_to_page(max_keys), block = (size_t)ATTENTION_KEY_PAGES * PAGE;
    size_t forward = ATTENTION_ROWS * rows;               // a tile's scores
    size_t backward = 2 * block * ATTENTION_QUERIES       // P and dS of a block
        + 4 * block * head_dim                            // its K, V, dK and dV
        + 3 * (rows + ATTENTION_ROWS) * head_dim + rows;  // a head's q, dout and dq; D
    return round_to_page(forward > backward ? forward : backward);
}
