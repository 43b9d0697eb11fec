/* prefix_tree.h: pages of texts that were computed before, to be found by the tokens they begin with.
 *
 * A node is a page of up to 64 tokens behind its parent's; children of a whole page are found by a hash over
 * all tokens up to their end, then compared token by token, so that nobody ever gets the pages of another
 * text (RadixAttention: Zheng et al. 2023, arXiv:2312.07104). Texts live in name spaces, and one finds
 * only those of its own. By contract C4 what is found has the bits that computing it again would give.
 *
 * What is kept is given up by value: how often it was used, times what computing it again would take, over
 * its bytes, and the value of what was given up last is added to all that is used later, so that old values
 * fade (GreedyDual-Size-Frequency: Cherkasova 1998). Leaves go first; windows of nodes inside a text
 * before the rest of them. Pages that also a sequence holds are never given up.
 *
 * All memory is taken at creation; one thread at a time, that of the cache. */
#ifndef QN_CACHE_PREFIX_TREE_H
#define QN_CACHE_PREFIX_TREE_H

#include "cache/kv_cache.h"

typedef struct qn_prefix_tree qn_prefix_tree;

/* The 128 bits of hash over the name space and all tokens up to the end of a page. */
typedef struct qn_prefix_key {
    uint64_t low, high;
} qn_prefix_key;

/* A page that is about to be forgotten, or (stays) only its window; the pointers are valid during the call,
 * which must not touch the tree. */
typedef struct qn_prefix_page {
    qn_prefix_key key, parent;         /* parent of a text's first page: of the name space alone */
    const quern_token *tokens;         /* [n_tokens] of this page */
    size_t n_tokens, position;         /* of its first token */
    const void *data[QN_CACHE_GROUPS]; /* NULL: not there */
    double value;
    bool stays; /* the page is known on, without its window */
} qn_prefix_page;
typedef void qn_prefix_forget_fn(void *user, const qn_prefix_page *page);

typedef struct qn_prefix_stats {
    size_t n_nodes; /* pages that are known now */
    size_t n_texts_found, n_tokens_found, n_tokens_asked, n_forgotten;
} qn_prefix_stats;

/* Bytes that qn_prefix_tree_create takes for a cache of this shape. */
size_t qn_prefix_tree_bytes(const qn_kv_cache_shape *shape);
/* on_forget may be NULL. The cache must outlive it. */
quern_status qn_prefix_tree_create(qn_prefix_tree **out, qn_kv_cache *cache, qn_prefix_forget_fn *on_forget,
                                   void *user, quern_error *err);
void qn_prefix_tree_destroy(qn_prefix_tree *t); /* NULL is fine; lets go of all pages */

/* What computing a token again takes, by position: fixed + per_position * position, in a unit that does not
 * change. Until it is told: as if all took 1. */
void qn_prefix_tree_set_cost(qn_prefix_tree *t, double fixed, double per_position);

/* Gives an empty sequence the longest beginning of the tokens that is known, at most `most` of them, and
 * returns its length. A beginning may end within a known page: the sequence holds that page too, and gets its
 * own copy when it goes on (qn_kv_cache_reserve, which wants a page more for it). With windows only a
 * beginning counts whose end sees nothing that was given up. */
size_t qn_prefix_tree_find(qn_prefix_tree *t, qn_prefix_key name_space, const quern_token *tokens,
                           size_t n_tokens, size_t most, size_t seq);

/* How many tokens qn_prefix_tree_find would find; changes nothing. */
size_t qn_prefix_tree_peek(const qn_prefix_tree *t, qn_prefix_key name_space, const quern_token *tokens,
                           size_t n_tokens, size_t most);

/* Keeps the pages of a sequence whose first n_tokens tokens these are: whole ones, and with_tail also the
 * last one that is not full. Where a page is known already the sequence changes over to the known one, and
 * brings the window where that was given up. A tail that is the beginning of a longer known page needs no
 * keeping, and one that is kept goes when a longer page with that beginning comes. Does nothing about pages
 * for which no node is free even after forgetting some. With the tail, where a text is left for now, all of
 * it counts as used just now; without, only what is new, however long the text is. Not between
 * qn_kv_cache_reserve and _commit of that sequence. */
void qn_prefix_tree_keep(qn_prefix_tree *t, qn_prefix_key name_space, const quern_token *tokens,
                         size_t n_tokens, size_t seq, bool with_tail);

/* The same for a page that was read from elsewhere: its parent must be there (or be the name space), and
 * pages[g] (-1: none) must be held by the caller alone, who gives them to the tree: what it knows already is
 * free again. False: no node is free, the parent is not there, the page of the full history is missing, or
 * the key is not that of the tokens; then the pages stay with the caller. */
bool qn_prefix_tree_add(qn_prefix_tree *t, const qn_prefix_page *page, const int32_t pages[QN_CACHE_GROUPS]);

/* Forgets the least valuable pages that nobody else holds, until n pages of the group are free or nothing is
 * left to forget; returns whether they are. */
bool qn_prefix_tree_free_pages(qn_prefix_tree *t, size_t group, size_t n);
/* Forgets what is of a name space (all: NULL), but for pages that others hold; on_forget is told of all. */
void qn_prefix_tree_forget(qn_prefix_tree *t, const qn_prefix_key *name_space);

/* The key of a page behind its parent, or of a chain of pages where there are more than 64 tokens. */
qn_prefix_key qn_prefix_key_of(qn_prefix_key parent, const quern_token *tokens, size_t n_tokens);
void qn_prefix_tree_get_stats(const qn_prefix_tree *t, qn_prefix_stats *stats);

#endif
