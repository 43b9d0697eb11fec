/* workers.c: threads that read what requests ask for (serve/server_parts.h). */
#include "serve/server_parts.h"

#include "base/alloc.h"
#include "base/error.h"

enum { STACK_BYTES = 1024 * 1024, MAX_THREADS = 8 };

struct qn_workers {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t threads[MAX_THREADS];
    size_t n_threads;
    qn_exchange **waiting; /* a ring of [capacity] */
    size_t first, n_waiting, capacity;
    bool ends;
};

static qn_exchange *next_of(qn_workers *w)
{
    qn_exchange *x = NULL;
    pthread_mutex_lock(&w->mutex);
    while (w->n_waiting == 0 && !w->ends) pthread_cond_wait(&w->changed, &w->mutex);
    if (w->n_waiting > 0) {
        x = w->waiting[w->first];
        w->first = (w->first + 1) % w->capacity;
        w->n_waiting--;
    }
    pthread_mutex_unlock(&w->mutex);
    return x;
}

static void work_on(qn_exchange *x)
{
    pthread_mutex_lock(&x->mutex);
    const bool is_gone = x->is_gone;
    pthread_mutex_unlock(&x->mutex);
    if (!is_gone) x->route->handle(x);
    pthread_mutex_lock(&x->mutex);
    x->phase = x->n_parts > 0 && x->problem.kind == QN_PROBLEM_NONE ? QN_PHASE_ANSWERING : QN_PHASE_REPLYING;
    qn_exchange_wake(x);
    pthread_mutex_unlock(&x->mutex);
    qn_exchange_let_go(x);
}

static void *work(void *user)
{
    qn_workers *w = user;
    for (qn_exchange *x; (x = next_of(w)) != NULL;) work_on(x);
    return NULL;
}

static bool start_threads(qn_workers *w, size_t n_threads)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return false;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (w->n_threads < n_threads && pthread_create(&w->threads[w->n_threads], &attributes, work, w) == 0)
        w->n_threads++;
    pthread_attr_destroy(&attributes);
    return w->n_threads > 0;
}

quern_status qn_workers_create(qn_workers **out, size_t n_threads, size_t max_waiting, quern_error *err)
{
    qn_workers *w = *out = qn_calloc(1, sizeof *w);
    if (w != NULL) w->waiting = qn_calloc(max_waiting, sizeof(qn_exchange *));
    if (w == NULL || w->waiting == NULL) {
        qn_free(w);
        *out = NULL;
        return qn_fail(err, QUERN_ERR_NOMEM, "server: no memory");
    }
    w->capacity = max_waiting;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->changed, NULL);
    if (start_threads(w, n_threads < MAX_THREADS ? n_threads : MAX_THREADS)) return QUERN_OK;
    qn_workers_destroy(w);
    *out = NULL;
    return qn_fail(err, QUERN_ERR_NOMEM, "server: no thread can be started");
}

void qn_workers_destroy(qn_workers *w)
{
    if (w == NULL) return;
    pthread_mutex_lock(&w->mutex);
    w->ends = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
    for (size_t i = 0; i < w->n_threads; i++) pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
    qn_free(w->waiting);
    qn_free(w);
}

bool qn_workers_push(qn_workers *w, qn_exchange *x)
{
    pthread_mutex_lock(&w->mutex);
    const bool has_room = w->n_waiting < w->capacity;
    if (has_room) {
        atomic_fetch_add(&x->holders, 1);
        w->waiting[(w->first + w->n_waiting++) % w->capacity] = x;
        pthread_cond_signal(&w->changed);
    }
    pthread_mutex_unlock(&w->mutex);
    return has_room;
}
