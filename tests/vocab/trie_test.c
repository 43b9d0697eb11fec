/* trie_test.c: every text is found with its value, nothing else is. */
#include "vocab_util.h"

#include "base/random.h"
#include "vocab/trie.h"

#include <math.h>
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
    if (t->values[node] < 0) assert_true(isinf(t->units[node].weight));
    return t->values[node];
}

static void nothing_is_found_in_none(void **state)
{
    (void)state;
    qn_trie t;
    qn_trie_entry empty = {{"", 0}, 7, 1.0f};
    for (size_t n = 0; n < 2; n++) { /* an empty text is left out */
        assert_true(qn_trie_init(&t, &empty, n));
        assert_int_equal(t.n_units, QN_TRIE_BLOCK);
        assert_int_equal(find(&t, "", 0), -1);
        assert_int_equal(find(&t, "a", 1), -1);
        qn_trie_deinit(&t);
    }
}

static void the_lowest_of_equals_stays(void **state)
{
    (void)state;
    qn_trie_entry entries[] = {{{"ab", 2}, 5, -1.0f},
                               {{"a", 1}, 9, -2.0f},
                               {{"ab", 2}, 3, -3.0f},
                               {{"\0", 1}, 1, -4.0f},
                               {{"\xff\xff", 2}, 2, -5.0f}};
    qn_trie t;
    assert_true(qn_trie_init(&t, entries, 5));
    assert_int_equal(find(&t, "ab", 2), 3);
    assert_int_equal(find(&t, "a", 1), 9);
    assert_int_equal(find(&t, "\0", 1), 1);
    assert_int_equal(find(&t, "\xff\xff", 2), 2);
    assert_int_equal(find(&t, "\xff", 1), -1);
    assert_int_equal(find(&t, "abc", 3), -1);
    assert_int_equal(find(&t, "b", 1), -1);
    assert_int_equal(find(&t, "a\0", 2), -1);
    assert_int_equal(find(&t, "\0\0", 2), -1);
    assert_float_equal(t.units[qn_trie_step(&t, QN_TRIE_ROOT, 'a')].weight, -2.0, 0.0);
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
            entries[i] = sorted[i] = (qn_trie_entry){{bytes[i], n}, i, (float)i};
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
        qn_trie_deinit(&t);
    }
}

/* What is not there is not found from any node, whatever byte follows. */
static void units_are_reached_from_one_node_alone(void **state)
{
    (void)state;
    enum { N = 2000 };
    static char bytes[N][4];
    static qn_trie_entry entries[N];
    qn_random r = {.seed = 6};
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < 4; k++) bytes[i][k] = (char)(qn_random_u64(&r) % (i % 2 ? 256 : 7));
        entries[i] = (qn_trie_entry){{bytes[i], 1 + (size_t)i % 4}, i, 0.0f};
    }
    qn_trie t;
    assert_true(qn_trie_init(&t, entries, N));
    uint8_t *n_parents = calloc(t.n_units, 1);
    assert_non_null(n_parents);
    static uint32_t nodes[4 * N + 1] = {QN_TRIE_ROOT};
    size_t n_nodes = 1;
    for (size_t i = 0; i < n_nodes; i++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            const uint32_t child = qn_trie_step(&t, nodes[i], (uint8_t)byte);
            if (child == QN_TRIE_NONE) continue;
            assert_int_equal(n_parents[child]++, 0);
            assert_true(n_nodes <= (size_t)4 * N);
            nodes[n_nodes++] = child;
        }
    }
    size_t n_values = 0, n_texts = 0;
    for (size_t i = 0; i < n_nodes; i++) n_values += t.values[nodes[i]] >= 0;
    for (int i = 0; i < N; i++) /* they were sorted */
        n_texts += i == 0 || entries[i].text.n_bytes != entries[i - 1].text.n_bytes ||
                   memcmp(entries[i].text.bytes, entries[i - 1].text.bytes, entries[i].text.n_bytes) != 0;
    assert_int_equal(n_values, n_texts);
    free(n_parents);
    qn_trie_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_found_in_none), cmocka_unit_test(the_lowest_of_equals_stays),
        cmocka_unit_test(random_texts_are_found), cmocka_unit_test(units_are_reached_from_one_node_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
