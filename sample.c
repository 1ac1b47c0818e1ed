// SPDX-License-Identifier: MIT
/* sample.c - batched generation: which sequences share a batch, when prompts enter, what ends an answer.
 *
 * Knows nothing of rewards, files or training. Pages of keys and values are in sample_cache.c, the choice of a token from its
 * logits in sample_choose.c. Start reading at sample_generate, then generate_all.
 *
 * Prompts enter in groups: up to `group` answers to one prompt start together from one prefill. The first of them takes the
 * prefill's pages as they are; the others share its full pages, which nobody writes any more, and copy the last, partial one.
 */
#include "sample.h"

#include <assert.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#define OMP(directive) _Pragma(#directive)
#else
#define OMP(directive)
#endif

#include "files/unicode.h"
#include "kernels/strict.h"
#include "loss.h"
#include "observe.h"
#include "sample-internal.h"

enum {
    PREFILL_ROWS = 1024,     // prompt tokens in one pass, unless a single prompt is longer
    LOGITS_FLOATS = 1 << 24, // logits alive at once: 64 MB, so that large heads are read once for many rows
    WORTH_PACKING = 4,       // tokens an answer, from which packing the weights saves more time than it takes; never changes a bit
};
#define LEAST_TEMPERATURE 1e-4f // below, logits / temperature may overflow; 0 is greedy

SampleOptions sample_defaults(void)
{
    return (SampleOptions){.samples = 1, .max_new = 48, .temperature = 1, .top_p = 1, .eos = -1, .seed = 1,
        .stream = STREAM_SAMPLE, .batch = 256};
}

// ---- the stop string ---------------------------------------------------------------------------------------------------------

// Matched byte by byte over the response's text as tokens arrive (Knuth, Morris and Pratt): a sequence remembers one number.
typedef struct { const char *string; size_t length, *border; } StopString;

static int stop_init(StopString *stop, const char *string, Err *err)
{
    *stop = (StopString){.string = string, .length = strlen(string)};
    if (!(stop->border = mem_new(err, stop->length + 1, sizeof *stop->border))) return -1;
    for (size_t i = 1, matched = 0; i < stop->length; i++) {
        while (matched && string[i] != string[matched]) matched = stop->border[matched];
        if (string[i] == string[matched]) matched++;
        stop->border[i + 1] = matched;
    }
    return 0;
}

// Bytes of the stop string matched after these bytes; its length when they complete it.
static size_t stop_advance(const StopString *stop, size_t matched, TextView bytes)
{
    for (size_t i = 0; i < bytes.length && matched < stop->length; i++) {
        while (matched && bytes.bytes[i] != stop->string[matched]) matched = stop->border[matched];
        if (bytes.bytes[i] == stop->string[matched]) matched++;
    }
    return matched;
}

int sample_text(Text *text, const Tokenizer *tokenizer, const uint32_t *ids, size_t length, const char *stop, Err *err)
{
    Text raw = {0};
    size_t cut, repaired = 0, stop_length = stop ? strlen(stop) : 0;
    int status = 0;
    for (size_t i = 0; i < length && !status; i++) {
        if (ids[i] >= tokenizer->vocab)
            status = err_input(err, "token %zu is id %u, outside the tokenizer's vocabulary of %zu", i, (unsigned)ids[i],
                tokenizer->vocab);
        else if (!tokenizer->special[ids[i]])
            status = text_add(&raw, err, tokenizer->tokens[ids[i]].bytes, tokenizer->tokens[ids[i]].length);
    }
    for (cut = 0; stop_length && cut + stop_length <= raw.length; cut++)
        if (!memcmp(raw.data + cut, stop, stop_length)) break;
    if (!stop_length || cut + stop_length > raw.length) cut = raw.length;
    if (!status) status = utf8_repair(text, raw.data ? raw.data : "", cut, &repaired, err);
    text_free(&raw);
    return status;
}

// ---- sequences -----------------------------------------------------------------------------------------------------------------

