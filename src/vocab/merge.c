/* merge.c: see merge.h. */
#include "vocab/merge.h"

#include "base/alloc.h"

#include <assert.h>
#include <string.h>

enum { SHORT_WORD = 32, MAX_SYMBOLS = 1 << 24 };

void qn_merger_deinit(qn_merger *m)
{
    qn_free(m->symbols);
    qn_free(m->heap);
    memset(m, 0, sizeof *m);
}

bool qn_merger_add(qn_merger *m, uint32_t id, size_t start, size_t n_bytes)
{
    if (m->n_symbols == m->symbol_capacity &&
        !qn_grow(&m->symbols, &m->symbol_capacity, m->n_symbols + 1, MAX_SYMBOLS, sizeof *m->symbols))
        return false;
    m->symbols[m->n_symbols++] =
        (qn_symbol){.id = id, .start = (uint32_t)start, .n_bytes = (uint32_t)n_bytes};
    return true;
}

/* All pairs of a short word lie in one array; the best is found by looking at each. */
static void merge_short(qn_merger *m, const char *word, qn_pair_fn *pair, const void *user)
{
    qn_symbol *s = m->symbols;
    qn_pair pairs[SHORT_WORD];
    size_t n = m->n_symbols;
    for (size_t i = 0; i + 1 < n; i++) pairs[i] = pair(user, word, &s[i], &s[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (pairs[i].priority < pairs[best].priority) best = i;
        if (pairs[best].priority == QN_PAIR_NONE) break;
        s[best].id = pairs[best].id;
        s[best].n_bytes += s[best + 1].n_bytes;
        n--;
        memmove(&s[best + 1], &s[best + 2], (n - best - 1) * sizeof *s);
        if (best + 1 < n) memmove(&pairs[best], &pairs[best + 1], (n - best - 1) * sizeof *pairs);
        if (best > 0) pairs[best - 1] = pair(user, word, &s[best - 1], &s[best]);
        if (best + 1 < n) pairs[best] = pair(user, word, &s[best], &s[best + 1]);
    }
    m->n_symbols = n;
}

static void sift_down(qn_merge_entry *heap, size_t n, size_t at)
{
    const qn_merge_entry moving = heap[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1].key < heap[child].key) child++;
        if (heap[child].key >= moving.key) break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

static void sift_up(qn_merge_entry *heap, size_t at)
{
    const qn_merge_entry moving = heap[at];
    while (at > 0 && heap[(at - 1) / 2].key > moving.key) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = moving;
}

/* Appends the pair that begins at `left` without restoring the order. False: no memory. */
static bool append_pair(qn_merger *m, const char *word, qn_pair_fn *pair, const void *user, uint32_t left)
{
    const qn_symbol *l = &m->symbols[left];
    if (l->next == QN_SYMBOL_NONE) return true;
    const qn_symbol *r = &m->symbols[l->next];
    const qn_pair p = pair(user, word, l, r);
    if (p.priority == QN_PAIR_NONE) return true;
    if (m->n_heap == m->heap_capacity &&
        !qn_grow(&m->heap, &m->heap_capacity, m->n_heap + 1, 3 * (size_t)MAX_SYMBOLS, sizeof *m->heap))
        return false;
    m->heap[m->n_heap++] = (qn_merge_entry){
        .key = (uint64_t)p.priority << 32 | left, .n_bytes = l->n_bytes + r->n_bytes, .id = p.id};
    return true;
}

static bool push_pair(qn_merger *m, const char *word, qn_pair_fn *pair, const void *user, uint32_t left)
{
    const size_t before = m->n_heap;
    if (!append_pair(m, word, pair, user, left)) return false;
    if (m->n_heap > before) sift_up(m->heap, m->n_heap - 1);
    return true;
}

static qn_merge_entry pop(qn_merger *m)
{
    const qn_merge_entry top = m->heap[0];
    m->heap[0] = m->heap[--m->n_heap];
    if (m->n_heap > 1) sift_down(m->heap, m->n_heap, 0);
    return top;
}

static bool merge_long(qn_merger *m, const char *word, qn_pair_fn *pair, const void *user)
{
    qn_symbol *s = m->symbols;
    const uint32_t n = (uint32_t)m->n_symbols;
    for (uint32_t i = 0; i < n; i++) s[i].previous = i - 1, s[i].next = i + 1; /* 0 - 1 is QN_SYMBOL_NONE */
    s[n - 1].next = QN_SYMBOL_NONE;
    m->n_heap = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!append_pair(m, word, pair, user, i)) return false;
    for (size_t i = m->n_heap / 2; i-- > 0;) sift_down(m->heap, m->n_heap, i);

    while (m->n_heap > 0) {
        const qn_merge_entry e = pop(m);
        const uint32_t left = (uint32_t)e.key;
        qn_symbol *l = &s[left];
        if (l->n_bytes == 0 || l->next == QN_SYMBOL_NONE || l->n_bytes + s[l->next].n_bytes != e.n_bytes)
            continue; /* one of the two has been merged since */
        qn_symbol *r = &s[l->next];
        l->id = e.id;
        l->n_bytes = e.n_bytes;
        l->next = r->next;
        r->n_bytes = 0;
        if (l->next != QN_SYMBOL_NONE) s[l->next].previous = left;
        if (l->previous != QN_SYMBOL_NONE && !push_pair(m, word, pair, user, l->previous)) return false;
        if (!push_pair(m, word, pair, user, left)) return false;
    }
    size_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (s[i].n_bytes > 0) s[kept++] = s[i];
    m->n_symbols = kept;
    return true;
}

bool qn_merger_run(qn_merger *m, const char *word, qn_pair_fn *pair, const void *user)
{
    if (m->n_symbols < 2) return true;
    if (m->n_symbols > SHORT_WORD) return merge_long(m, word, pair, user);
    merge_short(m, word, pair, user);
    return true;
}
