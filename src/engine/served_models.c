/* served_models.c: see served_models.h. */
#include "engine/served_models.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/memory.h"

#include <string.h>

/* ---- what a model is --------------------------------------------------------------------------- */

/* What the runner of a model takes if its requests may have n_ctx positions. kv_bytes UINT64_MAX: the sizes
 * are absurd. */
static qn_runner_plan plan_of(const qn_served_model *item, size_t n_ctx)
{
    const quern_engine_model_params p = qn_model_source_params(&item->source, n_ctx, item->n_ctx);
    qn_runner_plan plan;
    if (qn_runner_plan_memory(&plan, item->described, &p, item->n_threads, NULL) != QUERN_OK)
        return (qn_runner_plan){.kv_bytes = UINT64_MAX};
    return plan;
}

uint64_t qn_served_models_bytes(const qn_served_models *m, size_t model, size_t n_ctx)
{
    const qn_served_model *item = &m->items[model];
    if (item->header == NULL) return m->shelf.places[model].bytes;
    const qn_runner_plan plan = plan_of(item, n_ctx);
    if (plan.kv_bytes == UINT64_MAX) return UINT64_MAX;
    return item->header->weights.arena.used + plan.kv_bytes + plan.scratch_bytes;
}

static uint64_t bytes_at(void *user, size_t place, size_t n_ctx)
{
    return qn_served_models_bytes(user, place, n_ctx);
}

static quern_engine_model_params complete(const quern_engine_model_params *given)
{
    quern_engine_model_params p = quern_engine_model_params_default();
    if (given != NULL) memcpy(&p, given, qn_min_size(given->struct_bytes, sizeof p));
    return p;
}

void qn_served_model_deinit(qn_served_model *item)
{
    qn_runner_destroy(item->runner);
    quern_model_close(item->loaded);
    quern_model_close(item->header);
    qn_free((char *)(uintptr_t)item->source.model.pack_directory);
    qn_free(item->source.path);
    qn_free(item->own_name);
    *item = (qn_served_model){0};
}

quern_status qn_served_model_open(qn_served_model *item, const qn_served_models *m, const char *name,
                                  const quern_model *model, const quern_engine_model_params *params,
                                  quern_error *err)
{
    *item = (qn_served_model){.described = model};
    quern_status s = qn_runner_create(&item->runner, name, model, params, &m->disk, m->pool, &m->host, err);
    if (s != QUERN_OK) return s;
    item->name = qn_runner_name(item->runner);
    item->n_ctx = qn_runner_context(item->runner);
    item->source.params = complete(params);
    item->n_threads = qn_thread_pool_size(m->pool);
    return QUERN_OK;
}

static quern_status copy_source(qn_served_model *item, const char *name, const char *path,
                                const quern_model_params *model, quern_error *err)
{
    qn_model_source *source = &item->source;
    source->model = quern_model_params_default();
    if (model != NULL) memcpy(&source->model, model, qn_min_size(model->struct_bytes, sizeof source->model));
    const char *directory = source->model.pack_directory;
    source->model.vocab_only = source->model.header_only = false;
    source->model.pack_directory = directory != NULL ? qn_strdup(directory) : NULL;
    item->name = source->name = item->own_name = qn_strdup(name);
    source->path = qn_strdup(path);
    if (item->own_name != NULL && source->path != NULL &&
        (directory == NULL || source->model.pack_directory != NULL))
        return QUERN_OK;
    return qn_fail(err, QUERN_ERR_NOMEM, "model '%s': no memory", qn_quote(name, strlen(name)).text);
}

quern_status qn_served_model_register(qn_served_model *item, const qn_served_models *m, const char *name,
                                      const char *path, const quern_model_params *model,
                                      const quern_engine_model_params *params, quern_error *err)
{
    qn_runner_plan plan = {0};
    *item = (qn_served_model){.n_threads = qn_thread_pool_size(m->pool)};
    quern_status s = copy_source(item, name, path, model, err);
    quern_model_params header = item->source.model;
    header.header_only = true;
    item->source.params = complete(params);
    if (s == QUERN_OK) s = quern_model_open(&item->header, path, &header, err);
    if (s == QUERN_OK)
        s = qn_runner_plan_memory(&plan, item->header, &item->source.params, item->n_threads, err);
    if (s == QUERN_OK) {
        qn_pack_key_make(&item->source.key, &item->header->gguf);
        item->described = item->header;
        item->n_ctx = plan.n_ctx;
    } else {
        qn_served_model_deinit(item);
    }
    return s;
}

/* ---- all of them ------------------------------------------------------------------------------- */

