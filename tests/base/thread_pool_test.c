/* thread_pool_test.c: every piece is done once, a barrier separates, and a pool that cannot be made
 * leaves nothing behind. ThreadSanitizer makes most of this test. */
#include "base_test.h"

#include "base/alloc.h"
#include "base/thread_pool.h"

#include <string.h>
#include <unistd.h>

enum { N_ITEMS = 1000, N_STEPS = 20 };

typedef struct work {
    int before[N_ITEMS], after[N_ITEMS]; /* plain: a race is the sanitizer's to see */
    atomic_int calls, wrong;
    size_t grain;
} work;

/* Each step reads what the step before wrote, wherever another thread wrote it. */
static void walk(const qn_worker *w, void *user)
{
    work *k = user;
    atomic_fetch_add(&k->calls, 1);
    size_t begin, end;
    for (int step = 0; step < N_STEPS; step++) {
        while (qn_worker_take(w, N_ITEMS, k->grain, &begin, &end))
            for (size_t i = begin; i < end; i++) k->after[i] = k->before[N_ITEMS - 1 - i] + 1;
        qn_worker_barrier(w);
        while (qn_worker_take(w, N_ITEMS, k->grain, &begin, &end))
            for (size_t i = begin; i < end; i++) {
                if (k->after[i] != step + 1) atomic_fetch_add(&k->wrong, 1);
                k->before[i] = k->after[i];
            }
        qn_worker_barrier(w);
    }
}

static void every_piece_is_done_once_by_any_number_of_threads(void **state)
{
    (void)state;
    static work k;
    for (int n_threads = 1; n_threads <= 5; n_threads++) {
        qn_thread_pool *pool;
        quern_error err;
        assert_int_equal(qn_thread_pool_create(&pool, n_threads, &err), QUERN_OK);
        assert_int_equal(qn_thread_pool_size(pool), n_threads);
        for (int run = 0; run < 5; run++) {
            memset(&k, 0, sizeof k);
            k.grain = (size_t)(run * run * 100 + 1);
            qn_thread_pool_run(pool, walk, &k);
            assert_int_equal(k.calls, n_threads);
            assert_int_equal(k.wrong, 0);
            for (size_t i = 0; i < N_ITEMS; i++) assert_int_equal(k.before[i], N_STEPS);
        }
        qn_thread_pool_destroy(pool);
    }
    assert_int_equal(qn_alloc_live(), 0);
}

static void note_index(const qn_worker *w, void *user)
{
    atomic_int *seen = user;
    atomic_fetch_add(&seen[w->index], 1);
    usleep(1000); /* long enough for the others to fall asleep */
}

static void workers_wake_from_sleep_and_know_their_index(void **state)
{
    (void)state;
    qn_thread_pool *pool;
    assert_int_equal(qn_thread_pool_create(&pool, 3, NULL), QUERN_OK);
    atomic_int seen[3] = {0};
    for (int run = 0; run < 10; run++) {
        usleep(2000);
        qn_thread_pool_run(pool, note_index, seen);
    }
    for (int i = 0; i < 3; i++) assert_int_equal(seen[i], 10);
    qn_thread_pool_destroy(pool);
    qn_thread_pool_destroy(NULL);
}

static void numbers_of_threads_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const int bad[] = {0, -1, QN_MAX_THREADS + 1, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        qn_thread_pool *pool = (qn_thread_pool *)&pool;
        quern_error err;
        assert_int_equal(qn_thread_pool_create(&pool, bad[i], &err), QUERN_ERR_ARGUMENT);
        assert_null(pool);
    }
    const int n = qn_default_threads();
    assert_true(n >= 1 && n <= 16);
}

static void a_pool_survives_each_failing_allocation(void **state)
{
    (void)state;
    qn_thread_pool *pool = NULL;
    int k = 0;
    for (;; k++) {
        qn_alloc_fail_at(k);
        const quern_status s = qn_thread_pool_create(&pool, 2, NULL);
        if (!qn_alloc_has_failed()) break;
        assert_int_equal(s, QUERN_ERR_NOMEM);
        assert_null(pool);
        assert_int_equal(qn_alloc_live(), 0);
    }
    qn_alloc_fail_at(-1);
    assert_true(k >= 3);
    assert_non_null(pool);
    qn_thread_pool_destroy(pool);
    assert_int_equal(qn_alloc_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_piece_is_done_once_by_any_number_of_threads),
        cmocka_unit_test(workers_wake_from_sleep_and_know_their_index),
        cmocka_unit_test(numbers_of_threads_that_make_no_sense_are_refused),
        cmocka_unit_test(a_pool_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
