/* metrics.c: see metrics.h. */
#include "engine/metrics.h"

#include "base/clock.h"

#include <math.h>

/* ---- histograms -------------------------------------------------------------------------------- */

/* Three steps for a power of ten. */
static const double bounds[QUERN_HISTOGRAM_BUCKETS - 1] = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000};

double quern_histogram_bound(size_t bucket)
{
    return bucket < QUERN_HISTOGRAM_BUCKETS - 1 ? bounds[bucket] : INFINITY;
}

static void add(quern_histogram *h, double value)
{
    size_t i = 0;
    while (value > quern_histogram_bound(i)) i++;
    h->counts[i]++;
    h->n++;
    h->sum += value;
}

static double seconds(uint64_t ns)
{
    return (double)ns * 1e-9;
}

/* ---- counting ---------------------------------------------------------------------------------- */

void qn_metrics_init(qn_metrics *m)
{
    *m = (qn_metrics){.since_ns = qn_clock_ns()};
    pthread_mutex_init(&m->mutex, NULL);
}

void qn_metrics_deinit(qn_metrics *m)
{
    pthread_mutex_destroy(&m->mutex);
}

void qn_metrics_turn_to(qn_metrics *m, qn_purpose purpose)
{
    if (m == NULL) return;
    pthread_mutex_lock(&m->mutex);
    const uint64_t now = qn_clock_ns();
    m->spent_ns[m->purpose] += now - m->since_ns;
    m->since_ns = now;
    m->purpose = purpose;
    pthread_mutex_unlock(&m->mutex);
}

void qn_metrics_count_step(qn_metrics *m, size_t n_tokens)
{
    if (m == NULL) return;
    pthread_mutex_lock(&m->mutex);
    m->counts.n_steps++;
    m->counts.n_step_tokens += n_tokens;
    pthread_mutex_unlock(&m->mutex);
}

void qn_metrics_count_submitted(qn_metrics *m, quern_status status)
{
    if (m == NULL) return;
    pthread_mutex_lock(&m->mutex);
    if (status == QUERN_OK) m->counts.n_submitted++;
    else m->counts.n_refused++;
    pthread_mutex_unlock(&m->mutex);
}

void qn_metrics_count_begun(qn_metrics *m, uint64_t queued_ns)
{
    if (m == NULL) return;
    pthread_mutex_lock(&m->mutex);
    add(&m->counts.queued, seconds(queued_ns));
    pthread_mutex_unlock(&m->mutex);
}

void qn_waits_add(qn_waits *w, bool is_first, uint64_t ns)
{
    add(is_first ? &w->first_token : &w->gap, seconds(ns));
}

static void add_all(quern_histogram *h, quern_histogram *more)
{
    if (more->n == 0) return;
    for (size_t i = 0; i < QUERN_HISTOGRAM_BUCKETS; i++) h->counts[i] += more->counts[i];
    h->n += more->n;
    h->sum += more->sum;
    *more = (quern_histogram){0};
}

void qn_metrics_count_waits(qn_metrics *m, qn_waits *w)
{
    if (m == NULL) return;
    pthread_mutex_lock(&m->mutex);
    add_all(&m->counts.first_token, &w->first_token);
    add_all(&m->counts.gap, &w->gap);
    pthread_mutex_unlock(&m->mutex);
}

void qn_metrics_count_ended(qn_metrics *m, const quern_request_result *result, quern_status status,
                            uint64_t after_ns)
{
    if (m == NULL) return;
    pthread_mutex_lock(&m->mutex);
    quern_engine_metrics *c = &m->counts;
    if (status == QUERN_OK) c->n_finished[result->finish]++;
    else c->n_failed++;
    c->n_prompt_tokens += result->n_prompt;
    c->n_cached_tokens += result->n_cached;
    c->n_generated_tokens += result->n_generated;
    c->n_guessed += result->n_guessed;
    c->n_guessed_right += result->n_guessed_right;
    c->n_preempted += result->n_preempted;
    add(&c->duration, seconds(after_ns));
    if (result->n_generated > 1 && result->generate_ns > 0)
        add(&c->tokens_per_second, (double)(result->n_generated - 1) / seconds(result->generate_ns));
    pthread_mutex_unlock(&m->mutex);
}

void qn_metrics_get(qn_metrics *m, quern_engine_metrics *out)
{
    uint64_t spent[QN_N_PURPOSES];
    pthread_mutex_lock(&m->mutex);
    const uint64_t now = qn_clock_ns();
    *out = m->counts;
    for (size_t i = 0; i < QN_N_PURPOSES; i++) spent[i] = m->spent_ns[i];
    spent[m->purpose] += now - m->since_ns;
    pthread_mutex_unlock(&m->mutex);
    for (size_t i = 0; i < QN_N_PURPOSES; i++) out->wall_ns += spent[i];
    out->idle_ns = spent[QN_PURPOSE_IDLE];
    out->schedule_ns = spent[QN_PURPOSE_SCHEDULE];
    out->model_ns = spent[QN_PURPOSE_MODEL];
    out->draft_ns = spent[QN_PURPOSE_DRAFT];
    out->draw_ns = spent[QN_PURPOSE_DRAW];
    out->tell_ns = spent[QN_PURPOSE_TELL];
}
