/* hash_map.c: string map with linear probing. The mixing step, a 64 x 64 -> 128 bit product folded
 * by xor, is the idea of Wang Yi's wyhash. */
#include "base/hash_map.h"

#include "base/alloc.h"

#include <string.h>
#include <time.h>

static uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    const wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* A factor of 0 makes a product 0 whatever the other factor is, so both factors carry secret bits of
 * the seed: words in a file that aim at a constant of this function meet nothing. */
uint64_t qn_hash_bytes(const void *bytes, size_t n_bytes, uint64_t seed)
{
    const unsigned char *p = bytes;
    const uint64_t left_key = fold(seed ^ 0x9e3779b97f4a7c15u, 0xa0761d6478bd642fu);
    const uint64_t right_key = fold(seed ^ 0xe7037ed1a0b428dbu, 0x8ebc6af09c88c6e3u);
    uint64_t h = seed, words[2];
    size_t left = n_bytes;
    for (; left >= 16; left -= 16, p += 16) {
        memcpy(words, p, 16);
        h = fold(words[0] ^ left_key ^ h, words[1] ^ right_key);
    }
    words[0] = words[1] = 0;
    if (left > 0) memcpy(words, p, left);
    h = fold(words[0] ^ left_key ^ h, words[1] ^ right_key);
    return fold(h ^ (uint64_t)n_bytes, 0x1d8e4e27c47d124fu);
}

/* Look-ups lie anywhere in the table: a large one has huge pages, so that each does not miss the TLB. */
static bool is_large(size_t n_slots)
{
    return n_slots > ((size_t)1 << 21) / sizeof(qn_hash_slot);
}

static qn_hash_slot *allocate(size_t n_slots)
{
    return is_large(n_slots) ? qn_alloc_pages(n_slots * sizeof(qn_hash_slot))
                             : qn_calloc(n_slots, sizeof(qn_hash_slot));
}

static void release(qn_hash_map *m)
{
    if (is_large(m->n_slots)) qn_free_pages(m->slots, m->n_slots * sizeof *m->slots);
    else qn_free(m->slots);
}

static bool resize(qn_hash_map *m, size_t n_slots)
{
    qn_hash_slot *slots = allocate(n_slots);
    if (slots == NULL) return false;
    for (size_t i = 0; i < m->n_slots; i++) {
        if (m->slots[i].key == NULL) continue;
        size_t at = m->slots[i].hash & (n_slots - 1);
        while (slots[at].key != NULL) at = (at + 1) & (n_slots - 1);
        slots[at] = m->slots[i];
    }
    release(m);
    m->slots = slots;
    m->n_slots = n_slots;
    return true;
}

bool qn_hash_map_init(qn_hash_map *m, size_t n_items)
{
    memset(m, 0, sizeof *m);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    m->key = fold((uint64_t)now.tv_nsec ^ (uint64_t)(uintptr_t)m, 0x9e3779b97f4a7c15u ^ (uint64_t)now.tv_sec);
    size_t n_slots = 16;
    while (n_slots / 2 < n_items) {
        if (n_slots > SIZE_MAX / 4) return false;
        n_slots *= 2;
    }
    return resize(m, n_slots);
}

void qn_hash_map_deinit(qn_hash_map *m)
{
    release(m);
    memset(m, 0, sizeof *m);
}

static qn_hash_slot *find(const qn_hash_map *m, const char *key, size_t n_bytes, uint64_t hash)
{
    size_t at = hash & (m->n_slots - 1);
    for (;; at = (at + 1) & (m->n_slots - 1)) {
        qn_hash_slot *s = &m->slots[at];
        if (s->key == NULL) return s;
        if (s->hash == hash && s->n_bytes == n_bytes && memcmp(s->key, key, n_bytes) == 0) return s;
    }
}

bool qn_hash_map_add(qn_hash_map *m, const char *key, size_t n_bytes, uint32_t value, int64_t *existing)
{
    if (m->n_slots / 2 <= m->n_items && !resize(m, m->n_slots > 0 ? m->n_slots * 2 : 16)) return false;
    const uint64_t hash = qn_hash_bytes(key, n_bytes, m->key);
    qn_hash_slot *s = find(m, key, n_bytes, hash);
    if (existing != NULL) *existing = s->key != NULL ? (int64_t)s->value : QN_HASH_NONE;
    if (s->key != NULL) return true;
    *s = (qn_hash_slot){.key = key, .n_bytes = (uint32_t)n_bytes, .value = value, .hash = hash};
    m->n_items++;
    return true;
}

int64_t qn_hash_map_get(const qn_hash_map *m, const char *key, size_t n_bytes)
{
    if (m->n_items == 0) return QN_HASH_NONE;
    const qn_hash_slot *s = find(m, key, n_bytes, qn_hash_bytes(key, n_bytes, m->key));
    return s->key != NULL ? (int64_t)s->value : QN_HASH_NONE;
}
