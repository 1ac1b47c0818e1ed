// SPDX-License-Identifier: MIT
/* report.h - one self-contained HTML page about a run, or about several side by side, from the run directories' files alone.
 *
 *     if (report_write("runs/demo", &err)) return -1;          // runs/demo/report.html
 *     if (report_write("runs/compare", &err)) return -1;       // a folder with comparison.json: all its arms
 *     const char *runs[] = {"runs/a", "runs/b"};
 *     if (report_write_runs("both.html", runs, 2, &err)) return -1;
 *
 * Reads metrics.jsonl, iter_*, samples_*.jsonl, heads.json, provenance.json, timing.jsonl; of a comparison also comparison.json and
 * arms/. No network, no script needed to read it; light and dark; every number in it stands in a file. The same files give the
 * same bytes on every machine.
 */
#ifndef RAFT_STUDY_REPORT_H
#define RAFT_STUDY_REPORT_H

#include "base/util.h"

int report_write_run(const char *path, const char *run_folder, Err *err);
int report_write_comparison(const char *path, const char *folder, Err *err); // what `raft compare` leaves
int report_write_runs(const char *path, const char *const *folders, size_t count, Err *err);
int report_write(const char *folder, Err *err); // FOLDER/report.html, of whichever of the first two it holds

#endif
