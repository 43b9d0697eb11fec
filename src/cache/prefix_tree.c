/* prefix_tree.c: finding what is known of a text, and keeping it: see prefix_tree.h. A text is followed page
 * by page through hashes of all that precedes (RadixAttention: Zheng et al. 2023, arXiv:2312.07104; pages
 * found by chained hashes as in PagedAttention's automatic prefix caching), so that a step costs a hash and a
 * comparison of 64 tokens. */
#include "cache/prefix_tree_private.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <assert.h>

/* ---- creation --------------------------------------------------------------------------------------- */

static void find_groups(qn_prefix_tree *t, const qn_kv_cache_shape *shape)
{
    t->history = t->window = QN_NO_GROUP;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (shape->n_pages[g] > 0) *(shape->windows[g] > 0 ? &t->window : &t->history) = (int)g;
    const int counted = t->history != QN_NO_GROUP ? t->history : t->window;
    t->n_nodes = counted != QN_NO_GROUP ? shape->n_pages[counted] : 0;
    t->n_buckets = 1;
    while (t->n_buckets < t->n_nodes) t->n_buckets *= 2;
}

static void layout(qn_prefix_tree *t, const qn_kv_cache_shape *shape, qn_arena *a)
{
    const size_t text_pages = qn_round_up(shape->n_ctx, QN_PAGE_POSITIONS) / QN_PAGE_POSITIONS;
    find_groups(t, shape);
    t->nodes = qn_arena_alloc(a, t->n_nodes, sizeof *t->nodes);
    t->tokens = qn_arena_alloc(a, t->n_nodes * QN_PAGE_POSITIONS, sizeof *t->tokens);
    t->by_key = qn_arena_alloc(a, t->n_buckets, sizeof *t->by_key);
    t->by_parent = qn_arena_alloc(a, t->n_buckets, sizeof *t->by_parent);
    t->set_aside = qn_arena_alloc(a, t->n_nodes, sizeof *t->set_aside);
    for (int order = 0; order < QN_PREFIX_ORDERS; order++)
        t->heaps[order].nodes = qn_arena_alloc(a, t->n_nodes, sizeof *t->heaps[order].nodes);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        if (shape->n_pages[g] == 0) continue;
        t->owners[g] = qn_arena_alloc(a, shape->n_pages[g], sizeof *t->owners[g]);
        t->found[g] = qn_arena_alloc(a, text_pages, sizeof *t->found[g]);
    }
}

static size_t arena_bytes(const qn_kv_cache_shape *shape)
{
    qn_prefix_tree t = {0};
    qn_arena measuring = {0};
    layout(&t, shape, &measuring);
    return measuring.used;
}

size_t qn_prefix_tree_bytes(const qn_kv_cache_shape *shape)
{
    return sizeof(qn_prefix_tree) + arena_bytes(shape);
}

quern_status qn_prefix_tree_create(qn_prefix_tree **out, qn_kv_cache *cache, qn_prefix_forget_fn *on_forget,
                                   void *user, quern_error *err)
{
    *out = NULL;
    qn_prefix_tree *t = qn_calloc(1, sizeof *t);
    if (t == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "tree of prefixes: no memory");
    t->cache = cache, t->on_forget = on_forget, t->user = user;
    t->cost_fixed = 1;
    t->pinned = QN_NO_NODE;
    const qn_kv_cache_shape shape = qn_kv_cache_get_shape(cache);
    const quern_status s = qn_arena_create(&t->arena, arena_bytes(&shape), "tree of prefixes", err);
    if (s != QUERN_OK) {
        qn_free(t);
        return s;
    }
    memset(t->arena.base, 0, t->arena.size); /* so that no step waits for the system to give the memory */
    layout(t, &shape, &t->arena);
    qn_prefix_nodes_init(t);
    *out = t;
    return QUERN_OK;
}

void qn_prefix_tree_destroy(qn_prefix_tree *t)
{
    if (t == NULL) return;
    for (size_t i = 0; i < t->n_nodes; i++)
        for (size_t g = 0; t->nodes[i].n_tokens > 0 && g < QN_CACHE_GROUPS; g++)
            if (t->nodes[i].pages[g] >= 0) qn_kv_cache_release(t->cache, g, t->nodes[i].pages[g]);
    qn_arena_destroy(&t->arena);
    qn_free(t);
}

