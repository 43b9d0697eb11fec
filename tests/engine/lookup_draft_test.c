/* lookup_draft_test.c: the index against a plain search over everything that was appended.
 *
 * What the plain search says: a place is a position that is kept, followed by a token of the same text. Its
 * run is as many tokens up to it, of its text, kept, and at most 32, as are equal to the end of the text
 * asked for. Of the places with runs of at least 8, the latest 16 vote; if there are none, the latest 16 of
 * those with runs of at least `least`. The index follows at most 64 links of a chain, and a link may lead to
 * another place with the same hash. So with a capacity of at most 64 it must say exactly what the plain
 * search says; with more it must in nearly all cases, and what it says must in all cases be the vote of some
 * such places. */
#include "support/cmocka_all.h"

#include "engine/lookup_draft.h"

#include "base/alloc.h"
#include "base/random.h"

#include <stdbool.h>
#include <string.h>

enum { MAX_ROW = 6000, MOST = 20 };

typedef struct plain_search {
    quern_token tokens[MAX_ROW];
    uint32_t texts[MAX_ROW]; /* the number of the text that each belongs to */
    size_t n_tokens, first;  /* first: not reset */
    uint32_t text;
    qn_lookup_params params;
} plain_search;

static size_t oldest(const plain_search *p)
{
    const size_t kept = p->n_tokens > p->params.capacity ? p->n_tokens - p->params.capacity : 0;
    return kept > p->first ? kept : p->first;
}

static bool is_followed(const plain_search *p, size_t position)
{
    return position + 1 < p->n_tokens && p->texts[position] == p->texts[position + 1];
}

static size_t run_at(const plain_search *p, size_t position, const quern_token *tokens, size_t n_tokens)
{
    size_t n = 0;
    while (n < 32 && n < n_tokens && n <= position && position - n >= oldest(p) &&
           p->texts[position - n] == p->texts[position] &&
           p->tokens[position - n] == tokens[n_tokens - 1 - n])
        n++;
    return n;
}

/* Latest first. */
static size_t places_with(const plain_search *p, size_t least, const quern_token *tokens, size_t n_tokens,
                          size_t places[16])
{
    size_t n = 0;
    for (size_t at = p->n_tokens; at-- > oldest(p) && n < 16;)
        if (is_followed(p, at) && run_at(p, at, tokens, n_tokens) >= least) places[n++] = at;
    return n;
}

/* Whether a place goes on with the n tokens of guess; *weight: of a place, if `depth` tokens follow it. */
static bool goes_on(const plain_search *p, size_t place, const quern_token *guess, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_followed(p, place + i) || p->tokens[place + 1 + i] != guess[i]) return false;
    return true;
}

/* The sum of the weights of places that go on with guess, and have still a token after it. */
static double weigh(const plain_search *p, const size_t *places, const double *weights, size_t n_places,
                    const quern_token *guess, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n_places; i++)
        if (goes_on(p, places[i], guess, n) && is_followed(p, places[i] + n)) sum += weights[i];
    return sum;
}

/* As weigh, but of those that go on with one token more: guess[n]. */
static double weigh_token(const plain_search *p, const size_t *places, const double *weights, size_t n_places,
                          const quern_token *guess, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n_places; i++)
        if (goes_on(p, places[i], guess, n + 1)) sum += weights[i];
    return sum;
}

static qn_lookup_guess vote(const plain_search *p, const size_t *places, const double *weights,
                            size_t n_places, quern_token *guess, size_t most)
{
    qn_lookup_guess g = {0};
    double share = 1;
    while (g.n_tokens < most) {
        const double all = weigh(p, places, weights, n_places, guess, g.n_tokens);
        double best = 0;
        quern_token winner = 0;
        for (size_t i = 0; i < n_places; i++) {
            if (!goes_on(p, places[i], guess, g.n_tokens) || !is_followed(p, places[i] + g.n_tokens))
                continue;
            guess[g.n_tokens] = p->tokens[places[i] + 1 + g.n_tokens];
            const double sum = weigh_token(p, places, weights, n_places, guess, g.n_tokens);
            if (sum <= best) continue;
            best = sum;
            winner = guess[g.n_tokens];
        }
        if (best == 0) break;
        share *= best / all;
        if (share < 0.25) break;
        if (g.n_tokens == 0) g.agreement = share, g.certainty = best / (all + 8);
        guess[g.n_tokens++] = winner;
    }
    return g;
}

