/* vocab.c: reads from a model file what all kinds of tokenizers have in common: texts and kinds of the
 * tokens, special ids, and which tokens end a generation. */
#include "vocab/vocab_private.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <string.h>

static const qn_vocab_kind *const kinds[] = {&qn_vocab_kind_bpe, &qn_vocab_kind_spm, &qn_vocab_kind_bpe_raw,
                                             &qn_vocab_kind_unigram, &qn_vocab_kind_wordpiece};

/* Names of tokenizers that exist and are not read yet, for a better sentence. */
static const char *const later_kinds[] = {"rwkv", "plamo2"};

int qn_parse_byte_token(qn_string text)
{
    if (text.n_bytes != 6 || memcmp(text.bytes, "<0x", 3) != 0 || text.bytes[5] != '>') return -1;
    int value = 0;
    for (size_t i = 3; i < 5; i++) {
        const char c = text.bytes[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
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

/* ---- special ids ------------------------------------------------------------------------------ */

static quern_status read_special_id(const qn_vocab *v, const qn_gguf *g, const char *key, quern_token *id,
                                    const qn_log *log, quern_error *err)
{
    const qn_gguf_value *value = qn_gguf_find(g, key);
    if (value == NULL) return QUERN_OK;
    if (!qn_gguf_kind_is_integer(value->kind))
        return qn_fail(err, QUERN_ERR_FORMAT, "%s: must be an integer, is %s", key,
                       qn_gguf_kind_name(value->kind));
    const int64_t n = qn_gguf_element_int(value, 0);
    if (n >= 0 && (uint64_t)n < v->n_tokens) {
        *id = (quern_token)n;
        return QUERN_OK;
    }
    qn_log_write(log, QUERN_LOG_WARN, "%s: %lld is not a token (there are %zu); ignored", key, (long long)n,
                 v->n_tokens);
    return QUERN_OK;
}

static quern_status read_special(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    qn_vocab_special *sp = &v->special;
    const struct {
        const char *key;
        quern_token *id;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", &sp->bos},       {"tokenizer.ggml.eos_token_id", &sp->eos},
        {"tokenizer.ggml.eot_token_id", &sp->eot},       {"tokenizer.ggml.unknown_token_id", &sp->unk},
        {"tokenizer.ggml.seperator_token_id", &sp->sep}, {"tokenizer.ggml.padding_token_id", &sp->pad},
    };
    quern_status s = QUERN_OK;
    for (size_t i = 0; s == QUERN_OK && i < sizeof ids / sizeof *ids; i++)
        s = read_special_id(v, g, ids[i].key, ids[i].id, log, err);
    if (s == QUERN_OK) s = qn_gguf_get_bool(g, "tokenizer.ggml.add_bos_token", false, &sp->add_bos, err);
    if (s == QUERN_OK) s = qn_gguf_get_bool(g, "tokenizer.ggml.add_eos_token", false, &sp->add_eos, err);
    if (s == QUERN_OK && sp->add_space_prefix) /* where the kind has such a blank at all */
        s = qn_gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", false, &sp->add_space_prefix, err);
    return s;
}

/* Texts that models were trained to end their turn with; the first present one is EOT where the file
 * names none. Files often fail to mark them, or call them user-defined; as control tokens they cannot
 * be forged by the text of a message. */
static const char *const turn_ends[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<end_of_turn>",
    "<turn|>",
    "<|end|>",
    "<|eot|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    "<|endoftext|>",
    "<|end_of_text|>",
};

/* Texts that end a generation otherwise: calls of tools, the end of a text or of an infilled file. */
static const char *const other_ends[] = {
    "<|return|>",   "<|call|>",      "<|flush|>",   "<|calls|>", "<|eom_id|>", "<|tool_response>",
    "<eos>",        "[EOS]",         "<|fim_pad|>", "<fim-pad>", "<fim_pad>",  "<PAD>",
    "<|fim_repo|>", "<|repo_name|>", "<fim-repo>",  "<REPO>",    "<reponame>", "<|file_sep|>",
};

/* Texts of code infilling that are likewise control tokens whatever the file says. */
static const char *const infill_texts[] = {
    "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>",
    "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>",  "<SUF>", "▁<SUF>", "<|code_suffix|>",
    "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>",   "<MID>", "▁<MID>", "<|code_middle|>",
};

static int64_t find_text(const qn_vocab *v, const char *text)
{
    return qn_hash_map_get(&v->index, text, strlen(text));
}

static int64_t mark_end(qn_vocab *v, const char *text)
{
    const int64_t id = find_text(v, text);
    if (id == QN_HASH_NONE) return id;
    v->kinds[id] = QN_TOKEN_CONTROL;
    v->flags[id] |= QN_TOKEN_ENDS;
    return id;
}

static void mark_known_texts(qn_vocab *v)
{
    for (size_t i = 0; i < sizeof turn_ends / sizeof *turn_ends; i++) {
        const int64_t id = mark_end(v, turn_ends[i]);
        if (id != QN_HASH_NONE && v->special.eot < 0) v->special.eot = (quern_token)id;
    }
    for (size_t i = 0; i < sizeof other_ends / sizeof *other_ends; i++) mark_end(v, other_ends[i]);
    for (size_t i = 0; i < sizeof infill_texts / sizeof *infill_texts; i++) {
        const int64_t id = find_text(v, infill_texts[i]);
        if (id != QN_HASH_NONE) v->kinds[id] = QN_TOKEN_CONTROL;
    }
    /* Old SentencePiece's EOS; but in gemma-4's vocabulary an HTML tag like others. */
    const int64_t old_eos = find_text(v, "</s>");
    if (old_eos != QN_HASH_NONE && v->kind != &qn_vocab_kind_bpe_raw) v->kinds[old_eos] = QN_TOKEN_CONTROL;
    if (v->special.eos >= 0) v->flags[v->special.eos] |= QN_TOKEN_ENDS;
    if (v->special.eot >= 0) v->flags[v->special.eot] |= QN_TOKEN_ENDS;
    /* In OpenAI's harmony format <|end|> ends a message, and the turn goes on until one of these two. */
    const int64_t end = find_text(v, "<|end|>");
    if (end != QN_HASH_NONE && find_text(v, "<|return|>") != QN_HASH_NONE &&
        find_text(v, "<|call|>") != QN_HASH_NONE)
        v->flags[end] &= (uint8_t)~QN_TOKEN_ENDS;
}

/* The tokenizers of Phi-3 let special tokens, but for three, swallow the white space after them. The
 * file does not say so; its name does. */
static quern_status mark_stripping(qn_vocab *v, const qn_gguf *g, quern_error *err)
{
    qn_string name = {NULL, 0};
    const quern_status s = qn_gguf_get_string(g, "general.name", false, &name, err);
    if (s != QUERN_OK) return s;
    bool is_phi3 = false;
    for (size_t i = 0; i + 4 <= name.n_bytes && !is_phi3; i++) {
        const char *n = name.bytes + i;
        is_phi3 = (n[0] | 0x20) == 'p' && (n[1] | 0x20) == 'h' && (n[2] | 0x20) == 'i' &&
                  (n[3] == '3' || (n[3] == '-' && i + 5 <= name.n_bytes && n[4] == '3'));
    }
    for (size_t i = 0; is_phi3 && i < v->n_tokens; i++) {
        const qn_string t = v->tokens[i];
        const uint8_t kind = v->kinds[i];
        if (kind != QN_TOKEN_CONTROL && kind != QN_TOKEN_USER_DEFINED && kind != QN_TOKEN_UNKNOWN) continue;
        if (!qn_string_is(t, "<unk>") && !qn_string_is(t, "<s>") && !qn_string_is(t, "<|endoftext|>"))
            v->flags[i] |= QN_TOKEN_STRIPS_AFTER;
    }
    return QUERN_OK;
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
                           "gemma4, bert and t5 are)",
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
    if (s == QUERN_OK) s = read_special(v, g, log, err);
    if (s == QUERN_OK) mark_known_texts(v);
    if (s == QUERN_OK) s = mark_stripping(v, g, err);
    if (s == QUERN_OK && !qn_special_matcher_init(&v->specials, v))
        s = qn_fail(err, QUERN_ERR_NOMEM, "special tokens: out of memory");
    return s;
}

quern_status qn_vocab_open(qn_vocab **out, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    static const qn_log silent = {NULL, NULL};
    qn_vocab *v = *out = qn_calloc(1, sizeof *v);
    if (v == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "vocabulary: out of memory");
    v->special = (qn_vocab_special){-1, -1, -1, -1, -1, -1, false, false, false};
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
