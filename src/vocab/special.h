/* special.h: finds the texts of special tokens in a text: control tokens, and the user-defined tokens
 * that a vocabulary added after training. At each place the longest wins, and the first place wins.
 *
 * The texts are sorted; a search narrows the range of those that still fit byte by byte. A bitmap over
 * the first two bytes lets ordinary text pass at about one look-up a byte; where all begin with the same
 * byte, as often, that byte is searched for. */
#ifndef QN_VOCAB_SPECIAL_H
#define QN_VOCAB_SPECIAL_H

#include "vocab/vocab.h"

/* Longer texts are not looked for, so that the work per byte is bounded. */
enum { QN_SPECIAL_MAX_BYTES = 256 };

typedef struct qn_special_entry {
    qn_string text;
    quern_token id;
    bool needs_parsing; /* matched only when control tokens are parsed */
} qn_special_entry;

typedef struct qn_special_matcher { /* zeroed: valid and empty */
    qn_special_entry *entries;      /* sorted by text */
    size_t n_entries;
    uint32_t first[257];     /* entries that begin with byte b: [first[b], first[b + 1]) */
    uint8_t starts[2][8192]; /* two-byte beginnings: of user-defined tokens, of all */
    uint8_t single[2][256];  /* one-byte tokens, for the last byte of a text */
    int n_first_bytes[2];    /* how many bytes may begin one */
    uint8_t only_first[2];   /* where it is one byte */
} qn_special_matcher;

/* Collects the special tokens of v (whose kinds are known). False: no memory. */
bool qn_special_matcher_init(qn_special_matcher *m, const qn_vocab *v);
void qn_special_matcher_deinit(qn_special_matcher *m);

/* The first special token at or after `from`. Returns its id and sets *at and *n_bytes; -1: none. */
quern_token qn_special_find(const qn_special_matcher *m, const char *text, size_t n_bytes, size_t from,
                            bool parse_special, size_t *at, size_t *token_bytes);

#endif
