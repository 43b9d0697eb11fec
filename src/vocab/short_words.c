/* short_words.c: see short_words.h. A hash table with linear probing, two thirds full. */
#include "vocab/short_words.h"

#include "base/alloc.h"
#include "vocab/byte_alphabet.h"

#include <string.h>

/* The slot of the word, or the empty one where it would be. */
static qn_short_word *slot_of(const qn_short_words *w, uint64_t key, size_t n_bytes)
{
    __extension__ typedef unsigned __int128 wide;
    const wide product = (wide)(key ^ w->seed) * ((w->seed << 8 | 1) ^ n_bytes << 1);
    const uint32_t hash = (uint32_t)((uint64_t)product ^ (uint64_t)(product >> 64));
    for (size_t at = (size_t)((uint64_t)hash * w->n_slots >> 32);; at = at + 1 < w->n_slots ? at + 1 : 0) {
        qn_short_word *s = &w->slots[at];
        if (s->n_bytes == 0 || (s->key == key && s->n_bytes == n_bytes)) return s;
    }
}

/* The bytes that a stored text stands for; 0: too many, or a character that stands for none. */
static size_t decode_short(qn_string text, char out[QN_WORD_SHORT_BYTES])
{
    size_t n = 0;
    for (size_t i = 0; i < text.n_bytes;) {
        uint32_t c;
        const size_t length = qn_utf8_decode(text.bytes + i, text.n_bytes - i, &c);
        const int byte = length > 0 ? qn_byte_from_character(c) : -1;
        if (byte < 0 || n == QN_WORD_SHORT_BYTES) return 0;
        out[n++] = (char)byte;
        i += length;
    }
    return n;
}

bool qn_short_words_init(qn_short_words *w, const qn_vocab *v)
{
    size_t count = 0;
    for (size_t i = 0; i < v->n_tokens; i++) count += v->tokens[i].n_bytes <= 2 * QN_WORD_SHORT_BYTES;
    w->n_slots = count + count / 2 + 2;
    w->seed = v->index.key;
    w->slots = qn_alloc_pages(w->n_slots * sizeof *w->slots);
    if (w->slots == NULL) return false;
    for (size_t i = 0; i < v->n_tokens; i++) {
        char word[QN_WORD_SHORT_BYTES];
        const size_t n =
            v->tokens[i].n_bytes <= 2 * QN_WORD_SHORT_BYTES ? decode_short(v->tokens[i], word) : 0;
        if (n == 0) continue;
        const uint64_t key = qn_word_short_key(word, n);
        qn_short_word *s = slot_of(w, key, n);
        if (s->n_bytes != 0) continue; /* the first of equal texts counts, as in the index */
        const quern_token id = qn_vocab_is_plain(v, (quern_token)i) ? (quern_token)i : -1;
        *s = (qn_short_word){key, (uint32_t)n, id};
    }
    return true;
}

void qn_short_words_deinit(qn_short_words *w)
{
    if (w->slots != NULL) qn_free_pages(w->slots, w->n_slots * sizeof *w->slots);
    memset(w, 0, sizeof *w);
}

quern_token qn_short_words_find(const qn_short_words *w, const char *word, size_t n_bytes)
{
    if (w->slots == NULL) return -1;
    const qn_short_word *s = slot_of(w, qn_word_short_key(word, n_bytes), n_bytes);
    return s->n_bytes != 0 ? s->id : -1;
}
