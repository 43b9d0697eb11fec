/* automaton_test.c: following texts: long ones, deep ones, ambiguous ones, and forgetting in between. */
#include "grammar_util.h"

#include "base/alloc.h"
#include "base/random.h"
#include "grammar/gbnf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char json[] = "root ::= value\n"
                           "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
                           "object ::= \"{\" (string \":\" value (\",\" string \":\" value)*)? \"}\"\n"
                           "array ::= \"[\" (value (\",\" value)*)? \"]\"\n"
                           "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\\" [\"\\\\/bfnrt])* \"\\\"\"\n"
                           "number ::= \"-\"? (\"0\" | [1-9] [0-9]*) (\".\" [0-9]+)?\n";

static void deep_texts_are_followed(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    test_language l = test_gbnf(json);
    char *text = malloc(2 * DEPTH + 2);
    assert_non_null(text);
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    assert_true(test_takes(l.automaton, text, 2 * DEPTH));
    assert_false(test_takes(l.automaton, text, 2 * DEPTH - 1));
    text[2 * DEPTH] = ']';
    assert_false(test_takes(l.automaton, text, 2 * DEPTH + 1));
    free(text);
    test_language_close(&l);
}

/* A random value as text. */
static size_t write_value(qn_random *r, char *out, int depth)
{
    const unsigned kind = (unsigned)(qn_random_u64(r) % (depth > 0 ? 6 : 3));
    if (kind == 0) return (size_t)sprintf(out, "%d", (int)(qn_random_u64(r) % 2000) - 1000);
    if (kind == 1) return (size_t)sprintf(out, "\"a\\n%u\xc3\xa9\"", (unsigned)(qn_random_u64(r) % 100));
    if (kind == 2) return (size_t)sprintf(out, "%s", qn_random_u64(r) % 2 ? "true" : "null");
    const bool object = kind == 3;
    size_t n = 0;
    out[n++] = object ? '{' : '[';
    const unsigned count = (unsigned)(qn_random_u64(r) % 4);
    for (unsigned i = 0; i < count; i++) {
        if (i > 0) out[n++] = ',';
        if (object) n += (size_t)sprintf(out + n, "\"k%u\":", i);
        n += write_value(r, out + n, depth - 1);
    }
    out[n++] = object ? '}' : ']';
    return n;
}

static void texts_are_told_from_their_damaged_copies(void **state)
{
    (void)state;
    static char text[1 << 20];
    test_language l = test_gbnf(json);
    qn_random r = {.seed = 2};
    int n_taken = 0;
    for (int round = 0; round < 500; round++) {
        const size_t n = write_value(&r, text, 6);
        assert_true(test_takes(l.automaton, text, n));
        if (n < 2 || text[n - 1] == '"' || text[n - 1] == '}' || text[n - 1] == ']')
            assert_true(n < 2 || !test_takes(l.automaton, text, n - 1));
        text[qn_random_u64(&r) % n] = "{}[],:\"x1"[qn_random_u64(&r) % 9];
        n_taken += test_takes(l.automaton, text, n);
    }
    assert_in_range(n_taken, 1, 300); /* some changes make another good text */
    test_language_close(&l);
}

static void forgetting_changes_nothing(void **state)
{
    (void)state;
    /* every length is a place of its own, with a stack of its own: more than is remembered */
    test_language l = test_gbnf("root ::= \"(\" root \")\" | \"<\" root \">\" | \"\"");
    enum { N = 400000 };
    char *text = malloc(2 * N);
    assert_non_null(text);
    qn_random r = {.seed = 8};
    for (size_t i = 0; i < N; i++) {
        const bool round = qn_random_u64(&r) % 2;
        text[i] = round ? '(' : '<';
        text[2 * N - 1 - i] = round ? ')' : '>';
    }
    qn_place at = qn_automaton_begin(l.automaton);
    int n_tidied = 0;
    for (size_t i = 0; i < 2 * N; i++) {
        qn_automaton_rest(l.automaton);
        at = qn_automaton_step(l.automaton, at, (uint8_t)text[i]);
        n_tidied += qn_automaton_tidy(l.automaton, &at);
    }
    assert_true(qn_automaton_accepts(l.automaton, at));
    assert_true(n_tidied > 0);
    free(text);
    test_language_close(&l);
}

static void too_many_ways_are_an_error(void **state)
{
    (void)state;
    test_language l = test_gbnf("root ::= a{1000}\na ::= b{0,1000}\nb ::= \"x\" | c \"y\"\nc ::= \"x\"?");
    qn_place at = qn_automaton_begin(l.automaton);
    quern_error err = {0};
    for (int i = 0; i < 1000 && at != QN_PLACE_DEAD; i++) at = qn_automaton_step(l.automaton, at, 'x');
    assert_int_equal(at, QN_PLACE_DEAD);
    assert_int_equal(qn_automaton_status(l.automaton, &err), QUERN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "ambiguous"));
    test_language_close(&l);
}