typedef struct { // one answer being written
    size_t answer;     // its index in answers[]
    size_t cached;     // positions whose keys and values are in the pages
    float **pages;     // [pages_each]
    size_t page_count;
    size_t matched;    // bytes of the stop string
} Sequence;

typedef struct { // one token to be chosen
    uint32_t row;      // of the batch, whose logits decide
    size_t sequence, logits_row;
    uint32_t token;
    float logprob, value;
    bool bad;          // the logits are not finite
} Choice;

typedef struct {
    Sampled *answers;
    const Model *model;
    const Compute *cx;
    const Tokenizer *tokenizer;
    const SamplePrompt *prompts;
    const SampleOptions *how;
    size_t count;              // answers wanted
    size_t next;               // the first answer not yet begun
    size_t group;              // answers that start from one prefill, at most
    size_t tokens_done, answers_done;
    SampleRoom *room, own;     // room: the caller's, or own
    Workspace ws;
    LossScratch scratch;
    StopString stop;
    Sequence *sequences;       // [slots], the first `live` are being written
    float **page_tables;       // [slots, pages_each]
    size_t slots, live, pages_each;
    Choice *choices;           // [slots] ascending rows
    size_t choice_count;
    uint32_t *rows;            // [slots]
    float *logits;             // [logits_rows, V]
    float *values;             // [logits_rows], with a value head
    size_t logits_rows;
    ChoiceScratch *choosers;   // [threads]
} Sampler;

static const PackedModel *packed_weights(const Sampler *s) { return s->room->model == s->model ? &s->room->packed : NULL; }
static const SamplePrompt *prompt_of(const Sampler *s, size_t answer) { return s->prompts + answer / s->how->samples; }

static void release_sequence(Sampler *s, size_t at)
{
    Sequence ended = s->sequences[at];
    for (size_t i = 0; i < ended.page_count; i++) pool_release(&s->room->pool, ended.pages[i]);
    s->sequences[at] = s->sequences[--s->live];
    s->sequences[s->live] = (Sequence){.pages = ended.pages}; // the page tables change places, too
}

// Tokens after which an answer is cut off: of (seed, stream, iteration, slot, k), like the tokens themselves.
static size_t longest_length(const Sampler *s, size_t answer)
{
    const SampleOptions *how = s->how;
    uint32_t words[4];
    if (!how->min_new) return how->max_new;
    philox_draw(words, how->seed, (PhiloxCounter){.c0 = (uint32_t)how->stream, .c1 = (uint32_t)(how->first_sample + answer % how->samples),
        .c2 = prompt_of(s, answer)->slot, .c3 = philox_stream(STREAM_LENGTH, how->iteration)});
    return how->min_new + philox_below(words[0], (uint32_t)(how->max_new - how->min_new + 1));
}

// Writes a chosen token down. True when the answer is complete.
static bool append_token(Sampler *s, Sequence *q, const Choice *choice)
{
    Sampled *answer = s->answers + q->answer;
    uint32_t token = choice->token;
    answer->ids[answer->length] = token;
    if (answer->values) answer->values[answer->length] = choice->value;
    answer->logprobs[answer->length++] = choice->logprob;
    s->tokens_done++;
    answer->ended = (int64_t)token == s->how->eos;
    if (s->stop.length && !s->tokenizer->special[token]) {
        q->matched = stop_advance(&s->stop, q->matched, s->tokenizer->tokens[token]);
        if (q->matched == s->stop.length) answer->ended = true;
    }
    if (!answer->ended && answer->length < longest_length(s, q->answer)) return false;
    answer->logprob = (float)s->cx->k->sum_array(answer->logprobs, answer->length);
    s->answers_done++;
    return true;
}

