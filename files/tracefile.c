// SPDX-License-Identifier: MIT
/* tracefile.c - opens a trace, whichever of its three forms it has, and puts its tensors in the order of computation.
 *
 * Trusts neither index nor files: each must agree with the other. Knows the words of which names are made, and nothing of
 * models. Start at tracefile_open.
 */
#include "files/tracefile.h"

#include "files/jsonl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the order that names tell -------------------------------------------------------------------------------------------

// The words of names in the order in which a computation meets them; every name is made of these, of numbers, or of neither.
static const char *const words[] = {"start", "collect", "rank", "step", "prompts", "prompt",
    "input_ids", "positions", "labels", "model", "embed_tokens", "embedding",
    "layers", "input", "attention_norm", "input_layernorm", "q", "k", "v", "self_attn", "q_proj", "k_proj", "v_proj", "attention", "o_proj",
    "attention_residual", "ff_norm", "post_attention_layernorm", "mlp", "gate", "gate_proj", "up", "up_proj", "hidden", "down_proj",
    "output", "norm", "lm_head", "score", "logits", "tokens", "logprobs", "logprob", "loss", "backward",
    "grad", "grad_norm", "lr", "after"};
enum { WORDS = sizeof words / sizeof *words };

static size_t word_place(const char *segment, size_t n)
{
    size_t i = 0;
    while (i < WORDS && (strlen(words[i]) != n || memcmp(words[i], segment, n))) i++;
    return i;
}

static bool is_number(const char *segment, size_t n) { return n && strspn(segment, "0123456789") >= n; }

// Segment against segment: numbers by value, known words by place, the rest by bytes.
static int segment_order(const char *a, size_t m, const char *b, size_t n)
{
    if (is_number(a, m) && is_number(b, n)) {
        while (m > 1 && *a == '0') a++, m--;
        while (n > 1 && *b == '0') b++, n--;
        if (m != n) return m < n ? -1 : 1;
        return memcmp(a, b, m);
    }
    size_t p = word_place(a, m), q = word_place(b, n);
    if (p != q) return p < q ? -1 : 1;
    int order = memcmp(a, b, m < n ? m : n);
    return order ? order : m < n ? -1 : m > n;
}

int trace_order(const char *a, const char *b)
{
    int direction = 1;
    for (const char *x = a, *y = b;;) {
        size_t m = strcspn(x, "."), n = strcspn(y, ".");
        int order = segment_order(x, m, y, n);
        if (order) return direction * order;
        if ((m == 4 && !memcmp(x, "grad", 4)) || (m == 8 && !memcmp(x, "backward", 8))) direction = -1; // the last comes first
        x += m, y += n;
        if (!*x || !*y) return direction * ((*x != 0) - (*y != 0));
        x++, y++;
    }
}

// ---- tensors -------------------------------------------------------------------------------------------------------------

static int by_order(const void *a, const void *b) { return trace_order(((const TraceTensor *)a)->name, ((const TraceTensor *)b)->name); }

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const TraceTensor *const *)a)->name, (*(const TraceTensor *const *)b)->name);
}

static TraceTensor *add_tensor(TraceFile *trace, const char *name, Err *err)
{
    if (trace->count == trace->capacity) {
        size_t capacity = trace->capacity ? 2 * trace->capacity : 64;
        TraceTensor *grown = mem_resize(err, trace->tensors, trace->count, capacity, sizeof *grown);
        if (!grown) return NULL;
        trace->tensors = grown;
        trace->capacity = capacity;
    }
    TraceTensor *t = trace->tensors + trace->count;
    *t = (TraceTensor){.name = mem_copy_text(err, name)};
    if (t->name) trace->count++;
    return t->name ? t : NULL;
}

static int sort_names(TraceFile *trace, Err *err)
{
    trace->by_name = mem_new(err, trace->count, sizeof *trace->by_name);
    if (!trace->by_name) return -1;
    for (size_t i = 0; i < trace->count; i++) trace->by_name[i] = trace->tensors + i;
    if (trace->count) qsort(trace->by_name, trace->count, sizeof *trace->by_name, by_name);
    for (size_t i = 1; i < trace->count; i++)
        if (!strcmp(trace->by_name[i - 1]->name, trace->by_name[i]->name))
            return err_input(err, "%s: tensor \"%.200s\" is there twice", trace->path, trace->by_name[i]->name);
    return 0;
}

