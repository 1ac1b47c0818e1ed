// SPDX-License-Identifier: MIT
/* reward.c - what makes an answer good: kinds of reward behind one function, weighted sums, one of them perhaps gold.
 *
 * A kind is a row of the table at the end. Nothing here knows of policies or ranking; no gradient flows through a reward.
 */
#include "reward.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/checkpoint.h"
#include "files/jsonl.h"
#include "reward_head.h"

typedef struct {
    const char *name;
    int (*open)(RewardPart *part, const char *argument, Err *err);
    int (*score)(RewardPart *part, const RewardInput *inputs, size_t n, float *out, Err *err);
    void (*close)(RewardPart *part);
} RewardKind;

typedef struct { char *word; size_t length; float weight; } LexiconWord;

struct RewardPart {
    const RewardKind *kind;
    char *name;       // "head:runs/proxy"
    float weight;
    const Compute *cx;
    double timeout_s;
    // of each kind
    Model model;      // head
    Tokenizer tokenizer;
    LexiconWord *words; // lexicon, sorted
    size_t word_count;
    double target_words; // length
    const char *command; // command: the end of `name`
};

// ---- head: a trained reward model ------------------------------------------------------------------------------------------

static int open_head(RewardPart *part, const char *folder, Err *err)
{
    if (checkpoint_load(&part->model, folder, err)) return -1;
    if (part->model.config.head != HEAD_SCORE)
        return err_input(err, "%s: is a language model, not a reward head (expected LlamaForSequenceClassification)", folder);
    return checkpoint_load_tokenizer(&part->tokenizer, folder, &part->model.config, err);
}

static int score_head(RewardPart *part, const RewardInput *inputs, size_t n, float *out, Err *err)
{
    TokenList *lists = mem_new(err, n, sizeof *lists);
    TextView *views = lists ? mem_new(err, n, sizeof *views) : NULL;
    Text all = {0};
    int status = views ? 0 : -1;
    size_t used = 0;
    for (size_t i = 0; !status && i < n; i++) // one block of text first: it moves while it grows
        status = text_add(&all, err, inputs[i].prompt, inputs[i].prompt_length) || text_add(&all, err, inputs[i].text, inputs[i].text_length) ? -1 : 0;
    for (size_t i = 0; !status && i < n; i++) {
        views[i] = (TextView){all.data + used, inputs[i].prompt_length + inputs[i].text_length};
        used += views[i].length;
    }
    if (!status) status = tokenizer_encode_all(&part->tokenizer, lists, views, n, err);
    if (!status) status = head_score(&part->model, part->cx, lists, n, out, err);
    for (size_t i = 0; lists && i < n; i++) tokens_free(lists + i);
    mem_free(lists);
    mem_free(views);
    text_free(&all);
    return status;
}

static void close_head(RewardPart *part)
{
    model_free(&part->model);
    tokenizer_free(&part->tokenizer);
}

// ---- words: letters, digits and bytes of other alphabets, with apostrophes between them ---------------------------------------

static bool word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80;
}

// The next word at or after *at: its start, or NULL; *at moves behind it. "don't" is one word, "'good'" is good.
static const char *next_word(const char *text, size_t n, size_t *at, size_t *length)
{
    while (*at < n && !word_byte(text[*at])) ++*at;
    size_t start = *at;
    while (*at < n && (word_byte(text[*at]) || (text[*at] == '\'' && *at + 1 < n && word_byte(text[*at + 1])))) ++*at;
    *length = *at - start;
    return *length ? text + start : NULL;
}

// ---- lexicon: the mean weight of known words ---------------------------------------------------------------------------------

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

static int compare_words(const char *a, size_t an, const char *b, size_t bn)
{
    for (size_t i = 0; i < an && i < bn; i++) {
        unsigned char x = (unsigned char)lower(a[i]), y = (unsigned char)lower(b[i]);
        if (x != y) return x < y ? -1 : 1;
    }
    return an < bn ? -1 : an > bn;
}

