/* stop_test.c: stop texts in a stream: found wherever the stream is cut, and nothing of them let go. */
#include "support/cmocka_all.h"

#include "engine/stop.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

/* Pushes `text` in pieces whose lengths are the digits of `cuts` again and again; out: what came out. */
static int run(const char *const *stops, size_t n_stops, const char *text, const char *cuts, char out[256])
{
    qn_stop s;
    quern_error err;
    assert_int_equal(qn_stop_init(&s, stops, n_stops, &err), QUERN_OK);
    size_t n_out = 0, n_clear;
    const size_t n = strlen(text);
    for (size_t at = 0, k = 0; at < n && s.found < 0; k++) {
        size_t piece = (size_t)(cuts[k % strlen(cuts)] - '0');
        if (piece > n - at) piece = n - at;
        const char *clear = qn_stop_push(&s, text + at, piece, &n_clear);
        assert_non_null(clear);
        assert_int_equal(clear[n_clear], '\0');
        memcpy(out + n_out, clear, n_clear);
        n_out += n_clear;
        at += piece;
    }
    if (s.found < 0) {
        const char *clear = qn_stop_finish(&s, &n_clear);
        memcpy(out + n_out, clear, n_clear);
        n_out += n_clear;
    }
    out[n_out] = '\0';
    const int found = s.found;
    qn_stop_deinit(&s);
    return found;
}

static void finds_texts_across_every_cut(void **state)
{
    (void)state;
    static const struct {
        const char *stops[3];
        size_t n_stops;
        const char *text, *expected;
        int found;
    } cases[] = {
        {{"stop"}, 1, "a sto is no stop: it", "a sto is no ", 0},
        {{"aab"}, 1, "aaaab", "aa", 0}, /* a failed match begins a later one */
        {{"</s>", "\n\n"}, 2, "one\ntwo\n\nthree", "one\ntwo", 1},
        {{"xyz", "y"}, 2, "wxyz", "wx", 1}, /* the one that is complete first */
        {{"abc", "bcd"}, 2, "zabcd", "z", 0},
        {{"yz", "xyz"}, 2, "wxyz", "w", 1},               /* both at once: nothing of either comes out */
        {{"never"}, 1, "nevenevenev", "nevenevenev", -1}, /* all comes out at the end */
        {{"\xc3\xa9t"}, 1, "l'\xc3\xa9\x74\xc3\xa9", "l'", 0},
        {{"same", "same"}, 2, "the same", "the ", 0},
        {{"whole"}, 1, "whole", "", 0},
    };
    static const char *const cuts[] = {"1", "2", "3", "7", "12", "9", "01"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t k = 0; k < sizeof cuts / sizeof cuts[0]; k++) {
            char out[256];
            const int found = run(cases[i].stops, cases[i].n_stops, cases[i].text, cuts[k], out);
            assert_int_equal(found, cases[i].found);
            assert_string_equal(out, cases[i].expected);
        }
}

static void holds_back_no_more_than_needed(void **state)
{
    (void)state;
    static const char *const stops[] = {"abcd"};
    qn_stop s;
    size_t n;
    assert_int_equal(qn_stop_init(&s, stops, 1, NULL), QUERN_OK);
    assert_string_equal(qn_stop_push(&s, "xab", 3, &n), "x");
    assert_string_equal(qn_stop_push(&s, "c", 1, &n), "");
    assert_string_equal(qn_stop_push(&s, "x", 1, &n), "abcx");
    assert_string_equal(qn_stop_push(&s, "", 0, &n), "");
    assert_string_equal(qn_stop_finish(&s, &n), "");
    qn_stop_deinit(&s);
}

static void refuses_useless_texts(void **state)
{
    (void)state;
    static char longest[QUERN_MAX_STOP_BYTES + 2];
    static const char *many[QUERN_MAX_STOPS + 1];
    const char *const empty[] = {"ok", ""}, *const broken[] = {"\xff"}, *const too_long[] = {longest};
    qn_stop s;
    quern_error err;
    memset(longest, 'x', sizeof longest - 1);
    for (size_t i = 0; i <= QUERN_MAX_STOPS; i++) many[i] = "x";
    assert_int_equal(qn_stop_init(&s, empty, 2, &err), QUERN_ERR_ARGUMENT);
    assert_int_equal(qn_stop_init(&s, broken, 1, &err), QUERN_ERR_ARGUMENT);
    assert_int_equal(qn_stop_init(&s, too_long, 1, &err), QUERN_ERR_ARGUMENT);
    assert_int_equal(qn_stop_init(&s, many, QUERN_MAX_STOPS + 1, &err), QUERN_ERR_ARGUMENT);
    assert_int_equal(qn_stop_init(&s, NULL, 0, &err), QUERN_OK);
    qn_stop_deinit(&s);
}

static void survives_failing_memory(void **state)
{
    (void)state;
    static const char *const stops[] = {"ab"};
    for (long k = 0;; k++) {
        qn_stop s;
        size_t n;
        assert_int_equal(qn_stop_init(&s, stops, 1, NULL), QUERN_OK);
        qn_alloc_fail_at(k);
        const char *first = qn_stop_push(&s, "xa", 2, &n);
        if (first != NULL) (void)qn_stop_finish(&s, &n);
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        qn_stop_deinit(&s);
        if (!failed) break;
        assert_true(k < 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_texts_across_every_cut), cmocka_unit_test(holds_back_no_more_than_needed),
        cmocka_unit_test(refuses_useless_texts), cmocka_unit_test(survives_failing_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
