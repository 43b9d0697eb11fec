/* prefix_tree_nodes.c: nodes of the tree of prefixes and the two ways to them. A node with exactly known
 * tokens is found by its key, the hash of everything up to its end; whoever looks for a page that merely
 * begins alike walks the children of the parent. Both are chained hash tables over the same nodes, the second
 * by the key of the parent. A key is a hint: tokens, parent and name space are compared too. */
#include "cache/prefix_tree_private.h"

#include "base/checked.h"

#include <assert.h>
#include <xxhash.h>

qn_prefix_key qn_prefix_key_of(qn_prefix_key parent, const quern_token *tokens, size_t n_tokens)
{
    struct {
        qn_prefix_key parent;
        quern_token tokens[QN_PAGE_POSITIONS];
    } hashed;
    while (n_tokens > 0) {
        const size_t n = qn_min_size(n_tokens, QN_PAGE_POSITIONS);
        hashed.parent = parent;
        memcpy(hashed.tokens, tokens, n * sizeof *tokens);
        const XXH128_hash_t hash = XXH3_128bits(&hashed, sizeof hashed.parent + n * sizeof *tokens);
        parent = (qn_prefix_key){hash.low64, hash.high64};
        tokens += n, n_tokens -= n;
    }
    return parent;
}

void qn_prefix_nodes_init(qn_prefix_tree *t)
{
    t->free_nodes = QN_NO_NODE;
    for (size_t i = t->n_nodes; i-- > 0;) {
        t->nodes[i].next_by_key = t->free_nodes;
        t->free_nodes = (int32_t)i;
    }
    for (size_t i = 0; i < t->n_buckets; i++) t->by_key[i] = t->by_parent[i] = QN_NO_NODE;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        for (size_t i = 0; i < qn_kv_cache_n_pages(t->cache, g); i++) t->owners[g][i] = QN_NO_NODE;
}

/* ---- ways to a node --------------------------------------------------------------------------------- */

static int32_t *key_chain(const qn_prefix_tree *t, qn_prefix_key key)
{
    return &t->by_key[key.low & (t->n_buckets - 1)];
}

static int32_t *children_chain(const qn_prefix_tree *t, qn_prefix_key name_space, int32_t parent)
{
    const qn_prefix_key key = parent == QN_NO_NODE ? name_space : t->nodes[parent].key;
    return &t->by_parent[key.high & (t->n_buckets - 1)];
}

static bool is_child(const qn_prefix_node *n, qn_prefix_key name_space, int32_t parent)
{
    return n->parent == parent && qn_prefix_key_equal(n->name_space, name_space);
}

int32_t qn_prefix_child(const qn_prefix_tree *t, qn_prefix_key name_space, int32_t parent, qn_prefix_key key,
                        const quern_token *tokens, size_t n_tokens)
{
    for (int32_t i = *key_chain(t, key); i != QN_NO_NODE; i = t->nodes[i].next_by_key) {
        const qn_prefix_node *n = &t->nodes[i];
        if (qn_prefix_key_equal(n->key, key) && is_child(n, name_space, parent) && n->n_tokens == n_tokens &&
            memcmp(qn_prefix_tokens(t, i), tokens, n_tokens * sizeof *tokens) == 0)
            return i;
    }
    return QN_NO_NODE;
}

int32_t qn_prefix_by_key(const qn_prefix_tree *t, qn_prefix_key key, size_t position)
{
    for (int32_t i = *key_chain(t, key); i != QN_NO_NODE; i = t->nodes[i].next_by_key) {
        const qn_prefix_node *n = &t->nodes[i];
        if (qn_prefix_key_equal(n->key, key) && n->position == position && n->n_tokens == QN_PAGE_POSITIONS)
            return i;
    }
    return QN_NO_NODE;
}

int32_t qn_prefix_closest_child(const qn_prefix_tree *t, qn_prefix_key name_space, int32_t parent,
                                const quern_token *tokens, size_t n_tokens, size_t *n_common)
{
    int32_t best = QN_NO_NODE;
    *n_common = 0;
    if (n_tokens == 0) return best;
    for (int32_t i = *children_chain(t, name_space, parent); i != QN_NO_NODE;
         i = t->nodes[i].next_by_parent) {
        const qn_prefix_node *n = &t->nodes[i];
        if (!is_child(n, name_space, parent) || !qn_prefix_has_window(t, i)) continue;
        const quern_token *own = qn_prefix_tokens(t, i);
        const size_t most = qn_min_size(n->n_tokens, n_tokens);
        size_t k = 0;
        while (k < most && own[k] == tokens[k]) k++;
        if (k > *n_common) best = i, *n_common = k;
    }
    return best;
}

/* ---- coming and going ------------------------------------------------------------------------------- */

void qn_prefix_set_page(qn_prefix_tree *t, int32_t node, size_t group, int32_t page)
{
    assert(t->owners[group][page] == QN_NO_NODE);
    t->owners[group][page] = node;
    t->nodes[node].pages[group] = page;
    if ((int)group == t->window) qn_prefix_window_came(t, node);
}

void qn_prefix_drop_page(qn_prefix_tree *t, int32_t node, size_t group)
{
    const int32_t page = t->nodes[node].pages[group];
    if (page < 0) return;
    t->nodes[node].pages[group] = QN_NO_PAGE;
    t->owners[group][page] = QN_NO_NODE;
    qn_kv_cache_release(t->cache, group, page);
    if ((int)group == t->window) qn_prefix_window_went(t, node);
}

