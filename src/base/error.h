/* error.h: a status for the program, a sentence for the person.
 *
 * A function that can fail on what a file, a user or the machine does returns a quern_status and
 * fills a quern_error (which may be NULL) with one line: what, where, the numbers, the remedy. */
#ifndef QN_BASE_ERROR_H
#define QN_BASE_ERROR_H

#include "quern.h"

#include <stdarg.h>
#include <stddef.h>

/* Writes the message (cut to fit, control bytes shown as \xNN) and returns `status`. err may be NULL. */
__attribute__((format(printf, 3, 4))) quern_status qn_fail(quern_error *err, quern_status status,
                                                           const char *format, ...);

/* Puts "prefix: " in front of the message that err holds. Returns err's status; err may be NULL. */
__attribute__((format(printf, 2, 3))) void qn_fail_prefix(quern_error *err, const char *format, ...);

/* Text from outside, made safe to show: cut to 100 bytes, control bytes and broken UTF-8 as \xNN. */
typedef struct qn_quoted {
    char text[416];
} qn_quoted;
qn_quoted qn_quote(const char *bytes, size_t n_bytes);

#endif
