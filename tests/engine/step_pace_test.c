/* step_pace_test.c: times of steps are learned from noisy samples of a known machine; accidents, absurd input
 * and a machine that changes do no lasting harm, and what fits into a budget fits. */
#include "support/cmocka_all.h"

#include "engine/step_pace.h"

#include "base/random.h"

#include <math.h>

/* A machine whose times are known. */
typedef struct machine {
    double fixed_ns, few_ns, token_ns, look_ns; /* the last for 1024 */
    double noise;                               /* part of a step, to both sides */
    double accidents;                           /* part of the steps that take up to 100 times as long */
    qn_random random;
} machine;

static double between(qn_random *r, double low, double high)
{
    return low + (high - low) * qn_random_unit(r);
}

static double true_ns(const machine *m, const qn_step_shape *shape)
{
    const double n = (double)shape->n_tokens, few = QN_PACE_FEW_TOKENS;
    return m->fixed_ns + m->few_ns * (fmin(n, few) - 1) + m->token_ns * fmax(n - few, 0) +
           m->look_ns * (double)shape->n_looks / 1024;
}

static qn_step_shape segment(size_t n_tokens, uint64_t position)
{
    qn_step_shape shape = {0, 0};
    qn_step_shape_add(&shape, n_tokens, position);
    return shape;
}

/* One to six streams, and in one step of eight a piece of a prompt. */
static qn_step_shape some_step(qn_random *r)
{
    qn_step_shape shape = {0, 0};
    const size_t n_streams = 1 + (size_t)between(r, 0, 6);
    for (size_t i = 0; i < n_streams; i++) qn_step_shape_add(&shape, 1, (uint64_t)between(r, 0, 4000));
    if (qn_random_unit(r) < 0.125)
        qn_step_shape_add(&shape, 16 + (size_t)between(r, 0, 500), (uint64_t)between(r, 0, 4000));
    return shape;
}

static void take_step(qn_step_pace *p, machine *m, const qn_step_shape *shape)
{
    double ns = true_ns(m, shape) * between(&m->random, 1 - m->noise, 1 + m->noise);
    if (qn_random_unit(&m->random) < m->accidents) ns *= between(&m->random, 2, 100);
    qn_step_pace_learn(p, shape, (uint64_t)ns);
}

static void take_steps(qn_step_pace *p, machine *m, size_t n_steps)
{
    for (size_t i = 0; i < n_steps; i++) {
        const qn_step_shape shape = some_step(&m->random);
        take_step(p, m, &shape);
    }
}

/* The largest error, as a part of the true time, of steps as they come. */
static double worst_error(const qn_step_pace *p, const machine *m)
{
    const qn_step_shape shapes[] = {segment(1, 0),    segment(1, 3000),   segment(6, 2000),
                                    segment(64, 500), segment(300, 1000), segment(512, 3000)};
    double worst = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const double t = true_ns(m, &shapes[i]);
        worst = fmax(worst, fabs(qn_step_pace_expect(p, &shapes[i]) - t) / t);
    }
    return worst;
}

static void assert_sane(const qn_step_pace *p)
{
    for (int i = 0; i < QN_PACE_TERMS; i++) {
        assert_true(p->coefficients[i] >= 0 && isfinite(p->coefficients[i]));
        assert_true(p->n_steps == 0 || p->covariance[i][i] > 0);
        for (int j = 0; j < QN_PACE_TERMS; j++) assert_true(isfinite(p->covariance[i][j]));
    }
}

static const machine machines[] = {
    {.fixed_ns = 0.2e6, .few_ns = 0.08e6, .token_ns = 0.01e6, .look_ns = 0.002e6}, /* a tiny model */
    {.fixed_ns = 12e6, .few_ns = 0.1e6, .token_ns = 0.7e6, .look_ns = 0.3e6},
    {.fixed_ns = 60e6, .few_ns = 0, .token_ns = 20e6, .look_ns = 0.5e6},
    {.fixed_ns = 0.9e9, .few_ns = 0, .token_ns = 0.1e9, .look_ns = 0.01e9}, /* one that is read from disk */
    {.fixed_ns = 5e6,
     .few_ns = 1e6,
     .token_ns = 0.5e6,
     .look_ns = 0}, /* with a state in place of attention */
};
enum { N_MACHINES = sizeof machines / sizeof machines[0] };

