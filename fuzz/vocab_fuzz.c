/* vocab_fuzz.c: any bytes as text, and any bytes as a vocabulary.
 *
 * The first byte chooses: BPE with some pre-tokenizer (the pieces of the ids must join to the text), SPM
 * (likewise; it and BPE of plain UTF-8 read U+2581 as a blank), or a vocabulary of any kind made of
 * the input's lines, the last of which is the text. The stream of pieces must always be valid UTF-8. */
#include "base/alloc.h"
#include "base/buffer.h"
#include "base/utf8.h"
#include "gguf/writer.h"
#include "vocab/pretokenizer.h"
#include "vocab/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct opened {
    qn_gguf gguf;
    char *bytes;
    qn_vocab *vocab; /* NULL: refused */
} opened;

static void require(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "vocab_fuzz: %s\n", what);
    abort();
}

static void open_writer(opened *o, qn_gguf_writer *w)
{
    size_t n;
    memset(o, 0, sizeof *o);
    require(qn_gguf_writer_to_memory(w, &o->bytes, &n, NULL) == QUERN_OK, "writing");
    qn_gguf_writer_destroy(w);
    require(qn_gguf_parse(&o->gguf, o->bytes, n, NULL) == QUERN_OK, "reading what was written");
    (void)qn_vocab_open(&o->vocab, &o->gguf, NULL, NULL);
}

static void close_opened(opened *o)
{
    qn_vocab_close(o->vocab);
    qn_gguf_close(&o->gguf);
    qn_free(o->bytes);
}

static qn_gguf_writer *new_writer(const char *model)
{
    qn_gguf_writer *w;
    require(qn_gguf_writer_create(&w, NULL) == QUERN_OK, "writer");
    qn_gguf_writer_set_string(w, "tokenizer.ggml.model", model);
    qn_gguf_writer_set_bool(w, "tokenizer.ggml.add_space_prefix", false);
    return w;
}

/* 256 single bytes, some words, a control token and an added one. */
static void open_built_in(opened *o, const char *model, const qn_pretokenizer_row *row)
{
    static const char *const words[] = {"aa",
                                        "aaaa",
                                        "th",
                                        "the",
                                        "in",
                                        "ing",
                                        "'s",
                                        "11",
                                        "\xc4\xa0\xc4\xa0",
                                        "\xc4\xa0the",
                                        "\xe2\x96\x81\xe2\x96\x81",
                                        "\xe2\x96\x81the",
                                        "\xe2\x96\x81",
                                        "a",
                                        "t",
                                        "h",
                                        "e",
                                        "i",
                                        "n",
                                        "g"};
    static const qn_string merges[] = {{"a a", 3},         {"aa aa", 5}, {"t h", 3},
                                       {"th e", 4},        {"i n", 3},   {"in g", 4},
                                       {"' s", 3},         {"1 1", 3},   {"\xc4\xa0 \xc4\xa0", 5},
                                       {"\xc4\xa0 the", 6}};
    enum { N_WORDS = sizeof words / sizeof *words, N = 256 + N_WORDS + 3 };
    char bytes[256][8];
    qn_string tokens[N];
    int32_t types[N];
    float scores[N];
    const bool byte_level = row != NULL && !row->is_raw;
    for (unsigned b = 0, other = 256; b < 256; b++) {
        const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
        size_t n;
        if (byte_level) n = qn_utf8_encode(printable ? b : other++, bytes[b]);
        else n = (size_t)snprintf(bytes[b], sizeof bytes[b], "<0x%02X>", b);
        tokens[b] = (qn_string){bytes[b], n};
        types[b] = byte_level ? QN_TOKEN_NORMAL : QN_TOKEN_BYTE;
    }
    for (size_t i = 0; i < N_WORDS; i++) tokens[256 + i] = (qn_string){words[i], strlen(words[i])};
    tokens[N - 3] = (qn_string){"<|a|>", 5}, tokens[N - 2] = (qn_string){"<|a|><", 6},
               tokens[N - 1] = (qn_string){"\n\n", 2};
    for (size_t i = 256; i < N; i++) types[i] = QN_TOKEN_NORMAL;
    types[N - 3] = QN_TOKEN_CONTROL, types[N - 2] = types[N - 1] = QN_TOKEN_USER_DEFINED;
    for (size_t i = 0; i < N; i++) scores[i] = (float)tokens[i].n_bytes;
    qn_gguf_writer *w = new_writer(model);
    if (row != NULL) qn_gguf_writer_set_string(w, "tokenizer.ggml.pre", row->names[0]);
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", tokens, N);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_I32, types, N);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.scores", QN_GGUF_F32, scores, N);
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.merges", merges, sizeof merges / sizeof *merges);
    open_writer(o, w);
    require(o->vocab != NULL, "the built-in vocabulary is refused");
}

/* Each line is a token: a character for its type, then its text; after '=' it is a merge, after '#' the map
 * of characters, in which "\\" and a letter are a byte that lines cannot hold ("\\`" NUL, "\\j" the line
 * end). */
