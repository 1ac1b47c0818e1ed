// SPDX-License-Identifier: MIT
/* checkpoint.c - config.json, model.safetensors and tokenizer.json of a Hugging Face directory, read and written.
 *
 * The meaning of config.json is that of transformers' LlamaConfig. Tensors are found by the names of the model's own table.
 */
#include "files/checkpoint.h"

#include <math.h>
#include <string.h>

#include "files/jsonl.h"
#include "files/weights.h"

// ---- config.json ------------------------------------------------------------------------------------------------------------

// A key that would need arithmetic this program does not have must be absent, null or false.
static int refuse_true(const json_t *object, const char *key, const char *where, Err *err)
{
    bool value;
    if (json_get_bool_or(object, key, false, &value, where, err)) return -1;
    return value ? err_input(err, "%s: \"%s\" is true: biases are not supported", where, key) : 0;
}

static int read_head_kind(ModelConfig *c, const json_t *object, const char *where, Err *err)
{
    const json_t *list = json_object_get(object, "architectures");
    const char *name = json_is_array(list) && json_array_size(list) == 1 ? json_string_value(json_array_get(list, 0)) : NULL;
    const char *type;
    if (json_get_text_or(object, "model_type", "llama", &type, where, err)) return -1;
    if (strcmp(type, "llama")) return err_input(err, "%s: model_type \"%s\" is not supported (expected \"llama\")", where, type);
    if (!name) return err_input(err, "%s: key \"architectures\": expected a list of one name", where);
    if (!strcmp(name, "LlamaForCausalLM")) c->head = HEAD_LM;
    else if (!strcmp(name, "LlamaForSequenceClassification")) c->head = HEAD_SCORE;
    else return err_input(err, "%s: architecture \"%s\" is not supported (LlamaForCausalLM, LlamaForSequenceClassification)", where, name);
    const char *pooling;
    if (json_get_text_or(object, "raft_pooling", "last", &pooling, where, err)) return -1;
    if (strcmp(pooling, "last") && strcmp(pooling, "mean")) return err_input(err, "%s: raft_pooling \"%s\" is neither \"last\" nor \"mean\"", where, pooling);
    c->pooling = strcmp(pooling, "mean") ? POOL_LAST : POOL_MEAN;
    if (json_get_bool_or(object, "raft_value_head", false, &c->value_head, where, err)) return -1;
    if (c->value_head && c->head != HEAD_LM) return err_input(err, "%s: raft_value_head is true: only a language model has one", where);
    const json_t *labels = json_object_get(object, "id2label");
    if (c->head == HEAD_SCORE && labels && json_object_size(labels) != 1)
        return err_input(err, "%s: a reward head has one label, id2label has %zu", where, json_object_size(labels));
    return 0;
}

// rope_theta at the top level with rope_scaling beside it (old spelling), or everything inside rope_parameters (new).
static int read_rope(ModelConfig *c, const json_t *object, const char *where, Err *err)
{
    const json_t *parameters = json_object_get(object, "rope_parameters"), *scaling = json_object_get(object, "rope_scaling");
    if (!json_is_object(parameters)) parameters = json_is_object(scaling) ? scaling : NULL;
    const char *type = "default";
    double theta;
    if (json_get_number_or(object, "rope_theta", 10000, &theta, where, err)) return -1;
    if (json_get_number_or(parameters, "rope_theta", theta, &c->rope_theta, where, err)) return -1;
    if (json_get_text_or(parameters, "type", "default", &type, where, err)) return -1;
    if (json_get_text_or(parameters, "rope_type", type, &type, where, err)) return -1;
    c->rope_type = ROPE_DEFAULT;
    c->rope_factor = c->rope_low = c->rope_high = 1;
    c->rope_original_context = c->context;
    if (!strcmp(type, "default")) return 0;
    if (strcmp(type, "linear") && strcmp(type, "llama3"))
        return err_input(err, "%s: rope type \"%s\" is not supported (default, linear, llama3)", where, type);
    c->rope_type = strcmp(type, "linear") ? ROPE_LLAMA3 : ROPE_LINEAR;
    if (json_get_number(parameters, "factor", &c->rope_factor, where, err)) return -1;
    if (c->rope_type == ROPE_LLAMA3 && (json_get_number(parameters, "low_freq_factor", &c->rope_low, where, err) ||
            json_get_number(parameters, "high_freq_factor", &c->rope_high, where, err) ||
            json_get_size(parameters, "original_max_position_embeddings", &c->rope_original_context, where, err)))
        return -1;
    bool usable = c->rope_factor >= 1 && c->rope_factor <= 1e6 && c->rope_low > 0 && c->rope_high >= c->rope_low && c->rope_high <= 1e6 &&
        (c->rope_type == ROPE_LINEAR || c->rope_high > c->rope_low) && c->rope_original_context > 0;
    return usable ? 0 : err_input(err, "%s: rope scaling factors are out of range", where);
}

