// SPDX-License-Identifier: MIT
/* policies.c - options and files made into a policy. Knows no command. */
#include "commands/policies.h"

#include "base/options.h"
#include "commands/learning.h"
#include "commands/training.h"
#include "files/chat.h"
#include "files/checkpoint.h"
#include "files/jsonl.h"

#include <stdio.h>
#include <string.h>

int setup_model(PolicySetup *s, const char *folder, Err *err)
{
    s->folder = folder;
    if (checkpoint_load(&s->model, folder, err)) return -1;
    if (s->model.config.head != HEAD_LM)
        return err_input(err, "%s: a reward model gives no answers; expected a language model", folder);
    return checkpoint_load_tokenizer(&s->tokenizer, folder, &s->model.config, err);
}

int setup_reference(PolicySetup *s, const Options *o, bool copy, Err *err)
{
    s->reference = &s->model;
    if (!o->reference && !copy) return 0;
    bool mapped = s->model.map.data; // then p0 is the file, which the policy's own layers leave as it is
    if (!o->reference && (mapped ? checkpoint_load(&s->other, s->folder, err) : model_copy(&s->other, &s->model, err))) return -1;
    if (o->reference && checkpoint_load(&s->other, o->reference, err)) return -1;
    s->reference = &s->other;
    if (s->other.config.vocab == s->model.config.vocab) return 0;
    return err_input(err, "--reference %s: a vocabulary of %zu, but %s has %zu", o->reference, s->other.config.vocab, s->folder,
        s->model.config.vocab);
}

int prompt_cut(Prompt *prompt, const Tokenizer *tokenizer, size_t most, Err *err)
{
    Text text = {0};
    if (!prompt->ids.length && tokenizer_encode_prompt(tokenizer, &prompt->ids, prompt->text, prompt->text_length, err)) return -1;
    if (prompt->ids.length <= most) return 0;
    prompt->ids.length = most;
    int status = sample_text(&text, tokenizer, prompt->ids.ids, most, NULL, err);
    char *copy = status ? NULL : mem_copy_bytes(err, text.data ? text.data : "", text.length);
    if (copy) {
        mem_free(prompt->text);
        prompt->text = copy;
        prompt->text_length = text.length;
    }
    text_free(&text);
    return copy ? 0 : -1;
}

// A conversation becomes the text that the chat template makes of it, to where the assistant speaks, and its ids.
static int render_prompt(Prompt *prompt, const Chat *chat, Err *err)
{
    Text text = {0};
    json_t *messages = json_loadb(prompt->text, prompt->text_length, 0, NULL);
    int status = messages ? chat_render(chat, &text, messages, err) : err_failed(err, "out of memory for a conversation");
    if (!status) status = tokenizer_encode(chat->tokenizer, &prompt->ids, text.data, text.length, err);
    char *copy = status ? NULL : mem_copy_bytes(err, text.data, text.length);
    if (copy) {
        mem_free(prompt->text);
        prompt->text = copy;
        prompt->text_length = text.length;
    }
    json_decref(messages);
    text_free(&text);
    return copy ? 0 : err_prefix(err, "prompt \"%s\"", prompt->id);
}

static int render_conversations(PolicySetup *s, const Options *o, Err *err)
{
    Chat chat = {0};
    int status = 0;
    for (size_t i = 0; i < s->prompts.count && !status; i++) {
        if (!s->prompts.items[i].is_chat) continue;
        if (!chat.template) status = chat_open(&chat, s->folder, o->template_file, &s->tokenizer, &s->model.config, err);
        if (!status) status = render_prompt(&s->prompts.items[i], &chat, err);
    }
    chat_free(&chat);
    return status;
}

int setup_prompts(PolicySetup *s, const Options *o, Err *err)
{
    if (prompts_read(&s->prompts, o->prompts, err)) return -1;
    if (s->prompts.repaired)
        fprintf(stderr, "raft: %s: %zu invalid UTF-8 sequences replaced by U+FFFD\n", o->prompts, s->prompts.repaired);
    while (o->limit && s->prompts.count > o->limit) prompts_drop_last(&s->prompts);
    int status = render_conversations(s, o, err);
    for (size_t i = 0; o->prompt_tokens && i < s->prompts.count && !status; i++)
        if (!s->prompts.items[i].is_chat) status = prompt_cut(s->prompts.items + i, &s->tokenizer, o->prompt_tokens, err);
    if (!status) status = policy_tokenize_prompts(&s->prompts, &s->tokenizer, s->model.config.context, o->max_new, err);
    return status ? err_prefix(err, "%s", o->prompts) : 0;
}

SampleOptions sample_options(const Options *o, const ModelConfig *config)
{
    SampleOptions how = sample_defaults();
    how.samples = o->samples;
    how.max_new = o->max_new;
    how.min_new = o->min_new;
    how.temperature = (float)o->temperature;
    how.top_k = o->top_k;
    how.top_p = (float)o->top_p;
    how.stop = o->stop;
    how.eos = config->eos;
    how.seed = o->seed;
    how.batch = o->sample_batch;
    return how;
}

