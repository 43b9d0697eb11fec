/* pretokenizer_test.c: the rows of patterns: names, words of known texts, nothing lost on any bytes,
 * linear time on hostile runs, and the way out of a match that reaches a limit. */
#include "vocab_util.h"

#include "base/alloc.h"
#include "base/random.h"
#include "vocab/pretokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct joined {
    char text[512]; /* the words, each in | | */
    size_t n_bytes, n_words;
    const char *next; /* where the next word must begin */
} joined;

static bool show_word(void *user, const char *word, size_t n_bytes)
{
    joined *j = user;
    if (j->n_bytes + n_bytes + 2 < sizeof j->text)
        j->n_bytes += (size_t)sprintf(j->text + j->n_bytes, "%.*s|", (int)n_bytes, word);
    return true;
}

static bool follow_word(void *user, const char *word, size_t n_bytes)
{
    joined *j = user;
    assert_true(n_bytes > 0);
    assert_ptr_equal(word, j->next);
    j->next = word + n_bytes;
    j->n_words++;
    return true;
}

static void check_words(const char *name, const char *text, const char *wanted)
{
    const qn_pretokenizer_row *row = qn_pretokenizer_find(name, strlen(name));
    assert_non_null(row);
    for (int use_jit = 0; use_jit < 2; use_jit++) {
        qn_pretokenizer *p;
        assert_int_equal(qn_pretokenizer_create(&p, row, use_jit, NULL), QUERN_OK);
        void *matcher = qn_pretokenizer_matcher_create(p);
        joined j = {.n_bytes = 0};
        assert_true(qn_pretokenizer_split(p, matcher, text, strlen(text), show_word, &j));
        assert_string_equal(j.text, wanted);
        qn_pretokenizer_matcher_destroy(matcher);
        qn_pretokenizer_destroy(p);
    }
}

static void words_are_cut_as_published(void **state)
{
    (void)state;
    check_words("gpt-2", "It's 1234 of  them.\n\n  x", "It|'s| 1234| of| | them|.|\n\n | x|");
    check_words("gpt-2", "I'LL", "I|'|LL|");
    check_words("starcoder", "a12 b", "a|1|2| b|");
    check_words("llama-bpe", "I'LL pay 12345 (now)\r\n", "I|'LL| pay| |123|45| (|now|)\r\n|");
    check_words("qwen2", "x=12;\n\ty", "x|=|1|2|;\n|\ty|");
    check_words("gpt-4o", "HelloWorld's fine/\n", "Hello|World's| fine|/\n|");
    check_words("tekken", "HelloWorld's", "Hello|World|'s|");
    check_words("deepseek-coder", "if x1:\n  y", "if| x|1|:|\n| | y|");
    check_words("deepseek-llm", "one  two12  ", "one| | two|12|  |");
    check_words("deepseek-v3", "n=1234, m", "n|=|123|4|,| m|");
    check_words("default", "a=1234!", "a|=|123|4|!|");
    check_words("qwen35", "e\xcc\x81t\xc3\xa9", "e\xcc\x81t\xc3\xa9|");
    check_words("viking", "one two.3", "one| two|.|3|");
    check_words("llama-bpe",
                "a\xe1\xa0\x8e"
                "b",
                "a|\xe1\xa0\x8e"
                "b|"); /* U+180E is no white space */
}

static void unknown_names_have_no_row(void **state)
{
    (void)state;
    assert_null(qn_pretokenizer_find("gpt-3", 5));
    assert_null(qn_pretokenizer_find("", 0));
    assert_null(qn_pretokenizer_find("gpt-2x", 6));
    assert_non_null(qn_pretokenizer_find("gpt-2x", 5));
}

static void each_name_occurs_once(void **state)
{
    (void)state;
    const qn_pretokenizer_row *row;
    for (size_t i = 0; (row = qn_pretokenizer_row_at(i)) != NULL; i++)
        for (const char *const *n = row->names; *n != NULL; n++)
            assert_ptr_equal(qn_pretokenizer_find(*n, strlen(*n)), row);
}

static void check_nothing_lost(const qn_pretokenizer *p, void *matcher, const char *text, size_t n_bytes)
{
    joined j = {.next = text};
    assert_true(qn_pretokenizer_split(p, matcher, text, n_bytes, follow_word, &j));
    assert_ptr_equal(j.next, text + n_bytes);
}