/* The i-th machine with so much noise, of which nothing is known yet. */
static machine begin(qn_step_pace *p, size_t i, double noise, uint64_t seed)
{
    machine m = machines[i];
    m.noise = noise, m.random.seed = seed + i;
    qn_step_pace_init(p);
    return m;
}

static void learns_a_machine_from_noisy_steps(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MACHINES; i++) {
        qn_step_pace p;
        machine m = begin(&p, i, 0.1, 1);
        take_steps(&p, &m, 50);
        assert_true(worst_error(&p, &m) < 0.3);
        take_steps(&p, &m, 450);
        for (int k = 0; k < 100; k++) {
            take_steps(&p, &m, 10);
            assert_true(worst_error(&p, &m) < 0.1);
        }
        assert_sane(&p);
    }
}

static void longer_steps_are_expected_alike_one_by_one_and_together(void **state)
{
    (void)state;
    qn_step_pace p;
    const qn_step_shape shapes[] = {{0, 0}, {4, 4000}, segment(512, 0)};
    qn_step_pace_init(&p);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        double ns[16];
        qn_step_pace_expect_each(&p, &shapes[i], 700, 15, ns);
        for (size_t n = 0; n <= 15; n++) {
            qn_step_shape longer = shapes[i];
            qn_step_shape_add(&longer, n, 700);
            assert_true(ns[n] == qn_step_pace_expect(&p, &longer));
        }
    }
}

static void says_something_sane_before_the_first_step(void **state)
{
    (void)state;
    qn_step_pace p;
    const qn_step_shape one = segment(1, 100), many = segment(512, 0), others = {4, 4000}, none = {0, 0};
    qn_step_pace_init(&p);
    assert_true(qn_step_pace_expect(&p, &one) > 1e5 && qn_step_pace_expect(&p, &one) < 1e9);
    assert_true(qn_step_pace_expect(&p, &many) > qn_step_pace_expect(&p, &one));
    assert_true(qn_step_pace_expect(&p, &none) == 0);
    assert_in_range(qn_step_pace_fit(&p, &others, 0, 1, 10000, 100000000), 8, 1000);
    qn_step_pace_learn(&p, &many, 50000000); /* one step, and steps like it are known */
    assert_true(fabs(qn_step_pace_expect(&p, &many) / 50e6 - 1) < 0.05);
    qn_step_pace_learn(&p, &one, 900000);
    assert_true(fabs(qn_step_pace_expect(&p, &one) / 0.9e6 - 1) < 0.05);
    assert_true(fabs(qn_step_pace_expect(&p, &many) / 50e6 - 1) < 0.1);
}

/* While one stream is alone, what a few more tokens cost is taken to be the same part of a step; the first
 * steps that have them tell. */
static void learns_what_a_few_tokens_cost(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MACHINES; i++) {
        qn_step_pace p;
        machine m = begin(&p, i, 0.1, 91);
        const qn_step_shape one = segment(1, 0), few = segment(QN_PACE_FEW_TOKENS, 0);
        take_step(&p, &m, &one);
        assert_true(qn_step_pace_expect(&p, &few) < 2 * qn_step_pace_expect(&p, &one));
        take_step(&p, &m, &few);
        for (int k = 0; k < 30; k++) take_step(&p, &m, &one);
        for (int k = 0; k < 4; k++) take_step(&p, &m, &few);
        assert_true(fabs(qn_step_pace_expect(&p, &few) / true_ns(&m, &few) - 1) < 0.15);
        assert_true(fabs(qn_step_pace_expect(&p, &one) / true_ns(&m, &one) - 1) < 0.15);
    }
}

