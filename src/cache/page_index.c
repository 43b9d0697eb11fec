/* page_index.c: see page_index.h. */
#include "cache/page_index.h"

#include "base/alloc.h"
#include "base/hash_map.h"

#include <string.h>

void qn_page_index_deinit(qn_page_index *x)
{
    qn_free(x->entries);
    qn_free(x->slots);
    memset(x, 0, sizeof *x);
}

/* ---- hash table -------------------------------------------------------------------------------------- */

static size_t home(const qn_page_index *x, uint32_t model, qn_prefix_key key)
{
    const uint64_t all[3] = {key.low, key.high, model};
    return (size_t)qn_hash_bytes(all, sizeof all, x->seed) & (x->n_slots - 1);
}

/* The slot of that key, or the empty one where it would be. There always is one: at most half are taken. */
static size_t find_slot(const qn_page_index *x, uint32_t model, qn_prefix_key key)
{
    size_t slot = home(x, model, key);
    for (; x->slots[slot] != 0; slot = (slot + 1) & (x->n_slots - 1)) {
        const qn_page_entry *e = &x->entries[x->slots[slot] - 1];
        if (e->key.low == key.low && e->key.high == key.high && e->model == model) break;
    }
    return slot;
}

/* Empties a slot, and closes the gap for those behind it that would no longer be found. */
static void empty_slot(qn_page_index *x, size_t gap)
{
    const size_t mask = x->n_slots - 1;
    x->slots[gap] = 0;
    for (size_t slot = (gap + 1) & mask; x->slots[slot] != 0; slot = (slot + 1) & mask) {
        qn_page_entry *e = &x->entries[x->slots[slot] - 1];
        const size_t from_home = (slot - home(x, e->model, e->key)) & mask, from_gap = (slot - gap) & mask;
        if (from_home < from_gap) continue; /* its home lies behind the gap */
        x->slots[gap] = x->slots[slot];
        e->slot = gap;
        x->slots[gap = slot] = 0;
    }
}

bool qn_page_index_reserve(qn_page_index *x, size_t n_entries)
{
    if (!qn_grow(&x->entries, &x->capacity, n_entries, QN_PAGE_INDEX_MAX, sizeof *x->entries)) return false;
    size_t n_slots = x->n_slots > 0 ? x->n_slots : 64;
    while (n_slots / 2 < n_entries) n_slots *= 2;
    if (n_slots == x->n_slots) return true;
    uint32_t *slots = qn_calloc(n_slots, sizeof *slots);
    if (slots == NULL) return false;
    qn_free(x->slots);
    x->slots = slots;
    x->n_slots = n_slots;
    for (size_t i = 0; i < x->n_entries; i++) {
        qn_page_entry *e = &x->entries[i];
        e->slot = home(x, e->model, e->key);
        while (x->slots[e->slot] != 0) e->slot = (e->slot + 1) & (n_slots - 1);
        x->slots[e->slot] = (uint32_t)i + 1;
    }
    return true;
}

/* ---- heap -------------------------------------------------------------------------------------------- */

static bool goes_before(const qn_page_entry *a, const qn_page_entry *b)
{
    if (a->used_ns != b->used_ns) return a->used_ns < b->used_ns;
    return a->key.high != b->key.high ? a->key.high < b->key.high : a->key.low < b->key.low;
}

static void place(qn_page_index *x, size_t at, const qn_page_entry *e)
{
    x->entries[at] = *e;
    x->slots[e->slot] = (uint32_t)at + 1;
}

/* The entry at that place may be older or newer than its place says: moves it to where it belongs. */
static void restore(qn_page_index *x, size_t at)
{
    const qn_page_entry e = x->entries[at];
    for (; at > 0 && goes_before(&e, &x->entries[(at - 1) / 2]); at = (at - 1) / 2)
        place(x, at, &x->entries[(at - 1) / 2]);
    for (size_t child; (child = 2 * at + 1) < x->n_entries; at = child) {
        if (child + 1 < x->n_entries && goes_before(&x->entries[child + 1], &x->entries[child])) child++;
        if (!goes_before(&x->entries[child], &e)) break;
        place(x, at, &x->entries[child]);
    }
    place(x, at, &e);
}

/* ---- entries ----------------------------------------------------------------------------------------- */

qn_page_entry *qn_page_index_find(qn_page_index *x, uint32_t model, qn_prefix_key key)
{
    if (x->n_entries == 0) return NULL;
    const uint32_t found = x->slots[find_slot(x, model, key)];
    return found != 0 ? &x->entries[found - 1] : NULL;
}

const qn_page_entry *qn_page_index_oldest(const qn_page_index *x)
{
    return x->n_entries > 0 ? &x->entries[0] : NULL;
}

bool qn_page_index_put(qn_page_index *x, const qn_page_entry *entry)
{
    qn_page_entry e = *entry;
    const qn_page_entry *old = qn_page_index_find(x, e.model, e.key);
    size_t at = x->n_entries;
    if (old != NULL) {
        at = (size_t)(old - x->entries);
        e.slot = old->slot;
        x->n_bytes -= old->n_bytes;
    } else {
        if (!qn_page_index_reserve(x, x->n_entries + 1)) return false;
        e.slot = find_slot(x, e.model, e.key);
        x->n_entries++;
    }
    x->n_bytes += e.n_bytes;
    place(x, at, &e);
    restore(x, at);
    return true;
}

void qn_page_index_set_times(qn_page_index *x, qn_page_entry *entry, int64_t used_ns, int64_t file_ns)
{
    entry->used_ns = used_ns;
    entry->file_ns = file_ns;
    restore(x, (size_t)(entry - x->entries));
}

void qn_page_index_remove(qn_page_index *x, qn_page_entry *entry)
{
    const size_t at = (size_t)(entry - x->entries), last = x->n_entries - 1;
    x->n_bytes -= entry->n_bytes;
    empty_slot(x, entry->slot);
    x->n_entries = last;
    if (at == last) return;
    place(x, at, &x->entries[last]);
    restore(x, at);
}

/* A removal may move an entry to a place that was looked at already, so this looks until it has met them all.
 */
void qn_page_index_remove_unseen(qn_page_index *x, uint32_t generation)
{
    size_t n = 0;
    for (size_t i = 0; i < x->n_entries; i++) n += x->entries[i].generation < generation;
    while (n > 0) {
        for (size_t i = x->n_entries; i-- > 0;) {
            if (x->entries[i].generation >= generation) continue;
            qn_page_index_remove(x, &x->entries[i]);
            n--;
        }
    }
}
