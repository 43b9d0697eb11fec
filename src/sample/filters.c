/* filters.c: see filters.h. */
#include "sample/filters.h"

#include <float.h>
#include <math.h>

void qn_filter_top_k(qn_candidates *c, size_t k)
{
    if (k >= c->n) return;
    qn_candidates_key_by_logit(c);
    qn_candidates_cut_count(c, k);
}

void qn_filter_top_p(qn_candidates *c, float p)
{
    const double total = qn_candidates_softmax(c);
    /* All tokens below the share (1 - p) / n hold less than 1 - p together, so the others hold p: in the long
     * tail of a vocabulary nearly all go here. A little less, because sums are rounded. */
    qn_candidates_drop_unlikely(c, 0.99 * (1.0 - (double)p) * total / (double)c->n);
    qn_candidates_key_by_logit(c);
    qn_candidates_cut_mass(c, (double)p * total, false);
}

double qn_min_p_threshold(float max_logit, float p)
{
    return (double)fminf(max_logit, FLT_MAX) + log((double)p);
}

void qn_filter_min_p(qn_candidates *c, float p)
{
    qn_candidates_keep_above(c, qn_min_p_threshold(qn_candidates_max(c), p));
}

void qn_filter_typical(qn_candidates *c, float p)
{
    const double total = qn_candidates_softmax(c), entropy = qn_candidates_entropy(c);
    const size_t top = qn_candidates_argmax(c);
    const double max = (double)c->logits[top], log_top = log((double)c->probs[top]);
    for (size_t i = 0; i < c->n; i++)
        qn_candidates_key_by_distance(c, i, fabs(max - log_top - (double)c->logits[i] - entropy));
    qn_candidates_cut_mass(c, (double)p * total, true);
}

void qn_filter_top_n_sigma(qn_candidates *c, float n)
{
    const double mean = qn_candidates_sum(c->logits, c->n) / (double)c->n;
    double squares = 0.0;
    for (size_t i = 0; i < c->n; i++)
        squares += ((double)c->logits[i] - mean) * ((double)c->logits[i] - mean);
    qn_candidates_keep_above(c, (double)qn_candidates_max(c) - (double)n * sqrt(squares / (double)c->n));
}

void qn_filter_xtc(qn_candidates *c, float threshold)
{
    if (c->n < 2) return;
    qn_candidates_softmax(c);
    size_t n_top = 0, least = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (c->probs[i] < threshold) continue;
        if (n_top == 0 || c->logits[i] <= c->logits[least]) least = i;
        n_top++;
    }
    if (n_top < 2) return;
    size_t m = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (c->probs[i] >= threshold && i != least) continue;
        c->ids[m] = c->ids[i];
        c->logits[m++] = c->logits[i];
    }
    c->n = m;
}

void qn_apply_temperature(qn_candidates *c, double temperature)
{
    if (temperature <= 0.0) {
        qn_candidates_set_one(c, c->ids[qn_candidates_argmax(c)]);
        return;
    }
    const double max = (double)qn_candidates_max(c);
    if (temperature >= 1e-30 && fabs(max / temperature) <= FLT_MAX) {
        const float divisor = (float)temperature;
        for (size_t i = 0; i < c->n; i++) {
            const float logit = c->logits[i] / divisor;
            c->logits[i] = logit >= -FLT_MAX ? logit : -FLT_MAX;
        }
        return;
    }
    for (size_t i = 0; i < c->n;
         i++) { /* the quotient leaves the range of float: only differences are kept */
        const double logit = ((double)c->logits[i] - max) / temperature;
        c->logits[i] = logit > -FLT_MAX ? (float)logit : -FLT_MAX;
    }
}

double qn_dynamic_temperature(qn_candidates *c, float temperature, float range, float exponent)
{
    const double low = fmax(0.0, (double)temperature - (double)range),
                 high = (double)temperature + (double)range;
    if (c->n < 2) return high;
    qn_candidates_softmax(c);
    const double certainty = fmin(1.0, qn_candidates_entropy(c) / log((double)c->n));
    return low + (high - low) * pow(certainty, (double)exponent);
}