static void accidents_move_little(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MACHINES; i++) {
        qn_step_pace p;
        machine m = begin(&p, i, 0.1, 11);
        take_steps(&p, &m, 500);
        const qn_step_shape one = segment(1, 1000), prompt = segment(256, 1000);
        const double before = qn_step_pace_expect(&p, &one);
        qn_step_pace_learn(&p, &one, (uint64_t)(true_ns(&m, &one) * 1000));
        assert_true(qn_step_pace_expect(&p, &one) < before * 1.1);
        qn_step_pace_learn(&p, &prompt, (uint64_t)(true_ns(&m, &prompt) * 1000));
        assert_true(qn_step_pace_expect(&p, &one) < before * 1.2);
        take_steps(&p, &m, 300);
        assert_true(worst_error(&p, &m) < 0.12);
        m.accidents = 0.1;
        for (int k = 0; k < 100; k++) {
            take_steps(&p, &m, 20);
            assert_true(worst_error(&p, &m) < 0.35);
        }
    }
}

static void a_first_step_that_was_an_accident_is_outgrown(void **state)
{
    (void)state;
    static const double times[] = {1000, 30, 0.001};
    for (size_t i = 0; i < N_MACHINES; i++)
        for (size_t k = 0; k < sizeof times / sizeof times[0]; k++) {
            machine m = machines[i];
            qn_step_pace p;
            m.noise = 0.1, m.random.seed = 21 + i;
            qn_step_pace_init(&p);
            const qn_step_shape first = some_step(&m.random);
            qn_step_pace_learn(&p, &first, 1 + (uint64_t)(true_ns(&m, &first) * times[k]));
            take_steps(&p, &m, 300);
            assert_true(worst_error(&p, &m) < 0.15);
        }
}

static void follows_a_machine_that_changes(void **state)
{
    (void)state;
    static const double factors[] = {3, 1 / 3.0, 1.4, 0.7, 20, 0.05};
    for (size_t i = 0; i < N_MACHINES; i++) {
        qn_step_pace p;
        machine m = begin(&p, i, 0.1, 31);
        take_steps(&p, &m, 500);
        for (size_t k = 0; k < sizeof factors / sizeof factors[0]; k++) {
            m.fixed_ns *= factors[k], m.few_ns *= factors[k], m.token_ns *= factors[k],
                m.look_ns *= factors[k];
            const qn_step_shape one = segment(1, 1000);
            take_steps(&p, &m, 100);
            assert_true(fabs(qn_step_pace_expect(&p, &one) / true_ns(&m, &one) - 1) < 0.2);
            take_steps(&p, &m, 200);
            assert_true(worst_error(&p, &m) < 0.2);
        }
    }
}

/* As where pages of the model come from disk while the first prompt is read. */
static void a_first_prompt_that_was_an_accident_is_outgrown_by_the_third(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MACHINES; i++) {
        qn_step_pace p;
        machine m = begin(&p, i, 0.1, 71);
        const qn_step_shape one = segment(1, 500), prompt = segment(300, 500);
        for (int k = 0; k < 20; k++) take_step(&p, &m, &one);
        qn_step_pace_learn(&p, &prompt, (uint64_t)(true_ns(&m, &prompt) * 50));
        for (int j = 0; j < 3; j++) {
            for (int k = 0; k < 20; k++) take_step(&p, &m, &one);
            take_step(&p, &m, &prompt);
            assert_true(fabs(qn_step_pace_expect(&p, &one) / true_ns(&m, &one) - 1) < 0.2);
        }
        assert_true(fabs(qn_step_pace_expect(&p, &prompt) / true_ns(&m, &prompt) - 1) < 0.15);
    }
}

/* Of a prompt only its first piece is known when answers begin, whose steps look back at little. */
static void noise_of_single_tokens_is_not_taken_for_looks(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MACHINES; i++) {
        qn_step_pace p;
        machine m = begin(&p, i, 0.1, 131);
        const qn_step_shape one = segment(1, 66), prompt = segment(389, 0);
        take_step(&p, &m, &prompt);
        for (int k = 0; k < 50; k++) {
            take_step(&p, &m, &one);
            assert_true(fabs(qn_step_pace_expect(&p, &prompt) / true_ns(&m, &prompt) - 1) < 0.2);
        }
    }
}

