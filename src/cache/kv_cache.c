/* kv_cache.c: page tables and free lists. */
#include "cache/kv_cache.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <assert.h>
#include <string.h>

typedef struct page_group {
    qn_kv_memory memory;
    uint32_t window;
    size_t n_pages, n_free;
    int32_t *free_pages; /* a stack */
    int32_t *tables;     /* [n_sequences][table_entries] */
} page_group;

struct qn_kv_cache {
    qn_kv_cache_params params;
    size_t table_entries;
    size_t *lengths; /* [n_sequences] */
    page_group groups[QN_CACHE_GROUPS];
    bool has_group[QN_CACHE_GROUPS];
    qn_arena arena;
};

static size_t pages_for(size_t positions)
{
    return (positions + QN_PAGE_POSITIONS - 1) / QN_PAGE_POSITIONS;
}

/* The most pages that one sequence can hold at once. */
static size_t pages_per_sequence(const qn_kv_cache_params *p, uint32_t window)
{
    const size_t all = pages_for(p->n_ctx);
    if (window == 0) return all;
    return qn_min_size(all,
                       pages_for((size_t)window + p->n_batch) + 1); /* + 1: neither end need be aligned */
}

static void layout(qn_kv_cache *c, const qn_program *p, qn_arena *a)
{
    const qn_hparams *h = p->hparams;
    c->table_entries = pages_for(c->params.n_ctx);
    c->lengths = qn_arena_alloc(a, c->params.n_sequences, sizeof *c->lengths);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        page_group *group = &c->groups[g];
        c->has_group[g] = p->groups[g].n_layers > 0;
        qn_kv_layout_init(&group->memory.layout, c->params.type_k, c->params.type_v, h->n_head_kv,
                          h->head_dim_k, h->head_dim_v);
        if (!c->has_group[g]) continue;
        group->window = p->groups[g].window;
        group->n_pages = c->params.n_sequences * pages_per_sequence(&c->params, group->window);
        group->memory.page_stride = p->groups[g].n_layers * group->memory.layout.layer_bytes;
        group->memory.base = qn_arena_alloc(a, group->n_pages, group->memory.page_stride);
        group->free_pages = qn_arena_alloc(a, group->n_pages, sizeof *group->free_pages);
        group->tables = qn_arena_alloc(a, c->params.n_sequences * c->table_entries, sizeof *group->tables);
    }
}

size_t qn_kv_cache_bytes(const qn_program *p, const qn_kv_cache_params *params)
{
    qn_kv_cache c = {.params = *params};
    qn_arena measuring = {0};
    layout(&c, p, &measuring);
    return measuring.used;
}

quern_status qn_kv_cache_create(qn_kv_cache **out, const qn_program *p, const qn_kv_cache_params *params,
                                quern_error *err)
{
    *out = NULL;
    qn_kv_cache *c = qn_calloc(1, sizeof *c);
    if (c == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "key-value cache: no memory");
    c->params = *params;
    const quern_status s = qn_arena_create(&c->arena, qn_kv_cache_bytes(p, params), "key-value cache", err);
    if (s != QUERN_OK) {
        qn_kv_cache_destroy(c);
        return s;
    }
    layout(c, p, &c->arena);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        page_group *group = &c->groups[g];
        if (!c->has_group[g]) continue;
        for (size_t i = 0; i < group->n_pages; i++) group->free_pages[i] = (int32_t)(group->n_pages - 1 - i);
        group->n_free = group->n_pages;
        for (size_t i = 0; i < params->n_sequences * c->table_entries; i++) group->tables[i] = -1;
    }
    *out = c;
    return QUERN_OK;
}

void qn_kv_cache_destroy(qn_kv_cache *c)
{
    if (c == NULL) return;
    qn_arena_destroy(&c->arena);
    qn_free(c);
}

const qn_kv_memory *qn_kv_cache_memory(const qn_kv_cache *c, size_t group)
{
    return &c->groups[group].memory;
}
size_t qn_kv_cache_length(const qn_kv_cache *c, size_t seq)
{
    return c->lengths[seq];
}

const int32_t *qn_kv_cache_pages(const qn_kv_cache *c, size_t seq, size_t group)
{
    return c->has_group[group] ? c->groups[group].tables + seq * c->table_entries : NULL;
}

bool qn_kv_cache_reserve(qn_kv_cache *c, size_t seq, size_t n)
{
    const size_t length = c->lengths[seq], end = pages_for(length + n);
    assert(n <= c->params.n_batch && length + n <= c->params.n_ctx);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        if (!c->has_group[g]) continue;
        page_group *group = &c->groups[g];
        int32_t *table = group->tables + seq * c->table_entries;
        for (size_t i = length / QN_PAGE_POSITIONS; i < end; i++) {
            if (table[i] >= 0) continue;
            assert(group->n_free > 0); /* planned by pages_per_sequence */
            table[i] = group->free_pages[--group->n_free];
        }
    }
    return true;
}

static void give_back(page_group *group, int32_t *table, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        if (table[i] >= 0) group->free_pages[group->n_free++] = table[i];
        table[i] = -1;
    }
}

/* The first position that a query at `position` sees in a group. */
static size_t first_seen(const page_group *group, size_t position)
{
    return group->window > 0 && position >= group->window ? position - group->window + 1 : 0;
}

void qn_kv_cache_commit(qn_kv_cache *c, size_t seq, size_t n)
{
    c->lengths[seq] += n;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        page_group *group = &c->groups[g];
        if (!c->has_group[g] || group->window == 0) continue;
        const size_t keep = first_seen(group, c->lengths[seq]) / QN_PAGE_POSITIONS;
        int32_t *table = group->tables + seq * c->table_entries;
        size_t begin = keep;
        while (begin > 0 && table[begin - 1] >= 0) begin--; /* pages are given back from the front */
        give_back(group, table, begin, keep);
    }
}

size_t qn_kv_cache_truncate(qn_kv_cache *c, size_t seq, size_t n)
{
    if (n >= c->lengths[seq]) return c->lengths[seq];
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        const page_group *group = &c->groups[g];
        if (!c->has_group[g] || n == 0) continue;
        if (group->tables[seq * c->table_entries + first_seen(group, n) / QN_PAGE_POSITIONS] < 0) n = 0;
    }
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (c->has_group[g])
            give_back(&c->groups[g], c->groups[g].tables + seq * c->table_entries, pages_for(n),
                      c->table_entries);
    c->lengths[seq] = n;
    return n;
}

size_t qn_kv_cache_used_pages(const qn_kv_cache *c, size_t group)
{
    return c->groups[group].n_pages - c->groups[group].n_free;
}
size_t qn_kv_cache_taken_bytes(const qn_kv_cache *c)
{
    return c->arena.size;
}
