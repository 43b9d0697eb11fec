/* packs.c: see packs.h. A model with a pack is ready when the pack is mapped; then a thread moves it into
 * huge pages, which are read faster, while the first tokens are computed already (base/image.h). A model
 * without one is loaded as ever, and a thread writes the pack meanwhile. Both leave the model as it is:
 * the same bytes at the same addresses. */
#include "engine/packs.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/topology.h"
#include "engine/model.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const uint64_t PATIENCE_NS = 5000000000u; /* for a pack to be finished when its model is closed */
static const uint64_t CHANCE_NS = 1000000000u;   /* for the first piece, which tells how fast the disk is */
enum { MOVE_BYTES = 16 << 20 };                  /* at a time into huge pages: so much is there twice */
static const uint64_t MEMORY_SPARE = (uint64_t)512 << 20; /* left by a move into huge pages */

/* ---- finding --------------------------------------------------------------------------------------- */

static void find(quern_model *m)
{
    qn_model_packs *p = &m->packs;
    quern_error err = {0};
    qn_pack_key_make(&p->key, &m->gguf);
    quern_status s = qn_pack_open(&p->pack, &p->cache, &p->key, &err);
    if (s == QUERN_OK) s = qn_pack_header_match(&p->pack.header, &m->weights, &p->key, &err);
    p->state = s == QUERN_OK ? QUERN_PACK_IS_THERE : QUERN_PACK_IS_MISSING;
    if (s == QUERN_OK) return;
    qn_pack_close(&p->pack);
    if (s != QUERN_ERR_NOT_FOUND)
        qn_log_write(&m->log, s == QUERN_ERR_ARGUMENT ? QUERN_LOG_WARN : QUERN_LOG_INFO, "%s", err.message);
}

quern_status qn_model_find_pack(quern_model *m, const quern_model_params *params, quern_error *err)
{
    qn_model_packs *p = &m->packs;
    const quern_status s = qn_pack_cache_init(&p->cache, params, &m->log, err);
    if (s != QUERN_OK) return s;
    p->state = QUERN_PACK_IS_OFF;
    if (p->cache.mode == QUERN_PACK_OFF || m->gguf.n_files == 0) return QUERN_OK;
    p->state = QUERN_PACK_IS_SMALL;
    if (m->weights.arena.used == 0 || m->weights.arena.used < p->cache.min_bytes) return QUERN_OK;
    char *real = realpath(m->path, NULL); /* from malloc itself */
    p->source = real != NULL ? qn_strdup(real) : NULL;
    free(real);
    if (p->source != NULL && strlen(p->source) <= QN_PACK_MAX_PATH) find(m);
    return QUERN_OK;
}

void quern_model_get_pack(const quern_model *m, quern_pack_info *info)
{
    const qn_model_packs *p = &m->packs;
    *info = (quern_pack_info){.state = p->state, .directory = p->cache.directory};
    if (p->state != QUERN_PACK_IS_OFF && p->state != QUERN_PACK_IS_SMALL)
        info->size_bytes = qn_pack_data_offset(&m->weights, p->source) + m->weights.arena.used;
}

/* ---- a thread beside the model --------------------------------------------------------------------- */

