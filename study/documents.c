// SPDX-License-Identifier: MIT
/* documents.c - from texts to the examples a language model learns from. Knows corpus and tokenizer, not models. */
#include "study/documents.h"

static size_t pieces_of(size_t length, size_t context) { return length < 2 ? 0 : (length - 1 + context - 1) / context; }

// Examples of at most context + 1 tokens: the last one is only predicted, so a pass reads no more than the context.
static int cut_examples(Documents *docs, size_t context, Err *err)
{
    size_t count = 0;
    for (size_t i = 0; i < docs->text_count; i++) count += pieces_of(docs->texts[i].length, context);
    if (!(docs->examples = mem_new(err, count, sizeof *docs->examples))) return -1;
    for (size_t i = 0; i < docs->text_count; i++) {
        const TokenList *text = docs->texts + i;
        for (size_t from = 0; from + 1 < text->length; from += context) {
            size_t length = text->length - from < context + 1 ? text->length - from : context + 1;
            docs->examples[docs->count++] = (Example){.ids = text->ids + from, .length = length};
        }
        docs->tokens += text->length;
    }
    return 0;
}

int documents_encode(Documents *docs, const Corpus *corpus, const uint32_t *order, size_t n, const Tokenizer *tk, int64_t eos, size_t context, Err *err)
{
    *docs = (Documents){0};
    docs->texts = mem_new(err, n, sizeof *docs->texts);
    TextView *views = docs->texts ? mem_new(err, n, sizeof *views) : NULL;
    int status = views ? 0 : -1;
    if (views) docs->text_count = n;
    for (size_t i = 0; views && i < n; i++) {
        const CorpusItem *item = corpus->items + (order ? order[i] : i);
        views[i] = (TextView){item->text, item->length};
    }
    if (!status) status = tokenizer_encode_all(tk, docs->texts, views, n, err);
    for (size_t i = 0; !status && eos >= 0 && i < n; i++) status = tokens_add(docs->texts + i, err, (uint32_t)eos);
    if (!status) status = cut_examples(docs, context, err);
    mem_free(views);
    if (status) documents_free(docs);
    return status;
}

int documents_cut(Documents *docs, size_t most, size_t context, Err *err)
{
    for (size_t i = 0; i < docs->text_count; i++)
        if (docs->texts[i].length > most) docs->texts[i].length = most;
    mem_free(docs->examples);
    docs->examples = NULL;
    docs->count = docs->tokens = 0;
    return cut_examples(docs, context, err);
}

int documents_beginnings(Documents *docs, const Corpus *corpus, const Tokenizer *tk, int64_t eos, size_t most, size_t context, Err *err)
{
    *docs = (Documents){0};
    if (most > context) return err_input(err, "beginnings of %zu tokens do not fit the model's context of %zu", most, context);
    return documents_encode(docs, corpus, NULL, corpus->count, tk, eos, context, err) || documents_cut(docs, most, context, err) ? -1 : 0;
}

void documents_free(Documents *docs)
{
    for (size_t i = 0; i < docs->text_count; i++) tokens_free(docs->texts + i);
    mem_free(docs->texts);
    mem_free(docs->examples);
    *docs = (Documents){0};
}
