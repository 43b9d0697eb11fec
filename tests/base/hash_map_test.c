/* hash_map_test.c: many keys, equal keys, keys chosen by an enemy. */
#include "base_test.h"

#include "base/alloc.h"
#include "base/hash_map.h"

enum { N = 100000, KEY_ROOM = 16 };

static char (*make_keys(void))[KEY_ROOM]
{
    char(*keys)[KEY_ROOM] = malloc((size_t)N * KEY_ROOM);
    assert_non_null(keys);
    for (unsigned i = 0; i < N; i++) snprintf(keys[i], KEY_ROOM, "key %u", i);
    return keys;
}

static void many_keys(void **state)
{
    (void)state;
    static const size_t initial[] = {0, 10, N};
    char(*keys)[KEY_ROOM] = make_keys();
    for (size_t round = 0; round < 3; round++) {
        qn_hash_map m;
        int64_t existing = 5;
        assert_true(qn_hash_map_init(&m, initial[round]));
        const size_t n_slots = m.n_slots;
        for (uint32_t i = 0; i < N; i++) {
            assert_true(qn_hash_map_add(&m, keys[i], strlen(keys[i]), i, &existing));
            assert_true(existing == QN_HASH_NONE);
        }
        if (initial[round] == N) assert_int_equal(m.n_slots, n_slots); /* room was made before */
        assert_int_equal(m.n_items, N);
        for (uint32_t i = 0; i < N; i++) { /* the first one wins */
            assert_true(qn_hash_map_add(&m, keys[i], strlen(keys[i]), i + 1, &existing));
            assert_true(existing == i);
        }
        assert_int_equal(m.n_items, N);
        for (uint32_t i = 0; i < N; i++) assert_true(qn_hash_map_get(&m, keys[i], strlen(keys[i])) == i);
        assert_true(qn_hash_map_get(&m, "key", 3) == QN_HASH_NONE);
        assert_true(qn_hash_map_get(&m, "key 100000", 10) == QN_HASH_NONE);
        qn_hash_map_deinit(&m);
        assert_true(qn_hash_map_get(&m, "key 1", 5) == QN_HASH_NONE);
    }
    free(keys);
}

static void odd_keys(void **state)
{
    (void)state;
    qn_hash_map m = {0}; /* zeroed is empty */
    assert_true(qn_hash_map_get(&m, "", 0) == QN_HASH_NONE);
    assert_true(qn_hash_map_add(&m, "", 0, 1, NULL));
    assert_true(qn_hash_map_add(&m, "\0", 1, 2, NULL));
    assert_true(qn_hash_map_add(&m, "\0\0", 2, 3, NULL));
    assert_true(qn_hash_map_add(&m, "a\0b", 3, UINT32_MAX, NULL));
    assert_true(qn_hash_map_get(&m, "", 0) == 1);
    assert_true(qn_hash_map_get(&m, "\0", 1) == 2);
    assert_true(qn_hash_map_get(&m, "\0\0", 2) == 3);
    assert_true(qn_hash_map_get(&m, "a\0b", 3) == UINT32_MAX);
    assert_true(qn_hash_map_get(&m, "a", 1) == QN_HASH_NONE);
    qn_hash_map_deinit(&m);
}

static void every_failing_allocation(void **state)
{
    (void)state;
    qn_hash_map too_large;
    assert_false(qn_hash_map_init(&too_large, SIZE_MAX));
    qn_hash_map_deinit(&too_large);
    char(*keys)[KEY_ROOM] = make_keys();
    const long live = qn_alloc_live();
    for (long k = 0;; k++) {
        qn_hash_map m;
        uint32_t added = 0;
        qn_alloc_fail_at(k);
        if (qn_hash_map_init(&m, 0))
            while (added < 1000 && qn_hash_map_add(&m, keys[added], strlen(keys[added]), added, NULL))
                added++;
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_true(failed == (added < 1000));
        for (uint32_t i = 0; i < added; i++) assert_true(qn_hash_map_get(&m, keys[i], strlen(keys[i])) == i);
        qn_hash_map_deinit(&m);
        assert_int_equal(qn_alloc_live(), live);
        if (!failed) break;
    }
    free(keys);
}

/* How many of n keys fall into the fullest of 4096 cells, for a few seeds. */
static size_t worst_cell(const unsigned char *keys, size_t key_bytes, size_t n)
{
    size_t worst = 0;
    for (uint64_t seed = 1; seed < 1000000000; seed = seed * 977 + 12345) {
        static unsigned cells[4096];
        memset(cells, 0, sizeof cells);
        for (size_t i = 0; i < n; i++) {
            const unsigned in_cell = ++cells[qn_hash_bytes(keys + i * key_bytes, key_bytes, seed) & 4095];
            if (in_cell > worst) worst = in_cell;
        }
    }
    return worst;
}

/* A product hash gives 0 whenever one factor is 0. If a factor did not depend on the map's own key, a
 * file could make it 0 and put all its names into one chain. Words that equal any constant of the
 * hash, in any place, must do no harm. */
static void keys_chosen_against_the_hash(void **state)
{
    (void)state;
    static const uint64_t constants[] = {0x9e3779b97f4a7c15u,
                                         0xa0761d6478bd642fu,
                                         0xe7037ed1a0b428dbu,
                                         0x8ebc6af09c88c6e3u,
                                         0x589965cc75374cc3u,
                                         0x1d8e4e27c47d124fu,
                                         0,
                                         UINT64_MAX};
    enum { N_KEYS = 4096, WORDS = 4 };
    static uint64_t keys[N_KEYS][WORDS];
    for (size_t n_words = 1; n_words <= WORDS; n_words++) {
        for (size_t c = 0; c < sizeof constants / sizeof constants[0]; c++) {
            for (size_t counter = 0; counter < n_words; counter++) { /* all words the constant but one */
                unsigned char flat[N_KEYS * WORDS * 8];
                for (size_t i = 0; i < N_KEYS; i++) {
                    for (size_t w = 0; w < n_words; w++) keys[i][w] = constants[c];
                    keys[i][counter] = i * 0x9e3779b97f4a7c15u;
                    memcpy(flat + i * n_words * 8, keys[i], n_words * 8);
                }
                const size_t worst = worst_cell(flat, n_words * 8, N_KEYS);
                if (worst > 20) /* one a cell on average: more than 12 is a chance of 1 in 10^9 */
                    fail_msg("%zu of %d keys in one cell: %zu words, constant %zu, counter in word %zu",
                             worst, N_KEYS, n_words, c, counter);
            }
        }
    }
}

static void the_hash_depends_on_everything(void **state)
{
    (void)state;
    unsigned char bytes[40] = {0};
    for (size_t n = 0; n <= 40; n++) {
        const uint64_t h = qn_hash_bytes(bytes, n, 1);
        assert_true(h != qn_hash_bytes(bytes, n, 2));
        if (n < 40) assert_true(h != qn_hash_bytes(bytes, n + 1, 1));
        for (size_t bit = 0; bit < n * 8; bit++) {
            bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
            assert_true(h != qn_hash_bytes(bytes, n, 1));
            bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_keys),
        cmocka_unit_test(odd_keys),
        cmocka_unit_test(every_failing_allocation),
        cmocka_unit_test(keys_chosen_against_the_hash),
        cmocka_unit_test(the_hash_depends_on_everything),
    };
    return cmocka_run_group_tests_name("base hash_map", tests, NULL, NULL);
}
