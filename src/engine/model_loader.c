/* model_loader.c: see model_loader.h. */
#include "engine/model_loader.h"

#include "base/alloc.h"
#include "base/background.h"
#include "base/checked.h"
#include "base/clock.h"

#include <math.h>
#include <string.h>

typedef enum job_state { NO_JOB, JOB_BEGUN, JOB_DONE } job_state;

struct qn_model_loader {
    qn_model_loader_params params;
    pthread_t thread;
    bool has_thread;
    atomic_bool is_closing;

    pthread_mutex_t mutex; /* for what follows */
    pthread_cond_t changed;
    job_state state;
    qn_model_job job;
};

quern_engine_model_params qn_model_source_params(const qn_model_source *s, size_t n_ctx, size_t full_n_ctx)
{
    quern_engine_model_params p = s->params;
    p.n_ctx = (uint32_t)n_ctx;
    if (n_ctx < full_n_ctx && p.n_positions > 0) { /* 0 stays the default */
        const double share = (double)n_ctx / (double)full_n_ctx;
        p.n_positions = (uint64_t)fmax((double)p.n_positions * share, 1.0);
    }
    return p;
}

/* ---- on the loader's thread -------------------------------------------------------------------- */

typedef struct opening {
    qn_model_loader *loader;
    qn_model_job *job;
} opening;

static bool goes_on(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    const opening *o = user;
    const quern_model_params *p = &o->job->source->model;
    if (atomic_load(&o->loader->is_closing)) return false;
    return p->progress == NULL || p->progress(p->progress_user, done_bytes, total_bytes);
}

/* What is known of the model's vocabulary, and requests that were made with it, are of the file as it was. */
static quern_status check_file(const qn_model_job *job, quern_error *err)
{
    qn_pack_key key;
    qn_pack_key_make(&key, &job->model->gguf);
    if (memcmp(&key, &job->source->key, sizeof key) == 0) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_FORMAT,
                   "%s: the file has changed since the engine knows it (start it anew)",
                   qn_quote(job->source->path, strlen(job->source->path)).text);
}

static void open_model(opening *o)
{
    qn_model_job *job = o->job;
    quern_model_params p = job->source->model;
    p.progress = goes_on;
    p.progress_user = o;
    job->status = quern_model_open(&job->model, job->source->path, &p, &job->error);
    if (job->status == QUERN_OK) job->status = check_file(job, &job->error);
}

static void *open_in_background(void *user)
{
    qn_thread_to_background();
    open_model(user);
    return NULL;
}

static void create_runner(const qn_model_loader *l, qn_model_job *job)
{
    qn_runner_disk disk = l->params.disk;
    disk.is_optional = true; /* it could be used when the model was made known, or it never could */
    for (;;) {
        const quern_engine_model_params p = qn_model_source_params(job->source, job->n_ctx, job->full_n_ctx);
        job->status = qn_runner_create(&job->runner, job->source->name, job->model, &p, &disk, l->params.pool,
                                       &l->params.host, &job->error);
        if (job->status != QUERN_ERR_NOMEM || job->n_ctx <= job->least_n_ctx) return;
        job->n_ctx = qn_max_size(job->n_ctx / 2, job->least_n_ctx);
    }
}

static void give_back(qn_model_job *job)
{
    qn_runner_destroy(job->runner);
    quern_model_close(job->model);
    job->runner = NULL;
    job->model = NULL;
}

/* The thread that opens ends with it, for a thread's claim to processors can only sink: what the runner
 * creates, threads that read pages for whoever waits, shall have the usual one. */
static void load(qn_model_loader *l, qn_model_job *job)
{
    const uint64_t start = qn_clock_ns();
    pthread_t thread;
    opening o = {l, job};
    if (pthread_create(&thread, NULL, open_in_background, &o) == 0) pthread_join(thread, NULL);
    else open_model(&o);
    if (job->status == QUERN_OK) create_runner(l, job);
    if (job->status != QUERN_OK) give_back(job);
    job->took_ns = qn_clock_ns() - start;
}

static void *work(void *user)
{
    qn_model_loader *l = user;
    pthread_mutex_lock(&l->mutex);
    for (;;) {
        while (l->state != JOB_BEGUN && !atomic_load(&l->is_closing))
            pthread_cond_wait(&l->changed, &l->mutex);
        if (l->state != JOB_BEGUN) break;
        pthread_mutex_unlock(&l->mutex);
        if (l->job.source != NULL) load(l, &l->job);
        else give_back(&l->job);
        pthread_mutex_lock(&l->mutex);
        l->state = JOB_DONE;
        pthread_mutex_unlock(&l->mutex);
        l->params.done(l->params.user);
        pthread_mutex_lock(&l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

/* ---- for the engine ---------------------------------------------------------------------------- */

void qn_model_loader_begin(qn_model_loader *l, const qn_model_job *job)
{
    pthread_mutex_lock(&l->mutex);
    l->job = *job;
    l->state = JOB_BEGUN;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->mutex);
}

bool qn_model_loader_take(qn_model_loader *l, qn_model_job *job)
{
    pthread_mutex_lock(&l->mutex);
    const bool is_done = l->state == JOB_DONE;
    if (is_done) {
        *job = l->job;
        l->state = NO_JOB;
    }
    pthread_mutex_unlock(&l->mutex);
    return is_done;
}

quern_status qn_model_loader_create(qn_model_loader **out, const qn_model_loader_params *params,
                                    quern_error *err)
{
    qn_model_loader *l = *out = qn_calloc(1, sizeof *l);
    if (l == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "loader of models: no memory");
    l->params = *params;
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->changed, NULL);
    l->has_thread = pthread_create(&l->thread, NULL, work, l) == 0;
    if (l->has_thread) return QUERN_OK;
    qn_model_loader_destroy(l);
    *out = NULL;
    return qn_fail(err, QUERN_ERR_NOMEM, "loader of models: the system gives no thread");
}

void qn_model_loader_destroy(qn_model_loader *l)
{
    if (l == NULL) return;
    if (l->has_thread) {
        pthread_mutex_lock(&l->mutex);
        atomic_store(&l->is_closing, true);
        pthread_cond_signal(&l->changed);
        pthread_mutex_unlock(&l->mutex);
        pthread_join(l->thread, NULL);
    }
    if (l->state == JOB_DONE) give_back(&l->job);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->mutex);
    qn_free(l);
}
