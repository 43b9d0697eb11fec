/* matcher_test.c: masks beside the slow way: each token of the vocabulary followed by itself. */
#include "../vocab/vocab_util.h"
#include "grammar_util.h"

#include "base/alloc.h"
#include "base/random.h"
#include "base/utf8.h"
#include "grammar/gbnf.h"
#include "grammar/matcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char json[] =
    "root ::= object\n"
    "value ::= object | array | string | \"-\"? (\"0\" | [1-9] [0-9]*) | \"true\" | \"false\" | \"null\"\n"
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? \"}\"\n"
    "array ::= \"[\" (value (\",\" ws value)*)? \"]\"\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4}))* "
    "\"\\\"\"\n"
    "ws ::= \" \"?";

/* Texts as vocabularies have them: words, punctuation, long runs, characters of several bytes and halves. */
static size_t random_text(qn_random *r, char *out)
{
    static const char *const parts[] = {"a",
                                        "the",
                                        "tru",
                                        "e",
                                        "\"",
                                        "\":",
                                        ",",
                                        "{",
                                        "}",
                                        "[",
                                        "]",
                                        "1",
                                        "00",
                                        "\\",
                                        "\xc3\xa9",
                                        "\xe6\x97\xa5",
                                        "\n",
                                        "n",
                                        "ull",
                                        "\\n",
                                        "fal",
                                        "\\u0",
                                        "\xf0\x9f\x98\x80",
                                        "-"};
    size_t n = 0;
    if (qn_random_u64(r) % 3 == 0) n = (size_t)sprintf(out, "\xe2\x96\x81");
    const unsigned kind = (unsigned)(qn_random_u64(r) % 8), count = 1 + (unsigned)(qn_random_u64(r) % 4);
    if (kind == 0) {
        const size_t length = 1 + qn_random_u64(r) % 40;
        memset(out + n, (int)('a' + qn_random_u64(r) % 3), length);
        return n + length;
    }
    for (unsigned i = 0; i < count; i++) {
        const char *part = parts[qn_random_u64(r) % (sizeof parts / sizeof *parts)];
        n += (size_t)sprintf(out + n, "%s", part);
    }
    return n;
}

enum { N_WORDS = 700, N_FIRST = 3 + 256, N_TOKENS = N_FIRST + N_WORDS, END = 2 };

/* An SPM vocabulary: <unk>, <s>, </s>, all bytes, words. */
static void open_vocabulary(test_vocab *t)
{
    static char texts[N_TOKENS][128];
    static qn_string strings[N_TOKENS];
    static int32_t types[N_TOKENS];
    static float scores[N_TOKENS];
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    qn_random r = {.seed = 5};
    for (size_t i = 0; i < N_TOKENS; i++) {
        size_t n;
        if (i < 3) n = (size_t)sprintf(texts[i], "%s", special[i]);
        else if (i < N_FIRST) n = (size_t)sprintf(texts[i], "<0x%02X>", (unsigned)i - 3);
        else n = random_text(&r, texts[i]);
        strings[i] = (qn_string){texts[i], n};
        types[i] = i == 0        ? QN_TOKEN_UNKNOWN
                   : i < 3       ? QN_TOKEN_CONTROL
                   : i < N_FIRST ? QN_TOKEN_BYTE
                                 : QN_TOKEN_NORMAL;
    }
    qn_gguf_writer *w;
    quern_error err = {0};
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    qn_gguf_writer_set_string(w, "tokenizer.ggml.model", "llama");
    qn_gguf_writer_set_array(w, "tokenizer.ggml.scores", QN_GGUF_F32, scores, N_TOKENS);
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", strings, N_TOKENS);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_I32, types, N_TOKENS);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.eos_token_id", END);
    if (test_vocab_open_writer(t, w, &err) != QUERN_OK) fail_msg("%s", err.message);
}

typedef struct fixture {
    test_vocab vocab;
    qn_token_table table;
    test_language language;
    qn_matcher *matcher;
} fixture;

