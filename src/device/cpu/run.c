/* run.c: walking a program. Every instruction is a function that all workers enter together; items are
 * independent of each other, so how they are shared out changes no bit of the result (contract C4). */
#include "device/cpu/state.h"

#include "base/checked.h"
#include "base/clock.h"
#include "quant/decode.h"

#include <string.h>

/* Of a row whose pieces are made ready apart: whole blocks of activations, and 64-byte lines of them, in
 * every format. */
enum { PIECE_COLUMNS = 512 };

/* Columns [begin, end) of a row; begin is a multiple of PIECE_COLUMNS. */
static void prepare_columns(const qn_cpu *c, const qn_instruction *i, size_t row, const float *x,
                            size_t begin, size_t end)
{
    for (unsigned f = 0; f < QN_ACT_FORMATS; f++)
        if (i->act_formats >> f & 1)
            c->kernels->act_row[f](c->act[f] + row * qn_act_row_bytes((qn_act_format)f, i->width) +
                                       qn_act_row_bytes((qn_act_format)f, begin),
                                   x, end - begin);
}

static void prepare_row(const qn_cpu *c, const qn_instruction *i, size_t row, const float *x)
{
    prepare_columns(c, i, row, x, 0, i->width);
}

/* The rows that an instruction works on. */
static size_t n_rows(const qn_cpu *c, const qn_instruction *i)
{
    return i->op == QN_OP_OUTPUT_NORM || i->op == QN_OP_OUTPUT ? c->batch->n_outputs : c->batch->n_tokens;
}

/* A single row is made ready by every worker for itself, in row number w->index: cheaper than one worker
 * doing it and all meeting at a barrier. Experts find it in row 0, behind the barrier of their router. */
static bool is_private(const qn_cpu *c, const qn_instruction *i)
{
    return n_rows(c, i) == 1 && (i->op == QN_OP_NORM || i->op == QN_OP_OUTPUT_NORM || i->op == QN_OP_PREPARE);
}

static float *scratch_row(const qn_cpu *c, const qn_worker *w)
{
    return c->norm_scratch + (size_t)w->index * c->norm_width;
}

static void fill_rotation(const qn_cpu *c, int table, size_t token, int32_t position, const qn_rope_params *p)
{
    qn_rope_table_fill(c->cos_sin[table] + token * p->n_rot, position, c->radians[table], p->n_rot / 2,
                       qn_rope_magnitude(p));
}

/* Also the rotation tables of the step: once, for all layers. */
static void embed(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    const qn_weights *weights = c->program->weights;
    const qn_hparams *h = c->program->hparams;
    qn_decode_fn *decode = qn_decode_get(weights->embedding->type);
    size_t begin, end;
    while (qn_worker_take(w, c->batch->n_tokens, 1, &begin, &end)) {
        float *x = qn_cpu_row(c, QN_BUFFER_X, begin);
        decode(weights->embedding->data + (size_t)c->batch->tokens[begin] * weights->embedding_row_bytes, x,
               h->n_embd);
        if (i->scale != 1.0f) c->kernels->scale(x, i->scale, h->n_embd);
        const qn_segment *s = &c->batch->segments[c->token_segment[begin]];
        const int32_t position = s->position + (int32_t)(begin - s->token_begin);
        fill_rotation(c, 0, begin, position, &h->rope);
        if (h->window > 0) fill_rotation(c, 1, begin, position, &h->rope_window);
    }
}

static void norm_row(const qn_cpu *c, const qn_worker *w, const qn_instruction *i, size_t row, size_t act_row)
{
    float *y = scratch_row(c, w);
    const size_t token = i->op == QN_OP_OUTPUT_NORM ? (size_t)c->batch->outputs[row] : row;
    c->kernels->rms_norm(y, qn_cpu_row(c, i->in, token), i->weight, i->width, c->program->hparams->norm_eps);
    prepare_row(c, i, act_row, y);
}

static void norm(const qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    size_t begin, end;
    if (is_private(c, i)) norm_row(c, w, i, 0, (size_t)w->index);
    else
        while (qn_worker_take(w, n_rows(c, i), 1, &begin, &end)) norm_row(c, w, i, begin, begin);
}

