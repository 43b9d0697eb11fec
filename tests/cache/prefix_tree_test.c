/* prefix_tree_test.c: what is found is what belongs to a text, what is given up is what is worth least, and
 * thousands of random operations do the same as a plain model of the tree. */
#include "support/cmocka_all.h"

#include "cache_program.h"
#include "tree_model.h"

#include "base/alloc.h"
#include "base/random.h"
#include "cache/prefix_tree.h"

#include <string.h>

enum { PAGE = QN_PAGE_POSITIONS, N_CTX = 1000, N_BATCH = 128, HISTORY = 0, WINDOW = 1, N_TEXT = 600 };

static cache_program plain, mixed, windows;
static const qn_prefix_key space_a = {1, 2}, space_b = {1, 3};

typedef struct fixture {
    qn_kv_cache *cache;
    qn_prefix_tree *tree;
    size_t n_told, n_told_stays;
    size_t told_position; /* of the last page that was told to be forgotten */
    quern_token told_token;
} fixture;

static void on_forget(void *user, const qn_prefix_page *page)
{
    fixture *f = user;
    f->n_told++;
    f->n_told_stays += page->stays;
    f->told_position = page->position;
    f->told_token = page->tokens[0];
}

static fixture create(const cache_program *p, size_t n_positions, size_t n_windows)
{
    const qn_kv_cache_params params = {.n_sequences = 3,
                                       .n_ctx = N_CTX,
                                       .n_batch = N_BATCH,
                                       .n_positions = n_positions,
                                       .n_windows = n_windows,
                                       .type_k = QN_TYPE_F16,
                                       .type_v = QN_TYPE_F16};
    fixture f = {0};
    assert_int_equal(qn_kv_cache_create(&f.cache, &p->program, &params, NULL), QUERN_OK);
    assert_int_equal(qn_prefix_tree_create(&f.tree, f.cache, NULL, NULL, NULL), QUERN_OK);
    return f;
}

static void listen(fixture *f) /* once the fixture has its address */
{
    qn_prefix_tree_destroy(f->tree);
    assert_int_equal(qn_prefix_tree_create(&f->tree, f->cache, on_forget, f, NULL), QUERN_OK);
}

static void destroy(fixture *f)
{
    qn_prefix_tree_destroy(f->tree);
    qn_kv_cache_destroy(f->cache);
}

static void fill_text(quern_token *text, size_t n, uint64_t seed)
{
    qn_random r = {.seed = seed};
    for (size_t i = 0; i < n; i++) text[i] = (quern_token)(qn_random_u64(&r) % 1000);
}

/* Every page tells the text's first token and the page's index. */
static void write_pages(fixture *f, size_t seq, const quern_token *text, size_t begin, size_t end)
{
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        const int32_t *table = qn_kv_cache_pages(f->cache, seq, g);
        for (size_t i = begin / PAGE; table != NULL && i * PAGE < end; i++) {
            const int32_t words[2] = {text[0], (int32_t)i};
            assert_int_equal(qn_kv_cache_holders(f->cache, g, table[i]), 1);
            memcpy(qn_kv_cache_page_data(f->cache, g, table[i]), words, sizeof words);
        }
    }
}

static void check_pages(const fixture *f, size_t seq, const quern_token *text, size_t n)
{
    assert_int_equal(qn_kv_cache_length(f->cache, seq), n);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        const int32_t *table = qn_kv_cache_pages(f->cache, seq, g);
        for (size_t i = qn_kv_cache_first_seen(f->cache, g, n) / PAGE; table != NULL && i * PAGE < n; i++) {
            const int32_t words[2] = {text[0], (int32_t)i};
            assert_true(table[i] >= 0);
            assert_memory_equal(qn_kv_cache_page_data(f->cache, g, table[i]), words, sizeof words);
        }
    }
}

static void grow(fixture *f, size_t seq, const quern_token *text, size_t n)
{
    for (size_t done = qn_kv_cache_length(f->cache, seq), step; done < n; done += step) {
        step = n - done < N_BATCH ? n - done : N_BATCH;
        assert_true(qn_kv_cache_reserve(f->cache, seq, step));
        write_pages(f, seq, text, done, done + step);
        qn_kv_cache_commit(f->cache, seq, step);
    }
}