static int read_token_id(int64_t *id, const json_t *object, const char *key, const char *where, Err *err)
{
    const json_t *value = json_object_get(object, key);
    *id = -1;
    if (!value || json_is_null(value)) return 0;
    if (json_is_array(value) && json_array_size(value) > 0) value = json_array_get(value, 0); // several ends of text: the first one
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return err_input(err, "%s: key \"%s\": expected a token id", where, key);
    *id = json_integer_value(value);
    return 0;
}

static int read_config(ModelConfig *c, const json_t *object, const char *where, Err *err)
{
    const char *activation;
    *c = (ModelConfig){0};
    if (read_head_kind(c, object, where, err) || refuse_true(object, "attention_bias", where, err) || refuse_true(object, "mlp_bias", where, err))
        return -1;
    if (json_get_size(object, "vocab_size", &c->vocab, where, err) || json_get_size(object, "hidden_size", &c->dim, where, err) ||
        json_get_size(object, "intermediate_size", &c->ff, where, err) || json_get_size(object, "num_hidden_layers", &c->layers, where, err) ||
        json_get_size(object, "num_attention_heads", &c->heads, where, err) ||
        json_get_size_or(object, "num_key_value_heads", c->heads, &c->kv_heads, where, err) ||
        json_get_size_or(object, "head_dim", c->heads ? c->dim / c->heads : 0, &c->head_dim, where, err) ||
        json_get_size_or(object, "max_position_embeddings", 2048, &c->context, where, err) ||
        json_get_number_or(object, "rms_norm_eps", 1e-6, &c->rms_eps, where, err) ||
        json_get_bool_or(object, "tie_word_embeddings", false, &c->tied, where, err) ||
        json_get_text_or(object, "hidden_act", "silu", &activation, where, err))
        return -1;
    if (strcmp(activation, "silu")) return err_input(err, "%s: hidden_act \"%s\" is not supported (expected \"silu\")", where, activation);
    if (read_rope(c, object, where, err) || read_token_id(&c->bos, object, "bos_token_id", where, err) ||
        read_token_id(&c->eos, object, "eos_token_id", where, err) || read_token_id(&c->pad, object, "pad_token_id", where, err))
        return -1;
    return model_check_config(c, where, err);
}

int checkpoint_load_config(ModelConfig *config, const char *folder, Err *err)
{
    if (!os_is_folder(folder)) return err_input(err, "%s: not a checkpoint folder (expected config.json, model.safetensors, tokenizer.json in it)", folder);
    char *path = os_join(err, folder, "config.json");
    json_t *object = path ? json_load_document(path, err) : NULL;
    int status = object ? read_config(config, object, path, err) : -1;
    json_decref(object);
    mem_free(path);
    return status;
}

static json_t *id_or_null(int64_t id) { return id < 0 ? json_null() : json_integer(id); }

