// SPDX-License-Identifier: MIT
/* candidates.c - lists of prompts and of candidates, and their JSON lines. Knows no model, no tokenizer and no ranking rule.
 *
 * Start at samples_read and sample_json: the two directions of one line.
 */
#include "files/candidates.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "files/jsonl.h"
#include "files/unicode.h"

// Room for one more item in a growing list; the new item is zeroed.
static void *grow(void *items, size_t count, size_t *capacity, size_t size, Err *err)
{
    if (count < *capacity) return items;
    size_t wanted = *capacity ? *capacity * 2 : 64;
    void *grown = mem_resize(err, items, count, wanted, size);
    if (grown) *capacity = wanted;
    return grown;
}

// ---- prompts -----------------------------------------------------------------------------------------------------------------

int prompts_add(PromptList *list, const char *id, const char *text, size_t length, Err *err)
{
    Prompt *items = grow(list->items, list->count, &list->capacity, sizeof *items, err);
    if (!items) return -1;
    list->items = items;
    Text clean = {0};
    Prompt prompt = {0};
    if (!utf8_repair(&clean, text, length, &list->repaired, err)) {
        prompt.id = mem_copy_text(err, id);
        prompt.text = prompt.id ? mem_copy_bytes(err, clean.data ? clean.data : "", clean.length) : NULL;
        prompt.text_length = clean.length;
    }
    text_free(&clean);
    if (!prompt.text) {
        mem_free(prompt.id);
        return -1;
    }
    list->items[list->count++] = prompt;
    return 0;
}

void prompts_drop_last(PromptList *list)
{
    Prompt *last = list->items + --list->count;
    mem_free(last->id);
    mem_free(last->text);
    tokens_free(&last->ids);
}

void prompts_free(PromptList *list)
{
    while (list->count) prompts_drop_last(list);
    mem_free(list->items);
    *list = (PromptList){0};
}

// An identifier may be a text or a whole number; a line without one is known by its place.
static int read_id(char *id, size_t size, const json_t *line, const char *key, size_t number, const char *where, Err *err)
{
    const json_t *value = json_object_get(line, key);
    if (!value || json_is_null(value)) return snprintf(id, size, "line %zu", number) < 0 ? -1 : 0;
    if (json_is_integer(value)) return snprintf(id, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) < 0 ? -1 : 0;
    const char *text = NULL;
    if (json_get_text(line, key, &text, where, err)) return -1;
    if (strlen(text) >= size) return err_input(err, "%s: key \"%s\": longer than %zu bytes", where, key, size - 1);
    memcpy(id, text, strlen(text) + 1);
    return 0;
}

enum { ID_BYTES = 512 };

// A conversation, as the JSON text of its messages: {"role", "content"} each.
static int read_messages(PromptList *list, const json_t *messages, const char *id, const char *where, Err *err)
{
    Text text = {0};
    const char *role, *content;
    int status = json_array_size(messages) ? 0 : err_input(err, "%s: key \"messages\": expected a list of messages", where);
    for (size_t i = 0; i < json_array_size(messages) && !status; i++) {
        const json_t *message = json_array_get(messages, i);
        status = json_get_text(message, "role", &role, where, err) || json_get_text(message, "content", &content, where, err) ? -1 : 0;
    }
    if (!status) status = json_write(&text, messages, err) || prompts_add(list, id, text.data, text.length, err) ? -1 : 0;
    if (!status) list->items[list->count - 1].is_chat = true;
    text_free(&text);
    return status;
}

static int read_prompt(PromptList *list, const json_t *line, const JsonLines *in, Err *err)
{
    char id[ID_BYTES];
    const char *text = "", *key = json_object_get(line, "prompt") ? "prompt" : "text";
    size_t length = 0;
    if (read_id(id, sizeof id, line, "id", in->line, in->where, err)) return -1;
    if (!json_object_get(line, key) && json_object_get(line, "messages"))
        return read_messages(list, json_object_get(line, "messages"), id, in->where, err);
    if (!json_object_get(line, key)) return err_input(err, "%s: no key \"prompt\" (or \"text\", \"messages\")", in->where);
    if (json_get_string(line, key, &text, &length, in->where, err)) return -1;
    bool tokens = json_object_get(line, "prompt_tokens");
    if (!length && !tokens) return err_input(err, "%s: the prompt is empty", in->where);
    if (prompts_add(list, id, text, length, err)) return -1;
    TokenList *ids = &list->items[list->count - 1].ids;
    if (!tokens) return 0;
    if (json_get_tokens(line, "prompt_tokens", ids, in->where, err)) return -1;
    return ids->length ? 0 : err_input(err, "%s: key \"prompt_tokens\": the prompt is empty", in->where);
}

