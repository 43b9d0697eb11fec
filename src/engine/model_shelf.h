/* model_shelf.h: many models under one budget of bytes: which are in memory, which comes next, and which goes
 * for it. Numbers and times alone: who loads, and who serves, is elsewhere (served_models.h).
 *
 * A request is queued if its model is in and has room for a text of its length; otherwise it is parked until
 * its model comes. From the moment that a model has begun with a request until that has ended the request
 * holds the model, and what is held never goes.
 *
 * A parked request's model comes at once where there is room, or where models without requests can make it.
 * Of these the least valuable go: value is what being without it is expected to cost, for its bytes: how
 * often it was asked for lately, times how long loading it took (after GreedyDual-Size-Frequency: Cherkasova
 * 1998). Models with requests go on until they have none. But when a request was parked for max_swap_wait_ns,
 * the least valuable of them are drained: they take no more requests, and go when those that hold them have
 * ended. Each stays for a while after loading (a quarter of max_swap_wait_ns, twice the time that loading
 * took), so that loading never takes most of the time; and who is parked longest, for its priority, comes
 * first: so none starves.
 *
 * One thread at a time; nothing is allocated. */
#ifndef QN_ENGINE_MODEL_SHELF_H
#define QN_ENGINE_MODEL_SHELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QN_SHELF_PLACES = 64 };
#define QN_SHELF_NONE SIZE_MAX

typedef enum qn_shelf_state { QN_SHELF_OUT, QN_SHELF_COMING, QN_SHELF_IN, QN_SHELF_GOING } qn_shelf_state;

typedef struct qn_shelf_place { /* of one model; others read it */
    qn_shelf_state state;
    bool is_fixed;  /* in for good: not the shelf's to move */
    bool is_pinned; /* does not go for others */
    bool is_draining;
    bool load_asked, unload_asked;
    uint64_t idle_ns;        /* goes after so long without a request; 0: never */
    size_t full_n_ctx;       /* positions of a request that it should have */
    size_t n_ctx;            /* that it has, or comes with */
    uint64_t bytes;          /* that count now; 0: out */
    size_t n_held;           /* requests that it has begun with */
    size_t n_queued;         /* that wait, and may begin */
    size_t n_parked;         /* that wait for it to come */
    size_t parked_n_ctx;     /* at least what the longest of these needs */
    uint64_t parked_ns;      /* no later than the oldest of these came */
    uint64_t turn_ns;        /* the same, later for lower priorities */
    double heat;             /* requests, those before used_ns counting less and less */
    uint64_t used_ns, in_ns; /* last use; when it came */
    uint64_t load_ns;        /* what loading took the last time; 0: not known */
    bool is_short;           /* the last load found too little memory: */
    uint64_t short_bytes;    /* so much is to be given back before the next, if it can be */
    uint64_t retry_ns;       /* the last load failed: not again before */
    size_t n_loads, n_failed;
} qn_shelf_place;

/* Bytes that a model takes with a context of so many positions: more for more. */
typedef uint64_t qn_shelf_bytes_fn(void *user, size_t place, size_t n_ctx);

typedef struct qn_shelf_params {
    uint64_t limit_bytes, max_swap_wait_ns;
    qn_shelf_bytes_fn *bytes_at;
    void *user;
} qn_shelf_params;

typedef struct qn_model_shelf {
    qn_shelf_params params;
    qn_shelf_place places[QN_SHELF_PLACES]; /* [n_places] */
    size_t n_places;
    size_t moving;    /* comes or goes; QN_SHELF_NONE: none does */
    size_t target;    /* others are drained for it; QN_SHELF_NONE: none is */
    bool has_changed; /* since it was decided last */
    uint64_t next_ns; /* when to decide again in any case; UINT64_MAX: never */
} qn_model_shelf;

void qn_shelf_init(qn_model_shelf *s, const qn_shelf_params *params);
/* There must be a place left. The first: a model that can come and go; the second: one that is in for good.
 */
size_t qn_shelf_add(qn_model_shelf *s, size_t n_ctx, bool is_pinned, uint64_t idle_ns);
size_t qn_shelf_add_fixed(qn_model_shelf *s, size_t n_ctx, uint64_t bytes);
uint64_t qn_shelf_used_bytes(const qn_model_shelf *s);
bool qn_shelf_is_idle(const qn_shelf_place *p); /* in, with no request */

/* ---- requests ---- */

/* Whether a request that needs so many positions may be queued, and not only parked. */
bool qn_shelf_takes(const qn_model_shelf *s, size_t place, size_t n_ctx);
/* Somebody asks for the model: counts for its value, and who wanted it to go does not get that. */
void qn_shelf_use(qn_model_shelf *s, size_t place, uint64_t now_ns);
/* A request is queued, or parked; priority_ns: how much later it counts than one of the highest priority. */
void qn_shelf_queue(qn_model_shelf *s, size_t place);
void qn_shelf_park(qn_model_shelf *s, size_t place, size_t n_ctx, uint64_t arrived_ns, uint64_t priority_ns);
/* Somebody wants the model in, or out (where no request needs it), without a request. */
void qn_shelf_ask_load(qn_model_shelf *s, size_t place, uint64_t now_ns);
void qn_shelf_ask_unload(qn_model_shelf *s, size_t place);
/* It is so no more. */
void qn_shelf_unqueue(qn_model_shelf *s, size_t place);
void qn_shelf_unpark(qn_model_shelf *s, size_t place);
/* It holds the model, or does so no more. */
void qn_shelf_hold(qn_model_shelf *s, size_t place);
void qn_shelf_let_go(qn_model_shelf *s, size_t place, uint64_t now_ns);

/* ---- what is to be done ---- */

typedef enum qn_shelf_act {
    QN_SHELF_REST, /* nothing until next_ns, unless something happens */
    QN_SHELF_LOAD, /* begin to load with n_ctx, or, if memory is too short, less, but at least least_n_ctx */
    QN_SHELF_UNLOAD, /* begin to give it back; no request needs it */
    QN_SHELF_DRAIN,  /* what is queued for it is to be parked */
    QN_SHELF_RETURN, /* it shall not go after all: what is parked for it and can be is to be queued */
    QN_SHELF_REFUSE  /* parked requests need needed_bytes where at most there_bytes can be had: those that
                        need so much are to fail, then qn_shelf_reset_parked for those that remain */
} qn_shelf_act;

typedef struct qn_shelf_step {
    qn_shelf_act act;
    size_t place, n_ctx, least_n_ctx;
    uint64_t needed_bytes, there_bytes;
} qn_shelf_step;

/* Call it, and do what it says, until it says REST. Cheap where nothing has happened. */
qn_shelf_step qn_shelf_decide(qn_model_shelf *s, uint64_t now_ns);

/* None is parked any more; those that still are are parked again, one by one. */
void qn_shelf_reset_parked(qn_model_shelf *s, size_t place);
/* A load has ended well, after so long, with a context of n_ctx: what is parked for it can be queued. */
void qn_shelf_loaded(qn_model_shelf *s, size_t place, size_t n_ctx, uint64_t took_ns, uint64_t now_ns);
void qn_shelf_unloaded(qn_model_shelf *s, size_t place);
/* A load has failed, for want of memory or otherwise. True: it will be tried again; false: what is parked for
 * it is to fail, and then qn_shelf_reset_parked. */
bool qn_shelf_load_failed(qn_model_shelf *s, size_t place, bool for_memory, uint64_t took_ns,
                          uint64_t now_ns);

/* Requests lately, times the time that loading takes, per byte. */
double qn_shelf_value(const qn_model_shelf *s, size_t place, uint64_t now_ns);

#endif
