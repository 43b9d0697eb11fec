/* matmul_legacy.c: the reference for types with one scale per 32 columns. It reads the panels that the
 * fast kernels read. Per output, blocks ascending:
 *
 *     acc = fma(d_w * d_a, float(sum of w * a), acc)          w with its zero point taken off
 *     acc = fma(m_w, d_a * sum of a, acc)                     types with a minimum only
 */
#include "kernel/panel.h"
#include "kernel/table_matrix.h"
#include "quant/codebooks.h"

#include <math.h>

enum { BLOCK_COLUMNS = 32 };
#define ACT_FORMAT QN_ACT_Q8_32
typedef qn_act_q8_32 act_block;
typedef struct block_weights {
    int8_t w[16][32];
    float d[16], m[16];
} block_weights;

#include "kernel/ref/matmul_blocks.h"

#define FOR_EACH_WEIGHT                                                                                      \
    for (size_t r = 0; r < 16; r++)                                                                          \
        for (size_t k = 0; k < 32; k++)

static void expand_q4_0(block_weights *e, const void *panel_block)
{
    const qn_panel_q4_0 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = (int8_t)(nibble(p->low, r, k) - 8);
    expand_f16(e->d, p->d);
}

static void expand_iq4_nl(block_weights *e, const void *panel_block)
{
    const qn_panel_q4_0 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = qn_iq4_values[nibble(p->low, r, k)];
    expand_f16(e->d, p->d);
}

static void expand_q4_1(block_weights *e, const void *panel_block)
{
    const qn_panel_q4_1 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = (int8_t)nibble(p->low, r, k);
    expand_f16(e->d, p->d);
    expand_f16(e->m, p->m);
}

static void expand_q5_0(block_weights *e, const void *panel_block)
{
    const qn_panel_q5_0 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = (int8_t)((nibble(p->low, r, k) | one_bit(p->fifth, r, k) << 4) - 16);
    expand_f16(e->d, p->d);
}

static void expand_q5_1(block_weights *e, const void *panel_block)
{
    const qn_panel_q5_1 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = (int8_t)(nibble(p->low, r, k) | one_bit(p->fifth, r, k) << 4);
    expand_f16(e->d, p->d);
    expand_f16(e->m, p->m);
}

static void expand_q8_0(block_weights *e, const void *panel_block)
{
    const qn_panel_q8_0 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = (int8_t)p->byte[k / 4][4 * r + k % 4];
    expand_f16(e->d, p->d);
}

static void expand_mxfp4(block_weights *e, const void *panel_block)
{
    const qn_panel_mxfp4 *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][k] = qn_fp4_values[nibble(p->low, r, k)];
    for (size_t r = 0; r < 16; r++) e->d[r] = qn_e8m0_half(p->e[r]);
}

static void multiply_block(float acc[16], const block_weights *e, const act_block *a, bool has_min)
{
    for (size_t r = 0; r < 16; r++) {
        int32_t dot = 0; /* at most 32 * 128 * 127 */
        for (size_t k = 0; k < 32; k++) dot += e->w[r][k] * a->q[k];
        acc[r] = fmaf(e->d[r] * a->scale, (float)dot, acc[r]);
        if (has_min) acc[r] = fmaf(e->m[r], a->scaled_sum, acc[r]);
    }
}

QN_DEFINE_MATMUL(q4_0, false)
QN_DEFINE_MATMUL(q4_1, true)
QN_DEFINE_MATMUL(q5_0, false)
QN_DEFINE_MATMUL(q5_1, true)
QN_DEFINE_MATMUL(q8_0, false)
QN_DEFINE_MATMUL(iq4_nl, false)
QN_DEFINE_MATMUL(mxfp4, false)