RankOptions rank_options(const Options *o)
{
    return (RankOptions){.mode = o->mode && !strcmp(o->mode, "global") ? RANK_GLOBAL : RANK_LOCAL, .accept = o->accept,
        .kl_beta = o->kl_beta};
}

bool wants_ppo(const Options *o) { return o->algo && !strcmp(o->algo, "ppo"); }

int refuse_ppo_options(const Settings *settings, const Options *o, Err *err)
{
    for (size_t i = 0; !wants_ppo(o) && i < settings->count; i++) {
        const Assignment *a = settings->assignments + i;
        if (a->source != FROM_COMMAND_LINE || !(a->option->groups & OPT_PPO) || (a->option->groups & ~(unsigned)OPT_PPO & OPT_ALL)) continue;
        return err_input(err, "--%s is an option of PPO: --algo raft would ignore it", a->option->name);
    }
    return 0;
}

int alignment_options(Alignment *alignment, const Options *o, size_t prompts, bool has_gold, Err *err)
{
    *alignment = (Alignment){.raft = {.prompts = prompts, .stage = o->stage_prompts, .samples = o->samples, .rank = rank_options(o), .seed = o->seed},
        .evaluate_every = o->eval_every, .iterations = o->iterations, .quiet = o->quiet};
    return monitors_parse(&alignment->monitors, o->stop_when.items, o->stop_when.count, err) ||
        monitors_check(&alignment->monitors, has_gold, o->eval_prompts > 0, err) ? -1 : 0;
}

PpoOptions ppo_options(const Options *o)
{
    return (PpoOptions){.loss = ppo_coefficients(o), .kl_target = o->kl_target, .kl_gain = o->kl_gain, .iterations = o->iterations};
}

// --limit is for prompts or candidates; all texts are shuffled.
static int setup_replay(PolicySetup *s, const Options *o, Err *err)
{
    Options all = *o;
    Corpus corpus = {0};
    all.limit = 0;
    if (o->replay == 0 && o->replay_corpus) return err_input(err, "--replay-corpus: nothing of it would be read, since --replay is 0");
    if (o->replay == 0) return 0;
    if (!o->replay_corpus) return err_input(err, "--replay %g: --replay-corpus PATH is missing (the texts to read beside chosen answers)", o->replay);
    const ModelConfig *c = &s->model.config;
    int status = read_texts(&corpus, o->replay_corpus, &all, err);
    s->replayed_hash = corpus.hash;
    if (!status) status = documents_beginnings(&s->replayed, &corpus, &s->tokenizer, c->eos, o->replay_tokens, c->context, err);
    corpus_free(&corpus);
    return status ? err_prefix(err, "--replay-corpus %s", o->replay_corpus) : 0;
}

int record_replay(Run *run, const PolicySetup *s, const Options *o, Err *err)
{
    return o->replay > 0 ? run_record_input(run, "replay_corpus_hash", s->replayed_hash, o->replay_corpus, err) : 0;
}

int setup_policy(PolicySetup *s, const Options *o, const Compute *cx, Err *err)
{
    PolicyOptions options = {.sample = sample_options(o, &s->model.config), .seed = o->seed, .experts = o->expert.items,
        .expert_count = o->expert.count};
    if (setup_replay(s, o, err)) return -1;
    options.replay = o->replay;
    options.texts = s->replayed.examples;
    options.text_count = s->replayed.count;
    if (freeze_layers(&s->model, o, err) || train_options(&options.train, o, err)) return -1;
    return policy_init(&s->policy, &s->model, s->reference, &s->tokenizer, &s->prompts, cx, &options, err);
}

void setup_free(PolicySetup *s)
{
    policy_free(&s->policy);
    prompts_free(&s->prompts);
    documents_free(&s->replayed);
    tokenizer_free(&s->tokenizer);
    model_free(&s->other);
    model_free(&s->model);
}

int setup_rewards(RewardSet *rewards, const Options *o, const Compute *cx, Err *err)
{
    return reward_open(rewards, o->reward.items, o->reward.count, o->gold, cx, o->timeout, err);
}

// [WEIGHT*]KIND:ARGUMENT; length and command read nothing that could be hashed.
static int record_reward(Run *run, const char *spec, Err *err)
{
    const char *colon = strchr(spec, ':'), *star = strchr(spec, '*'), *name = star && star < colon ? star + 1 : spec;
    bool reads = !strncmp(name, "head:", 5) || !strncmp(name, "lexicon:", 8);
    return colon && reads ? run_record_file(run, name, colon + 1, err) : 0;
}

int record_sources(Run *run, const Options *o, Err *err)
{
    for (size_t i = 0; i < o->reward.count; i++)
        if (record_reward(run, o->reward.items[i], err)) return -1;
    for (size_t i = 0; i < o->expert.count; i++) {
        Text name = {0};
        int status = text_printf(&name, err, "expert:%s", o->expert.items[i]) || run_record_file(run, name.data, o->expert.items[i], err);
        text_free(&name);
        if (status) return -1;
    }
    return o->gold ? record_reward(run, o->gold, err) : 0;
}

int setup_sample_progress(void *setup, size_t tokens, size_t done, size_t total)
{
    PolicySetup *s = setup;
    s->bar.total = total;
    progress_update(&s->bar, done, tokens, "");
    return 0;
}
