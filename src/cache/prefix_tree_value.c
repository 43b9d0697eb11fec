/* prefix_tree_value.c: what is kept is worth how often it was used, times the cost of computing it again,
 * over its bytes; and all that is used gains the value of what was given up last, so that what is not used
 * falls behind (GreedyDual-Size-Frequency: Cherkasova 1998). Two heaps have the least valuable on top: one of
 * the nodes without children, from which pages of the full history and nodes come, and one of all pages of
 * windows.
 *
 * The pages that one position sees of its window are worth nothing without each other, so they are used
 * together, with one value and one time: they also go together. */
#include "cache/prefix_tree_private.h"

#include "base/checked.h"

#include <assert.h>

/* ---- heaps ------------------------------------------------------------------------------------------ */

/* A leaf that no text may end in is of no use until somebody brings its window. */
static double worth(const qn_prefix_tree *t, qn_prefix_order order, int32_t node)
{
    if (order == QN_ORDER_LEAVES && !qn_prefix_has_window(t, node)) return 0;
    return t->nodes[node].ranks[order].value;
}

static bool goes_before(const qn_prefix_tree *t, qn_prefix_order order, int32_t a, int32_t b)
{
    const double worth_a = worth(t, order, a), worth_b = worth(t, order, b);
    if (worth_a < worth_b || worth_b < worth_a) return worth_a < worth_b;
    return t->nodes[a].ranks[order].used_at < t->nodes[b].ranks[order].used_at;
}

static void put_at(qn_prefix_tree *t, qn_prefix_order order, size_t place, int32_t node)
{
    t->heaps[order].nodes[place] = node;
    t->nodes[node].ranks[order].place = (int32_t)place;
}

/* Moves the node that stands at `place`, and whose worth may have changed, to where it belongs. */
static void settle(qn_prefix_tree *t, qn_prefix_order order, size_t place)
{
    const qn_prefix_heap *heap = &t->heaps[order];
    const int32_t node = heap->nodes[place];
    for (size_t above; place > 0; place = above) {
        above = (place - 1) / 2;
        if (!goes_before(t, order, node, heap->nodes[above])) break;
        put_at(t, order, place, heap->nodes[above]);
    }
    for (size_t below; (below = 2 * place + 1) < heap->n; place = below) {
        if (below + 1 < heap->n && goes_before(t, order, heap->nodes[below + 1], heap->nodes[below])) below++;
        if (!goes_before(t, order, heap->nodes[below], node)) break;
        put_at(t, order, place, heap->nodes[below]);
    }
    put_at(t, order, place, node);
}

static void settle_node(qn_prefix_tree *t, qn_prefix_order order, int32_t node)
{
    const int32_t place = t->nodes[node].ranks[order].place;
    if (place >= 0) settle(t, order, (size_t)place);
}

void qn_prefix_heap_put(qn_prefix_tree *t, qn_prefix_order order, int32_t node)
{
    qn_prefix_heap *heap = &t->heaps[order];
    if (t->nodes[node].ranks[order].place >= 0) return;
    put_at(t, order, heap->n++, node);
    settle(t, order, heap->n - 1);
}

void qn_prefix_heap_take(qn_prefix_tree *t, qn_prefix_order order, int32_t node)
{
    qn_prefix_heap *heap = &t->heaps[order];
    const int32_t place = t->nodes[node].ranks[order].place;
    if (place < 0) return;
    const int32_t last = heap->nodes[--heap->n];
    t->nodes[node].ranks[order].place = -1;
    if (last == node) return;
    put_at(t, order, (size_t)place, last);
    settle(t, order, (size_t)place);
}

/* ---- use -------------------------------------------------------------------------------------------- */

void qn_prefix_tree_set_cost(qn_prefix_tree *t, double fixed, double per_position)
{
    assert(fixed >= 0 && per_position >= 0); /* also not NaN: heaps need an order */
    t->cost_fixed = fixed, t->cost_per_position = per_position;
}