static void keep(fixture *f, qn_prefix_key space, const quern_token *text, size_t n, size_t seq)
{
    qn_prefix_tree_keep(f->tree, space, text, n, seq, true);
}

/* Computes a text, keeps it, and leaves. */
static void compute(fixture *f, qn_prefix_key space, const quern_token *text, size_t n)
{
    qn_kv_cache_truncate(f->cache, 0, 0);
    grow(f, 0, text, n);
    keep(f, space, text, n, 0);
    qn_kv_cache_truncate(f->cache, 0, 0);
}

static size_t peek(const fixture *f, qn_prefix_key space, const quern_token *text, size_t n)
{
    return qn_prefix_tree_peek(f->tree, space, text, n, n);
}

static size_t n_nodes(const fixture *f)
{
    qn_prefix_stats stats;
    qn_prefix_tree_get_stats(f->tree, &stats);
    return stats.n_nodes;
}

/* ---- finding ---------------------------------------------------------------------------------------- */

static void what_was_kept_is_found_in_its_name_space_alone(void **state)
{
    (void)state;
    quern_token text[N_TEXT], other[N_TEXT];
    fixture f = create(&plain, 4000, 0);
    fill_text(text, N_TEXT, 1);
    compute(&f, space_a, text, 300);
    assert_int_equal(peek(&f, space_b, text, 300), 0);
    assert_int_equal(qn_prefix_tree_find(f.tree, space_a, text, N_TEXT, N_TEXT, 1), 300);
    check_pages(&f, 1, text, 300);
    assert_int_equal(qn_prefix_tree_find(f.tree, space_a, text, 300, 299, 2), 299);
    check_pages(&f, 2, text, 299);
    assert_int_equal(qn_kv_cache_used_pages(f.cache, HISTORY), 5); /* nothing was copied so far */
    memcpy(other, text, sizeof other);
    other[200]++;
    assert_int_equal(peek(&f, space_a, other, N_TEXT), 200);
    other[0]++;
    assert_int_equal(peek(&f, space_a, other, N_TEXT), 0);
    qn_prefix_stats stats;
    qn_prefix_tree_get_stats(f.tree, &stats);
    assert_int_equal(stats.n_texts_found, 2);
    assert_int_equal(stats.n_tokens_found, 300 + 299);
    assert_int_equal(stats.n_tokens_asked, N_TEXT + 300);
    destroy(&f);
}

static void texts_that_part_within_a_page_share_what_precedes(void **state)
{
    (void)state;
    quern_token text[N_TEXT], other[N_TEXT];
    fixture f = create(&plain, 4000, 0);
    fill_text(text, N_TEXT, 2);
    memcpy(other, text, sizeof other);
    other[150]++;
    compute(&f, space_a, text, 256);
    assert_int_equal(qn_prefix_tree_find(f.tree, space_a, other, 256, 256, 0), 150);
    assert_int_equal(qn_kv_cache_wanted_pages(f.cache, 0, 106, HISTORY), 2); /* a copy, and the next */
    grow(&f, 0, other, 256);
    check_pages(&f, 0, other, 256);
    keep(&f, space_a, other, 256, 0);
    assert_int_equal(n_nodes(&f), 6);
    assert_int_equal(qn_kv_cache_used_pages(f.cache, HISTORY), 6);
    assert_int_equal(peek(&f, space_a, text, 256), 256);
    assert_int_equal(peek(&f, space_a, other, 256), 256);
    destroy(&f);
}

