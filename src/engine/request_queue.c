/* request_queue.c: see request_queue.h. Virtual time and its rule for those that come back are of start-time
 * fair queueing (Goyal, Vin and Cheng 1996); clients take the place of its flows.
 *
 * A line of a client has a list for each priority, by arrival. Within a list the first has waited longest, so
 * it has risen highest and is the oldest: to find who is next, only the first of each list is looked at.
 *
 *     clients:  | a  b  c  d | e  f |       a to d are there, in any order; e and f are away, remembered
 *                            n_there        because they were ahead of others when they left */
#include "engine/request_queue.h"

#include "base/alloc.h"
#include "base/hash_map.h"
#include "base/random.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    N_BUCKETS = 256,
    MAX_AWAY =
        1024, /* clients remembered while they are away: names come from outside, so there is a limit */
    MAX_CLIENTS = 1 << 24,
    MAX_WEIGHT = 1024, /* and its inverse the least: keeps virtual times within what a double tells apart */
};

typedef struct entry_list {
    qn_queue_entry *first, *last;
    uint64_t
        arrived_ns; /* of the first: between steps entries drop out of the caches, so they are left alone */
} entry_list;

typedef struct queue_line {
    entry_list waiting[QN_PRIORITIES];
    size_t n_waiting;
} queue_line;

struct qn_queue_client {
    double received;   /* virtual time */
    queue_line *lines; /* [n_lines] */
    size_t n_lines, n_waiting;
    size_t n_held; /* 0: away */
    double weight;
    size_t index; /* clients[index] is this one */
    uint64_t hash;
    qn_queue_client *next_in_bucket;
    char name[];
};

struct qn_request_queue {
    qn_queue_client **clients;
    size_t n_there, n_clients, capacity;
    size_t n_waiting, max_waiting;
    uint64_t aging_ns;
    uint64_t n_pushed;
    uint64_t seed; /* of the hash of names */
    qn_queue_client *buckets[N_BUCKETS];
};

/* What is compared to find who is next. */
typedef struct turn {
    int class_now;
    double received;
    uint64_t arrived_ns;
    const qn_queue_entry *entry;
} turn;

quern_status qn_request_queue_create(qn_request_queue **out, size_t max_waiting, uint64_t aging_ns,
                                     quern_error *err)
{
    qn_request_queue *q = *out = qn_calloc(1, sizeof *q);
    if (q == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "queue of requests: %zu bytes", sizeof *q);
    q->max_waiting = max_waiting;
    q->aging_ns = aging_ns;
    q->seed = qn_random_seed();
    return QUERN_OK;
}

static void free_client(qn_queue_client *client)
{
    qn_free(client->lines);
    qn_free(client);
}

void qn_request_queue_destroy(qn_request_queue *q)
{
    if (q == NULL) return;
    for (size_t i = 0; i < q->n_clients; i++) free_client(q->clients[i]);
    qn_free(q->clients);
    qn_free(q);
}

/* Clients: found by name, there while they are held, and remembered for a while after. */

static qn_queue_client **bucket_of(qn_request_queue *q, uint64_t hash)
{
    return &q->buckets[hash % N_BUCKETS];
}

static qn_queue_client *find_client(qn_request_queue *q, const char *name, uint64_t hash)
{
    qn_queue_client *client = *bucket_of(q, hash);
    while (client != NULL && (client->hash != hash || strcmp(client->name, name) != 0))
        client = client->next_in_bucket;
    return client;
}

/* A new client, away for now. NULL: no memory. */
static qn_queue_client *add_client(qn_request_queue *q, const char *name, uint64_t hash)
{
    if (!qn_grow(&q->clients, &q->capacity, q->n_clients + 1, MAX_CLIENTS, sizeof *q->clients)) return NULL;
    const size_t name_bytes = strlen(name) + 1;
    qn_queue_client *client = qn_calloc(1, sizeof *client + name_bytes);
    if (client == NULL) return NULL;
    memcpy(client->name, name, name_bytes);
    client->hash = hash;
    client->next_in_bucket = *bucket_of(q, hash);
    *bucket_of(q, hash) = client;
    client->index = q->n_clients;
    q->clients[q->n_clients++] = client;
    return client;
}

