/* progress.h: how far a pull is, with a smoothed rate, told ten times a second; carries the wish to
 * cancel back to whoever is working. */
#ifndef QN_STORE_PROGRESS_H
#define QN_STORE_PROGRESS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct qn_progress {
    quern_store_progress_fn *fn; /* NULL: nobody listens */
    void *user;
    quern_store_progress view;
    uint64_t told_ns, mark_ns, mark_bytes;
    bool canceled;
} qn_progress;

/* False: somebody has canceled (now or earlier). A change of phase or file is told at once. */
bool qn_progress_tell(qn_progress *p, quern_store_phase phase, uint64_t done_bytes, uint64_t total_bytes);
void qn_progress_file(qn_progress *p, const char *file); /* borrowed until the next call */
quern_status qn_progress_canceled(quern_error *err, const char *what);

#endif
