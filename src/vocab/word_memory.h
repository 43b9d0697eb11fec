/* word_memory.h: words that were seen before in a text, and the ids they became.
 *
 * Two tables of pairs of slots, one for words of up to 8 bytes, which most are, one for up to 24. A pair lies
 * in one cache line: a word goes to its first slot and pushes what was there to the second, so of the words
 * that meet in a pair the two latest stay. The tables grow with the text, up to half a megabyte together, of
 * which short words take half. Keys are the bytes themselves, loaded without a loop. */
#ifndef QN_VOCAB_WORD_MEMORY_H
#define QN_VOCAB_WORD_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    QN_WORD_SHORT_BYTES = 8,
    QN_WORD_MEMORY_BYTES = 24 /* longer words are not remembered */
};

typedef struct qn_word_ids {
    uint32_t token;    /* of one token its id, else where the ids lie in the output */
    uint16_t n_tokens; /* at most a few for each byte */
    uint16_t mark;     /* length and variant of the word (ids may differ between variants); 0: empty */
} qn_word_ids;

typedef struct qn_short_slot {
    uint64_t key;
    qn_word_ids ids;
} qn_short_slot;

typedef struct qn_long_slot {
    uint64_t key[3];
    qn_word_ids ids;
} qn_long_slot;
_Static_assert(sizeof(qn_short_slot) == 16 && sizeof(qn_long_slot) == 32, "pairs divide a cache line");

typedef struct qn_word_memory { /* zeroed: valid, and remembers nothing */
    qn_long_slot *longs;        /* [n_pairs / 2][2] */
    qn_short_slot *shorts;      /* [n_pairs][2] */
    size_t n_pairs;             /* a power of two, or 0 */
    void *block;                /* where both lie */
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

/* The same for 9 to 24 bytes. */
static inline void qn_word_long_key(uint64_t key[3], const char *word, size_t n_bytes)
{
    key[0] = qn_word_load(word);
    key[1] = qn_word_load(word + (n_bytes <= 16 ? n_bytes - 8 : 8));
    key[2] = n_bytes > 16 ? qn_word_load(word + n_bytes - 8) : 0;
}

static inline uint16_t qn_word_mark(size_t n_bytes, uint8_t variant)
{
    return (uint16_t)(n_bytes << 8 | variant);
}

static inline size_t qn_word_hash(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    const wide product = (wide)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xe7037ed1a0b428dbu);
    return (size_t)product ^ (size_t)(product >> 64);
}

static inline qn_short_slot *qn_word_short_pair(const qn_word_memory *m, uint64_t key, uint16_t mark)
{
    return &m->shorts[(qn_word_hash(key, mark) & (m->n_pairs - 1)) * 2];
}

static inline qn_long_slot *qn_word_long_pair(const qn_word_memory *m, const uint64_t key[3], uint16_t mark)
{
    const size_t hash = qn_word_hash(key[0] ^ key[2] * 0xa0761d6478bd642fu, key[1] ^ mark);
    return &m->longs[(hash & (m->n_pairs / 2 - 1)) * 2];
}

static inline bool qn_word_is(const qn_long_slot *s, const uint64_t key[3], uint16_t mark)
{
    return s->key[0] == key[0] && s->key[1] == key[1] && s->key[2] == key[2] && s->ids.mark == mark;
}

/* NULL: not seen, or not remembered. */
static inline const qn_word_ids *qn_word_memory_find(const qn_word_memory *m, const char *word,
                                                     size_t n_bytes, uint8_t variant)
{
    if (n_bytes - 1 >= QN_WORD_MEMORY_BYTES || m->n_pairs == 0) return NULL; /* 0 bytes wrap */
    const uint16_t mark = qn_word_mark(n_bytes, variant);
    if (n_bytes <= QN_WORD_SHORT_BYTES) {
        const uint64_t key = qn_word_short_key(word, n_bytes);
        const qn_short_slot *s = qn_word_short_pair(m, key, mark);
        if (s[0].key == key && s[0].ids.mark == mark) return &s[0].ids;
        return s[1].key == key && s[1].ids.mark == mark ? &s[1].ids : NULL;
    }
    uint64_t key[3];
    qn_word_long_key(key, word, n_bytes);
    const qn_long_slot *s = qn_word_long_pair(m, key, mark);
    if (qn_word_is(&s[0], key, mark)) return &s[0].ids;
    return qn_word_is(&s[1], key, mark) ? &s[1].ids : NULL;
}

#endif
