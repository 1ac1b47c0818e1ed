// SPDX-License-Identifier: MIT
/* differences.c - compares tensors value by value and traces tensor by tensor. Prints nothing. Start at differences_find.
 *
 * Values are compared in double, which holds every float exactly, and integers as integers. Nothing here is part of the
 * numeric path: a tolerance is a reader's choice.
 */
#include "study/differences.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- values --------------------------------------------------------------------------------------------------------------

static uint64_t value_bits(const TraceTensor *t, size_t at)
{
    size_t size = st_type_size(t->type);
    uint64_t bits = 0;
    for (size_t i = 0; i < size; i++) bits |= (uint64_t)t->values->data[at * size + i] << (8 * i);
    return bits;
}

static bool is_float(StType type) { return type == ST_F32 || type == ST_F16 || type == ST_BF16 || type == ST_F64; }

static double float_value(StType type, uint64_t bits)
{
    if (type == ST_F16) return (double)float_from_half((uint16_t)bits);
    if (type == ST_BF16) return (double)float_from_bfloat((uint16_t)bits);
    uint32_t single = (uint32_t)bits;
    float narrow;
    double wide;
    memcpy(&narrow, &single, sizeof narrow);
    memcpy(&wide, &bits, sizeof wide);
    return type == ST_F32 ? (double)narrow : wide;
}

static int64_t integer_value(StType type, uint64_t bits)
{
    if (type == ST_I32 && bits >> 31) bits |= UINT64_C(0xFFFFFFFF00000000);
    int64_t value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Floats of one width in the order of their values become consecutive integers, -0 and +0 two of them.
static uint64_t float_place(StType type, uint64_t bits)
{
    unsigned width = 8 * (unsigned)st_type_size(type);
    uint64_t sign = UINT64_C(1) << (width - 1), all = sign | (sign - 1);
    return bits & sign ? all - bits : bits + sign;
}

// How many floats of the left one's width lie between; of unlike widths: the values, rounded to single.
static uint64_t ulps_between(StType left, uint64_t a, StType right, uint64_t b)
{
    if (left != right) {
        float x = (float)float_value(left, a), y = (float)float_value(right, b);
        uint32_t m, n;
        memcpy(&m, &x, sizeof m);
        memcpy(&n, &y, sizeof n);
        left = ST_F32, a = m, b = n;
    }
    uint64_t p = float_place(left, a), q = float_place(left, b);
    return p > q ? p - q : q - p;
}

ValueText trace_value(const TraceTensor *t, size_t at)
{
    ValueText v;
    uint64_t bits = value_bits(t, at);
    if (!is_float(t->type)) snprintf(v.text, sizeof v.text, "%" PRId64, integer_value(t->type, bits));
    else
        snprintf(v.text, sizeof v.text, "%.*g (%0*" PRIx64 ")", t->type == ST_F64 ? 17 : 9, float_value(t->type, bits),
            2 * (int)st_type_size(t->type), bits);
    return v;
}

static ValueText list_sizes(const size_t *sizes, size_t n)
{
    ValueText v = {"["};
    size_t used = 1;
    for (size_t i = 0; i < n && used < sizeof v.text; i++)
        used += (size_t)snprintf(v.text + used, sizeof v.text - used, "%s%zu", i ? "," : "", sizes[i]);
    if (used < sizeof v.text) snprintf(v.text + used, sizeof v.text - used, "]");
    return v;
}

ValueText trace_place(const TraceTensor *t, size_t at)
{
    size_t index[8] = {0};
    for (size_t i = t->dims; i-- > 0;) {
        index[i] = t->shape[i] ? at % t->shape[i] : 0;
        at = t->shape[i] ? at / t->shape[i] : 0;
    }
    return list_sizes(index, t->dims);
}

ValueText trace_shape(const TraceTensor *t) { return list_sizes(t->shape, t->dims); }

// ---- one tensor ----------------------------------------------------------------------------------------------------------

static bool has_tolerance(const DifferenceOptions *how) { return how->rtol > 0 || how->atol > 0; }

// |a - b| for the worst element, infinity where a number meets a NaN or an infinity; 0 when both are NaN or the same.
static double distance(double a, double b)
{
    if (a == b || (a != a && b != b)) return 0;
    double d = a - b;
    return d != d || isinf(d) ? INFINITY : fabs(d);
}

static bool within(double a, double b, double d, const DifferenceOptions *how)
{
    if (d == 0) return true;
    double larger = fabs(a) > fabs(b) ? fabs(a) : fabs(b);
    return !isinf(d) && d <= how->atol + how->rtol * larger;
}

static void compare_values(TensorDifference *d, const DifferenceOptions *how)
{
    const TraceTensor *l = d->left, *r = d->right;
    bool floats = is_float(l->type), tolerant = has_tolerance(how), same_bits = l->type == r->type;
    double worst = -1;
    for (size_t i = 0; i < l->count; i++) {
        uint64_t a = value_bits(l, i), b = value_bits(r, i);
        if (l->type == r->type && a == b) continue;
        same_bits = false;
        double x = floats ? float_value(l->type, a) : (double)integer_value(l->type, a);
        double y = floats ? float_value(r->type, b) : (double)integer_value(r->type, b), apart = distance(x, y);
        bool unlike = !floats ? integer_value(l->type, a) != integer_value(r->type, b) : !tolerant || !within(x, y, apart, how);
        d->unlike += unlike;
        if (apart <= worst) continue;
        worst = apart;
        d->worst = i;
    }
    d->verdict = same_bits ? SAME_BITS : d->unlike ? DIFFERENT : WITHIN_TOLERANCE;
    if (worst < 0) return;
    d->largest = worst;
    if (floats) d->ulps = ulps_between(l->type, value_bits(l, d->worst), r->type, value_bits(r, d->worst));
}

// Sizes of a shape without those of 1.
static size_t squeeze(size_t out[8], const TraceTensor *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->dims; i++)
        if (t->shape[i] != 1) out[n++] = t->shape[i];
    return n;
}

