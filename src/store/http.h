/* http.h: one HTTP exchange, with redirects followed under our own rules: https never becomes http, a
 * token goes only to the scheme, host and port it was meant for, at most ten hops, nothing is
 * decompressed, and a server that falls silent is given up. */
#ifndef QN_STORE_HTTP_H
#define QN_STORE_HTTP_H

#include "store/source.h"

#include <stdint.h>

typedef struct qn_http_response {
    int status; /* 0: none arrived */
    char etag[256],
        linked_etag[256]; /* as sent, quotes included; the second is the hub's, of the file behind */
    char repo_commit[64], link_next[QN_URL_MAX + 1];
    char content_type[64], content_encoding[32], message[256];
    bool has_length, has_range, has_linked_size;
    uint64_t content_length, linked_size;
    uint64_t range_first, range_total; /* of a 206; of a 416 the total alone; 0 if not told */
    long retry_after_s;                /* -1: not told */
} qn_http_response;

/* Receives the body of the final response. Anything but QUERN_OK ends the exchange and is returned. */
typedef quern_status qn_http_body_fn(void *user, const qn_http_response *r, const char *bytes, size_t n_bytes,
                                     quern_error *err);
/* Asked several times a second, also while nothing arrives; false: cancel. */
typedef bool qn_http_alive_fn(void *user);

typedef struct qn_http_request {
    const char *url;
    bool head;
    bool stop_at_other_host; /* a redirect elsewhere is not followed: its response is the answer */
    const char *token;       /* NULL: none */
    const char *token_url;   /* the token is sent to this URL's scheme, host and port only */
    uint64_t range_from;     /* > 0: asks for the rest */
    const char *if_range;    /* NULL or a strong ETag, with quotes */
    long connect_timeout_ms, stall_timeout_s;
    qn_http_body_fn *body;
    qn_http_alive_fn *alive;
    void *user;
} qn_http_request;

/* QUERN_OK: a whole response came, with whatever status. QUERN_ERR_NETWORK: none, or not all of it;
 * *again tells whether another attempt may help. QUERN_ERR_UNSUPPORTED in a build without libcurl. */
quern_status qn_http_exchange(const qn_http_request *q, qn_http_response *r, bool *again, quern_error *err);

#endif
