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
 * Precedence, lowest first: the table's default, the command's defaults, the profile, the command line. A key may be given
 * for one stage of a pipeline only, "reward.lr = 1e-4": it wins over "lr" from the same place, and "--lr" on the command line
 * wins over both in a profile, so that nothing a user types is without effect. '-' and '_' are the same in a key. An unknown
 * option is an error that names the nearest known one; a value out of range names the range.
 *
 * A profile is a text file of lines "key = value"; '#' at the start of a line or after a blank opens a comment. A value in
 * double quotes keeps its blanks and '#', and knows \n, \t, \" and \\. Keys of other commands are allowed there: one
 * profile serves a whole pipeline. The table itself is base/options.c.
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
    bool json, quiet, force, resume;
    const char *repeat;
    size_t save_every;
    // texts
    const char *corpus, *test_corpus, *tokenizer, *prompts, *data, *jsonl, *prompt, *ids, *system, *template_file;
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
    const char *schedule, *init, *train_layers;
    size_t batch, epochs, micro_rows, max_steps;
    // sampling
    size_t samples, max_new, min_new, top_k, sample_batch, prompt_tokens;
    double temperature, top_p;
    const char *stop;
    // ranking and rewards
    TextList reward, expert;
    const char *gold, *mode;
    double accept, kl_beta, timeout;
    // alignment
    const char *algo, *reference, *replay_corpus;
    size_t iterations, iteration, stage_prompts, eval_prompts, eval_every, replay_tokens;
    double replay;
    bool explain;
    TextList stop_when;
    // measuring and comparing
    size_t best_of, seeds;
    TextList arm;
    // PPO
    double kl_coef, kl_target, kl_gain, gamma, lambda, ratio_clip, value_clip, vf_coef;
    // reward head
    const char *pooling, *pairs;
    size_t head_tokens, prefix_least, prefix_most;
    double prefix_share;
    // the experiment
    size_t prompt_characters, prompt_words, prompt_least;
    bool adapt;
    const char *heads_from;
    size_t held_out_tokens;
    // export
    const char *format, *dtype;
    // traces
    const char *batch_file, *map;
    size_t steps;
    double rtol, atol;
    bool hashes_only;
    // bench
    double seconds;
} Options;

// Which options a command takes: groups of the table. An option that a command does not take is an error, so a command
// names the narrow groups where it can.
enum {
    OPT_COMMON = 1 << 0, OPT_RUN = 1 << 1, OPT_TOKENIZER = 1 << 2, OPT_MODEL = 1 << 3, OPT_TRAIN = 1 << 4, OPT_SAMPLE = 1 << 5, OPT_RANK = 1 << 6,
    OPT_ALIGN = 1 << 7, OPT_HEAD = 1 << 8, OPT_TRACE = 1 << 9, OPT_PROMPT = 1 << 10,
    OPT_CORPUS = 1 << 11, OPT_PROMPTS = 1 << 12, OPT_DATA = 1 << 13, OPT_JSONL = 1 << 14, OPT_TOKENIZER_FILE = 1 << 15,
    OPT_TEXT = OPT_CORPUS | OPT_PROMPTS | OPT_DATA | OPT_JSONL | OPT_TOKENIZER_FILE, OPT_PPO = 1 << 16, OPT_EVAL = 1 << 17, OPT_PLAN = 1 << 18, OPT_EXPORT = 1 << 19,
    OPT_CHAT = 1 << 20, OPT_EXPERIMENT = 1 << 21, OPT_DIFF = 1 << 24, OPT_RECORD = 1 << 25, OPT_BENCH = 1 << 26, OPT_ALL = (1 << 27) - 1,
    // What an option is to a run's record; beside the groups in the table.
    OPT_ONCE = 1 << 29,   // concerns one invocation or machine: not recorded
    OPT_NEUTRAL = 1 << 30 // never changes a result (inputs are recorded by hash, wherever they lie)
};

typedef enum { FROM_DEFAULTS, FROM_PROFILE, FROM_COMMAND_LINE } SettingSource;
typedef struct OptionSpec OptionSpec; // a row of the table: base/options.h
typedef struct {
    const OptionSpec *option;
    SettingSource source;
    char *stage, *value;      // stage NULL: for all
} Assignment;
typedef struct {
    Assignment *assignments;  // in the order given
    size_t count, capacity;
    const char **words;       // what is not an option, in order
    size_t word_count;
    unsigned groups;
    const char *except;       // names of options of the groups that the command does not take, set by the caller; NULL: none
    int argc;                 // the command line as it was given
    char **argv;
} Settings;

// defaults: "lr=1e-4 epochs=2" of the command, or NULL. argv without the program and command names. "-o" is --output;
// "--" ends the options; "--name=value" and "--name value" are the same; a flag takes no value ("--json", or "--json=false").
// settings starts zeroed but for `except`; texts stay owned by argv and settings, which must outlive every Options resolved from it.
int settings_parse(Settings *settings, int argc, char **argv, unsigned groups, const char *defaults, Err *err);
// stage: "pretrain", or NULL; the name of what is no stage counts as NULL.
int settings_resolve(Options *options, const Settings *settings, const char *stage, Err *err);
void settings_free(Settings *settings);
// Resolved "key = value" lines in table order, a valid profile. Without a stage (or with the name of what is none, like
// "demo") the settings of single stages follow as "stage.key = value". What concerns one invocation or machine only (OPT_ONCE)
// and texts not given are left out.
int settings_write(Text *out, const Settings *settings, const char *stage, Err *err);
// The same one by one; key may hold a stage. A list is visited once an item.
typedef int (*SettingVisitor)(void *self, const char *key, const char *value, bool is_text, bool is_list, Err *err);
int settings_visit(const Settings *settings, const char *stage, SettingVisitor visit, void *self, Err *err);
unsigned setting_groups(const char *key); // OPT_*, in which the option stands; 0: there is none of that name
bool setting_is_neutral(const char *key); // "micro-rows", "pretrain.micro-rows": a run may be resumed with another value
bool settings_given(const Settings *settings, const char *key);  // by a profile or on the command line; "lr" or "pretrain.lr"
int options_help(Text *out, unsigned groups, const char *except, const char *defaults, Err *err); // name, default, unit or range, one line each
// FOLDER/NAME+SUFFIX here, else beside the program, else in the share folder of where it is installed; NAME itself when it holds a slash. Owned by the caller; not
// found: NULL, and an error that lists what there is.
char *find_data_file(const char *folder, const char *name, const char *suffix, Err *err);
size_t text_distance(const char *a, const char *b); // edits between two names: for "did you mean"

#endif
