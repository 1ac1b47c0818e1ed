// SPDX-License-Identifier: MIT
/* report.c - the HTML page about a run: what stands on it and in which order, time, provenance, settings. Start reading at
 * report_write. The page says nothing that the run's files do not: no date, no machine it was made on. */
#include "study/report.h"

#include "study/report-internal.h"

#include <stdio.h>
#include <string.h>

// ---- time -----------------------------------------------------------------------------------------------------------------

void report_duration(Html *out, double seconds)
{
    if (seconds < 600) html_number(out, seconds, seconds < 10 ? 2 : 1), html_puts(out, " s");
    else html_number(out, seconds / 60, 1), html_puts(out, " min");
}

static void time_row(Html *out, const StageTime *t, double total)
{
    double share = total > 0 ? 100 * t->seconds / total : 0;
    html_row_name(out, t->stage);
    html_cell(out, (double)t->times, 0);
    html_puts(out, "<td class=\"n\">"), report_duration(out, t->seconds), html_puts(out, "</td><td class=\"n\">");
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
    html_puts(out, "<td></td><td class=\"n\">"), report_duration(out, total);
    html_puts(out, "</td><td></td><td class=\"wide\"></td><td></td></tr>\n");
    html_table_end(out);
    html_puts(out, "</section>\n");
}

// ---- the page -------------------------------------------------------------------------------------------------------------

typedef struct { const char *id, *name; void (*write)(Html *out, const RunFiles *files); } Section;
static const Section sections[] = {
    {"steps", "Three steps", report_story},
    {"charts", "What changed", report_charts},
    {"table", "By iteration", report_table},
    {"overdone", "Over-optimisation", report_overdone},
    {"answers", "Before and after", report_answers},
    {"spread", "Rewards", report_spreads},
    {"bound", "Best of K", report_bound},
    {"heads", "Reward heads", report_heads},
    {"training", "Training loss", report_training},
    {"time", "Time", report_time},
    {"provenance", "Provenance", report_provenance},
};

void report_head(Html *out, const char *title)
{
    html_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>");
    html_string(out, title);
    html_puts(out, "</title>\n<style>\n");
    for (size_t i = 0; report_style[i]; i++) html_puts(out, report_style[i]), html_puts(out, "\n");
    html_puts(out, "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#steps\">Skip to the content</a>\n");
}

void report_link(Html *out, const char *id, const char *name)
{
    html_printf(out, "<li><a href=\"#%s\">%s</a></li>\n", id, name);
}

static void eyebrow(Html *out, const RunFiles *files)
{
    const char *command = report_provenance_text(files, "command"), *output = run_option(files, "output");
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
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (sections[i].write != report_table || files->row_count) // else the charts' section says so
            report_link(out, sections[i].id, sections[i].name);
    html_puts(out, "</ul></nav>\n");
}

static void title(char text[100], const RunFiles *files)
{
    const char *command = report_provenance_text(files, "command");
    snprintf(text, 100, "%s%s%.60s", report_is_ppo(files) ? "PPO" : "RAFT", command ? ": raft " : "", command ? command : "");
}

static void page(Html *out, const RunFiles *files)
{
    char text[100];
    title(text, files);
    report_head(out, text);
    html_puts(out, "<header>\n");
    eyebrow(out, files);
    html_puts(out, report_is_ppo(files) ? "<h1>PPO, iteration by iteration</h1>\n<p class=\"lede\">Proximal policy optimisation is "
        "reinforcement learning: a language\n"
        "model answers, a reward scores the answers, and the model is moved, in small steps, towards those that did better than expected.\n"
        "It is what RAFT is compared with. This page tells what it did in one run.</p>\n" :
        "<h1>RAFT, iteration by iteration</h1>\n<p class=\"lede\">Reward-ranked fine-tuning lets a language model write several answers "
        "to a\n"
        "prompt, keeps the one that a reward likes best, and trains the model on what was kept; and again, with the model that came out.\n"
        "This page tells what that did in one run, and what it cost.</p>\n");
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

int report_save(Html *page, const char *path, Err *err)
{
    int status = page->text.failed ? -1 : os_write_file(path, page->text.data, page->text.length, err);
    text_free(&page->text);
    return status ? -1 : 0;
}

int report_write_run(const char *path, const char *run_folder, Err *err)
{
    RunFiles files;
    Html out = {.err = err};
    if (run_files_read(&files, run_folder, err)) return -1;
    page(&out, &files);
    run_files_free(&files);
    return report_save(&out, path, err);
}

int report_write(const char *folder, Err *err)
{
    char *path = os_join(err, folder, "report.html"), *comparison = os_join(err, folder, "comparison.json");
    int status = path && comparison ? 0 : -1;
    if (!status) status = os_is_file(comparison) ? report_write_comparison(path, folder, err) : report_write_run(path, folder, err);
    mem_free(path);
    mem_free(comparison);
    return status;
}