static void choose_token(const Sampler *s, Choice *choice, float *logits, ChoiceScratch *scratch)
{
    const Sequence *q = s->sequences + choice->sequence;
    const SampleOptions *how = s->how;
    size_t vocab = s->model->config.vocab;
    choice->bad = !s->cx->k->all_finite(logits, vocab);
    if (choice->bad) return;
    uint32_t words[4];
    philox_draw(words, how->seed, (PhiloxCounter){
        .c0 = (uint32_t)s->answers[q->answer].length, .c1 = (uint32_t)(how->first_sample + q->answer % how->samples),
        .c2 = prompt_of(s, q->answer)->slot, .c3 = philox_stream(how->stream, how->iteration)});
    choice->token = sample_choose(s->cx->k, logits, vocab, how, philox_uniform(words[0]), scratch);
    s->cx->k->cross_entropy(logits, &choice->logprob, &choice->token, NULL, 1, vocab); // training's own: the same bits
}

static void choose_chunk(Sampler *s, size_t first, size_t end)
{
    size_t vocab = s->model->config.vocab;
    OMP(omp parallel num_threads((int)s->cx->threads) if (end - first > 1))
    {
        size_t thread = 0;
#ifdef _OPENMP
        thread = (size_t)omp_get_thread_num();
#endif
        fp_strict();
        OMP(omp for schedule(dynamic))
        for (size_t i = first; i < end; i++)
            choose_token(s, s->choices + i, s->logits + s->choices[i].logits_row * vocab, s->choosers + thread);
    }
}

static void show_choices(const Sampler *s, size_t first, size_t end)
{
    size_t vocab = s->model->config.vocab;
    for (size_t i = first; i < end; i++) {
        const Choice *c = s->choices + i;
        size_t answer = s->sequences[c->sequence].answer;
        observe_choice(s->cx, &(SeenChoice){.slot = prompt_of(s, answer)->slot, .k = s->how->first_sample + answer % s->how->samples,
            .step = s->answers[answer].length, .vocab = vocab, .logits = s->logits + c->logits_row * vocab, .token = c->token,
            .logprob = c->logprob});
    }
}

static void choose_values(Sampler *s, size_t first, size_t end, size_t rows)
{
    lm_values(s->model, &s->ws, &s->scratch, s->values, s->rows, rows);
    for (size_t i = first; i < end; i++) s->choices[i].value = s->values[s->choices[i].logits_row];
}

// The next token of every choice. Rows of logits pass in chunks; answers that just began share their prompt's row.
static void choose_tokens(Sampler *s)
{
    for (size_t first = 0, end; first < s->choice_count; first = end) {
        size_t rows = 0;
        for (end = first; end < s->choice_count; end++) {
            Choice *choice = s->choices + end;
            if (!rows || choice->row != s->rows[rows - 1]) {
                if (rows == s->logits_rows) break;
                s->rows[rows++] = choice->row;
            }
            choice->logits_row = rows - 1;
        }
        lm_logits(s->model, packed_weights(s), &s->ws, &s->scratch, s->logits, s->rows, rows);
        if (s->values) choose_values(s, first, end, rows);
        choose_chunk(s, first, end);
        if (s->cx->observer) show_choices(s, first, end);
    }
}

// Appends what was chosen; complete answers leave. From the last to the first, because a leaving one is replaced by the last.
static int write_tokens(Sampler *s, Err *err)
{
    for (size_t i = s->choice_count; i-- > 0;) {
        const Choice *choice = s->choices + i;
        Sequence *q = s->sequences + choice->sequence;
        if (choice->bad)
            return err_failed(err, "sampling: slot %u, candidate %zu, token %zu: a logit is NaN or infinite (the weights have diverged)",
                (unsigned)prompt_of(s, q->answer)->slot, s->how->first_sample + q->answer % s->how->samples,
                s->answers[q->answer].length);
        if (append_token(s, q, choice)) release_sequence(s, choice->sequence);
    }
    return 0;
}

// ---- prefill and decode --------------------------------------------------------------------------------------------------------

static Sequence *open_sequence(Sampler *s, uint32_t row)
{
    Sequence *q = s->sequences + s->live;
    q->answer = s->next++;
    q->cached = prompt_of(s, q->answer)->length;
    s->choices[s->choice_count++] = (Choice){.row = row, .sequence = s->live++};
    return q;
}

