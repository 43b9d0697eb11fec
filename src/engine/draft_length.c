/* draft_length.c: see draft_length.h. With a[i] the part of i-th guesses that come true if those before did,
 * a step with n guesses is expected to give
 *
 *     1 + certainty * a[1] * (1 + a[2] * (1 + a[3] * ...))      tokens
 *
 * (Leviathan et al. have one a for all i) and takes step_ns(1 + n) + n * guess_ns. The n with the most tokens
 * in the time is taken, if it is faster than no guess by some margin to begin, and not slower by some margin
 * to go on, so that chance does not make it change sides at every step.
 *
 * What keeps it from losing time is a balance of what guessing has saved. Each step with guesses puts on it
 * the tokens it gave and takes off the plain steps it took the time of; each step without puts on a little,
 * and only while something is there is anything guessed. So whatever a text does, guessing cannot lose more
 * than the balance at the start, that little, and the step that took the balance below 0.
 *
 * Where guesses do not pay, one step is tried with them now and then: so seldom that what is expected to be
 * lost is that little, and more seldom when trials keep failing. A long memory tells gains of some percent
 * from chance but would take long to notice that a text becomes predictable, or no longer is; that is told by
 * runs of guesses that all come true, or all fail, against what is expected, and then the memory is cut short
 * (detection of a change by its likelihood: Page 1954). */
#include "engine/draft_length.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const double keep = 1.0 - 1.0 / 96;    /* of what is known, at each step with guesses */
static const double short_memory = 2;         /* guesses that are still known after a change */
static const double hardly_possible = 0.0002; /* chance of a run that shows a change */
static const double prior_part = 0.7;         /* of first guesses that come true, at the start, */
static const double prior_weight = 2;         /* as so many guesses would say */
static const double neighbour_weight = 1;     /* guesses that say that a depth is like the one before it */
static const double begin_at = 1.02;          /* times faster than without guesses */
static const double go_on_at = 0.985;
static const double first_balance = 1;  /* plain steps, as are the following */
static const double most_balance = 32;  /* so that one good text does not pay for many bad ones */
static const double allowance = 0.005;  /* for each step without guesses, */
static const double most_allowance = 1; /* up to this balance */
enum {
    MOST_WAIT = 128, /* steps without guesses before a trial */
    MOST_FAILED = 4, /* trials in a row that make the wait longer */
};

void qn_draft_length_init(qn_draft_length *d)
{
    memset(d, 0, sizeof *d);
    for (int kind = 0; kind < QN_DRAFT_KINDS; kind++) {
        qn_draft_record *r = &d->kinds[kind];
        r->checked[0] = prior_weight;
        r->came_true[0] = prior_weight * prior_part;
        r->balance = first_balance;
        r->since_tried = MOST_WAIT; /* the first trial need not wait */
    }
}

static void scale(qn_draft_record *r, double factor)
{
    for (size_t i = 0; i < QN_MAX_DRAFT; i++) {
        r->checked[i] *= factor;
        r->came_true[i] *= factor;
    }
}

/* Of what was promised of first guesses, the part that came true. */
static double first_part(const qn_draft_record *r)
{
    return r->checked[0] > 0 ? r->came_true[0] / r->checked[0] : 0;
}

/* A run of first guesses that all came true, or all did not, and that is hardly possible if what is known
 * were right, says that the text has changed: then what is known is hardly more than this run. */
static void watch_run(qn_draft_record *r, double certainty, bool came_true)
{
    const double chance = fmin(fmax(certainty * first_part(r), 0.01), 0.99);
    if (came_true != r->run_of_true) r->run_promised = 0;
    if (r->run_promised == 0) r->run_chance = 1;
    r->run_of_true = came_true;
    r->run_promised += certainty;
    r->run_chance *= came_true ? chance : 1 - chance;
    if (r->run_chance >= hardly_possible) return;
    if (r->checked[0] > short_memory) scale(r, short_memory / r->checked[0]);
    r->checked[0] += r->run_promised;
    if (came_true) r->came_true[0] += r->run_promised;
    r->run_promised = 0;
}

static void book(qn_draft_record *r, size_t n_guessed, size_t n_true)
{
    const double cost = r->costs[n_guessed];
    if (cost <= 0) return; /* was not asked about */
    r->balance = fmin(r->balance + 1 + (double)n_true - cost, most_balance);
}

static double unit(double certainty)
{
    return certainty > 0 ? fmin(certainty, 1) : 0; /* 0 also if it is no number */
}

