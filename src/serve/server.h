/* server.h: HTTP in front of an engine. */
#ifndef QN_SERVE_SERVER_H
#define QN_SERVE_SERVER_H

#include "quern.h"
#include "serve/limits.h"

typedef struct qn_server qn_server;

typedef struct qn_server_params {
    quern_engine *engine;     /* outlives the server */
    uint16_t port;            /* of 127.0.0.1; 0: one that is free */
    const char *const *hosts; /* [n_hosts] that a request may name, beside localhost and addresses */
    size_t n_hosts;
    qn_server_limits limits;
    quern_log_fn *log; /* or NULL */
    void *log_user;
} qn_server_params;

/* Listens, and answers from now on.
 * @return QUERN_OK; QUERN_ERR_IO (the port is taken, ...), _NOMEM */
quern_status qn_server_create(qn_server **out, const qn_server_params *params, quern_error *err);
uint16_t qn_server_port(const qn_server *server);
/* Takes no new requests, waits for those that run, at most so many seconds, and ends the rest. Destroys; NULL
 * is fine. */
void qn_server_destroy(qn_server *server, unsigned drain_seconds);

#endif