quern_status qn_served_models_init(qn_served_models *m, const qn_served_params *p, quern_error *err)
{
    const qn_shelf_params shelf = {.limit_bytes =
                                       p->memory_limit > 0 ? p->memory_limit : qn_memory_available(),
                                   .max_swap_wait_ns = p->max_swap_wait_ns,
                                   .bytes_at = bytes_at,
                                   .user = m};
    const qn_model_loader_params loader = {
        .pool = p->pool, .disk = p->disk, .host = p->host, .done = p->loader_done, .user = p->hooks.user};
    m->hooks = p->hooks;
    m->host = p->host;
    m->disk = p->disk;
    m->pool = p->pool;
    m->mutex = p->mutex;
    m->changed = p->changed;
    pthread_cond_init(&m->has_moved, NULL);
    qn_shelf_init(&m->shelf, &shelf);
    const quern_status s = qn_model_loader_create(&m->loader, &loader, err);
    if (s != QUERN_OK) pthread_cond_destroy(&m->has_moved);
    return s;
}

void qn_served_models_deinit(qn_served_models *m)
{
    qn_model_loader_destroy(m->loader);
    if (m->loader != NULL) pthread_cond_destroy(&m->has_moved);
    m->loader = NULL;
    for (size_t i = 0; i < m->n_items; i++) qn_served_model_deinit(&m->items[i]);
    m->n_items = 0;
}

void qn_served_models_use(qn_served_models *m, size_t model, uint64_t now_ns)
{
    if (m->shelf.places[model].unload_asked) pthread_cond_broadcast(&m->has_moved);
    qn_shelf_use(&m->shelf, model, now_ns);
}

size_t qn_served_models_find(const qn_served_models *m, const char *name)
{
    for (size_t i = 0; i < m->n_items; i++)
        if (name == NULL || strcmp(m->items[i].name, name) == 0) return i;
    return QN_SHELF_NONE;
}

quern_status qn_served_models_fail_unknown(const char *name, quern_error *err)
{
    const char *asked = name != NULL ? name : "";
    return qn_fail(err, QUERN_ERR_NOT_FOUND, "model '%s': the engine has none of that name",
                   qn_quote(asked, strlen(asked)).text);
}

/* What the engine takes for a model that the caller opened: its weights are the caller's. */
static uint64_t taken_by(const qn_served_model *item)
{
    qn_runner_plan plan = {0};
    (void)qn_runner_plan_memory(&plan, item->described, &item->source.params, item->n_threads, NULL);
    return plan.kv_bytes + plan.scratch_bytes;
}

quern_status qn_served_models_add(qn_served_models *m, const qn_served_model *item, quern_error *err)
{
    const qn_quoted quoted = qn_quote(item->name, strlen(item->name));
    const char *name = quoted.text;
    const uint64_t used = qn_shelf_used_bytes(&m->shelf), limit = m->shelf.params.limit_bytes;
    if (qn_served_models_find(m, item->name) != QN_SHELF_NONE)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "model '%s': the engine has one of that name", name);
    if (m->n_items == QN_SHELF_PLACES)
        return qn_fail(err, QUERN_ERR_LIMIT, "model '%s': the engine has %d models already", name,
                       QN_SHELF_PLACES);
    const quern_engine_model_params *p = &item->source.params;
    if (item->header != NULL) {
        qn_shelf_add(&m->shelf, item->n_ctx, p->pinned, (uint64_t)p->idle_unload_ms * 1000000);
    } else {
        const uint64_t bytes = taken_by(item);
        if (bytes > limit || used > limit - bytes)
            return qn_fail(err, QUERN_ERR_NOMEM,
                           "model '%s': keys, values and scratch take %llu bytes; of the engine's %llu the "
                           "models it has take %llu (unload one, or raise memory_limit)",
                           name, (unsigned long long)bytes, (unsigned long long)limit,
                           (unsigned long long)used);
        qn_shelf_add_fixed(&m->shelf, item->n_ctx, bytes);
    }
    m->items[m->n_items] = *item;
    m->n_items++;
    return QUERN_OK;
}

quern_status qn_served_models_check(const qn_served_models *m, size_t model, uint64_t now_ns,
                                    quern_error *err)
{
    const qn_shelf_place *p = &m->shelf.places[model];
    if (p->state != QN_SHELF_OUT || p->load_asked || p->n_parked > 0 || now_ns >= p->retry_ns)
        return QUERN_OK;
    if (err != NULL) *err = m->items[model].error;
    return m->items[model].error.status;
}

/* ---- doing ------------------------------------------------------------------------------------- */

static void begin_load(qn_served_models *m, const qn_shelf_step *step)
{
    const qn_served_model *item = &m->items[step->place];
    qn_model_loader_begin(m->loader, &(qn_model_job){.place = step->place,
                                                     .source = &item->source,
                                                     .n_ctx = step->n_ctx,
                                                     .least_n_ctx = step->least_n_ctx,
                                                     .full_n_ctx = item->n_ctx});
}

static void begin_unload(qn_served_models *m, size_t model)
{
    qn_served_model *item = &m->items[model];
    const qn_model_job job = {.place = model, .model = item->loaded, .runner = item->runner};
    item->loaded = NULL;
    item->runner = NULL;
    qn_model_loader_begin(m->loader, &job);
}

