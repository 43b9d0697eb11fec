/* kv_cache_test.c: who holds which page: reserving, copying what is shared, giving back, and how many pages
 * there are. */
#include "support/cmocka_all.h"

#include "cache_program.h"

#include "base/alloc.h"
#include "cache/kv_cache.h"

#include <string.h>

enum { PAGE = QN_PAGE_POSITIONS, N_CTX = 1000, N_BATCH = 128, HISTORY = 0, WINDOW = 1 };

static cache_program plain, mixed, windows;

static qn_kv_cache *create(const cache_program *p, size_t n_sequences, size_t n_positions, size_t n_windows)
{
    const qn_kv_cache_params params = {.n_sequences = n_sequences,
                                       .n_ctx = N_CTX,
                                       .n_batch = N_BATCH,
                                       .n_positions = n_positions,
                                       .n_windows = n_windows,
                                       .type_k = QN_TYPE_F16,
                                       .type_v = QN_TYPE_F16};
    qn_kv_cache *c;
    quern_error err = {0};
    if (qn_kv_cache_create(&c, &p->program, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    assert_int_equal(qn_kv_cache_taken_bytes(c), qn_kv_cache_bytes(&p->program, &params));
    return c;
}

static void grow(qn_kv_cache *c, size_t seq, size_t n)
{
    for (size_t step; n > 0; n -= step) {
        step = n < N_BATCH ? n : N_BATCH;
        assert_true(qn_kv_cache_reserve(c, seq, step));
        qn_kv_cache_commit(c, seq, step);
    }
}

static void without_a_number_of_positions_all_sequences_fit(void **state)
{
    (void)state;
    qn_kv_cache *c = create(&mixed, 3, 0, 7);
    assert_int_equal(qn_kv_cache_n_pages(c, HISTORY), 3 * 16);
    assert_int_equal(qn_kv_cache_n_pages(c, WINDOW), 3 * 5); /* 100 + 128 positions, not aligned */
    assert_int_equal(qn_kv_cache_window(c, HISTORY), 0);
    assert_int_equal(qn_kv_cache_window(c, WINDOW), 100);
    for (size_t seq = 0; seq < 3; seq++) grow(c, seq, N_CTX);
    assert_int_equal(qn_kv_cache_used_pages(c, HISTORY), 3 * 16);
    assert_int_equal(qn_kv_cache_used_pages(c, WINDOW), 3 * 2); /* positions 901 to 999 */
    for (size_t seq = 0; seq < 3; seq++) assert_int_equal(qn_kv_cache_truncate(c, seq, 0), 0);
    assert_int_equal(qn_kv_cache_used_pages(c, HISTORY) + qn_kv_cache_used_pages(c, WINDOW), 0);
    qn_kv_cache_destroy(c);
}

static void pages_are_planned_for_positions_and_windows(void **state)
{
    (void)state;
    qn_kv_cache *c = create(&plain, 8, 4000, 100);
    assert_int_equal(qn_kv_cache_n_pages(c, HISTORY), 63 + 1);
    assert_int_equal(qn_kv_cache_n_pages(c, WINDOW), 0);
    assert_int_equal(qn_kv_cache_page_bytes(c, WINDOW), 0);
    assert_int_equal(qn_kv_cache_take(c, WINDOW), -1);
    qn_kv_cache_destroy(c);
    c = create(&plain, 8, 1, 0); /* one sequence fits in any case */
    assert_int_equal(qn_kv_cache_n_pages(c, HISTORY), 16 + 1);
    qn_kv_cache_destroy(c);
    c = create(&mixed, 4, 4000, 3);
    assert_int_equal(qn_kv_cache_n_pages(c, HISTORY), 63 + 1);
    assert_int_equal(qn_kv_cache_n_pages(c, WINDOW), 4 * 5 + 3 * 3 + 1);
    qn_kv_cache_destroy(c);
    c = create(&mixed, 4, 4000, 1000); /* not more than one beside each page of the history */
    assert_int_equal(qn_kv_cache_n_pages(c, WINDOW), 63 + 1);
    qn_kv_cache_destroy(c);
    c = create(&windows, 4, N_CTX, SIZE_MAX);
    assert_int_equal(qn_kv_cache_n_pages(c, HISTORY), 0);
    assert_int_equal(qn_kv_cache_n_pages(c, WINDOW), 20 + 1);
    qn_kv_cache_destroy(c);
}

static void reserving_takes_all_or_nothing(void **state)
{
    (void)state;
    qn_kv_cache *c = create(&mixed, 2, N_CTX, 0); /* 17 pages of the history, 11 of the windows */
    grow(c, 0, 600);
    grow(c, 1, 400);
    assert_int_equal(qn_kv_cache_used_pages(c, HISTORY), 10 + 7);
    assert_true(qn_kv_cache_reserve(c, 0, 40)); /* fits into the page that is there */
    assert_int_equal(qn_kv_cache_wanted_pages(c, 0, 41, HISTORY), 1);
    assert_int_equal(qn_kv_cache_wanted_pages(c, 0, 41, WINDOW), 1);
    const size_t used = qn_kv_cache_used_pages(c, WINDOW);
    assert_false(qn_kv_cache_reserve(c, 0, 41));
    assert_int_equal(qn_kv_cache_used_pages(c, WINDOW), used);
    assert_int_equal(qn_kv_cache_length(c, 0), 600);
    qn_kv_cache_truncate(c, 1, 0);
    assert_true(qn_kv_cache_reserve(c, 0, 41));
    assert_int_equal(qn_kv_cache_used_pages(c, WINDOW), 4); /* from position 501 on */
    qn_kv_cache_destroy(c);
}

static void a_page_is_free_when_the_last_lets_go(void **state)
{
    (void)state;
    qn_kv_cache *c = create(&plain, 1, N_CTX, 0);
    const int32_t page = qn_kv_cache_take(c, HISTORY);
    assert_true(page >= 0);
    assert_int_equal(qn_kv_cache_holders(c, HISTORY, page), 1);
    qn_kv_cache_retain(c, HISTORY, page);
    qn_kv_cache_release(c, HISTORY, page);
    assert_int_equal(qn_kv_cache_used_pages(c, HISTORY), 1);
    qn_kv_cache_release(c, HISTORY, page);
    assert_int_equal(qn_kv_cache_used_pages(c, HISTORY), 0);
    for (size_t i = 0; i < 17; i++) assert_true(qn_kv_cache_take(c, HISTORY) >= 0);
    assert_int_equal(qn_kv_cache_take(c, HISTORY), -1);
    qn_kv_cache_destroy(c);
}

static void a_shared_page_is_copied_before_it_is_written(void **state)
{
    (void)state;
    qn_kv_cache *c = create(&mixed, 2, 2 * N_CTX, 10);
    const int32_t *pages[QN_CACHE_GROUPS];
    grow(c, 0, 100);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        pages[g] = qn_kv_cache_pages(c, 0, g);
        memset(qn_kv_cache_page_data(c, g, pages[g][1]), 7, qn_kv_cache_page_bytes(c, g));
    }
    qn_kv_cache_adopt(c, 1, pages, 90);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        assert_int_equal(qn_kv_cache_pages(c, 1, g)[1], pages[g][1]);
        assert_int_equal(qn_kv_cache_holders(c, g, pages[g][1]), 2);
        assert_int_equal(qn_kv_cache_wanted_pages(c, 1, 0, g), 0);
        assert_int_equal(qn_kv_cache_wanted_pages(c, 1, 1, g), 1);
        assert_int_equal(qn_kv_cache_wanted_pages(c, 1, 39, g), 2);
        assert_int_equal(qn_kv_cache_wanted_pages(c, 0, 29, g), 2); /* whoever writes first */
    }
    assert_true(qn_kv_cache_reserve(c, 1, 1));
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        const int32_t copy = qn_kv_cache_pages(c, 1, g)[1];
        assert_int_not_equal(copy, pages[g][1]);
        assert_int_equal(qn_kv_cache_holders(c, g, copy), 1);
        assert_int_equal(qn_kv_cache_holders(c, g, pages[g][1]), 1);
        assert_int_equal(qn_kv_cache_holders(c, g, pages[g][0]), 2); /* whole: nobody writes there */
        assert_memory_equal(qn_kv_cache_page_data(c, g, copy), qn_kv_cache_page_data(c, g, pages[g][1]),
                            qn_kv_cache_page_bytes(c, g));
        assert_int_equal(qn_kv_cache_wanted_pages(c, 0, 1, g), 0);
    }
    qn_kv_cache_destroy(c);
}