static void prepare(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    size_t begin, end;
    if (is_private(c, i)) prepare_row(c, i, (size_t)w->index, qn_cpu_row(c, i->in, 0));
    else
        while (qn_worker_take(w, c->batch->n_tokens, 1, &begin, &end))
            prepare_row(c, i, begin, qn_cpu_row(c, i->in, begin));
}

/* Few rows are shared out by pieces. */
static void glu(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    size_t item, end;
    float *y = scratch_row(c, w);
    qn_glu_fn *fn = i->activation == QN_SILU ? c->kernels->silu_mul : c->kernels->gelu_mul;
    const size_t n_tokens = c->batch->n_tokens,
                 wanted = n_tokens < (size_t)w->n_threads ? PIECE_COLUMNS : i->width,
                 pieces = (i->width + wanted - 1) / wanted;
    while (qn_worker_take(w, n_tokens * pieces, 1, &item, &end)) {
        const size_t token = item / pieces, begin = item % pieces * wanted,
                     last = qn_min_size(begin + wanted, i->width);
        fn(y, qn_cpu_row(c, QN_BUFFER_GATE, token) + begin, qn_cpu_row(c, QN_BUFFER_UP, token) + begin,
           last - begin);
        prepare_columns(c, i, token, y, begin, last);
    }
}

static void residual(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    size_t begin, end;
    while (qn_worker_take(w, c->batch->n_tokens, 1, &begin, &end)) {
        float *t = qn_cpu_row(c, i->in, begin);
        if (i->weight != NULL) c->kernels->rms_norm(t, t, i->weight, i->width, c->program->hparams->norm_eps);
        if (i->scale != 1.0f) c->kernels->scale(t, i->scale, i->width);
        c->kernels->add(qn_cpu_row(c, QN_BUFFER_X, begin), t, i->width);
    }
}

/* The activations that meet m: all rows, or the worker's own (is_private). */
static const char *act_rows(const qn_cpu *c, const qn_worker *w, const qn_matrix *m, bool is_own)
{
    const qn_act_format format = qn_matrix_act_format(m->type);
    return c->act[format] + (is_own ? (size_t)w->index * qn_act_row_bytes(format, m->n_cols) : 0);
}

/* Pieces are runs of panels over all products of the instruction, block of tokens by block of tokens. */
static void matmul(qn_cpu *c, const qn_worker *w, const qn_instruction *i, size_t first_row)
{
    const bool is_own = is_private(c, i - 1); /* the instruction before made the activations */
    const size_t n_tokens = n_rows(c, i);
    size_t panels = 0, begin, end;
    for (uint32_t k = 0; k < i->n_products; k++) panels += qn_matrix_panels(i->products[k].matrix->n_rows);
    const size_t blocks = (n_tokens + QN_TOKEN_BLOCK - 1) / QN_TOKEN_BLOCK, items = blocks * panels;
    const size_t share = qn_max_size(1, qn_min_size(panels / ((size_t)w->n_threads * 6), 32));
    const size_t grain = share > QN_PANELS_AT_ONCE ? share - share % QN_PANELS_AT_ONCE : share;
    while (qn_worker_take(w, items, grain, &begin, &end)) {
        while (begin < end) {
            const size_t token = begin / panels * QN_TOKEN_BLOCK;
            size_t panel = begin % panels;
            uint32_t k = 0;
            while (panel >= qn_matrix_panels(i->products[k].matrix->n_rows))
                panel -= qn_matrix_panels(i->products[k++].matrix->n_rows);
            const qn_product *r = &i->products[k];
            const size_t last = qn_min_size(qn_matrix_panels(r->matrix->n_rows), panel + (end - begin));
            const qn_matmul m = {.w = r->matrix,
                                 .act = act_rows(c, w, r->matrix, is_own),
                                 .y = qn_cpu_row(c, r->out, first_row),
                                 .y_stride = c->program->buffer_width[r->out],
                                 .bias = r->bias,
                                 .add = r->add};
            c->kernels->matmul[r->matrix->type](&m, panel, last, token,
                                                qn_min_size(n_tokens, token + QN_TOKEN_BLOCK));
            begin += last - panel;
        }
    }
}

