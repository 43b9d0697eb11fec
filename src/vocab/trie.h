/* trie.h: many texts as a tree of bytes, to find those that a place of a text begins with.
 *
 * Nodes stand in order of their depth, the children of one side by side in order of their bytes. A node with
 * many children has a table of them. Immutable once built: threads share it. */
#ifndef QN_VOCAB_TRIE_H
#define QN_VOCAB_TRIE_H

#include "gguf/gguf.h"

typedef struct qn_trie_entry {
    qn_string text; /* borrowed while building */
    int32_t value;  /* not negative */
} qn_trie_entry;

typedef struct qn_trie_node {
    uint32_t first_child;
    uint32_t table; /* number of its table + 1, or 0 */
    int32_t value;  /* of the text that ends here, or -1 */
    uint16_t n_children;
    uint8_t byte; /* by which it is reached */
} qn_trie_node;

typedef struct qn_trie { /* zeroed: valid, and without any text */
    qn_trie_node *nodes; /* [n_nodes], the root first */
    size_t n_nodes;
    uint32_t (*tables)[256]; /* children by byte, 0: none */
    size_t n_tables;
    bool has_pages; /* the nodes lie in pages of their own, large ones where there are such */
} qn_trie;

enum { QN_TRIE_ROOT = 0, QN_TRIE_NONE = 0 /* no child is the root */, QN_TRIE_WIDE = 8 };

/* Sorts the entries. Of equal texts the lowest value stays; empty texts are left out. False: no memory. */
bool qn_trie_init(qn_trie *t, qn_trie_entry *entries, size_t n_entries);
void qn_trie_deinit(qn_trie *t);

/* The child by that byte, or QN_TRIE_NONE. */
static inline uint32_t qn_trie_step(const qn_trie *t, uint32_t node, uint8_t byte)
{
    const qn_trie_node *n = &t->nodes[node];
    if (n->table != 0) return t->tables[n->table - 1][byte];
    for (uint32_t i = 0; i < n->n_children; i++)
        if (t->nodes[n->first_child + i].byte == byte) return n->first_child + i;
    return QN_TRIE_NONE;
}

#endif
