// SPDX-License-Identifier: MIT
/* html.h - HTML into a growing text: markup as given, everything that came from outside escaped.
 *
 *     Html page = {.err = err};
 *     html_puts(&page, "<p>");
 *     html_text(&page, candidate->text, candidate->text_length);   // "<script>" arrives as letters
 *     html_printf(&page, "</p><p>%zu answers</p>", n);            // only for values that hold no markup
 *     if (page.text.failed) return -1;                             // the first failure sticks
 */
#ifndef RAFT_STUDY_HTML_H
#define RAFT_STUDY_HTML_H

#include "base/util.h"

typedef struct { Text text; Err *err; } Html;

void html_puts(Html *out, const char *markup);
void html_printf(Html *out, const char *format, ...) PRINTF_LIKE(2, 3);
// Escaped for text and for quoted attributes. Invalid UTF-8 and what no HTML document may hold becomes U+FFFD; control
// characters other than tab and line feed become their pictures (U+2400...).
void html_text(Html *out, const char *bytes, size_t n);
void html_string(Html *out, const char *string);            // html_text up to the NUL
void html_number(Html *out, double value, int decimals);    // for readers: a true minus sign, commas between thousands
void html_coordinate(Html *out, double value);              // for SVG attributes: at most two decimals, whatever the locale

// Parts of a page. Names, ids and classes are the program's own words.
void html_section(Html *out, const char *id, const char *heading);  // <section> and its <h2>
void html_missing(Html *out, const char *sentence);                 // the sentence, then </section>
// A table in a box that scrolls, by keyboard too; then its columns, named with '>' before when they hold
// numbers, with '|' when a narrow screen leaves them out; then <tbody>.
void html_table(Html *out, const char *id, const char *class, const char *caption);
void html_columns(Html *out, const char *const *names, size_t count);
void html_row_name(Html *out, const char *name);                    // <tr> and its header, escaped
void html_cell(Html *out, double value, int decimals);
void html_table_end(Html *out);

#endif