static void a_sequence_changes_over_to_pages_that_are_known(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    fixture f = create(&mixed, 4000, 50);
    fill_text(text, N_TEXT, 3);
    grow(&f, 0, text, 200); /* two at the same time */
    grow(&f, 1, text, 200);
    assert_int_equal(qn_kv_cache_used_pages(f.cache, HISTORY), 8);
    keep(&f, space_a, text, 200, 0);
    keep(&f, space_a, text, 200, 1);
    assert_int_equal(qn_kv_cache_used_pages(f.cache, HISTORY), 4);
    assert_int_equal(qn_kv_cache_used_pages(f.cache, WINDOW), 3); /* positions 101 to 199 */
    check_pages(&f, 1, text, 200);
    grow(&f, 1, text, 201); /* the tail was shared */
    check_pages(&f, 0, text, 200);
    check_pages(&f, 1, text, 201);
    destroy(&f);
}

static void a_tail_gives_way_to_a_longer_page(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    fixture f = create(&plain, 4000, 0);
    fill_text(text, N_TEXT, 4);
    grow(&f, 0, text, 100);
    keep(&f, space_a, text, 90, 0);
    keep(&f, space_a, text, 100, 0); /* the same page: it has one node */
    assert_int_equal(n_nodes(&f), 2);
    assert_int_equal(peek(&f, space_a, text, 100), 100);
    keep(&f, space_a, text, 95, 0); /* known as a beginning */
    assert_int_equal(n_nodes(&f), 2);
    grow(&f, 0, text, 128);
    keep(&f, space_a, text, 128, 0);
    assert_int_equal(n_nodes(&f), 2);
    assert_int_equal(qn_kv_cache_used_pages(f.cache, HISTORY), 2);
    check_pages(&f, 0, text, 128);
    destroy(&f);
}

static void a_longer_sequence_keeps_its_own_page(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    fixture f = create(&plain, 4000, 0);
    fill_text(text, N_TEXT, 5);
    compute(&f, space_a, text, 90);
    grow(&f, 1, text, 100);
    const int32_t own = qn_kv_cache_pages(f.cache, 1, HISTORY)[1];
    keep(&f, space_a, text, 90, 1); /* the known page lacks positions 90 to 99 */
    assert_int_equal(qn_kv_cache_pages(f.cache, 1, HISTORY)[1], own);
    destroy(&f);
}

static void a_page_stays_with_the_text_that_had_it_first(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    fixture f = create(&plain, 4000, 0);
    fill_text(text, N_TEXT, 6);
    grow(&f, 0, text, 128);
    keep(&f, space_a, text, 128, 0);
    keep(&f, space_b, text, 128, 0);
    assert_int_equal(peek(&f, space_a, text, 128), 128);
    assert_int_equal(peek(&f, space_b, text, 128), 0);
    destroy(&f);
}

/* ---- windows ---------------------------------------------------------------------------------------- */

static void a_text_ends_only_where_its_window_is_there(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    fixture f = create(&mixed, 4000, 50);
    fill_text(text, N_TEXT, 7);
    grow(&f, 0, text, N_TEXT); /* never kept on the way: only the last window is left */
    keep(&f, space_a, text, N_TEXT, 0);
    assert_int_equal(peek(&f, space_a, text, N_TEXT), N_TEXT);
    assert_int_equal(peek(&f, space_a, text, N_TEXT - 1), N_TEXT - 1); /* sees from 500 on: page 7 */
    assert_int_equal(peek(&f, space_a, text, 547), 547);               /* from 448 on: page 7 */
    assert_int_equal(peek(&f, space_a, text, 546), 0);                 /* from 447 on: page 6 */
    qn_kv_cache_truncate(f.cache, 0, 0);
    assert_int_equal(qn_prefix_tree_find(f.tree, space_a, text, N_TEXT, 560, 0), 560);
    check_pages(&f, 0, text, 560);
    destroy(&f);
}

static void whoever_computes_again_brings_the_window_back(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    fixture f = create(&mixed, 4000, 50);
    fill_text(text, N_TEXT, 8);
    compute(&f, space_a, text, N_TEXT);
    assert_int_equal(peek(&f, space_a, text, 300), 0);
    compute(&f, space_a, text, 300);
    assert_int_equal(peek(&f, space_a, text, 300), 300);
    assert_int_equal(peek(&f, space_a, text, N_TEXT), N_TEXT);
    destroy(&f);
}