int prompts_read(PromptList *list, const char *path, Err *err)
{
    JsonLines in;
    json_t *line = NULL;
    int got;
    if (jsonl_open(&in, path, err)) return -1;
    while ((got = jsonl_next(&in, &line, err)) == 1) {
        if (read_prompt(list, line, &in, err)) got = -1;
        json_decref(line);
        if (got < 0) break;
    }
    list->repaired += in.repaired;
    if (!got && !list->count) got = err_input(err, "%s: no prompts (expected JSON lines with \"prompt\")", path);
    jsonl_close(&in);
    if (got) prompts_free(list);
    return got;
}

static json_t *prompt_json(const Prompt *prompt)
{
    json_t *line = json_object();
    int bad = json_object_set_new(line, "id", json_string(prompt->id));
    bad |= json_object_set_new(line, "prompt", json_stringn(prompt->text, prompt->text_length));
    if (prompt->ids.length) bad |= json_object_set_new(line, "prompt_tokens", json_ids(prompt->ids.ids, prompt->ids.length));
    if (!bad) return line;
    json_decref(line);
    return NULL;
}

// Writes `count` lines; line i comes from make(self, i), which gives NULL when memory is exhausted.
typedef json_t *MakeLine(const void *self, size_t i);
static int write_lines(const char *path, MakeLine *make, const void *self, size_t count, Err *err)
{
    OsWriter out;
    Text text = {0};
    if (os_writer_open(&out, path, err)) return -1;
    int status = 0;
    for (size_t i = 0; i < count && !status; i++) {
        json_t *line = make(self, i);
        text.length = 0;
        status = json_write(&text, line, err) || text_puts(&text, err, "\n") || os_writer_write(&out, text.data, text.length, err);
        json_decref(line);
    }
    text_free(&text);
    if (!status) return os_writer_commit(&out, err);
    os_writer_discard(&out);
    return -1;
}

static json_t *prompt_line(const void *self, size_t i) { return prompt_json(((const PromptList *)self)->items + i); }

int prompts_write(const PromptList *list, const char *path, Err *err)
{
    return write_lines(path, prompt_line, list, list->count, err);
}

// ---- candidates in memory ------------------------------------------------------------------------------------------------------

Sample **samples_pointers(const SampleList *list, Err *err)
{
    Sample **pointers = mem_new(err, list->count, sizeof *pointers);
    for (size_t i = 0; pointers && i < list->count; i++) pointers[i] = list->items + i;
    return pointers;
}

Sample *samples_add(SampleList *list, Err *err)
{
    Sample *items = grow(list->items, list->count, &list->capacity, sizeof *items, err);
    if (!items) return NULL;
    list->items = items;
    Sample *sample = items + list->count++;
    *sample = (Sample){0};
    return sample;
}

int sample_set_reward(Sample *sample, const char *name, float value, Err *err)
{
    for (size_t i = 0; i < sample->reward_count; i++)
        if (!strcmp(sample->reward_names[i], name)) {
            sample->reward_values[i] = value;
            return 0;
        }
    if (sample->reward_count == REWARDS_MAX) return err_input(err, "more than %d rewards for one candidate", (int)REWARDS_MAX);
    char *copy = mem_copy_text(err, name);
    if (!copy) return -1;
    sample->reward_names[sample->reward_count] = copy;
    sample->reward_values[sample->reward_count++] = value;
    return 0;
}

void sample_clear(Sample *sample)
{
    char *texts[] = {sample->prompt_id, sample->prompt, sample->source, sample->text};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) mem_free(texts[i]);
    for (size_t i = 0; i < sample->reward_count; i++) mem_free(sample->reward_names[i]);
    tokens_free(&sample->prompt_tokens);
    tokens_free(&sample->tokens);
    mem_free(sample->values);
    mem_free(sample->drawn);
    *sample = (Sample){0};
}

void samples_free(SampleList *list)
{
    for (size_t i = 0; i < list->count; i++) sample_clear(list->items + i);
    mem_free(list->items);
    *list = (SampleList){0};
}

// ---- candidates as lines -------------------------------------------------------------------------------------------------------

static json_t *rewards_json(const Sample *s)
{
    json_t *rewards = json_object();
    int bad = !rewards;
    for (size_t i = 0; i < s->reward_count && !bad; i++)
        bad = json_object_set_new(rewards, s->reward_names[i], json_float(s->reward_values[i]));
    if (!bad) return rewards;
    json_decref(rewards);
    return NULL;
}

