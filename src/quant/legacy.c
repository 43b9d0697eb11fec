/* legacy.c: decoders of the first formats, 32 values under one scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. */
#include "base/float16.h"
#include "quant/decoders.h"

void qn_decode_q4_0(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_q4_0 *block = blocks;
    for (size_t n = n_values / QN_QK4_0; n > 0; n--, block++, out += QN_QK4_0) {
        const float d = qn_f16_to_f32(block->d);
        for (int i = 0; i < 16; i++) {
            out[i] = (float)((block->qs[i] & 15) - 8) * d;
            out[i + 16] = (float)((block->qs[i] >> 4) - 8) * d;
        }
    }
}

void qn_decode_q4_1(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_q4_1 *block = blocks;
    for (size_t n = n_values / QN_QK4_0; n > 0; n--, block++, out += QN_QK4_0) {
        const float d = qn_f16_to_f32(block->d), m = qn_f16_to_f32(block->m);
        for (int i = 0; i < 16; i++) {
            out[i] = (float)(block->qs[i] & 15) * d + m;
            out[i + 16] = (float)(block->qs[i] >> 4) * d + m;
        }
    }
}

/* The 32 quants of a 5-bit block, 0..31. */
static inline void unpack_5bit(const uint8_t qs[16], uint32_t qh, uint8_t q[32])
{
    for (int i = 0; i < 16; i++) {
        q[i] = (uint8_t)((qs[i] & 15) | (qh >> i & 1) << 4);
        q[i + 16] = (uint8_t)(qs[i] >> 4 | (qh >> (i + 16) & 1) << 4);
    }
}

void qn_decode_q5_0(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_q5_0 *block = blocks;
    uint8_t q[32];
    for (size_t n = n_values / QN_QK4_0; n > 0; n--, block++, out += QN_QK4_0) {
        const float d = qn_f16_to_f32(block->d);
        unpack_5bit(block->qs, block->qh, q);
        for (int i = 0; i < 32; i++) out[i] = (float)(q[i] - 16) * d;
    }
}

void qn_decode_q5_1(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_q5_1 *block = blocks;
    uint8_t q[32];
    for (size_t n = n_values / QN_QK4_0; n > 0; n--, block++, out += QN_QK4_0) {
        const float d = qn_f16_to_f32(block->d), m = qn_f16_to_f32(block->m);
        unpack_5bit(block->qs, block->qh, q);
        for (int i = 0; i < 32; i++) out[i] = (float)q[i] * d + m;
    }
}

void qn_decode_q8_0(const void *blocks, float *restrict out, size_t n_values)
{
    const qn_block_q8_0 *block = blocks;
    for (size_t n = n_values / QN_QK8_0; n > 0; n--, block++, out += QN_QK8_0) {
        const float d = qn_f16_to_f32(block->d);
        for (int i = 0; i < 32; i++) out[i] = (float)block->qs[i] * d;
    }
}
