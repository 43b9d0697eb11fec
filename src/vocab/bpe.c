/* bpe.c: byte-pair encoding by a list of merges, in three kinds.
 *
 * "gpt2": byte-level (Radford et al. 2019). The stored texts of tokens write each byte as a visible
 * character: printable Latin-1 bytes as themselves, the others as U+0100 and up, in order. The text is
 * normalized where the models were trained so, cut into words by the pre-tokenizer, and each word is
 * merged from its bytes.
 *
 * "gemma4", and "gpt2" with a pre-tokenizer that says so: the stored texts are plain UTF-8 with U+2581 for a
 * blank. The text is cut only before and after line ends, and merged from its characters; those without a
 * token become byte tokens. If a text that is no token is left over, it is written as bytes.
 *
 * "whitespace": the stored texts are plain UTF-8, without blanks. What lies between blanks is a word, merged
 * from its characters, in small letters where the file says so; a character without a token is unknown. The
 * blanks are lost. */
#include "base/alloc.h"
#include "base/utf8.h"
#include "vocab/byte_alphabet.h"
#include "vocab/merges.h"
#include "vocab/normalize.h"
#include "vocab/pretokenizer.h"
#include "vocab/short_words.h"

#include <string.h>
#include <utf8proc.h>

typedef struct bpe {
    qn_merges merges;
    qn_pretokenizer *pretokenizer;
    qn_short_words short_words; /* where a word that is a token needs no merges */
    bool ignore_merges, nfc, small_letters;
} bpe;

enum { WORD, PART }; /* variants of remembered words: a part of a word is never looked up as a whole */

static size_t decode_byte_level(const qn_vocab *v, qn_string text, char *out)
{
    (void)v;
    return qn_byte_decode(text.bytes, text.n_bytes, out);
}

/* ---- opening --------------------------------------------------------------------------------- */

static quern_status unknown_pretokenizer(qn_string name, quern_error *err)
{
    return qn_fail(err, QUERN_ERR_UNSUPPORTED,
                   "tokenizer.ggml.pre: unknown pre-tokenizer '%s' (ids would be wrong without its rule; "
                   "a newer quern may know it)",
                   qn_quote(name.bytes, name.n_bytes).text);
}

static quern_status open_pretokenizer(bpe *b, qn_vocab *v, const qn_gguf *g, const qn_log *log,
                                      quern_error *err)
{
    qn_string name = {NULL, 0};
    const quern_status s = qn_gguf_get_string(g, "tokenizer.ggml.pre", false, &name, err);
    if (s != QUERN_OK) return s;
    if (name.bytes == NULL) {
        qn_log_write(log, QUERN_LOG_WARN,
                     "the file names no pre-tokenizer (tokenizer.ggml.pre): using \"default\", "
                     "which may cut words differently than in training");
        name = (qn_string){"default", 7};
    }
    const qn_pretokenizer_row *row = qn_pretokenizer_find(name.bytes, name.n_bytes);
    if (row == NULL) return unknown_pretokenizer(name, err);
    b->ignore_merges = row->ignore_merges;
    b->nfc = row->nfc;
    v->special.add_bos = row->add_bos;
    v->clean_spaces = row->clean_spaces;
    if (row->is_raw) {
        v->kind = &qn_vocab_kind_bpe_raw;
        return QUERN_OK;
    }
    return qn_pretokenizer_create(&b->pretokenizer, row, err);
}

static quern_status open_byte_level(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    bpe *b = v->kind_data = qn_calloc(1, sizeof *b);
    if (b == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "tokenizer: out of memory");
    const quern_status s = open_pretokenizer(b, v, g, log, err);
    if (s != QUERN_OK) return s;
    if (v->kind == &qn_vocab_kind_bpe_raw) return qn_merges_read(&b->merges, v, g, false, err);
    if (b->ignore_merges && !qn_short_words_init(&b->short_words, v))
        return qn_fail(err, QUERN_ERR_NOMEM, "tokenizer: out of memory");
    return qn_merges_read(&b->merges, v, g, true, err);
}

/* What merges from characters. */
static quern_status open_characters(qn_vocab *v, const qn_gguf *g, quern_error *err)
{
    bpe *b = v->kind_data = qn_calloc(1, sizeof *b);
    if (b == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "tokenizer: out of memory");
    return qn_merges_read(&b->merges, v, g, false, err);
}

static quern_status open_raw(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    (void)log;
    v->clean_spaces = true;
    return open_characters(v, g, err);
}

static quern_status open_words(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    (void)log;
    const quern_status s = open_characters(v, g, err);
    if (s != QUERN_OK) return s;
    bpe *b = v->kind_data;
    return qn_gguf_get_bool(g, "tokenizer.ggml.normalizer.lowercase", false, &b->small_letters, err);
}

static void close_bpe(qn_vocab *v)
{
    bpe *b = v->kind_data;
    if (b == NULL) return;
    qn_pretokenizer_destroy(b->pretokenizer);
    qn_merges_deinit(&b->merges);
    qn_short_words_deinit(&b->short_words);
    qn_free(b);
}

