// SPDX-License-Identifier: MIT
/* sample_cache.c - the pool of pages of keys and values: taken, shared, copied, given back; and the memory that calls of
 * sample_generate leave to each other. Knows nothing of what is in a page. */
#include "sample-internal.h"

#include <assert.h>
#include <string.h>

int pool_init(PagePool *pool, size_t count, size_t page_floats, Err *err)
{
    *pool = (PagePool){.page_floats = page_floats, .count = count};
    if ((uint64_t)count > UINT32_MAX) return err_failed(err, "out of memory: %zu pages of keys and values", count);
    pool->data = mem_new(err, count, page_floats * sizeof(float));
    pool->references = pool->data ? mem_new(err, count, sizeof *pool->references) : NULL;
    pool->unused = pool->references ? mem_new(err, count, sizeof *pool->unused) : NULL;
    if (!pool->unused) return err_prefix(err, "keys and values (a smaller --sample-batch needs less)");
    pool_reset(pool);
    return 0;
}

void pool_reset(PagePool *pool)
{
    pool->unused_count = pool->count;
    for (size_t i = 0; i < pool->count; i++) pool->unused[i] = (uint32_t)(pool->count - 1 - i);
}

void pool_free(PagePool *pool)
{
    mem_free(pool->data);
    mem_free(pool->references);
    mem_free(pool->unused);
    *pool = (PagePool){0};
}

float *pool_take(PagePool *pool)
{
    assert(pool->unused_count > 0);
    uint32_t page = pool->unused[--pool->unused_count];
    pool->references[page] = 1;
    return pool->data + page * pool->page_floats;
}

static uint32_t pool_index(const PagePool *pool, const float *page)
{
    return (uint32_t)((size_t)(page - pool->data) / pool->page_floats);
}

float *pool_share(PagePool *pool, float *page)
{
    pool->references[pool_index(pool, page)]++;
    return page;
}

float *pool_copy(PagePool *pool, const float *page)
{
    return memcpy(pool_take(pool), page, pool->page_floats * sizeof *page);
}

void pool_release(PagePool *pool, const float *page)
{
    uint32_t index = pool_index(pool, page);
    if (--pool->references[index] == 0) pool->unused[pool->unused_count++] = index;
}

// ---- from call to call -----------------------------------------------------------------------------------------------------------

SampleRoom *sample_room_new(Err *err) { return mem_new(err, 1, sizeof(SampleRoom)); }

void sample_room_empty(SampleRoom *room)
{
    packed_free(&room->packed);
    pool_free(&room->pool);
    room->model = NULL;
}

void sample_room_free(SampleRoom *room)
{
    if (room) sample_room_empty(room);
    mem_free(room);
}

int room_pack(SampleRoom *room, const Model *model, const Compute *cx, Err *err)
{
    if (room->model == model) return 0;
    packed_free(&room->packed);
    room->model = NULL;
    if (packed_init(&room->packed, model, cx, err)) return -1;
    packed_update(&room->packed, model, cx);
    room->model = model;
    return 0;
}

int room_pages(SampleRoom *room, size_t count, size_t page_floats, Err *err)
{
    if (room->pool.count >= count && room->pool.page_floats == page_floats) return pool_reset(&room->pool), 0;
    pool_free(&room->pool);
    if (!pool_init(&room->pool, count, page_floats, err)) return 0;
    pool_free(&room->pool);
    return -1;
}