static json_t *rope_object(const ModelConfig *c)
{
    json_t *rope = json_object();
    json_object_set_new(rope, "rope_theta", json_float(c->rope_theta));
    json_object_set_new(rope, "rope_type", json_string(c->rope_type == ROPE_LINEAR ? "linear" : c->rope_type == ROPE_LLAMA3 ? "llama3" : "default"));
    if (c->rope_type != ROPE_DEFAULT) json_object_set_new(rope, "factor", json_float(c->rope_factor));
    if (c->rope_type == ROPE_LLAMA3) {
        json_object_set_new(rope, "low_freq_factor", json_float(c->rope_low));
        json_object_set_new(rope, "high_freq_factor", json_float(c->rope_high));
        json_object_set_new(rope, "original_max_position_embeddings", json_integer((json_int_t)c->rope_original_context));
    }
    return rope;
}

static json_t *config_object(const ModelConfig *c, StType type)
{
    json_t *o = json_object();
    const struct { const char *key; size_t value; } sizes[] = {
        {"head_dim", c->head_dim}, {"hidden_size", c->dim}, {"intermediate_size", c->ff}, {"max_position_embeddings", c->context},
        {"num_attention_heads", c->heads}, {"num_hidden_layers", c->layers}, {"num_key_value_heads", c->kv_heads}, {"vocab_size", c->vocab},
    };
    json_object_set_new(o, "architectures", json_pack("[s]", c->head == HEAD_SCORE ? "LlamaForSequenceClassification" : "LlamaForCausalLM"));
    json_object_set_new(o, "model_type", json_string("llama"));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) json_object_set_new(o, sizes[i].key, json_integer((json_int_t)sizes[i].value));
    json_object_set_new(o, "attention_bias", json_false());
    json_object_set_new(o, "mlp_bias", json_false());
    json_object_set_new(o, "hidden_act", json_string("silu"));
    json_object_set_new(o, "rms_norm_eps", json_float(c->rms_eps));
    json_object_set_new(o, "rope_theta", json_float(c->rope_theta)); // for readers of the old spelling
    json_object_set_new(o, "rope_parameters", rope_object(c));
    json_object_set_new(o, "tie_word_embeddings", json_boolean(c->tied));
    json_object_set_new(o, "bos_token_id", id_or_null(c->bos));
    json_object_set_new(o, "eos_token_id", id_or_null(c->eos));
    json_object_set_new(o, "pad_token_id", id_or_null(c->pad));
    json_object_set_new(o, "dtype", json_string(type == ST_BF16 ? "bfloat16" : "float32"));
    if (c->value_head) json_object_set_new(o, "raft_value_head", json_true());
    if (c->head == HEAD_SCORE) {
        json_object_set_new(o, "id2label", json_pack("{s:s}", "0", "LABEL_0"));
        json_object_set_new(o, "label2id", json_pack("{s:i}", "LABEL_0", 0));
        if (c->pooling == POOL_MEAN) json_object_set_new(o, "raft_pooling", json_string("mean"));
    }
    return o;
}

// ---- weights ------------------------------------------------------------------------------------------------------------------

static int check_shape(const StTensor *found, const Tensor *want, const char *path, Err *err)
{
    bool same = found->dims == want->dims && found->shape[want->dims - 1] == want->cols && (want->dims == 1 || found->shape[0] == want->rows);
    if (same) return 0;
    char shape[120] = "";
    for (size_t i = 0, used = 0; i < found->dims && used < sizeof shape - 24; i++)
        used += (size_t)snprintf(shape + used, sizeof shape - used, i ? ",%zu" : "%zu", found->shape[i]);
    if (want->dims == 1) return err_input(err, "%s: tensor %s: expected shape [%zu], found [%s]", path, want->name, want->cols, shape);
    return err_input(err, "%s: tensor %s: expected shape [%zu,%zu], found [%s]", path, want->name, want->rows, want->cols, shape);
}

// The tied head may be stored a second time, and rotary tables of old files are derived; any other extra tensor is refused.
static bool may_be_ignored(const Model *model, const char *name)
{
    return (model->config.tied && !strcmp(name, "lm_head.weight")) || strstr(name, "rotary_emb.inv_freq");
}

