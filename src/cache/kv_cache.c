/* kv_cache.c: page tables, free lists and counts of holders: see kv_cache.h. A page is free exactly while it
 * has no holder; copies are made at the first write (PagedAttention: Kwon et al. 2023, arXiv:2309.06180). */
#include "cache/kv_cache.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "kernel/kernel.h"

#include <assert.h>
#include <string.h>

typedef struct page_group {
    qn_kv_memory memory;
    uint32_t window;
    size_t n_pages, n_free;
    int32_t *free_pages; /* a stack */
    uint32_t *holders;   /* [n_pages] */
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

static size_t planned_pages(const qn_kv_cache_params *p, const qn_program *program, size_t group)
{
    const uint32_t window = program->groups[group].window;
    const size_t of_sequences = p->n_sequences * pages_per_sequence(p, window);
    if (p->n_positions == 0) return of_sequences;
    const size_t all = pages_for(qn_max_size(p->n_positions, p->n_ctx));
    size_t n = all;
    if (window > 0) {
        bool has_history = false;
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
            has_history = has_history || (program->groups[g].n_layers > 0 && program->groups[g].window == 0);
        /* Beside a page of the full history there is at most one of the windows. */
        const size_t most = has_history ? all : qn_max_size(all, of_sequences);
        const size_t kept = qn_min_size(p->n_windows, all) * (pages_for(window) + 1);
        n = qn_min_size(of_sequences + kept, most);
    }
    return n + 1; /* for the copy of a page that is shared */
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
        group->n_pages = planned_pages(&c->params, p, g);
        assert(group->n_pages <= INT32_MAX);
        group->memory.page_stride = p->groups[g].n_layers * group->memory.layout.layer_bytes;
        group->memory.base = qn_arena_alloc(a, group->n_pages, group->memory.page_stride);
        group->free_pages = qn_arena_alloc(a, group->n_pages, sizeof *group->free_pages);
        group->holders = qn_arena_alloc(a, group->n_pages, sizeof *group->holders);
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

qn_kv_cache_shape qn_kv_cache_get_shape(const qn_kv_cache *c)
{
    qn_kv_cache_shape shape = {.n_ctx = c->params.n_ctx};
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        shape.n_pages[g] = c->groups[g].n_pages, shape.windows[g] = c->groups[g].window;
    return shape;
}

qn_kv_cache_shape qn_kv_cache_plan_shape(const qn_program *p, const qn_kv_cache_params *params)
{
    qn_kv_cache c = {.params = *params};
    qn_arena measuring = {0};
    layout(&c, p, &measuring);
    return qn_kv_cache_get_shape(&c);
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

void qn_kv_cache_touch(qn_kv_cache *c)
{
    qn_touch_pages(c->arena.base, c->arena.size);
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

static int32_t *table_of(const qn_kv_cache *c, size_t seq, size_t group)
{
    return c->groups[group].tables + seq * c->table_entries;
}

const int32_t *qn_kv_cache_pages(const qn_kv_cache *c, size_t seq, size_t group)
{
    return c->has_group[group] ? table_of(c, seq, group) : NULL;
}

/* ---- holders ---------------------------------------------------------------------------------------- */

static int32_t take(page_group *group)
{
    const int32_t page = group->free_pages[--group->n_free];
    assert(group->holders[page] == 0);
    group->holders[page] = 1;
    return page;
}

static void release(page_group *group, int32_t page)
{
    assert(group->holders[page] > 0);
    if (--group->holders[page] == 0) group->free_pages[group->n_free++] = page;
}

static char *data_of(const page_group *group, int32_t page)
{
    return group->memory.base + (size_t)page * group->memory.page_stride;
}

static page_group *with_page(qn_kv_cache *c, size_t group, int32_t page)
{
    assert(c->has_group[group] && page >= 0 && (size_t)page < c->groups[group].n_pages);
    return &c->groups[group];
}

void qn_kv_cache_retain(qn_kv_cache *c, size_t group, int32_t page)
{
    page_group *g = with_page(c, group, page);
    assert(g->holders[page] > 0); /* a free page is taken, not retained */
    g->holders[page]++;
}

void qn_kv_cache_release(qn_kv_cache *c, size_t group, int32_t page)
{
    release(with_page(c, group, page), page);
}

uint32_t qn_kv_cache_holders(const qn_kv_cache *c, size_t group, int32_t page)
{
    return c->groups[group].holders[page];
}

int32_t qn_kv_cache_take(qn_kv_cache *c, size_t group)
{
    return c->groups[group].n_free > 0 ? take(&c->groups[group]) : -1;
}

void *qn_kv_cache_page_data(const qn_kv_cache *c, size_t group, int32_t page)
{
    return data_of(&c->groups[group], page);
}

/* ---- growing and shrinking -------------------------------------------------------------------------- */

bool qn_kv_cache_copy_positions(const qn_kv_cache *c, size_t group, int32_t page, size_t n, void *out)
{
    const qn_kv_memory *m = &c->groups[group].memory;
    const qn_kv_layout *l = &m->layout;
    const size_t row = l->n_head_kv * qn_max_size(l->head_dim_k, l->head_dim_v);
    float *zeros = qn_calloc(row, sizeof *zeros);
    if (zeros == NULL) return false;
    memcpy(out, data_of(&c->groups[group], page), m->page_stride);
    for (size_t layer = 0; layer < m->page_stride; layer += l->layer_bytes)
        for (size_t slot = n; slot < QN_PAGE_POSITIONS; slot++)
            qn_kernels_by_name("scalar")->kv_write(l, (char *)out + layer, slot, zeros, zeros);
    qn_free(zeros);
    return true;
}

/* Whether the next position goes into a page that others read. */
static bool must_copy(const page_group *group, const int32_t *table, size_t length, size_t n)
{
    const int32_t page = n > 0 && length % QN_PAGE_POSITIONS > 0 ? table[length / QN_PAGE_POSITIONS] : -1;
    return page >= 0 && group->holders[page] > 1;
}

size_t qn_kv_cache_wanted_pages(const qn_kv_cache *c, size_t seq, size_t n, size_t group)
{
    if (!c->has_group[group]) return 0;
    const int32_t *table = table_of(c, seq, group);
    const size_t length = c->lengths[seq], end = pages_for(length + n);
    size_t wanted = must_copy(&c->groups[group], table, length, n) ? 1 : 0;
    for (size_t i = length / QN_PAGE_POSITIONS; i < end; i++) wanted += table[i] < 0;
    return wanted;
}

static void reserve_in(page_group *group, int32_t *table, size_t length, size_t n)
{
    if (must_copy(group, table, length, n)) {
        int32_t *shared = &table[length / QN_PAGE_POSITIONS];
        const int32_t copy = take(group);
        memcpy(data_of(group, copy), data_of(group, *shared), group->memory.page_stride);
        release(group, *shared);
        *shared = copy;
    }
    for (size_t i = length / QN_PAGE_POSITIONS; i < pages_for(length + n); i++)
        if (table[i] < 0) table[i] = take(group);
}

bool qn_kv_cache_reserve(qn_kv_cache *c, size_t seq, size_t n)
{
    const size_t length = c->lengths[seq];
    assert(n <= c->params.n_batch && length + n <= c->params.n_ctx);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (qn_kv_cache_wanted_pages(c, seq, n, g) > c->groups[g].n_free) return false;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (c->has_group[g]) reserve_in(&c->groups[g], table_of(c, seq, g), length, n);
    return true;
}

static void give_back(page_group *group, int32_t *table, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        if (table[i] >= 0) release(group, table[i]);
        table[i] = -1;
    }
}

static size_t first_seen(const page_group *group, size_t position)
{
    return group->window > 0 && position >= group->window ? position - group->window + 1 : 0;
}

size_t qn_kv_cache_first_seen(const qn_kv_cache *c, size_t group, size_t position)
{
    return first_seen(&c->groups[group], position);
}

void qn_kv_cache_commit(qn_kv_cache *c, size_t seq, size_t n)
{
    c->lengths[seq] += n;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        page_group *group = &c->groups[g];
        if (!c->has_group[g] || group->window == 0) continue;
        const size_t keep = first_seen(group, c->lengths[seq]) / QN_PAGE_POSITIONS;
        int32_t *table = table_of(c, seq, g);
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
        if (table_of(c, seq, g)[first_seen(group, n) / QN_PAGE_POSITIONS] < 0) n = 0;
    }
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (c->has_group[g]) give_back(&c->groups[g], table_of(c, seq, g), pages_for(n), c->table_entries);
    c->lengths[seq] = n;
    return n;
}

void qn_kv_cache_adopt(qn_kv_cache *c, size_t seq, const int32_t *const pages[], size_t n)
{
    assert(c->lengths[seq] == 0 && n <= c->params.n_ctx);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        if (!c->has_group[g]) continue;
        int32_t *table = table_of(c, seq, g);
        give_back(&c->groups[g], table, 0, c->table_entries); /* reserved, but never written */
        for (size_t i = first_seen(&c->groups[g], n) / QN_PAGE_POSITIONS; i < pages_for(n); i++) {
            qn_kv_cache_retain(c, g, pages[g][i]);
            table[i] = pages[g][i];
        }
    }
    c->lengths[seq] = n;
}

void qn_kv_cache_exchange(qn_kv_cache *c, size_t seq, size_t group, size_t index, int32_t page)
{
    int32_t *entry = &table_of(c, seq, group)[index];
    assert(*entry >= 0);
    qn_kv_cache_retain(c, group, page); /* first: it may be the same page */
    release(&c->groups[group], *entry);
    *entry = page;
}

/* ---- what there is ---------------------------------------------------------------------------------- */

size_t qn_kv_cache_n_pages(const qn_kv_cache *c, size_t group)
{
    return c->groups[group].n_pages;
}
size_t qn_kv_cache_used_pages(const qn_kv_cache *c, size_t group)
{
    return c->groups[group].n_pages - c->groups[group].n_free;
}
size_t qn_kv_cache_page_bytes(const qn_kv_cache *c, size_t group)
{
    return c->groups[group].memory.page_stride;
}
uint32_t qn_kv_cache_window(const qn_kv_cache *c, size_t group)
{
    return c->groups[group].window;
}
size_t qn_kv_cache_n_ctx(const qn_kv_cache *c)
{
    return c->params.n_ctx;
}
size_t qn_kv_cache_taken_bytes(const qn_kv_cache *c)
{
    return c->arena.size;
}
