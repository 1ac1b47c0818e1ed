// SPDX-License-Identifier: MIT
/* fuzz_tokenizer.c - any bytes as a tokenizer.json or a tokenizer.bin; one that loads encodes a text and gives it back. */
#define _XOPEN_SOURCE 700 // mkstemp
#include "tests/fuzz/fuzz_chat.h"

#include "tokenizer_build.h"

#include <assert.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>

static void use(Tokenizer *tk)
{
    static const char text[] = "It's a <s>film\xC3\xA9</s>  12\n\n\xE2\x96\x81\xFF";
    Err err = {0};
    TokenList ids = {0};
    Text back = {0};
    if (!tokenizer_encode(tk, &ids, text, sizeof text - 1, &err)) assert(!tokenizer_decode(tk, &back, ids.ids, ids.length, &err));
    tokens_free(&ids);
    text_free(&back);
    tokenizer_free(tk);
}

static int load(const uint8_t *data, size_t size, int (*read)(Tokenizer *, const char *, Err *))
{
    char path[] = "/tmp/raft-fuzz-XXXXXX";
    int file = mkstemp(path);
    Tokenizer tk;
    Err err = {0};
    if (file < 0) return 0;
    if (write(file, data, size) == (ssize_t)size && !read(&tk, path, &err)) use(&tk);
    close(file);
    unlink(path);
    return 0;
}

int fuzz_tokenizer_json(const uint8_t *data, size_t size) { return load(data, size, tokenizer_load); }
int fuzz_tokenizer_bin(const uint8_t *data, size_t size) { return load(data, size, tokenizer_load_llama2c); }
