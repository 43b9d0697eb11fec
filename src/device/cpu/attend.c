/* attend.c: sharing out attention. Many queries: blocks of queries over all their keys. Few queries
 * over many keys: chunks of keys, whose partial results are then joined in ascending order
 * (Flash-Decoding: Dao et al. 2023). Sequences that share pages, as those do whose prompts begin alike, have
 * each shared chunk read once for all of them (Hydragen: Juravsky et al. 2024, arXiv:2402.05099). All ways
 * give the same bits (kernel/attention.h). */
#include "device/cpu/state.h"

#include <string.h>

enum {
    FEW_TOKENS = 16,   /* of a segment that is worked on by chunks */
    N_REMEMBERED = 256 /* chunks whose pages are known while others with the same are sought */
};
static const uint32_t NO_MEMBER = UINT32_MAX;

/* ---- the plan ------------------------------------------------------------------------------------ */

static void plan_blocks(qn_cpu *c, qn_attention_work *work, uint32_t segment, size_t n_tokens)
{
    const uint32_t heads = c->program->hparams->n_head_kv;
    const size_t block = qn_query_block(c->program->hparams);
    for (uint32_t head = 0; head < heads;
         head++) /* one after the other: its keys and values stay in the cache */
        for (size_t blocks = (n_tokens + block - 1) / block; blocks-- > 0;) { /* the longest first */
            const size_t begin = blocks * block, end = qn_min_size(begin + block, n_tokens);
            work->items[work->n_items++] = (qn_attention_item){segment, head, (uint32_t)begin, (uint32_t)end};
        }
}

/* Has the tokens of a segment worked on by chunks. False: there is only one chunk, or no room for the partial
 * results. */
static bool split(qn_cpu *c, qn_attention_work *work, uint32_t segment, uint32_t window)
{
    const qn_hparams *h = c->program->hparams;
    const qn_segment *s = &c->batch->segments[segment];
    const size_t unit = qn_attention_partial_floats(&c->batch->kv[0].layout) / 16 * h->n_head;
    size_t begin, end, unused;
    qn_attention_chunks(s->position, (int32_t)window, &begin, &unused);
    qn_attention_chunks(s->position + (int32_t)s->n_tokens - 1, (int32_t)window, &unused, &end);
    const size_t most = s->n_tokens * (end - begin);
    if (end - begin < 2 || work->n_partials + most * unit > c->max_partials ||
        work->n_splits + s->n_tokens > c->max_splits)
        return false;
    for (size_t t = 0; t < s->n_tokens; t++) {
        qn_attention_chunks(s->position + (int32_t)t, (int32_t)window, &begin, &end);
        work->splits[work->n_splits++] = (qn_attention_split){.segment = segment,
                                                              .token = (uint32_t)t,
                                                              .row = (uint32_t)(s->token_begin + t),
                                                              .first_chunk = (uint32_t)begin,
                                                              .n_chunks = (uint32_t)(end - begin),
                                                              .partial = work->n_partials};
        work->n_partials += (end - begin) * unit;
    }
    return true;
}

/* Whether a split sees all positions of a chunk, and nothing depends on where it stands. */
static bool sees_whole(const qn_cpu *c, uint32_t window, const qn_attention_split *q, size_t chunk)
{
    const size_t last = (size_t)c->batch->segments[q->segment].position + q->token;
    return c->slopes == NULL && last + 1 >= (chunk + 1) * QN_ATTENTION_CHUNK &&
           qn_attention_first((int32_t)last, (int32_t)window) <= chunk * QN_ATTENTION_CHUNK;
}

static const int32_t *pages_of(const qn_cpu *c, uint32_t group, const qn_attention_split *q, size_t chunk)
{
    enum { CHUNK_PAGES = QN_ATTENTION_CHUNK / QN_PAGE_POSITIONS };
    return c->batch->segments[q->segment].pages[group] + chunk * CHUNK_PAGES;
}

/* Adds a split to a chunk that it has the same pages in, or makes one for it. known: by its first page, one
 * of the chunks whose members see them whole, and 1. */
static void join_chunk(qn_cpu *c, uint32_t group, uint32_t split, uint32_t chunk,
                       uint32_t known[N_REMEMBERED])
{
    qn_attention_work *work = &c->attention[group];
    const qn_attention_split *q = &work->splits[split];
    const int32_t *pages = pages_of(c, group, q, chunk);
    const uint32_t member = (uint32_t)work->n_members++;
    work->members[member] = (qn_attention_member){split, NO_MEMBER};
    const bool whole = sees_whole(c, c->program->groups[group].window, q, chunk);
    uint32_t *place = whole ? &known[(size_t)pages[0] % N_REMEMBERED] : NULL;
    if (place != NULL && *place > 0) {
        qn_attention_chunk *other = &work->chunks[*place - 1];
        const qn_attention_split *first = &work->splits[work->members[other->first].split];
        if (other->chunk == chunk && other->n_members < qn_query_block(c->program->hparams) &&
            memcmp(pages_of(c, group, first, chunk), pages,
                   QN_ATTENTION_CHUNK / QN_PAGE_POSITIONS * sizeof *pages) == 0) {
            work->members[other->last].next = member;
            other->last = member;
            other->n_members++;
            return;
        }
    }
    work->chunks[work->n_chunks++] = (qn_attention_chunk){chunk, 1, member, member};
    if (place != NULL) *place = (uint32_t)work->n_chunks;
}

