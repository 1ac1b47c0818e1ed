// SPDX-License-Identifier: MIT
/* tokenizer.c - raft tokenizer train | encode | decode. The algorithm is in the top-level tokenizer.c. */
#include "tokenizer.h"

#include "commands/commands.h"
#include "commands/learning.h"
#include "files/unicode.h"

#include <stdio.h>
#include <string.h>

// ---- train -----------------------------------------------------------------------------------------------------------------

// Lines whatever the file is called, unlike --corpus, and nothing but "text" read in them.
static int read_lines(Corpus *corpus, const char *path, size_t limit, Err *err)
{
    JsonLines in;
    json_t *line;
    int got = 0, status = 0;
    if (jsonl_open(&in, path, err)) return -1;
    while (!status && (!limit || corpus->count < limit) && (got = jsonl_next(&in, &line, err)) == 1) {
        const char *text;
        size_t length;
        status = json_get_string(line, "text", &text, &length, in.where, err) ||
            corpus_add(corpus, in.where, text, length, LABEL_NONE, err);
        json_decref(line);
    }
    if (!status && got >= 0 && !corpus->count) status = err_input(err, "%s: holds no line with \"text\"", path);
    if (in.repaired) fprintf(stderr, "raft: %s: %zu invalid UTF-8 sequences replaced by U+FFFD\n", path, in.repaired);
    jsonl_close(&in);
    return status || got < 0 ? -1 : 0;
}

static int read_training_texts(Corpus *corpus, const Options *o, Err *err)
{
    if (!o->jsonl == !o->corpus)
        return err_input(err, "tokenizer train: give --jsonl FILE (lines with \"text\") or --corpus PATH, one of the two");
    return o->jsonl ? read_lines(corpus, o->jsonl, o->limit, err) : read_texts(corpus, o->corpus, o, err);
}

static int report_training(const Tokenizer *tk, size_t texts, size_t bytes, const Progress *clock, const Options *o, Err *err)
{
    char hash[17];
    hash_text(hash, tokenizer_hash(tk));
    if (tk->vocab < o->vocab)
        fprintf(stderr, "raft: the texts have pairs for a vocabulary of %zu only (--vocab %zu was asked for)\n", tk->vocab, o->vocab);
    if (o->json)
        return print_json(json_pack("{s:s,s:I,s:I,s:I,s:s,s:o}", "output", o->output, "vocab", (json_int_t)tk->vocab,
            "texts", (json_int_t)texts, "bytes", (json_int_t)bytes, "hash", hash, "seconds", json_float(progress_seconds(clock))), err);
    printf("%s: %zu tokens, from %zu texts of %.1f MB in %.1f s\n", o->output, tk->vocab, texts, (double)bytes / 1e6,
        progress_seconds(clock));
    return 0;
}

static int train(const Options *o, Err *err)
{
    Corpus corpus = {0};
    Tokenizer tk = {0};
    Progress clock;
    TextView *views = NULL;
    size_t bytes = 0;
    TokenizerTraining how = {.vocab = o->vocab, .special = o->special.items, .special_count = o->special.count,
        .split_digits = o->split_digits};
    if (!o->output) return err_input(err, "tokenizer train: -o FILE.json is missing");
    progress_start(&clock, "tokenizer", "text", 0, true);
    int status = check_output_file(o, err) || read_training_texts(&corpus, o, err) ? -1 : 0;
    if (!status && !(views = mem_new(err, corpus.count, sizeof *views))) status = -1;
    for (size_t i = 0; !status && i < corpus.count; bytes += corpus.items[i++].length)
        views[i] = (TextView){corpus.items[i].text, corpus.items[i].length};
    if (!status) status = tokenizer_train(&tk, views, corpus.count, &how, err);
    if (!status) status = tokenizer_save(&tk, o->output, err) || report_training(&tk, corpus.count, bytes, &clock, o, err);
    tokenizer_free(&tk);
    mem_free(views);
    corpus_free(&corpus);
    return status ? -1 : 0;
}

// ---- encode and decode -----------------------------------------------------------------------------------------------------

// Lines are encoded together, on all threads, so many at a time: memory stays bounded whatever the file's size.
enum { LINES_AT_ONCE = 4096 };

typedef struct {
    const Tokenizer *tk;
    JsonLines in;
    OsWriter out;          // unused when writing to standard output
    bool to_file, decode;
    json_t *lines[LINES_AT_ONCE];
    size_t count;
} Conversion;

static int write_bytes(Conversion *c, const Text *text, Err *err)
{
    if (c->to_file) return os_writer_write(&c->out, text->data, text->length, err);
    return fwrite(text->data, 1, text->length, stdout) == text->length ? 0 : err_failed(err, "cannot write to standard output");
}

static int write_line(Conversion *c, json_t *line, Err *err)
{
    Text text = {0};
    int status = json_write(&text, line, err) || text_puts(&text, err, "\n") || write_bytes(c, &text, err);
    text_free(&text);
    json_decref(line);
    return status ? -1 : 0;
}

// Checks a line where its number is known and keeps it: {"text"} or {"ids"}.
static int take_line(Conversion *c, json_t *line, Err *err)
{
    const char *text;
    size_t length;
    TokenList ids = {0};
    c->lines[c->count++] = line;
    if (!c->decode) return json_get_string(line, "text", &text, &length, c->in.where, err);
    int status = json_get_tokens(line, "ids", &ids, c->in.where, err);
    for (size_t i = 0; !status && i < ids.length; i++)
        if (ids.ids[i] >= c->tk->vocab)
            status = err_input(err, "%s: id %u is outside the vocabulary of %zu tokens", c->in.where, (unsigned)ids.ids[i], c->tk->vocab);
    tokens_free(&ids);
    return status;
}

