// SPDX-License-Identifier: MIT
/* options.h - a row of the table of options. To add an option: a field in Options (config.h) and a row in options.c.
 *
 *     for (const OptionSpec *o = option_table; o->name; o++) printf("--%s %s\n", o->name, o->fallback ? o->fallback : "");
 */
#ifndef RAFT_BASE_OPTIONS_H
#define RAFT_BASE_OPTIONS_H

#include "base/config.h"

typedef enum {
    OPTION_FLAG,   // bool
    OPTION_SIZE,   // size_t
    OPTION_SEED,   // uint64_t below 2^63
    OPTION_NUMBER, // double, finite
    OPTION_TEXT,   // const char *
    OPTION_CHOICE, // const char *, one of "a|b|c" in `unit`
    OPTION_LIST    // TextList
} OptionType;

struct OptionSpec {
    const char *name;     // canonical, with '-'
    OptionType type;
    unsigned groups;      // the commands that take it: any of these groups
    size_t offset;        // of the field in Options
    const char *fallback; // the default, read like a given value; NULL: not given, a flag: off
    double least, most;   // of a size or number; above OPTION_NO_LIMIT: none
    const char *unit;     // what the value is, for help: "tokens", "PATH"
    const char *help;
};

#define OPTION_NO_LIMIT 4294967295.0             // and the largest size: fits a 32-bit size_t
#define OPTION_ABOVE_0 2.2250738585072014e-308   // as `least`: 0 is excluded

extern const OptionSpec option_table[]; // ends with a NULL name
extern const char *const stage_table[]; // names a key may be given for ("pretrain.lr"); NULL-terminated

#endif
