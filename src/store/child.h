/* child.h: runs another program and reads what it writes, watching for the wish to cancel. */
#ifndef QN_STORE_CHILD_H
#define QN_STORE_CHILD_H

#include "base/error.h"

#include <stdbool.h>

typedef struct qn_child {
    const char *const *argv; /* argv[0] is looked up in PATH; no shell is involved */
    const char *temp_dir;    /* becomes TMPDIR and the working directory; NULL: unchanged */
    const char *label;
    /* Standard output, as it comes. Anything but QUERN_OK ends the child. May be NULL. */
    quern_status (*output)(void *user, const char *bytes, size_t n_bytes, quern_error *err);
    bool (*alive)(void *user); /* asked ten times a second; false ends the child: QUERN_ERR_CANCELED */
    void *user;
} qn_child;

/* QUERN_OK if it exits with 0; otherwise the message ends with its last line on standard error.
 * QUERN_ERR_NOT_FOUND if there is no such program. The child dies with this process. */
quern_status qn_child_run(const qn_child *c, quern_error *err);

#endif
