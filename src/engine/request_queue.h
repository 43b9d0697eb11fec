/* request_queue.h: who is next. Requests of the most urgent class come first, among them those of the client
 * that has received least for its weight, and of one client the oldest.
 *
 * What a client has received is counted in virtual time: the cost of its work over its weight. One that was
 * away comes back at the least virtual time of those that are there, so that it neither saves up nor owes
 * (start-time fair queueing: Goyal, Vin and Cheng 1996). A request rises by one class for every
 * aging_ns that it has waited, so that none starves.
 *
 * Links lie in the entries: pushing takes memory for a client that is new, and nothing else does. */
#ifndef QN_ENGINE_REQUEST_QUEUE_H
#define QN_ENGINE_REQUEST_QUEUE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QN_PRIORITIES = 4 };

typedef struct qn_queue_client qn_queue_client;

typedef struct qn_queue_entry { /* part of a request */
    int priority;               /* 0, the most urgent, to QN_PRIORITIES - 1 */
    uint64_t arrived_ns;
    qn_queue_client *client; /* set by pushing */
    struct qn_queue_entry *previous, *next;
    bool is_waiting;
} qn_queue_entry;

typedef struct qn_request_queue qn_request_queue;

/* max_waiting: more are refused. aging_ns 0: nobody ages. */
quern_status qn_request_queue_create(qn_request_queue **out, size_t max_waiting, uint64_t aging_ns,
                                     quern_error *err);
void qn_request_queue_destroy(qn_request_queue *q); /* NULL is fine; the entries are their owners' */

/* The client of that name and weight (above 0; the last one told counts), held until qn_request_queue_leave
 * has been called as often. NULL: no memory. */
qn_queue_client *qn_request_queue_join(qn_request_queue *q, const char *name, double weight);
void qn_request_queue_leave(qn_request_queue *q, qn_queue_client *client);

/* Puts an entry of a client at its place by arrival: one that was put back waits where it did. is_again: it
 * is not refused for max_waiting. False: too many wait. */
bool qn_request_queue_push(qn_request_queue *q, qn_queue_client *client, qn_queue_entry *entry,
                           bool is_again);
void qn_request_queue_remove(qn_request_queue *q, qn_queue_entry *entry); /* if it waits */

/* The entry that is next, which stays; NULL: nobody waits. `may` tells whether an entry can be served now
 * (NULL: all can); a client whose oldest one cannot is passed over. */
typedef bool qn_queue_may_fn(void *user, const qn_queue_entry *entry);
qn_queue_entry *qn_request_queue_best(qn_request_queue *q, uint64_t now_ns, qn_queue_may_fn *may, void *user);

/* The class that an entry has by now. */
int qn_request_queue_class(const qn_request_queue *q, const qn_queue_entry *entry, uint64_t now_ns);

/* The client has been served with work of that cost (tokens, or nanoseconds: the same everywhere). */
void qn_request_queue_charge(qn_request_queue *q, qn_queue_client *client, double cost);
/* What it has received for its weight; comparable between clients of a queue. */
double qn_request_queue_received(const qn_queue_client *client);

size_t qn_request_queue_size(const qn_request_queue *q);
/* How many would be served before this one if nobody else came. */
size_t qn_request_queue_position(const qn_request_queue *q, const qn_queue_entry *entry, uint64_t now_ns);

#endif
