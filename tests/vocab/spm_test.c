/* spm_test.c: SentencePiece-like BPE on a small vocabulary: scores, byte tokens, the added blank. */
#include "vocab_util.h"

#include "base/alloc.h"
#include "base/random.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void merges_by_score(void **state)
{
    (void)state;
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, test_spm_writer(), NULL), QUERN_OK);
    assert_string_equal(qn_vocab_kind_name(t.vocab), "spm");
    test_check_texts(t.vocab, "the world", 0, "_the|_world|");
    test_check_texts(t.vocab, "theworld", 0, "_the|world|");
    test_check_texts(t.vocab, " the", 0, "__|the|"); /* the two blanks score higher than _the did later */
    test_check_texts(t.vocab, "aaaaaaaaaaa", 0, "_|aaaaaaaa|aa|a|");
    test_check_texts(t.vocab, "", 0, "");
    test_check_texts(t.vocab, "the", QN_TOKENIZE_ADD_SPECIAL, "<s>|_the|");
    test_vocab_close(&t);
}

static void unknown_characters_become_bytes(void **state)
{
    (void)state;
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, test_spm_writer(), NULL), QUERN_OK);
    test_check_texts(t.vocab, "\xc3\xa9\xc3\xa8", 0, "_|\xc3\xa9|<0xC3>|<0xA8>|");
    test_check_texts(t.vocab, "\xff\xe4\xb8", 0, "_|<0xFF>|<0xE4>|<0xB8>|");
    test_check_texts(t.vocab, "\n", 0, "_|<0x0A>|");
    test_vocab_close(&t);
}

static void text_cannot_forge_control_or_byte_tokens(void **state)
{
    (void)state;
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, test_spm_writer(), NULL), QUERN_OK);
    test_check_texts(t.vocab, "</s>", QN_TOKENIZE_PARSE_SPECIAL, "</s>|");
    size_t n;
    quern_token *ids = test_tokenize(t.vocab, "</s><unk><0x41>", 15, 0, &n);
    for (size_t i = 0; i < n; i++) {
        assert_true(qn_vocab_token_kind(t.vocab, ids[i]) != QN_TOKEN_CONTROL);
        assert_true(qn_vocab_token_kind(t.vocab, ids[i]) != QN_TOKEN_UNKNOWN);
        assert_true(ids[i] != 3 + 0x41);
    }
    qn_free(ids);
    test_vocab_close(&t);
}

static void the_added_blank_follows_special_tokens(void **state)
{
    (void)state;
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, test_spm_writer(), NULL), QUERN_OK);
    test_check_texts(t.vocab, "the<added>the", 0, "_the|<added>|_the|");
    test_vocab_close(&t);
    qn_gguf_writer *w = test_spm_writer();
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.add_space_prefix", false);
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.add_bos_token", false);
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.add_eos_token", true);
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    test_check_texts(t.vocab, "the<added> the", QN_TOKENIZE_ADD_SPECIAL, "the|<added>|_the|</s>|");
    test_vocab_close(&t);
}

static void phi3_special_tokens_swallow_white_space(void **state)
{
    (void)state;
    test_vocab t;
    qn_gguf_writer *w = test_spm_writer();
    qn_gguf_writer_set_string(w, "general.name", "My PHI-3 mini");
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    test_check_texts(t.vocab, "<added> \n the<s> the", QN_TOKENIZE_PARSE_SPECIAL, "<added>|_the|<s>|__|the|");
    test_vocab_close(&t);
}

/* The cuts between characters that no token joins must not change anything: a text of random words is
 * compared with merging that tries all pairs of the whole text. */
