/* matmul_k.c: the reference for types with super-blocks of 256 columns. Per output, blocks ascending:
 *
 *     is = sum over sub-blocks of scale * (sum of w * a)       exact in int32: at most 133 million
 *     ms = sum over sub-blocks of min * (sum of a)             types with a minimum only
 *     v = d * float(is), then v = fma(-dmin, float(ms), v)
 *     acc = fma(v, d_a, acc)
 */
#include "base/float16.h"
#include "kernel/matmul.h"
#include "kernel/table_matrix.h"
#include "quant/blocks.h"
#include "quant/codebooks.h"

#include <math.h>

/* 16 rows by 256 columns, as numbers; a scale and a minimum for each 16 columns. */
typedef struct qn_weights_256 {
    int8_t w[16][256];
    int8_t scale[16][16];
    uint8_t min[16][16];
    float d[16], dmin[16];
} qn_weights_256;

typedef void qn_expand_256_fn(qn_weights_256 *e, const void *panel_block);

static int nibble(const uint8_t low[4][64], size_t r, size_t k)
{
    return low[k / 4 % 4][4 * r + k % 4] >> (k < 16 ? 0 : 4) & 15;
}

static void expand_d(float out[16], const uint16_t in[16])
{
    for (size_t r = 0; r < 16; r++) out[r] = qn_f16_to_f32(in[r]);
}

/* The 6-bit scales and minimums of Q4_K and Q5_K. */
static void expand_scales(qn_weights_256 *e, const uint8_t scales[12][16])
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

static int two_bits(const uint8_t two[2][64], size_t r, size_t k)
{
    return two[k / 16][4 * r + k % 4] >> 2 * (k / 4 % 4) & 3;
}

static void expand_q2_k(qn_weights_256 *e, const void *panel_block)
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
    expand_d(e->d, p->d);
    expand_d(e->dmin, p->dmin);
}

static void expand_q3_k(qn_weights_256 *e, const void *panel_block)
{
    const qn_panel_q3_k *p = panel_block;
    FOR_EACH_WEIGHT {
        const int third = p->sub[j].third[4 * r + k % 4] >> k / 4 & 1;
        e->w[r][32 * j + k] = (int8_t)((two_bits(p->sub[j].two, r, k) | third << 2) - 4);
    }
    for (size_t r = 0; r < 16; r++) {
        uint8_t packed[12];
        for (size_t i = 0; i < 12; i++) packed[i] = p->scales[i][r];
        qn_q3_k_scales(packed, e->scale[r]);
    }
    expand_d(e->d, p->d);
}

static void expand_q4_k(qn_weights_256 *e, const void *panel_block)
{
    const qn_panel_q4_k *p = panel_block;
    FOR_EACH_WEIGHT
        e->w[r][32 * j + k] = (int8_t)nibble(p->low[j], r, k);
    expand_scales(e, p->scales);
    expand_d(e->d, p->d);
    expand_d(e->dmin, p->dmin);
}

static void expand_q5_k(qn_weights_256 *e, const void *panel_block)
{
    const qn_panel_q5_k *p = panel_block;
    FOR_EACH_WEIGHT {
        const int fifth = p->sub[j].fifth[4 * r + k % 4] >> k / 4 & 1;
        e->w[r][32 * j + k] = (int8_t)(nibble(p->sub[j].low, r, k) | fifth << 4);
    }
    expand_scales(e, p->scales);
    expand_d(e->d, p->d);
    expand_d(e->dmin, p->dmin);
}

static void expand_q6_k(qn_weights_256 *e, const void *panel_block)
{
    const qn_panel_q6_k *p = panel_block;
    FOR_EACH_WEIGHT {
        const int upper = two_bits(p->sub[j].upper, r, k);
        e->w[r][32 * j + k] = (int8_t)((nibble(p->sub[j].low, r, k) | upper << 4) - 32);
    }
    for (size_t r = 0; r < 16; r++)
        for (size_t j = 0; j < 16; j++) e->scale[r][j] = p->scales[j][r];
    expand_d(e->d, p->d);
}

static void expand_iq4_xs(qn_weights_256 *e, const void *panel_block)
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
    expand_d(e->d, p->d);
}

/* Of the activations of 16 columns. */
static int sum_16(const qn_act_q8_256 *a, size_t j)
{
    return (a->start[j][0] + a->start[j][1]) / -32;
}

static void multiply_block(float acc[16], const qn_weights_256 *e, const qn_act_q8_256 *a, bool has_min)
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

/* A block of weights is expanded once for up to TOKENS tokens. */
static void multiply(const qn_matmul *m, size_t panel_begin, size_t panel_end, size_t token_begin,
                     size_t token_end, qn_expand_256_fn *expand, size_t block_bytes, bool has_min)
{
    enum { TOKENS = 64 };
    const size_t n_blocks = m->w->n_cols / 256, row_bytes = qn_act_row_bytes(QN_ACT_Q8_256, m->w->n_cols);
    for (size_t t0 = token_begin; t0 < token_end; t0 += TOKENS) {
        const size_t n_tokens = qn_min_size(TOKENS, token_end - t0);
        for (size_t panel = panel_begin; panel < panel_end; panel++) {
            const uint8_t *w = m->w->data + panel * m->w->panel_bytes;
            float acc[TOKENS][16] = {{0}};
            for (size_t b = 0; b < n_blocks; b++) {
                qn_weights_256 e;
                expand(&e, w + b * block_bytes);
                for (size_t t = 0; t < n_tokens; t++)
                    multiply_block(acc[t], &e, (const qn_act_q8_256 *)qn_matmul_act(m, row_bytes, t0 + t) + b,
                                   has_min);
            }
            for (size_t t = 0; t < n_tokens; t++) qn_matmul_store(m, panel, t0 + t, acc[t]);
        }
    }
}

#define QN_DEFINE_MATMUL(name, has_min)                                                                      \
    void qn_matmul_##name##_scalar(const qn_matmul *m, size_t panel_begin, size_t panel_end,                 \
                                   size_t token_begin, size_t token_end)                                     \
    {                                                                                                        \
        multiply(m, panel_begin, panel_end, token_begin, token_end, expand_##name, sizeof(qn_panel_##name),  \
                 has_min);                                                                                   \
    }
QN_DEFINE_MATMUL(q2_k, true)
QN_DEFINE_MATMUL(q3_k, false)
QN_DEFINE_MATMUL(q4_k, true)
QN_DEFINE_MATMUL(q5_k, true)
QN_DEFINE_MATMUL(q6_k, false)
QN_DEFINE_MATMUL(iq4_xs, false)
