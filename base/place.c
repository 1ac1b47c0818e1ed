// SPDX-License-Identifier: MIT
/* place.c - the folder this process works in, and where its standard output goes: process-wide, so for main's commands only. */
#define _POSIX_C_SOURCE 200809L
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#ifdef _WIN32
#include <direct.h>
#include <io.h>
#define getcwd _getcwd
#define chdir _chdir
#define dup _dup
#define dup2 _dup2
#define open _open
#define close _close
#define fileno _fileno
#define NOWHERE "NUL"
#else
#include <unistd.h>
#define NOWHERE "/dev/null"
#endif

char *os_current_folder(Err *err)
{
    char path[4096];
    if (getcwd(path, sizeof path)) return mem_copy_text(err, path);
    err_failed(err, "the current folder cannot be told: %s", strerror(errno));
    return NULL;
}

int os_enter_folder(const char *path, Err *err)
{
    return chdir(path) ? err_input(err, "%s: cannot be entered: %s", path, strerror(errno)) : 0;
}

bool os_is_absolute(const char *path) { return *path == '/' || *path == '\\' || (*path && path[1] == ':'); }

int os_mute_output(int *kept, Err *err)
{
    fflush(stdout);
    int nowhere = open(NOWHERE, O_WRONLY);
    *kept = nowhere < 0 ? -1 : dup(fileno(stdout));
    bool ok = *kept >= 0 && dup2(nowhere, fileno(stdout)) >= 0;
    if (nowhere >= 0) close(nowhere);
    return ok ? 0 : err_failed(err, "standard output cannot be turned away: %s", strerror(errno));
}

void os_restore_output(int kept)
{
    fflush(stdout);
    if (kept < 0) return;
    dup2(kept, fileno(stdout));
    close(kept);
}
