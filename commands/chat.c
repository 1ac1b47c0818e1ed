// SPDX-License-Identifier: MIT
/* chat.c - raft chat: a conversation with a checkpoint, a line a turn. Start at run, then converse and take_turn. */
#include "commands/commands.h"
#include "commands/policies.h"
#include "study/streaming.h"
#include "files/chat.h"
#include "files/checkpoint.h"
#include "files/unicode.h"
#include "session.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    Model model;
    Tokenizer tokenizer;
    Chat chat;
    Session session;
    SampleOptions how;
    json_t *messages;
    size_t system;      // messages that are never dropped: 1 with --system
    TextStream stream;
    bool terminal;      // someone types
} Conversation;

static int open_conversation(Conversation *c, const CommandContext *cx, Err *err)
{
    const Options *o = &cx->options;
    const char *folder = cx->words[0];
    if (checkpoint_load(&c->model, folder, err) || checkpoint_load_tokenizer(&c->tokenizer, folder, &c->model.config, err)
        || chat_open(&c->chat, folder, o->template_file, &c->tokenizer, &c->model.config, err))
        return -1;
    c->how = sample_options(o, &c->model.config);
    if (o->samples != 1) return err_input(err, "chat: --samples must be 1");
    if (o->stop) return err_input(err, "chat: the template's own token ends an answer; --stop is not supported");
    if (o->top_k > c->model.config.vocab) return err_input(err, "--top-k %zu: the vocabulary has %zu tokens", o->top_k, c->model.config.vocab);
    c->terminal = os_is_terminal(stdin);
    return session_init(&c->session, &c->model, &cx->compute, err);
}

static void close_conversation(Conversation *c)
{
    json_decref(c->messages);
    session_free(&c->session);
    chat_free(&c->chat);
    tokenizer_free(&c->tokenizer);
    model_free(&c->model);
}

static int add_message(Conversation *c, const char *role, const char *text, size_t length, Err *err)
{
    json_t *message = json_pack("{s:s,s:o}", "role", role, "content", json_stringn(text, length));
    if (!message || json_array_append_new(c->messages, message)) return err_failed(err, "out of memory for the conversation");
    return 0;
}

// The oldest user's message with its answer.
static void drop_oldest_turn(Conversation *c)
{
    json_array_remove(c->messages, c->system);
    json_array_remove(c->messages, c->system);
}

// The conversation as ids. When it leaves no room for an answer, whole turns go, from the oldest on; said on standard error.
static int fit_prompt(Conversation *c, TokenList *ids, Err *err)
{
    size_t context = c->model.config.context, dropped = 0;
    for (;;) {
        ids->length = 0;
        if (chat_encode(&c->chat, ids, c->messages, err)) return -1;
        bool last = json_array_size(c->messages) <= c->system + 1;
        if (ids->length < context && (last || c->how.max_new <= context - ids->length)) break;
        if (last) return err_input(err, "this message takes %zu tokens, but the model's context holds %zu", ids->length, context);
        drop_oldest_turn(c);
        dropped++;
    }
    if (dropped)
        fprintf(stderr, "raft: the context of %zu tokens is full: forgot the %zu oldest turn%s\n", context, dropped, dropped > 1 ? "s" : "");
    return 0;
}

static int print_token(void *conversation, uint32_t token, Err *err)
{
    return stream_token(&((Conversation *)conversation)->stream, token, err);
}

static int answer(Conversation *c, Err *err)
{
    TokenList ids = {0}, reply = {0};
    Text text = {0};
    int status = fit_prompt(c, &ids, err);
    if (!status) {
        stream_start(&c->stream, stdout, &c->tokenizer, NULL, false);
        status = session_answer(&c->session, &reply, ids.ids, ids.length, &c->how, c->chat.ends, c->chat.end_count, print_token, c, err);
        if (stream_end(&c->stream, err)) status = -1;
        putchar('\n');
    }
    if (!status) status = sample_text(&text, &c->tokenizer, reply.ids, reply.length, NULL, err);
    bool ended = reply.length && c->tokenizer.special[reply.ids[reply.length - 1]];
    if (!status && !ended) fputs("raft: the answer was cut (--max-new, or the context's end)\n", stderr);
    if (!status) status = add_message(c, "assistant", text.data ? text.data : "", text.length, err);
    tokens_free(&ids);
    tokens_free(&reply);
    text_free(&text);
    return status;
}

static int take_turn(Conversation *c, const char *line, size_t length, Err *err)
{
    Text clean = {0};
    size_t repaired = 0;
    if (utf8_repair(&clean, line, length, &repaired, err)) return -1;
    int64_t forged = chat_forged(&c->chat, clean.data, clean.length);
    int status = 0;
    if (forged >= 0)
        fprintf(stderr, "raft: not said: the line spells the control token %.*s\n", (int)c->tokenizer.tokens[forged].length,
            c->tokenizer.tokens[forged].bytes);
    else if (clean.length)
        status = add_message(c, "user", clean.data, clean.length, err) || answer(c, err) ? -1 : 0;
    text_free(&clean);
    return status;
}

// One line without its end; 0 at the end of input, -1 on error.
static int read_line(Text *line, Err *err)
{
    int byte;
    line->length = 0;
    while ((byte = getchar()) != EOF && byte != '\n') {
        char c = (char)byte;
        if (c != '\r' && c && text_add(line, err, &c, 1)) return -1;
    }
    if (ferror(stdin)) return err_failed(err, "cannot read standard input");
    return byte != EOF || line->length;
}

static int converse(Conversation *c, const Options *o, Err *err)
{
    Text line = {0};
    int got = 1, status = 0;
    if (!(c->messages = json_array())) return err_failed(err, "out of memory for the conversation");
    if (o->system) status = add_message(c, "system", o->system, strlen(o->system), err);
    c->system = o->system ? 1 : 0;
    while (!status && got == 1) {
        if (c->terminal) fputs("> ", stdout), fflush(stdout);
        got = read_line(&line, err);
        if (got == 1) status = take_turn(c, line.data ? line.data : "", line.length, err);
    }
    if (c->terminal && !status && !got) putchar('\n');
    text_free(&line);
    return status || got < 0 ? -1 : 0;
}

static int run(CommandContext *cx, Err *err)
{
    Conversation c = {0};
    if (cx->word_count != 1) return err_input(err, "chat: expected one checkpoint folder, found %zu", cx->word_count);
    int status = open_conversation(&c, cx, err) || converse(&c, &cx->options, err) ? -1 : 0;
    close_conversation(&c);
    return status;
}

const Command command_chat = {
    .name = "chat",
    .operands = "CKPT",
    .summary = "a conversation with the checkpoint's chat template, a line a turn",
    .groups = OPT_COMMON | OPT_CHAT | OPT_SAMPLE,
    .except = "min-new",
    .defaults = "samples=1 max-new=256 temperature=0.7 top-p=0.95",
    .help = "Each line of standard input is a message; the end of input (Ctrl-D) ends the conversation. --temperature 0 takes the likeliest\n"
            "token each time. When the context is full, the oldest turns are forgotten, which is said on standard error. A checkpoint\n"
            "without a chat template needs --template FILE (docs/MODELS.md says what templates may hold).",
    .needs_compute = true,
    .run = run,
};
