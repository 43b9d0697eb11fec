/* run.c: walking a program. Every instruction is a function that all workers enter together; items are
 * independent of each other, so how they are shared out changes no bit of the result (contract C4). */
#include "device/cpu/state.h"

#include "base/checked.h"
#include "base/clock.h"
#include "quant/decode.h"

#include <string.h>

void qn_cpu_prepare_columns(const qn_cpu *c, const qn_instruction *i, char *const act[], size_t row,
                            const float *x, size_t begin, size_t end)
{
    for (unsigned f = 0; f < QN_ACT_FORMATS; f++)
        if (i->act_formats >> f & 1)
            c->kernels->act_row[f](act[f] + row * qn_act_row_bytes((qn_act_format)f, i->width) +
                                       qn_act_row_bytes((qn_act_format)f, begin),
                                   x, end - begin);
}

static void prepare_row(const qn_cpu *c, const qn_instruction *i, size_t row, const float *x)
{
    qn_cpu_prepare_columns(c, i, c->act, row, x, 0, i->width);
}

/* A single row is made ready by every worker for itself, in row number w->index: cheaper than one worker
 * doing it and all meeting at a barrier. Experts find it in row 0, behind the barrier of their router. What
 * goes back to where it was read is no such row. */
bool qn_cpu_is_private(const qn_cpu *c, const qn_instruction *i)
{
    return qn_cpu_n_rows(c, i) == 1 && !i->keep &&
           (i->op == QN_OP_NORM || i->op == QN_OP_OUTPUT_NORM || i->op == QN_OP_PREPARE);
}

static void fill_rotation(const qn_cpu *c, int table, size_t token, int32_t position, const qn_rope_params *p)
{
    qn_rope_table_fill(c->cos_sin[table] + token * p->n_rot, position, c->radians[table], p->n_rot / 2,
                       qn_rope_magnitude(p));
}

/* Also the rotation tables of the step: once, for all layers. */
static void embed_token(const qn_cpu *c, const qn_worker *w, const qn_instruction *i, size_t token)
{
    const qn_weights *weights = c->program->weights;
    const qn_hparams *h = c->program->hparams;
    float *x = qn_cpu_row(c, QN_BUFFER_X, token);
    qn_decode_get(weights->embedding->type)(weights->embedding->data + (size_t)c->batch->tokens[token] *
                                                                           weights->embedding_row_bytes,
                                            x, h->n_embd);
    if (i->scale != 1.0f) c->kernels->scale(x, i->scale, h->n_embd);
    const qn_segment *s = &c->batch->segments[c->token_segment[token]];
    const int32_t position = s->position + (int32_t)(token - s->token_begin);
    if (weights->token_type != NULL) c->kernels->add(x, weights->token_type, h->n_embd);
    if (weights->position_embedding != NULL) {
        float *row = qn_cpu_scratch_row(c, w);
        qn_decode_get(weights->position_embedding->type)(weights->position_embedding->data +
                                                             (size_t)position * weights->position_row_bytes,
                                                         row, h->n_embd);
        c->kernels->add(x, row, h->n_embd);
    }
    if (h->n_rot == 0) return;
    fill_rotation(c, 0, token, position, &h->rope);
    if (h->window > 0) fill_rotation(c, 1, token, position, &h->rope_window);
}

static void embed(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    QN_EACH_ROW (w, token, c->batch->n_tokens) embed_token(c, w, i, token);
}

void qn_cpu_norm_row(const qn_cpu *c, qn_norm norm, float *y, const float *x, size_t n)
{
    const qn_hparams *h = c->program->hparams;
    if (h->arch->layer_norm) c->kernels->layer_norm(y, x, norm.weight, norm.bias, n, h->norm_eps);
    else c->kernels->rms_norm(y, x, norm.weight, n, h->norm_eps);
}

static void norm_row(const qn_cpu *c, const qn_worker *w, const qn_instruction *i, size_t row, size_t act_row)
{
    const size_t token = i->op == QN_OP_OUTPUT_NORM ? (size_t)c->batch->outputs[row] : row;
    float *x = qn_cpu_row(c, i->in, token), *y = i->keep ? x : qn_cpu_scratch_row(c, w);
    qn_cpu_norm_row(c, i->norm, y, x, i->width);
    if (i->copy) memcpy(qn_cpu_row(c, QN_BUFFER_T, token), y, i->width * sizeof *y);
    prepare_row(c, i, act_row, y);
}

static void norm(const qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    if (qn_cpu_is_private(c, i)) norm_row(c, w, i, 0, (size_t)w->index);
    else
        QN_EACH_ROW (w, row, qn_cpu_n_rows(c, i)) norm_row(c, w, i, row, row);
}

static void prepare(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    if (qn_cpu_is_private(c, i)) prepare_row(c, i, (size_t)w->index, qn_cpu_row(c, i->in, 0));
    else
        QN_EACH_ROW (w, row, c->batch->n_tokens) prepare_row(c, i, row, qn_cpu_row(c, i->in, row));
}

static void hidden(const qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    QN_EACH_ROW (w, row, c->batch->n_tokens) {
        float *x = qn_cpu_row(c, i->in, row);
        qn_cpu_norm_row(c, i->norm, x, x, i->width);
    }
}

void qn_cpu_add_residual(const qn_cpu *c, const qn_instruction *i, size_t token)
{
    float *t = qn_cpu_row(c, i->in, token);
    if (i->norm.weight != NULL) qn_cpu_norm_row(c, i->norm, t, t, i->width);
    if (i->scale != 1.0f) c->kernels->scale(t, i->scale, i->width);
    c->kernels->add(qn_cpu_row(c, QN_BUFFER_X, token), t, i->width);
}

