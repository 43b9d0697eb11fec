/* trie.c: building, depth first, from sorted texts: what follows each other in a text comes to lie close
 * together where it can.
 *
 * The children of a node take the first base in the latest blocks where all of them find a free unit, and
 * which no other node has: then a unit needs to know its byte only. The search is given up after some tries,
 * and a block is begun. */
#include "vocab/trie.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_UNITS = 1 << 24, /* the bits of a base */
    OPEN_BLOCKS = 16,    /* where free units are looked for */
    MAX_TRIES = 128,
    WORDS = QN_TRIE_BLOCK / 64,
};

/* Of a block of units: which are taken, and which are the base of a node. */
typedef struct block {
    uint64_t taken[WORDS], bases[WORDS];
    uint32_t n_taken;
} block;

/* The entries below a node share `depth` bytes. */
typedef struct span {
    uint32_t unit, begin, end, depth;
} span;

typedef struct builder {
    qn_trie *trie;
    const qn_trie_entry *entries;
    block *blocks; /* [n_units / QN_TRIE_BLOCK] */
    span *open;    /* [n_open] nodes without children so far; they share no entry */
    size_t n_open, unit_capacity, value_capacity, block_capacity;
    span children[QN_TRIE_BLOCK]; /* of one node */
    uint8_t bytes[QN_TRIE_BLOCK]; /* that lead to them */
    size_t n_children;
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

static bool has_bit(const uint64_t *bits, unsigned at)
{
    return bits[at / 64] >> at % 64 & 1;
}

static void set_bit(uint64_t *bits, unsigned at)
{
    bits[at / 64] |= UINT64_C(1) << at % 64;
}

static bool add_block(builder *b)
{
    qn_trie *t = b->trie;
    const size_t n = t->n_units + QN_TRIE_BLOCK, n_blocks = n / QN_TRIE_BLOCK;
    if (!qn_grow(&t->units, &b->unit_capacity, n, MAX_UNITS, sizeof *t->units) ||
        !qn_grow(&t->values, &b->value_capacity, n, MAX_UNITS, sizeof *t->values) ||
        !qn_grow(&b->blocks, &b->block_capacity, n_blocks, MAX_UNITS, sizeof *b->blocks))
        return false;
    for (size_t i = t->n_units; i < n; i++) {
        t->units[i] = (qn_trie_unit){0, -INFINITY};
        t->values[i] = -1;
    }
    memset(&b->blocks[n_blocks - 1], 0, sizeof *b->blocks);
    t->n_units = n;
    return true;
}

/* Whether all children find room with the first of them in unit `first` of the block. */
static bool fits(const builder *b, const block *where, unsigned first)
{
    const unsigned base = first ^ b->bytes[0];
    if (has_bit(where->bases, base)) return false;
    for (size_t i = 1; i < b->n_children; i++)
        if (has_bit(where->taken, base ^ b->bytes[i])) return false;
    return true;
}

/* A base for the children. False: no memory. */
static bool find_base(builder *b, uint32_t *base)
{
    const size_t n_blocks = b->trie->n_units / QN_TRIE_BLOCK;
    int tries = 0;
    for (size_t i = n_blocks > OPEN_BLOCKS ? n_blocks - OPEN_BLOCKS : 1; i < n_blocks; i++) {
        const block *where = &b->blocks[i];
        if (QN_TRIE_BLOCK - where->n_taken < b->n_children) continue;
        for (unsigned word = 0; word < WORDS; word++) {
            for (uint64_t free = ~where->taken[word]; free != 0 && tries < MAX_TRIES; free &= free - 1) {
                const unsigned first = word * 64 + (unsigned)__builtin_ctzll(free);
                tries++;
                if (!fits(b, where, first)) continue;
                *base = (uint32_t)(i * QN_TRIE_BLOCK) + (first ^ b->bytes[0]);
                return true;
            }
        }
    }
    *base = (uint32_t)b->trie->n_units;
    return add_block(b);
}

/* The entries that end with the node give it its value; the others go to its children. */
static void find_children(builder *b, span s)
{
    qn_trie *t = b->trie;
    while (s.begin < s.end && b->entries[s.begin].text.n_bytes == s.depth) {
        if (t->values[s.unit] < 0) {
            t->values[s.unit] = b->entries[s.begin].value;
            t->units[s.unit].weight = b->entries[s.begin].weight;
        }
        s.begin++;
    }
    b->n_children = 0;
    while (s.begin < s.end) {
        const uint8_t byte = (uint8_t)b->entries[s.begin].text.bytes[s.depth];
        uint32_t end = s.begin + 1;
        while (end < s.end && (uint8_t)b->entries[end].text.bytes[s.depth] == byte) end++;
        b->bytes[b->n_children] = byte;
        b->children[b->n_children++] = (span){0, s.begin, end, s.depth + 1};
        s.begin = end;
    }
}

static bool add_children(builder *b, span s)
{
    qn_trie *t = b->trie;
    uint32_t base;
    find_children(b, s);
    if (b->n_children == 0) return true; /* base 0: nothing is reached in the first block */
    if (!find_base(b, &base)) return false;
    block *where = &b->blocks[base / QN_TRIE_BLOCK];
    t->units[s.unit].link |= base << 8;
    set_bit(where->bases, base % QN_TRIE_BLOCK);
    where->n_taken += (uint32_t)b->n_children;
    for (size_t i = b->n_children; i-- > 0;) {
        b->children[i].unit = base ^ b->bytes[i];
        t->units[b->children[i].unit].link = b->bytes[i];
        set_bit(where->taken, b->children[i].unit % QN_TRIE_BLOCK);
        b->open[b->n_open++] = b->children[i];
    }
    return true;
}

/* Units that are free say that they are reached from a base that no node has. As long as one is free there is
 * such a base: each base has a child in its block. */
static void close_blocks(builder *b)
{
    for (size_t i = 0; i < b->trie->n_units / QN_TRIE_BLOCK; i++) {
        const block *where = &b->blocks[i];
        unsigned base = i == 0; /* that of the first block is the base of all leaves */
        while (base < QN_TRIE_BLOCK && has_bit(where->bases, base)) base++;
        for (unsigned at = 0; at < QN_TRIE_BLOCK; at++)
            if (!has_bit(where->taken, at)) b->trie->units[i * QN_TRIE_BLOCK + at].link |= at ^ base;
    }
}

/* Steps through a large trie go anywhere: in huge pages they do not miss the TLB as well. */
static void move_to_pages(qn_trie *t)
{
    enum { HUGE_PAGE = 1 << 21 };
    const size_t n_bytes = t->n_units * sizeof *t->units;
    qn_trie_unit *pages = n_bytes >= HUGE_PAGE ? qn_alloc_pages(n_bytes) : NULL;
    if (pages == NULL) return; /* they stay where they are */
    memcpy(pages, t->units, n_bytes);
    qn_free(t->units);
    t->units = pages;
    t->has_pages = true;
}

bool qn_trie_init(qn_trie *t, qn_trie_entry *entries, size_t n_entries)
{
    memset(t, 0, sizeof *t);
    if (n_entries > UINT32_MAX / 2) return false;
    builder *b = qn_calloc(1, sizeof *b);
    if (b == NULL) return false;
    if (n_entries > 0) qsort(entries, n_entries, sizeof *entries, by_text);
    uint32_t n_empty = 0;
    while (n_empty < n_entries && entries[n_empty].text.n_bytes == 0) n_empty++;
    b->trie = t;
    b->entries = entries;
    b->open = qn_malloc((n_entries + 1) * sizeof *b->open);
    bool ok = b->open != NULL && add_block(b);
    if (ok) b->open[b->n_open++] = (span){QN_TRIE_ROOT, n_empty, (uint32_t)n_entries, 0};
    while (ok && b->n_open > 0) ok = add_children(b, b->open[--b->n_open]);
    if (ok) close_blocks(b);
    qn_free(b->open);
    qn_free(b->blocks);
    qn_free(b);
    if (ok) move_to_pages(t);
    else qn_trie_deinit(t);
    return ok;
}

void qn_trie_deinit(qn_trie *t)
{
    if (t->has_pages) qn_free_pages(t->units, t->n_units * sizeof *t->units);
    else qn_free(t->units);
    qn_free(t->values);
    memset(t, 0, sizeof *t);
}
