/* matmul_k.c: the reference for types with super-blocks of 256 columns. Per output, blocks ascending:
 *
 *     is = sum over sub-blocks of scale * (sum of w * a)       exact in int32: at most 133 million
 *     ms = sum over sub-blocks of min * (sum of a)             types with a minimum only
 *     v = d * float(is), then v = fma(-dmin, float(ms), v)
 *     acc = fma(v, d_a, acc)
 */
#include "kernel/panel.h"
#include "kernel/table_matrix.h"
#include "quant/blocks.h"
#include "quant/codebooks.h"

#include <math.h>

enum { BLOCK_COLUMNS = 256 };
#define ACT_FORMAT QN_ACT_Q8_256
typedef qn_act_q8_256 act_block;
typedef struct block_weights { /* a scale and a minimum for each 16 columns */
    int8_t w[16][256];
    int8_t scale[16][16];
    uint8_t min[16][16];
    float d[16], dmin[16];
} block_weights;

#include "kernel/ref/matmul_blocks.h"

/* The 6-bit scales and minimums of Q4_K and Q5_K. */
static void expand_scales(block_weights *e, const uint8_t scales[12][16])
{
    for (size_t r = 0; r < 16; r++) {
        uint8_t packed[12], s[8], m[8];
        for (size_t i = 0; i < 12; i++) packed[i] = scales[i][r];
        qn_q4_k_scales(packed, s, m);
        for (size_t j = 0; j < 16; j++) e->scale[r][j] = (int8_t)s[j / 2], e->min[r][j] = m[j / 2];
    }
}

#define FOR_EACH_WEIGHT                                                                                      \
    for (size_t r = 0; r < 16; r++)                                                                          \
        for (size_t j = 0; j < 8; j++)                                                                       \
            for (size_t k = 0; k < 32; k++)

static void expand_q2_k(block_weights *e, const void *panel_block)
{
    const qn_panel_q2_k *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][32 * j + k] = (int8_t)two_bits(p->two[j], r, k);
    for (size_t r = 0; r < 16; r++) {
        for (size_t j = 0; j < 16; j++) {
            e->scale[r][j] = (int8_t)(p->scales[j][r] & 15);
            e->min[r][j] = p->scales[j][r] >> 4;
        }
    }
    expand_f16(e->d, p->d);
    expand_f16(e->dmin, p->dmin);
}

static void expand_q3_k(block_weights *e, const void *panel_block)
{
    const qn_panel_q3_k *p = panel_block;
    FOR_EACH_WEIGHT {
        const int third = one_bit(p->sub[j].third, r, k);
        e->w[r][32 * j + k] = (int8_t)((two_bits(p->sub[j].two, r, k) | third << 2) - 4);
    }
    for (size_t r = 0; r < 16; r++) {
        uint8_t packed[12];
        for (size_t i = 0; i < 12; i++) packed[i] = p->scales[i][r];
        qn_q3_k_scales(packed, e->scale[r]);
    }
    expand_f16(e->d, p->d);
}

static void expand_q4_k(block_weights *e, const void *panel_block)
{
    const qn_panel_q4_k *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][32 * j + k] = (int8_t)nibble(p->low[j], r, k);
    expand_scales(e, p->scales);
    expand_f16(e->d, p->d);
    expand_f16(e->dmin, p->dmin);
}

static void expand_q5_k(block_weights *e, const void *panel_block)
{
    const qn_panel_q5_k *p = panel_block;
    FOR_EACH_WEIGHT {
        const int fifth = one_bit(p->sub[j].fifth, r, k);
        e->w[r][32 * j + k] = (int8_t)(nibble(p->sub[j].low, r, k) | fifth << 4);
    }
    expand_scales(e, p->scales);
    expand_f16(e->d, p->d);
    expand_f16(e->dmin, p->dmin);
}

static void expand_q6_k(block_weights *e, const void *panel_block)
{
    const qn_panel_q6_k *p = panel_block;
    FOR_EACH_WEIGHT {
        const int upper = two_bits(p->sub[j].upper, r, k);
        e->w[r][32 * j + k] = (int8_t)((nibble(p->sub[j].low, r, k) | upper << 4) - 32);
    }
    for (size_t r = 0; r < 16; r++)
        for (size_t j = 0; j < 16; j++) e->scale[r][j] = p->scales[j][r];
    expand_f16(e->d, p->d);
}

static void expand_iq4_xs(block_weights *e, const void *panel_block)
{
    const qn_panel_iq4_xs *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][32 * j + k] = qn_iq4_values[nibble(p->low[j], r, k)];
    for (size_t r = 0; r < 16; r++) {
        for (size_t j = 0; j < 16; j++) {
            const size_t sub = j / 2;
            const int low = p->scales_l[sub / 2][r] >> 4 * (sub % 2) & 15;
            const int high = p->scales_h[sub / 4][r] >> 2 * (sub % 4) & 3;
            e->scale[r][j] = (int8_t)((low | high << 4) - 32);
        }
    }
    expand_f16(e->d, p->d);
}

/* Of the activations of 16 columns. */
static int sum_16(const act_block *a, size_t j)
{
    return (a->start[j][0] + a->start[j][1]) / -32;
}

static void multiply_block(float acc[16], const block_weights *e, const act_block *a, bool has_min)
{
    for (size_t r = 0; r < 16; r++) {
        int32_t is = 0, ms = 0;
        for (size_t j = 0; j < 16; j++) {
            int32_t dot = 0;
            for (size_t k = 16 * j; k < 16 * j + 16; k++) dot += e->w[r][k] * a->q[k];
            is += e->scale[r][j] * dot;
        }
        float v = e->d[r] * (float)is;
        if (has_min) {
            for (size_t j = 0; j < 16; j++) ms += e->min[r][j] * sum_16(a, j);
            v = fmaf(-e->dmin[r], (float)ms, v);
        }
        acc[r] = fmaf(v, a->scale, acc[r]);
    }
}

QN_DEFINE_MATMUL(q2_k, true)
QN_DEFINE_MATMUL(q3_k, false)
QN_DEFINE_MATMUL(q4_k, true)
QN_DEFINE_MATMUL(q5_k, true)
QN_DEFINE_MATMUL(q6_k, false)
QN_DEFINE_MATMUL(iq4_xs, false)
