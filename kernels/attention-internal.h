// SPDX-License-Identifier: MIT
/* attention-internal.h - the block sizes on which kernels/isa/attention*.c and their scratch size agree. They decide speed and
 * memory only: no result depends on them. */
#ifndef RAFT_KERNELS_ATTENTION_INTERNAL_H
#define RAFT_KERNELS_ATTENTION_INTERNAL_H

enum {
    ATTENTION_ROWS = 8,       // most query rows that any instruction set computes together
    ATTENTION_QUERIES = 48,   // queries of one forward task and of one backward block: a multiple of every tile's rows
    ATTENTION_KEY_PAGES = 4   // pages of keys of one backward block: what it touches stays in the first-level cache
};

#endif
