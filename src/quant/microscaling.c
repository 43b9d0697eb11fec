/* microscaling.c: decoders of 4-bit floats under shared 8-bit scales: MXFP4 (OCP Microscaling Formats
 * specification 1.0, 2023) and NVFP4. */
#include "quant/codebooks.h"
#include "quant/decoders.h"

const int8_t qn_fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

void qn_decode_mxfp4(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_mxfp4 *block = blocks;
    for (size_t n = n_values / QN_QK_MXFP4; n > 0; n--, block++, out += QN_QK_MXFP4) {
        const float d = qn_e8m0_half(block->e);
        for (int i = 0; i < 16; i++) {
            out[i] = (float)qn_fp4_values[block->qs[i] & 15] * d;
            out[i + 16] = (float)qn_fp4_values[block->qs[i] >> 4] * d;
        }
    }
}

void qn_decode_nvfp4(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_nvfp4 *block = blocks;
    for (size_t n = n_values / QN_QK_NVFP4; n > 0; n--, block++, out += QN_QK_NVFP4)
        for (int s = 0; s < 4; s++) {
            const float d = qn_ue4m3_half(block->d[s]);
            const uint8_t *qs = block->qs + 8 * s;
            for (int i = 0; i < 8; i++) {
                out[16 * s + i] = (float)qn_fp4_values[qs[i] & 15] * d;
                out[16 * s + 8 + i] = (float)qn_fp4_values[qs[i] >> 4] * d;
            }
        }
}
