/* trie.h: many texts as a tree of bytes, to find those that a place of a text begins with.
 *
 * A double array (Aoe 1989, "An efficient digital search algorithm by using a double-array structure";
 * children by exclusive or as in Yata et al. 2007, "A compact static double-array keeping character codes"):
 * all nodes are units of one array, the child by byte b of a node with base x is unit x ^ b, if that unit
 * says that b leads to it. So a step reads one unit, which holds the weight of the text that ends there as
 * well. Immutable once built: threads share it. */
#ifndef QN_VOCAB_TRIE_H
#define QN_VOCAB_TRIE_H

#include "gguf/gguf.h"

typedef struct qn_trie_entry {
    qn_string text; /* borrowed while building */
    int32_t value;  /* not negative */
    float weight;   /* finite */
} qn_trie_entry;

typedef struct qn_trie_unit {
    uint32_t link; /* base of its children << 8 | the byte that leads to it */
    float weight;  /* of the text that ends here, or -INFINITY */
} qn_trie_unit;

enum { QN_TRIE_BLOCK = 256 /* units that the bytes can reach from one base */ };

typedef struct qn_trie { /* zeroed: valid to deinit */
    qn_trie_unit *units; /* [n_units] the root first; a multiple of QN_TRIE_BLOCK */
    int32_t *values;     /* [n_units] of the texts that end there, or -1 */
    size_t n_units;
    bool has_pages; /* the units lie in pages of their own, large ones where there are such */
} qn_trie;

enum { QN_TRIE_ROOT = 0, QN_TRIE_NONE = 0 /* no child is the root */ };

/* Sorts the entries. Of equal texts the lowest value stays; empty texts are left out. False: no memory, or
 * more than 16 million units. */
bool qn_trie_init(qn_trie *t, qn_trie_entry *entries, size_t n_entries);
void qn_trie_deinit(qn_trie *t);

/* The child by that byte, or QN_TRIE_NONE. */
static inline uint32_t qn_trie_step(const qn_trie *t, uint32_t node, uint8_t byte)
{
    const uint32_t child = t->units[node].link >> 8 ^ byte;
    return (uint8_t)t->units[child].link == byte ? child : QN_TRIE_NONE;
}

#endif
