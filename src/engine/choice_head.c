/* choice_head.c: see choice_head.h. */
#include "engine/choice_head.h"

#include "base/checked.h"

#include <string.h>

static quern_status check(const quern_model *m, const quern_token *tokens, size_t n_tokens, quern_error *err)
{
    const quern_status s = qn_model_check_generates(m, err);
    for (size_t i = 0; i < n_tokens && s == QUERN_OK; i++)
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= m->hparams.n_vocab)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "choice %zu: token %d is not in the vocabulary of %u", i,
                           (int)tokens[i], m->hparams.n_vocab);
    return s;
}

/* Runs over an empty arena to measure, then over a real one. */
static void layout(qn_choice_head *h, const qn_matrix *output, qn_arena *a)
{
    h->tokens = qn_arena_alloc(a, h->n_tokens, sizeof *h->tokens);
    h->act = qn_arena_alloc(a, qn_act_row_bytes(qn_matrix_act_format(output->type), output->n_cols), 1);
}

quern_status qn_choice_head_init(qn_choice_head *h, const quern_model *model, const quern_token *tokens,
                                 size_t n_tokens, quern_error *err)
{
    const qn_matrix *output = &model->weights.output;
    qn_arena measuring = {0};
    *h = (qn_choice_head){.n_tokens = n_tokens};
    quern_status s = check(model, tokens, n_tokens, err);
    if (s != QUERN_OK) return s;
    layout(h, output, &measuring);
    s = qn_arena_create(&h->arena, measuring.used, "choices", err);
    if (s != QUERN_OK) return s;
    layout(h, output, &h->arena);
    memcpy(h->tokens, tokens, n_tokens * sizeof *tokens);
    return QUERN_OK;
}

void qn_choice_head_deinit(qn_choice_head *h)
{
    qn_arena_destroy(&h->arena);
    *h = (qn_choice_head){0};
}

/* The panel of rows that holds a token's, as a matrix of its own. */
static qn_matrix panel_of(const qn_matrix *output, size_t token)
{
    const size_t first = token / QN_PANEL_ROWS * QN_PANEL_ROWS;
    qn_matrix panel = *output;
    panel.data += first / QN_PANEL_ROWS * output->panel_bytes;
    panel.n_rows = qn_min_size(QN_PANEL_ROWS, output->n_rows - first);
    return panel;
}

void qn_choice_head_logits(qn_choice_head *h, const quern_model *model, const float *hidden, float *logits)
{
    const qn_matrix *output = &model->weights.output;
    const qn_kernels *k = model->kernels;
    k->act_row[qn_matrix_act_format(output->type)](h->act, hidden, output->n_cols);
    for (size_t i = 0; i < h->n_tokens; i++) {
        const size_t token = (size_t)h->tokens[i];
        const qn_matrix panel = panel_of(output, token);
        float rows[QN_PANEL_ROWS];
        const qn_matmul m = {.w = &panel, .act = h->act, .y = rows, .y_stride = panel.n_rows};
        k->matmul[output->type](&m, 0, 1, 0, 1);
        logits[i] = rows[token % QN_PANEL_ROWS];
    }
    const float scale = model->hparams.logit_scale, cap = model->hparams.final_softcap;
    if (scale != 1.0f) k->scale(logits, scale, h->n_tokens);
    if (cap != 0.0f) k->softcap(logits, cap, h->n_tokens);
}
