/* joins.h: which characters stand side by side inside some token.
 *
 * Merging and searching both put together what a token's text holds in one piece. Where no token has the two
 * characters at a place of the text as neighbours, no token crosses that place: the text can be cut there,
 * and the parts have the ids that they have in the whole. Short parts repeat, so they are looked up.
 *
 * Pairs of ASCII have an exact bitmap; the others share a table of bits, whose size follows the number of
 * pairs, so that it answers yes wrongly for about one pair in ten, which costs time only. Tokens of
 * byte-level vocabularies may begin or end within a character: their loose bytes count as characters of their
 * own, and each character is looked for as its first and its last byte as well. Where U+2581 stands for a
 * blank, it is one. */
#ifndef QN_VOCAB_JOINS_H
#define QN_VOCAB_JOINS_H

#include "base/utf8.h"

#include <string.h>

enum { QN_LOOSE_BYTE = 0x110000 /* + the byte */, QN_META_SPACE_CHARACTER = 0x2581 };

typedef struct qn_character {
    uint32_t code; /* code point, or QN_LOOSE_BYTE + byte */
    uint8_t n_bytes, first, last;
} qn_character;

typedef struct qn_joins {
    uint64_t ascii[128][2];
    uint8_t loose[65536 / 8]; /* bit (last byte of a loose left << 8 | first byte of the right) */
    uint8_t cut[65536 / 8];   /* bit (hash of left and a loose byte at the right) */
    uint64_t *bits;           /* [n_bits / 64] */
    size_t n_bits;            /* a power of two */
    bool has_loose;           /* some text begins or ends within a character */
    bool has_meta_space;      /* U+2581 counts as a blank */
} qn_joins;

/* text_bytes: of the texts that will be added. False: no memory. */
bool qn_joins_init(qn_joins *j, size_t text_bytes, bool has_meta_space);
void qn_joins_deinit(qn_joins *j); /* zeroed is fine */
void qn_joins_add(qn_joins *j, const char *text, size_t n_bytes);

/* The character that the text begins with; n_bytes > 0. */
static inline qn_character qn_joins_character(const qn_joins *j, const char *text, size_t n_bytes)
{
    const uint8_t first = (uint8_t)text[0];
    if (first < 0x80) return (qn_character){first, 1, first, first};
    uint32_t code;
    const size_t n = qn_utf8_decode(text, n_bytes, &code);
    if (n == 0) return (qn_character){QN_LOOSE_BYTE + first, 1, first, first};
    if (code == QN_META_SPACE_CHARACTER && j->has_meta_space) return (qn_character){' ', 3, ' ', ' '};
    return (qn_character){code, (uint8_t)n, first, (uint8_t)text[n - 1]};
}

static inline size_t qn_joins_bit(const qn_joins *j, uint32_t left, uint32_t right)
{
    const uint64_t product = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    return (size_t)(product >> 32) & (j->n_bits - 1);
}

static inline size_t qn_joins_cut_bit(uint32_t left, uint8_t right)
{
    return ((left * 0x9e3779b1u) >> 16) ^ (size_t)right << 8;
}

static inline bool qn_joins_ascii(const qn_joins *j, unsigned left, unsigned right)
{
    return j->ascii[left][right / 64] >> right % 64 & 1;
}

/* Whether a token that begins or ends within a character may hold the two as neighbours: the left one with
 * its last byte, the right one with its first. */
static inline bool qn_joins_loosely(const qn_joins *j, uint32_t left, uint8_t left_last, uint8_t right_first)
{
    const size_t cut = qn_joins_cut_bit(left, right_first);
    return (j->cut[cut / 8] >> cut % 8 & 1) ||
           (j->loose[left_last * 32 + right_first / 8] >> right_first % 8 & 1);
}

/* Whether a token may hold two characters as neighbours, given by their codes, the last byte of the left one
 * and the first of the right one. */
static inline bool qn_joins_codes(const qn_joins *j, uint32_t left, uint8_t left_last, uint32_t right,
                                  uint8_t right_first)
{
    if ((left | right) < 128) return qn_joins_ascii(j, left, right);
    const size_t bit = qn_joins_bit(j, left, right);
    return (j->bits[bit / 64] >> bit % 64 & 1) ||
           (j->has_loose && qn_joins_loosely(j, left, left_last, right_first));
}

static inline bool qn_joins_may(const qn_joins *j, qn_character left, qn_character right)
{
    return qn_joins_codes(j, left.code, left.last, right.code, right.first);
}

#endif
