/* arena.c: a bump allocator over one block of pages. */
#include "base/arena.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

void *qn_arena_alloc(qn_arena *a, size_t count, size_t elem_bytes)
{
    const size_t start = (a->used + 63) & ~(size_t)63; /* a cache line, and a ZMM register */
    assert(elem_bytes > 0 && count <= (SIZE_MAX / 4 - start) / elem_bytes);
    a->used = start + count * elem_bytes;
    if (a->base == NULL) return NULL; /* measuring */
    assert(a->used <= a->size);
    return a->base + start;
}

quern_status qn_arena_create(qn_arena *a, size_t n_bytes, const char *purpose, quern_error *err)
{
    memset(a, 0, sizeof *a);
    a->base = qn_alloc_pages(n_bytes);
    if (a->base == NULL)
        return qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory for %zu bytes", purpose, n_bytes);
    a->size = n_bytes;
    return QUERN_OK;
}

void qn_arena_destroy(qn_arena *a)
{
    if (a->base != NULL) qn_free_pages(a->base, a->size);
    memset(a, 0, sizeof *a);
}
