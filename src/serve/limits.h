/* limits.h: how much of everything a client may ask for. What a request says is held against these before any
 * work is done for it; the reasons are told in docs/safety.md. */
#ifndef QN_SERVE_LIMITS_H
#define QN_SERVE_LIMITS_H

enum {
    QN_HEADER_BYTES = 32 * 1024, /* request line and headers */
    QN_MAX_HEADERS = 100,
    QN_URI_BYTES = 8 * 1024,
    QN_BODY_BYTES = 16 * 1024 * 1024,
    QN_JSON_DEPTH = 128,
    QN_MAX_CONNECTIONS = 1024,
    QN_MAX_WAITING = 64, /* requests that wait, in preparation and in the engine */

    QN_HEADER_SECONDS = 10,     /* for request line and headers */
    QN_BODY_SECONDS = 30,       /* without a byte of the body */
    QN_IDLE_SECONDS = 60,       /* between two requests */
    QN_STALL_SECONDS = 30,      /* without reading what is sent */
    QN_DRAIN_SECONDS = 30,      /* for what runs when the server is asked to end */
    QN_KEEP_ALIVE_SECONDS = 15, /* a stream on which nothing comes says that it is alive */

    QN_UNREAD_BYTES = 1024 * 1024, /* of a stream that its client does not read; more ends the answer */

    QN_MAX_MESSAGES = 4096,
    QN_MAX_TOOLS = 128,
    QN_MAX_STOPS_OF_REQUEST = 16,
    QN_STOP_BYTES = 256,
    QN_MAX_CHOICES_OF_REQUEST = 16, /* n */
    QN_MAX_LOGIT_BIAS = 1024,
};

#endif
