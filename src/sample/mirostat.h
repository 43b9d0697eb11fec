/* mirostat.h: keeps the surprise of the drawn tokens near a target (Basu et al. 2021, arXiv:2007.14966).
 *
 * mu is the greatest surprise allowed, in bits; after each token it moves by eta times what the token's
 * surprise was above or below tau. Surprise is -log2 of the probability among the candidates that were left.
 */
#ifndef QN_SAMPLE_MIROSTAT_H
#define QN_SAMPLE_MIROSTAT_H

#include "sample/candidates.h"

/* The most probable tokens, from which version 1 estimates the distribution. */
enum { QN_MIROSTAT_ESTIMATE = 100 };

/* Version 1: the k most probable, k from an estimate of Zipf's exponent. */
void qn_mirostat_1(qn_candidates *c, double mu, size_t n_vocab);
/* Version 2: surprise at most mu; the most probable stays. */
void qn_mirostat_2(qn_candidates *c, double mu);

#endif
