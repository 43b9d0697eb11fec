/* exchange.h: one HTTP request and its reply, from the first line to the last byte.
 *
 * Three kinds of threads meet here. The network thread, one for all connections, receives and sends, and
 * never waits. Workers read what is asked: JSON, templates, tokens, grammars, which take time. The engine's
 * thread tells what comes of an answer; its events are copied and put in a row, from which the network thread
 * writes the reply. While there is nothing for it to do the connection is suspended.
 *
 * An exchange lives while the connection or the engine holds it. */
#ifndef QN_SERVE_EXCHANGE_H
#define QN_SERVE_EXCHANGE_H

#include "base/buffer.h"
#include "serve/problem.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct qn_server qn_server;
typedef struct qn_exchange qn_exchange;
typedef struct qn_connection qn_connection;
struct MHD_Connection;

/* How a family of clients wants to be told what is wrong. */
typedef struct qn_dialect {
    void (*write_problem)(qn_buffer *out, const qn_problem *problem);        /* the body of a reply */
    void (*write_stream_problem)(qn_buffer *out, const qn_problem *problem); /* in a stream that has begun */
    const char *life_sign; /* what is sent on a stream on which nothing comes; NULL: nothing can be */
} qn_dialect;

typedef void qn_handle_fn(qn_exchange *x);

typedef struct qn_route {
    const char *method, *path;
    qn_handle_fn *handle; /* sets a reply, or submits a request to the engine */
    bool on_worker;       /* it takes time, or reads a body; else it is called by the network thread */
    const qn_dialect *dialect;
} qn_route;

/* An event of the engine, copied: all it points to is part of it. */
typedef struct qn_answer_event {
    struct qn_answer_event *next;
    size_t part;    /* of the exchange, the request that it is about */
    size_t n_bytes; /* that it takes in all */
    quern_event event;
    quern_error error;
} qn_answer_event;

static inline bool qn_event_ends_answer(const quern_event *e)
{
    return e->kind == QUERN_EVENT_FINISHED || e->kind == QUERN_EVENT_FAILED;
}

/* What an exchange asks of the engine: one request, or several of one kind, whose answers are one reply. */
typedef struct qn_part {
    qn_exchange *x;
    quern_request *request; /* NULL: not submitted yet, or not any more */
} qn_part;

/* What a dialect does with an answer, on the network thread. */
typedef struct qn_answer_writer {
    /* Fills in the request of a part, which has the defaults. What it points
     * to lives as long as x->state. Not on_event. */
    void (*fill)(qn_exchange *x, size_t part, quern_request_params *params);
    void (*begin)(qn_exchange *x); /* of a stream: before the first event; or NULL */
    void (*on_event)(qn_exchange *x, size_t part,
                     const quern_event *event); /* writes to x->out where it streams */
    void (*end)(qn_exchange *x); /* all answers have ended: the rest of a stream, or the whole reply */
} qn_answer_writer;

typedef enum qn_phase {
    QN_PHASE_NEW,       /* the first line has come */
    QN_PHASE_RECEIVING, /* the body comes */
    QN_PHASE_WORKING,   /* for a worker, who sets the phase that follows */
    QN_PHASE_ANSWERING, /* the engine has a request */
    QN_PHASE_REPLYING   /* the reply is known */
} qn_phase;

struct qn_exchange {
    qn_server *server;
    atomic_int holders;
    struct MHD_Connection *connection;
    qn_connection *link; /* what is watched of its connection */
    const qn_route *route;
    qn_buffer body;
    size_t n_received; /* bytes of it */
    qn_problem problem;
    bool closes; /* the connection, after the reply */

    /* The reply; of whoever the phase belongs to. */
    int status;
    const char *content_type;
    char extra_name[32], extra_value[64]; /* one more header; empty: none */
    qn_buffer out;                        /* what is to be sent; of a stream, next */
    size_t n_sent;                        /* of it */
    bool streams;                         /* the answer is sent as it comes */
    const qn_answer_writer *writer;
    void *state; /* of the dialect */
    void (*free_state)(void *state);
    qn_part *parts; /* [n_parts] */
    size_t n_parts, n_submitted;
    uint32_t n_answers;        /* of each part */
    size_t n_open;             /* answers that were submitted and have not ended; of the network thread */
    bool has_begun, has_ended; /* of a stream; of the network thread */

    pthread_mutex_t mutex; /* for the rest */
    qn_phase phase;
    bool is_suspended;
    bool is_gone;         /* the client is, or is given up */
    bool wants_life_sign; /* nothing has come for a while */
    qn_answer_event *first, *last;
    size_t queued_bytes; /* of these */
};

/* The body as JSON; then it is not needed any more. To be freed with json_decref; NULL: problem noted. By a
 * worker.
 */
json_t *qn_exchange_parse(qn_exchange *x);

/* ---- replies ------------------------------------------------------------------------------------ */

/* Takes the value; a problem where it is NULL. */
void qn_reply_json(qn_exchange *x, int status, json_t *value);
/* x->problem in the shape of the dialect. */
void qn_reply_problem(qn_exchange *x);
void qn_reply_text(qn_exchange *x, int status, const char *content_type, const char *text);
/* "data: JSON" of a stream of server-sent events; takes the value. name: of the event, or NULL. */
void qn_stream_json(qn_exchange *x, const char *name, json_t *value);

/* ---- answers ------------------------------------------------------------------------------------ */

/* Wants n_parts requests of the engine, with n_answers each, whose answers go to the writer; x->state is set
 * before. By a worker; the network thread goes on. */
bool qn_exchange_want(qn_exchange *x, size_t n_parts, uint32_t n_answers, const qn_answer_writer *writer,
                      bool streams);
/* Hands those to the engine that it has room for: some now, the others as these end. False: the problem is
 * noted, and nothing comes of the rest. By the network thread. */
bool qn_exchange_submit(qn_exchange *x);
/* Whether nothing more comes. */
static inline bool qn_exchange_has_ended(const qn_exchange *x)
{
    return x->n_open == 0 && x->n_submitted == x->n_parts;
}

/* ---- life --------------------------------------------------------------------------------------- */

/* NULL: no memory. The one who calls holds it. */
qn_exchange *qn_exchange_create(qn_server *server, struct MHD_Connection *connection);
void qn_exchange_let_go(qn_exchange *x);
/* Suspends the connection unless there is something for the network thread to do: by that thread, with the
 * mutex. */
void qn_exchange_wait(qn_exchange *x);
/* There is: with the mutex, by any thread. */
void qn_exchange_wake(qn_exchange *x);
/* Whatever the engine does for it ends; by the network thread, or as below. */
void qn_exchange_cancel(qn_exchange *x);
/* The client is gone: whatever is done for it ends. The connection must not be closing meanwhile. */
void qn_exchange_abandon(qn_exchange *x);
/* The next event; NULL: none now. The caller frees it with qn_free. By the network thread. */
qn_answer_event *qn_exchange_next_event(qn_exchange *x);

#endif
