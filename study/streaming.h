// SPDX-License-Identifier: MIT
/* streaming.h - an answer printed token by token, never half a character: what is printed is sample_text's text.
 *
 *     TextStream stream;
 *     stream_start(&stream, stdout, &tokenizer, stop, false);
 *     if (stream_token(&stream, id, &err)) ...          // for each token
 *     if (stream_end(&stream, &err)) ...
 */
#ifndef RAFT_STUDY_STREAMING_H
#define RAFT_STUDY_STREAMING_H

#include "tokenizer.h"

#include <stdio.h>

typedef struct {
    FILE *file;
    const Tokenizer *tokenizer;
    const char *stop;    // a stop string, or NULL
    Text waiting;        // bytes that may be half a character or the beginning of the stop string
    bool drop_space;     // the space that SentencePiece puts first, when the answer is the beginning of a text
    bool stopped;
} TextStream;

void stream_start(TextStream *stream, FILE *file, const Tokenizer *tokenizer, const char *stop, bool begins_text);
int stream_token(TextStream *stream, uint32_t token, Err *err);
int stream_end(TextStream *stream, Err *err); // prints what waits; frees

#endif
