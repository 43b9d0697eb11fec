/* merge.h: the merging loop that byte-pair encoding by rank and by score have in common.
 *
 * A word is a list of symbols. Of all neighbouring pairs that may be merged, the one of lowest
 * priority number goes first, the leftmost of equals, until none is left (Sennrich et al. 2016,
 * arXiv:1508.07909). Short words look through all pairs each time; long ones keep them in a binary
 * heap, O(n log n), whose outdated entries are recognized when they come up. */
#ifndef QN_VOCAB_MERGE_H
#define QN_VOCAB_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct qn_symbol {
    uint32_t id;             /* of the kind; QN_SYMBOL_NONE where it has none */
    uint32_t start, n_bytes; /* within the word; 0 bytes: merged into an earlier one */
    uint32_t previous, next; /* used by the heap only */
} qn_symbol;

typedef struct qn_pair {
    uint32_t priority; /* QN_PAIR_NONE: these two are not merged */
    uint32_t id;       /* of the symbol they become */
} qn_pair;

#define QN_SYMBOL_NONE UINT32_MAX
#define QN_PAIR_NONE   UINT32_MAX

typedef qn_pair qn_pair_fn(const void *user, const char *word, const qn_symbol *left, const qn_symbol *right);

typedef struct qn_merge_entry {
    uint64_t key;     /* priority, then index of the left symbol */
    uint32_t n_bytes; /* of both together: differs from what is there if the entry is outdated */
    uint32_t id;
} qn_merge_entry;

typedef struct qn_merger { /* zeroed: valid and empty; reused from word to word */
    qn_symbol *symbols;
    size_t n_symbols, symbol_capacity;
    qn_merge_entry *heap;
    size_t n_heap, heap_capacity;
} qn_merger;

void qn_merger_deinit(qn_merger *m);
bool qn_merger_add(qn_merger *m, uint32_t id, size_t start, size_t n_bytes); /* false: no memory */
/* Merges what is in symbols, which then holds the remaining ones in order. False: no memory. */
bool qn_merger_run(qn_merger *m, const char *word, qn_pair_fn *pair, const void *user);

#endif