static int encode_lines(Conversion *c, Err *err)
{
    TextView *views = mem_new(err, c->count, sizeof *views);
    TokenList *lists = mem_new(err, c->count, sizeof *lists);
    int status = views && lists ? 0 : -1;
    for (size_t i = 0; !status && i < c->count; i++) {
        json_t *text = json_object_get(c->lines[i], "text");
        views[i] = (TextView){json_string_value(text), json_string_length(text)};
    }
    if (!status && tokenizer_encode_all(c->tk, lists, views, c->count, err)) status = err_prefix(err, "%s", c->in.path);
    for (size_t i = 0; !status && i < c->count; i++)
        status = write_line(c, json_pack("{s:O,s:o}", "text", json_object_get(c->lines[i], "text"),
            "ids", json_ids(lists[i].ids, lists[i].length)), err);
    for (size_t i = 0; lists && i < c->count; i++) tokens_free(&lists[i]);
    mem_free(lists);
    mem_free(views);
    return status;
}

static int decode_line(Conversion *c, const json_t *line, Err *err)
{
    TokenList ids = {0};
    Text raw = {0}, text = {0};
    size_t repaired = 0;
    int status = json_get_tokens(line, "ids", &ids, c->in.path, err) || tokenizer_decode(c->tk, &raw, ids.ids, ids.length, err) ||
        utf8_repair(&text, raw.data ? raw.data : "", raw.length, &repaired, err);
    if (!status)
        status = write_line(c, json_pack("{s:O,s:o}", "ids", json_object_get(line, "ids"),
            "text", json_stringn(text.data ? text.data : "", text.length)), err);
    text_free(&raw);
    text_free(&text);
    tokens_free(&ids);
    return status ? -1 : 0;
}

static int convert_lines(Conversion *c, Err *err)
{
    int got = 1, status = 0;
    while (!status && got == 1) {
        json_t *line;
        while (!status && c->count < LINES_AT_ONCE && (got = jsonl_next(&c->in, &line, err)) == 1) status = take_line(c, line, err);
        if (got < 0) status = -1;
        if (!status && c->count && !c->decode) status = encode_lines(c, err);
        for (size_t i = 0; !status && c->decode && i < c->count; i++) status = decode_line(c, c->lines[i], err);
        while (c->count) json_decref(c->lines[--c->count]);
    }
    if (!status && c->in.repaired)
        fprintf(stderr, "raft: %s: %zu invalid UTF-8 sequences replaced by U+FFFD\n", c->in.path, c->in.repaired);
    return status;
}

static int convert(const Options *o, bool decode, Err *err)
{
    const char *what = decode ? "decode" : "encode";
    if (!o->tokenizer) return err_input(err, "tokenizer %s: --tokenizer FILE.json is missing", what);
    if (!o->jsonl) return err_input(err, "tokenizer %s: --jsonl FILE is missing (lines with \"%s\")", what, decode ? "ids" : "text");
    bool to_file = o->output && strcmp(o->output, "-");
    if (to_file && check_output_file(o, err)) return -1;
    Tokenizer tk = {0};
    Conversion *c = mem_new(err, 1, sizeof *c);
    int status = c ? tokenizer_load(&tk, o->tokenizer, err) : -1;
    if (!status && !(status = jsonl_open(&c->in, o->jsonl, err))) {
        c->tk = &tk;
        c->decode = decode;
        c->to_file = to_file;
        if (c->to_file) status = os_writer_open(&c->out, o->output, err);
        if (!status) status = convert_lines(c, err);
        if (!status && c->to_file) status = os_writer_commit(&c->out, err);
        os_writer_discard(&c->out);
        jsonl_close(&c->in);
    }
    tokenizer_free(&tk);
    mem_free(c);
    return status;
}

static int run(CommandContext *cx, Err *err)
{
    const char *what = cx->word_count ? cx->words[0] : "";
    if (cx->word_count > 1) return err_input(err, "tokenizer %s: unexpected \"%s\"; files are named by options", what, cx->words[1]);
    if (!strcmp(what, "train")) return train(&cx->options, err);
    if (!strcmp(what, "encode") || !strcmp(what, "decode")) return convert(&cx->options, *what == 'd', err);
    return err_input(err, "tokenizer: expected \"train\", \"encode\" or \"decode\", found \"%s\"", what);
}

const Command command_tokenizer = {
    .name = "tokenizer",
    .operands = "train|encode|decode",
    .summary = "train a byte-level BPE tokenizer; text to token ids and back",
    .groups = OPT_COMMON | OPT_CORPUS | OPT_JSONL | OPT_TOKENIZER | OPT_TOKENIZER_FILE,
    .help = "tokenizer train --vocab N --special TOKEN --jsonl IN.jsonl -o FILE.json learns merges from lines with \"text\" (or --corpus PATH).\n"
            "tokenizer encode --tokenizer FILE.json --jsonl IN.jsonl writes lines {\"text\",\"ids\"} to standard output, or to -o FILE.\n"
            "tokenizer decode --tokenizer FILE.json --jsonl IN.jsonl reads lines with \"ids\" and writes {\"ids\",\"text\"}; bytes that are no\n"
            "UTF-8 appear as U+FFFD.",
    .needs_compute = true, // for --threads
    .run = run,
};
