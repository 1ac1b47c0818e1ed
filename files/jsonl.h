// SPDX-License-Identifier: MIT
/* jsonl.h - JSON documents and JSON-lines files (through jansson), with errors that name file, line and key.
 *
 *     JsonLines in;
 *     json_t *line;
 *     if (jsonl_open(&in, "prompts.jsonl", &err)) return -1;
 *     while ((got = jsonl_next(&in, &line, &err)) == 1) {
 *         const char *text;
 *         if (json_get_text(line, "text", &text, in.where, &err)) ...
 *             // err.text: prompts.jsonl:3: key "text": expected a string, found a number (7)
 *         json_decref(line);
 *     }
 *     jsonl_close(&in);
 *
 * Numbers are written by json_write with %.9g for floats (which reads back to the same float) and keys in the order they
 * were added; a number is read as double and rounded once.
 */
#ifndef RAFT_FILES_JSONL_H
#define RAFT_FILES_JSONL_H

#include "base/os.h"

#include <jansson.h>

typedef struct {
    OsMap map;
    const char *path;  // the caller's, who keeps it until the close
    size_t offset, line;
    char where[300];   // "path:line" of the line last returned
    size_t repaired;   // invalid UTF-8 sequences replaced by U+FFFD so far (the caller reports them)
} JsonLines;
int jsonl_open(JsonLines *in, const char *path, Err *err);
int jsonl_next(JsonLines *in, json_t **line, Err *err); // 1 an object (owned by the caller), 0 end, -1 error; blank lines are skipped
void jsonl_close(JsonLines *in);

json_t *json_load_document(const char *path, Err *err); // a whole file holding one object; owned by the caller

// Typed access. `where` names the place for the message. A missing key is an error; the _or forms take a default for a missing or null key.
int json_get_text(const json_t *object, const char *key, const char **value, const char *where, Err *err); // a NUL inside is an error
int json_get_string(const json_t *object, const char *key, const char **bytes, size_t *length, const char *where, Err *err); // may hold NULs
int json_get_size(const json_t *object, const char *key, size_t *value, const char *where, Err *err); // a whole number >= 0
int json_get_number(const json_t *object, const char *key, double *value, const char *where, Err *err);
int json_get_bool_or(const json_t *object, const char *key, bool fallback, bool *value, const char *where, Err *err);
int json_get_size_or(const json_t *object, const char *key, size_t fallback, size_t *value, const char *where, Err *err);
int json_get_number_or(const json_t *object, const char *key, double fallback, double *value, const char *where, Err *err);
int json_get_text_or(const json_t *object, const char *key, const char *fallback, const char **value, const char *where, Err *err);
int json_get_tokens(const json_t *object, const char *key, TokenList *ids, const char *where, Err *err); // appends an array of ids

// Writing: one line of JSON, keys in insertion order, no spaces, floats as %.9g, strings in UTF-8 with the mandatory escapes.
int json_write(Text *out, const json_t *value, Err *err);      // appends, without newline
int json_write_pretty(Text *out, const json_t *value, Err *err); // indented by two, newline at the end
int json_write_string(Text *out, const char *bytes, size_t n, Err *err); // one quoted and escaped string; bytes must be UTF-8
json_t *json_float(double value);  // a real that json_write prints with %.9g (-0 as "-0.0"); NaN and infinity give NULL: never written
json_t *json_ids(const uint32_t *ids, size_t n);
void hash_text(char digits[17], uint64_t hash); // as records hold it: 16 hexadecimal digits

#endif
