/* compile.c: from a row of the architecture table and the bound weights to a program. */
#include "model/program.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <string.h>

typedef struct compiler {
    qn_program *p;
    const qn_hparams *h;
    const qn_weights *w;
    size_t capacity;
    bool failed;
    qn_instruction spare; /* written to after a failure, never read */
    uint32_t layer;
} compiler;

static qn_instruction *emit(compiler *c, qn_op op)
{
    qn_program *p = c->p;
    if (c->failed ||
        !qn_grow(&p->code, &c->capacity, p->n_code + 1, SIZE_MAX / sizeof *p->code, sizeof *p->code)) {
        c->failed = true;
        c->spare = (qn_instruction){.op = op};
        return &c->spare;
    }
    p->code[p->n_code] = (qn_instruction){.op = op, .layer = c->layer, .in = QN_BUFFER_NONE, .scale = 1.0f};
    return &p->code[p->n_code++];
}

static void use(compiler *c, qn_buffer_name buffer, size_t width)
{
    c->p->buffer_width[buffer] = qn_max_size(c->p->buffer_width[buffer], width);
}

static unsigned format_bit(const qn_matrix *m)
{
    return 1u << qn_matrix_act_format(m->type);
}

static void use_formats(size_t *widths, unsigned formats, size_t width)
{
    for (unsigned f = 0; f < QN_ACT_FORMATS; f++)
        if (formats >> f & 1) widths[f] = qn_max_size(widths[f], width);
}

static qn_instruction *norm(compiler *c, qn_op op, qn_norm weights, unsigned formats)
{
    qn_instruction *i = emit(c, op);
    i->in = QN_BUFFER_X;
    i->norm = weights;
    i->width = c->h->n_embd;
    i->act_formats = formats;
    use_formats(c->p->act_width, formats, i->width);
    return i;
}

static void product(compiler *c, qn_instruction *i, const qn_matrix *m, const float *bias, qn_buffer_name out,
                    bool add)
{
    i->products[i->n_products++] = (qn_product){m, bias, out, add};
    use(c, out, m->n_rows);
}

/* A block's last product: straight onto the residual stream, or through T where a norm or a scale
 * stands between. */
static void add_to_residual(compiler *c, const qn_matrix *m, const float *bias, qn_norm post_norm)
{
    const bool direct = post_norm.weight == NULL && c->h->residual_scale == 1.0f;
    qn_instruction *i = emit(c, QN_OP_MATMUL);
    product(c, i, m, bias, direct ? QN_BUFFER_X : QN_BUFFER_T, direct);
    if (direct) return;
    i = emit(c, QN_OP_RESIDUAL);
    i->in = QN_BUFFER_T;
    i->norm = post_norm;
    i->scale = c->h->residual_scale;
    i->width = c->h->n_embd;
}

static unsigned attention_formats(const qn_layer_weights *l)
{
    return format_bit(&l->q) | format_bit(&l->k) | format_bit(&l->v);
}

/* Behind the norm that makes its input ready. */
static void attention(compiler *c, const qn_layer_weights *l)
{
    const qn_hparams *h = c->h;
    qn_instruction *i = emit(c, QN_OP_MATMUL);
    product(c, i, &l->q, l->q_bias, QN_BUFFER_Q, false);
    product(c, i, &l->k, l->k_bias, QN_BUFFER_K, false);
    product(c, i, &l->v, l->v_bias, QN_BUFFER_V, false);

    const bool windowed = qn_layer_has_window(h, c->layer);
    const uint32_t group = windowed ? 1 : 0, slot = h->causal ? c->p->groups[group].n_layers : 0;
    c->p->groups[group] = (qn_cache_group){slot + 1, windowed ? h->window : 0};
    for (int pass = 0; pass < 2; pass++) {
        i = emit(c, pass == 0 ? QN_OP_ROTATE : QN_OP_ATTEND);
        i->windowed = windowed, i->group = group, i->slot = slot, i->weights = l;
    }
    i = emit(c, QN_OP_PREPARE);
    i->in = QN_BUFFER_A;
    i->width = (size_t)h->n_head * h->head_dim_v;
    i->act_formats = format_bit(&l->o);
    use(c, QN_BUFFER_A, i->width);
    use_formats(c->p->act_width, i->act_formats, i->width);
    add_to_residual(c, &l->o, l->o_bias, l->attn_post_norm);
}

static unsigned feed_forward_formats(const qn_layer_weights *l)
{
    if (l->has_experts)
        return format_bit(&l->router) | format_bit(&l->up_exps.first) |
               (l->gated ? format_bit(&l->gate_exps.first) : 0);
    return format_bit(&l->up) | (l->gated ? format_bit(&l->gate) : 0);
}

static void dense_feed_forward(compiler *c, const qn_layer_weights *l)
{
    qn_instruction *i = emit(c, QN_OP_GLU);
    if (l->gated) product(c, i, &l->gate, l->gate_bias, QN_BUFFER_GATE, false);
    product(c, i, &l->up, l->up_bias, QN_BUFFER_UP, false);
    i->width = c->h->n_ff;
    i->activation = c->h->arch->activation;
    i->act_formats = format_bit(&l->down);
    use_formats(c->p->glu_act_width, i->act_formats, i->width);
    add_to_residual(c, &l->down, l->down_bias, l->ffn_post_norm);
}

