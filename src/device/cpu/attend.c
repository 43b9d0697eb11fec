/* attend.c: sharing out attention. Many queries: blocks of queries over all their keys. Few queries
 * over many keys: chunks of keys, whose partial results are then joined in ascending order
 * (Flash-Decoding: Dao et al. 2023). Both give the same bits (kernel/attention.h). */
#include "device/cpu/state.h"

static void plan_blocks(qn_cpu *c, qn_attention_work *work, uint32_t segment, size_t n_tokens)
{
    const uint32_t heads = c->program->hparams->n_head_kv;
    const size_t block = qn_query_block(c->program->hparams);
    for (uint32_t head = 0; head < heads;
         head++) /* one after the other: its keys and values stay in the cache */
        for (size_t blocks = (n_tokens + block - 1) / block; blocks-- > 0;) { /* the longest first */
            const size_t begin = blocks * block, end = qn_min_size(begin + block, n_tokens);
            work->items[work->n_items++] =
                (qn_attention_item){segment, head, (uint32_t)begin, (uint32_t)end, 0, -1};
        }
}

/* Returns false if there is no room for the partial results. */
static bool plan_chunks(qn_cpu *c, qn_attention_work *work, uint32_t segment, size_t token, int32_t position,
                        uint32_t window, size_t *n_partials)
{
    const qn_hparams *h = c->program->hparams;
    const size_t unit =
        qn_attention_partial_floats(&c->batch->kv[0].layout) / 16 * (h->n_head / h->n_head_kv);
    size_t begin, end;
    qn_attention_chunks(position, (int32_t)window, &begin, &end);
    const size_t n = end - begin;
    if (n < 2 || *n_partials + n * h->n_head_kv * unit > c->max_partials ||
        work->n_joins + h->n_head_kv > c->max_joins)
        return false;
    for (uint32_t head = 0; head < h->n_head_kv; head++) {
        work->joins[work->n_joins++] =
            (qn_attention_join_item){segment, head, (uint32_t)token, (uint32_t)n, (int32_t)*n_partials};
        for (size_t chunk = begin; chunk < end; chunk++, *n_partials += unit)
            work->items[work->n_items++] = (qn_attention_item){
                segment, head, (uint32_t)token, (uint32_t)token + 1, (uint32_t)chunk, (int32_t)*n_partials};
    }
    return true;
}

static void plan_group(qn_cpu *c, uint32_t group)
{
    qn_attention_work *work = &c->attention[group];
    work->n_items = work->n_joins = 0;
    if (c->program->groups[group].n_layers == 0) return;
    size_t n_partials = 0;
    for (uint32_t s = 0; s < c->batch->n_segments; s++) {
        const qn_segment *segment = &c->batch->segments[s];
        const bool split =
            segment->n_tokens == 1 &&
            plan_chunks(c, work, s, 0, segment->position, c->program->groups[group].window, &n_partials);
        if (!split) plan_blocks(c, work, s, segment->n_tokens);
    }
}

void qn_cpu_plan_attention(qn_cpu *c)
{
    for (uint32_t g = 0; g < QN_CACHE_GROUPS; g++) plan_group(c, g);
}

static qn_attention describe(const qn_cpu *c, const qn_instruction *i, uint32_t segment)
{
    const qn_hparams *h = c->program->hparams;
    const qn_segment *s = &c->batch->segments[segment];
    const qn_kv_memory *kv = &c->batch->kv[i->group];
    return (qn_attention){.layout = kv->layout,
                          .layer_base = kv->base + i->slot * kv->layout.layer_bytes,
                          .page_stride = kv->page_stride,
                          .pages = s->pages[i->group],
                          .n_head = h->n_head,
                          .scale = h->attn_scale,
                          .softcap = h->attn_softcap,
                          .window = (int32_t)c->program->groups[i->group].window,
                          .position = s->position,
                          .length = h->causal ? 0 : s->position + (int32_t)s->n_tokens,
                          .slopes = c->slopes,
                          .q = qn_cpu_row(c, QN_BUFFER_Q, s->token_begin),
                          .out = qn_cpu_row(c, QN_BUFFER_A, s->token_begin),
                          .q_stride = c->program->buffer_width[QN_BUFFER_Q],
                          .out_stride = c->program->buffer_width[QN_BUFFER_A]};
}

void qn_cpu_attend(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    const qn_attention_work *work = &c->attention[i->group];
    void *scratch = c->attention_scratch + (size_t)w->index * c->attention_scratch_bytes;
    const size_t stride = qn_attention_partial_floats(&c->batch->kv[i->group].layout) *
                          (c->program->hparams->n_head / c->program->hparams->n_head_kv);
    size_t begin, end;
    while (qn_worker_take(w, work->n_items, 1, &begin, &end)) {
        const qn_attention_item *item = &work->items[begin];
        const qn_attention a = describe(c, i, item->segment);
        if (item->partial < 0)
            c->kernels->attention(&a, item->head_kv, item->token_begin, item->token_end, scratch);
        else
            c->kernels->attention_chunk(&a, item->head_kv, item->token_begin, item->chunk,
                                        c->partials + (size_t)item->partial * 16, scratch);
    }
    if (work->n_joins == 0) return;
    qn_worker_barrier(w);
    while (qn_worker_take(w, work->n_joins, 1, &begin, &end)) {
        const qn_attention_join_item *join = &work->joins[begin];
        const qn_attention a = describe(c, i, join->segment);
        c->kernels->attention_join(&a, join->head_kv, join->token, join->n_chunks,
                                   c->partials + (size_t)join->partial * 16, stride);
    }
}
