/* draft_length.h: how many tokens to guess, from how many guesses came true and what a longer step costs
 * (the argument of Leviathan et al. 2023, arXiv:2211.17192, section 3.3, with measured costs). It decides
 * about time alone, and the same history gives the same decisions: there is no clock and no chance in it.
 *
 * Each step of a sequence: choose; make the guesses and check them; learn. Where choose said 0 there is
 * nothing to learn. */
#ifndef QN_ENGINE_DRAFT_LENGTH_H
#define QN_ENGINE_DRAFT_LENGTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QN_MAX_DRAFT = 15, QN_DRAFT_KINDS = 2 }; /* tokens; of a draft model, of the own text */

/* What is known of one kind of guess. The latest hundred or so count, fewer after a change. */
typedef struct qn_draft_record {
    double checked[QN_MAX_DRAFT]; /* i-th guesses, where those before came true; a first one counts as much as
                                     was promised of it (certainty) */
    double came_true[QN_MAX_DRAFT]; /* of them */
    double costs[QN_MAX_DRAFT + 1]; /* of a step with so many guesses at the last choice, in plain steps */
    double balance;                 /* plain steps that guessing saved (up to a bound), and may lose again */
    double run_promised;  /* certainties of the latest first guesses that all came true, or all did not; */
    double run_chance;    /* how likely such a run was */
    bool run_of_true;     /* which of the two */
    bool guessing;        /* in the last choice, for they pay: not as a trial */
    uint32_t n_failed;    /* latest first guesses in a row that did not come true */
    uint32_t since_tried; /* steps without a guess */
} qn_draft_record;

typedef struct qn_draft_length {
    qn_draft_record kinds[QN_DRAFT_KINDS];
} qn_draft_length;

void qn_draft_length_init(qn_draft_length *d);

/* After a step in which n_guessed guesses were checked, of which the first n_true came true. certainty: as it
 * was given to the choice. n_guessed may be less than was chosen; 0 changes nothing. */
void qn_draft_length_learn(qn_draft_length *d, int kind, double certainty, size_t n_guessed, size_t n_true);

/* The number of guesses, 0 to most, that gives the most tokens in the least time. costs(user, n, step_ns)
 * tells what steps with 0 to n guesses take, [n + 1]; guess_ns is what making one guess takes. certainty: how
 * likely the guesser holds the first guess to be, 0 to 1 (1 where it cannot tell); it multiplies what is
 * expected, and what comes true is measured against it, so that it need not be right but in proportion. */
typedef void qn_draft_costs_fn(void *user, size_t n_guesses, double *step_ns);
size_t qn_draft_length_choose(qn_draft_length *d, int kind, size_t most, double certainty, double guess_ns,
                              qn_draft_costs_fn *costs, void *user);

#endif
