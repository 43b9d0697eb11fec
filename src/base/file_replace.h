/* file_replace.h: a file that is seen as it was or as it shall be, and never in between, whenever the process
 * or the machine stops: it is written beside (PATH.part), synced, then renamed.
 *
 * One process at a time writes PATH.part: it is locked meanwhile, and what a killed one left is taken over by
 * the next, so at most one such file is ever there. */
#ifndef QN_BASE_FILE_REPLACE_H
#define QN_BASE_FILE_REPLACE_H

#include "base/path.h"

#include "base/error.h"

typedef struct qn_file_replacement {
    int fd; /* empty, to be written; not to be closed */
    char path[PATH_MAX], part[PATH_MAX];
} qn_file_replacement;

/* mode: of the new file, as for open. QUERN_ERR_BUSY: another process, or thread, writes it; _ARGUMENT: the
 * path is too long; _IO. Then there is nothing to abandon. Messages begin with the path. */
quern_status qn_file_replace_begin(qn_file_replacement *r, const char *path, mode_t mode, quern_error *err);
/* What was written takes the place of the file. QUERN_ERR_LIMIT: the disk is full; _IO. Then the file is as
 * it was. */
quern_status qn_file_replace_commit(qn_file_replacement *r, quern_error *err);
/* In place of that: the file stays as it was. */
void qn_file_replace_abandon(qn_file_replacement *r);
/* The status and message for a write to fd that failed (errno). */
quern_status qn_file_replace_fail(const qn_file_replacement *r, quern_error *err);

#endif
