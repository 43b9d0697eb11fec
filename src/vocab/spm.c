/* spm.c: the tokenizer of SentencePiece's BPE models (Kudo and Richardson 2018, arXiv:1808.06226).
 *
 * Blanks are written as U+2581, one is put in front where the file says so. Neighbouring symbols merge
 * when their joined text is a token, the highest score first. Characters without a token become byte
 * tokens.
 *
 * Merging works on the whole text, but a merge can cross the boundary between two characters only if some
 * token holds them side by side (joins.h); elsewhere the text is cut beforehand, which changes nothing and
 * gives short stretches that repeat. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/float16.h"
#include "base/utf8.h"
#include "vocab/vocab_private.h"

#include <math.h>
#include <string.h>

typedef struct spm {
    uint32_t *priorities; /* [n_tokens] lower merges first; QN_PAIR_NONE: never */
    size_t longest;       /* bytes of the longest text that can be merged */
    qn_joins joins;
} spm;

/* Ascending numbers for descending scores; NaN comes last. */
static uint32_t priority_of(float score)
{
    if (isnan(score)) return QN_PAIR_NONE - 1;
    const uint32_t bits = qn_f32_to_bits(score + 0.0f); /* -0 counts as 0 */
    const uint32_t ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    const uint32_t descending = ~ascending;
    return descending < QN_PAIR_NONE - 1 ? descending : QN_PAIR_NONE - 1;
}

static bool may_merge(uint8_t kind)
{
    return kind == QN_TOKEN_NORMAL || kind == QN_TOKEN_USER_DEFINED || kind == QN_TOKEN_UNUSED;
}

static quern_status check_scores(const qn_vocab *v, const qn_gguf *g, const qn_gguf_value **scores,
                                 quern_error *err)
{
    *scores = qn_gguf_find(g, "tokenizer.ggml.scores");
    if (*scores == NULL) return QUERN_OK;
    if ((*scores)->kind != QN_GGUF_ARRAY || !qn_gguf_kind_is_float((*scores)->element_kind))
        return qn_fail(err, QUERN_ERR_FORMAT, "tokenizer.ggml.scores: must be an array of floats");
    if ((*scores)->count < v->n_tokens)
        return qn_fail(err, QUERN_ERR_FORMAT, "tokenizer.ggml.scores: %llu entries for %zu tokens",
                       (unsigned long long)(*scores)->count, v->n_tokens);
    return QUERN_OK;
}

static void set_default_ids(qn_vocab *v)
{
    v->special.unk = 0; /* SentencePiece's own order; the file's keys go over it */
    if (v->n_tokens > 1) v->special.bos = 1;
    if (v->n_tokens > 2) v->special.eos = 2;
    v->special.add_bos = true;
    v->special.add_space_prefix = true;
}

static quern_status open_spm(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    const qn_gguf_value *scores;
    const quern_status status = check_scores(v, g, &scores, err);
    if (status != QUERN_OK) return status;
    if (scores == NULL)
        qn_log_write(log, QUERN_LOG_WARN, "the file has no tokenizer.ggml.scores: all tokens count alike");
    spm *s = v->kind_data = qn_calloc(1, sizeof *s);
    if (s != NULL) s->priorities = qn_calloc(v->n_tokens, sizeof *s->priorities);
    size_t text_bytes = 0;
    for (size_t i = 0; i < v->n_tokens; i++) text_bytes += v->tokens[i].n_bytes;
    if (s == NULL || s->priorities == NULL || !qn_joins_init(&s->joins, text_bytes, true))
        return qn_fail(err, QUERN_ERR_NOMEM, "tokenizer: out of memory");
    for (size_t i = 0; i < v->n_tokens; i++) {
        s->priorities[i] = QN_PAIR_NONE;
        if (!may_merge(v->kinds[i])) continue;
        const float score = scores != NULL ? (float)qn_gguf_element_float(scores, i) : 0.0f;
        s->priorities[i] = priority_of(score);
        qn_joins_add(&s->joins, v->tokens[i].bytes, v->tokens[i].n_bytes);
        if (v->tokens[i].n_bytes > s->longest) s->longest = v->tokens[i].n_bytes;
    }
    set_default_ids(v);
    return QUERN_OK;
}

static void close_spm(qn_vocab *v)
{
    spm *s = v->kind_data;
    if (s == NULL) return;
    qn_joins_deinit(&s->joins);
    qn_free(s->priorities);
    qn_free(s);
}

static qn_pair find_pair(const void *user, const char *word, const qn_symbol *left, const qn_symbol *right)
{
    const qn_vocab *v = user;
    const spm *s = v->kind_data;
    const size_t n = (size_t)left->n_bytes + right->n_bytes;
    if (n > s->longest) return (qn_pair){QN_PAIR_NONE, 0};
    const int64_t id = qn_hash_map_get(&v->index, word + left->start, n);
    if (id == QN_HASH_NONE) return (qn_pair){QN_PAIR_NONE, 0};
    return (qn_pair){s->priorities[id], (uint32_t)id};
}

static bool add_symbol(qn_encoder *e, const char *bytes, size_t n_bytes)
{
    return qn_merger_add(&e->merger, QN_SYMBOL_NONE, e->text.n_bytes, n_bytes) &&
           qn_buffer_append(&e->text, bytes, n_bytes);
}

/* The characters are the symbols, with U+2581 for blanks. */
static bool add_symbols(qn_encoder *e, const char *text, size_t n_bytes)
{
    for (size_t i = 0, n; i < n_bytes; i += n) {
        uint32_t c;
        n = qn_max_size(1, qn_utf8_decode(text + i, n_bytes - i, &c));
        if (text[i] == ' ' ? !add_symbol(e, QN_META_SPACE, 3) : !add_symbol(e, text + i, n)) return false;
    }
    return true;
}

static bool merge_symbols(qn_encoder *e)
{
    qn_merger *m = &e->merger;
    const char *word = e->text.data;
    bool ok = qn_merger_run(m, word, find_pair, e->vocab);
    for (size_t i = 0; ok && i < m->n_symbols; i++) {
        const qn_symbol *s = &m->symbols[i];
        quern_token id = (quern_token)s->id; /* -1 if never merged */
        if (s->id == QN_SYMBOL_NONE) id = qn_vocab_plain_id(e->vocab, word + s->start, s->n_bytes);
        ok = id >= 0 ? qn_encoder_push(e, id) : qn_encoder_push_bytes(e, word + s->start, s->n_bytes);
    }
    return ok;
}

static bool encode_stretch(qn_encoder *e, const char *text, size_t n_bytes)
{
    e->merger.n_symbols = 0;
    qn_buffer_clear(&e->text);
    return add_symbols(e, text, n_bytes) && merge_symbols(e);
}

static bool encode_prefixed_stretch(qn_encoder *e, const char *text, size_t n_bytes)
{
    e->merger.n_symbols = 0;
    qn_buffer_clear(&e->text);
    return add_symbol(e, QN_META_SPACE, 3) && add_symbols(e, text, n_bytes) && merge_symbols(e);
}

static bool encode_spm(qn_encoder *e, const char *text, size_t n_bytes, bool at_start)
{
    const spm *s = e->vocab->kind_data;
    const qn_stretch_rules rules = {&s->joins, false, encode_stretch, encode_prefixed_stretch};
    return qn_encoder_stretches(e, &rules, text, n_bytes, at_start && e->vocab->special.add_space_prefix);
}

const qn_vocab_kind qn_vocab_kind_spm = {"llama",   "spm",      open_spm,
                                         close_spm, encode_spm, qn_decode_meta_space};
