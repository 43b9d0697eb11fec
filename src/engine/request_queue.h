/* request_queue.h: who is next. Requests of the most urgent class come first, among them those of the client
 * that has received least for its weight, and of one client the oldest. A client's requests stand in lines,
 * one for each model: where the first of a line cannot be served now, the others of the line wait behind it,
 * and those of other lines do not.
 *
 * What a client has received is counted in virtual time: the cost of its work over its weight. One that was
 * away comes back at the least virtual time of those that are there, so that it has saved up nothing; if it
 * was ahead of that when it left, it comes back where it was, so that nobody gains by leaving after every
 * answer (start-time fair queueing: Goyal, Vin and Cheng 1996). When nobody is there, all is forgotten. A
 * request rises by one class for every aging_ns that it has waited, so that none starves.
 *
 * Links lie in the entries: joining takes memory for a client that was not there and for a line that it
 * did not have, and nothing else does. One thread at a time. */
#ifndef QN_ENGINE_REQUEST_QUEUE_H
#define QN_ENGINE_REQUEST_QUEUE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QN_PRIORITIES = 4, QN_QUEUE_LINES = 64 };

typedef struct qn_queue_client qn_queue_client;

/* Part of a request; zeroed before it is filled in. While it waits, nobody but the queue changes it. */
typedef struct qn_queue_entry {
    int priority; /* 0, the most urgent, to QN_PRIORITIES - 1 */
    size_t line;  /* below QN_QUEUE_LINES */
    uint64_t arrived_ns;
    uint64_t number;         /* set by the first pushing: tells apart those that arrived at one time */
    qn_queue_client *client; /* set by pushing */
    struct qn_queue_entry *previous, *next;
    bool is_waiting;
} qn_queue_entry;

typedef struct qn_request_queue qn_request_queue;

/* max_waiting: more are refused. aging_ns 0: nobody ages. */
quern_status qn_request_queue_create(qn_request_queue **out, size_t max_waiting, uint64_t aging_ns,
                                     quern_error *err);
/* NULL is fine; the clients go with it, the entries are their owners' and are not touched. */
void qn_request_queue_destroy(qn_request_queue *q);

/* The client of that name and weight (above 0, held within 1/1024 to 1024; the last one told counts), held
 * until qn_request_queue_leave has been called as often. A client is there while it is held: so a request
 * joins when it arrives and leaves when it has been served and charged for. Its entries may stand in the line
 * from then on. NULL: no memory. */
qn_queue_client *qn_request_queue_join(qn_request_queue *q, const char *name, double weight, size_t line);
/* None of its entries may wait when it leaves for the last time. */
void qn_request_queue_leave(qn_request_queue *q, qn_queue_client *client);

/* Puts an entry of a client at its place by arrival: one that was put back waits where it did. is_again: it
 * has been pushed before, and is not refused for max_waiting. False: too many wait. */
bool qn_request_queue_push(qn_request_queue *q, qn_queue_client *client, qn_queue_entry *entry,
                           bool is_again);
void qn_request_queue_remove(qn_request_queue *q, qn_queue_entry *entry); /* if it waits */

/* The entry that is next, which stays; NULL: nobody waits. `may` tells whether an entry can be served now
 * (NULL: all can); a line whose first one cannot is passed over with all that it has. It must not change
 * the queue. Who takes several before they are charged takes them all from one client. */
typedef bool qn_queue_may_fn(void *user, const qn_queue_entry *entry);
qn_queue_entry *qn_request_queue_best(qn_request_queue *q, uint64_t now_ns, qn_queue_may_fn *may, void *user);

/* The class that an entry has by now. */
int qn_request_queue_class(const qn_request_queue *q, const qn_queue_entry *entry, uint64_t now_ns);

/* The client, which is there, has been served with work of that cost (tokens, or nanoseconds: the same
 * everywhere; finite, at least 0). */
void qn_request_queue_charge(qn_request_queue *q, qn_queue_client *client, double cost);
/* What it has received for its weight; comparable between clients of a queue that are there. */
double qn_request_queue_received(const qn_queue_client *client);

size_t qn_request_queue_size(const qn_request_queue *q); /* how many wait */
/* How many would be served before this one, which waits, if nobody else came, all could be served, none rose
 * by another class, and each cost that much. Walks over all that wait. */
size_t qn_request_queue_position(const qn_request_queue *q, const qn_queue_entry *entry, uint64_t now_ns,
                                 double cost_each);

#endif