static void final_places_have_no_way_on(void **state)
{
    (void)state;
    test_language l = test_gbnf("root ::= \"ab\" \"c\"?");
    qn_automaton *a = l.automaton;
    qn_place at = qn_automaton_step(a, qn_automaton_step(a, qn_automaton_begin(a), 'a'), 'b');
    assert_true(qn_automaton_accepts(a, at));
    assert_false(qn_automaton_is_final(a, at));
    at = qn_automaton_step(a, at, 'c');
    assert_true(qn_automaton_accepts(a, at));
    assert_true(qn_automaton_is_final(a, at));
    assert_int_equal(qn_automaton_step(a, at, 'c'), QN_PLACE_DEAD);
    test_language_close(&l);
}

/* The fewest bytes to a whole text, by trying all texts up to some length. */
static uint32_t shortest_by_trying(qn_automaton *a, qn_place at, uint32_t most)
{
    if (qn_automaton_accepts(a, at)) return 0;
    uint32_t least = QN_NO_WAY;
    for (unsigned byte = 0; byte < 128 && most > 0; byte++) {
        const qn_place to = qn_automaton_step(a, at, (uint8_t)byte);
        if (to == QN_PLACE_DEAD) continue;
        const uint32_t n = shortest_by_trying(a, to, (least < most ? least - 1 : most) - 1);
        if (n != QN_NO_WAY && n + 1 < least) least = n + 1;
    }
    return least;
}

static void the_shortest_end_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *text;
        uint32_t wanted;
    } cases[] = {{"root ::= \"ab\" | \"a\"? \"x\"", "", 1},
                 {"root ::= \"(\" root \")\" | \"xyz\"", "((", 5},
                 {"root ::= \"(\" root \")\" | \"xyz\"", "((xyz)", 1},
                 {"root ::= a a\na ::= b | \"long\"\nb ::= \"[\" a \"]\" | \"12\"", "[", 5},
                 {"root ::= a \"!\" | \"zzzzz\"\na ::= \"1\" a | \"2\"", "1", 2},
                 {"root ::= [0-9]{3,5}", "1", 2},
                 {"root ::= \"\" | \"a\"", "", 0},
                 {"root ::= \"\" | \"a\"", "b", QN_NO_WAY}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_language l = test_gbnf(cases[i].grammar);
        qn_place at = qn_automaton_begin(l.automaton);
        for (const char *c = cases[i].text; *c != '\0'; c++)
            at = qn_automaton_step(l.automaton, at, (uint8_t)*c);
        assert_int_equal(qn_automaton_shortest(l.automaton, at), cases[i].wanted);
        assert_int_equal(shortest_by_trying(l.automaton, at, 6), cases[i].wanted);
        for (uint32_t left = cases[i].wanted; left != QN_NO_WAY && left > 0; left--) {
            assert_int_equal(qn_automaton_shortest(l.automaton, at), left);
            at = qn_automaton_step(l.automaton, at, qn_automaton_shortest_byte(l.automaton, at));
        }
        assert_true(cases[i].wanted == QN_NO_WAY || qn_automaton_accepts(l.automaton, at));
        test_language_close(&l);
    }
}

static void what_never_ends_is_no_way_on(void **state)
{
    (void)state;
    test_language l = test_gbnf("root ::= \"a\" (x | \"b\") | y\nx ::= \"c\" x\ny ::= \"d\" y \"e\"");
    qn_automaton *a = l.automaton;
    const qn_place begin = qn_automaton_begin(a), at = qn_automaton_step(a, begin, 'a');
    assert_int_equal(qn_automaton_step(a, begin, 'd'), QN_PLACE_DEAD);
    assert_int_equal(qn_automaton_step(a, at, 'c'), QN_PLACE_DEAD);
    assert_true(qn_automaton_accepts(a, qn_automaton_step(a, at, 'b')));
    test_language_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(deep_texts_are_followed),
                                       cmocka_unit_test(texts_are_told_from_their_damaged_copies),
                                       cmocka_unit_test(forgetting_changes_nothing),
                                       cmocka_unit_test(too_many_ways_are_an_error),
                                       cmocka_unit_test(final_places_have_no_way_on),
                                       cmocka_unit_test(the_shortest_end_is_known),
                                       cmocka_unit_test(what_never_ends_is_no_way_on)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
