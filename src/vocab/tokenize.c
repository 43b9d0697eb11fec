/* tokenize.c: from text to ids: special tokens are found first, the text between them is the kind's. */
#include "base/alloc.h"
#include "base/checked.h"
#include "vocab/vocab_private.h"

#include <string.h>

bool qn_encoder_grow(qn_encoder *e)
{
    return qn_grow(&e->tokens, &e->capacity, e->n_tokens + 1, SIZE_MAX / sizeof *e->tokens,
                   sizeof *e->tokens);
}

bool qn_encoder_new_word(qn_encoder *e, const char *word, size_t n_bytes, uint8_t variant,
                         qn_encode_word_fn *encode)
{
    const size_t first = e->n_tokens;
    if (!encode(e, word, n_bytes)) return false;
    const size_t n = e->n_tokens - first;
    const uint32_t token = n == 1 ? (uint32_t)e->tokens[first] : (uint32_t)first;
    qn_word_memory_add(&e->words, word, n_bytes, variant, token, n);
    return true;
}

bool qn_encoder_repeat(qn_encoder *e, const qn_word_ids *ids)
{
    for (uint32_t i = 0; i < ids->n_tokens; i++)
        if (!qn_encoder_push(e, e->tokens[ids->token + i])) return false;
    return true;
}

bool qn_encoder_push_bytes(qn_encoder *e, const char *bytes, size_t n_bytes)
{
    const qn_vocab *v = e->vocab;
    for (size_t i = 0; i < n_bytes; i++) {
        quern_token id = v->byte_ids[(unsigned char)bytes[i]];
        if (id < 0) id = qn_vocab_plain_id(v, bytes + i, 1);
        if (id < 0) id = v->special.unk;
        if (id >= 0 && !qn_encoder_push(e, id)) return false;
    }
    return true;
}

/* How many bytes of ASCII follow that tokens hold one after the other. */
static size_t joined_ascii(const qn_joins *j, const char *text, size_t n_bytes)
{
    size_t n = 1;
    while (n < n_bytes && (uint8_t)text[n] < 0x80 && (uint8_t)text[n - 1] < 0x80 && text[n] != '\n' &&
           text[n - 1] != '\n' && qn_joins_ascii(j, (uint8_t)text[n - 1], (uint8_t)text[n]))
        n++;
    return n;
}

bool qn_encoder_stretches(qn_encoder *e, const qn_stretch_rules *rules, const char *text, size_t n_bytes,
                          bool prefix)
{
    const qn_joins *j = rules->joins;
    qn_character left = {' ', 1, ' ', ' '};
    bool is_first = !prefix; /* nothing is before it */
    size_t begin = 0;
    for (size_t i = 0; i < n_bytes;) {
        const qn_character right = qn_joins_character(j, text + i, n_bytes - i);
        const bool at_line_end = rules->cuts_at_lines && (left.code == '\n') != (right.code == '\n');
        const bool goes_on =
            is_first || (qn_joins_may(j, left, right) && !at_line_end && i - begin < QN_WORD_MAX_BYTES);
        if (!goes_on) {
            if (!qn_encoder_word(e, text + begin, i - begin, prefix,
                                 prefix ? rules->encode_prefixed : rules->encode))
                return false;
            begin = i;
            prefix = false;
        }
        is_first = false;
        left = right;
        i += right.n_bytes;
        if (right.code >= 128 || right.n_bytes > 1 || i == n_bytes) continue;
        const size_t n = joined_ascii(j, text + i - 1, qn_min_size(n_bytes - i + 1, QN_WORD_MAX_BYTES));
        i += n - 1;
        const uint8_t last = (uint8_t)text[i - 1];
        left = (qn_character){last, 1, last, last};
    }
    return qn_encoder_word(e, text + begin, n_bytes - begin, prefix,
                           prefix ? rules->encode_prefixed : rules->encode);
}

static bool is_ascii_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool encode(qn_encoder *e, const char *text, size_t n_bytes, bool parse_special)
{
    const qn_vocab *v = e->vocab;
    bool at_start = true;
    for (size_t from = 0; from < n_bytes;) {
        size_t at = n_bytes, token_bytes = 0;
        const quern_token id =
            qn_special_find(&v->specials, text, n_bytes, from, parse_special, &at, &token_bytes);
        size_t end = at;
        if (id >= 0 && v->flags[id] & QN_TOKEN_STRIPS_BEFORE)
            while (end > from && is_ascii_space(text[end - 1])) end--;
        if (end > from) {
            if (!v->kind->encode(e, text + from, end - from, at_start)) return false;
            at_start = false;
        }
        from = at + token_bytes;
        if (id < 0) continue;
        if (!qn_encoder_push(e, id)) return false;
        at_start = true;
        if (v->flags[id] & QN_TOKEN_STRIPS_AFTER)
            while (from < n_bytes && is_ascii_space(text[from])) from++;
    }
    return true;
}

quern_status qn_vocab_tokenize(const qn_vocab *v, const char *text, size_t n_bytes, unsigned flags,
                               quern_token **tokens, size_t *n_tokens, quern_error *err)
{
    *tokens = NULL;
    *n_tokens = 0;
    if (n_bytes > QN_TEXT_MAX_BYTES)
        return qn_fail(err, QUERN_ERR_LIMIT, "text to tokenize: %zu bytes, at most %zu in one call", n_bytes,
                       QN_TEXT_MAX_BYTES);
    qn_encoder e = {.vocab = v};
    const bool add_special = flags & QN_TOKENIZE_ADD_SPECIAL;
    bool ok = qn_grow(&e.tokens, &e.capacity, n_bytes / 4 + 8, SIZE_MAX / sizeof *e.tokens, sizeof *e.tokens);
    if (ok) ok = qn_word_memory_init(&e.words, n_bytes);
    if (ok && add_special && v->special.add_bos && v->special.bos >= 0)
        ok = qn_encoder_push(&e, v->special.bos);
    if (ok) ok = encode(&e, text, n_bytes, flags & QN_TOKENIZE_PARSE_SPECIAL);
    if (ok && add_special && v->special.add_eos && v->special.eos >= 0)
        ok = qn_encoder_push(&e, v->special.eos);
    qn_merger_deinit(&e.merger);
    qn_buffer_deinit(&e.text);
    qn_word_memory_deinit(&e.words);
    qn_free(e.places);
    if (!ok) {
        qn_free(e.tokens);
        return qn_fail(err, QUERN_ERR_NOMEM, "tokenizing %zu bytes: out of memory", n_bytes);
    }
    *tokens = e.tokens;
    *n_tokens = e.n_tokens;
    return QUERN_OK;
}
