/* explain.c: a program in words, for people who want to see what runs. */
#include "model/program.h"

#include <stdio.h>
#include <string.h>

const char *qn_op_name(qn_op op)
{
    static const char *const names[QN_OPS] = {[QN_OP_EMBED] = "embed",
                                              [QN_OP_NORM] = "norm",
                                              [QN_OP_PREPARE] = "prepare",
                                              [QN_OP_MATMUL] = "matmul",
                                              [QN_OP_ROTATE] = "rotate",
                                              [QN_OP_ATTEND] = "attend",
                                              [QN_OP_GLU] = "glu",
                                              [QN_OP_RESIDUAL] = "residual",
                                              [QN_OP_ROUTE] = "route",
                                              [QN_OP_EXPERT_GLU] = "expert_glu",
                                              [QN_OP_EXPERT_DOWN] = "expert_down",
                                              [QN_OP_EXPERT_SUM] = "expert_sum",
                                              [QN_OP_OUTPUT_NORM] = "output_norm",
                                              [QN_OP_OUTPUT] = "output",
                                              [QN_OP_HIDDEN] = "hidden"};
    return op < QN_OPS ? names[op] : "?";
}

const char *qn_buffer_label(qn_buffer_name buffer)
{
    static const char *const labels[QN_BUFFERS + 1] = {[QN_BUFFER_X] = "x",
                                                       [QN_BUFFER_Q] = "q",
                                                       [QN_BUFFER_K] = "k",
                                                       [QN_BUFFER_V] = "v",
                                                       [QN_BUFFER_A] = "a",
                                                       [QN_BUFFER_GATE] = "gate",
                                                       [QN_BUFFER_UP] = "up",
                                                       [QN_BUFFER_T] = "t",
                                                       [QN_BUFFER_ROUTE] = "route",
                                                       [QN_BUFFER_EXPERT_GATE] = "expert_gate",
                                                       [QN_BUFFER_EXPERT_UP] = "expert_up",
                                                       [QN_BUFFER_EXPERT_DOWN] = "expert_down",
                                                       [QN_BUFFER_LOGITS] = "logits",
                                                       [QN_BUFFER_NONE] = "-"};
    return buffer <= QN_BUFFERS ? labels[buffer] : "?";
}

static const char *type_name(const qn_matrix *m)
{
    return qn_tensor_type_get((uint32_t)m->type)->name;
}

static void print_formats(unsigned formats, qn_buffer *out)
{
    static const char *const names[QN_ACT_FORMATS] = {"f32", "q8/32", "q8/256"};
    const char *separator = " act[";
    for (unsigned f = 0; f < QN_ACT_FORMATS; f++)
        if (formats >> f & 1) qn_buffer_printf(out, "%s%s", separator, names[f]), separator = ", ";
    qn_buffer_puts(out, "]");
}

static void print_products(const qn_instruction *i, qn_buffer *out)
{
    for (uint32_t k = 0; k < i->n_products; k++) {
        const qn_product *r = &i->products[k];
        qn_buffer_printf(out, "%s %s %s %s[%zu x %zu]%s", k > 0 ? "," : "", qn_buffer_label(r->out),
                         r->add ? "+=" : "=", type_name(r->matrix), r->matrix->n_rows, r->matrix->n_cols,
                         r->bias != NULL ? " + bias" : "");
    }
}

static void print_experts(const qn_expert_matrices *m, const qn_hparams *h, qn_buffer *out)
{
    qn_buffer_printf(out, " %u of %u %s[%zu x %zu]", h->n_expert_used, h->n_expert, type_name(&m->first),
                     m->first.n_rows, m->first.n_cols);
}

static const char *norm_name(const qn_hparams *h)
{
    return h->arch->layer_norm ? "layer_norm" : "rms_norm";
}

static void print_glu(const qn_instruction *i, bool gated, const char *gate, const char *up, qn_buffer *out)
{
    const char *activation = i->activation == QN_SILU ? "silu" : "gelu";
    qn_buffer_putc(out, ';');
    print_formats(i->act_formats, out);
    if (gated) qn_buffer_printf(out, " = %s(%s) * %s", activation, gate, up);
    else qn_buffer_printf(out, " = %s(%s)", activation, up);
}

/* Also PREPARE and HIDDEN. */
static void print_norm(const qn_hparams *h, const qn_instruction *i, qn_buffer *out)
{
    const char *separator = "";
    if (i->keep || i->op == QN_OP_HIDDEN) qn_buffer_puts(out, " x"), separator = ",";
    if (i->copy) qn_buffer_puts(out, ", t");
    if (i->act_formats != 0) qn_buffer_puts(out, separator), print_formats(i->act_formats, out);
    qn_buffer_printf(out, " = %s(%s)", i->op == QN_OP_PREPARE ? "" : norm_name(h), qn_buffer_label(i->in));
}

static void print_embed(const qn_program *p, const qn_instruction *i, qn_buffer *out)
{
    const qn_hparams *h = p->hparams;
    const qn_weights *w = p->weights;
    qn_buffer_printf(out, " x = %s[%u x %u] row", qn_tensor_type_get((uint32_t)w->embedding->type)->name,
                     h->n_vocab, h->n_embd);
    if (i->scale != 1.0f) qn_buffer_printf(out, " * %g", (double)i->scale);
    if (w->token_type != NULL) qn_buffer_puts(out, " + first token type");
    if (w->position_embedding != NULL)
        qn_buffer_printf(out, " + %s[%u x %u] row of the position",
                         qn_tensor_type_get((uint32_t)w->position_embedding->type)->name, h->n_ctx_train,
                         h->n_embd);
}

