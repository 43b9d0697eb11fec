/* joins.c: see joins.h. */
#include "vocab/joins.h"

#include "base/alloc.h"

enum { LEAST_BITS = 1 << 12, MOST_BITS = 1 << 23 };

bool qn_joins_init(qn_joins *j, size_t text_bytes, bool has_meta_space)
{
    memset(j, 0, sizeof *j);
    size_t n_bits = LEAST_BITS;
    while (n_bits < MOST_BITS && n_bits < 2 * text_bytes) n_bits *= 2;
    j->bits = qn_calloc(n_bits / 64, sizeof *j->bits);
    if (j->bits == NULL) return false;
    j->n_bits = n_bits;
    j->has_meta_space = has_meta_space;
    return true;
}

void qn_joins_deinit(qn_joins *j)
{
    qn_free(j->bits);
    memset(j, 0, sizeof *j);
}

static void add_pair(qn_joins *j, qn_character left, qn_character right)
{
    j->has_loose |= left.code >= QN_LOOSE_BYTE || right.code >= QN_LOOSE_BYTE;
    if (left.code >= QN_LOOSE_BYTE) {
        j->loose[left.last * 32 + right.first / 8] |= (uint8_t)(1u << right.first % 8);
    } else if (right.code >= QN_LOOSE_BYTE) {
        const size_t bit = qn_joins_cut_bit(left.code, right.first);
        j->cut[bit / 8] |= (uint8_t)(1u << bit % 8);
    } else if ((left.code | right.code) < 128) {
        j->ascii[left.code][right.code / 64] |= (uint64_t)1 << right.code % 64;
    } else {
        const size_t bit = qn_joins_bit(j, left.code, right.code);
        j->bits[bit / 64] |= (uint64_t)1 << bit % 64;
    }
}

void qn_joins_add(qn_joins *j, const char *text, size_t n_bytes)
{
    if (n_bytes < 2) return;
    qn_character left = qn_joins_character(j, text, n_bytes);
    for (size_t i = left.n_bytes; i < n_bytes;) {
        const qn_character right = qn_joins_character(j, text + i, n_bytes - i);
        add_pair(j, left, right);
        i += right.n_bytes;
        left = right;
    }
}
