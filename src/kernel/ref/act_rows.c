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

void qn_act_row_q8_32_scalar(void *row, const float *x, size_t n_cols)
{
    qn_act_q8_32 *a = row;
    for (size_t b = 0; b < n_cols / 32; b++, a++) {
        int32_t sum = 0;
        a->scale = quantize_block(a->q, x + 32 * b, 32);
        for (size_t i = 0; i < 32; i++) sum += a->q[i];
        a->isum = sum;
        a->sum = (float)sum;
        a->scaled_sum = a->scale * a->sum;
    }
}

void qn_act_row_q8_256_scalar(void *row, const float *x, size_t n_cols)
{
    qn_act_q8_256 *a = row;
    for (size_t b = 0; b < n_cols / 256; b++, a++) {
        a->scale = quantize_block(a->q, x + 256 * b, 256);
        memset(a->half, 0, sizeof a->half);
        memset(a->pad, 0, sizeof a->pad);
        for (size_t i = 0; i < 256; i++) a->half[i / 16][i % 4 / 2] = (int16_t)(a->half[i / 16][i % 4 / 2] + a->q[i]);
        for (size_t j = 0; j < 8; j++)
            a->sum32[j] = (int16_t)(a->half[2 * j][0] + a->half[2 * j][1] + a->half[2 * j + 1][0] + a->half[2 * j + 1][1]);
    }
}
