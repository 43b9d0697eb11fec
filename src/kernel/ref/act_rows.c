/* act_rows.c: rows of activations, quantized to int8 with a scale per block (absmax): the reference. */
#include "base/float16.h"
#include "kernel/panel.h"
#include "kernel/table_matrix.h"

#include <math.h>
#include <string.h>

void qn_act_row_f32(void *row, const float *x, size_t n_cols)
{
    memcpy(row, x, n_cols * sizeof *x);
}

/* q = x * (127 / max|x|), nearest even. Returns the scale. The largest magnitude is found on the bits,
 * where NaN > infinity > every number; a block with either keeps that as its scale and has zero quants,
 * so the outputs that meet it are NaN. Blocks below 2^-100 count as zero: 127 / max could overflow. */
static float quantize_block(int8_t *q, const float *x, size_t n)
{
    uint32_t max_bits = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = qn_f32_to_bits(x[i]) & 0x7fffffffu;
        if (bits > max_bits) max_bits = bits;
    }
    const float max = qn_f32_from_bits(max_bits);
    memset(q, 0, n);
    if (max_bits >= 0x7f800000u) return max;
    if (max < 0x1p-100f) return 0.0f;
    const float inverse = 127.0f / max;
    for (size_t i = 0; i < n; i++) q[i] = (int8_t)rintf(x[i] * inverse);
    return max / 127.0f;
}

/* Sums over the columns with k % 4 < 2, and over the others. */
static void sum_halves(int sums[2], const int8_t *q, size_t n)
{
    sums[0] = sums[1] = 0;
    for (size_t k = 0; k < n; k++) sums[k % 4 / 2] += q[k];
}

void qn_act_row_q8_32_scalar(void *row, const float *x, size_t n_cols)
{
    qn_act_q8_32 *a = row;
    for (size_t b = 0; b < n_cols / 32; b++, a++) {
        int sums[2];
        a->scale = quantize_block(a->q, x + 32 * b, 32);
        sum_halves(sums, a->q, 32);
        a->sum = (float)(sums[0] + sums[1]);
        a->scaled_sum = a->scale * a->sum;
        a->start[0] = (int16_t)(-16 * sums[0]);
        a->start[1] = (int16_t)(-16 * sums[1]);
    }
}

void qn_act_row_q8_256_scalar(void *row, const float *x, size_t n_cols)
{
    qn_act_q8_256 *a = row;
    for (size_t b = 0; b < n_cols / 256; b++, a++) {
        a->scale = quantize_block(a->q, x + 256 * b, 256);
        memset(a->sum32, 0, sizeof a->sum32);
        memset(a->pad, 0, sizeof a->pad);
        for (size_t j = 0; j < 16; j++) {
            int sums[2];
            sum_halves(sums, a->q + 16 * j, 16);
            a->sum32[j / 2] = (int16_t)(a->sum32[j / 2] + sums[0] + sums[1]);
            a->start[j][0] = (int16_t)(-32 * sums[0]);
            a->start[j][1] = (int16_t)(-32 * sums[1]);
        }
    }
}
