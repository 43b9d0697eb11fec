/* thread_pool_test.c: barriers, shared work and many runs, with more threads than processors. */
#include "base_test.h"

#include "base/alloc.h"
#include "base/thread_pool.h"

#include <unistd.h>

enum { MAX = 8 };
static const int sizes[] = {1, 2, 3, 4, 5, 8};
enum { N_SIZES = sizeof sizes / sizeof sizes[0] };

static qn_thread_pool *make_pool(int n_threads)
{
    qn_thread_pool *pool;
    quern_error err;
    const quern_status s = qn_thread_pool_create(&pool, n_threads, &err);
    if (s != QUERN_OK) fail_msg("%s", err.message);
    assert_int_equal(qn_thread_pool_size(pool), n_threads);
    return pool;
}

/* ---- barrier: what was written before it by one is seen after it by all ---- */

enum { PHASES = 60 };
typedef struct phases {
    int slot[MAX]; /* plain memory on purpose: only the barrier orders it */
    int wrong[MAX], seen[MAX];
} phases;

static void walk_phases(const qn_worker *w, void *user)
{
    phases *p = user;
    p->seen[w->index]++;
    for (int phase = 1; phase <= PHASES; phase++) {
        if (phase == 30 && w->index == w->n_threads - 1) usleep(3000); /* long enough that the others sleep */
        p->slot[w->index] = phase;
        qn_worker_barrier(w);
        for (int i = 0; i < w->n_threads; i++) p->wrong[w->index] += p->slot[i] != phase;
        qn_worker_barrier(w);
    }
}

static void nobody_passes_a_barrier_early(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_SIZES; k++) {
        qn_thread_pool *pool = make_pool(sizes[k]);
        phases p = {0};
        for (int run = 0; run < 3; run++) qn_thread_pool_run(pool, walk_phases, &p);
        for (int i = 0; i < sizes[k]; i++) {
            assert_int_equal(p.wrong[i], 0);
            assert_int_equal(p.seen[i], 3); /* once a run */
        }
        qn_thread_pool_destroy(pool);
    }
}

/* ---- take: each item to one worker, once ---- */

enum { N_ITEMS = 1000 };
typedef struct work {
    size_t n_items, grain;
    unsigned char taken[2][N_ITEMS]; /* plain memory: an item has one owner */
    bool wrong[MAX];
} work;

static void take_all(const qn_worker *w, void *user)
{
    work *job = user;
    size_t begin, end;
    for (int part = 0; part < 2; part++) {
        while (qn_worker_take(w, job->n_items, job->grain, &begin, &end)) {
            if (begin >= end || end > job->n_items || end - begin > job->grain) job->wrong[w->index] = true;
            for (size_t i = begin; i < end && i < N_ITEMS; i++) job->taken[part][i]++;
        }
        qn_worker_barrier(w); /* begins the count anew */
    }
}

static void each_item_is_taken_once(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 7, 64, 999, N_ITEMS},
                        grains[] = {1, 3, 64, 5000, SIZE_MAX / 2 + 1, SIZE_MAX};
    for (size_t k = 0; k < N_SIZES; k++) {
        qn_thread_pool *pool = make_pool(sizes[k]);
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            for (size_t g = 0; g < sizeof grains / sizeof grains[0]; g++) {
                work job = {.n_items = counts[c], .grain = grains[g]};
                qn_thread_pool_run(pool, take_all, &job);
                for (int i = 0; i < MAX; i++) assert_false(job.wrong[i]);
                for (size_t i = 0; i < N_ITEMS; i++) {
                    assert_int_equal(job.taken[0][i], i < counts[c]);
                    assert_int_equal(job.taken[1][i], i < counts[c]);
                }
            }
        }
        qn_thread_pool_destroy(pool);
    }
}

/* ---- what one worker wrote, another reads in the next step ---- */

enum { STEPS = 20 };
typedef struct steps {
    int before[N_ITEMS], after[N_ITEMS], wrong[MAX];
    size_t grain;
} steps;