static bool same_shape(const TraceTensor *l, const TraceTensor *r, bool tolerant)
{
    size_t a[8] = {0}, b[8] = {0};
    if (!tolerant) return l->dims == r->dims && !memcmp(l->shape, r->shape, l->dims * sizeof *l->shape);
    size_t m = squeeze(a, l), n = squeeze(b, r);
    return m == n && !memcmp(a, b, m * sizeof *a);
}

static void compare_tensors(TensorDifference *d, const DifferenceOptions *how)
{
    const TraceTensor *l = d->left, *r = d->right;
    bool tolerant = has_tolerance(how), values = l->values && r->values;
    d->verdict = NOT_COMPARABLE;
    if (tolerant ? is_float(l->type) != is_float(r->type) : l->type != r->type)
        snprintf(d->trouble, sizeof d->trouble, "dtype %s against %s", st_type_name(l->type), st_type_name(r->type));
    else if (!same_shape(l, r, tolerant))
        snprintf(d->trouble, sizeof d->trouble, "shape %.48s against %.48s", trace_shape(l).text, trace_shape(r).text);
    else if (values) compare_values(d, how);
    else if (l->type == r->type && tracefile_hash(l) == tracefile_hash(r)) d->verdict = SAME_BITS;
    else if (tolerant) snprintf(d->trouble, sizeof d->trouble, "hashes differ, and without values a tolerance cannot be applied");
    else d->verdict = HASHES_DIFFER;
}

// Values that their own index contradicts were changed after they were written.
static int check_hash(const TraceFile *trace, const TraceTensor *t, Err *err)
{
    if (!t->values || !t->hashed || tracefile_hash(t) == t->hash) return 0;
    return err_input(err, "%s: tensor \"%.200s\" has the hash %016" PRIx64 ", but the index says %016" PRIx64, trace->path, t->name,
        tracefile_hash(t), t->hash);
}

// ---- two traces ----------------------------------------------------------------------------------------------------------

