/* draft_length.h: how many tokens to guess, from how many guesses came true and what a longer step costs
 * (the argument of Leviathan et al. 2023, arXiv:2211.17192, section 3.3, with measured costs). It decides
 * about time alone. */
#ifndef QN_ENGINE_DRAFT_LENGTH_H
#define QN_ENGINE_DRAFT_LENGTH_H

#include <stddef.h>
#include <stdint.h>

enum { QN_MAX_DRAFT = 15, QN_DRAFT_KINDS = 3 }; /* tokens; draft model, own text, texts before */

typedef struct qn_draft_length {
    double accepted[QN_DRAFT_KINDS][QN_MAX_DRAFT]; /* part of the i-th guesses that came true, if those before
                                                      did; follows the last some dozens */
    uint32_t since_tried[QN_DRAFT_KINDS];          /* steps without a guess: now and then one is tried */
} qn_draft_length;

void qn_draft_length_init(qn_draft_length *d);
/* n_guessed were checked, the first n_true of them came true. */
void qn_draft_length_learn(qn_draft_length *d, int kind, size_t n_guessed, size_t n_true);

/* The number of guesses, 0 to most, that gives the most tokens in the least time. step_ns(user, n) is what a
 * step with n tokens of this sequence takes; guess_ns, what making one guess takes; certainty multiplies what
 * is expected (0 to 1, from the guesser). */
typedef double qn_draft_cost_fn(void *user, size_t n_tokens);
size_t qn_draft_length_choose(qn_draft_length *d, int kind, size_t most, double certainty, double guess_ns,
                              qn_draft_cost_fn *step_ns, void *user);

#endif
