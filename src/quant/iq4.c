/* iq4.c: decoders of the formats with 16 uneven levels: IQ4_NL and IQ4_XS. */
#include "base/float16.h"
#include "quant/codebooks.h"
#include "quant/decoders.h"

const int8_t qn_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* 32 values from 16 bytes. */
static inline void decode_levels(const uint8_t qs[16], float d, float *restrict out)
{
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)qn_iq4_values[qs[i] & 15];
        out[i + 16] = d * (float)qn_iq4_values[qs[i] >> 4];
    }
}

void qn_decode_iq4_nl(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_iq4_nl *block = blocks;
    for (size_t n = n_values / QN_QK4_0; n > 0; n--, block++, out += QN_QK4_0)
        decode_levels(block->qs, qn_f16_to_f32(block->d), out);
}

void qn_decode_iq4_xs(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_iq4_xs *block = blocks;
    for (size_t n = n_values / QN_QK_K; n > 0; n--, block++, out += QN_QK_K) {
        const float d = qn_f16_to_f32(block->d);
        for (int j = 0; j < 8; j++)
            decode_levels(block->qs + 16 * j, d * (float)qn_iq4_xs_scale(block, j), out + 32 * j);
    }
}
