/* wordpiece_test.c: BERT's words: small letters, accents, punctuation, ideographs, unknown words, ends. */
#include "vocab_util.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static test_vocab open_with(int lowercase) /* -1: the file does not say */
{
    test_vocab t;
    qn_gguf_writer *w = test_wordpiece_writer();
    if (lowercase >= 0) qn_gguf_writer_set_bool(w, "tokenizer.ggml.normalizer.lowercase", lowercase > 0);
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    return t;
}

static void words_become_their_longest_pieces(void **state)
{
    (void)state;
    test_vocab t = open_with(-1);
    assert_string_equal(qn_vocab_kind_name(t.vocab), "wordpiece");
    test_check_texts(t.vocab, "the quick", 0, "_the|_quick|");
    test_check_texts(t.vocab, "unaffable", 0, "_un|aff|able|");
    test_check_texts(t.vocab, "aaaaa", 0, "_aa|aa|a|");
    test_check_texts(t.vocab, "thequick", 0, "[UNK]|"); /* no piece continues: the whole word is unknown */
    test_check_texts(t.vocab, "the xyz the", 0, "_the|[UNK]|_the|");
    test_check_texts(t.vocab, "", 0, "");
    test_check_texts(t.vocab, " \t\n\r ", 0, "");
    test_check_texts(t.vocab, "the", QN_TOKENIZE_ADD_SPECIAL, "[CLS]|_the|[SEP]|");
    test_check_texts(t.vocab, "", QN_TOKENIZE_ADD_SPECIAL, "[CLS]|[SEP]|");
    test_check_texts(t.vocab, "a[MASK]a", QN_TOKENIZE_PARSE_SPECIAL, "_a|[MASK]|_a|");
    test_vocab_close(&t);
}

static void texts_are_normalized_as_the_published_tokenizer_does(void **state)
{
    (void)state;
    test_vocab t = open_with(1);
    test_check_texts(t.vocab, "THE Quick", 0, "_the|_quick|");
    test_check_texts(t.vocab, "caf\xc3\xa9 cafe\xcc\x81 CAF\xc3\x89", 0, "_caf|e|_caf|e|_caf|e|");
    test_check_texts(t.vocab, "\xce\x91\xce\xac", 0,
                     "[UNK]|"); /* two alphas, but nothing continues with one */
    test_check_texts(t.vocab, "\xce\x86", 0, "_\xce\xb1|");
    test_check_texts(t.vocab, "the,quick.a!", 0, "_the|_,|_quick|_.|_a|_!|");
    test_check_texts(t.vocab, "a$a", 0,
                     "_a|_$|_a|"); /* all of ASCII's marks, currency and the like included */
    test_check_texts(t.vocab, "1\xe2\x82\xac", 0, "_1\xe2\x82\xac|"); /* beyond ASCII only punctuation */
    test_check_texts(t.vocab,
                     "a\xe4\xb8\x96\xe4\xb8\x96"
                     "a",
                     0, "_a|_\xe4\xb8\x96|_\xe4\xb8\x96|_a|");
    test_check_texts(t.vocab,
                     "t\xc2\xadh\xe2\x80\x8b"
                     "e\xef\xbf\xbd\x01\x7f",
                     0, "_the|"); /* controls go */
    test_check_texts(t.vocab, "the\xc2\xa0the\xe3\x80\x80the\xe2\x80\xa8the", 0, "_the|_the|_the|_the|");
    test_check_texts(t.vocab,
                     "a\xe2\x96\x81"
                     "a",
                     0, "[UNK]|"); /* a mark in the text begins no word */
    test_check_texts(t.vocab,
                     "th\xff"
                     "e\xe4\xb8",
                     0, "_the|"); /* invalid bytes go */
    test_vocab_close(&t);
}

static void a_cased_vocabulary_keeps_letters(void **state)
{
    (void)state;
    test_vocab t = open_with(0);
    test_check_texts(t.vocab, "E e \xc3\xa9", 0, "_E|_e|_\xc3\xa9|");
    test_check_texts(t.vocab, "THE", 0, "[UNK]|");
    test_check_texts(t.vocab, "a\xe4\xb8\x96", 0, "_a|_\xe4\xb8\x96|");
    test_vocab_close(&t);
}

static void long_words_are_unknown(void **state)
{
    (void)state;
    test_vocab t = open_with(-1);
    char text[4 * 102 + 1] = "";
    for (int n = 99; n <= 102; n++) {
        memset(text, 'a', (size_t)n);
        text[n] = '\0';
        size_t n_ids;
        quern_token *ids = test_tokenize(t.vocab, text, (size_t)n, 0, &n_ids);
        assert_int_equal(n_ids, n <= 100 ? (n + 1) / 2 : 1);
        assert_int_equal(ids[0] == 1, n > 100); /* [UNK] */
        qn_free(ids);
    }
    text[0] = '\0';
    for (int i = 0; i < 100; i++) strcat(text, "\xce\xb1"); /* characters count, not bytes */
    strcat(text, ",");
    test_check_texts(t.vocab, text, 0, "[UNK]|_,|");
    test_vocab_close(&t);
}

static void text_is_tidied_again(void **state)
{
    (void)state;
    test_vocab t = open_with(-1);
    size_t n_ids, n;
    quern_token *ids = test_tokenize(t.vocab, "The quick, unaffable!", 21, QN_TOKENIZE_ADD_SPECIAL, &n_ids);
    char *text;
    assert_int_equal(qn_vocab_detokenize(t.vocab, ids, n_ids, true, false, &text, &n, NULL), QUERN_OK);
    assert_string_equal(text, " the quick, unaffable!");
    qn_free(text);
    qn_free(ids);
    test_vocab_close(&t);
}

static void ends_may_have_other_names(void **state)
{
    (void)state;
    test_vocab t;
    qn_gguf_writer *w = test_wordpiece_writer();
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.cls_token_id", 4);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.seperator_token_id", 0);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.unknown_token_id", 3);
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    test_check_texts(t.vocab, "xyz", QN_TOKENIZE_ADD_SPECIAL, "[MASK]|[SEP]|[PAD]|");
    test_vocab_close(&t);
    w = test_wordpiece_writer();
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.cls_token_id", 4000); /* there is none: the known text counts */
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    test_check_texts(t.vocab, "xyz", QN_TOKENIZE_ADD_SPECIAL, "[CLS]|[UNK]|[SEP]|");
    test_vocab_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words_become_their_longest_pieces),
                                       cmocka_unit_test(texts_are_normalized_as_the_published_tokenizer_does),
                                       cmocka_unit_test(a_cased_vocabulary_keeps_letters),
                                       cmocka_unit_test(long_words_are_unknown),
                                       cmocka_unit_test(text_is_tidied_again),
                                       cmocka_unit_test(ends_may_have_other_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
