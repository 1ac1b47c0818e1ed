// SPDX-License-Identifier: MIT
/* plan_tables.c - a comparison for people: the table on standard output, and comparison.md with the arms at their end and at equal
 * cost. Measures nothing. */
#include "study/plan.h"

#include <inttypes.h>

static double mean_seconds(const Plan *plan, size_t arm)
{
    double sum = 0;
    for (size_t s = 0; s < plan->seeds; s++) sum += plan->results[arm * plan->seeds + s].seconds;
    return sum / (double)plan->seeds;
}

int plan_table(Text *out, const Plan *plan, Err *err)
{
    int status = text_printf(out, err, "%-12s %9s", "arm", "generated") || evaluation_interval_heading(out, err) || text_printf(out, err, " %8s\n", "seconds");
    for (size_t a = 0; !status && a < plan->arm_count; a++)
        status = text_printf(out, err, "%-12s %9zu", plan->arms[a].name, plan_generated(plan, a)) ||
            evaluation_interval_row(out, plan->means + a, err) || text_printf(out, err, " %8.1f\n", mean_seconds(plan, a));
    return status ? -1 : 0;
}

// ---- at equal cost -----------------------------------------------------------------------------------------------------------------

typedef struct {
    const char *heading, *unit;
    int decimals;
    const TrajectoryPoint *(*find)(const Trajectory *t, double cost);
    double (*cost)(const TrajectoryPoint *point);
} Currency;

static double cost_tokens(const TrajectoryPoint *p) { return (double)p->generated; }
static double cost_seconds(const TrajectoryPoint *p) { return p->seconds; }

static const Currency currencies[] = {
    {"At the same number of generated tokens", "tokens generated", 0, trajectory_at_tokens, cost_tokens},
    {"At the same time of work, measuring left out (this machine)", "seconds", 1, trajectory_at_seconds, cost_seconds},
};

static bool has_trajectory(const Plan *plan, size_t arm)
{
    for (size_t s = 0; s < plan->seeds; s++)
        if (plan->results[arm * plan->seeds + s].trajectory.count < 2) return false;
    return true;
}

// What the cheapest aligned arm cost in all, mean over seeds; 0: there are fewer than two.
static double common_cost(const Plan *plan, const Currency *currency)
{
    double least = 0;
    size_t arms = 0;
    for (size_t a = 0; a < plan->arm_count; a++) {
        double sum = 0;
        if (!has_trajectory(plan, a)) continue;
        for (size_t s = 0; s < plan->seeds; s++) {
            const Trajectory *t = &plan->results[a * plan->seeds + s].trajectory;
            sum += currency->cost(t->points + t->count - 1) / (double)plan->seeds;
        }
        least = arms++ && least < sum ? least : sum;
    }
    return arms > 1 ? least : 0;
}

// The arm as it was when it had cost so much; no row when some seed was not measured that early.
static int equal_cost_row(Text *out, const Plan *plan, size_t arm, const Currency *currency, double cost, Evaluation *runs /* [seeds] */, Err *err)
{
    double spent = 0;
    Evaluation mean;
    for (size_t s = 0; s < plan->seeds; s++) {
        const TrajectoryPoint *p = currency->find(&plan->results[arm * plan->seeds + s].trajectory, cost);
        if (!p || !p->iteration) return 0;
        runs[s] = p->evaluation;
        spent += currency->cost(p) / (double)plan->seeds;
    }
    evaluation_over_runs(&mean, runs, plan->seeds);
    return text_printf(out, err, "| %s | %.*f |", plan->arms[arm].name, currency->decimals, spent) || evaluation_markdown_row(out, &mean, err) || text_puts(out, err, "\n");
}

static int markdown_heading(Text *out, const char *second, const char *last, Err *err)
{
    int status = text_printf(out, err, "| arm | %s |", second) || evaluation_markdown_heading(out, err) || text_puts(out, err, last) ||
        text_puts(out, err, "\n|---|---|");
    for (size_t i = 0; !status && i < evaluation_interval_columns() + (*last != '\0'); i++) status = text_puts(out, err, "---|");
    return status || text_puts(out, err, "\n");
}

static int equal_cost_tables(Text *out, const Plan *plan, const Currency *currency, Evaluation *runs, Err *err)
{
    static const double shares[] = {0.25, 0.5, 1};
    double most = common_cost(plan, currency);
    if (!(most > 0)) return 0;
    int status = text_printf(out, err, "\n## %s\n", currency->heading);
    for (size_t i = 0; !status && i < sizeof shares / sizeof *shares; i++) {
        Text rows = {0};
        for (size_t a = 0; !status && a < plan->arm_count; a++)
            if (has_trajectory(plan, a)) status = equal_cost_row(&rows, plan, a, currency, shares[i] * most, runs, err);
        if (!status && rows.length)
            status = text_printf(out, err, "\nThe last measurement at up to %.*f %s:\n\n", currency->decimals, shares[i] * most, currency->unit) ||
                markdown_heading(out, currency->unit, "", err) || text_add(out, err, rows.data, rows.length);
        text_free(&rows);
    }
    return status;
}

// ---- comparison.md ---------------------------------------------------------------------------------------------------------------

static int end_table(Text *out, const Plan *plan, Err *err)
{
    int status = text_puts(out, err, "\n## At the end\n\n") || markdown_heading(out, "tokens generated", " seconds |", err);
    for (size_t a = 0; !status && a < plan->arm_count; a++)
        status = text_printf(out, err, "| %s | %zu |", plan->arms[a].name, plan_generated(plan, a)) ||
            evaluation_markdown_row(out, plan->means + a, err) || text_printf(out, err, " %.1f |\n", mean_seconds(plan, a));
    return status;
}

static int settings_list(Text *out, const Plan *plan, Err *err)
{
    int status = text_puts(out, err, "\nArms with settings of their own:\n\n");
    for (size_t a = 0; !status && a < plan->arm_count; a++) {
        const PlanArm *arm = plan->arms + a;
        if (!arm->count) continue;
        status = text_printf(out, err, "- %s:", arm->name);
        for (size_t i = 0; !status && i < arm->count; i++) status = text_printf(out, err, " %s=%s", arm->keys[i], arm->values[i]);
        if (!status) status = text_puts(out, err, "\n");
    }
    return status;
}

int plan_markdown(Text *out, const Plan *plan, Err *err)
{
    size_t own = 0;
    for (size_t a = 0; a < plan->arm_count; a++) own += plan->arms[a].count > 0;
    Evaluation *runs = mem_new(err, plan->seeds, sizeof *runs);
    int status = !runs || text_printf(out, err, "# Comparison\n\nMeans over %zu seed%s, from %" PRIu64 " on, with 95 %% intervals %s; seconds are of this machine.\n",
        plan->seeds, plan->seeds == 1 ? "" : "s", plan->first_seed, plan->seeds == 1 ? "over prompts" : "over seeds and prompts");
    if (!status && own) status = settings_list(out, plan, err);
    if (!status) status = end_table(out, plan, err);
    for (size_t i = 0; !status && i < sizeof currencies / sizeof *currencies; i++) status = equal_cost_tables(out, plan, currencies + i, runs, err);
    mem_free(runs);
    return status ? -1 : 0;
}