static void plan_group(qn_cpu *c, uint32_t group)
{
    qn_attention_work *work = &c->attention[group];
    const uint32_t window = c->program->groups[group].window;
    uint32_t known[N_REMEMBERED] = {0}, end = 0;
    work->n_items = work->n_splits = work->n_chunks = work->n_members = work->n_partials = 0;
    if (c->program->groups[group].n_layers == 0) return;
    for (uint32_t s = 0; s < c->batch->n_segments; s++) {
        const size_t n_tokens = c->batch->segments[s].n_tokens;
        const bool is_few = c->program->hparams->causal && n_tokens <= FEW_TOKENS;
        if (!is_few || !split(c, work, s, window)) plan_blocks(c, work, s, n_tokens);
    }
    for (size_t i = 0; i < work->n_splits; i++)
        end = (uint32_t)qn_max_size(end, work->splits[i].first_chunk + work->splits[i].n_chunks);
    for (uint32_t chunk = 0; chunk < end; chunk++)
        for (uint32_t i = 0; i < work->n_splits; i++)
            if (chunk - work->splits[i].first_chunk < work->splits[i].n_chunks) /* not below it: that wraps */
                join_chunk(c, group, i, chunk, known);
}

void qn_cpu_plan_attention(qn_cpu *c)
{
    for (uint32_t g = 0; g < QN_CACHE_GROUPS; g++) plan_group(c, g);
}

/* ---- the work ------------------------------------------------------------------------------------ */

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

/* Floats between the partial results of one chunk and the next. */
static size_t partial_stride(const qn_cpu *c, const qn_instruction *i)
{
    return qn_attention_partial_floats(&c->batch->kv[i->group].layout) *
           (c->program->hparams->n_head / c->program->hparams->n_head_kv);
}

static float *partials_of(const qn_cpu *c, const qn_attention_split *q, size_t head_kv, size_t stride)
{
    return c->partials + q->partial * 16 + head_kv * q->n_chunks * stride;
}

static void attend_chunk(const qn_cpu *c, const qn_instruction *i, const qn_attention_chunk *chunk,
                         uint32_t head_kv, void *scratch)
{
    const qn_attention_work *work = &c->attention[i->group];
    const size_t stride = partial_stride(c, i);
    qn_attention_query queries[QN_ATTENTION_ROWS];
    size_t n = 0;
    for (uint32_t m = chunk->first; m != NO_MEMBER; m = work->members[m].next) {
        const qn_attention_split *q = &work->splits[work->members[m].split];
        queries[n++] = (qn_attention_query){q->row, partials_of(c, q, head_kv, stride) +
                                                        (chunk->chunk - q->first_chunk) * stride};
    }
    const qn_attention_split *first = &work->splits[work->members[chunk->first].split];
    qn_attention a = describe(c, i, first->segment);
    if (n == 1) {
        c->kernels->attention_chunk(&a, head_kv, first->token, chunk->chunk, queries[0].partial, scratch);
        return;
    }
    a.q = qn_cpu_row(c, QN_BUFFER_Q, 0);
    c->kernels->attention_chunk_many(&a, head_kv, queries, n, chunk->chunk, scratch);
}

static void attend_block(const qn_cpu *c, const qn_instruction *i, const qn_attention_item *item,
                         void *scratch)
{
    const qn_attention a = describe(c, i, item->segment);
    c->kernels->attention(&a, item->head_kv, item->token_begin, item->token_end, scratch);
}

static void join_split(const qn_cpu *c, const qn_instruction *i, const qn_attention_split *q,
                       uint32_t head_kv)
{
    const size_t stride = partial_stride(c, i);
    const qn_attention a = describe(c, i, q->segment);
    c->kernels->attention_join(&a, head_kv, q->token, q->n_chunks, partials_of(c, q, head_kv, stride),
                               stride);
}

void qn_cpu_attend(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    const qn_attention_work *work = &c->attention[i->group];
    const size_t heads = c->program->hparams->n_head_kv;
    void *scratch = c->attention_scratch + (size_t)w->index * c->attention_scratch_bytes;
    size_t at, end;
    while (qn_worker_take(w, work->n_items + work->n_chunks * heads, 1, &at, &end)) {
        if (at < work->n_items) {
            attend_block(c, i, &work->items[at], scratch);
            continue;
        }
        at -= work->n_items;
        attend_chunk(c, i, &work->chunks[at / heads], (uint32_t)(at % heads), scratch);
    }
    if (work->n_splits == 0) return;
    qn_worker_barrier(w);
    while (qn_worker_take(w, work->n_splits * heads, 1, &at, &end))
        join_split(c, i, &work->splits[at / heads], (uint32_t)(at % heads));
}