static int by_word(const void *left, const void *right)
{
    const LexiconWord *a = left, *b = right;
    return compare_words(a->word, a->length, b->word, b->length);
}

static int add_word(RewardPart *part, size_t *capacity, const char *line, const char *path, size_t number, Err *err)
{
    size_t length = strcspn(line, " \t"), at = 0, word_length;
    char *end;
    double weight = strtod(line + length, &end);
    bool number_ends = end != line + length;
    end += strspn(end, " \t\r");
    if (!length || !number_ends || *end || !(fabs(weight) <= 1e6))
        return err_input(err, "%s:%zu: expected a word and its weight, found \"%.40s\"", path, number, line);
    if (next_word(line, length, &at, &word_length) != line || word_length != length)
        return err_input(err, "%s:%zu: \"%.*s\" is no single word, so no text could hold it", path, number, (int)(length < 40 ? length : 40), line);
    if (part->word_count == *capacity) {
        size_t grown_to = *capacity ? 2 * *capacity : 256;
        LexiconWord *grown = mem_resize(err, part->words, part->word_count, grown_to, sizeof *grown);
        if (!grown) return -1;
        part->words = grown;
        *capacity = grown_to;
    }
    char *word = mem_copy_bytes(err, line, length);
    if (!word) return -1;
    part->words[part->word_count++] = (LexiconWord){word, length, (float)weight};
    return 0;
}

static int open_lexicon(RewardPart *part, const char *path, Err *err)
{
    Text file = {0};
    size_t capacity = 0, number = 0;
    int status = os_read_file(&file, path, err);
    if (!status && file.length && strlen(file.data) != file.length) status = err_input(err, "%s: is no text (a NUL byte at %zu)", path, strlen(file.data));
    for (char *line = file.data, *next; !status && line && *line; line = next) {
        size_t n = strcspn(line, "\n");
        next = line + n + (line[n] == '\n');
        line[n] = '\0';
        number++;
        if (*line && *line != '#' && *line != '\r') status = add_word(part, &capacity, line, path, number, err);
    }
    text_free(&file);
    if (status) return -1;
    if (!part->word_count) return err_input(err, "%s: no words (expected lines \"word weight\")", path);
    qsort(part->words, part->word_count, sizeof *part->words, by_word);
    for (size_t i = 1; i < part->word_count; i++)
        if (!by_word(part->words + i - 1, part->words + i)) return err_input(err, "%s: the word \"%s\" stands there twice", path, part->words[i].word);
    return 0;
}

static int score_lexicon(RewardPart *part, const RewardInput *inputs, size_t n, float *out, Err *err)
{
    (void)err;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        size_t found = 0, at = 0, length;
        for (const char *word; (word = next_word(inputs[i].text, inputs[i].text_length, &at, &length));) {
            LexiconWord key = {.word = (char *)word, .length = length};
            const LexiconWord *hit = bsearch(&key, part->words, part->word_count, sizeof key, by_word);
            if (!hit) continue;
            sum += hit->weight;
            found++;
        }
        out[i] = found ? (float)(sum / (double)found) : 0.0f;
    }
    return 0;
}

static void close_lexicon(RewardPart *part)
{
    for (size_t i = 0; i < part->word_count; i++) mem_free(part->words[i].word);
    mem_free(part->words);
}

// ---- length: near a number of words --------------------------------------------------------------------------------------------

static int open_length(RewardPart *part, const char *argument, Err *err)
{
    char *end;
    part->target_words = strtod(argument, &end);
    if (end == argument || *end || !(part->target_words >= 1 && part->target_words <= 1e6))
        return err_input(err, "reward length:%s: expected a number of words, 1 to 1000000", argument);
    return 0;
}

static int score_length(RewardPart *part, const RewardInput *inputs, size_t n, float *out, Err *err)
{
    (void)err;
    for (size_t i = 0; i < n; i++) {
        size_t words = 0, at = 0, length;
        while (next_word(inputs[i].text, inputs[i].text_length, &at, &length)) words++;
        double off = fabs((double)words - part->target_words);
        out[i] = off > 0 ? (float)(-off / part->target_words) : 0.0f; // never -0
    }
    return 0;
}