// Three lists, a number each for every token.
static int add_values(json_t *line, const Sample *s)
{
    json_t *logprob = json_array(), *ref_logprob = json_array(), *end = json_array();
    int bad = 0;
    for (size_t i = 0; i < s->tokens.length; i++) {
        bad |= json_array_append_new(logprob, json_float(s->values[i].logprob));
        bad |= json_array_append_new(ref_logprob, json_float(s->values[i].ref_logprob));
        bad |= json_array_append_new(end, json_integer((json_int_t)s->values[i].end));
    }
    bad |= json_object_set_new(line, "token_logprob", logprob);
    bad |= json_object_set_new(line, "token_ref_logprob", ref_logprob);
    return bad | json_object_set_new(line, "token_end", end);
}

static json_t *sample_json(const Sample *s)
{
    json_t *line = json_object();
    int bad = json_object_set_new(line, "slot", json_integer((json_int_t)s->slot));
    bad |= json_object_set_new(line, "prompt_id", json_string(s->prompt_id));
    bad |= json_object_set_new(line, "prompt", json_stringn(s->prompt, s->prompt_length));
    bad |= json_object_set_new(line, "prompt_tokens", json_ids(s->prompt_tokens.ids, s->prompt_tokens.length));
    bad |= json_object_set_new(line, "k", json_integer((json_int_t)s->k));
    bad |= json_object_set_new(line, "source", json_string(s->source));
    bad |= json_object_set_new(line, "text", json_stringn(s->text, s->text_length));
    bad |= json_object_set_new(line, "tokens", json_ids(s->tokens.ids, s->tokens.length));
    bad |= json_object_set_new(line, "logprob", json_float(s->logprob));
    if (s->has_reference) bad |= json_object_set_new(line, "ref_logprob", json_float(s->ref_logprob));
    if (s->values) bad |= add_values(line, s);
    if (s->scored) bad |= json_object_set_new(line, "reward", json_float(s->reward));
    if (s->scored) bad |= json_object_set_new(line, "rewards", rewards_json(s));
    if (s->ranked) bad |= json_object_set_new(line, "rank", json_integer((json_int_t)s->rank));
    if (s->ranked) bad |= json_object_set_new(line, "selected", json_boolean(s->selected));
    if (!bad) return line;
    json_decref(line);
    return NULL;
}

static json_t *sample_line(const void *self, size_t i) { return sample_json(((const SampleList *)self)->items + i); }

int samples_write(const SampleList *list, const char *path, Err *err)
{
    return write_lines(path, sample_line, list, list->count, err);
}

static int read_text(char **copy, size_t *length, const json_t *line, const char *key, const char *where, Err *err)
{
    const char *text = "";
    if (json_get_string(line, key, &text, length, where, err)) return -1;
    return (*copy = mem_copy_bytes(err, text, *length)) ? 0 : -1;
}

// Numbers are read as double and rounded once; one that no float holds is refused.
static int read_float(float *value, const json_t *line, const char *key, const char *where, Err *err)
{
    double number = 0;
    if (json_get_number(line, key, &number, where, err)) return -1;
    *value = (float)number;
    if (*value - *value != 0) return err_input(err, "%s: key \"%s\": %g is out of the range of a 32-bit float", where, key, number);
    return 0;
}

static int read_rewards(Sample *s, const json_t *line, const char *where, Err *err)
{
    json_t *rewards = json_object_get(line, "rewards");
    if (!rewards || json_is_null(rewards)) return 0;
    if (!json_is_object(rewards)) return err_input(err, "%s: key \"rewards\": expected an object of numbers", where);
    for (void *at = json_object_iter(rewards); at; at = json_object_iter_next(rewards, at)) {
        float value;
        if (read_float(&value, rewards, json_object_iter_key(at), where, err)) return -1;
        if (sample_set_reward(s, json_object_iter_key(at), value, err)) return err_prefix(err, "%s", where);
    }
    return 0;
}

static int read_ranking(Sample *s, const json_t *line, const char *where, Err *err)
{
    s->scored = json_object_get(line, "reward");
    s->ranked = json_object_get(line, "rank");
    if (s->scored && read_float(&s->reward, line, "reward", where, err)) return -1;
    if (read_rewards(s, line, where, err)) return -1;
    if (s->ranked && json_get_size(line, "rank", &s->rank, where, err)) return -1;
    if (s->ranked && !json_is_boolean(json_object_get(line, "selected")))
        return err_input(err, "%s: key \"selected\": expected true or false beside \"rank\"", where);
    return json_get_bool_or(line, "selected", false, &s->selected, where, err);
}

