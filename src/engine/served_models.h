/* served_models.h: the models of an engine: those that callers opened and keep, and those that are known by
 * name and file and come into memory when a request wants them (model_shelf.h decides, model_loader.h does).
 *
 * Of the second kind the engine has the file's header open all the time: vocabulary, templates and sizes.
 * Requests are made and checked with it, and go on with it whether the weights are in memory or not.
 *
 * Every function is under the engine's mutex unless it says otherwise. `items` are added to, never taken
 * away, so that the engine's thread may walk them without it; `runner` and `received_ns` are of that thread.
 */
#ifndef QN_ENGINE_SERVED_MODELS_H
#define QN_ENGINE_SERVED_MODELS_H

#include "engine/model_loader.h"
#include "engine/model_shelf.h"

typedef struct qn_served_model {
    const char *name;
    const quern_model *described; /* for tokens and texts: the header, or the caller's model */
    size_t n_ctx;                 /* positions that a request may have */
    bool is_full;                 /* whoever is next has no room in it yet; of one round of admitting */
    qn_runner *runner;            /* NULL: it is not in memory */
    double received_ns;           /* of steps, counted so that models that have work share the time alike */

    char *own_name;
    quern_model *header, *loaded; /* the engine's own, or NULL */
    qn_model_source source;       /* where there is a header */
    int n_threads;
    quern_error error; /* of the last load that failed */
} qn_served_model;

/* What has to be done with requests. */
typedef struct qn_served_hooks {
    void *user;
    /* Those that are queued for the model, and that it does not hold, are to be parked. */
    void (*park)(void *user, size_t model);
    /* Those that are parked for it are to be queued, if the shelf takes them. */
    void (*queue)(void *user, size_t model);
    /* Those that are parked for it and need more than there_bytes (qn_served_models_bytes) are to fail. */
    void (*fail)(void *user, size_t model, uint64_t there_bytes);
} qn_served_hooks;

typedef struct qn_served_models {
    qn_model_shelf shelf;
    qn_model_loader *loader;
    qn_served_hooks hooks;
    qn_runner_host host;
    qn_runner_disk disk;
    qn_thread_pool *pool;
    pthread_mutex_t *mutex;   /* the engine's */
    pthread_cond_t *changed;  /* wakes the engine's thread */
    pthread_cond_t has_moved; /* for others: a model came, went, could not come, or stays */
    atomic_size_t n_items;
    qn_served_model items[QN_SHELF_PLACES];
} qn_served_models;

typedef struct qn_served_params {
    qn_served_hooks hooks;
    qn_runner_host host;
    qn_runner_disk disk;
    qn_thread_pool *pool;
    pthread_mutex_t *mutex;
    pthread_cond_t *changed;
    uint64_t memory_limit, max_swap_wait_ns;
    void (*loader_done)(void *user); /* hooks.user; on the loader's thread, without the mutex */
} qn_served_params;

/* Not under the mutex, like the destruction: nobody else may use it then. */
quern_status qn_served_models_init(qn_served_models *m, const qn_served_params *params, quern_error *err);
void qn_served_models_deinit(qn_served_models *m); /* takes one that is zeroed */

/* Somebody asks for a model (qn_shelf_use); who waits for it to leave is told. */
void qn_served_models_use(qn_served_models *m, size_t model, uint64_t now_ns);

/* The model of that name (NULL: the first); QN_SHELF_NONE: there is none. */
size_t qn_served_models_find(const qn_served_models *m, const char *name);
quern_status qn_served_models_fail_unknown(const char *name, quern_error *err); /* says that there is none */
/* The models of an engine (engine.c). */
qn_served_models *qn_engine_models(quern_engine *e);

/* Makes what is added; not under the mutex. On failure there is nothing to deinit. */
quern_status qn_served_model_open(qn_served_model *item, const qn_served_models *m, const char *name,
                                  const quern_model *model, const quern_engine_model_params *params,
                                  quern_error *err);
quern_status qn_served_model_register(qn_served_model *item, const qn_served_models *m, const char *name,
                                      const char *path, const quern_model_params *model,
                                      const quern_engine_model_params *params, quern_error *err);
void qn_served_model_deinit(qn_served_model *item);
/* Adds it, which then belongs to m. QUERN_ERR_ARGUMENT: the name is taken; _LIMIT: there are too many;
 * _NOMEM: the memory that it has would be over the limit. */
quern_status qn_served_models_add(qn_served_models *m, const qn_served_model *item, quern_error *err);

/* Bytes that the engine takes for a model whose requests may have n_ctx positions. */
uint64_t qn_served_models_bytes(const qn_served_models *m, size_t model, size_t n_ctx);
/* Whether the model could not be loaded a moment ago, so that a request for it is refused. */
quern_status qn_served_models_check(const qn_served_models *m, size_t model, uint64_t now_ns,
                                    quern_error *err);

/* Has done what can be done now: models that came are in, those that are to go or to come are on their way.
 * Of the engine's thread, while no model runs. */
void qn_served_models_turn(qn_served_models *m, uint64_t now_ns);

void qn_served_models_get_info(const qn_served_models *m, size_t model, uint64_t now_ns,
                               quern_engine_model_info *info);

#endif
