/* vocab.c: reads from a model file what all kinds of tokenizers have in common: texts and kinds of the
 * tokens (special_ids.c: what some of them are for). */
#include "vocab/vocab_private.h"

#include "base/alloc.h"
#include "base/hexadecimal.h"
#include "base/utf8.h"

#include <string.h>

static const qn_vocab_kind *const kinds[] = {&qn_vocab_kind_bpe,     &qn_vocab_kind_spm,
                                             &qn_vocab_kind_bpe_raw, &qn_vocab_kind_bpe_words,
                                             &qn_vocab_kind_unigram, &qn_vocab_kind_wordpiece};

/* Names of tokenizers that exist and are not read yet, for a better sentence. */
static const char *const later_kinds[] = {"rwkv", "plamo2"};

int qn_parse_byte_token(qn_string text)
{
    if (text.n_bytes != 6 || memcmp(text.bytes, "<0x", 3) != 0 || text.bytes[5] != '>') return -1;
    uint32_t value;
    return qn_hex_read(text.bytes + 3, 2, 2, &value) == 2 ? (int)value : -1;
}

bool qn_vocab_is_plain(const qn_vocab *v, quern_token id)
{
    const uint8_t kind = v->kinds[id];
    return kind != QN_TOKEN_CONTROL && kind != QN_TOKEN_UNKNOWN && kind != QN_TOKEN_BYTE;
}

quern_token qn_vocab_plain_id(const qn_vocab *v, const char *text, size_t n_bytes)
{
    const int64_t id = qn_hash_map_get(&v->index, text, n_bytes);
    return id != QN_HASH_NONE && qn_vocab_is_plain(v, (quern_token)id) ? (quern_token)id : -1;
}

/* ---- texts and kinds -------------------------------------------------------------------------- */

static quern_status read_texts(qn_vocab *v, const qn_gguf *g, quern_error *err)
{
    const quern_status s =
        qn_gguf_get_strings(g, "tokenizer.ggml.tokens", true, &v->tokens, &v->n_tokens, err);
    if (s != QUERN_OK) return s;
    if (v->n_tokens == 0) return qn_fail(err, QUERN_ERR_FORMAT, "tokenizer.ggml.tokens: no tokens");
    if (v->n_tokens > INT32_MAX / 4)
        return qn_fail(err, QUERN_ERR_FORMAT, "tokenizer.ggml.tokens: %zu tokens are too many", v->n_tokens);
    if (!qn_hash_map_init(&v->index, v->n_tokens))
        return qn_fail(err, QUERN_ERR_NOMEM, "index of %zu tokens: out of memory", v->n_tokens);
    v->max_piece = 16;
    for (size_t i = 0; i < v->n_tokens; i++) {
        const qn_string t = v->tokens[i];
        if (t.n_bytes > QN_TOKEN_MAX_BYTES)
            return qn_fail(err, QUERN_ERR_FORMAT, "token %zu: %zu bytes, at most %d are allowed", i,
                           t.n_bytes, QN_TOKEN_MAX_BYTES);
        if (t.n_bytes > v->max_piece) v->max_piece = t.n_bytes;
        if (t.n_bytes > 0 && !qn_hash_map_add(&v->index, t.bytes, t.n_bytes, (uint32_t)i, NULL))
            return qn_fail(err, QUERN_ERR_NOMEM, "index of %zu tokens: out of memory", v->n_tokens);
    }
    return QUERN_OK;
}

static quern_status read_kinds(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    v->kinds = qn_malloc(v->n_tokens);
    v->flags = qn_calloc(v->n_tokens, 1);
    if (v->kinds == NULL || v->flags == NULL)
        return qn_fail(err, QUERN_ERR_NOMEM, "kinds of %zu tokens: out of memory", v->n_tokens);
    memset(v->kinds, QN_TOKEN_NORMAL, v->n_tokens);
    const qn_gguf_value *types = qn_gguf_find(g, "tokenizer.ggml.token_type");
    v->has_token_kinds = types != NULL;
    if (types == NULL) return QUERN_OK;
    if (types->kind != QN_GGUF_ARRAY || !qn_gguf_kind_is_integer(types->element_kind))
        return qn_fail(err, QUERN_ERR_FORMAT, "tokenizer.ggml.token_type: must be an array of integers");
    if (types->count < v->n_tokens)
        return qn_fail(err, QUERN_ERR_FORMAT, "tokenizer.ggml.token_type: %llu entries for %zu tokens",
                       (unsigned long long)types->count, v->n_tokens);
    size_t n_odd = 0;
    for (size_t i = 0; i < v->n_tokens; i++) {
        const int64_t type = qn_gguf_element_int(types, i);
        if (type >= QN_TOKEN_NORMAL && type <= QN_TOKEN_BYTE) v->kinds[i] = (uint8_t)type;
        else n_odd++;
    }
    if (n_odd > 0)
        qn_log_write(log, QUERN_LOG_WARN,
                     "tokenizer.ggml.token_type: %zu tokens of unknown type count as normal", n_odd);
    return QUERN_OK;
}

