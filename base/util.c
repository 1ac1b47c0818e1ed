// SPDX-License-Identifier: MIT
/* util.c - errors, checked memory, growing strings. Knows nothing of files or numbers. */
#include "base/util.h"
#include "base/os.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int err_set(Err *err, int status, const char *format, va_list args)
{
    if (err) {
        err->status = status;
        vsnprintf(err->text, sizeof err->text, format, args);
    }
    return -1;
}

int err_input(Err *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err_set(err, 2, format, args);
    va_end(args);
    return -1;
}

int err_failed(Err *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err_set(err, 1, format, args);
    va_end(args);
    return -1;
}

int err_prefix(Err *err, const char *format, ...)
{
    if (!err) return -1;
    char text[sizeof err->text];
    va_list args;
    va_start(args, format);
    int used = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (used < 0) return -1;
    if ((size_t)used < sizeof text) snprintf(text + used, sizeof text - (size_t)used, ": %.*s", (int)(sizeof text - (size_t)used), err->text);
    memcpy(err->text, text, sizeof text);
    err->text[sizeof err->text - 1] = '\0';
    return -1;
}

bool size_multiply(size_t a, size_t b, size_t *product)
{
    if (b && a > SIZE_MAX / b) return false;
    *product = a * b;
    return true;
}

size_t round_up(double wanted)
{
    if (wanted >= (double)(SIZE_MAX / 2)) return SIZE_MAX / 2; // for which there is no memory
    size_t whole = (size_t)wanted;
    return wanted - (double)whole > 1e-9 * wanted ? whole + 1 : whole;
}

bool size_add(size_t a, size_t b, size_t *sum)
{
    if (a > SIZE_MAX - b) return false;
    *sum = a + b;
    return true;
}

uint64_t hash_bytes(uint64_t seed, const void *bytes, size_t n)
{
    uint64_t hash = seed ? seed : 0xcbf29ce484222325u;
    for (const unsigned char *p = bytes, *end = p + n; p < end; p++) hash = (hash ^ *p) * 0x100000001b3u;
    return hash;
}

// ---- memory: calloc with room for alignment; the pointer calloc gave is kept just below the block -----------------------

enum { ALIGNMENT = 64, LARGE = 4 << 20 }; // from LARGE bytes on, large pages save a twentieth of a training step
static _Thread_local int guard_depth; // a debugging aid of this thread, never read by the arithmetic

void mem_guard_enter(void) { guard_depth++; }
void mem_guard_leave(void) { assert(guard_depth > 0); guard_depth--; }
void mem_guard_resume(int depth) { guard_depth = depth; }

int mem_guard_pause(void)
{
    int depth = guard_depth;
    guard_depth = 0;
    return depth;
}

void *mem_new(Err *err, size_t n, size_t size)
{
    assert(guard_depth == 0 && "allocation inside a training or decoding step");
    size_t bytes, total;
    if (!size_multiply(n, size, &bytes) || !size_add(bytes, ALIGNMENT + sizeof(void *), &total)) {
        err_failed(err, "out of memory: %zu elements of %zu bytes do not fit the address space", n, size);
        return NULL;
    }
    void *raw = calloc(total, 1);
    if (!raw) {
        err_failed(err, "out of memory: wanted %.1f MB", (double)bytes / 1e6);
        return NULL;
    }
    uintptr_t aligned = ((uintptr_t)raw + sizeof(void *) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    memcpy((void *)(aligned - sizeof(void *)), &raw, sizeof raw);
    if (bytes >= LARGE) os_use_large_pages((void *)aligned, bytes);
    return (void *)aligned;
}

void mem_free(void *pointer)
{
    if (!pointer) return;
    void *raw;
    memcpy(&raw, (char *)pointer - sizeof(void *), sizeof raw);
    free(raw);
}

void *mem_resize(Err *err, void *old, size_t old_n, size_t n, size_t size)
{
    void *grown = mem_new(err, n, size);
    if (!grown) return NULL;
    if (old) memcpy(grown, old, (old_n < n ? old_n : n) * size);
    mem_free(old);
    return grown;
}

char *mem_copy_bytes(Err *err, const void *bytes, size_t n)
{
    size_t total;
    if (!size_add(n, 1, &total)) {
        err_failed(err, "out of memory: a text of %zu bytes", n);
        return NULL;
    }
    char *copy = mem_new(err, total, 1);
    if (copy && n) memcpy(copy, bytes, n);
    return copy;
}

char *mem_copy_text(Err *err, const char *text) { return mem_copy_bytes(err, text, strlen(text)); }

// ---- growing strings and token lists -------------------------------------------------------------------------------------

static int text_reserve(Text *text, Err *err, size_t extra)
{
    size_t need;
    if (text->failed) return err && err->status ? -1 : err_failed(err, "out of memory while building a text");
    if (!size_add(text->length, extra, &need) || !size_add(need, 1, &need)) {
        text->failed = true;
        return err_failed(err, "out of memory: a text of more than %zu bytes", text->length);
    }
    if (need <= text->capacity) return 0;
    size_t capacity = need < 256 ? 256 : need + need / 2;
    char *grown = mem_resize(err, text->data, text->length, capacity, 1);
    if (!grown) {
        text->failed = true;
        return -1;
    }
    text->data = grown;
    text->capacity = capacity;
    return 0;
}

int text_add(Text *text, Err *err, const void *bytes, size_t n)
{
    if (text_reserve(text, err, n)) return -1;
    if (n) memcpy(text->data + text->length, bytes, n);
    text->length += n;
    text->data[text->length] = '\0';
    return 0;
}

int text_puts(Text *text, Err *err, const char *string) { return text_add(text, err, string, strlen(string)); }

int text_printf(Text *text, Err *err, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    int status = n < 0 ? err_failed(err, "cannot format a text") : text_reserve(text, err, (size_t)n);
    if (!status) {
        vsnprintf(text->data + text->length, (size_t)n + 1, format, again);
        text->length += (size_t)n;
    }
    va_end(again);
    return status;
}

void text_free(Text *text)
{
    mem_free(text->data);
    *text = (Text){0};
}

int tokens_append(TokenList *list, Err *err, const uint32_t *ids, size_t n)
{
    size_t need;
    if (!size_add(list->length, n, &need)) return err_failed(err, "out of memory: too many tokens");
    if (need > list->capacity) {
        size_t capacity = need < 16 ? 16 : need + need / 2;
        uint32_t *grown = mem_resize(err, list->ids, list->length, capacity, sizeof *grown);
        if (!grown) return -1;
        list->ids = grown;
        list->capacity = capacity;
    }
    if (n) memcpy(list->ids + list->length, ids, n * sizeof *ids);
    list->length = need;
    return 0;
}

int tokens_add(TokenList *list, Err *err, uint32_t id) { return tokens_append(list, err, &id, 1); }

void tokens_free(TokenList *list)
{
    mem_free(list->ids);
    *list = (TokenList){0};
}
