// SPDX-License-Identifier: MIT
/* gguf-internal.h - what gguf.c (the format) and gguf_blocks.c (values inside a tensor) share. Nobody else includes it. */
#ifndef RAFT_FILES_GGUF_INTERNAL_H
#define RAFT_FILES_GGUF_INTERNAL_H

#include "files/gguf.h"

// A tensor type of ggml: its values come in blocks of `values`, `bytes` each. decode is NULL for what is only known by name.
typedef struct {
    const char *name;
    size_t values, bytes;
    void (*decode)(float *out, const uint8_t *block);
} GgufBlock;

const GgufBlock *gguf_block(uint32_t type); // NULL: a number ggml does not have
extern const char gguf_known_types[];       // those with a decode, for messages

#endif