static void residual(const qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    QN_EACH_ROW (w, row, c->batch->n_tokens) qn_cpu_add_residual(c, i, row);
}

/* Of each head, or of all in one row. */
static void norm_heads(const qn_cpu *c, float *x, size_t n_head, qn_norm norm)
{
    const size_t head_dim = c->program->hparams->head_dim_k;
    if (c->program->hparams->arch->layer_norm) qn_cpu_norm_row(c, norm, x, x, n_head * head_dim);
    else
        for (size_t head = 0; head < n_head; head++)
            qn_cpu_norm_row(c, norm, x + head * head_dim, x + head * head_dim, head_dim);
}

static void rotate_heads(const qn_cpu *c, float *x, size_t n_head, qn_norm norm, const float *cos_sin)
{
    const qn_hparams *h = c->program->hparams;
    if (norm.weight != NULL) norm_heads(c, x, n_head, norm);
    if (h->n_rot > 0) c->kernels->rope(x, n_head, h->head_dim_k, h->n_rot, h->arch->rope_neox, cos_sin);
}

/* The keys of a token, which then go into the cache with its values. */
static void rotate_keys(const qn_cpu *c, const qn_instruction *i, size_t token, const float *cos_sin)
{
    const qn_kv_memory *kv = &c->batch->kv[i->group];
    const qn_segment *s = &c->batch->segments[c->token_segment[token]];
    const size_t position = (size_t)s->position + token - s->token_begin;
    float *k = qn_cpu_row(c, QN_BUFFER_K, token);
    rotate_heads(c, k, c->program->hparams->n_head_kv, i->weights->k_norm, cos_sin);
    const int32_t page = s->pages[i->group][position / QN_PAGE_POSITIONS];
    char *layer = kv->base + (size_t)page * kv->page_stride + i->slot * kv->layout.layer_bytes;
    c->kernels->kv_write(&kv->layout, layer, position % QN_PAGE_POSITIONS, k,
                         qn_cpu_row(c, QN_BUFFER_V, token));
}

/* Two items a token: first come the queries of all, then the keys. */
static void rotate(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    const qn_hparams *h = c->program->hparams;
    const size_t n = c->batch->n_tokens;
    QN_EACH_ROW (w, item, 2 * n) {
        const size_t token = item % n;
        const float *cos_sin = c->cos_sin[i->windowed] + token * h->n_rot;
        if (item >= n) rotate_keys(c, i, token, cos_sin);
        else rotate_heads(c, qn_cpu_row(c, QN_BUFFER_Q, token), h->n_head, i->weights->q_norm, cos_sin);
    }
}

static void run_instruction(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    switch (i->op) {
    case QN_OP_EMBED:
        embed(c, w, i);
        break;
    case QN_OP_NORM:
    case QN_OP_OUTPUT_NORM:
        norm(c, w, i);
        break;
    case QN_OP_PREPARE:
        prepare(c, w, i);
        break;
    case QN_OP_MATMUL:
        qn_cpu_matmul(c, w, i);
        break;
    case QN_OP_ROTATE:
        rotate(c, w, i);
        break;
    case QN_OP_ATTEND:
        qn_cpu_attend(c, w, i);
        break;
    case QN_OP_GLU:
        qn_cpu_glu(c, w, i);
        break;
    case QN_OP_RESIDUAL:
        residual(c, w, i);
        break;
    case QN_OP_ROUTE:
        qn_cpu_route(c, w, i);
        break;
    case QN_OP_EXPERT_GLU:
        qn_cpu_expert_glu(c, w, i);
        break;
    case QN_OP_EXPERT_DOWN:
        qn_cpu_expert_down(c, w, i);
        break;
    case QN_OP_EXPERT_SUM:
        qn_cpu_expert_sum(c, w, i);
        break;
    case QN_OP_OUTPUT:
        qn_cpu_output(c, w, i);
        break;
    case QN_OP_HIDDEN:
        hidden(c, w, i);
        break;
    case QN_OPS:
        break;
    }
}

/* Whether anybody asks for what an instruction gives. */
static bool is_wanted(const qn_cpu *c, qn_op op)
{
    if (op == QN_OP_OUTPUT_NORM || op == QN_OP_OUTPUT) return c->batch->n_outputs > 0;
    return op != QN_OP_HIDDEN || c->batch->hidden;
}

static void walk(const qn_worker *w, void *user)
{
    qn_cpu *c = user;
    const qn_program *p = c->program;
    uint64_t before = c->profile != NULL ? qn_clock_ns() : 0;
    for (size_t i = 0; i < p->n_code; i++) {
        if (!is_wanted(c, p->code[i].op)) continue;
        run_instruction(c, w, &p->code[i]);
        if (!qn_cpu_is_private(c, &p->code[i])) qn_worker_barrier(w);
        if (c->profile != NULL && w->index == 0) {
            const uint64_t now = qn_clock_ns();
            c->profile[i].ns += now - before;
            qn_cpu_count(c, &p->code[i], &c->profile[i]);
            before = qn_clock_ns();
        }
    }
}

void qn_cpu_step(qn_cpu *c, const qn_batch *batch)
{
    c->batch = batch;
    for (size_t s = 0; s < batch->n_segments; s++)
        for (size_t t = 0; t < batch->segments[s].n_tokens; t++)
            c->token_segment[batch->segments[s].token_begin + t] = (uint32_t)s;
    qn_cpu_plan_attention(c);
    qn_thread_pool_run(c->pool, walk, c);
    c->batch = NULL;
}
