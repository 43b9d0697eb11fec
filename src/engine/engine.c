/* engine.c: many requests at once. One thread serves: it gives slots to who is next, ends who is canceled,
 * and lets the models take steps by turns. Whoever submits or cancels puts that down behind a mutex, which is
 * never held while a model runs or a callback is called. */
#include "engine/served_models.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

enum {
    DEFAULT_SWAP_WAIT_MS = 2000,
    DEFAULT_STALL_MS = 100,
    DEFAULT_WAITING = 10000,
    DEFAULT_AGING_MS = 10000,
    MAX_COUNTED = 256,   /* where more wait, a request is told that all of them are before it */
    ADMISSION_COST = 64, /* tokens that a client pays for a slot, so that clients take turns at them */
};

static const uint64_t DEFAULT_DISK_BYTES = (uint64_t)8 << 30;

struct quern_engine {
    quern_engine_params params;
    char *directory; /* of pages on the disk; or NULL */
    qn_thread_pool *pool;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t mutex; /* for what follows */
    pthread_cond_t changed;
    bool is_closing;
    bool wants_sweep;          /* somebody was canceled */
    bool has_pages;            /* some were read from the disk, or written */
    bool has_model;            /* one was loaded, or given back */
    size_t n_fetching;         /* requests whose pages are being read; of the engine's thread */
    uint64_t next_deadline_ns; /* no earlier one; UINT64_MAX: none */
    qn_request_queue *queue;
    qn_served_models models;
    qn_metrics metrics;     /* has a lock of its own */
    qn_write_budget budget; /* likewise */
    quern_request *refused; /* whose model cannot be loaded, through ->next_ended */
    quern_request *newest;  /* of all requests, through ->older */
    quern_request *arrived; /* newest of those that were not told that they wait, through ->next; held */
};

/* ---- the list of requests; under the mutex ----------------------------------------------------- */

static void enlist(quern_engine *e, quern_request *r)
{
    r->older = e->newest;
    if (e->newest != NULL) e->newest->newer = r;
    e->newest = r;
    if (r->deadline_ns != 0 && r->deadline_ns < e->next_deadline_ns) e->next_deadline_ns = r->deadline_ns;
}

static void strike_off(quern_engine *e, quern_request *r)
{
    if (r->newer != NULL) r->newer->older = r->older;
    else e->newest = r->older;
    if (r->older != NULL) r->older->newer = r->newer;
    qn_request_queue_leave(e->queue, r->client);
}

/* ---- where a request waits; under the mutex ------------------------------------------------------ */

static quern_request *request_of(const qn_queue_entry *entry)
{
    return (quern_request *)((char *)(uintptr_t)entry - offsetof(quern_request, entry));
}

static bool waits(const quern_request *r)
{
    return r->entry.is_waiting || r->is_parked;
}

static bool queue_up(quern_engine *e, quern_request *r, bool is_again)
{
    if (!qn_request_queue_push(e->queue, r->client, &r->entry, is_again)) return false;
    qn_shelf_queue(&e->models.shelf, r->model);
    return true;
}

static void park(quern_engine *e, quern_request *r)
{
    const uint64_t aging_ns = (uint64_t)e->params.aging_ms * 1000000;
    r->is_parked = true;
    r->parked_ns = qn_clock_ns();
    qn_shelf_park(&e->models.shelf, r->model, qn_request_positions(r), r->entry.arrived_ns,
                  aging_ns * (uint64_t)r->entry.priority);
}

static void leave_park(quern_request *r)
{
    r->is_parked = false;
    r->result.unloaded_ns += qn_clock_ns() - r->parked_ns;
}

/* It waits no more, wherever it did. */
static void stop_waiting(quern_engine *e, quern_request *r)
{
    if (r->entry.is_waiting) {
        qn_request_queue_remove(e->queue, &r->entry);
        qn_shelf_unqueue(&e->models.shelf, r->model);
    } else if (r->is_parked) {
        leave_park(r);
        qn_shelf_unpark(&e->models.shelf, r->model);
    }
}

/* ---- what models that come and go do with requests; under the mutex ------------------------------- */

static void park_queued(void *user, size_t model)
{
    quern_engine *e = user;
    for (quern_request *r = e->newest; r != NULL; r = r->older) {
        if (r->model != model || !r->entry.is_waiting || r->is_held) continue;
        stop_waiting(e, r);
        park(e, r);
    }
}