static void print_rotate(const qn_hparams *h, const qn_instruction *i, qn_buffer *out)
{
    qn_buffer_printf(out, " q, k%s", i->weights->q_norm.weight != NULL ? " (normed)" : "");
    if (h->n_rot > 0)
        qn_buffer_printf(out, " by %s pairs of %u of %u dimensions, base %g",
                         h->arch->rope_neox ? "half" : "adjacent", h->n_rot, h->head_dim_k,
                         (double)(i->windowed ? h->rope_window.freq_base : h->rope.freq_base));
    else qn_buffer_puts(out, " stay");
    qn_buffer_printf(out, "; k, v to cache %u:%u", i->group, i->slot);
}

static void print_residual(const qn_hparams *h, const qn_instruction *i, const char *what, qn_buffer *out)
{
    if (i->norm.weight != NULL) qn_buffer_printf(out, " x += %s(%s)", norm_name(h), what);
    else qn_buffer_printf(out, " x += %s", what);
    if (i->scale != 1.0f) qn_buffer_printf(out, " * %g", (double)i->scale);
}

static void print_instruction(const qn_program *p, const qn_instruction *i, qn_buffer *out)
{
    const qn_hparams *h = p->hparams;
    qn_buffer_printf(out, "  %-12s", qn_op_name(i->op));
    switch (i->op) {
    case QN_OP_EMBED:
        print_embed(p, i, out);
        break;
    case QN_OP_NORM:
    case QN_OP_OUTPUT_NORM:
    case QN_OP_PREPARE:
    case QN_OP_HIDDEN:
        print_norm(h, i, out);
        break;
    case QN_OP_GLU:
        print_products(i, out);
        print_glu(i, i->n_products == 2, "gate", "up", out);
        break;
    case QN_OP_MATMUL:
    case QN_OP_OUTPUT:
        print_products(i, out);
        break;
    case QN_OP_ROTATE:
        print_rotate(h, i, out);
        break;
    case QN_OP_ATTEND:
        qn_buffer_printf(out, " a = %u heads over %u, scale %g", h->n_head, h->n_head_kv,
                         (double)h->attn_scale);
        if (h->attn_softcap > 0) qn_buffer_printf(out, ", soft cap %g", (double)h->attn_softcap);
        if (i->windowed) qn_buffer_printf(out, ", window %u", h->window);
        if (!h->causal) qn_buffer_puts(out, ", both ways");
        if (h->alibi_max_bias > 0) qn_buffer_puts(out, ", less with distance");
        break;
    case QN_OP_RESIDUAL:
        print_residual(h, i, "t", out);
        break;
    case QN_OP_ROUTE:
        qn_buffer_printf(out, " best %u of softmax(route)%s", h->n_expert_used,
                         h->arch->raw_expert_weights ? "" : ", weights to sum 1");
        break;
    case QN_OP_EXPERT_GLU:
        print_experts(&i->weights->up_exps, h, out);
        print_glu(i, i->weights->gated, "expert_gate", "expert_up", out);
        break;
    case QN_OP_EXPERT_DOWN:
        print_experts(&i->weights->down_exps, h, out);
        break;
    case QN_OP_EXPERT_SUM:
        print_residual(h, i, "sum of weight * expert_down", out);
        break;
    case QN_OPS:
        break;
    }
    qn_buffer_putc(out, '\n');
}

/* The instructions of layer `layer`, as text. */
static void print_layer(const qn_program *p, uint32_t layer, qn_buffer *out)
{
    for (size_t i = 0; i < p->n_code; i++)
        if (p->code[i].layer == layer) print_instruction(p, &p->code[i], out);
}

/* Two layers print alike but for their slot in the cache. */
static bool layers_alike(const qn_program *p, uint32_t a, uint32_t b)
{
    size_t i = 0, k = 0;
    for (;; i++, k++) {
        while (i < p->n_code && p->code[i].layer != a) i++;
        while (k < p->n_code && p->code[k].layer != b) k++;
        if (i == p->n_code || k == p->n_code) return i == p->n_code && k == p->n_code;
        const qn_instruction *x = &p->code[i], *y = &p->code[k];
        if (x->op != y->op || x->group != y->group || x->act_formats != y->act_formats ||
            x->n_products != y->n_products)
            return false;
        for (uint32_t r = 0; r < x->n_products; r++)
            if (x->products[r].matrix->type != y->products[r].matrix->type) return false;
    }
}

void qn_program_explain(const qn_program *p, bool fold, qn_buffer *out)
{
    const qn_hparams *h = p->hparams;
    qn_buffer_printf(out, "%s: %u layers, %u wide, %u tokens, %zu instructions\n", h->arch->name, h->n_layer,
                     h->n_embd, h->n_vocab, p->n_code);
    if (p->n_code > 0) print_instruction(p, &p->code[0], out);
    for (uint32_t layer = 0; layer < h->n_layer;) {
        uint32_t last = layer;
        while (fold && last + 1 < h->n_layer && layers_alike(p, layer, last + 1)) last++;
        if (last > layer) qn_buffer_printf(out, "layers %u to %u:\n", layer, last);
        else qn_buffer_printf(out, "layer %u:\n", layer);
        print_layer(p, layer, out);
        layer = last + 1;
    }
    qn_buffer_puts(out, "output:\n");
    for (size_t i = 1; i < p->n_code; i++)
        if (p->code[i].layer == QN_NO_LAYER) print_instruction(p, &p->code[i], out);
}
