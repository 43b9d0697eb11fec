/* character_map.h: SentencePiece's precompiled normalizer: what the longest known beginning of a text is
 * replaced by.
 *
 * In the file: the size of a double array in bytes, the array, then the replacements, each ended by a NUL.
 * The array is that of Darts (Aoe 1989, "An efficient digital search algorithm by using a double-array
 * structure"; the layout of its units is that of Darts-clone). Nothing in it is believed: every step is
 * checked against its size. */
#ifndef QN_VOCAB_CHARACTER_MAP_H
#define QN_VOCAB_CHARACTER_MAP_H

#include "base/error.h"
#include "base/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QN_CHARACTER_MAP_KEPT = 0x10000 /* characters of which it is known whether they stay */ };

typedef struct qn_character_map { /* zeroed: valid, and without any replacement */
    const uint8_t *units;         /* [n_units] of 4 bytes, little-endian; borrowed from the file */
    size_t n_units;
    const char *texts; /* [n_text_bytes] ends with a NUL */
    size_t n_text_bytes;
    uint8_t begins[256]; /* whether a byte begins any */
    /* Bit per character that stands for itself: one of ASCII before others of ASCII, others before anything.
     * A blank is none: normalizers treat it in their own way. */
    uint64_t kept[QN_CHARACTER_MAP_KEPT / 64];
} qn_character_map;

/* bytes: the file's value, which must outlive the map; none: nothing is replaced. */
quern_status qn_character_map_init(qn_character_map *m, const char *bytes, size_t n_bytes, quern_error *err);

/* How many bytes the longest known beginning has; *replacement is what stands for it. 0: none. */
size_t qn_character_map_find(const qn_character_map *m, const char *text, size_t n_bytes,
                             const char **replacement);

/* Whether the byte is in no beginning that is replaced, or is one by itself and in no other. */
bool qn_character_map_is_apart(const qn_character_map *m, uint8_t byte);

/* How many bytes have the characters that the text begins with and that stand for themselves. */
static inline size_t qn_character_map_kept(const qn_character_map *m, const char *text, size_t n_bytes)
{
    size_t i = 0;
    for (size_t n; i < n_bytes; i += n) {
        uint32_t c;
        n = qn_utf8_decode(text + i, n_bytes - i, &c);
        if (n == 0 || c >= QN_CHARACTER_MAP_KEPT || !(m->kept[c / 64] >> c % 64 & 1)) return i;
        if (n == 1 && i + 1 < n_bytes && (uint8_t)text[i + 1] >= 0x80) return i;
    }
    return i;
}

#endif
