// SPDX-License-Identifier: MIT
/* namemap.h - which tensor of one trace is which of another: lines of two patterns.
 *
 *     NameMap map;
 *     if (namemap_read(&map, "names.txt", &err)) return -1;
 *     char *other = namemap_apply(&map, "layers.3.q", &mapped, &err);    // "model.layers.3.q"
 *     namemap_free(&map);
 *
 * A line: the name in the first trace, blanks, the name in the second; '#' opens a comment. A '*' on the left stands for any
 * characters but '.', two for any characters; each '*' (or '**') on the right is replaced by what the one in the same place stood
 * for. The first line whose left side fits decides. Names that no line fits are not compared.
 */
#ifndef RAFT_STUDY_NAMEMAP_H
#define RAFT_STUDY_NAMEMAP_H

#include "base/util.h"

typedef struct { char *left, *right; size_t line, used; } NameRule; // used: how many names it was applied to
typedef struct { NameRule *rules; size_t count; char *path; } NameMap;

int namemap_read(NameMap *map, const char *path, Err *err);
void namemap_free(NameMap *map);
// The other trace's name, owned by the caller. NULL with *mapped false: no rule fits; NULL with *mapped true: an error.
char *namemap_apply(NameMap *map, const char *name, bool *mapped, Err *err);
int namemap_check_used(const NameMap *map, Err *err); // a rule that fitted nothing is a mistake in the file: status 2, with its line

#endif
