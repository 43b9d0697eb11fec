/* draft_length_test.c: simulated texts of which it is known how many guesses come true and what steps cost,
 * so that the best fixed number of guesses can be computed. What a choice is worth is reckoned with the true
 * chances, not with the luck of the draw; what is learned from is drawn. */
#include "support/cmocka_all.h"

#include "engine/draft_length.h"

#include "base/random.h"

#include <math.h>
#include <string.h>

typedef struct costs {
    double more;  /* of a step with more than one token, in plain steps */
    double per;   /* of each token after the first */
    size_t tile;  /* tokens are computed in as many at a time */
    double guess; /* of making one guess */
} costs;

static const double plain_ns = 3e7;

static double step_ns(const costs *c, size_t n_tokens)
{
    const size_t n_computed = (n_tokens + c->tile - 1) / c->tile * c->tile;
    return plain_ns * (1 + (n_tokens > 1 ? c->more : 0) + c->per * (double)(n_computed - c->tile));
}

static void fill_step_ns(void *user, size_t n_guesses, double *ns)
{
    for (size_t n = 0; n <= n_guesses; n++) ns[n] = step_ns(user, 1 + n);
}

/* In plain steps. */
static double cost(const costs *c, size_t n_guessed)
{
    return step_ns(c, 1 + n_guessed) / plain_ns + (double)n_guessed * c->guess;
}

static double expected_tokens(const double *parts, double certainty, size_t n_guessed)
{
    double sum = 1, all_true = certainty;
    for (size_t i = 0; i < n_guessed; i++) sum += all_true *= parts[i];
    return sum;
}

static size_t best_fixed(const double *parts, double certainty, const costs *c)
{
    size_t best = 0;
    for (size_t n = 1; n <= QN_MAX_DRAFT; n++)
        if (expected_tokens(parts, certainty, n) / cost(c, n) >
            expected_tokens(parts, certainty, best) / cost(c, best))
            best = n;
    return best;
}

static double best_speed(const double *parts, const costs *c)
{
    const size_t n = best_fixed(parts, 1, c);
    return expected_tokens(parts, 1, n) / cost(c, n);
}

typedef struct tally {
    double expected;        /* tokens */
    double given;           /* tokens that were drawn */
    double time;            /* plain steps */
    double lost, most_lost; /* time - given: at the end, and the most on the way */
    size_t n_steps, n_guessing;
} tally;

typedef struct simulation {
    qn_draft_length length;
    qn_random random;
    int kind;
} simulation;

static void init(simulation *s, uint64_t seed)
{
    qn_draft_length_init(&s->length);
    s->random = (qn_random){.seed = seed};
    s->kind = (int)(seed % QN_DRAFT_KINDS);
}

static size_t step(simulation *s, tally *t, const double *parts, double certainty, size_t most,
                   const costs *c)
{
    const size_t n = qn_draft_length_choose(&s->length, s->kind, most, certainty, c->guess * plain_ns,
                                            fill_step_ns, (void *)c);
    size_t n_true = 0;
    assert_true(n <= most);
    while (n_true < n && qn_random_unit(&s->random) < parts[n_true] * (n_true == 0 ? certainty : 1)) n_true++;
    qn_draft_length_learn(&s->length, s->kind, certainty, n, n_true);
    t->expected += expected_tokens(parts, certainty, n);
    t->given += 1 + (double)n_true;
    t->time += cost(c, n);
    t->lost = t->time - t->given;
    t->most_lost = fmax(t->most_lost, t->lost);
    t->n_steps++;
    t->n_guessing += n > 0;
    return n_true;
}

static double speed(const tally *t)
{
    return t->expected / t->time;
}

/* Guesses deeper in a row come true as often as the first, or more often, or less, or fall off at a depth. */
static void shape(double parts[QN_MAX_DRAFT], int which, double first)
{
    for (int i = 0; i < QN_MAX_DRAFT; i++) {
        const double rising = first + (1 - first) * (1 - pow(0.8, i));
        const double falling = first * pow(0.93, i);
        const double broken = i < 3 ? first : first * 0.3;
        parts[i] = which == 0 ? first : which == 1 ? rising : which == 2 ? falling : broken;
    }
}

static void every_set(void (*each)(const double *parts, const costs *c, void *user), void *user)
{
    static const double per[] = {0.02, 0.1, 0.25, 0.6}, more[] = {0, 0.2}, guess[] = {0, 0.08};
    static const size_t tiles[] = {1, 4};
    double parts[QN_MAX_DRAFT];
    for (int which = 0; which < 4; which++)
        for (int first = 0; first <= 20; first += 2)
            for (int k = 0; k < 32; k++) {
                const costs c = {.per = per[k & 3],
                                 .more = more[k >> 2 & 1],
                                 .tile = tiles[k >> 3 & 1],
                                 .guess = guess[k >> 4]};
                shape(parts, which, first / 20.0);
                each(parts, &c, user);
            }
}

typedef struct set_counts {
    size_t n_sets, n_close;
    double worst;
} set_counts;

