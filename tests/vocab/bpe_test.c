/* bpe_test.c: byte-level BPE on a small vocabulary: merges, words, special tokens, any bytes. */
#include "vocab_util.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The texts of the ids, each followed by |, for comparison. */
static void check_texts(const qn_vocab *v, const char *text, unsigned flags, const char *wanted)
{
    size_t n;
    quern_token *ids = test_tokenize(v, text, strlen(text), flags, &n);
    char found[512], *at = found;
    *at = '\0';
    for (size_t i = 0; i < n; i++) {
        const qn_string t = qn_vocab_token_text(v, ids[i]);
        at += sprintf(at, "%.*s|", (int)t.n_bytes, t.bytes);
    }
    assert_string_equal(found, wanted);
    qn_free(ids);
}

static void merges_by_rank(void **state)
{
    (void)state;
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, test_bpe_writer("gpt-2"), NULL), QUERN_OK);
    assert_string_equal(qn_vocab_kind_name(t.vocab), "bpe");
    check_texts(t.vocab, "the quick brown fox", 0,
                "the|\xc4\xa0quick|\xc4\xa0"
                "brown|\xc4\xa0"
                "fox|");
    check_texts(t.vocab, "aaaaaaaaaaa", 0, "aaaaaaaa|aa|a|");
    check_texts(t.vocab, "quic qu", 0, "qu|ic|\xc4\xa0|qu|");
    check_texts(t.vocab, "xy", 0, "x|y|"); /* what the merge makes is no token */
    check_texts(t.vocab, "", 0, "");
    test_vocab_close(&t);
}

static void special_tokens(void **state)
{
    (void)state;
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, test_bpe_writer("gpt-2"), NULL), QUERN_OK);
    check_texts(t.vocab, "the", QN_TOKENIZE_ADD_SPECIAL, "<|begin|>|the|");
    check_texts(t.vocab, "", QN_TOKENIZE_ADD_SPECIAL, "<|begin|>|");
    check_texts(t.vocab, "the<|im_end|>the", QN_TOKENIZE_PARSE_SPECIAL, "the|<|im_end|>|the|");
    check_texts(t.vocab, "<|im_end|>", 0, "<|||i|m|_|e|n|d|||>|");
    check_texts(t.vocab, "the<tool>the", 0, "the|<tool>|the|");            /* user-defined: always */
    check_texts(t.vocab, "<tool><tool><tool>", 0, "<tool><tool>|<tool>|"); /* the longest */
    check_texts(t.vocab, "<tool", 0, "<|t|o|o|l|");
    const qn_vocab_special *sp = qn_vocab_special_ids(t.vocab);
    assert_true(qn_vocab_is_end(t.vocab, sp->eos));
    assert_int_equal(sp->eot, sp->eos); /* <|im_end|> is known by its text */
    assert_false(qn_vocab_is_end(t.vocab, sp->bos));
    assert_false(qn_vocab_is_end(t.vocab, -1));
    assert_false(qn_vocab_is_end(t.vocab, (quern_token)qn_vocab_size(t.vocab)));
    test_vocab_close(&t);
}

static void pieces_of_any_bytes_join_to_them(void **state)
{
    (void)state;
    static const char *const pres[] = {"gpt-2", "llama-bpe", "deepseek-llm", "gpt-4o", "default"};
    qn_random r = {.seed = 11};
    for (size_t p = 0; p < sizeof pres / sizeof *pres; p++) {
        test_vocab t;
        assert_int_equal(test_vocab_open_writer(&t, test_bpe_writer(pres[p]), NULL), QUERN_OK);
        for (int round = 0; round < 300; round++) {
            char text[300], joined[300];
            const size_t n_text = (size_t)(qn_random_u64(&r) % sizeof text);
            for (size_t i = 0; i < n_text; i++) text[i] = (char)qn_random_u64(&r);
            size_t n_ids, n = 0;
            quern_token *ids = test_tokenize(t.vocab, text, n_text, 0, &n_ids);
            char *piece = malloc(qn_vocab_max_piece(t.vocab));
            for (size_t i = 0; i < n_ids; i++) {
                const size_t n_piece = qn_vocab_piece(t.vocab, ids[i], false, piece);
                assert_true(n + n_piece <= n_text);
                memcpy(joined + n, piece, n_piece);
                n += n_piece;
            }
            assert_int_equal(n, n_text);
            assert_memory_equal(joined, text, n);
            free(piece);
            qn_free(ids);
        }
        test_vocab_close(&t);
    }
}

/* Long texts remember words, short ones do not: a long text must give the ids of its parts, where it is
 * cut at special tokens. */
