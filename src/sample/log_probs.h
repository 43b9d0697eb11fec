/* log_probs.h: what a row of logits says of its tokens: log-softmax over the whole row.
 *
 *     log p(i) = logit(i) - greatest - log(1 + sum over all others of exp(logit - greatest))
 *
 * in double precision. The greatest itself is left out of the sum, so that log-probabilities near 0 have all
 * their digits. Terms are added in eight stripes by index and exp is written out here, without fused
 * operations: a row gives the same bits on every machine, but for the one logarithm.
 *
 * Logits are read as samplers read them: NaN is -inf, +inf the greatest finite number. */
#ifndef QN_SAMPLE_LOG_PROBS_H
#define QN_SAMPLE_LOG_PROBS_H

#include "quern.h"

typedef struct qn_log_softmax {
    float greatest; /* -inf: no token is possible */
    double log_sum; /* log(1 + sum) */
} qn_log_softmax;

/* Of a row of n logits, n > 0. */
void qn_log_softmax_init(qn_log_softmax *d, const float *logits, size_t n);
/* Of a token with this logit; never above 0, -inf if it is impossible. */
float qn_log_softmax_of(const qn_log_softmax *d, float logit);

/* The k most likely tokens, the lower one first among equals; fewer where others are impossible. Returns how
 * many were written to ids. */
size_t qn_most_likely(const float *logits, size_t n, quern_token *ids, size_t k);

#endif
