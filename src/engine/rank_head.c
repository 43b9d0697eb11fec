/* rank_head.c: see rank_head.h. One row is multiplied by a matrix or two, which is nothing beside the layers
 * that made it, so the calling thread does it alone. */
#include "engine/rank_head.h"

#include "base/checked.h"

#include <string.h>

/* Runs over an empty arena to measure, then over a real one. */
static void layout(qn_rank_scratch *s, const quern_model *model, qn_arena *a)
{
    const qn_rank_head *head = &model->weights.head;
    const size_t n_embd = model->hparams.n_embd;
    const qn_matrix *matrices[] = {&head->dense, &head->out};
    for (size_t i = 0; i < 2; i++) {
        if (matrices[i]->n_rows == 0) continue;
        const qn_act_format format = qn_matrix_act_format(matrices[i]->type);
        s->act[format] = qn_arena_alloc(a, qn_act_row_bytes(format, n_embd), 1);
    }
    s->dense = qn_arena_alloc(a, qn_max_size(n_embd, head->dense.n_rows), sizeof *s->dense);
}

quern_status qn_rank_scratch_init(qn_rank_scratch *s, const quern_model *model, quern_error *err)
{
    qn_arena measuring = {0};
    *s = (qn_rank_scratch){0};
    layout(s, model, &measuring);
    const quern_status status = qn_arena_create(&s->arena, measuring.used, "classification head", err);
    if (status == QUERN_OK) layout(s, model, &s->arena);
    return status;
}

void qn_rank_scratch_deinit(qn_rank_scratch *s)
{
    qn_arena_destroy(&s->arena);
    memset(s, 0, sizeof *s);
}

static void multiply(qn_rank_scratch *s, const qn_kernels *k, const qn_matrix *w, const float *bias,
                     const float *x, float *y)
{
    const qn_act_format format = qn_matrix_act_format(w->type);
    k->act_row[format](s->act[format], x, w->n_cols);
    const qn_matmul m = {.w = w, .act = s->act[format], .y = y, .y_stride = w->n_rows, .bias = bias};
    k->matmul[w->type](&m, 0, qn_matrix_panels(w->n_rows), 0, 1);
}

void qn_rank_scores(qn_rank_scratch *s, const quern_model *model, const float *hidden, float *scores)
{
    const qn_rank_head *head = &model->weights.head;
    const qn_kernels *k = model->kernels;
    if (head->dense.n_rows > 0) {
        multiply(s, k, &head->dense, head->dense_bias, hidden, s->dense);
        k->softcap(s->dense, 1.0f, head->dense.n_rows); /* 1 * tanh(x / 1) */
        hidden = s->dense;
    }
    if (head->out.n_rows > 0) multiply(s, k, &head->out, head->out_bias, hidden, scores);
    else memcpy(scores, hidden, head->n_scores * sizeof *scores);
    if (model->hparams.causal && head->n_scores == 2) k->softmax(scores, 2); /* of yes and no */
}
