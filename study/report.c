// SPDX-License-Identifier: MIT
/* report.c - the HTML page about a run: what stands on it and in which order. Start reading at report_write. */
#include "study/report.h"

#include "files/jsonl.h"
#include "study/html.h"

static const struct { const char *key, *heading; int decimals; } measures[] = {
    {"reward", "reward", 3}, {"gold", "gold", 3}, {"gold_probability", "P(positive)", 3}, {"positive_rate", "positive rate", 3},
    {"perplexity", "perplexity", 2}, {"kl", "KL per answer", 3}, {"distinct_2", "distinct-2", 3}, {"length", "length", 1},
};
enum { MEASURES = sizeof measures / sizeof *measures };

static int add_row(Html *page, const json_t *line, const char *where, Err *err)
{
    size_t iteration = 0;
    if (!json_object_get(line, "iteration")) return 0;
    if (json_get_size(line, "iteration", &iteration, where, err)) return -1;
    html_printf(page, "<tr><th scope=\"row\">%zu</th>", iteration);
    for (size_t i = 0; i < MEASURES; i++) {
        double mean = 0, lo = 0, hi = 0;
        const json_t *measure = json_object_get(line, measures[i].key);
        html_puts(page, "<td>");
        if (measure && (json_get_number(measure, "mean", &mean, where, err) || json_get_number(measure, "lo", &lo, where, err) ||
            json_get_number(measure, "hi", &hi, where, err))) return -1;
        if (measure) html_number(page, mean, measures[i].decimals), html_puts(page, " <small>["), html_number(page, lo, measures[i].decimals);
        if (measure) html_puts(page, ", "), html_number(page, hi, measures[i].decimals), html_puts(page, "]</small>");
        html_puts(page, "</td>");
    }
    html_puts(page, "</tr>\n");
    return 0;
}

static int add_table(Html *page, const char *path, Err *err)
{
    JsonLines in;
    json_t *line = NULL;
    int got;
    if (jsonl_open(&in, path, err)) return -1;
    html_puts(page, "<table><caption>Measures after each iteration, with 95 % intervals</caption><thead><tr><th scope=\"col\">iteration</th>");
    for (size_t i = 0; i < MEASURES; i++) html_printf(page, "<th scope=\"col\">%s</th>", measures[i].heading);
    html_puts(page, "</tr></thead><tbody>\n");
    while ((got = jsonl_next(&in, &line, err)) == 1) {
        if (add_row(page, line, in.where, err)) got = -1;
        json_decref(line);
        if (got < 0) break;
    }
    jsonl_close(&in);
    html_puts(page, "</tbody></table>\n");
    return got;
}

int report_write(const char *run_folder, Err *err)
{
    Html page = {.err = err};
    char *metrics = os_join(err, run_folder, "metrics.jsonl"), *path = metrics ? os_join(err, run_folder, "report.html") : NULL;
    html_puts(&page, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
        "<title>RAFT run</title></head><body><main><h1>RAFT run</h1>\n");
    int status = path ? add_table(&page, metrics, err) : -1;
    html_puts(&page, "</main></body></html>\n");
    if (!status) status = page.text.failed ? -1 : os_write_file(path, page.text.data, page.text.length, err);
    text_free(&page.text);
    mem_free(metrics);
    mem_free(path);
    return status ? -1 : 0;
}