static const char *const value_keys[] = {"token_logprob", "token_ref_logprob", "token_end"};

// All three lists or none; the ends ascend and stay inside the text.
static int read_values(Sample *s, const json_t *line, const char *where, Err *err)
{
    size_t n = s->tokens.length;
    const json_t *lists[3];
    if (!json_object_get(line, value_keys[0])) return 0;
    for (size_t i = 0; i < 3; i++) {
        lists[i] = json_object_get(line, value_keys[i]);
        if (json_array_size(lists[i]) != n) return err_input(err, "%s: key \"%s\": expected a list of %zu numbers, one a "
            "token", where, value_keys[i], n);
    }
    if (!(s->values = mem_new(err, n, sizeof *s->values))) return -1;
    for (size_t t = 0, before = 0; t < n; before = s->values[t++].end) {
        double number[3];
        for (size_t i = 0; i < 3; i++) {
            const json_t *value = json_array_get(lists[i], t);
            number[i] = json_number_value(value);
            if (!json_is_number(value) || !(number[i] > -3e38 && number[i] < 3e38))
                return err_input(err, "%s: key \"%s\": element %zu is no number that a float holds", where, value_keys[i], t);
        }
        if (!(number[2] >= (double)before && number[2] <= (double)s->text_length))
            return err_input(err, "%s: key \"token_end\": element %zu is %g, expected %zu to "
                "%zu", where, t, number[2], before, s->text_length);
        s->values[t] = (TokenValue){(float)number[0], (float)number[1], (size_t)number[2]};
    }
    return 0;
}

static int read_sample(Sample *s, const json_t *line, const JsonLines *in, Err *err)
{
    const char *where = in->where, *source = NULL;
    char id[ID_BYTES];
    if (json_get_size(line, "slot", &s->slot, where, err) || json_get_size(line, "k", &s->k, where, err)) return -1;
    if (!json_object_get(line, "prompt_id")) return err_input(err, "%s: key \"prompt_id\": missing", where);
    if (read_id(id, sizeof id, line, "prompt_id", in->line, where, err) || !(s->prompt_id = mem_copy_text(err, id))) return -1;
    if (read_text(&s->prompt, &s->prompt_length, line, "prompt", where, err)) return -1;
    if (read_text(&s->text, &s->text_length, line, "text", where, err)) return -1;
    if (json_get_text(line, "source", &source, where, err) || !(s->source = mem_copy_text(err, source))) return -1;
    if (json_get_tokens(line, "prompt_tokens", &s->prompt_tokens, where, err)) return -1;
    if (json_get_tokens(line, "tokens", &s->tokens, where, err)) return -1;
    if (!s->prompt_tokens.length) return err_input(err, "%s: key \"prompt_tokens\": the prompt is empty", where);
    if (!s->tokens.length) return err_input(err, "%s: key \"tokens\": the response is empty", where);
    s->has_reference = json_object_get(line, "ref_logprob");
    if (read_float(&s->logprob, line, "logprob", where, err)) return -1;
    if (s->has_reference && read_float(&s->ref_logprob, line, "ref_logprob", where, err)) return -1;
    if (read_values(s, line, where, err)) return -1;
    return read_ranking(s, line, where, err);
}

// Ranking relies on the order: slot after slot, k ascending within a slot.
static int check_order(const SampleList *list, const char *where, Err *err)
{
    if (list->count < 2) return 0;
    const Sample *s = list->items + list->count - 1, *before = s - 1;
    if (s->slot > before->slot || (s->slot == before->slot && s->k > before->k)) return 0;
    return err_input(err, "%s: slot %zu, k %zu follows slot %zu, k %zu: candidates must be in ascending order of slot, then k",
        where, s->slot, s->k, before->slot, before->k);
}

bool sample_is_own(const Sample *sample) { return !strcmp(sample->source, "policy"); }

int samples_read(SampleList *list, const char *path, Err *err)
{
    JsonLines in;
    json_t *line = NULL;
    int got;
    if (jsonl_open(&in, path, err)) return -1;
    while ((got = jsonl_next(&in, &line, err)) == 1) {
        Sample *sample = samples_add(list, err);
        if (!sample || read_sample(sample, line, &in, err) || check_order(list, in.where, err)) got = -1;
        json_decref(line);
        if (got < 0) break;
    }
    if (!got && !list->count) got = err_input(err, "%s: no candidates", path);
    jsonl_close(&in);
    if (got) samples_free(list);
    return got;
}
