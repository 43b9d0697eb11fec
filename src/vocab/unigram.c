/* unigram.c: the tokenizer of SentencePiece's unigram models (Kudo 2018, arXiv:1804.10959), of T5 and XLM-R.
 *
 * The text is normalized by the file's character map, runs of blanks become one, and a U+2581 stands in front
 * of every word. Then, of all ways to cut it into tokens, the one with the greatest sum of scores (Viterbi
 * 1967); a character that no token covers is unknown, at ten less than the worst score, and unknown
 * neighbours are one token.
 *
 * Where no token has a U+2581 inside, no token crosses the beginning of a word: words are then encoded one by
 * one, and those seen before are remembered. New words are cut further, where no token holds both characters
 * (joins.h): every way to cut the text has a cut there. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/utf8.h"
#include "vocab/ascii.h"
#include "vocab/character_map.h"
#include "vocab/trie.h"
#include "vocab/vocab_private.h"

#include <math.h>
#include <string.h>

enum {
    MARK_BYTES = 3,        /* of QN_META_SPACE */
    TOKEN_MAX_BYTES = 256, /* longer ones are not matched, so that the work per byte is bounded */
};
static const double UNKNOWN_PENALTY = 10.0;

typedef struct unigram {
    qn_character_map map;
    qn_trie trie; /* weights are the scores */
    double unknown_score;
    qn_joins joins;
    bool merges_blanks, marks_at_end, word_by_word;
    bool separates[256]; /* bytes that are blanks whatever is beside them: words between them stand alone */
} unigram;

/* ---- opening ----------------------------------------------------------------------------------- */

static quern_status find_scores(const qn_vocab *v, const qn_gguf *g, const qn_gguf_value **scores,
                                quern_error *err)
{
    *scores = qn_gguf_find(g, "tokenizer.ggml.scores");
    if (*scores != NULL && (*scores)->kind == QN_GGUF_ARRAY &&
        qn_gguf_kind_is_float((*scores)->element_kind) && (*scores)->count >= v->n_tokens)
        return QUERN_OK;
    return qn_fail(err, QUERN_ERR_FORMAT, "tokenizer.ggml.scores: must be an array of %zu floats",
                   v->n_tokens);
}

static float score_of(const qn_vocab *v, const qn_gguf_value *scores, size_t i)
{
    const float score = (float)qn_gguf_element_float(scores, i);
    return v->kinds[i] == QN_TOKEN_USER_DEFINED ? 0.0f : isfinite(score) ? score : -1e9f;
}

static bool has_mark_inside(qn_string text)
{
    for (size_t i = 1; i + MARK_BYTES <= text.n_bytes; i++)
        if (memcmp(text.bytes + i, QN_META_SPACE, MARK_BYTES) == 0) return true;
    return false;
}

static quern_status build_trie(const qn_vocab *v, unigram *u, const qn_gguf_value *scores, quern_error *err)
{
    double least = 0.0;
    qn_trie_entry *entries = qn_calloc(v->n_tokens, sizeof *entries);
    if (entries == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "tokenizer: out of memory");
    size_t n = 0, n_bytes = 0;
    u->word_by_word = !u->marks_at_end && qn_vocab_plain_id(v, QN_META_SPACE, MARK_BYTES) >= 0;
    for (size_t i = 0; i < v->n_tokens; i++) {
        const float score = score_of(v, scores, i);
        if (v->kinds[i] == QN_TOKEN_NORMAL && score < least) least = score;
        if (!qn_vocab_is_plain(v, (quern_token)i) || v->tokens[i].n_bytes > TOKEN_MAX_BYTES) continue;
        entries[n++] = (qn_trie_entry){v->tokens[i], (int32_t)i, score};
        n_bytes += v->tokens[i].n_bytes;
        if (has_mark_inside(v->tokens[i])) u->word_by_word = false;
    }
    u->unknown_score = least - UNKNOWN_PENALTY;
    const bool ok = qn_joins_init(&u->joins, n_bytes, false) && qn_trie_init(&u->trie, entries, n);
    for (size_t i = 0; ok && i < n; i++)
        qn_joins_add(&u->joins, entries[i].text.bytes, entries[i].text.n_bytes);
    qn_free(entries);
    return ok ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "tokenizer: out of memory");
}

static quern_status read_map(unigram *u, const qn_gguf *g, quern_error *err)
{
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    const qn_gguf_value *map = qn_gguf_find(g, key);
    if (map == NULL) return qn_character_map_init(&u->map, NULL, 0, err);
    if (map->kind != QN_GGUF_ARRAY || (map->element_kind != QN_GGUF_I8 && map->element_kind != QN_GGUF_U8))
        return qn_fail(err, QUERN_ERR_FORMAT, "%s: must be an array of bytes", key);
    return qn_character_map_init(&u->map, map->data, map->n_bytes, err);
}

