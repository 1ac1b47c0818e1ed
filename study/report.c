// SPDX-License-Identifier: MIT
/* report.c - the HTML page about a run: what stands on it and in which order, time, provenance, settings. Start reading at
 * report_write. The page says nothing that the run's files do not: no date, no machine it was made on. */
#include "study/report.h"

#include "study/report-internal.h"

#include <string.h>

// ---- time -----------------------------------------------------------------------------------------------------------------

static void duration(Html *out, double seconds)
{
    if (seconds < 600) html_number(out, seconds, seconds < 10 ? 2 : 1), html_puts(out, " s");
    else html_number(out, seconds / 60, 1), html_puts(out, " min");
}

static void time_row(Html *out, const StageTime *t, double total)
{
    double share = total > 0 ? 100 * t->seconds / total : 0;
    html_row_name(out, t->stage);
    html_cell(out, (double)t->times, 0);
    html_puts(out, "<td class=\"n\">"), duration(out, t->seconds), html_puts(out, "</td><td class=\"n\">");
    html_number(out, share, 1);
    html_puts(out, "&#8239;%</td><td class=\"share wide\"><span style=\"width:");
    html_coordinate(out, share);
    html_puts(out, "%\"></span></td>");
    if (t->tokens > 0 && t->seconds > 0) html_cell(out, t->tokens / t->seconds, 0);
    else html_puts(out, "<td class=\"n\">–</td>");
    html_puts(out, "</tr>\n");
}

static void report_time(Html *out, const RunFiles *files)
{
    const char *const columns[] = {"stage", ">times", ">time", ">share", "|<span class=\"hidden\">as a bar</span>", ">tokens/s"};
    double total = 0;
    html_section(out, "time", "Where the time went");
    if (!files->time_count) {
        html_missing(out, "This run recorded no times (timing.jsonl).");
        return;
    }
    for (size_t i = 0; i < files->time_count; i++) total += files->times[i].seconds;
    html_table(out, "time-table", "times", "Wall-clock time by stage");
    html_columns(out, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < files->time_count; i++) time_row(out, files->times + i, total);
    html_row_name(out, "together");
    html_puts(out, "<td></td><td class=\"n\">"), duration(out, total);
    html_puts(out, "</td><td></td><td class=\"wide\"></td><td></td></tr>\n");
    html_table_end(out);
    html_puts(out, "</section>\n");
}

// ---- provenance -----------------------------------------------------------------------------------------------------------

static const char *provenance_text(const RunFiles *files, const char *key)
{
    return json_string_value(json_object_get(files->provenance, key));
}

// A word as a shell would read it back.
static void shell_word(Html *out, const char *word)
{
    if (*word && !word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%")]) {
        html_string(out, word);
        return;
    }
    html_string(out, "'");
    for (; *word; word++) {
        size_t plain = strcspn(word, "'");
        html_text(out, word, plain);
        word += plain;
        if (!*word) break;
        html_string(out, "'\\''");
    }
    html_string(out, "'");
}

static void json_value(Html *out, const json_t *value)
{
    Text text = {0};
    if (json_is_string(value)) {
        html_text(out, json_string_value(value), json_string_length(value));
        return;
    }
    if (json_write(&text, value, out->err)) out->text.failed = true;
    else html_text(out, text.data, text.length);
    text_free(&text);
}

static void command_line(Html *out, const json_t *words)
{
    for (size_t i = 0; i < json_array_size(words); i++) {
        const char *word = json_string_value(json_array_get(words, i));
        if (i) html_puts(out, " ");
        shell_word(out, word ? word : "?");
    }
}

static void provenance_rows(Html *out, json_t *object, bool with_options)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (!strcmp(key, "options") && !with_options) continue;
        html_row_name(out, key);
        html_puts(out, "<td><code>");
        if (!strcmp(key, "command_line") && json_is_array(value)) command_line(out, value);
        else json_value(out, value);
        html_puts(out, "</code></td></tr>\n");
    }
}

