/* runner.h: one model of an engine, and the requests that run on it.
 *
 * A running request has a slot, and as much of its tokens in the cache as has been computed. What is left to
 * compute goes into the next steps: whoever streams an answer has one token to go, or a few; whoever has a
 * prompt to read, or to read again after making room, has many. So there is one kind of work, and both
 * go through the same step (Orca: Yu et al. 2022; chunked prefills: Agrawal et al. 2023, arXiv:2308.16369).
 * By contract C4 no answer depends on what it shared a step with.
 *
 * Everything here is of the engine's thread. */
#ifndef QN_ENGINE_RUNNER_H
#define QN_ENGINE_RUNNER_H

#include "engine/metrics.h"
#include "engine/request.h"
#include "engine/step_pace.h"

/* Where pages are kept for the time after a restart. */
typedef struct qn_runner_disk {
    const char *directory; /* NULL: nowhere */
    uint64_t max_bytes;
    qn_write_budget *budget; /* of the engine */
    bool is_optional;        /* where it cannot be used the model comes without it, and its log says why */
} qn_runner_disk;

/* What a step did for a request: tokens drawn, or for prompts the cost of as many. */
typedef struct qn_service {
    quern_request *request;
    double cost;
} qn_service;

/* What the runner tells the engine. */
typedef struct qn_runner_host {
    void *user;
    /* The request has ended; its slot is free. It is told afterwards. */
    void (*ended)(void *user, quern_request *r);
    /* It had to make room, and shall come back when there is some. */
    void (*put_back)(void *user, quern_request *r);
    /* From the thread that reads and writes pages: there is something for qn_runner_collect. */
    void (*wake)(void *user);
    /* Their clients were served by a step. */
    void (*served)(void *user, const qn_service *services, size_t n);
    qn_metrics *metrics; /* where its time and its steps are counted; or NULL */
} qn_runner_host;

/* What a runner takes: planned by the same code that takes it (contract C6). */
typedef struct qn_runner_plan {
    size_t n_ctx; /* positions that a request may have, after defaults */
    uint64_t kv_bytes, scratch_bytes;
} qn_runner_plan;
/* The model may have been opened with header_only. QUERN_ERR_ARGUMENT: params are out of range. */
quern_status qn_runner_plan_memory(qn_runner_plan *plan, const quern_model *model,
                                   const quern_engine_model_params *params, int n_threads, quern_error *err);

/* Takes all memory that steps will need. pool: of the engine. */
quern_status qn_runner_create(qn_runner **out, const char *name, const quern_model *model,
                              const quern_engine_model_params *params, const qn_runner_disk *disk,
                              qn_thread_pool *pool, const qn_runner_host *host, quern_error *err);
void qn_runner_destroy(qn_runner *r); /* NULL is fine; no request may be running */

const char *qn_runner_name(const qn_runner *r);
size_t qn_runner_context(const qn_runner *r); /* positions that a request may have */
size_t qn_runner_active(const qn_runner *r);  /* requests that run */

/* Whether there is a slot for the request, and one for it to wait for its pages in. */
bool qn_runner_has_slot(const qn_runner *r, const quern_request *request);
/* Whether there are pages for what the request has to compute, if no other needs more. One alone always may.
 */
bool qn_runner_has_room(const qn_runner *r, const quern_request *request);
/* Has what the disk knows of its tokens read, if that is more than is known: then it waits, and comes back
 * from qn_runner_collect. False: there is no more. Once for each request. */
bool qn_runner_fetch(qn_runner *r, quern_request *request);
/* A request whose pages have been read; NULL: no more now. Also lets go of pages that were written. */
quern_request *qn_runner_collect(qn_runner *r);
/* Gives it a slot, and what is known of its tokens' beginning. */
void qn_runner_admit(qn_runner *r, quern_request *request);
/* Whether no slot is free, somebody with a priority that is really lower runs, and the request has room in
 * the place of the youngest such. */
bool qn_runner_may_yield(const qn_runner *r, const quern_request *request);
/* Then puts that one back. */
void qn_runner_yield(qn_runner *r);

/* Ends the running requests that are canceled or past their deadline. */
void qn_runner_sweep(qn_runner *r, uint64_t now_ns);

/* Whether answers are being drawn, which wait for each step, whose ever it is. */
bool qn_runner_streams(const qn_runner *r);
/* One step: all that stream, then pieces of prompts, and texts to embed, so that it ends within budget_ns if
 * anybody streams, here or elsewhere; but a text that is seen both ways is read at once, however long that
 * takes. Returns the nanoseconds that it took. */
uint64_t qn_runner_step(qn_runner *r, uint64_t budget_ns, bool others_stream);

#endif
