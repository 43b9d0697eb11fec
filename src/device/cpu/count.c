/* count.c: what an instruction of the running step reads and multiplies, for profiles: from the shapes and
 * from how the work was planned, so that nothing is counted inside kernels. */
#include "device/cpu/state.h"

static void add_product(qn_op_count *n, const qn_matrix *m, size_t n_tokens)
{
    const uint64_t multiply_adds = (uint64_t)n_tokens * m->n_rows * m->n_cols;
    const size_t passes = (n_tokens + QN_TOKEN_BLOCK - 1) / QN_TOKEN_BLOCK;
    n->weight_bytes += (uint64_t)passes * qn_matrix_panels(m->n_rows) * m->panel_bytes;
    if (qn_matrix_act_format(m->type) == QN_ACT_F32) n->float_multiply_adds += multiply_adds;
    else n->int8_multiply_adds += multiply_adds;
}

static void add_experts(const qn_cpu *c, qn_op_count *n, const qn_expert_matrices *matrices)
{
    for (size_t k = 0; k < c->n_active_experts; k++) {
        const uint32_t expert = c->active_experts[k];
        add_product(n, &matrices->first, c->expert_begin[expert + 1] - c->expert_begin[expert]);
    }
}

static size_t row_bytes(qn_tensor_type type, size_t head_dim)
{
    return qn_kv_row_bytes(type, head_dim) + qn_kv_scale_bytes(type, head_dim);
}

/* Keys that the query at `position` sees in one chunk of them, or in all where chunk is NULL. */
static size_t keys_seen(int32_t position, int32_t window, const uint32_t *chunk)
{
    size_t first = qn_attention_first(position, window), end = (size_t)position + 1;
    if (chunk != NULL) {
        first = qn_max_size(first, *chunk * (size_t)QN_ATTENTION_CHUNK);
        end = qn_min_size(end, ((size_t)*chunk + 1) * QN_ATTENTION_CHUNK);
    }
    return end - first;
}

/* What attention counts in: bytes of a key with its value, and multiply-adds of the queries with it. */
typedef struct attention_cost {
    size_t key_bytes, multiply_adds;
    int32_t window;
} attention_cost;

static void add_block(const qn_cpu *c, qn_op_count *n, const qn_attention_item *item,
                      const attention_cost *cost)
{
    const qn_segment *s = &c->batch->segments[item->segment];
    const bool causal = c->program->hparams->causal;
    const int32_t first = s->position + (int32_t)item->token_begin,
                  last = s->position + (int32_t)item->token_end - 1,
                  end = s->position + (int32_t)s->n_tokens - 1; /* what is seen both ways */
    n->kv_bytes +=
        (causal ? keys_seen(first, cost->window, NULL) + (size_t)(last - first) : (size_t)end + 1) *
        cost->key_bytes;
    for (int32_t p = first; p <= last; p++)
        n->float_multiply_adds +=
            (uint64_t)keys_seen(causal ? p : end, cost->window, NULL) * cost->multiply_adds;
}

/* The keys are read once for all members. */
static void add_chunk(const qn_cpu *c, qn_op_count *n, const qn_attention_work *work,
                      const qn_attention_chunk *chunk, const attention_cost *cost)
{
    const qn_attention_split *q = &work->splits[work->members[chunk->first].split];
    const int32_t position = c->batch->segments[q->segment].position + (int32_t)q->token;
    const uint64_t keys = keys_seen(position, cost->window, &chunk->chunk) * c->program->hparams->n_head_kv;
    n->kv_bytes += keys * cost->key_bytes;
    n->float_multiply_adds += keys * chunk->n_members * cost->multiply_adds;
}

static void add_attention(const qn_cpu *c, qn_op_count *n, const qn_instruction *i)
{
    const qn_attention_work *work = &c->attention[i->group];
    const qn_kv_layout *l = &c->batch->kv[i->group].layout;
    const attention_cost cost = {
        .key_bytes = row_bytes(l->type_k, l->head_dim_k) + row_bytes(l->type_v, l->head_dim_v),
        .multiply_adds = c->program->hparams->n_head / l->n_head_kv * (l->head_dim_k + l->head_dim_v),
        .window = (int32_t)c->program->groups[i->group].window};
    for (size_t k = 0; k < work->n_items; k++) add_block(c, n, &work->items[k], &cost);
    for (size_t k = 0; k < work->n_chunks; k++) add_chunk(c, n, work, &work->chunks[k], &cost);
}

void qn_cpu_count(const qn_cpu *c, const qn_instruction *i, qn_op_count *n)
{
    const bool output = i->op == QN_OP_OUTPUT;
    n->calls++;
    if (i->norm.weight != NULL) n->weight_bytes += i->width * sizeof(float);
    if (i->norm.bias != NULL) n->weight_bytes += i->width * sizeof(float);
    for (uint32_t k = 0; k < i->n_products; k++)
        add_product(n, i->products[k].matrix, output ? c->batch->n_outputs : c->batch->n_tokens);
    if (i->op == QN_OP_EMBED)
        n->weight_bytes += c->batch->n_tokens * (c->program->weights->embedding_row_bytes +
                                                 c->program->weights->position_row_bytes);
    if (i->op == QN_OP_ATTEND) add_attention(c, n, i);
    if (i->op == QN_OP_EXPERT_GLU) {
        if (i->weights->gated) add_experts(c, n, &i->weights->gate_exps);
        add_experts(c, n, &i->weights->up_exps);
    }
    if (i->op == QN_OP_EXPERT_DOWN) add_experts(c, n, &i->weights->down_exps);
}