/* ---- encoding, byte-level -------------------------------------------------------------------- */

/* The id of a whole word, or -1. */
static quern_token whole_word(const qn_vocab *v, const char *word, size_t n_bytes)
{
    const bpe *b = v->kind_data;
    char text[2 * 256]; /* longer tokens are found by merging */
    if (n_bytes <= QN_WORD_SHORT_BYTES) return qn_short_words_find(&b->short_words, word, n_bytes);
    if (n_bytes > sizeof text / 2) return -1;
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++)
        n += qn_utf8_encode(qn_byte_to_character((unsigned char)word[i]), text + n);
    return qn_vocab_plain_id(v, text, n);
}

/* What no token stands for is written byte by byte, or as the unknown token. */
static bool push_single_bytes(qn_encoder *e, const bpe *b, const char *bytes, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        const uint32_t id = b->merges.byte_symbols[(unsigned char)bytes[i]];
        const quern_token token = id < e->vocab->n_tokens ? (quern_token)id : e->vocab->special.unk;
        if (token >= 0 && !qn_encoder_push(e, token)) return false;
    }
    return true;
}

static bool merge_word(qn_encoder *e, const char *word, size_t n_bytes)
{
    const bpe *b = e->vocab->kind_data;
    qn_merger *m = &e->merger;
    m->n_symbols = 0;
    for (size_t i = 0; i < n_bytes; i++)
        if (!qn_merger_add(m, b->merges.byte_symbols[(unsigned char)word[i]], i, 1)) return false;
    if (!qn_merger_run(m, word, qn_merges_find_bytes, &b->merges)) return false;
    for (size_t i = 0; i < m->n_symbols; i++) {
        const qn_symbol *s = &m->symbols[i];
        if (s->id < e->vocab->n_tokens ? !qn_encoder_push(e, (quern_token)s->id)
                                       : !push_single_bytes(e, b, word + s->start, s->n_bytes))
            return false;
    }
    return true;
}

/* Where the word can be cut, its parts are merged one by one; otherwise all of it. */
static bool merge_parts(qn_encoder *e, const char *word, size_t n_bytes)
{
    const bpe *b = e->vocab->kind_data;
    const qn_joins *joins = &b->merges.joins;
    size_t begin = 0;
    qn_character left = qn_joins_character(joins, word, n_bytes);
    for (size_t i = left.n_bytes; i < n_bytes;) {
        const qn_character right = qn_joins_character(joins, word + i, n_bytes - i);
        const bool is_cut = (left.code | right.code) >= 128 && left.code < QN_LOOSE_BYTE &&
                            right.code < QN_LOOSE_BYTE && !qn_joins_may(joins, left, right);
        if (is_cut || i - begin >= QN_WORD_MAX_BYTES) {
            if (!qn_encoder_word(e, word + begin, i - begin, PART, merge_word)) return false;
            begin = i;
        }
        i += right.n_bytes;
        left = right;
    }
    return begin == 0 ? merge_word(e, word, n_bytes)
                      : qn_encoder_word(e, word + begin, n_bytes - begin, PART, merge_word);
}

static bool whole_or_merged(qn_encoder *e, const char *word, size_t n_bytes)
{
    const bpe *b = e->vocab->kind_data;
    const quern_token whole = b->ignore_merges ? whole_word(e->vocab, word, n_bytes) : -1;
    return whole >= 0 ? qn_encoder_push(e, whole) : merge_parts(e, word, n_bytes);
}

static bool encode_word(void *user, const char *word, size_t n_bytes)
{
    return qn_encoder_word(user, word, n_bytes, WORD, whole_or_merged);
}

static bool encode_byte_level(qn_encoder *e, const char *text, size_t n_bytes, bool at_start)
{
    (void)at_start;
    const bpe *b = e->vocab->kind_data;
    if (b->nfc && qn_normalize_may_change(text, n_bytes)) {
        qn_buffer_clear(&e->text);
        if (!qn_normalize_nfc(&e->text, text, n_bytes)) return false;
        text = e->text.data, n_bytes = e->text.n_bytes;
    }
    return qn_pretokenizer_split(b->pretokenizer, text, n_bytes, encode_word, e);
}

/* ---- encoding, raw UTF-8 --------------------------------------------------------------------- */

/* The characters, with U+2581 for blanks, are the symbols. */
static bool add_characters(qn_encoder *e, const char *word, size_t n_bytes)
{
    e->merger.n_symbols = 0;
    qn_buffer_clear(&e->text);
    for (size_t i = 0, n; i < n_bytes; i += n) {
        uint32_t c;
        const bool is_blank = word[i] == ' ';
        const char *text = is_blank ? QN_META_SPACE : word + i;
        n = qn_utf8_decode(word + i, n_bytes - i, &c);
        const size_t n_text = is_blank ? 3 : n > 0 ? n : 1;
        const quern_token id = n > 0 ? qn_vocab_plain_id(e->vocab, text, n_text) : -1;
        const uint32_t symbol = id >= 0 ? (uint32_t)id : QN_SYMBOL_NONE - 1;
        if (!qn_merger_add(&e->merger, symbol, e->text.n_bytes, n_text) ||
            !qn_buffer_append(&e->text, text, n_text))
            return false;
        if (n == 0) n = 1;
    }
    return true;
}

