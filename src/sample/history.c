/* history.c: see history.h. */
#include "sample/history.h"

#include "base/alloc.h"

#include <float.h>
#include <math.h>
#include <string.h>

quern_status qn_history_init(qn_history *h, size_t n_vocab, size_t n_kept, size_t n_counted, quern_error *err)
{
    *h = (qn_history){.n_vocab = n_vocab, .n_counted = n_counted};
    if (n_kept == 0) return QUERN_OK;
    h->capacity = 1;
    while (h->capacity < n_kept) h->capacity *= 2;
    h->ring = qn_malloc(h->capacity * sizeof *h->ring);
    if (n_counted > 0) h->counts = qn_calloc(n_vocab, sizeof *h->counts);
    if (h->ring != NULL && (n_counted == 0 || h->counts != NULL)) return QUERN_OK;
    qn_history_deinit(h);
    return qn_fail(err, QUERN_ERR_NOMEM, "sampler: no memory for a history of %zu tokens", n_kept);
}

void qn_history_deinit(qn_history *h)
{
    qn_free(h->ring);
    qn_free(h->counts);
    *h = (qn_history){0};
}

void qn_history_clear(qn_history *h)
{
    h->n_total = 0;
    if (h->counts != NULL) memset(h->counts, 0, h->n_vocab * sizeof *h->counts);
}

size_t qn_history_size(const qn_history *h)
{
    return h->n_total < h->capacity ? (size_t)h->n_total : h->capacity;
}

void qn_history_push(qn_history *h, quern_token token)
{
    if (h->counts != NULL) {
        if (h->n_total >= h->n_counted) h->counts[qn_history_last(h, h->n_counted - 1)]--;
        h->counts[token]++;
    }
    if (h->capacity > 0) h->ring[h->n_total & (h->capacity - 1)] = token;
    h->n_total++;
}

static float clamp_logit(double value)
{
    return (float)fmin(fmax(value, -FLT_MAX), FLT_MAX);
}

float qn_logit_minus(float logit, double amount)
{
    if (!(logit > -INFINITY)) return logit; /* NaN and -inf stay */
    return clamp_logit((double)logit - amount);
}

static float penalized(const qn_penalties *p, float logit, int32_t count)
{
    if (!(logit > -INFINITY)) return logit;
    double value = (double)logit;
    value = value > 0.0 ? value / (double)p->repeat : value * (double)p->repeat;
    value -= (double)count * (double)p->frequency + (double)p->presence;
    return clamp_logit(value);
}

void qn_penalties_apply_all(const qn_penalties *p, qn_history *h, float *logits)
{
    const size_t n = h->n_total < h->n_counted ? (size_t)h->n_total : h->n_counted;
    for (size_t i = 0; i < n; i++) { /* a count below zero: already done */
        int32_t *count = &h->counts[qn_history_last(h, i)];
        if (*count < 0) continue;
        float *logit = &logits[qn_history_last(h, i)];
        *logit = penalized(p, *logit, *count);
        *count = -*count;
    }
    for (size_t i = 0; i < n; i++) {
        int32_t *count = &h->counts[qn_history_last(h, i)];
        if (*count < 0) *count = -*count;
    }
}

void qn_penalties_apply(const qn_penalties *p, const qn_history *h, const quern_token *ids, float *logits,
                        size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (h->counts[ids[i]] > 0) logits[i] = penalized(p, logits[i], h->counts[ids[i]]);
}
