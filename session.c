// SPDX-License-Identifier: MIT
/* session.c - one growing sequence: reads what is new of a prompt, then chooses and reads token after token. Batches, groups and stop
 * strings are sample.c's. Start at session_answer. */
#include "session.h"

#include "kernels/strict.h"

#include <string.h>

enum { ROWS = 256 }; // prompt tokens in one pass

int session_init(Session *s, const Model *model, const Compute *cx, Err *err)
{
    *s = (Session){.model = model, .cx = cx};
    if (model->config.head != HEAD_LM) return err_input(err, "a reward model gives no answers; expected a language model");
    size_t rows = model->config.context < ROWS ? model->config.context : ROWS;
    fp_strict();
    if (packed_init(&s->packed, model, cx, err) || workspace_init(&s->ws, model, cx, rows, 1, false, err)
        || loss_scratch_init(&s->scratch, model, cx, 1, err) || choice_scratch_init(&s->chooser, model->config.vocab, err)
        || !(s->logits = mem_new(err, model->config.vocab, sizeof *s->logits))
        || !(s->pages = mem_new(err, (model->config.context + PAGE - 1) / PAGE, sizeof *s->pages))) {
        session_free(s);
        return -1;
    }
    packed_update(&s->packed, model, cx);
    return 0;
}

void session_free(Session *s)
{
    for (size_t i = 0; i < s->page_count; i++) mem_free(s->pages[i]);
    mem_free(s->pages);
    mem_free(s->logits);
    tokens_free(&s->cached);
    choice_scratch_free(&s->chooser);
    loss_scratch_free(&s->scratch);
    workspace_free(&s->ws);
    packed_free(&s->packed);
    *s = (Session){0};
}

// Reads n <= ws.max_rows tokens behind the cached ones.
static int read_tokens(Session *s, const uint32_t *ids, size_t n, Err *err)
{
    size_t past = s->cached.length;
    for (; s->page_count * PAGE < past + n; s->page_count++)
        if (!(s->pages[s->page_count] = mem_new(err, model_page_floats(&s->model->config), sizeof(float)))) return -1;
    if (tokens_append(&s->cached, err, ids, n)) return -1;
    batch_clear(&s->ws);
    batch_continue(&s->ws, ids, n, past, s->pages);
    model_forward(s->model, &s->packed, &s->ws);
    return 0;
}

// From where this prompt differs from what is cached; the last token is read always, because its row decides the next one.
static int read_prompt(Session *s, const uint32_t *prompt, size_t length, Err *err)
{
    size_t same = 0;
    while (same < s->cached.length && same + 1 < length && s->cached.ids[same] == prompt[same]) same++;
    s->cached.length = same;
    for (size_t n; same < length; same += n) {
        n = length - same < s->ws.max_rows ? length - same : s->ws.max_rows;
        if (read_tokens(s, prompt + same, n, err)) return -1;
    }
    return 0;
}

static int choose(Session *s, uint32_t *token, size_t step, const SampleOptions *how, Err *err)
{
    uint32_t last = (uint32_t)(s->ws.rows - 1), words[4];
    size_t vocab = s->model->config.vocab;
    lm_logits(s->model, &s->packed, &s->ws, &s->scratch, s->logits, &last, 1);
    if (!s->cx->k->all_finite(s->logits, vocab)) return err_failed(err, "token %zu of the answer: a logit is NaN or infinite", step);
    philox_draw(words, how->seed, (PhiloxCounter){.c0 = (uint32_t)step, .c2 = s->slot, .c3 = philox_stream(how->stream, how->iteration)});
    *token = sample_choose(s->cx->k, s->logits, vocab, how, philox_uniform(words[0]), &s->chooser);
    return 0;
}

static bool is_end(uint32_t token, const uint32_t *ends, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ends[i] == token) return true;
    return false;
}

int session_answer(Session *s, TokenList *answer, const uint32_t *prompt, size_t length, const SampleOptions *how, const uint32_t *ends,
    size_t end_count, SessionToken each, void *self, Err *err)
{
    size_t context = s->model->config.context;
    if (!length || length >= context)
        return err_input(err, "a prompt of %zu tokens: expected 1 to %zu, one less than the model's context", length, context - 1);
    for (size_t i = 0; i < length; i++)
        if (prompt[i] >= s->model->config.vocab)
            return err_input(err, "token %zu is id %u, outside the model's vocabulary of %zu", i, (unsigned)prompt[i], s->model->config.vocab);
    fp_strict();
    if (read_prompt(s, prompt, length, err)) return -1;
    for (size_t step = 0;; step++) {
        uint32_t token;
        if (choose(s, &token, step, how, err) || tokens_add(answer, err, token)) return -1;
        if (each && each(self, token, err)) return -1;
        if (is_end(token, ends, end_count) || step + 1 == how->max_new || s->cached.length + 1 == context) break;
        if (read_tokens(s, &token, 1, err)) return -1;
    }
    s->slot++;
    return 0;
}
