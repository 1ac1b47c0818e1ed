// SPDX-License-Identifier: MIT
/* training.c - options turned into what the modules take. */
#include "commands/training.h"

#include "base/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int train_options(TrainOptions *how, const Options *o, Err *err)
{
    *how = train_defaults();
    how->lr = o->lr;
    how->beta1 = o->beta1;
    how->beta2 = o->beta2;
    how->eps = o->eps;
    how->weight_decay = o->weight_decay;
    how->decay_all = o->decay_all;
    how->clip = o->clip;
    how->warmup = o->warmup;
    how->final_lr = o->final_lr;
    how->batch = o->batch;
    how->epochs = o->epochs;
    how->micro_rows = o->micro_rows;
    how->steps = o->max_steps;
    const char *name = o->schedule ? o->schedule : "cosine";
    if (!strcmp(name, "constant")) how->schedule = SCHEDULE_CONSTANT;
    else if (!strcmp(name, "linear")) how->schedule = SCHEDULE_LINEAR;
    else if (!strcmp(name, "cosine")) how->schedule = SCHEDULE_COSINE;
    else return err_input(err, "--schedule %s: expected constant, linear or cosine", name);
    return 0;
}

int model_options(ModelConfig *c, const Options *o, size_t vocab, int64_t eos, Err *err)
{
    if (o->dim % o->heads) return err_input(err, "--dim %zu is not a multiple of --heads %zu", o->dim, o->heads);
    *c = (ModelConfig){.vocab = vocab, .dim = o->dim, .layers = o->layers, .heads = o->heads, .kv_heads = o->kv_heads ? o->kv_heads : o->heads,
        .head_dim = o->dim / o->heads, .ff = o->ff, .context = o->context, .rms_eps = o->rms_eps, .rope_theta = o->rope_theta,
        .rope_factor = 1, .tied = !o->untied, .head = HEAD_LM, .bos = eos, .eos = eos, .pad = -1};
    return model_check_config(c, "model options", err);
}

int refuse_sizes(const Settings *settings, const Options *o, const char *used, Err *err)
{
    for (size_t i = 0; o->init && i < settings->count; i++) {
        const Assignment *a = settings->assignments + i;
        if (a->source != FROM_COMMAND_LINE || !(a->option->groups & OPT_MODEL) || a->option->groups & OPT_NEUTRAL) continue;
        if (!used || strcmp(a->option->name, used))
            return err_input(err, "--%s is a size of fresh weights: beside --init %s, which has its own, it would be ignored", a->option->name, o->init);
    }
    return 0;
}

PpoCoefficients ppo_coefficients(const Options *o)
{
    return (PpoCoefficients){.kl_coef = o->kl_coef, .gamma = o->gamma, .lambda = o->lambda, .ratio_clip = o->ratio_clip,
        .value_clip = o->value_clip, .vf_coef = o->vf_coef};
}

int freeze_layers(Model *model, const Options *o, Err *err)
{
    if (!o->train_layers) return 0;
    unsigned first = 0, last = 0;
    int used = 0, layers = (int)model->config.layers;
    bool range = sscanf(o->train_layers, "%5u-%5u%n", &first, &last, &used) == 2 && !o->train_layers[used];
    if (!range) {
        used = 0;
        if (sscanf(o->train_layers, "%5u%n", &first, &used) != 1 || o->train_layers[used])
            return err_input(err, "--train-layers \"%s\": expected A-B, for instance %d-%d", o->train_layers, layers / 2, layers - 1);
        last = first;
    }
    if (first > last || last >= model->config.layers)
        return err_input(err, "--train-layers %s: the model has layers 0 to %d", o->train_layers, layers - 1);
    model_freeze(model, first, last);
    return 0;
}

int parse_ids(TokenList *ids, const char *list, Err *err)
{
    for (const char *at = list;;) {
        char *end = NULL;
        unsigned long id = *at >= '0' && *at <= '9' ? strtoul(at, &end, 10) : UINT32_MAX;
        if (!end || id >= UINT32_MAX || (*end != ',' && *end != '\0'))
            return err_input(err, "--ids \"%s\": expected token ids separated by commas, at \"%.20s\"", list, at);
        if (tokens_add(ids, err, (uint32_t)id)) return -1;
        if (*end == '\0') return 0;
        at = end + 1;
    }
}

HeadOptions head_options(const Options *o, uint64_t seed)
{
    return (HeadOptions){.prefix_share = o->prefix_share, .prefix_least = o->prefix_least, .prefix_most = o->prefix_most,
        .max_tokens = o->head_tokens, .seed = seed};
}

int head_options_check(const Options *o, Err *err)
{
    if (!o->prefix_most || o->prefix_most >= o->prefix_least) return 0;
    return err_input(err, "--prefix-most %zu is below --prefix-least %zu", o->prefix_most, o->prefix_least);
}
