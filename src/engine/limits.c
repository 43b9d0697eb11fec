/* limits.c: what this machine can do at best (kernel/peak.h), so that a speed can be told as a share of it.
 *
 * Every thread reads its own part of one large array, which it also touched first, so that on machines of
 * several sockets it lies near. Each measure is the best of several runs: other programs make it slower,
 * nothing makes it faster. */
#include "kernel/kernel.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/thread_pool.h"

#include <stdatomic.h>

enum { RUNS = 7, OPS_ROUNDS = 10000, RUN_NS = 15000000 /* of multiplying */, BARRIERS = 2000 };
static const uint64_t DEFAULT_BYTES = (uint64_t)1 << 30;
static const uint64_t LEAST_BYTES = QN_PEAK_READ_WORDS * sizeof(uint64_t) * QN_MAX_THREADS;

typedef struct measure {
    const qn_kernels *kernels;
    uint64_t *words;
    size_t n_words;
    qn_peak_ops_fn *ops;
    size_t n_repeats;
    atomic_ullong done, sum; /* the sum is kept, so that the work cannot be left out */
} measure;

static void part_of(const qn_worker *w, const measure *m, size_t *begin, size_t *end)
{
    const size_t lines = m->n_words / QN_PEAK_READ_WORDS, n = (size_t)w->n_threads, i = (size_t)w->index;
    *begin = lines * i / n * QN_PEAK_READ_WORDS;
    *end = lines * (i + 1) / n * QN_PEAK_READ_WORDS;
}

static void touch(const qn_worker *w, void *user)
{
    measure *m = user;
    size_t begin, end;
    part_of(w, m, &begin, &end);
    for (size_t i = begin; i < end; i++) m->words[i] = i;
}

static void read_words(const qn_worker *w, void *user)
{
    measure *m = user;
    size_t begin, end;
    part_of(w, m, &begin, &end);
    atomic_fetch_add(&m->sum, m->kernels->peak_read(m->words + begin, end - begin));
    atomic_fetch_add(&m->done, (end - begin) * sizeof *m->words);
}

static void multiply(const qn_worker *w, void *user)
{
    measure *m = user;
    uint64_t sum = 0, total = 0, n = 0;
    (void)w;
    for (size_t i = 0; i < m->n_repeats; i++) {
        n += 2 * m->ops(OPS_ROUNDS, &sum);
        total += sum;
    }
    atomic_fetch_add(&m->sum, total);
    atomic_fetch_add(&m->done, n);
}

static void meet(const qn_worker *w, void *user)
{
    measure *m = user;
    for (int i = 0; i < BARRIERS; i++) qn_worker_barrier(w);
    if (w->index == 0) atomic_fetch_add(&m->done, BARRIERS);
}

/* What is done in a second, in the best of several runs. */
static double best_rate(qn_thread_pool *pool, qn_pool_fn *fn, measure *m)
{
    double best = 0;
    for (int run = 0; run < RUNS; run++) {
        atomic_store(&m->done, 0);
        const uint64_t start = qn_clock_ns();
        qn_thread_pool_run(pool, fn, m);
        const uint64_t ns = qn_clock_ns() - start;
        const double rate = (double)atomic_load(&m->done) * 1e9 / (double)(ns > 0 ? ns : 1);
        if (rate > best) best = rate;
    }
    return best;
}

static double best_ops(qn_thread_pool *pool, qn_peak_ops_fn *ops, measure *m)
{
    uint64_t sum, start = qn_clock_ns();
    m->ops = ops;
    atomic_fetch_add(&m->sum, ops(OPS_ROUNDS, &sum) + sum);
    const uint64_t ns = qn_clock_ns() - start;
    m->n_repeats = RUN_NS / (size_t)(ns > 0 ? ns : 1) + 1;
    return best_rate(pool, multiply, m);
}

typedef struct rates { /* in a second */
    double bytes, int8_ops, float_ops, barriers;
} rates;

static quern_status measure_with(int n_threads, uint64_t bytes, const qn_kernels *kernels, rates *r,
                                 quern_error *err)
{
    qn_thread_pool *pool = NULL;
    measure m = {.kernels = kernels, .n_words = (size_t)(bytes / sizeof(uint64_t))};
    quern_status s = qn_thread_pool_create(&pool, n_threads, err);
    if (s != QUERN_OK) return s;
    m.words = qn_alloc_pages((size_t)bytes);
    if (m.words == NULL) {
        qn_thread_pool_destroy(pool);
        return qn_fail(err, QUERN_ERR_NOMEM, "%llu bytes to read: no memory", (unsigned long long)bytes);
    }
    qn_thread_pool_run(pool, touch, &m);
    r->bytes = best_rate(pool, read_words, &m);
    r->int8_ops = best_ops(pool, kernels->peak_int8, &m);
    r->float_ops = best_ops(pool, kernels->peak_float, &m);
    r->barriers = best_rate(pool, meet, &m);
    qn_free_pages(m.words, (size_t)bytes);
    qn_thread_pool_destroy(pool);
    return QUERN_OK;
}

quern_status quern_measure_limits(int n_threads, uint64_t read_bytes, quern_limits *limits, quern_error *err)
{
    const qn_kernels *kernels = NULL;
    rates one = {0}, all;
    if (n_threads <= 0) n_threads = qn_default_threads();
    if (n_threads > QN_MAX_THREADS)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%d threads (1 to %d are possible)", n_threads,
                       QN_MAX_THREADS);
    if (read_bytes == 0) {
        const uint64_t available = qn_memory_available();
        read_bytes = available / 4 < DEFAULT_BYTES ? available / 4 : DEFAULT_BYTES;
    }
    if (read_bytes < LEAST_BYTES) read_bytes = LEAST_BYTES;
    if (read_bytes > SIZE_MAX / 2)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%llu bytes to read", (unsigned long long)read_bytes);
    quern_status s = qn_kernels_choose(&kernels, err);
    if (s == QUERN_OK) s = measure_with(1, read_bytes, kernels, &one, err);
    all = one;
    if (s == QUERN_OK && n_threads > 1) s = measure_with(n_threads, read_bytes, kernels, &all, err);
    if (s != QUERN_OK) return s;
    *limits = (quern_limits){.n_threads = n_threads,
                             .instruction_set = kernels->isa,
                             .read_bytes = read_bytes,
                             .bytes_per_s = {one.bytes, all.bytes},
                             .int8_ops_per_s = {one.int8_ops, all.int8_ops},
                             .float_ops_per_s = {one.float_ops, all.float_ops},
                             .barrier_s = 1.0 / all.barriers};
    return QUERN_OK;
}