static void report_provenance(Html *out, const RunFiles *files)
{
    const char *matmul = provenance_text(files, "matmul");
    bool blis = matmul && !strcmp(matmul, "blis");
    html_section(out, "provenance", "Where it comes from");
    if (files->provenance) {
        html_puts(out, blis ? "<p>This run used BLIS, with which the same inputs need not give the same bits on another machine.</p>\n" :
            "<p>The same program, inputs and settings give the same bits on any machine; what differs by machine stands only here\n"
            "and under time.</p>\n");
        html_puts(out, "<table class=\"facts\"><caption>provenance.json</caption>\n<tbody>\n");
        provenance_rows(out, files->provenance, !files->has_settings);
        html_puts(out, "</tbody></table>\n");
    } else html_puts(out, "<p class=\"missing\">This run holds no provenance.json.</p>\n");
    if (files->has_settings) {
        html_puts(out, "<details><summary>All settings (settings.conf)</summary>\n<pre tabindex=\"0\">");
        html_text(out, files->settings.data ? files->settings.data : "", files->settings.length);
        html_puts(out, "</pre>\n</details>\n");
    } else html_puts(out, "<p class=\"missing\">This run holds no settings.conf.</p>\n");
    html_puts(out, "</section>\n");
}

// ---- the page -------------------------------------------------------------------------------------------------------------

typedef struct { const char *id, *name; void (*write)(Html *out, const RunFiles *files); } Section;
static const Section sections[] = {
    {"steps", "Three steps", report_story},
    {"charts", "What changed", report_charts},
    {"table", "By iteration", report_table},
    {"answers", "Before and after", report_answers},
    {"spread", "Rewards", report_spreads},
    {"heads", "Reward heads", report_heads},
    {"training", "Training loss", report_training},
    {"time", "Time", report_time},
    {"provenance", "Provenance", report_provenance},
};

static void head(Html *out, const RunFiles *files)
{
    const char *command = provenance_text(files, "command");
    html_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>RAFT");
    if (command) html_puts(out, ": raft "), html_string(out, command);
    html_puts(out, "</title>\n<style>\n");
    for (size_t i = 0; report_style[i]; i++) html_puts(out, report_style[i]), html_puts(out, "\n");
    html_puts(out, "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#steps\">Skip to the content</a>\n");
}

static void eyebrow(Html *out, const RunFiles *files)
{
    const char *command = provenance_text(files, "command"), *output = run_option(files, "output");
    const json_t *seed = json_object_get(files->provenance, "seed");
    if (!command) return;
    html_puts(out, "<p class=\"eyebrow\">raft "), html_string(out, command);
    if (output) html_puts(out, " · "), html_string(out, output);
    if (json_is_integer(seed)) html_printf(out, " · seed %" JSON_INTEGER_FORMAT, json_integer_value(seed));
    html_puts(out, "</p>\n");
}

static void contents(Html *out, const RunFiles *files)
{
    html_puts(out, "<nav aria-label=\"Contents\"><ul>\n");
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        if (sections[i].write == report_table && !files->row_count) continue; // the charts' section says so
        html_printf(out, "<li><a href=\"#%s\">%s</a></li>\n", sections[i].id, sections[i].name);
    }
    html_puts(out, "</ul></nav>\n");
}

static void page(Html *out, const RunFiles *files)
{
    head(out, files);
    html_puts(out, "<header>\n");
    eyebrow(out, files);
    html_puts(out, "<h1>RAFT, iteration by iteration</h1>\n<p class=\"lede\">Reward-ranked fine-tuning lets a language model answer,\n"
        "keeps the answers that a reward likes best, and trains the model on them. This page tells what that did in one run.</p>\n");
    report_summary(out, files);
    contents(out, files);
    html_puts(out, "</header>\n<main>\n");
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) sections[i].write(out, files);
    html_puts(out, "</main>\n<footer>\n<p>Every number on this page stands in a file of the run: metrics.jsonl, iter_*/candidates.jsonl,\n"
        "timing.jsonl, provenance.json, settings.conf and, where there are any, heads.json and samples_*.jsonl.");
    if (files->unknown_lines)
        html_printf(out, " %zu lines of metrics.jsonl are of a kind that is not shown.", files->unknown_lines);
    html_puts(out, " It needs no network and no script.</p>\n</footer>\n</body>\n</html>\n");
}

int report_write(const char *run_folder, Err *err)
{
    RunFiles files;
    Html out = {.err = err};
    char *path = os_join(err, run_folder, "report.html");
    int status = path ? run_files_read(&files, run_folder, err) : -1;
    if (!status) {
        page(&out, &files);
        status = out.text.failed ? -1 : os_write_file(path, out.text.data, out.text.length, err);
        run_files_free(&files);
    }
    text_free(&out.text);
    mem_free(path);
    return status;
}
