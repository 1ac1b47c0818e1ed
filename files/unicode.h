// SPDX-License-Identifier: MIT
/* unicode.h - UTF-8 and the character classes that the GPT-2 split pattern names (\p{L}, \p{N}, \s).
 *
 *     size_t repaired = 0;
 *     if (utf8_repair(&clean, bytes, n, &repaired, &err)) return -1;   // each invalid sequence becomes U+FFFD, and is counted
 */
#ifndef RAFT_FILES_UNICODE_H
#define RAFT_FILES_UNICODE_H

#include "base/util.h"

// Decodes one character at bytes[0..n), n > 0. Returns its length; an invalid sequence gives U+FFFD and the length of its
// maximal valid prefix (at least 1), as the Unicode standard recommends and Python and Rust do.
size_t utf8_decode(uint32_t *character, bool *valid, const char *bytes, size_t n);
size_t utf8_put(char out[4], uint32_t character); // 1 to 4 bytes; a surrogate or a number above U+10FFFF gives U+FFFD
bool utf8_is_valid(const char *bytes, size_t n);
int utf8_repair(Text *out, const char *bytes, size_t n, size_t *repaired, Err *err); // appends; adds to *repaired

typedef enum { UNICODE_OTHER, UNICODE_LETTER, UNICODE_NUMBER, UNICODE_SPACE } UnicodeClass;
UnicodeClass unicode_class(uint32_t character); // one search for the three questions below
bool unicode_is_letter(uint32_t character); // general category L*
bool unicode_is_number(uint32_t character); // general category N*
bool unicode_is_space(uint32_t character);  // White_Space

#endif
