// SPDX-License-Identifier: MIT
/* recorder.c - collects named tensors and writes them. Knows no name and no model. Start at recorder_rows. */
#include "study/recorder.h"

#include "files/jsonl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// ---- finding the tensor of a name ----------------------------------------------------------------------------------------

static Record *add_record(Recorder *r, const char *name, StType type)
{
    if (r->count == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 64;
        Record *grown = mem_resize(&r->failure, r->records, r->count, capacity, sizeof *grown);
        if (!grown) return NULL;
        r->records = grown;
        r->capacity = capacity;
    }
    Record *record = r->records + r->count;
    *record = (Record){.name = mem_copy_text(&r->failure, name), .type = type, .hash = hash_bytes(0, "", 0)};
    if (!record->name) return NULL;
    r->last = r->count++;
    return record;
}

// Names come in the same order for each micro-batch: the search begins behind the one found before.
static Record *find_record(Recorder *r, StType type, const char *format, va_list args)
{
    char own[160], name[320];
    vsnprintf(own, sizeof own, format, args);
    snprintf(name, sizeof name, "%s%s", r->prefix.data ? r->prefix.data : "", own);
    for (size_t i = 0; i < r->count; i++) {
        size_t at = (r->last + i) % r->count;
        if (strcmp(r->records[at].name, name)) continue;
        r->last = at;
        return r->records + at;
    }
    return add_record(r, name, type);
}

// ---- values --------------------------------------------------------------------------------------------------------------

// The chain over the little-endian bytes, whatever this machine's order; 4 or 8 bytes a value.
static uint64_t hash_values(uint64_t hash, const void *values, size_t n, size_t size)
{
    for (size_t at = 0; at < n; at++) {
        uint8_t bytes[8];
        uint64_t bits = 0;
        uint32_t narrow = 0;
        if (size == 8) memcpy(&bits, (const uint8_t *)values + at * 8, 8);
        else memcpy(&narrow, (const uint8_t *)values + at * 4, 4), bits = narrow;
        for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(bits >> (8 * i));
        hash = hash_bytes(hash, bytes, size);
    }
    return hash;
}

static void append(Recorder *r, Record *record, const void *values, size_t n)
{
    size_t size = st_type_size(record->type);
    record->hash = hash_values(record->hash, values, n, size);
    if (!r->hashes_only && record->count + n > record->capacity) {
        size_t capacity = record->capacity && n < record->capacity ? 2 * record->capacity : record->count + n;
        void *grown = mem_resize(&r->failure, record->values, record->count, capacity, size);
        if (!grown) return;
        record->values = grown;
        record->capacity = capacity;
    }
    if (!r->hashes_only) memcpy((uint8_t *)record->values + record->count * size, values, n * size);
    record->count += n;
}

void recorder_prefix(Recorder *r, const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    r->prefix.length = 0;
    text_puts(&r->prefix, &r->failure, text);
}

void recorder_rows(Recorder *r, const float *values, size_t rows, size_t cols, size_t stride, const char *format, ...)
{
    va_list args;
    if (r->failure.status) return;
    va_start(args, format);
    Record *record = find_record(r, ST_F32, format, args);
    va_end(args);
    if (!record) return;
    size_t *shape = record->shape + (r->single ? 1 : 0);
    if (r->single) record->shape[0] = 1;
    record->dims = (size_t)(shape - record->shape) + (cols ? 2 : 1);
    shape[0] += rows;
    shape[1] = cols;
    size_t wide = cols ? cols : 1, step = cols ? stride : 1;
    if (wide == step) append(r, record, values, rows * wide);
    for (size_t i = 0; wide != step && i < rows && !r->failure.status; i++) append(r, record, values + i * step, wide);
}

void recorder_integer(Recorder *r, size_t value, const char *format, ...)
{
    int64_t wide = (int64_t)value;
    va_list args;
    if (r->failure.status) return;
    va_start(args, format);
    Record *record = find_record(r, ST_I64, format, args);
    va_end(args);
    if (!record) return;
    record->dims = 1;
    record->shape[0]++;
    append(r, record, &wide, 1);
}

void recorder_tensor(Recorder *r, const float *values, size_t dims, const size_t *shape, const char *format, ...)
{
    va_list args;
    if (r->failure.status) return;
    va_start(args, format);
    Record *record = find_record(r, ST_F32, format, args);
    va_end(args);
    if (!record) return;
    size_t n = 1;
    record->dims = dims;
    memcpy(record->shape, shape, dims * sizeof *shape);
    for (size_t i = 0; i < dims; i++) n *= shape[i];
    append(r, record, values, n);
}

// ---- files ---------------------------------------------------------------------------------------------------------------

int recorder_open(Recorder *r, const char *folder, bool hashes_only, Err *err)
{
    *r = (Recorder){.hashes_only = hashes_only};
    if (folder && (os_make_folders(folder, err) || !(r->folder = mem_copy_text(err, folder)))) return -1;
    return 0;
}

static void forget_records(Recorder *r)
{
    for (size_t i = 0; i < r->count; i++) {
        mem_free(r->records[i].name);
        mem_free(r->records[i].values);
    }
    r->written += r->count;
    r->count = r->last = 0;
}

void recorder_free(Recorder *r)
{
    forget_records(r);
    mem_free(r->records);
    mem_free(r->folder);
    text_free(&r->prefix);
    text_free(&r->index);
    *r = (Recorder){0};
}

static int write_values(const Recorder *r, const char *path, Err *err)
{
    StOutput *outputs = mem_new(err, r->count, sizeof *outputs);
    for (size_t i = 0; outputs && i < r->count; i++) {
        const Record *record = r->records + i;
        outputs[i] = (StOutput){.name = record->name, .type = record->type, .dims = record->dims, .data = record->values};
        memcpy(outputs[i].shape, record->shape, sizeof record->shape);
    }
    int status = outputs ? safetensors_write(path, outputs, r->count, err) : -1;
    mem_free(outputs);
    return status;
}

static int add_line(Recorder *r, const Record *record, const char *file, Err *err)
{
    Text *index = &r->index;
    if (text_puts(index, err, "{\"name\":") || json_write_string(index, record->name, strlen(record->name), err)) return -1;
    if (!r->hashes_only && text_printf(index, err, ",\"file\":\"%s\"", file)) return -1;
    if (text_printf(index, err, ",\"dtype\":\"%s\",\"shape\":[", st_type_name(record->type))) return -1;
    for (size_t i = 0; i < record->dims; i++)
        if (text_printf(index, err, "%s%zu", i ? "," : "", record->shape[i])) return -1;
    return text_printf(index, err, "],\"hash\":\"%016" PRIx64 "\"}\n", record->hash);
}

int recorder_end_part(Recorder *r, const char *file, Err *err)
{
    if (r->failure.status) {
        *err = r->failure;
        return -1;
    }
    char *path = r->folder ? os_join(err, r->folder, file) : mem_copy_text(err, file);
    int status = !path ? -1 : r->hashes_only ? 0 : write_values(r, path, err);
    for (size_t i = 0; i < r->count && !status && r->folder; i++) status = add_line(r, r->records + i, file, err);
    mem_free(path);
    forget_records(r);
    return status;
}

int recorder_finish(Recorder *r, Err *err)
{
    char *path = os_join(err, r->folder, "index.jsonl");
    int status = path ? os_write_file(path, r->index.data ? r->index.data : "", r->index.length, err) : -1;
    mem_free(path);
    return status;
}
