/* engine.c: many requests at once. One thread serves: it gives slots to who is next, ends who is canceled,
 * and lets the models take steps by turns. Whoever submits or cancels puts that down behind a mutex, which is
 * never held while a model runs or a callback is called. */
#include "engine/runner.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"

#include <stddef.h>
#include <string.h>

enum {
    MAX_MODELS = 64,
    DEFAULT_STALL_MS = 100,
    DEFAULT_WAITING = 10000,
    DEFAULT_AGING_MS = 10000,
    MAX_COUNTED = 256,   /* where more wait, a request is told that all of them are before it */
    ADMISSION_COST = 64, /* tokens that a client pays for a slot, so that clients take turns at them */
};

static const uint64_t DEFAULT_DISK_BYTES = (uint64_t)8 << 30;

typedef struct served_model {
    qn_runner *runner;
    double received_ns; /* of steps, counted so that models that have work share the time alike */
} served_model;

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
    size_t n_fetching;         /* requests whose pages are being read; of the engine's thread */
    uint64_t next_deadline_ns; /* no earlier one; UINT64_MAX: none */
    qn_request_queue *queue;
    served_model models[MAX_MODELS]; /* [n_models]; added to, never taken away */
    atomic_size_t n_models;
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

/* ---- what runners tell ------------------------------------------------------------------------- */

static void request_ended(void *user, quern_request *r)
{
    quern_engine *e = user;
    pthread_mutex_lock(&e->mutex);
    strike_off(e, r);
    pthread_mutex_unlock(&e->mutex);
    qn_request_let_go(r);
}

static void request_put_back(void *user, quern_request *r)
{
    quern_engine *e = user;
    pthread_mutex_lock(&e->mutex);
    qn_request_queue_push(e->queue, r->client, &r->entry, true);
    pthread_mutex_unlock(&e->mutex);
}

