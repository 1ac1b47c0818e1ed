// SPDX-License-Identifier: MIT
/* unicode.c - UTF-8 and three character classes of Unicode 16.0.0 (unicode_tables.inc, made by tools/make_unicode.py).
 * Knows nothing of tokens, normal forms or case. */
#include "files/unicode.h"

#include <string.h>

#include "files/unicode_tables.inc"

enum { REPLACEMENT = 0xFFFD };

// The second byte's allowed range depends on the first (no overlong forms, no surrogates, nothing above U+10FFFF); with it
// checked, any further continuation bytes do. A cut or broken sequence ends before the first byte that does not fit.
size_t utf8_decode(uint32_t *character, bool *valid, const char *bytes, size_t n)
{
    const unsigned char *s = (const unsigned char *)bytes;
    unsigned char low = 0x80, high = 0xBF;
    size_t length;
    *valid = true;
    *character = s[0];
    if (s[0] < 0x80) return 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF) length = 2;
    else if (s[0] >= 0xE0 && s[0] <= 0xEF) length = 3;
    else if (s[0] >= 0xF0 && s[0] <= 0xF4) length = 4;
    else length = 1;
    if (s[0] == 0xE0) low = 0xA0;
    if (s[0] == 0xED) high = 0x9F;
    if (s[0] == 0xF0) low = 0x90;
    if (s[0] == 0xF4) high = 0x8F;

    uint32_t c = length == 1 ? 0 : s[0] & (0x7Fu >> length);
    size_t used = 1;
    while (used < length && used < n && s[used] >= low && s[used] <= high) {
        c = c << 6 | (s[used++] & 0x3F);
        low = 0x80, high = 0xBF;
    }
    *valid = length > 1 && used == length;
    *character = *valid ? c : REPLACEMENT;
    return used;
}

size_t utf8_put(char out[4], uint32_t character)
{
    uint32_t c = character > 0x10FFFF || (character >= 0xD800 && character <= 0xDFFF) ? REPLACEMENT : character;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(0xF00u >> length | c); // 110xxxxx, 1110xxxx, 11110xxx: the low byte of the shifted ones
    return length;
}

// The length of the longest prefix that is valid UTF-8.
static size_t valid_prefix(const char *bytes, size_t n)
{
    size_t i = 0;
    while (i < n) {
        if (n - i >= 8) {
            uint64_t word;
            memcpy(&word, bytes + i, 8);
            if (!(word & 0x8080808080808080u)) { // most text is ASCII: eight characters at once
                i += 8;
                continue;
            }
        }
        uint32_t character;
        bool valid;
        size_t length = utf8_decode(&character, &valid, bytes + i, n - i);
        if (!valid) break;
        i += length;
    }
    return i;
}

bool utf8_is_valid(const char *bytes, size_t n) { return valid_prefix(bytes, n) == n; }

int utf8_repair(Text *out, const char *bytes, size_t n, size_t *repaired, Err *err)
{
    for (size_t i = 0; i < n;) {
        size_t good = valid_prefix(bytes + i, n - i);
        if (text_add(out, err, bytes + i, good)) return -1;
        i += good;
        if (i == n) break;
        uint32_t character;
        bool valid;
        i += utf8_decode(&character, &valid, bytes + i, n - i);
        if (text_puts(out, err, "\xEF\xBF\xBD")) return -1;
        ++*repaired;
    }
    return text_add(out, err, "", 0); // an empty text is "", not NULL
}

UnicodeClass unicode_class(uint32_t character)
{
    if (character > 0x10FFFF) return UNICODE_OTHER;
    size_t low = 0, high = sizeof class_changes / sizeof class_changes[0]; // the run is in [low, high)
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (class_changes[middle] >> 2 <= character) low = middle;
        else high = middle;
    }
    return (UnicodeClass)(class_changes[low] & 3);
}

bool unicode_is_letter(uint32_t character) { return unicode_class(character) == UNICODE_LETTER; }
bool unicode_is_number(uint32_t character) { return unicode_class(character) == UNICODE_NUMBER; }
bool unicode_is_space(uint32_t character) { return unicode_class(character) == UNICODE_SPACE; }