/* The newest first: so each finds its place at the front. */
static void queue_parked(void *user, size_t model)
{
    quern_engine *e = user;
    for (quern_request *r = e->newest; r != NULL; r = r->older) {
        if (r->model != model || !r->is_parked) continue;
        if (!qn_shelf_takes(&e->models.shelf, model, qn_request_positions(r))) continue;
        stop_waiting(e, r);
        queue_up(e, r, true);
    }
}

static void fail_parked(void *user, size_t model, uint64_t there_bytes)
{
    quern_engine *e = user;
    for (quern_request *r = e->newest; r != NULL; r = r->older) {
        if (r->model != model || !r->is_parked) continue;
        leave_park(r); /* the shelf has none by now */
        if (there_bytes > 0 &&
            qn_served_models_bytes(&e->models, model, qn_request_positions(r)) <= there_bytes) {
            park(e, r);
            continue;
        }
        r->next_ended = e->refused;
        e->refused = r;
    }
}

static void loader_done(void *user)
{
    quern_engine *e = user;
    pthread_mutex_lock(&e->mutex);
    e->has_model = true;
    pthread_cond_signal(&e->changed);
    pthread_mutex_unlock(&e->mutex);
}

/* ---- what runners tell ------------------------------------------------------------------------- */

static void request_ended(void *user, quern_request *r)
{
    quern_engine *e = user;
    pthread_mutex_lock(&e->mutex);
    strike_off(e, r);
    if (r->is_held) qn_shelf_let_go(&e->models.shelf, r->model, qn_clock_ns());
    pthread_mutex_unlock(&e->mutex);
    qn_request_let_go(r);
}

static void request_put_back(void *user, quern_request *r)
{
    quern_engine *e = user;
    pthread_mutex_lock(&e->mutex);
    queue_up(e, r, true);
    pthread_mutex_unlock(&e->mutex);
}

static void requests_served(void *user, const qn_service *services, size_t n)
{
    quern_engine *e = user;
    pthread_mutex_lock(&e->mutex);
    for (size_t i = 0; i < n; i++)
        qn_request_queue_charge(e->queue, services[i].request->client, services[i].cost);
    pthread_mutex_unlock(&e->mutex);
}

static void pages_came(void *user)
{
    quern_engine *e = user;
    pthread_mutex_lock(&e->mutex);
    e->has_pages = true;
    pthread_cond_signal(&e->changed);
    pthread_mutex_unlock(&e->mutex);
}

/* ---- serving ----------------------------------------------------------------------------------- */

/* Whoever is queued has a model that is in memory. */
static qn_runner *runner_of(const quern_engine *e, const quern_request *r)
{
    return e->models.items[r->model].runner;
}

static bool may_run(void *user, const qn_queue_entry *entry)
{
    const quern_engine *e = user;
    const quern_request *r = request_of(entry);
    return !e->models.items[r->model].is_full && qn_runner_has_slot(runner_of(e, r), r);
}

/* Who is next, of those whose model has room for it: nobody passes one that waits for room, else a long
 * request would wait for ever beside short ones. The mutex is held. */
static quern_request *best_with_room(quern_engine *e, uint64_t now)
{
    for (;;) {
        qn_queue_entry *entry = qn_request_queue_best(e->queue, now, may_run, e);
        quern_request *r = entry != NULL ? request_of(entry) : NULL;
        if (r == NULL || qn_runner_has_room(runner_of(e, r), r)) return r;
        e->models.items[r->model].is_full = true;
    }
}

/* Takes a request out of the queue, for a slot. The mutex is held. */
static void take_out(quern_engine *e, quern_request *r)
{
    stop_waiting(e, r);
    if (!r->is_held) qn_shelf_hold(&e->models.shelf, r->model);
    r->is_held = true;
    qn_request_queue_charge(e->queue, r->client, ADMISSION_COST);
}

/* The request that gets a slot now, taken out of the queue; NULL: none. */
static quern_request *next_to_run(quern_engine *e)
{
    pthread_mutex_lock(&e->mutex);
    quern_request *r = best_with_room(e, qn_clock_ns());
    if (r != NULL) take_out(e, r);
    pthread_mutex_unlock(&e->mutex);
    return r;
}

