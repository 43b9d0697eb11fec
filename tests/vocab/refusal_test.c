/* refusal_test.c: tokenizer metadata of strangers: what is refused and with which sentence, what is
 * accepted with care, and memory that fails. */
#include "vocab_util.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void refused(qn_gguf_writer *w, quern_status status, const char *part_of_message)
{
    test_vocab t;
    quern_error err = {0};
    const quern_status s = test_vocab_open_writer(&t, w, &err);
    if (s != status || strstr(err.message, part_of_message) == NULL)
        fail_msg("status %d: '%s' does not say '%s'", s, err.message, part_of_message);
    assert_null(t.vocab);
    test_vocab_close(&t);
}

static qn_gguf_writer *empty_writer(const char *model)
{
    qn_gguf_writer *w;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    if (model != NULL) qn_gguf_writer_set_string(w, "tokenizer.ggml.model", model);
    return w;
}

static void kinds_of_tokenizers(void **state)
{
    (void)state;
    refused(empty_writer(NULL), QUERN_ERR_FORMAT, "tokenizer.ggml.model");
    refused(empty_writer("rwkv"), QUERN_ERR_UNSUPPORTED, "'rwkv' are not supported");
    refused(empty_writer("\033[31mmagic"), QUERN_ERR_UNSUPPORTED, "\\x1b");
    qn_gguf_writer *w = empty_writer(NULL);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.model", 1);
    refused(w, QUERN_ERR_FORMAT, "tokenizer.ggml.model");
    refused(test_bpe_writer("gpt-99"), QUERN_ERR_UNSUPPORTED, "unknown pre-tokenizer 'gpt-99'");
}

static void tokens(void **state)
{
    (void)state;
    refused(empty_writer("llama"), QUERN_ERR_FORMAT, "tokenizer.ggml.tokens");
    qn_gguf_writer *w = empty_writer("llama");
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", NULL, 0);
    refused(w, QUERN_ERR_FORMAT, "no tokens");
    const uint32_t numbers[] = {1, 2};
    w = empty_writer("llama");
    qn_gguf_writer_set_array(w, "tokenizer.ggml.tokens", QN_GGUF_U32, numbers, 2);
    refused(w, QUERN_ERR_FORMAT, "tokenizer.ggml.tokens");
    char *giant = calloc(1, 70000);
    memset(giant, 'a', 70000);
    const qn_string texts[] = {{"a", 1}, {giant, 70000}};
    w = empty_writer("llama");
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", texts, 2);
    refused(w, QUERN_ERR_FORMAT, "token 1: 70000 bytes");
    free(giant);
}

static void arrays_beside_the_tokens(void **state)
{
    (void)state;
    const int32_t types[] = {1, 1};
    const float scores[] = {1, 1};
    qn_gguf_writer *w = test_spm_writer();
    qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_I32, types, 2);
    refused(w, QUERN_ERR_FORMAT, "token_type: 2 entries for");
    w = test_spm_writer();
    qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_F32, scores, 2);
    refused(w, QUERN_ERR_FORMAT, "array of integers");
    w = test_spm_writer();
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.token_type", 1);
    refused(w, QUERN_ERR_FORMAT, "array of integers");
    w = test_spm_writer();
    qn_gguf_writer_set_array(w, "tokenizer.ggml.scores", QN_GGUF_F32, scores, 2);
    refused(w, QUERN_ERR_FORMAT, "scores: 2 entries for");
    w = test_spm_writer();
    qn_gguf_writer_set_array(w, "tokenizer.ggml.scores", QN_GGUF_I32, types, 2);
    refused(w, QUERN_ERR_FORMAT, "array of floats");
    w = test_spm_writer();
    qn_gguf_writer_set_string(w, "tokenizer.ggml.bos_token_id", "1");
    refused(w, QUERN_ERR_FORMAT, "bos_token_id: must be an integer");
    w = test_spm_writer();
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.add_bos_token", 1);
    refused(w, QUERN_ERR_FORMAT, "add_bos_token");
}

static void merges(void **state)
{
    (void)state;
    const qn_string texts[] = {{"a", 1}, {"b", 1}};
    qn_gguf_writer *w = empty_writer("gpt2");
    qn_gguf_writer_set_string(w, "tokenizer.ggml.pre", "gpt-2");
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", texts, 2);
    refused(w, QUERN_ERR_FORMAT, "tokenizer.ggml.merges");
    const qn_string useless[] = {{"", 0},    {" ", 1},   {"a", 1},   {"a ", 2},   {" a", 2},       {"  ", 2},
                                 {"x y", 3}, {"a b", 3}, {"a b", 3}, {"a \0", 3}, {"\xff \xfe", 3}};
    w = test_bpe_writer("gpt-2");
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.merges", useless, sizeof useless / sizeof *useless);
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    size_t n;
    qn_free(test_tokenize(t.vocab, "aab x y", 7, 0, &n));
    assert_int_equal(n, 7);
    test_vocab_close(&t);
}

