/* word_memory.h: words that were seen before in a text, and the ids they became.
 *
 * A table of pairs of slots, each pair one cache line: a word goes to the first of its pair and pushes what
 * was there to the second, so of the words that meet in a pair the two latest stay. It grows with the text,
 * up to half a megabyte. Words of up to 24 bytes are kept in 24 bytes of key, loaded without a loop. */
#ifndef QN_VOCAB_WORD_MEMORY_H
#define QN_VOCAB_WORD_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { QN_WORD_MEMORY_BYTES = 24 /* longer words are not remembered */ };

typedef struct qn_word_slot {
    uint64_t key[3];
    uint32_t token;    /* of one token its id, else where the ids lie in the output */
    uint16_t n_tokens; /* at most a few for each byte */
    uint8_t n_bytes;   /* 0: empty */
    uint8_t variant;   /* of the kind; ids of one word may differ between variants */
} qn_word_slot;
_Static_assert(sizeof(qn_word_slot) == 32, "two in a cache line");

typedef struct qn_word_memory { /* zeroed: valid, and remembers nothing */
    qn_word_slot *slots;        /* [n_pairs][2] */
    size_t n_pairs;             /* a power of two, or 0 */
} qn_word_memory;

bool qn_word_memory_init(qn_word_memory *m, size_t text_bytes); /* false: no memory */
void qn_word_memory_deinit(qn_word_memory *m);
void qn_word_memory_add(qn_word_memory *m, const char *word, size_t n_bytes, uint8_t variant, uint32_t token,
                        size_t n_tokens);

static inline uint64_t qn_word_load(const char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Words of the same length have the same key only if they are equal. n_bytes is 1 to 8. */
static inline uint64_t qn_word_short_key(const char *word, size_t n_bytes)
{
    if (n_bytes == 8) return qn_word_load(word);
    if (n_bytes >= 4) {
        uint32_t begin, end;
        memcpy(&begin, word, 4);
        memcpy(&end, word + n_bytes - 4, 4);
        return (uint64_t)end << 32 | begin;
    }
    const unsigned char *b = (const unsigned char *)word;
    return (uint64_t)b[n_bytes - 1] << 16 | (uint64_t)b[n_bytes / 2] << 8 | b[0];
}

/* The same for 1 to 24 bytes. */
static inline void qn_word_key(uint64_t key[3], const char *word, size_t n_bytes)
{
    key[1] = key[2] = 0;
    if (n_bytes > 8) {
        key[0] = qn_word_load(word);
        key[1] = qn_word_load(word + (n_bytes <= 16 ? n_bytes - 8 : 8));
        if (n_bytes > 16) key[2] = qn_word_load(word + n_bytes - 8);
    } else {
        key[0] = qn_word_short_key(word, n_bytes);
    }
}

static inline qn_word_slot *qn_word_pair(const qn_word_memory *m, const uint64_t key[3], size_t n_bytes)
{
    __extension__ typedef unsigned __int128 wide;
    const wide product = (wide)(key[0] ^ 0x9e3779b97f4a7c15u ^ key[2] * 0xa0761d6478bd642fu) *
                         (key[1] * 0xe7037ed1a0b428dbu ^ (0x8ebc6af09c88c6e3u + n_bytes));
    return &m->slots[(((size_t)product ^ (size_t)(product >> 64)) & (m->n_pairs - 1)) * 2];
}

static inline bool qn_word_is(const qn_word_slot *s, const uint64_t key[3], size_t n_bytes, uint8_t variant)
{
    return s->key[0] == key[0] && s->key[1] == key[1] && s->key[2] == key[2] && s->n_bytes == n_bytes &&
           s->variant == variant;
}

/* NULL: not seen, or not remembered. */
static inline const qn_word_slot *qn_word_memory_find(const qn_word_memory *m, const char *word,
                                                      size_t n_bytes, uint8_t variant)
{
    uint64_t key[3];
    if (n_bytes - 1 >= QN_WORD_MEMORY_BYTES || m->n_pairs == 0) return NULL; /* 0 bytes wrap */
    qn_word_key(key, word, n_bytes);
    const qn_word_slot *s = qn_word_pair(m, key, n_bytes);
    return qn_word_is(&s[0], key, n_bytes, variant)   ? &s[0]
           : qn_word_is(&s[1], key, n_bytes, variant) ? &s[1]
                                                      : NULL;
}

#endif
