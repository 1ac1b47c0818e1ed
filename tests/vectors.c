// SPDX-License-Identifier: MIT
/* vectors.c - how the numbers of test vectors are spelled and read; see tests/vectors/README.md. Knows no operation. */
#include "tests/vectors.h"

#include "kernels/philox.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 512 }; // numbers written one by one; more are hashed

const char *const vector_files[] = {"philox", "functions", "linear", "rows", "attention", "losses", "choose", "rank", "texts", "models", "raft", NULL};

void vector_run(VectorCase *c, const char *operation)
{
    const VectorOperation *const tables[] = {vector_kernels, vector_decisions, vector_models};
    c->out = json_object();
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const VectorOperation *o = tables[t]; o->name; o++)
            if (!strcmp(o->name, operation)) {
                o->run(c);
                return;
            }
    assert(!"an operation of this name");
}

void vector_free(VectorCase *c)
{
    for (size_t i = 0; i < c->block_count; i++) mem_free(c->blocks[i]);
    json_decref(c->out);
    *c = (VectorCase){0};
}

void *vector_block(VectorCase *c, size_t n, size_t size)
{
    void *block = mem_new(NULL, n, size);
    assert(block && c->block_count < sizeof c->blocks / sizeof *c->blocks);
    return c->blocks[c->block_count++] = block;
}

// ---- inputs --------------------------------------------------------------------------------------------------------------------

const char *vector_text(const VectorCase *c, const char *key) { return json_string_value(json_object_get(c->in, key)); }
uint64_t vector_size(const VectorCase *c, const char *key) { return (uint64_t)json_integer_value(json_object_get(c->in, key)); }

double vector_number(const VectorCase *c, const char *key, double fallback)
{
    const json_t *value = json_object_get(c->in, key);
    return value ? json_number_value(value) : fallback;
}

// The digits after "f32:" or "f64:"; `width` digits make a number.
static uint64_t hex_number(const char *digits, size_t width)
{
    char text[17] = {0};
    memcpy(text, digits, width);
    return strtoull(text, NULL, 16);
}

// "philox:SEED:N:SHIFT": element i is (2u - 1) * 2^SHIFT with u from word i mod 4 of counter (i / 4, 0, 0, 0)
static float *drawn_floats(VectorCase *c, const char *text, size_t *n)
{
    unsigned long long seed, count;
    int shift, fields = sscanf(text, "philox:%llu:%llu:%d", &seed, &count, &shift);
    assert(fields == 3);
    (void)fields;
    float *x = vector_block(c, (size_t)count, sizeof *x);
    for (size_t i = 0; i < count; i++) {
        uint32_t w[4];
        philox_draw(w, seed, (PhiloxCounter){.c0 = (uint32_t)(i / 4)});
        x[i] = (2 * philox_uniform(w[i % 4]) - 1) * ldexpf(1, shift);
    }
    *n = (size_t)count;
    return x;
}

float *vector_floats(VectorCase *c, const char *key, size_t *n)
{
    const char *text = vector_text(c, key);
    size_t count;
    assert(text);
    if (!n) n = &count;
    if (!strncmp(text, "philox:", 7)) return drawn_floats(c, text, n);
    assert(!strncmp(text, "f32:", 4) && strlen(text + 4) % 8 == 0);
    *n = strlen(text + 4) / 8;
    float *x = vector_block(c, *n, sizeof *x);
    for (size_t i = 0; i < *n; i++) {
        uint32_t bits = (uint32_t)hex_number(text + 4 + 8 * i, 8);
        memcpy(x + i, &bits, sizeof bits);
    }
    return x;
}

double *vector_doubles(VectorCase *c, const char *key, size_t *n)
{
    const char *text = vector_text(c, key);
    assert(text && !strncmp(text, "f64:", 4) && strlen(text + 4) % 16 == 0);
    *n = strlen(text + 4) / 16;
    double *x = vector_block(c, *n, sizeof *x);
    for (size_t i = 0; i < *n; i++) {
        uint64_t bits = hex_number(text + 4 + 16 * i, 16);
        memcpy(x + i, &bits, sizeof bits);
    }
    return x;
}

uint32_t *vector_ids(VectorCase *c, const char *key, size_t *n)
{
    const json_t *list = json_object_get(c->in, key);
    size_t count = json_array_size(list);
    uint32_t *ids = vector_block(c, count, sizeof *ids);
    for (size_t i = 0; i < count; i++) ids[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    if (n) *n = count;
    return ids;
}

// ---- outputs -------------------------------------------------------------------------------------------------------------------

void vector_put(VectorCase *c, const char *key, json_t *value)
{
    int bad = json_object_set_new(c->out, key, value);
    assert(!bad);
    (void)bad;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return x != x ? 0x7fc00000 : bits; // payloads of NaN are not part of the contract
}

// Little-endian bytes, on any machine.
static uint64_t hash_number(uint64_t hash, uint64_t bits, size_t size)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)(bits >> 8 * i);
    return hash_bytes(hash, bytes, size);
}

json_t *vector_hex(const float *x, size_t n)
{
    char *text = malloc(8 * n + 24);
    uint64_t hash = 0;
    assert(text);
    strcpy(text, "f32:");
    for (size_t i = 0; i < n; i++) {
        hash = hash_number(hash, bits_of(x[i]), 4);
        if (n <= LONGEST) sprintf(text + 4 + 8 * i, "%08x", (unsigned)bits_of(x[i]));
    }
    if (n > LONGEST) sprintf(text, "fnv:%016llx", (unsigned long long)hash);
    json_t *value = json_string(text);
    free(text);
    return value;
}

void vector_put_floats(VectorCase *c, const char *key, const float *x, size_t n) { vector_put(c, key, vector_hex(x, n)); }

void vector_put_doubles(VectorCase *c, const char *key, const double *x, size_t n)
{
    char *text = malloc(16 * n + 8);
    assert(text && n <= LONGEST);
    strcpy(text, "f64:");
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, x + i, sizeof bits);
        if (x[i] != x[i]) bits = 0x7ff8000000000000u;
        sprintf(text + 4 + 16 * i, "%016llx", (unsigned long long)bits);
    }
    vector_put(c, key, json_string(text));
    free(text);
}

void vector_put_ids(VectorCase *c, const char *key, const uint32_t *ids, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_integer(ids[i]));
    vector_put(c, key, list);
}

void vector_put_hash(VectorCase *c, const char *key, uint64_t hash)
{
    char text[24];
    snprintf(text, sizeof text, "fnv:%016llx", (unsigned long long)hash);
    vector_put(c, key, json_string(text));
}
