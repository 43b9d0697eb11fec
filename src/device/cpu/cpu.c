/* cpu.c: memory and threads of the CPU device. */
#include "device/cpu/state.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <math.h>
#include <string.h>

static size_t chunks_of(size_t n_ctx)
{
    return (n_ctx + QN_ATTENTION_CHUNK - 1) / QN_ATTENTION_CHUNK;
}

static void layout_attention(qn_cpu *c, qn_arena *a)
{
    const qn_hparams *h = c->program->hparams;
    qn_kv_layout widest; /* scratch depends on head sizes alone; F32 needs no less than the others */
    qn_kv_layout_init(&widest, QN_TYPE_F32, QN_TYPE_F32, h->n_head_kv, h->head_dim_k, h->head_dim_v);
    c->attention_scratch_bytes = qn_round_up(qn_attention_scratch_bytes(&widest, h->n_head), 64);
    c->attention_scratch = qn_arena_alloc(a, (size_t)c->params.n_threads, c->attention_scratch_bytes);
    /* as many splits as there are segments have room with all chunks of a context */
    const size_t unit = qn_attention_partial_floats(&widest) / 16 * h->n_head; /* of a chunk of a split */
    c->max_splits = qn_min_size(c->params.n_batch, c->params.n_segments + QN_MORE_SPLITS);
    c->max_members = c->params.n_segments * chunks_of(c->params.n_ctx);
    c->max_partials = c->max_members * unit;
    c->partials = qn_arena_alloc(a, c->max_partials, 16 * sizeof *c->partials);
    const size_t max_items = (c->params.n_batch / qn_query_block(h) + c->params.n_segments) * h->n_head_kv;
    for (int g = 0; g < QN_CACHE_GROUPS; g++) {
        qn_attention_work *work = &c->attention[g];
        work->items = qn_arena_alloc(a, max_items, sizeof *work->items);
        work->splits = qn_arena_alloc(a, c->max_splits, sizeof *work->splits);
        work->chunks = qn_arena_alloc(a, c->max_members, sizeof *work->chunks);
        work->members = qn_arena_alloc(a, c->max_members, sizeof *work->members);
    }
}

static void layout_experts(qn_cpu *c, qn_arena *a)
{
    const qn_hparams *h = c->program->hparams;
    const size_t slots = c->params.n_batch * h->n_expert_used;
    if (slots == 0) return;
    c->expert_of = qn_arena_alloc(a, slots, sizeof *c->expert_of);
    c->expert_weight = qn_arena_alloc(a, slots, sizeof *c->expert_weight);
    c->expert_tokens = qn_arena_alloc(a, slots, sizeof *c->expert_tokens);
    c->expert_slots = qn_arena_alloc(a, slots, sizeof *c->expert_slots);
    c->expert_begin = qn_arena_alloc(a, h->n_expert + 1, sizeof *c->expert_begin);
    c->active_experts = qn_arena_alloc(a, h->n_expert, sizeof *c->active_experts);
}

static void layout_glu(qn_cpu *c, qn_arena *a)
{
    const qn_program *p = c->program;
    const qn_hparams *h = p->hparams;
    const size_t n_batch = c->params.n_batch;
    for (unsigned f = 0; f < QN_ACT_FORMATS; f++) {
        const size_t bytes = qn_max_size(n_batch * qn_act_row_bytes((qn_act_format)f, p->glu_act_width[f]),
                                         n_batch * h->n_expert_used *
                                             qn_act_row_bytes((qn_act_format)f, p->slot_act_width[f]));
        if (bytes > 0) c->glu_act[f] = qn_arena_alloc(a, bytes, 1);
    }
    const size_t groups = p->buffer_width[QN_BUFFER_UP] / QN_GLU_COLUMNS + 1,
                 expert_groups = h->n_ff_expert / QN_GLU_COLUMNS + 1;
    const size_t tiles = qn_max_size(groups, (size_t)h->n_expert * expert_groups);
    c->glu_done = qn_arena_alloc(a, tiles, sizeof *c->glu_done);
}

