/* engine_models.c: what callers do with the models of an engine: add them, ask for them to come or go, see
 * what they are at. The engine's thread moves them (served_models.h). */
#include "engine/served_models.h"

#include "base/clock.h"

#include <string.h>

/* ---- adding ------------------------------------------------------------------------------------ */

/* Takes a model that was made, or gives it back. */
static quern_status add(qn_served_models *m, qn_served_model *item, quern_error *err)
{
    pthread_mutex_lock(m->mutex);
    const quern_status s = qn_served_models_add(m, item, err);
    pthread_mutex_unlock(m->mutex);
    if (s != QUERN_OK) qn_served_model_deinit(item);
    return s;
}

quern_status quern_engine_add_model(quern_engine *e, const char *name, const quern_model *model,
                                    const quern_engine_model_params *params, quern_error *err)
{
    qn_served_model item;
    const quern_status s = qn_served_model_open(&item, qn_engine_models(e), name, model, params, err);
    return s == QUERN_OK ? add(qn_engine_models(e), &item, err) : s;
}

quern_status quern_engine_register_model(quern_engine *e, const char *name, const char *path,
                                         const quern_model_params *model,
                                         const quern_engine_model_params *params, quern_error *err)
{
    qn_served_model item;
    const quern_status s =
        qn_served_model_register(&item, qn_engine_models(e), name, path, model, params, err);
    return s == QUERN_OK ? add(qn_engine_models(e), &item, err) : s;
}

const quern_model *quern_engine_model(quern_engine *e, const char *name)
{
    qn_served_models *m = qn_engine_models(e);
    pthread_mutex_lock(m->mutex);
    const size_t i = qn_served_models_find(m, name);
    pthread_mutex_unlock(m->mutex);
    return i != QN_SHELF_NONE ? m->items[i].described : NULL;
}

/* ---- coming and going; the mutex is held ------------------------------------------------------- */

static quern_status find_registered(const qn_served_models *m, const char *name, size_t *out,
                                    quern_error *err)
{
    *out = qn_served_models_find(m, name);
    if (*out == QN_SHELF_NONE) return qn_served_models_fail_unknown(name, err);
    if (!m->shelf.places[*out].is_fixed) return QUERN_OK;
    const char *known = m->items[*out].name;
    return qn_fail(err, QUERN_ERR_ARGUMENT, "model '%s': its caller opened it, so it stays in memory",
                   qn_quote(known, strlen(known)).text);
}

static quern_status bring(qn_served_models *m, size_t i, bool wait, quern_error *err)
{
    const qn_shelf_place *p = &m->shelf.places[i];
    const size_t n_failed = p->n_failed, n_loads = p->n_loads;
    const uint64_t now = qn_clock_ns();
    qn_served_models_use(m, i, now);
    qn_shelf_ask_load(&m->shelf, i, now);
    pthread_cond_signal(m->changed);
    while (wait && p->state != QN_SHELF_IN && p->n_loads == n_loads && p->n_failed == n_failed)
        pthread_cond_wait(&m->has_moved, m->mutex);
    if (!wait || p->n_failed == n_failed) return QUERN_OK;
    if (err != NULL) *err = m->items[i].error;
    return m->items[i].error.status;
}

static quern_status check_idle(const qn_served_models *m, size_t i, quern_error *err)
{
    const qn_shelf_place *p = &m->shelf.places[i];
    const qn_quoted name = qn_quote(m->items[i].name, strlen(m->items[i].name));
    if (p->state == QN_SHELF_OUT || p->state == QN_SHELF_GOING) return QUERN_OK;
    if (p->is_pinned) return qn_fail(err, QUERN_ERR_BUSY, "model '%s': it is pinned", name.text);
    if (qn_shelf_is_idle(p)) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_BUSY, "model '%s': %zu requests run on it, %zu wait, or it is being loaded",
                   name.text, p->n_held, p->n_queued + p->n_parked);
}

/* Somebody may want it again before it goes, or pin it: then it stays. */
static quern_status await_leaving(qn_served_models *m, size_t i, quern_error *err)
{
    const qn_shelf_place *p = &m->shelf.places[i];
    const size_t n_loads = p->n_loads;
    while (p->state == QN_SHELF_GOING ||
           (p->state == QN_SHELF_IN && p->unload_asked && p->n_loads == n_loads))
        pthread_cond_wait(&m->has_moved, m->mutex);
    if (p->state == QN_SHELF_OUT || p->state == QN_SHELF_COMING || p->n_loads != n_loads) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_BUSY, "model '%s': it %s before it went",
                   qn_quote(m->items[i].name, strlen(m->items[i].name)).text,
                   p->is_pinned ? "was pinned" : "was wanted again");
}

static quern_status send_away(qn_served_models *m, size_t i, bool wait, quern_error *err)
{
    qn_shelf_place *p = &m->shelf.places[i];
    const quern_status s = check_idle(m, i, err);
    if (s != QUERN_OK || p->state == QN_SHELF_OUT) return s;
    if (p->state == QN_SHELF_IN) qn_shelf_ask_unload(&m->shelf, i);
    pthread_cond_signal(m->changed);
    return wait ? await_leaving(m, i, err) : QUERN_OK;
}

/* ---- for callers ------------------------------------------------------------------------------- */

quern_status quern_engine_load_model(quern_engine *e, const char *name, bool wait, quern_error *err)
{
    qn_served_models *m = qn_engine_models(e);
    size_t i;
    pthread_mutex_lock(m->mutex);
    quern_status s = find_registered(m, name, &i, err);
    if (s == QUERN_OK) s = bring(m, i, wait, err);
    else if (s == QUERN_ERR_ARGUMENT) s = QUERN_OK; /* it is there */
    pthread_mutex_unlock(m->mutex);
    return s;
}

quern_status quern_engine_unload_model(quern_engine *e, const char *name, bool wait, quern_error *err)
{
    qn_served_models *m = qn_engine_models(e);
    size_t i;
    pthread_mutex_lock(m->mutex);
    quern_status s = find_registered(m, name, &i, err);
    if (s == QUERN_OK) s = send_away(m, i, wait, err);
    pthread_mutex_unlock(m->mutex);
    return s;
}

quern_status quern_engine_pin_model(quern_engine *e, const char *name, bool pinned, quern_error *err)
{
    qn_served_models *m = qn_engine_models(e);
    size_t i;
    pthread_mutex_lock(m->mutex);
    const quern_status s = find_registered(m, name, &i, err);
    if (s == QUERN_OK) {
        m->shelf.places[i].is_pinned = pinned;
        if (pinned) m->shelf.places[i].unload_asked = false;
        pthread_cond_broadcast(&m->has_moved);
        m->shelf.has_changed = true;
        pthread_cond_signal(m->changed);
    }
    pthread_mutex_unlock(m->mutex);
    return s;
}

bool quern_engine_get_model(quern_engine *e, size_t index, quern_engine_model_info *info)
{
    qn_served_models *m = qn_engine_models(e);
    pthread_mutex_lock(m->mutex);
    const bool is_there = index < m->n_items;
    if (is_there) qn_served_models_get_info(m, index, qn_clock_ns(), info);
    pthread_mutex_unlock(m->mutex);
    return is_there;
}

void quern_engine_get_memory(quern_engine *e, uint64_t *limit_bytes, uint64_t *used_bytes)
{
    qn_served_models *m = qn_engine_models(e);
    pthread_mutex_lock(m->mutex);
    *limit_bytes = m->shelf.params.limit_bytes;
    *used_bytes = qn_shelf_used_bytes(&m->shelf);
    pthread_mutex_unlock(m->mutex);
}
