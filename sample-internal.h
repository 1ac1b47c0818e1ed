// SPDX-License-Identifier: MIT
/* sample-internal.h - the pool of pages (kernels.h) that sequences being generated hold, and what a call leaves to the next. For
 * sample.c only.
 *
 *     float *page = pool_take(&pool);                  // one reference
 *     float *same = pool_share(&pool, page);           // another: nobody may write to it any more
 *     float *own = pool_copy(&pool, page);             // a page with the same contents
 *     pool_release(&pool, page);                       // free for others after the last reference
 */
#ifndef RAFT_SAMPLE_INTERNAL_H
#define RAFT_SAMPLE_INTERNAL_H

#include "sample.h"

typedef struct {
    float *data;          // [count, page_floats]; memory is touched only when a page is first used
    uint32_t *references; // [count] sequences that read the page
    uint32_t *unused;     // [unused_count] last in, first out: recently used memory first
    size_t page_floats, count, unused_count;
} PagePool;

int pool_init(PagePool *pool, size_t count, size_t page_floats, Err *err); // free it after an error, too
void pool_reset(PagePool *pool); // no page is held any more
void pool_free(PagePool *pool);
float *pool_take(PagePool *pool); // asserts that there is one: the caller sized the pool
float *pool_share(PagePool *pool, float *page);
float *pool_copy(PagePool *pool, const float *page);
void pool_release(PagePool *pool, const float *page);

struct SampleRoom {
    PackedModel packed; // data NULL: none
    PagePool pool;      // data NULL: none
    const Model *model; // whose weights are packed
};
int room_pack(SampleRoom *room, const Model *model, const Compute *cx, Err *err);          // unless they are packed already
int room_pages(SampleRoom *room, size_t count, size_t page_floats, Err *err);              // a pool of at least so many, none held

#endif