static qn_lookup_guess search(const plain_search *p, const quern_token *tokens, size_t n_tokens,
                              quern_token *guess, size_t most)
{
    size_t places[16], n_longest = 0;
    double weights[16];
    size_t n_places = 0;
    if (p->params.least < 8) n_places = places_with(p, 8, tokens, n_tokens, places);
    if (n_places == 0) n_places = places_with(p, p->params.least, tokens, n_tokens, places);
    for (size_t i = 0; i < n_places; i++) {
        const size_t run = run_at(p, places[i], tokens, n_tokens);
        weights[i] = (double)run * (double)run;
        if (run > n_longest) n_longest = run;
    }
    qn_lookup_guess g = vote(p, places, weights, n_places, guess, most);
    g.n_equal = n_longest;
    return g;
}

/* What must hold of any answer: a place has that run, and at each depth a place with runs as long as are
 * asked for goes on like the guess so far. */
static void assert_sound(const plain_search *p, const quern_token *tokens, size_t n_tokens, qn_lookup_guess g,
                         const quern_token *guess)
{
    bool has_run = g.n_equal == 0, has_guess = g.n_tokens == 0;
    for (size_t at = oldest(p); at < p->n_tokens; at++) {
        if (!is_followed(p, at)) continue;
        const size_t run = run_at(p, at, tokens, n_tokens);
        has_run = has_run || run == g.n_equal;
        has_guess = has_guess || (run >= p->params.least && goes_on(p, at, guess, g.n_tokens));
    }
    assert_true(has_run && has_guess);
    assert_true(g.n_equal == 0 || g.n_equal >= p->params.least);
    assert_true(g.agreement >= 0 && g.agreement <= 1 && g.certainty >= 0 && g.certainty <= g.agreement);
    assert_true((g.n_tokens > 0) == (g.agreement > 0));
}

static bool same_guess(qn_lookup_guess a, const quern_token *x, qn_lookup_guess b, const quern_token *y)
{
    return a.n_tokens == b.n_tokens && a.n_equal == b.n_equal && a.agreement == b.agreement &&
           a.certainty == b.certainty && memcmp(x, y, a.n_tokens * sizeof *x) == 0;
}

static qn_lookup_index *create(size_t capacity, size_t least)
{
    qn_lookup_index *x = NULL;
    const qn_lookup_params params = {.capacity = capacity, .least = least};
    assert_int_equal(qn_lookup_index_create(&x, &params, NULL), QUERN_OK);
    return x;
}

static size_t below(qn_random *r, size_t n)
{
    return (size_t)(qn_random_u64(r) % n);
}

/* Any 32 bits, of n_kinds. */
static quern_token token_of(size_t kind)
{
    static const quern_token corners[] = {0, -1, INT32_MIN, INT32_MAX, 1, 1 << 16, -(1 << 16), 7};
    const size_t n_corners = sizeof corners / sizeof corners[0];
    return kind < n_corners ? corners[kind] : (quern_token)(kind * 2654435761u);
}

/* A random token, or what once followed: so that there are runs of all lengths. */
static quern_token next_token(qn_random *r, const plain_search *p, size_t n_kinds, size_t *copy_from)
{
    if (*copy_from == 0 && p->n_tokens > 1 && below(r, 12) == 0) *copy_from = 1 + below(r, p->n_tokens - 1);
    if (*copy_from > 0 && below(r, 15) == 0) *copy_from = 0;
    return *copy_from > 0 ? p->tokens[(*copy_from)++] : token_of(below(r, n_kinds));
}