/* Pages of windows go before the pages they stand beside, and all of one position together. */
static void the_window_used_least_goes_first(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    fixture f = create(&mixed, 4000, 50);
    listen(&f);
    fill_text(text, N_TEXT, 9);
    for (size_t n = 64; n <= 512; n += 64) {
        grow(&f, 0, text, n);
        keep(&f, space_a, text, n, 0);
    }
    qn_kv_cache_truncate(f.cache, 0, 0);
    assert_int_equal(qn_kv_cache_used_pages(f.cache, WINDOW), 8);
    assert_int_equal(qn_prefix_tree_find(f.tree, space_a, text, 192, 192, 0), 192); /* uses pages 1 and 2 */
    qn_kv_cache_truncate(f.cache, 0, 0);
    const size_t n_free = qn_kv_cache_n_pages(f.cache, WINDOW) - 8;
    assert_true(qn_prefix_tree_free_pages(f.tree, WINDOW, n_free + 4)); /* pages 0, 3, 4 and 5 */
    assert_int_equal(f.n_told, 4);
    assert_int_equal(f.n_told_stays, 4);
    assert_int_equal(n_nodes(&f), 8);
    assert_int_equal(peek(&f, space_a, text, 192), 192);
    assert_int_equal(peek(&f, space_a, text, 191), 191);
    assert_int_equal(peek(&f, space_a, text, 400), 192);
    assert_int_equal(peek(&f, space_a, text, 512), 512);
    assert_true(
        qn_prefix_tree_free_pages(f.tree, WINDOW, n_free + 6)); /* the end, and what is of no use then */
    assert_int_equal(n_nodes(&f), 3);
    assert_int_equal(peek(&f, space_a, text, 512), 192);
    destroy(&f);
}

static void a_model_of_windows_alone_keeps_the_way_to_them(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    fixture f = create(&windows, N_CTX, 5);
    fill_text(text, N_TEXT, 10);
    compute(&f, space_a, text, N_TEXT);
    assert_int_equal(n_nodes(&f), 10);
    assert_int_equal(qn_kv_cache_used_pages(f.cache, WINDOW), 3); /* 501 to 599, the first not aligned */
    assert_int_equal(qn_prefix_tree_find(f.tree, space_a, text, N_TEXT, N_TEXT, 0), N_TEXT);
    check_pages(&f, 0, text, N_TEXT);
    qn_kv_cache_truncate(f.cache, 0, 0);
    for (uint64_t seed = 11; seed < 20; seed++) { /* more nodes than there are */
        fill_text(text, N_TEXT, seed);
        compute(&f, space_a, text, N_TEXT);
        assert_int_equal(peek(&f, space_a, text, N_TEXT), N_TEXT);
    }
    destroy(&f);
}

/* ---- value ------------------------------------------------------------------------------------------ */

/* Texts of one page each, told apart by their first token. */
static void compute_page(fixture *f, quern_token first)
{
    quern_token text[PAGE] = {first};
    compute(f, space_a, text, PAGE);
}

static size_t peek_page(const fixture *f, quern_token first)
{
    const quern_token text[PAGE] = {first};
    return peek(f, space_a, text, PAGE);
}

static void use_page(fixture *f, quern_token first)
{
    const quern_token text[PAGE] = {first};
    assert_int_equal(qn_prefix_tree_find(f->tree, space_a, text, PAGE, PAGE, 1), PAGE);
    qn_kv_cache_truncate(f->cache, 1, 0);
}

static bool forget_one(fixture *f)
{
    const size_t n_free = qn_kv_cache_n_pages(f->cache, HISTORY) - qn_kv_cache_used_pages(f->cache, HISTORY);
    return qn_prefix_tree_free_pages(f->tree, HISTORY, n_free + 1);
}