static void open_fixture(fixture *f, const char *grammar)
{
    quern_error err = {0};
    open_vocabulary(&f->vocab);
    assert_int_equal(qn_token_table_init(&f->table, f->vocab.vocab, &err), QUERN_OK);
    f->language = test_gbnf(grammar);
    assert_int_equal(qn_matcher_create(&f->matcher, f->language.network, &f->table, &err), QUERN_OK);
}

static void close_fixture(fixture *f)
{
    qn_matcher_destroy(f->matcher);
    test_language_close(&f->language);
    qn_token_table_deinit(&f->table);
    test_vocab_close(&f->vocab);
}

/* Whether a token can come after the text, by its bytes alone. */
static bool follows(fixture *f, const char *text, size_t n_bytes, quern_token token, bool drops_space)
{
    qn_automaton *a = f->language.automaton;
    char piece[256];
    qn_place at = qn_automaton_begin(a);
    for (size_t i = 0; i < n_bytes; i++) at = qn_automaton_step(a, at, (uint8_t)text[i]);
    if (token == END) return qn_automaton_accepts(a, at);
    const size_t n = qn_vocab_piece(f->vocab.vocab, token, false, piece);
    for (size_t i = drops_space && piece[0] == ' '; i < n; i++)
        at = qn_automaton_step(a, at, (uint8_t)piece[i]);
    return n > 0 && at != QN_PLACE_DEAD;
}

static size_t count(const qn_token_mask *mask)
{
    size_t n = 0;
    for (quern_token t = 0; t < N_TOKENS; t++) n += mask->bits[t / 64] >> t % 64 & 1;
    return n;
}

static void compare(fixture *f, const char *text, size_t n_bytes, bool drops_space)
{
    const qn_token_mask *mask = qn_matcher_mask(f->matcher);
    assert_non_null(mask);
    size_t n = 0;
    for (quern_token t = 0; t < N_TOKENS; t++) {
        const bool allowed = mask->bits[t / 64] >> t % 64 & 1;
        n += allowed;
        if (allowed != follows(f, text, n_bytes, t, drops_space))
            fail_msg("token %d is %sallowed after '%.*s'", t, allowed ? "" : "not ", (int)n_bytes, text);
    }
    assert_int_equal(mask->is_empty, n == 0);
    if (n == 1) assert_true(mask->bits[mask->only / 64] >> mask->only % 64 & 1);
    else assert_int_equal(mask->only, -1);
}

/* Draws a random text, token by token, and looks at the mask in front of each. */
static void check_random_text(fixture *f, qn_random *r, bool drops_space)
{
    char text[4096];
    size_t n = 0;
    qn_matcher_begin(f->matcher, drops_space);
    for (int step = 0; step < 60; step++) {
        const bool drops = drops_space && step == 0;
        compare(f, text, n, drops);
        const qn_token_mask *mask = qn_matcher_mask(f->matcher);
        const size_t n_allowed = count(mask);
        size_t chosen = n_allowed > 0 ? qn_random_u64(r) % n_allowed : 0;
        quern_token token = -1;
        for (quern_token t = 0; t < N_TOKENS && token < 0; t++)
            if (mask->bits[t / 64] >> t % 64 & 1 && chosen-- == 0) token = t;
        if (token < 0 || token == END) break;
        char piece[256];
        const size_t n_piece = qn_vocab_piece(f->vocab.vocab, token, false, piece),
                     from = drops && piece[0] == ' ';
        memcpy(text + n, piece + from, n_piece - from);
        n += n_piece - from;
        assert_true(qn_matcher_accept(f->matcher, token));
    }
}

