// SPDX-License-Identifier: MIT
/* run.h - a run directory: settings, provenance, metrics, candidates, checkpoints; each file whole or absent.
 *
 *     Run run;
 *     if (run_open(&run, "runs/x", "align", &settings, &options, &cx, &err)) return -1;   // settings.conf, provenance.json
 *     run_metrics(&run, json_pack("{s:i}", "iteration", 0), &err);               // a line of metrics.jsonl
 *     run_timing(&run, "collect", seconds, tokens, &err);                         // a line of timing.jsonl
 *     char *path = run_path(&run, "iter_000/candidates.jsonl", &err);             // folders made
 *     run_close(&run);
 *
 * Layout: docs/DESIGN.md section 6. metrics.jsonl and candidates are the same bytes on every machine; what differs by machine
 * (CPU, instruction set, compiler, times, threads) is in provenance.json and timing.jsonl only.
 */
#ifndef RAFT_STUDY_RUN_H
#define RAFT_STUDY_RUN_H

#include "base/config.h"
#include "files/jsonl.h"
#include "kernels/kernels.h"

typedef struct {
    char *folder;
    Text metrics, timing;   // the files' contents so far: each line rewrites the file whole, atomically
    json_t *provenance;
} Run;

// Makes the folder; one that already holds a run or a checkpoint is an error (status 2) unless --force or --resume: then its settings,
// provenance, metrics, timing and iter_* files are removed first, and a checkpoint in it is replaced when the new one is saved.
int run_open(Run *run, const char *folder, const char *command, const Settings *settings, const Options *options,
    const Compute *cx, Err *err);
int run_record(Run *run, const char *key, json_t *value, Err *err);  // into provenance.json; steals value
int run_record_hash(Run *run, const char *key, uint64_t hash, Err *err); // as 16 hexadecimal digits
int run_record_file(Run *run, const char *key, const char *path, Err *err);      // the hash of a file's bytes
int run_metrics(Run *run, json_t *line, Err *err);                   // steals line
int run_timing(Run *run, const char *stage, double seconds, size_t tokens, Err *err);
char *run_path(const Run *run, const char *name, Err *err);          // owned by the caller; parent folders exist afterwards
void run_close(Run *run);                                            // safe on a zeroed run

#endif
