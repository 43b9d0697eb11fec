/* step_pace.c: see step_pace.h. Recursive least squares over four terms, as a filter of Kalman's (1960): the
 * coefficients are taken to drift a little with every step, so what is old counts less and less.
 *
 * - Forgetting in the usual way, by a factor on the whole covariance, would lose in minutes without a prompt
 *   what was known of prompts, and let the covariance grow without bound. A drift adds to it instead: after a
 *   million steps it is forty times the coefficient, the coefficient stands, and the next prompts set it.
 * - Errors are relative to the time expected. A long step is off by more nanoseconds than a short one, and
 *   would drown it.
 * - A step that takes much longer than expected counts up to a limit, as in Huber's estimator (1964): another
 *   program that held the processor for a second moves little. Several in a row are no accident, nor is one
 *   that takes much less, for nothing makes a step short by chance. Then the machine has changed, or what was
 *   learned was an accident, and all is doubted as at the begin.
 * - No coefficient falls below 0. One that would is set to 0, and the others move to where they are most
 *   likely given that. */
#include "engine/step_pace.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

enum { FIXED, PER_FEW, PER_TOKEN, PER_LOOK }; /* the terms */
enum {
    N = QN_PACE_TERMS,
    FIRST_STEPS = 8,   /* of few tokens, and of many: a surprise among them is enough */
    LONG_IS_CHANGE = 8 /* steps in a row; a third of accidents: once in 6,000 steps */
};

static const double drift = 0.04;         /* of a coefficient, for each step: some 25 steps count */
static const double largest_error = 0.5;  /* of what is expected, where that is well known */
static const double unknown_error = 100;  /* standard deviation of what is not known, in steps at hand */
static const double most_looks_cost = 3;  /* of 1024 looks, in tokens */
static const double shortest_ns = 1e3;    /* a step takes longer: keeps what is divided by it finite */
static const double longest_ns = 3.6e12;  /* an hour: more was no computing */
static const double most_tokens = 0x1p24; /* of a step; as for looks, more is a mistake */
static const double most_looks = 0x1p48;

/* What is expected of a step before it is learned from. */
typedef struct expectation {
    double ns, variance;
    double moved[N]; /* the covariance times the terms of the step: how far each coefficient moves with it */
} expectation;

void qn_step_shape_add(qn_step_shape *shape, size_t n_tokens, uint64_t position)
{
    uint64_t before, within, looks; /* within: 1 + 2 + ... + n_tokens */
    const uint64_t n = n_tokens, even = n % 2 == 0 ? n : n + 1, odd = n % 2 == 0 ? n + 1 : n;
    const bool fits = even >= n && qn_mul_u64(even / 2, odd, &within) && qn_mul_u64(n, position, &before) &&
                      qn_add_u64(before, within, &looks) && qn_add_u64(shape->n_looks, looks, &looks);
    shape->n_looks = fits ? looks : UINT64_MAX;
    if (!qn_add_size(shape->n_tokens, n_tokens, &shape->n_tokens)) shape->n_tokens = SIZE_MAX;
}

void qn_step_pace_init(qn_step_pace *p)
{
    *p = (qn_step_pace){
        .coefficients = {[FIXED] = 10e6, [PER_FEW] = 0.5e6, [PER_TOKEN] = 1e6, [PER_LOOK] = 0.5e6}};
}

/* The terms of a step, which the coefficients are multiplied with. */
static void terms_of(const qn_step_shape *shape, double x[N])
{
    const size_t n_few = qn_min_size(shape->n_tokens, QN_PACE_FEW_TOKENS);
    x[FIXED] = 1;
    x[PER_FEW] = n_few > 1 ? (double)(n_few - 1) : 0;
    x[PER_TOKEN] = (double)(shape->n_tokens - n_few);
    x[PER_LOOK] = (double)shape->n_looks / 1024;
}

static double product(const double a[N], const double b[N])
{
    double sum = 0;
    for (int i = 0; i < N; i++) sum += a[i] * b[i];
    return sum;
}

double qn_step_pace_expect(const qn_step_pace *p, const qn_step_shape *shape)
{
    double x[N];
    if (shape->n_tokens == 0) return 0;
    terms_of(shape, x);
    return product(p->coefficients, x);
}

void qn_step_pace_expect_each(const qn_step_pace *p, const qn_step_shape *shape, uint64_t position, size_t n,
                              double *ns)
{
    qn_step_shape longer = *shape;
    ns[0] = qn_step_pace_expect(p, shape);
    for (size_t i = 0; i < n; i++) {
        qn_step_shape_add(&longer, 1, position + i);
        ns[i + 1] = qn_step_pace_expect(p, &longer);
    }
}

/* Nothing is sure of the coefficients but their size. Equal parts let a step of many tokens tell of the time
 * for tokens, of which it has many, and one of few tokens of the fixed time. Of looks more is known: 1024 of
 * them take no more than a few tokens do, in models of any size. Without that, what is noise in steps of one
 * token, which look back at little, would be taken for the time of looks, and that of tokens would make up
 * for it. */
static void doubt_all(qn_step_pace *p, const double x[N], double ns)
{
    const double token_ns = ns / (x[PER_TOKEN] > 0 ? x[PER_TOKEN] : QN_PACE_FEW_TOKENS);
    memset(p->covariance, 0, sizeof p->covariance);
    for (int i = 0; i < N; i++) p->covariance[i][i] = pow(unknown_error * ns, 2);
    p->covariance[PER_LOOK][PER_LOOK] = pow(fmax(most_looks_cost * token_ns, p->coefficients[PER_LOOK]), 2);
    memset(p->n_long, 0, sizeof p->n_long);
}

