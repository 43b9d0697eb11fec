/* few_levels.c: decoders of the formats with two to four evenly spaced levels: the ternary TQ1_0 and
 * TQ2_0 (for models trained that way: BitNet b1.58, Ma et al. 2024, arXiv:2402.17764), Q1_0, Q2_0. */
#include "base/float16.h"
#include "quant/decoders.h"

/* n bytes hold n_digits ternary digits each, most significant first, as the fraction byte / 256: multiply
 * by 3^k, drop the whole part (the byte overflows), and the digit is the whole part of three times that.
 * Digit k of byte i is value n * k + i. */
static inline float *decode_digits(const uint8_t *bytes, int n, int n_digits, float d, float *restrict out)
{
    static const uint8_t power_of_3[5] = {1, 3, 9, 27, 81};
    for (int k = 0; k < n_digits; k++, out += n)
        for (int i = 0; i < n; i++) {
            const uint8_t fraction = (uint8_t)(bytes[i] * power_of_3[k]);
            out[i] = (float)((fraction * 3 >> 8) - 1) * d;
        }
    return out;
}

void qn_decode_tq1_0(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_tq1_0 *block = blocks;
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++) {
        const float d = qn_f16_to_f32(block->d);
        out = decode_digits(block->qs, 32, 5, d, out);
        out = decode_digits(block->qs + 32, 16, 5, d, out);
        out = decode_digits(block->qh, 4, 4, d, out);
    }
}

void qn_decode_tq2_0(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_tq2_0 *block = blocks;
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        const float d = qn_f16_to_f32(block->d);
        for (int j = 0; j < 8; j++) {
            const uint8_t *qs = block->qs + 32 * (j / 4);
            for (int i = 0; i < 32; i++) out[32 * j + i] = (float)((qs[i] >> 2 * (j % 4) & 3) - 1) * d;
        }
    }
}

void qn_decode_q1_0(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_q1_0 *block = blocks;
    for (size_t n = n_values / QN_QK1_0; n > 0; n--, block++, out += QN_QK1_0) {
        const float d = qn_f16_to_f32(block->d);
        for (int i = 0; i < QN_QK1_0; i++) out[i] = block->qs[i / 8] >> i % 8 & 1 ? d : -d;
    }
}

void qn_decode_q2_0(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_q2_0 *block = blocks;
    for (size_t n = n_values / QN_QK2_0; n > 0; n--, block++, out += QN_QK2_0) {
        const float d = qn_f16_to_f32(block->d);
        for (int i = 0; i < QN_QK2_0; i++) out[i] = (float)((block->qs[i / 4] >> 2 * (i % 4) & 3) - 1) * d;
    }
}