static void walk_steps(const qn_worker *w, void *user)
{
    steps *s = user;
    size_t begin, end;
    for (int step = 0; step < STEPS; step++) {
        while (qn_worker_take(w, N_ITEMS, s->grain, &begin, &end))
            for (size_t i = begin; i < end; i++) s->after[i] = s->before[N_ITEMS - 1 - i] + 1;
        qn_worker_barrier(w);
        while (qn_worker_take(w, N_ITEMS, s->grain, &begin, &end)) {
            for (size_t i = begin; i < end; i++) {
                s->wrong[w->index] += s->after[i] != step + 1;
                s->before[i] = s->after[i];
            }
        }
        qn_worker_barrier(w);
    }
}

static void each_step_sees_the_step_before(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_SIZES; k++) {
        qn_thread_pool *pool = make_pool(sizes[k]);
        for (size_t grain = 1; grain < 2000; grain *= 11) {
            steps s = {.grain = grain};
            qn_thread_pool_run(pool, walk_steps, &s);
            for (int i = 0; i < MAX; i++) assert_int_equal(s.wrong[i], 0);
            for (size_t i = 0; i < N_ITEMS; i++) assert_int_equal(s.before[i], STEPS);
        }
        qn_thread_pool_destroy(pool);
    }
}

/* ---- runs ---- */

typedef struct sums {
    uint64_t round;
    struct {
        _Alignas(64) uint64_t sum;
    } of[MAX];
} sums;

static void add_round(const qn_worker *w, void *user)
{
    sums *s = user;
    s->of[w->index].sum += s->round;
}

static void many_runs(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_SIZES; k++) {
        qn_thread_pool *pool = make_pool(sizes[k]);
        sums s = {0};
        const uint64_t rounds = sizes[k] <= 2 ? 3000 : 100;
        for (s.round = 1; s.round <= rounds; s.round++) {
            qn_thread_pool_run(pool, add_round, &s);
            if (s.round % 100 == 0) usleep(500); /* the idle ones fall asleep */
        }
        for (int i = 0; i < sizes[k]; i++) assert_true(s.of[i].sum == rounds * (rounds + 1) / 2);
        qn_thread_pool_destroy(pool);
    }
}

static void pools_come_and_go(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    for (int i = 0; i < 50; i++) {
        qn_thread_pool *a = make_pool(i % MAX + 1), *b = make_pool(2);
        phases p = {0};
        if (i % 3 == 0) qn_thread_pool_run(a, walk_phases, &p);
        qn_thread_pool_destroy(a);
        qn_thread_pool_destroy(b);
    }
    qn_thread_pool_destroy(NULL);
    assert_int_equal(qn_alloc_live(), live);
}

static void impossible_pools(void **state)
{
    (void)state;
    static const int wrong[] = {0, -1, QN_MAX_THREADS + 1, INT32_MAX, INT32_MIN};
    qn_thread_pool *pool;
    quern_error err;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(qn_thread_pool_create(&pool, wrong[i], &err), QUERN_ERR_ARGUMENT);
        assert_null(pool);
        assert_non_null(strstr(err.message, "(1 to 256 are possible)"));
    }
    const long live = qn_alloc_live();
    long k = 0;
    for (;; k++) {
        qn_alloc_fail_at(k);
        if (qn_thread_pool_create(&pool, 3, &err) == QUERN_OK) break;
        assert_null(pool);
        assert_int_equal(qn_alloc_live(), live);
    }
    qn_alloc_fail_at(-1);
    assert_true(k >= 3);
    qn_thread_pool_destroy(pool);
    assert_int_equal(qn_alloc_live(), live);
}

static void default_threads(void **state)
{
    (void)state;
    const int n = qn_default_threads();
    assert_true(n >= 1 && n <= 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_passes_a_barrier_early),
        cmocka_unit_test(each_item_is_taken_once),
        cmocka_unit_test(each_step_sees_the_step_before),
        cmocka_unit_test(many_runs),
        cmocka_unit_test(pools_come_and_go),
        cmocka_unit_test(impossible_pools),
        cmocka_unit_test(default_threads),
    };
    return cmocka_run_group_tests_name("base thread_pool", tests, NULL, NULL);
}