static void swap_clients(qn_request_queue *q, size_t i, size_t j)
{
    qn_queue_client *client = q->clients[i];
    q->clients[i] = q->clients[j];
    q->clients[j] = client;
    q->clients[i]->index = i;
    q->clients[j]->index = j;
}

static void forget_client(qn_request_queue *q, qn_queue_client *client)
{
    assert(client->n_held == 0 && client->index >= q->n_there);
    qn_queue_client **link = bucket_of(q, client->hash);
    while (*link != client) link = &(*link)->next_in_bucket;
    *link = client->next_in_bucket;
    swap_clients(q, client->index, q->n_clients - 1);
    q->n_clients--;
    free_client(client);
}

/* The least virtual time of those that are there; 0 if none is. */
static double least_received(const qn_request_queue *q)
{
    double least = q->n_there > 0 ? q->clients[0]->received : 0;
    for (size_t i = 1; i < q->n_there; i++) least = fmin(least, q->clients[i]->received);
    return least;
}

/* Forgets those that would come back at the least virtual time anyway, and if there are still too many, one
 * that is least ahead of it. */
static void forget_needless(qn_request_queue *q)
{
    const double least = q->n_there > 0 ? least_received(q) : INFINITY;
    qn_queue_client *nearest = NULL;
    for (size_t i = q->n_clients; i-- > q->n_there;) { /* backwards: the last one fills a gap */
        qn_queue_client *client = q->clients[i];
        if (client->received <= least) forget_client(q, client);
        else if (nearest == NULL || client->received < nearest->received) nearest = client;
    }
    if (q->n_clients - q->n_there > MAX_AWAY) forget_client(q, nearest);
}

/* Makes sure that the client has the line. */
static bool add_lines(qn_queue_client *client, size_t needed)
{
    if (needed < client->n_lines) return true;
    queue_line *lines = qn_calloc(needed + 1, sizeof *lines);
    if (lines == NULL) return false;
    if (client->n_lines > 0) memcpy(lines, client->lines, client->n_lines * sizeof *lines);
    qn_free(client->lines);
    client->lines = lines;
    client->n_lines = needed + 1;
    return true;
}

qn_queue_client *qn_request_queue_join(qn_request_queue *q, const char *name, double weight, size_t line)
{
    assert(weight > 0 && line < QN_QUEUE_LINES);
    const uint64_t hash = qn_hash_bytes(name, strlen(name), q->seed);
    qn_queue_client *client = find_client(q, name, hash);
    if (client == NULL) client = add_client(q, name, hash);
    if (client == NULL || !add_lines(client, line)) return NULL;
    if (client->n_held++ == 0) {
        client->received = fmax(client->received, least_received(q));
        swap_clients(q, client->index, q->n_there++);
    }
    client->weight = fmin(fmax(weight, 1.0 / MAX_WEIGHT), MAX_WEIGHT);
    return client;
}

void qn_request_queue_leave(qn_request_queue *q, qn_queue_client *client)
{
    assert(client->n_held > 0 && client->index < q->n_there);
    if (--client->n_held > 0) return;
    assert(client->n_waiting == 0);
    qn_free(client->lines);
    client->lines = NULL;
    client->n_lines = 0;
    swap_clients(q, client->index, --q->n_there);
    forget_needless(q);
}

void qn_request_queue_charge(qn_request_queue *q, qn_queue_client *client, double cost)
{
    assert(client->n_held > 0 && q->clients[client->index] == client);
    assert(cost >= 0 && isfinite(cost));
    (void)q;
    client->received += cost / client->weight;
}

