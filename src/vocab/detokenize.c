/* detokenize.c: from ids to text, whole or as a stream that never shows half a character. */
#include "base/alloc.h"
#include "base/buffer.h"
#include "base/utf8.h"
#include "vocab/vocab_private.h"

#include <string.h>

size_t qn_decode_meta_space(const qn_vocab *v, qn_string text, char *out)
{
    (void)v;
    size_t n = 0;
    for (size_t i = 0; i < text.n_bytes;) {
        if (text.n_bytes - i >= 3 && memcmp(text.bytes + i, QN_META_SPACE, 3) == 0) {
            out[n++] = ' ';
            i += 3;
        } else {
            out[n++] = text.bytes[i++];
        }
    }
    return n;
}

size_t qn_vocab_max_piece(const qn_vocab *v)
{
    return v->max_piece;
}

static size_t copy_text(qn_string text, char *out)
{
    if (text.n_bytes > 0) memcpy(out, text.bytes, text.n_bytes);
    return text.n_bytes;
}

size_t qn_vocab_piece(const qn_vocab *v, quern_token id, bool show_special, char *out)
{
    if (id < 0 || (size_t)id >= v->n_tokens) return 0;
    const qn_string text = v->tokens[id];
    switch (v->kinds[id]) {
    case QN_TOKEN_UNKNOWN:
    case QN_TOKEN_CONTROL:
        return show_special ? copy_text(text, out) : 0;
    case QN_TOKEN_USER_DEFINED:
        return copy_text(text, out);
    case QN_TOKEN_NORMAL:
        return v->kind->decode(v, text, out);
    case QN_TOKEN_BYTE: {
        const int byte = qn_parse_byte_token(text);
        if (byte < 0) return 0;
        out[0] = (char)byte;
        return 1;
    }
    default:
        return 0; /* unused */
    }
}

/* ---- the published tokenizers' tidying of blanks ----------------------------------------------- */

static size_t drop_blanks_before_punctuation(char *text, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const bool punctuation = text[i] == '?' || text[i] == '!' || text[i] == '.' || text[i] == ',';
        if (i > 0 && text[i - 1] == ' ' && punctuation && kept > 0) kept--;
        text[kept++] = text[i];
    }
    return kept;
}

static size_t drop_blanks_around_apostrophes(char *text, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const bool alone = i > 0 && i + 1 < n && text[i] == '\'' && text[i - 1] == ' ' && text[i + 1] == ' ';
        if (alone && kept > 0) kept--;
        text[kept++] = text[i];
        if (alone) text[++i] = '\0'; /* the blank after it goes, and does not count again */
    }
    return kept;
}

static size_t drop_blanks_before_contractions(char *text, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && i + 1 < n && text[i - 1] == ' ' && text[i] == '\'' && kept > 0) {
            const char a = text[i + 1], b = i + 2 < n ? text[i + 2] : '\0';
            if (a == 's' || a == 'm' || ((a == 'r' || a == 'v') && b == 'e')) kept--;
        }
        text[kept++] = text[i];
    }
    return kept;
}

static size_t clean_spaces(char *text, size_t n)
{
    n = drop_blanks_before_punctuation(text, n);
    n = drop_blanks_around_apostrophes(text, n);
    return drop_blanks_before_contractions(text, n);
}

/* ---- whole texts ------------------------------------------------------------------------------ */

quern_status qn_vocab_detokenize(const qn_vocab *v, const quern_token *tokens, size_t n_tokens,
                                 bool remove_special, bool show_special, char **text, size_t *n_bytes,
                                 quern_error *err)
{
    const qn_vocab_special *sp = &v->special;
    bool strip = sp->add_space_prefix;
    *text = NULL;
    *n_bytes = 0;
    if (remove_special && sp->add_bos && sp->bos >= 0 && n_tokens > 0 && tokens[0] == sp->bos) {
        strip = false; /* as the reference does: the blank after a removed BOS stays */
        tokens++, n_tokens--;
    }
    if (remove_special && sp->add_eos && sp->eos >= 0 && n_tokens > 0 && tokens[n_tokens - 1] == sp->eos)
        n_tokens--;

    qn_buffer out = {.max_bytes = SIZE_MAX / 4};
    char *piece = qn_malloc(v->max_piece);
    bool ok = piece != NULL;
    for (size_t i = 0; ok && i < n_tokens; i++) {
        const size_t n = qn_vocab_piece(v, tokens[i], show_special, piece);
        const size_t skip = strip && n > 0 && piece[0] == ' ';
        strip = false;
        ok = qn_buffer_append(&out, piece + skip, n - skip);
    }
    qn_free(piece);
    if (ok && v->clean_spaces && out.n_bytes > 0) out.n_bytes = clean_spaces(out.data, out.n_bytes);
    if (ok) *text = qn_buffer_take(&out, n_bytes);
    if (*text == NULL) {
        qn_buffer_deinit(&out);
        return qn_fail(err, QUERN_ERR_NOMEM, "text of %zu tokens: out of memory", n_tokens);
    }
    return QUERN_OK;
}

/* ---- streams ---------------------------------------------------------------------------------- */

void qn_detokenizer_init(qn_detokenizer *d, const qn_vocab *v, bool show_special)
{
    *d = (qn_detokenizer){.vocab = v, .show_special = show_special, .at_start = v->special.add_space_prefix};
}

static size_t put_replacement(char *out)
{
    memcpy(out, "\xef\xbf\xbd", 3); /* U+FFFD */
    return 3;
}

/* Takes one more byte: what becomes whole, or can never become whole, is written. A broken sequence
 * gives one U+FFFD, and the byte that broke it begins anew (The Unicode Standard, section 3.9). */
static size_t push_byte(qn_detokenizer *d, char byte, char *out)
{
    size_t written = 0;
    for (;;) {
        d->pending[d->n_pending++] = byte;
        uint32_t c;
        if (qn_utf8_decode(d->pending, d->n_pending, &c) == d->n_pending) {
            memcpy(out + written, d->pending, d->n_pending);
            written += d->n_pending;
            d->n_pending = 0;
            return written;
        }
        if (qn_utf8_incomplete_tail(d->pending, d->n_pending) == d->n_pending) return written;
        const bool alone = d->n_pending == 1;
        written += put_replacement(out + written);
        d->n_pending = 0;
        if (alone) return written; /* else the byte gets a second chance, without those before it */
    }
}

size_t qn_detokenizer_push(qn_detokenizer *d, quern_token id, char *out)
{
    /* The piece is written behind the room that its own output may need: each of its bytes gives at
     * most 3, and the pending ones at most 3 + 4 more. */
    const size_t max_piece = d->vocab->max_piece;
    char *piece = out + 2 * max_piece + 16;
    size_t n = qn_vocab_piece(d->vocab, id, d->show_special, piece);
    if (d->at_start && n > 0 && piece[0] == ' ') piece++, n--;
    d->at_start = false;
    size_t written = 0;
    for (size_t i = 0; i < n; i++) written += push_byte(d, piece[i], out + written);
    return written;
}

size_t qn_detokenizer_flush(qn_detokenizer *d, char *out)
{
    const size_t written = d->n_pending > 0 ? put_replacement(out) : 0;
    d->n_pending = 0;
    return written;
}