static bool may_yield(void *user, const qn_queue_entry *entry)
{
    return qn_runner_may_yield(runner_of(user, request_of(entry)), request_of(entry));
}

/* One who takes the slot of another with a lower priority, which is free now; NULL: nobody. */
static quern_request *urgent_to_run(quern_engine *e)
{
    pthread_mutex_lock(&e->mutex);
    const qn_queue_entry *entry = qn_request_queue_best(e->queue, qn_clock_ns(), may_yield, e);
    quern_request *r = entry != NULL ? request_of(entry) : NULL;
    if (r != NULL) take_out(e, r);
    pthread_mutex_unlock(&e->mutex);
    if (r != NULL) qn_runner_yield(runner_of(e, r));
    return r;
}

/* The model that goes on: of those with work, the one that has received least. */
static qn_served_model *next_model(quern_engine *e)
{
    qn_served_model *best = NULL;
    for (size_t i = 0; i < e->models.n_items; i++) {
        qn_served_model *m = &e->models.items[i];
        if (m->runner == NULL || qn_runner_active(m->runner) == 0) continue;
        if (best == NULL || m->received_ns < best->received_ns) best = m;
    }
    return best;
}

/* A model that has work again: what it did not use meanwhile is gone. */
static void catch_up(quern_engine *e, qn_served_model *m)
{
    const qn_served_model *least = next_model(e);
    if (least != NULL && m->received_ns < least->received_ns) m->received_ns = least->received_ns;
}

/* Whether answers of other models than this one are being drawn. */
static bool others_stream(const quern_engine *e, const qn_served_model *m)
{
    for (size_t i = 0; i < e->models.n_items; i++) {
        const qn_runner *other = e->models.items[i].runner;
        if (other != NULL && other != m->runner && qn_runner_streams(other)) return true;
    }
    return false;
}

static void admit(quern_engine *e)
{
    for (size_t i = 0; i < e->models.n_items; i++) e->models.items[i].is_full = false;
    quern_request *r = urgent_to_run(e);
    for (r = r != NULL ? r : next_to_run(e); r != NULL; r = next_to_run(e)) {
        qn_served_model *m = &e->models.items[r->model];
        if (qn_runner_fetch(m->runner, r)) {
            e->n_fetching++;
            continue;
        }
        if (qn_runner_active(m->runner) == 0) catch_up(e, m);
        qn_runner_admit(m->runner, r);
    }
}

/* Requests whose pages have been read wait again, for a slot. */
static void collect(quern_engine *e)
{
    pthread_mutex_lock(&e->mutex);
    const bool has_pages = e->has_pages;
    e->has_pages = false;
    pthread_mutex_unlock(&e->mutex);
    for (size_t i = 0; i < e->models.n_items && has_pages; i++) {
        qn_runner *runner = e->models.items[i].runner;
        for (quern_request *r; runner != NULL && (r = qn_runner_collect(runner)) != NULL;) {
            e->n_fetching--;
            request_put_back(e, r);
            pthread_mutex_lock(&e->mutex);
            e->wants_sweep |= atomic_load(&r->is_canceled) || r->deadline_ns != 0;
            pthread_mutex_unlock(&e->mutex);
        }
    }
}

/* Tells those that came since the last time how many are before them, if they still wait. */
static void tell_arrived(quern_engine *e)
{
    quern_request *in_order = NULL;
    pthread_mutex_lock(&e->mutex);
    for (quern_request *r = e->arrived, *older; r != NULL; r = older) {
        older = r->next;
        r->next = in_order;
        in_order = r;
    }
    e->arrived = NULL;
    pthread_mutex_unlock(&e->mutex);
    for (quern_request *r = in_order, *newer; r != NULL; r = newer) {
        newer = r->next;
        if (waits(r)) qn_request_tell(r, &(quern_event){.kind = QUERN_EVENT_QUEUED, .n_ahead = r->n_ahead});
        qn_request_let_go(r);
    }
}