/* What no token stands for: its bytes, or one unknown token where one of them has no token either. */
static bool push_left_over(qn_encoder *e, const char *bytes, size_t n_bytes)
{
    const qn_vocab *v = e->vocab;
    for (size_t i = 0; i < n_bytes; i++)
        if (v->byte_ids[(unsigned char)bytes[i]] < 0 && qn_vocab_plain_id(v, bytes + i, 1) < 0)
            return v->special.unk < 0 || qn_encoder_push(e, v->special.unk);
    return qn_encoder_push_bytes(e, bytes, n_bytes);
}

static bool merge_characters(qn_encoder *e, const char *word, size_t n_bytes)
{
    const qn_vocab *v = e->vocab;
    const bpe *b = v->kind_data;
    qn_merger *m = &e->merger;
    if (!add_characters(e, word, n_bytes) || !qn_merger_run(m, e->text.data, qn_merges_find, &b->merges))
        return false;
    for (size_t i = 0; i < m->n_symbols; i++) {
        const qn_symbol *s = &m->symbols[i];
        if (s->id < v->n_tokens ? !qn_encoder_push(e, (quern_token)s->id)
                                : !push_left_over(e, e->text.data + s->start, s->n_bytes))
            return false;
    }
    return true;
}

static bool encode_raw(qn_encoder *e, const char *text, size_t n_bytes, bool at_start)
{
    (void)at_start;
    const bpe *b = e->vocab->kind_data;
    const qn_stretch_rules rules = {&b->merges.joins, true, merge_characters, NULL};
    return qn_encoder_stretches(e, &rules, text, n_bytes, false);
}

/* ---- encoding, words between blanks ------------------------------------------------------------ */

/* Small letters one by one, whatever stands beside them. Invalid bytes stay. False: no memory. */
static bool append_small_letters(qn_buffer *out, const char *text, size_t n_bytes)
{
    bool ok = true;
    for (size_t i = 0, n; ok && i < n_bytes; i += n) {
        uint32_t c;
        char small[4];
        n = qn_utf8_decode(text + i, n_bytes - i, &c);
        if (n == 0) ok = qn_buffer_putc(out, text[i]), n = 1;
        else if (c == 0x130) ok = qn_buffer_puts(out, "i\xcc\x87"); /* the only letter that becomes two */
        else
            ok = qn_buffer_append(out, small,
                                  qn_utf8_encode((uint32_t)utf8proc_tolower((utf8proc_int32_t)c), small));
    }
    return ok;
}

/* How many bytes the text begins with that are white space, or that are not. */
static size_t run_of(bool white, const char *text, size_t n_bytes)
{
    size_t i = 0;
    for (size_t n; i < n_bytes; i += n) {
        uint32_t c;
        n = qn_utf8_decode(text + i, n_bytes - i, &c);
        if ((n > 0 && qn_utf8_is_white_space(c)) != white) break;
        if (n == 0) n = 1;
    }
    return i;
}

static bool encode_words(qn_encoder *e, const char *text, size_t n_bytes, bool at_start)
{
    (void)at_start;
    const bpe *b = e->vocab->kind_data;
    const qn_stretch_rules rules = {&b->merges.joins, false, merge_characters, NULL};
    qn_buffer small = {0};
    bool ok = !b->small_letters || append_small_letters(&small, text, n_bytes);
    if (b->small_letters) text = small.data, n_bytes = small.n_bytes;
    for (size_t i = 0; ok && (i += run_of(true, text + i, n_bytes - i)) < n_bytes;) {
        const size_t n = run_of(false, text + i, n_bytes - i);
        ok = qn_encoder_stretches(e, &rules, text + i, n, false);
        i += n;
    }
    qn_buffer_deinit(&small);
    return ok;
}

static size_t decode_plain(const qn_vocab *v, qn_string text, char *out)
{
    (void)v;
    memcpy(out, text.bytes, text.n_bytes);
    return text.n_bytes;
}

const qn_vocab_kind qn_vocab_kind_bpe = {
    "gpt2", "bpe", open_byte_level, close_bpe, encode_byte_level, decode_byte_level};
const qn_vocab_kind qn_vocab_kind_bpe_raw = {"gemma4",  "bpe-raw",  open_raw,
                                             close_bpe, encode_raw, qn_decode_meta_space};
const qn_vocab_kind qn_vocab_kind_bpe_words = {"whitespace", "bpe-words",  open_words,
                                               close_bpe,    encode_words, decode_plain};
