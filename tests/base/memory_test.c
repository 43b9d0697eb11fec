/* memory_test.c: allocation with planned failures, arenas, growing buffers, checked arithmetic. */
#include "base_test.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "base/checked.h"

/* Sanitizers end the program at an impossible size; here the answer is what is tested. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* ---- alloc ---- */

static void living_are_counted(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    char *a = qn_malloc(0), *b = qn_calloc(0, 0), *c = qn_strdup("text"), *d = qn_strndup("abcdef", 3);
    void *e = qn_alloc_pages(1);
    assert_true(a != NULL && b != NULL && c != NULL && d != NULL && e != NULL);
    assert_int_equal(qn_alloc_live(), live + 5);
    assert_string_equal(c, "text");
    assert_string_equal(d, "abc");
    a = qn_realloc(a, 100);
    assert_int_equal(qn_alloc_live(), live + 5);
    qn_free(a), qn_free(b), qn_free(c), qn_free(d);
    qn_free(NULL);
    qn_free_pages(e, 1);
    qn_free_pages(NULL, 1);
    assert_int_equal(qn_alloc_live(), live);
}

static void the_planned_one_fails_and_no_other(void **state)
{
    (void)state;
    for (long k = 0; k < 6; k++) {
        void *p[6];
        qn_alloc_fail_at(k);
        assert_false(qn_alloc_has_failed());
        p[0] = qn_malloc(8);
        p[1] = qn_calloc(1, 8);
        p[2] = qn_realloc(NULL, 8);
        p[3] = qn_strdup("x");
        p[4] = qn_alloc_pages(8);
        p[5] = qn_strndup("x", 1);
        for (long i = 0; i < 6; i++) assert_true((p[i] == NULL) == (i == k));
        assert_true(qn_alloc_has_failed());
        for (int i = 0; i < 6; i++) i == 4 ? qn_free_pages(p[i], 8) : qn_free(p[i]);
    }
    qn_alloc_fail_at(-1);
    assert_false(qn_alloc_has_failed());
    void *p = qn_malloc(1);
    assert_non_null(p);
    qn_alloc_fail_at(0);
    assert_null(qn_realloc(p, 100)); /* the old block lives on */
    qn_alloc_fail_at(-1);
    qn_free(p);
}

static void impossible_sizes(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    assert_null(qn_calloc(SIZE_MAX / 2, 4));
    assert_null(qn_strndup("x", SIZE_MAX));
    assert_null(qn_alloc_pages(SIZE_MAX));
    assert_null(qn_alloc_pages(SIZE_MAX - 8192));
    assert_null(qn_alloc_pages((size_t)1 << 60));
    assert_int_equal(qn_alloc_live(), live);
}

static void growth(void **state)
{
    (void)state;
    uint32_t *items = NULL;
    size_t capacity = 0, moves = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        const size_t before = capacity;
        assert_true(qn_grow(&items, &capacity, i + 1u, 1000000, sizeof *items));
        if (capacity != before) moves++;
        items[i] = i;
    }
    assert_true(moves < 16); /* doubling */
    for (uint32_t i = 0; i < 100000; i++) assert_int_equal(items[i], i);
    const size_t before = capacity;
    assert_false(qn_grow(&items, &capacity, 1000001, 1000000, sizeof *items));
    assert_false(qn_grow(&items, &capacity, SIZE_MAX / 2, SIZE_MAX, sizeof *items));
    qn_alloc_fail_at(0);
    assert_false(qn_grow(&items, &capacity, before + 1, 1000000, sizeof *items));
    qn_alloc_fail_at(-1);
    assert_int_equal(capacity, before);
    assert_int_equal(items[99999], 99999);
    assert_true(qn_grow(&items, &capacity, 1000000, 1000000, sizeof *items)); /* exactly the maximum */
    assert_int_equal(capacity, 1000000);
    qn_free(items);
}

