/* products.c: instructions that are matrix products, and what is done to their results while these are
 * still in the cache of the core that made them. */
#include "device/cpu/state.h"

/* The activations that meet m, as the instruction before i left them: for all, or for each worker its own. */
static const char *act_rows(const qn_cpu *c, const qn_worker *w, const qn_instruction *i, const qn_matrix *m)
{
    const qn_act_format format = qn_matrix_act_format(m->type);
    if (i[-1].op == QN_OP_GLU) return c->glu_act[format];
    const bool is_own = qn_cpu_is_private(c, i - 1);
    return c->act[format] + (is_own ? (size_t)w->index * qn_act_row_bytes(format, m->n_cols) : 0);
}

/* Panels [begin, end) of a product for the tokens of one block. */
static void multiply(const qn_cpu *c, const qn_worker *w, const qn_instruction *i, const qn_product *r,
                     size_t first_row, size_t begin, size_t end, size_t token)
{
    const qn_matmul m = {.w = r->matrix,
                         .act = act_rows(c, w, i, r->matrix),
                         .y = qn_cpu_row(c, r->out, first_row),
                         .y_stride = c->program->buffer_width[r->out],
                         .bias = r->bias,
                         .add = r->add};
    c->kernels->matmul[r->matrix->type](&m, begin, end, token,
                                        qn_min_size(qn_cpu_n_rows(c, i), token + QN_TOKEN_BLOCK));
}

static size_t token_blocks(const qn_cpu *c, const qn_instruction *i)
{
    return (qn_cpu_n_rows(c, i) + QN_TOKEN_BLOCK - 1) / QN_TOKEN_BLOCK;
}

/* Pieces are runs of panels over all products of the instruction, block of tokens by block of tokens. */
void qn_cpu_matmul(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    size_t panels = 0, at, end;
    for (uint32_t k = 0; k < i->n_products; k++) panels += qn_matrix_panels(i->products[k].matrix->n_rows);
    const size_t grain = qn_piece_of_panels(panels, w->n_threads);
    while (qn_worker_take(w, token_blocks(c, i) * panels, grain, &at, &end)) {
        while (at < end) {
            size_t panel = at % panels;
            const qn_product *r = i->products;
            for (; panel >= qn_matrix_panels(r->matrix->n_rows); r++)
                panel -= qn_matrix_panels(r->matrix->n_rows);
            const size_t last = qn_min_size(qn_matrix_panels(r->matrix->n_rows), panel + (end - at));
            multiply(c, w, i, r, 0, panel, last, at / panels * QN_TOKEN_BLOCK);
            at += last - panel;
        }
    }
}

/* ---- gate and up ---- */

qn_glu_run qn_cpu_glu_run(size_t n_products, size_t panels, size_t at, size_t end)
{
    const size_t group = at / (n_products * QN_GLU_PANELS), first = group * QN_GLU_PANELS,
                 width = qn_min_size(QN_GLU_PANELS, panels - first), within = at - n_products * first,
                 column = within % width;
    return (qn_glu_run){.group = group,
                        .product = within / width,
                        .panel = first + column,
                        .n_panels = qn_min_size(width - column, end - at)};
}

bool qn_cpu_glu_completes(qn_cpu *c, size_t tile, const qn_glu_run *run, size_t n_products, size_t panels)
{
    const size_t whole = n_products * qn_min_size(QN_GLU_PANELS, panels - run->group * QN_GLU_PANELS);
    const uint32_t before =
        atomic_fetch_add_explicit(&c->glu_done[tile], (uint32_t)run->n_panels, memory_order_acq_rel);
    if (before + run->n_panels < whole) return false;
    atomic_store_explicit(&c->glu_done[tile], 0, memory_order_relaxed); /* for the next instruction */
    return true;
}

void qn_cpu_glu_columns(qn_cpu *c, const qn_worker *w, const qn_instruction *i, const float *gate,
                        const float *up, size_t row, size_t group)
{
    const size_t begin = group * QN_GLU_COLUMNS, end = qn_min_size(begin + QN_GLU_COLUMNS, i->width);
    float *y = qn_cpu_scratch_row(c, w);
    if (gate != NULL) {
        qn_glu_fn *fn = i->activation == QN_SILU ? c->kernels->silu_mul : c->kernels->gelu_mul;
        fn(y, gate + begin, up + begin, end - begin);
    } else {
        qn_activation_fn *fn = i->activation == QN_SILU ? c->kernels->silu : c->kernels->gelu;
        fn(y, up + begin, end - begin);
    }
    qn_cpu_prepare_columns(c, i, c->glu_act, row, y, begin, end);
}