// Adds the next group's prompt to the batch; its first answer holds the pages that the pass will fill.
static void open_group(Sampler *s, size_t size)
{
    const SamplePrompt *prompt = prompt_of(s, s->next);
    uint32_t last_row = (uint32_t)(s->ws.rows + prompt->length - 1);
    Sequence *first = open_sequence(s, last_row);
    size_t pages = (prompt->length + PAGE - 1) / PAGE;
    while (first->page_count < pages) first->pages[first->page_count++] = pool_take(&s->room->pool);
    batch_continue(&s->ws, prompt->ids, prompt->length, 0, first->pages);
    for (size_t i = 1; i < size; i++) open_sequence(s, last_row);
}

// After the pass: the other answers of each group share the full pages and copy the partial one.
static void share_pages(Sampler *s)
{
    const Sequence *first = NULL;
    for (size_t i = 0; i < s->choice_count; i++) {
        Sequence *q = s->sequences + s->choices[i].sequence;
        if (!i || s->choices[i].row != s->choices[i - 1].row) {
            first = q;
            continue;
        }
        for (; q->page_count < first->page_count; q->page_count++) {
            bool full = (q->page_count + 1) * PAGE <= q->cached;
            float *page = first->pages[q->page_count];
            q->pages[q->page_count] = full ? pool_share(&s->room->pool, page) : pool_copy(&s->room->pool, page);
        }
    }
}

static size_t next_group_size(const Sampler *s)
{
    size_t left = s->how->samples - s->next % s->how->samples;
    return left < s->group ? left : s->group;
}

/* Begins as many waiting groups as there is room for, and chooses their first tokens. Waits until an eighth of the slots is
 * free: a pass over a handful of prompt tokens uses the machine badly. */
static int begin_answers(Sampler *s, Err *err)
{
    if (s->live && (s->slots - s->live) * 8 < s->slots) return 0;
    batch_clear(&s->ws);
    s->choice_count = 0;
    while (s->next < s->count && next_group_size(s) <= s->slots - s->live &&
           (!s->ws.rows || s->ws.rows + prompt_of(s, s->next)->length <= s->ws.max_rows))
        open_group(s, next_group_size(s));
    if (!s->choice_count) return 0;
    model_forward(s->model, packed_weights(s), &s->ws);
    share_pages(s);
    choose_tokens(s);
    return write_tokens(s, err);
}

// One more token for every live sequence.
static int continue_answers(Sampler *s, Err *err)
{
    batch_clear(&s->ws);
    s->choice_count = 0;
    for (size_t i = 0; i < s->live; i++) {
        Sequence *q = s->sequences + i;
        const Sampled *answer = s->answers + q->answer;
        if (q->cached % PAGE == 0) q->pages[q->page_count++] = pool_take(&s->room->pool);
        s->choices[s->choice_count++] = (Choice){.row = (uint32_t)s->ws.rows, .sequence = i};
        batch_continue(&s->ws, answer->ids + answer->length - 1, 1, q->cached++, q->pages);
    }
    model_forward(s->model, packed_weights(s), &s->ws);
    choose_tokens(s);
    return write_tokens(s, err);
}

// ---- a whole call --------------------------------------------------------------------------------------------------------------

