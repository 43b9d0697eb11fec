/* alloc.c: heap and page allocation with a count of the living and a planned failure for tests.
 * The two counters are the only process-wide state in the library; they change no result. */
#include "base/alloc.h"

#include "base/checked.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static atomic_long live_count;
static atomic_long fail_countdown = -1;
static atomic_bool has_failed;

long qn_alloc_live(void)
{
    return atomic_load(&live_count);
}
bool qn_alloc_has_failed(void)
{
    return atomic_load(&has_failed);
}

void qn_alloc_fail_at(long k)
{
    atomic_store(&has_failed, false);
    atomic_store(&fail_countdown, k);
}

static bool planned_failure(void)
{
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) < 0) return false;
    if (atomic_fetch_sub(&fail_countdown, 1) != 0) return false;
    atomic_store(&has_failed, true);
    return true;
}

static void *counted(void *p)
{
    if (p != NULL) atomic_fetch_add_explicit(&live_count, 1, memory_order_relaxed);
    return p;
}

void *qn_malloc(size_t n_bytes)
{
    if (planned_failure()) return NULL;
    return counted(malloc(n_bytes > 0 ? n_bytes : 1));
}

void *qn_calloc(size_t count, size_t elem_bytes)
{
    if (planned_failure()) return NULL;
    return counted(calloc(count > 0 ? count : 1, elem_bytes > 0 ? elem_bytes : 1));
}

void *qn_realloc(void *old, size_t n_bytes)
{
    if (old == NULL) return qn_malloc(n_bytes);
    if (planned_failure()) return NULL;
    return realloc(old, n_bytes > 0 ? n_bytes : 1);
}

void qn_free(void *p)
{
    if (p == NULL) return;
    atomic_fetch_sub_explicit(&live_count, 1, memory_order_relaxed);
    free(p);
}

char *qn_strndup(const char *bytes, size_t n_bytes)
{
    size_t total;
    char *copy = qn_add_size(n_bytes, 1, &total) ? qn_malloc(total) : NULL;
    if (copy == NULL) return NULL;
    if (n_bytes > 0) memcpy(copy, bytes, n_bytes);
    copy[n_bytes] = '\0';
    return copy;
}

char *qn_strdup(const char *text)
{
    return qn_strndup(text, strlen(text));
}

bool qn_grow(void *items_pointer, size_t *capacity, size_t need, size_t max, size_t elem_bytes)
{
    if (need <= *capacity) return true;
    if (need > max) return false;
    size_t wanted = *capacity < 8 ? 16 : *capacity > max / 2 ? max : *capacity * 2;
    if (wanted < need) wanted = need;
    if (wanted > max) wanted = max;
    size_t n_bytes;
    if (!qn_mul_size(wanted, elem_bytes, &n_bytes)) return false;
    void *items;
    memcpy(&items, items_pointer, sizeof items); /* a T ** of any T */
    items = qn_realloc(items, n_bytes);
    if (items == NULL) return false;
    memcpy(items_pointer, &items, sizeof items);
    *capacity = wanted;
    return true;
}

static const size_t PAGE = 4096, HUGE_PAGE = (size_t)2 << 20;

void *qn_alloc_pages(size_t n_bytes)
{
    size_t total, padded;
    if (n_bytes == 0) n_bytes = 1;
    if (planned_failure() || !qn_add_size(n_bytes, PAGE - 1, &total)) return NULL;
    total &= ~(PAGE - 1);
    const size_t slack =
        total >= HUGE_PAGE ? HUGE_PAGE : 0; /* mapped, then given back around the aligned part */
    if (!qn_add_size(total, slack, &padded)) return NULL;
    char *map =
        mmap(NULL, padded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) return NULL;
    if (slack == 0) return counted(map);
    char *start = (char *)(((uintptr_t)map + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
    if (start > map) munmap(map, (size_t)(start - map));
    if (start + total < map + padded) munmap(start + total, (size_t)(map + padded - (start + total)));
#ifdef MADV_HUGEPAGE
    madvise(start, total, MADV_HUGEPAGE); /* advice only: without huge pages it is merely slower */
#endif
    return counted(start);
}

void qn_touch_pages(void *p, size_t n_bytes)
{
    volatile char *bytes = p;
    for (size_t i = 0; i < n_bytes; i += PAGE) bytes[i] = bytes[i];
}

void qn_free_pages(void *p, size_t n_bytes)
{
    if (p == NULL) return;
    if (n_bytes == 0) n_bytes = 1;
    atomic_fetch_sub_explicit(&live_count, 1, memory_order_relaxed);
    munmap(p, (n_bytes + PAGE - 1) & ~(PAGE - 1));
}
