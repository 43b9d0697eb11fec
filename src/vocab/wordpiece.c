/* wordpiece.c: the tokenizer of BERT (Devlin et al. 2018, arXiv:1810.04805), as the Hugging Face library
 * "tokenizers" defines it.
 *
 * Control characters go, accents go (canonical decomposition without nonspacing marks), letters become small
 * where the vocabulary is uncased. Blanks separate words; each punctuation mark and each CJK ideograph is a
 * word. A word becomes the longest token that it begins with, then the longest that follows, and so on; if
 * nothing follows, or a word has more than 100 characters, the whole word is unknown.
 *
 * In the file, tokens that begin a word have U+2581 in front; those that continue one stand bare. The library
 * knows Unicode 8: for characters that came later its words may be unknown where ours are not. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/utf8.h"
#include "vocab/trie.h"
#include "vocab/vocab_private.h"

#include <string.h>
#include <utf8proc.h>

enum { WORD_MAX_CHARACTERS = 100, MARK_BYTES = 3 /* of QN_META_SPACE */, REPLACEMENT = 0xfffd };

typedef struct wordpiece {
    bool uncased;
    uint8_t classes[256]; /* of bytes, ascii_class */
    qn_trie trie;         /* of the tokens that a word may become */
} wordpiece;

typedef enum ascii_class { REMOVED, BLANK, PUNCTUATION, ALPHANUMERIC, BEYOND } ascii_class;

static ascii_class class_of(uint8_t c)
{
    if (c >= 128) return BEYOND;
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') return BLANK;
    if (c < ' ' || c == 127) return REMOVED;
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    return alphanumeric ? ALPHANUMERIC : PUNCTUATION;
}

/* ---- opening ----------------------------------------------------------------------------------- */

/* The id that a key names, or else the text's, or -1. */
static quern_status find_id(const qn_vocab *v, const qn_gguf *g, const char *key, const char *text,
                            quern_token *id, const qn_log *log, quern_error *err)
{
    const int64_t known = qn_hash_map_get(&v->index, text, strlen(text));
    *id = known != QN_HASH_NONE ? (quern_token)known : -1;
    return qn_vocab_read_special_id(v, g, key, id, log, err);
}

static quern_status build_trie(const qn_vocab *v, qn_trie *trie, quern_error *err)
{
    qn_trie_entry *entries = qn_calloc(v->n_tokens, sizeof *entries);
    size_t n = 0;
    for (size_t i = 0; entries != NULL && i < v->n_tokens; i++)
        if (qn_vocab_is_plain(v, (quern_token)i))
            entries[n++] = (qn_trie_entry){v->tokens[i], (int32_t)i, 0.0f};
    const bool ok = entries != NULL && qn_trie_init(trie, entries, n);
    qn_free(entries);
    return ok ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "tokenizer: out of memory");
}

static quern_status open_wordpiece(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    wordpiece *w = v->kind_data = qn_calloc(1, sizeof *w);
    if (w == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "tokenizer: out of memory");
    w->uncased = true;
    for (unsigned byte = 0; byte < 256; byte++) w->classes[byte] = (uint8_t)class_of((uint8_t)byte);
    v->clean_spaces = true;
    v->special.add_bos = v->special.add_eos = true; /* the two ends of what BERT reads */
    quern_status s = qn_gguf_get_bool(g, "tokenizer.ggml.normalizer.lowercase", false, &w->uncased, err);
    if (s == QUERN_OK) s = find_id(v, g, "tokenizer.ggml.cls_token_id", "[CLS]", &v->special.bos, log, err);
    if (s == QUERN_OK)
        s = find_id(v, g, "tokenizer.ggml.seperator_token_id", "[SEP]", &v->special.eos, log, err);
    if (s == QUERN_OK)
        s = find_id(v, g, "tokenizer.ggml.unknown_token_id", "[UNK]", &v->special.unk, log, err);
    if (s == QUERN_OK) s = build_trie(v, &w->trie, err);
    return s;
}

static void close_wordpiece(qn_vocab *v)
{
    wordpiece *w = v->kind_data;
    if (w != NULL) qn_trie_deinit(&w->trie);
    qn_free(w);
}

/* ---- words ------------------------------------------------------------------------------------- */

/* The longest token that the text begins with, and its length; -1: none. What continues a word has no mark,
 * even where the text has that character there. */