static void append(plain_search *p, qn_lookup_index *x, quern_token token)
{
    p->texts[p->n_tokens] = p->text;
    p->tokens[p->n_tokens++] = token;
    qn_lookup_index_append(x, token);
}

static void change_text(plain_search *p, qn_lookup_index *x, qn_random *r)
{
    if (below(r, 90) == 0) {
        p->text++;
        qn_lookup_index_end(x);
        if (below(r, 3) == 0) qn_lookup_index_end(x); /* a text of nothing */
    }
    if (below(r, 1500) == 0) {
        p->text++;
        p->first = p->n_tokens;
        qn_lookup_index_reset(x);
    }
}

/* Asks for the row itself, a part of it from before, or something else. Returns whether both say the same. */
static bool compare(const plain_search *p, const qn_lookup_index *x, qn_random *r)
{
    quern_token other[40], guess[MOST], expected[MOST];
    size_t n = below(r, p->n_tokens + 1), most = below(r, MOST + 1);
    const quern_token *tokens = p->tokens + p->n_tokens - n;
    if (below(r, 3) == 0) tokens = p->tokens, n = below(r, p->n_tokens + 1);
    if (below(r, 10) == 0) {
        n = n < 40 ? n : 40;
        memcpy(other, tokens, n * sizeof *other);
        if (n > 0) other[below(r, n)] = token_of(below(r, 4));
        tokens = other;
    }
    const qn_lookup_guess g = qn_lookup_index_guess(x, tokens, n, guess, most);
    assert_true(g.n_tokens <= most);
    assert_sound(p, tokens, n, g, guess);
    return same_guess(g, guess, search(p, tokens, n, expected, most), expected);
}

static void agrees_with_a_plain_search(void **state)
{
    (void)state;
    static const size_t capacities[] = {1, 2, 3, 5, 16, 33, 64, 100, 1000}, leasts[] = {2, 3, 7, 8, 12, 32};
    static const size_t kinds[] = {1, 2, 5, 60};
    static plain_search p;
    qn_random r = {.seed = 1};
    size_t n_asked = 0, n_same = 0;
    for (size_t c = 0; c < sizeof capacities / sizeof capacities[0]; c++)
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
            const size_t least = leasts[below(&r, sizeof leasts / sizeof leasts[0]) * (k % 2)];
            qn_lookup_index *x = create(capacities[c], least);
            memset(&p, 0, sizeof p);
            p.params = (qn_lookup_params){.capacity = capacities[c], .least = least};
            for (size_t copy_from = 0; p.n_tokens < 2500;) {
                change_text(&p, x, &r);
                if (below(&r, 3) == 0) {
                    const bool same = compare(&p, x, &r);
                    if (capacities[c] <= 64) assert_true(same);
                    n_asked++;
                    n_same += same;
                }
                append(&p, x, next_token(&r, &p, kinds[k], &copy_from));
            }
            qn_lookup_index_destroy(x);
        }
    assert_true(n_asked > 20000);
    assert_true(n_same >= n_asked - n_asked / 1000);
}

static qn_lookup_guess ask(const qn_lookup_index *x, const quern_token *text, size_t n, quern_token *guess)
{
    return qn_lookup_index_guess(x, text, n, guess, MOST);
}

static void append_all(qn_lookup_index *x, const quern_token *tokens, size_t n)
{
    for (size_t i = 0; i < n; i++) qn_lookup_index_append(x, tokens[i]);
}