/* Of computing its tokens again. */
static double cost_of(const qn_prefix_tree *t, const qn_prefix_node *n)
{
    const double n_tokens = n->n_tokens, middle = (double)n->position + (n_tokens - 1) / 2;
    return n_tokens * (t->cost_fixed + t->cost_per_position * middle);
}

static void use(qn_prefix_tree *t, qn_prefix_order order, int32_t node, uint64_t n, double cost, size_t bytes)
{
    qn_prefix_rank *rank = &t->nodes[node].ranks[order];
    rank->n_used += n;
    rank->used_at = t->clock;
    rank->value = t->heaps[order].floor + (bytes > 0 ? (double)rank->n_used * cost / (double)bytes : 0);
    settle_node(t, order, node);
}

void qn_prefix_use(qn_prefix_tree *t, int32_t node, uint64_t n)
{
    const qn_prefix_node *used = &t->nodes[node];
    size_t bytes = 0;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (used->pages[g] >= 0) bytes += qn_kv_cache_page_bytes(t->cache, g);
    use(t, QN_ORDER_LEAVES, node, n, cost_of(t, used), bytes);
}

static void use_window_page(qn_prefix_tree *t, int32_t node, uint64_t n, double cost)
{
    use(t, QN_ORDER_WINDOWS, node, n, cost, qn_kv_cache_page_bytes(t->cache, (size_t)t->window));
}

void qn_prefix_use_window(qn_prefix_tree *t, int32_t node, size_t end, uint64_t n)
{
    if (t->window == QN_NO_GROUP || node == QN_NO_NODE) return;
    const size_t first = qn_kv_cache_first_seen(t->cache, (size_t)t->window, end);
    const double cost = cost_of(t, &t->nodes[node]);
    for (int32_t i = node; i != QN_NO_NODE; i = t->nodes[i].parent) {
        if (t->nodes[i].position + QN_PAGE_POSITIONS <= first) break;
        if (t->nodes[i].pages[t->window] >= 0) use_window_page(t, i, n, cost);
    }
}

void qn_prefix_window_came(qn_prefix_tree *t, int32_t node)
{
    qn_prefix_heap_put(t, QN_ORDER_WINDOWS, node);
    use_window_page(t, node, 1, cost_of(t, &t->nodes[node]));
    settle_node(t, QN_ORDER_LEAVES, node);
}

void qn_prefix_window_went(qn_prefix_tree *t, int32_t node)
{
    qn_prefix_heap_take(t, QN_ORDER_WINDOWS, node);
    settle_node(t, QN_ORDER_LEAVES, node);
}

/* ---- giving up -------------------------------------------------------------------------------------- */

static bool has_other_holder(const qn_prefix_tree *t, int32_t node, size_t group)
{
    const int32_t page = t->nodes[node].pages[group];
    return page >= 0 && qn_kv_cache_holders(t->cache, group, page) > 1;
}

static bool can_be_forgotten(const qn_prefix_tree *t, int32_t node)
{
    if (t->nodes[node].n_children > 0 || node == t->pinned) return false;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (has_other_holder(t, node, g)) return false;
    return true;
}

static void tell(const qn_prefix_tree *t, int32_t node, qn_prefix_order order)
{
    if (t->on_forget == NULL) return;
    const qn_prefix_node *n = &t->nodes[node];
    qn_prefix_page page = {.key = n->key,
                           .parent = n->parent == QN_NO_NODE ? n->name_space : t->nodes[n->parent].key,
                           .tokens = qn_prefix_tokens(t, node),
                           .n_tokens = n->n_tokens,
                           .position = n->position,
                           .value = n->ranks[order].value,
                           .stays = order == QN_ORDER_WINDOWS};
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (n->pages[g] >= 0) page.data[g] = qn_kv_cache_page_data(t->cache, g, n->pages[g]);
    t->on_forget(t->user, &page);
}

static void forget_node(qn_prefix_tree *t, int32_t node)
{
    tell(t, node, QN_ORDER_LEAVES);
    qn_prefix_remove(t, node);
    t->stats.n_forgotten++;
}

