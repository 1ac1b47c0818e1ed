// SPDX-License-Identifier: MIT
/* report.h - report.html: one self-contained page about a run, made from the run directory's files alone.
 *
 *     if (report_write("runs/demo", &err)) return -1;     // reads metrics.jsonl, iter_*, samples.jsonl, provenance.json, timing.jsonl
 *
 * No network, no script needed to read it; light and dark; every number in it stands in a file of the run.
 */
#ifndef RAFT_STUDY_REPORT_H
#define RAFT_STUDY_REPORT_H

#include "base/util.h"

int report_write(const char *run_folder, Err *err);

#endif
