/* mirostat.c: see mirostat.h. */
#include "sample/mirostat.h"

#include "sample/filters.h"

#include <math.h>

/* The greatest logits, in descending order. Returns how many. */
static size_t greatest(qn_candidates *c, float *out, size_t k)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) { /* insertion, mostly refused by the first comparison */
        if (n == k && !(c->logits[i] > out[k - 1])) continue;
        size_t at = n < k ? n++ : k - 1;
        for (; at > 0 && out[at - 1] < c->logits[i]; at--) out[at] = out[at - 1];
        out[at] = c->logits[i];
    }
    return n;
}

/* Least squares of ln(p_i / p_(i+1)) against ln((i + 1) / i): equation 30 of the paper. */
static double estimate_exponent(const float *logits, size_t n)
{
    double products = 0.0, squares = 0.0;
    for (size_t i = 0; i + 1 < n; i++) {
        const double t = log((double)(i + 2) / (double)(i + 1)),
                     b = (double)logits[i] - (double)logits[i + 1];
        products += t * b;
        squares += t * t;
    }
    return products / squares;
}

void qn_mirostat_1(qn_candidates *c, double mu, size_t n_vocab)
{
    if (c->n < 2) return;
    float top[QN_MIROSTAT_ESTIMATE];
    const double s = estimate_exponent(top, greatest(c, top, QN_MIROSTAT_ESTIMATE)), epsilon = s - 1.0;
    /* epsilon / (1 - N^-epsilon) tends to 1 / ln N as epsilon tends to 0 */
    const double n = (double)n_vocab,
                 ratio = fabs(epsilon) < 1e-6 ? 1.0 / log(n) : epsilon / (1.0 - pow(n, -epsilon));
    const double k = pow(ratio * pow(2.0, mu), 1.0 / s);
    if (k >= (double)c->n) return;
    qn_filter_top_k(c, k >= 1.0 ? (size_t)k : 1);
}

void qn_mirostat_2(qn_candidates *c, double mu)
{
    qn_candidates_softmax(c);
    const size_t top = qn_candidates_argmax(c);
    /* -log2 p <= mu, where ln p = logit - max + ln p_max */
    const double margin = mu * 0.6931471805599453 + log((double)c->probs[top]);
    if (margin < 0.0) qn_candidates_set_one(c, c->ids[top]);
    else qn_candidates_keep_above(c, (double)c->logits[top] - margin);
}