static void odd_tokens_are_accepted(void **state)
{
    (void)state;
    /* duplicate, empty, with NUL, not UTF-8, byte tokens that are none, types that are none */
    const qn_string texts[] = {
        {"a", 1},     {"a", 1},       {"", 0},       {"", 0},  {"\0b", 2}, {"\xff", 1},        {"<0x-1>", 6},
        {"<0x1>", 5}, {"<0x100>", 7}, {"<0x61>", 6}, {"c", 1}, {"", 0},    {"\xe2\x96\x81", 3}};
    const int32_t types[] = {1, 1, 1, 6, 1, 1, 6, 6, 6, 6, 99, 4, -5};
    qn_gguf_writer *w = empty_writer("llama");
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", texts, 13);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_I32, types, 13);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.bos_token_id", 13);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.eos_token_id", UINT32_MAX);
    qn_gguf_writer_set_i32(w, "tokenizer.ggml.unknown_token_id", -1);
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    size_t n;
    quern_token *ids = test_tokenize(t.vocab,
                                     "a\0b\xff"
                                     "cd",
                                     6, QN_TOKENIZE_ADD_SPECIAL, &n);
    const quern_token wanted[] = {1, 12, 0, 4, 5, 10, 0}; /* BOS stays the kind's own, so does unknown */
    assert_int_equal(n, 7);
    assert_memory_equal(ids, wanted, sizeof wanted);
    qn_free(ids);
    char piece[32];
    assert_int_equal(qn_vocab_piece(t.vocab, 6, true, piece), 0);
    assert_int_equal(qn_vocab_piece(t.vocab, 9, true, piece), 1);
    assert_int_equal(piece[0], 'a');
    assert_int_equal(qn_vocab_piece(t.vocab, -1, true, piece), 0);
    assert_int_equal(qn_vocab_piece(t.vocab, 13, true, piece), 0);
    test_vocab_close(&t);
}

static void count_warning(void *user, quern_log_level level, const char *line)
{
    (void)line;
    if (level == QUERN_LOG_WARN) ++*(int *)user;
}

static void care_is_logged(void **state)
{
    (void)state;
    test_vocab t = {.vocab = NULL};
    qn_gguf_writer *w = test_bpe_writer(NULL);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.padding_token_id", 100000);
    assert_int_equal(qn_gguf_writer_to_memory(w, &t.bytes, &t.n_bytes, NULL), QUERN_OK);
    qn_gguf_writer_destroy(w);
    assert_int_equal(qn_gguf_parse(&t.gguf, t.bytes, t.n_bytes, NULL), QUERN_OK);
    int n_warnings = 0;
    const qn_log log = {count_warning, &n_warnings};
    assert_int_equal(qn_vocab_open(&t.vocab, &t.gguf, &log, NULL), QUERN_OK);
    assert_int_equal(n_warnings, 2); /* no pre-tokenizer named; no such token */
    assert_int_equal(qn_vocab_special_ids(t.vocab)->pad, -1);
    test_vocab_close(&t);
}

static void check_failing_memory(qn_gguf_writer *w)
{
    test_vocab t = {.vocab = NULL};
    assert_int_equal(qn_gguf_writer_to_memory(w, &t.bytes, &t.n_bytes, NULL), QUERN_OK);
    qn_gguf_writer_destroy(w);
    assert_int_equal(qn_gguf_parse(&t.gguf, t.bytes, t.n_bytes, NULL), QUERN_OK);
    const long live = qn_alloc_live();
    static char text[3000];
    memset(text, 'a', sizeof text);
    memcpy(text + 100, "the quick e\xcc\x81 <tool> brown fox ", 31);
    bool failed = true;
    for (long k = 0; failed; k++) {
        quern_token *ids = NULL;
        char *joined = NULL;
        size_t n, n_joined;
        qn_alloc_fail_at(k);
        quern_status s = qn_vocab_open(&t.vocab, &t.gguf, NULL, NULL);
        if (s == QUERN_OK) s = qn_vocab_tokenize(t.vocab, text, sizeof text, 3, &ids, &n, NULL);
        if (s == QUERN_OK) s = qn_vocab_detokenize(t.vocab, ids, n, true, true, &joined, &n_joined, NULL);
        failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_true(s == QUERN_OK ||
                    (failed && s == QUERN_ERR_NOMEM)); /* without machine code all still works */
        qn_vocab_close(t.vocab);
        qn_free(ids);
        qn_free(joined);
        assert_int_equal(qn_alloc_live(), live);
    }
    t.vocab = NULL;
    test_vocab_close(&t);
}

static void each_failing_allocation_is_survived(void **state)
{
    (void)state;
    check_failing_memory(test_bpe_writer("qwen2"));
    check_failing_memory(test_spm_writer());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_of_tokenizers),
        cmocka_unit_test(tokens),
        cmocka_unit_test(arrays_beside_the_tokens),
        cmocka_unit_test(merges),
        cmocka_unit_test(odd_tokens_are_accepted),
        cmocka_unit_test(care_is_logged),
        cmocka_unit_test(each_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests_name("vocab refusal", tests, NULL, NULL);
}
