/* memory_test.c: allocation, growth, arenas, buffers and checked arithmetic, and each of them failing. */
#include "base_test.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

static void allocations_are_counted_and_can_be_made_to_fail(void **state)
{
    (void)state;
    const long before = qn_alloc_live();
    void *a = qn_malloc(0), *b = qn_calloc(3, 5);
    char *text = qn_strndup("quern stone", 5);
    assert_non_null(a);
    assert_memory_equal(b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
    assert_string_equal(text, "quern");
    assert_int_equal(qn_alloc_live(), before + 3);
    b = qn_realloc(b, 1 << 16);
    assert_int_equal(qn_alloc_live(), before + 3);
    qn_free(a), qn_free(b), qn_free(text), qn_free(NULL);
    assert_int_equal(qn_alloc_live(), before);

    qn_alloc_fail_at(1);
    a = qn_malloc(8);
    assert_non_null(a);
    assert_false(qn_alloc_has_failed());
    assert_null(qn_malloc(8));
    assert_true(qn_alloc_has_failed());
    b = qn_malloc(8); /* only once */
    assert_non_null(b);
    qn_alloc_fail_at(-1);
    qn_free(a), qn_free(b);
    assert_int_equal(qn_alloc_live(), before);
}

static void sizes_that_cannot_be_had_are_refused(void **state)
{
    (void)state;
    size_t n;
    uint64_t u;
    assert_null(qn_calloc(SIZE_MAX / 2, 3));
    assert_null(qn_strndup("x", SIZE_MAX));
    assert_null(qn_alloc_pages(SIZE_MAX));
    assert_null(qn_alloc_pages(SIZE_MAX - ((size_t)2 << 20)));
    assert_false(qn_mul_size(SIZE_MAX, 2, &n));
    assert_false(qn_add_size(SIZE_MAX, 1, &n));
    assert_false(qn_mul_u64(UINT64_MAX, UINT64_MAX, &u));
    assert_false(qn_add_u64(UINT64_MAX, 1, &u));
    assert_false(qn_align_up_u64(UINT64_MAX - 3, 32, &u));
    assert_true(qn_align_up_u64(33, 32, &u) && u == 64);
    assert_true(qn_align_up_u64(64, 32, &u) && u == 64);
    assert_true(qn_align_up_u64(7, 1, &u) && u == 7);
    assert_int_equal(qn_round_up(0, 64), 0);
    assert_int_equal(qn_round_up(65, 64), 128);
}

static void arrays_grow_by_doubling_up_to_their_maximum(void **state)
{
    (void)state;
    uint32_t *items = NULL;
    size_t capacity = 0, grown = 0;
    for (size_t i = 0; i < 1000; i++) {
        const size_t old = capacity;
        assert_true(qn_grow(&items, &capacity, i + 1, 1000, sizeof *items));
        assert_true(capacity > i && capacity <= 1000);
        if (capacity != old) grown++;
        items[i] = (uint32_t)i;
    }
    assert_true(grown <= 8);
    assert_int_equal(items[0] + items[999], 999);
    assert_false(qn_grow(&items, &capacity, 1001, 1000, sizeof *items));
    assert_int_equal(capacity, 1000);
    qn_alloc_fail_at(0);
    assert_false(qn_grow(&items, &capacity, 1001, 5000, sizeof *items));
    qn_alloc_fail_at(-1);
    assert_int_equal(capacity, 1000);
    assert_int_equal(items[999], 999);
    assert_false(qn_grow(&items, &capacity, SIZE_MAX / 2, SIZE_MAX, sizeof *items));
    qn_free(items);
}

static void pages_are_zero_aligned_and_given_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 5 << 20};
    const long before = qn_alloc_live();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t n = sizes[i];
        unsigned char *p = qn_alloc_pages(n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (n >= 2 << 20 ? 2 << 20 : 4096), 0);
        for (size_t at = 0; at < n; at += 511) assert_int_equal(p[at], 0);
        if (n > 0) p[0] = p[n - 1] = 1;
        qn_free_pages(p, n);
    }
    qn_free_pages(NULL, 17);
    assert_int_equal(qn_alloc_live(), before);
}

