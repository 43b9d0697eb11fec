/* unigram_test.c: the best cut by scores, blanks, the character map, and what strangers may put there. */
#include "vocab_util.h"

#include "base/alloc.h"
#include "base/random.h"
#include "vocab/character_map.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static test_vocab open_writer(qn_gguf_writer *w)
{
    test_vocab t;
    quern_error err = {0};
    if (test_vocab_open_writer(&t, w, &err) != QUERN_OK) fail_msg("%s", err.message);
    return t;
}

static void the_greatest_sum_wins(void **state)
{
    (void)state;
    test_vocab t = open_writer(test_unigram_writer());
    assert_string_equal(qn_vocab_kind_name(t.vocab), "unigram");
    test_check_texts(t.vocab, "the", 0, "_the|");
    test_check_texts(t.vocab, "abc", 0, "_a|bc|"); /* -8.5, where _ ab c has -16 */
    test_check_texts(t.vocab, "ababcd", 0, "_|ab|ab|cd|");
    test_check_texts(t.vocab, "the the", QN_TOKENIZE_ADD_SPECIAL, "_the|_the|</s>|");
    test_check_texts(t.vocab, "", 0, "");
    test_vocab_close(&t);
}

static void unknown_neighbours_are_one(void **state)
{
    (void)state;
    test_vocab t = open_writer(test_unigram_writer());
    test_check_texts(t.vocab, "xyz", 0, "_|<unk>|");
    test_check_texts(t.vocab, "xya", 0, "_|<unk>|a|");
    test_check_texts(t.vocab, "x y", 0, "_|<unk>|_|<unk>|");
    test_check_texts(t.vocab, "\xff\xfe", 0, "_|<unk>|"); /* U+FFFD twice */
    test_vocab_close(&t);
}

/* The mark before it counts: of "abab.." the first part ends with an "a" alone. */
static void a_word_that_is_too_long_is_cut(void **state)
{
    (void)state;
    enum { FIRST = (1 << 18) - 3, BYTES = FIRST + 100000 };
    char *text = malloc(BYTES);
    assert_non_null(text);
    for (int blanks = 0; blanks < 2; blanks++) {
        qn_gguf_writer *w = test_unigram_writer();
        qn_gguf_writer_set_bool(w, "tokenizer.ggml.remove_extra_whitespaces", blanks);
        test_vocab t = open_writer(w);
        for (size_t i = 0; i < BYTES; i++) text[i] = "ab"[i % 2];
        size_t n, n_first;
        quern_token *whole = test_tokenize(t.vocab, text, BYTES, 0, &n);
        quern_token *first = test_tokenize(t.vocab, text, FIRST, 0, &n_first);
        assert_true(n > n_first);
        assert_memory_equal(whole, first, n_first * sizeof *whole);
        qn_free(whole);
        qn_free(first);
        test_vocab_close(&t);
    }
    free(text);
}

static void blanks_are_merged_or_kept(void **state)
{
    (void)state;
    test_vocab t = open_writer(test_unigram_writer());
    test_check_texts(t.vocab, "  the   the  ", 0, "_the|_the|");
    test_check_texts(t.vocab, "    ", 0, "");
    test_vocab_close(&t);
    qn_gguf_writer *w = test_unigram_writer();
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.remove_extra_whitespaces", false);
    t = open_writer(w);
    test_check_texts(t.vocab, "the  the ", 0, "_the|_|_the|_|");
    test_vocab_close(&t);
    w = test_unigram_writer();
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.remove_extra_whitespaces", false);
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.add_space_prefix", false);
    t = open_writer(w);
    test_check_texts(t.vocab, "the the", 0, "the|_the|");
    test_vocab_close(&t);
    w = test_unigram_writer();
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.remove_extra_whitespaces", false);
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.treat_whitespace_as_suffix", true);
    t = open_writer(w);
    test_check_texts(t.vocab, "the", 0, "the|_|");
    test_vocab_close(&t);
}

static qn_gguf_writer *with_map(const char *const pairs[][2], size_t n)
{
    size_t n_bytes;
    char *map = test_character_map(pairs, n, &n_bytes);
    qn_gguf_writer *w = test_unigram_writer();
    qn_gguf_writer_set_array(w, "tokenizer.ggml.precompiled_charsmap", QN_GGUF_I8, map, n_bytes);
    free(map);
    return w;
}

static void characters_are_mapped_first(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"\t", " "},       {"T", "t"},        {"Th", "th"},           {"a\xcc\x81", "b"},
        {"\xc2\xa0", " "}, {"\xc2\xb2", "2"}, {"\xef\xac\x81", "fi"}, {"\xf0\x9f\x98\x80", ""}};
    test_vocab t = open_writer(with_map(pairs, sizeof pairs / sizeof *pairs));
    test_check_texts(t.vocab, "The\tThe\xc2\xa0the", 0, "_the|_the|_the|");
    test_check_texts(t.vocab,
                     "a\xcc\x81"
                     "a",
                     0, "_|b|a|");
    test_check_texts(t.vocab, "\xc2\xb2", 0, "_2|");
    test_check_texts(t.vocab, "\xef\xac\x81", 0, "_|fi|");
    test_check_texts(t.vocab, "t\xf0\x9f\x98\x80he", 0, "_the|"); /* mapped to nothing */
    test_check_texts(t.vocab, "\xf0\x9f\x98\x81", 0, "_|<unk>|"); /* begins like a known one */
    test_vocab_close(&t);
}