/* Letters, digits, blanks, line ends, punctuation, marks, Chinese, and broken UTF-8 in random order. */
static size_t random_text(qn_random *r, char *out, size_t max)
{
    static const char *const parts[] = {"a",
                                        "Z",
                                        "7",
                                        " ",
                                        "  ",
                                        "\n",
                                        "\r\n",
                                        "\t",
                                        "'s",
                                        "'",
                                        ".",
                                        "\xc3\xa9",
                                        "\xcc\x81",
                                        "\xe4\xb8\xad",
                                        "\xf0\x9f\x98\x80",
                                        "\xe3\x80\x80",
                                        "\xff",
                                        "\xc3",
                                        "\xe4\xb8",
                                        "\xc2\x85",
                                        "_",
                                        "$"};
    size_t n = 0;
    while (n + 4 < max) {
        const char *part = parts[qn_random_u64(r) % (sizeof parts / sizeof *parts)];
        memcpy(out + n, part, strlen(part));
        n += strlen(part);
    }
    return n;
}

static void words_join_to_the_text(void **state)
{
    (void)state;
    qn_random r = {.seed = 1};
    const qn_pretokenizer_row *row;
    for (size_t i = 0; (row = qn_pretokenizer_row_at(i)) != NULL; i++) {
        qn_pretokenizer *p;
        assert_int_equal(qn_pretokenizer_create(&p, row, true, NULL), QUERN_OK);
        void *matcher = qn_pretokenizer_matcher_create(p);
        for (int round = 0; round < 50; round++) {
            char text[200];
            check_nothing_lost(p, matcher, text, random_text(&r, text, sizeof text));
        }
        qn_pretokenizer_matcher_destroy(matcher);
        qn_pretokenizer_destroy(p);
    }
}

static void hostile_runs_take_linear_time(void **state)
{
    (void)state;
    static const char *const units[] = {"a",  "A",    " ",   "\n",       "1",
                                        ".",  " \n",  "\t ", "\xcc\x81", "\xe4\xb8\xad",
                                        "aA", "\xff", "'",   " x",       "\xe3\x80\x80"};
    enum { BYTES = 200000 };
    char *text = malloc(BYTES + 8);
    assert_non_null(text);
    const qn_pretokenizer_row *row;
    for (size_t i = 0; (row = qn_pretokenizer_row_at(i)) != NULL; i++) {
        qn_pretokenizer *p;
        assert_int_equal(qn_pretokenizer_create(&p, row, true, NULL), QUERN_OK);
        void *matcher = qn_pretokenizer_matcher_create(p);
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            size_t n = 0;
            while (n < BYTES) memcpy(text + n, units[u], strlen(units[u])), n += strlen(units[u]);
            check_nothing_lost(p, matcher, text, n);
            text[n - 1] = 'x'; /* the run does not end the text */
            check_nothing_lost(p, matcher, text, n);
        }
        qn_pretokenizer_matcher_destroy(matcher);
        qn_pretokenizer_destroy(p);
    }
    free(text);
}

static void a_match_that_reaches_a_limit_is_cut(void **state)
{
    (void)state;
    static const qn_pretokenizer_row row = {.names = {"test"}, .patterns = {"(?:a+)+b", "a{1,7}"}};
    enum { BYTES = 5000 };
    char text[BYTES];
    memset(text, 'a', sizeof text);
    for (int use_jit = 0; use_jit < 2; use_jit++) {
        qn_pretokenizer *p;
        assert_int_equal(qn_pretokenizer_create(&p, &row, use_jit, NULL), QUERN_OK);
        void *matcher = qn_pretokenizer_matcher_create(p);
        check_nothing_lost(p, matcher, text, sizeof text);
        qn_pretokenizer_matcher_destroy(matcher);
        qn_pretokenizer_destroy(p);
    }
}

static void creation_survives_each_failing_allocation(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    bool failed = true;
    for (long k = 0; failed; k++) {
        qn_pretokenizer *p;
        qn_alloc_fail_at(k);
        const quern_status s = qn_pretokenizer_create(&p, qn_pretokenizer_row_at(0), true, NULL);
        failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_true(s == QUERN_OK || (failed && s == QUERN_ERR_NOMEM && p == NULL));
        qn_pretokenizer_destroy(p);
        assert_int_equal(qn_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_cut_as_published),
        cmocka_unit_test(unknown_names_have_no_row),
        cmocka_unit_test(each_name_occurs_once),
        cmocka_unit_test(words_join_to_the_text),
        cmocka_unit_test(hostile_runs_take_linear_time),
        cmocka_unit_test(a_match_that_reaches_a_limit_is_cut),
        cmocka_unit_test(creation_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests_name("vocab pretokenizer", tests, NULL, NULL);
}