/* As where another program takes part of the processors: the products suffer, the reading of weights does
 * not. */
static void follows_prompts_that_alone_become_slower(void **state)
{
    (void)state;
    machine m = machines[1];
    qn_step_pace p;
    m.noise = 0.1, m.random.seed = 81;
    qn_step_pace_init(&p);
    take_steps(&p, &m, 500);
    m.token_ns *= 8;
    const qn_step_shape one = segment(1, 500), prompt = segment(300, 500);
    for (int k = 0; k < 15; k++) {
        for (int j = 0; j < 7; j++) take_step(&p, &m, &one);
        take_step(&p, &m, &prompt);
    }
    assert_true(fabs(qn_step_pace_expect(&p, &prompt) / true_ns(&m, &prompt) - 1) < 0.15);
    assert_true(fabs(qn_step_pace_expect(&p, &one) / true_ns(&m, &one) - 1) < 0.15);
}

/* A million steps of one stream alone tell nothing of prompts; what was known of them stays. */
static void prompts_are_not_forgotten_while_none_comes(void **state)
{
    (void)state;
    machine m = machines[1];
    qn_step_pace p;
    m.noise = 0.1, m.random.seed = 41;
    qn_step_pace_init(&p);
    take_steps(&p, &m, 500);
    for (uint64_t i = 0; i < 1000000; i++) {
        const qn_step_shape shape = segment(1, i % 8000);
        take_step(&p, &m, &shape);
        if (i % 1000 == 0) assert_sane(&p);
    }
    assert_true(worst_error(&p, &m) < 0.2);
    take_steps(&p, &m, 200);
    assert_true(worst_error(&p, &m) < 0.1);
    const qn_step_shape always = segment(300, 64);
    for (uint64_t i = 0; i < 1000000; i++) { /* the same again and again, without any noise */
        qn_step_pace_learn(&p, &always, (uint64_t)true_ns(&m, &always));
        if (i % 1000 == 0) assert_sane(&p);
    }
    assert_true(fabs(qn_step_pace_expect(&p, &always) / true_ns(&m, &always) - 1) < 0.01);
    take_steps(&p, &m, 200);
    assert_true(worst_error(&p, &m) < 0.1);
}

static void absurd_input_does_no_harm(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0,       1,       2,        7,          9,          1000,
                                       1 << 20, 1 << 24, 1u << 31, 1ull << 48, 1ull << 63, UINT64_MAX};
    enum { N_NUMBERS = sizeof numbers / sizeof numbers[0] };
    qn_step_pace p;
    machine m = machines[1];
    m.noise = 0.1, m.random.seed = 51;
    qn_step_pace_init(&p);
    for (uint64_t i = 0; i < 100000; i++) {
        const qn_step_shape shape = {(size_t)numbers[qn_random_u64(&m.random) % N_NUMBERS],
                                     numbers[qn_random_u64(&m.random) % N_NUMBERS]};
        qn_step_pace_learn(&p, &shape, numbers[qn_random_u64(&m.random) % N_NUMBERS]);
        assert_sane(&p);
        const double expected = qn_step_pace_expect(&p, &shape);
        assert_true(expected >= 0 && isfinite(expected));
    }
    take_steps(&p, &m, 2000);
    assert_true(worst_error(&p, &m) < 0.2);
    const qn_step_pace before = p;
    const qn_step_shape none = {0, 0}, one = {1, 1}, huge = {SIZE_MAX, 1}, looks = {1, UINT64_MAX};
    qn_step_pace_learn(&p, &none, 1000);
    qn_step_pace_learn(&p, &one, 0);
    qn_step_pace_learn(&p, &huge, 1000000);
    qn_step_pace_learn(&p, &looks, 1000000);
    assert_memory_equal(&p, &before, sizeof p);
}

