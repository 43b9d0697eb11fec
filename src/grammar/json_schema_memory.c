/* json_schema_memory.c: what lives as long as a compilation: a pool, sets of schemas, and schemas that were
 * made. */
#include "grammar/json_schema_compile.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <string.h>

enum { POOL_BLOCK = 16 << 10 };

void *schema_alloc(schema_compiler *c, size_t count, size_t elem_bytes)
{
    size_t n_bytes;
    if (!qn_mul_size(count, elem_bytes, &n_bytes) || n_bytes > SIZE_MAX / 2) return schema_no_memory(c), NULL;
    n_bytes = qn_round_up(n_bytes, 16);
    if (c->pool == NULL || c->pool->n_bytes - c->pool->used < n_bytes) {
        const size_t room = qn_max_size(POOL_BLOCK, n_bytes + 64);
        pool_block *block = qn_malloc(room);
        if (block == NULL) return schema_no_memory(c), NULL;
        *block = (pool_block){c->pool, qn_round_up(sizeof *block, 16), room};
        c->pool = block;
    }
    char *memory = (char *)c->pool + c->pool->used;
    c->pool->used += n_bytes;
    memset(memory, 0, n_bytes);
    return memory;
}

bool schema_set_add(schema_compiler *c, schema_set *set, const json_t *schema)
{
    if (!schema_spend(c, 1 + set->n / 8)) return false;
    for (size_t i = 0; i < set->n; i++)
        if (set->items[i] == schema) return true;
    if (set->n == set->capacity) {
        const size_t capacity = set->capacity > 0 ? 2 * set->capacity : 2;
        const json_t **items = schema_alloc(c, capacity, sizeof *items);
        if (items == NULL) return false;
        if (set->n > 0) memcpy(items, set->items, set->n * sizeof *items);
        set->items = items;
        set->capacity = capacity;
    }
    set->items[set->n++] = schema;
    return true;
}

const json_t *schema_keep(schema_compiler *c, json_t *value)
{
    if (c->made == NULL) c->made = json_array();
    if (c->made == NULL || value == NULL || json_array_append_new(c->made, value) != 0)
        return schema_no_memory(c), NULL;
    return value;
}

typedef struct made_key {
    const json_t *schema;
    uintptr_t purpose; /* as wide as a pointer: no bytes between them */
} made_key;

const json_t *schema_made(schema_compiler *c, const json_t *schema, char purpose)
{
    const made_key key = {schema, (unsigned char)purpose};
    const int64_t number = qn_hash_map_get(&c->made_numbers, (const char *)&key, sizeof key);
    return number == QN_HASH_NONE ? NULL : json_array_get(c->made, (size_t)number);
}

const json_t *schema_keep_made(schema_compiler *c, const json_t *schema, char purpose, json_t *value)
{
    made_key *key = schema_alloc(c, 1, sizeof *key);
    const json_t *kept = schema_keep(c, value);
    int64_t existing;
    if (key == NULL || kept == NULL) return NULL;
    *key = (made_key){schema, (unsigned char)purpose};
    const uint32_t number = (uint32_t)json_array_size(c->made) - 1;
    if (!qn_hash_map_add(&c->made_numbers, (const char *)key, sizeof *key, number, &existing))
        return schema_no_memory(c), NULL;
    return kept;
}

void schema_release_memory(schema_compiler *c)
{
    qn_hash_map_deinit(&c->made_numbers);
    json_decref(c->made);
    while (c->pool != NULL) {
        pool_block *next = c->pool->next;
        qn_free(c->pool);
        c->pool = next;
    }
}
