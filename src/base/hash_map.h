/* hash_map.h: byte strings to 32-bit numbers; open addressing, first insertion of a key wins.
 * Keys are borrowed: they must outlive the map. The hash is keyed per map so that a hostile file
 * cannot aim at collisions. Reading from several threads at once is safe. */
#ifndef QN_BASE_HASH_MAP_H
#define QN_BASE_HASH_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct qn_hash_slot {
    const char *key; /* NULL: empty */
    uint32_t n_bytes, value;
    uint64_t hash;
} qn_hash_slot;

typedef struct qn_hash_map {
    qn_hash_slot *slots;
    size_t n_slots; /* a power of two, or 0 */
    size_t n_items;
    uint64_t key;
} qn_hash_map;

enum { QN_HASH_NONE = -1 };

/* Room for n_items without growing; more may be added. A zeroed map is valid and empty. */
bool qn_hash_map_init(qn_hash_map *m, size_t n_items);
void qn_hash_map_deinit(qn_hash_map *m);

/* False: no memory. *existing receives the value already there, or QN_HASH_NONE when it was added. */
bool qn_hash_map_add(qn_hash_map *m, const char *key, size_t n_bytes, uint32_t value, int64_t *existing);

/* The value, or QN_HASH_NONE. */
int64_t qn_hash_map_get(const qn_hash_map *m, const char *key, size_t n_bytes);

/* A 64-bit hash of bytes (wyhash-like mixing by 128-bit products); not for security. */
uint64_t qn_hash_bytes(const void *bytes, size_t n_bytes, uint64_t seed);

#endif