/* Ends who waits and is canceled or late. */
static void sweep_waiting(quern_engine *e, uint64_t now)
{
    quern_request *ended = NULL;
    pthread_mutex_lock(&e->mutex);
    for (quern_request *r = e->newest; r != NULL; r = r->older) {
        if (!waits(r) || !qn_request_must_end(r, now)) continue;
        stop_waiting(e, r);
        r->next_ended = ended;
        ended = r;
    }
    pthread_mutex_unlock(&e->mutex);
    while (ended != NULL) {
        quern_request *r = ended;
        quern_error err = {0};
        ended = r->next_ended;
        qn_request_end(r, QUERN_OK, &err);
        request_ended(e, r);
    }
}

static void sweep(quern_engine *e)
{
    const uint64_t now = qn_clock_ns();
    pthread_mutex_lock(&e->mutex);
    const bool wanted = e->wants_sweep || now >= e->next_deadline_ns;
    e->wants_sweep = false;
    pthread_mutex_unlock(&e->mutex);
    if (!wanted) return;
    for (size_t i = 0; i < e->models.n_items; i++)
        if (e->models.items[i].runner != NULL) qn_runner_sweep(e->models.items[i].runner, now);
    sweep_waiting(e, now);
    pthread_mutex_lock(&e->mutex);
    e->next_deadline_ns = UINT64_MAX;
    for (const quern_request *r = e->newest; r != NULL; r = r->older)
        if (r->deadline_ns > now && r->deadline_ns < e->next_deadline_ns) /* else its pages are being read */
            e->next_deadline_ns = r->deadline_ns;
    pthread_mutex_unlock(&e->mutex);
}

/* Models come and go; the requests of those that cannot come fail. */
static void move_models(quern_engine *e)
{
    pthread_mutex_lock(&e->mutex);
    e->has_model = false;
    qn_served_models_turn(&e->models, qn_clock_ns());
    for (quern_request *r; (r = e->refused) != NULL;) {
        quern_error err = e->models.items[r->model].error;
        e->refused = r->next_ended;
        pthread_mutex_unlock(&e->mutex);
        qn_request_end(r, err.status, &err);
        request_ended(e, r);
        pthread_mutex_lock(&e->mutex);
    }
    pthread_mutex_unlock(&e->mutex);
}

/* Whether there is something to do now; the mutex is held. */
static bool has_work(quern_engine *e)
{
    return e->is_closing || e->wants_sweep || e->has_pages || e->has_model || e->models.shelf.has_changed ||
           qn_request_queue_size(e->queue) > 0 || next_model(e) != NULL;
}

/* Sleeps until there is something to do. False: the engine closes. */
static bool wait_for_work(quern_engine *e)
{
    pthread_mutex_lock(&e->mutex);
    if (!has_work(e)) qn_metrics_turn_to(&e->metrics, QN_PURPOSE_IDLE);
    while (!has_work(e)) {
        const uint64_t shelf_ns = e->models.shelf.next_ns,
                       at = shelf_ns < e->next_deadline_ns ? shelf_ns : e->next_deadline_ns;
        const struct timespec until = {.tv_sec = (time_t)(at / 1000000000),
                                       .tv_nsec = (long)(at % 1000000000)};
        if (at == UINT64_MAX) pthread_cond_wait(&e->changed, &e->mutex);
        else if (pthread_cond_timedwait(&e->changed, &e->mutex, &until) != 0) break; /* the time has come */
    }
    const bool goes_on = !e->is_closing;
    pthread_mutex_unlock(&e->mutex);
    qn_metrics_turn_to(&e->metrics, QN_PURPOSE_SCHEDULE);
    return goes_on;
}

static void *serve(void *user)
{
    quern_engine *e = user;
    const uint64_t budget_ns = (uint64_t)e->params.max_stall_ms * 1000000;
    while (wait_for_work(e)) {
        collect(e);
        sweep(e);
        move_models(e);
        admit(e);
        tell_arrived(e);
        qn_served_model *m = next_model(e);
        if (m != NULL) m->received_ns += (double)qn_runner_step(m->runner, budget_ns, others_stream(e, m));
    }
    while (e->n_fetching > 0) {
        pthread_mutex_lock(&e->mutex);
        while (!e->has_pages) pthread_cond_wait(&e->changed, &e->mutex);
        pthread_mutex_unlock(&e->mutex);
        collect(e);
    }
    pthread_mutex_lock(&e->mutex);
    for (quern_request *r = e->newest; r != NULL; r = r->older) atomic_store(&r->is_canceled, true);
    e->wants_sweep = true;
    pthread_mutex_unlock(&e->mutex);
    tell_arrived(e);
    sweep(e);
    return NULL;
}

