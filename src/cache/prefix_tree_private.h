/* prefix_tree_private.h: the nodes behind prefix_tree.h, for the files that implement it:
 *
 *     prefix_tree.c         finding and keeping
 *     prefix_tree_nodes.c   nodes, and where they are found: by their key, and among the children of a parent
 *     prefix_tree_value.c   what each is worth, and what is given up
 *
 * A name space needs no node of its own: its texts' first pages have no parent, and its key stands where
 * others have their parent's. */
#ifndef QN_CACHE_PREFIX_TREE_PRIVATE_H
#define QN_CACHE_PREFIX_TREE_PRIVATE_H

#include "cache/prefix_tree.h"

#include "base/arena.h"

#include <string.h>

enum { QN_NO_NODE = -1, QN_NO_PAGE = -1, QN_NO_GROUP = -1 };

/* In which order things are given up: nodes without children, and pages of windows wherever they are. */
typedef enum qn_prefix_order { QN_ORDER_LEAVES, QN_ORDER_WINDOWS, QN_PREFIX_ORDERS } qn_prefix_order;

typedef struct qn_prefix_rank {
    double value;
    uint64_t n_used, used_at; /* of equal value, what was not used for the longest time goes first */
    int32_t place;            /* in the heap; -1: not there */
} qn_prefix_rank;

typedef struct qn_prefix_heap {
    int32_t *nodes; /* [n] the least rank first */
    size_t n;
    double floor; /* the value that was given up last: what is used from now on is worth that much more */
} qn_prefix_heap;

typedef struct qn_prefix_node {
    qn_prefix_key key, name_space;
    size_t position;
    uint32_t n_tokens; /* 0: the node is free */
    uint32_t n_children;
    int32_t parent;
    int32_t next_by_key; /* also in the list of free nodes */
    int32_t next_by_parent, previous_by_parent;
    int32_t pages[QN_CACHE_GROUPS];
    qn_prefix_rank ranks[QN_PREFIX_ORDERS];
} qn_prefix_node;

struct qn_prefix_tree {
    qn_kv_cache *cache;
    qn_prefix_forget_fn *on_forget;
    void *user;
    int history, window; /* groups; QN_NO_GROUP where the model lacks one */
    double cost_fixed, cost_per_position;
    size_t n_nodes, n_buckets;        /* n_buckets: a power of two */
    qn_prefix_node *nodes;            /* [n_nodes] */
    quern_token *tokens;              /* [n_nodes][QN_PAGE_POSITIONS] */
    int32_t *by_key, *by_parent;      /* [n_buckets] the first node of each chain */
    int32_t *owners[QN_CACHE_GROUPS]; /* [pages of the group] the node that has the page */
    int32_t *found[QN_CACHE_GROUPS];  /* [pages of n_ctx] what a sequence is given */
    qn_prefix_heap heaps[QN_PREFIX_ORDERS];
    int32_t *set_aside;         /* [n_nodes] nodes that cannot be given up now */
    int32_t free_nodes, pinned; /* pinned: is not given up, for it gets a child */
    uint64_t clock;             /* counts what is done */
    qn_prefix_stats stats;
    qn_arena arena;
};

static inline bool qn_prefix_key_equal(qn_prefix_key a, qn_prefix_key b)
{
    return a.low == b.low && a.high == b.high;
}
static inline quern_token *qn_prefix_tokens(const qn_prefix_tree *t, int32_t node)
{
    return t->tokens + (size_t)node * QN_PAGE_POSITIONS;
}
/* Whether a text may end within the node as far as its own pages go. */
static inline bool qn_prefix_has_window(const qn_prefix_tree *t, int32_t node)
{
    return t->window == QN_NO_GROUP || t->nodes[node].pages[t->window] >= 0;
}

/* ---- prefix_tree_nodes.c ---- */

void qn_prefix_nodes_init(qn_prefix_tree *t);
/* The child with exactly these tokens; parent QN_NO_NODE: of the name space. */
int32_t qn_prefix_child(const qn_prefix_tree *t, qn_prefix_key name_space, int32_t parent, qn_prefix_key key,
                        const quern_token *tokens, size_t n_tokens);
/* A whole page by its key and position alone. */
int32_t qn_prefix_by_key(const qn_prefix_tree *t, qn_prefix_key key, size_t position);
/* The child that a text may end in which has most tokens in common; QN_NO_NODE: none has the first. */
int32_t qn_prefix_closest_child(const qn_prefix_tree *t, qn_prefix_key name_space, int32_t parent,
                                const quern_token *tokens, size_t n_tokens, size_t *n_common);
/* Makes a node of pages that the caller holds and the node from now on has; forgets others if it must, and
 * shorter pages that the new one makes needless. QN_NO_NODE: no node is free, or a page is another node's. */
int32_t qn_prefix_enter(qn_prefix_tree *t, qn_prefix_key name_space, int32_t parent, qn_prefix_key key,
                        const quern_token *tokens, size_t n_tokens, const int32_t pages[QN_CACHE_GROUPS]);
/* Takes a node without children out of the tree and lets go of its pages. */
void qn_prefix_remove(qn_prefix_tree *t, int32_t node);
/* The node has a page more, or one less: it lets go of it. */
void qn_prefix_set_page(qn_prefix_tree *t, int32_t node, size_t group, int32_t page);
void qn_prefix_drop_page(qn_prefix_tree *t, int32_t node, size_t group);

/* ---- prefix_tree_value.c ---- */

void qn_prefix_heap_put(qn_prefix_tree *t, qn_prefix_order order, int32_t node);  /* if it is not there */
void qn_prefix_heap_take(qn_prefix_tree *t, qn_prefix_order order, int32_t node); /* if it is there */
/* A node has been used n times more; n 0: it is there still, and as good as new. */
void qn_prefix_use(qn_prefix_tree *t, int32_t node, uint64_t n);
/* The same for the pages of the window that position `end`, within the node or behind it, sees. */
void qn_prefix_use_window(qn_prefix_tree *t, int32_t node, size_t end, uint64_t n);
/* The node has a page of the window group now, or has it no more. */
void qn_prefix_window_came(qn_prefix_tree *t, int32_t node);
void qn_prefix_window_went(qn_prefix_tree *t, int32_t node);
/* Sees to it that a node is free. False: all are held. */
bool qn_prefix_make_room(qn_prefix_tree *t);

#endif
