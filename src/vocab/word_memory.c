/* word_memory.c: see word_memory.h. */
#include "vocab/word_memory.h"

#include "base/alloc.h"

enum {
    LEAST_TEXT_BYTES = 128, /* shorter texts hardly repeat a word */
    MAX_PAIRS = 1 << 13,    /* of 64 bytes: what a second-level cache holds */
};

bool qn_word_memory_init(qn_word_memory *m, size_t text_bytes)
{
    memset(m, 0, sizeof *m);
    if (text_bytes < LEAST_TEXT_BYTES) return true;
    size_t n_pairs = 16;
    while (n_pairs < MAX_PAIRS && n_pairs < text_bytes / 32) n_pairs *= 2;
    m->slots = qn_calloc(n_pairs * 2, sizeof *m->slots);
    if (m->slots == NULL) return false;
    m->n_pairs = n_pairs;
    return true;
}

void qn_word_memory_deinit(qn_word_memory *m)
{
    qn_free(m->slots);
    memset(m, 0, sizeof *m);
}

void qn_word_memory_add(qn_word_memory *m, const char *word, size_t n_bytes, uint8_t variant, uint32_t token,
                        size_t n_tokens)
{
    uint64_t key[3];
    if (n_bytes - 1 >= QN_WORD_MEMORY_BYTES || m->n_pairs == 0 || n_tokens > UINT16_MAX) return;
    qn_word_key(key, word, n_bytes);
    qn_word_slot *s = qn_word_pair(m, key, n_bytes);
    s[1] = s[0];
    s[0] = (qn_word_slot){.key = {key[0], key[1], key[2]},
                          .token = token,
                          .n_tokens = (uint16_t)n_tokens,
                          .n_bytes = (uint8_t)n_bytes,
                          .variant = variant};
}
