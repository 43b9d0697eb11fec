/* arena.h: one allocation, many buffers, one lifetime.
 *
 * The same layout function runs twice: over an empty arena to learn the size (what a plan prints),
 * then over a real one to hand out memory. So plan and load cannot disagree. */
#ifndef QN_BASE_ARENA_H
#define QN_BASE_ARENA_H

#include "base/error.h"

#include <stddef.h>

typedef struct qn_arena {
    char *base;  /* NULL while measuring */
    size_t size; /* bytes at base */
    size_t used; /* bytes handed out, with alignment */
} qn_arena;

/* count * elem_bytes zeroed bytes, 64-byte aligned; NULL while measuring. The caller has bounded the
 * sizes; running past a real arena is a programming error (assert). */
void *qn_arena_alloc(qn_arena *a, size_t count, size_t elem_bytes);

/* Gives the arena `measured->used` bytes of page memory. */
quern_status qn_arena_create(qn_arena *a, size_t n_bytes, const char *purpose, quern_error *err);
void qn_arena_destroy(qn_arena *a);

#endif
