/* metrics.h: what an engine did, counted (quern_engine_metrics): where the time of its thread went, what
 * became of requests, and how long these took.
 *
 * Time is kept like the book of a shop: at each moment the thread is at one purpose, and turns to the next.
 * So the parts add up to the time that has passed, whenever somebody looks, and nothing is measured twice.
 *
 * Any thread may call; each call takes a lock for a moment. Where metrics are NULL nothing is counted. */
#ifndef QN_ENGINE_METRICS_H
#define QN_ENGINE_METRICS_H

#include "quern.h"

#include <pthread.h>

typedef enum qn_purpose {
    QN_PURPOSE_IDLE,
    QN_PURPOSE_SCHEDULE,
    QN_PURPOSE_MODEL,
    QN_PURPOSE_DRAFT,
    QN_PURPOSE_DRAW,
    QN_PURPOSE_TELL,
    QN_N_PURPOSES
} qn_purpose;

typedef struct qn_metrics {
    pthread_mutex_t mutex;
    qn_purpose purpose; /* since a moment: */
    uint64_t since_ns;
    uint64_t spent_ns[QN_N_PURPOSES]; /* before */
    quern_engine_metrics counts;      /* without times */
} qn_metrics;

void qn_metrics_init(qn_metrics *m); /* idle, from now on */
void qn_metrics_deinit(qn_metrics *m);

/* Of the engine's thread: from now on it is at another purpose. */
void qn_metrics_turn_to(qn_metrics *m, qn_purpose purpose);
void qn_metrics_count_step(qn_metrics *m, size_t n_tokens);
/* A request was taken, or refused with an error. */
void qn_metrics_count_submitted(qn_metrics *m, quern_status status);
/* It begins, so long after it came. */
void qn_metrics_count_begun(qn_metrics *m, uint64_t queued_ns);
/* How long answers waited for the tokens that a step drew: for their first ones since they came, for others
 * since those before. Collected without a lock, then counted at once. */
typedef struct qn_waits {
    quern_histogram first_token, gap;
} qn_waits;
void qn_waits_add(qn_waits *w, bool is_first, uint64_t ns);
void qn_metrics_count_waits(qn_metrics *m, qn_waits *w); /* and empties them */
/* It has ended, with this result unless status says otherwise, so long after it came. */
void qn_metrics_count_ended(qn_metrics *m, const quern_request_result *result, quern_status status,
                            uint64_t after_ns);

/* All of it, as it is now, but for what only the engine knows (n_waiting, ...). */
void qn_metrics_get(qn_metrics *m, quern_engine_metrics *out);

#endif