static void what_was_used_more_often_is_kept_longer(void **state)
{
    (void)state;
    fixture f = create(&plain, 4000, 0);
    listen(&f);
    for (quern_token i = 1; i <= 4; i++) compute_page(&f, i);
    use_page(&f, 1), use_page(&f, 1), use_page(&f, 3);
    static const quern_token order[] = {2, 4, 3, 1}; /* of equal value, the one unused for longest first */
    for (size_t i = 0; i < 4; i++) {
        assert_true(forget_one(&f));
        assert_int_equal(f.told_token, order[i]);
        assert_int_equal(peek_page(&f, order[i]), 0);
    }
    assert_false(forget_one(&f));
    assert_int_equal(f.n_told, 4);
    destroy(&f);
}

static void old_values_fade(void **state)
{
    (void)state;
    fixture f = create(&plain, 4000, 0);
    listen(&f);
    compute_page(&f, 1);
    for (int i = 0; i < 3; i++) use_page(&f, 1); /* worth four uses */
    for (quern_token i = 2; i < 5; i++) {        /* each is worth one more than the last that was given up */
        compute_page(&f, i);
        assert_true(forget_one(&f));
        assert_int_equal(f.told_token, i);
    }
    compute_page(&f, 5);
    assert_true(forget_one(&f));
    assert_int_equal(f.told_token, 1);
    destroy(&f);
}

/* All of it, not its last page alone. */
static void a_text_that_is_left_counts_as_used(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    fixture f = create(&plain, 4000, 0);
    listen(&f);
    fill_text(text, N_TEXT, 14);
    grow(&f, 1, text, 4 * PAGE);
    qn_prefix_tree_keep(f.tree, space_a, text, 4 * PAGE, 1, false);
    for (quern_token i = 2000; i < 2010; i++) { /* values rise meanwhile */
        compute_page(&f, i);
        assert_true(forget_one(&f));
        assert_int_equal(f.told_token, i);
    }
    compute_page(&f, 2010);
    keep(&f, space_a, text, 4 * PAGE, 1);
    qn_kv_cache_truncate(f.cache, 1, 0);
    assert_true(forget_one(&f)); /* worth as much, but computed before the text was left */
    assert_int_equal(f.told_token, 2010);
    compute_page(&f, 2011);
    for (size_t i = 4; i > 0; i--) {
        assert_true(forget_one(&f));
        assert_int_equal(f.told_position, (i - 1) * PAGE);
        assert_int_equal(f.told_token, text[(i - 1) * PAGE]);
    }
    destroy(&f);
}

static void what_is_dear_to_compute_is_kept_longer(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    fixture f = create(&plain, 4000, 0);
    listen(&f);
    qn_prefix_tree_set_cost(f.tree, 1, 0.01);
    fill_text(text, N_TEXT, 12);
    compute(&f, space_a, text, 512);
    for (quern_token i = 2000; i < 2003; i++) compute_page(&f, i); /* later, but near the beginning */
    for (quern_token i = 2000; i < 2003; i++) {
        assert_true(forget_one(&f));
        assert_int_equal(f.told_token, i);
    }
    assert_true(forget_one(&f));
    assert_int_equal(f.told_position, 512 - PAGE); /* the end of a text before its beginning */
    destroy(&f);
}

static void what_a_sequence_holds_is_not_given_up(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    fixture f = create(&mixed, 4000, 50);
    fill_text(text, N_TEXT, 13);
    compute(&f, space_a, text, N_TEXT);
    assert_int_equal(qn_prefix_tree_find(f.tree, space_a, text, N_TEXT, 580, 0), 580);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        assert_false(qn_prefix_tree_free_pages(f.tree, g, qn_kv_cache_n_pages(f.cache, g)));
    qn_prefix_tree_forget(f.tree, NULL);
    assert_int_equal(n_nodes(&f), 10);
    check_pages(&f, 0, text, 580);
    qn_kv_cache_truncate(f.cache, 0, 0);
    assert_true(qn_prefix_tree_free_pages(f.tree, HISTORY, qn_kv_cache_n_pages(f.cache, HISTORY)));
    assert_int_equal(n_nodes(&f), 0);
    assert_int_equal(qn_kv_cache_used_pages(f.cache, WINDOW), 0);
    assert_false(qn_prefix_tree_free_pages(f.tree, HISTORY, 1000));
    destroy(&f);
}