/* ---- requests ---------------------------------------------------------------------------------- */

quern_request_params quern_request_params_default(void)
{
    return (quern_request_params){
        .struct_bytes = sizeof(quern_request_params), .priority = QUERN_PRIORITY_NORMAL, .weight = 1.0};
}

static qn_prefix_key name_space_of(const char *scope)
{
    quern_token letters[256];
    qn_prefix_key key = {0};
    for (size_t n = 0; *scope != '\0'; n = 0) {
        while (n < 256 && *scope != '\0') letters[n++] = (unsigned char)*scope++;
        key = qn_prefix_key_of(key, letters, n);
    }
    return key;
}

static quern_status check_request(const quern_request_params *p, quern_error *err)
{
    if ((unsigned)p->priority >= QN_PRIORITIES)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "priority %d (0 to %d are possible)", (int)p->priority,
                       QN_PRIORITIES - 1);
    if (p->n_answers > QUERN_MAX_ANSWERS)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%u answers (at most %d are possible)", p->n_answers,
                       QUERN_MAX_ANSWERS);
    if (p->n_top_log_probs > QUERN_MAX_TOP_LOG_PROBS)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "log-probabilities of %u tokens (at most %d are possible)",
                       p->n_top_log_probs, QUERN_MAX_TOP_LOG_PROBS);
    if (!(p->weight > 0.0) || p->weight > 1e6)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "weight %g (above 0, at most 1e6)", p->weight);
    return QUERN_OK;
}

static size_t count_parked(const quern_engine *e)
{
    size_t n = 0;
    for (size_t i = 0; i < e->models.shelf.n_places; i++) n += e->models.shelf.places[i].n_parked;
    return n;
}

/* Puts one answer of a new request into the queue; under the mutex. */
static quern_status enqueue_one(quern_engine *e, quern_request *r, const quern_request_params *p,
                                quern_error *err)
{
    r->client = qn_request_queue_join(e->queue, p->client != NULL ? p->client : "", p->weight, r->model);
    r->entry.line = r->model;
    if (r->client == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "request: no memory");
    if (count_parked(e) + qn_request_queue_size(e->queue) < e->params.max_waiting && queue_up(e, r, false))
        return QUERN_OK;
    qn_request_queue_leave(e->queue, r->client);
    return qn_fail(err, QUERN_ERR_BUSY, "%u requests wait already (try again later)", e->params.max_waiting);
}

/* How many are before a new request, which is queued. */
static size_t count_ahead(const quern_engine *e, const quern_request *r)
{
    const size_t n_waiting = qn_request_queue_size(e->queue);
    if (n_waiting > MAX_COUNTED) return n_waiting - 1;
    return qn_request_queue_position(e->queue, &r->entry, r->submitted_ns, ADMISSION_COST);
}

/* An answer that is queued is one of the engine's from now on, and waits there or for its model; under the
 * mutex. */
static void take_on(quern_engine *e, quern_request *r)
{
    qn_model_shelf *shelf = &e->models.shelf;
    enlist(e, r);
    qn_metrics_count_submitted(&e->metrics, QUERN_OK);
    r->n_ahead = count_ahead(e, r);
    qn_served_models_use(&e->models, r->model, r->submitted_ns);
    if (!qn_shelf_takes(shelf, r->model, qn_request_positions(r))) {
        r->n_ahead += shelf->places[r->model].n_parked;
        stop_waiting(e, r);
        park(e, r);
    }
    r->next = e->arrived;
    e->arrived = r;
    qn_request_hold(r), qn_request_hold(r); /* until it has ended, and until it was told */
}

/* Puts a new request into the queue, all its answers or none. */
static quern_status enqueue(quern_engine *e, quern_request *first, const quern_request_params *p,
                            quern_error *err)
{
    pthread_mutex_lock(&e->mutex);
    quern_status s = e->is_closing
                         ? qn_fail(err, QUERN_ERR_CANCELED, "the engine is being closed")
                         : qn_served_models_check(&e->models, first->model, first->submitted_ns, err);
    quern_request *end = first;
    while (end != NULL && s == QUERN_OK) {
        s = enqueue_one(e, end, p, err);
        if (s == QUERN_OK) end = end->next_answer;
    }
    for (quern_request *r = first; r != end; r = r->next_answer) {
        if (s == QUERN_OK) {
            take_on(e, r);
            continue;
        }
        stop_waiting(e, r);
        qn_request_queue_leave(e->queue, r->client);
    }
    pthread_cond_signal(&e->changed);
    pthread_mutex_unlock(&e->mutex);
    return s;
}

