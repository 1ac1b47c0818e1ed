// SPDX-License-Identifier: MIT
/* weights.c - one or several safetensors files as the weights of one model. Which files: the index's "weight_map" says. */
#include "files/weights.h"

#include "files/jsonl.h"

#include <string.h>

enum { MOST_FILES = 1000 };

// A file beside the index, not a path out of the folder.
static int check_file_name(const char *name, const char *index, Err *err)
{
    if (*name && !strpbrk(name, "/\\:") && strcmp(name, ".") && strcmp(name, "..")) return 0;
    return err_input(err, "%s: key \"weight_map\": \"%.100s\" is not the name of a file in this folder", index, name);
}

static int open_file(Weights *w, const char *folder, const char *name, Err *err)
{
    char *path = os_join(err, folder, name);
    int status = path ? safetensors_open(&w->files[w->count], path, err) : -1;
    if (!status) w->count++;
    mem_free(path);
    return status;
}

// The different names in weight_map, in the order of their first tensors.
static int list_files(const char **names, size_t *count, const json_t *map, const char *index, Err *err)
{
    json_t *own = (json_t *)(uintptr_t)map;
    for (void *at = json_object_iter(own); at; at = json_object_iter_next(own, at)) {
        const char *name = json_string_value(json_object_iter_value(at));
        if (!name) return err_input(err, "%s: key \"weight_map\": \"%.100s\" must name a file", index, json_object_iter_key(at));
        size_t i = 0;
        while (i < *count && strcmp(names[i], name)) i++;
        if (i < *count) continue;
        if (*count == MOST_FILES) return err_input(err, "%s: more than %d files", index, MOST_FILES);
        if (check_file_name(name, index, err)) return -1;
        names[(*count)++] = name;
    }
    return *count ? 0 : err_input(err, "%s: key \"weight_map\": no tensors", index);
}

// What the index says of a tensor and where it lies must be the same, or the download is a mixture of two models.
static int check_places(const Weights *w, const char **names, const json_t *map, const char *index, Err *err)
{
    size_t tensors = 0;
    for (size_t i = 0; i < w->count; i++) {
        tensors += w->files[i].count;
        for (size_t k = 0; k < w->files[i].count; k++) {
            const char *tensor = w->files[i].tensors[k].name, *place = json_string_value(json_object_get(map, tensor));
            if (!place || strcmp(place, names[i]))
                return err_input(err, "%s: tensor \"%.200s\" lies in %s, but the index says %s", index, tensor, names[i],
                    place ? place : "nothing of it");
        }
    }
    if (tensors == json_object_size(map)) return 0;
    return err_input(err, "%s: the index lists %zu tensors, the files hold %zu", index, json_object_size(map), tensors);
}

static int open_sharded(Weights *w, const char *folder, const char *index, Err *err)
{
    json_t *object = json_load_document(index, err);
    const json_t *map = json_object_get(object, "weight_map");
    const char **names = object ? mem_new(err, MOST_FILES, sizeof *names) : NULL;
    size_t count = 0;
    int status = names ? 0 : -1;
    if (!status && !json_is_object(map)) status = err_input(err, "%s: key \"weight_map\": expected an object", index);
    if (!status) status = list_files(names, &count, map, index, err);
    if (!status && !(w->files = mem_new(err, count, sizeof *w->files))) status = -1;
    for (size_t i = 0; i < count && !status; i++) status = open_file(w, folder, names[i], err);
    if (!status) status = check_places(w, names, map, index, err);
    mem_free(names);
    json_decref(object);
    return status;
}

int weights_open(Weights *w, const char *folder, Err *err)
{
    *w = (Weights){0};
    char *one = os_join(err, folder, "model.safetensors"), *index = os_join(err, folder, "model.safetensors.index.json");
    int status = one && index ? 0 : -1;
    if (!status && !os_is_file(one) && os_is_file(index)) status = open_sharded(w, folder, index, err);
    else if (!status) status = (w->files = mem_new(err, 1, sizeof *w->files)) ? open_file(w, folder, "model.safetensors", err) : -1;
    if (status) weights_close(w);
    mem_free(one);
    mem_free(index);
    return status;
}

void weights_close(Weights *w)
{
    for (size_t i = 0; i < w->count; i++) safetensors_close(&w->files[i]);
    mem_free(w->files);
    *w = (Weights){0};
}

const StTensor *weights_need(const Weights *w, const char *name, const Safetensors **file, Err *err)
{
    for (size_t i = 0; i < w->count; i++) {
        const StTensor *t = safetensors_find(&w->files[i], name);
        *file = &w->files[i];
        if (t) return t;
    }
    *file = &w->files[0];
    return safetensors_need(&w->files[0], name, err);
}
