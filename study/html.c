// SPDX-License-Identifier: MIT
/* html.c - HTML into a growing text. Start reading at html_text: the one gate for what came from outside. */
#include "study/html.h"

#include "files/unicode.h"

#include <stdio.h>
#include <string.h>

void html_puts(Html *out, const char *markup) { text_puts(&out->text, out->err, markup); }

void html_printf(Html *out, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof text) {
        out->text.failed = true;
        err_failed(out->err, "a piece of HTML is longer than %zu bytes", sizeof text);
        return;
    }
    html_puts(out, text);
}

// What a document may not hold: NUL and surrogates never get here; C1 controls and noncharacters do.
static bool is_refused(uint32_t c)
{
    return (c >= 0x7F && c <= 0x9F) || (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE;
}

static size_t escape(char out[8], uint32_t c)
{
    const char *entity = c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&quot;" :
        c == '\'' ? "&#39;" : NULL;
    if (entity) return strlen(memcpy(out, entity, strlen(entity) + 1));
    if (c < 0x20 && c != '\t' && c != '\n') return utf8_put(out, 0x2400 + c);
    if (c == 0x7F) return utf8_put(out, 0x2421);
    return utf8_put(out, is_refused(c) ? 0xFFFD : c);
}

void html_text(Html *out, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n && !out->text.failed;) {
        uint32_t c;
        bool valid;
        char piece[8];
        i += utf8_decode(&c, &valid, bytes + i, n - i);
        text_add(&out->text, out->err, piece, escape(piece, c));
    }
}

void html_string(Html *out, const char *string) { html_text(out, string, strlen(string)); }

// snprintf's decimal point is the locale's and may be several bytes. What is no number is shown as such: hiding it would hide
// a bug.
static size_t digits_of(char digits[64], const char *format, int decimals, double value)
{
    char raw[400];
    size_t used = 0;
    bool point = false;
    if (value - value != 0) return (size_t)snprintf(digits, 64, "nan");
    snprintf(raw, sizeof raw, format, decimals, value);
    for (const char *at = raw; *at && used < 63; at++) {
        bool part = (*at >= '0' && *at <= '9') || *at == '-' || *at == '+' || *at == 'e';
        if (!part && point) continue;
        if (!part) point = true;
        digits[used++] = part ? *at : '.';
    }
    digits[used] = '\0';
    return used;
}

void html_number(Html *out, double value, int decimals)
{
    char digits[64];
    bool large = value > 1e9 || value < -1e9;
    digits_of(digits, large ? "%.*g" : "%.*f", large ? 4 : decimals, value);
    const char *at = digits;
    bool zero = !strpbrk(digits, "123456789"); // "-0.00" is zero to a reader
    if (*at == '-' && at++ && !zero) html_puts(out, "\xE2\x88\x92");
    size_t whole = strspn(at, "0123456789"), n = strlen(at);
    for (size_t i = 0; i < n; i++) {
        if (i && i < whole && (whole - i) % 3 == 0) html_puts(out, ",");
        text_add(&out->text, out->err, at + i, 1);
    }
}

void html_coordinate(Html *out, double value)
{
    char digits[64];
    size_t n = digits_of(digits, "%.*f", 2, value);
    while (n && digits[n - 1] == '0') n--;
    if (n && digits[n - 1] == '.') n--;
    digits[n] = '\0';
    html_puts(out, !strcmp(digits, "-0") || !n ? "0" : digits);
}

// ---- parts of a page ------------------------------------------------------------------------------------------------------

void html_section(Html *out, const char *id, const char *heading)
{
    html_printf(out, "<section id=\"%s\">\n<h2>%s</h2>\n", id, heading);
}

void html_missing(Html *out, const char *sentence)
{
    html_puts(out, "<p class=\"missing\">");
    html_puts(out, sentence);
    html_puts(out, "</p>\n</section>\n");
}

void html_table(Html *out, const char *id, const char *class, const char *caption)
{
    html_printf(out, "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"%s\">\n", id);
    html_printf(out, "<table class=\"%s\"><caption id=\"%s\">%s</caption>\n", class, id, caption);
}

void html_columns(Html *out, const char *const *names, size_t count)
{
    html_puts(out, "<thead><tr>");
    for (size_t i = 0; i < count; i++) {
        bool number = names[i][0] == '>', wide = names[i][0] == '|';
        const char *class = number ? " class=\"n\"" : wide ? " class=\"wide\"" : "";
        html_printf(out, "<th scope=\"col\"%s>%s</th>", class, names[i] + (number || wide));
    }
    html_puts(out, "</tr></thead>\n<tbody>\n");
}

void html_row_name(Html *out, const char *name)
{
    html_puts(out, "<tr><th scope=\"row\">");
    html_string(out, name);
    html_puts(out, "</th>");
}

void html_cell(Html *out, double value, int decimals)
{
    html_puts(out, "<td class=\"n\">");
    html_number(out, value, decimals);
    html_puts(out, "</td>");
}

void html_table_end(Html *out) { html_puts(out, "</tbody></table></div>\n"); }