static void adds_segments(void **state)
{
    (void)state;
    qn_step_shape shape = {0, 0};
    qn_step_shape_add(&shape, 0, 1000);
    assert_true(shape.n_tokens == 0 && shape.n_looks == 0);
    qn_step_shape_add(&shape, 1, 0); /* a first token looks at itself */
    assert_true(shape.n_tokens == 1 && shape.n_looks == 1);
    qn_step_shape_add(&shape, 4, 10);
    assert_true(shape.n_tokens == 5 && shape.n_looks == 1 + 11 + 12 + 13 + 14);
    qn_step_shape_add(&shape, 3, 0);
    assert_true(shape.n_tokens == 8 && shape.n_looks == 51 + 6);
    for (int i = 0; i < 2; i++) {
        qn_step_shape_add(&shape, SIZE_MAX, UINT64_MAX);
        assert_true(shape.n_tokens == SIZE_MAX && shape.n_looks == UINT64_MAX);
    }
}

/* Whether the answer is the most that fits, or the bound that it ran into. */
static void check_fit(const qn_step_pace *p, const qn_step_shape *others, size_t position, size_t least,
                      size_t most, uint64_t budget_ns)
{
    const size_t taken = qn_step_pace_fit(p, others, position, least, most, budget_ns);
    qn_step_shape with = *others, with_more = *others;
    qn_step_shape_add(&with, taken, position);
    qn_step_shape_add(&with_more, taken + 1, position);
    assert_true(taken <= most && taken >= (least < most ? least : most));
    if (taken > least) assert_true(qn_step_pace_expect(p, &with) <= (double)budget_ns);
    if (taken < most) assert_true(qn_step_pace_expect(p, &with_more) > (double)budget_ns);
}

static void what_fits_fits(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MACHINES; i++) {
        qn_step_pace p;
        machine m = begin(&p, i, 0.1, 61);
        for (int k = 0; k < 2000; k++) {
            take_steps(&p, &m, 1);
            const qn_step_shape others = k % 5 == 0 ? (qn_step_shape){0, 0} : some_step(&m.random);
            const size_t least = (size_t)between(&m.random, 0, 20);
            const size_t most = (size_t)between(&m.random, 0, 3000);
            check_fit(&p, &others, (size_t)between(&m.random, 0, 10000), least, most,
                      (uint64_t)(m.fixed_ns * between(&m.random, 0, 30)));
        }
        const qn_step_shape others = segment(2, 500);
        assert_int_equal(qn_step_pace_fit(&p, &others, 100, 3, 1000, 0), 3);
        assert_int_equal(qn_step_pace_fit(&p, &others, 100, 3, 2, 0), 2);
        assert_int_equal(qn_step_pace_fit(&p, &others, 100, 3, 0, UINT64_MAX), 0);
        assert_int_equal(qn_step_pace_fit(&p, &others, 100, 0, 1000, UINT64_MAX), 1000);
        (void)qn_step_pace_fit(&p, &others, SIZE_MAX, 0, SIZE_MAX, UINT64_MAX);
        (void)qn_step_pace_fit(&p, &others, 0, 0, SIZE_MAX, 1000000000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_a_machine_from_noisy_steps),
        cmocka_unit_test(longer_steps_are_expected_alike_one_by_one_and_together),
        cmocka_unit_test(says_something_sane_before_the_first_step),
        cmocka_unit_test(learns_what_a_few_tokens_cost),
        cmocka_unit_test(accidents_move_little),
        cmocka_unit_test(a_first_step_that_was_an_accident_is_outgrown),
        cmocka_unit_test(follows_a_machine_that_changes),
        cmocka_unit_test(noise_of_single_tokens_is_not_taken_for_looks),
        cmocka_unit_test(a_first_prompt_that_was_an_accident_is_outgrown_by_the_third),
        cmocka_unit_test(follows_prompts_that_alone_become_slower),
        cmocka_unit_test(prompts_are_not_forgotten_while_none_comes),
        cmocka_unit_test(absurd_input_does_no_harm),
        cmocka_unit_test(adds_segments),
        cmocka_unit_test(what_fits_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