void qn_prefix_tree_get_stats(const qn_prefix_tree *t, qn_prefix_stats *stats)
{
    *stats = t->stats;
}

/* ---- finding ---------------------------------------------------------------------------------------- */

typedef struct beginning {
    int32_t node; /* in which, or behind which, it ends; QN_NO_NODE: n is 0 */
    size_t n;
} beginning;

/* Whether all pages of the window that position n sees are there; n is within the node or behind it. */
static bool can_end(const qn_prefix_tree *t, int32_t node, size_t n)
{
    if (t->window == QN_NO_GROUP) return true;
    const size_t first = qn_kv_cache_first_seen(t->cache, (size_t)t->window, n);
    for (; node != QN_NO_NODE && t->nodes[node].position + QN_PAGE_POSITIONS > first;
         node = t->nodes[node].parent)
        if (!qn_prefix_has_window(t, node)) return false;
    return true;
}

static int32_t follow_whole_pages(const qn_prefix_tree *t, qn_prefix_key name_space,
                                  const quern_token *tokens, size_t n_tokens)
{
    int32_t node = QN_NO_NODE;
    qn_prefix_key key = name_space;
    for (size_t i = 0; i + QN_PAGE_POSITIONS <= n_tokens; i += QN_PAGE_POSITIONS) {
        key = qn_prefix_key_of(key, tokens + i, QN_PAGE_POSITIONS);
        const int32_t next = qn_prefix_child(t, name_space, node, key, tokens + i, QN_PAGE_POSITIONS);
        if (next == QN_NO_NODE) break;
        node = next;
    }
    return node;
}

static beginning find_longest(const qn_prefix_tree *t, qn_prefix_key name_space, const quern_token *tokens,
                              size_t n_tokens)
{
    int32_t node = follow_whole_pages(t, name_space, tokens, n_tokens);
    for (;;) { /* where windows are missing the text has to end earlier: often right here */
        const size_t position = node == QN_NO_NODE ? 0 : t->nodes[node].position + QN_PAGE_POSITIONS;
        size_t n_common;
        const int32_t child =
            qn_prefix_closest_child(t, name_space, node, tokens + position,
                                    qn_min_size(n_tokens - position, QN_PAGE_POSITIONS), &n_common);
        if (child != QN_NO_NODE && can_end(t, child, position + n_common))
            return (beginning){child, position + n_common};
        if (node == QN_NO_NODE || can_end(t, node, position)) return (beginning){node, position};
        node = t->nodes[node].parent;
    }
}

static beginning find_beginning(const qn_prefix_tree *t, qn_prefix_key name_space, const quern_token *tokens,
                                size_t n_tokens, size_t most)
{
    const size_t n = qn_min_size(qn_min_size(n_tokens, most), qn_kv_cache_n_ctx(t->cache));
    return find_longest(t, name_space, tokens, n);
}

size_t qn_prefix_tree_peek(const qn_prefix_tree *t, qn_prefix_key name_space, const quern_token *tokens,
                           size_t n_tokens, size_t most)
{
    return find_beginning(t, name_space, tokens, n_tokens, most).n;
}

size_t qn_prefix_tree_find(qn_prefix_tree *t, qn_prefix_key name_space, const quern_token *tokens,
                           size_t n_tokens, size_t most, size_t seq)
{
    const beginning b = find_beginning(t, name_space, tokens, n_tokens, most);
    t->stats.n_tokens_asked += n_tokens;
    if (b.n == 0) return 0;
    t->stats.n_texts_found++;
    t->stats.n_tokens_found += b.n;
    t->clock++;
    for (int32_t i = b.node; i != QN_NO_NODE; i = t->nodes[i].parent) {
        const qn_prefix_node *n = &t->nodes[i];
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
            if (t->found[g] != NULL) t->found[g][n->position / QN_PAGE_POSITIONS] = n->pages[g];
        qn_prefix_use(t, i, 1);
    }
    qn_prefix_use_window(t, b.node, b.n, 1);
    const int32_t *pages[QN_CACHE_GROUPS];
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) pages[g] = t->found[g];
    qn_kv_cache_adopt(t->cache, seq, pages, b.n);
    return b.n;
}

