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

void test_check_texts(const qn_vocab *v, const char *text, unsigned flags, const char *wanted)
{
    size_t n;
    quern_token *ids = test_tokenize(v, text, strlen(text), flags, &n);
    char found[512], *at = found;
    *at = '\0';
    for (size_t i = 0; i < n; i++) { /* U+2581 shown as _ */
        const qn_string t = qn_vocab_token_text(v, ids[i]);
        for (size_t k = 0; k < t.n_bytes; k++) {
            const bool blank = t.n_bytes - k >= 3 && memcmp(t.bytes + k, "\xe2\x96\x81", 3) == 0;
            *at++ = blank ? '_' : t.bytes[k];
            if (blank) k += 2;
        }
        *at++ = '|';
    }
    *at = '\0';
    assert_string_equal(found, wanted);
    qn_free(ids);
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

qn_gguf_writer *test_wordpiece_writer(void)
{
    static const char *const control[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    static const char *const words[] = {"_the",
                                        "_un",
                                        "_quick",
                                        "_a",
                                        "_aa",
                                        "a",
                                        "aa",
                                        "_,",
                                        "_.",
                                        "_!",
                                        "able",
                                        "aff",
                                        "ing",
                                        "_1",
                                        "_1\xe2\x82\xac",
                                        "_\xe4\xb8\x96",
                                        "_e",
                                        "_caf",
                                        "e",
                                        "_E",
                                        "_\xc3\xa9",
                                        "_\xce\xb1",
                                        "_$",
                                        "_b"};
    static collected c;
    memset(&c, 0, sizeof c);
    for (size_t i = 0; i < sizeof control / sizeof *control; i++) add(&c, control[i], QN_TOKEN_CONTROL, 0);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char text[32];
        snprintf(text, sizeof text, "%s%s", words[i][0] == '_' ? "\xe2\x96\x81" : "",
                 words[i] + (words[i][0] == '_'));
        add(&c, text, QN_TOKEN_NORMAL, 0);
    }
    qn_gguf_writer *w;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    qn_gguf_writer_set_string(w, "tokenizer.ggml.model", "bert");
    hand_over(&c, w);
    return w;
}

qn_gguf_writer *test_unigram_writer(void)
{
    static const struct {
        const char *text;
        float score;
    } words[] = {{"_", -3.0f},  {"_the", -4.0f},         {"the", -6.0f}, {"t", -7.0f},  {"h", -7.0f},
                 {"e", -7.0f},  {"_a", -4.5f},           {"a", -6.5f},   {"ab", -5.0f}, {"b", -6.5f},
                 {"bc", -4.0f}, {"abcd", -30.0f},        {"cd", -5.0f},  {"c", -8.0f},  {"d", -8.0f},
                 {"fi", -5.0f}, {"\xe4\xb8\x96", -6.0f}, {"_2", -5.0f}};
    static collected c;
    memset(&c, 0, sizeof c);
    add(&c, "<pad>", QN_TOKEN_CONTROL, 0);
    add(&c, "</s>", QN_TOKEN_CONTROL, 0);
    add(&c, "<unk>", QN_TOKEN_UNKNOWN, 0);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const bool marked = words[i].text[0] == '_';
        char text[32];
        snprintf(text, sizeof text, "%s%s", marked ? "\xe2\x96\x81" : "", words[i].text + marked);
        add(&c, text, QN_TOKEN_NORMAL, words[i].score);
    }
    add(&c, "<extra>", QN_TOKEN_USER_DEFINED, 0);
    qn_gguf_writer *w;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    qn_gguf_writer_set_string(w, "tokenizer.ggml.model", "t5");
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.remove_extra_whitespaces", true);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.scores", QN_GGUF_F32, c.scores, c.n);
    hand_over(&c, w);
    return w;
}

/* ---- character maps ---------------------------------------------------------------------------- */

enum { MAX_UNITS = 1 << 14 };

typedef struct map_builder {
    uint32_t units[MAX_UNITS];
    bool used[MAX_UNITS];
    const char *const (*pairs)[2];
    const uint32_t *values;
} map_builder;

static void use(map_builder *b, uint32_t at, uint32_t unit)
{
    assert_true(at < MAX_UNITS && !b->used[at]);
    b->used[at] = true;
    b->units[at] = unit;
}

/* Children of the unit `at`, which stand for the pairs [begin, end), alike in `depth` bytes. */
static void place_children(map_builder *b, uint32_t at, size_t begin, size_t end, size_t depth)
{
    const bool has_value = b->pairs[begin][0][depth] == '\0';
    uint32_t offset = 1;
    for (bool fits = false; !fits;
         offset += !fits) { /* where all children are free, and the value beside them */
        fits = !has_value || !b->used[at ^ offset];
        for (size_t i = begin; i < end && fits; i++)
            if (b->pairs[i][0][depth] != '\0') fits = !b->used[at ^ offset ^ (uint8_t)b->pairs[i][0][depth]];
        assert_true(offset < MAX_UNITS / 2);
    }
    assert_true(offset < 1u << 21);
    b->units[at] |= offset << 10 | (has_value ? 0x100u : 0);
    const uint32_t base = at ^ offset;
    if (has_value) use(b, base, b->values[begin] | 0x80000000u);
    const size_t first = begin + has_value;
    for (size_t i = first; i < end; i++)
        if (i == first || b->pairs[i][0][depth] != b->pairs[i - 1][0][depth])
            use(b, base ^ (uint8_t)b->pairs[i][0][depth], (uint8_t)b->pairs[i][0][depth]);
    for (size_t i = first, last; i < end; i = last) {
        const char byte = b->pairs[i][0][depth];
        for (last = i + 1; last < end && b->pairs[last][0][depth] == byte;) last++;
        place_children(b, base ^ (uint8_t)byte, i, last, depth + 1);
    }
}

char *test_character_map(const char *const pairs[][2], size_t n, size_t *n_bytes)
{
    static map_builder b;
    uint32_t values[64], text_bytes = 0, n_units = 0;
    assert_true(n <= 64);
    memset(&b, 0, sizeof b);
    for (size_t i = 0; i < n; i++) {
        values[i] = text_bytes;
        text_bytes += (uint32_t)strlen(pairs[i][1]) + 1;
    }
    b.pairs = pairs, b.values = values;
    use(&b, 0, 0);
    place_children(&b, 0, 0, n, 0);
    for (uint32_t i = 0; i < MAX_UNITS; i++)
        if (b.used[i]) n_units = i + 1;
    *n_bytes = 4 + 4 * (size_t)n_units + text_bytes;
    char *out = malloc(*n_bytes);
    assert_non_null(out);
    const uint32_t array_bytes = 4 * n_units;
    memcpy(out, &array_bytes, 4); /* tests run on little-endian machines */
    memcpy(out + 4, b.units, array_bytes);
    char *text = out + 4 + array_bytes;
    for (size_t i = 0; i < n; i++) text = stpcpy(text, pairs[i][1]) + 1;
    return out;
}
