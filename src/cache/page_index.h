/* page_index.h: which page files there are, without asking the disk.
 *
 * The entries are a binary heap by their last use, so that the next to be removed is the first; a hash table
 * with linear probing finds them by key (Knuth, The Art of Computer Programming, volume 3, 5.2.3 and 6.4,
 * with removal by algorithm R). Entries move whenever something changes: a pointer to one is valid until the
 * next call that changes the index. One thread at a time. */
#ifndef QN_CACHE_PAGE_INDEX_H
#define QN_CACHE_PAGE_INDEX_H

#include "cache/prefix_tree.h"

enum { QN_PAGE_INDEX_MAX = 1 << 22 }; /* entries, of 64 bytes */

typedef struct qn_page_entry {
    uint32_t model;      /* number of its model key; with the key, what it is found by */
    uint32_t generation; /* of the look through the directory that saw it last */
    qn_prefix_key key;
    uint64_t n_bytes;
    int64_t used_ns; /* last use, since 1970 */
    int64_t file_ns; /* the time that the file had when it was looked at or set last */
    size_t slot;     /* of the hash table */
} qn_page_entry;

typedef struct qn_page_index {
    qn_page_entry *entries; /* [n_entries] */
    uint32_t *slots;        /* [n_slots], a power of two: 1 + place of the entry; 0: empty */
    size_t n_entries, capacity, n_slots;
    uint64_t n_bytes; /* of all entries */
    uint64_t seed;    /* of the hash; set by the owner, so that nobody can aim at collisions */
} qn_page_index;

void qn_page_index_deinit(qn_page_index *x); /* one with nothing but a seed is valid and empty */

/* Room for so many entries, so that putting them cannot fail. False: no memory, or over the maximum. */
bool qn_page_index_reserve(qn_page_index *x, size_t n_entries);

qn_page_entry *qn_page_index_find(qn_page_index *x, uint32_t model, qn_prefix_key key); /* or NULL */
const qn_page_entry *qn_page_index_oldest(const qn_page_index *x);                      /* or NULL */
/* Adds an entry (all but its slot) or replaces the one with its key. False: as reserving. */
bool qn_page_index_put(qn_page_index *x, const qn_page_entry *entry);
void qn_page_index_set_times(qn_page_index *x, qn_page_entry *entry, int64_t used_ns, int64_t file_ns);
void qn_page_index_remove(qn_page_index *x, qn_page_entry *entry);
/* Removes what was not seen since that generation. */
void qn_page_index_remove_unseen(qn_page_index *x, uint32_t generation);

#endif