static void remembered_words_change_nothing(void **state)
{
    (void)state;
    static const char *const words[] = {
        "the", " quick", " brown", " fox",        " aaaaaaaaaaa",
        "  ",  "\n",     "7",      "the quicker", " a-word-too-long-to-be-remembered-aaaaaaaaaaa"};
    enum { PARTS = 400 };
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, test_bpe_writer("gpt-2"), NULL), QUERN_OK);
    qn_random r = {.seed = 5};
    qn_buffer text = {0};
    quern_token *parts[PARTS];
    size_t n_parts[PARTS];
    for (size_t i = 0; i < PARTS; i++) {
        const size_t from = text.n_bytes;
        for (int k = 0; k < 8; k++)
            qn_buffer_puts(&text, words[qn_random_u64(&r) % (sizeof words / sizeof *words)]);
        assert_true(qn_buffer_puts(&text, "<tool>"));
        parts[i] = test_tokenize(t.vocab, text.data + from, text.n_bytes - from, 0, &n_parts[i]);
    }
    size_t n, at = 0;
    quern_token *whole = test_tokenize(t.vocab, text.data, text.n_bytes, 0, &n);
    for (size_t i = 0; i < PARTS; at += n_parts[i], qn_free(parts[i]), i++) {
        assert_true(at + n_parts[i] <= n);
        assert_memory_equal(parts[i], whole + at, n_parts[i] * sizeof *whole);
    }
    assert_int_equal(at, n);
    qn_free(whole);
    qn_buffer_deinit(&text);
    test_vocab_close(&t);
}

static void normal_form_where_trained_so(void **state)
{
    (void)state;
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, test_bpe_writer("qwen2"), NULL), QUERN_OK);
    check_texts(t.vocab, "e\xcc\x81", 0, "\xc3\x83|\xc2\xa9|"); /* the two bytes of U+00E9 */
    test_vocab_close(&t);
    assert_int_equal(test_vocab_open_writer(&t, test_bpe_writer("llama-bpe"), NULL), QUERN_OK);
    check_texts(t.vocab, "e\xcc\x81", 0, "e|\xc3\x8c|\xc4\xa3|");
    test_vocab_close(&t);
}

/* Words of up to eight bytes are looked up elsewhere than longer ones. */
static void words_that_are_tokens_need_no_merges(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int32_t type;
    } words[] = {{"a", 1},
                 {"b", 1},
                 {"c", 1},
                 {"abc", 1},
                 {"abca", 3},
                 {"bca", 3},
                 {"bca", 1}, /* the first of equal texts counts, and that is a control token */
                 {"cab", 1},
                 {"cab", 1},
                 {"aaaabbbb", 1},
                 {"aaaabbbbc", 1},
                 {"\xc3\x83\xc2\xa9", 1}, /* U+00E9, as two bytes */
                 {"c c", 1}};             /* a blank is no character of the alphabet */
    enum { N = sizeof words / sizeof *words };
    const qn_string no_merges[] = {{"x y", 3}};
    qn_string tokens[N];
    int32_t types[N];
    for (size_t i = 0; i < N; i++) {
        tokens[i] = (qn_string){words[i].text, strlen(words[i].text)};
        types[i] = words[i].type;
    }
    for (int ignores = 0; ignores < 2; ignores++) {
        qn_gguf_writer *w;
        test_vocab t;
        assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
        qn_gguf_writer_set_string(w, "tokenizer.ggml.model", "gpt2");
        qn_gguf_writer_set_string(w, "tokenizer.ggml.pre", ignores ? "llama-bpe" : "gpt-2");
        qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", tokens, N);
        qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_I32, types, N);
        qn_gguf_writer_set_strings(w, "tokenizer.ggml.merges", no_merges, 1);
        assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
        check_texts(t.vocab, "abc", 0, ignores ? "abc|" : "a|b|c|");
        check_texts(t.vocab, "abca", 0, "a|b|c|a|");
        check_texts(t.vocab, "bca", 0, "b|c|a|");
        check_texts(t.vocab, "aaaabbbb", 0, ignores ? "aaaabbbb|" : "a|a|a|a|b|b|b|b|");
        check_texts(t.vocab, "aaaabbbbc", 0, ignores ? "aaaabbbbc|" : "a|a|a|a|b|b|b|b|c|");
        check_texts(t.vocab, "\xc3\xa9", 0, ignores ? "\xc3\x83\xc2\xa9|" : "");
        check_texts(t.vocab, "c c", 0, "c|c|");
        size_t n;
        quern_token *ids = test_tokenize(t.vocab, "cab", 3, 0, &n);
        assert_int_equal(ids[0], ignores ? 7 : 2);
        qn_free(ids);
        test_vocab_close(&t);
    }
}

static void a_missing_byte_becomes_unknown_or_nothing(void **state)
{
    (void)state;
    const qn_string tokens[] = {{"a", 1}, {"<unk>", 5}}, merges[] = {{"a b", 3}};
    for (int with_unk = 0; with_unk < 2; with_unk++) {
        qn_gguf_writer *w;
        assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
        qn_gguf_writer_set_string(w, "tokenizer.ggml.model", "gpt2");
        qn_gguf_writer_set_string(w, "tokenizer.ggml.pre", "gpt-2");
        qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", tokens, 2);
        qn_gguf_writer_set_strings(w, "tokenizer.ggml.merges", merges, 1);
        if (with_unk) qn_gguf_writer_set_u32(w, "tokenizer.ggml.unknown_token_id", 1);
        test_vocab t;
        assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
        check_texts(t.vocab, "abc", 0, with_unk ? "a|<unk>|<unk>|" : "a|");
        test_vocab_close(&t);
    }
}