double qn_request_queue_received(const qn_queue_client *client)
{
    return client->received;
}

/* Entries. */

static bool is_older(const qn_queue_entry *a, const qn_queue_entry *b)
{
    return a->arrived_ns != b->arrived_ns ? a->arrived_ns < b->arrived_ns : a->number < b->number;
}

/* The one before which an entry belongs; NULL: at the end. Most that are new come last, and one that is put
 * back was the first not long ago: so it is searched from where it is likely to be. */
static qn_queue_entry *find_place(const entry_list *list, const qn_queue_entry *entry, bool from_front)
{
    if (from_front) {
        qn_queue_entry *next = list->first;
        while (next != NULL && is_older(next, entry)) next = next->next;
        return next;
    }
    qn_queue_entry *next = NULL, *previous = list->last;
    while (previous != NULL && is_older(entry, previous)) next = previous, previous = previous->previous;
    return next;
}

bool qn_request_queue_push(qn_request_queue *q, qn_queue_client *client, qn_queue_entry *entry, bool is_again)
{
    assert(!entry->is_waiting && entry->priority >= 0 && entry->priority < QN_PRIORITIES);
    assert(client->n_held > 0 && q->clients[client->index] == client);
    if (!is_again && q->n_waiting >= q->max_waiting) return false;
    if (!is_again) entry->number = q->n_pushed++;
    assert(entry->line < client->n_lines);
    queue_line *l = &client->lines[entry->line];
    entry_list *list = &l->waiting[entry->priority];
    entry->client = client;
    entry->next = find_place(list, entry, is_again);
    entry->previous = entry->next != NULL ? entry->next->previous : list->last;
    *(entry->previous != NULL ? &entry->previous->next : &list->first) = entry;
    *(entry->next != NULL ? &entry->next->previous : &list->last) = entry;
    list->arrived_ns = list->first->arrived_ns;
    entry->is_waiting = true;
    l->n_waiting++;
    client->n_waiting++;
    q->n_waiting++;
    return true;
}

void qn_request_queue_remove(qn_request_queue *q, qn_queue_entry *entry)
{
    if (!entry->is_waiting) return;
    qn_queue_client *client = entry->client;
    queue_line *l = &client->lines[entry->line];
    entry_list *list = &l->waiting[entry->priority];
    assert(q->n_waiting > 0 && client->n_waiting > 0 && q->clients[client->index] == client);
    assert((entry->previous != NULL ? entry->previous->next : list->first) == entry);
    assert((entry->next != NULL ? entry->next->previous : list->last) == entry);
    *(entry->previous != NULL ? &entry->previous->next : &list->first) = entry->next;
    *(entry->next != NULL ? &entry->next->previous : &list->last) = entry->previous;
    if (list->first != NULL) list->arrived_ns = list->first->arrived_ns;
    entry->previous = entry->next = NULL;
    entry->is_waiting = false;
    l->n_waiting--;
    client->n_waiting--;
    q->n_waiting--;
}

size_t qn_request_queue_size(const qn_request_queue *q)
{
    return q->n_waiting;
}

/* Who is next. */

static int class_of(const qn_request_queue *q, int priority, uint64_t arrived_ns, uint64_t now_ns)
{
    if (q->aging_ns == 0 || now_ns <= arrived_ns) return priority;
    uint64_t waited_ns = now_ns - arrived_ns;
    for (; priority > 0 && waited_ns >= q->aging_ns; priority--) waited_ns -= q->aging_ns; /* no division */
    return priority;
}

int qn_request_queue_class(const qn_request_queue *q, const qn_queue_entry *entry, uint64_t now_ns)
{
    return class_of(q, entry->priority, entry->arrived_ns, now_ns);
}

static bool is_sooner(const turn *a, const turn *b)
{
    if (a->class_now != b->class_now) return a->class_now < b->class_now;
    if (a->received != b->received) return a->received < b->received;
    if (a->arrived_ns != b->arrived_ns) return a->arrived_ns < b->arrived_ns;
    return a->entry->number < b->entry->number;
}

