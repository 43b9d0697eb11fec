/* merge_test.c: the merging loop, short words and long ones, against a plain search over all pairs. */
#include "vocab_util.h"

#include "base/alloc.h"
#include "base/random.h"
#include "vocab/merge.h"

#include <stdlib.h>
#include <string.h>

enum { N_IDS = 200 };

/* A made-up table: whether two ids merge, how early and into what. Priorities repeat, so ties occur. */
static qn_pair made_up_pair(const void *user, const char *word, const qn_symbol *left, const qn_symbol *right)
{
    (void)word;
    const uint32_t seed = *(const uint32_t *)user;
    const uint32_t h = (left->id * 2654435761u ^ right->id * 40503u ^ seed) * 2246822519u;
    if (h % 3 == 0) return (qn_pair){QN_PAIR_NONE, 0};
    return (qn_pair){h >> 8 & 31, h >> 16 & (N_IDS - 1)};
}

static size_t merge_plainly(qn_symbol *s, size_t n, const uint32_t *seed)
{
    for (;;) {
        size_t best = n;
        qn_pair best_pair = {QN_PAIR_NONE, 0};
        for (size_t i = 0; i + 1 < n; i++) {
            const qn_pair p = made_up_pair(seed, NULL, &s[i], &s[i + 1]);
            if (p.priority < best_pair.priority) best = i, best_pair = p;
        }
        if (best == n) return n;
        s[best].id = best_pair.id;
        s[best].n_bytes += s[best + 1].n_bytes;
        memmove(&s[best + 1], &s[best + 2], (n - best - 2) * sizeof *s);
        n--;
    }
}

static void all_lengths_equal_the_plain_search(void **state)
{
    (void)state;
    qn_random r = {.seed = 3};
    qn_merger m = {0};
    for (int round = 0; round < 2000; round++) {
        const size_t n = (size_t)(qn_random_u64(&r) % 120);
        const uint32_t seed = (uint32_t)qn_random_u64(&r);
        qn_symbol plain[120];
        m.n_symbols = 0;
        for (size_t i = 0; i < n; i++) {
            const uint32_t id = (uint32_t)(qn_random_u64(&r) % 7);
            assert_true(qn_merger_add(&m, id, i, 1));
            plain[i] = (qn_symbol){.id = id, .start = (uint32_t)i, .n_bytes = 1};
        }
        const size_t n_plain = merge_plainly(plain, n, &seed);
        assert_true(qn_merger_run(&m, NULL, made_up_pair, &seed));
        assert_int_equal(m.n_symbols, n_plain);
        for (size_t i = 0; i < n_plain; i++) {
            assert_int_equal(m.symbols[i].id, plain[i].id);
            assert_int_equal(m.symbols[i].start, plain[i].start);
            assert_int_equal(m.symbols[i].n_bytes, plain[i].n_bytes);
        }
    }
    qn_merger_deinit(&m);
}

static void failing_memory_is_reported(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    const uint32_t seed = 5;
    bool failed = true;
    for (long k = 0; failed; k++) {
        qn_merger m = {0};
        qn_alloc_fail_at(k);
        bool ok = true;
        for (size_t i = 0; ok && i < 100; i++) ok = qn_merger_add(&m, (uint32_t)i % 5, i, 1);
        ok = ok && qn_merger_run(&m, NULL, made_up_pair, &seed);
        failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_true(ok != failed);
        qn_merger_deinit(&m);
        assert_int_equal(qn_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_lengths_equal_the_plain_search),
        cmocka_unit_test(failing_memory_is_reported),
    };
    return cmocka_run_group_tests_name("vocab merge", tests, NULL, NULL);
}