static void open_lines(opened *o, const char *model, const char *text, size_t n_bytes)
{
    enum { MAX = 512 };
    static qn_string tokens[MAX], merges[MAX];
    static int32_t types[MAX];
    static float scores[MAX];
    static char map[4096];
    size_t n_tokens = 0, n_merges = 0, n_map = 0;
    while (n_bytes > 0 && n_tokens < MAX && n_merges < MAX) {
        const char *end = memchr(text, '\n', n_bytes);
        const size_t n = end != NULL ? (size_t)(end - text) : n_bytes;
        if (n > 0 && text[0] == '=') {
            merges[n_merges++] = (qn_string){text + 1, n - 1};
        } else if (n > 0 && text[0] == '#') {
            n_map = 0;
            for (size_t i = 1; i < n && n_map < sizeof map; i++)
                map[n_map++] = text[i] == '\\' && i + 1 < n ? (char)(text[++i] & 31) : text[i];
        } else {
            types[n_tokens] = n > 0 ? text[0] - '0' : 1;
            memcpy(&scores[n_tokens], n >= 5 ? text + 1 : "\0\0\0\0", sizeof *scores); /* NaN as well */
            tokens[n_tokens++] = (qn_string){n > 0 ? text + 1 : text, n > 0 ? n - 1 : 0};
        }
        n_bytes -= end != NULL ? n + 1 : n;
        text += n + 1;
    }
    qn_gguf_writer *w = new_writer(model);
    qn_gguf_writer_set_string(w, "tokenizer.ggml.pre", "llama-bpe");
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", tokens, n_tokens);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_I32, types, n_tokens);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.scores", QN_GGUF_F32, scores, n_tokens);
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.merges", merges, n_merges);
    if (n_map > 0) qn_gguf_writer_set_array(w, "tokenizer.ggml.precompiled_charsmap", QN_GGUF_U8, map, n_map);
    if (n_map % 2 > 0) qn_gguf_writer_set_bool(w, "tokenizer.ggml.remove_extra_whitespaces", true);
    if (strcmp(model, "whitespace") == 0 && n_tokens % 2 > 0)
        qn_gguf_writer_set_bool(w, "tokenizer.ggml.normalizer.lowercase", true);
    open_writer(o, w);
}

static void check_stream(const qn_vocab *v, const quern_token *ids, size_t n_ids)
{
    char *out = malloc(qn_vocab_max_piece(v) * 3 + 16);
    require(out != NULL, "memory");
    qn_detokenizer d;
    qn_detokenizer_init(&d, v, true);
    for (size_t i = 0; i < n_ids; i++) {
        const size_t n = qn_detokenizer_push(&d, ids[i], out);
        require(n <= qn_vocab_max_piece(v) * 3 + 16, "a stream longer than its room");
        require(qn_utf8_valid(out, n), "a stream that is not UTF-8");
    }
    require(qn_utf8_valid(out, qn_detokenizer_flush(&d, out)), "an end that is not UTF-8");
    free(out);
}

static void check_text(const qn_vocab *v, const char *text, size_t n_bytes, unsigned flags, bool joins)
{
    quern_token *ids;
    size_t n_ids, n = 0;
    require(qn_vocab_tokenize(v, text, n_bytes, flags & 3, &ids, &n_ids, NULL) == QUERN_OK, "tokenize");
    char *piece = malloc(qn_vocab_max_piece(v));
    require(piece != NULL, "memory");
    for (size_t i = 0; i < n_ids; i++) {
        require(ids[i] >= 0 && (size_t)ids[i] < qn_vocab_size(v), "an id that is no token");
        const size_t n_piece = qn_vocab_piece(v, ids[i], true, piece);
        require(n_piece <= qn_vocab_max_piece(v), "a piece longer than the longest");
        if (joins)
            require(n_piece <= n_bytes - n && memcmp(piece, text + n, n_piece) == 0,
                    "pieces differ from the text");
        n += n_piece;
    }
    if (joins) require(n == n_bytes, "pieces end before the text");
    free(piece);
    check_stream(v, ids, n_ids);
    char *whole;
    size_t n_whole;
    require(qn_vocab_detokenize(v, ids, n_ids, true, flags & 1, &whole, &n_whole, NULL) == QUERN_OK,
            "detokenize");
    qn_free(whole);
    qn_free(ids);
}

static const qn_vocab *built_in(unsigned which, bool *normalizes)
{
    static opened opened_ones[64];
    if (qn_pretokenizer_row_at(which) == NULL || which >= 63) which = 63; /* SPM */
    const qn_pretokenizer_row *row = which < 63 ? qn_pretokenizer_row_at(which) : NULL;
    opened *o = &opened_ones[which];
    if (o->vocab == NULL) open_built_in(o, row != NULL ? "gpt2" : "llama", row);
    *normalizes = row != NULL && row->nfc;
    return o->vocab;
}

static bool has_meta_space(const char *text, size_t n_bytes)
{
    return n_bytes > 0 && memmem(text, n_bytes, "\xe2\x96\x81", 3) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const unsigned choice = data[0], flags = data[1];
    const char *text = (const char *)data + 2;
    const size_t n = size - 2;
    if (choice < 64) {
        bool normalizes;
        const qn_vocab *v = built_in(choice, &normalizes);
        const bool byte_level = strcmp(qn_vocab_kind_name(v), "bpe") == 0;
        check_text(v, text, n, flags & 2, !normalizes && (byte_level || !has_meta_space(text, n)));
        return 0;
    }
    static const char *const models[] = {"gpt2", "llama", "gemma4", "bert", "t5", "whitespace"};
    const char *last = n > 0 ? memrchr(text, '\n', n) : NULL;
    const size_t n_lines = last != NULL ? (size_t)(last - text) : n;
    opened o;
    open_lines(&o, models[(choice - 64) % (sizeof models / sizeof *models)], text, n_lines);
    if (o.vocab != NULL) check_text(o.vocab, text + n_lines, n - n_lines, flags, false);
    close_opened(&o);
    return 0;
}
