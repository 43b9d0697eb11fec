/* vocab_util.c: see vocab_util.h. */
#include "vocab_util.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool test_path(char out[1024], const char *variable, const char *format, const char *name)
{
    const char *folder = getenv(variable);
    if (folder == NULL || strlen(folder) + strlen(format) + strlen(name) + 2 > 1024) return false;
    const char *hole = strstr(format, "%s");
    const int before = (int)(hole - format);
    snprintf(out, 1024, "%s/%.*s%s%s", folder, before, format, name, hole + 2);
    return access(out, R_OK) == 0;
}

void test_vocab_open_file(test_vocab *t, const char *path)
{
    memset(t, 0, sizeof *t);
    quern_error err = {0};
    if (qn_gguf_open(&t->gguf, path, &err) != QUERN_OK ||
        qn_vocab_open(&t->vocab, &t->gguf, NULL, &err) != QUERN_OK)
        fail_msg("%s", err.message);
}

quern_status test_vocab_open_writer(test_vocab *t, qn_gguf_writer *w, quern_error *err)
{
    memset(t, 0, sizeof *t);
    quern_error own = {0};
    if (qn_gguf_writer_to_memory(w, &t->bytes, &t->n_bytes, &own) != QUERN_OK) fail_msg("%s", own.message);
    qn_gguf_writer_destroy(w);
    if (qn_gguf_parse(&t->gguf, t->bytes, t->n_bytes, &own) != QUERN_OK) fail_msg("%s", own.message);
    return qn_vocab_open(&t->vocab, &t->gguf, NULL, err);
}

void test_vocab_close(test_vocab *t)
{
    qn_vocab_close(t->vocab);
    qn_gguf_close(&t->gguf);
    qn_free(t->bytes);
    memset(t, 0, sizeof *t);
}

quern_token *test_tokenize(const qn_vocab *v, const char *text, size_t n_bytes, unsigned flags,
                           size_t *n_tokens)
{
    quern_token *tokens;
    quern_error err = {0};
    if (qn_vocab_tokenize(v, text, n_bytes, flags, &tokens, n_tokens, &err) != QUERN_OK)
        fail_msg("%s", err.message);
    return tokens;
}

enum { MAX_TOKENS = 600 };

typedef struct collected {
    qn_string tokens[MAX_TOKENS];
    int32_t types[MAX_TOKENS];
    float scores[MAX_TOKENS];
    size_t n;
    char *owned[MAX_TOKENS];
} collected;

static void add(collected *c, const char *text, int32_t type, float score)
{
    assert_true(c->n < MAX_TOKENS);
    c->owned[c->n] = strdup(text);
    c->tokens[c->n] = (qn_string){c->owned[c->n], strlen(text)};
    c->types[c->n] = type;
    c->scores[c->n++] = score;
}

static void hand_over(collected *c, qn_gguf_writer *w)
{
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", c->tokens, c->n);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_I32, c->types, c->n);
    for (size_t i = 0; i < c->n; i++) free(c->owned[i]);
}

qn_gguf_writer *test_bpe_writer(const char *pre)
{
    /* merges, in order of rank; G stands for the visible blank (U+0120), N for the line end (U+010A) */
    static const char *const merges[] = {
        "t h",   "th e",      "q u",    "i c",   "ic k", "qu ick",  "Gthe G",  "G the", "b r",
        "o w",   "br ow",     "brow n", "f o",   "fo x", "G quick", "G brown", "G fox", "a a",
        "aa aa", "aaaa aaaa", "G G",    "GG GG", "N N",  "NN NN",   "x y", /* xy is no token: the merge is
                                                                              useless */
    };
    static collected c;
    memset(&c, 0, sizeof c);
    for (unsigned b = 0, other = 256; b < 256;
         b++) { /* the published order of bytes: printable ones as they are */
        const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
        char text[5] = {0};
        qn_utf8_encode(printable ? b : other++, text);
        add(&c, text, QN_TOKEN_NORMAL, 0);
    }
    static char texts[sizeof merges / sizeof *merges][64];
    qn_string merge_strings[sizeof merges / sizeof *merges];
    const size_t n_merges = sizeof merges / sizeof *merges;
    for (size_t i = 0; i < n_merges; i++) {
        char *out = texts[i], joined[64], *j = joined;
        for (const char *m = merges[i]; *m != '\0'; m++) {
            const char *visible = *m == 'G' ? "\xc4\xa0" : *m == 'N' ? "\xc4\x8a" : NULL;
            if (visible != NULL) {
                out = stpcpy(out, visible), j = stpcpy(j, visible);
            } else {
                *out++ = *m;
                if (*m != ' ') *j++ = *m;
            }
        }
        *out = *j = '\0';
        merge_strings[i] = (qn_string){texts[i], strlen(texts[i])};
        if (strcmp(merges[i], "x y") != 0 && strcmp(merges[i], "Gthe G") != 0)
            add(&c, joined, QN_TOKEN_NORMAL, 0);
    }
    add(&c, "<|begin|>", QN_TOKEN_CONTROL, 0);
    add(&c, "<|im_end|>", QN_TOKEN_CONTROL, 0);
    add(&c, "<tool>", QN_TOKEN_USER_DEFINED, 0);
    add(&c, "<tool><tool>", QN_TOKEN_USER_DEFINED, 0);
    qn_gguf_writer *w;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    qn_gguf_writer_set_string(w, "tokenizer.ggml.model", "gpt2");
    if (pre != NULL) qn_gguf_writer_set_string(w, "tokenizer.ggml.pre", pre);
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.merges", merge_strings, n_merges);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)c.n - 4);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)c.n - 3);
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.add_bos_token", true);
    hand_over(&c, w);
    return w;
}

qn_gguf_writer *test_spm_writer(void)
{
    static const char *const words[] = {"\xe2\x96\x81",
                                        "e",
                                        "t",
                                        "h",
                                        "a",
                                        "o",
                                        "w",
                                        "r",
                                        "l",
                                        "d",
                                        "he",
                                        "th",
                                        "the",
                                        "\xe2\x96\x81the",
                                        "\xe2\x96\x81t",
                                        "or",
                                        "ld",
                                        "wor",
                                        "world",
                                        "\xe2\x96\x81world",
                                        "aa",
                                        "aaaa",
                                        "aaaaaaaa",
                                        "\xe2\x96\x81\xe2\x96\x81",
                                        "\xe2\x96\x81\xe2\x96\x81\xe2\x96\x81\xe2\x96\x81",
                                        "\xc3\xa9"};
    static collected c;
    memset(&c, 0, sizeof c);
    add(&c, "<unk>", QN_TOKEN_UNKNOWN, 0);
    add(&c, "<s>", QN_TOKEN_CONTROL, 0);
    add(&c, "</s>", QN_TOKEN_CONTROL, 0);
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", b);
        add(&c, text, QN_TOKEN_BYTE, 0);
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        add(&c, words[i], QN_TOKEN_NORMAL, (float)strlen(words[i]));
    add(&c, "<added>", QN_TOKEN_USER_DEFINED, 0);
    qn_gguf_writer *w;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    qn_gguf_writer_set_string(w, "tokenizer.ggml.model", "llama");
    qn_gguf_writer_set_array(w, "tokenizer.ggml.scores", QN_GGUF_F32, c.scores, c.n);
    hand_over(&c, w);
    return w;
}