static void find_separators(unigram *u)
{
    static const char blanks[] = " \n\t";
    for (const char *b = blanks; *b != '\0'; b++) {
        const char *replacement = b;
        const size_t n = qn_character_map_find(&u->map, b, 1, &replacement);
        const bool is_blank = n == 0 ? *b == ' ' : strcmp(replacement, " ") == 0;
        u->separates[(uint8_t)*b] = is_blank && qn_character_map_is_apart(&u->map, (uint8_t)*b);
    }
}

static quern_status open_unigram(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    (void)log;
    const qn_gguf_value *scores = NULL;
    unigram *u = v->kind_data = qn_calloc(1, sizeof *u);
    if (u == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "tokenizer: out of memory");
    if (v->n_tokens > 2)
        v->special.eos = 1, v->special.unk = 2; /* T5's own order; the file's keys go over it */
    v->special.add_eos = true;
    v->special.add_space_prefix = true;
    quern_status s =
        qn_gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces", false, &u->merges_blanks, err);
    if (s == QUERN_OK)
        s = qn_gguf_get_bool(g, "tokenizer.ggml.treat_whitespace_as_suffix", false, &u->marks_at_end, err);
    if (s == QUERN_OK) s = read_map(u, g, err);
    if (s == QUERN_OK) s = find_scores(v, g, &scores, err);
    if (s == QUERN_OK) s = build_trie(v, u, scores, err);
    if (s == QUERN_OK && u->word_by_word && u->merges_blanks) find_separators(u);
    return s;
}

static void close_unigram(qn_vocab *v)
{
    unigram *u = v->kind_data;
    if (u == NULL) return;
    qn_trie_deinit(&u->trie);
    qn_joins_deinit(&u->joins);
    qn_free(u);
}

/* ---- the best cut ------------------------------------------------------------------------------ */

/* Follows the tokens that begin at `begin` from a node on, up to `end`, and notes the ways that are better.
 */
static inline uint32_t follow_tokens(const qn_trie *t, qn_lattice_place *best, const char *text, size_t begin,
                                     size_t *at, size_t end, uint32_t node)
{
    const double so_far = best[begin].score;
    while (*at < end) {
        node = qn_trie_step(t, node, (uint8_t)text[*at]);
        if (node == QN_TRIE_NONE) break;
        ++*at;
        const double score = so_far + (double)t->units[node].weight; /* -INFINITY where no token ends */
        if (score > best[*at].score) best[*at] = (qn_lattice_place){score, (uint32_t)begin, node};
    }
    return node;
}

enum { UNKNOWN = QN_TRIE_ROOT /* what no node stands for */ };

/* The best way to reach each byte of the stretch. False: no memory. */
static bool search(qn_encoder *e, const char *text, size_t n_bytes)
{
    const unigram *u = e->vocab->kind_data;
    const qn_trie *t = &u->trie;
    if (!qn_grow(&e->places, &e->place_capacity, n_bytes + 1, SIZE_MAX / sizeof *e->places,
                 sizeof *e->places))
        return false;
    qn_lattice_place *best = e->places;
    best[0].score = 0.0;
    for (size_t i = 1; i <= n_bytes; i++) best[i].score = -INFINITY;
    for (size_t i = 0, end; i < n_bytes; i = end) {
        uint32_t c;
        size_t at = i;
        end = i + qn_max_size(1, qn_utf8_decode(text + i, n_bytes - i, &c));
        const uint32_t node = follow_tokens(t, best, text, i, &at, end, QN_TRIE_ROOT);
        const double unknown = best[i].score + u->unknown_score;
        if ((node == QN_TRIE_NONE || isinf(t->units[node].weight)) && unknown > best[end].score)
            best[end] = (qn_lattice_place){unknown, (uint32_t)i, UNKNOWN};
        if (node != QN_TRIE_NONE) follow_tokens(t, best, text, i, &at, n_bytes, node);
    }
    return true;
}

/* Pushes the tokens of the best way, which is found from its end. */
static bool push_best(qn_encoder *e, size_t n_bytes)
{
    const unigram *u = e->vocab->kind_data;
    const quern_token unknown = e->vocab->special.unk;
    const size_t first = e->n_tokens;
    bool after_unknown = false;
    for (size_t at = n_bytes; at > 0; at = e->places[at].begin) {
        const uint32_t node = e->places[at].node;
        const quern_token id = node == UNKNOWN ? unknown : u->trie.values[node];
        const bool is_unknown = id == unknown;
        if (id >= 0 && !(is_unknown && after_unknown) && !qn_encoder_push(e, id)) return false;
        after_unknown = is_unknown;
    }
    for (size_t a = first, b = e->n_tokens; a + 1 < b; a++) {
        const quern_token swapped = e->tokens[a];
        e->tokens[a] = e->tokens[--b];
        e->tokens[b] = swapped;
    }
    return true;
}

