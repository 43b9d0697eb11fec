/* word_memory.c: see word_memory.h. */
#include "vocab/word_memory.h"

#include "base/alloc.h"

enum {
    CACHE_LINE = 64,
    LEAST_TEXT_BYTES = 128, /* shorter texts hardly repeat a word */
    MAX_PAIRS = 1 << 13,    /* with both tables what a second-level cache holds */
};

bool qn_word_memory_init(qn_word_memory *m, size_t text_bytes)
{
    memset(m, 0, sizeof *m);
    if (text_bytes < LEAST_TEXT_BYTES) return true;
    size_t n_pairs = 16;
    while (n_pairs < MAX_PAIRS && n_pairs < text_bytes / 32) n_pairs *= 2;
    const size_t n_longs = n_pairs, n_shorts = n_pairs * 2;
    m->block = qn_calloc(n_longs * sizeof *m->longs + n_shorts * sizeof *m->shorts + CACHE_LINE, 1);
    if (m->block == NULL) return false;
    char *aligned = (char *)m->block + (CACHE_LINE - (uintptr_t)m->block % CACHE_LINE);
    m->longs = (void *)aligned;
    m->shorts = (void *)(m->longs + n_longs);
    m->n_pairs = n_pairs;
    return true;
}

void qn_word_memory_deinit(qn_word_memory *m)
{
    qn_free(m->block);
    memset(m, 0, sizeof *m);
}

void qn_word_memory_add(qn_word_memory *m, const char *word, size_t n_bytes, uint8_t variant, uint32_t token,
                        size_t n_tokens)
{
    if (n_bytes - 1 >= QN_WORD_MEMORY_BYTES || m->n_pairs == 0 || n_tokens > UINT16_MAX) return;
    const uint16_t mark = qn_word_mark(n_bytes, variant);
    const qn_word_ids ids = {.token = token, .n_tokens = (uint16_t)n_tokens, .mark = mark};
    if (n_bytes <= QN_WORD_SHORT_BYTES) {
        const uint64_t key = qn_word_short_key(word, n_bytes);
        qn_short_slot *s = qn_word_short_pair(m, key, mark);
        s[1] = s[0];
        s[0] = (qn_short_slot){key, ids};
        return;
    }
    uint64_t key[3];
    qn_word_long_key(key, word, n_bytes);
    qn_long_slot *s = qn_word_long_pair(m, key, mark);
    s[1] = s[0];
    s[0] = (qn_long_slot){{key[0], key[1], key[2]}, ids};
}
