/* detokenizer_test.c: the stream of pieces: whole characters only, the same text in the end. */
#include "vocab_util.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/checked.h"
#include "base/random.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

static char *room_for(const qn_vocab *v)
{
    char *out = malloc(qn_vocab_max_piece(v) * 3 + 16); /* exactly what the header asks for */
    assert_non_null(out);
    return out;
}

/* The text with every maximal broken part as U+FFFD. */
static void replace_broken(qn_buffer *out, const char *text, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes;) {
        uint32_t c;
        size_t n = qn_utf8_decode(text + i, n_bytes - i, &c);
        if (n > 0) {
            assert_true(qn_buffer_append(out, text + i, n));
        } else {
            n = 1; /* the longest beginning of a character */
            for (size_t k = qn_min_size(3, n_bytes - i); k > 1 && n == 1; k--)
                if (qn_utf8_incomplete_tail(text + i, k) == k) n = k;
            assert_true(qn_buffer_puts(out, "\xef\xbf\xbd"));
        }
        i += n;
    }
}

static void check_stream(const qn_vocab *v, const quern_token *ids, size_t n_ids, bool show_special)
{
    char *whole, *out = room_for(v);
    size_t n_whole;
    assert_int_equal(qn_vocab_detokenize(v, ids, n_ids, false, show_special, &whole, &n_whole, NULL),
                     QUERN_OK);
    qn_buffer wanted = {0}, found = {0};
    qn_buffer_puts(&wanted, ""), qn_buffer_puts(&found, "");
    replace_broken(&wanted, whole, n_whole);
    qn_detokenizer d;
    qn_detokenizer_init(&d, v, show_special);
    for (size_t i = 0; i < n_ids; i++) {
        const size_t n = qn_detokenizer_push(&d, ids[i], out);
        assert_true(n <= qn_vocab_max_piece(v) * 3 + 16);
        assert_true(qn_utf8_valid(out, n));
        assert_true(qn_buffer_append(&found, out, n));
    }
    assert_true(qn_buffer_append(&found, out, qn_detokenizer_flush(&d, out)));
    assert_int_equal(qn_detokenizer_flush(&d, out), 0);
    assert_int_equal(found.n_bytes, wanted.n_bytes);
    assert_memory_equal(found.data, wanted.data, wanted.n_bytes);
    qn_buffer_deinit(&wanted), qn_buffer_deinit(&found);
    qn_free(whole);
    free(out);
}

static void check_random_streams(qn_gguf_writer *w)
{
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    qn_random r = {.seed = 9};
    for (int round = 0; round < 3000; round++) {
        quern_token ids[24];
        const size_t n = (size_t)(qn_random_u64(&r) % 24);
        for (size_t i = 0; i < n; i++) {
            ids[i] =
                (quern_token)(qn_random_u64(&r) % (qn_vocab_size(t.vocab) + 2)) - 1; /* some out of range */
        }
        check_stream(t.vocab, ids, n, round % 2 != 0);
    }
    test_vocab_close(&t);
}

static void random_ids(void **state)
{
    (void)state;
    check_random_streams(test_bpe_writer("smollm")); /* of a kind that does not tidy blanks */
    check_random_streams(test_spm_writer());
}

static void a_character_is_held_back_until_it_is_whole(void **state)
{
    (void)state;
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, test_spm_writer(), NULL), QUERN_OK);
    char *out = room_for(t.vocab);
    qn_detokenizer d;
    qn_detokenizer_init(&d, t.vocab, false);
    static const unsigned char emoji[] = {0xf0, 0x9f, 0x98, 0x80};
    for (int i = 0; i < 3; i++) assert_int_equal(qn_detokenizer_push(&d, 3 + emoji[i], out), 0);
    assert_int_equal(qn_detokenizer_push(&d, 3 + emoji[3], out), 4);
    assert_memory_equal(out, emoji, 4);
    assert_int_equal(qn_detokenizer_push(&d, 3 + 0xe4, out), 0);
    assert_int_equal(qn_detokenizer_push(&d, 3 + 'x', out), 4); /* U+FFFD, then the x */
    assert_memory_equal(out, "\xef\xbf\xbdx", 4);
    assert_int_equal(qn_detokenizer_push(&d, 3 + 0xff, out), 3); /* never the beginning of anything */
    assert_int_equal(qn_detokenizer_push(&d, 3 + 0xe4, out), 0);
    assert_int_equal(qn_detokenizer_flush(&d, out), 3);
    free(out);
    test_vocab_close(&t);
}

static void special_tokens_are_removed_or_shown(void **state)
{
    (void)state;
    test_vocab t;
    qn_gguf_writer *w = test_spm_writer();
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.add_eos_token", true);
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    size_t n, n_text;
    quern_token *ids = test_tokenize(t.vocab, "the world", 9, QN_TOKENIZE_ADD_SPECIAL, &n);
    char *text;
    assert_int_equal(qn_vocab_detokenize(t.vocab, ids, n, false, true, &text, &n_text, NULL), QUERN_OK);
    assert_string_equal(text, "<s> the world</s>");
    qn_free(text);
    assert_int_equal(qn_vocab_detokenize(t.vocab, ids, n, false, false, &text, &n_text, NULL), QUERN_OK);
    assert_string_equal(text, " the world"); /* the added blank goes only from the first token */
    qn_free(text);
    assert_int_equal(qn_vocab_detokenize(t.vocab, ids + 1, n - 1, true, true, &text, &n_text, NULL),
                     QUERN_OK);
    assert_string_equal(text, "the world");
    qn_free(text);
    assert_int_equal(qn_vocab_detokenize(t.vocab, NULL, 0, true, true, &text, &n_text, NULL), QUERN_OK);
    assert_int_equal(n_text, 0);
    qn_free(text);
    qn_free(ids);
    test_vocab_close(&t);
}

static void blanks_before_punctuation_are_tidied_where_published_so(void **state)
{
    (void)state;
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, test_bpe_writer("gpt-2"), NULL), QUERN_OK);
    size_t n, n_text;
    static const char before[] = "a , b . c's d 's e ' f 're 't !", after[] = "a, b. c's d's e'f're 't!";
    quern_token *ids = test_tokenize(t.vocab, before, strlen(before), 0, &n);
    char *text;
    assert_int_equal(qn_vocab_detokenize(t.vocab, ids, n, false, false, &text, &n_text, NULL), QUERN_OK);
    assert_int_equal(n_text, strlen(after));
    assert_memory_equal(text, after, n_text);
    qn_free(text);
    qn_free(ids);
    test_vocab_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_ids),
        cmocka_unit_test(a_character_is_held_back_until_it_is_whole),
        cmocka_unit_test(special_tokens_are_removed_or_shown),
        cmocka_unit_test(blanks_before_punctuation_are_tidied_where_published_so),
    };
    return cmocka_run_group_tests_name("vocab detokenizer", tests, NULL, NULL);
}
