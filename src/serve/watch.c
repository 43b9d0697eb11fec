/* watch.c: who keeps others waiting, and who is gone (serve/server_parts.h). One thread asks the system which
 * clients have hung up, for nobody polls a connection that is suspended, and shuts those down that are too
 * slow: with their headers, with the body, with reading. */
#include "serve/server_parts.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "serve/limits.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LONGEST_TICK_MS = 500, TICKS = 4, N_EVENTS = 64, NS_PER_MS = 1000000 };

struct qn_connection {
    qn_connection *before, *behind;
    uint64_t number;
    int fd;
    bool has_closed;       /* the other side sends no more; there may be something left to read */
    qn_exchange *exchange; /* that it has now, or NULL */
    _Atomic(qn_waits_for) waits_for;
    _Atomic(uint64_t) since_ns;
};

struct qn_watch {
    pthread_mutex_t mutex; /* for the list */
    qn_connection *first;
    uint64_t n_added;
    qn_server_limits limits;
    int epoll, tick_ms;
    pthread_t thread;
    atomic_bool ends;
};

void qn_watch_turn(qn_connection *c, qn_waits_for what)
{
    if (c == NULL) return;
    atomic_store(&c->since_ns, qn_clock_ns());
    atomic_store(&c->waits_for, what);
}

void qn_watch_assign(qn_watch *w, qn_connection *c, qn_exchange *x)
{
    if (c == NULL) return;
    pthread_mutex_lock(&w->mutex);
    c->exchange = x;
    pthread_mutex_unlock(&w->mutex);
}

/* ---- the list ----------------------------------------------------------------------------------- */

qn_connection *qn_watch_add(qn_watch *w, int fd)
{
    qn_connection *c = qn_calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->fd = fd;
    qn_watch_turn(c, QN_WAITS_FOR_HEADERS);
    pthread_mutex_lock(&w->mutex);
    c->number = ++w->n_added;
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = c->number};
    const bool is_watched = epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
    if (is_watched) {
        c->behind = w->first;
        if (w->first != NULL) w->first->before = c;
        w->first = c;
    }
    pthread_mutex_unlock(&w->mutex);
    if (is_watched) return c;
    qn_free(c);
    return NULL;
}

void qn_watch_remove(qn_watch *w, qn_connection *c)
{
    if (c == NULL) return;
    pthread_mutex_lock(&w->mutex);
    epoll_ctl(w->epoll, EPOLL_CTL_DEL, c->fd, NULL);
    *(c->before != NULL ? &c->before->behind : &w->first) = c->behind;
    if (c->behind != NULL) c->behind->before = c->before;
    pthread_mutex_unlock(&w->mutex);
    qn_free(c);
}

/* ---- who is gone -------------------------------------------------------------------------------- */

/* A client that sends no more is gone where nothing of what it sent is left to read. */
static bool has_hung_up(const qn_connection *c)
{
    char byte;
    const ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

static void abandon_if_gone(qn_connection *c)
{
    if (c->has_closed && c->exchange != NULL && has_hung_up(c)) qn_exchange_abandon(c->exchange);
}

/* With the mutex. */
static void hear_of(qn_watch *w, uint64_t number)
{
    qn_connection *c = w->first;
    while (c != NULL && c->number != number) c = c->behind;
    if (c == NULL) return;
    c->has_closed = true;
    abandon_if_gone(c);
}

/* ---- who is slow -------------------------------------------------------------------------------- */

static unsigned patience_ms(const qn_server_limits *limits, qn_waits_for what)
{
    switch (what) {
    case QN_WAITS_FOR_HEADERS:
        return limits->header_ms;
    case QN_WAITS_FOR_BODY:
        return limits->body_ms;
    case QN_WAITS_FOR_READER:
        return limits->stall_ms;
    case QN_WAITS_FOR_REQUEST:
        return limits->idle_ms;
    case QN_WAITS_FOR_US:
        break;
    }
    return limits->sign_ms;
}

static void give_life_sign(qn_exchange *x)
{
    pthread_mutex_lock(&x->mutex);
    x->wants_life_sign = x->phase == QN_PHASE_ANSWERING && x->streams;
    if (x->wants_life_sign) qn_exchange_wake(x);
    pthread_mutex_unlock(&x->mutex);
}

static void give_up(qn_connection *c)
{
    shutdown(c->fd, SHUT_RDWR);
    if (c->exchange != NULL) qn_exchange_abandon(c->exchange);
}

static void hurry(qn_watch *w)
{
    const uint64_t now = qn_clock_ns();
    pthread_mutex_lock(&w->mutex);
    for (qn_connection *c = w->first; c != NULL; c = c->behind) {
        const qn_waits_for what = atomic_load(&c->waits_for);
        const uint64_t since = atomic_load(&c->since_ns);
        abandon_if_gone(c);
        if (now < since + (uint64_t)patience_ms(&w->limits, what) * NS_PER_MS) continue;
        if (what != QN_WAITS_FOR_US) {
            give_up(c);
            continue;
        }
        if (c->exchange != NULL) give_life_sign(c->exchange);
        atomic_store(&c->since_ns, now);
    }
    pthread_mutex_unlock(&w->mutex);
}

void qn_watch_close(qn_watch *w, bool all)
{
    pthread_mutex_lock(&w->mutex);
    for (qn_connection *c = w->first; c != NULL; c = c->behind)
        if (all || c->exchange == NULL) give_up(c);
    pthread_mutex_unlock(&w->mutex);
}

/* ---- life --------------------------------------------------------------------------------------- */

static void *watch(void *user)
{
    qn_watch *w = user;
    struct epoll_event events[N_EVENTS];
    while (!atomic_load(&w->ends)) {
        const int n = epoll_wait(w->epoll, events, N_EVENTS, w->tick_ms);
        pthread_mutex_lock(&w->mutex);
        for (int i = 0; i < n; i++) hear_of(w, events[i].data.u64);
        pthread_mutex_unlock(&w->mutex);
        hurry(w);
    }
    return NULL;
}

/* Often enough for the shortest of the times. */
static int tick_of(const qn_server_limits *limits)
{
    unsigned tick = LONGEST_TICK_MS;
    for (int what = QN_WAITS_FOR_HEADERS; what <= QN_WAITS_FOR_REQUEST; what++) {
        const unsigned part = patience_ms(limits, (qn_waits_for)what) / TICKS + 1;
        if (part < tick) tick = part;
    }
    return (int)tick;
}

quern_status qn_watch_create(qn_watch **out, const qn_server_limits *limits, quern_error *err)
{
    qn_watch *w = *out = qn_calloc(1, sizeof *w);
    if (w == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "server: no memory");
    w->limits = *limits;
    w->tick_ms = tick_of(limits);
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    pthread_mutex_init(&w->mutex, NULL);
    if (w->epoll >= 0 && pthread_create(&w->thread, NULL, watch, w) == 0) return QUERN_OK;
    if (w->epoll >= 0) close(w->epoll);
    pthread_mutex_destroy(&w->mutex);
    qn_free(w);
    *out = NULL;
    return qn_fail(err, QUERN_ERR_NOMEM,
                   "server: no thread can be started, or there are too many open files");
}

void qn_watch_destroy(qn_watch *w)
{
    if (w == NULL) return;
    atomic_store(&w->ends, true);
    pthread_join(w->thread, NULL);
    close(w->epoll);
    pthread_mutex_destroy(&w->mutex);
    qn_free(w);
}
