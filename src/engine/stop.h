/* stop.h: finds the first of several texts in a stream, letting go of nothing that may be part of one. */
#ifndef QN_ENGINE_STOP_H
#define QN_ENGINE_STOP_H

#include "base/buffer.h"
#include "base/error.h"

typedef struct qn_stop {
    const char *const *texts; /* [n_texts] borrowed */
    size_t n_texts;
    qn_buffer held;  /* what may be the beginning of a stop text */
    qn_buffer clear; /* what the last call gave away */
    int found;       /* index of the text that was found, or -1 */
} qn_stop;

/* Errors: QUERN_ERR_ARGUMENT (an empty text, one too long, too many, not UTF-8). */
quern_status qn_stop_init(qn_stop *s, const char *const *texts, size_t n_texts, quern_error *err);
void qn_stop_deinit(qn_stop *s);

/* Takes more text (whole characters) and gives what is clear now, NUL-terminated, valid until the next call;
 * NULL: no memory. After a text was found nothing more may be pushed. */
const char *qn_stop_push(qn_stop *s, const char *text, size_t n_bytes, size_t *n_clear);

/* At the end without a stop text: what was held back. */
const char *qn_stop_finish(qn_stop *s, size_t *n_clear);

#endif
