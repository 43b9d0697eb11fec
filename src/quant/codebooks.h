/* codebooks.h: the tables that quants of the non-linear formats point into. Facts of the format. */
#ifndef QN_QUANT_CODEBOOKS_H
#define QN_QUANT_CODEBOOKS_H

#include "base/float16.h"

#include <stdint.h>

/* The 16 levels of IQ4_NL and IQ4_XS: closer together near zero, where most weights are. */
extern const int8_t qn_iq4_values[16];

/* E2M1 doubled, so that all are integers: 0 1 2 3 4 6 8 12, then the same negated (the scales of MXFP4
 * and NVFP4 are halved in return). */
extern const int8_t qn_fp4_values[16];

/* Groups of 8 (4 in IQ3) magnitudes; in IQ1 groups of -1, 0, 1. */
extern const uint8_t qn_iq2_xxs_grid[256][8];
extern const uint8_t qn_iq2_xs_grid[512][8];
extern const uint8_t qn_iq2_s_grid[1024][8];
extern const uint8_t qn_iq3_xxs_grid[256][4];
extern const uint8_t qn_iq3_s_grid[512][4];
extern const int8_t qn_iq1_grid[2048][8];

/* Eight signs from seven bits: bit i negates value i, and the eighth makes their number even. */
static inline unsigned qn_iq_signs(unsigned seven_bits)
{
    return seven_bits | (unsigned)__builtin_parity(seven_bits) << 7;
}

/* Half of an E8M0 scale, 2^(e - 128). 0 and 1 give subnormals; 255 is not treated as NaN but as 2^127. */
static inline float qn_e8m0_half(uint8_t e)
{
    return qn_f32_from_bits(e < 2 ? 0x200000u << e : (uint32_t)(e - 1) << 23);
}

/* Half of a UE4M3 scale (4 bits of exponent, bias 7; 3 of mantissa). The top bit is not looked at, except
 * that 0x7f, its NaN, gives 0 (0xff does not). */
static inline float qn_ue4m3_half(uint8_t x)
{
    const int exponent = x >> 3 & 15, mantissa = x & 7;
    if (x == 0x7f) return 0.0f;
    if (exponent == 0) return (float)mantissa * 0x1p-10f;
    return qn_f32_from_bits((uint32_t)(exponent + 119) << 23 | (uint32_t)mantissa << 20);
}

#endif
