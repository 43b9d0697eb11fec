/* thread_pool.h: all threads walk the same program side by side.
 *
 * The caller is worker 0. Work inside a step is taken in pieces from a shared counter, so a thread
 * that lost its core to another program delays nobody but its current piece. The barrier between
 * dependent instructions spins for a millisecond or two, then sleeps on a futex: on a busy machine no core
 * is burnt for long, waiting for a thread that is not running. */
#ifndef QN_BASE_THREAD_POOL_H
#define QN_BASE_THREAD_POOL_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct qn_thread_pool qn_thread_pool;

typedef struct qn_worker {
    qn_thread_pool *pool;
    int index, n_threads; /* 0 <= index < n_threads */
} qn_worker;

typedef void qn_pool_fn(const qn_worker *w, void *user);

enum { QN_MAX_THREADS = 256 };

/* n_threads 1..QN_MAX_THREADS; n_threads - 1 threads are started now and sleep until there is work. They
 * settle as qn_topology_settle says; the caller's thread stays as it is. No thread is bound to one processor:
 * where another program takes that, it could not go elsewhere. */
quern_status qn_thread_pool_create(qn_thread_pool **out, int n_threads, quern_error *err);
void qn_thread_pool_destroy(qn_thread_pool *pool); /* NULL is fine */
int qn_thread_pool_size(const qn_thread_pool *pool);

/* Calls fn once on every worker and returns when all are done. One run at a time. */
void qn_thread_pool_run(qn_thread_pool *pool, qn_pool_fn *fn, void *user);

/* Within a run: waits until all workers have come here. The last to arrive resets the counter of
 * pieces to 0 before it lets the others go. */
void qn_worker_barrier(const qn_worker *w);

/* Within a run: takes up to `grain` of the items [0, n_items) that nobody has taken since the last
 * barrier. Returns false when none are left. */
bool qn_worker_take(const qn_worker *w, size_t n_items, size_t grain, size_t *begin, size_t *end);

/* qn_topology_threads of this machine. */
int qn_default_threads(void);

#endif
