/* server_parts.h: what the parts of a server share: the network (http.c), who is watched (watch.c), workers
 * (workers.c), the table of routes (routes.c). */
#ifndef QN_SERVE_SERVER_PARTS_H
#define QN_SERVE_SERVER_PARTS_H

#include "serve/exchange.h"
#include "serve/server.h"

struct MHD_Daemon;

/* ---- workers (workers.c) ---- */

typedef struct qn_workers qn_workers;
quern_status qn_workers_create(qn_workers **out, size_t n_threads, size_t max_waiting, quern_error *err);
/* All that was pushed is done first. NULL is fine. */
void qn_workers_destroy(qn_workers *w);
/* False: too many wait. */
bool qn_workers_push(qn_workers *w, qn_exchange *x);

/* ---- watched connections (watch.c) ---- */

/* What a connection is waiting for. */
typedef enum qn_waits_for {
    QN_WAITS_FOR_HEADERS,
    QN_WAITS_FOR_BODY,
    QN_WAITS_FOR_US,
    QN_WAITS_FOR_READER, /* it has something to read */
    QN_WAITS_FOR_REQUEST /* between two */
} qn_waits_for;

typedef struct qn_watch qn_watch;
quern_status qn_watch_create(qn_watch **out, const qn_server_limits *limits, quern_error *err);
void qn_watch_destroy(qn_watch *w); /* NULL is fine; all connections are closed */
/* NULL: no memory, or the system refuses. */
qn_connection *qn_watch_add(qn_watch *w, int fd);
void qn_watch_remove(qn_watch *w, qn_connection *c); /* NULL is fine */
/* From now on it waits for this. */
void qn_watch_turn(qn_connection *c, qn_waits_for what);
/* Whose client it is; NULL: nobody's. */
void qn_watch_assign(qn_watch *w, qn_connection *c, qn_exchange *x);
/* Closes connections on which nothing is going on, or all; what runs for them is canceled. */
void qn_watch_close(qn_watch *w, bool all);

/* ---- the rest ---- */

struct qn_server {
    quern_engine *engine;
    qn_server_params params;
    struct MHD_Daemon *daemon;
    qn_workers *workers;
    qn_watch *watch;
    uint16_t port;
    atomic_bool is_draining;
    atomic_size_t n_exchanges;
    int64_t started_s;
    uint64_t n_steps_seen, step_seen_ns; /* of the engine, when its health was asked for */
    bool was_busy;
};

extern const qn_route qn_routes[];
extern const size_t qn_n_routes;

#endif