/* What was learned holds a little less after every step. A coefficient that is 0 may rise, too. */
static void forget(qn_step_pace *p, double ns)
{
    static const double part[N] = {
        [FIXED] = 0.01, [PER_FEW] = 0.001, [PER_TOKEN] = 0.001, [PER_LOOK] = 0.001};
    for (int i = 0; i < N; i++) p->covariance[i][i] += pow(drift * fmax(p->coefficients[i], part[i] * ns), 2);
}

/* False: nothing is known yet, or rounding has eaten the covariance. */
static bool expect(const qn_step_pace *p, const double x[N], expectation *e)
{
    e->ns = fmax(product(p->coefficients, x), shortest_ns);
    for (int i = 0; i < N; i++) e->moved[i] = product(p->covariance[i], x);
    e->variance = product(e->moved, x);
    return p->n_steps > 0 && e->variance > 0 && isfinite(e->variance);
}

/* The error beyond which a step is a surprise: wide while little is known. */
static double limit_of(const expectation *e)
{
    return largest_error * sqrt(e->ns * e->ns + e->variance);
}

/* Steps of few tokens and of many are counted apart: either may be known while the other is not. */
static bool is_change(qn_step_pace *p, const expectation *e, bool is_many, double measured_ns)
{
    const double error_ns = measured_ns - e->ns, limit_ns = limit_of(e);
    p->n_long[is_many] = error_ns > limit_ns ? p->n_long[is_many] + 1 : 0;
    const bool is_early = p->n_seen[is_many]++ < FIRST_STEPS;
    return error_ns < -limit_ns || p->n_long[is_many] >= (is_early ? 1 : LONG_IS_CHANGE);
}

static void update(qn_step_pace *p, const expectation *e, double measured_ns)
{
    const double error_ns = fmin(measured_ns - e->ns, limit_of(e));
    const double scale = fmax(e->ns, e->ns + error_ns); /* errors are relative to it */
    const double all = scale * scale + e->variance;
    for (int i = 0; i < N; i++) p->coefficients[i] += error_ns / all * e->moved[i];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) p->covariance[i][j] -= e->moved[i] * e->moved[j] / all;
}

static bool is_sound(const qn_step_pace *p)
{
    bool sound = true;
    for (int i = 0; i < N; i++) {
        sound = sound && isfinite(p->coefficients[i]) && p->covariance[i][i] > 0;
        for (int j = 0; j < N; j++) sound = sound && isfinite(p->covariance[i][j]);
    }
    return sound;
}

/* Sets those below 0 to 0, one after the other, and moves the rest along by their correlation. */
static void keep_positive(qn_step_pace *p)
{
    double *c = p->coefficients;
    for (int pass = 0; pass < N; pass++) {
        int least = 0;
        for (int i = 1; i < N; i++)
            if (c[i] < c[least]) least = i;
        if (c[least] >= 0) break;
        const double step = c[least] / p->covariance[least][least];
        for (int i = 0; i < N; i++) c[i] -= step * p->covariance[i][least];
        c[least] = 0;
    }
    for (int i = 0; i < N; i++) c[i] = fmin(fmax(c[i], 0), longest_ns);
}

/* The first step tells how much smaller or faster, or larger or slower, everything is. */
static void scale_guess(qn_step_pace *p, double factor)
{
    for (int i = 0; i < N; i++) p->coefficients[i] *= factor;
}

void qn_step_pace_learn(qn_step_pace *p, const qn_step_shape *shape, uint64_t ns)
{
    double x[N];
    expectation e;
    if (ns == 0 || shape->n_tokens == 0) return;
    if ((double)shape->n_tokens > most_tokens || (double)shape->n_looks > most_looks) return;
    terms_of(shape, x);
    const double measured_ns = fmin((double)ns, longest_ns);
    if (p->n_steps == 0) scale_guess(p, measured_ns / qn_step_pace_expect(p, shape));
    const double few = p->coefficients[PER_FEW] / fmax(p->coefficients[FIXED], shortest_ns);
    const bool is_doubted = !expect(p, x, &e) || is_change(p, &e, x[PER_TOKEN] > 0, measured_ns);
    if (is_doubted) {
        doubt_all(p, x, fmax(e.ns, measured_ns));
        (void)expect(p, x, &e);
    }
    update(p, &e, measured_ns);
    /* a step of one token does not tell what a few more cost: that keeps its part of the fixed time */
    if (is_doubted && x[PER_FEW] == 0) p->coefficients[PER_FEW] = few * fmax(p->coefficients[FIXED], 0);
    forget(p, e.ns);
    keep_positive(p);
    p->n_steps++;
    if (!is_sound(p)) qn_step_pace_init(p);
}

size_t qn_step_pace_fit(const qn_step_pace *p, const qn_step_shape *others, size_t position, size_t least,
                        size_t most, uint64_t budget_ns)
{
    size_t low = qn_min_size(least, most), high = most; /* the answer lies in [low, high] */
    while (low < high) {
        const size_t middle = high - (high - low) / 2;
        qn_step_shape shape = *others;
        qn_step_shape_add(&shape, middle, position);
        if (qn_step_pace_expect(p, &shape) <= (double)budget_ns) low = middle;
        else high = middle - 1;
    }
    return low;
}
