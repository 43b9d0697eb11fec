/* float16.c: conversions between float32 and the two 16-bit formats, in integer arithmetic. */
#include "base/float16.h"

float qn_f16_to_f32(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = half >> 10 & 0x1f;
    uint32_t mantissa = half & 0x3ffu;
    if (exponent == 0x1f)
        return qn_f32_from_bits(sign | 0x7f800000u | mantissa << 13 | (mantissa ? 0x400000u : 0));
    if (exponent != 0) return qn_f32_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    if (mantissa == 0) return qn_f32_from_bits(sign);
    int shift = 0; /* subnormal: shift the leading one into place */
    while ((mantissa & 0x400u) == 0) mantissa <<= 1, shift++;
    return qn_f32_from_bits(sign | (uint32_t)(113 - shift) << 23 | (mantissa & 0x3ffu) << 13);
}

uint16_t qn_f32_to_f16(float value)
{
    const uint32_t bits = qn_f32_to_bits(value);
    const uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x1ffu));
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above round to infinity */
    if (magnitude >= 0x38800000u) {                                  /* normal: at least 2^-14 */
        const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1);
        return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
    }
    if (magnitude < 0x33000000u) return (uint16_t)sign; /* below half of the least subnormal */
    const uint32_t shift = 126 - (magnitude >> 23), full = (magnitude & 0x7fffffu) | 0x800000u;
    const uint32_t kept = full >> shift, rest = full & ((1u << shift) - 1), half = 1u << (shift - 1);
    return (uint16_t)(sign | (kept + (rest > half || (rest == half && (kept & 1)))));
}

uint16_t qn_f32_to_bf16(float value)
{
    const uint32_t bits = qn_f32_to_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}
