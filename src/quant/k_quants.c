/* k_quants.c: decoders of the K-quants, 256 values whose sub-blocks have small integer scales relative to
 * the scale d of the block: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K. */
#include "base/float16.h"
#include "quant/decoders.h"

void qn_decode_q2_k(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_q2_k *block = blocks;
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        const float d = qn_f16_to_f32(block->d), dmin = qn_f16_to_f32(block->dmin);
        for (int s = 0; s < 16; s++) { /* sub-blocks: two for each (half, shift) */
            const uint8_t *qs = block->qs + 32 * (s / 8) + 16 * (s % 2);
            const int shift = 2 * (s / 2 % 4);
            const float scale = d * (float)(block->scales[s] & 15);
            const float min = dmin * (float)(block->scales[s] >> 4);
            for (int i = 0; i < 16; i++) out[16 * s + i] = scale * (float)(qs[i] >> shift & 3) - min;
        }
    }
}

void qn_decode_q3_k(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_q3_k *block = blocks;
    int8_t scales[16];
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        const float d = qn_f16_to_f32(block->d);
        qn_q3_k_scales(block->scales, scales);
        for (int s = 0; s < 16; s++) {
            const uint8_t *qs = block->qs + 32 * (s / 8) + 16 * (s % 2), *hmask = block->hmask + 16 * (s % 2);
            const int shift = 2 * (s / 2 % 4), bit = s / 2;
            const float scale = d * (float)scales[s];
            for (int i = 0; i < 16; i++) {
                const int q = (qs[i] >> shift & 3) | (hmask[i] >> bit & 1) << 2;
                out[16 * s + i] = scale * (float)(q - 4);
            }
        }
    }
}

void qn_decode_q4_k(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_q4_k *block = blocks;
    uint8_t scales[8], mins[8];
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        const float d = qn_f16_to_f32(block->d), dmin = qn_f16_to_f32(block->dmin);
        qn_q4_k_scales(block->scales, scales, mins);
        for (int j = 0; j < 8; j++) {
            const uint8_t *qs = block->qs + 32 * (j / 2);
            const int shift = 4 * (j % 2);
            const float scale = d * (float)scales[j], min = dmin * (float)mins[j];
            for (int i = 0; i < 32; i++) out[32 * j + i] = scale * (float)(qs[i] >> shift & 15) - min;
        }
    }
}

void qn_decode_q5_k(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_q5_k *block = blocks;
    uint8_t scales[8], mins[8];
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        const float d = qn_f16_to_f32(block->d), dmin = qn_f16_to_f32(block->dmin);
        qn_q4_k_scales(block->scales, scales, mins);
        for (int j = 0; j < 8; j++) {
            const uint8_t *qs = block->qs + 32 * (j / 2);
            const int shift = 4 * (j % 2);
            const float scale = d * (float)scales[j], min = dmin * (float)mins[j];
            for (int i = 0; i < 32; i++) {
                const int q = (qs[i] >> shift & 15) | (block->qh[i] >> j & 1) << 4;
                out[32 * j + i] = scale * (float)q - min;
            }
        }
    }
}

void qn_decode_q6_k(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_q6_k *block = blocks;
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        const float d = qn_f16_to_f32(block->d);
        for (int s = 0; s < 16; s++) { /* sub-blocks: two for each (half, j) */
            const int half = s / 8, j = s / 2 % 4, first = 16 * (s % 2);
            const uint8_t *ql = block->ql + 64 * half + 32 * (j % 2) + first;
            const uint8_t *qh = block->qh + 32 * half + first;
            const float scale = d * (float)block->scales[s];
            for (int i = 0; i < 16; i++) {
                const int q = (ql[i] >> 4 * (j / 2) & 15) | (qh[i] >> 2 * j & 3) << 4;
                out[16 * s + i] = scale * (float)(q - 32);
            }
        }
    }
}
