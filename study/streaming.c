// SPDX-License-Identifier: MIT
/* streaming.c - prints an answer while it grows. Bytes wait until they are whole characters and cannot become the stop string. */
#include "study/streaming.h"

#include "files/unicode.h"

#include <string.h>

void stream_start(TextStream *s, FILE *file, const Tokenizer *tokenizer, const char *stop, bool begins_text)
{
    *s = (TextStream){.file = file, .tokenizer = tokenizer, .stop = stop,
        .drop_space = begins_text && tokenizer->split == SPLIT_SENTENCEPIECE};
}

// How many of the n first bytes can be printed whatever follows: all but a sequence that is valid so far and not yet whole.
static size_t whole_characters(const char *bytes, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        const char *s = bytes + n - back;
        uint32_t character;
        bool valid;
        if (((unsigned char)*s & 0xC0) == 0x80) continue;
        size_t used = utf8_decode(&character, &valid, s, back);
        static const char after[2][3] = {{'\x80', '\x80', '\x80'}, {'\xBF', '\xBF', '\xBF'}};
        for (size_t i = 0; !valid && used == back && i < 2; i++) { // would some bytes behind it make it whole?
            char longer[6];
            memcpy(longer, s, back);
            memcpy(longer + back, after[i], 3);
            bool becomes;
            utf8_decode(&character, &becomes, longer, back + 3);
            if (becomes) return n - back;
        }
        break;
    }
    return n;
}

static int print(TextStream *s, size_t n, Err *err)
{
    Text text = {0};
    size_t repaired = 0;
    int status = utf8_repair(&text, s->waiting.data ? s->waiting.data : "", n, &repaired, err);
    if (!status && text.length && fwrite(text.data, 1, text.length, s->file) != text.length)
        status = err_failed(err, "cannot write to standard output");
    if (!status && fflush(s->file)) status = err_failed(err, "cannot write to standard output");
    if (n) memmove(s->waiting.data, s->waiting.data + n, s->waiting.length - n);
    s->waiting.length -= n;
    text_free(&text);
    return status;
}

int stream_token(TextStream *s, uint32_t token, Err *err)
{
    if (token >= s->tokenizer->vocab || s->tokenizer->special[token] || s->stopped) return 0;
    TextView bytes = s->tokenizer->tokens[token];
    if (s->drop_space && *bytes.bytes == ' ') bytes.bytes++, bytes.length--;
    s->drop_space = false;
    if (text_add(&s->waiting, err, bytes.bytes, bytes.length)) return -1;
    size_t stop = s->stop ? strlen(s->stop) : 0, n = s->waiting.length;
    for (size_t i = 0; stop && i + stop <= s->waiting.length; i++)
        if (!memcmp(s->waiting.data + i, s->stop, stop)) {
            s->waiting.length = i;
            s->stopped = true;
            return 0;
        }
    if (stop) n = n < stop - 1 ? 0 : n - (stop - 1);
    return print(s, whole_characters(s->waiting.data, n), err);
}

int stream_end(TextStream *s, Err *err)
{
    int status = print(s, s->waiting.length, err);
    text_free(&s->waiting);
    return status;
}
