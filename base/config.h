// SPDX-License-Identifier: MIT
/* config.h - one table of options: command line, profiles, help and the record in a run all come from it.
 *
 *     Settings settings = {0};
 *     Options options;
 *     if (settings_parse(&settings, argc, argv, OPT_MODEL | OPT_TRAIN, NULL, &err)) return -1;    // --lr 1e-3 --profile imdb-scratch x.txt
 *     if (settings_resolve(&options, &settings, "pretrain", &err)) return -1;               // pretrain.lr wins over lr
 *     options.lr; settings.words[0]
 *     settings_free(&settings);
 *
 * Precedence, lowest first: the table's default, the command's defaults, the profile (profiles/NAME.conf, lines
 * "key = value"), the command line. A key may be given for one stage of a pipeline only: "reward.lr = 1e-4". An unknown
 * option is an error that names the nearest known one; a value out of range names the range.
 */
#ifndef RAFT_BASE_CONFIG_H
#define RAFT_BASE_CONFIG_H

#include "base/util.h"

enum { LIST_MAX = 16 };
typedef struct { const char *items[LIST_MAX]; size_t count; } TextList; // given by repeating the option

typedef struct {
    // every command
    const char *profile, *isa, *matmul, *output;
    size_t threads;
    uint64_t seed;
    bool json, quiet, force;
    // texts
    const char *corpus, *test_corpus, *tokenizer, *prompts, *data, *jsonl, *prompt, *ids;
    size_t corpus_size, limit;
    // tokenizer train
    size_t vocab;
    TextList special;
    bool split_digits;
    // model
    size_t dim, layers, heads, kv_heads, ff, context;
    bool untied;
    double rope_theta, rms_eps;
    // training
    double lr, beta1, beta2, eps, weight_decay, clip, warmup, final_lr;
    bool decay_all;
    const char *schedule, *init;
    size_t batch, epochs, micro_rows, max_steps;
    // sampling
    size_t samples, max_new, top_k, sample_batch, prompt_tokens;
    double temperature, top_p;
    const char *stop;
    // ranking and rewards
    TextList reward, expert;
    const char *gold, *mode;
    double accept, kl_beta, timeout;
    // alignment
    const char *algo, *reference;
    size_t iterations, iteration, stage_prompts, eval_prompts;
    bool explain;
    // reward head
    const char *pooling, *pairs;
    size_t head_tokens, prefix_least;
    double prefix_share;
    // traces
    const char *batch_file;
    size_t steps;
} Options;

// Which options a command takes: groups of the table.
enum {
    OPT_COMMON = 1 << 0, OPT_TEXT = 1 << 1, OPT_TOKENIZER = 1 << 2, OPT_MODEL = 1 << 3, OPT_TRAIN = 1 << 4, OPT_SAMPLE = 1 << 5,
    OPT_RANK = 1 << 6, OPT_ALIGN = 1 << 7, OPT_HEAD = 1 << 8, OPT_TRACE = 1 << 9, OPT_ALL = (1 << 10) - 1
};

typedef struct { char *stage, *key, *value, *where; } Assignment; // where: "--lr" or "profiles/x.conf:12"
typedef struct {
    Assignment *assignments;  // in order of precedence, later wins (lists: appended; a command line list replaces a profile's)
    size_t count, capacity, command_line_from;
    const char **words;       // what is not an option, in order
    size_t word_count;
    unsigned groups;
} Settings;

// defaults: "lr=1e-4 epochs=2" of the command, or NULL. argv without the program and command names. "-o" is --output;
// "--" ends the options; "--name=value" and "--name value" are the same; a flag takes no value ("--json").
int settings_parse(Settings *settings, int argc, char **argv, unsigned groups, const char *defaults, Err *err);
int settings_resolve(Options *options, const Settings *settings, const char *stage /* NULL: none */, Err *err);
void settings_free(Settings *settings);
int settings_write(Text *out, const Settings *settings, const char *stage, Err *err); // resolved, "key = value" lines in table order
bool settings_given(const Settings *settings, const char *key);  // by a profile or on the command line
int options_help(Text *out, unsigned groups, const char *defaults, Err *err); // name, default, unit or range, one line each
// profiles/NAME.conf, NAME itself when it holds a slash, or the installed share folder; also finds data/FILE the same way.
char *find_data_file(const char *folder, const char *name, const char *suffix, Err *err);

#endif