static bool all_finite(const float *values, size_t n, size_t *where)
{
    uint32_t bad = 0, bits;
    for (size_t i = 0; i < n; i++) { // no early end: the loop becomes vectors
        memcpy(&bits, &values[i], sizeof bits);
        bad |= (bits & 0x7F800000) == 0x7F800000;
    }
    for (*where = 0; bad && isfinite(values[*where]);) ++*where;
    return !bad;
}

static int read_weights(Model *model, const Weights *weights, Err *err)
{
    for (size_t i = 0; i < model->tensor_count; i++) {
        const Tensor *want = model->tensors + i;
        const Safetensors *st;
        const StTensor *found = weights_need(weights, want->name, &st, err);
        float *values = model->parameters + want->offset;
        size_t n = want->rows * want->cols, bad;
        if (!found || check_shape(found, want, st->path, err)) return -1;
        if (!model->map.data && safetensors_read_f32(st, found, values, n, err)) return -1; // mapped: they are there
        if (!all_finite(values, n, &bad)) return err_input(err, "%s: tensor %s: element %zu is not finite", st->path, want->name, bad);
    }
    for (size_t f = 0; f < weights->count; f++)
        for (size_t i = 0; i < weights->files[f].count; i++) {
            const char *name = weights->files[f].tensors[i].name;
            if (!model_find(model, name) && !may_be_ignored(model, name))
                return err_input(err, "%s: tensor %s has no place in this architecture", weights->files[f].path, name);
        }
    return 0;
}

// The parameters that the files must hold; an absurd config.json is found out before memory is taken.
static int check_size(const ModelConfig *config, const Weights *weights, Err *err)
{
    double wanted = (double)config->vocab * (double)config->dim +
        (double)config->layers * (double)config->dim * (2.0 * (double)(config->heads + config->kv_heads) * (double)config->head_dim + 3.0 * (double)config->ff);
    double found = 0;
    for (size_t f = 0; f < weights->count; f++)
        for (size_t i = 0; i < weights->files[f].count; i++) found += (double)weights->files[f].tensors[i].count;
    if (found >= wanted) return 0;
    return err_input(err, "%s: holds %.0f numbers, but config.json describes a model of at least %.0f", weights->files[0].path, found, wanted);
}

static bool is_little_endian(void)
{
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 1;
}

// Where the parameters begin in the file, when it holds them as the model does: float32, little-endian, in the order of the table.
static const uint8_t *find_parameters(const Model *model, const Weights *weights)
{
    const Safetensors *st = &weights->files[0];
    const StTensor *first = safetensors_find(st, model->tensors[0].name);
    if (weights->count != 1 || !first || (first->data - st->map.data) % (ptrdiff_t)sizeof(float) || !is_little_endian()) return NULL;
    for (size_t i = 0; i < model->tensor_count; i++) {
        const Tensor *want = model->tensors + i;
        const StTensor *found = safetensors_find(st, want->name);
        if (!found || found->type != ST_F32 || found->count != want->rows * want->cols) return NULL;
        if ((size_t)(found->data - first->data) != want->offset * sizeof(float)) return NULL;
    }
    return first->data;
}

/* The parameters stay in the file, so that starting costs no copy and models read from one file share memory: the policy and p0,
 * until the policy's are changed, and those of frozen layers for good. Otherwise memory to read them into. */
static int place_parameters(Model *model, const Weights *weights, Err *err)
{
    const Safetensors *st = &weights->files[0];
    const uint8_t *parameters = find_parameters(model, weights);
    int status = parameters ? os_map_private(&model->map, st->path, err) : 1;
    if (status < 0) return -1;
    if (!status && model->map.size != st->map.size) return err_input(err, "%s: changed while it was read", st->path);
    if (!status) model->parameters = (float *)(uintptr_t)(model->map.data + (parameters - st->map.data));
    else model->parameters = mem_new(err, model->parameter_count, sizeof(float));
    return model->parameters ? 0 : err_prefix(err, "%s", st->path);
}

