// SPDX-License-Identifier: MIT
/* monitors.c - when to stop. Knows measures only; who stops and what is saved is alignment.c's. */
#include "study/monitors.h"

#include <stdlib.h>
#include <string.h>

static int parse_number(double *value, const char *spec, const char *text, double most, Err *err)
{
    char *end = NULL;
    *value = strtod(text, &end);
    if (end != text && !*end && *value > 0 && *value <= most) return 0;
    return err_input(err, "--stop-when %s: expected a number above 0 and at most %g after ':'", spec, most);
}

int monitors_parse(Monitors *m, const char *const *specs, size_t count, Err *err)
{
    *m = (Monitors){0};
    for (size_t i = 0; i < count; i++) {
        const char *spec = specs[i], *colon = strchr(spec, ':');
        size_t length = colon ? (size_t)(colon - spec) : strlen(spec);
        bool gold = !strcmp(spec, "gold-falls"), kl = !strncmp(spec, "kl-above", length) && length == 8,
            diversity = !strncmp(spec, "diversity-falls", length) && length == 15;
        if (gold) m->gold_falls = true;
        else if (diversity && !colon) m->diversity_share = 0.1;
        else if (diversity && parse_number(&m->diversity_share, spec, colon + 1, 1, err)) return -1;
        else if (kl && parse_number(&m->kl_most, spec, colon ? colon + 1 : "", 1e6, err)) return -1;
        else if (!diversity && !kl) return err_input(err, "--stop-when %s: expected gold-falls, diversity-falls[:SHARE] or kl-above:NATS", spec);
    }
    return 0;
}

int monitors_check(const Monitors *m, bool has_gold, bool has_answers, Err *err)
{
    if (m->gold_falls && !has_gold) return err_input(err, "--stop-when gold-falls: there is no gold to look at (--gold SPEC)");
    if ((m->gold_falls || m->diversity_share > 0 || m->kl_most > 0) && !has_answers)
        return err_input(err, "--stop-when looks at the evaluation's answers: --eval-prompts must be above 0");
    return 0;
}

Sight monitors_see(Monitors *m, const Evaluation *e, size_t iteration)
{
    Sight sight = {0};
    const Measure *judge = e->gold.n ? &e->gold : &e->reward;
    if (!m->seen) m->first_diversity = e->distinct_2.mean;
    if (m->kl_most > 0 && e->kl.mean > m->kl_most) sight.why = "kl-above";
    if (m->diversity_share > 0 && e->distinct_2.mean < (1 - m->diversity_share) * m->first_diversity) sight.why = "diversity-falls";
    if (m->gold_falls && m->seen && e->gold.mean < m->best_low) sight.why = "gold-falls";
    sight.best = !sight.why && (!m->seen || judge->mean > m->best);
    m->seen++;
    if (!sight.best) return sight;
    m->best = judge->mean;
    m->best_low = judge->lo;
    m->best_iteration = iteration;
    return sight;
}