int sample_check(const SampleOptions *how, const Model *model, const Tokenizer *tokenizer, Err *err)
{
    if (model->config.head != HEAD_LM) return err_input(err, "sampling: the model is a reward model: it has no next-token head");
    if (!how->samples) return err_input(err, "--samples must be at least 1");
    if (!how->max_new) return err_input(err, "--max-new must be at least 1");
    if (how->min_new > how->max_new) return err_input(err, "--min-new %zu is above --max-new %zu", how->min_new, how->max_new);
    if (!how->batch) return err_input(err, "--sample-batch must be at least 1");
    if (how->temperature != 0 && !(how->temperature >= LEAST_TEMPERATURE && how->temperature <= 1e4f))
        return err_input(err, "--temperature must be 0 (greedy) or %g to 10000, found %g", (double)LEAST_TEMPERATURE,
            (double)how->temperature);
    if (!(how->top_p > 0 && how->top_p <= 1))
        return err_input(err, "--top-p must be above 0 and at most 1, found %g", (double)how->top_p);
    if ((uint64_t)how->max_new > UINT32_MAX || (uint64_t)how->samples + how->first_sample > UINT32_MAX || how->seed >> 63 ||
        how->iteration >> 24)
        return err_input(err, "seed, iteration, samples or max-new out of range: they are counters of the random generator"
            " (below 2^63, 2^24, 2^32, 2^32)");
    if (how->stop && !*how->stop) return err_input(err, "--stop must not be an empty string");
    if (how->stop && !tokenizer) return err_input(err, "--stop needs a tokenizer");
    if (how->stop && tokenizer->vocab < model->config.vocab)
        return err_input(err, "--stop needs a tokenizer that fits the model: it has %zu tokens, the model %zu", tokenizer->vocab,
            model->config.vocab);
    return 0;
}

static int check_prompts(const SamplePrompt *prompts, size_t count, const Model *model, const SampleOptions *how, Err *err)
{
    const ModelConfig *c = &model->config;
    for (size_t i = 0; i < count; i++) {
        const SamplePrompt *p = prompts + i;
        if (!p->length) return err_input(err, "the prompt of slot %u is empty: it needs at least one token", (unsigned)p->slot);
        if (p->length > c->context || how->max_new > c->context - p->length)
            return err_input(err, "the prompt of slot %u has %zu tokens: with --max-new %zu it does not fit the model's context of %zu",
                (unsigned)p->slot, p->length, how->max_new, c->context);
        for (size_t j = 0; j < p->length; j++)
            if (p->ids[j] >= c->vocab)
                return err_input(err, "the prompt of slot %u: token %zu is id %u, outside the model's vocabulary of %zu",
                    (unsigned)p->slot, j, (unsigned)p->ids[j], c->vocab);
    }
    return 0;
}

// Everything that the loop writes to, so that it allocates nothing.
static int allocate_slots(Sampler *s, size_t prefill_rows, Err *err)
{
    size_t vocab = s->model->config.vocab, at_once = LOGITS_FLOATS / vocab;
    s->logits_rows = at_once < 16 ? 16 : at_once;
    if (s->logits_rows > s->slots) s->logits_rows = s->slots;
    if (s->how->max_new >= WORTH_PACKING && room_pack(s->room, s->model, s->cx, err)) return -1;
    if (workspace_init(&s->ws, s->model, s->cx, prefill_rows > s->slots ? prefill_rows : s->slots, s->slots, false, err)) return -1;
    if (loss_scratch_init(&s->scratch, s->model, s->cx, s->slots, err)) return -1;
    size_t pages; // a slot's own at most: what a group shares is its first answer's
    if (!size_multiply(s->slots, s->pages_each, &pages)) return err_failed(err, "out of memory: too many pages of keys and values");
    if (room_pages(s->room, pages, model_page_floats(&s->model->config), err)) return -1;
    if (!(s->sequences = mem_new(err, s->slots, sizeof *s->sequences))) return -1;
    if (!(s->page_tables = mem_new(err, pages, sizeof *s->page_tables))) return -1;
    if (!(s->choices = mem_new(err, s->slots, sizeof *s->choices))) return -1;
    if (!(s->rows = mem_new(err, s->slots, sizeof *s->rows))) return -1;
    if (!(s->logits = mem_new(err, s->logits_rows, vocab * sizeof *s->logits))) return -1;
    if (s->model->config.value_head && !(s->values = mem_new(err, s->logits_rows, sizeof *s->values))) return -1;
    if (!(s->choosers = mem_new(err, s->cx->threads, sizeof *s->choosers))) return -1;
    for (size_t i = 0; i < s->cx->threads; i++)
        if (choice_scratch_init(s->choosers + i, vocab, err)) return -1;
    for (size_t i = 0; i < s->slots; i++) s->sequences[i].pages = s->page_tables + i * s->pages_each;
    return 0;
}