static void pages(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 4095, 4096, 4097, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 5 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *p = qn_alloc_pages(sizes[i]);
        assert_non_null(p);
        const uintptr_t alignment = sizes[i] >= 2 << 20 ? 2 << 20 : 4096;
        assert_int_equal((uintptr_t)p % alignment, 0);
        for (size_t j = 0; j < sizes[i]; j += 1021) assert_int_equal(p[j], 0);
        p[0] = p[sizes[i] - 1] = 1; /* it is there to its end */
        qn_free_pages(p, sizes[i]);
    }
    void *empty = qn_alloc_pages(0);
    assert_non_null(empty);
    qn_free_pages(empty, 0);
}

/* ---- arena ---- */

typedef struct layout {
    float *a;
    char *b;
    double *c;
} layout;

static layout lay_out(qn_arena *arena, size_t n)
{
    layout l;
    l.a = qn_arena_alloc(arena, n, sizeof *l.a);
    l.b = qn_arena_alloc(arena, 0, 1);
    l.c = qn_arena_alloc(arena, 3, sizeof *l.c);
    return l;
}

static void measured_is_what_is_taken(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    for (size_t n = 0; n < 300; n += 7) {
        qn_arena measure = {0}, arena;
        const layout none = lay_out(&measure, n);
        assert_true(none.a == NULL && none.b == NULL && none.c == NULL);
        assert_int_equal(qn_arena_create(&arena, measure.used, "test", NULL), QUERN_OK);
        const layout l = lay_out(&arena, n);
        assert_int_equal(arena.used, measure.used);
        assert_true((uintptr_t)l.a % 64 == 0 && (uintptr_t)l.b % 64 == 0 && (uintptr_t)l.c % 64 == 0);
        assert_true((char *)(l.a + n) <= (char *)l.c && (char *)(l.c + 3) <= arena.base + arena.size);
        for (size_t i = 0; i < n; i++) {
            assert_true(l.a[i] == 0);
            l.a[i] = 1;
        }
        for (int i = 0; i < 3; i++) assert_true(l.c[i] == 0);
        qn_arena_destroy(&arena);
        assert_null(arena.base);
        qn_arena_destroy(&arena); /* twice is fine */
    }
    assert_int_equal(qn_alloc_live(), live);
}

static void an_arena_too_large(void **state)
{
    (void)state;
    qn_arena arena;
    quern_error err;
    assert_int_equal(qn_arena_create(&arena, (size_t)1 << 60, "KV cache", &err), QUERN_ERR_NOMEM);
    assert_non_null(strstr(err.message, "KV cache: no memory for 1152921504606846976 bytes"));
    qn_arena_destroy(&arena);
    qn_alloc_fail_at(0);
    assert_int_equal(qn_arena_create(&arena, 64, "x", &err), QUERN_ERR_NOMEM);
    qn_alloc_fail_at(-1);
    qn_arena_destroy(&arena);
}

/* ---- buffer ---- */

static void a_buffer_collects(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    qn_buffer b = {0};
    assert_true(qn_buffer_puts(&b, "one"));
    assert_true(qn_buffer_putc(&b, ' '));
    assert_true(qn_buffer_printf(&b, "%d %s", 2, "three"));
    assert_true(qn_buffer_append(&b, "\0x", 2));
    assert_true(qn_buffer_append(&b, NULL, 0));
    assert_int_equal(b.n_bytes, 13);
    assert_memory_equal(b.data, "one 2 three\0x", 14);
    for (int i = 0; i < 10000; i++) assert_true(qn_buffer_printf(&b, "%d,", i));
    assert_non_null(strstr(b.data + 12, "9998,9999,"));
    qn_buffer_clear(&b);
    assert_true(b.n_bytes == 0 && b.data[0] == '\0');
    qn_buffer_deinit(&b);
    size_t n = 99;
    char *text = qn_buffer_take(&b, &n); /* of nothing: an empty string */
    assert_string_equal(text, "");
    assert_int_equal(n, 0);
    qn_free(text);
    assert_true(qn_buffer_puts(&b, "mine"));
    text = qn_buffer_take(&b, NULL);
    assert_string_equal(text, "mine");
    assert_true(b.data == NULL && b.n_bytes == 0);
    qn_free(text);
    assert_int_equal(qn_alloc_live(), live);
}

