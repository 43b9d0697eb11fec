/* float16.h: IEEE 754 binary16 and bfloat16 to float32 and back, exact and round-to-nearest-even. */
#ifndef QN_BASE_FLOAT16_H
#define QN_BASE_FLOAT16_H

#include <stdint.h>
#include <string.h>

static inline float qn_f32_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
static inline uint32_t qn_f32_to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

float qn_f16_to_f32(uint16_t half);  /* exact; NaN stays NaN (made quiet, as processors do) */
uint16_t qn_f32_to_f16(float value); /* nearest even; too large becomes infinity; NaN becomes quiet */

static inline float qn_bf16_to_f32(uint16_t b)
{
    return qn_f32_from_bits((uint32_t)b << 16);
}
uint16_t qn_f32_to_bf16(float value); /* nearest even; NaN becomes quiet */

#endif