static void a_name_space_is_forgotten_alone(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    fixture f = create(&mixed, 4000, 50);
    listen(&f);
    fill_text(text, N_TEXT, 14);
    compute(&f, space_a, text, 200);
    compute(&f, space_b, text, 300);
    qn_prefix_tree_forget(f.tree, &space_a);
    assert_int_equal(f.n_told, 4);
    assert_int_equal(peek(&f, space_a, text, 200), 0);
    assert_int_equal(peek(&f, space_b, text, 300), 300);
    qn_prefix_tree_forget(f.tree, NULL);
    assert_int_equal(n_nodes(&f), 0);
    assert_int_equal(qn_kv_cache_used_pages(f.cache, HISTORY) + qn_kv_cache_used_pages(f.cache, WINDOW), 0);
    destroy(&f);
}

/* ---- pages from elsewhere --------------------------------------------------------------------------- */

static bool add(fixture *f, const quern_token *text, size_t begin, size_t end, int32_t pages[QN_CACHE_GROUPS])
{
    qn_prefix_page page = {.tokens = text + begin, .n_tokens = end - begin, .position = begin};
    page.parent = qn_prefix_key_of(space_a, text, begin);
    page.key = qn_prefix_key_of(page.parent, page.tokens, page.n_tokens);
    const int32_t words[2] = {text[0], (int32_t)(begin / PAGE)};
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if ((pages[g] = qn_kv_cache_take(f->cache, g)) >= 0)
            memcpy(qn_kv_cache_page_data(f->cache, g, pages[g]), words, sizeof words);
    return qn_prefix_tree_add(f->tree, &page, pages);
}

static void a_page_from_elsewhere_needs_its_parent(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    int32_t pages[QN_CACHE_GROUPS];
    fixture f = create(&mixed, 4000, 50);
    fill_text(text, N_TEXT, 15);
    assert_false(add(&f, text, 64, 128, pages));
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) qn_kv_cache_release(f.cache, g, pages[g]);
    assert_true(add(&f, text, 0, 64, pages));
    assert_true(add(&f, text, 64, 128, pages));
    assert_true(add(&f, text, 128, 150, pages));
    assert_int_equal(qn_prefix_tree_find(f.tree, space_a, text, N_TEXT, N_TEXT, 0), 150);
    check_pages(&f, 0, text, 150);
    const size_t used = qn_kv_cache_used_pages(f.cache, HISTORY);
    assert_true(add(&f, text, 64, 128, pages)); /* known: free again */
    assert_true(add(&f, text, 128, 140, pages));
    assert_int_equal(qn_kv_cache_used_pages(f.cache, HISTORY), used);
    assert_int_equal(n_nodes(&f), 3);
    destroy(&f);
}

static void the_key_of_a_text_is_that_of_its_chain(void **state)
{
    (void)state;
    quern_token text[N_TEXT];
    fill_text(text, N_TEXT, 16);
    qn_prefix_key key = space_a;
    for (size_t i = 0; i < 150; i += PAGE)
        key = qn_prefix_key_of(key, text + i, i + PAGE < 150 ? PAGE : 150 - i);
    const qn_prefix_key all = qn_prefix_key_of(space_a, text, 150),
                        other = qn_prefix_key_of(space_b, text, 150);
    assert_memory_equal(&key, &all, sizeof key);
    assert_memory_not_equal(&key, &other, sizeof key);
}

