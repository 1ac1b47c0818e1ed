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
    double (*cost)(const TrajectoryPoint *point);
} Currency;

static const Currency currencies[] = {
    {"At the same number of generated tokens", "tokens generated", 0, trajectory_tokens},
    {"At the same time of work, measuring left out (this machine)", "seconds", 1, trajectory_seconds},
};

static bool has_trajectory(const Plan *plan, size_t arm)
{
    for (size_t s = 0; s < plan->seeds; s++)
        if (plan->results[arm * plan->seeds + s].trajectory.count < 2) return false;
    return true;
}

// What the cheapest run of an aligned arm cost in all: every arm's every seed went so far. 0: there are fewer than two arms.
static double common_cost(const Plan *plan, const Currency *currency)
{
    double least = 0;
    size_t arms = 0;
    for (size_t a = 0; a < plan->arm_count; a++) {
        if (!has_trajectory(plan, a)) continue;
        for (size_t s = 0; s < plan->seeds; s++) {
            const Trajectory *t = &plan->results[a * plan->seeds + s].trajectory;
            double cost = currency->cost(t->points + t->count - 1);
            least = (arms || s) && least < cost ? least : cost;
        }
        arms++;
    }
    return arms > 1 ? least : 0;
}

// The arm as it was when it had cost so much; no row when some seed never did.
static int equal_cost_row(Text *out, const Plan *plan, size_t arm, const Currency *currency, double cost, Evaluation *runs /* [seeds] */, Err *err)
{
    Evaluation mean;
    for (size_t s = 0; s < plan->seeds; s++)
        if (!trajectory_at(runs + s, &plan->results[arm * plan->seeds + s].trajectory, currency->cost, cost)) return 0;
    evaluation_over_runs(&mean, runs, plan->seeds);
    return text_printf(out, err, "| %s |", plan->arms[arm].name) || evaluation_markdown_row(out, &mean, err) || text_puts(out, err, "\n");
}

// with_costs: tokens before the measures and seconds behind them
static int markdown_heading(Text *out, bool with_costs, Err *err)
{
    int status = text_puts(out, err, with_costs ? "| arm | tokens generated |" : "| arm |") || evaluation_markdown_heading(out, err) ||
        text_puts(out, err, with_costs ? " seconds |\n|---|---|---|" : "\n|---|");
    for (size_t i = 0; !status && i < evaluation_interval_columns(); i++) status = text_puts(out, err, "---|");
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
            status = text_printf(out, err, "\nAfter %.*f %s, between two measurements in proportion:\n\n", currency->decimals, shares[i] * most, currency->unit) ||
                markdown_heading(out, false, err) || text_add(out, err, rows.data, rows.length);
        text_free(&rows);
    }
    return status;
}

// ---- comparison.md ---------------------------------------------------------------------------------------------------------------

static int end_table(Text *out, const Plan *plan, Err *err)
{
    int status = text_puts(out, err, "\n## At the end\n\n") || markdown_heading(out, true, err);
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
        if (!arm->count && !arm->of) continue;
        status = text_printf(out, err, "- %s:", arm->name);
        for (size_t i = 0; !status && i < arm->count; i++) status = text_printf(out, err, " %s=%s", arm->keys[i], arm->values[i]);
        if (!status && arm->of) status = text_printf(out, err, " of=%s", arm->of->name);
        if (!status) status = text_puts(out, err, "\n");
    }
    return status;
}

int plan_markdown(Text *out, const Plan *plan, Err *err)
{
    size_t own = 0;
    for (size_t a = 0; a < plan->arm_count; a++) own += plan->arms[a].count > 0 || plan->arms[a].of;
    Evaluation *runs = mem_new(err, plan->seeds, sizeof *runs);
    int status = !runs || text_printf(out, err, "# Comparison\n\nMeans over %zu seed%s, from %" PRIu64 " on, with 95 %% intervals %s; seconds are of this machine.\n",
        plan->seeds, plan->seeds == 1 ? "" : "s", plan->first_seed, plan->seeds == 1 ? "over prompts" : "over seeds and prompts");
    if (!status && own) status = settings_list(out, plan, err);
    if (!status) status = end_table(out, plan, err);
    for (size_t i = 0; !status && i < sizeof currencies / sizeof *currencies; i++) status = equal_cost_tables(out, plan, currencies + i, runs, err);
    mem_free(runs);
    return status ? -1 : 0;
}
