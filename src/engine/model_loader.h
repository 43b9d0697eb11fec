/* model_loader.h: brings models into memory and gives them back, one at a time, on a thread of its own beside
 * the steps of others. Weights are read and packed with the lowest claim to processors, so that who streams
 * does not notice; giving back waits for pages and packs that are still being written. */
#ifndef QN_ENGINE_MODEL_LOADER_H
#define QN_ENGINE_MODEL_LOADER_H

#include "engine/runner.h"

/* A model that can come and go; the file is the one that was there when it became known. */
typedef struct qn_model_source {
    char *name, *path;
    quern_model_params model; /* pack_directory: its own copy */
    quern_engine_model_params params;
    qn_pack_key key; /* of the file */
} qn_model_source;

/* What it runs with if its requests have n_ctx positions: where these are fewer than wanted, so are all that
 * they have together. full_n_ctx: what is wanted, after defaults. */
quern_engine_model_params qn_model_source_params(const qn_model_source *s, size_t n_ctx, size_t full_n_ctx);

typedef struct qn_model_job {
    size_t place;                          /* the caller's number */
    const qn_model_source *source;         /* to be loaded; NULL: model and runner are to be given back */
    size_t n_ctx, least_n_ctx, full_n_ctx; /* less is tried, down to the least, if memory is too short */
    quern_model *model;                    /* what came of it, or what goes */
    qn_runner *runner;
    quern_status status;
    quern_error error;
    uint64_t took_ns;
} qn_model_job;

typedef struct qn_model_loader qn_model_loader;

typedef struct qn_model_loader_params {
    qn_thread_pool *pool; /* that runners will use; it and the disk's directory must outlive the loader */
    qn_runner_disk disk;
    qn_runner_host host;
    void (*done)(void *user); /* on the loader's thread: there is something to take */
    void *user;
} qn_model_loader_params;

quern_status qn_model_loader_create(qn_model_loader **out, const qn_model_loader_params *params,
                                    quern_error *err);
/* Ends a load that has begun, and gives back what was not taken; NULL is fine. */
void qn_model_loader_destroy(qn_model_loader *l);

/* Begins; the job before must have been taken. */
void qn_model_loader_begin(qn_model_loader *l, const qn_model_job *job);
/* The job that is done, if it is. */
bool qn_model_loader_take(qn_model_loader *l, qn_model_job *job);

#endif
