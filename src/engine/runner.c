/* runner.c: the life of a runner (engine/runner.h), and the memory that it takes. */
#include "engine/runner_parts.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "engine/page_key.h"

#include <string.h>

enum {
    LEAST_EQUAL = 3 /* tokens of a text that must have been there before, for what followed to be guessed */
};

quern_engine_model_params quern_engine_model_params_default(void)
{
    return (quern_engine_model_params){
        .struct_bytes = sizeof(quern_engine_model_params), .n_parallel = 16, .n_batch = 512};
}

static quern_status set_up(qn_context_setup *setup, const quern_model *model,
                           const quern_engine_model_params *p, int n_threads, quern_error *err)
{
    quern_context_params c = quern_context_params_default();
    c.n_ctx = p->n_ctx;
    c.n_sequences = p->n_parallel;
    c.n_batch = p->n_batch;
    c.n_threads = n_threads;
    c.type_k = p->type_k;
    c.type_v = p->type_v;
    c.memory_limit = p->memory_limit;
    quern_status s = qn_context_setup_init(setup, model, &c, err);
    if (s != QUERN_OK) return s;
    if (qn_model_generates(model)) setup->device.n_outputs += QN_SPARE_ROWS;
    if (!model->hparams.causal) return QUERN_OK; /* texts are there for one step only */
    const size_t n_ctx = setup->cache.n_ctx, all = qn_round_up(n_ctx, QN_PAGE_POSITIONS) * p->n_parallel;
    setup->cache.n_positions = qn_min_size(p->n_positions > 0 ? p->n_positions : 4 * n_ctx, all);
    setup->cache.n_positions = qn_round_up(qn_max_size(setup->cache.n_positions, n_ctx), QN_PAGE_POSITIONS);
    setup->cache.n_windows = p->n_parallel;
    return QUERN_OK;
}

/* Of rows as the model left them, one for each thread. */
static size_t untouched_bytes(const qn_context_setup *setup, const quern_model *model)
{
    return (size_t)setup->device.n_threads * model->hparams.n_vocab * sizeof(float);
}

static qn_lookup_params lookup_params(const qn_context_setup *setup)
{
    return (qn_lookup_params){.capacity = setup->cache.n_ctx, .least = LEAST_EQUAL};
}

static bool makes_guesses(const quern_model *model, const quern_engine_model_params *p)
{
    return !p->no_guesses && qn_model_generates(model);
}

/* All that is taken beside the cache. */
static uint64_t scratch_bytes(const qn_context_setup *setup, const quern_model *model, bool guesses)
{
    const qn_lookup_params lookup = lookup_params(setup);
    const qn_kv_cache_shape cache = qn_kv_cache_plan_shape(&model->program, &setup->cache);
    return qn_cpu_scratch_bytes(&model->program, &setup->device) + untouched_bytes(setup, model) +
           qn_prefix_tree_bytes(&cache) +
           (guesses ? setup->cache.n_sequences * qn_lookup_index_bytes(&lookup) : 0);
}

/* What the draft model takes; none: 0. */
static quern_status plan_draft(const qn_context_setup *setup, const quern_model *model,
                               const quern_model *draft_model, uint64_t *n_bytes, quern_error *err)
{
    *n_bytes = 0;
    if (draft_model == NULL) return QUERN_OK;
    const qn_draft_model_params draft = {.model = draft_model, .target = model, .setup = setup};
    return qn_draft_model_plan(&draft, n_bytes, err);
}

static const quern_model *draft_model_of(const quern_model *model, const quern_engine_model_params *p)
{
    return p->no_guesses || !qn_model_generates(model) ? NULL : p->draft;
}