/* Byte tokens, "<0x00>" to "<0xFF>". A file without types has them as well. */
static void find_byte_tokens(qn_vocab *v)
{
    for (int i = 0; i < 256; i++) v->byte_ids[i] = -1;
    for (size_t i = 0; i < v->n_tokens; i++) {
        const int byte = qn_parse_byte_token(v->tokens[i]);
        if (byte < 0 || (v->has_token_kinds && v->kinds[i] != QN_TOKEN_BYTE)) continue;
        v->kinds[i] = QN_TOKEN_BYTE;
        if (v->byte_ids[byte] < 0) v->byte_ids[byte] = (quern_token)i;
    }
}

/* ---- open, close ------------------------------------------------------------------------------ */

static quern_status choose_kind(qn_vocab *v, const qn_gguf *g, quern_error *err)
{
    qn_string model;
    const quern_status s = qn_gguf_get_string(g, "tokenizer.ggml.model", true, &model, err);
    if (s != QUERN_OK) return s;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (qn_string_is(model, kinds[i]->model)) v->kind = kinds[i];
    if (v->kind != NULL) return QUERN_OK;
    for (size_t i = 0; i < sizeof later_kinds / sizeof *later_kinds; i++)
        if (qn_string_is(model, later_kinds[i]))
            return qn_fail(err, QUERN_ERR_UNSUPPORTED,
                           "tokenizer.ggml.model: tokenizers of kind '%s' are not supported (gpt2, llama, "
                           "gemma4, whitespace, bert and t5 are)",
                           later_kinds[i]);
    return qn_fail(err, QUERN_ERR_UNSUPPORTED, "tokenizer.ggml.model: unknown kind of tokenizer '%s'",
                   qn_quote(model.bytes, model.n_bytes).text);
}

static quern_status open_vocab(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    quern_status s = choose_kind(v, g, err);
    if (s == QUERN_OK) s = read_texts(v, g, err);
    if (s == QUERN_OK) s = read_kinds(v, g, log, err);
    if (s != QUERN_OK) return s;
    find_byte_tokens(v);
    s = v->kind->open(v, g, log, err);
    if (s == QUERN_OK) s = qn_vocab_read_special(v, g, log, err);
    if (s == QUERN_OK && !qn_special_matcher_init(&v->specials, v))
        s = qn_fail(err, QUERN_ERR_NOMEM, "special tokens: out of memory");
    return s;
}

quern_status qn_vocab_open(qn_vocab **out, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    static const qn_log silent = {NULL, NULL};
    qn_vocab *v = *out = qn_calloc(1, sizeof *v);
    if (v == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "vocabulary: out of memory");
    v->special = (qn_vocab_special){.bos = -1,
                                    .eos = -1,
                                    .eot = -1,
                                    .unk = -1,
                                    .sep = -1,
                                    .pad = -1,
                                    .mask = -1,
                                    .infill = {-1, -1, -1, -1, -1, -1}};
    const quern_status s = open_vocab(v, g, log != NULL ? log : &silent, err);
    if (s != QUERN_OK) {
        qn_vocab_close(v);
        *out = NULL;
    }
    return s;
}

void qn_vocab_close(qn_vocab *v)
{
    if (v == NULL) return;
    if (v->kind != NULL) v->kind->close(v);
    qn_special_matcher_deinit(&v->specials);
    qn_hash_map_deinit(&v->index);
    qn_free(v->kinds);
    qn_free(v->flags);
    qn_free(v);
}

/* ---- what is known of a token ----------------------------------------------------------------- */

size_t qn_vocab_size(const qn_vocab *v)
{
    return v->n_tokens;
}
const char *qn_vocab_kind_name(const qn_vocab *v)
{
    return v->kind->name;
}
qn_string qn_vocab_token_text(const qn_vocab *v, quern_token id)
{
    return v->tokens[id];
}
qn_token_kind qn_vocab_token_kind(const qn_vocab *v, quern_token id)
{
    return (qn_token_kind)v->kinds[id];
}
const qn_vocab_special *qn_vocab_special_ids(const qn_vocab *v)
{
    return &v->special;
}

bool qn_vocab_is_end(const qn_vocab *v, quern_token id)
{
    return id >= 0 && (size_t)id < v->n_tokens && (v->flags[id] & QN_TOKEN_ENDS) != 0;
}
