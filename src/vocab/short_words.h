/* short_words.h: the tokens of a byte-level vocabulary that stand for up to eight bytes, by these bytes: most
 * words of a text are found with one look into memory.
 *
 * The vocabulary's own index would need the word rewritten in the alphabet of bytes, and reads the token's
 * text and kind after its slot. Longer words are left to it. */
#ifndef QN_VOCAB_SHORT_WORDS_H
#define QN_VOCAB_SHORT_WORDS_H

#include "vocab/vocab_private.h"

typedef struct qn_short_word {
    uint64_t key;     /* of qn_word_short_key: with n_bytes it tells words apart */
    uint32_t n_bytes; /* 0: empty */
    quern_token id;   /* -1: text may not become the token */
} qn_short_word;

typedef struct qn_short_words { /* zeroed: valid, and knows no word */
    qn_short_word *slots;
    size_t n_slots;
    uint64_t seed; /* so that a file cannot aim at collisions */
} qn_short_words;

bool qn_short_words_init(qn_short_words *w, const qn_vocab *v); /* false: no memory */
void qn_short_words_deinit(qn_short_words *w);
/* The id of a word of 1 to 8 bytes that ordinary text may become, or -1. */
quern_token qn_short_words_find(const qn_short_words *w, const char *word, size_t n_bytes);

#endif