static bool cut_best(qn_encoder *e, const char *text, size_t n_bytes)
{
    return search(e, text, n_bytes) && push_best(e, n_bytes);
}

/* What follows something unknown: an unknown beginning belongs to it. */
static bool cut_best_after_unknown(qn_encoder *e, const char *text, size_t n_bytes)
{
    const size_t first = e->n_tokens;
    if (!cut_best(e, text, n_bytes)) return false;
    if (e->n_tokens == first || e->tokens[first] != e->vocab->special.unk) return true;
    e->n_tokens--;
    memmove(&e->tokens[first], &e->tokens[first + 1], (e->n_tokens - first) * sizeof *e->tokens);
    return true;
}

/* The part has a U+2581 in front that is not written. */
static bool cut_best_marked(qn_encoder *e, const char *text, size_t n_bytes)
{
    qn_buffer_clear(&e->text);
    const bool ok =
        qn_buffer_append(&e->text, QN_META_SPACE, MARK_BYTES) && qn_buffer_append(&e->text, text, n_bytes);
    return ok && cut_best(e, e->text.data, e->text.n_bytes);
}

/* What is remembered: words as they are written, and parts of them as they are normalized. */
enum { WRITTEN, PART, PART_AFTER_UNKNOWN, PART_MARKED };

/* marked: the part has a U+2581 in front that is not written. */
static bool encode_part(qn_encoder *e, const char *part, size_t n_bytes, bool marked, bool *after_unknown)
{
    const quern_token unknown = e->vocab->special.unk;
    const size_t first = e->n_tokens;
    if (marked && n_bytes == 0) { /* it stands alone */
        part = QN_META_SPACE;
        n_bytes = MARK_BYTES;
        marked = false;
    }
    const bool ok = marked ? qn_encoder_word(e, part, n_bytes, PART_MARKED, cut_best_marked)
                    : *after_unknown
                        ? qn_encoder_word(e, part, n_bytes, PART_AFTER_UNKNOWN, cut_best_after_unknown)
                        : qn_encoder_word(e, part, n_bytes, PART, cut_best);
    if (ok && e->n_tokens > first) *after_unknown = unknown >= 0 && e->tokens[e->n_tokens - 1] == unknown;
    return ok;
}

/* Cut where no token crosses, each part for itself. marked: there is a U+2581 in front that is not written;
 * the text must then not lie in e->text. */
static bool cut_parts(qn_encoder *e, const char *text, size_t n_bytes, bool marked)
{
    const qn_joins *j = &((const unigram *)e->vocab->kind_data)->joins;
    const qn_character first =
        marked ? qn_joins_character(j, QN_META_SPACE, MARK_BYTES) : qn_joins_character(j, text, n_bytes);
    bool after_unknown = false;
    uint32_t left = first.code;
    uint8_t left_last = first.last;
    size_t begin = 0;
    for (size_t i = marked ? 0 : first.n_bytes, n; i < n_bytes; i += n) {
        uint32_t right;
        n = qn_utf8_decode(text + i, n_bytes - i, &right);
        if (n == 0) n = 1, right = QN_LOOSE_BYTE + (uint8_t)text[i];
        if (!qn_joins_codes(j, left, left_last, right, (uint8_t)text[i])) {
            if (!encode_part(e, text + begin, i - begin, marked, &after_unknown)) return false;
            begin = i;
            marked = false;
        }
        left = right;
        left_last = (uint8_t)text[i + n - 1];
    }
    return encode_part(e, text + begin, n_bytes - begin, marked, &after_unknown);
}

/* Encodes what lies in e->text and empties it. */
static bool encode_stretch(qn_encoder *e)
{
    const bool ok = e->text.n_bytes == 0 || cut_parts(e, e->text.data, e->text.n_bytes, false);
    qn_buffer_clear(&e->text);
    return ok;
}

/* ---- normalizing ------------------------------------------------------------------------------- */

static bool put_mark(qn_encoder *e)
{
    const unigram *u = e->vocab->kind_data;
    const bool ends = (u->word_by_word && e->text.n_bytes > 0) || e->text.n_bytes >= QN_WORD_MAX_BYTES;
    return (!ends || encode_stretch(e)) && qn_buffer_append(&e->text, QN_META_SPACE, MARK_BYTES);
}