static quern_status submit(quern_engine *e, const quern_request_params *p, quern_request **out,
                           quern_error *err)
{
    quern_status s = check_request(p, err);
    if (s != QUERN_OK) return s;
    pthread_mutex_lock(&e->mutex);
    const size_t model = qn_served_models_find(&e->models, p->model);
    pthread_mutex_unlock(&e->mutex);
    if (model == QN_SHELF_NONE) return qn_served_models_fail_unknown(p->model, err);
    const qn_served_model *m = &e->models.items[model]; /* what is read of it never changes */
    quern_request *r;
    s = qn_request_create(&r, m->described, m->n_ctx, p, err);
    if (s != QUERN_OK) return s;
    const qn_prefix_key name_space = name_space_of(p->cache_scope != NULL ? p->cache_scope
                                                   : p->client != NULL    ? p->client
                                                                          : "");
    for (quern_request *a = r; a != NULL; a = a->next_answer)
        a->engine = e, a->metrics = &e->metrics, a->model = model, a->name_space = name_space;
    *out = r; /* before a callback can see it */
    s = enqueue(e, r, p, err);
    if (s != QUERN_OK) qn_request_let_go(r);
    return s;
}

quern_status quern_submit(quern_engine *e, const quern_request_params *params, quern_request **out,
                          quern_error *err)
{
    quern_request_params p = quern_request_params_default();
    memcpy(&p, params, qn_min_size(params->struct_bytes, sizeof p));
    *out = NULL;
    const quern_status s = submit(e, &p, out, err);
    if (s != QUERN_OK) {
        qn_metrics_count_submitted(&e->metrics, s);
        *out = NULL;
    }
    return s;
}

void quern_request_cancel(quern_request *first)
{
    bool has_ended = true;
    pthread_mutex_lock(&first->news.mutex);
    for (const quern_request *r = first; r != NULL; r = r->next_answer) has_ended &= r->news.has_ended;
    if (!has_ended) {
        quern_engine *e = first->engine;
        pthread_mutex_lock(&e->mutex);
        for (quern_request *r = first; r != NULL; r = r->next_answer) atomic_store(&r->is_canceled, true);
        e->wants_sweep = true;
        pthread_cond_signal(&e->changed);
        pthread_mutex_unlock(&e->mutex);
    }
    pthread_mutex_unlock(&first->news.mutex);
}

void quern_request_release(quern_request *r)
{
    if (r == NULL) return;
    quern_request_cancel(r);
    qn_request_let_go(r);
}

/* ---- what it did ------------------------------------------------------------------------------- */

void quern_engine_get_metrics(quern_engine *e, quern_engine_metrics *metrics)
{
    qn_metrics_get(&e->metrics, metrics);
    pthread_mutex_lock(&e->mutex);
    const qn_model_shelf *shelf = &e->models.shelf;
    for (size_t i = 0; i < shelf->n_places; i++) {
        const qn_shelf_place *place = &shelf->places[i];
        metrics->n_begun += place->n_held;
        metrics->n_waiting += place->n_queued + place->n_parked;
        metrics->n_unloaded += place->n_parked;
        metrics->n_loads += place->n_loads;
        metrics->n_failed_loads += place->n_failed;
        metrics->memory_bytes += place->bytes;
    }
    metrics->limit_bytes = shelf->params.limit_bytes;
    pthread_mutex_unlock(&e->mutex);
}

/* ---- life -------------------------------------------------------------------------------------- */

quern_engine_params quern_engine_params_default(void)
{
    return (quern_engine_params){.struct_bytes = sizeof(quern_engine_params),
                                 .max_stall_ms = DEFAULT_STALL_MS,
                                 .max_waiting = DEFAULT_WAITING,
                                 .aging_ms = DEFAULT_AGING_MS,
                                 .max_swap_wait_ms = DEFAULT_SWAP_WAIT_MS};
}