static qn_instruction *expert_op(compiler *c, qn_op op, const qn_layer_weights *l)
{
    qn_instruction *i = emit(c, op);
    i->weights = l;
    i->width = c->h->n_ff_expert;
    i->activation = c->h->arch->activation;
    i->act_formats = format_bit(&l->down_exps.first);
    return i;
}

/* Mixture of experts (Shazeer et al. 2017, arXiv:1701.06538; as in Mixtral): softmax over the router's
 * scores, the best few, their weights made to sum to one or left as they are. */
static void expert_feed_forward(compiler *c, const qn_layer_weights *l)
{
    const qn_hparams *h = c->h;
    const size_t used = h->n_expert_used;
    product(c, emit(c, QN_OP_MATMUL), &l->router, NULL, QN_BUFFER_ROUTE, false);
    expert_op(c, QN_OP_ROUTE, l);
    expert_op(c, QN_OP_EXPERT_GLU, l);
    expert_op(c, QN_OP_EXPERT_DOWN, l);
    qn_instruction *sum = expert_op(c, QN_OP_EXPERT_SUM, l);
    sum->in = QN_BUFFER_T;
    sum->norm = l->ffn_post_norm;
    sum->scale = h->residual_scale;
    sum->width = h->n_embd;
    if (l->gated) use(c, QN_BUFFER_EXPERT_GATE, used * h->n_ff_expert);
    use(c, QN_BUFFER_EXPERT_UP, used * h->n_ff_expert);
    use(c, QN_BUFFER_EXPERT_DOWN, used * h->n_embd);
    use(c, QN_BUFFER_T, h->n_embd);
    use_formats(c->p->slot_act_width, format_bit(&l->down_exps.first), h->n_ff_expert);
}

/* Behind the norm that makes its input ready. */
static void feed_forward(compiler *c, const qn_layer_weights *l)
{
    if (l->has_experts) expert_feed_forward(c, l);
    else dense_feed_forward(c, l);
}

static void decoder_layer(compiler *c, const qn_layer_weights *l)
{
    norm(c, QN_OP_NORM, l->attn_norm, attention_formats(l));
    attention(c, l);
    norm(c, QN_OP_NORM, l->ffn_norm, feed_forward_formats(l));
    feed_forward(c, l);
}

/* The norm of a sum is what the next block works on and what is added to that block's result. `entry` is that
 * of the layer before, or of the embeddings. */
static void encoder_layer(compiler *c, const qn_layer_weights *l, qn_norm entry)
{
    qn_instruction *i = norm(c, QN_OP_NORM, entry, attention_formats(l));
    const bool twice = l->attn_second_norm.weight != NULL; /* the layer's input is added once more */
    i->keep = true;
    i->copy = twice;
    attention(c, l);
    if (twice) {
        use(c, QN_BUFFER_T, c->h->n_embd);
        norm(c, QN_OP_NORM, l->attn_sum_norm, 0)->keep = true;
        i = emit(c, QN_OP_RESIDUAL);
        i->in = QN_BUFFER_T;
        i->width = c->h->n_embd;
    }
    norm(c, QN_OP_NORM, twice ? l->attn_second_norm : l->attn_sum_norm, feed_forward_formats(l))->keep = true;
    feed_forward(c, l);
}

static void encoder(compiler *c)
{
    qn_norm last = c->w->embedding_norm;
    for (c->layer = 0; c->layer < c->h->n_layer; c->layer++) {
        encoder_layer(c, &c->w->layers[c->layer], last);
        last = c->w->layers[c->layer].ffn_sum_norm;
    }
    c->layer = QN_NO_LAYER;
    norm(c, QN_OP_HIDDEN, last, 0);
}

static void decoder(compiler *c)
{
    for (c->layer = 0; c->layer < c->h->n_layer; c->layer++) decoder_layer(c, &c->w->layers[c->layer]);
    c->layer = QN_NO_LAYER;
    norm(c, QN_OP_OUTPUT_NORM, c->w->output_norm, format_bit(&c->w->output));
    qn_instruction *i = emit(c, QN_OP_OUTPUT);
    i->scale = c->h->logit_scale;
    product(c, i, &c->w->output, NULL, QN_BUFFER_LOGITS, false);
    norm(c, QN_OP_HIDDEN, c->w->output_norm, 0);
}

quern_status qn_program_compile(qn_program *p, const qn_hparams *h, const qn_weights *w, quern_error *err)
{
    memset(p, 0, sizeof *p);
    p->hparams = h;
    p->weights = w;
    compiler c = {.p = p, .h = h, .w = w, .layer = QN_NO_LAYER};
    qn_instruction *i = emit(&c, QN_OP_EMBED);
    i->scale = h->embed_scale;
    use(&c, QN_BUFFER_X, h->n_embd);
    if (h->arch->encoder) encoder(&c);
    else decoder(&c);
    return c.failed ? qn_fail(err, QUERN_ERR_NOMEM, "program: no memory") : QUERN_OK;
}

void qn_program_deinit(qn_program *p)
{
    qn_free(p->code);
    memset(p, 0, sizeof *p);
}