static void a_buffer_keeps_to_its_maximum(void **state)
{
    (void)state;
    qn_buffer b = {.max_bytes = 10};
    assert_true(qn_buffer_puts(&b, "12345678"));
    assert_false(qn_buffer_puts(&b, "9ab"));
    assert_true(b.failed);
    assert_string_equal(b.data, "12345678");
    assert_false(qn_buffer_putc(&b, 'x')); /* it stays failed, even for what would fit */
    assert_null(qn_buffer_take(&b, NULL));
    b.max_bytes = 10;
    assert_true(qn_buffer_puts(&b, "1234567890"));     /* exactly */
    assert_false(qn_buffer_append(&b, "x", SIZE_MAX)); /* no overflow in the sum */
    qn_buffer_clear(&b);
    assert_true(qn_buffer_printf(&b, "%s", "1234567890"));
    assert_false(qn_buffer_printf(&b, "%d", 1));
    assert_string_equal(b.data, "1234567890");
    qn_buffer_deinit(&b);
}

static void a_buffer_without_memory(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    for (long k = 0;; k++) {
        qn_buffer b = {0};
        qn_alloc_fail_at(k);
        for (int i = 0; i < 1000; i++) qn_buffer_printf(&b, "%d", i);
        const bool failed = qn_alloc_has_failed();
        assert_int_equal(b.failed, failed);
        char *text = qn_buffer_take(&b, NULL);
        assert_int_equal(text == NULL, failed);
        qn_free(text);
        assert_int_equal(qn_alloc_live(), live);
        if (!failed) break;
    }
    qn_alloc_fail_at(-1);
}

/* ---- checked ---- */

static void overflow_is_told(void **state)
{
    (void)state;
    size_t s;
    uint64_t u;
    assert_true(qn_mul_size(SIZE_MAX, 1, &s) && s == SIZE_MAX);
    assert_true(qn_mul_size(SIZE_MAX, 0, &s) && s == 0);
    assert_false(qn_mul_size(SIZE_MAX / 2 + 1, 2, &s));
    assert_true(qn_add_size(SIZE_MAX, 0, &s) && s == SIZE_MAX);
    assert_false(qn_add_size(SIZE_MAX, 1, &s));
    assert_true(qn_mul_u64(UINT32_MAX, UINT32_MAX, &u) && u == UINT64_C(0xfffffffe00000001));
    assert_false(qn_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &u));
    assert_false(qn_add_u64(UINT64_MAX, UINT64_MAX, &u));
    assert_true(qn_align_up_u64(0, 32, &u) && u == 0);
    assert_true(qn_align_up_u64(1, 32, &u) && u == 32);
    assert_true(qn_align_up_u64(32, 32, &u) && u == 32);
    assert_true(qn_align_up_u64(33, 1, &u) && u == 33);
    assert_true(qn_align_up_u64(UINT64_MAX - 31, 32, &u) && u == UINT64_MAX - 31);
    assert_false(qn_align_up_u64(UINT64_MAX - 30, 32, &u));
    assert_int_equal(qn_round_up(0, 6), 0);
    assert_int_equal(qn_round_up(7, 6), 12);
    assert_int_equal(qn_min_size(3, 4), 3);
    assert_int_equal(qn_max_size(3, 4), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(living_are_counted),
        cmocka_unit_test(the_planned_one_fails_and_no_other),
        cmocka_unit_test(impossible_sizes),
        cmocka_unit_test(growth),
        cmocka_unit_test(pages),
        cmocka_unit_test(measured_is_what_is_taken),
        cmocka_unit_test(an_arena_too_large),
        cmocka_unit_test(a_buffer_collects),
        cmocka_unit_test(a_buffer_keeps_to_its_maximum),
        cmocka_unit_test(a_buffer_without_memory),
        cmocka_unit_test(overflow_is_told),
    };
    return cmocka_run_group_tests_name("base memory", tests, NULL, NULL);
}
