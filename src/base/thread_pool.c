/* thread_pool.c: a persistent pool with a spin-then-sleep barrier (a sense-reversing barrier in the
 * manner of Mellor-Crummey and Scott 1991, the sense being a generation number slept on by futex). */
#include "base/thread_pool.h"

#include "base/alloc.h"
#include "base/topology.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A millisecond or two. Beside busy programs that is better than some tens of microseconds: who sleeps at
 * each barrier is not running when the others come back (46 % of the quiet speed of a prompt, before 41 %).
 */
enum { CACHE_LINE = 64, SPINS = 40000 };

struct qn_thread_pool {
    int n_threads, n_started;
    qn_pool_fn *fn;
    void *user;
    bool stop;
    pthread_t *threads;
    qn_worker *workers;
    qn_topology topology; /* unused with one thread */
    _Alignas(CACHE_LINE) atomic_size_t next_item;
    _Alignas(CACHE_LINE) atomic_int arrived;
    _Alignas(CACHE_LINE) atomic_uint generation; /* futex word of the barrier */
    _Alignas(CACHE_LINE) atomic_uint run_number; /* futex word idle workers sleep on */
    _Alignas(CACHE_LINE) atomic_int sleepers;
};

static void futex_wait(atomic_uint *word, unsigned expected)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}
static void futex_wake_all(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
}

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Returns once *word differs from `old`. */
static void wait_for_change(qn_thread_pool *p, atomic_uint *word, unsigned old)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old) return;
        pause_briefly();
    }
    atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(word) == old) futex_wait(word, old);
    atomic_fetch_sub(&p->sleepers, 1);
}

static void advance(qn_thread_pool *p, atomic_uint *word)
{
    atomic_fetch_add(word, 1);
    if (atomic_load(&p->sleepers) > 0) futex_wake_all(word);
}

void qn_worker_barrier(const qn_worker *w)
{
    qn_thread_pool *p = w->pool;
    const unsigned old = atomic_load_explicit(&p->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel) + 1 < p->n_threads) {
        wait_for_change(p, &p->generation, old);
        return;
    }
    atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&p->next_item, 0, memory_order_relaxed);
    if (p->n_threads > 1) advance(p, &p->generation);
}

bool qn_worker_take(const qn_worker *w, size_t n_items, size_t grain, size_t *begin, size_t *end)
{
    qn_thread_pool *p = w->pool;
    if (grain > n_items) grain = n_items; /* so that the counter cannot wrap around */
    if (atomic_load_explicit(&p->next_item, memory_order_relaxed) >= n_items) return false;
    *begin = atomic_fetch_add_explicit(&p->next_item, grain, memory_order_relaxed);
    if (*begin >= n_items) return false;
    *end = n_items - *begin < grain ? n_items : *begin + grain;
    return true;
}

static void *worker_main(void *arg)
{
    const qn_worker *w = arg;
    qn_thread_pool *p = w->pool;
    qn_topology_settle(&p->topology, p->n_threads);
    for (unsigned run = 0;; run++) {
        wait_for_change(p, &p->run_number, run);
        if (p->stop) return NULL;
        p->fn(w, p->user);
        qn_worker_barrier(w);
    }
}

void qn_thread_pool_run(qn_thread_pool *p, qn_pool_fn *fn, void *user)
{
    p->fn = fn;
    p->user = user;
    atomic_store(&p->next_item, 0);
    if (p->n_threads > 1) advance(p, &p->run_number);
    fn(&p->workers[0], user);
    qn_worker_barrier(&p->workers[0]);
}

int qn_thread_pool_size(const qn_thread_pool *p)
{
    return p->n_threads;
}

void qn_thread_pool_destroy(qn_thread_pool *p)
{
    if (p == NULL) return;
    p->stop = true;
    advance(p, &p->run_number);
    for (int i = 0; i < p->n_started; i++) pthread_join(p->threads[i], NULL);
    qn_free(p->threads);
    qn_free(p->workers);
    qn_free_pages(p, sizeof *p);
}

quern_status qn_thread_pool_create(qn_thread_pool **out, int n_threads, quern_error *err)
{
    *out = NULL;
    if (n_threads < 1 || n_threads > QN_MAX_THREADS)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "threads: %d (1 to %d are possible)", n_threads,
                       QN_MAX_THREADS);
    qn_thread_pool *p = qn_alloc_pages(sizeof *p); /* zeroed, and aligned for the padded members */
    if (p == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "thread pool: no memory");
    p->n_threads = n_threads;
    if (n_threads > 1) qn_topology_read(&p->topology, "", NULL);
    p->workers = qn_calloc((size_t)n_threads, sizeof *p->workers);
    p->threads = qn_calloc((size_t)n_threads, sizeof *p->threads);
    quern_status s = p->workers != NULL && p->threads != NULL
                         ? QUERN_OK
                         : qn_fail(err, QUERN_ERR_NOMEM, "thread pool: no memory");
    for (int i = 0; s == QUERN_OK && i < n_threads; i++) p->workers[i] = (qn_worker){p, i, n_threads};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals belong to the program's own threads */
    for (int i = 1; s == QUERN_OK && i < n_threads; i++) {
        const int e = pthread_create(&p->threads[p->n_started], NULL, worker_main, &p->workers[i]);
        if (e == 0) p->n_started++;
        else
            s = qn_fail(err, QUERN_ERR_NOMEM, "thread %d of %d: %s (use fewer threads: -t)", i + 1, n_threads,
                        strerror(e));
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (s != QUERN_OK) {
        qn_thread_pool_destroy(p);
        return s;
    }
    *out = p;
    return QUERN_OK;
}

int qn_default_threads(void)
{
    qn_topology t;
    qn_topology_read(&t, "", NULL);
    return qn_topology_threads(&t);
}