static void link_node(qn_prefix_tree *t, int32_t node)
{
    qn_prefix_node *n = &t->nodes[node];
    int32_t *chain = key_chain(t, n->key), *children = children_chain(t, n->name_space, n->parent);
    n->next_by_key = *chain;
    *chain = node;
    n->next_by_parent = *children, n->previous_by_parent = QN_NO_NODE;
    if (*children != QN_NO_NODE) t->nodes[*children].previous_by_parent = node;
    *children = node;
    if (n->parent == QN_NO_NODE) return;
    t->nodes[n->parent].n_children++;
    qn_prefix_heap_take(t, QN_ORDER_LEAVES, n->parent);
}

static void unlink_node(qn_prefix_tree *t, int32_t node)
{
    qn_prefix_node *n = &t->nodes[node];
    int32_t *link = key_chain(t, n->key);
    while (*link != node) link = &t->nodes[*link].next_by_key;
    *link = n->next_by_key;
    if (n->previous_by_parent == QN_NO_NODE) *children_chain(t, n->name_space, n->parent) = n->next_by_parent;
    else t->nodes[n->previous_by_parent].next_by_parent = n->next_by_parent;
    if (n->next_by_parent != QN_NO_NODE)
        t->nodes[n->next_by_parent].previous_by_parent = n->previous_by_parent;
    if (n->parent != QN_NO_NODE && --t->nodes[n->parent].n_children == 0)
        qn_prefix_heap_put(t, QN_ORDER_LEAVES, n->parent);
}

void qn_prefix_remove(qn_prefix_tree *t, int32_t node)
{
    qn_prefix_node *n = &t->nodes[node];
    assert(n->n_tokens > 0 && n->n_children == 0);
    qn_prefix_heap_take(t, QN_ORDER_LEAVES, node);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) qn_prefix_drop_page(t, node, g);
    unlink_node(t, node);
    n->n_tokens = 0;
    n->next_by_key = t->free_nodes;
    t->free_nodes = node;
    t->stats.n_nodes--;
}

/* A page of which nothing is lost where the other pages, those of a text that goes on from it, are kept. */
static bool is_needless(const qn_prefix_tree *t, int32_t node, const int32_t pages[QN_CACHE_GROUPS])
{
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        const int32_t own = t->nodes[node].pages[g];
        if (own >= 0 && own != pages[g] && (pages[g] < 0 || qn_kv_cache_holders(t->cache, g, own) > 1))
            return false;
    }
    return true;
}

static void remove_beginnings(qn_prefix_tree *t, qn_prefix_key name_space, int32_t parent,
                              const quern_token *tokens, size_t n_tokens,
                              const int32_t pages[QN_CACHE_GROUPS])
{
    for (int32_t i = *children_chain(t, name_space, parent), next; i != QN_NO_NODE; i = next) {
        const qn_prefix_node *n = &t->nodes[i];
        next = n->next_by_parent;
        if (n->n_tokens < n_tokens && n->n_children == 0 && is_child(n, name_space, parent) &&
            memcmp(qn_prefix_tokens(t, i), tokens, n->n_tokens * sizeof *tokens) == 0 &&
            is_needless(t, i, pages))
            qn_prefix_remove(t, i);
    }
}

/* Whether a page already belongs to another text: then a sequence was kept under a wrong name. */
static bool is_owned(const qn_prefix_tree *t, const int32_t pages[QN_CACHE_GROUPS])
{
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (pages[g] >= 0 && t->owners[g][pages[g]] != QN_NO_NODE) return true;
    return false;
}

int32_t qn_prefix_enter(qn_prefix_tree *t, qn_prefix_key name_space, int32_t parent, qn_prefix_key key,
                        const quern_token *tokens, size_t n_tokens, const int32_t pages[QN_CACHE_GROUPS])
{
    assert(n_tokens > 0 && n_tokens <= QN_PAGE_POSITIONS);
    remove_beginnings(t, name_space, parent, tokens, n_tokens, pages);
    t->pinned = parent;
    const bool has_room = !is_owned(t, pages) && qn_prefix_make_room(t);
    t->pinned = QN_NO_NODE;
    if (!has_room) return QN_NO_NODE;
    const int32_t node = t->free_nodes;
    qn_prefix_node *n = &t->nodes[node];
    t->free_nodes = n->next_by_key;
    *n =
        (qn_prefix_node){.key = key,
                         .name_space = name_space,
                         .position = parent == QN_NO_NODE ? 0 : t->nodes[parent].position + QN_PAGE_POSITIONS,
                         .n_tokens = (uint32_t)n_tokens,
                         .parent = parent};
    memcpy(qn_prefix_tokens(t, node), tokens, n_tokens * sizeof *tokens);
    for (int order = 0; order < QN_PREFIX_ORDERS; order++) n->ranks[order].place = -1;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) n->pages[g] = QN_NO_PAGE;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (pages[g] >= 0) qn_prefix_set_page(t, node, g, pages[g]);
    link_node(t, node);
    qn_prefix_heap_put(t, QN_ORDER_LEAVES, node);
    qn_prefix_use(t, node, 1);
    t->stats.n_nodes++;
    return node;
}