/* ---- keeping ---------------------------------------------------------------------------------------- */

/* Where the pages of a sequence are to be kept. */
typedef struct keeping {
    qn_prefix_tree *t;
    qn_prefix_key name_space;
    size_t seq;
} keeping;

static int32_t page_of(const keeping *k, size_t group, size_t index)
{
    const int32_t *table = qn_kv_cache_pages(k->t->cache, k->seq, group);
    return table != NULL ? table[index] : QN_NO_PAGE;
}

/* The sequence changes over to the known page, unless its own holds more, and leaves its own where the node
 * lacks it. */
static void keep_known(const keeping *k, int32_t node)
{
    qn_prefix_tree *t = k->t;
    const qn_prefix_node *n = &t->nodes[node];
    const size_t index = n->position / QN_PAGE_POSITIONS;
    const bool is_all =
        n->n_tokens == QN_PAGE_POSITIONS || n->position + n->n_tokens == qn_kv_cache_length(t->cache, k->seq);
    bool changes = false;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        const int32_t known = n->pages[g], own = page_of(k, g, index);
        if (own < 0 || own == known) continue;
        if (known < 0 && t->owners[g][own] == QN_NO_NODE) {
            qn_kv_cache_retain(t->cache, g, own);
            qn_prefix_set_page(t, node, g, own);
        } else if (known >= 0 && is_all) {
            qn_kv_cache_exchange(t->cache, k->seq, g, index, known);
            changes = true;
        }
    }
    qn_prefix_use(t, node, changes ? 1 : 0); /* somebody needed it, or it is merely still there */
}

static int32_t keep_new(const keeping *k, int32_t parent, qn_prefix_key key, const quern_token *tokens,
                        size_t n_tokens)
{
    qn_prefix_tree *t = k->t;
    const size_t position = parent == QN_NO_NODE ? 0 : t->nodes[parent].position + QN_PAGE_POSITIONS;
    int32_t pages[QN_CACHE_GROUPS];
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) pages[g] = page_of(k, g, position / QN_PAGE_POSITIONS);
    const int32_t node = qn_prefix_enter(t, k->name_space, parent, key, tokens, n_tokens, pages);
    for (size_t g = 0; node != QN_NO_NODE && g < QN_CACHE_GROUPS; g++)
        if (pages[g] >= 0) qn_kv_cache_retain(t->cache, g, pages[g]);
    return node;
}

/* Whether the tokens are the beginning of a longer page that is known. */
static bool is_beginning(const qn_prefix_tree *t, qn_prefix_key name_space, int32_t parent,
                         const quern_token *tokens, size_t n_tokens)
{
    size_t n_common;
    if (n_tokens == QN_PAGE_POSITIONS) return false;
    qn_prefix_closest_child(t, name_space, parent, tokens, n_tokens, &n_common);
    return n_common == n_tokens;
}

/* The node of the next page, which may be new; QN_NO_NODE: there is no room for one, or no need. */
static int32_t keep_page(const keeping *k, int32_t parent, qn_prefix_key key, const quern_token *tokens,
                         size_t n_tokens)
{
    const int32_t node = qn_prefix_child(k->t, k->name_space, parent, key, tokens, n_tokens);
    if (node != QN_NO_NODE) keep_known(k, node);
    else if (!is_beginning(k->t, k->name_space, parent, tokens, n_tokens))
        return keep_new(k, parent, key, tokens, n_tokens);
    return node;
}

/* The last whole page of the sequence that is a node's: it came from the tree, or was kept before, and so
 * were all that precede it; a sequence that leaves a page gets a copy, which is no node's. */
