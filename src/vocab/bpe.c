/* bpe.c: byte-pair encoding by a list of merges, in two kinds.
 *
 * "gpt2": byte-level (Radford et al. 2019). The stored texts of tokens write each byte as a visible
 * character: printable Latin-1 bytes as themselves, the others as U+0100 and up, in order. The text is
 * normalized where the models were trained so, cut into words by the pre-tokenizer, and each word is
 * merged from its bytes.
 *
 * "gemma4": the stored texts are plain UTF-8 with U+2581 for a blank. The text is cut only before
 * and after line ends, and merged from its characters; those without a token become byte tokens.
 *
 * Merges work on ids alone: a table from (left id, right id) to (rank, merged id). A text that occurs
 * in merges but is no token gets an id past the tokens; if it is left over it is written as bytes. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/utf8.h"
#include "vocab/normalize.h"
#include "vocab/pretokenizer.h"
#include "vocab/vocab_private.h"

#include <string.h>

typedef struct merge_slot {
    uint32_t left, right; /* left is QN_SYMBOL_NONE in an empty slot */
    qn_pair pair;
} merge_slot;

typedef struct bpe {
    merge_slot *slots;
    size_t n_slots; /* a power of two */
    uint64_t seed;  /* so that a file cannot aim at collisions */
    uint32_t byte_symbols[256];
    qn_pretokenizer *pretokenizer;
    bool ignore_merges, nfc;
} bpe;

/* ---- the alphabet of byte-level texts -------------------------------------------------------- */

static bool is_printable_byte(unsigned b)
{
    return (b >= 33 && b <= 126) || (b >= 161 && b != 173 && b <= 255);
}

/* The character that stands for a byte, and back (-1: none). The 68 bytes that are not printable are
 * 0..32, 127..160 and 173. */
static uint32_t byte_to_char(unsigned b)
{
    if (is_printable_byte(b)) return b;
    return 256 + (b <= 32 ? b : b == 173 ? 67 : b - 127 + 33);
}

static int char_to_byte(uint32_t c)
{
    if (c < 256) return is_printable_byte(c) ? (int)c : -1;
    if (c <= 256 + 32) return (int)(c - 256);
    if (c <= 256 + 66) return (int)(c - 256 - 33 + 127);
    return c == 256 + 67 ? 173 : -1;
}

static size_t decode_byte_level(const qn_vocab *v, qn_string text, char *out)
{
    (void)v;
    size_t n_out = 0;
    for (size_t i = 0; i < text.n_bytes;) {
        uint32_t c;
        const size_t n = qn_utf8_decode(text.bytes + i, text.n_bytes - i, &c);
        const int byte = n > 0 ? char_to_byte(c) : -1;
        if (byte >= 0) {
            out[n_out++] = (char)byte;
            i += n;
        } else { /* not of the alphabet: as it is */
            for (size_t k = n > 0 ? n : 1; k > 0; k--) out[n_out++] = text.bytes[i++];
        }
    }
    return n_out;
}

/* ---- the table of merges --------------------------------------------------------------------- */

static size_t slot_of(const bpe *b, uint32_t left, uint32_t right)
{
    __extension__ typedef unsigned __int128 wide;
    const wide product = (wide)(((uint64_t)left << 32 | right) ^ b->seed) * (b->seed | 1);
    return ((size_t)product ^ (size_t)(product >> 64)) & (b->n_slots - 1);
}

static qn_pair find_pair(const void *user, const char *word, const qn_symbol *left, const qn_symbol *right)
{
    (void)word;
    const bpe *b = user;
    for (size_t at = slot_of(b, left->id, right->id);; at = (at + 1) & (b->n_slots - 1)) {
        const merge_slot *s = &b->slots[at];
        if (s->left == left->id && s->right == right->id) return s->pair;
        if (s->left == QN_SYMBOL_NONE) return (qn_pair){QN_PAIR_NONE, 0};
    }
}

static void add_pair(bpe *b, uint32_t left, uint32_t right, qn_pair pair)
{
    size_t at = slot_of(b, left, right);
    for (; b->slots[at].left != QN_SYMBOL_NONE; at = (at + 1) & (b->n_slots - 1))
        if (b->slots[at].left == left && b->slots[at].right == right) return; /* the first rank holds */
    b->slots[at] = (merge_slot){left, right, pair};
}

/* Ids for texts that are no tokens, while the merges are read. */
typedef struct extra_texts {
    const qn_vocab *vocab;
    qn_hash_map index;
    char **owned; /* joined texts, freed at the end */
    size_t n_owned, capacity;
    uint32_t next_id;
} extra_texts;

static void extra_texts_deinit(extra_texts *x)
{
    for (size_t i = 0; i < x->n_owned; i++) qn_free(x->owned[i]);
    qn_free(x->owned);
    qn_hash_map_deinit(&x->index);
}

/* False: no memory. Texts that are neither tokens nor known get a new id; `copy` says that the bytes
 * do not stay. */