static void proposes_what_followed(void **state)
{
    (void)state;
    static const quern_token text[] = {5, 1, 2, 3, 4, 9, 1, 2, 3, 7, 8};
    quern_token guess[MOST];
    qn_lookup_index *x = create(100, 2);
    append_all(x, text, sizeof text / sizeof text[0]);
    const qn_lookup_guess longer = ask(x, (const quern_token[]){9, 1, 2}, 3, guess);
    assert_int_equal(longer.n_equal, 3); /* weighs 9 against the 4 of the place that only 1 2 lead to */
    assert_int_equal(longer.n_tokens, 3);
    assert_memory_equal(guess, ((const quern_token[]){3, 7, 8}), 3 * sizeof *guess);
    assert_true(longer.agreement == 1 && longer.certainty == 13.0 / (13 + 8)); /* both go on with 3 */
    const qn_lookup_guess both = ask(x, (const quern_token[]){2, 3}, 2, guess);
    assert_true(both.n_tokens > 0 && guess[0] == 7 && both.agreement == 0.5); /* the latest, where equal */
    assert_int_equal(ask(x, (const quern_token[]){3, 2}, 2, guess).n_tokens, 0);
    assert_int_equal(ask(x, (const quern_token[]){7, 8}, 2, guess).n_tokens, 0); /* nothing followed yet */
    assert_int_equal(ask(x, text, 1, guess).n_tokens, 0);
    assert_int_equal(ask(x, NULL, 0, guess).n_tokens, 0);
    assert_int_equal(qn_lookup_index_guess(x, text, 3, NULL, 0).n_tokens, 0);
    qn_lookup_index_destroy(x);
}

static void ends_of_texts_hold(void **state)
{
    (void)state;
    static const quern_token first[] = {1, 2, 3, 4}, second[] = {5, 6, 1, 2};
    quern_token guess[MOST];
    qn_lookup_index *x = create(100, 2);
    append_all(x, first, 4);
    qn_lookup_index_end(x);
    append_all(x, second, 4);
    assert_int_equal(ask(x, second, 4, guess).n_tokens, 2); /* not on into the second text */
    assert_memory_equal(guess, first + 2, 2 * sizeof *guess);
    assert_int_equal(ask(x, first, 4, guess).n_equal, 0);                          /* 3 4: its text ends */
    assert_int_equal(ask(x, (const quern_token[]){4, 5}, 2, guess).n_equal, 0);    /* across an end */
    assert_int_equal(ask(x, (const quern_token[]){4, 5, 6}, 3, guess).n_equal, 2); /* cut at it */
    qn_lookup_index_reset(x);
    assert_int_equal(ask(x, second, 4, guess).n_equal, 0);
    append_all(x, first, 3);
    assert_int_equal(ask(x, second, 4, guess).n_tokens, 1);
    qn_lookup_index_destroy(x);
}

/* Every token once, over and over: what is overwritten must not be found, what is kept must. */
static void forgets_what_the_ring_overwrites(void **state)
{
    (void)state;
    quern_token guess[MOST];
    for (size_t capacity = 2; capacity < 50; capacity++) {
        qn_lookup_index *x = create(capacity, 2);
        for (quern_token t = 0; t < 200; t++) qn_lookup_index_append(x, t);
        for (quern_token t = 1; t < 200; t++) {
            const bool kept = t < 199 && (size_t)(199 - (t - 1)) < capacity;
            const quern_token end[] = {t - 1, t};
            const qn_lookup_guess g = ask(x, end, 2, guess);
            assert_int_equal(g.n_equal, kept ? 2 : 0);
            assert_int_equal(g.n_tokens, kept ? (199 - t < MOST ? 199 - t : MOST) : 0);
            for (size_t i = 0; i < g.n_tokens; i++) assert_int_equal(guess[i], t + 1 + (quern_token)i);
        }
        qn_lookup_index_destroy(x);
    }
}

static void repeating_texts_are_guessed_far(void **state)
{
    (void)state;
    static quern_token text[5000];
    quern_token guess[MOST];
    for (size_t period = 1; period <= 3; period++) {
        qn_lookup_index *x = create(3000, 3);
        for (size_t i = 0; i < 5000; i++) text[i] = token_of(i % period);
        append_all(x, text, 5000);
        const qn_lookup_guess g = ask(x, text, 5000, guess);
        assert_int_equal(g.n_equal, 32);
        assert_true(g.agreement == 1);
        assert_true(g.n_tokens >= 16);
        for (size_t i = 0; i < g.n_tokens; i++) assert_int_equal(guess[i], token_of((5000 + i) % period));
        qn_lookup_index_destroy(x);
    }
}