static void compare_with_best(const double *parts, const costs *c, void *user)
{
    set_counts *counts = user;
    simulation s;
    tally t = {0};
    init(&s, ++counts->n_sets);
    for (int i = 0; i < 20000; i++) step(&s, &t, parts, 1, QN_MAX_DRAFT, c);
    const double part = speed(&t) / best_speed(parts, c);
    counts->n_close += part >= 0.97;
    counts->worst = fmin(counts->worst, part);
    assert_true(speed(&t) > 0.985); /* never slower than without, but for trials */
}

static void comes_close_to_the_best_fixed_length(void **state)
{
    (void)state;
    set_counts counts = {.worst = 1};
    every_set(compare_with_best, &counts);
    assert_int_equal(counts.n_sets, 4 * 11 * 32);
    assert_true(counts.n_close >= counts.n_sets - counts.n_sets / 100);
    assert_true(counts.worst > 0.95);
}

/* The balance: at the start 1 plain step, 0.005 for each step without guesses, and the step that uses it up.
 */
static void check_loss(const double *parts, const costs *c, void *user)
{
    simulation s;
    tally t = {0};
    init(&s, ++*(uint64_t *)user);
    for (int i = 0; i < 1000; i++) {
        step(&s, &t, parts, 1, QN_MAX_DRAFT, c);
        assert_true(t.lost <= 1 + 0.005 * (double)t.n_steps + cost(c, QN_MAX_DRAFT) - 1);
    }
}

static void never_loses_more_than_the_balance(void **state)
{
    (void)state;
    uint64_t n_sets = 0;
    every_set(check_loss, &n_sets);
}

static void unpredictable_text_costs_next_to_nothing(void **state)
{
    (void)state;
    static const double per[] = {0.01, 0.03, 0.1, 0.3, 0.6, 0.9}, none[QN_MAX_DRAFT] = {0};
    for (size_t k = 0; k < sizeof per / sizeof per[0]; k++)
        for (int first = 0; first < 2; first++) {
            const costs c = {.per = per[k], .tile = 1, .guess = 0.05 * first};
            double parts[QN_MAX_DRAFT];
            simulation s;
            tally t = {0};
            init(&s, k);
            shape(parts, 0, 0.02 * first);
            for (int i = 0; i < 300; i++) step(&s, &t, first > 0 ? parts : none, 1, QN_MAX_DRAFT, &c);
            assert_true(t.most_lost <= 0.02 * 300); /* from the first token on */
            t = (tally){0};
            for (int i = 0; i < 10000; i++) step(&s, &t, first > 0 ? parts : none, 1, QN_MAX_DRAFT, &c);
            assert_true(speed(&t) > 0.98);
            assert_true(t.n_guessing > 10000 / 200);                /* it goes on trying, */
            assert_true(t.n_guessing < 10000 / 20 || per[k] < 0.1); /* but seldom */
        }
}

static void predictable_text_is_guessed_from_the_start(void **state)
{
    (void)state;
    const costs c = {.per = 0.12, .tile = 1};
    double parts[QN_MAX_DRAFT];
    for (uint64_t seed = 0; seed < 50; seed++) {
        simulation s;
        tally t = {0};
        init(&s, seed);
        shape(parts, 0, 0.93);
        while (t.given < 200) step(&s, &t, parts, 1, QN_MAX_DRAFT, &c);
        assert_true(t.given / t.time > 1.9);
    }
}

/* Texts of 300 steps without and 300 with predictable tokens in turns: what is lost in the one, and in the
 * second half of the other how close it comes to the best. */
static void notices_that_a_text_changes(void **state)
{
    (void)state;
    const costs c = {.per = 0.1, .tile = 1};
    double parts[2][QN_MAX_DRAFT];
    shape(parts[0], 0, 0.02);
    shape(parts[1], 0, 0.97);
    for (uint64_t seed = 0; seed < 50; seed++) {
        simulation s;
        init(&s, seed);
        for (int turn = 0; turn < 6; turn++) {
            tally begin = {0}, later = {0};
            for (int i = 0; i < 150; i++) step(&s, &begin, parts[turn % 2], 1, QN_MAX_DRAFT, &c);
            for (int i = 0; i < 150; i++) step(&s, &later, parts[turn % 2], 1, QN_MAX_DRAFT, &c);
            if (turn % 2 == 0) assert_true(begin.most_lost < 18 && speed(&later) > 0.98);
            if (turn % 2 == 1) assert_true(speed(&later) > 0.95 * best_speed(parts[1], &c));
        }
    }
}

/* Certainties that are right in proportion: steps of either kind have their own best number of guesses. */
static void certainty_tells_good_steps_from_bad_ones(void **state)
{
    (void)state;
    static const double certainties[] = {0.95, 0.1, 0.1};
    const costs c = {.per = 0.15, .more = 0.1, .tile = 1};
    double parts[QN_MAX_DRAFT], best_tokens = 0, best_time = 0;
    shape(parts, 0, 0.8);
    for (size_t k = 0; k < 3; k++) {
        const size_t n = best_fixed(parts, certainties[k], &c);
        best_tokens += expected_tokens(parts, certainties[k], n);
        best_time += cost(&c, n);
    }
    for (uint64_t seed = 0; seed < 20; seed++) {
        simulation s;
        tally t = {0};
        init(&s, seed);
        for (size_t i = 0; i < 30000; i++) step(&s, &t, parts, certainties[i % 3], QN_MAX_DRAFT, &c);
        assert_true(speed(&t) > 0.97 * best_tokens / best_time);
    }
}