static bool intern(extra_texts *x, const char *text, size_t n_bytes, bool copy, uint32_t *id)
{
    int64_t found = qn_hash_map_get(&x->vocab->index, text, n_bytes);
    if (found == QN_HASH_NONE) found = qn_hash_map_get(&x->index, text, n_bytes);
    if (found != QN_HASH_NONE) {
        *id = (uint32_t)found;
        return true;
    }
    if (copy) {
        if (!qn_grow(&x->owned, &x->capacity, x->n_owned + 1, SIZE_MAX / 16, sizeof *x->owned)) return false;
        char *owned = qn_strndup(text, n_bytes);
        if (owned == NULL) return false;
        x->owned[x->n_owned++] = owned;
        text = owned;
    }
    *id = x->next_id++;
    return qn_hash_map_add(&x->index, text, n_bytes, *id, NULL);
}

static bool read_merge(bpe *b, extra_texts *x, qn_string merge, uint32_t rank, qn_buffer *joined)
{
    if (merge.n_bytes < 3 || merge.n_bytes > 2 * QN_TOKEN_MAX_BYTES) return true; /* useless */
    const char *blank = memchr(merge.bytes + 1, ' ', merge.n_bytes - 1);
    if (blank == NULL) return true;
    const size_t n_left = (size_t)(blank - merge.bytes), n_right = merge.n_bytes - n_left - 1;
    if (n_right == 0) return true;
    qn_buffer_clear(joined);
    qn_buffer_append(joined, merge.bytes, n_left);
    if (!qn_buffer_append(joined, blank + 1, n_right)) return false;
    uint32_t left, right, whole;
    if (!intern(x, merge.bytes, n_left, false, &left) || !intern(x, blank + 1, n_right, false, &right) ||
        !intern(x, joined->data, joined->n_bytes, true, &whole))
        return false;
    add_pair(b, left, right, (qn_pair){rank, whole});
    return true;
}

/* Symbols of the single bytes, by their visible character. A byte of which only an added or control
 * token bears the name has no token. */
static bool intern_bytes(bpe *b, extra_texts *x)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[4];
        const size_t n = qn_utf8_encode(byte_to_char(byte), text);
        if (!intern(x, text, n, true, &b->byte_symbols[byte])) return false;
        const uint32_t id = b->byte_symbols[byte];
        if (id >= x->vocab->n_tokens) continue;
        const uint8_t kind = x->vocab->kinds[id];
        if (kind == QN_TOKEN_CONTROL || kind == QN_TOKEN_USER_DEFINED) b->byte_symbols[byte] = x->next_id++;
    }
    return true;
}

static quern_status read_merges(bpe *b, const qn_vocab *v, const qn_gguf *g, bool byte_level,
                                quern_error *err)
{
    const qn_string *merges;
    size_t count;
    const quern_status s = qn_gguf_get_strings(g, "tokenizer.ggml.merges", true, &merges, &count, err);
    if (s != QUERN_OK) return s;
    if (count > UINT32_MAX / 8)
        return qn_fail(err, QUERN_ERR_FORMAT, "tokenizer.ggml.merges: %zu entries are too many", count);
    for (b->n_slots = 16; b->n_slots / 2 < count;) b->n_slots *= 2;
    b->slots = qn_malloc(b->n_slots * sizeof *b->slots);
    extra_texts x = {.vocab = v, .next_id = (uint32_t)v->n_tokens};
    qn_buffer joined = {0};
    bool ok = b->slots != NULL;
    for (size_t i = 0; ok && i < b->n_slots; i++) b->slots[i].left = QN_SYMBOL_NONE;
    b->seed = v->index.key;
    for (size_t i = 0; ok && i < count; i++) ok = read_merge(b, &x, merges[i], (uint32_t)i, &joined);
    if (ok && byte_level) ok = intern_bytes(b, &x);
    qn_buffer_deinit(&joined);
    extra_texts_deinit(&x);
    return ok ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "tokenizer merges (%zu): out of memory", count);
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
    return qn_pretokenizer_create(&b->pretokenizer, row, true, err);
}

static quern_status open_byte_level(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    bpe *b = v->kind_data = qn_calloc(1, sizeof *b);
    if (b == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "tokenizer: out of memory");
    const quern_status s = open_pretokenizer(b, v, g, log, err);
    return s != QUERN_OK ? s : read_merges(b, v, g, true, err);
}

static quern_status open_raw(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    (void)log;
    v->clean_spaces = true;
    bpe *b = v->kind_data = qn_calloc(1, sizeof *b);
    if (b == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "tokenizer: out of memory");
    return read_merges(b, v, g, false, err);
}

static void close_bpe(qn_vocab *v)
{
    bpe *b = v->kind_data;
    if (b == NULL) return;
    qn_pretokenizer_destroy(b->pretokenizer);
    qn_free(b->slots);
    qn_free(b);
}

/* ---- encoding, byte-level -------------------------------------------------------------------- */

/* The id of a whole word, or -1. */
static quern_token whole_word(const qn_vocab *v, const char *word, size_t n_bytes)
{
    char text[2 * 256]; /* longer tokens are found by merging */
    if (n_bytes > sizeof text / 2) return -1;
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++) n += qn_utf8_encode(byte_to_char((unsigned char)word[i]), text + n);
    return qn_vocab_plain_id(v, text, n);
}

