/* merges.h: the list of merges of byte-pair encoding, as a table from (left id, right id) to (rank, merged
 * id).
 *
 * Merging works on ids alone. A text that occurs in merges but is no token gets an id past the tokens. Merges
 * of two single bytes, which are half of all look-ups, have a table of their own without probing. */
#ifndef QN_VOCAB_MERGES_H
#define QN_VOCAB_MERGES_H

#include "vocab/joins.h"
#include "vocab/vocab_private.h"

typedef struct qn_merge_slot {
    uint32_t left_plus_one; /* 0: empty */
    uint32_t right;
    qn_pair pair;
} qn_merge_slot;

typedef struct qn_merges { /* zeroed: valid to deinit */
    qn_merge_slot *slots;
    size_t n_slots;             /* a power of two */
    uint64_t seed;              /* so that a file cannot aim at collisions */
    uint32_t byte_symbols[256]; /* byte-level: the ids of the single bytes; those past the tokens are none */
    qn_pair *byte_pairs;        /* byte-level: [256][256] */
    qn_joins joins;             /* of all that merges make and all tokens; byte-level: not between ASCII */
} qn_merges;

quern_status qn_merges_read(qn_merges *m, const qn_vocab *v, const qn_gguf *g, bool byte_level,
                            quern_error *err);
void qn_merges_deinit(qn_merges *m);

/* Both are a qn_pair_fn, user is the table. The second wants ids that began with single bytes of the word. */
qn_pair qn_merges_find(const void *user, const char *word, const qn_symbol *left, const qn_symbol *right);
qn_pair qn_merges_find_bytes(const void *user, const char *word, const qn_symbol *left,
                             const qn_symbol *right);

#endif
