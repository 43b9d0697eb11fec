/* matmul.h: what all matrix kernels share: where a token's activations lie and how its outputs are
 * stored. Inline: each instruction set compiles its own. */
#ifndef QN_KERNEL_MATMUL_H
#define QN_KERNEL_MATMUL_H

#include "base/checked.h"
#include "kernel/panel.h"

static inline const void *qn_matmul_act(const qn_matmul *m, size_t row_bytes, size_t token)
{
    const size_t row = m->act_index != NULL ? (size_t)m->act_index[token] : token;
    return (const char *)m->act + row * row_bytes;
}

static inline float *qn_matmul_out(const qn_matmul *m, size_t token)
{
    return m->y + (m->y_index != NULL ? (size_t)m->y_index[token] : token) * m->y_stride;
}

/* Stores the outputs of one panel for one token: y = [y +] (product [+ bias]). */
static inline void qn_matmul_store(const qn_matmul *m, size_t panel, size_t token,
                                   const float product[QN_PANEL_ROWS])
{
    const size_t row = panel * QN_PANEL_ROWS, n = qn_min_size(QN_PANEL_ROWS, m->w->n_rows - row);
    float *y = qn_matmul_out(m, token) + row;
    for (size_t r = 0; r < n; r++) {
        float v = product[r];
        if (m->bias != NULL) v += m->bias[row + r];
        y[r] = m->add ? y[r] + v : v;
    }
}

#endif
