// SPDX-License-Identifier: MIT
/* attention.c - the scratch that attention needs, which does not depend on the instruction set. The arithmetic is in
 * kernels/isa/attention.c. */
#include "kernels/attention-internal.h"
#include "kernels/kernels.h"

static size_t round_to_page(size_t n) { return (n + PAGE - 1) / PAGE * PAGE; }

size_t attention_scratch_floats(size_t max_keys, size_t head_dim)
{
    size_t keys = round_to_page(max_keys), block_keys = (size_t)ATTENTION_KEY_PAGES * PAGE;
    size_t forward = ATTENTION_ROWS * keys;                                      // a tile's scores
    size_t backward = keys + 2 * block_keys * (ATTENTION_QUERIES + head_dim);    // D; P and dS of a block, its K and V transposed
    return forward > backward ? forward : backward;
}