static quern_status open_models(quern_engine *e, quern_error *err)
{
    const quern_engine_params *p = &e->params;
    const qn_served_params params = {
        .hooks = {e, park_queued, queue_parked, fail_parked},
        .host = {.user = e,
                 .ended = request_ended,
                 .put_back = request_put_back,
                 .wake = pages_came,
                 .served = requests_served,
                 .metrics = &e->metrics},
        .disk = {.directory = p->cache_directory, .max_bytes = p->cache_max_bytes, .budget = &e->budget},
        .pool = e->pool,
        .mutex = &e->mutex,
        .changed = &e->changed,
        .memory_limit = p->memory_limit,
        .max_swap_wait_ns = (uint64_t)p->max_swap_wait_ms * 1000000,
        .loader_done = loader_done};
    return qn_served_models_init(&e->models, &params, err);
}

static quern_status start(quern_engine *e, quern_error *err)
{
    quern_engine_params *p = &e->params;
    if (p->n_threads <= 0) p->n_threads = qn_default_threads();
    if (p->n_threads > QN_MAX_THREADS)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%d threads (1 to %d are possible)", p->n_threads,
                       QN_MAX_THREADS);
    if (p->max_stall_ms == 0) p->max_stall_ms = DEFAULT_STALL_MS;
    if (p->max_waiting == 0) p->max_waiting = DEFAULT_WAITING;
    if (p->aging_ms == 0) p->aging_ms = DEFAULT_AGING_MS;
    if (p->max_swap_wait_ms == 0) p->max_swap_wait_ms = DEFAULT_SWAP_WAIT_MS;
    if (p->cache_max_bytes == 0) p->cache_max_bytes = DEFAULT_DISK_BYTES;
    if (p->cache_hourly_bytes == 0) p->cache_hourly_bytes = DEFAULT_DISK_BYTES;
    if (p->cache_directory != NULL &&
        (p->cache_directory = e->directory = qn_strdup(p->cache_directory)) == NULL)
        return qn_fail(err, QUERN_ERR_NOMEM, "engine: no memory");
    e->next_deadline_ns = UINT64_MAX;
    e->budget.hourly_bytes = p->cache_hourly_bytes;
    quern_status s = qn_request_queue_create(&e->queue, p->max_waiting, (uint64_t)p->aging_ms * 1000000, err);
    if (s == QUERN_OK) s = qn_thread_pool_create(&e->pool, p->n_threads, err);
    if (s == QUERN_OK) s = open_models(e, err);
    if (s != QUERN_OK) return s;
    e->has_thread = pthread_create(&e->thread, NULL, serve, e) == 0;
    return e->has_thread ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "engine: the system gives no thread");
}

quern_status quern_engine_create(quern_engine **out, const quern_engine_params *params, quern_error *err)
{
    quern_engine *e = *out = qn_calloc(1, sizeof *e);
    if (e == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "engine: no memory");
    e->params = quern_engine_params_default();
    if (params != NULL) memcpy(&e->params, params, qn_min_size(params->struct_bytes, sizeof e->params));
    pthread_mutex_init(&e->mutex, NULL);
    qn_metrics_init(&e->metrics);
    qn_write_budget_init(&e->budget, 0);
    pthread_condattr_t clock; /* that of qn_clock_ns */
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&e->changed, &clock);
    pthread_condattr_destroy(&clock);
    const quern_status s = start(e, err);
    if (s != QUERN_OK) quern_engine_destroy(e), *out = NULL;
    return s;
}

void quern_engine_destroy(quern_engine *e)
{
    if (e == NULL) return;
    if (e->has_thread) {
        pthread_mutex_lock(&e->mutex);
        e->is_closing = true;
        pthread_cond_signal(&e->changed);
        pthread_mutex_unlock(&e->mutex);
        pthread_join(e->thread, NULL);
    }
    qn_served_models_deinit(&e->models);
    qn_thread_pool_destroy(e->pool);
    qn_request_queue_destroy(e->queue);
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->mutex);
    qn_metrics_deinit(&e->metrics);
    qn_write_budget_deinit(&e->budget);
    qn_free(e->directory);
    qn_free(e);
}

qn_served_models *qn_engine_models(quern_engine *e)
{
    return &e->models;
}
