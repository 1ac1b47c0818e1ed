// SPDX-License-Identifier: MIT
/* version.c - the only file that sees the build's own name: its object changes with every commit, nothing else's does. */
#include "base/version.h"

#ifndef RAFT_VERSION
#define RAFT_VERSION "unknown"
#define RAFT_COMMIT "unknown"
#define RAFT_DATADIR "/usr/local/share/raft"
#endif

const char *raft_version(void) { return RAFT_VERSION; }
const char *raft_commit(void) { return RAFT_COMMIT; }
const char *raft_data_folder(void) { return RAFT_DATADIR; }

const char *raft_compiler(void)
{
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "unknown";
#endif
}
