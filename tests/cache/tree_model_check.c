/* tree_model_check.c: what must hold after every operation: see tree_model.h. */
#include "tree_model_private.h"

#include <string.h>

qn_prefix_key model_space_key(int space)
{
    return (qn_prefix_key){(uint64_t)space * 7, 1 + (uint64_t)space};
}

void model_contents(int space, size_t group, const quern_token *text, size_t n, uint64_t *contents)
{
    uint64_t hash = (uint64_t)space * 1000003 + group * 7919 + 1;
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ (uint64_t)text[i]) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
        contents[i] = hash;
    }
}

/* At both ends of a page, so that one that was copied in part is seen. */
static void *slot_at(const qn_kv_cache *c, size_t group, int32_t page, size_t slot, bool at_end)
{
    const size_t bytes = qn_kv_cache_page_bytes(c, group),
                 begin = at_end ? bytes - PAGE * sizeof(uint64_t) : 0;
    REQUIRE(bytes >= 2 * PAGE * sizeof(uint64_t));
    return (char *)qn_kv_cache_page_data(c, group, page) + begin + slot * sizeof(uint64_t);
}

void model_write(qn_kv_cache *c, size_t group, int32_t page, size_t slot, uint64_t content)
{
    REQUIRE(qn_kv_cache_holders(c, group, page) == 1); /* nobody writes what another reads */
    for (int end = 0; end < 2; end++) memcpy(slot_at(c, group, page, slot, end), &content, sizeof content);
}

void model_check_page(const qn_kv_cache *c, size_t group, int32_t page, int space, const quern_token *text,
                      size_t position, size_t end)
{
    uint64_t contents[MODEL_CTX];
    REQUIRE(qn_kv_cache_holders(c, group, page) > 0);
    model_contents(space, group, text, end, contents);
    for (int at_end = 0; at_end < 2; at_end++)
        REQUIRE(memcmp(slot_at(c, group, page, 0, at_end), contents + position,
                       (end - position) * sizeof *contents) == 0);
}

size_t model_sequences_with(const tree_model *m, size_t group, int32_t page)
{
    size_t n = 0;
    for (size_t s = 0; s < m->n_sequences; s++)
        for (size_t i = 0; i < (MODEL_CTX + PAGE - 1) / PAGE; i++)
            n += qn_kv_cache_pages(m->cache, s, group)[i] == page;
    return n;
}

static void check_sequence(const tree_model *m, size_t seq)
{
    const model_sequence *s = &m->sequences[seq];
    REQUIRE(qn_kv_cache_length(m->cache, seq) == s->length);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        const int32_t *table = qn_kv_cache_pages(m->cache, seq, g);
        const size_t first = qn_kv_cache_first_seen(m->cache, g, s->length);
        for (size_t i = 0; table != NULL && i * PAGE < s->length; i++) {
            const size_t end = (i + 1) * PAGE < s->length ? (i + 1) * PAGE : s->length;
            REQUIRE(table[i] >= 0 || i < first / PAGE);
            if (table[i] >= 0) model_check_page(m->cache, g, table[i], s->space, s->text, i * PAGE, end);
        }
    }
}

/* Every holder is a sequence or an entry, and who has none is free. */
static void check_holders(const tree_model *m, size_t group)
{
    size_t n_used = 0;
    for (size_t page = 0; page < qn_kv_cache_n_pages(m->cache, group); page++) {
        size_t n = model_sequences_with(m, group, (int32_t)page), n_entries = 0;
        for (size_t i = 0; i < m->n_entries; i++) n_entries += m->entries[i].pages[group] == (int32_t)page;
        REQUIRE(n_entries <= 1);
        REQUIRE(qn_kv_cache_holders(m->cache, group, (int32_t)page) == n + n_entries);
        n_used += n + n_entries > 0;
    }
    REQUIRE(qn_kv_cache_used_pages(m->cache, group) == n_used);
}

static const qn_prefix_node *node_of(const tree_model *m, const entry *e)
{
    const qn_prefix_tree *t = m->tree;
    for (size_t i = 0; i < t->n_nodes; i++) {
        const qn_prefix_node *n = &t->nodes[i];
        if (n->n_tokens == e->end - e->position && qn_prefix_key_equal(n->key, e->key) &&
            n->position == e->position)
            return n;
    }
    return NULL;
}

static void check_entry(const tree_model *m, const entry *e)
{
    const qn_prefix_node *n = node_of(m, e);
    REQUIRE(n != NULL && qn_prefix_key_equal(n->name_space, model_space_key(e->space)));
    const int32_t id = (int32_t)(n - m->tree->nodes);
    REQUIRE(memcmp(qn_prefix_tokens(m->tree, id), e->text + e->position, n->n_tokens * sizeof *e->text) == 0);
    size_t n_children = 0;
    for (size_t i = 0; i < m->n_entries; i++)
        n_children += m->entries[i].position == e->end && qn_prefix_key_equal(m->entries[i].parent, e->key);
    REQUIRE(n->n_children == n_children);
    REQUIRE((n->ranks[QN_ORDER_LEAVES].place >= 0) == (n_children == 0));
    REQUIRE((n->ranks[QN_ORDER_WINDOWS].place >= 0) ==
            (m->tree->window != QN_NO_GROUP && n->pages[m->tree->window] >= 0));
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        REQUIRE(n->pages[g] == e->pages[g]);
        REQUIRE(n->pages[g] < 0 || m->tree->owners[g][n->pages[g]] == id);
        if (n->pages[g] >= 0 && m->n_steps % 16 == 0) /* it takes long, and nobody should have written */
            model_check_page(m->cache, g, n->pages[g], e->space, e->text, e->position, e->end);
    }
}

/* A leaf whose window is missing is worth nothing. */
static double worth(const qn_prefix_tree *t, int32_t node, int order)
{
    const bool has_window = t->window == QN_NO_GROUP || t->nodes[node].pages[t->window] >= 0;
    return order == QN_ORDER_LEAVES && !has_window ? 0 : t->nodes[node].ranks[order].value;
}

static void check_heap(const qn_prefix_tree *t, int order)
{
    const qn_prefix_heap *heap = &t->heaps[order];
    for (size_t i = 0; i < heap->n; i++) {
        const int32_t node = heap->nodes[i], above = heap->nodes[i > 0 ? (i - 1) / 2 : 0];
        const double difference = worth(t, node, order) - worth(t, above, order);
        REQUIRE(t->nodes[node].ranks[order].place == (int32_t)i);
        REQUIRE(difference > 0 || (difference >= 0 && t->nodes[above].ranks[order].used_at <=
                                                          t->nodes[node].ranks[order].used_at));
    }
}

void model_check(const tree_model *m)
{
    qn_prefix_stats stats;
    qn_prefix_tree_get_stats(m->tree, &stats);
    REQUIRE(stats.n_nodes == m->n_entries && stats.n_forgotten == m->n_forgotten);
    for (size_t s = 0; s < m->n_sequences; s++) check_sequence(m, s);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) check_holders(m, g);
    for (size_t i = 0; i < m->n_entries; i++) check_entry(m, &m->entries[i]);
    for (int order = 0; order < QN_PREFIX_ORDERS; order++) check_heap(m->tree, order);
}