// ---- command: an outside program ------------------------------------------------------------------------------------------------

static int open_command(RewardPart *part, const char *command, Err *err)
{
    (void)err;
    part->command = part->name + (strlen(part->name) - strlen(command));
    return 0;
}

/* One line back for each of n. The program gets the end of its input with the last line, so that one may answer as it reads,
 * another read all first, and none needs to flush. What it does after its last answer changes nothing, but an answer more
 * than asked for means that answers and samples do not belong together. */
static int ask_program(const char *command, const Text *request, size_t n, Text *reply, double timeout_s, Err *err)
{
    enum { LINGER_S = 2 };
    Text more = {0};
    Err ignored = {0};
    OsChild *child = os_child_start(command, err);
    if (!child) return -1;
    os_child_last_input(child);
    int status = os_child_exchange(child, request->data, request->length, n, reply, timeout_s, err);
    if (!status && os_child_read_line(child, &more, LINGER_S, &ignored) == 1)
        status = err_failed(err, "more lines than the %zu samples, \"%.60s\" the first", n, more.data ? more.data : "");
    os_child_stop(child, LINGER_S, &ignored);
    text_free(&more);
    return status;
}

static int parse_reply(const char *line, size_t n, float *value)
{
    json_t *reply = json_loadb(line, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    const json_t *number = json_is_object(reply) ? json_object_get(reply, "reward") : reply;
    bool usable = json_is_number(number);
    double given = usable ? json_number_value(number) : 0;
    *value = fabs(given) <= FLT_MAX ? (float)given : INFINITY; // no conversion of what a float cannot hold
    json_decref(reply);
    return usable ? 0 : -1;
}

static int score_command(RewardPart *part, const RewardInput *inputs, size_t n, float *out, Err *err)
{
    Text request = {0}, reply = {0};
    int status = 0;
    for (size_t i = 0; !status && i < n; i++) {
        json_t *line = json_pack("{s:s%,s:s%}", "prompt", inputs[i].prompt, inputs[i].prompt_length, "text", inputs[i].text, inputs[i].text_length);
        if (!line) status = err_failed(err, "%s: sample %zu is not valid UTF-8", part->name, i);
        if (!status) status = json_write(&request, line, err) || text_puts(&request, err, "\n") ? -1 : 0;
        json_decref(line);
    }
    if (!status && ask_program(part->command, &request, n, &reply, part->timeout_s, err))
        status = err_prefix(err, "reward program \"%s\"", part->name);
    const char *line = reply.data;
    for (size_t i = 0; !status && i < n; i++) {
        size_t length = strcspn(line, "\n");
        if (parse_reply(line, length, out + i))
            status = err_failed(err, "reward program \"%s\", sample %zu: expected a line with a number or {\"reward\": number}, found \"%.*s\"", part->name, i,
                (int)(length < 80 ? length : 80), line);
        line += length + (line[length] == '\n');
    }
    text_free(&request);
    text_free(&reply);
    return status;
}

// ---- the table, and sets of rewards ----------------------------------------------------------------------------------------------

static const RewardKind kinds[] = {
    {"head", open_head, score_head, close_head},
    {"lexicon", open_lexicon, score_lexicon, close_lexicon},
    {"length", open_length, score_length, NULL},
    {"command", open_command, score_command, NULL},
};

static void part_close(RewardPart *part)
{
    if (!part) return;
    if (part->kind && part->kind->close) part->kind->close(part);
    mem_free(part->name);
    mem_free(part);
}

// "[WEIGHT*]KIND:ARGUMENT"
static RewardPart *part_open(const char *spec, const Compute *cx, double timeout_s, Err *err)
{
    const char *colon = strchr(spec, ':'), *star = strchr(spec, '*'), *kind = spec;
    double weight = 1;
    if (colon && star && star < colon) {
        char *end;
        weight = strtod(spec, &end);
        if (end != star || star == spec || !(fabs(weight) <= 1e6)) {
            err_input(err, "reward \"%s\": the weight before '*' must be a number from -1000000 to 1000000", spec);
            return NULL;
        }
        kind = star + 1;
    }
    RewardPart *part = mem_new(err, 1, sizeof *part);
    if (!part) return NULL;
    *part = (RewardPart){.weight = (float)weight, .cx = cx, .timeout_s = timeout_s, .name = mem_copy_text(err, kind)};
    for (size_t i = 0; part->name && colon && i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].name) == (size_t)(colon - kind) && !strncmp(kinds[i].name, kind, (size_t)(colon - kind))) part->kind = kinds + i;
    int status = part->name ? 0 : -1;
    if (!status && (!part->kind || !colon[1]))
        status = err_input(err, "reward \"%s\": expected head:DIR, lexicon:FILE, length:N or command:PROGRAM, perhaps after WEIGHT*", spec);
    if (!status) status = part->kind->open(part, colon + 1, err);
    if (!status) return part;
    part_close(part);
    return NULL;
}

