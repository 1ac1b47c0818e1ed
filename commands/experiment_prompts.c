// SPDX-License-Identifier: MIT
/* experiment_prompts.c - the experiment's prompts, which are the beginnings of reviews, and how their authors went on. */
#include "commands/experiment-internal.h"

#include <string.h>

#include "commands/policies.h"
#include "commands/training.h"
#include "files/jsonl.h"
#include "files/unicode.h"
#include "kernels/philox.h"

// ---- prompts -----------------------------------------------------------------------------------------------------------------------

static size_t longest(const Options *o) { return o->prompt_characters ? o->prompt_characters : o->prompt_words ? o->prompt_words : o->prompt_tokens; }

int prompts_check(const Options *o, Err *err)
{
    if ((o->prompt_tokens > 0) + (o->prompt_characters > 0) + (o->prompt_words > 0) > 1)
        return err_input(err, "prompts are cut by --prompt-tokens, --prompt-characters or --prompt-words: give one of them (0: not that one)");
    if (o->prompt_least > longest(o)) return err_input(err, "--prompt-least %zu is above the longest prompt, %zu", o->prompt_least, longest(o));
    return 0;
}

// How long the prompt of a text is to be, in the unit of the options.
static size_t prompt_length(const Experiment *e, const Options *o, size_t text, bool measured)
{
    uint32_t w[4];
    if (!o->prompt_least) return longest(o);
    philox_draw(w, e->options->seed, (PhiloxCounter){.c0 = (uint32_t)text, .c1 = measured, .c3 = philox_stream(STREAM_PROMPT_LENGTH, 0)});
    return o->prompt_least + philox_below(w[0], (uint32_t)(longest(o) - o->prompt_least + 1));
}

// The bytes of the first n characters, or all.
static size_t bytes_of_characters(const CorpusItem *item, size_t n)
{
    size_t at = 0;
    uint32_t character;
    bool valid;
    for (size_t i = 0; i < n && at < item->length; i++) at += utf8_decode(&character, &valid, item->text + at, item->length - at);
    return at;
}

// To the next character that is space, or that is none.
static size_t skip(const CorpusItem *item, size_t at, bool space)
{
    while (at < item->length) {
        uint32_t character;
        bool valid;
        size_t n = utf8_decode(&character, &valid, item->text + at, item->length - at);
        if (unicode_is_space(character) != space) break;
        at += n;
    }
    return at;
}

// The first n words with one blank between them; at: the byte of the text after them.
static int join_words(Text *out, size_t *at, const CorpusItem *item, size_t n, Err *err)
{
    int status = 0;
    *at = 0;
    for (size_t i = 0; !status && i < n; i++) {
        size_t from = skip(item, *at, true), to = skip(item, from, false);
        if (to == from) return *at = item->length, 0; // there are no more
        status = (i && text_puts(out, err, " ")) || text_add(out, err, item->text + from, to - from);
        *at = to;
    }
    return status;
}

/* Makes the text of a prompt its beginning, n units long, with its tokens; after: the byte of the text that follows, when units are
 * no tokens. False in *enough: nothing does. */
static int cut_prompt(Prompt *prompt, bool *enough, size_t *after, const Experiment *e, const CorpusItem *item, const Options *o, size_t n, Err *err)
{
    if (!o->prompt_characters && !o->prompt_words) {
        if (prompt_cut(prompt, &e->tokenizer, n, err)) return -1;
        *enough = prompt->ids.length >= n;
        return 0;
    }
    Text text = {0};
    int status = 0;
    if (o->prompt_words) status = join_words(&text, after, item, n, err);
    else status = text_add(&text, err, item->text, *after = bytes_of_characters(item, n));
    *enough = *after < item->length && text.length;
    char *copy = status ? NULL : mem_copy_bytes(err, text.data ? text.data : "", text.length);
    if (copy) {
        mem_free(prompt->text);
        prompt->text = copy;
        prompt->text_length = text.length;
        status = *enough ? tokenizer_encode_prompt(&e->tokenizer, &prompt->ids, copy, text.length, err) : 0;
    } else status = -1;
    text_free(&text);
    return status;
}

int prompts_cut(PromptList *list, const Experiment *e, const Corpus *corpus, const Indices *from, const Options *o, Err *err)
{
    size_t n = from ? from->count : corpus->count;
    if (prompts_check(o, err)) return -1;
    for (size_t i = 0; i < n; i++) {
        size_t text = from ? from->items[i] : i, after;
        const CorpusItem *item = corpus->items + text;
        bool enough = false;
        if (prompts_add(list, item->id, item->text, item->length, err)) return -1;
        if (cut_prompt(list->items + list->count - 1, &enough, &after, e, item, o, prompt_length(e, o, text, corpus == &e->test), err)) return -1;
        if (!enough) prompts_drop_last(list);
    }
    return list->count ? 0 : err_input(err, "no review is longer than its prompt is to be, %zu %s", longest(o),
        o->prompt_characters ? "characters" : o->prompt_words ? "words" : "tokens (--prompt-tokens)");
}