/* What no token stands for is written byte by byte, or as the unknown token. */
static bool push_single_bytes(qn_encoder *e, const bpe *b, const char *bytes, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        const uint32_t id = b->byte_symbols[(unsigned char)bytes[i]];
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
        if (!qn_merger_add(m, b->byte_symbols[(unsigned char)word[i]], i, 1)) return false;
    if (!qn_merger_run(m, word, find_pair, b)) return false;
    for (size_t i = 0; i < m->n_symbols; i++) {
        const qn_symbol *s = &m->symbols[i];
        if (s->id < e->vocab->n_tokens ? !qn_encoder_push(e, (quern_token)s->id)
                                       : !push_single_bytes(e, b, word + s->start, s->n_bytes))
            return false;
    }
    return true;
}

static bool whole_or_merged(qn_encoder *e, const char *word, size_t n_bytes)
{
    const bpe *b = e->vocab->kind_data;
    const quern_token whole = b->ignore_merges ? whole_word(e->vocab, word, n_bytes) : -1;
    return whole >= 0 ? qn_encoder_push(e, whole) : merge_word(e, word, n_bytes);
}

static bool encode_word(void *user, const char *word, size_t n_bytes)
{
    qn_encoder *e = user;
    while (n_bytes > QN_WORD_MAX_BYTES) {
        if (!merge_word(e, word, QN_WORD_MAX_BYTES)) return false;
        word += QN_WORD_MAX_BYTES, n_bytes -= QN_WORD_MAX_BYTES;
    }
    return qn_encoder_word(e, word, n_bytes, 0, whole_or_merged);
}

static bool encode_byte_level(qn_encoder *e, const char *text, size_t n_bytes, bool at_start)
{
    (void)at_start;
    const bpe *b = e->vocab->kind_data;
    if (e->matcher == NULL) e->matcher = qn_pretokenizer_matcher_create(b->pretokenizer);
    if (e->matcher == NULL) return false;
    if (b->nfc && qn_normalize_may_change(text, n_bytes)) {
        qn_buffer_clear(&e->text);
        if (!qn_normalize_nfc(&e->text, text, n_bytes)) return false;
        text = e->text.data, n_bytes = e->text.n_bytes;
    }
    return qn_pretokenizer_split(b->pretokenizer, e->matcher, text, n_bytes, encode_word, e);
}

/* ---- encoding, raw UTF-8 --------------------------------------------------------------------- */

static bool merge_characters(qn_encoder *e, const char *word, size_t n_bytes)
{
    const qn_vocab *v = e->vocab;
    qn_merger *m = &e->merger;
    m->n_symbols = 0;
    for (size_t i = 0, n; i < n_bytes; i += n) {
        uint32_t c;
        n = qn_utf8_decode(word + i, n_bytes - i, &c);
        const quern_token id = n > 0 ? qn_vocab_plain_id(v, word + i, n) : -1;
        if (n == 0) n = 1;
        if (!qn_merger_add(m, id >= 0 ? (uint32_t)id : QN_SYMBOL_NONE - 1, i, n)) return false;
    }
    if (!qn_merger_run(m, word, find_pair, v->kind_data)) return false;
    for (size_t i = 0; i < m->n_symbols; i++) {
        const qn_symbol *s = &m->symbols[i];
        if (s->id < v->n_tokens ? !qn_encoder_push(e, (quern_token)s->id)
                                : !qn_encoder_push_bytes(e, word + s->start, s->n_bytes))
            return false;
    }
    return true;
}

/* e->text holds a stretch of text with U+2581 for blanks; it is emptied. */
static bool encode_stretch(qn_encoder *e)
{
    const bool ok =
        e->text.n_bytes == 0 || qn_encoder_word(e, e->text.data, e->text.n_bytes, 0, merge_characters);
    qn_buffer_clear(&e->text);
    return ok;
}

static bool encode_raw(qn_encoder *e, const char *text, size_t n_bytes, bool at_start)
{
    (void)at_start;
    qn_buffer_clear(&e->text);
    for (size_t i = 0; i < n_bytes; i++) {
        const bool line_end_changes = i > 0 && (text[i] == '\n') != (text[i - 1] == '\n');
        const bool within_character = ((unsigned char)text[i] & 0xc0) == 0x80;
        if (line_end_changes || (e->text.n_bytes >= QN_WORD_MAX_BYTES && !within_character)) {
            if (!encode_stretch(e)) return false;
        }
        if (text[i] == ' ' ? !qn_buffer_puts(&e->text, QN_META_SPACE) : !qn_buffer_putc(&e->text, text[i]))
            return false;
    }
    return encode_stretch(e);
}

const qn_vocab_kind qn_vocab_kind_bpe = {
    "gpt2", "bpe", open_byte_level, close_bpe, encode_byte_level, decode_byte_level};
const qn_vocab_kind qn_vocab_kind_bpe_raw = {"gemma4",  "bpe-raw",  open_raw,
                                             close_bpe, encode_raw, qn_decode_meta_space};