static test_vocab open_raw(const char *model, const char *pre)
{
    static const char *const texts[] = {
        "<unk>", "<eos>",           "t",  "h",    "e",      "\xe2\x96\x81", "th",
        "the",   "\xe2\x96\x81the", "\n", "\n\n", "<0xC3>", "<0xA9>"};
    static const int32_t types[] = {2, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 6, 6};
    const qn_string merges[] = {{"t h", 3}, {"th e", 4}, {"\xe2\x96\x81 the", 7}, {"\n \n", 3}};
    qn_string tokens[13];
    for (size_t i = 0; i < 13; i++) tokens[i] = (qn_string){texts[i], strlen(texts[i])};
    qn_gguf_writer *w;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    qn_gguf_writer_set_string(w, "tokenizer.ggml.model", model);
    if (pre != NULL) qn_gguf_writer_set_string(w, "tokenizer.ggml.pre", pre);
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", tokens, 13);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_I32, types, 13);
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.merges", merges, 4);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    return t;
}

static void raw_utf8_kind(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"gemma4", NULL}, {"gpt2", "gemma4"}, {"gpt2", "granite-embed-multi-311m"}, {"gpt2", "sarvam-moe"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        test_vocab t = open_raw(names[i][0], names[i][1]);
        assert_string_equal(qn_vocab_kind_name(t.vocab), "bpe-raw");
        check_texts(t.vocab, "the the\n\n", 0, "the|\xe2\x96\x81the|\n\n|");
        check_texts(t.vocab, "\xc3\xa9x", 0, "<0xC3>|<0xA9>|<unk>|");
        check_texts(t.vocab, "\xc3\xa8", 0, "<unk>|"); /* one, as its second byte has no token */
        test_vocab_close(&t);
    }
}

/* "whitespace", with small letters or as they are. */
static test_vocab open_words(bool small_letters)
{
    static const char *const texts[] = {"<unk>", "<s>",      "</s>", "a",        "b",
                                        "ab",    "\xc3\xa9", "i",    "\xcc\x87", "A"};
    enum { N = sizeof texts / sizeof *texts };
    static const int32_t types[N] = {2, 3, 3, 1, 1, 1, 1, 1, 1, 1};
    const qn_string merges[] = {{"a b", 3}};
    qn_string tokens[N];
    for (size_t i = 0; i < N; i++) tokens[i] = (qn_string){texts[i], strlen(texts[i])};
    qn_gguf_writer *w;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    qn_gguf_writer_set_string(w, "tokenizer.ggml.model", "whitespace");
    qn_gguf_writer_set_string(w, "tokenizer.ggml.pre", "whitespace");
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", tokens, N);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_I32, types, N);
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.merges", merges, 1);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.bos_token_id", 1);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.eos_token_id", 2);
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.add_bos_token", true);
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.add_eos_token", true);
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.normalizer.lowercase", small_letters);
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    return t;
}

static void words_between_blanks(void **state)
{
    (void)state;
    test_vocab t = open_words(true);
    assert_string_equal(qn_vocab_kind_name(t.vocab), "bpe-words");
    check_texts(t.vocab,
                "ab a\tb\xe3\x80\x80\xc2\xa0"
                "ab\n",
                0, "ab|a|b|ab|");
    check_texts(t.vocab, "ABab \xc3\x89", 0, "ab|ab|\xc3\xa9|");
    check_texts(t.vocab,
                "a\xe4\xbd\xa0\xe5\xa5\xbd"
                "b",
                0, "a|<unk>|<unk>|b|");                 /* one a character */
    check_texts(t.vocab, "\xc4\xb0", 0, "i|\xcc\x87|"); /* U+0130 becomes two letters */
    check_texts(t.vocab,
                "a\xff"
                "b",
                0, "a|<unk>|b|");
    check_texts(t.vocab, " \n ", 0, "");
    check_texts(t.vocab, "a", QN_TOKENIZE_ADD_SPECIAL, "<s>|a|</s>|");
    test_vocab_close(&t);
    t = open_words(false);
    check_texts(t.vocab, "aA Ab", 0, "a|A|A|b|");
    test_vocab_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_by_rank),
        cmocka_unit_test(special_tokens),
        cmocka_unit_test(pieces_of_any_bytes_join_to_them),
        cmocka_unit_test(remembered_words_change_nothing),
        cmocka_unit_test(normal_form_where_trained_so),
        cmocka_unit_test(words_that_are_tokens_need_no_merges),
        cmocka_unit_test(a_missing_byte_becomes_unknown_or_nothing),
        cmocka_unit_test(raw_utf8_kind),
        cmocka_unit_test(words_between_blanks),
    };
    return cmocka_run_group_tests_name("vocab bpe", tests, NULL, NULL);
}
