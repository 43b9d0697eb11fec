/* experts.c: mixture of experts. Tokens are sorted by expert once a layer; each expert's weights are
 * then read once for all of its tokens. A token's result is summed in the order in which it chose. */
#include "device/cpu/state.h"

#include "base/checked.h"

#include <string.h>

/* The best n_used of the softmax, greatest first, the lower number on ties; weights made to sum to 1, unless
 * the family leaves them. */
static void choose(qn_cpu *c, size_t token)
{
    const qn_hparams *h = c->program->hparams;
    float *scores = qn_cpu_row(c, QN_BUFFER_ROUTE, token);
    int32_t *experts = c->expert_of + token * h->n_expert_used;
    float *weights = c->expert_weight + token * h->n_expert_used;
    c->kernels->softmax(scores, h->n_expert);
    float sum = 0.0f;
    for (uint32_t k = 0; k < h->n_expert_used; k++) {
        int32_t best = -1;
        for (uint32_t e = 0; e < h->n_expert; e++) {
            bool taken = false;
            for (uint32_t earlier = 0; earlier < k; earlier++) taken |= experts[earlier] == (int32_t)e;
            if (!taken && (best < 0 || scores[e] > scores[best])) best = (int32_t)e;
        }
        experts[k] = best;
        weights[k] = scores[best];
        sum += weights[k];
    }
    for (uint32_t k = 0; k < h->n_expert_used && !h->arch->raw_expert_weights; k++)
        weights[k] = sum > 0.0f ? weights[k] / sum : 1.0f / (float)h->n_expert_used;
}

static void sort_by_expert(qn_cpu *c)
{
    const qn_hparams *h = c->program->hparams;
    const size_t slots = c->batch->n_tokens * h->n_expert_used;
    memset(c->expert_begin, 0, (h->n_expert + 1) * sizeof *c->expert_begin);
    for (size_t s = 0; s < slots; s++) c->expert_begin[c->expert_of[s] + 1]++;
    c->n_active_experts = 0;
    for (uint32_t e = 0; e < h->n_expert; e++) {
        if (c->expert_begin[e + 1] > 0) c->active_experts[c->n_active_experts++] = e;
        c->expert_begin[e + 1] += c->expert_begin[e];
    }
    for (size_t s = 0; s < slots; s++) { /* expert_begin[e] moves to the end of e's list ... */
        const uint32_t at = c->expert_begin[c->expert_of[s]]++;
        c->expert_tokens[at] = (int32_t)(s / h->n_expert_used);
        c->expert_slots[at] = (int32_t)s;
    }
    memmove(c->expert_begin + 1, c->expert_begin, h->n_expert * sizeof *c->expert_begin); /* ... and back */
    c->expert_begin[0] = 0;
}

void qn_cpu_route(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    (void)i;
    size_t begin, end;
    const bool is_one = c->batch->n_tokens == 1;
    QN_EACH_ROW (w, token, c->batch->n_tokens) {
        choose(c, token);
        if (is_one) sort_by_expert(c);
    }
    if (is_one) return;
    qn_worker_barrier(w);
    if (qn_worker_take(w, 1, 1, &begin, &end)) sort_by_expert(c);
}

static void multiply(const qn_cpu *c, const qn_expert_matrices *matrices, uint32_t expert, char *const *act,
                     const int32_t *act_index, qn_buffer_name out, size_t out_width, size_t panel,
                     size_t last)
{
    const qn_matrix one = qn_expert_matrix(matrices, expert);
    const qn_act_format format = qn_matrix_act_format(one.type);
    const uint32_t first = c->expert_begin[expert], n = c->expert_begin[expert + 1] - first;
    const qn_matmul m = {.w = &one,
                         .act = act[format],
                         .y = c->buffers[out],
                         .y_stride = out_width,
                         .act_index = act_index + first,
                         .y_index = c->expert_slots + first};
    for (size_t token = 0; token < n; token += QN_TOKEN_BLOCK)
        c->kernels->matmul[one.type](&m, panel, last, token, qn_min_size(n, token + QN_TOKEN_BLOCK));
}

void qn_cpu_expert_glu(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    const qn_layer_weights *l = i->weights;
    const size_t n_products = l->gated ? 2 : 1, panels = qn_matrix_panels(i->width),
                 all = n_products * panels, n_groups = (panels + QN_GLU_PANELS - 1) / QN_GLU_PANELS;
    const size_t items = c->n_active_experts * all, grain = qn_piece_of_panels(items, w->n_threads);
    size_t at, end;
    while (qn_worker_take(w, items, grain, &at, &end)) {
        while (at < end) {
            const size_t active = at / all, begin = active * all;
            const uint32_t expert = c->active_experts[active];
            const qn_glu_run run =
                qn_cpu_glu_run(n_products, panels, at - begin, qn_min_size(end - begin, all));
            const bool is_gate = l->gated && run.product == 0;
            multiply(c, is_gate ? &l->gate_exps : &l->up_exps, expert, c->act, c->expert_tokens,
                     is_gate ? QN_BUFFER_EXPERT_GATE : QN_BUFFER_EXPERT_UP, i->width, run.panel,
                     run.panel + run.n_panels);
            at += run.n_panels;
            if (!qn_cpu_glu_completes(c, active * n_groups + run.group, &run, n_products, panels)) continue;
            for (uint32_t k = c->expert_begin[expert]; k < c->expert_begin[expert + 1]; k++) {
                const size_t slot = (size_t)c->expert_slots[k], offset = slot * i->width;
                qn_cpu_glu_columns(c, w, i, l->gated ? c->buffers[QN_BUFFER_EXPERT_GATE] + offset : NULL,
                                   c->buffers[QN_BUFFER_EXPERT_UP] + offset, slot, run.group);
            }
        }
    }
}

void qn_cpu_expert_down(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    const size_t n_embd = c->program->hparams->n_embd;
    const size_t panels = qn_matrix_panels(n_embd), items = c->n_active_experts * panels,
                 grain = qn_piece_of_panels(items, w->n_threads);
    size_t at, end;
    while (qn_worker_take(w, items, grain, &at, &end)) {
        while (at < end) {
            const size_t panel = at % panels, last = qn_min_size(panels, panel + (end - at));
            multiply(c, &i->weights->down_exps, c->active_experts[at / panels], c->glu_act, c->expert_slots,
                     QN_BUFFER_EXPERT_DOWN, n_embd, panel, last);
            at += last - panel;
        }
    }
}

void qn_cpu_expert_sum(qn_cpu *c, const qn_worker *w, const qn_instruction *i)
{
    const size_t n_embd = c->program->hparams->n_embd, used = c->program->hparams->n_expert_used;
    QN_EACH_ROW (w, token, c->batch->n_tokens) {
        float *t = qn_cpu_row(c, QN_BUFFER_T, token);
        memset(t, 0, n_embd * sizeof *t);
        for (size_t k = 0; k < used; k++) {
            float *row = c->buffers[QN_BUFFER_EXPERT_DOWN] + (token * used + k) * n_embd;
            c->kernels->scale(row, c->expert_weight[token * used + k], n_embd);
            c->kernels->add(t, row, n_embd);
        }
        qn_cpu_add_residual(c, i, token);
    }
}