static void refuse(qn_served_models *m, const qn_shelf_step *step)
{
    qn_served_model *item = &m->items[step->place];
    qn_fail(&item->error, QUERN_ERR_NOMEM,
            "model '%s': takes %llu bytes for the positions that are asked for, but only %llu of %llu can be "
            "had beside models that stay (ask for fewer, or raise memory_limit)",
            qn_quote(item->name, strlen(item->name)).text, (unsigned long long)step->needed_bytes,
            (unsigned long long)step->there_bytes, (unsigned long long)m->shelf.params.limit_bytes);
    m->shelf.places[step->place].n_failed++;
    qn_shelf_reset_parked(&m->shelf, step->place);
    m->hooks.fail(m->hooks.user, step->place, step->there_bytes);
}

static void perform(qn_served_models *m, const qn_shelf_step *step)
{
    switch (step->act) {
    case QN_SHELF_LOAD:
        begin_load(m, step);
        break;
    case QN_SHELF_UNLOAD:
        begin_unload(m, step->place);
        break;
    case QN_SHELF_DRAIN:
        m->hooks.park(m->hooks.user, step->place);
        break;
    case QN_SHELF_RETURN:
        m->hooks.queue(m->hooks.user, step->place);
        break;
    case QN_SHELF_REFUSE:
        refuse(m, step);
        break;
    default:
        break;
    }
}

static void finish_load(qn_served_models *m, const qn_model_job *job, uint64_t now_ns)
{
    qn_served_model *item = &m->items[job->place];
    if (job->status == QUERN_OK) {
        item->loaded = job->model;
        item->runner = job->runner;
        qn_shelf_loaded(&m->shelf, job->place, job->n_ctx, job->took_ns, now_ns);
        m->hooks.queue(m->hooks.user, job->place);
        return;
    }
    item->error = job->error;
    qn_fail_prefix(&item->error, "model '%s' cannot be loaded",
                   qn_quote(item->name, strlen(item->name)).text);
    if (qn_shelf_load_failed(&m->shelf, job->place, job->status == QUERN_ERR_NOMEM, job->took_ns, now_ns))
        return;
    qn_shelf_reset_parked(&m->shelf, job->place);
    m->hooks.fail(m->hooks.user, job->place, 0);
}

void qn_served_models_turn(qn_served_models *m, uint64_t now_ns)
{
    qn_model_job job;
    bool has_changed = qn_model_loader_take(m->loader, &job);
    if (has_changed && job.source != NULL) finish_load(m, &job, now_ns);
    else if (has_changed) qn_shelf_unloaded(&m->shelf, job.place);
    for (qn_shelf_step step; (step = qn_shelf_decide(&m->shelf, now_ns)).act != QN_SHELF_REST;) {
        perform(m, &step);
        has_changed = true;
    }
    if (has_changed) pthread_cond_broadcast(&m->has_moved);
}

/* ---- telling ----------------------------------------------------------------------------------- */

static quern_model_state state_of(const qn_shelf_place *p, uint64_t now_ns)
{
    switch (p->state) {
    case QN_SHELF_COMING:
        return QUERN_MODEL_LOADING;
    case QN_SHELF_IN:
        return QUERN_MODEL_LOADED;
    case QN_SHELF_GOING:
        return QUERN_MODEL_UNLOADING;
    default:
        return now_ns < p->retry_ns ? QUERN_MODEL_FAILED : QUERN_MODEL_UNLOADED;
    }
}

void qn_served_models_get_info(const qn_served_models *m, size_t model, uint64_t now_ns,
                               quern_engine_model_info *info)
{
    const qn_served_model *item = &m->items[model];
    const qn_shelf_place *p = &m->shelf.places[model];
    const bool is_there = p->state != QN_SHELF_OUT;
    const qn_runner_plan taken = is_there ? plan_of(item, p->n_ctx) : (qn_runner_plan){0};
    *info = (quern_engine_model_info){.name = item->name,
                                      .path = item->source.path,
                                      .state = state_of(p, now_ns),
                                      .is_pinned = p->is_pinned,
                                      .bytes = p->bytes,
                                      .weight_bytes = p->bytes - taken.kv_bytes - taken.scratch_bytes,
                                      .kv_bytes = taken.kv_bytes,
                                      .scratch_bytes = taken.scratch_bytes,
                                      .full_bytes = qn_served_models_bytes(m, model, item->n_ctx),
                                      .n_ctx = is_there ? (uint32_t)p->n_ctx : 0,
                                      .full_n_ctx = (uint32_t)item->n_ctx,
                                      .n_running = p->n_held,
                                      .n_waiting = p->n_queued + p->n_parked,
                                      .n_loads = p->n_loads,
                                      .n_failed = p->n_failed,
                                      .load_ns = p->load_ns,
                                      .last_error = item->error};
}