void qn_draft_length_learn(qn_draft_length *d, int kind, double certainty, size_t n_guessed, size_t n_true)
{
    assert(kind >= 0 && kind < QN_DRAFT_KINDS && n_true <= n_guessed && n_guessed <= QN_MAX_DRAFT);
    if (n_guessed == 0) return;
    qn_draft_record *r = &d->kinds[kind];
    scale(r, keep);
    for (size_t i = 0; i < n_guessed && i <= n_true; i++) {
        r->checked[i] += i == 0 ? unit(certainty) : 1;
        r->came_true[i] += i < n_true;
    }
    watch_run(r, unit(certainty), n_true > 0);
    book(r, n_guessed, n_true);
    r->since_tried = 0;
    r->n_failed = n_true > 0 ? 0 : r->n_failed + 1;
}

/* parts[i]: of i-th guesses, if those before came true, for the first `most`. A depth that was seldom reached
 * is held to be like the one before. */
static void estimate(const qn_draft_record *r, double certainty, size_t most, double parts[QN_MAX_DRAFT])
{
    const double first = first_part(r);
    double before = fmin(first, 1);
    parts[0] = fmin(certainty * first, 1);
    for (size_t i = 1; i < most; i++)
        before = parts[i] =
            (r->came_true[i] + neighbour_weight * before) / (r->checked[i] + neighbour_weight);
}

typedef struct choice {
    size_t n;
    double gain; /* times faster than without */
    double loss; /* plain steps that are expected to be lost */
} choice;

/* The best n from 1 to most that the balance can bear; 0 if there is none. */
static choice find_best(const double parts[QN_MAX_DRAFT], const double *costs, size_t most, double balance)
{
    double expected = 1, all_true = 1;
    choice best = {0};
    for (size_t n = 1; n <= most; n++) {
        all_true *= parts[n - 1];
        expected += all_true;
        if (costs[n] <= 0 || expected <= best.gain * costs[n]) continue;
        if (balance <= 0 || (costs[n] - 1) * (1 - parts[0]) > balance) continue;
        best = (choice){.n = n, .gain = expected / costs[n], .loss = costs[n] - expected};
    }
    return best;
}

/* Whether guesses could pay if they came true as promised. */
static bool has_hope(double certainty, const double *costs, size_t most)
{
    double parts[QN_MAX_DRAFT];
    parts[0] = certainty;
    for (size_t i = 1; i < QN_MAX_DRAFT; i++) parts[i] = 1;
    return find_best(parts, costs, most, HUGE_VAL).gain >= begin_at;
}

static size_t pass(qn_draft_record *r)
{
    if (r->since_tried < UINT32_MAX) r->since_tried++;
    r->balance = fmax(r->balance, fmin(r->balance + allowance, most_allowance));
    return 0;
}

/* Trials may lose what each step without guesses is allowed, and less when they keep failing. One that came
 * true is followed by the next at once. */
static bool is_time_to_try(const qn_draft_record *r, double loss)
{
    const double n_failed = r->n_failed < MOST_FAILED ? r->n_failed : MOST_FAILED;
    return r->since_tried >= fmin(loss / allowance * n_failed, MOST_WAIT);
}

/* Leaves 0 for what is not known. */
static bool find_costs(qn_draft_record *r, size_t most, double guess_ns, qn_draft_costs_fn *costs, void *user)
{
    double step_ns[QN_MAX_DRAFT + 1];
    memset(r->costs, 0, sizeof r->costs);
    costs(user, most, step_ns);
    if (!(step_ns[0] > 0)) return false;
    const double per_ns = 1 / step_ns[0];
    for (size_t n = 1; n <= most; n++) {
        const double cost = (step_ns[n] + (double)n * guess_ns) * per_ns;
        if (cost > 0 && isfinite(cost)) r->costs[n] = cost;
    }
    return true;
}

size_t qn_draft_length_choose(qn_draft_length *d, int kind, size_t most, double certainty, double guess_ns,
                              qn_draft_costs_fn *costs, void *user)
{
    assert(kind >= 0 && kind < QN_DRAFT_KINDS);
    qn_draft_record *r = &d->kinds[kind];
    double parts[QN_MAX_DRAFT];
    most = most < QN_MAX_DRAFT ? most : QN_MAX_DRAFT;
    certainty = unit(certainty);
    if (most == 0 || certainty == 0 || !find_costs(r, most, guess_ns, costs, user)) return pass(r);
    estimate(r, certainty, most, parts);
    const choice best = find_best(parts, r->costs, most, r->balance);
    r->guessing = best.gain >= (r->guessing ? go_on_at : begin_at);
    if (r->guessing) return best.n;
    const bool tries = best.n > 0 && is_time_to_try(r, best.loss) && has_hope(certainty, r->costs, most);
    return tries ? best.n : pass(r);
}