static void damaged_maps_are_refused_or_harmless(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"T", "t"}, {"Th", "th"}, {"\xc2\xa0", " "}};
    size_t n_bytes;
    char *map = test_character_map(pairs, 3, &n_bytes);
    quern_error err = {0};
    qn_character_map m;
    for (size_t n = 1; n < n_bytes; n++) { /* cut short: no end, or no room for the array */
        const quern_status s = qn_character_map_init(&m, map, n, &err);
        assert_true(s == QUERN_ERR_FORMAT || (s == QUERN_OK && map[n - 1] == '\0'));
    }
    assert_int_equal(qn_character_map_init(&m, map, 0, &err), QUERN_OK);
    qn_random r = {.seed = 3};
    for (int round = 0; round < 20000; round++) {
        char copy[1 << 12], text[16];
        assert_true(n_bytes <= sizeof copy);
        memcpy(copy, map, n_bytes);
        for (int k = 0; k < 4; k++) copy[4 + qn_random_u64(&r) % (n_bytes - 5)] = (char)qn_random_u64(&r);
        for (size_t k = 0; k < sizeof text; k++) text[k] = "Th\xc2\xa0"[qn_random_u64(&r) % 4];
        if (qn_character_map_init(&m, copy, n_bytes, &err) != QUERN_OK) continue;
        for (size_t at = 0; at < sizeof text; at++) {
            const char *to = NULL;
            const size_t n = qn_character_map_find(&m, text + at, sizeof text - at, &to);
            assert_true(n <= sizeof text - at && (n == 0 || strlen(to) <= 1024));
        }
    }
    free(map);
}

static void strange_scores_are_survived(void **state)
{
    (void)state;
    float scores[22];
    static const float strange[] = {INFINITY, -INFINITY, NAN, 0.0f, 1e30f, -1e30f};
    for (size_t i = 0; i < 22; i++) scores[i] = strange[i % 6];
    qn_gguf_writer *w = test_unigram_writer();
    qn_gguf_writer_set_array(w, "tokenizer.ggml.scores", QN_GGUF_F32, scores, 22);
    test_vocab t = open_writer(w);
    size_t n;
    quern_token *ids = test_tokenize(t.vocab, "the abcd xyz", 12, 0, &n);
    assert_true(n > 0);
    qn_free(ids);
    test_vocab_close(&t);
    quern_error err = {0};
    w = test_unigram_writer();
    qn_gguf_writer_set_array(w, "tokenizer.ggml.scores", QN_GGUF_F32, scores, 3);
    assert_int_equal(test_vocab_open_writer(&t, w, &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "tokenizer.ggml.scores"));
    test_vocab_close(&t);
    w = test_unigram_writer();
    qn_gguf_writer_set_array(w, "tokenizer.ggml.precompiled_charsmap", QN_GGUF_F32, scores, 22);
    assert_int_equal(test_vocab_open_writer(&t, w, &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "array of bytes"));
    test_vocab_close(&t);
}

/* Words apart and together: remembering words changes nothing. */
static void long_texts_equal_their_words(void **state)
{
    (void)state;
    test_vocab t = open_writer(test_unigram_writer());
    static const char *const words[] = {"the", "ababcd", "xyz", "abc", "\xe4\xb8\x96\xe4\xb8\x96", "t", "2"};
    static char text[40000];
    quern_token wanted[40000];
    size_t n = 0, n_wanted = 0, n_ids;
    qn_random r = {.seed = 11};
    while (n + 16 < sizeof text) {
        const char *word = words[qn_random_u64(&r) % 7];
        quern_token *ids = test_tokenize(t.vocab, word, strlen(word), 0, &n_ids);
        memcpy(wanted + n_wanted, ids, n_ids * sizeof *ids);
        n_wanted += n_ids;
        qn_free(ids);
        n += (size_t)sprintf(text + n, "%s ", word);
    }
    quern_token *ids = test_tokenize(t.vocab, text, n, 0, &n_ids);
    assert_int_equal(n_ids, n_wanted);
    assert_memory_equal(ids, wanted, n_ids * sizeof *ids);
    qn_free(ids);
    test_vocab_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_greatest_sum_wins),
                                       cmocka_unit_test(unknown_neighbours_are_one),
                                       cmocka_unit_test(a_word_that_is_too_long_is_cut),
                                       cmocka_unit_test(blanks_are_merged_or_kept),
                                       cmocka_unit_test(characters_are_mapped_first),
                                       cmocka_unit_test(damaged_maps_are_refused_or_harmless),
                                       cmocka_unit_test(strange_scores_are_survived),
                                       cmocka_unit_test(long_texts_equal_their_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
