// SPDX-License-Identifier: MIT
/* experiment_prompts.c - the experiment's prompts, which are the beginnings of reviews, and how their authors went on. */
#include "commands/experiment-internal.h"

#include <string.h>

#include "commands/policies.h"
#include "commands/training.h"
#include "files/jsonl.h"

// ---- prompts -----------------------------------------------------------------------------------------------------------------------

int prompts_cut(PromptList *list, const Experiment *e, const Corpus *corpus, const Indices *from, const Options *o, Err *err)
{
    size_t n = from ? from->count : corpus->count, tokens = o->prompt_tokens;
    for (size_t i = 0; i < n; i++) {
        const CorpusItem *item = corpus->items + (from ? from->items[i] : i);
        if (prompts_add(list, item->id, item->text, item->length, err)) return -1;
        Prompt *prompt = list->items + list->count - 1;
        if (prompt_cut(prompt, &e->tokenizer, tokens, err)) return -1;
        if (prompt->ids.length < tokens) prompts_drop_last(list);
    }
    return list->count ? 0 : err_input(err, "no review is longer than --prompt-tokens %zu", tokens);
}

// ---- answers of people ---------------------------------------------------------------------------------------------------------------

// How a positive review goes on after the prompt that was cut from it; its end is the end-of-text token, when that is near enough.
static int add_human_answer(Text *lines, const Experiment *e, const CorpusItem *item, const Prompt *prompt, size_t most, Err *err)
{
    TokenList ids = {0};
    size_t start = prompt->ids.length;
    int status = tokenizer_encode_prompt(&e->tokenizer, &ids, item->text, item->length, err);
    if (!status && e->eos >= 0) status = tokens_add(&ids, err, (uint32_t)e->eos);
    size_t n = !status && ids.length > start ? ids.length - start : 0;
    if (n > most) n = most;
    json_t *line = n ? json_pack("{s:s,s:o}", "prompt_id", prompt->id, "response_ids", json_ids(ids.ids + start, n)) : NULL;
    if (!status && n) status = json_write(lines, line, err) || text_puts(lines, err, "\n") ? -1 : 0;
    json_decref(line);
    tokens_free(&ids);
    return status;
}

// prompts are in the order of the training texts, of which those that are too short have none.
static int write_human_answers(Experiment *e, size_t most, Err *err)
{
    Text lines = {0};
    size_t next = 0;
    int status = 0;
    if (e->human && e->human_tokens == most) return 0;
    mem_free(e->human);
    if (!(e->human = run_path(&e->run, "human.jsonl", err))) return -1;
    for (size_t i = 0; !status && i < e->train.count && next < e->prompts.count; i++) {
        const CorpusItem *item = e->train.items + i;
        const Prompt *prompt = e->prompts.items + next;
        if (strcmp(item->id, prompt->id)) continue;
        next++;
        if (item->label == LABEL_POSITIVE) status = add_human_answer(&lines, e, item, prompt, most, err);
    }
    if (!status && !lines.length) status = err_input(err, "--expert human: no training review is positive");
    if (!status) status = os_write_file(e->human, lines.data, lines.length, err);
    e->human_tokens = most;
    text_free(&lines);
    return status;
}

int experiment_policy_options(PolicyOptions *how, ExpertNames *names, Experiment *e, const Options *o, Err *err)
{
    *how = (PolicyOptions){.sample = sample_options(o, &e->model.config), .seed = o->seed, .experts = names->paths, .expert_names = names->names,
        .expert_count = o->expert.count};
    for (size_t i = 0; i < o->expert.count; i++) {
        bool human = !strcmp(o->expert.items[i], HUMAN);
        if (human && write_human_answers(e, o->max_new, err)) return -1;
        names->names[i] = o->expert.items[i];
        names->paths[i] = human ? e->human : o->expert.items[i];
    }
    return train_options(&how->train, o, err);
}