int checkpoint_load(Model *model, const char *folder, Err *err)
{
    ModelConfig config;
    Weights weights;
    *model = (Model){0};
    if (checkpoint_load_config(&config, folder, err) || weights_open(&weights, folder, err)) return -1;
    int status = check_size(&config, &weights, err) || model_init_table(model, &config, err) ? -1 : 0;
    if (!status && (status = place_parameters(model, &weights, err))) model_free(model);
    if (!status && (status = read_weights(model, &weights, err))) model_free(model);
    weights_close(&weights);
    return status;
}

int checkpoint_load_tokenizer(Tokenizer *tk, const char *folder, const ModelConfig *config, Err *err)
{
    char *path = os_join(err, folder, "tokenizer.json");
    int status = path ? tokenizer_load(tk, path, err) : -1;
    if (!status && tk->vocab > config->vocab) {
        err_input(err, "%s: the tokenizer has %zu tokens, but the model beside it only %zu: they do not belong together", path, tk->vocab, config->vocab);
        tokenizer_free(tk);
        status = -1;
    }
    mem_free(path);
    return status;
}

static int write_config(const char *folder, const ModelConfig *config, StType type, Err *err)
{
    char *path = os_join(err, folder, "config.json");
    json_t *object = config_object(config, type);
    Text text = {0};
    int status = path ? json_write_pretty(&text, object, err) : -1;
    if (!status) status = os_write_file(path, text.data, text.length, err);
    text_free(&text);
    json_decref(object);
    mem_free(path);
    return status;
}

static int write_weights(const char *folder, const Model *model, StType type, Err *err)
{
    char *path = os_join(err, folder, "model.safetensors");
    StOutput *outputs = path ? mem_new(err, model->tensor_count, sizeof *outputs) : NULL;
    for (size_t i = 0; outputs && i < model->tensor_count; i++) {
        const Tensor *t = model->tensors + i;
        outputs[i] = (StOutput){.name = t->name, .type = type, .dims = t->dims, .shape = {t->dims == 1 ? t->cols : t->rows, t->cols},
            .data = model->parameters + t->offset};
    }
    int status = outputs ? safetensors_write_ordered(path, outputs, model->tensor_count, err) : -1;
    mem_free(outputs);
    mem_free(path);
    return status;
}

static int save(const char *folder, const Model *model, const Tokenizer *tk, StType type, Err *err)
{
    if (os_make_folders(folder, err) || write_weights(folder, model, type, err)) return -1;
    if (tk) {
        char *path = os_join(err, folder, "tokenizer.json");
        int status = path ? tokenizer_save(tk, path, err) : -1;
        mem_free(path);
        if (status) return -1;
    }
    return write_config(folder, &model->config, type, err);
}

int checkpoint_save(const char *folder, const Model *model, const Tokenizer *tk, Err *err)
{
    return save(folder, model, tk, ST_F32, err);
}

int checkpoint_save_bf16(const char *folder, const Model *model, const Tokenizer *tk, Err *err)
{
    return save(folder, model, tk, ST_BF16, err);
}

int checkpoint_copy_backbone(Model *model, const Model *source, Err *err)
{
    for (size_t i = 0; i < model->tensor_count; i++) {
        const Tensor *to = model->tensors + i, *from = model_find(source, to->name);
        if (!from && (!strcmp(to->name, "score.weight") || !strcmp(to->name, "lm_head.weight"))) continue; // a head of its own
        if (!from || from->rows != to->rows || from->cols != to->cols)
            return err_input(err, "the backbones do not fit: tensor %s is %zu x %zu here and %s there", to->name, to->rows, to->cols, from ? "of another size" : "absent");
        memcpy(model->parameters + to->offset, source->parameters + from->offset, to->rows * to->cols * sizeof(float));
    }
    return 0;
}

uint64_t checkpoint_hash(const Model *model)
{
    json_t *object = config_object(&model->config, ST_F32);
    Text text = {0};
    uint64_t hash = 0;
    if (!json_write(&text, object, NULL)) hash = hash_bytes(0, text.data, text.length);
    text_free(&text);
    json_decref(object);
    return hash_bytes(hash, model->parameters, model->parameter_count * sizeof(float));
}
