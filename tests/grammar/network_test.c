/* network_test.c: ranges of characters as byte ranges: just the spellings of those characters, nothing else.
 */
#include "grammar_util.h"

#include "base/random.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

static void build(test_language *l, const qn_character_range *ranges, size_t n, bool negated)
{
    qn_expressions e = {0};
    e.root = qn_expression_new_rule(&e);
    qn_expression_define(&e, e.root, qn_expression_class(&e, ranges, n, negated));
    quern_error err;
    l->network = calloc(1, sizeof *l->network);
    assert_non_null(l->network);
    if (qn_network_build(l->network, &e, "class", NULL, NULL, &err) != QUERN_OK) fail_msg("%s", err.message);
    qn_expressions_deinit(&e);
    assert_int_equal(qn_automaton_create(&l->automaton, l->network, &err), QUERN_OK);
}

static bool is_in(const qn_character_range *ranges, size_t n, uint32_t c)
{
    for (size_t i = 0; i < n; i++)
        if (c >= ranges[i].first && c <= ranges[i].last) return true;
    return false;
}

static void check_all_characters(const qn_character_range *ranges, size_t n, bool negated, uint32_t step)
{
    test_language l;
    build(&l, ranges, n, negated);
    for (uint32_t c = 0; c <= 0x10ffff; c += step) {
        char bytes[4];
        const size_t n_bytes = qn_utf8_encode(c, bytes);
        if (n_bytes == 0) continue; /* a surrogate */
        const bool takes = test_takes(l.automaton, bytes, n_bytes);
        if (takes != (is_in(ranges, n, c) != negated)) fail_msg("U+%04X is %staken", c, takes ? "" : "not ");
        assert_true(n_bytes == 1 || !test_takes(l.automaton, bytes, n_bytes - 1));
    }
    test_language_close(&l);
}

static void ranges_take_their_characters(void **state)
{
    (void)state;
    static const qn_character_range edges[] = {{0, 0},           {0x7f, 0x80},      {0x7ff, 0x800},
                                               {0xd700, 0xe000}, {0xffff, 0x10000}, {0x10ffff, 0x10ffff},
                                               {'a', 'z'},       {0x3041, 0x309f}};
    for (int negated = 0; negated < 2; negated++) check_all_characters(edges, 8, negated, 1);
    check_all_characters(NULL, 0, true, 1);
    qn_random r = {.seed = 9};
    for (int round = 0; round < 100; round++) {
        qn_character_range ranges[4];
        const size_t n = 1 + qn_random_u64(&r) % 4;
        for (size_t i = 0; i < n; i++) {
            const unsigned bits = 4 + (unsigned)(qn_random_u64(&r) % 17);
            const uint32_t a = (uint32_t)(qn_random_u64(&r) & ((1u << bits) - 1)),
                           b = (uint32_t)(qn_random_u64(&r) & ((1u << bits) - 1));
            ranges[i] = (qn_character_range){a < b ? a : b, a < b ? b : a};
        }
        check_all_characters(ranges, n, round % 2 != 0, 13);
    }
}

static void invalid_bytes_are_no_character(void **state)
{
    (void)state;
    static const char *const texts[] = {"\x80",
                                        "\xc0\x80",
                                        "\xc1\xbf",
                                        "\xe0\x80\x80",
                                        "\xe0\x9f\xbf",
                                        "\xed\xa0\x80",
                                        "\xed\xbf\xbf",
                                        "\xf0\x80\x80\x80",
                                        "\xf0\x8f\xbf\xbf",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xff",
                                        "\xc3",
                                        "\xe2\x82",
                                        "a\x80"};
    test_language l;
    build(&l, NULL, 0, true);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_false(test_takes(l.automaton, texts[i], strlen(texts[i])));
    test_language_close(&l);
}

static void failures_are_told(void **state)
{
    (void)state;
    qn_expressions e = {0};
    qn_network n;
    quern_error err = {0};
    e.root = qn_expression_new_rule(&e);
    assert_int_equal(qn_network_build(&n, &e, "test", NULL, NULL, &err), QUERN_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "not defined"));
    qn_expression_define(&e, e.root, qn_expression_class(&e, NULL, 0, false));
    assert_int_equal(qn_network_build(&n, &e, "test", NULL, NULL, &err), QUERN_OK);
    assert_true(n.is_empty);
    qn_network_deinit(&n);
    qn_expression x = qn_expression_text(&e, "abcdefgh", 8);
    for (int i = 0; i < 4; i++) x = qn_expression_repeat(&e, x, 1000, 1000); /* 8e12 states */
    qn_expression_define(&e, e.root, x);
    assert_int_equal(qn_network_build(&n, &e, "test", NULL, NULL, &err), QUERN_ERR_LIMIT);
    x = qn_expression_text(&e, "a", 1);
    for (int i = 0; i < 5000; i++) x = qn_expression_repeat(&e, x, 1, 1);
    qn_expression_define(&e, e.root, x);
    assert_int_equal(qn_network_build(&n, &e, "test", NULL, NULL, &err), QUERN_ERR_LIMIT);
    qn_expression_append(&e, QN_NO_EXPRESSION, x);
    assert_true(e.failed);
    assert_int_equal(qn_network_build(&n, &e, "test", NULL, NULL, &err), QUERN_ERR_LIMIT);
    qn_expressions_deinit(&e);
}

/* All texts of few letters: one is of both in a row if it can be cut so. */
static void two_in_a_row_take_what_both_take(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"root ::= \"a\"* \"b\"?", "root ::= \"b\" (\"a\" | \"c\")*"},
        {"root ::= \"(\" root \")\" | \"a\"", "root ::= \"(\" other \")\"\nother ::= root | \"\""},
        {"root ::= \"\"", "root ::= \"abc\""},
        {"root ::= \"a\" x\nx ::= [b-c] | \"\"", "root ::= \"\""}};
    static const char letters[] = "abc()";
    enum { MOST = 6, N_LETTERS = 5 };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        test_language first = test_gbnf(pairs[i][0]), second = test_gbnf(pairs[i][1]), both = {0};
        quern_error err;
        both.network = calloc(1, sizeof *both.network);
        assert_int_equal(qn_network_concatenate(both.network, first.network, second.network, &err), QUERN_OK);
        assert_int_equal(qn_automaton_create(&both.automaton, both.network, &err), QUERN_OK);
        size_t n_taken = 0;
        for (size_t length = 0, count = 1; length <= MOST; length++, count *= N_LETTERS)
            for (size_t number = 0; number < count; number++) {
                char text[MOST];
                size_t rest = number;
                bool wanted = false;
                for (size_t k = 0; k < length; k++, rest /= N_LETTERS) text[k] = letters[rest % N_LETTERS];
                for (size_t cut = 0; cut <= length && !wanted; cut++)
                    wanted = test_takes(first.automaton, text, cut) &&
                             test_takes(second.automaton, text + cut, length - cut);
                n_taken += wanted;
                if (test_takes(both.automaton, text, length) != wanted)
                    fail_msg("pair %zu: '%.*s' is %staken", i, (int)length, text, wanted ? "not " : "");
            }
        assert_true(n_taken > 0);
        test_language_close(&first), test_language_close(&second), test_language_close(&both);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_take_their_characters),
        cmocka_unit_test(invalid_bytes_are_no_character),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(two_in_a_row_take_what_both_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
