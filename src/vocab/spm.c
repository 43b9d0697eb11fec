/* spm.c: the tokenizer of SentencePiece's BPE models (Kudo and Richardson 2018, arXiv:1808.06226).
 *
 * Blanks are written as U+2581, one is put in front where the file says so. Neighbouring symbols merge
 * when their joined text is a token, the highest score first. Characters without a token become byte
 * tokens.
 *
 * Merging works on the whole text, but a merge can cross the boundary between two characters only if
 * some token has such a boundary inside. A bitmap over (last byte of the left, first byte of the right
 * character) knows which exist; elsewhere the text is cut beforehand, which changes nothing. U+2581
 * counts as byte 0x20 there, so that most vocabularies let the text be cut into words. */
#include "base/alloc.h"
#include "base/float16.h"
#include "base/utf8.h"
#include "vocab/vocab_private.h"

#include <math.h>
#include <string.h>

typedef struct spm {
    uint32_t *priorities;     /* [n_tokens] lower merges first; QN_PAIR_NONE: never */
    size_t longest;           /* bytes of the longest text that can be merged */
    uint8_t joins[65536 / 8]; /* bit (left << 8 | right) */
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

typedef struct character {
    size_t n_bytes;
    unsigned char first, last; /* for the bitmap */
} character;

static character character_at(const char *text, size_t n_bytes)
{
    const unsigned char *b = (const unsigned char *)text;
    if (b[0] < 0x80) return (character){1, b[0], b[0]};
    if (n_bytes >= 3 && memcmp(text, QN_META_SPACE, 3) == 0) return (character){3, ' ', ' '};
    uint32_t c;
    size_t n = qn_utf8_decode(text, n_bytes, &c);
    if (n == 0) n = 1;
    return (character){n, b[0], b[n - 1]};
}

static void note_joins(spm *s, qn_string text)
{
    character left = {0, 0, 0};
    for (size_t i = 0; i < text.n_bytes; i += left.n_bytes) {
        const character right = character_at(text.bytes + i, text.n_bytes - i);
        if (i > 0) s->joins[left.last * 32 + right.first / 8] |= (uint8_t)(1u << right.first % 8);
        left = right;
    }
}

static bool joins(const spm *s, unsigned char left, unsigned char right)
{
    return s->joins[left * 32 + right / 8] >> right % 8 & 1;
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
    if (s == NULL || s->priorities == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "tokenizer: out of memory");
    for (size_t i = 0; i < v->n_tokens; i++) {
        s->priorities[i] = QN_PAIR_NONE;
        if (!may_merge(v->kinds[i])) continue;
        const float score = scores != NULL ? (float)qn_gguf_element_float(scores, i) : 0.0f;
        s->priorities[i] = priority_of(score);
        note_joins(s, v->tokens[i]);
        if (v->tokens[i].n_bytes > s->longest) s->longest = v->tokens[i].n_bytes;
    }
    set_default_ids(v);
    return QUERN_OK;
}

static void close_spm(qn_vocab *v)
{
    spm *s = v->kind_data;
    if (s != NULL) qn_free(s->priorities);
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

/* The characters of the word are the merger's symbols. */
static bool merge_characters(qn_encoder *e, const char *word, size_t n_bytes)
{
    qn_merger *m = &e->merger;
    (void)n_bytes;
    bool ok = qn_merger_run(m, word, find_pair, e->vocab);
    for (size_t i = 0; ok && i < m->n_symbols; i++) {
        const qn_symbol *s = &m->symbols[i];
        quern_token id = (quern_token)s->id; /* -1 if never merged */
        if (s->id == QN_SYMBOL_NONE) id = qn_vocab_plain_id(e->vocab, word + s->start, s->n_bytes);
        ok = id >= 0 ? qn_encoder_push(e, id) : qn_encoder_push_bytes(e, word + s->start, s->n_bytes);
    }
    return ok;
}

/* Encodes what lies in e->text and the merger, and empties both. */
static bool encode_stretch(qn_encoder *e)
{
    const bool ok =
        e->text.n_bytes == 0 || qn_encoder_word(e, e->text.data, e->text.n_bytes, 0, merge_characters);
    e->merger.n_symbols = 0;
    qn_buffer_clear(&e->text);
    return ok;
}

static bool encode_spm(qn_encoder *e, const char *text, size_t n_bytes, bool at_start)
{
    const spm *s = e->vocab->kind_data;
    bool prefix = at_start && e->vocab->special.add_space_prefix;
    unsigned char left = 0;
    qn_buffer_clear(&e->text);
    e->merger.n_symbols = 0;
    for (size_t i = 0; i < n_bytes;) {
        const bool blank = prefix || text[i] == ' ';
        const character c = blank ? (character){3, ' ', ' '} : character_at(text + i, n_bytes - i);
        if (e->text.n_bytes > 0 && (!joins(s, left, c.first) || e->text.n_bytes >= QN_WORD_MAX_BYTES) &&
            !encode_stretch(e))
            return false;
        if (!qn_merger_add(&e->merger, QN_SYMBOL_NONE, e->text.n_bytes, c.n_bytes) ||
            !qn_buffer_append(&e->text, blank ? QN_META_SPACE : text + i, c.n_bytes))
            return false;
        i += prefix ? 0 : blank ? 1 : c.n_bytes;
        prefix = false;
        left = c.last;
    }
    return encode_stretch(e);
}

const qn_vocab_kind qn_vocab_kind_spm = {"llama",   "spm",      open_spm,
                                         close_spm, encode_spm, qn_decode_meta_space};
