/* dirs.h: directories and locks. Below a root that the user chose every step is one checked component,
 * opened without following links. */
#ifndef QN_STORE_DIRS_H
#define QN_STORE_DIRS_H

#include "base/path.h"
#include "store/progress.h"

/* Makes the directory and those above it, and opens it. -1: err says why. */
int qn_dir_make(const char *path, quern_error *err);
/* Opens one directory below another, making it if asked. -1: errno. */
int qn_dir_open_at(int parent_fd, const char *name, bool make);

/* An exclusive lock on dir_fd/name, released by close(). Waits, asking `progress`; with progress NULL it
 * does not wait but fails with QUERN_ERR_BUSY. The lock of a process that dies is released. */
quern_status qn_lock(int *lock_fd, int dir_fd, const char *name, qn_progress *progress, const char *label,
                     quern_error *err);

/* Of the files below dir_fd/name, links not followed, at most 8 levels deep. */
uint64_t qn_tree_bytes(int dir_fd, const char *name);
void qn_tree_remove(int dir_fd, const char *name);

/* Calls fn for the names in a directory except hidden ones, at most 100000; QUERN_OK if it is not there. */
typedef quern_status qn_dir_fn(void *user, const char *name, quern_error *err);
quern_status qn_dir_each(const char *path, qn_dir_fn *fn, void *user, quern_error *err);

#endif
