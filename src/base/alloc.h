/* alloc.h: the only door to the heap and to large anonymous memory.
 *
 * Every allocation may fail, and tests make each of them fail in turn: qn_alloc_fail_at(k) lets the
 * k-th allocation from now (counted from 0) on this process fail, once. */
#ifndef QN_BASE_ALLOC_H
#define QN_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As malloc/calloc/realloc/free; a size of 0 gives a valid pointer; calloc checks the product. */
void *qn_malloc(size_t n_bytes);
void *qn_calloc(size_t count, size_t elem_bytes);
void *qn_realloc(void *old, size_t n_bytes);
void qn_free(void *p);
char *qn_strdup(const char *text);
char *qn_strndup(const char *bytes, size_t n_bytes); /* always NUL-terminated */

/* Grows *items (elements of elem_bytes) so that `need` fit; capacity at least doubles; never beyond
 * `max` elements. False: no memory, or over max; everything is left as it was. */
bool qn_grow(void *items_pointer, size_t *capacity, size_t need, size_t max, size_t elem_bytes);

/* Zeroed anonymous memory, aligned to 2 MiB where it is that large, asking for huge pages.
 * n_bytes is rounded up to a page. Free with the same size. */
void *qn_alloc_pages(size_t n_bytes);
void qn_free_pages(void *p, size_t n_bytes);

/* Touches all of them, so that the system gives them now and not when they are first used: that takes 0.2 ms
 * for a huge page, 5 ms on some virtual machines. What they hold stays; nobody else may be writing. */
void qn_touch_pages(void *p, size_t n_bytes);

/* Tests only. Returns how many allocations are alive / lets the k-th next one fail (-1: never). */
long qn_alloc_live(void);
void qn_alloc_fail_at(long k);
bool qn_alloc_has_failed(void); /* whether the planned failure has happened */

#endif
