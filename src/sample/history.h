/* history.h: the last tokens of a sequence, how often each occurs among them, and what repetition costs.
 *
 * Penalties: repetition (Keskar et al. 2019, arXiv:1909.05858, in the form that pushes negative logits down
 * as well), presence and frequency (as in OpenAI's API). */
#ifndef QN_SAMPLE_HISTORY_H
#define QN_SAMPLE_HISTORY_H

#include "base/error.h"

typedef struct qn_history {
    quern_token *ring; /* [capacity] */
    size_t capacity;   /* a power of two, or 0 */
    uint64_t n_total;  /* tokens since the beginning: the position of the next one */
    size_t n_counted;  /* how many of the last are counted */
    int32_t *counts;   /* [n_vocab] occurrences among them; NULL without penalties */
    size_t n_vocab;
} qn_history;

/* Holds the last n_kept tokens and counts the last n_counted (at most n_kept). */
quern_status qn_history_init(qn_history *h, size_t n_vocab, size_t n_kept, size_t n_counted,
                             quern_error *err);
void qn_history_deinit(qn_history *h);
void qn_history_clear(qn_history *h);
void qn_history_push(qn_history *h, quern_token token);
size_t qn_history_size(const qn_history *h);                             /* tokens that are held */
static inline quern_token qn_history_last(const qn_history *h, size_t i) /* i = 0: the last one */
{
    return h->ring[(h->n_total - 1 - i) & (h->capacity - 1)];
}

typedef struct qn_penalties {
    float repeat, presence, frequency;
} qn_penalties;

/* On the logits of the whole vocabulary: touches the tokens of the history only. */
void qn_penalties_apply_all(const qn_penalties *p, qn_history *h, float *logits);
/* On n candidates. */
void qn_penalties_apply(const qn_penalties *p, const qn_history *h, const quern_token *ids, float *logits,
                        size_t n);

/* logit - amount. What was possible stays possible: a finite logit does not become -inf. */
float qn_logit_minus(float logit, double amount);

#endif
