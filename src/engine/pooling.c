/* pooling.c: see pooling.h. */
#include "engine/pooling.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <math.h>
#include <string.h>

quern_pooling qn_model_pooling(const quern_model *m, quern_pooling pooling)
{
    if (pooling != QUERN_POOLING_DEFAULT) return pooling;
    if (m->hparams.pooling != QUERN_POOLING_DEFAULT) return m->hparams.pooling;
    if (m->weights.head.n_scores > 0) return QUERN_POOLING_RANK;
    return m->hparams.causal ? QUERN_POOLING_LAST : QUERN_POOLING_MEAN;
}

size_t quern_embed_size(const quern_model *m, quern_pooling pooling, size_t n_tokens)
{
    size_t n;
    pooling = qn_model_pooling(m, pooling);
    if (pooling == QUERN_POOLING_RANK) return m->weights.head.n_scores;
    if (pooling != QUERN_POOLING_NONE) return m->hparams.n_embd;
    return qn_mul_size(m->hparams.n_embd, n_tokens, &n) ? n : SIZE_MAX;
}

/* ---- life -------------------------------------------------------------------------------------- */

static quern_status check(const quern_model *model, quern_pooling pooling, quern_error *err)
{
    if (pooling < QUERN_POOLING_NONE || pooling > QUERN_POOLING_RANK)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "pooling %d: unknown", (int)pooling);
    if (pooling == QUERN_POOLING_RANK && model->weights.head.n_scores == 0)
        return qn_fail(err, QUERN_ERR_UNSUPPORTED,
                       "%s: the model has no classification head ('cls.weight', 'cls.output.weight'), so it "
                       "gives no scores",
                       model->path);
    return QUERN_OK;
}

quern_status qn_pooler_init(qn_pooler *p, const quern_model *model, quern_pooling pooling, bool normalize,
                            quern_error *err)
{
    *p = (qn_pooler){.pooling = qn_model_pooling(model, pooling), .normalize = normalize};
    const quern_status s = check(model, p->pooling, err);
    if (s != QUERN_OK) return s;
    p->wants_last =
        model->hparams.causal && (p->pooling == QUERN_POOLING_LAST || p->pooling == QUERN_POOLING_RANK);
    if (p->pooling == QUERN_POOLING_RANK) return qn_rank_scratch_init(&p->rank, model, err);
    if (p->pooling != QUERN_POOLING_MEAN) return QUERN_OK;
    p->sum = qn_calloc(model->hparams.n_embd, sizeof *p->sum);
    return p->sum != NULL ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "embedding: no memory");
}

quern_status qn_pooler_init_choices(qn_pooler *p, const quern_model *model, const quern_token *choices,
                                    size_t n_choices, quern_error *err)
{
    *p = (qn_pooler){.pooling = QUERN_POOLING_LAST, .wants_last = true};
    return qn_choice_head_init(&p->choices, model, choices, n_choices, err);
}

size_t qn_pooler_size(const qn_pooler *p, const quern_model *model, size_t n_tokens)
{
    return p->choices.n_tokens > 0 ? p->choices.n_tokens : quern_embed_size(model, p->pooling, n_tokens);
}

void qn_pooler_deinit(qn_pooler *p)
{
    qn_choice_head_deinit(&p->choices);
    qn_rank_scratch_deinit(&p->rank);
    qn_free(p->sum);
    *p = (qn_pooler){0};
}

/* ---- a text ------------------------------------------------------------------------------------ */

void qn_pooler_begin(qn_pooler *p, const quern_model *model, size_t n_tokens, float *out)
{
    p->model = model;
    p->n_tokens = n_tokens;
    p->out = out;
}

/* The vector at out is complete. */
static void finish_vector(qn_pooler *p)
{
    const size_t n_embd = p->model->hparams.n_embd;
    float *x = p->out;
    double squares = 0;
    p->out += n_embd;
    if (!p->normalize) return;
    for (size_t i = 0; i < n_embd; i++) squares += (double)x[i] * (double)x[i];
    const double factor = squares > 0 ? 1 / sqrt(squares) : 1;
    for (size_t i = 0; i < n_embd; i++) x[i] = (float)(x[i] * factor);
}

static void put_vector(qn_pooler *p, const float *x)
{
    memcpy(p->out, x, p->model->hparams.n_embd * sizeof *x);
    finish_vector(p);
}

static void add_to_mean(qn_pooler *p, size_t position, const float *x)
{
    const size_t n_embd = p->model->hparams.n_embd;
    for (size_t i = 0; i < n_embd; i++) p->sum[i] = (position == 0 ? 0 : p->sum[i]) + (double)x[i];
    if (position + 1 < p->n_tokens) return;
    for (size_t i = 0; i < n_embd; i++) p->out[i] = (float)(p->sum[i] / (double)p->n_tokens);
    finish_vector(p);
}

static void put_last(qn_pooler *p, const float *hidden)
{
    if (p->choices.n_tokens > 0) qn_choice_head_logits(&p->choices, p->model, hidden, p->out);
    else put_vector(p, hidden);
}

void qn_pooler_add(qn_pooler *p, size_t position, const float *hidden)
{
    const bool is_first = position == 0, is_last = position + 1 == p->n_tokens;
    switch (p->pooling) {
    case QUERN_POOLING_MEAN:
        add_to_mean(p, position, hidden);
        break;
    case QUERN_POOLING_CLS:
        if (is_first) put_vector(p, hidden);
        break;
    case QUERN_POOLING_LAST:
        if (is_last) put_last(p, hidden);
        break;
    case QUERN_POOLING_RANK:
        if (p->model->hparams.causal ? is_last : is_first) qn_rank_scores(&p->rank, p->model, hidden, p->out);
        break;
    default:
        put_vector(p, hidden);
    }
}
