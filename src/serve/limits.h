/* limits.h: how much of everything a client may ask for. What a request says is held against these before any
 * work is done for it; the reasons are told in docs/safety.md. */
#ifndef QN_SERVE_LIMITS_H
#define QN_SERVE_LIMITS_H

#include <stddef.h>

enum {
    QN_HEADER_BYTES = 32 * 1024, /* request line and headers */
    QN_MAX_HEADERS = 100,
    QN_URI_BYTES = 8 * 1024,
    QN_JSON_DEPTH = 128,
    QN_JSON_VALUES = 1000000, /* each takes many times its bytes */
    QN_DRAIN_SECONDS = 30,    /* for what runs when the server is asked to end */

    QN_MAX_MESSAGES = 4096,
    QN_MAX_TOOLS = 128,
    QN_MAX_STOPS_OF_REQUEST = 16,
    QN_STOP_BYTES = 256,
    QN_MAX_CHOICES_OF_REQUEST = 16, /* n */
    QN_MAX_LOGIT_BIAS = 1024,
};

/* What whoever runs the server can set. */
typedef struct qn_server_limits {
    size_t body_bytes;
    size_t unread_bytes; /* of a stream that its client does not read; more ends the answer */
    unsigned n_connections;
    unsigned n_waiting; /* requests that wait for a worker */
    unsigned header_ms; /* for request line and headers */
    unsigned body_ms;   /* without a byte of the body */
    unsigned idle_ms;   /* between two requests */
    unsigned stall_ms;  /* without reading what is sent */
    unsigned sign_ms;   /* after which a stream on which nothing comes says that it is alive */
} qn_server_limits;

static inline qn_server_limits qn_server_limits_default(void)
{
    return (qn_server_limits){.body_bytes = 16 * 1024 * 1024,
                              .unread_bytes = 1024 * 1024,
                              .n_connections = 1024,
                              .n_waiting = 64,
                              .header_ms = 10000,
                              .body_ms = 30000,
                              .idle_ms = 60000,
                              .stall_ms = 30000,
                              .sign_ms = 15000};
}

#endif