/* A normalized piece; *in_word: the last byte was no blank; *is_marked: a mark was put already. */
static bool put_piece(qn_encoder *e, const char *piece, size_t n_bytes, bool *in_word, bool *is_marked)
{
    const unigram *u = e->vocab->kind_data;
    for (size_t i = 0; i < n_bytes;) {
        if (piece[i] == ' ') {
            *in_word = false;
            if (!u->merges_blanks && !put_mark(e)) return false;
            i++;
            continue;
        }
        const bool begins = !*in_word;
        if (begins &&
            (u->merges_blanks || (e->vocab->special.add_space_prefix && !u->marks_at_end && !*is_marked))) {
            if (!put_mark(e)) return false;
            *is_marked = true;
        }
        *in_word = true;
        size_t n = 1;
        while (i + n < n_bytes && piece[i + n] != ' ') n++;
        if (!qn_buffer_append(&e->text, piece + i, n)) return false;
        i += n;
    }
    return true;
}

/* How many bytes may be taken at once: of characters that stand for themselves, until the word, with the mark
 * that may be put before it, is as long as it may become. */
static size_t kept_bytes(const qn_encoder *e, const char *text, size_t n_bytes, bool in_word)
{
    const unigram *u = e->vocab->kind_data;
    const size_t taken = e->text.n_bytes + (in_word ? 0 : MARK_BYTES);
    const size_t room = QN_WORD_MAX_BYTES - qn_min_size(taken, QN_WORD_MAX_BYTES);
    const size_t n = qn_character_map_kept(&u->map, text, qn_min_size(n_bytes, room));
    const bool last_depends = n > 0 && n == room && n < n_bytes && (uint8_t)text[n - 1] < 0x80;
    return last_depends && (uint8_t)text[n] >= 0x80 ? n - 1 : n; /* what follows was not seen */
}

static bool encode_normalized(qn_encoder *e, const char *text, size_t n_bytes)
{
    const unigram *u = e->vocab->kind_data;
    bool in_word = false, is_marked = false;
    qn_buffer_clear(&e->text);
    for (size_t i = 0; i < n_bytes;) {
        const char *piece = text + i;
        size_t used = kept_bytes(e, text + i, n_bytes - i, in_word), n = used;
        if (used == 0) {
            uint32_t c;
            used = qn_character_map_find(&u->map, text + i, n_bytes - i, &piece);
            if (used > 0) n = strlen(piece);
            else if ((used = n = qn_utf8_decode(text + i, n_bytes - i, &c)) == 0) {
                piece = "\xef\xbf\xbd"; /* U+FFFD for a byte that is no character */
                used = 1, n = 3;
            }
        }
        if (e->text.n_bytes >= QN_WORD_MAX_BYTES && !encode_stretch(e)) return false;
        if (!put_piece(e, piece, n, &in_word, &is_marked)) return false;
        i += used;
    }
    if (u->marks_at_end && e->vocab->special.add_space_prefix && !put_mark(e)) return false;
    return encode_stretch(e);
}

/* What stands between two separators. Mostly it is a word that its mark alone is missing from. */
static bool encode_written(qn_encoder *e, const char *text, size_t n_bytes)
{
    const unigram *u = e->vocab->kind_data;
    const bool is_word =
        n_bytes < QN_WORD_MAX_BYTES / 2 && qn_character_map_kept(&u->map, text, n_bytes) == n_bytes;
    return is_word ? cut_parts(e, text, n_bytes, true) : encode_normalized(e, text, n_bytes);
}

/* How many bytes come before the next separator. All separators are blanks or control characters of ASCII. */
static size_t written_bytes(const unigram *u, const char *text, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        if (i + QN_ASCII_STEP <= n_bytes && (i += qn_ascii_above_blank(text + i)) == n_bytes) break;
        if (u->separates[(uint8_t)text[i]]) return i;
    }
    return n_bytes;
}

static bool encode_unigram(qn_encoder *e, const char *text, size_t n_bytes, bool at_start)
{
    const unigram *u = e->vocab->kind_data;
    (void)at_start;
    if (!u->separates[' ']) return encode_normalized(e, text, n_bytes);
    for (size_t i = 0; i < n_bytes;) {
        const size_t n = written_bytes(u, text + i, n_bytes - i);
        if (n > 0 && !qn_encoder_word(e, text + i, n, WRITTEN, encode_written)) return false;
        i += n + 1;
    }
    return true;
}

const qn_vocab_kind qn_vocab_kind_unigram = {"t5",          "unigram",      open_unigram,
                                             close_unigram, encode_unigram, qn_decode_meta_space};
