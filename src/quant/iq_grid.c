/* iq_grid.c: decoders of the formats that take groups of values from a grid of magnitudes, with the signs
 * apart: IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S. */
#include "base/float16.h"
#include "quant/codebooks.h"
#include "quant/decoders.h"

/* scale * grid, value i negated where bit i of signs is set. */
static inline void decode_group(const uint8_t *grid, int n, unsigned signs, float scale, float *restrict out)
{
    for (int i = 0; i < n; i++) {
        const float value = scale * (float)grid[i];
        out[i] = signs >> i & 1 ? -value : value;
    }
}

void qn_decode_iq2_xxs(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_iq2_xxs *block = blocks;
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        const float d = qn_f16_to_f32(block->d);
        for (int j = 0; j < 8; j++) {
            const uint32_t indices = block->qs[j][0], signs = block->qs[j][1];
            const float scale = d * (0.5f + (float)(signs >> 28)) * 0.25f;
            for (int g = 0; g < 4; g++) {
                const uint8_t *grid = qn_iq2_xxs_grid[indices >> 8 * g & 255];
                decode_group(grid, 8, qn_iq_signs(signs >> 7 * g & 127), scale, out + 32 * j + 8 * g);
            }
        }
    }
}

/* The scale of group g of 8 in IQ2_XS and IQ2_S: four bits for two groups. */
static inline float iq2_scale(float d, const uint8_t scales[8], int g)
{
    return d * (0.5f + (float)(scales[g / 4] >> 4 * (g / 2 % 2) & 15)) * 0.25f;
}

void qn_decode_iq2_xs(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_iq2_xs *block = blocks;
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        const float d = qn_f16_to_f32(block->d);
        for (int g = 0; g < 32; g++) {
            const unsigned q = block->qs[g];
            const float scale = iq2_scale(d, block->scales, g);
            decode_group(qn_iq2_xs_grid[q & 511], 8, qn_iq_signs(q >> 9), scale, out + 8 * g);
        }
    }
}

void qn_decode_iq2_s(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_iq2_s *block = blocks;
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        const float d = qn_f16_to_f32(block->d);
        for (int g = 0; g < 32; g++) {
            const int index = block->qs[g] | (block->qh[g / 4] >> 2 * (g % 4) & 3) << 8;
            const float scale = iq2_scale(d, block->scales, g);
            decode_group(qn_iq2_s_grid[index], 8, block->signs[g], scale, out + 8 * g);
        }
    }
}

void qn_decode_iq3_xxs(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_iq3_xxs *block = blocks;
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        const float d = qn_f16_to_f32(block->d);
        for (int k = 0; k < 32; k++) { /* two grid groups share a sign pattern */
            const uint32_t packed = block->signs_scale[k / 4];
            const unsigned signs = qn_iq_signs(packed >> 7 * (k % 4) & 127);
            const float scale = d * (0.5f + (float)(packed >> 28)) * 0.5f;
            decode_group(qn_iq3_xxs_grid[block->qs[2 * k]], 4, signs, scale, out + 8 * k);
            decode_group(qn_iq3_xxs_grid[block->qs[2 * k + 1]], 4, signs >> 4, scale, out + 8 * k + 4);
        }
    }
}

void qn_decode_iq3_s(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_iq3_s *block = blocks;
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        const float d = qn_f16_to_f32(block->d);
        for (int g = 0; g < 64; g++) {
            const int index = block->qs[g] | (block->qh[g / 8] >> g % 8 & 1) << 8;
            const int s = block->scales[g / 16] >> 4 * (g / 8 % 2) & 15;
            const unsigned signs = (unsigned)block->signs[g / 2] >> 4 * (g % 2);
            decode_group(qn_iq3_s_grid[index], 4, signs, d * (float)(1 + 2 * s), out + 4 * g);
        }
    }
}