static int32_t last_kept(const keeping *k, const quern_token *tokens, size_t n_tokens)
{
    const qn_prefix_tree *t = k->t;
    if (t->history == QN_NO_GROUP) return QN_NO_NODE;
    for (size_t index = n_tokens / QN_PAGE_POSITIONS; index-- > 0;) {
        const int32_t node = t->owners[t->history][page_of(k, (size_t)t->history, index)];
        const size_t position = index * QN_PAGE_POSITIONS;
        if (node != QN_NO_NODE && t->nodes[node].n_tokens == QN_PAGE_POSITIONS &&
            t->nodes[node].position == position &&
            qn_prefix_key_equal(t->nodes[node].name_space, k->name_space) &&
            memcmp(qn_prefix_tokens(t, node), tokens + position, QN_PAGE_POSITIONS * sizeof *tokens) == 0)
            return node;
    }
    return QN_NO_NODE;
}

/* What precedes may lack windows that the sequence has still. */
static void keep_windows(const keeping *k, int32_t node)
{
    const qn_prefix_tree *t = k->t;
    if (t->window == QN_NO_GROUP) return;
    for (; node != QN_NO_NODE; node = t->nodes[node].parent) {
        if (page_of(k, (size_t)t->window, t->nodes[node].position / QN_PAGE_POSITIONS) < 0) return;
        keep_known(k, node);
    }
}

void qn_prefix_tree_keep(qn_prefix_tree *t, qn_prefix_key name_space, const quern_token *tokens,
                         size_t n_tokens, size_t seq, bool with_tail)
{
    const keeping k = {t, name_space, seq};
    assert(n_tokens <= qn_kv_cache_length(t->cache, seq));
    int32_t node = last_kept(&k, tokens, n_tokens);
    qn_prefix_key key = node != QN_NO_NODE ? t->nodes[node].key : name_space;
    t->clock++;
    keep_windows(&k, node);
    for (size_t i = node != QN_NO_NODE ? t->nodes[node].position + QN_PAGE_POSITIONS : 0; i < n_tokens;) {
        const size_t n = qn_min_size(n_tokens - i, QN_PAGE_POSITIONS);
        if (n < QN_PAGE_POSITIONS && !with_tail) break;
        key = qn_prefix_key_of(key, tokens + i, n);
        const int32_t next = keep_page(&k, node, key, tokens + i, n);
        if (next == QN_NO_NODE) break;
        node = next;
        i += n;
    }
    if (node == QN_NO_NODE) return;
    for (int32_t i = with_tail ? node : QN_NO_NODE; i != QN_NO_NODE; i = t->nodes[i].parent)
        qn_prefix_use(t, i, 0);
    qn_prefix_use_window(t, node, t->nodes[node].position + t->nodes[node].n_tokens, 0);
}

bool qn_prefix_tree_add(qn_prefix_tree *t, const qn_prefix_page *page, const int32_t pages[QN_CACHE_GROUPS])
{
    const bool is_first = page->position == 0;
    const int32_t parent =
        is_first ? QN_NO_NODE : qn_prefix_by_key(t, page->parent, page->position - QN_PAGE_POSITIONS);
    assert(page->position % QN_PAGE_POSITIONS == 0 && page->n_tokens > 0 &&
           page->n_tokens <= QN_PAGE_POSITIONS);
    if ((!is_first && parent == QN_NO_NODE) || (t->history != QN_NO_GROUP && pages[t->history] < 0) ||
        !qn_prefix_key_equal(page->key, qn_prefix_key_of(page->parent, page->tokens, page->n_tokens)))
        return false;
    const qn_prefix_key name_space = is_first ? page->parent : t->nodes[parent].name_space;
    const int32_t known = qn_prefix_child(t, name_space, parent, page->key, page->tokens, page->n_tokens);
    t->clock++;
    if (known == QN_NO_NODE && !is_beginning(t, name_space, parent, page->tokens, page->n_tokens))
        return qn_prefix_enter(t, name_space, parent, page->key, page->tokens, page->n_tokens, pages) !=
               QN_NO_NODE;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        if (pages[g] < 0) continue;
        if (known != QN_NO_NODE && t->nodes[known].pages[g] < 0) qn_prefix_set_page(t, known, g, pages[g]);
        else qn_kv_cache_release(t->cache, g, pages[g]);
    }
    if (known != QN_NO_NODE) qn_prefix_use(t, known, 0);
    return true;
}
