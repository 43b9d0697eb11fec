/* matmul_legacy.c: the reference for types with one scale per 32 columns. It reads the panels that the
 * fast kernels read. Per output, blocks ascending:
 *
 *     acc = fma(d_w * d_a, float(sum of w * a), acc)          w with its zero point taken off
 *     acc = fma(m_w, d_a * sum of a, acc)                     types with a minimum only
 */
#include "base/float16.h"
#include "kernel/matmul.h"
#include "kernel/table_matrix.h"
#include "quant/codebooks.h"

#include <math.h>

/* 16 rows by 32 columns, as numbers. */
typedef struct qn_weights_32 {
    int8_t w[16][32];
    float d[16], m[16];
} qn_weights_32;

typedef void qn_expand_32_fn(qn_weights_32 *e, const void *panel_block);

static int nibble(const uint8_t low[4][64], size_t r, size_t k)
{
    return low[k / 4 % 4][4 * r + k % 4] >> (k < 16 ? 0 : 4) & 15;
}
static int fifth_bit(const uint8_t fifth[64], size_t r, size_t k)
{
    return fifth[4 * r + k % 4] >> k / 4 & 1;
}

#define FOR_EACH_WEIGHT                                                                                      \
    for (size_t r = 0; r < 16; r++)                                                                          \
        for (size_t k = 0; k < 32; k++)

static void expand_scales(float out[16], const uint16_t in[16])
{
    for (size_t r = 0; r < 16; r++) out[r] = qn_f16_to_f32(in[r]);
}

static void expand_q4_0(qn_weights_32 *e, const void *panel_block)
{
    const qn_panel_q4_0 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = (int8_t)(nibble(p->low, r, k) - 8);
    expand_scales(e->d, p->d);
}

static void expand_iq4_nl(qn_weights_32 *e, const void *panel_block)
{
    const qn_panel_q4_0 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = qn_iq4_values[nibble(p->low, r, k)];
    expand_scales(e->d, p->d);
}

static void expand_q4_1(qn_weights_32 *e, const void *panel_block)
{
    const qn_panel_q4_1 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = (int8_t)nibble(p->low, r, k);
    expand_scales(e->d, p->d);
    expand_scales(e->m, p->m);
}

static void expand_q5_0(qn_weights_32 *e, const void *panel_block)
{
    const qn_panel_q5_0 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = (int8_t)((nibble(p->low, r, k) | fifth_bit(p->fifth, r, k) << 4) - 16);
    expand_scales(e->d, p->d);
}

static void expand_q5_1(qn_weights_32 *e, const void *panel_block)
{
    const qn_panel_q5_1 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = (int8_t)(nibble(p->low, r, k) | fifth_bit(p->fifth, r, k) << 4);
    expand_scales(e->d, p->d);
    expand_scales(e->m, p->m);
}

static void expand_q8_0(qn_weights_32 *e, const void *panel_block)
{
    const qn_panel_q8_0 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = (int8_t)p->byte[k / 4][4 * r + k % 4];
    expand_scales(e->d, p->d);
}

static void expand_mxfp4(qn_weights_32 *e, const void *panel_block)
{
    const qn_panel_mxfp4 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = qn_fp4_values[nibble(p->low, r, k)];
    for (size_t r = 0; r < 16; r++) e->d[r] = qn_e8m0_half(p->e[r]);
}

static void multiply_block(float acc[16], const qn_weights_32 *e, const qn_act_q8_32 *a, bool has_min)
{
    for (size_t r = 0; r < 16; r++) {
        int32_t dot = 0; /* at most 32 * 128 * 127 */
        for (size_t k = 0; k < 32; k++) dot += e->w[r][k] * a->q[k];
        acc[r] = fmaf(e->d[r] * a->scale, (float)dot, acc[r]);
        if (has_min) acc[r] = fmaf(e->m[r], a->scaled_sum, acc[r]);
    }
}

/* A block of weights is expanded once for up to TOKENS tokens. */
static void multiply(const qn_matmul *m, size_t panel_begin, size_t panel_end, size_t token_begin,
                     size_t token_end, qn_expand_32_fn *expand, size_t block_bytes, bool has_min)
{
    enum { TOKENS = 64 };
    const size_t n_blocks = m->w->n_cols / 32, row_bytes = qn_act_row_bytes(QN_ACT_Q8_32, m->w->n_cols);
    for (size_t t0 = token_begin; t0 < token_end; t0 += TOKENS) {
        const size_t n_tokens = qn_min_size(TOKENS, token_end - t0);
        for (size_t panel = panel_begin; panel < panel_end; panel++) {
            const uint8_t *w = m->w->data + panel * m->w->panel_bytes;
            float acc[TOKENS][16] = {{0}};
            for (size_t b = 0; b < n_blocks; b++) {
                qn_weights_32 e;
                expand(&e, w + b * block_bytes);
                for (size_t t = 0; t < n_tokens; t++)
                    multiply_block(acc[t], &e, (const qn_act_q8_32 *)qn_matmul_act(m, row_bytes, t0 + t) + b,
                                   has_min);
            }
            for (size_t t = 0; t < n_tokens; t++) qn_matmul_store(m, panel, t0 + t, acc[t]);
        }
    }
}

#define QN_DEFINE_MATMUL(name, panel_type, has_min)                                                          \
    void qn_matmul_##name##_scalar(const qn_matmul *m, size_t panel_begin, size_t panel_end,                 \
                                   size_t token_begin, size_t token_end)                                     \
    {                                                                                                        \
        multiply(m, panel_begin, panel_end, token_begin, token_end, expand_##name, sizeof(panel_type),       \
                 has_min);                                                                                   \
    }
QN_DEFINE_MATMUL(q4_0, qn_panel_q4_0, false)
QN_DEFINE_MATMUL(q4_1, qn_panel_q4_1, true)
QN_DEFINE_MATMUL(q5_0, qn_panel_q5_0, false)
QN_DEFINE_MATMUL(q5_1, qn_panel_q5_1, true)
QN_DEFINE_MATMUL(q8_0, qn_panel_q8_0, false)
QN_DEFINE_MATMUL(iq4_nl, qn_panel_q4_0, false)
QN_DEFINE_MATMUL(mxfp4, qn_panel_mxfp4, false)
