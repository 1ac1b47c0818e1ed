// SPDX-License-Identifier: MIT
/* support_cli.h - running the program as a user types it, in a folder of the test's own.
 *
 *     expect(raft("pretrain --corpus @/texts.jsonl -o @/lm %s", CLI_TINY), 0, "parameters");   // "@" is the folder
 *     json_t *told = raft_json("info @/lm");                                                   // its standard output
 *     cli_assert_same_file("lm/metrics.jsonl", "on/metrics.jsonl");
 */
#ifndef RAFT_TESTS_SUPPORT_CLI_H
#define RAFT_TESTS_SUPPORT_CLI_H

#include "tests/support.h"

#include <jansson.h>

extern char *cli_folder; // of the whole group
extern Text cli_output;  // of the last command: standard output and standard error as they come

int cli_make_folder(void **state);   // group fixtures
int cli_remove_folder(void **state);
int raft(const char *format, ...) PRINTF_LIKE(1, 2); // the exit status
void expect(int status, int wanted, const char *fragment); // the last command's, and a part of what it said
json_t *raft_json(const char *arguments);  // must succeed; with --json, one object; standard error goes to the file "err"
char *cli_standard_error(void);            // of the last raft_json
char *cli_path(const char *name);
bool cli_have(const char *name);
bool cli_same_file(const char *a, const char *b);
void cli_assert_same_file(const char *a, const char *b);
void cli_put(const char *name, const char *text);
double json_figure(const json_t *object, const char *key, const char *inner /* NULL: none */); // must be a number

// texts.jsonl, tok.json, pairs.jsonl and the language model lm, as small as they can be.
#define CLI_TINY "--dim 16 --layers 1 --heads 2 --ff 24 --context 32 --batch 4 --max-steps 3"
int cli_make_model(void **state);

#endif