// ---- answers of people ---------------------------------------------------------------------------------------------------------------

// The tokens with which a review goes on after its prompt, at most `most`; the end-of-text token is one of them.
static int human_answer(TokenList *ids, const Experiment *e, size_t text, const Prompt *prompt, const Options *o, size_t most, Err *err)
{
    const CorpusItem *item = e->train.items + text;
    size_t length = prompt_length(e, o, text, false), start = 0;
    int status;
    if (o->prompt_characters) start = bytes_of_characters(item, length);
    if (o->prompt_words) {
        Text words = {0};
        status = join_words(&words, &start, item, length, err);
        text_free(&words);
        if (status) return -1;
    }
    status = start ? tokenizer_encode(&e->tokenizer, ids, item->text + start, item->length - start, err)
                   : tokenizer_encode_prompt(&e->tokenizer, ids, item->text, item->length, err);
    if (!status && e->eos >= 0) status = tokens_add(ids, err, (uint32_t)e->eos);
    size_t drop = start ? 0 : prompt->ids.length;
    if (status || ids->length < drop) return -1;
    memmove(ids->ids, ids->ids + drop, (ids->length - drop) * sizeof *ids->ids);
    ids->length -= drop;
    if (ids->length > most) ids->length = most;
    return 0;
}

int prompts_each_human(const Experiment *e, const Options *o, HumanVisitor visit, void *self, Err *err)
{
    size_t next = 0;
    int status = 0;
    for (size_t i = 0; !status && i < e->train.count && next < e->prompts.count; i++) { // both are in the same order
        const Prompt *prompt = e->prompts.items + next;
        TokenList ids = {0};
        if (strcmp(e->train.items[i].id, prompt->id)) continue;
        next++;
        if (e->train.items[i].label != LABEL_POSITIVE) continue;
        status = human_answer(&ids, e, i, prompt, o, o->max_new, err);
        if (!status && ids.length) status = visit(self, prompt, &ids, err);
        tokens_free(&ids);
    }
    return status < 0 ? -1 : 0;
}

static int add_line(void *self, const Prompt *prompt, const TokenList *ids, Err *err)
{
    Text *lines = self;
    json_t *line = json_pack("{s:s,s:o}", "prompt_id", prompt->id, "response_ids", json_ids(ids->ids, ids->length));
    int status = json_write(lines, line, err) || text_puts(lines, err, "\n") ? -1 : 0;
    json_decref(line);
    return status;
}

static int write_human_answers(Experiment *e, const Options *o, Err *err)
{
    Text lines = {0};
    if (e->human && e->human_tokens == o->max_new) return 0;
    mem_free(e->human);
    if (!(e->human = run_path(&e->run, "human.jsonl", err))) return -1;
    int status = prompts_each_human(e, o, add_line, &lines, err);
    if (!status && !lines.length) status = err_input(err, "--expert human: no training review is positive");
    if (!status) status = os_write_file(e->human, lines.data, lines.length, err);
    e->human_tokens = o->max_new;
    text_free(&lines);
    return status;
}

// Of all training reviews, positive or not; encoded once for all arms that read so much of each.
static int find_replayed(PolicyOptions *how, Experiment *e, const Options *o, Err *err)
{
    if ((how->replay = o->replay) == 0) return 0;
    if (e->replayed_tokens != o->replay_tokens) {
        documents_free(&e->replayed);
        if (documents_beginnings(&e->replayed, &e->train, &e->tokenizer, e->eos, o->replay_tokens, e->model.config.context, err))
            return err_prefix(err, "--replay-tokens");
        e->replayed_tokens = o->replay_tokens;
    }
    how->texts = e->replayed.examples;
    how->text_count = e->replayed.count;
    return 0;
}

int experiment_policy_options(PolicyOptions *how, ExpertNames *names, Experiment *e, const Options *o, Err *err)
{
    *how = (PolicyOptions){.sample = sample_options(o, &e->model.config), .seed = o->seed, .experts = names->paths, .expert_names = names->names,
        .expert_count = o->expert.count};
    for (size_t i = 0; i < o->expert.count; i++) {
        bool human = !strcmp(o->expert.items[i], HUMAN);
        if (human && write_human_answers(e, o, err)) return -1;
        names->names[i] = o->expert.items[i];
        names->paths[i] = human ? e->human : o->expert.items[i];
    }
    return find_replayed(how, e, o, err) || train_options(&how->train, o, err) ? -1 : 0;
}