static void creation_survives_each_failing_allocation(void **state)
{
    (void)state;
    fixture f = create(&mixed, 4000, 50);
    const long live = qn_alloc_live();
    qn_prefix_tree *tree = NULL;
    quern_error err;
    long k = 0;
    while (qn_alloc_fail_at(k), qn_prefix_tree_create(&tree, f.cache, NULL, NULL, &err) != QUERN_OK) {
        assert_int_equal(err.status, QUERN_ERR_NOMEM);
        assert_null(tree);
        assert_int_equal(qn_alloc_live(), live);
        k++;
    }
    assert_true(k >= 2);
    qn_prefix_tree_destroy(tree);
    qn_prefix_tree_destroy(NULL);
    quern_token text[N_TEXT];
    fill_text(text, N_TEXT, 17);
    qn_alloc_fail_at(0); /* nothing is allocated later on */
    compute(&f, space_a, text, N_TEXT);
    assert_int_equal(qn_prefix_tree_find(f.tree, space_a, text, N_TEXT, N_TEXT, 0), N_TEXT);
    qn_prefix_tree_forget(f.tree, NULL);
    assert_false(qn_alloc_has_failed());
    qn_alloc_fail_at(-1);
    const qn_kv_cache_shape shape = qn_kv_cache_get_shape(f.cache);
    assert_true(qn_prefix_tree_bytes(&shape) > shape.n_pages[0] * QN_PAGE_POSITIONS * sizeof(quern_token));
    destroy(&f);
}

/* ---- against the model ------------------------------------------------------------------------------ */

static unsigned draw(void *user, unsigned n)
{
    return (unsigned)(qn_random_u64(user) % n);
}

static void run_model(const cache_program *p, uint64_t seed, size_t n_positions, size_t n_windows,
                      int n_steps)
{
    qn_random random = {.seed = seed};
    const qn_kv_cache_params params = {.n_sequences = 4,
                                       .n_ctx = 330,
                                       .n_batch = 1 + draw(&random, 200),
                                       .n_positions = n_positions,
                                       .n_windows = n_windows,
                                       .type_k = QN_TYPE_F16,
                                       .type_v = QN_TYPE_F16};
    tree_model *m = tree_model_create(&p->program, &params, draw, &random);
    assert_non_null(m);
    for (int i = 0; i < n_steps; i++) tree_model_step(m);
    tree_model_destroy(m);
}

static void random_operations_do_as_the_model_does(void **state)
{
    (void)state;
    const cache_program *programs[] = {&plain, &mixed, &windows};
    static const struct {
        size_t n_positions, n_windows;
    } sizes[] = {{0, 0}, {1, 0}, {600, 1}, {1500, 3}, {4000, 20}};
    for (size_t i = 0; i < 3; i++)
        for (uint64_t k = 0; k < 5; k++)
            run_model(programs[i], 100 * i + k, sizes[k].n_positions, sizes[k].n_windows, 4000);
}

int main(void)
{
    if (!cache_program_init(&plain, &cache_plain_model) || !cache_program_init(&mixed, &cache_mixed_model) ||
        !cache_program_init(&windows, &cache_windows_model))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_kept_is_found_in_its_name_space_alone),
        cmocka_unit_test(texts_that_part_within_a_page_share_what_precedes),
        cmocka_unit_test(a_sequence_changes_over_to_pages_that_are_known),
        cmocka_unit_test(a_tail_gives_way_to_a_longer_page),
        cmocka_unit_test(a_longer_sequence_keeps_its_own_page),
        cmocka_unit_test(a_page_stays_with_the_text_that_had_it_first),
        cmocka_unit_test(a_text_ends_only_where_its_window_is_there),
        cmocka_unit_test(whoever_computes_again_brings_the_window_back),
        cmocka_unit_test(the_window_used_least_goes_first),
        cmocka_unit_test(a_model_of_windows_alone_keeps_the_way_to_them),
        cmocka_unit_test(what_was_used_more_often_is_kept_longer),
        cmocka_unit_test(old_values_fade),
        cmocka_unit_test(a_text_that_is_left_counts_as_used),
        cmocka_unit_test(what_is_dear_to_compute_is_kept_longer),
        cmocka_unit_test(what_a_sequence_holds_is_not_given_up),
        cmocka_unit_test(a_name_space_is_forgotten_alone),
        cmocka_unit_test(a_page_from_elsewhere_needs_its_parent),
        cmocka_unit_test(the_key_of_a_text_is_that_of_its_chain),
        cmocka_unit_test(creation_survives_each_failing_allocation),
        cmocka_unit_test(random_operations_do_as_the_model_does),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cache_program_deinit(&plain), cache_program_deinit(&mixed), cache_program_deinit(&windows);
    return failed;
}
