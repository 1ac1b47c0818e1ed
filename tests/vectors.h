// SPDX-License-Identifier: MIT
/* vectors.h - known answers as files: a case names an operation and holds its inputs and outputs; the operations are a table of functions
 * from inputs to outputs, which both make_vectors.c (writes tests/vectors) and test_vectors.c (checks them) call.
 *
 *     VectorCase c = {.cx = &cx, .in = inputs};
 *     vector_run(&c, "rmsnorm_forward");        // fills c.out
 *     ... json_equal(c.out, recorded) ...
 *     vector_free(&c);
 *
 * How values are spelled is described in tests/vectors/README.md. Input that is not as an operation needs it is a bug: assert.
 */
#ifndef RAFT_TESTS_VECTORS_H
#define RAFT_TESTS_VECTORS_H

#include "kernels/kernels.h"

#include <jansson.h>

typedef struct {
    const Compute *cx;
    json_t *in, *out;     // in is borrowed
    void *blocks[64];     // what the readers below allocated
    size_t block_count;
} VectorCase;

typedef struct { const char *name; void (*run)(VectorCase *c); } VectorOperation;
extern const VectorOperation vector_kernels[], vector_decisions[], vector_models[]; // each ends with a NULL name
extern const char *const vector_files[]; // NAME of tests/vectors/NAME.jsonl: each needs only what those before it hold; ends with NULL
void vector_run(VectorCase *c, const char *operation); // asserts that there is one of this name
void vector_free(VectorCase *c);

// Inputs. Memory belongs to the case.
float *vector_floats(VectorCase *c, const char *key, size_t *n);     // n may be NULL
double *vector_doubles(VectorCase *c, const char *key, size_t *n);
uint32_t *vector_ids(VectorCase *c, const char *key, size_t *n);
uint64_t vector_size(const VectorCase *c, const char *key);          // absent: 0
double vector_number(const VectorCase *c, const char *key, double fallback);
const char *vector_text(const VectorCase *c, const char *key);       // absent: NULL
void *vector_block(VectorCase *c, size_t n, size_t size);            // zeroed

// Outputs. Long arrays are written as their hash.
void vector_put(VectorCase *c, const char *key, json_t *value);
void vector_put_floats(VectorCase *c, const char *key, const float *x, size_t n);
void vector_put_doubles(VectorCase *c, const char *key, const double *x, size_t n);
void vector_put_ids(VectorCase *c, const char *key, const uint32_t *ids, size_t n);
void vector_put_hash(VectorCase *c, const char *key, uint64_t hash);
json_t *vector_hex(const float *x, size_t n);

#endif