/* A guesser that is sure of itself and always wrong. */
static void a_boasting_guesser_is_found_out(void **state)
{
    (void)state;
    const costs c = {.per = 0.2, .tile = 1};
    static const double none[QN_MAX_DRAFT] = {0};
    simulation s;
    tally t = {0};
    init(&s, 1);
    for (int i = 0; i < 2000; i++) step(&s, &t, none, i % 3 == 0 ? 1 : 0.5, 1 + (size_t)i % QN_MAX_DRAFT, &c);
    assert_true(speed(&t) > 0.98);
}

static void no_cost(void *user, size_t n_guesses, double *ns)
{
    const double *costs_of = user; /* without guesses, with some */
    for (size_t n = 0; n <= n_guesses; n++) ns[n] = costs_of[n > 0];
}

static void keeps_within_its_bounds(void **state)
{
    (void)state;
    qn_draft_length d;
    double steps[] = {1, 1};
    qn_draft_length_init(&d);
    assert_int_equal(qn_draft_length_choose(&d, 0, 0, 1, 0, no_cost, steps), 0);
    assert_int_equal(qn_draft_length_choose(&d, 0, 3, 1, 0, no_cost, steps), 3);
    assert_int_equal(qn_draft_length_choose(&d, 0, 1000, 1, 0, no_cost, steps), QN_MAX_DRAFT);
    assert_int_equal(qn_draft_length_choose(&d, 0, 5, 0, 0, no_cost, steps), 0);
    assert_int_equal(qn_draft_length_choose(&d, 0, 5, -1, 0, no_cost, steps), 0);
    assert_int_equal(qn_draft_length_choose(&d, 0, 5, NAN, 0, no_cost, steps), 0);
    assert_int_equal(qn_draft_length_choose(&d, 0, 5, 7, 0, no_cost, steps), 5);
    static double odd[][2] = {{0, 0}, {0, 1}, {NAN, 1}, {1, NAN}, {-1, 1}, {1, -1}, {1, INFINITY}, {1, 0}};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) { /* costs that are not known yet, or wrong */
        assert_int_equal(qn_draft_length_choose(&d, 1, 5, 1, 0, no_cost, odd[i]), 0);
        qn_draft_length_learn(&d, 1, 1, 5, 2);
        assert_true(isfinite(d.kinds[1].balance));
    }
    assert_int_equal(qn_draft_length_choose(&d, 0, 5, 1, NAN, no_cost, steps), 0);
    assert_int_equal(qn_draft_length_choose(&d, 1, 5, 1, 0, no_cost, steps), 5);
}

static void where_no_guess_can_pay_none_is_tried(void **state)
{
    (void)state;
    const costs c = {.per = 1, .tile = 1}; /* as long as the tokens one by one */
    double parts[QN_MAX_DRAFT];
    simulation s;
    tally t = {0};
    init(&s, 1);
    shape(parts, 0, 1);
    for (int i = 0; i < 2000; i++) step(&s, &t, parts, 1, QN_MAX_DRAFT, &c);
    assert_int_equal(t.n_guessing, 0);
}

static void kinds_do_not_mix_and_repeat_themselves(void **state)
{
    (void)state;
    const costs c = {.per = 0.1, .tile = 1};
    simulation a, b;
    tally t = {0};
    double parts[QN_MAX_DRAFT];
    shape(parts, 0, 0.5);
    init(&a, 1);
    init(&b, 1);
    const qn_draft_record other = a.length.kinds[0];
    for (int i = 0; i < 1000; i++) {
        step(&a, &t, parts, 1, QN_MAX_DRAFT, &c);
        step(&b, &t, parts, 1, QN_MAX_DRAFT, &c);
    }
    assert_memory_equal(&a.length.kinds[1].checked, &b.length.kinds[1].checked, sizeof other.checked);
    assert_true(a.length.kinds[1].balance == b.length.kinds[1].balance);
    assert_memory_equal(&a.length.kinds[0], &other, sizeof other);
    qn_draft_length_learn(&a.length, 0, 1, 0, 0);
    assert_memory_equal(&a.length.kinds[0], &other, sizeof other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_close_to_the_best_fixed_length),
        cmocka_unit_test(never_loses_more_than_the_balance),
        cmocka_unit_test(unpredictable_text_costs_next_to_nothing),
        cmocka_unit_test(predictable_text_is_guessed_from_the_start),
        cmocka_unit_test(notices_that_a_text_changes),
        cmocka_unit_test(certainty_tells_good_steps_from_bad_ones),
        cmocka_unit_test(a_boasting_guesser_is_found_out),
        cmocka_unit_test(keeps_within_its_bounds),
        cmocka_unit_test(where_no_guess_can_pay_none_is_tried),
        cmocka_unit_test(kinds_do_not_mix_and_repeat_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