static TensorDifference *add_item(Differences *d, Err *err)
{
    if (d->count == d->capacity) {
        size_t capacity = d->capacity ? 2 * d->capacity : 64;
        TensorDifference *grown = mem_resize(err, d->items, d->count, capacity, sizeof *grown);
        if (!grown) return NULL;
        d->items = grown;
        d->capacity = capacity;
    }
    return memset(d->items + d->count++, 0, sizeof *d->items);
}

static int add_missing(Differences *d, const TraceTensor *left, const TraceTensor *right, const char *name, const char *where, Err *err)
{
    TensorDifference *item = add_item(d, err);
    if (!item) return -1;
    item->left = left;
    item->right = right;
    item->verdict = NOT_COMPARABLE;
    item->missing = mem_copy_text(err, name);
    snprintf(item->trouble, sizeof item->trouble, "there is no \"%.80s\" in %.80s", name, where);
    return item->missing ? 0 : -1;
}

static int compare_one(Differences *d, const TraceFile *left, const TraceTensor *l, const TraceFile *right, const char *name,
    const DifferenceOptions *how, Err *err)
{
    const TraceTensor *r = tracefile_find(right, name);
    if (!r) return add_missing(d, l, NULL, name, right->path, err);
    if (check_hash(left, l, err) || check_hash(right, r, err)) return -1;
    TensorDifference *item = add_item(d, err);
    if (!item) return -1;
    item->left = l;
    item->right = r;
    compare_tensors(item, how);
    return 0;
}

static int walk_left(Differences *d, const TraceFile *left, const TraceFile *right, const DifferenceOptions *how, Err *err)
{
    for (size_t i = 0; i < left->count; i++) {
        const TraceTensor *l = left->tensors + i;
        bool mapped = true;
        char *other = how->map ? namemap_apply(how->map, l->name, &mapped, err) : NULL;
        if (mapped && how->map && !other) return -1;
        int status = 0;
        if (mapped) status = compare_one(d, left, l, right, other ? other : l->name, how, err);
        else d->unmapped++;
        mem_free(other);
        if (status) return -1;
    }
    return how->map ? namemap_check_used(how->map, err) : 0;
}

/* Without a map both traces hold the same names. Where only the right one knows the order of computation, it decides. */
static int find_all(Differences *d, const TraceFile *left, const TraceFile *right, const DifferenceOptions *how, Err *err)
{
    if (how->map) return walk_left(d, left, right, how, err);
    const TraceFile *leader = right->indexed && !left->indexed ? right : left, *other = leader == left ? right : left;
    for (size_t i = 0; i < leader->count; i++) {
        const char *name = leader->tensors[i].name;
        const TraceTensor *l = tracefile_find(left, name);
        int status = l ? compare_one(d, left, l, right, name, how, err)
                       : add_missing(d, NULL, leader->tensors + i, name, left->path, err);
        if (status) return -1;
    }
    for (size_t i = 0; i < other->count; i++) {
        const TraceTensor *t = other->tensors + i;
        if (tracefile_find(leader, t->name)) continue;
        if (add_missing(d, other == left ? t : NULL, other == left ? NULL : t, t->name, leader->path, err)) return -1;
    }
    return 0;
}

int differences_find(Differences *d, const TraceFile *left, const TraceFile *right, const DifferenceOptions *how, Err *err)
{
    *d = (Differences){0};
    if (find_all(d, left, right, how, err)) {
        differences_free(d);
        return -1;
    }
    for (size_t i = 0; i < d->count; i++) {
        const TensorDifference *item = d->items + i;
        d->verdicts[item->verdict]++;
        if (!d->first && (item->verdict == DIFFERENT || item->verdict == HASHES_DIFFER)) d->first = item;
        if (!d->trouble && item->verdict == NOT_COMPARABLE) d->trouble = item;
    }
    return 0;
}

void differences_free(Differences *d)
{
    for (size_t i = 0; i < d->count; i++) mem_free(d->items[i].missing);
    mem_free(d->items);
    *d = (Differences){0};
}