/* Of a client's line in which somebody waits, the one that is next. */
static turn first_turn(const qn_request_queue *q, const qn_queue_client *client, const queue_line *l,
                       uint64_t now_ns)
{
    turn first = {.entry = NULL};
    for (int priority = 0; priority < QN_PRIORITIES; priority++) {
        const entry_list *list = &l->waiting[priority];
        if (list->first == NULL) continue;
        const turn other = {class_of(q, priority, list->arrived_ns, now_ns), client->received,
                            list->arrived_ns, list->first};
        if (first.entry == NULL || is_sooner(&other, &first)) first = other;
    }
    assert(first.entry != NULL);
    return first;
}

qn_queue_entry *qn_request_queue_best(qn_request_queue *q, uint64_t now_ns, qn_queue_may_fn *may, void *user)
{
    turn best = {.entry = NULL};
    for (size_t i = 0; i < q->n_there && q->n_waiting > 0; i++) {
        const qn_queue_client *client = q->clients[i];
        for (size_t k = 0; k < client->n_lines && client->n_waiting > 0; k++) {
            if (client->lines[k].n_waiting == 0) continue;
            const turn first = first_turn(q, client, &client->lines[k], now_ns);
            if (best.entry != NULL && !is_sooner(&first, &best)) continue;
            if (may == NULL || may(user, first.entry)) best = first;
        }
    }
    return (qn_queue_entry *)best.entry;
}

/* How many of a client's entries have their turn before a given one. Each of them moves the client on by a
 * step of virtual time, so what the n-th finds received is known without serving the others. */
static size_t count_sooner(const qn_request_queue *q, const qn_queue_client *client, const turn *limit,
                           uint64_t now_ns, double step)
{
    const qn_queue_entry *at[QN_QUEUE_LINES * QN_PRIORITIES];
    const size_t n_lists = client->n_lines * QN_PRIORITIES;
    size_t n = 0;
    for (size_t p = 0; p < n_lists; p++) {
        at[p] = client->lines[p / QN_PRIORITIES].waiting[p % QN_PRIORITIES].first;
        for (; at[p] != NULL && qn_request_queue_class(q, at[p], now_ns) < limit->class_now;
             at[p] = at[p]->next)
            n++;
    }
    for (;; n++) { /* those of the same class, from all lists by arrival */
        size_t oldest = n_lists;
        for (size_t p = 0; p < n_lists; p++) {
            if (at[p] == NULL || qn_request_queue_class(q, at[p], now_ns) > limit->class_now) continue;
            if (oldest == n_lists || is_older(at[p], at[oldest])) oldest = p;
        }
        if (oldest == n_lists || at[oldest] == limit->entry) return n;
        const turn other = {limit->class_now, client->received + (double)n * step, at[oldest]->arrived_ns,
                            at[oldest]};
        if (!is_sooner(&other, limit)) return n;
        at[oldest] = at[oldest]->next;
    }
}

size_t qn_request_queue_position(const qn_request_queue *q, const qn_queue_entry *entry, uint64_t now_ns,
                                 double cost_each)
{
    assert(entry->is_waiting && cost_each >= 0 && isfinite(cost_each));
    const qn_queue_client *own = entry->client;
    const double own_step = cost_each / own->weight;
    turn limit = {qn_request_queue_class(q, entry, now_ns), INFINITY, entry->arrived_ns, entry};
    size_t n = count_sooner(q, own, &limit, now_ns, own_step); /* up to itself: it stops there */
    limit.received = own->received + (double)n * own_step;
    for (size_t i = 0; i < q->n_there; i++) {
        const qn_queue_client *client = q->clients[i];
        if (client != own) n += count_sooner(q, client, &limit, now_ns, cost_each / client->weight);
    }
    assert(n < q->n_waiting);
    return n;
}
