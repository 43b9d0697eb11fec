/* hostile_test.c: texts that are large and monotonous. Each would take hours if any step were
 * quadratic; the test's time limit notices. */
#include "vocab_util.h"

#include "base/alloc.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MIB = 1 << 20 };

static void check_text(const qn_vocab *v, const char *text, size_t n_bytes)
{
    size_t n_ids, n_joined;
    quern_token *ids = test_tokenize(v, text, n_bytes, QN_TOKENIZE_PARSE_SPECIAL, &n_ids);
    char *joined;
    assert_int_equal(qn_vocab_detokenize(v, ids, n_ids, false, true, &joined, &n_joined, NULL), QUERN_OK);
    assert_int_equal(n_joined, n_bytes);
    assert_memory_equal(joined, text, n_bytes);
    qn_free(joined);
    qn_free(ids);
}

static void check_runs(const qn_vocab *v, size_t n_bytes)
{
    static const char *const units[] = {"a",        " ",   "\n",  "\xff", "<tool>", "<tool", "\xe2\x96\x81",
                                        "\xcc\x81", "ab ", " \n", "<"};
    char *text = malloc(n_bytes + 16);
    assert_non_null(text);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        const size_t n_unit = strlen(units[u]);
        size_t n = 0;
        for (; n + n_unit <= n_bytes; n += n_unit) memcpy(text + n, units[u], n_unit);
        if (strcmp(units[u], "\xe2\x96\x81") == 0 && strcmp(qn_vocab_kind_name(v), "spm") == 0)
            continue; /* SentencePiece reads it as a blank */
        check_text(v, text, n);
    }
    free(text);
}

static void a_mebibyte_of_one_thing(void **state)
{
    (void)state;
    test_vocab t;
    static const char *const pres[] = {"smollm", "deepseek-llm", "qwen35"};
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++) {
        assert_int_equal(test_vocab_open_writer(&t, test_bpe_writer(pres[i]), NULL), QUERN_OK);
        check_runs(t.vocab, i == 0 ? MIB : MIB / 8); /* the others differ in their patterns alone */
        test_vocab_close(&t);
    }
    qn_gguf_writer *w = test_spm_writer();
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.add_space_prefix", false);
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    check_runs(t.vocab, MIB);
    test_vocab_close(&t);
}

/* Words without an end: one letter, letters in random order, one Chinese character. */
static void check_words(qn_gguf_writer *w, bool joins_to_text)
{
    enum { BYTES = 10 * MIB };
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    char *text = malloc(BYTES);
    assert_non_null(text);
    for (int word = 0; word < 3; word++) {
        qn_random r = {.seed = 4};
        size_t n = 0;
        for (; n < BYTES - 2 && word < 2; n++)
            text[n] = word == 0 ? 'a' : (char)('a' + qn_random_u64(&r) % 26);
        for (; n < BYTES - 2; n += 3) memcpy(text + n, "\xe4\xb8\xad", 3);
        if (joins_to_text) {
            check_text(t.vocab, text, n);
        } else {
            size_t n_ids;
            qn_free(test_tokenize(t.vocab, text, n, 0, &n_ids));
            assert_true(n_ids > 0);
        }
    }
    free(text);
    test_vocab_close(&t);
}

static void a_word_of_ten_mebibytes(void **state)
{
    (void)state;
    check_words(test_bpe_writer("smollm"), true);
    check_words(test_bpe_writer("llama-bpe"), true);
    qn_gguf_writer *w = test_spm_writer();
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.add_space_prefix", false);
    check_words(w, true);
    check_words(test_unigram_writer(), false);
    check_words(test_wordpiece_writer(), false);
}

static void a_text_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, test_bpe_writer("smollm"), NULL), QUERN_OK);
    quern_token *ids;
    size_t n;
    quern_error err = {0};
    assert_int_equal(qn_vocab_tokenize(t.vocab, "", SIZE_MAX, 0, &ids, &n, &err), QUERN_ERR_LIMIT);
    assert_null(ids);
    assert_non_null(strstr(err.message, "at most"));
    test_vocab_close(&t);
}

/* Thousands of added tokens that share their beginnings. */
static void many_added_tokens(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    qn_string *texts = calloc(COUNT + 2, sizeof *texts);
    int32_t *types = calloc(COUNT + 2, sizeof *types);
    char *room = malloc(COUNT * (size_t)24);
    assert_true(texts != NULL && types != NULL && room != NULL);
    for (size_t i = 0; i < COUNT; i++) {
        char *at = room + i * 24;
        texts[i] = (qn_string){at, (size_t)snprintf(at, 24, "<<<<unused%zu>", i)};
        types[i] = i % 2 != 0 ? QN_TOKEN_CONTROL : QN_TOKEN_USER_DEFINED;
    }
    texts[COUNT] = (qn_string){"<", 1}, types[COUNT] = QN_TOKEN_NORMAL;
    texts[COUNT + 1] = (qn_string){"x", 1}, types[COUNT + 1] = QN_TOKEN_NORMAL;
    qn_gguf_writer *w;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    qn_gguf_writer_set_string(w, "tokenizer.ggml.model", "llama");
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.add_space_prefix", false);
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", texts, COUNT + 2);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_I32, types, COUNT + 2);
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    char *text = malloc(MIB);
    assert_non_null(text);
    memset(text, '<', MIB);
    check_text(t.vocab, text, MIB);
    size_t n;
    quern_token *ids = test_tokenize(t.vocab, "x<<<<<unused12>x<<<<unused13>", 29, 0, &n);
    assert_int_equal(ids[0], COUNT + 1);
    assert_int_equal(ids[1], COUNT);
    assert_int_equal(ids[2], 12);
    assert_int_equal(ids[3], COUNT + 1);
    assert_true(ids[4] != 13); /* a control token, not parsed */
    qn_free(ids);
    free(text);
    test_vocab_close(&t);
    free(texts), free(types), free(room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mebibyte_of_one_thing),
        cmocka_unit_test(a_word_of_ten_mebibytes),
        cmocka_unit_test(a_text_beyond_the_limit_is_refused),
        cmocka_unit_test(many_added_tokens),
    };
    return cmocka_run_group_tests_name("vocab hostile", tests, NULL, NULL);
}