const TraceTensor *tracefile_find(const TraceFile *trace, const char *name)
{
    const TraceTensor key = {.name = (char *)(uintptr_t)name}, *wanted = &key;
    const TraceTensor **found =
        trace->count ? bsearch(&wanted, trace->by_name, trace->count, sizeof *trace->by_name, by_name) : NULL;
    return found ? *found : NULL;
}

uint64_t tracefile_hash(const TraceTensor *t)
{
    return t->values ? hash_bytes(0, t->values->data, t->values->count * st_type_size(t->type)) : t->hash;
}

// ---- a safetensors file --------------------------------------------------------------------------------------------------

static void take_values(TraceTensor *t, const StTensor *values)
{
    t->values = values;
    t->type = values->type;
    t->dims = values->dims;
    t->count = values->count;
    memcpy(t->shape, values->shape, sizeof t->shape);
}

// Opens a file of the trace, or gives the one that is open already.
static TracePart *open_part(TraceFile *trace, const char *name, const char *path, Err *err)
{
    for (size_t i = 0; i < trace->part_count; i++)
        if (!strcmp(trace->parts[i].name, name)) return trace->parts + i;
    TracePart *grown = mem_resize(err, trace->parts, trace->part_count, trace->part_count + 1, sizeof *grown);
    if (!grown) return NULL;
    trace->parts = grown;
    TracePart *part = grown + trace->part_count;
    if (!(part->name = mem_copy_text(err, name))) return NULL;
    trace->part_count++;
    return safetensors_open(&part->tensors, path, err) ? NULL : part;
}

static int open_plain(TraceFile *trace, Err *err)
{
    const TracePart *part = open_part(trace, trace->path, trace->path, err);
    for (size_t i = 0; part && i < part->tensors.count; i++) {
        TraceTensor *t = add_tensor(trace, part->tensors.tensors[i].name, err);
        if (!t) return -1;
        take_values(t, part->tensors.tensors + i);
    }
    if (part && trace->count) qsort(trace->tensors, trace->count, sizeof *trace->tensors, by_order);
    return part ? 0 : -1;
}

// ---- an index ------------------------------------------------------------------------------------------------------------

static int parse_shape(TraceTensor *t, const json_t *line, const char *where, Err *err)
{
    const json_t *shape = json_object_get(line, "shape");
    size_t most = sizeof t->shape / sizeof *t->shape;
    if (!json_is_array(shape) || json_array_size(shape) > most)
        return err_input(err, "%s: key \"shape\": expected an array of at most %zu sizes", where, most);
    t->dims = json_array_size(shape);
    t->count = 1;
    for (size_t i = 0; i < t->dims; i++) {
        json_int_t size = json_integer_value(json_array_get(shape, i));
        if (!json_is_integer(json_array_get(shape, i)) || size < 0 || (uint64_t)size > SIZE_MAX / 16 ||
            !size_multiply(t->count, (size_t)size, &t->count) || t->count > SIZE_MAX / 16)
            return err_input(err, "%s: key \"shape\": size %zu is no size of a tensor", where, i);
        t->shape[i] = (size_t)size;
    }
    return 0;
}

static int parse_hash(TraceTensor *t, const json_t *line, const char *where, Err *err)
{
    const char *text = "";
    if (json_get_text(line, "hash", &text, where, err)) return -1;
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return err_input(err, "%s: key \"hash\": expected 16 hexadecimal digits, found \"%.40s\"", where, text);
    t->hash = strtoull(text, NULL, 16);
    t->hashed = true;
    return 0;
}