static void output(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    const size_t n = c->program->hparams->n_vocab, piece = 4096, pieces = (n + piece - 1) / piece;
    const float cap = c->program->hparams->final_softcap;
    matmul(c, w, i, c->batch->first_logits);
    if (i->scale == 1.0f && cap == 0.0f) return;
    qn_worker_barrier(w);
    size_t begin, end;
    while (qn_worker_take(w, pieces * c->batch->n_outputs, 1, &begin, &end)) {
        float *y = qn_cpu_logits(c, c->batch->first_logits + begin / pieces) + begin % pieces * piece;
        const size_t width = qn_min_size(piece, n - begin % pieces * piece);
        if (i->scale != 1.0f) c->kernels->scale(y, i->scale, width);
        if (cap != 0.0f) c->kernels->softcap(y, cap, width);
    }
}

static void rotate_heads(const qn_cpu *c, float *x, size_t n_head, const float *norm_weight,
                         const float *cos_sin)
{
    const qn_hparams *h = c->program->hparams;
    if (norm_weight != NULL)
        for (size_t head = 0; head < n_head; head++)
            c->kernels->rms_norm(x + head * h->head_dim_k, x + head * h->head_dim_k, norm_weight,
                                 h->head_dim_k, h->norm_eps);
    c->kernels->rope(x, n_head, h->head_dim_k, h->n_rot, h->arch->rope_neox, cos_sin);
}

/* Two items a token: the queries; the keys, which then go into the cache with the values. */
static void rotate(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    const qn_hparams *h = c->program->hparams;
    const qn_kv_memory *kv = &c->batch->kv[i->group];
    size_t item, end;
    while (qn_worker_take(w, 2 * c->batch->n_tokens, 1, &item, &end)) {
        const size_t token = item / 2;
        const qn_segment *s = &c->batch->segments[c->token_segment[token]];
        const size_t position = (size_t)s->position + token - s->token_begin;
        const float *cos_sin = c->cos_sin[i->windowed] + token * h->n_rot;
        if (item % 2 != 0) {
            rotate_heads(c, qn_cpu_row(c, QN_BUFFER_Q, token), h->n_head, i->weights->q_norm, cos_sin);
            continue;
        }
        float *k = qn_cpu_row(c, QN_BUFFER_K, token);
        rotate_heads(c, k, h->n_head_kv, i->weights->k_norm, cos_sin);
        const int32_t page = s->pages[i->group][position / QN_PAGE_POSITIONS];
        char *layer = kv->base + (size_t)page * kv->page_stride + i->slot * kv->layout.layer_bytes;
        c->kernels->kv_write(&kv->layout, layer, position % QN_PAGE_POSITIONS, k,
                             qn_cpu_row(c, QN_BUFFER_V, token));
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
        matmul(c, w, i, 0);
        break;
    case QN_OP_ROTATE:
        rotate(c, w, i);
        break;
    case QN_OP_ATTEND:
        qn_cpu_attend(c, w, i);
        break;
    case QN_OP_GLU:
        glu(c, w, i);
        break;
    case QN_OP_RESIDUAL:
        residual(c, w, i);
        break;
    case QN_OP_ROUTE:
        qn_cpu_route(c, w, i);
        break;
    case QN_OP_EXPERT_UP:
        qn_cpu_expert_up(c, w, i);
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
        output(c, w, i);
        break;
    case QN_OPS:
        break;
    }
}

static void walk(const qn_worker *w, void *user)
{
    qn_cpu *c = user;
    const qn_program *p = c->program;
    uint64_t before = c->profile != NULL ? qn_clock_ns() : 0;
    for (size_t i = 0; i < p->n_code; i++) {
        if (c->batch->n_outputs == 0 && p->code[i].op == QN_OP_OUTPUT_NORM)
            break; /* nobody asks for logits */
        run_instruction(c, w, &p->code[i]);
        if (!is_private(c, &p->code[i])) qn_worker_barrier(w);
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
