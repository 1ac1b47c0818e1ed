// SPDX-License-Identifier: MIT
/* progress.c - how far a stage is, on standard error. Knows nothing of what the stage does. */
#include "study/progress.h"

#include "base/os.h"

#include <stdio.h>
#include <string.h>

enum { BAR_WIDTH = 24 };
#define DRAW_EVERY_S 0.1

// "12,345,678"
static const char *with_commas(char out[32], double value)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%.0f", value);
    size_t used = 0;
    for (int i = 0; i < n && used < 30; i++) {
        if (i && (n - i) % 3 == 0) out[used++] = ',';
        out[used++] = digits[i];
    }
    out[used] = '\0';
    return out;
}

static void print_rate(const Progress *p, double seconds)
{
    char rate[32];
    if (p->tokens && seconds > 0) fprintf(stderr, "  %s tokens/s", with_commas(rate, (double)p->tokens / seconds));
}

static void print_time(double seconds)
{
    if (seconds < 100) fprintf(stderr, "%.1f s", seconds);
    else if (seconds < 6000) fprintf(stderr, "%d min %02d s", (int)seconds / 60, (int)seconds % 60);
    else fprintf(stderr, "%.0f h %02d min", (double)((long)seconds / 3600), (int)((long)seconds / 60 % 60));
}

void progress_start(Progress *p, const char *stage, const char *unit, size_t total, bool quiet)
{
    *p = (Progress){.stage = stage, .unit = unit, .total = total, .started = os_now_s(), .bar = !quiet && os_is_terminal(stderr), .quiet = quiet};
}

double progress_seconds(const Progress *p) { return os_now_s() - p->started + p->before; }

void progress_update(Progress *p, size_t done, size_t tokens, const char *note)
{
    p->done = done;
    p->tokens = tokens;
    double now = os_now_s(), seconds = progress_seconds(p);
    if (!p->bar || (now - p->drawn < DRAW_EVERY_S && done < p->total)) return;
    p->drawn = now;
    size_t filled = p->total ? BAR_WIDTH * (done < p->total ? done : p->total) / p->total : 0;
    char bar[BAR_WIDTH + 1];
    for (size_t i = 0; i < BAR_WIDTH; i++) bar[i] = i < filled ? '=' : i == filled ? '>' : ' ';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r%-10s [%s] %zu/%zu", p->stage, bar, done, p->total); // \r and "erase to the end of the line"
    print_rate(p, seconds);
    if (done && done < p->total) {
        fputs("  ", stderr);
        print_time(seconds * (double)(p->total - done) / (double)done);
        fputs(" left", stderr);
    }
    fprintf(stderr, "%s%s\033[K", note && *note ? "  " : "", note ? note : "");
    fflush(stderr);
}

void progress_finish(Progress *p, const char *note)
{
    if (p->quiet) return;
    double seconds = progress_seconds(p);
    char count[32];
    if (p->bar) fputs("\r\033[K", stderr);
    fprintf(stderr, "%-10s %s %s%s", p->stage, with_commas(count, (double)p->done), p->unit, p->done == 1 ? "" : "s");
    fprintf(stderr, "%s%s  ", note && *note ? "  " : "", note ? note : "");
    print_time(seconds);
    print_rate(p, seconds);
    fputc('\n', stderr);
}

void progress_plan(const char *name, size_t done, size_t total, const char *unit, const char *under_way, double left)
{
    fprintf(stderr, "%-10s %zu of %zu %ss%s%s", name, done, total, unit, *under_way ? ", " : "", under_way);
    if (left > 0) {
        fputs("  about ", stderr);
        print_time(left);
        fputs(" left", stderr);
    }
    fputc('\n', stderr);
}
