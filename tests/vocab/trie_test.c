/* trie_test.c: every text is found with its value, nothing else is. */
#include "vocab_util.h"

#include "base/random.h"
#include "vocab/trie.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t find(const qn_trie *t, const char *text, size_t n_bytes)
{
    uint32_t node = QN_TRIE_ROOT;
    for (size_t i = 0; i < n_bytes; i++) {
        node = qn_trie_step(t, node, (uint8_t)text[i]);
        if (node == QN_TRIE_NONE) return -1;
    }
    return t->nodes[node].value;
}

static void nothing_is_found_in_none(void **state)
{
    (void)state;
    qn_trie t;
    qn_trie_entry empty = {{"", 0}, 7};
    for (size_t n = 0; n < 2; n++) { /* an empty text is left out */
        assert_true(qn_trie_init(&t, &empty, n));
        assert_int_equal(t.n_nodes, 1);
        assert_int_equal(find(&t, "", 0), -1);
        assert_int_equal(find(&t, "a", 1), -1);
        qn_trie_deinit(&t);
    }
}

static void the_lowest_of_equals_stays(void **state)
{
    (void)state;
    qn_trie_entry entries[] = {
        {{"ab", 2}, 5}, {{"a", 1}, 9}, {{"ab", 2}, 3}, {{"\0", 1}, 1}, {{"\xff\xff", 2}, 2}};
    qn_trie t;
    assert_true(qn_trie_init(&t, entries, 5));
    assert_int_equal(find(&t, "ab", 2), 3);
    assert_int_equal(find(&t, "a", 1), 9);
    assert_int_equal(find(&t, "\0", 1), 1);
    assert_int_equal(find(&t, "\xff\xff", 2), 2);
    assert_int_equal(find(&t, "\xff", 1), -1);
    assert_int_equal(find(&t, "abc", 3), -1);
    assert_int_equal(find(&t, "b", 1), -1);
    qn_trie_deinit(&t);
}

/* Texts of few different bytes, so that many are beginnings of others; and of all bytes, for tables. */
static void random_texts_are_found(void **state)
{
    (void)state;
    enum { N = 3000, LONGEST = 12 };
    static char bytes[N][LONGEST];
    static qn_trie_entry entries[N], sorted[N];
    qn_random r = {.seed = 5};
    for (int n_different = 2; n_different <= 256; n_different *= 4) {
        for (int i = 0; i < N; i++) {
            const size_t n = 1 + qn_random_u64(&r) % LONGEST;
            for (size_t k = 0; k < n; k++) bytes[i][k] = (char)(qn_random_u64(&r) % (uint64_t)n_different);
            entries[i] = sorted[i] = (qn_trie_entry){{bytes[i], n}, i};
        }
        qn_trie t;
        assert_true(qn_trie_init(&t, sorted, N));
        for (int i = 0; i < N; i++) {
            const qn_string text = entries[i].text;
            int wanted = i, shorter = -1;
            for (int k = 0; k < N; k++) {
                const qn_string other = entries[k].text;
                if (other.n_bytes == text.n_bytes && memcmp(other.bytes, text.bytes, text.n_bytes) == 0 &&
                    k < wanted)
                    wanted = k;
                if (shorter < 0 && other.n_bytes == text.n_bytes - 1 &&
                    memcmp(other.bytes, text.bytes, text.n_bytes - 1) == 0)
                    shorter = k;
            }
            assert_int_equal(find(&t, text.bytes, text.n_bytes), wanted);
            assert_int_equal(find(&t, text.bytes, text.n_bytes - 1), shorter);
        }
        assert_true((n_different > QN_TRIE_WIDE) == (t.n_tables > 0));
        qn_trie_deinit(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_found_in_none),
                                       cmocka_unit_test(the_lowest_of_equals_stays),
                                       cmocka_unit_test(random_texts_are_found)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