static void masks_are_what_each_token_says(void **state)
{
    (void)state;
    static const char *const grammars[] = {
        json,
        "root ::= [^\"\\\\\\x00-\\x1f]{0,20} \"\\\"\"", /* plain text, but not for long */
        "root ::= \"\\\"\" [a-z ]* \"\\\"\"",
        "root ::= (\"true\" | \"the\" | \"tree\") \" \" root | \"\"",
        "root ::= \"\\\"\" char{0,9} \"\\\"\"\nchar ::= [^\"\\\\\\x00-\\x1f] | \"\\\\\" [\"n]", /* counted by
                                                                                                   a rule */
        "root ::= \"a\" (char{3} | char{12} \"!\") | char{30}\nchar ::= [^\"\\\\\\x00-\\x1f]",
        "root ::= \"x\" word \"@\" word\nword ::= [a-zA-Z0-9.]{1,14}",
        "root ::= two{0,5} \"!\"\ntwo ::= [^\"\\\\\\x00-\\x1f] [a-z]?", /* one character, or two */
        /* letters by rule, but not all of two bytes: */
        "root ::= (\"a\" char{6} | char{4} | char{6}) \"!\"\nchar ::= [^\"\\\\\\x86-\\xf1]",
        /* a rule that stands at its own begin after each character: */
        "root ::= \"\\\"\" run{0,9} \"\\\"\"\nrun ::= [^\"\\\\\\x00-\\x1f] run | \"\\\\\" [n]",
        "root ::= .*",
        "root ::= [^a]*",
    };
    for (size_t i = 0; i < sizeof grammars / sizeof *grammars; i++) {
        fixture f;
        open_fixture(&f, grammars[i]);
        qn_random r = {.seed = i};
        for (int round = 0; round < 12; round++) check_random_text(&f, &r, round % 3 == 0);
        close_fixture(&f);
    }
}

static void what_is_not_allowed_ends_the_text(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "root ::= \"ab\"");
    assert_false(qn_matcher_may_end(f.matcher));
    assert_false(qn_matcher_accept(f.matcher, END));
    assert_true(qn_matcher_mask(f.matcher)->is_empty);
    assert_false(qn_matcher_may_end(f.matcher) || qn_matcher_must_end(f.matcher)); /* it is not whole */
    qn_matcher_begin(f.matcher, false);
    assert_true(qn_matcher_accept(f.matcher, 3 + 'a'));
    assert_false(qn_matcher_must_end(f.matcher));
    assert_true(qn_matcher_accept_bytes(f.matcher, "b", 1));
    assert_true(qn_matcher_may_end(f.matcher) && qn_matcher_must_end(f.matcher));
    const qn_token_mask *mask = qn_matcher_mask(f.matcher);
    assert_int_equal(mask->only, END);
    assert_true(qn_matcher_accept(f.matcher, END));
    assert_false(qn_matcher_accept(f.matcher, 3 + 'c'));
    static const quern_token impossible[] = {-1, 0, 1, N_TOKENS, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        qn_matcher_begin(f.matcher, false);
        assert_false(qn_matcher_accept(f.matcher, impossible[i]));
    }
    close_fixture(&f);
}

/* The text of a control token, spelled, is not the token. */
static void control_tokens_are_asked_for_as_such(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "root ::= \"<s>\"");
    assert_false(qn_matcher_accept(f.matcher, 1));
    close_fixture(&f);

    open_vocabulary(&f.vocab);
    quern_error err = {0};
    assert_int_equal(qn_token_table_init(&f.table, f.vocab.vocab, &err), QUERN_OK);
    qn_expressions e = {0};
    qn_network network;
    e.root = qn_expression_new_rule(&e);
    qn_expression_define(&e, e.root, qn_expression_text(&e, "\xff<s>a", 5));
    assert_int_equal(qn_network_build(&network, &e, "test", NULL, NULL, &err), QUERN_OK);
    assert_int_equal(qn_matcher_create(&f.matcher, &network, &f.table, &err), QUERN_OK);
    const qn_token_mask *mask = qn_matcher_mask(f.matcher);
    assert_int_equal(mask->only, 1); /* not the byte 0xFF */
    assert_false(qn_matcher_accept(f.matcher, 3 + '<'));
    qn_matcher_begin(f.matcher, false);
    assert_true(qn_matcher_accept(f.matcher, 1));
    assert_true(qn_matcher_accept(f.matcher, 3 + 'a'));
    assert_true(qn_matcher_must_end(f.matcher));
    qn_matcher_destroy(f.matcher);
    qn_network_deinit(&network);
    qn_expressions_deinit(&e);
    qn_token_table_deinit(&f.table);
    test_vocab_close(&f.vocab);
}