quern_status qn_runner_plan_memory(qn_runner_plan *plan, const quern_model *model,
                                   const quern_engine_model_params *params, int n_threads, quern_error *err)
{
    qn_context_setup setup;
    uint64_t draft_bytes;
    quern_engine_model_params p = *params;
    p.memory_limit = UINT64_MAX; /* of no importance to a plan; what there is need not be asked for */
    quern_status s = set_up(&setup, model, &p, n_threads, err);
    if (s == QUERN_OK) s = plan_draft(&setup, model, draft_model_of(model, params), &draft_bytes, err);
    if (s != QUERN_OK) return s;
    *plan = (qn_runner_plan){.n_ctx = setup.cache.n_ctx,
                             .kv_bytes = qn_kv_cache_bytes(&model->program, &setup.cache),
                             .scratch_bytes =
                                 scratch_bytes(&setup, model, makes_guesses(model, params)) + draft_bytes};
    return QUERN_OK;
}

static quern_status take_memory(qn_runner *r, const quern_model *draft_model, quern_error *err)
{
    const qn_draft_model_params draft = {.model = draft_model, .target = r->model, .setup = &r->setup};
    uint64_t draft_bytes;
    quern_status s = plan_draft(&r->setup, r->model, draft_model, &draft_bytes, err);
    if (s != QUERN_OK) return s;
    const uint64_t wanted = qn_kv_cache_bytes(&r->model->program, &r->setup.cache) +
                            scratch_bytes(&r->setup, r->model, r->makes_guesses) + draft_bytes;
    if (wanted > r->setup.memory_limit)
        return qn_fail(err, QUERN_ERR_NOMEM,
                       "%s: keys, values and scratch take %llu bytes, but only %llu are available (fewer "
                       "positions would fit)",
                       r->name, (unsigned long long)wanted, (unsigned long long)r->setup.memory_limit);
    r->n_slots = r->setup.cache.n_sequences;
    r->slots = qn_calloc(r->n_slots, sizeof *r->slots);
    r->by_turn = qn_calloc(r->n_slots, sizeof *r->by_turn);
    r->drawing = qn_calloc(r->n_slots, sizeof *r->drawing);
    r->embedding = qn_calloc(r->n_slots, sizeof *r->embedding);
    r->asked = qn_calloc(r->n_slots, sizeof *r->asked);
    r->services = qn_calloc(r->n_slots, sizeof *r->services);
    r->tokens = qn_calloc(r->setup.device.n_batch, sizeof *r->tokens);
    r->segments = qn_calloc(r->setup.device.n_segments, sizeof *r->segments);
    r->outputs = qn_calloc(r->setup.device.n_outputs, sizeof *r->outputs);
    r->untouched =
        qn_alloc_pages(untouched_bytes(&r->setup, r->model)); /* not touched, not taken from the system */
    if (r->untouched == NULL || r->slots == NULL || r->by_turn == NULL || r->drawing == NULL ||
        r->embedding == NULL || r->asked == NULL || r->services == NULL || r->tokens == NULL ||
        r->segments == NULL || r->outputs == NULL)
        return qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory", r->name);
    const qn_lookup_params lookup = lookup_params(&r->setup);
    for (size_t i = 0; i < r->n_slots && s == QUERN_OK; i++) {
        r->slots[i].seq = i;
        if (r->makes_guesses) s = qn_lookup_index_create(&r->slots[i].text, &lookup, err);
    }
    if (s == QUERN_OK) s = qn_kv_cache_create(&r->cache, &r->model->program, &r->setup.cache, err);
    if (s == QUERN_OK) qn_kv_cache_touch(r->cache);
    if (s == QUERN_OK) s = qn_prefix_tree_create(&r->tree, r->cache, NULL, NULL, err);
    if (s == QUERN_OK)
        s = qn_cpu_create(&r->cpu, &r->model->program, r->model->kernels, &r->setup.device, err);
    if (s == QUERN_OK && draft_model != NULL) s = qn_draft_model_create(&r->draft, &draft, err);
    return s;
}