typedef struct layout {
    float *row;
    char *bytes;
    double *last;
} layout;

static void lay_out(layout *l, qn_arena *a)
{
    l->row = qn_arena_alloc(a, 100, sizeof *l->row);
    l->bytes = qn_arena_alloc(a, 3, 1);
    l->last = qn_arena_alloc(a, 0, sizeof *l->last);
}

static void an_arena_takes_what_it_measured(void **state)
{
    (void)state;
    layout l;
    qn_arena measured = {0}, real;
    lay_out(&l, &measured);
    assert_null(l.row);
    assert_int_equal(measured.used, 512); /* 400 rounded up to 448, 3 rounded up to 512, and nothing */
    quern_error err;
    assert_int_equal(qn_arena_create(&real, measured.used, "test", &err), QUERN_OK);
    lay_out(&l, &real);
    assert_int_equal(real.used, measured.used);
    assert_int_equal((uintptr_t)l.row % 64, 0);
    assert_int_equal((uintptr_t)l.bytes % 64, 0);
    assert_true(l.row[99] == 0.0f);
    qn_arena_destroy(&real);
    qn_alloc_fail_at(0);
    assert_int_equal(qn_arena_create(&real, 4096, "scratch", &err), QUERN_ERR_NOMEM);
    qn_alloc_fail_at(-1);
    assert_string_equal(err.message, "scratch: no memory for 4096 bytes");
    qn_arena_destroy(&real);
}

static void a_buffer_holds_any_bytes_up_to_its_maximum(void **state)
{
    (void)state;
    qn_buffer b = {.max_bytes = 20};
    assert_true(qn_buffer_puts(&b, "one"));
    assert_true(qn_buffer_append(&b, "\0two", 4));
    assert_true(qn_buffer_printf(&b, "%d%s", 3, ""));
    assert_true(qn_buffer_putc(&b, '!'));
    assert_int_equal(b.n_bytes, 9);
    assert_memory_equal(b.data, "one\0two3!", 10);
    assert_true(qn_buffer_append(&b, NULL, 0));
    assert_true(qn_buffer_puts(&b, "12345678901"));
    assert_false(qn_buffer_putc(&b, 'x')); /* 21 bytes */
    assert_true(b.failed);
    assert_int_equal(b.n_bytes, 20);
    qn_buffer_clear(&b);
    assert_true(qn_buffer_puts(&b, "again"));
    size_t n;
    char *taken = qn_buffer_take(&b, &n);
    assert_string_equal(taken, "again");
    assert_int_equal(n, 5);
    qn_free(taken);
    taken = qn_buffer_take(&b, &n); /* an empty one gives an empty string, not NULL */
    assert_string_equal(taken, "");
    qn_free(taken);
    assert_false(qn_buffer_append(&b, "x", SIZE_MAX));
    assert_null(qn_buffer_take(&b, NULL));
}

static void a_failed_append_is_remembered_and_loses_nothing_before_it(void **state)
{
    (void)state;
    qn_buffer b = {0};
    assert_true(qn_buffer_puts(&b, "kept"));
    qn_alloc_fail_at(0);
    assert_false(qn_buffer_printf(&b, "%64d", 1));
    qn_alloc_fail_at(-1);
    assert_true(b.failed);
    assert_string_equal(b.data, "kept");
    assert_false(qn_buffer_puts(&b, "later")); /* check once, at the end */
    qn_buffer_deinit(&b);
}

static int nothing_is_left(void **state)
{
    (void)state;
    return qn_alloc_live() == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_counted_and_can_be_made_to_fail),
        cmocka_unit_test(sizes_that_cannot_be_had_are_refused),
        cmocka_unit_test(arrays_grow_by_doubling_up_to_their_maximum),
        cmocka_unit_test(pages_are_zero_aligned_and_given_back),
        cmocka_unit_test(an_arena_takes_what_it_measured),
        cmocka_unit_test(a_buffer_holds_any_bytes_up_to_its_maximum),
        cmocka_unit_test(a_failed_append_is_remembered_and_loses_nothing_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
