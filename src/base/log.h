/* log.h: the library never prints; it hands lines to whoever asked for them. */
#ifndef QN_BASE_LOG_H
#define QN_BASE_LOG_H

#include "quern.h"

typedef struct qn_log {
    quern_log_fn *fn; /* NULL: silent */
    void *user;
} qn_log;

__attribute__((format(printf, 3, 4))) void qn_log_write(const qn_log *log, quern_log_level level,
                                                        const char *format, ...);

#endif
