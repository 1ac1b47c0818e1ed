// SPDX-License-Identifier: MIT
/* bench_text.c - speed of the tokenizer, and of starting the program: `raft help`, and a checkpoint's first answered token. */
#include "study/bench-internal.h"

#include <assert.h>
#include <stdio.h>

#include "base/os.h"
#include "files/checkpoint.h"

// ---- tokenizer ---------------------------------------------------------------------------------------------------------------

typedef struct { const Tokenizer *tokenizer; const TextView *texts; TokenList *lists; size_t count; } Encoding;

static int encode_once(void *self, Err *err)
{
    Encoding *e = self;
    for (size_t i = 0; i < e->count; i++) e->lists[i].length = 0;
    return tokenizer_encode_all(e->tokenizer, e->lists, e->texts, e->count, err);
}

int bench_tokenizer(TokenizerPoint *point, const Bench *bench, const TextView *texts, size_t count, size_t vocab, Err *err)
{
    static const char *const special[] = {"<|endoftext|>"};
    TokenizerTraining how = {.vocab = vocab, .special = special, .special_count = 1};
    Tokenizer tk;
    double bytes = 0, start = os_now_s();
    for (size_t i = 0; i < count; i++) bytes += (double)texts[i].length;
    if (tokenizer_train(&tk, texts, count, &how, err)) return -1;
    *point = (TokenizerPoint){.megabytes = bytes * 1e-6, .train_s = os_now_s() - start};
    Encoding e = {&tk, texts, mem_new(err, count, sizeof(TokenList)), count};
    BenchContender c = {.work = encode_once, .self = &e};
    int status = e.lists ? bench_turns(&c, 1, bench, err) : -1;
    point->encode_mb_per_s = c.rate * bytes * 1e-6;
    for (size_t i = 0; e.lists && i < count; i++) tokens_free(e.lists + i);
    mem_free(e.lists);
    tokenizer_free(&tk);
    return status;
}

// ---- start-up ----------------------------------------------------------------------------------------------------------------

// Seconds from starting the program to the first line that it prints.
static int time_first_line(double *seconds, const char *program, const char *arguments, Err *err)
{
    Text command = {0}, line = {0};
    OsChild *child = NULL;
    int got = text_printf(&command, err, "exec '%s' %s", program, arguments);
    double start = os_now_s();
    if (!got) got = (child = os_child_start(command.data, err)) ? os_child_read_line(child, &line, 600, err) : -1;
    *seconds = os_now_s() - start;
    Err ignored = {0};
    if (child) os_child_stop(child, 10, &ignored);
    text_free(&command);
    text_free(&line);
    return got < 0 ? -1 : got ? 0 : err_failed(err, "raft %s printed nothing", arguments);
}

static int median_first_line(double *seconds, const char *program, const char *arguments, Err *err)
{
    enum { TIMES = 7 };
    double all[TIMES];
    for (size_t i = 0; i < TIMES; i++)
        if (time_first_line(all + i, program, arguments, err)) return -1;
    *seconds = bench_median(all, TIMES);
    return 0;
}

static int save_checkpoint(const char *folder, const BenchModel *which, uint64_t seed, Err *err)
{
    Model model;
    if (bench_model_init(&model, which, seed, err)) return -1;
    int status = checkpoint_save(folder, &model, NULL, err);
    model_free(&model);
    return status;
}

static void remove_checkpoint(const char *folder)
{
    static const char *const files[] = {"config.json", "model.safetensors"};
    Err ignored = {0};
    for (size_t i = 0; i < 2; i++) {
        char *path = os_join(&ignored, folder, files[i]);
        if (path) remove(path);
        mem_free(path);
    }
    remove(folder); // an empty folder, where the system removes folders so
}

int bench_load(LoadPoint *point, const Bench *bench, const BenchModel *which, const char *folder, Err *err)
{
    Text arguments = {0};
    *point = (LoadPoint){0};
    if (os_is_folder(folder) || os_is_file(folder)) return err_input(err, "%s: exists already (a checkpoint is written there and removed)", folder);
    assert(bench->program);
    int status = save_checkpoint(folder, which, bench->seed, err);
    if (!status) status = text_printf(&arguments, err, "generate '%s' --ids 1,2,3,4,5,6,7,8,9,10,11,12 --max-new 1 --temperature 0 --threads %zu",
        folder, bench->cx->threads);
    compute_rest(bench->cx);
    if (!status) status = median_first_line(&point->first_token_s, bench->program, arguments.data, err);
    if (!status) status = median_first_line(&point->help_s, bench->program, "help", err);
    remove_checkpoint(folder);
    text_free(&arguments);
    return status;
}