/* The same for a token. */
static void token_columns(qn_cpu *c, const qn_worker *w, const qn_instruction *i, size_t t, size_t group)
{
    const float *gate = i->n_products == 2 ? qn_cpu_row(c, QN_BUFFER_GATE, t) : NULL;
    qn_cpu_glu_columns(c, w, i, gate, qn_cpu_row(c, QN_BUFFER_UP, t), t, group);
}

/* Few tokens: whoever completes columns of gate and up goes on with them. */
static void glu_at_once(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    const size_t panels = qn_matrix_panels(i->width), all = i->n_products * panels,
                 grain = qn_piece_of_panels(all, w->n_threads);
    size_t at, end;
    while (qn_worker_take(w, all, grain, &at, &end)) {
        while (at < end) {
            const qn_glu_run run = qn_cpu_glu_run(i->n_products, panels, at, end);
            multiply(c, w, i, &i->products[run.product], 0, run.panel, run.panel + run.n_panels, 0);
            at += run.n_panels;
            if (!qn_cpu_glu_completes(c, run.group, &run, i->n_products, panels)) continue;
            for (size_t t = 0; t < c->batch->n_tokens; t++) token_columns(c, w, i, t, run.group);
        }
    }
}

/* Many tokens: their columns of gate and up would push the activations out of the cache, so whole rows are
 * made ready afterwards. */
void qn_cpu_glu(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    const size_t n_groups = (i->width + QN_GLU_COLUMNS - 1) / QN_GLU_COLUMNS;
    if (c->batch->n_tokens <= QN_GLU_TOKENS) {
        glu_at_once(c, w, i);
        return;
    }
    qn_cpu_matmul(c, w, i);
    qn_worker_barrier(w);
    QN_EACH_ROW (w, t, c->batch->n_tokens)
        for (size_t group = 0; group < n_groups; group++) token_columns(c, w, i, t, group);
}

/* ---- logits ---- */

/* Blocks [begin, end) of a row: scaled and capped; the greatest of each is noted for the sampler. */
static void finish_logits(qn_cpu *c, const qn_instruction *i, size_t row, size_t begin, size_t end)
{
    const size_t n = c->program->buffer_width[QN_BUFFER_LOGITS];
    const float cap = c->program->hparams->final_softcap;
    for (size_t block = begin; block < end; block++) {
        float *y = qn_cpu_logits(c, row) + block * QN_LOGIT_BLOCK;
        const size_t width = qn_min_size(QN_LOGIT_BLOCK, n - block * QN_LOGIT_BLOCK);
        if (i->scale != 1.0f) c->kernels->scale(y, i->scale, width);
        if (cap != 0.0f) c->kernels->softcap(y, cap, width);
        c->logit_max[row * qn_cpu_logit_blocks(c->program) + block] =
            qn_greatest_logit(c->kernels->argmax, y, width);
    }
}

void qn_cpu_output(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    const size_t block_panels = QN_LOGIT_BLOCK / QN_PANEL_ROWS, n_outputs = c->batch->n_outputs;
    const size_t panels = qn_matrix_panels(i->products[0].matrix->n_rows),
                 blocks = qn_cpu_logit_blocks(c->program);
    const size_t grain = qn_max_size(1, qn_piece_of_panels(panels, w->n_threads) / block_panels);
    size_t at, end;
    while (qn_worker_take(w, token_blocks(c, i) * blocks, grain, &at, &end)) {
        while (at < end) {
            const size_t first = at / blocks * QN_TOKEN_BLOCK, begin = at % blocks,
                         last = qn_min_size(blocks, begin + (end - at));
            multiply(c, w, i, &i->products[0], c->batch->first_logits, begin * block_panels,
                     qn_min_size(panels, last * block_panels), first);
            for (size_t t = first; t < qn_min_size(n_outputs, first + QN_TOKEN_BLOCK); t++)
                finish_logits(c, i, c->batch->first_logits + t, begin, last);
            at += last - begin;
        }
    }
}
