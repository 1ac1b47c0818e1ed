// SPDX-License-Identifier: MIT
/* os.h - everything that differs between operating systems: mapped files, atomic writes, folders, pipes, clocks, CPU count.
 *
 *     OsMap map;
 *     if (os_map_file(&map, "model.safetensors", &err)) return -1;   // map.data[0 .. map.size)
 *     os_unmap(&map);
 *
 *     OsWriter out;                                                  // temporary name, sync, rename: all or nothing
 *     if (os_writer_open(&out, "run/metrics.jsonl", &err)) return -1;
 *     if (os_writer_write(&out, bytes, n, &err) || os_writer_commit(&out, &err)) return -1;   // a failure discards the file
 */
#ifndef RAFT_BASE_OS_H
#define RAFT_BASE_OS_H

#include "base/util.h"

#include <stdio.h>

typedef struct { const uint8_t *data; size_t size; void *handle; } OsMap; // read-only; an empty file has size 0 and non-NULL data
int os_map_file(OsMap *map, const char *path, Err *err);
void os_unmap(OsMap *map);
// The same, but data may be written through a cast: what is written stays in this process, what is not stays shared with the file
// and its other readers. The file must not change while it is mapped (os_write_file replaces, and does not change, one). 1: this
// system cannot, or not with this file.
int os_map_private(OsMap *map, const char *path, Err *err);
int os_read_file(Text *text, const char *path, Err *err); // the whole file; refuses folders

// The temporary is path.tmp in the same folder. A device or pipe (/dev/stdout) is written in place.
typedef struct { FILE *file; char *path, *temporary; } OsWriter;
int os_writer_open(OsWriter *writer, const char *path, Err *err);
int os_writer_write(OsWriter *writer, const void *bytes, size_t n, Err *err); // on failure the temporary file is removed
int os_writer_commit(OsWriter *writer, Err *err); // flush, fsync, rename, fsync of the folder; status 1 on a full disk
void os_writer_discard(OsWriter *writer);         // safe after commit, safe on a zeroed writer
int os_write_file(const char *path, const void *bytes, size_t n, Err *err); // the four above in one

typedef struct { char **names; size_t count; } OsNames; // sorted by bytes, without "." and ".."
int os_list_folder(OsNames *names, const char *path, Err *err);
void os_names_free(OsNames *names);
bool os_is_folder(const char *path);
bool os_is_file(const char *path);
bool os_is_regular(const char *path); // and no device or pipe
int os_make_folders(const char *path, Err *err); // like mkdir -p
char *os_join(Err *err, const char *folder, const char *name); // "folder/name", owned by the caller

/* A child program with two pipes (standard error is inherited). The command runs through the shell. timeout_s limits the wait
 * for each line, for one write and for the end of the program; negative: no limit. When it passes, the program and what it
 * started are killed. All errors have status 1 and name the command: "exited with status 3", "no reply within 5 s".
 */
typedef struct OsChild OsChild;
OsChild *os_child_start(const char *command, Err *err);
// What the next write or exchange sends is all: the program then sees the end of its input.
void os_child_last_input(OsChild *child);
int os_child_write(OsChild *child, const void *bytes, size_t n, double timeout_s, Err *err); // never raises SIGPIPE
// 1 a line (replaces `line`, without '\n'), 0 end of output, -1 error or time-out
int os_child_read_line(OsChild *child, Text *line, double timeout_s, Err *err);
int os_child_stop(OsChild *child, double timeout_s, Err *err); // closes its input, waits, then kills; -1 when it died or failed; frees
// Writes and reads at once, so that neither side can block the other: sends all of `input`, appends `lines` lines of reply,
// each with its '\n', to output. A program that answers every line without having read all of its input is not an error.
int os_child_exchange(OsChild *child, const char *input, size_t n, size_t lines, Text *output, double timeout_s, Err *err);

// Of the whole process: for commands, not for modules.
char *os_current_folder(Err *err); // owned by the caller
int os_enter_folder(const char *path, Err *err);
bool os_is_absolute(const char *path);
int os_mute_output(int *kept, Err *err); // standard output goes nowhere until os_restore_output(kept), which is safe after an error
void os_restore_output(int kept);

double os_now_s(void);           // monotonic seconds, for progress and timing only: never reaches the arithmetic
size_t os_cpu_count(void);
size_t os_second_cache_bytes(void); // of one core; 0: the system does not say
double os_peak_memory_mb(void);  // peak resident set of this process
void os_use_large_pages(void *memory, size_t bytes); // a wish, granted where the system can: fewer misses of the address cache
bool os_is_terminal(FILE *file);
char *os_program_folder(Err *err); // of the running program; NULL, without an error, where the system does not tell
char *os_program_path(Err *err); // of this program, for starting it again; owned by the caller
char *os_cpu_name(Err *err);     // "AMD EPYC 7763", "unknown" where the system does not tell; owned by the caller

#endif