static int check_values(const TraceTensor *t, const StTensor *values, const char *where, const char *file, Err *err)
{
    if (!values) return err_input(err, "%s: tensor \"%.200s\" is missing in %s", where, t->name, file);
    bool same = values->type == t->type && values->dims == t->dims && !memcmp(values->shape, t->shape, t->dims * sizeof *t->shape);
    return same ? 0 : err_input(err, "%s: tensor \"%.200s\" has another dtype or shape in %s", where, t->name, file);
}

static int read_line(TraceFile *trace, const json_t *line, const char *where, const char *folder, Err *err)
{
    const char *name = "", *type = "", *file = NULL;
    if (json_get_text(line, "name", &name, where, err) || json_get_text(line, "dtype", &type, where, err) ||
        json_get_text_or(line, "file", NULL, &file, where, err)) return -1;
    TraceTensor *t = add_tensor(trace, name, err);
    if (!t) return -1;
    if (!st_type_find(&t->type, type)) return err_input(err, "%s: key \"dtype\": \"%.40s\" is not known", where, type);
    if (parse_shape(t, line, where, err) || parse_hash(t, line, where, err)) return -1;
    if (!file || !folder) return 0;
    if (strchr(file, '/')) return err_input(err, "%s: key \"file\": expected a file in the trace's folder, found \"%.80s\"", where, file);
    char *path = os_join(err, folder, file);
    const TracePart *part = path ? open_part(trace, file, path, err) : NULL;
    int status = part ? check_values(t, safetensors_find(&part->tensors, name), where, path, err) : -1;
    if (!status) t->values = safetensors_find(&part->tensors, name);
    mem_free(path);
    return status;
}

// A tensor that no line of the index tells of would never be compared.
static int check_all_told(const TraceFile *trace, Err *err)
{
    for (size_t p = 0; p < trace->part_count; p++)
        for (size_t i = 0; i < trace->parts[p].tensors.count; i++) {
            const StTensor *values = trace->parts[p].tensors.tensors + i;
            const TraceTensor *told = tracefile_find(trace, values->name);
            if (!told || told->values != values)
                return err_input(err, "%s: tensor \"%.200s\" of %s is not in the index", trace->path, values->name, trace->parts[p].name);
        }
    return 0;
}

static int open_index(TraceFile *trace, const char *path, const char *folder, Err *err)
{
    JsonLines in;
    json_t *line = NULL;
    int got;
    trace->indexed = true;
    if (jsonl_open(&in, path, err)) return -1;
    while ((got = jsonl_next(&in, &line, err)) == 1) {
        int status = read_line(trace, line, in.where, folder, err);
        json_decref(line);
        if (status) {
            got = -1;
            break;
        }
    }
    jsonl_close(&in);
    return got;
}

int tracefile_open(TraceFile *trace, const char *path, Err *err)
{
    size_t n = strlen(path);
    bool folder = os_is_folder(path), index = n > 6 && !strcmp(path + n - 6, ".jsonl");
    *trace = (TraceFile){.path = mem_copy_text(err, path)};
    char *index_path = folder ? os_join(err, path, "index.jsonl") : NULL;
    int status = trace->path && (index_path || !folder) ? 0 : -1;
    if (!status && folder && !os_is_file(index_path))
        status = err_input(err, "%s: no index.jsonl: expected a trace that raft trace iteration wrote, or a safetensors file", path);
    if (!status) status = folder ? open_index(trace, index_path, path, err) : index ? open_index(trace, path, NULL, err) : open_plain(trace, err);
    if (!status && !trace->count) status = err_input(err, "%s: no tensor in it", path);
    if (!status) status = sort_names(trace, err);
    if (!status) status = check_all_told(trace, err);
    mem_free(index_path);
    if (status) tracefile_close(trace);
    return status;
}

void tracefile_close(TraceFile *trace)
{
    for (size_t i = 0; i < trace->count; i++) mem_free(trace->tensors[i].name);
    for (size_t i = 0; i < trace->part_count; i++) {
        safetensors_close(&trace->parts[i].tensors);
        mem_free(trace->parts[i].name);
    }
    mem_free(trace->parts);
    mem_free(trace->tensors);
    mem_free(trace->by_name);
    mem_free(trace->path);
    *trace = (TraceFile){0};
}
