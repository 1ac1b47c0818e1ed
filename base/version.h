// SPDX-License-Identifier: MIT
/* version.h - what this build is, for `raft info` and provenance.
 *
 *     printf("raft %s (%s), %s\n", raft_version(), raft_commit(), raft_compiler());
 */
#ifndef RAFT_BASE_VERSION_H
#define RAFT_BASE_VERSION_H

const char *raft_version(void);
const char *raft_commit(void);
const char *raft_compiler(void);
const char *raft_data_folder(void); // where `make install` puts profiles/ and data/

#endif
