// SPDX-License-Identifier: MIT
/* diff.c - raft diff: the first tensor in which two traces part, its worst element, and a line for every tensor that differs. */
#include "commands/commands.h"
#include "commands/learning.h"
#include "study/differences.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static const char *name_of(const TensorDifference *d) { return d->left ? d->left->name : d->right->name; }

// "right's name" where it is another one.
static const char *other_name(const TensorDifference *d) { return d->right ? d->right->name : d->missing; }

// ---- for people ----------------------------------------------------------------------------------------------------------

static void print_first(const TensorDifference *d)
{
    printf("first difference: %s %s", name_of(d), trace_shape(d->left).text);
    if (d->verdict == HASHES_DIFFER) {
        printf(": the hashes differ (only one of the traces has values)\n");
        return;
    }
    printf(" at %s: %s against %s", trace_place(d->left, d->worst).text, trace_value(d->left, d->worst).text,
        trace_value(d->right, d->worst).text);
    if (d->ulps) printf(", %" PRIu64 " ulp%s apart", d->ulps, d->ulps == 1 ? "" : "s");
    printf("; %zu of %zu values differ\n", d->unlike, d->left->count);
}

static void print_row(const TensorDifference *d)
{
    printf("%-52s ", name_of(d));
    if (d->verdict == NOT_COMPARABLE) printf("%s\n", d->trouble);
    else if (d->verdict == HASHES_DIFFER) printf("%-16s other hash\n", trace_shape(d->left).text);
    else {
        char unlike[48];
        snprintf(unlike, sizeof unlike, "%zu of %zu", d->unlike, d->left->count);
        printf("%-16s %-16s %11.3g %11" PRIu64 "  %s\n", trace_shape(d->left).text, unlike, d->largest, d->ulps,
            trace_place(d->left, d->worst).text);
    }
}

static void print_table(const Differences *d)
{
    const size_t *n = d->verdicts;
    if (d->first) print_first(d->first);
    if (n[SAME_BITS] < d->count) printf("\n%-52s %-16s %-16s %11s %11s  %s\n", "tensor", "shape", "differ", "at most", "ulps", "worst at");
    for (size_t i = 0; i < d->count; i++)
        if (d->items[i].verdict != SAME_BITS) print_row(d->items + i);
    if (n[SAME_BITS] < d->count) putchar('\n');
    printf("%zu tensors: %zu have the same bits", d->count, n[SAME_BITS]);
    if (n[WITHIN_TOLERANCE]) printf(", %zu agree within the tolerance", n[WITHIN_TOLERANCE]);
    printf(", %zu differ", n[DIFFERENT] + n[HASHES_DIFFER]);
    if (n[NOT_COMPARABLE]) printf(", %zu cannot be compared", n[NOT_COMPARABLE]);
    if (d->unmapped) printf("; %zu others are not in the map", d->unmapped);
    putchar('\n');
}

// ---- for programs --------------------------------------------------------------------------------------------------------

static json_t *item_json(const TensorDifference *d)
{
    static const char *const verdicts[] = {"same", "within", "differ", "hash", "trouble"};
    json_t *item = json_pack("{s:s,s:s,s:s}", "name", name_of(d), "other", other_name(d), "verdict", verdicts[d->verdict]);
    int bad = 0;
    if (d->left) bad |= json_object_set_new(item, "shape", json_string(trace_shape(d->left).text));
    if (d->verdict == NOT_COMPARABLE) bad |= json_object_set_new(item, "trouble", json_string(d->trouble));
    if (d->verdict == WITHIN_TOLERANCE || d->verdict == DIFFERENT) {
        bad |= json_object_set_new(item, "unlike", json_integer((json_int_t)d->unlike));
        bad |= json_object_set_new(item, "values", json_integer((json_int_t)d->left->count));
        bad |= json_object_set_new(item, "worst_at", json_string(trace_place(d->left, d->worst).text));
        bad |= json_object_set_new(item, "left", json_string(trace_value(d->left, d->worst).text));
        bad |= json_object_set_new(item, "right", json_string(trace_value(d->right, d->worst).text));
        bad |= json_object_set_new(item, "at_most", isinf(d->largest) ? json_null() : json_float(d->largest));
        bad |= json_object_set_new(item, "ulps", json_integer((json_int_t)d->ulps));
    }
    if (!bad) return item;
    json_decref(item);
    return NULL;
}

static int print_differences(const Differences *d, Err *err)
{
    const size_t *n = d->verdicts;
    json_t *tensors = json_array();
    for (size_t i = 0; i < d->count; i++)
        if (json_array_append_new(tensors, item_json(d->items + i))) {
            json_decref(tensors);
            return err_failed(err, "out of memory while reporting differences");
        }
    return print_json(json_pack("{s:b,s:I,s:I,s:I,s:I,s:I,s:o*,s:o}", "same", !d->first && !d->trouble, "same_bits",
        (json_int_t)n[SAME_BITS], "within", (json_int_t)n[WITHIN_TOLERANCE], "differ", (json_int_t)(n[DIFFERENT] + n[HASHES_DIFFER]),
        "trouble", (json_int_t)n[NOT_COMPARABLE], "not_in_map", (json_int_t)d->unmapped, "first",
        d->first ? json_string(name_of(d->first)) : NULL, "tensors", tensors), err);
}

// ---- the command ---------------------------------------------------------------------------------------------------------

// 0 the same, 1 different; what could not be compared is an error, after all that could be has been told.
static int report(const Differences *d, bool json, Err *err)
{
    if (!json) print_table(d);
    else if (print_differences(d, err)) return -1;
    if (d->trouble) return err_input(err, "tensor \"%.300s\": %s", name_of(d->trouble), d->trouble->trouble);
    return d->first ? 1 : 0;
}

static int run(CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    if (cx->word_count != 2) return err_input(err, "diff: expected two traces, found %zu", cx->word_count);
    TraceFile left = {0}, right = {0};
    NameMap map = {0};
    Differences d = {0};
    DifferenceOptions how = {.rtol = o->rtol, .atol = o->atol, .map = o->map ? &map : NULL};
    int status = (o->map && namemap_read(&map, o->map, err)) || tracefile_open(&left, cx->words[0], err) ||
        tracefile_open(&right, cx->words[1], err) || differences_find(&d, &left, &right, &how, err) ? -1 : 0;
    if (!status) status = report(&d, o->json, err);
    differences_free(&d);
    tracefile_close(&left);
    tracefile_close(&right);
    namemap_free(&map);
    return status;
}

const Command command_diff = {
    .name = "diff",
    .operands = "A B",
    .summary = "the first tensor in which two traces part, and by how much",
    .groups = OPT_COMMON | OPT_DIFF,
    .help = "A and B are traces: a safetensors file (of raft trace or of another framework), a folder that raft trace iteration wrote,\n"
            "or an index.jsonl with hashes alone. Tensors are met in the order of computation. Without --rtol and --atol bits are\n"
            "compared; with them |a-b| <= atol + rtol*max(|a|,|b|), floats of any width, dimensions of 1 ignored. --map FILE has lines\n"
            "\"name in A   name in B\" ('*': anything but a dot, the same on both sides) and restricts the comparison to what it names.\n"
            "Exit status: 0 the same, 1 different, 2 trouble: a file cannot be read, or a tensor is missing or of another shape.",
    .run = run,
};