static void start(qn_model_packs *p, void *(*run)(void *), quern_model *m)
{
    sigset_t all, before;
    sigfillset(&all); /* signals are for the program's own threads */
    atomic_store(&p->stop, false);
    p->started_ns = qn_clock_ns();
    pthread_sigmask(SIG_SETMASK, &all, &before);
    p->working = pthread_create(&p->thread, NULL, run, m) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Whether what is left will take longer than one wants to wait, going by what was done so far. */
static bool takes_too_long(const qn_model_packs *p, size_t n_bytes)
{
    const size_t done = atomic_load(&p->done_bytes);
    const uint64_t elapsed = qn_clock_ns() - p->started_ns;
    if (done == 0) return elapsed > CHANCE_NS;
    return (double)elapsed * (double)(n_bytes - done) > (double)PATIENCE_NS * (double)done;
}

static void finish(quern_model *m)
{
    qn_model_packs *p = &m->packs;
    if (!p->working) return;
    while (p->writing && !atomic_load(&p->finished) && !takes_too_long(p, m->weights.arena.used))
        nanosleep(&(struct timespec){0, 20 * 1000000}, NULL);
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
    p->working = false;
    if (!p->writing) return;
    if (p->status == QUERN_ERR_CANCELED)
        qn_log_write(&m->log, QUERN_LOG_INFO, "pack: %zu of %zu bytes written; the next load goes on",
                     atomic_load(&p->done_bytes), m->weights.arena.used);
    else if (p->status != QUERN_OK)
        qn_log_write(&m->log, QUERN_LOG_INFO, "no pack was written: %s", p->err.message);
    else
        qn_log_write(&m->log, QUERN_LOG_INFO, "pack of %zu bytes written in %.1f s", m->weights.arena.used,
                     (double)(qn_clock_ns() - p->started_ns) * 1e-9);
}

void qn_model_close_pack(quern_model *m)
{
    qn_model_packs *p = &m->packs;
    finish(m);
    qn_image_unmap(&p->image);
    qn_pack_close(&p->pack);
    qn_pack_cache_deinit(&p->cache);
    qn_free(p->source);
    p->source = NULL;
}

/* ---- using ----------------------------------------------------------------------------------------- */

static void *move(void *user)
{
    quern_model *m = user;
    qn_model_packs *p = &m->packs;
    const uint64_t offset = p->pack.header.data_offset;
    qn_topology topology;
    qn_topology_read(&topology, "", NULL);
    qn_topology_settle(&topology, qn_topology_threads(&topology));
    for (size_t done = 0; done < p->image.n_bytes && !atomic_load(&p->stop);) {
        const size_t n = qn_min_size(p->image.n_bytes - done, MOVE_BYTES);
        if (qn_memory_available() < MEMORY_SPARE + n) break; /* the mapping costs nothing: it stays */
        if (!qn_image_move(&p->image, p->pack.fd, offset, done, n)) break;
        done += n;
        atomic_store(&p->done_bytes, done);
    }
    return NULL;
}

quern_status qn_model_use_pack(quern_model *m, quern_error *err)
{
    qn_model_packs *p = &m->packs;
    const qn_pack_header *h = &p->pack.header;
    if (p->state != QUERN_PACK_IS_THERE) return QUERN_OK;
    quern_status s = qn_image_map(&p->image, p->pack.fd, h->data_offset, (size_t)h->data_bytes, err);
    if (s != QUERN_OK) {
        qn_log_write(&m->log, QUERN_LOG_INFO, "the pack is not used: it cannot be mapped");
        return QUERN_OK;
    }
    s = qn_weights_attach(&m->weights, &m->hparams, &m->gguf, p->image.data, err);
    if (s != QUERN_OK) return s;
    p->state = QUERN_PACK_IS_USED;
    qn_pack_touch(&p->pack);
    if (p->cache.mode == QUERN_PACK_COPIED) move(m);
    else if (p->cache.mode == QUERN_PACK_AUTO && qn_huge_pages_given()) start(p, move, m);
    return QUERN_OK;
}

/* ---- writing --------------------------------------------------------------------------------------- */

static void *write_pack(void *user)
{
    quern_model *m = user;
    qn_model_packs *p = &m->packs;
    const qn_pack_write w = {&m->weights, &m->gguf, &p->key, p->source, &p->stop, &p->done_bytes};
    p->status = qn_pack_store(&p->cache, &w, &p->err);
    atomic_store(&p->finished, true);
    return NULL;
}

void qn_model_write_pack(quern_model *m)
{
    qn_model_packs *p = &m->packs;
    if (p->state != QUERN_PACK_IS_MISSING) return;
    p->writing = true;
    p->state = QUERN_PACK_IS_WRITTEN;
    start(p, write_pack, m);
}

/* ---- checking -------------------------------------------------------------------------------------- */

static quern_status compare(const qn_pack *pack, const qn_image *image, quern_progress_fn *progress,
                            void *user, quern_error *err)
{
    for (size_t i = 0, done = 0; done < image->n_bytes; i++) {
        const size_t n = qn_min_size(image->n_bytes - done, QN_PACK_PIECE);
        if (!qn_pack_piece_is_whole(&pack->header, i, image->data + done, n))
            return qn_fail(err, QUERN_ERR_CHECKSUM,
                           "pack cache: piece %zu of %zu does not match its checksum; the pack was removed "
                           "(the next load writes another)",
                           i + 1, pack->header.n_pieces);
        done += n;
        if (progress != NULL && !progress(user, done, image->n_bytes))
            return qn_fail(err, QUERN_ERR_CANCELED, "pack cache: checking was stopped");
    }
    return QUERN_OK;
}

quern_status quern_model_verify_pack(const quern_model *m, quern_progress_fn *progress, void *user,
                                     quern_error *err)
{
    const qn_model_packs *p = &m->packs;
    qn_pack pack;
    qn_image image;
    if (p->state == QUERN_PACK_IS_OFF || p->state == QUERN_PACK_IS_SMALL)
        return qn_fail(err, QUERN_ERR_NOT_FOUND, "pack cache: none is kept for this model");
    quern_status s = qn_pack_open(&pack, &p->cache, &p->key, err);
    if (s != QUERN_OK) return s;
    s = qn_pack_header_match(&pack.header, &m->weights, &p->key, err);
    if (s == QUERN_OK)
        s = qn_image_map(&image, pack.fd, pack.header.data_offset, (size_t)pack.header.data_bytes, err);
    if (s == QUERN_OK) {
        s = compare(&pack, &image, progress, user, err);
        qn_image_unmap(&image);
    }
    if (s == QUERN_ERR_CHECKSUM) qn_pack_discard(&p->cache, &p->key);
    qn_pack_close(&pack);
    return s;
}
