// SPDX-License-Identifier: MIT
/* llama2c.c - llama2.c's .bin: weights of one kind lie together for all layers. Start at llama2c_load. */
#include "files/llama2c.h"

#include "base/os.h"
#include "files/rope_rows.h"

#include <math.h>
#include <string.h>

enum { HEADER = 7 * 4, MAGIC = 0x616B3432 }; // "ak42" begins the later versions

typedef struct { const char *path; const uint8_t *at; Model *model; float *scratch; Err *err; } Reader;

static uint32_t word(const uint8_t *b) { return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24; }

// A dimension of the header; what is negative or absurd is out of the range that model_check_config allows.
static size_t dimension(const uint8_t *header, size_t i) { return word(header + 4 * i) > INT32_MAX ? 0 : word(header + 4 * i); }

static int read_config(ModelConfig *c, const OsMap *map, const char *path, Err *err)
{
    if (map->size < HEADER) return err_input(err, "%s: %zu bytes are too few for a llama2.c model (28 for its header)", path, map->size);
    const uint8_t *h = map->data;
    if (word(h) == MAGIC)
        return err_input(err, "%s: a llama2.c file of version %u; only version 0 (the legacy export) is read", path, (unsigned)word(h + 4));
    int32_t vocab = (int32_t)word(h + 20); // negative: the classifier is not the embedding
    *c = (ModelConfig){.dim = dimension(h, 0), .ff = dimension(h, 1), .layers = dimension(h, 2), .heads = dimension(h, 3),
        .kv_heads = dimension(h, 4), .vocab = vocab < 0 ? (size_t)-(int64_t)vocab : (size_t)vocab, .context = dimension(h, 6),
        .rms_eps = 1e-5, .rope_theta = 10000, .rope_factor = 1, .rope_low = 1, .rope_high = 1, .tied = vocab > 0, .head = HEAD_LM,
        .bos = 1, .eos = 2, .pad = -1};
    c->rope_original_context = c->context;
    if (!c->heads || c->dim % c->heads)
        return err_input(err, "%s: not a llama2.c model: dim %zu is no multiple of %zu heads", path, c->dim, c->heads);
    c->head_dim = c->dim / c->heads;
    return model_check_config(c, path, err);
}

// The size is known to the byte before memory is taken.
static int check_size(const ModelConfig *c, const OsMap *map, const char *path, Err *err)
{
    double q = (double)(c->heads * c->head_dim), kv = (double)(c->kv_heads * c->head_dim), dim = (double)c->dim;
    double floats = (double)c->vocab * dim * (c->tied ? 1 : 2) + (double)c->layers * (2 * dim + 2 * dim * (q + kv) + 3 * dim * (double)c->ff) +
        dim + (double)c->context * (double)c->head_dim; // the RoPE tables at the end are computed, not read
    if ((double)map->size == HEADER + 4 * floats) return 0;
    return err_input(err, "%s: not a llama2.c model, or cut off: its header asks for %.0f bytes, the file has %zu", path,
        HEADER + 4 * floats,
        map->size);
}

static int read_floats(Reader *r, const char *name)
{
    const Tensor *t = model_find(r->model, name);
    float *out = r->model->parameters + t->offset;
    for (size_t i = 0; i < t->rows * t->cols; i++, r->at += 4) {
        uint32_t bits = word(r->at);
        memcpy(&out[i], &bits, sizeof bits);
        if (!isfinite(out[i])) return err_input(r->err, "%s: tensor %s: element %zu is not finite", r->path, name, i);
    }
    return 0;
}

// One kind of weight for all layers; heads: rows of q and k, to be brought into our order.
static int read_layers(Reader *r, const char *kind, size_t heads)
{
    const ModelConfig *c = &r->model->config;
    for (size_t l = 0; l < c->layers; l++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%zu.%s.weight", l, kind);
        if (read_floats(r, name)) return -1;
        if (heads) rope_rows_from_neighbours(r->model->parameters + model_find(r->model, name)->offset, heads, c->head_dim, c->dim,
            r->scratch);
    }
    return 0;
}

static int read_weights(Reader *r)
{
    const ModelConfig *c = &r->model->config;
    const struct { const char *kind; size_t heads; } kinds[] = {
        {"input_layernorm", 0}, {"self_attn.q_proj", c->heads}, {"self_attn.k_proj", c->kv_heads}, {"self_attn.v_proj", 0},
        {"self_attn.o_proj", 0}, {"post_attention_layernorm", 0}, {"mlp.gate_proj", 0}, {"mlp.down_proj", 0}, {"mlp.up_proj", 0},
    };
    if (read_floats(r, "model.embed_tokens.weight")) return -1;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (read_layers(r, kinds[i].kind, kinds[i].heads)) return -1;
    if (read_floats(r, "model.norm.weight")) return -1;
    r->at += 4 * c->context * c->head_dim;
    return c->tied ? 0 : read_floats(r, "lm_head.weight");
}

int llama2c_load(Model *model, const char *path, Err *err)
{
    OsMap map;
    ModelConfig config;
    *model = (Model){0};
    if (os_map_file(&map, path, err)) return -1;
    int status = read_config(&config, &map, path, err) || check_size(&config, &map, path, err) ? -1 : model_init(model, &config, err);
    if (!status) {
        Reader r = {.path = path, .at = map.data + HEADER, .model = model, .err = err};
        r.scratch = mem_new(err, config.head_dim * config.dim, sizeof *r.scratch);
        status = r.scratch ? read_weights(&r) : -1;
        mem_free(r.scratch);
        if (status) model_free(model);
    }
    os_unmap(&map);
    return status;
}