static size_t merge_plainly(const qn_vocab *v, const char *text, size_t n_bytes, quern_token *out)
{
    size_t starts[400], n = 0;
    for (size_t i = 0; i < n_bytes;) {
        uint32_t c;
        const size_t length = qn_utf8_decode(text + i, n_bytes - i, &c);
        starts[n++] = i;
        i += length > 0 ? length : 1;
    }
    starts[n] = n_bytes;
    for (;;) {
        size_t best = n, best_length = 0; /* in this vocabulary the score is the length in bytes */
        for (size_t i = 0; i + 1 < n; i++) {
            const size_t length = starts[i + 2] - starts[i];
            for (quern_token id = 0; length > best_length && (size_t)id < qn_vocab_size(v); id++) {
                const qn_string t = qn_vocab_token_text(v, id);
                if (qn_vocab_token_kind(v, id) == QN_TOKEN_NORMAL && t.n_bytes == length &&
                    memcmp(t.bytes, text + starts[i], length) == 0)
                    best = i, best_length = length;
            }
        }
        if (best == n) break;
        memmove(&starts[best + 1], &starts[best + 2], (n - best - 1) * sizeof *starts);
        n--;
    }
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t length = starts[i + 1] - starts[i];
        quern_token found = -1;
        for (quern_token id = 0; (size_t)id < qn_vocab_size(v) && found < 0; id++) {
            const qn_string t = qn_vocab_token_text(v, id);
            if (qn_vocab_token_kind(v, id) == QN_TOKEN_NORMAL && t.n_bytes == length &&
                memcmp(t.bytes, text + starts[i], length) == 0)
                found = id;
        }
        if (found >= 0) out[n_out++] = found;
        for (size_t k = 0; found < 0 && k < length; k++)
            out[n_out++] = (quern_token)(3 + (unsigned char)text[starts[i] + k]);
    }
    return n_out;
}

static void cuts_change_nothing(void **state)
{
    (void)state;
    static const char *const parts[] = {"a", "e",  "t", "h",  "the",      "world",
                                        "w", "or", " ", "  ", "\xc3\xa9", "x"};
    test_vocab t;
    qn_gguf_writer *w = test_spm_writer();
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.add_space_prefix", false);
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    qn_random r = {.seed = 2};
    for (int round = 0; round < 300; round++) {
        char text[128] = {0}, escaped[384] = {0};
        for (uint64_t k = qn_random_u64(&r) % 20; k > 0; k--)
            strcat(text, parts[qn_random_u64(&r) % (sizeof parts / sizeof *parts)]);
        char *end = escaped;
        for (const char *p = text; *p != '\0'; p++) {
            if (*p == ' ') end = stpcpy(end, "\xe2\x96\x81");
            else *end++ = *p;
        }
        *end = '\0';
        quern_token wanted[400];
        const size_t n_wanted = merge_plainly(t.vocab, escaped, strlen(escaped), wanted);
        size_t n;
        quern_token *ids = test_tokenize(t.vocab, text, strlen(text), 0, &n);
        assert_int_equal(n, n_wanted);
        assert_memory_equal(ids, wanted, n * sizeof *ids);
        qn_free(ids);
    }
    test_vocab_close(&t);
}

static void odd_scores_are_accepted(void **state)
{
    (void)state;
    static const char *const texts[] = {"<unk>", "a", "b", "ab", "ba", "aba", "\xe2\x96\x81"};
    static const int32_t types[] = {2, 1, 1, 1, 1, 1, 1};
    const float scores[] = {0, NAN, -INFINITY, NAN, -0.0f, INFINITY, 0};
    qn_string tokens[7];
    for (size_t i = 0; i < 7; i++) tokens[i] = (qn_string){texts[i], strlen(texts[i])};
    qn_gguf_writer *w;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    qn_gguf_writer_set_string(w, "tokenizer.ggml.model", "llama");
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", tokens, 7);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_I32, types, 7);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.scores", QN_GGUF_F32, scores, 7);
    test_vocab t;
    assert_int_equal(test_vocab_open_writer(&t, w, NULL), QUERN_OK);
    test_check_texts(t.vocab, "aba", 0, "_|aba|"); /* ba first: NaN comes last */
    test_vocab_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_by_score),
        cmocka_unit_test(unknown_characters_become_bytes),
        cmocka_unit_test(text_cannot_forge_control_or_byte_tokens),
        cmocka_unit_test(the_added_blank_follows_special_tokens),
        cmocka_unit_test(phi3_special_tokens_swallow_white_space),
        cmocka_unit_test(cuts_change_nothing),
        cmocka_unit_test(odd_scores_are_accepted),
    };
    return cmocka_run_group_tests_name("vocab spm", tests, NULL, NULL);
}
