/* trie.c: building, level by level, from sorted texts. */
#include "vocab/trie.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

/* The entries below a node share `depth` bytes. */
typedef struct span {
    uint32_t begin, end, depth;
} span;

typedef struct builder {
    qn_trie *trie;
    const qn_trie_entry *entries;
    span *spans; /* [n_nodes] */
    size_t node_capacity, span_capacity, table_capacity;
} builder;

static int by_text(const void *a, const void *b)
{
    const qn_trie_entry *x = a, *y = b;
    const size_t n = qn_min_size(x->text.n_bytes, y->text.n_bytes);
    const int order = n > 0 ? memcmp(x->text.bytes, y->text.bytes, n) : 0;
    if (order != 0) return order;
    if (x->text.n_bytes != y->text.n_bytes) return x->text.n_bytes < y->text.n_bytes ? -1 : 1;
    return (x->value > y->value) - (x->value < y->value);
}

static bool add_node(builder *b, uint8_t byte, span s)
{
    qn_trie *t = b->trie;
    if (!qn_grow(&t->nodes, &b->node_capacity, t->n_nodes + 1, UINT32_MAX, sizeof *t->nodes) ||
        !qn_grow(&b->spans, &b->span_capacity, t->n_nodes + 1, UINT32_MAX, sizeof *b->spans))
        return false;
    t->nodes[t->n_nodes] = (qn_trie_node){.value = -1, .byte = byte};
    b->spans[t->n_nodes++] = s;
    return true;
}

static bool add_table(builder *b, size_t node)
{
    qn_trie *t = b->trie;
    if (!qn_grow(&t->tables, &b->table_capacity, t->n_tables + 1, UINT32_MAX, sizeof *t->tables))
        return false;
    uint32_t *table = t->tables[t->n_tables++];
    qn_trie_node *n = &t->nodes[node];
    memset(table, 0, sizeof *t->tables);
    n->table = (uint32_t)t->n_tables;
    for (uint32_t i = 0; i < n->n_children; i++)
        table[t->nodes[n->first_child + i].byte] = n->first_child + i;
    return true;
}

static bool add_children(builder *b, size_t node)
{
    qn_trie *t = b->trie;
    span s = b->spans[node];
    while (s.begin < s.end && b->entries[s.begin].text.n_bytes == s.depth) {
        if (t->nodes[node].value < 0) t->nodes[node].value = b->entries[s.begin].value;
        s.begin++;
    }
    const size_t first = t->n_nodes;
    while (s.begin < s.end) {
        const uint8_t byte = (uint8_t)b->entries[s.begin].text.bytes[s.depth];
        uint32_t end = s.begin + 1;
        while (end < s.end && (uint8_t)b->entries[end].text.bytes[s.depth] == byte) end++;
        if (!add_node(b, byte, (span){s.begin, end, s.depth + 1})) return false;
        s.begin = end;
    }
    t->nodes[node].first_child = (uint32_t)first;
    t->nodes[node].n_children = (uint16_t)(t->n_nodes - first);
    return t->nodes[node].n_children <= QN_TRIE_WIDE || add_table(b, node);
}

/* Steps through a large trie go anywhere: in huge pages they do not miss the TLB as well. */
static void move_to_pages(qn_trie *t)
{
    enum { HUGE_PAGE = 1 << 21 };
    const size_t n_bytes = t->n_nodes * sizeof *t->nodes;
    qn_trie_node *pages = n_bytes >= HUGE_PAGE ? qn_alloc_pages(n_bytes) : NULL;
    if (pages == NULL) return; /* it stays where it is */
    memcpy(pages, t->nodes, n_bytes);
    qn_free(t->nodes);
    t->nodes = pages;
    t->has_pages = true;
}

bool qn_trie_init(qn_trie *t, qn_trie_entry *entries, size_t n_entries)
{
    builder b = {.trie = t, .entries = entries};
    memset(t, 0, sizeof *t);
    if (n_entries > UINT32_MAX / 2) return false;
    if (n_entries > 0) qsort(entries, n_entries, sizeof *entries, by_text);
    size_t n_empty = 0;
    while (n_empty < n_entries && entries[n_empty].text.n_bytes == 0) n_empty++;
    bool ok = add_node(&b, 0, (span){(uint32_t)n_empty, (uint32_t)n_entries, 0});
    for (size_t node = 0; ok && node < t->n_nodes; node++) ok = add_children(&b, node);
    qn_free(b.spans);
    if (ok) move_to_pages(t);
    else qn_trie_deinit(t);
    return ok;
}

void qn_trie_deinit(qn_trie *t)
{
    if (t->has_pages) qn_free_pages(t->nodes, t->n_nodes * sizeof *t->nodes);
    else qn_free(t->nodes);
    qn_free(t->tables);
    memset(t, 0, sizeof *t);
}