/* Forgets a leaf, and what is of no use without it: parents whose windows were given up before. */
static void forget_leaf(qn_prefix_tree *t, int32_t node)
{
    do {
        const int32_t parent = t->nodes[node].parent;
        forget_node(t, node);
        node = parent;
    } while (node != QN_NO_NODE && !qn_prefix_has_window(t, node) && can_be_forgotten(t, node));
}

/* The window goes before the rest of a node that has children; a leaf is of no use without it. */
static void give_up_window(qn_prefix_tree *t, int32_t node)
{
    if (can_be_forgotten(t, node)) {
        forget_leaf(t, node);
    } else {
        tell(t, node, QN_ORDER_WINDOWS);
        qn_prefix_drop_page(t, node, (size_t)t->window);
    }
}

static bool give_up(qn_prefix_tree *t, qn_prefix_order order, int32_t node)
{
    if (order == QN_ORDER_LEAVES ? !can_be_forgotten(t, node) : has_other_holder(t, node, (size_t)t->window))
        return false;
    const double value = worth(t, order, node);
    if (value > t->heaps[order].floor) t->heaps[order].floor = value;
    if (order == QN_ORDER_LEAVES) forget_leaf(t, node);
    else give_up_window(t, node);
    return true;
}

static bool is_enough(const qn_prefix_tree *t, int group, size_t n)
{
    if (group == QN_NO_GROUP) return t->free_nodes != QN_NO_NODE;
    const size_t g = (size_t)group;
    return qn_kv_cache_n_pages(t->cache, g) - qn_kv_cache_used_pages(t->cache, g) >= n;
}

/* Gives up the least valuable until n pages of the group, or (QN_NO_GROUP) a node, are free. Who holds a page
 * is known to the cache alone: nodes that turn out to be held are set aside meanwhile. */
static bool make_free(qn_prefix_tree *t, qn_prefix_order order, int group, size_t n)
{
    const qn_prefix_heap *heap = &t->heaps[order];
    size_t n_aside = 0;
    while (!is_enough(t, group, n) && heap->n > 0) {
        const int32_t node = heap->nodes[0];
        if (give_up(t, order, node)) continue;
        qn_prefix_heap_take(t, order, node);
        t->set_aside[n_aside++] = node;
    }
    for (size_t i = 0; i < n_aside; i++) qn_prefix_heap_put(t, order, t->set_aside[i]);
    return is_enough(t, group, n);
}

bool qn_prefix_make_room(qn_prefix_tree *t)
{
    return make_free(t, QN_ORDER_LEAVES, QN_NO_GROUP, 0);
}

bool qn_prefix_tree_free_pages(qn_prefix_tree *t, size_t group, size_t n)
{
    if (qn_kv_cache_n_pages(t->cache, group) == 0) return n == 0;
    return make_free(t, (int)group == t->window ? QN_ORDER_WINDOWS : QN_ORDER_LEAVES, (int)group, n);
}

void qn_prefix_tree_forget(qn_prefix_tree *t, const qn_prefix_key *name_space)
{
    for (size_t i = 0; i < t->n_nodes; i++) {
        const qn_prefix_node *n = &t->nodes[i];
        int32_t node = (int32_t)i;
        if (n->n_tokens == 0 || (name_space != NULL && !qn_prefix_key_equal(n->name_space, *name_space)))
            continue;
        while (node != QN_NO_NODE && can_be_forgotten(t, node)) {
            const int32_t parent = t->nodes[node].parent;
            forget_node(t, node);
            node = parent;
        }
    }
    for (size_t i = 0; i < t->n_nodes && t->window != QN_NO_GROUP; i++) { /* what is below is held */
        const qn_prefix_node *n = &t->nodes[i];
        if (n->n_tokens > 0 && n->pages[t->window] >= 0 &&
            !has_other_holder(t, (int32_t)i, (size_t)t->window) &&
            (name_space == NULL || qn_prefix_key_equal(n->name_space, *name_space)))
            give_up_window(t, (int32_t)i);
    }
}