static void adopting_passes_over_what_no_position_sees(void **state)
{
    (void)state;
    qn_kv_cache *c = create(&mixed, 2, 2 * N_CTX, 10);
    int32_t history[4], window[4];
    for (size_t i = 0; i < 4; i++) history[i] = qn_kv_cache_take(c, HISTORY), window[i] = -1;
    window[0] = window[2] = window[3] = qn_kv_cache_take(c, WINDOW);
    assert_int_equal(qn_kv_cache_first_seen(c, WINDOW, 256), 157);
    assert_int_equal(qn_kv_cache_first_seen(c, HISTORY, 256), 0);
    qn_kv_cache_adopt(c, 1, (const int32_t *[]){history, window}, 256);
    assert_int_equal(qn_kv_cache_length(c, 1), 256);
    assert_int_equal(qn_kv_cache_pages(c, 1, WINDOW)[0], -1);
    assert_int_equal(qn_kv_cache_holders(c, WINDOW, window[2]), 3);
    assert_int_equal(qn_kv_cache_holders(c, HISTORY, history[0]), 2);
    assert_int_equal(qn_kv_cache_truncate(c, 1, 200), 0); /* would see page 1 of the windows */
    assert_int_equal(qn_kv_cache_holders(c, WINDOW, window[2]), 1);
    qn_kv_cache_destroy(c);
}