/* Two tokens that are everywhere do not hide the one place where more is equal. */
static void finds_the_long_run_among_many_short_ones(void **state)
{
    (void)state;
    quern_token guess[MOST];
    qn_lookup_index *x = create(5000, 2);
    for (quern_token t = 100; t < 112; t++) qn_lookup_index_append(x, t);
    append_all(x, (const quern_token[]){1, 2, 50, 51}, 4);
    for (quern_token t = 1000; t < 2000; t++) append_all(x, (const quern_token[]){t, 1, 2}, 3);
    const quern_token end[] = {105, 106, 107, 108, 109, 110, 111, 1, 2};
    const qn_lookup_guess g = ask(x, end, 9, guess);
    assert_int_equal(g.n_equal, 9);
    assert_true(g.n_tokens > 2 && guess[0] == 50 && guess[1] == 51 && g.agreement == 1);
    assert_int_equal(ask(x, end + 7, 2, guess).n_tokens, 0); /* each of the latest goes on otherwise */
    qn_lookup_index_destroy(x);
}

static void refuses_parameters_out_of_range(void **state)
{
    (void)state;
    static const qn_lookup_params wrong[] = {
        {0, 2}, {10, 0}, {10, 1}, {10, 33}, {((size_t)1 << 28) + 1, 2}, {SIZE_MAX, 2}, {10, SIZE_MAX}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        qn_lookup_index *x = (void *)&x;
        quern_error err;
        assert_int_equal(qn_lookup_index_bytes(&wrong[i]), 0);
        assert_int_equal(qn_lookup_index_create(&x, &wrong[i], &err), QUERN_ERR_ARGUMENT);
        assert_null(x);
    }
    qn_lookup_index_destroy(NULL);
}

static void survives_failing_memory(void **state)
{
    (void)state;
    const qn_lookup_params params = {.capacity = 1000, .least = 3};
    const long n_live = qn_alloc_live();
    assert_true(qn_lookup_index_bytes(&params) > 1000 * sizeof(quern_token));
    for (long k = 0;; k++) {
        qn_lookup_index *x = NULL;
        qn_alloc_fail_at(k);
        const quern_status s = qn_lookup_index_create(&x, &params, NULL);
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_int_equal(s, failed ? QUERN_ERR_NOMEM : QUERN_OK);
        assert_true((x == NULL) == failed);
        if (failed) assert_int_equal(qn_alloc_live(), n_live);
        qn_lookup_index_destroy(x);
        assert_int_equal(qn_alloc_live(), n_live);
        if (!failed) break;
        assert_true(k < 10);
    }
}

static void takes_no_memory_after_creation(void **state)
{
    (void)state;
    quern_token guess[MOST];
    qn_lookup_index *x = create(100, 2);
    qn_alloc_fail_at(0);
    for (quern_token t = 0; t < 1000; t++) {
        qn_lookup_index_append(x, t % 7);
        (void)ask(x, (const quern_token[]){1, 2}, 2, guess);
        if (t == 500) qn_lookup_index_end(x);
        if (t == 700) qn_lookup_index_reset(x);
    }
    assert_false(qn_alloc_has_failed());
    qn_alloc_fail_at(-1);
    qn_lookup_index_destroy(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_plain_search),
        cmocka_unit_test(proposes_what_followed),
        cmocka_unit_test(ends_of_texts_hold),
        cmocka_unit_test(forgets_what_the_ring_overwrites),
        cmocka_unit_test(repeating_texts_are_guessed_far),
        cmocka_unit_test(finds_the_long_run_among_many_short_ones),
        cmocka_unit_test(refuses_parameters_out_of_range),
        cmocka_unit_test(survives_failing_memory),
        cmocka_unit_test(takes_no_memory_after_creation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
