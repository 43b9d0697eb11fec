/* fetch.h: downloads that survive what networks do: a cut connection is continued where it ended, a busy
 * server is asked again later, a server that ignores or misreads ranges is read from the start. */
#ifndef QN_STORE_FETCH_H
#define QN_STORE_FETCH_H

#include "base/buffer.h"
#include "base/log.h"
#include "store/http.h"
#include "store/part.h"

typedef struct qn_network {
    int max_attempts;    /* in a row without a new byte */
    long first_delay_ms; /* doubled after each */
    long max_wait_s;     /* the longest Retry-After that is obeyed */
    long connect_timeout_ms, stall_timeout_s;
    qn_log log;
} qn_network;

typedef struct qn_fetch {
    const qn_network *network;
    qn_progress *progress;
    const char *url, *token, *token_url; /* as in qn_http_request */
    const char *label;
} qn_fetch;

/* Called before the first byte is written of a file that starts anew, so that what identifies it can be
 * kept for a later continuation. */
typedef quern_status qn_fetch_begin_fn(void *user, const qn_http_response *r, quern_error *err);

/* Brings the rest of a part. `validator` (256 bytes): the strong ETag that belongs to what is there, ""
 * if none; receives the one of the server. QUERN_ERR_NOT_FOUND, _NETWORK, _CHECKSUM (another length than
 * expected), _LIMIT (disk), _CANCELED. */
quern_status qn_fetch_part(const qn_fetch *f, qn_part *part, char validator[256], qn_fetch_begin_fn *begin,
                           void *user, quern_error *err);

/* A small document into memory, at most out->max_bytes; next (QN_URL_MAX + 1) receives Link rel=next. */
quern_status qn_fetch_document(const qn_fetch *f, qn_buffer *out, char *next, quern_error *err);

/* The headers alone; a redirect to another host is not followed. */
quern_status qn_fetch_headers(const qn_fetch *f, qn_http_response *r, quern_error *err);

#endif