/* Runs over an empty arena to measure, then over a real one. */
static void layout(qn_cpu *c, qn_arena *a)
{
    const qn_program *p = c->program;
    const size_t n_batch = c->params.n_batch;
    for (int b = 0; b < QN_BUFFERS; b++) {
        const size_t rows = b == QN_BUFFER_LOGITS ? c->params.n_outputs : n_batch;
        if (p->buffer_width[b] > 0)
            c->buffers[b] = qn_arena_alloc(a, rows * p->buffer_width[b], sizeof(float));
    }
    for (int f = 0; f < QN_ACT_FORMATS; f++) {
        if (p->act_width[f] > 0)
            c->act[f] = qn_arena_alloc(a, qn_max_size(n_batch, (size_t)c->params.n_threads),
                                       qn_act_row_bytes((qn_act_format)f, p->act_width[f]));
    }
    for (int t = 0; t < 2; t++) {
        c->radians[t] = qn_arena_alloc(a, p->hparams->n_rot / 2, sizeof(double));
        c->cos_sin[t] = qn_arena_alloc(a, n_batch * p->hparams->n_rot, sizeof(float));
    }
    if (p->hparams->alibi_max_bias > 0) c->slopes = qn_arena_alloc(a, p->hparams->n_head, sizeof *c->slopes);
    c->token_segment = qn_arena_alloc(a, n_batch, sizeof *c->token_segment);
    c->norm_width = p->hparams->n_embd;
    for (int b = 0; b < QN_BUFFERS; b++)
        if (b != QN_BUFFER_LOGITS) c->norm_width = qn_max_size(c->norm_width, p->buffer_width[b]);
    c->norm_width = qn_round_up(c->norm_width, 16);
    c->norm_scratch = qn_arena_alloc(a, (size_t)c->params.n_threads * c->norm_width, sizeof(float));
    layout_attention(c, a);
    layout_experts(c, a);
    layout_glu(c, a);
    c->logit_max = qn_arena_alloc(a, c->params.n_outputs * qn_cpu_logit_blocks(p), sizeof *c->logit_max);
}

/* Slopes of heads (Press et al. 2021): powers of 2^(-max_bias / n), n being the greatest power of two up to
 * n_head; the heads beyond have those that lie between, every other one. */
static void fill_slopes(float *slopes, uint32_t n_head, double max_bias)
{
    uint32_t n = 1;
    while (n * 2 <= n_head) n *= 2;
    for (uint32_t head = 0; head < n_head; head++) {
        const double steps = head < n ? head + 1 : (2 * (head - n) + 1) / 2.0;
        slopes[head] = (float)exp2(-max_bias / n * steps);
    }
}

size_t qn_cpu_scratch_bytes(const qn_program *p, const qn_device_params *params)
{
    qn_cpu c = {.program = p, .params = *params};
    qn_arena measuring = {0};
    layout(&c, &measuring);
    return measuring.used;
}

quern_status qn_cpu_create(qn_cpu **out, const qn_program *p, const qn_kernels *kernels,
                           const qn_device_params *params, quern_error *err)
{
    *out = NULL;
    qn_cpu *c = qn_calloc(1, sizeof *c);
    if (c == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "CPU device: no memory");
    c->program = p;
    c->kernels = kernels;
    c->params = *params;
    quern_status s = qn_arena_create(&c->arena, qn_cpu_scratch_bytes(p, params), "scratch memory", err);
    if (s == QUERN_OK) {
        layout(c, &c->arena);
        qn_rope_frequencies(c->radians[0], &p->hparams->rope);
        qn_rope_frequencies(c->radians[1], &p->hparams->rope_window);
        if (c->slopes != NULL) fill_slopes(c->slopes, p->hparams->n_head, (double)p->hparams->alibi_max_bias);
        c->pool = params->pool;
        if (c->pool == NULL) s = qn_thread_pool_create(&c->pool, params->n_threads, err);
    }
    if (s != QUERN_OK) {
        qn_cpu_destroy(c);
        return s;
    }
    *out = c;
    return QUERN_OK;
}

void qn_cpu_destroy(qn_cpu *c)
{
    if (c == NULL) return;
    if (c->pool != c->params.pool) qn_thread_pool_destroy(c->pool);
    qn_arena_destroy(&c->arena);
    qn_free(c);
}

float *qn_cpu_logits(const qn_cpu *c, size_t row)
{
    return qn_cpu_row(c, QN_BUFFER_LOGITS, row);
}
const float *qn_cpu_logit_max(const qn_cpu *c, size_t row)
{
    return c->logit_max + row * qn_cpu_logit_blocks(c->program);
}
size_t qn_cpu_taken_bytes(const qn_cpu *c)
{
    return c->arena.size;
}
float *qn_cpu_hidden(const qn_cpu *c, size_t token)
{
    return qn_cpu_row(c, QN_BUFFER_X, token);
}
int qn_cpu_threads(const qn_cpu *c)
{
    return c->params.n_threads;
}
void qn_cpu_profile(qn_cpu *c, qn_op_count *counts)
{
    c->profile = counts;
}