/* Whether a request still wants pages that are being read for it. */
static bool is_wanted(void *owner)
{
    const quern_request *q = owner;
    return !atomic_load(&q->is_canceled) && (q->deadline_ns == 0 || qn_clock_ns() < q->deadline_ns);
}

static quern_status open_keeper(qn_runner *r, const qn_runner_disk *disk, quern_error *err)
{
    char name[QN_PAGE_KEY_BYTES];
    if (disk->directory == NULL) return QUERN_OK;
    qn_page_key_make(name, r->model, r->setup.cache.type_k, r->setup.cache.type_v);
    const qn_page_keeper_params params = {.directory = disk->directory,
                                          .max_bytes = disk->max_bytes,
                                          .budget = disk->budget,
                                          .model_key = name,
                                          .cache = r->cache,
                                          .tree = r->tree,
                                          .wake = r->host.wake,
                                          .user = r->host.user,
                                          .is_wanted = is_wanted};
    const quern_status s = qn_page_keeper_create(&r->keeper, &params, err);
    if (s == QUERN_OK || s == QUERN_ERR_NOMEM || !disk->is_optional) return s;
    qn_log_write(&r->model->log, QUERN_LOG_WARN, "%s: nothing is kept for later: %s", r->name, err->message);
    return QUERN_OK;
}

quern_status qn_runner_create(qn_runner **out, const char *name, const quern_model *model,
                              const quern_engine_model_params *params, const qn_runner_disk *disk,
                              qn_thread_pool *pool, const qn_runner_host *host, quern_error *err)
{
    quern_engine_model_params p = quern_engine_model_params_default();
    if (params != NULL) memcpy(&p, params, qn_min_size(params->struct_bytes, sizeof p));
    qn_runner *r = *out = qn_calloc(1, sizeof *r);
    if (r == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory", name);
    r->model = model;
    r->host = *host;
    qn_step_pace_init(&r->pace);
    quern_status s = QUERN_OK;
    if ((r->name = qn_strdup(name)) == NULL) s = qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory", name);
    if (s == QUERN_OK && !model->loaded)
        s = qn_fail(err, QUERN_ERR_ARGUMENT, "%s: was opened without its weights", model->path);
    if (s == QUERN_OK) s = set_up(&r->setup, model, &p, qn_thread_pool_size(pool), err);
    r->setup.device.pool = r->pool = pool;
    r->makes_guesses = makes_guesses(model, &p);
    r->n_draft = qn_min_size(p.n_draft, QN_MAX_DRAFT);
    if (s == QUERN_OK) s = take_memory(r, draft_model_of(model, &p), err);
    if (s == QUERN_OK) s = open_keeper(r, disk, err);
    if (s != QUERN_OK) qn_runner_destroy(r), *out = NULL;
    return s;
}

void qn_runner_destroy(qn_runner *r)
{
    if (r == NULL) return;
    qn_page_keeper_destroy(r->keeper);
    qn_draft_model_destroy(r->draft);
    qn_cpu_destroy(r->cpu);
    qn_prefix_tree_destroy(r->tree);
    qn_kv_cache_destroy(r->cache);
    for (size_t i = 0; i < r->n_slots && r->slots != NULL; i++) qn_lookup_index_destroy(r->slots[i].text);
    qn_free(r->slots), qn_free(r->by_turn), qn_free(r->drawing), qn_free(r->asked);
    qn_free(r->embedding), qn_free(r->services);
    qn_free(r->tokens), qn_free(r->segments), qn_free(r->outputs);
    if (r->untouched != NULL) qn_free_pages(r->untouched, untouched_bytes(&r->setup, r->model));
    qn_free(r->name);
    qn_free(r);
}

const char *qn_runner_name(const qn_runner *r)
{
    return r->name;
}
size_t qn_runner_context(const qn_runner *r)
{
    return r->setup.cache.n_ctx;
}
size_t qn_runner_active(const qn_runner *r)
{
    return r->n_active;
}
