/* log_probs.c: see log_probs.h. exp: x = k ln 2 + r with ln 2 in two parts (Cody and Waite 1980), then the
 * series of exp(r) up to r^13 / 13!, whose rest is below half a unit in the last place for |r| <= ln(2) / 2.
 */
#include "sample/log_probs.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { N_STRIPES = 8 };

static const double LEAST_EXPONENT = -708.0, /* below, a term is as good as nothing beside 1 */
    LOG2_E = 0x1.71547652b82fep+0, LN2_HIGH = 0x1.62e42feep-1, LN2_LOW = 0x1.a39ef35793c76p-33,
                    TO_INTEGER =
                        0x1.8p52; /* added and taken away again: rounds; the low bits are the integer */

/* exp(x) for x <= 0; 0 for NaN. Without branches and calls, so that it can be computed for several at once.
 */
static inline double exp_of(double x)
{
    const double shifted = x * LOG2_E + TO_INTEGER, k = shifted - TO_INTEGER,
                 r = (x - k * LN2_HIGH) - k * LN2_LOW;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52; /* 2^k */
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return x > LEAST_EXPONENT ? p * scale : 0.0;
}

static inline float value_of(float logit)
{
    return logit < FLT_MAX ? logit : logit > 0 ? FLT_MAX : -INFINITY; /* NaN compares false */
}

static inline double term(float logit, double greatest)
{
    return exp_of((double)value_of(logit) - greatest);
}

/* Adds the terms of logits[begin .. end), each to the stripe of its index. */
static void add_terms(double stripes[N_STRIPES], const float *logits, size_t begin, size_t end,
                      double greatest)
{
    size_t i = begin;
    for (; i < end && i % N_STRIPES != 0; i++) stripes[i % N_STRIPES] += term(logits[i], greatest);
    for (; i + N_STRIPES <= end; i += N_STRIPES)
        for (size_t s = 0; s < N_STRIPES; s++) stripes[s] += term(logits[i + s], greatest);
    for (; i < end; i++) stripes[i % N_STRIPES] += term(logits[i], greatest);
}

void qn_log_softmax_init(qn_log_softmax *d, const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (value_of(logits[i]) > value_of(logits[best])) best = i;
    *d = (qn_log_softmax){.greatest = value_of(logits[best])};
    if (!(d->greatest > -INFINITY)) return;
    double s[N_STRIPES] = {0};
    add_terms(s, logits, 0, best, (double)d->greatest);
    add_terms(s, logits, best + 1, n, (double)d->greatest);
    d->log_sum = log1p(((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])));
}

float qn_log_softmax_of(const qn_log_softmax *d, float logit)
{
    const float value = value_of(logit);
    if (!(value > -INFINITY)) return -INFINITY;
    const double log_prob = ((double)value - (double)d->greatest) - d->log_sum;
    return log_prob > -(double)FLT_MAX ? (float)log_prob + 0.0f
                                       : -FLT_MAX; /* no -0; what is possible stays so */
}

size_t qn_most_likely(const float *logits, size_t n, quern_token *ids, size_t k)
{
    size_t found = 0;
    for (size_t i = 0; i < n && k > 0; i++) {
        const float value = value_of(logits[i]);
        if (!(value > (found == k ? value_of(logits[ids[k - 1]]) : -INFINITY))) continue;
        if (found < k) found++;
        size_t place = found - 1;
        for (; place > 0 && value > value_of(logits[ids[place - 1]]); place--) ids[place] = ids[place - 1];
        ids[place] = (quern_token)i;
    }
    return found;
}