static void texts_can_be_closed_from_anywhere(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, json);
    static const char *const begins[] = {"", "{", "{\"a", "{\"a\\u0", "{\"a\": [[[[{\"x\": tr", "{\"\xe6"};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
        qn_matcher_begin(f.matcher, false);
        assert_true(qn_matcher_accept_bytes(f.matcher, begins[i], strlen(begins[i])));
        size_t n_tokens = 0; /* the fewest with which it is known to end */
        while (!qn_matcher_can_end(f.matcher, n_tokens)) n_tokens++;
        assert_true(n_tokens < 20);
        for (quern_token token = -1; token != END; n_tokens--) {
            token = qn_matcher_closing_token(f.matcher);
            if (token == END) break;
            assert_true(token >= 0 && n_tokens > 0);
            assert_true(qn_matcher_can_end_after(f.matcher, token, n_tokens - 1));
            assert_true(qn_matcher_accept(f.matcher, token));
            assert_true(qn_matcher_can_end(f.matcher, n_tokens - 1));
        }
        assert_int_equal(n_tokens, 0);
        assert_true(qn_matcher_may_end(f.matcher));
    }
    assert_false(qn_matcher_accept_bytes(f.matcher, "x", 1));
    assert_int_equal(qn_matcher_closing_token(f.matcher), -1);
    close_fixture(&f);
}

/* Which is no reason to take the grammar for one that is too ambiguous. */
static void an_end_may_be_far_away(void **state)
{
    (void)state;
    fixture f;
    quern_error err = {0};
    open_fixture(&f, "root ::= char{99000} \"!\"\nchar ::= one | two | three\none ::= [a-x]\ntwo ::= [a-y] | "
                     "[a-z]\nthree ::= [a-z]");
    assert_non_null(qn_matcher_mask(f.matcher));
    assert_true(qn_matcher_can_end(f.matcher, 50000)); /* there are tokens of many bytes */
    assert_int_equal(qn_matcher_status(f.matcher, &err), QUERN_OK);
    assert_false(qn_matcher_mask(f.matcher)->is_empty);
    close_fixture(&f);
}

static void failing_memory_is_told(void **state)
{
    (void)state;
    test_vocab vocab;
    open_vocabulary(&vocab);
    test_language l = test_gbnf(json);
    const long live = qn_alloc_live();
    bool done = false;
    int n_told = 0;
    for (long k = 0; !done; k++) {
        qn_token_table table = {0};
        qn_matcher *m = NULL;
        quern_error err = {0};
        qn_alloc_fail_at(k);
        quern_status s = qn_token_table_init(&table, vocab.vocab, &err);
        if (s == QUERN_OK) s = qn_matcher_create(&m, l.network, &table, &err);
        for (const char *c = "{\"a\": [1, \"x"; s == QUERN_OK && *c != '\0'; c++) {
            if (qn_matcher_mask(m) != NULL) qn_matcher_accept_bytes(m, c, 1);
            s = qn_matcher_status(m, &err);
        }
        done = !qn_alloc_has_failed();
        assert_true(s == QUERN_OK ||
                    (s == QUERN_ERR_NOMEM && !done)); /* what only saves time is done without */
        n_told += s != QUERN_OK;
        qn_alloc_fail_at(-1);
        qn_matcher_destroy(m);
        qn_token_table_deinit(&table);
        assert_int_equal(qn_alloc_live(), live);
    }
    assert_true(n_told > 20);
    test_language_close(&l);
    test_vocab_close(&vocab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(masks_are_what_each_token_says),
                                       cmocka_unit_test(what_is_not_allowed_ends_the_text),
                                       cmocka_unit_test(control_tokens_are_asked_for_as_such),
                                       cmocka_unit_test(texts_can_be_closed_from_anywhere),
                                       cmocka_unit_test(an_end_may_be_far_away),
                                       cmocka_unit_test(failing_memory_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
