// SPDX-License-Identifier: MIT
/* run.h - a run directory: settings, provenance, metrics, candidates, checkpoints; each file whole or absent.
 *
 *     Run run;
 *     if (run_open(&run, "runs/x", "align", &settings, &options, &cx, &err)) return -1;   // settings.conf, provenance.json
 *     run_metrics(&run, json_pack("{s:i}", "iteration", 0), &err);               // a line of metrics.jsonl
 *     run_timing(&run, "collect", seconds, tokens, &err);                         // a line of timing.jsonl
 *     char *path = run_path(&run, "iter_000/candidates.jsonl", &err);             // folders made
 *     run_finish(&run, &err);                                                     // nothing is left to resume
 *     run_close(&run);
 *
 * With --resume a folder that holds a run is gone on with (state.h): its provenance stays, and a setting or an input that changes
 * the result is refused by name. --repeat RUN holds a new run against the provenance of another in the same way.
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
    json_t *expected;       // provenance of the run that this one goes on with or repeats; NULL: neither
    bool resumed, finished; // finished: there is nothing left to do
    bool differs;           // run_open refused, because the run that is there was made with other settings or by another build
} Run;

// Makes the folder; one that already holds a run or a checkpoint is an error (status 2) unless --force or --resume. --force removes
// what runs write (all but checkpoints, which are replaced when the new ones are saved).
int run_open(Run *run, const char *folder, const char *command, const Settings *settings, const Options *options,
    const Compute *cx, Err *err);
int run_record(Run *run, const char *key, json_t *value, Err *err);  // into provenance.json; steals value
int run_record_hash(Run *run, const char *key, uint64_t hash, Err *err); // as 16 hexadecimal digits
// The hash of something read; another than the expected one is an error (status 2) that names `what`, "reviews.jsonl".
int run_record_input(Run *run, const char *key, uint64_t hash, const char *what, Err *err);
int run_record_file(Run *run, const char *key, const char *path, Err *err); // the same of a file's bytes, or of a checkpoint folder's files
int run_mark_checkpoint(const Run *run, const char *folder, uint64_t hash, Err *err); // a copy of the provenance beside a checkpoint
int run_metrics(Run *run, json_t *line, Err *err);                   // steals line
int run_timing(Run *run, const char *stage, double seconds, size_t tokens, Err *err);
// The same, and where in an alignment: after so many iterations and tokens, and so many seconds of work.
typedef struct { size_t iteration, generated; double elapsed; } RunPlace;
int run_timing_at(Run *run, const char *stage, double seconds, size_t tokens, const RunPlace *place /* NULL: nowhere */, Err *err);
int run_restore(Run *run, const char *metrics, const char *timing, Err *err);   // the lines of before a kill
int run_finish(Run *run, Err *err);                                  // says so in the provenance, removes the files of state/
char *run_path(const Run *run, const char *name, Err *err);          // owned by the caller; parent folders exist afterwards
void run_close(Run *run);                                            // safe on a zeroed run

#endif