static void a_sequence_changes_over_to_another_page(void **state)
{
    (void)state;
    qn_kv_cache *c = create(&plain, 1, N_CTX, 0);
    grow(c, 0, 70);
    const int32_t old = qn_kv_cache_pages(c, 0, HISTORY)[0], page = qn_kv_cache_take(c, HISTORY);
    qn_kv_cache_exchange(c, 0, HISTORY, 0, page);
    assert_int_equal(qn_kv_cache_pages(c, 0, HISTORY)[0], page);
    assert_int_equal(qn_kv_cache_holders(c, HISTORY, old), 0);
    assert_int_equal(qn_kv_cache_holders(c, HISTORY, page), 2);
    qn_kv_cache_exchange(c, 0, HISTORY, 0, page);
    assert_int_equal(qn_kv_cache_holders(c, HISTORY, page), 2);
    qn_kv_cache_destroy(c);
}

/* However much is shared: when everybody else has let go, one sequence gets to its end. */
static void one_sequence_can_always_run_to_its_end(void **state)
{
    (void)state;
    const cache_program *programs[] = {&plain, &mixed, &windows};
    for (size_t i = 0; i < 3; i++) {
        qn_kv_cache *c = create(programs[i], 1, 1, 0);
        for (size_t length = 0; length < N_CTX; length++) { /* every page is shared while it is filled */
            assert_true(qn_kv_cache_reserve(c, 0, 1));
            qn_kv_cache_commit(c, 0, 1);
            for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
                const int32_t *table = qn_kv_cache_pages(c, 0, g);
                const int32_t page = table != NULL ? table[length / PAGE] : -1;
                if (page < 0) continue;
                qn_kv_cache_retain(c, g, page);
                if (length + 1 < N_CTX) assert_true(qn_kv_cache_reserve(c, 0, 1));
                qn_kv_cache_release(c, g, page);
            }
        }
        qn_kv_cache_destroy(c);
    }
}

static void creation_survives_each_failing_allocation(void **state)
{
    (void)state;
    const qn_kv_cache_params params = {
        .n_sequences = 2, .n_ctx = 100, .n_batch = 10, .n_positions = 200, .type_k = 1, .type_v = 1};
    const long live = qn_alloc_live();
    qn_kv_cache *c = NULL;
    quern_error err;
    long k = 0;
    while (qn_alloc_fail_at(k), qn_kv_cache_create(&c, &mixed.program, &params, &err) != QUERN_OK) {
        assert_int_equal(err.status, QUERN_ERR_NOMEM);
        assert_null(c);
        assert_int_equal(qn_alloc_live(), live);
        k++;
    }
    qn_alloc_fail_at(-1);
    assert_true(k >= 2);
    qn_kv_cache_destroy(c);
    qn_kv_cache_destroy(NULL);
    assert_int_equal(qn_alloc_live(), live);
}

int main(void)
{
    if (!cache_program_init(&plain, &cache_plain_model) || !cache_program_init(&mixed, &cache_mixed_model) ||
        !cache_program_init(&windows, &cache_windows_model))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_number_of_positions_all_sequences_fit),
        cmocka_unit_test(pages_are_planned_for_positions_and_windows),
        cmocka_unit_test(reserving_takes_all_or_nothing),
        cmocka_unit_test(a_page_is_free_when_the_last_lets_go),
        cmocka_unit_test(a_shared_page_is_copied_before_it_is_written),
        cmocka_unit_test(adopting_passes_over_what_no_position_sees),
        cmocka_unit_test(a_sequence_changes_over_to_another_page),
        cmocka_unit_test(one_sequence_can_always_run_to_its_end),
        cmocka_unit_test(creation_survives_each_failing_allocation),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cache_program_deinit(&plain), cache_program_deinit(&mixed), cache_program_deinit(&windows);
    return failed;
}