// A sum of finite values may still be out of a float's range.
static int check_finite(const char *name, const RewardInput *inputs, const float *values, size_t n, Err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return err_failed(err, "reward %s, sample %zu (\"%.*s\"): the reward is %s", name, i,
                (int)(inputs[i].text_length < 60 ? inputs[i].text_length : 60), inputs[i].text, isnan(values[i]) ? "NaN" : "infinite");
    return 0;
}

int reward_open(RewardSet *set, const char *const *specs, size_t count, const char *gold, const Compute *cx, double timeout_s, Err *err)
{
    *set = (RewardSet){0};
    if (!(set->parts = mem_new(err, count, sizeof *set->parts))) return -1;
    for (; set->count < count; set->count++)
        if (!(set->parts[set->count] = part_open(specs[set->count], cx, timeout_s, err))) return reward_close(set), -1;
    if (gold && !(set->gold = part_open(gold, cx, timeout_s, err))) return reward_close(set), -1;
    return 0;
}

void reward_close(RewardSet *set)
{
    for (size_t i = 0; i < set->count; i++) part_close(set->parts[i]);
    part_close(set->gold);
    mem_free(set->parts);
    *set = (RewardSet){0};
}

const char *reward_name(const RewardSet *set, size_t part) { return set->parts[part]->name; }

int reward_rename(RewardSet *set, size_t part, const char *name, Err *err)
{
    char *copy = mem_copy_text(err, name);
    assert(!set->parts[part]->command); // it points into the name
    if (!copy) return -1;
    mem_free(set->parts[part]->name);
    set->parts[part]->name = copy;
    return 0;
}

bool reward_gold_probability(const RewardSet *set, float *p, const float *gold, size_t n)
{
    if (!set->gold || set->gold->kind->score != score_head) return false;
    set->gold->cx->k->sigmoid_array(p, gold, n);
    return true;
}

static int score_part(RewardPart *part, const RewardInput *inputs, size_t n, float *out, Err *err)
{
    return part->kind->score(part, inputs, n, out, err) ? -1 : check_finite(part->name, inputs, out, n, err);
}

int reward_score(RewardSet *set, const RewardInput *inputs, size_t n, float *total, float *const *parts, Err *err)
{
    float *values = mem_new(err, n, sizeof *values);
    int status = values ? 0 : -1;
    for (size_t i = 0; !status && i < n; i++) total[i] = 0;
    for (size_t p = 0; !status && n && p < set->count; p++) {
        status = score_part(set->parts[p], inputs, n, values, err);
        for (size_t i = 0; !status && i < n; i++) {
            total[i] += set->parts[p]->weight * values[i];
            if (parts) parts[p][i] = values[i];
        }
    }
    if (!status) status = check_finite("(the sum)", inputs, total, n, err);
    mem_free(values);
    return status;
}

int reward_score_gold(RewardSet *set, const RewardInput *inputs, size_t n, float *gold, Err *err)
{
    return n && set->gold ? score_part(set->gold, inputs, n, gold, err) : 0;
}