static quern_token longest_token(const qn_trie *trie, const char *text, size_t n_bytes, bool continues,
                                 size_t *token_bytes)
{
    uint32_t longest = QN_TRIE_ROOT;
    if (continues && n_bytes >= MARK_BYTES && memcmp(text, QN_META_SPACE, MARK_BYTES) == 0) return -1;
    uint32_t node = QN_TRIE_ROOT;
    for (size_t i = 0; i < n_bytes; i++) {
        node = qn_trie_step(trie, node, (uint8_t)text[i]);
        if (node == QN_TRIE_NONE) break;
        if (trie->units[node].weight == 0.0f) longest = node, *token_bytes = i + 1;
    }
    return trie->values[longest];
}

/* The word has the mark in front. */
static bool split_word(qn_encoder *e, const char *word, size_t n_bytes)
{
    const wordpiece *w = e->vocab->kind_data;
    const quern_token unknown = e->vocab->special.unk;
    const size_t first = e->n_tokens;
    for (size_t at = 0, token_bytes = 0; at < n_bytes; at += token_bytes) {
        const quern_token id = longest_token(&w->trie, word + at, n_bytes - at, at > 0, &token_bytes);
        if (id < 0) {
            e->n_tokens = first;
            return unknown < 0 || qn_encoder_push(e, unknown);
        }
        if (!qn_encoder_push(e, id)) return false;
    }
    return true;
}

/* Encodes the word that was collected, if any, and begins a new one. */
static bool end_word(qn_encoder *e, size_t *n_characters)
{
    const quern_token unknown = e->vocab->special.unk;
    bool ok = true;
    if (*n_characters == 0) return true;
    if (*n_characters > WORD_MAX_CHARACTERS) ok = unknown < 0 || qn_encoder_push(e, unknown);
    else ok = split_word(e, e->text.data, e->text.n_bytes);
    *n_characters = 0;
    e->text.n_bytes = MARK_BYTES;
    return ok;
}

/* A word of more characters than are allowed need not be kept. */
static bool add_character(qn_encoder *e, const char *bytes, size_t n_bytes, size_t *n_characters)
{
    if (++*n_characters > WORD_MAX_CHARACTERS) return true;
    return qn_buffer_append(&e->text, bytes, n_bytes);
}

static bool add_alone(qn_encoder *e, const char *bytes, size_t n_bytes, size_t *n_characters)
{
    return end_word(e, n_characters) && add_character(e, bytes, n_bytes, n_characters) &&
           end_word(e, n_characters);
}

static bool is_punctuation(uint32_t c, int category)
{
    if (c < 128) return class_of((uint8_t)c) == PUNCTUATION;
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

/* The blocks that BERT's authors took for Chinese: CJK ideographs, their extensions A to E, and those for
 * compatibility. */
static bool is_ideograph(uint32_t c)
{
    static const uint32_t ranges[][2] = {{0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df},
                                         {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf},
                                         {0xf900, 0xfaff},   {0x2f800, 0x2fa1f}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
    return false;
}

static bool add_normalized(qn_encoder *e, uint32_t c, size_t *n_characters)
{
    const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    char bytes[4];
    if (category == UTF8PROC_CATEGORY_MN) return true;
    const size_t n = qn_utf8_encode((uint32_t)utf8proc_tolower((utf8proc_int32_t)c), bytes);
    return is_punctuation(c, (int)category) ? add_alone(e, bytes, n, n_characters)
                                            : add_character(e, bytes, n, n_characters);
}

/* Without accents and in small letters: what the character is made of, but for the marks. */
static bool add_decomposed(qn_encoder *e, uint32_t c, size_t *n_characters)
{
    utf8proc_int32_t parts[16];
    int boundary = 0;
    const utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)c, parts, 16, UTF8PROC_DECOMPOSE, &boundary);
    if (n < 1 || n > 16) return add_normalized(e, c, n_characters);
    for (utf8proc_ssize_t i = 0; i < n; i++)
        if (!add_normalized(e, (uint32_t)parts[i], n_characters)) return false;
    return true;
}

/* A character beyond ASCII. */
static bool add_wide(qn_encoder *e, uint32_t c, const char *bytes, size_t n_bytes, size_t *n_characters)
{
    const wordpiece *w = e->vocab->kind_data;
    const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    switch (category) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
        return true;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return end_word(e, n_characters);
    default:
        break;
    }
    if (c == REPLACEMENT) return true;
    const bool alone = is_ideograph(c) || (!w->uncased && is_punctuation(c, (int)category));
    if (alone && !end_word(e, n_characters)) return false;
    if (!(w->uncased ? add_decomposed(e, c, n_characters) : add_character(e, bytes, n_bytes, n_characters)))
        return false;
    return !alone || end_word(e, n_characters);
}