static void request_served(void *user, quern_request *r, double cost)
{
    quern_engine *e = user;
    pthread_mutex_lock(&e->mutex);
    qn_request_queue_charge(e->queue, r->client, cost);
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

static quern_request *request_of(const qn_queue_entry *entry)
{
    return (quern_request *)((char *)(uintptr_t)entry - offsetof(quern_request, entry));
}

static bool may_run(void *user, const qn_queue_entry *entry)
{
    (void)user;
    const quern_request *r = request_of(entry);
    return qn_runner_may_admit(r->runner, r);
}

/* The request that gets a slot now, taken out of the queue; NULL: none. */
static quern_request *next_to_run(quern_engine *e)
{
    pthread_mutex_lock(&e->mutex);
    qn_queue_entry *entry = qn_request_queue_best(e->queue, qn_clock_ns(), may_run, NULL);
    if (entry != NULL) {
        qn_request_queue_remove(e->queue, entry);
        qn_request_queue_charge(e->queue, entry->client, ADMISSION_COST);
    }
    pthread_mutex_unlock(&e->mutex);
    return entry != NULL ? request_of(entry) : NULL;
}

/* Whoever is next although no slot is free takes that of one with a lower priority. */
static void let_urgent_in(quern_engine *e)
{
    pthread_mutex_lock(&e->mutex);
    qn_queue_entry *entry = qn_request_queue_best(e->queue, qn_clock_ns(), NULL, NULL);
    pthread_mutex_unlock(&e->mutex);
    if (entry != NULL) qn_runner_yield(request_of(entry)->runner, request_of(entry));
}

/* The model that goes on: of those with work, the one that has received least. */
static served_model *next_model(quern_engine *e)
{
    served_model *best = NULL;
    for (size_t i = 0; i < e->n_models; i++) {
        served_model *m = &e->models[i];
        if (qn_runner_active(m->runner) > 0 && (best == NULL || m->received_ns < best->received_ns)) best = m;
    }
    return best;
}

/* A model that has work again: what it did not use meanwhile is gone. */
static void catch_up(quern_engine *e, const qn_runner *runner)
{
    const served_model *least = next_model(e);
    for (size_t i = 0; i < e->n_models && least != NULL; i++)
        if (e->models[i].runner == runner && e->models[i].received_ns < least->received_ns)
            e->models[i].received_ns = least->received_ns;
}

static void admit(quern_engine *e)
{
    let_urgent_in(e);
    for (quern_request *r; (r = next_to_run(e)) != NULL;) {
        if (qn_runner_fetch(r->runner, r)) {
            e->n_fetching++;
            continue;
        }
        if (qn_runner_active(r->runner) == 0) catch_up(e, r->runner);
        qn_runner_admit(r->runner, r);
    }
}

/* Requests whose pages have been read wait again, for a slot. */
static void collect(quern_engine *e)
{
    pthread_mutex_lock(&e->mutex);
    const bool has_pages = e->has_pages;
    e->has_pages = false;
    pthread_mutex_unlock(&e->mutex);
    for (size_t i = 0; i < e->n_models && has_pages; i++)
        for (quern_request *r; (r = qn_runner_collect(e->models[i].runner)) != NULL;) {
            e->n_fetching--;
            request_put_back(e, r);
            pthread_mutex_lock(&e->mutex);
            e->wants_sweep |= atomic_load(&r->is_canceled);
            pthread_mutex_unlock(&e->mutex);
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
        if (r->entry.is_waiting)
            qn_request_tell(r, &(quern_event){.kind = QUERN_EVENT_QUEUED, .n_ahead = r->n_ahead});
        qn_request_let_go(r);
    }
}

/* Ends who waits and is canceled or late. */
static void sweep_waiting(quern_engine *e, uint64_t now)
{
    quern_request *ended = NULL;
    pthread_mutex_lock(&e->mutex);
    for (quern_request *r = e->newest; r != NULL; r = r->older) {
        if (!r->entry.is_waiting || !qn_request_must_end(r, now)) continue;
        qn_request_queue_remove(e->queue, &r->entry);
        r->next = ended;
        ended = r;
    }
    pthread_mutex_unlock(&e->mutex);
    while (ended != NULL) {
        quern_request *r = ended;
        quern_error err = {0};
        ended = r->next;
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
    for (size_t i = 0; i < e->n_models; i++) qn_runner_sweep(e->models[i].runner, now);
    sweep_waiting(e, now);
    pthread_mutex_lock(&e->mutex);
    e->next_deadline_ns = UINT64_MAX;
    for (const quern_request *r = e->newest; r != NULL; r = r->older)
        if (r->deadline_ns != 0 && r->deadline_ns < e->next_deadline_ns) e->next_deadline_ns = r->deadline_ns;
    pthread_mutex_unlock(&e->mutex);
}

/* Sleeps until there is something to do. False: the engine closes. */
static bool wait_for_work(quern_engine *e)
{
    pthread_mutex_lock(&e->mutex);
    while (!e->is_closing && !e->wants_sweep && !e->has_pages && qn_request_queue_size(e->queue) == 0 &&
           next_model(e) == NULL)
        pthread_cond_wait(&e->changed, &e->mutex);
    const bool goes_on = !e->is_closing;
    pthread_mutex_unlock(&e->mutex);
    return goes_on;
}

static void *serve(void *user)
{
    quern_engine *e = user;
    const uint64_t budget_ns = (uint64_t)e->params.max_stall_ms * 1000000;
    while (wait_for_work(e)) {
        collect(e);
        sweep(e);
        admit(e);
        tell_arrived(e);
        served_model *m = next_model(e);
        if (m != NULL) m->received_ns += (double)qn_runner_step(m->runner, budget_ns);
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

static qn_runner *find_runner(quern_engine *e, const char *name)
{
    for (size_t i = 0; i < e->n_models; i++)
        if (name == NULL || strcmp(qn_runner_name(e->models[i].runner), name) == 0)
            return e->models[i].runner;
    return NULL;
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

/* Puts one answer of a new request into the queue; under the mutex. */
static quern_status enqueue_one(quern_engine *e, quern_request *r, const quern_request_params *p,
                                quern_error *err)
{
    r->client = qn_request_queue_join(e->queue, p->client != NULL ? p->client : "", p->weight);
    if (r->client == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "request: no memory");
    if (!qn_request_queue_push(e->queue, r->client, &r->entry, false)) {
        qn_request_queue_leave(e->queue, r->client);
        return qn_fail(err, QUERN_ERR_BUSY, "%u requests wait already (try again later)",
                       e->params.max_waiting);
    }
    return QUERN_OK;
}

/* An answer that waits is one of the engine's from now on; under the mutex. */
static void take_on(quern_engine *e, quern_request *r)
{
    enlist(e, r);
    const size_t n_waiting = qn_request_queue_size(e->queue);
    r->n_ahead = n_waiting > MAX_COUNTED
                     ? n_waiting - 1
                     : qn_request_queue_position(e->queue, &r->entry, r->submitted_ns, ADMISSION_COST);
    r->next = e->arrived;
    e->arrived = r;
    qn_request_hold(r), qn_request_hold(r); /* until it has ended, and until it was told */
}

/* Puts a new request into the queue, all its answers or none. */
static quern_status enqueue(quern_engine *e, quern_request *first, const quern_request_params *p,
                            quern_error *err)
{
    quern_status s = QUERN_OK;
    pthread_mutex_lock(&e->mutex);
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
        qn_request_queue_remove(e->queue, &r->entry);
        qn_request_queue_leave(e->queue, r->client);
    }
    pthread_cond_signal(&e->changed);
    pthread_mutex_unlock(&e->mutex);
    return s;
}

quern_status quern_submit(quern_engine *e, const quern_request_params *params, quern_request **out,
                          quern_error *err)
{
    quern_request_params p = quern_request_params_default();
    memcpy(&p, params, qn_min_size(params->struct_bytes, sizeof p));
    *out = NULL;
    quern_status s = check_request(&p, err);
    if (s != QUERN_OK) return s;
    pthread_mutex_lock(&e->mutex);
    qn_runner *runner = find_runner(e, p.model);
    pthread_mutex_unlock(&e->mutex);
    if (runner == NULL)
        return qn_fail(err, QUERN_ERR_NOT_FOUND, "model '%s': the engine has none of that name",
                       p.model != NULL ? p.model : "");
    quern_request *r;
    s = qn_request_create(&r, qn_runner_model(runner), qn_runner_context(runner), &p, err);
    if (s != QUERN_OK) return s;
    const qn_prefix_key name_space = name_space_of(p.cache_scope != NULL ? p.cache_scope
                                                   : p.client != NULL    ? p.client
                                                                         : "");
    for (quern_request *a = r; a != NULL; a = a->next_answer)
        a->engine = e, a->runner = runner, a->name_space = name_space;
    *out = r; /* before a callback can see it */
    s = enqueue(e, r, &p, err);
    if (s != QUERN_OK) {
        qn_request_let_go(r);
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

/* ---- life -------------------------------------------------------------------------------------- */

quern_engine_params quern_engine_params_default(void)
{
    return (quern_engine_params){.struct_bytes = sizeof(quern_engine_params),
                                 .max_stall_ms = DEFAULT_STALL_MS,
                                 .max_waiting = DEFAULT_WAITING,
                                 .aging_ms = DEFAULT_AGING_MS};
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
    if (p->cache_max_bytes == 0) p->cache_max_bytes = DEFAULT_DISK_BYTES;
    if (p->cache_hourly_bytes == 0) p->cache_hourly_bytes = DEFAULT_DISK_BYTES;
    if (p->cache_directory != NULL &&
        (p->cache_directory = e->directory = qn_strdup(p->cache_directory)) == NULL)
        return qn_fail(err, QUERN_ERR_NOMEM, "engine: no memory");
    e->next_deadline_ns = UINT64_MAX;
    quern_status s = qn_request_queue_create(&e->queue, p->max_waiting, (uint64_t)p->aging_ms * 1000000, err);
    if (s == QUERN_OK) s = qn_thread_pool_create(&e->pool, p->n_threads, err);
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
    pthread_cond_init(&e->changed, NULL);
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
    for (size_t i = 0; i < e->n_models; i++) qn_runner_destroy(e->models[i].runner);
    qn_thread_pool_destroy(e->pool);
    qn_request_queue_destroy(e->queue);
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->mutex);
    qn_free(e->directory);
    qn_free(e);
}

quern_status quern_engine_add_model(quern_engine *e, const char *name, const quern_model *model,
                                    const quern_engine_model_params *params, quern_error *err)
{
    const qn_runner_host host = {.user = e,
                                 .ended = request_ended,
                                 .put_back = request_put_back,
                                 .wake = pages_came,
                                 .served = request_served};
    const qn_runner_disk disk = {.directory = e->params.cache_directory,
                                 .max_bytes = e->params.cache_max_bytes,
                                 .hourly_bytes = e->params.cache_hourly_bytes};
    qn_runner *runner;
    quern_status s = qn_runner_create(&runner, name, model, params, &disk, e->pool, &host, err);
    if (s != QUERN_OK) return s;
    pthread_mutex_lock(&e->mutex);
    if (find_runner(e, name) != NULL)
        s = qn_fail(err, QUERN_ERR_ARGUMENT, "model '%s': the engine has one of that name", name);
    else if (e->n_models == MAX_MODELS)
        s = qn_fail(err, QUERN_ERR_LIMIT, "model '%s': the engine has %d models already", name, MAX_MODELS);
    else e->models[e->n_models++] = (served_model){.runner = runner};
    pthread_mutex_unlock(&e->mutex);
    if (s != QUERN_OK) qn_runner_destroy(runner);
    return s;
}