static int allocate_answers(Sampler *s, Err *err)
{
    for (size_t i = 0; i < s->count; i++) {
        Sampled *answer = s->answers + i;
        if (!(answer->ids = mem_new(err, s->how->max_new, sizeof *answer->ids))) return -1;
        if (!(answer->logprobs = mem_new(err, s->how->max_new, sizeof *answer->logprobs))) return -1;
        if (s->model->config.value_head && !(answer->values = mem_new(err, s->how->max_new, sizeof *answer->values))) return -1;
    }
    return 0;
}

static int sampler_init(Sampler *s, size_t prompts, Err *err)
{
    const SampleOptions *how = s->how;
    if (!size_multiply(prompts, how->samples, &s->count)) return err_failed(err, "out of memory: too many answers");
    size_t longest = 0, all = 0;
    for (size_t i = 0; i < prompts; i++) {
        if (s->prompts[i].length > longest) longest = s->prompts[i].length;
        all = all > PREFILL_ROWS ? all : all + s->prompts[i].length;
    }
    size_t prefill_rows = all < PREFILL_ROWS ? all : PREFILL_ROWS;
    s->slots = how->batch < s->count ? how->batch : s->count;
    // Small groups leave fewer slots idle while a group waits for room, large ones prefill a prompt less often.
    s->group = how->samples <= s->slots / 8 ? how->samples : s->count <= s->slots ? how->samples : s->slots / 8 ? s->slots / 8 : 1;
    s->pages_each = (longest + how->max_new - 1 + PAGE - 1) / PAGE; // the last token is never read
    if (allocate_answers(s, err)) return -1;
    if (how->stop && stop_init(&s->stop, how->stop, err)) return -1;
    return allocate_slots(s, longest > prefill_rows ? longest : prefill_rows, err);
}

static void sampler_free(Sampler *s)
{
    sample_room_empty(&s->own);
    workspace_free(&s->ws);
    loss_scratch_free(&s->scratch);
    for (size_t i = 0; s->choosers && i < s->cx->threads; i++) choice_scratch_free(s->choosers + i);
    void *blocks[] = {s->stop.border, s->sequences, s->page_tables, s->choices, s->rows, s->logits, s->values, s->choosers};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) mem_free(blocks[i]);
}

static int generate_all(Sampler *s, SampleProgress progress, void *self, Err *err)
{
    while (s->answers_done < s->count) {
        mem_guard_enter(); // nothing allocates while tokens are made
        int status = begin_answers(s, err);
        if (!status && s->live) status = continue_answers(s, err);
        mem_guard_leave();
        if (status) return -1;
        if (progress && progress(self, s->tokens_done, s->answers_done, s->count))
            return err_failed(err, "sampling was stopped after %zu of %zu answers", s->answers_done, s->count);
    }
    return 0;
}

int sample_generate(Sampled *answers, const Model *model, const Compute *cx, const Tokenizer *tokenizer,
    const SamplePrompt *prompts, size_t count, const SampleOptions *how, SampleProgress progress, void *self, Err *err)
{
    if (sample_check(how, model, tokenizer, err) || check_prompts(prompts, count, model, how, err)) return -1;
    if (!count) return 0;
    Sampler s = {.answers = answers, .model = model, .cx = cx, .tokenizer = tokenizer, .prompts = prompts, .how = how};
    s.room = how->room ? how->room : &s.own;
    fp_strict();
    int status = sampler_init(&s, count, err);
    if (!status) status = generate_all(&s, progress, self, err);
    if (status) sampled_free(answers, s.count);
    sampler_free(&s);
    return status ? -1 : 0;
}

void sampled_free(Sampled *answers, size_t count)
{
    for (size_t i = 0; answers && i < count; i++) {
        mem_free(answers[i].ids);
        mem_free(answers[i].logprobs);
        mem_free(answers[i].values);
        answers[i] = (Sampled){0};
    }
}