/* As many letters and digits as follow, at once. */
static bool add_run(qn_encoder *e, const char *text, size_t n_bytes, size_t *n_characters)
{
    const wordpiece *w = e->vocab->kind_data;
    const size_t kept =
        qn_min_size(n_bytes, WORD_MAX_CHARACTERS - qn_min_size(*n_characters, WORD_MAX_CHARACTERS));
    const size_t begin = e->text.n_bytes;
    *n_characters += n_bytes;
    if (!qn_buffer_append(&e->text, text, kept)) return false;
    for (size_t i = begin; w->uncased && i < e->text.n_bytes; i++) {
        char *c = &e->text.data[i];
        if (*c >= 'A' && *c <= 'Z') *c = (char)(*c | 0x20);
    }
    return true;
}

/* A part of the text that begins and ends with words. */
static bool encode_written(qn_encoder *e, const char *text, size_t n_bytes)
{
    const wordpiece *w = e->vocab->kind_data;
    size_t n_characters = 0;
    e->text.n_bytes = MARK_BYTES;
    for (size_t i = 0; i < n_bytes;) {
        uint32_t c;
        const size_t n = qn_utf8_decode(text + i, n_bytes - i, &c);
        bool ok = true;
        size_t used = n > 0 ? n : 1; /* an invalid byte counts as U+FFFD: it goes */
        if (n == 1) {
            const uint8_t class = w->classes[c];
            if (class == ALPHANUMERIC) {
                while (i + used < n_bytes && w->classes[(uint8_t)text[i + used]] == ALPHANUMERIC) used++;
                ok = add_run(e, text + i, used, &n_characters);
            } else if (class == PUNCTUATION) ok = add_alone(e, text + i, 1, &n_characters);
            else if (class == BLANK) ok = end_word(e, &n_characters);
        } else if (n > 1) {
            ok = add_wide(e, c, text + i, n, &n_characters);
        }
        if (!ok) return false;
        i += used;
    }
    return end_word(e, &n_characters);
}

/* Characters beyond ASCII that are a word by themselves, the frequent ones. */
static bool is_alone(uint32_t c)
{
    static const uint8_t full_width[] = {0x01, 0x08, 0x09, 0x0c, 0x0e, 0x1a, 0x1b, 0x1f}; /* U+FF01 ... */
    if (c < 0x3001) return false;
    if (c <= 0x3003 || (c >= 0x3008 && c <= 0x3011)) return true; /* marks and brackets */
    return is_ideograph(c) ||
           (c >= 0xff01 && c <= 0xff1f && memchr(full_width, (int)(c & 0xff), sizeof full_width));
}

/* How many bytes lie before the next blank, or mark or ideograph that is a word by itself; such a character
 * if the text begins with it. */
static size_t written_bytes(const wordpiece *w, const char *text, size_t n_bytes)
{
    for (size_t i = 0, n; i < n_bytes; i += n) {
        const uint8_t class = w->classes[(uint8_t)text[i]];
        uint32_t c;
        n = 1;
        if (class == BLANK || class == PUNCTUATION) return i > 0 ? i : 1;
        if (class != BEYOND || (n = qn_utf8_decode(text + i, n_bytes - i, &c)) == 0) {
            n = 1;
            continue;
        }
        if (is_alone(c)) return i > 0 ? i : n;
    }
    return n_bytes;
}

static bool encode_wordpiece(qn_encoder *e, const char *text, size_t n_bytes, bool at_start)
{
    (void)at_start;
    const wordpiece *w = e->vocab->kind_data;
    qn_buffer_clear(&e->text);
    if (!qn_buffer_append(&e->text, QN_META_SPACE, MARK_BYTES)) return false;
    for (size_t i = 0; i < n_bytes;) {
        const size_t n = written_bytes(w, text + i, n_bytes - i);
        if (w->classes[(uint8_t)text[i]] != BLANK &&
            !qn_encoder_word(e, text + i, n, 0, encode_written)) /* remembered as they are written */
            return false;
        i += n;
    }
    return true;
}

const qn_vocab_kind qn_vocab_kind_wordpiece = {"bert",          "wordpiece",      open_wordpiece,
                                               close_wordpiece, encode_wordpiece, qn_decode_meta_space};
