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

#include <stddef.h>
#include <stdint.h>

typedef struct qn_character_map { /* zeroed: valid, and without any replacement */
    const uint8_t *units;         /* [n_units] of 4 bytes, little-endian; borrowed from the file */
    size_t n_units;
    const char *texts; /* [n_text_bytes] ends with a NUL */
    size_t n_text_bytes;
    uint8_t begins[256]; /* whether a byte begins any */
} qn_character_map;

/* bytes: the file's value, which must outlive the map. */
quern_status qn_character_map_init(qn_character_map *m, const char *bytes, size_t n_bytes, quern_error *err);

/* How many bytes the longest known beginning has; *replacement is what stands for it. 0: none. */
size_t qn_character_map_find(const qn_character_map *m, const char *text, size_t n_bytes,
                             const char **replacement);

/* Whether the byte is in no beginning that is replaced, or is one by itself and in no other. */
bool qn_character_map_is_apart(const qn_character_map *m, uint8_t byte);

#endif
