/* iq1.c: decoders of IQ1_S and IQ1_M: groups of -1, 0, 1 from a grid, all shifted by an eighth up or down. */
#include "base/float16.h"
#include "quant/codebooks.h"
#include "quant/decoders.h"

static inline void decode_group(const int8_t grid[8], float delta, float scale, float *restrict out)
{
    for (int i = 0; i < 8; i++) out[i] = scale * ((float)grid[i] + delta);
}

void qn_decode_iq1_s(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_iq1_s *block = blocks;
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        const float d = qn_f16_to_f32(block->d);
        for (int g = 0; g < 32; g++) {
            const int high = block->qh[g / 4];
            const float scale = d * (float)(2 * (high >> 12 & 7) + 1);
            const float delta = high & 0x8000 ? -0.125f : 0.125f;
            const int index = block->qs[g] | (high >> 3 * (g % 4) & 7) << 8;
            decode_group(qn_iq1_grid[index], delta, scale, out + 8 * g);
        }
    }
}

void qn_decode_iq1_m(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_iq1_m *block = blocks;
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        unsigned half = 0; /* the block's scale, four bits from each number */
        for (int i = 0; i < 4; i++) half |= (unsigned)(block->scales[i] >> 12) << 4 * i;
        const float d = qn_f16_to_f32((uint16_t)half);
        for (int g = 0; g < 32; g++) {
            const int high = block->qh[g / 2] >> 4 * (g % 2);
            const int s = block->scales[g / 8] >> 3 * (g / 2 % 4) & 7;
            const float scale = d * (float)(2 * s + 1), delta = high & 8 ? -0.125f : 0.125f;
            decode_group(qn_iq1_grid[block->qs[g] | (high & 7) << 8], delta, scale, out + 8 * g);
        }
    }
}
